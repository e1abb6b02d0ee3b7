//===- RouteStatistics.cpp - moe.soft_route, moe.load_stats ---------------===//

#include "dialects/MoE/MoEDialect.h"
#include "passes/Lower/MoEToLinalg/MoEToLinalg.h"
#include "passes/Lower/ONNXToLinalg/Loops.h"
#include "passes/Lower/ONNXToLinalg/Reductions.h"

using namespace mlir;
using namespace moe;
using namespace moe::lower;

Value lower::softmaxOver(FunctionLowering &l, Value tensor,
                         ArrayRef<OpFoldResult> shape, ArrayRef<bool> reduced,
                         Type type) {
  Reduction scores(l, tensor, shape, reduced);
  Value largest = scores.fold(Combine::Max, type,
                              [&](OpBuilder &b, Location loc, ValueRange args) {
                                return toFloat(b, loc, args[0], type);
                              });
  Value exps = scores.map(
      type,
      [&](OpBuilder &b, Location loc, ValueRange args) {
        Value v = toFloat(b, loc, args[0], type);
        v = arith::SubFOp::create(b, loc, v, args[1]);
        return math::ExpOp::create(b, loc, v).getResult();
      },
      largest);
  Reduction parts(l, exps, shape, reduced);
  Value sum = parts.fold(
      Combine::Sum, type,
      [](OpBuilder &, Location, ValueRange args) { return args[0]; });
  return parts.map(
      type,
      [](OpBuilder &b, Location loc, ValueRange args) {
        return arith::DivFOp::create(b, loc, args[0], args[1]).getResult();
      },
      sum);
}

static LogicalResult lowerSoftRoute(FunctionLowering &l, Operation *op) {
  auto route = cast<ir::SoftRouteOp>(op);
  Value logits = l.tensor(route.getLogits());
  Extents shape = l.dims(route.getLogits());
  Type element = elementOf(logits), type = getComputeType(element);
  auto over = [&](size_t dim) {
    SmallVector<bool> reduced(shape.size(), false);
    reduced[dim] = true;
    return l.castTo(softmaxOver(l, logits, shape, reduced, type), element);
  };
  l.set(route.getDispatch(), over(shape.size() - 2));
  l.set(route.getCombine(), over(shape.size() - 1));
  return success();
}

static LogicalResult lowerLoadStats(FunctionLowering &l, Operation *op) {
  auto stats = cast<ir::LoadStatsOp>(op);
  OpBuilder &b = l.b;
  Location loc = l.loc();
  OpFoldResult tokens = l.dim(stats.getIds(), 0);
  OpFoldResult slots = l.dim(stats.getIds(), 1);
  OpFoldResult experts;
  for (Value counted : stats.getResults())
    if (auto type = cast<RankedTensorType>(counted.getType());
        !type.isDynamicDim(0))
      experts = l.index(type.getDimSize(0));
  if (stats.getProbs())
    experts = l.dim(stats.getProbs(), 1);
  if (!experts)
    return unsupported(op, "a number of experts that neither the results nor "
                           "'probs' tell");
  checkExpertIds(l, stats.getIds(), experts, "an expert is not there");
  l.checkEqual(l.dim(stats.getWeights(), 0), tokens,
               "weights have another number of tokens than ids");
  l.checkEqual(l.dim(stats.getWeights(), 1), slots,
               "weights have another number of slots than ids");
  if (stats.getProbs())
    l.checkEqual(l.dim(stats.getProbs(), 0), tokens,
                 "probs have another number of tokens than ids");

  // Few additions in a fixed order: one thread.
  Type i64 = b.getI64Type(), f64 = b.getF64Type();
  Value ids = l.readable(l.tensor(stats.getIds()));
  Value weights = l.readable(l.tensor(stats.getWeights()));
  Value counts = l.allocate({experts}, i64), gates = l.allocate({experts}, f64);
  auto add = [&](Value buffer, Value at, Value v) {
    Value old = memref::LoadOp::create(b, loc, buffer, at);
    v = isa<FloatType>(v.getType())
            ? arith::AddFOp::create(b, loc, old, v).getResult()
            : arith::AddIOp::create(b, loc, old, v).getResult();
    memref::StoreOp::create(b, loc, v, buffer, at);
  };
  l.forEach({experts}, [&](ValueRange at) {
    memref::StoreOp::create(b, loc, l.scalar(i64, 0), counts, at);
    memref::StoreOp::create(b, loc, l.scalar(f64, 0), gates, at);
  });
  l.forEach({tokens, slots}, [&](ValueRange at) {
    Value id = memref::LoadOp::create(b, loc, ids, at);
    Value there = arith::CmpIOp::create(b, loc, arith::CmpIPredicate::sge, id,
                                        l.constant(b.getI32IntegerAttr(0)));
    ifThen(l, there, [&] {
      Value expert = arith::IndexCastOp::create(b, loc, b.getIndexType(), id);
      Value weight = memref::LoadOp::create(b, loc, weights, at);
      add(counts, expert, l.scalar(i64, 1));
      add(gates, expert, toFloat(b, loc, weight, f64));
    });
  });
  l.set(stats.getCounts(), l.finished(counts));
  l.set(stats.getGateSum(), l.finished(gates));

  Value sums = l.filled({experts}, l.scalar(f64, 0));
  if (Value probs = stats.getProbs())
    sums = l.reduce(
        {tokens, experts}, {true, false}, sums, l.tensor(probs),
        AffineMap::getMultiDimIdentityMap(2, b.getContext()),
        [&](OpBuilder &nested, Location at, ValueRange in, Value accumulator) {
          return arith::AddFOp::create(
                     nested, at, toFloat(nested, at, in[0], f64), accumulator)
              .getResult();
        });
  l.set(stats.getProbSum(), sums);
  return success();
}

void lower::registerRouteStatistics(LoweringTable &table) {
  table.add("moe.soft_route", lowerSoftRoute);
  table.add("moe.load_stats", lowerLoadStats);
}
