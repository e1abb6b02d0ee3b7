//===- MoEShapeRules.cpp - extents of what moe ops give -------------------===//
//
// The ops of `moe` have no schema; these rules alone say what their results
// look like: T tokens of the operand, k of the routing, E and H' of the bank.
//
//===----------------------------------------------------------------------===//

#include "dialects/MoE/MoEDialect.h"
#include "lib/Analysis/ShapeFacts.h"
#include "llvm/ADT/TypeSwitch.h"

using namespace mlir;
using namespace moe;

static DimExpr ofInt(int64_t value) { return DimExpr::constant(value); }

/// Extent `i` of a value, unknown if it is absent.
static DimExpr getExtent(NodeRef &node, Value value, unsigned i) {
  if (!value)
    return {};
  Extents extents = node.facts.getExtents(value);
  return i < extents.size() ? extents[i] : DimExpr();
}

/// One extent that several values have: the most that is known of it.
static DimExpr common(std::initializer_list<DimExpr> all) {
  DimExpr best;
  for (const DimExpr &one : all)
    if (!best.isKnown() || (one.isConstant() && !best.isConstant()))
      best = one;
  return best;
}

static void infer(NodeRef &node, ir::RouteOp op) {
  DimExpr tokens = common(
      {getExtent(node, op.getLogits(), 0), getExtent(node, op.getMix(), 0),
       getExtent(node, op.getForced(), 0), getExtent(node, op.getValid(), 0)});
  DimExpr slots = ofInt(op.getRouting().getK());
  node.results[0] = node.results[1] = Extents{tokens, slots};
}

static void infer(NodeRef &node, ir::RouteBalancedOp op) {
  node.results[0] = node.results[1] =
      Extents{getExtent(node, op.getLogits(), 1), ofInt(op.getCapacity())};
}

static void infer(NodeRef &node, ir::SoftRouteOp op) {
  node.results[0] = node.results[1] = node.facts.getExtents(op.getLogits());
}

static void infer(NodeRef &node, ir::LoadStatsOp op) {
  if (op.getProbs())
    node.results.assign(3, Extents{getExtent(node, op.getProbs(), 1)});
}

static void infer(NodeRef &node, ir::CapacityOp op) {
  Extents extents;
  unsigned rank = op.hasSequences() ? 3 : 2;
  for (unsigned i = 0; i < rank; ++i)
    extents.push_back(common(
        {getExtent(node, op.getIds(), i), getExtent(node, op.getWeights(), i),
         i + 1 < rank ? getExtent(node, op.getScores(), i) : DimExpr()}));
  node.results[0] = node.results[1] = extents;
}

static void infer(NodeRef &node, ir::AttentionOp op) {
  Value query = op.getQuery(), key = op.getKey(), value = op.getValue();
  DimExpr batch = common({getExtent(node, query, 0), getExtent(node, key, 0),
                          getExtent(node, value, 0)});
  DimExpr heads = getExtent(node, query, 1);
  node.results[0] = Extents{batch, heads, getExtent(node, query, 2),
                            getExtent(node, value, 3)};
  if (op.getProbs())
    node.results[1] =
        Extents{batch, heads, ofInt(op.getProbsCount().value_or(1)),
                common({getExtent(node, key, 2), getExtent(node, value, 2)})};
}

static void infer(NodeRef &node, ir::NormOp op) {
  node.results[0] = node.facts.getExtents(op.getX());
}

static void infer(NodeRef &node, ir::ExpertsOp op) {
  unsigned output = op.getLayout() == ir::BankLayout::OI ? 1 : 2;
  node.results[0] = Extents{
      common({getExtent(node, op.getX(), 0), getExtent(node, op.getIds(), 0),
              getExtent(node, op.getWeights(), 0)}),
      common({getExtent(node, op.getDown(), output),
              getExtent(node, op.getDownBias(), 1)})};
}

static void infer(NodeRef &node, ir::TrivialExpertsOp op) {
  node.results[0] = node.facts.getExtents(op.getX());
}

static void infer(NodeRef &node, ir::DequantizeOp op) {
  DimExpr bytes = getExtent(node, op.getPacked(), 2);
  node.results[0] =
      Extents{common({getExtent(node, op.getPacked(), 0),
                      getExtent(node, op.getScales(), 0)}),
              common({getExtent(node, op.getPacked(), 1),
                      getExtent(node, op.getScales(), 1)}),
              DimExpr::divideExactly(
                  bytes * ofInt(8), ofInt(static_cast<int64_t>(op.getBits())))};
}

static void infer(NodeRef &node, ir::MixOp op) {
  Extents extents = node.facts.getExtents(op.getCoefficients());
  auto type = cast<RankedTensorType>(op.getCoefficients().getType());
  if (!type.getElementType().isInteger() && !extents.empty())
    extents.pop_back();
  Extents bank = node.facts.getExtents(op.getBank());
  if (!bank.empty())
    extents.append(bank.begin() + 1, bank.end());
  node.results[0] = std::move(extents);
}

/// What all branches agree on; of a constant index, what its branch gives.
static void infer(NodeRef &node, ir::SwitchOp op) {
  const ShapeValue *index = node.facts.getElements(op.getIndex());
  int64_t taken = -1;
  if (index && index->isSingle() && index->elements[0].isConstant())
    taken = index->elements[0].getConstant();
  for (unsigned i = 0; i < op.getNumResults(); ++i) {
    std::optional<Extents> agreed;
    for (auto [number, branch] : llvm::enumerate(op.getBranches())) {
      if (taken >= 0 && static_cast<int64_t>(number) != taken)
        continue;
      if (branch.empty() || branch.front().empty() ||
          i >= branch.front().back().getNumOperands())
        continue;
      Extents own = node.facts.getExtents(branch.front().back().getOperand(i));
      if (!agreed) {
        agreed = std::move(own);
        continue;
      }
      for (unsigned dim = 0; dim < agreed->size(); ++dim)
        if (dim >= own.size() || own[dim] != (*agreed)[dim])
          (*agreed)[dim] = {};
    }
    node.results[i] = std::move(agreed);
  }
}

//===----------------------------------------------------------------------===//
// Pools and tokens
//===----------------------------------------------------------------------===//

static Extents poolExtents(NodeRef &node, Value x, ir::PoolingAttr pooling) {
  Extents extents = node.facts.getExtents(x);
  for (unsigned i = 0; i + 2 < extents.size(); ++i) {
    DimExpr &extent = extents[i + 2];
    if (pooling.isGlobal()) {
      extent = ofInt(1);
      continue;
    }
    if (extent.isConstant()) {
      int64_t size = pooling.getResultExtent(i, extent.getConstant());
      extent = size < 0 ? DimExpr() : ofInt(size);
      continue;
    }
    // A last window over the end may be there or not.
    int64_t reach = pooling.getDilation(i) * (pooling.getKernel()[i] - 1) + 1;
    int64_t pads = pooling.getPadBegin(i) + pooling.getPadEnd(i);
    extent = pooling.getCeil()
                 ? DimExpr()
                 : node.dims.floorDiv(extent + ofInt(pads - reach),
                                      ofInt(pooling.getStride(i))) +
                       ofInt(1);
  }
  return extents;
}

static void infer(NodeRef &node, ir::PoolOp op) {
  node.results[0] = poolExtents(node, op.getX(), op.getPooling());
}

static void infer(NodeRef &node, ir::PoolSelectOp op) {
  for (Attribute expert : op.getExperts()) {
    Extents own = poolExtents(node, op.getX(), cast<ir::PoolingAttr>(expert));
    if (!node.results[0])
      node.results[0] = own;
    // Experts may say more than others; they agree.
    for (auto [best, extent] : llvm::zip(*node.results[0], own))
      best = common({best, extent});
  }
}

static void infer(NodeRef &node, ir::TokenScoreOp op) {
  node.results[0] = Extents{getExtent(node, op.getAttention(), 0),
                            getExtent(node, op.getAttention(), 3)};
}

static void infer(NodeRef &node, ir::TokenKeepOp op) {
  DimExpr tokens = getExtent(node, op.getScores(), 1), kept;
  bool isMask = op.getPolicy() == ir::KeepPolicy::Mask;
  if (isMask) {
    kept = node.makeSymbol(0, 1);
    node.dims.setBound(kept, tokens);
  } else if (op.getCount()) {
    kept = tokens - ofInt(*op.getCount() - static_cast<int64_t>(op.getK()));
  } else {
    kept = ofInt(static_cast<int64_t>(op.getFirst() + op.getK()));
  }
  node.results[0] =
      Extents{isMask ? ofInt(1) : getExtent(node, op.getScores(), 0), kept};
}

static void infer(NodeRef &node, ir::TokenDropOp op) {
  Extents extents = node.facts.getExtents(op.getX());
  DimExpr kept = getExtent(node, op.getIdx(), 1);
  extents[1] = op.getWeights() ? kept + ofInt(1) : kept;
  node.results[0] = std::move(extents);
}

static void infer(NodeRef &node, ir::TokenRestoreOp op) {
  Extents extents = node.facts.getExtents(op.getX());
  extents[1] = op.getBase() ? getExtent(node, op.getBase(), 1)
                            : getExtent(node, op.getIdx(), 1);
  node.results[0] = std::move(extents);
}

static void infer(NodeRef &node, ir::KeepComposeOp op) {
  DimExpr outer = getExtent(node, op.getOuter(), 0);
  DimExpr inner = getExtent(node, op.getInner(), 0);
  node.results[0] = Extents{outer.isConstant(1) ? inner : outer,
                            getExtent(node, op.getInner(), 1)};
}

static void infer(NodeRef &node, ir::TokenMergeOp op) {
  Extents x = node.facts.getExtents(op.getX());
  DimExpr left = x[1] - ofInt(static_cast<int64_t>(op.getR()));
  node.results[0] = Extents{x[0], left, x[2]};
  node.results[1] = Extents{x[0], left, ofInt(1)};
  node.results[2] = Extents{x[0], x[1]};
}

static void infer(NodeRef &node, ir::PlanOp op) {
  DimExpr tokens = getExtent(node, op.getIds(), 0);
  DimExpr slots = getExtent(node, op.getIds(), 1);
  node.results[0] = Extents{ofInt(static_cast<int64_t>(op.getExperts()) + 1)};
  node.results[1] = Extents{tokens * slots};
  node.results[2] = Extents{tokens, slots};
}

static void infer(NodeRef &node, ir::DispatchOp op) {
  node.results[0] = Extents{
      getExtent(node, op.getTokens() ? op.getTokens() : op.getX(), 0),
      common({getExtent(node, op.getX(), 1), getExtent(node, op.getRows(), 1)})};
}

static void infer(NodeRef &node, ir::GroupedFfnOp op) {
  unsigned output = op.getLayout() == ir::BankLayout::OI ? 1 : 2;
  node.results[0] = Extents{getExtent(node, op.getRows(), 0),
                            getExtent(node, op.getDown()[0], output)};
}

static void infer(NodeRef &node, ir::CombineOp op) {
  node.results[0] = Extents{common({getExtent(node, op.getPositions(), 0),
                                    getExtent(node, op.getWeights(), 0)}),
                            getExtent(node, op.getResults(), 1)};
}

bool moe::applyMoEExtentRule(NodeRef &node) {
  return llvm::TypeSwitch<Operation *, bool>(node.op)
      .Case<ir::RouteOp, ir::RouteBalancedOp, ir::SoftRouteOp, ir::LoadStatsOp,
            ir::CapacityOp, ir::AttentionOp, ir::NormOp, ir::ExpertsOp,
            ir::TrivialExpertsOp, ir::DequantizeOp, ir::MixOp, ir::SwitchOp,
            ir::PoolOp, ir::PoolSelectOp, ir::TokenScoreOp, ir::TokenKeepOp,
            ir::TokenDropOp, ir::TokenRestoreOp, ir::KeepComposeOp,
            ir::TokenMergeOp, ir::PlanOp, ir::DispatchOp, ir::GroupedFfnOp,
            ir::CombineOp>([&](auto op) {
        infer(node, op);
        return true;
      })
      .Default(false);
}
