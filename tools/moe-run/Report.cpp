//===- Report.cpp - what moe-run tells ------------------------------------===//

#include "tools/moe-run/Report.h"

#include "tools/moe-run/Outputs.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <numeric>

namespace moe::run {
namespace {

/// Operations that the text shows; JSON has all.
constexpr size_t kShownOps = 30;

/// JSON knows neither NaN nor infinity.
std::string jsonNumber(double value) {
  if (!std::isfinite(value))
    return "null";
  char text[40];
  std::snprintf(text, sizeof(text), "%.9g", value);
  return text;
}

double minimum(const std::vector<double> &values) {
  return *std::min_element(values.begin(), values.end());
}

/// Operations that ran, by falling time.
std::vector<size_t> sortedOps(const Report &report) {
  std::vector<size_t> order(report.profile.size());
  std::iota(order.begin(), order.end(), 0);
  order.erase(
      std::remove_if(order.begin(), order.end(),
                     [&](size_t op) { return report.profile[op].calls == 0; }),
      order.end());
  std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) {
    return report.profile[a].nanoseconds > report.profile[b].nanoseconds;
  });
  return order;
}

const char *orEmpty(const char *text) { return text ? text : ""; }

std::string profileText(const Report &report) {
  std::vector<size_t> order = sortedOps(report);
  double total = 0;
  for (size_t op : order)
    total += double(report.profile[op].nanoseconds);
  std::string text = "     time  share   calls  operation\n";
  for (size_t i = 0; i < std::min(order.size(), kShownOps); ++i) {
    const moe_profile_entry &entry = report.profile[order[i]];
    const moe_op &op = report.function->ops[order[i]];
    char line[64];
    std::snprintf(line, sizeof(line), "%7.3f ms %5.1f%% %7lld  ",
                  double(entry.nanoseconds) * 1e-6,
                  total > 0 ? 100.0 * double(entry.nanoseconds) / total : 0.0,
                  static_cast<long long>(entry.calls));
    text += line;
    text += std::string(orEmpty(op.kind)) + " " + orEmpty(op.name) + "\n";
  }
  if (order.size() > kShownOps)
    text += "(" + std::to_string(order.size() - kShownOps) +
            " more; --json has all)\n";
  return text;
}

} // namespace

bool Report::matches() const {
  return std::all_of(comparisons.begin(), comparisons.end(),
                     [](const std::optional<Comparison> &comparison) {
                       return !comparison || comparison->matches;
                     });
}

double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  size_t middle = values.size() / 2;
  return values.size() % 2 ? values[middle]
                           : (values[middle - 1] + values[middle]) / 2;
}

std::string toText(const Report &report) {
  std::string text;
  for (size_t i = 0; i < report.outputs.size(); ++i) {
    std::string name = report.function->outputs[i].name;
    bool compared = i < report.comparisons.size() && report.comparisons[i];
    text += "output '" + name + "' ";
    text +=
        compared ? report.comparisons[i]->text : summarize(report.outputs[i]);
    text += '\n';
  }
  if (!report.times.empty()) {
    char line[160];
    std::snprintf(line, sizeof(line),
                  "%.4g ms median, %.4g ms minimum of %zu runs, %d threads\n",
                  median(report.times), minimum(report.times),
                  report.times.size(), int(report.threads));
    text += line;
  }
  if (!report.profile.empty())
    text += profileText(report);
  return text;
}

std::string toJson(const Report &report) {
  std::string text = "{\"model\":" + jsonString(report.model);
  if (!report.times.empty())
    text += ",\"median_ms\":" + jsonNumber(median(report.times)) +
            ",\"min_ms\":" + jsonNumber(minimum(report.times)) +
            ",\"runs\":" + std::to_string(report.times.size());
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
    const TensorView &output = report.outputs[i];
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
  if (!report.profile.empty()) {
    text += ",\"profile\":[";
    bool first = true;
    for (size_t op : sortedOps(report)) {
      const moe_profile_entry &entry = report.profile[op];
      text += first ? "" : ",";
      first = false;
      text +=
          "{\"name\":" + jsonString(orEmpty(report.function->ops[op].name)) +
          ",\"kind\":" + jsonString(orEmpty(report.function->ops[op].kind)) +
          ",\"calls\":" + std::to_string(entry.calls) +
          ",\"ms\":" + jsonNumber(double(entry.nanoseconds) * 1e-6) + "}";
    }
    text += "]";
  }
  return text + "}";
}

std::string jsonString(const std::string &text) {
  std::string result = "\"";
  for (char c : text) {
    if (c == '"' || c == '\\') {
      result += '\\';
      result += c;
    } else if (static_cast<unsigned char>(c) < 0x20) {
      char escape[8];
      std::snprintf(escape, sizeof(escape), "\\u%04x", c);
      result += escape;
    } else {
      result += c;
    }
  }
  return result + "\"";
}

} // namespace moe::run
