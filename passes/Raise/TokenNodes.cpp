//===- TokenNodes.cpp - selections of tokens in plain nodes ---------------===//

#include "passes/Raise/TokenNodes.h"
#include "lib/Analysis/Dims.h"
#include "passes/Raise/Match.h"
#include "passes/Raise/Nodes.h"
#include "llvm/ADT/STLExtras.h"

using namespace mlir;
using namespace moe;

/// Through copies and casts between integers: numbers of tokens fit into each.
static Value stripIndex(Value value) {
  while (true) {
    value = match::strip(value);
    Operation *cast = match::getNode(value, "onnx.Cast");
    if (!cast || !isa_and_nonnull<IntegerType>(
                     match::getElementType(cast->getOperand(0))))
      return value;
    Type from = match::getElementType(cast->getOperand(0));
    if (from.getIntOrFloatBitWidth() < 32)
      return value;
    value = cast->getOperand(0);
  }
}

//===----------------------------------------------------------------------===//
// Slices
//===----------------------------------------------------------------------===//

std::optional<SlicePart> SlicePart::read(Value value) {
  Operation *op = match::getNode(value, "onnx.Slice");
  if (!op)
    return std::nullopt;
  int64_t rank = match::getRank(op->getOperand(0));
  auto one = [&](unsigned i, int64_t otherwise) -> std::optional<int64_t> {
    Value operand = match::getInput(op, i);
    return operand ? match::getSingleInt(operand)
                   : std::optional<int64_t>(otherwise);
  };
  std::optional<int64_t> begin = one(1, 0), end = one(2, 0), axis = one(3, 0),
                         step = one(4, 1);
  if (rank < 0 || !begin || !end || !axis || !step || *step < 1)
    return std::nullopt;
  if (*axis < 0)
    *axis += rank;
  if (*axis < 0 || *axis >= rank)
    return std::nullopt;
  SlicePart part;
  part.of = match::getInput(op, 0);
  part.axis = *axis;
  part.step = *step;
  int64_t extent = moe::getExtent(part.of, *axis);
  // Bounds from the end, and those beyond it, need an extent.
  if (ShapedType::isDynamic(extent)) {
    if (*begin < 0 || (*end < 0) || (*end > INT32_MAX && *end < INT64_MAX / 4))
      return std::nullopt;
    part.begin = *begin;
    // No sequence is that long.
    part.end = *end > INT32_MAX ? INT64_MAX : *end;
    return part;
  }
  auto clamp = [&](int64_t at) {
    return std::clamp<int64_t>(at < 0 ? at + extent : at, 0, extent);
  };
  part.begin = clamp(*begin);
  part.end = clamp(*end);
  if (part.end < part.begin)
    return std::nullopt;
  if (part.end == extent)
    part.end = INT64_MAX;
  return part;
}

//===----------------------------------------------------------------------===//
// Numbers
//===----------------------------------------------------------------------===//

Value moe::getRowNumbers(Value numbers) {
  numbers = stripIndex(numbers);
  for (unsigned step = 0; step < 8 && match::getRank(numbers) > 2; ++step) {
    Operation *op = numbers.getDefiningOp();
    StringRef name = match::getOperator(numbers);
    if (!op)
      return {};
    Value in = match::getInput(op, 0);
    int64_t rank = match::getRank(numbers), from = match::getRank(in);
    if (name == "Expand" || name == "Tile") {
      if (from != rank || !sameExtent(in, 0, numbers, 0) ||
          !sameExtent(in, 1, numbers, 1))
        return {};
      for (int64_t i = 2; i < rank; ++i)
        if (moe::getExtent(in, i) != 1 && !sameExtent(in, i, numbers, i))
          return {};
    } else if (name == "Unsqueeze") {
      std::optional<SmallVector<int64_t>> axes = match::getAxes(op);
      if (!axes || from < 2 ||
          llvm::any_of(*axes, [](int64_t axis) { return axis < 2; }))
        return {};
    } else if (name == "Reshape") {
      if (from != 2 || !sameExtent(in, 0, numbers, 0) ||
          !sameExtent(in, 1, numbers, 1))
        return {};
      for (int64_t i = 2; i < rank; ++i)
        if (moe::getExtent(numbers, i) != 1)
          return {};
    } else {
      return {};
    }
    numbers = stripIndex(in);
  }
  return match::getRank(numbers) == 2 ? numbers : Value();
}

/// Whether `value` [B, K, 1] or what it is expanded from is 0, 1, ... along the
/// first axis, for each sequence of `tokens`.
static bool numbersSequences(Value value, Value tokens) {
  if (!sameExtent(value, 0, tokens, 0))
    return false;
  for (unsigned step = 0; step < 8; ++step) {
    value = stripIndex(value);
    StringRef name = match::getOperator(value);
    int64_t n = 0;
    if (name == "Range") {
      Operation *range = value.getDefiningOp();
      return match::isNumber(range->getOperand(0), 0) &&
             match::isNumber(range->getOperand(2), 1) &&
             sameExtent(value, 0, tokens, 0);
    }
    if (match::getRank(value) == 1)
      return match::isIota(value, n) && n == moe::getExtent(tokens, 0);
    if (name != "Expand" && name != "Unsqueeze" && name != "Reshape")
      return false;
    Operation *op = value.getDefiningOp();
    Value in = match::getInput(op, 0);
    // Sequences stay the first axis; all else is repeated.
    if (!sameExtent(in, 0, tokens, 0))
      return false;
    for (int64_t i = 1; i < match::getRank(in); ++i)
      if (moe::getExtent(in, i) != 1)
        return false;
    if (name == "Unsqueeze") {
      std::optional<SmallVector<int64_t>> axes = match::getAxes(op);
      if (!axes || llvm::is_contained(*axes, 0))
        return false;
    }
    value = in;
  }
  return false;
}

Value moe::getPlaceNumbers(Value places, Value tokens) {
  Operation *concat = match::getNode(places, "onnx.Concat");
  if (!concat || concat->getNumOperands() != 2 || match::getRank(places) != 3)
    return {};
  std::optional<int64_t> axis = match::getAxis(concat, "axis", 0, 3);
  Value first = concat->getOperand(0), second = concat->getOperand(1);
  if (axis != 2 || moe::getExtent(first, 2) != 1 ||
      moe::getExtent(second, 2) != 1 || !numbersSequences(first, tokens))
    return {};
  return getRowNumbers(second);
}

//===----------------------------------------------------------------------===//
// Selections
//===----------------------------------------------------------------------===//

/// The TopK that `value` is result `result` of, along the last axis of a
/// matrix.
static Operation *getTopK(Value value, unsigned result, bool largest) {
  auto of = dyn_cast_or_null<OpResult>(value);
  if (!of || of.getOwner()->getName().getStringRef() != "onnx.TopK" ||
      of.getResultNumber() != result)
    return nullptr;
  Operation *op = of.getOwner();
  bool isLargest = match::getInt(op, "largest", 1) != 0;
  int64_t rank = match::getRank(op->getOperand(0));
  return rank == 2 && match::getAxis(op, "axis", -1, 2) == 1 &&
                 isLargest == largest
             ? op
             : nullptr;
}

/// Whether a TopK of a matrix gives all of its elements, sorted.
static bool takesAll(Operation *topK) {
  std::optional<int64_t> k = match::getSingleInt(topK->getOperand(1));
  if (k && *k == moe::getExtent(topK->getOperand(0), 1))
    return true;
  std::optional<SmallVector<Extent>> extents =
      getShapeValue(topK->getOperand(1));
  return extents && extents->size() == 1 &&
         extents->front() == getDim(topK->getOperand(0), 1);
}

/// Numbers [begin, end) that are the same in each row.
static bool isRunOfNumbers(Value row, int64_t begin, int64_t &end) {
  // One number for all sequences.
  if (match::getRank(row) == 2 && moe::getExtent(row, 1) == 1 &&
      match::isNumber(row, static_cast<double>(begin))) {
    end = begin + 1;
    return true;
  }
  for (unsigned step = 0; step < 6; ++step) {
    row = stripIndex(row);
    Operation *op = match::getNode(row, "onnx.Expand");
    if (!op)
      break;
    Value in = match::getInput(op, 0);
    int64_t rank = match::getRank(in);
    if (rank < 1 || !sameExtent(in, rank - 1, row, match::getRank(row) - 1))
      return false;
    row = in;
  }
  std::optional<match::Constant> constant = match::evaluate(row);
  if (!constant || constant->isReal() || constant->type.getRank() < 1)
    return false;
  int64_t length = constant->type.getShape().back();
  if (length == 0)
    return false;
  for (auto [i, number] : llvm::enumerate(constant->ints))
    if (number != begin + static_cast<int64_t>(i) % length)
      return false;
  end = begin + length;
  return true;
}

/// Numbers from `begin` to the last token of `tokens`.
static bool isRestOfNumbers(Value row, int64_t begin, Value tokens) {
  for (unsigned step = 0; step < 6; ++step) {
    row = stripIndex(row);
    StringRef name = match::getOperator(row);
    if (name != "Expand" && name != "Unsqueeze" && name != "Reshape")
      break;
    Value in = match::getInput(row.getDefiningOp(), 0);
    int64_t rank = match::getRank(in);
    if (rank < 1 || !sameExtent(in, rank - 1, row, match::getRank(row) - 1))
      return false;
    row = in;
  }
  Operation *range = match::getNode(row, "onnx.Range");
  if (!range || !match::isNumber(range->getOperand(0), begin) ||
      !match::isNumber(range->getOperand(2), 1))
    return false;
  std::optional<SmallVector<Extent>> limit =
      getShapeValue(range->getOperand(1));
  return limit && limit->size() == 1 && limit->front() == getDim(tokens, 1);
}

static bool refuse(TokenRefusal &refusal, Operation *at, const Twine &why) {
  refusal = {why.str(), at};
  return false;
}

/// Numbers that a TopK chooses, sorted or not, moved by a constant.
static bool readChosen(Value idx, TokenSelection &found,
                       TokenRefusal &refusal) {
  idx = stripIndex(idx);
  Value base;
  double offset;
  if (match::matchWithNumber(idx, "onnx.Add", base, offset) &&
      match::getRank(base) == 2) {
    if (offset < 0 || offset > INT32_MAX)
      return refuse(refusal, idx.getDefiningOp(),
                    "numbers of tokens are moved by a number that is no "
                    "place");
    found.first = static_cast<int64_t>(offset);
    idx = stripIndex(base);
  }
  if (Operation *sort = getTopK(idx, 0, /*largest=*/false)) {
    Value chosen = stripIndex(sort->getOperand(0));
    std::optional<SlicePart> part = SlicePart::read(chosen);
    Value from = part ? stripIndex(part->of) : chosen;
    if (!getTopK(from, 1, true) && !getTopK(from, 1, false))
      return false; // The smallest of other numbers.
    if (!takesAll(sort))
      return refuse(refusal, sort,
                    "tokens that are sorted are not all that were chosen");
    found.order = ir::KeepOrder::Index;
    idx = chosen;
  }
  // The first ones of all, sorted.
  std::optional<int64_t> firstOnes;
  if (std::optional<SlicePart> part = SlicePart::read(idx);
      part && part->axis == 1 && part->begin == 0 && part->step == 1 &&
      !part->reachesEnd() && getTopK(stripIndex(part->of), 1, true)) {
    firstOnes = part->end;
    idx = stripIndex(part->of);
  }
  if (Operation *smallest = getTopK(idx, 1, /*largest=*/false))
    return refuse(refusal, smallest, "the tokens of the smallest scores stay");
  found.topK = getTopK(idx, 1, /*largest=*/true);
  if (!found.topK)
    return false;
  std::optional<int64_t> k = match::getSingleInt(found.topK->getOperand(1));
  if (!k || *k < 0)
    return refuse(refusal, found.topK,
                  "the number of tokens that stay is no constant");
  if (firstOnes &&
      (*firstOnes > *k || match::getInt(found.topK, "sorted", 1) == 0))
    return refuse(refusal, found.topK,
                  "the first tokens of a list that is not sorted stay");
  found.k = firstOnes ? *firstOnes : *k;
  found.scores = match::getInput(found.topK, 0);
  if (!isa<Float16Type, BFloat16Type, Float32Type, Float64Type>(
          match::getElementType(found.scores)))
    return refuse(refusal, found.topK, "scores of tokens are no floats");
  return true;
}

std::optional<TokenSelection> TokenSelection::read(Value idx, Value tokens,
                                                   TokenRefusal &refusal) {
  idx = stripIndex(idx);
  TokenSelection found;
  Operation *concat = match::getNode(idx, "onnx.Concat");
  // All numbers sorted: only the chosen ones can be out of order.
  bool isSorted = false;
  if (Operation *sort = getTopK(idx, 0, /*largest=*/false);
      sort && takesAll(sort)) {
    concat = match::getNode(sort->getOperand(0), "onnx.Concat");
    isSorted = concat != nullptr;
  }
  if (!concat) {
    if (!readChosen(idx, found, refusal))
      return std::nullopt;
    if (found.first != 0) {
      refuse(refusal, idx.getDefiningOp(),
             "tokens are chosen from a part, and those in front of it do not "
             "stay");
      return std::nullopt;
    }
    return found;
  }
  if (match::getAxis(concat, "axis", 0, 2) != 1)
    return std::nullopt;
  // The one part that a TopK chooses.
  int64_t chosenAt = -1;
  for (auto [i, part] : llvm::enumerate(concat->getOperands())) {
    TokenSelection one;
    TokenRefusal ignored;
    if (chosenAt < 0 && readChosen(part, one, ignored)) {
      found = one;
      chosenAt = i;
    }
  }
  if (chosenAt < 0)
    return std::nullopt;
  auto fail = [&](const Twine &why) {
    refuse(refusal, concat, why);
    return std::nullopt;
  };
  int64_t at = 0, count = concat->getNumOperands();
  for (int64_t i = 0; i < chosenAt; ++i)
    if (!isRunOfNumbers(concat->getOperand(i), at, at))
      return fail("numbers in front of the chosen ones are not all tokens in "
                  "front of their part");
  int64_t extent = moe::getExtent(found.scores, 1);
  if (ShapedType::isDynamic(extent))
    return fail("the length of the part that tokens are chosen from is not "
                "known");
  if (at != found.first)
    return fail("the part that tokens are chosen from does not begin behind "
                "those in front of it");
  int64_t begin = found.first + extent, end = begin;
  for (int64_t i = chosenAt + 1; i < count; ++i) {
    if (i == count - 1 && isRestOfNumbers(concat->getOperand(i), end, tokens)) {
      found.hasRange = true;
      break;
    }
    if (!isRunOfNumbers(concat->getOperand(i), end, end))
      return fail("numbers behind the chosen ones are not all tokens behind "
                  "their part");
  }
  found.behind = end - begin;
  // Shorter sequences would have no tokens behind, and not all of the part.
  DimContext dims;
  if (found.hasRange &&
      !(toExpr(dims, getDim(tokens, 1)) - DimExpr::constant(end))
           .isNonNegative())
    return fail("a sequence may end before the part that tokens are chosen "
                "from");
  int64_t all = moe::getExtent(tokens, 1);
  if (!found.hasRange && end != all)
    return fail("numbers of tokens do not reach to the last one");
  if (isSorted)
    found.order = ir::KeepOrder::Index;
  return found;
}

//===----------------------------------------------------------------------===//
// Accesses
//===----------------------------------------------------------------------===//

/// Whether `numbers` [B, K, ...] reach all elements of a token of `tokens`.
static bool coversTokens(Value numbers, Value tokens) {
  int64_t rank = match::getRank(tokens);
  if (match::getRank(numbers) != rank || rank < 2 || rank > 6)
    return false;
  for (int64_t i = 0; i < rank; ++i)
    if (i != 1 && !sameExtent(numbers, i, tokens, i))
      return false;
  return true;
}

/// b * N + idx[b, i] for sequences of N tokens: idx.
static Value getFlatNumbers(Value places, Value tokens) {
  Value idx;
  match::matchCommuted(stripIndex(places), "onnx.Add", [&](Value a, Value b) {
    bool isOffset = match::matchCommuted(
        stripIndex(b), "onnx.Mul", [&](Value row, Value n) {
          std::optional<int64_t> count = match::getSingleInt(n);
          std::optional<SmallVector<Extent>> extents = getShapeValue(n);
          bool isLength = (count && *count == moe::getExtent(tokens, 1)) ||
                          (extents && extents->size() == 1 &&
                           extents->front() == getDim(tokens, 1));
          return isLength && numbersSequences(row, tokens);
        });
    if (!isOffset || match::getRank(a) != 2)
      return false;
    idx = stripIndex(a);
    return true;
  });
  return idx;
}

/// Tokens of all sequences in one list, taken and put back into sequences.
static std::optional<TokenAccess> readFlatGather(Operation *reshape) {
  Value result = reshape->getResult(0);
  Operation *gather = match::strip(reshape->getOperand(0)).getDefiningOp();
  if (!gather || match::getRank(result) != 3)
    return std::nullopt;
  StringRef name = gather->getName().getStringRef();
  bool isRows = name == "onnx.Gather" && match::getInt(gather, "axis", 0) == 0;
  bool isList =
      name == "onnx.GatherND" && match::getInt(gather, "batch_dims", 0) == 0;
  if (!isRows && !isList)
    return std::nullopt;
  Operation *flat = match::getNode(gather->getOperand(0), "onnx.Reshape");
  Value places = gather->getOperand(1);
  if (isList) {
    Operation *column = match::getNode(places, "onnx.Unsqueeze");
    if (!column || match::getRank(places) != 2 ||
        moe::getExtent(places, 1) != 1)
      return std::nullopt;
    places = column->getOperand(0);
  }
  Operation *list = match::getNode(places, "onnx.Reshape");
  if (!flat || !list || match::getRank(places) != 1 ||
      match::getRank(flat->getResult(0)) != 2)
    return std::nullopt;
  Value tokens = match::getInput(flat, 0);
  if (match::getRank(tokens) != 3 ||
      !sameExtent(flat->getResult(0), 1, tokens, 2))
    return std::nullopt;
  Value idx = getFlatNumbers(list->getOperand(0), tokens);
  if (!idx || !sameExtent(idx, 0, tokens, 0) ||
      !sameExtent(result, 0, tokens, 0) || !sameExtent(result, 1, idx, 1) ||
      !sameExtent(result, 2, tokens, 2))
    return std::nullopt;
  return TokenAccess{tokens, idx};
}

std::optional<TokenAccess> TokenAccess::readGather(Operation *op) {
  StringRef name = op->getName().getStringRef();
  if (name == "onnx.Reshape")
    return readFlatGather(op);
  Value tokens = match::getInput(op, 0), numbers = op->getOperand(1);
  int64_t rank = match::getRank(tokens);
  if (rank < 2 || rank > 6)
    return std::nullopt;
  TokenAccess access{tokens, {}};
  if (name == "onnx.GatherElements") {
    if (match::getAxis(op, "axis", 0, rank) != 1 ||
        !coversTokens(numbers, tokens))
      return std::nullopt;
    access.idx = getRowNumbers(numbers);
  } else if (name == "onnx.GatherND") {
    int64_t batch = match::getInt(op, "batch_dims", 0);
    if (batch == 0)
      access.idx = getPlaceNumbers(numbers, tokens);
    else if (batch == 1 && match::getRank(numbers) == 3 &&
             moe::getExtent(numbers, 2) == 1)
      access.idx = getRowNumbers(numbers);
  }
  if (!access.idx || !sameExtent(access.idx, 0, tokens, 0))
    return std::nullopt;
  return access;
}

std::optional<TokenAccess> TokenAccess::readScatter(Operation *op) {
  StringRef name = op->getName().getStringRef();
  Value tokens = match::getInput(op, 0), numbers = op->getOperand(1);
  Value updates = op->getOperand(2);
  int64_t rank = match::getRank(tokens);
  if (rank < 2 || rank > 6 || match::getRank(updates) != rank)
    return std::nullopt;
  TokenAccess access{tokens, {}};
  if (name == "onnx.ScatterElements") {
    if (match::getAxis(op, "axis", 0, rank) != 1 ||
        !coversTokens(numbers, tokens))
      return std::nullopt;
    access.idx = getRowNumbers(numbers);
  } else if (name == "onnx.ScatterND") {
    access.idx = getPlaceNumbers(numbers, tokens);
  }
  if (!access.idx || !sameExtent(access.idx, 0, tokens, 0) ||
      !sameExtent(access.idx, 1, updates, 1) || !coversTokens(updates, tokens))
    return std::nullopt;
  return access;
}

//===----------------------------------------------------------------------===//
// Attention
//===----------------------------------------------------------------------===//

/// One step from a row back to the attention that it comes from; null where
/// there is none.
static Value stepBack(Value value) {
  StringRef name = match::getOperator(value);
  if (name == "Gather" || name == "ReduceMean" || name == "ReduceMax" ||
      name == "Slice" || name == "Squeeze")
    return match::getInput(value.getDefiningOp(), 0);
  return {};
}

namespace {
/// Follows the axes of attention through the nodes that make a row of it.
struct AxisTracker {
  // b, h, q, n; '1' for an axis of extent 1 that stands for one of them.
  SmallVector<char> axes{'b', 'h', 'q', 'n'};
  AttentionRow row;
  bool hasQuery = false, hasReduce = false;

  bool apply(Value value);
  bool select(Operation *gather);
  bool reduce(Operation *op);
};
} // namespace

bool AxisTracker::select(Operation *gather) {
  std::optional<int64_t> axis =
      match::getAxis(gather, "axis", 0, static_cast<int64_t>(axes.size()));
  Value index = gather->getOperand(1);
  std::optional<int64_t> query = match::getSingleInt(index);
  if (!axis || !query || axes[*axis] != 'q' || hasQuery)
    return false;
  row.query = *query;
  hasQuery = true;
  if (match::getRank(index) == 0)
    axes.erase(axes.begin() + *axis);
  else if (match::getRank(index) == 1)
    axes[*axis] = '1';
  else
    return false;
  return true;
}

bool AxisTracker::reduce(Operation *op) {
  std::optional<SmallVector<int64_t>> over = match::getAxes(op);
  if (!over || over->size() != 1 || axes[over->front()] != 'h' || hasReduce)
    return false;
  row.reduce = op->getName().getStringRef() == "onnx.ReduceMax"
                   ? ir::HeadReduce::Max
                   : ir::HeadReduce::Mean;
  hasReduce = true;
  if (match::getInt(op, "keepdims", 1) == 0)
    axes.erase(axes.begin() + over->front());
  else
    axes[over->front()] = '1';
  return true;
}

bool AxisTracker::apply(Value value) {
  Operation *op = value.getDefiningOp();
  StringRef name = match::getOperator(value);
  if (name == "Gather")
    return select(op);
  if (name == "ReduceMean" || name == "ReduceMax")
    return reduce(op);
  if (name == "Squeeze") {
    std::optional<SmallVector<int64_t>> over = match::getAxes(op);
    if (!over)
      return false;
    for (int64_t axis : llvm::reverse(*over)) {
      if (axes[axis] != '1')
        return false;
      axes.erase(axes.begin() + axis);
    }
    return true;
  }
  std::optional<SlicePart> part = SlicePart::read(value);
  if (!part || part->step != 1)
    return false;
  if (axes[part->axis] == 'n' && row.begin == 0 && row.end == INT64_MAX) {
    row.begin = part->begin;
    row.end = part->end;
    return true;
  }
  // One query as a part.
  if (axes[part->axis] == 'q' && !hasQuery &&
      moe::getExtent(value, part->axis) == 1) {
    row.query = part->begin;
    hasQuery = true;
    axes[part->axis] = '1';
    return true;
  }
  return false;
}

std::optional<AttentionRow> AttentionRow::read(Value scores) {
  SmallVector<Value> steps;
  Value value = match::strip(scores);
  while (match::getOperator(value) != "Softmax") {
    Value in = steps.size() < 8 ? stepBack(value) : Value();
    if (!in)
      return std::nullopt;
    steps.push_back(value);
    value = in;
  }
  Operation *softmax = value.getDefiningOp();
  if (match::getRank(value) != 4 || match::getAxis(softmax, "axis", -1, 4) != 3)
    return std::nullopt;
  AxisTracker tracker;
  for (Value step : llvm::reverse(steps))
    if (!tracker.apply(step))
      return std::nullopt;
  if (!tracker.hasQuery || !tracker.hasReduce ||
      tracker.axes != SmallVector<char>{'b', 'n'})
    return std::nullopt;
  tracker.row.attention = value;
  return tracker.row;
}
