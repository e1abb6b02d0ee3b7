//===- Report.h - counts and times of a compilation -------------*- C++ -*-===//
#ifndef MOE_TOOLS_MOECOMPILE_REPORT_H
#define MOE_TOOLS_MOECOMPILE_REPORT_H

#include "mlir/IR/BuiltinOps.h"
#include "llvm/Support/raw_ostream.h"
#include <chrono>
#include <map>
#include <string>
#include <utility>
#include <vector>

namespace moe {
struct HostCpu;
} // namespace moe

namespace moe::compile {

struct Options;

/// What --report writes.
class Report {
public:
  /// Adds the time of its life to the report.
  class Timer {
  public:
    Timer(Report &report, llvm::StringRef name)
        : report(report), name(name), begin(std::chrono::steady_clock::now()) {}
    ~Timer() {
      report.seconds.emplace_back(name,
                                  std::chrono::duration<double>(
                                      std::chrono::steady_clock::now() - begin)
                                      .count());
    }

  private:
    Report &report;
    std::string name;
    std::chrono::steady_clock::time_point begin;
  };

  void countOps(mlir::ModuleOp module);

  /// Counts the operators that `onnx-to-linalg` made loops of: nothing of them
  /// is fused, and they run on one thread.
  void countFallbacks(mlir::ModuleOp module);

  /// Writes JSON; false after an error message.
  bool write(llvm::StringRef path, const Options &options,
             llvm::ArrayRef<HostCpu> cpus) const;

  uint64_t weightBytes = 0;

private:
  std::vector<std::pair<std::string, double>> seconds;
  std::map<std::string, int64_t> ops;
  int64_t fallbacks = 0;
};

/// Prints how often the model has each operator, and which ones cannot be
/// compiled. Returns the exit code: 1 if there are such.
int listOps(mlir::ModuleOp module, llvm::raw_ostream &os);

/// Prints the operators that can be compiled, one a line. Returns 0.
int listCompilableOps(llvm::raw_ostream &os);

} // namespace moe::compile

#endif // MOE_TOOLS_MOECOMPILE_REPORT_H
