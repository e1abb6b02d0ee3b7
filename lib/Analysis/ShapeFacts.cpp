//===- ShapeFacts.cpp - what shape inference knows of values --------------===//

#include "lib/Analysis/ShapeFacts.h"
#include "dialects/ONNX/ONNXDialect.h"
#include "llvm/Support/Endian.h"

using namespace mlir;
using namespace moe;

std::optional<ShapeValue> ShapeValue::ofShape(ArrayRef<int64_t> shape) {
  int64_t count = 1;
  for (int64_t extent : shape) {
    // Also keeps the product from overflowing.
    if (extent < 0 || extent > kMaxElements)
      return std::nullopt;
    count *= extent;
    if (count > kMaxElements)
      return std::nullopt;
  }
  return ShapeValue{llvm::SmallVector<int64_t, 2>(shape),
                    std::vector<DimExpr>(count)};
}

Extents ShapeFacts::getExtents(Value value) {
  auto it = extents.find(value);
  if (it != extents.end())
    return it->second;
  Extents list;
  if (auto type = dyn_cast<RankedTensorType>(value.getType()))
    for (int64_t extent : type.getShape())
      list.push_back(ShapedType::isDynamic(extent) ? DimExpr()
                                                   : DimExpr::constant(extent));
  return list;
}

void ShapeFacts::setExtents(Value value, Extents list) {
  extents[value] = std::move(list);
}

/// Elements of an integer constant.
static std::optional<ShapeValue> readConstant(ElementsAttr attr) {
  ShapedType type = attr.getShapedType();
  auto element = dyn_cast<IntegerType>(type.getElementType());
  if (!element || !type.hasStaticShape())
    return std::nullopt;
  std::optional<ShapeValue> value = ShapeValue::ofShape(type.getShape());
  if (!value)
    return std::nullopt;
  bool isUnsigned = element.isUnsigned() || element.getWidth() == 1;
  if (auto dense = dyn_cast<DenseIntElementsAttr>(attr)) {
    for (auto [i, number] : llvm::enumerate(dense.getValues<APInt>()))
      value->elements[i] = DimExpr::constant(
          isUnsigned ? static_cast<int64_t>(number.getZExtValue())
                     : number.getSExtValue());
    return value;
  }
  auto file = dyn_cast<onnx::FileElementsAttr>(attr);
  if (!file)
    return std::nullopt;
  std::string error;
  ArrayRef<char> bytes = file.getBytes(error);
  unsigned width = onnx::getElementBits(element) / 8;
  if (!error.empty() || width == 0 ||
      bytes.size() != value->elements.size() * width)
    return std::nullopt;
  for (auto [i, slot] : llvm::enumerate(value->elements)) {
    uint64_t bits = 0;
    for (unsigned byte = 0; byte < width; ++byte)
      bits |=
          static_cast<uint64_t>(static_cast<uint8_t>(bytes[i * width + byte]))
          << (8 * byte);
    slot = DimExpr::constant(isUnsigned
                                 ? static_cast<int64_t>(bits)
                                 : llvm::APInt(8 * width, bits).getSExtValue());
  }
  return value;
}

const ShapeValue *ShapeFacts::getElements(Value value) {
  auto it = elements.find(value);
  if (it != elements.end())
    return it->second.get();
  if (ElementsAttr constant = getConstantValue(value))
    setElements(value, readConstant(constant));
  else
    setElements(value, std::nullopt);
  return elements.find(value)->second.get();
}

void ShapeFacts::setElements(Value value, std::optional<ShapeValue> known) {
  elements[value] =
      known ? std::make_unique<ShapeValue>(std::move(*known)) : nullptr;
}

std::string ShapeFacts::toText(const DimExpr &expr) {
  std::string text = expr.str();
  if (expr.isKnown() && !expr.isConstant())
    byText.try_emplace(text, expr);
  return text;
}

DimExpr ShapeFacts::fromText(StringRef text) {
  int64_t number;
  if (!text.getAsInteger(10, number))
    return DimExpr::constant(number);
  return byText.lookup(text);
}

void ShapeFacts::getExtents(Value value, SmallVectorImpl<std::string> &texts) {
  for (const DimExpr &extent : getExtents(value))
    texts.push_back(toText(extent));
}

bool ShapeFacts::getElements(Value value, SmallVectorImpl<std::string> &texts) {
  const ShapeValue *known = getElements(value);
  if (!known || known->shape.size() > 1)
    return false;
  for (const DimExpr &element : known->elements)
    texts.push_back(toText(element));
  return true;
}

//===----------------------------------------------------------------------===//
// NodeRef
//===----------------------------------------------------------------------===//

int64_t NodeRef::rank(unsigned input) const {
  if (!has(input))
    return -1;
  auto type = dyn_cast<RankedTensorType>(inputs[input].getType());
  return type ? type.getRank() : -1;
}

bool NodeRef::constants(unsigned input, SmallVectorImpl<int64_t> &out) const {
  out.clear();
  const ShapeValue *known = elements(input);
  if (!known)
    return false;
  for (const DimExpr &element : known->elements) {
    if (!element.isConstant())
      return false;
    out.push_back(element.getConstant());
  }
  return true;
}

int64_t NodeRef::getInt(StringRef name, int64_t otherwise) const {
  auto attr = op->getAttrOfType<IntegerAttr>(name);
  return attr ? attr.getValue().getSExtValue() : otherwise;
}

StringRef NodeRef::getString(StringRef name, StringRef otherwise) const {
  auto attr = op->getAttrOfType<StringAttr>(name);
  return attr ? attr.getValue() : otherwise;
}

DenseI64ArrayAttr NodeRef::getInts(StringRef name) const {
  return op->getAttrOfType<DenseI64ArrayAttr>(name);
}
