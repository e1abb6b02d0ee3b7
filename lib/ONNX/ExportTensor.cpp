//===- ExportTensor.cpp - attribute to TensorProto ------------------------===//
#include "lib/ONNX/ExportTensor.h"
#include "dialects/ONNX/ONNXDialect.h"
#include "dialects/Rt/RtDialect.h"
#include "lib/ONNX/Skeleton.h"
#include "mlir/IR/AsmState.h"
#include "mlir/IR/BuiltinAttributes.h"
#include "mlir/IR/BuiltinTypes.h"
#include "mlir/IR/Diagnostics.h"
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

/// Appends the stretches that hold the elements in the form of raw_data. `made`
/// owns what has no such form yet.
bool appendBytes(ElementsAttr elements, Payload &bytes,
                 std::deque<std::string> &made, std::string &error) {
  ShapedType type = elements.getShapedType();
  unsigned bits = moe::onnx::getElementBits(type.getElementType());
  if (auto file = dyn_cast<moe::onnx::FileElementsAttr>(elements)) {
    ArrayRef<char> mapped = file.getBytes(error);
    if (!error.empty())
      return false;
    bytes.push_back(StringRef(mapped.data(), mapped.size()));
    return true;
  }
  if (auto dense = dyn_cast<DenseElementsAttr>(elements)) {
    if (bits == 0) {
      error = "strings must be dense string elements";
      return false;
    }
    if (type.getNumElements() == 0)
      return true;
    std::string own;
    StringRef raw = getDenseBytes(dense, bits, own);
    if (raw.data() == own.data())
      raw = made.emplace_back(std::move(own));
    bytes.push_back(raw);
    return true;
  }
  if (auto resource = dyn_cast<DenseResourceElementsAttr>(elements)) {
    AsmResourceBlob *blob = resource.getRawHandle().getBlob();
    if (!blob) {
      error = ("the resource '" + resource.getRawHandle().getKey() +
               "' has no data")
                  .str();
      return false;
    }
    bytes.push_back(StringRef(blob->getData().data(), blob->getData().size()));
    return true;
  }
  auto stack = dyn_cast<moe::rt::StackAttr>(elements);
  if (!stack) {
    error = "only dense elements, resources, #onnx.file and #rt.stack can be "
            "written";
    return false;
  }
  if (bits < 8 &&
      stack.getParts().front().getShapedType().getNumElements() * bits % 8) {
    error = "parts of #rt.stack that end within a byte cannot be written";
    return false;
  }
  if (!stack.getTransposed())
    return llvm::all_of(stack.getParts(), [&](ElementsAttr part) {
      return appendBytes(part, bytes, made, error);
    });
  std::string turned;
  turned.reserve(stack.getByteSize());
  auto collect = [&](ArrayRef<char> chunk) {
    turned.append(chunk.begin(), chunk.end());
    return success();
  };
  ScopedDiagnosticHandler handler(stack.getContext(),
                                  [&](Diagnostic &diagnostic) {
                                    error = diagnostic.str();
                                    return success();
                                  });
  auto emitError = [&] {
    return mlir::emitError(UnknownLoc::get(stack.getContext()));
  };
  if (failed(stack.forEachChunk(collect, emitError)))
    return false;
  bytes.push_back(made.emplace_back(std::move(turned)));
  return true;
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
  Payload bytes;
  if (!appendBytes(elements, bytes, payloads.made, error))
    return false;
  uint64_t count = getSize(bytes);
  uint64_t expected =
      llvm::divideCeil(static_cast<uint64_t>(type.getNumElements()) * bits, 8);
  if (count != expected) {
    llvm::raw_string_ostream(error)
        << "the elements have " << count << " bytes, type " << type << " needs "
        << expected;
    return false;
  }
  if (count < kFileThreshold) {
    std::string raw;
    for (StringRef piece : bytes)
      raw += piece;
    tensor.set_raw_data(std::move(raw));
    return true;
  }
  auto *entry = tensor.add_external_data();
  entry->set_key(kPayloadKey.str());
  entry->set_value(std::to_string(payloads.bytes.size()));
  payloads.bytes.push_back(std::move(bytes));
  return true;
}
