//===- Banks.h - weights of all experts as one tensor -----------*- C++ -*-===//
//
// Exporters hold the weights of a layer as one tensor, as one per expert, or as
// slices of a transposed one. Banks of separate constants are `#rt.stack`,
// which refers to the parts: no byte is copied before an artifact or a model is
// written.
//
//===----------------------------------------------------------------------===//
#ifndef MOE_PASSES_RAISE_BANKS_H
#define MOE_PASSES_RAISE_BANKS_H

#include "passes/Raise/FeedForward.h"
#include "passes/Raise/RaiseCheck.h"

namespace mlir {
class RewriterBase;
} // namespace mlir

namespace moe {

/// A constant or a part of one along axis 0, perhaps transposed.
struct WeightRef {
  mlir::Value source;
  /// Of `count` equal parts along axis 0 the one that it is; -1: all of it.
  int64_t index = -1;
  int64_t count = 1;
  /// The last two axes are swapped.
  bool transposed = false;
};

/// Looks through Identity, Squeeze/Unsqueeze/Reshape of axes of extent 1,
/// Transpose of the last two axes, and one Split, Slice or Gather of a single
/// constant index along axis 0. The source is the first value behind them,
/// constant or not.
WeightRef resolveWeights(mlir::Value value);

/// Whether a value is an initialiser or a constant, reshaped or not.
bool isConstantValue(mlir::Value value);

/// Makes the operands of one `moe.experts`.
class BankBuilder {
public:
  BankBuilder(mlir::OpBuilder &builder, mlir::Location loc)
      : b(builder), loc(loc) {}

  /// The parts of experts 0, 1, ... (all of the same type; matrices or vectors)
  /// as one tensor [E, ...]. If they are the slices of one constant in order,
  /// it is that constant; otherwise constants are stacked. `transposed` says
  /// whether the last two axes are swapped against the parts as given. Null
  /// with a refusal if a part is no constant or types differ.
  mlir::Value stack(llvm::ArrayRef<mlir::Value> parts, bool &transposed,
                    Refusal &refusal);

  /// A constant bank with its last two axes swapped. Null with a refusal.
  mlir::Value transpose(mlir::Value bank, Refusal &refusal);

  /// The same elements with other extents, at most one of them unknown: another
  /// view of a constant, else a Reshape.
  mlir::Value reshape(mlir::Value value, llvm::ArrayRef<int64_t> shape);

private:
  mlir::OpBuilder &b;
  mlir::Location loc;
};

/// A layer of experts, found. Values are as the model has them; buildExperts
/// brings them into the form of moe.experts.
struct ExpertLayer {
  /// Rows [.., H]; axes in front of the last are tokens.
  mlir::Value tokens;
  /// [.., k] integers, [.., k] floats; both null for a dense network. The form
  /// has to know that ids are in [0, E): what an operator of the model makes of
  /// others (Gather: from the end) is not what moe.experts does.
  mlir::Value ids, weights;
  ir::ScaleAt scaleAt = ir::ScaleAt::Output;
  double inScale = 1;
  /// Ids that routing knows if more than the bank has; 0: as many.
  int64_t logical = 0;
  /// Experts 0, 1, ... or a single one whose weights are banks of all.
  llvm::SmallVector<FeedForward, 1> experts;
};

/// Creates `moe.experts` (banks, biases, ids as i32) before the builder's
/// insertion point: [tokens, H']. Null with a refusal, and nothing created, if
/// the experts do not agree in activation, types or layout.
mlir::Value buildExperts(mlir::OpBuilder &b, mlir::Location loc,
                         const ExpertLayer &layer, Refusal &refusal);

/// Replaces `like`, whose elements in row-major order are those of `result`
/// [tokens, H'], by it. Where `like` has several extents that are not static,
/// one of `sources` must be known to have the same ones in front of the last.
/// False with a refusal if none has, or if checks are on and find that the two
/// differ (RaiseCheck.h). These cut both at `cuts`, or where there are none at
/// the tokens, ids and weights of the layer.
bool replaceWithExperts(mlir::RewriterBase &rewriter, mlir::Value like,
                        mlir::Value result, llvm::ArrayRef<mlir::Value> sources,
                        Refusal &refusal,
                        llvm::ArrayRef<RaiseCut> cuts = {});

} // namespace moe

#endif // MOE_PASSES_RAISE_BANKS_H
