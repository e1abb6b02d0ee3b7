//===- ContribExperts.h - what nodes MoE and QMoE say -----------*- C++ -*-===//
//
// com.microsoft.MoE and QMoE, read once for raising and for the message where
// raising is not possible. The facts are those of the operators' schemas; where
// those leave something open, what ONNX Runtime's CPU kernels compute.
//
//===----------------------------------------------------------------------===//
#ifndef MOE_LIB_ANALYSIS_CONTRIBEXPERTS_H
#define MOE_LIB_ANALYSIS_CONTRIBEXPERTS_H

#include "mlir/IR/Operation.h"
#include "mlir/IR/Value.h"
#include <cstdint>
#include <optional>
#include <string>

namespace moe {

/// `activation_type`. With a second projection u each of the first five means
/// act(g) * u.
enum class ContribActivation {
  Relu,
  Gelu, ///< the form with tanh
  Silu,
  Identity,
  Relu2,  ///< relu(x)^2
  SwiGLU, ///< g * sigmoid(alpha * g) * (u + beta)
  GeGLU,  ///< gelu(g) * u
};

/// How gate and up projections are stored.
enum class ContribFusion {
  None,       ///< no up projection
  Separate,   ///< fc1 and fc3
  Interleave, ///< rows g0, u0, g1, u1, ... of fc1
  Concat,     ///< the first and second half of fc1's rows
};

/// The jitter of ONNX Runtime's sparse mixer, a constant of its kernel.
inline constexpr double kSparseMixerJitter = 0.01;

struct ContribExperts {
  /// A projection [experts, out, in], in codes of `bits` bits if that is not 0.
  struct Bank {
    mlir::Value weights, scales, zeroPoints, bias;
    int64_t bits = 0;
    explicit operator bool() const { return bool(weights); }
  };

  mlir::Value input, logits;
  /// `router_weights`: what selected experts are weighted with; null if absent.
  mlir::Value mix;
  Bank fc1, fc2, fc3;
  bool quantised = false;
  /// Codes that share a scale; none: a row does.
  std::optional<int64_t> block;

  int64_t k = 1;
  bool normalise = false, sparseMixer = false;
  ContribActivation activation = ContribActivation::Relu;
  ContribFusion fusion = ContribFusion::None;
  double alpha = 1, beta = 0;
  std::optional<double> limit;
  bool limitAfter = false;

  /// Reads a verified `onnx_ms.MoE` or `onnx_ms.QMoE`. Nothing if the compiler
  /// cannot run it; then `why` says what is wrong and what would be accepted.
  static std::optional<ContribExperts> read(mlir::Operation *op,
                                            std::string &why);
};

} // namespace moe

#endif // MOE_LIB_ANALYSIS_CONTRIBEXPERTS_H
