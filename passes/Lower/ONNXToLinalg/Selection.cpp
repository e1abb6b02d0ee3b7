//===- Selection.cpp - TopK, ArgMax and ArgMin, Unique
//---------------------===//
//
// TopK with k up to 64 keeps the best k of a row in order while it walks along
// it: most elements cost one comparison with the worst one kept. Larger k sort
// the whole row by merging. Both are stable, so of equal elements the one with
// the lower index comes first. The operators that find and use positions
// (NonZero, Compress, OneHot, ...) are in Positions.cpp.
//
//===----------------------------------------------------------------------===//

#include "mlir/Dialect/Utils/StaticValueUtils.h"
#include "passes/Lower/ONNXToLinalg/Loops.h"

using namespace mlir;
using namespace moe;
using namespace moe::lower;

/// Largest k for which keeping the best k beats sorting.
static constexpr int64_t kMostKept = 64;

namespace {
/// TopK along one dim of a tensor.
struct TopK {
  FunctionLowering &l;
  Value source;
  int64_t axis;
  Value extent, k;
  bool largest, isUnsigned;
  /// Buffers of the results.
  Value values, numbers;

  /// Indices of place `i` of a row.
  static SmallVector<Value> place(ValueRange row, int64_t axis, Value i) {
    SmallVector<Value> at(row);
    at.insert(at.begin() + axis, i);
    return at;
  }
  Value before(Value x, Value y) {
    return comesBefore(l.b, l.loc(), x, y, largest, isUnsigned,
                       /*nanFirst=*/largest);
  }
  Value read(ValueRange row, Value i) {
    return tensor::ExtractOp::create(l.b, l.loc(), source, place(row, axis, i));
  }
  Value load(Value buffer, ValueRange row, Value i) {
    return memref::LoadOp::create(l.b, l.loc(), buffer, place(row, axis, i));
  }
  void store(Value v, Value number, ValueRange row, Value i) {
    SmallVector<Value> at = place(row, axis, i);
    memref::StoreOp::create(l.b, l.loc(), v, values, at);
    memref::StoreOp::create(l.b, l.loc(), number, numbers, at);
  }
  Value toI64(Value index) {
    return arith::IndexCastOp::create(l.b, l.loc(), l.b.getI64Type(), index);
  }

  /// Puts an element into the row of the result, behind all that it does not
  /// precede; the ones behind it move on into `slot` and before.
  void insert(ValueRange row, Value element, Value number, Value slot) {
    Value zero = l.value(l.index(0)), one = l.value(l.index(1));
    Type i1 = l.b.getI1Type();
    SmallVector<Value> end = whileDo(
        l, slot,
        [&](ValueRange carried) {
          Value notFirst =
              l.compare(arith::CmpIPredicate::sgt, carried[0], zero);
          return ifElse(
              l, notFirst, i1,
              [&]() -> SmallVector<Value> {
                Value left =
                    arith::SubIOp::create(l.b, l.loc(), carried[0], one);
                return {before(element, load(values, row, left))};
              },
              [&]() -> SmallVector<Value> {
                return {l.constant(l.b.getBoolAttr(false))};
              })[0];
        },
        [&](ValueRange carried) -> SmallVector<Value> {
          Value left = arith::SubIOp::create(l.b, l.loc(), carried[0], one);
          store(load(values, row, left), load(numbers, row, left), row,
                carried[0]);
          return {left};
        });
    store(element, number, row, end[0]);
  }

  /// Keeps the best k of a row. k may be 0.
  void keepBest(ValueRange row) {
    Value one = l.value(l.index(1));
    Value last = arith::SubIOp::create(l.b, l.loc(), k, one);
    Value none = l.compare(arith::CmpIPredicate::sle, k, l.index(0));
    OpFoldResult count = l.select(none, l.index(0), extent);
    forRange(l, l.index(0), count, l.index(1), {},
             [&](Value i, ValueRange) -> SmallVector<Value> {
               Value element = read(row, i);
               Value full = l.compare(arith::CmpIPredicate::sge, i, k);
               Value take = ifElse(
                   l, full, l.b.getI1Type(),
                   [&]() -> SmallVector<Value> {
                     return {before(element, load(values, row, last))};
                   },
                   [&]() -> SmallVector<Value> {
                     return {l.constant(l.b.getBoolAttr(true))};
                   })[0];
               ifThen(l, take, [&] {
                 insert(row, element, toI64(i), l.value(l.min(i, last)));
               });
               return {};
             });
  }

  void sortRow(ValueRange row, Value scratch) {
    Value half = sortNumbers(l, scratch, extent, [&](Value i, Value j) {
      return before(read(row, i), read(row, j));
    });
    forRange(l, l.index(0), k, l.index(1), {},
             [&](Value i, ValueRange) -> SmallVector<Value> {
               Value number = memref::LoadOp::create(l.b, l.loc(), scratch,
                                                     ValueRange{half, i});
               store(read(row, number), toI64(number), row, i);
               return {};
             });
  }
};
} // namespace

static LogicalResult lowerTopK(FunctionLowering &l, Operation *op) {
  Value data = operand(op, 0);
  int64_t rank = rankOf(data);
  int64_t axis = normalizeAxis(intAttr(op, "axis", -1), rank);
  FailureOr<Extents> count = l.elementsOrLoad(op, operand(op, 1));
  if (failed(count))
    return failure();
  if (count->size() != 1)
    return op->emitOpError()
           << "has " << count->size() << " values for k; exactly 1 is accepted";
  OpFoldResult k = count->front(), extent = l.dim(data, axis);
  l.check(l.compare(arith::CmpIPredicate::sge, k, l.index(0)), "k is negative");
  l.check(l.compare(arith::CmpIPredicate::sle, k, extent),
          "k exceeds the extent of the axis");
  Value valuesOut = result(op, 0), numbersOut = result(op, 1);
  Extents shape = l.dims(data), rows = shape;
  rows.erase(rows.begin() + axis);
  shape[axis] = k;
  shape = l.bindDims(valuesOut, shape);
  k = shape[axis];

  TopK top{l,
           l.tensor(data),
           axis,
           l.value(extent),
           l.value(k),
           intAttr(op, "largest", 1) != 0,
           isUnsigned(elementOf(data)),
           l.allocate(shape, FunctionLowering::convertElement(elementOf(data))),
           l.allocate(shape, l.b.getI64Type())};
  auto keepBest = [&] {
    l.forEach(rows, [&](ValueRange row) { top.keepBest(row); });
  };
  auto sortRows = [&] {
    Value scratch = l.allocate({l.index(2), extent}, l.b.getIndexType());
    l.forEach(rows, [&](ValueRange row) { top.sortRow(row, scratch); });
  };
  std::optional<int64_t> known = getConstantIntValue(k);
  if (!known) {
    // Both ways are there; which one is taken shows at run time.
    Value few = l.compare(arith::CmpIPredicate::sle, k, l.index(kMostKept));
    ifElse(
        l, few, {},
        [&]() -> SmallVector<Value> {
          keepBest();
          return {};
        },
        [&]() -> SmallVector<Value> {
          sortRows();
          return {};
        });
  } else if (*known > kMostKept) {
    sortRows();
  } else if (*known > 0) {
    keepBest();
  }
  l.set(valuesOut, l.finished(top.values));
  l.set(numbersOut, l.finished(top.numbers));
  return success();
}

//===----------------------------------------------------------------------===//
// ArgMax, ArgMin
//===----------------------------------------------------------------------===//

template <bool largest>
static LogicalResult lowerArgExtremum(FunctionLowering &l, Operation *op) {
  Value data = operand(op, 0), out = result(op, 0);
  int64_t rank = rankOf(data);
  int64_t axis = normalizeAxis(intAttr(op, "axis", 0), rank);
  bool lastOfEqual = intAttr(op, "select_last_index", 0) != 0;
  bool keep = intAttr(op, "keepdims", 1) != 0;
  bool isUnsignedData = isUnsigned(elementOf(data));
  Extents loops = l.dims(data), rest = loops;
  rest.erase(rest.begin() + axis);
  l.check(l.compare(arith::CmpIPredicate::sgt, loops[axis], l.index(0)),
          "there is no element to choose");

  Value source = l.tensor(data);
  Type element = elementOf(source), i64 = l.b.getI64Type();
  Value none = l.filled(rest, l.scalar(i64, -1));
  Value noValue = l.filled(rest, l.scalar(element, 0));
  SmallVector<utils::IteratorType> iterators(rank,
                                             utils::IteratorType::parallel);
  iterators[axis] = utils::IteratorType::reduction;
  AffineMap identity =
      AffineMap::getMultiDimIdentityMap(rank, l.b.getContext());
  AffineMap kept = identity.dropResult(axis);
  auto found = linalg::GenericOp::create(
      l.b, l.loc(), TypeRange{none.getType(), noValue.getType()}, source,
      ValueRange{none, noValue}, ArrayRef<AffineMap>{identity, kept, kept},
      iterators, [&](OpBuilder &b, Location loc, ValueRange args) {
        Value x = args[0], best = args[1], bestValue = args[2];
        Value i = linalg::IndexOp::create(b, loc, axis);
        Value number = arith::IndexCastOp::create(b, loc, i64, i);
        Value zero = arith::ConstantOp::create(b, loc, b.getI64IntegerAttr(0));
        Value first = arith::CmpIOp::create(b, loc, arith::CmpIPredicate::slt,
                                            best, zero);
        // A NaN is chosen before any number, as NumPy does.
        Value better;
        if (lastOfEqual) {
          Value worse = comesBefore(b, loc, bestValue, x, largest,
                                    isUnsignedData, /*nanFirst=*/true);
          Value yes = arith::ConstantOp::create(b, loc, b.getBoolAttr(true));
          better = arith::XOrIOp::create(b, loc, worse, yes);
        } else {
          better = comesBefore(b, loc, x, bestValue, largest, isUnsignedData,
                               /*nanFirst=*/true);
        }
        better = arith::OrIOp::create(b, loc, first, better);
        linalg::YieldOp::create(
            b, loc,
            ValueRange{arith::SelectOp::create(b, loc, better, number, best),
                       arith::SelectOp::create(b, loc, better, x, bestValue)});
      });
  Value positions = found.getResult(0);
  if (keep) {
    Extents shape = rest;
    shape.insert(shape.begin() + axis, l.index(1));
    positions = l.reshape(positions, rest, shape);
  }
  l.set(out, positions);
  return success();
}

//===----------------------------------------------------------------------===//
// Unique
//===----------------------------------------------------------------------===//

namespace {
/// Unique items along an axis of data seen as [outer, count, inner]; without
/// an axis an item is an element.
struct Unique {
  FunctionLowering &l;
  Value flat;
  OpFoldResult outer, count, inner;
  bool isUnsigned;

  Value read(Value number, Value o, Value i) {
    OpFoldResult at = l.mul(l.add(l.mul(o, count), number), inner);
    return tensor::ExtractOp::create(l.b, l.loc(), flat, l.value(l.add(at, i)));
  }
  Value before(Value x, Value y) {
    return comesBefore(l.b, l.loc(), x, y, /*largest=*/false, isUnsigned,
                       /*nanFirst=*/false);
  }

  /// Whether item x comes before item y, by their first elements that differ.
  Value itemBefore(Value x, Value y) {
    Value zero = l.value(l.index(0)), one = l.value(l.index(1));
    if (isConstantIntValue(outer, 1) && isConstantIntValue(inner, 1))
      return before(read(x, zero, zero), read(y, zero, zero));
    Value size = l.value(l.mul(outer, inner)), width = l.value(inner);
    Value no = l.constant(l.b.getBoolAttr(false));
    // Carried: the place, whether x or y was found to come first.
    SmallVector<Value> end = whileDo(
        l, {zero, no, no},
        [&](ValueRange carried) -> Value {
          Value more = l.compare(arith::CmpIPredicate::slt, carried[0], size);
          Value decided =
              arith::OrIOp::create(l.b, l.loc(), carried[1], carried[2]);
          Value open = arith::XOrIOp::create(l.b, l.loc(), decided,
                                             l.constant(l.b.getBoolAttr(true)));
          return arith::AndIOp::create(l.b, l.loc(), more, open);
        },
        [&](ValueRange carried) -> SmallVector<Value> {
          Value o = arith::DivUIOp::create(l.b, l.loc(), carried[0], width);
          Value i = arith::RemUIOp::create(l.b, l.loc(), carried[0], width);
          Value u = read(x, o, i), v = read(y, o, i);
          return {arith::AddIOp::create(l.b, l.loc(), carried[0], one),
                  before(u, v), before(v, u)};
        });
    return end[1];
  }

  void put(Value buffer, Value at, Value v) {
    memref::StoreOp::create(l.b, l.loc(), v, buffer, at);
  }
  Value get(Value buffer, Value at) {
    return memref::LoadOp::create(l.b, l.loc(), buffer, at);
  }
};
} // namespace

static LogicalResult lowerUnique(FunctionLowering &l, Operation *op) {
  Value data = operand(op, 0), out = result(op, 0);
  OpBuilder &b = l.b;
  Location loc = l.loc();
  Extents shape = l.dims(data);
  bool sorted = intAttr(op, "sorted", 1) != 0;
  bool hasAxis = op->hasAttr("axis");
  int64_t axis =
      hasAxis ? normalizeAxis(intAttr(op, "axis", 0), rankOf(data)) : 0;
  OpFoldResult total = l.product(shape);
  Unique items{l,          l.reshape(l.tensor(data), shape, {total}),
               l.index(1), total,
               l.index(1), isUnsigned(elementOf(data))};
  if (hasAxis) {
    ArrayRef<OpFoldResult> all(shape);
    items.outer = l.product(all.take_front(axis));
    items.count = shape[axis];
    items.inner = l.product(all.drop_front(axis + 1));
  }
  OpFoldResult count = items.count;
  Type index = b.getIndexType(), i64 = b.getI64Type();
  Value zero = l.value(l.index(0)), one = l.value(l.index(1));

  Value scratch = l.allocate({l.index(2), count}, index);
  Value row = sortNumbers(l, scratch, l.value(count), [&](Value x, Value y) {
    return items.itemBefore(x, y);
  });
  // Of each item the group that it belongs to, and of each group its first
  // item and its size. Groups are numbered in sorted order at first.
  Value groupOf = l.allocate({count}, index);
  Value firstOf = l.allocate({count}, index);
  Value sizeOf = l.allocate({count}, index);
  auto numberAt = [&](Value i) {
    return memref::LoadOp::create(b, loc, scratch, ValueRange{row, i})
        .getResult();
  };
  Value groups =
      forRange(l, zero, count, one, zero,
               [&](Value i, ValueRange carried) -> SmallVector<Value> {
                 Value here = numberAt(i);
                 Value start = l.compare(arith::CmpIPredicate::eq, i, zero);
                 Value left = arith::SubIOp::create(b, loc, i, one);
                 left = arith::MaxSIOp::create(b, loc, left, zero);
                 Value differs = items.itemBefore(numberAt(left), here);
                 Value isNew = arith::OrIOp::create(b, loc, start, differs);
                 Value plus = arith::AddIOp::create(b, loc, carried[0], one);
                 Value next =
                     arith::SelectOp::create(b, loc, isNew, plus, carried[0]);
                 Value group = arith::SubIOp::create(b, loc, next, one);
                 items.put(groupOf, here, group);
                 ifElse(
                     l, isNew, {},
                     [&]() -> SmallVector<Value> {
                       // Sorting is stable: the first is the lowest one.
                       items.put(firstOf, group, here);
                       items.put(sizeOf, group, one);
                       return {};
                     },
                     [&]() -> SmallVector<Value> {
                       Value size = items.get(sizeOf, group);
                       items.put(sizeOf, group,
                                 arith::AddIOp::create(b, loc, size, one));
                       return {};
                     });
                 return {next};
               })[0];

  // The place of each group in the result, and the group at each place.
  Value placeOf = l.allocate({count}, index);
  Value groupAt = l.allocate({count}, index);
  if (sorted) {
    forRange(l, zero, groups, one, {},
             [&](Value g, ValueRange) -> SmallVector<Value> {
               items.put(placeOf, g, g);
               items.put(groupAt, g, g);
               return {};
             });
  } else {
    // In the order of first items.
    forRange(
        l, zero, count, one, zero,
        [&](Value i, ValueRange carried) -> SmallVector<Value> {
          Value g = items.get(groupOf, i);
          Value isFirst =
              l.compare(arith::CmpIPredicate::eq, items.get(firstOf, g), i);
          ifThen(l, isFirst, [&] {
            items.put(placeOf, g, carried[0]);
            items.put(groupAt, carried[0], g);
          });
          Value plus = arith::AddIOp::create(b, loc, carried[0], one);
          return {arith::SelectOp::create(b, loc, isFirst, plus, carried[0])};
        });
  }

  OpFoldResult found = l.resultDim(out, hasAxis ? axis : 0,
                                   [&]() -> OpFoldResult { return groups; });
  auto fill = [&](Value onnxResult, OpFoldResult extent,
                  llvm::function_ref<Value(Value)> element) {
    if (!onnxResult)
      return;
    Value buffer = l.allocate({extent}, i64);
    forRange(l, zero, extent, one, {},
             [&](Value i, ValueRange) -> SmallVector<Value> {
               Value number = element(i);
               items.put(buffer, i,
                         arith::IndexCastOp::create(b, loc, i64, number));
               return {};
             });
    l.set(onnxResult, l.finished(buffer));
  };
  Value source = l.tensor(data);
  Extents outShape = shape;
  if (hasAxis)
    outShape[axis] = found;
  else
    outShape = {found};
  Value values = l.allocate(outShape, elementOf(source));
  l.forEach(outShape, [&](ValueRange at) {
    Value place = at[hasAxis ? axis : 0];
    Value number = items.get(firstOf, items.get(groupAt, place));
    Value v;
    if (hasAxis) {
      SmallVector<Value> from(at);
      from[axis] = number;
      v = tensor::ExtractOp::create(b, loc, source, from);
    } else {
      v = items.read(number, zero, zero);
    }
    memref::StoreOp::create(b, loc, v, values, at);
  });
  l.set(out, l.finished(values));
  fill(result(op, 1), found,
       [&](Value i) { return items.get(firstOf, items.get(groupAt, i)); });
  fill(result(op, 2), count,
       [&](Value i) { return items.get(placeOf, items.get(groupOf, i)); });
  fill(result(op, 3), found,
       [&](Value i) { return items.get(sizeOf, items.get(groupAt, i)); });
  return success();
}

void lower::registerSelection(LoweringTable &table) {
  table.add("onnx.TopK", lowerTopK);
  table.add("onnx.ArgMax", lowerArgExtremum</*largest=*/true>);
  table.add("onnx.ArgMin", lowerArgExtremum</*largest=*/false>);
  table.add("onnx.Unique", lowerUnique);
  registerPositions(table);
}
