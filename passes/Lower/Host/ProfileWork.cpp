//===- ProfileWork.cpp - how much work operations are ---------------------===//
#include "passes/Lower/Host/ProfileWork.h"

#include "dialects/MoE/MoEDialect.h"
#include "dialects/Rt/RtDialect.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Utils/StaticValueUtils.h"
#include "mlir/IR/Matchers.h"
#include "llvm/ADT/TypeSwitch.h"

using namespace mlir;
using namespace moe;

bool moe::hasOwnWork(Operation *op) {
  return isa<linalg::LinalgOp, memref::CopyOp>(op) ||
         (isa_and_present<ir::MoEDialect>(op->getDialect()) &&
          !op->hasTrait<OpTrait::IsTerminator>());
}

/// Floating-point operations that `op` itself is.
static int64_t countFlops(Operation *op) {
  if (op->getNumResults() != 1)
    return 0;
  Type type = op->getResult(0).getType();
  if (!isa<FloatType>(getElementTypeOrSelf(type)))
    return 0;
  int64_t each = 0;
  if (isa<math::FmaOp>(op))
    each = 2;
  else if (isa_and_present<math::MathDialect>(op->getDialect()) ||
           isa<arith::AddFOp, arith::SubFOp, arith::MulFOp, arith::DivFOp,
               arith::RemFOp, arith::NegFOp, arith::MaximumFOp,
               arith::MinimumFOp, arith::MaxNumFOp, arith::MinNumFOp>(op))
    each = 1;
  auto vector = dyn_cast<VectorType>(type);
  return vector ? each * vector.getNumElements() : each;
}

/// Floating-point operations of one run of `block`.
static int64_t countFlops(Block &block) {
  int64_t flops = 0;
  block.walk([&](Operation *op) { flops += countFlops(op); });
  return flops;
}

WorkCounter::WorkCounter(OpBuilder &builder, Location loc)
    : b(builder), loc(loc), flops(constant(0)), bytes(constant(0)) {}

//===----------------------------------------------------------------------===//
// Arithmetic
//===----------------------------------------------------------------------===//

Value WorkCounter::constant(int64_t value) {
  return arith::ConstantIndexOp::create(b, loc, value);
}
Value WorkCounter::plus(Value x, Value y) {
  return b.createOrFold<arith::AddIOp>(loc, x, y);
}
Value WorkCounter::times(Value x, Value y) {
  return b.createOrFold<arith::MulIOp>(loc, x, y);
}

Value WorkCounter::extent(Value buffer, int64_t dim) {
  return b.createOrFold<memref::DimOp>(loc, buffer, dim);
}

/// Bytes of the elements of a buffer; 0 for other values.
Value WorkCounter::size(Value buffer) {
  auto type = dyn_cast<MemRefType>(buffer.getType());
  if (!type)
    return constant(0);
  Value bytes = constant(rt::getElementBytes(type.getElementType()));
  for (int64_t dim = 0; dim < type.getRank(); ++dim)
    bytes = times(bytes, extent(buffer, dim));
  return bytes;
}

/// The sum of `term` for 0 up to `count`, by a loop.
Value WorkCounter::sumOf(Value count, function_ref<Value(Value)> term) {
  auto loop = scf::ForOp::create(b, loc, constant(0), count, constant(1),
                                 ValueRange{constant(0)});
  OpBuilder::InsertionGuard guard(b);
  b.setInsertionPointToStart(loop.getBody());
  Value sum = plus(loop.getRegionIterArg(0), term(loop.getInductionVar()));
  scf::YieldOp::create(b, loc, sum);
  return loop.getResult(0);
}

Value WorkCounter::getFlops() {
  return arith::IndexCastOp::create(b, loc, b.getI64Type(), flops);
}
Value WorkCounter::getBytes() {
  return arith::IndexCastOp::create(b, loc, b.getI64Type(), bytes);
}

void WorkCounter::addBuffers(ValueRange buffers) {
  for (Value buffer : buffers)
    bytes = plus(bytes, size(buffer));
}

//===----------------------------------------------------------------------===//
// Statements
//===----------------------------------------------------------------------===//

/// How often the body of `loop` runs, if that can be computed outside of `top`.
std::optional<Value> WorkCounter::countTrips(Operation *loop, Operation *top) {
  auto outside = [&](OpFoldResult bound) -> Value {
    if (std::optional<int64_t> known = getConstantIntValue(bound))
      return constant(*known);
    auto value = cast<Value>(bound);
    Operation *owner = value.getParentBlock()->getParentOp();
    return top->isAncestor(owner) ? Value() : value;
  };
  auto range = cast<LoopLikeOpInterface>(loop);
  auto lower = range.getLoopLowerBounds(), upper = range.getLoopUpperBounds(),
       step = range.getLoopSteps();
  if (!lower || !upper || !step)
    return std::nullopt;
  Value trips = constant(1);
  for (auto [from, to, by] : llvm::zip(*lower, *upper, *step)) {
    Value first = outside(from), last = outside(to), stride = outside(by);
    if (!first || !last || !stride || !first.getType().isIndex())
      return std::nullopt;
    Value length = b.createOrFold<arith::SubIOp>(loc, last, first);
    length = b.createOrFold<arith::MaxSIOp>(loc, length, constant(0));
    trips =
        times(trips, b.createOrFold<arith::CeilDivSIOp>(loc, length, stride));
  }
  return trips;
}

void WorkCounter::addStatement(Operation *op, Value trips, Operation *top,
                               int64_t &flopsOfOne, int64_t &bytesOfOne) {
  flopsOfOne += countFlops(op);
  if (auto load = dyn_cast<memref::LoadOp>(op))
    bytesOfOne += rt::getElementBytes(load.getType());
  else if (auto store = dyn_cast<memref::StoreOp>(op))
    bytesOfOne += rt::getElementBytes(store.getValue().getType());
  else if (auto branch = dyn_cast<scf::IfOp>(op))
    for (Region &region : branch->getRegions())
      for (Block &block : region)
        addStatements(block, trips, top);
  if (isa<scf::ForOp, scf::ForallOp>(op))
    if (std::optional<Value> inner = countTrips(op, top))
      addStatements(op->getRegion(0).front(), times(trips, *inner), top);
}

/// Adds what `trips` runs of `block` are. Both sides of a branch count.
void WorkCounter::addStatements(Block &block, Value trips, Operation *top) {
  int64_t flopsOfOne = 0, bytesOfOne = 0;
  for (Operation &op : block)
    if (!hasOwnWork(&op))
      addStatement(&op, trips, top, flopsOfOne, bytesOfOne);
  flops = plus(flops, times(trips, constant(flopsOfOne)));
  bytes = plus(bytes, times(trips, constant(bytesOfOne)));
}

//===----------------------------------------------------------------------===//
// Operations
//===----------------------------------------------------------------------===//

void WorkCounter::addGroupedLinear(Operation *op) {
  auto linear = cast<ir::GroupedLinearOp>(op);
  int64_t sums = linear.isGated() ? 2 : 1;
  int64_t element =
      (2 * linear.getInner() + !linear.getBiases().empty()) * sums +
      countFlops(linear.getEpilogue().front());
  Value experts = constant(linear.getNumExperts());
  Value offsets = linear.getOffsets();
  auto offset = [&](Value expert) -> Value {
    return memref::LoadOp::create(b, loc, offsets, expert);
  };
  Value rows;
  if (offsets) {
    Value end = offset(experts);
    rows = arith::SubIOp::create(b, loc, end, offset(constant(0)));
  } else {
    rows = extent(linear.getRows(), 0);
  }
  flops = plus(flops, times(rows, constant(element * linear.getWidth())));

  auto bytesOf = [](Value buffer) -> int64_t {
    return rt::getElementBytes(
        cast<MemRefType>(buffer.getType()).getElementType());
  };
  bytes =
      plus(bytes,
           times(rows, constant(linear.getInner() * 4 +
                                linear.getWidth() * bytesOf(linear.getOut()))));
  addBuffers(linear.getExtras());

  // Experts without rows are not read.
  Value active = constant(1);
  if (offsets)
    active = sumOf(experts, [&](Value expert) -> Value {
      Value end = offset(plus(expert, constant(1)));
      Value has = arith::CmpIOp::create(b, loc, arith::CmpIPredicate::ugt, end,
                                        offset(expert));
      return arith::IndexCastUIOp::create(b, loc, b.getIndexType(), has);
    });
  int64_t stored = 0;
  auto addStored = [&](ValueRange buffers, bool panels) {
    for (Value buffer : buffers) {
      auto type = cast<MemRefType>(buffer.getType());
      // Panels of f64 are f32.
      int64_t each = bytesOf(buffer);
      stored += type.getNumElements() / type.getDimSize(0) *
                (panels ? std::min<int64_t>(each, 4) : each);
    }
  };
  addStored(linear.getBanks(), true);
  addStored(linear.getScales(), false);
  addStored(linear.getZeros(), false);
  addStored(linear.getBiases(), false);
  bytes = plus(bytes, times(active, constant(stored)));
}

void WorkCounter::addCombine(Operation *op) {
  auto combine = cast<ir::CombineRowsOp>(op);
  Value positions = combine.getPositions();
  Value width = extent(combine.getOut(), 1);
  Value used = sumOf(extent(positions, 0), [&](Value token) {
    return sumOf(extent(positions, 1), [&](Value slot) -> Value {
      Value row =
          memref::LoadOp::create(b, loc, positions, ValueRange{token, slot});
      Value has = arith::CmpIOp::create(b, loc, arith::CmpIPredicate::sge, row,
                                        constant(0));
      return arith::IndexCastUIOp::create(b, loc, b.getIndexType(), has);
    });
  });
  Value terms = times(used, width);
  flops = plus(flops, times(terms, constant(combine.getWeights() ? 2 : 1)));
  bytes = plus(bytes, times(terms, constant(4)));
  addBuffers({positions, combine.getOut()});
  if (combine.getWeights())
    addBuffers(combine.getWeights());
}

/// As if nothing were hidden.
void WorkCounter::addAttend(Operation *op) {
  auto attend = cast<ir::AttendOp>(op);
  auto dim = [&](Value buffer, ArrayRef<int64_t> order, unsigned letter) {
    return extent(buffer, order[letter]);
  };
  Value rows = constant(1);
  for (unsigned letter : {0, 1, 2})
    rows = times(rows, dim(attend.getQuery(), attend.getQueryOrder(), letter));
  Value scores = times(rows, dim(attend.getKey(), attend.getKeyOrder(), 2));
  Value width = plus(dim(attend.getQuery(), attend.getQueryOrder(), 3),
                     dim(attend.getValue(), attend.getValueOrder(), 3));
  flops = plus(flops, times(scores, times(width, constant(2))));
  addBuffers(op->getOperands());
}

void WorkCounter::add(Operation *op) {
  if (auto linear = dyn_cast<linalg::LinalgOp>(op)) {
    Value trips = constant(1);
    for (const Range &range : linear.createLoopRanges(b, loc))
      trips = times(trips, getValueOrCreateConstantIndexOp(b, loc, range.size));
    addStatements(*linear.getBlock(), trips, op);
    addBuffers(op->getOperands());
  } else if (isa<ir::GroupedLinearOp>(op)) {
    addGroupedLinear(op);
  } else if (isa<ir::CombineRowsOp>(op)) {
    addCombine(op);
  } else if (isa<ir::AttendOp>(op)) {
    addAttend(op);
  } else if (hasOwnWork(op)) {
    addBuffers(op->getOperands());
  } else {
    int64_t flopsOfOne = 0, bytesOfOne = 0;
    addStatement(op, constant(1), op, flopsOfOne, bytesOfOne);
    flops = plus(flops, constant(flopsOfOne));
    bytes = plus(bytes, constant(bytesOfOne));
  }
}
