//===- LayoutWeights.cpp - place constants in a weight section ------------===//
//
// Constants are laid out in the order in which the code meets them, so that a
// run walks the section once. The module remembers where each one lies; the
// artifact writer streams the bytes from there.
//
//===----------------------------------------------------------------------===//
#include "dialects/Rt/RtDialect.h"
#include "passes/Lower/Host/Passes.h"

#include "mlir/IR/BuiltinOps.h"
#include "llvm/ADT/DenseMap.h"
#include "llvm/Support/MathExtras.h"

namespace moe {
#define GEN_PASS_DEF_LAYOUTWEIGHTSPASS
#include "passes/Lower/Host/Passes.h.inc"
} // namespace moe

using namespace mlir;

namespace {

/// Offsets of constants, in bytes: a cache line, which is also the widest
/// vector register.
constexpr uint64_t weightAlignment = 64;

struct LayoutWeightsPass : moe::impl::LayoutWeightsPassBase<LayoutWeightsPass> {
  using LayoutWeightsPassBase::LayoutWeightsPassBase;

  void runOnOperation() override {
    Builder attributes(&getContext());
    llvm::DenseMap<Attribute, int64_t> offsets;
    SmallVector<Attribute> layout;
    uint64_t end = 0;
    getOperation().walk([&](moe::rt::ConstantOp op) {
      auto [position, isNew] = offsets.try_emplace(op.getValue(), 0);
      if (isNew) {
        uint64_t offset = llvm::alignTo(end, weightAlignment);
        end = offset + moe::rt::getByteSize(op.getValue());
        position->second = offset;
        layout.push_back(attributes.getDictionaryAttr({
            attributes.getNamedAttr("offset",
                                    attributes.getI64IntegerAttr(offset)),
            attributes.getNamedAttr("value", op.getValue()),
        }));
      }
      OpBuilder builder(op);
      auto weight = moe::rt::WeightOp::create(builder, op.getLoc(),
                                              op.getType(), /*section=*/0,
                                              position->second);
      op.replaceAllUsesWith(weight.getResult());
      op.erase();
    });
    if (!layout.empty())
      getOperation()->setAttr("rt.weights", attributes.getArrayAttr(layout));
  }
};

} // namespace
