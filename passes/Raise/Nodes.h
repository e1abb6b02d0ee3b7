//===- Nodes.h - making nodes around what is raised -------------*- C++ -*-===//
//
// Nodes that a pass adds get the name of the one that they stand beside with
// their operator and a number behind it: names of a model's nodes differ.
//
//===----------------------------------------------------------------------===//
#ifndef MOE_PASSES_RAISE_NODES_H
#define MOE_PASSES_RAISE_NODES_H

#include "mlir/IR/Builders.h"
#include "mlir/IR/BuiltinTypes.h"
#include "mlir/IR/Operation.h"
#include "mlir/IR/Value.h"

namespace moe {

/// Extent `i` of a value of ranked type, ShapedType::kDynamic if unknown.
inline int64_t getExtent(mlir::Value value, int64_t i) {
  return mlir::cast<mlir::RankedTensorType>(value.getType()).getDimSize(i);
}

/// The opset of ai.onnx that the module around `op` was read with, else the
/// newest.
int64_t getOpset(mlir::Operation *op);

class NodeBuilder {
public:
  NodeBuilder(mlir::OpBuilder &builder, mlir::Location loc)
      : b(builder), loc(loc) {}

  /// Node `name` (onnx.Mul, onnx_ms.MoE) with one result of type `type`. Null
  /// operands are left out. It has the name of the location itself with
  /// `isMain`.
  mlir::Value create(llvm::StringRef name, llvm::ArrayRef<mlir::Value> operands,
                     mlir::Type type,
                     llvm::ArrayRef<mlir::NamedAttribute> attrs = {},
                     bool isMain = false);

  /// The location of one more node: the name of the one beside it, the operator
  /// and a number. Ops that are taken apart later need one of their own, since
  /// their parts are named after it.
  mlir::Location nameOf(llvm::StringRef opName);

  /// A Reshape in which an extent of 0 is 0 (a batch without tokens keeps its
  /// extents) where the model's opset can say so: from 14 on.
  mlir::Value reshape(mlir::Value value, mlir::Value shape, mlir::Type type);

private:
  mlir::OpBuilder &b;
  mlir::Location loc;
  unsigned counter = 0;
};

} // namespace moe

#endif // MOE_PASSES_RAISE_NODES_H
