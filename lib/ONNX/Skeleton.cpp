//===- Skeleton.cpp - a model without its weights -------------------------===//
//
// One walk over the wire format. Fields are copied as they are, except for the
// messages that can hold a tensor somewhere below, whose length changes, and
// for the payloads. A payload is taken out only if its bytes in the file are
// the tensor's bytes: `raw_data`, `float_data` and `double_data` in one packed
// field. (Integers of typed fields are varints, so protobuf has to decode
// them.) Untouched parts are never read, so their pages are never loaded.
//
//===----------------------------------------------------------------------===//
#include "lib/ONNX/Skeleton.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/ADT/Twine.h"

using namespace moe;
using llvm::StringRef;

namespace {

enum class Message {
  Model,
  Training,
  Graph,
  Node,
  Attribute,
  Function,
  Tensor,
  SparseTensor,
  Other
};

/// The message in `field` of `message`, if a tensor may lie in it; numbers as
/// in onnx.proto.
Message messageIn(Message message, uint64_t field) {
  switch (message) {
  case Message::Model:
    return field == 7    ? Message::Graph
           : field == 20 ? Message::Training
           : field == 25 ? Message::Function
                         : Message::Other;
  case Message::Training:
    return field == 1 || field == 2 ? Message::Graph : Message::Other;
  case Message::Graph:
    return field == 1    ? Message::Node
           : field == 5  ? Message::Tensor
           : field == 15 ? Message::SparseTensor
                         : Message::Other;
  case Message::Function:
    return field == 7    ? Message::Node
           : field == 11 ? Message::Attribute
                         : Message::Other;
  case Message::Node:
    return field == 5 ? Message::Attribute : Message::Other;
  case Message::Attribute:
    return field == 5 || field == 10    ? Message::Tensor
           : field == 6 || field == 11  ? Message::Graph
           : field == 22 || field == 23 ? Message::SparseTensor
                                        : Message::Other;
  case Message::SparseTensor:
    return field == 1 || field == 2 ? Message::Tensor : Message::Other;
  case Message::Tensor:
  case Message::Other:
    return Message::Other;
  }
  return Message::Other;
}

// Fields of TensorProto.
constexpr uint64_t kDataType = 2, kFloatData = 4, kRawData = 9,
                   kDoubleData = 10, kExternalData = 13;

enum WireType : uint64_t { Varint = 0, Fixed64 = 1, Bytes = 2, Fixed32 = 5 };

class Walker {
public:
  explicit Walker(StringRef file) : file(file) {}

  bool walk(Message message, size_t begin, size_t end, std::string &out,
            unsigned depth);

  std::string error;

protected:
  /// One field: [begin, end) with tag, payload in [payload, end).
  struct Field {
    uint64_t number = 0;
    uint64_t type = 0;
    size_t begin = 0;
    size_t payload = 0;
    size_t end = 0;
    uint64_t value = 0; // of a varint
  };

  bool readVarint(size_t &at, size_t end, uint64_t &value);
  bool readField(size_t at, size_t end, Field &field);

private:
  bool fail(const char *what, size_t at) {
    error = (llvm::Twine(what) + " at byte " + llvm::Twine(at)).str();
    return false;
  }

  /// The one payload of the tensor in [begin, end) that may stay in the file;
  /// `number` is 0 if there is none.
  bool findPayload(size_t begin, size_t end, Field &found);

  StringRef file;
};

void putVarint(std::string &out, uint64_t value) {
  while (value > 127) {
    out.push_back(static_cast<char>((value & 127) | 128));
    value >>= 7;
  }
  out.push_back(static_cast<char>(value));
}

void putBytes(std::string &out, uint64_t field, StringRef bytes) {
  putVarint(out, field << 3 | WireType::Bytes);
  putVarint(out, bytes.size());
  out.append(bytes.data(), bytes.size());
}

void putSlice(std::string &out, uint64_t offset, uint64_t length) {
  std::string entry;
  putBytes(entry, 1, kSliceKey);
  putBytes(entry, 2, llvm::utostr(offset) + ":" + llvm::utostr(length));
  putBytes(out, kExternalData, entry);
}

} // namespace

bool Walker::readVarint(size_t &at, size_t end, uint64_t &value) {
  value = 0;
  for (unsigned shift = 0; shift < 64; shift += 7) {
    if (at >= end)
      return fail("truncated number", at);
    auto byte = static_cast<uint8_t>(file[at++]);
    value |= static_cast<uint64_t>(byte & 127) << shift;
    if (!(byte & 128))
      return true;
  }
  return fail("number of more than 10 bytes", at);
}

bool Walker::readField(size_t at, size_t end, Field &field) {
  field.begin = at;
  uint64_t tag = 0;
  if (!readVarint(at, end, tag))
    return false;
  field.number = tag >> 3;
  field.type = tag & 7;
  if (field.number == 0)
    return fail("field number 0", field.begin);
  switch (field.type) {
  case WireType::Varint:
    field.payload = at;
    if (!readVarint(at, end, field.value))
      return false;
    field.end = at;
    return true;
  case WireType::Fixed64:
  case WireType::Fixed32: {
    size_t width = field.type == WireType::Fixed64 ? 8 : 4;
    if (end - at < width)
      return fail("truncated field", at);
    field.payload = at;
    field.end = at + width;
    return true;
  }
  case WireType::Bytes: {
    uint64_t length = 0;
    if (!readVarint(at, end, length))
      return false;
    if (length > end - at)
      return fail("field that is longer than its message", field.begin);
    field.payload = at;
    field.end = at + length;
    return true;
  }
  default:
    return fail("unknown kind of field", field.begin);
  }
}

bool Walker::findPayload(size_t begin, size_t end, Field &found) {
  // With several payloads protobuf's rules of merging apply: leave them to it.
  unsigned payloads = 0;
  uint64_t dataType = 0;
  for (size_t at = begin; at < end;) {
    Field field;
    if (!readField(at, end, field))
      return false;
    at = field.end;
    if (field.number == kDataType && field.type == WireType::Varint)
      dataType = field.value;
    if (field.number != kRawData && field.number != kFloatData &&
        field.number != kDoubleData)
      continue;
    ++payloads;
    if (field.type == WireType::Bytes)
      found = field;
  }
  constexpr uint64_t kInt32 = 6, kInt64 = 7;
  uint64_t threshold = dataType == kInt32 || dataType == kInt64
                           ? kIntegerFileThreshold
                           : kFileThreshold;
  if (payloads != 1 || found.number == 0 ||
      found.end - found.payload < threshold)
    found = Field();
  return true;
}

bool Walker::walk(Message message, size_t begin, size_t end, std::string &out,
                  unsigned depth) {
  if (depth > 64)
    return fail("messages nested deeper than 64", begin);
  Field payload;
  if (message == Message::Tensor && !findPayload(begin, end, payload))
    return false;
  for (size_t at = begin; at < end;) {
    Field field;
    if (!readField(at, end, field))
      return false;
    at = field.end;
    if (payload.number && field.begin == payload.begin) {
      putSlice(out, payload.payload, payload.end - payload.payload);
      continue;
    }
    Message inner = field.type == WireType::Bytes
                        ? messageIn(message, field.number)
                        : Message::Other;
    if (inner == Message::Other) {
      out.append(file.data() + field.begin, field.end - field.begin);
      continue;
    }
    std::string nested;
    if (!walk(inner, field.payload, field.end, nested, depth + 1))
      return false;
    putBytes(out, field.number, nested);
  }
  return true;
}

bool moe::makeSkeleton(StringRef file, std::string &skeleton,
                       std::string &error) {
  Walker walker(file);
  if (walker.walk(Message::Model, 0, file.size(), skeleton, 0))
    return true;
  error = walker.error;
  return false;
}

//===----------------------------------------------------------------------===//
// Writing
//===----------------------------------------------------------------------===//

namespace {

/// Finds the tensors with payloads. A message on the way to one is taken apart
/// into pieces, since its length changes; all other fields are stretches of
/// the skeleton.
class Expander : public Walker {
public:
  Expander(StringRef skeleton, llvm::ArrayRef<Payload> payloads,
           std::deque<std::string> &texts)
      : Walker(skeleton), skeleton(skeleton), payloads(payloads), texts(texts) {
  }

  using Pieces = llvm::SmallVector<StringRef>;

  /// Appends the pieces of the message in [begin, end). False if there is no
  /// payload in it, in which case nothing is appended.
  bool expand(Message message, size_t begin, size_t end, Pieces &pieces,
              uint64_t &size);

private:
  StringRef text(std::string value) {
    return texts.emplace_back(std::move(value));
  }
  std::optional<unsigned> readPayload(const Field &entry);

  StringRef skeleton;
  llvm::ArrayRef<Payload> payloads;
  std::deque<std::string> &texts;
};

} // namespace

uint64_t moe::getSize(const Payload &payload) {
  uint64_t size = 0;
  for (StringRef piece : payload)
    size += piece.size();
  return size;
}

/// The number in an external_data entry with kPayloadKey.
std::optional<unsigned> Expander::readPayload(const Field &entry) {
  StringRef key, value;
  for (size_t at = entry.payload; at < entry.end;) {
    Field field;
    if (!readField(at, entry.end, field))
      return std::nullopt;
    at = field.end;
    StringRef bytes = skeleton.substr(field.payload, field.end - field.payload);
    (field.number == 1 ? key : value) = bytes;
  }
  unsigned number;
  if (key != kPayloadKey || value.getAsInteger(10, number) ||
      number >= payloads.size())
    return std::nullopt;
  return number;
}

bool Expander::expand(Message message, size_t begin, size_t end, Pieces &pieces,
                      uint64_t &size) {
  Pieces own;
  uint64_t ownSize = 0;
  bool found = false;
  size_t copied = begin;
  auto copyUpTo = [&](size_t to) {
    if (to > copied)
      own.push_back(skeleton.substr(copied, to - copied));
    ownSize += to - copied;
  };
  for (size_t at = begin; at < end;) {
    Field field;
    if (!readField(at, end, field))
      return false;
    at = field.end;
    if (field.type != WireType::Bytes)
      continue;
    if (message == Message::Tensor && field.number == kExternalData) {
      std::optional<unsigned> number = readPayload(field);
      if (!number)
        continue;
      copyUpTo(field.begin);
      copied = field.end;
      std::string head;
      putVarint(head, kRawData << 3 | WireType::Bytes);
      uint64_t bytes = getSize(payloads[*number]);
      putVarint(head, bytes);
      ownSize += head.size() + bytes;
      own.push_back(text(std::move(head)));
      own.append(payloads[*number]);
      found = true;
      continue;
    }
    Message inner = messageIn(message, field.number);
    Pieces nested;
    uint64_t nestedSize = 0;
    if (inner == Message::Other ||
        !expand(inner, field.payload, field.end, nested, nestedSize))
      continue;
    copyUpTo(field.begin);
    copied = field.end;
    std::string head;
    putVarint(head, field.number << 3 | WireType::Bytes);
    putVarint(head, nestedSize);
    ownSize += head.size() + nestedSize;
    own.push_back(text(std::move(head)));
    own.append(nested);
    found = true;
  }
  if (!found)
    return false;
  copyUpTo(end);
  pieces.append(own);
  size += ownSize;
  return true;
}

SkeletonExpander::SkeletonExpander(StringRef skeleton,
                                   llvm::ArrayRef<Payload> payloads) {
  if (Expander(skeleton, payloads, texts)
          .expand(Message::Model, 0, skeleton.size(), pieces, total))
    return;
  pieces.push_back(skeleton);
  total = skeleton.size();
}

void SkeletonExpander::write(llvm::raw_ostream &os) const {
  for (StringRef piece : pieces)
    os << piece;
}

std::optional<Slice> moe::parseSlice(StringRef text) {
  auto [offset, length] = text.split(':');
  Slice slice;
  if (offset.getAsInteger(10, slice.offset) ||
      length.getAsInteger(10, slice.length))
    return std::nullopt;
  return slice;
}
