//===- Dims.h - what shape inference left in the IR -------------*- C++ -*-===//
//
// Reads the attributes that `onnx-infer-shapes` writes, so that later stages
// know which run-time extents are equal without inferring again:
//
//   onnx.dims         on an op: per result, the text of each extent that is not
//                     static ("" for static ones); on arguments of a function:
//                     the model's names
//   onnx.arg_dims     on arguments of a private function: texts as on ops
//   onnx.region_dims  on an op with regions: per region, per argument
//   onnx.values       on an op: per result, the elements of a small integer
//                     tensor as texts, "?" for unknown ones; a unit attribute
//                     where nothing is known
//
// Equal texts are equal extents. Texts are canonical (DimExpr.h), so `b*s` and
// `s*b` do not both occur. An extent that depends on data has a symbol of its
// own that starts with '?'.
//
//===----------------------------------------------------------------------===//
#ifndef MOE_LIB_ANALYSIS_DIMS_H
#define MOE_LIB_ANALYSIS_DIMS_H

#include "lib/Analysis/DimExpr.h"
#include "mlir/IR/BuiltinAttributes.h"
#include "mlir/IR/BuiltinTypes.h"
#include "mlir/IR/Value.h"
#include <optional>

namespace moe {

inline constexpr llvm::StringLiteral kArgDimsAttr = "onnx.arg_dims";
inline constexpr llvm::StringLiteral kRegionDimsAttr = "onnx.region_dims";
inline constexpr llvm::StringLiteral kValuesAttr = "onnx.values";

/// One extent: a number, a text, or (neither) nothing that is known. The text
/// lives as long as the MLIRContext.
struct Extent {
  int64_t size = mlir::ShapedType::kDynamic;
  llvm::StringRef text;

  bool isStatic() const { return !mlir::ShapedType::isDynamic(size); }
  bool isKnown() const { return isStatic() || !text.empty(); }
  /// Surely the same; unknown extents equal nothing.
  friend bool operator==(const Extent &a, const Extent &b) {
    return a.isKnown() && a.size == b.size && a.text == b.text;
  }
  friend bool operator!=(const Extent &a, const Extent &b) { return !(a == b); }
};

/// The extents of a ranked tensor; empty for all else. The text of a nameless
/// extent of a function's argument is derived from its position.
llvm::SmallVector<Extent> getDims(mlir::Value value);

/// Extent i of a ranked tensor (unknown if it has no such dimension).
Extent getDim(mlir::Value value, unsigned i);

/// Whether extent i of a and extent j of b are equal in every run.
bool sameExtent(mlir::Value a, unsigned i, mlir::Value b, unsigned j);

/// Whether two ranked tensors have the same extents in every run.
bool sameExtents(mlir::Value a, mlir::Value b);

/// The elements of a small integer tensor, row-major, as extents (constants as
/// `size`, which may be negative here); none if nothing is known of them.
std::optional<llvm::SmallVector<Extent>> getShapeValue(mlir::Value value);

/// The elements of a small integer tensor if all are constants. Also reads
/// constant ops, whatever their form.
std::optional<llvm::SmallVector<int64_t>> getConstantShape(mlir::Value value);

/// The expression that the text of an extent stands for.
DimExpr toExpr(DimContext &context, const Extent &extent);

} // namespace moe

#endif // MOE_LIB_ANALYSIS_DIMS_H
