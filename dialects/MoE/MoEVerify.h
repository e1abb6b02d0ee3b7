//===- MoEVerify.h - what the verifiers of moe ops share --------*- C++ -*-===//
//
// Internal to dialects/MoE. Extents that are not known fit everything; messages
// name the operand and both numbers.
//
//===----------------------------------------------------------------------===//
#ifndef MOE_DIALECTS_MOE_MOEVERIFY_H
#define MOE_DIALECTS_MOE_MOEVERIFY_H

#include "dialects/MoE/MoEDialect.h"
#include "mlir/IR/BuiltinAttributes.h"
#include "mlir/IR/BuiltinTypes.h"
#include "mlir/IR/Operation.h"
#include <limits>
#include <optional>
#include <string>

namespace moe::ir {

/// Ids are i32.
inline constexpr int64_t kMostIds = std::numeric_limits<int32_t>::max();

/// Extent `i` of a ranked tensor, or kDynamic. Negative `i` counts from the
/// end.
int64_t getExtent(mlir::Type type, int64_t i);
int64_t getExtent(mlir::Value value, int64_t i);

/// Both known and different.
inline bool differ(int64_t a, int64_t b) {
  return !mlir::ShapedType::isDynamic(a) && !mlir::ShapedType::isDynamic(b) &&
         a != b;
}

/// `a` if it is known, else `b`.
inline int64_t known(int64_t a, int64_t b) {
  return mlir::ShapedType::isDynamic(a) ? b : a;
}

/// Extents of a value of an op against what they must be.
class ExtentCheck {
public:
  explicit ExtentCheck(mlir::Operation *op) : op(op) {}

  /// Extent `i` of `value` (null: absent, fine) must be `expected`, the extent
  /// that `of` describes.
  mlir::LogicalResult operator()(llvm::StringRef name, mlir::Value value,
                                 int64_t i, int64_t expected,
                                 const llvm::Twine &of) const;
  mlir::LogicalResult operator()(llvm::StringRef name, mlir::Type type,
                                 int64_t i, int64_t expected,
                                 const llvm::Twine &of) const;

private:
  mlir::Operation *op;
};

/// The elements of an integer constant, if `value` is one that holds its
/// elements itself.
mlir::DenseIntElementsAttr getConstantIds(mlir::Value value);

/// Elements of a constant `value` must lie in [least, end).
mlir::LogicalResult checkConstantIds(mlir::Operation *op, llvm::StringRef name,
                                     mlir::Value value, int64_t least,
                                     int64_t end);

/// Dimension of outputs (rows of torch.nn.Linear) and of inputs of a bank.
inline int64_t outputDim(BankLayout layout) {
  return layout == BankLayout::OI ? 1 : 2;
}
inline int64_t inputDim(BankLayout layout) { return 3 - outputDim(layout); }

/// The matrices and biases of feed-forward experts, by type; null: absent.
struct FeedForwardTypes {
  mlir::RankedTensorType gate, up, down, gateBias, upBias, downBias;
  GateUp form = GateUp::None;
  BankLayout layout = BankLayout::OI;
};

/// Banks and biases must be those of `form` and fit each other and tokens of
/// width `model`, which `ofModel` describes.
mlir::LogicalResult checkFeedForward(mlir::Operation *op,
                                     const FeedForwardTypes &types,
                                     int64_t model, llvm::StringRef ofModel);

/// A bank in few bits, as `moe.dequantize` has it.
struct CodedBank {
  mlir::Value packed, scales, zeroPoints;
  int64_t bits = 8;
  /// None: a scale holds for a whole row.
  std::optional<int64_t> block;
  /// How messages call the three, and what they stand for.
  std::string packedName, scalesName, zeroPointsName, bankName;
};

/// `bits` must be known, and the parts must be those of a bank [experts, rows,
/// columns].
mlir::LogicalResult checkCodes(mlir::Operation *op, const CodedBank &bank,
                               int64_t experts, int64_t rows, int64_t columns);

/// Weights of slots are f64 for tokens or logits in f64, else f32.
mlir::LogicalResult checkWeightType(mlir::Operation *op, mlir::Value weights,
                                    mlir::Value logits);

} // namespace moe::ir

#endif // MOE_DIALECTS_MOE_MOEVERIFY_H
