//===- DecomposeTrivialExperts.cpp - moe.trivial_experts as ONNX ----------===//
//
// Elementwise work on tokens: no slot gets a row of its own. The weights of
// the slots that picked a copy are one factor per token; each constant expert
// has one factor per token for the token and one for its row.
//
//===----------------------------------------------------------------------===//
#include "passes/Experts/Decompose.h"

using namespace mlir;
using namespace moe;
using namespace moe::ir;

/// [T, k] of bool: slots whose id is in `ids` (ascending). Runs of neighbours
/// are compared as ranges.
static Value isOneOf(GraphBuilder &g, Value slots, ArrayRef<int64_t> ids) {
  Type i1 = g.b.getI1Type();
  Value any;
  for (size_t begin = 0; begin < ids.size();) {
    size_t end = begin + 1;
    while (end < ids.size() && ids[end] == ids[end - 1] + 1)
      ++end;
    Value in;
    if (end == begin + 1) {
      in = g.op("Equal", {slots, g.integer(ids[begin])}, {}, i1);
    } else {
      Value below = g.op("Less", {slots, g.integer(ids[begin])}, {}, i1);
      Value inside = g.op("Less", {slots, g.integer(ids[end - 1] + 1)}, {}, i1);
      in = g.op("And", {inside, g.op("Not", {below})});
    }
    any = any ? g.op("Or", {any, in}) : in;
    begin = end;
  }
  return any;
}

Value moe::decomposeTrivialExperts(GraphBuilder &g, TrivialExpertsOp op) {
  SmallVector<int64_t> copies, constants, all;
  for (auto [i, kind] : llvm::enumerate(op.getKinds())) {
    int64_t id = static_cast<int64_t>(op.getFirst()) + i;
    TrivialKind value = cast<TrivialKindAttr>(kind).getValue();
    if (value == TrivialKind::Zero)
      continue;
    (value == TrivialKind::Copy ? copies : constants).push_back(id);
    all.push_back(id);
  }
  Type result = getElement(op.getX()), compute = getComputeType(op.getX());
  Type i1 = g.b.getI1Type();
  if (all.empty())
    return g.zeros({g.op("Shape", {op.getX()}, {}, g.b.getI64Type())}, result);

  Value x = g.cast(op.getX(), compute);
  if (double scale = op.getInScale().convertToDouble(); scale != 1.0)
    x = g.op("Mul", {x, g.real(scale, compute)});
  Value ids = g.cast(op.getIds(), g.b.getI64Type());
  Value weights = g.cast(op.getWeights(), compute);
  Value zero = g.real(0.0, compute);
  auto keep = [&](Value condition, Value value) {
    return g.op("Where", {condition, value, zero}, {}, compute);
  };

  Value factor, y; // [T, 1], [T, H]
  if (!copies.empty())
    factor = g.op("ReduceSum",
                  {keep(isOneOf(g, ids, copies), weights), g.ints({1})});
  if (!constants.empty()) {
    int64_t n = constants.size();
    // Per slot and constant expert, then per token.
    Value picked =
        g.op("Equal", {g.unsqueeze(ids, {2}), g.ints(constants)}, {}, i1);
    Value share = g.sum(keep(picked, g.unsqueeze(weights, {2})), 1);
    Value used =
        g.op("Greater", {g.sum(g.cast(picked, compute), 1), zero}, {}, i1);
    Value mixers = g.reshape(g.cast(op.getMixers(), compute),
                             {2 * n, g.extent(op.getMixers(), 2)});
    Value logits = g.op("Gemm", {x, mixers, Value()}, g.attr("transB", 1));
    Value shares =
        g.op("Softmax", {g.reshape(logits, {-1, n, 2})}, g.attr("axis", -1));
    shares = keep(g.unsqueeze(used, {2}),
                  g.op("Mul", {shares, g.unsqueeze(share, {2})}));
    SmallVector<Value> parts = g.split(shares, 2, {1, 1});
    Value ofToken = g.op("ReduceSum", {g.squeeze(parts[0], {2}), g.ints({1})});
    factor = factor ? g.op("Add", {factor, ofToken}) : ofToken;
    y = g.op("MatMul",
             {g.squeeze(parts[1], {2}), g.cast(op.getConstants(), compute)});
  }
  Value scaled = g.op("Mul", {x, factor});
  y = y ? g.op("Add", {scaled, y}) : scaled;
  // 0 times infinity is no 0: tokens without such an expert get theirs here.
  Value count =
      g.op("ReduceSum", {g.cast(isOneOf(g, ids, all), compute), g.ints({1})});
  y = keep(g.op("Greater", {count, zero}, {}, i1), y);
  return g.cast(y, result);
}
