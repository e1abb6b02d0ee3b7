//===- WeightWriter.h - constants in object and weight files ----*- C++ -*-===//
#ifndef MOE_LIB_TARGET_WEIGHTWRITER_H
#define MOE_LIB_TARGET_WEIGHTWRITER_H

#include "mlir/IR/BuiltinOps.h"
#include "llvm/Support/raw_ostream.h"
#include <string>

namespace moe {

/// The weight section of a lowered module, which `rt.weights` lists. Reads
/// constants where they are, chunk by chunk.
class WeightSection {
public:
  explicit WeightSection(mlir::ModuleOp module);

  /// Bytes from the first constant to the end of the last.
  uint64_t size() const { return bytes; }
  /// Alignment of the first byte: huge pages for what fills some.
  uint64_t alignment() const;

  /// Writes all bytes to `os`. Errors of reading go to the diagnostics of the
  /// module, errors of writing stay in `os`.
  llvm::LogicalResult write(llvm::raw_ostream &os) const;

  /// A hash of layout and bytes, in hexadecimal digits.
  llvm::FailureOr<std::string> hash() const;

  /// Writes an ELF64 relocatable object with the section and one hidden symbol
  /// at its begin.
  llvm::LogicalResult writeObject(llvm::raw_ostream &os,
                                  llvm::StringRef symbol) const;

  /// Writes a safetensors file with one tensor of bytes, called `name`, and
  /// `hash` in its metadata.
  llvm::LogicalResult writeSafetensors(llvm::raw_ostream &os,
                                       llvm::StringRef name,
                                       llvm::StringRef hash) const;

private:
  llvm::LogicalResult
  forEachChunk(llvm::function_ref<void(llvm::ArrayRef<char>)> consume) const;

  mlir::Location location;
  mlir::ArrayAttr layout;
  uint64_t bytes = 0;
};

/// Writes through the buffer of `os`, also what is larger: written from a
/// mapped file that nobody has touched yet, the system would take single pages
/// for it and not huge ones.
void writeBuffered(llvm::raw_ostream &os, llvm::ArrayRef<char> data);

} // namespace moe

#endif // MOE_LIB_TARGET_WEIGHTWRITER_H
