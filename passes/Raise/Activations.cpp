//===- Activations.cpp - activations that have a name ---------------------===//

#include "passes/Raise/Activations.h"
#include "dialects/MoE/MoEDialect.h"
#include "dialects/ONNX/ONNXDialect.h"
#include <cmath>

using namespace mlir;
using namespace moe;

//===----------------------------------------------------------------------===//
// Building
//===----------------------------------------------------------------------===//

Value moe::createScalarOp(OpBuilder &builder, Location loc, StringRef name,
                          ValueRange operands, ArrayRef<NamedAttribute> attrs) {
  OperationState state(loc, ("onnx." + name).str(), operands,
                       operands.front().getType(), attrs);
  return builder.create(state)->getResult(0);
}

namespace {
struct Body {
  OpBuilder b;
  Location loc;

  Value constant(double value) {
    auto type = RankedTensorType::get({}, b.getF32Type());
    auto elements = DenseElementsAttr::get(type, static_cast<float>(value));
    OperationState state(loc, "onnx.Constant", ValueRange(), type,
                         b.getNamedAttr("value", elements));
    return b.create(state)->getResult(0);
  }
  Value op(StringRef name, ValueRange operands) {
    return createScalarOp(b, loc, name, operands);
  }
  Value gelu(Value x) {
    return createScalarOp(
        b, loc, "Gelu", x,
        b.getNamedAttr("approximate", b.getStringAttr("tanh")));
  }
  /// x * sigmoid(alpha * x).
  Value swish(Value x, double alpha) {
    Value inner = alpha == 1 ? x : op("Mul", {x, constant(alpha)});
    return op("Mul", {x, op("Sigmoid", inner)});
  }
  Value simple(ContribActivation kind, Value x) {
    switch (kind) {
    case ContribActivation::Relu:
      return op("Relu", x);
    case ContribActivation::Relu2: {
      Value r = op("Relu", x);
      return op("Mul", {r, r});
    }
    case ContribActivation::Gelu:
    case ContribActivation::GeGLU:
      return gelu(x);
    case ContribActivation::Silu:
    case ContribActivation::SwiGLU:
      return swish(x, 1);
    case ContribActivation::Identity:
      break;
    }
    return x;
  }
  Value swiGLU(const NamedActivation &a, Value g, Value u) {
    if (a.limit && !a.limitAfter)
      g = op("Min", {g, constant(*a.limit)});
    Value h = swish(g, a.alpha);
    if (a.limit) {
      if (a.limitAfter)
        h = op("Min", {h, constant(*a.limit)});
      u = op("Max", {u, constant(-*a.limit)});
      u = op("Min", {u, constant(*a.limit)});
    }
    if (a.beta != 0)
      u = op("Add", {u, constant(a.beta)});
    return op("Mul", {h, u});
  }
};
} // namespace

void moe::buildActivation(Region &region, Location loc,
                          const NamedActivation &activation) {
  OpBuilder b(region.getContext());
  auto scalar = RankedTensorType::get({}, b.getF32Type());
  unsigned arguments = activation.gated ? 2 : 1;
  Block *block =
      b.createBlock(&region, {}, SmallVector<Type>(arguments, scalar),
                    SmallVector<Location>(arguments, loc));
  Body body{b, loc};
  Value out;
  if (activation.kind == ContribActivation::SwiGLU) {
    out = body.swiGLU(activation, block->getArgument(0), block->getArgument(1));
  } else {
    out = body.simple(activation.kind, block->getArgument(0));
    if (activation.gated)
      out = body.op("Mul", {out, block->getArgument(1)});
  }
  ir::YieldOp::create(body.b, loc, out);
}

//===----------------------------------------------------------------------===//
// Recognising
//===----------------------------------------------------------------------===//

/// The operator that gives a value, "" for arguments; Identity is looked
/// through.
static StringRef getOperator(Value &value) {
  while (Operation *def = value.getDefiningOp()) {
    StringRef name = def->getName().getStringRef();
    if (name != "onnx.Identity")
      return name;
    value = def->getOperand(0);
  }
  return "";
}

static std::optional<double> getConstant(Value value) {
  StringRef name = getOperator(value);
  if (name != "onnx.Constant")
    return std::nullopt;
  Operation *def = value.getDefiningOp();
  if (auto number = def->getAttrOfType<FloatAttr>("value_float"))
    return number.getValueAsDouble();
  auto elements = def->getAttrOfType<DenseElementsAttr>("value");
  if (!elements || elements.getNumElements() != 1 ||
      !elements.getElementType().isF32())
    return std::nullopt;
  return (*elements.getValues<APFloat>().begin()).convertToDouble();
}

/// A value with one constant operand: x `name` c, in either order.
static bool matchWithConstant(Value value, StringRef name, Value &x,
                              double &c) {
  if (getOperator(value) != name)
    return false;
  Operation *def = value.getDefiningOp();
  if (def->getNumOperands() != 2)
    return false;
  for (unsigned i : {0u, 1u})
    if (std::optional<double> number = getConstant(def->getOperand(i))) {
      c = *number;
      x = def->getOperand(1 - i);
      (void)getOperator(x);
      return true;
    }
  return false;
}

namespace {

/// A value between two numbers.
struct Clamped {
  Value base;
  double least = -std::numeric_limits<double>::infinity();
  double most = std::numeric_limits<double>::infinity();
};

/// One factor of a product.
struct Factor {
  Value value;
  /// With `sigmoid`: sigmoid(alpha * value).
  bool sigmoid = false;
  double alpha = 1;
};

} // namespace

static Clamped readClamp(Value value) {
  Clamped out;
  while (true) {
    Value x;
    double c;
    StringRef name = getOperator(value);
    if (matchWithConstant(value, "onnx.Min", x, c)) {
      out.most = std::min(out.most, c);
    } else if (matchWithConstant(value, "onnx.Max", x, c)) {
      out.least = std::max(out.least, c);
    } else if (name == "onnx.Clip") {
      Operation *def = value.getDefiningOp();
      x = onnx::getFormalOperand(def, 0);
      Clamped own;
      for (unsigned i : {1u, 2u})
        if (Value bound = onnx::getFormalOperand(def, i)) {
          std::optional<double> number = getConstant(bound);
          if (!number) {
            out.base = value;
            return out;
          }
          (i == 1 ? own.least : own.most) = *number;
        }
      out.least = std::max(out.least, own.least);
      out.most = std::min(out.most, own.most);
    } else {
      out.base = value;
      return out;
    }
    value = x;
  }
}

/// The factors of a product, sigmoids with the factor in front of their
/// argument.
static void collectFactors(Value value, SmallVectorImpl<Factor> &factors) {
  StringRef name = getOperator(value);
  Operation *def = value.getDefiningOp();
  auto alphaOf = [&](double otherwise) {
    auto attr = def->getAttrOfType<FloatAttr>("alpha");
    return attr ? attr.getValueAsDouble() : otherwise;
  };
  if (name == "onnx.Mul") {
    for (Value operand : def->getOperands())
      collectFactors(operand, factors);
  } else if (name == "onnx.Sigmoid") {
    Factor factor{def->getOperand(0), true, 1};
    Value x;
    if (matchWithConstant(factor.value, "onnx.Mul", x, factor.alpha))
      factor.value = x;
    (void)getOperator(factor.value);
    factors.push_back(factor);
  } else if (name == "onnx.Swish" || name == "onnx_ms.QuickGelu") {
    Value x = def->getOperand(0);
    double alpha = alphaOf(name == "onnx.Swish" ? 1.0 : 1.702f);
    collectFactors(x, factors);
    (void)getOperator(x);
    factors.push_back({x, true, alpha});
  } else {
    factors.push_back({value, false, 1});
  }
}

static bool isTanhGelu(Value value, Value of) {
  if (getOperator(value) != "onnx.Gelu")
    return false;
  Operation *def = value.getDefiningOp();
  auto form = def->getAttrOfType<StringAttr>("approximate");
  Value x = def->getOperand(0);
  (void)getOperator(x);
  return form && form.getValue() == "tanh" && x == of;
}

static bool isRelu(Value value, Value of) {
  if (getOperator(value) != "onnx.Relu")
    return false;
  Value x = value.getDefiningOp()->getOperand(0);
  (void)getOperator(x);
  return x == of;
}

/// G * sigmoid(alpha * G): the two factors in either order.
static bool isSwish(ArrayRef<Factor> factors, Value &g, double &alpha) {
  if (factors.size() != 2 || factors[0].sigmoid == factors[1].sigmoid)
    return false;
  const Factor &plain = factors[factors[0].sigmoid ? 1 : 0];
  const Factor &sigmoid = factors[factors[0].sigmoid ? 0 : 1];
  if (plain.value != sigmoid.value)
    return false;
  g = plain.value;
  alpha = sigmoid.alpha;
  return true;
}

/// act(x) for an activation without parameters.
static std::optional<ContribActivation> readSimple(ArrayRef<Factor> factors,
                                                   Value x) {
  Value g;
  double alpha;
  if (isSwish(factors, g, alpha) && g == x && alpha == 1)
    return ContribActivation::Silu;
  for (const Factor &factor : factors)
    if (factor.sigmoid)
      return std::nullopt;
  if (factors.size() == 1) {
    Value value = factors[0].value;
    if (value == x)
      return ContribActivation::Identity;
    if (isRelu(value, x))
      return ContribActivation::Relu;
    if (isTanhGelu(value, x))
      return ContribActivation::Gelu;
  }
  if (factors.size() == 2 && isRelu(factors[0].value, x) &&
      isRelu(factors[1].value, x))
    return ContribActivation::Relu2;
  return std::nullopt;
}

/// SwiGLU's second factor: U + beta with U = clamp(u, -limit, limit).
static bool readUp(Value value, Value u, NamedActivation &out) {
  Value x;
  double c;
  out.beta = 0;
  if (matchWithConstant(value, "onnx.Add", x, c)) {
    out.beta = c;
    value = x;
  }
  Clamped clamped = readClamp(value);
  if (clamped.base != u)
    return false;
  if (std::isinf(clamped.least) && std::isinf(clamped.most))
    return true;
  if (clamped.least != -clamped.most)
    return false;
  out.limit = clamped.most;
  return true;
}

/// The gate's part of SwiGLU, with the limit that the up part has.
static bool readGate(ArrayRef<Factor> factors, Value g, NamedActivation &out) {
  auto hasLimit = [&](const Clamped &clamped) {
    return std::isinf(clamped.least) && clamped.least < 0 &&
           (out.limit ? clamped.most == *out.limit : std::isinf(clamped.most));
  };
  Value x;
  if (isSwish(factors, x, out.alpha)) {
    Clamped clamped = readClamp(x);
    return clamped.base == g && hasLimit(clamped);
  }
  if (factors.size() != 1 || factors[0].sigmoid || !out.limit)
    return false;
  // min(g * sigmoid(alpha * g), limit)
  Clamped clamped = readClamp(factors[0].value);
  if (!hasLimit(clamped))
    return false;
  SmallVector<Factor> inner;
  collectFactors(clamped.base, inner);
  out.limitAfter = true;
  return isSwish(inner, x, out.alpha) && x == g;
}

std::optional<NamedActivation> moe::recogniseActivation(Region &region) {
  Block &block = region.front();
  auto yield = dyn_cast<ir::YieldOp>(block.back());
  if (!yield || yield.getNumOperands() != 1 || block.getNumArguments() == 0 ||
      block.getNumArguments() > 2)
    return std::nullopt;
  SmallVector<Factor> factors;
  collectFactors(yield.getOperand(0), factors);
  NamedActivation out;
  Value g = block.getArgument(0);
  if (block.getNumArguments() == 1) {
    std::optional<ContribActivation> kind = readSimple(factors, g);
    if (!kind)
      return std::nullopt;
    out.kind = *kind;
    return out;
  }
  Value u = block.getArgument(1);
  out.gated = true;
  for (size_t i = 0; i < factors.size(); ++i) {
    NamedActivation candidate = out;
    if (factors[i].sigmoid || !readUp(factors[i].value, u, candidate))
      continue;
    SmallVector<Factor> rest(factors);
    rest.erase(rest.begin() + i);
    if (readGate(rest, g, candidate)) {
      candidate.kind = ContribActivation::SwiGLU;
      return candidate;
    }
    if (candidate.beta != 0 || candidate.limit)
      continue;
    std::optional<ContribActivation> kind = readSimple(rest, g);
    if (!kind)
      continue;
    candidate.kind =
        *kind == ContribActivation::Gelu ? ContribActivation::GeGLU : *kind;
    return candidate;
  }
  return std::nullopt;
}
