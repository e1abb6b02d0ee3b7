//===- DecomposeRouting.cpp - routers as ONNX operators -------------------===//
//
// The graphs that exporters write for routers: TopK with GatherElements, masks
// of groups by ScatterElements. Of equal scores TopK puts the lower index
// first; where the higher one comes first, the scores are reversed before it
// and the indices after it. Maxima are taken by TopK, whose form is the same in
// all opsets from 13.
//
//===----------------------------------------------------------------------===//
#include "passes/Experts/DecomposeRouting.h"
#include "passes/Experts/Decompose.h"
#include <limits>

using namespace mlir;
using namespace moe;
using namespace moe::ir;

static double real(const APFloat &value) { return value.convertToDouble(); }

/// Constant of rank 1.
static Value reals(GraphBuilder &g, ArrayRef<double> values, Type element) {
  SmallVector<Attribute> attributes;
  for (double value : values)
    attributes.push_back(g.b.getFloatAttr(element, value));
  auto type =
      RankedTensorType::get({static_cast<int64_t>(values.size())}, element);
  return g.constant(DenseElementsAttr::get(type, attributes));
}

static Value infinity(GraphBuilder &g, Type element, bool negative) {
  double inf = std::numeric_limits<double>::infinity();
  return g.real(negative ? -inf : inf, element);
}

/// An extent as a tensor of one i64.
static Value asTensor(GraphBuilder &g, GraphExtent extent) {
  return extent.isStatic() ? g.ints({extent.size}) : extent.value;
}

static Value compare(GraphBuilder &g, StringRef name, Value x, Value y) {
  return g.op(name, {x, y}, {}, g.b.getI1Type());
}

static Value where(GraphBuilder &g, Value condition, Value x, Value y) {
  return g.op("Where", {condition, x, y}, {}, getElement(x));
}

static Value gatherElements(GraphBuilder &g, Value data, Value indices) {
  return g.op("GatherElements", {data, indices}, g.attr("axis", 1));
}

/// A tensor of one value everywhere, with the shape of another one.
static Value like(GraphBuilder &g, Value shaped, TypedAttr value) {
  Type element = value.getType();
  auto type = RankedTensorType::get({1}, element);
  Value shape = g.op("Shape", {shaped}, {}, g.b.getI64Type());
  return g.op("ConstantOfShape", {shape},
              g.b.getNamedAttr("value", DenseElementsAttr::get(
                                            type, ArrayRef<Attribute>(value))),
              element);
}

namespace {
struct Best {
  Value values, indices;
};

/// What a router computes with.
struct Router {
  GraphBuilder &g;
  RouteOp op;
  RoutingAttr routing;
  Type type;
  Value zero;
  GraphExtent experts;

  Router(GraphBuilder &g, RouteOp op)
      : g(g), op(op), routing(op.getRouting()),
        type(getComputeType(op.getLogits())), zero(g.real(0, type)),
        experts(g.extent(op.getLogits(), 1)) {}

  Value mul(Value x, double y) { return g.op("Mul", {x, g.real(y, type)}); }
  Value div(Value x, double y) { return g.op("Div", {x, g.real(y, type)}); }
  /// Sum over the last of two axes, which stays.
  Value sum(Value x) { return g.op("ReduceSum", {x, g.ints({1})}); }

  Value transform(Value logits);
  Value score(Value x);
  Best best(Value x, int64_t k, GraphExtent extent);
  Value limitToGroups(Value x);
  Value select(Value logits, Value scores);
  SmallVector<Value> mixSparsely(Value logits);
  Value normalise(Value w);
  SmallVector<Value> run();
};
} // namespace

/// The best k along the last axis.
static Best topK(GraphBuilder &g, Value x, int64_t k) {
  Operation *found =
      g.create("TopK", {x, g.ints({k})}, {getElement(x), g.b.getI64Type()},
               g.attr("axis", -1));
  return {found->getResult(0), found->getResult(1)};
}

/// The best k of the rows of a matrix; of equals as `tie` says.
Best Router::best(Value x, int64_t k, GraphExtent extent) {
  if (routing.getTie() == Tie::Lowest)
    return topK(g, x, k);
  Best found =
      topK(g, g.slice(x, 1, -1, std::numeric_limits<int64_t>::min(), -1), k);
  Value last = extent.isStatic() ? g.ints({extent.size - 1})
                                 : g.op("Sub", {extent.value, g.ints({1})});
  return {found.values, g.op("Sub", {last, found.indices})};
}

Value Router::transform(Value logits) {
  Value x = g.cast(logits, type);
  if (double mult = real(routing.getLogitMult()); mult != 1)
    x = mul(x, mult);
  if (double cap = real(routing.getSoftcap()); cap > 0)
    x = mul(g.op("Tanh", {div(x, cap)}), cap);
  if (double wanted = real(routing.getLogitStd()); wanted > 0) {
    Value count = g.cast(asTensor(g, experts), type);
    Value centred = g.op("Sub", {x, g.op("Div", {sum(x), count})});
    Value squares = sum(g.op("Mul", {centred, centred}));
    Value variance =
        g.op("Div", {squares, g.op("Sub", {count, g.real(1, type)})});
    x = g.op("Div", {x, div(g.op("Sqrt", {variance}), wanted)});
  }
  return x;
}

Value Router::score(Value x) {
  switch (routing.getScore()) {
  case Score::Softmax:
    return g.op("Softmax", {x}, g.attr("axis", -1));
  case Score::Sigmoid:
    return g.op("Sigmoid", {x});
  case Score::SqrtSoftplus:
    return g.op("Sqrt", {g.op("Softplus", {x})});
  case Score::Identity:
  case Score::SparseMixer:
    break;
  }
  return x;
}

Value Router::limitToGroups(Value x) {
  GroupsAttr groups = routing.getGroups();
  int64_t n = groups.getN();
  GraphExtent size =
      experts.isStatic()
          ? GraphExtent(experts.size / n)
          : GraphExtent(g.op("Div", {experts.value, g.ints({n})}));
  Value grouped = g.reshape(x, {-1, n, size});
  Value scores = groups.getReduce() == GroupReduce::Max
                     ? g.squeeze(topK(g, grouped, 1).values, {2})
                     : g.sum(topK(g, grouped, 2).values, 2);
  Value kept = best(scores, groups.getKeep(), n).indices;
  Value mask = g.op("ScatterElements",
                    {like(g, scores, g.b.getBoolAttr(false)), kept,
                     like(g, kept, g.b.getBoolAttr(true))},
                    g.attr("axis", 1));
  Value fill = groups.getFill() == GroupFill::Zero
                   ? zero
                   : infinity(g, type, /*negative=*/true);
  return g.reshape(where(g, g.unsqueeze(mask, {2}), grouped, fill),
                   {-1, experts});
}

/// Ids of the selected experts, i64.
Value Router::select(Value logits, Value scores) {
  bool byLogit = routing.getSelect() == Select::ByLogit ||
                 routing.getScoreOn() == ScoreOn::Selected;
  Value x = byLogit ? logits : scores;
  if (Value bias = op.getSelectBias())
    x = g.op("Add", {x, g.cast(bias, type)});
  if (routing.getGroups())
    x = limitToGroups(x);
  ArrayRef<int64_t> ranks = routing.getRanks();
  if (ranks.empty())
    return best(x, routing.getK(), experts).indices;
  int64_t last = *llvm::max_element(ranks);
  return g.gather(best(x, last + 1, experts).indices, g.ints(ranks), 1);
}

/// Ids (i64) and weights of PhiMoE's router.
SmallVector<Value> Router::mixSparsely(Value x) {
  Best two = best(x, 2, experts);
  Value lowest = infinity(g, type, /*negative=*/true);
  Value masked = x;
  SmallVector<Value> ids, weights;
  for (int64_t j = 0; j < 2; ++j) {
    Value most = g.slice(two.values, 1, j, j + 1);
    Value id = g.slice(two.indices, 1, j, j + 1);
    Value scale = g.op("Max", {g.op("Abs", {x}), most});
    Value distance = g.op("Div", {g.op("Sub", {most, x}), scale});
    Value far = compare(g, "Greater", distance,
                        g.real(2 * real(routing.getJitter()), type));
    Value shares =
        g.op("Softmax", {where(g, far, lowest, masked)}, g.attr("axis", -1));
    weights.push_back(gatherElements(g, shares, id));
    ids.push_back(id);
    if (j == 0)
      masked = g.op("ScatterElements",
                    {x, id,
                     like(g, id,
                          g.b.getFloatAttr(
                              type, -std::numeric_limits<double>::infinity()))},
                    g.attr("axis", 1));
  }
  return {g.concat(ids, 1), g.concat(weights, 1)};
}

Value Router::normalise(Value w) {
  double eps = real(routing.getEps()), p = real(routing.getP());
  switch (routing.getNorm()) {
  case Norm::None:
    return w;
  case Norm::Sum: {
    Value divisor = sum(w);
    if (eps != 0)
      divisor = g.op("Add", {divisor, g.real(eps, type)});
    return g.op("Div", {w, divisor});
  }
  case Norm::SumClamp:
    return g.op("Div", {w, g.op("Max", {sum(w), g.real(eps, type)})});
  case Norm::Lp:
    break;
  }
  Value size = g.op("Abs", {w});
  if (p == 1)
    return g.op("Div", {w, sum(size)});
  if (p == 2)
    return g.op("Div", {w, g.op("Sqrt", {sum(g.op("Mul", {w, w}))})});
  Value powers = sum(g.op("Pow", {size, g.real(p, type)}));
  return g.op("Div", {w, g.op("Pow", {powers, g.real(1 / p, type)})});
}

SmallVector<Value> Router::run() {
  Type i64 = g.b.getI64Type();
  Value logits = transform(op.getLogits());
  Value ids, w, isEmpty;
  if (routing.getScore() == Score::SparseMixer) {
    SmallVector<Value> both = mixSparsely(logits);
    ids = both[0], w = both[1];
  } else {
    bool late = routing.getScoreOn() == ScoreOn::Selected;
    Value scores = late ? Value() : score(logits);
    if (Value forced = op.getForced()) {
      // Empty slots read expert 0; ids that are neither legal nor -1 end the
      // run in GatherElements.
      Value given = g.cast(forced, i64);
      isEmpty = compare(g, "Equal", given, g.integer(-1));
      Value illegal = compare(g, "Less", given, g.integer(-1));
      Value beyond = experts.isStatic() ? g.integer(experts.size)
                                        : g.squeeze(experts.value, {0});
      ids = where(g, isEmpty, g.integer(0), given);
      ids = where(g, illegal, beyond, ids);
    } else {
      ids = select(logits, scores);
    }
    Value source = late ? logits : scores;
    if (op.getMix())
      source = g.cast(op.getMix(), type);
    w = gatherElements(g, source, ids);
    if (late) {
      if (isEmpty && routing.getScore() == Score::Softmax)
        w = where(g, isEmpty, infinity(g, type, /*negative=*/true), w);
      w = score(w);
    }
    if (isEmpty)
      w = where(g, isEmpty, zero, w);
  }

  if (ArrayRef<int64_t> nulls = routing.getNullBeforeNorm(); !nulls.empty()) {
    // One entry behind the last id stands for all others.
    int64_t last = *llvm::max_element(nulls);
    SmallVector<bool> isNull(last + 2, false);
    for (int64_t id : nulls)
      isNull[id] = true;
    auto type = RankedTensorType::get({last + 2}, g.b.getI1Type());
    Value table = g.constant(
        DenseElementsAttr::get(type, ArrayRef<bool>(isNull.data(), last + 2)));
    Value entry = g.op("Min", {ids, g.integer(last + 1)});
    w = where(g, g.gather(table, entry), zero, w);
  }
  w = normalise(w);
  if (double scale = real(routing.getScale()); scale != 1)
    w = mul(w, scale);
  if (routing.getKDiv())
    w = div(w, routing.getK());
  if (Value scale = op.getExpertScale())
    w = g.op("Mul", {w, g.gather(g.cast(scale, type), ids)});
  Value none = g.integer(-1);
  if (isEmpty) {
    w = where(g, isEmpty, zero, w);
    ids = where(g, isEmpty, none, ids);
  }

  Value drop;
  auto dropIf = [&](Value condition) {
    drop = drop ? g.op("Or", {drop, condition}) : condition;
  };
  if (double ratio = real(routing.getMinRatio()); ratio != 0)
    dropIf(compare(g, "Less", w, mul(g.slice(w, 1, 0, 1), ratio)));
  if (double mass = real(routing.getTopP()); mass < 1) {
    Value before = g.op("CumSum", {w, g.integer(1)}, g.attr("exclusive", 1));
    dropIf(g.op("Not", {compare(g, "Less", before, mul(sum(w), mass))}));
  }
  if (double least = real(routing.getMinProb()); least != 0)
    dropIf(compare(g, "Less", w, g.real(least, type)));
  if (drop) {
    SmallVector<bool> notFirst(routing.getK(), true);
    notFirst[0] = false;
    auto type = RankedTensorType::get({routing.getK()}, g.b.getI1Type());
    Value later = g.constant(DenseElementsAttr::get(
        type, ArrayRef<bool>(notFirst.data(), notFirst.size())));
    drop = g.op("And", {drop, later});
  }
  if (Value valid = op.getValid())
    dropIf(g.op("Not", {g.unsqueeze(valid, {1})}));
  if (drop) {
    ids = where(g, drop, none, ids);
    w = where(g, drop, zero, w);
  }
  return {g.cast(ids, g.b.getI32Type()), w};
}

SmallVector<Value> moe::decomposeRoute(GraphBuilder &g, RouteOp op) {
  return Router(g, op).run();
}

//===----------------------------------------------------------------------===//
// Experts that choose tokens
//===----------------------------------------------------------------------===//

namespace {
struct Balanced {
  GraphBuilder &g;
  RouteBalancedOp op;
  Type type;
  /// Numbers of tokens and experts, as tensors of one element.
  Value tokens, numTokens, numExperts;

  Balanced(GraphBuilder &g, RouteBalancedOp op)
      : g(g), op(op), type(getComputeType(op.getLogits())),
        tokens(asTensor(g, g.extent(op.getLogits(), 0))),
        numTokens(g.cast(tokens, type)),
        numExperts(g.cast(asTensor(g, g.extent(op.getLogits(), 1)), type)) {}

  Value transpose(Value x) {
    return g.op("Transpose", {x},
                g.b.getNamedAttr("perm", g.b.getDenseI64ArrayAttr({1, 0})));
  }
  /// x [E, T] with `capacity` columns of -inf behind it: so there is something
  /// to choose even for fewer tokens than places.
  Value pad(Value x) {
    return g.op("Pad", {x, g.ints({0, 0, 0, int64_t(op.getCapacity())}),
                        infinity(g, type, /*negative=*/true)});
  }
  /// Distances of the logits from the largest one of their token.
  Value distances() {
    Value logits = g.cast(op.getLogits(), type);
    return g.op("Sub", {logits, topK(g, logits, 1).values});
  }
  SmallVector<Value> pickBest(Value scores);
  Value sinkhornPlan();
  SmallVector<Value> transport();
};
} // namespace

SmallVector<Value> Balanced::pickBest(Value scores) {
  Best found = topK(g, pad(transpose(scores)), op.getCapacity());
  Value there = compare(g, "Less", found.indices, tokens);
  Value ids = where(g, there, found.indices, g.integer(-1));
  return {g.cast(ids, g.b.getI32Type()),
          where(g, there, found.values, g.real(0, type))};
}

Value Balanced::sinkhornPlan() {
  Value kernel = g.op("Exp", {distances()});
  Value one = g.real(1, type), rows, columns;
  for (int64_t i = 0, n = op.getIterations(); i < n; ++i) {
    Value sums = columns ? g.op("MatMul", {kernel, transpose(columns)})
                         : g.op("ReduceSum", {kernel, g.ints({1})});
    rows = g.op("Div", {one, g.op("Mul", {sums, numTokens})});
    sums = g.op("MatMul", {transpose(rows), kernel});
    columns = g.op("Div", {one, g.op("Mul", {sums, numExperts})});
  }
  return g.op("Mul", {g.op("Mul", {kernel, rows}), columns});
}

SmallVector<Value> Balanced::transport() {
  int64_t capacity = op.getCapacity();
  double gamma = real(op.getGamma());
  Value one = g.real(1, type), zero = g.real(0, type);
  Value toSimplex = g.op("Div", {numExperts, g.real(gamma, type)});
  Value step = g.op("Div", {g.real(gamma, type), numExperts});
  Value share = g.op("Div", {one, numTokens});
  SmallVector<double> numbers;
  for (int64_t i = 1; i <= capacity; ++i)
    numbers.push_back(static_cast<double>(i));
  Value counts = reals(g, numbers, type);

  Value x = pad(transpose(distances()));
  Value nothing = like(g, x, g.b.getFloatAttr(type, 0.0));
  // The best entries of each expert and their nearest point of the simplex.
  auto project = [&](Value point) -> std::pair<Best, Value> {
    Best found =
        topK(g, g.op("Mul", {g.op("Add", {x, point}), toSimplex}), capacity);
    Value sums = g.op("CumSum", {found.values, g.integer(1)});
    Value means = g.op("Div", {g.op("Sub", {sums, one}), counts});
    Value above = compare(g, "Greater", found.values, means);
    Value last =
        g.op("ReduceSum", {g.cast(above, g.b.getI64Type()), g.ints({1})});
    last = g.op("Sub", {last, g.integer(1)});
    Value threshold = gatherElements(g, means, last);
    Value y = g.op("Max", {g.op("Sub", {found.values, threshold}), zero});
    return {found, y};
  };
  Value point = zero, to = zero;
  for (int64_t i = 0, n = op.getIterations(); i < n; ++i) {
    auto [found, y] = project(point);
    Value plan =
        g.op("ScatterElements", {nothing, found.indices, y}, g.attr("axis", 1));
    Value mass = g.op("ReduceSum", {plan, g.ints({0})}); // [1, T + C]
    Value gradient = g.op("Sub", {share, g.op("Div", {mass, numExperts})});
    Value next = g.op("Add", {point, g.op("Mul", {step, gradient})});
    Value momentum = g.real(static_cast<double>(i) / (i + 3.0), type);
    Value moved = g.op("Mul", {momentum, g.op("Sub", {next, to})});
    point = g.op("Add", {next, moved});
    to = next;
  }
  auto [found, y] = project(to);
  // Without tokens there is a plan of the columns behind them.
  Value taken = g.op("And", {compare(g, "Greater", y, zero),
                             compare(g, "Less", found.indices, tokens)});
  Value ids = where(g, taken, found.indices, g.integer(-1));
  return {g.cast(ids, g.b.getI32Type()), where(g, taken, y, zero)};
}

SmallVector<Value> moe::decomposeRouteBalanced(GraphBuilder &g,
                                               RouteBalancedOp op) {
  Balanced balanced(g, op);
  switch (op.getMethod()) {
  case BalancedMethod::ExpertChoice:
    break;
  case BalancedMethod::Sinkhorn:
    return balanced.pickBest(balanced.sinkhornPlan());
  case BalancedMethod::SparseOT:
    return balanced.transport();
  }
  Value logits = g.cast(op.getLogits(), balanced.type);
  return balanced.pickBest(g.op("Softmax", {logits}, g.attr("axis", -1)));
}

//===----------------------------------------------------------------------===//
// Soft routing, statistics
//===----------------------------------------------------------------------===//

SmallVector<Value> moe::decomposeSoftRoute(GraphBuilder &g, SoftRouteOp op) {
  Value logits = g.cast(op.getLogits(), getComputeType(op.getLogits()));
  Type element = getElement(op.getLogits());
  return {g.cast(g.op("Softmax", {logits}, g.attr("axis", -2)), element),
          g.cast(g.op("Softmax", {logits}, g.attr("axis", -1)), element)};
}

FailureOr<SmallVector<Value>> moe::decomposeLoadStats(GraphBuilder &g,
                                                      LoadStatsOp op) {
  if (g.opset < 16)
    return op.emitOpError() << "cannot be written with the operators of opset "
                            << g.opset << "; opset 16 or newer is accepted";
  GraphExtent experts = ShapedType::kDynamic;
  for (Value counted : op.getResults())
    if (auto type = cast<RankedTensorType>(counted.getType());
        !type.isDynamicDim(0))
      experts = type.getDimSize(0);
  if (ShapedType::isDynamic(experts.size) && op.getProbs())
    experts = g.extent(op.getProbs(), 1);
  if (experts.isStatic() && ShapedType::isDynamic(experts.size))
    return op.emitOpError("cannot be written as ONNX operators: neither the "
                          "results nor 'probs' tell the number of experts");
  Type i64 = g.b.getI64Type(), f64 = g.b.getF64Type();
  // Slots that are left out are counted in a place of their own, cut off later.
  Value end = asTensor(g, experts);
  Value places = g.op("Add", {end, g.ints({1})});
  Value ids = g.reshape(g.cast(op.getIds(), i64), {-1});
  ids = where(g, compare(g, "Less", ids, g.integer(0)), end, ids);
  auto count = [&](Value updates) {
    Value sums = g.op("ScatterElements",
                      {g.zeros({places}, getElement(updates)), ids, updates},
                      {g.attr("axis", 0), g.attr("reduction", "add")});
    return g.op("Slice", {sums, g.ints({0}), end, g.ints({0}), Value()});
  };
  Value ones = like(g, ids, g.b.getI64IntegerAttr(1));
  Value weights = g.reshape(g.cast(op.getWeights(), f64), {-1});
  Value probs = op.getProbs() ? g.sum(g.cast(op.getProbs(), f64), 0)
                              : g.zeros({end}, f64);
  return SmallVector<Value>{count(ones), count(weights), probs};
}
