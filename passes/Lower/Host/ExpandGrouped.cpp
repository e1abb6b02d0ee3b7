//===- ExpandGrouped.cpp - products of experts as loops over kernels ------===//

#include "passes/Lower/Host/ExpandAttention.h"
#include "passes/Lower/Host/GroupedLinear.h"
#include "passes/Lower/Host/Passes.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"

namespace moe {
#define GEN_PASS_DEF_EXPANDGROUPEDPASS
#include "passes/Lower/Host/Passes.h.inc"
} // namespace moe

using namespace mlir;
using namespace moe;

namespace {

void expandCombine(ir::CombineRowsOp op, const KernelTile &tile,
                   OpBuilder &builder) {
  Emitter b{builder, op.getLoc()};
  int64_t width = cast<MemRefType>(op.getOut().getType()).getDimSize(1);
  int64_t lanes = tile.lanes;
  auto vector = VectorType::get({lanes}, builder.getF32Type());
  Value rows = op.getRows(), out = op.getOut(), positions = op.getPositions();
  Value zero = b.constant(0);
  Value tokens = memref::DimOp::create(builder, b.loc, out, 0);
  Value slots = memref::DimOp::create(builder, b.loc, positions, 1);
  Value none =
      arith::ConstantOp::create(builder, b.loc, builder.getZeroAttr(vector));

  // The sums of `count` vectors of a token.
  auto sum = [&](Value token, Value column, int64_t count) {
    SmallVector<Value> init(count, none);
    auto loop =
        scf::ForOp::create(builder, b.loc, zero, slots, b.constant(1), init);
    OpBuilder::InsertionGuard guard(builder);
    builder.setInsertionPointToStart(loop.getBody());
    Value slot = loop.getInductionVar();
    ValueRange totals = loop.getRegionIterArgs();
    Value row = b.load(positions, {token, slot});
    Value there = b.compare(arith::CmpIPredicate::sge, row, zero);
    auto branch = scf::IfOp::create(
        builder, b.loc, SmallVector<Type>(count, vector), there, true);
    {
      OpBuilder::InsertionGuard inner(builder);
      builder.setInsertionPointToStart(branch.thenBlock());
      Value weight;
      if (op.getWeights())
        weight = vector::BroadcastOp::create(
            builder, b.loc, vector, b.load(op.getWeights(), {token, slot}));
      SmallVector<Value> next;
      for (int64_t i = 0; i < count; ++i) {
        Value part =
            b.loadVector(vector, rows, {row, b.add(column, i * lanes)});
        if (weight)
          next.push_back(
              vector::FMAOp::create(builder, b.loc, weight, part, totals[i]));
        else
          next.push_back(
              arith::AddFOp::create(builder, b.loc, totals[i], part));
      }
      scf::YieldOp::create(builder, b.loc, next);
      builder.setInsertionPointToStart(branch.elseBlock());
      scf::YieldOp::create(builder, b.loc, totals);
    }
    scf::YieldOp::create(builder, b.loc, branch.getResults());
    return loop.getResults();
  };
  auto columnsFrom = [&](Value token, int64_t from, int64_t to, int64_t count) {
    int64_t step = count * lanes;
    int64_t end = from + (to - from) / step * step;
    if (end > from)
      b.forRange(b.constant(from), b.constant(end), step, [&](Value column) {
        for (auto [i, total] : llvm::enumerate(sum(token, column, count)))
          b.storeVector(total, out, {token, b.add(column, i * lanes)});
      });
    return end;
  };

  int64_t tokensPerTask = std::max<int64_t>(1, 32768 / width);
  b.parallel(b.ceilDiv(tokens, tokensPerTask), nullptr, [&](Value task) {
    Value first = b.mul(task, tokensPerTask);
    Value last = b.min(b.add(first, tokensPerTask), tokens);
    b.forRange(first, last, 1, [&](Value token) {
      int64_t done = columnsFrom(token, 0, width, 4);
      done = columnsFrom(token, done, width, 1);
      if (done == width)
        return;
      auto flags = VectorType::get({lanes}, builder.getI1Type());
      SmallVector<bool> inside(lanes);
      std::fill_n(inside.begin(), width - done, true);
      Value mask = arith::ConstantOp::create(
          builder, b.loc, DenseElementsAttr::get(flags, inside));
      Value column = b.constant(done);
      Value total = sum(token, column, 1)[0];
      vector::MaskedStoreOp::create(builder, b.loc, out,
                                    ValueRange{token, column}, mask, total);
    });
  });
}

struct ExpandGroupedPass : moe::impl::ExpandGroupedPassBase<ExpandGroupedPass> {
  using ExpandGroupedPassBase::ExpandGroupedPassBase;

  void runOnOperation() override {
    MicroKernels kernels(getOperation(), KernelTile(vectorBits), bfloatDot);
    IntegerKernels integers(kernels, integerDot, activations);
    SmallVector<Operation *> ops;
    getOperation().walk([&](Operation *op) {
      if (isa<ir::GroupedLinearOp, ir::CombineRowsOp, ir::AttendOp>(op))
        ops.push_back(op);
    });
    for (Operation *op : ops) {
      OpBuilder builder(op);
      if (auto linear = dyn_cast<ir::GroupedLinearOp>(op)) {
        GroupedLinear expansion(linear, kernels, integers, builder);
        expansion.emit();
        ++numProducts;
        if (expansion.isInteger())
          ++numIntegers;
      } else if (auto attend = dyn_cast<ir::AttendOp>(op)) {
        expandAttention(attend, kernels, builder);
        ++numAttentions;
      } else {
        expandCombine(cast<ir::CombineRowsOp>(op), kernels.tile, builder);
      }
      op->erase();
    }
  }
};

} // namespace
