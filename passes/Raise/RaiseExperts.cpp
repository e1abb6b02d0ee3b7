//===- RaiseExperts.cpp - layers of experts in plain nodes ----------------===//

#include "passes/Raise/RaiseExperts.h"
#include "dialects/Rt/RtDialect.h"
#include "mlir/IR/Remarks.h"
#include "mlir/Transforms/RegionUtils.h"
#include "passes/Raise/Passes.h"

namespace moe {
#define GEN_PASS_DEF_RAISEEXPERTS
#include "passes/Raise/Passes.h.inc"
} // namespace moe

using namespace mlir;
using namespace moe;

/// In the order in which they are tried: a form comes before those that would
/// take a part of it for a layer.
static constexpr std::initializer_list<RaiseFamily> families = {
    raiseLoops, raiseSorted, raiseExpertsWithCapacity, raiseExpertsThatChoose,
    raiseSoftExperts};

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

namespace {

struct RaiseExperts : public moe::impl::RaiseExpertsBase<RaiseExperts> {
  void runOnOperation() override {
    func::FuncOp func = getOperation();
    RaiseContext context(&getContext());
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
      markAllAnalysesPreserved();
  }
};

} // namespace
