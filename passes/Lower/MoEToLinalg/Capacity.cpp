//===- Capacity.cpp - moe.capacity ----------------------------------------===//
//
// One walk along the queue of all slots, with the number of slots that each
// expert has seen. A few operations per slot, whose order matters: one thread.
//
//===----------------------------------------------------------------------===//

#include "dialects/MoE/MoEDialect.h"
#include "passes/Lower/MoEToLinalg/MoEToLinalg.h"
#include "passes/Lower/MoEToLinalg/Rows.h"
#include "passes/Lower/ONNXToLinalg/Reductions.h"

using namespace mlir;
using namespace moe;
using namespace moe::lower;

using arith::CmpIPredicate;

/// The places of an expert, as `index`. More than there are slots are as good
/// as that many, so products stop there before they become integers.
static Value placesOf(FunctionLowering &l, ir::CapacityOp op,
                      OpFoldResult tokens, OpFoldResult slots) {
  OpBuilder &b = l.b;
  Location loc = l.loc();
  double value = op.getValue().convertToDouble();
  if (op.getMode() == ir::CapacityMode::Absolute)
    return l.value(l.index(static_cast<int64_t>(value)));
  bool isFactor = op.getMode() == ir::CapacityMode::Factor;
  Type f64 = b.getF64Type(), i64 = b.getI64Type();
  auto real = [&](OpFoldResult extent) {
    return toFloat(b, loc, l.value(extent), f64);
  };
  OpFoldResult share =
      isFactor ? l.ceilDiv(tokens, l.index(op.getNumExperts())) : tokens;
  Value product =
      arith::MulFOp::create(b, loc, l.scalar(f64, value), real(share));
  product =
      arith::MinimumFOp::create(b, loc, product, real(l.mul(tokens, slots)));
  Value whole = arith::FPToSIOp::create(b, loc, i64, product);
  if (isFactor) {
    Value floor = arith::IndexCastOp::create(b, loc, b.getIndexType(), whole);
    return arith::MulIOp::create(b, loc, floor, l.value(slots));
  }
  Value isLess = arith::CmpFOp::create(
      b, loc, arith::CmpFPredicate::OLT,
      arith::SIToFPOp::create(b, loc, f64, whole), product);
  Value rest = arith::ExtUIOp::create(b, loc, i64, isLess);
  Value ceil = arith::AddIOp::create(b, loc, whole, rest);
  return arith::IndexCastOp::create(b, loc, b.getIndexType(), ceil);
}

namespace {
/// Lets slots queue up.
class CapacityLowering {
public:
  CapacityLowering(FunctionLowering &l, ir::CapacityOp op) : l(l), op(op) {}
  void run();

private:
  Extents checkExtents();
  /// All queues of one sequence: `at` is its index, empty without sequences.
  void walk(ValueRange at);
  /// The tokens of a sequence by priority, in the row of `order` that is
  /// returned; null: as they are.
  Value sortTokens(ValueRange at);

  FunctionLowering &l;
  ir::CapacityOp op;
  OpFoldResult tokens, slots, experts;
  Value places, ids, weights, scores, keptIds, keptWeights, seen, order;
};
} // namespace

/// A row of a buffer behind the index of a sequence.
static Row rowAt(FunctionLowering &l, Value buffer, ValueRange at,
                 ValueRange more) {
  SmallVector<Value> all(at);
  llvm::append_range(all, more);
  return Row{l, buffer, all};
}

/// The extents of the results. Those of operands are checked.
Extents CapacityLowering::checkExtents() {
  int64_t rank = op.getIds().getType().getRank();
  tokens = l.dim(op.getIds(), rank - 2);
  slots = l.dim(op.getIds(), rank - 1);
  experts = l.index(op.getNumExperts());
  l.check(l.compare(CmpIPredicate::sgt, slots, l.index(0)),
          "tokens have no slots");
  checkExpertIds(l, op.getIds(), experts,
                 "an id is out of range; [-1, " + Twine(op.getNumExperts()) +
                     ") is accepted");
  Extents shape = l.dims(op.getIds());
  StringRef meanings[] = {"sequences", "tokens", "slots"};
  for (int64_t i = 0; i < rank; ++i) {
    StringRef meaning = meanings[3 - rank + i];
    l.checkEqual(l.dim(op.getWeights(), i), shape[i],
                 "weights have another number of " + meaning + " than ids");
    if (op.getScores() && i + 1 < rank)
      l.checkEqual(l.dim(op.getScores(), i), shape[i],
                   "scores have another number of " + meaning + " than ids");
  }
  return l.bindDims(op.getKeptIds(), shape);
}

Value CapacityLowering::sortTokens(ValueRange at) {
  Value zero = l.value(l.index(0));
  auto score = [&](Value t) {
    return scores ? rowAt(l, scores, at, {}).load(t)
                  : rowAt(l, weights, at, {t}).load(zero);
  };
  return sortNumbers(l, order, l.value(tokens), [&](Value i, Value j) {
    return comesBefore(l.b, l.loc(), score(i), score(j), /*largest=*/true,
                       /*isUnsigned=*/false, /*nanFirst=*/true);
  });
}

void CapacityLowering::walk(ValueRange at) {
  OpBuilder &b = l.b;
  Location loc = l.loc();
  Value zero = l.value(l.index(0)), one = l.value(l.index(1));
  Row count{l, seen, {}};
  forElements(l, experts, [&](Value e) { count.store(e, zero); });
  Value sorted;
  if (order)
    sorted = sortTokens(at);

  Value none = l.constant(b.getI32IntegerAttr(-1));
  Value noWeight = l.scalar(elementOf(weights), 0);
  Value no = l.constant(b.getBoolAttr(false));
  bool byChoice = op.getOrder() == ir::QueueOrder::Choice;
  SmallVector<OpFoldResult> loops{tokens, slots};
  if (byChoice)
    std::swap(loops[0], loops[1]);
  l.forEach(loops, [&](ValueRange slot) {
    Value t = slot[byChoice], j = slot[!byChoice];
    if (sorted)
      t = memref::LoadOp::create(b, loc, order, ValueRange{sorted, t});
    Value id = rowAt(l, ids, at, {t}).load(j);
    Value there = arith::CmpIOp::create(b, loc, CmpIPredicate::sgt, id, none);
    Value kept = ifElse(
        l, there, b.getI1Type(),
        [&]() -> SmallVector<Value> {
          Value e = arith::IndexCastOp::create(b, loc, b.getIndexType(), id);
          Value place = count.load(e);
          count.store(e, arith::AddIOp::create(b, loc, place, one));
          return {l.compare(CmpIPredicate::slt, place, places)};
        },
        [&]() -> SmallVector<Value> { return {no}; })[0];
    Value weight = rowAt(l, weights, at, {t}).load(j);
    rowAt(l, keptIds, at, {t})
        .store(j, arith::SelectOp::create(b, loc, kept, id, none));
    rowAt(l, keptWeights, at, {t})
        .store(j, arith::SelectOp::create(b, loc, kept, weight, noWeight));
  });
}

void CapacityLowering::run() {
  Extents shape = checkExtents();
  places = placesOf(l, op, tokens, slots);
  ids = l.readable(l.tensor(op.getIds()));
  weights = l.readable(l.tensor(op.getWeights()));
  keptIds = l.allocate(shape, l.b.getI32Type());
  keptWeights = l.allocate(shape, elementOf(weights));
  seen = l.allocate({experts}, l.b.getIndexType());
  if (op.getPriority() == ir::Priority::Prob) {
    order = l.allocate({l.index(2), tokens}, l.b.getIndexType());
    if (op.getScores())
      scores = l.readable(l.tensor(op.getScores()));
  }
  if (op.hasSequences())
    l.forEach({shape[0]}, [&](ValueRange at) { walk(at); });
  else
    walk({});
  l.set(op.getKeptIds(), l.finished(keptIds));
  l.set(op.getKeptWeights(), l.finished(keptWeights));
}

static LogicalResult lowerCapacity(FunctionLowering &l, Operation *op) {
  CapacityLowering(l, cast<ir::CapacityOp>(op)).run();
  return success();
}

void lower::registerCapacity(LoweringTable &table) {
  table.add("moe.capacity", lowerCapacity);
}
