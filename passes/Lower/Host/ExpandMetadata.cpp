//===- ExpandMetadata.cpp - views as offsets, sizes and strides -----------===//
//
// Upstream's pass gives up after a fixed number of sweeps over the function. A
// model's chains of views have no such bound, so the same patterns run here
// until nothing changes. They also cannot expand one extent into several that
// only the run knows (MLIR 22 reads an attribute that is not there), so such
// expansions are rewritten first.
//
//===----------------------------------------------------------------------===//
#include "passes/Lower/Host/Passes.h"

#include "mlir/Dialect/Affine/IR/AffineOps.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Arith/Utils/Utils.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/MemRef/Transforms/Transforms.h"
#include "mlir/Transforms/GreedyPatternRewriteDriver.h"

namespace moe {
#define GEN_PASS_DEF_EXPANDMETADATAPASS
#include "passes/Lower/Host/Passes.h.inc"
} // namespace moe

using namespace mlir;

/// Whether one dim of the source becomes several of unknown extent.
static bool hasSeveralUnknown(memref::ExpandShapeOp op) {
  MemRefType type = op.getResultType();
  return llvm::any_of(op.getReassociationIndices(), [&](const auto &group) {
    return llvm::count_if(group, [&](int64_t dim) {
             return type.isDynamicDim(dim);
           }) > 1;
  });
}

/// The view as one cast: within a group each stride is the next one times the
/// next extent, and the last one is that of the source.
static void rewrite(memref::ExpandShapeOp op) {
  OpBuilder b(op);
  Location loc = op.getLoc();
  auto source = memref::ExtractStridedMetadataOp::create(b, loc, op.getSrc());
  MemRefType type = op.getResultType();
  auto [typeStrides, typeOffset] = type.getStridesAndOffset();
  SmallVector<OpFoldResult> sizes = op.getMixedOutputShape();
  SmallVector<OpFoldResult> strides(sizes.size());
  auto value = [&](OpFoldResult v) {
    return getValueOrCreateConstantIndexOp(b, loc, v);
  };
  for (auto [sourceDim, group] :
       llvm::enumerate(op.getReassociationIndices())) {
    OpFoldResult stride = source.getStrides()[sourceDim];
    for (int64_t dim : llvm::reverse(group)) {
      if (!ShapedType::isDynamic(typeStrides[dim]))
        stride = b.getIndexAttr(typeStrides[dim]);
      strides[dim] = stride;
      stride = arith::MulIOp::create(b, loc, value(stride), value(sizes[dim]))
                   .getResult();
    }
  }
  OpFoldResult offset = source.getOffset();
  if (!ShapedType::isDynamic(typeOffset))
    offset = b.getIndexAttr(typeOffset);
  Value cast = memref::ReinterpretCastOp::create(
      b, loc, type, source.getBaseBuffer(), offset, sizes, strides);
  op.replaceAllUsesWith(cast);
  op.erase();
}

namespace {
struct ExpandMetadataPass
    : moe::impl::ExpandMetadataPassBase<ExpandMetadataPass> {
  void runOnOperation() override {
    SmallVector<memref::ExpandShapeOp> expansions;
    getOperation().walk([&](memref::ExpandShapeOp op) {
      if (hasSeveralUnknown(op))
        expansions.push_back(op);
    });
    llvm::for_each(expansions, rewrite);

    RewritePatternSet patterns(&getContext());
    memref::populateExpandStridedMetadataPatterns(patterns);
    GreedyRewriteConfig config;
    config.setMaxIterations(GreedyRewriteConfig::kNoLimit);
    if (failed(applyPatternsGreedily(getOperation(), std::move(patterns),
                                     config)))
      signalPassFailure();
  }
};
} // namespace
