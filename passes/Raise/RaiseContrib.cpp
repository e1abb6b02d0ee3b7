//===- RaiseContrib.cpp - com.microsoft's MoE and QMoE as moe ops ---------===//

#include "lib/Analysis/ContribExperts.h"
#include "mlir/IR/PatternMatch.h"
#include "mlir/IR/Remarks.h"
#include "passes/Raise/Activations.h"
#include "passes/Raise/Nodes.h"
#include "passes/Raise/Passes.h"

namespace moe {
#define GEN_PASS_DEF_RAISECONTRIB
#include "passes/Raise/Passes.h.inc"
} // namespace moe

using namespace mlir;
using namespace moe;

namespace {

/// Writes the moe ops of one node.
class Raiser {
public:
  Raiser(RewriterBase &rewriter, Operation *op, const ContribExperts &experts)
      : b(rewriter), op(op), loc(op->getLoc()), nodes(rewriter, loc),
        experts(experts) {}

  void raise();

private:
  Value flattenTokens();
  ir::RouteOp createRoute(Value tokens);
  ir::RoutingAttr getRouting();
  Value createBank(const ContribExperts::Bank &bank);
  NamedActivation getActivation();

  RewriterBase &b;
  Operation *op;
  Location loc;
  NodeBuilder nodes;
  const ContribExperts &experts;
};

/// [batch, sequence, H] as [tokens, H].
Value Raiser::flattenTokens() {
  auto type = cast<RankedTensorType>(experts.input.getType());
  if (type.getRank() == 2)
    return experts.input;
  int64_t tokens = ShapedType::kDynamic;
  if (!type.isDynamicDim(0) && !type.isDynamicDim(1))
    tokens = type.getDimSize(0) * type.getDimSize(1);
  auto flat = RankedTensorType::get({tokens, type.getDimSize(2)},
                                    type.getElementType());
  return nodes.create("onnx.Flatten", experts.input, flat,
                      b.getNamedAttr("axis", b.getI64IntegerAttr(2)));
}

ir::RoutingAttr Raiser::getRouting() {
  ir::Score score = ir::Score::Softmax;
  ir::ScoreOn on = ir::ScoreOn::All;
  ir::Norm norm = experts.normalise ? ir::Norm::Sum : ir::Norm::None;
  ir::Tie tie = ir::Tie::Highest;
  double jitter = 0, eps = 0;
  if (experts.sparseMixer) {
    score = ir::Score::SparseMixer;
    norm = ir::Norm::None;
    tie = ir::Tie::Lowest;
    jitter = kSparseMixerJitter;
  } else if (experts.mix) {
    score = ir::Score::Identity;
    // Tokens without a weight at all (padding) are 0 and not 0 / 0.
    if (experts.normalise)
      eps = 1e-20;
  } else if (experts.quantised) {
    on = ir::ScoreOn::Selected;
    norm = ir::Norm::None;
  }
  APFloat zero(0.0), one(1.0);
  return ir::RoutingAttr::get(
      b.getContext(), experts.k, /*ranks=*/{}, score, on, ir::Select::ByScore,
      /*groups=*/{}, norm, APFloat(eps), /*p=*/one, /*scale=*/one,
      /*k_div=*/false, /*softcap=*/zero, /*logit_mult=*/one,
      /*logit_std=*/zero, APFloat(jitter), /*min_ratio=*/zero, /*top_p=*/one,
      /*min_prob=*/zero, /*null_before_norm=*/{}, tie);
}

ir::RouteOp Raiser::createRoute(Value x) {
  int64_t tokens = getExtent(experts.logits, 0);
  if (ShapedType::isDynamic(tokens))
    tokens = getExtent(x, 0);
  SmallVector<int64_t> shape{tokens, experts.k};
  return ir::RouteOp::create(
      b, loc, RankedTensorType::get(shape, b.getI32Type()),
      RankedTensorType::get(shape, b.getF32Type()), experts.logits,
      /*select_bias=*/Value(), /*expert_scale=*/Value(), experts.mix,
      /*forced=*/Value(), /*valid=*/Value(), getRouting());
}

/// A bank as floats, [experts, out, in].
Value Raiser::createBank(const ContribExperts::Bank &bank) {
  if (!bank || bank.bits == 0)
    return bank.weights;
  auto packed = cast<RankedTensorType>(bank.weights.getType());
  SmallVector<int64_t> shape(packed.getShape());
  if (!packed.isDynamicDim(2))
    shape[2] = shape[2] * 8 / bank.bits;
  IntegerAttr block;
  if (experts.block)
    block = b.getI64IntegerAttr(*experts.block);
  return ir::DequantizeOp::create(
      b, loc, RankedTensorType::get(shape, b.getF32Type()), bank.weights,
      bank.scales, bank.zeroPoints, b.getI64IntegerAttr(bank.bits), block);
}

NamedActivation Raiser::getActivation() {
  NamedActivation named;
  named.kind = experts.activation;
  named.gated = experts.fusion != ContribFusion::None;
  if (named.kind == ContribActivation::SwiGLU) {
    named.alpha = experts.alpha;
    named.beta = experts.beta;
    named.limit = experts.limit;
    named.limitAfter = experts.limitAfter;
  }
  return named;
}

void Raiser::raise() {
  b.setInsertionPoint(op);
  Value x = flattenTokens();
  ir::RouteOp route = createRoute(x);
  Value gate = createBank(experts.fc1), up = createBank(experts.fc3);
  Value down = createBank(experts.fc2);

  static constexpr ir::GateUp forms[] = {ir::GateUp::None, ir::GateUp::Separate,
                                         ir::GateUp::Interleave,
                                         ir::GateUp::Concat};
  auto form = ir::GateUpAttr::get(b.getContext(),
                                  forms[static_cast<unsigned>(experts.fusion)]);
  auto out = cast<RankedTensorType>(op->getResult(0).getType());
  auto inType = cast<RankedTensorType>(x.getType());
  Type flat = out.getRank() == 2
                  ? out
                  : RankedTensorType::get({inType.getDimSize(0),
                                           getExtent(experts.fc2.weights, 1)},
                                          inType.getElementType());
  auto layer = ir::ExpertsOp::create(
      b, loc, flat, x, route.getIds(), route.getWeights(), gate, up, down,
      experts.fc1.bias, experts.fc3.bias, experts.fc2.bias, form,
      ir::BankLayoutAttr::get(b.getContext(), ir::BankLayout::OI),
      ir::ScaleAtAttr::get(b.getContext(), ir::ScaleAt::Output),
      b.getF64FloatAttr(1.0), /*logical=*/IntegerAttr());
  buildActivation(layer.getActivation(), loc, getActivation());

  Value result = layer.getY();
  if (out.getRank() != 2) {
    auto extents = RankedTensorType::get({out.getRank()}, b.getI64Type());
    Value shape = nodes.create("onnx.Shape", experts.input, extents);
    result = nodes.reshape(result, shape, out);
  }
  // The result keeps its names.
  for (StringRef name :
       {StringRef(onnx::names::kOutputs), StringRef(onnx::names::kDims)})
    if (Attribute attr = op->getDiscardableAttr(name))
      result.getDefiningOp()->setDiscardableAttr(name, attr);
  b.replaceOp(op, result);
}

struct RaiseContrib : public moe::impl::RaiseContribBase<RaiseContrib> {
  void runOnOperation() override {
    SmallVector<Operation *> nodes;
    getOperation().walk([&](Operation *op) {
      StringRef name = op->getName().getStringRef();
      if (name == "onnx_ms.MoE" || name == "onnx_ms.QMoE")
        nodes.push_back(op);
    });
    IRRewriter rewriter(&getContext());
    for (Operation *op : nodes) {
      std::string why;
      std::optional<ContribExperts> experts = ContribExperts::read(op, why);
      if (!experts) {
        remark::missed(
            op->getLoc(),
            remark::RemarkOpts::name(getArgument()).category("raise"))
            << (op->getName().getStringRef() + " has " + why).str();
        ++numDeclined;
        continue;
      }
      Raiser(rewriter, op, *experts).raise();
      ++numRaised;
    }
  }
};

} // namespace
