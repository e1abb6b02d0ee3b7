//===- Report.cpp - what moe-run tells ------------------------------------===//

#include "tools/moe-run/Report.h"

#include "tools/moe-run/JsonText.h"

#include <algorithm>
#include <cstdio>

namespace moe::run {
namespace {

double minimum(const std::vector<double> &values) {
  return *std::min_element(values.begin(), values.end());
}

} // namespace

bool Report::matches() const {
  return std::all_of(comparisons.begin(), comparisons.end(),
                     [](const std::optional<Comparison> &comparison) {
                       return !comparison || comparison->matches;
                     });
}

std::string toText(const Report &report) {
  std::string text;
  for (size_t i = 0; i < report.outputs.size(); ++i) {
    std::string name = report.function->outputs[i].name;
    bool compared = i < report.comparisons.size() && report.comparisons[i];
    text += "output '" + name + "' ";
    text += compared ? report.comparisons[i]->text : report.outputs[i].text;
    text += '\n';
  }
  if (!report.times.empty()) {
    char line[160];
    std::snprintf(line, sizeof(line),
                  "%.4g ms median, %.4g ms minimum of %zu runs, %d threads\n",
                  median(report.times), minimum(report.times),
                  report.times.size(), int(report.threads));
    text += line;
    constexpr double kMegabyte = 1e6;
    std::snprintf(line, sizeof(line),
                  "%.4g MB of values live at most, in an arena of %.4g MB; "
                  "%.4g MB of anonymous memory in all\n",
                  double(report.memory.peak) / kMegabyte,
                  double(report.memory.arena) / kMegabyte,
                  double(report.anonymousPeak) / kMegabyte);
    text += line;
  }
  if (!report.profile.empty())
    text += toText(report.profile);
  return text;
}

std::string toJson(const Report &report) {
  std::string text = "{\"model\":" + jsonString(report.model);
  if (!report.times.empty())
    text +=
        ",\"median_ms\":" + jsonNumber(median(report.times)) +
        ",\"min_ms\":" + jsonNumber(minimum(report.times)) +
        ",\"runs\":" + std::to_string(report.times.size()) +
        ",\"peak_live_bytes\":" + std::to_string(report.memory.peak) +
        ",\"arena_bytes\":" + std::to_string(report.memory.arena) +
        ",\"peak_rss_anon_bytes\":" +
        (report.anonymousPeak ? std::to_string(report.anonymousPeak) : "null");
  text += ",\"cpu\":" + jsonString(report.cpu) +
          ",\"threads\":" + std::to_string(report.threads);
  if (report.compileSeconds)
    text += ",\"compile_s\":" + jsonNumber(*report.compileSeconds);
  text += ",\"load_ms\":" + jsonNumber(report.loadMilliseconds);
  if (!report.comparisons.empty())
    text +=
        std::string(",\"matches\":") + (report.matches() ? "true" : "false");
  text += ",\"outputs\":[";
  for (size_t i = 0; i < report.outputs.size(); ++i) {
    const OutputSummary &output = report.outputs[i];
    text += i ? "," : "";
    text += "{\"name\":" + jsonString(report.function->outputs[i].name) +
            ",\"dtype\":" + jsonString(moe_dtype_name(output.dtype)) +
            ",\"shape\":[";
    for (size_t d = 0; d < output.dims.size(); ++d)
      text += (d ? "," : "") + std::to_string(output.dims[d]);
    text += "]";
    if (i < report.comparisons.size() && report.comparisons[i]) {
      const Comparison &comparison = *report.comparisons[i];
      text += std::string(",\"matches\":") +
              (comparison.matches ? "true" : "false") +
              ",\"differing\":" + std::to_string(comparison.differing) +
              ",\"max_difference\":" + jsonNumber(comparison.maxDifference) +
              ",\"text\":" + jsonString(comparison.text);
    }
    text += "}";
  }
  text += "]";
  if (!report.profile.empty())
    text += "," + toJson(report.profile);
  return text + "}";
}

} // namespace moe::run
