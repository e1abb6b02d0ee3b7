//===- ModelFile.cpp - the files of a model, mapped -----------------------===//
#include "lib/ONNX/ModelFile.h"
#include "llvm/ADT/SmallVector.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/MemoryBuffer.h"
#include "llvm/Support/Path.h"
#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

using namespace moe;
using llvm::StringRef;

namespace {

/// A file descriptor that is closed at the end of its scope.
class Descriptor {
public:
  explicit Descriptor(int number) : number(number) {}
  Descriptor(const Descriptor &) = delete;
  Descriptor &operator=(const Descriptor &) = delete;
  ~Descriptor() {
    if (number >= 0)
      ::close(number);
  }
  int get() const { return number; }
  void reset(int other) {
    if (number >= 0)
      ::close(number);
    number = other;
  }

private:
  int number;
};

std::string systemError(int code) { return std::strerror(code); }

/// Opens `location` below `folder`, one component after the other without
/// following links, so that nothing can be exchanged between check and use.
/// Returns -1 with `error` set.
int openBelow(StringRef folder, StringRef location, std::string &error) {
  if (location.empty())
    error = "the location is empty";
  else if (location.contains('\0'))
    error = "the location holds a null byte";
  else if (location.starts_with("/"))
    error = "the location is absolute";
  if (!error.empty())
    return -1;

  llvm::SmallVector<StringRef> components;
  location.split(components, '/', /*MaxSplit=*/-1, /*KeepEmpty=*/false);
  llvm::erase(components, ".");
  if (components.empty()) {
    error = "the location names no file";
    return -1;
  }
  if (llvm::is_contained(components, "..")) {
    error = "the location leaves the model's folder by '..'";
    return -1;
  }

  Descriptor at(::open(folder.empty() ? "." : folder.str().c_str(),
                       O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (at.get() < 0) {
    error = systemError(errno);
    return -1;
  }
  for (StringRef component : llvm::drop_end(components)) {
    int next = ::openat(at.get(), component.str().c_str(),
                        O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (next < 0) {
      int code = errno;
      error = code == ELOOP || code == ENOTDIR
                  ? "'" + component.str() + "' is a symbolic link or no folder"
                  : systemError(code);
      return -1;
    }
    at.reset(next);
  }
  int file = ::openat(at.get(), components.back().str().c_str(),
                      O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
  if (file < 0) {
    int code = errno;
    error = code == ELOOP ? "is a symbolic link" : systemError(code);
    return -1;
  }
  struct stat status;
  if (::fstat(file, &status) != 0 || !S_ISREG(status.st_mode)) {
    ::close(file);
    error = "is no regular file";
    return -1;
  }
  return file;
}

} // namespace

ModelFile::ModelFile() = default;
ModelFile::~ModelFile() = default;

std::unique_ptr<ModelFile> ModelFile::open(StringRef path, std::string &error) {
  if (llvm::sys::fs::is_directory(path)) {
    error = "is a folder, not a model";
    return nullptr;
  }
  auto buffer = llvm::MemoryBuffer::getFile(path, /*IsText=*/false,
                                            /*RequiresNullTerminator=*/false);
  if (!buffer) {
    error = buffer.getError().message();
    return nullptr;
  }
  std::unique_ptr<ModelFile> file(new ModelFile());
  file->buffer = std::move(*buffer);
  file->main.path = path.str();
  file->main.bytes = file->buffer->getBuffer();
  return file;
}

const ModelFile::Data &ModelFile::external(StringRef location) {
  std::unique_ptr<External> &entry = externals[location];
  if (entry)
    return entry->data;
  entry = std::make_unique<External>();
  Data &data = entry->data;

  StringRef folder = llvm::sys::path::parent_path(main.path);
  Descriptor file(openBelow(folder, location, data.error));
  if (file.get() < 0)
    return data;
  llvm::SmallString<256> path(folder);
  llvm::sys::path::append(path, location);
  data.path = path.str().str();
  struct stat status;
  if (::fstat(file.get(), &status) != 0) {
    data.error = systemError(errno);
    return data;
  }
  auto buffer = llvm::MemoryBuffer::getOpenFile(
      file.get(), data.path, static_cast<uint64_t>(status.st_size),
      /*RequiresNullTerminator=*/false);
  if (!buffer) {
    data.error = buffer.getError().message();
    return data;
  }
  entry->buffer = std::move(*buffer);
  data.bytes = entry->buffer->getBuffer();
  return data;
}
