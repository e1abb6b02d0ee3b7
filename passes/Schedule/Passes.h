//===- Passes.h - from what is computed to how it runs ----------*- C++ -*-===//
#ifndef MOE_PASSES_SCHEDULE_PASSES_H
#define MOE_PASSES_SCHEDULE_PASSES_H

#include "mlir/Pass/Pass.h"
#include "mlir/Pass/PassRegistry.h"
#include <memory>

namespace mlir {
class ModuleOp;
} // namespace mlir

namespace moe {

#define GEN_PASS_DECL
#define GEN_PASS_REGISTRATION
#include "passes/Schedule/Passes.h.inc"

} // namespace moe

#endif // MOE_PASSES_SCHEDULE_PASSES_H
