//===- Schedule.cpp - plans, rows and experts on rows ---------------------===//
//
// Slots are sorted by expert by counting, so each expert reads its rows one
// behind the other; `moe.grouped_linear` multiplies them, and each token
// collects its results in the order of its slots. Rows stay in buffers with
// padding from one op to the next. What a plan says is not checked again: the
// ops of a layer have to name one and the same.
//
//===----------------------------------------------------------------------===//

#include "dialects/MoE/MoEDialect.h"
#include "dialects/Rt/RtDialect.h"
#include "mlir/IR/IRMapping.h"
#include "passes/Lower/MoEToLinalg/Experts.h"
#include "passes/Lower/MoEToLinalg/MoEToLinalg.h"
#include "passes/Lower/MoEToLinalg/Rows.h"

using namespace mlir;
using namespace moe;
using namespace moe::lower;

static int64_t extentOf(Value value, int64_t i) {
  return cast<RankedTensorType>(value.getType()).getDimSize(i);
}

//===----------------------------------------------------------------------===//
// moe.plan
//===----------------------------------------------------------------------===//

/// Sorts the slots of all tokens by expert, stable, by counting. Slots without
/// a row are those of one expert more.
static LogicalResult lowerPlan(FunctionLowering &l, Operation *op) {
  auto plan = cast<ir::PlanOp>(op);
  OpBuilder &b = l.b;
  Location loc = l.loc();
  Type index = b.getIndexType();
  int64_t experts = plan.getExperts(), legal = plan.getNumLogical();
  checkExpertIds(l, plan.getIds(), l.index(legal),
                 "an id is out of range; [-1, " + Twine(legal) +
                     ") is accepted");

  Extents dims = l.dims(plan.getIds());
  Value ids = l.readable(l.tensor(plan.getIds()));
  Row offsets{l, l.allocate({l.index(experts + 1)}, index), {}};
  // The number of rows of each expert, then the row of its next slot.
  Row cursors{l, l.allocate({l.index(experts + 1)}, index), {}};
  Row tokens{l, l.allocate({l.mul(dims[0], dims[1])}, index), {}};
  Value positions = l.allocate(dims, index);

  Value zero = l.value(l.index(0)), one = l.value(l.index(1));
  Value limit = l.value(l.index(experts)), none = l.value(l.index(-1));
  auto expertOf = [&](ValueRange slot) -> std::pair<Value, Value> {
    Value id = arith::IndexCastOp::create(b, loc, index,
                                          Row{l, ids, {slot[0]}}.load(slot[1]));
    Value inside = l.compare(arith::CmpIPredicate::ult, id, limit);
    return {arith::SelectOp::create(b, loc, inside, id, limit), inside};
  };
  auto count = [&](Value expert) {
    Value old = cursors.load(expert);
    cursors.store(expert, arith::AddIOp::create(b, loc, old, one));
    return old;
  };

  forElements(l, l.index(experts + 1),
              [&](Value e) { cursors.store(e, zero); });
  l.forEach(dims, [&](ValueRange slot) { count(expertOf(slot).first); });
  forRange(l, l.index(0), l.index(experts + 1), l.index(1), zero,
           [&](Value e, ValueRange carried) -> SmallVector<Value> {
             Value number = cursors.load(e);
             offsets.store(e, carried[0]);
             cursors.store(e, carried[0]);
             return {arith::AddIOp::create(b, loc, carried[0], number)};
           });
  l.forEach(dims, [&](ValueRange slot) {
    auto [expert, inside] = expertOf(slot);
    Value row = count(expert);
    tokens.store(row, slot[0]);
    Row{l, positions, {slot[0]}}.store(
        slot[1], arith::SelectOp::create(b, loc, inside, row, none));
  });
  l.set(plan.getOffsets(), l.finished(offsets.buffer));
  l.set(plan.getTokens(), l.finished(tokens.buffer));
  l.set(plan.getPositions(), l.finished(positions));
  return success();
}

//===----------------------------------------------------------------------===//
// Rows
//===----------------------------------------------------------------------===//

/// Whether nobody needs the tensor of rows that are in a buffer.
static bool isReadAsRows(Value rows) {
  return llvm::all_of(rows.getUses(), [](OpOperand &use) {
    Operation *user = use.getOwner();
    return isa<ir::GroupedFfnOp, ir::CombineOp>(user) &&
           use.getOperandNumber() == 0;
  });
}

/// Binds a result to a buffer of `count` padded rows of f32.
static void setRows(FunctionLowering &l, Value result, Value buffer,
                    OpFoldResult count, int64_t width) {
  Type element = FunctionLowering::convertElement(elementOf(result));
  bool isF32 = element.isF32();
  if (isF32)
    l.setRows(result, buffer);
  if (!isF32 || !isReadAsRows(result))
    l.set(result, unpadded(l, buffer, count, width, element));
}

/// The buffer of padded rows of f32 of a value.
static Value rowsOf(FunctionLowering &l, Value value, OpFoldResult count,
                    int64_t width) {
  if (Value buffer = l.rows(value))
    return buffer;
  return gatherRows(l, {l.value(count), {}, {}}, l.tensor(value), count, width,
                    /*scale=*/1);
}

static Value weightsOf(FunctionLowering &l, Value weights) {
  return l.readable(l.castTo(l.tensor(weights), l.b.getF32Type()));
}

/// Slots of the tokens of a plan.
static OpFoldResult countSlots(FunctionLowering &l, ir::PlanOp plan) {
  return l.mul(l.dim(plan.getIds(), 0), l.dim(plan.getIds(), 1));
}

/// Weights must be those of the slots of a plan.
static void checkWeights(FunctionLowering &l, Value weights, ir::PlanOp plan) {
  l.checkEqual(l.dim(weights, 0), l.dim(plan.getIds(), 0),
               "ids and weights differ in their tokens");
  l.checkEqual(l.dim(weights, 1), l.dim(plan.getIds(), 1),
               "ids and weights differ in their slots");
}

//===----------------------------------------------------------------------===//
// moe.dispatch
//===----------------------------------------------------------------------===//

static LogicalResult lowerDispatch(FunctionLowering &l, Operation *op) {
  auto dispatch = cast<ir::DispatchOp>(op);
  Value x = dispatch.getX(), rows = dispatch.getRows();
  int64_t width = extentOf(rows, 1);
  if (ShapedType::isDynamic(width))
    return unsupported(op, "rows of unknown width");
  l.checkEqual(l.dim(x, 1), l.index(width),
               "x and the experts differ in their width");
  double scale = dispatch.getInScale().convertToDouble();
  OpFoldResult count = l.dim(x, 0);
  RowSource source;
  if (!dispatch.getTokens()) {
    source.count = l.value(count);
  } else {
    auto plan = dispatch.getTokens().getDefiningOp<ir::PlanOp>();
    if (!plan || dispatch.getTokens() != plan.getTokens() ||
        dispatch.getOffsets() != plan.getOffsets() ||
        dispatch.getPositions() != plan.getPositions())
      return unsupported(op, "offsets, tokens and positions that are not those "
                             "of one moe.plan");
    l.checkEqual(count, l.dim(plan.getIds(), 0),
                 "x and ids differ in their tokens");
    count = countSlots(l, plan);
    source.tokens = l.readable(l.tensor(plan.getTokens()));
    source.count = Row{l, l.readable(l.tensor(plan.getOffsets())), {}}.load(
        l.value(l.index(plan.getExperts())));
    if (Value weights = dispatch.getWeights()) {
      checkWeights(l, weights, plan);
      Value from = weightsOf(l, weights);
      Value positions = l.readable(l.tensor(plan.getPositions()));
      source.weights = l.allocate({count}, l.b.getF32Type());
      l.forEach(l.dims(plan.getIds()), [&](ValueRange slot) {
        Value row = Row{l, positions, {slot[0]}}.load(slot[1]);
        Value there = l.compare(arith::CmpIPredicate::sge, row, l.index(0));
        ifThen(l, there, [&] {
          Value weight = Row{l, from, {slot[0]}}.load(slot[1]);
          Row{l, source.weights, {}}.store(row, weight);
        });
      });
    }
  }
  Value buffer = gatherRows(l, source, l.tensor(x), count, width, scale);
  setRows(l, rows, buffer, count, width);
  return success();
}

//===----------------------------------------------------------------------===//
// moe.grouped_ffn
//===----------------------------------------------------------------------===//

/// Puts a bank and its bias into `out`.
static void addBank(FunctionLowering &l, StoredBanks &out, OperandRange parts,
                    ir::CodesAttr codes, Value bias) {
  out.banks.push_back(stored(l, parts[0]));
  if (codes) {
    out.bits = codes.getBits();
    if (codes.getBlock())
      out.block = codes.getBlock();
    int64_t blocks = codes.getBlock() ? extentOf(parts[1], 2) : 1;
    out.scales.push_back(
        viewAs(l, stored(l, parts[1]),
               {extentOf(parts[0], 0), extentOf(parts[0], 1), blocks}));
    if (parts.size() == 3)
      out.zeros.push_back(stored(l, parts[2]));
  }
  if (bias)
    out.biases.push_back(stored(l, bias));
}

static LogicalResult lowerGroupedFfn(FunctionLowering &l, Operation *op) {
  auto ffn = cast<ir::GroupedFfnOp>(op);
  Value input = ffn.getRows();
  Value gateBias = ffn.getGateBias(), upBias = ffn.getUpBias();
  for (Value v : op->getOperands())
    if (v != input && v != ffn.getOffsets() &&
        !cast<RankedTensorType>(v.getType()).hasStaticShape())
      return unsupported(op, "weights of unknown extents");

  bool oi = ffn.getLayout() == ir::BankLayout::OI;
  auto inputsOf = [&](OperandRange parts, ir::CodesAttr codes) {
    int64_t stored = extentOf(parts[0], oi ? 2 : 1);
    return codes ? stored * (8 / codes.getBits()) : stored;
  };
  int64_t hidden = inputsOf(ffn.getGate(), ffn.getGateCodesAttr());
  int64_t inner = inputsOf(ffn.getDown(), ffn.getDownCodesAttr());
  int64_t width = extentOf(ffn.getDown()[0], oi ? 1 : 2);

  OpFoldResult count;
  Value offsets;
  if (ffn.getOffsets()) {
    auto plan = ffn.getOffsets().getDefiningOp<ir::PlanOp>();
    auto dispatch = input.getDefiningOp<ir::DispatchOp>();
    if (!plan || ffn.getOffsets() != plan.getOffsets() || !dispatch ||
        dispatch.getOffsets() != ffn.getOffsets())
      return unsupported(op,
                         "rows that no moe.dispatch gave with the plan that "
                         "offsets are of");
    count = countSlots(l, plan);
    offsets = l.readable(l.tensor(ffn.getOffsets()));
  } else if (auto dispatch = input.getDefiningOp<ir::DispatchOp>();
             dispatch && dispatch.getTokens()) {
    return unsupported(op, "rows of a plan without its offsets");
  } else {
    Value x = dispatch ? dispatch.getX() : input;
    l.checkEqual(l.dim(x, 1), l.index(hidden),
                 "x and the experts differ in their width");
    count = l.dim(x, 0);
    offsets = offsetsOfAll(l, count);
  }

  StoredBanks first, second;
  addBank(l, first, ffn.getGate(), ffn.getGateCodesAttr(), gateBias);
  if (!ffn.getUp().empty())
    addBank(l, first, ffn.getUp(), ffn.getGateCodesAttr(), upBias);
  addBank(l, second, ffn.getDown(), ffn.getDownCodesAttr(), ffn.getDownBias());
  if (!ffn.getUp().empty() && first.biases.size() == 1) {
    // One of the two is missing: zeros stand for it.
    auto type = cast<MemRefType>(first.biases.front().getType());
    auto zeros = DenseElementsAttr::get(
        RankedTensorType::get(type.getShape(), type.getElementType()),
        cast<TypedAttr>(l.b.getZeroAttr(type.getElementType())));
    Value zero = rt::ConstantOp::create(l.b, l.loc(), type, zeros);
    first.biases.insert(gateBias ? first.biases.end() : first.biases.begin(),
                        zero);
  }

  Value rows = rowsOf(l, input, count, hidden);
  FailureOr<Value> hiddenRows =
      multiply(l, offsets, rows, first, count, hidden, inner, ffn.getGateUp(),
               ffn.getLayout(), [&](ValueRange sums) -> FailureOr<Value> {
                 Block &body = ffn.getActivation().front();
                 IRMapping map;
                 map.map(body.getArguments(), sums);
                 for (Operation &inside : body.without_terminator())
                   l.b.clone(inside, map);
                 return map.lookup(body.getTerminator()->getOperand(0));
               });
  FailureOr<Value> results =
      multiply(l, offsets, *hiddenRows, second, count, inner, width,
               ir::GateUp::None, ffn.getLayout(),
               [](ValueRange sums) -> FailureOr<Value> { return sums[0]; });
  setRows(l, ffn.getResults(), *results, count, width);
  return success();
}

//===----------------------------------------------------------------------===//
// moe.combine
//===----------------------------------------------------------------------===//

static LogicalResult lowerCombine(FunctionLowering &l, Operation *op) {
  auto combine = cast<ir::CombineOp>(op);
  Value y = combine.getY(), results = combine.getResults();
  auto plan = combine.getPositions().getDefiningOp<ir::PlanOp>();
  auto ffn = results.getDefiningOp<ir::GroupedFfnOp>();
  if (!plan || combine.getPositions() != plan.getPositions() || !ffn ||
      ffn.getOffsets() != plan.getOffsets())
    return unsupported(op, "results that no moe.grouped_ffn gave with the plan "
                           "that positions are of");
  int64_t width = extentOf(results, 1);
  if (ShapedType::isDynamic(width))
    return unsupported(op, "results of unknown width");
  Value weights;
  if (combine.getWeights()) {
    checkWeights(l, combine.getWeights(), plan);
    weights = weightsOf(l, combine.getWeights());
  }
  Value rows = rowsOf(l, results, countSlots(l, plan), width);
  Value sums =
      l.allocate({l.dim(plan.getIds(), 0), l.index(width)}, l.b.getF32Type());
  ir::CombineRowsOp::create(l.b, l.loc(), rows,
                            l.readable(l.tensor(plan.getPositions())), weights,
                            sums);
  l.set(y, l.castTo(l.finished(sums),
                    FunctionLowering::convertElement(elementOf(y))));
  return success();
}

void lower::registerSchedule(LoweringTable &table) {
  table.add("moe.plan", lowerPlan);
  table.add("moe.dispatch", lowerDispatch);
  table.add("moe.grouped_ffn", lowerGroupedFfn);
  table.add("moe.combine", lowerCombine);
}
