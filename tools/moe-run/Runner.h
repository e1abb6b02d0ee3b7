//===- Runner.h - a loaded model as moe-run uses it -----------------------===//
//
// Wraps the C interface of the runtime: moe-run uses nothing that an embedder
// could not use.
//
//===----------------------------------------------------------------------===//
#ifndef MOE_TOOLS_RUN_RUNNER_H
#define MOE_TOOLS_RUN_RUNNER_H

#include "runtime/Core/Status.h"
#include "tools/moe-run/Options.h"
#include "tools/moe-run/Tensor.h"

#include <memory>
#include <vector>

namespace moe::run {

struct DeleteTensor {
  void operator()(DLManagedTensor *tensor) const {
    if (tensor->deleter)
      tensor->deleter(tensor);
  }
};
using OutputTensor = std::unique_ptr<DLManagedTensor, DeleteTensor>;

/// Inputs as the runtime takes them; the tensors must outlive it.
class PreparedInputs {
public:
  explicit PreparedInputs(std::vector<Tensor> &inputs);
  PreparedInputs(const PreparedInputs &) = delete;
  PreparedInputs &operator=(const PreparedInputs &) = delete;

  int32_t size() const { return int32_t(pointers.size()); }
  DLManagedTensor *const *get() const { return pointers.data(); }

private:
  std::vector<DLManagedTensor> tensors;
  std::vector<DLManagedTensor *> pointers;
};

class Runner {
public:
  runtime::Status load(const std::string &library);
  runtime::Status start(const Options &options);

  const moe_function &function() const {
    return *moe_session_function(session.get());
  }
  moe_memory_usage memory() const {
    moe_memory_usage usage = {};
    moe_session_memory(session.get(), &usage);
    return usage;
  }
  int32_t threads() const { return moe_session_num_threads(session.get()); }
  /// The CPU that the code was compiled for.
  const char *cpu() const { return moe_program_model(program.get())->cpu; }
  /// What the session has measured so far, by operation.
  runtime::Status profile(std::vector<moe_profile_entry> &entries) const;

  /// One run. `milliseconds`, if not null, gets the time of the call alone.
  runtime::Status run(std::vector<Tensor> &inputs,
                      std::vector<OutputTensor> &outputs,
                      double *milliseconds = nullptr);

  /// The same with nothing around it: `outputs` has room for all outputs.
  runtime::Status runPrepared(const PreparedInputs &inputs,
                              std::vector<DLManagedTensor *> &outputs);

private:
  struct Free {
    void operator()(moe_program *program) const { moe_program_free(program); }
    void operator()(moe_session *session) const { moe_session_free(session); }
  };

  std::unique_ptr<moe_program, Free> program;
  std::unique_ptr<moe_session, Free> session;
};

} // namespace moe::run

#endif // MOE_TOOLS_RUN_RUNNER_H
