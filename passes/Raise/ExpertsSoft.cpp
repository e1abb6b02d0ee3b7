//===- ExpertsSoft.cpp - experts whose rows are mixtures of tokens --------===//
//
// SoftMoE: each place of an expert is a mixture of all tokens, each result one
// of all places. That takes products with all tokens either way, which stay;
// the experts run on their places, whose ids are known.
//
//===----------------------------------------------------------------------===//

#include "dialects/MoE/MoEDialect.h"
#include "lib/Analysis/Dims.h"
#include "passes/Raise/Banks.h"
#include "passes/Raise/ExpertBuffers.h"
#include "passes/Raise/ExpertNodes.h"
#include "passes/Raise/Match.h"
#include "passes/Raise/QueueTerms.h"
#include "passes/Raise/RaiseExperts.h"

using namespace mlir;
using namespace moe;

namespace {

/// A layer whose places are mixtures of tokens; the anchor mixes the results.
class SoftLayer : LayerMatcher {
public:
  SoftLayer(Operation *anchor, RaiseContext &context)
      : LayerMatcher(anchor, context) {}
  bool raise(const TermProduct &combine, unsigned rows);

private:
  bool checkMixtures(Value combining, Value dispatching);
  bool buildExpertsOnPlaces();

  BufferExperts experts;
};

} // namespace

/// The axis along which a node of one axis works.
static std::optional<int64_t> softmaxAxis(Operation *softmax) {
  return match::getAxis(softmax, "axis", -1,
                        match::getRank(softmax->getOperand(0)));
}

/// The mixtures of one matrix of logits [.., T, Q]: softmax over Q, with which
/// results are combined, and over T, with which rows are.
bool SoftLayer::checkMixtures(Value combining, Value dispatching) {
  if (auto route = combining.getDefiningOp<ir::SoftRouteOp>())
    return (combining == route.getCombine() &&
            dispatching == route.getDispatch()) ||
           refuse(anchor, "rows and results are mixed by other logits");
  Operation *overPlaces = match::getNode(combining, "onnx.Softmax");
  Operation *overTokens = match::getNode(dispatching, "onnx.Softmax");
  if (!overPlaces || !overTokens)
    return refuse(anchor, "the experts' rows are no mixtures of tokens");
  Value given = overPlaces->getOperand(0), other = overTokens->getOperand(0);
  int64_t rank = match::getRank(given);
  std::optional<int64_t> places = softmaxAxis(overPlaces),
                         tokens = softmaxAxis(overTokens);
  View mine = View::of(given, dims), its = View::of(other, dims);
  auto declined = [&] {
    return refuse(overTokens, "rows and results are mixed by other logits");
  };
  if (!places || !tokens || rank < 2 || *places != rank - 1 ||
      mine.getBase() != its.getBase() || !mine.keepsOrder() ||
      !its.keepsOrder())
    return declined();
  // The places may be several axes in front of the softmax over tokens.
  if (*tokens != rank - 2 || match::getRank(other) < rank)
    return refuse(overTokens, "the logits are not mixed over the tokens");
  for (int64_t i = 0; i + 1 < rank; ++i)
    if (!sameExtent(given, i, other, i))
      return declined();
  return true;
}

/// Whether a value is what soft routers give.
static bool isMixture(Value value) {
  return value.getDefiningOp<ir::SoftRouteOp>() ||
         match::getNode(value, "onnx.Softmax");
}

/// Each row of the buffer is a token with one slot, whose expert is where it
/// stands.
bool SoftLayer::buildExpertsOnPlaces() {
  RewriterBase &b = context.getRewriter();
  Operation *at = experts.out.getDefiningOp();
  Operation *before = at->getPrevNode();
  b.setInsertionPoint(at);
  ExpertNodes nodes(b, anchor->getLoc());
  // [.., E, .., 1]: one for each row.
  auto type = cast<RankedTensorType>(experts.in.getType());
  SmallVector<int64_t> shape(type.getShape());
  shape.back() = 1;
  Type element = type.getElementType(), i64 = b.getI64Type();
  if (!element.isF64())
    element = b.getF32Type();
  int64_t rank = type.getRank();
  Value extents;
  if (ShapedType::isDynamicShape(shape)) {
    Value front = nodes.nodes.create(
        "onnx.Slice",
        {nodes.shapeOf(experts.in), nodes.ints({0}), nodes.ints({rank - 1})},
        RankedTensorType::get({rank - 1}, i64));
    extents =
        nodes.nodes.create("onnx.Concat", {front, nodes.ints({1})},
                           RankedTensorType::get({rank}, i64),
                           b.getNamedAttr("axis", b.getI64IntegerAttr(0)));
  } else {
    extents = nodes.ints(shape);
  }
  ExpertLayer layer;
  layer.tokens = experts.in;
  auto places = RankedTensorType::get(shape, element);
  layer.ids = nodes.indexAlong(extents, places, experts.expertAxis);
  auto scalar = RankedTensorType::get({}, element);
  Value one = nodes.constant(
      DenseElementsAttr::get(scalar, Attribute(b.getFloatAttr(element, 1))));
  layer.weights = nodes.nodes.create("onnx.Expand", {one, extents}, places);
  layer.experts = experts.experts;
  Value y = buildExperts(b, anchor->getLoc(), layer, refusal);
  SmallVector<RaiseCut> cuts{{experts.in}};
  if (y && replaceWithExperts(b, experts.out, y, {experts.in}, refusal, cuts))
    return true;
  eraseUnusedBetween(b, before, at);
  return false;
}

bool SoftLayer::raise(const TermProduct &combine, unsigned rows) {
  if (combine.operands.size() != 2)
    return false;
  Value combining = View::of(combine.operands[1 - rows], dims).getBase();
  if (!isMixture(combining))
    return false;
  View view = View::of(combine.operands[rows], dims);
  std::optional<BufferExperts> found =
      matchBufferExperts(view.getBase(), dims, refusal);
  if (!found)
    return decline();
  experts = std::move(*found);
  Operation *op = View::of(experts.in, dims).getBase().getDefiningOp();
  std::optional<TermProduct> product;
  if (op)
    product = matchTermProduct(op);
  Value dispatching;
  if (product && product->operands.size() == 2 && !product->bias)
    for (Value operand : product->operands)
      if (Value base = View::of(operand, dims).getBase(); isMixture(base))
        dispatching = base;
  if (!dispatching) {
    refuse(op ? op : anchor, "the experts' rows are no mixtures of tokens");
    return decline();
  }
  if (!checkMixtures(combining, dispatching) || !buildExpertsOnPlaces())
    return decline();
  context.noteRaised();
  return true;
}

void moe::raiseSoftExperts(func::FuncOp func, RaiseContext &context) {
  SmallVector<Operation *> products;
  func.walk([&](Operation *op) {
    StringRef name = op->getName().getStringRef();
    if (name == "onnx.Einsum" || name == "onnx.MatMul")
      products.push_back(op);
  });
  for (Operation *op : products) {
    std::optional<TermProduct> product = matchTermProduct(op);
    if (!product || product->bias)
      continue;
    for (unsigned rows = product->operands.size(); rows-- > 0;)
      if (SoftLayer(op, context).raise(*product, rows))
        break;
  }
}
