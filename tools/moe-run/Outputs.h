//===- Outputs.h - what becomes of the outputs of a run -------------------===//
#ifndef MOE_TOOLS_RUN_OUTPUTS_H
#define MOE_TOOLS_RUN_OUTPUTS_H

#include "runtime/Core/Status.h"
#include "tools/moe-run/Options.h"
#include "tools/moe-run/Tensor.h"

#include <optional>
#include <vector>

namespace moe::run {

/// Writes --output: see helpText. Creates the folder.
runtime::Status writeOutputs(const moe_function &function,
                             const Options &options,
                             const std::vector<Tensor> &inputs,
                             const std::vector<TensorView> &outputs);

/// Compares with --expect. `comparisons` has one entry per output, empty where
/// there is no file. A difference is not a failure of this function.
runtime::Status
compareOutputs(const moe_function &function, const Options &options,
               const std::vector<TensorView> &outputs,
               std::vector<std::optional<Comparison>> &comparisons);

/// "float32[2, 3]: 0.5 1.5 ... (from -1 to 2, mean 0.25)".
std::string summarize(const TensorView &tensor);

/// `name` as a file name: other characters than letters, digits, '.', '-' and
/// '_' become '_', and it neither begins with a dot nor is it very long.
std::string fileNameFor(const std::string &name);

} // namespace moe::run

#endif // MOE_TOOLS_RUN_OUTPUTS_H
