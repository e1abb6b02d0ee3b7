//===- ExpandAttention.h - attention as loops over kernels ------*- C++ -*-===//
//
// Private to moe-expand-grouped.
//
//===----------------------------------------------------------------------===//
#ifndef MOE_PASSES_LOWER_HOST_EXPANDATTENTION_H
#define MOE_PASSES_LOWER_HOST_EXPANDATTENTION_H

#include "dialects/MoE/MoEDialect.h"
#include "passes/Lower/Host/MicroKernels.h"

namespace moe {

/// Emits what `op` computes in front of it.
void expandAttention(ir::AttendOp op, MicroKernels &kernels,
                     mlir::OpBuilder &builder);

} // namespace moe

#endif // MOE_PASSES_LOWER_HOST_EXPANDATTENTION_H
