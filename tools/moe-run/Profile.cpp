//===- Profile.cpp - time by operation ------------------------------------===//

#include "tools/moe-run/Profile.h"

#include "tools/moe-run/JsonText.h"

#include <algorithm>
#include <cstdio>

namespace moe::run {
namespace {

/// Operations that the text shows, and how much of a name; JSON has all.
constexpr size_t kShownOps = 40;
constexpr size_t kShownKind = 36;
constexpr size_t kShownName = 72;

const char *orEmpty(const char *text) { return text ? text : ""; }

/// `value` with four digits, or "-" if it is not known.
std::string figure(double value) {
  if (!(value > 0))
    return "-";
  char text[40];
  std::snprintf(text, sizeof(text), value < 1000 ? "%.4g" : "%.0f", value);
  return text;
}

std::string shortened(const std::string &text, size_t size) {
  return text.size() <= size ? text : text.substr(0, size - 3) + "...";
}

/// What is left of a run outside of `rows`. Medians of parts may sum to a
/// little more than the median of the whole.
double otherTime(const std::vector<Profile::Row> &rows, double total) {
  for (const Profile::Row &row : rows)
    total -= row.milliseconds;
  return std::max(total, 0.0);
}

std::string line(const std::string &calls, double milliseconds, double share,
                 const std::string &gigaflops, const std::string &gigabytes,
                 const std::string &kind, const std::string &name) {
  char text[128];
  std::snprintf(text, sizeof(text), "%10.4f %6.1f%% %7s %9s %8s  %-*s  ",
                milliseconds, 100 * share, calls.c_str(), gigaflops.c_str(),
                gigabytes.c_str(), int(kShownKind), kind.c_str());
  return std::string(text) + name + "\n";
}

} // namespace

void Profile::add(const moe_function &function, double milliseconds,
                  const std::vector<moe_profile_entry> &before,
                  const std::vector<moe_profile_entry> &after) {
  if (operations.empty())
    for (int32_t op = 0; op < function.num_ops; ++op)
      operations.push_back(
          {orEmpty(function.ops[op].name), orEmpty(function.ops[op].kind)});
  totals.push_back(milliseconds);
  for (size_t op = 0; op < operations.size(); ++op) {
    Operation &operation = operations[op];
    operation.calls += after[op].calls - before[op].calls;
    operation.flops += after[op].flops - before[op].flops;
    operation.bytes += after[op].bytes - before[op].bytes;
    operation.times.push_back(
        double(after[op].nanoseconds - before[op].nanoseconds) * 1e-6);
  }
}

std::vector<Profile::Row> Profile::rows() const {
  std::vector<Row> rows;
  double runs = double(totals.size()), whole = total();
  for (const Operation &operation : operations) {
    Row row;
    row.name = operation.name;
    row.kind = operation.kind;
    row.calls = double(operation.calls) / runs;
    row.milliseconds = median(operation.times);
    row.flops = operation.flops / int64_t(totals.size());
    row.bytes = operation.bytes / int64_t(totals.size());
    row.share = whole > 0 ? row.milliseconds / whole : 0;
    // An operation of a branch that was not taken did not run.
    if (operation.calls || row.milliseconds > 0)
      rows.push_back(std::move(row));
  }
  std::stable_sort(rows.begin(), rows.end(), [](const Row &a, const Row &b) {
    return a.milliseconds > b.milliseconds;
  });
  return rows;
}

double Profile::total() const { return median(totals); }

std::string toText(const Profile &profile) {
  std::vector<Profile::Row> rows = profile.rows();
  double total = profile.total(), other = otherTime(rows, total);
  char head[96];
  std::snprintf(head, sizeof(head), "%10s %7s %7s %9s %8s  %-*s  ", "ms",
                "share", "calls", "GFLOP/s", "GB/s", int(kShownKind), "kind");
  std::string text = head + std::string("operation\n");
  double hidden = 0;
  for (size_t i = 0; i < rows.size(); ++i) {
    const Profile::Row &row = rows[i];
    if (i >= kShownOps) {
      hidden += row.milliseconds;
      continue;
    }
    double scale = row.milliseconds > 0 ? 1e-6 / row.milliseconds : 0;
    text += line(
        figure(row.calls), row.milliseconds, row.share,
        figure(double(row.flops) * scale), figure(double(row.bytes) * scale),
        shortened(row.kind, kShownKind), shortened(row.name, kShownName));
  }
  if (rows.size() > kShownOps)
    text += line("", hidden, total > 0 ? hidden / total : 0, "", "", "",
                 "(" + std::to_string(rows.size() - kShownOps) +
                     " more; --json has all)");
  return text + line("", other, total > 0 ? other / total : 0, "", "", "",
                     "(outside of all operations)");
}

std::string toJson(const Profile &profile) {
  std::vector<Profile::Row> rows = profile.rows();
  double total = profile.total(), other = otherTime(rows, total);
  std::string text = "\"profile\":[";
  for (const Profile::Row &row : rows)
    text += (&row == rows.data() ? "" : ",") +
            ("{\"name\":" + jsonString(row.name)) +
            ",\"kind\":" + jsonString(row.kind) +
            ",\"calls\":" + jsonNumber(row.calls) +
            ",\"ms\":" + jsonNumber(row.milliseconds) +
            ",\"share\":" + jsonNumber(row.share) +
            ",\"flops\":" + std::to_string(row.flops) +
            ",\"bytes\":" + std::to_string(row.bytes) + "}";
  return text + "],\"profile_other\":{\"ms\":" + jsonNumber(other) +
         ",\"share\":" + jsonNumber(total > 0 ? other / total : 0) + "}";
}

double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  size_t middle = values.size() / 2;
  return values.size() % 2 ? values[middle]
                           : (values[middle - 1] + values[middle]) / 2;
}

} // namespace moe::run
