//===- HostResults.cpp - give results buffers of their own ----------------===//
//
// A result's buffer outlives the run, so it has to come from an allocation of
// this run that nothing else holds on to. Reshapes of a whole allocation count
// as the allocation: they start at its address. What a function of the module
// returns is such an allocation too, by this pass.
//
//===----------------------------------------------------------------------===//
#include "passes/Lower/Host/Passes.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "llvm/ADT/DenseSet.h"

namespace moe {
#define GEN_PASS_DEF_HOSTRESULTSPASS
#include "passes/Lower/Host/Passes.h.inc"
} // namespace moe

using namespace mlir;

namespace {

/// The result of an allocation whose whole memory `value` covers in row-major
/// order, or null if that is not known.
Value findAllocation(Value value) {
  while (Operation *op = value.getDefiningOp()) {
    auto type = dyn_cast<MemRefType>(value.getType());
    if (!type || !type.getLayout().isIdentity())
      return nullptr;
    if (isa<memref::AllocOp, func::CallOp>(op))
      return value;
    if (!isa<memref::CastOp, memref::ExpandShapeOp, memref::CollapseShapeOp>(
            op))
      return nullptr;
    value = op->getOperand(0);
  }
  return nullptr;
}

struct HostResultsPass : moe::impl::HostResultsPassBase<HostResultsPass> {
  using HostResultsPassBase::HostResultsPassBase;

  void runOnOperation() override {
    getOperation().walk([&](func::ReturnOp op) {
      llvm::SmallDenseSet<Value, 8> taken;
      for (OpOperand &operand : op->getOpOperands()) {
        auto type = dyn_cast<MemRefType>(operand.get().getType());
        if (!type)
          continue;
        Value alloc = findAllocation(operand.get());
        if (alloc && alloc.getParentBlock() == op->getBlock() &&
            taken.insert(alloc).second)
          continue;

        OpBuilder builder(op);
        SmallVector<Value> extents;
        for (int64_t dim = 0; dim < type.getRank(); ++dim)
          if (type.isDynamicDim(dim))
            extents.push_back(memref::DimOp::create(builder, op.getLoc(),
                                                    operand.get(), dim));
        auto copy = memref::AllocOp::create(
            builder, op.getLoc(),
            MemRefType::get(type.getShape(), type.getElementType()), extents);
        memref::CopyOp::create(builder, op.getLoc(), operand.get(), copy);
        taken.insert(copy);
        operand.set(copy);
        ++numCopies;
      }
    });
  }
};

} // namespace
