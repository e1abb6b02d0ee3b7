//===- Verifiers.h - what the rules of single operators use -----*- C++ -*-===//
//
// Internal to Verifiers*.cpp. Each rule checks what holds for every model that
// the compiler can handle and that types do not say: ranks, extents that must
// agree, ranges of attributes. Unknown ranks and extents fit everything.
//
//===----------------------------------------------------------------------===//
#ifndef MOE_DIALECTS_ONNX_VERIFIERS_H
#define MOE_DIALECTS_ONNX_VERIFIERS_H

#include "dialects/ONNX/ONNXDialect.h"
#include "dialects/ONNX/Signatures.h"
#include "mlir/IR/Diagnostics.h"
#include "mlir/IR/Operation.h"
#include "llvm/ADT/StringMap.h"
#include <optional>

namespace moe::onnx {

/// An op as the rules see it: operands by their place in the node.
class OpView {
public:
  explicit OpView(mlir::Operation *op);

  unsigned size() const { return places.size(); }
  bool has(unsigned place) const {
    return place < places.size() && places[place];
  }
  mlir::Value operator[](unsigned place) const { return places[place]; }
  mlir::Operation *getOp() const { return op; }

  /// -1 if the operand is absent or of unknown rank.
  int64_t rank(unsigned place) const;
  /// Extent, or kDynamic where the operand does not say.
  int64_t dim(unsigned place, int64_t d) const;
  /// "operand 'X'", as messages name it.
  std::string name(unsigned place) const;

  int64_t getInt(llvm::StringRef attr, int64_t otherwise) const;
  bool has(llvm::StringRef attr) const { return bool(op->getAttr(attr)); }
  llvm::StringRef getString(llvm::StringRef attr,
                            llvm::StringRef otherwise) const;
  std::optional<llvm::ArrayRef<int64_t>> getInts(llvm::StringRef attr) const;
  /// Elements of an operand that is a small integer constant.
  std::optional<llvm::SmallVector<int64_t>> getConstant(unsigned place) const;

  mlir::InFlightDiagnostic error() const { return op->emitOpError(); }

  //===--------------------------------------------------------------------===//
  // Checks; each reports what is wrong and what would be accepted.
  //===--------------------------------------------------------------------===//

  mlir::LogicalResult checkRank(unsigned place, int64_t rank) const;
  mlir::LogicalResult checkMinRank(unsigned place, int64_t least) const;
  mlir::LogicalResult checkSameRank(unsigned a, unsigned b) const;
  /// Rank 0, or rank 1 with one element.
  mlir::LogicalResult checkSingle(unsigned place) const;
  /// Extent d of an operand is `expected` (kDynamic: anything).
  mlir::LogicalResult checkDim(unsigned place, int64_t d, int64_t expected,
                               const llvm::Twine &why) const;
  mlir::LogicalResult checkSameDim(unsigned a, int64_t i, unsigned b,
                                   int64_t j) const;
  /// Axis in [-rank, rank + extra - 1].
  mlir::LogicalResult checkAxis(int64_t axis, int64_t rank,
                                llvm::StringRef what = "axis",
                                int64_t extra = 0) const;
  /// All in range, none twice.
  mlir::LogicalResult checkAxes(llvm::ArrayRef<int64_t> axes, int64_t rank,
                                llvm::StringRef what = "axes") const;
  mlir::LogicalResult
  checkOneOf(llvm::StringRef attr, llvm::StringRef otherwise,
             llvm::ArrayRef<llvm::StringRef> accepted) const;
  /// Attribute `attr`, if there, has `count` entries of at least `least`.
  mlir::LogicalResult checkList(llvm::StringRef attr, int64_t count,
                                int64_t least) const;
  /// The operands broadcast against each other.
  mlir::LogicalResult checkBroadcast(llvm::ArrayRef<unsigned> operands) const;
  /// Operand `place` broadcasts to `shape` without changing it.
  mlir::LogicalResult checkBroadcastsTo(unsigned place,
                                        llvm::ArrayRef<int64_t> shape,
                                        const llvm::Twine &target) const;

private:
  mlir::Operation *op;
  const OpSignature *signature;
  llvm::SmallVector<mlir::Value, 4> places;
};

using OperatorRule = mlir::LogicalResult (*)(const OpView &);
using OperatorRules = llvm::StringMap<OperatorRule>;

/// Each file of rules adds its own.
void addElementwiseRules(OperatorRules &rules);
void addShapeRules(OperatorRules &rules);
void addIndexingRules(OperatorRules &rules);
void addWindowRules(OperatorRules &rules);
void addNetworkRules(OperatorRules &rules);

/// Both known and different.
inline bool differ(int64_t a, int64_t b) {
  return !mlir::ShapedType::isDynamic(a) && !mlir::ShapedType::isDynamic(b) &&
         a != b;
}

} // namespace moe::onnx

#endif // MOE_DIALECTS_ONNX_VERIFIERS_H
