//===- GroupedEmitter.h - short names for what loops are made of -*- C++
//-*-===//
//
// Private to moe-expand-grouped.
//
//===----------------------------------------------------------------------===//
#ifndef MOE_PASSES_LOWER_HOST_GROUPEDEMITTER_H
#define MOE_PASSES_LOWER_HOST_GROUPEDEMITTER_H

#include "dialects/Rt/RtDialect.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"
#include "mlir/IR/Builders.h"

namespace moe {

/// Short names for what the loops are made of.
struct Emitter {
  using Value = mlir::Value;
  using ValueRange = mlir::ValueRange;
  template <typename Fn> using function_ref = llvm::function_ref<Fn>;

  mlir::OpBuilder &b;
  mlir::Location loc;

  Value constant(int64_t v) const {
    return mlir::arith::ConstantIndexOp::create(b, loc, v);
  }
  Value add(Value x, Value y) const {
    return b.createOrFold<mlir::arith::AddIOp>(loc, x, y);
  }
  Value add(Value x, int64_t y) const { return y ? add(x, constant(y)) : x; }
  Value sub(Value x, Value y) const {
    return b.createOrFold<mlir::arith::SubIOp>(loc, x, y);
  }
  Value mul(Value x, Value y) const {
    return b.createOrFold<mlir::arith::MulIOp>(loc, x, y);
  }
  Value mul(Value x, int64_t y) const {
    return y == 1 ? x : mul(x, constant(y));
  }
  Value div(Value x, Value y) const {
    return b.createOrFold<mlir::arith::DivUIOp>(loc, x, y);
  }
  Value div(Value x, int64_t y) const {
    return y == 1 ? x : div(x, constant(y));
  }
  Value rem(Value x, Value y) const {
    return b.createOrFold<mlir::arith::RemUIOp>(loc, x, y);
  }
  Value rem(Value x, int64_t y) const { return rem(x, constant(y)); }
  Value min(Value x, Value y) const {
    return b.createOrFold<mlir::arith::MinUIOp>(loc, x, y);
  }
  Value max(Value x, Value y) const {
    return b.createOrFold<mlir::arith::MaxUIOp>(loc, x, y);
  }
  Value ceilDiv(Value x, int64_t y) const { return div(add(x, y - 1), y); }
  Value compare(mlir::arith::CmpIPredicate predicate, Value x, Value y) const {
    return mlir::arith::CmpIOp::create(b, loc, predicate, x, y);
  }
  Value below(Value x, Value y) const {
    return compare(mlir::arith::CmpIPredicate::ult, x, y);
  }
  Value select(Value condition, Value x, Value y) const {
    return mlir::arith::SelectOp::create(b, loc, condition, x, y);
  }
  Value load(Value buffer, ValueRange at) const {
    return mlir::memref::LoadOp::create(b, loc, buffer, at);
  }
  void store(Value value, Value buffer, ValueRange at) const {
    mlir::memref::StoreOp::create(b, loc, value, buffer, at);
  }
  Value loadVector(mlir::VectorType type, Value buffer, ValueRange at) const {
    return mlir::vector::LoadOp::create(b, loc, type, buffer, at);
  }
  void storeVector(Value value, Value buffer, ValueRange at) const {
    mlir::vector::StoreOp::create(b, loc, value, buffer, at);
  }
  void forRange(Value from, Value to, int64_t step,
                function_ref<void(Value)> body) const {
    auto loop = mlir::scf::ForOp::create(b, loc, from, to, constant(step));
    mlir::OpBuilder::InsertionGuard guard(b);
    b.setInsertionPointToStart(loop.getBody());
    body(loop.getInductionVar());
  }
  void ifElse(Value condition, function_ref<void()> then,
              function_ref<void()> otherwise = nullptr) const {
    auto op = mlir::scf::IfOp::create(b, loc, condition,
                                      static_cast<bool>(otherwise));
    mlir::OpBuilder::InsertionGuard guard(b);
    b.setInsertionPointToStart(op.thenBlock());
    then();
    if (otherwise) {
      b.setInsertionPointToStart(op.elseBlock());
      otherwise();
    }
  }
  /// A parallel loop over [0, count); `prepare` runs once for each range.
  void parallel(Value count, function_ref<void()> prepare,
                function_ref<void(Value)> body) const {
    mlir::Type i64 = b.getI64Type();
    Value count64 = mlir::arith::IndexCastOp::create(b, loc, i64, count);
    auto op = rt::ParallelForOp::create(b, loc, count64);
    mlir::OpBuilder::InsertionGuard guard(b);
    mlir::Block *block =
        b.createBlock(&op.getBody(), {}, {i64, i64}, {loc, loc});
    mlir::Type index = b.getIndexType();
    Value begin =
        mlir::arith::IndexCastOp::create(b, loc, index, block->getArgument(0));
    Value end =
        mlir::arith::IndexCastOp::create(b, loc, index, block->getArgument(1));
    if (prepare)
      prepare();
    forRange(begin, end, 1, body);
    rt::YieldOp::create(b, loc);
  }

  /// A contiguous buffer as one sequence of unknown length.
  Value flat(Value buffer) const {
    auto type = mlir::cast<mlir::MemRefType>(buffer.getType());
    if (type.getRank() > 1) {
      auto all = llvm::to_vector<2>(llvm::seq<int64_t>(0, type.getRank()));
      buffer = mlir::memref::CollapseShapeOp::create(
          b, loc, buffer, mlir::ArrayRef<mlir::ReassociationIndices>(all));
    }
    auto loose = mlir::MemRefType::get({mlir::ShapedType::kDynamic},
                                       type.getElementType());
    if (buffer.getType() != loose)
      buffer = mlir::memref::CastOp::create(b, loc, loose, buffer);
    return buffer;
  }
  /// `count` elements on the stack, outside of all loops of the task.
  Value stack(int64_t count) const {
    Value buffer = mlir::memref::AllocaOp::create(
        b, loc, mlir::MemRefType::get({count}, b.getF32Type()),
        b.getI64IntegerAttr(64));
    return flat(buffer);
  }
  /// A mask of the first `count` of `lanes` lanes.
  Value firstLanes(int64_t lanes, Value count) const {
    auto type = mlir::VectorType::get({lanes}, b.getI32Type());
    auto numbers = llvm::to_vector(llvm::seq<int32_t>(0, lanes));
    Value lane = mlir::arith::ConstantOp::create(
        b, loc, mlir::DenseElementsAttr::get(type, llvm::ArrayRef(numbers)));
    Value limit =
        mlir::arith::IndexCastOp::create(b, loc, b.getI32Type(), count);
    limit = mlir::vector::BroadcastOp::create(b, loc, type, limit);
    return compare(mlir::arith::CmpIPredicate::ult, lane, limit);
  }
  Value toF32(Value v) const {
    auto type = mlir::cast<mlir::FloatType>(v.getType());
    if (type.getWidth() > 32)
      return mlir::arith::TruncFOp::create(b, loc, b.getF32Type(), v);
    if (type.getWidth() < 32)
      return mlir::arith::ExtFOp::create(b, loc, b.getF32Type(), v);
    return v;
  }
  Value real(double v) const {
    return mlir::arith::ConstantOp::create(b, loc, b.getF32FloatAttr(v));
  }
};

} // namespace moe

#endif // MOE_PASSES_LOWER_HOST_GROUPEDEMITTER_H
