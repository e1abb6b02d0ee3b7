//===- Pooling.cpp - pools, DepthToSpace, SpaceToDepth --------------------===//
//
// A pool is one reduction over windows of the padded input; the padding is the
// value that the reduction leaves alone. Averages are divided by the number of
// elements that count, a product of one table per spatial dim. The position of
// a maximum is a second reduction, to the smallest index of an element that
// equals it: the first in row-major order, as ONNX wants.
//
//===----------------------------------------------------------------------===//

#include "passes/Lower/ONNXToLinalg/Reductions.h"
#include "passes/Lower/ONNXToLinalg/Windows.h"

using namespace mlir;
using namespace moe;
using namespace moe::lower;

namespace moe::lower {
/// In Resize.cpp.
LogicalResult lowerResize(FunctionLowering &lowering, Operation *op);
} // namespace moe::lower

namespace {

/// Loops over the result and the windows of a pool.
struct Pool {
  FunctionLowering &l;
  Windows windows;
  Value source;
  Extents padded, outShape, loops;
  SmallVector<bool> reduced;
  AffineMap sourceMap, windowMap;
  Value window;

  unsigned spatial() const { return windows.rank(); }
  unsigned outDim(unsigned i) const { return 2 + i; }
  unsigned windowDim(unsigned i) const { return 2 + spatial() + i; }

  /// Combines `term(element of the padded input)` over each window.
  Value fold(Combine kind, Type type, BodyFn term, ValueRange perOutput = {},
             bool isUnsigned = false) {
    MLIRContext *context = l.b.getContext();
    AffineMap outMap = AffineMap::getMultiDimIdentityMap(loops.size(), context)
                           .getMajorSubMap(outShape.size());
    SmallVector<Value> operands{source, window};
    SmallVector<AffineMap> maps{sourceMap, windowMap};
    for (Value v : perOutput) {
      operands.push_back(v);
      maps.push_back(outMap);
    }
    Value init = l.filled(outShape, getIdentity(l, kind, type, isUnsigned));
    return l.reduce(
        loops, reduced, init, operands, maps,
        [&](OpBuilder &b, Location loc, ValueRange args, Value accumulator) {
          SmallVector<Value> given(args);
          given.erase(given.begin() + 1); // the window
          return combine(b, loc, kind, term(b, loc, given), accumulator,
                         isUnsigned);
        });
  }

  /// Pointwise computation over the result.
  Value map(Type element, ValueRange operands, ArrayRef<AffineMap> maps,
            BodyFn body) {
    return l.pointwise(outShape, element, operands, maps, body);
  }
  AffineMap identity() const {
    return AffineMap::getMultiDimIdentityMap(outShape.size(), l.b.getContext());
  }
};

/// Sets up a pool whose padding is `fill`.
FailureOr<Pool> preparePool(FunctionLowering &l, Operation *op,
                            llvm::function_ref<Value(Type)> fill) {
  Value x = op->getOperand(0);
  int64_t rank = rankOf(x);
  if (rank < 3)
    return op->emitOpError()
           << "takes an input of rank 3 or more, not " << rank;
  unsigned spatial = rank - 2;
  auto kernel = intsAttr(op, "kernel_shape");
  if (!kernel || kernel->size() != spatial)
    return op->emitOpError() << "needs kernel_shape with " << spatial
                             << " extents for an input of rank " << rank;
  Extents extents;
  for (int64_t extent : *kernel) {
    if (extent < 1)
      return op->emitOpError()
             << "has " << extent << " in kernel_shape; at least 1 is accepted";
    extents.push_back(l.index(extent));
  }
  FailureOr<WindowAttrs> attrs = getWindowAttrs(op, spatial);
  if (failed(attrs))
    return failure();
  Pool pool{
      l,  Windows(l, *attrs, x, extents, intAttr(op, "ceil_mode", 0) != 0),
      {}, {},
      {}, {},
      {}, {},
      {}, {}};
  pool.windows.bind(op->getResult(0));
  pool.padded = l.dims(x);
  pool.outShape = {pool.padded[0], pool.padded[1]};
  llvm::append_range(pool.outShape, pool.windows.out);
  Value tensor = l.tensor(x);
  pool.source = pool.windows.pad(tensor, pool.padded, fill(elementOf(tensor)));
  pool.loops = pool.outShape;
  llvm::append_range(pool.loops, extents);
  pool.reduced.assign(pool.loops.size(), false);
  std::fill(pool.reduced.begin() + 2 + spatial, pool.reduced.end(), true);
  // Only the extents of the window matter.
  pool.window = l.empty(extents, elementOf(tensor));

  MLIRContext *context = l.b.getContext();
  SmallVector<AffineExpr> at{l.b.getAffineDimExpr(0), l.b.getAffineDimExpr(1)};
  SmallVector<AffineExpr> inWindow;
  for (unsigned i = 0; i < spatial; ++i) {
    at.push_back(pool.windows.position(i, pool.outDim(i), pool.windowDim(i)));
    inWindow.push_back(l.b.getAffineDimExpr(pool.windowDim(i)));
  }
  pool.sourceMap = AffineMap::get(pool.loops.size(), 0, at, context);
  pool.windowMap = AffineMap::get(pool.loops.size(), 0, inWindow, context);
  return pool;
}

/// Positions of maxima as indices into the whole input.
Value getMaxIndices(Pool &pool, Operation *op, Value largest, bool isUnsigned) {
  FunctionLowering &l = pool.l;
  unsigned spatial = pool.spatial();
  Type index = l.b.getI64Type();
  SmallVector<Value> before, in;
  for (unsigned i = 0; i < spatial; ++i) {
    before.push_back(l.value(pool.windows.before[i]));
    in.push_back(l.value(pool.windows.in[i]));
  }
  Value none = getIdentity(l, Combine::Min, index), zero = l.value(l.index(0));
  Value first = pool.fold(
      Combine::Min, index,
      [&](OpBuilder &b, Location loc, ValueRange args) {
        Value found;
        if (isa<FloatType>(args[0].getType())) {
          Value equal = arith::CmpFOp::create(b, loc, arith::CmpFPredicate::OEQ,
                                              args[0], args[1]);
          Value isNaN = arith::CmpFOp::create(b, loc, arith::CmpFPredicate::UNO,
                                              args[0], args[0]);
          found = arith::OrIOp::create(b, loc, equal, isNaN);
        } else {
          found = arith::CmpIOp::create(b, loc, arith::CmpIPredicate::eq,
                                        args[0], args[1]);
        }
        // Row-major position in the plane; padding has none.
        Value flat;
        for (unsigned i = 0; i < spatial; ++i) {
          auto constant = [&](int64_t v) -> Value {
            return arith::ConstantIndexOp::create(b, loc, v);
          };
          Value o = linalg::IndexOp::create(b, loc, pool.outDim(i));
          Value k = linalg::IndexOp::create(b, loc, pool.windowDim(i));
          o = arith::MulIOp::create(b, loc, o,
                                    constant(pool.windows.strides[i]));
          k = arith::MulIOp::create(b, loc, k,
                                    constant(pool.windows.dilations[i]));
          Value at = arith::AddIOp::create(b, loc, o, k);
          at = arith::SubIOp::create(b, loc, at, before[i]);
          Value low = arith::CmpIOp::create(b, loc, arith::CmpIPredicate::sge,
                                            at, zero);
          Value high = arith::CmpIOp::create(b, loc, arith::CmpIPredicate::slt,
                                             at, in[i]);
          found = arith::AndIOp::create(b, loc, found, low);
          found = arith::AndIOp::create(b, loc, found, high);
          flat =
              flat ? arith::AddIOp::create(
                         b, loc, arith::MulIOp::create(b, loc, flat, in[i]), at)
                         .getResult()
                   : at;
        }
        flat = arith::IndexCastOp::create(b, loc, index, flat);
        return arith::SelectOp::create(b, loc, found, flat, none).getResult();
      },
      largest);

  bool columnMajor = intAttr(op, "storage_order", 0) != 0;
  Value plane = l.value(l.product(pool.windows.in));
  Value channels = l.value(pool.outShape[1]);
  return pool.map(
      index, first, pool.identity(),
      [&](OpBuilder &b, Location loc, ValueRange args) {
        Value n = linalg::IndexOp::create(b, loc, 0);
        Value c = linalg::IndexOp::create(b, loc, 1);
        Value number = arith::MulIOp::create(b, loc, n, channels);
        number = arith::AddIOp::create(b, loc, number, c);
        number = arith::MulIOp::create(b, loc, number, plane);
        Value flat =
            arith::IndexCastOp::create(b, loc, b.getIndexType(), args[0]);
        if (columnMajor) {
          // The first spatial dim runs fastest: h + w * H + d * H * W.
          Value turned = zero;
          SmallVector<Value> at(spatial);
          for (unsigned i = spatial; i-- > 1;) {
            at[i] = arith::RemUIOp::create(b, loc, flat, in[i]);
            flat = arith::DivUIOp::create(b, loc, flat, in[i]);
          }
          at[0] = flat;
          for (unsigned i = spatial; i-- > 0;) {
            turned = arith::MulIOp::create(b, loc, turned, in[i]);
            turned = arith::AddIOp::create(b, loc, turned, at[i]);
          }
          flat = turned;
        }
        flat = arith::AddIOp::create(b, loc, flat, number);
        return arith::IndexCastOp::create(b, loc, index, flat).getResult();
      });
}

LogicalResult lowerMaxPool(FunctionLowering &l, Operation *op) {
  bool isUnsigned = lower::isUnsigned(elementOf(op->getOperand(0)));
  FailureOr<Pool> pool = preparePool(l, op, [&](Type element) {
    return getIdentity(l, Combine::Max, element, isUnsigned);
  });
  if (failed(pool))
    return failure();
  // The maximum of half floats is exact in their own type.
  Type element = elementOf(pool->source);
  Value y = pool->fold(
      Combine::Max, element,
      [](OpBuilder &, Location, ValueRange args) { return args[0]; }, {},
      isUnsigned);
  l.set(op->getResult(0), y);
  if (Value indices = result(op, 1); indices && !indices.use_empty())
    l.set(indices, getMaxIndices(*pool, op, y, isUnsigned));
  return success();
}

/// For each output position along spatial dim `i`, how many elements of its
/// window count: those of the input or, with `includePad`, of its padding too.
Value getCounts(Pool &pool, unsigned i, bool includePad, Type type) {
  FunctionLowering &l = pool.l;
  const Windows &w = pool.windows;
  OpFoldResult low = l.index(0), high = w.in[i];
  if (includePad) {
    low = l.sub(low, w.before[i]);
    high = l.add(high, w.padAfter[i]);
  }
  Value lowest = l.value(low), end = l.value(high);
  Value before = l.value(w.before[i]), extent = l.value(w.kernel[i]);
  Value zero = l.value(l.index(0)), one = l.value(l.index(1));
  int64_t stride = w.strides[i], dilation = w.dilations[i];
  return l.pointwise(
      w.out[i], type, {}, {}, [&](OpBuilder &b, Location loc, ValueRange) {
        auto constant = [&](int64_t v) -> Value {
          return arith::ConstantIndexOp::create(b, loc, v);
        };
        // Number of window elements in front of `limit`.
        Value start = linalg::IndexOp::create(b, loc, 0);
        start = arith::MulIOp::create(b, loc, start, constant(stride));
        start = arith::SubIOp::create(b, loc, start, before);
        auto countBefore = [&](Value limit) -> Value {
          Value room = arith::SubIOp::create(b, loc, limit, start);
          room = arith::MaxSIOp::create(b, loc, room, zero);
          room = arith::AddIOp::create(b, loc, room, constant(dilation - 1));
          room = arith::DivSIOp::create(b, loc, room, constant(dilation));
          return arith::MinSIOp::create(b, loc, room, extent);
        };
        Value count = arith::SubIOp::create(b, loc, countBefore(end),
                                            countBefore(lowest));
        // A window of padding alone sums to 0; so be its average.
        count = arith::MaxSIOp::create(b, loc, count, one);
        return toFloat(b, loc, count, type);
      });
}

LogicalResult lowerAveragePool(FunctionLowering &l, Operation *op) {
  FailureOr<Pool> pool =
      preparePool(l, op, [&](Type element) { return l.scalar(element, 0); });
  if (failed(pool))
    return failure();
  Type element = elementOf(pool->source), type = getComputeType(element);
  Value sum = pool->fold(Combine::Sum, type,
                         [&](OpBuilder &b, Location loc, ValueRange args) {
                           return toFloat(b, loc, args[0], type);
                         });
  bool includePad = intAttr(op, "count_include_pad", 0) != 0;
  SmallVector<Value> operands{sum};
  SmallVector<AffineMap> maps{pool->identity()};
  Value all;
  if (pool->windows.needsPadding()) {
    for (unsigned i = 0; i < pool->spatial(); ++i) {
      operands.push_back(getCounts(*pool, i, includePad, type));
      maps.push_back(AffineMap::get(pool->outShape.size(), 0,
                                    l.b.getAffineDimExpr(pool->outDim(i))));
    }
  } else {
    OpFoldResult count = l.product(pool->windows.kernel);
    all = l.scalar(type, static_cast<double>(*getConstantIntValue(count)));
  }
  l.set(op->getResult(0),
        pool->map(element, operands, maps,
                  [&](OpBuilder &b, Location loc, ValueRange args) {
                    Value count = all;
                    for (Value factor : args.drop_front())
                      count = count
                                  ? arith::MulFOp::create(b, loc, count, factor)
                                        .getResult()
                                  : factor;
                    Value v = arith::DivFOp::create(b, loc, args[0], count);
                    return toFloat(b, loc, v, element);
                  }));
  return success();
}

/// Reports a norm that is none.
LogicalResult checkNorm(Operation *op) {
  int64_t p = intAttr(op, "p", 2);
  if (p >= 1)
    return success();
  return op->emitOpError() << "has p = " << p << "; at least 1 is accepted";
}

/// |v|^p
Value raise(OpBuilder &b, Location loc, Value v, int64_t p) {
  if (p == 2)
    return arith::MulFOp::create(b, loc, v, v);
  v = math::AbsFOp::create(b, loc, v);
  if (p == 1)
    return v;
  Value exponent = arith::ConstantOp::create(
      b, loc, b.getFloatAttr(v.getType(), static_cast<double>(p)));
  return math::PowFOp::create(b, loc, v, exponent);
}

/// v^(1/p)
Value takeRoot(OpBuilder &b, Location loc, Value v, int64_t p) {
  if (p == 1)
    return v;
  if (p == 2)
    return math::SqrtOp::create(b, loc, v);
  Value exponent = arith::ConstantOp::create(
      b, loc, b.getFloatAttr(v.getType(), 1.0 / static_cast<double>(p)));
  return math::PowFOp::create(b, loc, v, exponent);
}

LogicalResult lowerLpPool(FunctionLowering &l, Operation *op) {
  if (failed(checkNorm(op)))
    return failure();
  FailureOr<Pool> pool =
      preparePool(l, op, [&](Type element) { return l.scalar(element, 0); });
  if (failed(pool))
    return failure();
  int64_t p = intAttr(op, "p", 2);
  Type element = elementOf(pool->source), type = getComputeType(element);
  Value sum = pool->fold(
      Combine::Sum, type, [&](OpBuilder &b, Location loc, ValueRange args) {
        return raise(b, loc, toFloat(b, loc, args[0], type), p);
      });
  l.set(op->getResult(0),
        pool->map(element, sum, pool->identity(),
                  [&](OpBuilder &b, Location loc, ValueRange args) {
                    Value v = takeRoot(b, loc, args[0], p);
                    return toFloat(b, loc, v, element);
                  }));
  return success();
}

//===----------------------------------------------------------------------===//
// Global pools
//===----------------------------------------------------------------------===//

enum class Global { Average, Max, Lp };

template <Global kind>
LogicalResult lowerGlobalPool(FunctionLowering &l, Operation *op) {
  if (kind == Global::Lp && failed(checkNorm(op)))
    return failure();
  Value x = op->getOperand(0);
  int64_t rank = rankOf(x);
  if (rank < 3)
    return op->emitOpError()
           << "takes an input of rank 3 or more, not " << rank;
  int64_t p = intAttr(op, "p", 2);
  Value source = l.tensor(x);
  Type element = elementOf(source), type = getComputeType(element);
  SmallVector<bool> reduced(rank, true);
  reduced[0] = reduced[1] = false;
  Reduction planes(l, source, l.dims(x), reduced);
  auto term = [&](OpBuilder &b, Location loc, ValueRange args) -> Value {
    Value v = toFloat(b, loc, args[0], type);
    return kind == Global::Lp ? raise(b, loc, v, p) : v;
  };
  Value rows;
  if (kind == Global::Average)
    rows = planes.mean(type, term);
  else
    rows = planes.fold(kind == Global::Max ? Combine::Max : Combine::Sum, type,
                       term);
  if (kind == Global::Lp || type != element)
    rows = planes.mapRows(element, rows,
                          [&](OpBuilder &b, Location loc, ValueRange args) {
                            Value v = args[0];
                            if (kind == Global::Lp)
                              v = takeRoot(b, loc, v, p);
                            return toFloat(b, loc, v, element);
                          });
  l.set(op->getResult(0), planes.keepDims(rows));
  return success();
}

//===----------------------------------------------------------------------===//
// Between depth and space
//===----------------------------------------------------------------------===//

/// The block size; reports an operand that it cannot be applied to.
FailureOr<int64_t> getBlock(Operation *op) {
  int64_t rank = rankOf(op->getOperand(0));
  int64_t block = intAttr(op, "blocksize", 0);
  StringRef mode = stringAttr(op, "mode", "DCR");
  if (rank != 4)
    return op->emitOpError() << "takes an input of rank 4, not " << rank;
  if (block < 1 || block > (int64_t(1) << 20))
    return op->emitOpError()
           << "has blocksize = " << block << "; 1 to 1048576 is accepted";
  if (mode != "DCR" && mode != "CRD")
    return op->emitOpError()
           << "has mode = '" << mode << "'; DCR and CRD are accepted";
  return block;
}

/// extent / divisor, which must divide it.
FailureOr<OpFoldResult> divide(FunctionLowering &l, Operation *op,
                               OpFoldResult extent, int64_t divisor,
                               const Twine &what) {
  OpFoldResult part = l.div(extent, l.index(divisor));
  if (auto known = getConstantIntValue(extent); known && *known % divisor)
    return op->emitOpError()
           << "cannot divide " << *known << " " << what << " by " << divisor;
  l.checkEqual(l.mul(part, l.index(divisor)), extent,
               "the " + what + " do not divide by " + Twine(divisor));
  return part;
}

LogicalResult lowerDepthToSpace(FunctionLowering &l, Operation *op) {
  FailureOr<int64_t> block = getBlock(op);
  if (failed(block))
    return failure();
  Value x = op->getOperand(0);
  Extents in = l.dims(x);
  auto depth = divide(l, op, in[1], *block * *block, "channels");
  if (failed(depth))
    return failure();
  OpFoldResult bs = l.index(*block);
  bool isDCR = stringAttr(op, "mode", "DCR") == "DCR";
  Extents split = isDCR ? Extents{in[0], bs, bs, *depth, in[2], in[3]}
                        : Extents{in[0], *depth, bs, bs, in[2], in[3]};
  SmallVector<int64_t> perm = isDCR ? SmallVector<int64_t>{0, 3, 4, 1, 5, 2}
                                    : SmallVector<int64_t>{0, 1, 4, 2, 5, 3};
  Value v = l.transpose(l.reshape(l.tensor(x), in, split), split, perm);
  Extents turned{in[0], *depth, in[2], bs, in[3], bs};
  Extents out{in[0], *depth, l.mul(in[2], bs), l.mul(in[3], bs)};
  l.set(op->getResult(0),
        l.reshape(l.reshape(v, turned, {in[0], *depth, out[2], in[3], bs}),
                  {in[0], *depth, out[2], in[3], bs}, out));
  return success();
}

LogicalResult lowerSpaceToDepth(FunctionLowering &l, Operation *op) {
  FailureOr<int64_t> block = getBlock(op);
  if (failed(block))
    return failure();
  Value x = op->getOperand(0);
  Extents in = l.dims(x);
  auto height = divide(l, op, in[2], *block, "rows");
  auto width = divide(l, op, in[3], *block, "columns");
  if (failed(height) || failed(width))
    return failure();
  OpFoldResult bs = l.index(*block);
  bool isDCR = stringAttr(op, "mode", "DCR") == "DCR";
  Extents half{in[0], in[1], *height, bs, in[3]};
  Extents split{in[0], in[1], *height, bs, *width, bs};
  Value v = l.reshape(l.reshape(l.tensor(x), in, half), half, split);
  // DCR: (row in block, column in block, channel); CRD: channel first.
  SmallVector<int64_t> perm = isDCR ? SmallVector<int64_t>{0, 3, 5, 1, 2, 4}
                                    : SmallVector<int64_t>{0, 1, 3, 5, 2, 4};
  v = l.transpose(v, split, perm);
  Extents turned;
  for (int64_t p : perm)
    turned.push_back(split[p]);
  Extents out{in[0], l.mul(in[1], l.index(*block * *block)), *height, *width};
  l.set(op->getResult(0), l.reshape(v, turned, out));
  return success();
}

} // namespace

void lower::registerPooling(LoweringTable &table) {
  table.add("onnx.MaxPool", lowerMaxPool);
  table.add("onnx.AveragePool", lowerAveragePool);
  table.add("onnx.LpPool", lowerLpPool);
  table.add("onnx.GlobalAveragePool", lowerGlobalPool<Global::Average>);
  table.add("onnx.GlobalMaxPool", lowerGlobalPool<Global::Max>);
  table.add("onnx.GlobalLpPool", lowerGlobalPool<Global::Lp>);
  table.add("onnx.DepthToSpace", lowerDepthToSpace);
  table.add("onnx.SpaceToDepth", lowerSpaceToDepth);
  table.add("onnx.Resize", lowerResize);
}
