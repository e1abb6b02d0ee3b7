//===- RouterChoice.cpp - from the choice of experts back to logits -------===//

#include "lib/Analysis/Dims.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Interfaces/SideEffectInterfaces.h"
#include "passes/Raise/Match.h"
#include "passes/Raise/Router.h"
#include "llvm/ADT/StringSet.h"
#include "llvm/Support/Format.h"
#include <cmath>

using namespace mlir;
using namespace moe;
using namespace moe::match;

//===----------------------------------------------------------------------===//
// Rows
//===----------------------------------------------------------------------===//

bool moe::isComputedInF32(Type element) {
  return element && (element.isF32() || element.isF16() || element.isBF16());
}

int64_t moe::getColumns(Value value) {
  int64_t rank = getRank(value);
  return rank < 1
             ? ShapedType::kDynamic
             : cast<RankedTensorType>(value.getType()).getDimSize(rank - 1);
}

Value moe::getRowsOperand(Operation *op) {
  if (!op || op->getNumOperands() == 0 || op->getNumResults() == 0)
    return {};
  Value in = op->getOperand(0), out = op->getResult(0);
  if (strip(out) != out)
    return in;
  StringRef name = getOperator(out);
  if (name == "Cast") {
    Type from = match::getElementType(in), to = match::getElementType(out);
    if (isComputedInF32(from) && isComputedInF32(to))
      return in;
    // Ids: no model has more than 2^31 experts.
    auto wide = [](Type type) {
      return type && type.isInteger() && type.getIntOrFloatBitWidth() >= 32;
    };
    return wide(from) && wide(to) ? in : Value();
  }
  if (name == "Reshape" || name == "Flatten" || name == "Squeeze" ||
      name == "Unsqueeze") {
    int64_t columns = getColumns(in);
    return columns > 0 && columns == getColumns(out) ? in : Value();
  }
  return {};
}

Value moe::stripRows(Value value) {
  while (value) {
    auto result = dyn_cast<OpResult>(value);
    if (!result || result.getResultNumber() != 0)
      break;
    Value in = getRowsOperand(result.getOwner());
    if (!in)
      break;
    value = in;
  }
  return value;
}

SmallVector<Value> moe::getRowsViews(Value value) {
  SmallVector<Value> views{value};
  for (size_t i = 0; i < views.size(); ++i)
    for (Operation *user : views[i].getUsers())
      if (getRowsOperand(user) == views[i])
        views.push_back(user->getResult(0));
  return views;
}

SmallVector<Operation *> moe::getRowsUsers(Value value) {
  SmallVector<Operation *> users;
  for (Value view : getRowsViews(value))
    for (Operation *user : view.getUsers())
      if (getRowsOperand(user) != view && !llvm::is_contained(users, user) &&
          user->getName().getStringRef() != "onnx.Shape" &&
          !(user->getNumResults() && user->use_empty() && isPure(user)))
        users.push_back(user);
  return users;
}

//===----------------------------------------------------------------------===//
// Numbers
//===----------------------------------------------------------------------===//

double moe::toShortest(double value, Type element) {
  if (element && element.isF64())
    return value;
  float wanted = static_cast<float>(value);
  for (int digits = 1; digits < 9; ++digits) {
    char text[32];
    snprintf(text, sizeof text, "%.*g", digits, value);
    double shorter = strtod(text, nullptr);
    if (static_cast<float>(shorter) == wanted)
      return shorter;
  }
  return value;
}

//===----------------------------------------------------------------------===//
// Scores
//===----------------------------------------------------------------------===//

/// softplus(x): also in the form that is x itself for large x.
static Value readSoftplus(Value value) {
  value = stripRows(value);
  if (Operation *softplus = getNode(value, "onnx.Softplus"))
    return softplus->getOperand(0);
  if (Operation *where = getNode(value, "onnx.Where")) {
    Value x = stripRows(where->getOperand(1)), y;
    double limit;
    Operation *softplus =
        getNode(stripRows(where->getOperand(2)), "onnx.Softplus");
    // From 20 on the two do not differ in f32.
    if (softplus && isSameRows(softplus->getOperand(0), x) &&
        matchWithNumber(where->getOperand(0), "onnx.Greater", y, limit) &&
        isSameRows(y, x) && limit >= 20)
      return x;
    return {};
  }
  // log(1 + exp(x)) overflows where softplus does not; those logits are beyond
  // what routers have (88).
  Operation *log = getNode(value, "onnx.Log");
  Value exp;
  double one;
  if (!log || !matchWithNumber(log->getOperand(0), "onnx.Add", exp, one) ||
      one != 1)
    return {};
  Operation *e = getNode(exp, "onnx.Exp");
  return e ? e->getOperand(0) : Value();
}

std::optional<ScoreOf> moe::readScore(Value value) {
  value = stripRows(value);
  if (Operation *softmax = getNode(value, "onnx.Softmax")) {
    Value x = softmax->getOperand(0);
    int64_t rank = getRank(x);
    if (rank < 1 || getAxis(softmax, "axis", -1, rank) != rank - 1)
      return std::nullopt;
    return ScoreOf{ir::Score::Softmax, x};
  }
  if (Operation *sigmoid = getNode(value, "onnx.Sigmoid"))
    return ScoreOf{ir::Score::Sigmoid, sigmoid->getOperand(0)};
  Value inner;
  double half;
  if (Operation *root = getNode(value, "onnx.Sqrt"))
    inner = root->getOperand(0);
  else if (!matchWithNumber(value, "onnx.Pow", inner, half) || half != 0.5)
    return std::nullopt;
  if (Value x = readSoftplus(inner))
    return ScoreOf{ir::Score::SqrtSoftplus, x};
  return std::nullopt;
}

/// x of x - mean(x) over the last axis.
static Value readCentred(Value value, int64_t columns) {
  Value x, mean;
  if (!matchBinary(stripRows(value), "onnx.Sub", x, mean))
    return {};
  Value of;
  double count;
  if (Operation *node = getNode(mean, "onnx.ReduceMean")) {
    if (!isOverLastAxis(node))
      return {};
    of = node->getOperand(0);
  } else if (matchWithNumber(mean, "onnx.Div", of, count) &&
             count == static_cast<double>(columns)) {
    Operation *sum = getNode(of, "onnx.ReduceSum");
    if (!sum || !isOverLastAxis(sum))
      return {};
    of = sum->getOperand(0);
  }
  return isSameRows(of, x) ? x : Value();
}

/// x of the sum (or the mean) of the squares of x - mean(x).
static Value readSquares(Value value, StringRef reduction, int64_t columns) {
  Operation *node = getNode(stripRows(value), reduction);
  if (!node || !isOverLastAxis(node))
    return {};
  Value a, b;
  double two;
  Value squares = stripRows(node->getOperand(0));
  if (matchWithNumber(squares, "onnx.Pow", a, two)) {
    if (two != 2)
      return {};
  } else if (!matchBinary(squares, "onnx.Mul", a, b) || !isSameRows(a, b)) {
    return {};
  }
  return readCentred(a, columns);
}

/// x of x / (std(x) / s), the deviation with E - 1 degrees of freedom.
static bool readDeviation(Value value, Value &logits, double &wanted) {
  Value x, divisor;
  if (!matchBinary(value, "onnx.Div", x, divisor))
    return false;
  int64_t columns = getColumns(x);
  if (columns < 2)
    return false;
  wanted = 1;
  double c;
  Value inner;
  if (matchScale(stripRows(divisor), inner, c)) {
    wanted = 1 / c;
    divisor = inner;
  }
  Operation *root = getNode(stripRows(divisor), "onnx.Sqrt");
  if (!root || !(wanted > 0) || !std::isfinite(wanted))
    return false;
  Value variance;
  if (!matchWithNumber(stripRows(root->getOperand(0)), "onnx.Div", variance,
                       c) ||
      c != static_cast<double>(columns - 1))
    return false;
  if (!sameExtents(value, x))
    return false;
  Value of = readSquares(variance, "onnx.ReduceSum", columns);
  if (!of && matchWithNumber(stripRows(variance), "onnx.Mul", inner, c) &&
      c == static_cast<double>(columns))
    of = readSquares(inner, "onnx.ReduceMean", columns);
  if (!isSameRows(of, x))
    return false;
  logits = x;
  return true;
}

/// x of c * tanh(x / c).
static bool readSoftcap(Value value, Value &logits, double &cap) {
  Value capped, scaled;
  double factor;
  if (!matchWithNumber(value, "onnx.Mul", capped, cap) || !(cap > 0) ||
      !std::isfinite(cap))
    return false;
  Operation *tanh = getNode(stripRows(capped), "onnx.Tanh");
  if (!tanh)
    return false;
  Value inner = stripRows(tanh->getOperand(0));
  if (matchWithNumber(inner, "onnx.Div", scaled, factor)) {
    if (factor != cap)
      return false;
  } else if (!matchWithNumber(inner, "onnx.Mul", scaled, factor) ||
             std::fabs(factor * cap - 1) > 1e-6) {
    return false;
  }
  if (!sameExtents(inner, scaled) || !sameExtents(value, capped))
    return false;
  logits = scaled;
  return true;
}

void moe::readTransform(Value &logits, ir::Routing &routing) {
  Type element = match::getElementType(logits);
  Value x = stripRows(logits), inner;
  double number;
  if (readDeviation(x, inner, number)) {
    routing.logitStd = toShortest(number, element);
    x = stripRows(inner);
  }
  if (readSoftcap(x, inner, number)) {
    routing.softcap = toShortest(number, element);
    x = stripRows(inner);
  }
  if (matchScale(x, inner, number) && std::isfinite(number) && number != 0 &&
      sameExtents(inner, x)) {
    routing.logitMult = toShortest(number, element);
    x = stripRows(inner);
  }
  logits = x;
}

//===----------------------------------------------------------------------===//
// Choices
//===----------------------------------------------------------------------===//

std::optional<Choice> moe::readChoice(Operation *op) {
  StringRef name = op->getName().getStringRef();
  Choice choice;
  choice.op = op;
  if (op->getNumOperands() == 0)
    return std::nullopt;
  choice.scores = op->getOperand(0);
  int64_t rank = getRank(choice.scores);
  if (rank < 1)
    return std::nullopt;
  if (name == "onnx.TopK") {
    if (getInt(op, "largest", 1) != 1 ||
        getAxis(op, "axis", -1, rank) != rank - 1 || op->getNumResults() != 2)
      return std::nullopt;
    std::optional<int64_t> k = getSingleInt(op->getOperand(1));
    if (!k || *k < 1)
      return std::nullopt;
    choice.k = *k;
    choice.values = op->getResult(0);
    choice.ids = op->getResult(1);
    return choice;
  }
  if (name != "onnx.ArgMax" || getAxis(op, "axis", 0, rank) != rank - 1)
    return std::nullopt;
  choice.ids = op->getResult(0);
  choice.isFlat = getInt(op, "keepdims", 1) == 0;
  if (getInt(op, "select_last_index", 0) != 0)
    choice.tie = ir::Tie::Highest;
  return choice;
}

namespace {

/// Follows ids to what they pick.
class IdUsesFinder {
public:
  explicit IdUsesFinder(Value ids, int64_t experts)
      : ids(ids), experts(experts), values{ids} {}

  IdUses run();

private:
  void visit(OpOperand &use);
  void visitGather(Operation *user, unsigned place);
  void visitElements(Operation *user);
  void visitScatter(Operation *user);
  void follow(Value value) {
    if (!llvm::is_contained(values, value))
      values.push_back(value);
  }

  Value ids;
  int64_t experts;
  SmallVector<Value> values;
  IdUses uses;
};

} // namespace

void IdUsesFinder::visitGather(Operation *user, unsigned place) {
  Value data = user->getOperand(0);
  if (place == 0)
    return follow(user->getResult(0)); // A column of the ids.
  if (getRank(data) < 2)
    return; // A number for each expert.
  (isConstant(data) ? uses.expert : uses.token) = true;
}

void IdUsesFinder::visitElements(Operation *user) {
  Value data = user->getOperand(0);
  Type element = match::getElementType(data);
  if (element && element.isInteger()) {
    uses.table = user;
    return;
  }
  if (getRank(data) == getRank(ids) && getColumns(data) == experts &&
      getAxis(user, "axis", 0, getRank(data)) == getRank(data) - 1)
    return; // Weights.
  // Results of all experts, stacked along the axis that is gathered from.
  Operation *stack = getNode(data, "onnx.Concat");
  int64_t rank = getRank(data);
  bool isStack =
      stack && rank > 0 &&
      static_cast<int64_t>(stack->getNumOperands()) == experts &&
      getAxis(stack, "axis", 0, rank) == getAxis(user, "axis", 0, rank);
  (isStack ? uses.expert : uses.token) = true;
}

/// Weights at their experts, in a row of experts; one number everywhere is a
/// mask.
void IdUsesFinder::visitScatter(Operation *user) {
  Value data = user->getOperand(0);
  int64_t rank = getRank(data);
  bool isRow = rank > 0 && getAxis(user, "axis", 0, rank) == rank - 1 &&
               getNumber(data) && getColumns(data) == experts;
  if (isRow)
    uses.expert |= !getNumber(user->getOperand(2));
  else
    uses.token = true;
}

void IdUsesFinder::visit(OpOperand &use) {
  static const llvm::StringSet<> movements{
      "Identity", "Cast", "Reshape", "Unsqueeze", "Squeeze", "Flatten",
      "Expand",   "Tile", "Slice",   "Split",     "Concat",  "Transpose"};
  Operation *user = use.getOwner();
  if (isa<func::ReturnOp>(user)) {
    uses.escape = true;
    return;
  }
  StringRef name = user->getName().getStringRef();
  if (!name.consume_front("onnx."))
    return;
  unsigned place = use.getOperandNumber();
  if (movements.contains(name)) {
    for (Value result : user->getResults())
      follow(result);
  } else if (name == "OneHot") {
    uses.expert |= place == 0;
  } else if (name == "Equal") {
    uses.expert |= isConstant(user->getOperand(1 - place));
  } else if (name == "Gather" || name == "GatherND") {
    visitGather(user, place);
  } else if (name == "Where" && place != 0) {
    follow(user->getResult(0)); // Other ids for some experts.
  } else if (name == "ScatterElements" && place == 1) {
    visitScatter(user);
  } else if (name == "TopK" && getInt(user, "largest", 1) == 0) {
    // Sorted, to group tokens.
    uses.escape = true;
    follow(user->getResult(0));
  } else if (name == "GatherElements" && place == 1) {
    visitElements(user);
  }
}

IdUses IdUsesFinder::run() {
  constexpr size_t kMostValues = 128;
  for (size_t i = 0; i < values.size() && i < kMostValues; ++i) {
    Value value = values[i];
    for (OpOperand &use : value.getUses())
      visit(use);
  }
  return uses;
}

IdUses moe::findIdUses(Value ids, int64_t experts) {
  return IdUsesFinder(ids, experts).run();
}

//===----------------------------------------------------------------------===//
// Routers
//===----------------------------------------------------------------------===//

namespace {

/// Where the first weights of a choice come from.
struct Source {
  WeightsFrom from = WeightsFrom::Nowhere;
  Value first;
  /// Rows that `first` is gathered from.
  Value gathered;
  /// `first` has no axis of slots; nothing more is read of it.
  bool isFlat = false;
};

} // namespace

/// All values that are the ids with an axis of slots.
static SmallVector<Value> getSlotViews(const Choice &choice) {
  if (!choice.isFlat)
    return getRowsViews(choice.ids);
  SmallVector<Value> views;
  for (Value flat : getRowsViews(choice.ids))
    for (Operation *user : flat.getUsers()) {
      StringRef name = getOperator(
          user->getResults().empty() ? Value() : Value(user->getResult(0)));
      if ((name == "Unsqueeze" || name == "Reshape") &&
          user->getOperand(0) == flat && getColumns(user->getResult(0)) == 1)
        llvm::append_range(views, getRowsViews(user->getResult(0)));
    }
  return views;
}

/// Weights that are gathered at the ids: of scores if there are such, else of
/// the first matrix.
static Source findGathered(const Choice &choice, Value scores) {
  Source best;
  bool isBest = false;
  for (Value ids : getSlotViews(choice))
    for (OpOperand &use : ids.getUses()) {
      Operation *user = use.getOwner();
      if (user->getName().getStringRef() != "onnx.GatherElements" ||
          use.getOperandNumber() != 1)
        continue;
      Value from = user->getOperand(0);
      int64_t rank = getRank(from);
      Type element = match::getElementType(from);
      if (rank < 2 || !isa_and_nonnull<FloatType>(element) ||
          getAxis(user, "axis", 0, rank) != rank - 1 ||
          getColumns(from) != getColumns(choice.scores) ||
          (best.first && isBest))
        continue;
      // Rows of the indices may be fewer than those of the matrix.
      bool sameRows = true;
      for (int64_t i = 0; i + 1 < rank; ++i)
        sameRows &= sameExtent(from, i, ids, i);
      bool isScore = isSameRows(from, scores) || readScore(from).has_value();
      if (!sameRows || (best.first && !isScore))
        continue;
      best = {WeightsFrom::Gathered, user->getResult(0), from};
      isBest = isScore;
    }
  return best;
}

/// The largest score, of ArgMax's experts.
static Source findLargest(const Choice &choice) {
  Source source;
  for (Operation *user : getRowsUsers(stripRows(choice.scores))) {
    if (user->getName().getStringRef() != "onnx.ReduceMax" ||
        !isOverLastAxis(user) || source.first)
      continue;
    source.from = WeightsFrom::Choice;
    source.first = user->getResult(0);
    source.isFlat = getInt(user, "keepdims", 1) == 0;
  }
  return source;
}

/// Columns of ids (or values) that a node takes: ranks of the sorted order.
static std::optional<SmallVector<int64_t>> getColumnsTaken(Operation *op,
                                                           int64_t k) {
  StringRef name = op->getName().getStringRef();
  int64_t rank = getRank(op->getOperand(0));
  SmallVector<int64_t> columns;
  if (name == "onnx.Gather") {
    std::optional<SmallVector<int64_t>> at = getInts(op->getOperand(1));
    if (!at || getRank(op->getOperand(1)) != 1 ||
        getAxis(op, "axis", 0, rank) != rank - 1)
      return std::nullopt;
    columns = *at;
  } else if (name == "onnx.Slice") {
    std::optional<int64_t> begin = getSingleInt(getInput(op, 1));
    Value axes = getInput(op, 3), steps = getInput(op, 4);
    int64_t axis = axes ? getSingleInt(axes).value_or(rank) : rank;
    int64_t count = getColumns(op->getResult(0));
    if (!begin || (axis != rank - 1 && axis != -1) || *begin < 0 ||
        ShapedType::isDynamic(count) || (steps && !isNumber(steps, 1)))
      return std::nullopt;
    columns = llvm::to_vector(llvm::seq<int64_t>(*begin, *begin + count));
  } else {
    return std::nullopt;
  }
  for (int64_t column : columns)
    if (column < 0 || column >= k || llvm::count(columns, column) != 1)
      return std::nullopt;
  if (columns.empty())
    return std::nullopt;
  return columns;
}

/// Narrows a choice of which only some columns are used. Which ones, or none if
/// all are.
static SmallVector<int64_t> narrow(Choice &choice) {
  auto readTaken =
      [&](Value value) -> std::pair<Operation *, SmallVector<int64_t>> {
    SmallVector<Operation *> users = getRowsUsers(value);
    if (users.size() != 1)
      return {};
    std::optional<SmallVector<int64_t>> columns =
        getColumnsTaken(users.front(), choice.k);
    if (!columns)
      return {};
    return {users.front(), *columns};
  };
  if (!choice.values || choice.k < 2)
    return {};
  auto [ofIds, columns] = readTaken(choice.ids);
  if (!ofIds)
    return {};
  if (!getRowsUsers(choice.values).empty()) {
    auto [ofValues, others] = readTaken(choice.values);
    if (!ofValues || others != columns)
      return {};
    choice.values = ofValues->getResult(0);
  }
  choice.ids = ofIds->getResult(0);
  choice.k = static_cast<int64_t>(columns.size());
  bool isFirst = true;
  for (auto [i, column] : llvm::enumerate(columns))
    isFirst &= column == static_cast<int64_t>(i);
  return isFirst ? SmallVector<int64_t>() : columns;
}

static Source findSource(const Choice &choice, Value scores) {
  if (choice.values && !getRowsUsers(choice.values).empty())
    return {WeightsFrom::Choice, choice.values};
  Source source = findGathered(choice, scores);
  if (!source.first && !choice.values)
    source = findLargest(choice);
  return source;
}

/// Whether `value` is one number per expert: [E] with any leading axes of 1.
static bool isPerExpert(Value value, int64_t columns) {
  auto type = dyn_cast<RankedTensorType>(value.getType());
  if (!type || type.getRank() == 0 || !isa<FloatType>(type.getElementType()))
    return false;
  for (int64_t extent : type.getShape().drop_back())
    if (extent != 1)
      return false;
  // A matrix of one row may be one token's scores.
  if (type.getRank() > 1 && !isConstant(value))
    return false;
  return type.getShape().back() == columns;
}

/// Takes the selection bias off the selection scores: what is added to scores
/// that the weights are gathered from, or are computed of.
static void readSelectBias(Value &scores, Value weightsOf, Router &router) {
  Value a, b;
  if (!matchBinary(scores, "onnx.Add", a, b))
    return;
  int64_t columns = getColumns(scores);
  if (ShapedType::isDynamic(columns))
    return;
  for (int i : {0, 1}) {
    Value x = stripRows(i ? b : a), bias = i ? a : b;
    if (!isPerExpert(bias, columns) || getColumns(x) != columns ||
        isPerExpert(x, columns))
      continue;
    std::optional<ScoreOf> score = readScore(weightsOf);
    bool related = x == stripRows(weightsOf) ||
                   (score && isSameRows(score->logits, x)) ||
                   readScore(x).has_value();
    if (!related)
      continue;
    scores = x;
    router.selectBias = bias;
    return;
  }
}

/// Score, logits and mixing weights of selection scores `base`.
static bool readScores(const Choice &choice, const Source &source, Value base,
                       Router &router, Refusal &refuse) {
  ir::Routing &routing = router.routing;
  std::optional<ScoreOf> score = readScore(base);
  bool isByLogit = false;
  if (source.from == WeightsFrom::Gathered &&
      !isSameRows(source.gathered, base)) {
    std::optional<ScoreOf> other = readScore(source.gathered);
    if (other && isSameRows(other->logits, base)) {
      score = other;
      isByLogit = true;
    } else {
      router.mix = source.gathered;
    }
  }
  if (score) {
    routing.score = score->score;
    routing.select = isByLogit ? ir::Select::ByLogit : ir::Select::ByScore;
    router.logits = score->logits;
    router.isRouting = true;
  } else {
    routing.score = ir::Score::Identity;
    router.logits = base;
  }
  if (routing.groups && source.from == WeightsFrom::Choice &&
      routing.groups.getFill() == ir::GroupFill::Zero) {
    // Weights of dropped groups are 0 here and scores there. Scores are not
    // negative, so with any lesser fill the same experts have weights.
    if (!score)
      return refuse(choice.op,
                    "scores of dropped groups are 0 and may be weights");
    routing.groups = ir::GroupsAttr::get(
        choice.op->getContext(), routing.groups.getN(),
        routing.groups.getKeep(), routing.groups.getReduce(),
        ir::GroupFill::MinusInf);
  }
  return true;
}

/// Whether what was read is a legal `moe.route`.
static bool checkExtents(const Choice &choice, const Router &router,
                         Refusal &refuse) {
  const ir::Routing &routing = router.routing;
  int64_t experts = getColumns(router.logits);
  if (ShapedType::isDynamic(experts)) {
    if (routing.groups || router.selectBias || router.expertScale)
      return refuse(choice.op, "the number of experts is not known");
    return true;
  }
  int64_t sorted = routing.k;
  for (int64_t rank : routing.ranks)
    sorted = std::max(sorted, rank + 1);
  if (sorted > experts)
    return refuse(choice.op, "more experts are picked than there are");
  if (!routing.groups)
    return true;
  int64_t n = routing.groups.getN(), keep = routing.groups.getKeep();
  if (experts % n)
    return refuse(choice.op, "groups of experts differ in size");
  int64_t size = experts / n;
  if (routing.groups.getReduce() == ir::GroupReduce::Top2Sum && size < 2)
    return refuse(choice.op, "groups of one expert are scored by two");
  if (sorted > keep * size)
    return refuse(choice.op,
                  "more experts are picked than the kept groups have");
  return true;
}

bool moe::readRouter(Choice choice, Router &router, Refusal &refuse) {
  if (getRank(choice.scores) < 2)
    return refuse(choice.op, "one choice is made for all tokens; routers "
                             "choose for each token");
  Type element = match::getElementType(choice.scores);
  if (!isComputedInF32(element) && !element.isF64())
    return refuse(choice.op, "scores are no floats of 16, 32 or 64 bits");
  ir::Routing &routing = router.routing;
  routing.ranks = narrow(choice);
  routing.k = choice.k;
  routing.tie = choice.tie;
  router.anchor = choice.op;
  router.ids = choice.ids;
  router.shaped = choice.scores;

  GroupLimit limit;
  Value base = stripRows(choice.scores);
  if (Operation *transpose = getNode(base, "onnx.Transpose"))
    if (getNode(transpose->getOperand(0), "onnx.Softmax") ||
        readScore(transpose->getOperand(0)))
      return refuse(choice.op, "experts choose among tokens");
  Found groups = readGroups(base, limit, refuse);
  if (groups == Found::Refused)
    return false;
  if (groups == Found::Yes) {
    routing.groups = limit.attr;
    base = limit.inner;
    router.isRouting = true;
  }
  Source source = findSource(choice, base);
  if (source.from == WeightsFrom::Gathered &&
      !isSameRows(source.gathered, base))
    readSelectBias(base, source.gathered, router);
  if (!readScores(choice, source, base, router, refuse))
    return false;
  if (source.isFlat)
    router.weights = source.first;
  else if (source.first)
    readWeights(router, source.first, source.from);
  bool isScored = routing.score != ir::Score::Identity;
  router.isRouting |= isScored || router.mix;
  if (isScored)
    readTransform(router.logits, routing);
  router.logits = stripRows(router.logits);
  if (getRank(router.logits) < 2)
    return refuse(choice.op, "logits have no axis of tokens");
  // Nothing in between is kept for its shape alone.
  if (sameExtents(router.logits, router.shaped))
    router.shaped = router.logits;
  return checkExtents(choice, router, refuse);
}

bool moe::readForced(Operation *gather, Router &router) {
  Value scores = gather->getOperand(0), ids = stripRows(gather->getOperand(1));
  int64_t rank = getRank(scores), experts = getColumns(scores);
  Type element = match::getElementType(scores);
  Operation *lookup = ids.getDefiningOp();
  if (rank < 2 || getAxis(gather, "axis", 0, rank) != rank - 1 || !element ||
      !(isComputedInF32(element) || element.isF64()) || !lookup ||
      ShapedType::isDynamic(experts) ||
      ShapedType::isDynamic(getColumns(gather->getOperand(1))))
    return false;
  for (int64_t i = 0; i + 1 < rank; ++i)
    if (!sameExtent(scores, i, gather->getOperand(1), i))
      return false;
  // ids of a table that the input picks from.
  StringRef name = lookup->getName().getStringRef();
  if ((name != "onnx.Gather" && name != "onnx.GatherND") ||
      !isWithin(lookup->getOperand(0), 0, experts))
    return false;
  ir::Routing &routing = router.routing;
  routing.k = getColumns(gather->getOperand(1));
  routing.score = ir::Score::Identity;
  router.logits = scores;
  if (std::optional<ScoreOf> score = readScore(scores)) {
    routing.score = score->score;
    router.logits = score->logits;
  }
  router.anchor = gather;
  router.ids = gather->getOperand(1);
  router.forced = router.ids;
  router.shaped = scores;
  readWeights(router, gather->getResult(0), WeightsFrom::Gathered);
  if (routing.score == ir::Score::Identity)
    return false;
  readTransform(router.logits, routing);
  router.logits = stripRows(router.logits);
  router.isRouting = true;
  return routing.k > 0 && getRank(router.logits) >= 2;
}
