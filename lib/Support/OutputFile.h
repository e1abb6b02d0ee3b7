//===- OutputFile.h - files that appear whole or not at all -----*- C++ -*-===//
//
// A file is written under a temporary name in the folder of its destination and
// renamed over it at the end. So a reader never sees half a file, a failure
// leaves what was there before, and a program may write over a file that it has
// mapped: the mapping keeps the old file alive.
//
//===----------------------------------------------------------------------===//
#ifndef MOE_LIB_SUPPORT_OUTPUTFILE_H
#define MOE_LIB_SUPPORT_OUTPUTFILE_H

#include "llvm/ADT/StringRef.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/raw_ostream.h"
#include <memory>
#include <optional>
#include <string>

namespace moe {

class OutputFile {
public:
  /// Starts writing `path`. On failure returns null and tells why in `error`.
  /// What is no regular file (a pipe, /dev/null) is written in place.
  static std::unique_ptr<OutputFile> open(llvm::StringRef path,
                                          std::string &error);
  ~OutputFile();

  llvm::raw_ostream &os() { return *stream; }

  /// Flushes and puts the file in its place. False with `error` set when a
  /// write or the renaming failed; the destination is then untouched.
  bool keep(std::string &error);

private:
  OutputFile() = default;

  std::string path;
  std::optional<llvm::sys::fs::TempFile> temporary;
  std::unique_ptr<llvm::raw_fd_ostream> stream;
};

} // namespace moe

#endif // MOE_LIB_SUPPORT_OUTPUTFILE_H
