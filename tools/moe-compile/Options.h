//===- Options.h - command line of moe-compile ------------------*- C++ -*-===//
#ifndef MOE_TOOLS_MOECOMPILE_OPTIONS_H
#define MOE_TOOLS_MOECOMPILE_OPTIONS_H

#include "moe/Pipelines.h"
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

namespace moe::compile {

/// What is written at the end.
enum class Emit { SharedObject, Object, LLVMIR, MLIR };

struct Options {
  std::string input;
  std::string output = "-";
  std::string cpu = "native";
  unsigned optLevel = 2;
  Activations activations = Activations::Exact;
  Emit emit = Emit::SharedObject;
  Phase from = Phase::Import;
  Phase to = Phase::Target;
  /// Passes instead of the phases raise, optimise and schedule; empty: those.
  std::string passPipeline;
  /// Run both sides of each raise and refuse one that differs.
  bool raiseCheck = false;
  std::string dumpFolder;
  /// Extents that the user binds.
  std::vector<std::pair<std::string, int64_t>> dims;
  enum class Weights { Auto, Embed, File } weights = Weights::Auto;
  std::string weightsFile;
  std::string report;
  bool listOps = false;
  /// Compile points into the code at which a profile is measured.
  bool profile = false;
  bool verbose = false;
  bool timing = false;
};

/// Parses the command line. When the program is to end at once, returns false
/// with the exit code in `exitCode`.
bool parseOptions(int argc, char **argv, Options &options, int &exitCode);

/// Prints `moe-compile: error: ...` and returns 1.
int reportError(const std::string &text);

} // namespace moe::compile

#endif // MOE_TOOLS_MOECOMPILE_OPTIONS_H
