//===- IntegerKernels.h - products of digits and codes ----------*- C++ -*-===//
//
// The innermost functions of products with weights of 2, 4 and 8 bits on CPUs
// that multiply bytes. Private to moe-expand-grouped.
//
//===----------------------------------------------------------------------===//
#ifndef MOE_PASSES_LOWER_HOST_INTEGERKERNELS_H
#define MOE_PASSES_LOWER_HOST_INTEGERKERNELS_H

#include "moe/Activations.h"
#include "passes/Lower/Host/MicroKernels.h"

namespace moe {

/// How rows are stored for integer products. A unit is a run of contracted
/// elements with one scale; its words of 32 bits are, digit by digit, those
/// with the digits of 4 elements each, then the scale (f32), the integer that
/// the sum of products starts from, scale * sum of the elements' integers
/// (f32), and with three digits what the sum with the first of them starts
/// from.
struct DigitRows {
  /// Digits of 8 bits of an element, the highest first; up to 3.
  int64_t digits = 3;
  /// Elements of a unit: 16 or 32.
  int64_t unit = 32;
  /// Bits of the codes that the rows are multiplied with: the sum starts from
  /// what their zero point, 2^(bits-1), contributes.
  int64_t bits = 4;

  /// The largest value of an element.
  double getLimit() const {
    return digits == 1 ? 127 : digits == 2 ? 32512 : (1 << 22) - 1;
  }
  int64_t getScalePlace() const { return digits * unit / 4; }
  int64_t getUnitWords() const { return getScalePlace() + 4; }
};

/// What distinguishes kernels besides the number of rows.
struct IntegerForm {
  DigitRows rows;
  /// A scale of the weights holds for several units.
  bool nested = false;
  /// Zero points are stored.
  bool zeros = false;

  /// Words of 32 bits that a unit takes in a column of a panel.
  int64_t getPanelWords() const { return rows.unit * rows.bits / 32; }
  std::string getName() const;
};

/// The integer kernels of a module, made as they are asked for.
class IntegerKernels {
public:
  IntegerKernels(MicroKernels &kernels, bool available, Activations activations)
      : tile(kernels.tile), available(available), activations(activations),
        kernels(kernels) {}

  /// Most rows of a call: all accumulators fit the registers.
  int64_t getMaxRows(const IntegerForm &form) const;

  /// The function
  ///   (rows: index, a: memref<?xi32>, aFirst: index, aStride: index,
  ///    codes: memref<?xi32>, codesFirst: index,
  ///    scales: memref<?xf32>, zeros: memref<?xf32>, scalesFirst: index,
  ///    units: index, perScale: index, sums: memref<?xf32>, sumsFirst: index
  ///    [, ahead: index])
  /// that adds to `rows` rows of sums, tile.columns each, the products of rows
  /// of a (DigitRows), aStride words apart, with a panel of codes. `perScale`
  /// units share a scale, and a zero point if the form has those. With
  /// `prefetch` it fetches a line of codes at `ahead`, and the ones behind it,
  /// with each word of a column.
  mlir::func::FuncOp getAny(const IntegerForm &form, bool prefetch);

  /// The function
  ///   (x: memref<?xf32>, xFirst: index, out: memref<?xi32>, outFirst: index,
  ///    depth: index, perScale: index)
  /// that brings `depth` elements of a row into the form of DigitRows, with one
  /// scale for `perScale` units. A row with an infinity or a NaN gets a scale
  /// that makes all of its sums NaN. With `partial` the last unit is not full;
  /// missing elements are zeros.
  mlir::func::FuncOp getSplit(const DigitRows &rows, bool partial);

  /// The function
  ///   (x: memref<?xf32>, xFirst: index, out: memref<?xf32>, outFirst: index,
  ///    depth: index, block: index)
  /// that rounds a row to what one digit for each element holds, with a scale
  /// for each block of elements.
  mlir::func::FuncOp getRound();

  const KernelTile tile;
  /// Whether the target multiplies bytes.
  const bool available;
  const Activations activations;

private:
  mlir::func::FuncOp get(const IntegerForm &form, int64_t rows, bool prefetch);

  MicroKernels &kernels;
  std::map<std::string, mlir::func::FuncOp> made;
};

} // namespace moe

#endif // MOE_PASSES_LOWER_HOST_INTEGERKERNELS_H
