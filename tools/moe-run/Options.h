//===- Options.h - the command line of moe-run ----------------------------===//
#ifndef MOE_TOOLS_RUN_OPTIONS_H
#define MOE_TOOLS_RUN_OPTIONS_H

#include "runtime/Core/Status.h"
#include "tools/moe-run/Compare.h"

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace moe::run {

struct Options {
  bool help = false;
  bool version = false;
  std::string model;
  std::string dataFolder;
  /// Input name and file.
  std::vector<std::pair<std::string, std::string>> inputFiles;
  std::string outputFolder;
  std::string expectFolder;
  Tolerance tolerance;
  std::optional<uint64_t> seed;
  /// Extents by name, in the order given.
  std::vector<std::pair<std::string, int64_t>> dims;
  int32_t benchRuns = 0;
  bool profile = false;
  int32_t threads = 0; // 0: all CPUs
  /// Whose code to run; empty: the most capable CPU that this machine is.
  std::string cpu;
  bool json = false;
  std::string statsFile;
  std::string valuesFolder;
};

/// Parses the arguments after the program's name.
runtime::Status parseOptions(const std::vector<std::string> &arguments,
                             Options &options);

/// The text of -h.
const char *helpText();

} // namespace moe::run

#endif // MOE_TOOLS_RUN_OPTIONS_H
