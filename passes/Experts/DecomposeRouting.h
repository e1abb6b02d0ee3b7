//===- DecomposeRouting.h - routers as ONNX operators -----------*- C++ -*-===//
//
// Internal to passes/Experts, as Decompose.h.
//
//===----------------------------------------------------------------------===//
#ifndef MOE_PASSES_EXPERTS_DECOMPOSEROUTING_H
#define MOE_PASSES_EXPERTS_DECOMPOSEROUTING_H

#include "dialects/MoE/MoEDialect.h"
#include "passes/Experts/GraphBuilder.h"

namespace moe {

/// ids and weights.
llvm::SmallVector<mlir::Value> decomposeRoute(GraphBuilder &g, ir::RouteOp op);
/// tokens and weights.
llvm::SmallVector<mlir::Value> decomposeRouteBalanced(GraphBuilder &g,
                                                      ir::RouteBalancedOp op);
/// kept_ids and kept_weights.
llvm::SmallVector<mlir::Value> decomposeCapacity(GraphBuilder &g,
                                                 ir::CapacityOp op);
/// out and, if there are, probs.
llvm::SmallVector<mlir::Value> decomposeAttention(GraphBuilder &g,
                                                  ir::AttentionOp op);
mlir::Value decomposeNorm(GraphBuilder &g, ir::NormOp op);
/// dispatch and combine.
llvm::SmallVector<mlir::Value> decomposeSoftRoute(GraphBuilder &g,
                                                  ir::SoftRouteOp op);
/// counts, gate_sum and prob_sum. Reports and fails below opset 16 and if the
/// number of experts is unknown.
mlir::FailureOr<llvm::SmallVector<mlir::Value>>
decomposeLoadStats(GraphBuilder &g, ir::LoadStatsOp op);

} // namespace moe

#endif // MOE_PASSES_EXPERTS_DECOMPOSEROUTING_H
