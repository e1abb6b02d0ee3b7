//===- ExpertsLoops.cpp - unrolled loops over experts ---------------------===//
//
// Forms in which a loop over experts was unrolled when the model was exported:
//
//   y = zeros
//   for each expert e:
//     pair = NonZero(OneHot(ids)[e])
//     rows = Gather(x, pair[token])
//     y    = ScatterND(y, pair[token], ffn_e(rows) * weights[pair], add)
//
// either over all experts or over the list of those that the example input hit
// when the model was exported. Such a list is a Split into that many parts, so
// the graph runs only on inputs that hit as many; on those the sum over the
// list is the sum over all experts, which `moe.experts` computes for every
// input.
//
//===----------------------------------------------------------------------===//

#include "dialects/ONNX/ONNXDialect.h"
#include "lib/Analysis/Dims.h"
#include "passes/Raise/Banks.h"
#include "passes/Raise/Match.h"
#include "passes/Raise/Products.h"
#include "passes/Raise/RaiseExperts.h"
#include "passes/Raise/SlotValues.h"
#include "llvm/ADT/BitVector.h"
#include "llvm/ADT/DenseSet.h"

using namespace mlir;
using namespace moe;

namespace {

/// One expert's rows on their way into the result.
struct Contribution {
  /// The node whose result holds the sum so far.
  Operation *op = nullptr;
  /// The operand with the sum before it.
  unsigned inOperand = 0;
  Value out;
  const ExpertPairs *pairs = nullptr;
  /// The number of the row of the result that a pair goes to.
  LinearForm target;
  Value updates;
  /// Rows replace what was there.
  bool overwrites = false;
  /// The node that reads the rows that are replaced, to add to them.
  Operation *reader = nullptr;

  Value getIn() const { return op->getOperand(inOperand); }
};

/// The parts of an expert, as matched.
struct ExpertPart {
  FeedForward ffn;
  bool usesBanks = false;
  /// The expert gives its rows back as they are.
  bool copies = false;
  Value tokens;
  /// Weights of slots; null if they would have to be something else.
  Value weights;
  /// Weights of all experts for each token, of which the expert's own are used.
  Value table;
  bool isWeighted = false;
  int64_t numSlots = 0;
  bool scalesInput = false;
};

/// One run over a function.
class LoopRaiser {
public:
  LoopRaiser(func::FuncOp func, RaiseContext &context)
      : func(func), context(context), dims(context.getDims()),
        matcher(context.getDims()) {}

  void run();

private:
  using Chain = SmallVector<const Contribution *>;

  void collect(Operation *op);
  std::optional<Contribution> matchScatter(Operation *op);
  Value matchAddedTo(const Contribution &part, Value data, Operation *&reader);
  Chain getChain(const Contribution &last);
  bool raise(const Chain &chain, Refusal &refusal);

  struct Range {
    int64_t limit = 0;
    /// Whether no id is outside of it (or was an error).
    bool inRange = false;
    /// Ids behind the limit that pick nothing; 0: there are none.
    int64_t logical = 0;
  };

  bool checkSums(const Chain &chain, Refusal &refusal);
  bool checkExperts(const Chain &chain, Refusal &refusal);
  std::optional<std::vector<ExpertPart>> matchParts(const Chain &chain,
                                                    Refusal &refusal);
  std::optional<ExpertPart> matchPart(const Contribution &part,
                                      Refusal &refusal);
  bool matchNetwork(const Contribution &part, Value result,
                    llvm::function_ref<Value(Value)> takeWeight,
                    ExpertPart &made, PickedRows &rows, Refusal &refusal);
  std::optional<PickedRows> matchWeight(Value value);
  /// The number of elements of a value but for its last `behind` axes.
  DimExpr getSize(Value value, int64_t behind) {
    return matcher.getProduct(value, 0, match::getRank(value) - behind);
  }
  bool mergeBanks(ArrayRef<ExpertPart> parts, ExpertLayer &layer,
                  Refusal &refusal);
  bool checkListIsComplete(const Chain &chain, int64_t needed,
                           Refusal &refusal);
  std::optional<Range> getRange(const Chain &chain, const ExpertLayer &layer,
                                bool usesBanks, Refusal &refusal);
  Value addCopies(Value result, int64_t first, int64_t count);
  Value addStart(const Chain &chain, Value ids, SlotBuilder &builder);
  void reportUnused();

  func::FuncOp func;
  RaiseContext &context;
  DimContext &dims;
  PairMatcher matcher;
  std::vector<Contribution> contributions;
  DenseMap<Value, unsigned> byResult;
  DenseSet<Value> consumed;
  /// Searches whose rows were looked at.
  DenseSet<Operation *> seen;
};

} // namespace

//===----------------------------------------------------------------------===//
// Sums
//===----------------------------------------------------------------------===//

/// Rows [n, features] of which a value has the elements one after the other. As
/// many are written as there are places, so what cuts or expands them on the
/// way changes nothing.
static Value stripFlattening(Value value) {
  while (true) {
    value = match::strip(value);
    Operation *op = value.getDefiningOp();
    StringRef name = op ? op->getName().getStringRef() : StringRef();
    int64_t rank = match::getRank(value);
    if (name == "onnx.Slice" && rank == 1) {
      Value steps = onnx::getFormalOperand(op, 4);
      if (!match::isNumber(onnx::getFormalOperand(op, 1), 0) ||
          (steps && !match::isNumber(steps, 1)))
        return value;
    } else if (name == "onnx.Expand" && rank == 2) {
      auto from = dyn_cast<RankedTensorType>(op->getOperand(0).getType());
      if (!from || from.getRank() != 2 || from.isDynamicDim(1) ||
          from.getDimSize(1) !=
              cast<RankedTensorType>(value.getType()).getDimSize(1))
        return value;
    } else if (name != "onnx.Reshape" || rank != 1) {
      return value;
    }
    value = op->getOperand(0);
  }
}

/// A node that adds rows to (or puts them into) a tensor by their numbers.
std::optional<Contribution> LoopRaiser::matchScatter(Operation *op) {
  StringRef name = op->getName().getStringRef();
  if (name != "onnx.ScatterND" && name != "onnx.ScatterElements")
    return std::nullopt;
  StringRef reduction = match::getString(op, "reduction", "none");
  if (reduction != "none" && reduction != "add")
    return std::nullopt;
  Value data = op->getOperand(0), indices = op->getOperand(1);
  Contribution made;
  made.op = op;
  made.out = op->getResult(0);
  made.updates = op->getOperand(2);
  made.overwrites = reduction == "none";
  std::optional<PickedRows> target;
  if (name == "onnx.ScatterND") {
    target = matcher.matchIndexed(data, indices, data);
    std::optional<LinearForm> masked;
    if ((!target || target->numFeatureAxes == 0) && made.overwrites)
      masked = matcher.matchMaskedRows(data, indices);
    if (masked) {
      target = PickedRows{data, *masked, 1};
      made.updates = stripFlattening(made.updates);
    }
  } else {
    // The number of the row, repeated along its features.
    View view = View::of(indices, dims);
    if (view.getRank() != 2 || match::getRank(data) != 2 ||
        match::getAxis(op, "axis", 0, 2) != 0 || !view.isRepeated(1) ||
        view.isRepeated(0) || !sameExtent(made.updates, 1, data, 1))
      return std::nullopt;
    target = matcher.matchIndexedAxis(data, 0, view.getBase(), data);
  }
  if (!target || target->numFeatureAxes != 1)
    return std::nullopt;
  made.target = target->form;
  made.pairs = matcher.getPairs(target->form.nonZero);
  if (!made.pairs)
    return std::nullopt;
  if (made.overwrites)
    if (Value added = matchAddedTo(made, data, made.reader)) {
      made.updates = added;
      made.overwrites = false;
    }
  return made;
}

/// v of data[rows] + v, where the rows are those that the sum is written to.
Value LoopRaiser::matchAddedTo(const Contribution &part, Value data,
                               Operation *&reader) {
  Value a, b;
  if (!match::matchBinary(part.updates, "onnx.Add", a, b))
    return {};
  for (auto [read, added] : {std::pair(a, b), std::pair(b, a)}) {
    Operation *op = read.getDefiningOp();
    StringRef name = op ? op->getName().getStringRef() : StringRef();
    if ((name != "onnx.Gather" && name != "onnx.GatherND") ||
        !match::isSame(op->getOperand(0), data))
      continue;
    Value from = op->getOperand(0), indices = op->getOperand(1);
    std::optional<PickedRows> picked;
    if (name == "onnx.GatherND") {
      if (match::getInt(op, "batch_dims", 0) == 0)
        picked = matcher.matchIndexed(from, indices, from);
    } else if (match::getRank(indices) == 1 && match::getRank(from) == 2 &&
               match::getAxis(op, "axis", 0, 2) == 0) {
      picked = matcher.matchIndexedAxis(from, 0, indices, from);
    }
    if (!picked || picked->form.nonZero != part.target.nonZero ||
        picked->form.coefficients != part.target.coefficients ||
        !read.hasOneUse())
      continue;
    reader = op;
    return added;
  }
  return {};
}

/// Whether a node puts rows into zeros.
static bool startsAtZero(Operation *op) {
  if (!op)
    return false;
  StringRef name = op->getName().getStringRef();
  return (name == "onnx.ScatterND" || name == "onnx.ScatterElements") &&
         match::isNumber(op->getOperand(0), 0);
}

/// Whether a node gives a copy of its first operand.
static bool isCopy(Operation *op) {
  return op->getNumResults() == 1 && op->getNumOperands() > 0 &&
         match::isSame(op->getResult(0), op->getOperand(0));
}

void LoopRaiser::collect(Operation *op) {
  std::optional<Contribution> made = matchScatter(op);
  if (!made)
    return;
  // Into zeros, then added: a token comes once for each expert, so it makes no
  // difference whether a scatter adds.
  Value sum = made->out;
  while (startsAtZero(op) && sum.hasOneUse()) {
    OpOperand &use = *sum.use_begin();
    Operation *user = use.getOwner();
    if (use.getOperandNumber() == 0 && isCopy(user)) {
      sum = user->getResult(0);
      continue;
    }
    unsigned other = 1 - use.getOperandNumber();
    if (user->getName().getStringRef() == "onnx.Add" &&
        sameExtents(user->getOperand(0), user->getOperand(1)) &&
        (other == 0 ||
         !startsAtZero(match::strip(user->getOperand(1)).getDefiningOp()))) {
      made->inOperand = other;
      made->op = user;
      made->out = user->getResult(0);
      made->overwrites = false;
    }
    break;
  }
  byResult[made->out] = contributions.size();
  contributions.push_back(std::move(*made));
}

/// All contributions that end in `last`, the first first.
LoopRaiser::Chain LoopRaiser::getChain(const Contribution &last) {
  Chain chain{&last};
  while (true) {
    auto it = byResult.find(match::strip(chain.back()->getIn()));
    if (it == byResult.end())
      break;
    const Contribution &next = contributions[it->second];
    if (!(next.pairs->choice == last.pairs->choice))
      break;
    chain.push_back(&next);
  }
  std::reverse(chain.begin(), chain.end());
  return chain;
}

/// The use of a sum that neither asks for its shape nor leads to `next`, in
/// copies of it either; null if there is none.
static Operation *findOtherUse(Value sum, const Contribution *next) {
  for (Operation *user : sum.getUsers()) {
    StringRef name = user->getName().getStringRef();
    if (name == "onnx.Shape" ||
        (next && (user == next->op || user == next->reader)))
      continue;
    if (name != "onnx.Slice" && !isCopy(user))
      return user;
    // Of a slice only the shape may be of interest.
    bool isSlice = name == "onnx.Slice" && !isCopy(user);
    if (Operation *other =
            findOtherUse(user->getResult(0), isSlice ? nullptr : next))
      return other;
  }
  return nullptr;
}

bool LoopRaiser::checkSums(const Chain &chain, Refusal &refusal) {
  for (size_t i = 0; i < chain.size(); ++i) {
    if (chain[i]->overwrites != chain[0]->overwrites) {
      refusal.say(chain[i]->op, "some experts are added, others replace rows");
      return false;
    }
    if (i + 1 == chain.size())
      break;
    if (Operation *other = findOtherUse(chain[i]->out, chain[i + 1])) {
      refusal.say(other, "a sum over some of the experts is used elsewhere");
      return false;
    }
  }
  return true;
}

//===----------------------------------------------------------------------===//
// Experts
//===----------------------------------------------------------------------===//

/// Each expert once: 0, 1, ... or the parts of one list.
bool LoopRaiser::checkExperts(const Chain &chain, Refusal &refusal) {
  const ExpertPairs &first = *chain.front()->pairs;
  int64_t count = chain.size();
  BitVector present(count);
  for (const Contribution *part : chain) {
    const ExpertPairs &pairs = *part->pairs;
    if (pairs.hits != first.hits) {
      refusal.say(part->op, "experts come from different lists");
      return false;
    }
    if (pairs.depth != first.depth || pairs.wraps != first.wraps) {
      refusal.say(part->op, "the masks of experts differ");
      return false;
    }
    int64_t number = pairs.hits ? pairs.hit : pairs.expert;
    if (number >= count) {
      refusal.say(part->op, "there are nodes for " + Twine(count) +
                                " experts, of which one has the number " +
                                Twine(number));
      return false;
    }
    if (present.test(number)) {
      refusal.say(part->op, "expert " + Twine(number) + " comes twice");
      return false;
    }
    present.set(number);
  }
  if (first.hits && first.numHits != count) {
    refusal.say(first.hits, "the list of experts has " + Twine(first.numHits) +
                                " entries, of which " + Twine(count) +
                                " are run");
    return false;
  }
  return true;
}

std::optional<PickedRows> LoopRaiser::matchWeight(Value value) {
  auto type = dyn_cast<RankedTensorType>(value.getType());
  if (!type || type.getRank() != 2 || type.getDimSize(1) != 1)
    return std::nullopt;
  std::optional<PickedRows> picked = matcher.matchPicked(value);
  if (!picked || picked->numFeatureAxes != 0)
    return std::nullopt;
  return picked;
}

/// A value before it was cast to another type of floats.
static Value stripFloatCasts(Value value) {
  while (true) {
    value = match::strip(value);
    Operation *op = match::getNode(value, "onnx.Cast");
    if (!op ||
        !isa_and_nonnull<FloatType>(match::getElementType(op->getOperand(0))) ||
        !isa_and_nonnull<FloatType>(match::getElementType(value)))
      return value;
    value = op->getOperand(0);
  }
}

/// Whether the slots that a search does not tell apart are of different
/// experts.
static bool hasDistinctIds(const ExpertPairs &pairs) {
  Value ids = pairs.choice.ids;
  if (pairs.reduced != AxisList{match::getRank(ids) - 1})
    return false;
  // Other types and other axes of tokens.
  auto lastExtent = [](Value value) {
    auto type = cast<RankedTensorType>(value.getType());
    return type.getRank() ? type.getShape().back() : ShapedType::kDynamic;
  };
  while (Operation *op = ids.getDefiningOp()) {
    StringRef name = op->getName().getStringRef();
    if (isa<ir::RouteOp>(op))
      return true;
    if (name == "onnx.TopK") {
      int64_t rank = match::getRank(ids);
      return match::getAxis(op, "axis", -1, rank) == rank - 1;
    }
    if ((name != "onnx.Cast" && name != "onnx.Reshape") ||
        match::getRank(op->getOperand(0)) < 1 ||
        ShapedType::isDynamic(lastExtent(ids)) ||
        lastExtent(ids) != lastExtent(op->getOperand(0)))
      return false;
    ids = op->getOperand(0);
  }
  return false;
}

/// The products of an expert and the rows that they read.
bool LoopRaiser::matchNetwork(const Contribution &part, Value result,
                              llvm::function_ref<Value(Value)> takeWeight,
                              ExpertPart &made, PickedRows &rows,
                              Refusal &refusal) {
  const ExpertPairs &pairs = *part.pairs;
  bool anyBank = false, anyConstant = false;
  auto match = [&](Value value) {
    bool isBank = false;
    std::optional<Projection> product = matchExpertProduct(
        value, [&](Value index) { return matcher.isExpertOf(index, pairs); },
        isBank);
    if (product)
      (isBank ? anyBank : anyConstant) = true;
    return product;
  };
  std::optional<FeedForward> ffn = matchFeedForward(result, match, refusal);
  if (!ffn)
    return false;
  if (anyBank && anyConstant) {
    refusal.say(part.op, "some weights of the expert are slices of banks, "
                         "others are not");
    return false;
  }
  made.usesBanks = anyBank;
  for (const Projection &first : ffn->first) {
    Value value = match::strip(first.rows);
    if (match::isSame(value, ffn->first.front().rows) && made.tokens)
      continue;
    if (!made.isWeighted && !made.tokens) {
      Value unscaled = takeWeight(value);
      made.scalesInput = unscaled != value;
      value = unscaled;
    }
    std::optional<PickedRows> picked = matcher.matchPicked(value);
    if (!picked || picked->numFeatureAxes != 1) {
      refusal.say(first.result.getDefiningOp(),
                  "the rows of the expert are not picked from tokens by where "
                  "its slots are");
      return false;
    }
    if (made.tokens && (made.tokens != picked->base ||
                        rows.form.coefficients != picked->form.coefficients)) {
      refusal.say(first.result.getDefiningOp(),
                  "the products of the expert read different rows");
      return false;
    }
    made.tokens = picked->base;
    rows = *picked;
  }
  made.ffn = std::move(*ffn);
  return true;
}

std::optional<ExpertPart> LoopRaiser::matchPart(const Contribution &part,
                                                Refusal &refusal) {
  ExpertPart made;
  const ExpertPairs &pairs = *part.pairs;
  LinearForm weightForm;
  auto takeWeight = [&](Value scaled) {
    Value a, b;
    if (!match::matchBinary(scaled, "onnx.Mul", a, b))
      return scaled;
    for (auto [factor, rest] : {std::pair(b, a), std::pair(a, b)})
      if (std::optional<PickedRows> weight =
              matchWeight(stripFloatCasts(factor))) {
        made.isWeighted = true;
        made.weights = weight->base;
        made.table = matcher.matchColumnOf(weight->base, pairs);
        weightForm = weight->form;
        return stripFloatCasts(rest);
      }
    return scaled;
  };
  Value result = takeWeight(stripFloatCasts(part.updates));

  PickedRows rows;
  std::optional<PickedRows> copied = matcher.matchPicked(result);
  if (copied && copied->numFeatureAxes == 1) {
    made.copies = true;
    made.tokens = copied->base;
    rows = *copied;
  } else if (!matchNetwork(part, result, takeWeight, made, rows, refusal)) {
    return std::nullopt;
  }
  SlotForms forms(dims, pairs, rows.form);
  if (!forms.isValid())
    return refusal.say(part.op, "tokens and slots do not follow one another "
                                "in the ids of experts");
  if (!forms.isToken(rows.form))
    return refusal.say(part.op,
                       "the rows of the expert are not those of its tokens");
  if (!forms.isToken(part.target))
    return refusal.say(part.op, "rows do not go to the token that they came "
                                "from");
  DimExpr tokens = forms.getNumTokens();
  if (!pairs.reduced.empty() || !forms.isSlot(weightForm) ||
      (made.weights &&
       getSize(made.weights, 0) != tokens * forms.getNumSlots()))
    made.weights = Value();
  if (!forms.isToken(weightForm) ||
      (made.table && getSize(made.table, 1) != tokens))
    made.table = Value();
  if (made.isWeighted && !made.weights && !made.table)
    return refusal.say(part.op, "the weight of a row is not that of its slot");
  if (!pairs.reduced.empty() && !hasDistinctIds(pairs))
    return refusal.say(part.op, "a token may have an expert in several slots, "
                                "of which one counts");
  if (!forms.getNumSlots().isConstant())
    return refusal.say(part.op, "the number of slots is not constant");
  made.numSlots = forms.getNumSlots().getConstant();
  // Nothing may be behind the last token.
  if (getSize(made.tokens, 1) != tokens)
    return refusal.say(part.op, "there are more tokens than ids of experts");
  if (getSize(part.out, 1) != tokens)
    return refusal.say(part.op, "the sum has other rows than tokens");
  return made;
}

/// One feed-forward network with the banks of all experts.
bool LoopRaiser::mergeBanks(ArrayRef<ExpertPart> parts, ExpertLayer &layer,
                            Refusal &refusal) {
  const FeedForward &first = parts.front().ffn;
  auto isSame = [](const Projection &a, const Projection &b) {
    return a.weights == b.weights && a.bias == b.bias && a.layout == b.layout;
  };
  for (const ExpertPart &part : parts.drop_front()) {
    if (part.copies) {
      refusal.say(first.second.result.getDefiningOp(),
                  "experts with banks and experts that copy");
      return false;
    }
    bool same = part.ffn.activation == first.activation &&
                part.ffn.form == first.form &&
                part.ffn.first.size() == first.first.size() &&
                isSame(part.ffn.second, first.second);
    for (size_t i = 0; same && i < first.first.size(); ++i)
      same = isSame(part.ffn.first[i], first.first[i]);
    if (!same) {
      refusal.say(part.ffn.second.result.getDefiningOp(),
                  "experts differ in activation or banks");
      return false;
    }
  }
  for (const Projection *projection :
       {&first.second, &first.first.front(), &first.first.back()})
    if (!isConstantValue(projection->weights) ||
        (projection->bias && !isConstantValue(projection->bias))) {
      refusal.say(projection->result.getDefiningOp(),
                  "the weights of experts are not constant");
      return false;
    }
  layer.experts.push_back(first);
  return true;
}

/// A list of hit experts whose weights are constants holds the weights of all
/// experts, or the model can not be right.
bool LoopRaiser::checkListIsComplete(const Chain &chain, int64_t needed,
                                     Refusal &refusal) {
  int64_t count = chain.size();
  if (count >= needed)
    return true;
  Operation *op = chain.front()->pairs->hits;
  context.noteError(
      op, "the model holds " + Twine(count) + " of the " + Twine(needed) +
              " experts of this layer, those that the example input hit when "
              "it was exported, and would run them for others; export it "
              "again with an implementation of experts that keeps all "
              "(batched_mm, grouped_mm, or dynamo=True), or with an example "
              "input that hits every expert");
  refusal.say(op, "weights of experts are missing");
  return false;
}

//===----------------------------------------------------------------------===//
// Raising
//===----------------------------------------------------------------------===//

/// The parts of a chain by the number of their expert.
std::optional<std::vector<ExpertPart>>
LoopRaiser::matchParts(const Chain &chain, Refusal &refusal) {
  std::vector<ExpertPart> parts(chain.size());
  for (const Contribution *contribution : chain) {
    std::optional<ExpertPart> part = matchPart(*contribution, refusal);
    if (!part)
      return std::nullopt;
    const ExpertPairs &pairs = *contribution->pairs;
    parts[pairs.hits ? pairs.hit : pairs.expert] = std::move(*part);
  }
  const ExpertPart &model = parts.front();
  for (auto [number, part] : llvm::enumerate(parts)) {
    if (part.tokens != model.tokens || part.numSlots != model.numSlots ||
        part.isWeighted != model.isWeighted)
      return refusal.say(chain[number]->op, "experts differ in what they read");
    if (part.copies)
      continue;
    // Experts that give back what they get are the last ones.
    if (number > 0 && parts[number - 1].copies)
      return refusal.say(chain[number]->op,
                         "an expert without products comes before one with");
    if (part.usesBanks != model.usesBanks ||
        part.scalesInput != model.scalesInput)
      return refusal.say(chain[number]->op, "experts differ in what they read");
  }
  if (model.copies)
    return refusal.say(chain.front()->op, "no expert has a product");
  // The column of a table, or one vector: which it is shows over all experts.
  bool sameWeights = model.weights && llvm::all_of(parts, [&](auto &part) {
                       return part.weights == model.weights;
                     });
  bool sameTable = model.table && llvm::all_of(parts, [&](auto &part) {
                     return part.table == model.table;
                   });
  if (model.isWeighted && !sameWeights && !sameTable)
    return refusal.say(chain.front()->op,
                       "experts take their weights from different values");
  if (!sameWeights)
    parts.front().weights = Value();
  return parts;
}

/// Which ids are experts of the layer: 0 .. limit-1.
std::optional<LoopRaiser::Range> LoopRaiser::getRange(const Chain &chain,
                                                      const ExpertLayer &layer,
                                                      bool usesBanks,
                                                      Refusal &refusal) {
  const ExpertPairs &pairs = *chain.front()->pairs;
  std::optional<int64_t> bound = getIdBound(pairs.choice.ids);
  // Ids from here on pick nothing.
  std::optional<int64_t> needed = bound;
  if (pairs.depth > 0)
    needed = std::min(bound.value_or(pairs.depth), pairs.depth);
  Range range;
  range.limit = chain.size();
  if (!usesBanks && static_cast<int64_t>(layer.experts.size()) < range.limit)
    range.logical = range.limit;
  if (usesBanks && pairs.hits) {
    auto bank =
        cast<RankedTensorType>(layer.experts.front().second.weights.getType());
    // An id behind the bank's end was an error and stays one.
    range.limit = std::min(bank.getDimSize(0), pairs.depth);
    range.inRange = bound && *bound <= pairs.depth;
    return range;
  }
  if (pairs.hits && !checkListIsComplete(chain, *needed, refusal))
    return std::nullopt;
  range.inRange = bound && *bound <= range.limit;
  if (!pairs.hits && bound && *bound > range.limit && !usesBanks) {
    // Experts that compute no product have nodes elsewhere, or give 0.
    range.logical = *bound;
    range.inRange = true;
  }
  return range;
}

/// Whether a table [.., E] has a column for each id.
static bool isTableOf(Value table, const ExpertPairs &pairs) {
  int64_t width = cast<RankedTensorType>(table.getType()).getShape().back();
  std::optional<int64_t> bound = getIdBound(pairs.choice.ids);
  return bound && !ShapedType::isDynamic(width) && *bound <= width;
}

bool LoopRaiser::raise(const Chain &chain, Refusal &refusal) {
  const Contribution &first = *chain.front(), &last = *chain.back();
  const ExpertPairs &pairs = *first.pairs;
  if (!checkSums(chain, refusal) || !checkExperts(chain, refusal))
    return false;
  std::optional<std::vector<ExpertPart>> parts = matchParts(chain, refusal);
  if (!parts)
    return false;
  const ExpertPart &model = parts->front();
  ExpertLayer layer;
  layer.tokens = model.tokens;
  layer.scaleAt = model.scalesInput ? ir::ScaleAt::Input : ir::ScaleAt::Output;
  bool usesBanks = model.usesBanks;
  int64_t slots = model.numSlots;
  Value weights = model.weights;
  Value table = model.weights ? Value() : model.table;
  int64_t numCopies = llvm::count_if(
      *parts, [](const ExpertPart &part) { return part.copies; });
  if (usesBanks) {
    if (!mergeBanks(*parts, layer, refusal))
      return false;
  } else {
    for (ExpertPart &part : *parts)
      if (!part.copies)
        layer.experts.push_back(std::move(part.ffn));
  }
  std::optional<Range> range = getRange(chain, layer, usesBanks, refusal);
  if (!range)
    return false;
  bool replaces = first.overwrites;
  if (table && (!range->inRange || !isTableOf(table, pairs))) {
    refusal.say(pairs.nonZero, "ids of experts are not known to be in the "
                               "range of weights");
    return false;
  }
  if (replaces && range->logical > static_cast<int64_t>(chain.size())) {
    // A single expert may be anything; several are a layer.
    if (chain.size() > 1)
      context.noteError(
          first.op, "the model holds " + Twine(chain.size()) + " of the " +
                        Twine(range->logical) +
                        " experts of this layer, those that the example input "
                        "hit when it was exported; export it again with an "
                        "example input that hits every expert");
    refusal.say(first.op, "weights of experts are missing");
    return false;
  }
  if (pairs.choice.keep && !range->inRange) {
    refusal.say(pairs.nonZero, "ids of experts are not known to be in range, "
                               "and some slots are not kept");
    return false;
  }
  bool fromZero = match::isNumber(first.getIn(), 0);
  if (replaces && slots != 1) {
    refusal.say(first.op, "rows are replaced, but a token has several slots");
    return false;
  }

  RewriterBase &rewriter = context.getRewriter();
  rewriter.setInsertionPoint(last.op);
  Operation *before = last.op->getPrevNode(), *after = last.op->getNextNode();
  SlotBuilder builder(rewriter, last.op->getLoc(), slots);
  layer.ids = builder.ids(pairs.choice, range->limit, range->inRange,
                          pairs.wraps ? pairs.depth : 0);
  layer.logical = range->logical;
  layer.weights = weights ? builder.shape(weights)
                  : table ? builder.lookUp(table, pairs.choice.ids)
                          : builder.ones(layer.ids);
  Value result = buildExperts(rewriter, last.op->getLoc(), layer, refusal);
  if (result && numCopies)
    result = addCopies(result, chain.size() - numCopies, numCopies);
  Value whole = last.out;
  if (result && !fromZero &&
      !(replaces && range->inRange && !pairs.choice.keep))
    whole = addStart(chain, layer.ids, builder);
  if (result && replaceWithExperts(rewriter, last.out, result,
                                   {layer.tokens, first.getIn()}, refusal))
    return true;
  // Leaves no trace.
  if (whole != last.out)
    rewriter.replaceAllUsesWith(whole, last.out);
  while (last.op->getNextNode() != after)
    rewriter.eraseOp(after->getPrevNode());
  while (last.op->getPrevNode() != before)
    rewriter.eraseOp(last.op->getPrevNode());
  return false;
}

/// Adds what the last experts give: the rows that they get.
Value LoopRaiser::addCopies(Value result, int64_t first, int64_t count) {
  RewriterBase &rewriter = context.getRewriter();
  auto experts = cast<ir::ExpertsOp>(result.getDefiningOp());
  SmallVector<Attribute> kinds(
      count,
      ir::TrivialKindAttr::get(rewriter.getContext(), ir::TrivialKind::Copy));
  Location loc = experts.getLoc();
  Value copies = ir::TrivialExpertsOp::create(
      rewriter, loc, experts.getX().getType(), experts.getX(), experts.getIds(),
      experts.getWeights(), /*constants=*/Value(),
      /*mixers=*/Value(), rewriter.getI64IntegerAttr(first),
      rewriter.getArrayAttr(kinds), rewriter.getF64FloatAttr(1.0));
  return NodeBuilder(rewriter, loc)
      .create("onnx.Add", {result, copies}, result.getType());
}

/// Adds what the sum starts with.
Value LoopRaiser::addStart(const Chain &chain, Value ids,
                           SlotBuilder &builder) {
  const Contribution &last = *chain.back();
  Value start = chain.front()->getIn(), sum = last.out;
  RewriterBase &rewriter = context.getRewriter();
  rewriter.setInsertionPointAfter(last.op);
  Value whole;
  if (last.overwrites) {
    // Tokens without an expert keep what they had.
    auto type = cast<RankedTensorType>(ids.getType());
    Value zero = builder.number(type.getElementType(), 0);
    Value hasExpert = builder.getNodes().create(
        "onnx.GreaterOrEqual", {ids, zero},
        RankedTensorType::get(type.getShape(), rewriter.getI1Type()));
    whole = builder.getNodes().create("onnx.Where", {hasExpert, sum, start},
                                      sum.getType());
  } else {
    whole = builder.getNodes().create("onnx.Add", {start, sum}, sum.getType());
  }
  rewriter.replaceAllUsesExcept(sum, whole, whole.getDefiningOp());
  return whole;
}

void LoopRaiser::run() {
  func.walk([&](Operation *op) {
    if (op->getName().getStringRef() == "onnx.NonZero")
      matcher.noteSearch(op);
  });
  func.walk([&](Operation *op) { collect(op); });
  for (const Contribution &part : contributions) {
    seen.insert(part.pairs->nonZero);
    auto it = byResult.find(match::strip(part.getIn()));
    if (it != byResult.end() &&
        contributions[it->second].pairs->choice == part.pairs->choice)
      consumed.insert(it->first);
  }
  // Raising makes no sums, and erases nothing.
  for (const Contribution &last : contributions) {
    if (consumed.contains(last.out))
      continue;
    Refusal refusal;
    Chain chain = getChain(last);
    if (raise(chain, refusal))
      context.noteRaised();
    else
      context.noteMissed(last.op, refusal);
  }
  reportUnused();
}

/// Searches for the rows of an expert that lead nowhere known, once for each
/// layer.
void LoopRaiser::reportUnused() {
  DenseSet<std::pair<Value, Value>> reported;
  func.walk([&](Operation *op) {
    if (op->getName().getStringRef() != "onnx.NonZero" || seen.contains(op))
      return;
    const ExpertPairs *pairs = matcher.getPairs(op);
    if (!pairs ||
        !reported.insert({pairs->choice.ids, pairs->choice.keep}).second)
      return;
    Refusal refusal;
    refusal.say(op, "rows of an expert are picked here, but not added to those "
                    "of other experts in a form that is known");
    context.noteMissed(op, refusal);
  });
}

void moe::raiseLoops(func::FuncOp func, RaiseContext &context) {
  LoopRaiser(func, context).run();
}
