//===- QueueTerms.cpp - tensors over slots, experts and places ------------===//

#include "passes/Raise/QueueTerms.h"
#include "lib/Analysis/Dims.h"
#include "passes/Raise/CapacityPlan.h"
#include "passes/Raise/Match.h"
#include "llvm/ADT/StringSwitch.h"
#include <cmath>
#include <map>

using namespace mlir;
using namespace moe;

/// What is further away is no part of a mask.
static constexpr unsigned kMaxDepth = 200;

static bool isWideInteger(Type element) {
  return element &&
         (element.isSignlessInteger(32) || element.isSignlessInteger(64));
}

/// Up to which number a type counts.
static std::optional<int64_t> exactUpTo(Type element) {
  if (auto type = dyn_cast<FloatType>(element))
    return int64_t(1) << std::min<unsigned>(type.getFPMantissaWidth(), 52);
  if (element.isInteger(1) || element.isSignlessInteger(64))
    return int64_t(1) << 52;
  if (element.isSignlessInteger(32))
    return int64_t(1) << 30;
  return std::nullopt;
}

/// Counting in a narrow type ends at a number: what is beyond all bounds stays
/// there, so only these must be below it.
bool QueueReader::checkExact(Operation *op, QueueTerm &term, Type element) {
  std::optional<int64_t> limit = element ? exactUpTo(element) : std::nullopt;
  if (!limit)
    return false;
  term.exact = std::min(term.exact, *limit);
  for (QueueTerm &part : term.more)
    if (!checkExact(op, part, element))
      return false;
  for (const QueueFunction *function :
       {&term.at[0], &term.at[1], &term.place[0], &term.place[1]})
    if (function->getLastBound() >= term.exact) {
      refusal.say(op, "places are counted in a type that is exact up to " +
                          Twine(term.exact) + " only");
      return false;
    }
  return true;
}

QueueReader::Term QueueReader::read(Value value) {
  if (auto it = known.find(value); it != known.end())
    return it->second;
  if (depth >= kMaxDepth)
    return std::nullopt;
  ++depth;
  Term term = readNew(value);
  --depth;
  if (term && term->level != QueueTerm::Level::Number &&
      !checkExact(value.getDefiningOp(), *term, match::getElementType(value)))
    term.reset();
  known[value] = term;
  return term;
}

QueueReader::Term QueueReader::readNew(Value value) {
  if (!isa<RankedTensorType>(value.getType()))
    return std::nullopt;
  if (std::optional<double> number = match::getNumber(value))
    return readNumber(value, *number);
  View view = View::of(value, dims);
  Value base = view.getBase();
  if (base == value)
    return value.getDefiningOp() ? readOperator(value.getDefiningOp())
                                 : std::nullopt;
  Term term = read(base);
  if (!term)
    return std::nullopt;
  std::optional<QueueAxes> axes = dimsOfView(view, term->axes);
  if (!axes)
    return std::nullopt;
  term->axes = *axes;
  for (QueueTerm &part : term->more)
    part.axes = *axes;
  return term;
}

QueueReader::Term QueueReader::readIds(Value value) {
  Term term = read(value);
  if (term || !isWideInteger(match::getElementType(value)))
    return term;
  View view = View::of(value, dims);
  term.emplace();
  term->level = QueueTerm::Level::Slot;
  term->ids = view.getBase();
  term->at[1] = QueueFunction::id();
  QueueAxes axes;
  for (auto [i, extent] : llvm::enumerate(getDims(view.getBase()))) {
    DimExpr expr = toExpr(dims, extent);
    QueueDims &axis = axes.emplace_back();
    if (!expr.isConstant(1))
      axis.push_back({QueueDim::Kind::Slot, static_cast<int64_t>(i),
                      DimExpr::constant(1), expr});
  }
  std::optional<QueueAxes> seen = dimsOfView(view, axes);
  if (!seen)
    return std::nullopt;
  term->axes = *seen;
  return term;
}

/// Integers as ids, others as what they are.
QueueReader::Term QueueReader::readAny(Value value) {
  return isWideInteger(match::getElementType(value)) ? readIds(value)
                                                     : read(value);
}

/// Exporters leave conditions that a rank decides.
QueueReader::Term QueueReader::readIf(Operation *op) {
  std::optional<int64_t> condition = match::getSingleInt(op->getOperand(0));
  if (!condition || op->getNumRegions() != 2)
    return std::nullopt;
  // Regions stand in the order of their names: else_branch, then_branch.
  Region &taken = op->getRegion(*condition != 0);
  if (taken.empty() || taken.front().empty() ||
      taken.front().back().getNumOperands() != 1)
    return std::nullopt;
  Value value = taken.front().back().getOperand(0);
  return value.getType() == op->getResult(0).getType() ? readAny(value)
                                                       : std::nullopt;
}

QueueReader::Term QueueReader::readNumber(Value value, double number) {
  QueueTerm term;
  term.at[0] = term.at[1] = QueueFunction::constant(number);
  for (const Extent &extent : getDims(value)) {
    QueueDims &axis = term.axes.emplace_back();
    if (!extent.isStatic() || extent.size != 1)
      axis.push_back({QueueDim::Kind::Repeat, 0, {}, toExpr(dims, extent)});
  }
  return term;
}

QueueReader::Term QueueReader::readOperator(Operation *op) {
  StringRef name = op->getName().getStringRef();
  if (!name.consume_front("onnx.") || op->getNumResults() != 1)
    return std::nullopt;
  using Read = Term (QueueReader::*)(Operation *);
  auto read = llvm::StringSwitch<Read>(name)
                  .Case("OneHot", &QueueReader::readOneHot)
                  .Case("Equal", &QueueReader::readEqual)
                  .Case("CumSum", &QueueReader::readCumSum)
                  .Case("Cast", &QueueReader::readCast)
                  .Case("Clip", &QueueReader::readClamp)
                  .Case("Gather", &QueueReader::readGather)
                  .Case("GatherElements", &QueueReader::readGatherElements)
                  .Case("Slice", &QueueReader::readSlice)
                  .Case("Where", &QueueReader::readWhere)
                  .Case("If", &QueueReader::readIf)
                  .Cases({"Einsum", "MatMul"}, &QueueReader::readProduct)
                  .Default(nullptr);
  if (read)
    return (this->*read)(op);
  if (name == "ReduceSum" || name == "ReduceMax")
    return readReduce(op, name == "ReduceSum");
  if (name == "Not")
    if (Operation *equal = match::getNode(op->getOperand(0), "onnx.Equal"))
      for (unsigned i = 0; i < 2; ++i)
        if (match::isNumber(equal->getOperand(i), 0))
          if (Term term = this->read(equal->getOperand(1 - i));
              term && term->hasPlace)
            return toBool(term);
  if (name == "Not" || name == "Neg" || name == "Relu") {
    Term x = readAny(op->getOperand(0));
    if (!x)
      return std::nullopt;
    Term other = readNumber(op->getOperand(0), name == "Not");
    if (name == "Relu")
      return apply(op, x, other, QueueFunction::max);
    return apply(op, other, x, [](auto &a, auto &b) { return a - b; });
  }
  if (op->getNumOperands() == 2)
    return readBinary(op, name);
  return std::nullopt;
}

QueueReader::Term QueueReader::readBinary(Operation *op, StringRef name) {
  using F = QueueFunction;
  Value x = op->getOperand(0), y = op->getOperand(1);
  bool isProduct = name == "Mul" || name == "And";
  bool isOther = llvm::StringSwitch<bool>(name)
                     .Cases({"Add", "Sub", "Less", "LessOrEqual"}, true)
                     .Cases({"Greater", "GreaterOrEqual", "Or"}, true)
                     .Cases({"Min", "Max"}, true)
                     .Default(false);
  if (!isProduct && !isOther)
    return std::nullopt;
  Term a = readAny(x), b = readAny(y);
  if (isProduct) {
    if (a && b)
      return multiply(op, *a, *b);
    if (a && a->level != QueueTerm::Level::Number)
      return multiply(op, *a, y, a->axes);
    if (b && b->level != QueueTerm::Level::Number)
      return multiply(op, *b, x, b->axes);
    return std::nullopt;
  }
  using Level = QueueTerm::Level;
  if (a && b && a->level != Level::Number && b->level != Level::Number) {
    if (name == "Add" && a->ids != b->ids) {
      if (Term front = readInFront(op, *a, *b))
        return front;
      if (Term front = readInFront(op, *b, *a))
        return front;
    }
    if (name == "Add" || name == "Max" || name == "Or")
      if (Term sum = readSum(*a, *b))
        return sum;
  }
  if (name == "Greater" && a && a->hasPlace && match::isNumber(y, 0))
    return readPositive(op, x);
  if (name == "Less" && b && b->hasPlace && match::isNumber(x, 0))
    return readPositive(op, y);
  auto compare = [&](auto accept) {
    return apply(op, a, b, [&](const F &f, const F &g) {
      return F::compare(f, g, accept);
    });
  };
  if (name == "Add")
    return apply(op, a, b, [](const F &f, const F &g) { return f + g; });
  if (name == "Sub")
    return apply(op, a, b, [](const F &f, const F &g) { return f - g; });
  if (name == "Less")
    return compare([](int sign) { return sign < 0; });
  if (name == "LessOrEqual")
    return compare([](int sign) { return sign <= 0; });
  if (name == "Greater")
    return compare([](int sign) { return sign > 0; });
  if (name == "GreaterOrEqual")
    return compare([](int sign) { return sign >= 0; });
  if (name == "Min")
    return apply(op, a, b, F::min);
  return apply(op, a, b, F::max);
}

bool moe::sameBefore(const QueueTerm &a, const QueueTerm &b) {
  return llvm::equal(a.before, b.before, [](auto &x, auto &y) {
    return x.ids == y.ids && x.upTo == y.upTo;
  });
}

/// Masks of different choices.
QueueReader::Term QueueReader::readSum(const QueueTerm &a, const QueueTerm &b) {
  if (!a.hasPlace || !b.hasPlace || a.axes != b.axes ||
      a.level != QueueTerm::Level::Expert ||
      b.level != QueueTerm::Level::Expert)
    return std::nullopt;
  QueueTerm result = a;
  result.more.push_back(b);
  result.more.back().more.clear();
  result.more.insert(result.more.end(), b.more.begin(), b.more.end());
  for (auto [i, part] : llvm::enumerate(result.more))
    if (part.ids == a.ids ||
        llvm::any_of(
            ArrayRef(result.more).drop_front(i + 1),
            [&](const QueueTerm &other) { return other.ids == part.ids; }))
      return std::nullopt;
  return result;
}

/// Places behind all slots of an earlier choice: `counted` plus the sum over
/// tokens of the one-hot rows of that choice, perhaps of kept ones only.
QueueReader::Term QueueReader::readInFront(Operation *op,
                                           const QueueTerm &counted,
                                           const QueueTerm &total) {
  using F = QueueFunction;
  if (counted.queue.empty() || counted.level != QueueTerm::Level::Expert ||
      total.level != QueueTerm::Level::Expert || counted.hasPlace ||
      total.hasPlace || !counted.weights.empty() || !total.weights.empty() ||
      !counted.choices.empty() || !counted.more.empty() ||
      !total.more.empty() || counted.numExperts != total.numExperts ||
      counted.order || total.order)
    return std::nullopt;
  if (canonical(total.choices) != counted.queue ||
      !total.at[0].isConstant(0, 0))
    return std::nullopt;
  QueueTerm::Before front{total.ids, QueueTerm::kAll};
  if (!total.at[1].isConstant(1, 1)) {
    // Those that have a place. More of them change nothing that is dropped.
    bool endless;
    std::optional<int64_t> last = matchKept(total.at[1], endless);
    if (!last || total.queue != counted.queue || !total.before.empty())
      return refusal.say(op, "slots of a choice are counted by another rule "
                             "than they are kept");
    front.upTo = *last;
  }
  // So far the number counted has only been moved.
  for (const F &function : counted.at)
    if (function.getPieces().size() != 1 || !function.getPieces()[0].known ||
        function.getPieces()[0].slope != 1 ||
        function.getPieces()[0].perId != 0)
      return std::nullopt;
  // The axes of the total are those of the slots, without the queue's.
  size_t rank = std::max(counted.axes.size(), total.axes.size());
  if (counted.axes.size() != rank)
    return std::nullopt;
  size_t missing = rank - total.axes.size();
  for (size_t i = 0; i < rank; ++i) {
    QueueDims own = i < missing ? QueueDims() : total.axes[i - missing];
    if (own.empty()
            ? counted.axes[i] != counted.queue && !counted.axes[i].empty()
            : own != counted.axes[i])
      return std::nullopt;
  }
  QueueTerm result = counted;
  result.before.push_back(front);
  result.exact = std::min(counted.exact, total.exact);
  return result;
}

/// Where a mask is other than 0.
QueueReader::Term QueueReader::toBool(Term term) {
  if (!term)
    return std::nullopt;
  auto convert = [](QueueTerm &part) {
    for (QueueFunction &f : part.at)
      f = QueueFunction::compare(f, QueueFunction::constant(0),
                                 [](int sign) { return sign != 0; });
    // Slots of weight 0 are left out, which give nothing either way.
    part.weights.clear();
    if (part.level == QueueTerm::Level::Slot)
      part.at[0] = QueueFunction();
  };
  convert(*term);
  for (QueueTerm &part : term->more)
    convert(part);
  return term;
}

/// A mask whose weights are not negative, where it is above 0.
QueueReader::Term QueueReader::readPositive(Operation *op, Value value) {
  Term term = read(value);
  auto isPositive = [&](const QueueTerm &part) {
    for (const SlotWeight &weight : part.weights)
      if (!isNonNegative(weight.value)) {
        refusal.say(op, "weights may be negative where a mask is compared "
                        "with 0");
        return false;
      }
    return llvm::all_of(part.at, [](const QueueFunction &f) {
      return QueueFunction::compare(f, QueueFunction::constant(0),
                                    [](int sign) { return sign >= 0; })
          .isConstant(1, 0);
    });
  };
  if (!term || !isPositive(*term) || !llvm::all_of(term->more, isPositive))
    return std::nullopt;
  return toBool(term);
}

/// What both have in common; functions are left to the caller. Axes are aligned
/// from the back.
QueueReader::Term QueueReader::merge(Operation *op, const QueueTerm &a,
                                     const QueueTerm &b) {
  using Level = QueueTerm::Level;
  if ((a.level == Level::Number && b.level == Level::Number) ||
      !a.more.empty() || !b.more.empty())
    return std::nullopt;
  if (a.level == Level::Number || b.level == Level::Number) {
    // Fields of the one that is no number; broadcast axes below.
  } else if (a.ids != b.ids) {
    return refusal.say(op, "two different index values meet");
  } else if (!a.choices.empty() || !b.choices.empty()) {
    return std::nullopt;
  }
  QueueTerm result = a.level == Level::Number ? b : a;
  const QueueTerm &other = a.level == Level::Number ? a : b;
  result.level = std::max(a.level, b.level);
  result.exact = std::min(a.exact, b.exact);
  if (other.level != Level::Number) {
    if (!result.queue.empty() && !other.queue.empty() &&
        result.queue != other.queue)
      return refusal.say(op, "places in two different queues meet");
    if (result.queue.empty()) {
      result.queue = other.queue;
      result.before = other.before;
    } else if (!other.queue.empty() && !sameBefore(result, other)) {
      return refusal.say(op, "places in two different queues meet");
    }
    if (result.numExperts && other.numExperts &&
        result.numExperts != other.numExperts)
      return refusal.say(op, "two different numbers of experts meet");
    result.numExperts = std::max(result.numExperts, other.numExperts);
    if (result.order && other.order &&
        result.order->order != other.order->order)
      return refusal.say(op, "tokens in two different orders meet");
    if (!result.order)
      result.order = other.order;
  }
  size_t rank = std::max(a.axes.size(), b.axes.size());
  QueueAxes axes(rank);
  auto axisOf = [&](const QueueTerm &term, size_t i) {
    size_t missing = rank - term.axes.size();
    return i < missing ? QueueDims() : term.axes[i - missing];
  };
  for (size_t i = 0; i < rank; ++i) {
    QueueDims x = axisOf(a, i), y = axisOf(b, i);
    if (x.empty() || (isRepeated(x) && !isRepeated(y)))
      axes[i] = y;
    else if (isRepeated(y) || x == y)
      axes[i] = x;
    else
      return std::nullopt;
  }
  // Nothing may run along two axes: that would pair slots with other slots.
  SmallVector<QueueDim> seen;
  for (const QueueDims &axis : axes)
    for (const QueueDim &dim : axis) {
      if (dim.kind == QueueDim::Kind::Repeat)
        continue;
      bool again = llvm::any_of(seen, [&](const QueueDim &one) {
        return dim.kind == QueueDim::Kind::Slot
                   ? one.kind == dim.kind && one.axis == dim.axis &&
                         one.stride == dim.stride
                   : one.kind == dim.kind;
      });
      if (again)
        return std::nullopt;
      seen.push_back(dim);
    }
  result.axes = axes;
  return result;
}

QueueFunction moe::functionAt(const QueueTerm &term, bool picked) {
  if (!picked && term.level == QueueTerm::Level::Slot)
    return QueueFunction();
  return term.at[picked];
}

QueueReader::Term QueueReader::apply(Operation *op, const Term &a,
                                     const Term &b, Make make) {
  if (!a || !b || a->hasPlace || b->hasPlace || !a->weights.empty() ||
      !b->weights.empty() || !a->choices.empty() || !b->choices.empty())
    return std::nullopt;
  Term result = merge(op, *a, *b);
  if (!result)
    return std::nullopt;
  for (bool picked : {false, true})
    result->at[picked] = make(functionAt(*a, picked), functionAt(*b, picked));
  if (result->level == QueueTerm::Level::Slot)
    result->at[0] = QueueFunction();
  return result;
}

QueueReader::Term QueueReader::multiply(Operation *op, const QueueTerm &a,
                                        const QueueTerm &b) {
  if (a.hasPlace && b.hasPlace)
    return std::nullopt;
  Term result = merge(op, a, b);
  if (!result)
    return std::nullopt;
  const QueueTerm &placed = a.hasPlace ? a : b;
  result->hasPlace = placed.hasPlace;
  result->numPlaces = placed.numPlaces;
  for (bool picked : {false, true}) {
    result->at[picked] = functionAt(a, picked) * functionAt(b, picked);
    result->place[picked] = !picked && placed.level == QueueTerm::Level::Slot
                                ? QueueFunction()
                                : placed.place[picked];
  }
  if (result->level == QueueTerm::Level::Slot)
    result->at[0] = QueueFunction();
  result->choices = a.choices.empty() ? b.choices : a.choices;
  result->weights = a.weights;
  result->weights.append(b.weights);
  return result;
}

QueueReader::Term QueueReader::weighted(const QueueTerm &a, Value value,
                                        ArrayRef<QueueDims> of) {
  if (!isa<FloatType>(match::getElementType(value)))
    return std::nullopt;
  SlotWeight weight{value, {}};
  SmallVector<Extent> extents = getDims(value);
  if (extents.size() != of.size())
    return std::nullopt;
  for (auto [i, extent] : llvm::enumerate(extents)) {
    QueueDims &axis = weight.axes.emplace_back();
    if (extent.isStatic() && extent.size == 1)
      continue;
    bool isFeature = llvm::any_of(of[i], [](const QueueDim &dim) {
      return dim.kind == QueueDim::Kind::Feature;
    });
    if (isFeature || isRepeated(of[i]) ||
        toExpr(dims, extent) != extentOf(of[i]))
      return std::nullopt;
    axis = of[i];
  }
  QueueTerm result = a;
  result.weights.push_back(weight);
  return result;
}

QueueReader::Term QueueReader::multiply(Operation *op, const QueueTerm &a,
                                        Value value, ArrayRef<QueueDims> of) {
  if (Term b = read(value)) {
    if (of.size() != a.axes.size())
      return std::nullopt;
    return multiply(op, a, *b);
  }
  size_t rank = std::max<int64_t>(match::getRank(value), 0);
  if (rank > of.size() || !a.more.empty())
    return std::nullopt;
  return weighted(a, value, of.drop_front(of.size() - rank));
}
