//===- Runner.cpp - a loaded model as moe-run uses it ---------------------===//

#include "tools/moe-run/Runner.h"

#include <chrono>
#include <cstdio>

namespace moe::run {

using runtime::Status;

namespace {

/// Errors and warnings.
constexpr int32_t kShownLevel = 1;

Status toStatus(moe_error *error) {
  if (!error)
    return {};
  Status status(moe_error_code(error), moe_error_message(error));
  moe_error_free(error);
  return status;
}

} // namespace

Status Runner::load(const std::string &library) {
  moe_program *loaded = nullptr;
  Status status = toStatus(moe_program_load(library.c_str(), &loaded));
  program.reset(loaded);
  return status;
}

Status Runner::start(const Options &options) {
  moe_session_options settings;
  moe_session_options_init(&settings);
  settings.num_threads = options.threads;
  settings.profile = options.profile;
  settings.log = [](void *, int32_t level, const char *message) {
    if (level <= kShownLevel)
      std::fprintf(stderr, "moe-run: model: %s\n", message);
  };
  moe_session *created = nullptr;
  Status status =
      toStatus(moe_session_create(program.get(), &settings, &created));
  session.reset(created);
  return status;
}

Status Runner::profile(std::vector<moe_profile_entry> &entries) const {
  entries.resize(function().num_ops);
  return toStatus(moe_session_profile(session.get(), entries.data()));
}

PreparedInputs::PreparedInputs(std::vector<Tensor> &inputs)
    : tensors(inputs.size()) {
  for (size_t i = 0; i < inputs.size(); ++i) {
    DLTensor &tensor = tensors[i].dl_tensor;
    tensor.data = inputs[i].data.data();
    tensor.device = {kDLCPU, 0};
    tensor.ndim = int(inputs[i].dims.size());
    tensor.dtype = moe_dtype_to_dlpack(inputs[i].dtype);
    tensor.shape = inputs[i].dims.data();
    pointers.push_back(&tensors[i]);
  }
}

Status Runner::runPrepared(const PreparedInputs &inputs,
                           std::vector<DLManagedTensor *> &outputs) {
  return toStatus(moe_session_run(session.get(), inputs.size(), nullptr,
                                  inputs.get(), outputs.data()));
}

Status Runner::run(std::vector<Tensor> &inputs,
                   std::vector<OutputTensor> &outputs, double *milliseconds) {
  PreparedInputs prepared(inputs);
  std::vector<DLManagedTensor *> results(function().num_outputs);
  auto begin = std::chrono::steady_clock::now();
  Status status = runPrepared(prepared, results);
  auto end = std::chrono::steady_clock::now();
  if (!status.ok())
    return status;
  if (milliseconds)
    *milliseconds =
        std::chrono::duration<double, std::milli>(end - begin).count();
  outputs.clear();
  for (DLManagedTensor *result : results)
    outputs.emplace_back(result);
  return {};
}

} // namespace moe::run
