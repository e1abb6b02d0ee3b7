//===- RaiseConditions.cpp - tokens that a condition or constant chooses --===//

#include "dialects/ONNX/ONNXDialect.h"
#include "lib/Analysis/Dims.h"
#include "passes/Raise/Match.h"
#include "passes/Raise/Nodes.h"
#include "passes/Raise/PoolNodes.h"
#include "passes/Raise/RaiseTokens.h"
#include "llvm/ADT/DenseSet.h"

using namespace mlir;
using namespace moe;

//===----------------------------------------------------------------------===//
// NonZero
//===----------------------------------------------------------------------===//

/// The condition [N] or [1, N] whose true places a vector of numbers lists;
/// null if it is none.
static Value getCondition(Value numbers) {
  if (match::getRank(numbers) != 1)
    return {};
  bool hasColumn = false;
  Value value = match::strip(numbers);
  for (unsigned step = 0; step < 8; ++step) {
    Operation *op = value.getDefiningOp();
    if (!op || op->getNumOperands() == 0)
      return {};
    StringRef name = match::getOperator(value);
    if (name == "NonZero") {
      Value condition = match::getInput(op, 0);
      int64_t rank = match::getRank(condition);
      // Of a matrix with one row, the second line of the list.
      bool fits =
          rank == 1 || (rank == 2 && hasColumn && getExtent(condition, 0) == 1);
      return fits && match::getElementType(condition).isInteger(1) ? condition
                                                                   : Value();
    }
    if (name == "Squeeze" || name == "Reshape" || name == "Transpose" ||
        name == "Flatten") {
      // Of one line nothing is reordered; of two, only before one is taken.
      if (name != "Transpose" && name != "Squeeze" && match::getRank(value) > 1)
        return {};
      value = match::getInput(op, 0);
      continue;
    }
    // One line of [2, K], or one column of [K, 2].
    bool isSplit = name == "Split" && op->getNumResults() == 2 &&
                   value == op->getResult(1);
    std::optional<int64_t> line;
    if (name == "Gather")
      line = match::getSingleInt(op->getOperand(1));
    std::optional<SlicePart> part = SlicePart::read(value);
    if (part && part->begin == 1 && part->reachesEnd())
      line = 1;
    int64_t rank = match::getRank(op->getOperand(0));
    std::optional<int64_t> axis =
        part ? part->axis
             : match::getAxis(op, "axis", 0, std::max<int64_t>(rank, 1));
    if (hasColumn || rank != 2 || !axis || (!isSplit && line != 1) ||
        getExtent(op->getOperand(0), *axis) != 2)
      return {};
    hasColumn = true;
    value = match::getInput(op, 0);
  }
  return {};
}

namespace {
/// What takes tokens by a vector of numbers.
struct ListAccess {
  Value tokens;  // [1, N, ...]
  Value numbers; // [K]
  Value result;  // [1, K, ...]
};
} // namespace

/// Gather of axis 1, or GatherND of the first axis between transposes that swap
/// it with the second.
static std::optional<ListAccess> readList(Operation *op) {
  StringRef name = op->getName().getStringRef();
  Value data = match::getInput(op, 0);
  int64_t rank = match::getRank(data);
  if (rank < 2 || rank > 6)
    return std::nullopt;
  if (name == "onnx.Gather") {
    if (match::getAxis(op, "axis", 0, rank) != 1 ||
        match::getRank(op->getOperand(1)) != 1)
      return std::nullopt;
    return ListAccess{data, op->getOperand(1), op->getResult(0)};
  }
  if (name != "onnx.GatherND" || match::getInt(op, "batch_dims", 0) != 0)
    return std::nullopt;
  auto swaps = [](Operation *transpose) {
    if (!transpose)
      return false;
    SmallVector<int64_t> perm = match::getPermutation(transpose);
    if (perm.size() < 2 || perm[0] != 1 || perm[1] != 0)
      return false;
    for (size_t i = 2; i < perm.size(); ++i)
      if (perm[i] != static_cast<int64_t>(i))
        return false;
    return true;
  };
  Operation *before = match::getNode(data, "onnx.Transpose");
  Operation *column = match::getNode(op->getOperand(1), "onnx.Unsqueeze");
  if (!before || !column || !op->getResult(0).hasOneUse() ||
      match::getRank(column->getResult(0)) != 2 ||
      getExtent(column->getResult(0), 1) != 1)
    return std::nullopt;
  Operation *after = *op->getResult(0).getUsers().begin();
  if (after->getName().getStringRef() != "onnx.Transpose" || !swaps(before) ||
      !swaps(after))
    return std::nullopt;
  return ListAccess{match::getInput(before, 0), column->getOperand(0),
                    after->getResult(0)};
}

/// Whether a condition is about tokens: a comparison of scores, or given from
/// outside. A part of a larger one is what one of several experts gets.
static bool isAboutTokens(Value condition) {
  for (unsigned step = 0; step < 4; ++step) {
    StringRef name = match::getOperator(condition);
    if (name != "Squeeze" && name != "Unsqueeze" && name != "Reshape")
      break;
    condition = match::getInput(match::strip(condition).getDefiningOp(), 0);
  }
  StringRef name = match::getOperator(condition);
  return isa<BlockArgument>(match::strip(condition)) || name == "Greater" ||
         name == "GreaterOrEqual" || name == "Less" || name == "LessOrEqual" ||
         name == "And" || name == "Or" || name == "Not";
}

/// Tokens that a condition keeps.
static void raiseNonZero(TokenContext &context, Operation *op,
                         const ListAccess &access, Value condition) {
  RewriterBase &b = context.getRewriter();
  auto type = cast<RankedTensorType>(access.tokens.getType());
  // Rows of a list, too, are what goes to one expert.
  if (type.getRank() < 3 || !isAboutTokens(condition))
    return;
  if (type.getDimSize(0) != 1)
    return context.noteMissed(
        op, {"tokens that a condition keeps are of a batch that is not known "
             "to be 1: sequences would keep different numbers",
             op});
  int64_t last = match::getRank(condition) - 1;
  if (!sameExtent(condition, last, access.tokens, 1))
    return context.noteMissed(
        op, {"a condition is of other tokens than those that are taken", op});
  Operation *root = access.result.getDefiningOp();
  b.setInsertionPoint(root);
  Location loc = root->getLoc();
  auto conditionType = cast<RankedTensorType>(condition.getType());
  if (last == 0) {
    NodeBuilder nodes(b, loc);
    auto axesType = RankedTensorType::get({1}, b.getI64Type());
    Value axes = nodes.create(
        "onnx.Constant", {}, axesType,
        b.getNamedAttr("value",
                       DenseElementsAttr::get(axesType, ArrayRef<int64_t>{0})));
    condition = nodes.create(
        "onnx.Unsqueeze", {condition, axes},
        RankedTensorType::get({1, conditionType.getDimSize(0)}, b.getI1Type()));
  }
  auto result = cast<RankedTensorType>(access.result.getType());
  Value idx = ir::TokenKeepOp::create(
      b, loc, RankedTensorType::get({1, result.getDimSize(1)}, b.getI32Type()),
      condition, ir::KeepPolicyAttr::get(b.getContext(), ir::KeepPolicy::Mask),
      b.getI64IntegerAttr(0), b.getI64IntegerAttr(0), IntegerAttr(),
      ir::KeepOrderAttr::get(b.getContext(), ir::KeepOrder::Index));
  auto drop = ir::TokenDropOp::create(b, loc, result, access.tokens, idx,
                                      Value(), true);
  // The name of the number of tokens was that of another op.
  if (Attribute names = root->getDiscardableAttr(onnx::names::kOutputs))
    drop->setDiscardableAttr(onnx::names::kOutputs, names);
  b.replaceOp(root, drop.getY());
  context.noteRaised();
}

//===----------------------------------------------------------------------===//
// Constants
//===----------------------------------------------------------------------===//

/// Tokens with constant numbers: more than one, none twice, of a sequence.
static void raiseConstant(TokenContext &context, const ListAccess &access) {
  auto type = cast<RankedTensorType>(access.tokens.getType());
  auto result = cast<RankedTensorType>(access.result.getType());
  std::optional<SmallVector<int64_t>> numbers = match::getInts(access.numbers);
  if (!numbers || numbers->size() < 2 || type.getRank() != 3 ||
      !isa<FloatType>(type.getElementType()) || type.isDynamicDim(1))
    return;
  int64_t tokens = type.getDimSize(1);
  llvm::DenseSet<int64_t> seen;
  SmallVector<int32_t> idx;
  for (int64_t number : *numbers) {
    int64_t at = number < 0 ? number + tokens : number;
    if (at < 0 || at >= tokens || !seen.insert(at).second)
      return;
    idx.push_back(static_cast<int32_t>(at));
  }
  RewriterBase &b = context.getRewriter();
  Operation *root = access.result.getDefiningOp();
  b.setInsertionPoint(root);
  auto idxType = RankedTensorType::get({1, static_cast<int64_t>(idx.size())},
                                       b.getI32Type());
  Value constant =
      NodeBuilder(b, root->getLoc())
          .create("onnx.Constant", {}, idxType,
                  b.getNamedAttr(
                      "value",
                      DenseElementsAttr::get(idxType, ArrayRef<int32_t>(idx))));
  auto drop = ir::TokenDropOp::create(b, root->getLoc(), result, access.tokens,
                                      constant, Value(), true);
  takeNames(root, drop);
  b.replaceOp(root, drop.getY());
  context.noteRaised();
}

//===----------------------------------------------------------------------===//
// Masks
//===----------------------------------------------------------------------===//

/// Whether a value is 0 or 1 by a comparison that the model makes: the cast of
/// one, times or next to others.
static bool isComputedMask(Value value, unsigned depth = 6) {
  value = match::strip(value);
  Operation *op = value ? value.getDefiningOp() : nullptr;
  if (!op || depth == 0)
    return false;
  StringRef name = match::getOperator(value);
  if (name == "Cast") {
    StringRef of = match::getOperator(op->getOperand(0));
    return of == "Greater" || of == "Less" || of == "GreaterOrEqual" ||
           of == "LessOrEqual";
  }
  if (name == "Concat" || name == "Mul" || name == "Unsqueeze" ||
      name == "Reshape" || name == "Slice")
    return llvm::any_of(op->getOperands(), [&](Value operand) {
      return isComputedMask(operand, depth - 1);
    });
  return false;
}

/// (1 - mask) * -1e4: tokens are hidden from attention, none is dropped.
static void noteMask(TokenContext &context, Operation *mul) {
  Value rest;
  double c;
  if (!match::matchWithNumber(mul->getResult(0), "onnx.Mul", rest, c) ||
      !(c <= -100))
    return;
  for (unsigned step = 0; step < 4; ++step) {
    StringRef name = match::getOperator(rest);
    if (name != "Unsqueeze" && name != "Reshape")
      break;
    rest = match::getInput(match::strip(rest).getDefiningOp(), 0);
  }
  Value one, mask;
  if (!match::matchBinary(rest, "onnx.Sub", one, mask) ||
      !match::isNumber(one, 1) || !isComputedMask(mask))
    return;
  context.noteMissed(
      mul, {"a mask hides tokens from attention, but all of them go on: there "
            "is nothing to drop",
            mul});
}

void moe::raiseConditions(TokenContext &context) {
  for (Operation *op : context.getNodes({"onnx.Gather", "onnx.GatherND"})) {
    std::optional<ListAccess> access = readList(op);
    if (!access || !isa<RankedTensorType>(access->result.getType()))
      continue;
    if (Value condition = getCondition(access->numbers))
      raiseNonZero(context, op, *access, condition);
    else
      raiseConstant(context, *access);
  }
  for (Operation *mul : context.getNodes({"onnx.Mul"}))
    noteMask(context, mul);
}
