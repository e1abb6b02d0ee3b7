//===- Passes.h - from ONNX to experts and back -----------------*- C++ -*-===//
#ifndef MOE_PASSES_RAISE_PASSES_H
#define MOE_PASSES_RAISE_PASSES_H

#include "dialects/MoE/MoEDialect.h"
#include "dialects/ONNX/ONNXDialect.h"
#include "dialects/Rt/RtDialect.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Pass/Pass.h"
#include "mlir/Pass/PassRegistry.h"
#include <memory>

namespace moe {

#define GEN_PASS_DECL
#define GEN_PASS_REGISTRATION
#include "passes/Raise/Passes.h.inc"

} // namespace moe

#endif // MOE_PASSES_RAISE_PASSES_H
