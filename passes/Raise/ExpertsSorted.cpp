//===- ExpertsSorted.cpp - experts on rows that are sorted by expert ------===//
//
// Forms in which the slots of all tokens are sorted by expert and each expert
// gets neighbouring rows (SortedSlots.h):
//
//   hidden_e = group_e(rows) . w1_e            for each expert e
//   hidden   = act(Concat(hidden_e))
//   out      = Concat(group_e(hidden) . w2_e)
//
// or with the whole network of an expert between cutting and putting together,
// which is done by Concat, by writing into one tensor after the other, or by
// Where. The rows go back to their slots and are added up,
//
//   y = ReduceSum(Reshape(Gather(out * sorted weights, inverse), [-1, k, H]))
//
// or straight to their tokens (ScatterND with add).
//
//===----------------------------------------------------------------------===//

#include "dialects/ONNX/ONNXDialect.h"
#include "lib/Analysis/Dims.h"
#include "passes/Raise/Banks.h"
#include "passes/Raise/Match.h"
#include "passes/Raise/Products.h"
#include "passes/Raise/RaiseExperts.h"
#include "passes/Raise/SlotValues.h"
#include "passes/Raise/SortedSlots.h"

using namespace mlir;
using namespace moe;

namespace {

/// [S, features], put together from what experts give.
struct Assembly {
  /// By expert. `whole`: each has all rows, of which its own count.
  SmallVector<Value> parts;
  bool whole = false;
  Operation *at = nullptr;
};

/// What becomes one layer.
struct SortedLayer {
  const SlotSort *sort = nullptr;
  /// The sum over slots, and the rows in sorted order that it adds.
  Operation *sum = nullptr;
  Value like, out;
  /// What the sum starts with; null for 0.
  Value start;
  /// [tokens * k] weights, behind all views; null if there are none.
  Value weights;
  bool scalesInput = false;
  Value tokens;
  int64_t slots = 0;
};

class SortedRaiser {
public:
  SortedRaiser(func::FuncOp func, RaiseContext &context)
      : func(func), context(context), dims(context.getDims()),
        matcher(context.getDims()) {}

  void run();

private:
  std::optional<SortedLayer> matchSum(Operation *op);
  std::optional<SortedLayer> matchReduce(Operation *op);
  std::optional<SortedLayer> matchScatter(Operation *op);
  Value matchBackInOrder(Value value, const SlotSort *&sort);
  bool takeSortedWeight(Value &value, SortedLayer &layer);
  bool takeSlotWeight(Value &value, SortedLayer &layer);
  Value findLike(Value sum, int64_t features);

  bool raise(SortedLayer &layer, Refusal &refusal);
  bool matchExperts(SortedLayer &layer, ExpertLayer &experts, Refusal &refusal);
  bool matchGroupedProducts(SortedLayer &layer, ExpertLayer &experts,
                            Refusal &refusal);
  bool matchWholeExperts(SortedLayer &layer, const Assembly &assembly,
                         ExpertLayer &experts, Refusal &refusal);
  bool matchTokens(SortedLayer &layer, Value rows, Operation *at,
                   Refusal &refusal);
  bool checkAllExperts(const SortedLayer &layer, int64_t count, Operation *at,
                       Refusal &refusal);
  std::optional<Assembly> matchAssembly(Value value, const SlotSort *sort);
  bool matchConcat(Operation *op, Assembly &assembly);
  bool matchWrites(Value value, const SlotSort *sort, Assembly &assembly);
  bool matchChoices(Value value, const SlotSort *sort, Assembly &assembly);
  std::optional<Projection> matchGrouped(Value value, const SlotSort *sort);
  bool makeBank(Projection &projection, ArrayRef<Projection> parts);

  func::FuncOp func;
  RaiseContext &context;
  DimContext &dims;
  SortMatcher matcher;
  /// The products of single experts, by the result of all.
  DenseMap<Value, SmallVector<Projection>> grouped;
};

} // namespace

static bool isFloatCast(Operation *op) {
  return isa_and_nonnull<FloatType>(match::getElementType(op->getOperand(0))) &&
         isa_and_nonnull<FloatType>(match::getElementType(op->getResult(0)));
}

/// A value before it was cast to another type of floats.
static Value stripFloatCasts(Value value) {
  while (true) {
    value = match::strip(value);
    Operation *op = match::getNode(value, "onnx.Cast");
    if (!op || !isFloatCast(op))
      return value;
    value = op->getOperand(0);
  }
}

//===----------------------------------------------------------------------===//
// Back to tokens
//===----------------------------------------------------------------------===//

/// value = rows * w[perm], [S, features] * [S, 1].
bool SortedRaiser::takeSortedWeight(Value &value, SortedLayer &layer) {
  Value a, b;
  if (layer.weights || !match::matchBinary(value, "onnx.Mul", a, b))
    return false;
  for (auto [factor, rest] : {std::pair(b, a), std::pair(a, b)}) {
    auto type = dyn_cast<RankedTensorType>(factor.getType());
    Value base;
    if (!type || type.getRank() != 2 || type.getDimSize(1) != 1)
      continue;
    std::optional<PlaceIndex> index =
        matcher.matchPicked(stripFloatCasts(factor), base, 0);
    if (!index || index->kind != PlaceIndex::Kind::Slot ||
        index->sort != layer.sort ||
        matcher.getProduct(base, 0, match::getRank(base)) != layer.sort->count)
      continue;
    layer.weights = base;
    value = rest;
    return true;
  }
  return false;
}

/// value = rows * w, [tokens, k, features] * [tokens, k, 1].
bool SortedRaiser::takeSlotWeight(Value &value, SortedLayer &layer) {
  Value a, b;
  if (!match::matchBinary(value, "onnx.Mul", a, b))
    return false;
  for (auto [factor, rest] : {std::pair(b, a), std::pair(a, b)}) {
    auto type = dyn_cast<RankedTensorType>(factor.getType());
    auto rows = dyn_cast<RankedTensorType>(rest.getType());
    if (!type || !rows || type.getRank() != 3 || rows.getRank() != 3 ||
        type.getDimSize(2) != 1 || !sameExtent(factor, 0, rest, 0) ||
        !sameExtent(factor, 1, rest, 1))
      continue;
    View view = View::of(stripFloatCasts(factor), dims);
    if (!view.keepsOrder())
      continue;
    layer.weights = view.getBase();
    value = rest;
    return true;
  }
  return false;
}

/// Rows in sorted order, of which `value` has the rows in the order of slots.
Value SortedRaiser::matchBackInOrder(Value value, const SlotSort *&sort) {
  value = stripFloatCasts(value);
  Operation *op = value.getDefiningOp();
  StringRef name = op ? op->getName().getStringRef() : StringRef();
  if (name == "onnx.Gather" || name == "onnx.GatherND") {
    Value data = op->getOperand(0), indices = op->getOperand(1);
    int64_t rank = match::getRank(data);
    auto type = dyn_cast<RankedTensorType>(indices.getType());
    bool isAlongRows =
        type &&
        (name == "onnx.Gather"
             ? match::getAxis(op, "axis", 0, rank) == 0 && type.getRank() == 1
             : type.getRank() == 2 && type.getDimSize(1) == 1 &&
                   match::getInt(op, "batch_dims", 0) == 0);
    std::optional<PlaceIndex> index =
        isAlongRows ? matcher.matchIndex(indices) : std::nullopt;
    if (!index || index->kind != PlaceIndex::Kind::Inverse)
      return {};
    sort = index->sort;
    return data;
  }
  // All rows of a tensor are written, to the places of their slots.
  if (name != "onnx.ScatterND" ||
      match::getString(op, "reduction", "none") != "none")
    return {};
  auto type = dyn_cast<RankedTensorType>(op->getOperand(1).getType());
  if (!type || type.getRank() != 2 || type.getDimSize(1) != 1)
    return {};
  std::optional<PlaceIndex> index = matcher.matchIndex(op->getOperand(1));
  if (!index || index->kind != PlaceIndex::Kind::Slot)
    return {};
  sort = index->sort;
  return op->getOperand(2);
}

/// The value that the result replaces: the sum, or behind it the first value
/// whose last extent is known.
Value SortedRaiser::findLike(Value sum, int64_t features) {
  while (true) {
    auto type = cast<RankedTensorType>(sum.getType());
    if (type.getRank() > 0 && !type.isDynamicDim(type.getRank() - 1))
      return type.getShape().back() == features ? sum : Value();
    if (!sum.hasOneUse())
      return {};
    Operation *user = *sum.getUsers().begin();
    StringRef name = user->getName().getStringRef();
    if (user->getOperand(0) != sum ||
        (name != "onnx.Reshape" && name != "onnx.Cast") ||
        (name == "onnx.Cast" &&
         match::strip(user->getResult(0)) != match::strip(sum)) ||
        !isa<RankedTensorType>(user->getResult(0).getType()))
      return {};
    sum = user->getResult(0);
  }
}

static int64_t getFeatures(Value rows) {
  auto type = dyn_cast<RankedTensorType>(rows.getType());
  if (!type || type.getRank() != 2 || type.isDynamicDim(1))
    return -1;
  return type.getDimSize(1);
}

/// The sum over the slots of a token, [tokens, k, features] along axis 1.
std::optional<SortedLayer> SortedRaiser::matchReduce(Operation *op) {
  std::optional<SmallVector<int64_t>> axes = match::getAxes(op);
  Value rows = stripFloatCasts(op->getOperand(0));
  if (!axes || axes->size() != 1 || axes->front() != 1 ||
      match::getRank(rows) != 3)
    return std::nullopt;
  SortedLayer layer;
  takeSlotWeight(rows, layer);
  rows = stripFloatCasts(rows);
  Operation *reshape = match::getNode(rows, "onnx.Reshape");
  int64_t slots =
      reshape ? cast<RankedTensorType>(rows.getType()).getDimSize(1) : -1;
  if (slots < 1)
    return std::nullopt;
  // [S, features]; all but the first extent follow from what is equal here.
  layer.out = matchBackInOrder(reshape->getOperand(0), layer.sort);
  if (!layer.out || matcher.getProduct(rows, 0, 2) != layer.sort->count)
    return std::nullopt;
  layer.slots = slots;
  layer.sum = op;
  if (layer.weights &&
      matcher.getProduct(layer.weights, 0, match::getRank(layer.weights)) !=
          layer.sort->count)
    return std::nullopt;
  return layer;
}

/// Rows added to their tokens.
std::optional<SortedLayer> SortedRaiser::matchScatter(Operation *op) {
  if (match::getString(op, "reduction", "none") != "add")
    return std::nullopt;
  Value data = op->getOperand(0), indices = op->getOperand(1);
  auto type = dyn_cast<RankedTensorType>(indices.getType());
  if (!type || type.getRank() != 2 || type.getDimSize(1) != 1 ||
      match::getRank(data) != 2)
    return std::nullopt;
  std::optional<PlaceIndex> index = matcher.matchIndex(indices);
  if (!index || index->kind == PlaceIndex::Kind::Inverse)
    return std::nullopt;
  SortedLayer layer;
  layer.sort = index->sort;
  layer.slots = index->divisor;
  layer.out = op->getOperand(2);
  layer.sum = op;
  if (!match::isNumber(data, 0))
    layer.start = data;
  if (matcher.getProduct(data, 0, 1) * DimExpr::constant(layer.slots) !=
      layer.sort->count)
    return std::nullopt;
  return layer;
}

std::optional<SortedLayer> SortedRaiser::matchSum(Operation *op) {
  StringRef name = op->getName().getStringRef();
  std::optional<SortedLayer> layer;
  if (name == "onnx.ReduceSum")
    layer = matchReduce(op);
  else if (name == "onnx.ScatterND")
    layer = matchScatter(op);
  if (!layer)
    return std::nullopt;
  layer->out = matcher.strip(layer->out, layer->sort);
  if (takeSortedWeight(layer->out, *layer))
    layer->out = matcher.strip(layer->out, layer->sort);
  return layer;
}

//===----------------------------------------------------------------------===//
// Putting together
//===----------------------------------------------------------------------===//

bool SortedRaiser::matchConcat(Operation *op, Assembly &assembly) {
  if (match::getAxis(op, "axis", 0, 2) != 0 || op->getNumOperands() < 2)
    return false;
  assembly.parts.assign(op->operand_begin(), op->operand_end());
  return true;
}

/// Each expert's rows written to their places, one after the other.
bool SortedRaiser::matchWrites(Value value, const SlotSort *sort,
                               Assembly &assembly) {
  int64_t n = matcher.getNumExperts(sort);
  SmallVector<Value> parts(n);
  for (int64_t count = 0; count < n; ++count) {
    Operation *op = match::getNode(value, "onnx.ScatterND");
    if (!op || match::getString(op, "reduction", "none") != "none")
      return false;
    auto type = dyn_cast<RankedTensorType>(op->getOperand(1).getType());
    if (!type || type.getRank() != 2 || type.getDimSize(1) != 1)
      return false;
    View view = View::of(op->getOperand(1), dims);
    std::optional<GroupRows> group =
        view.keepsOrder() ? matcher.matchGroup(view.getBase()) : std::nullopt;
    if (!group || group->sort != sort || group->expert >= n ||
        parts[group->expert] || !matcher.countsUp(group->all, sort->count))
      return false;
    // As many rows as places, so what expands them changes nothing.
    Value rows = match::strip(op->getOperand(2));
    while (Operation *expand = match::getNode(rows, "onnx.Expand")) {
      Value from = match::strip(expand->getOperand(0));
      if (getFeatures(from) < 0 || getFeatures(from) != getFeatures(rows))
        return false;
      rows = from;
    }
    parts[group->expert] = rows;
    value = match::strip(op->getOperand(0));
  }
  assembly.parts = parts;
  return n > 0;
}

/// Where(begin <= place < end, all rows of expert e, the others).
bool SortedRaiser::matchChoices(Value value, const SlotSort *sort,
                                Assembly &assembly) {
  int64_t n = matcher.getNumExperts(sort);
  SmallVector<Value> parts(n);
  for (int64_t count = 0; count < n; ++count) {
    Operation *op = match::getNode(value, "onnx.Where");
    if (!op)
      return false;
    auto type = dyn_cast<RankedTensorType>(op->getOperand(0).getType());
    if (!type || type.getRank() != 2 || type.getDimSize(1) != 1)
      return false;
    View view = View::of(op->getOperand(0), dims);
    Value a, b, begin, end, place, same;
    if (!view.keepsOrder() ||
        !match::matchBinary(view.getBase(), "onnx.And", a, b))
      return false;
    if (!match::getNode(b, "onnx.Less"))
      std::swap(a, b);
    if (!match::matchBinary(a, "onnx.GreaterOrEqual", place, begin) ||
        !match::matchBinary(b, "onnx.Less", same, end) ||
        !match::isSame(place, same) || !matcher.countsUp(place, sort->count))
      return false;
    std::optional<GroupRows> group = matcher.matchBounds(begin, end);
    if (!group || group->sort != sort || group->expert >= n ||
        parts[group->expert])
      return false;
    parts[group->expert] = match::strip(op->getOperand(1));
    value = match::strip(op->getOperand(2));
  }
  assembly.parts = parts;
  assembly.whole = true;
  return n > 0;
}

std::optional<Assembly> SortedRaiser::matchAssembly(Value value,
                                                    const SlotSort *sort) {
  value = matcher.strip(value, sort);
  Assembly assembly;
  assembly.at = value.getDefiningOp();
  if (!assembly.at || match::getRank(value) != 2)
    return std::nullopt;
  StringRef name = assembly.at->getName().getStringRef();
  bool found = false;
  if (name == "onnx.Concat")
    found = matchConcat(assembly.at, assembly);
  else if (name == "onnx.ScatterND")
    found = matchWrites(value, sort, assembly);
  else if (name == "onnx.Where")
    found = matchChoices(value, sort, assembly);
  if (!found)
    return std::nullopt;
  return assembly;
}

//===----------------------------------------------------------------------===//
// Products
//===----------------------------------------------------------------------===//

/// Makes one projection with a bank of the weights of all experts, if these are
/// the parts of one constant in order.
bool SortedRaiser::makeBank(Projection &projection,
                            ArrayRef<Projection> parts) {
  std::optional<WeightRef> first;
  for (auto [e, part] : llvm::enumerate(parts)) {
    if (part.bias || part.scales || part.layout != parts.front().layout)
      return false;
    WeightRef ref = resolveWeights(part.weights);
    if (!first)
      first = ref;
    if (ref.source != first->source || ref.transposed != first->transposed ||
        ref.index != static_cast<int64_t>(e) ||
        match::getRank(ref.source) != 3 ||
        cast<RankedTensorType>(ref.source.getType()).getDimSize(0) !=
            static_cast<int64_t>(parts.size()))
      return false;
  }
  projection.weights = first->source;
  projection.layout = parts.front().layout;
  if (first->transposed)
    projection.layout = projection.layout == ir::BankLayout::OI
                            ? ir::BankLayout::IO
                            : ir::BankLayout::OI;
  return true;
}

/// Products of the groups of rows with the weights of their experts, put
/// together again; perhaps with a bias that is looked up for each row.
std::optional<Projection> SortedRaiser::matchGrouped(Value value,
                                                     const SlotSort *sort) {
  value = match::strip(value);
  Value sum = value, bias, a, b;
  if (match::matchBinary(value, "onnx.Add", a, b)) {
    for (auto [product, added] : {std::pair(a, b), std::pair(b, a)}) {
      Operation *op = added.getDefiningOp();
      StringRef name = op ? op->getName().getStringRef() : StringRef();
      if ((name != "onnx.Gather" && name != "onnx.GatherND") ||
          match::getRank(added) != 2 ||
          match::getRank(op->getOperand(0)) != 2 ||
          (name == "onnx.Gather" && match::getAxis(op, "axis", 0, 2) != 0))
        continue;
      View view = View::of(op->getOperand(1), dims);
      if (view.keepsOrder() && view.getBase() == sort->sorted) {
        bias = match::strip(op->getOperand(0));
        sum = product;
      }
    }
    if (!bias)
      return std::nullopt;
  }
  std::optional<Assembly> assembly = matchAssembly(sum, sort);
  if (!assembly || assembly->whole)
    return std::nullopt;
  SmallVector<Projection> parts;
  Value all;
  for (auto [e, value] : llvm::enumerate(assembly->parts)) {
    std::optional<Projection> part = matchProduct(value);
    std::optional<GroupRows> group =
        part ? matcher.matchGroup(part->rows) : std::nullopt;
    if (!group || group->sort != sort ||
        group->expert != static_cast<int64_t>(e) || (all && all != group->all))
      return std::nullopt;
    all = group->all;
    parts.push_back(*part);
  }
  Projection made = parts.front();
  made.rows = all;
  made.result = value;
  made.featureAxis = 1;
  if (bias) {
    if (!makeBank(made, parts) || !isConstantValue(bias))
      return std::nullopt;
    made.bias = bias;
    parts.clear();
  }
  grouped[made.result] = parts;
  return made;
}

bool SortedRaiser::matchGroupedProducts(SortedLayer &layer,
                                        ExpertLayer &experts,
                                        Refusal &refusal) {
  auto match = [&](Value value) { return matchGrouped(value, layer.sort); };
  std::optional<FeedForward> ffn = matchFeedForward(layer.out, match, refusal);
  if (!ffn)
    return false;
  SmallVector<Projection *> all{&ffn->second};
  for (Projection &first : ffn->first)
    all.push_back(&first);
  int64_t n = matcher.getNumExperts(layer.sort);
  bool anyBank = llvm::any_of(
      all, [&](Projection *p) { return grouped[p->result].empty(); });
  for (Projection *projection : all) {
    SmallVector<Projection> &parts = grouped[projection->result];
    if (!parts.empty() &&
        !checkAllExperts(layer, parts.size(),
                         projection->result.getDefiningOp(), refusal))
      return false;
    if (anyBank && !parts.empty() && !makeBank(*projection, parts)) {
      refusal.say(projection->result.getDefiningOp(),
                  "weights are not the slices of one constant, but biases "
                  "are");
      return false;
    }
  }
  for (Projection &first : ffn->first)
    if (!matchTokens(layer, first.rows, first.result.getDefiningOp(), refusal))
      return false;
  if (anyBank) {
    experts.experts.push_back(std::move(*ffn));
    return true;
  }
  for (int64_t e = 0; e < n; ++e) {
    FeedForward &expert = experts.experts.emplace_back(*ffn);
    auto take = [&](Projection &projection) {
      Projection part = grouped[projection.result][e];
      part.rows = projection.rows;
      part.result = projection.result;
      projection = part;
    };
    take(expert.second);
    for (Projection &first : expert.first)
      take(first);
  }
  return true;
}

bool SortedRaiser::matchWholeExperts(SortedLayer &layer,
                                     const Assembly &assembly,
                                     ExpertLayer &experts, Refusal &refusal) {
  SmallVector<int64_t> present;
  for (Value part : assembly.parts) {
    std::optional<FeedForward> ffn =
        matchFeedForward(part, matchProduct, refusal);
    if (!ffn)
      return false;
    int64_t expert = -1;
    for (const Projection &first : ffn->first) {
      Value rows = first.rows;
      int64_t number = present.size();
      if (!assembly.whole) {
        std::optional<GroupRows> group = matcher.matchGroup(rows);
        if (!group || group->sort != layer.sort) {
          refusal.say(first.result.getDefiningOp(),
                      "the rows of the expert are no group of sorted rows");
          return false;
        }
        number = group->expert;
        rows = group->all;
      }
      if (expert >= 0 && number != expert) {
        refusal.say(first.result.getDefiningOp(),
                    "the products of the expert read different rows");
        return false;
      }
      expert = number;
      if (!matchTokens(layer, rows, first.result.getDefiningOp(), refusal))
        return false;
    }
    if (!present.empty() && expert <= present.back()) {
      refusal.say(assembly.at, "the groups are not in the order of experts");
      return false;
    }
    present.push_back(expert);
    experts.experts.push_back(std::move(*ffn));
  }
  return checkAllExperts(layer, present.size(), assembly.at, refusal);
}

/// A layer that lacks experts of the ids that are sorted would put rows into
/// the wrong places.
bool SortedRaiser::checkAllExperts(const SortedLayer &layer, int64_t count,
                                   Operation *at, Refusal &refusal) {
  int64_t needed = matcher.getNumExperts(layer.sort);
  if (count == needed)
    return true;
  refusal.say(at, "weights of experts are missing");
  context.noteError(
      at, "the model holds " + Twine(count) + " of the " + Twine(needed) +
              " experts of this layer, those that the example input hit when "
              "it was exported; export it again with an implementation of "
              "experts that keeps all (batched_mm, grouped_mm), or with an "
              "example input that hits every expert");
  return false;
}

/// Rows of tokens in the order of their slots' experts.
bool SortedRaiser::matchTokens(SortedLayer &layer, Value rows, Operation *at,
                               Refusal &refusal) {
  rows = stripFloatCasts(rows);
  if (takeSortedWeight(rows, layer)) {
    layer.scalesInput = true;
    rows = stripFloatCasts(rows);
  }
  Value base;
  std::optional<PlaceIndex> index = matcher.matchPicked(rows, base, 1);
  if (!index || index->sort != layer.sort ||
      index->kind == PlaceIndex::Kind::Inverse ||
      index->divisor != layer.slots || (layer.tokens && layer.tokens != base)) {
    refusal.say(at, "the rows of experts are not those of the tokens of their "
                    "slots");
    return false;
  }
  if (matcher.getProduct(base, 0, match::getRank(base) - 1) *
          DimExpr::constant(layer.slots) !=
      layer.sort->count) {
    refusal.say(at, "there are more tokens than ids of experts");
    return false;
  }
  layer.tokens = base;
  return true;
}

bool SortedRaiser::matchExperts(SortedLayer &layer, ExpertLayer &experts,
                                Refusal &refusal) {
  if (matchGrouped(layer.out, layer.sort))
    return matchGroupedProducts(layer, experts, refusal);
  std::optional<Assembly> assembly = matchAssembly(layer.out, layer.sort);
  if (!assembly) {
    refusal.say(layer.out.getDefiningOp(),
                "sorted rows are not put together from groups, one for each "
                "expert");
    return false;
  }
  return matchWholeExperts(layer, *assembly, experts, refusal);
}

//===----------------------------------------------------------------------===//
// Raising
//===----------------------------------------------------------------------===//

bool SortedRaiser::raise(SortedLayer &layer, Refusal &refusal) {
  ExpertLayer experts;
  if (!matchExperts(layer, experts, refusal))
    return false;
  std::optional<int64_t> bound = getIdBound(layer.sort->ids);
  if (!bound || *bound > matcher.getNumExperts(layer.sort)) {
    refusal.say(layer.sort->topK,
                "ids of experts are not known to be in range");
    return false;
  }
  int64_t features = getFeatures(layer.out);
  Value like = findLike(layer.sum->getResult(0), features);
  if (!like) {
    refusal.say(layer.sum, "the width of the result is not known");
    return false;
  }
  RewriterBase &rewriter = context.getRewriter();
  Operation *op = like.getDefiningOp();
  Operation *before = op->getPrevNode();
  rewriter.setInsertionPoint(op);
  SlotBuilder builder(rewriter, layer.sum->getLoc(), layer.slots);
  Choice choice;
  choice.ids = layer.sort->ids;
  experts.tokens = layer.tokens;
  experts.scaleAt =
      layer.scalesInput ? ir::ScaleAt::Input : ir::ScaleAt::Output;
  experts.ids = builder.ids(choice, *bound, /*inRange=*/true, /*depth=*/0);
  experts.weights =
      layer.weights ? builder.shape(layer.weights) : builder.ones(experts.ids);
  Value result = buildExperts(rewriter, layer.sum->getLoc(), experts, refusal);
  Value start = layer.start, whole;
  if (result && start) {
    OpBuilder::InsertionGuard guard(rewriter);
    rewriter.setInsertionPointAfter(op);
    whole =
        builder.getNodes().create("onnx.Add", {start, like}, like.getType());
    rewriter.replaceAllUsesExcept(like, whole, whole.getDefiningOp());
  }
  if (result &&
      replaceWithExperts(rewriter, like, result, {layer.tokens}, refusal))
    return true;
  // Leaves no trace.
  if (whole)
    rewriter.replaceOp(whole.getDefiningOp(), like);
  while (op->getPrevNode() != before)
    rewriter.eraseOp(op->getPrevNode());
  return false;
}

void SortedRaiser::run() {
  // Sorts come before what is counted and cut by them.
  bool any = false;
  func.walk([&](Operation *op) {
    if (op->getName().getStringRef() == "onnx.TopK")
      any |= matcher.getSort(op) != nullptr;
  });
  if (!any)
    return;
  SmallVector<Operation *> sums;
  func.walk([&](Operation *op) {
    StringRef name = op->getName().getStringRef();
    if (name == "onnx.ReduceSum" || name == "onnx.ScatterND")
      sums.push_back(op);
    else if (name == "onnx.CumSum")
      matcher.noteCounts(op->getResult(0));
  });
  for (Operation *op : sums) {
    std::optional<SortedLayer> layer = matchSum(op);
    if (!layer)
      continue;
    Refusal refusal;
    if (raise(*layer, refusal))
      context.noteRaised();
    else
      context.noteMissed(op, refusal);
  }
}

void moe::raiseSorted(func::FuncOp func, RaiseContext &context) {
  SortedRaiser(func, context).run();
}
