//===- MoECapacity.cpp - rules of experts with a capacity -----------------===//

#include "dialects/MoE/MoEDialect.h"
#include "dialects/MoE/MoEVerify.h"
#include "mlir/IR/TypeUtilities.h"
#include <cmath>

using namespace mlir;
using namespace moe::ir;

/// All or none have an axis of sequences.
LogicalResult CapacityOp::verifyRanks() {
  int64_t rank = getIds().getType().getRank();
  auto check = [&](StringRef name, Value value, int64_t expected) {
    auto type = cast<RankedTensorType>(value.getType());
    if (type.getRank() == expected)
      return success();
    return LogicalResult(emitOpError()
                         << "has '" << name << "' of type " << type << "; rank "
                         << expected << " is accepted with 'ids' of type "
                         << getIds().getType());
  };
  if (failed(check("weights", getWeights(), rank)) ||
      (getScores() && failed(check("scores", getScores(), rank - 1))) ||
      failed(check("kept_ids", getKeptIds(), rank)))
    return failure();
  return check("kept_weights", getKeptWeights(), rank);
}

LogicalResult CapacityOp::verify() {
  if (failed(verifyRanks()))
    return failure();
  ExtentCheck check(*this);
  int64_t rank = getIds().getType().getRank();
  int64_t slots = getExtent(getIds(), -1);
  if (slots == 0)
    return emitOpError() << "has 'ids' of type " << getIds().getType()
                         << " with 0 slots per token; 1 or more are accepted";
  StringRef meanings[] = {"sequences of 'ids'", "tokens of 'ids'",
                          "slots of 'ids'"};
  for (int64_t i = 0; i < rank; ++i) {
    int64_t extent = getExtent(getIds(), i);
    StringRef meaning = meanings[3 - rank + i];
    if (failed(check("weights", getWeights(), i, extent, meaning)) ||
        (i + 1 < rank &&
         failed(check("scores", getScores(), i, extent, meaning))) ||
        failed(check("kept_ids", getKeptIds(), i, extent, meaning)) ||
        failed(check("kept_weights", getKeptWeights(), i, extent, meaning)))
      return failure();
  }
  if (failed(checkConstantIds(*this, "ids", getIds(), -1, getNumExperts())))
    return failure();
  Type given = getElementTypeOrSelf(getWeights()),
       kept = getElementTypeOrSelf(getKeptWeights());
  if (given != kept)
    return emitOpError() << "keeps weights of type " << kept
                         << " of weights of type " << given << "; " << given
                         << " is accepted";
  if (getScores() && getPriority() == Priority::None)
    return emitOpError("has 'scores' and priority = none, which does not look "
                       "at them; priority = prob is accepted");
  double value = getValue().convertToDouble();
  if (getMode() != CapacityMode::Absolute) {
    if (!std::isfinite(value) || value < 0)
      return emitOpError() << "value is " << getValueAttr()
                           << "; finite numbers from 0 are accepted";
    return success();
  }
  // Numbers up to 2^53 are exact.
  if (!(value >= 0 && value <= 9007199254740992.0) ||
      value != std::floor(value))
    return emitOpError() << "value is " << getValueAttr()
                         << "; whole numbers from 0 to 9007199254740992 are "
                            "accepted with mode = absolute";
  return success();
}
