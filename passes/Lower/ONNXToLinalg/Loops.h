//===- Loops.h - sequential loops of a translation to linalg ----*- C++ -*-===//
//
// Loops whose order matters, with values carried from one iteration to the
// next. Carrying a tensor keeps value semantics: bufferisation updates it in
// place where its old content is dead and copies it where it is not.
//
// Extents must be computed in front of a loop: FunctionLowering::dim remembers
// what it computes, and what is computed in a loop does not reach the code
// behind it.
//
//===----------------------------------------------------------------------===//
#ifndef MOE_PASSES_LOWER_ONNXTOLINALG_LOOPS_H
#define MOE_PASSES_LOWER_ONNXTOLINALG_LOOPS_H

#include "passes/Lower/ONNXToLinalg/Lowering.h"

namespace moe::lower {

/// Builds one iteration: takes the carried values, returns the next ones.
using CarryFn = llvm::function_ref<SmallVector<Value>(ValueRange indices,
                                                      ValueRange carried)>;

/// Loops over a shape in row-major order. Returns what the last iteration
/// carried on, `init` if there was none.
SmallVector<Value> forEachCarrying(FunctionLowering &l,
                                   ArrayRef<OpFoldResult> shape,
                                   ValueRange init, CarryFn body);

/// One loop over [lower, upper) in steps of `step`, which is positive.
SmallVector<Value>
forRange(FunctionLowering &l, OpFoldResult lower, OpFoldResult upper,
         OpFoldResult step, ValueRange init,
         llvm::function_ref<SmallVector<Value>(Value index, ValueRange carried)>
             body);

/// Runs `then` if `condition` holds, else `otherwise`; both return values of
/// the same types.
SmallVector<Value> ifElse(FunctionLowering &l, Value condition,
                          mlir::TypeRange types,
                          llvm::function_ref<SmallVector<Value>()> then,
                          llvm::function_ref<SmallVector<Value>()> otherwise);
void ifThen(FunctionLowering &l, Value condition,
            llvm::function_ref<void()> then);

/// Repeats `body` while `condition`, computed from the carried values, holds.
SmallVector<Value>
whileDo(FunctionLowering &l, ValueRange init,
        llvm::function_ref<Value(ValueRange carried)> condition,
        llvm::function_ref<SmallVector<Value>(ValueRange carried)> body);

/// An element of an index tensor as `index`, counted from the back where it is
/// negative. The caller has checked that it is in [-extent, extent).
Value wrapIndex(mlir::OpBuilder &b, Location loc, Value element, Value extent);

/// Checks that all elements of an ONNX index tensor are in [-extent, extent),
/// at compile time where all of it is known.
void checkRange(FunctionLowering &l, Value onnxIndices, OpFoldResult extent,
                const llvm::Twine &message);

/// Whether `x` comes strictly before `y` in an order of numbers: the greatest
/// first if `largest`, otherwise the least. NaN comes first if `nanFirst`, last
/// otherwise, so that the order is total.
Value comesBefore(mlir::OpBuilder &b, Location loc, Value x, Value y,
                  bool largest, bool isUnsigned, bool nanFirst);

/// Sorts the numbers [0, count) so that `before(i, j)` holds for no i behind a
/// j; equal ones stay in order. O(n log n). `scratch` is a buffer of `index`
/// of shape [2, count]. Returns the row (0 or 1) that holds the result.
Value sortNumbers(FunctionLowering &l, Value scratch, Value count,
                  llvm::function_ref<Value(Value i, Value j)> before);

/// Positions.cpp, which is a part of the selections.
void registerPositions(LoweringTable &table);

} // namespace moe::lower

#endif // MOE_PASSES_LOWER_ONNXTOLINALG_LOOPS_H
