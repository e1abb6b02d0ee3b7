//===- ContribExperts.cpp - what nodes MoE and QMoE say -------------------===//

#include "lib/Analysis/ContribExperts.h"
#include "dialects/ONNX/ONNXDialect.h"
#include "mlir/IR/BuiltinAttributes.h"
#include "mlir/IR/BuiltinTypes.h"
#include "mlir/IR/TypeUtilities.h"
#include "llvm/ADT/StringSwitch.h"

using namespace mlir;
using namespace moe;

namespace {

/// Reads one node; the first thing that is not accepted ends it.
class Reader {
public:
  Reader(Operation *op, std::string &why) : op(op), why(why) {}

  bool read(ContribExperts &experts);

private:
  bool refuse(const Twine &text) {
    why = text.str();
    return false;
  }
  Value get(unsigned place) { return onnx::getFormalOperand(op, place); }
  int64_t getInt(StringRef name, int64_t otherwise) {
    auto attr = op->getAttrOfType<IntegerAttr>(name);
    return attr ? attr.getInt() : otherwise;
  }
  double getReal(StringRef name, double otherwise) {
    auto attr = op->getAttrOfType<FloatAttr>(name);
    return attr ? attr.getValueAsDouble() : otherwise;
  }
  StringRef getText(StringRef name, StringRef otherwise) {
    auto attr = op->getAttrOfType<StringAttr>(name);
    return attr ? attr.getValue() : otherwise;
  }

  bool readBanks(ContribExperts &experts);
  bool readCodes(ContribExperts &experts);
  bool readRouting(ContribExperts &experts);
  bool readActivation(ContribExperts &experts);
  bool checkTypes();

  Operation *op;
  std::string &why;
};

bool Reader::readBanks(ContribExperts &experts) {
  experts.input = get(0);
  experts.logits = get(1);
  experts.quantised = op->getName().getStringRef() == "onnx_ms.QMoE";
  if (!experts.quantised) {
    experts.fc1 = {get(2), {}, {}, get(3)};
    experts.fc2 = {get(4), {}, {}, get(5)};
    experts.fc3 = {get(6), {}, {}, get(7)};
  } else {
    experts.fc1 = {get(2), get(3), get(11), get(4)};
    experts.fc2 = {get(5), get(6), get(12), get(7)};
    experts.fc3 = {get(8), get(9), get(13), get(10)};
    experts.mix = get(14);
  }
  if (!experts.fc3 &&
      (experts.fc3.bias || experts.fc3.scales || experts.fc3.zeroPoints))
    return refuse("a bias, scales or zero points of fc3 without "
                  "fc3_experts_weights; they are accepted together");
  return !experts.quantised || readCodes(experts);
}

/// What QMoE says of its codes.
bool Reader::readCodes(ContribExperts &experts) {
  StringRef kind = getText("quant_type", "int");
  if (kind != "int")
    return refuse("quant_type = \"" + kind + "\"; \"int\" is accepted");
  if (int64_t prepacked = getInt("weights_prepacked", -1);
      prepacked != 0 && prepacked != -1)
    return refuse("weights_prepacked = " + Twine(prepacked) +
                  ", a layout of one device; 0 and -1 (rows as the schema has "
                  "them) are accepted");
  for (auto [place, name] :
       {std::pair<unsigned, StringRef>{15, "fc1_global_scale"},
        {16, "fc2_global_scale"},
        {17, "fc1_act_scale"},
        {18, "fc2_act_scale"},
        {19, "fc1_act_block_scale"},
        {20, "fc2_act_block_scale"}})
    if (get(place))
      return refuse("operand '" + name +
                    "'; scales of rows or blocks of weights are accepted");
  int64_t common = getInt("expert_weight_bits", 4);
  int64_t first = getInt("fc1_expert_weight_bits", common);
  experts.fc1.bits = first;
  experts.fc2.bits = getInt("fc2_expert_weight_bits", common);
  experts.fc3.bits = getInt("fc3_expert_weight_bits", common);
  if (int64_t block = getInt("block_size", 0); block > 0)
    experts.block = block;
  struct Named {
    StringRef name;
    const ContribExperts::Bank &bank;
  };
  for (auto [name, bank] :
       {Named{"fc1", experts.fc1}, Named{"fc2", experts.fc2},
        Named{"fc3", experts.fc3}}) {
    if (!bank)
      continue;
    if (bank.bits != 2 && bank.bits != 4 && bank.bits != 8)
      return refuse("weights of " + name + " in " + Twine(bank.bits) +
                    " bits; 2, 4 and 8 are accepted");
    if (!bank.scales)
      return refuse("no operand '" + name + "_scales'; it is needed");
    Type codes = getElementTypeOrSelf(bank.weights);
    if (!codes.isUnsignedInteger(8))
      return refuse("weights of " + name + " with elements of type " +
                    onnx::getDataTypeName(codes) + "; uint8 is accepted");
    Type scale = getElementTypeOrSelf(bank.scales);
    if (!scale.isF16() && !scale.isBF16() && !scale.isF32())
      return refuse("scales of " + name + " with elements of type " +
                    onnx::getDataTypeName(scale) +
                    "; float, float16 and bfloat16 are accepted");
    if (bank.zeroPoints &&
        !getElementTypeOrSelf(bank.zeroPoints).isUnsignedInteger(8))
      return refuse(
          "zero points of " + name + " with elements of type " +
          onnx::getDataTypeName(getElementTypeOrSelf(bank.zeroPoints)) +
          "; uint8 is accepted");
  }
  return true;
}

bool Reader::readRouting(ContribExperts &experts) {
  experts.k = getInt("k", 1);
  experts.normalise = getInt("normalize_routing_weights", 0) != 0;
  experts.sparseMixer = getInt("use_sparse_mixer", 0) != 0;
  if (experts.sparseMixer && experts.k != 2)
    return refuse("use_sparse_mixer = 1 with k = " + Twine(experts.k) +
                  "; k = 2 is accepted with it");
  if (experts.sparseMixer && experts.mix)
    return refuse("use_sparse_mixer = 1 with operand 'router_weights'; one of "
                  "them is accepted");
  return true;
}

bool Reader::readActivation(ContribExperts &experts) {
  StringRef name = getText("activation_type", "relu");
  auto kind = llvm::StringSwitch<std::optional<ContribActivation>>(name)
                  .Case("relu", ContribActivation::Relu)
                  .Case("gelu", ContribActivation::Gelu)
                  .Case("silu", ContribActivation::Silu)
                  .Case("identity", ContribActivation::Identity)
                  .Case("relu2", ContribActivation::Relu2)
                  .Case("swiglu", ContribActivation::SwiGLU)
                  .Case("geglu", ContribActivation::GeGLU)
                  .Default(std::nullopt);
  if (!kind)
    return refuse("activation_type = \"" + name +
                  "\"; relu, gelu, silu, identity, relu2, swiglu and geglu are "
                  "accepted");
  experts.activation = *kind;
  experts.alpha = getReal("activation_alpha", 1);
  experts.beta = getReal("activation_beta", 0);
  if (op->hasAttr("swiglu_limit"))
    experts.limit = getReal("swiglu_limit", 0);
  experts.limitAfter = getInt("swiglu_limit_after_activation", 0) != 0;

  // `swiglu_fusion` says something of the two gated activations only.
  int64_t fusion = getInt("swiglu_fusion", 0);
  bool isSwiGLU = *kind == ContribActivation::SwiGLU;
  bool isGeGLU = *kind == ContribActivation::GeGLU;
  if (!isSwiGLU && !isGeGLU) {
    if (experts.fc3)
      experts.fusion = ContribFusion::Separate;
    return true;
  }
  if (fusion < 0 || fusion > 2)
    return refuse("swiglu_fusion = " + Twine(fusion) +
                  "; 0, 1 and 2 are accepted");
  if (fusion == 0) {
    if (isGeGLU)
      return refuse("activation_type = \"geglu\" with swiglu_fusion = 0; 1 and "
                    "2 (gates and ups in fc1) are accepted with it");
    if (!experts.fc3)
      return refuse("activation_type = \"swiglu\" with swiglu_fusion = 0 and "
                    "without fc3_experts_weights; it is needed there");
    experts.fusion = ContribFusion::Separate;
    return true;
  }
  if (experts.fc3)
    return refuse("fc3_experts_weights with swiglu_fusion = " + Twine(fusion) +
                  "; swiglu_fusion = 0 is accepted with it");
  experts.fusion =
      fusion == 1 ? ContribFusion::Interleave : ContribFusion::Concat;
  return true;
}

/// Ops of `moe` are ranked tensors.
bool Reader::checkTypes() {
  for (auto [i, value] : llvm::enumerate(op->getOperands()))
    if (!isa<RankedTensorType>(value.getType()))
      return refuse("operand #" + Twine(i) +
                    " of unknown rank; operands whose "
                    "rank is known (onnx-infer-shapes) are accepted");
  if (!isa<RankedTensorType>(op->getResult(0).getType()))
    return refuse("a result of unknown rank; one whose rank is known "
                  "(onnx-infer-shapes) is accepted");
  return true;
}

bool Reader::read(ContribExperts &experts) {
  return readBanks(experts) && readRouting(experts) &&
         readActivation(experts) && checkTypes();
}

} // namespace

std::optional<ContribExperts> ContribExperts::read(Operation *op,
                                                   std::string &why) {
  ContribExperts experts;
  if (!Reader(op, why).read(experts))
    return std::nullopt;
  return experts;
}
