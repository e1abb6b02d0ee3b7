//===- ExpertsParallel.cpp - experts with nodes of their own, side by side ===//
//
// Layers in which each expert has products of its own and runs on all tokens:
//
//   masked sum   f_0(x) * g[:, 0] + f_1(x) * g[:, 1] + ..
//   stack        Concat(f_0(x), f_1(x), ..) along an axis of experts, of which
//                GatherElements picks those of a token, or which gates sum
//
// Among the terms of a sum may be x itself: an expert that copies.
//
//===----------------------------------------------------------------------===//

#include "dialects/ONNX/ONNXDialect.h"
#include "lib/Analysis/Dims.h"
#include "passes/Raise/Banks.h"
#include "passes/Raise/Match.h"
#include "passes/Raise/Nodes.h"
#include "passes/Raise/RaiseExperts.h"
#include "passes/Raise/Slots.h"
#include "passes/Raise/SparseGates.h"
#include "llvm/ADT/DenseSet.h"

using namespace mlir;
using namespace moe;

//===----------------------------------------------------------------------===//
// Networks
//===----------------------------------------------------------------------===//

/// Whether a value is constant and a vector along its last axis.
static bool isBias(Value value, Value sum) {
  auto type = dyn_cast<RankedTensorType>(value.getType());
  if (!type || type.getRank() == 0 || !match::isConstant(value))
    return false;
  int64_t rank = match::getRank(sum);
  return type.getNumElements() == type.getShape().back() &&
         type.getRank() <= rank &&
         type.getShape().back() == getExtent(sum, rank - 1);
}

/// Whether only one node reads the elements of a value.
static bool isReadOnce(Value value) {
  unsigned count = 0;
  for (Operation *user : value.getUsers())
    count += user->getName().getStringRef() != "onnx.Shape";
  return count == 1;
}

/// The value that another one has the same elements and axes as.
static Value stripSame(Value value, DimContext &dims) {
  View view = View::of(value, dims);
  Value base = view.getBase();
  return base && view.isIdentity() && sameExtents(base, value) ? base : value;
}

/// [.., in] times a constant matrix, and a bias.
static std::optional<Projection> matchProjection(Value value,
                                                 DimContext &dims) {
  value = stripSame(value, dims);
  Operation *op = value.getDefiningOp();
  if (!op)
    return std::nullopt;
  StringRef name = op->getName().getStringRef();
  Projection made;
  made.result = value;
  made.featureAxis = match::getRank(value) - 1;
  if (name == "onnx.MatMul" || name == "onnx.Gemm") {
    made.rows = op->getOperand(0);
    made.weights = op->getOperand(1);
    bool isGemm = name == "onnx.Gemm";
    bool swapped = isGemm && match::getInt(op, "transB", 0) != 0;
    made.layout = swapped ? ir::BankLayout::OI : ir::BankLayout::IO;
    if (match::getRank(made.rows) < 2 || match::getRank(made.weights) != 2 ||
        !match::isConstant(made.weights) ||
        (isGemm && (match::getInt(op, "transA", 0) != 0 ||
                    match::getFloat(op, "alpha", 1) != 1)))
      return std::nullopt;
    made.bias = isGemm ? onnx::getFormalOperand(op, 2) : Value();
    if (made.bias &&
        (match::getFloat(op, "beta", 1) != 1 || !isBias(made.bias, value)))
      return std::nullopt;
    return made;
  }
  if (name != "onnx.Add")
    return std::nullopt;
  for (unsigned side : {0u, 1u}) {
    Value sum = stripSame(op->getOperand(side), dims);
    Value bias = op->getOperand(1 - side);
    Operation *product = sum.getDefiningOp();
    if (!product || product->getName().getStringRef() == "onnx.Add" ||
        !isBias(bias, value) || match::getRank(sum) != match::getRank(value))
      continue;
    std::optional<Projection> bare = matchProjection(sum, dims);
    if (!bare || bare->bias)
      continue;
    bare->bias = bias;
    bare->result = value;
    return bare;
  }
  return std::nullopt;
}

namespace {
/// A network on all tokens.
struct Branch {
  FeedForward network;
  /// What all its first products read: [.., in].
  Value tokens;
};
} // namespace

/// The value that rows [.., in] are a reshape of; tokens keep their order.
static Value getTokens(Value rows, DimContext &dims) {
  View view = View::of(rows, dims);
  if (!view.getBase() || !view.keepsOrder() || view.getRank() == 0 ||
      view.getBaseRank() < 2 ||
      !view.walks(view.getRank() - 1, view.getBaseRank() - 1))
    return match::strip(rows);
  return view.getBase();
}

/// The network that gives a value, if there is one.
static std::optional<Branch> matchBranch(Value value, DimContext &dims,
                                         Refusal &refusal) {
  if (!matchProjection(value, dims))
    return std::nullopt;
  auto network = matchFeedForward(
      value, [&](Value v) { return matchProjection(v, dims); }, refusal);
  if (!network)
    return std::nullopt;
  Branch branch{std::move(*network), {}};
  for (const Projection &first : branch.network.first) {
    Value tokens = getTokens(first.rows, dims);
    if (branch.tokens && branch.tokens != tokens)
      return refusal.say(first.result.getDefiningOp(),
                         "gate and up projection have different rows");
    branch.tokens = tokens;
  }
  return branch;
}

//===----------------------------------------------------------------------===//
// Sums
//===----------------------------------------------------------------------===//

namespace {

/// Column `index` of gates [.., experts].
struct Column {
  Value gates;
  int64_t index;
};

/// A term of a sum: a branch, or the tokens themselves, times a column.
struct Term {
  Value value;
  std::optional<Branch> branch;
  /// What a term without a branch multiplies.
  Value copied;
  Column column;
  bool isShared = false;
};

/// f_0(x) * g[:, 0] + f_1(x) * g[:, 1] + ..
class MaskedSum {
public:
  MaskedSum(RaiseContext &context, Operation *root)
      : context(context), dims(context.getDims()), root(root) {}

  /// Whether the sum has at least two experts as terms.
  bool match();
  bool raise();
  /// All nodes of the sum.
  ArrayRef<Operation *> getSums() const { return sums; }
  Refusal refusal;

private:
  void collect(Value value, Operation *at);
  std::optional<Column> matchColumn(Value value, Value of);
  std::optional<Term> matchTerm(Value value);
  bool refuse(Operation *at, const Twine &why) {
    refusal.say(at, why);
    return false;
  }
  bool settle();
  Value addTrivial(Value experts);

  RaiseContext &context;
  DimContext &dims;
  Operation *root;
  SmallVector<Value> leaves;
  SmallVector<Operation *> sums;
  SmallVector<Term, 1> terms;
  SmallVector<Value> rest;
  int64_t numLogical = 0;
  SmallVector<bool> isCopy;
  size_t numNetworks = 0;
};

} // namespace

static bool isSum(Operation *op) {
  StringRef name = op ? op->getName().getStringRef() : StringRef();
  return name == "onnx.Add" || name == "onnx.Sum";
}

/// The terms of a sum of sums that nothing else reads.
void MaskedSum::collect(Value value, Operation *at) {
  bool isAlone = value.hasOneUse();
  for (Value same = value, inner = stripSame(value, dims); same != inner;) {
    same = same.getDefiningOp()->getOperand(0);
    isAlone &= same.hasOneUse();
  }
  value = stripSame(value, dims);
  Operation *op = value.getDefiningOp();
  if (op && isSum(op) && (op == root || isAlone) &&
      !matchProjection(value, dims)) {
    sums.push_back(op);
    for (Value operand : op->getOperands())
      collect(operand, op);
    return;
  }
  leaves.push_back(value);
}

/// One column of gates, with an axis of extent 1 for the features of `of`.
std::optional<Column> MaskedSum::matchColumn(Value value, Value of) {
  int64_t rank = match::getRank(value);
  if (rank < 1 || getExtent(value, rank - 1) != 1 || rank > match::getRank(of))
    return std::nullopt;
  Value flat = value;
  // Moves of one number for each token.
  while (Operation *op = flat.getDefiningOp()) {
    View view = View::of(
        flat, dims, op->getNumOperands() > 0 ? op->getOperand(0) : Value());
    if (op->getNumOperands() == 0 || view.getBase() != op->getOperand(0) ||
        !view.keepsOrder())
      break;
    flat = op->getOperand(0);
  }
  auto result = dyn_cast<OpResult>(flat);
  if (!result)
    return std::nullopt;
  Operation *op = result.getOwner();
  StringRef name = op->getName().getStringRef();
  Column column;
  if (name == "onnx.Gather") {
    auto index = match::getSingleInt(op->getOperand(1));
    column.gates = op->getOperand(0);
    int64_t axes = match::getRank(column.gates);
    if (!index || axes < 1 || match::getAxis(op, "axis", 0, axes) != axes - 1)
      return std::nullopt;
    column.index = *index;
  } else if (name == "onnx.Slice") {
    column.gates = op->getOperand(0);
    int64_t axes = match::getRank(column.gates);
    auto begin = match::getSingleInt(op->getOperand(1));
    auto axis = op->getNumOperands() > 3
                    ? match::getSingleInt(op->getOperand(3))
                    : std::optional<int64_t>(axes == 1 ? 0 : -2);
    if (!begin || !axis || axes < 1 || (*axis != axes - 1 && *axis != -1) ||
        getExtent(flat, axes - 1) != 1)
      return std::nullopt;
    column.index = *begin;
  } else if (name == "onnx.Split") {
    column.gates = op->getOperand(0);
    int64_t axes = match::getRank(column.gates);
    if (axes < 1 || match::getAxis(op, "axis", 0, axes) != axes - 1)
      return std::nullopt;
    for (Value piece : op->getResults())
      if (getExtent(piece, axes - 1) != 1)
        return std::nullopt;
    column.index = result.getResultNumber();
  } else {
    return std::nullopt;
  }
  int64_t experts = getExtent(column.gates, match::getRank(column.gates) - 1);
  if (ShapedType::isDynamic(experts))
    return std::nullopt;
  if (column.index < 0)
    column.index += experts;
  if (column.index < 0 || column.index >= experts)
    return std::nullopt;
  // It meets the tokens axis by axis.
  int64_t own = match::getRank(of);
  if (rank != own)
    return std::nullopt;
  for (int64_t i = 0; i + 1 < rank; ++i)
    if (!sameExtent(value, i, of, i))
      return std::nullopt;
  return column;
}

std::optional<Term> MaskedSum::matchTerm(Value value) {
  Operation *op = match::getNode(stripSame(value, dims), "onnx.Mul");
  if (!op)
    return std::nullopt;
  for (unsigned side : {0u, 1u}) {
    Value scaled = op->getOperand(side);
    std::optional<Column> column =
        matchColumn(op->getOperand(1 - side), scaled);
    if (!column)
      continue;
    Term term{value, std::nullopt, {}, *column};
    // Experts whose results are read elsewhere would run twice.
    term.isShared = !isReadOnce(scaled);
    Refusal own;
    term.branch = matchBranch(stripSame(scaled, dims), dims, own);
    if (!term.branch)
      term.copied = stripSame(scaled, dims);
    if (own)
      refusal.say(own.at, own.why);
    return term;
  }
  return std::nullopt;
}

bool MaskedSum::match() {
  collect(root->getResult(0), root);
  for (Value leaf : leaves) {
    if (std::optional<Term> term = matchTerm(leaf))
      terms.push_back(std::move(*term));
    else
      rest.push_back(leaf);
  }
  return llvm::count_if(terms, [](const Term &t) { return bool(t.branch); }) >=
         2;
}

/// Experts 0 .. n-1 have networks, the others copy or give nothing.
bool MaskedSum::settle() {
  Value gates = terms.front().column.gates;
  numLogical = getExtent(gates, match::getRank(gates) - 1);
  SmallVector<const Term *> of(numLogical);
  Value tokens;
  for (const Term &term : terms)
    if (term.branch)
      tokens = term.branch->tokens;
  for (const Term &term : terms) {
    if (term.branch && term.isShared)
      return refuse(term.value.getDefiningOp(),
                    "the result of an expert is read elsewhere as well");
    if (term.column.gates != gates)
      return refuse(term.value.getDefiningOp(),
                    "experts are weighted by different gates");
    if (of[term.column.index])
      return refuse(term.value.getDefiningOp(),
                    "two experts are weighted by one gate");
    of[term.column.index] = &term;
    Value read =
        term.branch ? term.branch->tokens : getTokens(term.copied, dims);
    if (read != tokens)
      return refuse(term.value.getDefiningOp(),
                    term.branch ? "experts read different rows"
                                : "a term is no network of the rows "
                                  "of the others");
  }
  numNetworks = 0;
  while (numNetworks < of.size() && of[numNetworks] && of[numNetworks]->branch)
    ++numNetworks;
  for (size_t i = numNetworks; i < of.size(); ++i) {
    if (of[i] && of[i]->branch)
      return refuse(of[i]->value.getDefiningOp(),
                    "an expert with a network comes behind one "
                    "without");
    isCopy.push_back(of[i]);
  }
  llvm::sort(terms, [](const Term &a, const Term &b) {
    return a.column.index < b.column.index;
  });
  return true;
}

/// The experts that copy, added to the others.
Value MaskedSum::addTrivial(Value experts) {
  auto layer = experts.getDefiningOp<ir::ExpertsOp>();
  OpBuilder &b = context.getRewriter();
  SmallVector<Attribute> kinds;
  for (bool copies : isCopy)
    kinds.push_back(ir::TrivialKindAttr::get(b.getContext(),
                                             copies ? ir::TrivialKind::Copy
                                                    : ir::TrivialKind::Zero));
  auto trivial = ir::TrivialExpertsOp::create(
      b, root->getLoc(), layer.getX().getType(), layer.getX(), layer.getIds(),
      layer.getWeights(), Value(), Value(), b.getI64IntegerAttr(numNetworks),
      b.getArrayAttr(kinds), b.getF64FloatAttr(1.0));
  return NodeBuilder(b, root->getLoc())
      .create("onnx.Add", {experts, trivial.getY()}, experts.getType());
}

bool MaskedSum::raise() {
  if (!settle())
    return false;
  RewriterBase &rewriter = context.getRewriter();
  RewriterBase::InsertionGuard guard(rewriter);
  rewriter.setInsertionPoint(root);
  Operation *before = root->getPrevNode();
  auto undo = [&] {
    while (root->getPrevNode() != before)
      rewriter.eraseOp(root->getPrevNode());
    return false;
  };
  Location loc = root->getLoc();
  ExpertLayer layer;
  Value gates = terms.front().column.gates;
  if (std::optional<SparseGates> sparse = SparseGates::match(gates)) {
    layer.ids = wrapNegativeIds(rewriter, loc, sparse->getIds(), numLogical);
    layer.weights = sparse->makeWeights(rewriter, loc);
  } else {
    layer.weights = gates;
    layer.ids = makeAllIds(rewriter, loc, gates);
  }
  for (const Term &term : terms)
    if (term.branch) {
      layer.tokens = term.branch->tokens;
      layer.experts.push_back(term.branch->network);
    }
  if (static_cast<int64_t>(layer.experts.size()) < numLogical)
    layer.logical = numLogical;
  Value made = buildExperts(rewriter, loc, layer, refusal);
  if (!made)
    return undo();
  if (llvm::is_contained(isCopy, true)) {
    auto op = made.getDefiningOp<ir::ExpertsOp>();
    if (op.getX().getType() != made.getType()) {
      refusal.say(root, "experts that copy have another width than the others");
      return undo();
    }
    made = addTrivial(made);
  }
  // The other terms are added to the sum as before.
  Value like = root->getResult(0);
  if (rest.empty()) {
    if (!replaceWithExperts(rewriter, like, made, {layer.tokens, gates},
                            refusal))
      return undo();
  } else {
    // A value with the extents of a term to stand for all of them.
    Value term = terms.front().value;
    auto type = cast<RankedTensorType>(like.getType());
    if (!sameExtents(term, like)) {
      refusal.say(root, "the terms of the sum differ in extents");
      return undo();
    }
    NodeBuilder nodes(rewriter, loc);
    // The experts stand where one of their terms was.
    auto place = nodes.create("onnx.Identity", term, type);
    if (Attribute extents = root->getDiscardableAttr(onnx::names::kDims))
      place.getDefiningOp()->setDiscardableAttr(onnx::names::kDims, extents);
    Value all = place;
    for (Value other : rest)
      all = nodes.create("onnx.Add", {all, other}, type);
    if (!replaceWithExperts(rewriter, place, made, {layer.tokens, gates},
                            refusal))
      return undo();
    for (StringRef name :
         {StringRef(onnx::names::kOutputs), StringRef(onnx::names::kDims)})
      if (Attribute attr = root->getDiscardableAttr(name))
        all.getDefiningOp()->setDiscardableAttr(name, attr);
    rewriter.replaceAllUsesWith(like, all);
  }
  context.noteRaised();
  return true;
}

//===----------------------------------------------------------------------===//
// Stacks
//===----------------------------------------------------------------------===//

namespace {

/// Concat(f_0(x), f_1(x), ..).
class Stack {
public:
  Stack(RaiseContext &context, Operation *concat)
      : context(context), dims(context.getDims()), concat(concat),
        slots(context.getDims()) {}

  /// Whether its operands are networks, at least two.
  bool match();
  bool raise();
  Refusal refusal;

private:
  bool refuse(Operation *at, const Twine &why) {
    refusal.say(at, why);
    return false;
  }
  bool start();

  RaiseContext &context;
  DimContext &dims;
  Operation *concat;
  SmallVector<Branch, 1> branches;
  /// The results of the networks.
  SmallVector<Value> results;
  SlotSum slots;
};

} // namespace

/// The value that another one is the same elements of, in order.
static Value stripOrder(Value value, DimContext &dims) {
  View view = View::of(value, dims);
  return view.getBase() && view.keepsOrder() ? view.getBase() : value;
}

bool Stack::match() {
  for (Value operand : concat->getOperands()) {
    Value result = stripOrder(operand, dims);
    Refusal own;
    auto branch = matchBranch(result, dims, own);
    if (!branch)
      return false;
    branches.push_back(std::move(*branch));
    results.push_back(result);
  }
  return branches.size() >= 2;
}

/// The axes of the stack as coordinates.
bool Stack::start() {
  Value stacked = concat->getResult(0), piece = concat->getOperand(0);
  int64_t rank = match::getRank(stacked);
  auto axis = match::getAxis(concat, "axis", 0, rank);
  if (!axis)
    return refuse(concat, "its axis is not known");
  for (auto [operand, result] : llvm::zip(concat->getOperands(), results))
    if (!sameExtents(operand, piece) || !sameExtents(result, results.front()))
      return refuse(concat, "the experts' results differ in extents");
  // Which axis of a piece holds the features.
  View view = View::of(piece, dims, results.front());
  int64_t features = view.getBaseRank() - 1, at = -1;
  for (int64_t i = 0; i < rank; ++i)
    if (view.walks(i, features) && getExtent(piece, i) != 1)
      at = i;
  if (at < 0 || at == *axis)
    return refuse(concat, "the features of the experts are not an "
                          "axis beside the experts");
  SmallVector<Coords, 4> axes;
  Coords order;
  for (int64_t i = 0; i < rank; ++i) {
    Coords &own = axes.emplace_back();
    if (i == *axis) {
      own.push_back(
          slots.add(Run::Expert, DimExpr::constant(concat->getNumOperands())));
      order.push_back(own.back());
    }
    if (getExtent(piece, i) == 1)
      continue;
    own.push_back(slots.add(i == at ? Run::Feature : Run::Token,
                            toExpr(dims, getDim(piece, i))));
    if (i != at)
      order.push_back(own.back());
  }
  slots.start(stacked, std::move(axes), order);
  return true;
}

bool Stack::raise() {
  for (const Branch &branch : branches)
    if (branch.tokens != branches.front().tokens)
      return refuse(concat, "the experts read different rows");
  // They would run twice.
  for (Value result : results)
    if (!isReadOnce(result))
      return refuse(result.getDefiningOp(),
                    "the result of an expert is read elsewhere as well");
  if (!start())
    return false;
  slots.run();
  Operation *end = slots.getResult().getDefiningOp();
  Operation *stop = slots.getStop() ? slots.getStop() : end;
  int64_t experts = concat->getNumOperands();
  bool isDone = slots.picked ? slots.isOverPicked() : slots.isOverExperts();
  if (!isDone)
    return refuse(stop,
                  "the results of all experts are neither picked by ids nor "
                  "weighted and summed");
  if (!slots.isInOrder())
    return refuse(end, "the sum over the experts has tokens in "
                       "another order than what went in");

  RewriterBase &rewriter = context.getRewriter();
  RewriterBase::InsertionGuard guard(rewriter);
  rewriter.setInsertionPoint(end);
  Operation *before = end->getPrevNode();
  auto undo = [&] {
    while (end->getPrevNode() != before)
      rewriter.eraseOp(end->getPrevNode());
    return false;
  };
  Location loc = end->getLoc();
  ExpertLayer layer;
  layer.tokens = branches.front().tokens;
  for (const Branch &branch : branches)
    layer.experts.push_back(branch.network);
  Value weights;
  if (slots.picked) {
    Value ids = slots.makeNatural(rewriter, loc, *slots.picked);
    if (!ids) {
      refusal.say(end, "ids are in another order than tokens");
      return undo();
    }
    layer.ids = wrapNegativeIds(rewriter, loc, ids, experts);
  } else if (slots.getWeights().size() == 1 && slots.getFactor() == 1) {
    if (Value gates = slots.findNatural(slots.getWeights().front()))
      if (auto sparse = SparseGates::match(gates)) {
        layer.ids = wrapNegativeIds(rewriter, loc, sparse->getIds(), experts);
        layer.weights = sparse->makeWeights(rewriter, loc);
      }
  }
  if (!layer.weights)
    layer.weights = slots.makeWeights(rewriter, loc, layer.ids, refusal);
  if (!layer.weights)
    return undo();
  if (!layer.ids)
    layer.ids = makeAllIds(rewriter, loc, layer.weights);
  Value made = buildExperts(rewriter, loc, layer, refusal);
  if (!made)
    return undo();
  if (!replaceWithExperts(rewriter, slots.getResult(), made,
                          {layer.tokens, layer.ids, layer.weights}, refusal)) {
    return undo();
  }
  context.noteRaised();
  return true;
}

//===----------------------------------------------------------------------===//
// The family
//===----------------------------------------------------------------------===//

void moe::raiseParallel(func::FuncOp func, RaiseContext &context) {
  SmallVector<Operation *> sums, stacks;
  func.walk([&](Operation *op) {
    if (op->getName().getStringRef() == "onnx.Concat" &&
        op->getNumOperands() > 1 && match::getRank(op->getResult(0)) > 0)
      stacks.push_back(op);
    if (!isSum(op) || match::getRank(op->getResult(0)) < 2)
      return;
    // The outermost of nested sums.
    Value result = op->getResult(0);
    if (!result.hasOneUse() || !isSum(*result.user_begin()))
      sums.push_back(op);
  });
  for (Operation *op : stacks) {
    Stack stack(context, op);
    if (stack.match() && !stack.raise())
      context.noteMissed(op, stack.refusal);
  }
  // From the end: the sum of all experts comes before the sums of some.
  llvm::DenseSet<Operation *> done;
  for (Operation *op : llvm::reverse(sums)) {
    if (done.contains(op))
      continue;
    MaskedSum sum(context, op);
    if (!sum.match())
      continue;
    done.insert(sum.getSums().begin(), sum.getSums().end());
    if (!sum.raise())
      context.noteMissed(op, sum.refusal);
  }
}
