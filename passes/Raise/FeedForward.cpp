//===- FeedForward.cpp - the two products of an expert --------------------===//

#include "passes/Raise/FeedForward.h"
#include "dialects/ONNX/ONNXDialect.h"
#include "lib/Analysis/Dims.h"
#include "lib/ONNX/SchemaBridge.h"
#include "passes/Raise/Match.h"
#include "passes/Raise/Nodes.h"
#include "passes/Raise/View.h"
#include "llvm/ADT/DenseMap.h"
#include "llvm/ADT/StringMap.h"
#include "llvm/ADT/StringSet.h"
#include "llvm/Support/Format.h"
#include "llvm/Support/raw_ostream.h"
#include "llvm/Support/xxhash.h"
#include <algorithm>

using namespace mlir;
using namespace moe;

std::nullopt_t Refusal::say(Operation *op, const llvm::Twine &reason) {
  if (why.empty()) {
    at = op;
    why = reason.str();
  }
  return std::nullopt;
}

namespace {

/// Operators that an activation may consist of, with one result whose elements
/// depend on the operands' elements in the same place.
bool isElementwise(StringRef name) {
  static const llvm::StringSet<> names = {
      "Abs",         "Add",       "Ceil",     "Celu",
      "Clip",        "Cos",       "Div",      "Elu",
      "Erf",         "Exp",       "Floor",    "Gelu",
      "HardSigmoid", "HardSwish", "Identity", "LeakyRelu",
      "Log",         "Max",       "Min",      "Mish",
      "Mul",         "Neg",       "Pow",      "Reciprocal",
      "Relu",        "Selu",      "Sigmoid",  "Sign",
      "Sin",         "Softplus",  "Softsign", "Sqrt",
      "Sub",         "Swish",     "Tanh",     "ThresholdedRelu"};
  return name.consume_front("onnx.") && names.contains(name);
}

bool isFloat(Value value) {
  auto type = dyn_cast<ShapedType>(value.getType());
  return type && isa<FloatType>(type.getElementType());
}

/// Which features of a product a value has.
enum class Part { Whole, First, Second, Even, Odd };

/// An activation of more nodes is none (and would exhaust the stack).
constexpr size_t kMaxNodes = 512;

/// Walks back from the operand of the second product to the first ones.
class Walker {
public:
  Walker(MatchProjection match, Refusal &refusal)
      : match(match), refusal(refusal) {}

  std::optional<FeedForward> run(const Projection &second);

private:
  using Step = FeedForward::Step;

  std::optional<int> visit(Value value);
  std::optional<int> visitOperator(Operation *op);
  std::optional<int> addLeaf(Operation *at, const Projection &projection,
                             Part part);
  std::optional<int> visitPart(Operation *op, Value whole, Part part,
                               int64_t axis);
  bool settleLeaves(Operation *at);
  void sortSteps();
  uint64_t hash(int step, SmallVectorImpl<uint64_t> &known) const;
  int copyStep(int step, ArrayRef<uint64_t> hashes,
               SmallVectorImpl<int> &places, llvm::StringMap<int> &texts,
               SmallVectorImpl<Step> &to) const;
  std::string print() const;
  int add(Step step) {
    result.steps.push_back(std::move(step));
    return result.steps.size() - 1;
  }

  struct Leaf {
    Projection projection;
    Part part;
    int step;
  };

  MatchProjection match;
  Refusal &refusal;
  FeedForward result;
  DimContext dims;
  SmallVector<Leaf, 2> leaves;
  DenseMap<Value, int> known;
};

} // namespace

/// Which half of axis `axis` of a value a Slice takes.
static std::optional<Part> getSlice(Operation *op, int64_t &axis) {
  SmallVector<Value> inputs = getNodeInputs(op);
  auto type = cast<RankedTensorType>(inputs[0].getType());
  auto read = [&](unsigned i) -> std::optional<int64_t> {
    if (i >= inputs.size() || !inputs[i])
      return std::nullopt;
    auto numbers = getConstantShape(inputs[i]);
    if (!numbers || numbers->size() != 1)
      return std::nullopt;
    return numbers->front();
  };
  std::optional<int64_t> begin = read(1), end = read(2), at = read(3), step = 1;
  if (inputs.size() > 4 && inputs[4])
    step = read(4);
  if (inputs.size() <= 3 || !inputs[3])
    at = 0;
  if (!begin || !end || !at || !step)
    return std::nullopt;
  axis = *at < 0 ? *at + type.getRank() : *at;
  if (axis < 0 || axis >= type.getRank())
    return std::nullopt;
  int64_t extent = type.getDimSize(axis);
  if (ShapedType::isDynamic(extent) || extent % 2 != 0)
    return std::nullopt;
  auto clamp = [&](int64_t i) {
    if (i < 0)
      i += extent;
    return std::clamp<int64_t>(i, 0, extent);
  };
  int64_t from = clamp(*begin), to = clamp(*end), half = extent / 2;
  if (*step == 1 && from == 0 && to == half)
    return Part::First;
  if (*step == 1 && from == half && to == extent)
    return Part::Second;
  // An end anywhere behind the last of them takes all.
  if (*step == 2 && from == 0 && to >= extent - 1)
    return Part::Even;
  if (*step == 2 && from == 1 && to == extent)
    return Part::Odd;
  return std::nullopt;
}

/// Which half of an axis a result of Split is.
static std::optional<Part> getPiece(OpResult result, int64_t &axis) {
  Operation *op = result.getOwner();
  auto type = cast<RankedTensorType>(op->getOperand(0).getType());
  auto piece = dyn_cast<RankedTensorType>(result.getType());
  std::optional<int64_t> at = match::getAxis(op, "axis", 0, type.getRank());
  if (!at || op->getNumResults() != 2 || !piece ||
      piece.getRank() != type.getRank())
    return std::nullopt;
  axis = *at;
  int64_t extent = type.getDimSize(axis);
  if (ShapedType::isDynamic(extent) || piece.getDimSize(axis) * 2 != extent)
    return std::nullopt;
  return result.getResultNumber() == 0 ? Part::First : Part::Second;
}

/// Which half of an axis of its node's operand a value is.
static std::optional<Part> getPart(Value value, int64_t &axis) {
  auto result = dyn_cast<OpResult>(value);
  if (!result)
    return std::nullopt;
  Operation *op = result.getOwner();
  StringRef name = op->getName().getStringRef();
  if ((name != "onnx.Slice" && name != "onnx.Split") ||
      !isa<RankedTensorType>(op->getOperand(0).getType()))
    return std::nullopt;
  return name == "onnx.Slice" ? getSlice(op, axis) : getPiece(result, axis);
}

/// The half of a product, whose features must be what is halved.
std::optional<int> Walker::visitPart(Operation *op, Value whole, Part part,
                                     int64_t axis) {
  std::optional<Projection> product = match(whole);
  if (!product)
    product = match(View::of(whole, dims).getBase());
  if (!product)
    return refusal.say(op, "what is split in halves is no product");
  View view = View::of(whole, dims, product->result);
  int64_t features = product->featureAxis;
  if (features < 0)
    features += view.getBaseRank();
  if (view.getBase() != product->result || !view.keepsOrder() ||
      !view.walks(axis, features))
    return refusal.say(op, "the axis that is split is not the one of the "
                           "product's features");
  return addLeaf(op, *product, part);
}

std::optional<int> Walker::addLeaf(Operation *at, const Projection &projection,
                                   Part part) {
  for (const Leaf &leaf : leaves)
    if (leaf.projection.result == projection.result && leaf.part == part)
      return leaf.step;
  if (leaves.size() == 2)
    return refusal.say(at, "the activation has more than two products in front"
                           " of it");
  Step step;
  step.kind = leaves.empty() ? Step::Kind::Gate : Step::Kind::Up;
  int index = add(std::move(step));
  leaves.push_back({projection, part, index});
  return index;
}

std::optional<int> Walker::visit(Value value) {
  if (auto it = known.find(value); it != known.end())
    return it->second;
  if (result.nodes.size() > kMaxNodes)
    return refusal.say(value.getDefiningOp(),
                       "more than " + Twine(kMaxNodes) +
                           " nodes are between the products");
  std::optional<int> step;
  if (std::optional<double> number = match::getNumber(value)) {
    Step constant;
    constant.kind = Step::Kind::Constant;
    constant.value = *number;
    step = add(std::move(constant));
  } else if (std::optional<Projection> product = match(value)) {
    step = addLeaf(value.getDefiningOp(), *product, Part::Whole);
  } else {
    Operation *op = value.getDefiningOp();
    if (!op)
      return refusal.say(nullptr, "the second product reads an input of the "
                                  "graph");
    int64_t axis;
    if (std::optional<Part> part = getPart(value, axis)) {
      result.nodes.push_back(op);
      step = visitPart(op, op->getOperand(0), *part, axis);
    } else {
      step = visitOperator(op);
    }
  }
  if (step)
    known[value] = *step;
  return step;
}

std::optional<int> Walker::visitOperator(Operation *op) {
  StringRef name = op->getName().getStringRef();
  // What keeps the order of elements or changes their type only.
  if (name == "onnx.Cast" && isFloat(op->getOperand(0)) &&
      isFloat(op->getResult(0))) {
    result.nodes.push_back(op);
    return visit(op->getOperand(0));
  }
  View view = View::of(op->getResult(0), dims,
                       op->getOperands().empty() ? Value() : op->getOperand(0));
  if (!op->getOperands().empty() && view.getBase() == op->getOperand(0) &&
      view.keepsOrder()) {
    result.nodes.push_back(op);
    return visit(op->getOperand(0));
  }
  if (!isElementwise(name) || op->getNumResults() != 1)
    return refusal.say(op, "'" + op->getName().getStringRef() +
                               "' between the products is not elementwise");
  result.nodes.push_back(op);
  Step step;
  step.kind = Step::Kind::Operator;
  step.op = op;
  for (Value operand : getNodeInputs(op)) {
    if (!operand) {
      step.operands.push_back(-1);
      continue;
    }
    std::optional<int> index = visit(operand);
    if (!index)
      return std::nullopt;
    if (result.steps[*index].kind != Step::Kind::Constant &&
        !sameExtents(operand, op->getResult(0)))
      return refusal.say(op, "the operands of '" +
                                 op->getName().getStringRef() +
                                 "' between the products differ in shape");
    step.operands.push_back(*index);
  }
  return add(std::move(step));
}

/// Makes one or two projections of the leaves, the gate first.
bool Walker::settleLeaves(Operation *at) {
  if (leaves.empty()) {
    refusal.say(at, "no product in front of the activation");
    return false;
  }
  auto isPair = [&](Part a, Part b) {
    return leaves.size() == 2 &&
           leaves[0].projection.result == leaves[1].projection.result &&
           ((leaves[0].part == a && leaves[1].part == b) ||
            (leaves[0].part == b && leaves[1].part == a));
  };
  bool swapped = false;
  if (leaves.size() == 1 && leaves[0].part == Part::Whole) {
    result.form = ir::GateUp::None;
  } else if (isPair(Part::First, Part::Second)) {
    result.form = ir::GateUp::Concat;
    swapped = leaves[0].part == Part::Second;
  } else if (isPair(Part::Even, Part::Odd)) {
    result.form = ir::GateUp::Interleave;
    swapped = leaves[0].part == Part::Odd;
  } else if (leaves.size() == 2 && leaves[0].part == Part::Whole &&
             leaves[1].part == Part::Whole) {
    result.form = ir::GateUp::Separate;
  } else {
    refusal.say(at, "the activation does not take all features of its "
                    "products");
    return false;
  }
  if (result.form == ir::GateUp::Separate) {
    // The up projection is what the last product multiplies directly.
    const Step &last = result.steps.back();
    if (last.kind == Step::Kind::Operator &&
        last.op->getName().getStringRef() == "onnx.Mul")
      swapped = llvm::is_contained(last.operands, leaves[0].step) &&
                !llvm::is_contained(last.operands, leaves[1].step);
    result.first.push_back(leaves[swapped].projection);
    result.first.push_back(leaves[!swapped].projection);
  } else {
    result.first.push_back(leaves[0].projection);
  }
  if (swapped) {
    result.steps[leaves[0].step].kind = Step::Kind::Up;
    if (leaves.size() == 2)
      result.steps[leaves[1].step].kind = Step::Kind::Gate;
  }
  return true;
}

/// The attributes that belong to an operator, not to the model's bookkeeping.
static SmallVector<NamedAttribute> getOwnAttributes(Operation *op) {
  SmallVector<NamedAttribute> attributes;
  for (NamedAttribute attr : op->getAttrs())
    if (!attr.getName().getValue().contains('.') &&
        attr.getName() != "operandSegmentSizes" &&
        attr.getName() != "resultSegmentSizes")
      attributes.push_back(attr);
  return attributes;
}

/// An operator with its attributes, without operands.
static std::string printOperator(Operation *op) {
  std::string text;
  llvm::raw_string_ostream os(text);
  os << op->getName().stripDialect();
  for (NamedAttribute attr : getOwnAttributes(op))
    os << "[" << attr.getName().getValue() << "=" << attr.getValue() << "]";
  return text;
}

static bool isCommutative(Operation *op) {
  StringRef name = op->getName().getStringRef();
  return name == "onnx.Add" || name == "onnx.Mul";
}

/// A number that does not depend on the order of operands that commute.
uint64_t Walker::hash(int index, SmallVectorImpl<uint64_t> &known) const {
  uint64_t &value = known[index];
  if (value)
    return value;
  const Step &step = result.steps[index];
  std::string text = std::to_string(static_cast<int>(step.kind));
  llvm::raw_string_ostream os(text);
  os << llvm::format(",%.17g", step.value);
  if (step.kind == Step::Kind::Operator) {
    os << printOperator(step.op);
    SmallVector<uint64_t> operands;
    for (int operand : step.operands)
      operands.push_back(operand < 0 ? 1 : hash(operand, known));
    if (isCommutative(step.op))
      llvm::sort(operands);
    for (uint64_t operand : operands)
      os << "," << operand;
  }
  return known[index] = std::max<uint64_t>(2, llvm::xxh3_64bits(text));
}

/// Appends a step and those before it, each once.
int Walker::copyStep(int index, ArrayRef<uint64_t> hashes,
                     SmallVectorImpl<int> &places, llvm::StringMap<int> &texts,
                     SmallVectorImpl<Step> &to) const {
  if (places[index] >= 0)
    return places[index];
  Step step = result.steps[index];
  if (step.kind == Step::Kind::Operator && isCommutative(step.op))
    llvm::stable_sort(step.operands,
                      [&](int a, int b) { return hashes[a] < hashes[b]; });
  std::string text = std::to_string(static_cast<int>(step.kind));
  llvm::raw_string_ostream os(text);
  os << llvm::format(",%.17g", step.value);
  if (step.kind == Step::Kind::Operator)
    os << printOperator(step.op);
  for (int &operand : step.operands) {
    if (operand >= 0)
      operand = copyStep(operand, hashes, places, texts, to);
    os << "," << operand;
  }
  auto [it, isNew] = texts.try_emplace(text, to.size());
  if (isNew)
    to.push_back(std::move(step));
  return places[index] = it->second;
}

/// Brings the steps into an order that depends on the function alone, not on
/// the order in which exporters write the operands of a sum or product.
void Walker::sortSteps() {
  SmallVector<uint64_t> hashes(result.steps.size());
  for (size_t i = 0; i < result.steps.size(); ++i)
    hash(i, hashes);
  // Steps are in an order in which each comes behind its operands.
  SmallVector<Step, 8> sorted;
  llvm::StringMap<int> texts;
  SmallVector<int> places(result.steps.size(), -1);
  copyStep(result.steps.size() - 1, hashes, places, texts, sorted);
  result.steps = std::move(sorted);
}

/// One step after the other, `2=Mul(0,1)`: what is used twice stands once.
std::string Walker::print() const {
  std::string text;
  llvm::raw_string_ostream os(text);
  for (auto [i, step] : llvm::enumerate(result.steps)) {
    os << i << "=";
    switch (step.kind) {
    case Step::Kind::Gate:
      os << "g";
      break;
    case Step::Kind::Up:
      os << "u";
      break;
    case Step::Kind::Constant:
      os << llvm::format("%.17g", step.value);
      break;
    case Step::Kind::Operator:
      os << printOperator(step.op);
      os << "(";
      llvm::interleaveComma(step.operands, os);
      os << ")";
      break;
    }
    os << ";";
  }
  return text;
}

std::optional<FeedForward> Walker::run(const Projection &second) {
  Operation *at = second.result ? second.result.getDefiningOp()
                                : second.rows.getDefiningOp();
  result.second = second;
  std::optional<int> last = visit(second.rows);
  if (!last)
    return std::nullopt;
  if (*last != static_cast<int>(result.steps.size()) - 1)
    return refusal.say(at, "the activation computes what it does not use");
  if (!settleLeaves(at))
    return std::nullopt;
  sortSteps();
  result.activation = print();
  return std::move(result);
}

std::optional<FeedForward> moe::matchActivation(const Projection &second,
                                                MatchProjection match,
                                                Refusal &refusal) {
  return Walker(match, refusal).run(second);
}

std::optional<FeedForward>
moe::matchFeedForward(Value result, MatchProjection match, Refusal &refusal) {
  std::optional<Projection> second = match(result);
  if (!second)
    return refusal.say(result.getDefiningOp(), "this is no product with the "
                                               "weights of experts");
  return matchActivation(*second, match, refusal);
}

void FeedForward::buildActivation(Region &region, Location loc) const {
  OpBuilder b(region.getContext());
  auto scalar = RankedTensorType::get({}, b.getF32Type());
  unsigned count = form == ir::GateUp::None ? 1 : 2;
  Block *block = b.createBlock(&region, {}, SmallVector<Type>(count, scalar),
                               SmallVector<Location>(count, loc));
  SmallVector<Value> values;
  for (const Step &step : steps) {
    switch (step.kind) {
    case Step::Kind::Gate:
      values.push_back(block->getArgument(0));
      break;
    case Step::Kind::Up:
      values.push_back(block->getArgument(1));
      break;
    case Step::Kind::Constant: {
      auto number =
          DenseElementsAttr::get(scalar, static_cast<float>(step.value));
      OperationState state(loc, "onnx.Constant", ValueRange(), scalar,
                           b.getNamedAttr("value", number));
      values.push_back(b.create(state)->getResult(0));
      break;
    }
    case Step::Kind::Operator: {
      SmallVector<Value> operands;
      for (int operand : step.operands)
        operands.push_back(operand < 0 ? Value() : values[operand]);
      values.push_back(NodeBuilder(b, step.op->getLoc())
                           .create(step.op->getName().getStringRef(), operands,
                                   scalar, getOwnAttributes(step.op),
                                   /*isMain=*/true));
      break;
    }
    }
  }
  ir::YieldOp::create(b, loc, values.back());
}
