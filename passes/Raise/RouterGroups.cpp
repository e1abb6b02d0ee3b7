//===- RouterGroups.cpp - selection limited to groups of experts ----------===//
//
// Exporters write DeepSeek's limit as a mask: the groups' scores go through a
// TopK, whose indices set a row of zeros, which is spread over the experts of
// each group and replaces the scores of all others. Between the two stand
// casts, negations and reshapes, which are followed from the mask back to its
// TopK.
//
//===----------------------------------------------------------------------===//

#include "lib/Analysis/Dims.h"
#include "passes/Raise/Match.h"
#include "passes/Raise/Router.h"
#include <limits>

using namespace mlir;
using namespace moe;
using namespace moe::match;

namespace {

/// A mask as it is followed from the experts back to its groups.
struct Mask {
  /// What the last axes of the current value are.
  enum Axes {
    Experts,        ///< [.., n * size]
    GroupsOfExpert, ///< [.., n, size]
    GroupColumn,    ///< [.., n, 1]
    Groups,         ///< [.., n]
  };
  Axes axes = Experts;
  /// Whether it is true (or not 0) for the groups that are kept.
  bool isKept = true;
  int64_t n = 0, size = 0;
};

} // namespace

static int64_t extentFromEnd(Value value, int64_t i) {
  int64_t rank = getRank(value);
  return rank < i
             ? ShapedType::kDynamic
             : cast<RankedTensorType>(value.getType()).getDimSize(rank - i);
}

/// Whether all extents but the last `count` are equal.
static bool sameLeading(Value a, Value b, int64_t count) {
  int64_t rank = getRank(a);
  if (rank < count || rank != getRank(b))
    return false;
  for (int64_t i = 0; i < rank - count; ++i)
    if (!sameExtent(a, i, b, i))
      return false;
  return true;
}

/// The rows of experts that `value` [.., n, size] are the groups of.
static Value ungroup(Value value, int64_t n, int64_t size) {
  while (Operation *op = value.getDefiningOp()) {
    if (extentFromEnd(value, 2) != n || extentFromEnd(value, 1) != size)
      return {};
    StringRef name = op->getName().getStringRef();
    bool isShape = name == "onnx.Reshape" || name == "onnx.Unsqueeze";
    Value in = op->getNumOperands() ? op->getOperand(0) : Value();
    if (isShape && extentFromEnd(in, 1) == n * size &&
        !(extentFromEnd(in, 2) == n && extentFromEnd(in, 1) == size))
      return stripRows(in);
    if (isShape && n == 1 && extentFromEnd(in, 1) == size)
      return stripRows(in);
    // What does not touch the last two axes.
    if (extentFromEnd(in, 2) == n && extentFromEnd(in, 1) == size &&
        (isShape || getRowsOperand(op) == in)) {
      value = in;
      continue;
    }
    return {};
  }
  return {};
}

/// One step back through a node that leaves a mask as it is, spreads it or
/// turns it around. Null if the node is none.
static Value stepBack(Operation *op, Mask &mask) {
  StringRef name = getOperator(op->getResult(0));
  Value in = op->getNumOperands() ? op->getOperand(0) : Value();
  Value out = op->getResult(0), other;
  double number;
  // Copies, whatever they are.
  if (strip(out) != out)
    return in;
  if (name == "Cast")
    return in;
  if (name == "Not") {
    mask.isKept = !mask.isKept;
    return in;
  }
  if (matchWithNumber(out, "onnx.Equal", other, number) &&
      (number == 0 || number == 1)) {
    if (number == 0)
      mask.isKept = !mask.isKept;
    return other;
  }
  if (matchWithNumber(out, "onnx.Greater", other, number))
    return number >= 0 && number < 1 ? other : Value();
  if (name == "Sub" && isNumber(in, 1)) {
    mask.isKept = !mask.isKept;
    return op->getOperand(1);
  }
  if (name == "Expand" || name == "Tile") {
    bool spreads = mask.axes == Mask::GroupsOfExpert &&
                   sameLeading(in, out, 1) && extentFromEnd(in, 1) == 1 &&
                   extentFromEnd(out, 1) == mask.size;
    if (!spreads)
      return {};
    mask.axes = Mask::GroupColumn;
    return in;
  }
  if (name != "Reshape" && name != "Unsqueeze" && name != "Squeeze" &&
      name != "Flatten")
    return {};
  switch (mask.axes) {
  case Mask::Experts:
    if (getColumns(in) == getColumns(out) && mask.n != 1)
      return in;
    if (extentFromEnd(in, 2) == mask.n && extentFromEnd(in, 1) == mask.size) {
      mask.axes = Mask::GroupsOfExpert;
      return in;
    }
    return {};
  case Mask::GroupsOfExpert:
    return extentFromEnd(in, 2) == mask.n && extentFromEnd(in, 1) == mask.size
               ? in
               : Value();
  case Mask::GroupColumn:
    if (extentFromEnd(in, 1) == mask.n &&
        !(extentFromEnd(in, 2) == mask.n && mask.n == 1)) {
      mask.axes = Mask::Groups;
      return in;
    }
    if (mask.n == 1 && getRank(in) == getRank(out) - 1 &&
        extentFromEnd(in, 1) == 1) {
      mask.axes = Mask::Groups;
      return in;
    }
    return extentFromEnd(in, 2) == mask.n && extentFromEnd(in, 1) == 1
               ? in
               : Value();
  case Mask::Groups:
    return getColumns(in) == mask.n ? in : Value();
  }
  return {};
}

/// Indices that a row of a mask is set at; `isKept` is turned around if it is
/// set to 0.
static Value readSet(Operation *op, Mask &mask) {
  StringRef name = op->getName().getStringRef();
  int64_t rank = getRank(op->getResult(0));
  if (name == "onnx.ScatterElements") {
    std::optional<double> before = getNumber(op->getOperand(0)),
                          after = getNumber(op->getOperand(2));
    if (getAxis(op, "axis", 0, rank) != rank - 1 ||
        getString(op, "reduction", "none") != "none" || !before || !after ||
        (*before == 0) == (*after == 0) ||
        !sameLeading(op->getOperand(0), op->getOperand(1), 1))
      return {};
    if (*before != 0)
      mask.isKept = !mask.isKept;
    return op->getOperand(1);
  }
  if (name != "onnx.ReduceSum" && name != "onnx.ReduceMax")
    return {};
  std::optional<SmallVector<int64_t>> axes = getAxes(op);
  Operation *hot = getNode(op->getOperand(0), "onnx.OneHot");
  if (Operation *cast = getNode(op->getOperand(0), "onnx.Cast"))
    hot = getNode(cast->getOperand(0), "onnx.OneHot");
  int64_t hotRank = hot ? getRank(hot->getResult(0)) : -1;
  if (!hot || !axes || axes->size() != 1 || axes->front() != hotRank - 2 ||
      getInt(op, "keepdims", 1) != 0 ||
      getAxis(hot, "axis", -1, hotRank) != hotRank - 1)
    return {};
  std::optional<Constant> values = evaluate(hot->getOperand(2));
  if (!values || values->size() != 2 || values->get(0) != 0 ||
      values->get(1) == 0)
    return {};
  return hot->getOperand(0);
}

/// The TopK of groups that a mask comes from, or null.
static Operation *findGroupChoice(Value value, Mask &mask) {
  for (unsigned steps = 0; steps < 32; ++steps) {
    Operation *op = value.getDefiningOp();
    if (!op || op->getNumResults() == 0)
      return nullptr;
    if (mask.axes == Mask::Groups && getColumns(value) == mask.n) {
      Mask set = mask;
      if (Value ids = readSet(op, set)) {
        auto found = dyn_cast<OpResult>(stripRows(ids));
        if (!found || found.getResultNumber() != 1 ||
            found.getOwner()->getName().getStringRef() != "onnx.TopK")
          return nullptr;
        mask = set;
        return found.getOwner();
      }
    }
    value = stepBack(op, mask);
    if (!value)
      return nullptr;
  }
  return nullptr;
}

/// Whether `scores` [.., n] are those of the groups of `inner`.
static bool readGroupScores(Value scores, Value inner, const Mask &mask,
                            ir::GroupReduce &reduce) {
  scores = strip(scores);
  Operation *op = scores.getDefiningOp();
  // [.., n, 1] without its last axis, or the rows regrouped.
  while (op && getColumns(scores) == mask.n) {
    StringRef name = op->getName().getStringRef();
    Value in = op->getNumOperands() ? op->getOperand(0) : Value();
    bool isShape = name == "onnx.Reshape" || name == "onnx.Squeeze" ||
                   name == "onnx.Unsqueeze";
    bool drops = isShape && extentFromEnd(in, 2) == mask.n &&
                 extentFromEnd(in, 1) == 1 &&
                 getRank(in) == getRank(scores) + 1;
    if (!drops && !(getRowsOperand(op) == in && in))
      break;
    scores = strip(in);
    op = scores.getDefiningOp();
    if (drops)
      break;
  }
  if (!op)
    return false;
  auto isOfGroups = [&](Value grouped) {
    return isSameRows(ungroup(strip(grouped), mask.n, mask.size), inner);
  };
  auto best = [&](Value values) -> std::optional<int64_t> {
    values = strip(values);
    std::optional<Choice> choice;
    if (Operation *def = values.getDefiningOp())
      if (def->getName().getStringRef() == "onnx.TopK")
        choice = readChoice(def);
    if (!choice || choice->values != values || !isOfGroups(choice->scores))
      return std::nullopt;
    return choice->k;
  };
  StringRef name = op->getName().getStringRef();
  if (name == "onnx.ReduceMax" && isOverLastAxis(op)) {
    reduce = ir::GroupReduce::Max;
    return isOfGroups(op->getOperand(0));
  }
  if (name == "onnx.ReduceSum" && isOverLastAxis(op)) {
    std::optional<int64_t> k = best(op->getOperand(0));
    reduce = k == 1 ? ir::GroupReduce::Max : ir::GroupReduce::Top2Sum;
    return k == 1 || k == 2;
  }
  reduce = ir::GroupReduce::Max;
  return best(scores) == 1;
}

/// Whether scores below all others stand in dropped groups.
static bool isLowest(double fill, Type element) {
  if (fill == -std::numeric_limits<double>::infinity())
    return true;
  auto real = dyn_cast<FloatType>(element);
  return real && fill == APFloat::getLargest(real.getFloatSemantics(),
                                             /*Negative=*/true)
                             .convertToDouble();
}

namespace {
/// `kept` where the mask says so, `fill` elsewhere.
struct Replaced {
  Value scores, mask;
  double fill;
  /// The mask is true for what is replaced.
  bool isNegated;
};
} // namespace

static SmallVector<Replaced> readReplaced(Operation *op) {
  SmallVector<Replaced> ways;
  StringRef name = op->getName().getStringRef();
  if (name == "onnx.Where") {
    Value mask = op->getOperand(0), x = op->getOperand(1),
          y = op->getOperand(2);
    if (std::optional<double> fill = getNumber(x))
      ways.push_back({y, mask, *fill, true});
    else if (std::optional<double> fill = getNumber(y))
      ways.push_back({x, mask, *fill, false});
  } else if (name == "onnx.Mul") {
    ways.push_back({op->getOperand(0), op->getOperand(1), 0, false});
    ways.push_back({op->getOperand(1), op->getOperand(0), 0, false});
  }
  return ways;
}

static Found readReplacedGroups(const Replaced &way, Value scores,
                                bool isGrouped, int64_t n, int64_t size,
                                GroupLimit &limit, Refusal &refuse) {
  Mask mask;
  mask.n = n;
  mask.size = size;
  if (isGrouped)
    mask.axes = getColumns(way.mask) == size && size != 1 ? Mask::GroupsOfExpert
                                                          : Mask::GroupColumn;
  // No broadcast along tokens.
  if (!sameLeading(way.mask, scores, 1) || !sameLeading(way.scores, scores, 0))
    return Found::No;
  Operation *choiceOp = findGroupChoice(way.mask, mask);
  std::optional<Choice> choice;
  if (choiceOp)
    choice = readChoice(choiceOp);
  if (!choice)
    return Found::No;
  Value inner =
      isGrouped ? ungroup(strip(way.scores), n, size) : stripRows(way.scores);
  ir::GroupReduce reduce;
  if (!inner || !readGroupScores(choice->scores, inner, mask, reduce)) {
    refuse(choiceOp, "scores of groups are neither the best score in the group "
                     "nor the sum of its two best");
    return Found::Refused;
  }
  if (mask.isKept == way.isNegated) {
    refuse(choiceOp, "the best groups are left out instead of the others");
    return Found::Refused;
  }
  bool isZero = way.fill == 0;
  if (!isZero && !isLowest(way.fill, match::getElementType(scores))) {
    refuse(scores.getDefiningOp(),
           "scores of dropped groups are replaced by neither 0 nor -inf");
    return Found::Refused;
  }
  limit.inner = inner;
  limit.choice = choiceOp;
  limit.attr = ir::GroupsAttr::get(choiceOp->getContext(), n, choice->k, reduce,
                                   isZero ? ir::GroupFill::Zero
                                          : ir::GroupFill::MinusInf);
  return Found::Yes;
}

Found moe::readGroups(Value scores, GroupLimit &limit, Refusal &refuse) {
  Operation *op = scores.getDefiningOp();
  int64_t experts = getColumns(scores);
  if (!op || ShapedType::isDynamic(experts))
    return Found::No;
  // [.., n, size] as rows of experts.
  bool isGrouped = false;
  Value grouped = scores;
  int64_t fixedSize = 0;
  if (op->getName().getStringRef() == "onnx.Reshape" &&
      extentFromEnd(op->getOperand(0), 1) > 0 &&
      extentFromEnd(op->getOperand(0), 2) > 0 &&
      extentFromEnd(op->getOperand(0), 1) *
              extentFromEnd(op->getOperand(0), 2) ==
          experts) {
    isGrouped = true;
    grouped = strip(op->getOperand(0));
    fixedSize = extentFromEnd(grouped, 1);
    op = grouped.getDefiningOp();
    if (!op)
      return Found::No;
  }
  for (const Replaced &way : readReplaced(op)) {
    // Size of a group, and whether the scores stand in groups.
    SmallVector<std::pair<int64_t, bool>> forms;
    if (isGrouped) {
      forms.push_back({fixedSize, true});
    } else {
      if (extentFromEnd(grouped, 2) == 1)
        forms.push_back({experts, true});
      for (int64_t size = 1; size <= experts; ++size)
        if (experts % size == 0)
          forms.push_back({size, false});
    }
    for (auto [size, inGroups] : forms) {
      Found found = readReplacedGroups(way, grouped, inGroups, experts / size,
                                       size, limit, refuse);
      if (found != Found::No)
        return found;
    }
  }
  if (op->getName().getStringRef() != "onnx.Where")
    return Found::No;
  refuse(op, "scores are replaced by a rule that is no limit to the best "
             "groups");
  return Found::Refused;
}
