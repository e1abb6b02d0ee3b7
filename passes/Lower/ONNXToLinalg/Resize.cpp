//===- Resize.cpp - Resize ------------------------------------------------===//
//
// Interpolation is separable: one dim after the other is resized. For each dim
// two small tables are made, `taps` wide: which elements of the input an
// element of the result is made of, and their weights. A weight is the value
// of the filter (a triangle for linear, Keys' cubic) at the distance of the
// element from the coordinate; antialiasing stretches the filter. Coordinates
// are computed in f64. Elements beyond the ends are the ones at the ends.
//
// The nearest mode moves elements of any type, without arithmetic on them.
//
//===----------------------------------------------------------------------===//

#include "mlir/IR/Matchers.h"
#include "passes/Lower/ONNXToLinalg/Reductions.h"
#include "llvm/ADT/StringSwitch.h"
#include <cmath>

using namespace mlir;
using namespace moe;
using namespace moe::lower;

namespace moe::lower {
LogicalResult lowerResize(FunctionLowering &lowering, Operation *op);
} // namespace moe::lower

namespace {

enum class Mode { Nearest, Linear, Cubic };
enum class Coordinates {
  HalfPixel,
  HalfPixelSymmetric,
  PytorchHalfPixel,
  AlignCorners,
  Asymmetric,
  CropAndResize
};

/// Arithmetic on f64 scalars, folded where both sides are known.
struct Real {
  OpBuilder &b;
  Location loc;

  Value constant(double v) {
    return arith::ConstantOp::create(b, loc, b.getF64FloatAttr(v));
  }
  Value add(Value x, Value y) {
    return b.createOrFold<arith::AddFOp>(loc, x, y);
  }
  Value sub(Value x, Value y) {
    return b.createOrFold<arith::SubFOp>(loc, x, y);
  }
  Value mul(Value x, Value y) {
    return b.createOrFold<arith::MulFOp>(loc, x, y);
  }
  Value div(Value x, Value y) {
    return b.createOrFold<arith::DivFOp>(loc, x, y);
  }
  Value min(Value x, Value y) {
    return b.createOrFold<arith::MinNumFOp>(loc, x, y);
  }
  Value max(Value x, Value y) {
    return b.createOrFold<arith::MaxNumFOp>(loc, x, y);
  }
  Value floor(Value x) { return b.createOrFold<math::FloorOp>(loc, x); }
  Value ceil(Value x) { return b.createOrFold<math::CeilOp>(loc, x); }
  Value abs(Value x) { return b.createOrFold<math::AbsFOp>(loc, x); }
  Value less(Value x, Value y) {
    return b.createOrFold<arith::CmpFOp>(loc, arith::CmpFPredicate::OLT, x, y);
  }
  Value lessEqual(Value x, Value y) {
    return b.createOrFold<arith::CmpFOp>(loc, arith::CmpFPredicate::OLE, x, y);
  }
  Value equal(Value x, Value y) {
    return b.createOrFold<arith::CmpFOp>(loc, arith::CmpFPredicate::OEQ, x, y);
  }
  Value select(Value c, Value x, Value y) {
    return b.createOrFold<arith::SelectOp>(loc, c, x, y);
  }
  /// An `index` as a float.
  Value fromIndex(Value i) {
    i = b.createOrFold<arith::IndexCastOp>(loc, b.getI64Type(), i);
    return b.createOrFold<arith::SIToFPOp>(loc, b.getF64Type(), i);
  }
  /// A whole float as an i64.
  Value toInt(Value v) {
    return b.createOrFold<arith::FPToSIOp>(loc, b.getI64Type(), v);
  }
  Value toIndex(Value v) {
    return b.createOrFold<arith::IndexCastOp>(loc, b.getIndexType(), toInt(v));
  }
};

/// How one dim is resized.
struct Axis {
  int64_t dim;
  OpFoldResult in, out;
  /// f64: extent of the result over that of the input.
  Value scale;
  /// f64, the part of the input that is cropped out; null unless cropping.
  Value roiBegin, roiEnd;
};

struct Resize {
  FunctionLowering &l;
  Operation *op;
  Mode mode = Mode::Nearest;
  Coordinates coordinates = Coordinates::HalfPixel;
  StringRef nearestMode;
  bool antialias = false, excludeOutside = false;
  double cubicCoefficient = -0.75, extrapolationValue = 0;

  LogicalResult readAttributes();
  /// Elements of a float operand of rank 1, as f64.
  FailureOr<SmallVector<Value>> getFloats(unsigned formal, size_t count);
  FailureOr<SmallVector<Axis>> getAxes();
  /// Coordinate in the input of element `x` (f64) of the result.
  Value getOriginal(OpBuilder &b, Location loc, const Axis &axis, Value x);
  /// Value of the filter at distance `d` >= 0.
  Value getFilter(Real &r, Value d);
  /// tensor<out x i64>: the element that each element of the result is.
  Value getNearest(const Axis &axis);
  Value resizeNearest(Value source, Extents shape, ArrayRef<Axis> axes);
  Value resizeAxis(Value source, Extents &shape, const Axis &axis);
  /// Whether each coordinate of the result may lie outside the input and is
  /// then replaced.
  bool extrapolates() const {
    return coordinates == Coordinates::CropAndResize;
  }
  /// i1: whether coordinate `x` is outside the input.
  Value isOutside(Real &r, const Axis &axis, Value x);
};

LogicalResult Resize::readAttributes() {
  StringRef name = stringAttr(op, "mode", "nearest");
  if (name == "nearest")
    mode = Mode::Nearest;
  else if (name == "linear")
    mode = Mode::Linear;
  else if (name == "cubic")
    mode = Mode::Cubic;
  else
    return op->emitOpError() << "has mode = '" << name
                             << "'; nearest, linear and cubic are accepted";
  name = stringAttr(op, "coordinate_transformation_mode", "half_pixel");
  std::optional<Coordinates> known =
      llvm::StringSwitch<std::optional<Coordinates>>(name)
          .Case("half_pixel", Coordinates::HalfPixel)
          .Case("half_pixel_symmetric", Coordinates::HalfPixelSymmetric)
          .Case("pytorch_half_pixel", Coordinates::PytorchHalfPixel)
          .Case("align_corners", Coordinates::AlignCorners)
          .Case("asymmetric", Coordinates::Asymmetric)
          .Case("tf_crop_and_resize", Coordinates::CropAndResize)
          .Default(std::nullopt);
  if (!known)
    return op->emitOpError()
           << "has coordinate_transformation_mode = '" << name
           << "'; half_pixel, half_pixel_symmetric, pytorch_half_pixel, "
              "align_corners, asymmetric and tf_crop_and_resize are accepted";
  coordinates = *known;
  nearestMode = stringAttr(op, "nearest_mode", "round_prefer_floor");
  if (nearestMode != "round_prefer_floor" &&
      nearestMode != "round_prefer_ceil" && nearestMode != "floor" &&
      nearestMode != "ceil")
    return op->emitOpError()
           << "has nearest_mode = '" << nearestMode
           << "'; round_prefer_floor, round_prefer_ceil, floor and ceil are "
              "accepted";
  antialias = intAttr(op, "antialias", 0) != 0;
  if (antialias && mode == Mode::Nearest)
    return op->emitOpError("has antialias = 1 with mode = 'nearest'; linear "
                           "and cubic can be antialiased");
  excludeOutside = intAttr(op, "exclude_outside", 0) != 0;
  cubicCoefficient = floatAttr(op, "cubic_coeff_a", -0.75);
  extrapolationValue = floatAttr(op, "extrapolation_value", 0);
  return success();
}

FailureOr<SmallVector<Value>> Resize::getFloats(unsigned formal, size_t count) {
  Value v = operand(op, formal);
  auto type = cast<RankedTensorType>(v.getType());
  if (type.getRank() != 1 || type.getDimSize(0) != static_cast<int64_t>(count))
    return op->emitOpError()
           << "operand #" << formal << " has type " << type << "; rank 1 with "
           << count << " elements, known before the run, is accepted";
  SmallVector<Value> out;
  if (auto dense = dyn_cast_or_null<DenseElementsAttr>(l.constantAttr(v))) {
    for (const APFloat &element : dense.getValues<APFloat>()) {
      APFloat wide = element;
      bool lost;
      wide.convert(APFloat::IEEEdouble(), APFloat::rmNearestTiesToEven, &lost);
      out.push_back(l.constant(l.b.getF64FloatAttr(wide.convertToDouble())));
    }
    return out;
  }
  Value source = l.tensor(v);
  for (size_t i = 0; i < count; ++i)
    out.push_back(
        toFloat(l.b, l.loc(), l.extract(source, l.index(i)), l.b.getF64Type()));
  return out;
}

FailureOr<SmallVector<Axis>> Resize::getAxes() {
  Value x = operand(op, 0), output = op->getResult(0);
  int64_t rank = rankOf(x);
  SmallVector<int64_t> dims;
  if (auto given = intsAttr(op, "axes"))
    dims = *given;
  else
    llvm::append_range(dims, llvm::seq<int64_t>(0, rank));
  llvm::SmallBitVector seen(rank);
  for (int64_t &dim : dims) {
    int64_t normal = normalizeAxis(dim, rank);
    if (normal < 0 || normal >= rank)
      return op->emitOpError()
             << "resizes axis " << dim << " of a tensor of rank " << rank
             << "; accepted: " << -rank << " to " << rank - 1;
    if (seen.test(normal))
      return op->emitOpError() << "names axis " << dim << " twice";
    seen.set(normal);
    dim = normal;
  }

  Real r{l.b, l.loc()};
  SmallVector<Axis> axes;
  for (int64_t dim : dims)
    axes.push_back({dim, l.dim(x, dim), {}, {}, {}, {}});

  auto isGiven = [&](unsigned formal) {
    Value v = operand(op, formal);
    if (!v)
      return false;
    auto type = cast<RankedTensorType>(v.getType());
    return !(type.getRank() == 1 && type.getDimSize(0) == 0);
  };
  auto toExtent = [&](Value index) -> OpFoldResult {
    if (std::optional<int64_t> known = getConstantIntValue(index))
      return l.index(*known);
    return index;
  };
  if (isGiven(3)) {
    FailureOr<Extents> sizes = l.elementsOrLoad(op, operand(op, 3));
    if (failed(sizes))
      return failure();
    if (sizes->size() != axes.size())
      return op->emitOpError() << "has " << sizes->size() << " sizes for "
                               << axes.size() << " axes";
    for (auto [axis, size] : llvm::zip(axes, *sizes)) {
      l.check(l.compare(arith::CmpIPredicate::sge, size, l.index(0)),
              "size of axis " + Twine(axis.dim) + " is negative",
              /*code=*/3);
      axis.out = size;
      axis.scale =
          r.div(r.fromIndex(l.value(size)), r.fromIndex(l.value(axis.in)));
    }
    StringRef policy = stringAttr(op, "keep_aspect_ratio_policy", "stretch");
    if (policy != "stretch" && policy != "not_larger" &&
        policy != "not_smaller")
      return op->emitOpError()
             << "has keep_aspect_ratio_policy = '" << policy
             << "'; stretch, not_larger and not_smaller are accepted";
    if (policy != "stretch" && !axes.empty()) {
      Value common = axes.front().scale;
      for (const Axis &axis : ArrayRef(axes).drop_front())
        common = policy == "not_larger" ? r.min(common, axis.scale)
                                        : r.max(common, axis.scale);
      for (Axis &axis : axes) {
        Value extent = r.mul(common, r.fromIndex(l.value(axis.in)));
        extent = r.floor(r.add(extent, r.constant(0.5)));
        axis.scale = common;
        axis.out = toExtent(r.toIndex(extent));
      }
    }
  } else if (isGiven(2)) {
    FailureOr<SmallVector<Value>> scales = getFloats(2, axes.size());
    if (failed(scales))
      return failure();
    for (auto [axis, scale] : llvm::zip(axes, *scales)) {
      Value positive = r.less(r.constant(0), scale);
      Value sane = r.less(scale, r.constant(1 << 24));
      l.check(l.b.createOrFold<arith::AndIOp>(l.loc(), positive, sane),
              "scale of axis " + Twine(axis.dim) + " is not between 0 and 2^24",
              /*code=*/3);
      axis.scale = scale;
      if (matchPattern(scale, m_OneFloat())) {
        axis.out = axis.in;
        continue;
      }
      // In f32, as schema inference does.
      Type f32 = l.b.getF32Type();
      Value extent = l.b.createOrFold<arith::TruncFOp>(
          l.loc(), f32, r.fromIndex(l.value(axis.in)));
      Value factor = l.b.createOrFold<arith::TruncFOp>(l.loc(), f32, scale);
      extent = l.b.createOrFold<arith::MulFOp>(l.loc(), extent, factor);
      extent =
          l.b.createOrFold<arith::ExtFOp>(l.loc(), l.b.getF64Type(), extent);
      axis.out = toExtent(r.toIndex(r.floor(extent)));
    }
  } else {
    return op->emitOpError("has neither scales nor sizes");
  }

  if (coordinates == Coordinates::CropAndResize) {
    if (!isGiven(1))
      return op->emitOpError("needs operand #1 (roi) for "
                             "coordinate_transformation_mode = "
                             "'tf_crop_and_resize'");
    FailureOr<SmallVector<Value>> roi = getFloats(1, 2 * axes.size());
    if (failed(roi))
      return failure();
    for (auto [i, axis] : llvm::enumerate(axes)) {
      axis.roiBegin = (*roi)[i];
      axis.roiEnd = (*roi)[axes.size() + i];
    }
  }
  for (Axis &axis : axes) {
    OpFoldResult known =
        l.resultDim(output, axis.dim, [&] { return axis.out; });
    l.checkEqual(known, axis.out,
                 "the extent of dimension " + Twine(axis.dim) +
                     " is not the one that the model declares");
    axis.out = known;
    // Nothing can be made of nothing.
    Value empty = l.compare(arith::CmpIPredicate::sgt, axis.in, l.index(0));
    Value none = l.compare(arith::CmpIPredicate::eq, axis.out, l.index(0));
    l.check(l.b.createOrFold<arith::OrIOp>(l.loc(), empty, none),
            "dimension " + Twine(axis.dim) + " is empty", /*code=*/3);
  }
  // Dims that stay as they are.
  llvm::erase_if(axes, [&](const Axis &axis) {
    bool same =
        axis.in == axis.out || l.sameExtent(x, axis.dim, output, axis.dim);
    if (!same)
      return false;
    bool unscaled =
        operand(op, 3) && isGiven(3)
            ? stringAttr(op, "keep_aspect_ratio_policy", "stretch") == "stretch"
            : matchPattern(axis.scale, m_OneFloat());
    bool uncropped =
        !axis.roiBegin || (matchPattern(axis.roiBegin, m_AnyZeroFloat()) &&
                           matchPattern(axis.roiEnd, m_OneFloat()));
    return unscaled && uncropped;
  });
  return axes;
}

Value Resize::getOriginal(OpBuilder &b, Location loc, const Axis &axis,
                          Value x) {
  Real r{b, loc};
  Value in = r.fromIndex(l.value(axis.in));
  Value last = r.sub(in, r.constant(1));
  Value half = r.constant(0.5), one = r.constant(1);
  // The exact extent of the result, which need not be whole.
  Value width = r.mul(axis.scale, in);
  Value atPixels = r.sub(r.div(r.add(x, half), axis.scale), half);
  Value original;
  switch (coordinates) {
  case Coordinates::HalfPixel:
    original = atPixels;
    break;
  case Coordinates::HalfPixelSymmetric: {
    Value adjustment = r.div(r.fromIndex(l.value(axis.out)), width);
    Value center = r.div(in, r.constant(2));
    original = r.add(r.mul(center, r.sub(one, adjustment)), atPixels);
    break;
  }
  case Coordinates::PytorchHalfPixel: {
    Value single = b.createOrFold<arith::CmpIOp>(
        loc, arith::CmpIPredicate::eq, l.value(axis.out), l.value(l.index(1)));
    original = r.select(single, r.constant(0), atPixels);
    break;
  }
  case Coordinates::AlignCorners:
    original = r.select(r.equal(width, one), r.constant(0),
                        r.div(r.mul(x, last), r.sub(width, one)));
    break;
  case Coordinates::Asymmetric:
    original = r.div(x, axis.scale);
    break;
  case Coordinates::CropAndResize: {
    Value part = r.mul(r.sub(axis.roiEnd, axis.roiBegin), last);
    Value spread = r.div(r.mul(x, part), r.sub(width, one));
    Value middle = r.div(part, r.constant(2));
    original = r.add(r.select(r.equal(width, one), middle, spread),
                     r.mul(axis.roiBegin, last));
    break;
  }
  }
  return original;
}

Value Resize::isOutside(Real &r, const Axis &axis, Value x) {
  Value last = r.sub(r.fromIndex(l.value(axis.in)), r.constant(1));
  Value before = r.less(x, r.constant(0)), behind = r.less(last, x);
  return arith::OrIOp::create(r.b, r.loc, before, behind);
}

/// Keeps a coordinate in a range that integers hold; beyond the ends all
/// coordinates mean the same.
static Value clampCoordinate(FunctionLowering &l, Real &r, const Axis &axis,
                             Value x) {
  Value in = r.fromIndex(l.value(axis.in));
  Value reach = r.add(in, r.constant(4));
  x = r.min(x, r.add(in, reach));
  return r.max(x, r.sub(r.constant(0), reach));
}

static Value clampIndex(OpBuilder &b, Location loc, Value i, Value last) {
  Value zero = arith::ConstantOp::create(b, loc, b.getI64IntegerAttr(0));
  i = arith::MaxSIOp::create(b, loc, i, zero);
  return arith::MinSIOp::create(b, loc, i, last);
}

Value Resize::getNearest(const Axis &axis) {
  Value last = arith::IndexCastOp::create(l.b, l.loc(), l.b.getI64Type(),
                                          l.value(l.sub(axis.in, l.index(1))));
  return l.pointwise(
      axis.out, l.b.getI64Type(), {}, {},
      [&](OpBuilder &b, Location loc, ValueRange) {
        Real r{b, loc};
        Value x = linalg::IndexOp::create(b, loc, 0);
        x = getOriginal(b, loc, axis, r.fromIndex(x));
        Value outside;
        if (extrapolates())
          outside = isOutside(r, axis, x);
        x = clampCoordinate(l, r, axis, x);
        Value half = r.constant(0.5);
        if (nearestMode == "floor")
          x = r.floor(x);
        else if (nearestMode == "ceil")
          x = r.ceil(x);
        else if (nearestMode == "round_prefer_ceil")
          x = r.floor(r.add(x, half));
        else
          x = r.ceil(r.sub(x, half));
        Value i = clampIndex(b, loc, r.toInt(x), last);
        if (!outside)
          return i;
        Value none = arith::ConstantOp::create(b, loc, b.getI64IntegerAttr(-1));
        return arith::SelectOp::create(b, loc, outside, none, i).getResult();
      });
}

Value Resize::resizeNearest(Value source, Extents shape, ArrayRef<Axis> axes) {
  SmallVector<Value> tables;
  SmallVector<AffineMap> maps;
  for (const Axis &axis : axes) {
    tables.push_back(getNearest(axis));
    shape[axis.dim] = axis.out;
  }
  for (const Axis &axis : axes)
    maps.push_back(
        AffineMap::get(shape.size(), 0, l.b.getAffineDimExpr(axis.dim)));
  Type element = elementOf(source);
  Value other = l.scalar(element, extrapolationValue);
  return l.pointwise(
      shape, element, tables, maps,
      [&](OpBuilder &b, Location loc, ValueRange args) -> Value {
        SmallVector<Value> indices;
        for (size_t i = 0; i < shape.size(); ++i)
          indices.push_back(linalg::IndexOp::create(b, loc, i));
        Value outside;
        for (auto [axis, i] : llvm::zip(axes, args)) {
          if (extrapolates()) {
            Value zero =
                arith::ConstantOp::create(b, loc, b.getI64IntegerAttr(0));
            Value none = arith::CmpIOp::create(
                b, loc, arith::CmpIPredicate::slt, i, zero);
            outside =
                outside
                    ? arith::OrIOp::create(b, loc, outside, none).getResult()
                    : none;
            i = arith::MaxSIOp::create(b, loc, i, zero);
          }
          indices[axis.dim] =
              arith::IndexCastOp::create(b, loc, b.getIndexType(), i);
        }
        Value v = tensor::ExtractOp::create(b, loc, source, indices);
        if (outside)
          v = arith::SelectOp::create(b, loc, outside, other, v);
        return v;
      });
}

Value Resize::getFilter(Real &r, Value d) {
  Value one = r.constant(1), zero = r.constant(0);
  if (mode == Mode::Linear)
    return r.max(r.sub(one, d), zero);
  double a = cubicCoefficient;
  // ((a + 2) d - (a + 3)) d^2 + 1 up to 1, ((a d - 5a) d + 8a) d - 4a up to 2.
  Value inner = r.sub(r.mul(r.constant(a + 2), d), r.constant(a + 3));
  inner = r.add(r.mul(r.mul(inner, d), d), one);
  Value outer = r.sub(r.mul(r.constant(a), d), r.constant(5 * a));
  outer = r.add(r.mul(outer, d), r.constant(8 * a));
  outer = r.sub(r.mul(outer, d), r.constant(4 * a));
  outer = r.select(r.less(d, r.constant(2)), outer, zero);
  return r.select(r.lessEqual(d, one), inner, outer);
}

Value Resize::resizeAxis(Value source, Extents &shape, const Axis &axis) {
  Type type = elementOf(source);
  Type f64 = l.b.getF64Type(), i64 = l.b.getI64Type();
  Real outer{l.b, l.loc()};
  double support = mode == Mode::Linear ? 1 : 2;
  // Reach of the filter to either side, in elements.
  OpFoldResult reach = l.index(static_cast<int64_t>(support));
  Value stretch = outer.constant(1);
  if (antialias) {
    stretch = outer.min(axis.scale, stretch);
    Value steps = outer.ceil(outer.div(outer.constant(support), stretch));
    // A scale that leaves something of the input is not below 1 / extent.
    Value most = outer.add(
        outer.mul(outer.fromIndex(l.value(axis.in)), outer.constant(support)),
        outer.constant(1));
    Value index = outer.toIndex(outer.min(steps, most));
    if (std::optional<int64_t> known = getConstantIntValue(index))
      reach = l.index(*known);
    else
      reach = index;
  }
  OpFoldResult taps = l.mul(reach, l.index(2));
  Value before = outer.fromIndex(l.value(l.sub(reach, l.index(1))));
  Value last = arith::IndexCastOp::create(l.b, l.loc(), i64,
                                          l.value(l.sub(axis.in, l.index(1))));
  Value extent =
      arith::IndexCastOp::create(l.b, l.loc(), i64, l.value(axis.in));

  // Element `t` of the window of `o`, before it is clamped, as a float.
  auto position = [&](Real &r, Value x) {
    Value t = r.fromIndex(linalg::IndexOp::create(r.b, r.loc, 1));
    return r.add(r.sub(r.floor(x), before), t);
  };
  auto coordinate = [&](Real &r) {
    Value o = r.fromIndex(linalg::IndexOp::create(r.b, r.loc, 0));
    return getOriginal(r.b, r.loc, axis, o);
  };
  Extents tableShape{axis.out, taps};
  Value indices = l.pointwise(
      tableShape, i64, {}, {}, [&](OpBuilder &b, Location loc, ValueRange) {
        Real r{b, loc};
        Value x = clampCoordinate(l, r, axis, coordinate(r));
        return clampIndex(b, loc, r.toInt(position(r, x)), last);
      });
  Value weights = l.pointwise(
      tableShape, f64, {}, {}, [&](OpBuilder &b, Location loc, ValueRange) {
        Real r{b, loc};
        Value x = clampCoordinate(l, r, axis, coordinate(r));
        Value at = position(r, x);
        Value weight = getFilter(r, r.mul(r.abs(r.sub(x, at)), stretch));
        if (excludeOutside) {
          Value i = r.toInt(at);
          Value zero =
              arith::ConstantOp::create(b, loc, b.getI64IntegerAttr(0));
          Value low =
              arith::CmpIOp::create(b, loc, arith::CmpIPredicate::slt, i, zero);
          Value high = arith::CmpIOp::create(b, loc, arith::CmpIPredicate::sge,
                                             i, extent);
          Value outside = arith::OrIOp::create(b, loc, low, high);
          weight = r.select(outside, r.constant(0), weight);
        }
        return weight;
      });
  AffineMap tableMap = AffineMap::getMultiDimIdentityMap(2, l.b.getContext());
  AffineMap rowOnly = tableMap.getMajorSubMap(1);
  SmallVector<Value> parts{weights};
  SmallVector<AffineMap> partMaps{tableMap};
  if (antialias || excludeOutside) {
    Reduction rows(l, weights, tableShape, {false, true});
    parts.push_back(rows.fold(
        Combine::Sum, f64,
        [](OpBuilder &, Location, ValueRange args) { return args[0]; }));
    partMaps.push_back(rowOnly);
  }
  weights = l.pointwise(tableShape, type, parts, partMaps,
                        [&](OpBuilder &b, Location loc, ValueRange args) {
                          Real r{b, loc};
                          Value weight = args[0];
                          if (args.size() > 1) {
                            Value none = r.equal(args[1], r.constant(0));
                            weight = r.div(
                                weight, r.select(none, r.constant(1), args[1]));
                          }
                          return toFloat(b, loc, weight, type);
                        });

  // Sum over the taps.
  Extents loops = shape;
  loops[axis.dim] = axis.out;
  Extents outShape = loops;
  loops.push_back(taps);
  SmallVector<bool> reduced(loops.size(), false);
  reduced.back() = true;
  AffineMap map = AffineMap::get(
      loops.size(), 0,
      {l.b.getAffineDimExpr(axis.dim), l.b.getAffineDimExpr(shape.size())},
      l.b.getContext());
  Value init = l.filled(outShape, l.scalar(type, 0));
  Value y = l.reduce(
      loops, reduced, init, {weights, indices}, {map, map},
      [&](OpBuilder &b, Location loc, ValueRange args, Value sum) -> Value {
        SmallVector<Value> at;
        for (size_t i = 0; i < shape.size(); ++i) {
          if (static_cast<int64_t>(i) == axis.dim)
            at.push_back(
                arith::IndexCastOp::create(b, loc, b.getIndexType(), args[1]));
          else
            at.push_back(linalg::IndexOp::create(b, loc, i));
        }
        Value v = tensor::ExtractOp::create(b, loc, source, at);
        v = arith::MulFOp::create(b, loc, v, args[0]);
        return arith::AddFOp::create(b, loc, sum, v);
      });
  shape = outShape;
  if (!extrapolates())
    return y;
  Value other = l.scalar(type, extrapolationValue);
  return l.pointwise(
      shape, type, y,
      AffineMap::getMultiDimIdentityMap(shape.size(), l.b.getContext()),
      [&](OpBuilder &b, Location loc, ValueRange args) {
        Real r{b, loc};
        Value o = r.fromIndex(linalg::IndexOp::create(b, loc, axis.dim));
        Value x = getOriginal(b, loc, axis, o);
        return r.select(isOutside(r, axis, x), other, args[0]);
      });
}

/// Rounds floats to integers, to even at ties, and keeps them in range.
Value roundToInteger(OpBuilder &b, Location loc, Value v, IntegerType element,
                     bool isUnsigned) {
  Type type = v.getType();
  unsigned width = element.getWidth();
  v = math::RoundEvenOp::create(b, loc, v);
  // The ends of the range as floats; f64 holds those of 64 bits but for 1.
  double high =
      isUnsigned ? std::ldexp(1.0, width) - 1 : std::ldexp(1.0, width - 1) - 1;
  double low = isUnsigned ? 0 : -std::ldexp(1.0, width - 1);
  if (width == 64)
    high = std::nextafter(std::ldexp(1.0, isUnsigned ? 64 : 63), 0);
  auto constant = [&](double x) -> Value {
    return arith::ConstantOp::create(b, loc, b.getFloatAttr(type, x));
  };
  v = arith::MaxNumFOp::create(b, loc, v, constant(low));
  v = arith::MinNumFOp::create(b, loc, v, constant(high));
  if (isUnsigned)
    return arith::FPToUIOp::create(b, loc, element, v);
  return arith::FPToSIOp::create(b, loc, element, v);
}

} // namespace

LogicalResult lower::lowerResize(FunctionLowering &l, Operation *op) {
  Resize resize{l, op};
  if (failed(resize.readAttributes()))
    return failure();
  FailureOr<SmallVector<Axis>> axes = resize.getAxes();
  if (failed(axes))
    return failure();
  Value x = op->getOperand(0);
  Value source = l.tensor(x);
  Extents shape = l.dims(x);
  if (axes->empty()) {
    l.set(op->getResult(0), source);
    return success();
  }
  if (resize.mode == Mode::Nearest) {
    l.set(op->getResult(0), resize.resizeNearest(source, shape, *axes));
    return success();
  }

  Type element = elementOf(source);
  if (element.isInteger(1))
    return unsupported(op, "interpolation of booleans; mode = 'nearest' takes "
                           "them");
  bool isUnsigned = lower::isUnsigned(elementOf(x));
  Type type = getComputeType(element);
  if (auto integer = dyn_cast<IntegerType>(element))
    type = integer.getWidth() > 16 ? Type(l.b.getF64Type())
                                   : Type(l.b.getF32Type());
  AffineMap identity =
      AffineMap::getMultiDimIdentityMap(shape.size(), l.b.getContext());
  if (type != element)
    source = l.pointwise(shape, type, source, identity,
                         [&](OpBuilder &b, Location loc, ValueRange args) {
                           return toFloat(b, loc, args[0], type, isUnsigned);
                         });
  for (const Axis &axis : *axes)
    source = resize.resizeAxis(source, shape, axis);
  if (type != element)
    source = l.pointwise(shape, element, source, identity,
                         [&](OpBuilder &b, Location loc, ValueRange args) {
                           if (auto integer = dyn_cast<IntegerType>(element))
                             return roundToInteger(b, loc, args[0], integer,
                                                   isUnsigned);
                           return toFloat(b, loc, args[0], element);
                         });
  l.set(op->getResult(0), source);
  return success();
}
