//===- DType.h - element types --------------------------------------------===//
#ifndef MOE_RUNTIME_CORE_DTYPE_H
#define MOE_RUNTIME_CORE_DTYPE_H

#include "moe-c/Runtime.h"

#include <cstdint>
#include <optional>
#include <string>

namespace moe::runtime {

/// Size in bytes of `rank` extents of elements of `dtype`; none if an extent
/// is negative, the type unknown, or the size does not fit in int64. Extents
/// are multiplied in order with zeros taken first, so that 0 x huge is 0.
std::optional<int64_t> byteSize(int32_t dtype, const int64_t *dims,
                                int32_t rank);

/// Whether a tensor of DLPack type `given` may stand for `dtype`.
bool matches(DLDataType given, int32_t dtype);

/// `type` for messages: "float32", "uint8", "float32x4".
std::string toString(DLDataType type);

} // namespace moe::runtime

#endif // MOE_RUNTIME_CORE_DTYPE_H
