//===- Rows.h - what routers do row by row ----------------------*- C++ -*-===//
//
// A router treats each token (or, where experts choose, each expert) on its
// own: score a row, find its best elements, weight them. That is a chain of
// short loops over one row, so it is written as code on buffers inside of one
// parallel loop over rows. What is computed for a row depends on that row
// alone: its bits are the same in any batch and for any number of threads.
//
//===----------------------------------------------------------------------===//
#ifndef MOE_PASSES_LOWER_MOETOLINALG_ROWS_H
#define MOE_PASSES_LOWER_MOETOLINALG_ROWS_H

#include "passes/Lower/ONNXToLinalg/Loops.h"

namespace moe::lower {

/// How rows are divided into tasks. Follows from extents alone.
struct RowTasks {
  OpFoldResult rows, perTask, count;
};

/// Tasks for `rows` rows of about `work` scalar operations each.
RowTasks planRows(FunctionLowering &l, OpFoldResult rows, OpFoldResult work);

/// Runs `body(row, task)` for all rows; tasks run in parallel. The body works
/// on buffers: it reads no tensor, allocates nothing and checks nothing. What
/// it needs for itself it finds at `task` in buffers with `tasks.count` rows.
void forRows(FunctionLowering &l, const RowTasks &tasks,
             llvm::function_ref<void(Value row, Value task)> body);

/// A row of a buffer whose leading indices are fixed.
struct Row {
  FunctionLowering &l;
  Value buffer;
  SmallVector<Value> at;

  Value load(Value i) const;
  void store(Value i, Value v) const;
};

/// Scalar arithmetic in one float type.
struct Scalars {
  FunctionLowering &l;
  Type type;

  Value constant(double value) const { return l.scalar(type, value); }
  Value infinity(bool negative) const;
  Value add(Value x, Value y) const;
  Value sub(Value x, Value y) const;
  Value mul(Value x, Value y) const;
  Value div(Value x, Value y) const;
  Value exp(Value x) const;
  Value sqrt(Value x) const;
  Value abs(Value x) const;
  /// The greater one; NaN if one of them is.
  Value max(Value x, Value y) const;
  Value compare(mlir::arith::CmpFPredicate predicate, Value x, Value y) const;
  /// Of a buffer's element, whatever float type that has.
  Value widen(Value x) const;
};

/// Adds up `term(i)` for i in [0, count), in this order.
Value sumOf(const Scalars &s, OpFoldResult count,
            llvm::function_ref<Value(Value i)> term);
/// The greatest of `term(i)`; NaN if one of them is, -inf if there are none.
Value maxOf(const Scalars &s, OpFoldResult count,
            llvm::function_ref<Value(Value i)> term);
void forElements(FunctionLowering &l, OpFoldResult count,
                 llvm::function_ref<void(Value i)> body);
/// Softmax of `from` into `to`, which may be the same row.
void softmaxRow(const Scalars &s, OpFoldResult count, const Row &from,
                const Row &to);

/// The best elements of a row, in descending order; NaN comes before numbers.
///
/// Up to 64 are kept in order during one walk along the row: most elements cost
/// one comparison with the worst one kept. More are sorted by merging. Of equal
/// elements the one with the lower index comes first, or that with the higher
/// one if `highest`.
class BestOfRow {
public:
  /// At most `most` elements are asked for; rows have at most `extent`.
  /// Allocates the scratch of all tasks.
  BestOfRow(FunctionLowering &l, const RowTasks &tasks, Type type, int64_t most,
            OpFoldResult extent, bool highest);

  /// Finds the best ones of `count` elements. `element` is called within loops.
  void find(Value task, OpFoldResult count,
            llvm::function_ref<Value(Value i)> element);
  /// The index of the element of a rank below both `most` and the `count` of
  /// the last find().
  Value number(Value task, Value rank);

private:
  void keepBest(Value task, OpFoldResult count,
                llvm::function_ref<Value(Value i)> element);
  void insert(Value task, Value element, Value number, Value slot);
  /// Index of the i-th element of a walk that meets the first of equals first.
  Value walked(Value i, OpFoldResult count);

  FunctionLowering &l;
  int64_t most;
  bool highest;
  /// [tasks, most], or without values and [tasks, 2, extent] for sorting.
  Value values, numbers;
};

} // namespace moe::lower

#endif // MOE_PASSES_LOWER_MOETOLINALG_ROWS_H
