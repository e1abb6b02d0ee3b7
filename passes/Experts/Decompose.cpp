//===- Decompose.cpp - moe ops as plain ONNX operators --------------------===//
//
// Ops are rewritten from the last to the first, so that one can still look at
// the ops that its operands come from. Types are inferred once, at the end.
//
//===----------------------------------------------------------------------===//
#include "passes/Experts/Decompose.h"
#include "dialects/ONNX/ONNXDialect.h"
#include "dialects/ONNX/Signatures.h"
#include "lib/Analysis/ShapeInference.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/IR/BuiltinOps.h"
#include "mlir/IR/Remarks.h"
#include "passes/Experts/DecomposeRouting.h"
#include "passes/Experts/DecomposeTokens.h"
#include "passes/Lower/ONNXToLinalg/Passes.h"
#include "llvm/ADT/SetVector.h"
#include "llvm/ADT/TypeSwitch.h"

namespace moe {
#define GEN_PASS_DEF_MOEDECOMPOSE
#include "passes/Experts/Passes.h.inc"
} // namespace moe

using namespace mlir;
using namespace moe;

Type moe::getComputeType(Value value) {
  Type element = getElement(value);
  return element.isF64() ? element : Float32Type::get(value.getContext());
}

bool moe::picksEverySlot(Value ids, int64_t experts) {
  auto route = ids.getDefiningOp<ir::RouteOp>();
  if (!route || route.getForced() || route.getValid())
    return false;
  auto logits = cast<RankedTensorType>(route.getLogits().getType());
  ir::RoutingAttr routing = route.getRouting();
  return logits.getDimSize(1) == experts && routing.getMinRatio().isZero() &&
         routing.getTopP().isExactlyValue(1.0) && routing.getMinProb().isZero();
}

static bool isMoEOp(Operation *op) {
  return op->getName().getDialectNamespace() == "moe" && !isa<ir::YieldOp>(op);
}

/// The opset of ai.onnx that the module was read with, else the newest.
static int64_t getOpset(ModuleOp module) {
  auto imports =
      module->getAttrOfType<DictionaryAttr>(onnx::names::kOpsetImport);
  for (StringRef domain : {"ai.onnx", ""})
    if (imports)
      if (auto version = dyn_cast_or_null<IntegerAttr>(imports.get(domain)))
        return version.getValue().getLimitedValue(INT64_MAX);
  return onnx::getNewestOpset();
}

namespace {
struct MoEDecompose : moe::impl::MoEDecomposeBase<MoEDecompose> {
  using MoEDecomposeBase::MoEDecomposeBase;

  LogicalResult initialize(MLIRContext *context) override {
    for (const std::string &name : ops)
      if (!llvm::is_contained(kDecomposable, name)) {
        InFlightDiagnostic diagnostic = emitError(UnknownLoc::get(context))
                                        << "cannot read 'ops=" << name
                                        << "'; accepted are ";
        llvm::interleaveComma(kDecomposable, diagnostic);
        return diagnostic;
      }
    return success();
  }

  bool isWanted(Operation *op) {
    StringRef name = op->getName().getStringRef();
    if (!llvm::is_contained(kDecomposable, name) ||
        (fallback && hasLinalgLowering(name)))
      return false;
    return ops.empty() || llvm::is_contained(ops, name);
  }

  void runOnOperation() override;
  LogicalResult decompose(Operation *op);
  LogicalResult build(GraphBuilder &graph, Operation *op,
                      SmallVector<Value> &results);

  static constexpr llvm::StringLiteral kDecomposable[] = {"moe.experts",
                                                          "moe.dequantize",
                                                          "moe.trivial_experts",
                                                          "moe.mix",
                                                          "moe.switch",
                                                          "moe.route",
                                                          "moe.route_balanced",
                                                          "moe.soft_route",
                                                          "moe.load_stats",
                                                          "moe.capacity",
                                                          "moe.attention",
                                                          "moe.norm",
                                                          "moe.pool",
                                                          "moe.pool_select",
                                                          "moe.token_score",
                                                          "moe.token_keep",
                                                          "moe.token_drop",
                                                          "moe.token_restore",
                                                          "moe.keep_compose",
                                                          "moe.token_merge"};
};
} // namespace

/// Whether all results surely hold no element: there is nothing to compute, and
/// graphs need not cope with extents of 0 that are known.
static bool givesNothing(Operation *op) {
  return !isa<ir::SwitchOp>(op) &&
         llvm::all_of(op->getResultTypes(), [](Type type) {
           auto tensor = cast<RankedTensorType>(type);
           return tensor.hasStaticShape() && tensor.getNumElements() == 0;
         });
}

/// Writes the graph of an op in front of it.
LogicalResult MoEDecompose::build(GraphBuilder &graph, Operation *op,
                                  SmallVector<Value> &results) {
  if (givesNothing(op)) {
    for (Type type : op->getResultTypes()) {
      auto tensor = cast<RankedTensorType>(type);
      SmallVector<GraphExtent> shape(tensor.getShape());
      results.push_back(graph.zeros(shape, tensor.getElementType()));
    }
    return success();
  }
  return TypeSwitch<Operation *, LogicalResult>(op)
      .Case([&](ir::ExpertsOp experts) {
        return decomposeExperts(graph, experts, form, results.emplace_back());
      })
      .Case([&](ir::DequantizeOp bank) {
        results.push_back(decomposeDequantize(graph, bank));
        return success();
      })
      .Case([&](ir::TrivialExpertsOp experts) {
        results.push_back(decomposeTrivialExperts(graph, experts));
        return success();
      })
      .Case([&](ir::MixOp mix) {
        results.push_back(decomposeMix(graph, mix));
        return success();
      })
      .Case([&](ir::RouteOp route) {
        results = decomposeRoute(graph, route);
        return success();
      })
      .Case([&](ir::RouteBalancedOp route) {
        results = decomposeRouteBalanced(graph, route);
        return success();
      })
      .Case([&](ir::SoftRouteOp route) {
        results = decomposeSoftRoute(graph, route);
        return success();
      })
      .Case([&](ir::LoadStatsOp stats) {
        FailureOr<SmallVector<Value>> sums = decomposeLoadStats(graph, stats);
        if (failed(sums))
          return failure();
        results = *sums;
        return success();
      })
      .Case([&](ir::CapacityOp capacity) {
        results = decomposeCapacity(graph, capacity);
        return success();
      })
      .Case([&](ir::AttentionOp attention) {
        results = decomposeAttention(graph, attention);
        return success();
      })
      .Case([&](ir::NormOp norm) {
        results.push_back(decomposeNorm(graph, norm));
        return success();
      })
      .Case([&](ir::SwitchOp choice) {
        results = decomposeSwitch(graph, choice);
        return success();
      })
      .Case([&](ir::PoolOp pool) {
        results.push_back(decomposePool(graph, pool));
        return success();
      })
      .Case([&](ir::PoolSelectOp pool) {
        results.push_back(decomposePoolSelect(graph, pool));
        return success();
      })
      .Case([&](ir::TokenScoreOp score) {
        results.push_back(decomposeTokenScore(graph, score));
        return success();
      })
      .Case([&](ir::TokenKeepOp keep) {
        results.push_back(decomposeTokenKeep(graph, keep));
        return success();
      })
      .Case([&](ir::TokenDropOp drop) {
        results.push_back(decomposeTokenDrop(graph, drop));
        return success();
      })
      .Case([&](ir::TokenRestoreOp restore) {
        results.push_back(decomposeTokenRestore(graph, restore));
        return success();
      })
      .Case([&](ir::KeepComposeOp compose) {
        results.push_back(decomposeKeepCompose(graph, compose));
        return success();
      })
      .Case([&](ir::TokenMergeOp merge) {
        results = decomposeTokenMerge(graph, merge);
        return success();
      });
}

/// Ops that no lowering of their own would make faster: the operators that they
/// become are what runs.
static bool runsAsGraph(Operation *op) {
  return isa<ir::PoolOp, ir::PoolSelectOp, ir::TokenScoreOp, ir::TokenKeepOp,
             ir::TokenDropOp, ir::TokenRestoreOp, ir::KeepComposeOp,
             ir::TokenMergeOp>(op);
}

LogicalResult MoEDecompose::decompose(Operation *op) {
  if (fallback && !runsAsGraph(op)) {
    auto function = op->getParentOfType<func::FuncOp>();
    remark::missed(op->getLoc(),
                   remark::RemarkOpts::name("moe-decompose")
                       .category("lower")
                       .function(function ? function.getName() : ""))
        << remark::reason("{0} has no lowering of its own and is compiled as "
                          "plain ONNX operators",
                          op->getName().getStringRef().str());
  }
  OpBuilder builder(op);
  GraphBuilder graph(builder, op->getLoc(),
                     opset ? int64_t(opset) : getOpset(getOperation()));
  SmallVector<Value> results;
  if (failed(build(graph, op, results)))
    return failure();
  for (auto [result, old] : llvm::zip(results, op->getResults())) {
    if (!result) // Nobody uses it.
      continue;
    result = graph.cast(result, getElement(old));
    result.setType(old.getType());
    old.replaceAllUsesWith(result);
  }
  op->erase();
  ++numDecomposed;
  return success();
}

void MoEDecompose::runOnOperation() {
  SmallVector<Operation *> wanted;
  llvm::SetVector<func::FuncOp> functions;
  getOperation().walk<WalkOrder::PreOrder>([&](Operation *op) {
    if (!isMoEOp(op) || !isWanted(op))
      return;
    wanted.push_back(op);
    if (auto function = op->getParentOfType<func::FuncOp>())
      functions.insert(function);
  });
  if (wanted.empty())
    return markAllAnalysesPreserved();
  // Backwards: users before producers, what is inside of a region before the
  // op around it.
  bool ok = true;
  for (Operation *op : llvm::reverse(wanted))
    ok &= succeeded(decompose(op));
  for (func::FuncOp function : functions) {
    ShapeInferenceStatistics statistics;
    ok &= succeeded(inferShapes(function, {}, statistics));
  }
  if (!ok)
    signalPassFailure();
}
