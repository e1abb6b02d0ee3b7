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
  void visit(RewriterBase &rewriter, Operation *op);
  bool read(Operation *op, Router &router, Refusal &refuse, bool &isRouter);
  void decline(const Refusal &refuse);
};

} // namespace

/// More experts than any router has: choices among so many that pick no expert
/// sample words.
static constexpr int64_t kMostExperts = 4096;

/// Reads what `op` belongs to. `isRouter` tells whether it is one of experts,
/// readable or not.
bool RaiseRouters::read(Operation *op, Router &router, Refusal &refuse,
                        bool &isRouter) {
  if (op->getName().getStringRef() == "onnx.Concat") {
    Found found = readSparseMixer(op, router, refuse);
    isRouter = found != Found::No;
    return found == Found::Yes;
  }
  std::optional<Choice> choice = readChoice(op);
  if (!choice)
    return false;
  IdUses uses = findIdUses(choice->ids, getColumns(choice->scores));
  isRouter = uses.expert;
  if (!uses.expert && !uses.escape && !uses.table)
    return false;
  if (uses.table && !uses.expert) {
    isRouter = findIdUses(uses.table->getResult(0), 0).expert;
    return refuse(uses.table, "experts are picked from a table by the place "
                              "that is chosen, as product keys do");
  }
  if (!readRouter(*choice, router, refuse))
    return false;
  if (uses.expert)
    return true;
  int64_t experts = getColumns(router.logits);
  return router.isRouting && !uses.token && experts <= kMostExperts;
}

void RaiseRouters::decline(const Refusal &refuse) {
  remark::missed(refuse.at->getLoc(),
                 remark::RemarkOpts::name(getArgument()).category("raise"))
      << ("no router: " + refuse.why);
  ++numDeclined;
}

void RaiseRouters::visit(RewriterBase &rewriter, Operation *op) {
  Router router;
  Refusal refuse;
  bool isRouter = false;
  if (read(op, router, refuse, isRouter) &&
      rewriteRouter(rewriter, router, refuse)) {
    ++numRaised;
    return;
  }
  if (isRouter && refuse.at)
    decline(refuse);
}

void RaiseRouters::runOnOperation() {
  Anchors anchors;
  getOperation().walk([&](Operation *op) {
    StringRef name = op->getName().getStringRef();
    if (name == "onnx.TopK" || name == "onnx.ArgMax" || name == "onnx.Concat")
      anchors.nodes.insert(op);
  });
  IRRewriter rewriter(&getContext(), &anchors);
  // Last ones first: the choices inside of a router (of groups) go with it.
  while (!anchors.nodes.empty())
    visit(rewriter, anchors.nodes.pop_back_val());
  if (numRaised == 0)
    return;
  ShapeInferenceStatistics statistics;
  if (failed(inferShapes(getOperation(), {}, statistics)))
    signalPassFailure();
}
