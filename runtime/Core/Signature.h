//===- Signature.h - checks of inputs and outputs -------------------------===//
//
// Everything that a caller can get wrong is found here, before any code of the
// model runs. Compiled code relies on it: it does not check again.
//
//===----------------------------------------------------------------------===//
#ifndef MOE_RUNTIME_CORE_SIGNATURE_H
#define MOE_RUNTIME_CORE_SIGNATURE_H

#include "moe-c/Runtime.h"
#include "runtime/Core/Status.h"

#include <string>
#include <string_view>
#include <vector>

namespace moe::runtime {

/// What the names of run-time extents stand for in one run.
class SymbolTable {
public:
  /// Binds `symbol` to `extent`, or checks it against what it is bound to.
  /// `value` and `dim` say where, for messages; `what` is "input" or "output".
  Status bind(const char *symbol, int64_t extent, const char *what,
              const char *value, int32_t dim);
  void clear() { bindings.clear(); }

private:
  struct Binding {
    std::string_view symbol; // of the model's table
    int64_t extent;
    std::string_view value;
    const char *what;
  };
  std::vector<Binding> bindings;
};

/// The inputs of a run in the order of the signature. May serve run after run.
class InputBuffers {
public:
  const moe_buffer *data() const { return buffers.data(); }
  size_t size() const { return buffers.size(); }
  const moe_buffer &operator[](size_t i) const { return buffers[i]; }

private:
  friend Status bindInputs(const moe_function &, int32_t, const char *const *,
                           DLManagedTensor *const *, SymbolTable &,
                           InputBuffers &);
  std::vector<moe_buffer> buffers;
  std::vector<const DLManagedTensor *> tensors;
};

/// Brings inputs into the order of the signature and checks them all.
/// `names` may be null: then `inputs` are in that order already. `buffers`
/// gets one entry per input of the function; its pointers lead into `inputs`.
Status bindInputs(const moe_function &function, int32_t numInputs,
                  const char *const *names, DLManagedTensor *const *inputs,
                  SymbolTable &symbols, InputBuffers &buffers);

/// Checks the extents that the model gave output `index`. A failure is the
/// model's fault.
Status checkOutputDims(const moe_function &function, int32_t index,
                       const int64_t *dims, SymbolTable &symbols);

/// "'a', 'b' and 2 more": names of inputs or outputs for messages.
std::string listNames(const moe_value *values, int32_t count);

} // namespace moe::runtime

#endif // MOE_RUNTIME_CORE_SIGNATURE_H
