//===- RaiseMerge.cpp - tokens that are merged in pairs -------------------===//
//
// Bipartite soft matching as exporters write it. Read from its end: a quotient
// of two merges, of what tokens are times how many they stand for, and of these
// numbers. Both take tokens by the same three lists of numbers, which must come
// from one matrix of similarities.
//
//===----------------------------------------------------------------------===//

#include "dialects/ONNX/ONNXDialect.h"
#include "lib/Analysis/Dims.h"
#include "passes/Raise/Match.h"
#include "passes/Raise/Nodes.h"
#include "passes/Raise/PoolNodes.h"
#include "passes/Raise/RaiseTokens.h"

using namespace mlir;
using namespace moe;

namespace {

/// [tokens that stay; targets + what is merged into them] of `values`.
struct Merged {
  Value values;
  // Lists of numbers [B, n] or [B, n, 1].
  Value unmerged, sources, targets;
};

/// How tokens are matched.
struct Matching {
  Value metric;
  int64_t r = 0;
  bool protect = false;
};

class MergeReader {
public:
  explicit MergeReader(TokenRefusal &refusal) : refusal(refusal) {}

  std::optional<Merged> readMerged(Value value);
  std::optional<Matching> readMatching(const Merged &merged);

private:
  bool readOrder(Value list, int64_t &begin, int64_t &end, Value &order);
  bool readSimilarity(Value scores, Matching &matching);
  bool fail(Value at, const Twine &why) {
    refusal = {why.str(), at ? at.getDefiningOp() : nullptr};
    return false;
  }

  TokenRefusal &refusal;
};

} // namespace

/// A list of numbers without the axis of extent 1 behind it and without what
/// repeats it along that axis.
static Value stripList(Value list) {
  for (unsigned step = 0; step < 8; ++step) {
    list = match::strip(list);
    Operation *op = list ? list.getDefiningOp() : nullptr;
    if (!op)
      break;
    StringRef name = match::getOperator(list);
    Value in = op->getNumOperands() ? match::getInput(op, 0) : Value();
    if (!in || match::getRank(in) < 2 || !sameExtent(in, 0, list, 0) ||
        !sameExtent(in, 1, list, 1))
      break;
    bool widens =
        name == "Expand" && match::getRank(in) == 3 && getExtent(in, 2) == 1;
    bool adds = (name == "Unsqueeze" || name == "Reshape") &&
                match::getRank(in) == 2 && getExtent(list, 2) == 1;
    if (!widens && !adds)
      break;
    list = in;
  }
  return list;
}

/// Half of the tokens: even or odd ones.
static Value getHalf(Value value, int64_t which) {
  std::optional<SlicePart> part = SlicePart::read(value);
  return part && part->axis == 1 && part->step == 2 && part->begin == which &&
                 part->reachesEnd()
             ? part->of
             : Value();
}

/// What a GatherElements of axis 1 takes, and its list; the list reaches all
/// elements of a token.
static bool readGather(Value value, Value &from, Value &list) {
  Operation *op = match::getNode(value, "onnx.GatherElements");
  if (!op || match::getRank(value) != 3 ||
      match::getAxis(op, "axis", 0, 3) != 1)
    return false;
  from = match::getInput(op, 0);
  Value numbers = op->getOperand(1);
  if (!sameExtent(numbers, 0, from, 0) || !sameExtent(numbers, 2, from, 2))
    return false;
  list = stripList(numbers);
  return true;
}

std::optional<Merged> MergeReader::readMerged(Value value) {
  Operation *concat = match::getNode(value, "onnx.Concat");
  if (!concat || concat->getNumOperands() != 2 || match::getRank(value) != 3 ||
      match::getAxis(concat, "axis", 0, 3) != 1)
    return std::nullopt;
  Operation *scatter =
      match::getNode(concat->getOperand(1), "onnx.ScatterElements");
  Merged merged;
  Value even, moved;
  if (!scatter || match::getAxis(scatter, "axis", 0, 3) != 1 ||
      !readGather(concat->getOperand(0), even, merged.unmerged) ||
      !readGather(scatter->getOperand(2), moved, merged.sources))
    return std::nullopt;
  Value odd = match::getInput(scatter, 0), numbers = scatter->getOperand(1);
  merged.values = getHalf(even, 0);
  if (!merged.values || getHalf(moved, 0) != merged.values ||
      getHalf(odd, 1) != merged.values)
    return std::nullopt;
  if (match::getString(scatter, "reduction", "none") != "add") {
    fail(concat->getOperand(1),
         "tokens are merged by reduction = " +
             match::getString(scatter, "reduction", "none"));
    return std::nullopt;
  }
  if (!sameExtent(numbers, 0, odd, 0) || !sameExtent(numbers, 2, odd, 2) ||
      !sameExtent(numbers, 1, scatter->getOperand(2), 1))
    return std::nullopt;
  merged.targets = stripList(numbers);
  return merged;
}

/// A TopK that sorts all of the last axis.
static Operation *getSort(Value value, unsigned result, bool largest) {
  auto of = dyn_cast_or_null<OpResult>(value);
  if (!of || of.getResultNumber() != result ||
      of.getOwner()->getName().getStringRef() != "onnx.TopK")
    return nullptr;
  Operation *op = of.getOwner();
  Value in = op->getOperand(0);
  int64_t rank = match::getRank(in);
  if ((match::getInt(op, "largest", 1) != 0) != largest || rank < 2 ||
      match::getInt(op, "sorted", 1) == 0 ||
      match::getAxis(op, "axis", -1, rank) != 1)
    return nullptr;
  std::optional<int64_t> k = match::getSingleInt(op->getOperand(1));
  std::optional<SmallVector<Extent>> extents = getShapeValue(op->getOperand(1));
  bool takesAll =
      (k && *k == getExtent(in, 1)) ||
      (extents && extents->size() == 1 && extents->front() == getDim(in, 1));
  return takesAll ? op : nullptr;
}

/// A part [begin, end) of the order of all matches.
bool MergeReader::readOrder(Value list, int64_t &begin, int64_t &end,
                            Value &order) {
  std::optional<SlicePart> part = SlicePart::read(list);
  if (!part || part->axis != 1 || part->step != 1)
    return false;
  begin = part->begin;
  end = part->end;
  order = stripList(part->of);
  return true;
}

/// Rows of similarities with none for the class token.
bool MergeReader::readSimilarity(Value scores, Matching &matching) {
  scores = match::strip(scores);
  if (Operation *concat = match::getNode(scores, "onnx.Concat")) {
    std::optional<SlicePart> rest;
    if (concat->getNumOperands() == 2)
      rest = SlicePart::read(concat->getOperand(1));
    Value first = concat->getOperand(0);
    if (!rest || match::getAxis(concat, "axis", 0, 3) != 1 || rest->axis != 1 ||
        rest->begin != 1 || rest->step != 1 || !rest->reachesEnd() ||
        match::getRank(first) != 3 || getExtent(first, 1) != 1 ||
        !match::isNumber(first, -std::numeric_limits<double>::infinity()))
      return fail(scores, "other similarities than those of the first token "
                          "are replaced");
    matching.protect = true;
    scores = rest->of;
  }
  Value even, turned;
  if (!match::matchBinary(scores, "onnx.MatMul", even, turned))
    return fail(scores, "similarities of tokens are no product of halves");
  Operation *transpose = match::getNode(turned, "onnx.Transpose");
  if (!transpose ||
      match::getPermutation(transpose) != SmallVector<int64_t>{0, 2, 1})
    return fail(scores, "similarities of tokens are no product of halves");
  matching.metric = getHalf(even, 0);
  if (!matching.metric || match::getRank(matching.metric) != 3 ||
      getHalf(match::getInput(transpose, 0), 1) != matching.metric)
    return fail(scores, "similarities are not those of even and odd tokens");
  return true;
}

std::optional<Matching> MergeReader::readMatching(const Merged &merged) {
  Matching matching;
  Value unmerged = merged.unmerged;
  bool isSorted = false;
  if (Operation *sort = getSort(unmerged, 0, /*largest=*/false)) {
    isSorted = true;
    unmerged = stripList(sort->getOperand(0));
  }
  int64_t begin, end, first, last;
  Value order, other;
  if (!readOrder(unmerged, begin, end, order) ||
      !readOrder(merged.sources, first, last, other) || order != other) {
    fail(merged.sources, "tokens that are merged and those that are not do not "
                         "come from one order");
    return std::nullopt;
  }
  if (first != 0 || begin != last || end != INT64_MAX) {
    fail(merged.sources, "tokens that are merged are not the first of the "
                         "order, all others those that are not");
    return std::nullopt;
  }
  matching.r = last;
  // The order is that of the best match of each token.
  Operation *sort = getSort(order, 1, /*largest=*/true);
  Operation *max =
      sort ? match::getNode(sort->getOperand(0), "onnx.ReduceMax") : nullptr;
  Operation *targets = match::getNode(merged.targets, "onnx.GatherElements");
  Operation *argmax =
      targets ? match::getNode(stripList(targets->getOperand(0)), "onnx.ArgMax")
              : nullptr;
  int64_t rank = match::getRank(merged.targets);
  if (!max || !argmax || !match::isOverLastAxis(max) ||
      match::getInt(max, "keepdims", 1) != 0 ||
      match::getRank(max->getOperand(0)) != 3 ||
      match::getAxis(argmax, "axis", 0, 3) != 2 ||
      match::getInt(argmax, "keepdims", 1) != 0 ||
      match::getInt(argmax, "select_last_index", 0) != 0 ||
      !match::isSame(max->getOperand(0), argmax->getOperand(0)) ||
      match::getAxis(targets, "axis", 0, rank) != 1 ||
      stripList(targets->getOperand(1)) != merged.sources) {
    fail(merged.targets,
         "tokens are not merged into the one that they are most like");
    return std::nullopt;
  }
  if (!readSimilarity(max->getOperand(0), matching))
    return std::nullopt;
  if (isSorted != matching.protect) {
    fail(merged.unmerged, "tokens that are not merged are in an order that "
                          "does not go with the class token");
    return std::nullopt;
  }
  return matching;
}

/// x and size of what is merged.
static bool readWeighted(Value values, Value size, Value &x) {
  return match::matchCommuted(values, "onnx.Mul", [&](Value a, Value b) {
    x = a;
    return match::isSame(b, size) && sameExtents(a, values);
  });
}

/// What is known of the extents of the nodes that a merge takes the place of.
static void nameExtents(ir::TokenMergeOp merge, Operation *div,
                        Operation *sizes) {
  auto list = [](Operation *op) -> Attribute {
    auto lists = op->getAttrOfType<ArrayAttr>(onnx::names::kDims);
    return lists && lists.size() == 1 ? lists[0] : Attribute();
  };
  Attribute ofTokens = list(div), ofSizes = list(sizes);
  if (!ofTokens || !ofSizes)
    return;
  Builder b(merge.getContext());
  SmallVector<Attribute> texts;
  for (unsigned i : {0u, 1u})
    texts.push_back(b.getStringAttr(getDim(merge.getX(), i).text));
  merge->setDiscardableAttr(
      onnx::names::kDims,
      b.getArrayAttr({ofTokens, ofSizes, b.getArrayAttr(texts)}));
}

/// Creates the merge that a quotient is the end of. False if it is none.
static bool raiseMerge(TokenContext &context, Operation *div) {
  Value sums = div->getOperand(0), sizes = div->getOperand(1);
  TokenRefusal refusal;
  MergeReader reader(refusal);
  auto fail = [&](Operation *at) {
    if (!refusal.why.empty())
      context.noteMissed(at, refusal);
    return false;
  };
  std::optional<Merged> tokens = reader.readMerged(sums);
  if (!tokens)
    return fail(div);
  std::optional<Merged> counts = reader.readMerged(sizes);
  if (!counts)
    return fail(div);
  Value size = counts->values, x;
  if (tokens->unmerged != counts->unmerged ||
      tokens->sources != counts->sources ||
      tokens->targets != counts->targets) {
    refusal = {"tokens and their sizes are merged by different numbers", div};
    return fail(div);
  }
  if (match::getRank(size) != 3 || getExtent(size, 2) != 1 ||
      !readWeighted(tokens->values, size, x)) {
    refusal = {"merged tokens are not weighted by their sizes", div};
    return fail(div);
  }
  std::optional<Matching> matching = reader.readMatching(*tokens);
  if (!matching)
    return fail(div);
  auto type = cast<RankedTensorType>(x.getType());
  int64_t all = type.getDimSize(1);
  int64_t most = ShapedType::isDynamic(all)
                     ? INT32_MAX
                     : (all + 1) / 2 - (matching->protect ? 1 : 0);
  if (match::getRank(x) != 3 || !isa<FloatType>(type.getElementType()) ||
      !sameExtent(matching->metric, 1, x, 1) ||
      !sameExtent(matching->metric, 0, x, 0) || matching->r > most ||
      (!ShapedType::isDynamic(all) && all < 2)) {
    refusal = {"merged tokens are not those whose similarity is computed", div};
    return fail(div);
  }
  RewriterBase &b = context.getRewriter();
  b.setInsertionPoint(div);
  auto assign =
      RankedTensorType::get({type.getDimSize(0), all}, b.getI32Type());
  auto merge = ir::TokenMergeOp::create(
      b, div->getLoc(), div->getResult(0).getType(), sizes.getType(), assign, x,
      size, matching->metric, matching->r, matching->protect);
  nameExtents(merge, div, match::strip(sizes).getDefiningOp());
  b.replaceOp(div, merge.getY());
  // What uses the sizes before the quotient keeps its own.
  b.replaceUsesWithIf(
      match::strip(sizes), merge.getMergedSize(), [&](OpOperand &use) {
        Operation *user =
            merge->getBlock()->findAncestorOpInBlock(*use.getOwner());
        return user && merge->isBeforeInBlock(user);
      });
  context.noteRaised();
  return true;
}

bool moe::isSimilarityOfHalves(Value scores) {
  scores = match::strip(scores);
  if (Operation *concat = match::getNode(scores, "onnx.Concat"))
    if (std::optional<SlicePart> part =
            SlicePart::read(concat->getOperands().back()))
      scores = part->of;
  Value even, turned;
  return match::matchBinary(scores, "onnx.MatMul", even, turned) &&
         getHalf(even, 0);
}

void moe::raiseMerges(TokenContext &context) {
  for (Operation *div : context.getNodes({"onnx.Div"}))
    raiseMerge(context, div);
  if (context.getNumRaised() != 0)
    context.eraseDead();
  for (Operation *argmax : context.getNodes({"onnx.ArgMax"}))
    if (isSimilarityOfHalves(argmax->getOperand(0)))
      context.noteMissed(argmax, {"even and odd tokens are matched, but no "
                                  "weighted mean of those that match follows",
                                  argmax});
}
