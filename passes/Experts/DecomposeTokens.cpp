//===- DecomposeTokens.cpp - selections of tokens as ONNX operators -------===//
//
// The graphs that exporters write: TopK chooses, another TopK of the chosen
// numbers puts them in order, GatherND takes whole tokens.
//
//===----------------------------------------------------------------------===//
#include "passes/Experts/DecomposeTokens.h"

using namespace mlir;
using namespace moe;
using namespace moe::ir;

static int64_t rankOf(Value value) {
  return cast<RankedTensorType>(value.getType()).getRank();
}

static Value asScalar(GraphBuilder &g, GraphExtent extent) {
  return extent.isStatic() ? g.integer(extent.size)
                           : g.squeeze(extent.value, {0});
}

/// Values and indices of the `k` largest or smallest along `axis`, sorted.
static std::pair<Value, Value> topK(GraphBuilder &g, Value x, Value k,
                                    int64_t axis, bool largest) {
  Operation *op = g.create("TopK", {x, k}, {getElement(x), g.b.getI64Type()},
                           {g.attr("axis", axis), g.attr("largest", largest)});
  return {op->getResult(0), op->getResult(1)};
}

/// Numbers [begin, end) as a row [1, end - begin] of i64.
static Value numbers(GraphBuilder &g, Value begin, Value end) {
  return g.unsqueeze(g.op("Range", {begin, end, g.integer(1)}), {0});
}

Value moe::decomposeTokenScore(GraphBuilder &g, TokenScoreOp op) {
  Value row = g.gather(op.getAttention(), g.integer(op.getQuery()), 2);
  bool isMean = op.getHeadReduce() == HeadReduce::Mean;
  return g.op(isMean ? "ReduceMean" : "ReduceMax", {row, g.ints({1})},
              g.attr("keepdims", 0));
}

/// The chosen tokens of the part [first, first + count), numbered from 0: [B,
/// k] of i64.
static Value choose(GraphBuilder &g, TokenKeepOp op) {
  Value scores = op.getScores();
  // ONNX orders bf16 in newest opsets only; f32 orders it alike.
  if (getElement(scores).isBF16())
    scores = g.cast(scores, g.b.getF32Type());
  int64_t first = op.getFirst();
  if (first != 0 || op.getCount())
    scores = g.slice(scores, 1, first,
                     op.getCount() ? first + *op.getCount() : INT64_MAX);
  Type i64 = g.b.getI64Type();
  if (op.getPolicy() == KeepPolicy::Mask)
    // One sequence: the numbers of true elements are one row.
    return g.op("NonZero", {g.squeeze(scores, {0})}, {}, i64);
  Value k = g.ints({static_cast<int64_t>(op.getK())});
  Value chosen = topK(g, scores, k, 1, /*largest=*/true).second;
  if (op.getOrder() == KeepOrder::Score || op.getK() == 1)
    return chosen;
  return topK(g, chosen, k, 1, /*largest=*/false).first;
}

Value moe::decomposeTokenKeep(GraphBuilder &g, TokenKeepOp op) {
  int64_t first = op.getFirst();
  Value chosen = choose(g, op);
  if (first != 0)
    chosen = g.op("Add", {chosen, g.integer(first)});
  if (first == 0 && !op.getCount())
    return g.cast(chosen, g.b.getI32Type());
  // Those in front and behind are the same in every row.
  GraphExtent batch = g.extent(op.getScores(), 0);
  SmallVector<Value> parts;
  if (first != 0) {
    Value head = numbers(g, g.integer(0), g.integer(first));
    parts.push_back(g.expand(head, {batch, first}));
  }
  parts.push_back(chosen);
  if (op.getCount()) {
    Value begin = g.integer(first + *op.getCount());
    Value end = asScalar(g, g.extent(op.getScores(), 1));
    // Expanded by a 1, a row keeps its length.
    parts.push_back(g.expand(numbers(g, begin, end), {batch, 1}));
  }
  Value idx = parts.size() == 1 ? parts[0] : g.concat(parts, 1);
  return g.cast(idx, g.b.getI32Type());
}

/// x[b, idx[b, i], ...]; idx is of i64 and may have one row for all.
static Value takeTokens(GraphBuilder &g, Value x, Value idx, int64_t rows,
                        int64_t batch) {
  if (rows == 1 && batch != 1)
    return g.gather(x, g.squeeze(idx, {0}), 1);
  return g.op("GatherND", {x, g.unsqueeze(idx, {2})}, g.attr("batch_dims", 1));
}

/// The values of a matrix for all sequences.
static Value expandRows(GraphBuilder &g, Value matrix, int64_t rows,
                        GraphExtent batch) {
  if (rows != 1 || (batch.isStatic() && batch.size == 1))
    return matrix;
  return g.expand(matrix, {batch, 1});
}

static int64_t extentOf(Value value, int64_t i) {
  return cast<RankedTensorType>(value.getType()).getDimSize(i);
}

/// The mean of the tokens of `x` that are not in `idx`, weighted: [B, 1, ...].
static Value fuseOthers(GraphBuilder &g, TokenDropOp op, Value idx) {
  Value weights = op.getWeights();
  Type element = getElement(weights);
  Value like = g.op("Shape", {weights}, {}, g.b.getI64Type());
  Value ones = g.op("Expand", {g.real(1, element), like}, {}, element);
  idx = expandRows(g, idx, extentOf(op.getIdx(), 0), g.extent(op.getX(), 0));
  Value kept = g.op("Shape", {idx}, {}, g.b.getI64Type());
  Value zeros = g.op("Expand", {g.real(0, element), kept}, {}, element);
  Value others = g.op("ScatterElements", {ones, idx, zeros}, g.attr("axis", 1));
  weights = g.op("Mul", {weights, others});
  SmallVector<int64_t> axes =
      llvm::to_vector(llvm::seq<int64_t>(2, rankOf(op.getX())));
  if (!axes.empty())
    weights = g.unsqueeze(weights, axes);
  Value sum =
      g.op("ReduceSum", {g.op("Mul", {op.getX(), weights}), g.ints({1})});
  if (!op.getNormalize())
    return sum;
  Value total = g.op("ReduceSum", {weights, g.ints({1})});
  return g.op("Div", {sum, total});
}

Value moe::decomposeTokenDrop(GraphBuilder &g, TokenDropOp op) {
  Value idx = g.cast(op.getIdx(), g.b.getI64Type());
  Value kept = takeTokens(g, op.getX(), idx, extentOf(op.getIdx(), 0),
                          extentOf(op.getX(), 0));
  if (!op.getWeights())
    return kept;
  return g.concat({kept, fuseOthers(g, op, idx)}, 1);
}

Value moe::decomposeKeepCompose(GraphBuilder &g, KeepComposeOp op) {
  Type i64 = g.b.getI64Type();
  Value outer = op.getOuter(), inner = g.cast(op.getInner(), i64);
  if (extentOf(op.getOuter(), 0) == 1)
    return g.gather(g.squeeze(outer, {0}), inner);
  if (extentOf(op.getInner(), 0) == 1)
    return g.gather(outer, g.squeeze(inner, {0}), 1);
  return g.op("GatherElements", {outer, inner}, g.attr("axis", 1));
}

Value moe::decomposeTokenRestore(GraphBuilder &g, TokenRestoreOp op) {
  Type i64 = g.b.getI64Type();
  Value x = op.getX(), idx = g.cast(op.getIdx(), i64);
  int64_t rows = extentOf(op.getIdx(), 0);
  if (op.getFill() == Fill::Unmerge)
    return takeTokens(g, x, idx, rows, extentOf(x, 0));
  Value base = op.getBase();
  Type element = getElement(base);
  SmallVector<NamedAttribute> attrs{g.attr("axis", 1)};
  if (op.getFill() == Fill::Zero) {
    Value like = g.op("Shape", {base}, {}, i64);
    auto one = RankedTensorType::get({1}, element);
    auto zero = DenseElementsAttr::get(one, g.b.getZeroAttr(element));
    base = g.op("ConstantOfShape", {like}, g.b.getNamedAttr("value", zero),
                element);
  } else if (op.getFill() == Fill::Add) {
    if (g.opset >= 16)
      attrs.push_back(g.attr("reduction", "add"));
    else // No token comes twice, so the sum may be made before.
      x = g.op("Add", {x, takeTokens(g, base, idx, rows, extentOf(base, 0))});
  }
  // One number for each element of a token.
  SmallVector<int64_t> axes =
      llvm::to_vector(llvm::seq<int64_t>(2, rankOf(op.getX())));
  Value at = axes.empty() ? idx : g.unsqueeze(idx, axes);
  at = g.op("Expand", {at, g.op("Shape", {op.getX()}, {}, i64)});
  return g.op("ScatterElements", {base, at, x}, attrs);
}

//===----------------------------------------------------------------------===//
// moe.token_merge
//===----------------------------------------------------------------------===//

namespace {
/// Writes the graph of one merge.
class Merger {
public:
  Merger(GraphBuilder &g, TokenMergeOp op) : g(g), op(op) {}

  /// Finds which tokens are merged into which.
  void match();
  /// The tokens that are left of `values` [B, N, width], those merged into
  /// others added to them.
  Value merge(Value values, GraphExtent width);
  /// Where each token went: [B, N].
  Value assign();

private:
  Value half(Value values, int64_t which) {
    return g.slice(values, 1, which, INT64_MAX, 2);
  }
  Value widen(Value numbers, GraphExtent width) {
    return g.expand(g.unsqueeze(numbers, {2}), {1, 1, width});
  }
  Value gather(Value values, Value numbers) {
    return g.op("GatherElements", {values, numbers}, g.attr("axis", 1));
  }
  Value extent(Value value, int64_t i) {
    Value shape = g.op("Shape", {value}, {}, g.b.getI64Type());
    return g.gather(shape, g.ints({i}));
  }

  GraphBuilder &g;
  TokenMergeOp op;
  /// [B, tokens] of i64, numbers in the halves.
  Value unmerged, sources, targets;
};
} // namespace

void Merger::match() {
  Value metric = op.getMetric();
  Type type = getElement(metric);
  if (type.isBF16())
    metric = g.cast(metric, type = g.b.getF32Type());
  Value odd = half(metric, 1);
  auto turn = g.b.getNamedAttr("perm", g.b.getDenseI64ArrayAttr({0, 2, 1}));
  Value scores =
      g.op("MatMul", {half(metric, 0), g.op("Transpose", {odd}, turn)});
  if (op.getProtect()) {
    // The class token is as far as can be from all.
    Value first = g.slice(scores, 1, 0, 1);
    Value like = g.op("Shape", {first}, {}, g.b.getI64Type());
    double inf = -std::numeric_limits<double>::infinity();
    Value none = g.op("Expand", {g.real(inf, type), like}, {}, type);
    scores = g.concat({none, g.slice(scores, 1, 1, INT64_MAX)}, 1);
  }
  Value best = g.op("ReduceMax", {scores, g.ints({2})}, g.attr("keepdims", 0));
  Value partner =
      g.op("ArgMax", {scores}, {g.attr("axis", 2), g.attr("keepdims", 0)},
           g.b.getI64Type());
  Value order = topK(g, best, extent(best, 1), 1, /*largest=*/true).second;
  unmerged = g.slice(order, 1, op.getR(), INT64_MAX);
  sources = g.slice(order, 1, 0, op.getR());
  targets = gather(partner, sources);
  if (op.getProtect())
    unmerged =
        topK(g, unmerged, extent(unmerged, 1), 1, /*largest=*/false).first;
}

Value Merger::merge(Value values, GraphExtent width) {
  Value even = half(values, 0), odd = half(values, 1);
  Value left = gather(even, widen(unmerged, width));
  if (op.getR() == 0)
    return g.concat({left, odd}, 1);
  Value moved = gather(even, widen(sources, width));
  Value sums;
  if (g.opset >= 16) {
    sums = g.op("ScatterElements", {odd, widen(targets, width), moved},
                {g.attr("axis", 1), g.attr("reduction", "add")});
  } else {
    // No scatter of that opset adds: a product with the matrix of who goes
    // where.
    Value count = g.squeeze(extent(odd, 1), {0});
    Value rows = g.op("Range", {g.integer(0), count, g.integer(1)});
    Value goes =
        g.op("Equal", {g.unsqueeze(rows, {1}), g.unsqueeze(targets, {1})}, {},
             g.b.getI1Type());
    Value added = g.op("MatMul", {g.cast(goes, getElement(odd)), moved});
    sums = g.op("Add", {odd, added});
  }
  return g.concat({left, sums}, 1);
}

Value Merger::assign() {
  Type i64 = g.b.getI64Type();
  Value left = g.squeeze(extent(unmerged, 1), {0});
  Value shape = g.op("Shape", {op.getX()}, {}, i64);
  Value batch = g.gather(shape, g.ints({0}));
  Value tokens = g.squeeze(g.gather(shape, g.ints({1})), {0});
  Value two = g.integer(2);
  Value odds = g.op("Div", {tokens, two});
  Value evens = g.op("Sub", {tokens, odds});
  // Even tokens: their places among those left, or their partner's.
  auto rows = [&](Value numbers, Value like) {
    return g.op("Expand", {numbers, g.op("Shape", {like}, {}, i64)}, {}, i64);
  };
  Value ofEven = g.op(
      "Expand", {g.integer(0), g.concat({batch, g.unsqueeze(evens, {0})}, 0)},
      {}, i64);
  Value places = g.op("Range", {g.integer(0), left, g.integer(1)});
  ofEven = g.op("ScatterElements", {ofEven, unmerged, rows(places, unmerged)},
                g.attr("axis", 1));
  if (op.getR() != 0)
    ofEven =
        g.op("ScatterElements", {ofEven, sources, g.op("Add", {targets, left})},
             g.attr("axis", 1));
  Value ofOdd = g.op("Range", {left, g.op("Add", {left, odds}), g.integer(1)});
  ofOdd = g.expand(g.unsqueeze(ofOdd, {0}), {batch, 1});
  // Token t is t / 2 of its half.
  Value all = g.op("Range", {g.integer(0), tokens, g.integer(1)});
  Value half = g.op("Div", {all, two});
  Value place =
      g.op("Add", {half, g.op("Mul", {g.op("Mod", {all, two}), evens})});
  return g.gather(g.concat({ofEven, ofOdd}, 1), place, 1);
}

SmallVector<Value> moe::decomposeTokenMerge(GraphBuilder &g, TokenMergeOp op) {
  Merger merger(g, op);
  merger.match();
  Value size = merger.merge(op.getSize(), 1);
  Value sums = merger.merge(g.op("Mul", {op.getX(), op.getSize()}),
                            g.extent(op.getX(), 2));
  Value assign = op.getAssign().use_empty()
                     ? Value()
                     : g.cast(merger.assign(), g.b.getI32Type());
  return {g.op("Div", {sums, size}), size, assign};
}
