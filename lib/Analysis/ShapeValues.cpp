//===- ShapeValues.cpp - arithmetic on shapes -----------------------------===//
//
// Models compute shapes: Shape, Gather, Concat, Reshape. Their small integer
// tensors are evaluated element by element over expressions, so that what
// arrives at a Reshape is [batch, past+seq, 4, 16]. The data propagation of
// ONNX's schemas covers eleven operators on lists; this covers what exporters
// write, at any rank.
//
//===----------------------------------------------------------------------===//

#include "dialects/ONNX/ONNXDialect.h"
#include "lib/Analysis/ShapeFacts.h"
#include "mlir/IR/TypeUtilities.h"
#include "llvm/ADT/StringMap.h"

using namespace mlir;
using namespace moe;

using Rule = bool (*)(NodeRef &);

//===----------------------------------------------------------------------===//
// Index arithmetic
//===----------------------------------------------------------------------===//

/// Calls `visit(linear, index)` for each element of a shape, in order.
static void
forEachIndex(ArrayRef<int64_t> shape,
             llvm::function_ref<void(int64_t, ArrayRef<int64_t>)> visit) {
  int64_t count = 1;
  for (int64_t extent : shape)
    count *= extent;
  SmallVector<int64_t> index(shape.size(), 0);
  for (int64_t linear = 0; linear < count; ++linear) {
    visit(linear, index);
    for (size_t d = shape.size(); d-- > 0;) {
      if (++index[d] < shape[d])
        break;
      index[d] = 0;
    }
  }
}

static int64_t linearize(ArrayRef<int64_t> shape, ArrayRef<int64_t> index) {
  int64_t linear = 0;
  for (auto [extent, i] : llvm::zip(shape, index))
    linear = linear * extent + i;
  return linear;
}

/// The element of `value` that broadcasting puts at `index`.
static const DimExpr &broadcastElement(const ShapeValue &value,
                                       ArrayRef<int64_t> index) {
  SmallVector<int64_t> own(index.take_back(value.shape.size()));
  for (auto [i, extent] : llvm::zip(own, value.shape))
    if (extent == 1)
      i = 0;
  return value.elements[linearize(value.shape, own)];
}

/// Numpy's broadcasting; false if the shapes do not fit.
static bool broadcastShapes(ArrayRef<const ShapeValue *> values,
                            SmallVectorImpl<int64_t> &shape) {
  size_t rank = 0;
  for (const ShapeValue *value : values)
    rank = std::max(rank, value->shape.size());
  shape.assign(rank, 1);
  for (const ShapeValue *value : values)
    for (size_t i = 0; i < value->shape.size(); ++i) {
      int64_t &extent = shape[rank - value->shape.size() + i];
      if (extent == 1)
        extent = value->shape[i];
      else if (value->shape[i] != 1 && value->shape[i] != extent)
        return false;
    }
  return true;
}

/// Applies `combine` to all inputs element by element, broadcasting them.
static bool
mapElements(NodeRef &node,
            llvm::function_ref<DimExpr(ArrayRef<DimExpr>)> combine) {
  SmallVector<const ShapeValue *> values;
  for (unsigned i = 0; i < node.inputs.size(); ++i) {
    values.push_back(node.elements(i));
    if (!values.back())
      return true;
  }
  SmallVector<int64_t> shape;
  if (values.empty() || !broadcastShapes(values, shape))
    return true;
  std::optional<ShapeValue> result = ShapeValue::ofShape(shape);
  if (!result)
    return true;
  forEachIndex(shape, [&](int64_t linear, ArrayRef<int64_t> index) {
    SmallVector<DimExpr, 3> arguments;
    for (const ShapeValue *value : values)
      arguments.push_back(broadcastElement(*value, index));
    result->elements[linear] = combine(arguments);
  });
  node.values[0] = std::move(result);
  return true;
}

static DimExpr ofBool(bool value) { return DimExpr::constant(value); }

//===----------------------------------------------------------------------===//
// Arithmetic
//===----------------------------------------------------------------------===//

/// ONNX's integer division rounds towards zero.
static DimExpr divide(NodeRef &node, const DimExpr &a, const DimExpr &b) {
  if (a.isConstant() && b.isConstant()) {
    int64_t x = a.getConstant(), y = b.getConstant();
    if (y == 0 || (y == -1 && x == INT64_MIN))
      return {};
    return DimExpr::constant(x / y);
  }
  DimExpr exact = DimExpr::divideExactly(a, b);
  if (exact.isKnown() || !a.isNonNegative())
    return exact;
  return node.dims.floorDiv(a, b);
}

static bool evalDiv(NodeRef &node) {
  return mapElements(
      node, [&](ArrayRef<DimExpr> e) { return divide(node, e[0], e[1]); });
}

static bool evalMod(NodeRef &node) {
  bool isFmod = node.getInt("fmod", 0) != 0;
  return mapElements(node, [&](ArrayRef<DimExpr> e) {
    // The two definitions agree where nothing is negative.
    if (isFmod && !(e[0].isNonNegative() && e[1].isNonNegative()))
      return DimExpr();
    return node.dims.mod(e[0], e[1]);
  });
}

static bool evalAdd(NodeRef &node) {
  return mapElements(node, [](ArrayRef<DimExpr> e) { return e[0] + e[1]; });
}
static bool evalSub(NodeRef &node) {
  return mapElements(node, [](ArrayRef<DimExpr> e) { return e[0] - e[1]; });
}
static bool evalMul(NodeRef &node) {
  return mapElements(node, [](ArrayRef<DimExpr> e) { return e[0] * e[1]; });
}
static bool evalNeg(NodeRef &node) {
  return mapElements(node, [](ArrayRef<DimExpr> e) { return -e[0]; });
}
static bool evalAbs(NodeRef &node) {
  return mapElements(node, [](ArrayRef<DimExpr> e) {
    if (e[0].isNonNegative())
      return e[0];
    return (-e[0]).isNonNegative() ? -e[0] : DimExpr();
  });
}
static bool evalSum(NodeRef &node) {
  return mapElements(node, [](ArrayRef<DimExpr> e) {
    DimExpr sum = DimExpr::constant(0);
    for (const DimExpr &x : e)
      sum = sum + x;
    return sum;
  });
}
static bool evalMin(NodeRef &node) {
  return mapElements(node, [&](ArrayRef<DimExpr> e) {
    DimExpr least = e[0];
    for (const DimExpr &x : e.drop_front())
      least = node.dims.min(least, x);
    return least;
  });
}
static bool evalMax(NodeRef &node) {
  return mapElements(node, [&](ArrayRef<DimExpr> e) {
    DimExpr most = e[0];
    for (const DimExpr &x : e.drop_front())
      most = node.dims.max(most, x);
    return most;
  });
}

//===----------------------------------------------------------------------===//
// Comparison and choice
//===----------------------------------------------------------------------===//

/// Whether a >= b for all extents (1), never (0), or not known (-1).
static int isAtLeast(const DimExpr &a, const DimExpr &b) {
  if ((a - b).isNonNegative())
    return 1;
  if ((b - a - DimExpr::constant(1)).isNonNegative())
    return 0;
  return -1;
}

static DimExpr fromTruth(int truth) {
  return truth < 0 ? DimExpr() : ofBool(truth);
}

static DimExpr notExpr(const DimExpr &e) {
  return e.isKnown() ? DimExpr::constant(1) - e : DimExpr();
}

static bool evalEqual(NodeRef &node) {
  return mapElements(node, [](ArrayRef<DimExpr> e) {
    if (e[0] == e[1])
      return ofBool(true);
    // Apart for sure: the difference is positive or negative.
    DimExpr one = DimExpr::constant(1);
    bool apart = (e[0] - e[1] - one).isNonNegative() ||
                 (e[1] - e[0] - one).isNonNegative();
    return apart ? ofBool(false) : DimExpr();
  });
}
static bool evalGreaterOrEqual(NodeRef &node) {
  return mapElements(node, [](ArrayRef<DimExpr> e) {
    return fromTruth(isAtLeast(e[0], e[1]));
  });
}
static bool evalLessOrEqual(NodeRef &node) {
  return mapElements(node, [](ArrayRef<DimExpr> e) {
    return fromTruth(isAtLeast(e[1], e[0]));
  });
}
static bool evalLess(NodeRef &node) {
  return mapElements(node, [](ArrayRef<DimExpr> e) {
    return notExpr(fromTruth(isAtLeast(e[0], e[1])));
  });
}
static bool evalGreater(NodeRef &node) {
  return mapElements(node, [](ArrayRef<DimExpr> e) {
    return notExpr(fromTruth(isAtLeast(e[1], e[0])));
  });
}
static bool evalNot(NodeRef &node) {
  return mapElements(node, [](ArrayRef<DimExpr> e) { return notExpr(e[0]); });
}
static bool evalAnd(NodeRef &node) {
  return mapElements(node, [](ArrayRef<DimExpr> e) {
    if (e[0].isConstant(0) || e[1].isConstant(0))
      return ofBool(false);
    return e[0] * e[1];
  });
}
static bool evalOr(NodeRef &node) {
  return mapElements(node, [](ArrayRef<DimExpr> e) {
    if (e[0].isConstant(1) || e[1].isConstant(1))
      return ofBool(true);
    return e[0].isConstant(0) ? e[1] : e[1].isConstant(0) ? e[0] : DimExpr();
  });
}
static bool evalWhere(NodeRef &node) {
  return mapElements(node, [](ArrayRef<DimExpr> e) {
    if (e[0].isConstant())
      return e[0].getConstant() ? e[1] : e[2];
    return e[1] == e[2] ? e[1] : DimExpr();
  });
}

//===----------------------------------------------------------------------===//
// Sources
//===----------------------------------------------------------------------===//

static bool evalShape(NodeRef &node) {
  int64_t rank = node.rank(0);
  if (rank < 0)
    return true;
  int64_t begin = node.getInt("start", 0), end = node.getInt("end", rank);
  auto clamp = [&](int64_t i) {
    return std::clamp<int64_t>(i < 0 ? i + rank : i, 0, rank);
  };
  begin = clamp(begin);
  end = std::max(begin, clamp(end));
  Extents extents = node.extents(0);
  ShapeValue value{{end - begin}, {}};
  value.elements.assign(extents.begin() + begin, extents.begin() + end);
  node.values[0] = std::move(value);
  return true;
}

static bool evalSize(NodeRef &node) {
  if (node.rank(0) < 0)
    return true;
  DimExpr size = DimExpr::constant(1);
  for (const DimExpr &extent : node.extents(0))
    size = size * extent;
  node.values[0] = ShapeValue::scalar(size);
  return true;
}

static bool evalRange(NodeRef &node) {
  SmallVector<int64_t> start, limit, delta;
  if (!node.constants(0, start) || !node.constants(1, limit) ||
      !node.constants(2, delta) || start.size() != 1 || limit.size() != 1 ||
      delta.size() != 1 || delta[0] == 0)
    return true;
  ShapeValue value{{0}, {}};
  for (__int128 i = start[0]; delta[0] > 0 ? i < limit[0] : i > limit[0];
       i += delta[0]) {
    if (value.elements.size() >= ShapeValue::kMaxElements)
      return true;
    value.elements.push_back(DimExpr::constant(static_cast<int64_t>(i)));
  }
  value.shape[0] = value.elements.size();
  node.values[0] = std::move(value);
  return true;
}

/// A result of static shape filled with one element.
static std::optional<ShapeValue> makeResult(NodeRef &node, unsigned result) {
  auto type = dyn_cast<RankedTensorType>(node.op->getResult(result).getType());
  if (!type || !type.hasStaticShape())
    return std::nullopt;
  return ShapeValue::ofShape(type.getShape());
}

static bool evalConstantOfShape(NodeRef &node) {
  std::optional<ShapeValue> value = makeResult(node, 0);
  if (!value)
    return true;
  DimExpr element = DimExpr::constant(0);
  if (auto attr = node.op->getAttrOfType<ElementsAttr>("value")) {
    auto dense = dyn_cast<DenseIntElementsAttr>(attr);
    if (!dense || dense.getNumElements() != 1)
      return true;
    element = DimExpr::constant((*dense.begin()).getSExtValue());
    if (dense.getElementType().isInteger(1))
      element = ofBool((*dense.begin()).isOne());
  } else {
    return true; // the default is 0.0
  }
  llvm::fill(value->elements, element);
  node.values[0] = std::move(value);
  return true;
}

//===----------------------------------------------------------------------===//
// Elements that move
//===----------------------------------------------------------------------===//

/// Same elements in the same order under the result's shape.
static bool evalRestructure(NodeRef &node) {
  const ShapeValue *input = node.elements(0);
  std::optional<ShapeValue> value = makeResult(node, 0);
  if (input && value && input->elements.size() == value->elements.size()) {
    value->elements = input->elements;
    node.values[0] = std::move(value);
  }
  return true;
}

static bool evalCast(NodeRef &node) {
  const ShapeValue *input = node.elements(0);
  if (!input)
    return true;
  ShapeValue value = *input;
  if (getElementTypeOrSelf(node.op->getResult(0).getType()).isInteger(1))
    for (DimExpr &element : value.elements)
      element =
          element.isConstant() ? ofBool(element.getConstant() != 0) : DimExpr();
  node.values[0] = std::move(value);
  return true;
}

static bool evalGather(NodeRef &node) {
  const ShapeValue *data = node.elements(0);
  const ShapeValue *indices = node.elements(1);
  if (!data || !indices || data->shape.empty())
    return true;
  int64_t axis = node.getInt("axis", 0);
  if (!NodeRef::normalize(axis, data->shape.size()))
    return true;
  SmallVector<int64_t> shape(ArrayRef<int64_t>(data->shape).take_front(axis));
  llvm::append_range(shape, indices->shape);
  llvm::append_range(shape,
                     ArrayRef<int64_t>(data->shape).drop_front(axis + 1));
  std::optional<ShapeValue> value = ShapeValue::ofShape(shape);
  if (!value)
    return true;
  size_t width = indices->shape.size();
  forEachIndex(shape, [&](int64_t linear, ArrayRef<int64_t> index) {
    const DimExpr &where =
        indices->elements[linearize(indices->shape, index.slice(axis, width))];
    if (!where.isConstant())
      return;
    int64_t position = where.getConstant();
    if (!NodeRef::normalize(position, data->shape[axis]))
      return;
    SmallVector<int64_t> source(index.take_front(axis));
    source.push_back(position);
    llvm::append_range(source, index.drop_front(axis + width));
    value->elements[linear] = data->elements[linearize(data->shape, source)];
  });
  node.values[0] = std::move(value);
  return true;
}

static bool evalConcat(NodeRef &node) {
  std::optional<ShapeValue> value = makeResult(node, 0);
  if (!value || value->shape.empty())
    return true;
  int64_t axis = node.getInt("axis", 0);
  if (!NodeRef::normalize(axis, value->shape.size()))
    return true;
  int64_t offset = 0;
  for (unsigned i = 0; i < node.inputs.size(); ++i) {
    auto type = dyn_cast<RankedTensorType>(node.inputs[i].getType());
    if (!type || !type.hasStaticShape() ||
        type.getRank() != static_cast<int64_t>(value->shape.size()) ||
        offset + type.getDimSize(axis) > value->shape[axis])
      return true;
    for (int64_t d = 0; d < type.getRank(); ++d)
      if (d != axis && type.getDimSize(d) != value->shape[d])
        return true;
    if (const ShapeValue *part = node.elements(i))
      forEachIndex(part->shape, [&](int64_t linear, ArrayRef<int64_t> index) {
        SmallVector<int64_t> target(index);
        target[axis] += offset;
        value->elements[linearize(value->shape, target)] =
            part->elements[linear];
      });
    offset += type.getDimSize(axis);
  }
  if (offset == value->shape[axis] && value->anyKnown())
    node.values[0] = std::move(value);
  return true;
}

static bool evalSlice(NodeRef &node) {
  const ShapeValue *data = node.elements(0);
  SmallVector<int64_t> starts, ends, axes, steps;
  if (!data || !node.constants(1, starts) || !node.constants(2, ends) ||
      starts.size() != ends.size())
    return true;
  if (node.has(3) ? !node.constants(3, axes) : false)
    return true;
  if (node.has(4) ? !node.constants(4, steps) : false)
    return true;
  int64_t rank = data->shape.size();
  if (!node.has(3))
    axes = llvm::to_vector(llvm::seq<int64_t>(0, starts.size()));
  if (!node.has(4))
    steps.assign(starts.size(), 1);
  if (axes.size() != starts.size() || steps.size() != starts.size())
    return true;
  SmallVector<int64_t> first(rank, 0), step(rank, 1),
      shape(ArrayRef<int64_t>(data->shape));
  for (auto [i, position] : llvm::enumerate(axes)) {
    int64_t axis = position, extent, by = steps[i];
    if (!NodeRef::normalize(axis, rank) || by == 0 || by == INT64_MIN)
      return true;
    extent = data->shape[axis];
    int64_t low = by > 0 ? 0 : -1, high = by > 0 ? extent : extent - 1;
    auto clamp = [&](int64_t at) {
      return std::clamp(at < 0 ? at + extent : at, low, high);
    };
    // Negative starts count from the end even when stepping backwards; -1 as
    // an end that was clamped means "before the first".
    int64_t begin = clamp(starts[i]), end = clamp(ends[i]);
    int64_t span = by > 0 ? end - begin : begin - end;
    int64_t stride = by > 0 ? by : -by;
    first[axis] = begin;
    step[axis] = by;
    shape[axis] = span <= 0 ? 0 : (span + stride - 1) / stride;
  }
  std::optional<ShapeValue> value = ShapeValue::ofShape(shape);
  if (!value)
    return true;
  forEachIndex(shape, [&](int64_t linear, ArrayRef<int64_t> index) {
    SmallVector<int64_t> source(index);
    for (int64_t d = 0; d < rank; ++d)
      source[d] = first[d] + source[d] * step[d];
    value->elements[linear] = data->elements[linearize(data->shape, source)];
  });
  node.values[0] = std::move(value);
  return true;
}

static bool evalTranspose(NodeRef &node) {
  const ShapeValue *data = node.elements(0);
  if (!data)
    return true;
  int64_t rank = data->shape.size();
  SmallVector<int64_t> perm;
  if (auto attr = node.getInts("perm"))
    perm = llvm::to_vector(attr.asArrayRef());
  else
    perm = llvm::to_vector(llvm::reverse(llvm::seq<int64_t>(0, rank)));
  if (static_cast<int64_t>(perm.size()) != rank ||
      llvm::any_of(perm, [&](int64_t p) { return p < 0 || p >= rank; }))
    return true;
  SmallVector<int64_t> shape;
  for (int64_t p : perm)
    shape.push_back(data->shape[p]);
  std::optional<ShapeValue> value = ShapeValue::ofShape(shape);
  if (!value)
    return true;
  forEachIndex(shape, [&](int64_t linear, ArrayRef<int64_t> index) {
    SmallVector<int64_t> source(rank);
    for (int64_t d = 0; d < rank; ++d)
      source[perm[d]] = index[d];
    value->elements[linear] = data->elements[linearize(data->shape, source)];
  });
  node.values[0] = std::move(value);
  return true;
}

static bool evalExpand(NodeRef &node) {
  const ShapeValue *data = node.elements(0);
  std::optional<ShapeValue> value = makeResult(node, 0);
  if (!data || !value || value->shape.size() < data->shape.size())
    return true;
  for (auto [from, to] :
       llvm::zip(llvm::reverse(data->shape), llvm::reverse(value->shape)))
    if (from != 1 && from != to)
      return true;
  forEachIndex(value->shape, [&](int64_t linear, ArrayRef<int64_t> index) {
    value->elements[linear] = broadcastElement(*data, index);
  });
  node.values[0] = std::move(value);
  return true;
}

static bool evalTile(NodeRef &node) {
  const ShapeValue *data = node.elements(0);
  std::optional<ShapeValue> value = makeResult(node, 0);
  if (!data || !value || value->shape.size() != data->shape.size() ||
      data->elements.empty())
    return true;
  forEachIndex(value->shape, [&](int64_t linear, ArrayRef<int64_t> index) {
    SmallVector<int64_t> source(index);
    for (auto [i, extent] : llvm::zip(source, data->shape))
      i %= extent;
    value->elements[linear] = data->elements[linearize(data->shape, source)];
  });
  node.values[0] = std::move(value);
  return true;
}

static bool evalSplit(NodeRef &node) {
  const ShapeValue *data = node.elements(0);
  if (!data || data->shape.empty())
    return true;
  int64_t axis = node.getInt("axis", 0);
  if (!NodeRef::normalize(axis, data->shape.size()))
    return true;
  int64_t offset = 0;
  for (unsigned i = 0; i < node.op->getNumResults(); ++i) {
    std::optional<ShapeValue> part = makeResult(node, i);
    if (!part || part->shape.size() != data->shape.size() ||
        offset + part->shape[axis] > data->shape[axis])
      return true;
    bool fits = true;
    for (size_t d = 0; d < data->shape.size(); ++d)
      fits &=
          static_cast<int64_t>(d) == axis || part->shape[d] == data->shape[d];
    if (!fits)
      return true;
    forEachIndex(part->shape, [&](int64_t linear, ArrayRef<int64_t> index) {
      SmallVector<int64_t> source(index);
      source[axis] += offset;
      part->elements[linear] = data->elements[linearize(data->shape, source)];
    });
    offset += part->shape[axis];
    node.values[i] = std::move(part);
  }
  return true;
}

//===----------------------------------------------------------------------===//
// Reductions
//===----------------------------------------------------------------------===//

template <typename Combine>
static bool reduceElements(NodeRef &node, std::optional<DimExpr> neutral,
                           Combine combine) {
  const ShapeValue *data = node.elements(0);
  std::optional<ShapeValue> value = makeResult(node, 0);
  if (!data || !value)
    return true;
  int64_t rank = data->shape.size();
  SmallVector<int64_t> axes;
  if (node.has(1)) {
    if (!node.constants(1, axes))
      return true;
  }
  if (axes.empty()) {
    if (node.getInt("noop_with_empty_axes", 0) != 0)
      return evalRestructure(node);
    axes = llvm::to_vector(llvm::seq<int64_t>(0, rank));
  }
  SmallVector<bool> reduced(rank, false);
  for (int64_t axis : axes) {
    if (!NodeRef::normalize(axis, rank))
      return true;
    reduced[axis] = true;
  }
  std::vector<bool> started(value->elements.size(), false);
  bool keep = node.getInt("keepdims", 1) != 0;
  SmallVector<int64_t> shape;
  for (int64_t d = 0; d < rank; ++d)
    if (!reduced[d] || keep)
      shape.push_back(reduced[d] ? 1 : data->shape[d]);
  if (ArrayRef<int64_t>(value->shape) != ArrayRef<int64_t>(shape))
    return true;
  forEachIndex(data->shape, [&](int64_t linear, ArrayRef<int64_t> index) {
    SmallVector<int64_t> target;
    for (int64_t d = 0; d < rank; ++d)
      if (!reduced[d] || keep)
        target.push_back(reduced[d] ? 0 : index[d]);
    int64_t at = linearize(value->shape, target);
    const DimExpr &element = data->elements[linear];
    value->elements[at] =
        started[at] ? combine(value->elements[at], element) : element;
    started[at] = true;
  });
  for (auto [at, element] : llvm::enumerate(value->elements))
    if (!started[at]) {
      if (!neutral)
        return true;
      element = *neutral;
    }
  node.values[0] = std::move(value);
  return true;
}

static bool evalReduceProd(NodeRef &node) {
  return reduceElements(
      node, DimExpr::constant(1),
      [](const DimExpr &a, const DimExpr &b) { return a * b; });
}
static bool evalReduceSum(NodeRef &node) {
  return reduceElements(
      node, DimExpr::constant(0),
      [](const DimExpr &a, const DimExpr &b) { return a + b; });
}
static bool evalReduceMax(NodeRef &node) {
  return reduceElements(
      node, std::nullopt,
      [&](const DimExpr &a, const DimExpr &b) { return node.dims.max(a, b); });
}
static bool evalReduceMin(NodeRef &node) {
  return reduceElements(
      node, std::nullopt,
      [&](const DimExpr &a, const DimExpr &b) { return node.dims.min(a, b); });
}

//===----------------------------------------------------------------------===//
// Table
//===----------------------------------------------------------------------===//

static const llvm::StringMap<Rule> &getRules() {
  static const auto *rules = new llvm::StringMap<Rule>{
      {"onnx.Abs", evalAbs},
      {"onnx.Add", evalAdd},
      {"onnx.And", evalAnd},
      {"onnx.Cast", evalCast},
      {"onnx.CastLike", evalCast},
      {"onnx.Concat", evalConcat},
      {"onnx.ConstantOfShape", evalConstantOfShape},
      {"onnx.Div", evalDiv},
      {"onnx.Equal", evalEqual},
      {"onnx.Expand", evalExpand},
      {"onnx.Flatten", evalRestructure},
      {"onnx.Gather", evalGather},
      {"onnx.Greater", evalGreater},
      {"onnx.GreaterOrEqual", evalGreaterOrEqual},
      {"onnx.Identity", evalRestructure},
      {"onnx.Less", evalLess},
      {"onnx.LessOrEqual", evalLessOrEqual},
      {"onnx.Max", evalMax},
      {"onnx.Min", evalMin},
      {"onnx.Mod", evalMod},
      {"onnx.Mul", evalMul},
      {"onnx.Neg", evalNeg},
      {"onnx.Not", evalNot},
      {"onnx.Or", evalOr},
      {"onnx.Range", evalRange},
      {"onnx.ReduceMax", evalReduceMax},
      {"onnx.ReduceMin", evalReduceMin},
      {"onnx.ReduceProd", evalReduceProd},
      {"onnx.ReduceSum", evalReduceSum},
      {"onnx.Reshape", evalRestructure},
      {"onnx.Shape", evalShape},
      {"onnx.Size", evalSize},
      {"onnx.Slice", evalSlice},
      {"onnx.Split", evalSplit},
      {"onnx.Squeeze", evalRestructure},
      {"onnx.Sub", evalSub},
      {"onnx.Sum", evalSum},
      {"onnx.Tile", evalTile},
      {"onnx.Transpose", evalTranspose},
      {"onnx.Unsqueeze", evalRestructure},
      {"onnx.Where", evalWhere},
  };
  return *rules;
}

bool moe::applyElementRule(NodeRef &node) {
  Rule rule = getRules().lookup(node.op->getName().getStringRef());
  if (!rule)
    return false;
  // Only the types of shapes are tracked; narrow ones would wrap.
  for (Type type : node.op->getResultTypes()) {
    Type element = getElementTypeOrSelf(type);
    if (!element.isSignlessInteger(64) && !element.isSignlessInteger(32) &&
        !element.isSignlessInteger(1))
      return true;
  }
  rule(node);
  // What evaluation and types say must agree: a model that contradicts itself
  // gets no values.
  for (auto [result, value] : llvm::zip(node.op->getResults(), node.values)) {
    auto type = dyn_cast<RankedTensorType>(result.getType());
    if (value && getElementTypeOrSelf(result.getType()).isInteger(32))
      for (DimExpr &element : value->elements)
        if (element.isConstant() && !llvm::isInt<32>(element.getConstant()))
          element = DimExpr();
    if (value && (!type || !type.hasStaticShape() ||
                  type.getShape() != ArrayRef<int64_t>(value->shape) ||
                  !value->anyKnown()))
      value.reset();
  }
  return true;
}
