//===- SortedSlots.cpp - slots in the order of their experts --------------===//

#include "passes/Raise/SortedSlots.h"
#include "dialects/ONNX/ONNXDialect.h"
#include "lib/Analysis/Dims.h"
#include "passes/Raise/Match.h"
#include <cmath>

using namespace mlir;
using namespace moe;

static StringRef operatorOf(Operation *op) {
  StringRef name = op ? op->getName().getStringRef() : StringRef();
  return name.consume_front("onnx.") ? name : StringRef();
}

static bool isIndexType(Value value) {
  auto type = dyn_cast_or_null<IntegerType>(match::getElementType(value));
  return type && type.getWidth() >= 32;
}

static bool isSingle(Value value) {
  auto type = dyn_cast<RankedTensorType>(value.getType());
  return type && type.hasStaticShape() && type.getNumElements() == 1;
}

//===----------------------------------------------------------------------===//
// Sorting
//===----------------------------------------------------------------------===//

const SlotSort *SortMatcher::getSort(Operation *topK) {
  auto [it, isNew] = sorts.try_emplace(topK);
  if (!isNew)
    return it->second.get();
  std::unique_ptr<SlotSort> made;
  if (std::optional<SlotSort> sort = computeSort(topK)) {
    made = std::make_unique<SlotSort>(*sort);
    sortOfIds.try_emplace(made->ids, made.get());
  }
  return (sorts[topK] = std::move(made)).get();
}

const SlotSort *SortMatcher::getSort(Value perm) {
  auto result = dyn_cast<OpResult>(perm);
  if (!result || operatorOf(result.getOwner()) != "TopK" ||
      result.getResultNumber() != 1)
    return nullptr;
  return getSort(result.getOwner());
}

std::optional<SlotSort> SortMatcher::computeSort(Operation *topK) {
  if (operatorOf(topK) != "TopK" || topK->getNumResults() != 2)
    return std::nullopt;
  Value flat = topK->getOperand(0);
  // Sorted is what it is for; K is all there are.
  if (match::getRank(flat) != 1 || !isIndexType(flat) ||
      match::getInt(topK, "largest", 1) != 0 ||
      match::getInt(topK, "sorted", 1) != 1 ||
      !sameExtents(flat, topK->getResult(0)))
    return std::nullopt;
  SlotSort sort;
  sort.topK = topK;
  sort.ids = getIds(flat);
  sort.sorted = topK->getResult(0);
  sort.perm = topK->getResult(1);
  sort.count = masks.getProduct(flat, 0, 1);
  if (!sort.ids || !sort.count.isKnown() ||
      operatorOf(sort.ids.getDefiningOp()) == "Range")
    return std::nullopt;
  return sort;
}

/// The ids that a value has in the same order, or that it has sorted.
Value SortMatcher::getIds(Value value) {
  View view = View::of(value, dims, {}, /*throughCasts=*/true);
  if (!isIndexType(view.getBase()))
    view = View::of(value, dims);
  Value base = view.getBase();
  if (!isIndexType(base) || !view.keepsOrder())
    return {};
  auto result = dyn_cast<OpResult>(base);
  if (result && result.getResultNumber() == 0)
    if (const SlotSort *sort = getSort(result.getOwner()))
      return sort->ids;
  return base;
}

//===----------------------------------------------------------------------===//
// Places
//===----------------------------------------------------------------------===//

bool SortMatcher::countsUp(Value value, const DimExpr &count) {
  View view = View::of(value, dims);
  if (!view.keepsOrder())
    return false;
  value = view.getBase();
  if (match::getRank(value) != 1 || masks.getProduct(value, 0, 1) != count)
    return false;
  int64_t n = 0;
  Operation *range = value.getDefiningOp();
  if (operatorOf(range) != "Range")
    return match::isIota(value, n);
  return match::isNumber(range->getOperand(0), 0) &&
         match::isNumber(range->getOperand(2), 1);
}

/// A term that floor division adds for negative numbers, which slots are not:
/// Cast(And(of < 0, ..)).
bool SortMatcher::isZeroCorrection(Value value, Value of) {
  Operation *cast = match::getNode(value, "onnx.Cast");
  Value both = cast ? match::strip(cast->getOperand(0)) : Value();
  Value a, b;
  if (!both || !match::matchBinary(both, "onnx.And", a, b))
    return false;
  for (Value test : {a, b}) {
    Value compared;
    double number;
    // test == true
    if (match::matchWithNumber(test, "onnx.Equal", compared, number) &&
        number == 1)
      test = compared;
    if (match::matchWithNumber(test, "onnx.Less", compared, number) &&
        number <= 0 && match::isSame(compared, of))
      return true;
  }
  return false;
}

/// The whole divisor, where `value` is floor(of / divisor) for all `of` that
/// are not negative. (Exact in f32 below 2^24.)
std::optional<int64_t> SortMatcher::matchQuotient(Value value, Value &of) {
  value = match::strip(value);
  Operation *op = value.getDefiningOp();
  StringRef name = operatorOf(op);
  auto divisor = [&](Operation *div) -> std::optional<int64_t> {
    std::optional<double> number = match::getNumber(div->getOperand(1));
    if (!number)
      number = match::getSingleInt(div->getOperand(1));
    if (!number || *number < 1 || *number != std::floor(*number) ||
        *number > 1 << 20)
      return std::nullopt;
    return static_cast<int64_t>(*number);
  };
  if (name == "Div" && isIndexType(value)) {
    of = match::strip(op->getOperand(0));
    return divisor(op);
  }
  if (name == "Sub") {
    std::optional<int64_t> by = matchQuotient(op->getOperand(0), of);
    if (!by || !isZeroCorrection(op->getOperand(1), of))
      return std::nullopt;
    return by;
  }
  if (name != "Cast")
    return std::nullopt;
  Value inner = match::strip(op->getOperand(0));
  if (isIndexType(inner))
    return matchQuotient(inner, of);
  // Rounded down, or towards 0 as abs and sign.
  Value a, b;
  Operation *div = nullptr;
  if (match::matchBinary(inner, "onnx.Mul", a, b)) {
    if (!match::getNode(b, "onnx.Sign"))
      std::swap(a, b);
    Operation *sign = match::getNode(b, "onnx.Sign");
    Operation *floor = match::getNode(a, "onnx.Floor");
    Operation *abs =
        floor ? match::getNode(floor->getOperand(0), "onnx.Abs") : nullptr;
    if (!sign || !abs ||
        !match::isSame(sign->getOperand(0), abs->getOperand(0)))
      return std::nullopt;
    div = match::getNode(abs->getOperand(0), "onnx.Div");
  } else if (Operation *floor = match::getNode(inner, "onnx.Floor")) {
    div = match::getNode(floor->getOperand(0), "onnx.Div");
  } else {
    // Cast itself cuts the fraction off.
    div = match::getNode(inner, "onnx.Div");
  }
  Operation *toReal =
      div ? match::getNode(div->getOperand(0), "onnx.Cast") : nullptr;
  if (!toReal || !isIndexType(toReal->getOperand(0)) ||
      !(match::getElementType(div->getResult(0)).isF32() ||
        match::getElementType(div->getResult(0)).isF64()))
    return std::nullopt;
  of = match::strip(toReal->getOperand(0));
  return divisor(div);
}

/// The permutation undone: places by number of slot.
bool SortMatcher::isInverse(Value value, const SlotSort *&sort) {
  Operation *op = value.getDefiningOp();
  StringRef name = operatorOf(op);
  if (match::getRank(value) != 1)
    return false;
  std::optional<PlaceIndex> index;
  if (name == "ScatterND" || name == "ScatterElements") {
    if (match::getString(op, "reduction", "none") != "none")
      return false;
    index = matchIndex(op->getOperand(1));
    if (!index || index->kind != PlaceIndex::Kind::Slot)
      return false;
    sort = index->sort;
    return masks.getProduct(value, 0, 1) == sort->count &&
           countsUp(op->getOperand(2), sort->count);
  }
  if (name != "TopK" || cast<OpResult>(value).getResultNumber() != 1 ||
      match::getInt(op, "largest", 1) != 0 ||
      match::getInt(op, "sorted", 1) != 1 ||
      !sameExtents(op->getOperand(0), op->getResult(0)))
    return false;
  index = matchIndex(op->getOperand(0));
  if (!index || index->kind != PlaceIndex::Kind::Slot)
    return false;
  sort = index->sort;
  return true;
}

std::optional<PlaceIndex> SortMatcher::matchIndex(Value value) {
  View view = View::of(value, dims);
  Value base = view.getBase();
  if (!view.keepsOrder() || !isIndexType(base))
    return std::nullopt;
  PlaceIndex index;
  Value of;
  // A permutation comes before a sort of ids: both are TopK.
  if (isInverse(base, index.sort)) {
    index.kind = PlaceIndex::Kind::Inverse;
    return index;
  }
  if ((index.sort = getSort(base)))
    return index;
  if (std::optional<int64_t> divisor = matchQuotient(base, of)) {
    std::optional<PlaceIndex> slot = matchIndex(of);
    if (!slot || slot->kind != PlaceIndex::Kind::Slot)
      return std::nullopt;
    slot->kind = PlaceIndex::Kind::Token;
    slot->divisor = *divisor;
    return slot;
  }
  Operation *op = base.getDefiningOp();
  if (operatorOf(op) == "Cast" && isIndexType(op->getOperand(0)))
    return matchIndex(op->getOperand(0));
  return std::nullopt;
}

std::optional<PlaceIndex> SortMatcher::matchPicked(Value rows, Value &base,
                                                   int64_t numFeatureAxes) {
  View view = View::of(rows, dims);
  Operation *op = view.getBase().getDefiningOp();
  StringRef name = operatorOf(op);
  if (!view.keepsOrder() || view.getRank() == 0 ||
      (name != "Gather" && name != "GatherND"))
    return std::nullopt;
  Value data = op->getOperand(0), indices = op->getOperand(1);
  int64_t axis = 0, width = 1;
  if (name == "Gather") {
    std::optional<int64_t> at =
        match::getAxis(op, "axis", 0, match::getRank(data));
    width = match::getRank(indices);
    if (!at || width < 1)
      return std::nullopt;
    axis = *at;
  } else {
    auto type = dyn_cast<RankedTensorType>(indices.getType());
    if (!type || type.getRank() != 2 || type.getDimSize(1) != 1 ||
        match::getInt(op, "batch_dims", 0) != 0)
      return std::nullopt;
  }
  std::optional<PlaceIndex> index = matchIndex(indices);
  if (!index)
    return std::nullopt;
  // Places are the first axis, alone.
  AxisList places;
  for (int64_t i = axis; i < axis + width; ++i)
    if (!view.getBaseAxis(i).empty())
      places.push_back(i);
  if (getWholeAxes(view, 0) != places)
    return std::nullopt;

  View from = View::of(data, dims);
  base = from.getBase();
  Factors indexed = from.getAxis(axis);
  // Tokens that are repeated for each slot.
  if (index->kind == PlaceIndex::Kind::Slot && !indexed.empty() &&
      indexed.back().isRepeat() && indexed.back().extent.isConstant()) {
    index->kind = PlaceIndex::Kind::Token;
    index->divisor = indexed.back().extent.getConstant();
    indexed.pop_back();
  }
  Factors all = indexed, expected;
  for (int64_t i = 0, rank = from.getRank(); i < rank; ++i)
    if (i != axis)
      all.append(from.getAxis(i));
  for (unsigned i = 0; i < from.getBaseRank(); ++i)
    expected.append(from.getBaseAxis(i));
  // The indexed axis is all axes of base but those of features.
  size_t leading = 0;
  for (int64_t i = 0, n = from.getBaseRank() - numFeatureAxes; i < n; ++i)
    leading += from.getBaseAxis(i).size();
  if (all != expected || indexed.size() != leading)
    return std::nullopt;
  return index;
}

Value SortMatcher::strip(Value value, const SlotSort *sort) {
  while (true) {
    value = match::strip(value);
    Operation *op = value.getDefiningOp();
    StringRef name = operatorOf(op);
    if (name == "Cast" &&
        isa_and_nonnull<FloatType>(match::getElementType(op->getOperand(0))) &&
        isa_and_nonnull<FloatType>(match::getElementType(value))) {
      value = op->getOperand(0);
      continue;
    }
    // [S, features] of what has as many features.
    if (name != "Reshape" && name != "Expand")
      return value;
    auto from = dyn_cast<RankedTensorType>(op->getOperand(0).getType());
    auto to = dyn_cast<RankedTensorType>(value.getType());
    if (!from || !to || from.getRank() != 2 || to.getRank() != 2 ||
        from.isDynamicDim(1) || from.getDimSize(1) != to.getDimSize(1) ||
        masks.getProduct(value, 0, 1) != sort->count)
      return value;
    value = op->getOperand(0);
  }
}

//===----------------------------------------------------------------------===//
// Histograms
//===----------------------------------------------------------------------===//

/// What an elementwise function of `at` gives where that is x.
std::optional<double> SortMatcher::evaluate(Value value, Value at, double x) {
  if (value == at)
    return x;
  if (std::optional<double> number = match::getNumber(value))
    return number;
  Operation *op = value.getDefiningOp();
  StringRef name = operatorOf(op);
  Type element = match::getElementType(value);
  if (name.empty() || !element)
    return std::nullopt;
  auto arg = [&](unsigned i) -> std::optional<double> {
    Value operand = onnx::getFormalOperand(op, i);
    return operand ? evaluate(operand, at, x) : std::nullopt;
  };
  auto rounded = [&](double y) -> std::optional<double> {
    if (element.isF32())
      return static_cast<float>(y);
    return element.isF64() || element.isInteger() ? std::optional<double>(y)
                                                  : std::nullopt;
  };
  std::optional<double> a = arg(0);
  if (!a)
    return std::nullopt;
  if (name == "Reshape" || name == "Unsqueeze" || name == "Squeeze" ||
      name == "Flatten" || name == "Identity")
    return a;
  if (name == "Cast")
    return element.isInteger(1)  ? *a != 0
           : element.isInteger() ? std::trunc(*a)
                                 : rounded(*a);
  if (name == "Not")
    return *a == 0;
  if (name == "IsNaN")
    return std::isnan(*a);
  if (name == "Floor")
    return std::floor(*a);
  if (name == "Clip") {
    Value low = onnx::getFormalOperand(op, 1);
    Value high = onnx::getFormalOperand(op, 2);
    std::optional<double> least = low ? arg(1) : -HUGE_VAL;
    std::optional<double> most = high ? arg(2) : HUGE_VAL;
    if (!least || !most)
      return std::nullopt;
    return std::min(std::max(*a, *least), *most);
  }
  std::optional<double> b = arg(1);
  if (name == "Where") {
    std::optional<double> c = arg(2);
    return *a != 0 ? b : c;
  }
  if (!b)
    return std::nullopt;
  if (name == "Div") {
    if (*b == 0)
      return std::nullopt;
    return element.isInteger() ? std::trunc(*a / *b) : rounded(*a / *b);
  }
  if (name == "Mul")
    return rounded(*a * *b);
  if (name == "Add")
    return rounded(*a + *b);
  if (name == "Sub")
    return rounded(*a - *b);
  if (name == "And")
    return *a != 0 && *b != 0;
  if (name == "Less")
    return *a < *b;
  if (name == "LessOrEqual")
    return *a <= *b;
  if (name == "Greater")
    return *a > *b;
  if (name == "GreaterOrEqual")
    return *a >= *b;
  return std::nullopt;
}

/// The value that such a function is one of.
static Value getArgument(Value value) {
  while (true) {
    Operation *op = value.getDefiningOp();
    StringRef name = operatorOf(op);
    if (name == "Where")
      value = op->getOperand(1);
    else if (name == "Cast" || name == "Reshape" || name == "Unsqueeze" ||
             name == "Squeeze" || name == "Identity" || name == "Flatten" ||
             name == "Div" || name == "Mul" || name == "Clip" ||
             name == "Floor")
      value = op->getOperand(0);
    else
      return value;
  }
}

Value SortMatcher::matchSameIds(Value value, int64_t n) {
  Value at = getArgument(value);
  Value ids = getIds(at);
  if (!ids)
    return {};
  for (int64_t x = 0; x < n; ++x)
    if (evaluate(value, at, static_cast<double>(x)) != x)
      return {};
  return ids;
}

std::optional<SortMatcher::Histogram> SortMatcher::getHistogram(Value value) {
  auto it = histograms.find(value);
  if (it != histograms.end())
    return it->second;
  std::optional<Histogram> made = computeHistogram(value);
  if (made)
    numExperts[made->ids] = made->numExperts;
  return histograms[value] = made;
}

std::optional<SortMatcher::Histogram>
SortMatcher::computeHistogram(Value value) {
  View view = View::of(value, dims, {}, /*throughCasts=*/true);
  value = view.getBase();
  Operation *op = value.getDefiningOp();
  StringRef name = operatorOf(op);
  if (!view.keepsOrder() || match::getRank(value) != 1)
    return std::nullopt;
  if (name == "ScatterElements")
    return matchScatteredOnes(op);
  if (name == "ReduceSum")
    return matchMaskSum(op);
  if (name == "Sub")
    return matchEdges(op);
  if (name == "Concat")
    return matchConcat(op);
  if (name != "CumSum" || match::getInt(op, "reverse", 0) != 0 ||
      !match::isNumber(op->getOperand(1), 0))
    return std::nullopt;
  std::optional<Histogram> counts = getHistogram(op->getOperand(0));
  if (!counts || counts->sums)
    return std::nullopt;
  counts->sums = true;
  counts->first = match::getInt(op, "exclusive", 0) ? 0 : 1;
  return counts;
}

static int64_t getStaticExtent(Value value, int64_t axis) {
  auto type = dyn_cast<RankedTensorType>(value.getType());
  if (!type || axis < 0 || axis >= type.getRank() || type.isDynamicDim(axis))
    return 0;
  return type.getDimSize(axis);
}

/// zeros[E] with 1 added for each id.
std::optional<SortMatcher::Histogram>
SortMatcher::matchScatteredOnes(Operation *op) {
  int64_t n = getStaticExtent(op->getResult(0), 0);
  if (n < 1 || match::getString(op, "reduction", "none") != "add" ||
      !match::isNumber(op->getOperand(0), 0) ||
      !match::isNumber(op->getOperand(2), 1))
    return std::nullopt;
  Value ids = matchSameIds(op->getOperand(1), n);
  if (!ids)
    return std::nullopt;
  Histogram made;
  made.ids = ids;
  made.n = made.numExperts = n;
  return made;
}

/// The sum of a one-hot mask over all but the experts.
std::optional<SortMatcher::Histogram> SortMatcher::matchMaskSum(Operation *op) {
  Value mask = op->getOperand(0);
  std::optional<SmallVector<int64_t>> axes = match::getAxes(op);
  int64_t rank = match::getRank(mask);
  if (!axes || rank < 2)
    return std::nullopt;
  Histogram made;
  int64_t expertAxis = -1;
  const ExpertMask *known = masks.getMask(mask);
  if (known && known->reduced.empty()) {
    if (known->choice.keep)
      return std::nullopt;
    made.ids = getIds(known->choice.ids);
    made.n = known->depth;
    expertAxis = known->expertAxis;
  } else {
    // Ones scattered by ids along the axis of experts; the ids of a token
    // differ, or there would be nothing defined.
    Operation *scatter = View::of(mask, dims, {}, /*throughCasts=*/true)
                             .getBase()
                             .getDefiningOp();
    if (operatorOf(scatter) != "ScatterElements" ||
        match::getRank(scatter->getResult(0)) != rank ||
        !match::isNumber(scatter->getOperand(0), 0) ||
        !match::isNumber(scatter->getOperand(2), 1) ||
        match::getAxis(scatter, "axis", 0, rank) != rank - 1 ||
        !sameExtents(scatter->getResult(0), mask))
      return std::nullopt;
    expertAxis = rank - 1;
    // Every row of ids has its row in the mask.
    for (int64_t i = 0; i + 1 < rank; ++i)
      if (!sameExtent(scatter->getOperand(1), i, mask, i))
        return std::nullopt;
    made.ids = getIds(scatter->getOperand(1));
    made.n = getStaticExtent(mask, expertAxis);
  }
  SmallVector<int64_t> others;
  for (int64_t i = 0; i < rank; ++i)
    if (i != expertAxis)
      others.push_back(i);
  if (!made.ids || made.n < 1 || *axes != others)
    return std::nullopt;
  made.numExperts = made.n;
  return made;
}

/// Differences between the numbers of ids below neighbouring edges.
std::optional<SortMatcher::Histogram> SortMatcher::matchEdges(Operation *op) {
  Operation *above = match::getNode(op->getOperand(0), "onnx.Slice");
  Operation *below = match::getNode(op->getOperand(1), "onnx.Slice");
  int64_t n = getStaticExtent(op->getResult(0), 0);
  if (!above || !below || n < 1 ||
      !match::isSame(above->getOperand(0), below->getOperand(0)) ||
      getStaticExtent(above->getOperand(0), 0) != n + 1 ||
      getStaticExtent(op->getOperand(0), 0) != n ||
      getStaticExtent(op->getOperand(1), 0) != n)
    return std::nullopt;
  auto begin = [](Operation *slice) {
    Value steps = onnx::getFormalOperand(slice, 4);
    return steps && !match::isNumber(steps, 1)
               ? std::nullopt
               : match::getSingleInt(onnx::getFormalOperand(slice, 1));
  };
  if (begin(above) != 1 || begin(below) != 0)
    return std::nullopt;
  Operation *sum = match::getNode(above->getOperand(0), "onnx.ReduceSum");
  if (!sum || !match::isOverLastAxis(sum))
    return std::nullopt;
  Operation *cast = match::getNode(sum->getOperand(0), "onnx.Cast");
  Value x, edges;
  if (!cast ||
      !match::matchBinary(cast->getOperand(0), "onnx.Less", x, edges) ||
      match::getRank(x) != 2 || getStaticExtent(x, 0) != 1 ||
      getStaticExtent(edges, 1) != 1)
    return std::nullopt;
  std::optional<match::Constant> numbers = match::evaluate(edges);
  Value at = getArgument(x);
  Histogram made;
  made.ids = getIds(at);
  made.n = made.numExperts = n;
  if (!numbers || numbers->size() != n + 1 || !made.ids)
    return std::nullopt;
  for (int64_t id = 0; id < n; ++id) {
    std::optional<double> y = evaluate(x, at, static_cast<double>(id));
    if (!y || *y < numbers->get(id) || !(*y < numbers->get(id + 1)))
      return std::nullopt;
  }
  return made;
}

/// Amounts put together.
std::optional<SortMatcher::Histogram> SortMatcher::matchConcat(Operation *op) {
  Histogram made;
  for (Value part : op->getOperands()) {
    int64_t extent = getStaticExtent(part, 0);
    std::optional<Histogram> next;
    if (extent == 1) {
      std::optional<Amount> amount = getAmount(part);
      // 0 is the number of ids below 0.
      if (!amount && match::isNumber(part, 0))
        amount = Amount();
      if (!amount)
        return std::nullopt;
      next = Histogram();
      next->ids = amount->ids;
      next->n = 1;
      next->sums = !amount->single;
      next->first = amount->end;
      next->numExperts = amount->numExperts;
    } else {
      next = getHistogram(part);
    }
    if (!next)
      return std::nullopt;
    if (made.n == 0) {
      made = *next;
      if (!made.sums && made.first != 0)
        return std::nullopt;
      continue;
    }
    if (made.sums != next->sums ||
        (made.ids && next->ids && made.ids != next->ids) ||
        next->first != (made.sums ? made.first : 0) + made.n)
      return std::nullopt;
    if (!made.ids)
      made.ids = next->ids;
    made.numExperts = std::max(made.numExperts, next->numExperts);
    made.n += next->n;
  }
  if (!made.ids)
    return std::nullopt;
  if (!made.sums)
    made.first = 0;
  return made;
}

//===----------------------------------------------------------------------===//
// Bounds of groups
//===----------------------------------------------------------------------===//

std::optional<SortMatcher::Amount> SortMatcher::getAmount(Value value) {
  auto it = amounts.find(value);
  if (it != amounts.end())
    return it->second;
  std::optional<Amount> made = computeAmount(value);
  return amounts[value] = made;
}

std::optional<SortMatcher::Amount> SortMatcher::computeAmount(Value value) {
  if (!isSingle(value))
    return std::nullopt;
  View view = View::of(value, dims, {}, /*throughCasts=*/true);
  value = view.getBase();
  if (!isIndexType(value) && !isa<FloatType>(match::getElementType(value)))
    return std::nullopt;
  Operation *op = value.getDefiningOp();
  StringRef name = operatorOf(op);
  if (name == "Add" || name == "Sub") {
    std::optional<Amount> a = getAmount(op->getOperand(0));
    std::optional<Amount> b = getAmount(op->getOperand(1));
    if (!a || !b || a->ids != b->ids)
      return std::nullopt;
    if (name == "Add" && (!b->single || (a->single && a->end != 0)))
      std::swap(a, b);
    // Those below end and those equal to it; a single one at 0 is both.
    if (!b->single || (a->single && a->end != 0))
      return std::nullopt;
    int64_t below = a->single ? 1 : a->end;
    a->single = false;
    if (name == "Add" && b->end == below)
      a->end = below + 1;
    else if (name == "Sub" && b->end + 1 == below)
      a->end = b->end;
    else
      return std::nullopt;
    return a;
  }
  std::optional<VectorElement> element = matchVectorElement(value);
  if (!element)
    return std::nullopt;
  if (isSingle(element->vector))
    return getAmount(element->vector);
  std::optional<Histogram> from = getHistogram(element->vector);
  if (!from || element->index >= from->n)
    return std::nullopt;
  Amount made;
  made.ids = from->ids;
  made.single = !from->sums;
  made.end = element->index + (from->sums ? from->first : 0);
  made.numExperts = from->numExperts;
  return made;
}

std::optional<GroupRows> SortMatcher::matchBounds(Value begin, Value end) {
  std::optional<Amount> to = getAmount(end);
  if (!to)
    return std::nullopt;
  // The number of ids equal to 0 is that of ids below 1.
  auto below = [](const Amount &amount) {
    return amount.single ? (amount.end == 0 ? 1 : -1) : amount.end;
  };
  int64_t first = 0;
  if (!match::isNumber(begin, 0)) {
    std::optional<Amount> from = getAmount(begin);
    if (!from || from->ids != to->ids)
      return std::nullopt;
    first = below(*from);
  }
  const SlotSort *sort = sortOfIds.lookup(to->ids);
  if (first < 0 || below(*to) != first + 1 || !sort)
    return std::nullopt;
  GroupRows group;
  group.sort = sort;
  group.expert = first;
  return group;
}

std::optional<GroupRows> SortMatcher::matchGroup(Value value) {
  value = match::strip(value);
  auto result = dyn_cast<OpResult>(value);
  if (!result)
    return std::nullopt;
  Operation *op = result.getOwner();
  StringRef name = operatorOf(op);
  std::optional<GroupRows> group;
  if (name == "Gather") {
    Operation *range = match::getNode(op->getOperand(1), "onnx.Range");
    int64_t rank = match::getRank(op->getOperand(0));
    if (!range || match::getAxis(op, "axis", 0, rank) != 0 ||
        !match::isNumber(range->getOperand(2), 1))
      return std::nullopt;
    group = matchBounds(range->getOperand(0), range->getOperand(1));
  } else if (name == "Slice") {
    Value axes = onnx::getFormalOperand(op, 3);
    Value steps = onnx::getFormalOperand(op, 4);
    if ((axes && match::getSingleInt(axes) != 0) ||
        (steps && match::getSingleInt(steps) != 1))
      return std::nullopt;
    group = matchBounds(onnx::getFormalOperand(op, 1),
                        onnx::getFormalOperand(op, 2));
  } else if (name == "Split") {
    Value sizes = onnx::getFormalOperand(op, 1);
    int64_t rank = match::getRank(op->getOperand(0));
    std::optional<Histogram> counts =
        sizes ? getHistogram(sizes) : std::nullopt;
    if (!counts || counts->sums || match::getAxis(op, "axis", 0, rank) != 0 ||
        static_cast<int64_t>(op->getNumResults()) != counts->n)
      return std::nullopt;
    group = GroupRows();
    group->sort = sortOfIds.lookup(counts->ids);
    group->expert = result.getResultNumber();
  }
  if (!group || !group->sort)
    return std::nullopt;
  group->all = match::strip(op->getOperand(0));
  return group;
}
