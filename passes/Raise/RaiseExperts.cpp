//===- RaiseExperts.cpp - layers of experts in plain nodes ----------------===//

#include "passes/Raise/RaiseExperts.h"
#include "dialects/Rt/RtDialect.h"
#include "mlir/IR/Remarks.h"
#include "mlir/Transforms/RegionUtils.h"
#include "passes/Raise/Passes.h"
#include "llvm/ADT/StringSet.h"

namespace moe {
#define GEN_PASS_DEF_RAISEEXPERTS
#include "passes/Raise/Passes.h.inc"
} // namespace moe

using namespace mlir;
using namespace moe;

/// In the order in which they are tried: a form comes before those that would
/// take a part of it for a layer.
static constexpr std::initializer_list<RaiseFamily> families = {
    raiseLoops,
    raiseSorted,
    raiseExpertsWithCapacity,
    raiseExpertsThatChoose,
    raiseSoftExperts,
    raiseBanks,
    raiseParallel,
};

void RaiseContext::noteMissed(Operation *anchor, const Refusal &refusal) {
  Refusal kept = refusal;
  if (!kept.at)
    kept.at = anchor;
  missed.insert({anchor, kept});
}

void RaiseContext::noteError(Operation *op, const Twine &why) {
  op->emitError() << why.str();
  failed = true;
}

void RaiseContext::notifyOperationErased(Operation *op) {
  missed.erase(op);
  // The node that broke the rule goes while the anchor stays: the anchor is
  // the next best place.
  for (auto &[anchor, refusal] : missed)
    if (refusal.at == op)
      refusal.at = anchor;
}

void RaiseContext::eraseDead(func::FuncOp func) {
  (void)runRegionDCE(rewriter, func->getRegions());
}

unsigned RaiseContext::emitRemarks(StringRef pass) {
  for (auto &[anchor, refusal] : missed)
    remark::missed(refusal.at->getLoc(),
                   remark::RemarkOpts::name(pass).category("raise"))
        << refusal.why;
  return missed.size();
}

/// The name of a node, "" if it has none.
static StringRef getNodeName(Operation *op) {
  auto named = dyn_cast<NameLoc>(op->getLoc());
  return named ? named.getName().getValue() : StringRef();
}

/// What a node that was made is named after: without the operator and the
/// number that NodeBuilder adds.
static StringRef getOrigin(Operation *op) {
  auto [origin, last] = getNodeName(op).rsplit('/');
  StringRef type = op->getName().stripDialect();
  return last.consume_front(type) && last.starts_with("_") ? origin
                                                           : getNodeName(op);
}

/// Nodes of several builders beside one node would have equal names, and those
/// that a decomposition makes of `moe` ops, which keep the name of the node
/// that they replace.
static void nameNodes(func::FuncOp func, const llvm::StringSet<> &before) {
  llvm::StringMap<unsigned> counters;
  func.walk([&](Operation *op) {
    StringRef name = getNodeName(op);
    if (name.empty() || before.contains(name) ||
        !isa_and_present<onnx::ONNXDialect>(op->getDialect()) ||
        op->getParentOp() != func)
      return;
    StringRef origin = getOrigin(op);
    std::string made;
    do
      made = (origin + "/raise/" + op->getName().stripDialect() + "_" +
              Twine(counters[origin]++))
                 .str();
    while (before.contains(made));
    auto named = cast<NameLoc>(op->getLoc());
    op->setLoc(NameLoc::get(StringAttr::get(op->getContext(), made),
                            named.getChildLoc()));
  });
}

namespace {

struct RaiseExperts : public moe::impl::RaiseExpertsBase<RaiseExperts> {
  void runOnOperation() override {
    func::FuncOp func = getOperation();
    RaiseContext context(&getContext());
    llvm::StringSet<> names;
    func.walk([&](Operation *op) { names.insert(getNodeName(op)); });
    for (RaiseFamily family : families) {
      unsigned before = context.getNumRaised();
      family(func, context);
      if (context.getNumRaised() != before)
        context.eraseDead(func);
    }
    if (context.hasFailed())
      return signalPassFailure();
    numRaised += context.getNumRaised();
    numMissed += context.emitRemarks(getArgument());
    if (context.getNumRaised() == 0)
      return markAllAnalysesPreserved();
    nameNodes(func, names);
  }
};

} // namespace
