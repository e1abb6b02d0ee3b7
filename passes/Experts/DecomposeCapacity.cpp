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

/// Indices of all elements along the last axis, sorted.
static Value sorted(GraphBuilder &g, Value values, GraphExtent count,
                    bool largest) {
  Value all = count.isStatic() ? g.ints({count.size}) : count.value;
  return g
      .create("TopK", {values, all}, {getElement(values), g.b.getI64Type()},
              {g.attr("axis", -1), g.attr("largest", largest)})
      ->getResult(1);
}

namespace {
/// Axes of slots: [tokens, slots], or [sequences, tokens, slots].
struct QueueAxes {
  GraphBuilder &g;
  CapacityOp op;
  SmallVector<GraphExtent> extents;

  QueueAxes(GraphBuilder &g, CapacityOp op) : g(g), op(op) {
    for (int64_t i = 0; i < op.getIds().getType().getRank(); ++i)
      extents.push_back(g.extent(op.getIds(), i));
  }
  GraphExtent getTokens() const { return extents[extents.size() - 2]; }
  GraphExtent getSlots() const { return extents.back(); }
  bool byChoice() { return op.getOrder() == QueueOrder::Choice; }

  /// Tokens and slots swapped.
  Value transpose(Value slots);
  /// The tokens of slots in another order.
  Value permute(Value slots, Value order);
  /// Slots in the order of their queues, [(sequences,) queue, 1], and back.
  Value toQueue(Value slots);
  Value fromQueue(Value queue);
};
} // namespace

Value QueueAxes::transpose(Value slots) {
  SmallVector<int64_t> order = {1, 0};
  if (op.hasSequences())
    order = {0, 2, 1};
  return g.op("Transpose", {slots},
              g.b.getNamedAttr("perm", g.b.getDenseI64ArrayAttr(order)));
}

Value QueueAxes::permute(Value slots, Value order) {
  if (!op.hasSequences())
    return g.gather(slots, order);
  Value index = g.expand(g.unsqueeze(order, {2}), extents);
  return g.op("GatherElements", {slots, index}, {g.attr("axis", 1)});
}

Value QueueAxes::toQueue(Value slots) {
  if (byChoice())
    slots = transpose(slots);
  if (!op.hasSequences())
    return g.reshape(slots, {-1, 1});
  // The length is a product: -1 cannot stand for it where there are no
  // sequences.
  Value length =
      g.op("Mul", {asScalar(g, getTokens()), asScalar(g, getSlots())});
  return g.reshape(slots, {extents[0], g.unsqueeze(length, {0}), 1});
}

Value QueueAxes::fromQueue(Value queue) {
  SmallVector<GraphExtent> shape(extents);
  if (byChoice())
    std::swap(shape[shape.size() - 1], shape[shape.size() - 2]);
  Value slots = g.reshape(queue, shape);
  return byChoice() ? transpose(slots) : slots;
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
  QueueAxes axes(g, op);
  Value places = placesOf(g, op, asScalar(g, axes.getTokens()),
                          asScalar(g, axes.getSlots()));

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
      scores =
          g.gather(op.getWeights(), g.integer(0), op.hasSequences() ? 2 : 1);
    Value order = sorted(g, scores, axes.getTokens(), /*largest=*/true);
    back = sorted(g, order, axes.getTokens(), /*largest=*/false);
    ids = axes.permute(ids, order);
  }
  Value queue = axes.toQueue(ids);
  Value numbers = g.ints(llvm::to_vector(llvm::seq<int64_t>(0, experts)));
  Value picks = g.cast(g.op("Equal", {queue, numbers}, {}, i1), i64);
  // 1 is the first place; slots without an expert have 0.
  int64_t along = op.hasSequences();
  Value seen = g.op("CumSum", {picks, g.integer(along)});
  Value place = g.sum(g.op("Mul", {picks, seen}), along + 1);
  Value kept = g.op("And", {g.op("Greater", {place, g.integer(0)}, {}, i1),
                            g.op("LessOrEqual", {place, places}, {}, i1)});
  kept = axes.fromQueue(kept);
  if (back)
    kept = axes.permute(kept, back);
  Type i32 = g.b.getI32Type(), element = getElement(op.getWeights());
  return {
      g.op("Where", {kept, op.getIds(), g.integer(-1, i32)}, {}, i32),
      g.op("Where", {kept, op.getWeights(), g.real(0, element)}, {}, element)};
}
