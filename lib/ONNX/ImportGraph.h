//===- ImportGraph.h - GraphProto to ops ------------------------*- C++ -*-===//
#ifndef MOE_LIB_ONNX_IMPORTGRAPH_H
#define MOE_LIB_ONNX_IMPORTGRAPH_H

#include "mlir/IR/BuiltinOps.h"

namespace onnx {
class ModelProto;
} // namespace onnx

namespace moe {

class ModelFile;

/// Fills `module` with the function `main` for the graph of `model`, whose
/// nodes have the forms of the newest opset, and sets the module's attributes.
/// Reports everything that is wrong; the module is then in no useful state.
llvm::LogicalResult importGraph(const ::onnx::ModelProto &model,
                                ModelFile &file, mlir::ModuleOp module);

/// Location of a node: its name, and its index in the graph as the line.
mlir::Location getNodeLocation(mlir::MLIRContext *context, llvm::StringRef path,
                               llvm::StringRef name, int index);

/// Names of attributes that only import and export use.
namespace names {
/// On the op of a node with subgraphs: for each its name and named extents.
inline constexpr llvm::StringLiteral kGraphs = "onnx.graphs";
/// On an initializer that is also an input of the graph: its place there.
inline constexpr llvm::StringLiteral kInput = "onnx.graph_input";
/// On an op: for each result what the model declares of it besides its type
/// (dims, metadata_props, doc_string). Declarations are kept for the export
/// only: `onnx.dims` is what shape inference proves.
inline constexpr llvm::StringLiteral kDeclared = "onnx.value_info";
/// Named extents of the tensors in a sequence or optional: on an argument or
/// result of the function, and (for the type that an attribute holds) on an op.
inline constexpr llvm::StringLiteral kElementDims = "onnx.element_dims";
/// Entry of `onnx.model`: the model declares types of inner values.
inline constexpr llvm::StringLiteral kValueInfo = "value_info";
} // namespace names

} // namespace moe

#endif // MOE_LIB_ONNX_IMPORTGRAPH_H
