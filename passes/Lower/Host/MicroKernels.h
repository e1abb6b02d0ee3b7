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
#include <string>

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
        maxRows(vectorBits >= 512 ? 8 : 6),
        splitRows(vectorBits >= 512 ? 6 : 7) {}
  /// Elements of a vector register, columns of a panel, most rows of a call:
  /// all accumulators fit the registers.
  int64_t lanes, columns, maxRows;
  /// Fewest rows that are computed in two blocks, so that the next panel is
  /// fetched meanwhile.
  int64_t splitRows;

  /// Lines of a cache that a contracted index of a panel takes, and how many of
  /// its elements are in one.
  int64_t getLines(mlir::Type element) const {
    return std::max<int64_t>(1,
                             columns * element.getIntOrFloatBitWidth() / 512);
  }
  int64_t getLineElements(mlir::Type element) const {
    return columns / getLines(element);
  }
};

/// The kernels of a module, made as they are asked for.
class MicroKernels {
public:
  /// `bfloatDot`: the target multiplies pairs of bf16.
  MicroKernels(mlir::ModuleOp module, KernelTile tile, bool bfloatDot)
      : tile(tile), bfloatDot(bfloatDot), module(module) {}

  /// The function
  ///   (rows: index, a: memref<?xf32>, aFirst: index, aStride: index,
  ///    b: memref<?xT>, bFirst: index, depth: index,
  ///    sums: memref<?xf32>, sumsFirst: index[, ahead: index])
  /// that adds to `rows` rows of sums, tile.columns each, the products of rows
  /// of a, aStride apart, with a panel of b. T is `element`: f32, f16 or bf16,
  /// or i32 for pairs of bf16, then in a as well, aStride and depth in pairs.
  /// With `prefetch` it fetches a line of b at `ahead`, and the ones behind it,
  /// with each contracted index, and takes at least half of the most rows,
  /// which is what blocks have where there are two and more.
  mlir::func::FuncOp getAny(mlir::Type element, bool prefetch);
  /// The same without `ahead`, for a panel of f32 whose rows are bStride apart:
  /// the last argument.
  mlir::func::FuncOp getAnyStrided();

  /// A kernel without a body yet.
  mlir::func::FuncOp create(const std::string &name,
                            llvm::ArrayRef<mlir::Type> types);
  mlir::MLIRContext *getContext() { return module.getContext(); }

  const KernelTile tile;
  const bool bfloatDot;

private:
  enum class Form { Plain, Prefetch, Strided };
  /// What distinguishes kernels: elements of the panel (f32; f16 or bf16, which
  /// are widened in registers; i32, pairs of bf16), rows (0: any number), form.
  struct Kind {
    mlir::Type element;
    int64_t rows;
    Form form;
    std::string getName() const;
  };

  mlir::func::FuncOp get(Kind kind);
  mlir::func::FuncOp getAny(mlir::Type element, Form form);

  mlir::ModuleOp module;
  std::map<std::string, mlir::func::FuncOp> kernels;
};

/// Makes the body of a function whose first argument is a number of rows, from
/// `least` to `most`: it hands the others to the kernel for so many.
void chooseByRows(mlir::func::FuncOp function, int64_t least, int64_t most,
                  llvm::function_ref<mlir::func::FuncOp(int64_t)> getKernel);

} // namespace moe

#endif // MOE_PASSES_LOWER_HOST_MICROKERNELS_H
