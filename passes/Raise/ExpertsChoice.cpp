//===- ExpertsChoice.cpp - experts that choose tokens ---------------------===//
//
// Each expert takes the C tokens with its largest scores (TopK
// along the tokens). Their rows are gathered, or multiplied by one-hot rows;
// what the experts give is added to the tokens' results, or multiplied back. An
// expert takes a token at most once, so it is one slot of that token: slot e
// holds e or nothing. The layer becomes `moe.experts` on the tokens with as
// many slots as there are experts, and no row is copied.
//
//===----------------------------------------------------------------------===//

#include "dialects/MoE/MoEDialect.h"
#include "dialects/ONNX/ONNXDialect.h"
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

using Kind = QueueDim::Kind;

QueueDims featureOf(Value value, DimContext &dims) {
  unsigned last = match::getRank(value) - 1;
  return {{Kind::Feature, 0, {}, toExpr(dims, getDim(value, last))}};
}

bool isFeature(const QueueDims &axis) {
  return axis.size() == 1 && axis[0].kind == Kind::Feature;
}

/// A layer whose experts choose tokens; the anchor gives its result.
class ChoiceLayer : LayerMatcher {
public:
  ChoiceLayer(Operation *anchor, RaiseContext &context)
      : LayerMatcher(anchor, context), reader(dims, refusal) {}
  bool raiseScattered();
  bool raiseProduct(const TermProduct &combine, unsigned rows);

private:
  bool isNoChoice() { return refuse(anchor, "no expert chooses tokens"); }
  std::optional<QueueTerm> readTokens(Value indices);
  bool findExperts(Value rows, const QueueAxes &axes);
  bool readRows();
  bool readGathered(Operation *gather, const QueueAxes &out);
  bool readMultiplied(const TermProduct &product, const QueueAxes &out);
  bool checkTokens(Value x, ArrayRef<std::optional<QueueDims>> axes);
  bool checkResult();

  bool settle();
  bool build();
  Value shapeOfSlots(ExpertNodes &nodes);
  Value slotsOf(ExpertNodes &nodes, Value shape, Value updates,
                Attribute empty);
  Value weightsOf(ExpertNodes &nodes);

  QueueReader reader;
  BufferExperts experts;
  /// What the axes of the experts' buffer are of `chosen`.
  QueueAxes bufferAxes;

  /// Indices of tokens, their axis and that of the experts; what they were
  /// chosen by, and its axis of tokens.
  Value chosen, scores;
  int64_t placeAxis = 0, expertAxis = 0, tokenAxis = 0;
  /// All other axes of `chosen` that are not of extent 1.
  SmallVector<int64_t> sequenceAxes;
  SmallVector<QueueDims> sequences;
  SmallVector<SlotWeight, 2> weights;
  Value x;
  /// The result is added to it unless it is null.
  Value addend;
};

} // namespace

/// Numbers of tokens: the results of one TopK, moved about.
std::optional<QueueTerm> ChoiceLayer::readTokens(Value indices) {
  std::optional<QueueTerm> term = reader.readIds(indices);
  if (!term || term->level != QueueTerm::Level::Slot || term->hasPlace ||
      !term->at[1].isIdentityOfId())
    return std::nullopt;
  if (chosen && chosen != term->ids)
    return refusal.say(anchor, "two different index values meet");
  chosen = term->ids;
  return term;
}

/// The experts behind rows whose axes are `axes`, and the weights that scale
/// what they give.
bool ChoiceLayer::findExperts(Value rows, const QueueAxes &axes) {
  rows = match::strip(rows);
  View view = View::of(rows, dims);
  std::optional<QueueAxes> ofBase = dimsOfBase(view, axes);
  Value base = view.getBase();
  if (std::optional<BufferExperts> found =
          matchBufferExperts(base, dims, refusal)) {
    if (!ofBase)
      return refuse(anchor, "the results of the experts have other axes than "
                            "the chosen tokens");
    experts = std::move(*found);
    bufferAxes = *ofBase;
    return true;
  }
  Value a, b;
  if (refusal || !ofBase || !match::matchBinary(base, "onnx.Mul", a, b))
    return false;
  for (bool swapped : {false, true}) {
    Value weight = swapped ? a : b, other = swapped ? b : a;
    if (!matchBufferExperts(View::of(other, dims).getBase(), dims, refusal))
      continue;
    SlotWeight scale{weight, {}};
    size_t missing = ofBase->size() - match::getRank(weight);
    for (auto [i, extent] : llvm::enumerate(getDims(weight))) {
      QueueDims &axis = scale.axes.emplace_back();
      if (extent.isStatic() && extent.size == 1)
        continue;
      axis = (*ofBase)[i + missing];
      if (isFeature(axis))
        return refuse(anchor, "results are scaled feature by feature");
    }
    weights.push_back(scale);
    return sameExtents(other, base) && findExperts(other, *ofBase);
  }
  return false;
}

/// x[sequences, token, :] for the chosen tokens, by whichever gather.
bool ChoiceLayer::readGathered(Operation *gather, const QueueAxes &out) {
  StringRef name = gather->getName().getStringRef();
  Value data = gather->getOperand(0);
  std::optional<QueueTerm> index = readTokens(gather->getOperand(1));
  if (!index)
    return isNoChoice();
  QueueAxes rows = index->axes;
  int64_t rank = match::getRank(data), axis = 0;
  View view = View::of(data, dims);
  // What the axes of the data are; none for that of the tokens.
  SmallVector<std::optional<QueueDims>> axes;
  if (name == "onnx.GatherElements") {
    std::optional<int64_t> along = match::getAxis(gather, "axis", 0, rank);
    if (!along || *along == rank - 1 ||
        !sameExtent(gather->getOperand(1), rank - 1, data, rank - 1))
      return isNoChoice();
    axis = *along;
    for (const QueueDim &dim : rows.back())
      if (dim.kind != Kind::Repeat)
        return refuse(gather, "features of a row come from different tokens");
    rows.back() = featureOf(data, dims);
    for (int64_t i = 0; i < rank; ++i)
      axes.push_back(i == axis ? std::nullopt : std::optional(rows[i]));
  } else if (name == "onnx.GatherND") {
    axis = match::getInt(gather, "batch_dims", 0);
    if (axis != rank - 2 || rows.empty() ||
        getExtent(gather->getOperand(1), rows.size() - 1) != 1)
      return isNoChoice();
    rows.back() = featureOf(data, dims);
    for (int64_t i = 0; i < axis; ++i)
      axes.push_back(rows[i]);
    axes.push_back(std::nullopt);
    axes.push_back(rows.back());
  } else {
    if (match::getInt(gather, "axis", 0) != 0 || rank != 2)
      return isNoChoice();
    rows.push_back(featureOf(data, dims));
    axes = {std::nullopt, rows.back()};
  }
  if (rows.size() != out.size() ||
      !llvm::all_of(llvm::zip(rows, out), [](auto pair) {
        return canonical(std::get<0>(pair)) == canonical(std::get<1>(pair));
      }))
    return refuse(gather, "rows go to other places than results come from");
  // Of the tokens themselves: repeated axes go.
  SmallVector<std::optional<QueueDims>> ofBase(view.getBaseRank(), QueueDims());
  for (int64_t i = 0; i < rank; ++i) {
    if (view.isRepeated(i))
      continue;
    bool found = false;
    for (int64_t j = 0; j < static_cast<int64_t>(view.getBaseRank()); ++j)
      if (view.walks(i, j)) {
        ofBase[j] = axes[i];
        found = true;
      }
    if (!found)
      return refuse(gather,
                    "rows are gathered from something else than tokens");
  }
  return checkTokens(view.getBase(), ofBase);
}

/// One-hot rows times tokens.
bool ChoiceLayer::readMultiplied(const TermProduct &product,
                                 const QueueAxes &out) {
  for (unsigned rows : {1u, 0u}) {
    SmallVector<int> letters;
    std::optional<QueueTerm> term =
        reader.readFactors(product, static_cast<int>(rows), letters);
    if (!term || term->level != QueueTerm::Level::Expert || term->hasPlace ||
        !term->queue.empty() || !term->weights.empty() || term->ids != chosen ||
        !term->at[0].isConstant(0, 0) || !term->at[1].isConstant(1, 0))
      continue;
    auto find = [&](int letter) -> QueueDims {
      for (auto [own, axis] : llvm::zip(letters, term->axes))
        if (own == letter && letter >= 0)
          return axis;
      return {};
    };
    for (auto [letter, axis] : llvm::zip(product.output, out))
      if (letter >= 0 && !isFeature(axis) && find(letter) != axis)
        return refuse(product.op, "rows go to other places than results come "
                                  "from");
    SmallVector<std::optional<QueueDims>> axes;
    for (int letter : product.letters[rows]) {
      QueueDims axis = find(letter);
      if (letter >= 0 && axis.empty())
        axis = featureOf(product.op->getResult(0), dims);
      bool isToken = axis.size() == 1 && axis[0].kind == Kind::Expert;
      // Tokens, and nothing else, are summed over.
      if (isToken == llvm::is_contained(product.output, letter) && letter >= 0)
        return refuse(product.op, "something else than tokens is summed over");
      axes.push_back(isToken ? std::nullopt : std::optional(axis));
    }
    for (auto [letter, axis] : llvm::zip(letters, term->axes))
      if (letter >= 0 && !axis.empty() &&
          !llvm::is_contained(product.output, letter) &&
          !(axis.size() == 1 && axis[0].kind == Kind::Expert))
        return refuse(product.op, "something else than tokens is summed over");
    return checkTokens(product.operands[rows], axes);
  }
  return isNoChoice();
}

/// Where the experts' rows come from.
bool ChoiceLayer::readRows() {
  View view = View::of(experts.in, dims);
  QueueAxes in = bufferAxes;
  in.back() = featureOf(experts.in, dims);
  std::optional<QueueAxes> out = dimsOfBase(view, in);
  Operation *op = view.getBase().getDefiningOp();
  if (!op || !out)
    return isNoChoice();
  StringRef name = op->getName().getStringRef();
  if (name == "onnx.GatherElements" || name == "onnx.GatherND" ||
      name == "onnx.Gather")
    return readGathered(op, *out);
  std::optional<TermProduct> product = matchTermProduct(op);
  if (product && product->operands.size() == 2 && !product->bias)
    return readMultiplied(*product, *out);
  return isNoChoice();
}

/// Tokens are [sequences.., tokens, H] with the sequences of the choice in
/// front, in order, and the tokens those that were chosen from.
bool ChoiceLayer::checkTokens(Value tokens,
                              ArrayRef<std::optional<QueueDims>> axes) {
  int64_t rank = match::getRank(tokens);
  auto declined = [&] {
    return refuse(anchor, "the tokens are not those that experts choose from");
  };
  if (rank < 2 || axes.size() != static_cast<size_t>(rank))
    return declined();
  SmallVector<QueueDims> own;
  for (int64_t i = 0; i + 2 < rank; ++i) {
    if (!axes[i])
      return declined();
    if (isUnit(tokens, i) && axes[i]->empty())
      continue;
    own.push_back(*axes[i]);
    size_t number = own.size() - 1;
    if (number >= sequences.size() ||
        !sameExtent(tokens, i, scores, sequenceAxes[number]))
      return declined();
  }
  if (own != sequences || axes[rank - 2] || !axes[rank - 1] ||
      !isFeature(*axes[rank - 1]) ||
      !sameExtent(tokens, rank - 2, scores, tokenAxis))
    return declined();
  x = tokens;
  return true;
}

/// The extents of the result are those of the tokens.
bool ChoiceLayer::checkResult() {
  Value result = anchor->getResult(0);
  int64_t rank = match::getRank(result);
  bool same = rank == match::getRank(x);
  for (int64_t i = 0; same && i + 1 < rank; ++i)
    same = sameExtent(result, i, x, i);
  return same || refuse(anchor, "the result has other axes than the tokens");
}

/// Whether the chosen indices are what they must be. Sets the axes.
bool ChoiceLayer::settle() {
  auto result = dyn_cast<OpResult>(chosen);
  Operation *op = result ? result.getOwner() : nullptr;
  int64_t rank = match::getRank(chosen);
  std::optional<int64_t> axis;
  if (auto route = dyn_cast_or_null<ir::RouteBalancedOp>(op)) {
    if (result.getResultNumber() == 0)
      axis = 1;
    scores = route.getLogits();
    tokenAxis = 0;
  } else if (op && op->getName().getStringRef() == "onnx.TopK" &&
             result.getResultNumber() == 1) {
    axis = match::getAxis(op, "axis", -1, rank);
    scores = op->getOperand(0);
    tokenAxis = axis.value_or(0);
  }
  if (!axis)
    return refuse(op, "the tokens of an expert are not the result of a TopK, "
                      "which takes none twice");
  const QueueDims &expert = bufferAxes[experts.expertAxis];
  if (expert.size() != 1 || expert[0].kind != Kind::Slot ||
      expert[0].axis == *axis || !expert[0].stride.isConstant(1) ||
      !expert[0].extent.isConstant(experts.numExperts) ||
      getExtent(chosen, expert[0].axis) != experts.numExperts)
    return refuse(anchor, "the experts that choose are not those that run");
  placeAxis = *axis;
  expertAxis = expert[0].axis;
  for (int64_t i = 0; i < rank; ++i) {
    if (i == placeAxis || i == expertAxis || isUnit(chosen, i))
      continue;
    sequenceAxes.push_back(i);
    sequences.push_back({{Kind::Slot, i, DimExpr::constant(1),
                          toExpr(dims, getDim(chosen, i))}});
  }
  return true;
}

/// [experts, tokens + 1] or the shape of scores [.., experts, tokens]: where
/// the choice leaves a place empty (-1), the last one is written to.
Value ChoiceLayer::shapeOfSlots(ExpertNodes &nodes) {
  if (!chosen.getDefiningOp<ir::RouteBalancedOp>())
    return nodes.shapeOf(scores);
  auto one = RankedTensorType::get({1}, nodes.b.getI64Type());
  Value tokens = nodes.nodes.create(
      "onnx.Gather", {nodes.shapeOf(scores), nodes.ints(0)}, one);
  Value all = nodes.nodes.create("onnx.Add", {tokens, nodes.ints(1)}, one);
  return nodes.nodes.create(
      "onnx.Concat", {nodes.ints(experts.numExperts), all},
      RankedTensorType::get({2}, nodes.b.getI64Type()),
      nodes.b.getNamedAttr("axis", nodes.b.getI64IntegerAttr(0)));
}

/// Scatters something [.., experts, places] to [.., tokens, experts].
Value ChoiceLayer::slotsOf(ExpertNodes &nodes, Value shape, Value updates,
                           Attribute empty) {
  Type element = match::getElementType(updates);
  auto scalar = RankedTensorType::get({}, element);
  bool mayBeEmpty = chosen.getDefiningOp<ir::RouteBalancedOp>() != nullptr;
  SmallVector<int64_t> extents(
      cast<RankedTensorType>(scores.getType()).getShape());
  if (mayBeEmpty) {
    std::swap(extents[0], extents[1]);
    if (!ShapedType::isDynamic(extents[1]))
      ++extents[1];
  }
  Value data = nodes.nodes.create(
      "onnx.Expand",
      {nodes.constant(DenseElementsAttr::get(scalar, empty)), shape},
      RankedTensorType::get(extents, element));
  Value all = nodes.scatter(data, chosen, updates, placeAxis);
  if (mayBeEmpty) {
    if (!ShapedType::isDynamic(extents[1]))
      --extents[1];
    all = nodes.nodes.create(
        "onnx.Slice", {all, nodes.ints(0), nodes.ints(-1), nodes.ints(1)},
        RankedTensorType::get(extents, element));
  }
  int64_t rank = match::getRank(all);
  SmallVector<int64_t> perm;
  for (int64_t i = 0; i < rank; ++i)
    if (i != placeAxis && i != expertAxis)
      perm.push_back(i);
  perm.push_back(placeAxis);
  perm.push_back(expertAxis);
  if (llvm::is_sorted(perm))
    return all;
  SmallVector<int64_t> moved;
  for (int64_t axis : perm)
    moved.push_back(extents[axis]);
  return nodes.nodes.create(
      "onnx.Transpose", all, RankedTensorType::get(moved, element),
      nodes.b.getNamedAttr("perm", nodes.b.getDenseI64ArrayAttr(perm)));
}

/// The product of all weights in the axes of `chosen`.
Value ChoiceLayer::weightsOf(ExpertNodes &nodes) {
  Location loc = anchor->getLoc();
  OpBuilder &b = nodes.b;
  SmallVector<QueueDims> groups;
  for (auto [i, extent] : llvm::enumerate(getDims(chosen))) {
    QueueDims &axis = groups.emplace_back();
    if (!extent.isStatic() || extent.size != 1)
      axis.push_back({Kind::Slot, static_cast<int64_t>(i), DimExpr::constant(1),
                      toExpr(dims, extent)});
  }
  Type element = b.getF32Type();
  if (match::getElementType(x).isF64())
    element = b.getF64Type();
  Value all;
  for (const SlotWeight &weight : weights) {
    View view = View::of(weight.value, dims);
    Value value = weight.value, arranged;
    QueueAxes axes = weight.axes;
    if (std::optional<QueueAxes> ofBase = dimsOfBase(view, axes)) {
      value = view.getBase();
      axes = *ofBase;
    }
    // Axes that it has not are of extent 1.
    SmallVector<QueueDims> own;
    QueueDims there = flatten(axes);
    for (const QueueDims &group : groups)
      own.push_back(llvm::all_of(group,
                                 [&](const QueueDim &dim) {
                                   return llvm::any_of(
                                       axes, [&](const QueueDims &axis) {
                                         return llvm::is_contained(axis, dim);
                                       });
                                 })
                        ? group
                        : QueueDims());
    arranged = arrange(b, loc, value, axes, own);
    if (!arranged)
      arranged = arrange(b, loc, value, axes, groups);
    if (!arranged) {
      refuse(weight.value.getDefiningOp(),
             "weights do not belong to the chosen tokens");
      return {};
    }
    arranged = nodes.cast(arranged, element);
    if (!all) {
      all = arranged;
      continue;
    }
    SmallVector<int64_t> shape;
    for (auto [p, q] :
         llvm::zip(cast<RankedTensorType>(all.getType()).getShape(),
                   cast<RankedTensorType>(arranged.getType()).getShape()))
      shape.push_back(p == 1 ? q : p);
    all = nodes.nodes.create("onnx.Mul", {all, arranged},
                             RankedTensorType::get(shape, element));
  }
  auto type = cast<RankedTensorType>(chosen.getType());
  if (!all)
    return nodes.filled(chosen, 1, element);
  if (cast<RankedTensorType>(all.getType()).getShape() == type.getShape())
    return all;
  return nodes.nodes.create("onnx.Expand", {all, nodes.shapeOf(chosen)},
                            type.clone(element));
}

bool ChoiceLayer::build() {
  RewriterBase &b = context.getRewriter();
  Operation *before = anchor->getPrevNode();
  b.setInsertionPoint(anchor);
  ExpertNodes nodes(b, anchor->getLoc());
  ExpertLayer layer;
  layer.tokens = x;
  layer.experts = experts.experts;
  Value scales = weightsOf(nodes), y;
  if (scales) {
    Value shape = shapeOfSlots(nodes);
    layer.ids = slotsOf(
        nodes, shape,
        nodes.indexAlong(nodes.shapeOf(chosen),
                         cast<RankedTensorType>(chosen.getType()), expertAxis),
        b.getI32IntegerAttr(-1));
    layer.weights = slotsOf(nodes, shape, scales,
                            b.getFloatAttr(match::getElementType(scales), 0));
    y = buildExperts(b, anchor->getLoc(), layer, refusal);
  }
  Value like = anchor->getResult(0);
  if (y && addend) {
    // Beside what the result is added to, in its extents.
    Value sum = nodes.nodes.create("onnx.Identity", like, like.getType());
    Operation *placeholder = sum.getDefiningOp();
    placeholder->moveAfter(anchor);
    b.setInsertionPointAfter(placeholder);
    Value total = NodeBuilder(b, anchor->getLoc())
                      .create("onnx.Add", {addend, sum}, like.getType());
    for (StringRef name :
         {StringRef(onnx::names::kOutputs), StringRef(onnx::names::kDims)})
      if (Attribute attr = anchor->getDiscardableAttr(name))
        total.getDefiningOp()->setDiscardableAttr(name, attr);
    b.replaceAllUsesExcept(like, total, placeholder);
    like = sum;
  }
  SmallVector<RaiseCut> cuts{{x}, {scores}};
  for (const SlotWeight &weight : weights) {
    Value base = View::of(weight.value, dims).getBase();
    if (!match::isConstant(base) &&
        base.getDefiningOp() != chosen.getDefiningOp())
      cuts.push_back({base});
  }
  if (y && replaceWithExperts(b, like, y, {x}, refusal, cuts)) {
    context.noteRaised();
    return true;
  }
  eraseUnusedBetween(b, before, anchor);
  return false;
}

/// Rows are added to the tokens' results.
bool ChoiceLayer::raiseScattered() {
  StringRef name = anchor->getName().getStringRef();
  Value data = anchor->getOperand(0), index = anchor->getOperand(1),
        updates = anchor->getOperand(2);
  int64_t rank = match::getRank(data);
  if (match::getString(anchor, "reduction", "none") != "add" || rank < 2 ||
      match::getRank(index) < 1)
    return false;
  // Not a layer at all if the rows come from elsewhere.
  QueueAxes rows;
  int64_t axis = 0;
  std::optional<QueueTerm> term = readTokens(index);
  if (!term)
    return false;
  rows = term->axes;
  if (name == "onnx.ScatterElements") {
    std::optional<int64_t> along = match::getAxis(anchor, "axis", 0, rank);
    if (!along || *along != rank - 2 ||
        !sameExtent(index, rank - 1, data, rank - 1) ||
        !llvm::all_of(rows.back(), [](const QueueDim &dim) {
          return dim.kind == Kind::Repeat;
        }))
      return false;
    axis = *along;
  } else if (rank != 2 || getExtent(index, match::getRank(index) - 1) != 1) {
    return false;
  }
  rows.back() = featureOf(data, dims);
  if (!findExperts(updates, rows))
    return decline();
  if (!settle() || !readRows())
    return decline();
  SmallVector<QueueDims> own;
  for (int64_t i = 0; i < axis; ++i)
    if (!isUnit(data, i) || !rows[i].empty())
      own.push_back(rows[i]);
  if (own != sequences) {
    refuse(anchor, "rows are added to tokens of other sequences");
    return decline();
  }
  if (!match::isNumber(data, 0))
    addend = data;
  if (!checkResult() || !build())
    return decline();
  return true;
}

/// Rows are multiplied back by their one-hot rows.
bool ChoiceLayer::raiseProduct(const TermProduct &combine, unsigned rows) {
  Value y = combine.operands[rows];
  View view = View::of(y, dims);
  if (!matchBufferExperts(view.getBase(), dims, refusal))
    return decline();
  SmallVector<int> letters;
  std::optional<QueueTerm> term =
      reader.readFactors(combine, static_cast<int>(rows), letters);
  if (!term || term->level != QueueTerm::Level::Expert || term->hasPlace ||
      !term->queue.empty() || !term->choices.empty() ||
      !term->at[0].isConstant(0, 0) || !term->at[1].isConstant(1, 0))
    return false;
  chosen = term->ids;
  auto find = [&](int letter) -> QueueDims {
    for (auto [own, axis] : llvm::zip(letters, term->axes))
      if (own == letter && letter >= 0)
        return axis;
    return {};
  };
  QueueAxes axes;
  for (int letter : combine.letters[rows]) {
    QueueDims axis = find(letter);
    if (letter >= 0 && axis.empty())
      axis = featureOf(y, dims);
    axes.push_back(axis);
  }
  weights = term->weights;
  if (!findExperts(y, axes) || !settle() || !readRows())
    return decline();
  // The result: sequences, tokens, features.
  int64_t rank = match::getRank(anchor->getResult(0));
  for (auto [i, letter] : llvm::enumerate(combine.output)) {
    QueueDims axis = find(letter);
    int64_t at = static_cast<int64_t>(i);
    bool isToken = axis.size() == 1 && axis[0].kind == Kind::Expert;
    bool isSlot = llvm::all_of(axis, [&](const QueueDim &dim) {
      return dim.kind == Kind::Slot && dim.axis != placeAxis &&
             dim.axis != expertAxis;
    });
    if (at == rank - 1 ? !axis.empty() || letter < 0
                       : (at == rank - 2 ? !isToken : !isSlot)) {
      refuse(anchor, "the result has other axes than the tokens");
      return decline();
    }
  }
  if (!checkResult() || !build())
    return decline();
  return true;
}

void moe::raiseExpertsThatChoose(func::FuncOp func, RaiseContext &context) {
  SmallVector<Operation *> products, scatters;
  func.walk([&](Operation *op) {
    StringRef name = op->getName().getStringRef();
    if (name == "onnx.Einsum" || name == "onnx.MatMul")
      products.push_back(op);
    else if (name == "onnx.ScatterElements" || name == "onnx.ScatterND")
      scatters.push_back(op);
  });
  for (Operation *op : scatters)
    ChoiceLayer(op, context).raiseScattered();
  for (Operation *op : products) {
    std::optional<TermProduct> product = matchTermProduct(op);
    if (!product || product->bias)
      continue;
    for (unsigned rows = product->operands.size(); rows-- > 0;)
      if (ChoiceLayer(op, context).raiseProduct(*product, rows))
        break;
  }
}
