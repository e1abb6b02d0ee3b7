//===- ShapeInference.h - types and symbolic extents of values --*- C++ -*-===//
#ifndef MOE_LIB_ANALYSIS_SHAPEINFERENCE_H
#define MOE_LIB_ANALYSIS_SHAPEINFERENCE_H

#include "llvm/ADT/StringMap.h"
#include "llvm/Support/LogicalResult.h"

namespace mlir {
class FunctionOpInterface;
} // namespace mlir

namespace moe {

/// Counts of one run.
struct ShapeInferenceStatistics {
  unsigned refined = 0;  ///< results whose type changed
  unsigned symbolic = 0; ///< extents that are expressions over others
  unsigned fresh = 0;    ///< extents with a symbol of their own
  unsigned unranked = 0; ///< results whose rank stays unknown
};

/// Infers the types of all values of a function with ONNX ops, nested regions
/// included, and writes the attributes that Dims.h describes. Types only get
/// more precise, except that a static extent that the model claims gives way
/// where it is known to be a symbol. Running it again changes nothing.
///
/// `bindings` replaces named extents of arguments by numbers. Fails with a
/// diagnostic where an op contradicts its operands or the model its own
/// declarations.
llvm::LogicalResult inferShapes(mlir::FunctionOpInterface function,
                                const llvm::StringMap<int64_t> &bindings,
                                ShapeInferenceStatistics &statistics);

} // namespace moe

#endif // MOE_LIB_ANALYSIS_SHAPEINFERENCE_H
