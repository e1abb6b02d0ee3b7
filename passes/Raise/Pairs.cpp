//===- Pairs.cpp - which expert gets which slots of which tokens ----------===//

#include "passes/Raise/Pairs.h"
#include "dialects/ONNX/ONNXDialect.h"
#include "lib/Analysis/Dims.h"
#include "passes/Raise/Match.h"
#include <numeric>

using namespace mlir;
using namespace moe;

std::optional<AxisList> moe::getWholeAxes(const View &view, unsigned i) {
  AxisList axes;
  const Factors &factors = view.getAxis(i);
  size_t at = 0;
  while (at < factors.size()) {
    if (factors[at].isRepeat())
      return std::nullopt;
    int64_t axis = factors[at].axis;
    const Factors &whole = view.getBaseAxis(axis);
    if (factors.size() - at < whole.size() ||
        !std::equal(whole.begin(), whole.end(), factors.begin() + at))
      return std::nullopt;
    at += whole.size();
    axes.push_back(axis);
  }
  return axes;
}

//===----------------------------------------------------------------------===//
// Small matchers
//===----------------------------------------------------------------------===//

namespace {
/// One index along an axis of `data`: by Gather, Slice or Split.
struct Pick {
  Value data;
  int64_t axis = 0;
  /// Constant, or -1 with the value of the index.
  int64_t index = -1;
  Value at;
  /// For each axis of the result the axis of data, -1 for one of extent 1.
  AxisList axes;
};
} // namespace

static StringRef operatorOf(Operation *op) {
  StringRef name = op ? op->getName().getStringRef() : StringRef();
  return name.consume_front("onnx.") ? name : StringRef();
}

/// Whether all extents of a value are 1.
static bool isSingle(Value value) {
  auto type = dyn_cast<RankedTensorType>(value.getType());
  return type && type.hasStaticShape() && type.getNumElements() == 1;
}

static bool isIndexType(Value value) {
  auto type = dyn_cast_or_null<IntegerType>(match::getElementType(value));
  return type && type.getWidth() >= 32;
}

static AxisList iota(int64_t n) {
  AxisList axes(n);
  std::iota(axes.begin(), axes.end(), 0);
  return axes;
}

static std::optional<Pick> getGatherPick(Operation *op) {
  Pick pick;
  pick.data = onnx::getFormalOperand(op, 0);
  pick.at = onnx::getFormalOperand(op, 1);
  int64_t rank = match::getRank(pick.data), width = match::getRank(pick.at);
  std::optional<int64_t> axis = match::getAxis(op, "axis", 0, rank);
  if (!axis || width < 0 || !isSingle(pick.at))
    return std::nullopt;
  pick.axis = *axis;
  if (std::optional<int64_t> index = match::getSingleInt(pick.at)) {
    int64_t extent =
        cast<RankedTensorType>(pick.data.getType()).getDimSize(*axis);
    if (*index < 0 && ShapedType::isDynamic(extent))
      return std::nullopt;
    pick.index = *index < 0 ? *index + extent : *index;
    if (pick.index < 0)
      return std::nullopt;
    pick.at = Value();
  }
  for (int64_t i = 0; i < rank; ++i)
    if (i == *axis)
      pick.axes.append(width, -1);
    else
      pick.axes.push_back(i);
  return pick;
}

static std::optional<Pick> getSlicePick(Operation *op) {
  Pick pick;
  pick.data = onnx::getFormalOperand(op, 0);
  int64_t rank = match::getRank(pick.data);
  auto read = [&](unsigned i) -> std::optional<int64_t> {
    Value operand = onnx::getFormalOperand(op, i);
    return operand ? match::getSingleInt(operand) : std::nullopt;
  };
  std::optional<int64_t> begin = read(1), end = read(2), axis = read(3);
  Value steps = onnx::getFormalOperand(op, 4);
  if (!onnx::getFormalOperand(op, 3))
    axis = 0;
  if (rank < 1 || !begin || !end || !axis || *begin < 0 || *end != *begin + 1 ||
      (steps && read(4) != 1))
    return std::nullopt;
  pick.axis = *axis < 0 ? *axis + rank : *axis;
  if (pick.axis < 0 || pick.axis >= rank ||
      cast<RankedTensorType>(op->getResult(0).getType())
              .getDimSize(pick.axis) != 1)
    return std::nullopt;
  pick.index = *begin;
  pick.axes = iota(rank);
  pick.axes[pick.axis] = -1;
  return pick;
}

static std::optional<Pick> getSplitPick(OpResult result) {
  Operation *op = result.getOwner();
  Pick pick;
  pick.data = op->getOperand(0);
  int64_t rank = match::getRank(pick.data);
  std::optional<int64_t> axis = match::getAxis(op, "axis", 0, rank);
  if (!axis)
    return std::nullopt;
  for (unsigned i = 0; i <= result.getResultNumber(); ++i) {
    auto part = dyn_cast<RankedTensorType>(op->getResult(i).getType());
    if (!part || part.getRank() != rank || part.getDimSize(*axis) != 1)
      return std::nullopt;
  }
  pick.axis = *axis;
  pick.index = result.getResultNumber();
  pick.axes = iota(rank);
  pick.axes[pick.axis] = -1;
  return pick;
}

static std::optional<Pick> getPick(Value value) {
  auto result = dyn_cast<OpResult>(value);
  if (!result)
    return std::nullopt;
  StringRef name = operatorOf(result.getOwner());
  if (name == "Gather")
    return getGatherPick(result.getOwner());
  if (name == "Slice")
    return getSlicePick(result.getOwner());
  if (name == "Split")
    return getSplitPick(result);
  return std::nullopt;
}

std::optional<VectorElement> moe::matchVectorElement(Value value) {
  std::optional<Pick> pick = getPick(value);
  if (!pick || pick->index < 0 || match::getRank(pick->data) != 1)
    return std::nullopt;
  return VectorElement{pick->data, pick->index};
}

/// The axes of a value whose extent is not 1.
static AxisList getWideAxes(Value value) {
  AxisList axes;
  for (auto [i, extent] : llvm::enumerate(getDims(value)))
    if (extent.size != 1)
      axes.push_back(i);
  return axes;
}

DimExpr PairMatcher::getProduct(Value value, int64_t from, int64_t to) {
  DimExpr product = DimExpr::constant(1);
  for (int64_t i = from; i < to; ++i)
    product = product * toExpr(dims, getDim(value, i));
  return product;
}

//===----------------------------------------------------------------------===//
// Masks
//===----------------------------------------------------------------------===//

const ExpertMask *PairMatcher::getMask(Value value) {
  auto [it, isNew] = masks.try_emplace(value);
  if (!isNew)
    return it->second.get();
  std::unique_ptr<ExpertMask> made;
  if (std::optional<ExpertMask> mask = computeMask(value))
    made = std::make_unique<ExpertMask>(std::move(*mask));
  // The map may have grown.
  return (masks[value] = std::move(made)).get();
}

/// A mask behind views and casts.
std::optional<ExpertMask> PairMatcher::computeMask(Value value) {
  View view = View::of(value, dims, {}, /*throughCasts=*/true);
  std::optional<ExpertMask> hot = computeHot(view.getBase());
  if (!hot || view.getRank() == 0)
    return std::nullopt;
  ExpertMask mask = *hot;
  mask.axes.clear();
  mask.expertAxis = -1;
  for (unsigned i = 0; i < view.getRank(); ++i) {
    std::optional<AxisList> walked = getWholeAxes(view, i);
    if (!walked)
      return std::nullopt;
    AxisList &axes = mask.axes.emplace_back();
    if (walked->size() == 1 && walked->front() == hot->expertAxis) {
      mask.expertAxis = i;
      continue;
    }
    for (int64_t axis : *walked) {
      if (axis == hot->expertAxis)
        return std::nullopt;
      axes.append(hot->axes[axis]);
    }
  }
  if (mask.expertAxis < 0)
    return std::nullopt;
  return mask;
}

std::optional<ExpertMask> PairMatcher::computeHot(Value hot) {
  Operation *op = hot.getDefiningOp();
  StringRef name = operatorOf(op);
  if (name == "OneHot")
    return matchOneHot(op);
  if (name == "Equal")
    return matchEqual(op);
  if (name == "Mul" || name == "And")
    return matchProduct(op);
  if (name == "ReduceSum" || name == "ReduceMax")
    return matchReduced(op);
  if (name == "ScatterElements")
    return matchScattered(op);
  // Counts of slots that are not 0.
  Value counted;
  double bound;
  if (match::matchWithNumber(hot, "onnx.Greater", counted, bound) && bound == 0)
    if (const ExpertMask *mask = getMask(counted))
      return *mask;
  return std::nullopt;
}

/// A mask of which slots are added up.
std::optional<ExpertMask> PairMatcher::matchReduced(Operation *op) {
  const ExpertMask *from = getMask(op->getOperand(0));
  std::optional<SmallVector<int64_t>> axes = match::getAxes(op);
  if (!from || !axes || llvm::is_contained(*axes, from->expertAxis))
    return std::nullopt;
  bool keeps = match::getInt(op, "keepdims", 1) != 0;
  ExpertMask mask = *from;
  mask.axes.clear();
  for (int64_t i = 0, rank = from->axes.size(); i < rank; ++i) {
    if (i == from->expertAxis)
      mask.expertAxis = mask.axes.size();
    if (!llvm::is_contained(*axes, i)) {
      mask.axes.push_back(from->axes[i]);
      continue;
    }
    mask.reduced.append(from->axes[i]);
    if (keeps)
      mask.axes.emplace_back();
  }
  return mask;
}

/// Ones put into zeros [.., E] by ids [.., k].
std::optional<ExpertMask> PairMatcher::matchScattered(Operation *op) {
  Value ids = op->getOperand(1), result = op->getResult(0);
  int64_t rank = match::getRank(result);
  ExpertMask mask;
  if (rank < 2 || match::getAxis(op, "axis", 0, rank) != rank - 1 ||
      match::getString(op, "reduction", "none") != "none" ||
      !match::isNumber(op->getOperand(0), 0) ||
      !match::isNumber(op->getOperand(2), 1) || !readIds(ids, mask))
    return std::nullopt;
  mask.depth = cast<RankedTensorType>(result.getType()).getDimSize(rank - 1);
  if (ShapedType::isDynamic(mask.depth))
    return std::nullopt;
  for (int64_t i = 0; i + 1 < rank; ++i)
    if (!sameExtent(ids, i, result, i))
      return std::nullopt;
  mask.reduced = mask.axes.back();
  mask.axes.back().clear();
  mask.expertAxis = rank - 1;
  // An id out of range is an error of the node; from the end it counts.
  mask.wraps = true;
  return mask;
}

/// The base of ids and the axes of it that each axis of `value` walks.
bool PairMatcher::readIds(Value value, ExpertMask &mask) {
  // As far back as each axis walks whole ones; else ids are the value itself.
  View views[] = {View::of(value, dims, {}, /*throughCasts=*/true),
                  View::of(value, dims), View::of(value, dims, value)};
  for (const View &view : views) {
    if (!isIndexType(view.getBase()) ||
        static_cast<int64_t>(view.getRank()) != match::getRank(value))
      continue;
    SmallVector<AxisList> axes;
    for (unsigned i = 0; i < view.getRank(); ++i)
      if (std::optional<AxisList> walked = getWholeAxes(view, i))
        axes.push_back(*walked);
    if (axes.size() != view.getRank())
      continue;
    mask.choice.ids = view.getBase();
    mask.axes = std::move(axes);
    return true;
  }
  return false;
}

std::optional<ExpertMask> PairMatcher::matchOneHot(Operation *op) {
  Value ids = onnx::getFormalOperand(op, 0);
  std::optional<int64_t> depth =
      match::getSingleInt(onnx::getFormalOperand(op, 1));
  std::optional<match::Constant> values =
      match::evaluate(onnx::getFormalOperand(op, 2));
  int64_t rank = match::getRank(ids);
  std::optional<int64_t> axis = match::getAxis(op, "axis", -1, rank + 1);
  ExpertMask mask;
  if (!depth || *depth < 1 || !values || values->size() != 2 ||
      values->get(0) != 0 || values->get(1) != 1 || !axis ||
      !readIds(ids, mask))
    return std::nullopt;
  mask.depth = *depth;
  mask.wraps = true;
  mask.expertAxis = *axis;
  mask.axes.insert(mask.axes.begin() + *axis, AxisList());
  return mask;
}

/// ids [.., 1] == 0, 1, .. E-1.
std::optional<ExpertMask> PairMatcher::matchEqual(Operation *op) {
  for (unsigned i : {0u, 1u}) {
    Value ids = op->getOperand(i), numbers = op->getOperand(1 - i);
    int64_t rank = match::getRank(ids), depth = 0;
    ExpertMask mask;
    if (rank < 1 || match::getRank(numbers) > rank ||
        cast<RankedTensorType>(ids.getType()).getDimSize(rank - 1) != 1 ||
        !match::isIota(numbers, depth) || depth < 1 || !readIds(ids, mask))
      continue;
    mask.depth = depth;
    mask.expertAxis = rank - 1;
    return mask;
  }
  return std::nullopt;
}

/// A mask of which some elements are switched off.
std::optional<ExpertMask> PairMatcher::matchProduct(Operation *op) {
  for (unsigned i : {0u, 1u}) {
    Value from = op->getOperand(i), by = op->getOperand(1 - i);
    const ExpertMask *found = getMask(from);
    if (!found || found->choice.keep || !sameExtents(from, by) ||
        !sameExtents(from, op->getResult(0)))
      continue;
    // The condition is looked up by expert, along the last axis.
    ExpertMask mask = *found;
    int64_t rank = mask.axes.size();
    AxisList all;
    for (const AxisList &axes : mask.axes)
      all.append(axes);
    Value condition = View::of(by, dims, {}, /*throughCasts=*/true).getBase();
    if (mask.expertAxis != rank - 1 || all != getWideAxes(mask.choice.ids) ||
        !match::getElementType(condition).isInteger(1) ||
        !sameExtents(condition, by))
      continue;
    mask.choice.keep = condition;
    return mask;
  }
  return std::nullopt;
}

//===----------------------------------------------------------------------===//
// Pairs
//===----------------------------------------------------------------------===//

const ExpertPairs *PairMatcher::getPairs(Operation *nonZero) {
  auto [it, isNew] = pairs.try_emplace(nonZero);
  if (!isNew)
    return it->second.get();
  std::unique_ptr<ExpertPairs> made;
  if (operatorOf(nonZero) == "NonZero")
    if (std::optional<ExpertPairs> found = computePairs(nonZero))
      made = std::make_unique<ExpertPairs>(std::move(*found));
  return (pairs[nonZero] = std::move(made)).get();
}

std::optional<ExpertPairs> PairMatcher::computePairs(Operation *nonZero) {
  ExpertPairs found;
  found.nonZero = nonZero;
  Value selected = nonZero->getOperand(0);
  SmallVector<AxisList> axes;
  if (!selectBehind(selected, found, axes) || axes.empty())
    return std::nullopt;
  found.rows = axes;
  AxisList all;
  for (const AxisList &row : axes)
    all.append(row);
  // Each axis of ids has a coordinate, or a part of one, or is reduced.
  all.append(found.reduced);
  llvm::sort(all);
  if (all != getWideAxes(found.choice.ids))
    return std::nullopt;
  return found;
}

/// `selected` is the slice of a mask that belongs to one expert; `axes` becomes
/// the axes of ids that its axes walk.
bool PairMatcher::selectExpert(Value selected, ExpertPairs &pairs,
                               SmallVectorImpl<AxisList> &axes) {
  Operation *op = selected.getDefiningOp();
  if (operatorOf(op) == "Equal")
    return compareIds(op, pairs, axes);
  if (operatorOf(op) == "ReduceMax" || operatorOf(op) == "ReduceSum")
    return reduceIds(op, pairs, axes);
  Value counted;
  double bound;
  if (match::matchWithNumber(selected, "onnx.Greater", counted, bound))
    return bound == 0 && selectBehind(counted, pairs, axes);
  std::optional<Pick> pick = getPick(selected);
  const ExpertMask *mask = pick ? getMask(pick->data) : nullptr;
  if (!mask || pick->axis != mask->expertAxis)
    return false;
  pairs.choice = mask->choice;
  pairs.reduced = mask->reduced;
  pairs.depth = mask->depth;
  pairs.wraps = mask->wraps;
  pairs.expert = pick->index;
  if (pick->index < 0) {
    std::optional<Single> hit = matchHit(pick->at);
    if (!hit || !isHitList(hit->list, *mask))
      return false;
    pairs.hits = hit->split;
    pairs.hit = hit->index;
    pairs.numHits = hit->count;
  }
  for (int64_t axis : pick->axes)
    axes.push_back(axis < 0 ? AxisList() : mask->axes[axis]);
  return true;
}

/// ids == e, without a mask of all experts.
bool PairMatcher::compareIds(Operation *equal, ExpertPairs &pairs,
                             SmallVectorImpl<AxisList> &axes) {
  for (unsigned i : {0u, 1u}) {
    Value ids = equal->getOperand(i), number = equal->getOperand(1 - i);
    std::optional<int64_t> expert = match::getSingleInt(number);
    ExpertMask mask;
    if (!expert || *expert < 0 || match::getSingleInt(ids) ||
        match::getRank(number) > match::getRank(ids) || !readIds(ids, mask))
      continue;
    pairs.choice = mask.choice;
    pairs.expert = *expert;
    axes.assign(mask.axes.begin(), mask.axes.end());
    return true;
  }
  return false;
}

/// The same for a value behind views and casts.
bool PairMatcher::selectBehind(Value value, ExpertPairs &pairs,
                               SmallVectorImpl<AxisList> &axes) {
  View view = View::of(value, dims, {}, /*throughCasts=*/true);
  SmallVector<AxisList> inner;
  if (!selectExpert(view.getBase(), pairs, inner) ||
      inner.size() != view.getBaseRank())
    return false;
  for (unsigned i = 0; i < view.getRank(); ++i) {
    std::optional<AxisList> walked = getWholeAxes(view, i);
    if (!walked)
      return false;
    AxisList &of = axes.emplace_back();
    for (int64_t axis : *walked)
      of.append(inner[axis]);
  }
  return true;
}

/// any(ids == e) over some slots.
bool PairMatcher::reduceIds(Operation *reduce, ExpertPairs &pairs,
                            SmallVectorImpl<AxisList> &axes) {
  std::optional<SmallVector<int64_t>> reduced = match::getAxes(reduce);
  SmallVector<AxisList> inner;
  if (!reduced || !selectBehind(reduce->getOperand(0), pairs, inner))
    return false;
  for (auto [i, of] : llvm::enumerate(inner)) {
    if (!llvm::is_contained(*reduced, static_cast<int64_t>(i))) {
      axes.push_back(of);
      continue;
    }
    pairs.reduced.append(of);
    if (match::getInt(reduce, "keepdims", 1) != 0)
      axes.emplace_back();
  }
  return true;
}

/// One element of a list that a Split takes apart.
std::optional<PairMatcher::Single> PairMatcher::matchHit(Value value) {
  while (isSingle(value)) {
    View view = View::of(value, dims, {}, /*throughCasts=*/true);
    value = view.getBase();
    auto result = dyn_cast<OpResult>(value);
    if (!result)
      return std::nullopt;
    Operation *op = result.getOwner();
    std::optional<Pick> pick = getPick(value);
    if (!pick || pick->index < 0)
      return std::nullopt;
    // The only element of a part.
    if (isSingle(pick->data)) {
      value = pick->data;
      continue;
    }
    if (operatorOf(op) != "Split")
      return std::nullopt;
    Single single{pick->data, pick->index, op->getNumResults(), op};
    for (Value part : op->getResults())
      if (!isSingle(part))
        return std::nullopt;
    return single;
  }
  return std::nullopt;
}

/// The numbers of the experts that have slots: NonZero(sum of mask > 0).
bool PairMatcher::isHitList(Value list, const ExpertMask &mask) {
  View view = View::of(list, dims);
  Operation *nonZero = view.getBase().getDefiningOp();
  if (operatorOf(nonZero) != "NonZero" || !view.keepsOrder() ||
      match::getRank(nonZero->getOperand(0)) != 1)
    return false;
  Value sum = View::of(nonZero->getOperand(0), dims, {}, /*throughCasts=*/true)
                  .getBase();
  Value compared;
  double bound;
  if (match::matchWithNumber(sum, "onnx.Greater", compared, bound)) {
    if (bound != 0)
      return false;
    sum = View::of(compared, dims, {}, /*throughCasts=*/true).getBase();
  }
  Operation *reduce = sum.getDefiningOp();
  StringRef name = operatorOf(reduce);
  if (name != "ReduceSum" && name != "ReduceMax")
    return false;
  const ExpertMask *of = getMask(reduce->getOperand(0));
  std::optional<SmallVector<int64_t>> reduced = match::getAxes(reduce);
  if (!of || !reduced || !(of->choice == mask.choice) ||
      of->depth != mask.depth)
    return false;
  SmallVector<int64_t> others;
  for (int64_t i = 0, rank = of->axes.size(); i < rank; ++i)
    if (i != of->expertAxis)
      others.push_back(i);
  return *reduced == others;
}

bool PairMatcher::isExpertOf(Value value, const ExpertPairs &pairs) {
  if (pairs.hit < 0) {
    std::optional<int64_t> number = match::getSingleInt(value);
    return number && *number == pairs.expert;
  }
  std::optional<Single> single = matchHit(value);
  return single && single->split == pairs.hits && single->index == pairs.hit;
}

//===----------------------------------------------------------------------===//
// Numbers of elements
//===----------------------------------------------------------------------===//

/// What identifies the first `numAxes` axes of a mask; "" if they are none of
/// its base as wholes.
static std::string describeMask(const View &view, int64_t numAxes) {
  std::string text;
  for (int64_t i = 0; i < numAxes; ++i) {
    std::optional<AxisList> walked = getWholeAxes(view, i);
    if (!walked)
      return {};
    text += ";";
    for (int64_t axis : *walked)
      text += std::to_string(axis) + ",";
  }
  return text;
}

/// The search in a mask that is like the first axes of `mask`; null if there is
/// none.
Operation *PairMatcher::findSearch(Value mask, int64_t numAxes) {
  View view = View::of(mask, dims, {}, /*throughCasts=*/true);
  if (static_cast<int64_t>(view.getRank()) < numAxes)
    return nullptr;
  std::string text = describeMask(view, numAxes);
  auto it =
      searches.find({view.getBase().getAsOpaquePointer(), std::move(text)});
  return it == searches.end() ? nullptr : it->second;
}

void PairMatcher::noteSearch(Operation *nonZero) {
  View view = View::of(nonZero->getOperand(0), dims, {}, /*throughCasts=*/true);
  std::string text = describeMask(view, view.getRank());
  if (!text.empty())
    searches.try_emplace({view.getBase().getAsOpaquePointer(), text}, nonZero);
}

std::optional<LinearForm> PairMatcher::matchMaskedRows(Value data,
                                                       Value indices) {
  View columns = View::of(indices, dims);
  Operation *all = columns.getBase().getDefiningOp();
  int64_t rank = match::getRank(data);
  if (operatorOf(all) != "NonZero" || columns.getRank() != 2 ||
      !columns.walks(0, 1) || !columns.walks(1, 0) || rank < 2 ||
      match::getRank(all->getOperand(0)) != rank ||
      !sameExtents(all->getOperand(0), data))
    return std::nullopt;
  // The mask does not depend on features.
  View mask = View::of(all->getOperand(0), dims, {}, /*throughCasts=*/true);
  if (!mask.isRepeated(rank - 1))
    return std::nullopt;
  Operation *rows = findSearch(all->getOperand(0), rank - 1);
  if (!rows)
    return std::nullopt;
  LinearForm form;
  form.nonZero = rows;
  for (int64_t i = 0; i + 1 < rank; ++i)
    form.coefficients.push_back(getProduct(data, i + 1, rank - 1));
  return form;
}

Value PairMatcher::matchColumnOf(Value column, const ExpertPairs &pairs) {
  std::optional<Pick> pick = getPick(column);
  if (!pick || pick->axis != match::getRank(pick->data) - 1)
    return {};
  bool isOwn = pick->index < 0 ? isExpertOf(pick->at, pairs)
                               : pairs.hit < 0 && pick->index == pairs.expert;
  return isOwn ? pick->data : Value();
}

/// One coordinate: a row of NonZero's result or a column of its transpose.
std::optional<LinearForm> PairMatcher::matchCoordinate(Value value) {
  Value data = value;
  int64_t axis = -1, row = 0;
  if (operatorOf(value.getDefiningOp()) != "NonZero") {
    std::optional<Pick> pick = getPick(value);
    if (!pick || pick->index < 0)
      return std::nullopt;
    data = pick->data;
    axis = pick->axis;
    row = pick->index;
  }
  View view = View::of(data, dims);
  Operation *nonZero = view.getBase().getDefiningOp();
  if (operatorOf(nonZero) != "NonZero")
    return std::nullopt;
  int64_t count =
      cast<RankedTensorType>(nonZero->getResult(0).getType()).getDimSize(0);
  if (ShapedType::isDynamic(count) || row >= count)
    return std::nullopt;
  if (axis < 0 && count != 1)
    return std::nullopt;
  for (int64_t i = 0, rank = view.getRank(); i < rank; ++i) {
    std::optional<AxisList> walked = getWholeAxes(view, i);
    if (!walked || (i == axis && count > 1 && *walked != AxisList{0}) ||
        (i != axis && !walked->empty() && *walked != AxisList{1}))
      return std::nullopt;
  }
  LinearForm form;
  form.nonZero = nonZero;
  if (Operation *first = findSearch(nonZero->getOperand(0),
                                    match::getRank(nonZero->getOperand(0))))
    form.nonZero = first;
  form.coefficients.assign(count, DimExpr::constant(0));
  form.coefficients[row] = DimExpr::constant(1);
  return form;
}

std::optional<LinearForm> PairMatcher::matchForm(Value value) {
  View view = View::of(value, dims);
  if (!view.keepsOrder())
    return std::nullopt;
  value = view.getBase();
  Operation *op = value.getDefiningOp();
  StringRef name = operatorOf(op);
  if (!isIndexType(value))
    return std::nullopt;
  if (name == "Cast")
    return matchForm(op->getOperand(0));
  if (name != "Add" && name != "Mul")
    return matchCoordinate(value);
  if (name == "Add") {
    std::optional<LinearForm> a = matchForm(op->getOperand(0));
    std::optional<LinearForm> b = a ? matchForm(op->getOperand(1)) : a;
    if (!b || a->nonZero != b->nonZero ||
        !sameExtents(op->getOperand(0), value) ||
        !sameExtents(op->getOperand(1), value))
      return std::nullopt;
    for (auto [x, y] : llvm::zip(a->coefficients, b->coefficients))
      x = x + y;
    return a;
  }
  for (unsigned i : {0u, 1u}) {
    Value by = op->getOperand(1 - i);
    if (!isSingle(by) || !sameExtents(op->getOperand(i), value))
      continue;
    DimExpr factor;
    if (std::optional<int64_t> number = match::getSingleInt(by))
      factor = DimExpr::constant(*number);
    else if (auto elements = getShapeValue(by))
      factor = toExpr(dims, elements->front());
    std::optional<LinearForm> form =
        factor.isKnown() ? matchForm(op->getOperand(i)) : std::nullopt;
    if (!form)
      continue;
    for (DimExpr &coefficient : form->coefficients)
      coefficient = coefficient * factor;
    return form;
  }
  return std::nullopt;
}

/// [n, columns] as one form for each column.
std::optional<SmallVector<LinearForm>> PairMatcher::matchColumns(Value value) {
  value = match::strip(value);
  auto type = dyn_cast<RankedTensorType>(value.getType());
  if (!type || type.getRank() != 2 || type.isDynamicDim(1))
    return std::nullopt;
  SmallVector<LinearForm> columns;
  if (type.getDimSize(1) == 1) {
    std::optional<LinearForm> form = matchForm(value);
    if (!form)
      return std::nullopt;
    columns.push_back(*form);
    return columns;
  }
  Operation *op = value.getDefiningOp();
  if (operatorOf(op) == "Concat") {
    if (match::getAxis(op, "axis", 0, 2) != 1)
      return std::nullopt;
    for (Value part : op->getOperands()) {
      auto partType = dyn_cast<RankedTensorType>(part.getType());
      std::optional<LinearForm> form = partType && partType.getDimSize(1) == 1
                                           ? matchForm(part)
                                           : std::nullopt;
      if (!form)
        return std::nullopt;
      columns.push_back(*form);
    }
    return columns;
  }
  // All coordinates as NonZero found them.
  View view = View::of(value, dims);
  Operation *nonZero = view.getBase().getDefiningOp();
  if (operatorOf(nonZero) != "NonZero" || view.getRank() != 2 ||
      !view.walks(0, 1) || !view.walks(1, 0))
    return std::nullopt;
  int64_t count = type.getDimSize(1);
  Operation *first = findSearch(nonZero->getOperand(0),
                                match::getRank(nonZero->getOperand(0)));
  for (int64_t i = 0; i < count; ++i) {
    LinearForm &form = columns.emplace_back();
    form.nonZero = first ? first : nonZero;
    form.coefficients.assign(count, DimExpr::constant(0));
    form.coefficients[i] = DimExpr::constant(1);
  }
  return columns;
}

/// What axes of `data`, in ascending order, name together if each is indexed by
/// a form.
std::optional<PickedRows>
PairMatcher::makePicked(Value data, ArrayRef<std::pair<int64_t, LinearForm>> by,
                        Value stop) {
  View view = View::of(data, dims, stop);
  PickedRows picked;
  picked.base = view.getBase();
  if (by.empty() ||
      static_cast<int64_t>(view.getRank()) != match::getRank(data))
    return std::nullopt;
  AxisList leading, features;
  for (unsigned i = 0; i < view.getRank(); ++i) {
    std::optional<AxisList> walked = getWholeAxes(view, i);
    if (!walked)
      return std::nullopt;
    bool isIndexed =
        llvm::any_of(by, [&](const auto &entry) { return entry.first == i; });
    (isIndexed ? leading : features).append(*walked);
  }
  AxisList all = leading;
  all.append(features);
  if (all != getWideAxes(picked.base))
    return std::nullopt;
  int64_t rank = view.getBaseRank();
  picked.numFeatureAxes = features.empty() ? 0 : rank - features.front();

  picked.form.nonZero = by.front().second.nonZero;
  picked.form.coefficients.assign(by.front().second.coefficients.size(),
                                  DimExpr::constant(0));
  DimExpr stride = DimExpr::constant(1);
  for (const auto &[axis, form] : llvm::reverse(by)) {
    if (form.nonZero != picked.form.nonZero)
      return std::nullopt;
    for (auto [sum, c] : llvm::zip(picked.form.coefficients, form.coefficients))
      sum = sum + c * stride;
    stride = stride * toExpr(dims, getDim(data, axis));
  }
  return picked;
}

std::optional<PickedRows> PairMatcher::matchIndexedAxis(Value data,
                                                        int64_t axis,
                                                        Value index,
                                                        Value stop) {
  std::optional<LinearForm> form = matchForm(index);
  if (!form)
    return std::nullopt;
  return makePicked(data, {{axis, *form}}, stop);
}

std::optional<PickedRows> PairMatcher::matchIndexed(Value data, Value indices,
                                                    Value stop) {
  std::optional<SmallVector<LinearForm>> columns = matchColumns(indices);
  if (!columns || static_cast<int64_t>(columns->size()) > match::getRank(data))
    return std::nullopt;
  SmallVector<std::pair<int64_t, LinearForm>> by;
  for (auto [i, form] : llvm::enumerate(*columns))
    by.push_back({i, form});
  return makePicked(data, by, stop);
}

std::optional<PickedRows> PairMatcher::matchPicked(Value value) {
  View view = View::of(value, dims);
  Operation *op = view.getBase().getDefiningOp();
  StringRef name = operatorOf(op);
  if (!view.keepsOrder() || view.getRank() == 0 ||
      (name != "Gather" && name != "GatherND"))
    return std::nullopt;
  Value data = onnx::getFormalOperand(op, 0);
  Value index = onnx::getFormalOperand(op, 1);
  int64_t first = 0, count = 0;
  std::optional<PickedRows> picked;
  if (name == "Gather") {
    std::optional<int64_t> axis =
        match::getAxis(op, "axis", 0, match::getRank(data));
    if (!axis || match::getRank(index) < 1)
      return std::nullopt;
    first = *axis;
    count = match::getRank(index);
    picked = matchIndexedAxis(data, *axis, index);
  } else {
    if (match::getInt(op, "batch_dims", 0) != 0)
      return std::nullopt;
    count = 1;
    picked = matchIndexed(data, index);
  }
  // Pairs are the first axis, alone.
  std::optional<AxisList> walked = getWholeAxes(view, 0);
  AxisList expected;
  for (int64_t i = first; i < first + count; ++i)
    if (!view.getBaseAxis(i).empty())
      expected.push_back(i);
  if (!picked || !walked || *walked != expected)
    return std::nullopt;
  return picked;
}
