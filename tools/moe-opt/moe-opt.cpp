//===- moe-opt.cpp - rewrites ONNX and MLIR models ------------------------===//
#include "moe/InitAllDialects.h"
#include "moe/InitAllPasses.h"
#include "tools/moe-opt/MoeOptDriver.h"
#include "llvm/Support/InitLLVM.h"

int main(int argc, char **argv) {
  llvm::InitLLVM init(argc, argv);
  moe::exitWithTwoOnCrash();
  mlir::DialectRegistry registry;
  moe::registerAllDialects(registry);
  moe::registerAllPasses();
  return moe::runMoeOpt(argc, argv, registry);
}
