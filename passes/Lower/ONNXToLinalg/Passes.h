//===- Passes.h - from onnx to linalg ---------------------------*- C++ -*-===//
#ifndef MOE_PASSES_LOWER_ONNXTOLINALG_PASSES_H
#define MOE_PASSES_LOWER_ONNXTOLINALG_PASSES_H

#include "mlir/Pass/PassRegistry.h"
#include "llvm/ADT/StringRef.h"
#include <memory>
#include <vector>

namespace mlir {
class Pass;
} // namespace mlir

namespace moe {

#define GEN_PASS_DECL
#define GEN_PASS_REGISTRATION
#include "passes/Lower/ONNXToLinalg/Passes.h.inc"

/// Whether an op (`onnx.MatMul`) has a lowering to linalg.
bool hasLinalgLowering(llvm::StringRef opName);

/// All ops that have one, sorted.
std::vector<llvm::StringRef> getLinalgLowerings();

} // namespace moe

#endif // MOE_PASSES_LOWER_ONNXTOLINALG_PASSES_H
