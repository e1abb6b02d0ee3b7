//===- Positions.cpp - operators that find or use positions ---------------===//
//
// NonZero and Compress have extents that depend on the data. NonZero counts
// before it allocates its result, whose rows are then filled in one walk;
// Compress notes the positions that it keeps and reads through them. CumSum
// walks along its axis with the other dims inside, on the data seen as
// [outer, axis, inner], so its axis may come at run time. OneHot, Trilu and
// ReverseSequence are pointwise.
//
//===----------------------------------------------------------------------===//

#include "mlir/Dialect/Utils/StaticValueUtils.h"
#include "passes/Lower/ONNXToLinalg/Loops.h"

using namespace mlir;
using namespace moe;
using namespace moe::lower;

static Value isNonZero(OpBuilder &b, Location loc, Value v) {
  Type type = v.getType();
  Value zero = arith::ConstantOp::create(b, loc, b.getZeroAttr(type));
  if (isa<FloatType>(type))
    return arith::CmpFOp::create(b, loc, arith::CmpFPredicate::UNE, v, zero);
  return arith::CmpIOp::create(b, loc, arith::CmpIPredicate::ne, v, zero);
}

static Value addIf(OpBuilder &b, Location loc, Value condition, Value x) {
  Value one = arith::ConstantIndexOp::create(b, loc, 1);
  Value plus = arith::AddIOp::create(b, loc, x, one);
  return arith::SelectOp::create(b, loc, condition, plus, x);
}

//===----------------------------------------------------------------------===//
// NonZero, Compress
//===----------------------------------------------------------------------===//

static LogicalResult lowerNonZero(FunctionLowering &l, Operation *op) {
  Value data = operand(op, 0), out = result(op, 0);
  int64_t rank = rankOf(data);
  Value source = l.tensor(data);
  Extents loops = l.dims(data);
  Type i64 = l.b.getI64Type();
  auto readAt = [&](ValueRange at) {
    Value v = tensor::ExtractOp::create(l.b, l.loc(), source, at);
    return isNonZero(l.b, l.loc(), v);
  };
  Value zero = l.value(l.index(0));
  Value count;
  if (rank == 0) {
    count = l.value(l.select(readAt({}), l.index(1), l.index(0)));
  } else {
    SmallVector<bool> reduced(rank, true);
    Value sum = l.reduce(
        loops, reduced, l.filled({}, l.scalar(i64, 0)), source,
        AffineMap::getMultiDimIdentityMap(rank, l.b.getContext()),
        [&](OpBuilder &b, Location loc, ValueRange args, Value total) -> Value {
          Value one =
              arith::ExtUIOp::create(b, loc, i64, isNonZero(b, loc, args[0]));
          return arith::AddIOp::create(b, loc, total, one);
        });
    count = arith::IndexCastOp::create(l.b, l.loc(), l.b.getIndexType(),
                                       l.extract(sum, {}));
  }
  // A scalar has no coordinates: its result has the extents [0, count].
  Extents shape = l.bindDims(out, {l.index(rank), count});
  Value found = l.allocate(shape, i64);
  if (rank > 0)
    forEachCarrying(
        l, loops, zero,
        [&](ValueRange at, ValueRange carried) -> SmallVector<Value> {
          Value take = readAt(at);
          ifThen(l, take, [&] {
            for (auto [i, index] : llvm::enumerate(at)) {
              Value number =
                  arith::IndexCastOp::create(l.b, l.loc(), i64, index);
              memref::StoreOp::create(
                  l.b, l.loc(), number, found,
                  ValueRange{l.value(l.index(i)), carried[0]});
            }
          });
          return {addIf(l.b, l.loc(), take, carried[0])};
        });
  l.set(out, l.finished(found));
  return success();
}

static LogicalResult lowerCompress(FunctionLowering &l, Operation *op) {
  Value data = operand(op, 0), condition = operand(op, 1), out = result(op, 0);
  Extents shape = l.dims(data);
  Value source = l.tensor(data), flags = l.tensor(condition);
  int64_t axis = 0;
  if (op->hasAttr("axis")) {
    axis = normalizeAxis(intAttr(op, "axis", 0), rankOf(data));
  } else {
    OpFoldResult total = l.product(shape);
    source = l.reshape(source, shape, {total});
    shape = {total};
  }
  // Flags beyond the axis count for nothing, elements beyond the flags are
  // dropped.
  OpFoldResult walked = l.min(l.dim(condition, 0), shape[axis]);
  Value kept = l.allocate({walked}, l.b.getIndexType());
  Value count =
      forRange(l, l.index(0), walked, l.index(1), l.value(l.index(0)),
               [&](Value i, ValueRange carried) -> SmallVector<Value> {
                 Value take = tensor::ExtractOp::create(l.b, l.loc(), flags, i);
                 ifThen(l, take, [&] {
                   memref::StoreOp::create(l.b, l.loc(), i, kept, carried[0]);
                 });
                 return {addIf(l.b, l.loc(), take, carried[0])};
               })[0];
  Extents outShape = shape;
  outShape[axis] = count;
  outShape = l.bindDims(out, outShape);
  Value positions =
      l.slice(l.finished(kept), {l.index(0)}, {outShape[axis]}, {l.index(1)});
  AffineMap map =
      AffineMap::get(outShape.size(), 0, l.b.getAffineDimExpr(axis));
  l.set(out, l.pointwise(
                 outShape, elementOf(source), positions, map,
                 [&](OpBuilder &b, Location loc, ValueRange args) -> Value {
                   SmallVector<Value> at;
                   for (size_t i = 0; i < outShape.size(); ++i)
                     at.push_back(
                         static_cast<int64_t>(i) == axis
                             ? args[0]
                             : linalg::IndexOp::create(b, loc, i).getResult());
                   return tensor::ExtractOp::create(b, loc, source, at);
                 }));
  return success();
}

//===----------------------------------------------------------------------===//
// CumSum
//===----------------------------------------------------------------------===//

static LogicalResult lowerCumSum(FunctionLowering &l, Operation *op) {
  Value data = operand(op, 0), out = result(op, 0);
  int64_t rank = rankOf(data);
  Extents shape = l.dims(data);
  FailureOr<Extents> axes = l.elementsOrLoad(op, operand(op, 1));
  if (failed(axes))
    return failure();
  if (axes->size() != 1)
    return op->emitOpError()
           << "has " << axes->size() << " axes; exactly 1 is accepted";
  OpFoldResult axis = axes->front();
  auto slt = arith::CmpIPredicate::slt;
  if (std::optional<int64_t> known = getConstantIntValue(axis)) {
    if (*known < -rank || *known >= rank)
      return op->emitOpError()
             << "has the axis " << *known << " for data of rank " << rank;
    axis = l.index(normalizeAxis(*known, rank));
  } else {
    axis = l.select(l.compare(slt, axis, l.index(0)),
                    l.add(axis, l.index(rank)), axis);
    l.check(l.compare(arith::CmpIPredicate::ult, axis, l.index(rank)),
            "axis out of range");
  }
  OpFoldResult outer = l.index(1), count = l.index(1), inner = l.index(1);
  for (int64_t i = 0; i < rank; ++i) {
    Value isOuter = l.compare(slt, l.index(i), axis);
    Value isAxis = l.compare(arith::CmpIPredicate::eq, l.index(i), axis);
    OpFoldResult one = l.index(1);
    outer = l.mul(outer, l.select(isOuter, shape[i], one));
    count = l.select(isAxis, shape[i], count);
    Value isInner = l.compare(slt, axis, l.index(i));
    inner = l.mul(inner, l.select(isInner, shape[i], one));
  }

  bool exclusive = intAttr(op, "exclusive", 0) != 0;
  bool reverse = intAttr(op, "reverse", 0) != 0;
  OpFoldResult total = l.product(shape);
  Value source = l.reshape(l.tensor(data), shape, {total});
  Type element = elementOf(source);
  Value sums = l.allocate({total}, element);
  Value none = l.scalar(element, 0);
  OpFoldResult lastPlace = l.sub(count, l.index(1));
  l.forEach({outer, count}, [&](ValueRange at) {
    // Where the sum of this step goes, and where the previous one went.
    OpFoldResult step = at[1], place = step, left = l.sub(step, l.index(1));
    if (reverse) {
      place = l.sub(lastPlace, step);
      left = l.add(place, l.index(1));
    }
    OpFoldResult row = l.mul(at[0], count);
    OpFoldResult here = l.mul(l.add(row, place), inner);
    OpFoldResult before = l.mul(l.add(row, left), inner);
    OpFoldResult added = exclusive ? before : here;
    auto placeOf = [&](OpFoldResult base, Value i) {
      return l.value(l.add(base, i));
    };
    auto addUp = [&](Value i, Value previous) {
      Value x =
          tensor::ExtractOp::create(l.b, l.loc(), source, placeOf(added, i));
      Value sum;
      if (isa<FloatType>(element))
        sum = narrow(l.b, l.loc(),
                     arith::AddFOp::create(l.b, l.loc(),
                                           widen(l.b, l.loc(), previous),
                                           widen(l.b, l.loc(), x)),
                     element);
      else
        sum = arith::AddIOp::create(l.b, l.loc(), previous, x);
      memref::StoreOp::create(l.b, l.loc(), sum, sums, placeOf(here, i));
    };
    Value first = l.compare(arith::CmpIPredicate::eq, step, l.index(0));
    ifElse(
        l, first, {},
        [&]() -> SmallVector<Value> {
          l.forEach({inner}, [&](ValueRange i) {
            if (exclusive)
              memref::StoreOp::create(l.b, l.loc(), none, sums,
                                      placeOf(here, i[0]));
            else
              addUp(i[0], none);
          });
          return {};
        },
        [&]() -> SmallVector<Value> {
          l.forEach({inner}, [&](ValueRange i) {
            addUp(i[0], memref::LoadOp::create(l.b, l.loc(), sums,
                                               placeOf(before, i[0])));
          });
          return {};
        });
  });
  (void)l.bindDims(out, shape);
  l.set(out, l.reshape(l.finished(sums), {total}, shape));
  return success();
}

//===----------------------------------------------------------------------===//
// OneHot
//===----------------------------------------------------------------------===//

/// The depth as an extent; checks at run time that it is one.
static FailureOr<OpFoldResult> getDepth(FunctionLowering &l, Operation *op,
                                        Value onnxDepth) {
  if (const Extents *known = l.elements(onnxDepth)) {
    if (known->size() != 1)
      return op->emitOpError() << "has " << known->size()
                               << " values for the depth; 1 is accepted";
    return known->front();
  }
  if (rankOf(onnxDepth) == 1)
    l.checkEqual(l.dim(onnxDepth, 0), l.index(1), "the depth is not one value");
  else if (rankOf(onnxDepth) > 1)
    return op->emitOpError() << "has a depth of rank " << rankOf(onnxDepth)
                             << "; 0 and 1 are accepted";
  Extents at(rankOf(onnxDepth), l.index(0));
  Value depth = l.extract(l.tensor(onnxDepth), at);
  OpBuilder &b = l.b;
  Type i64 = b.getI64Type();
  if (isa<FloatType>(depth.getType())) {
    Value wide = widen(b, l.loc(), depth);
    // Ordered, so NaN fails; 2^62 is representable in every wide type.
    Value low = arith::CmpFOp::create(b, l.loc(), arith::CmpFPredicate::OGE,
                                      wide, l.scalar(wide.getType(), 0));
    Value high =
        arith::CmpFOp::create(b, l.loc(), arith::CmpFPredicate::OLT, wide,
                              l.scalar(wide.getType(), 4.611686018427388e18));
    l.check(arith::AndIOp::create(b, l.loc(), low, high), "depth out of range");
    depth = arith::FPToSIOp::create(b, l.loc(), i64, wide);
  } else if (depth.getType() != i64) {
    Type onnxElement = elementOf(onnxDepth);
    depth = isUnsigned(onnxElement)
                ? arith::ExtUIOp::create(b, l.loc(), i64, depth).getResult()
                : arith::ExtSIOp::create(b, l.loc(), i64, depth).getResult();
  }
  return OpFoldResult(
      arith::IndexCastOp::create(b, l.loc(), b.getIndexType(), depth)
          .getResult());
}

static LogicalResult lowerOneHot(FunctionLowering &l, Operation *op) {
  Value indices = operand(op, 0), values = operand(op, 2), out = result(op, 0);
  int64_t rank = rankOf(out);
  int64_t axis = normalizeAxis(intAttr(op, "axis", -1), rank);
  FailureOr<OpFoldResult> computed = getDepth(l, op, operand(op, 1));
  if (failed(computed))
    return failure();
  l.check(l.compare(arith::CmpIPredicate::sge, *computed, l.index(0)),
          "depth is negative");
  l.checkEqual(l.dim(values, 0), l.index(2),
               "values must be an off and an on value");
  OpFoldResult depth =
      l.resultDim(out, axis, [&]() -> OpFoldResult { return *computed; });
  Extents shape = l.dims(indices);
  shape.insert(shape.begin() + axis, depth);
  shape = l.bindDims(out, shape);
  Value pair = l.tensor(values);
  Value off = l.extract(pair, {l.index(0)}), on = l.extract(pair, {l.index(1)});
  Value extent = l.value(depth);
  bool isUnsignedIndex = isUnsigned(elementOf(indices));
  AffineMap map = AffineMap::getMultiDimIdentityMap(rank, l.b.getContext())
                      .dropResult(axis);
  l.set(
      out,
      l.pointwise(
          shape, off.getType(), l.tensor(indices), map,
          [&](OpBuilder &b, Location loc, ValueRange args) -> Value {
            Type i64 = b.getI64Type();
            Value place = linalg::IndexOp::create(b, loc, axis);
            // An index counted from the back meets the place minus
            // the depth.
            Value back = arith::SubIOp::create(b, loc, place, extent);
            place = arith::IndexCastOp::create(b, loc, i64, place);
            back = arith::IndexCastOp::create(b, loc, i64, back);
            Value index = args[0], hit, hitBack;
            if (isa<FloatType>(index.getType())) {
              index = widen(b, loc, index);
              auto eq = arith::CmpFPredicate::OEQ;
              auto toFloat = [&](Value v) -> Value {
                return arith::SIToFPOp::create(b, loc, index.getType(), v);
              };
              hit = arith::CmpFOp::create(b, loc, eq, index, toFloat(place));
              hitBack = arith::CmpFOp::create(b, loc, eq, index, toFloat(back));
            } else {
              auto eq = arith::CmpIPredicate::eq;
              if (index.getType() != i64)
                index =
                    isUnsignedIndex
                        ? arith::ExtUIOp::create(b, loc, i64, index).getResult()
                        : arith::ExtSIOp::create(b, loc, i64, index)
                              .getResult();
              hit = arith::CmpIOp::create(b, loc, eq, index, place);
              hitBack = arith::CmpIOp::create(b, loc, eq, index, back);
            }
            Value hot = arith::OrIOp::create(b, loc, hit, hitBack);
            return arith::SelectOp::create(b, loc, hot, on, off);
          }));
  return success();
}

//===----------------------------------------------------------------------===//
// Trilu, ReverseSequence
//===----------------------------------------------------------------------===//

static LogicalResult lowerTrilu(FunctionLowering &l, Operation *op) {
  Value data = operand(op, 0), diagonal = operand(op, 1), out = result(op, 0);
  int64_t rank = rankOf(data);
  bool upper = intAttr(op, "upper", 1) != 0;
  Extents shape = l.bindDims(out, l.dims(data));
  OpFoldResult k = l.index(0);
  if (diagonal) {
    FailureOr<Extents> known = l.elementsOrLoad(op, diagonal);
    if (failed(known))
      return failure();
    if (known->size() != 1)
      return op->emitOpError() << "has " << known->size()
                               << " values for k; exactly 1 is accepted";
    // Beyond the corners nothing changes; clamped, sums do not wrap.
    k = l.max(known->front(), l.sub(l.index(0), shape[rank - 2]));
    k = l.min(k, shape[rank - 1]);
  }
  Value source = l.tensor(data), shift = l.value(k);
  l.set(out, l.pointwise(
                 shape, elementOf(source), source,
                 AffineMap::getMultiDimIdentityMap(rank, l.b.getContext()),
                 [&](OpBuilder &b, Location loc, ValueRange args) -> Value {
                   Value row = linalg::IndexOp::create(b, loc, rank - 2);
                   Value column = linalg::IndexOp::create(b, loc, rank - 1);
                   Value edge = arith::AddIOp::create(b, loc, row, shift);
                   Value keep =
                       arith::CmpIOp::create(b, loc,
                                             upper ? arith::CmpIPredicate::sge
                                                   : arith::CmpIPredicate::sle,
                                             column, edge);
                   Value zero = arith::ConstantOp::create(
                       b, loc, b.getZeroAttr(args[0].getType()));
                   return arith::SelectOp::create(b, loc, keep, args[0], zero);
                 }));
  return success();
}

static LogicalResult lowerReverseSequence(FunctionLowering &l, Operation *op) {
  Value data = operand(op, 0), lengths = operand(op, 1), out = result(op, 0);
  int64_t rank = rankOf(data);
  int64_t batch = normalizeAxis(intAttr(op, "batch_axis", 1), rank);
  int64_t time = normalizeAxis(intAttr(op, "time_axis", 0), rank);
  if (!l.sameExtent(data, batch, lengths, 0))
    l.checkEqual(l.dim(data, batch), l.dim(lengths, 0),
                 "there is not one length for each sequence");
  // A negative length, which this lets through, reverses nothing.
  l.checkIndices(l.tensor(lengths), l.add(l.dim(data, time), l.index(1)),
                 "a sequence is longer than the data");
  Extents shape = l.bindDims(out, l.dims(data));
  Value source = l.tensor(data);
  AffineMap map = AffineMap::get(rank, 0, l.b.getAffineDimExpr(batch));
  l.set(out,
        l.pointwise(shape, elementOf(source), l.tensor(lengths), map,
                    [&](OpBuilder &b, Location loc, ValueRange args) -> Value {
                      Value length = arith::IndexCastOp::create(
                          b, loc, b.getIndexType(), args[0]);
                      SmallVector<Value> at;
                      for (int64_t i = 0; i < rank; ++i)
                        at.push_back(linalg::IndexOp::create(b, loc, i));
                      Value one = arith::ConstantIndexOp::create(b, loc, 1);
                      Value inside = arith::CmpIOp::create(
                          b, loc, arith::CmpIPredicate::slt, at[time], length);
                      Value last = arith::SubIOp::create(b, loc, length, one);
                      Value mirrored =
                          arith::SubIOp::create(b, loc, last, at[time]);
                      at[time] = arith::SelectOp::create(b, loc, inside,
                                                         mirrored, at[time]);
                      return tensor::ExtractOp::create(b, loc, source, at);
                    }));
  return success();
}

void lower::registerPositions(LoweringTable &table) {
  table.add("onnx.NonZero", lowerNonZero);
  table.add("onnx.Compress", lowerCompress);
  table.add("onnx.CumSum", lowerCumSum);
  table.add("onnx.OneHot", lowerOneHot);
  table.add("onnx.Trilu", lowerTrilu);
  table.add("onnx.ReverseSequence", lowerReverseSequence);
}
