//===- GraphBuilder.cpp - making graphs of ONNX operators -----------------===//
#include "passes/Experts/GraphBuilder.h"
#include "dialects/ONNX/ONNXDialect.h"
#include "dialects/ONNX/Signatures.h"
#include "lib/Analysis/Dims.h"
#include "mlir/IR/BuiltinAttributes.h"
#include "mlir/IR/IRMapping.h"
#include "mlir/IR/TypeUtilities.h"
#include "llvm/ADT/DenseSet.h"

using namespace mlir;
using namespace moe;

Type moe::getElement(Value value) { return getElementTypeOrSelf(value); }

//===----------------------------------------------------------------------===//
// Operators
//===----------------------------------------------------------------------===//

Location GraphBuilder::locationOf(StringRef name) {
  auto named = dyn_cast<NameLoc>(origin);
  if (!named || named.getName().empty())
    return origin;
  std::string text =
      (named.getName().getValue() + "/" + name + "_" + Twine(counter++)).str();
  return NameLoc::get(b.getStringAttr(text), named.getChildLoc());
}

Operation *GraphBuilder::create(StringRef name, ArrayRef<Value> operands,
                                ArrayRef<Type> resultElements,
                                ArrayRef<NamedAttribute> attributes) {
  std::string opName = ("onnx." + name).str();
  const onnx::OpSignature *signature = onnx::lookupSignature(opName);
  assert(signature && "no such operator");
  OperationState state(locationOf(name), opName);
  for (Value operand : operands)
    if (operand)
      state.operands.push_back(operand);
  if (signature->hasOperandSegments()) {
    SmallVector<int32_t> segments;
    for (auto [i, formal] : llvm::enumerate(signature->operands)) {
      if (formal.kind == onnx::FormalKind::Variadic)
        segments.push_back(operands.size() > i ? operands.size() - i : 0);
      else
        segments.push_back(i < operands.size() && operands[i]);
    }
    state.addAttribute("operandSegmentSizes", b.getDenseI32ArrayAttr(segments));
  }
  if (signature->hasResultSegments()) {
    SmallVector<int32_t> segments;
    for (auto [i, formal] : llvm::enumerate(signature->results)) {
      size_t left = resultElements.size() > i ? resultElements.size() - i : 0;
      segments.push_back(formal.kind == onnx::FormalKind::Variadic ? left
                                                                   : left > 0);
    }
    state.addAttribute("resultSegmentSizes", b.getDenseI32ArrayAttr(segments));
  }
  for (Type element : resultElements)
    state.addTypes(UnrankedTensorType::get(element));
  state.addAttributes(attributes);
  for (const onnx::AttrFormal &formal : signature->attributes)
    if (formal.kind == onnx::AttrKind::Graph)
      state.addRegion();
  return b.create(state);
}

Value GraphBuilder::op(StringRef name, ArrayRef<Value> operands,
                       ArrayRef<NamedAttribute> attributes, Type element) {
  return create(name, operands, element ? element : getElement(operands[0]),
                attributes)
      ->getResult(0);
}

//===----------------------------------------------------------------------===//
// Constants
//===----------------------------------------------------------------------===//

Value GraphBuilder::constant(ElementsAttr value) {
  Value &known = constants[{b.getInsertionBlock(), value}];
  if (!known) {
    Operation *op = create("Constant", {}, value.getElementType(),
                           b.getNamedAttr("value", value));
    known = op->getResult(0);
    known.setType(value.getShapedType());
  }
  return known;
}

Value GraphBuilder::ints(ArrayRef<int64_t> values) {
  auto type = RankedTensorType::get({static_cast<int64_t>(values.size())},
                                    b.getI64Type());
  return constant(DenseElementsAttr::get(type, values));
}

Value GraphBuilder::integer(int64_t value, Type element) {
  if (!element)
    element = b.getI64Type();
  return constant(DenseElementsAttr::get(
      RankedTensorType::get({}, element),
      ArrayRef<Attribute>(b.getIntegerAttr(element, value))));
}

Value GraphBuilder::real(double value, Type element) {
  return constant(DenseElementsAttr::get(
      RankedTensorType::get({}, element),
      ArrayRef<Attribute>(b.getFloatAttr(element, value))));
}

//===----------------------------------------------------------------------===//
// Shapes
//===----------------------------------------------------------------------===//

GraphExtent GraphBuilder::extent(Value value, int64_t i) {
  auto type = dyn_cast<RankedTensorType>(value.getType());
  if (type && !type.isDynamicDim(i))
    return type.getDimSize(i);
  Value shape = op("Shape", {value}, {}, b.getI64Type());
  return gather(shape, ints({i}));
}

Value GraphBuilder::shape(ArrayRef<GraphExtent> extents) {
  // Neighbours that are static become one constant.
  SmallVector<Value> parts;
  SmallVector<int64_t> sizes;
  auto flush = [&] {
    if (!sizes.empty())
      parts.push_back(ints(sizes));
    sizes.clear();
  };
  for (const GraphExtent &extent : extents) {
    if (extent.isStatic()) {
      sizes.push_back(extent.size);
      continue;
    }
    flush();
    parts.push_back(extent.value);
  }
  flush();
  if (parts.empty())
    return ints({});
  return parts.size() == 1 ? parts[0] : concat(parts, 0);
}

Value GraphBuilder::cast(Value value, Type element) {
  if (getElement(value) == element)
    return value;
  return op("Cast", {value}, attr("to", onnx::getDataType(element)), element);
}

Value GraphBuilder::unsqueeze(Value value, ArrayRef<int64_t> axes) {
  return op("Unsqueeze", {value, ints(axes)});
}

Value GraphBuilder::squeeze(Value value, ArrayRef<int64_t> axes) {
  return op("Squeeze", {value, ints(axes)});
}

Value GraphBuilder::concat(ArrayRef<Value> values, int64_t axis) {
  return values.size() == 1 ? values[0]
                            : op("Concat", values, attr("axis", axis));
}

Value GraphBuilder::gather(Value data, Value indices, int64_t axis) {
  return op("Gather", {data, indices}, attr("axis", axis));
}

Value GraphBuilder::reshape(Value value, ArrayRef<GraphExtent> extents) {
  // Without allowzero a 0 would mean the extent of the operand; -1 is only
  // used where the other extents are not 0.
  bool infers = llvm::any_of(extents, [](const GraphExtent &extent) {
    return extent.isStatic() && extent.size == -1;
  });
  bool mayBeZero = llvm::any_of(extents, [](const GraphExtent &extent) {
    return !extent.isStatic() || extent.size == 0;
  });
  SmallVector<NamedAttribute> attributes;
  if (mayBeZero && !infers)
    attributes.push_back(attr("allowzero", 1));
  return op("Reshape", {value, shape(extents)}, attributes);
}

Value GraphBuilder::expand(Value value, ArrayRef<GraphExtent> extents) {
  return op("Expand", {value, shape(extents)});
}

Value GraphBuilder::zeros(ArrayRef<GraphExtent> extents, Type element) {
  auto type = RankedTensorType::get({1}, element);
  TypedAttr zero = b.getZeroAttr(element);
  return op("ConstantOfShape", {shape(extents)},
            b.getNamedAttr("value", DenseElementsAttr::get(
                                        type, ArrayRef<Attribute>(zero))),
            element);
}

Value GraphBuilder::slice(Value value, int64_t axis, int64_t begin, int64_t end,
                          int64_t step) {
  return op("Slice", {value, ints({begin}), ints({end}), ints({axis}),
                      step == 1 ? Value() : ints({step})});
}

SmallVector<Value> GraphBuilder::split(Value value, int64_t axis,
                                       ArrayRef<int64_t> sizes) {
  if (sizes.size() == 1)
    return {value};
  return split(value, axis, ints(sizes), sizes.size());
}

SmallVector<Value> GraphBuilder::split(Value value, int64_t axis, Value sizes,
                                       int64_t count) {
  Operation *op =
      create("Split", {value, sizes},
             SmallVector<Type>(count, getElement(value)), attr("axis", axis));
  return llvm::to_vector_of<Value>(op->getResults());
}

Value GraphBuilder::sum(Value value, int64_t axis) {
  return op("ReduceSum", {value, ints({axis})}, attr("keepdims", 0));
}

//===----------------------------------------------------------------------===//
// Regions of scalars
//===----------------------------------------------------------------------===//

Value GraphBuilder::inlineScalars(Region &region, ArrayRef<Value> arguments) {
  Block &block = region.front();
  IRMapping mapping;
  llvm::DenseSet<Value> full(arguments.begin(), arguments.end());
  for (auto [scalar, tensor] : llvm::zip(block.getArguments(), arguments))
    mapping.map(scalar, tensor);
  for (Operation &scalarOp : block.without_terminator()) {
    StringRef name = scalarOp.getName().getStringRef();
    bool usesFull = llvm::any_of(scalarOp.getOperands(), [&](Value operand) {
      return full.contains(mapping.lookupOrDefault(operand));
    });
    // The bounds of Clip must stay scalars; Max and Min broadcast.
    if (name == "onnx.Clip" && usesFull) {
      Value low = onnx::getFormalOperand(&scalarOp, 1);
      Value high = onnx::getFormalOperand(&scalarOp, 2);
      auto map = [&](Value v) { return v ? mapping.lookupOrDefault(v) : v; };
      low = map(low), high = map(high);
      if (full.contains(low) || full.contains(high)) {
        Value value = map(onnx::getFormalOperand(&scalarOp, 0));
        if (low)
          value = op("Max", {value, low});
        if (high)
          value = op("Min", {value, high});
        mapping.map(scalarOp.getResult(0), value);
        full.insert(value);
        continue;
      }
    }
    Operation *clone = b.clone(scalarOp, mapping);
    clone->setLoc(locationOf(scalarOp.getName().stripDialect()));
    // Extents, names and values were those of scalars.
    for (StringRef stale :
         {StringRef(onnx::names::kDims), StringRef(onnx::names::kOutputs),
          StringRef(kValuesAttr)})
      clone->removeDiscardableAttr(stale);
    if (!usesFull)
      continue;
    for (Value result : clone->getResults()) {
      result.setType(UnrankedTensorType::get(getElement(result)));
      full.insert(result);
    }
  }
  Value yielded = mapping.lookupOrDefault(block.getTerminator()->getOperand(0));
  if (full.contains(yielded))
    return yielded;
  return op("Expand",
            {yielded, op("Shape", {arguments[0]}, {}, b.getI64Type())});
}
