//===- AttentionMasks.cpp - what a mask of attention hides ----------------===//
//
// A comparison of positions is read as a linear form: each side is
// row * i + column * j + offset, the offset being an expression of extents. Of
// their difference j - i + offset only the sign matters.
//
//===----------------------------------------------------------------------===//

#include "passes/Raise/AttentionMasks.h"
#include "dialects/ONNX/ONNXDialect.h"
#include "lib/Analysis/Dims.h"
#include "passes/Raise/Match.h"
#include <cmath>

using namespace mlir;
using namespace moe;
using namespace moe::match;

/// Chains of nodes that make positions are short.
static constexpr unsigned kMaxDepth = 24;

MaskReader::MaskReader(DimContext &dims, const ScoreDims &scores)
    : dims(dims), scores(scores),
      rows(toExpr(dims, getDim(scores.query, scores.rank - 2))),
      columns(toExpr(dims, getDim(scores.key, scores.keyDim))) {}

bool MaskReader::isLow(double number, Type element) {
  if (element.isF16())
    return number <= -65504;
  return number <= -1e30;
}

//===----------------------------------------------------------------------===//
// Positions
//===----------------------------------------------------------------------===//

/// Puts numbers 0, 1, .. along dim `dim` of `value`, which is dim `axis` of the
/// scores, if there are as many as there are queries or keys.
bool MaskReader::place(Value value, unsigned dim, int64_t axis, Grid &grid) {
  if (axis == scores.rank - 2 &&
      sameExtent(value, dim, scores.query, scores.rank - 2)) {
    grid.row += 1;
    return true;
  }
  if (axis == scores.rank - 1 &&
      sameExtent(value, dim, scores.key, scores.keyDim)) {
    grid.column += 1;
    return true;
  }
  return false;
}

/// A constant that counts along one dim.
std::optional<MaskReader::Grid>
MaskReader::readConstant(Value value, ArrayRef<int64_t> axes) {
  std::optional<Constant> constant = evaluate(value);
  if (!constant || constant->size() == 0)
    return std::nullopt;
  Grid grid;
  if (std::optional<double> number = constant->getNumber()) {
    if (*number != std::floor(*number) || std::abs(*number) > 1e15)
      return std::nullopt;
    grid.offset = DimExpr::constant(static_cast<int64_t>(*number));
    return grid;
  }
  std::optional<unsigned> along;
  for (auto [dim, extent] : llvm::enumerate(constant->type.getShape())) {
    if (extent == 1)
      continue;
    if (along)
      return std::nullopt;
    along = dim;
  }
  double first = constant->get(0);
  if (!along || first != std::floor(first) || std::abs(first) > 1e15)
    return std::nullopt;
  for (int64_t i = 0; i < constant->size(); ++i)
    if (constant->get(i) != first + static_cast<double>(i))
      return std::nullopt;
  grid.offset = DimExpr::constant(static_cast<int64_t>(first));
  if (!place(value, *along, axes[*along], grid))
    return std::nullopt;
  return grid;
}

std::optional<MaskReader::Grid> MaskReader::readBinary(Operation *op,
                                                       ArrayRef<int64_t> axes,
                                                       bool subtract,
                                                       unsigned depth) {
  auto side = [&](unsigned i) -> std::optional<Grid> {
    Value value = op->getOperand(i);
    int64_t rank = getRank(value);
    if (rank < 0 || rank > static_cast<int64_t>(axes.size()))
      return std::nullopt;
    return readGrid(value, axes.take_back(rank), depth + 1);
  };
  std::optional<Grid> a = side(0), b = side(1);
  if (!a || !b)
    return std::nullopt;
  int64_t sign = subtract ? -1 : 1;
  a->row += sign * b->row;
  a->column += sign * b->column;
  a->offset = subtract ? a->offset - b->offset : a->offset + b->offset;
  return a;
}

/// Reads a tensor of numbers whose dim i is dim axes[i] of the scores.
std::optional<MaskReader::Grid>
MaskReader::readGrid(Value value, ArrayRef<int64_t> axes, unsigned depth) {
  value = strip(value);
  int64_t rank = getRank(value);
  if (depth > kMaxDepth || rank != static_cast<int64_t>(axes.size()))
    return std::nullopt;
  if (std::optional<Grid> constant = readConstant(value, axes))
    return constant;
  auto type = cast<RankedTensorType>(value.getType());
  if (type.hasStaticShape() && type.getNumElements() == 1)
    if (auto elements = getShapeValue(value); elements && elements->size() == 1)
      if (DimExpr expr = toExpr(dims, elements->front()); expr.isKnown())
        return Grid{0, 0, expr};
  Operation *op = value.getDefiningOp();
  StringRef name = getOperator(value);
  if (name == "Add" || name == "Sub")
    return op->getNumOperands() == 2
               ? readBinary(op, axes, name == "Sub", depth)
               : std::nullopt;
  if (name == "Cast") {
    Type from = getElementType(op->getOperand(0));
    if (!from || from.isInteger(1))
      return std::nullopt;
    return readGrid(op->getOperand(0), axes, depth + 1);
  }
  if (name == "Range") {
    if (!isNumber(op->getOperand(2), 1))
      return std::nullopt;
    std::optional<Grid> grid = readGrid(op->getOperand(0), {}, depth + 1);
    if (!grid || !place(value, 0, axes[0], *grid))
      return std::nullopt;
    return grid;
  }
  if (name == "Unsqueeze") {
    std::optional<SmallVector<int64_t>> added = getAxes(op);
    if (!added)
      return std::nullopt;
    SmallVector<int64_t> inner;
    for (int64_t i = 0; i < rank; ++i)
      if (!llvm::is_contained(*added, i))
        inner.push_back(axes[i]);
    return readGrid(op->getOperand(0), inner, depth + 1);
  }
  if (name == "Expand") {
    int64_t own = getRank(op->getOperand(0));
    if (own < 0 || own > rank)
      return std::nullopt;
    return readGrid(op->getOperand(0), axes.take_back(own), depth + 1);
  }
  if (name == "Transpose") {
    SmallVector<int64_t> perm = getPermutation(op), inner(rank);
    for (int64_t i = 0; i < rank; ++i)
      inner[perm[i]] = axes[i];
    return readGrid(op->getOperand(0), inner, depth + 1);
  }
  if (name == "Reshape" || name == "Squeeze" || name == "Flatten") {
    // Between shapes with one extent that counts.
    Value in = op->getOperand(0);
    auto only = [](Value v) -> std::optional<unsigned> {
      std::optional<unsigned> found;
      for (int64_t i = 0; i < getRank(v); ++i) {
        Extent extent = getDim(v, i);
        if (extent.isStatic() && extent.size == 1)
          continue;
        if (found)
          return std::nullopt;
        found = i;
      }
      return found;
    };
    std::optional<unsigned> from = only(in), to = only(value);
    if (!from || !to || !sameExtent(in, *from, value, *to))
      return std::nullopt;
    SmallVector<int64_t> inner(getRank(in), -1);
    inner[*from] = axes[*to];
    return readGrid(in, inner, depth + 1);
  }
  return std::nullopt;
}

//===----------------------------------------------------------------------===//
// Conditions
//===----------------------------------------------------------------------===//

/// Adds the condition difference <= 0 if it is one on j - i, or holds always.
bool MaskReader::addDifference(const Grid &difference, bool &isAlways,
                               Visible &visible) {
  if (!difference.offset.isKnown())
    return false;
  bool isConstant = difference.offset.isConstant();
  // -i, -j or nothing, minus something: all positions count from 0.
  if (difference.row <= 0 && difference.column <= 0 && isConstant &&
      difference.offset.getConstant() <= 0) {
    isAlways = true;
    return true;
  }
  DimExpr end =
      columns.isKnown() && rows.isKnown() ? columns - rows : DimExpr();
  if (difference.row == -1 && difference.column == 1) {
    // j <= i - offset
    ir::Causal causal = ir::Causal::None;
    if (isConstant && difference.offset.getConstant() == 0)
      causal = ir::Causal::Start;
    else if (end.isKnown() && end + difference.offset == DimExpr::constant(0))
      causal = ir::Causal::End;
    if (causal == ir::Causal::None ||
        (visible.causal != ir::Causal::None && visible.causal != causal))
      return false;
    // A window that was found before counts from the query's own position.
    if (visible.window && visible.causal == ir::Causal::None &&
        causal == ir::Causal::End)
      return false;
    visible.causal = causal;
    return true;
  }
  if (difference.row == 1 && difference.column == -1) {
    // j >= i + offset, that is j > i + o - window with window = o + 1 - offset
    DimExpr wide = DimExpr::constant(1) - difference.offset;
    if (visible.causal == ir::Causal::End)
      wide = wide + end;
    if (!wide.isConstant() || wide.getConstant() < 1)
      return false;
    int64_t window = wide.getConstant();
    visible.window = std::min(window, visible.window.value_or(window));
    return true;
  }
  return false;
}

/// Reads a comparison of integers or of floats that count.
bool MaskReader::readComparison(Value mask, bool truth, Visible &visible,
                                bool &isAlways) {
  mask = strip(mask);
  StringRef name = getOperator(mask);
  bool isLess = name == "Less" || name == "LessOrEqual";
  if (!isLess && name != "Greater" && name != "GreaterOrEqual")
    return false;
  bool strict = name == "Less" || name == "Greater";
  Operation *op = mask.getDefiningOp();
  int64_t rank = getRank(mask);
  if (rank < 0 || rank > scores.rank)
    return false;
  SmallVector<int64_t> axes =
      llvm::to_vector(llvm::seq<int64_t>(scores.rank - rank, scores.rank));
  std::optional<Grid> difference = readBinary(op, axes, /*subtract=*/true, 0);
  if (!difference || !difference->offset.isKnown())
    return false;
  // x > y is y < x; not x < y is y <= x.
  bool swapped = !isLess;
  if (!truth) {
    swapped = !swapped;
    strict = !strict;
  }
  if (swapped) {
    difference->row = -difference->row;
    difference->column = -difference->column;
    difference->offset = DimExpr::constant(0) - difference->offset;
  }
  if (strict)
    difference->offset = difference->offset + DimExpr::constant(1);
  return addDifference(*difference, isAlways, visible);
}

/// Whether the last two extents of a value are those of the scores.
bool MaskReader::spansScores(Value value) {
  int64_t rank = getRank(value);
  return rank >= 2 && rank <= scores.rank &&
         sameExtent(value, rank - 2, scores.query, scores.rank - 2) &&
         sameExtent(value, rank - 1, scores.key, scores.keyDim);
}

/// A constant that is the lower triangle in all its matrices.
bool MaskReader::readTriangle(Value mask, bool truth, Visible &visible) {
  if (!spansScores(mask))
    return false;
  std::optional<Constant> constant = evaluate(mask);
  if (!constant || constant->size() == 0)
    return false;
  int64_t rank = constant->type.getRank();
  int64_t s = constant->type.getDimSize(rank - 2);
  int64_t l = constant->type.getDimSize(rank - 1);
  // The last visible key of the first row says which triangle it can be.
  int64_t shift = -1;
  while (shift + 1 < l && (constant->get(shift + 1) != 0) == truth)
    ++shift;
  ir::Causal causal = ir::Causal::None;
  if (shift == 0)
    causal = ir::Causal::Start;
  else if (shift == l - s)
    causal = ir::Causal::End;
  if (causal == ir::Causal::None || visible.causal != ir::Causal::None ||
      visible.window)
    return false;
  for (int64_t n = 0; n < constant->size(); ++n) {
    int64_t j = n % l, i = n / l % s;
    if (((constant->get(n) != 0) == truth) != (j <= i + shift))
      return false;
  }
  visible.causal = causal;
  return true;
}

bool MaskReader::read(Value mask, bool truth, Visible &visible) {
  mask = strip(mask);
  StringRef name = getOperator(mask);
  Operation *op = mask.getDefiningOp();
  if (std::optional<double> number = getNumber(mask))
    if ((*number != 0) == truth)
      return true;
  if (name == "Not")
    return read(op->getOperand(0), !truth, visible);
  if ((truth && name == "And") || (!truth && name == "Or"))
    return read(op->getOperand(0), truth, visible) &&
           read(op->getOperand(1), truth, visible);
  // The scores are as large as they are: repeating changes nothing, unless it
  // moves axes.
  if (name == "Expand" && getRank(op->getOperand(0)) >= 0)
    return read(op->getOperand(0), truth, visible);
  if (name == "Cast" && getElementType(op->getOperand(0)) &&
      getElementType(op->getOperand(0)).isInteger(1))
    return read(op->getOperand(0), truth, visible);
  bool isAlways = false;
  if (readComparison(mask, truth, visible, isAlways) ||
      readTriangle(mask, truth, visible))
    return true;
  if (!truth || !getElementType(mask).isInteger(1))
    return false;
  visible.terms.push_back(mask);
  return true;
}

std::optional<double> MaskReader::readAddend(Value addend, Visible &visible) {
  addend = strip(addend);
  Type element = getElementType(addend);
  if (!element || !isa<FloatType>(element))
    return std::nullopt;
  StringRef name = getOperator(addend);
  Operation *op = addend.getDefiningOp();
  if (name == "Expand" && getRank(op->getOperand(0)) >= 0)
    return readAddend(op->getOperand(0), visible);
  if (name == "Where") {
    std::optional<double> yes = getNumber(op->getOperand(1));
    std::optional<double> no = getNumber(op->getOperand(2));
    if (!yes || !no)
      return std::nullopt;
    bool truth = *yes == 0;
    double low = truth ? *no : *yes;
    if ((truth ? *yes : *no) != 0 || !isLow(low, element) ||
        getRank(op->getOperand(0)) < 0)
      return std::nullopt;
    if (!read(op->getOperand(0), truth, visible))
      return std::nullopt;
    return low;
  }
  if (name == "Trilu" && getInt(op, "upper", 1) == 1 && spansScores(addend)) {
    // A low number above the diagonal.
    std::optional<double> low = getNumber(op->getOperand(0));
    Value k = onnx::getFormalOperand(op, 1);
    if (!low || !isLow(*low, element) || !k || !isNumber(k, 1) ||
        visible.causal != ir::Causal::None || visible.window)
      return std::nullopt;
    visible.causal = ir::Causal::Start;
    return low;
  }
  // A constant of zeros and low numbers.
  if (std::optional<Constant> constant = evaluate(addend)) {
    double low = 0;
    for (int64_t i = 0; i < constant->size(); ++i)
      low = std::min(low, constant->get(i));
    if (!isLow(low, element) || !spansScores(addend))
      return std::nullopt;
    Constant flags = *constant;
    for (double &one : flags.reals) {
      if (one != 0 && one != low)
        return std::nullopt;
      one = one == 0;
    }
    int64_t rank = flags.type.getRank();
    int64_t s = flags.type.getDimSize(rank - 2);
    int64_t l = flags.type.getDimSize(rank - 1);
    auto isTriangle = [&](int64_t shift) {
      for (int64_t n = 0; n < flags.size(); ++n)
        if ((flags.get(n) != 0) != (n % l <= n / l % s + shift))
          return false;
      return true;
    };
    if (visible.causal != ir::Causal::None || visible.window || s == 0 ||
        l == 0)
      return std::nullopt;
    if (isTriangle(0))
      visible.causal = ir::Causal::Start;
    else if (l > s && isTriangle(l - s))
      visible.causal = ir::Causal::End;
    else
      return std::nullopt;
    return low;
  }
  return std::nullopt;
}
