//===- SteadyState.cpp - what runs of a model ask the system for ----------===//
//
//   moe-steady-state MODEL.so [OPTIONS OF moe-run FOR INPUTS]
//
// Runs a model over and over with the same inputs and prints, as one JSON
// object, how often the runs after the third one asked the C library or the
// system for memory, and how many futex calls there were.
//
//===----------------------------------------------------------------------===//
#include "test/Unit/Runtime/Interposed.h"
#include "tools/moe-run/Inputs.h"
#include "tools/moe-run/Options.h"
#include "tools/moe-run/Runner.h"

#include <cstdio>
#include <cstdlib>

using moe::runtime::Status;
using namespace moe::run;

namespace {

constexpr int kWarmUp = 3;
constexpr int kRuns = 20;

void require(const Status &status) {
  if (status.ok())
    return;
  std::fprintf(stderr, "moe-steady-state: %s\n", status.message.c_str());
  std::exit(1);
}

} // namespace

int main(int argc, char **argv) {
  Options options;
  require(parseOptions({argv + 1, argv + argc}, options));
  Runner runner;
  require(runner.load(options.model));
  require(runner.start(options));
  std::vector<Tensor> inputs;
  require(gatherInputs(runner.function(), options, inputs));
  PreparedInputs prepared(inputs);
  std::vector<DLManagedTensor *> outputs(size_t(runner.function().num_outputs));
  moe::test::SystemCalls before;
  for (int i = 0; i < kWarmUp + kRuns; ++i) {
    if (i == kWarmUp)
      before = moe::test::systemCalls();
    require(runner.runPrepared(prepared, outputs));
    for (DLManagedTensor *output : outputs)
      output->deleter(output);
  }
  moe::test::SystemCalls calls = moe::test::systemCalls() - before;
  std::printf("{\"runs\":%d,\"allocations\":%ld,\"mappings\":%ld,"
              "\"futexes\":%ld}\n",
              kRuns, calls.allocations, calls.mappings, calls.futexes);
  return 0;
}
