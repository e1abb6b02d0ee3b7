//===- TensorProto.cpp - ONNX tensors in files (.pb) ----------------------===//
//
// Reads the protobuf wire format directly: the message is small and stable, and
// the runtime side of the project does without protobuf. Fields (onnx.proto):
// 1 dims, 2 data_type, 4 float_data, 5 int32_data, 7 int64_data, 8 name,
// 9 raw_data, 10 double_data, 11 uint64_data, 14 data_location.
//
//===----------------------------------------------------------------------===//

#include "tools/moe-run/TensorProto.h"

#include "runtime/Core/DType.h"

#include <cstring>

namespace moe::run {
namespace {

enum WireType { Varint = 0, Fixed64 = 1, Bytes = 2, Fixed32 = 5 };

/// Takes values off the front of a message.
class WireReader {
public:
  explicit WireReader(std::string_view bytes) : rest(bytes) {}

  bool atEnd() const { return rest.empty(); }

  bool varint(uint64_t &value) {
    value = 0;
    for (int shift = 0; shift < 70; shift += 7) {
      if (rest.empty())
        return false;
      auto byte = static_cast<unsigned char>(rest.front());
      rest.remove_prefix(1);
      // The tenth byte has room for the last bit only.
      if (shift == 63 && byte > 1)
        return false;
      value |= uint64_t(byte & 0x7f) << shift;
      if (byte < 0x80)
        return true;
    }
    return false;
  }

  bool take(uint64_t size, std::string_view &bytes) {
    if (size > rest.size())
      return false;
    bytes = rest.substr(0, size);
    rest.remove_prefix(size);
    return true;
  }

  bool bytes(std::string_view &value) {
    uint64_t size;
    return varint(size) && take(size, value);
  }

private:
  std::string_view rest;
};

/// Values of the repeated numeric fields. Protobuf allows packed and unpacked
/// ones mixed.
struct Fields {
  std::vector<uint64_t> dims;
  uint64_t dtype = 0;
  std::string_view name;
  bool hasRaw = false;
  std::string_view raw;
  uint64_t location = 0;
  std::vector<uint64_t> int32Data, int64Data, uint64Data;
  std::string floatData, doubleData; // bytes, little endian
};

bool readVarints(WireReader &reader, int wire, std::vector<uint64_t> &values) {
  uint64_t value;
  if (wire == Varint) {
    if (!reader.varint(value))
      return false;
    values.push_back(value);
    return true;
  }
  std::string_view packed;
  if (wire != Bytes || !reader.bytes(packed))
    return false;
  for (WireReader inner(packed); !inner.atEnd();) {
    if (!inner.varint(value))
      return false;
    values.push_back(value);
  }
  return true;
}

bool readFixed(WireReader &reader, int wire, size_t width,
               std::string &values) {
  std::string_view bytes;
  bool single = wire == (width == 4 ? Fixed32 : Fixed64);
  if (single ? !reader.take(width, bytes)
             : (wire != Bytes || !reader.bytes(bytes) ||
                bytes.size() % width != 0))
    return false;
  values.append(bytes);
  return true;
}

bool skip(WireReader &reader, int wire) {
  uint64_t value;
  std::string_view bytes;
  switch (wire) {
  case Varint:
    return reader.varint(value);
  case Fixed64:
    return reader.take(8, bytes);
  case Fixed32:
    return reader.take(4, bytes);
  case Bytes:
    return reader.bytes(bytes);
  default:
    return false; // groups do not occur in ONNX
  }
}

bool readFields(std::string_view message, Fields &fields) {
  for (WireReader reader(message); !reader.atEnd();) {
    uint64_t key;
    if (!reader.varint(key))
      return false;
    int wire = key & 7;
    bool good;
    switch (key >> 3) {
    case 1:
      good = readVarints(reader, wire, fields.dims);
      break;
    case 2:
      good = wire == Varint && reader.varint(fields.dtype);
      break;
    case 4:
      good = readFixed(reader, wire, 4, fields.floatData);
      break;
    case 5:
      good = readVarints(reader, wire, fields.int32Data);
      break;
    case 7:
      good = readVarints(reader, wire, fields.int64Data);
      break;
    case 8:
      good = wire == Bytes && reader.bytes(fields.name);
      break;
    case 9:
      fields.hasRaw = true;
      good = wire == Bytes && reader.bytes(fields.raw);
      break;
    case 10:
      good = readFixed(reader, wire, 8, fields.doubleData);
      break;
    case 11:
      good = readVarints(reader, wire, fields.uint64Data);
      break;
    case 14:
      good = wire == Varint && reader.varint(fields.location);
      break;
    default:
      good = skip(reader, wire);
    }
    if (!good)
      return false;
  }
  return true;
}

/// Writes values as elements of type T, the low bits of each.
template <typename T>
void narrow(const std::vector<uint64_t> &values, std::string &bytes) {
  bytes.resize(values.size() * sizeof(T));
  for (size_t i = 0; i < values.size(); ++i) {
    T value = static_cast<T>(values[i]);
    std::memcpy(&bytes[i * sizeof(T)], &value, sizeof(T));
  }
}

/// The typed field that ONNX prescribes for `dtype`, as elements in memory.
std::string typedData(int32_t dtype, const Fields &fields) {
  std::string bytes;
  switch (dtype) {
  case MOE_DTYPE_FLOAT32:
    return fields.floatData;
  case MOE_DTYPE_FLOAT64:
    return fields.doubleData;
  case MOE_DTYPE_INT64:
    narrow<int64_t>(fields.int64Data, bytes);
    return bytes;
  case MOE_DTYPE_UINT64:
    narrow<uint64_t>(fields.uint64Data, bytes);
    return bytes;
  case MOE_DTYPE_UINT32:
    narrow<uint32_t>(fields.uint64Data, bytes);
    return bytes;
  case MOE_DTYPE_INT32:
    narrow<int32_t>(fields.int32Data, bytes);
    return bytes;
  default:
    if (moe_dtype_size(dtype) == 1)
      narrow<uint8_t>(fields.int32Data, bytes);
    else
      narrow<uint16_t>(fields.int32Data, bytes);
    return bytes;
  }
}

void appendVarint(std::string &out, uint64_t value) {
  for (; value >= 0x80; value >>= 7)
    out += char(value | 0x80);
  out += char(value);
}

void appendKey(std::string &out, int field, WireType wire) {
  appendVarint(out, uint64_t(field) << 3 | wire);
}

} // namespace

Status parseTensorProto(std::string_view bytes, Tensor &tensor) {
  Fields fields;
  if (!readFields(bytes, fields))
    return ioError("not an ONNX TensorProto, or cut off");
  if (fields.location != 0)
    return ioError("the data of tensor " + quote(std::string(fields.name)) +
                   " lie in another file; raw_data and typed fields are "
                   "accepted");
  if (fields.dtype > INT32_MAX || moe_dtype_size(int32_t(fields.dtype)) == 0)
    return ioError("element type number " + std::to_string(fields.dtype) +
                   " is not supported; float, integer and bool types are");
  tensor.name = std::string(fields.name);
  tensor.dtype = int32_t(fields.dtype);
  tensor.dims.assign(fields.dims.begin(), fields.dims.end());
  std::optional<int64_t> size = runtime::byteSize(
      tensor.dtype, tensor.dims.data(), int32_t(tensor.dims.size()));
  std::string what = describe(tensor.dtype, tensor.dims);
  if (!size)
    return ioError("shape of " + what + " is not valid");
  std::string typed;
  if (!fields.hasRaw)
    typed = typedData(tensor.dtype, fields);
  std::string_view data = fields.hasRaw ? fields.raw : typed;
  if (data.size() != uint64_t(*size))
    return ioError("tensor " + quote(tensor.name) + " of type " + what +
                   " needs " + std::to_string(*size) + " bytes, " +
                   std::to_string(data.size()) + " are there");
  tensor.data.assign(data.begin(), data.end());
  return {};
}

std::string tensorProtoHead(const std::string &name, const TensorView &tensor) {
  std::string head;
  for (int64_t dim : tensor.dims) {
    appendKey(head, 1, Varint);
    appendVarint(head, uint64_t(dim));
  }
  appendKey(head, 2, Varint);
  appendVarint(head, uint64_t(tensor.dtype));
  appendKey(head, 8, Bytes);
  appendVarint(head, name.size());
  head += name;
  appendKey(head, 9, Bytes);
  appendVarint(head, uint64_t(tensor.bytes()));
  return head;
}

Status readTensorProto(const std::string &path, Tensor &tensor) {
  std::string bytes;
  if (Status status = readFile(path, bytes); !status.ok())
    return status;
  Status status = parseTensorProto(bytes, tensor);
  return status.ok() ? status : ioError(quote(path) + ": " + status.message);
}

Status writeTensorProto(const std::string &path, const std::string &name,
                        const TensorView &tensor) {
  return writeFile(path, tensorProtoHead(name, tensor), tensor.data,
                   tensor.bytes());
}

} // namespace moe::run
