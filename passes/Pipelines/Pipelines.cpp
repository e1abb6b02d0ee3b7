//===- Pipelines.cpp - phases of the compiler -----------------------------===//
#include "moe/Pipelines.h"

#include "passes/Experts/Passes.h"
#include "passes/Infer/Passes.h"
#include "passes/Lower/Host/Passes.h"
#include "passes/Raise/Passes.h"
#include "passes/Schedule/Passes.h"
#include "passes/Share/Passes.h"

#include "mlir/Conversion/AffineToStandard/AffineToStandard.h"
#include "mlir/Conversion/ReconcileUnrealizedCasts/ReconcileUnrealizedCasts.h"
#include "mlir/Conversion/SCFToControlFlow/SCFToControlFlow.h"
#include "mlir/Dialect/Affine/IR/AffineOps.h"
#include "mlir/Dialect/Bufferization/Transforms/Passes.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/SCF/Transforms/Passes.h"
#include "mlir/IR/BuiltinOps.h"
#include "mlir/Pass/PassManager.h"
#include "mlir/Pass/PassRegistry.h"
#include "mlir/Transforms/Passes.h"

using namespace mlir;
using namespace moe;

static constexpr llvm::StringLiteral phaseNames[moe::numPhases] = {
    "import", "raise", "optimise", "schedule", "lower", "target"};

llvm::StringRef moe::getPhaseName(Phase phase) {
  return phaseNames[static_cast<unsigned>(phase)];
}

std::optional<moe::Phase> moe::parsePhase(llvm::StringRef name) {
  for (unsigned index = 0; index < numPhases; ++index)
    if (phaseNames[index] == name)
      return static_cast<Phase>(index);
  return std::nullopt;
}

/// `moe-raise`: all that recognises experts in plain nodes, in this order.
static void buildRaisers(OpPassManager &manager) {
  manager.addNestedPass<func::FuncOp>(createRaiseContrib());
  manager.addNestedPass<func::FuncOp>(createRaiseRouters());
  // Forms of experts are told by extents, also those of what is new.
  manager.addNestedPass<func::FuncOp>(createInferShapes());
  manager.addNestedPass<func::FuncOp>(createRaiseExperts());
  manager.addNestedPass<func::FuncOp>(createRaisePooling());
  // Behind routers, whose TopK looks like a choice of tokens.
  manager.addNestedPass<func::FuncOp>(createRaiseTokens());
  manager.addNestedPass<func::FuncOp>(createRaiseNorms());
  manager.addNestedPass<func::FuncOp>(createRaiseAttention());
}

void moe::buildRaisePipeline(OpPassManager &manager, bool plainNodes) {
  if (plainNodes)
    buildRaisers(manager);
  else
    manager.addNestedPass<func::FuncOp>(createRaiseContrib());
  // What raising made has extents to name.
  manager.addNestedPass<func::FuncOp>(createInferShapes());
  manager.addPass(createCanonicalizerPass());
  manager.addPass(createCSEPass());
}

void moe::buildOptimisePipeline(OpPassManager &manager) {
  manager.addPass(createCanonicalizerPass());
  manager.addPass(createCSEPass());
}

void moe::buildSchedulePipeline(OpPassManager &manager) {
  // What layers share is compiled once.
  manager.addPass(createShareLayers());
  manager.addPass(createMoESchedule());
  // What no back end knows runs as plain operators.
  MoEDecomposeOptions fallback;
  fallback.fallback = true;
  manager.addPass(createMoEDecompose(fallback));
  manager.addPass(createCanonicalizerPass());
  manager.addPass(createCSEPass());
}

static void addCleanUp(OpPassManager &manager) {
  manager.addPass(createCanonicalizerPass());
  manager.addPass(createCSEPass());
}

void moe::buildHostLoopsPipeline(OpPassManager &manager,
                                 const HostPipelineOptions &options) {

  // Tensors: fusion sees constants before large ones turn opaque.
  addCleanUp(manager);
  manager.addNestedPass<func::FuncOp>(createHostDensePass());
  manager.addNestedPass<func::FuncOp>(createHostFusePass());
  manager.addPass(createHostPreparePass());
  addCleanUp(manager);

  // Buffers. Results are settled before frees are placed, frees before linalg
  // operations fall apart into loops.
  manager.addPass(bufferization::createEmptyTensorEliminationPass());
  bufferization::OneShotBufferizePassOptions bufferize;
  bufferize.bufferizeFunctionBoundaries = true;
  bufferize.functionBoundaryTypeConversion =
      bufferization::LayoutMapOption::IdentityLayoutMap;
  bufferize.allowReturnAllocsFromLoops = true;
  manager.addPass(bufferization::createOneShotBufferizePass(bufferize));
  addCleanUp(manager);
  manager.addNestedPass<func::FuncOp>(createHostResultsPass());
  if (options.profile)
    manager.addPass(createProfilePointsPass());
  ExpandGroupedPassOptions grouped;
  grouped.vectorBits = options.vectorBits;
  grouped.integerDot = options.integerDot;
  grouped.bfloatDot = options.bfloatDot;
  grouped.activations = options.activations;
  manager.addPass(createExpandGroupedPass(grouped));
  manager.addNestedPass<func::FuncOp>(createHostDeallocPass());

  // Loops.
  LinalgToRtPassOptions loops;
  loops.grain = options.grain;
  loops.vectorBits = options.vectorBits;
  manager.addNestedPass<func::FuncOp>(createLinalgToRtPass(loops));
  manager.addNestedPass<func::FuncOp>(createForallToForLoopPass());
  addCleanUp(manager);
  manager.addNestedPass<func::FuncOp>(createExpandMathPass());
}

void moe::buildHostCodePipeline(OpPassManager &manager) {
  manager.addPass(createExpandMetadataPass());
  manager.addPass(createLowerAffinePass());
  addCleanUp(manager);
  manager.addPass(createSCFToControlFlowPass());

  // LLVM. Folding what the descriptors consist of comes before outlining, so
  // that parallel bodies capture the few values that they use.
  manager.addPass(createHostFunctionsPass());
  manager.addPass(createHostToLLVMPass());
  manager.addPass(createReconcileUnrealizedCastsPass());
  addCleanUp(manager);
  manager.addPass(createOutlineParallelPass());
  manager.addPass(createEmitEntriesPass());
}

void moe::buildHostPipeline(OpPassManager &manager,
                            const HostPipelineOptions &options) {
  buildHostLoopsPipeline(manager, options);
  manager.addPass(createLayoutWeightsPass());
  buildHostCodePipeline(manager);
}

void moe::registerPipelines() {
  PassPipelineRegistration<>(
      "moe-raise",
      "Recognise experts, routers, attention, norms, pools and token "
      "selections "
      "in plain ONNX: shape inference and all passes moe-raise-*",
      [](OpPassManager &manager) {
        // A model in a file need not say which extents are equal.
        manager.addNestedPass<func::FuncOp>(createInferShapes());
        buildRaisers(manager);
      });
  PassPipelineRegistration<HostPipelineOptions>(
      "moe-host-pipeline", "From linalg on tensors to the LLVM dialect",
      buildHostPipeline);
}
