//===- Pipelines.h - phases of the compiler ---------------------*- C++ -*-===//
//
// The order of passes, phase by phase. moe-compile runs the phases one after
// the other; moe-opt knows them as pipelines.
//
//===----------------------------------------------------------------------===//
#ifndef MOE_PIPELINES_H
#define MOE_PIPELINES_H

#include "moe/Activations.h"

#include "mlir/Pass/PassOptions.h"
#include "llvm/ADT/StringRef.h"
#include <optional>

namespace mlir {
class OpPassManager;
} // namespace mlir

namespace moe {

/// The phases of a compilation, in order. Each ends at a form of the IR that
/// can be printed and read back.
enum class Phase {
  Import,   // ONNX, one op per node
  Raise,    // experts, routers and attention recognised
  Optimise, // rewritten
  Schedule, // how they run
  Lower,    // LLVM dialect
  Target,   // the artifact
};
inline constexpr unsigned numPhases = 6;

/// The phase's name on the command line.
llvm::StringRef getPhaseName(Phase phase);
std::optional<Phase> parsePhase(llvm::StringRef name);

/// Options of the host pipeline.
struct HostPipelineOptions : mlir::PassPipelineOptions<HostPipelineOptions> {
  Option<unsigned> vectorBits{
      *this, "vector-bits",
      llvm::cl::desc("Width of the target's vector registers"),
      llvm::cl::init(256)};
  Option<bool> integerDot{
      *this, "integer-dot",
      llvm::cl::desc("Whether the target multiplies bytes and adds up"),
      llvm::cl::init(false)};
  Option<bool> bfloatDot{
      *this, "bfloat-dot",
      llvm::cl::desc("Whether the target multiplies pairs of bf16"),
      llvm::cl::init(false)};
  Option<Activations> activations{
      *this, "activations",
      llvm::cl::desc("How exact activations beside weights of fewer bits stay"),
      llvm::cl::init(Activations::Exact),
      llvm::cl::values(
          clEnumValN(Activations::F32, "f32", "f32 arithmetic"),
          clEnumValN(Activations::Exact, "exact", "as exact as f32"),
          clEnumValN(Activations::Close, "close", "errors below 1e-4"),
          clEnumValN(Activations::Rounded, "rounded",
                     "rounded to 8 bits beside codes, to bf16 beside bf16"))};
  Option<int64_t> grain{
      *this, "grain",
      llvm::cl::desc("Scalar operations of a parallel task, at least"),
      llvm::cl::init(65536)};
  Option<bool> profile{
      *this, "profile",
      llvm::cl::desc("Tell a profile when operations begin and end"),
      llvm::cl::init(false)};
};

/// What raises, optimises or schedules: passes on ONNX and moe operations.
/// Raising of operators that are experts by name always takes place; without
/// `plainNodes` nothing is recognised in plain nodes.
void buildRaisePipeline(mlir::OpPassManager &manager, bool plainNodes = true);
void buildOptimisePipeline(mlir::OpPassManager &manager);
void buildSchedulePipeline(mlir::OpPassManager &manager);

/// From linalg on tensors (what `onnx-to-linalg` makes) to the LLVM dialect.
void buildHostPipeline(mlir::OpPassManager &manager,
                       const HostPipelineOptions &options);
/// Its parts in front of moe-layout-weights and behind it: modules that go into
/// one artifact are laid out together in between.
void buildHostLoopsPipeline(mlir::OpPassManager &manager,
                            const HostPipelineOptions &options);
void buildHostCodePipeline(mlir::OpPassManager &manager);

/// Makes the pipelines known under their names, such as moe-host-pipeline.
void registerPipelines();

} // namespace moe

#endif // MOE_PIPELINES_H
