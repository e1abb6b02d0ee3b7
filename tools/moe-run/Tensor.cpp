//===- Tensor.cpp - a tensor in memory ------------------------------------===//

#include "tools/moe-run/Tensor.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstring>

namespace moe::run {
namespace {

template <typename T> T load(const void *data, int64_t index) {
  T value;
  std::memcpy(&value, static_cast<const char *>(data) + index * sizeof(T),
              sizeof(T));
  return value;
}

std::string formatFloat(double value, int digits) {
  char text[40];
  std::snprintf(text, sizeof(text), "%.*g", digits, value);
  return text;
}

} // namespace

int64_t Tensor::count() const {
  int32_t size = moe_dtype_size(dtype);
  return size ? int64_t(data.size()) / size : 0;
}

TensorView::TensorView(const Tensor &tensor)
    : dtype(tensor.dtype), dims(tensor.dims), data(tensor.data.data()) {}

TensorView::TensorView(const DLTensor &tensor, int32_t dtype)
    : dtype(dtype), dims(tensor.shape, tensor.shape + tensor.ndim),
      data(static_cast<const char *>(tensor.data) + tensor.byte_offset) {}

int64_t TensorView::count() const {
  int64_t count = 1;
  for (int64_t dim : dims)
    count *= dim;
  return count;
}

std::string describe(int32_t dtype, const std::vector<int64_t> &dims) {
  std::string text = moe_dtype_name(dtype);
  text += '[';
  for (size_t i = 0; i < dims.size(); ++i)
    text += (i ? ", " : "") + std::to_string(dims[i]);
  return text + ']';
}

std::string elementText(const TensorView &tensor, int64_t index) {
  switch (tensor.dtype) {
  case MOE_DTYPE_BOOL:
    return load<uint8_t>(tensor.data, index) ? "true" : "false";
  case MOE_DTYPE_INT64:
    return std::to_string(load<int64_t>(tensor.data, index));
  case MOE_DTYPE_UINT64:
    return std::to_string(load<uint64_t>(tensor.data, index));
  case MOE_DTYPE_FLOAT64:
    return formatFloat(elementValue(tensor, index), 15);
  default:
    // Nine digits tell any two floats apart; all 32-bit integers need ten.
    return formatFloat(elementValue(tensor, index),
                       isFloat(tensor.dtype) ? 9 : 10);
  }
}

double elementValue(const TensorView &tensor, int64_t index) {
  const void *data = tensor.data;
  switch (tensor.dtype) {
  case MOE_DTYPE_FLOAT32:
    return load<float>(data, index);
  case MOE_DTYPE_FLOAT64:
    return load<double>(data, index);
  case MOE_DTYPE_FLOAT16:
    return halfToFloat(load<uint16_t>(data, index));
  case MOE_DTYPE_BFLOAT16:
    return bfloatToFloat(load<uint16_t>(data, index));
  case MOE_DTYPE_BOOL:
  case MOE_DTYPE_UINT8:
    return load<uint8_t>(data, index);
  case MOE_DTYPE_INT8:
    return load<int8_t>(data, index);
  case MOE_DTYPE_UINT16:
    return load<uint16_t>(data, index);
  case MOE_DTYPE_INT16:
    return load<int16_t>(data, index);
  case MOE_DTYPE_UINT32:
    return load<uint32_t>(data, index);
  case MOE_DTYPE_INT32:
    return load<int32_t>(data, index);
  case MOE_DTYPE_UINT64:
    return double(load<uint64_t>(data, index));
  case MOE_DTYPE_INT64:
    return double(load<int64_t>(data, index));
  default:
    return std::nan("");
  }
}

bool isFloat(int32_t dtype) {
  return dtype == MOE_DTYPE_FLOAT32 || dtype == MOE_DTYPE_FLOAT64 ||
         dtype == MOE_DTYPE_FLOAT16 || dtype == MOE_DTYPE_BFLOAT16;
}

float halfToFloat(uint16_t bits) {
  float sign = bits & 0x8000 ? -1.0f : 1.0f;
  int exponent = bits >> 10 & 0x1f;
  int fraction = bits & 0x3ff;
  if (exponent == 0x1f)
    return fraction ? std::nanf("") : sign * INFINITY;
  if (exponent == 0)
    return sign * std::ldexp(float(fraction), -24);
  return sign * std::ldexp(float(fraction | 0x400), exponent - 25);
}

uint16_t floatToHalf(float value) {
  uint32_t bits;
  std::memcpy(&bits, &value, sizeof(bits));
  uint16_t sign = bits >> 16 & 0x8000;
  float magnitude = std::fabs(value);
  if (std::isnan(value))
    return sign | 0x7e00;
  // Halfway between the largest half (65504) and the next power of two.
  if (magnitude >= 65520.0f)
    return sign | 0x7c00;
  if (magnitude == 0)
    return sign;
  int exponent;
  std::frexp(magnitude, &exponent); // magnitude < 2^exponent
  // The weight of the last of eleven bits; fixed below 2^-14 (denormals).
  int last = std::max(exponent - 11, -24);
  auto units = uint32_t(std::nearbyint(std::ldexp(magnitude, -last)));
  // With a unit of 2^(e-25) a normal number is units + (e-1) * 2^10 as bits:
  // the leading bit of `units` counts the exponent up once, also after rounding
  // up.
  return sign | uint16_t(units + (uint32_t(last + 24) << 10));
}

float bfloatToFloat(uint16_t bits) {
  uint32_t wide = uint32_t(bits) << 16;
  float value;
  std::memcpy(&value, &wide, sizeof(value));
  return value;
}

uint16_t floatToBfloat(float value) {
  uint32_t bits;
  std::memcpy(&bits, &value, sizeof(bits));
  if (std::isnan(value))
    return uint16_t(bits >> 16) | 0x40;
  return uint16_t((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

} // namespace moe::run
