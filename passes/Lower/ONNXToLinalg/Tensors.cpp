//===- Tensors.cpp - tensors and buffers of a translation to linalg -------===//

#include "dialects/ONNX/ONNXDialect.h"
#include "mlir/Dialect/Bufferization/IR/Bufferization.h"
#include "mlir/Dialect/Utils/StaticValueUtils.h"
#include "passes/Lower/ONNXToLinalg/Lowering.h"

using namespace mlir;
using namespace moe::lower;

static RankedTensorType typeOf(ArrayRef<OpFoldResult> shape, Type element) {
  SmallVector<int64_t> extents;
  for (OpFoldResult extent : shape)
    extents.push_back(
        getConstantIntValue(extent).value_or(ShapedType::kDynamic));
  return RankedTensorType::get(extents, element);
}

Value FunctionLowering::empty(ArrayRef<OpFoldResult> shape, Type element) {
  return tensor::EmptyOp::create(b, loc(), shape, element);
}

Value FunctionLowering::filled(ArrayRef<OpFoldResult> shape, Value scalar) {
  return linalg::FillOp::create(b, loc(), scalar,
                                empty(shape, scalar.getType()))
      .getResult(0);
}

Value FunctionLowering::pointwise(ArrayRef<OpFoldResult> shape, Type element,
                                  ValueRange operands, ArrayRef<AffineMap> maps,
                                  BodyFn body) {
  SmallVector<AffineMap> all(maps);
  all.push_back(AffineMap::getMultiDimIdentityMap(shape.size(),
                                                  b.getContext()));
  SmallVector<utils::IteratorType> iterators(shape.size(),
                                             utils::IteratorType::parallel);
  Value out = empty(shape, element);
  return linalg::GenericOp::create(
             b, loc(), out.getType(), operands, out, all, iterators,
             [&](OpBuilder &nested, Location at, ValueRange args) {
               Value v = body(nested, at, args.drop_back());
               linalg::YieldOp::create(nested, at, v);
             })
      .getResult(0);
}

Value FunctionLowering::reduce(
    ArrayRef<OpFoldResult> loops, ArrayRef<bool> reduced, Value init,
    ValueRange operands, ArrayRef<AffineMap> maps,
    llvm::function_ref<Value(OpBuilder &, Location, ValueRange, Value)> body) {
  SmallVector<AffineMap> all(maps);
  SmallVector<AffineExpr> kept;
  SmallVector<utils::IteratorType> iterators;
  for (auto [i, gone] : llvm::enumerate(reduced)) {
    if (!gone)
      kept.push_back(b.getAffineDimExpr(i));
    iterators.push_back(gone ? utils::IteratorType::reduction
                             : utils::IteratorType::parallel);
  }
  all.push_back(AffineMap::get(loops.size(), 0, kept, b.getContext()));
  return linalg::GenericOp::create(
             b, loc(), init.getType(), operands, init, all, iterators,
             [&](OpBuilder &nested, Location at, ValueRange args) {
               Value v = body(nested, at, args.drop_back(), args.back());
               linalg::YieldOp::create(nested, at, v);
             })
      .getResult(0);
}

//===----------------------------------------------------------------------===//
// Broadcasting
//===----------------------------------------------------------------------===//

Extents FunctionLowering::broadcastShape(ValueRange operands) {
  int64_t rank = 0;
  for (Value v : operands)
    rank = std::max(rank, rankOf(v));
  Extents shape;
  for (int64_t i = 0; i < rank; ++i) {
    // The source of the extent so far; static 1 counts as none.
    Value from;
    int64_t fromDim = 0;
    OpFoldResult extent = index(1);
    for (Value v : operands) {
      int64_t d = i - (rank - rankOf(v));
      if (d < 0)
        continue;
      auto type = cast<RankedTensorType>(v.getType());
      if (!type.isDynamicDim(d) && type.getDimSize(d) == 1)
        continue;
      if (!from) {
        from = v;
        fromDim = d;
        extent = dim(v, d);
        continue;
      }
      if (sameExtent(from, fromDim, v, d))
        continue;
      // Two extents that may differ: equal, or one of them is 1.
      OpFoldResult other = dim(v, d);
      auto eq = arith::CmpIPredicate::eq;
      Value same = compare(eq, extent, other);
      Value leftOne = compare(eq, extent, index(1));
      Value rightOne = compare(eq, other, index(1));
      Value ok = b.createOrFold<arith::OrIOp>(
          loc(), same, b.createOrFold<arith::OrIOp>(loc(), leftOne, rightOne));
      check(ok, "extents of dimension " + Twine(i) + " do not broadcast",
            /*code=*/3);
      // A static extent above 1 is the result whatever the other one is.
      if (std::optional<int64_t> fixed = getConstantIntValue(extent);
          fixed && *fixed != 1)
        continue;
      if (std::optional<int64_t> fixed = getConstantIntValue(other);
          fixed && *fixed != 1) {
        extent = other;
        from = v;
        fromDim = d;
        continue;
      }
      extent = select(leftOne, other, extent);
      from = {};
      // From here on no operand is known to have this extent.
      from = v;
      fromDim = d;
    }
    shape.push_back(extent);
  }
  return shape;
}

std::pair<Value, AffineMap>
FunctionLowering::broadcastOperand(Value onnxOperand, Value onnxShapeLike,
                                   ArrayRef<OpFoldResult> shape,
                                   unsigned loops) {
  Value source = tensor(onnxOperand);
  auto type = cast<RankedTensorType>(source.getType());
  int64_t rank = type.getRank();
  int64_t lead = static_cast<int64_t>(shape.size()) - rank;
  unsigned firstLoop = loops - shape.size();
  SmallVector<AffineExpr> exprs;
  bool open = false;
  for (int64_t d = 0; d < rank; ++d) {
    OpFoldResult wanted = shape[lead + d];
    AffineExpr loop = b.getAffineDimExpr(firstLoop + lead + d);
    OpFoldResult own = dim(onnxOperand, d);
    bool same = own == wanted ||
                (onnxShapeLike &&
                 sameExtent(onnxOperand, d, onnxShapeLike, lead + d));
    if (same) {
      exprs.push_back(loop);
    } else if (isConstantIntValue(own, 1)) {
      exprs.push_back(b.getAffineConstantExpr(0));
    } else if (getConstantIntValue(own)) {
      // A static extent other than 1 never broadcasts; it was checked.
      exprs.push_back(loop);
    } else {
      open = true;
      exprs.push_back(loop);
    }
  }
  AffineMap map = AffineMap::get(loops, 0, exprs, b.getContext());
  if (!open)
    return {source, map};

  // Whether an extent is 1 only shows at run time: read through an index that
  // is 0 in that case.
  Extents full(shape.begin() + lead, shape.end());
  SmallVector<Value> isOne;
  for (int64_t d = 0; d < rank; ++d)
    isOne.push_back(
        compare(arith::CmpIPredicate::eq, dim(onnxOperand, d), index(1)));
  Value zero = value(index(0));
  Value expanded = pointwise(
      full, type.getElementType(), {}, {},
      [&](OpBuilder &nested, Location at, ValueRange) -> Value {
        SmallVector<Value> indices;
        for (int64_t d = 0; d < rank; ++d) {
          Value i = linalg::IndexOp::create(nested, at, d);
          indices.push_back(
              arith::SelectOp::create(nested, at, isOne[d], zero, i));
        }
        return tensor::ExtractOp::create(nested, at, source, indices);
      });
  exprs.clear();
  for (int64_t d = 0; d < rank; ++d)
    exprs.push_back(b.getAffineDimExpr(firstLoop + lead + d));
  return {expanded, AffineMap::get(loops, 0, exprs, b.getContext())};
}

Value FunctionLowering::broadcastPointwise(Value result, ValueRange operands,
                                           Type element, BodyFn body) {
  if (scalars) {
    SmallVector<Value> all;
    for (Value v : operands)
      all.push_back(tensor(v));
    return body(b, loc(), all);
  }
  Extents shape = bindDims(result, broadcastShape(operands));
  // Constants that are the same everywhere need no memory.
  SmallVector<Value> tensors, scalars(operands.size());
  SmallVector<AffineMap> maps;
  for (auto [i, v] : llvm::enumerate(operands)) {
    if (TypedAttr attr = splat(v)) {
      scalars[i] = constant(attr);
      continue;
    }
    auto [source, map] = broadcastOperand(v, result, shape, shape.size());
    tensors.push_back(source);
    maps.push_back(map);
  }
  return pointwise(shape, element, tensors, maps,
                   [&](OpBuilder &nested, Location at, ValueRange args) {
                     SmallVector<Value> all;
                     unsigned next = 0;
                     for (Value known : scalars)
                       all.push_back(known ? known : args[next++]);
                     return body(nested, at, all);
                   });
}

//===----------------------------------------------------------------------===//
// Movement
//===----------------------------------------------------------------------===//

Value FunctionLowering::reshape(Value tensor, ArrayRef<OpFoldResult> from,
                                ArrayRef<OpFoldResult> to) {
  auto same = [](OpFoldResult x, OpFoldResult y) {
    std::optional<int64_t> a = getConstantIntValue(x);
    return x == y || (a && a == getConstantIntValue(y));
  };
  Type element = cast<RankedTensorType>(tensor.getType()).getElementType();
  auto retype = [&](Value v, RankedTensorType type) -> Value {
    return v.getType() == type ? v
                               : tensor::CastOp::create(b, loc(), type, v);
  };
  // Dims that both ends share stay apart; only what lies between is merged
  // into one dim and split again.
  size_t front = 0, back = 0;
  while (front < from.size() && front < to.size() &&
         same(from[front], to[front]))
    ++front;
  while (back + front < from.size() && back + front < to.size() &&
         same(from[from.size() - 1 - back], to[to.size() - 1 - back]))
    ++back;
  if (front == from.size() && front == to.size())
    return retype(tensor, typeOf(to, element));
  // A side with nothing between takes a neighbour in, so that both have a dim.
  auto between = [&](ArrayRef<OpFoldResult> dims) {
    return dims.slice(front, dims.size() - front - back);
  };
  if (between(from).empty() || between(to).empty()) {
    if (back > 0)
      --back;
    else if (front > 0)
      --front;
  }
  ArrayRef<OpFoldResult> fromMid = between(from), toMid = between(to);
  OpFoldResult count = product(fromMid), wanted = product(toMid);
  checkEqual(count, wanted, "cannot reshape: element counts differ");
  OpFoldResult merged =
      getConstantIntValue(wanted) && !getConstantIntValue(count) ? wanted
                                                                 : count;
  auto groups = [&](size_t mid) {
    SmallVector<ReassociationIndices> out;
    for (size_t i = 0; i < front; ++i)
      out.push_back({static_cast<int64_t>(i)});
    ReassociationIndices group;
    for (size_t i = 0; i < mid; ++i)
      group.push_back(front + i);
    if (!group.empty())
      out.push_back(group);
    for (size_t i = 0; i < back; ++i)
      out.push_back({static_cast<int64_t>(front + mid + i)});
    return out;
  };
  Extents flat(from.begin(), from.begin() + front);
  flat.push_back(merged);
  flat.append(from.end() - back, from.end());
  tensor = retype(tensor, typeOf(from, element));
  if (fromMid.empty()) {
    // Rank 0 to rank n: all extents are 1.
    Extents ones(to.size(), index(1));
    SmallVector<ReassociationIndices> none;
    tensor = tensor::ExpandShapeOp::create(b, loc(), typeOf(ones, element),
                                           tensor, none, ones);
    return retype(tensor, typeOf(to, element));
  }
  if (fromMid.size() > 1) {
    auto collapsed = groups(fromMid.size());
    auto type = tensor::CollapseShapeOp::inferCollapsedType(
        cast<RankedTensorType>(tensor.getType()), collapsed);
    tensor = tensor::CollapseShapeOp::create(b, loc(), type, tensor, collapsed);
  }
  tensor = retype(tensor, typeOf(flat, element));
  if (toMid.empty()) {
    // Rank n to rank 0: the checked element count is 1.
    Extents ones(flat.size(), index(1));
    tensor = retype(tensor, typeOf(ones, element));
    return tensor::CollapseShapeOp::create(
        b, loc(), RankedTensorType::get({}, element), tensor,
        SmallVector<ReassociationIndices>());
  }
  if (toMid.size() > 1) {
    RankedTensorType type = typeOf(to, element);
    // An expansion of a static dim must be static: cast where it is not.
    bool dynamicOut = llvm::any_of(toMid, [](OpFoldResult e) {
      return !getConstantIntValue(e);
    });
    if (dynamicOut && getConstantIntValue(merged)) {
      Extents loose = flat;
      auto loosened = cast<RankedTensorType>(tensor.getType());
      SmallVector<int64_t> shape(loosened.getShape());
      shape[front] = ShapedType::kDynamic;
      tensor = retype(tensor, RankedTensorType::get(shape, element));
    } else if (!dynamicOut) {
      Extents tight = flat;
      tight[front] = wanted;
      tensor = retype(tensor, typeOf(tight, element));
    }
    tensor = tensor::ExpandShapeOp::create(b, loc(), type, tensor,
                                           groups(toMid.size()), to);
  }
  return retype(tensor, typeOf(to, element));
}

Value FunctionLowering::transpose(Value tensor, ArrayRef<OpFoldResult> from,
                                  ArrayRef<int64_t> perm) {
  Extents to;
  SmallVector<AffineExpr> exprs(perm.size());
  for (auto [i, p] : llvm::enumerate(perm)) {
    to.push_back(from[p]);
    exprs[p] = b.getAffineDimExpr(i);
  }
  AffineMap map = AffineMap::get(perm.size(), 0, exprs, b.getContext());
  return pointwise(to, elementOf(tensor), tensor, map,
                   [](OpBuilder &, Location, ValueRange args) -> Value {
                     return args[0];
                   });
}

Value FunctionLowering::extract(Value tensor, ArrayRef<OpFoldResult> at) {
  if (scalars)
    return tensor;
  SmallVector<Value> indices;
  for (OpFoldResult i : at)
    indices.push_back(value(i));
  return tensor::ExtractOp::create(b, loc(), tensor, indices);
}

Value FunctionLowering::slice(Value tensor, ArrayRef<OpFoldResult> offsets,
                              ArrayRef<OpFoldResult> sizes,
                              ArrayRef<OpFoldResult> steps) {
  // MLIR takes an offset at the end for out of bounds even if nothing is read.
  if (llvm::any_of(sizes, [](OpFoldResult size) {
        return isConstantIntValue(size, 0);
      }))
    return empty(sizes, elementOf(tensor));
  return tensor::ExtractSliceOp::create(b, loc(), tensor, offsets, sizes,
                                        steps);
}

Value FunctionLowering::insertSlice(Value into, Value part,
                                    ArrayRef<OpFoldResult> offsets) {
  auto type = cast<RankedTensorType>(part.getType());
  Extents sizes, steps(type.getRank(), index(1));
  for (int64_t i = 0; i < type.getRank(); ++i)
    sizes.push_back(
        type.isDynamicDim(i)
            ? OpFoldResult(
                  tensor::DimOp::create(b, loc(), part, i).getResult())
            : index(type.getDimSize(i)));
  return tensor::InsertSliceOp::create(b, loc(), part, into, offsets, sizes,
                                       steps);
}

//===----------------------------------------------------------------------===//
// Buffers
//===----------------------------------------------------------------------===//

Value FunctionLowering::allocate(ArrayRef<OpFoldResult> shape, Type element) {
  RankedTensorType type = typeOf(shape, element);
  SmallVector<Value> dynamic;
  for (OpFoldResult extent : shape)
    if (!getConstantIntValue(extent))
      dynamic.push_back(value(extent));
  return memref::AllocOp::create(
      b, loc(), MemRefType::get(type.getShape(), element), dynamic);
}

Value FunctionLowering::readable(Value tensor) {
  auto type = cast<RankedTensorType>(tensor.getType());
  return bufferization::ToBufferOp::create(
      b, loc(), MemRefType::get(type.getShape(), type.getElementType()),
      tensor, /*read_only=*/true);
}

Value FunctionLowering::finished(Value buffer) {
  auto type = cast<MemRefType>(buffer.getType());
  return bufferization::ToTensorOp::create(
      b, loc(), RankedTensorType::get(type.getShape(), type.getElementType()),
      buffer, /*restrict=*/true, /*writable=*/true);
}

void FunctionLowering::forEach(ArrayRef<OpFoldResult> shape,
                               llvm::function_ref<void(ValueRange)> body) {
  OpBuilder::InsertionGuard guard(b);
  Value zero = value(index(0)), one = value(index(1));
  // Bounds are computed in front of the nest.
  SmallVector<Value> bounds, indices;
  for (OpFoldResult extent : shape)
    bounds.push_back(value(extent));
  for (Value bound : bounds) {
    auto loop = scf::ForOp::create(b, loc(), zero, bound, one);
    b.setInsertionPointToStart(loop.getBody());
    indices.push_back(loop.getInductionVar());
  }
  body(indices);
}
