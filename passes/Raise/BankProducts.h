//===- BankProducts.h - products with a bank of weights ---------*- C++ -*-===//
//
// A layer of experts that was written for tensors as a whole multiplies rows
// with a bank [E, ., .]: either with the matrices that ids have picked from it
// (Gather, GatherND), or with all of them along an axis of the result. MatMul,
// Gemm and Einsum are read alike: as operands whose axes carry labels, equal
// ones being walked together.
//
//===----------------------------------------------------------------------===//
#ifndef MOE_PASSES_RAISE_BANKPRODUCTS_H
#define MOE_PASSES_RAISE_BANKPRODUCTS_H

#include "passes/Raise/FeedForward.h"
#include "passes/Raise/View.h"

namespace moe {

/// A sum of products: out[labels] = sum over the other labels of the product of
/// all operands.
struct Contraction {
  /// The label of an axis of extent 1 that meets all positions of another's.
  static constexpr int kUnit = -1;

  mlir::Operation *op = nullptr;
  llvm::SmallVector<mlir::Value, 3> operands;
  llvm::SmallVector<llvm::SmallVector<int, 4>, 3> labels;
  llvm::SmallVector<int, 4> out;
  /// Gemm's addend.
  mlir::Value bias;

  bool inOut(int label) const { return llvm::is_contained(out, label); }
  bool has(unsigned operand, int label) const {
    return llvm::is_contained(labels[operand], label);
  }
};

/// Reads MatMul, Gemm (without scaling) and Einsum (explicit, no ellipsis).
/// Nullopt if it is none of them, or if its extents are not proven to fit
/// without broadcasting by chance.
std::optional<Contraction> readContraction(mlir::Operation *op);

/// A product of rows and a bank.
struct BankProduct {
  Contraction sum;
  unsigned rowsAt = 0, bankAt = 0;
  /// [E, out, in] (OI) or [E, in, out] (IO), constant.
  mlir::Value bank;
  ir::BankLayout layout = ir::BankLayout::OI;
  /// Picks a matrix for each position of `slots`; null if label `expert` walks
  /// all of them.
  mlir::Value ids;
  /// The labels that `ids` has, outermost first, and the axes of `ids` that
  /// each of them walks.
  llvm::SmallVector<int, 2> slots;
  llvm::SmallVector<llvm::SmallVector<int64_t, 2>, 2> slotAxes;
  int expert = Contraction::kUnit;
  /// The labels of the features that go in and come out.
  int in = 0, outFeature = 0;

  mlir::Value getRows() const { return sum.operands[rowsAt]; }
  mlir::Value getResult() const { return sum.op->getResult(0); }
  int64_t getNumExperts() const;
  /// The extent of a label.
  DimExpr getExtent(int label, DimContext &dims) const;
};

/// The product of a node, if it is one. Operands beside the rows and the bank
/// (an Einsum of three) are weights for the caller to judge.
std::optional<BankProduct> matchBankProduct(mlir::Operation *op,
                                            DimContext &dims);

/// The ids by which a node multiplies with rows of a matrix of weights (an
/// embedding of experts that are single neurons); `other` is the other operand.
/// Null if it is another node.
mlir::Value matchNeurons(mlir::Operation *op, mlir::Value &other,
                         DimContext &dims);

/// A value that consists of a product's elements: the labels of each axis.
struct LabelledValue {
  mlir::Value value;
  llvm::SmallVector<llvm::SmallVector<int, 2>, 4> axes;

  /// The axis that walks one label and nothing else, -1 if there is none.
  int64_t find(int label) const;
};

/// The product's result as a value that is a view of it.
std::optional<LabelledValue> labelView(const BankProduct &product,
                                       mlir::Value view, DimContext &dims);

/// The bank of biases [E, out] that `bias` adds to `sum`, whose ids are those
/// of the product; null if it is something else.
mlir::Value matchBankBias(const BankProduct &product, const LabelledValue &sum,
                          mlir::Value bias, DimContext &dims);

/// The value whose elements in row-major order these are: through all that
/// changes extents or the type of integers only.
mlir::Value stripToFlat(mlir::Value value);

} // namespace moe

#endif // MOE_PASSES_RAISE_BANKPRODUCTS_H
