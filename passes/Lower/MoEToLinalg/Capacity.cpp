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

static LogicalResult lowerCapacity(FunctionLowering &l, Operation *op) {
  auto capacity = cast<ir::CapacityOp>(op);
  OpBuilder &b = l.b;
  Location loc = l.loc();
  OpFoldResult tokens = l.dim(capacity.getIds(), 0);
  OpFoldResult slots = l.dim(capacity.getIds(), 1);
  OpFoldResult experts = l.index(capacity.getNumExperts());
  l.check(l.compare(CmpIPredicate::sgt, slots, l.index(0)),
          "tokens have no slots");
  checkExpertIds(l, capacity.getIds(), experts,
                 "an id is out of range; [-1, " +
                     Twine(capacity.getNumExperts()) + ") is accepted");
  l.checkEqual(l.dim(capacity.getWeights(), 0), tokens,
               "weights have another number of tokens than ids");
  l.checkEqual(l.dim(capacity.getWeights(), 1), slots,
               "weights have another number of slots than ids");
  if (capacity.getScores())
    l.checkEqual(l.dim(capacity.getScores(), 0), tokens,
                 "scores have another number of tokens than ids");
  Extents shape = l.bindDims(capacity.getKeptIds(), {tokens, slots});
  Value places = placesOf(l, capacity, tokens, slots);

  Value ids = l.readable(l.tensor(capacity.getIds()));
  Value weights = l.readable(l.tensor(capacity.getWeights()));
  Type i32 = b.getI32Type(), element = elementOf(weights);
  Value keptIds = l.allocate(shape, i32);
  Value keptWeights = l.allocate(shape, element);
  Row seen{l, l.allocate({experts}, b.getIndexType()), {}};
  Value zero = l.value(l.index(0)), one = l.value(l.index(1));
  forElements(l, experts, [&](Value e) { seen.store(e, zero); });

  // The tokens in the order of their priority; null: as they are.
  Value order, half;
  if (capacity.getPriority() == ir::Priority::Prob) {
    order = l.allocate({l.index(2), tokens}, b.getIndexType());
    Value scores;
    if (capacity.getScores())
      scores = l.readable(l.tensor(capacity.getScores()));
    auto score = [&](Value t) {
      return scores ? Row{l, scores, {}}.load(t)
                    : Row{l, weights, {t}}.load(zero);
    };
    half = sortNumbers(l, order, l.value(tokens), [&](Value i, Value j) {
      return comesBefore(b, loc, score(i), score(j), /*largest=*/true,
                         /*isUnsigned=*/false, /*nanFirst=*/true);
    });
  }

  Value none = l.constant(b.getI32IntegerAttr(-1));
  Value noWeight = l.scalar(element, 0);
  Value no = l.constant(b.getBoolAttr(false));
  bool byChoice = capacity.getOrder() == ir::QueueOrder::Choice;
  SmallVector<OpFoldResult> loops{tokens, slots};
  if (byChoice)
    std::swap(loops[0], loops[1]);
  l.forEach(loops, [&](ValueRange at) {
    Value t = at[byChoice], j = at[!byChoice];
    if (order)
      t = memref::LoadOp::create(b, loc, order, ValueRange{half, t});
    Value id = Row{l, ids, {t}}.load(j);
    Value there = arith::CmpIOp::create(b, loc, CmpIPredicate::sgt, id, none);
    Value kept = ifElse(
        l, there, b.getI1Type(),
        [&]() -> SmallVector<Value> {
          Value e = arith::IndexCastOp::create(b, loc, b.getIndexType(), id);
          Value place = seen.load(e);
          seen.store(e, arith::AddIOp::create(b, loc, place, one));
          return {l.compare(CmpIPredicate::slt, place, places)};
        },
        [&]() -> SmallVector<Value> { return {no}; })[0];
    Value weight = Row{l, weights, {t}}.load(j);
    Row{l, keptIds, {t}}.store(j,
                               arith::SelectOp::create(b, loc, kept, id, none));
    Row{l, keptWeights, {t}}.store(
        j, arith::SelectOp::create(b, loc, kept, weight, noWeight));
  });
  l.set(capacity.getKeptIds(), l.finished(keptIds));
  l.set(capacity.getKeptWeights(), l.finished(keptWeights));
  return success();
}

void lower::registerCapacity(LoweringTable &table) {
  table.add("moe.capacity", lowerCapacity);
}
