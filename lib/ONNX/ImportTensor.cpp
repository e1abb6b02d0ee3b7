//===- ImportTensor.cpp - TensorProto to attribute ------------------------===//
//
// A tensor's elements may stand in six fields of the message, in the model's
// file or in another one. All forms are first brought to one, the bytes of
// raw_data, and these become the attribute.
//
//===----------------------------------------------------------------------===//
#include "lib/ONNX/ImportTensor.h"
#include "dialects/ONNX/ONNXDialect.h"
#include "lib/ONNX/ModelFile.h"
#include "lib/ONNX/Skeleton.h"
#include "mlir/IR/BuiltinAttributes.h"
#include "mlir/IR/BuiltinTypes.h"
#include "onnx/onnx_pb.h"
#include "llvm/Support/MathExtras.h"
#include <cstring>
#include <limits>

using namespace mlir;
using namespace moe;
using ::onnx::TensorProto;

namespace {

class TensorReader {
public:
  TensorReader(const TensorProto &tensor, ModelFile &file, MLIRContext *context,
               llvm::function_ref<InFlightDiagnostic()> emitError)
      : tensor(tensor), file(file), context(context), emitError(emitError) {}

  ElementsAttr read();

private:
  /// Element type and extents; false after an error.
  bool readType();
  /// Finds the bytes: in place, decoded into `decoded`, or in a file.
  bool readBytes();
  bool readExternal();
  bool readTyped();
  ElementsAttr readStrings();
  ElementsAttr makeDense();

  template <typename Field> bool readNarrow(const Field &values);
  template <typename Field> bool readCopied(const Field &values);

  InFlightDiagnostic error() {
    InFlightDiagnostic diagnostic = emitError();
    diagnostic << "tensor";
    if (!tensor.name().empty())
      diagnostic << " '" << tensor.name() << "'";
    diagnostic << ": ";
    return diagnostic;
  }

  const TensorProto &tensor;
  ModelFile &file;
  MLIRContext *context;
  llvm::function_ref<InFlightDiagnostic()> emitError;

  RankedTensorType type;
  unsigned bits = 0;     // of an element in raw_data
  uint64_t expected = 0; // bytes in raw_data
  StringRef bytes;
  std::string decoded;
  const ModelFile::Data *source = nullptr; // where the bytes lie, if in a file
  uint64_t offset = 0;
};

} // namespace

bool TensorReader::readType() {
  Type element = moe::onnx::getElementType(tensor.data_type(), context);
  if (!element) {
    error() << "element type " << tensor.data_type()
            << " of TensorProto.DataType is not supported";
    return false;
  }
  SmallVector<int64_t> shape;
  uint64_t count = 1;
  bool overflow = false;
  for (int64_t extent : tensor.dims()) {
    if (extent < 0) {
      error() << "extent " << extent << " is negative";
      return false;
    }
    shape.push_back(extent);
    overflow |=
        __builtin_mul_overflow(count, static_cast<uint64_t>(extent), &count);
  }
  bits = moe::onnx::getElementBits(element);
  // Far below what 64 bits hold, so that sizes in bits and bytes fit as well.
  if (overflow || count > (uint64_t(1) << 56)) {
    error() << "has more elements than can be addressed";
    return false;
  }
  expected = llvm::divideCeil(count * bits, 8);
  type = RankedTensorType::get(shape, element);
  return true;
}

bool TensorReader::readExternal() {
  std::optional<Slice> slice;
  StringRef location;
  uint64_t length = expected;
  bool hasLocation = false, hasLength = false;
  for (const ::onnx::StringStringEntryProto &entry : tensor.external_data()) {
    StringRef key = entry.key(), value = entry.value();
    if (key == kSliceKey) {
      slice = parseSlice(value);
      if (!slice) {
        error() << "malformed entry '" << kSliceKey << "'";
        return false;
      }
    } else if (key == "location") {
      location = value;
      hasLocation = true;
    } else if (key == "offset" || key == "length") {
      uint64_t number;
      if (value.getAsInteger(10, number)) {
        error() << "external data: " << key << " '" << value
                << "' is no number";
        return false;
      }
      (key == "offset" ? offset : length) = number;
      hasLength |= key == "length";
    }
  }
  if (slice &&
      (hasLocation || tensor.data_location() == TensorProto::EXTERNAL)) {
    error() << "has both data of its own and external data";
    return false;
  }
  if (slice) {
    source = &file.model();
    offset = slice->offset;
    length = slice->length;
  } else {
    if (!hasLocation) {
      error() << "external data without a location";
      return false;
    }
    source = &file.external(location);
    if (!source->error.empty()) {
      error() << "external data '" << location << "': " << source->error
              << "; accepted is a regular file in the model's folder";
      return false;
    }
  }
  if (length != expected) {
    error() << "has " << length << " bytes" << (hasLength ? " (length)" : "")
            << ", its type " << type << " needs " << expected;
    return false;
  }
  if (offset > source->bytes.size() || length > source->bytes.size() - offset) {
    error() << "lies at bytes " << offset << " to " << offset << "+" << length
            << " of '" << source->path << "', which has "
            << source->bytes.size();
    return false;
  }
  bytes = source->bytes.substr(offset, length);
  return true;
}

/// Elements of at most 32 bits, one (or one byte of packed ones) per number.
template <typename Field> bool TensorReader::readNarrow(const Field &values) {
  unsigned width = bits < 8 ? 1 : bits / 8;
  if (static_cast<uint64_t>(values.size()) * width != expected) {
    error() << "has " << values.size() << " numbers, its type " << type
            << " needs " << expected / width;
    return false;
  }
  decoded.resize(expected);
  char *out = decoded.data();
  for (auto value : values) {
    if (width < 4) {
      // Signed as well as unsigned readings of the bits occur.
      int64_t wide = value;
      int64_t low = -(int64_t(1) << (8 * width - 1));
      int64_t high = (int64_t(1) << (8 * width)) - 1;
      if (wide < low || wide > high) {
        error() << "number " << wide << " does not fit " << 8 * width
                << " bits";
        return false;
      }
    }
    std::memcpy(out, &value, width);
    out += width;
  }
  bytes = decoded;
  return true;
}

template <typename Field> bool TensorReader::readCopied(const Field &values) {
  uint64_t size = static_cast<uint64_t>(values.size()) * sizeof(*values.data());
  if (size != expected) {
    error() << "has " << size << " bytes of elements, its type " << type
            << " needs " << expected;
    return false;
  }
  bytes = StringRef(reinterpret_cast<const char *>(values.data()), size);
  return true;
}

bool TensorReader::readTyped() {
  switch (tensor.data_type()) {
  case TensorProto::FLOAT:
  case TensorProto::COMPLEX64:
    return readCopied(tensor.float_data());
  case TensorProto::DOUBLE:
  case TensorProto::COMPLEX128:
    return readCopied(tensor.double_data());
  case TensorProto::INT64:
    return readCopied(tensor.int64_data());
  case TensorProto::UINT64:
    return readCopied(tensor.uint64_data());
  case TensorProto::UINT32: {
    for (uint64_t value : tensor.uint64_data())
      if (value > std::numeric_limits<uint32_t>::max()) {
        error() << "number " << value << " does not fit 32 bits";
        return false;
      }
    return readNarrow(tensor.uint64_data());
  }
  default:
    return readNarrow(tensor.int32_data());
  }
}

bool TensorReader::readBytes() {
  if (tensor.data_location() == TensorProto::EXTERNAL ||
      tensor.external_data_size())
    return readExternal();
  if (!tensor.has_raw_data())
    return readTyped();
  bytes = tensor.raw_data();
  if (bytes.size() == expected)
    return true;
  error() << "has " << bytes.size() << " bytes, its type " << type << " needs "
          << expected;
  return false;
}

ElementsAttr TensorReader::readStrings() {
  if (tensor.has_raw_data() || tensor.external_data_size()) {
    error() << "strings must stand in string_data";
    return {};
  }
  if (tensor.string_data_size() != type.getNumElements()) {
    error() << "has " << tensor.string_data_size() << " strings, its type "
            << type << " needs " << type.getNumElements();
    return {};
  }
  SmallVector<StringRef> strings;
  for (const std::string &text : tensor.string_data())
    strings.push_back(text);
  return cast<ElementsAttr>(
      DenseElementsAttr(DenseStringElementsAttr::get(type, strings)));
}

ElementsAttr TensorReader::makeDense() {
  // Bytes in a file need not be aligned as the attribute wants them, which
  // copies them anyway.
  if (type.getNumElements() == 0)
    return cast<ElementsAttr>(
        DenseElementsAttr::get(type, ArrayRef<Attribute>()));
  if (type.getElementType().isInteger(1)) {
    SmallVector<bool> values;
    values.reserve(bytes.size());
    for (char byte : bytes) {
      if (byte != 0 && byte != 1) {
        error() << "holds the bool " << static_cast<int>(byte)
                << "; accepted are 0 and 1";
        return {};
      }
      values.push_back(byte);
    }
    return cast<ElementsAttr>(DenseElementsAttr::get(type, values));
  }
  std::string unpacked;
  StringRef storage = bytes;
  if (bits < 8) {
    int64_t count = type.getNumElements();
    unpacked.resize(count);
    for (int64_t i = 0; i < count; ++i)
      unpacked[i] = static_cast<char>(
          static_cast<uint8_t>(bytes[i * bits / 8]) >> (i * bits % 8) &
          ((1u << bits) - 1));
    storage = unpacked;
  }
  return cast<ElementsAttr>(DenseElementsAttr::getFromRawBuffer(
      type, ArrayRef<char>(storage.data(), storage.size())));
}

ElementsAttr TensorReader::read() {
  if (tensor.has_segment()) {
    error() << "segments are not supported";
    return {};
  }
  if (!readType())
    return {};
  if (tensor.data_type() == TensorProto::STRING)
    return readStrings();
  if (!readBytes())
    return {};
  if (source && bytes.size() >= kFileThreshold)
    return cast<ElementsAttr>(moe::onnx::FileElementsAttr::get(
        context, type, source->path, offset, bytes.size()));
  return makeDense();
}

ElementsAttr
moe::importTensor(const TensorProto &tensor, ModelFile &file,
                  MLIRContext *context,
                  llvm::function_ref<InFlightDiagnostic()> emitError) {
  return TensorReader(tensor, file, context, emitError).read();
}
