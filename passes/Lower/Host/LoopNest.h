//===- LoopNest.h - loops of one linalg operation ---------------*- C++ -*-===//
//
// How the iteration space of a linalg operation on buffers is divided among
// loops and tasks. Private to moe-linalg-to-rt.
//
//===----------------------------------------------------------------------===//
#ifndef MOE_PASSES_LOWER_HOST_LOOPNEST_H
#define MOE_PASSES_LOWER_HOST_LOOPNEST_H

#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/IR/Builders.h"

namespace moe {

/// A half-open range of loop indices.
struct IndexRange {
  mlir::Value begin, end;
};

/// The loops of a linalg operation whose named dimensions have these roles:
/// `outer` parallel dimensions, which are numbered in one sequence; `row`, the
/// second innermost and `column`, the innermost parallel one (-1 if there are
/// not as many); `sequential` ones, reductions first to last.
class LoopNest {
public:
  /// How the innermost loops are formed.
  enum class Form {
    /// One element of the result after the other.
    Scalar,
    /// Vectors along `column`, accumulators in registers over the reduction.
    Columns,
    /// Vectors along the innermost reduction, rows by columns of accumulators.
    Dot,
  };

  LoopNest(mlir::linalg::LinalgOp op, unsigned vectorBits);

  /// Emits the loops over part of the iteration space: `outer` numbers the
  /// outer dimensions (row-major), all extents are from `extents`.
  void emit(mlir::OpBuilder &builder, IndexRange outer, IndexRange rows,
            IndexRange columns, mlir::ArrayRef<mlir::Value> extents) const;

  /// Mutable because the interface of linalg operations has no const methods.
  mutable mlir::linalg::LinalgOp op;
  mlir::SmallVector<unsigned> outer;
  int row = -1;
  int column = -1;
  mlir::SmallVector<unsigned> sequential;
  /// Whether no output moves along a sequential dimension, so that values can
  /// be carried through those loops.
  bool accumulates = true;
  Form form = Form::Scalar;
  /// Elements of a vector, rows and vectors of a tile of accumulators.
  unsigned lanes = 1, tileRows = 1, tileVectors = 1;

private:
  /// The loop that runs fastest in an operand, its stride along `dim`.
  enum class Stride { Zero, One, Other };
  Stride getStride(mlir::OpOperand &operand, unsigned dim) const;

  bool canVectorise(unsigned dim) const;
  void chooseForm(unsigned vectorBits);

  /// Emits a tile of `numRows` rows at `indices[row]` by `numColumns` columns
  /// or vectors of columns at `indices[column]`.
  void emitTile(mlir::OpBuilder &builder,
                mlir::SmallVector<mlir::Value> indices, unsigned numRows,
                unsigned numColumns, bool vector,
                mlir::ArrayRef<mlir::Value> extents) const;
  void emitColumns(mlir::OpBuilder &builder,
                   mlir::SmallVector<mlir::Value> indices, unsigned numRows,
                   IndexRange columns,
                   mlir::ArrayRef<mlir::Value> extents) const;
  mlir::SmallVector<mlir::Value>
  emitPayload(mlir::OpBuilder &builder, mlir::ArrayRef<mlir::Value> indices,
              mlir::ValueRange accumulators, int vectorDim) const;
  mlir::Value load(mlir::OpBuilder &builder, mlir::OpOperand &operand,
                   mlir::ArrayRef<mlir::Value> indices, int vectorDim) const;
  void store(mlir::OpBuilder &builder, mlir::OpOperand &operand,
             mlir::ArrayRef<mlir::Value> indices, mlir::Value value) const;
};

} // namespace moe

#endif // MOE_PASSES_LOWER_HOST_LOOPNEST_H
