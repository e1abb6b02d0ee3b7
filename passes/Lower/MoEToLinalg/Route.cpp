//===- Route.cpp - moe.route ----------------------------------------------===//
//
// One parallel loop over tokens. The steps of a token are those that
// `#moe.routing` numbers (dialects/MoE/MoEAttrs.td), each a short loop over
// experts or slots; a field at its default leaves no code behind. The scores of
// a token lie in buffers that its task uses again for the next one.
//
//===----------------------------------------------------------------------===//

#include "dialects/MoE/MoEDialect.h"
#include "passes/Lower/MoEToLinalg/MoEToLinalg.h"
#include "passes/Lower/MoEToLinalg/Rows.h"
#include "passes/Lower/ONNXToLinalg/Reductions.h"

#include "mlir/Dialect/Utils/StaticValueUtils.h"

using namespace mlir;
using namespace moe;
using namespace moe::lower;

namespace {

using arith::CmpFPredicate;
using arith::CmpIPredicate;

/// Runs of consecutive numbers, [first, last] each.
SmallVector<std::pair<int64_t, int64_t>> runsOf(ArrayRef<int64_t> numbers) {
  SmallVector<int64_t> sorted(numbers);
  llvm::sort(sorted);
  SmallVector<std::pair<int64_t, int64_t>> runs;
  for (int64_t n : sorted) {
    if (!runs.empty() && n <= runs.back().second + 1)
      runs.back().second = n;
    else
      runs.push_back({n, n});
  }
  return runs;
}

struct Route {
  FunctionLowering &l;
  ir::RouteOp op;
  ir::RoutingAttr routing;
  /// The type that routing is computed in.
  Scalars s;
  OpFoldResult tokens, experts;
  int64_t slots;

  /// Operands as buffers, null if absent.
  Value logits, selectBias, expertScale, mix, forced, valid;
  /// Scratch, one row per task. `scored` is null if no expert's score is used
  /// before it is selected, `choosing` unless the selection scores are neither
  /// logits nor scores.
  Value transformed, scored, choosing, keptGroups, chosen, weight;
  std::optional<BestOfRow> bestExperts, bestGroups;
  Value idsOut, weightsOut;

  Route(FunctionLowering &l, ir::RouteOp op)
      : l(l), op(op),
        routing(op.getRouting()), s{l,
                                    getComputeType(elementOf(op.getLogits()))},
        tokens(l.dim(op.getLogits(), 0)), experts(l.dim(op.getLogits(), 1)),
        slots(routing.getK()) {}

  bool isSparseMixer() const {
    return routing.getScore() == ir::Score::SparseMixer;
  }
  bool scoresSelected() const {
    return routing.getScoreOn() == ir::ScoreOn::Selected;
  }
  static double real(const APFloat &value) { return value.convertToDouble(); }
  Value at(int64_t i) { return l.value(l.index(i)); }
  Value isTrue(bool value) { return l.constant(l.b.getBoolAttr(value)); }
  Value either(Value x, Value y) {
    return arith::OrIOp::create(l.b, l.loc(), x, y);
  }
  Value select(Value condition, Value x, Value y) {
    return arith::SelectOp::create(l.b, l.loc(), condition, x, y);
  }
  Row row(Value buffer, Value i) { return {l, buffer, {i}}; }

  int64_t lastRank() const {
    if (routing.getRanks().empty())
      return routing.getK() - 1;
    return *llvm::max_element(routing.getRanks());
  }

  void run();
  void checkOperands();
  void token(Value t, Value task);
  void transform(const Row &from, const Row &to);
  Value scoreOf(Value logit);
  void limitToGroups(Value task, const Row &choice);
  void choose(Value t, Value task);
  void weigh(Value t, Value task);
  Value sparseMixerWeight(Value task, Value first, Value best);
  void normalise(const Row &w);
  void finish(Value t, Value task);
};

} // namespace

/// Whether all of `ids`, a tensor of i32, are in [-1, experts).
static Value areLegal(FunctionLowering &l, Value ids, const Extents &shape,
                      OpFoldResult experts) {
  OpBuilder &b = l.b;
  Type i32 = b.getI32Type();
  Value limit = arith::IndexCastOp::create(b, l.loc(), i32, l.value(experts));
  Value least = l.constant(b.getI32IntegerAttr(-1));
  AffineMap identity =
      AffineMap::getMultiDimIdentityMap(shape.size(), b.getContext());
  Value all = l.reduce(
      shape, SmallVector<bool>(shape.size(), true),
      l.filled({}, l.constant(b.getBoolAttr(true))), ids, identity,
      [&](OpBuilder &nested, Location at, ValueRange in, Value accumulator) {
        Value above =
            arith::CmpIOp::create(nested, at, CmpIPredicate::sge, in[0], least);
        Value below =
            arith::CmpIOp::create(nested, at, CmpIPredicate::slt, in[0], limit);
        Value both = arith::AndIOp::create(nested, at, above, below);
        return arith::AndIOp::create(nested, at, accumulator, both);
      });
  return l.extract(all, {});
}

void lower::checkExpertIds(FunctionLowering &l, Value onnxIds,
                           OpFoldResult experts, const Twine &message) {
  l.check(areLegal(l, l.tensor(onnxIds), l.dims(onnxIds), experts), message);
}

void Route::checkOperands() {
  int64_t needed = op.getForced() ? 1 : lastRank() + 1;
  l.check(l.compare(CmpIPredicate::sge, experts, l.index(needed)),
          "there are fewer experts than a token picks");
  if (ir::GroupsAttr groups = routing.getGroups()) {
    OpFoldResult count = l.index(groups.getN());
    l.checkEqual(l.mul(l.div(experts, count), count), experts,
                 "experts do not form groups of equal size");
  }
  if (Value v = op.getSelectBias())
    l.checkEqual(l.dim(v, 0), experts, "select_bias is not one per expert");
  if (Value v = op.getExpertScale())
    l.checkEqual(l.dim(v, 0), experts, "expert_scale is not one per expert");
  if (Value v = op.getMix()) {
    l.checkEqual(l.dim(v, 0), tokens, "mix has another number of tokens");
    l.checkEqual(l.dim(v, 1), experts, "mix has another number of experts");
  }
  if (Value v = op.getForced()) {
    l.checkEqual(l.dim(v, 0), tokens, "forced has another number of tokens");
    l.checkEqual(l.dim(v, 1), l.index(slots),
                 "forced has another number of slots");
    checkExpertIds(l, v, experts, "forced names an expert that is not there");
  }
  if (Value v = op.getValid())
    l.checkEqual(l.dim(v, 0), tokens, "valid has another number of tokens");
}

void Route::run() {
  checkOperands();
  auto buffer = [&](Value v) { return v ? l.readable(l.tensor(v)) : Value(); };
  logits = buffer(op.getLogits());
  selectBias = buffer(op.getSelectBias());
  expertScale = buffer(op.getExpertScale());
  mix = buffer(op.getMix());
  forced = buffer(op.getForced());
  valid = buffer(op.getValid());

  // Softmax, the dearest score, takes about 30 operations an expert.
  RowTasks tasks = planRows(l, tokens, l.mul(experts, l.index(40)));
  Extents perExpert{tasks.count, experts};
  bool selectsByScore = !forced && routing.getSelect() == ir::Select::ByScore;
  bool needsScores = !scoresSelected() && !isSparseMixer() &&
                     routing.getScore() != ir::Score::Identity &&
                     (!mix || selectsByScore);
  transformed = l.allocate(perExpert, s.type);
  if (needsScores)
    scored = l.allocate(perExpert, s.type);
  bool highest = routing.getTie() == ir::Tie::Highest;
  if (!forced) {
    if (selectBias || routing.getGroups())
      choosing = l.allocate(perExpert, s.type);
    if (ir::GroupsAttr groups = routing.getGroups()) {
      keptGroups =
          l.allocate({tasks.count, l.index(2), l.index(groups.getN())}, s.type);
      bestGroups.emplace(l, tasks, s.type, groups.getKeep(),
                         l.index(groups.getN()), highest);
    }
    bestExperts.emplace(l, tasks, s.type, lastRank() + 1, experts, highest);
  }
  Extents perSlot{tasks.count, l.index(slots)};
  chosen = l.allocate(perSlot, l.b.getIndexType());
  weight = l.allocate(perSlot, s.type);

  Extents shape = l.bindDims(op.getIds(), {tokens, l.index(slots)});
  idsOut = l.allocate(shape, l.b.getI32Type());
  weightsOut = l.allocate(shape, elementOf(op.getWeights()));
  forRows(l, tasks, [&](Value t, Value task) { token(t, task); });
  l.set(op.getIds(), l.finished(idsOut));
  l.set(op.getWeights(), l.finished(weightsOut));
}

//===----------------------------------------------------------------------===//
// Scores
//===----------------------------------------------------------------------===//

void Route::transform(const Row &from, const Row &to) {
  double mult = real(routing.getLogitMult()), cap = real(routing.getSoftcap());
  forElements(l, experts, [&](Value i) {
    Value v = s.widen(from.load(i));
    if (mult != 1)
      v = s.mul(v, s.constant(mult));
    if (cap > 0) {
      v = math::TanhOp::create(l.b, l.loc(), s.div(v, s.constant(cap)));
      v = s.mul(v, s.constant(cap));
    }
    to.store(i, v);
  });
  double wanted = real(routing.getLogitStd());
  if (wanted <= 0)
    return;
  Value count = toFloat(l.b, l.loc(), l.value(experts), s.type);
  Value mean =
      s.div(sumOf(s, experts, [&](Value i) { return to.load(i); }), count);
  Value squares = sumOf(s, experts, [&](Value i) {
    Value d = s.sub(to.load(i), mean);
    return s.mul(d, d);
  });
  Value deviation = s.sqrt(s.div(squares, s.sub(count, s.constant(1))));
  Value divisor = s.div(deviation, s.constant(wanted));
  forElements(l, experts,
              [&](Value i) { to.store(i, s.div(to.load(i), divisor)); });
}

/// Scores that look at one logit alone.
Value Route::scoreOf(Value x) {
  switch (routing.getScore()) {
  case ir::Score::Sigmoid: {
    Value e = s.exp(arith::NegFOp::create(l.b, l.loc(), x));
    return s.div(s.constant(1), s.add(s.constant(1), e));
  }
  case ir::Score::SqrtSoftplus: {
    Value e = s.exp(arith::NegFOp::create(l.b, l.loc(), s.abs(x)));
    Value log = math::Log1pOp::create(l.b, l.loc(), e);
    return s.sqrt(s.add(s.max(x, s.constant(0)), log));
  }
  case ir::Score::Identity:
  case ir::Score::Softmax:
  case ir::Score::SparseMixer:
    break;
  }
  return x;
}

//===----------------------------------------------------------------------===//
// Selection
//===----------------------------------------------------------------------===//

void Route::limitToGroups(Value task, const Row &choice) {
  ir::GroupsAttr groups = routing.getGroups();
  OpFoldResult count = l.index(groups.getN()), size = l.div(experts, count);
  Row score{l, keptGroups, {task, at(0)}}, kept{l, keptGroups, {task, at(1)}};
  Value lowest = s.infinity(/*negative=*/true);
  forElements(l, count, [&](Value g) {
    Value begin = arith::MulIOp::create(l.b, l.loc(), g, l.value(size));
    SmallVector<Value> top =
        forRange(l, l.index(0), size, l.index(1), {lowest, lowest},
                 [&](Value i, ValueRange carried) -> SmallVector<Value> {
                   Value e = arith::AddIOp::create(l.b, l.loc(), begin, i);
                   Value x = choice.load(e);
                   Value first = s.compare(CmpFPredicate::UGT, x, carried[0]);
                   Value second = s.compare(CmpFPredicate::UGT, x, carried[1]);
                   Value next =
                       select(first, carried[0], select(second, x, carried[1]));
                   return {select(first, x, carried[0]), next};
                 });
    Value v = top[0];
    // A group of one has no second score.
    if (groups.getReduce() == ir::GroupReduce::Top2Sum)
      v = select(l.compare(CmpIPredicate::sgt, size, l.index(1)),
                 s.add(top[0], top[1]), top[0]);
    score.store(g, v);
    kept.store(g, s.constant(0));
  });
  bestGroups->find(task, count, [&](Value g) { return score.load(g); });
  forElements(l, l.index(groups.getKeep()), [&](Value rank) {
    kept.store(bestGroups->number(task, rank), s.constant(1));
  });
  Value fill = groups.getFill() == ir::GroupFill::Zero ? s.constant(0) : lowest;
  forElements(l, count, [&](Value g) {
    Value begin = arith::MulIOp::create(l.b, l.loc(), g, l.value(size));
    Value keeps = s.compare(CmpFPredicate::ONE, kept.load(g), s.constant(0));
    forElements(l, size, [&](Value i) {
      Value e = arith::AddIOp::create(l.b, l.loc(), begin, i);
      choice.store(e, select(keeps, choice.load(e), fill));
    });
  });
}

/// Fills the row of `chosen`; -1 where a slot stays empty.
void Route::choose(Value t, Value task) {
  Row ids = row(chosen, task);
  if (forced) {
    Row given = row(forced, t);
    forElements(l, l.index(slots), [&](Value j) {
      ids.store(j, arith::IndexCastOp::create(l.b, l.loc(), l.b.getIndexType(),
                                              given.load(j)));
    });
    return;
  }
  bool byLogit = routing.getSelect() == ir::Select::ByLogit || !scored;
  Value source = byLogit ? transformed : scored;
  if (choosing) {
    Row choice = row(choosing, task);
    Row bias{l, selectBias, {}};
    forElements(l, experts, [&](Value i) {
      Value v = row(source, task).load(i);
      if (selectBias)
        v = s.add(v, s.widen(bias.load(i)));
      choice.store(i, v);
    });
    if (routing.getGroups())
      limitToGroups(task, choice);
    source = choosing;
  }
  Row choice = row(source, task);
  bestExperts->find(task, experts, [&](Value i) { return choice.load(i); });
  if (routing.getRanks().empty()) {
    forElements(l, l.index(slots),
                [&](Value j) { ids.store(j, bestExperts->number(task, j)); });
    return;
  }
  for (auto [j, rank] : llvm::enumerate(routing.getRanks()))
    ids.store(at(j), bestExperts->number(task, at(rank)));
}

//===----------------------------------------------------------------------===//
// Weights
//===----------------------------------------------------------------------===//

/// The weight of `best`, the greatest logit apart from that of `first` (null if
/// `best` is the greatest of all).
Value Route::sparseMixerWeight(Value task, Value first, Value best) {
  Row x = row(transformed, task);
  Value most = x.load(best);
  Value limit = s.constant(2 * real(routing.getJitter()));
  Value sum = sumOf(s, experts, [&](Value i) {
    Value v = x.load(i);
    Value scale = s.max(s.abs(v), most);
    Value distance = s.div(s.sub(most, v), scale);
    Value out = s.compare(CmpFPredicate::OGT, distance, limit);
    if (first)
      out = either(out, l.compare(CmpIPredicate::eq, i, first));
    return select(out, s.constant(0), s.exp(s.sub(v, most)));
  });
  return s.div(s.constant(1), sum);
}

/// Fills the row of `weight` with the scores of the chosen ones.
void Route::weigh(Value t, Value task) {
  Row ids = row(chosen, task), w = row(weight, task);
  OpFoldResult count = l.index(slots);
  if (isSparseMixer()) {
    Value first = ids.load(at(0)), second = ids.load(at(1));
    w.store(at(0), sparseMixerWeight(task, Value(), first));
    w.store(at(1), sparseMixerWeight(task, first, second));
    return;
  }
  Row source = mix      ? row(mix, t)
               : scored ? row(scored, task)
                        : row(transformed, task);
  bool late = scoresSelected();
  bool softmax = late && routing.getScore() == ir::Score::Softmax;
  // An empty slot has no share in a softmax and weight 0 otherwise.
  Value empty = softmax ? s.infinity(/*negative=*/true) : s.constant(0);
  forElements(l, count, [&](Value j) {
    Value id = ids.load(j);
    Value v;
    if (!forced) {
      v = s.widen(source.load(id));
      v = late && !softmax ? scoreOf(v) : v;
    } else {
      Value isEmpty = l.compare(CmpIPredicate::slt, id, l.index(0));
      Value legal = select(isEmpty, at(0), id);
      v = s.widen(source.load(legal));
      v = late && !softmax ? scoreOf(v) : v;
      v = select(isEmpty, empty, v);
    }
    w.store(j, v);
  });
  if (softmax)
    softmaxRow(s, count, w, w);
}

void Route::normalise(const Row &w) {
  OpFoldResult count = l.index(slots);
  auto weightAt = [&](Value j) { return w.load(j); };
  Value eps = s.constant(real(routing.getEps())), divisor;
  switch (routing.getNorm()) {
  case ir::Norm::None:
    return;
  case ir::Norm::Sum:
    divisor = sumOf(s, count, weightAt);
    if (!routing.getEps().isZero())
      divisor = s.add(divisor, eps);
    break;
  case ir::Norm::SumClamp:
    divisor = s.max(sumOf(s, count, weightAt), eps);
    break;
  case ir::Norm::Lp: {
    double p = real(routing.getP());
    divisor = sumOf(s, count, [&](Value j) {
      Value v = s.abs(w.load(j));
      if (p == 1)
        return v;
      if (p == 2)
        return s.mul(v, v);
      return math::PowFOp::create(l.b, l.loc(), v, s.constant(p)).getResult();
    });
    if (p == 2)
      divisor = s.sqrt(divisor);
    else if (p != 1)
      divisor = math::PowFOp::create(l.b, l.loc(), divisor, s.constant(1 / p));
    break;
  }
  }
  forElements(l, count,
              [&](Value j) { w.store(j, s.div(w.load(j), divisor)); });
}

/// Scales, skips slots and writes the results of a token.
void Route::finish(Value t, Value task) {
  Row ids = row(chosen, task), w = row(weight, task);
  OpFoldResult count = l.index(slots);
  auto isEmpty = [&](Value id) {
    return l.compare(CmpIPredicate::slt, id, l.index(0));
  };

  if (auto nulls = runsOf(routing.getNullBeforeNorm()); !nulls.empty())
    forElements(l, count, [&](Value j) {
      Value id = ids.load(j);
      Value isNull = isTrue(false);
      for (auto [first, last] : nulls) {
        Value from = l.compare(CmpIPredicate::sge, id, l.index(first));
        Value to = l.compare(CmpIPredicate::sle, id, l.index(last));
        isNull = either(isNull, arith::AndIOp::create(l.b, l.loc(), from, to));
      }
      w.store(j, select(isNull, s.constant(0), w.load(j)));
    });
  normalise(w);

  double scale = real(routing.getScale());
  Row perExpert{l, expertScale, {}};
  if (scale != 1 || routing.getKDiv() || expertScale)
    forElements(l, count, [&](Value j) {
      Value v = w.load(j);
      if (scale != 1)
        v = s.mul(v, s.constant(scale));
      if (routing.getKDiv())
        v = s.div(v, s.constant(routing.getK()));
      if (expertScale) {
        Value id = ids.load(j);
        if (forced)
          id = select(isEmpty(id), at(0), id);
        v = s.mul(v, s.widen(perExpert.load(id)));
      }
      w.store(j, v);
    });

  double ratio = real(routing.getMinRatio()), mass = real(routing.getTopP()),
         least = real(routing.getMinProb());
  if (forced) // An empty slot weighs nothing, whatever came of 0 above.
    forElements(l, count, [&](Value j) {
      w.store(j, select(isEmpty(ids.load(j)), s.constant(0), w.load(j)));
    });
  Value first = w.load(at(0)), enough;
  if (mass < 1)
    enough = s.mul(s.constant(mass),
                   sumOf(s, count, [&](Value j) { return w.load(j); }));

  Row idsRow = row(idsOut, t), weightsRow = row(weightsOut, t);
  Value isValid = isTrue(true);
  if (valid)
    isValid = memref::LoadOp::create(l.b, l.loc(), valid, t);
  Type i32 = l.b.getI32Type();
  Value none = l.constant(l.b.getI32IntegerAttr(-1));
  forRange(
      l, l.index(0), count, l.index(1), {s.constant(0)},
      [&](Value j, ValueRange carried) -> SmallVector<Value> {
        Value v = w.load(j);
        Value id = arith::IndexCastOp::create(l.b, l.loc(), i32, ids.load(j));
        Value drop = isTrue(false);
        if (ratio != 0)
          drop = either(drop, s.compare(CmpFPredicate::OLT, v,
                                        s.mul(s.constant(ratio), first)));
        if (mass < 1)
          drop =
              either(drop, s.compare(CmpFPredicate::OGE, carried[0], enough));
        if (least != 0)
          drop =
              either(drop, s.compare(CmpFPredicate::OLT, v, s.constant(least)));
        Value notFirst = l.compare(CmpIPredicate::sgt, j, l.index(0));
        drop = arith::AndIOp::create(l.b, l.loc(), drop, notFirst);
        Value stays = arith::AndIOp::create(
            l.b, l.loc(), isValid,
            arith::XOrIOp::create(l.b, l.loc(), drop, isTrue(true)));
        idsRow.store(j, select(stays, id, none));
        weightsRow.store(j,
                         toFloat(l.b, l.loc(), select(stays, v, s.constant(0)),
                                 elementOf(weightsOut)));
        return {s.add(carried[0], v)};
      });
}

void Route::token(Value t, Value task) {
  Row x = row(transformed, task);
  transform(row(logits, t), x);
  if (scored) {
    Row score = row(scored, task);
    if (routing.getScore() == ir::Score::Softmax)
      softmaxRow(s, experts, x, score);
    else
      forElements(l, experts,
                  [&](Value i) { score.store(i, scoreOf(x.load(i))); });
  }
  choose(t, task);
  weigh(t, task);
  finish(t, task);
}

static LogicalResult lowerRoute(FunctionLowering &l, Operation *op) {
  Route(l, cast<ir::RouteOp>(op)).run();
  return success();
}

void lower::registerRouting(LoweringTable &table) {
  table.add("moe.route", lowerRoute);
  registerCapacity(table);
  registerRouteBalanced(table);
  registerRouteStatistics(table);
}
