//===- View.h - values that only move elements of another -------*- C++ -*-===//
//
// Exporters put reshapes, transposes, repeats and squeezes between all that
// counts. A view says in one piece what a chain of them does: which axes of the
// value behind the chain each axis of its result walks, and in which order.
//
//   x : [tokens, H]              base axes: {a}, {h}
//   Unsqueeze(1), Expand [1,k,1] axes: {a}, {*k}, {h}
//   Reshape [-1, H]              axes: {a, *k}, {h}       each row k times
//
// `*k` is a repeat: the elements do not depend on it. A reshape that takes an
// axis apart takes the factor apart in all places: ids [tokens*k] seen as
// [tokens, k] has base axis {a, b} and axes {a}, {b}.
//
//===----------------------------------------------------------------------===//
#ifndef MOE_PASSES_RAISE_VIEW_H
#define MOE_PASSES_RAISE_VIEW_H

#include "lib/Analysis/DimExpr.h"
#include "mlir/IR/Value.h"
#include "llvm/ADT/SmallVector.h"
#include <optional>

namespace moe {

/// A factor of an axis: a part of a base axis, or a repeat.
struct Factor {
  static constexpr int64_t kRepeat = -1;
  /// Same id, same factor.
  unsigned id;
  /// The axis of the base that it is a part of, or kRepeat.
  int64_t axis;
  DimExpr extent;

  bool isRepeat() const { return axis == kRepeat; }
  friend bool operator==(const Factor &a, const Factor &b) {
    return a.id == b.id;
  }
};

/// Outermost first. Extents of 1 have no factor.
using Factors = llvm::SmallVector<Factor, 2>;

class View {
public:
  /// Looks through Reshape, Flatten, Squeeze, Unsqueeze, Transpose, Expand,
  /// Tile, Identity and casts to the same type (with `throughCasts` all casts),
  /// as far as extents are known, at most to `stop`. What moves nothing is its
  /// own base.
  static View of(mlir::Value value, DimContext &dims, mlir::Value stop = {},
                 bool throughCasts = false);

  mlir::Value getBase() const { return base; }
  unsigned getRank() const { return axes.size(); }
  const Factors &getAxis(unsigned i) const { return axes[i]; }
  /// The factors that a base axis consists of by now.
  const Factors &getBaseAxis(unsigned i) const { return baseAxes[i]; }
  unsigned getBaseRank() const { return baseAxes.size(); }

  /// Whether axis i walks all of the given base axes, the first outermost, and
  /// nothing else. An empty list: axis i has extent 1.
  bool walks(unsigned i, llvm::ArrayRef<int64_t> of) const;
  /// Whether no element depends on axis i (extent 1 counts).
  bool isRepeated(unsigned i) const;
  /// Whether the elements are those of the base in the same row-major order.
  bool keepsOrder() const;
  /// Whether it has the base's axes, in order, without change.
  bool isIdentity() const;

  /// The product of the extents of some factors.
  static DimExpr extentOf(llvm::ArrayRef<Factor> factors);

private:
  bool apply(mlir::Operation *op, DimContext &dims);
  bool reshape(mlir::Value result, DimContext &dims);
  bool expand(mlir::Value result, DimContext &dims);
  bool tile(mlir::Operation *op);
  bool transpose(mlir::Operation *op);
  bool start(mlir::Value value, DimContext &dims);
  Factor makeFactor(int64_t axis, DimExpr extent);
  void split(const Factor &factor, const DimExpr &outer, const DimExpr &inner);

  mlir::Value base;
  llvm::SmallVector<Factors, 4> axes;
  llvm::SmallVector<Factors, 4> baseAxes;
  unsigned nextId = 0;
};

} // namespace moe

#endif // MOE_PASSES_RAISE_VIEW_H
