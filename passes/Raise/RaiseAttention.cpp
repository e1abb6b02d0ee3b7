//===- RaiseAttention.cpp - attention in plain nodes ----------------------===//
//
// An attention is found at its second product, whose left operand leads to a
// softmax over the last axis. From there the scores are taken apart, the last
// step first: masks and addends, a soft cap, scalings, the first product. Its
// operands are freed of scalings, of the transposition that the product of
// matrices needs, and of the repetition of keys for groups of heads.
//
// Each step is one that moe.attention has, in its order; nothing is assumed
// about values. What the graph adds to scores stays an addend unless it is 0 or
// one very low number everywhere: then it hides keys, and is read as a mask.
//
//===----------------------------------------------------------------------===//

#include "dialects/ONNX/ONNXDialect.h"
#include "lib/Analysis/Dims.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/IR/PatternMatch.h"
#include "mlir/IR/Remarks.h"
#include "mlir/Transforms/RegionUtils.h"
#include "passes/Raise/AttentionMasks.h"
#include "passes/Raise/Match.h"
#include "passes/Raise/Nodes.h"
#include "passes/Raise/Passes.h"
#include <cmath>

namespace moe {
#define GEN_PASS_DEF_RAISEATTENTION
#include "passes/Raise/Passes.h.inc"
} // namespace moe

using namespace mlir;
using namespace moe;
using namespace moe::match;

namespace {

/// Why an attention was not raised, and at which node.
struct Refusal {
  Operation *at = nullptr;
  std::string why;
};

class AttentionRaiser {
public:
  AttentionRaiser(Operation *product, DimContext &dims, IRRewriter &rewriter)
      : product(product), dims(dims), b(rewriter) {}

  /// Whether the product's left operand is a softmax of another product.
  bool isAnchor();
  /// Raises it, or says why not.
  bool raise(Refusal &refusal);

private:
  bool refuse(Operation *at, const Twine &why) {
    refusal.at = at;
    refusal.why = why.str();
    return false;
  }

  bool readProbabilities();
  bool readScores();
  bool readOperands();
  bool readAddends();
  bool checkShapes();
  bool checkUses();
  bool addReader(Operation *reader);
  Value findKeys(Value transposed);
  Value withoutRepeats(Value value, int64_t &times);
  Value asHeads(Value value);
  Value broadcastHeads(Value value);
  void build();
  void replaceReader(Operation *reader, Value probs);

  Operation *product;
  DimContext &dims;
  IRRewriter &b;
  Refusal refusal;

  Operation *softmax = nullptr, *first = nullptr;
  /// The probabilities as they are multiplied, and the values between them and
  /// the softmax, each of which only leads to the next one.
  Value probs;
  SmallVector<Value> chain;
  bool zeroNaN = false;
  /// What is added to the scores and hides them, the last step first.
  SmallVector<Value> addends;
  SmallVector<std::pair<Value, bool>> conditions;
  std::optional<double> low;
  double scale = 1, softcap = 0;
  Value query, transposedKey, key, value;
  Visible visible;
  /// Nodes that read some rows of the probabilities.
  SmallVector<Operation *> readers;
  std::optional<int64_t> firstRow;
  int64_t rowCount = 0;
  int64_t rank = 0, times = 1;
};

} // namespace

static bool isFloatCast(Value value) {
  Operation *op = getNode(value, "onnx.Cast");
  return op && isa_and_present<FloatType>(getElementType(op->getOperand(0))) &&
         isa<FloatType>(getElementType(value));
}

/// Through casts between float types.
static Value withoutCasts(Value value) {
  value = strip(value);
  while (isFloatCast(value))
    value = strip(value.getDefiningOp()->getOperand(0));
  return value;
}

/// Whether two values surely have the same extents in dims [from, to).
static bool sameDims(Value a, Value b, int64_t from, int64_t to) {
  for (int64_t i = from; i < to; ++i)
    if (!sameExtent(a, i, b, i))
      return false;
  return true;
}

//===----------------------------------------------------------------------===//
// From the second product to the first one
//===----------------------------------------------------------------------===//

/// y of Where(IsNaN(y), 0, y).
static Value matchGuard(Value value) {
  Operation *where = getNode(value, "onnx.Where");
  if (!where || !isNumber(where->getOperand(1), 0))
    return {};
  Operation *test = getNode(where->getOperand(0), "onnx.IsNaN");
  Value y = strip(where->getOperand(2));
  return test && isSame(test->getOperand(0), y) ? y : Value();
}

bool AttentionRaiser::readProbabilities() {
  probs = product->getOperand(0);
  Value v = strip(probs);
  while (true) {
    chain.push_back(v);
    if (isFloatCast(v)) {
      v = strip(v.getDefiningOp()->getOperand(0));
    } else if (Value guarded = matchGuard(v)) {
      zeroNaN = true;
      v = guarded;
    } else {
      break;
    }
  }
  softmax = getNode(v, "onnx.Softmax");
  if (!softmax)
    return false;
  rank = getRank(v);
  return rank >= 2 && getAxis(softmax, "axis", -1, rank) == rank - 1;
}

bool AttentionRaiser::isAnchor() {
  if (!readProbabilities())
    return false;
  // A product above the softmax, not far away.
  Value v = softmax->getOperand(0);
  SmallVector<std::pair<Value, unsigned>> open{{v, 0}};
  while (!open.empty()) {
    auto [at, depth] = open.pop_back_val();
    at = withoutCasts(at);
    StringRef name = getOperator(at);
    if (name == "MatMul")
      return true;
    bool isStep = name == "Add" || name == "Mul" || name == "Div" ||
                  name == "Where" || name == "Tanh" || name == "Sub" ||
                  name == "Max" || name == "Reshape";
    if (!isStep || depth > 8)
      continue;
    for (Value operand : at.getDefiningOp()->getOperands())
      if (getElementType(operand) && isa<FloatType>(getElementType(operand)))
        open.push_back({operand, depth + 1});
  }
  return false;
}

/// Whether a value leads to a product through steps of scores.
static bool leadsToProduct(Value value, unsigned depth = 0) {
  value = withoutCasts(value);
  StringRef name = getOperator(value);
  if (name == "MatMul")
    return true;
  if (depth > 8)
    return false;
  Operation *op = value.getDefiningOp();
  if (name == "Tanh")
    return leadsToProduct(op->getOperand(0), depth + 1);
  if (name == "Add" || name == "Mul" || name == "Div" || name == "Where")
    for (Value operand : op->getOperands())
      if (leadsToProduct(operand, depth + 1))
        return true;
  return false;
}

bool AttentionRaiser::readScores() {
  Value v = softmax->getOperand(0);
  auto step = [&] { v = withoutCasts(v); };
  step();
  // Masks and addends.
  while (true) {
    Operation *op = v.getDefiningOp();
    StringRef name = getOperator(v);
    if (name == "Where") {
      Value yes = op->getOperand(1), no = op->getOperand(2);
      std::optional<double> number = getNumber(no);
      bool truth = number.has_value();
      if (!truth)
        number = getNumber(yes);
      if (!number)
        return refuse(op, "chooses between scores that are both computed");
      if (!(*number < 0))
        return refuse(op, "hides scores with a number that is not below 0");
      // moe.attention hides behind all that is added.
      if (!addends.empty() && !std::isinf(*number))
        return refuse(op, "hides scores before something is added to them");
      if (low && *low != *number)
        return refuse(op, "hides scores with two different numbers");
      low = number;
      conditions.push_back({op->getOperand(0), truth});
      v = truth ? yes : no;
      step();
      continue;
    }
    if (name == "Add") {
      Value a = op->getOperand(0), c = op->getOperand(1);
      if (!leadsToProduct(a))
        std::swap(a, c);
      if (!leadsToProduct(a))
        return refuse(op, "adds up what are no scores");
      addends.push_back(c);
      v = a;
      step();
      continue;
    }
    break;
  }
  // A soft cap: Mul(Tanh(Div(s, cap)), cap).
  Value inner, tanh;
  double cap = 0, factor = 0;
  if (matchScale(v, tanh, cap)) {
    tanh = withoutCasts(tanh);
    if (Operation *op = getNode(tanh, "onnx.Tanh")) {
      Value scores = withoutCasts(op->getOperand(0));
      if (!matchScale(scores, inner, factor) ||
          std::abs(factor * cap - 1) > 1e-5 || !(cap > 0))
        return refuse(op, "caps scores with two different numbers");
      softcap = cap;
      v = withoutCasts(inner);
    }
  }
  while (matchScale(v, inner, factor)) {
    scale *= factor;
    v = withoutCasts(inner);
  }
  first = getNode(v, "onnx.MatMul");
  if (!first)
    return refuse(v.getDefiningOp() ? v.getDefiningOp() : softmax,
                  "is no step from a product to scores");
  if (!std::isfinite(scale))
    return refuse(first, "has scores whose scale is not finite");
  return true;
}

//===----------------------------------------------------------------------===//
// Operands
//===----------------------------------------------------------------------===//

/// x of x scaled by numbers, which are multiplied into `scale`.
static Value withoutScale(Value value, double &scale) {
  value = strip(value);
  Value inner;
  double factor;
  while (matchScale(value, inner, factor)) {
    scale *= factor;
    value = strip(inner);
  }
  return value;
}

/// Keys [.., L, D] of a value [.., D, L]: in front of a transposition of the
/// last two dims, spelled out or between reshapes. Null if there is none.
Value AttentionRaiser::findKeys(Value transposed) {
  transposed = strip(transposed);
  auto swapsLast = [](Operation *op) {
    SmallVector<int64_t> perm = getPermutation(op);
    int64_t rank = perm.size();
    for (int64_t i = 0; i + 2 < rank; ++i)
      if (perm[i] != i)
        return false;
    return rank >= 2 && perm[rank - 2] == rank - 1 &&
           perm[rank - 1] == rank - 2;
  };
  if (Operation *op = getNode(transposed, "onnx.Transpose"))
    return swapsLast(op) ? strip(op->getOperand(0)) : Value();
  // Reshape [-1, L, D], Transpose [0, 2, 1], Reshape back.
  Operation *back = getNode(transposed, "onnx.Reshape");
  Operation *op =
      back ? getNode(back->getOperand(0), "onnx.Transpose") : nullptr;
  Operation *flat = op ? getNode(op->getOperand(0), "onnx.Reshape") : nullptr;
  if (!flat || !swapsLast(op))
    return {};
  Value from = strip(flat->getOperand(0)), rows = flat->getResult(0);
  int64_t all = getRank(from), inner = getRank(rows);
  if (all < 2 || inner < 2 || getRank(transposed) != all)
    return {};
  // The last two dims are kept, so the others are regrouped only.
  bool keeps = sameExtent(from, all - 2, rows, inner - 2) &&
               sameExtent(from, all - 1, rows, inner - 1) &&
               sameExtent(transposed, all - 1, from, all - 2) &&
               sameExtent(transposed, all - 2, from, all - 1) &&
               sameDims(transposed, from, 0, all - 2);
  return keeps ? from : Value();
}

/// x [B, K, L, D] of a value [B, K * times, L, D] in which each head stands
/// `times` times.
Value AttentionRaiser::withoutRepeats(Value value, int64_t &times) {
  times = 1;
  Value v = strip(value);
  Operation *merge = getNode(v, "onnx.Reshape");
  if (!merge || getRank(v) != 4)
    return v;
  Value wide = strip(merge->getOperand(0));
  Operation *repeat = wide.getDefiningOp();
  StringRef name = getOperator(wide);
  if ((name != "Expand" && name != "Tile") || getRank(wide) != 5)
    return v;
  Value narrow = strip(repeat->getOperand(0));
  if (getRank(narrow) != 5)
    return v;
  Extent one = getDim(narrow, 2), count = getDim(wide, 2);
  if (!one.isStatic() || one.size != 1 || !count.isStatic() || count.size < 1)
    return v;
  for (int64_t i : {0, 1, 3, 4})
    if (!sameExtent(narrow, i, wide, i))
      return v;
  // [B, K, 1, L, D] of [B, K, L, D].
  Operation *widen = narrow.getDefiningOp();
  StringRef how = getOperator(narrow);
  if (how != "Unsqueeze" && how != "Reshape")
    return v;
  Value x = strip(widen->getOperand(0));
  if (getRank(x) != 4)
    return v;
  for (auto [i, j] : {std::pair{0, 0}, {1, 1}, {2, 3}, {3, 4}})
    if (!sameExtent(x, i, narrow, j))
      return v;
  for (auto [i, j] : {std::pair{0, 0}, {2, 3}, {3, 4}})
    if (!sameExtent(v, i, wide, j))
      return v;
  times = count.size;
  return x;
}

bool AttentionRaiser::readOperands() {
  query = withoutScale(first->getOperand(0), scale);
  transposedKey = withoutScale(first->getOperand(1), scale);
  value = strip(product->getOperand(1));
  key = findKeys(transposedKey);
  if (key) {
    // Scaled before it was transposed.
    key = withoutScale(key, scale);
  }
  Type element = getElementType(value);
  auto widened = [&](Value v) {
    Value bare = withoutCasts(v);
    return getElementType(bare) == element ? bare : v;
  };
  query = widened(query);
  if (key)
    key = widened(key);
  else if (getElementType(transposedKey) != element)
    transposedKey = widened(transposedKey);
  if (!element || !(element.isF16() || element.isBF16() || element.isF32()))
    return refuse(product, "multiplies values that are not f32, f16 or bf16");
  Value keys = key ? key : transposedKey;
  for (Value v : {query, keys})
    if (getElementType(v) != element)
      return refuse(first, "multiplies queries and keys of another type than "
                           "the values have");
  if (getElementType(product->getResult(0)) != element)
    return refuse(product, "gives another type than the values have");
  for (Value v : {query, keys, value})
    if (getRank(v) != rank)
      return refuse(v == value ? product : first,
                    "multiplies tensors of different ranks");
  if (rank != 3 && rank != 4)
    return refuse(first, "multiplies tensors of rank " + Twine(rank) +
                             "; 3 and 4 are accepted");
  if (!std::isfinite(scale))
    return refuse(first, "has scores whose scale is not finite");
  return true;
}

/// Whether the extents are those that moe.attention relates.
bool AttentionRaiser::checkShapes() {
  Value keys = key ? key : transposedKey;
  int64_t row = key ? rank - 2 : rank - 1, column = key ? rank - 1 : rank - 2;
  if (!sameDims(query, keys, 0, rank - 2))
    return refuse(first, "has queries and keys whose batch or heads are not "
                         "known to be equal");
  if (!sameDims(query, value, 0, rank - 2))
    return refuse(product, "has queries and values whose batch or heads are "
                           "not known to be equal");
  if (!sameExtent(query, rank - 1, keys, column))
    return refuse(first, "has queries and keys whose widths are not known to "
                         "be equal");
  if (!sameExtent(keys, row, value, rank - 2))
    return refuse(product, "has keys and values whose numbers are not known to "
                           "be equal");
  // Nothing makes the scores larger. Their last dim is that of the values.
  auto fits = [&](Value v, Operation *at) {
    int64_t own = getRank(v);
    if (own < 0 || own > rank)
      return refuse(at, "changes the rank of the scores");
    for (int64_t i = 0; i + 1 < own; ++i) {
      Extent extent = getDim(v, i);
      if (!(extent.isStatic() && extent.size == 1) &&
          !sameExtent(v, i, query, rank - own + i))
        return refuse(at, "may repeat scores: a mask is not known to be as "
                          "large as they are");
    }
    return true;
  };
  for (Value v : addends)
    if (!fits(v, softmax))
      return false;
  for (auto [v, truth] : conditions)
    if (!fits(v, softmax))
      return false;
  return true;
}

/// Splits what is added and what hides into attributes and a mask.
bool AttentionRaiser::readAddends() {
  Value keys = key ? key : transposedKey;
  MaskReader reader(dims, {rank, query, keys, key ? rank - 2 : rank - 1});
  for (auto [condition, truth] : conditions) {
    Visible read = visible;
    if (reader.read(condition, truth, read)) {
      visible = std::move(read);
      continue;
    }
    if (!truth) {
      // A negation of its own.
      b.setInsertionPoint(product);
      NodeBuilder nodes(b, product->getLoc());
      condition = nodes.create("onnx.Not", {condition}, condition.getType());
    }
    visible.terms.push_back(condition);
  }
  // One addend that only hides is a mask; several could hide twice.
  if (addends.size() == 1 && conditions.empty()) {
    Visible read;
    if (std::optional<double> number = reader.readAddend(addends[0], read)) {
      visible = std::move(read);
      low = number;
      addends.clear();
    }
  }
  return true;
}

//===----------------------------------------------------------------------===//
// Other readers of the probabilities
//===----------------------------------------------------------------------===//

/// Takes a node that reads one row, or some rows, of the probabilities.
bool AttentionRaiser::addReader(Operation *reader) {
  int64_t from = 0, count = 1;
  StringRef name = reader->getName().getStringRef();
  if (name == "onnx.Gather") {
    std::optional<int64_t> axis = getAxis(reader, "axis", 0, rank);
    std::optional<int64_t> index = getSingleInt(reader->getOperand(1));
    if (axis != rank - 2 || !index || getRank(reader->getOperand(1)) > 1)
      return false;
    from = *index;
  } else if (name == "onnx.Slice") {
    std::optional<SmallVector<int64_t>> starts = getInts(reader->getOperand(1)),
                                        ends = getInts(reader->getOperand(2));
    Value axes = onnx::getFormalOperand(reader, 3);
    Value steps = onnx::getFormalOperand(reader, 4);
    std::optional<int64_t> axis;
    if (axes)
      axis = getSingleInt(axes);
    if (!starts || !ends || starts->size() != 1 || ends->size() != 1 ||
        (axis != rank - 2 && axis != -2) || (steps && !isNumber(steps, 1)))
      return false;
    Extent extent = getDim(reader->getResult(0), rank - 2);
    if (!extent.isStatic() || extent.size < 1)
      return false;
    from = (*starts)[0];
    count = extent.size;
  } else {
    return false;
  }
  Extent all = getDim(query, rank - 2);
  if (all.isStatic() && from < 0)
    from += all.size;
  // How long it is shows whether such a row is there at all.
  if (!all.isStatic() && !(from == 0 || from == -1))
    return false;
  if (!all.isStatic() && count != 1)
    return false;
  if (all.isStatic() && (from < 0 || from + count > all.size))
    return false;
  if (firstRow && (*firstRow != from || rowCount != count))
    return false;
  firstRow = from;
  rowCount = count;
  readers.push_back(reader);
  return true;
}

/// Whether what is between the products only goes from one to the other.
bool AttentionRaiser::checkUses() {
  for (Value v : {Value(first->getResult(0)), softmax->getOperand(0)})
    if (!v.hasOneUse())
      return refuse(first, "has scores that other nodes read as well");
  for (Value v : chain) {
    bool isLast = v == chain.front();
    for (Operation *user : v.getUsers()) {
      StringRef name = user->getName().getStringRef();
      if (user == product)
        continue;
      // Copies of the probabilities are looked through.
      bool inChain = llvm::any_of(chain, [&](Value other) {
        return other != v && other.getDefiningOp() == user;
      });
      if (inChain || name == "onnx.IsNaN")
        continue;
      if (isLast && getElementType(v) == getElementType(value) &&
          addReader(user))
        continue;
      return refuse(user, "reads probabilities of an attention, and not some "
                          "rows of them that are known");
    }
  }
  return true;
}

//===----------------------------------------------------------------------===//
// Building
//===----------------------------------------------------------------------===//

/// A value of rank 4: one head where there is no dim for heads.
Value AttentionRaiser::asHeads(Value v) {
  if (getRank(v) == 4)
    return v;
  NodeBuilder nodes(b, product->getLoc());
  auto shape = RankedTensorType::get({1}, b.getI64Type());
  Value axis = nodes.create(
      "onnx.Constant", {}, shape,
      b.getNamedAttr("value",
                     DenseElementsAttr::get(shape, ArrayRef<int64_t>{1})));
  auto type = cast<RankedTensorType>(v.getType());
  SmallVector<int64_t> extents(type.getShape());
  extents.insert(extents.begin() + 1, 1);
  return nodes.create("onnx.Unsqueeze", {v, axis},
                      RankedTensorType::get(extents, type.getElementType()));
}

/// A value that broadcasts to the scores, as one of rank 4.
Value AttentionRaiser::broadcastHeads(Value v) {
  int64_t own = getRank(v);
  NodeBuilder nodes(b, product->getLoc());
  auto type = cast<RankedTensorType>(v.getType());
  SmallVector<int64_t> extents(type.getShape()), axes;
  // [batch, S, L] of one head each has its dim of heads behind the batch.
  if (rank == 3 && own == 3) {
    axes.push_back(1);
    extents.insert(extents.begin() + 1, 1);
  } else {
    for (int64_t i = 0; i < 4 - own; ++i)
      axes.push_back(i);
    extents.insert(extents.begin(), 4 - own, 1);
  }
  if (axes.empty())
    return v;
  auto shape = RankedTensorType::get({static_cast<int64_t>(axes.size())},
                                     b.getI64Type());
  Value list = nodes.create(
      "onnx.Constant", {}, shape,
      b.getNamedAttr("value",
                     DenseElementsAttr::get(shape, ArrayRef<int64_t>(axes))));
  return nodes.create("onnx.Unsqueeze", {v, list},
                      RankedTensorType::get(extents, type.getElementType()));
}

static void keepNames(Operation *from, Operation *to) {
  for (StringRef name :
       {StringRef(onnx::names::kOutputs), StringRef(onnx::names::kDims)})
    if (Attribute attr = from->getDiscardableAttr(name))
      to->setDiscardableAttr(name, attr);
}

void AttentionRaiser::replaceReader(Operation *reader, Value rows) {
  OpBuilder::InsertionGuard guard(b);
  Value old = reader->getResult(0);
  b.setInsertionPoint(reader);
  if (reader->getBlock() == rows.getDefiningOp()->getBlock() &&
      reader->isBeforeInBlock(rows.getDefiningOp()))
    b.setInsertionPointAfterValue(rows);
  NodeBuilder nodes(b, reader->getLoc());
  SmallVector<int64_t> axes;
  if (rank == 3)
    axes.push_back(1);
  if (getRank(old) < rank)
    axes.push_back(2);
  Value replacement = rows;
  if (!axes.empty()) {
    auto shape = RankedTensorType::get({static_cast<int64_t>(axes.size())},
                                       b.getI64Type());
    Value list = nodes.create(
        "onnx.Constant", {}, shape,
        b.getNamedAttr("value",
                       DenseElementsAttr::get(shape, ArrayRef<int64_t>(axes))));
    replacement =
        nodes.create("onnx.Squeeze", {rows, list}, old.getType(), {}, true);
    keepNames(reader, replacement.getDefiningOp());
  } else if (rows.getType() != old.getType()) {
    replacement =
        nodes.create("onnx.Identity", {rows}, old.getType(), {}, true);
  }
  b.replaceAllUsesWith(old, replacement);
}

void AttentionRaiser::build() {
  b.setInsertionPoint(product);
  NodeBuilder nodes(b, product->getLoc());
  if (!key) {
    auto type = cast<RankedTensorType>(transposedKey.getType());
    SmallVector<int64_t> extents(type.getShape()),
        perm = llvm::to_vector(llvm::seq<int64_t>(0, rank));
    std::swap(extents[rank - 2], extents[rank - 1]);
    std::swap(perm[rank - 2], perm[rank - 1]);
    // Two transpositions are one.
    Value from = transposedKey;
    if (Operation *op = getNode(transposedKey, "onnx.Transpose")) {
      SmallVector<int64_t> outer = getPermutation(op);
      for (int64_t &dim : perm)
        dim = outer[dim];
      from = op->getOperand(0);
    }
    key = nodes.create("onnx.Transpose", {from},
                       RankedTensorType::get(extents, type.getElementType()),
                       b.getNamedAttr("perm", b.getDenseI64ArrayAttr(perm)));
  }
  int64_t keyTimes = 1, valueTimes = 1;
  Value keys = withoutRepeats(key, keyTimes);
  Value values = withoutRepeats(value, valueTimes);
  if (keyTimes == valueTimes && sameDims(keys, values, 0, 3)) {
    key = keys;
    value = values;
  }

  // Masks are and-ed, addends added up.
  Value mask, bias;
  auto join = [&](Value &all, Value one, StringRef name) {
    if (!all) {
      all = one;
      return;
    }
    auto a = cast<RankedTensorType>(all.getType());
    auto c = cast<RankedTensorType>(one.getType());
    SmallVector<int64_t> extents;
    for (int64_t i = 0; i < 4; ++i)
      extents.push_back(a.getDimSize(i) == 1 ? c.getDimSize(i)
                                             : a.getDimSize(i));
    all = nodes.create(name, {all, one},
                       RankedTensorType::get(extents, a.getElementType()));
  };
  for (Value term : visible.terms)
    join(mask, broadcastHeads(term), "onnx.And");
  for (Value addend : llvm::reverse(addends))
    join(bias, broadcastHeads(addend), "onnx.Add");

  Value out = product->getResult(0);
  auto outType = cast<RankedTensorType>(out.getType());
  query = asHeads(query);
  SmallVector<int64_t> extents(outType.getShape());
  if (rank == 3)
    extents.insert(extents.begin() + 1, 1);
  Type probsType;
  if (firstRow) {
    SmallVector<int64_t> shape(extents);
    shape[2] = rowCount;
    shape[3] = getExtent(key, rank - 2);
    probsType = RankedTensorType::get(shape, outType.getElementType());
  }
  bool hides = visible.causal != ir::Causal::None || visible.window || mask;
  OperationState state(product->getLoc(), ir::AttentionOp::getOperationName());
  ir::AttentionOp::build(
      b, state, RankedTensorType::get(extents, outType.getElementType()),
      probsType, query, asHeads(key), asHeads(value), bias, mask,
      b.getF64FloatAttr(scale), b.getF64FloatAttr(softcap),
      ir::CausalAttr::get(b.getContext(), visible.causal),
      visible.window ? b.getI64IntegerAttr(*visible.window) : IntegerAttr(),
      b.getF64FloatAttr(hides && low ? *low : -INFINITY),
      zeroNaN ? b.getUnitAttr() : UnitAttr(),
      b.getI64IntegerAttr(firstRow.value_or(0)),
      firstRow ? b.getI64IntegerAttr(rowCount) : IntegerAttr());
  auto op = cast<ir::AttentionOp>(b.create(state));
  Value result = op.getOut();
  if (rank == 3) {
    auto shape = RankedTensorType::get({1}, b.getI64Type());
    Value axis = nodes.create(
        "onnx.Constant", {}, shape,
        b.getNamedAttr("value",
                       DenseElementsAttr::get(shape, ArrayRef<int64_t>{1})));
    result = nodes.create("onnx.Squeeze", {result, axis}, outType);
  }
  // The result keeps its names.
  if (rank == 3 || !op.getProbs())
    keepNames(product, result.getDefiningOp());
  b.replaceAllUsesWith(out, result);
  for (Operation *reader : readers)
    replaceReader(reader, op.getProbs());
}

bool AttentionRaiser::raise(Refusal &why) {
  bool ok = readScores() && readOperands() && checkShapes() && checkUses() &&
            readAddends();
  if (ok)
    build();
  else
    why = refusal;
  return ok;
}

namespace {

struct RaiseAttention : public moe::impl::RaiseAttentionBase<RaiseAttention> {
  void runOnOperation() override {
    func::FuncOp func = getOperation();
    SmallVector<Operation *> products;
    func.walk([&](Operation *op) {
      if (op->getName().getStringRef() == "onnx.MatMul")
        products.push_back(op);
    });
    DimContext dims;
    IRRewriter rewriter(&getContext());
    for (Operation *product : products) {
      AttentionRaiser raiser(product, dims, rewriter);
      Refusal refusal;
      if (!raiser.isAnchor())
        continue;
      if (raiser.raise(refusal)) {
        ++numRaised;
        continue;
      }
      ++numMissed;
      Operation *at = refusal.at ? refusal.at : product;
      remark::missed(at->getLoc(), remark::RemarkOpts::name(getArgument())
                                       .category("raise")
                                       .function(func.getName()))
          << refusal.why;
    }
    if (numRaised == 0)
      return markAllAnalysesPreserved();
    (void)runRegionDCE(rewriter, func->getRegions());
  }
};

} // namespace
