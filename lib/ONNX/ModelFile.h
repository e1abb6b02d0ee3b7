//===- ModelFile.h - the files of a model, mapped ---------------*- C++ -*-===//
//
// A model is one file, and beside it any number of files with external data.
// What a model may name is confined to its own folder: no absolute path, no
// `..`, and no symbolic link on the way (a model from elsewhere must not be
// able to read files of the user's).
//
//===----------------------------------------------------------------------===//
#ifndef MOE_LIB_ONNX_MODELFILE_H
#define MOE_LIB_ONNX_MODELFILE_H

#include "llvm/ADT/StringMap.h"
#include "llvm/ADT/StringRef.h"
#include <memory>
#include <string>

namespace llvm {
class MemoryBuffer;
} // namespace llvm

namespace moe {

class ModelFile {
public:
  /// A file, mapped or (if small) read.
  struct Data {
    std::string path;  // as others can open it
    std::string error; // why it cannot be used; then there are no bytes
    llvm::StringRef bytes;
  };

  /// Null, with the reason in `error`, if `path` cannot be read.
  static std::unique_ptr<ModelFile> open(llvm::StringRef path,
                                         std::string &error);
  ~ModelFile();

  llvm::StringRef path() const { return main.path; }
  llvm::StringRef bytes() const { return main.bytes; }
  const Data &model() const { return main; }

  /// The file of external data at `location`. Each is opened once; the result
  /// lives as long as this object.
  const Data &external(llvm::StringRef location);

private:
  ModelFile();

  Data main;
  std::unique_ptr<llvm::MemoryBuffer> buffer;
  struct External {
    Data data;
    std::unique_ptr<llvm::MemoryBuffer> buffer;
  };
  llvm::StringMap<std::unique_ptr<External>> externals;
};

} // namespace moe

#endif // MOE_LIB_ONNX_MODELFILE_H
