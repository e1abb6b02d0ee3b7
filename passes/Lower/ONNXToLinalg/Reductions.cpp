//===- Reductions.cpp - sums and extrema over dims of a tensor ------------===//
//
// Neighbouring reduced dims are viewed as one, so that the loop over them is
// long and runs over contiguous memory. f16 and bf16 are accumulated in f32.
//
//===----------------------------------------------------------------------===//

#include "passes/Lower/ONNXToLinalg/Reductions.h"

using namespace mlir;
using namespace moe;
using namespace moe::lower;

//===----------------------------------------------------------------------===//
// Scalars
//===----------------------------------------------------------------------===//

Type lower::getComputeType(Type element) {
  auto type = dyn_cast<FloatType>(element);
  if (type && type.getWidth() < 32)
    return Float32Type::get(element.getContext());
  return element;
}

Value lower::toFloat(OpBuilder &b, Location loc, Value v, Type type,
                     bool isUnsigned) {
  Type from = v.getType();
  if (from == type)
    return v;
  if (from.isIndex()) {
    v = arith::IndexCastOp::create(b, loc, b.getI64Type(), v);
    return arith::SIToFPOp::create(b, loc, type, v);
  }
  if (isa<IntegerType>(from)) {
    if (isUnsigned || from.isInteger(1))
      return arith::UIToFPOp::create(b, loc, type, v);
    return arith::SIToFPOp::create(b, loc, type, v);
  }
  unsigned width = from.getIntOrFloatBitWidth();
  unsigned wanted = type.getIntOrFloatBitWidth();
  if (width == wanted) // f16 and bf16 meet in f32
    v = widen(b, loc, v);
  if (v.getType().getIntOrFloatBitWidth() < wanted)
    return arith::ExtFOp::create(b, loc, type, v);
  return arith::TruncFOp::create(b, loc, type, v);
}

Value lower::combine(OpBuilder &b, Location loc, Combine kind, Value x, Value y,
                     bool isUnsigned) {
  bool isFloat = isa<FloatType>(x.getType());
  isUnsigned |= x.getType().isInteger(1);
  switch (kind) {
  case Combine::Sum:
    if (isFloat)
      return arith::AddFOp::create(b, loc, x, y);
    return arith::AddIOp::create(b, loc, x, y);
  case Combine::Product:
    if (isFloat)
      return arith::MulFOp::create(b, loc, x, y);
    return arith::MulIOp::create(b, loc, x, y);
  case Combine::Max:
    if (isFloat)
      return arith::MaximumFOp::create(b, loc, x, y);
    if (isUnsigned)
      return arith::MaxUIOp::create(b, loc, x, y);
    return arith::MaxSIOp::create(b, loc, x, y);
  case Combine::Min:
    if (isFloat)
      return arith::MinimumFOp::create(b, loc, x, y);
    if (isUnsigned)
      return arith::MinUIOp::create(b, loc, x, y);
    return arith::MinSIOp::create(b, loc, x, y);
  }
  return {};
}

Value lower::getIdentity(FunctionLowering &l, Combine kind, Type type,
                         bool isUnsigned) {
  switch (kind) {
  case Combine::Sum:
    return l.scalar(type, 0);
  case Combine::Product:
    return l.scalar(type, 1);
  case Combine::Max:
  case Combine::Min:
    break;
  }
  bool isMax = kind == Combine::Max;
  if (auto floating = dyn_cast<FloatType>(type))
    return l.constant(l.b.getFloatAttr(
        type, APFloat::getInf(floating.getFloatSemantics(), isMax)));
  unsigned width = type.getIntOrFloatBitWidth();
  APInt least, most;
  if (isUnsigned || width == 1) {
    least = APInt::getMinValue(width);
    most = APInt::getMaxValue(width);
  } else {
    least = APInt::getSignedMinValue(width);
    most = APInt::getSignedMaxValue(width);
  }
  return l.constant(l.b.getIntegerAttr(type, isMax ? least : most));
}

//===----------------------------------------------------------------------===//
// Tensors
//===----------------------------------------------------------------------===//

Reduction::Reduction(FunctionLowering &lowering, Value tensor,
                     ArrayRef<OpFoldResult> shape, ArrayRef<bool> reduced)
    : l(lowering), tensor(tensor), shape(shape), reduced(reduced),
      numReduced(lowering.index(1)) {
  for (auto [extent, gone] : llvm::zip(shape, reduced)) {
    if (gone)
      numReduced = l.mul(numReduced, extent);
    else
      kept.push_back(extent);
  }
}

AffineMap Reduction::rowMap() const {
  SmallVector<AffineExpr> exprs;
  for (auto [i, gone] : llvm::enumerate(reduced))
    if (!gone)
      exprs.push_back(l.b.getAffineDimExpr(i));
  return AffineMap::get(reduced.size(), 0, exprs, l.b.getContext());
}

Value Reduction::fold(Combine kind, Type type, BodyFn term, ValueRange perRow,
                      bool isUnsigned) {
  Extents merged;
  SmallVector<bool> gone;
  for (auto [extent, isReduced] : llvm::zip(shape, reduced)) {
    if (isReduced && !gone.empty() && gone.back()) {
      merged.back() = l.mul(merged.back(), extent);
      continue;
    }
    merged.push_back(extent);
    gone.push_back(isReduced);
  }
  Value source = tensor;
  if (merged.size() < shape.size())
    source = l.reshape(tensor, shape, merged);

  SmallVector<Value> operands{source};
  llvm::append_range(operands, perRow);
  MLIRContext *context = l.b.getContext();
  SmallVector<AffineExpr> rowExprs;
  for (auto [i, isReduced] : llvm::enumerate(gone))
    if (!isReduced)
      rowExprs.push_back(l.b.getAffineDimExpr(i));
  SmallVector<AffineMap> maps(
      operands.size(), AffineMap::get(gone.size(), 0, rowExprs, context));
  maps.front() = AffineMap::getMultiDimIdentityMap(gone.size(), context);
  Value init = l.filled(kept, getIdentity(l, kind, type, isUnsigned));
  return l.reduce(
      merged, gone, init, operands, maps,
      [&](OpBuilder &b, Location loc, ValueRange args, Value accumulator) {
        return combine(b, loc, kind, term(b, loc, args), accumulator,
                       isUnsigned);
      });
}

Value Reduction::map(Type element, BodyFn body, ValueRange perRow) {
  SmallVector<Value> operands{tensor};
  llvm::append_range(operands, perRow);
  SmallVector<AffineMap> maps(operands.size(), rowMap());
  maps.front() =
      AffineMap::getMultiDimIdentityMap(shape.size(), l.b.getContext());
  return l.pointwise(shape, element, operands, maps, body);
}

Value Reduction::mapRows(Type element, ValueRange operands, BodyFn body) {
  SmallVector<AffineMap> maps(
      operands.size(),
      AffineMap::getMultiDimIdentityMap(kept.size(), l.b.getContext()));
  return l.pointwise(kept, element, operands, maps, body);
}

Value Reduction::keepDims(Value perRow) {
  if (kept.size() == shape.size())
    return perRow;
  Extents extents;
  SmallVector<int64_t> type;
  SmallVector<ReassociationIndices> groups(kept.size());
  int64_t group = 0;
  for (auto [i, gone] : llvm::enumerate(reduced)) {
    extents.push_back(gone ? l.index(1) : shape[i]);
    type.push_back(
        gone ? 1
             : getConstantIntValue(shape[i]).value_or(ShapedType::kDynamic));
    // Dims in front of the first kept one belong to its group, others to that
    // of the kept dim before them.
    if (!gone)
      ++group;
    if (!groups.empty())
      groups[std::max<int64_t>(group - 1, 0)].push_back(i);
  }
  return tensor::ExpandShapeOp::create(
      l.b, l.loc(), RankedTensorType::get(type, elementOf(perRow)), perRow,
      groups, extents);
}

Value Reduction::countAs(Type floatType) {
  if (std::optional<int64_t> count = getConstantIntValue(numReduced))
    return l.scalar(floatType, static_cast<double>(*count));
  return toFloat(l.b, l.loc(), l.value(numReduced), floatType);
}

Value Reduction::mean(Type type, BodyFn term, ValueRange perRow) {
  Value sum = fold(Combine::Sum, type, term, perRow);
  Value total = countAs(type);
  return mapRows(type, sum, [&](OpBuilder &b, Location loc, ValueRange args) {
    return arith::DivFOp::create(b, loc, args[0], total).getResult();
  });
}
