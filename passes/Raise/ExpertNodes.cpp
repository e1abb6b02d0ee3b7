//===- ExpertNodes.cpp - nodes around layers of experts -------------------===//

#include "passes/Raise/ExpertNodes.h"
#include "dialects/ONNX/ONNXDialect.h"

using namespace mlir;
using namespace moe;

static RankedTensorType typeOf(Value value) {
  return cast<RankedTensorType>(value.getType());
}

Value ExpertNodes::constant(DenseElementsAttr value) {
  return nodes.create("onnx.Constant", {}, value.getType(),
                      b.getNamedAttr("value", value));
}

Value ExpertNodes::ints(ArrayRef<int64_t> values) {
  auto type = RankedTensorType::get({static_cast<int64_t>(values.size())},
                                    b.getI64Type());
  return constant(DenseElementsAttr::get(type, values));
}

Value ExpertNodes::shapeOf(Value value) {
  return nodes.create(
      "onnx.Shape", value,
      RankedTensorType::get({typeOf(value).getRank()}, b.getI64Type()));
}

Value ExpertNodes::filled(Value like, double number, Type element) {
  auto scalar = RankedTensorType::get({}, element);
  Value one = constant(DenseElementsAttr::get(
      scalar, Attribute(b.getFloatAttr(element, number))));
  return nodes.create("onnx.Expand", {one, shapeOf(like)},
                      typeOf(like).clone(element));
}

Value ExpertNodes::indexAlong(Value shape, RankedTensorType type,
                              int64_t axis) {
  SmallVector<int64_t> extents(type.getRank(), 1);
  extents[axis] = type.getDimSize(axis);
  SmallVector<int32_t> numbers = llvm::to_vector(
      llvm::seq<int32_t>(0, static_cast<int32_t>(extents[axis])));
  Type i32 = b.getI32Type();
  Value iota = constant(DenseElementsAttr::get(
      RankedTensorType::get(extents, i32), ArrayRef<int32_t>(numbers)));
  return nodes.create("onnx.Expand", {iota, shape}, type.clone(i32));
}

Value ExpertNodes::scatter(Value data, Value indices, Value updates,
                           int64_t axis) {
  return nodes.create("onnx.ScatterElements", {data, indices, updates},
                      data.getType(),
                      b.getNamedAttr("axis", b.getI64IntegerAttr(axis)));
}

Value ExpertNodes::cast(Value value, Type element) {
  RankedTensorType type = typeOf(value);
  if (type.getElementType() == element)
    return value;
  return nodes.create(
      "onnx.Cast", value, type.clone(element),
      b.getNamedAttr("to", b.getI64IntegerAttr(onnx::getDataType(element))));
}

void moe::eraseUnusedBetween(RewriterBase &rewriter, Operation *before,
                             Operation *end) {
  Operation *made = end->getPrevNode();
  while (made && made != before) {
    Operation *previous = made->getPrevNode();
    if (made->use_empty())
      rewriter.eraseOp(made);
    made = previous;
  }
}
