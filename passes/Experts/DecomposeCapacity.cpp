//===- DecomposeCapacity.cpp - experts with a capacity as ONNX operators --===//
//
// The place of a slot in the queue of its expert is a running sum of one-hot
// rows. Tokens get in line by TopK, which puts the lower index first where
// scores are equal, and back by another TopK of their numbers.
//
//===----------------------------------------------------------------------===//
#include "passes/Experts/Decompose.h"
#include "passes/Experts/DecomposeRouting.h"

using namespace mlir;
using namespace moe;
using namespace moe::ir;

static Value asScalar(GraphBuilder &g, GraphExtent extent) {
  return extent.isStatic() ? g.integer(extent.size)
                           : g.squeeze(extent.value, {0});
}

/// Indices of all elements of a vector, sorted.
static Value sorted(GraphBuilder &g, Value values, bool largest) {
  Value count = g.op("Shape", {values}, {}, g.b.getI64Type());
  return g
      .create("TopK", {values, count}, {getElement(values), g.b.getI64Type()},
              {g.attr("axis", 0), g.attr("largest", largest)})
      ->getResult(1);
}

/// The places of an expert, a scalar of i64. More than there are slots are as
/// good as that many.
static Value placesOf(GraphBuilder &g, CapacityOp op, Value tokens,
                      Value slots) {
  double value = op.getValue().convertToDouble();
  if (op.getMode() == CapacityMode::Absolute)
    return g.integer(static_cast<int64_t>(value));
  Type f64 = g.b.getF64Type(), i64 = g.b.getI64Type();
  bool isFactor = op.getMode() == CapacityMode::Factor;
  Value share = tokens;
  if (isFactor) {
    share = g.op("Add", {tokens, g.integer(op.getNumExperts() - 1)});
    share = g.op("Div", {share, g.integer(op.getNumExperts())});
  }
  Value product = g.op("Mul", {g.real(value, f64), g.cast(share, f64)});
  Value most = g.cast(g.op("Mul", {tokens, slots}), f64);
  product = g.op("Min", {product, most});
  if (isFactor)
    return g.op("Mul", {g.cast(g.op("Floor", {product}), i64), slots});
  return g.cast(g.op("Ceil", {product}), i64);
}

SmallVector<Value> moe::decomposeCapacity(GraphBuilder &g, CapacityOp op) {
  Type i64 = g.b.getI64Type(), i1 = g.b.getI1Type();
  GraphExtent tokens = g.extent(op.getIds(), 0);
  GraphExtent slots = g.extent(op.getIds(), 1);
  Value places = placesOf(g, op, asScalar(g, tokens), asScalar(g, slots));

  // Ids are looked up in a table of the legal ones, so that others end the run;
  // it would count negative numbers from the end.
  int64_t experts = op.getNumExperts();
  Value number = g.op("Add", {g.cast(op.getIds(), i64), g.integer(1)});
  Value below = g.op("Less", {number, g.integer(0)}, {}, i1);
  number = g.op("Where", {below, g.integer(experts + 1), number}, {}, i64);
  Value legal = g.ints(llvm::to_vector(llvm::seq<int64_t>(-1, experts)));
  Value ids = g.gather(legal, number);

  Value back;
  if (op.getPriority() == Priority::Prob) {
    Value scores = op.getScores();
    if (!scores)
      scores = g.gather(op.getWeights(), g.integer(0), 1);
    Value order = sorted(g, scores, /*largest=*/true);
    back = sorted(g, order, /*largest=*/false);
    ids = g.gather(ids, order);
  }
  bool byChoice = op.getOrder() == QueueOrder::Choice;
  auto transpose = [&](Value matrix) {
    return g.op("Transpose", {matrix},
                g.b.getNamedAttr("perm", g.b.getDenseI64ArrayAttr({1, 0})));
  };
  Value queue = g.reshape(byChoice ? transpose(ids) : ids, {-1, 1});
  Value numbers = g.ints(llvm::to_vector(llvm::seq<int64_t>(0, experts)));
  Value picks = g.cast(g.op("Equal", {queue, numbers}, {}, i1), i64);
  // 1 is the first place; slots without an expert have 0.
  Value seen = g.op("CumSum", {picks, g.integer(0)});
  Value place = g.sum(g.op("Mul", {picks, seen}), 1);
  Value kept = g.op("And", {g.op("Greater", {place, g.integer(0)}, {}, i1),
                            g.op("LessOrEqual", {place, places}, {}, i1)});
  kept = byChoice ? transpose(g.reshape(kept, {slots, tokens}))
                  : g.reshape(kept, {tokens, slots});
  if (back)
    kept = g.gather(kept, back);
  Type i32 = g.b.getI32Type(), element = getElement(op.getWeights());
  return {
      g.op("Where", {kept, op.getIds(), g.integer(-1, i32)}, {}, i32),
      g.op("Where", {kept, op.getWeights(), g.real(0, element)}, {}, element)};
}
