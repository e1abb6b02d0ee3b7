//===- HostDealloc.cpp - free buffers after their last use ----------------===//
//
// For each allocation: all values that may refer to its memory (MLIR's buffer
// view flow analysis), and for each user of those the operation of the
// allocating block that contains it. If each user is inside that block and none
// is in its terminator, the buffer dies behind the last such operation.
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
  static Operation *findLastUse(memref::AllocOp alloc,
                                const BufferViewFlowAnalysis &views) {
    Block *block = alloc->getBlock();
    Operation *last = alloc;
    for (Value view : views.resolve(alloc.getResult()))
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
    SmallVector<std::pair<memref::AllocOp, Operation *>> deaths;
    getOperation().walk([&](memref::AllocOp alloc) {
      if (Operation *last = findLastUse(alloc, views))
        deaths.push_back({alloc, last});
      else
        ++numKept;
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
