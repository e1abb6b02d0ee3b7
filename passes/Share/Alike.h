//===- Alike.h - whether two sequences of ops compute alike -----*- C++ -*-===//
//
// Private to moe-share-layers.
//
//===----------------------------------------------------------------------===//
#ifndef MOE_PASSES_SHARE_ALIKE_H
#define MOE_PASSES_SHARE_ALIKE_H

#include "mlir/IR/BuiltinAttributeInterfaces.h"
#include "mlir/IR/Operation.h"
#include "llvm/ADT/DenseMap.h"
#include "llvm/ADT/MapVector.h"
#include "llvm/ADT/StringMap.h"
#include <string>

namespace moe::share {

/// Whether `op` is a constant of the model: no part of a sequence, but of what
/// its users are.
bool isConstant(mlir::Operation *op);

/// Whether a constant may be the parameter of a function. Code may depend on
/// the elements of others: on indices, on shapes, on a few numbers.
bool canBeParameter(mlir::Operation *constant);

/// The same for ops that can be alike, and rarely for others.
llvm::hash_code hashOf(mlir::Operation *op);

/// Compares a sequence of ops with a model of it.
///
/// Values that either sequence gets from outside correspond to each other by
/// where they are used. Names of extents may differ: what counts is which are
/// equal.
class Alike {
public:
  /// Whether the ops of `others` compute from what they get the same as those
  /// of `models`. If not, `reason` says why.
  bool match(llvm::ArrayRef<mlir::Operation *> models,
             llvm::ArrayRef<mlir::Operation *> others);

  /// For each value that the model gets from outside, in order of first use,
  /// an operand of the other that holds its counterpart.
  llvm::MapVector<mlir::Value, mlir::OpOperand *> inputs;
  /// For each constant of the model (its result), the counterpart.
  llvm::MapVector<mlir::Value, mlir::Value> constants;
  std::string reason;

private:
  bool matchOp(mlir::Operation *model, mlir::Operation *other);
  bool matchRegion(mlir::Region &model, mlir::Region &other);
  bool matchOperand(mlir::Value model, mlir::OpOperand &other);
  bool matchConstant(mlir::Value model, mlir::Value other);
  bool matchExtents(mlir::Value model, mlir::Value other);
  bool matchTexts(mlir::Attribute model, mlir::Attribute other);
  bool matchText(llvm::StringRef model, llvm::StringRef other);
  bool differ(mlir::Operation *model, mlir::Operation *other,
              const llvm::Twine &how);

  /// Values inside, and block arguments.
  llvm::DenseMap<mlir::Value, mlir::Value> inside;
  llvm::StringMap<llvm::StringRef> symbols, reverse;
};

} // namespace moe::share

#endif // MOE_PASSES_SHARE_ALIKE_H
