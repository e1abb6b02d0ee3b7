//===- ImportPasses.cpp - import and export as passes ---------------------===//
#include "lib/ONNX/ImportPasses.h"
#include "dialects/ONNX/ONNXDialect.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Pass/Pass.h"
#include "mlir/Pass/PassRegistry.h"
#include "moe/Import.h"

using namespace mlir;
using namespace moe;

namespace {

struct ImportPass : PassWrapper<ImportPass, OperationPass<ModuleOp>> {
  MLIR_DEFINE_EXPLICIT_INTERNAL_INLINE_TYPE_ID(ImportPass)

  ImportPass() = default;
  ImportPass(const ImportPass &other) : PassWrapper(other) {}

  StringRef getArgument() const override { return "onnx-import"; }
  StringRef getDescription() const override {
    return "Fill an empty module from an ONNX model";
  }
  void getDependentDialects(DialectRegistry &registry) const override {
    registry.insert<moe::onnx::ONNXDialect, moe::onnx_ms::ONNXMsDialect,
                    func::FuncDialect>();
  }
  void runOnOperation() override {
    if (!getOperation().getBody()->empty()) {
      getOperation().emitError("onnx-import needs an empty module");
      return signalPassFailure();
    }
    if (failed(importONNX(file, getOperation())))
      signalPassFailure();
  }

  Option<std::string> file{*this, "file", llvm::cl::desc("ONNX model")};
};

struct ExportPass : PassWrapper<ExportPass, OperationPass<ModuleOp>> {
  MLIR_DEFINE_EXPLICIT_INTERNAL_INLINE_TYPE_ID(ExportPass)

  ExportPass() = default;
  ExportPass(const ExportPass &other) : PassWrapper(other) {}

  StringRef getArgument() const override { return "onnx-export"; }
  StringRef getDescription() const override {
    return "Write the module as an ONNX model";
  }
  void runOnOperation() override {
    ExportOptions options;
    if (opset != 0)
      options.opset = opset;
    options.externalData = externalData;
    if (failed(exportONNX(getOperation(), file, options)))
      return signalPassFailure();
    markAllAnalysesPreserved();
  }

  Option<std::string> file{*this, "file", llvm::cl::desc("ONNX model")};
  Option<int64_t> opset{
      *this, "opset",
      llvm::cl::desc("Opset of ai.onnx (0: the one the model was read with)"),
      llvm::cl::init(0)};
  Option<bool> externalData{
      *this, "external-data",
      llvm::cl::desc("Put large weights into a file beside the model"),
      llvm::cl::init(false)};
};

} // namespace

std::unique_ptr<Pass> moe::createImportPass(StringRef file) {
  auto pass = std::make_unique<ImportPass>();
  pass->file = file.str();
  return pass;
}

std::unique_ptr<Pass> moe::createExportPass(StringRef file,
                                            const ExportOptions &options) {
  auto pass = std::make_unique<ExportPass>();
  pass->file = file.str();
  pass->opset = options.opset.value_or(0);
  pass->externalData = options.externalData;
  return pass;
}

void moe::registerImportPasses() {
  PassRegistration<ImportPass>();
  PassRegistration<ExportPass>();
}
