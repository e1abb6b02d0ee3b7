//===- Activations.h - activations that have a name -------------*- C++ -*-===//
//
// The activation of `moe.experts` is a region. These are the ones that
// com.microsoft's operators have names for: written as a region, and found
// again in one, whichever way its products and limits are written.
//
//===----------------------------------------------------------------------===//
#ifndef MOE_PASSES_RAISE_ACTIVATIONS_H
#define MOE_PASSES_RAISE_ACTIVATIONS_H

#include "lib/Analysis/ContribExperts.h"
#include "mlir/IR/Builders.h"
#include "mlir/IR/Region.h"

namespace moe {

struct NamedActivation {
  ContribActivation kind = ContribActivation::Relu;
  /// Takes a gate and an up projection.
  bool gated = false;
  /// SwiGLU's: G * sigmoid(alpha * G) * (U + beta) with G = min(g, limit) and U
  /// = clamp(u, -limit, limit); with `limitAfter` the first product is limited
  /// instead of g.
  double alpha = 1, beta = 0;
  std::optional<double> limit;
  bool limitAfter = false;
};

/// Operator `onnx.NAME` with one result of the type of its first operand.
mlir::Value createScalarOp(mlir::OpBuilder &builder, mlir::Location loc,
                           llvm::StringRef name, mlir::ValueRange operands,
                           llvm::ArrayRef<mlir::NamedAttribute> attrs = {});

/// Fills an empty region with the activation, on f32 scalars.
void buildActivation(mlir::Region &region, mlir::Location loc,
                     const NamedActivation &activation);

/// The activation that a region computes, if it has a name. silu(g) * u is
/// SwiGLU, gelu(g) * u is GeGLU.
std::optional<NamedActivation> recogniseActivation(mlir::Region &region);

} // namespace moe

#endif // MOE_PASSES_RAISE_ACTIVATIONS_H
