//===- Loops.cpp - sequential loops of a translation to linalg ------------===//

#include "passes/Lower/ONNXToLinalg/Loops.h"
#include "mlir/Dialect/Utils/StaticValueUtils.h"
#include <functional>

using namespace mlir;
using namespace moe;
using namespace moe::lower;

SmallVector<Value> lower::forRange(
    FunctionLowering &l, OpFoldResult lower, OpFoldResult upper,
    OpFoldResult step, ValueRange init,
    llvm::function_ref<SmallVector<Value>(Value, ValueRange)> body) {
  Value from = l.value(lower), to = l.value(upper), by = l.value(step);
  auto loop = scf::ForOp::create(l.b, l.loc(), from, to, by, init);
  OpBuilder::InsertionGuard guard(l.b);
  Block *block = loop.getBody();
  // Without carried values the loop comes with its terminator.
  if (init.empty())
    block->back().erase();
  l.b.setInsertionPointToEnd(block);
  SmallVector<Value> next =
      body(loop.getInductionVar(), loop.getRegionIterArgs());
  scf::YieldOp::create(l.b, l.loc(), next);
  return loop.getResults();
}

SmallVector<Value> lower::forEachCarrying(FunctionLowering &l,
                                          ArrayRef<OpFoldResult> shape,
                                          ValueRange init, CarryFn body) {
  SmallVector<Value> indices;
  // Bounds are constants or defined in front of the nest.
  std::function<SmallVector<Value>(ValueRange)> nest =
      [&](ValueRange carried) -> SmallVector<Value> {
    if (indices.size() == shape.size())
      return body(indices, carried);
    return forRange(l, l.index(0), shape[indices.size()], l.index(1), carried,
                    [&](Value index, ValueRange inner) {
                      indices.push_back(index);
                      SmallVector<Value> next = nest(inner);
                      indices.pop_back();
                      return next;
                    });
  };
  return nest(init);
}

SmallVector<Value>
lower::ifElse(FunctionLowering &l, Value condition, TypeRange types,
              llvm::function_ref<SmallVector<Value>()> then,
              llvm::function_ref<SmallVector<Value>()> otherwise) {
  auto branch = scf::IfOp::create(l.b, l.loc(), types, condition,
                                  /*addThenBlock=*/true,
                                  /*addElseBlock=*/true);
  OpBuilder::InsertionGuard guard(l.b);
  auto fill = [&](Block *block,
                  llvm::function_ref<SmallVector<Value>()> build) {
    l.b.setInsertionPointToEnd(block);
    SmallVector<Value> values = build();
    scf::YieldOp::create(l.b, l.loc(), values);
  };
  fill(branch.thenBlock(), then);
  fill(branch.elseBlock(), otherwise);
  return branch.getResults();
}

void lower::ifThen(FunctionLowering &l, Value condition,
                   llvm::function_ref<void()> then) {
  auto branch = scf::IfOp::create(l.b, l.loc(), TypeRange(), condition,
                                  /*addThenBlock=*/true,
                                  /*addElseBlock=*/false);
  OpBuilder::InsertionGuard guard(l.b);
  l.b.setInsertionPointToEnd(branch.thenBlock());
  then();
  scf::YieldOp::create(l.b, l.loc());
}

SmallVector<Value>
lower::whileDo(FunctionLowering &l, ValueRange init,
               llvm::function_ref<Value(ValueRange)> condition,
               llvm::function_ref<SmallVector<Value>(ValueRange)> body) {
  auto loop = scf::WhileOp::create(l.b, l.loc(), init.getTypes(), init);
  OpBuilder::InsertionGuard guard(l.b);
  SmallVector<Location> locs(init.size(), l.loc());
  Block *before = l.b.createBlock(&loop.getBefore(), {}, init.getTypes(), locs);
  Value go = condition(before->getArguments());
  scf::ConditionOp::create(l.b, l.loc(), go, before->getArguments());
  Block *after = l.b.createBlock(&loop.getAfter(), {}, init.getTypes(), locs);
  SmallVector<Value> next = body(after->getArguments());
  scf::YieldOp::create(l.b, l.loc(), next);
  return loop.getResults();
}

Value lower::wrapIndex(OpBuilder &b, Location loc, Value element,
                       Value extent) {
  Value index = element;
  if (!element.getType().isIndex())
    index = arith::IndexCastOp::create(b, loc, b.getIndexType(), element);
  Value zero = arith::ConstantIndexOp::create(b, loc, 0);
  Value negative =
      arith::CmpIOp::create(b, loc, arith::CmpIPredicate::slt, index, zero);
  Value wrapped = arith::AddIOp::create(b, loc, index, extent);
  return arith::SelectOp::create(b, loc, negative, wrapped, index);
}

void lower::checkRange(FunctionLowering &l, Value onnxIndices,
                       OpFoldResult extent, const Twine &message) {
  std::optional<SmallVector<int64_t>> known = l.constants(onnxIndices);
  if (!known) {
    l.checkIndices(l.tensor(onnxIndices), extent, message);
    return;
  }
  if (known->empty())
    return;
  // The greatest and the least one stand for all.
  int64_t greatest = *llvm::max_element(*known);
  int64_t least = *llvm::min_element(*known);
  auto check = [&](int64_t index) {
    auto slt = arith::CmpIPredicate::slt;
    if (index >= 0)
      l.check(l.compare(slt, l.index(index), extent), message);
    else
      l.check(l.compare(slt, l.index(-(index + 1)), extent), message);
  };
  check(greatest);
  if (least < 0 && least != greatest)
    check(least);
}

Value lower::comesBefore(OpBuilder &b, Location loc, Value x, Value y,
                         bool largest, bool isUnsigned, bool nanFirst) {
  if (!isa<FloatType>(x.getType())) {
    arith::CmpIPredicate predicate;
    // Of one-bit values 1 is the greater.
    if (isUnsigned || x.getType().isInteger(1))
      predicate =
          largest ? arith::CmpIPredicate::ugt : arith::CmpIPredicate::ult;
    else
      predicate =
          largest ? arith::CmpIPredicate::sgt : arith::CmpIPredicate::slt;
    return arith::CmpIOp::create(b, loc, predicate, x, y);
  }
  x = widen(b, loc, x);
  y = widen(b, loc, y);
  // True if either is NaN, then false if the first place is not for it.
  Value ahead = arith::CmpFOp::create(
      b, loc, largest ? arith::CmpFPredicate::UGT : arith::CmpFPredicate::ULT,
      x, y);
  Value number = nanFirst ? y : x;
  Value isNumber =
      arith::CmpFOp::create(b, loc, arith::CmpFPredicate::ORD, number, number);
  return arith::AndIOp::create(b, loc, ahead, isNumber);
}

/// Merges the runs [low, middle) and [middle, high) of row `half` into the
/// other row.
static void mergeRuns(FunctionLowering &l, Value scratch, Value half, Value low,
                      Value middle, Value high, Value last,
                      llvm::function_ref<Value(Value, Value)> before) {
  OpBuilder &b = l.b;
  Location loc = l.loc();
  Value one = l.value(l.index(1));
  Value other = arith::SubIOp::create(b, loc, one, half);
  auto slt = arith::CmpIPredicate::slt;
  forRange(
      l, low, high, l.index(1), {low, middle},
      [&](Value to, ValueRange from) -> SmallVector<Value> {
        Value i = from[0], j = from[1];
        // A run that is used up is read at some place and then not taken.
        Value iHere = arith::MinSIOp::create(b, loc, i, last);
        Value jHere = arith::MinSIOp::create(b, loc, j, last);
        Value x =
            memref::LoadOp::create(b, loc, scratch, ValueRange{half, iHere});
        Value y =
            memref::LoadOp::create(b, loc, scratch, ValueRange{half, jHere});
        Value leftDone = l.compare(arith::CmpIPredicate::sge, i, middle);
        Value rightLeft = l.compare(slt, j, high);
        Value first = arith::AndIOp::create(b, loc, rightLeft, before(y, x));
        Value right = arith::OrIOp::create(b, loc, leftDone, first);
        Value taken = arith::SelectOp::create(b, loc, right, y, x);
        memref::StoreOp::create(b, loc, taken, scratch, ValueRange{other, to});
        Value iNext = arith::AddIOp::create(b, loc, i, one);
        Value jNext = arith::AddIOp::create(b, loc, j, one);
        return {arith::SelectOp::create(b, loc, right, i, iNext),
                arith::SelectOp::create(b, loc, right, jNext, j)};
      });
}

Value lower::sortNumbers(FunctionLowering &l, Value scratch, Value count,
                         llvm::function_ref<Value(Value, Value)> before) {
  OpBuilder &b = l.b;
  Location loc = l.loc();
  Value zero = l.value(l.index(0)), one = l.value(l.index(1));
  forRange(l, zero, count, one, {},
           [&](Value i, ValueRange) -> SmallVector<Value> {
             memref::StoreOp::create(b, loc, i, scratch, ValueRange{zero, i});
             return {};
           });
  Value last = arith::SubIOp::create(b, loc, count, one);
  // Runs of 1, 2, 4, ... are merged from one row of the buffer into the other.
  SmallVector<Value> end = whileDo(
      l, {one, zero},
      [&](ValueRange carried) {
        return l.compare(arith::CmpIPredicate::slt, carried[0], count);
      },
      [&](ValueRange carried) -> SmallVector<Value> {
        Value width = carried[0], half = carried[1];
        Value step = arith::AddIOp::create(b, loc, width, width);
        forRange(l, zero, count, step, {},
                 [&](Value low, ValueRange) -> SmallVector<Value> {
                   Value middle = arith::AddIOp::create(b, loc, low, width);
                   middle = arith::MinSIOp::create(b, loc, middle, count);
                   Value high = arith::AddIOp::create(b, loc, low, step);
                   high = arith::MinSIOp::create(b, loc, high, count);
                   mergeRuns(l, scratch, half, low, middle, high, last, before);
                   return {};
                 });
        return {step, arith::SubIOp::create(b, loc, one, half)};
      });
  return end[1];
}
