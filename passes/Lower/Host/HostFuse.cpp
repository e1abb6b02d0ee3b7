//===- HostFuse.cpp - fuse elementwise operations on tensors --------------===//
//
// Drives MLIR's elementwise fusion with a cost rule: a producer moves into its
// consumer when no element is then computed more often than before, or when
// computing it costs no more than loading it. So softmax's exp is not repeated
// by the division that follows, while casts, transpositions and broadcasts
// disappear into whatever reads them.
//
//===----------------------------------------------------------------------===//
#include "passes/Lower/Host/Passes.h"

#include "mlir/Dialect/Affine/IR/AffineOps.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/Dialect/Linalg/Transforms/Transforms.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/Transforms/GreedyPatternRewriteDriver.h"

namespace moe {
#define GEN_PASS_DEF_HOSTFUSEPASS
#include "passes/Lower/Host/Passes.h.inc"
} // namespace moe

using namespace mlir;

namespace {

/// Whether computing an element of `op` costs about as much as loading it.
bool isCheap(linalg::GenericOp op) {
  unsigned arithmetic = 0;
  for (Operation &inner : op.getBody()->without_terminator()) {
    if (isa<arith::ConstantOp>(inner))
      continue;
    if (!isa<arith::ExtFOp, arith::TruncFOp, arith::ExtSIOp, arith::ExtUIOp,
             arith::SIToFPOp, arith::UIToFPOp, arith::AddFOp, arith::SubFOp,
             arith::MulFOp, arith::NegFOp, arith::AddIOp, arith::SubIOp,
             arith::MulIOp, arith::CmpIOp, arith::CmpFOp, arith::SelectOp,
             arith::AndIOp, arith::OrIOp, arith::XOrIOp>(inner))
      return false;
    if (++arithmetic > 2)
      return false;
  }
  return true;
}

/// Whether `op` only moves data: a transposition, a broadcast, a copy.
bool movesOnly(linalg::GenericOp op) {
  return llvm::hasSingleElement(op.getBody()->getOperations());
}

/// Whether fusing the producer of `operand` into its owner repeats no work.
bool isWorthwhile(OpOperand *operand, unsigned maxOperands) {
  auto producer = operand->get().getDefiningOp<linalg::GenericOp>();
  auto consumer = dyn_cast<linalg::GenericOp>(operand->getOwner());
  if (!producer || !consumer)
    return false;
  if (producer.getNumDpsInputs() + consumer.getNumDpsInputs() >
      static_cast<int64_t>(maxOperands))
    return false;

  bool cheap = isCheap(producer);
  if (!producer->hasOneUse() && !cheap)
    return false;

  AffineMap map = consumer.getMatchingIndexingMap(operand);
  bool readOnce = map.isPermutation();
  if (consumer.getNumReductionLoops()) {
    // Inside a contraction even arithmetic that is cheap breaks the form that
    // the loops are vectorised in; conversions and moves do not.
    if (readOnce)
      return true;
    return movesOnly(producer) ||
           (cheap && llvm::all_of(producer.getBody()->without_terminator(),
                                  [](Operation &inner) {
                                    return isa<CastOpInterface>(inner);
                                  }));
  }
  return readOnce || cheap;
}

struct HostFusePass : moe::impl::HostFusePassBase<HostFusePass> {
  using HostFusePassBase::HostFusePassBase;

  void runOnOperation() override {
    MLIRContext *context = &getContext();
    {
      RewritePatternSet patterns(context);
      linalg::populateLinalgNamedOpsGeneralizationPatterns(patterns);
      if (failed(applyPatternsGreedily(getOperation(), std::move(patterns))))
        return signalPassFailure();
    }
    RewritePatternSet patterns(context);
    linalg::populateElementwiseOpsFusionPatterns(
        patterns, [this](OpOperand *operand) {
          bool fuse = isWorthwhile(operand, maxOperands);
          numFused += fuse;
          return fuse;
        });
    linalg::populateEraseUnusedOperandsAndResultsPatterns(patterns);
    linalg::GenericOp::getCanonicalizationPatterns(patterns, context);
    tensor::ExpandShapeOp::getCanonicalizationPatterns(patterns, context);
    tensor::CollapseShapeOp::getCanonicalizationPatterns(patterns, context);
    tensor::EmptyOp::getCanonicalizationPatterns(patterns, context);
    affine::AffineApplyOp::getCanonicalizationPatterns(patterns, context);
    context->getLoadedDialect<linalg::LinalgDialect>()
        ->getCanonicalizationPatterns(patterns);
    if (failed(applyPatternsGreedily(getOperation(), std::move(patterns),
                                     GreedyRewriteConfig()
                                         .setUseTopDownTraversal(true))))
      return signalPassFailure();
  }
};

} // namespace
