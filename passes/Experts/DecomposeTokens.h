//===- DecomposeTokens.h - pools and tokens as ONNX operators ---*- C++ -*-===//
//
// Internal to passes/Experts, as Decompose.h.
//
//===----------------------------------------------------------------------===//
#ifndef MOE_PASSES_EXPERTS_DECOMPOSETOKENS_H
#define MOE_PASSES_EXPERTS_DECOMPOSETOKENS_H

#include "dialects/MoE/MoEDialect.h"
#include "passes/Experts/GraphBuilder.h"

namespace moe {

/// A pool of `x`, whose rank is `rank`.
mlir::Value decomposePooling(GraphBuilder &g, mlir::Value x,
                             ir::PoolingAttr pooling, int64_t rank);
mlir::Value decomposePool(GraphBuilder &g, ir::PoolOp op);
mlir::Value decomposePoolSelect(GraphBuilder &g, ir::PoolSelectOp op);

mlir::Value decomposeTokenScore(GraphBuilder &g, ir::TokenScoreOp op);
mlir::Value decomposeTokenKeep(GraphBuilder &g, ir::TokenKeepOp op);
mlir::Value decomposeTokenDrop(GraphBuilder &g, ir::TokenDropOp op);
mlir::Value decomposeTokenRestore(GraphBuilder &g, ir::TokenRestoreOp op);
mlir::Value decomposeKeepCompose(GraphBuilder &g, ir::KeepComposeOp op);
/// y, merged_size and assign.
llvm::SmallVector<mlir::Value> decomposeTokenMerge(GraphBuilder &g,
                                                   ir::TokenMergeOp op);

} // namespace moe

#endif // MOE_PASSES_EXPERTS_DECOMPOSETOKENS_H
