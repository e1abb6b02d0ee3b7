//===- ShapeRules.cpp - exact extents where schemas lose them -------------===//
//
// The schemas of ONNX carry a symbol from an operand to a result, but give up
// where the extent of a result is computed: Concat along a symbolic axis, a
// Reshape with -1, a Slice of a symbolic axis. These rules compute it. They
// speak only of what follows for all extents: what depends on a comparison that
// the symbols do not decide becomes min, max or bcast of both sides.
//
//===----------------------------------------------------------------------===//

#include "dialects/ONNX/ONNXDialect.h"
#include "lib/Analysis/ShapeFacts.h"
#include "llvm/ADT/StringMap.h"
#include <cmath>

using namespace mlir;
using namespace moe;

using Rule = void (*)(NodeRef &);

static DimExpr ofInt(int64_t value) { return DimExpr::constant(value); }

//===----------------------------------------------------------------------===//
// Broadcasting
//===----------------------------------------------------------------------===//

static Extents broadcast(DimContext &dims, const Extents &a, const Extents &b) {
  const Extents &longer = a.size() >= b.size() ? a : b;
  const Extents &shorter = a.size() >= b.size() ? b : a;
  Extents result(longer);
  size_t offset = longer.size() - shorter.size();
  for (size_t i = 0; i < shorter.size(); ++i)
    result[offset + i] = dims.broadcast(longer[offset + i], shorter[i]);
  return result;
}

static void inferElementwise(NodeRef &node) {
  Extents result;
  for (unsigned i = 0; i < node.inputs.size(); ++i) {
    if (node.rank(i) < 0)
      return;
    result = i == 0 ? node.extents(0)
                    : broadcast(node.dims, result, node.extents(i));
  }
  node.results[0] = std::move(result);
}

/// Whether the model declares an extent of a result.
static bool isStaticResult(NodeRef &node, unsigned result, int64_t dim) {
  auto type = dyn_cast<RankedTensorType>(node.op->getResult(result).getType());
  return type && dim < type.getRank() && !type.isDynamicDim(dim);
}

/// One column for each element that is not 0; there are no more than elements.
static void inferNonZero(NodeRef &node) {
  if (node.rank(0) < 0 || isStaticResult(node, 0, 1))
    return;
  DimExpr most = ofInt(1);
  for (const DimExpr &extent : node.extents(0))
    most = most * extent;
  DimExpr count = node.makeSymbol(0, 1);
  node.dims.setBound(count, most);
  node.results[0] = Extents{DimExpr(), count};
}

/// Same extents as the first input, for operators whose schema has no
/// inference function.
static void inferSame(NodeRef &node) {
  if (node.rank(0) >= 0)
    node.results[0] = node.extents(0);
}

static void inferMatMul(NodeRef &node) {
  if (node.rank(0) < 1 || node.rank(1) < 1)
    return;
  Extents a = node.extents(0), b = node.extents(1);
  bool isRow = a.size() == 1, isColumn = b.size() == 1;
  Extents batch = broadcast(
      node.dims, Extents(ArrayRef<DimExpr>(a).drop_back(isRow ? 1 : 2)),
      Extents(ArrayRef<DimExpr>(b).drop_back(isColumn ? 1 : 2)));
  if (!isRow)
    batch.push_back(a[a.size() - 2]);
  if (!isColumn)
    batch.push_back(b.back());
  node.results[0] = std::move(batch);
}

/// An extent that an Expand gives: 1 in the target leaves the input's.
static void inferExpand(NodeRef &node) {
  const ShapeValue *shape = node.elements(1);
  if (!shape || node.rank(0) < 0)
    return;
  node.results[0] = broadcast(node.dims, node.extents(0),
                              Extents(ArrayRef<DimExpr>(shape->elements)));
}

//===----------------------------------------------------------------------===//
// Reshaping
//===----------------------------------------------------------------------===//

/// Drops factors that both products have, so that what is unknown in both
/// cancels only if it is the very same extent.
static DimExpr divideProducts(DimContext &dims, SmallVector<DimExpr> numerator,
                              SmallVector<DimExpr> denominator) {
  for (auto *it = denominator.begin(); it != denominator.end();) {
    auto *same = llvm::find(numerator, *it);
    if (same == numerator.end()) {
      ++it;
      continue;
    }
    numerator.erase(same);
    it = denominator.erase(it);
  }
  DimExpr over = ofInt(1), under = ofInt(1);
  for (const DimExpr &factor : numerator)
    over = over * factor;
  for (const DimExpr &factor : denominator)
    under = under * factor;
  if (under.isConstant(0))
    return {};
  DimExpr exact = DimExpr::divideExactly(over, under);
  return exact.isKnown() ? exact : dims.floorDiv(over, under);
}

static void inferReshape(NodeRef &node) {
  const ShapeValue *shape = node.elements(1);
  if (!shape || shape->shape.size() != 1)
    return;
  bool hasInput = node.rank(0) >= 0;
  Extents input = hasInput ? node.extents(0) : Extents();
  bool copiesZeros = node.getInt("allowzero", 0) == 0;
  Extents result;
  int64_t inferred = -1, unknown = 0;
  for (auto [i, element] : llvm::enumerate(shape->elements)) {
    result.push_back({});
    if (element.isConstant(-1)) {
      inferred = i;
    } else if (element.isConstant(0) && copiesZeros) {
      if (i < input.size())
        result.back() = input[i];
    } else {
      result.back() = element;
    }
    unknown += !result.back().isKnown();
  }
  // One extent follows from the rest, whether it was asked for by -1 or is an
  // element that nothing is known of (which then may be -1 itself).
  if (hasInput && unknown == 1) {
    SmallVector<DimExpr> numerator(input.begin(), input.end()), denominator;
    int64_t missing = 0;
    for (auto [i, extent] : llvm::enumerate(result)) {
      if (extent.isKnown())
        denominator.push_back(extent);
      else
        missing = i;
    }
    if (inferred < 0 || inferred == missing)
      result[missing] =
          divideProducts(node.dims, std::move(numerator), denominator);
  }
  node.results[0] = std::move(result);
}

static void inferFlatten(NodeRef &node) {
  int64_t rank = node.rank(0), axis = node.getInt("axis", 1);
  if (rank < 0 || axis < -rank || axis > rank)
    return;
  if (axis < 0)
    axis += rank;
  DimExpr left = ofInt(1), right = ofInt(1);
  for (auto [i, extent] : llvm::enumerate(node.extents(0))) {
    DimExpr &side = static_cast<int64_t>(i) < axis ? left : right;
    side = side * extent;
  }
  node.results[0] = Extents{left, right};
}

static void inferDepthToSpace(NodeRef &node) {
  DimExpr block = ofInt(node.getInt("blocksize", 1));
  if (node.rank(0) != 4)
    return;
  Extents e = node.extents(0);
  node.results[0] = Extents{e[0], node.dims.floorDiv(e[1], block * block),
                            e[2] * block, e[3] * block};
}

static void inferSpaceToDepth(NodeRef &node) {
  DimExpr block = ofInt(node.getInt("blocksize", 1));
  if (node.rank(0) != 4)
    return;
  Extents e = node.extents(0);
  node.results[0] =
      Extents{e[0], e[1] * block * block, node.dims.floorDiv(e[2], block),
              node.dims.floorDiv(e[3], block)};
}

//===----------------------------------------------------------------------===//
// Parts and wholes
//===----------------------------------------------------------------------===//

static void inferConcat(NodeRef &node) {
  int64_t rank = node.rank(0), axis = node.getInt("axis", 0);
  if (rank < 1 || !NodeRef::normalize(axis, rank))
    return;
  Extents result = node.extents(0);
  for (unsigned i = 1; i < node.inputs.size(); ++i) {
    if (node.rank(i) != rank)
      return;
    Extents part = node.extents(i);
    for (int64_t d = 0; d < rank; ++d) {
      if (d == axis)
        result[d] = result[d] + part[d];
      else if (part[d].isConstant() || !result[d].isKnown())
        result[d] = part[d]; // they are equal, the constant says more
    }
  }
  node.results[0] = std::move(result);
}

static void inferSplit(NodeRef &node) {
  int64_t rank = node.rank(0), axis = node.getInt("axis", 0);
  if (rank < 1 || !NodeRef::normalize(axis, rank))
    return;
  Extents whole = node.extents(0);
  unsigned count = node.results.size();
  const ShapeValue *sizes = node.elements(1);
  if (sizes && sizes->elements.size() != count)
    sizes = nullptr;
  // Sizes that depend on data still add up to the whole.
  DimExpr left = whole[axis];
  for (unsigned i = 0; i < count; ++i) {
    Extents part = whole;
    if (sizes && sizes->elements[i].isKnown()) {
      part[axis] = sizes->elements[i];
      left = left - part[axis];
    } else if (node.has(1)) {
      bool isDeclared = isStaticResult(node, i, axis);
      part[axis] = i + 1 == count && !isDeclared ? left
                   : isDeclared                  ? DimExpr()
                                                 : node.makeSymbol(i, axis);
      left = left - part[axis];
    } else {
      // Equal parts, the last one takes what is left.
      DimExpr chunk = node.dims.ceilDiv(whole[axis], ofInt(count));
      part[axis] =
          i + 1 < count ? chunk : whole[axis] - chunk * ofInt(count - 1);
      if (!chunk.isConstant() &&
          !DimExpr::divideExactly(whole[axis], ofInt(count)).isKnown())
        part[axis] = {};
    }
    node.results[i] = std::move(part);
  }
}

/// Extent of a slice along one axis, or unknown when the symbols do not decide
/// whether a start or end counts from the end. With step 1 it is
/// max(min(end, extent) - max(start, 0), 0) once both count from the front; a
/// start beyond the extent needs no care, since it makes the difference
/// negative.
static DimExpr sliceExtent(DimContext &dims, const DimExpr &extent,
                           const DimExpr &start, const DimExpr &end,
                           const DimExpr &step) {
  if (!step.isConstant() || step.isConstant(0))
    return {};
  int64_t stride = step.getConstant();
  // The idiom of reversal: all of the axis.
  if (stride == -1 && start.isConstant(-1) && end.isConstant() &&
      end.getConstant() <= -INT32_MAX)
    return extent;
  if (stride < 0)
    return {};
  auto isNegative = [](const DimExpr &index) {
    return (-index - ofInt(1)).isNonNegative();
  };
  bool fromEnd = isNegative(start);
  if (!fromEnd && !start.isNonNegative())
    return {};

  DimExpr to;
  // "To the end" is written as a huge number.
  if (end == extent || (end.isConstant() && end.getConstant() >= INT32_MAX))
    to = extent;
  else if (end.isNonNegative())
    to = dims.min(end, extent);
  else if (isNegative(end))
    to = end + extent;

  DimExpr span;
  if (fromEnd && to == extent)
    span = dims.min(-start, extent);
  else if (fromEnd)
    span = dims.max(to - dims.max(start + extent, ofInt(0)), ofInt(0));
  else
    span = dims.max(to - start, ofInt(0));
  return stride == 1 ? span : dims.ceilDiv(span, step);
}

static void inferSlice(NodeRef &node) {
  int64_t rank = node.rank(0);
  if (rank < 0)
    return;
  SmallVector<int64_t> axes;
  const ShapeValue *starts = node.elements(1);
  const ShapeValue *ends = node.elements(2);
  const ShapeValue *steps = node.elements(4);
  if (node.has(3)) {
    if (!node.constants(3, axes))
      return; // any axis may be cut
  } else if (starts) {
    axes = llvm::to_vector(llvm::seq<int64_t>(0, starts->elements.size()));
  } else if (auto type = dyn_cast<RankedTensorType>(node.inputs[1].getType());
             type && type.hasStaticShape() && type.getRank() == 1) {
    axes = llvm::to_vector(llvm::seq<int64_t>(0, type.getDimSize(0)));
  } else {
    return;
  }
  Extents result = node.extents(0);
  for (auto [i, position] : llvm::enumerate(axes)) {
    int64_t axis = position;
    if (!NodeRef::normalize(axis, rank))
      return;
    DimExpr step = ofInt(1);
    if (node.has(4))
      step =
          steps && i < steps->elements.size() ? steps->elements[i] : DimExpr();
    if (starts && ends && i < starts->elements.size() &&
        i < ends->elements.size())
      result[axis] = sliceExtent(node.dims, result[axis], starts->elements[i],
                                 ends->elements[i], step);
    else
      result[axis] = {};
  }
  node.results[0] = std::move(result);
}

static void inferTile(NodeRef &node) {
  const ShapeValue *repeats = node.elements(1);
  if (!repeats || node.rank(0) < 0)
    return;
  Extents result = node.extents(0);
  if (repeats->elements.size() != result.size())
    return;
  for (auto [extent, times] : llvm::zip(result, repeats->elements))
    extent = extent * times;
  node.results[0] = std::move(result);
}

static void inferPad(NodeRef &node) {
  const ShapeValue *pads = node.elements(1);
  int64_t rank = node.rank(0);
  if (rank < 0)
    return;
  SmallVector<int64_t> axes;
  if (node.has(3)) {
    if (!node.constants(3, axes))
      return;
  } else {
    axes = llvm::to_vector(llvm::seq<int64_t>(0, rank));
  }
  Extents result = node.extents(0);
  for (auto [i, position] : llvm::enumerate(axes)) {
    int64_t axis = position;
    if (!NodeRef::normalize(axis, rank))
      return;
    if (pads && pads->elements.size() == 2 * axes.size())
      result[axis] =
          result[axis] + pads->elements[i] + pads->elements[i + axes.size()];
    else
      result[axis] = {};
  }
  node.results[0] = std::move(result);
}

//===----------------------------------------------------------------------===//
// Extents from values
//===----------------------------------------------------------------------===//

static void inferConstantOfShape(NodeRef &node) {
  if (const ShapeValue *shape = node.elements(0))
    if (shape->shape.size() == 1)
      node.results[0] = Extents(ArrayRef<DimExpr>(shape->elements));
}

static void inferRange(NodeRef &node) {
  const ShapeValue *start = node.elements(0), *limit = node.elements(1),
                   *delta = node.elements(2);
  if (!start || !limit || !delta || !start->isSingle() || !limit->isSingle() ||
      !delta->isSingle())
    return;
  const DimExpr &step = delta->elements[0];
  if (!step.isConstant() || step.getConstant() <= 0)
    return;
  DimExpr span =
      node.dims.max(limit->elements[0] - start->elements[0], ofInt(0));
  node.results[0] = Extents{node.dims.ceilDiv(span, step)};
}

static void inferTopK(NodeRef &node) {
  int64_t rank = node.rank(0), axis = node.getInt("axis", -1);
  const ShapeValue *k = node.elements(1);
  if (rank < 1 || !NodeRef::normalize(axis, rank))
    return;
  Extents result = node.extents(0);
  result[axis] = k && k->isSingle() ? k->elements[0] : DimExpr();
  for (auto &list : node.results)
    list = result;
}

static void inferOneHot(NodeRef &node) {
  int64_t rank = node.rank(0), axis = node.getInt("axis", -1);
  const ShapeValue *depth = node.elements(1);
  if (rank < 0 || !NodeRef::normalize(axis, rank + 1))
    return;
  Extents result = node.extents(0);
  result.insert(result.begin() + axis,
                depth && depth->isSingle() ? depth->elements[0] : DimExpr());
  node.results[0] = std::move(result);
}

/// A floating-point constant of one dimension; false if it is none.
static bool readFloats(Value value, SmallVectorImpl<double> &out) {
  auto attr = dyn_cast_or_null<DenseFPElementsAttr>(getConstantValue(value));
  if (!attr || attr.getType().getRank() != 1 || attr.getNumElements() > 64)
    return false;
  for (APFloat number : attr.getValues<APFloat>()) {
    bool loses;
    number.convert(APFloat::IEEEdouble(), APFloat::rmNearestTiesToEven, &loses);
    out.push_back(number.convertToDouble());
  }
  return true;
}

static void inferResize(NodeRef &node) {
  int64_t rank = node.rank(0);
  if (rank < 0)
    return;
  SmallVector<int64_t> axes;
  if (auto list = node.getInts("axes"))
    axes = llvm::to_vector(list.asArrayRef());
  else
    axes = llvm::to_vector(llvm::seq<int64_t>(0, rank));
  Extents input = node.extents(0), result = input;
  const ShapeValue *sizes = node.elements(3);
  SmallVector<double> scales;
  bool exact =
      node.getString("keep_aspect_ratio_policy", "stretch") == "stretch" &&
      node.getString("coordinate_transformation_mode", "") !=
          "tf_crop_and_resize";
  if (node.has(2))
    readFloats(node.inputs[2], scales);
  for (auto [i, position] : llvm::enumerate(axes)) {
    int64_t axis = position;
    if (!NodeRef::normalize(axis, rank))
      return;
    DimExpr &extent = result[axis];
    if (node.has(3) && sizes && i < sizes->elements.size() && exact) {
      extent = sizes->elements[i];
    } else if (!node.has(3) && scales.size() == axes.size() && exact &&
               !extent.isConstant()) {
      // floor(extent * scale) for scales that are whole, or whole parts.
      double scale = scales[i], inverse = 1.0 / scale;
      if (scale >= 1 && scale < 4096 && scale == std::floor(scale))
        extent = extent * ofInt(static_cast<int64_t>(scale));
      else if (inverse >= 1 && inverse < 4096 &&
               inverse == std::floor(inverse) && 1.0 / inverse == scale)
        extent =
            node.dims.floorDiv(extent, ofInt(static_cast<int64_t>(inverse)));
      else
        extent = {};
    } else {
      extent = {}; // where it is static, the schema computes it
    }
  }
  node.results[0] = std::move(result);
}

//===----------------------------------------------------------------------===//
// Windows
//===----------------------------------------------------------------------===//

/// Extent of a sliding window along one axis.
struct Window {
  int64_t kernel, stride, dilation, padBegin, padEnd;

  int64_t reach() const { return (kernel - 1) * dilation + 1; }
};

/// Reads the window of each spatial axis; false if attributes do not fit.
static bool readWindows(NodeRef &node, ArrayRef<int64_t> kernel,
                        SmallVectorImpl<Window> &windows) {
  size_t count = kernel.size();
  auto strides = node.getInts("strides"), dilations = node.getInts("dilations"),
       pads = node.getInts("pads");
  if ((strides && strides.size() != static_cast<int64_t>(count)) ||
      (dilations && dilations.size() != static_cast<int64_t>(count)) ||
      (pads && pads.size() != static_cast<int64_t>(2 * count)))
    return false;
  constexpr int64_t kMost = int64_t(1) << 31; // keeps products in 64 bits
  for (size_t i = 0; i < count; ++i) {
    Window w{kernel[i], strides ? strides[i] : 1, dilations ? dilations[i] : 1,
             pads ? pads[i] : 0, pads ? pads[i + count] : 0};
    if (w.kernel < 1 || w.stride < 1 || w.dilation < 1 || w.padBegin < 0 ||
        w.padEnd < 0 || w.kernel > kMost || w.stride > kMost ||
        w.dilation > kMost || w.padBegin > kMost || w.padEnd > kMost)
      return false;
    windows.push_back(w);
  }
  return true;
}

static bool getKernel(NodeRef &node, int weight, int64_t rank,
                      SmallVectorImpl<int64_t> &kernel) {
  if (auto attr = node.getInts("kernel_shape")) {
    kernel.assign(attr.asArrayRef().begin(), attr.asArrayRef().end());
  } else {
    if (weight < 0 || node.rank(weight) != rank)
      return false;
    for (const DimExpr &extent :
         ArrayRef<DimExpr>(node.extents(weight)).drop_front(2)) {
      if (!extent.isConstant())
        return false;
      kernel.push_back(extent.getConstant());
    }
  }
  return static_cast<int64_t>(kernel.size()) == rank - 2;
}

static DimExpr windowExtent(NodeRef &node, const DimExpr &input,
                            const Window &window, bool ceil) {
  StringRef pad = node.getString("auto_pad", "NOTSET");
  DimExpr stride = ofInt(window.stride);
  if (pad == "SAME_UPPER" || pad == "SAME_LOWER")
    return node.dims.ceilDiv(input, stride);
  int64_t padding = pad == "VALID" ? 0 : window.padBegin + window.padEnd;
  DimExpr room = input + ofInt(padding - window.reach());
  // Ceil mode may drop a window that would start in the end padding.
  if (ceil)
    return {};
  return node.dims.floorDiv(room, stride) + ofInt(1);
}

static void inferConvOrPool(NodeRef &node, bool isConv) {
  int64_t rank = node.rank(0);
  SmallVector<int64_t> kernel;
  SmallVector<Window> windows;
  if (rank < 3 || !getKernel(node, isConv ? 1 : -1, rank, kernel) ||
      !readWindows(node, kernel, windows))
    return;
  Extents result = node.extents(0);
  if (isConv)
    result[1] = node.rank(1) == rank ? node.extents(1)[0] : DimExpr();
  bool ceil = !isConv && node.getInt("ceil_mode", 0) != 0;
  for (auto [i, window] : llvm::enumerate(windows)) {
    // Static extents are left to the schema, which also checks them.
    DimExpr &extent = result[i + 2];
    extent = extent.isConstant() ? DimExpr()
                                 : windowExtent(node, extent, window, ceil);
  }
  for (auto &list : node.results)
    list = result;
}

static void inferConv(NodeRef &node) { inferConvOrPool(node, true); }
static void inferPool(NodeRef &node) { inferConvOrPool(node, false); }

static void inferConvTranspose(NodeRef &node) {
  int64_t rank = node.rank(0);
  SmallVector<int64_t> kernel;
  SmallVector<Window> windows;
  if (rank < 3 || !getKernel(node, 1, rank, kernel) ||
      !readWindows(node, kernel, windows) || node.getInts("output_shape") ||
      node.rank(1) != rank)
    return;
  StringRef pad = node.getString("auto_pad", "NOTSET");
  auto extra = node.getInts("output_padding");
  if (extra && extra.size() != rank - 2)
    return;
  Extents result = node.extents(0);
  result[1] = node.extents(1)[1] * ofInt(node.getInt("group", 1));
  for (auto [i, w] : llvm::enumerate(windows)) {
    DimExpr &extent = result[i + 2];
    if (extent.isConstant()) {
      extent = {};
    } else if (pad == "SAME_UPPER" || pad == "SAME_LOWER") {
      extent = extent * ofInt(w.stride);
    } else {
      int64_t padding = pad == "VALID" ? 0 : w.padBegin + w.padEnd;
      extent = (extent - ofInt(1)) * ofInt(w.stride) +
               ofInt(w.reach() - padding + (extra ? extra[i] : 0));
    }
  }
  node.results[0] = std::move(result);
}

//===----------------------------------------------------------------------===//
// Attention
//===----------------------------------------------------------------------===//

/// ai.onnx Attention: the cache grows by the new keys.
static void inferAttention(NodeRef &node) {
  // The schema divides extents that it does not know.
  node.overridesSchema = true;
  int64_t rank = node.rank(0);
  if (rank < 0 || node.rank(1) != rank || node.rank(2) != rank)
    return;
  Extents q = node.extents(0), k = node.extents(1), v = node.extents(2);
  DimExpr batch = q[0], heads, keyHeads, queries, keys, width, keyWidth;
  if (rank == 4) {
    heads = q[1], keyHeads = k[1], queries = q[2], keys = k[2], width = v[3],
    keyWidth = k[3];
  } else if (rank == 3) {
    heads = ofInt(node.getInt("q_num_heads", 0));
    keyHeads = ofInt(node.getInt("kv_num_heads", 0));
    if (heads.isConstant(0) || keyHeads.isConstant(0))
      return;
    queries = q[1], keys = k[1];
    width = node.dims.floorDiv(v[2], keyHeads);
    keyWidth = node.dims.floorDiv(k[2], keyHeads);
  } else {
    return;
  }
  if (node.has(4)) {
    if (node.rank(4) != 4)
      return;
    keys = node.extents(4)[2] + keys;
  }
  const Extents all[] = {rank == 4 ? Extents{batch, heads, queries, width}
                                   : Extents{batch, queries, heads * width},
                         Extents{batch, keyHeads, keys, keyWidth},
                         Extents{batch, keyHeads, keys, width},
                         Extents{batch, heads, queries, keys}};
  unsigned next = 0;
  for (auto [place, value] : llvm::enumerate(getNodeOutputs(node.op)))
    if (value && place < 4 && next < node.results.size())
      node.results[next++] = all[place];
}

//===----------------------------------------------------------------------===//
// com.microsoft
//===----------------------------------------------------------------------===//

/// Sets the result at a place of the node, if the node has it.
static void setPlace(NodeRef &node, unsigned place, Extents extents) {
  SmallVector<Value> outputs = getNodeOutputs(node.op);
  if (place < outputs.size() && outputs[place])
    node.results[cast<OpResult>(outputs[place]).getResultNumber()] =
        std::move(extents);
}

static void inferMatMulNBits(NodeRef &node) {
  if (node.rank(0) < 1)
    return;
  Extents result = node.extents(0);
  result.back() = ofInt(node.getInt("N", 0));
  node.results[0] = std::move(result);
}

/// Norms over the last axes: statistics keep them as 1.
static void inferSimplifiedNorm(NodeRef &node) {
  int64_t rank = node.rank(0), axis = node.getInt("axis", -1);
  if (rank < 1 || !NodeRef::normalize(axis, rank))
    return;
  Extents input = node.extents(0), statistics = input;
  for (int64_t d = axis; d < rank; ++d)
    statistics[d] = ofInt(1);
  setPlace(node, 0, input);
  setPlace(node, 1, statistics);
}

static void inferSkipSimplifiedNorm(NodeRef &node) {
  if (node.rank(0) < 1)
    return;
  Extents input = node.extents(0), statistics = input;
  statistics.back() = ofInt(1);
  setPlace(node, 0, input);
  setPlace(node, 1, statistics);
  setPlace(node, 2, statistics);
  setPlace(node, 3, input);
}

/// The present caches have room for the longest of the past and the new keys;
/// how much, total_sequence_length says at run time. Window-sized ones keep
/// their rows.
static void inferGroupQueryAttention(NodeRef &node) {
  int64_t heads = node.getInt("num_heads", 0);
  int64_t keyHeads = node.getInt("kv_num_heads", 0);
  if (node.rank(0) != 3 || heads < 1 || keyHeads < 1)
    return;
  Extents query = node.extents(0);
  DimExpr width;
  if (node.has(1))
    width = node.dims.floorDiv(query[2], ofInt(heads));
  else // query, key and value are packed in one
    width = node.dims.floorDiv(query[2], ofInt(heads + 2 * keyHeads));
  setPlace(node, 0, {query[0], query[1], width * ofInt(heads)});
  DimExpr rows;
  const ShapeValue *value = node.elements(6);
  bool hasPast = node.has(3);
  if (node.getInt("sliding_window_cache", 0) != 0) {
    if (node.rank(3) == 4)
      rows = node.extents(3)[2];
  } else if (value && value->isSingle()) {
    if (!hasPast)
      rows = value->elements[0];
    else if (node.rank(3) == 4)
      rows = node.dims.max(value->elements[0], node.extents(3)[2]);
  }
  DimExpr stored = width;
  if (node.rank(3) == 4)
    stored = node.extents(3)[3];
  for (unsigned place : {1u, 2u})
    setPlace(node, place, {query[0], ofInt(keyHeads), rows, stored});
  setPlace(node, 3, {query[0], ofInt(heads), query[1], DimExpr()});
}

//===----------------------------------------------------------------------===//
// Table
//===----------------------------------------------------------------------===//

static const llvm::StringMap<Rule> &getRules() {
  static const auto *rules = [] {
    auto *table = new llvm::StringMap<Rule>{
        {"onnx.Attention", inferAttention},
        {"onnx.AveragePool", inferPool},
        {"onnx.Concat", inferConcat},
        {"onnx.ConstantOfShape", inferConstantOfShape},
        {"onnx.Conv", inferConv},
        {"onnx.ConvTranspose", inferConvTranspose},
        {"onnx.DepthToSpace", inferDepthToSpace},
        {"onnx.Expand", inferExpand},
        {"onnx.Flatten", inferFlatten},
        {"onnx.GroupNormalization", inferSame},
        {"onnx.LpPool", inferPool},
        {"onnx.MatMul", inferMatMul},
        {"onnx.MaxPool", inferPool},
        {"onnx.MeanVarianceNormalization", inferSame},
        {"onnx.NonZero", inferNonZero},
        {"onnx.OneHot", inferOneHot},
        {"onnx.Pad", inferPad},
        {"onnx.Range", inferRange},
        {"onnx.Reshape", inferReshape},
        {"onnx.Resize", inferResize},
        {"onnx.Slice", inferSlice},
        {"onnx.SpaceToDepth", inferSpaceToDepth},
        {"onnx.Split", inferSplit},
        {"onnx.Tile", inferTile},
        {"onnx.TopK", inferTopK},
        {"onnx_ms.GroupQueryAttention", inferGroupQueryAttention},
        {"onnx_ms.MatMulNBits", inferMatMulNBits},
        {"onnx_ms.MoE", inferSame},
        {"onnx_ms.QMoE", inferSame},
        {"onnx_ms.SimplifiedLayerNormalization", inferSimplifiedNorm},
        {"onnx_ms.SkipSimplifiedLayerNormalization", inferSkipSimplifiedNorm},
    };
    for (StringRef name : {"Add",       "And",
                           "BitShift",  "BitwiseAnd",
                           "BitwiseOr", "BitwiseXor",
                           "Div",       "Equal",
                           "Greater",   "GreaterOrEqual",
                           "Less",      "LessOrEqual",
                           "Max",       "Mean",
                           "Min",       "Mod",
                           "Mul",       "Or",
                           "Pow",       "Sub",
                           "Sum",       "Where",
                           "Xor"})
      (*table)[("onnx." + name).str()] = inferElementwise;
    return table;
  }();
  return *rules;
}

void moe::applyExtentRule(NodeRef &node) {
  if (Rule rule = getRules().lookup(node.op->getName().getStringRef()))
    rule(node);
}
