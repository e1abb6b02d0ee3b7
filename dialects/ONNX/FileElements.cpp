//===- FileElements.cpp - #onnx.file --------------------------------------===//

#include "dialects/ONNX/FileCache.h"
#include "dialects/ONNX/ONNXDialect.h"
#include "mlir/IR/Diagnostics.h"

using namespace mlir;
using namespace moe::onnx;

ArrayRef<char> FileCache::map(StringRef path, std::string &error) {
  std::lock_guard<std::mutex> lock(mutex);
  std::unique_ptr<llvm::MemoryBuffer> &file = files[path];
  if (!file) {
    auto opened = llvm::MemoryBuffer::getFile(path, /*IsText=*/false,
                                              /*RequiresNullTerminator=*/false);
    if (!opened) {
      error = ("cannot open '" + path + "': " + opened.getError().message())
                  .str();
      return {};
    }
    file = std::move(*opened);
  }
  return ArrayRef<char>(file->getBufferStart(), file->getBufferSize());
}

LogicalResult FileElementsAttr::verify(
    llvm::function_ref<InFlightDiagnostic()> emitError, ShapedType type,
    StringRef path, uint64_t offset, uint64_t length) {
  if (!type.hasStaticShape())
    return emitError() << "#onnx.file needs a static shape, got " << type;
  unsigned bits = getElementBits(type.getElementType());
  if (bits == 0)
    return emitError() << "#onnx.file cannot hold elements of type "
                       << type.getElementType();
  // Extents come from untrusted models: their product may overflow.
  uint64_t count = 1;
  for (int64_t extent : type.getShape())
    if (__builtin_mul_overflow(count, static_cast<uint64_t>(extent), &count))
      return emitError() << "the number of elements of " << type
                         << " does not fit 64 bits";
  uint64_t totalBits;
  if (__builtin_mul_overflow(count, static_cast<uint64_t>(bits), &totalBits) ||
      totalBits > UINT64_MAX - 7)
    return emitError() << "the size of " << type << " does not fit 64 bits";
  uint64_t expected = (totalBits + 7) / 8;
  if (length != expected)
    return emitError() << "#onnx.file of type " << type << " needs "
                       << expected << " bytes, got " << length;
  if (offset > UINT64_MAX - length)
    return emitError() << "#onnx.file: offset " << offset << " and length "
                       << length << " do not fit 64 bits";
  return success();
}

ArrayRef<char> FileElementsAttr::getBytes(std::string &error) const {
  auto *dialect = getContext()->getLoadedDialect<ONNXDialect>();
  ArrayRef<char> file = dialect->getFiles().map(getPath(), error);
  if (!error.empty())
    return {};
  if (getOffset() > file.size() || getLength() > file.size() - getOffset()) {
    error = ("'" + getPath() + "' has " + Twine(file.size()) +
             " bytes, the model refers to " + Twine(getLength()) +
             " bytes at offset " + Twine(getOffset()))
                .str();
    return {};
  }
  return file.slice(getOffset(), getLength());
}

uint64_t FileElementsAttr::getByteSize() const {
  // Elements narrower than a byte take a byte each once a model reads them.
  Type element = getType().getElementType();
  if (getElementBits(element) < 8)
    return getType().getNumElements();
  return getLength();
}

LogicalResult FileElementsAttr::forEachChunk(
    llvm::function_ref<LogicalResult(ArrayRef<char>)> consume,
    llvm::function_ref<InFlightDiagnostic()> emitError) const {
  std::string error;
  ArrayRef<char> bytes = getBytes(error);
  if (!error.empty()) {
    emitError() << error;
    return failure();
  }
  unsigned bits = getElementBits(getType().getElementType());
  if (bits >= 8)
    return consume(bytes);

  // Unpack: the first element is in the low bits of a byte.
  bool isSigned = getType().getElementType().isSignlessInteger();
  int64_t count = getType().getNumElements();
  SmallVector<char> chunk;
  constexpr int64_t kChunk = 1 << 16;
  for (int64_t begin = 0; begin < count; begin += kChunk) {
    int64_t end = std::min(count, begin + kChunk);
    chunk.clear();
    for (int64_t i = begin; i < end; ++i) {
      unsigned shift = (i * bits) % 8;
      uint8_t value = (static_cast<uint8_t>(bytes[i * bits / 8]) >> shift) &
                      ((1u << bits) - 1);
      if (isSigned && (value >> (bits - 1)))
        value |= static_cast<uint8_t>(~((1u << bits) - 1));
      chunk.push_back(static_cast<char>(value));
    }
    if (failed(consume(chunk)))
      return failure();
  }
  return success();
}
