//===- Export.cpp - ONNX models out ---------------------------------------===//
//
// The model is built without its large weights, brought to the opset that is
// asked for, and then streamed with the weights in their places, or with their
// places in a second file.
//
//===----------------------------------------------------------------------===//
#include "dialects/ONNX/ONNXDialect.h"
#include "dialects/ONNX/Signatures.h"
#include "lib/ONNX/ExportGraph.h"
#include "lib/ONNX/ImportGraph.h"
#include "lib/ONNX/Opset.h"
#include "lib/ONNX/Skeleton.h"
#include "lib/Support/OutputFile.h"
#include "moe/Import.h"
#include "onnx/onnx_pb.h"
#include "llvm/Support/MathExtras.h"
#include "llvm/Support/Path.h"
#include <limits>

using namespace mlir;
using namespace moe;
using ::onnx::GraphProto;
using ::onnx::ModelProto;
using ::onnx::NodeProto;
using ::onnx::TensorProto;

namespace {

/// The first IR version that may hold `opset`.
int64_t getLeastIRVersion(int64_t opset) {
  static constexpr std::pair<int64_t, int64_t> kVersions[] = {
      {28, 14}, {25, 13}, {24, 12}, {23, 11}, {21, 10}, {19, 9}, {15, 8}};
  for (auto [first, version] : kVersions)
    if (opset >= first)
      return version;
  return 7;
}

class ModelExporter {
public:
  ModelExporter(ModuleOp module, StringRef path, const ExportOptions &options)
      : module(module), path(path), options(options) {}

  LogicalResult run();

private:
  LogicalResult findFunction();
  LogicalResult setProperties();
  LogicalResult convert();
  LogicalResult write();
  /// Gives each payload a place in a file of its own.
  void placeExternally(GraphProto &graph, StringRef file,
                       ArrayRef<uint64_t> offsets);

  ModuleOp module;
  StringRef path;
  const ExportOptions &options;
  func::FuncOp function;
  ModelProto model;
  Payloads payloads;
  llvm::StringSet<> domains;
  int64_t opset = 0;
  bool declareValues = false;
};

} // namespace

LogicalResult ModelExporter::findFunction() {
  LogicalResult result = success();
  for (Operation &op : *module.getBody()) {
    auto candidate = dyn_cast<func::FuncOp>(op);
    if (!candidate)
      result = op.emitOpError("cannot be written to an ONNX model");
    else if (candidate.isDeclaration())
      result = candidate.emitOpError(
          "has no body and cannot be written to an ONNX model");
    else if (function)
      result = candidate.emitOpError("is a second function besides '")
               << function.getName() << "'; an ONNX model is written from one";
    else
      function = candidate;
  }
  if (!function && succeeded(result))
    return module.emitError("has no function to write as an ONNX model");
  return result;
}

LogicalResult ModelExporter::setProperties() {
  auto imports =
      module->getAttrOfType<DictionaryAttr>(moe::onnx::names::kOpsetImport);
  if (imports)
    for (NamedAttribute import : imports) {
      auto version = dyn_cast<IntegerAttr>(import.getValue());
      if (!version)
        return module.emitError("'onnx.opset_import' must hold integers, '")
               << import.getName().getValue() << "' is " << import.getValue();
      StringRef domain = import.getName();
      bool isDefault = domain == "ai.onnx";
      if (isDefault)
        opset = version.getInt();
      auto *added = model.add_opset_import();
      added->set_domain(isDefault ? "" : domain.str());
      added->set_version(version.getInt());
      domains.erase(domain);
    }
  bool imported = opset != 0;
  if (!imported)
    opset = moe::onnx::getNewestOpset();
  if (options.opset)
    opset = *options.opset;
  if (opset < kOldestOpset || opset > moe::onnx::getNewestOpset())
    return module.emitError("cannot be written with opset ")
           << opset << " of ai.onnx; accepted are " << kOldestOpset << " to "
           << moe::onnx::getNewestOpset();
  for (auto &import : *model.mutable_opset_import())
    if (import.domain().empty())
      import.set_version(opset);
  if (!imported) {
    model.add_opset_import()->set_version(opset);
    domains.erase("ai.onnx");
  }
  for (const auto &domain : domains) {
    auto *added = model.add_opset_import();
    added->set_domain(domain.getKey().str());
    added->set_version(1);
  }

  GraphProto &graph = *model.mutable_graph();
  auto description =
      module->getAttrOfType<DictionaryAttr>(moe::onnx::names::kModel);
  auto getText = [&](StringRef name) {
    auto text = description
                    ? dyn_cast_or_null<StringAttr>(description.get(name))
                    : StringAttr();
    return text ? text.str() : std::string();
  };
  auto getNumber = [&](StringRef name) -> std::optional<int64_t> {
    auto number = description
                      ? dyn_cast_or_null<IntegerAttr>(description.get(name))
                      : IntegerAttr();
    return number ? std::optional<int64_t>(number.getInt()) : std::nullopt;
  };
  auto addMetadata = [&](StringRef name, auto &message) {
    auto entries = description
                       ? dyn_cast_or_null<DictionaryAttr>(description.get(name))
                       : DictionaryAttr();
    if (entries)
      for (NamedAttribute entry : entries)
        if (auto text = dyn_cast<StringAttr>(entry.getValue())) {
          auto *added = message.add_metadata_props();
          added->set_key(entry.getName().str());
          added->set_value(text.str());
        }
  };
  // An unmodified model keeps its version; another opset may need a later one.
  int64_t version = getNumber("ir_version").value_or(0);
  if (options.opset || version == 0)
    version = std::max(version, getLeastIRVersion(opset));
  model.set_ir_version(version);
  std::string producer = getText("producer_name");
  model.set_producer_name(description ? producer : "moe-opt");
  if (std::string text = getText("producer_version"); !text.empty())
    model.set_producer_version(text);
  if (std::string text = getText("domain"); !text.empty())
    model.set_domain(text);
  if (auto number = getNumber("model_version"))
    model.set_model_version(*number);
  if (std::string text = getText("doc_string"); !text.empty())
    model.set_doc_string(text);
  if (std::string text = getText("graph_doc_string"); !text.empty())
    graph.set_doc_string(text);
  std::string graphName = getText("graph_name");
  graph.set_name(graphName.empty() ? function.getName().str() : graphName);
  addMetadata("metadata_props", model);
  addMetadata("graph_metadata_props", graph);
  return success();
}

LogicalResult ModelExporter::convert() {
  auto reportNode = [&](const NodeProto &node, int, const std::string &why) {
    emitError(module.getLoc())
        << "node '" << node.name() << "' (ai.onnx::" << node.op_type()
        << ") cannot be written with opset " << opset << ": " << why;
  };
  return success(convertFromNewest(*model.mutable_graph(), opset, reportNode));
}

void ModelExporter::placeExternally(GraphProto &graph, StringRef file,
                                    ArrayRef<uint64_t> offsets) {
  auto place = [&](TensorProto &tensor) {
    unsigned number;
    if (tensor.external_data_size() != 1 ||
        tensor.external_data(0).key() != kPayloadKey ||
        StringRef(tensor.external_data(0).value()).getAsInteger(10, number))
      return;
    tensor.clear_external_data();
    auto add = [&](const char *key, const std::string &value) {
      auto *entry = tensor.add_external_data();
      entry->set_key(key);
      entry->set_value(value);
    };
    add("location", file.str());
    add("offset", std::to_string(offsets[number]));
    add("length", std::to_string(getSize(payloads.bytes[number])));
    tensor.set_data_location(TensorProto::EXTERNAL);
  };
  for (TensorProto &tensor : *graph.mutable_initializer())
    place(tensor);
  for (NodeProto &node : *graph.mutable_node())
    for (auto &attribute : *node.mutable_attribute()) {
      if (attribute.has_t())
        place(*attribute.mutable_t());
      if (attribute.has_g())
        placeExternally(*attribute.mutable_g(), file, offsets);
    }
}

LogicalResult ModelExporter::write() {
  std::string error;
  std::unique_ptr<OutputFile> data;
  std::string skeleton = model.SerializeAsString();
  SkeletonExpander expander(skeleton, payloads.bytes);
  // Protobuf, and so every other reader, takes 2 GiB at most.
  bool external = !payloads.bytes.empty() &&
                  (options.externalData ||
                   expander.size() > std::numeric_limits<int32_t>::max());
  if (external) {
    std::string dataPath = (path + ".data").str();
    data = OutputFile::open(dataPath, error);
    if (!data)
      return module.emitError() << error;
    SmallVector<uint64_t> offsets;
    uint64_t at = 0;
    for (const Payload &payload : payloads.bytes) {
      uint64_t size = getSize(payload);
      // Readers map large tensors, which needs offsets of whole pages.
      uint64_t aligned = llvm::alignTo(at, size >= 4096 ? 4096 : 64);
      data->os().write_zeros(aligned - at);
      offsets.push_back(aligned);
      for (StringRef piece : payload)
        data->os() << piece;
      at = aligned + size;
    }
    placeExternally(*model.mutable_graph(), llvm::sys::path::filename(dataPath),
                    offsets);
    skeleton = model.SerializeAsString();
  }

  std::unique_ptr<OutputFile> file = OutputFile::open(path, error);
  if (!file)
    return module.emitError() << error;
  if (external)
    file->os() << skeleton;
  else
    expander.write(file->os());
  if ((data && !data->keep(error)) || !file->keep(error))
    return module.emitError() << error;
  return success();
}

LogicalResult ModelExporter::run() {
  if (failed(findFunction()))
    return failure();
  if (auto description =
          module->getAttrOfType<DictionaryAttr>(moe::onnx::names::kModel))
    declareValues = description.contains(moe::names::kValueInfo);
  if (failed(exportGraph(function, declareValues, *model.mutable_graph(),
                         payloads, domains)) ||
      failed(setProperties()) || failed(convert()))
    return failure();
  return write();
}

LogicalResult moe::exportONNX(ModuleOp module, StringRef path,
                              const ExportOptions &options) {
  return ModelExporter(module, path, options).run();
}
