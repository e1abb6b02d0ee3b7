//===- SchemaBridge.h - ONNX's own operator schemas over IR -----*- C++ -*-===//
//
// The operator schemas of libonnx, asked about one op at a time: types of
// results with symbols for extents, values of shape tensors, conformance, and
// the functions that define operators. libonnx reports errors by exceptions;
// none leaves these functions. No header of libonnx is included here.
//
//===----------------------------------------------------------------------===//
#ifndef MOE_LIB_ONNX_SCHEMABRIDGE_H
#define MOE_LIB_ONNX_SCHEMABRIDGE_H

#include "mlir/IR/BuiltinAttributes.h"
#include "mlir/IR/Value.h"
#include "llvm/ADT/SmallVector.h"
#include <string>

namespace moe {

/// What inference may ask about the operands of an op. Texts are decimal
/// numbers, names of extents, or "" for what is not known.
class OperandFacts {
public:
  virtual ~OperandFacts();
  /// The extents of a ranked tensor that are not in its type: one text per
  /// dimension (those of static dimensions are not looked at).
  virtual void getExtents(mlir::Value value,
                          llvm::SmallVectorImpl<std::string> &extents) = 0;
  /// The elements of a small integer tensor of rank 0 or 1; false if nothing
  /// is known of them. Constants need not be answered.
  virtual bool getElements(mlir::Value value,
                           llvm::SmallVectorImpl<std::string> &elements) = 0;
};

/// A result as the schema infers it.
struct InferredResult {
  /// Null if nothing was inferred; an unranked tensor if the rank is unknown.
  mlir::Type type;
  /// For ranked tensors: name of each extent that is not static, or "".
  llvm::SmallVector<std::string, 4> extents;
};

/// Runs the shape inference of the op's schema. One entry per result of the op.
/// Regions count as inferred: their terminators' operands give the types.
/// False with the reason in `error` if the schema rejects the op; ops without a
/// schema (com.microsoft, custom) give entries without a type.
bool inferBySchema(mlir::Operation *op, OperandFacts &facts,
                   llvm::SmallVectorImpl<InferredResult> &results,
                   std::string &error);

/// Runs the schema's data propagation: elements of the op's first result, as
/// OperandFacts::getElements tells them. False if the schema has none or it
/// gives up. Results must have their types.
bool propagateBySchema(mlir::Operation *op, OperandFacts &facts,
                       llvm::SmallVectorImpl<std::string> &elements);

/// Checks counts and attributes of the op as a node. Empty, or what is wrong.
std::string checkBySchema(mlir::Operation *op);

/// The function that defines the op, as a serialised FunctionProto; empty if
/// its operator is primitive (or a function only in other circumstances).
std::string getFunctionBody(mlir::Operation *op);

/// The value of a constant op (`onnx.Constant` of any form, `onnx.Initializer`)
/// or null. Bytes of `#onnx.file` are not read.
mlir::ElementsAttr getConstantValue(mlir::Value value);

/// The operands of an op by place in the node: null where it leaves one out.
llvm::SmallVector<mlir::Value> getNodeInputs(mlir::Operation *op);
/// The results by place in the node, null where it leaves one out.
llvm::SmallVector<mlir::Value> getNodeOutputs(mlir::Operation *op);

} // namespace moe

#endif // MOE_LIB_ONNX_SCHEMABRIDGE_H
