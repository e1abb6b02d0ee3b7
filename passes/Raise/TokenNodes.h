//===- TokenNodes.h - selections of tokens in plain nodes ---------*- C++
//-*-===//
//
// Reads how exporters write which tokens stay: numbers from TopK, put in order
// by another TopK, moved to a part of the sequence, with constant numbers in
// front and behind, and repeated for each element of a token.
//
//===----------------------------------------------------------------------===//
#ifndef MOE_PASSES_RAISE_TOKENNODES_H
#define MOE_PASSES_RAISE_TOKENNODES_H

#include "dialects/MoE/MoEDialect.h"
#include <optional>
#include <string>

namespace moe {

/// A rule that a graph breaks, and the node that breaks it.
struct TokenRefusal {
  std::string why;
  mlir::Operation *at = nullptr;
};

/// Numbers of tokens, [B, K] of i64 or i32.
struct TokenSelection {
  /// [B, R], of the tokens [first, first + R).
  mlir::Value scores;
  /// The TopK that chooses.
  mlir::Operation *topK = nullptr;
  int64_t k = 0;
  int64_t first = 0;
  /// Tokens behind the part that is chosen from: their number, or a Range that
  /// ends with the sequence.
  int64_t behind = 0;
  bool hasRange = false;
  ir::KeepOrder order = ir::KeepOrder::Score;

  /// Whether it names all tokens in front of and behind that part.
  bool isWhole() const { return first == 0 && behind == 0 && !hasRange; }

  /// Reads the numbers that `idx` holds, without a refusal where they come from
  /// no TopK at all. `tokens` is the payload whose tokens they name.
  static std::optional<TokenSelection> read(mlir::Value idx, mlir::Value tokens,
                                            TokenRefusal &refusal);
};

/// The matrix [B, K] that each element of `numbers` [B, K, ...] is one of,
/// whatever the trailing indices are; null if it is none.
mlir::Value getRowNumbers(mlir::Value numbers);

/// The matrix [B, K] of a list of places [B, K, 2] that are (b, idx[b, i]), of
/// the sequences of `tokens`; null if it is none.
mlir::Value getPlaceNumbers(mlir::Value places, mlir::Value tokens);

/// What a node takes from or puts into `tokens`, whole tokens at a time.
struct TokenAccess {
  mlir::Value tokens;
  /// The matrix of numbers.
  mlir::Value idx;

  /// GatherElements or GatherND; or a Reshape, whose result is of sequences
  /// again, behind a Gather or GatherND from a list of the tokens of all.
  static std::optional<TokenAccess> readGather(mlir::Operation *op);
  /// ScatterElements or ScatterND.
  static std::optional<TokenAccess> readScatter(mlir::Operation *op);
};

/// A part of one axis that a Slice with constant bounds takes.
struct SlicePart {
  mlir::Value of;
  int64_t axis = 0, begin = 0, end = 0, step = 1;

  /// `end` is INT64_MAX for one that reaches to the end.
  static std::optional<SlicePart> read(mlir::Value value);
  bool reachesEnd() const { return end == INT64_MAX; }
};

/// What a query attends to, [B, N]: a row of `attention` [B, H, Q, N] with the
/// heads reduced.
struct AttentionRow {
  mlir::Value attention;
  int64_t query = 0;
  ir::HeadReduce reduce = ir::HeadReduce::Mean;
  /// A part of the keys, if only those count.
  int64_t begin = 0, end = INT64_MAX;

  static std::optional<AttentionRow> read(mlir::Value scores);
};

} // namespace moe

#endif // MOE_PASSES_RAISE_TOKENNODES_H
