//===- RaiseTokens.h - what the forms of token passes share -------*- C++
//-*-===//
//
// Internal to moe-raise-tokens: one run on a function. Forms replace nodes and
// leave what they no longer need where it is.
//
//===----------------------------------------------------------------------===//
#ifndef MOE_PASSES_RAISE_RAISETOKENS_H
#define MOE_PASSES_RAISE_RAISETOKENS_H

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/IR/PatternMatch.h"
#include "passes/Raise/TokenNodes.h"
#include "llvm/ADT/MapVector.h"

namespace moe {

class TokenContext : private mlir::RewriterBase::Listener {
public:
  TokenContext(mlir::func::FuncOp func)
      : func(func), rewriter(func.getContext(), this) {}

  mlir::func::FuncOp func;

  mlir::RewriterBase &getRewriter() { return rewriter; }
  void noteRaised() { ++numRaised; }
  unsigned getNumRaised() const { return numRaised; }

  /// Notes which rule `anchor` broke, once; forgotten if it is raised after
  /// all.
  void noteMissed(mlir::Operation *anchor, const TokenRefusal &refusal);
  /// Emits what was missed and is still there; returns how many that were.
  unsigned emitRemarks(llvm::StringRef pass);

  /// All nodes with one of some names (onnx.Gather), in order.
  llvm::SmallVector<mlir::Operation *>
  getNodes(llvm::ArrayRef<llvm::StringRef> names);
  void eraseDead();

private:
  void notifyOperationErased(mlir::Operation *op) override;

  mlir::IRRewriter rewriter;
  unsigned numRaised = 0;
  llvm::MapVector<mlir::Operation *, TokenRefusal> missed;
};

/// Tokens merged in pairs (ToMe). In RaiseMerge.cpp.
void raiseMerges(TokenContext &context);
/// Whether a value is the product of even and odd tokens that such a merge
/// matches by, the row of the class token replaced or not.
bool isSimilarityOfHalves(mlir::Value scores);
/// Tokens that a TopK chooses, and tokens put back. In RaiseSelections.cpp.
void raiseSelections(TokenContext &context);
/// Tokens that a condition or a constant chooses. In RaiseConditions.cpp.
void raiseConditions(TokenContext &context);

} // namespace moe

#endif // MOE_PASSES_RAISE_RAISETOKENS_H
