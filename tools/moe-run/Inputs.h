//===- Inputs.h - where the inputs of a run come from ---------------------===//
#ifndef MOE_TOOLS_RUN_INPUTS_H
#define MOE_TOOLS_RUN_INPUTS_H

#include "runtime/Core/Status.h"
#include "tools/moe-run/Options.h"
#include "tools/moe-run/Tensor.h"

#include <optional>
#include <vector>

namespace moe::run {

/// Tensors of a test folder: `prefix`_0.pb, `prefix`_1.pb, ... of DIR, each put
/// at the position of the value whose name it holds or else at its own. Values
/// without a file stay empty.
/// \p what names the option for messages.
runtime::Status readFolder(const std::string &what, const std::string &folder,
                           const char *prefix, const moe_value *values,
                           int32_t count,
                           std::vector<std::optional<Tensor>> &tensors);

/// All inputs of `function`, in its order, from what the options say. Checks
/// only what it needs itself; the runtime checks types and shapes.
runtime::Status gatherInputs(const moe_function &function,
                             const Options &options,
                             std::vector<Tensor> &inputs);

/// Values from a seed: the same on every machine. Floats lie in [-1, 1),
/// integers in [0, 16), bools are 0 or 1.
void fillRandom(uint64_t seed, Tensor &tensor);

} // namespace moe::run

#endif // MOE_TOOLS_RUN_INPUTS_H
