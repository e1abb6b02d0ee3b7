//===- SignatureTest.cpp - what callers can get wrong ---------------------===//

#include "TestSupport.h"

using namespace moe::test;

namespace {

class Signature : public ::testing::Test {
protected:
  ProgramPtr program = linkedProgram();
  SessionPtr session = makeSession(program.get(), 1);
  MainInputs inputs{6};
  const char *names[3] = {"x", "mask", "index"};

  Result run(int32_t count = 3, const char *const *given = nullptr) {
    DLManagedTensor *outputs[3] = {};
    Result result =
        moe_session_run(session.get(), count, given, inputs.pointers, outputs);
    for (DLManagedTensor *output : outputs) {
      EXPECT_EQ(output != nullptr, result.code == MOE_OK);
      if (output)
        output->deleter(output);
    }
    return result;
  }
  DLTensor &x() { return inputs.tensors[0]->dl(); }
  void expect(int32_t code, const std::string &message) {
    Result result = run();
    EXPECT_EQ(result.code, code);
    EXPECT_EQ(result.message, message);
  }
};

TEST_F(Signature, AcceptsWhatFits) {
  EXPECT_EQ(run().message, "");
  EXPECT_EQ(run(3, names).message, "");
  std::swap(inputs.pointers[0], inputs.pointers[2]);
  const char *swapped[] = {"index", "mask", "x"};
  EXPECT_EQ(run(3, swapped).message, "");
}

TEST_F(Signature, Names) {
  names[1] = "musk";
  EXPECT_EQ(run(3, names).message, "the model has no input 'musk'; its inputs: "
                                   "'x', 'mask', 'index'");
  names[1] = "x";
  EXPECT_EQ(run(3, names).message, "input 'x' is given twice");
  names[1] = nullptr;
  EXPECT_EQ(run(3, names).code, MOE_INVALID_ARGUMENT);
  EXPECT_EQ(run(1, names).message, "input 'mask' is missing; the model's "
                                   "inputs: 'x', 'mask', 'index'");
  EXPECT_EQ(run(2).message, "2 inputs given, 3 expected: 'x', 'mask', 'index'");
  EXPECT_EQ(run(-1).code, MOE_INVALID_ARGUMENT);
  DLManagedTensor *outputs[3];
  EXPECT_EQ(
      Result(moe_session_run(session.get(), 3, names, nullptr, outputs)).code,
      MOE_INVALID_ARGUMENT);
  EXPECT_EQ(Result(moe_session_run(session.get(), 3, nullptr, inputs.pointers,
                                   nullptr))
                .code,
            MOE_INVALID_ARGUMENT);
  inputs.pointers[0] = nullptr;
  expect(MOE_INVALID_ARGUMENT, "input 'x': the tensor is null");
}

TEST_F(Signature, Types) {
  x().dtype = moe_dtype_to_dlpack(MOE_DTYPE_FLOAT64);
  expect(MOE_INVALID_ARGUMENT,
         "input 'x': element type float64 given, float32 expected");
  x().dtype = {kDLFloat, 32, 2};
  expect(MOE_INVALID_ARGUMENT,
         "input 'x': element type float32x2 given, float32 expected");
  x().dtype = {9, 32, 1};
  EXPECT_EQ(run().code, MOE_INVALID_ARGUMENT);
}

TEST_F(Signature, BoolsMayComeAsBytes) {
  inputs.tensors[1]->dl().dtype = {kDLUInt, 8, 1};
  EXPECT_EQ(run().message, "");
  inputs.mask[4] = 2;
  expect(MOE_OUT_OF_RANGE, "input 'mask': element 4 is 2, a bool is 0 or 1");
}

TEST_F(Signature, Shapes) {
  x().shape[1] = 5;
  expect(MOE_SHAPE_MISMATCH,
         "input 'x': dimension 1 is 5, the model was compiled for 4; shape "
         "[6, 5] given, [batch, 4] expected");
  x().shape[1] = 4;
  x().shape[0] = 5;
  expect(MOE_SHAPE_MISMATCH,
         "input 'mask': dimension 0 ('batch') is 6, but input 'x' has 5 for "
         "it; equal names are equal extents");
  x().shape[0] = -1;
  EXPECT_EQ(run().code, MOE_INVALID_ARGUMENT);
  x().ndim = 1;
  x().shape[0] = 6;
  expect(MOE_INVALID_ARGUMENT,
         "input 'x': rank 1 given with shape [6], rank 2 expected with shape "
         "[batch, 4]");
  x().ndim = 2;
  x().shape = nullptr;
  EXPECT_EQ(run().code, MOE_INVALID_ARGUMENT);
}

TEST_F(Signature, SizesThatOverflow) {
  x().shape[0] = INT64_MAX / 8;
  EXPECT_EQ(run().message, "input 'x': shape [1152921504606846975, 4] has more "
                           "bytes than 64 bits can count");
}

TEST_F(Signature, Memory) {
  x().device.device_type = kDLCUDA;
  expect(MOE_INVALID_ARGUMENT,
         "input 'x': DLPack device 2 given, the CPU (1) is accepted");
  x().device.device_type = kDLCPU;
  int64_t strides[2] = {1, 6};
  x().strides = strides;
  expect(MOE_INVALID_ARGUMENT, "input 'x': the tensor is strided; a row-major "
                               "one without gaps is accepted");
  strides[0] = 4;
  strides[1] = 1;
  EXPECT_EQ(run().message, "");
  x().strides = nullptr;
  x().byte_offset = 2;
  expect(MOE_INVALID_ARGUMENT,
         "input 'x': the data address is not a multiple of 4, the element's "
         "size");
  x().byte_offset = 0;
  x().data = nullptr;
  expect(MOE_INVALID_ARGUMENT,
         "input 'x': the data pointer is null, 96 bytes expected");
}

TEST_F(Signature, StridesOfOneAndOffsets) {
  MainInputs one(1);
  int64_t strides[2] = {77, 1};
  one.tensors[0]->dl().strides = strides;
  one.tensors[0]->dl().byte_offset = 8;
  one.tensors[0]->dl().data = reinterpret_cast<char *>(one.x.data()) - 8;
  DLManagedTensor *outputs[3];
  Result result =
      moe_session_run(session.get(), 3, nullptr, one.pointers, outputs);
  ASSERT_EQ(result.message, "");
  EXPECT_EQ(std::memcmp(outputs[2]->dl_tensor.data, one.x.data(), 16), 0);
  for (DLManagedTensor *output : outputs)
    output->deleter(output);
}

TEST_F(Signature, DataOutOfRangeIsTheModelsError) {
  inputs.index = 6;
  expect(MOE_OUT_OF_RANGE, "index 6 is out of range for an extent of 6");
}

TEST_F(Signature, SessionOptions) {
  moe_session_options options;
  moe_session_options_init(&options);
  moe_session *created = nullptr;
  auto create = [&] {
    return Result(moe_session_create(program.get(), &options, &created));
  };
  options.num_threads = -1;
  EXPECT_EQ(create().message, "num_threads is -1, 0 to 4096 are accepted");
  options.num_threads = 1;
  options.function = "nope";
  EXPECT_EQ(
      create().message,
      "the model has no function 'nope'; its functions: 'main', 'faulty'");
  options.function = "faulty";
  options.profile = 1;
  EXPECT_EQ(create().code, MOE_UNSUPPORTED);
  options.struct_size = 0;
  EXPECT_EQ(create().code, MOE_INVALID_ARGUMENT);
  options.struct_size = 10000;
  EXPECT_EQ(create().code, MOE_INVALID_ARGUMENT);
  EXPECT_EQ(created, nullptr);
  EXPECT_NE(Result(moe_session_create(nullptr, nullptr, &created)).code,
            MOE_OK);
  EXPECT_NE(Result(moe_session_run(nullptr, 0, nullptr, nullptr, nullptr)).code,
            MOE_OK);
}

} // namespace
