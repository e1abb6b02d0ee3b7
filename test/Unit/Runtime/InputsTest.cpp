//===- InputsTest.cpp -----------------------------------------------------===//

#include "tools/moe-run/Inputs.h"

#include "TestSupport.h"
#include "tools/moe-run/Npy.h"
#include "tools/moe-run/Outputs.h"
#include "tools/moe-run/TensorProto.h"

using namespace moe::run;
using namespace moe::test;

namespace {

const moe_function &mainFunction() {
  return moe_model_query(MOE_ABI_VERSION)->functions[0];
}

Tensor scalar(int64_t value) {
  Tensor tensor;
  tensor.dtype = MOE_DTYPE_INT64;
  tensor.data.resize(8);
  std::memcpy(tensor.data.data(), &value, 8);
  return tensor;
}

std::string gatherError(const Options &options) {
  std::vector<Tensor> inputs;
  return gatherInputs(mainFunction(), options, inputs).message;
}

TEST(Inputs, RandomIsReproducible) {
  Options options;
  options.seed = 7;
  options.dims = {{"batch", 5}};
  std::vector<Tensor> a, b, c;
  ASSERT_TRUE(gatherInputs(mainFunction(), options, a).ok());
  ASSERT_TRUE(gatherInputs(mainFunction(), options, b).ok());
  options.seed = 8;
  ASSERT_TRUE(gatherInputs(mainFunction(), options, c).ok());
  ASSERT_EQ(a.size(), 3u);
  EXPECT_EQ(a[0].dims, (std::vector<int64_t>{5, 4}));
  EXPECT_EQ(a[1].dims, (std::vector<int64_t>{5}));
  EXPECT_TRUE(a[2].dims.empty());
  EXPECT_EQ(a[0].data, b[0].data);
  EXPECT_NE(a[0].data, c[0].data);
}

TEST(Inputs, RandomRanges) {
  for (int32_t dtype : {MOE_DTYPE_FLOAT32, MOE_DTYPE_FLOAT64, MOE_DTYPE_FLOAT16,
                        MOE_DTYPE_BFLOAT16, MOE_DTYPE_INT8, MOE_DTYPE_UINT16,
                        MOE_DTYPE_INT32, MOE_DTYPE_INT64, MOE_DTYPE_BOOL}) {
    Tensor tensor;
    tensor.dtype = dtype;
    tensor.dims = {1000};
    tensor.data.resize(1000 * moe_dtype_size(dtype));
    fillRandom(1, tensor);
    double low = 1e9, high = -1e9;
    for (int64_t i = 0; i < 1000; ++i) {
      low = std::min(low, elementValue(tensor, i));
      high = std::max(high, elementValue(tensor, i));
    }
    bool real = isFloat(dtype);
    EXPECT_GE(low, real ? -1 : 0);
    EXPECT_LE(high, real ? 1 : dtype == MOE_DTYPE_BOOL ? 1 : 15);
    EXPECT_GT(high - low, real ? 1.9 : 0.9);
  }
}

TEST(Inputs, NeedsExtentsAndValues) {
  Options options;
  EXPECT_EQ(gatherError(options),
            "no values for 'x' float32[batch, 4], 'mask' bool[batch], 'index' "
            "int64[]; give --data DIR, --input NAME=FILE or --random SEED");
  options.seed = 1;
  EXPECT_EQ(gatherError(options),
            "--random: the extent of dimension 0 of input 'x' float32[batch, "
            "4] is not known; give --dim 'batch=N'");
  options.dims = {{"bach", 5}};
  EXPECT_EQ(gatherError(options), "--dim: the model's inputs have no dimension "
                                  "'bach'; named ones: 'batch'");
  options.dims = {{"batch", INT64_MAX}};
  EXPECT_NE(gatherError(options), "");
}

TEST(Inputs, FilesByNameAndByPosition) {
  TestFolder folder;
  Tensor x;
  x.dtype = MOE_DTYPE_FLOAT32;
  x.dims = {2, 4};
  x.data.resize(32);
  // 0 holds the name of the last input; the other two go by position.
  ASSERT_TRUE(writeTensorProto(folder / "input_2.pb", "x", x).ok());
  ASSERT_TRUE(writeTensorProto(folder / "input_1.pb", "other", x).ok());
  ASSERT_TRUE(writeTensorProto(folder / "input_0.pb", "index", scalar(1)).ok());
  writeText(folder / "input_x.pb", "not a number");
  writeText(folder / "input_3.txt", "not a tensor");
  Options options;
  options.dataFolder = folder.path;
  std::vector<Tensor> inputs;
  Status status = gatherInputs(mainFunction(), options, inputs);
  ASSERT_TRUE(status.ok()) << status.message;
  EXPECT_EQ(inputs[0].dims, x.dims);
  EXPECT_EQ(inputs[1].dims, x.dims);
  EXPECT_EQ(inputs[2].dtype, MOE_DTYPE_INT64);

  // --input wins over --data, and gives random inputs their extents.
  ASSERT_TRUE(writeNpy(folder / "i=1.npy", scalar(9)).ok());
  options.inputFiles = {{"index", folder / "i=1.npy"}};
  ASSERT_TRUE(gatherInputs(mainFunction(), options, inputs).ok());
  EXPECT_EQ(elementValue(inputs[2], 0), 9);
  std::filesystem::remove(folder / "input_1.pb");
  options.seed = 3;
  ASSERT_TRUE(gatherInputs(mainFunction(), options, inputs).ok());
  EXPECT_EQ(inputs[1].dims, (std::vector<int64_t>{2}));
}

TEST(Inputs, FilesThatDoNotFit) {
  TestFolder folder;
  Options options;
  options.dataFolder = folder / "missing";
  EXPECT_NE(gatherError(options), "");
  options.dataFolder = folder.path;
  ASSERT_TRUE(writeTensorProto(folder / "input_7.pb", "z", scalar(1)).ok());
  EXPECT_NE(gatherError(options).find("the model has 3 inputs"),
            std::string::npos);
  std::filesystem::remove(folder / "input_7.pb");
  ASSERT_TRUE(writeTensorProto(folder / "input_0.pb", "x", scalar(1)).ok());
  ASSERT_TRUE(writeTensorProto(folder / "input_1.pb", "x", scalar(1)).ok());
  EXPECT_NE(gatherError(options).find("two files"), std::string::npos);
  options = {};
  options.inputFiles = {{"nope", "x.npy"}};
  EXPECT_NE(gatherError(options).find("no input 'nope'"), std::string::npos);
  options.inputFiles = {{"x", "x.txt"}};
  EXPECT_NE(gatherError(options).find("neither a .npy nor a .pb"),
            std::string::npos);
}

TEST(Outputs, FileNames) {
  EXPECT_EQ(fileNameFor("logits"), "logits");
  EXPECT_EQ(fileNameFor("/layers.0/out:0"), "_layers.0_out_0");
  EXPECT_EQ(fileNameFor("../../etc/passwd"), "_.._.._etc_passwd");
  EXPECT_EQ(fileNameFor(""), "_");
  EXPECT_EQ(fileNameFor(std::string(1000, 'a')).size(), 200u);
}

} // namespace
