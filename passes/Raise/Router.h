//===- Router.h - routers as they stand in graphs ---------------*- C++ -*-===//
//
// What `moe-raise-routers` reads from nodes, and how it does. A router is read
// from its choice (TopK, ArgMax) in both directions: backwards to the logits
// (RouterChoice.cpp, RouterGroups.cpp), forwards along the weights
// (RouterWeights.cpp). RouterSparseMixer.cpp and RouterBalanced.cpp read the
// routers that are no such chain.
//
// Logits, scores, ids and weights are matrices whose rows are tokens: [tokens,
// columns], [batch, sequence, columns], .. Exporters regroup the leading axes
// anywhere, so values are compared as rows (`stripRows`).
//
//===----------------------------------------------------------------------===//
#ifndef MOE_PASSES_RAISE_ROUTER_H
#define MOE_PASSES_RAISE_ROUTER_H

#include "dialects/MoE/MoEDialect.h"
#include "mlir/IR/Value.h"
#include "llvm/ADT/SmallPtrSet.h"
#include <string>

namespace moe {

/// Why a router stays as it is, and at which node.
struct Refusal {
  mlir::Operation *at = nullptr;
  std::string why;

  /// Notes the first reason; returns false.
  bool operator()(mlir::Operation *node, const llvm::Twine &reason) {
    if (!at) {
      at = node;
      why = reason.str();
    }
    return false;
  }
};

/// A router that was read from nodes: `moe.route` in parts, and the values that
/// its results stand for.
struct Router {
  ir::Routing routing;
  /// Rows of logits.
  mlir::Value logits;
  /// [E], or constants of that many elements; null if absent.
  mlir::Value selectBias, expertScale;
  /// Rows, null if absent.
  mlir::Value mix, forced;

  /// In front of this node the new op stands.
  mlir::Operation *anchor = nullptr;
  /// Integers [.., k], or [..] without an axis for the only slot.
  mlir::Value ids;
  /// Floats of that shape; null if the graph uses none.
  mlir::Value weights;
  /// Dense weights [.., E], 0 where an expert is not selected; null mostly.
  mlir::Value dense;
  /// Rows with the leading axes of `ids`.
  mlir::Value shaped;
  /// Whether there is more to it than a TopK: a score, a norm.
  bool isRouting = false;
};

//===----------------------------------------------------------------------===//
// Rows
//===----------------------------------------------------------------------===//

/// Whether a float type is computed with in f32.
bool isComputedInF32(mlir::Type element);

/// The operand of a node that result 0 has the rows of, in the same order: what
/// is a copy, has its leading axes regrouped, or is the same rounded to another
/// float of up to 32 bits (routers are computed in f32, so these roundings are
/// left out) or another integer. Null if there is none.
mlir::Value getRowsOperand(mlir::Operation *op);

/// The first value with these rows.
mlir::Value stripRows(mlir::Value value);

inline bool isSameRows(mlir::Value a, mlir::Value b) {
  return a && b && stripRows(a) == stripRows(b);
}

/// `value` and all that has its rows.
llvm::SmallVector<mlir::Value> getRowsViews(mlir::Value value);

/// The users of `value` and of what has its rows, other than those that make
/// such values, ask for a shape, or are used by nothing.
llvm::SmallVector<mlir::Operation *> getRowsUsers(mlir::Value value);

/// Extent of the last axis; kDynamic if it is not known or there is none.
int64_t getColumns(mlir::Value value);

//===----------------------------------------------------------------------===//
// Parts of routers
//===----------------------------------------------------------------------===//

/// The decimal with the fewest digits that f32 (or f64) computes with as it
/// does with `value`: 1e-20 rather than 9.99999968e-21.
double toShortest(double value, mlir::Type element);

/// A score function of rows: what it is applied to.
struct ScoreOf {
  ir::Score score = ir::Score::Identity;
  mlir::Value logits;
};
std::optional<ScoreOf> readScore(mlir::Value value);

/// Takes factor, softcap and normalisation off logits.
void readTransform(mlir::Value &logits, ir::Routing &routing);

enum class Found { No, Yes, Refused };

/// Selection scores with all but the best groups replaced. `inner` are the
/// scores before that.
struct GroupLimit {
  ir::GroupsAttr attr;
  mlir::Value inner;
  /// TopK of the groups.
  mlir::Operation *choice = nullptr;
};
Found readGroups(mlir::Value scores, GroupLimit &limit, Refusal &refuse);

/// Where weights come from.
enum class WeightsFrom {
  Nowhere,
  Choice,   ///< values of the TopK
  Gathered, ///< elements of another matrix at the ids
};

/// Reads how weights go on from `first`, the first value of them, up to the
/// last one that `#moe.routing` can express; sets `weights` (or `dense`).
void readWeights(Router &router, mlir::Value first, WeightsFrom from);

/// A node with a constant K, largest = 1, over the last axis (or ArgMax).
struct Choice {
  mlir::Operation *op = nullptr;
  mlir::Value scores;
  /// Null for ArgMax.
  mlir::Value values;
  mlir::Value ids;
  int64_t k = 1;
  ir::Tie tie = ir::Tie::Lowest;
  /// ids have no axis of slots.
  bool isFlat = false;
};
std::optional<Choice> readChoice(mlir::Operation *op);

/// Reads the router around a choice.
bool readRouter(Choice choice, Router &router, Refusal &refuse);

/// Reads a router whose ids come from a table, from the node that gathers its
/// weights.
bool readForced(mlir::Operation *gather, Router &router);

/// Reads PhiMoE's router from its concatenated ids.
Found readSparseMixer(mlir::Operation *concat, Router &router, Refusal &refuse);

/// Experts that choose tokens: `moe.route_balanced`.
struct ExpertChoice {
  /// Rows of logits.
  mlir::Value logits;
  int64_t capacity = 0;
  Choice choice;
};
Found readExpertChoice(const Choice &choice, ExpertChoice &found,
                       Refusal &refuse);

/// What becomes of ids.
struct IdUses {
  /// They pick experts: one-hot rows, weights of a bank, a place in a matrix.
  bool expert = false;
  /// They are results of the function, or sorted.
  bool escape = false;
  /// They pick tokens.
  bool token = false;
  /// They pick from a table of ids.
  mlir::Operation *table = nullptr;
};
IdUses findIdUses(mlir::Value ids, int64_t experts);

//===----------------------------------------------------------------------===//
// Rewriting
//===----------------------------------------------------------------------===//

/// Replaces the nodes of a router; false, with the reason, if that is not
/// possible (nothing is changed then).
bool rewriteRouter(mlir::RewriterBase &rewriter, const Router &router,
                   Refusal &refuse);

void rewriteExpertChoice(mlir::RewriterBase &rewriter,
                         const ExpertChoice &found);

/// Makes `moe.soft_route` of a softmax over tokens and the one over slots of
/// the same logits; false if `dispatch` is not the former.
bool raiseSoftRoute(mlir::RewriterBase &rewriter, mlir::Operation *dispatch);

/// Erases `roots` and what they alone used, as far as nothing uses them. Shapes
/// of what is erased become those of an operand or of one of `others`.
void eraseUnused(mlir::RewriterBase &rewriter,
                 llvm::ArrayRef<mlir::Operation *> roots,
                 llvm::ArrayRef<mlir::Value> others = {});

} // namespace moe

#endif // MOE_PASSES_RAISE_ROUTER_H
