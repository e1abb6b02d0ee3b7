//===- RaiseSelections.cpp - tokens that a TopK chooses -------------------===//
//
// What takes tokens by numbers from a TopK becomes moe.token_drop, what puts
// tokens back by them moe.token_restore, and the numbers moe.token_keep. A
// matrix of numbers alone may as well be the experts of a router, so at least
// one of those that it is used for must take tokens of three dims.
//
//===----------------------------------------------------------------------===//

#include "lib/Analysis/Dims.h"
#include "passes/Raise/Match.h"
#include "passes/Raise/Nodes.h"
#include "passes/Raise/PoolNodes.h"
#include "passes/Raise/RaiseTokens.h"
#include "llvm/ADT/DenseMap.h"

using namespace mlir;
using namespace moe;

namespace {

/// All that one matrix of numbers is used for.
struct Selected {
  TokenSelection selection;
  SmallVector<std::pair<Operation *, TokenAccess>> gathers, scatters;
  bool hasTokens = false;
  Value idx; // i32, when raised
};

class SelectionRaiser {
public:
  explicit SelectionRaiser(TokenContext &context)
      : context(context), b(context.getRewriter()) {}

  void run();

private:
  void collect(Operation *op, std::optional<TokenAccess> access, bool puts);
  void raise(Value idx, Selected &selected);
  void createKeep(Value idx, Selected &selected);
  Value getScores(const TokenSelection &selection, Value tokens, Location loc);
  void raiseValues(Selected &selected);
  void raiseFused();
  void absorb(Operation *concat);
  void replaceRest();
  Value constant(ArrayRef<int64_t> numbers, Location loc);
  Value pad(Value scores, int64_t first, int64_t behind, Location loc);

  TokenContext &context;
  RewriterBase &b;
  llvm::MapVector<Value, Selected> all;
};

} // namespace

Value SelectionRaiser::constant(ArrayRef<int64_t> numbers, Location loc) {
  auto type = RankedTensorType::get({static_cast<int64_t>(numbers.size())},
                                    b.getI64Type());
  return NodeBuilder(b, loc).create(
      "onnx.Constant", {}, type,
      b.getNamedAttr("value", DenseElementsAttr::get(type, numbers)));
}

/// Whether a value is put together from parts of one token each.
static bool isStack(Value tokens) {
  Operation *concat = match::getNode(tokens, "onnx.Concat");
  return concat &&
         match::getAxis(concat, "axis", 0, match::getRank(tokens)) == 1 &&
         llvm::all_of(concat->getOperands(), [&](Value part) {
           return match::getRank(part) == match::getRank(tokens) &&
                  getExtent(part, 1) == 1;
         });
}

void SelectionRaiser::collect(Operation *op, std::optional<TokenAccess> access,
                              bool puts) {
  if (!access)
    return;
  auto found = all.find(access->idx);
  if (found == all.end()) {
    TokenRefusal refusal;
    std::optional<TokenSelection> selection =
        TokenSelection::read(access->idx, access->tokens, refusal);
    if (!selection) {
      if (!refusal.why.empty() && match::getRank(access->tokens) >= 3)
        context.noteMissed(op, refusal);
      return;
    }
    found = all.insert({access->idx, Selected{*selection, {}, {}, false, {}}})
                .first;
  }
  Selected &selected = found->second;
  // Half of a merge that was not recognised.
  Operation *max = match::getNode(selected.selection.scores, "onnx.ReduceMax");
  if (max && isSimilarityOfHalves(max->getOperand(0)))
    return;
  // The scores are of the tokens that are taken.
  const TokenSelection &selection = selected.selection;
  bool fits = sameExtent(selection.scores, 0, access->tokens, 0);
  if (selection.isWhole())
    fits &= sameExtent(selection.scores, 1, access->tokens, 1);
  else if (!selection.hasRange)
    fits &= getExtent(access->tokens, 1) ==
            selection.first + getExtent(selection.scores, 1) + selection.behind;
  if (!fits) {
    if (match::getRank(access->tokens) >= 3)
      context.noteMissed(
          op, {"tokens are taken by scores of other tokens", selection.topK});
    return;
  }
  // Rows that are one sequence repeated are experts that choose.
  Operation *repeat = match::getNode(access->tokens, "onnx.Expand");
  if (repeat && match::getRank(access->tokens) >= 3 &&
      match::getRank(repeat->getOperand(0)) >= 0 &&
      !sameExtents(repeat->getOperand(0), access->tokens))
    return;
  // A stack of what experts gave is no sequence.
  if (isStack(access->tokens))
    return;
  (puts ? selected.scatters : selected.gathers).push_back({op, *access});
  selected.hasTokens |= !puts && match::getRank(access->tokens) >= 3;
}

Value SelectionRaiser::pad(Value scores, int64_t first, int64_t behind,
                           Location loc) {
  auto type = cast<RankedTensorType>(scores.getType());
  auto padded = RankedTensorType::get(
      {type.getDimSize(0), type.getDimSize(1) + first + behind},
      type.getElementType());
  Value pads = constant({0, first, 0, behind}, loc);
  return NodeBuilder(b, loc).create("onnx.Pad", {scores, pads}, padded);
}

/// The scores of all tokens: what the part was taken from, or the part with
/// zeros around it, which nobody looks at.
Value SelectionRaiser::getScores(const TokenSelection &selection, Value tokens,
                                 Location loc) {
  Value scores = selection.scores;
  int64_t begin = 0;
  Value whole;
  if (std::optional<AttentionRow> row = AttentionRow::read(scores)) {
    auto attention = cast<RankedTensorType>(row->attention.getType());
    auto type = RankedTensorType::get(
        {attention.getDimSize(0), attention.getDimSize(3)},
        attention.getElementType());
    whole = ir::TokenScoreOp::create(
        b, loc, type, row->attention, b.getI64IntegerAttr(row->query),
        ir::HeadReduceAttr::get(b.getContext(), row->reduce));
    begin = row->begin;
    if (row->begin == 0 && row->end == INT64_MAX)
      scores = whole;
  } else if (std::optional<SlicePart> part = SlicePart::read(scores);
             part && part->axis == 1 && part->step == 1) {
    whole = part->of;
    begin = part->begin;
  }
  if (selection.isWhole())
    return scores;
  // `whole` must be as long as the sequence is.
  if (whole && begin == selection.first && sameExtent(whole, 0, tokens, 0) &&
      sameExtent(match::strip(whole), 1, tokens, 1))
    return whole;
  if (whole && begin == selection.first &&
      whole.getDefiningOp<ir::TokenScoreOp>())
    if (auto score = whole.getDefiningOp<ir::TokenScoreOp>();
        sameExtent(score.getAttention(), 3, tokens, 1))
      return whole;
  if (selection.hasRange)
    return {};
  return pad(scores, selection.first, selection.behind, loc);
}

void SelectionRaiser::createKeep(Value idx, Selected &selected) {
  const TokenSelection &selection = selected.selection;
  Operation *at = idx.getDefiningOp();
  b.setInsertionPointAfter(at);
  Value tokens;
  for (auto &[op, access] : selected.gathers)
    if (match::getRank(access.tokens) >= 3)
      tokens = access.tokens;
  Location loc = selection.topK->getLoc();
  Value scores = getScores(selection, tokens, loc);
  if (!scores) {
    context.noteMissed(selected.gathers.front().first,
                       {"scores are of a part of a sequence whose length is "
                        "not known",
                        selection.topK});
    return;
  }
  auto type = cast<RankedTensorType>(idx.getType());
  IntegerAttr count;
  if (selection.behind != 0 || selection.hasRange)
    count = b.getI64IntegerAttr(getExtent(selection.scores, 1));
  selected.idx = ir::TokenKeepOp::create(
      b, loc, RankedTensorType::get(type.getShape(), b.getI32Type()), scores,
      ir::KeepPolicyAttr::get(b.getContext(), ir::KeepPolicy::TopK),
      b.getI64IntegerAttr(selection.k), b.getI64IntegerAttr(selection.first),
      count, ir::KeepOrderAttr::get(b.getContext(), selection.order));
}

/// The scores of the tokens that stay, where a TopK's first result or what puts
/// it in the order of tokens is used.
void SelectionRaiser::raiseValues(Selected &selected) {
  const TokenSelection &selection = selected.selection;
  if (!selection.isWhole())
    return;
  Value scores = selected.idx.getDefiningOp<ir::TokenKeepOp>().getScores();
  SmallVector<Operation *> taken;
  Value values = selection.topK->getResult(0);
  if (selection.order == ir::KeepOrder::Score) {
    if (getExtent(values, 1) != selection.k || values.use_empty())
      return;
    b.setInsertionPointAfter(selected.idx.getDefiningOp());
    auto drop =
        ir::TokenDropOp::create(b, selection.topK->getLoc(), values.getType(),
                                scores, selected.idx, Value(), true);
    b.replaceAllUsesWith(values, drop.getY());
    return;
  }
  for (Operation *user : values.getUsers())
    if (user->getName().getStringRef() == "onnx.GatherElements" &&
        user->getOperand(0) == values)
      taken.push_back(user);
  for (Operation *gather : taken) {
    auto order =
        dyn_cast_or_null<OpResult>(match::strip(gather->getOperand(1)));
    if (!order || order.getResultNumber() != 1 ||
        match::getAxis(gather, "axis", 0, 2) != 1)
      continue;
    // The places that sorting the numbers took them from.
    Operation *sort = order.getOwner();
    if (sort->getName().getStringRef() != "onnx.TopK" ||
        match::getInt(sort, "largest", 1) != 0 ||
        match::strip(sort->getOperand(0)) != selection.topK->getResult(1) ||
        getExtent(order, 1) != selection.k)
      continue;
    b.setInsertionPoint(gather);
    auto drop = ir::TokenDropOp::create(b, gather->getLoc(),
                                        gather->getResult(0).getType(), scores,
                                        selected.idx, Value(), true);
    takeNames(gather, drop);
    b.replaceOp(gather, drop.getY());
  }
}

void SelectionRaiser::raise(Value idx, Selected &selected) {
  if (!selected.hasTokens)
    return;
  createKeep(idx, selected);
  if (!selected.idx)
    return;
  for (auto &[op, access] : selected.gathers) {
    b.setInsertionPoint(op);
    auto drop =
        ir::TokenDropOp::create(b, op->getLoc(), op->getResult(0).getType(),
                                access.tokens, selected.idx, Value(), true);
    takeNames(op, drop);
    b.replaceOp(op, drop.getY());
    context.noteRaised();
  }
  for (auto &[op, access] : selected.scatters) {
    StringRef reduction = match::getString(op, "reduction", "none");
    // Zeros that are put where tokens were taken: a mask of the others.
    if (match::getRank(access.tokens) < 3)
      continue;
    if (reduction != "none" && reduction != "add") {
      context.noteMissed(
          op, {("tokens are put back by reduction = " + reduction).str(), op});
      continue;
    }
    b.setInsertionPoint(op);
    auto fill = reduction == "add" ? ir::Fill::Add : ir::Fill::Base;
    auto restore = ir::TokenRestoreOp::create(
        b, op->getLoc(), op->getResult(0).getType(), op->getOperand(2),
        selected.idx, access.tokens, ir::FillAttr::get(b.getContext(), fill));
    takeNames(op, restore);
    b.replaceOp(op, restore.getY());
    context.noteRaised();
  }
  raiseValues(selected);
}

//===----------------------------------------------------------------------===//
// Fused tokens
//===----------------------------------------------------------------------===//

/// The weights [B, N] of a sum over tokens of `x` [B, N, D]: those of `w` where
/// a mask that is 0 at the tokens of `idx` is 1. Null if `sum` is no such sum.
static Value getFuseWeights(Value sum, Value x, Value idx) {
  Operation *reduce = match::getNode(sum, "onnx.ReduceSum");
  std::optional<SmallVector<int64_t>> axes;
  if (reduce)
    axes = match::getAxes(reduce);
  if (!axes || *axes != SmallVector<int64_t>{1} ||
      match::getInt(reduce, "keepdims", 1) == 0)
    return {};
  Value masked;
  bool isProduct = match::matchCommuted(
      reduce->getOperand(0), "onnx.Mul", [&](Value a, Value w) {
        if (!match::isSame(a, x) || match::getRank(w) != 3 ||
            getExtent(w, 2) != 1)
          return false;
        Operation *op = match::strip(w).getDefiningOp();
        StringRef name = match::getOperator(w);
        if (name != "Unsqueeze" && name != "Reshape")
          return false;
        masked = match::getInput(op, 0);
        return match::getRank(masked) == 2 && sameExtent(masked, 1, x, 1) &&
               sameExtent(masked, 0, x, 0);
      });
  if (!isProduct)
    return {};
  Value weights;
  bool isMasked =
      match::matchCommuted(masked, "onnx.Mul", [&](Value w, Value mask) {
        Operation *scatter = match::getNode(mask, "onnx.ScatterElements");
        if (!scatter || match::getAxis(scatter, "axis", 0, 2) != 1 ||
            match::getString(scatter, "reduction", "none") != "none" ||
            !match::isNumber(scatter->getOperand(0), 1) ||
            !match::isNumber(scatter->getOperand(2), 0) ||
            getRowNumbers(scatter->getOperand(1)) != idx ||
            !sameExtents(w, mask))
          return false;
        weights = w;
        return true;
      });
  return isMasked ? weights : Value();
}

/// The weights that a sum of tokens is divided by, summed over all tokens.
static bool dividesBySum(Value divisor, Value masked) {
  for (unsigned step = 0; step < 4; ++step) {
    StringRef name = match::getOperator(divisor);
    if (name != "Unsqueeze" && name != "Reshape")
      break;
    divisor = match::getInput(match::strip(divisor).getDefiningOp(), 0);
  }
  Operation *reduce = match::getNode(divisor, "onnx.ReduceSum");
  if (!reduce)
    return false;
  std::optional<SmallVector<int64_t>> axes = match::getAxes(reduce);
  return axes && *axes == SmallVector<int64_t>{1} &&
         match::isSame(reduce->getOperand(0), masked);
}

/// The product that getFuseWeights found, to compare the divisor with.
static Value getMaskedWeights(Value sum) {
  Operation *reduce = match::getNode(sum, "onnx.ReduceSum");
  Value masked;
  match::matchCommuted(reduce->getOperand(0), "onnx.Mul", [&](Value, Value w) {
    StringRef name = match::getOperator(w);
    if (getExtent(w, 2) != 1 || (name != "Unsqueeze" && name != "Reshape"))
      return false;
    masked = match::getInput(match::strip(w).getDefiningOp(), 0);
    return true;
  });
  return masked;
}

/// A token behind those that stay, made of those that do not.
void SelectionRaiser::raiseFused() {
  for (Operation *concat : context.getNodes({"onnx.Concat"})) {
    if (match::getRank(concat->getResult(0)) != 3 ||
        match::getAxis(concat, "axis", 0, 3) != 1)
      continue;
    for (unsigned i = 0; i + 1 < concat->getNumOperands(); ++i) {
      auto drop =
          match::strip(concat->getOperand(i)).getDefiningOp<ir::TokenDropOp>();
      if (!drop || drop.getWeights() || !drop->hasOneUse())
        continue;
      Value idx;
      for (auto &[numbers, selected] : all)
        if (selected.idx == drop.getIdx() && selected.selection.isWhole())
          idx = numbers;
      if (!idx)
        continue;
      Value fused = match::strip(concat->getOperand(i + 1)), sum = fused, total;
      bool divides = match::matchBinary(fused, "onnx.Div", sum, total);
      Value weights = getFuseWeights(sum, drop.getX(), idx);
      if (!weights || (divides && !dividesBySum(total, getMaskedWeights(sum))))
        continue;
      if (match::getElementType(weights) != match::getElementType(drop.getX()))
        continue;
      // The scores are what tokens are chosen by as a rule.
      auto keep = drop.getIdx().getDefiningOp<ir::TokenKeepOp>();
      for (auto &[numbers, selected] : all)
        if (selected.idx == drop.getIdx() &&
            match::isSame(weights, selected.selection.scores))
          weights = keep.getScores();
      auto old = cast<RankedTensorType>(drop.getY().getType());
      SmallVector<int64_t> shape(old.getShape());
      if (!ShapedType::isDynamic(shape[1]))
        ++shape[1];
      b.setInsertionPoint(concat);
      auto both = ir::TokenDropOp::create(
          b, drop.getLoc(), RankedTensorType::get(shape, old.getElementType()),
          drop.getX(), drop.getIdx(), weights, divides);
      SmallVector<Value> parts(concat->getOperands());
      parts[i] = both.getY();
      parts.erase(parts.begin() + i + 1);
      b.modifyOpInPlace(concat, [&] { concat->setOperands(parts); });
      context.noteRaised();
      break;
    }
  }
}

//===----------------------------------------------------------------------===//
// Tokens around the part that is chosen from
//===----------------------------------------------------------------------===//

/// Concat(x[:, :a], drop(x[:, a:b]), x[:, b:]) is one drop that keeps what is
/// in front and behind.
void SelectionRaiser::absorb(Operation *concat) {
  int64_t rank = match::getRank(concat->getResult(0));
  if (rank < 3 || match::getAxis(concat, "axis", 0, rank) != 1)
    return;
  int64_t parts = concat->getNumOperands(), at = -1;
  ir::TokenDropOp drop;
  for (auto [i, operand] : llvm::enumerate(concat->getOperands()))
    if (auto found = match::strip(operand).getDefiningOp<ir::TokenDropOp>()) {
      drop = found;
      at = i;
      break;
    }
  if (!drop || !drop->hasOneUse() || at > 1 || parts > at + 2 || parts == 1)
    return;
  auto keep = drop.getIdx().getDefiningOp<ir::TokenKeepOp>();
  std::optional<SlicePart> part = SlicePart::read(drop.getX());
  if (!keep || !part || part->axis != 1 || part->step != 1 ||
      keep.getFirst() != 0 || keep.getCount() || !keep->hasOneUse())
    return;
  int64_t extent = getExtent(part->of, 1);
  bool hasTail = parts == at + 2;
  // A fused token stands behind the chosen ones, not behind the tail.
  if (ShapedType::isDynamic(extent) || (hasTail && drop.getWeights()) ||
      hasTail == part->reachesEnd() || (at == 0) != (part->begin == 0))
    return;
  auto isPart = [&](Value value, int64_t begin, int64_t end) {
    std::optional<SlicePart> other = SlicePart::read(value);
    return other && other->of == part->of && other->axis == 1 &&
           other->step == 1 && other->begin == begin && other->end == end;
  };
  if (at == 1 && !isPart(concat->getOperand(0), 0, part->begin))
    return;
  if (hasTail && !isPart(concat->getOperand(at + 1), part->end, INT64_MAX))
    return;

  int64_t first = part->begin;
  int64_t end = part->reachesEnd() ? extent : part->end;
  Location loc = keep.getLoc();
  b.setInsertionPoint(keep);
  auto grow = [&](Value scores) -> Value {
    std::optional<SlicePart> of = SlicePart::read(scores);
    if (of && of->axis == 1 && of->step == 1 && of->begin == first &&
        getExtent(of->of, 1) == extent)
      return of->of;
    // Of a row of attention the rest is there as well.
    if (std::optional<AttentionRow> row = AttentionRow::read(scores);
        row && row->begin == first && getExtent(row->attention, 3) == extent) {
      auto attention = cast<RankedTensorType>(row->attention.getType());
      return ir::TokenScoreOp::create(
          b, loc,
          RankedTensorType::get({attention.getDimSize(0), extent},
                                attention.getElementType()),
          row->attention, b.getI64IntegerAttr(row->query),
          ir::HeadReduceAttr::get(b.getContext(), row->reduce));
    }
    return pad(scores, first, extent - end, loc);
  };
  if (ShapedType::isDynamic(getExtent(keep.getScores(), 1)))
    return;
  Value scores = grow(keep.getScores());
  Value weights = drop.getWeights();
  if (weights)
    weights = weights == keep.getScores() ? scores : grow(weights);
  auto idxType = cast<RankedTensorType>(keep.getIdx().getType());
  int64_t kept = first + static_cast<int64_t>(keep.getK()) + (extent - end);
  IntegerAttr count;
  if (end != extent)
    count = b.getI64IntegerAttr(end - first);
  auto wider = ir::TokenKeepOp::create(
      b, loc,
      RankedTensorType::get({idxType.getDimSize(0), kept}, b.getI32Type()),
      scores, keep.getPolicyAttr(), keep.getKAttr(), b.getI64IntegerAttr(first),
      count, keep.getOrderAttr());
  b.setInsertionPoint(concat);
  auto whole = ir::TokenDropOp::create(
      b, drop.getLoc(), concat->getResult(0).getType(), part->of,
      wider.getIdx(), weights, drop.getNormalize());
  takeNames(concat, whole);
  b.replaceOp(concat, whole.getY());
}

/// Numbers that are used for something else keep their type through a cast.
void SelectionRaiser::replaceRest() {
  for (auto &[numbers, selected] : all) {
    if (!selected.idx || numbers.use_empty())
      continue;
    auto keep = selected.idx.getDefiningOp();
    b.setInsertionPointAfter(keep);
    Value cast = NodeBuilder(b, keep->getLoc())
                     .create("onnx.Cast", selected.idx, numbers.getType(),
                             b.getNamedAttr("to", b.getI64IntegerAttr(7)));
    b.replaceAllUsesWith(numbers, cast);
  }
}

void SelectionRaiser::run() {
  for (Operation *op : context.getNodes(
           {"onnx.GatherElements", "onnx.GatherND", "onnx.Reshape"}))
    collect(op, TokenAccess::readGather(op), /*puts=*/false);
  for (Operation *op :
       context.getNodes({"onnx.ScatterElements", "onnx.ScatterND"}))
    collect(op, TokenAccess::readScatter(op), /*puts=*/true);
  for (auto &[idx, selected] : all)
    raise(idx, selected);
  if (context.getNumRaised() == 0)
    return;
  raiseFused();
  // What only dead nodes use goes with them.
  replaceRest();
  all.clear();
  context.eraseDead();
  for (Operation *concat : context.getNodes({"onnx.Concat"}))
    absorb(concat);
}

void moe::raiseSelections(TokenContext &context) {
  SelectionRaiser(context).run();
}
