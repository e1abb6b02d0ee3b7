//===- SlotRows.h - tokens that are repeated for their slots ----*- C++ -*-===//
//
// Each token goes to some experts: its row is repeated in front of the first
// product, by Expand, Tile or Gather, or the product broadcasts it.
//
//===----------------------------------------------------------------------===//
#ifndef MOE_PASSES_RAISE_SLOTROWS_H
#define MOE_PASSES_RAISE_SLOTROWS_H

#include "passes/Raise/Slots.h"

namespace moe {

struct SlotRows {
  /// [tokens.., features].
  mlir::Value tokens;
  /// The order of slots in runs of Token and Repeat.
  Runs runs;
  /// What the repeated rows are multiplied with, or null: one number for each
  /// of the slots that it meets, as axes of `scaled` (its node).
  mlir::Value scale;
  mlir::Operation *scaled = nullptr;
};

/// The rows of a product whose result walks `slots` (labels) from the outside.
std::optional<SlotRows> matchSlotRows(const BankProduct &product,
                                      llvm::ArrayRef<int> slots,
                                      DimContext &dims);

} // namespace moe

#endif // MOE_PASSES_RAISE_SLOTROWS_H
