//===- Products.cpp - rows times the weights of one expert ----------------===//

#include "passes/Raise/Products.h"
#include "dialects/ONNX/ONNXDialect.h"
#include "passes/Raise/Match.h"

using namespace mlir;
using namespace moe;

/// Whether a value is a vector along the last axis of what it is added to.
static bool isVector(Value value) {
  auto type = dyn_cast_or_null<RankedTensorType>(value.getType());
  if (!type || type.getRank() == 0)
    return false;
  return llvm::all_of(type.getShape().drop_back(),
                      [](int64_t extent) { return extent == 1; });
}

static bool isMatrix(Value value) { return match::getRank(value) == 2; }

static std::optional<Projection> matchMatMul(Operation *op) {
  Projection made;
  made.rows = op->getOperand(0);
  made.weights = op->getOperand(1);
  made.layout = ir::BankLayout::IO;
  if (!isMatrix(made.rows) || !isMatrix(made.weights))
    return std::nullopt;
  return made;
}

static std::optional<Projection> matchGemm(Operation *op) {
  Projection made;
  made.rows = onnx::getFormalOperand(op, 0);
  made.weights = onnx::getFormalOperand(op, 1);
  made.bias = onnx::getFormalOperand(op, 2);
  made.layout =
      match::getInt(op, "transB", 0) ? ir::BankLayout::OI : ir::BankLayout::IO;
  if (match::getInt(op, "transA", 0) != 0 ||
      match::getFloat(op, "alpha", 1) != 1 ||
      (made.bias &&
       (match::getFloat(op, "beta", 1) != 1 || !isVector(made.bias))))
    return std::nullopt;
  return made;
}

static std::optional<Projection> matchMatMulNBits(Operation *op) {
  Projection made;
  made.rows = onnx::getFormalOperand(op, 0);
  made.weights = onnx::getFormalOperand(op, 1);
  made.scales = onnx::getFormalOperand(op, 2);
  made.zeroPoints = onnx::getFormalOperand(op, 3);
  made.bias = onnx::getFormalOperand(op, 5);
  made.layout = ir::BankLayout::OI;
  made.bits = match::getInt(op, "bits", 4);
  made.block = match::getInt(op, "block_size", 0);
  // Reordered columns, and zero points that are no codes.
  if (onnx::getFormalOperand(op, 4) || !isMatrix(made.rows) ||
      (made.zeroPoints &&
       !match::getElementType(made.zeroPoints).isUnsignedInteger(8)))
    return std::nullopt;
  return made;
}

static std::optional<Projection> matchBare(Value value) {
  Operation *op = value.getDefiningOp();
  if (!op || op->getNumResults() != 1)
    return std::nullopt;
  StringRef name = op->getName().getStringRef();
  std::optional<Projection> made;
  if (name == "onnx.MatMul")
    made = matchMatMul(op);
  else if (name == "onnx.Gemm")
    made = matchGemm(op);
  else if (name == "onnx_ms.MatMulNBits")
    made = matchMatMulNBits(op);
  if (!made)
    return std::nullopt;
  made->result = value;
  made->featureAxis = 1;
  return made;
}

std::optional<Projection> moe::matchProduct(Value value) {
  value = match::strip(value);
  if (std::optional<Projection> bare = matchBare(value))
    return bare;
  Value a, b;
  if (!match::matchBinary(value, "onnx.Add", a, b) || !isMatrix(value))
    return std::nullopt;
  for (auto [product, bias] : {std::pair(a, b), std::pair(b, a)}) {
    if (!isVector(bias))
      continue;
    std::optional<Projection> bare = matchBare(product);
    if (!bare || bare->bias)
      continue;
    bare->bias = bias;
    bare->result = value;
    return bare;
  }
  return std::nullopt;
}

Value moe::matchSlice(Value value, llvm::function_ref<bool(Value)> isExpert,
                      bool &swapped) {
  swapped = false;
  while (true) {
    value = match::strip(value);
    Operation *op = value.getDefiningOp();
    StringRef name = op ? op->getName().getStringRef() : StringRef();
    if (name == "onnx.Transpose" && isMatrix(value)) {
      // The identity has been stripped.
      swapped = !swapped;
      value = op->getOperand(0);
      continue;
    }
    // A slice of one expert with its axis.
    if ((name == "onnx.Squeeze" || name == "onnx.Reshape") &&
        match::getRank(op->getOperand(0)) == match::getRank(value) + 1) {
      auto from = cast<RankedTensorType>(op->getOperand(0).getType());
      auto to = cast<RankedTensorType>(value.getType());
      if (from.getDimSize(0) != 1 ||
          from.getShape().drop_front() != to.getShape() || !to.hasStaticShape())
        return {};
      value = op->getOperand(0);
      continue;
    }
    if (name != "onnx.Gather" ||
        match::getAxis(op, "axis", 0, match::getRank(op->getOperand(0))) != 0 ||
        !isExpert(op->getOperand(1)))
      return {};
    return op->getOperand(0);
  }
}

std::optional<Projection>
moe::matchExpertProduct(Value value, llvm::function_ref<bool(Value)> isExpert,
                        bool &isBank) {
  std::optional<Projection> product = matchProduct(value);
  if (!product)
    return std::nullopt;
  bool swapped = false, ignored = false;
  Value bank = matchSlice(product->weights, isExpert, swapped);
  isBank = bool(bank);
  if (!bank)
    return product;
  product->weights = bank;
  if (swapped)
    product->layout = product->layout == ir::BankLayout::OI
                          ? ir::BankLayout::IO
                          : ir::BankLayout::OI;
  if (!product->bias)
    return product;
  Value bias = product->bias;
  // The bank of biases [E, out]; a vector that all experts share stays one.
  product->bias = matchSlice(bias, isExpert, ignored);
  return product->bias ? product : std::nullopt;
}
