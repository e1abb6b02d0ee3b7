//===- ExpertNodes.h - nodes around layers of experts -----------*- C++ -*-===//
//
// Small graphs on ids and weights that forms write in front of moe.experts.
//
//===----------------------------------------------------------------------===//
#ifndef MOE_PASSES_RAISE_EXPERTNODES_H
#define MOE_PASSES_RAISE_EXPERTNODES_H

#include "mlir/IR/PatternMatch.h"
#include "passes/Raise/Nodes.h"

namespace moe {

/// Makes nodes before the builder's insertion point.
class ExpertNodes {
public:
  ExpertNodes(mlir::OpBuilder &builder, mlir::Location loc)
      : b(builder), nodes(builder, loc) {}

  mlir::Value constant(mlir::DenseElementsAttr value);
  /// A tensor of i64 of rank 1.
  mlir::Value ints(llvm::ArrayRef<int64_t> values);
  mlir::Value shapeOf(mlir::Value value);
  /// A float for each element of `like`.
  mlir::Value filled(mlir::Value like, double number, mlir::Type element);
  /// The index along an axis of static extent, in the extents of `shape`.
  mlir::Value indexAlong(mlir::Value shape, mlir::RankedTensorType type,
                         int64_t axis);
  mlir::Value scatter(mlir::Value data, mlir::Value indices,
                      mlir::Value updates, int64_t axis);
  mlir::Value cast(mlir::Value value, mlir::Type element);

  mlir::OpBuilder &b;
  NodeBuilder nodes;
};

/// Erases the ops without a use behind `before` (null: the block's first) and
/// in front of `end`.
void eraseUnusedBetween(mlir::RewriterBase &rewriter, mlir::Operation *before,
                        mlir::Operation *end);

} // namespace moe

#endif // MOE_PASSES_RAISE_EXPERTNODES_H
