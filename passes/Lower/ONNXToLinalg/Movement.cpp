//===- Movement.cpp - operators that only move elements -------------------===//

#include "dialects/ONNX/ONNXDialect.h"
#include "mlir/Dialect/Utils/StaticValueUtils.h"
#include "passes/Lower/ONNXToLinalg/Lowering.h"

using namespace mlir;
using namespace moe;
using namespace moe::lower;

//===----------------------------------------------------------------------===//
// Same elements, other extents
//===----------------------------------------------------------------------===//

static LogicalResult lowerIdentity(FunctionLowering &l, Operation *op) {
  l.forward(op->getResult(0), operand(op, 0));
  return success();
}

static LogicalResult lowerShape(FunctionLowering &, Operation *op) {
  // Always done element by element (ShapeElements.cpp).
  return unsupported(op, "an operand of this type");
}

/// Binds the result to the operand's elements under extents that the type and
/// the symbols of the result give; an extent that has neither is computed.
static LogicalResult reshapeTo(FunctionLowering &l, Operation *op,
                               ArrayRef<OpFoldResult> extents) {
  Value in = operand(op, 0), out = op->getResult(0);
  Extents to = l.bindDims(out, extents);
  l.set(out, l.reshape(l.tensor(in), l.dims(in), to));
  return success();
}

static LogicalResult lowerReshape(FunctionLowering &l, Operation *op) {
  Value in = operand(op, 0), out = op->getResult(0);
  FailureOr<Extents> wanted = l.elementsOrLoad(op, operand(op, 1));
  if (failed(wanted))
    return failure();
  bool allowZero = intAttr(op, "allowzero", 0) != 0;
  Extents from = l.dims(in), to;
  std::optional<unsigned> open;
  for (auto [i, extent] : llvm::enumerate(*wanted)) {
    std::optional<int64_t> known = getConstantIntValue(extent);
    if (known == 0 && !allowZero) {
      if (i >= from.size())
        return op->emitOpError()
               << "copies extent " << i << " of an operand of rank "
               << from.size();
      to.push_back(from[i]);
      continue;
    }
    if (known == -1) {
      if (open)
        return op->emitOpError() << "has -1 at " << *open << " and " << i
                                 << "; one of them is accepted";
      open = i;
      to.push_back(l.index(1)); // replaced below
      continue;
    }
    if (known) {
      to.push_back(extent);
      continue;
    }
    // A value of the run: -1 and 0 may still mean what they mean above. An
    // extent that the graph took from a Shape is neither.
    Value v = l.value(extent);
    auto *def = v.getDefiningOp();
    bool isExtent = def && isa<tensor::DimOp>(def);
    if (!isExtent && !allowZero && i < from.size())
      extent = l.select(l.compare(arith::CmpIPredicate::eq, extent, l.index(0)),
                        from[i], extent);
    to.push_back(extent);
  }
  // What the type or a symbol of the result says wins over arithmetic.
  SmallVector<bool> settled(to.size(), false);
  for (auto [i, extent] : llvm::enumerate(to)) {
    if (std::optional<OpFoldResult> known = l.knownDim(out, i)) {
      extent = *known;
      settled[i] = true;
    }
  }
  OpFoldResult total = l.product(from);
  if (open && !settled[*open]) {
    OpFoldResult rest = l.index(1);
    for (auto [i, extent] : llvm::enumerate(to))
      if (i != *open)
        rest = l.mul(rest, extent);
    // Nothing can be said of -1 when the rest is empty; 0 keeps it defined.
    Value empty = l.compare(arith::CmpIPredicate::eq, rest, l.index(0));
    OpFoldResult divisor = l.select(empty, l.index(1), rest);
    to[*open] = l.div(total, divisor);
    l.checkEqual(l.mul(to[*open], rest), total,
                 "the elements cannot be shared out evenly");
  } else if (!open) {
    // Values of the run that are still -1 (at most one makes sense).
    for (auto [i, extent] : llvm::enumerate(to)) {
      if (settled[i] || getConstantIntValue(extent))
        continue;
      auto *def = l.value(extent).getDefiningOp();
      if (def && isa<tensor::DimOp>(def))
        continue;
      OpFoldResult rest = l.index(1);
      for (auto [j, other] : llvm::enumerate(to))
        if (j != i)
          rest = l.mul(rest, other);
      Value negative = l.compare(arith::CmpIPredicate::slt, extent, l.index(0));
      Value empty = l.compare(arith::CmpIPredicate::eq, rest, l.index(0));
      OpFoldResult share =
          l.div(total, l.select(empty, l.index(1), rest));
      extent = l.select(negative, share, extent);
    }
  }
  return reshapeTo(l, op, to);
}

static LogicalResult lowerFlatten(FunctionLowering &l, Operation *op) {
  Value in = operand(op, 0);
  int64_t axis = normalizeAxis(intAttr(op, "axis", 1), rankOf(in));
  Extents from = l.dims(in);
  ArrayRef<OpFoldResult> all(from);
  return reshapeTo(l, op,
                   {l.product(all.take_front(axis)),
                    l.product(all.drop_front(axis))});
}

/// Axes from an operand; absent means none.
static FailureOr<SmallVector<int64_t>> constantAxes(FunctionLowering &l,
                                                    Operation *op, Value axes,
                                                    int64_t rank) {
  SmallVector<int64_t> out;
  if (!axes)
    return out;
  auto known = l.constants(axes);
  if (!known)
    return op->emitOpError()
           << "cannot be compiled: axes that only the run knows; constant "
              "axes are accepted";
  for (int64_t axis : *known) {
    if (axis < -rank || axis >= rank)
      return op->emitOpError() << "axis " << axis << " is outside [" << -rank
                               << ", " << rank - 1 << "]";
    out.push_back(normalizeAxis(axis, rank));
  }
  return out;
}

static LogicalResult lowerSqueeze(FunctionLowering &l, Operation *op) {
  Value in = operand(op, 0);
  auto type = cast<RankedTensorType>(in.getType());
  Value axesOperand = operand(op, 1);
  auto axes = constantAxes(l, op, axesOperand, type.getRank());
  if (failed(axes))
    return failure();
  Extents to;
  for (int64_t i = 0; i < type.getRank(); ++i) {
    bool gone = axesOperand ? llvm::is_contained(*axes, i)
                            : type.getDimSize(i) == 1;
    if (!gone) {
      to.push_back(l.dim(in, i));
      continue;
    }
    l.checkEqual(l.dim(in, i), l.index(1),
                 "cannot drop dimension " + Twine(i) + ": its extent is not 1");
  }
  return reshapeTo(l, op, to);
}

static LogicalResult lowerUnsqueeze(FunctionLowering &l, Operation *op) {
  Value in = operand(op, 0);
  int64_t rank = rankOf(op->getResult(0));
  auto axes = constantAxes(l, op, operand(op, 1), rank);
  if (failed(axes))
    return failure();
  Extents from = l.dims(in), to;
  unsigned next = 0;
  for (int64_t i = 0; i < rank; ++i)
    to.push_back(llvm::is_contained(*axes, i) ? l.index(1) : from[next++]);
  return reshapeTo(l, op, to);
}

//===----------------------------------------------------------------------===//
// Permutation, repetition
//===----------------------------------------------------------------------===//

static LogicalResult lowerTranspose(FunctionLowering &l, Operation *op) {
  Value in = operand(op, 0), out = op->getResult(0);
  int64_t rank = rankOf(in);
  SmallVector<int64_t> perm;
  if (auto given = intsAttr(op, "perm"))
    perm = *given;
  else
    for (int64_t i = rank; i > 0; --i)
      perm.push_back(i - 1);
  Extents from = l.dims(in);
  // Moving extents of 1 about is a reshape.
  SmallVector<int64_t> moved;
  for (int64_t p : perm)
    if (getConstantIntValue(from[p]) != 1)
      moved.push_back(p);
  if (llvm::is_sorted(moved)) {
    Extents to;
    for (int64_t p : perm)
      to.push_back(from[p]);
    return reshapeTo(l, op, to);
  }
  l.set(out, l.transpose(l.tensor(in), from, perm));
  return success();
}

static LogicalResult lowerExpand(FunctionLowering &l, Operation *op) {
  Value in = operand(op, 0), out = op->getResult(0);
  FailureOr<Extents> wanted = l.elementsOrLoad(op, operand(op, 1));
  if (failed(wanted))
    return failure();
  int64_t rank = rankOf(out), own = rankOf(in);
  int64_t given = wanted->size();
  Extents shape;
  for (int64_t i = 0; i < rank; ++i) {
    int64_t from = i - (rank - own), at = i - (rank - given);
    OpFoldResult extent = from >= 0 ? l.dim(in, from) : l.index(1);
    OpFoldResult target = at >= 0 ? (*wanted)[at] : l.index(1);
    // Bidirectional: either side may be 1.
    shape.push_back(l.resultDim(out, i, [&]() -> OpFoldResult {
      if (isConstantIntValue(target, 1) || extent == target)
        return extent;
      if (isConstantIntValue(extent, 1))
        return target;
      auto eq = arith::CmpIPredicate::eq;
      Value targetOne = l.compare(eq, target, l.index(1));
      Value ok = l.b.createOrFold<arith::OrIOp>(
          l.loc(), l.compare(eq, extent, target),
          l.b.createOrFold<arith::OrIOp>(
              l.loc(), targetOne, l.compare(eq, extent, l.index(1))));
      l.check(ok, "dimension " + Twine(i) + " cannot be expanded", 3);
      return l.select(targetOne, extent, target);
    }));
  }
  auto [source, map] = l.broadcastOperand(in, out, shape, rank);
  l.set(out, l.pointwise(shape, elementOf(source), source, map,
                         [](OpBuilder &, Location, ValueRange args) -> Value {
                           return args[0];
                         }));
  return success();
}

static LogicalResult lowerTile(FunctionLowering &l, Operation *op) {
  Value in = operand(op, 0), out = op->getResult(0);
  FailureOr<Extents> repeats = l.elementsOrLoad(op, operand(op, 1));
  if (failed(repeats))
    return failure();
  int64_t rank = rankOf(in);
  if (static_cast<int64_t>(repeats->size()) != rank)
    return op->emitOpError() << "has " << repeats->size()
                             << " repeats for an operand of rank " << rank;
  // [r0, n0, r1, n1, ...] read as [n0, n1, ...], then merged pairwise.
  Extents from = l.dims(in), loops, to;
  SmallVector<AffineExpr> exprs;
  for (int64_t i = 0; i < rank; ++i) {
    OpFoldResult count = (*repeats)[i];
    if (!getConstantIntValue(count))
      l.check(l.compare(arith::CmpIPredicate::sge, count, l.index(0)),
              "negative number of repeats");
    if (!isConstantIntValue(count, 1))
      loops.push_back(count);
    exprs.push_back(l.b.getAffineDimExpr(loops.size()));
    loops.push_back(from[i]);
    to.push_back(l.mul(count, from[i]));
  }
  AffineMap map = AffineMap::get(loops.size(), 0, exprs, l.b.getContext());
  Value source = l.tensor(in);
  Value repeated =
      l.pointwise(loops, elementOf(source), source, map,
                  [](OpBuilder &, Location, ValueRange args) -> Value {
                    return args[0];
                  });
  l.set(out, l.reshape(repeated, loops, l.bindDims(out, to)));
  return success();
}

//===----------------------------------------------------------------------===//
// Parts
//===----------------------------------------------------------------------===//

static LogicalResult lowerConcat(FunctionLowering &l, Operation *op) {
  Value out = op->getResult(0);
  int64_t rank = rankOf(out);
  int64_t axis = normalizeAxis(intAttr(op, "axis", 0), rank);
  Value first = op->getOperand(0);
  OpFoldResult total = l.index(0);
  for (Value v : op->getOperands()) {
    total = l.add(total, l.dim(v, axis));
    for (int64_t i = 0; i < rank; ++i)
      if (i != axis && !l.sameExtent(first, i, v, i))
        l.checkEqual(l.dim(first, i), l.dim(v, i),
                     "operands differ in dimension " + Twine(i));
  }
  Extents shape = l.dims(first);
  shape[axis] = total;
  shape = l.bindDims(out, shape);
  Value result = l.empty(shape, l.convertElement(elementOf(out)));
  Extents offsets(rank, l.index(0));
  for (Value v : op->getOperands()) {
    result = l.insertSlice(result, l.tensor(v), offsets);
    offsets[axis] = l.add(offsets[axis], l.dim(v, axis));
  }
  l.set(out, result);
  return success();
}

static LogicalResult lowerSplit(FunctionLowering &l, Operation *op) {
  Value in = operand(op, 0);
  int64_t rank = rankOf(in);
  int64_t axis = normalizeAxis(intAttr(op, "axis", 0), rank);
  int64_t parts = op->getNumResults();
  OpFoldResult extent = l.dim(in, axis);
  Extents sizes;
  if (Value split = operand(op, 1)) {
    FailureOr<Extents> given = l.elementsOrLoad(op, split);
    if (failed(given))
      return failure();
    sizes = *given;
    if (static_cast<int64_t>(sizes.size()) != parts)
      return op->emitOpError() << "has " << parts << " results and "
                               << sizes.size() << " sizes";
    OpFoldResult total = l.index(0);
    for (OpFoldResult size : sizes) {
      if (!getConstantIntValue(size))
        l.check(l.compare(arith::CmpIPredicate::sge, size, l.index(0)),
                "negative size of a part");
      total = l.add(total, size);
    }
    l.checkEqual(total, extent, "the sizes do not add up to the extent");
  } else {
    // Equal parts; the last one takes what is left and may be smaller.
    OpFoldResult each = l.ceilDiv(extent, l.index(parts));
    OpFoldResult rest = extent;
    for (int64_t i = 0; i < parts; ++i) {
      OpFoldResult size = l.max(l.index(0), l.min(each, rest));
      sizes.push_back(size);
      rest = l.sub(rest, size);
    }
  }
  Value source = l.tensor(in);
  Extents offsets(rank, l.index(0)), steps(rank, l.index(1));
  for (auto [part, size] : llvm::zip(op->getResults(), sizes)) {
    Extents shape = l.dims(in);
    shape[axis] = size;
    shape = l.bindDims(part, shape);
    if (!part.use_empty())
      l.set(part, l.slice(source, offsets, shape, steps));
    offsets[axis] = l.add(offsets[axis], size);
  }
  return success();
}

static LogicalResult lowerSlice(FunctionLowering &l, Operation *op) {
  Value in = operand(op, 0), out = op->getResult(0);
  int64_t rank = rankOf(in);
  FailureOr<Extents> starts = l.elementsOrLoad(op, operand(op, 1));
  FailureOr<Extents> ends = l.elementsOrLoad(op, operand(op, 2));
  if (failed(starts) || failed(ends))
    return failure();
  SmallVector<int64_t> axes;
  if (Value given = operand(op, 3)) {
    auto known = constantAxes(l, op, given, rank);
    if (failed(known))
      return failure();
    axes = *known;
  } else {
    axes = llvm::to_vector(llvm::seq<int64_t>(0, starts->size()));
  }
  SmallVector<int64_t> steps(axes.size(), 1);
  if (Value given = operand(op, 4)) {
    auto known = l.constants(given);
    if (!known)
      return op->emitOpError()
             << "cannot be compiled: steps that only the run knows; constant "
                "steps are accepted";
    steps = *known;
  }
  if (starts->size() != axes.size() || ends->size() != axes.size() ||
      steps.size() != axes.size())
    return op->emitOpError()
           << "has " << axes.size() << " axes, " << starts->size()
           << " starts, " << ends->size() << " ends and " << steps.size()
           << " steps";
  Extents offsets(rank, l.index(0)), shape = l.dims(in);
  Extents strides(rank, l.index(1));
  bool backward = false;
  auto slt = arith::CmpIPredicate::slt;
  for (auto [i, axis] : llvm::enumerate(axes)) {
    int64_t step = steps[i];
    if (step == 0)
      return op->emitOpError() << "has step 0 for axis " << axis;
    OpFoldResult extent = l.dim(in, axis);
    OpFoldResult zero = l.index(0);
    auto fromBack = [&](OpFoldResult at) {
      if (auto known = getConstantIntValue(at); known && *known >= 0)
        return at;
      return l.select(l.compare(slt, at, zero), l.add(at, extent), at);
    };
    // Far ends such as INT64_MIN must not wrap when the extent is added: they
    // are clamped on both sides first.
    auto tame = [&](OpFoldResult at) {
      OpFoldResult lowest = l.sub(l.index(-1), extent);
      return l.max(lowest, l.min(at, extent));
    };
    OpFoldResult begin, size;
    if (step > 0) {
      begin = l.max(zero, l.min(fromBack(tame((*starts)[i])), extent));
      OpFoldResult end =
          l.max(zero, l.min(fromBack(tame((*ends)[i])), extent));
      size = l.ceilDiv(l.max(zero, l.sub(end, begin)), l.index(step));
    } else {
      backward = true;
      OpFoldResult last = l.sub(extent, l.index(1));
      begin = l.min(l.max(fromBack(tame((*starts)[i])), zero), last);
      OpFoldResult end =
          l.max(l.index(-1), l.min(fromBack(tame((*ends)[i])), last));
      size = l.ceilDiv(l.max(zero, l.sub(begin, end)), l.index(-step));
    }
    offsets[axis] = begin;
    shape[axis] = l.resultDim(out, axis, [&] { return size; });
    strides[axis] = l.index(step);
  }
  Value source = l.tensor(in);
  if (!backward) {
    l.set(out, l.slice(source, offsets, shape, strides));
    return success();
  }
  SmallVector<Value> begins, steps1;
  for (int64_t i = 0; i < rank; ++i) {
    begins.push_back(l.value(offsets[i]));
    steps1.push_back(l.value(strides[i]));
  }
  l.set(out, l.pointwise(
                 shape, elementOf(source), {}, {},
                 [&](OpBuilder &b, Location loc, ValueRange) -> Value {
                   SmallVector<Value> at;
                   for (int64_t i = 0; i < rank; ++i) {
                     Value n = linalg::IndexOp::create(b, loc, i);
                     Value far =
                         arith::MulIOp::create(b, loc, n, steps1[i]);
                     at.push_back(
                         arith::AddIOp::create(b, loc, begins[i], far));
                   }
                   return tensor::ExtractOp::create(b, loc, source, at);
                 }));
  return success();
}

//===----------------------------------------------------------------------===//
// Pad
//===----------------------------------------------------------------------===//

static LogicalResult lowerPad(FunctionLowering &l, Operation *op) {
  Value in = operand(op, 0), out = op->getResult(0);
  int64_t rank = rankOf(in);
  FailureOr<Extents> pads = l.elementsOrLoad(op, operand(op, 1));
  if (failed(pads))
    return failure();
  SmallVector<int64_t> axes = llvm::to_vector(llvm::seq<int64_t>(0, rank));
  if (Value given = operand(op, 3)) {
    auto known = constantAxes(l, op, given, rank);
    if (failed(known))
      return failure();
    axes = *known;
  }
  if (pads->size() != 2 * axes.size())
    return op->emitOpError() << "has " << pads->size() << " pads for "
                             << axes.size() << " axes; two per axis are needed";
  Extents from = l.dims(in), low(rank, l.index(0)), high(rank, l.index(0));
  for (auto [i, axis] : llvm::enumerate(axes)) {
    low[axis] = (*pads)[i];
    high[axis] = (*pads)[i + axes.size()];
  }
  Extents to;
  for (int64_t i = 0; i < rank; ++i)
    to.push_back(l.max(l.index(0), l.add(from[i], l.add(low[i], high[i]))));
  to = l.bindDims(out, to);
  Value source = l.tensor(in);
  Type element = elementOf(source);
  StringRef mode = stringAttr(op, "mode", "constant");

  Value fill;
  if (mode == "constant") {
    if (Value given = operand(op, 2))
      fill = l.extract(l.tensor(given), Extents(rankOf(given), l.index(0)));
    else
      fill = l.scalar(element, 0);
    // Without negative pads the operand is a window of the result.
    bool grows = true;
    for (int64_t i = 0; i < rank; ++i)
      grows &= getConstantIntValue(low[i]).value_or(-1) >= 0 &&
               getConstantIntValue(high[i]).value_or(-1) >= 0;
    if (grows) {
      l.set(out, l.insertSlice(l.filled(to, fill), source, low));
      return success();
    }
  } else if (mode != "reflect" && mode != "edge" && mode != "wrap") {
    return op->emitOpError() << "has mode '" << mode
                             << "'; accepted: constant, reflect, edge, wrap";
  } else {
    for (int64_t i = 0; i < rank; ++i)
      if (!getConstantIntValue(from[i]))
        l.check(l.b.createOrFold<arith::OrIOp>(
                    l.loc(),
                    l.compare(arith::CmpIPredicate::sgt, from[i], l.index(0)),
                    l.compare(arith::CmpIPredicate::eq, to[i], l.index(0))),
                "cannot take values from an empty dimension", 3);
  }
  SmallVector<Value> offset, extent;
  for (int64_t i = 0; i < rank; ++i) {
    offset.push_back(l.value(low[i]));
    extent.push_back(l.value(from[i]));
  }
  l.set(out,
        l.pointwise(to, element, {}, {}, [&](OpBuilder &b, Location loc,
                                             ValueRange) -> Value {
          auto number = [&](int64_t v) -> Value {
            return arith::ConstantIndexOp::create(b, loc, v);
          };
          Value zero = number(0), one = number(1);
          Value inside;
          SmallVector<Value> at;
          for (int64_t i = 0; i < rank; ++i) {
            Value n = arith::SubIOp::create(
                b, loc, linalg::IndexOp::create(b, loc, i), offset[i]);
            Value last = arith::SubIOp::create(b, loc, extent[i], one);
            if (mode == "constant") {
              // One unsigned comparison tests both ends.
              Value ok = arith::CmpIOp::create(
                  b, loc, arith::CmpIPredicate::ult, n, extent[i]);
              inside = inside ? Value(arith::AndIOp::create(b, loc, inside, ok))
                              : ok;
            }
            if (mode == "wrap") {
              Value r = arith::RemSIOp::create(b, loc, n, extent[i]);
              Value below = arith::CmpIOp::create(
                  b, loc, arith::CmpIPredicate::slt, r, zero);
              Value wrapped = arith::AddIOp::create(b, loc, r, extent[i]);
              n = arith::SelectOp::create(b, loc, below, wrapped, r);
            } else if (mode == "reflect") {
              // A walk to and fro with period 2 (extent - 1).
              Value period = arith::MaxSIOp::create(
                  b, loc, arith::MulIOp::create(b, loc, last, number(2)), one);
              Value r = arith::RemSIOp::create(b, loc, n, period);
              Value size = arith::MaxSIOp::create(
                  b, loc, r, arith::SubIOp::create(b, loc, zero, r));
              Value mirrored = arith::SubIOp::create(b, loc, period, size);
              n = arith::MinSIOp::create(b, loc, size, mirrored);
              n = arith::MinSIOp::create(b, loc, n, last);
            }
            Value low0 = arith::MaxSIOp::create(b, loc, n, zero);
            at.push_back(arith::MinSIOp::create(b, loc, low0, last));
          }
          if (!inside)
            return tensor::ExtractOp::create(b, loc, source, at);
          // Reading is only safe where there is something to read.
          auto guarded = scf::IfOp::create(
              b, loc, inside,
              [&](OpBuilder &nested, Location where) {
                Value v =
                    tensor::ExtractOp::create(nested, where, source, at);
                scf::YieldOp::create(nested, where, v);
              },
              [&](OpBuilder &nested, Location where) {
                scf::YieldOp::create(nested, where, fill);
              });
          return guarded.getResult(0);
        }));
  return success();
}

//===----------------------------------------------------------------------===//
// New tensors
//===----------------------------------------------------------------------===//

static LogicalResult lowerConstantOfShape(FunctionLowering &l, Operation *op) {
  Value out = op->getResult(0);
  FailureOr<Extents> shape = l.elementsOrLoad(op, operand(op, 0));
  if (failed(shape))
    return failure();
  for (OpFoldResult extent : *shape)
    if (!getConstantIntValue(extent))
      l.check(l.compare(arith::CmpIPredicate::sge, extent, l.index(0)),
              "negative extent");
  Type element = l.convertElement(elementOf(out));
  Value fill = l.scalar(element, 0);
  if (auto given = op->getAttrOfType<DenseElementsAttr>("value")) {
    if (given.getNumElements() != 1)
      return op->emitOpError() << "has a value of " << given.getNumElements()
                               << " elements; one is accepted";
    if (isUnsigned(given.getElementType()))
      given = given.bitcast(element);
    fill = l.constant(cast<TypedAttr>(*given.getValues<Attribute>().begin()));
  }
  l.set(out, l.filled(l.bindDims(out, *shape), fill));
  return success();
}

static LogicalResult lowerRange(FunctionLowering &l, Operation *op) {
  Value out = op->getResult(0);
  Type element = l.convertElement(elementOf(out));
  SmallVector<Value> bounds;
  for (Value v : op->getOperands())
    bounds.push_back(l.extract(l.tensor(v), Extents(rankOf(v), l.index(0))));
  OpBuilder &b = l.b;
  Location loc = l.loc();
  OpFoldResult count = l.resultDim(out, 0, [&]() -> OpFoldResult {
    // max(0, ceil((limit - start) / delta))
    if (isa<FloatType>(element)) {
      Value span = arith::SubFOp::create(b, loc, widen(b, loc, bounds[1]),
                                         widen(b, loc, bounds[0]));
      Value steps =
          arith::DivFOp::create(b, loc, span, widen(b, loc, bounds[2]));
      Value n = math::CeilOp::create(b, loc, steps);
      Value positive =
          arith::CmpFOp::create(b, loc, arith::CmpFPredicate::OGT, n,
                                l.scalar(n.getType(), 0));
      Value least = arith::CmpFOp::create(b, loc, arith::CmpFPredicate::OLT, n,
                                          l.scalar(n.getType(), 1e15));
      l.check(arith::OrIOp::create(
                  b, loc, least,
                  arith::XOrIOp::create(b, loc, positive,
                                        l.constant(b.getBoolAttr(true)))),
              "the number of elements is too large");
      Value safe = arith::SelectOp::create(
          b, loc, arith::AndIOp::create(b, loc, positive, least), n,
          l.scalar(n.getType(), 0));
      Value whole = arith::FPToSIOp::create(b, loc, b.getI64Type(), safe);
      return arith::IndexCastOp::create(b, loc, b.getIndexType(), whole)
          .getResult();
    }
    SmallVector<OpFoldResult> at;
    for (Value v : bounds)
      at.push_back(
          arith::IndexCastOp::create(b, loc, b.getIndexType(), v).getResult());
    l.check(l.compare(arith::CmpIPredicate::ne, at[2], l.index(0)),
            "delta is 0");
    OpFoldResult span = l.sub(at[1], at[0]);
    Value down = l.compare(arith::CmpIPredicate::slt, at[2], l.index(0));
    OpFoldResult length = l.select(down, l.sub(l.index(0), span), span);
    OpFoldResult step = l.select(down, l.sub(l.index(0), at[2]), at[2]);
    step = l.max(step, l.index(1));
    return l.ceilDiv(l.max(length, l.index(0)), step);
  });
  l.set(out,
        l.pointwise(count, element, {}, {},
                    [&](OpBuilder &nested, Location at, ValueRange) -> Value {
                      Value i = linalg::IndexOp::create(nested, at, 0);
                      if (isa<FloatType>(element)) {
                        Value first = widen(nested, at, bounds[0]);
                        Value whole = arith::IndexCastOp::create(
                            nested, at, nested.getI64Type(), i);
                        Value n = arith::SIToFPOp::create(
                            nested, at, first.getType(), whole);
                        Value far = arith::MulFOp::create(
                            nested, at, n, widen(nested, at, bounds[2]));
                        Value v =
                            arith::AddFOp::create(nested, at, first, far);
                        return narrow(nested, at, v, element);
                      }
                      Value n = arith::IndexCastOp::create(nested, at,
                                                           element, i);
                      Value far =
                          arith::MulIOp::create(nested, at, n, bounds[2]);
                      return arith::AddIOp::create(nested, at, bounds[0], far);
                    }));
  return success();
}

void lower::registerMovement(LoweringTable &table) {
  table.add("onnx.Concat", lowerConcat);
  table.add("onnx.ConstantOfShape", lowerConstantOfShape);
  table.add("onnx.Dropout", [](FunctionLowering &l, Operation *op) {
    // Inference: the identity; a mask of ones where it is asked for.
    Value mask = result(op, 1);
    if (Value training = operand(op, 2)) {
      auto known = l.constants(training);
      if (!known || known->front() != 0)
        return unsupported(op, "training_mode other than a constant false");
    }
    l.forward(result(op, 0), operand(op, 0));
    if (mask)
      l.set(mask, l.filled(l.dims(operand(op, 0)),
                           l.constant(l.b.getBoolAttr(true))));
    return success();
  });
  table.add("onnx.Expand", lowerExpand);
  table.add("onnx.Flatten", lowerFlatten);
  table.add("onnx.Identity", lowerIdentity);
  table.add("onnx.Pad", lowerPad);
  table.add("onnx.Range", lowerRange);
  table.add("onnx.Reshape", lowerReshape);
  table.add("onnx.Shape", lowerShape);
  table.add("onnx.Size", lowerShape);
  table.add("onnx.Slice", lowerSlice);
  table.add("onnx.Split", lowerSplit);
  table.add("onnx.Squeeze", lowerSqueeze);
  table.add("onnx.Tile", lowerTile);
  table.add("onnx.Transpose", lowerTranspose);
  table.add("onnx.Unsqueeze", lowerUnsqueeze);
}
