//===- QueueFunction.h - what is computed from places in queues -*- C++ -*-===//
//
// Where experts have a capacity, slots queue up: a model counts how many slots
// stand in front of each in the queue of its expert, and makes a mask, a place
// or the number of a row of that. However it is written (running sums from 0 or
// 1, products with masks, comparisons, clamps), each step is a function of
//
//   s, the number of slots of an expert up to a slot, this one included, and
//   id, the number of the expert,
//
// one function where the slot picked the expert and one where it did not. These
// are piecewise affine and small, so a recogniser computes with them instead of
// knowing ways to write them.
//
//===----------------------------------------------------------------------===//
#ifndef MOE_PASSES_RAISE_QUEUEFUNCTION_H
#define MOE_PASSES_RAISE_QUEUEFUNCTION_H

#include "llvm/ADT/ArrayRef.h"
#include "llvm/ADT/STLFunctionalExtras.h"
#include "llvm/ADT/SmallVector.h"
#include <cstdint>
#include <optional>

namespace moe {

/// perId * id + slope * s + offset from s = `from` on, or unknown.
struct QueuePiece {
  int64_t from = 0;
  double perId = 0, slope = 0, offset = 0;
  bool known = true;

  bool isConstant() const { return known && perId == 0 && slope == 0; }
  bool isConstant(double value) const {
    return isConstant() && offset == value;
  }
};

class QueueFunction {
public:
  /// Unknown everywhere.
  QueueFunction() : pieces{{0, 0, 0, 0, false}} {}
  static QueueFunction constant(double value) { return {{0, 0, 0, value}}; }
  static QueueFunction seen() { return {{0, 0, 1, 0}}; }
  static QueueFunction id() { return {{0, 1, 0, 0}}; }

  /// In the order of `from`, the first from 0.
  llvm::ArrayRef<QueuePiece> getPieces() const { return pieces; }
  /// Whether it is `value` for all s from `least` on.
  bool isConstant(double value, int64_t least) const;
  bool isIdentityOfId() const;
  /// The largest bound between two pieces: what has to be counted exactly.
  int64_t getLastBound() const { return pieces.back().from; }

  friend QueueFunction operator+(const QueueFunction &a,
                                 const QueueFunction &b);
  friend QueueFunction operator-(const QueueFunction &a,
                                 const QueueFunction &b);
  /// One of them constant, piece by piece; 0 times the unknown is 0.
  friend QueueFunction operator*(const QueueFunction &a,
                                 const QueueFunction &b);
  friend bool operator==(const QueueFunction &a, const QueueFunction &b);

  /// 1 where `accept` takes the sign of a - b (-1, 0 or 1), else 0.
  static QueueFunction compare(const QueueFunction &a, const QueueFunction &b,
                               llvm::function_ref<bool(int sign)> accept);
  /// `a` where `condition` is not 0, else `b`.
  static QueueFunction select(const QueueFunction &condition,
                              const QueueFunction &a, const QueueFunction &b);
  static QueueFunction max(const QueueFunction &a, const QueueFunction &b);
  static QueueFunction min(const QueueFunction &a, const QueueFunction &b);
  /// 1 where the factor of `id` is `factor`, else 0.
  QueueFunction hasIdFactor(double factor) const;
  /// Without the part that depends on `id`.
  QueueFunction withoutId() const;
  /// Whether it gives different numbers for all s from 1 to `last`.
  bool isDistinct(int64_t last) const;
  /// Itself where it is whole, else unknown.
  QueueFunction whole() const;

private:
  using Emit = llvm::function_ref<void(QueuePiece)>;
  QueueFunction(std::initializer_list<QueuePiece> pieces) : pieces(pieces) {}
  /// Calls `make` for each stretch [lo, hi) on which both have one piece; it
  /// emits pieces whose `from` lies in it.
  static QueueFunction
  zip(const QueueFunction &a, const QueueFunction &b,
      llvm::function_ref<void(QueuePiece, QueuePiece, int64_t lo, int64_t hi,
                              Emit emit)>
          make);
  void append(QueuePiece piece);

  llvm::SmallVector<QueuePiece, 4> pieces;
};

/// The last s that a mask keeps: it is 1 for s = 1 up to that and 0 from there
/// on. Nullopt if it is something else, also if it keeps all (`endless`).
std::optional<int64_t> matchKept(const QueueFunction &kept, bool &endless);

} // namespace moe

#endif // MOE_PASSES_RAISE_QUEUEFUNCTION_H
