//===- Report.h - what moe-run tells --------------------------------------===//
#ifndef MOE_TOOLS_RUN_REPORT_H
#define MOE_TOOLS_RUN_REPORT_H

#include "tools/moe-run/Compare.h"
#include "tools/moe-run/Options.h"
#include "tools/moe-run/Profile.h"
#include "tools/moe-run/Tensor.h"

#include <optional>
#include <string>
#include <vector>

namespace moe::run {

/// What is told of an output.
struct OutputSummary {
  int32_t dtype = 0;
  std::vector<int64_t> dims;
  /// Of its elements; empty in JSON.
  std::string text;
};

/// Everything that a call of moe-run found out.
struct Report {
  std::string model;
  std::string cpu; // that the code was compiled for
  std::optional<double> compileSeconds;
  double loadMilliseconds = 0;
  int32_t threads = 0;
  const moe_function *function = nullptr;
  std::vector<OutputSummary> outputs;
  std::vector<std::optional<Comparison>> comparisons;
  /// Times of the measured runs in milliseconds; empty without --bench.
  std::vector<double> times;
  /// Peak of the first run, arena of all; not told without --bench.
  moe_memory_usage memory = {};
  uint64_t anonymousPeak = 0;
  /// Of the measured runs, or of the only one; empty without --profile.
  Profile profile;

  bool matches() const;
};

/// Text for people, several lines.
std::string toText(const Report &report);
/// One JSON object on one line.
std::string toJson(const Report &report);

} // namespace moe::run

#endif // MOE_TOOLS_RUN_REPORT_H
