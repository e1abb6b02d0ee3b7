//===- main.cpp - run a compiled model ------------------------------------===//

#include "tools/moe-run/Tool.h"

#include <cstdio>
#include <exception>
#include <new>

using namespace moe::run;
using moe::runtime::Status;

namespace {

/// Exit statuses of all tools of this project.
enum ExitCode { Success = 0, UserError = 1, InternalError = 2, Differs = 3 };

int report(const Status &status) {
  std::fprintf(stderr, "moe-run: error: %s\n", status.message.c_str());
  return status.code == MOE_INTERNAL ? InternalError : UserError;
}

int runMain(int argc, char **argv) {
  Options options;
  Status status =
      parseOptions(std::vector<std::string>(argv + 1, argv + argc), options);
  if (!status.ok())
    return report(status);
  if (options.help || options.version) {
    std::fputs(options.help ? helpText() : "moe-run " MOE_VERSION "\n", stdout);
    return Success;
  }
  bool matches = true;
  status = runTool(options, matches);
  if (!status.ok())
    return report(status);
  return matches ? Success : Differs;
}

} // namespace

int main(int argc, char **argv) {
  try {
    return runMain(argc, argv);
  } catch (const std::bad_alloc &) {
    std::fputs("moe-run: error: out of memory\n", stderr);
    return UserError;
  } catch (const std::exception &exception) {
    std::fprintf(stderr, "moe-run: internal error: %s\n", exception.what());
    return InternalError;
  }
}
