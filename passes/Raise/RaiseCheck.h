//===- RaiseCheck.h - both sides of a raise, run and compared ---*- C++ -*-===//
//
// A recogniser can be wrong in ways that no rule foresaw. With the check on,
// the nodes that a raise replaces and what it puts in their place are compiled,
// run on the same made-up inputs and compared; a raise that differs is refused.
//
// The nodes of both sides are taken back to `cuts`, values that both read: the
// tokens, ids and weights of a layer of experts. So ids can be drawn as no
// router would: all tokens with the same experts, every expert hit, no token at
// all.
//
//===----------------------------------------------------------------------===//
#ifndef MOE_PASSES_RAISE_RAISECHECK_H
#define MOE_PASSES_RAISE_RAISECHECK_H

#include "mlir/IR/BuiltinOps.h"
#include "mlir/IR/DialectInterface.h"
#include "mlir/IR/Value.h"
#include "llvm/ADT/SmallVector.h"
#include <string>

namespace moe {

/// Where both sides are cut off from the rest of the graph.
struct RaiseCut {
  mlir::Value value;
  /// For integers: numbers below this are drawn, all different along the last
  /// axis if there are enough of them.
  int64_t bound = 0;
};

/// How the elements of inputs of a draw that have a bound are chosen.
enum class RaiseHits { Any, Same, All };

/// One run of both sides: the extents of each argument.
struct RaiseDraw {
  llvm::SmallVector<llvm::SmallVector<int64_t>> shapes;
  RaiseHits hits = RaiseHits::Any;
};

/// Compiles and runs; an interface of dialect `moe` that a tool registers if
/// checks are wanted (lib/Check), so that passes need no code generator.
class RaiseCheckInterface
    : public mlir::DialectInterface::Base<RaiseCheckInterface> {
public:
  RaiseCheckInterface(mlir::Dialect *dialect) : Base(dialect) {}

  /// Runs functions `before` and `after` of the module, which take the same
  /// arguments (with `bounds`) and give one result. False with what differs in
  /// `why`. Draws on which `before` fails do not count.
  virtual bool compare(mlir::ModuleOp module, llvm::ArrayRef<int64_t> bounds,
                       llvm::ArrayRef<RaiseDraw> draws,
                       std::string &why) const = 0;
};

/// Whether `after` may replace `before`: true if checks are off, false with a
/// reason if the two differ.
bool checkRaise(mlir::Value before, mlir::Value after,
                llvm::ArrayRef<RaiseCut> cuts, std::string &why);

} // namespace moe

#endif // MOE_PASSES_RAISE_RAISECHECK_H
