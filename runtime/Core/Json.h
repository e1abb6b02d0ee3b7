//===- Json.h - reading small JSON texts ----------------------------------===//
#ifndef MOE_RUNTIME_CORE_JSON_H
#define MOE_RUNTIME_CORE_JSON_H

#include "runtime/Core/Status.h"

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace moe::runtime {

/// A JSON value. Numbers are kept if they are integers that fit in int64;
/// others are refused, since no format that we read has them.
struct Json {
  enum class Kind { Null, Bool, Integer, String, Array, Object };

  Kind kind = Kind::Null;
  bool boolean = false;
  int64_t integer = 0;
  std::string string;
  std::vector<Json> elements;    // of an array; values of an object
  std::vector<std::string> keys; // of an object, in order, all different

  /// The value of `key`, null if this is no object or has no such key.
  const Json *find(std::string_view key) const;

  /// Parses a whole text. Errors are MOE_IO and tell the byte offset.
  static Status parse(std::string_view text, Json &value);
};

} // namespace moe::runtime

#endif // MOE_RUNTIME_CORE_JSON_H
