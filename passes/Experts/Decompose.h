//===- Decompose.h - ops of moe as ONNX operators ---------------*- C++ -*-===//
//
// Internal to passes/Experts: what moe-decompose does for each op. Functions
// write the graph in front of the op and give its results, whose types the
// caller sets; they report and fail where an op has no decomposition.
//
//===----------------------------------------------------------------------===//
#ifndef MOE_PASSES_EXPERTS_DECOMPOSE_H
#define MOE_PASSES_EXPERTS_DECOMPOSE_H

#include "dialects/MoE/MoEDialect.h"
#include "passes/Experts/GraphBuilder.h"
#include "passes/Experts/Passes.h"

namespace moe {

/// The type that experts compute in: f64 for f64, else f32.
mlir::Type getComputeType(mlir::Value value);

/// Whether all of `ids` surely lie in [0, experts): those of a moe.route that
/// leaves no slot out.
bool picksEverySlot(mlir::Value ids, int64_t experts);

mlir::LogicalResult decomposeExperts(GraphBuilder &g, ir::ExpertsOp op,
                                     ExpertsForm form, mlir::Value &result);
mlir::Value decomposeTrivialExperts(GraphBuilder &g, ir::TrivialExpertsOp op);
mlir::Value decomposeDequantize(GraphBuilder &g, ir::DequantizeOp op);
mlir::Value decomposeMix(GraphBuilder &g, ir::MixOp op);
/// Takes the regions out of the op.
llvm::SmallVector<mlir::Value> decomposeSwitch(GraphBuilder &g,
                                               ir::SwitchOp op);

} // namespace moe

#endif // MOE_PASSES_EXPERTS_DECOMPOSE_H
