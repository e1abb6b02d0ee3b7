//===- FeedForward.h - the two products of an expert ------------*- C++ -*-===//
//
// All exported forms of experts have this in common: rows go through one
// product or two, an elementwise function, and a second product. What a product
// looks like (Gemm of one expert, MatMul with gathered or stacked weights,
// Einsum) differs by form: each form matches its own products and leaves what
// is between them to matchFeedForward.
//
//===----------------------------------------------------------------------===//
#ifndef MOE_PASSES_RAISE_FEEDFORWARD_H
#define MOE_PASSES_RAISE_FEEDFORWARD_H

#include "dialects/MoE/MoEDialect.h"
#include "mlir/IR/Builders.h"
#include "llvm/ADT/STLFunctionalExtras.h"
#include <optional>
#include <string>

namespace moe {

/// Why a pattern does not apply, for the remark: the node and the rule.
struct Refusal {
  mlir::Operation *at = nullptr;
  std::string why;

  /// Keeps the first reason. Returns nullopt for `return refusal.say(...)`.
  std::nullopt_t say(mlir::Operation *op, const llvm::Twine &reason);
  explicit operator bool() const { return !why.empty(); }
};

/// rows . weights + bias. `weights` is what the form takes for the weights of
/// one expert (a matrix) or of all (a bank [E, ., .]).
struct Projection {
  mlir::Value rows;
  mlir::Value weights;
  /// Order of the last two axes of `weights`.
  ir::BankLayout layout = ir::BankLayout::OI;
  /// Null, or [out] of one expert, [E, out] (with axes of extent 1) of all.
  mlir::Value bias;
  /// The value that holds the sum, and its axis of features.
  mlir::Value result;
  int64_t featureAxis = -1;
  /// MatMulNBits: weights is packed [out, blocks, bytes].
  mlir::Value scales, zeroPoints;
  int64_t bits = 0, block = 0;
};

/// Matches the product (with its bias) that gives a value, if there is one.
using MatchProjection =
    llvm::function_ref<std::optional<Projection>(mlir::Value)>;

/// act(rows . gate, rows . up) . down.
struct FeedForward {
  /// One projection, or two with GateUp::Separate.
  llvm::SmallVector<Projection, 2> first;
  ir::GateUp form = ir::GateUp::None;
  Projection second;

  /// The activation as text, arguments `g` and `u`: equal texts, equal
  /// functions.
  std::string activation;
  /// Fills an empty region with it.
  void buildActivation(mlir::Region &region, mlir::Location loc) const;

  /// A step of the activation: an argument, a constant or an operator on
  /// earlier steps (-1: an operand that the node leaves out).
  struct Step {
    enum class Kind { Gate, Up, Constant, Operator } kind;
    double value = 0;
    mlir::Operation *op = nullptr;
    llvm::SmallVector<int, 2> operands;
  };
  llvm::SmallVector<Step, 8> steps;
  /// All nodes of it from the first products to the second.
  llvm::SmallVector<mlir::Operation *> nodes;
};

/// The feed-forward network whose second product (with bias) gives `result`.
/// The hidden rows that go into it may be reshaped in any way that keeps their
/// order; halves are taken by Split or Slice (with step 2: interleaved) on the
/// feature axis.
std::optional<FeedForward>
matchFeedForward(mlir::Value result, MatchProjection match, Refusal &refusal);

/// The same from the operand of the second product, for forms in which that
/// product is found otherwise; `second` is copied into the result.
std::optional<FeedForward> matchActivation(const Projection &second,
                                           MatchProjection match,
                                           Refusal &refusal);

} // namespace moe

#endif // MOE_PASSES_RAISE_FEEDFORWARD_H
