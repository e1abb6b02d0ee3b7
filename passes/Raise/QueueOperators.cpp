//===- QueueOperators.cpp - operators on tensors over slots ---------------===//

#include "lib/Analysis/Dims.h"
#include "passes/Raise/Match.h"
#include "passes/Raise/QueueTerms.h"
#include <algorithm>
#include <cmath>
#include <map>

using namespace mlir;
using namespace moe;

/// The axis that holds 0, 1, .. n-1.
static bool findIota(Value value, DimContext &dims, unsigned &axis,
                     int64_t &count) {
  View view = View::of(value, dims);
  if (!match::isIota(view.getBase(), count) || count < 2)
    return false;
  int64_t last = static_cast<int64_t>(view.getBaseRank()) - 1;
  unsigned found = 0;
  for (unsigned i = 0; i < view.getRank(); ++i) {
    if (view.isRepeated(i))
      continue;
    if (!view.walks(i, last))
      return false;
    axis = i;
    ++found;
  }
  return found == 1;
}

/// 1 where axis `axis` of `iota` is the number that `term` is.
QueueReader::Term QueueReader::oneHotOf(Operation *op, QueueTerm term,
                                        QueueAxes iota, unsigned axis,
                                        int64_t count, bool wraps) {
  using F = QueueFunction;
  if (term.hasPlace || !term.weights.empty() || !term.choices.empty() ||
      term.level == QueueTerm::Level::Number)
    return std::nullopt;
  QueueTerm other;
  other.axes = std::move(iota);
  bool isIds = term.level == QueueTerm::Level::Slot && term.queue.empty() &&
               term.at[1].isIdentityOfId();
  if (!isIds && term.queue.empty())
    return refusal.say(op, "ids are changed before they pick an expert");
  other.axes[axis] = {{isIds ? QueueDim::Kind::Expert : QueueDim::Kind::Place,
                       0,
                       {},
                       DimExpr::constant(count)}};
  Term result = merge(op, term, other);
  if (!result)
    return std::nullopt;
  if (isIds) {
    result->level = QueueTerm::Level::Expert;
    result->at[0] = F::constant(0);
    result->at[1] = F::constant(1);
    result->numExperts = count;
    return result;
  }
  result->hasPlace = true;
  result->numPlaces = count;
  for (bool picked : {false, true}) {
    F place = functionAt(term, picked).whole();
    if (wraps)
      place = F::select(
          F::compare(place, F::constant(0), [](int sign) { return sign < 0; }),
          place + F::constant(count), place);
    result->place[picked] = place;
    result->at[picked] = F::constant(1);
  }
  if (result->level == QueueTerm::Level::Slot)
    result->at[0] = F();
  return result;
}

QueueReader::Term QueueReader::readEqual(Operation *op) {
  for (unsigned i = 0; i < 2; ++i) {
    unsigned axis = 0;
    int64_t count;
    Value numbers = op->getOperand(i);
    if (!findIota(numbers, dims, axis, count))
      continue;
    Term term = readAny(op->getOperand(1 - i));
    if (!term)
      return std::nullopt;
    Term axes = readNumber(numbers, 0);
    return oneHotOf(op, *term, axes->axes, axis, count, /*wraps=*/false);
  }
  Term a = readAny(op->getOperand(0)), b = readAny(op->getOperand(1));
  return apply(op, a, b, [](const QueueFunction &f, const QueueFunction &g) {
    return QueueFunction::compare(f, g, [](int sign) { return sign == 0; });
  });
}

QueueReader::Term QueueReader::readOneHot(Operation *op) {
  Value indices = op->getOperand(0);
  Term term = readAny(indices);
  std::optional<int64_t> count = match::getSingleInt(op->getOperand(1));
  std::optional<match::Constant> values = match::evaluate(op->getOperand(2));
  int64_t rank = match::getRank(op->getResult(0));
  std::optional<int64_t> axis = match::getAxis(op, "axis", -1, rank);
  if (!term || !count || !values || values->size() != 2 || !axis)
    return std::nullopt;
  if (values->get(0) != 0 || values->get(1) != 1)
    return refusal.say(op, "one-hot rows are not of 0 and 1");
  if (*count < 2)
    return std::nullopt;
  term->axes.insert(term->axes.begin() + *axis, QueueDims());
  return oneHotOf(op, *term, QueueAxes(rank), *axis, *count, /*wraps=*/true);
}

QueueReader::Term QueueReader::readCumSum(Operation *op) {
  Term term = read(op->getOperand(0));
  if (!term || term->level == QueueTerm::Level::Number)
    return std::nullopt;
  std::optional<int64_t> axis = match::getSingleInt(op->getOperand(1));
  if (!axis)
    return refusal.say(op, "the axis along which slots are counted is not "
                           "constant");
  if (*axis < 0)
    *axis += term->axes.size();
  if (*axis < 0 || *axis >= static_cast<int64_t>(term->axes.size()))
    return std::nullopt;
  if (match::getInt(op, "reverse", 0))
    return refusal.say(op, "slots are counted from the last one");
  if (term->level != QueueTerm::Level::Expert || term->hasPlace ||
      !term->weights.empty() || !term->choices.empty() ||
      !term->at[0].isConstant(0, 0) || !term->at[1].isConstant(1, 0))
    return refusal.say(op, "what is counted are not the slots of an expert, "
                           "each as 1");
  if (!term->queue.empty())
    return refusal.say(op, "slots are counted that had been counted before");
  const QueueDims &along = term->axes[*axis];
  if (along.empty() || llvm::any_of(along, [](const QueueDim &dim) {
        return dim.kind != QueueDim::Kind::Slot;
      }))
    return refusal.say(op, "the running sum is not along the slots");
  term->queue = along;
  QueueFunction seen = QueueFunction::seen();
  term->at[0] = term->at[1] = seen;
  if (match::getInt(op, "exclusive", 0))
    term->at[1] = seen - QueueFunction::constant(1);
  return term;
}

QueueReader::Term QueueReader::readCast(Operation *op) {
  Term term = readAny(op->getOperand(0));
  Type from = match::getElementType(op->getOperand(0));
  Type to = match::getElementType(op->getResult(0));
  if (!term || !from || !to || term->level == QueueTerm::Level::Number)
    return term;
  if (to.isInteger(1))
    return from.isInteger(1) ? term : toBool(term);
  if (isa<FloatType>(to))
    return term;
  auto hasWeights = [](const QueueTerm &part) { return !part.weights.empty(); };
  if (hasWeights(*term) || llvm::any_of(term->more, hasWeights))
    return std::nullopt;
  for (QueueFunction &f : term->at)
    f = f.whole();
  for (QueueTerm &part : term->more)
    for (QueueFunction &f : part.at)
      f = f.whole();
  return term;
}

QueueReader::Term QueueReader::readClamp(Operation *op) {
  Value x;
  double least, most;
  if (!match::matchClamp(op->getResult(0), x, least, most))
    return std::nullopt;
  Term term = readAny(x);
  if (!term || term->level == QueueTerm::Level::Number)
    return std::nullopt;
  if (std::isfinite(least))
    term = apply(op, term, readNumber(x, least), QueueFunction::max);
  if (std::isfinite(most))
    term = apply(op, term, readNumber(x, most), QueueFunction::min);
  return term;
}

/// Sums over what an axis runs over and leaves it with extent 1.
bool QueueReader::sumOver(Operation *op, QueueTerm &term, QueueDims &axis) {
  for (const QueueDim &dim : axis) {
    switch (dim.kind) {
    case QueueDim::Kind::Slot:
      term.choices.push_back(dim);
      break;
    case QueueDim::Kind::Expert:
      // The one expert that a slot picked, if the others give nothing.
      if (!term.at[0].isConstant(0, 0) || !term.weights.empty())
        return false;
      term.level = QueueTerm::Level::Slot;
      term.at[0] = term.place[0] = QueueFunction();
      break;
    default:
      return false;
    }
  }
  axis.clear();
  return true;
}

QueueReader::Term QueueReader::readReduce(Operation *op, bool isSum) {
  Term term = read(op->getOperand(0));
  auto over = match::getAxes(op);
  if (!term || !over || term->level == QueueTerm::Level::Number ||
      !term->more.empty())
    return std::nullopt;
  for (int64_t i : *over) {
    QueueDims &axis = term->axes[i];
    if (!isSum && !axis.empty()) {
      // The largest one is that of the expert if no other is larger.
      using F = QueueFunction;
      if (!isOnly(axis, QueueDim::Kind::Expert) || term->hasPlace ||
          !term->weights.empty() || term->at[0].getPieces().size() != 1 ||
          !term->at[0].getPieces()[0].isConstant())
        return std::nullopt;
      F least = term->at[0];
      if (!F::compare(term->at[1], least, [](int sign) {
             return sign >= 0;
           }).isConstant(1, 1))
        return std::nullopt;
      term->at[0] = F::constant(0);
    }
    if (!sumOver(op, *term, axis))
      return std::nullopt;
  }
  if (!match::getInt(op, "keepdims", 1))
    for (int64_t i : llvm::reverse(*over))
      term->axes.erase(term->axes.begin() + i);
  return term;
}

/// The only element along an axis of extent 1.
QueueReader::Term QueueReader::readGather(Operation *op) {
  Value data = op->getOperand(0), index = op->getOperand(1);
  std::optional<int64_t> axis =
      match::getAxis(op, "axis", 0, match::getRank(data));
  if (!axis || !isUnit(data, *axis) || match::getRank(index) != 0)
    return std::nullopt;
  std::optional<int64_t> at = match::getSingleInt(index);
  if (at != 0 && at != -1)
    return std::nullopt;
  Term term = readAny(data);
  if (!term || !term->more.empty())
    return std::nullopt;
  term->axes.erase(term->axes.begin() + *axis);
  return term;
}

/// Some of the places.
QueueReader::Term QueueReader::readSlice(Operation *op) {
  Term term = read(op->getOperand(0));
  auto begins = match::getInts(match::getInput(op, 1));
  Value axesInput = match::getInput(op, 3), steps = match::getInput(op, 4);
  auto axes = axesInput ? match::getInts(axesInput)
                        : std::optional(SmallVector<int64_t>{0});
  if (!term || term->level == QueueTerm::Level::Number || !term->more.empty() ||
      !begins || begins->size() != 1 || !axes || axes->size() != 1 ||
      (steps && match::getSingleInt(steps) != 1))
    return std::nullopt;
  int64_t rank = term->axes.size();
  int64_t axis = axes->front() + (axes->front() < 0 ? rank : 0);
  if (axis < 0 || axis >= rank)
    return std::nullopt;
  Extent left = getDim(op->getResult(0), axis);
  QueueDims &dims = term->axes[axis];
  if (!isOnly(dims, QueueDim::Kind::Place) || !left.isStatic())
    return std::nullopt;
  int64_t begin = begins->front() + (begins->front() < 0 ? term->numPlaces : 0);
  begin = std::clamp<int64_t>(begin, 0, term->numPlaces);
  for (QueueFunction &place : term->place)
    place = place - QueueFunction::constant(static_cast<double>(begin));
  term->numPlaces = left.size;
  dims[0].extent = DimExpr::constant(left.size);
  if (left.size == 1)
    dims.clear();
  return term;
}

/// In the row of the expert that a slot picked.
QueueReader::Term QueueReader::readPick(Operation *op, QueueTerm data,
                                        unsigned axis) {
  Term index = readIds(op->getOperand(1));
  if (!index || index->level != QueueTerm::Level::Slot ||
      index->ids != data.ids || !index->at[1].isIdentityOfId() ||
      data.hasPlace || !data.weights.empty() || !data.choices.empty())
    return std::nullopt;
  for (auto [i, dims] : llvm::enumerate(index->axes))
    if (i == axis ? !dims.empty() : dims != data.axes[i])
      return std::nullopt;
  data.level = QueueTerm::Level::Slot;
  data.at[0] = QueueFunction();
  data.axes[axis].clear();
  return data;
}

namespace {
/// Indices that permute an axis of data: results of a TopK of all elements.
struct Permutation {
  Value indices;
  /// For each axis of the data the leading axis of `indices` that it is, or -1.
  SmallVector<int64_t> leading;
};
} // namespace

static std::optional<Permutation> matchPermutation(Value index, unsigned axis,
                                                   DimContext &dims) {
  View view = View::of(index, dims);
  auto result = dyn_cast<OpResult>(view.getBase());
  if (!result || result.getResultNumber() != 1 ||
      result.getOwner()->getName().getStringRef() != "onnx.TopK")
    return std::nullopt;
  Operation *topK = result.getOwner();
  int64_t rank = view.getBaseRank();
  if (rank < 1 || match::getAxis(topK, "axis", -1, rank) != rank - 1 ||
      !match::getInt(topK, "sorted", 1) ||
      !sameExtent(result, rank - 1, topK->getOperand(0), rank - 1) ||
      !view.walks(axis, rank - 1))
    return std::nullopt;
  Permutation found{view.getBase(), {}};
  int64_t used = 0;
  for (unsigned i = 0; i < view.getRank(); ++i) {
    int64_t &leading = found.leading.emplace_back(-1);
    if (i == axis || view.isRepeated(i))
      continue;
    for (int64_t j = 0; j < rank - 1; ++j)
      if (view.walks(i, j))
        leading = j;
    if (leading < 0)
      return std::nullopt;
    ++used;
  }
  int64_t needed = 0;
  for (int64_t j = 0; j < rank - 1; ++j)
    needed += !view.getBaseAxis(j).empty();
  if (used != needed)
    return std::nullopt;
  return found;
}

/// Tokens get into the order of their priorities, or back.
QueueReader::Term QueueReader::readSorted(Operation *op, QueueTerm data,
                                          unsigned axis) {
  auto found = matchPermutation(op->getOperand(1), axis, dims);
  if (!found || data.axes[axis].empty())
    return std::nullopt;
  TokenOrder order;
  order.order = found->indices;
  order.tokens = data.axes[axis];
  std::map<int64_t, QueueDims> leading;
  for (auto [i, from] : llvm::enumerate(found->leading))
    if (from >= 0)
      leading[from] = data.axes[i];
  for (auto &[_, dims] : leading)
    order.sequences.append(dims);
  order.sequences = canonical(order.sequences);
  auto isSlot = [](bool sorted) {
    return [=](const QueueDim &dim) {
      return dim.kind == QueueDim::Kind::Slot && dim.sorted == sorted;
    };
  };
  if (!data.order) {
    if (!llvm::all_of(order.tokens, isSlot(false)) ||
        !llvm::all_of(order.sequences, isSlot(false)))
      return std::nullopt;
    if (!data.queue.empty())
      return refusal.say(op, "slots change their order after they were "
                             "counted");
    for (QueueDim &dim : data.axes[axis])
      dim.sorted = true;
    data.order = order;
    return data;
  }
  // Back: the indices that sort the indices.
  Operation *topK = found->indices.getDefiningOp();
  QueueDims sorted = data.order->tokens;
  for (QueueDim &dim : sorted)
    dim.sorted = true;
  if (match::getInt(topK, "largest", 1) ||
      !match::isSame(topK->getOperand(0), data.order->order) ||
      order.sequences != data.order->sequences || order.tokens != sorted)
    return refusal.say(op, "tokens do not get back from the order of their "
                           "priorities");
  data.axes[axis] = data.order->tokens;
  return data;
}

QueueReader::Term QueueReader::readGatherElements(Operation *op) {
  Term data = read(op->getOperand(0));
  if (!data || data->level == QueueTerm::Level::Number || !data->more.empty())
    return std::nullopt;
  std::optional<int64_t> axis =
      match::getAxis(op, "axis", 0, data->axes.size());
  if (!axis)
    return std::nullopt;
  if (isOnly(data->axes[*axis], QueueDim::Kind::Expert))
    return readPick(op, *data, *axis);
  return readSorted(op, *data, *axis);
}

/// A mask where a condition holds and 0 elsewhere, or one of two numbers.
QueueReader::Term QueueReader::readWhere(Operation *op) {
  using F = QueueFunction;
  Term condition = read(op->getOperand(0));
  if (!condition || condition->level == QueueTerm::Level::Number ||
      condition->hasPlace || !condition->more.empty())
    return std::nullopt;
  Value x = op->getOperand(1), y = op->getOperand(2);
  Term a = readAny(x), b = readAny(y);
  auto isSimple = [](const Term &t) {
    return t && !t->hasPlace && t->weights.empty() && t->choices.empty();
  };
  if (isSimple(a) && isSimple(b)) {
    // Twice, since merging takes two.
    F truth[2] = {functionAt(*condition, false), functionAt(*condition, true)};
    Term both = a->level == QueueTerm::Level::Number &&
                        b->level == QueueTerm::Level::Number
                    ? Term(*condition)
                    : merge(op, *a, *b);
    if (both)
      both = merge(op, *both, *condition);
    if (!both)
      return std::nullopt;
    for (bool picked : {false, true})
      both->at[picked] = F::select(truth[picked], functionAt(*a, picked),
                                   functionAt(*b, picked));
    if (both->level == QueueTerm::Level::Slot)
      both->at[0] = F();
    return both;
  }
  if (b && match::isNumber(y, 0))
    return multiply(op, *condition, x, condition->axes);
  if (a && match::isNumber(x, 0)) {
    Term no = apply(op, readNumber(op->getOperand(0), 1), condition,
                    [](const F &f, const F &g) { return f - g; });
    return no ? multiply(op, *no, y, no->axes) : std::nullopt;
  }
  return std::nullopt;
}

std::optional<QueueTerm>
QueueReader::readFactors(const TermProduct &product, int without,
                         SmallVectorImpl<int> &letters) {
  // Axes of extent 1 in the output keep their places.
  letters.assign(product.output.begin(), product.output.end());
  for (auto &own : product.letters)
    for (int letter : own)
      if (letter >= 0 && !llvm::is_contained(letters, letter))
        letters.push_back(letter);
  auto find = [&](int letter) -> size_t {
    return llvm::find(letters, letter) - letters.begin();
  };
  Term result;
  SmallVector<unsigned> others;
  for (unsigned i = 0; i < product.operands.size(); ++i) {
    if (static_cast<int>(i) == without)
      continue;
    Term term = read(product.operands[i]);
    if (!term || term->level == QueueTerm::Level::Number) {
      others.push_back(i);
      continue;
    }
    QueueAxes axes(letters.size());
    for (auto [letter, dims] : llvm::zip(product.letters[i], term->axes))
      if (letter >= 0)
        axes[find(letter)] = dims;
    term->axes = axes;
    for (QueueTerm &part : term->more)
      part.axes = axes;
    result = result ? multiply(product.op, *result, *term) : term;
    if (!result)
      return std::nullopt;
  }
  if (!result)
    return std::nullopt;
  for (unsigned i : others) {
    QueueAxes of;
    for (int letter : product.letters[i])
      of.push_back(letter < 0 ? QueueDims() : result->axes[find(letter)]);
    std::vector<QueueTerm> more = std::move(result->more);
    result->more.clear();
    result = weighted(*result, product.operands[i], of);
    for (QueueTerm &part : more) {
      Term scaled = weighted(part, product.operands[i], of);
      if (!result || !scaled)
        return std::nullopt;
      result->more.push_back(*scaled);
    }
    if (!result)
      return std::nullopt;
  }
  return result;
}

/// Products of masks that are written as Einsum or MatMul.
QueueReader::Term QueueReader::readProduct(Operation *op) {
  std::optional<TermProduct> product = matchTermProduct(op);
  if (!product || product->bias)
    return std::nullopt;
  SmallVector<int> letters;
  Term result = readFactors(*product, /*without=*/-1, letters);
  if (!result || !result->more.empty())
    return std::nullopt;
  for (size_t i = product->output.size(); i < letters.size(); ++i)
    if (!sumOver(op, *result, result->axes[i]))
      return std::nullopt;
  result->axes.resize(product->output.size());
  return result;
}

Value moe::unsortTokens(Value value, const TokenOrder &order,
                        DimContext &dims) {
  Operation *op = match::getNode(value, "onnx.GatherElements");
  if (!op)
    return {};
  std::optional<int64_t> axis =
      match::getAxis(op, "axis", 0, match::getRank(op->getOperand(0)));
  if (!axis || !isa<RankedTensorType>(op->getOperand(0).getType()))
    return {};
  auto found = matchPermutation(op->getOperand(1), *axis, dims);
  if (!found || found->indices != order.order ||
      !sameExtents(op->getOperand(0), op->getResult(0)))
    return {};
  // The sequences of the indices are those in front, in order.
  int64_t next = 0;
  for (int64_t leading : found->leading)
    if (leading >= 0 && leading != next++)
      return {};
  return op->getOperand(0);
}
