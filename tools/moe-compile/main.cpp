//===- main.cpp - compiles models to native code --------------------------===//
#include "moe/Artifact.h"
#include "moe/InitAllDialects.h"
#include "moe/InitAllPasses.h"
#include "tools/moe-compile/Driver.h"
#include "llvm/Support/InitLLVM.h"

int main(int argc, char **argv) {
  llvm::InitLLVM init(argc, argv);
  mlir::DialectRegistry registry;
  moe::registerAllDialects(registry);
  moe::registerArtifactTranslations(registry);
  moe::registerAllPasses();
  return moe::compile::runMoeCompile(argc, argv, registry);
}
