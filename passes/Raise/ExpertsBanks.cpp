//===- ExpertsBanks.cpp - experts as products with a bank -----------------===//
//
// Layers of experts whose products take the weights of all experts as a tensor:
//
//   gathered   W[ids] . x for each slot (transformers' batched_mm, gathered
//              weights of a hash, of a Sinkhorn plan, of one id for a batch)
//   dense      every expert on every token, weighted by gates that are mostly
//              zero (tiled), that scale what goes in (Llama 4), or that are not
//              zero at all (soft gates)
//
// The anchor is the second product. What is between the products is left to
// matchActivation; tokens are looked for in front of the first products, the
// weights and the sum over slots behind the second one.
//
//===----------------------------------------------------------------------===//

#include "dialects/ONNX/ONNXDialect.h"
#include "lib/Analysis/Dims.h"
#include "passes/Raise/Banks.h"
#include "passes/Raise/Match.h"
#include "passes/Raise/Nodes.h"
#include "passes/Raise/RaiseExperts.h"
#include "passes/Raise/SlotRows.h"
#include "passes/Raise/SparseGates.h"
#include "llvm/ADT/DenseSet.h"
#include "llvm/ADT/MapVector.h"

using namespace mlir;
using namespace moe;

namespace {

/// A product with its bias.
struct BiasedProduct {
  BankProduct product;
  /// The sum, as a view of the product.
  LabelledValue sum;
  Projection projection;
};

/// One layer, from its second product.
class BankLayer {
public:
  BankLayer(RaiseContext &context, Refusal &refusal,
            llvm::DenseSet<Operation *> &used)
      : context(context), dims(context.getDims()), refusal(refusal), used(used),
        slots(context.getDims()) {}

  bool match(const BankProduct &second);
  bool raise();
  bool hasNetwork() const { return !network.steps.empty(); }

private:
  std::nullopt_t refuse(Operation *at, const Twine &why) {
    return refusal.say(at, why);
  }
  std::optional<BiasedProduct> matchBias(const BankProduct &product);
  std::optional<Projection> matchFirst(Value value);
  bool checkFirst(const BiasedProduct &first, const Runs &hidden);
  bool matchRows();
  bool startSlots();
  bool matchSum();
  Runs getKinds(const BiasedProduct &first) const;
  Runs getHiddenKinds() const;
  Run::Kind getKind(const BankProduct &product, int label) const;

  Value makeIds(Operation *at);
  Value spreadIds(const SlotValue &ids, Operation *at);
  std::optional<SlotValue> getScale();
  bool makeGates(ExpertLayer &layer);

  RaiseContext &context;
  DimContext &dims;
  Refusal &refusal;
  llvm::DenseSet<Operation *> &used;
  BiasedProduct second;
  SmallVector<BiasedProduct, 2> first;
  FeedForward network;
  SlotRows rows;
  SlotSum slots;
  DenseMap<int, unsigned> coordOf;
};

} // namespace

//===----------------------------------------------------------------------===//
// Products
//===----------------------------------------------------------------------===//

static Projection getProjection(const BankProduct &product,
                                const LabelledValue &sum, Value bias) {
  Projection projection;
  projection.rows = product.getRows();
  projection.weights = product.bank;
  projection.layout = product.layout;
  projection.bias = bias;
  projection.result = sum.value;
  projection.featureAxis = sum.find(product.outFeature);
  return projection;
}

/// The product with the bias behind it, if it has one.
std::optional<BiasedProduct> BankLayer::matchBias(const BankProduct &product) {
  BiasedProduct biased;
  biased.product = product;
  std::optional<LabelledValue> sum =
      labelView(product, product.getResult(), dims);
  if (!sum)
    return std::nullopt;
  Value bias;
  if (Value addend = product.sum.bias) {
    bias = matchBankBias(product, *sum, addend, dims);
    if (!bias)
      return refuse(product.sum.op, "what Gemm adds is no bias of the expert");
  }
  // Through views to an Add.
  Value at = product.getResult();
  while (!bias && at.hasOneUse()) {
    Operation *op = *at.user_begin();
    if (op->getNumResults() != 1)
      break;
    if (op->getName().getStringRef() == "onnx.Add") {
      Value addend = op->getOperand(op->getOperand(0) == at ? 1 : 0);
      std::optional<LabelledValue> view = labelView(product, at, dims);
      if (!view || !sameExtents(op->getResult(0), at))
        break;
      bias = matchBankBias(product, *view, addend, dims);
      if (!bias)
        break;
      sum = view;
      sum->value = op->getResult(0);
      break;
    }
    View view = View::of(op->getResult(0), dims, at, /*throughCasts=*/true);
    if (view.getBase() != at || op->getResult(0) == at)
      break;
    at = op->getResult(0);
  }
  biased.sum = *sum;
  biased.projection = getProjection(product, *sum, bias);
  if (biased.projection.featureAxis < 0)
    return std::nullopt;
  return biased;
}

/// A product in front of the activation: the value itself, or with a bias.
std::optional<Projection> BankLayer::matchFirst(Value value) {
  Operation *op = value.getDefiningOp();
  if (!op)
    return std::nullopt;
  Operation *sum = op;
  if (op->getName().getStringRef() == "onnx.Add")
    for (Value operand : op->getOperands())
      if (Operation *base =
              View::of(operand, dims, {}, true).getBase().getDefiningOp();
          base && readContraction(base))
        sum = base;
  std::optional<BankProduct> product = matchBankProduct(sum, dims);
  if (!product)
    return std::nullopt;
  std::optional<BiasedProduct> biased = matchBias(*product);
  if (!biased || biased->sum.value != value)
    return std::nullopt;
  used.insert(sum);
  first.push_back(*biased);
  return biased->projection;
}

Run::Kind BankLayer::getKind(const BankProduct &product, int label) const {
  if (label == product.in || label == product.outFeature)
    return Run::Feature;
  if (!product.ids && label == product.expert)
    return Run::Expert;
  return llvm::is_contained(product.slots, label) ? Run::Picked : Run::Token;
}

/// The order of what a first product gives.
Runs BankLayer::getKinds(const BiasedProduct &first) const {
  Runs runs;
  for (ArrayRef<int> labels : first.sum.axes)
    for (int label : labels)
      if (label != Contraction::kUnit)
        appendRun(runs, getKind(first.product, label),
                  first.product.getExtent(label, dims));
  return runs;
}

/// The order of what the second product takes.
Runs BankLayer::getHiddenKinds() const {
  const BankProduct &product = second.product;
  Runs runs;
  for (int label : product.sum.labels[product.rowsAt])
    if (label != Contraction::kUnit)
      appendRun(runs, getKind(product, label), product.getExtent(label, dims));
  return runs;
}

/// Whether the labels of ids occur in `order` in their order.
static bool keepsIdsOrder(const BankProduct &product, ArrayRef<int> order) {
  const int *at = order.begin();
  for (int label : product.slots) {
    if (label == Contraction::kUnit)
      continue;
    at = std::find(at, order.end(), label);
    if (at == order.end())
      return false;
    ++at;
  }
  return true;
}

bool BankLayer::checkFirst(const BiasedProduct &own, const Runs &hidden) {
  const BankProduct &a = own.product, &b = second.product;
  Operation *at = a.sum.op;
  if (a.sum.operands.size() != 2) {
    refuse(at, "the first product has more operands than rows and weights");
    return false;
  }
  if (bool(a.ids) != bool(b.ids) ||
      (a.ids && stripToFlat(a.ids) != stripToFlat(b.ids))) {
    refuse(at, "the products take experts by different ids");
    return false;
  }
  if (a.getNumExperts() != b.getNumExperts()) {
    refuse(at, "the banks of the products hold " + Twine(a.getNumExperts()) +
                   " and " + Twine(b.getNumExperts()) + " experts");
    return false;
  }
  SmallVector<int> order;
  for (ArrayRef<int> labels : own.sum.axes)
    order.append(labels.begin(), labels.end());
  if (!sameRuns(getKinds(own), hidden) || !keepsIdsOrder(a, order)) {
    refuse(at, "tokens and experts are in another order than in the second "
               "product");
    return false;
  }
  return true;
}

//===----------------------------------------------------------------------===//
// Rows and slots
//===----------------------------------------------------------------------===//

bool BankLayer::matchRows() {
  for (auto [i, own] : llvm::enumerate(first)) {
    SmallVector<int> labels;
    for (ArrayRef<int> axis : own.sum.axes)
      for (int label : axis)
        if (label != Contraction::kUnit && label != own.product.outFeature)
          labels.push_back(label);
    std::optional<SlotRows> found = matchSlotRows(own.product, labels, dims);
    if (!found) {
      refuse(own.product.sum.op, "its rows are not tokens in their order, each "
                                 "repeated for its experts");
      return false;
    }
    if (i > 0 && (found->tokens != rows.tokens || found->scale != rows.scale ||
                  !sameRuns(found->runs, rows.runs))) {
      refuse(own.product.sum.op, "gate and up projection have different rows");
      return false;
    }
    rows = *found;
  }
  return true;
}

/// One coordinate for each label of the second product's rows.
bool BankLayer::startSlots() {
  const BankProduct &product = second.product;
  ArrayRef<int> labels = product.sum.labels[product.rowsAt];
  Coords order, gone;
  for (int label : labels) {
    if (label == Contraction::kUnit || label == product.in)
      continue;
    unsigned coord =
        slots.add(getKind(product, label), product.getExtent(label, dims));
    coordOf[label] = coord;
    order.push_back(coord);
    if (!product.sum.inOut(label))
      gone.push_back(coord);
  }
  coordOf[product.outFeature] =
      slots.add(Run::Feature, product.getExtent(product.outFeature, dims));
  SmallVector<Coords, 4> axes;
  for (ArrayRef<int> axis : second.sum.axes) {
    Coords &coords = axes.emplace_back();
    for (int label : axis) {
      if (label == Contraction::kUnit)
        continue;
      auto it = coordOf.find(label);
      if (it == coordOf.end()) {
        refuse(product.sum.op, "an axis of the second product is no axis of "
                               "its rows");
        return false;
      }
      coords.push_back(it->second);
    }
  }
  slots.start(second.sum.value, std::move(axes), order);
  if (!gone.empty())
    slots.addSummed(gone);
  // Operands of an Einsum beside rows and bank.
  for (unsigned i = 0; i < product.sum.operands.size(); ++i) {
    if (i == product.rowsAt || i == product.bankAt)
      continue;
    SlotValue weight{product.sum.operands[i], {}};
    for (int label : product.sum.labels[i]) {
      Coords &coords = weight.axes.emplace_back();
      if (label == Contraction::kUnit)
        continue;
      auto it = coordOf.find(label);
      if (it == coordOf.end()) {
        refuse(product.sum.op, "an operand beside rows and weights is no gate");
        return false;
      }
      coords.push_back(it->second);
    }
    slots.addWeight(std::move(weight));
  }
  return true;
}

static std::string describe(Operation *op) {
  return op ? ("'" + op->getName().getStringRef() + "'").str()
            : std::string("more than one node");
}

bool BankLayer::matchSum() {
  slots.run();
  Operation *end = slots.getResult().getDefiningOp();
  Operation *at = slots.isSummed() || !slots.getStop() ? end : slots.getStop();
  if (!second.product.ids && !slots.isOverExperts()) {
    refuse(at, "what the experts give for a token is not weighted and summed, "
               "but read by " +
                   describe(slots.getStop()));
    return false;
  }
  if (!sameRuns(rows.runs, slots.getRuns())) {
    refuse(at, slots.isSummed()
                   ? Twine("the sum is not over the experts of a token")
                   : "the experts of a token are not summed, but read by " +
                         describe(slots.getStop()));
    return false;
  }
  if (!slots.isInOrder()) {
    refuse(end, "the sum over the experts has tokens in another order than "
                "what went in");
    return false;
  }
  return true;
}

bool BankLayer::match(const BankProduct &product) {
  std::optional<BiasedProduct> biased = matchBias(product);
  if (!biased) {
    refuse(product.sum.op, "the features of the product are not an axis");
    return false;
  }
  second = *biased;
  auto found = matchActivation(
      second.projection, [&](Value value) { return matchFirst(value); },
      refusal);
  if (!found)
    return false;
  network = std::move(*found);
  // The walk may have looked at products that are not part of the network.
  llvm::erase_if(first, [&](const BiasedProduct &own) {
    return llvm::none_of(network.first, [&](const Projection &projection) {
      return projection.result == own.sum.value;
    });
  });
  Runs hidden = getHiddenKinds();
  for (const BiasedProduct &own : first)
    if (!checkFirst(own, hidden))
      return false;
  SmallVector<int> order(
      second.product.sum.labels[second.product.rowsAt].begin(),
      second.product.sum.labels[second.product.rowsAt].end());
  if (!keepsIdsOrder(second.product, order)) {
    refuse(product.sum.op, "ids are in another order than rows");
    return false;
  }
  return matchRows() && startSlots() && matchSum();
}

//===----------------------------------------------------------------------===//
// Making the layer
//===----------------------------------------------------------------------===//

/// The ids [tokens.., k] of a layer with gathered weights.
Value BankLayer::makeIds(Operation *at) {
  const BankProduct &product = second.product;
  OpBuilder &b = context.getRewriter();
  SlotValue given{product.ids, {}};
  given.axes.resize(match::getRank(product.ids));
  for (auto [label, axes] : llvm::zip(product.slots, product.slotAxes)) {
    if (label == Contraction::kUnit)
      continue;
    Coords left = slots.expand({coordOf.lookup(label)});
    for (int64_t axis : axes)
      if (!slots.takeRun(toExpr(dims, getDim(product.ids, axis)), left,
                         given.axes[axis])) {
        refuse(at, "ids are cut in other pieces than rows");
        return {};
      }
  }
  bool isPartial = llvm::any_of(
      slots.getKinds(), [](const Run &run) { return run.kind == Run::Token; });
  Value ids = isPartial || slots.getKinds().empty()
                  ? spreadIds(given, at)
                  : slots.makeNatural(b, at->getLoc(), given);
  if (!ids) {
    refuse(at, "ids are in another order than tokens");
    return {};
  }
  return wrapNegativeIds(b, at->getLoc(), ids, product.getNumExperts());
}

/// Ids that hold for more than one token: [tokens.., 1].
Value BankLayer::spreadIds(const SlotValue &given, Operation *at) {
  OpBuilder &b = context.getRewriter();
  Location loc = at->getLoc();
  NodeBuilder nodes(b, loc);
  if (slots.isSummed())
    return {};
  if (areFromHits(given.value)) {
    refuse(at, "this is one expert of a loop over those that were hit");
    return {};
  }
  // The ids' tokens are the outermost axes of the tokens.
  auto ids = cast<RankedTensorType>(given.value.getType());
  auto tokens = cast<RankedTensorType>(rows.tokens.getType());
  Runs kinds = slots.getKinds();
  if (kinds.size() > 2 ||
      (kinds.size() == 2 && kinds.front().kind != Run::Picked))
    return {};
  DimExpr picked = DimExpr::constant(1);
  if (!kinds.empty() && kinds.front().kind == Run::Picked)
    picked = kinds.front().extent;
  SmallVector<int64_t> front;
  DimExpr covered = DimExpr::constant(1);
  int64_t count = 0;
  while (covered != picked && count + 1 < tokens.getRank())
    covered = covered * toExpr(dims, getDim(rows.tokens, count++));
  if (covered != picked)
    return {};
  // [picked..] with an axis of extent 1 for each that it holds for.
  int64_t rank = tokens.getRank() - 1;
  Value shape = makeShape(b, loc, rows.tokens);
  auto ints = [&](int64_t n) {
    return RankedTensorType::get({n}, b.getI64Type());
  };
  Value all = nodes.create(
      "onnx.Slice", {shape, makeInts(b, loc, {0}), makeInts(b, loc, {rank})},
      ints(rank));
  SmallVector<int64_t> extents(tokens.getShape().drop_back());
  SmallVector<int64_t> narrow(extents);
  for (int64_t i = count; i < rank; ++i)
    narrow[i] = 1;
  Value target = makeInts(b, loc, SmallVector<int64_t>(rank, 1));
  if (count > 0) {
    target = nodes.create(
        "onnx.Slice", {shape, makeInts(b, loc, {0}), makeInts(b, loc, {count})},
        ints(count));
    if (count < rank)
      target = nodes.create(
          "onnx.Concat",
          {target, makeInts(b, loc, SmallVector<int64_t>(rank - count, 1))},
          ints(rank), b.getNamedAttr("axis", b.getI64IntegerAttr(0)));
  }
  Type element = ids.getElementType();
  Value value = nodes.reshape(given.value, target,
                              RankedTensorType::get(narrow, element));
  value = nodes.create("onnx.Expand", {value, all},
                       RankedTensorType::get(extents, element));
  extents.push_back(1);
  return nodes.create("onnx.Unsqueeze", {value, makeInts(b, loc, {-1})},
                      RankedTensorType::get(extents, element));
}

/// What scales the rows of slots, in coordinates.
std::optional<SlotValue> BankLayer::getScale() {
  Value product = rows.scaled->getResult(0);
  int64_t rank = match::getRank(product), own = match::getRank(rows.scale);
  SlotValue scale{rows.scale, {}};
  Coords left = slots.expand(slots.getOrder());
  for (int64_t i = 0; i + 1 < rank; ++i) {
    Coords axis;
    if (!slots.takeRun(toExpr(dims, getDim(product, i)), left, axis))
      return refuse(rows.scaled, "what scales the rows has other axes");
    int64_t at = i - (rank - own);
    if (at < 0)
      continue;
    bool isUnit = getExtent(rows.scale, at) == 1;
    if (!isUnit && !sameExtent(rows.scale, at, product, i))
      return refuse(rows.scaled, "what scales the rows has other extents");
    scale.axes.push_back(isUnit ? Coords() : axis);
  }
  scale.axes.emplace_back();
  return scale;
}

/// Ids and weights where every expert runs on every token.
bool BankLayer::makeGates(ExpertLayer &layer) {
  ArrayRef<SlotValue> given = slots.getWeights();
  double factor = slots.getFactor();
  OpBuilder &b = context.getRewriter();
  Operation *at = slots.getResult().getDefiningOp();
  Location loc = at->getLoc();
  int64_t experts = second.product.getNumExperts();
  Value gates = given.size() == 1 ? slots.findNatural(given[0]) : Value();
  std::optional<SparseGates> sparse;
  if (gates && getExtent(gates, match::getRank(gates) - 1) == experts)
    sparse = SparseGates::match(gates);
  bool atInput = layer.scaleAt == ir::ScaleAt::Input;
  if (sparse && atInput && !isZeroAtZero(network)) {
    refuse(at, "experts that a token did not pick get zeros and are not "
               "proven to give 0 for them");
    return false;
  }
  if (sparse) {
    layer.ids = wrapNegativeIds(b, loc, sparse->getIds(), experts);
    layer.weights = sparse->makeWeights(b, loc);
    if (factor != 1) {
      Type element = match::getElementType(layer.weights);
      layer.weights = NodeBuilder(b, loc).create(
          "onnx.Mul", {layer.weights, makeNumber(b, loc, element, factor)},
          layer.weights.getType());
    }
    return true;
  }
  // Soft gates: a token goes to all experts.
  if (given.empty()) {
    refuse(at, "all experts run on all tokens without weights");
    return false;
  }
  layer.weights = slots.makeWeights(b, loc, Value(), refusal);
  if (!layer.weights)
    return false;
  layer.ids = makeAllIds(b, loc, layer.weights);
  return true;
}

bool BankLayer::raise() {
  Value result = slots.getResult();
  Operation *at = result.getDefiningOp();
  RewriterBase &rewriter = context.getRewriter();
  RewriterBase::InsertionGuard guard(rewriter);
  rewriter.setInsertionPoint(at);
  Operation *before = at->getPrevNode();
  auto undo = [&] {
    while (at->getPrevNode() != before)
      rewriter.eraseOp(at->getPrevNode());
    return false;
  };

  ExpertLayer layer;
  layer.tokens = rows.tokens;
  layer.experts.push_back(network);
  if (rows.scale) {
    std::optional<SlotValue> scale = getScale();
    if (!scale)
      return undo();
    if (!slots.getWeights().empty() || slots.getFactor() != 1) {
      refuse(at, "weights scale what goes into the experts and what comes out");
      return undo();
    }
    slots.addWeight(*scale);
    layer.scaleAt = ir::ScaleAt::Input;
  }
  if (second.product.ids) {
    layer.ids = makeIds(at);
    if (!layer.ids)
      return undo();
    layer.weights =
        slots.makeWeights(rewriter, at->getLoc(), layer.ids, refusal);
    if (!layer.weights)
      return undo();
  } else if (!makeGates(layer)) {
    return undo();
  }
  Value made = buildExperts(rewriter, at->getLoc(), layer, refusal);
  if (!made)
    return undo();
  if (!replaceWithExperts(rewriter, result, made,
                          {rows.tokens, layer.ids, layer.weights}, refusal)) {
    return undo();
  }
  context.noteRaised();
  return true;
}

//===----------------------------------------------------------------------===//
// The family
//===----------------------------------------------------------------------===//

/// Experts of one neuron each: two products with rows of two matrices that the
/// same ids pick, and an activation between them.
static bool areNeurons(Operation *op, DimContext &dims) {
  Value hidden, ignored;
  Value ids = matchNeurons(op, hidden, dims);
  for (unsigned steps = 0; ids && hidden && steps < 16; ++steps) {
    Operation *at = hidden.getDefiningOp();
    if (!at || at->getNumOperands() == 0)
      return false;
    if (Value others = matchNeurons(at, ignored, dims))
      return stripToFlat(others) == stripToFlat(ids);
    // Through the operand that depends on more than the other one.
    hidden = at->getOperand(0);
  }
  return false;
}

void moe::raiseBanks(func::FuncOp func, RaiseContext &context) {
  SmallVector<Operation *> anchors;
  func.walk([&](Operation *op) {
    if (matchBankProduct(op, context.getDims()))
      anchors.push_back(op);
    if (!areNeurons(op, context.getDims()))
      return;
    Refusal refusal;
    refusal.say(op,
                "experts of one neuron stay: the rows that ids pick are all "
                "that they need, and a bank would be padded to many times "
                "its size");
    context.noteMissed(op, refusal);
  });
  // The first product of a layer that did not raise is no layer of its own: it
  // was found in front of the second, or takes experts by the same ids.
  llvm::DenseSet<Operation *> used;
  llvm::MapVector<Value, std::pair<Operation *, Refusal>> missed;
  for (Operation *op : anchors) {
    std::optional<BankProduct> product =
        matchBankProduct(op, context.getDims());
    Refusal refusal;
    BankLayer layer(context, refusal, used);
    if (layer.match(*product) && layer.raise())
      continue;
    // A bank that is multiplied as a whole is one of experts only if a network
    // is around it.
    if (product->ids || layer.hasNetwork())
      missed[product->ids ? stripToFlat(product->ids) : product->getResult()] =
          {op, refusal};
  }
  for (auto &[key, miss] : missed)
    if (!used.contains(miss.first))
      context.noteMissed(miss.first, miss.second);
}
