//===- SlotValues.cpp - ids and weights of slots for moe.experts ----------===//

#include "passes/Raise/SlotValues.h"
#include "dialects/MoE/MoEDialect.h"
#include "dialects/ONNX/ONNXDialect.h"
#include "lib/Analysis/Dims.h"
#include "passes/Raise/Match.h"

using namespace mlir;
using namespace moe;

std::optional<int64_t> moe::getIdBound(Value ids) {
  auto result = dyn_cast_or_null<OpResult>(match::strip(ids));
  if (!result)
    return std::nullopt;
  Operation *op = result.getOwner();
  StringRef name = op->getName().getStringRef();
  int64_t extent = ShapedType::kDynamic;
  auto extentOf = [&](Value from, int64_t otherwise) {
    auto type = dyn_cast<RankedTensorType>(from.getType());
    std::optional<int64_t> axis =
        type ? match::getAxis(op, "axis", otherwise, type.getRank())
             : std::nullopt;
    return axis ? type.getDimSize(*axis) : ShapedType::kDynamic;
  };
  if (name == "onnx.TopK" && result.getResultNumber() == 1)
    extent = extentOf(op->getOperand(0), -1);
  else if (name == "onnx.ArgMax" || name == "onnx.ArgMin")
    extent = extentOf(op->getOperand(0), 0);
  else if (auto route = dyn_cast<ir::RouteOp>(op))
    extent = getExtent(route.getLogits(), 1);
  else if (name == "onnx.Cast" || name == "onnx.Reshape" ||
           name == "onnx.Squeeze" || name == "onnx.Unsqueeze" ||
           name == "onnx.Flatten")
    return getIdBound(op->getOperand(0));
  if (ShapedType::isDynamic(extent))
    return std::nullopt;
  return extent;
}

//===----------------------------------------------------------------------===//
// Forms
//===----------------------------------------------------------------------===//

SlotForms::SlotForms(DimContext &dims, const ExpertPairs &pairs,
                     const LinearForm &token)
    : pairs(pairs) {
  numTokens = numSlots = DimExpr::constant(1);
  if (token.nonZero != pairs.nonZero)
    return;
  Value ids = pairs.choice.ids;
  SmallVector<Extent> extents = getDims(ids);
  int64_t lastToken = -1, firstSlot = extents.size();
  for (auto [row, axes] : llvm::enumerate(pairs.rows)) {
    const DimExpr &used = token.coefficients[row];
    bool isSlotRow = used.isConstant(0);
    // A coordinate over several axes must be one number over them.
    for (size_t i = 1; i < axes.size(); ++i)
      for (int64_t axis = axes[i - 1] + 1; axis <= axes[i]; ++axis)
        if (axis != axes[i] && extents[axis].size != 1)
          return;
    if (!llvm::is_sorted(axes))
      return;
    for (int64_t axis : axes) {
      DimExpr extent = toExpr(dims, extents[axis]);
      if (isSlotRow) {
        firstSlot = std::min(firstSlot, axis);
        numSlots = numSlots * extent;
      } else {
        lastToken = std::max(lastToken, axis);
        numTokens = numTokens * extent;
      }
    }
    DimExpr stride = DimExpr::constant(1);
    int64_t behind = axes.empty() ? extents.size() : axes.back() + 1;
    for (int64_t axis = behind, end = extents.size(); axis < end; ++axis)
      stride = stride * toExpr(dims, extents[axis]);
    slotForm.push_back(axes.empty() ? DimExpr::constant(0) : stride);
    tokenForm.push_back(axes.empty() ? DimExpr::constant(0) : used);
  }
  for (int64_t axis : pairs.reduced) {
    firstSlot = std::min(firstSlot, axis);
    numSlots = numSlots * toExpr(dims, extents[axis]);
  }
  if (lastToken > firstSlot || !numTokens.isKnown() || !numSlots.isKnown())
    return;
  for (auto [row, axes] : llvm::enumerate(pairs.rows))
    if (!tokenForm[row].isConstant(0) &&
        slotForm[row] != tokenForm[row] * numSlots)
      return;
  valid = true;
}

/// Coordinates that are always 0 count for nothing.
bool SlotForms::isSame(const LinearForm &form,
                       ArrayRef<DimExpr> coefficients) const {
  if (form.nonZero != pairs.nonZero ||
      form.coefficients.size() != coefficients.size())
    return false;
  for (auto [axes, a, b] :
       llvm::zip(pairs.rows, form.coefficients, coefficients))
    if (!axes.empty() && a != b)
      return false;
  return true;
}

//===----------------------------------------------------------------------===//
// Operands
//===----------------------------------------------------------------------===//

static RankedTensorType typeOf(Value value) {
  return cast<RankedTensorType>(value.getType());
}

Value SlotBuilder::number(Type element, int64_t value,
                          ArrayRef<int64_t> shape) {
  auto type = RankedTensorType::get(shape, element);
  Attribute one = isa<FloatType>(element)
                      ? Attribute(b.getFloatAttr(element, value))
                      : Attribute(b.getIntegerAttr(element, value));
  return nodes.create(
      "onnx.Constant", {}, type,
      b.getNamedAttr("value", DenseElementsAttr::get(type, one)));
}

Value SlotBuilder::shape(Value value) {
  RankedTensorType type = typeOf(value);
  Type element = type.getElementType();
  int64_t rank = type.getRank();
  if (rank > 1 && type.getDimSize(rank - 1) == k)
    return value;
  if (k == 1) {
    SmallVector<int64_t> shape(type.getShape());
    shape.push_back(1);
    Value axes = number(b.getI64Type(), rank, {1});
    return nodes.create("onnx.Unsqueeze", {value, axes},
                        RankedTensorType::get(shape, element));
  }
  return matrix(value, k);
}

Value SlotBuilder::matrix(Value value, int64_t width) {
  RankedTensorType type = typeOf(value);
  if (type.getRank() == 2 && type.getDimSize(1) == width)
    return value;
  int64_t rows = type.hasStaticShape() ? type.getNumElements() / width
                                       : ShapedType::kDynamic;
  auto target = DenseElementsAttr::get(
      RankedTensorType::get({2}, b.getI64Type()), ArrayRef<int64_t>{-1, width});
  Value extents =
      nodes.create("onnx.Constant", {}, cast<TensorType>(target.getType()),
                   b.getNamedAttr("value", target));
  return nodes.create(
      "onnx.Reshape", {value, extents},
      RankedTensorType::get({rows, width}, type.getElementType()));
}

Value SlotBuilder::lookUp(Value table, Value ids) {
  RankedTensorType type = typeOf(table);
  table = matrix(table, type.getShape().back());
  ids = matrix(shape(ids), k);
  return nodes.create(
      "onnx.GatherElements", {table, ids},
      RankedTensorType::get(typeOf(ids).getShape(), type.getElementType()),
      b.getNamedAttr("axis", b.getI64IntegerAttr(1)));
}

Value SlotBuilder::ids(const Choice &choice, int64_t limit, bool inRange,
                       int64_t depth) {
  Value ids = choice.ids;
  RankedTensorType type = typeOf(ids);
  Type element = type.getElementType();
  auto bools = RankedTensorType::get(type.getShape(), b.getI1Type());
  Value none = inRange && !choice.keep ? Value() : number(element, -1);
  if (!inRange) {
    Value zero = number(element, 0);
    if (depth > 0) {
      Value isNegative = nodes.create("onnx.Less", {ids, zero}, bools);
      Value wrapped =
          nodes.create("onnx.Add", {ids, number(element, depth)}, type);
      ids = nodes.create("onnx.Where", {isNegative, wrapped, ids}, type);
    }
    Value notNegative = nodes.create("onnx.GreaterOrEqual", {ids, zero}, bools);
    Value isExpert =
        nodes.create("onnx.Less", {ids, number(element, limit)}, bools);
    Value valid = nodes.create("onnx.And", {notNegative, isExpert}, bools);
    ids = nodes.create("onnx.Where", {valid, ids, none}, type);
  }
  if (choice.keep) {
    SmallVector<int64_t> shape(type.getShape());
    shape.push_back(1);
    int64_t rank = type.getRank();
    Value axes = number(b.getI64Type(), rank, {1});
    Value at = nodes.create("onnx.Unsqueeze", {choice.ids, axes},
                            RankedTensorType::get(shape, element));
    Value kept =
        nodes.create("onnx.GatherElements", {choice.keep, at},
                     RankedTensorType::get(shape, b.getI1Type()),
                     b.getNamedAttr("axis", b.getI64IntegerAttr(rank)));
    kept = nodes.create("onnx.Squeeze", {kept, axes}, bools);
    ids = nodes.create("onnx.Where", {kept, ids, none}, type);
  }
  return shape(ids);
}

Value SlotBuilder::ones(Value ids) {
  RankedTensorType type = typeOf(ids);
  auto extents = RankedTensorType::get({type.getRank()}, b.getI64Type());
  Value shape = nodes.create("onnx.Shape", ids, extents);
  auto one =
      DenseElementsAttr::get(RankedTensorType::get({1}, b.getF32Type()), 1.0f);
  return nodes.create("onnx.ConstantOfShape", shape,
                      RankedTensorType::get(type.getShape(), b.getF32Type()),
                      b.getNamedAttr("value", one));
}
