//===- OutputFile.cpp - files that appear whole or not at all -------------===//
#include "lib/Support/OutputFile.h"
#include "llvm/Support/Error.h"

using namespace moe;
namespace fs = llvm::sys::fs;

std::unique_ptr<OutputFile> OutputFile::open(llvm::StringRef path,
                                             std::string &error) {
  std::unique_ptr<OutputFile> file(new OutputFile());
  file->path = path.str();

  fs::file_status status;
  bool exists = !fs::status(path, status) && fs::exists(status);
  if (exists && fs::is_directory(status)) {
    error = "cannot write '" + path.str() + "': is a folder";
    return nullptr;
  }
  if (exists && !fs::is_regular_file(status)) {
    std::error_code code;
    file->stream = std::make_unique<llvm::raw_fd_ostream>(path, code);
    if (code) {
      error = "cannot write '" + path.str() + "': " + code.message();
      return nullptr;
    }
    return file;
  }

  // A link stays a link: what it points to is replaced.
  llvm::SmallString<256> real;
  if (exists && !fs::real_path(path, real))
    file->path = real.str().str();
  llvm::Expected<fs::TempFile> temporary =
      fs::TempFile::create(file->path + ".%%%%%%%%.tmp");
  if (!temporary) {
    error = "cannot write '" + path.str() +
            "': " + llvm::toString(temporary.takeError());
    return nullptr;
  }
  file->temporary.emplace(std::move(*temporary));
  file->stream = std::make_unique<llvm::raw_fd_ostream>(file->temporary->FD,
                                                        /*shouldClose=*/false);
  return file;
}

OutputFile::~OutputFile() {
  if (stream) {
    stream->flush();
    stream->clear_error();
  }
  stream.reset();
  if (temporary)
    llvm::consumeError(temporary->discard());
}

bool OutputFile::keep(std::string &error) {
  stream->flush();
  if (stream->has_error()) {
    error = "cannot write '" + path + "': " + stream->error().message();
    stream->clear_error();
    return false;
  }
  stream.reset();
  if (!temporary)
    return true;
  llvm::Error failure = temporary->keep(path);
  temporary.reset();
  if (failure) {
    error =
        "cannot write '" + path + "': " + llvm::toString(std::move(failure));
    return false;
  }
  return true;
}
