//===- Status.h - errors inside the runtime -------------------------------===//
//
// Functions of the runtime return a Status. Exceptions occur only as
// std::bad_alloc of the standard library; the C interface turns them into an
// error object and the callbacks of a model into a null pointer.
//
//===----------------------------------------------------------------------===//
#ifndef MOE_RUNTIME_CORE_STATUS_H
#define MOE_RUNTIME_CORE_STATUS_H

#include "moe-c/ModelABI.h"

#include <string>
#include <utility>

namespace moe::runtime {

/// A moe_code with one line that says what is wrong, where, and what would be
/// accepted. Empty for MOE_OK.
struct [[nodiscard]] Status {
  int32_t code = MOE_OK;
  std::string message;

  Status() = default;
  Status(int32_t code, std::string message)
      : code(code), message(std::move(message)) {}

  bool ok() const { return code == MOE_OK; }
};

inline Status invalidArgument(std::string message) {
  return {MOE_INVALID_ARGUMENT, std::move(message)};
}
inline Status shapeMismatch(std::string message) {
  return {MOE_SHAPE_MISMATCH, std::move(message)};
}
inline Status unsupported(std::string message) {
  return {MOE_UNSUPPORTED, std::move(message)};
}
inline Status ioError(std::string message) {
  return {MOE_IO, std::move(message)};
}
inline Status internalError(std::string message) {
  return {MOE_INTERNAL, std::move(message)};
}

/// `text` in quotes, for messages. A null pointer prints as "(null)".
inline std::string quote(const char *text) {
  return text ? "'" + std::string(text) + "'" : std::string("(null)");
}
inline std::string quote(const std::string &text) { return "'" + text + "'"; }

} // namespace moe::runtime

#endif // MOE_RUNTIME_CORE_STATUS_H
