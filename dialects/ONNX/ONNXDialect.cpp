//===- ONNXDialect.cpp - dialects `onnx` and `onnx_ms` --------------------===//

#include "dialects/ONNX/ONNXDialect.h"
#include "dialects/ONNX/FileCache.h"
#include "dialects/ONNX/ONNXOps.h"
#include "dialects/ONNX/Signatures.h"
#include "mlir/IR/Builders.h"
#include "mlir/IR/DialectImplementation.h"
#include "llvm/ADT/TypeSwitch.h"

using namespace mlir;
using namespace moe::onnx;

#include "dialects/ONNX/ONNXDialect.cpp.inc"
#include "dialects/ONNX/ONNXMsDialect.cpp.inc"

#define GET_TYPEDEF_CLASSES
#include "dialects/ONNX/ONNXTypes.cpp.inc"

#define GET_ATTRDEF_CLASSES
#include "dialects/ONNX/ONNXAttrs.cpp.inc"

void ONNXDialect::registerTypes() {
  addTypes<
#define GET_TYPEDEF_LIST
#include "dialects/ONNX/ONNXTypes.cpp.inc"
      >();
}

void ONNXDialect::registerAttributes() {
  addAttributes<
#define GET_ATTRDEF_LIST
#include "dialects/ONNX/ONNXAttrs.cpp.inc"
      >();
}

FileCache &ONNXDialect::getFiles() { return *files; }

Operation *ONNXDialect::materializeConstant(OpBuilder &builder,
                                            Attribute value, Type type,
                                            Location loc) {
  auto elements = dyn_cast<ElementsAttr>(value);
  if (!elements || elements.getType() != type)
    return nullptr;
  return InitializerOp::create(builder, loc, type, builder.getStringAttr(""),
                               elements);
}

ElementsAttr moe::onnx::getConstantElements(Operation *op) {
  StringRef name = op->getName().getStringRef();
  if (name == "onnx.Initializer")
    return op->getAttrOfType<ElementsAttr>("value");
  if (name != "onnx.Constant")
    return {};
  if (auto elements = op->getAttrOfType<ElementsAttr>("value"))
    return elements;
  Builder builder(op->getContext());
  auto listType = [&](int64_t size, Type element) {
    return RankedTensorType::get({size}, element);
  };
  if (auto number = op->getAttrOfType<IntegerAttr>("value_int"))
    return DenseElementsAttr::get(
        RankedTensorType::get({}, builder.getI64Type()),
        number.getValue().getSExtValue());
  if (auto number = op->getAttrOfType<FloatAttr>("value_float"))
    return DenseElementsAttr::get(
        RankedTensorType::get({}, builder.getF32Type()),
        static_cast<float>(number.getValueAsDouble()));
  if (auto list = op->getAttrOfType<DenseI64ArrayAttr>("value_ints"))
    return DenseElementsAttr::get(listType(list.size(), builder.getI64Type()),
                                  list.asArrayRef());
  if (auto list = op->getAttrOfType<DenseF32ArrayAttr>("value_floats"))
    return DenseElementsAttr::get(listType(list.size(), builder.getF32Type()),
                                  list.asArrayRef());
  return {};
}

//===----------------------------------------------------------------------===//
// Element types
//===----------------------------------------------------------------------===//

namespace {
struct ElementTypeInfo {
  int dataType;
  StringRef name;
  unsigned bits;
  Type (*get)(MLIRContext *);
};
} // namespace

template <typename T> static Type getSimple(MLIRContext *context) {
  return T::get(context);
}
template <unsigned Width, IntegerType::SignednessSemantics Sign>
static Type getInteger(MLIRContext *context) {
  return IntegerType::get(context, Width, Sign);
}
template <typename T> static Type getComplex(MLIRContext *context) {
  return ComplexType::get(T::get(context));
}

/// The element types of TensorProto.DataType, by number.
static ArrayRef<ElementTypeInfo> getElementTypeTable() {
  constexpr auto Signless = IntegerType::Signless;
  constexpr auto Unsigned = IntegerType::Unsigned;
  static const ElementTypeInfo table[] = {
      {1, "float", 32, getSimple<Float32Type>},
      {2, "uint8", 8, getInteger<8, Unsigned>},
      {3, "int8", 8, getInteger<8, Signless>},
      {4, "uint16", 16, getInteger<16, Unsigned>},
      {5, "int16", 16, getInteger<16, Signless>},
      {6, "int32", 32, getInteger<32, Signless>},
      {7, "int64", 64, getInteger<64, Signless>},
      {8, "string", 0, getSimple<StringType>},
      {9, "bool", 8, getInteger<1, Signless>},
      {10, "float16", 16, getSimple<Float16Type>},
      {11, "double", 64, getSimple<Float64Type>},
      {12, "uint32", 32, getInteger<32, Unsigned>},
      {13, "uint64", 64, getInteger<64, Unsigned>},
      {14, "complex64", 64, getComplex<Float32Type>},
      {15, "complex128", 128, getComplex<Float64Type>},
      {16, "bfloat16", 16, getSimple<BFloat16Type>},
      {17, "float8e4m3fn", 8, getSimple<Float8E4M3FNType>},
      {18, "float8e4m3fnuz", 8, getSimple<Float8E4M3FNUZType>},
      {19, "float8e5m2", 8, getSimple<Float8E5M2Type>},
      {20, "float8e5m2fnuz", 8, getSimple<Float8E5M2FNUZType>},
      {21, "uint4", 4, getInteger<4, Unsigned>},
      {22, "int4", 4, getInteger<4, Signless>},
      {23, "float4e2m1", 4, getSimple<Float4E2M1FNType>},
      {24, "float8e8m0", 8, getSimple<Float8E8M0FNUType>},
      {25, "uint2", 2, getInteger<2, Unsigned>},
      {26, "int2", 2, getInteger<2, Signless>},
  };
  return table;
}

static const ElementTypeInfo *lookupElementType(Type type) {
  for (const ElementTypeInfo &info : getElementTypeTable())
    if (info.get(type.getContext()) == type)
      return &info;
  return nullptr;
}

int moe::onnx::getDataType(Type elementType) {
  const ElementTypeInfo *info = lookupElementType(elementType);
  return info ? info->dataType : 0;
}

Type moe::onnx::getElementType(int dataType, MLIRContext *context) {
  for (const ElementTypeInfo &info : getElementTypeTable())
    if (info.dataType == dataType)
      return info.get(context);
  return {};
}

StringRef moe::onnx::getDataTypeName(Type elementType) {
  const ElementTypeInfo *info = lookupElementType(elementType);
  return info ? info->name : "?";
}

unsigned moe::onnx::getElementBits(Type elementType) {
  const ElementTypeInfo *info = lookupElementType(elementType);
  return info ? info->bits : 0;
}

//===----------------------------------------------------------------------===//
// Ops that are no operator
//===----------------------------------------------------------------------===//

/// `#onnx.file<...> : tensor<...>`: the value tells the type of the result.
static ParseResult parseElementsOfType(OpAsmParser &parser,
                                       ElementsAttr &value, Type &type) {
  if (parser.parseAttribute(value))
    return failure();
  type = value.getType();
  return success();
}

static void printElementsOfType(OpAsmPrinter &printer, Operation *,
                                ElementsAttr value, Type) {
  printer.printAttribute(value);
}

#define GET_OP_CLASSES
#include "dialects/ONNX/ONNXExtraOps.cpp.inc"

/// Large constants are left where they are: folding hands attributes around,
/// it never looks into them.
OpFoldResult InitializerOp::fold(FoldAdaptor) { return getValueAttr(); }

LogicalResult InitializerOp::verify() {
  if (getValue().getType() != getResult().getType())
    return emitOpError("holds a value of type ")
           << getValue().getType() << ", its result is "
           << getResult().getType();
  return success();
}

void InitializerOp::getAsmResultNames(
    llvm::function_ref<void(Value, StringRef)> set) {
  if (!getInitializer().empty())
    set(getResult(), getInitializer());
}

void CustomOp::getAsmResultNames(
    llvm::function_ref<void(Value, StringRef)> set) {
  nameResults(*this, set);
}
