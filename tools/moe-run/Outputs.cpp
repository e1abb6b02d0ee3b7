//===- Outputs.cpp - what becomes of the outputs of a run -----------------===//

#include "tools/moe-run/Outputs.h"

#include "tools/moe-run/Inputs.h"
#include "tools/moe-run/Npy.h"
#include "tools/moe-run/TensorProto.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <filesystem>
#include <set>

namespace moe::run {
namespace {

namespace fs = std::filesystem;

constexpr size_t kMaxFileName = 200;
constexpr int64_t kShownElements = 6;

bool isPlain(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
         (c >= '0' && c <= '9') || c == '.' || c == '-' || c == '_';
}

} // namespace

std::string fileNameFor(const std::string &name) {
  std::string result = name.substr(0, kMaxFileName);
  std::replace_if(
      result.begin(), result.end(), [](char c) { return !isPlain(c); }, '_');
  if (result.empty() || result[0] == '.')
    result.insert(0, "_");
  return result;
}

Status writeOutputs(const moe_function &function, const Options &options,
                    const std::vector<Tensor> &inputs,
                    const std::vector<TensorView> &outputs) {
  const std::string &folder = options.outputFolder;
  std::error_code error;
  fs::create_directories(folder, error);
  if (error)
    return ioError("--output: cannot create folder " + quote(folder) + ": " +
                   error.message());
  std::set<std::string> used;
  for (int32_t i = 0; i < function.num_outputs; ++i) {
    std::string number = std::to_string(i);
    std::string stem = fileNameFor(function.outputs[i].name);
    // Names that differ may become one file name.
    if (!used.insert(stem).second)
      used.insert(stem += "_" + number);
    if (Status s = writeNpy(folder + "/" + stem + ".npy", outputs[i]); !s.ok())
      return s;
    if (Status s = writeTensorProto(folder + "/output_" + number + ".pb",
                                    function.outputs[i].name, outputs[i]);
        !s.ok())
      return s;
  }
  // The inputs make it a complete test; those of --data are not rewritten.
  if (!options.dataFolder.empty() &&
      fs::equivalent(folder, options.dataFolder, error))
    return {};
  for (int32_t i = 0; i < function.num_inputs; ++i)
    if (Status s =
            writeTensorProto(folder + "/input_" + std::to_string(i) + ".pb",
                             function.inputs[i].name, inputs[i]);
        !s.ok())
      return s;
  return {};
}

Status compareOutputs(const moe_function &function, const Options &options,
                      const std::vector<TensorView> &outputs,
                      std::vector<std::optional<Comparison>> &comparisons) {
  std::vector<std::optional<Tensor>> expected;
  if (Status s = readFolder("--expect", options.expectFolder, "output",
                            function.outputs, function.num_outputs, expected);
      !s.ok())
    return s;
  bool any = false;
  comparisons.assign(outputs.size(), std::nullopt);
  for (size_t i = 0; i < outputs.size(); ++i) {
    if (!expected[i])
      continue;
    comparisons[i] = compare(outputs[i], *expected[i], options.tolerance);
    any = true;
  }
  return any ? Status()
             : ioError("--expect: folder " + quote(options.expectFolder) +
                       " has no output_0.pb or the like: nothing to compare");
}

std::string summarize(const TensorView &tensor) {
  std::string text = describe(tensor.dtype, tensor.dims) + ":";
  int64_t count = tensor.count();
  for (int64_t i = 0; i < std::min(count, kShownElements); ++i)
    text += " " + elementText(tensor, i);
  if (count <= kShownElements)
    return text + (count ? "" : " no elements");
  double low = INFINITY, high = -INFINITY, sum = 0;
  int64_t nans = 0;
  for (int64_t i = 0; i < count; ++i) {
    double value = elementValue(tensor, i);
    nans += std::isnan(value);
    low = std::fmin(low, value);
    high = std::fmax(high, value);
    sum += value;
  }
  char range[120];
  std::snprintf(range, sizeof(range), " ... (from %.6g to %.6g, mean %.6g)",
                low, high, sum / double(count));
  text += range;
  if (nans)
    text += ", " + std::to_string(nans) + " NaN";
  return text;
}

} // namespace moe::run
