//===- QueueDims.h - what axes of tensors over slots run over ---*- C++ -*-===//
//
// Masks and buffers of a layer with a capacity have axes of tokens, of slots,
// of experts and of places, in any order and any grouping. Dims say which: so
// the axes of two tensors can be compared, whatever moved them.
//
//===----------------------------------------------------------------------===//
#ifndef MOE_PASSES_RAISE_QUEUEDIMS_H
#define MOE_PASSES_RAISE_QUEUEDIMS_H

#include "lib/Analysis/DimExpr.h"
#include "mlir/IR/Operation.h"
#include "passes/Raise/View.h"
#include <optional>

namespace moe {

/// What a part of an axis runs over. For slots: every `stride`th element of an
/// axis of the ids, `extent` of them.
struct QueueDim {
  enum class Kind { Slot, Expert, Place, Feature, Repeat } kind;
  int64_t axis = 0;
  DimExpr stride, extent;
  /// Slots in the order that a permutation of tokens gives.
  bool sorted = false;
};
bool operator==(const QueueDim &a, const QueueDim &b);
inline bool operator!=(const QueueDim &a, const QueueDim &b) {
  return !(a == b);
}
/// Outermost first, extents other than 1.
using QueueDims = llvm::SmallVector<QueueDim, 0>;
using QueueAxes = llvm::SmallVector<QueueDims, 4>;

/// Neighbouring parts of one axis become one, repeats go.
QueueDims canonical(llvm::ArrayRef<QueueDim> dims);
QueueDims flatten(llvm::ArrayRef<QueueDims> axes);
DimExpr extentOf(llvm::ArrayRef<QueueDim> dims);
/// Whether elements do not depend on where along the axis they are (or it has
/// extent 1).
bool isRepeated(const QueueDims &axis);
bool isOnly(const QueueDims &axis, QueueDim::Kind kind);
/// Takes `dims` apart along `extents`: the dims that each of them consists of.
std::optional<QueueAxes> align(llvm::ArrayRef<DimExpr> extents,
                               llvm::ArrayRef<QueueDim> dims);
/// The dims of the view's base, if those of its own axes are `axes`.
std::optional<QueueAxes> dimsOfBase(const View &view,
                                    llvm::ArrayRef<QueueDims> axes);
/// The dims of the view's axes, if those of its base are `axes`.
std::optional<QueueAxes> dimsOfView(const View &view,
                                    llvm::ArrayRef<QueueDims> axes);
/// What is in front of `back` in `dims`, if it ends in it.
std::optional<QueueDims> takeSuffix(llvm::ArrayRef<QueueDim> dims,
                                    llvm::ArrayRef<QueueDim> back);

/// Two operands whose elements are multiplied and summed over the letters that
/// the output lacks: Einsum, MatMul. Axes of extent 1 have the letter -1.
struct TermProduct {
  mlir::Operation *op = nullptr;
  llvm::SmallVector<mlir::Value, 3> operands;
  llvm::SmallVector<llvm::SmallVector<int, 4>, 3> letters;
  llvm::SmallVector<int, 4> output;
  /// Of Gemm, which adds it.
  mlir::Value bias;
};
/// Whether an axis has extent 1.
bool isUnit(mlir::Value value, unsigned axis);
std::optional<TermProduct> matchTermProduct(mlir::Operation *op);

} // namespace moe

#endif // MOE_PASSES_RAISE_QUEUEDIMS_H
