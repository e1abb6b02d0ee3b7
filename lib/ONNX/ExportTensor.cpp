//===- ExportTensor.cpp - attribute to TensorProto ------------------------===//
#include "lib/ONNX/ExportTensor.h"
#include "dialects/ONNX/ONNXDialect.h"
#include "lib/ONNX/Skeleton.h"
#include "mlir/IR/AsmState.h"
#include "mlir/IR/BuiltinAttributes.h"
#include "mlir/IR/BuiltinTypes.h"
#include "mlir/IR/DialectResourceBlobManager.h"
#include "onnx/onnx_pb.h"
#include "llvm/Support/MathExtras.h"

using namespace mlir;
using namespace moe;
using ::onnx::TensorProto;

namespace {

/// The bytes of dense elements in the form of raw_data: in place if the
/// attribute has them so, else written to `made`.
StringRef getDenseBytes(DenseElementsAttr dense, unsigned bits,
                        std::string &made) {
  ShapedType type = dense.getType();
  int64_t count = type.getNumElements();
  if (type.getElementType().isInteger(1)) {
    for (bool value : dense.getValues<bool>())
      made.push_back(value);
    return made;
  }
  ArrayRef<char> raw = dense.getRawData();
  if (bits >= 8) {
    if (!dense.isSplat())
      return StringRef(raw.data(), raw.size());
    made.reserve(count * raw.size());
    for (int64_t i = 0; i < count; ++i)
      made.append(raw.data(), raw.size());
    return made;
  }
  // One byte per element in the attribute, packed from the low bits up here.
  made.assign(llvm::divideCeil(count * bits, 8), '\0');
  for (int64_t i = 0; i < count; ++i) {
    unsigned value =
        static_cast<uint8_t>(raw[dense.isSplat() ? 0 : i]) & ((1u << bits) - 1);
    made[i * bits / 8] |= static_cast<char>(value << (i * bits % 8));
  }
  return made;
}

} // namespace

bool moe::exportTensor(ElementsAttr elements, TensorProto &tensor,
                       Payloads &payloads, std::string &error) {
  ShapedType type = elements.getShapedType();
  Type element = type.getElementType();
  int dataType = moe::onnx::getDataType(element);
  if (!dataType) {
    llvm::raw_string_ostream(error) << "ONNX has no element type " << element;
    return false;
  }
  tensor.set_data_type(dataType);
  for (int64_t extent : type.getShape())
    tensor.add_dims(extent);
  if (auto strings = dyn_cast<DenseStringElementsAttr>(elements)) {
    for (StringRef text : strings.getValues<StringRef>())
      tensor.add_string_data(text.str());
    return true;
  }

  unsigned bits = moe::onnx::getElementBits(element);
  std::string made;
  StringRef bytes;
  if (auto file = dyn_cast<moe::onnx::FileElementsAttr>(elements)) {
    ArrayRef<char> mapped = file.getBytes(error);
    if (!error.empty())
      return false;
    bytes = StringRef(mapped.data(), mapped.size());
  } else if (auto dense = dyn_cast<DenseElementsAttr>(elements)) {
    if (dataType == TensorProto::STRING) {
      error = "strings must be dense string elements";
      return false;
    }
    bytes =
        type.getNumElements() ? getDenseBytes(dense, bits, made) : StringRef();
  } else if (auto resource = dyn_cast<DenseResourceElementsAttr>(elements)) {
    AsmResourceBlob *blob = resource.getRawHandle().getBlob();
    if (!blob) {
      error = ("the resource '" + resource.getRawHandle().getKey() +
               "' has no data")
                  .str();
      return false;
    }
    bytes = StringRef(blob->getData().data(), blob->getData().size());
  } else {
    error = "only dense elements, resources and #onnx.file can be written";
    return false;
  }

  uint64_t expected =
      llvm::divideCeil(static_cast<uint64_t>(type.getNumElements()) * bits, 8);
  if (bytes.size() != expected) {
    llvm::raw_string_ostream(error)
        << "the elements have " << bytes.size() << " bytes, type " << type
        << " needs " << expected;
    return false;
  }
  if (bytes.size() < kFileThreshold) {
    tensor.set_raw_data(bytes.data(), bytes.size());
    return true;
  }
  if (bytes.data() == made.data())
    bytes = payloads.made.emplace_back(std::move(made));
  auto *entry = tensor.add_external_data();
  entry->set_key(kPayloadKey.str());
  entry->set_value(std::to_string(payloads.bytes.size()));
  payloads.bytes.push_back(bytes);
  return true;
}
