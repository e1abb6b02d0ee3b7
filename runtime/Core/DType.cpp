//===- DType.cpp - element types ------------------------------------------===//

#include "runtime/Core/DType.h"

namespace {

struct TypeInfo {
  const char *name;
  int32_t dtype;
  uint8_t code; // DLPack
  uint8_t bits;
};

constexpr TypeInfo kTypes[] = {
    {"float32", MOE_DTYPE_FLOAT32, kDLFloat, 32},
    {"uint8", MOE_DTYPE_UINT8, kDLUInt, 8},
    {"int8", MOE_DTYPE_INT8, kDLInt, 8},
    {"uint16", MOE_DTYPE_UINT16, kDLUInt, 16},
    {"int16", MOE_DTYPE_INT16, kDLInt, 16},
    {"int32", MOE_DTYPE_INT32, kDLInt, 32},
    {"int64", MOE_DTYPE_INT64, kDLInt, 64},
    {"bool", MOE_DTYPE_BOOL, MOE_DL_BOOL, 8},
    {"float16", MOE_DTYPE_FLOAT16, kDLFloat, 16},
    {"float64", MOE_DTYPE_FLOAT64, kDLFloat, 64},
    {"uint32", MOE_DTYPE_UINT32, kDLUInt, 32},
    {"uint64", MOE_DTYPE_UINT64, kDLUInt, 64},
    {"bfloat16", MOE_DTYPE_BFLOAT16, kDLBfloat, 16},
};

const TypeInfo *find(int32_t dtype) {
  for (const TypeInfo &type : kTypes)
    if (type.dtype == dtype)
      return &type;
  return nullptr;
}

} // namespace

int32_t moe_dtype_size(int32_t dtype) {
  const TypeInfo *type = find(dtype);
  return type ? type->bits / 8 : 0;
}

const char *moe_dtype_name(int32_t dtype) {
  const TypeInfo *type = find(dtype);
  return type ? type->name : "unknown";
}

DLDataType moe_dtype_to_dlpack(int32_t dtype) {
  const TypeInfo *type = find(dtype);
  return type ? DLDataType{type->code, type->bits, 1} : DLDataType{0, 0, 0};
}

namespace moe::runtime {

std::optional<int64_t> byteSize(int32_t dtype, const int64_t *dims,
                                int32_t rank) {
  int64_t size = moe_dtype_size(dtype);
  if (size == 0)
    return std::nullopt;
  bool empty = false;
  for (int32_t i = 0; i < rank; ++i) {
    if (dims[i] < 0)
      return std::nullopt;
    empty |= dims[i] == 0;
  }
  if (empty)
    return 0;
  for (int32_t i = 0; i < rank; ++i)
    if (__builtin_mul_overflow(size, dims[i], &size))
      return std::nullopt;
  return size;
}

bool matches(DLDataType given, int32_t dtype) {
  const TypeInfo *type = find(dtype);
  if (!type || given.lanes != 1 || given.bits != type->bits)
    return false;
  return given.code == type->code ||
         (dtype == MOE_DTYPE_BOOL && given.code == kDLUInt);
}

std::string toString(DLDataType type) {
  std::string text;
  for (const TypeInfo &known : kTypes)
    if (known.code == type.code && known.bits == type.bits)
      text = known.name;
  if (text.empty())
    text = "DLPack type code " + std::to_string(type.code) + " of " +
           std::to_string(type.bits) + " bits";
  if (type.lanes != 1)
    text += "x" + std::to_string(type.lanes);
  return text;
}

} // namespace moe::runtime
