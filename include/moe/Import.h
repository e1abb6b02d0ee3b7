//===- Import.h - ONNX models in and out ------------------------*- C++ -*-===//
//
// The two ends of the compiler that know ONNX's file format. What the IR looks
// like in between is told in docs/Rationale/Spine.md.
//
//===----------------------------------------------------------------------===//
#ifndef MOE_IMPORT_H
#define MOE_IMPORT_H

#include "mlir/IR/BuiltinOps.h"
#include "mlir/IR/OwningOpRef.h"
#include "llvm/ADT/StringRef.h"
#include <cstdint>
#include <optional>

namespace moe {

struct ImportOptions {
  /// Infer the types of all results after the import. Without it a result has
  /// the type that the model itself declares, else an unranked one.
  bool inferShapes = true;
};

/// Reads the model in the file `path`. Weights stay in the file (they become
/// `#onnx.file` attributes that name `path` as it is given here). Everything
/// that is wrong or not supported is reported to the context's diagnostics,
/// not only the first thing found; the result is then null.
mlir::OwningOpRef<mlir::ModuleOp> importONNX(llvm::StringRef path,
                                             mlir::MLIRContext *context,
                                             const ImportOptions &options = {});

/// The same into an empty module that exists already.
llvm::LogicalResult importONNX(llvm::StringRef path, mlir::ModuleOp module,
                               const ImportOptions &options = {});

struct ExportOptions {
  /// Opset of ai.onnx to write; by default the one the model was read with.
  std::optional<int64_t> opset;
  /// Put weights of 1 KiB and more into the file `<path>.data` even when the
  /// model would fit into one file. Models above 2 GiB, which is the most that
  /// protobuf takes, are always written so.
  bool externalData = false;
};

/// Writes the module as an ONNX model. Both files appear when all has been
/// written, so `path` may be the file that the weights are read from. An op
/// that ONNX at that opset cannot express is reported by name and nothing is
/// written.
llvm::LogicalResult exportONNX(mlir::ModuleOp module, llvm::StringRef path,
                               const ExportOptions &options = {});

} // namespace moe

#endif // MOE_IMPORT_H
