//===- ProfileWork.h - how much work operations are -------------*- C++ -*-===//
#ifndef MOE_PASSES_LOWER_HOST_PROFILEWORK_H
#define MOE_PASSES_LOWER_HOST_PROFILEWORK_H

#include "mlir/IR/Builders.h"
#include "mlir/IR/Value.h"

namespace moe {

/// Whether work of `op` is counted by what the operation means, such as a
/// linalg operation or a product. Of other code it is counted statement by
/// statement, as far as loops have bounds that are known in front of them.
bool hasOwnWork(mlir::Operation *op);

/// Emits the sums of the work of operations on buffers, at the place where
/// `builder` stands: behind the operations, in their block or one inside.
class WorkCounter {
public:
  WorkCounter(mlir::OpBuilder &builder, mlir::Location loc);

  /// Adds the work of `op`: floating-point operations, each element of a
  /// vector for itself, functions as one; bytes of buffers that it reads or
  /// writes, each once. Not added is what is inside of `op` and has work of its
  /// own, and tasks of parallel loops.
  void add(mlir::Operation *op);

  /// The sums as i64.
  mlir::Value getFlops();
  mlir::Value getBytes();

private:
  mlir::Value constant(int64_t value);
  mlir::Value plus(mlir::Value a, mlir::Value b);
  mlir::Value times(mlir::Value a, mlir::Value b);
  mlir::Value extent(mlir::Value buffer, int64_t dim);
  mlir::Value size(mlir::Value buffer);
  mlir::Value sumOf(mlir::Value count,
                    llvm::function_ref<mlir::Value(mlir::Value)> term);
  void addBuffers(mlir::ValueRange buffers);
  void addStatements(mlir::Block &block, mlir::Value trips,
                     mlir::Operation *top);
  void addStatement(mlir::Operation *op, mlir::Value trips,
                    mlir::Operation *top, int64_t &flops, int64_t &bytes);
  std::optional<mlir::Value> countTrips(mlir::Operation *loop,
                                        mlir::Operation *top);
  void addGroupedLinear(mlir::Operation *op);
  void addCombine(mlir::Operation *op);
  void addAttend(mlir::Operation *op);

  mlir::OpBuilder &b;
  mlir::Location loc;
  mlir::Value flops, bytes;
};

} // namespace moe

#endif // MOE_PASSES_LOWER_HOST_PROFILEWORK_H
