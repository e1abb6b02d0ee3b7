//===- Dims.cpp - what shape inference left in the IR ---------------------===//

#include "lib/Analysis/Dims.h"
#include "dialects/ONNX/ONNXDialect.h"
#include "lib/Analysis/ShapeFacts.h"
#include "mlir/IR/Builders.h"
#include "mlir/Interfaces/FunctionInterfaces.h"

using namespace mlir;
using namespace moe;

/// Item i of an array attribute, or null.
static Attribute itemOf(Attribute list, unsigned i) {
  auto array = dyn_cast_or_null<ArrayAttr>(list);
  return array && i < array.size() ? array[i] : Attribute();
}

static StringRef textOf(Attribute list, unsigned i) {
  auto text = dyn_cast_or_null<StringAttr>(itemOf(list, i));
  return text ? text.getValue() : StringRef();
}

/// Interns a text in the context.
static StringRef keep(MLIRContext *context, const Twine &text) {
  return StringAttr::get(context, text).getValue();
}

static StringRef getArgumentText(BlockArgument argument, unsigned dim) {
  Operation *parent = argument.getOwner()->getParentOp();
  if (!parent || !argument.getOwner()->isEntryBlock())
    return {};
  unsigned number = argument.getArgNumber();
  if (auto function = dyn_cast<FunctionOpInterface>(parent)) {
    StringRef text = textOf(function.getArgAttr(number, kArgDimsAttr), dim);
    if (!text.empty())
      return text;
    StringRef name =
        textOf(function.getArgAttr(number, moe::onnx::names::kDims), dim);
    if (!name.empty())
      return keep(parent->getContext(), DimContext::quote(name));
    return keep(parent->getContext(),
                "?arg" + Twine(number) + "." + Twine(dim));
  }
  Attribute regions = parent->getDiscardableAttr(kRegionDimsAttr);
  unsigned region = argument.getOwner()->getParent()->getRegionNumber();
  return textOf(itemOf(itemOf(regions, region), number), dim);
}

Extent moe::getDim(Value value, unsigned i) {
  auto type = dyn_cast<RankedTensorType>(value.getType());
  if (!type || i >= type.getRank())
    return {};
  if (!type.isDynamicDim(i))
    return {type.getDimSize(i), {}};
  if (auto argument = dyn_cast<BlockArgument>(value))
    return {ShapedType::kDynamic, getArgumentText(argument, i)};
  auto result = cast<OpResult>(value);
  return {ShapedType::kDynamic,
          textOf(itemOf(result.getOwner()->getDiscardableAttr(
                            moe::onnx::names::kDims),
                        result.getResultNumber()),
                 i)};
}

SmallVector<Extent> moe::getDims(Value value) {
  SmallVector<Extent> extents;
  if (auto type = dyn_cast<RankedTensorType>(value.getType()))
    for (unsigned i = 0; i < type.getRank(); ++i)
      extents.push_back(getDim(value, i));
  return extents;
}

bool moe::sameExtent(Value a, unsigned i, Value b, unsigned j) {
  if (a == b && i == j)
    return isa<RankedTensorType>(a.getType());
  return getDim(a, i) == getDim(b, j);
}

bool moe::sameExtents(Value a, Value b) {
  auto x = dyn_cast<RankedTensorType>(a.getType());
  auto y = dyn_cast<RankedTensorType>(b.getType());
  if (!x || !y || x.getRank() != y.getRank())
    return false;
  for (unsigned i = 0; i < x.getRank(); ++i)
    if (!sameExtent(a, i, b, i))
      return false;
  return true;
}

std::optional<SmallVector<Extent>> moe::getShapeValue(Value value) {
  SmallVector<Extent> elements;
  if (getConstantValue(value)) {
    ShapeFacts facts;
    const ShapeValue *known = facts.getElements(value);
    if (!known)
      return std::nullopt;
    for (const DimExpr &element : known->elements)
      elements.push_back({element.getConstant(), {}});
    return elements;
  }
  auto result = dyn_cast<OpResult>(value);
  if (!result)
    return std::nullopt;
  auto list = dyn_cast_or_null<ArrayAttr>(
      itemOf(result.getOwner()->getDiscardableAttr(kValuesAttr),
             result.getResultNumber()));
  if (!list)
    return std::nullopt;
  for (unsigned i = 0; i < list.size(); ++i) {
    StringRef text = textOf(list, i);
    int64_t number;
    if (text == "?")
      elements.push_back({});
    else if (!text.getAsInteger(10, number))
      elements.push_back({number, {}});
    else
      elements.push_back({ShapedType::kDynamic, text});
  }
  return elements;
}

std::optional<SmallVector<int64_t>> moe::getConstantShape(Value value) {
  if (getConstantValue(value)) {
    // Not through Extent, which cannot hold the least number: Slice has it.
    ShapeFacts facts;
    const ShapeValue *known = facts.getElements(value);
    if (!known)
      return std::nullopt;
    return llvm::to_vector(
        llvm::map_range(known->elements, [](const DimExpr &element) {
          return element.getConstant();
        }));
  }
  std::optional<SmallVector<Extent>> elements = getShapeValue(value);
  if (!elements)
    return std::nullopt;
  SmallVector<int64_t> numbers;
  for (const Extent &element : *elements) {
    if (!element.isStatic())
      return std::nullopt;
    numbers.push_back(element.size);
  }
  return numbers;
}

DimExpr moe::toExpr(DimContext &context, const Extent &extent) {
  if (extent.isStatic())
    return DimExpr::constant(extent.size);
  return context.parse(extent.text);
}
