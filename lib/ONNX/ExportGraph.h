//===- ExportGraph.h - ops to GraphProto ------------------------*- C++ -*-===//
#ifndef MOE_LIB_ONNX_EXPORTGRAPH_H
#define MOE_LIB_ONNX_EXPORTGRAPH_H

#include "lib/ONNX/ExportTensor.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "llvm/ADT/StringSet.h"

namespace onnx {
class GraphProto;
} // namespace onnx

namespace moe {

/// Writes `function` as a graph, in the forms of the newest opset; adds the
/// domains of its operators to `domains`. With `declareValues` the types of
/// inner values are written as well. Reports each op and type that ONNX does
/// not have.
llvm::LogicalResult exportGraph(mlir::func::FuncOp function, bool declareValues,
                                ::onnx::GraphProto &graph, Payloads &payloads,
                                llvm::StringSet<> &domains);

} // namespace moe

#endif // MOE_LIB_ONNX_EXPORTGRAPH_H
