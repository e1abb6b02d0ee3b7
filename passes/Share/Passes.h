//===- Passes.h - code that parts of a model share --------------*- C++ -*-===//
#ifndef MOE_PASSES_SHARE_PASSES_H
#define MOE_PASSES_SHARE_PASSES_H

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/IR/BuiltinOps.h"
#include "mlir/Pass/Pass.h"
#include "mlir/Pass/PassRegistry.h"
#include <memory>

namespace moe {

#define GEN_PASS_DECL
#define GEN_PASS_REGISTRATION
#include "passes/Share/Passes.h.inc"

} // namespace moe

#endif // MOE_PASSES_SHARE_PASSES_H
