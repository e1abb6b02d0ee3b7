//===- Files.cpp - whole files --------------------------------------------===//

#include "tools/moe-run/Files.h"

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <memory>
#include <sys/stat.h>

namespace moe::run {
namespace {

struct Close {
  void operator()(std::FILE *file) const { std::fclose(file); }
};
using File = std::unique_ptr<std::FILE, Close>;

Status failure(const char *what, const std::string &path) {
  return ioError(std::string("cannot ") + what + " " + quote(path) + ": " +
                 std::strerror(errno));
}

} // namespace

Status readFile(const std::string &path, std::string &content) {
  File file(std::fopen(path.c_str(), "rbe"));
  struct stat info;
  if (!file || fstat(fileno(file.get()), &info) != 0)
    return failure("open", path);
  if (!S_ISREG(info.st_mode))
    return ioError("cannot read " + quote(path) + ": not a regular file");
  content.resize(info.st_size);
  size_t got = std::fread(content.data(), 1, content.size(), file.get());
  if (got != content.size())
    return failure("read", path);
  return {};
}

Status writeFile(const std::string &path, std::string_view head,
                 const void *data, size_t size) {
  File file(std::fopen(path.c_str(), "wbe"));
  if (!file)
    return failure("write", path);
  bool good =
      std::fwrite(head.data(), 1, head.size(), file.get()) == head.size() &&
      (size == 0 || std::fwrite(data, 1, size, file.get()) == size);
  // A full disk may show only when the buffer is written out.
  good = std::fclose(file.release()) == 0 && good;
  return good ? Status() : failure("write", path);
}

} // namespace moe::run
