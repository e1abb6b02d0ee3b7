//===- Compare.h - results against expectations ---------------------------===//
#ifndef MOE_TOOLS_RUN_COMPARE_H
#define MOE_TOOLS_RUN_COMPARE_H

#include "tools/moe-run/Tensor.h"

#include <string>

namespace moe::run {

struct Tolerance {
  double relative = 1e-4;
  double absolute = 1e-5;
};

struct Comparison {
  bool matches = false;
  int64_t differing = 0; // elements
  /// Largest |got - expected| of finite elements.
  double maxDifference = 0;
  /// One line: why it does not match (the worst element with its index and both
  /// values, how many differ), or how near it is.
  std::string text;
};

/// Floats match if |got - expected| <= absolute + relative * |expected|, or if
/// both are NaN or the same infinity; integers and bools if they are equal.
/// f16 and bf16 are compared as floats. Type and shape must be equal.
Comparison compare(const TensorView &got, const TensorView &expected,
                   Tolerance tolerance);

} // namespace moe::run

#endif // MOE_TOOLS_RUN_COMPARE_H
