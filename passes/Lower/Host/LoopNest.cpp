//===- LoopNest.cpp - loops of one linalg operation -----------------------===//
//
// The form of the inner loops follows from strides. A dimension can carry
// vectors if each operand is constant or contiguous along it. If that holds for
// the innermost dimension of the result, the reduction runs outside it on a
// tile of accumulators (C[i, j..] += A[i, k] * B[k, j..]). If it holds for the
// innermost reduction only, the accumulators are vectors along that one, which
// are added up at the end (C[i, j] += A[i, k..] * B[j, k..]). Tiles of several
// rows use each loaded vector several times. Everything else is done element
// by element, and elementwise operations are left to LLVM's vectoriser.
//
// Where a tile begins depends on extents alone, and each element of a result is
// reduced in a fixed order, so results do not depend on the threads.
//
//===----------------------------------------------------------------------===//
#include "passes/Lower/Host/LoopNest.h"

#include "mlir/Dialect/Affine/IR/AffineOps.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"
#include "mlir/IR/IRMapping.h"

using namespace mlir;
using namespace moe;

//===----------------------------------------------------------------------===//
// Choice of form
//===----------------------------------------------------------------------===//

LoopNest::Stride LoopNest::getStride(OpOperand &operand, unsigned dim) const {
  AffineMap map = op.getMatchingIndexingMap(
      &operand);
  if (!map.isFunctionOfDim(dim))
    return Stride::Zero;
  auto type = dyn_cast<MemRefType>(operand.get().getType());
  if (!type)
    return Stride::Zero;
  for (AffineExpr result : map.getResults().drop_back())
    if (result.isFunctionOfDim(dim))
      return Stride::Other;
  // The last index has to grow by one with the dimension: d, or d + others.
  AffineExpr last = map.getResults().back();
  AffineExpr dimExpr = getAffineDimExpr(dim, op->getContext());
  AffineExpr step = simplifyAffineExpr(
      last.replace(dimExpr, dimExpr + 1) - last, map.getNumDims(),
      map.getNumSymbols());
  if (step != getAffineConstantExpr(1, op->getContext()))
    return Stride::Other;
  SmallVector<int64_t> strides;
  int64_t offset;
  if (failed(type.getStridesAndOffset(strides, offset)) || strides.back() != 1)
    return Stride::Other;
  return Stride::One;
}

bool LoopNest::canVectorise(unsigned dim) const {
  for (OpOperand &operand : op->getOpOperands()) {
    Stride stride = getStride(operand, dim);
    if (stride == Stride::Other)
      return false;
    Type element = getElementTypeOrSelf(operand.get().getType());
    // Booleans are bytes in memory but bits in vectors.
    if (stride == Stride::One && element.isInteger(1))
      return false;
    if (!VectorType::isValidElementType(element) || element.isIndex())
      return false;
  }
  for (Operation &inner : op.getBlock()->without_terminator())
    if (!isa<arith::ConstantOp>(inner) &&
        (!OpTrait::hasElementwiseMappableTraits(&inner) ||
         inner.getNumResults() != 1))
      return false;
  return true;
}

/// The operation of `block` that combines the accumulator `argument` with one
/// new value and yields, or null.
static Operation *findCombiner(BlockArgument argument) {
  if (!argument.hasOneUse())
    return nullptr;
  Operation *combiner = *argument.user_begin();
  if (combiner->getNumOperands() != 2 || combiner->getNumResults() != 1 ||
      !combiner->getResult(0).hasOneUse() ||
      !(*combiner->getResult(0).user_begin())
           ->hasTrait<OpTrait::IsTerminator>())
    return nullptr;
  return combiner;
}

/// How vector.reduction combines what `combiner` combines, if it can.
static std::optional<vector::CombiningKind> getKind(Operation *combiner) {
  if (!combiner)
    return std::nullopt;
  if (isa<arith::AddFOp, arith::AddIOp>(combiner))
    return vector::CombiningKind::ADD;
  if (isa<arith::MaximumFOp>(combiner))
    return vector::CombiningKind::MAXIMUMF;
  if (isa<arith::MinimumFOp>(combiner))
    return vector::CombiningKind::MINIMUMF;
  if (isa<arith::MaxSIOp>(combiner))
    return vector::CombiningKind::MAXSI;
  if (isa<arith::MinSIOp>(combiner))
    return vector::CombiningKind::MINSI;
  return std::nullopt;
}

/// The value that `kind` leaves other values alone with.
static TypedAttr getNeutral(vector::CombiningKind kind, Type type) {
  Builder builder(type.getContext());
  if (auto floating = dyn_cast<FloatType>(type)) {
    const llvm::fltSemantics &semantics = floating.getFloatSemantics();
    if (kind == vector::CombiningKind::ADD)
      return builder.getFloatAttr(type, APFloat::getZero(semantics, true));
    return builder.getFloatAttr(
        type,
        APFloat::getInf(semantics, kind == vector::CombiningKind::MAXIMUMF));
  }
  unsigned width = type.getIntOrFloatBitWidth();
  if (kind == vector::CombiningKind::MAXSI)
    return builder.getIntegerAttr(type, APInt::getSignedMinValue(width));
  if (kind == vector::CombiningKind::MINSI)
    return builder.getIntegerAttr(type, APInt::getSignedMaxValue(width));
  return builder.getIntegerAttr(type, APInt::getZero(width));
}

void LoopNest::chooseForm(unsigned vectorBits) {
  if (sequential.empty())
    return;
  auto out = cast<MemRefType>(op.getDpsInits().front().getType());
  if (!out.getElementType().isIntOrFloat())
    return;
  unsigned bits = std::max(8u, out.getElementTypeBitWidth());
  bool wide = vectorBits >= 512;
  if (column >= 0 && canVectorise(column) &&
      getStride(*op.getDpsInitOperand(0), column) == Stride::One) {
    form = Form::Columns;
    lanes = vectorBits / bits;
    tileVectors = 2;
    tileRows = wide ? 8 : 4;
  } else if (op.getNumDpsInits() == 1 && canVectorise(sequential.back()) &&
             getKind(findCombiner(op.getRegionOutputArgs().front()))) {
    form = Form::Dot;
    lanes = vectorBits / bits;
    tileVectors = wide ? 4 : 2;
    tileRows = 4;
  } else {
    return;
  }
  // A tile pays if its rows share what they load.
  bool shares = false;
  if (row >= 0)
    for (OpOperand *input : op.getDpsInputOperands())
      shares |= getStride(*input, row) == Stride::Zero;
  if (!shares)
    tileRows = 1;
}

LoopNest::LoopNest(linalg::LinalgOp op, unsigned vectorBits) : op(op) {
  SmallVector<utils::IteratorType> iterators = op.getIteratorTypesArray();
  SmallVector<unsigned> parallel;
  llvm::SmallBitVector seen(iterators.size());
  bool projected = op.getNumDpsInits() > 0;
  for (OpOperand &init : op.getDpsInitsMutable())
    projected &= op.getMatchingIndexingMap(&init).isProjectedPermutation();
  // Each output must vary along a dimension for it to be split among tasks.
  if (projected)
    for (AffineExpr result :
         op.getMatchingIndexingMap(op.getDpsInitOperand(0)).getResults()) {
      unsigned dim = cast<AffineDimExpr>(result).getPosition();
      bool inAll = llvm::all_of(op.getDpsInitsMutable(), [&](OpOperand &init) {
        return op.getMatchingIndexingMap(&init).isFunctionOfDim(dim);
      });
      if (inAll && iterators[dim] == utils::IteratorType::parallel) {
        parallel.push_back(dim);
        seen.set(dim);
      }
    }
  for (unsigned dim = 0; dim < iterators.size(); ++dim)
    if (!seen.test(dim))
      sequential.push_back(dim);
  if (!parallel.empty())
    column = parallel.pop_back_val();
  if (!parallel.empty())
    row = parallel.pop_back_val();
  outer = parallel;
  for (OpOperand &init : op.getDpsInitsMutable())
    for (unsigned dim : sequential)
      accumulates &= !op.getMatchingIndexingMap(&init).isFunctionOfDim(dim);
  if (accumulates)
    chooseForm(vectorBits);
}

//===----------------------------------------------------------------------===//
// Payload
//===----------------------------------------------------------------------===//

/// The indices at which an operand with `map` is accessed.
static SmallVector<Value> applyMap(OpBuilder &builder, Location loc,
                                   AffineMap map, ArrayRef<Value> indices) {
  SmallVector<Value> results;
  for (AffineExpr expr : map.getResults()) {
    if (auto dim = dyn_cast<AffineDimExpr>(expr))
      results.push_back(indices[dim.getPosition()]);
    else if (auto constant = dyn_cast<AffineConstantExpr>(expr))
      results.push_back(
          arith::ConstantIndexOp::create(builder, loc, constant.getValue()));
    else
      results.push_back(affine::AffineApplyOp::create(
          builder, loc, AffineMap::get(map.getNumDims(), 0, expr), indices));
  }
  return results;
}

Value LoopNest::load(OpBuilder &builder, OpOperand &operand,
                     ArrayRef<Value> indices, int vectorDim) const {
  Location loc = op.getLoc();
  auto type = dyn_cast<MemRefType>(operand.get().getType());
  if (!type)
    return operand.get();
  SmallVector<Value> position = applyMap(
      builder, loc, op.getMatchingIndexingMap(&operand), indices);
  if (vectorDim >= 0 && getStride(operand, vectorDim) == Stride::One)
    return vector::LoadOp::create(
        builder, loc, VectorType::get({lanes}, type.getElementType()),
        operand.get(), position);
  return memref::LoadOp::create(builder, loc, operand.get(), position);
}

void LoopNest::store(OpBuilder &builder, OpOperand &operand,
                     ArrayRef<Value> indices, Value value) const {
  Location loc = op.getLoc();
  SmallVector<Value> position = applyMap(
      builder, loc, op.getMatchingIndexingMap(&operand), indices);
  if (isa<VectorType>(value.getType()))
    vector::StoreOp::create(builder, loc, value, operand.get(), position);
  else
    memref::StoreOp::create(builder, loc, value, operand.get(), position);
}

SmallVector<Value> LoopNest::emitPayload(OpBuilder &builder,
                                         ArrayRef<Value> indices,
                                         ValueRange accumulators,
                                         int vectorDim) const {
  Location loc = op.getLoc();
  Block *block = op.getBlock();
  IRMapping map;
  for (OpOperand *input : op.getDpsInputOperands()) {
    BlockArgument argument = op.getMatchingBlockArgument(input);
    if (!argument.use_empty())
      map.map(argument, load(builder, *input, indices, vectorDim));
  }
  for (auto [argument, value] :
       llvm::zip(op.getRegionOutputArgs(), accumulators))
    map.map(argument, value);

  auto broadcast = [&](Value value) -> Value {
    if (isa<VectorType>(value.getType()))
      return value;
    return vector::BroadcastOp::create(
        builder, loc, VectorType::get({lanes}, value.getType()), value);
  };
  for (Operation &inner : block->without_terminator()) {
    if (auto index = dyn_cast<linalg::IndexOp>(inner)) {
      map.map(index.getResult(), indices[index.getDim()]);
      continue;
    }
    bool anyVector = llvm::any_of(inner.getOperands(), [&](Value operand) {
      return isa<VectorType>(map.lookupOrDefault(operand).getType());
    });
    Operation *clone;
    if (anyVector) {
      SmallVector<Value> operands;
      for (Value operand : inner.getOperands())
        operands.push_back(broadcast(map.lookupOrDefault(operand)));
      OperationState state(loc, inner.getName().getStringRef(), operands,
                           VectorType::get({lanes},
                                           inner.getResult(0).getType()),
                           inner.getAttrs());
      clone = builder.create(state);
      map.map(inner.getResult(0), clone->getResult(0));
    } else {
      clone = builder.clone(inner, map);
    }
    // Sums in a loop may be formed by fused multiply-adds; along vectors of
    // the reduction their order is ours.
    if (!sequential.empty())
      if (auto fast = dyn_cast<arith::ArithFastMathInterface>(clone);
          fast && isa<arith::AddFOp, arith::SubFOp, arith::MulFOp>(clone)) {
        auto flags = arith::FastMathFlags::contract;
        if (auto old = fast.getFastMathFlagsAttr())
          flags = flags | old.getValue();
        clone->setAttr(fast.getFastMathAttrName(),
                       arith::FastMathFlagsAttr::get(clone->getContext(),
                                                     flags));
      }
  }
  SmallVector<Value> results;
  for (Value result : block->getTerminator()->getOperands())
    results.push_back(map.lookupOrDefault(result));
  return results;
}

//===----------------------------------------------------------------------===//
// Loops
//===----------------------------------------------------------------------===//

/// Emits `scf.for` over `range`; `body` gets the index and the carried values
/// and returns the next ones.
static SmallVector<Value> emitLoop(
    OpBuilder &builder, Location loc, IndexRange range, Value step,
    ValueRange carried,
    function_ref<SmallVector<Value>(OpBuilder &, Value, ValueRange)> body) {
  auto loop = scf::ForOp::create(
      builder, loc, range.begin, range.end, step, carried,
      [&](OpBuilder &inner, Location, Value index, ValueRange values) {
        scf::YieldOp::create(inner, loc, body(inner, index, values));
      });
  return SmallVector<Value>(loop.getResults());
}

/// The largest `begin + n * step` that is not above the range's end.
static Value roundDown(OpBuilder &builder, Location loc, IndexRange range,
                       unsigned step) {
  Value size = arith::SubIOp::create(builder, loc, range.end, range.begin);
  Value width = arith::ConstantIndexOp::create(builder, loc, step);
  Value rest = arith::RemUIOp::create(builder, loc, size, width);
  return arith::SubIOp::create(builder, loc, range.end, rest);
}

static Value addConstant(OpBuilder &builder, Location loc, Value value,
                         unsigned amount) {
  if (!amount)
    return value;
  return arith::AddIOp::create(
      builder, loc, value,
      arith::ConstantIndexOp::create(builder, loc, amount));
}

void LoopNest::emitTile(OpBuilder &builder, SmallVector<Value> indices,
                        unsigned numRows, unsigned numColumns, bool vector,
                        ArrayRef<Value> extents) const {
  Location loc = op.getLoc();
  Value zero = arith::ConstantIndexOp::create(builder, loc, 0);
  Value one = arith::ConstantIndexOp::create(builder, loc, 1);
  bool dot = form == Form::Dot && vector;
  int vectorDim = !vector ? -1 : dot ? sequential.back() : column;
  unsigned columnStep = vector && !dot ? lanes : 1;
  unsigned numOutputs = op.getNumDpsInits();

  // Where the elements of the tile lie, row by row.
  SmallVector<SmallVector<Value>> places;
  for (unsigned r = 0; r < numRows; ++r)
    for (unsigned c = 0; c < numColumns; ++c) {
      SmallVector<Value> place = indices;
      if (row >= 0)
        place[row] = addConstant(builder, loc, indices[row], r);
      if (column >= 0)
        place[column] =
            addConstant(builder, loc, indices[column], c * columnStep);
      places.push_back(place);
    }
  // Reductions have no index yet: outputs do not depend on them.
  auto loadOutputs = [&](OpBuilder &inner) {
    SmallVector<Value> values;
    for (SmallVector<Value> &place : places)
      for (unsigned output = 0; output < numOutputs; ++output) {
        OpOperand &init = *op.getDpsInitOperand(output);
        values.push_back(
            load(inner, init, place, dot ? -1 : vectorDim));
      }
    return values;
  };

  auto storeOutputs = [&](OpBuilder &inner, ArrayRef<Value> values) {
    unsigned number = 0;
    for (SmallVector<Value> &place : places)
      for (unsigned output = 0; output < numOutputs; ++output) {
        Value value = values[number++];
        // What a vectorised payload leaves scalar is the same in all lanes.
        if (vector && !dot && !isa<VectorType>(value.getType()))
          value = vector::BroadcastOp::create(
              inner, loc, VectorType::get({lanes}, value.getType()), value);
        store(inner, *op.getDpsInitOperand(output), place, value);
      }
  };

  auto payloads = [&](OpBuilder &inner, ArrayRef<unsigned> dims,
                      ArrayRef<Value> position, ValueRange accumulators,
                      int along) {
    SmallVector<Value> results;
    for (auto [number, place] : llvm::enumerate(places)) {
      SmallVector<Value> at = place;
      for (auto [dim, index] : llvm::zip(dims, position))
        at[dim] = index;
      llvm::append_range(
          results, emitPayload(inner, at,
                               accumulators.slice(number * numOutputs,
                                                  numOutputs),
                               along));
    }
    return results;
  };

  if (!accumulates) {
    // Outputs move along with sequential loops: load and store inside.
    std::function<void(OpBuilder &, unsigned)> descend =
        [&](OpBuilder &inner, unsigned depth) {
          if (depth < sequential.size()) {
            emitLoop(inner, loc, {zero, extents[sequential[depth]]}, one, {},
                     [&](OpBuilder &body, Value index, ValueRange) {
                       for (SmallVector<Value> &place : places)
                         place[sequential[depth]] = index;
                       descend(body, depth + 1);
                       return SmallVector<Value>();
                     });
            return;
          }
          SmallVector<Value> old = loadOutputs(inner);
          storeOutputs(inner, payloads(inner, {}, {}, old, -1));
        };
    descend(builder, 0);
    return;
  }

  SmallVector<Value> accumulators = loadOutputs(builder);
  std::optional<vector::CombiningKind> kind;
  if (dot)
    kind = getKind(findCombiner(op.getRegionOutputArgs().front()));

  std::function<SmallVector<Value>(OpBuilder &, unsigned, SmallVector<Value>,
                                   ValueRange)>
      reduce = [&](OpBuilder &inner, unsigned depth,
                   SmallVector<Value> position,
                   ValueRange values) -> SmallVector<Value> {
    if (depth == sequential.size())
      return payloads(inner, sequential, position, values, vectorDim);
    IndexRange range{zero, extents[sequential[depth]]};
    bool innermost = depth + 1 == sequential.size();
    if (!dot || !innermost)
      return emitLoop(inner, loc, range, one, values,
                      [&](OpBuilder &body, Value index, ValueRange carried) {
                        SmallVector<Value> next = position;
                        next.push_back(index);
                        return reduce(body, depth + 1, next, carried);
                      });

    // Vectors along the innermost reduction: full ones into vector
    // accumulators, their sums and then the rest into the scalar ones.
    SmallVector<Value> neutral;
    for (Value value : values)
      neutral.push_back(arith::ConstantOp::create(
          inner, loc,
          DenseElementsAttr::get(VectorType::get({lanes}, value.getType()),
                                 Attribute(getNeutral(*kind,
                                                      value.getType())))));
    Value split = roundDown(inner, loc, range, lanes);
    Value width = arith::ConstantIndexOp::create(inner, loc, lanes);
    SmallVector<Value> sums = emitLoop(
        inner, loc, {zero, split}, width, neutral,
        [&](OpBuilder &body, Value index, ValueRange carried) {
          SmallVector<Value> next = position;
          next.push_back(index);
          return payloads(body, sequential, next, carried, vectorDim);
        });
    SmallVector<Value> combined;
    for (auto [sum, value] : llvm::zip(sums, values))
      combined.push_back(vector::ReductionOp::create(
          inner, loc, *kind, sum, value,
          isa<FloatType>(value.getType()) &&
                  *kind == vector::CombiningKind::ADD
              ? arith::FastMathFlags::reassoc
              : arith::FastMathFlags::none));
    return emitLoop(inner, loc, {split, range.end}, one, combined,
                    [&](OpBuilder &body, Value index, ValueRange carried) {
                      SmallVector<Value> next = position;
                      next.push_back(index);
                      return payloads(body, sequential, next, carried, -1);
                    });
  };
  SmallVector<Value> results = reduce(builder, 0, {}, accumulators);

  storeOutputs(builder, results);
}

void LoopNest::emitColumns(OpBuilder &builder, SmallVector<Value> indices,
                           unsigned numRows, IndexRange columns,
                           ArrayRef<Value> extents) const {
  Location loc = op.getLoc();
  Value one = arith::ConstantIndexOp::create(builder, loc, 1);
  if (column < 0) {
    emitTile(builder, indices, numRows, 1, form == Form::Dot, extents);
    return;
  }
  auto strip = [&](Value begin, unsigned numColumns, unsigned width,
                   bool vector) {
    Value end = roundDown(builder, loc, {begin, columns.end}, width);
    Value step = arith::ConstantIndexOp::create(builder, loc, width);
    emitLoop(builder, loc, {begin, end}, step, {},
             [&](OpBuilder &body, Value index, ValueRange) {
               indices[column] = index;
               emitTile(body, indices, numRows, numColumns, vector, extents);
               return SmallVector<Value>();
             });
    return end;
  };
  Value begin = columns.begin;
  switch (form) {
  case Form::Columns:
    begin = strip(begin, tileVectors, tileVectors * lanes, true);
    if (tileVectors > 1)
      begin = strip(begin, 1, lanes, true);
    strip(begin, 1, 1, false);
    return;
  case Form::Dot:
    if (tileVectors > 1 && row >= 0 && tileRows > 1)
      begin = strip(begin, tileVectors, tileVectors, true);
    strip(begin, 1, 1, true);
    return;
  case Form::Scalar:
    emitLoop(builder, loc, columns, one, {},
             [&](OpBuilder &body, Value index, ValueRange) {
               indices[column] = index;
               emitTile(body, indices, 1, 1, false, extents);
               return SmallVector<Value>();
             });
    return;
  }
}

void LoopNest::emit(OpBuilder &builder, IndexRange outerRange, IndexRange rows,
                    IndexRange columns, ArrayRef<Value> extents) const {
  Location loc = op.getLoc();
  Value zero = arith::ConstantIndexOp::create(builder, loc, 0);
  Value one = arith::ConstantIndexOp::create(builder, loc, 1);
  auto emitRows = [&](OpBuilder &inner, SmallVector<Value> indices) {
    if (row < 0) {
      emitColumns(inner, indices, 1, columns, extents);
      return;
    }
    Value begin = rows.begin;
    if (tileRows > 1) {
      Value end = roundDown(inner, loc, rows, tileRows);
      emitLoop(inner, loc, {begin, end},
               arith::ConstantIndexOp::create(inner, loc, tileRows), {},
               [&](OpBuilder &body, Value index, ValueRange) {
                 indices[row] = index;
                 emitColumns(body, indices, tileRows, columns, extents);
                 return SmallVector<Value>();
               });
      begin = end;
    }
    emitLoop(inner, loc, {begin, rows.end}, one, {},
             [&](OpBuilder &body, Value index, ValueRange) {
               indices[row] = index;
               emitColumns(body, indices, 1, columns, extents);
               return SmallVector<Value>();
             });
  };

  SmallVector<Value> indices(op.getNumLoops(), zero);
  if (outer.empty()) {
    emitRows(builder, indices);
    return;
  }
  emitLoop(builder, loc, outerRange, one, {},
           [&](OpBuilder &body, Value number, ValueRange) {
             // The last outer dimension runs fastest.
             for (unsigned position = outer.size(); position-- > 1;) {
               unsigned dim = outer[position];
               indices[dim] = arith::RemUIOp::create(body, loc, number,
                                                     extents[dim]);
               number = arith::DivUIOp::create(body, loc, number,
                                               extents[dim]);
             }
             indices[outer.front()] = number;
             emitRows(body, indices);
             return SmallVector<Value>();
           });
}
