//===- Tool.cpp - one call of moe-run -------------------------------------===//
//
// Load (or compile and load), gather the inputs, run once for the results, then
// run again as often as --bench asks.
//
//===----------------------------------------------------------------------===//

#include "tools/moe-run/Tool.h"

#include "tools/moe-run/Inputs.h"
#include "tools/moe-run/Memory.h"
#include "tools/moe-run/Outputs.h"
#include "tools/moe-run/Report.h"
#include "tools/moe-run/Runner.h"
#include "tools/moe-run/SourceModel.h"

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <optional>

namespace moe::run {

using runtime::invalidArgument;
using runtime::quote;
using runtime::Status;

namespace {

/// Warm-up of --bench: at least this many runs and this much time, so that
/// memory, caches and clock rates have settled.
constexpr int kWarmUpRuns = 3;
constexpr double kWarmUpMilliseconds = 100;

Status loadModel(const Options &options, Runner &runner, Report &report) {
  auto load = [&](const std::string &library) {
    auto begin = std::chrono::steady_clock::now();
    Status status = runner.load(library);
    report.loadMilliseconds = std::chrono::duration<double, std::milli>(
                                  std::chrono::steady_clock::now() - begin)
                                  .count();
    return status;
  };
  if (isSourceModel(options.model)) {
    double seconds = 0;
    Status status = compileAndUse(options, seconds, load);
    report.compileSeconds = seconds;
    return status;
  }
  if (options.model.find(".so") == std::string::npos)
    return invalidArgument("model " + quote(options.model) +
                           " ends neither in .so (compiled) nor in .onnx, "
                           ".mlir or .mlirbc (to be compiled)");
  if (!options.dims.empty() && !options.seed)
    return invalidArgument("--dim: the extents of a compiled model come from "
                           "its inputs; --dim is for --random, or for models "
                           "that are compiled first");
  if (!options.cpu.empty())
    setenv("MOE_CPU", options.cpu.c_str(), /*overwrite=*/1);
  return load(options.model);
}

/// One run, with its profile if there is one.
Status measureOnce(const Options &options, Runner &runner,
                   std::vector<Tensor> &inputs,
                   std::vector<OutputTensor> &outputs, double &milliseconds,
                   Report &report) {
  std::vector<moe_profile_entry> before, after;
  if (options.profile)
    if (Status s = runner.profile(before); !s.ok())
      return s;
  if (Status s = runner.run(inputs, outputs, &milliseconds); !s.ok())
    return s;
  if (!options.profile)
    return {};
  if (Status s = runner.profile(after); !s.ok())
    return s;
  report.profile.add(runner.function(), milliseconds, before, after);
  return {};
}

/// Writes and compares outputs and tells what they are.
Status useOutputs(const Options &options, const moe_function &function,
                  const std::vector<Tensor> &inputs,
                  const std::vector<OutputTensor> &outputs, Report &report) {
  std::vector<TensorView> views;
  for (size_t i = 0; i < outputs.size(); ++i) {
    const TensorView &view =
        views.emplace_back(outputs[i]->dl_tensor, function.outputs[i].dtype);
    report.outputs.push_back(
        {view.dtype, view.dims, options.json ? "" : summarize(view)});
  }
  if (!options.outputFolder.empty())
    if (Status s = writeOutputs(function, options, inputs, views); !s.ok())
      return s;
  if (options.expectFolder.empty())
    return {};
  return compareOutputs(function, options, views, report.comparisons);
}

Status measure(const Options &options, Runner &runner,
               std::vector<Tensor> &inputs, Report &report) {
  std::vector<OutputTensor> outputs;
  double milliseconds = 0, spent = 0;
  for (int i = 0; i < kWarmUpRuns || spent < kWarmUpMilliseconds; ++i) {
    outputs.clear();
    if (Status s = runner.run(inputs, outputs, &milliseconds); !s.ok())
      return s;
    // Even a model that takes no time ends its warm-up.
    spent += milliseconds + 0.001;
  }
  for (int32_t i = 0; i < options.benchRuns; ++i) {
    // Free the last outputs first: their memory serves the next run.
    outputs.clear();
    if (Status s =
            measureOnce(options, runner, inputs, outputs, milliseconds, report);
        !s.ok())
      return s;
    report.times.push_back(milliseconds);
  }
  return {};
}

} // namespace

Status runTool(const Options &options, bool &matches) {
  Report report;
  report.model = options.model;
  Runner runner;
  if (Status s = loadModel(options, runner, report); !s.ok())
    return s;
  if (Status s = runner.start(options); !s.ok())
    return s;
  const moe_function &function = runner.function();
  report.function = &function;
  report.threads = runner.threads();
  report.cpu = runner.cpu();

  std::vector<Tensor> inputs;
  if (Status s = gatherInputs(function, options, inputs); !s.ok())
    return s;
  std::vector<OutputTensor> outputs;
  double milliseconds = 0;
  {
    std::optional<MemoryWatch> watch;
    if (options.benchRuns > 0)
      watch.emplace(report.anonymousPeak);
    if (Status s =
            measureOnce(options, runner, inputs, outputs, milliseconds, report);
        !s.ok())
      return s;
  }
  if (Status s = useOutputs(options, function, inputs, outputs, report);
      !s.ok())
    return s;
  // The values of one run; measured ones get the memory that it had.
  report.memory = runner.memory();
  outputs.clear();
  if (options.benchRuns > 0) {
    report.profile = {}; // the first run was a warm-up
    if (Status s = measure(options, runner, inputs, report); !s.ok())
      return s;
    report.memory.arena = runner.memory().arena;
    report.anonymousPeak = std::max(report.anonymousPeak, anonymousBytes());
  }
  matches = report.matches();
  std::string text = options.json ? toJson(report) + "\n" : toText(report);
  if (std::fwrite(text.data(), 1, text.size(), stdout) != text.size() ||
      std::fflush(stdout) != 0)
    return runtime::ioError("cannot write to the standard output");
  return {};
}

} // namespace moe::run
