//===- moe-reduce.cpp - MLIR's test case reducer with our dialects --------===//
#include "mlir/IR/DialectRegistry.h"
#include "mlir/IR/MLIRContext.h"
#include "mlir/Tools/mlir-reduce/MlirReduceMain.h"
#include "moe/InitAllDialects.h"
#include "moe/InitAllPasses.h"

int main(int argc, char **argv) {
  moe::registerAllPasses();
  mlir::DialectRegistry registry;
  moe::registerAllDialects(registry);
  mlir::MLIRContext context(registry);
  return failed(mlir::mlirReduceMain(argc, argv, context));
}
