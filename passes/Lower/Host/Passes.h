//===- Passes.h - from linalg on tensors to code for host -------*- C++ -*-===//
//
// The passes of Passes.td. passes/Pipelines puts them in order.
//
//===----------------------------------------------------------------------===//
#ifndef MOE_PASSES_LOWER_HOST_PASSES_H
#define MOE_PASSES_LOWER_HOST_PASSES_H

#include "moe/Activations.h"

#include "mlir/Pass/Pass.h"

namespace mlir {
class ModuleOp;
namespace func {
class FuncOp;
} // namespace func
} // namespace mlir

namespace moe {
#define GEN_PASS_DECL
#include "passes/Lower/Host/Passes.h.inc"

#define GEN_PASS_REGISTRATION
#include "passes/Lower/Host/Passes.h.inc"
} // namespace moe

#endif // MOE_PASSES_LOWER_HOST_PASSES_H
