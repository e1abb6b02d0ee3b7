//===- SlotValues.h - ids and weights of slots for moe.experts --*- C++ -*-===//
#ifndef MOE_PASSES_RAISE_SLOTVALUES_H
#define MOE_PASSES_RAISE_SLOTVALUES_H

#include "passes/Raise/Nodes.h"
#include "passes/Raise/Pairs.h"

namespace moe {

/// The first id that a value of ids never reaches: TopK and ArgMax give indices
/// of an axis, moe.route those of experts. nullopt where nothing is known.
std::optional<int64_t> getIdBound(mlir::Value ids);

/// How the coordinates of pairs make the number of a token and of a slot.
class SlotForms {
public:
  /// `token` is a form that counts tokens; the coordinates that it leaves out
  /// count the slots of one.
  SlotForms(DimContext &dims, const ExpertPairs &pairs,
            const LinearForm &token);

  /// Whether ids are [tokens.., slots..].
  bool isValid() const { return valid; }
  bool isToken(const LinearForm &form) const { return isSame(form, tokenForm); }
  bool isSlot(const LinearForm &form) const { return isSame(form, slotForm); }
  const DimExpr &getNumTokens() const { return numTokens; }
  /// Slots of one token.
  const DimExpr &getNumSlots() const { return numSlots; }

private:
  bool isSame(const LinearForm &form,
              llvm::ArrayRef<DimExpr> coefficients) const;

  const ExpertPairs &pairs;
  bool valid = false;
  llvm::SmallVector<DimExpr> tokenForm, slotForm;
  DimExpr numTokens, numSlots;
};

/// Makes operands of moe.experts out of values of slots.
class SlotBuilder {
public:
  /// `k` slots a token.
  SlotBuilder(mlir::OpBuilder &builder, mlir::Location loc, int64_t k)
      : b(builder), nodes(builder, loc), k(k) {}

  /// A value whose elements are those of [tokens, k], as [.., k].
  mlir::Value shape(mlir::Value value);

  /// Ids [.., k] of `choice`. Those that pick none of the experts 0 .. limit-1
  /// become -1, unless `inRange`; so do those that it does not keep.
  /// `depth`: negative ids count from there; 0 if they do not.
  mlir::Value ids(const Choice &choice, int64_t limit, bool inRange,
                  int64_t depth);

  /// For each id the element of its token's row of `table` [.., E]; ids must be
  /// in range.
  mlir::Value lookUp(mlir::Value table, mlir::Value ids);

  /// 1.0 for each id.
  mlir::Value ones(mlir::Value ids);

  mlir::Value number(mlir::Type element, int64_t value,
                     llvm::ArrayRef<int64_t> shape = {});
  NodeBuilder &getNodes() { return nodes; }

private:
  /// Rows of `width` elements: [rows, width].
  mlir::Value matrix(mlir::Value value, int64_t width);

  mlir::OpBuilder &b;
  NodeBuilder nodes;
  int64_t k;
};

} // namespace moe

#endif // MOE_PASSES_RAISE_SLOTVALUES_H
