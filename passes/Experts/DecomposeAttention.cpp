//===- DecomposeAttention.cpp - attention as ONNX operators ---------------===//
//
// The equations of moe.attention in their order, in f32.
//
//===----------------------------------------------------------------------===//
#include "passes/Experts/Decompose.h"
#include "passes/Experts/DecomposeRouting.h"

using namespace mlir;
using namespace moe;
using namespace moe::ir;

static NamedAttribute permutation(GraphBuilder &g, ArrayRef<int64_t> perm) {
  return g.b.getNamedAttr("perm", g.b.getDenseI64ArrayAttr(perm));
}

static Value asScalar(GraphBuilder &g, GraphExtent extent) {
  return extent.isStatic() ? g.integer(extent.size)
                           : g.squeeze(extent.value, {0});
}

/// Keys or values [B, K, L, D] once for each head of the queries.
static Value repeated(GraphBuilder &g, Value rows, Value query) {
  GraphExtent heads = g.extent(query, 1), keyHeads = g.extent(rows, 1);
  if (heads.isStatic() && keyHeads.isStatic() && heads.size == keyHeads.size)
    return rows;
  GraphExtent batch = g.extent(rows, 0), length = g.extent(rows, 2);
  GraphExtent width = g.extent(rows, 3), group(1);
  if (heads.isStatic() && keyHeads.isStatic()) {
    group = heads.size / keyHeads.size;
  } else {
    auto number = [&](GraphExtent e) {
      return e.isStatic() ? g.ints({e.size}) : e.value;
    };
    group = g.op("Div", {number(heads), number(keyHeads)});
  }
  rows =
      g.expand(g.unsqueeze(rows, {2}), {batch, keyHeads, group, length, width});
  return g.reshape(rows, {batch, heads, length, width});
}

/// i1, of a shape that broadcasts to the scores; null if all is visible.
static Value visibleOf(GraphBuilder &g, AttentionOp op) {
  Type i1 = g.b.getI1Type();
  Value visible = op.getMask();
  auto require = [&](Value flags) {
    visible = visible ? g.op("And", {visible, flags}, {}, i1) : flags;
  };
  if (op.getCausal() == Causal::None && !op.getWindow())
    return visible;
  Value rows = asScalar(g, g.extent(op.getQuery(), 2));
  Value columns = asScalar(g, g.extent(op.getKey(), 2));
  auto numbers = [&](Value end) {
    return g.op("Range", {g.integer(0), end, g.integer(1)}, {},
                g.b.getI64Type());
  };
  Value last = g.unsqueeze(numbers(rows), {1});
  if (op.getCausal() == Causal::End)
    last = g.op("Add", {last, g.op("Sub", {columns, rows})});
  Value column = numbers(columns);
  if (op.getCausal() != Causal::None)
    require(g.op("LessOrEqual", {column, last}, {}, i1));
  if (auto window = op.getWindow()) {
    Value first = g.op("Sub", {last, g.integer(static_cast<int64_t>(*window))});
    require(g.op("Greater", {column, first}, {}, i1));
  }
  return visible;
}

SmallVector<Value> moe::decomposeAttention(GraphBuilder &g, AttentionOp op) {
  Type f32 = g.b.getF32Type(), element = getElement(op.getOut());
  Value query = g.cast(op.getQuery(), f32);
  double scale = op.getScale().convertToDouble();
  if (scale != 1)
    query = g.op("Mul", {query, g.real(scale, f32)});
  Value key = repeated(g, g.cast(op.getKey(), f32), query);
  Value scores =
      g.op("MatMul",
           {query, g.op("Transpose", {key}, permutation(g, {0, 1, 3, 2}))});
  if (double cap = op.getSoftcap().convertToDouble()) {
    Value limit = g.real(cap, f32);
    scores = g.op("Tanh", {g.op("Div", {scores, limit})});
    scores = g.op("Mul", {scores, limit});
  }
  if (op.getBias())
    scores = g.op("Add", {scores, g.cast(op.getBias(), f32)});
  if (Value visible = visibleOf(g, op))
    scores = g.op(
        "Where",
        {visible, scores, g.real(op.getMaskedScore().convertToDouble(), f32)},
        {}, f32);
  Value probs = g.op("Softmax", {scores}, g.attr("axis", -1));
  if (op.getZeroNan()) {
    Value isNaN = g.op("IsNaN", {probs}, {}, g.b.getI1Type());
    probs = g.op("Where", {isNaN, g.real(0, f32), probs}, {}, f32);
  }
  Value value = repeated(g, g.cast(op.getValue(), f32), query);
  SmallVector<Value> results{g.cast(g.op("MatMul", {probs, value}), element)};
  if (op.getProbs()) {
    int64_t first = op.getProbsFirst(), end = first + *op.getProbsCount();
    if (first < 0 && end == 0)
      end = INT64_MAX;
    results.push_back(g.cast(g.slice(probs, 2, first, end), element));
  }
  return results;
}
