//===- Slots.h - from the rows of slots to the rows of tokens ---*- C++ -*-===//
//
// A slot is a token at one of its experts. Products of a layer of experts have
// all slots side by side, in some order and in some axes; behind them they are
// weighted and those of a token are summed. The positions of slots are told
// apart by coordinates: one for each axis at first, taken apart where a reshape
// does so ([tokens*k] seen as [tokens, k]).
//
//===----------------------------------------------------------------------===//
#ifndef MOE_PASSES_RAISE_SLOTS_H
#define MOE_PASSES_RAISE_SLOTS_H

#include "passes/Raise/BankProducts.h"

namespace moe {

//===----------------------------------------------------------------------===//
// Runs
//===----------------------------------------------------------------------===//

/// A stretch of positions of one kind, in row-major order.
struct Run {
  enum Kind { Token, Picked, Expert, Repeat, Feature };
  Kind kind;
  DimExpr extent;
};
using Runs = llvm::SmallVector<Run, 4>;

/// Neighbours of one kind become one run; an extent of 1 is none.
void appendRun(Runs &runs, Run::Kind kind, const DimExpr &extent);

/// Whether two orders are the same; extents of features may differ (a half of
/// them is a gate).
bool sameRuns(const Runs &a, const Runs &b);

//===----------------------------------------------------------------------===//
// Coordinates
//===----------------------------------------------------------------------===//

using Coords = llvm::SmallVector<unsigned, 4>;

/// What a value [.., tokens and slots, ..] is multiplied with or picked by:
/// coordinates of each of its axes.
struct SlotValue {
  mlir::Value value;
  llvm::SmallVector<Coords, 4> axes;
};

/// Follows the rows of slots up to the sum over those of a token.
class SlotSum {
public:
  explicit SlotSum(DimContext &dims) : dims(dims) {}

  /// A new coordinate.
  unsigned add(Run::Kind kind, DimExpr extent);
  /// The coordinates of an axis that walks a part of `left`, from its outer
  /// end, which is taken from it; false if extents do not say so.
  bool takeRun(const DimExpr &extent, Coords &left, Coords &taken);
  /// Begins with a value; `order` is what the order of tokens and slots is
  /// taken from.
  void start(mlir::Value value, llvm::SmallVector<Coords, 4> axes,
             Coords order);
  /// What a value that is part of the product is multiplied with.
  void addWeight(SlotValue weight) { weights.push_back(std::move(weight)); }
  /// Coordinates that the product itself sums over.
  void addSummed(Coords coords);

  /// Coordinates as they are by now: where they were taken apart, the parts.
  Coords expand(llvm::ArrayRef<unsigned> coords) const;
  llvm::ArrayRef<unsigned> getOrder() const { return order; }

  /// Takes in all nodes that weight slots, and the one that sums them.
  void run();

  /// The last value that was taken in; [tokens.., features].
  mlir::Value getResult() const { return result; }
  /// The first node that was not taken in, if there is one.
  mlir::Operation *getStop() const { return stop; }
  bool isSummed() const { return !summed.empty(); }
  /// Whether the result has rows of tokens in their order, features last.
  bool isInOrder() const;

  /// The runs of tokens (Token) and what was summed (Repeat), in order.
  Runs getRuns() const;
  /// Runs of kinds, features left out.
  Runs getKinds() const;
  /// Slots of a token: the product of what was summed.
  DimExpr getNumSlots() const;
  llvm::ArrayRef<SlotValue> getWeights() const { return weights; }
  double getFactor() const { return factor; }
  /// Whether the sum is over exactly the coordinate that was added as Expert.
  bool isOverExperts() const;
  /// Whether it is over exactly what was picked; a single one needs no sum.
  bool isOverPicked() const;

  /// A value [tokens.., slots] with the elements of `given`, made before the
  /// insertion point if the graph has none. Null if its axes are others.
  mlir::Value makeNatural(mlir::OpBuilder &b, mlir::Location loc,
                          const SlotValue &given);
  /// The same where the graph has it, else null.
  mlir::Value findNatural(const SlotValue &given);

  /// The product of all weights and the factor as [tokens.., slots]; like `ids`
  /// if there are none. Null with a refusal if they are not one for each slot.
  mlir::Value makeWeights(mlir::OpBuilder &b, mlir::Location loc,
                          mlir::Value ids, Refusal &refusal);

  /// The index of a GatherElements that picked among experts, if there was one.
  std::optional<SlotValue> picked;

private:
  struct Coord {
    Run::Kind kind;
    DimExpr extent;
    /// What it was taken apart into.
    llvm::SmallVector<unsigned, 2> parts;
  };

  Coords flatten(llvm::ArrayRef<Coords> axes) const;
  bool isSummedCoord(unsigned coord) const;
  Coords getTarget() const;

  bool step(mlir::Operation *op);
  bool move(mlir::Value next);
  bool multiply(mlir::Operation *op);
  bool reduce(mlir::Operation *op);
  bool contract(mlir::Operation *op);
  bool pick(mlir::Operation *op);
  bool meets(mlir::Value other, SlotValue &slot);

  DimContext &dims;
  std::vector<Coord> coords;
  Coords order;
  mlir::Value current, result;
  llvm::SmallVector<Coords, 4> axes, resultAxes;
  llvm::SmallVector<SlotValue, 2> weights;
  double factor = 1;
  Coords summed;
  mlir::Operation *stop = nullptr;
};

} // namespace moe

#endif // MOE_PASSES_RAISE_SLOTS_H
