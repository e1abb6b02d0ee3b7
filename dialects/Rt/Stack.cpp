//===- Stack.cpp - #rt.stack
//------------------------------------------------===//

#include "dialects/Rt/RtDialect.h"
#include "mlir/IR/Diagnostics.h"
#include <cstring>

using namespace mlir;
using namespace moe::rt;

LogicalResult
StackAttr::verify(llvm::function_ref<InFlightDiagnostic()> emitError,
                  ShapedType type, ArrayRef<ElementsAttr> parts,
                  bool transposed) {
  if (parts.empty())
    return emitError() << "#rt.stack needs at least one part";
  ShapedType part = parts.front().getShapedType();
  for (ElementsAttr other : parts)
    if (other.getShapedType() != part)
      return emitError() << "#rt.stack has parts of type " << part << " and "
                         << other.getShapedType()
                         << "; parts of one type are accepted";
  if (getElementBytes(part.getElementType()) == 0)
    return emitError() << "#rt.stack cannot hold elements of type "
                       << part.getElementType();
  SmallVector<int64_t> shape{static_cast<int64_t>(parts.size())};
  llvm::append_range(shape, part.getShape());
  if (transposed) {
    if (part.getRank() < 2)
      return emitError() << "#rt.stack cannot transpose parts of type " << part;
    std::swap(shape[shape.size() - 1], shape[shape.size() - 2]);
  }
  if (type.getElementType() != part.getElementType() ||
      ArrayRef(shape) != type.getShape())
    return emitError() << "#rt.stack of " << parts.size() << " parts of type "
                       << part << " has type "
                       << RankedTensorType::get(shape, part.getElementType())
                       << ", not " << type;
  return success();
}

uint64_t StackAttr::getByteSize() const {
  return getParts().size() * moe::rt::getByteSize(getParts().front());
}

/// Swaps the axes of `count` matrices of elements of `width` bytes.
static void transpose(const char *from, char *to, int64_t count, int64_t rows,
                      int64_t columns, size_t width) {
  // Blocks keep both sides in the cache.
  constexpr int64_t kBlock = 32;
  for (int64_t m = 0; m < count; ++m) {
    for (int64_t r0 = 0; r0 < rows; r0 += kBlock)
      for (int64_t c0 = 0; c0 < columns; c0 += kBlock)
        for (int64_t r = r0; r < std::min(rows, r0 + kBlock); ++r)
          for (int64_t c = c0; c < std::min(columns, c0 + kBlock); ++c)
            std::memcpy(to + (c * rows + r) * width,
                        from + (r * columns + c) * width, width);
    from += rows * columns * width;
    to += rows * columns * width;
  }
}

LogicalResult StackAttr::forEachChunk(
    llvm::function_ref<LogicalResult(ArrayRef<char>)> consume,
    llvm::function_ref<InFlightDiagnostic()> emitError) const {
  SmallVector<char, 0> whole, turned;
  for (ElementsAttr part : getParts()) {
    if (!getTransposed()) {
      if (failed(moe::rt::forEachChunk(part, consume, emitError)))
        return failure();
      continue;
    }
    whole.clear();
    auto collect = [&](ArrayRef<char> bytes) {
      whole.append(bytes.begin(), bytes.end());
      return success();
    };
    if (failed(moe::rt::forEachChunk(part, collect, emitError)))
      return failure();
    ShapedType type = part.getShapedType();
    int64_t rows = type.getDimSize(type.getRank() - 2);
    int64_t columns = type.getDimSize(type.getRank() - 1);
    if (type.getNumElements() != 0) {
      turned.resize_for_overwrite(whole.size());
      transpose(whole.data(), turned.data(),
                type.getNumElements() / (rows * columns), rows, columns,
                whole.size() / type.getNumElements());
      if (failed(consume(turned)))
        return failure();
    }
  }
  return success();
}
