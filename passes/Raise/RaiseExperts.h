//===- RaiseExperts.h - what the forms of experts share ---------*- C++ -*-===//
//
// Each family of forms that exporters write experts in is one function, in a
// file of its own, that raises all layers of its forms in a function. It adds
// `moe.experts`, replaces the result of the layer by it and leaves the nodes
// behind the result where they are: what has no use any more goes when the
// family is done, before the next one looks.
//
//===----------------------------------------------------------------------===//
#ifndef MOE_PASSES_RAISE_RAISEEXPERTS_H
#define MOE_PASSES_RAISE_RAISEEXPERTS_H

#include "lib/Analysis/DimExpr.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/IR/PatternMatch.h"
#include "passes/Raise/FeedForward.h"
#include "llvm/ADT/MapVector.h"

namespace moe {

/// One run of the pass on a function.
class RaiseContext : private mlir::RewriterBase::Listener {
public:
  explicit RaiseContext(mlir::MLIRContext *context) : rewriter(context, this) {}

  mlir::RewriterBase &getRewriter() { return rewriter; }
  /// The expressions of all extents of the function.
  DimContext &getDims() { return dims; }

  /// Notes that a layer became `moe.experts`.
  void noteRaised() { ++numRaised; }
  unsigned getNumRaised() const { return numRaised; }

  /// Notes why `anchor`, a node that only a layer of experts has in this
  /// place, did not become part of one: the rule of `refusal` at its node. It
  /// ends as a remark if no family raises the layer. What the first family
  /// says about an anchor holds.
  void noteMissed(mlir::Operation *anchor, const Refusal &refusal);

  /// Reports a model that must not be compiled as it is.
  void noteError(mlir::Operation *op, const llvm::Twine &why);
  bool hasFailed() const { return failed; }

  /// Erases what has no use.
  void eraseDead(mlir::func::FuncOp func);

  /// Emits what was missed and is still there as remarks of category `raise`.
  /// Returns how many layers that were.
  unsigned emitRemarks(llvm::StringRef pass);

private:
  void notifyOperationErased(mlir::Operation *op) override;

  mlir::IRRewriter rewriter;
  DimContext dims;
  unsigned numRaised = 0;
  bool failed = false;
  llvm::MapVector<mlir::Operation *, Refusal> missed;
};

/// What recognises one layer around its anchor: a refusal that ends as a remark
/// at the anchor.
class LayerMatcher {
protected:
  LayerMatcher(mlir::Operation *anchor, RaiseContext &context)
      : anchor(anchor), context(context), dims(context.getDims()) {}

  /// Notes the refusal, if there is one. Returns false.
  bool decline() {
    if (refusal)
      context.noteMissed(anchor, refusal);
    return false;
  }
  /// A null node stands for the anchor. Returns false.
  bool refuse(mlir::Operation *at, const llvm::Twine &why) {
    refusal.say(at ? at : anchor, why);
    return false;
  }

  mlir::Operation *anchor;
  RaiseContext &context;
  DimContext &dims;
  Refusal refusal;
};

/// A family of forms.
using RaiseFamily = void (*)(mlir::func::FuncOp func, RaiseContext &context);

/// Loops over experts that were unrolled: a search for the rows of each expert,
/// its network, a sum over experts (ExpertsLoops.cpp).
void raiseLoops(mlir::func::FuncOp func, RaiseContext &context);

/// Rows sorted by expert and cut into groups (ExpertsSorted.cpp).
void raiseSorted(mlir::func::FuncOp func, RaiseContext &context);

/// A fixed number of places for each expert (GShard, V-MoE, Tutel).
void raiseExpertsWithCapacity(mlir::func::FuncOp func, RaiseContext &context);
/// Experts that choose their tokens.
void raiseExpertsThatChoose(mlir::func::FuncOp func, RaiseContext &context);
/// Experts whose rows are mixtures of tokens (SoftMoE).
void raiseSoftExperts(mlir::func::FuncOp func, RaiseContext &context);

/// Products with a bank of all experts: gathered by ids, or dense.
void raiseBanks(mlir::func::FuncOp func, RaiseContext &context);

/// Experts with products of their own that all run on all tokens.
void raiseParallel(mlir::func::FuncOp func, RaiseContext &context);

} // namespace moe

#endif // MOE_PASSES_RAISE_RAISEEXPERTS_H
