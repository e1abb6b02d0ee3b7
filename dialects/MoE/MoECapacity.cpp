//===- MoECapacity.cpp - rules of experts with a capacity -----------------===//

#include "dialects/MoE/MoEDialect.h"
#include "dialects/MoE/MoEVerify.h"
#include "mlir/IR/TypeUtilities.h"
#include <cmath>

using namespace mlir;
using namespace moe::ir;

LogicalResult CapacityOp::verify() {
  ExtentCheck check(*this);
  int64_t tokens = getExtent(getIds(), 0), slots = getExtent(getIds(), 1);
  StringRef ofT = "tokens of 'ids'", ofK = "slots of 'ids'";
  if (slots == 0)
    return emitOpError() << "has 'ids' of type " << getIds().getType()
                         << " with 0 slots per token; 1 or more are accepted";
  if (failed(check("weights", getWeights(), 0, tokens, ofT)) ||
      failed(check("weights", getWeights(), 1, slots, ofK)) ||
      failed(check("scores", getScores(), 0, tokens, ofT)) ||
      failed(check("kept_ids", getKeptIds(), 0, tokens, ofT)) ||
      failed(check("kept_ids", getKeptIds(), 1, slots, ofK)) ||
      failed(check("kept_weights", getKeptWeights(), 0, tokens, ofT)) ||
      failed(check("kept_weights", getKeptWeights(), 1, slots, ofK)) ||
      failed(checkConstantIds(*this, "ids", getIds(), -1, getNumExperts())))
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
