//===- RouterWeights.cpp - from the first weights on ----------------------===//
//
// Weights are followed forwards, step by step: a score of the selected logits,
// zeros for null experts, the norm, factors. A step is taken only if every user
// of the weights in front of it belongs to it: what else needs them keeps the
// rest of the chain as it is.
//
//===----------------------------------------------------------------------===//

#include "lib/Analysis/Dims.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "passes/Raise/Match.h"
#include "passes/Raise/Router.h"
#include <cmath>
#include <limits>

using namespace mlir;
using namespace moe;
using namespace moe::match;

using Nodes = SmallPtrSet<Operation *, 16>;

/// All nodes between `value` and `root`, the ones that give `value` included;
/// null if there are many.
static bool collectNodes(Value value, Value root, Nodes &nodes) {
  SmallVector<Value> todo{value};
  while (!todo.empty()) {
    Value next = todo.pop_back_val();
    Operation *op = next.getDefiningOp();
    if (!op || next == root || !nodes.insert(op).second)
      continue;
    if (nodes.size() > 16)
      return false;
    llvm::append_range(todo, op->getOperands());
  }
  return true;
}

namespace {

class WeightsReader {
public:
  WeightsReader(Router &router, WeightsFrom from)
      : router(router), routing(router.routing), from(from) {}

  void run(Value first);

private:
  bool step(Value w, Value &next);
  bool readLateScore(Value w, Value &next);
  bool readDense(Value w);
  bool readNulls(Value w, Value &next);
  bool readNorm(Value w, Value &next);
  bool isNormOf(Value divisor, Value w);
  bool readSumOf(Value value, Value w);
  bool readPowerNorm(Value value, Value w);
  bool readFactor(Value w, Value &next);
  bool readExpertScale(Value w, Value &next);

  std::optional<double> evaluateFor(Value value, int64_t expert,
                                    unsigned depth = 8);
  bool isIds(Value value) { return isSameRows(value, router.ids); }
  bool covers(const Nodes &nodes);
  bool canReplace(Value w);

  Router &router;
  ir::Routing &routing;
  WeightsFrom from;
  /// Users of the current weights.
  SmallVector<Operation *> users;
  bool isNormalised = false, isScaled = false;
  Type element;
};

} // namespace

/// Whether all users of the weights are `nodes`.
bool WeightsReader::covers(const Nodes &nodes) {
  return llvm::all_of(users,
                      [&](Operation *user) { return nodes.contains(user); });
}

/// Whether results of the new op can take the place of `w`: there must be a way
/// to its shape.
bool WeightsReader::canReplace(Value w) {
  auto type = dyn_cast<RankedTensorType>(w.getType());
  if (!type)
    return false;
  if (type.getRank() == 2 ||
      llvm::count(type.getShape(), ShapedType::kDynamic) <= 1)
    return true;
  if (type.getRank() != getRank(router.shaped))
    return false;
  for (int64_t i = 0; i + 1 < type.getRank(); ++i)
    if (!sameExtent(w, i, router.shaped, i))
      return false;
  return true;
}

//===----------------------------------------------------------------------===//
// Scores of the selected
//===----------------------------------------------------------------------===//

bool WeightsReader::readLateScore(Value w, Value &next) {
  if (routing.score != ir::Score::Identity || router.mix || isNormalised ||
      isScaled || users.size() != 1)
    return false;
  Operation *user = users.front();
  if (user->getNumResults() == 0)
    return false;
  Value value = user->getResult(0);
  if (getOperator(value) == "Softplus" && value.hasOneUse())
    value = value.use_begin()->getOwner()->getNumResults()
                ? Value(value.use_begin()->getOwner()->getResult(0))
                : value;
  std::optional<ScoreOf> score = readScore(value);
  if (!score || !isSameRows(score->logits, w))
    return false;
  routing.score = score->score;
  routing.scoreOn = ir::ScoreOn::Selected;
  next = value;
  return true;
}

/// Logits of the selected experts at their places in a matrix of -inf, then
/// scored: the scores of the others are 0.
bool WeightsReader::readDense(Value w) {
  if (from != WeightsFrom::Choice || routing.score != ir::Score::Identity ||
      router.mix || isNormalised || isScaled || users.size() != 1)
    return false;
  Operation *scatter = users.front();
  if (scatter->getName().getStringRef() != "onnx.ScatterElements" ||
      !isNumber(scatter->getOperand(0),
                -std::numeric_limits<double>::infinity()) ||
      !isIds(scatter->getOperand(1)) ||
      !isSameRows(scatter->getOperand(2), w) ||
      getString(scatter, "reduction", "none") != "none")
    return false;
  Value all = scatter->getResult(0);
  int64_t rank = getRank(all), columns = getColumns(all);
  if (getAxis(scatter, "axis", 0, rank) != rank - 1 ||
      ShapedType::isDynamic(columns) || columns != getColumns(router.logits) ||
      rank != getRank(scatter->getOperand(1)))
    return false;
  for (int64_t i = 0; i + 1 < rank; ++i)
    if (!sameExtent(all, i, scatter->getOperand(1), i))
      return false;
  SmallVector<Operation *> scored = getRowsUsers(all);
  if (scored.size() != 1 || scored.front()->getNumResults() == 0)
    return false;
  Value dense = scored.front()->getResult(0);
  std::optional<ScoreOf> score = readScore(dense);
  if (!score || !isSameRows(score->logits, all) || !sameExtents(dense, all))
    return false;
  routing.score = score->score;
  routing.scoreOn = ir::ScoreOn::Selected;
  router.dense = dense;
  return true;
}

//===----------------------------------------------------------------------===//
// Null experts
//===----------------------------------------------------------------------===//

/// An element of `value`, which depends on the ids alone, where the id is
/// `expert`.
std::optional<double> WeightsReader::evaluateFor(Value value, int64_t expert,
                                                 unsigned depth) {
  if (isIds(value))
    return static_cast<double>(expert);
  if (std::optional<double> number = getNumber(value))
    return number;
  value = strip(value);
  Operation *op = value.getDefiningOp();
  if (!op || depth == 0)
    return std::nullopt;
  StringRef name = getOperator(value);
  auto operand = [&](unsigned i) {
    return evaluateFor(op->getOperand(i), expert, depth - 1);
  };
  if (name == "Cast") {
    std::optional<double> x = operand(0);
    Type to = match::getElementType(value);
    return x && to.isInteger(1) ? std::optional<double>(*x != 0) : x;
  }
  if (name == "Not") {
    std::optional<double> x = operand(0);
    return x ? std::optional<double>(*x == 0) : std::nullopt;
  }
  if (name == "Gather") {
    if (getRank(op->getOperand(0)) != 1)
      return std::nullopt;
    std::optional<Constant> table = evaluate(op->getOperand(0));
    std::optional<double> at = operand(1);
    if (!table || !at || *at < 0 || *at >= static_cast<double>(table->size()))
      return std::nullopt;
    return table->get(static_cast<int64_t>(*at));
  }
  if (op->getNumOperands() != 2)
    return std::nullopt;
  std::optional<double> x = operand(0), y = x ? operand(1) : std::nullopt;
  if (!x || !y)
    return std::nullopt;
  if (name == "Equal")
    return *x == *y;
  if (name == "Less")
    return *x < *y;
  if (name == "LessOrEqual")
    return *x <= *y;
  if (name == "Greater")
    return *x > *y;
  if (name == "GreaterOrEqual")
    return *x >= *y;
  if (name == "And")
    return *x != 0 && *y != 0;
  if (name == "Or")
    return *x != 0 || *y != 0;
  if (name == "Min")
    return std::min(*x, *y);
  if (name == "Max")
    return std::max(*x, *y);
  return std::nullopt;
}

bool WeightsReader::readNulls(Value w, Value &next) {
  int64_t experts = getColumns(router.logits);
  constexpr int64_t kMostExperts = 4096;
  if (routing.k < 2 || !routing.nullBeforeNorm.empty() || isNormalised ||
      isScaled || users.size() != 1 || ShapedType::isDynamic(experts) ||
      experts > kMostExperts)
    return false;
  Operation *user = users.front();
  StringRef name = user->getName().getStringRef();
  Value condition;
  double nullIf = 1;
  if (name == "onnx.Where") {
    condition = user->getOperand(0);
    bool second =
        isNumber(user->getOperand(1), 0) && isSameRows(user->getOperand(2), w);
    bool first =
        isNumber(user->getOperand(2), 0) && isSameRows(user->getOperand(1), w);
    if (!first && !second)
      return false;
    nullIf = second ? 1 : 0;
  } else if (name == "onnx.Mul") {
    // By a mask.
    condition = user->getOperand(isSameRows(user->getOperand(0), w) ? 1 : 0);
    nullIf = 0;
  } else {
    return false;
  }
  if (!sameExtents(condition, user->getResult(0)) || !sameExtents(condition, w))
    return false;
  SmallVector<int64_t> nulls;
  for (int64_t e = 0; e < experts; ++e) {
    std::optional<double> value = evaluateFor(condition, e);
    if (!value || (*value != 0 && *value != 1))
      return false;
    if (*value == nullIf)
      nulls.push_back(e);
  }
  if (nulls.empty() || nulls.size() == static_cast<size_t>(experts))
    return false;
  routing.nullBeforeNorm = nulls;
  next = user->getResult(0);
  return true;
}

//===----------------------------------------------------------------------===//
// Norms
//===----------------------------------------------------------------------===//

/// A reduction over the slots, as [.., 1]: through broadcasts along the slots
/// and an axis that is put back.
static Operation *readOverSlots(Value value, StringRef name) {
  value = strip(value);
  bool putBack = false;
  for (Operation *op = value.getDefiningOp(); op; op = value.getDefiningOp()) {
    StringRef own = op->getName().getStringRef();
    if (own == name)
      return isOverLastAxis(op) && (getInt(op, "keepdims", 1) != 0) != putBack
                 ? op
                 : nullptr;
    int64_t rank = getRank(value);
    Value in = op->getNumOperands() ? op->getOperand(0) : Value();
    if (own == "onnx.Expand") {
      if (getRank(in) != rank || getColumns(in) != 1)
        return nullptr;
      for (int64_t i = 0; i + 1 < rank; ++i)
        if (!sameExtent(in, i, value, i))
          return nullptr;
    } else if ((own == "onnx.Unsqueeze" || own == "onnx.Reshape") && !putBack &&
               getRank(in) == rank - 1 && getColumns(value) == 1) {
      putBack = true;
    } else {
      return nullptr;
    }
    value = strip(in);
  }
  return nullptr;
}

bool WeightsReader::readSumOf(Value value, Value w) {
  Operation *sum = readOverSlots(value, "onnx.ReduceSum");
  return sum && isSameRows(sum->getOperand(0), w);
}

/// The p-norm of the weights.
bool WeightsReader::readPowerNorm(Value value, Value w) {
  auto setPower = [&](double p) {
    if (!(p > 0) || !std::isfinite(p))
      return false;
    routing.norm = ir::Norm::Lp;
    routing.p = toShortest(p, element);
    return true;
  };
  for (auto [name, p] : {std::pair<StringRef, double>{"onnx.ReduceL1", 1},
                         {"onnx.ReduceL2", 2}}) {
    Operation *node = readOverSlots(value, name);
    if (node && isSameRows(node->getOperand(0), w))
      return setPower(p);
  }
  auto isSize = [&](Value x) {
    if (isSameRows(x, w))
      return true;
    Operation *abs = getNode(stripRows(x), "onnx.Abs");
    return abs && isSameRows(abs->getOperand(0), w);
  };
  if (Operation *sum = readOverSlots(value, "onnx.ReduceSum")) {
    Operation *abs = getNode(stripRows(sum->getOperand(0)), "onnx.Abs");
    return abs && isSameRows(abs->getOperand(0), w) && setPower(1);
  }
  Value inner, a, b;
  double root = 0.5, p;
  if (Operation *node = getNode(stripRows(value), "onnx.Sqrt"))
    inner = node->getOperand(0);
  else if (!matchWithNumber(stripRows(value), "onnx.Pow", inner, root))
    return false;
  Operation *sum = readOverSlots(inner, "onnx.ReduceSum");
  if (!sum)
    return false;
  Value powers = stripRows(sum->getOperand(0));
  if (matchBinary(powers, "onnx.Mul", a, b) && isSameRows(a, w) &&
      isSameRows(b, w))
    p = 2;
  else if (!matchWithNumber(powers, "onnx.Pow", a, p) || !isSize(a) ||
           (isSameRows(a, w) && p != 2 && routing.score == ir::Score::Identity))
    return false;
  return std::fabs(p * root - 1) < 1e-6 && setPower(p);
}

/// Whether `divisor` is a norm of the weights; sets it.
bool WeightsReader::isNormOf(Value divisor, Value w) {
  Value sum = stripRows(divisor);
  double eps = 0, least = 0, most = 0;
  auto isLegal = [](double x) { return x >= 0 && std::isfinite(x); };
  if (readSumOf(sum, w)) {
    routing.norm = ir::Norm::Sum;
    return true;
  }
  Value inner;
  if (matchWithNumber(sum, "onnx.Add", inner, eps) && isLegal(eps) &&
      readSumOf(inner, w)) {
    routing.norm = ir::Norm::Sum;
    routing.eps = toShortest(eps, element);
    return true;
  }
  if (matchClamp(sum, inner, least, most) && isLegal(least) &&
      std::isinf(most) && readSumOf(inner, w)) {
    routing.norm = ir::Norm::SumClamp;
    routing.eps = toShortest(least, element);
    return true;
  }
  return readPowerNorm(divisor, w);
}

bool WeightsReader::readNorm(Value w, Value &next) {
  if (isNormalised || isScaled)
    return false;
  for (Operation *user : users) {
    Value x, divisor;
    if (user->getNumResults() == 0)
      continue;
    Value result = user->getResult(0);
    if (matchBinary(result, "onnx.Div", x, divisor)) {
      if (!isSameRows(x, w))
        continue;
    } else if (matchBinary(result, "onnx.Mul", x, divisor)) {
      if (!isSameRows(x, w))
        std::swap(x, divisor);
      Operation *inverse = getNode(stripRows(divisor), "onnx.Reciprocal");
      if (!inverse || !isSameRows(x, w))
        continue;
      divisor = inverse->getOperand(0);
    } else {
      continue;
    }
    Nodes nodes{user};
    if (!collectNodes(divisor, stripRows(w), nodes) || !covers(nodes))
      continue;
    ir::Routing before = routing;
    if (!isNormOf(divisor, w)) {
      routing = before;
      continue;
    }
    // A divisor of more tokens would make more of them.
    if (!sameExtents(result, x)) {
      routing = before;
      continue;
    }
    isNormalised = true;
    next = result;
    return true;
  }
  return false;
}

//===----------------------------------------------------------------------===//
// Factors
//===----------------------------------------------------------------------===//

bool WeightsReader::readFactor(Value w, Value &next) {
  if (users.size() != 1 || users.front()->getNumResults() == 0)
    return false;
  Value result = users.front()->getResult(0), x;
  double c;
  if (matchWithNumber(result, "onnx.Div", x, c) && isSameRows(x, w) &&
      c == static_cast<double>(routing.k) && !routing.kDiv && routing.k > 1) {
    routing.kDiv = true;
  } else if (matchScale(result, x, c) && isSameRows(x, w) &&
             routing.scale == 1 && std::isfinite(c)) {
    routing.scale = toShortest(c, element);
  } else {
    return false;
  }
  // Not with a constant of more tokens.
  if (!sameExtents(result, x))
    return false;
  isScaled = true;
  next = result;
  return true;
}

bool WeightsReader::readExpertScale(Value w, Value &next) {
  int64_t experts = getColumns(router.logits);
  if (router.expertScale || users.size() != 1 ||
      users.front()->getNumResults() == 0 || ShapedType::isDynamic(experts))
    return false;
  Value result = users.front()->getResult(0), a, b;
  if (!matchBinary(result, "onnx.Mul", a, b))
    return false;
  if (!isSameRows(a, w))
    std::swap(a, b);
  Operation *gather = stripRows(b).getDefiningOp();
  if (!gather || !sameExtents(result, a) || !isSameRows(a, w) ||
      gather->getNumOperands() != 2)
    return false;
  Value table = gather->getOperand(0), at = gather->getOperand(1);
  StringRef name = gather->getName().getStringRef();
  auto type = dyn_cast<RankedTensorType>(table.getType());
  if (!type || type.getRank() != 1 || type.getDimSize(0) != experts ||
      !isa<FloatType>(type.getElementType()))
    return false;
  if (name == "onnx.GatherND") {
    // [.., k, 1] of ids.
    Operation *column = strip(at).getDefiningOp();
    if (getInt(gather, "batch_dims", 0) != 0 || !column ||
        column->getName().getStringRef() != "onnx.Unsqueeze" ||
        getColumns(at) != 1 ||
        getRank(column->getOperand(0)) != getRank(at) - 1)
      return false;
    at = column->getOperand(0);
  } else if (name != "onnx.Gather") {
    return false;
  }
  if (!isIds(at))
    return false;
  router.expertScale = table;
  isScaled = true;
  next = result;
  return true;
}

//===----------------------------------------------------------------------===//
// The chain
//===----------------------------------------------------------------------===//

bool WeightsReader::step(Value w, Value &next) {
  return readLateScore(w, next) || readNorm(w, next) || readNulls(w, next) ||
         readFactor(w, next) || readExpertScale(w, next);
}

void WeightsReader::run(Value first) {
  router.weights = first;
  element = match::getElementType(first);
  Value w = first;
  while (true) {
    users = getRowsUsers(w);
    if (users.empty())
      return;
    if (readDense(w)) {
      router.isRouting = true;
      router.weights = {};
      return;
    }
    Router before = router;
    Value next;
    if (!step(w, next) || getColumns(next) != getColumns(first) ||
        !canReplace(next)) {
      router = before;
      return;
    }
    router.isRouting = true;
    router.weights = next;
    w = next;
  }
}

void moe::readWeights(Router &router, Value first, WeightsFrom from) {
  WeightsReader(router, from).run(first);
}
