//===- MoEVerify.h - what the verifiers of moe ops share --------*- C++ -*-===//
//
// Internal to dialects/MoE. Extents that are not known fit everything; messages
// name the operand and both numbers.
//
//===----------------------------------------------------------------------===//
#ifndef MOE_DIALECTS_MOE_MOEVERIFY_H
#define MOE_DIALECTS_MOE_MOEVERIFY_H

#include "mlir/IR/BuiltinAttributes.h"
#include "mlir/IR/BuiltinTypes.h"
#include "mlir/IR/Operation.h"

namespace moe::ir {

/// Extent `i` of a ranked tensor, or kDynamic. Negative `i` counts from the
/// end.
int64_t getExtent(mlir::Value value, int64_t i);

/// Both known and different.
inline bool differ(int64_t a, int64_t b) {
  return !mlir::ShapedType::isDynamic(a) && !mlir::ShapedType::isDynamic(b) &&
         a != b;
}

/// `a` if it is known, else `b`.
inline int64_t known(int64_t a, int64_t b) {
  return mlir::ShapedType::isDynamic(a) ? b : a;
}

/// Extents of a value of an op against what they must be.
class ExtentCheck {
public:
  explicit ExtentCheck(mlir::Operation *op) : op(op) {}

  /// Extent `i` of `value` (null: absent, fine) must be `expected`, the extent
  /// that `of` describes.
  mlir::LogicalResult operator()(llvm::StringRef name, mlir::Value value,
                                 int64_t i, int64_t expected,
                                 const llvm::Twine &of) const;

private:
  mlir::Operation *op;
};

/// The elements of an integer constant, if `value` is one that holds its
/// elements itself.
mlir::DenseIntElementsAttr getConstantIds(mlir::Value value);

/// Elements of a constant `value` must lie in [least, end).
mlir::LogicalResult checkConstantIds(mlir::Operation *op, llvm::StringRef name,
                                     mlir::Value value, int64_t least,
                                     int64_t end);

/// Weights of slots are f64 for tokens or logits in f64, else f32.
mlir::LogicalResult checkWeightType(mlir::Operation *op, mlir::Value weights,
                                    mlir::Value logits);

} // namespace moe::ir

#endif // MOE_DIALECTS_MOE_MOEVERIFY_H
