//===- RaiseRouters.cpp - routers in plain nodes as moe.route -------------===//

#include "lib/Analysis/ShapeInference.h"
#include "mlir/IR/PatternMatch.h"
#include "mlir/IR/Remarks.h"
#include "passes/Raise/Match.h"
#include "passes/Raise/Passes.h"
#include "passes/Raise/Router.h"
#include "llvm/ADT/SetVector.h"

namespace moe {
#define GEN_PASS_DEF_RAISEROUTERS
#include "passes/Raise/Passes.h.inc"
} // namespace moe

using namespace mlir;
using namespace moe;

namespace {

/// Nodes that routers may be read from, as long as they are there.
struct Anchors : public RewriterBase::Listener {
  llvm::SetVector<Operation *> nodes;

  void notifyOperationErased(Operation *op) override { nodes.remove(op); }
};

struct RaiseRouters : public moe::impl::RaiseRoutersBase<RaiseRouters> {
  void runOnOperation() override;

private:
  /// Whether the node's router was raised. Reasons why not are told only if
  /// `isRouter`: most choices pick no experts.
  bool visit(RewriterBase &rewriter, Operation *op, Refusal &refuse,
             bool &isRouter);
  bool visitChoice(RewriterBase &rewriter, const Choice &choice,
                   Refusal &refuse, bool &isRouter);
};

} // namespace

/// More experts than any router has: choices among so many that pick no expert
/// sample words.
static constexpr int64_t kMostExperts = 4096;

bool RaiseRouters::visitChoice(RewriterBase &rewriter, const Choice &choice,
                               Refusal &refuse, bool &isRouter) {
  IdUses uses = findIdUses(choice.ids, getColumns(choice.scores));
  isRouter = uses.expert;
  ExpertChoice byExperts;
  if (Found found = readExpertChoice(choice, byExperts, refuse);
      found != Found::No) {
    isRouter = true;
    if (found == Found::Yes)
      rewriteExpertChoice(rewriter, byExperts);
    return found == Found::Yes;
  }
  if (uses.table && !uses.expert) {
    isRouter = findIdUses(uses.table->getResult(0), 0).expert;
    return refuse(uses.table, "experts are picked from a table by the place "
                              "that is chosen, as product keys do");
  }
  Router router;
  if ((!uses.expert && !uses.escape) || !readRouter(choice, router, refuse))
    return false;
  bool isPlain = !router.isRouting || uses.token ||
                 getColumns(router.logits) > kMostExperts;
  return (uses.expert || !isPlain) && rewriteRouter(rewriter, router, refuse);
}

bool RaiseRouters::visit(RewriterBase &rewriter, Operation *op, Refusal &refuse,
                         bool &isRouter) {
  StringRef name = op->getName().getStringRef();
  if (name == "onnx.Softmax")
    return raiseSoftRoute(rewriter, op);
  if (name == "onnx.Concat") {
    Router router;
    Found found = readSparseMixer(op, router, refuse);
    isRouter = found != Found::No;
    return found == Found::Yes && rewriteRouter(rewriter, router, refuse);
  }
  if (name == "onnx.GatherElements") {
    Router router;
    return readForced(op, router) && rewriteRouter(rewriter, router, refuse);
  }
  if (std::optional<Choice> choice = readChoice(op))
    return visitChoice(rewriter, *choice, refuse, isRouter);
  if (op->getNumResults() == 2 || name == "onnx.ArgMax") {
    Value scores = op->getOperand(0), ids = op->getResults().back();
    isRouter = findIdUses(ids, getColumns(scores)).expert;
    refuse(op, match::getInt(op, "largest", 1) != 1
                   ? "the least scores are picked"
               : name == "onnx.TopK" && !match::getSingleInt(op->getOperand(1))
                   ? "the number of experts to pick is no constant"
                   : "experts are not on the last axis");
  }
  return false;
}

void RaiseRouters::runOnOperation() {
  Anchors anchors;
  getOperation().walk([&](Operation *op) {
    StringRef name = op->getName().getStringRef();
    if (name == "onnx.TopK" || name == "onnx.ArgMax" || name == "onnx.Concat" ||
        name == "onnx.Softmax" || name == "onnx.GatherElements")
      anchors.nodes.insert(op);
  });
  IRRewriter rewriter(&getContext(), &anchors);
  bool changed = false;
  // Last ones first: the choices inside of a router (of groups) go with it.
  while (!anchors.nodes.empty()) {
    Operation *op = anchors.nodes.pop_back_val();
    Refusal refuse;
    bool isRouter = false;
    if (visit(rewriter, op, refuse, isRouter)) {
      changed = true;
      ++numRaised;
      continue;
    }
    if (!isRouter || !refuse.at)
      continue;
    // The choices of a refused mixer are no routers of their own.
    if (op->getName().getStringRef() == "onnx.Concat")
      for (Value id : op->getOperands())
        if (Operation *choice = match::strip(id).getDefiningOp())
          anchors.nodes.remove(choice);
    remark::missed(refuse.at->getLoc(),
                   remark::RemarkOpts::name(getArgument()).category("raise"))
        << ("no router: " + refuse.why);
    ++numDeclined;
  }
  if (!changed)
    return;
  ShapeInferenceStatistics statistics;
  if (failed(inferShapes(getOperation(), {}, statistics)))
    signalPassFailure();
}
