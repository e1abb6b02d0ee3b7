//===- FileCache.h - mapped files of weights --------------------*- C++ -*-===//
#ifndef MOE_DIALECTS_ONNX_FILECACHE_H
#define MOE_DIALECTS_ONNX_FILECACHE_H

#include "llvm/ADT/ArrayRef.h"
#include "llvm/ADT/StringMap.h"
#include "llvm/ADT/StringRef.h"
#include "llvm/Support/MemoryBuffer.h"
#include <memory>
#include <mutex>
#include <string>

namespace moe::onnx {

/// Read-only mappings of files by name; each lives as long as the cache.
/// Thread-safe.
class FileCache {
public:
  /// The whole file. Null data and a reason in `error` if it cannot be read.
  llvm::ArrayRef<char> map(llvm::StringRef path, std::string &error);

private:
  std::mutex mutex;
  llvm::StringMap<std::unique_ptr<llvm::MemoryBuffer>> files;
};

} // namespace moe::onnx

#endif // MOE_DIALECTS_ONNX_FILECACHE_H
