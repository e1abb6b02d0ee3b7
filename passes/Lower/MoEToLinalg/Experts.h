//===- Experts.h - products with stored weights -----------------*- C++ -*-===//
#ifndef MOE_PASSES_LOWER_MOETOLINALG_EXPERTS_H
#define MOE_PASSES_LOWER_MOETOLINALG_EXPERTS_H

#include "dialects/MoE/MoEDialect.h"
#include "passes/Lower/ONNXToLinalg/Lowering.h"

namespace moe::lower {

/// One or two (gate, up) banks as they are stored, all in buffers.
struct StoredBanks {
  SmallVector<Value> banks, scales, zeros, biases;
  std::optional<int64_t> bits, block;
  /// Whether rows are rounded to 8 bits before they are multiplied.
  bool roundRows = false;
};

/// Where rows come from.
struct RowSource {
  /// How many there are, as `index`.
  Value count;
  /// Of each row its token, null: the tokens in order; and what it is
  /// multiplied with, null: nothing. Buffers of `index` and f32.
  Value tokens, weights;
};

using EpilogueFn = llvm::function_ref<FailureOr<Value>(ValueRange sums)>;

/// The buffer of an ONNX value that is only read. Constants stay where they
/// are, whatever their size, for they may be packed later.
Value stored(FunctionLowering &l, Value onnxValue);

/// A static, contiguous buffer seen with other extents.
Value viewAs(FunctionLowering &l, Value buffer, ArrayRef<int64_t> shape);

/// The offsets of one expert that has all rows.
Value offsetsOfAll(FunctionLowering &l, OpFoldResult tokens);

/// Rows of the tensor `x`, times `scale` and then their weight, in f32, in a
/// buffer of `capacity` rows with padding behind `width` columns.
Value gatherRows(FunctionLowering &l, const RowSource &source, Value x,
                 OpFoldResult capacity, int64_t width, double scale);

/// Multiplies such rows with their experts' matrices, into a buffer of the same
/// form. Fails where `epilogue` does.
FailureOr<Value> multiply(FunctionLowering &l, Value offsets, Value rows,
                          const StoredBanks &banks, OpFoldResult capacity,
                          int64_t inner, int64_t width, ir::GateUp gateUp,
                          ir::BankLayout layout, EpilogueFn epilogue);

/// The first `count` rows and `width` columns of such a buffer, as a tensor of
/// type `element`.
Value unpadded(FunctionLowering &l, Value rows, OpFoldResult count,
               int64_t width, Type element);

} // namespace moe::lower

#endif // MOE_PASSES_LOWER_MOETOLINALG_EXPERTS_H
