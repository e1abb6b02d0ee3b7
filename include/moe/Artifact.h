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

#include "mlir/IR/BuiltinOps.h"
#include "llvm/ADT/STLFunctionalExtras.h"
#include "llvm/ADT/StringRef.h"
#include "llvm/Support/LogicalResult.h"
#include <string>
#include <vector>

namespace mlir {
class DialectRegistry;
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
  /// Whether registers of that width can be multiplied byte by byte.
  bool integerDot = false;
  /// Whether they can be multiplied pair by pair of bf16.
  bool bfloatDot = false;
};

/// Resolves "native" or an LLVM CPU name. Fails with a message in `error` when
/// LLVM does not know the name or the CPU is below x86-64-v3.
llvm::LogicalResult resolveHostCpu(llvm::StringRef name, HostCpu &cpu,
                                   std::string &error);

/// Resolves a list of such names with commas between them. The CPUs come in the
/// order in which a runtime tries them: those with wider registers first, then
/// those with more features, then as they are listed. Fails as well when a CPU
/// occurs twice.
llvm::LogicalResult resolveHostCpus(llvm::StringRef list,
                                    std::vector<HostCpu> &cpus,
                                    std::string &error);

enum class ArtifactKind { SharedObject, Object, LLVMIR };

/// A module that was lowered for one CPU.
struct ArtifactPart {
  mlir::ModuleOp module;
  HostCpu cpu;
};

struct ArtifactOptions {
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

/// Bytes of the weight sections of lowered modules.
uint64_t getWeightBytes(llvm::ArrayRef<mlir::ModuleOp> modules);

/// Registers what translating to LLVM IR needs.
void registerArtifactTranslations(mlir::DialectRegistry &registry);

/// Writes one model to `path`, lowered for one CPU or, one module each, for
/// several: the runtime uses the first one that fits (layoutWeights laid them
/// out). LLVM IR is for one. Everything that goes wrong is reported to the
/// context's diagnostics; `path` is then untouched.
llvm::LogicalResult writeArtifact(llvm::ArrayRef<ArtifactPart> parts,
                                  llvm::StringRef path,
                                  const ArtifactOptions &options);

} // namespace moe

#endif // MOE_ARTIFACT_H
