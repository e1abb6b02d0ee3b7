//===- Passes.h - experts and routers ---------------------------*- C++ -*-===//
#ifndef MOE_PASSES_EXPERTS_PASSES_H
#define MOE_PASSES_EXPERTS_PASSES_H

#include "mlir/Pass/Pass.h"
#include "mlir/Pass/PassRegistry.h"
#include <memory>

namespace mlir {
class ModuleOp;
class RewritePatternSet;
} // namespace mlir

namespace moe {

/// How moe.experts is written with ONNX operators.
enum class ExpertsForm { Gather, Loop, Grouped };

/// How a report is written.
enum class ReportFormat { Text, Json };

#define GEN_PASS_DECL
#define GEN_PASS_REGISTRATION
#include "passes/Experts/Passes.h.inc"

} // namespace moe

#endif // MOE_PASSES_EXPERTS_PASSES_H
