//===- Rows.cpp - what routers do row by row ------------------------------===//

#include "passes/Lower/MoEToLinalg/Rows.h"
#include "dialects/Rt/RtDialect.h"
#include "mlir/Dialect/Utils/StaticValueUtils.h"
#include "passes/Lower/ONNXToLinalg/Reductions.h"

using namespace mlir;
using namespace moe;
using namespace moe::lower;

/// Largest number of elements for which keeping the best beats sorting.
static constexpr int64_t kMostKept = 64;

/// Scalar operations that a task is worth: far more than starting it.
static constexpr int64_t kTaskWork = 1 << 15;

RowTasks lower::planRows(FunctionLowering &l, OpFoldResult rows,
                         OpFoldResult work) {
  OpFoldResult perTask = l.ceilDiv(l.index(kTaskWork), l.max(work, l.index(1)));
  return {rows, perTask, l.ceilDiv(rows, perTask)};
}

void lower::forRows(FunctionLowering &l, const RowTasks &tasks,
                    llvm::function_ref<void(Value, Value)> body) {
  OpBuilder &b = l.b;
  Location loc = l.loc();
  Type i64 = b.getI64Type(), index = b.getIndexType();
  // Bounds are computed in front of the loop.
  Value rows = l.value(tasks.rows), perTask = l.value(tasks.perTask);
  Value count = arith::IndexCastOp::create(b, loc, i64, l.value(tasks.count));
  auto parallel = rt::ParallelForOp::create(b, loc, count);
  OpBuilder::InsertionGuard guard(b);
  Block *block = b.createBlock(&parallel.getBody(), {}, {i64, i64}, {loc, loc});
  Value begin =
      arith::IndexCastOp::create(b, loc, index, block->getArgument(0));
  Value end = arith::IndexCastOp::create(b, loc, index, block->getArgument(1));
  forRange(l, begin, end, l.index(1), {},
           [&](Value task, ValueRange) -> SmallVector<Value> {
             Value from = arith::MulIOp::create(b, loc, task, perTask);
             Value to = arith::AddIOp::create(b, loc, from, perTask);
             to = arith::MinSIOp::create(b, loc, to, rows);
             forRange(l, from, to, l.index(1), {},
                      [&](Value row, ValueRange) -> SmallVector<Value> {
                        body(row, task);
                        return {};
                      });
             return {};
           });
  rt::YieldOp::create(b, loc);
}

//===----------------------------------------------------------------------===//
// Elements
//===----------------------------------------------------------------------===//

Value Row::load(Value i) const {
  SmallVector<Value> indices(at);
  indices.push_back(i);
  return memref::LoadOp::create(l.b, l.loc(), buffer, indices);
}

void Row::store(Value i, Value v) const {
  SmallVector<Value> indices(at);
  indices.push_back(i);
  memref::StoreOp::create(l.b, l.loc(), v, buffer, indices);
}

Value Scalars::infinity(bool negative) const {
  auto floating = cast<FloatType>(type);
  return l.constant(l.b.getFloatAttr(
      type, APFloat::getInf(floating.getFloatSemantics(), negative)));
}
Value Scalars::add(Value x, Value y) const {
  return arith::AddFOp::create(l.b, l.loc(), x, y);
}
Value Scalars::sub(Value x, Value y) const {
  return arith::SubFOp::create(l.b, l.loc(), x, y);
}
Value Scalars::mul(Value x, Value y) const {
  return arith::MulFOp::create(l.b, l.loc(), x, y);
}
Value Scalars::div(Value x, Value y) const {
  return arith::DivFOp::create(l.b, l.loc(), x, y);
}
Value Scalars::exp(Value x) const {
  return math::ExpOp::create(l.b, l.loc(), x);
}
Value Scalars::sqrt(Value x) const {
  return math::SqrtOp::create(l.b, l.loc(), x);
}
Value Scalars::abs(Value x) const {
  return math::AbsFOp::create(l.b, l.loc(), x);
}
Value Scalars::max(Value x, Value y) const {
  return arith::MaximumFOp::create(l.b, l.loc(), x, y);
}
Value Scalars::compare(arith::CmpFPredicate predicate, Value x, Value y) const {
  return arith::CmpFOp::create(l.b, l.loc(), predicate, x, y);
}
Value Scalars::widen(Value x) const { return toFloat(l.b, l.loc(), x, type); }

static Value foldOf(const Scalars &s, OpFoldResult count, Value init,
                    llvm::function_ref<Value(Value, Value)> step) {
  return forRange(s.l, s.l.index(0), count, s.l.index(1), init,
                  [&](Value i, ValueRange carried) -> SmallVector<Value> {
                    return {step(i, carried[0])};
                  })[0];
}

Value lower::sumOf(const Scalars &s, OpFoldResult count,
                   llvm::function_ref<Value(Value)> term) {
  return foldOf(s, count, s.constant(0),
                [&](Value i, Value sum) { return s.add(sum, term(i)); });
}

Value lower::maxOf(const Scalars &s, OpFoldResult count,
                   llvm::function_ref<Value(Value)> term) {
  return foldOf(s, count, s.infinity(/*negative=*/true),
                [&](Value i, Value most) { return s.max(most, term(i)); });
}

void lower::forElements(FunctionLowering &l, OpFoldResult count,
                        llvm::function_ref<void(Value)> body) {
  forRange(l, l.index(0), count, l.index(1), {},
           [&](Value i, ValueRange) -> SmallVector<Value> {
             body(i);
             return {};
           });
}

void lower::softmaxRow(const Scalars &s, OpFoldResult count, const Row &from,
                       const Row &to) {
  Value most = maxOf(s, count, [&](Value i) { return s.widen(from.load(i)); });
  // Apart from the sum, whose order is fixed, so that exp runs in vectors.
  forElements(s.l, count, [&](Value i) {
    to.store(i, s.exp(s.sub(s.widen(from.load(i)), most)));
  });
  Value sum = sumOf(s, count, [&](Value i) { return to.load(i); });
  forElements(s.l, count,
              [&](Value i) { to.store(i, s.div(to.load(i), sum)); });
}

//===----------------------------------------------------------------------===//
// The best of a row
//===----------------------------------------------------------------------===//

BestOfRow::BestOfRow(FunctionLowering &l, const RowTasks &tasks, Type type,
                     int64_t most, OpFoldResult extent, bool highest)
    : l(l), most(most), highest(highest) {
  Type index = l.b.getIndexType();
  if (most > kMostKept) {
    numbers = l.allocate({tasks.count, l.index(2), extent}, index);
  } else {
    values = l.allocate({tasks.count, l.index(most)}, type);
    numbers = l.allocate({tasks.count, l.index(most)}, index);
  }
}

Value BestOfRow::walked(Value i, OpFoldResult count) {
  if (!highest)
    return i;
  Value last = l.value(l.sub(count, l.index(1)));
  return arith::SubIOp::create(l.b, l.loc(), last, i);
}

/// In descending order.
static Value precedes(FunctionLowering &l, Value x, Value y) {
  return comesBefore(l.b, l.loc(), x, y, /*largest=*/true,
                     /*isUnsigned=*/false, /*nanFirst=*/true);
}

void BestOfRow::insert(Value task, Value element, Value number, Value slot) {
  OpBuilder &b = l.b;
  Location loc = l.loc();
  Row kept{l, values, {task}}, places{l, numbers, {task}};
  Value zero = l.value(l.index(0)), one = l.value(l.index(1));
  SmallVector<Value> end = whileDo(
      l, slot,
      [&](ValueRange carried) {
        Value notFirst = l.compare(arith::CmpIPredicate::sgt, carried[0], zero);
        return ifElse(
            l, notFirst, b.getI1Type(),
            [&]() -> SmallVector<Value> {
              Value left = arith::SubIOp::create(b, loc, carried[0], one);
              return {precedes(l, element, kept.load(left))};
            },
            [&]() -> SmallVector<Value> {
              return {l.constant(b.getBoolAttr(false))};
            })[0];
      },
      [&](ValueRange carried) -> SmallVector<Value> {
        Value left = arith::SubIOp::create(b, loc, carried[0], one);
        kept.store(carried[0], kept.load(left));
        places.store(carried[0], places.load(left));
        return {left};
      });
  kept.store(end[0], element);
  places.store(end[0], number);
}

void BestOfRow::keepBest(Value task, OpFoldResult count,
                         llvm::function_ref<Value(Value)> element) {
  Row kept{l, values, {task}};
  Value last = l.value(l.index(most - 1));
  forElements(l, count, [&](Value i) {
    Value number = walked(i, count);
    Value x = element(number);
    Value full = l.compare(arith::CmpIPredicate::sgt, i, last);
    Value take = ifElse(
        l, full, l.b.getI1Type(),
        [&]() -> SmallVector<Value> {
          return {precedes(l, x, kept.load(last))};
        },
        [&]() -> SmallVector<Value> {
          return {l.constant(l.b.getBoolAttr(true))};
        })[0];
    ifThen(l, take, [&] { insert(task, x, number, l.value(l.min(i, last))); });
  });
}

void BestOfRow::find(Value task, OpFoldResult count,
                     llvm::function_ref<Value(Value)> element) {
  if (most <= kMostKept)
    return keepBest(task, count, element);
  OpBuilder &b = l.b;
  auto type = cast<MemRefType>(numbers.getType());
  // Row 0 or 1 of the scratch holds the order in the end; moved to row 0.
  Extents offsets{task, l.index(0), l.index(0)};
  Extents sizes{
      l.index(1), l.index(2),
      type.isDynamicDim(2)
          ? OpFoldResult(
                memref::DimOp::create(b, l.loc(), numbers, 2).getResult())
          : l.index(type.getDimSize(2))};
  Extents steps(3, l.index(1));
  SmallVector<int64_t> shape{2, type.getDimSize(2)};
  auto slice = cast<MemRefType>(memref::SubViewOp::inferRankReducedResultType(
      shape, type, offsets, sizes, steps));
  Value scratch = memref::SubViewOp::create(b, l.loc(), slice, numbers, offsets,
                                            sizes, steps);
  Value half = sortNumbers(l, scratch, l.value(count), [&](Value i, Value j) {
    return precedes(l, element(walked(i, count)), element(walked(j, count)));
  });
  OpFoldResult wanted = l.min(l.index(most), count);
  forElements(l, wanted, [&](Value i) {
    Value n = memref::LoadOp::create(b, l.loc(), scratch, ValueRange{half, i});
    memref::StoreOp::create(b, l.loc(), walked(n, count), scratch,
                            ValueRange{l.value(l.index(0)), i});
  });
}

Value BestOfRow::number(Value task, Value rank) {
  Row places{l, numbers, {task}};
  if (most > kMostKept)
    places.at.push_back(l.value(l.index(0)));
  return places.load(rank);
}
