//===- JsonText.h - values as JSON ----------------------------------------===//
#ifndef MOE_TOOLS_RUN_JSONTEXT_H
#define MOE_TOOLS_RUN_JSONTEXT_H

#include <string>

namespace moe::run {

/// `text` as a JSON string, with the quotes. Bytes that are no UTF-8 pass.
std::string jsonString(const std::string &text);

/// `value` as a JSON number; null for what JSON does not know, NaN and
/// infinity.
std::string jsonNumber(double value);

} // namespace moe::run

#endif // MOE_TOOLS_RUN_JSONTEXT_H
