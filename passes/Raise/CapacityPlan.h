//===- CapacityPlan.h - from masks of a capacity to moe.capacity *- C++ -*-===//
//
// What the masks and rows of a layer with a capacity say together: which slots
// are kept, in which queues, with which weights. Both forms of such layers end
// here, and the routers whose dispatch is a loop.
//
//===----------------------------------------------------------------------===//
#ifndef MOE_PASSES_RAISE_CAPACITYPLAN_H
#define MOE_PASSES_RAISE_CAPACITYPLAN_H

#include "mlir/IR/PatternMatch.h"
#include "passes/Raise/QueueTerms.h"
#include "passes/Raise/RaiseCheck.h"

namespace moe {

struct CapacityPlan {
  /// Ids of slots as the model has them: of all, or those of first choices, of
  /// second ones, ... one after the other.
  llvm::SmallVector<mlir::Value, 2> ids;
  /// All tokens in the order of the result: sequences, then those of a queue.
  QueueDims sequences, tokens;
  /// The slots of a token; none for a single one.
  QueueDims choices;
  int64_t numExperts = 0;
  /// First choices before second ones.
  bool byChoice = true;
  /// Places of an expert; no value: nothing is dropped.
  std::optional<int64_t> places;
  std::optional<TokenOrder> order;
  /// The factors of the weights that belong to `ids`.
  llvm::SmallVector<llvm::SmallVector<SlotWeight, 2>, 2> weights;
  /// What moe.capacity is computed from (RaiseCheck.h). Set when it is made.
  llvm::SmallVector<RaiseCut> cuts;

  int64_t getNumChoices() const;
};

/// The queues of a term whose result has the tokens `tokens`. Refuses ids that
/// may be none of [0, E).
std::optional<CapacityPlan> planCapacity(const QueueTerm &term,
                                         llvm::ArrayRef<QueueDim> tokens,
                                         std::optional<int64_t> places,
                                         mlir::Operation *at, Refusal &refusal);

/// Writes ids and weights, [.., k], with those of dropped slots -1 and 0,
/// before the builder's insertion point.
struct KeptSlots {
  mlir::Value ids, weights;
};
std::optional<KeptSlots> buildCapacity(mlir::OpBuilder &b, mlir::Location loc,
                                       CapacityPlan &plan, DimContext &dims,
                                       Refusal &refusal);

/// `value`, whose axes run over `axes`, with one axis for each of `groups`.
/// Null if that takes more than a transposition.
mlir::Value arrange(mlir::OpBuilder &b, mlir::Location loc, mlir::Value value,
                    llvm::ArrayRef<QueueDims> axes,
                    llvm::ArrayRef<QueueDims> groups);

/// Whether all elements are known to be 0, positive or NaN.
bool isNonNegative(mlir::Value value, unsigned depth = 0);

/// Whether all elements of `ids` are in [0, experts).
bool areIdsBelow(mlir::Value ids, int64_t experts);

} // namespace moe

#endif // MOE_PASSES_RAISE_CAPACITYPLAN_H
