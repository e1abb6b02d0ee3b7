//===- Schedule.cpp - from what experts compute to how they run -----------===//
#include "passes/Schedule/Passes.h"

#include "dialects/MoE/MoEDialect.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/IR/BuiltinOps.h"
#include "mlir/IR/Remarks.h"
#include "passes/Lower/ONNXToLinalg/Lowering.h"

namespace moe {
#define GEN_PASS_DEF_MOESCHEDULE
#include "passes/Schedule/Passes.h.inc"
} // namespace moe

using namespace mlir;
using namespace moe;

namespace {
/// A bank as the scheduled op takes it.
struct ScheduledBank {
  SmallVector<Value> parts;
  ir::CodesAttr codes;
};

struct MoESchedule : moe::impl::MoEScheduleBase<MoESchedule> {
  using MoEScheduleBase::MoEScheduleBase;

  void runOnOperation() override;
  void schedule(ir::ExpertsOp experts);
  ScheduledBank getBank(ir::ExpertsOp experts, StringRef name, Value bank,
                        Value inStepWith);
};
} // namespace

static remark::RemarkOpts describe(Operation *op) {
  auto function = op->getParentOfType<func::FuncOp>();
  return remark::RemarkOpts::name("moe-schedule")
      .category("schedule")
      .function(function ? function.getName() : "");
}

//===----------------------------------------------------------------------===//
// Activations
//===----------------------------------------------------------------------===//

/// The activation on scalars of f32; null with a reason if there is none.
static std::unique_ptr<Block> getScalarForm(ir::ExpertsOp experts,
                                            std::string &why) {
  MLIRContext *context = experts.getContext();
  Block &activation = experts.getActivation().front();
  auto block = std::make_unique<Block>();
  for (BlockArgument argument : activation.getArguments())
    block->addArgument(Float32Type::get(context), argument.getLoc());
  lower::FunctionLowering lowering(context);
  lowering.b.setInsertionPointToStart(block.get());
  // Its errors are reasons here: the layer has another way to run.
  ScopedDiagnosticHandler handler(context, [&](Diagnostic &diagnostic) {
    if (why.empty())
      why = "its activation: " + diagnostic.str();
    return success();
  });
  FailureOr<SmallVector<Value>> values =
      lowering.lowerScalars(activation, block->getArguments());
  if (failed(values))
    return nullptr;
  for (Operation &op : *block)
    if (!isMemoryEffectFree(&op)) {
      why = "its activation may end the run (" +
            op.getName().getStringRef().str() + ")";
      return nullptr;
    }
  ir::YieldOp::create(lowering.b, activation.getTerminator()->getLoc(),
                      *values);
  return block;
}

//===----------------------------------------------------------------------===//
// Banks
//===----------------------------------------------------------------------===//

static bool isStatic(Value value) {
  return !value || cast<RankedTensorType>(value.getType()).hasStaticShape();
}

/// Whether two banks are codes of one kind.
static bool areAlike(ir::DequantizeOp a, ir::DequantizeOp b) {
  return a && b && a.getBits() == b.getBits() && a.getBlock() == b.getBlock() &&
         !a.getZeroPoints() == !b.getZeroPoints();
}

/// A bank before a node cast it from f16 or bf16 to a wider type: the same
/// numbers.
static Value beforeWidening(Value bank) {
  Operation *op = bank.getDefiningOp();
  if (!op || op->getName().getStringRef() != "onnx.Cast")
    return bank;
  Type from = lower::elementOf(op->getOperand(0)), to = lower::elementOf(bank);
  bool exact = isa<Float16Type, BFloat16Type>(from) &&
               isa<Float32Type, Float64Type>(to) && isStatic(op->getOperand(0));
  return exact ? op->getOperand(0) : bank;
}

ScheduledBank MoESchedule::getBank(ir::ExpertsOp experts, StringRef name,
                                   Value bank, Value inStepWith) {
  auto coded = bank.getDefiningOp<ir::DequantizeOp>();
  if (!coded)
    return {{beforeWidening(bank)}, {}};
  StringRef why;
  if (experts.getLayout() != ir::BankLayout::OI)
    why = "its rows are those of inputs (layout = io)";
  else if (!llvm::all_of(coded->getOperands(), isStatic))
    why = "its codes have unknown extents";
  else if (inStepWith &&
           !areAlike(coded, inStepWith.getDefiningOp<ir::DequantizeOp>()))
    why = "gate and up are read in step and are no codes of one kind";
  if (!why.empty()) {
    remark::missed(experts.getLoc(), describe(experts))
        << remark::reason("bank '{0}' is decoded as a whole: {1}", name, why);
    return {{bank}, {}};
  }
  ++numCoded;
  ScheduledBank result;
  result.parts = {coded.getPacked(), coded.getScales()};
  if (Value zeros = coded.getZeroPoints())
    result.parts.push_back(zeros);
  result.codes = ir::CodesAttr::get(experts.getContext(), coded.getBits(),
                                    coded.getBlock().value_or(0));
  return result;
}

//===----------------------------------------------------------------------===//
// Layers
//===----------------------------------------------------------------------===//

void MoESchedule::schedule(ir::ExpertsOp experts) {
  Value x = experts.getX(), ids = experts.getIds();
  Value gate = experts.getGate(), up = experts.getUp();
  Value down = experts.getDown();
  std::string why;
  Value gateBias = experts.getGateBias(), upBias = experts.getUpBias();
  Value downBias = experts.getDownBias();
  for (Value v : {gate, up, down, gateBias, upBias, downBias})
    if (!isStatic(v))
      why = "its weights have unknown extents";
  std::unique_ptr<Block> activation;
  if (why.empty())
    activation = getScalarForm(experts, why);
  if (!activation) {
    remark::missed(experts.getLoc(), describe(experts))
        << remark::reason("experts are not scheduled: {0}", why);
    ++numDeclined;
    return;
  }

  OpBuilder b(experts);
  Location loc = experts.getLoc();
  auto extent = [](Value v, int64_t i) {
    return cast<RankedTensorType>(v.getType()).getDimSize(i);
  };
  bool oi = experts.getLayout() == ir::BankLayout::OI;
  int64_t hidden = extent(gate, oi ? 2 : 1), width = extent(down, oi ? 1 : 2);
  auto rowsType = [&](int64_t count, int64_t columns) {
    return RankedTensorType::get({count, columns}, b.getF32Type());
  };

  Value rows = x, weights = experts.getWeights();
  ir::PlanOp plan;
  if (ids) {
    // The number of experts is no news to a plan: equal ones look alike.
    int64_t count = extent(gate, 0), logical = experts.getNumLogical();
    plan = ir::PlanOp::create(b, loc, ids, count,
                              logical > count ? b.getI64IntegerAttr(logical)
                                              : IntegerAttr());
    bool scalesInput = experts.getScaleAt() == ir::ScaleAt::Input;
    rows = ir::DispatchOp::create(
        b, loc, rowsType(extent(plan.getTokens(), 0), hidden), x,
        plan.getOffsets(), plan.getTokens(), plan.getPositions(),
        scalesInput ? weights : Value(), experts.getInScaleAttr());
    if (scalesInput)
      weights = {};
    ++numRouted;
  } else {
    if (!experts.getInScale().isExactlyValue(1.0))
      rows = ir::DispatchOp::create(b, loc, rowsType(extent(x, 0), hidden), x,
                                    Value(), Value(), Value(), Value(),
                                    experts.getInScaleAttr());
    ++numDense;
  }

  ScheduledBank first = getBank(experts, "gate", gate, up), second;
  ScheduledBank third = getBank(experts, "down", down, {});
  if (up)
    second = getBank(experts, "up", up, gate);
  Type results = experts.getY().getType();
  if (ids)
    results = rowsType(extent(rows, 0), width);
  auto ffn = ir::GroupedFfnOp::create(
      b, loc, results, rows, plan ? plan.getOffsets() : Value(), first.parts,
      second.parts, third.parts, gateBias, upBias, downBias,
      experts.getGateUpAttr(), experts.getLayoutAttr(), first.codes,
      third.codes);
  ffn.getActivation().push_back(activation.release());

  Operation *last = ffn;
  if (ids)
    last =
        ir::CombineOp::create(b, loc, experts.getY().getType(),
                              ffn.getResults(), plan.getPositions(), weights);
  // Names of extents, and what other passes have left.
  last->setDiscardableAttrs(llvm::to_vector(experts->getDiscardableAttrs()));
  remark::passed(loc, describe(experts))
      << (ids ? "experts run on rows in the order of a plan"
              : "experts run on all tokens");
  SmallVector<ir::DequantizeOp> decoders;
  for (Value bank : {gate, up, down})
    if (auto coded = bank ? bank.getDefiningOp<ir::DequantizeOp>() : nullptr)
      if (!llvm::is_contained(decoders, coded))
        decoders.push_back(coded);
  experts.getY().replaceAllUsesWith(last->getResult(0));
  experts.erase();
  for (ir::DequantizeOp coded : decoders)
    if (coded.use_empty())
      coded.erase();
}

void MoESchedule::runOnOperation() {
  SmallVector<ir::ExpertsOp> layers;
  getOperation().walk(
      [&](ir::ExpertsOp experts) { layers.push_back(experts); });
  if (layers.empty())
    return markAllAnalysesPreserved();
  for (ir::ExpertsOp experts : layers)
    schedule(experts);
}
