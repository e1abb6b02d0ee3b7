//===- MoEExperts.cpp - rules of the ops that run experts -----------------===//

#include "dialects/MoE/MoEDialect.h"
#include "dialects/MoE/MoEVerify.h"
#include "dialects/ONNX/ONNXDialect.h"
#include "mlir/IR/TypeUtilities.h"
#include "llvm/ADT/StringSet.h"

using namespace mlir;
using namespace moe::ir;

/// ids and weights of slots against each other and the tokens.
static LogicalResult checkSlots(Operation *op, Value x, Value ids,
                                Value weights) {
  ExtentCheck check(op);
  int64_t tokens = getExtent(x, 0);
  if (failed(check("ids", ids, 0, tokens, "tokens of 'x'")) ||
      failed(check("weights", weights, 0, known(tokens, getExtent(ids, 0)),
                   "tokens of 'x' and 'ids'")) ||
      failed(check("weights", weights, 1, getExtent(ids, 1), "slots of 'ids'")))
    return failure();
  return success();
}

//===----------------------------------------------------------------------===//
// moe.experts
//===----------------------------------------------------------------------===//

static int64_t orMinusOne(int64_t extent) {
  return ShapedType::isDynamic(extent) ? -1 : extent;
}

int64_t ExpertsOp::getNumExperts() {
  int64_t experts = known(getExtent(getGate(), 0), getExtent(getDown(), 0));
  return orMinusOne(experts);
}

int64_t ExpertsOp::getNumLogical() {
  return getLogical() ? static_cast<int64_t>(*getLogical()) : getNumExperts();
}

int64_t ExpertsOp::getInnerWidth() {
  int64_t inner = getExtent(getDown(), inputDim(getLayout()));
  if (!ShapedType::isDynamic(inner))
    return inner;
  int64_t width = getExtent(getGate(), outputDim(getLayout()));
  bool isJoined =
      getGateUp() == GateUp::Concat || getGateUp() == GateUp::Interleave;
  if (!ShapedType::isDynamic(width) && isJoined)
    width /= 2;
  return orMinusOne(width);
}

LogicalResult ExpertsOp::verify() {
  if (!getIds() != !getWeights())
    return emitOpError() << "has " << (getIds() ? "'ids'" : "'weights'")
                         << " without " << (getIds() ? "'weights'" : "'ids'")
                         << "; both or none are accepted";
  auto type = [](Value value) {
    return value ? cast<RankedTensorType>(value.getType()) : RankedTensorType();
  };
  FeedForwardTypes types{type(getGate()),   type(getUp()),
                         type(getDown()),   type(getGateBias()),
                         type(getUpBias()), type(getDownBias()),
                         getGateUp(),       getLayout()};
  if (failed(
          checkFeedForward(*this, types, getExtent(getX(), 1), "width of 'x'")))
    return failure();
  int64_t experts = getExtent(getGate(), 0);
  ExtentCheck check(*this);
  if (failed(check("y", getY(), 0, getExtent(getX(), 0), "tokens of 'x'")) ||
      failed(check("y", getY(), 1, getExtent(getDown(), outputDim(getLayout())),
                   "width of 'down'")))
    return failure();
  if (getElementTypeOrSelf(getX()) != getElementTypeOrSelf(getY()))
    return emitOpError() << "gives elements of type "
                         << getElementTypeOrSelf(getY())
                         << " for tokens of type "
                         << getElementTypeOrSelf(getX())
                         << "; the type of the tokens is accepted";
  if (!getInScale().isFinite())
    return emitOpError() << "in_scale is " << getInScaleAttr()
                         << "; finite numbers are accepted";

  if (!getIds()) {
    if (differ(experts, 1))
      return emitOpError() << "has no 'ids' for a bank of " << experts
                           << " experts; a bank of 1 is accepted without them";
    if (getLogical())
      return emitOpError() << "has logical = " << *getLogical()
                           << " without 'ids'; it is accepted with them only";
    if (getScaleAt() == ScaleAt::Input)
      return emitOpError() << "has scale_at = input without 'weights'; it is "
                              "accepted with them only";
    return success();
  }
  if (getLogical() && *getLogical() > kMostIds)
    return emitOpError() << "has logical = " << *getLogical()
                         << "; ids are i32: at most " << kMostIds
                         << " are accepted";
  if (getLogical() && !ShapedType::isDynamic(experts) &&
      static_cast<int64_t>(*getLogical()) < experts)
    return emitOpError() << "has logical = " << *getLogical()
                         << " for a bank of " << experts << " experts; "
                         << experts << " or more are accepted";
  if (failed(checkSlots(*this, getX(), getIds(), getWeights())))
    return failure();
  int64_t logical = getNumLogical();
  return checkConstantIds(*this, "ids", getIds(), -1,
                          logical < 0 ? ShapedType::kDynamic : logical);
}

/// Operators that compute each element from the same element of their operands.
static bool isElementwise(Operation *op) {
  static const llvm::StringSet<> names = {"Abs",         "Acos",
                                          "Acosh",       "Add",
                                          "And",         "Asin",
                                          "Asinh",       "Atan",
                                          "Atanh",       "Cast",
                                          "Ceil",        "Celu",
                                          "Clip",        "Cos",
                                          "Cosh",        "Div",
                                          "Elu",         "Equal",
                                          "Erf",         "Exp",
                                          "Floor",       "Gelu",
                                          "Greater",     "GreaterOrEqual",
                                          "HardSigmoid", "HardSwish",
                                          "Identity",    "IsInf",
                                          "IsNaN",       "LeakyRelu",
                                          "Less",        "LessOrEqual",
                                          "Log",         "Max",
                                          "Mean",        "Min",
                                          "Mish",        "Mod",
                                          "Mul",         "Neg",
                                          "Not",         "Or",
                                          "PRelu",       "Pow",
                                          "Reciprocal",  "Relu",
                                          "Round",       "Selu",
                                          "Shrink",      "Sigmoid",
                                          "Sign",        "Sin",
                                          "Sinh",        "Softplus",
                                          "Softsign",    "Sqrt",
                                          "Sub",         "Sum",
                                          "Swish",       "Tan",
                                          "Tanh",        "ThresholdedRelu",
                                          "Where",       "Xor"};
  StringRef name = op->getName().getStringRef();
  return name.consume_front("onnx.") && names.contains(name);
}

LogicalResult ExpertsOp::verifyRegions() {
  Block &body = getActivation().front();
  unsigned expected = isGated() ? 2 : 1;
  auto scalar = RankedTensorType::get({}, Float32Type::get(getContext()));
  if (body.getNumArguments() != expected)
    return emitOpError() << "activation has " << body.getNumArguments()
                         << " arguments; " << expected
                         << " are accepted with gate_up = "
                         << stringifyGateUp(getGateUp());
  for (BlockArgument argument : body.getArguments())
    if (argument.getType() != scalar)
      return emitOpError() << "activation has an argument of type "
                           << argument.getType() << "; " << scalar
                           << " is accepted";
  for (Operation &op : body.without_terminator()) {
    if (!op.hasTrait<OpTrait::ConstantLike>() && !isElementwise(&op)) {
      InFlightDiagnostic diagnostic =
          emitOpError("activation holds '")
          << op.getName() << "'; elementwise onnx operators are accepted";
      diagnostic.attachNote(op.getLoc()) << "it is here";
      return diagnostic;
    }
    for (Type type : op.getResultTypes()) {
      auto ranked = dyn_cast<RankedTensorType>(type);
      if (ranked && ranked.getRank() == 0)
        continue;
      InFlightDiagnostic diagnostic =
          emitOpError("activation computes a value of type ")
          << type << "; tensors of rank 0 are accepted";
      diagnostic.attachNote(op.getLoc()) << "'" << op.getName() << "' is here";
      return diagnostic;
    }
  }
  auto yield = body.empty() ? nullptr : dyn_cast<YieldOp>(body.back());
  if (!yield)
    return emitOpError("activation does not end in 'moe.yield'");
  if (yield.getNumOperands() != 1 || yield.getOperand(0).getType() != scalar) {
    InFlightDiagnostic diagnostic = emitOpError("activation yields ");
    if (yield.getNumOperands() == 1)
      diagnostic << "a value of type " << yield.getOperand(0).getType();
    else
      diagnostic << yield.getNumOperands() << " values";
    return diagnostic << "; one of type " << scalar << " is accepted";
  }
  return success();
}

//===----------------------------------------------------------------------===//
// moe.dequantize
//===----------------------------------------------------------------------===//

LogicalResult DequantizeOp::verify() {
  CodedBank bank{getPacked(),     getScales(),
                 getZeroPoints(), static_cast<int64_t>(getBits()),
                 std::nullopt,    "packed",
                 "scales",        "zero_points",
                 "the result"};
  if (getBlock())
    bank.block = *getBlock();
  return checkCodes(*this, bank, getExtent(getResult(), 0),
                    getExtent(getResult(), 1), getExtent(getResult(), 2));
}

//===----------------------------------------------------------------------===//
// moe.trivial_experts
//===----------------------------------------------------------------------===//

LogicalResult TrivialExpertsOp::verify() {
  if (getKinds().empty())
    return emitOpError("names no kinds; at least one is accepted");
  int64_t count = getKinds().size();
  if (static_cast<int64_t>(getFirst()) > kMostIds - count)
    return emitOpError() << "has first = " << getFirst() << " for " << count
                         << " kinds; ids are i32: at most " << kMostIds - count
                         << " is accepted";
  int64_t constants = llvm::count_if(getKinds(), [](Attribute kind) {
    return cast<TrivialKindAttr>(kind).getValue() == TrivialKind::Constant;
  });
  for (auto [name, value] :
       {std::pair<StringRef, Value>("constants", getConstants()),
        {"mixers", getMixers()}})
    if (bool(value) != (constants > 0))
      return emitOpError() << "has " << constants << " experts of kind "
                           << "'constant' and " << (value ? "" : "no ") << "'"
                           << name << "'; a row of it for each of them is "
                           << "accepted";
  ExtentCheck check(*this);
  int64_t model = getExtent(getX(), 1);
  StringRef ofN = "experts of kind 'constant'", ofH = "width of 'x'";
  if (failed(check("constants", getConstants(), 0, constants, ofN)) ||
      failed(check("constants", getConstants(), 1, model, ofH)) ||
      failed(check("mixers", getMixers(), 0, constants, ofN)) ||
      failed(check("mixers", getMixers(), 1, 2, "one row for each share")) ||
      failed(check("mixers", getMixers(), 2, model, ofH)))
    return failure();
  if (!getInScale().isFinite())
    return emitOpError() << "in_scale is " << getInScaleAttr()
                         << "; finite numbers are accepted";
  return checkSlots(*this, getX(), getIds(), getWeights());
}

//===----------------------------------------------------------------------===//
// moe.mix
//===----------------------------------------------------------------------===//

LogicalResult MixOp::verify() {
  auto coefficients = cast<RankedTensorType>(getCoefficients().getType());
  auto bank = cast<RankedTensorType>(getBank().getType());
  auto result = cast<RankedTensorType>(getResult().getType());
  bool isSelection = coefficients.getElementType().isInteger();
  if (coefficients.getRank() < 1)
    return emitOpError("has coefficients of rank 0; rank 1 or more is "
                       "accepted");
  if (bank.getRank() < 1)
    return emitOpError("has a bank of rank 0; rank 1 or more is accepted");
  if (result.getElementType() != bank.getElementType())
    return emitOpError() << "gives elements of type " << result.getElementType()
                         << " of a bank of " << bank.getElementType()
                         << "; the type of the bank is accepted";
  ExtentCheck check(*this);
  if (!isSelection && failed(check("coefficients", getCoefficients(),
                                   coefficients.getRank() - 1,
                                   bank.getDimSize(0), "entries of the bank")))
    return failure();
  ArrayRef<int64_t> leading = coefficients.getShape();
  if (!isSelection)
    leading = leading.drop_back();
  SmallVector<int64_t> shape(leading);
  llvm::append_range(shape, bank.getShape().drop_front());
  if (result.getRank() != static_cast<int64_t>(shape.size()))
    return emitOpError() << "gives rank " << result.getRank()
                         << "; coefficients of rank " << coefficients.getRank()
                         << " and a bank of rank " << bank.getRank()
                         << " give rank " << shape.size();
  for (auto [i, extent] : llvm::enumerate(shape))
    if (failed(check("result", getResult(), i, extent,
                     i < leading.size() ? "coefficients" : "bank")))
      return failure();
  if (isSelection)
    return checkConstantIds(*this, "coefficients", getCoefficients(), 0,
                            bank.getDimSize(0));
  return success();
}

//===----------------------------------------------------------------------===//
// moe.switch
//===----------------------------------------------------------------------===//

/// Inference may know more of what a branch gives than of the result.
static bool isCompatible(Type yielded, Type result) {
  auto a = dyn_cast<RankedTensorType>(yielded);
  auto b = cast<RankedTensorType>(result);
  return a && a.getElementType() == b.getElementType() &&
         succeeded(verifyCompatibleShape(a, b));
}

LogicalResult SwitchOp::verify() {
  int64_t count = getBranches().size();
  if (count == 0)
    return emitOpError("has no region; at least one is accepted");
  for (auto [number, region] : llvm::enumerate(getBranches())) {
    Block &block = region.front();
    if (block.getNumArguments() != 0)
      return emitOpError() << "region " << number << " has "
                           << block.getNumArguments()
                           << " arguments; none is accepted, regions use "
                              "values from outside";
    auto yield = block.empty() ? nullptr : dyn_cast<YieldOp>(block.back());
    if (!yield)
      return emitOpError() << "region " << number
                           << " does not end in 'moe.yield'";
    if (yield.getNumOperands() != getNumResults())
      return emitOpError() << "region " << number << " yields "
                           << yield.getNumOperands() << " values; "
                           << getNumResults()
                           << " are accepted, one for each result";
    for (auto [i, types] :
         llvm::enumerate(llvm::zip(yield.getOperandTypes(), getResultTypes())))
      if (auto [yielded, result] = types; !isCompatible(yielded, result))
        return emitOpError() << "region " << number << " yields a value of "
                             << "type " << yielded << " for result " << i
                             << " of type " << result;
  }
  return checkConstantIds(*this, "index", getIndex(), 0, count);
}
