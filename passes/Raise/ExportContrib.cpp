//===- ExportContrib.cpp - moe ops as com.microsoft's MoE and QMoE --------===//

#include "lib/Analysis/ContribExperts.h"
#include "lib/Analysis/ShapeInference.h"
#include "mlir/IR/PatternMatch.h"
#include "mlir/IR/Remarks.h"
#include "mlir/IR/TypeUtilities.h"
#include "passes/Raise/Activations.h"
#include "passes/Raise/Nodes.h"
#include "passes/Raise/Passes.h"
#include <numeric>

namespace moe {
#define GEN_PASS_DEF_EXPORTCONTRIB
#include "passes/Raise/Passes.h.inc"
} // namespace moe

using namespace mlir;
using namespace moe;

namespace {

struct Settings {
  bool logWeights, anyTie, interleave, sparseMixer;
};

/// How the operator gets its routing.
enum class Form {
  Softmax, ///< of the logits, as it has it
  Mix,     ///< selected by logits, weights gathered from another matrix
  Weights, ///< the outcome of `moe.route`
};

/// One `moe.experts`, written as a node if it can be.
class Exporter {
public:
  Exporter(RewriterBase &rewriter, ir::ExpertsOp experts,
           const Settings &settings)
      : b(rewriter), experts(experts), loc(experts.getLoc()),
        nodes(rewriter, loc), settings(settings), f32(rewriter.getF32Type()) {}

  /// False, with the reason in `why`, if the op stays.
  bool run(std::string &why);

private:
  bool refuse(std::string &why, const Twine &text) {
    why = text.str();
    return false;
  }
  bool readBanks(std::string &why);
  bool readActivation(std::string &why);
  bool readRouting(std::string &why);
  bool fitsDirectly(std::string &why);

  Value createNode(StringRef name, ArrayRef<Value> operands, Type element,
                   ArrayRef<NamedAttribute> attrs = {}, Type type = {});
  Value create(StringRef name, ArrayRef<Value> operands,
               ArrayRef<NamedAttribute> attrs = {}) {
    return createNode(name, operands, getElementTypeOrSelf(operands[0]), attrs);
  }
  Value ints(ArrayRef<int64_t> values) {
    return constant(b.getI64TensorAttr(values));
  }
  Value constant(DenseElementsAttr value) {
    return createNode("onnx.Constant", {}, value.getElementType(),
                      b.getNamedAttr("value", value), value.getType());
  }
  Value real(double value, Type element) {
    return constant(DenseElementsAttr::get(RankedTensorType::get({}, element),
                                           b.getFloatAttr(element, value)));
  }
  NamedAttribute attr(StringRef name, int64_t value) {
    return b.getNamedAttr(name, b.getI64IntegerAttr(value));
  }
  Value cast(Value value, Type element) {
    if (getElementTypeOrSelf(value) == element)
      return value;
    return createNode("onnx.Cast", value, element,
                      attr("to", onnx::getDataType(element)));
  }
  /// A bank with outputs as rows.
  Value rows(Value bank) {
    if (!bank || experts.getLayout() == ir::BankLayout::OI)
      return bank;
    return createNode(
        "onnx.Transpose", bank, getElementTypeOrSelf(bank),
        b.getNamedAttr("perm", b.getDenseI64ArrayAttr({0, 2, 1})));
  }
  void interleaveBanks();
  Value interleaveRows(Value gate, Value up);
  Value denseWeights();
  Value createOperator();

  RewriterBase &b;
  ir::ExpertsOp experts;
  Location loc;
  NodeBuilder nodes;
  Settings settings;
  Type f32;

  ir::RouteOp route;
  NamedActivation activation;
  ir::GateUp fused = ir::GateUp::None;
  Value gate, up, down, gateBias, upBias;
  ir::DequantizeOp gateCodes, upCodes, downCodes;
  bool quantised = false;
  Form form = Form::Softmax;
  bool normalise = false, sparseMixer = false;
  Value logits, mix;
};

Value Exporter::createNode(StringRef name, ArrayRef<Value> operands,
                           Type element, ArrayRef<NamedAttribute> attrs,
                           Type type) {
  if (!type)
    type = UnrankedTensorType::get(element);
  // The operator itself keeps the name.
  return nodes.create(name, operands, type, attrs,
                      /*isMain=*/name.starts_with("onnx_ms."));
}

//===----------------------------------------------------------------------===//
// What fits
//===----------------------------------------------------------------------===//

bool Exporter::readBanks(std::string &why) {
  if (!experts.getIds())
    return refuse(why, "no routing; experts that tokens pick are accepted");
  if (experts.getScaleAt() != ir::ScaleAt::Output)
    return refuse(why, "scale_at = input; scale_at = output is accepted");
  if (!experts.getInScale().isExactlyValue(1.0))
    return refuse(why, "an in_scale other than 1; 1.0 is accepted");
  int64_t bank = experts.getNumExperts(), logical = experts.getNumLogical();
  if (bank < 0 || bank != logical)
    return refuse(why, "a bank of " + Twine(bank) + " experts for " +
                           Twine(logical) +
                           " that routing knows; equal numbers are accepted");
  auto in = mlir::cast<RankedTensorType>(experts.getX().getType());
  bool isOI = experts.getLayout() == ir::BankLayout::OI;
  int64_t width = getExtent(experts.getGate(), isOI ? 2 : 1);
  int64_t result = getExtent(experts.getDown(), isOI ? 1 : 2);
  if (ShapedType::isDynamic(width) || width != result)
    return refuse(why, "banks that give another width than the tokens have; "
                       "equal static widths are accepted");
  if (in.getElementType().isF64())
    return refuse(why, "tokens of type double; float, float16 and bfloat16 are "
                       "accepted");
  gate = experts.getGate();
  up = experts.getUp();
  down = experts.getDown();
  gateBias = experts.getGateBias();
  upBias = experts.getUpBias();
  fused = experts.getGateUp();

  gateCodes = gate.getDefiningOp<ir::DequantizeOp>();
  downCodes = down.getDefiningOp<ir::DequantizeOp>();
  upCodes = up ? up.getDefiningOp<ir::DequantizeOp>() : ir::DequantizeOp();
  quantised = gateCodes && downCodes && (!up || upCodes);
  if (!quantised && (gateCodes || downCodes || upCodes))
    return refuse(why, "banks of which only some are moe.dequantize; all or "
                       "none are accepted");
  for (Value value : {gateBias, upBias, Value(experts.getDownBias())})
    if (value && getElementTypeOrSelf(value) != in.getElementType())
      return refuse(why, "biases of another type than the tokens; the same "
                         "type is accepted");
  if (quantised) {
    if (experts.getLayout() != ir::BankLayout::OI)
      return refuse(why, "coded banks with layout = io; oi is accepted");
    std::optional<int64_t> block;
    if (gateCodes.getBlock())
      block = *gateCodes.getBlock();
    for (ir::DequantizeOp codes : {gateCodes, downCodes, upCodes}) {
      if (!codes)
        continue;
      if (codes.getBlock() != gateCodes.getBlock())
        return refuse(why, "banks with blocks of different sizes; one size is "
                           "accepted");
      int64_t columns = getExtent(codes.getResult(), 2);
      if (block && (*block < 16 || !llvm::isPowerOf2_64(*block) ||
                    ShapedType::isDynamic(columns) || columns % *block != 0))
        return refuse(why, "blocks of " + Twine(*block) +
                               " codes; powers of two from 16 on that divide "
                               "the columns of all banks are accepted");
      if (getElementTypeOrSelf(codes.getScales()).isF64())
        return refuse(why, "scales of type double; float, float16 and bfloat16 "
                           "are accepted");
    }
    return true;
  }
  for (Value value : {gate, up, down})
    if (value && getElementTypeOrSelf(value) != in.getElementType())
      return refuse(why, "banks of another type than the tokens; the same type "
                         "is accepted");
  return true;
}

bool Exporter::readActivation(std::string &why) {
  std::optional<NamedActivation> named =
      recogniseActivation(experts.getActivation());
  if (!named)
    return refuse(why, "an activation without a name; relu, gelu (tanh), silu, "
                       "identity, relu2, swiglu and geglu are accepted");
  activation = *named;
  bool hasFusedName = activation.kind == ContribActivation::SwiGLU ||
                      activation.kind == ContribActivation::GeGLU;
  if (activation.gated && fused != ir::GateUp::Separate && !hasFusedName)
    return refuse(why, "a gated activation other than swiglu and geglu on "
                       "fused projections; gate_up = separate is accepted "
                       "with it");
  return true;
}

/// Whether the operator selects and weighs as the routing says.
bool Exporter::fitsDirectly(std::string &why) {
  ir::RoutingAttr routing = route.getRouting();
  auto isNumber = [](const APFloat &value, double number) {
    return value.convertToDouble() == number;
  };
  if (route.getSelectBias() || route.getExpertScale() || route.getForced() ||
      route.getValid() || routing.getGroups() || !routing.getRanks().empty() ||
      !routing.getNullBeforeNorm().empty() || routing.getKDiv() ||
      !isNumber(routing.getScale(), 1) || !isNumber(routing.getSoftcap(), 0) ||
      !isNumber(routing.getLogitMult(), 1) ||
      !isNumber(routing.getLogitStd(), 0) ||
      !isNumber(routing.getMinRatio(), 0) || !isNumber(routing.getTopP(), 1) ||
      !isNumber(routing.getMinProb(), 0))
    return refuse(why, "a routing with more than scores, their sum and 'mix'");
  if (getElementTypeOrSelf(route.getLogits()) !=
      getElementTypeOrSelf(experts.getX()))
    return refuse(why, "logits of another type than the tokens; the same type "
                       "is accepted");
  if (routing.getScore() == ir::Score::SparseMixer) {
    if (!isNumber(routing.getJitter(), kSparseMixerJitter))
      return refuse(why, "a sparse mixer with another jitter than 0.01");
    if (route.getMix())
      return refuse(why, "a sparse mixer with 'mix'");
    // ONNX Runtime's CPU provider takes the attribute and ignores it.
    if (settings.logWeights || !settings.sparseMixer)
      return refuse(why, "a sparse mixer");
    sparseMixer = true;
    return true;
  }
  if (routing.getTie() != ir::Tie::Highest && !settings.anyTie)
    return refuse(why, "tie = lowest; tie = highest is accepted (any-tie=true "
                       "takes both)");
  double eps = routing.getEps().convertToDouble();
  bool sum = routing.getNorm() == ir::Norm::Sum;
  // An eps below the smallest f32 that sums can show.
  if ((!sum && routing.getNorm() != ir::Norm::None) || eps > 1e-20)
    return refuse(why, "a norm other than none and sum without eps");
  bool selected = routing.getScoreOn() == ir::ScoreOn::Selected;
  if (route.getMix()) {
    // Both scores keep the order of logits.
    if (!quantised || selected ||
        (routing.getScore() != ir::Score::Identity &&
         routing.getScore() != ir::Score::Softmax))
      return refuse(why, "weights from 'mix'; QMoE is accepted with them");
    if (getElementTypeOrSelf(route.getMix()) !=
        getElementTypeOrSelf(experts.getX()))
      return refuse(why, "'mix' of another type than the tokens; the same type "
                         "is accepted");
    form = Form::Mix;
    mix = route.getMix();
    normalise = sum;
    return true;
  }
  if (routing.getScore() != ir::Score::Softmax)
    return refuse(why, "a score other than softmax and sparsemixer");
  normalise = sum || selected;
  // QMoE always divides by the sum, unless it gets the weights.
  if (quantised && !normalise)
    form = Form::Mix;
  return true;
}

bool Exporter::readRouting(std::string &why) {
  route = experts.getIds().getDefiningOp<ir::RouteOp>();
  if (!route || experts.getIds() != route.getIds() ||
      experts.getWeights() != route.getWeights())
    return refuse(why, "ids or weights that are no result of one moe.route; "
                       "those of one are accepted");
  logits = route.getLogits();
  if (fitsDirectly(why))
    return true;
  if (!settings.logWeights) {
    why += " (log-weights=true writes such routings)";
    return false;
  }
  ir::RoutingAttr routing = route.getRouting();
  if (route.getMix() || route.getExpertScale() ||
      routing.getScore() == ir::Score::Identity ||
      routing.getScale().isNegative())
    return refuse(why, "a routing whose weights may be negative, which have no "
                       "logarithm");
  form = Form::Weights;
  normalise = false;
  return true;
}

//===----------------------------------------------------------------------===//
// Writing
//===----------------------------------------------------------------------===//

/// Rows of gates and ups ([E, I, ...] each, or one tensor of gates, then ups)
/// in turn.
Value Exporter::interleaveRows(Value first, Value second) {
  auto type = mlir::cast<RankedTensorType>(first.getType());
  SmallVector<int64_t> split(type.getShape()), merged(type.getShape());
  Value both;
  if (second) {
    // [E, I, 1, ...] twice, side by side.
    Value axis = ints({2});
    both = createNode("onnx.Concat",
                      {create("onnx.Unsqueeze", {first, axis}),
                       create("onnx.Unsqueeze", {second, axis})},
                      type.getElementType(), attr("axis", 2));
    merged[1] *= 2;
  } else {
    split[1] /= 2;
    split.insert(split.begin() + 1, 2);
    SmallVector<int64_t> perm(split.size());
    std::iota(perm.begin(), perm.end(), 0);
    std::swap(perm[1], perm[2]);
    both = create("onnx.Reshape", {first, ints(split)});
    both = create("onnx.Transpose", {both},
                  b.getNamedAttr("perm", b.getDenseI64ArrayAttr(perm)));
  }
  return createNode("onnx.Reshape", {both, ints(merged)}, type.getElementType(),
                    {}, type.clone(merged));
}

void Exporter::interleaveBanks() {
  auto isStatic = [](Value value) {
    return !value || mlir::cast<ShapedType>(value.getType()).hasStaticShape();
  };
  // Codes of rows are packed along them; theirs stay as they are.
  if (!settings.interleave || quantised || !activation.gated ||
      fused == ir::GateUp::Interleave ||
      experts.getLayout() != ir::BankLayout::OI ||
      activation.kind == ContribActivation::Relu ||
      activation.kind == ContribActivation::Relu2 ||
      activation.kind == ContribActivation::Identity || !isStatic(gate) ||
      !isStatic(up) || !isStatic(gateBias) || !isStatic(upBias))
    return;
  // A bias that only one of them has.
  if (up && bool(gateBias) != bool(upBias)) {
    auto type =
        mlir::cast<RankedTensorType>((gateBias ? gateBias : upBias).getType());
    Value zeros = constant(
        DenseElementsAttr::get(type, b.getFloatAttr(type.getElementType(), 0)));
    (gateBias ? upBias : gateBias) = zeros;
  }
  gate = interleaveRows(gate, up);
  if (gateBias)
    gateBias = interleaveRows(gateBias, upBias);
  up = upBias = Value();
  fused = ir::GateUp::Interleave;
}

/// [tokens, experts]: the weight of each expert, 0 where it is not selected.
Value Exporter::denseWeights() {
  SmallVector<int32_t> numbers(experts.getNumExperts());
  std::iota(numbers.begin(), numbers.end(), 0);
  Value each = constant(b.getI32TensorAttr(numbers));
  Value axis = ints({2});
  // Slots that are left out have id -1, which equals no expert's.
  Value isIt = createNode(
      "onnx.Equal", {create("onnx.Unsqueeze", {route.getIds(), axis}), each},
      b.getI1Type());
  Value weights = cast(route.getWeights(), f32);
  Value placed = createNode(
      "onnx.Where",
      {isIt, create("onnx.Unsqueeze", {weights, axis}), real(0, f32)}, f32);
  return create("onnx.ReduceSum", {placed, ints({1})}, attr("keepdims", 0));
}

Value Exporter::createOperator() {
  auto type = mlir::cast<RankedTensorType>(experts.getY().getType());
  Type element = type.getElementType();
  Value total;
  if (form == Form::Weights) {
    // What is far below every logarithm, in the type of the tokens.
    double lowest = element.isF16() ? -6e4 : -1e30;
    Value dense = denseWeights();
    Value isSelected =
        createNode("onnx.Greater", {dense, real(0, f32)}, b.getI1Type());
    Value score = real(0, f32);
    if (!quantised) {
      score = create("onnx.Log", {dense});
      total =
          create("onnx.ReduceSum", {cast(route.getWeights(), f32), ints({1})},
                 attr("keepdims", 1));
    } else {
      mix = cast(dense, element);
    }
    logits = cast(
        createNode("onnx.Where", {isSelected, score, real(lowest, f32)}, f32),
        element);
  } else if (form == Form::Mix && !mix) {
    mix = create("onnx.Softmax", {logits}, attr("axis", -1));
  }
  interleaveBanks();

  SmallVector<NamedAttribute> attrs;
  auto add = [&](StringRef name, Attribute value) {
    attrs.push_back(b.getNamedAttr(name, value));
  };
  auto integer = [&](int64_t value) { return b.getI64IntegerAttr(value); };
  bool isSwiGLU = activation.kind == ContribActivation::SwiGLU;
  bool isGeGLU = activation.kind == ContribActivation::GeGLU;
  StringRef name;
  switch (activation.kind) {
  case ContribActivation::Relu:
    name = "relu";
    break;
  case ContribActivation::Gelu:
    name = "gelu";
    break;
  case ContribActivation::Silu:
    name = "silu";
    break;
  case ContribActivation::Identity:
    name = "identity";
    break;
  case ContribActivation::Relu2:
    name = "relu2";
    break;
  case ContribActivation::SwiGLU:
    name = "swiglu";
    break;
  case ContribActivation::GeGLU:
    // geglu has no separate projections; gelu with fc3 says the same.
    name = fused == ir::GateUp::Separate ? "gelu" : "geglu";
    break;
  }
  add("activation_type", b.getStringAttr(name));
  add("k", integer(route.getRouting().getK()));
  add("normalize_routing_weights", integer(normalise));
  if (sparseMixer && form == Form::Softmax)
    add("use_sparse_mixer", integer(1));
  if ((isSwiGLU || isGeGLU) && fused != ir::GateUp::Separate)
    add("swiglu_fusion", integer(fused == ir::GateUp::Interleave ? 1 : 2));
  if (isSwiGLU) {
    add("activation_alpha", b.getF32FloatAttr(activation.alpha));
    add("activation_beta", b.getF32FloatAttr(activation.beta));
    if (activation.limit)
      add("swiglu_limit", b.getF32FloatAttr(*activation.limit));
    if (activation.limitAfter)
      add("swiglu_limit_after_activation", integer(1));
  }

  Value result, x = experts.getX(), downBias = experts.getDownBias();
  // The last step has the type of the op; infer-shapes knows the others.
  Type last = total ? Type(UnrankedTensorType::get(element)) : Type(type);
  if (quantised) {
    auto scales = [](ir::DequantizeOp codes) {
      return codes ? codes.getScales() : Value();
    };
    auto zeros = [](ir::DequantizeOp codes) {
      return codes ? codes.getZeroPoints() : Value();
    };
    auto packed = [](ir::DequantizeOp codes) {
      return codes ? codes.getPacked() : Value();
    };
    int64_t bits = gateCodes.getBits();
    add("expert_weight_bits", integer(bits));
    if (int64_t own = downCodes.getBits(); own != bits)
      add("fc2_expert_weight_bits", integer(own));
    if (upCodes && static_cast<int64_t>(upCodes.getBits()) != bits)
      add("fc3_expert_weight_bits", integer(upCodes.getBits()));
    if (gateCodes.getBlock())
      add("block_size", integer(*gateCodes.getBlock()));
    add("weights_prepacked", integer(0));
    result =
        createNode("onnx_ms.QMoE",
                   {x, logits, packed(gateCodes), scales(gateCodes), gateBias,
                    packed(downCodes), scales(downCodes), downBias,
                    packed(upCodes), scales(upCodes), upBias, zeros(gateCodes),
                    zeros(downCodes), zeros(upCodes), mix},
                   element, attrs, last);
  } else {
    result = createNode("onnx_ms.MoE",
                        {x, logits, rows(gate), gateBias, rows(down), downBias,
                         rows(up), upBias},
                        element, attrs, last);
  }
  if (total)
    result = createNode("onnx.Mul", {result, cast(total, element)}, element, {},
                        type);
  return result;
}

bool Exporter::run(std::string &why) {
  if (!readBanks(why) || !readActivation(why) || !readRouting(why))
    return false;
  b.setInsertionPoint(experts);
  Value result = createOperator();
  for (StringRef name :
       {StringRef(onnx::names::kOutputs), StringRef(onnx::names::kDims)})
    if (Attribute attr = experts->getDiscardableAttr(name))
      result.getDefiningOp()->setDiscardableAttr(name, attr);
  ir::DequantizeOp codes[] = {gateCodes, downCodes, upCodes};
  b.replaceOp(experts, result);
  if (route->use_empty())
    b.eraseOp(route);
  for (ir::DequantizeOp bank : codes)
    if (bank && bank->use_empty())
      b.eraseOp(bank);
  return true;
}

struct ExportContrib : public moe::impl::ExportContribBase<ExportContrib> {
  using ExportContribBase::ExportContribBase;

  void runOnOperation() override {
    SmallVector<ir::ExpertsOp> found;
    getOperation().walk([&](ir::ExpertsOp op) { found.push_back(op); });
    IRRewriter rewriter(&getContext());
    bool changed = false;
    for (ir::ExpertsOp op : found) {
      std::string why;
      Location loc = op.getLoc();
      if (Exporter(rewriter, op, {logWeights, anyTie, interleave, sparseMixer})
              .run(why)) {
        ++numExported;
        changed = true;
        continue;
      }
      remark::missed(loc,
                     remark::RemarkOpts::name(getArgument()).category("raise"))
          << "moe.experts has " + why;
      ++numDeclined;
    }
    if (!changed)
      return;
    ShapeInferenceStatistics statistics;
    if (failed(inferShapes(getOperation(), {}, statistics)))
      signalPassFailure();
  }
};

} // namespace
