//===- SparseGates.cpp - gates that are zero for most experts -------------===//

#include "passes/Raise/SparseGates.h"
#include "dialects/MoE/MoEDialect.h"
#include "dialects/ONNX/ONNXDialect.h"
#include "lib/Analysis/Dims.h"
#include "passes/Raise/Match.h"
#include "passes/Raise/Nodes.h"
#include "llvm/ADT/StringSwitch.h"
#include <cmath>

using namespace mlir;
using namespace moe;

//===----------------------------------------------------------------------===//
// Ids
//===----------------------------------------------------------------------===//

/// An operator that gives the elements of its operand 0 in other places only.
static bool movesElements(StringRef name) {
  return llvm::StringSwitch<bool>(name)
      .Cases({"onnx.Reshape", "onnx.Squeeze", "onnx.Unsqueeze", "onnx.Flatten"},
             true)
      .Cases({"onnx.Transpose", "onnx.Expand", "onnx.Tile", "onnx.Identity"},
             true)
      .Cases({"onnx.Slice", "onnx.Split", "onnx.Gather", "onnx.GatherND"}, true)
      .Case("onnx.GatherElements", true)
      .Default(false);
}

bool moe::areDistinct(Value ids) {
  ids = match::strip(ids);
  int64_t rank = match::getRank(ids);
  if (rank < 1)
    return false;
  if (getExtent(ids, rank - 1) == 1)
    return true;
  auto result = dyn_cast<OpResult>(ids);
  if (!result)
    return false;
  Operation *op = result.getOwner();
  if (op->getName().getStringRef() == "onnx.TopK")
    return result.getResultNumber() == 1 &&
           match::getAxis(op, "axis", -1, rank) == rank - 1;
  if (op->getName().getStringRef() == "onnx.Cast") {
    auto from = dyn_cast<OpResult>(op->getOperand(0));
    if (from && isa<ir::RouteOp>(from.getOwner()))
      return true;
    return match::getElementType(op->getOperand(0)).isInteger() &&
           !match::getElementType(op->getResult(0)).isInteger(1) &&
           areDistinct(op->getOperand(0));
  }
  return isa<ir::RouteOp>(op);
}

bool moe::areFromHits(Value ids) {
  for (unsigned steps = 0; steps < 64; ++steps) {
    Operation *op = match::strip(ids).getDefiningOp();
    if (!op)
      return false;
    StringRef name = op->getName().getStringRef();
    if (name == "onnx.NonZero")
      return true;
    if (!movesElements(name) && name != "onnx.Cast")
      return false;
    ids = op->getOperand(0);
  }
  return false;
}

bool moe::isNonNegative(Value ids) {
  for (unsigned steps = 0; steps < 64; ++steps) {
    ids = match::strip(ids);
    if (auto known = match::getInts(ids))
      return llvm::all_of(*known, [](int64_t i) { return i >= 0; });
    auto result = dyn_cast<OpResult>(ids);
    if (!result)
      return false;
    Operation *op = result.getOwner();
    StringRef name = op->getName().getStringRef();
    if (name == "onnx.TopK")
      return result.getResultNumber() == 1;
    if (name == "onnx.ArgMax" || name == "onnx.ArgMin" ||
        name == "onnx.NonZero" || name == "onnx.Shape")
      return true;
    if (name == "onnx.Cast") {
      if (isa_and_present<ir::RouteOp>(op->getOperand(0).getDefiningOp()))
        return true;
      Type from = match::getElementType(op->getOperand(0));
      auto to = dyn_cast<IntegerType>(match::getElementType(ids));
      auto own = dyn_cast<IntegerType>(from);
      if (!own || !to || own.getWidth() > to.getWidth())
        return false;
      ids = op->getOperand(0);
      continue;
    }
    if (!movesElements(name))
      return false;
    ids = op->getOperand(0);
  }
  return false;
}

//===----------------------------------------------------------------------===//
// Gates
//===----------------------------------------------------------------------===//

/// A function of one number, at one.
static std::optional<double> evaluate(StringRef name, double x) {
  if (name == "onnx.Sigmoid")
    return 1 / (1 + std::exp(-x));
  if (name == "onnx.Exp")
    return std::exp(x);
  if (name == "onnx.Relu")
    return std::max(x, 0.0);
  if (name == "onnx.Tanh")
    return std::tanh(x);
  if (name == "onnx.Neg")
    return -x;
  if (name == "onnx.Sqrt")
    return std::sqrt(x);
  if (name == "onnx.Abs")
    return std::fabs(x);
  if (name == "onnx.Not")
    return x == 0;
  if (name == "onnx.Identity")
    return x;
  return std::nullopt;
}

/// A function of two, where `a` or `b` may be unknown. What is unknown is a
/// finite number.
static std::optional<double> evaluate(StringRef name, std::optional<double> a,
                                      std::optional<double> b) {
  if (name == "onnx.Mul" && ((a && *a == 0) || (b && *b == 0)))
    return 0;
  // 0 / 0 where a token's weights are all 0 is so for the picked ones as well.
  if (name == "onnx.Div" && a && *a == 0)
    return 0;
  if (name == "onnx.And" && ((a && *a == 0) || (b && *b == 0)))
    return 0;
  if (!a || !b)
    return std::nullopt;
  if (name == "onnx.Mul")
    return *a * *b;
  if (name == "onnx.Add")
    return *a + *b;
  if (name == "onnx.Sub")
    return *a - *b;
  if (name == "onnx.Div")
    return *a / *b;
  if (name == "onnx.Greater")
    return *a > *b;
  if (name == "onnx.Less")
    return *a < *b;
  if (name == "onnx.Equal")
    return *a == *b;
  return std::nullopt;
}

std::optional<SparseGates> SparseGates::match(Value gates) {
  SparseGates found;
  found.gates = gates;
  if (match::getRank(gates) < 1)
    return std::nullopt;
  std::optional<int> last = found.read(gates);
  if (!last || !found.ids || found.nodes[*last].elsewhere != 0.0)
    return std::nullopt;
  // The root is the last node.
  if (*last != static_cast<int>(found.nodes.size()) - 1)
    return std::nullopt;
  return found;
}

/// All scatters have the same ids.
bool SparseGates::setIds(Value value, bool mayRepeat) {
  value = match::strip(value);
  if (ids && (ids != value || idsMayRepeat || mayRepeat))
    return false;
  ids = value;
  idsMayRepeat |= mayRepeat;
  return true;
}

std::optional<int> SparseGates::read(Value value) {
  value = match::strip(value);
  int64_t rank = match::getRank(value);
  if (nodes.size() > 64 || rank < 0)
    return std::nullopt;
  Node node;
  node.value = value;
  if (std::optional<double> number = match::getNumber(value)) {
    node.kind = Node::Number;
    node.elsewhere = number;
    return add(node);
  }
  Operation *op = value.getDefiningOp();
  if (op && rank == match::getRank(gates) && op->getNumResults() == 1 &&
      getExtent(value, rank - 1) != 1) {
    StringRef name = op->getName().getStringRef();
    std::optional<int> known;
    if (name == "onnx.ScatterElements")
      known = readScatter(op);
    else if (name == "onnx.ReduceSum")
      known = readOneHot(op);
    else
      known = readOperator(op);
    if (known)
      return known;
  }
  // What was not scattered: one number for a token, or one for each expert.
  if (rank == 0 || getExtent(value, rank - 1) == 1) {
    node.kind = Node::PerToken;
    return add(node);
  }
  if (!sameExtents(value, gates))
    return std::nullopt;
  node.kind = Node::Dense;
  return add(node);
}

/// Updates at ids in a tensor of one number.
std::optional<int> SparseGates::readScatter(Operation *op) {
  Value data = op->getOperand(0), index = op->getOperand(1);
  int64_t rank = match::getRank(data);
  std::optional<double> number = match::getNumber(data);
  StringRef reduction = match::getString(op, "reduction", "none");
  if (!number || rank < 1 || match::getRank(index) != rank ||
      match::getAxis(op, "axis", 0, rank) != rank - 1)
    return std::nullopt;
  for (int64_t i = 0; i + 1 < rank; ++i)
    if (!sameExtent(index, i, data, i))
      return std::nullopt;
  bool distinct = areDistinct(index);
  if (reduction == "none" ? !distinct : reduction != "add" || *number != 0)
    return std::nullopt;
  if (!setIds(index, !distinct))
    return std::nullopt;
  Node node;
  node.kind = Node::Updates;
  node.value = op->getOperand(2);
  node.elsewhere = number;
  return add(node);
}

/// The sum over slots of weights [.., k, 1] times one-hot ids [.., k, E].
std::optional<int> SparseGates::readOneHot(Operation *op) {
  Value in = match::getInput(op, 0);
  int64_t rank = match::getRank(in);
  auto over = match::getAxes(op);
  if (rank < 2 || !over || over->size() != 1 || over->front() != rank - 2 ||
      match::getInt(op, "keepdims", 1) != 0)
    return std::nullopt;
  Value hot = in, weights;
  auto getOneHot = [&](Value v) {
    Operation *node = match::getNode(v, "onnx.OneHot");
    if (!node || match::getAxis(node, "axis", -1, rank) != rank - 1 ||
        match::getRank(v) != rank)
      return Value();
    auto values = match::evaluate(node->getOperand(2));
    if (!values || values->size() != 2 || values->get(0) != 0 ||
        values->get(1) != 1)
      return Value();
    return node->getOperand(0);
  };
  Value a, b;
  if (match::matchBinary(in, "onnx.Mul", a, b)) {
    bool first = bool(getOneHot(a));
    hot = first ? a : b;
    weights = first ? b : a;
  }
  Value index = getOneHot(hot);
  // OneHot takes negative indices from the end and none that is too large.
  if (!index || !isNonNegative(index) || !weights)
    return std::nullopt;
  Operation *unsqueeze = match::getNode(weights, "onnx.Unsqueeze");
  if (!unsqueeze || match::getRank(weights) != rank ||
      getExtent(weights, rank - 1) != 1 ||
      !sameExtents(unsqueeze->getOperand(0), index))
    return std::nullopt;
  if (!setIds(index, !areDistinct(index)))
    return std::nullopt;
  Node node;
  node.kind = Node::Updates;
  node.value = unsqueeze->getOperand(0);
  node.elsewhere = 0;
  return add(node);
}

std::optional<int> SparseGates::readOperator(Operation *op) {
  StringRef name = op->getName().getStringRef();
  Node node;
  node.kind = Node::Operator;
  node.op = op;
  size_t before = nodes.size();
  Value idsBefore = ids;
  bool repeatBefore = idsMayRepeat;
  auto fail = [&]() -> std::optional<int> {
    nodes.resize(before);
    ids = idsBefore;
    idsMayRepeat = repeatBefore;
    return std::nullopt;
  };
  for (Value operand : op->getOperands()) {
    std::optional<int> known = read(operand);
    if (!known)
      return fail();
    node.operands.push_back(*known);
  }
  auto at = [&](unsigned i) { return nodes[node.operands[i]].elsewhere; };
  // A function of sums over repeated ids is not the sum of functions, except
  // for scaling.
  bool scales = name == "onnx.Mul" || name == "onnx.Div";
  if (idsMayRepeat && (!scales || node.operands.size() != 2 ||
                       nodes[node.operands[1]].kind == Node::Updates))
    return fail();
  if (name == "onnx.Softmax") {
    // exp(-inf) = 0: the others have no part in the sum.
    int64_t rank = match::getRank(op->getResult(0));
    if (match::getAxis(op, "axis", -1, rank) != rank - 1 ||
        at(0) != -std::numeric_limits<double>::infinity())
      return fail();
    node.elsewhere = 0;
  } else if (name == "onnx.Where" && node.operands.size() == 3) {
    if (!at(0))
      return fail();
    node.elsewhere = at(*at(0) != 0 ? 1 : 2);
  } else if (name == "onnx.Cast") {
    node.elsewhere = at(0);
    Type to = match::getElementType(op->getResult(0));
    if (!isa<FloatType>(to) && !to.isInteger(1))
      return fail();
    if (to.isInteger(1) && node.elsewhere)
      node.elsewhere = *node.elsewhere != 0;
  } else if (node.operands.size() == 1 && at(0)) {
    node.elsewhere = evaluate(name, *at(0));
  } else if (node.operands.size() == 2) {
    node.elsewhere = evaluate(name, at(0), at(1));
  }
  if (!node.elsewhere)
    return fail();
  return add(node);
}

Value SparseGates::makeWeights(OpBuilder &b, Location loc) const {
  NodeBuilder maker(b, loc);
  auto shape = cast<RankedTensorType>(ids.getType()).getShape();
  SmallVector<Value> made;
  for (const Node &node : nodes) {
    switch (node.kind) {
    case Node::Number: {
      // Of extent 1 in all axes: it broadcasts.
      Type element = match::getElementType(node.value);
      auto type = RankedTensorType::get({}, element);
      Attribute number =
          isa<FloatType>(element)
              ? Attribute(b.getFloatAttr(element, *node.elsewhere))
              : Attribute(b.getIntegerAttr(element, *node.elsewhere));
      made.push_back(maker.create(
          "onnx.Constant", {}, type,
          b.getNamedAttr("value", DenseElementsAttr::get(type, number))));
      break;
    }
    case Node::Updates:
    case Node::PerToken:
      made.push_back(node.value);
      break;
    case Node::Dense:
      made.push_back(maker.create(
          "onnx.GatherElements", {node.value, ids},
          RankedTensorType::get(shape, match::getElementType(node.value)),
          b.getNamedAttr("axis", b.getI64IntegerAttr(shape.size() - 1))));
      break;
    case Node::Operator: {
      SmallVector<Value> operands;
      for (int operand : node.operands)
        operands.push_back(made[operand]);
      SmallVector<NamedAttribute> attrs;
      for (NamedAttribute attr : node.op->getAttrs())
        if (!attr.getName().getValue().contains('.') &&
            attr.getName() != "operandSegmentSizes")
          attrs.push_back(attr);
      auto type = RankedTensorType::get(
          shape, match::getElementType(node.op->getResult(0)));
      made.push_back(maker.create(node.op->getName().getStringRef(), operands,
                                  type, attrs));
      break;
    }
    }
  }
  return made.back();
}

//===----------------------------------------------------------------------===//
// Experts
//===----------------------------------------------------------------------===//

/// A step of the activation at numbers, where it is known.
static std::optional<double> evaluateStep(StringRef name, ArrayRef<double> x) {
  auto is = [&](StringRef other, size_t count) {
    return name == other && x.size() == count;
  };
  if (is("onnx.Sigmoid", 1))
    return 1 / (1 + std::exp(-x[0]));
  if (is("onnx.Mul", 2))
    return x[0] * x[1];
  if (is("onnx.Add", 2))
    return x[0] + x[1];
  if (is("onnx.Sub", 2))
    return x[0] - x[1];
  if (is("onnx.Div", 2))
    return x[0] / x[1];
  if (is("onnx.Relu", 1))
    return std::max(x[0], 0.0);
  if (is("onnx.Tanh", 1))
    return std::tanh(x[0]);
  if (is("onnx.Erf", 1))
    return std::erf(x[0]);
  if (is("onnx.Neg", 1))
    return -x[0];
  if (is("onnx.Exp", 1))
    return std::exp(x[0]);
  if (is("onnx.Pow", 2))
    return std::pow(x[0], x[1]);
  // These are 0 at 0 whatever their attributes are.
  if ((is("onnx.Gelu", 1) || is("onnx.Swish", 1) || is("onnx.Mish", 1) ||
       is("onnx.LeakyRelu", 1) || is("onnx.Elu", 1) ||
       is("onnx.HardSwish", 1)) &&
      x[0] == 0)
    return 0;
  return std::nullopt;
}

bool moe::isZeroAtZero(const FeedForward &network) {
  if (network.second.bias ||
      llvm::any_of(network.first, [](const Projection &p) { return p.bias; }))
    return false;
  SmallVector<double> values;
  for (const FeedForward::Step &step : network.steps) {
    if (step.kind == FeedForward::Step::Kind::Constant) {
      values.push_back(step.value);
      continue;
    }
    if (step.kind != FeedForward::Step::Kind::Operator) {
      values.push_back(0);
      continue;
    }
    SmallVector<double> operands;
    for (int operand : step.operands) {
      if (operand < 0)
        return false;
      operands.push_back(values[operand]);
    }
    auto value = evaluateStep(step.op->getName().getStringRef(), operands);
    if (!value)
      return false;
    values.push_back(*value);
  }
  return !values.empty() && values.back() == 0;
}

//===----------------------------------------------------------------------===//
// Nodes
//===----------------------------------------------------------------------===//

Value moe::makeNumber(OpBuilder &b, Location loc, Type element, double value) {
  auto type = RankedTensorType::get({}, element);
  Attribute number = isa<FloatType>(element)
                         ? Attribute(b.getFloatAttr(element, value))
                         : Attribute(b.getIntegerAttr(element, value));
  return NodeBuilder(b, loc).create(
      "onnx.Constant", {}, type,
      b.getNamedAttr("value", DenseElementsAttr::get(type, number)));
}

Value moe::makeInts(OpBuilder &b, Location loc, ArrayRef<int64_t> values) {
  auto type = RankedTensorType::get({static_cast<int64_t>(values.size())},
                                    b.getI64Type());
  return NodeBuilder(b, loc).create(
      "onnx.Constant", {}, type,
      b.getNamedAttr("value", DenseElementsAttr::get(type, values)));
}

Value moe::makeShape(OpBuilder &b, Location loc, Value of) {
  return NodeBuilder(b, loc).create(
      "onnx.Shape", of,
      RankedTensorType::get({match::getRank(of)}, b.getI64Type()));
}

Value moe::wrapNegativeIds(OpBuilder &b, Location loc, Value ids,
                           int64_t experts) {
  if (isNonNegative(ids))
    return ids;
  NodeBuilder nodes(b, loc);
  auto type = cast<RankedTensorType>(ids.getType());
  Type element = type.getElementType();
  Value below = nodes.create("onnx.Less", {ids, makeNumber(b, loc, element, 0)},
                             type.clone(b.getI1Type()));
  Value from = nodes.create("onnx.Add",
                            {ids, makeNumber(b, loc, element, experts)}, type);
  return nodes.create("onnx.Where", {below, from, ids}, type);
}

Value moe::makeAllIds(OpBuilder &b, Location loc, Value weights) {
  auto type = cast<RankedTensorType>(weights.getType());
  int64_t experts = type.getShape().back();
  SmallVector<int64_t> order = llvm::to_vector(llvm::seq<int64_t>(0, experts));
  return NodeBuilder(b, loc).create(
      "onnx.Expand", {makeInts(b, loc, order), makeShape(b, loc, weights)},
      type.clone(b.getI64Type()));
}
