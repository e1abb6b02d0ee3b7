//===- BankProducts.cpp - products with a bank of weights -----------------===//

#include "passes/Raise/BankProducts.h"
#include "dialects/ONNX/ONNXDialect.h"
#include "lib/Analysis/Dims.h"
#include "passes/Raise/Match.h"
#include "passes/Raise/Nodes.h"

using namespace mlir;
using namespace moe;

//===----------------------------------------------------------------------===//
// Contractions
//===----------------------------------------------------------------------===//

/// Whether an axis has extent 1 in every run.
static bool isUnit(Value value, int64_t axis) {
  return getExtent(value, axis) == 1;
}

static std::optional<Contraction> readMatMul(Operation *op) {
  Value a = op->getOperand(0), b = op->getOperand(1);
  int64_t rankA = match::getRank(a), rankB = match::getRank(b);
  int64_t rank = match::getRank(op->getResult(0));
  if (rankA < 1 || rankB < 1 || rank < 0)
    return std::nullopt;
  Contraction sum;
  sum.op = op;
  sum.operands = {a, b};
  sum.labels.resize(2);
  int64_t batch = std::max({rankA - 2, rankB - 2, int64_t(0)});
  const int rows = batch, columns = batch + 1, inner = batch + 2;
  auto batchLabel = [&](Value own, int64_t ownRank, Value other,
                        int64_t otherRank, int64_t i) -> std::optional<int> {
    int64_t mine = i - (batch - (ownRank - 2)),
            its = i - (batch - (otherRank - 2));
    if (isUnit(own, mine))
      return Contraction::kUnit;
    if (its >= 0 && !isUnit(other, its) && !sameExtent(own, mine, other, its))
      return std::nullopt;
    return i;
  };
  for (int64_t i = 0; i < batch; ++i) {
    bool any = false;
    for (unsigned side : {0u, 1u}) {
      Value own = side ? b : a, other = side ? a : b;
      int64_t ownRank = side ? rankB : rankA, otherRank = side ? rankA : rankB;
      if (i < batch - (ownRank - 2))
        continue;
      std::optional<int> label = batchLabel(own, ownRank, other, otherRank, i);
      if (!label)
        return std::nullopt;
      sum.labels[side].push_back(*label);
      any |= *label != Contraction::kUnit;
    }
    sum.out.push_back(any ? i : Contraction::kUnit);
  }
  if (rankA > 1) {
    int label = isUnit(a, rankA - 2) ? Contraction::kUnit : rows;
    sum.labels[0].push_back(label);
    sum.out.push_back(label);
  }
  sum.labels[0].push_back(inner);
  sum.labels[1].push_back(inner);
  if (rankB > 1) {
    int label = isUnit(b, rankB - 1) ? Contraction::kUnit : columns;
    sum.labels[1].push_back(label);
    sum.out.push_back(label);
  }
  if (static_cast<int64_t>(sum.out.size()) != rank)
    return std::nullopt;
  return sum;
}

static std::optional<Contraction> readGemm(Operation *op) {
  if (match::getFloat(op, "alpha", 1) != 1)
    return std::nullopt;
  Contraction sum;
  sum.op = op;
  sum.operands = {op->getOperand(0), op->getOperand(1)};
  sum.bias = onnx::getFormalOperand(op, 2);
  if (sum.bias && match::getFloat(op, "beta", 1) != 1)
    return std::nullopt;
  if (match::getRank(sum.operands[0]) != 2 ||
      match::getRank(sum.operands[1]) != 2)
    return std::nullopt;
  sum.labels = {{0, 2}, {2, 1}};
  if (match::getInt(op, "transA", 0))
    std::swap(sum.labels[0][0], sum.labels[0][1]);
  if (match::getInt(op, "transB", 0))
    std::swap(sum.labels[1][0], sum.labels[1][1]);
  sum.out = {0, 1};
  return sum;
}

static std::optional<Contraction> readEinsum(Operation *op) {
  std::string text = match::getString(op, "equation", "").str();
  llvm::erase(text, ' ');
  auto [left, right] = StringRef(text).split("->");
  if (!StringRef(text).contains("->") || StringRef(text).contains('.'))
    return std::nullopt;
  Contraction sum;
  sum.op = op;
  SmallVector<StringRef> terms;
  left.split(terms, ',');
  if (terms.size() != op->getNumOperands())
    return std::nullopt;
  // The first axis of each label that is no unit; the others are like it.
  DenseMap<int, std::pair<Value, int64_t>> first;
  for (auto [term, operand] : llvm::zip(terms, op->getOperands())) {
    if (match::getRank(operand) != static_cast<int64_t>(term.size()))
      return std::nullopt;
    SmallVector<int, 4> &labels = sum.labels.emplace_back();
    for (auto [i, letter] : llvm::enumerate(term)) {
      int label = static_cast<unsigned char>(letter);
      if (llvm::is_contained(labels, label))
        return std::nullopt;
      if (isUnit(operand, i)) {
        labels.push_back(Contraction::kUnit);
        continue;
      }
      labels.push_back(label);
      auto [it, isNew] = first.insert({label, {operand, i}});
      if (!isNew &&
          !sameExtent(it->second.first, it->second.second, operand, i))
        return std::nullopt;
    }
    sum.operands.push_back(operand);
  }
  for (char letter : right) {
    int label = static_cast<unsigned char>(letter);
    bool isKnown = first.contains(label);
    sum.out.push_back(isKnown ? label : Contraction::kUnit);
  }
  if (match::getRank(op->getResult(0)) != static_cast<int64_t>(sum.out.size()))
    return std::nullopt;
  return sum;
}

std::optional<Contraction> moe::readContraction(Operation *op) {
  if (!op)
    return std::nullopt;
  StringRef name = op->getName().getStringRef();
  if (name == "onnx.MatMul")
    return readMatMul(op);
  if (name == "onnx.Gemm")
    return readGemm(op);
  if (name == "onnx.Einsum")
    return readEinsum(op);
  return std::nullopt;
}

//===----------------------------------------------------------------------===//
// Banks
//===----------------------------------------------------------------------===//

Value moe::stripToFlat(Value value) {
  while (value) {
    value = match::strip(value);
    Operation *op = value.getDefiningOp();
    if (!op)
      break;
    StringRef name = op->getName().stripDialect();
    auto isInteger = [](Value v) {
      Type type = match::getElementType(v);
      // Narrower ones might wrap.
      return type && (type.isInteger(32) || type.isInteger(64));
    };
    bool moves = name == "Reshape" || name == "Flatten" || name == "Squeeze" ||
                 name == "Unsqueeze";
    bool widens = name == "Cast" && isInteger(op->getOperand(0)) &&
                  isInteger(op->getResult(0));
    if (op->getName().getDialectNamespace() != "onnx" || (!moves && !widens))
      break;
    value = op->getOperand(0);
  }
  return value;
}

namespace {
/// Rows of a tensor, picked along axis 0.
struct Picked {
  Value data, ids;
  /// Axes of the result that walk the ids.
  int64_t rank = 0;
};
} // namespace

static std::optional<Picked> matchPicked(Value value) {
  if (Operation *op = match::getNode(value, "onnx.Gather")) {
    Picked picked{op->getOperand(0), op->getOperand(1), 0};
    picked.rank = match::getRank(picked.ids);
    int64_t rank = match::getRank(picked.data);
    if (picked.rank < 0 || rank < 1 || match::getAxis(op, "axis", 0, rank) != 0)
      return std::nullopt;
    return picked;
  }
  if (Operation *op = match::getNode(value, "onnx.GatherND")) {
    Picked picked{op->getOperand(0), op->getOperand(1), 0};
    picked.rank = match::getRank(picked.ids) - 1;
    if (picked.rank < 0 || match::getInt(op, "batch_dims", 0) != 0 ||
        !isUnit(picked.ids, picked.rank))
      return std::nullopt;
    return picked;
  }
  return std::nullopt;
}

/// The axes of a view's base that axis i walks, each as a whole; nullopt if it
/// walks parts of them, or repeats.
static std::optional<SmallVector<int64_t, 2>> getWholeAxes(const View &view,
                                                           unsigned i) {
  SmallVector<int64_t, 2> axes;
  for (const Factor &factor : view.getAxis(i)) {
    if (factor.isRepeat())
      return std::nullopt;
    if (axes.empty() || axes.back() != factor.axis)
      axes.push_back(factor.axis);
  }
  if (!view.walks(i, axes))
    return std::nullopt;
  return axes;
}

namespace {

/// Reads what an operand of a contraction takes from a bank.
class BankReader {
public:
  BankReader(const Contraction &sum, unsigned at, DimContext &dims)
      : sum(sum), at(at), dims(dims) {}

  bool read(BankProduct &product);

private:
  bool readPicked(const View &view, const Picked &picked, BankProduct &product);
  bool readWhole(const View &view, BankProduct &product);
  bool settle(Value bank, ArrayRef<int> labelOfAxis, BankProduct &product);

  const Contraction &sum;
  unsigned at;
  DimContext &dims;
};

} // namespace

bool BankReader::read(BankProduct &product) {
  View view = View::of(sum.operands[at], dims);
  if (!view.getBase() || view.getRank() != sum.labels[at].size())
    return false;
  if (std::optional<Picked> picked = matchPicked(view.getBase()))
    return match::getRank(picked->data) == 3 &&
           readPicked(view, *picked, product);
  return view.getBaseRank() == 3 && readWhole(view, product);
}

/// bank[ids]: the axes of ids lead, those of a matrix follow.
bool BankReader::readPicked(const View &view, const Picked &picked,
                            BankProduct &product) {
  int labels[3] = {Contraction::kUnit, Contraction::kUnit, Contraction::kUnit};
  int64_t next = 0;
  for (unsigned i = 0; i < view.getRank(); ++i) {
    auto axes = getWholeAxes(view, i);
    if (!axes)
      return false;
    int label = sum.labels[at][i];
    for (int64_t axis : *axes) {
      // Each part of a bank's matrix has an axis of its own; ids are walked in
      // their order.
      if (axis >= picked.rank) {
        if (axes->size() != 1)
          return false;
        labels[axis - picked.rank + 1] = label;
        continue;
      }
      if (axis < next)
        return false;
      next = axis + 1;
      if (product.slots.empty() || product.slots.back() != label) {
        product.slots.push_back(label);
        product.slotAxes.emplace_back();
      }
      product.slotAxes.back().push_back(axis);
    }
  }
  product.ids = picked.ids;
  return settle(picked.data, labels, product);
}

bool BankReader::readWhole(const View &view, BankProduct &product) {
  int labels[3] = {Contraction::kUnit, Contraction::kUnit, Contraction::kUnit};
  for (unsigned i = 0; i < view.getRank(); ++i) {
    auto axes = getWholeAxes(view, i);
    if (!axes || axes->size() > 1)
      return false;
    if (!axes->empty())
      labels[axes->front()] = sum.labels[at][i];
  }
  product.expert = labels[0];
  return labels[0] != Contraction::kUnit &&
         settle(view.getBase(), labels, product);
}

/// Tells features that go in from those that come out.
bool BankReader::settle(Value bank, ArrayRef<int> labels,
                        BankProduct &product) {
  int a = labels[1], b = labels[2];
  if (a == Contraction::kUnit || b == Contraction::kUnit || a == b ||
      !match::isConstant(bank))
    return false;
  // The features that go in are summed over, with the rows; those that come out
  // are the bank's alone.
  auto isIn = [&](int label) { return !sum.inOut(label); };
  if (isIn(a) == isIn(b))
    return false;
  product.layout = isIn(b) ? ir::BankLayout::OI : ir::BankLayout::IO;
  product.in = isIn(b) ? b : a;
  product.outFeature = isIn(b) ? a : b;
  // A bank that is transposed when the model runs is the one before.
  View view = View::of(bank, dims);
  if (view.getBase() != bank && view.getBaseRank() == 3 && view.walks(0, 0) &&
      view.walks(1, 2) && view.walks(2, 1)) {
    bank = view.getBase();
    product.layout = product.layout == ir::BankLayout::OI ? ir::BankLayout::IO
                                                          : ir::BankLayout::OI;
  }
  auto type = dyn_cast<RankedTensorType>(bank.getType());
  if (!type || !type.hasStaticShape() || !isa<FloatType>(type.getElementType()))
    return false;
  product.bank = bank;
  return true;
}

int64_t BankProduct::getNumExperts() const { return moe::getExtent(bank, 0); }

DimExpr BankProduct::getExtent(int label, DimContext &dims) const {
  for (auto [operand, labels] : llvm::zip(sum.operands, sum.labels))
    for (auto [i, own] : llvm::enumerate(labels))
      if (own == label)
        return toExpr(dims, getDim(operand, i));
  return DimExpr();
}

std::optional<BankProduct> moe::matchBankProduct(Operation *op,
                                                 DimContext &dims) {
  std::optional<Contraction> sum = readContraction(op);
  if (!sum)
    return std::nullopt;
  for (unsigned bank = 0; bank < sum->operands.size(); ++bank) {
    BankProduct product;
    product.sum = *sum;
    product.bankAt = bank;
    if (!BankReader(*sum, bank, dims).read(product))
      continue;
    // The rows are what else has the features that go in, and nothing else has
    // those that come out.
    unsigned numRows = 0;
    bool outElsewhere = false;
    for (unsigned i = 0; i < sum->operands.size(); ++i) {
      if (i == bank)
        continue;
      outElsewhere |= sum->has(i, product.outFeature);
      if (sum->has(i, product.in)) {
        ++numRows;
        product.rowsAt = i;
      }
    }
    if (numRows == 1 && !outElsewhere)
      return product;
  }
  return std::nullopt;
}

Value moe::matchNeurons(Operation *op, Value &other, DimContext &dims) {
  std::optional<Contraction> sum = readContraction(op);
  if (!sum || sum->operands.size() != 2)
    return {};
  for (unsigned i : {0u, 1u}) {
    View view = View::of(sum->operands[i], dims);
    auto picked = view.getBase() ? matchPicked(view.getBase()) : std::nullopt;
    if (!picked || match::getRank(picked->data) != 2 || picked->rank < 1 ||
        !match::isConstant(picked->data) || match::isConstant(picked->ids) ||
        !isa_and_present<FloatType>(match::getElementType(picked->data)))
      continue;
    other = sum->operands[1 - i];
    return picked->ids;
  }
  return {};
}

//===----------------------------------------------------------------------===//
// Views and biases of products
//===----------------------------------------------------------------------===//

int64_t LabelledValue::find(int label) const {
  for (auto [i, labels] : llvm::enumerate(axes))
    if (labels.size() == 1 && labels.front() == label)
      return i;
  return -1;
}

/// Whether all values from `value` back to `base` are floats: a cast to
/// integers in between is no view.
static bool areFloats(Value value, Value base) {
  for (unsigned steps = 0; steps < 64; ++steps) {
    if (!isa_and_present<FloatType>(match::getElementType(value)))
      return false;
    Operation *op = value.getDefiningOp();
    if (value == base || !op || op->getNumOperands() == 0)
      return value == base;
    value = op->getOperand(0);
  }
  return false;
}

std::optional<LabelledValue> moe::labelView(const BankProduct &product,
                                            Value value, DimContext &dims) {
  View view = View::of(value, dims, product.getResult(),
                       /*throughCasts=*/true);
  if (view.getBase() != product.getResult() ||
      view.getBaseRank() != product.sum.out.size() ||
      !areFloats(value, product.getResult()))
    return std::nullopt;
  LabelledValue labelled{value, {}};
  for (unsigned i = 0; i < view.getRank(); ++i) {
    auto axes = getWholeAxes(view, i);
    if (!axes)
      return std::nullopt;
    SmallVector<int, 2> &labels = labelled.axes.emplace_back();
    for (int64_t axis : *axes)
      labels.push_back(product.sum.out[axis]);
  }
  return labelled;
}

Value moe::matchBankBias(const BankProduct &product, const LabelledValue &sum,
                         Value bias, DimContext &dims) {
  View view = View::of(bias, dims);
  if (!view.getBase() || view.getRank() > sum.axes.size())
    return {};
  std::optional<Picked> picked = matchPicked(view.getBase());
  Value bank = picked ? picked->data : view.getBase();
  if (bool(picked) != bool(product.ids) || !match::isConstant(bank))
    return {};
  if (picked && stripToFlat(picked->ids) != stripToFlat(product.ids))
    return {};
  // Each axis of the bias meets one of the sum.
  SmallVector<int, 2> walked;
  SmallVector<int64_t> order;
  size_t offset = sum.axes.size() - view.getRank();
  for (unsigned i = 0; i < view.getRank(); ++i) {
    auto axes = getWholeAxes(view, i);
    if (!axes)
      return {};
    if (axes->empty())
      continue;
    order.append(axes->begin(), axes->end());
    ArrayRef<int> met = sum.axes[offset + i];
    if (DimExpr extent = View::extentOf(view.getAxis(i));
        extent != toExpr(dims, getDim(sum.value, offset + i)))
      return {};
    walked.append(met.begin(), met.end());
  }
  // All of it, in its order, the features last: [slots.., out] or [E, out].
  if (!llvm::is_sorted(order) || walked.empty() ||
      walked.back() != product.outFeature)
    return {};
  walked.pop_back();
  SmallVector<int, 2> expected(product.slots);
  if (!product.ids)
    expected = {product.expert};
  llvm::erase(expected, Contraction::kUnit);
  if (walked != expected)
    return {};
  auto type = dyn_cast<RankedTensorType>(bank.getType());
  if (!type || !type.hasStaticShape() || type.getRank() < 2 ||
      type.getDimSize(0) != product.getNumExperts() ||
      (picked && type.getRank() != 2))
    return {};
  return bank;
}
