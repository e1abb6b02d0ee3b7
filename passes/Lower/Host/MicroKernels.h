//===- MicroKernels.h - products of a few rows and one panel ----*- C++ -*-===//
//
// The innermost functions of products with packed weights. Private to
// moe-expand-grouped.
//
//===----------------------------------------------------------------------===//
#ifndef MOE_PASSES_LOWER_HOST_MICROKERNELS_H
#define MOE_PASSES_LOWER_HOST_MICROKERNELS_H

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/IR/Builders.h"
#include "mlir/IR/BuiltinOps.h"
#include <map>

namespace moe {

/// Functions with this attribute take no environment and cannot fail, so they
/// may be called in parallel loops.
inline constexpr llvm::StringLiteral kernelAttr = "rt.kernel";

/// Contracted elements that are summed up before they are added to a total:
/// shorter chains of roundings.
inline constexpr int64_t kernelBlock = 256;

/// How much of a product one call computes.
struct KernelTile {
  explicit KernelTile(unsigned vectorBits)
      : lanes(vectorBits / 32), columns(2 * lanes),
        maxRows(vectorBits >= 512 ? 8 : 6) {}
  /// Elements of a vector register, columns of a panel, most rows of a call:
  /// all accumulators fit the registers.
  int64_t lanes, columns, maxRows;
};

/// The kernels of a module, made as they are asked for.
class MicroKernels {
public:
  MicroKernels(mlir::ModuleOp module, KernelTile tile)
      : tile(tile), module(module) {}

  /// The function
  ///   (a: memref<?xf32>, aFirst: index, aStride: index,
  ///    b: memref<?xf32>, bFirst: index, depth: index,
  ///    sums: memref<?xf32>, sumsFirst: index[, ahead: index])
  /// that adds to `rows` rows of sums, tile.columns each, the products of rows
  /// of a, aStride apart, with a panel of b. With `prefetch` it fetches a line
  /// of b at `ahead`, and the ones behind it, with each contracted index.
  mlir::func::FuncOp get(int64_t rows, bool prefetch);

  /// The function with the number of rows in front of those arguments: it
  /// calls the one for so many. With `prefetch` only for at least half of the
  /// most rows, which is what blocks have where there are two and more.
  mlir::func::FuncOp getAny(bool prefetch);
  /// The same without `ahead`, for a panel whose rows are bStride apart: the
  /// last argument.
  mlir::func::FuncOp getAnyStrided();

  const KernelTile tile;

private:
  enum class Form { Plain, Prefetch, Strided };

  mlir::func::FuncOp get(int64_t rows, Form form);
  mlir::func::FuncOp getAny(Form form);
  mlir::func::FuncOp create(const std::string &name,
                            llvm::ArrayRef<mlir::Type> types);

  mlir::ModuleOp module;
  /// By number of rows, 0 for any.
  std::map<std::pair<int64_t, Form>, mlir::func::FuncOp> kernels;
};

} // namespace moe

#endif // MOE_PASSES_LOWER_HOST_MICROKERNELS_H
