//===- Indexing.cpp - gather and scatter ----------------------------------===//
//
// Indices are checked in one pass in front of the loops that use them.
//
// Gathers are pointwise computations over the result: the index is an operand
// read along the outer dims, the data an element at a computed place, so where
// the index does not depend on the innermost dim the inner loop is a copy.
//
// Scatters update the data in the order of the indices, so duplicates have a
// defined result: the last one wins, or all are combined from first to last.
// The data is a carried tensor and is updated in place if nobody else needs
// it; then a chain of scatters into one tensor costs only what it writes.
//
//===----------------------------------------------------------------------===//

#include "mlir/Dialect/Utils/StaticValueUtils.h"
#include "passes/Lower/ONNXToLinalg/Loops.h"

using namespace mlir;
using namespace moe;
using namespace moe::lower;

/// Checks that extent i of `small` does not exceed extent i of `large`.
static void checkFits(FunctionLowering &l, Value small, Value large, int64_t i,
                      const Twine &message) {
  if (!l.sameExtent(small, i, large, i))
    l.check(
        l.compare(arith::CmpIPredicate::sle, l.dim(small, i), l.dim(large, i)),
        message, /*code=*/3);
}

static void checkSame(FunctionLowering &l, Value x, int64_t i, Value y,
                      int64_t j, const Twine &message) {
  if (!l.sameExtent(x, i, y, j))
    l.checkEqual(l.dim(x, i), l.dim(y, j), message);
}

//===----------------------------------------------------------------------===//
// Gather
//===----------------------------------------------------------------------===//

static LogicalResult lowerGather(FunctionLowering &l, Operation *op) {
  Value data = operand(op, 0), indices = operand(op, 1), out = result(op, 0);
  int64_t rank = rankOf(data), indexRank = rankOf(indices);
  int64_t axis = normalizeAxis(intAttr(op, "axis", 0), rank);
  Extents dataDims = l.dims(data), shape;
  shape.append(dataDims.begin(), dataDims.begin() + axis);
  llvm::append_range(shape, l.dims(indices));
  shape.append(dataDims.begin() + axis + 1, dataDims.end());
  shape = l.bindDims(out, shape);

  OpFoldResult extent = dataDims[axis];
  Value source = l.tensor(data);
  const Extents *known = l.elements(indices);
  if (known && indexRank == 0) {
    // One index: a window of the data, no copy.
    OpFoldResult index = known->front();
    auto slt = arith::CmpIPredicate::slt;
    std::optional<int64_t> constant = getConstantIntValue(index);
    if (constant && *constant >= 0) {
      l.check(l.compare(slt, index, extent), "index out of range");
    } else {
      Value negative = l.compare(slt, index, l.index(0));
      index = l.select(negative, l.add(index, extent), index);
      l.check(l.compare(arith::CmpIPredicate::ult, index, extent),
              "index out of range");
    }
    Extents offsets(rank, l.index(0)), sizes = dataDims,
                                       steps(rank, l.index(1));
    offsets[axis] = index;
    sizes[axis] = l.index(1);
    SmallVector<int64_t> resultShape;
    for (OpFoldResult e : shape)
      resultShape.push_back(
          getConstantIntValue(e).value_or(ShapedType::kDynamic));
    // The window must have the extents that the data is known to have.
    for (int64_t i = 0; i < rank; ++i)
      if (i != axis)
        sizes[i] = shape[i < axis ? i : i - 1];
    auto type = RankedTensorType::get(resultShape, elementOf(source));
    l.set(out, tensor::ExtractSliceOp::create(l.b, l.loc(), type, source,
                                              offsets, sizes, steps));
    return success();
  }

  checkRange(l, indices, extent, "index out of range");
  Value limit = l.value(extent);
  AffineMap map =
      AffineMap::getMultiDimIdentityMap(shape.size(), l.b.getContext())
          .getSliceMap(axis, indexRank);
  l.set(out,
        l.pointwise(shape, elementOf(source), l.tensor(indices), map,
                    [&](OpBuilder &b, Location loc, ValueRange args) -> Value {
                      SmallVector<Value> at;
                      for (int64_t i = 0; i < rank; ++i) {
                        if (i == axis)
                          at.push_back(wrapIndex(b, loc, args[0], limit));
                        else
                          at.push_back(linalg::IndexOp::create(
                              b, loc, i < axis ? i : i - 1 + indexRank));
                      }
                      return tensor::ExtractOp::create(b, loc, source, at);
                    }));
  return success();
}

static LogicalResult lowerGatherElements(FunctionLowering &l, Operation *op) {
  Value data = operand(op, 0), indices = operand(op, 1), out = result(op, 0);
  int64_t rank = rankOf(data);
  int64_t axis = normalizeAxis(intAttr(op, "axis", 0), rank);
  for (int64_t i = 0; i < rank; ++i)
    if (i != axis)
      checkFits(l, indices, data, i,
                "extent " + Twine(i) + " of the indices exceeds the data's");
  checkRange(l, indices, l.dim(data, axis), "index out of range");
  Value source = l.tensor(data), limit = l.value(l.dim(data, axis));
  Extents shape = l.bindDims(out, l.dims(indices));
  l.set(out, l.pointwise(
                 shape, elementOf(source), l.tensor(indices),
                 AffineMap::getMultiDimIdentityMap(rank, l.b.getContext()),
                 [&](OpBuilder &b, Location loc, ValueRange args) -> Value {
                   SmallVector<Value> at;
                   for (int64_t i = 0; i < rank; ++i)
                     at.push_back(
                         i == axis
                             ? wrapIndex(b, loc, args[0], limit)
                             : linalg::IndexOp::create(b, loc, i).getResult());
                   return tensor::ExtractOp::create(b, loc, source, at);
                 }));
  return success();
}

//===----------------------------------------------------------------------===//
// Index vectors: GatherND, ScatterND
//===----------------------------------------------------------------------===//

/// Checks the last dim of `indices`, which holds `count` indices into the dims
/// [first, first + count) of `data`.
static void checkIndexVectors(FunctionLowering &l, Value indices, Value data,
                              int64_t first, int64_t count) {
  int64_t last = rankOf(indices) - 1;
  l.checkEqual(l.dim(indices, last), l.index(count),
               "the last extent of the indices must be " + Twine(count));
  if (count == 1)
    return checkRange(l, indices, l.dim(data, first), "index out of range");
  Value source = l.tensor(indices);
  Extents offsets(last + 1, l.index(0)), sizes = l.dims(indices),
                                         steps(last + 1, l.index(1));
  sizes[last] = l.index(1);
  for (int64_t i = 0; i < count; ++i) {
    offsets[last] = l.index(i);
    l.checkIndices(l.slice(source, offsets, sizes, steps),
                   l.dim(data, first + i),
                   "index " + Twine(i) + " out of range");
  }
}

static LogicalResult lowerGatherND(FunctionLowering &l, Operation *op) {
  Value data = operand(op, 0), indices = operand(op, 1), out = result(op, 0);
  int64_t rank = rankOf(data), indexRank = rankOf(indices);
  int64_t batch = intAttr(op, "batch_dims", 0);
  // The result has the dims of the indices but the last one, then the dims of
  // the data that the index vectors leave.
  int64_t count = rank - batch - (rankOf(out) - (indexRank - 1));
  if (batch < 0 || count < 0 || batch + count > rank || batch >= indexRank)
    return op->emitOpError()
           << "has data of rank " << rank << ", indices of rank " << indexRank
           << ", batch_dims " << batch << " and a result of rank "
           << rankOf(out) << ", which do not fit together";
  for (int64_t i = 0; i < batch; ++i)
    checkSame(l, data, i, indices, i, "batch extent " + Twine(i) + " differs");
  checkIndexVectors(l, indices, data, batch, count);

  Extents shape = l.dims(indices), dataDims = l.dims(data);
  shape.pop_back();
  shape.append(dataDims.begin() + batch + count, dataDims.end());
  shape = l.bindDims(out, shape);
  Value source = l.tensor(data), positions = l.tensor(indices);
  SmallVector<Value> operands, limits;
  SmallVector<AffineMap> maps;
  for (int64_t i = 0; i < count; ++i) {
    SmallVector<AffineExpr> exprs;
    for (int64_t d = 0; d + 1 < indexRank; ++d)
      exprs.push_back(l.b.getAffineDimExpr(d));
    exprs.push_back(l.b.getAffineConstantExpr(i));
    operands.push_back(positions);
    maps.push_back(AffineMap::get(shape.size(), 0, exprs, l.b.getContext()));
    limits.push_back(l.value(dataDims[batch + i]));
  }
  l.set(out, l.pointwise(
                 shape, elementOf(source), operands, maps,
                 [&](OpBuilder &b, Location loc, ValueRange args) -> Value {
                   SmallVector<Value> at;
                   for (int64_t i = 0; i < rank; ++i) {
                     if (i >= batch && i < batch + count)
                       at.push_back(wrapIndex(b, loc, args[i - batch],
                                              limits[i - batch]));
                     else
                       at.push_back(linalg::IndexOp::create(
                           b, loc,
                           i < batch ? i : i - batch - count + indexRank - 1));
                   }
                   return tensor::ExtractOp::create(b, loc, source, at);
                 }));
  return success();
}

//===----------------------------------------------------------------------===//
// Scatter
//===----------------------------------------------------------------------===//

namespace {
/// What a scatter does with the old and the new value.
enum class Reduction { None, Add, Mul, Min, Max };
} // namespace

static FailureOr<Reduction> getReduction(Operation *op) {
  StringRef name = stringAttr(op, "reduction", "none");
  if (name == "none")
    return Reduction::None;
  if (name == "add")
    return Reduction::Add;
  if (name == "mul")
    return Reduction::Mul;
  if (name == "min")
    return Reduction::Min;
  if (name == "max")
    return Reduction::Max;
  return op->emitOpError() << "has the reduction '" << name
                           << "'; accepted: none, add, mul, min, max";
}

static Value combineInt(OpBuilder &b, Location loc, Reduction reduction,
                        Value old, Value update, bool isUnsigned) {
  bool isBool = old.getType().isInteger(1);
  switch (reduction) {
  case Reduction::None:
    return update;
  case Reduction::Add:
    if (isBool)
      return arith::OrIOp::create(b, loc, old, update);
    return arith::AddIOp::create(b, loc, old, update);
  case Reduction::Mul:
    return arith::MulIOp::create(b, loc, old, update);
  case Reduction::Min:
    if (isUnsigned || isBool)
      return arith::MinUIOp::create(b, loc, old, update);
    return arith::MinSIOp::create(b, loc, old, update);
  case Reduction::Max:
    if (isUnsigned || isBool)
      return arith::MaxUIOp::create(b, loc, old, update);
    return arith::MaxSIOp::create(b, loc, old, update);
  }
  return update;
}

static Value combine(OpBuilder &b, Location loc, Reduction reduction, Value old,
                     Value update, bool isUnsigned) {
  Type element = old.getType();
  if (!isa<FloatType>(element))
    return combineInt(b, loc, reduction, old, update, isUnsigned);
  Value x = widen(b, loc, old), y = widen(b, loc, update), out;
  switch (reduction) {
  case Reduction::None:
    return update;
  case Reduction::Add:
    out = arith::AddFOp::create(b, loc, x, y);
    break;
  case Reduction::Mul:
    out = arith::MulFOp::create(b, loc, x, y);
    break;
  case Reduction::Min:
    out = arith::MinimumFOp::create(b, loc, x, y);
    break;
  case Reduction::Max:
    out = arith::MaximumFOp::create(b, loc, x, y);
    break;
  }
  return narrow(b, loc, out, element);
}

/// Stores `update` at a place of `into`, combined with what is there.
static Value scatterOne(FunctionLowering &l, Reduction reduction, Value into,
                        ValueRange at, Value update, bool isUnsigned) {
  if (reduction != Reduction::None) {
    Value old = tensor::ExtractOp::create(l.b, l.loc(), into, at);
    update = combine(l.b, l.loc(), reduction, old, update, isUnsigned);
  }
  return tensor::InsertOp::create(l.b, l.loc(), update, into, at);
}

static LogicalResult lowerScatterElements(FunctionLowering &l, Operation *op) {
  Value data = operand(op, 0), indices = operand(op, 1),
        updates = operand(op, 2), out = result(op, 0);
  FailureOr<Reduction> reduction = getReduction(op);
  if (failed(reduction))
    return failure();
  int64_t rank = rankOf(data);
  int64_t axis = normalizeAxis(intAttr(op, "axis", 0), rank);
  for (int64_t i = 0; i < rank; ++i) {
    checkSame(l, indices, i, updates, i,
              "extent " + Twine(i) + " of indices and updates differs");
    if (i != axis)
      checkFits(l, indices, data, i,
                "extent " + Twine(i) + " of the indices exceeds the data's");
  }
  checkRange(l, indices, l.dim(data, axis), "index out of range");
  bool isUnsignedData = isUnsigned(elementOf(data));
  Value limit = l.value(l.dim(data, axis));
  Value positions = l.tensor(indices), source = l.tensor(updates);
  Extents shape = l.dims(indices);
  (void)l.bindDims(out, l.dims(data));
  l.set(out, forEachCarrying(
                 l, shape, l.tensor(data),
                 [&](ValueRange at, ValueRange carried) -> SmallVector<Value> {
                   Value index =
                       tensor::ExtractOp::create(l.b, l.loc(), positions, at);
                   Value update =
                       tensor::ExtractOp::create(l.b, l.loc(), source, at);
                   SmallVector<Value> to(at);
                   to[axis] = wrapIndex(l.b, l.loc(), index, limit);
                   return {scatterOne(l, *reduction, carried[0], to, update,
                                      isUnsignedData)};
                 })[0]);
  return success();
}

static LogicalResult lowerScatterND(FunctionLowering &l, Operation *op) {
  Value data = operand(op, 0), indices = operand(op, 1),
        updates = operand(op, 2), out = result(op, 0);
  FailureOr<Reduction> reduction = getReduction(op);
  if (failed(reduction))
    return failure();
  int64_t rank = rankOf(data), outer = rankOf(indices) - 1;
  // The updates have the dims of the indices but the last one, then the dims
  // of the data that the index vectors leave.
  int64_t inner = rankOf(updates) - outer, count = rank - inner;
  if (inner < 0 || count < 0)
    return op->emitOpError()
           << "has data of rank " << rank << ", indices of rank " << outer + 1
           << " and updates of rank " << rankOf(updates)
           << ", which do not fit together";
  for (int64_t i = 0; i < outer; ++i)
    checkSame(l, updates, i, indices, i,
              "extent " + Twine(i) + " of indices and updates differs");
  for (int64_t i = 0; i < inner; ++i)
    checkSame(l, updates, outer + i, data, count + i,
              "extent " + Twine(outer + i) +
                  " of the updates differs from the data's");
  checkIndexVectors(l, indices, data, 0, count);

  bool isUnsignedData = isUnsigned(elementOf(data));
  Extents dataDims = l.dims(data), outerDims = l.dims(indices);
  outerDims.pop_back();
  SmallVector<Value> limits;
  for (int64_t i = 0; i < count; ++i)
    limits.push_back(l.value(dataDims[i]));
  Value positions = l.tensor(indices), source = l.tensor(updates);
  (void)l.bindDims(out, dataDims);
  auto scatterSlice = [&](ValueRange from,
                          ValueRange carried) -> SmallVector<Value> {
    SmallVector<Value> to;
    for (int64_t i = 0; i < count; ++i) {
      SmallVector<Value> at(from);
      at.push_back(l.value(l.index(i)));
      Value index = tensor::ExtractOp::create(l.b, l.loc(), positions, at);
      to.push_back(wrapIndex(l.b, l.loc(), index, limits[i]));
    }
    SmallVector<Value> outerAt(from);
    return forEachCarrying(
        l, ArrayRef<OpFoldResult>(dataDims).drop_front(count), carried,
        [&](ValueRange innerAt, ValueRange current) -> SmallVector<Value> {
          SmallVector<Value> updateAt(outerAt), dataAt(to);
          llvm::append_range(updateAt, innerAt);
          llvm::append_range(dataAt, innerAt);
          Value update =
              tensor::ExtractOp::create(l.b, l.loc(), source, updateAt);
          return {scatterOne(l, *reduction, current[0], dataAt, update,
                             isUnsignedData)};
        });
  };
  l.set(out, forEachCarrying(l, outerDims, l.tensor(data), scatterSlice)[0]);
  return success();
}

void lower::registerIndexing(LoweringTable &table) {
  table.add("onnx.Gather", lowerGather);
  table.add("onnx.GatherElements", lowerGatherElements);
  table.add("onnx.GatherND", lowerGatherND);
  table.add("onnx.Scatter", lowerScatterElements);
  table.add("onnx.ScatterElements", lowerScatterElements);
  table.add("onnx.ScatterND", lowerScatterND);
}
