//===- ConcurrentCallers.cpp - one model, one session, many callers -------===//
//
//   moe-concurrent-callers MODEL.so EXTENT...
//
// For each EXTENT (what the model's open extents become) eight callers get
// inputs of their own. Each input is run once alone in a session of one thread;
// then all callers run theirs over and over at the same time on one session.
// Every result must have the bits of the run that was alone.
//
//===----------------------------------------------------------------------===//
#include "moe-c/Runtime.h"

#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <thread>
#include <vector>

namespace {

constexpr int kCallers = 8;
constexpr int kRuns = 10;

using Bytes = std::vector<unsigned char>;

/// Takes over an error: its message, empty for none.
std::string take(moe_error *error) {
  std::string text = error ? moe_error_message(error) : "";
  moe_error_free(error);
  return text;
}

[[noreturn]] void fail(const std::string &text) {
  std::fprintf(stderr, "moe-concurrent-callers: %s\n", text.c_str());
  std::exit(1);
}

size_t countElements(const DLTensor &tensor) {
  size_t count = 1;
  for (int d = 0; d < tensor.ndim; ++d)
    count *= size_t(tensor.shape[d]);
  return count;
}

/// The inputs of one caller. Integers run from 0 to 9, which are ids of all
/// the models here; floats lie between -1 and 1.
class Inputs {
public:
  Inputs(const moe_function &function, int64_t extent, unsigned seed) {
    size_t count = size_t(function.num_inputs);
    shapes.resize(count);
    data.resize(count);
    tensors.resize(count);
    for (size_t i = 0; i < count; ++i) {
      const moe_value &value = function.inputs[i];
      for (int32_t d = 0; d < value.rank; ++d)
        shapes[i].push_back(value.dims[d].extent >= 0 ? value.dims[d].extent
                                                      : extent);
      DLTensor &tensor = tensors[i].dl_tensor;
      tensor = {};
      tensor.shape = shapes[i].data();
      tensor.ndim = value.rank;
      tensor.dtype = moe_dtype_to_dlpack(value.dtype);
      tensor.device.device_type = kDLCPU;
      size_t elements = countElements(tensor);
      // Of 8-byte words: aligned for every type.
      data[i].resize((elements * size_t(moe_dtype_size(value.dtype)) + 15) / 8);
      tensor.data = data[i].data();
      fill(value.dtype, elements, tensor.data, seed);
      pointers.push_back(&tensors[i]);
    }
  }

  DLManagedTensor *const *get() const { return pointers.data(); }

private:
  static void fill(int32_t dtype, size_t count, void *data, unsigned state) {
    for (size_t i = 0; i < count; ++i) {
      state = state * 1664525u + 1013904223u;
      unsigned bits = state >> 8;
      if (dtype == MOE_DTYPE_FLOAT32)
        static_cast<float *>(data)[i] = float(bits) / 8388608.0f - 1.0f;
      else if (dtype == MOE_DTYPE_INT64)
        static_cast<int64_t *>(data)[i] = bits % 10;
      else if (dtype == MOE_DTYPE_INT32)
        static_cast<int32_t *>(data)[i] = int32_t(bits % 10);
      else
        fail("an input is of type " + std::string(moe_dtype_name(dtype)) +
             "; float32, int64 and int32 are served");
    }
  }

  std::vector<std::vector<int64_t>> shapes;
  std::vector<std::vector<uint64_t>> data;
  std::vector<DLManagedTensor> tensors;
  std::vector<DLManagedTensor *> pointers;
};

/// Runs once; all outputs' bytes go to `bytes`. Returns the error, or "".
std::string runOnce(moe_session *session, const Inputs &inputs, Bytes &bytes) {
  const moe_function *function = moe_session_function(session);
  std::vector<DLManagedTensor *> outputs(size_t(function->num_outputs));
  std::string error = take(moe_session_run(
      session, function->num_inputs, nullptr, inputs.get(), outputs.data()));
  if (!error.empty())
    return error;
  bytes.clear();
  for (int32_t i = 0; i < function->num_outputs; ++i) {
    const DLTensor &tensor = outputs[size_t(i)]->dl_tensor;
    size_t size = countElements(tensor) *
                  size_t(moe_dtype_size(function->outputs[i].dtype));
    const auto *first = static_cast<const unsigned char *>(tensor.data);
    bytes.insert(bytes.end(), first, first + size);
    outputs[size_t(i)]->deleter(outputs[size_t(i)]);
  }
  return "";
}

moe_session *createSession(const moe_program *program, int threads) {
  moe_session_options options;
  moe_session_options_init(&options);
  options.num_threads = threads;
  moe_session *session = nullptr;
  std::string error = take(moe_session_create(program, &options, &session));
  if (!error.empty())
    fail(error);
  return session;
}

/// The number of runs that failed or gave other bits.
int compareCallers(const moe_program *program, int64_t extent) {
  moe_session *alone = createSession(program, 1);
  moe_session *shared = createSession(program, 4);
  const moe_function *function = moe_session_function(alone);

  std::vector<Inputs> inputs;
  std::vector<Bytes> expected(kCallers);
  inputs.reserve(kCallers);
  for (int caller = 0; caller < kCallers; ++caller) {
    inputs.emplace_back(*function, extent, unsigned(caller + 1));
    std::string error = runOnce(alone, inputs.back(), expected[size_t(caller)]);
    if (!error.empty())
      fail("alone, extent " + std::to_string(extent) + ": " + error);
  }

  std::atomic<int> wrong{0};
  std::vector<std::thread> threads;
  for (int caller = 0; caller < kCallers; ++caller)
    threads.emplace_back([&, caller] {
      Bytes bytes;
      for (int run = 0; run < kRuns; ++run) {
        std::string error = runOnce(shared, inputs[size_t(caller)], bytes);
        if (error.empty() && bytes == expected[size_t(caller)])
          continue;
        ++wrong;
        std::fprintf(stderr, "caller %d, run %d, extent %lld: %s\n", caller,
                     run, static_cast<long long>(extent),
                     error.empty() ? "other bits" : error.c_str());
      }
    });
  for (std::thread &thread : threads)
    thread.join();
  moe_session_free(shared);
  moe_session_free(alone);
  return wrong;
}

} // namespace

int main(int argc, char **argv) {
  if (argc < 3) {
    std::fprintf(stderr, "usage: moe-concurrent-callers MODEL.so EXTENT...\n");
    return 1;
  }
  moe_program *program = nullptr;
  std::string error = take(moe_program_load(argv[1], &program));
  if (!error.empty())
    fail(error);
  int wrong = 0;
  for (int i = 2; i < argc; ++i) {
    char *end = nullptr;
    int64_t extent = std::strtoll(argv[i], &end, 10);
    if (extent < 0 || end == argv[i] || *end)
      fail("EXTENT is '" + std::string(argv[i]) + "', a number is accepted");
    wrong += compareCallers(program, extent);
  }
  moe_program_free(program);
  return wrong ? 1 : 0;
}
