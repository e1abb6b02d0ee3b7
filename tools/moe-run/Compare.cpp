//===- Compare.cpp - results against expectations -------------------------===//

#include "tools/moe-run/Compare.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <limits>

namespace moe::run {
namespace {

/// "[1, 4, 7]": the index of element `flat`.
std::string indexText(const std::vector<int64_t> &dims, int64_t flat) {
  std::string text;
  for (size_t d = dims.size(); d-- > 0;) {
    text = std::to_string(flat % dims[d]) + (text.empty() ? "" : ", ") + text;
    flat /= dims[d];
  }
  return "[" + text + "]";
}

std::string shortNumber(double value) {
  char text[40];
  std::snprintf(text, sizeof(text), "%.3g", value);
  return text;
}

/// How far an element is beyond what is tolerated; 0 or less: it matches.
double excess(double got, double expected, Tolerance tolerance) {
  if (got == expected || (std::isnan(got) && std::isnan(expected)))
    return 0;
  if (!std::isfinite(got) || !std::isfinite(expected))
    return std::numeric_limits<double>::infinity();
  return std::fabs(got - expected) -
         (tolerance.absolute + tolerance.relative * std::fabs(expected));
}

bool sameBytes(const TensorView &a, const TensorView &b, int64_t index) {
  int32_t width = moe_dtype_size(a.dtype);
  return std::memcmp(static_cast<const char *>(a.data) + index * width,
                     static_cast<const char *>(b.data) + index * width,
                     width) == 0;
}

} // namespace

Comparison compare(const TensorView &got, const TensorView &expected,
                   Tolerance tolerance) {
  Comparison result;
  if (got.dtype != expected.dtype || got.dims != expected.dims) {
    result.text = "is " + describe(got.dtype, got.dims) + ", " +
                  describe(expected.dtype, expected.dims) + " expected";
    return result;
  }
  bool exact = !isFloat(got.dtype);
  int64_t count = got.count();
  int64_t worst = -1;
  double worstExcess = 0;
  for (int64_t i = 0; i < count; ++i) {
    double a = elementValue(got, i), b = elementValue(expected, i);
    double difference = std::fabs(a - b);
    if (std::isfinite(difference) && difference > result.maxDifference)
      result.maxDifference = difference;
    double beyond = 0;
    if (!exact)
      beyond = excess(a, b, tolerance);
    else if (!sameBytes(got, expected, i))
      // 64-bit integers that differ may be equal as doubles.
      beyond = std::max(difference, 1.0);
    if (!(beyond > 0))
      continue;
    ++result.differing;
    if (beyond > worstExcess) {
      worst = i;
      worstExcess = beyond;
    }
  }
  result.matches = result.differing == 0;
  if (result.matches) {
    result.text = "matches " + describe(got.dtype, got.dims);
    result.text +=
        exact ? " exactly"
              : ", largest difference " + shortNumber(result.maxDifference);
    return result;
  }
  result.text = "differs at " + indexText(got.dims, worst) + ": got " +
                elementText(got, worst) + ", expected " +
                elementText(expected, worst);
  if (!exact)
    result.text += " (difference " +
                   shortNumber(std::fabs(elementValue(got, worst) -
                                         elementValue(expected, worst))) +
                   ", tolerance " + shortNumber(tolerance.absolute) + " + " +
                   shortNumber(tolerance.relative) + " * |expected|)";
  result.text += "; " + std::to_string(result.differing) + " of " +
                 std::to_string(count) + " elements differ";
  return result;
}

} // namespace moe::run
