//===- MoERoute.cpp - rules of the ops that choose experts ----------------===//

#include "dialects/MoE/MoEDialect.h"
#include "dialects/MoE/MoEVerify.h"

using namespace mlir;
using namespace moe::ir;

//===----------------------------------------------------------------------===//
// moe.route
//===----------------------------------------------------------------------===//

LogicalResult RouteOp::verify() {
  RoutingAttr routing = getRouting();
  int64_t tokens = getExtent(getLogits(), 0);
  int64_t experts = getExtent(getLogits(), 1);
  int64_t k = routing.getK();
  GroupsAttr groups = routing.getGroups();

  ExtentCheck check(*this);
  StringRef ofT = "tokens of the logits", ofE = "experts of the logits";
  if (failed(check("select_bias", getSelectBias(), 0, experts, ofE)) ||
      failed(check("expert_scale", getExpertScale(), 0, experts, ofE)) ||
      failed(check("mix", getMix(), 0, tokens, ofT)) ||
      failed(check("mix", getMix(), 1, experts, ofE)) ||
      failed(check("forced", getForced(), 0, tokens, ofT)) ||
      failed(check("forced", getForced(), 1, k, "k of the routing")) ||
      failed(check("valid", getValid(), 0, tokens, ofT)) ||
      failed(check("ids", getIds(), 0, tokens, ofT)) ||
      failed(check("ids", getIds(), 1, k, "k of the routing")) ||
      failed(check("weights", getWeights(), 0, tokens, ofT)) ||
      failed(check("weights", getWeights(), 1, k, "k of the routing")) ||
      failed(checkWeightType(*this, getWeights(), getLogits())))
    return failure();

  auto exclude = [&](Value operand, StringRef name, StringRef with) {
    if (!operand)
      return success();
    return LogicalResult(emitOpError() << "has '" << name << "' and " << with
                                       << "; one of them is accepted");
  };
  if (getForced()) {
    StringRef with = "'forced', which leaves nothing to select";
    if (failed(exclude(getSelectBias(), "select_bias", with)) ||
        failed(checkConstantIds(*this, "forced", getForced(), -1, experts)))
      return failure();
    if (groups)
      return emitOpError() << "has 'groups' and " << with
                           << "; one of them is accepted";
    if (!routing.getRanks().empty())
      return emitOpError() << "has 'ranks' and " << with
                           << "; one of them is accepted";
  }
  if (routing.getScore() == Score::SparseMixer) {
    StringRef with = "score = sparsemixer, a procedure of its own";
    if (failed(exclude(getSelectBias(), "select_bias", with)) ||
        failed(exclude(getExpertScale(), "expert_scale", with)) ||
        failed(exclude(getMix(), "mix", with)) ||
        failed(exclude(getForced(), "forced", with)))
      return failure();
  }
  if (getMix() && routing.getScoreOn() == ScoreOn::Selected)
    return emitOpError() << "has 'mix', whose weights are not scored, and "
                            "score_on = selected; score_on = all is accepted";

  if (ShapedType::isDynamic(experts))
    return success();
  if (!getForced() && k > experts)
    return emitOpError() << "picks k = " << k << " of E = " << experts
                         << " experts; at most " << experts << " are accepted";
  // What has to be sorted: the worst rank decides.
  int64_t sorted = k;
  for (int64_t rank : routing.getRanks()) {
    if (rank >= experts)
      return emitOpError() << "picks rank " << rank << " of E = " << experts
                           << " experts; ranks below " << experts
                           << " are accepted";
    sorted = std::max(sorted, rank + 1);
  }
  for (int64_t id : routing.getNullBeforeNorm())
    if (id >= experts)
      return emitOpError() << "null_before_norm holds " << id
                           << ", but E = " << experts << "; ids below "
                           << experts << " are accepted";
  if (!groups)
    return success();
  if (experts % groups.getN())
    return emitOpError() << "forms n = " << groups.getN()
                         << " groups of E = " << experts
                         << " experts; a divisor of " << experts
                         << " is accepted";
  int64_t size = experts / groups.getN();
  if (groups.getReduce() == GroupReduce::Top2Sum && size < 2)
    return emitOpError() << "sums the two best of groups of " << size
                         << " expert; groups of 2 or more are accepted with "
                            "reduce = top2sum";
  if (sorted > groups.getKeep() * size)
    return emitOpError() << "picks rank " << sorted - 1
                         << " among keep = " << groups.getKeep()
                         << " groups of " << size << " experts; ranks below "
                         << groups.getKeep() * size << " are accepted";
  return success();
}

//===----------------------------------------------------------------------===//
// moe.route_balanced, moe.soft_route, moe.load_stats
//===----------------------------------------------------------------------===//

LogicalResult RouteBalancedOp::verify() {
  ExtentCheck check(*this);
  int64_t experts = getExtent(getLogits(), 1), places = getCapacity();
  StringRef ofE = "experts of the logits", ofC = "capacity";
  if (failed(check("tokens", getTokens(), 0, experts, ofE)) ||
      failed(check("tokens", getTokens(), 1, places, ofC)) ||
      failed(check("weights", getWeights(), 0, experts, ofE)) ||
      failed(check("weights", getWeights(), 1, places, ofC)) ||
      failed(checkWeightType(*this, getWeights(), getLogits())))
    return failure();
  if (!getGamma().isFinite() || !(getGamma().convertToDouble() > 0))
    return emitOpError() << "gamma is " << getGammaAttr()
                         << "; finite numbers above 0 are accepted";
  return success();
}

LogicalResult SoftRouteOp::verify() {
  int64_t rank = cast<RankedTensorType>(getLogits().getType()).getRank();
  if (rank < 2)
    return emitOpError() << "has logits of rank " << rank
                         << "; tokens and slots, rank 2 or more, are accepted";
  return success();
}

LogicalResult LoadStatsOp::verify() {
  ExtentCheck check(*this);
  int64_t tokens = getExtent(getIds(), 0);
  int64_t experts = known(getExtent(getProbs(), 1), getExtent(getCounts(), 0));
  StringRef ofE = getProbs() ? "experts of 'probs'" : "experts of 'counts'";
  if (failed(check("weights", getWeights(), 0, tokens, "tokens of 'ids'")) ||
      failed(check("weights", getWeights(), 1, getExtent(getIds(), 1),
                   "slots of 'ids'")) ||
      failed(check("probs", getProbs(), 0, tokens, "tokens of 'ids'")) ||
      failed(check("counts", getCounts(), 0, experts, ofE)) ||
      failed(check("gate_sum", getGateSum(), 0, experts, ofE)) ||
      failed(check("prob_sum", getProbSum(), 0, experts, ofE)))
    return failure();
  return checkConstantIds(*this, "ids", getIds(), -1, experts);
}
