//===- Activation.cpp - names of activations ------------------------------===//

#include "lib/Analysis/Activation.h"
#include "mlir/IR/Block.h"
#include "mlir/IR/BuiltinAttributes.h"
#include "mlir/IR/Matchers.h"
#include "mlir/IR/Operation.h"
#include "llvm/ADT/DenseMap.h"
#include "llvm/ADT/StringMap.h"
#include "llvm/Support/Format.h"
#include "llvm/Support/raw_ostream.h"
#include <cmath>

using namespace mlir;
using namespace moe;

//===----------------------------------------------------------------------===//
// Evaluation
//===----------------------------------------------------------------------===//

static double sigmoid(double x) { return 1 / (1 + std::exp(-x)); }
static double silu(double x) { return x * sigmoid(x); }
static double gelu(double x) { return x * std::erfc(-x / std::sqrt(2.0)) / 2; }
static double geluTanh(double x) {
  return x / 2 *
         (1 + std::tanh(std::sqrt(2 / M_PI) * (x + 0.044715 * x * x * x)));
}
static double relu(double x) { return x > 0 ? x : 0; }
static double softplus(double x) {
  return x > 0 ? x + std::log1p(std::exp(-x)) : std::log1p(std::exp(x));
}

/// The one number of a constant.
static std::optional<double> getNumber(Operation *op) {
  Attribute attr;
  if (op->getNumResults() != 1 || !matchPattern(op, m_Constant(&attr)))
    return std::nullopt;
  if (auto floats = dyn_cast<DenseFPElementsAttr>(attr);
      floats && floats.isSplat())
    return floats.getSplatValue<APFloat>().convertToDouble();
  if (auto integers = dyn_cast<DenseIntElementsAttr>(attr);
      integers && integers.isSplat())
    return static_cast<double>(integers.getSplatValue<APInt>().getSExtValue());
  return std::nullopt;
}

static double getReal(Operation *op, StringRef name, double otherwise) {
  auto attr = op->getAttrOfType<FloatAttr>(name);
  return attr ? attr.getValueAsDouble() : otherwise;
}

/// Absent operands of Clip do not limit.
static std::optional<double> evaluateClip(Operation *op, ArrayRef<double> in) {
  auto segments = op->getAttrOfType<DenseI32ArrayAttr>("operandSegmentSizes");
  bool hasMin = segments ? segments.size() > 1 && segments[1] : in.size() > 1;
  double x = in[0];
  unsigned next = 1;
  if (hasMin && next < in.size())
    x = std::max(x, in[next++]);
  if (next < in.size())
    x = std::min(x, in[next++]);
  return x;
}

static std::optional<double> evaluateUnary(Operation *op, StringRef name,
                                           double x) {
  using Function = double (*)(double);
  static const llvm::StringMap<Function> functions = {
      {"Abs", [](double x) { return std::abs(x); }},
      {"Cast", [](double x) { return x; }},
      {"Erf", [](double x) { return std::erf(x); }},
      {"Exp", [](double x) { return std::exp(x); }},
      {"Identity", [](double x) { return x; }},
      {"Log", [](double x) { return std::log(x); }},
      {"Neg", [](double x) { return -x; }},
      {"Not", [](double x) { return x == 0 ? 1.0 : 0.0; }},
      {"Reciprocal", [](double x) { return 1 / x; }},
      {"Relu", relu},
      {"Sigmoid", sigmoid},
      {"Softplus", softplus},
      {"Softsign", [](double x) { return x / (1 + std::abs(x)); }},
      {"Sqrt", [](double x) { return std::sqrt(x); }},
      {"Tanh", [](double x) { return std::tanh(x); }},
      {"HardSwish",
       [](double x) { return x * std::min(std::max(x / 6 + 0.5, 0.0), 1.0); }},
      {"Mish", [](double x) { return x * std::tanh(softplus(x)); }},
  };
  if (Function function = functions.lookup(name))
    return function(x);
  if (name == "Elu")
    return x > 0 ? x : getReal(op, "alpha", 1) * std::expm1(x);
  if (name == "LeakyRelu")
    return x > 0 ? x : getReal(op, "alpha", 0.01) * x;
  if (name == "HardSigmoid")
    return std::min(
        std::max(getReal(op, "alpha", 0.2) * x + getReal(op, "beta", 0.5), 0.0),
        1.0);
  if (name == "Swish")
    return x * sigmoid(getReal(op, "alpha", 1) * x);
  if (name == "Gelu") {
    auto form = op->getAttrOfType<StringAttr>("approximate");
    return form && form.getValue() == "tanh" ? geluTanh(x) : gelu(x);
  }
  return std::nullopt;
}

static std::optional<double> evaluateBinary(StringRef name, double x,
                                            double y) {
  if (name == "Add" || name == "Sum")
    return x + y;
  if (name == "Sub")
    return x - y;
  if (name == "Mul")
    return x * y;
  if (name == "Div")
    return x / y;
  if (name == "Pow")
    return std::pow(x, y);
  if (name == "Max")
    return std::max(x, y);
  if (name == "Min")
    return std::min(x, y);
  if (name == "Less")
    return x < y;
  if (name == "LessOrEqual")
    return x <= y;
  if (name == "Greater")
    return x > y;
  if (name == "GreaterOrEqual")
    return x >= y;
  if (name == "PRelu")
    return x > 0 ? x : y * x;
  return std::nullopt;
}

static std::optional<double> evaluateOp(Operation *op, ArrayRef<double> in) {
  if (std::optional<double> number = getNumber(op))
    return number;
  StringRef name = op->getName().stripDialect();
  if (name == "Clip" && !in.empty())
    return evaluateClip(op, in);
  if (name == "Where" && in.size() == 3)
    return in[0] != 0 ? in[1] : in[2];
  if (in.size() == 1)
    return evaluateUnary(op, name, in[0]);
  if (in.size() == 2)
    return evaluateBinary(name, in[0], in[1]);
  return std::nullopt;
}

std::optional<double> moe::evaluateActivation(Region &activation,
                                              ArrayRef<double> arguments) {
  if (!activation.hasOneBlock() ||
      activation.getNumArguments() != arguments.size())
    return std::nullopt;
  llvm::DenseMap<Value, double> values;
  for (auto [argument, value] : llvm::zip(activation.getArguments(), arguments))
    values[argument] = value;
  Operation &last = activation.front().back();
  for (Operation &op : activation.front().without_terminator()) {
    SmallVector<double> in;
    for (Value operand : op.getOperands())
      in.push_back(values.lookup(operand));
    std::optional<double> value = evaluateOp(&op, in);
    if (!value || op.getNumResults() != 1)
      return std::nullopt;
    values[op.getResult(0)] = *value;
  }
  if (last.getNumOperands() != 1)
    return std::nullopt;
  return values.lookup(last.getOperand(0));
}

//===----------------------------------------------------------------------===//
// Names
//===----------------------------------------------------------------------===//

using Function = llvm::function_ref<double(ArrayRef<double>)>;

/// Both sides of every limit that models use, and the middle.
static constexpr double points[] = {-25, -7.5, -3.1, -1, -0.4, 0,
                                    0.3, 0.9,  2.2,  6,  7.7,  25};

static bool isEqual(double a, double b) {
  // Constants of models are f32.
  return std::abs(a - b) <= 1e-5 * std::max(1.0, std::abs(b));
}

/// Whether the values of a region at all points are those of `function`.
static bool matches(ArrayRef<double> values, bool isGated, Function function) {
  const double *value = values.begin();
  for (double x : points) {
    if (!isGated) {
      if (!isEqual(*value++, function({x})))
        return false;
      continue;
    }
    for (double y : points)
      if (!isEqual(*value++, function({x, y})))
        return false;
  }
  return true;
}

static std::string toText(double value) {
  std::string text;
  llvm::raw_string_ostream(text) << llvm::format("%g", value);
  return text;
}

/// g * sigmoid(alpha * g) * (u + beta), g and u limited, with the constants of
/// the region for alpha, beta and the limit.
static std::string matchSwiGLU(ArrayRef<double> values,
                               ArrayRef<double> constants) {
  SmallVector<double> alphas = {1}, betas = {0}, limits = {INFINITY};
  for (double constant : constants) {
    alphas.push_back(constant);
    betas.push_back(constant);
    if (constant > 0)
      limits.push_back(constant);
  }
  for (double limit : limits)
    for (double beta : betas)
      for (double alpha : alphas) {
        auto function = [&](ArrayRef<double> in) {
          double g = std::min(in[0], limit);
          double u = std::min(std::max(in[1], -limit), limit);
          return g * sigmoid(alpha * g) * (u + beta);
        };
        if (!matches(values, true, function))
          continue;
        if (alpha == 1 && beta == 0 && std::isinf(limit))
          return "swiglu";
        std::string text =
            "swiglu(alpha=" + toText(alpha) + ", beta=" + toText(beta);
        return text +
               (std::isinf(limit) ? ")" : ", limit=" + toText(limit) + ")");
      }
  return "";
}

std::string moe::getActivationName(Region &activation) {
  bool isGated = activation.getNumArguments() == 2;
  SmallVector<double> values;
  for (double x : points)
    for (double y : points) {
      SmallVector<double, 2> arguments = {x};
      if (isGated)
        arguments.push_back(y);
      else if (y != points[0])
        break;
      std::optional<double> value = evaluateActivation(activation, arguments);
      if (!value)
        return "custom";
      values.push_back(*value);
    }

  struct Named {
    StringRef plain, gated;
    double (*function)(double);
  };
  static const Named named[] = {
      {"identity", "bilinear", [](double x) { return x; }},
      {"relu", "reglu", relu},
      {"relu2", "relu2_glu", [](double x) { return relu(x) * relu(x); }},
      {"silu", "swiglu", silu},
      {"gelu", "geglu", gelu},
      {"gelu_tanh", "geglu_tanh", geluTanh},
      {"quick_gelu", "quick_geglu",
       [](double x) { return x * sigmoid(1.702 * x); }},
      {"sigmoid", "glu", sigmoid},
      {"tanh", "tanh_glu", [](double x) { return std::tanh(x); }},
      {"softplus", "softplus_glu", softplus},
  };
  for (const Named &one : named)
    if (matches(values, isGated, [&](ArrayRef<double> in) {
          return one.function(in[0]) * (isGated ? in[1] : 1);
        }))
      return (isGated ? one.gated : one.plain).str();
  if (!isGated)
    return "custom";

  SmallVector<double> constants;
  for (Operation &op : activation.front())
    if (std::optional<double> number = getNumber(&op))
      constants.push_back(*number);
  std::string text = matchSwiGLU(values, constants);
  return text.empty() ? "custom" : text;
}
