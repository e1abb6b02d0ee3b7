//===- PoolNodes.h - operators that pool --------------------------*- C++
//-*-===//
//
// Reads the operators of ONNX that pool as `#moe.pooling`.
//
//===----------------------------------------------------------------------===//
#ifndef MOE_PASSES_RAISE_POOLNODES_H
#define MOE_PASSES_RAISE_POOLNODES_H

#include "dialects/MoE/MoEDialect.h"
#include <limits>
#include <optional>
#include <string>

namespace moe {

/// AveragePool, MaxPool, LpPool or one of the global ones, with one result that
/// is used.
bool isPool(mlir::Operation *op);
/// AveragePool, GlobalAveragePool or ReduceMean.
bool isMean(mlir::Operation *op);
inline bool isPoolOrMean(mlir::Operation *op) {
  return isPool(op) || isMean(op);
}

/// Whether a pool gives as many elements as it gets, whatever their number is.
bool keepsExtents(ir::PoolingAttr pooling);

/// Names and extents of the result of a node, for the op that takes its place.
void takeNames(mlir::Operation *from, mlir::Operation *to);

/// One operator that pools.
struct PoolNode {
  mlir::Operation *op = nullptr;
  ir::PoolKind kind = ir::PoolKind::Avg;
  llvm::SmallVector<int64_t> kernel, strides, dilations, pads;
  ir::PadMode padMode = ir::PadMode::Exclude;
  bool ceil = false;
  double p = 1;

  /// False with a reason where it is no pool over the dims behind the second.
  static std::optional<PoolNode> read(mlir::Operation *op, std::string &why);

  /// Elements in each window, if all have the same number of them.
  std::optional<int64_t> countElements() const;

  ir::PoolingAttr get() const { return get(kind, p); }
  /// The same windows for another kind.
  ir::PoolingAttr
  get(ir::PoolKind kind, double p,
      double eps = -std::numeric_limits<double>::infinity()) const;

  /// A pool of `x` in place of `root`, whose result has the shape of this
  /// node's: a mean may have dropped the dims that it was over.
  void replace(mlir::RewriterBase &rewriter, mlir::Operation *root,
               mlir::Value x, ir::PoolingAttr pooling) const;

private:
  bool readWindows(std::string &why);
  bool readReduction(std::string &why);
};

/// A value as a pool of another one; the value itself is a pool of windows of
/// one element.
struct ExpertPool {
  mlir::Value x;
  ir::PoolingAttr pooling;

  static std::optional<ExpertPool> read(mlir::Value value, std::string &why);
};

} // namespace moe

#endif // MOE_PASSES_RAISE_POOLNODES_H
