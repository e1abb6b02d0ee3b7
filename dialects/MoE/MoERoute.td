//===- MoERoute.td - choosing experts ----------------------*- tablegen -*-===//
#ifndef MOE_DIALECTS_MOE_MOEROUTE_TD
#define MOE_DIALECTS_MOE_MOEROUTE_TD

include "dialects/MoE/MoEAttrs.td"

def MoE_RouteOp : MoE_Op<"route", [Pure, AttrSizedOperandSegments]> {
  let summary = "pick k experts for each token";
  let description = [{
    From logits [T, E] to `ids` [T, k] and `weights` [T, k] as `routing` says
    (see `#moe.routing`). What stands before the logits (a projection, a second
    layer, a recurrent router) stays ordinary operators.

    - `select_bias` [E] is added to the selection scores only
      (aux-loss-free balancing of DeepSeek-V3).
    - `expert_scale` [E] multiplies the weights of an expert (Gemma 4).
    - `mix` [T, E] replaces the scores of which the weights are gathered
      (`router_weights` of com.microsoft.QMoE).
    - `forced` [T, k] replaces the selection (hash layers); -1 leaves a slot
      empty.
    - `valid` [T]: tokens for which it is false get ids -1 and weights 0.

    ids outside of [-1, E) in `forced` end the run with an error.

    ```mlir
    func.func @mixtral(%logits: tensor<?x8xf32>) -> (tensor<?x2xi32>, tensor<?x2xf32>) {
      %ids, %weights = moe.route %logits {routing = #moe.routing<k = 2, norm = sum>}
          : tensor<?x8xf32> -> tensor<?x2xi32>, tensor<?x2xf32>
      return %ids, %weights : tensor<?x2xi32>, tensor<?x2xf32>
    }
    ```
  }];
  let arguments = (ins MoE_FloatMatrix:$logits,
                       Optional<MoE_FloatVector>:$select_bias,
                       Optional<MoE_FloatVector>:$expert_scale,
                       Optional<MoE_FloatMatrix>:$mix,
                       Optional<MoE_Ids>:$forced,
                       Optional<RankedTensorOf<[I1], [HasAnyRankOfPred<[1]>]>>:$valid,
                       MoE_RoutingAttr:$routing);
  let results = (outs MoE_Ids:$ids, MoE_Weights:$weights);
  let assemblyFormat = [{
    $logits
    (`select_bias` `(` $select_bias^ `:` type($select_bias) `)`)?
    (`expert_scale` `(` $expert_scale^ `:` type($expert_scale) `)`)?
    (`mix` `(` $mix^ `:` type($mix) `)`)?
    (`forced` `(` $forced^ `:` type($forced) `)`)?
    (`valid` `(` $valid^ `:` type($valid) `)`)?
    attr-dict `:` type($logits) `->` type($ids) `,` type($weights)
  }];
  let hasVerifier = 1;
  let hasCanonicalizeMethod = 1;
}

def MoE_RouteBalancedOp : MoE_Op<"route_balanced", [Pure]> {
  let summary = "pick C tokens for each expert";
  let description = [{
    From scores [T, E] to `tokens` [E, C] (-1 where a place stays empty, which
    happens for T < C) and `weights` [E, C].

    - `expert_choice`: each expert takes the C tokens with the largest
      softmax (over experts) of the logits, in descending order; the weight is
      that probability (Zhou et al. 2022).
    - `sinkhorn`: as `expert_choice`, of the plan d0 * exp(l) * d1 after `iterations`
      scalings with marginals 1/T and 1/E instead of the softmax.
    - `sparse_ot`: quadratically regularised optimal transport with columns
      of at most C entries, `gamma` the weight of the regularisation; solved in
      its semi-dual by `iterations` steps (Liu et al. 2023). The weight is E
      times the entry of the plan.

    ```mlir
    func.func @choice(%logits: tensor<?x4xf32>) -> (tensor<4x16xi32>, tensor<4x16xf32>) {
      %tokens, %weights = moe.route_balanced %logits {method = #moe.method<expert_choice>, capacity = 16}
          : tensor<?x4xf32> -> tensor<4x16xi32>, tensor<4x16xf32>
      return %tokens, %weights : tensor<4x16xi32>, tensor<4x16xf32>
    }
    ```
  }];
  let arguments = (ins MoE_FloatMatrix:$logits,
                       MoE_BalancedMethodAttr:$method,
                       ConfinedAttr<I64Attr, [IntPositive]>:$capacity,
                       DefaultValuedAttr<F64Attr, "1.0">:$gamma,
                       DefaultValuedAttr<ConfinedAttr<I64Attr, [IntPositive]>, "16">:$iterations);
  let results = (outs MoE_Ids:$tokens, MoE_Weights:$weights);
  let assemblyFormat = [{
    $logits attr-dict `:` type($logits) `->` type($tokens) `,` type($weights)
  }];
  let hasVerifier = 1;
}

def MoE_SoftRouteOp : MoE_Op<"soft_route", [Pure,
    AllTypesMatch<["logits", "dispatch", "combine"]>]> {
  let summary = "mixtures of tokens instead of a choice";
  let description = [{
    From logits [.., T, Q], Q = E * slots, to `dispatch` (softmax over tokens)
    and `combine` (softmax over slots), both [.., T, Q] (SoftMoE, Puigcerver et
    al. 2023). Slots of one expert are neighbours.

    ```mlir
    func.func @soft(%logits: tensor<?x16x8xf32>) -> (tensor<?x16x8xf32>, tensor<?x16x8xf32>) {
      %dispatch, %combine = moe.soft_route %logits : tensor<?x16x8xf32>
      return %dispatch, %combine : tensor<?x16x8xf32>, tensor<?x16x8xf32>
    }
    ```
  }];
  let arguments = (ins MoE_FloatTensor:$logits);
  let results = (outs MoE_FloatTensor:$dispatch, MoE_FloatTensor:$combine);
  let assemblyFormat = "$logits attr-dict `:` type($logits)";
  let hasVerifier = 1;
}

def MoE_LoadStatsOp : MoE_Op<"load_stats", [Pure]> {
  let summary = "how often experts are used";
  let description = [{
    `counts` [E]: slots that picked an expert; `gate_sum` [E]: the sum of their
    weights; `prob_sum` [E]: the sum over tokens of `probs` [T, E] (zeros
    without it). ids -1 count nowhere. Sums are f64 in the order of tokens, so
    statistics of parts add up to those of the whole.

    ```mlir
    func.func @stats(%ids: tensor<?x2xi32>, %weights: tensor<?x2xf32>, %probs: tensor<?x8xf32>)
        -> (tensor<8xi64>, tensor<8xf64>, tensor<8xf64>) {
      %counts, %gates, %sums = moe.load_stats %ids, %weights probs(%probs : tensor<?x8xf32>)
          : tensor<?x2xi32>, tensor<?x2xf32> -> tensor<8xi64>, tensor<8xf64>, tensor<8xf64>
      return %counts, %gates, %sums : tensor<8xi64>, tensor<8xf64>, tensor<8xf64>
    }
    ```
  }];
  let arguments = (ins MoE_Ids:$ids, MoE_Weights:$weights,
                       Optional<MoE_FloatMatrix>:$probs);
  let results = (outs RankedTensorOf<[I64], [HasAnyRankOfPred<[1]>]>:$counts,
                      RankedTensorOf<[F64], [HasAnyRankOfPred<[1]>]>:$gate_sum,
                      RankedTensorOf<[F64], [HasAnyRankOfPred<[1]>]>:$prob_sum);
  let assemblyFormat = [{
    $ids `,` $weights (`probs` `(` $probs^ `:` type($probs) `)`)? attr-dict `:`
    type($ids) `,` type($weights) `->`
    type($counts) `,` type($gate_sum) `,` type($prob_sum)
  }];
  let hasVerifier = 1;
}

#endif // MOE_DIALECTS_MOE_MOEROUTE_TD
