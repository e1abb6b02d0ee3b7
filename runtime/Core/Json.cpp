//===- Json.cpp - reading small JSON texts --------------------------------===//
//
// Recursive descent over the text, with a limit on nesting so that a crafted
// file cannot exhaust the stack.
//
//===----------------------------------------------------------------------===//

#include "runtime/Core/Json.h"

#include <algorithm>
#include <charconv>

namespace moe::runtime {
namespace {

constexpr int kMaxDepth = 32;

class Parser {
public:
  explicit Parser(std::string_view text) : text(text) {}

  Status parseAll(Json &value) {
    if (Status status = parseValue(value, 0); !status.ok())
      return status;
    skipSpace();
    return at == text.size() ? Status() : error("end of text expected");
  }

private:
  Status error(const std::string &what) const {
    return ioError("JSON, byte " + std::to_string(at) + ": " + what);
  }

  void skipSpace() {
    while (at < text.size() && (text[at] == ' ' || text[at] == '\t' ||
                                text[at] == '\n' || text[at] == '\r'))
      ++at;
  }

  bool consume(char c) {
    skipSpace();
    if (at >= text.size() || text[at] != c)
      return false;
    ++at;
    return true;
  }

  bool consumeWord(std::string_view word) {
    if (text.substr(at, word.size()) != word)
      return false;
    at += word.size();
    return true;
  }

  Status parseValue(Json &value, int depth) {
    if (depth > kMaxDepth)
      return error("nested deeper than " + std::to_string(kMaxDepth));
    skipSpace();
    if (at >= text.size())
      return error("a value expected, the text ends");
    switch (text[at]) {
    case '{':
      return parseObject(value, depth);
    case '[':
      return parseArray(value, depth);
    case '"':
      value.kind = Json::Kind::String;
      return parseString(value.string);
    default:
      return parseScalar(value);
    }
  }

  Status parseScalar(Json &value) {
    if (consumeWord("null"))
      return {};
    value.boolean = text.substr(at, 4) == "true";
    if (consumeWord("true") || consumeWord("false")) {
      value.kind = Json::Kind::Bool;
      return {};
    }
    const char *begin = text.data() + at, *end = text.data() + text.size();
    auto [stop, failure] = std::from_chars(begin, end, value.integer);
    if (failure != std::errc() ||
        (stop < end && (*stop == '.' || *stop == 'e' || *stop == 'E')))
      return error("a string, an integer of 64 bits, true, false, null, an "
                   "array or an object expected");
    at += stop - begin;
    value.kind = Json::Kind::Integer;
    return {};
  }

  Status parseArray(Json &value, int depth) {
    value.kind = Json::Kind::Array;
    ++at;
    if (consume(']'))
      return {};
    do {
      value.elements.emplace_back();
      if (Status s = parseValue(value.elements.back(), depth + 1); !s.ok())
        return s;
    } while (consume(','));
    return consume(']') ? Status() : error("',' or ']' expected");
  }

  Status parseObject(Json &value, int depth) {
    value.kind = Json::Kind::Object;
    ++at;
    if (consume('}'))
      return {};
    do {
      skipSpace();
      std::string key;
      if (at >= text.size() || text[at] != '"')
        return error("a key in quotes expected");
      if (Status s = parseString(key); !s.ok())
        return s;
      if (!consume(':'))
        return error("':' expected");
      value.keys.push_back(std::move(key));
      value.elements.emplace_back();
      if (Status s = parseValue(value.elements.back(), depth + 1); !s.ok())
        return s;
    } while (consume(','));
    if (!consume('}'))
      return error("',' or '}' expected");
    std::vector<std::string> sorted = value.keys;
    std::sort(sorted.begin(), sorted.end());
    auto twice = std::adjacent_find(sorted.begin(), sorted.end());
    return twice == sorted.end() ? Status()
                                 : error("key '" + *twice + "' occurs twice");
  }

  Status parseString(std::string &out) {
    ++at;
    while (at < text.size() && text[at] != '"') {
      char c = text[at++];
      if (static_cast<unsigned char>(c) < 0x20)
        return error("control character in a string");
      if (c != '\\') {
        out += c;
        continue;
      }
      if (Status s = parseEscape(out); !s.ok())
        return s;
    }
    if (at >= text.size())
      return error("a string does not end");
    ++at;
    return {};
  }

  Status parseEscape(std::string &out) {
    if (at >= text.size())
      return error("a string does not end");
    constexpr std::string_view names = "\"\\/bfnrt";
    constexpr std::string_view values = "\"\\/\b\f\n\r\t";
    char c = text[at++];
    if (size_t i = names.find(c); i != names.npos) {
      out += values[i];
      return {};
    }
    if (c != 'u')
      return error("unknown escape in a string");
    uint32_t code;
    if (!parseHex4(code))
      return error("four hexadecimal digits expected");
    if (code >= 0xd800 && code < 0xdc00) {
      uint32_t low;
      if (!consumeWord("\\u") || !parseHex4(low) || low < 0xdc00 ||
          low > 0xdfff)
        return error("the second half of a surrogate pair expected");
      code = 0x10000 + ((code - 0xd800) << 10) + (low - 0xdc00);
    }
    appendUtf8(code, out);
    return {};
  }

  bool parseHex4(uint32_t &code) {
    if (text.size() - at < 4)
      return false;
    const char *begin = text.data() + at;
    auto [stop, failure] = std::from_chars(begin, begin + 4, code, 16);
    at += 4;
    return failure == std::errc() && stop == begin + 4;
  }

  static void appendUtf8(uint32_t code, std::string &out) {
    if (code < 0x80) {
      out += char(code);
      return;
    }
    int more = code < 0x800 ? 1 : code < 0x10000 ? 2 : 3;
    constexpr unsigned char lead[] = {0, 0xc0, 0xe0, 0xf0};
    out += char(lead[more] | code >> (6 * more));
    while (more-- > 0)
      out += char(0x80 | (code >> (6 * more) & 0x3f));
  }

  std::string_view text;
  size_t at = 0;
};

} // namespace

const Json *Json::find(std::string_view key) const {
  if (kind != Kind::Object)
    return nullptr;
  for (size_t i = 0; i < keys.size(); ++i)
    if (keys[i] == key)
      return &elements[i];
  return nullptr;
}

Status Json::parse(std::string_view text, Json &value) {
  value = Json();
  return Parser(text).parseAll(value);
}

} // namespace moe::runtime
