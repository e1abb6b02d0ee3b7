//===- Match.h - a vocabulary for reading graphs of ONNX nodes --*- C++ -*-===//
//
// What all recognisers of `moe-raise` read graphs with. Nodes that hand their
// input on as it is are looked through everywhere, operands of commutative
// operators come in either order, and constants are evaluated: an initializer,
// a Constant node, small arithmetic on them, and whatever shape an exporter
// gives them.
//
// All functions take any value and answer "no" (null, false, nullopt) for what
// they do not know; none of them changes the IR.
//
//===----------------------------------------------------------------------===//
#ifndef MOE_PASSES_RAISE_MATCH_H
#define MOE_PASSES_RAISE_MATCH_H

#include "mlir/IR/BuiltinTypes.h"
#include "mlir/IR/Operation.h"
#include "mlir/IR/Value.h"
#include <optional>
#include <vector>

namespace moe::match {

//===----------------------------------------------------------------------===//
// Nodes
//===----------------------------------------------------------------------===//

/// The value that `value` is a copy of: through Identity, Cast to the type that
/// it has already, Dropout at inference, and Reshape, Expand, Squeeze,
/// Unsqueeze and Transpose that give the shape that they get.
mlir::Value strip(mlir::Value value);

/// The node `name` (onnx.Mul) that a value is the result of, stripped; null if
/// it is another one.
mlir::Operation *getNode(mlir::Value value, llvm::StringRef name);

/// The operator of the node that gives a stripped value, without the dialect
/// ("Mul"); "" for arguments and for nodes of other dialects than onnx.
llvm::StringRef getOperator(mlir::Value value);

/// Whether two values are copies of one.
inline bool isSame(mlir::Value a, mlir::Value b) {
  return a && b && strip(a) == strip(b);
}

/// Operand `i` of a node as the schema counts them, stripped; null if the node
/// leaves it out.
mlir::Value getInput(mlir::Operation *op, unsigned i);

/// Attribute of a node, or what the schema says where it has none.
int64_t getInt(mlir::Operation *op, llvm::StringRef name, int64_t otherwise);
double getFloat(mlir::Operation *op, llvm::StringRef name, double otherwise);
llvm::StringRef getString(mlir::Operation *op, llvm::StringRef name,
                          llvm::StringRef otherwise);

/// Rank of a value, -1 if it has none.
int64_t getRank(mlir::Value value);

/// The element type of a tensor, null for other values.
mlir::Type getElementType(mlir::Value value);

/// Attribute `name` as an axis of a value of rank `rank`; nullopt if it is out
/// of range.
std::optional<int64_t> getAxis(mlir::Operation *op, llvm::StringRef name,
                               int64_t otherwise, int64_t rank);

/// The axes of a reduction, Squeeze or Unsqueeze, ascending and not negative;
/// nullopt if they are not constant. All axes where a reduction names none,
/// none if it has `noop_with_empty_axes`; those of extent 1 where Squeeze names
/// none.
std::optional<llvm::SmallVector<int64_t>> getAxes(mlir::Operation *op);

/// Whether a reduction is over the last axis and no other.
bool isOverLastAxis(mlir::Operation *op);

/// Axes of a Transpose; reversed ones if it names none.
llvm::SmallVector<int64_t> getPermutation(mlir::Operation *transpose);

//===----------------------------------------------------------------------===//
// Operators of two operands
//===----------------------------------------------------------------------===//

/// a and b of a node `name`.
bool matchBinary(mlir::Value value, llvm::StringRef name, mlir::Value &a,
                 mlir::Value &b);

/// Whether `value` is `name` of two operands that `accept` takes in one order
/// or the other. For commutative operators.
bool matchCommuted(mlir::Value value, llvm::StringRef name,
                   llvm::function_ref<bool(mlir::Value, mlir::Value)> accept);

/// x and c of x `name` c, where c is one number (in any shape). In either order
/// for the operators that commute (Add, Mul, Min, Max, ...).
bool matchWithNumber(mlir::Value value, llvm::StringRef name, mlir::Value &x,
                     double &c);

/// x, c of x * c or x / (1 / c): scalings by one number.
bool matchScale(mlir::Value value, mlir::Value &x, double &c);

/// x with bounds of Clip, or of Min and Max with one number; infinite where
/// there is none. False if `value` is none of them.
bool matchClamp(mlir::Value value, mlir::Value &x, double &least, double &most);

//===----------------------------------------------------------------------===//
// Constants
//===----------------------------------------------------------------------===//

/// Elements of a small constant: row-major, floats in `reals`, integers and
/// bool in `ints`.
struct Constant {
  /// More elements are not evaluated.
  static constexpr int64_t kMaxElements = 1 << 16;

  mlir::RankedTensorType type;
  std::vector<double> reals;
  std::vector<int64_t> ints;

  bool isReal() const;
  int64_t size() const {
    return static_cast<int64_t>(isReal() ? reals.size() : ints.size());
  }
  double get(int64_t i) const {
    return isReal() ? reals[i] : static_cast<double>(ints[i]);
  }
  /// The number that all elements are; none for a tensor without elements.
  std::optional<double> getNumber() const;
};

/// The elements of a constant: of an initializer (also in a file), a Constant
/// node, and of what casts, reshapes, transposes, slices, concatenations and
/// arithmetic make of them. Integers that shape inference knows are constants.
std::optional<Constant> evaluate(mlir::Value value);

/// The elements of a constant integer or bool tensor.
std::optional<llvm::SmallVector<int64_t>> getInts(mlir::Value value);

/// The only element of a constant integer tensor.
std::optional<int64_t> getSingleInt(mlir::Value value);

/// The number that all elements of a value are, whatever its shape is, which
/// may depend on the input (`Expand(-inf, Shape(x))`).
std::optional<double> getNumber(mlir::Value value);

/// Whether all elements of a value are `number`.
inline bool isNumber(mlir::Value value, double number) {
  std::optional<double> known = getNumber(value);
  return known && *known == number;
}

/// Whether a value depends on constants alone, of any size.
bool isConstant(mlir::Value value);

/// Whether all elements of an integer constant, which may be large, are in
/// [least, end).
bool isWithin(mlir::Value value, int64_t least, int64_t end);

/// Whether a value is `0, 1, .. n-1` along its last axis, all other axes being
/// of extent 1.
bool isIota(mlir::Value value, int64_t &n);

} // namespace moe::match

#endif // MOE_PASSES_RAISE_MATCH_H
