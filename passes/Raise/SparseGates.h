//===- SparseGates.h - gates that are zero for most experts -----*- C++ -*-===//
//
// Where every expert runs on every token, the experts that a token did not pick
// have the weight 0: weights of the picked ones were scattered into zeros,
// perhaps before a function (`Sigmoid` of what is -inf elsewhere). This finds
// the ids and the weights in front of the scatter.
//
//===----------------------------------------------------------------------===//
#ifndef MOE_PASSES_RAISE_SPARSEGATES_H
#define MOE_PASSES_RAISE_SPARSEGATES_H

#include "mlir/IR/Builders.h"
#include "passes/Raise/FeedForward.h"

namespace moe {

/// Weights [.., k] of the experts `ids` [.., k]; all others are 0.
class SparseGates {
public:
  /// Reads gates [.., experts].
  static std::optional<SparseGates> match(mlir::Value gates);

  mlir::Value getIds() const { return ids; }
  /// Makes the weights before the insertion point.
  mlir::Value makeWeights(mlir::OpBuilder &b, mlir::Location loc) const;

private:
  struct Node {
    enum Kind { Number, Updates, Dense, PerToken, Operator } kind;
    mlir::Value value;
    mlir::Operation *op = nullptr;
    llvm::SmallVector<int, 3> operands;
    /// What it is for experts that are not among the ids, where that is known.
    std::optional<double> elsewhere;
  };

  std::optional<int> read(mlir::Value value);
  std::optional<int> readScatter(mlir::Operation *op);
  std::optional<int> readOneHot(mlir::Operation *op);
  std::optional<int> readOperator(mlir::Operation *op);
  bool setIds(mlir::Value value, bool mayRepeat);
  int add(Node node) {
    nodes.push_back(std::move(node));
    return nodes.size() - 1;
  }

  mlir::Value gates, ids;
  bool idsMayRepeat = false;
  llvm::SmallVector<Node, 8> nodes;
};

/// Ids [.., k] that count from 0, where negative ones count from the end in the
/// model.
mlir::Value wrapNegativeIds(mlir::OpBuilder &b, mlir::Location loc,
                            mlir::Value ids, int64_t experts);

/// All experts for each row of `weights` [.., experts], in their order.
mlir::Value makeAllIds(mlir::OpBuilder &b, mlir::Location loc,
                       mlir::Value weights);

/// A constant number of a type; integers [n]; the extents of a value.
mlir::Value makeNumber(mlir::OpBuilder &b, mlir::Location loc,
                       mlir::Type element, double value);
mlir::Value makeInts(mlir::OpBuilder &b, mlir::Location loc,
                     llvm::ArrayRef<int64_t> values);
mlir::Value makeShape(mlir::OpBuilder &b, mlir::Location loc, mlir::Value of);

/// Whether an expert gives 0 for a row of zeros.
bool isZeroAtZero(const FeedForward &network);

/// Whether the ids of a token (along the last axis) differ.
bool areDistinct(mlir::Value ids);

/// Whether ids are taken from the indices of a NonZero: the experts of a loop
/// over those that were hit.
bool areFromHits(mlir::Value ids);

/// Whether no element of an integer tensor is negative.
bool isNonNegative(mlir::Value ids);

} // namespace moe

#endif // MOE_PASSES_RAISE_SPARSEGATES_H
