//===- Files.h - whole files ----------------------------------------------===//
#ifndef MOE_TOOLS_RUN_FILES_H
#define MOE_TOOLS_RUN_FILES_H

#include "runtime/Core/Status.h"

#include <string>
#include <string_view>

namespace moe::run {

using runtime::invalidArgument;
using runtime::ioError;
using runtime::quote;
using runtime::Status;

Status readFile(const std::string &path, std::string &content);
/// Writes `head` followed by `size` bytes at `data`.
Status writeFile(const std::string &path, std::string_view head,
                 const void *data = nullptr, size_t size = 0);

} // namespace moe::run

#endif // MOE_TOOLS_RUN_FILES_H
