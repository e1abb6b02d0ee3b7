//===- RouterSparseMixer.cpp - PhiMoE's router ----------------------------===//
//
// Two rounds, each the best expert, the experts that are far from it masked out
// and a softmax over the rest; the second round without the first one's expert.
//
//   most   = ReduceMax(m)            m: logits, in round 2 with -inf at ids 1
//   id     = ArgMax(m)
//   far    = (most - logits) / max(|logits|, most) > 2 jitter
//   weight = GatherElements(Softmax(Where(far, -inf, m)), id)
//
//===----------------------------------------------------------------------===//

#include "passes/Raise/Match.h"
#include "passes/Raise/Router.h"
#include <cmath>
#include <limits>

using namespace mlir;
using namespace moe;
using namespace moe::match;

namespace {

/// Column `rank` of the best scores of rows, or of their places.
struct Best {
  Value scores;
  int64_t rank = 0;
};

struct Round {
  Value id, weight;
};

} // namespace

/// `place` 0: values, 1: indices of a choice.
static std::optional<Best> readBest(Value value, unsigned place) {
  value = strip(value);
  Operation *op = value.getDefiningOp();
  if (!op)
    return std::nullopt;
  int64_t rank = 0;
  bool isColumn = op->getName().getStringRef() == "onnx.Slice";
  if (isColumn) {
    // One column of several.
    std::optional<int64_t> begin = getSingleInt(getInput(op, 1));
    std::optional<int64_t> axis =
        getInput(op, 3) ? getSingleInt(getInput(op, 3)) : std::nullopt;
    int64_t last = getRank(value) - 1;
    if (!begin || !axis || (*axis != last && *axis != -1) || *begin < 0 ||
        getColumns(value) != 1 ||
        (getInput(op, 4) && !isNumber(getInput(op, 4), 1)))
      return std::nullopt;
    rank = *begin;
    value = getInput(op, 0);
    op = value.getDefiningOp();
    if (!op || op->getName().getStringRef() != "onnx.TopK")
      return std::nullopt;
  }
  if (place == 0 && op->getName().getStringRef() == "onnx.ReduceMax")
    return isOverLastAxis(op) && getInt(op, "keepdims", 1) != 0
               ? std::optional<Best>(Best{op->getOperand(0), 0})
               : std::nullopt;
  std::optional<Choice> choice = readChoice(op);
  if (!choice || choice->isFlat || choice->tie != ir::Tie::Lowest ||
      rank >= choice->k || value != (place == 0 ? choice->values : choice->ids))
    return std::nullopt;
  if (!isColumn && choice->k != 1)
    return std::nullopt;
  return Best{choice->scores, rank};
}

namespace {

class SparseMixerReader {
public:
  /// Logits and jitter of the two rounds.
  bool run(const Round &first, const Round &second);

  Value logits;
  double limit = 0;

private:
  bool isMasked(Value value);
  bool isMost(Value value, int round);
  bool readRound(const Round &round, int number);
  bool readFar(Value value, int number);

  Value firstId;
};

} // namespace

/// The logits with -inf at the first expert.
bool SparseMixerReader::isMasked(Value value) {
  Operation *op = getNode(stripRows(value), "onnx.ScatterElements");
  int64_t rank = op ? getRank(op->getResult(0)) : 0;
  return op && isSameRows(op->getOperand(0), logits) &&
         isSameRows(op->getOperand(1), firstId) &&
         isNumber(op->getOperand(2),
                  -std::numeric_limits<double>::infinity()) &&
         getAxis(op, "axis", 0, rank) == rank - 1 &&
         getString(op, "reduction", "none") == "none";
}

/// The largest logit of a round.
bool SparseMixerReader::isMost(Value value, int number) {
  if (Operation *expand = getNode(value, "onnx.Expand"))
    value = expand->getOperand(0);
  std::optional<Best> best = readBest(value, 0);
  if (!best)
    return false;
  if (isSameRows(best->scores, logits))
    return best->rank == number;
  return number == 1 && best->rank == 0 && isMasked(best->scores);
}

bool SparseMixerReader::readFar(Value value, int number) {
  Value distance, most, x, scale;
  double c;
  if (!matchWithNumber(stripRows(value), "onnx.Greater", distance, c) ||
      !(c >= 0) || !std::isfinite(c) || (number == 1 && c != limit))
    return false;
  limit = c;
  Value difference;
  if (!matchBinary(stripRows(distance), "onnx.Div", difference, scale) ||
      !matchBinary(stripRows(difference), "onnx.Sub", most, x) ||
      !isSameRows(x, logits) || !isMost(most, number))
    return false;
  return matchCommuted(stripRows(scale), "onnx.Max", [&](Value a, Value b) {
    Operation *abs = getNode(stripRows(a), "onnx.Abs");
    return abs && isSameRows(abs->getOperand(0), logits) && isMost(b, number);
  });
}

bool SparseMixerReader::readRound(const Round &round, int number) {
  std::optional<Best> best = readBest(round.id, 1);
  if (!best)
    return false;
  if (number == 0)
    logits = stripRows(best->scores);
  bool isPlaced =
      isSameRows(best->scores, logits)
          ? best->rank == number
          : number == 1 && best->rank == 0 && isMasked(best->scores);
  Operation *gather = getNode(stripRows(round.weight), "onnx.GatherElements");
  if (!isPlaced || !gather || !isSameRows(gather->getOperand(1), round.id))
    return false;
  std::optional<ScoreOf> shares = readScore(gather->getOperand(0));
  if (!shares || shares->score != ir::Score::Softmax)
    return false;
  Operation *where = getNode(stripRows(shares->logits), "onnx.Where");
  if (!where ||
      !isNumber(where->getOperand(1), -std::numeric_limits<double>::infinity()))
    return false;
  Value kept = where->getOperand(2);
  bool isKept = number == 0 ? isSameRows(kept, logits) : isMasked(kept);
  return isKept && readFar(where->getOperand(0), number);
}

bool SparseMixerReader::run(const Round &first, const Round &second) {
  firstId = first.id;
  return readRound(first, 0) && readRound(second, 1);
}

/// The only Concat of weights that belongs to one of ids.
static Operation *findWeights(Operation *ids) {
  for (Operation *gather : getRowsUsers(ids->getOperand(0))) {
    if (gather->getName().getStringRef() != "onnx.GatherElements")
      continue;
    for (Operation *user : getRowsUsers(gather->getResult(0)))
      if (user->getName().getStringRef() == "onnx.Concat" && user != ids)
        return user;
  }
  return nullptr;
}

Found moe::readSparseMixer(Operation *ids, Router &router, Refusal &refuse) {
  auto isPair = [](Operation *op) {
    int64_t rank = getRank(op->getResult(0));
    return op->getNumOperands() == 2 && rank >= 2 &&
           getAxis(op, "axis", 0, rank) == rank - 1 &&
           getColumns(op->getOperand(0)) == 1 &&
           getColumns(op->getOperand(1)) == 1;
  };
  Type element = match::getElementType(ids->getResult(0));
  if (!element || !element.isInteger() || !isPair(ids) ||
      !readBest(ids->getOperand(0), 1) || !readBest(ids->getOperand(1), 1))
    return Found::No;
  Operation *weights = findWeights(ids);
  if (!weights || !isPair(weights))
    return Found::No;
  SparseMixerReader reader;
  if (!reader.run({ids->getOperand(0), weights->getOperand(0)},
                  {ids->getOperand(1), weights->getOperand(1)})) {
    refuse(ids, "the two best experts are not weighed as a sparse mixer does");
    return Found::Refused;
  }
  Type type = match::getElementType(reader.logits);
  if ((!isComputedInF32(type) && !type.isF64()) || getRank(reader.logits) < 2) {
    refuse(ids, "logits are no matrix of floats of 16, 32 or 64 bits");
    return Found::Refused;
  }
  ir::Routing &routing = router.routing;
  routing.k = 2;
  routing.score = ir::Score::SparseMixer;
  // The limit is 2 * jitter, rounded to the type that is computed in.
  routing.jitter = toShortest(reader.limit / 2, type);
  if (!type.isF64() && static_cast<float>(2 * routing.jitter) !=
                           static_cast<float>(reader.limit))
    routing.jitter = reader.limit / 2;
  router.logits = reader.logits;
  readTransform(router.logits, routing);
  router.logits = stripRows(router.logits);
  router.anchor = ids;
  router.ids = ids->getResult(0);
  router.weights = weights->getResult(0);
  router.shaped = reader.logits;
  router.isRouting = true;
  return Found::Yes;
}
