//===- Activations.h - how exact activations are ----------------*- C++ -*-===//
#ifndef MOE_ACTIVATIONS_H
#define MOE_ACTIVATIONS_H

namespace moe {

/// What products with weights of fewer bits than f32 do to their other factor.
enum class Activations {
  /// f32 arithmetic.
  F32,
  /// What f32 arithmetic gives, up to its own roundings: 23 bits for each
  /// activation beside integer weights.
  Exact,
  /// What costs less than 1e-4 of a result's norm: 16 bits.
  Close,
  /// What the target multiplies fastest: 8 bits beside integer weights, bf16
  /// beside bf16.
  Rounded,
};

} // namespace moe

#endif // MOE_ACTIVATIONS_H
