//===- RaiseTokens.cpp - tokens that are dropped or merged ----------------===//

#include "passes/Raise/RaiseTokens.h"
#include "mlir/IR/Remarks.h"
#include "mlir/Transforms/RegionUtils.h"
#include "passes/Raise/Passes.h"

namespace moe {
#define GEN_PASS_DEF_RAISETOKENS
#include "passes/Raise/Passes.h.inc"
} // namespace moe

using namespace mlir;
using namespace moe;

void TokenContext::noteMissed(Operation *anchor, const TokenRefusal &refusal) {
  TokenRefusal kept = refusal;
  if (!kept.at)
    kept.at = anchor;
  missed.insert({anchor, kept});
}

void TokenContext::notifyOperationErased(Operation *op) {
  missed.erase(op);
  for (auto &[anchor, refusal] : missed)
    if (refusal.at == op)
      refusal.at = anchor;
}

unsigned TokenContext::emitRemarks(StringRef pass) {
  for (auto &[anchor, refusal] : missed)
    remark::missed(refusal.at->getLoc(),
                   remark::RemarkOpts::name(pass).category("raise"))
        << refusal.why;
  return missed.size();
}

SmallVector<Operation *> TokenContext::getNodes(ArrayRef<StringRef> names) {
  SmallVector<Operation *> nodes;
  func.walk([&](Operation *op) {
    if (llvm::is_contained(names, op->getName().getStringRef()))
      nodes.push_back(op);
  });
  return nodes;
}

void TokenContext::eraseDead() {
  (void)runRegionDCE(rewriter, func->getRegions());
}

namespace {

struct RaiseTokens : public moe::impl::RaiseTokensBase<RaiseTokens> {
  void runOnOperation() override {
    TokenContext context(getOperation());
    // A merge holds gathers that look like selections.
    for (auto form : {raiseMerges, raiseSelections, raiseConditions}) {
      unsigned before = context.getNumRaised();
      form(context);
      if (context.getNumRaised() != before)
        context.eraseDead();
    }
    numRaised += context.getNumRaised();
    numMissed += context.emitRemarks(getArgument());
    if (context.getNumRaised() == 0)
      markAllAnalysesPreserved();
  }
};

} // namespace
