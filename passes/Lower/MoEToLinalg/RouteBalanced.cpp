//===- RouteBalanced.cpp - moe.route_balanced -----------------------------===//
//
// Experts choose tokens: the scores are transposed, so that what an expert
// looks at lies in a row, and each expert finds the best of its row, all
// experts in parallel.
//
// Optimal transport is solved in its semi-dual: one number per token, a. An
// expert j turns x = (a - c_j) E / gamma, c the negative logits, into the
// nearest point y of the simplex with at most C entries; a token's share is the
// mean of its y over experts and ought to be 1 / T. a follows that gradient in
// steps of gamma / E (the curvature is at most E / gamma) with Nesterov's
// momentum, from minus the largest logit of each token. What is stored is the
// distance from this start: tokens with the same history then have the same
// bits, and ties among them are broken by their index.
//
//===----------------------------------------------------------------------===//

#include "dialects/MoE/MoEDialect.h"
#include "passes/Lower/MoEToLinalg/MoEToLinalg.h"
#include "passes/Lower/MoEToLinalg/Rows.h"
#include "passes/Lower/ONNXToLinalg/Reductions.h"

using namespace mlir;
using namespace moe;
using namespace moe::lower;

namespace {

using arith::CmpFPredicate;
using arith::CmpIPredicate;

struct RouteBalanced {
  FunctionLowering &l;
  ir::RouteBalancedOp op;
  Scalars s;
  OpFoldResult tokens, experts, places;
  Extents shape;

  RouteBalanced(FunctionLowering &l, ir::RouteBalancedOp op)
      : l(l), op(op), s{l, getComputeType(elementOf(op.getLogits()))},
        tokens(l.dim(op.getLogits(), 0)), experts(l.dim(op.getLogits(), 1)),
        places(l.index(op.getCapacity())),
        shape(l.bindDims(op.getTokens(), {experts, places})) {}

  /// Extents as numbers.
  Value real(OpFoldResult extent) {
    return toFloat(l.b, l.loc(), l.value(extent), s.type);
  }
  Value wideLogits();
  Value sinkhornPlan();
  void pickBest(Value scores);
  void transport();
};

} // namespace

/// The logits in the type that routing is computed in.
Value RouteBalanced::wideLogits() {
  return l.castTo(l.tensor(op.getLogits()), s.type);
}

/// d0 * exp(l) * d1 with marginals 1 / T and 1 / E.
Value RouteBalanced::sinkhornPlan() {
  OpBuilder &b = l.b;
  MLIRContext *context = b.getContext();
  Extents both{tokens, experts};
  // d0 makes up for the factor that is taken out of each token's exponentials.
  Reduction rows(l, wideLogits(), both, {false, true});
  auto self = [](OpBuilder &, Location, ValueRange args) { return args[0]; };
  Value largest = rows.fold(Combine::Max, s.type, self);
  Value kernel = rows.map(
      s.type,
      [](OpBuilder &b, Location loc, ValueRange args) {
        Value v = arith::SubFOp::create(b, loc, args[0], args[1]);
        return math::ExpOp::create(b, loc, v).getResult();
      },
      largest);

  AffineMap identity = AffineMap::getMultiDimIdentityMap(2, context);
  AffineMap byToken = identity.dropResult(1), byExpert = identity.dropResult(0);
  AffineMap one = AffineMap::getMultiDimIdentityMap(1, context);
  Value numTokens = real(tokens), numExperts = real(experts);
  Value unit = s.constant(1), zero = s.constant(0);
  // 1 / (count * sum of kernel * factor over one of the dims).
  auto scaling = [&](Value factor, AffineMap map, bool overTokens) {
    OpFoldResult extent = overTokens ? experts : tokens;
    Value count = overTokens ? numExperts : numTokens;
    Value sums = l.reduce(
        both, {overTokens, !overTokens}, l.filled({extent}, zero),
        {kernel, factor}, {identity, map},
        [](OpBuilder &b, Location loc, ValueRange in, Value accumulator) {
          Value term = arith::MulFOp::create(b, loc, in[0], in[1]);
          return arith::AddFOp::create(b, loc, term, accumulator).getResult();
        });
    return l.pointwise(
        extent, s.type, sums, one,
        [&](OpBuilder &b, Location loc, ValueRange in) {
          Value v = arith::MulFOp::create(b, loc, in[0], count);
          return arith::DivFOp::create(b, loc, unit, v).getResult();
        });
  };
  SmallVector<Value> factors =
      forRange(l, l.index(0), l.index(op.getIterations()), l.index(1),
               {l.filled({tokens}, zero), l.filled({experts}, unit)},
               [&](Value, ValueRange carried) -> SmallVector<Value> {
                 Value d0 = scaling(carried[1], byExpert, /*overTokens=*/false);
                 return {d0, scaling(d0, byToken, /*overTokens=*/true)};
               });
  return l.pointwise(
      both, s.type, {kernel, factors[0], factors[1]},
      {identity, byToken, byExpert},
      [](OpBuilder &b, Location loc, ValueRange in) {
        Value v = arith::MulFOp::create(b, loc, in[0], in[1]);
        return arith::MulFOp::create(b, loc, v, in[2]).getResult();
      });
}

/// Each expert takes its best tokens.
void RouteBalanced::pickBest(Value scores) {
  Value byExpert = l.readable(l.transpose(scores, {tokens, experts}, {1, 0}));
  RowTasks tasks = planRows(l, experts, l.mul(tokens, l.index(4)));
  BestOfRow best(l, tasks, s.type, op.getCapacity(), tokens, /*highest=*/false);
  Value idsOut = l.allocate(shape, l.b.getI32Type());
  Value weightsOut = l.allocate(shape, s.type);
  OpFoldResult found = l.min(places, tokens);
  Value none = l.constant(l.b.getI32IntegerAttr(-1));
  forRows(l, tasks, [&](Value e, Value task) {
    Row score{l, byExpert, {e}}, ids{l, idsOut, {e}}, w{l, weightsOut, {e}};
    best.find(task, tokens, [&](Value t) { return score.load(t); });
    forElements(l, found, [&](Value j) {
      Value t = best.number(task, j);
      ids.store(j, arith::IndexCastOp::create(l.b, l.loc(), none.getType(), t));
      w.store(j, score.load(t));
    });
    forRange(l, found, places, l.index(1), {},
             [&](Value j, ValueRange) -> SmallVector<Value> {
               ids.store(j, none);
               w.store(j, s.constant(0));
               return {};
             });
  });
  l.set(op.getTokens(), l.finished(idsOut));
  l.set(op.getWeights(), l.finished(weightsOut));
}

void RouteBalanced::transport() {
  OpBuilder &b = l.b;
  double gamma = op.getGamma().convertToDouble();
  Value numTokens = real(tokens), numExperts = real(experts);
  Value share = s.div(s.constant(1), numTokens);
  Value toSimplex = s.div(numExperts, s.constant(gamma));
  Value step = s.div(s.constant(gamma), numExperts);

  Reduction rows(l, wideLogits(), {tokens, experts}, {false, true});
  auto self = [](OpBuilder &, Location, ValueRange args) { return args[0]; };
  Value largest = rows.fold(Combine::Max, s.type, self);
  Value distance = rows.map(
      s.type,
      [](OpBuilder &b, Location loc, ValueRange args) {
        return arith::SubFOp::create(b, loc, args[0], args[1]).getResult();
      },
      largest);
  Value byExpert = l.readable(l.transpose(distance, {tokens, experts}, {1, 0}));

  // The point to step from, the point stepped to, and the y of all experts.
  Value point = l.allocate({tokens}, s.type), to = l.allocate({tokens}, s.type);
  Value plan = l.allocate({experts, tokens}, s.type);
  forElements(l, tokens, [&](Value t) {
    Row{l, point, {}}.store(t, s.constant(0));
    Row{l, to, {}}.store(t, s.constant(0));
  });
  OpFoldResult found = l.min(places, tokens);
  RowTasks byRow = planRows(l, experts, l.mul(tokens, l.index(6)));
  RowTasks byToken = planRows(l, tokens, l.mul(experts, l.index(2)));
  BestOfRow best(l, byRow, s.type, op.getCapacity(), tokens, /*highest=*/false);

  // Calls `store(rank, token, y)` for the best tokens of an expert.
  auto project = [&](Value e, Value task, Value at,
                     llvm::function_ref<void(Value, Value, Value)> store) {
    Row d{l, byExpert, {e}}, a{l, at, {}};
    auto coordinate = [&](Value t) {
      return s.mul(s.add(d.load(t), a.load(t)), toSimplex);
    };
    best.find(task, tokens, coordinate);
    // The largest r with u_r > (u_1 + .. + u_r - 1) / r gives the threshold.
    Value threshold = forRange(
        l, l.index(0), found, l.index(1), {s.constant(0), s.constant(0)},
        [&](Value r, ValueRange carried) -> SmallVector<Value> {
          Value u = coordinate(best.number(task, r));
          Value sum = s.add(carried[0], u);
          Value count =
              toFloat(b, l.loc(),
                      arith::AddIOp::create(b, l.loc(), r, l.value(l.index(1))),
                      s.type);
          Value mean = s.div(s.sub(sum, s.constant(1)), count);
          Value above = s.compare(CmpFPredicate::OGT, u, mean);
          return {sum,
                  arith::SelectOp::create(b, l.loc(), above, mean, carried[1])};
        })[1];
    forElements(l, found, [&](Value r) {
      Value t = best.number(task, r);
      Value y = s.max(s.sub(coordinate(t), threshold), s.constant(0));
      store(r, t, y);
    });
  };

  forRange(l, l.index(0), l.index(op.getIterations()), l.index(1), {},
           [&](Value i, ValueRange) -> SmallVector<Value> {
             forRows(l, byRow, [&](Value e, Value task) {
               Row y{l, plan, {e}};
               forElements(l, tokens,
                           [&](Value t) { y.store(t, s.constant(0)); });
               project(e, task, point,
                       [&](Value, Value t, Value v) { y.store(t, v); });
             });
             Value number = toFloat(b, l.loc(), i, s.type);
             Value momentum = s.div(number, s.add(number, s.constant(3)));
             forRows(l, byToken, [&](Value t, Value) {
               Value mass = sumOf(s, experts, [&](Value e) {
                 return Row{l, plan, {e}}.load(t);
               });
               Value gradient = s.sub(share, s.div(mass, numExperts));
               Row from{l, point, {}}, last{l, to, {}};
               Value next = s.add(from.load(t), s.mul(step, gradient));
               Value moved = s.sub(next, last.load(t));
               last.store(t, next);
               from.store(t, s.add(next, s.mul(momentum, moved)));
             });
             return {};
           });

  Value idsOut = l.allocate(shape, b.getI32Type());
  Value weightsOut = l.allocate(shape, s.type);
  Value none = l.constant(b.getI32IntegerAttr(-1));
  forRows(l, byRow, [&](Value e, Value task) {
    Row ids{l, idsOut, {e}}, w{l, weightsOut, {e}};
    forElements(l, places, [&](Value j) {
      ids.store(j, none);
      w.store(j, s.constant(0));
    });
    project(e, task, to, [&](Value j, Value t, Value y) {
      Value id = arith::IndexCastOp::create(b, l.loc(), none.getType(), t);
      Value taken = s.compare(CmpFPredicate::UNE, y, s.constant(0));
      ids.store(j, arith::SelectOp::create(b, l.loc(), taken, id, none));
      w.store(j, y);
    });
  });
  l.set(op.getTokens(), l.finished(idsOut));
  l.set(op.getWeights(), l.finished(weightsOut));
}

static LogicalResult lowerRouteBalanced(FunctionLowering &l, Operation *op) {
  auto route = cast<ir::RouteBalancedOp>(op);
  RouteBalanced balanced(l, route);
  switch (route.getMethod()) {
  case ir::BalancedMethod::ExpertChoice:
    balanced.pickBest(softmaxOver(l, l.tensor(route.getLogits()),
                                  {balanced.tokens, balanced.experts},
                                  {false, true}, balanced.s.type));
    break;
  case ir::BalancedMethod::Sinkhorn:
    balanced.pickBest(balanced.sinkhornPlan());
    break;
  case ir::BalancedMethod::SparseOT:
    balanced.transport();
    break;
  }
  return success();
}

void lower::registerRouteBalanced(LoweringTable &table) {
  table.add("moe.route_balanced", lowerRouteBalanced);
}
