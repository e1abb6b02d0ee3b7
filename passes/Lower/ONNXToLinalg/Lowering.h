//===- Lowering.h - the state of a translation to linalg --------*- C++ -*-===//
//
// One FunctionLowering translates one function. It walks the ops in order and
// keeps, for each ONNX value, the tensor that stands for it and, for small
// integer values (shapes, axes, counts), its elements as `index` values. Each
// family of operators is a file with functions of type LowerFn and a
// `register...` function that puts them into the table.
//
// Extents: `dim` gives the extent of an ONNX value, reusing the value that was
// computed for the same symbol before (equal symbols are equal extents).
//
//===----------------------------------------------------------------------===//
#ifndef MOE_PASSES_LOWER_ONNXTOLINALG_LOWERING_H
#define MOE_PASSES_LOWER_ONNXTOLINALG_LOWERING_H

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/IR/Builders.h"
#include "llvm/ADT/DenseMap.h"
#include "llvm/ADT/ScopedHashTable.h"
#include "llvm/ADT/StringMap.h"
#include <functional>
#include <optional>
#include <string>

namespace moe::lower {

using mlir::ArrayRef;
using mlir::FailureOr;
using mlir::LogicalResult;
using mlir::Location;
using mlir::OpFoldResult;
using mlir::Operation;
using mlir::SmallVector;
using mlir::SmallVectorImpl;
using mlir::StringRef;
using mlir::Type;
using mlir::Value;
using mlir::ValueRange;

class FunctionLowering;

/// Translates one op: sets the value of each of its results, or reports why it
/// cannot and fails.
using LowerFn = LogicalResult (*)(FunctionLowering &lowering, Operation *op);

/// The table of all lowerings, by op name.
class LoweringTable {
public:
  void add(StringRef opName, LowerFn fn) { table[opName] = fn; }
  LowerFn lookup(StringRef opName) const { return table.lookup(opName); }
  /// All op names, in no order.
  auto names() const { return table.keys(); }
  static const LoweringTable &get();

private:
  llvm::StringMap<LowerFn> table;
};

void registerElementwise(LoweringTable &table);
void registerMovement(LoweringTable &table);
void registerIndexing(LoweringTable &table);
void registerSelection(LoweringTable &table);
void registerReduction(LoweringTable &table);
void registerNormalization(LoweringTable &table);
void registerContraction(LoweringTable &table);
void registerAttention(LoweringTable &table);
void registerContribExperts(LoweringTable &table);
void registerConvolution(LoweringTable &table);
void registerPooling(LoweringTable &table);
void registerRecurrent(LoweringTable &table);
void registerControlFlow(LoweringTable &table);

/// Extents of a tensor: attributes where static, `index` values otherwise.
using Extents = SmallVector<OpFoldResult>;

/// Builds the body of an elementwise computation: operands in, result out.
using BodyFn =
    llvm::function_ref<Value(mlir::OpBuilder &, Location, ValueRange)>;

class FunctionLowering {
public:
  explicit FunctionLowering(mlir::MLIRContext *context) : b(context) {}

  /// Where ops are created, and for which node.
  mlir::OpBuilder b;
  Location loc() const { return currentLoc; }

  /// Translates all ops of a block except its terminator. Reports every op
  /// that cannot be translated before it fails.
  LogicalResult lowerBlock(mlir::Block &block);

  /// Translates a block of elementwise ops on tensors of rank 0 to arithmetic
  /// on scalars, its arguments being `arguments`. Returns what its terminator
  /// hands on; fails where an op is not elementwise or a constant not plain.
  FailureOr<SmallVector<Value>> lowerScalars(mlir::Block &block,
                                             ValueRange arguments);

  //===-- Values ----------------------------------------------------------===//

  /// The tensor that stands for an ONNX value, of type convert(its type).
  Value tensor(Value onnxValue);
  /// Tensors of all operands of an op.
  SmallVector<Value> tensors(mlir::OperandRange onnxValues);
  /// Elements of a small integer or bool value as `index` values, row-major;
  /// bool is 0 or 1. Null if they are not known one by one.
  const Extents *elements(Value onnxValue);
  /// As `elements`, reading the tensor at run time where they are not known.
  /// The value must have rank 0 or 1 and a static extent; reports and fails
  /// otherwise.
  FailureOr<Extents> elementsOrLoad(Operation *op, Value onnxValue);
  /// Elements when all are compile-time constants.
  std::optional<SmallVector<int64_t>> constants(Value onnxValue);
  /// The attribute behind an ONNX value that is a constant, or null.
  mlir::ElementsAttr constantAttr(Value onnxValue);
  /// The value of an ONNX constant all of whose elements are equal, as a scalar
  /// attribute of the lowered element type, or null.
  mlir::TypedAttr splat(Value onnxValue);

  /// Binds a result. The type of the tensor is cast to convert(type).
  void set(Value onnxValue, Value lowered);
  void setElements(Value onnxValue, Extents elements);
  /// Binds the result of a region argument or another translated value.
  void forward(Value onnxValue, Value sameAs);
  /// Lets a buffer of rows of f32 with padding stand for a matrix. Readers that
  /// take a tensor need set() as well.
  void setRows(Value onnxValue, Value buffer) { rowBuffers[onnxValue] = buffer; }
  /// The buffer of setRows, or null.
  Value rows(Value onnxValue) const { return rowBuffers.lookup(onnxValue); }

  /// Ranked tensor type with the signs of integers dropped; null (and an error
  /// at `op`) if the value has no rank or an element type that no lowering
  /// takes.
  static Type convertElement(Type element);
  static mlir::RankedTensorType convert(Type onnxType);

  //===-- Extents ---------------------------------------------------------===//

  /// Extent `i` of an ONNX value.
  OpFoldResult dim(Value onnxValue, int64_t i);
  Extents dims(Value onnxValue);
  /// Extent `i` if it is static or of a symbol that is known here.
  std::optional<OpFoldResult> knownDim(Value onnxValue, int64_t i);
  /// Extent `i` of a result that is not yet bound: static, of a symbol that is
  /// known, or computed (and remembered for the symbol).
  OpFoldResult resultDim(Value onnxResult, int64_t i,
                         llvm::function_ref<OpFoldResult()> compute);
  /// Remembers computed extents of a result for its symbols. Returns them with
  /// known ones in place of equal ones that were computed again.
  Extents bindDims(Value onnxResult, ArrayRef<OpFoldResult> computed);
  /// Symbol of an extent; empty if static or without a name.
  StringRef symbol(Value onnxValue, int64_t i);
  /// Provably equal extents.
  bool sameExtent(Value a, int64_t i, Value c, int64_t j);

  //===-- Arithmetic on extents: folded where both sides are constants ----===//
  OpFoldResult index(int64_t value) { return b.getIndexAttr(value); }
  Value value(OpFoldResult extent);
  OpFoldResult add(OpFoldResult x, OpFoldResult y);
  OpFoldResult sub(OpFoldResult x, OpFoldResult y);
  OpFoldResult mul(OpFoldResult x, OpFoldResult y);
  /// Rounds toward zero. The divisor must not be zero.
  OpFoldResult div(OpFoldResult x, OpFoldResult y);
  OpFoldResult ceilDiv(OpFoldResult x, OpFoldResult y);
  OpFoldResult min(OpFoldResult x, OpFoldResult y);
  OpFoldResult max(OpFoldResult x, OpFoldResult y);
  OpFoldResult product(ArrayRef<OpFoldResult> extents);
  /// i1, folded.
  Value compare(mlir::arith::CmpIPredicate predicate, OpFoldResult x,
                OpFoldResult y);
  OpFoldResult select(Value condition, OpFoldResult x, OpFoldResult y);

  //===-- Conditions that only show at run time ---------------------------===//

  /// Ends the run with "<node>: <message>" unless `condition` holds. No code
  /// when it is a true constant.
  void check(Value condition, const llvm::Twine &message, int code = 2);
  void checkEqual(OpFoldResult x, OpFoldResult y, const llvm::Twine &message);
  /// Wraps each negative element of an i64/i32 index tensor is left to the
  /// reader; this checks that all are in [-extent, extent).
  void checkIndices(Value indices, OpFoldResult extent,
                    const llvm::Twine &message);

  //===-- Tensors ---------------------------------------------------------===//

  Value empty(ArrayRef<OpFoldResult> shape, Type element);
  /// A tensor of one value everywhere.
  Value filled(ArrayRef<OpFoldResult> shape, Value scalar);
  /// Pointwise computation over `shape`. Operands are tensors; operand i is
  /// read through maps[i], from the loop's dims to the operand's.
  Value pointwise(ArrayRef<OpFoldResult> shape, Type element,
                  ValueRange operands, ArrayRef<mlir::AffineMap> maps,
                  BodyFn body);
  /// Pointwise computation with ONNX's multidirectional broadcasting of the
  /// ONNX values `operands` to the shape of `result`. Extents that are not
  /// provably equal or 1 are compared at run time.
  Value broadcastPointwise(Value result, ValueRange operands, Type element,
                           BodyFn body);
  /// The shape to which ONNX values broadcast, with run-time checks.
  Extents broadcastShape(ValueRange operands);
  /// A tensor read as if it had `shape` (trailing-aligned). Returns the tensor
  /// (expanded if that only shows at run time) and the map that reads it from
  /// loops over the dims [0, loops) whose last ones are those of `shape`.
  std::pair<Value, mlir::AffineMap> broadcastOperand(Value onnxOperand,
                                                     Value onnxShapeLike,
                                                     ArrayRef<OpFoldResult> shape,
                                                     unsigned loops);
  /// Reduction over `reduced` dims of tensors read through maps (from loops
  /// over `loops` extents); result and init have the extents of the other dims.
  Value reduce(ArrayRef<OpFoldResult> loops, llvm::ArrayRef<bool> reduced,
               Value init, ValueRange operands,
               ArrayRef<mlir::AffineMap> maps,
               llvm::function_ref<Value(mlir::OpBuilder &, Location,
                                        ValueRange, Value accumulator)>
                   body);
  /// Same elements, other extents; the element counts must agree (checked at
  /// run time where it is not obvious).
  Value reshape(Value tensor, ArrayRef<OpFoldResult> from,
                ArrayRef<OpFoldResult> to);
  Value transpose(Value tensor, ArrayRef<OpFoldResult> from,
                  ArrayRef<int64_t> perm);
  Value extract(Value tensor, ArrayRef<OpFoldResult> at);
  /// A window of a tensor, steps positive.
  Value slice(Value tensor, ArrayRef<OpFoldResult> offsets,
              ArrayRef<OpFoldResult> sizes, ArrayRef<OpFoldResult> steps);
  Value insertSlice(Value into, Value part, ArrayRef<OpFoldResult> offsets);
  /// Converts elements between float types (through f32), ints by value.
  Value castTo(Value tensor, Type element);

  //===-- Code on buffers, for loops whose order matters ------------------===//

  /// Uninitialised buffer of this run.
  Value allocate(ArrayRef<OpFoldResult> shape, Type element);
  /// The buffer of a tensor, for reading only.
  Value readable(Value tensor);
  /// The tensor in a buffer that nobody writes after this.
  Value finished(Value buffer);
  /// Loops over a shape, in row-major order.
  void forEach(ArrayRef<OpFoldResult> shape,
               llvm::function_ref<void(ValueRange indices)> body);

  //===-- Scalars ---------------------------------------------------------===//

  Value scalar(Type type, double value);
  Value constant(mlir::TypedAttr attr);

  //===-- Constants -------------------------------------------------------===//

  Value materialize(mlir::ElementsAttr attr);

private:
  friend struct RegionScope;
  bool lowerElements(Operation *op);
  LogicalResult lowerOp(Operation *op);

  Location currentLoc = mlir::UnknownLoc::get(b.getContext());
  Operation *currentOp = nullptr;
  llvm::DenseMap<Value, Value> values;
  llvm::DenseMap<Value, Extents> knownElements;
  llvm::DenseMap<Value, Value> rowBuffers;
  /// Within lowerScalars: values are scalars, not tensors.
  bool scalars = false;
  /// Extents by symbol, innermost region last: an entry dominates its region.
  SmallVector<llvm::StringMap<OpFoldResult>> symbols;

public:
  /// A region of control flow: extents found inside are forgotten after it.
  struct RegionScope {
    explicit RegionScope(FunctionLowering &l) : lowering(l) {
      lowering.symbols.emplace_back();
    }
    ~RegionScope() { lowering.symbols.pop_back(); }
    FunctionLowering &lowering;
  };
};

/// Computes in f32 what is stored in f16 or bf16.
Value widen(mlir::OpBuilder &b, Location loc, Value v);
Value narrow(mlir::OpBuilder &b, Location loc, Value v, Type element);
/// Whether integers of an ONNX type are compared, divided and widened unsigned.
bool isUnsigned(Type onnxElement);
Type elementOf(Value v);
int64_t rankOf(Value v);
/// A negative axis counts from the back. The verifier has checked the range.
int64_t normalizeAxis(int64_t axis, int64_t rank);
/// An operand of the schema, null if left out.
Value operand(Operation *op, unsigned formal);
Value result(Operation *op, unsigned formal);
int64_t intAttr(Operation *op, StringRef name, int64_t otherwise);
double floatAttr(Operation *op, StringRef name, double otherwise);
StringRef stringAttr(Operation *op, StringRef name, StringRef otherwise);
std::optional<SmallVector<int64_t>> intsAttr(Operation *op, StringRef name);
/// Reports that an op is beyond the lowering.
LogicalResult unsupported(Operation *op, const llvm::Twine &what);

} // namespace moe::lower

#endif // MOE_PASSES_LOWER_ONNXTOLINALG_LOWERING_H
