//===- TestSupport.h - helpers of the runtime's tests ---------------------===//
#ifndef MOE_TEST_UNIT_RUNTIME_TESTSUPPORT_H
#define MOE_TEST_UNIT_RUNTIME_TESTSUPPORT_H

#include "moe-c/Runtime.h"

#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <gtest/gtest.h>
#include <memory>
#include <sstream>
#include <string>
#include <vector>

extern "C" const moe_model *moe_model_query(uint32_t abiVersion);

namespace moe::test {

/// What `mode` of the test model's function "faulty" means; see TestModel.c.
enum FaultyMode : int64_t {
  ReturnCodeOnly,
  FailButReturnOk,
  ForeignMemory,
  SmallBlock,
  NoDims,
  NoData,
  WrongExtent,
  FreeForeign,
  AskTooMuch,
  SharedBlock,
  NegativeSize
};

/// A DLPack tensor over memory that the test owns.
struct TestTensor {
  std::vector<int64_t> shape;
  std::vector<int64_t> strides;
  DLManagedTensor managed = {};

  template <typename T>
  TestTensor(int32_t dtype, std::vector<int64_t> dims, const T *data)
      : shape(std::move(dims)) {
    DLTensor &tensor = managed.dl_tensor;
    tensor.data = const_cast<T *>(data);
    tensor.device = {kDLCPU, 0};
    tensor.ndim = int(shape.size());
    tensor.dtype = moe_dtype_to_dlpack(dtype);
    tensor.shape = shape.data();
  }
  TestTensor(const TestTensor &) = delete;

  DLTensor &dl() { return managed.dl_tensor; }
};

/// Inputs of the test model's function "main".
struct MainInputs {
  std::vector<float> x;
  std::vector<uint8_t> mask;
  int64_t index = 0;
  std::unique_ptr<TestTensor> tensors[3];
  DLManagedTensor *pointers[3];

  explicit MainInputs(int64_t batch) : x(batch * 4), mask(batch) {
    for (size_t i = 0; i < x.size(); ++i)
      x[i] = float(int(i * 2654435761u % 2001) - 1000) / 500.0f;
    for (size_t i = 0; i < mask.size(); ++i)
      mask[i] = i % 3 == 0;
    tensors[0].reset(new TestTensor(MOE_DTYPE_FLOAT32, {batch, 4}, x.data()));
    tensors[1].reset(new TestTensor(MOE_DTYPE_BOOL, {batch}, mask.data()));
    tensors[2].reset(new TestTensor(MOE_DTYPE_INT64, {}, &index));
    for (int i = 0; i < 3; ++i)
      pointers[i] = &tensors[i]->managed;
  }
};

/// An error's code and message; frees it.
struct Result {
  int32_t code;
  std::string message;

  Result(moe_error *error)
      : code(moe_error_code(error)), message(moe_error_message(error)) {
    moe_error_free(error);
  }
};

struct Deleter {
  void operator()(moe_program *program) const { moe_program_free(program); }
  void operator()(moe_session *session) const { moe_session_free(session); }
  void operator()(DLManagedTensor *tensor) const { tensor->deleter(tensor); }
};
using ProgramPtr = std::unique_ptr<moe_program, Deleter>;
using SessionPtr = std::unique_ptr<moe_session, Deleter>;
using TensorPtr = std::unique_ptr<DLManagedTensor, Deleter>;

/// The test model of this process.
inline ProgramPtr linkedProgram() {
  moe_program *program = nullptr;
  Result result =
      moe_program_from_model(moe_model_query(MOE_ABI_VERSION), "", &program);
  EXPECT_EQ(result.message, "");
  return ProgramPtr(program);
}

inline SessionPtr makeSession(const moe_program *program, int32_t threads,
                              const char *function = nullptr) {
  moe_session_options options;
  moe_session_options_init(&options);
  options.num_threads = threads;
  options.function = function;
  moe_session *session = nullptr;
  Result result = moe_session_create(program, &options, &session);
  EXPECT_EQ(result.message, "");
  return SessionPtr(session);
}

/// Bytes of a row-major tensor.
inline std::string bytesOf(const DLTensor &tensor) {
  size_t size = tensor.dtype.bits / 8;
  for (int d = 0; d < tensor.ndim; ++d)
    size *= size_t(tensor.shape[d]);
  return std::string(static_cast<const char *>(tensor.data), size);
}

/// A folder that is removed at the end of the test.
class TestFolder {
public:
  TestFolder() {
    path = std::filesystem::temp_directory_path() / "moe-test-XXXXXX";
    if (!mkdtemp(path.data()))
      path.clear();
  }
  ~TestFolder() {
    std::error_code error;
    if (!path.empty())
      std::filesystem::remove_all(path, error);
  }
  std::string operator/(const std::string &name) const {
    return path + "/" + name;
  }

  std::string path;
};

inline void writeText(const std::string &path, const std::string &text) {
  std::ofstream(path, std::ios::binary) << text;
}

inline std::string readText(const std::string &path) {
  std::ostringstream text;
  text << std::ifstream(path, std::ios::binary).rdbuf();
  return text.str();
}

} // namespace moe::test

#endif // MOE_TEST_UNIT_RUNTIME_TESTSUPPORT_H
