//===- Passes.h - what is known of values -----------------------*- C++ -*-===//
#ifndef MOE_PASSES_INFER_PASSES_H
#define MOE_PASSES_INFER_PASSES_H

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Pass/Pass.h"
#include "mlir/Pass/PassRegistry.h"
#include <memory>

namespace moe {

#define GEN_PASS_DECL
#define GEN_PASS_REGISTRATION
#include "passes/Infer/Passes.h.inc"

} // namespace moe

#endif // MOE_PASSES_INFER_PASSES_H
