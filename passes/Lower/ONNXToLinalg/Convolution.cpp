//===- Convolution.cpp - Conv, ConvTranspose ------------------------------===//
//
// A convolution becomes one contraction, in one of two forms:
//
// - direct: each window is read where it is. Loops: batch, group, leading
//   output dims, output channel, last output dim; inside, input channel and
//   window. The last output dim is contiguous in the padded input (stride 1),
//   the rows of a tile are output channels, which share what they read.
//   Depthwise convolutions always take it: there is nothing to share.
// - gathered: windows are copied into a matrix (input channel and window by
//   output position), then it is a matrix product whose columns run over all
//   output positions. That pays when the last output dim is short or strided.
//   A window of one element needs no copy.
//
// A transposed convolution is the matrix product of the weights and the input,
// whose columns are then added up: each output element collects those that
// fall on it, so the sum has a fixed order.
//
// Sums start with the bias and are in f32 for f16 and bf16.
//
//===----------------------------------------------------------------------===//

#include "passes/Lower/ONNXToLinalg/Reductions.h"
#include "passes/Lower/ONNXToLinalg/Windows.h"

using namespace mlir;
using namespace moe;
using namespace moe::lower;

namespace {

/// The loops of a contraction, added one by one.
struct Loops {
  Extents extents;
  SmallVector<bool> reduced;

  unsigned add(OpFoldResult extent, bool isReduced = false) {
    extents.push_back(extent);
    reduced.push_back(isReduced);
    return extents.size() - 1;
  }
  /// Extents of the loops that are not reduced.
  Extents kept() const {
    Extents out;
    for (auto [extent, gone] : llvm::zip(extents, reduced))
      if (!gone)
        out.push_back(extent);
    return out;
  }
};

ReassociationIndices range(int64_t from, int64_t to) {
  return llvm::to_vector(llvm::seq<int64_t>(from, to));
}

/// Views groups of neighbouring dims as one dim each.
Value collapse(FunctionLowering &l, Value tensor,
               ArrayRef<ReassociationIndices> groups) {
  if (static_cast<int64_t>(groups.size()) == rankOf(tensor))
    return tensor;
  auto type = tensor::CollapseShapeOp::inferCollapsedType(
      cast<RankedTensorType>(tensor.getType()), groups);
  return tensor::CollapseShapeOp::create(l.b, l.loc(), type, tensor, groups);
}

/// Splits dims into groups of dims, which have the extents `shape`.
Value expand(FunctionLowering &l, Value tensor, ArrayRef<OpFoldResult> shape,
             ArrayRef<ReassociationIndices> groups) {
  auto type = cast<RankedTensorType>(tensor.getType());
  if (groups.size() == shape.size())
    return tensor;
  SmallVector<int64_t> extents, source(type.getShape());
  for (OpFoldResult extent : shape)
    extents.push_back(
        getConstantIntValue(extent).value_or(ShapedType::kDynamic));
  // A dim is static exactly if all that it is split into is.
  for (auto [i, group] : llvm::enumerate(groups)) {
    int64_t product = 1;
    for (int64_t d : group)
      product =
          ShapedType::isDynamic(extents[d]) || ShapedType::isDynamic(product)
              ? ShapedType::kDynamic
              : product * extents[d];
    source[i] = product;
  }
  auto wanted = RankedTensorType::get(source, type.getElementType());
  if (wanted != type)
    tensor = tensor::CastOp::create(l.b, l.loc(), wanted, tensor);
  return tensor::ExpandShapeOp::create(
      l.b, l.loc(), RankedTensorType::get(extents, type.getElementType()),
      tensor, groups, shape);
}

/// acc + x * w, in the accumulator's type.
Value multiplyAdd(OpBuilder &b, Location loc, ValueRange args, Value acc) {
  Value x = toFloat(b, loc, args[0], acc.getType());
  Value w = toFloat(b, loc, args[1], acc.getType());
  Value product = arith::MulFOp::create(b, loc, x, w);
  return arith::AddFOp::create(b, loc, acc, product);
}

/// What Conv and ConvTranspose have in common.
struct Convolution {
  FunctionLowering &l;
  Operation *op;
  Value x, w, bias;
  unsigned spatial = 0;
  int64_t group = 1;
  Extents inShape, kernel;
  /// Channels of the input and of the output, in all and of one group.
  OpFoldResult inChannels, inPerGroup, outChannels, outPerGroup;
  Type element, type;

  Convolution(FunctionLowering &l, Operation *op)
      : l(l), op(op), x(operand(op, 0)), w(operand(op, 1)),
        bias(operand(op, 2)) {}

  bool grouped() const { return group > 1; }
  static bool isOne(OpFoldResult extent) {
    return isConstantIntValue(extent, 1);
  }

  /// Two extents must be equal: an error now, or a check at run time.
  LogicalResult require(OpFoldResult a, OpFoldResult c, const Twine &what) {
    auto left = getConstantIntValue(a), right = getConstantIntValue(c);
    if (left && right && *left != *right)
      return op->emitOpError() << what << ": " << *left << " and " << *right;
    l.checkEqual(a, c, what);
    return success();
  }

  LogicalResult prepare(bool transposed);
  AffineMap map(const Loops &loops, ArrayRef<AffineExpr> exprs) {
    return AffineMap::get(loops.extents.size(), 0, exprs, l.b.getContext());
  }
  AffineExpr d(unsigned loop) { return l.b.getAffineDimExpr(loop); }
  AffineExpr zero() { return l.b.getAffineConstantExpr(0); }

  /// A tensor of extents `shape` that sums start from: the bias, whose channel
  /// is split into the dims `channelDims`, or 0.
  Value start(ArrayRef<OpFoldResult> shape, ArrayRef<unsigned> channelDims);
  /// The input with channels split into groups where there are several and
  /// spatial dims merged to one: [n, (g), c, i].
  Value flatInput(Value tensor);
  /// Rounds to the element type and binds the result.
  void finish(Value y);
};

LogicalResult Convolution::prepare(bool transposed) {
  int64_t rank = rankOf(x);
  if (rank < 3 || rankOf(w) != rank)
    return op->emitOpError()
           << "takes an input and weights of the same rank, 3 or more, not of "
              "ranks "
           << rank << " and " << rankOf(w);
  spatial = rank - 2;
  group = intAttr(op, "group", 1);
  if (group < 1)
    return op->emitOpError()
           << "has group = " << group << "; at least 1 is accepted";
  inShape = l.dims(x);
  inChannels = inShape[1];
  for (unsigned i = 0; i < spatial; ++i)
    kernel.push_back(l.dim(w, 2 + i));
  if (auto given = intsAttr(op, "kernel_shape")) {
    if (given->size() != spatial)
      return op->emitOpError()
             << "has " << given->size() << " extents in kernel_shape; "
             << spatial << " are accepted here";
    for (unsigned i = 0; i < spatial; ++i)
      if (failed(require(kernel[i], l.index((*given)[i]),
                         "kernel_shape differs from the weights' extents")))
        return failure();
  }
  OpFoldResult groups = l.index(group);
  OpFoldResult first = l.dim(w, 0), second = l.dim(w, 1);
  if (transposed) {
    if (failed(require(first, inChannels,
                       "the weights are for another number of channels")))
      return failure();
    inPerGroup = l.div(first, groups);
    outPerGroup = second;
    outChannels = l.mul(second, groups);
    if (failed(require(l.mul(inPerGroup, groups), first,
                       "the input channels do not divide into the groups")))
      return failure();
  } else {
    inPerGroup = second;
    outChannels = first;
    outPerGroup = l.div(first, groups);
    if (failed(require(l.mul(second, groups), inChannels,
                       "the weights are for another number of channels")) ||
        failed(require(l.mul(outPerGroup, groups), first,
                       "the output channels do not divide into the groups")))
      return failure();
  }
  if (bias) {
    if (rankOf(bias) != 1)
      return op->emitOpError()
             << "takes a bias of rank 1, not " << rankOf(bias);
    if (failed(require(l.dim(bias, 0), outChannels,
                       "the bias is for another number of channels")))
      return failure();
  }
  element = FunctionLowering::convertElement(elementOf(x));
  type = getComputeType(element);
  return success();
}

Value Convolution::start(ArrayRef<OpFoldResult> shape,
                         ArrayRef<unsigned> channelDims) {
  if (!bias)
    return l.filled(shape, l.scalar(type, 0));
  Value source = l.tensor(bias);
  if (channelDims.size() == 2) {
    Extents split{l.index(group), outPerGroup};
    source = expand(l, source, split, {range(0, 2)});
  }
  SmallVector<AffineExpr> exprs;
  for (unsigned dim : channelDims)
    exprs.push_back(d(dim));
  AffineMap map = AffineMap::get(shape.size(), 0, exprs, l.b.getContext());
  return l.pointwise(shape, type, source, map,
                     [&](OpBuilder &b, Location loc, ValueRange args) {
                       return toFloat(b, loc, args[0], type);
                     });
}

Value Convolution::flatInput(Value tensor) {
  tensor =
      collapse(l, tensor, {range(0, 1), range(1, 2), range(2, 2 + spatial)});
  if (!grouped())
    return tensor;
  Extents positions(inShape.begin() + 2, inShape.end());
  Extents split{inShape[0], l.index(group), inPerGroup, l.product(positions)};
  return expand(l, tensor, split, {range(0, 1), range(1, 3), range(3, 4)});
}

void Convolution::finish(Value y) {
  if (type != element) {
    AffineMap map =
        AffineMap::getMultiDimIdentityMap(rankOf(y), l.b.getContext());
    Extents shape{inShape[0], outChannels};
    for (unsigned i = 0; i < spatial; ++i)
      shape.push_back(l.dim(op->getResult(0), 2 + i));
    y = l.pointwise(shape, element, y, map,
                    [&](OpBuilder &b, Location loc, ValueRange args) {
                      return toFloat(b, loc, args[0], element);
                    });
  }
  l.set(op->getResult(0), y);
}

//===----------------------------------------------------------------------===//
// Conv
//===----------------------------------------------------------------------===//

/// Reads windows in place.
Value buildDirect(Convolution &c, const Windows &windows, Value source,
                  ArrayRef<OpFoldResult> paddedShape) {
  FunctionLowering &l = c.l;
  unsigned spatial = c.spatial;
  bool splitOut = !c.grouped() || !c.isOne(c.outPerGroup);
  bool splitIn = !c.isOne(c.inPerGroup);

  Loops loops;
  unsigned n = loops.add(c.inShape[0]);
  unsigned g = c.grouped() ? loops.add(l.index(c.group)) : 0;
  SmallVector<unsigned> o, k;
  for (unsigned i = 0; i + 1 < spatial; ++i)
    o.push_back(loops.add(windows.out[i]));
  unsigned m = splitOut ? loops.add(c.outPerGroup) : 0;
  o.push_back(loops.add(windows.out.back()));
  unsigned ic = splitIn ? loops.add(c.inPerGroup, true) : 0;
  for (OpFoldResult extent : c.kernel)
    k.push_back(loops.add(extent, true));

  // The input as [n, (g), (c), position...], c apart only where both are.
  SmallVector<AffineExpr> xExprs{c.d(n)}, wExprs;
  if (c.grouped()) {
    xExprs.push_back(c.d(g));
    if (splitIn) {
      Extents split{paddedShape[0], l.index(c.group), c.inPerGroup};
      llvm::append_range(split, paddedShape.drop_front(2));
      SmallVector<ReassociationIndices> groups{range(0, 1), range(1, 3)};
      for (unsigned i = 0; i < spatial; ++i)
        groups.push_back(range(3 + i, 4 + i));
      source = expand(l, source, split, groups);
      xExprs.push_back(c.d(ic));
    }
  } else {
    xExprs.push_back(splitIn ? c.d(ic) : c.zero());
  }
  for (unsigned i = 0; i < spatial; ++i)
    xExprs.push_back(windows.position(i, o[i], k[i]));

  Value weights = l.tensor(c.w);
  if (c.grouped()) {
    wExprs.push_back(c.d(g));
    if (splitOut) {
      Extents split{l.index(c.group), c.outPerGroup, c.inPerGroup};
      llvm::append_range(split, c.kernel);
      SmallVector<ReassociationIndices> groups{range(0, 2)};
      for (unsigned i = 0; i <= spatial; ++i)
        groups.push_back(range(2 + i, 3 + i));
      weights = expand(l, weights, split, groups);
    }
  }
  if (splitOut)
    wExprs.push_back(c.d(m));
  wExprs.push_back(splitIn ? c.d(ic) : c.zero());
  for (unsigned loop : k)
    wExprs.push_back(c.d(loop));

  SmallVector<unsigned> channelDims;
  if (c.grouped())
    channelDims.push_back(g);
  if (splitOut)
    channelDims.push_back(m);
  Extents outShape = loops.kept();
  Value y = l.reduce(loops.extents, loops.reduced,
                     c.start(outShape, channelDims), {source, weights},
                     {c.map(loops, xExprs), c.map(loops, wExprs)}, multiplyAdd);

  // Channels in front of positions.
  if (splitOut && spatial > 1) {
    SmallVector<int64_t> perm{n};
    if (c.grouped())
      perm.push_back(g);
    perm.push_back(m);
    for (unsigned loop : o)
      perm.push_back(loop);
    y = l.transpose(y, outShape, perm);
  }
  if (c.grouped() && splitOut) {
    SmallVector<ReassociationIndices> groups{range(0, 1), range(1, 3)};
    for (unsigned i = 0; i < spatial; ++i)
      groups.push_back(range(3 + i, 4 + i));
    y = collapse(l, y, groups);
  }
  return y;
}

/// Copies windows into a matrix, then multiplies.
Value buildGathered(Convolution &c, const Windows &windows, Value source,
                    ArrayRef<OpFoldResult> paddedShape) {
  FunctionLowering &l = c.l;
  unsigned spatial = c.spatial;
  unsigned lead = c.grouped() ? 2 : 1; // batch, group
  OpFoldResult positions = l.product(windows.out);
  OpFoldResult terms = l.mul(c.inPerGroup, l.product(c.kernel));

  Value columns;
  if (windows.isPointwise()) {
    columns = c.flatInput(source);
  } else {
    Extents shape{c.inShape[0]};
    SmallVector<AffineExpr> exprs{c.d(0)};
    if (c.grouped()) {
      Extents split{paddedShape[0], l.index(c.group), c.inPerGroup};
      llvm::append_range(split, paddedShape.drop_front(2));
      SmallVector<ReassociationIndices> groups{range(0, 1), range(1, 3)};
      for (unsigned i = 0; i < spatial; ++i)
        groups.push_back(range(3 + i, 4 + i));
      source = expand(l, source, split, groups);
      shape.push_back(l.index(c.group));
      exprs.push_back(c.d(1));
    }
    shape.push_back(c.inPerGroup);
    exprs.push_back(c.d(lead));
    llvm::append_range(shape, c.kernel);
    llvm::append_range(shape, windows.out);
    for (unsigned i = 0; i < spatial; ++i)
      exprs.push_back(
          windows.position(i, lead + 1 + spatial + i, lead + 1 + i));
    AffineMap map = AffineMap::get(shape.size(), 0, exprs, l.b.getContext());
    columns = l.pointwise(
        shape, c.element, source, map,
        [](OpBuilder &, Location, ValueRange args) { return args[0]; });
    SmallVector<ReassociationIndices> groups;
    for (unsigned i = 0; i < lead; ++i)
      groups.push_back(range(i, i + 1));
    groups.push_back(range(lead, lead + 1 + spatial));
    groups.push_back(range(lead + 1 + spatial, lead + 1 + 2 * spatial));
    columns = collapse(l, columns, groups);
  }

  // Weights as [(g), m, term].
  Value weights =
      collapse(l, l.tensor(c.w), {range(0, 1), range(1, 2 + spatial)});
  Loops loops;
  unsigned n = loops.add(c.inShape[0]);
  unsigned g = c.grouped() ? loops.add(l.index(c.group)) : 0;
  unsigned m = loops.add(c.outPerGroup), o = loops.add(positions);
  unsigned k = loops.add(terms, true);
  SmallVector<AffineExpr> xExprs{c.d(n), c.d(k), c.d(o)};
  SmallVector<AffineExpr> wExprs{c.d(m), c.d(k)};
  SmallVector<unsigned> channelDims{m};
  if (c.grouped()) {
    Extents split{l.index(c.group), c.outPerGroup, terms};
    weights = expand(l, weights, split, {range(0, 2), range(2, 3)});
    xExprs.insert(xExprs.begin() + 1, c.d(g));
    wExprs.insert(wExprs.begin(), c.d(g));
    channelDims.insert(channelDims.begin(), g);
  }
  Value y = l.reduce(loops.extents, loops.reduced,
                     c.start(loops.kept(), channelDims), {columns, weights},
                     {c.map(loops, xExprs), c.map(loops, wExprs)}, multiplyAdd);
  if (c.grouped())
    y = collapse(l, y, {range(0, 1), range(1, 3), range(3, 4)});
  Extents shape{c.inShape[0], c.outChannels};
  llvm::append_range(shape, windows.out);
  return expand(l, y, shape, {range(0, 1), range(1, 2), range(2, 2 + spatial)});
}

LogicalResult lowerConv(FunctionLowering &l, Operation *op) {
  Convolution c(l, op);
  if (failed(c.prepare(/*transposed=*/false)))
    return failure();
  FailureOr<WindowAttrs> attrs = getWindowAttrs(op, c.spatial);
  if (failed(attrs))
    return failure();
  Windows windows(l, *attrs, c.x, c.kernel);
  windows.bind(op->getResult(0));
  Extents shape = c.inShape;
  Value source = windows.pad(l.tensor(c.x), shape, l.scalar(c.element, 0));

  // Shorter rows of the output leave much of a vector empty.
  constexpr int64_t kLongRow = 64;
  bool depthwise = c.grouped() && c.isOne(c.inPerGroup);
  std::optional<int64_t> row = getConstantIntValue(windows.out.back());
  bool longRows = c.spatial == 1 || (row && *row >= kLongRow);
  bool direct = depthwise || (windows.strides.back() == 1 && longRows &&
                              !windows.isPointwise());
  Value y = direct ? buildDirect(c, windows, source, shape)
                   : buildGathered(c, windows, source, shape);
  c.finish(y);
  return success();
}

//===----------------------------------------------------------------------===//
// ConvTranspose
//===----------------------------------------------------------------------===//

LogicalResult lowerConvTranspose(FunctionLowering &l, Operation *op) {
  Convolution c(l, op);
  if (failed(c.prepare(/*transposed=*/true)))
    return failure();
  unsigned spatial = c.spatial;
  FailureOr<WindowAttrs> attrs = getWindowAttrs(op, spatial);
  if (failed(attrs))
    return failure();
  SmallVector<int64_t> noInts;
  SmallVector<int64_t> extra = intsAttr(op, "output_padding").value_or(noInts);
  if (extra.empty())
    extra.assign(spatial, 0);
  SmallVector<int64_t> wanted = intsAttr(op, "output_shape").value_or(noInts);
  // Some exporters write batch and channels as well.
  if (wanted.size() == spatial + 2)
    wanted.erase(wanted.begin(), wanted.begin() + 2);
  bool hasShape = !wanted.empty();
  if (extra.size() != spatial || (hasShape && wanted.size() != spatial))
    return op->emitOpError()
           << "takes one entry per spatial dimension (" << spatial
           << ") in output_padding and output_shape";
  bool isSame = attrs->autoPad == WindowAttrs::SameUpper ||
                attrs->autoPad == WindowAttrs::SameLower;

  // Extents of the output, and how much is cut off in front.
  Extents out, before;
  OpFoldResult one = l.index(1), zero = l.index(0);
  for (unsigned i = 0; i < spatial; ++i) {
    OpFoldResult extent = c.inShape[2 + i];
    l.check(l.compare(arith::CmpIPredicate::sge, extent, one),
            "spatial dimension " + Twine(i) + " is empty", /*code=*/3);
    if (extra[i] < 0 || (hasShape && wanted[i] < 0))
      return op->emitOpError("has a negative entry in output_padding or "
                             "output_shape");
    OpFoldResult stride = l.index(attrs->strides[i]);
    OpFoldResult reach = l.add(
        l.mul(l.sub(c.kernel[i], one), l.index(attrs->dilations[i])), one);
    OpFoldResult full = l.add(l.add(l.mul(l.sub(extent, one), stride), reach),
                              l.index(extra[i]));
    if (hasShape || isSame) {
      OpFoldResult target =
          hasShape ? l.index(wanted[i]) : l.mul(extent, stride);
      OpFoldResult total = l.max(l.sub(full, target), zero);
      OpFoldResult less = l.div(total, l.index(2));
      out.push_back(target);
      before.push_back(
          attrs->autoPad == WindowAttrs::SameUpper ? less : l.sub(total, less));
    } else {
      before.push_back(l.index(attrs->padBegin[i]));
      OpFoldResult rest =
          l.sub(full, l.index(attrs->padBegin[i] + attrs->padEnd[i]));
      l.check(l.compare(arith::CmpIPredicate::sge, rest, zero),
              "pads are larger than the output in spatial dimension " +
                  Twine(i),
              /*code=*/3);
      out.push_back(rest);
    }
    OpFoldResult known =
        l.resultDim(op->getResult(0), 2 + i, [&] { return out[i]; });
    l.checkEqual(known, out[i],
                 "the result's spatial dimension " + Twine(i) +
                     " does not have the extent that the model declares");
    out[i] = known;
  }

  // [n, (g), m * kernel, position of the input]
  Extents in(c.inShape.begin() + 2, c.inShape.end());
  Value source = c.flatInput(l.tensor(c.x));
  Value weights =
      collapse(l, l.tensor(c.w), {range(0, 1), range(1, 2 + spatial)});
  OpFoldResult rows = l.mul(c.outPerGroup, l.product(c.kernel));
  Loops loops;
  unsigned n = loops.add(c.inShape[0]);
  unsigned g = c.grouped() ? loops.add(l.index(c.group)) : 0;
  unsigned row = loops.add(rows), position = loops.add(l.product(in));
  unsigned channel = loops.add(c.inPerGroup, true);
  SmallVector<AffineExpr> xExprs{c.d(n), c.d(channel), c.d(position)};
  SmallVector<AffineExpr> wExprs{c.d(channel), c.d(row)};
  if (c.grouped()) {
    Extents split{l.index(c.group), c.inPerGroup, rows};
    weights = expand(l, weights, split, {range(0, 2), range(2, 3)});
    xExprs.insert(xExprs.begin() + 1, c.d(g));
    wExprs.insert(wExprs.begin(), c.d(g));
  }
  Value columns =
      l.reduce(loops.extents, loops.reduced,
               l.filled(loops.kept(), l.scalar(c.type, 0)), {source, weights},
               {c.map(loops, xExprs), c.map(loops, wExprs)}, multiplyAdd);
  if (c.grouped())
    columns = collapse(l, columns, {range(0, 1), range(1, 3), range(3, 4)});
  Extents shape{c.inShape[0], c.outChannels};
  llvm::append_range(shape, c.kernel);
  llvm::append_range(shape, in);
  columns = expand(l, columns, shape,
                   {range(0, 1), range(1, 2 + spatial),
                    range(2 + spatial, 2 + 2 * spatial)});

  // Each element of the output adds up what falls on it.
  Loops sums;
  Extents outShape{c.inShape[0], c.outChannels};
  llvm::append_range(outShape, out);
  for (OpFoldResult extent : outShape)
    sums.add(extent);
  SmallVector<AffineExpr> windowExprs;
  for (OpFoldResult extent : c.kernel)
    windowExprs.push_back(c.d(sums.add(extent, true)));
  SmallVector<Value> fronts, lasts;
  for (unsigned i = 0; i < spatial; ++i) {
    fronts.push_back(l.value(before[i]));
    lasts.push_back(l.value(l.sub(in[i], one)));
  }
  Value none = l.scalar(c.type, 0), zeroIndex = l.value(zero);
  // Only its extents matter.
  Value window = l.empty(c.kernel, c.type);
  Value y = l.reduce(
      sums.extents, sums.reduced, c.start(outShape, 1u), window,
      c.map(sums, windowExprs),
      [&](OpBuilder &b, Location loc, ValueRange, Value acc) -> Value {
        SmallVector<Value> indices, tail;
        for (unsigned i = 0; i < 2; ++i)
          indices.push_back(linalg::IndexOp::create(b, loc, i));
        Value inside;
        for (unsigned i = 0; i < spatial; ++i) {
          auto constant = [&](int64_t v) -> Value {
            return arith::ConstantIndexOp::create(b, loc, v);
          };
          Value o = linalg::IndexOp::create(b, loc, 2 + i);
          Value k = linalg::IndexOp::create(b, loc, 2 + spatial + i);
          indices.push_back(k);
          Value offset =
              arith::MulIOp::create(b, loc, k, constant(attrs->dilations[i]));
          Value at = arith::AddIOp::create(b, loc, o, fronts[i]);
          at = arith::SubIOp::create(b, loc, at, offset);
          Value stride = constant(attrs->strides[i]);
          Value source = arith::DivSIOp::create(b, loc, at, stride);
          Value rest = arith::RemSIOp::create(b, loc, at, stride);
          Value clamped = arith::MinSIOp::create(
              b, loc, arith::MaxSIOp::create(b, loc, source, zeroIndex),
              lasts[i]);
          auto test = [&](arith::CmpIPredicate predicate, Value p, Value q) {
            Value ok = arith::CmpIOp::create(b, loc, predicate, p, q);
            inside = inside ? arith::AndIOp::create(b, loc, inside, ok) : ok;
          };
          test(arith::CmpIPredicate::eq, rest, zeroIndex);
          test(arith::CmpIPredicate::sge, at, zeroIndex);
          test(arith::CmpIPredicate::sle, source, lasts[i]);
          tail.push_back(clamped);
        }
        indices.append(tail);
        Value v = tensor::ExtractOp::create(b, loc, columns, indices);
        v = arith::SelectOp::create(b, loc, inside, v, none);
        return arith::AddFOp::create(b, loc, acc, v);
      });
  c.finish(y);
  return success();
}

} // namespace

void lower::registerConvolution(LoweringTable &table) {
  table.add("onnx.Conv", lowerConv);
  table.add("onnx.ConvTranspose", lowerConvTranspose);
}
