//===- QueueTerms.h - tensors over slots, experts and places ----*- C++ -*-===//
//
// Reads what a model computes from the ids of experts of its slots up to masks
// [tokens, experts, places]. Each such value is a term: an axis by axis list of
// what its axes run over (slots, the experts, places of one expert) and a
// function of the state of queues (QueueFunction.h).
//
//===----------------------------------------------------------------------===//
#ifndef MOE_PASSES_RAISE_QUEUETERMS_H
#define MOE_PASSES_RAISE_QUEUETERMS_H

#include "lib/Analysis/DimExpr.h"
#include "mlir/IR/Builders.h"
#include "passes/Raise/FeedForward.h"
#include "passes/Raise/QueueDims.h"
#include "passes/Raise/QueueFunction.h"
#include "llvm/ADT/DenseMap.h"
#include <limits>
#include <optional>
#include <vector>

namespace moe {

/// Tokens sorted by a score, sequence by sequence.
struct TokenOrder {
  /// Indices that a TopK gives.
  mlir::Value order;
  QueueDims sequences, tokens;
};

/// A factor of a mask that no queue determines.
struct SlotWeight {
  mlir::Value value;
  /// What the axes of `value` run over.
  QueueAxes axes;
};

struct QueueTerm {
  enum class Level { Number, Slot, Expert };
  Level level = Level::Number;
  /// The ids of all slots, null for numbers.
  mlir::Value ids;
  QueueAxes axes;
  /// Where a slot did not pick the expert (of level Expert only), and where it
  /// did.
  QueueFunction at[2];

  /// With an axis of places: `at` in place `place`, 0 in all others.
  bool hasPlace = false;
  QueueFunction place[2];
  int64_t numPlaces = 0;

  /// Number of experts of the one-hot rows.
  int64_t numExperts = 0;
  /// The slots of a queue in order; empty if nothing was counted.
  QueueDims queue;
  std::optional<TokenOrder> order;
  /// Summed over: the slots of a token.
  QueueDims choices;
  llvm::SmallVector<SlotWeight, 2> weights;
  /// Whole numbers up to this are counted exactly.
  int64_t exact = int64_t(1) << 52;

  /// Choices that a model keeps apart, each with ids of its own: those that
  /// stand in front in the queues of this one. Each was counted up to a number
  /// of places only (kAll: all of them).
  struct Before {
    mlir::Value ids;
    int64_t upTo;
  };
  static constexpr int64_t kAll = std::numeric_limits<int64_t>::max();
  llvm::SmallVector<Before, 1> before;
  /// Masks of other choices that this one is the sum with; no two of them are
  /// other than 0 in one element, as far as their places differ.
  std::vector<QueueTerm> more;
};

/// The function of a term for slots that picked the expert, or did not: a term
/// of slots says nothing about the latter.
QueueFunction functionAt(const QueueTerm &term, bool picked);

/// Whether the same choices stand in front in the queues of both.
bool sameBefore(const QueueTerm &a, const QueueTerm &b);

class QueueReader {
public:
  QueueReader(DimContext &dims, Refusal &refusal)
      : dims(dims), refusal(refusal) {}

  /// The term that a value is; nullopt for all that no ids are behind.
  std::optional<QueueTerm> read(mlir::Value value);
  /// As `read`; other integers are ids themselves.
  std::optional<QueueTerm> readIds(mlir::Value value);

  /// `a` times a value whose axis i runs over what `of[i]` does or has extent
  /// 1. What is no term becomes a weight.
  std::optional<QueueTerm> multiply(mlir::Operation *op, const QueueTerm &a,
                                    mlir::Value value,
                                    llvm::ArrayRef<QueueDims> of);

  /// The product of all operands but `without` (none: -1), one axis for each of
  /// `letters`: those of the output and of the other operands.
  std::optional<QueueTerm> readFactors(const TermProduct &product, int without,
                                       llvm::SmallVectorImpl<int> &letters);

private:
  using Term = std::optional<QueueTerm>;
  using Make = llvm::function_ref<QueueFunction(const QueueFunction &,
                                                const QueueFunction &)>;
  Term readNew(mlir::Value value);
  Term readNumber(mlir::Value value, double number);
  Term readOperator(mlir::Operation *op);
  Term readBinary(mlir::Operation *op, llvm::StringRef name);
  Term readOneHot(mlir::Operation *op);
  Term readEqual(mlir::Operation *op);
  Term readCumSum(mlir::Operation *op);
  Term readCast(mlir::Operation *op);
  Term readClamp(mlir::Operation *op);
  Term readReduce(mlir::Operation *op, bool isSum);
  Term readGather(mlir::Operation *op);
  Term readSlice(mlir::Operation *op);
  Term readGatherElements(mlir::Operation *op);
  Term readPick(mlir::Operation *op, QueueTerm data, unsigned axis);
  Term readSorted(mlir::Operation *op, QueueTerm data, unsigned axis);
  Term readWhere(mlir::Operation *op);
  Term readProduct(mlir::Operation *op);
  Term readAny(mlir::Value value);
  Term readSum(const QueueTerm &a, const QueueTerm &b);
  Term readInFront(mlir::Operation *op, const QueueTerm &counted,
                   const QueueTerm &total);
  Term readPositive(mlir::Operation *op, mlir::Value value);
  Term toBool(Term term);
  Term readIf(mlir::Operation *op);
  Term oneHotOf(mlir::Operation *op, QueueTerm term, QueueAxes iota,
                unsigned axis, int64_t count, bool wraps);
  Term merge(mlir::Operation *op, const QueueTerm &a, const QueueTerm &b);
  Term apply(mlir::Operation *op, const Term &a, const Term &b, Make make);
  Term multiply(mlir::Operation *op, const QueueTerm &a, const QueueTerm &b);
  Term weighted(const QueueTerm &a, mlir::Value value,
                llvm::ArrayRef<QueueDims> of);
  bool sumOver(mlir::Operation *op, QueueTerm &term, QueueDims &axis);
  bool checkExact(mlir::Operation *op, QueueTerm &term, mlir::Type element);

  DimContext &dims;
  Refusal &refusal;
  unsigned depth = 0;
  llvm::DenseMap<mlir::Value, Term> known;
};

/// The data that GatherElements puts in the order of `order` along the tokens,
/// where its axes are `axes`; null if it does something else.
mlir::Value unsortTokens(mlir::Value value, const TokenOrder &order,
                         DimContext &dims);

} // namespace moe

#endif // MOE_PASSES_RAISE_QUEUETERMS_H
