//===- GroupedLinear.h - expansion of one grouped product -------*- C++ -*-===//
//
// Private to moe-expand-grouped.
//
//===----------------------------------------------------------------------===//
#ifndef MOE_PASSES_LOWER_HOST_GROUPEDLINEAR_H
#define MOE_PASSES_LOWER_HOST_GROUPEDLINEAR_H

#include "dialects/MoE/MoEDialect.h"
#include "passes/Lower/Host/GroupedEmitter.h"
#include "passes/Lower/Host/IntegerKernels.h"
#include "passes/Lower/Host/MicroKernels.h"

namespace moe {

/// Most rows that a task takes through its panels at once.
inline constexpr int64_t chunkRows = 192;

/// The constants behind all buffers, or null.
mlir::ArrayAttr getConstants(mlir::ValueRange buffers);

/// Expands one grouped product.
///
/// A task is a run of panels of one expert for up to `chunkRows` of the
/// expert's rows. Which tasks there are depends on how many rows each expert
/// has, which result comes out of them does not: each element is a sum in one
/// order, whoever computes it.
///
/// Weights that are constants are packed into panels when the artifact is
/// written (#rt.panels). Codes in panels are multiplied as they are where the
/// target multiplies bytes; rows are brought into digits for that before the
/// tasks. Other codes, and weights that are no constants, become f32 a block of
/// a panel at a time, for all rows of the task.
class GroupedLinear {
public:
  GroupedLinear(ir::GroupedLinearOp op, MicroKernels &kernels,
                IntegerKernels &integers, mlir::OpBuilder &builder)
      : op(op), kernels(kernels), integers(integers),
        tile(kernels.tile), b{builder, op.getLoc()},
        experts(op.getNumExperts()), inner(op.getInner()), width(op.getWidth()),
        perPanel(op.isGated() ? tile.columns / 2 : tile.columns),
        panels(llvm::divideCeil(static_cast<uint64_t>(width), perPanel)),
        vector(mlir::VectorType::get({tile.lanes}, builder.getF32Type())),
        element(builder.getF32Type()), depth(inner) {}

  void emit();
  /// Whether it became products of integers.
  bool isInteger() const { return form.has_value(); }

private:
  using Value = mlir::Value;
  using ValueRange = mlir::ValueRange;
  template <typename Fn> using function_ref = llvm::function_ref<Fn>;

  // What is in front of the loops.
  Value packed(mlir::ArrayAttr sources, int64_t rows, int64_t cols,
               bool transposed, int64_t depth, int64_t bits,
               mlir::Type element);
  void preparePanels();
  void prepareTasks();
  Value listChunks();

  // Parts of a task.
  void emitTask(Value task);
  void forBlocks(
      Value rows,
      function_ref<void(Value block, Value blocks, Value first, Value count)>
          body);
  void callKernel(Value count, bool prefetch, llvm::ArrayRef<Value> arguments);
  void emitPackedPanel(Value panel);
  void emitConvertedPanel(Value panel);
  void fillBias(Value panel);
  void initSums(Value first, Value count, Value panel);
  void finishRows(Value sumsFirst, Value rowFirst, Value count, Value panel);
  void finishVectors(Value row, Value from, Value panel);
  void finishElements(Value row, Value from, Value panel);
  llvm::SmallVector<Value> extraPlace(Value extra, Value row, Value column);
  Value vectorEpilogue(ValueRange arguments);
  Value scalarEpilogue(ValueRange arguments);
  bool canVectorise();

  // Rows of bf16.
  bool choosePairs();
  void preparePairs();

  // Products of digits and codes.
  std::optional<IntegerForm> chooseForm();
  std::string whyNotIntegers();
  void missed(const std::string &what);
  void prepareDigits();
  void prepareRounding();
  void forRows(function_ref<void(Value row)> body);
  void emitIntegerPanel(Value panel);

  // Blocks of weights in f32.
  void convertCodes(Value panel, Value from, Value count);
  void convertElements(Value panel, Value from, Value count);
  Value decode(Value bytes, llvm::SmallVector<Value> at, Value number);
  Value readWeight(unsigned bank, Value row, Value k);
  void
  forColumns(Value panel,
             function_ref<void(unsigned bank, Value row, Value column)> inside,
             function_ref<void(Value column)> outside);

  ir::GroupedLinearOp op;
  MicroKernels &kernels;
  IntegerKernels &integers;
  const KernelTile tile;
  Emitter b;
  int64_t experts, inner, width, perPanel, panels;
  mlir::VectorType vector;
  /// Elements of packed weights: f32, f16 or bf16, or i32 for pairs of bf16, as
  /// rows then are too; how many a column of a panel has.
  mlir::Type element;
  int64_t depth;

  Value rows, out;
  int64_t rowStride = 0, outColumns = 0;
  /// Packed weights, floats or codes; scales, zero points and biases in the
  /// same order. Null where they are not constants.
  Value panelWeights, panelCodes, panelScales, panelZeros, panelBias;
  /// How rows and codes are multiplied as integers; then panelCodes are words.
  std::optional<IntegerForm> form;
  /// Rows in digits, and what of them belongs together.
  Value digitRows;
  int64_t digitStride = 0, units = 0, unitsPerScale = 0;
  /// Tasks: [expert, first row, last row] of each chunk; null where one expert
  /// has all rows.
  Value chunks, numChunks, numTokens;
  /// Panels that a task goes through, tasks of a chunk.
  Value panelsPerTask, groups;
  /// Stack of a task.
  Value sums, block, bias;
  /// The task's.
  Value expert, firstRow, numRows;
};

} // namespace moe

#endif // MOE_PASSES_LOWER_HOST_GROUPEDLINEAR_H
