//===- CompareTest.cpp ----------------------------------------------------===//

#include "tools/moe-run/Compare.h"

#include <cmath>
#include <cstring>
#include <gtest/gtest.h>

using namespace moe::run;

namespace {

template <typename T>
Tensor make(int32_t dtype, std::vector<int64_t> dims, std::vector<T> values) {
  Tensor tensor;
  tensor.dtype = dtype;
  tensor.dims = std::move(dims);
  tensor.data.resize(values.size() * sizeof(T));
  if (!values.empty())
    std::memcpy(tensor.data.data(), values.data(), tensor.data.size());
  return tensor;
}

Tensor floats(std::vector<float> values) {
  int64_t size = int64_t(values.size());
  return make(MOE_DTYPE_FLOAT32, {size}, std::move(values));
}

Comparison diff(const Tensor &got, const Tensor &expected,
                Tolerance tolerance = {}) {
  return compare(got, expected, tolerance);
}

TEST(Compare, Tolerances) {
  EXPECT_TRUE(diff(floats({100.0f}), floats({100.009f})).matches);
  EXPECT_FALSE(diff(floats({100.0f}), floats({100.02f})).matches);
  EXPECT_TRUE(diff(floats({0.0f}), floats({9e-6f})).matches);
  EXPECT_FALSE(diff(floats({0.0f}), floats({2e-5f})).matches);
  EXPECT_FALSE(diff(floats({1.0f}), floats({1.0000001f}), {0, 0}).matches);
  EXPECT_TRUE(diff(floats({}), floats({})).matches);
}

TEST(Compare, SpecialValues) {
  EXPECT_TRUE(diff(floats({NAN, INFINITY, -INFINITY, -0.0f}),
                   floats({-NAN, INFINITY, -INFINITY, 0.0f}))
                  .matches);
  for (float a : {NAN, INFINITY, -INFINITY, 1.0f})
    for (float b : {NAN, INFINITY, -INFINITY, 1.0f}) {
      bool same = a == b || (std::isnan(a) && std::isnan(b));
      EXPECT_EQ(diff(floats({a}), floats({b})).matches, same) << a << " " << b;
    }
}

TEST(Compare, NamesTheWorstElement) {
  Tensor got = make<float>(MOE_DTYPE_FLOAT32, {2, 3}, {0, 1, 2, 3, 4, 5});
  Tensor expected =
      make<float>(MOE_DTYPE_FLOAT32, {2, 3}, {0, 1.5, 2, 3, 9, 5});
  Comparison result = diff(got, expected);
  EXPECT_EQ(result.differing, 2);
  EXPECT_DOUBLE_EQ(result.maxDifference, 5);
  EXPECT_EQ(result.text,
            "differs at [1, 1]: got 4, expected 9 (difference 5, tolerance "
            "1e-05 + 0.0001 * |expected|); 2 of 6 elements differ");
}

TEST(Compare, IntegersAreExact) {
  int64_t large = (int64_t(1) << 60) + 1;
  Comparison result = diff(make<int64_t>(MOE_DTYPE_INT64, {1}, {large}),
                           make<int64_t>(MOE_DTYPE_INT64, {1}, {large - 1}));
  EXPECT_FALSE(result.matches);
  EXPECT_EQ(result.text, "differs at [0]: got 1152921504606846977, expected "
                         "1152921504606846976; 1 of 1 elements differ");
  EXPECT_FALSE(diff(make<uint8_t>(MOE_DTYPE_BOOL, {1}, {1}),
                    make<uint8_t>(MOE_DTYPE_BOOL, {1}, {0}))
                   .matches);
}

TEST(Compare, TypeAndShape) {
  EXPECT_EQ(diff(make<float>(MOE_DTYPE_FLOAT32, {2}, {1, 2}),
                 make<float>(MOE_DTYPE_FLOAT32, {1, 2}, {1, 2}))
                .text,
            "is float32[2], float32[1, 2] expected");
  EXPECT_FALSE(diff(make<float>(MOE_DTYPE_FLOAT32, {1}, {1}),
                    make<int32_t>(MOE_DTYPE_INT32, {1}, {1}))
                   .matches);
}

TEST(Compare, NarrowFloatsAsFloats) {
  EXPECT_TRUE(diff(make<uint16_t>(MOE_DTYPE_FLOAT16, {1}, {0x3c00}),
                   make<uint16_t>(MOE_DTYPE_FLOAT16, {1}, {0x3c01}), {1e-2, 0})
                  .matches);
  EXPECT_FALSE(diff(make<uint16_t>(MOE_DTYPE_BFLOAT16, {1}, {0x3f80}),
                    make<uint16_t>(MOE_DTYPE_BFLOAT16, {1}, {0x3f81}))
                   .matches);
}

TEST(Compare, HalfConversions) {
  EXPECT_EQ(halfToFloat(0x3c00), 1.0f);
  EXPECT_EQ(halfToFloat(0xc000), -2.0f);
  EXPECT_EQ(halfToFloat(0x0001), std::ldexp(1.0f, -24));
  EXPECT_EQ(halfToFloat(0x7c00), INFINITY);
  EXPECT_EQ(floatToHalf(65519.0f), 0x7bff);
  EXPECT_EQ(floatToHalf(65520.0f), 0x7c00);
  EXPECT_EQ(floatToHalf(1e-9f), 0);
  for (uint32_t bits = 0; bits < 0x10000; ++bits) {
    float value = halfToFloat(uint16_t(bits));
    if (std::isnan(value)) {
      EXPECT_TRUE(std::isnan(halfToFloat(floatToHalf(value))));
    } else {
      ASSERT_EQ(floatToHalf(value), bits);
    }
    value = bfloatToFloat(uint16_t(bits));
    if (!std::isnan(value)) {
      ASSERT_EQ(floatToBfloat(value), bits);
    }
  }
  // Halfway cases go to the even neighbour.
  EXPECT_EQ(floatToHalf(1.0f + std::ldexp(1.0f, -11)), 0x3c00);
  EXPECT_EQ(floatToHalf(1.0f + 3 * std::ldexp(1.0f, -11)), 0x3c02);
  EXPECT_EQ(floatToBfloat(1.0f + std::ldexp(1.0f, -8)), 0x3f80);
}

} // namespace
