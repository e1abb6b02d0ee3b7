//===- RouterBalanced.cpp - experts that choose tokens, soft routers ------===//

#include "dialects/ONNX/ONNXDialect.h"
#include "mlir/IR/PatternMatch.h"
#include "mlir/IR/TypeUtilities.h"
#include "passes/Raise/Match.h"
#include "passes/Raise/Nodes.h"
#include "passes/Raise/Router.h"

using namespace mlir;
using namespace moe;
using namespace moe::match;

//===----------------------------------------------------------------------===//
// Experts that choose tokens
//===----------------------------------------------------------------------===//

Found moe::readExpertChoice(const Choice &choice, ExpertChoice &found,
                            Refusal &refuse) {
  Operation *transpose = getNode(choice.scores, "onnx.Transpose");
  if (!transpose || !choice.values)
    return Found::No;
  Operation *softmax = getNode(transpose->getOperand(0), "onnx.Softmax");
  if (!softmax)
    return Found::No;
  // [.., tokens, experts] with the last two axes swapped.
  int64_t rank = getRank(choice.scores);
  SmallVector<int64_t> perm = getPermutation(transpose);
  if (rank < 2 || static_cast<int64_t>(perm.size()) != rank ||
      perm[rank - 1] != rank - 2 || perm[rank - 2] != rank - 1)
    return Found::No;
  if (getAxis(softmax, "axis", -1, rank) != rank - 1) {
    refuse(softmax, "the softmax of an expert's scores is over tokens");
    return Found::Refused;
  }
  auto type = cast<RankedTensorType>(softmax->getOperand(0).getType());
  for (int64_t i = 0; i + 2 < rank; ++i)
    if (type.getDimSize(i) != 1 || perm[i] != i) {
      refuse(choice.op, "the experts of every sequence choose among its tokens;"
                        " one choice among all tokens is accepted");
      return Found::Refused;
    }
  if (type.isDynamicDim(rank - 1) || !(isComputedInF32(type.getElementType()) ||
                                       type.getElementType().isF64())) {
    refuse(choice.op, "the number of experts is not known, or scores are no "
                      "floats of 16, 32 or 64 bits");
    return Found::Refused;
  }
  found.logits = stripRows(softmax->getOperand(0));
  found.capacity = choice.k;
  found.choice = choice;
  return getRank(found.logits) >= 2 ? Found::Yes : Found::No;
}

void moe::rewriteExpertChoice(RewriterBase &b, const ExpertChoice &found) {
  Operation *op = found.choice.op;
  b.setInsertionPoint(op);
  NodeBuilder nodes(b, op->getLoc());
  Value logits = found.logits;
  auto type = cast<RankedTensorType>(logits.getType());
  int64_t rank = type.getRank();
  if (rank != 2) {
    int64_t tokens = 1;
    for (int64_t extent : type.getShape().drop_back())
      tokens = ShapedType::isDynamic(extent) || ShapedType::isDynamic(tokens)
                   ? ShapedType::kDynamic
                   : tokens * extent;
    logits =
        nodes.create("onnx.Flatten", logits,
                     RankedTensorType::get({tokens, type.getShape().back()},
                                           type.getElementType()),
                     b.getNamedAttr("axis", b.getI64IntegerAttr(rank - 1)));
  }
  SmallVector<int64_t> shape{type.getShape().back(), found.capacity};
  Type weight = type.getElementType().isF64() ? b.getF64Type() : b.getF32Type();
  auto route = ir::RouteBalancedOp::create(
      b, op->getLoc(), RankedTensorType::get(shape, b.getI32Type()),
      RankedTensorType::get(shape, weight), logits,
      ir::BalancedMethodAttr::get(b.getContext(),
                                  ir::BalancedMethod::ExpertChoice),
      b.getI64IntegerAttr(found.capacity), b.getF64FloatAttr(1),
      b.getI64IntegerAttr(16));
  // Extents of results are static but for leading ones, which are 1.
  auto replace = [&](Value from, Value to) {
    auto wanted = cast<RankedTensorType>(from.getType());
    Type element = wanted.getElementType();
    auto own = cast<RankedTensorType>(to.getType());
    if (own.getElementType() != element)
      to = nodes.create("onnx.Cast", to, own.clone(element),
                        b.getNamedAttr("to", b.getI64IntegerAttr(
                                                 onnx::getDataType(element))));
    if (wanted.getRank() != 2) {
      auto list = RankedTensorType::get({wanted.getRank()}, b.getI64Type());
      SmallVector<int64_t> extents(wanted.getRank() - 2, 1);
      llvm::append_range(extents, shape);
      Value extentsOf = nodes.create(
          "onnx.Constant", {}, list,
          b.getNamedAttr("value", DenseElementsAttr::get(
                                      list, ArrayRef<int64_t>(extents))));
      to = nodes.create("onnx.Reshape", {to, extentsOf}, wanted);
    }
    b.replaceAllUsesWith(from, to);
  };
  replace(found.choice.ids, route.getTokens());
  replace(found.choice.values, route.getWeights());
  eraseUnused(b, op);
}

//===----------------------------------------------------------------------===//
// Soft routers
//===----------------------------------------------------------------------===//

/// Whether a value goes into a product, transposed or regrouped on the way.
static bool isMultiplied(Value value) {
  SmallVector<Value> values{value};
  for (size_t i = 0; i < values.size() && i < 16; ++i)
    for (Operation *user : values[i].getUsers()) {
      StringRef name = user->getName().getStringRef();
      if (name == "onnx.MatMul" || name == "onnx.Einsum")
        return true;
      if (name == "onnx.Transpose" || name == "onnx.Cast" ||
          name == "onnx.Reshape" || name == "onnx.Identity")
        values.push_back(user->getResult(0));
    }
  return false;
}

bool moe::raiseSoftRoute(RewriterBase &b, Operation *dispatch) {
  Value logits = strip(dispatch->getOperand(0));
  int64_t rank = getRank(logits);
  Type type = logits.getType();
  if (rank < 2 || getAxis(dispatch, "axis", -1, rank) != rank - 2 ||
      !isa<FloatType>(getElementTypeOrSelf(type)) ||
      dispatch->getResult(0).getType() != type ||
      !isMultiplied(dispatch->getResult(0)))
    return false;
  Operation *combine = nullptr;
  SmallVector<Value> copies{logits};
  for (size_t i = 0; i < copies.size(); ++i)
    for (Operation *user : copies[i].getUsers()) {
      if (user->getNumResults() == 0)
        continue;
      Value out = user->getResult(0);
      if (strip(out) == logits && out != copies[i])
        copies.push_back(out);
      else if (user->getName().getStringRef() == "onnx.Softmax" &&
               getAxis(user, "axis", -1, rank) == rank - 1 &&
               out.getType() == type && isMultiplied(out) && !combine)
        combine = user;
    }
  if (!combine || combine->getBlock() != dispatch->getBlock())
    return false;
  Operation *first = combine->isBeforeInBlock(dispatch) ? combine : dispatch;
  b.setInsertionPoint(first);
  auto route = ir::SoftRouteOp::create(b, dispatch->getLoc(), type, type,
                                       first->getOperand(0));
  b.replaceOp(dispatch, route.getDispatch());
  b.replaceOp(combine, route.getCombine());
  return true;
}
