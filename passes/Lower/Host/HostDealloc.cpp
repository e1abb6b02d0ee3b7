//===- HostDealloc.cpp - free buffers after their last use ----------------===//
//
// For each allocation: all values that may refer to its memory (MLIR's buffer
// view flow analysis), and for each user of those the operation of the
// allocating block that contains it. If each user is inside that block and none
// is in its terminator, the buffer dies behind the last such operation. What a
// call returns is an allocation of its own (HostResults.cpp).
//
//===----------------------------------------------------------------------===//
#include "passes/Lower/Host/Passes.h"

#include "mlir/Dialect/Bufferization/Transforms/BufferViewFlowAnalysis.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"

namespace moe {
#define GEN_PASS_DEF_HOSTDEALLOCPASS
#include "passes/Lower/Host/Passes.h.inc"
} // namespace moe

using namespace mlir;

namespace {

struct HostDeallocPass : moe::impl::HostDeallocPassBase<HostDeallocPass> {
  using HostDeallocPassBase::HostDeallocPassBase;

  /// The operation of `alloc`'s block behind which its memory is dead, or null
  /// if it leaves the block or is freed already.
  static Operation *findLastUse(Value alloc,
                                const BufferViewFlowAnalysis &views) {
    Block *block = alloc.getParentBlock();
    Operation *last = alloc.getDefiningOp();
    for (Value view : views.resolve(alloc))
      for (Operation *user : view.getUsers()) {
        Operation *ancestor = block->findAncestorOpInBlock(*user);
        if (!ancestor || ancestor->hasTrait<OpTrait::IsTerminator>() ||
            isa<memref::DeallocOp>(user))
          return nullptr;
        if (last->isBeforeInBlock(ancestor))
          last = ancestor;
      }
    return last;
  }

  void runOnOperation() override {
    BufferViewFlowAnalysis views(getOperation());
    SmallVector<std::pair<Value, Operation *>> deaths;
    getOperation().walk([&](Operation *op) {
      if (!isa<memref::AllocOp, func::CallOp>(op))
        return;
      for (Value buffer : op->getResults()) {
        if (!isa<MemRefType>(buffer.getType()))
          continue;
        if (Operation *last = findLastUse(buffer, views))
          deaths.push_back({buffer, last});
        else
          ++numKept;
      }
    });
    for (auto [alloc, last] : deaths) {
      OpBuilder builder(last->getContext());
      builder.setInsertionPointAfter(last);
      memref::DeallocOp::create(builder, alloc.getLoc(), alloc);
      ++numFreed;
    }
  }
};

} // namespace
