//===- AttentionMasks.h - what a mask of attention hides --------*- C++ -*-===//
//
// Exporters compute masks from positions: a key is visible if its number is not
// greater than the query's, if it is not padding, if it is not too far back.
// What only depends on the two numbers becomes an attribute of moe.attention,
// the rest stays a mask. Private to moe-raise-attention.
//
//===----------------------------------------------------------------------===//
#ifndef MOE_PASSES_RAISE_ATTENTIONMASKS_H
#define MOE_PASSES_RAISE_ATTENTIONMASKS_H

#include "dialects/MoE/MoEDialect.h"
#include "lib/Analysis/DimExpr.h"
#include "mlir/IR/Value.h"
#include "llvm/ADT/SmallVector.h"
#include <optional>

namespace moe {

/// The scores that masks are for: [.., S, L], rank 3 or 4.
struct ScoreDims {
  int64_t rank;
  /// S is dim `rank - 2` of the queries, L is dim `keyDim` of the keys.
  mlir::Value query, key;
  int64_t keyDim;
};

/// What is known of the visible keys.
struct Visible {
  ir::Causal causal = ir::Causal::None;
  std::optional<int64_t> window;
  /// Conditions that are none of these; all of them must hold.
  llvm::SmallVector<mlir::Value, 2> terms;
};

class MaskReader {
public:
  MaskReader(DimContext &dims, const ScoreDims &scores);

  /// Adds what a bool tensor that broadcasts to the scores says; it holds where
  /// its elements are `truth`.
  /// Returns false if a term that is no attribute would have to be negated.
  bool read(mlir::Value mask, bool truth, Visible &visible);

  /// Whether a float tensor is 0 where a key is visible and one very low number
  /// elsewhere: adds what it says and returns the number.
  std::optional<double> readAddend(mlir::Value addend, Visible &visible);

  /// Numbers that make a score vanish beside any other one, and swallow what
  /// they are added to.
  static bool isLow(double number, mlir::Type element);

private:
  /// row * i + column * j + offset, for query i and key j.
  struct Grid {
    int64_t row = 0, column = 0;
    DimExpr offset;
  };
  std::optional<Grid> readGrid(mlir::Value value, mlir::ArrayRef<int64_t> axes,
                               unsigned depth);
  std::optional<Grid> readBinary(mlir::Operation *op,
                                 mlir::ArrayRef<int64_t> axes, bool subtract,
                                 unsigned depth);
  std::optional<Grid> readConstant(mlir::Value value,
                                   mlir::ArrayRef<int64_t> axes);
  bool place(mlir::Value value, unsigned dim, int64_t axis, Grid &grid);
  bool readComparison(mlir::Value mask, bool truth, Visible &visible,
                      bool &isAlways);
  bool addDifference(const Grid &difference, bool &isAlways, Visible &visible);
  bool readTriangle(mlir::Value mask, bool truth, Visible &visible);
  bool spansScores(mlir::Value value);

  DimContext &dims;
  ScoreDims scores;
  DimExpr rows, columns;
};

} // namespace moe

#endif // MOE_PASSES_RAISE_ATTENTIONMASKS_H
