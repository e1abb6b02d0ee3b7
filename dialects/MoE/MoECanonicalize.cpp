//===- MoECanonicalize.cpp - exact simplifications of moe ops -------------===//
//
// Only what holds for every input, up to the rounding of the arithmetic that it
// leaves out, is done here. Each rule says why it holds and where it would not.
//
//===----------------------------------------------------------------------===//

#include "dialects/MoE/MoEDialect.h"
#include "dialects/MoE/MoEVerify.h"
#include "dialects/ONNX/ONNXDialect.h"
#include "mlir/IR/Matchers.h"
#include "mlir/IR/TypeUtilities.h"

using namespace mlir;
using namespace moe::ir;

//===----------------------------------------------------------------------===//
// moe.route
//===----------------------------------------------------------------------===//

/// Whether `value` is a constant vector of one number, `number`.
static bool isSplat(Value value, double number) {
  Attribute attr;
  if (!value || !matchPattern(value, m_Constant(&attr)))
    return false;
  auto elements = dyn_cast<DenseFPElementsAttr>(attr);
  return elements && elements.isSplat() &&
         elements.getSplatValue<APFloat>().convertToDouble() == number;
}

/// Scores that are 0 or more for every logit.
static bool isNonNegative(Score score) {
  return score == Score::Softmax || score == Score::Sigmoid ||
         score == Score::SqrtSoftplus;
}

/// Whether the expert with the largest score is among the selected ones: their
/// softmax weights then do not all underflow.
static bool selectsBest(const Routing &routing) {
  return routing.ranks.empty() || llvm::is_contained(routing.ranks, 0);
}

/// Whether selecting by logits picks what selecting by softmax picks. A bias or
/// the sum of two scores is no monotonic function of the logits; 0 is less than
/// all softmax scores, but not less than all logits.
static bool selectsAlike(const Routing &routing, RouteOp op) {
  if (routing.select == Select::ByLogit)
    return true;
  if (op.getSelectBias())
    return false;
  return !routing.groups || (routing.groups.getReduce() == GroupReduce::Max &&
                             routing.groups.getFill() == GroupFill::MinusInf);
}

LogicalResult RouteOp::canonicalize(RouteOp op, PatternRewriter &rewriter) {
  // x + 0 orders as x does, and w * 1 is w.
  if (isSplat(op.getSelectBias(), 0)) {
    rewriter.modifyOpInPlace(op, [&] { op.getSelectBiasMutable().clear(); });
    return success();
  }
  if (isSplat(op.getExpertScale(), 1)) {
    rewriter.modifyOpInPlace(op, [&] { op.getExpertScaleMutable().clear(); });
    return success();
  }

  Routing routing(op.getRouting());
  // All groups are kept: nothing is limited.
  if (routing.groups && routing.groups.getKeep() == routing.groups.getN())
    routing.groups = {};
  // Logits are what is selected by as long as there are no scores.
  if (routing.scoreOn == ScoreOn::Selected)
    routing.select = Select::ByScore;
  // |w| is w.
  if (routing.norm == Norm::Lp && routing.p == 1 && !op.getMix() &&
      isNonNegative(routing.score))
    routing.norm = Norm::Sum;
  // The sum over all experts cancels: softmax of the selected logits alone, k
  // exponentials instead of E. A slot that `forced` leaves empty would have to
  // be left out of that softmax, and the weights of forced experts may all be
  // so small that their quotient is 0 / 0.
  bool isSum = routing.norm == Norm::Sum || routing.norm == Norm::SumClamp;
  if (routing.score == Score::Softmax && routing.scoreOn == ScoreOn::All &&
      isSum && routing.eps == 0 && !op.getMix() && !op.getForced() &&
      selectsBest(routing) && selectsAlike(routing, op)) {
    routing.scoreOn = ScoreOn::Selected;
    routing.select = Select::ByScore;
    // Weights that become 0 before the sum still change it.
    if (routing.nullBeforeNorm.empty())
      routing.norm = Norm::None;
  }

  RoutingAttr simplified = routing.get(op.getContext());
  if (!simplified || simplified == op.getRouting())
    return failure();
  rewriter.modifyOpInPlace(op, [&] { op.setRoutingAttr(simplified); });
  return success();
}

//===----------------------------------------------------------------------===//
// moe.experts
//===----------------------------------------------------------------------===//

/// Whether `op` gives every token the one expert there is, with weight 1: the
/// softmax of one logit. Other scores are no constants. Slot 0 is never
/// dropped.
static bool routesAllToOne(RouteOp op) {
  Routing routing(op.getRouting());
  if (getExtent(op.getLogits(), 1) != 1 || routing.k != 1 ||
      routing.score != Score::Softmax || routing.scale != 1)
    return false;
  if (op.getExpertScale() || op.getMix() || op.getForced() || op.getValid())
    return false;
  // 1 / (1 + eps) as the routing computes it.
  bool isF64 = getElementTypeOrSelf(op.getLogits()).isF64();
  return isF64 ? 1 + routing.eps == 1
               : 1 + static_cast<float>(routing.eps) == 1;
}

/// Whether ids and weights name expert 0 with weight 1 in one slot per token.
static bool isOneSlotOfWeightOne(ExpertsOp op) {
  auto route = op.getIds().getDefiningOp<RouteOp>();
  if (route && op.getIds() == route.getIds() &&
      op.getWeights() == route.getWeights())
    return routesAllToOne(route);
  DenseIntElementsAttr ids = getConstantIds(op.getIds());
  return ids && getExtent(op.getIds(), 1) == 1 && ids.isSplat() &&
         ids.getSplatValue<APInt>().isZero() && isSplat(op.getWeights(), 1);
}

/// A bank of one expert that every token goes through needs no routing.
LogicalResult ExpertsOp::canonicalize(ExpertsOp op, PatternRewriter &rewriter) {
  if (!op.getIds() || getExtent(op.getGate(), 0) != 1 ||
      getExtent(op.getDown(), 0) != 1 || !isOneSlotOfWeightOne(op))
    return failure();
  rewriter.modifyOpInPlace(op, [&] {
    op.getIdsMutable().clear();
    op.getWeightsMutable().clear();
    op.removeLogicalAttr();
    // A weight of 1 is the same on either side.
    op.setScaleAt(ScaleAt::Output);
  });
  return success();
}

//===----------------------------------------------------------------------===//
// moe.trivial_experts
//===----------------------------------------------------------------------===//

/// Zeros of the type of `like`.
static Value createZeros(PatternRewriter &rewriter, Location loc, Value like) {
  auto type = cast<RankedTensorType>(like.getType());
  Attribute zero = rewriter.getZeroAttr(type.getElementType());
  auto create = [&](StringRef name, Type result, ValueRange operands,
                    ArrayRef<NamedAttribute> attributes) {
    OperationState state(loc, name, operands, result, attributes);
    return rewriter.create(state)->getResult(0);
  };
  if (type.hasStaticShape())
    return create(
        "onnx.Initializer", type, {},
        {rewriter.getNamedAttr("initializer", rewriter.getStringAttr("")),
         rewriter.getNamedAttr("value", DenseElementsAttr::get(type, zero))});
  auto shapeType =
      RankedTensorType::get({type.getRank()}, rewriter.getI64Type());
  auto single = RankedTensorType::get({1}, type.getElementType());
  Value shape = create("onnx.Shape", shapeType, like, {});
  return create(
      "onnx.ConstantOfShape", type, shape,
      rewriter.getNamedAttr("value", DenseElementsAttr::get(single, zero)));
}

/// What `onnx.dims` says of a value; null where nothing does.
static Attribute getDimsAttr(Value value) {
  auto result = dyn_cast<OpResult>(value);
  if (!result)
    return {};
  auto lists =
      result.getOwner()->getAttrOfType<ArrayAttr>(moe::onnx::names::kDims);
  if (!lists || result.getResultNumber() >= lists.size())
    return {};
  return lists[result.getResultNumber()];
}

/// Whether two values have the same type and surely the same extents: of equal
/// unknown ones, one might be 1 and broadcast.
static bool sameExtents(Value a, Value b) {
  if (a.getType() != b.getType())
    return false;
  if (cast<RankedTensorType>(a.getType()).hasStaticShape())
    return true;
  Attribute dims = getDimsAttr(a);
  return dims && dims == getDimsAttr(b);
}

/// Ids that name no kind contribute nothing, and so do those of kind `zero`:
/// the list needs none at its ends. Without any kind left the result is 0.
LogicalResult TrivialExpertsOp::canonicalize(TrivialExpertsOp op,
                                             PatternRewriter &rewriter) {
  auto isZero = [](Attribute kind) {
    return cast<TrivialKindAttr>(kind).getValue() == TrivialKind::Zero;
  };
  ArrayRef<Attribute> all = op.getKinds().getValue();
  ArrayRef<Attribute> rest = all.drop_while(isZero);
  int64_t first = op.getFirst() + (all.size() - rest.size());
  while (!rest.empty() && isZero(rest.back()))
    rest = rest.drop_back();
  if (rest.size() == all.size())
    return failure();
  if (!rest.empty()) {
    rewriter.modifyOpInPlace(op, [&] {
      op.setFirst(first);
      op.setKindsAttr(rewriter.getArrayAttr(rest));
    });
    return success();
  }

  // A sum with zeros of the same type is the other operand.
  for (OpOperand &use : llvm::make_early_inc_range(op->getUses())) {
    Operation *user = use.getOwner();
    if (user->getName().getStringRef() != "onnx.Add")
      continue;
    Value other = user->getOperand(1 - use.getOperandNumber());
    if (other != op.getY() && other.getType() == user->getResult(0).getType() &&
        sameExtents(other, op.getY()))
      rewriter.replaceOp(user, other);
  }
  if (op->use_empty()) {
    rewriter.eraseOp(op);
    return success();
  }
  Value zeros = createZeros(rewriter, op.getLoc(), op.getX());
  if (Attribute dims = getDimsAttr(op.getY());
      dims && !cast<RankedTensorType>(zeros.getType()).hasStaticShape())
    zeros.getDefiningOp()->setAttr(moe::onnx::names::kDims,
                                   rewriter.getArrayAttr(dims));
  rewriter.replaceOp(op, zeros);
  return success();
}

//===----------------------------------------------------------------------===//
// moe.switch
//===----------------------------------------------------------------------===//

/// A constant index picks its region.
LogicalResult SwitchOp::canonicalize(SwitchOp op, PatternRewriter &rewriter) {
  DenseIntElementsAttr index = getConstantIds(op.getIndex());
  if (!index)
    return failure();
  int64_t number = (*index.value_begin<APInt>()).getSExtValue();
  if (number < 0 || number >= static_cast<int64_t>(op.getBranches().size()))
    return failure();
  Block &block = op.getBranches()[number].front();
  auto yield = cast<YieldOp>(block.getTerminator());
  // Inference may have left a branch with more precise types than the result.
  for (auto [value, result] : llvm::zip(yield.getOperands(), op.getResults()))
    if (value.getType() != result.getType())
      return failure();
  SmallVector<Value> values(yield.getOperands());
  rewriter.inlineBlockBefore(&block, op);
  rewriter.eraseOp(yield);
  rewriter.replaceOp(op, values);
  return success();
}
