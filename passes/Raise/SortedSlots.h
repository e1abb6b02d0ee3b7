//===- SortedSlots.h - slots in the order of their experts ------*- C++ -*-===//
//
// Grouped products sort the slots of all tokens by expert, so that the rows of
// an expert lie together:
//
//   sorted, perm = TopK(flat ids, all of them, smallest first)
//   rows   = Gather(x, perm / k)
//   ends   = CumSum(how often each id occurs)
//   group  = rows[ends[e-1] : ends[e]]           expert e
//
// This file knows which values are places in that order, counts of ids and
// bounds of groups. Histograms are proven by computing what happens to each id:
// exporters count ids as floats, in bins.
//
//===----------------------------------------------------------------------===//
#ifndef MOE_PASSES_RAISE_SORTEDSLOTS_H
#define MOE_PASSES_RAISE_SORTEDSLOTS_H

#include "passes/Raise/Pairs.h"

namespace moe {

/// All ids in ascending order.
struct SlotSort {
  mlir::Operation *topK = nullptr;
  /// Ids in the order of slots; as many as are sorted.
  mlir::Value ids;
  /// [S]: the number of the slot at each place; the ids.
  mlir::Value perm, sorted;
  DimExpr count;
};

/// A number for each place.
struct PlaceIndex {
  enum class Kind {
    Slot,   ///< of the slot
    Token,  ///< of its token: slot / divisor
    Inverse ///< of the place of the slot with this number
  };
  const SlotSort *sort = nullptr;
  Kind kind = Kind::Slot;
  int64_t divisor = 1;
};

/// Rows of one expert, which lie together.
struct GroupRows {
  const SlotSort *sort = nullptr;
  mlir::Value all;
  int64_t expert = 0;
};

class SortMatcher {
public:
  explicit SortMatcher(DimContext &dims) : dims(dims), masks(dims) {}

  /// The sort whose permutation a value is.
  const SlotSort *getSort(mlir::Value perm);
  /// The sort that a TopK is, or null.
  const SlotSort *getSort(mlir::Operation *topK);

  /// A value with one index for each place, in any shape.
  std::optional<PlaceIndex> matchIndex(mlir::Value value);

  /// rows[i] = base[index[i]], by Gather or GatherND along the leading axes of
  /// base, which `index` counts over; `numFeatureAxes` axes stay.
  std::optional<PlaceIndex> matchPicked(mlir::Value rows, mlir::Value &base,
                                        int64_t numFeatureAxes);

  /// The rows of one expert, cut out of all.
  std::optional<GroupRows> matchGroup(mlir::Value value);

  /// Of a group of neighbouring rows: which expert's they are, if the value has
  /// as many rows as there are slots. `begin`, `end`: numbers of the first row
  /// and of the one behind the last.
  std::optional<GroupRows> matchBounds(mlir::Value begin, mlir::Value end);

  /// Looks at a vector that may count ids.
  void noteCounts(mlir::Value value) { (void)getHistogram(value); }

  /// Whether a vector is 0, 1, .., count-1.
  bool countsUp(mlir::Value value, const DimExpr &count);

  /// Looks through nodes that give [S, features] the shape that it has.
  mlir::Value strip(mlir::Value value, const SlotSort *sort);

  /// How many experts a sort's ids are counted for; 0 if they are not.
  int64_t getNumExperts(const SlotSort *sort) const {
    return numExperts.lookup(sort->ids);
  }

  DimExpr getProduct(mlir::Value value, int64_t from, int64_t to) {
    return masks.getProduct(value, from, to);
  }

private:
  /// A vector of n numbers of ids: element i counts those equal to i, or with
  /// `sums` those less than first + i.
  struct Histogram {
    mlir::Value ids;
    int64_t n = 0, first = 0, numExperts = 0;
    bool sums = false;
  };
  /// A number of ids: of those less than `end`, or (`single`) equal to it.
  struct Amount {
    mlir::Value ids;
    int64_t end = 0;
    bool single = false;
    int64_t numExperts = 0;
  };

  std::optional<SlotSort> computeSort(mlir::Operation *topK);
  std::optional<int64_t> matchQuotient(mlir::Value value, mlir::Value &of);
  bool isZeroCorrection(mlir::Value value, mlir::Value of);
  bool isInverse(mlir::Value value, const SlotSort *&sort);

  std::optional<Histogram> getHistogram(mlir::Value value);
  std::optional<Histogram> computeHistogram(mlir::Value value);
  std::optional<Histogram> matchScatteredOnes(mlir::Operation *op);
  std::optional<Histogram> matchMaskSum(mlir::Operation *op);
  std::optional<Histogram> matchEdges(mlir::Operation *op);
  std::optional<Histogram> matchConcat(mlir::Operation *op);
  std::optional<Amount> getAmount(mlir::Value value);
  std::optional<Amount> computeAmount(mlir::Value value);
  /// The ids that a value is a function of, element by element, where the
  /// function keeps 0 .. n-1 as they are.
  mlir::Value matchSameIds(mlir::Value value, int64_t n);
  mlir::Value getIds(mlir::Value value);
  std::optional<double> evaluate(mlir::Value value, mlir::Value at, double x);

  DimContext &dims;
  PairMatcher masks;
  llvm::DenseMap<mlir::Operation *, std::unique_ptr<SlotSort>> sorts;
  llvm::DenseMap<mlir::Value, std::optional<Histogram>> histograms;
  llvm::DenseMap<mlir::Value, std::optional<Amount>> amounts;
  llvm::DenseMap<mlir::Value, int64_t> numExperts;
  llvm::DenseMap<mlir::Value, const SlotSort *> sortOfIds;
};

} // namespace moe

#endif // MOE_PASSES_RAISE_SORTEDSLOTS_H
