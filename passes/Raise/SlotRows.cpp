//===- SlotRows.cpp - tokens that are repeated for their slots ------------===//

#include "passes/Raise/SlotRows.h"
#include "lib/Analysis/Dims.h"
#include "passes/Raise/Match.h"
#include "passes/Raise/Nodes.h"

using namespace mlir;
using namespace moe;

namespace {

/// An axis of slots: which axis of a view it is (-1: it is none of it, the
/// view is broadcast along it) and its extent.
struct SlotAxis {
  int64_t axis;
  DimExpr extent;
};

class RowsReader {
public:
  RowsReader(DimContext &dims) : dims(dims) {}

  std::optional<SlotRows> read(Value rows, ArrayRef<SlotAxis> slots,
                               int64_t features);

private:
  std::optional<SlotRows> readView(const View &view, ArrayRef<SlotAxis> slots,
                                   int64_t features);
  std::optional<SlotRows> readScaled(Value rows, Operation *mul,
                                     ArrayRef<SlotAxis> slots,
                                     int64_t features);
  std::optional<SlotRows> readGathered(Value rows, Operation *gather,
                                       ArrayRef<SlotAxis> slots,
                                       int64_t features);
  bool keepsAll(Value rows, Value base, ArrayRef<SlotAxis> slots,
                int64_t features);

  DimContext &dims;
};

} // namespace

/// The view's base as tokens if it is walked in its order, features last.
std::optional<SlotRows> RowsReader::readView(const View &view,
                                             ArrayRef<SlotAxis> slots,
                                             int64_t features) {
  int64_t rank = view.getBaseRank();
  if (rank < 2 || !view.walks(features, rank - 1))
    return std::nullopt;
  SlotRows rows;
  rows.tokens = view.getBase();
  Factors walked, all;
  for (const SlotAxis &slot : slots) {
    if (slot.axis < 0) {
      appendRun(rows.runs, Run::Repeat, slot.extent);
      continue;
    }
    const Factors &factors = view.getAxis(slot.axis);
    if (factors.empty() && !slot.extent.isConstant(1)) {
      appendRun(rows.runs, Run::Repeat, slot.extent);
      continue;
    }
    for (const Factor &factor : factors) {
      appendRun(rows.runs, factor.isRepeat() ? Run::Repeat : Run::Token,
                factor.extent);
      if (!factor.isRepeat())
        walked.push_back(factor);
    }
  }
  for (int64_t i = 0; i + 1 < rank; ++i)
    all.append(view.getBaseAxis(i));
  if (walked != all)
    return std::nullopt;
  return rows;
}

/// Whether `rows` has the elements of `base` in their order, features last on
/// both sides, and walks its axes of slots in order.
bool RowsReader::keepsAll(Value rows, Value base, ArrayRef<SlotAxis> slots,
                          int64_t features) {
  View view = View::of(rows, dims, base);
  if (view.getBase() != base || !view.keepsOrder() || view.getBaseRank() < 2 ||
      !view.walks(features, view.getBaseRank() - 1))
    return false;
  int64_t next = 0;
  for (const SlotAxis &slot : slots) {
    if (slot.axis < next)
      return false;
    next = slot.axis + 1;
  }
  return true;
}

/// x * scale, where x is repeated.
std::optional<SlotRows> RowsReader::readScaled(Value rows, Operation *mul,
                                               ArrayRef<SlotAxis> slots,
                                               int64_t features) {
  Value product = mul->getResult(0);
  if (!keepsAll(rows, product, slots, features))
    return std::nullopt;
  int64_t rank = match::getRank(product);
  for (unsigned side : {0u, 1u}) {
    Value x = mul->getOperand(side), scale = mul->getOperand(1 - side);
    int64_t own = match::getRank(x), other = match::getRank(scale);
    if (own < 1 || other < 1 || getExtent(scale, other - 1) != 1 ||
        !sameExtent(x, own - 1, product, rank - 1))
      continue;
    SmallVector<SlotAxis> axes;
    bool fits = true;
    for (int64_t i = 0; i + 1 < rank; ++i) {
      int64_t at = i - (rank - own);
      bool isMissing = at < 0 || getExtent(x, at) == 1;
      fits &= isMissing || sameExtent(x, at, product, i);
      axes.push_back({isMissing ? -1 : at, toExpr(dims, getDim(product, i))});
    }
    if (!fits)
      continue;
    std::optional<SlotRows> found = read(x, axes, own - 1);
    // Without a repeat the product is as good as any value for tokens.
    if (!found || found->scale ||
        llvm::none_of(found->runs,
                      [](const Run &run) { return run.kind == Run::Repeat; }))
      continue;
    found->scale = scale;
    found->scaled = mul;
    return found;
  }
  return std::nullopt;
}

/// The order in which a tensor of indices walks 0, 1, .., n - 1: in runs of
/// Token and Repeat; nullopt if it is another one.
static std::optional<Runs> readIndices(Value index, const DimExpr &n,
                                       DimContext &dims) {
  View view = View::of(index, dims);
  Value base = view.getBase();
  Runs runs;
  auto isCount = [&](Value v, const DimExpr &extent) {
    int64_t constant;
    if (match::isIota(v, constant))
      return extent.isConstant(constant) && match::getRank(v) == 1;
    Operation *range = match::getNode(v, "onnx.Range");
    return range && match::isNumber(range->getOperand(0), 0) &&
           match::isNumber(range->getOperand(2), 1) &&
           toExpr(dims, getDim(v, 0)) == extent;
  };
  if (base && isCount(base, n)) {
    Factors walked;
    for (unsigned i = 0; i < view.getRank(); ++i)
      for (const Factor &factor : view.getAxis(i)) {
        appendRun(runs, factor.isRepeat() ? Run::Repeat : Run::Token,
                  factor.extent);
        if (!factor.isRepeat())
          walked.push_back(factor);
      }
    if (walked != view.getBaseAxis(0))
      return std::nullopt;
    return runs;
  }
  // Position / k: each k times. Position % n: all of them, again and again.
  for (StringRef name : {"onnx.Div", "onnx.Mod"}) {
    Value counted;
    double number;
    if (!base || !view.keepsOrder() ||
        !match::matchWithNumber(base, name, counted, number) || number < 1)
      continue;
    DimExpr divisor = DimExpr::constant(static_cast<int64_t>(number));
    DimExpr all = toExpr(dims, getDim(counted, 0));
    if (match::getRank(counted) != 1 || !isCount(counted, all))
      return std::nullopt;
    if (name == "onnx.Div" && all == n * divisor) {
      appendRun(runs, Run::Token, n);
      appendRun(runs, Run::Repeat, divisor);
      return runs;
    }
    DimExpr times = DimExpr::divideExactly(all, n);
    if (name == "onnx.Mod" && divisor == n && times.isKnown()) {
      appendRun(runs, Run::Repeat, times);
      appendRun(runs, Run::Token, n);
      return runs;
    }
  }
  return std::nullopt;
}

/// x[i // k].
std::optional<SlotRows> RowsReader::readGathered(Value rows, Operation *gather,
                                                 ArrayRef<SlotAxis> slots,
                                                 int64_t features) {
  Value x = gather->getOperand(0), index = gather->getOperand(1);
  if (match::getRank(x) != 2 ||
      !keepsAll(rows, gather->getResult(0), slots, features))
    return std::nullopt;
  bool isND = gather->getName().getStringRef() == "onnx.GatherND";
  if (isND ? match::getInt(gather, "batch_dims", 0) != 0 ||
                 getExtent(index, match::getRank(index) - 1) != 1
           : match::getAxis(gather, "axis", 0, 2) != 0)
    return std::nullopt;
  auto runs = readIndices(index, toExpr(dims, getDim(x, 0)), dims);
  if (!runs)
    return std::nullopt;
  SlotRows found;
  found.tokens = x;
  found.runs = *runs;
  return found;
}

/// The value farthest back that serves as tokens.
std::optional<SlotRows> RowsReader::read(Value rows, ArrayRef<SlotAxis> slots,
                                         int64_t features) {
  std::optional<SlotRows> best;
  Value at = rows;
  while (true) {
    View view = View::of(rows, dims, at);
    if (view.getBase() != at)
      break;
    if (auto found = readView(view, slots, features))
      best = found;
    Operation *op = at.getDefiningOp();
    if (!op || op->getNumOperands() == 0)
      break;
    StringRef name = op->getName().getStringRef();
    std::optional<SlotRows> found;
    if (name == "onnx.Mul")
      found = readScaled(rows, op, slots, features);
    else if (name == "onnx.Gather" || name == "onnx.GatherND")
      found = readGathered(rows, op, slots, features);
    if (found)
      return found;
    at = op->getOperand(0);
  }
  return best;
}

std::optional<SlotRows> moe::matchSlotRows(const BankProduct &product,
                                           ArrayRef<int> slots,
                                           DimContext &dims) {
  ArrayRef<int> labels = product.sum.labels[product.rowsAt];
  SmallVector<SlotAxis> axes;
  auto find = [&](int label) -> int64_t {
    auto *it = llvm::find(labels, label);
    return it == labels.end() ? -1 : it - labels.begin();
  };
  for (int label : slots)
    axes.push_back({find(label), product.getExtent(label, dims)});
  return RowsReader(dims).read(product.getRows(), axes, find(product.in));
}
