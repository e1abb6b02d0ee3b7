//===- Profile.h - time by operation --------------------------------------===//
#ifndef MOE_TOOLS_RUN_PROFILE_H
#define MOE_TOOLS_RUN_PROFILE_H

#include "moe-c/Runtime.h"

#include <cstdint>
#include <string>
#include <vector>

namespace moe::run {

/// Measurements of single runs, by operation.
class Profile {
public:
  /// What an operation took of a run.
  struct Row {
    std::string name, kind;
    /// Of one run; the time is the median of all.
    double calls = 0, milliseconds = 0;
    int64_t flops = 0, bytes = 0;
    /// Of the time of the run, 0 to 1.
    double share = 0;
  };

  /// Adds a run: `milliseconds` long, and how far the counters of the session
  /// went, `after` - `before`, an entry for each operation of `function`.
  void add(const moe_function &function, double milliseconds,
           const std::vector<moe_profile_entry> &before,
           const std::vector<moe_profile_entry> &after);

  bool empty() const { return totals.empty(); }
  /// Operations that ran, by falling time.
  std::vector<Row> rows() const;
  /// Median time of a run in milliseconds.
  double total() const;

private:
  struct Operation {
    std::string name, kind;
    int64_t calls = 0, flops = 0, bytes = 0;
    std::vector<double> times;
  };
  std::vector<Operation> operations;
  std::vector<double> totals;
};

/// A table for people.
std::string toText(const Profile &profile);
/// Members of a JSON object: "profile", one object for each operation, and
/// "profile_other", the time outside of all.
std::string toJson(const Profile &profile);

double median(std::vector<double> values);

} // namespace moe::run

#endif // MOE_TOOLS_RUN_PROFILE_H
