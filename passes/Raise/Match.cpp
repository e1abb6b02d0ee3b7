//===- Match.cpp - a vocabulary for reading graphs of ONNX nodes ----------===//

#include "passes/Raise/Match.h"
#include "dialects/ONNX/ONNXDialect.h"
#include "lib/Analysis/Dims.h"
#include "mlir/IR/TypeUtilities.h"
#include "llvm/ADT/StringSet.h"
#include <limits>

using namespace mlir;
using namespace moe;

static constexpr double kInfinity = std::numeric_limits<double>::infinity();

//===----------------------------------------------------------------------===//
// Nodes
//===----------------------------------------------------------------------===//

/// The operator of a node, "" for ops of other dialects.
static StringRef operatorOf(Operation *op) {
  StringRef name = op ? op->getName().getStringRef() : StringRef();
  return name.consume_front("onnx.") ? name : StringRef();
}

/// Operand `i` of the schema, not stripped.
static Value rawInput(Operation *op, unsigned i) {
  return onnx::getFormalOperand(op, i);
}

int64_t match::getRank(Value value) {
  auto type =
      value ? dyn_cast<RankedTensorType>(value.getType()) : RankedTensorType();
  return type ? type.getRank() : -1;
}

Type match::getElementType(Value value) {
  auto type = value ? dyn_cast<TensorType>(value.getType()) : TensorType();
  return type ? type.getElementType() : Type();
}

static bool isIdentityPermutation(ArrayRef<int64_t> perm) {
  for (auto [i, axis] : llvm::enumerate(perm))
    if (axis != static_cast<int64_t>(i))
      return false;
  return true;
}

/// The operand that result 0 of a node is a copy of, or null.
static Value getCopied(Operation *op) {
  StringRef name = operatorOf(op);
  if (name.empty() || op->getNumOperands() == 0 || op->getNumResults() == 0)
    return {};
  Value in = rawInput(op, 0), out = op->getResult(0);
  if (!in)
    return {};
  if (name == "Identity")
    return in;
  if (name == "Cast")
    return match::getElementType(in) &&
                   match::getElementType(in) == match::getElementType(out)
               ? in
               : Value();
  if (name == "Concat")
    return op->getNumOperands() == 1 ? in : Value();
  if (name == "Dropout") {
    // At inference, and with a ratio of 0 in any case.
    Value training = rawInput(op, 2);
    return !training || match::isNumber(training, 0) ? in : Value();
  }
  if (name == "Transpose")
    return isIdentityPermutation(match::getPermutation(op)) &&
                   match::getRank(in) >= 0
               ? in
               : Value();
  if (name == "Slice") {
    Value steps = rawInput(op, 4);
    if (steps && !match::isNumber(steps, 1))
      return {};
    return sameExtents(in, out) ? in : Value();
  }
  if (name == "Reshape" || name == "Expand" || name == "Tile")
    return sameExtents(in, out) ? in : Value();
  return {};
}

Value match::strip(Value value) {
  while (value) {
    auto result = dyn_cast<OpResult>(value);
    if (!result || result.getResultNumber() != 0)
      break;
    Value in = getCopied(result.getOwner());
    if (!in)
      break;
    value = in;
  }
  return value;
}

Operation *match::getNode(Value value, StringRef name) {
  value = strip(value);
  Operation *op = value ? value.getDefiningOp() : nullptr;
  return op && op->getName().getStringRef() == name ? op : nullptr;
}

StringRef match::getOperator(Value value) {
  value = strip(value);
  return value ? operatorOf(value.getDefiningOp()) : StringRef();
}

Value match::getInput(Operation *op, unsigned i) {
  return strip(rawInput(op, i));
}

int64_t match::getInt(Operation *op, StringRef name, int64_t otherwise) {
  auto attr = op->getAttrOfType<IntegerAttr>(name);
  return attr ? attr.getValue().getSExtValue() : otherwise;
}

double match::getFloat(Operation *op, StringRef name, double otherwise) {
  auto attr = op->getAttrOfType<FloatAttr>(name);
  return attr ? attr.getValueAsDouble() : otherwise;
}

StringRef match::getString(Operation *op, StringRef name, StringRef otherwise) {
  auto attr = op->getAttrOfType<StringAttr>(name);
  return attr ? attr.getValue() : otherwise;
}

std::optional<int64_t> match::getAxis(Operation *op, StringRef name,
                                      int64_t otherwise, int64_t rank) {
  int64_t axis = getInt(op, name, otherwise);
  if (axis < 0)
    axis += rank;
  if (axis < 0 || axis >= rank)
    return std::nullopt;
  return axis;
}

SmallVector<int64_t> match::getPermutation(Operation *transpose) {
  if (auto perm = transpose->getAttrOfType<DenseI64ArrayAttr>("perm"))
    return llvm::to_vector(perm.asArrayRef());
  int64_t rank = getRank(transpose->getOperand(0));
  return llvm::to_vector(
      llvm::reverse(llvm::seq<int64_t>(0, std::max<int64_t>(rank, 0))));
}

std::optional<SmallVector<int64_t>> match::getAxes(Operation *op) {
  StringRef name = operatorOf(op);
  int64_t rank = getRank(rawInput(op, 0));
  if (rank < 0)
    return std::nullopt;
  SmallVector<int64_t> axes;
  if (Value given = rawInput(op, 1)) {
    std::optional<SmallVector<int64_t>> known = getInts(given);
    if (!known)
      return std::nullopt;
    axes = *known;
  }
  if (name == "Unsqueeze")
    rank += static_cast<int64_t>(axes.size());
  if (axes.empty() && name == "Squeeze") {
    auto type = cast<RankedTensorType>(rawInput(op, 0).getType());
    if (!type.hasStaticShape())
      return std::nullopt;
    for (int64_t i = 0; i < rank; ++i)
      if (type.getDimSize(i) == 1)
        axes.push_back(i);
    return axes;
  }
  if (axes.empty() && name != "Unsqueeze" &&
      getInt(op, "noop_with_empty_axes", 0) == 0)
    axes = llvm::to_vector(llvm::seq<int64_t>(0, rank));
  for (int64_t &axis : axes) {
    if (axis < 0)
      axis += rank;
    if (axis < 0 || axis >= rank)
      return std::nullopt;
  }
  llvm::sort(axes);
  return axes;
}

bool match::isOverLastAxis(Operation *op) {
  std::optional<SmallVector<int64_t>> axes = getAxes(op);
  return axes && axes->size() == 1 &&
         axes->front() == getRank(op->getOperand(0)) - 1;
}

//===----------------------------------------------------------------------===//
// Operators of two operands
//===----------------------------------------------------------------------===//

static bool isCommutative(StringRef op) {
  static const llvm::StringSet<> names{
      "onnx.Add",        "onnx.Mul",   "onnx.Min", "onnx.Max",
      "onnx.And",        "onnx.Or",    "onnx.Xor", "onnx.Sum",
      "onnx.BitwiseAnd", "onnx.Equal", "onnx.Mean"};
  return names.contains(op);
}

bool match::matchBinary(Value value, StringRef name, Value &a, Value &b) {
  Operation *op = getNode(value, name);
  if (!op || op->getNumOperands() != 2)
    return false;
  a = strip(op->getOperand(0));
  b = strip(op->getOperand(1));
  return true;
}

bool match::matchCommuted(Value value, StringRef name,
                          llvm::function_ref<bool(Value, Value)> accept) {
  Value a, b;
  return matchBinary(value, name, a, b) && (accept(a, b) || accept(b, a));
}

bool match::matchWithNumber(Value value, StringRef name, Value &x, double &c) {
  Value a, b;
  if (!matchBinary(value, name, a, b))
    return false;
  if (std::optional<double> number = getNumber(b)) {
    x = a;
    c = *number;
    return true;
  }
  std::optional<double> number = getNumber(a);
  if (!isCommutative(name) || !number)
    return false;
  x = b;
  c = *number;
  return true;
}

bool match::matchScale(Value value, Value &x, double &c) {
  if (matchWithNumber(value, "onnx.Mul", x, c))
    return true;
  if (!matchWithNumber(value, "onnx.Div", x, c) || c == 0)
    return false;
  c = 1 / c;
  return true;
}

bool match::matchClamp(Value value, Value &x, double &least, double &most) {
  least = -kInfinity;
  most = kInfinity;
  if (matchWithNumber(value, "onnx.Max", x, least) ||
      matchWithNumber(value, "onnx.Min", x, most))
    return true;
  Operation *clip = getNode(value, "onnx.Clip");
  if (!clip)
    return false;
  for (unsigned i : {1u, 2u}) {
    Value bound = rawInput(clip, i);
    if (!bound)
      continue;
    std::optional<double> number = getNumber(bound);
    if (!number)
      return false;
    (i == 1 ? least : most) = *number;
  }
  x = getInput(clip, 0);
  return true;
}
