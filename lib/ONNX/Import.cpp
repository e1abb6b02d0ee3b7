//===- Import.cpp - ONNX models in ----------------------------------------===//
//
// From a file to a model that the graph importer can take: mapped, reduced to
// its skeleton, parsed, checked, functions inlined, nodes in the forms of the
// newest opset. Every report of the later steps is made before the import
// gives up.
//
//===----------------------------------------------------------------------===//
#include "moe/Import.h"
#include "dialects/ONNX/ONNXDialect.h"
#include "dialects/ONNX/Signatures.h"
#include "lib/Analysis/ShapeInference.h"
#include "lib/ONNX/ImportGraph.h"
#include "lib/ONNX/ModelFile.h"
#include "lib/ONNX/Opset.h"
#include "lib/ONNX/Skeleton.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "onnx/inliner/inliner.h"
#include "onnx/onnx_pb.h"
#include "llvm/ADT/StringMap.h"
#include "llvm/ADT/StringSet.h"
#include <limits>
#include <mutex>

using namespace mlir;
using namespace moe;
using ::onnx::FunctionProto;
using ::onnx::GraphProto;
using ::onnx::ModelProto;
using ::onnx::NodeProto;

namespace {

/// Whether the functions of `model` call each other in a circle, which the
/// inliner does not survive.
class FunctionCycles {
public:
  explicit FunctionCycles(const ModelProto &model) {
    for (const FunctionProto &function : model.functions())
      functions[key(function.domain(), function.name())].push_back(&function);
  }

  /// Name of a function that leads back to itself; empty if there is none.
  std::string find() {
    for (const auto &entry : functions)
      if (visit(entry.getKey()))
        return entry.getKey().str();
    return "";
  }

private:
  static std::string key(StringRef domain, StringRef name) {
    return ((domain == "ai.onnx" ? StringRef() : domain) + "::" + name).str();
  }

  bool visit(StringRef name) {
    if (done.contains(name))
      return false;
    if (!active.insert(name).second)
      return true;
    auto found = functions.find(name);
    if (found != functions.end())
      for (const FunctionProto *function : found->second)
        if (visitNodes(function->node()))
          return true;
    active.erase(name);
    done.insert(name);
    return false;
  }

  template <typename Nodes> bool visitNodes(const Nodes &nodes) {
    for (const NodeProto &node : nodes) {
      std::string callee = key(node.domain(), node.op_type());
      if (functions.count(callee) && visit(callee))
        return true;
      for (const auto &attribute : node.attribute()) {
        if (attribute.has_g() && visitNodes(attribute.g().node()))
          return true;
        for (const GraphProto &graph : attribute.graphs())
          if (visitNodes(graph.node()))
            return true;
      }
    }
    return false;
  }

  llvm::StringMap<SmallVector<const FunctionProto *>> functions;
  llvm::StringSet<> active, done;
};

class ModelImporter {
public:
  ModelImporter(StringRef path, ModuleOp module)
      : path(path), module(module), context(module.getContext()) {}

  LogicalResult run();

private:
  InFlightDiagnostic report() {
    return emitError(FileLineColLoc::get(context, path, 0, 0));
  }
  LogicalResult parse();
  LogicalResult checkVersions();
  LogicalResult inlineFunctions();
  LogicalResult convertNodes();

  StringRef path;
  ModuleOp module;
  MLIRContext *context;
  std::unique_ptr<ModelFile> file;
  ModelProto model;
  int64_t opset = 0;
};

} // namespace

LogicalResult ModelImporter::parse() {
  // What is wrong is told by our own diagnostics.
  static std::once_flag once;
  std::call_once(once, [] { google::protobuf::SetLogHandler(nullptr); });

  std::string error;
  file = ModelFile::open(path, error);
  if (!file)
    return report() << "cannot open the model: " << error;
  std::string skeleton;
  if (!makeSkeleton(file->bytes(), skeleton, error))
    return report() << "not an ONNX model: " << error;
  if (skeleton.size() > std::numeric_limits<int>::max())
    return report() << "the model has " << skeleton.size()
                    << " bytes besides its weights; accepted are 2 GiB";
  if (!model.ParseFromArray(skeleton.data(), static_cast<int>(skeleton.size())))
    return report() << "not an ONNX model: its fields have wrong types, or "
                       "are nested too deeply";
  if (!model.has_graph())
    return report() << "not an ONNX model: it has no graph";
  return success();
}

LogicalResult ModelImporter::checkVersions() {
  LogicalResult result = success();
  // Version 3 was the first that was released.
  constexpr int64_t kOldestVersion = 3;
  if (model.ir_version() < kOldestVersion ||
      model.ir_version() > ::onnx::Version::IR_VERSION)
    result = report() << "has IR version " << model.ir_version()
                      << "; accepted are " << kOldestVersion << " to "
                      << static_cast<int>(::onnx::Version::IR_VERSION);
  for (const auto &import : model.opset_import())
    if (import.domain().empty() || import.domain() == "ai.onnx")
      opset = import.version();
  bool usesDefault = llvm::any_of(model.graph().node(), [](const auto &node) {
    return node.domain().empty() || node.domain() == "ai.onnx";
  });
  if (opset == 0 && !usesDefault)
    opset = moe::onnx::getNewestOpset();
  if (opset < kOldestOpset || opset > moe::onnx::getNewestOpset())
    result = report() << "has opset " << opset
                      << " of domain ai.onnx; accepted are " << kOldestOpset
                      << " to " << moe::onnx::getNewestOpset();
  return result;
}

LogicalResult ModelImporter::inlineFunctions() {
  if (!model.functions_size())
    return success();
  std::string cyclic = FunctionCycles(model).find();
  if (!cyclic.empty())
    return report() << "the function '" << cyclic << "' calls itself";
  try {
    ::onnx::inliner::InlineLocalFunctions(model);
  } catch (const std::exception &error) {
    return report() << "cannot inline the model's functions: " << error.what();
  }
  return success();
}

LogicalResult ModelImporter::convertNodes() {
  auto reportNode = [&](const NodeProto &node, int index,
                        const std::string &why) {
    emitError(getNodeLocation(context, path, node.name(), index))
        << "ai.onnx::" << node.op_type() << ", opset " << opset << ": " << why;
  };
  return success(convertToNewest(*model.mutable_graph(), opset, reportNode));
}

LogicalResult ModelImporter::run() {
  if (failed(parse()) || failed(checkVersions()) || failed(inlineFunctions()))
    return failure();
  // Both find what is wrong in different ways; report all of it.
  LogicalResult converted = convertNodes();
  LogicalResult imported = importGraph(model, *file, module);
  return success(succeeded(converted) && succeeded(imported));
}

LogicalResult moe::importONNX(StringRef path, ModuleOp module,
                              const ImportOptions &options) {
  MLIRContext *context = module.getContext();
  context->loadDialect<moe::onnx::ONNXDialect, moe::onnx_ms::ONNXMsDialect,
                       func::FuncDialect>();
  module->setLoc(FileLineColLoc::get(context, path, 0, 0));
  if (failed(ModelImporter(path, module).run()))
    return failure();
  if (!options.inferShapes)
    return success();
  ShapeInferenceStatistics statistics;
  for (auto function : module.getOps<func::FuncOp>())
    if (failed(inferShapes(function, /*bindings=*/{}, statistics)))
      return failure();
  return success();
}

OwningOpRef<ModuleOp> moe::importONNX(StringRef path, MLIRContext *context,
                                      const ImportOptions &options) {
  OwningOpRef<ModuleOp> module(
      ModuleOp::create(FileLineColLoc::get(context, path, 0, 0)));
  if (failed(importONNX(path, *module, options)))
    return nullptr;
  return module;
}
