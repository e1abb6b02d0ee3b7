//===- Products.h - rows times the weights of one expert --------*- C++ -*-===//
//
// The product of forms in which each expert has nodes of its own.
//
//===----------------------------------------------------------------------===//
#ifndef MOE_PASSES_RAISE_PRODUCTS_H
#define MOE_PASSES_RAISE_PRODUCTS_H

#include "passes/Raise/FeedForward.h"

namespace moe {

/// The product of a matrix of rows [n, in] with the matrix of one expert, and
/// the bias added to it: MatMul, Gemm or MatMulNBits, perhaps Add. What the
/// weights are (constants, slices of a bank) is not looked at.
std::optional<Projection> matchProduct(mlir::Value value);

/// The bank that a matrix (or bias) is one expert's slice of, by Gather along
/// axis 0 with an index that `isExpert` takes. `swapped` becomes whether the
/// matrix is transposed behind it.
mlir::Value matchSlice(mlir::Value value,
                       llvm::function_ref<bool(mlir::Value)> isExpert,
                       bool &swapped);

/// matchProduct; weights and bias that are slices of banks for the expert in
/// question become the banks. `isBank` is set to whether they are.
std::optional<Projection>
matchExpertProduct(mlir::Value value,
                   llvm::function_ref<bool(mlir::Value)> isExpert,
                   bool &isBank);

} // namespace moe

#endif // MOE_PASSES_RAISE_PRODUCTS_H
