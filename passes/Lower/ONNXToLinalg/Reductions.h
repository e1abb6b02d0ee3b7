//===- Reductions.h - sums and extrema over dims of a tensor ----*- C++ -*-===//
//
// What reductions, softmax, normalisations and global pooling have in common.
//
//===----------------------------------------------------------------------===//
#ifndef MOE_PASSES_LOWER_ONNXTOLINALG_REDUCTIONS_H
#define MOE_PASSES_LOWER_ONNXTOLINALG_REDUCTIONS_H

#include "passes/Lower/ONNXToLinalg/Lowering.h"

namespace moe::lower {

/// The type in which elements are computed with: f32 for f16 and bf16,
/// otherwise the element type itself.
Type getComputeType(Type element);

/// A scalar as a floating-point number of type `type`: conversion between
/// float types, or of an integer by its value.
Value toFloat(mlir::OpBuilder &b, Location loc, Value v, Type type,
              bool isUnsigned = false);

/// How two numbers become one.
enum class Combine { Sum, Product, Max, Min };

/// Combines two scalars. Max and Min of floats propagate NaN; of bools they
/// are "or" and "and".
Value combine(mlir::OpBuilder &b, Location loc, Combine kind, Value x, Value y,
              bool isUnsigned = false);

/// The scalar that `kind` leaves other values alone with.
Value getIdentity(FunctionLowering &lowering, Combine kind, Type type,
                  bool isUnsigned = false);

/// A tensor some of whose dims are reduced.
class Reduction {
public:
  /// `shape` are the extents of `tensor`, `reduced` tells which dims go.
  Reduction(FunctionLowering &lowering, Value tensor,
            ArrayRef<OpFoldResult> shape, ArrayRef<bool> reduced);

  /// Combines `term(element, perRow...)` over the reduced dims. `perRow` are
  /// tensors with the extents of the other dims, in their order; so is the
  /// result, whose elements have type `type`, that of the terms.
  Value fold(Combine kind, Type type, BodyFn term, ValueRange perRow = {},
             bool isUnsigned = false);
  /// Pointwise computation on `(element, perRow...)`, of all elements.
  Value map(Type element, BodyFn body, ValueRange perRow = {});
  /// Pointwise computation on tensors with the extents of the kept dims.
  Value mapRows(Type element, ValueRange operands, BodyFn body);
  /// A per-row tensor with extents 1 in place of the reduced dims.
  Value keepDims(Value perRow);
  /// Number of elements that become one.
  OpFoldResult count() const { return numReduced; }
  /// That number as a scalar of a float type.
  Value countAs(Type floatType);
  /// The map that reads a per-row tensor from loops over all dims.
  mlir::AffineMap rowMap() const;

  /// Mean of `term`s, in a floating-point type.
  Value mean(Type type, BodyFn term, ValueRange perRow = {});

private:
  FunctionLowering &l;
  Value tensor;
  Extents shape;
  SmallVector<bool> reduced;
  Extents kept;
  OpFoldResult numReduced;
};

} // namespace moe::lower

#endif // MOE_PASSES_LOWER_ONNXTOLINALG_REDUCTIONS_H
