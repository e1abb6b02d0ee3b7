//===- ModelDiagnostics.h - diagnostics about nodes of a model --*- C++ -*-===//
//
// Ops that come from an ONNX model are located by the index of their node. The
// handler of MLIR's tools takes such a location for a line of text and shows
// that "line" of the binary file. The handler here prints them as what they
// are: `model.onnx: node 'name' (#12): error: ...`.
//
//===----------------------------------------------------------------------===//
#ifndef MOE_LIB_SUPPORT_MODELDIAGNOSTICS_H
#define MOE_LIB_SUPPORT_MODELDIAGNOSTICS_H

namespace llvm {
class raw_ostream;
} // namespace llvm
namespace mlir {
class MLIRContext;
} // namespace mlir

namespace moe {

/// Prints diagnostics located in an .onnx file to `os` as long as `context`
/// lives; all others go to the handlers that were there before.
void installModelDiagnostics(mlir::MLIRContext *context, llvm::raw_ostream &os);

} // namespace moe

#endif // MOE_LIB_SUPPORT_MODELDIAGNOSTICS_H
