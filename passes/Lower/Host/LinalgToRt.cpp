//===- LinalgToRt.cpp - linalg on buffers to loops and tasks --------------===//
//
// Divides each operation's iteration space into tasks of about `grain` scalar
// operations. A task is a range of the outer parallel dimensions, taken as one
// sequence, times a block of rows times a block of columns. Block sizes are
// computed from the extents at run time, the same for any number of threads.
// Operations that are known to be smaller than one task run in place.
//
//===----------------------------------------------------------------------===//
#include "dialects/Rt/RtDialect.h"
#include "passes/Lower/Host/LoopNest.h"
#include "passes/Lower/Host/Passes.h"

#include "mlir/Dialect/Affine/IR/AffineOps.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/Dialect/Linalg/Transforms/Transforms.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Utils/StaticValueUtils.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"
#include "mlir/IR/PatternMatch.h"

namespace moe {
#define GEN_PASS_DEF_LINALGTORTPASS
#include "passes/Lower/Host/Passes.h.inc"
} // namespace moe

using namespace mlir;
using namespace moe;

namespace {

/// Scalar operations that one run of the payload is worth.
int64_t getPayloadCost(linalg::LinalgOp op, const LoopNest &nest) {
  int64_t cost = 1;
  for (Operation &inner : op.getBlock()->without_terminator()) {
    if (isa_and_present<math::MathDialect>(inner.getDialect()))
      cost += 16;
    else if (isa<arith::DivFOp, arith::DivSIOp, arith::RemSIOp, arith::RemFOp,
                 memref::LoadOp>(inner))
      cost += 4;
    else if (!isa<arith::ConstantOp, linalg::IndexOp>(inner))
      cost += 1;
  }
  // Vectors that stay in registers are several times faster than loops over
  // memory.
  if (nest.form != LoopNest::Form::Scalar)
    return std::max<int64_t>(1, cost / 4);
  return cost;
}

/// Arithmetic on extents, folded where they are known.
struct Sizes {
  OpBuilder &builder;
  Location loc;

  Value constant(int64_t value) {
    return arith::ConstantIndexOp::create(builder, loc, value);
  }
  static std::optional<int64_t> known(Value value) {
    return getConstantIntValue(value);
  }
  Value mul(Value a, Value b) {
    auto left = known(a), right = known(b);
    if (left && right)
      return constant(*left * *right);
    if (left && *left == 1)
      return b;
    if (right && *right == 1)
      return a;
    return arith::MulIOp::create(builder, loc, a, b);
  }
  Value min(Value a, Value b) {
    auto left = known(a), right = known(b);
    if (left && right)
      return constant(std::min(*left, *right));
    return arith::MinUIOp::create(builder, loc, a, b);
  }
  Value max(Value a, Value b) {
    auto left = known(a), right = known(b);
    if (left && right)
      return constant(std::max(*left, *right));
    return arith::MaxUIOp::create(builder, loc, a, b);
  }
  /// ceil(a / b) for b > 0.
  Value ceilDiv(Value a, Value b) {
    auto left = known(a), right = known(b);
    if (right && *right == 1)
      return a;
    if (left && right)
      return constant((*left + *right - 1) / *right);
    Value sum = arith::AddIOp::create(
        builder, loc, a,
        arith::SubIOp::create(builder, loc, b, constant(1)));
    return arith::DivUIOp::create(builder, loc, sum, b);
  }
  /// A block of about `wanted` out of `extent`: a multiple of `multiple`
  /// unless it is everything.
  Value block(Value wanted, Value extent, int64_t multiple) {
    Value rounded =
        mul(ceilDiv(wanted, constant(multiple)), constant(multiple));
    return max(min(rounded, extent), constant(1));
  }
};

/// Copies between buffers become loops like everything else.
void generaliseCopies(func::FuncOp function, IRRewriter &rewriter) {
  SmallVector<memref::CopyOp> copies;
  function.walk([&](memref::CopyOp op) { copies.push_back(op); });
  for (memref::CopyOp op : copies) {
    rewriter.setInsertionPoint(op);
    linalg::makeMemRefCopyOp(rewriter, op.getLoc(), op.getSource(),
                             op.getTarget());
    rewriter.eraseOp(op);
  }
}

/// Views buffers of an elementwise operation that walks all of them in
/// row-major order as one-dimensional, so that the loop is as long as can be.
void collapseElementwise(linalg::LinalgOp &op, IRRewriter &rewriter) {
  unsigned rank = op.getNumLoops();
  if (rank < 2 || op.getNumReductionLoops() ||
      !op.getBlock()->getOps<linalg::IndexOp>().empty())
    return;
  for (OpOperand &operand : op->getOpOperands()) {
    AffineMap map = op.getMatchingIndexingMap(&operand);
    auto type = dyn_cast<MemRefType>(operand.get().getType());
    if (!type) {
      if (isa<ShapedType>(operand.get().getType()))
        return;
      continue;
    }
    if (map.getNumResults() == 0)
      continue;
    if (!map.isIdentity() || !type.getLayout().isIdentity())
      return;
  }

  rewriter.setInsertionPoint(op);
  MLIRContext *context = op.getContext();
  SmallVector<ReassociationIndices> all(1);
  llvm::append_range(all.front(), llvm::seq<int64_t>(0, rank));
  SmallVector<Value> inputs, outputs;
  SmallVector<AffineMap> maps;
  for (OpOperand &operand : op->getOpOperands()) {
    Value value = operand.get();
    bool flat = op.getMatchingIndexingMap(&operand).getNumResults() > 0;
    if (flat)
      value = memref::CollapseShapeOp::create(rewriter, op.getLoc(), value,
                                              all);
    maps.push_back(flat ? AffineMap::getMultiDimIdentityMap(1, context)
                        : AffineMap::get(1, 0, context));
    (op.isDpsInput(&operand) ? inputs : outputs).push_back(value);
  }
  auto collapsed = linalg::GenericOp::create(
      rewriter, op.getLoc(), TypeRange{}, inputs, outputs, maps,
      ArrayRef(utils::IteratorType::parallel));
  rewriter.inlineRegionBefore(op->getRegion(0), collapsed.getRegion(),
                              collapsed.getRegion().begin());
  rewriter.eraseOp(op);
  op = cast<linalg::LinalgOp>(collapsed.getOperation());
}

struct LinalgToRtPass : moe::impl::LinalgToRtPassBase<LinalgToRtPass> {
  using LinalgToRtPassBase::LinalgToRtPassBase;

  void lower(linalg::LinalgOp op, IRRewriter &rewriter) {
    Location loc = op.getLoc();
    rewriter.setInsertionPoint(op);
    Sizes sizes{rewriter, loc};
    SmallVector<Value> extents;
    for (const Range &range : op.createLoopRanges(rewriter, loc))
      extents.push_back(
          getValueOrCreateConstantIndexOp(rewriter, loc, range.size));

    LoopNest nest(op, vectorBits);
    Value zero = sizes.constant(0), one = sizes.constant(1);
    Value numOuter = one;
    for (unsigned dim : nest.outer)
      numOuter = sizes.mul(numOuter, extents[dim]);
    Value numRows = nest.row < 0 ? one : extents[nest.row];
    Value numColumns = nest.column < 0 ? one : extents[nest.column];
    Value work = sizes.constant(getPayloadCost(op, nest));
    for (unsigned dim : nest.sequential)
      work = sizes.mul(work, extents[dim]);
    work = sizes.max(work, one);

    Value all = sizes.mul(sizes.mul(work, numColumns),
                          sizes.mul(numRows, numOuter));
    bool insideLoop = op->getParentOfType<rt::ParallelForOp>() != nullptr;
    if (nest.column < 0 || insideLoop ||
        (Sizes::known(all) && *Sizes::known(all) <= grain)) {
      nest.emit(rewriter, {zero, numOuter}, {zero, numRows},
                {zero, numColumns}, extents);
      ++numSerial;
      return;
    }

    // Columns first, in whole vectors of the widest tile, then rows, then the
    // outer sequence: each takes what still lacks to `grain`.
    Value grainSize = sizes.constant(grain);
    Value sharing = sizes.max(sizes.min(numRows, sizes.constant(8)), one);
    Value columnBlock =
        sizes.block(sizes.ceilDiv(grainSize, sizes.mul(work, sharing)),
                    numColumns, /*multiple=*/64);
    work = sizes.mul(work, columnBlock);
    Value rowBlock =
        sizes.block(sizes.ceilDiv(grainSize, work), numRows, /*multiple=*/8);
    work = sizes.mul(work, rowBlock);
    Value outerBlock =
        sizes.block(sizes.ceilDiv(grainSize, work), numOuter, /*multiple=*/1);

    Value rowTasks = sizes.ceilDiv(numRows, rowBlock);
    Value columnTasks = sizes.ceilDiv(numColumns, columnBlock);
    Value outerTasks = sizes.ceilDiv(numOuter, outerBlock);
    Value count =
        sizes.mul(outerTasks, sizes.mul(columnTasks, rowTasks));
    Value count64 = arith::IndexCastOp::create(
        rewriter, loc, rewriter.getI64Type(), count);

    auto parallel = rt::ParallelForOp::create(rewriter, loc, count64);
    ++numParallel;
    Block *body = rewriter.createBlock(
        &parallel.getBody(), {},
        {rewriter.getI64Type(), rewriter.getI64Type()}, {loc, loc});
    Value begin = arith::IndexCastOp::create(
        rewriter, loc, rewriter.getIndexType(), body->getArgument(0));
    Value end = arith::IndexCastOp::create(
        rewriter, loc, rewriter.getIndexType(), body->getArgument(1));
    Value step = sizes.constant(1);
    auto loop = scf::ForOp::create(rewriter, loc, begin, end, step);
    rt::YieldOp::create(rewriter, loc);

    rewriter.setInsertionPointToStart(loop.getBody());
    auto blockOf = [&](Value number, Value block, Value extent,
                       Value tasks) -> IndexRange {
      if (Sizes::known(tasks) == 1)
        return {sizes.constant(0), extent};
      Value from = sizes.mul(number, block);
      Value to = arith::AddIOp::create(rewriter, loc, from, block);
      return {from, sizes.min(to, extent)};
    };
    auto split = [&](Value &number, Value tasks) -> Value {
      if (Sizes::known(tasks) == 1)
        return sizes.constant(0);
      Value low = arith::RemUIOp::create(rewriter, loc, number, tasks);
      number = arith::DivUIOp::create(rewriter, loc, number, tasks);
      return low;
    };
    Value number = loop.getInductionVar();
    Value rowNumber = split(number, rowTasks);
    Value columnNumber = split(number, columnTasks);
    nest.emit(rewriter, blockOf(number, outerBlock, numOuter, outerTasks),
              blockOf(rowNumber, rowBlock, numRows, rowTasks),
              blockOf(columnNumber, columnBlock, numColumns, columnTasks),
              extents);
  }

  void runOnOperation() override {
    IRRewriter rewriter(&getContext());
    generaliseCopies(getOperation(), rewriter);

    SmallVector<linalg::LinalgOp> ops;
    getOperation().walk([&](linalg::LinalgOp op) { ops.push_back(op); });
    for (linalg::LinalgOp op : ops) {
      if (!op.hasPureBufferSemantics()) {
        op.emitError("must be bufferised before it is lowered to loops");
        return signalPassFailure();
      }
      collapseElementwise(op, rewriter);
      lower(op, rewriter);
      rewriter.eraseOp(op);
    }
  }
};

} // namespace
