//===- Pairs.h - which expert gets which slots of which tokens --*- C++ -*-===//
//
// Exported loops over experts find the rows of an expert by a search:
//
//   mask = OneHot(ids, E)                      [tokens, slots, E]
//   pair = NonZero(mask[.., e])                [2, n]: coordinates of its slots
//   rows = Gather(x, pair[token])
//   w    = Gather(Flatten(weights), pair[token] * k + pair[slot])
//
// Spellings differ without end: one-hot or comparison, any order of axes, a
// column by Split, Slice or Gather, coordinates one by one or as one number.
// All of them become one thing here: the number of an element in row-major
// order, as a linear form in the coordinates of a pair.
//
//===----------------------------------------------------------------------===//
#ifndef MOE_PASSES_RAISE_PAIRS_H
#define MOE_PASSES_RAISE_PAIRS_H

#include "lib/Analysis/DimExpr.h"
#include "mlir/IR/Operation.h"
#include "mlir/IR/Value.h"
#include "passes/Raise/View.h"
#include "llvm/ADT/DenseMap.h"
#include <map>
#include <memory>
#include <optional>
#include <string>

namespace moe {

/// Axes of a base value.
using AxisList = llvm::SmallVector<int64_t, 2>;

/// The base axes that axis i of a view walks, each as a whole; nullopt if it
/// repeats or takes an axis apart.
std::optional<AxisList> getWholeAxes(const View &view, unsigned i);

/// One element of a vector.
struct VectorElement {
  mlir::Value vector;
  int64_t index = 0;
};

/// The element that a value with extents of 1 is, by Gather, Slice or Split
/// with a constant index.
std::optional<VectorElement> matchVectorElement(mlir::Value value);

/// What decides about pairs: integers, and perhaps a condition.
struct Choice {
  /// The number of an expert for each slot; -1 or anything else that is none
  /// picks nothing.
  mlir::Value ids;
  /// Null, or [extents of ids.., depth] of bool: a slot counts only where its
  /// expert has true (the capacity of experts).
  mlir::Value keep;

  friend bool operator==(const Choice &a, const Choice &b) {
    return a.ids == b.ids && a.keep == b.keep;
  }
};

/// A tensor that is 1 (true) where ids pick an expert and 0 elsewhere.
struct ExpertMask {
  Choice choice;
  /// Experts that it has room for.
  int64_t depth = 0;
  /// Whether ids of -depth.. -1 count from the end, as OneHot takes them.
  bool wraps = false;
  /// The axis of experts, and for each axis the axes of ids that it walks.
  int64_t expertAxis = 0;
  llvm::SmallVector<AxisList> axes;
  /// Axes of ids that are gone: any slot along them counts.
  AxisList reduced;
};

/// The slots of one expert, found by a NonZero.
struct ExpertPairs {
  mlir::Operation *nonZero = nullptr;
  Choice choice;
  int64_t depth = 0;
  bool wraps = false;
  /// The expert: a constant, or (-1) element `hit` of the list of experts that
  /// have slots at all, which `hits`, a Split into `numHits` parts, gives.
  int64_t expert = -1;
  mlir::Operation *hits = nullptr;
  int64_t hit = -1, numHits = 0;
  /// For each coordinate (row of the result) the axes of ids that it walks.
  llvm::SmallVector<AxisList> rows;
  /// Axes of ids without a coordinate: pairs are tokens with the expert in any
  /// slot along them.
  AxisList reduced;
};

/// A number for each pair: the sum of coefficients times coordinates.
struct LinearForm {
  mlir::Operation *nonZero = nullptr;
  llvm::SmallVector<DimExpr> coefficients;
};

/// The elements of a tensor that pairs pick, as rows [n, ..].
struct PickedRows {
  /// What is picked from, behind all views.
  mlir::Value base;
  /// The number of the picked element, counted over the leading axes of base.
  LinearForm form;
  /// How many axes of base are behind those.
  int64_t numFeatureAxes = 0;
};

/// Reads such graphs. Remembers what it found of a mask, which all experts of a
/// layer use.
class PairMatcher {
public:
  explicit PairMatcher(DimContext &dims) : dims(dims) {}

  /// The mask that a value is, or null.
  const ExpertMask *getMask(mlir::Value value);

  /// Notes a NonZero. Those of equal masks find the same in the same order: the
  /// first that was noted stands for all.
  void noteSearch(mlir::Operation *nonZero);

  /// The pairs that a NonZero finds, or null.
  const ExpertPairs *getPairs(mlir::Operation *nonZero);

  /// A value with one number for each pair, in any shape.
  std::optional<LinearForm> matchForm(mlir::Value value);

  /// Rows that Gather, GatherND or the like pick by coordinates of pairs:
  /// `value` is [n, features..] with the features of base in order.
  std::optional<PickedRows> matchPicked(mlir::Value value);

  /// The number of the rows that index operand `indices` ([n, columns]) of
  /// GatherND or ScatterND names in `data`, which is looked through up to
  /// `stop`.
  std::optional<PickedRows> matchIndexed(mlir::Value data, mlir::Value indices,
                                         mlir::Value stop = {});

  /// The same for rows of `data` along one axis.
  std::optional<PickedRows> matchIndexedAxis(mlir::Value data, int64_t axis,
                                             mlir::Value index,
                                             mlir::Value stop = {});

  /// The rows of a tensor of rank `rank` that `indices` names element by
  /// element (all coordinates of a mask of rows that is expanded along the
  /// features), as a form of the mask's own coordinates.
  std::optional<LinearForm> matchMaskedRows(mlir::Value data,
                                            mlir::Value indices);

  /// [.., E] of which `column` is the one of the expert of these pairs.
  mlir::Value matchColumnOf(mlir::Value column, const ExpertPairs &pairs);

  /// Whether a value is the id of the expert of these pairs, as a scalar or
  /// with extents of 1.
  bool isExpertOf(mlir::Value value, const ExpertPairs &pairs);

  /// Extents of a value from axis `from` to (excluding) `to`, multiplied.
  DimExpr getProduct(mlir::Value value, int64_t from, int64_t to);

private:
  struct Single {
    mlir::Value list;
    int64_t index = 0, count = 0;
    mlir::Operation *split = nullptr;
  };

  std::optional<ExpertMask> computeMask(mlir::Value value);
  std::optional<ExpertMask> computeHot(mlir::Value hot);
  std::optional<ExpertMask> matchEqual(mlir::Operation *op);
  std::optional<ExpertMask> matchOneHot(mlir::Operation *op);
  std::optional<ExpertMask> matchProduct(mlir::Operation *op);
  bool readIds(mlir::Value value, ExpertMask &mask);
  std::optional<ExpertPairs> computePairs(mlir::Operation *nonZero);
  bool selectExpert(mlir::Value selected, ExpertPairs &pairs,
                    llvm::SmallVectorImpl<AxisList> &axes);
  std::optional<ExpertMask> matchReduced(mlir::Operation *op);
  std::optional<ExpertMask> matchScattered(mlir::Operation *op);
  bool selectBehind(mlir::Value value, ExpertPairs &pairs,
                    llvm::SmallVectorImpl<AxisList> &axes);
  bool reduceIds(mlir::Operation *reduce, ExpertPairs &pairs,
                 llvm::SmallVectorImpl<AxisList> &axes);
  mlir::Operation *findSearch(mlir::Value mask, int64_t numAxes);
  bool compareIds(mlir::Operation *equal, ExpertPairs &pairs,
                  llvm::SmallVectorImpl<AxisList> &axes);
  std::optional<Single> matchHit(mlir::Value value);
  bool isHitList(mlir::Value list, const ExpertMask &mask);
  std::optional<LinearForm> matchCoordinate(mlir::Value value);
  std::optional<llvm::SmallVector<LinearForm>> matchColumns(mlir::Value value);
  std::optional<PickedRows>
  makePicked(mlir::Value data,
             llvm::ArrayRef<std::pair<int64_t, LinearForm>> by,
             mlir::Value stop);

  DimContext &dims;
  llvm::DenseMap<mlir::Value, std::unique_ptr<ExpertMask>> masks;
  llvm::DenseMap<mlir::Operation *, std::unique_ptr<ExpertPairs>> pairs;
  /// By the base of a mask and the axes of it.
  std::map<std::pair<void *, std::string>, mlir::Operation *> searches;
};

} // namespace moe

#endif // MOE_PASSES_RAISE_PAIRS_H
