//===- Npy.cpp - numpy's array files (.npy) -------------------------------===//
//
// A file is: "\x93NUMPY", two bytes of version, the length of the header (two
// bytes in version 1, four in 2 and 3), the header, the elements. The header is
// a Python dictionary literal with the keys descr, fortran_order and shape.
//
//===----------------------------------------------------------------------===//

#include "tools/moe-run/Npy.h"

#include "runtime/Core/DType.h"

#include <charconv>
#include <cstring>

namespace moe::run {
namespace {

constexpr std::string_view kMagic("\x93NUMPY", 6);
/// Numpy aligns the elements to this many bytes.
constexpr size_t kAlignment = 64;

struct Descriptor {
  std::string_view text; // without the byte order
  int32_t dtype;
};

constexpr Descriptor kDescriptors[] = {
    {"f4", MOE_DTYPE_FLOAT32}, {"f8", MOE_DTYPE_FLOAT64},
    {"f2", MOE_DTYPE_FLOAT16}, {"i8", MOE_DTYPE_INT64},
    {"i4", MOE_DTYPE_INT32},   {"i2", MOE_DTYPE_INT16},
    {"i1", MOE_DTYPE_INT8},    {"u8", MOE_DTYPE_UINT64},
    {"u4", MOE_DTYPE_UINT32},  {"u2", MOE_DTYPE_UINT16},
    {"u1", MOE_DTYPE_UINT8},   {"b1", MOE_DTYPE_BOOL},
    {"V2", MOE_DTYPE_BFLOAT16}};

/// Reads the dictionary of the header.
class HeaderParser {
public:
  explicit HeaderParser(std::string_view text) : text(text) {}

  std::string_view descr;
  bool fortran = false;
  std::vector<int64_t> shape;

  bool parse() {
    bool hasDescr = false, hasOrder = false, hasShape = false;
    if (!consume('{'))
      return false;
    while (!consume('}')) {
      std::string_view key;
      if (!parseString(key) || !consume(':'))
        return false;
      bool good = false;
      if (key == "descr")
        good = hasDescr = parseString(descr);
      else if (key == "fortran_order")
        good = hasOrder = parseBool(fortran);
      else if (key == "shape")
        good = hasShape = parseShape();
      if (!good)
        return false;
      if (!consume(','))
        skipSpace();
    }
    skipSpace();
    return at == text.size() && hasDescr && hasOrder && hasShape;
  }

private:
  void skipSpace() {
    while (at < text.size() && (text[at] == ' ' || text[at] == '\n'))
      ++at;
  }

  bool consume(char c) {
    skipSpace();
    if (at >= text.size() || text[at] != c)
      return false;
    ++at;
    return true;
  }

  bool parseString(std::string_view &value) {
    skipSpace();
    if (at >= text.size() || (text[at] != '\'' && text[at] != '"'))
      return false;
    size_t end = text.find(text[at], at + 1);
    if (end == text.npos)
      return false;
    value = text.substr(at + 1, end - at - 1);
    at = end + 1;
    return true;
  }

  bool parseBool(bool &value) {
    skipSpace();
    value = text.substr(at, 4) == "True";
    if (!value && text.substr(at, 5) != "False")
      return false;
    at += value ? 4 : 5;
    return true;
  }

  bool parseShape() {
    shape.clear();
    if (!consume('('))
      return false;
    while (!consume(')')) {
      skipSpace();
      int64_t extent;
      const char *begin = text.data() + at, *end = text.data() + text.size();
      auto [stop, failure] = std::from_chars(begin, end, extent);
      if (failure != std::errc() || extent < 0)
        return false;
      at += stop - begin;
      shape.push_back(extent);
      if (!consume(',') && (skipSpace(), at >= text.size() || text[at] != ')'))
        return false;
    }
    return true;
  }

  std::string_view text;
  size_t at = 0;
};

/// Copies elements stored with the first index running fastest.
void copyFortranOrder(std::string_view source, Tensor &tensor) {
  size_t width = moe_dtype_size(tensor.dtype);
  size_t rank = tensor.dims.size();
  std::vector<int64_t> strides(rank), index(rank);
  int64_t stride = 1;
  for (size_t d = 0; d < rank; ++d) {
    strides[d] = stride;
    stride *= tensor.dims[d];
  }
  int64_t count = tensor.count();
  int64_t from = 0;
  for (int64_t i = 0; i < count; ++i) {
    std::memcpy(&tensor.data[i * width], &source[from * width], width);
    for (size_t d = rank; d-- > 0;) {
      from += strides[d];
      if (++index[d] < tensor.dims[d])
        break;
      from -= index[d] * strides[d];
      index[d] = 0;
    }
  }
}

} // namespace

Status parseNpy(std::string_view bytes, Tensor &tensor) {
  if (bytes.substr(0, kMagic.size()) != kMagic || bytes.size() < 10)
    return ioError("not a .npy file");
  int version = bytes[6];
  if (version < 1 || version > 3)
    return ioError(".npy format " + std::to_string(version) +
                   " is not known; 1 to 3 are");
  size_t lengthBytes = version == 1 ? 2 : 4;
  size_t headerAt = 8 + lengthBytes;
  size_t length = 0;
  if (bytes.size() < headerAt)
    return ioError("the .npy header is cut off");
  for (size_t i = lengthBytes; i-- > 0;)
    length = length << 8 | static_cast<unsigned char>(bytes[8 + i]);
  if (length > bytes.size() - headerAt)
    return ioError("the .npy header is cut off");

  HeaderParser header(bytes.substr(headerAt, length));
  if (!header.parse())
    return ioError("the .npy header is damaged or describes a structured "
                   "array; plain arrays are accepted");
  std::string_view kind = header.descr;
  if (!kind.empty() && (kind[0] == '<' || kind[0] == '|' || kind[0] == '='))
    kind.remove_prefix(1);
  tensor.dtype = 0;
  for (const Descriptor &descriptor : kDescriptors)
    if (descriptor.text == kind)
      tensor.dtype = descriptor.dtype;
  if (tensor.dtype == 0)
    return ioError("element type " + quote(std::string(header.descr)) +
                   " is not supported; little-endian floats, integers and "
                   "bools are");
  tensor.name.clear();
  tensor.dims = header.shape;
  std::optional<int64_t> size = runtime::byteSize(
      tensor.dtype, tensor.dims.data(), int32_t(tensor.dims.size()));
  std::string_view data = bytes.substr(headerAt + length);
  if (!size || data.size() != uint64_t(*size))
    return ioError("an array " + describe(tensor.dtype, tensor.dims) +
                   " needs " +
                   (size ? std::to_string(*size) : std::string("too many")) +
                   " bytes, " + std::to_string(data.size()) + " are there");
  tensor.data.assign(data.begin(), data.end());
  if (header.fortran && !data.empty())
    copyFortranOrder(data, tensor);
  return {};
}

std::string npyHead(const TensorView &tensor) {
  std::string header = "{'descr': '";
  header += moe_dtype_size(tensor.dtype) == 1 ? '|' : '<';
  for (const Descriptor &descriptor : kDescriptors)
    if (descriptor.dtype == tensor.dtype)
      header += descriptor.text;
  header += "', 'fortran_order': False, 'shape': (";
  for (int64_t dim : tensor.dims)
    header += std::to_string(dim) + ",";
  header += "), }";
  size_t used = kMagic.size() + 4 + header.size() + 1;
  header.append((kAlignment - used % kAlignment) % kAlignment, ' ');
  header += '\n';
  std::string head(kMagic);
  head += '\1';
  head += '\0';
  head += char(header.size() & 0xff);
  head += char(header.size() >> 8);
  return head + header;
}

Status readNpy(const std::string &path, Tensor &tensor) {
  std::string bytes;
  if (Status status = readFile(path, bytes); !status.ok())
    return status;
  Status status = parseNpy(bytes, tensor);
  return status.ok() ? status : ioError(quote(path) + ": " + status.message);
}

Status writeNpy(const std::string &path, const TensorView &tensor) {
  if (tensor.dtype != MOE_DTYPE_BFLOAT16)
    return writeFile(path, npyHead(tensor), tensor.data, tensor.bytes());
  std::vector<float> wide(tensor.count());
  for (size_t i = 0; i < wide.size(); ++i)
    wide[i] = float(elementValue(tensor, i));
  TensorView view = tensor;
  view.dtype = MOE_DTYPE_FLOAT32;
  view.data = wide.data();
  return writeFile(path, npyHead(view), view.data, view.bytes());
}

} // namespace moe::run
