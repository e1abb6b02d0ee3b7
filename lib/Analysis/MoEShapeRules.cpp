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

bool moe::applyMoEExtentRule(NodeRef &node) {
  return llvm::TypeSwitch<Operation *, bool>(node.op)
      .Case<ir::RouteOp, ir::RouteBalancedOp, ir::SoftRouteOp, ir::LoadStatsOp,
            ir::CapacityOp, ir::ExpertsOp, ir::TrivialExpertsOp,
            ir::DequantizeOp, ir::MixOp, ir::SwitchOp>([&](auto op) {
        infer(node, op);
        return true;
      })
      .Default(false);
}
