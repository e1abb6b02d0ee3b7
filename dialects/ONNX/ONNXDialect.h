//===- ONNXDialect.h - dialects `onnx` and `onnx_ms` ------------*- C++ -*-===//
//
// Dialects, types, attributes and what all ops share. The op classes are in
// ONNXOps.h (large: include it only where ops are named).
//
//===----------------------------------------------------------------------===//
#ifndef MOE_DIALECTS_ONNX_ONNXDIALECT_H
#define MOE_DIALECTS_ONNX_ONNXDIALECT_H

#include "dialects/Rt/RtInterfaces.h"
#include "mlir/IR/BuiltinAttributes.h"
#include "mlir/IR/BuiltinTypes.h"
#include "mlir/IR/Dialect.h"
#include "mlir/IR/OpDefinition.h"
#include "mlir/IR/OpImplementation.h"
#include <string>

namespace moe::onnx {

/// Discardable attributes of ops and functions (docs/Rationale/Spine.md).
namespace names {
inline constexpr llvm::StringLiteral kOutputs = "onnx.outputs";
inline constexpr llvm::StringLiteral kDims = "onnx.dims";
inline constexpr llvm::StringLiteral kName = "onnx.name";
inline constexpr llvm::StringLiteral kMetadata = "onnx.metadata_props";
inline constexpr llvm::StringLiteral kDoc = "onnx.doc_string";
inline constexpr llvm::StringLiteral kDomain = "onnx.domain";
inline constexpr llvm::StringLiteral kOpsetImport = "onnx.opset_import";
inline constexpr llvm::StringLiteral kModel = "onnx.model";
} // namespace names

/// Checks an op against its schema (counts, element types, one type per type
/// parameter) and against the rules of its operator, if it has some.
mlir::LogicalResult verifySchemaOp(mlir::Operation *op);

/// Rules of single operators, in Verifiers*.cpp: called by verifySchemaOp.
mlir::LogicalResult verifyOperatorRules(mlir::Operation *op);

/// Trait of every op that stands for an operator.
template <typename ConcreteOp>
struct SchemaOp : mlir::OpTrait::TraitBase<ConcreteOp, SchemaOp> {
  static mlir::LogicalResult verifyTrait(mlir::Operation *op) {
    return verifySchemaOp(op);
  }
};

/// Operand i of the schema, or null if the op leaves it out. For variadic
/// formals: the first of its values.
mlir::Value getFormalOperand(mlir::Operation *op, unsigned formal);
/// Result i of the schema, or null.
mlir::Value getFormalResult(mlir::Operation *op, unsigned formal);

/// The elements of an `onnx.Constant`, whichever of its attributes holds them,
/// or of an `onnx.Initializer`. Null for other ops, strings and sparse values.
mlir::ElementsAttr getConstantElements(mlir::Operation *op);

/// ONNX's number (TensorProto.DataType) of an element type, 0 if it has none.
int getDataType(mlir::Type elementType);
/// Element type of an ONNX number, null if ONNX has no such type.
mlir::Type getElementType(int dataType, mlir::MLIRContext *context);
/// ONNX's spelling of an element type, such as "float16" ("?" if none).
llvm::StringRef getDataTypeName(mlir::Type elementType);
/// Bits that one element takes in raw data; 0 for strings.
unsigned getElementBits(mlir::Type elementType);

/// Files that attributes refer to, mapped once per context.
class FileCache;

/// Shared parser and printer: `(%a, _, %b) {attributes} : (t, t) -> t`, where
/// `_` is an operand (or result type) that the op leaves out.
mlir::ParseResult parseSchemaOp(mlir::OpAsmParser &parser,
                                mlir::OperationState &state);
void printSchemaOp(mlir::OpAsmPrinter &printer, mlir::Operation *op);
void nameResults(mlir::Operation *op,
                 llvm::function_ref<void(mlir::Value, llvm::StringRef)> set);

} // namespace moe::onnx

#include "dialects/ONNX/ONNXDialect.h.inc"
#include "dialects/ONNX/ONNXMsDialect.h.inc"

#define GET_TYPEDEF_CLASSES
#include "dialects/ONNX/ONNXTypes.h.inc"

#define GET_ATTRDEF_CLASSES
#include "dialects/ONNX/ONNXAttrs.h.inc"

#endif // MOE_DIALECTS_ONNX_ONNXDIALECT_H
