//===- ImportPasses.h - import and export as passes -------------*- C++ -*-===//
//
// As passes the two ends of the compiler take part in everything that MLIR's
// tools offer: IR dumps, timing, reproducers.
//
//===----------------------------------------------------------------------===//
#ifndef MOE_LIB_ONNX_IMPORTPASSES_H
#define MOE_LIB_ONNX_IMPORTPASSES_H

#include "llvm/ADT/StringRef.h"
#include <memory>

namespace mlir {
class Pass;
} // namespace mlir

namespace moe {

struct ImportOptions;
struct ExportOptions;

/// `onnx-import`: fills an empty module from the model `file`.
std::unique_ptr<mlir::Pass> createImportPass(llvm::StringRef file);

/// `onnx-export`: writes the module to `file` and leaves it as it is.
std::unique_ptr<mlir::Pass> createExportPass(llvm::StringRef file,
                                             const ExportOptions &options);

void registerImportPasses();

} // namespace moe

#endif // MOE_LIB_ONNX_IMPORTPASSES_H
