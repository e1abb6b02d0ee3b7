//===- WeightWriter.h - constants in object and weight files ----*- C++ -*-===//
#ifndef MOE_LIB_TARGET_WEIGHTWRITER_H
#define MOE_LIB_TARGET_WEIGHTWRITER_H

#include "mlir/IR/BuiltinOps.h"
#include "llvm/Support/raw_ostream.h"
#include <string>
#include <vector>

namespace llvm {
class BLAKE3;
} // namespace llvm

namespace moe {

/// A weight section of lowered modules, one of those that `rt.weights` lists.
/// Reads constants where they are, chunk by chunk.
class WeightSection {
public:
  WeightSection(mlir::Location location, mlir::DictionaryAttr section);

  llvm::StringRef name() const;
  /// Bytes from the first constant to the end of the section.
  uint64_t size() const { return bytes + padding; }
  /// Alignment of the first byte: huge pages for what fills some.
  uint64_t alignment() const;
  /// Makes the section end at a multiple of `boundary`.
  void padTo(uint64_t boundary);

  /// Calls `consume` with all bytes in order. Errors of reading are reported.
  llvm::LogicalResult
  forEachChunk(llvm::function_ref<void(llvm::ArrayRef<char>)> consume) const;
  /// Adds layout and bytes to a hash.
  llvm::LogicalResult hash(llvm::BLAKE3 &hasher) const;
  /// Writes all bytes to `os`; errors of writing stay in it.
  llvm::LogicalResult write(llvm::raw_ostream &os) const;
  /// Writes an ELF64 relocatable object with the section and one hidden symbol
  /// at its begin.
  llvm::LogicalResult writeObject(llvm::raw_ostream &os,
                                  llvm::StringRef symbol) const;

private:
  mlir::Location location;
  mlir::DictionaryAttr section;
  uint64_t bytes = 0, padding = 0;
};

/// The sections of modules that go into one artifact, each once, in order.
std::vector<WeightSection> getSections(llvm::ArrayRef<mlir::ModuleOp> modules);

/// A hash of layout and bytes, in hexadecimal digits.
llvm::FailureOr<std::string>
hashSections(llvm::ArrayRef<WeightSection> sections);

/// Writes a safetensors file with a tensor of bytes for each section, and
/// `hash` in its metadata. Each section has to end where the next one may
/// begin.
llvm::LogicalResult writeSafetensors(llvm::ArrayRef<WeightSection> sections,
                                     llvm::raw_ostream &os,
                                     llvm::StringRef hash);

/// Writes through the buffer of `os`, also what is larger: written from a
/// mapped file that nobody has touched yet, the system would take single pages
/// for it and not huge ones.
void writeBuffered(llvm::raw_ostream &os, llvm::ArrayRef<char> data);

} // namespace moe

#endif // MOE_LIB_TARGET_WEIGHTWRITER_H
