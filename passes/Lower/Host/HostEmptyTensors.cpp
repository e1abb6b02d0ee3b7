//===- HostEmptyTensors.cpp - compute values where they are stored --------===//
#include "passes/Lower/Host/Passes.h"

#include "mlir/Dialect/Bufferization/IR/Bufferization.h"
#include "mlir/Dialect/Bufferization/Transforms/Transforms.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/IR/BuiltinOps.h"
#include "mlir/IR/PatternMatch.h"

namespace moe {
#define GEN_PASS_DEF_HOSTEMPTYTENSORSPASS
#include "passes/Lower/Host/Passes.h.inc"
} // namespace moe

using namespace mlir;

namespace {

struct HostEmptyTensorsPass
    : moe::impl::HostEmptyTensorsPassBase<HostEmptyTensorsPass> {
  using HostEmptyTensorsPassBase::HostEmptyTensorsPassBase;

  void runOnOperation() override {
    bool carriesState =
        getOperation()
            .walk([](bufferization::MaterializeInDestinationOp) {
              return WalkResult::interrupt();
            })
            .wasInterrupted();
    if (carriesState)
      return;
    IRRewriter rewriter(&getContext());
    if (failed(bufferization::eliminateEmptyTensors(rewriter, getOperation())))
      signalPassFailure();
  }
};

} // namespace
