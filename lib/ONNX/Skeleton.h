//===- Skeleton.h - a model without its weights -----------------*- C++ -*-===//
//
// Protobuf copies what it parses and stops at 2 GiB. So it only gets to see a
// skeleton: the message as it is in the file, in which each large payload of a
// tensor is replaced by a note of where it lies. A model of many gigabytes has
// a skeleton of a few hundred kilobytes.
//
//===----------------------------------------------------------------------===//
#ifndef MOE_LIB_ONNX_SKELETON_H
#define MOE_LIB_ONNX_SKELETON_H

#include "llvm/ADT/ArrayRef.h"
#include "llvm/ADT/SmallVector.h"
#include "llvm/ADT/StringRef.h"
#include "llvm/Support/raw_ostream.h"
#include <cstdint>
#include <deque>
#include <optional>
#include <string>

namespace moe {

/// Payloads of this many bytes and more stay in the file.
constexpr uint64_t kFileThreshold = 1024;

/// Integers are read by shape inference (shapes, axes, sizes of a split): they
/// stay in the file only from here on.
constexpr uint64_t kIntegerFileThreshold = 64 * 1024;

/// Bytes within the model's own file.
struct Slice {
  uint64_t offset = 0;
  uint64_t length = 0;
};

/// Key of the entry in TensorProto.external_data that holds a slice.
constexpr llvm::StringLiteral kSliceKey = "moe.slice";

/// Writes the skeleton of the ModelProto in `file` to `skeleton`. False, with
/// what is wrong and at which byte in `error`, if the bytes are no protobuf
/// message. Nothing else is checked here.
bool makeSkeleton(llvm::StringRef file, std::string &skeleton,
                  std::string &error);

/// Reads the value of a kSliceKey entry.
std::optional<Slice> parseSlice(llvm::StringRef text);

/// The bytes of a tensor: stretches that follow each other.
using Payload = llvm::SmallVector<llvm::StringRef, 1>;
uint64_t getSize(const Payload &payload);

/// The reverse, for writing: a serialised ModelProto in which tensors hold an
/// entry kPayloadKey with the number of a payload (in decimal) is streamed with
/// the payload as `raw_data` in its place. Nothing is copied in memory.
class SkeletonExpander {
public:
  SkeletonExpander(llvm::StringRef skeleton, llvm::ArrayRef<Payload> payloads);

  /// Size of the whole message, in bytes.
  uint64_t size() const { return total; }
  void write(llvm::raw_ostream &os) const;

private:
  /// What the message consists of, in order: stretches of the skeleton and of
  /// texts made here, and payloads.
  llvm::SmallVector<llvm::StringRef> pieces;
  /// Owns the texts.
  std::deque<std::string> texts;
  uint64_t total = 0;
};

/// Key of the entry in TensorProto.external_data that names a payload.
constexpr llvm::StringLiteral kPayloadKey = "moe.payload";

} // namespace moe

#endif // MOE_LIB_ONNX_SKELETON_H
