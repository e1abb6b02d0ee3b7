//===- moe-lsp-server.cpp - MLIR's language server with our dialects ------===//
#include "mlir/IR/DialectRegistry.h"
#include "mlir/Tools/mlir-lsp-server/MlirLspServerMain.h"
#include "moe/InitAllDialects.h"

int main(int argc, char **argv) {
  mlir::DialectRegistry registry;
  moe::registerAllDialects(registry);
  return failed(mlir::MlirLspServerMain(argc, argv, registry));
}
