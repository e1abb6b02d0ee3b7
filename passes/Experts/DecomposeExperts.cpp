//===- DecomposeExperts.cpp - moe.experts as ONNX operators ---------------===//
//
// Three graphs that compute the same. They differ in how the rows of an expert
// come together:
//
//   gather   every slot gathers the matrices of its expert; the graph does not
//            grow with the number of experts
//   loop     for each expert the slots that picked it are searched
//   grouped  slots are sorted by expert once and cut into one part per expert
//
// All are right for any input: no tokens, experts that nobody picks, slots that
// are left out. The results of slots are weighted, put back into the order of
// slots and added in that order, so none depends on the order of experts.
//
// An id that is out of range ends the run because it is looked up in a table
// that holds an entry for each legal id.
//
//===----------------------------------------------------------------------===//
#include "passes/Experts/Decompose.h"

using namespace mlir;
using namespace moe;
using namespace moe::ir;

namespace {

class ExpertsGraph {
public:
  ExpertsGraph(GraphBuilder &g, ExpertsOp op, ExpertsForm form)
      : g(g), op(op), form(form), experts(op.getNumExperts()),
        compute(getComputeType(op.getX())) {}

  Value build();

private:
  //===-- One expert, or that of each row ---------------------------------===//
  Value project(Value rows, Value bank, Value bias, Value which);
  Value runExpert(Value rows, Value which);

  //===-- Slots -----------------------------------------------------------===//
  void readSlots();
  Value rowOf(Value slots);
  Value weigh(Value rows, Value slots);
  Value countKeys(int64_t count, Value numSlots);
  Value buildGather();
  Value buildGroups();
  Value sumSlots(Value results);
  GraphExtent outputWidth() {
    return g.extent(op.getDown(), op.getLayout() == BankLayout::OI ? 1 : 2);
  }

  GraphBuilder &g;
  ExpertsOp op;
  ExpertsForm form;
  int64_t experts;
  Type compute;

  /// Tokens in the type that experts compute in, scaled.
  Value tokens;
  GraphExtent slotsPerToken = 0;
  /// Per slot [T*k]: the weight, and a number from 0 to the number of experts,
  /// which is that of slots that are left out.
  Value weights, keys;
  /// Whether there may be slots that are left out.
  bool anyLeftOut = true;
};

} // namespace

//===----------------------------------------------------------------------===//
// Experts
//===----------------------------------------------------------------------===//

/// rows . matrix (+ bias). `which` is a scalar, the expert of all rows, or a
/// vector, the expert of each row.
Value ExpertsGraph::project(Value rows, Value bank, Value bias, Value which) {
  bool isOI = op.getLayout() == BankLayout::OI;
  Value matrix = g.cast(g.gather(bank, which), compute);
  if (bias)
    bias = g.cast(g.gather(bias, which), compute);
  if (form != ExpertsForm::Gather || !op.getIds()) {
    SmallVector<NamedAttribute> attributes;
    if (isOI)
      attributes.push_back(g.attr("transB", 1));
    return g.op("Gemm", {rows, matrix, bias}, attributes);
  }
  Value product;
  if (isOI)
    product = g.squeeze(g.op("MatMul", {matrix, g.unsqueeze(rows, {2})}), {2});
  else
    product = g.squeeze(g.op("MatMul", {g.unsqueeze(rows, {1}), matrix}), {1});
  return bias ? g.op("Add", {product, bias}) : product;
}

Value ExpertsGraph::runExpert(Value rows, Value which) {
  Value gate = project(rows, op.getGate(), op.getGateBias(), which), up;
  switch (op.getGateUp()) {
  case GateUp::None:
    break;
  case GateUp::Separate:
    up = project(rows, op.getUp(), op.getUpBias(), which);
    break;
  case GateUp::Concat: {
    int64_t inner = op.getInnerWidth();
    if (inner >= 0) {
      auto parts = g.split(gate, 1, {inner, inner});
      gate = parts[0], up = parts[1];
      break;
    }
    Value width =
        g.gather(g.op("Shape", {gate}, {}, g.b.getI64Type()), g.ints({1}));
    Value half = g.op("Div", {width, g.ints({2})});
    Value parts = g.concat({half, half}, 0);
    auto both = g.split(gate, 1, parts, 2);
    gate = both[0], up = both[1];
    break;
  }
  case GateUp::Interleave: {
    constexpr int64_t end = std::numeric_limits<int64_t>::max();
    up = g.slice(gate, 1, 1, end, 2);
    gate = g.slice(gate, 1, 0, end, 2);
    break;
  }
  }
  // The activation is given on f32.
  SmallVector<Value> arguments = {g.cast(gate, g.b.getF32Type())};
  if (up)
    arguments.push_back(g.cast(up, g.b.getF32Type()));
  Value inner = g.cast(g.inlineScalars(op.getActivation(), arguments), compute);
  return project(inner, op.getDown(), op.getDownBias(), which);
}

//===----------------------------------------------------------------------===//
// Slots
//===----------------------------------------------------------------------===//

void ExpertsGraph::readSlots() {
  weights = g.reshape(g.cast(op.getWeights(), compute), {-1});
  Value ids = g.reshape(g.cast(op.getIds(), g.b.getI64Type()), {-1});
  anyLeftOut = !picksEverySlot(op.getIds(), experts);
  if (!anyLeftOut) {
    keys = ids;
    return;
  }
  // Entry 0 is that of id -1; ids below would count from the end.
  int64_t logical = op.getNumLogical();
  SmallVector<int64_t> table(1, experts);
  for (int64_t id = 0; id < logical; ++id)
    table.push_back(std::min(id, experts));
  Value place = g.op("Add", {ids, g.integer(1)});
  Value below = g.op("Less", {place, g.integer(0)}, {}, g.b.getI1Type());
  place = g.op("Where", {below, g.integer(logical + 1), place}, {},
               g.b.getI64Type());
  keys = g.gather(g.ints(table), place);
}

/// The tokens of slots, which are numbered token by token.
Value ExpertsGraph::rowOf(Value slots) {
  if (slotsPerToken.isStatic() && slotsPerToken.size == 1)
    return slots;
  // Without slots there is no division, but runtimes look at the divisor.
  Value count = slotsPerToken.isStatic()
                    ? g.integer(slotsPerToken.size)
                    : g.op("Max", {slotsPerToken.value, g.ints({1})});
  return g.op("Div", {slots, count});
}

/// Multiplies rows by the weights of their slots (of all slots without
/// `slots`).
Value ExpertsGraph::weigh(Value rows, Value slots) {
  Value factors = slots ? g.gather(weights, slots) : weights;
  return g.op("Mul", {rows, g.unsqueeze(factors, {1})});
}

/// [T*k, H'] -> [T, H'], in the order of slots.
Value ExpertsGraph::sumSlots(Value results) {
  if (slotsPerToken.isStatic() && slotsPerToken.size == 1)
    return results;
  if (!slotsPerToken.isStatic())
    return g.sum(g.reshape(results, {g.extent(op.getX(), 0), slotsPerToken,
                                     outputWidth()}),
                 1);
  Value all = g.reshape(results, {-1, slotsPerToken, outputWidth()});
  SmallVector<Value> slots =
      g.split(all, 1, SmallVector<int64_t>(slotsPerToken.size, 1));
  Value sum = slots[0];
  for (Value slot : ArrayRef(slots).drop_front())
    sum = g.op("Add", {sum, slot});
  return g.squeeze(sum, {1});
}

Value ExpertsGraph::buildGather() {
  // [T, H] -> [T, k, H] -> [T*k, H]
  GraphExtent width = g.extent(op.getX(), 1);
  Value rows = tokens;
  if (!slotsPerToken.isStatic() || slotsPerToken.size != 1)
    rows =
        g.reshape(g.expand(g.unsqueeze(tokens, {1}), {1, slotsPerToken, width}),
                  {-1, width});
  Value which = keys, leftOut;
  if (anyLeftOut) {
    leftOut = g.op("Equal", {keys, g.integer(experts)}, {}, g.b.getI1Type());
    which = g.op("Where", {leftOut, g.integer(0), keys}, {}, g.b.getI64Type());
    leftOut = g.unsqueeze(leftOut, {1});
  }
  bool atInput = op.getScaleAt() == ScaleAt::Input;
  Value results = runExpert(atInput ? weigh(rows, {}) : rows, which);
  if (!atInput)
    results = weigh(results, {});
  if (anyLeftOut)
    results =
        g.op("Where", {leftOut, g.real(0.0, compute), results}, {}, compute);
  return sumSlots(results);
}

/// How many slots have each of the keys from 0 to `count` - 1.
Value ExpertsGraph::countKeys(int64_t count, Value numSlots) {
  Type i64 = g.b.getI64Type();
  if (g.opset >= 16)
    return g.op(
        "ScatterElements",
        {g.zeros({count}, i64), keys, g.expand(g.ints({1}), {numSlots})},
        {g.attr("axis", 0), g.attr("reduction", "add")});
  // No scatter of that opset adds.
  Value all = g.ints(llvm::to_vector(llvm::seq<int64_t>(0, count)));
  Value equal =
      g.op("Equal", {g.unsqueeze(keys, {1}), all}, {}, g.b.getI1Type());
  return g.sum(g.cast(equal, i64), 0);
}

Value ExpertsGraph::buildGroups() {
  Type i64 = g.b.getI64Type(), i1 = g.b.getI1Type();
  Value numSlots = g.op("Shape", {keys}, {}, i64);
  // Per expert: the slots that picked it, in ascending order, and what the
  // expert gives for them.
  SmallVector<Value> picked, results;
  if (form == ExpertsForm::Loop) {
    for (int64_t e = 0; e < experts; ++e) {
      Value mine = g.op("Equal", {keys, g.integer(e)}, {}, i1);
      picked.push_back(g.reshape(g.op("NonZero", {mine}, {}, i64), {-1}));
    }
  } else {
    // Equal keys keep the order of slots.
    Value sorted = g.create("TopK", {keys, numSlots}, {i64, i64},
                            {g.attr("axis", 0), g.attr("largest", 0)})
                       ->getResult(1);
    int64_t groups = experts + (anyLeftOut ? 1 : 0);
    Value sizes = countKeys(groups, numSlots);
    picked = g.split(sorted, 0, sizes, groups);
    picked.resize(experts);
  }
  bool atInput = op.getScaleAt() == ScaleAt::Input;
  for (auto [e, mine] : llvm::enumerate(picked)) {
    Value rows = g.gather(tokens, rowOf(mine));
    results.push_back(
        runExpert(atInput ? weigh(rows, mine) : rows, g.integer(e)));
  }
  Value slots = g.concat(picked, 0), all = g.concat(results, 0);
  if (!atInput)
    all = weigh(all, slots);
  // Slots that are left out keep 0.
  Value places = g.zeros({numSlots, outputWidth()}, compute);
  return sumSlots(g.op("ScatterND", {places, g.unsqueeze(slots, {1}), all}));
}

Value ExpertsGraph::build() {
  tokens = g.cast(op.getX(), compute);
  double scale = op.getInScale().convertToDouble();
  if (scale != 1.0)
    tokens = g.op("Mul", {tokens, g.real(scale, compute)});
  if (!op.getIds())
    return runExpert(tokens, g.integer(0));
  slotsPerToken = g.extent(op.getIds(), 1);
  if (experts == 0 || (slotsPerToken.isStatic() && slotsPerToken.size == 0))
    return g.zeros({g.extent(op.getX(), 0), outputWidth()}, compute);
  readSlots();
  return form == ExpertsForm::Gather ? buildGather() : buildGroups();
}

LogicalResult moe::decomposeExperts(GraphBuilder &g, ExpertsOp op,
                                    ExpertsForm form, Value &result) {
  if (op.getIds() && op.getNumExperts() < 0)
    return op.emitOpError("cannot be decomposed for a bank whose number of "
                          "experts only the run knows; a static one is "
                          "accepted");
  result = ExpertsGraph(g, op, form).build();
  return success();
}
