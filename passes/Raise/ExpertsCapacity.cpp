//===- ExpertsCapacity.cpp - experts with a fixed number of places --------===//
//
// Two forms. With masks (GShard, V-MoE): the rows of all places are a product
// of a mask [tokens, experts, places] and the tokens; the result is the product
// of the same mask, with the weights of slots in it, and what the experts give.
// With row numbers (Tutel, fairseq): tokens are scattered to rows expert *
// places + place, dropped ones to one more row, and gathered from there.
//
// Both become `moe.capacity` and `moe.experts` on the tokens themselves. That
// is right if the model fills each place at most once and reads it back for the
// token that it came from; so all that is known of masks and rows is compared
// on both sides.
//
//===----------------------------------------------------------------------===//

#include "dialects/MoE/MoEDialect.h"
#include "lib/Analysis/Dims.h"
#include "passes/Raise/Banks.h"
#include "passes/Raise/CapacityPlan.h"
#include "passes/Raise/ExpertBuffers.h"
#include "passes/Raise/ExpertNodes.h"
#include "passes/Raise/Match.h"
#include "passes/Raise/Nodes.h"
#include "passes/Raise/RaiseExperts.h"

using namespace mlir;
using namespace moe;

namespace {

using F = QueueFunction;
using Kind = QueueDim::Kind;

/// What both forms share.
class CapacityLayer : protected LayerMatcher {
public:
  CapacityLayer(Operation *anchor, RaiseContext &context)
      : LayerMatcher(anchor, context), reader(dims, refusal) {}

protected:
  /// The value behind `x` whose axes are all tokens in order and the features.
  Value findTokens(Value x, const QueueAxes &axes, const QueueDims &tokens);
  bool build(const QueueTerm &term, Value x, Value like,
             const QueueDims &tokens, std::optional<int64_t> places);

  QueueReader reader;
  BufferExperts experts;
};

/// The form with masks; the anchor is the product that combines.
class MaskLayer : public CapacityLayer {
public:
  using CapacityLayer::CapacityLayer;
  bool raise(const TermProduct &combine, unsigned rows);

private:
  bool readCombine(const TermProduct &combine, unsigned rows);
  bool readDispatch();
  bool readTokens(const TermProduct &product, unsigned rows,
                  ArrayRef<int> letters, const QueueAxes &out);
  std::optional<int64_t> compareMasks();
  std::optional<int64_t> compareMasks(const QueueTerm &given,
                                      const QueueTerm &dispatched);

  QueueTerm given, dispatched;
  /// Of the experts' buffer; of the tokens.
  QueueAxes bufferAxes, tokenAxes;
  QueueDims tokens;
  Value x;
};

/// The form with row numbers; the anchor is the node that gathers.
class RowLayer : public CapacityLayer {
public:
  using CapacityLayer::CapacityLayer;
  bool raise();

private:
  /// Which slots have a row of their expert, which one of those, and which
  /// slots have a row behind all of them.
  struct Rows {
    F kept, place, behind;
  };
  std::optional<Value> getIndex(Operation *op, bool isGather);
  bool readBuffer(Value data);
  bool readScatter();
  bool readGather();
  bool follow();
  std::optional<Rows> readRows(const QueueTerm &index, Operation *at);
  bool check(std::optional<int64_t> &places);

  /// Rows of each expert, of all, and with those of zeros behind them.
  int64_t perExpert = 0, numRows = 0, allRows = 0;
  QueueTerm index, scattered;
  /// What becomes of the gathered rows.
  QueueTerm term;
  Value result;
  Value x;
  QueueAxes tokenAxes;
  Rows written, read;
};

} // namespace

Value CapacityLayer::findTokens(Value x, const QueueAxes &axes,
                                const QueueDims &tokens) {
  QueueDims wanted = tokens;
  wanted.push_back(
      {Kind::Feature,
       0,
       {},
       axes.back().empty() ? DimExpr() : axes.back().back().extent});
  auto fits = [&](const QueueAxes &of) {
    return !of.empty() && of.back().size() == 1 &&
           of.back()[0].kind == Kind::Feature && flatten(of) == wanted;
  };
  if (fits(axes))
    return x;
  View view = View::of(x, dims);
  std::optional<QueueAxes> ofBase = dimsOfBase(view, axes);
  if (ofBase && fits(*ofBase))
    return view.getBase();
  refuse(x.getDefiningOp() ? x.getDefiningOp() : anchor,
         "tokens are not in the order of the result");
  return {};
}

bool CapacityLayer::build(const QueueTerm &term, Value x, Value like,
                          const QueueDims &tokens,
                          std::optional<int64_t> places) {
  std::optional<CapacityPlan> plan =
      planCapacity(term, tokens, places, anchor, refusal);
  if (!plan)
    return false;
  RewriterBase &b = context.getRewriter();
  Operation *at = like.getDefiningOp();
  Operation *before = at->getPrevNode();
  b.setInsertionPoint(at);
  ExpertLayer layer;
  layer.tokens = x;
  layer.experts = experts.experts;
  Value y;
  if (auto kept = buildCapacity(b, anchor->getLoc(), *plan, dims, refusal)) {
    layer.ids = kept->ids;
    layer.weights = kept->weights;
    y = buildExperts(b, anchor->getLoc(), layer, refusal);
  }
  plan->cuts.push_back({x});
  if (y && replaceWithExperts(b, like, y, {x}, refusal, plan->cuts)) {
    context.noteRaised();
    return true;
  }
  // Nothing stays of a layer that is not raised.
  eraseUnusedBetween(b, before, at);
  return false;
}

//===----------------------------------------------------------------------===//
// Masks
//===----------------------------------------------------------------------===//

static QueueDims featureOf(Value value, DimContext &dims) {
  unsigned last = match::getRank(value) - 1;
  return {{Kind::Feature, 0, {}, toExpr(dims, getDim(value, last))}};
}

/// The dims that a letter has in a mask, null if it has none.
static const QueueDims *findLetter(ArrayRef<int> letters, const QueueTerm &mask,
                                   int letter) {
  for (auto [own, axis] : llvm::zip(letters, mask.axes))
    if (own == letter && letter >= 0 && !axis.empty())
      return &axis;
  return nullptr;
}

/// Whether all that the mask is summed over are axes of `operand`.
static bool isSummedWith(const TermProduct &product, unsigned operand,
                         ArrayRef<int> letters, const QueueTerm &mask) {
  return llvm::all_of(llvm::zip(letters, mask.axes), [&](auto pair) {
    auto &[letter, axis] = pair;
    return letter < 0 || axis.empty() ||
           llvm::is_contained(product.output, letter) ||
           llvm::is_contained(product.letters[operand], letter);
  });
}

/// The mask with weights, what its axes are in the buffer and in the result.
bool MaskLayer::readCombine(const TermProduct &combine, unsigned rows) {
  Value y = combine.operands[rows];
  View view = View::of(y, dims);
  std::optional<BufferExperts> found =
      matchBufferExperts(view.getBase(), dims, refusal);
  if (!found)
    return false;
  experts = std::move(*found);
  SmallVector<int> letters;
  std::optional<QueueTerm> term =
      reader.readFactors(combine, static_cast<int>(rows), letters);
  if (!term || term->level != QueueTerm::Level::Expert || term->queue.empty())
    return false;
  given = *term;
  if (!isSummedWith(combine, rows, letters, given))
    return refuse(combine.op, "the mask is summed over on its own");
  QueueAxes axes;
  for (auto [i, letter] : llvm::enumerate(combine.letters[rows])) {
    QueueDims &axis = axes.emplace_back();
    if (letter < 0)
      continue;
    if (const QueueDims *known = findLetter(letters, given, letter))
      axis = *known;
    else if (letter == combine.output.back())
      axis = featureOf(y, dims);
    else
      return refuse(combine.op, "an axis of the experts' results has no part "
                                "in the mask");
  }
  std::optional<QueueAxes> ofBuffer = dimsOfBase(view, axes);
  if (!ofBuffer)
    return refuse(combine.op, "mask and experts' results have other axes");
  bufferAxes = *ofBuffer;

  QueueAxes out;
  for (int letter : combine.output) {
    QueueDims &axis = out.emplace_back();
    if (const QueueDims *known = findLetter(letters, given, letter))
      axis = *known;
    else if (letter >= 0)
      axis = featureOf(combine.op->getResult(0), dims);
  }
  if (out.empty() || out.back().size() != 1 ||
      out.back()[0].kind != Kind::Feature)
    return refuse(combine.op, "features are not the last axis of the result");
  tokens = flatten(ArrayRef<QueueDims>(out).drop_back());
  if (llvm::any_of(tokens, [](const QueueDim &dim) {
        return dim.kind != Kind::Slot || dim.sorted;
      }))
    return refuse(combine.op, "the result has axes that are not tokens");
  return true;
}

/// The rows that go into the buffer: mask times tokens.
bool MaskLayer::readDispatch() {
  const QueueDims &expert = bufferAxes[experts.expertAxis];
  if (expert.size() != 1 || expert[0].kind != Kind::Expert ||
      !expert[0].extent.isConstant(experts.numExperts))
    return refuse(anchor, "the experts' axis of the mask is not that of their "
                          "weights");
  View view = View::of(experts.in, dims);
  QueueAxes in = bufferAxes;
  in.back() = featureOf(experts.in, dims);
  std::optional<QueueAxes> out = dimsOfBase(view, in);
  Operation *op = view.getBase().getDefiningOp();
  std::optional<TermProduct> product;
  if (op && out)
    product = matchTermProduct(op);
  auto declined = [&] {
    return refuse(op ? op : anchor, "the experts' rows are no product of a "
                                    "mask and tokens");
  };
  if (!product || product->operands.size() != 2 || product->bias)
    return declined();
  for (unsigned rows : {1u, 0u}) {
    SmallVector<int> letters;
    std::optional<QueueTerm> term =
        reader.readFactors(*product, static_cast<int>(rows), letters);
    if (!term || term->level != QueueTerm::Level::Expert)
      continue;
    dispatched = *term;
    return readTokens(*product, rows, letters, *out);
  }
  return declined();
}

bool MaskLayer::readTokens(const TermProduct &product, unsigned rows,
                           ArrayRef<int> letters, const QueueAxes &out) {
  for (auto [letter, dims] : llvm::zip(product.output, out)) {
    const QueueDims *own = findLetter(letters, dispatched, letter);
    bool isFeature = dims.size() == 1 && dims[0].kind == Kind::Feature;
    if (letter >= 0 && (isFeature ? own != nullptr : !own || *own != dims))
      return refuse(product.op, "tokens get into the buffer by another order "
                                "than they get out of it");
  }
  if (!isSummedWith(product, rows, letters, dispatched))
    return refuse(product.op, "the mask is summed over on its own");
  for (int letter : product.letters[rows]) {
    QueueDims &axis = tokenAxes.emplace_back();
    if (letter < 0)
      continue;
    if (const QueueDims *own = findLetter(letters, dispatched, letter))
      axis = *own;
    else if (letter == product.output.back())
      axis = featureOf(product.op->getResult(0), dims);
    else
      return refuse(product.op, "tokens are summed over");
  }
  x = findTokens(product.operands[rows], tokenAxes, tokens);
  return x != nullptr;
}

/// Which slots are in a place, and which place it is.
static F keptBy(const QueueTerm &term, bool picked) {
  F kept = F::compare(term.at[picked], F::constant(0),
                      [](int sign) { return sign != 0; });
  if (!term.hasPlace)
    return kept;
  const F &place = term.place[picked];
  F isPlace =
      F::compare(place, F::constant(0), [](int sign) { return sign >= 0; }) *
      F::compare(place, F::constant(term.numPlaces),
                 [](int sign) { return sign < 0; });
  return kept * isPlace;
}

static F placeOf(const QueueTerm &term) {
  return term.hasPlace ? term.place[1] : F::constant(0);
}

/// The places of each expert, the same for all choices that a model keeps
/// apart.
std::optional<int64_t> MaskLayer::compareMasks() {
  if (given.more.size() != dispatched.more.size())
    return refusal.say(anchor, "rows and results go by different ids");
  std::optional<int64_t> places = compareMasks(given, dispatched);
  for (auto [mine, its] : llvm::zip(given.more, dispatched.more)) {
    std::optional<int64_t> others =
        places ? compareMasks(mine, its) : std::nullopt;
    if (!others)
      return std::nullopt;
    F kept = F::compare(F::seen(), F::constant(static_cast<double>(*places)),
                        [](int sign) { return sign <= 0; });
    if (others != places ||
        !((placeOf(mine) - placeOf(given)) * kept).isConstant(0, 1))
      return refusal.say(anchor, "choices have places of their own");
  }
  return places;
}

std::optional<int64_t> MaskLayer::compareMasks(const QueueTerm &given,
                                               const QueueTerm &dispatched) {
  for (const QueueTerm *mask : {&given, &dispatched})
    if (!keptBy(*mask, false).isConstant(0, 0))
      return refusal.say(anchor, "a mask has places for experts that a slot "
                                 "did not pick");
  if (given.ids != dispatched.ids)
    return refusal.say(anchor, "rows and results go by different ids");
  if (given.queue != dispatched.queue ||
      given.numExperts != dispatched.numExperts ||
      !sameBefore(given, dispatched) ||
      canonical(given.choices) != canonical(dispatched.choices) ||
      given.order.has_value() != dispatched.order.has_value())
    return refusal.say(anchor, "rows and results go by different queues");
  if (!dispatched.weights.empty())
    return refusal.say(anchor, "rows are scaled when they go into the buffer");
  F kept = keptBy(given, true);
  if (!(kept - keptBy(dispatched, true)).isConstant(0, 1))
    return refusal.say(anchor, "other slots are dropped from the results than "
                               "from the rows");
  bool endless = false;
  std::optional<int64_t> places = matchKept(kept, endless);
  if (!places)
    return refusal.say(anchor, "what is kept are not the first slots of each "
                               "expert");
  for (const QueueTerm *mask : {&given, &dispatched})
    if (!((mask->at[1] - F::constant(1)) * kept).isConstant(0, 1))
      return refusal.say(anchor, "kept slots are not 1 in the mask");
  F place = placeOf(given);
  if (!((place - placeOf(dispatched)) * kept).isConstant(0, 1))
    return refusal.say(anchor, "rows and results have other places");
  if (!place.isDistinct(*places))
    return refusal.say(anchor, "several slots may have one place");
  return places;
}

bool MaskLayer::raise(const TermProduct &combine, unsigned rows) {
  if (!readCombine(combine, rows) || !readDispatch())
    return decline();
  std::optional<int64_t> places = compareMasks();
  if (!places || !build(given, x, combine.op->getResult(0), tokens, places))
    return decline();
  return true;
}

//===----------------------------------------------------------------------===//
// Row numbers
//===----------------------------------------------------------------------===//

/// The index of rows that a node gathers or scatters along axis 0, one for each
/// row.
std::optional<Value> RowLayer::getIndex(Operation *op, bool isGather) {
  StringRef name = op->getName().getStringRef();
  Value index = op->getOperand(1);
  int64_t rank = match::getRank(index);
  if (match::getRank(op->getOperand(0)) != 2 || rank < 1)
    return std::nullopt;
  if (isGather && name == "onnx.Gather")
    return match::getInt(op, "axis", 0) == 0 ? std::optional(index)
                                             : std::nullopt;
  if (name == (isGather ? "onnx.GatherND" : "onnx.ScatterND"))
    return getExtent(index, rank - 1) == 1 &&
                   match::getInt(op, "batch_dims", 0) == 0
               ? std::optional(index)
               : std::nullopt;
  if (name == (isGather ? "onnx.GatherElements" : "onnx.ScatterElements")) {
    std::optional<int64_t> axis = match::getAxis(op, "axis", 0, 2);
    return axis == 0 && rank == 2 && View::of(index, dims).isRepeated(1) &&
                   sameExtent(index, 1, op->getOperand(0), 1)
               ? std::optional(index)
               : std::nullopt;
  }
  return std::nullopt;
}

/// What rows are gathered from: those of the experts, perhaps zeros behind
/// them.
bool RowLayer::readBuffer(Value data) {
  Value rows = match::strip(data);
  allRows = getExtent(rows, 0);
  if (Operation *concat = match::getNode(rows, "onnx.Concat")) {
    if (match::getAxis(concat, "axis", 0, 2) != 0)
      return false;
    for (Value more : concat->getOperands().drop_front())
      if (!match::isNumber(more, 0))
        return false;
    rows = concat->getOperand(0);
  }
  numRows = getExtent(rows, 0);
  View view = View::of(rows, dims);
  std::optional<BufferExperts> found =
      matchBufferExperts(view.getBase(), dims, refusal);
  if (!found)
    return false;
  experts = std::move(*found);
  if (!view.keepsOrder() || match::getRank(rows) != 2 ||
      ShapedType::isDynamic(numRows) || ShapedType::isDynamic(allRows) ||
      !sameExtent(rows, 1, experts.out, match::getRank(experts.out) - 1))
    return refuse(anchor, "the rows of the experts are not numbered one after "
                          "the other");
  for (unsigned i = 0; i < experts.expertAxis; ++i)
    if (getExtent(experts.out, i) != 1)
      return refuse(anchor,
                    "the rows of the experts are not numbered expert by "
                    "expert");
  if (experts.numExperts <= 0 || numRows % experts.numExperts != 0)
    return refuse(anchor, "the experts differ in their number of rows");
  perExpert = numRows / experts.numExperts;
  return perExpert > 0;
}

/// How rows get into the buffer.
bool RowLayer::readScatter() {
  View view = View::of(experts.in, dims);
  Value rows = view.getBase();
  Operation *op = rows.getDefiningOp();
  auto declined = [&] {
    return refuse(op ? op : anchor, "the experts' rows are not scattered into "
                                    "a buffer of zeros");
  };
  if (!op || !view.keepsOrder() || match::getRank(rows) != 2)
    return declined();
  if (op->getName().getStringRef() == "onnx.Slice") {
    // The first ones; its extent says how many.
    Value axes = match::getInput(op, 3), steps = match::getInput(op, 4);
    std::optional<int64_t> axis =
        axes ? match::getSingleInt(axes) : std::optional<int64_t>(0);
    if ((axis != 0 && axis != -2) ||
        match::getSingleInt(match::getInput(op, 1)) != 0 ||
        (steps && match::getSingleInt(steps) != 1))
      return declined();
    rows = match::strip(op->getOperand(0));
    op = rows.getDefiningOp();
    if (!op)
      return declined();
  }
  StringRef name = op->getName().getStringRef();
  if (name != "onnx.ScatterElements" && name != "onnx.ScatterND")
    return declined();
  std::optional<Value> numbers = getIndex(op, /*isGather=*/false);
  StringRef reduction = match::getString(op, "reduction", "none");
  if (!numbers || !match::isNumber(op->getOperand(0), 0) ||
      (reduction != "none" && reduction != "add") ||
      !sameExtent(op->getOperand(2), 1, op->getOperand(0), 1))
    return declined();
  std::optional<QueueTerm> found = reader.readIds(*numbers);
  if (!found || found->level != QueueTerm::Level::Slot || found->hasPlace)
    return refuse(op, "the numbers of rows are not made of ids and places");
  scattered = *found;
  auto places = readRows(scattered, op);
  if (!places)
    return false;
  written = *places;
  if (!(written.kept + written.behind).isConstant(1, 1))
    return refuse(op, "dropped slots get the row of an expert");
  x = op->getOperand(2);
  tokenAxes = {scattered.axes[0], featureOf(x, dims)};
  return true;
}

/// Rows expert * perExpert + place, with the place in [0, perExpert), and other
/// numbers.
std::optional<RowLayer::Rows> RowLayer::readRows(const QueueTerm &rows,
                                                 Operation *at) {
  const F &number = rows.at[1];
  Rows result;
  result.kept = number.hasIdFactor(static_cast<double>(perExpert));
  F other = number.hasIdFactor(0);
  if (!(result.kept + other).isConstant(1, 1))
    return refusal.say(at, "the numbers of rows are not expert * places + "
                           "place");
  result.place = number.withoutId();
  auto atLeast = [&](double least) {
    return F::compare(result.place, F::constant(least),
                      [](int sign) { return sign >= 0; });
  };
  F inside = atLeast(0) - atLeast(0) * atLeast(static_cast<double>(perExpert));
  if (!((inside - F::constant(1)) * result.kept).isConstant(0, 1))
    return refusal.say(at, "slots without a place get a row of another expert");
  result.behind = other * atLeast(static_cast<double>(numRows));
  return result;
}

bool RowLayer::readGather() {
  std::optional<Value> numbers = getIndex(anchor, /*isGather=*/true);
  std::optional<QueueTerm> found = reader.readIds(*numbers);
  if (!found || found->level != QueueTerm::Level::Slot || found->hasPlace)
    return refuse(anchor, "the numbers of rows are not made of ids and places");
  index = *found;
  auto places = readRows(index, anchor);
  if (!places)
    return false;
  read = *places;
  // Rows of the slots, zeros, and such that must not count.
  term = index;
  term.at[1] = F::select(read.kept, F::constant(1),
                         F::select(read.behind, F::constant(0), F()));
  StringRef name = anchor->getName().getStringRef();
  if (name != "onnx.Gather")
    term.axes.pop_back();
  term.axes.push_back(featureOf(anchor->getResult(0), dims));
  return true;
}

/// Along the users of the gathered rows to the sum over the slots of a token.
bool RowLayer::follow() {
  Value at = anchor->getResult(0);
  result = at;
  QueueTerm current = term;
  while (at.hasOneUse()) {
    Operation *user = *at.getUsers().begin();
    if (user->getNumResults() != 1)
      break;
    Value next = user->getResult(0);
    StringRef name = user->getName().getStringRef();
    View view = View::of(next, dims, at);
    if (view.getBase() == at && next != at) {
      std::optional<QueueAxes> axes = dimsOfView(view, current.axes);
      if (!axes)
        break;
      current.axes = *axes;
    } else if (name == "onnx.Mul") {
      Value weight = user->getOperand(user->getOperand(0) == at);
      // Numbers may as well stay outside.
      if (match::getNumber(weight))
        break;
      std::optional<QueueTerm> product =
          reader.multiply(user, current, weight, current.axes);
      if (!product || weight == at)
        break;
      current = *product;
      term = current;
      result = next;
    } else if (name == "onnx.ReduceSum") {
      auto over = match::getAxes(user);
      if (!over || over->size() != 1)
        break;
      QueueDims &axis = current.axes[over->front()];
      if (!llvm::all_of(
              axis, [](const QueueDim &dim) { return dim.kind == Kind::Slot; }))
        break;
      current.choices.append(axis);
      axis.clear();
      if (!match::getInt(user, "keepdims", 1))
        current.axes.erase(current.axes.begin() + over->front());
      term = current;
      result = next;
    } else {
      break;
    }
    at = next;
  }
  return true;
}

/// What is written is what is read, each row once, and nothing else counts.
bool RowLayer::check(std::optional<int64_t> &places) {
  if (index.ids != scattered.ids || index.queue != scattered.queue ||
      !index.before.empty() || !scattered.before.empty())
    return refuse(anchor, "rows and results go by different queues");
  if (index.queue.empty())
    return refuse(anchor, "no slots are counted");
  F kept = term.at[1];
  bool endless = false;
  places = matchKept(kept, endless);
  if (!places)
    return refuse(anchor, "what is kept are not the first slots of each "
                          "expert");
  if (!((written.kept - F::constant(1)) * kept).isConstant(0, 1) ||
      !((read.kept - F::constant(1)) * kept).isConstant(0, 1))
    return refuse(anchor, "other slots are dropped from the results than from "
                          "the rows");
  // Rows that are written and not read must be none of those that are read.
  if (!(written.kept - kept).isConstant(0, 1))
    return refuse(anchor, "other slots are dropped from the results than from "
                          "the rows");
  if (!((written.place - read.place) * kept).isConstant(0, 1))
    return refuse(anchor, "rows and results have other places");
  if (!written.place.isDistinct(*places))
    return refuse(anchor, "several slots may have one place");
  return true;
}

bool RowLayer::raise() {
  std::optional<Value> numbers = getIndex(anchor, /*isGather=*/true);
  if (!numbers || !readBuffer(anchor->getOperand(0)) || !readScatter() ||
      !readGather() || !follow())
    return decline();
  std::optional<int64_t> places;
  if (!check(places))
    return decline();
  QueueDims all = flatten(term.axes);
  if (all.empty() || all.back().kind != Kind::Feature) {
    refuse(anchor, "features are not the last axis of the result");
    return decline();
  }
  all.pop_back();
  // Not to be put together with its neighbours before the features are gone.
  all = canonical(all);
  x = findTokens(x, tokenAxes, all);
  if (!x || !build(term, x, result, all, places))
    return decline();
  return true;
}

void moe::raiseExpertsWithCapacity(func::FuncOp func, RaiseContext &context) {
  SmallVector<Operation *> products, gathers;
  func.walk([&](Operation *op) {
    StringRef name = op->getName().getStringRef();
    if (name == "onnx.Einsum" || name == "onnx.MatMul")
      products.push_back(op);
    else if (name == "onnx.Gather" || name == "onnx.GatherND" ||
             name == "onnx.GatherElements")
      gathers.push_back(op);
  });
  for (Operation *op : products) {
    std::optional<TermProduct> product = matchTermProduct(op);
    if (!product || product->bias)
      continue;
    for (unsigned rows = product->operands.size(); rows-- > 0;)
      if (MaskLayer(op, context).raise(*product, rows))
        break;
  }
  for (Operation *op : gathers)
    RowLayer(op, context).raise();
}
