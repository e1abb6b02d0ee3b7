//===- Tensor.h - a tensor in memory --------------------------------------===//
#ifndef MOE_TOOLS_RUN_TENSOR_H
#define MOE_TOOLS_RUN_TENSOR_H

#include "moe-c/Runtime.h"

#include <cstdint>
#include <new>
#include <string>
#include <vector>

namespace moe::run {

/// Gives memory at multiples of a cache line.
template <typename T> struct AlignedAllocator {
  using value_type = T;
  static constexpr std::align_val_t kAlignment{64};

  AlignedAllocator() = default;
  template <typename U> AlignedAllocator(const AlignedAllocator<U> &) {}
  T *allocate(size_t count) {
    return static_cast<T *>(::operator new(count * sizeof(T), kAlignment));
  }
  void deallocate(T *data, size_t) { ::operator delete(data, kAlignment); }
  bool operator==(const AlignedAllocator &) const { return true; }
  bool operator!=(const AlignedAllocator &) const { return false; }
};

/// A dense row-major tensor with memory of its own.
struct Tensor {
  std::string name;
  int32_t dtype = 0; // moe_dtype
  std::vector<int64_t> dims;
  std::vector<uint8_t, AlignedAllocator<uint8_t>> data;

  /// Number of elements, from the size of `data`.
  int64_t count() const;
};

/// A tensor that belongs to somebody else.
struct TensorView {
  int32_t dtype = 0;
  std::vector<int64_t> dims;
  const void *data = nullptr;

  TensorView(const Tensor &tensor);
  /// A row-major DLPack tensor of a known element type.
  TensorView(const DLTensor &tensor, int32_t dtype);

  int64_t count() const;
  int64_t bytes() const { return count() * moe_dtype_size(dtype); }
};

/// "float32[2, 12]".
std::string describe(int32_t dtype, const std::vector<int64_t> &dims);

/// Element `index` as text; integers and bools exactly.
std::string elementText(const TensorView &tensor, int64_t index);
/// Element `index`; integers of 64 bits are rounded.
double elementValue(const TensorView &tensor, int64_t index);

bool isFloat(int32_t dtype);

/// IEEE half and bfloat16, by their bits; rounds to nearest even.
float halfToFloat(uint16_t bits);
uint16_t floatToHalf(float value);
float bfloatToFloat(uint16_t bits);
uint16_t floatToBfloat(float value);

} // namespace moe::run

#endif // MOE_TOOLS_RUN_TENSOR_H
