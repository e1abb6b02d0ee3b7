//===- Artifact.h - from the LLVM dialect to a model.so ---------*- C++ -*-===//
//
// The last stage of the compiler: what the host pipeline leaves becomes a
// shared object (or an object file, or LLVM IR) that exports moe_model_query
// (include/moe-c/ModelABI.h). Needs no tools: code generation and linking
// happen in this process.
//
//===----------------------------------------------------------------------===//
#ifndef MOE_ARTIFACT_H
#define MOE_ARTIFACT_H

#include "llvm/ADT/STLFunctionalExtras.h"
#include "llvm/ADT/StringRef.h"
#include "llvm/Support/LogicalResult.h"
#include <string>
#include <vector>

namespace mlir {
class DialectRegistry;
class MLIRContext;
class ModuleOp;
} // namespace mlir

namespace moe {

/// A processor to generate code for.
struct HostCpu {
  std::string name;     // LLVM's name, such as "znver4"
  std::string features; // LLVM's string, "+avx2,-sse4a,..."
  /// What of the features a runtime has to check for, LLVM's names, sorted.
  std::vector<std::string> required;
  /// Width of the vector registers in bits.
  unsigned vectorBits = 256;
};

/// Resolves "native" or an LLVM CPU name. Fails with a message in `error` when
/// LLVM does not know the name or the CPU is below x86-64-v3.
llvm::LogicalResult resolveHostCpu(llvm::StringRef name, HostCpu &cpu,
                                   std::string &error);

enum class ArtifactKind { SharedObject, Object, LLVMIR };

struct ArtifactOptions {
  HostCpu cpu;
  /// 0 to 3, as compilers' -O.
  unsigned optLevel = 2;
  ArtifactKind kind = ArtifactKind::SharedObject;
  /// Path of a safetensors file for the constants, which the artifact then
  /// expects beside itself; empty: inside the artifact.
  std::string weightsFile;
  /// Told what happens, a line each, when set.
  llvm::function_ref<void(llvm::StringRef)> progress;
};

/// Constants above this size go to a file beside the artifact by default.
inline constexpr uint64_t maxEmbeddedBytes = uint64_t(1) << 30;

/// Bytes of the weight section of a lowered module.
uint64_t getWeightBytes(mlir::ModuleOp module);

/// Registers what translating to LLVM IR needs.
void registerArtifactTranslations(mlir::DialectRegistry &registry);

/// Writes the lowered `module` to `path`. Everything that goes wrong is
/// reported to the context's diagnostics; `path` is then untouched.
llvm::LogicalResult writeArtifact(mlir::ModuleOp module, llvm::StringRef path,
                                  const ArtifactOptions &options);

} // namespace moe

#endif // MOE_ARTIFACT_H
