//===- TensorFilesTest.cpp - .npy and .pb ---------------------------------===//

#include "tools/moe-run/Npy.h"
#include "tools/moe-run/TensorProto.h"

#include "TestSupport.h"

using namespace moe::run;
using namespace moe::test;

namespace {

std::string bytes(std::initializer_list<int> values) {
  std::string text;
  for (int value : values)
    text += char(value);
  return text;
}

template <typename T> std::vector<T> valuesOf(const Tensor &tensor) {
  std::vector<T> values(tensor.data.size() / sizeof(T));
  std::memcpy(values.data(), tensor.data.data(), tensor.data.size());
  return values;
}

template <typename T> std::string raw(std::vector<T> values) {
  return std::string(reinterpret_cast<const char *>(values.data()),
                     values.size() * sizeof(T));
}

std::string npyFile(const std::string &header, const std::string &data,
                    int version = 1) {
  std::string text = "\x93NUMPY";
  text += char(version);
  text += '\0';
  for (int i = 0; i < (version == 1 ? 2 : 4); ++i)
    text += char(header.size() >> (8 * i) & 0xff);
  return text + header + data;
}

std::string protoError(const std::string &text) {
  Tensor tensor;
  return parseTensorProto(text, tensor).message;
}

std::string npyError(const std::string &text) {
  Tensor tensor;
  return parseNpy(text, tensor).message;
}

/// Files that hold the same values whatever their dtype.
constexpr int32_t kDtypes[] = {
    MOE_DTYPE_FLOAT32, MOE_DTYPE_UINT8,   MOE_DTYPE_INT8,   MOE_DTYPE_UINT16,
    MOE_DTYPE_INT16,   MOE_DTYPE_INT32,   MOE_DTYPE_INT64,  MOE_DTYPE_BOOL,
    MOE_DTYPE_FLOAT16, MOE_DTYPE_FLOAT64, MOE_DTYPE_UINT32, MOE_DTYPE_UINT64,
    MOE_DTYPE_BFLOAT16};

Tensor sample(int32_t dtype, std::vector<int64_t> dims) {
  Tensor tensor;
  tensor.name = "t";
  tensor.dtype = dtype;
  tensor.dims = std::move(dims);
  int64_t count = 1;
  for (int64_t dim : tensor.dims)
    count *= dim;
  tensor.data.resize(count * moe_dtype_size(dtype));
  for (size_t i = 0; i < tensor.data.size(); ++i)
    tensor.data[i] = uint8_t(dtype == MOE_DTYPE_BOOL ? i % 2 : i * 7);
  return tensor;
}

TEST(TensorProto, RoundTrip) {
  TestFolder folder;
  for (int32_t dtype : kDtypes)
    for (std::vector<int64_t> dims :
         {std::vector<int64_t>{}, {3}, {2, 0, 5}, {2, 3, 200}}) {
      Tensor tensor = sample(dtype, dims), read;
      Status status = writeTensorProto(folder / "t.pb", "name", tensor);
      ASSERT_TRUE(status.ok()) << status.message;
      status = readTensorProto(folder / "t.pb", read);
      ASSERT_TRUE(status.ok()) << status.message;
      EXPECT_EQ(read.name, "name");
      EXPECT_EQ(read.dtype, dtype);
      EXPECT_EQ(read.dims, dims);
      EXPECT_EQ(read.data, tensor.data);
    }
}

TEST(TensorProto, TypedFields) {
  Tensor t;
  // dims: 2 unpacked; data_type 1; float_data packed {1, 2}
  ASSERT_TRUE(parseTensorProto(
                  bytes({0x08, 2, 0x10, 1, 0x22, 8}) + raw<float>({1, 2}), t)
                  .ok());
  EXPECT_EQ(valuesOf<float>(t), (std::vector<float>{1, 2}));
  // the same, unpacked
  ASSERT_TRUE(parseTensorProto(bytes({0x0a, 1, 2, 0x10, 1, 0x25}) +
                                   raw<float>({1}) + "\x25" + raw<float>({2}),
                               t)
                  .ok());
  EXPECT_EQ(valuesOf<float>(t), (std::vector<float>{1, 2}));
  // int32_data for f16: {0x3c00, 0x4000}
  ASSERT_TRUE(
      parseTensorProto(
          bytes({0x08, 2, 0x10, 10, 0x2a, 5, 0x80, 0x78, 0x80, 0x80, 0x01}), t)
          .ok());
  EXPECT_EQ(valuesOf<uint16_t>(t), (std::vector<uint16_t>{0x3c00, 0x4000}));
  // int32_data for int8: {-1, 5}; a negative varint has ten bytes
  ASSERT_TRUE(
      parseTensorProto(bytes({0x08, 2, 0x10, 3, 0x2a, 11, 0xff, 0xff, 0xff,
                              0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01, 5}),
                       t)
          .ok());
  EXPECT_EQ(valuesOf<int8_t>(t), (std::vector<int8_t>{-1, 5}));
  // int64_data: a scalar
  ASSERT_TRUE(parseTensorProto(bytes({0x10, 7, 0x38, 9}), t).ok());
  EXPECT_EQ(valuesOf<int64_t>(t), (std::vector<int64_t>{9}));
  // double_data, uint64_data for uint32
  ASSERT_TRUE(parseTensorProto(
                  bytes({0x08, 1, 0x10, 11, 0x52, 8}) + raw<double>({0.5}), t)
                  .ok());
  EXPECT_EQ(valuesOf<double>(t), (std::vector<double>{0.5}));
  ASSERT_TRUE(
      parseTensorProto(bytes({0x08, 1, 0x10, 12, 0x5a, 1, 77}), t).ok());
  EXPECT_EQ(valuesOf<uint32_t>(t), (std::vector<uint32_t>{77}));
}

TEST(TensorProto, RefusesWhatIsDamaged) {
  EXPECT_NE(protoError("\x08"), "");
  EXPECT_NE(protoError("\x0a\x05\x01"), "");
  EXPECT_NE(protoError("\x0b\x0b"), "");                // a group
  EXPECT_NE(protoError(std::string(11, '\xff')), "");   // an endless varint
  EXPECT_NE(protoError(""), "");                        // no type
  EXPECT_NE(protoError(bytes({0x10, 8})), "");          // strings
  EXPECT_NE(protoError(bytes({0x10, 1, 0x70, 1})), ""); // external data
  EXPECT_EQ(protoError(bytes({0x08, 2, 0x10, 1, 0x4a, 4, 0, 0, 0, 0})),
            "tensor '' of type float32[2] needs 8 bytes, 4 are there");
  // data in a field of another type
  EXPECT_NE(protoError(bytes({0x08, 1, 0x10, 1, 0x38, 9})), "");
  // a negative extent, and extents whose product overflows
  EXPECT_NE(protoError(bytes({0x08, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
                              0xff, 0xff, 0x01, 0x10, 1})),
            "");
  std::string large =
      bytes({0x08, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x40});
  EXPECT_NE(protoError(large + large + bytes({0x10, 1})), "");
}

TEST(TensorProto, EveryPrefixIsRefusedOrRead) {
  Tensor tensor = sample(MOE_DTYPE_INT32, {2, 3});
  std::string text = tensorProtoHead("abc", tensor) +
                     std::string(tensor.data.begin(), tensor.data.end());
  for (size_t size = 0; size < text.size(); ++size)
    EXPECT_NE(protoError(text.substr(0, size)), "") << size;
  EXPECT_EQ(protoError(text), "");
}

TEST(Npy, RoundTrip) {
  TestFolder folder;
  for (int32_t dtype : kDtypes)
    for (std::vector<int64_t> dims :
         {std::vector<int64_t>{}, {3}, {2, 0, 5}, {2, 3, 4}}) {
      if (dtype == MOE_DTYPE_BFLOAT16)
        continue; // written as float32
      Tensor tensor = sample(dtype, dims), read;
      ASSERT_TRUE(writeNpy(folder / "t.npy", tensor).ok());
      Status status = readNpy(folder / "t.npy", read);
      ASSERT_TRUE(status.ok()) << status.message;
      EXPECT_EQ(read.dtype, dtype);
      EXPECT_EQ(read.dims, dims);
      EXPECT_EQ(read.data, tensor.data);
      EXPECT_EQ((readText(folder / "t.npy").size() - read.data.size()) % 64,
                0u);
    }
}

TEST(Npy, WidensBfloat16) {
  TestFolder folder;
  Tensor tensor = sample(MOE_DTYPE_BFLOAT16, {2}), read;
  tensor.data = {0x80, 0x3f, 0x00, 0xc0}; // 1, -2
  ASSERT_TRUE(writeNpy(folder / "t.npy", tensor).ok());
  ASSERT_TRUE(readNpy(folder / "t.npy", read).ok());
  EXPECT_EQ(read.dtype, MOE_DTYPE_FLOAT32);
  EXPECT_EQ(valuesOf<float>(read), (std::vector<float>{1, -2}));
}

TEST(Npy, VersionsAndOrders) {
  Tensor t;
  std::string header =
      "{'descr': '<i4', 'fortran_order': False, 'shape': (2, 3), }  \n";
  std::string data = raw<int32_t>({0, 1, 2, 3, 4, 5});
  for (int version : {1, 2, 3}) {
    ASSERT_TRUE(parseNpy(npyFile(header, data, version), t).ok());
    EXPECT_EQ(valuesOf<int32_t>(t), (std::vector<int32_t>{0, 1, 2, 3, 4, 5}));
  }
  header = "{'descr': '<i4', 'fortran_order': True, 'shape': (2, 3), }\n";
  ASSERT_TRUE(parseNpy(npyFile(header, data), t).ok());
  EXPECT_EQ(valuesOf<int32_t>(t), (std::vector<int32_t>{0, 2, 4, 1, 3, 5}));
  header = "{'descr': '<f4', 'fortran_order': True, 'shape': (), }\n";
  ASSERT_TRUE(parseNpy(npyFile(header, raw<float>({7})), t).ok());
  EXPECT_TRUE(t.dims.empty());
}

TEST(Npy, RefusesWhatIsDamaged) {
  std::string good =
      "{'descr': '<f4', 'fortran_order': False, 'shape': (2,), }";
  std::string data = raw<float>({1, 2});
  EXPECT_EQ(npyError(npyFile(good, data)), "");
  EXPECT_NE(npyError(npyFile(good, data + "x")), "");
  EXPECT_NE(npyError(npyFile(good, data.substr(1))), "");
  EXPECT_NE(npyError(npyFile(good, data, 4)), "");
  EXPECT_NE(npyError(""), "");
  EXPECT_NE(npyError("\x93NUMPY\x01"), "");
  for (const char *header :
       {"", "{", "{}", "{'descr': '<f4'}",
        "{'descr': '>f4', 'fortran_order': False, 'shape': (2,), }",
        "{'descr': '<c8', 'fortran_order': False, 'shape': (1,), }",
        "{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (2,), }",
        "{'descr': '<f4', 'fortran_order': Maybe, 'shape': (2,), }",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (-2,), }",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (2 2), }",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (2,",
        "{'descr': '<f4', 'fortran_order': False, "
        "'shape': (4611686018427387904, 4), }"})
    EXPECT_NE(npyError(npyFile(header, data)), "") << header;
  std::string text = npyFile(good, data);
  for (size_t size = 0; size < text.size(); ++size)
    EXPECT_NE(npyError(text.substr(0, size)), "") << size;
}

TEST(TensorFiles, MissingFilesAreNamed) {
  Tensor tensor;
  EXPECT_EQ(readNpy("/nonexistent/x.npy", tensor).message,
            "cannot open '/nonexistent/x.npy': No such file or directory");
  EXPECT_NE(readTensorProto("/", tensor).message, "");
  EXPECT_NE(writeNpy("/nonexistent/x.npy", sample(MOE_DTYPE_INT8, {1})).message,
            "");
}

} // namespace
