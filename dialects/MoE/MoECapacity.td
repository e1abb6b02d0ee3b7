//===- MoECapacity.td - experts with a capacity ------------*- tablegen -*-===//
#ifndef MOE_DIALECTS_MOE_MOECAPACITY_TD
#define MOE_DIALECTS_MOE_MOECAPACITY_TD

include "dialects/MoE/MoEAttrs.td"

def MoE_CapacityMode : MoE_Enum<"CapacityMode", "what the places of an expert are counted by", [
  I32EnumAttrCase<"Absolute", 0, "absolute">,
  I32EnumAttrCase<"Factor", 1, "factor">,
  I32EnumAttrCase<"Fraction", 2, "fraction">]>;
def MoE_CapacityModeAttr : MoE_EnumOf<MoE_CapacityMode, "capacity_mode">;
def MoE_QueueOrder : MoE_Enum<"QueueOrder", "which slot stands in front", [
  I32EnumAttrCase<"Choice", 0, "choice">,
  I32EnumAttrCase<"Token", 1, "token">]>;
def MoE_QueueOrderAttr : MoE_EnumOf<MoE_QueueOrder, "queue">;
def MoE_Priority : MoE_Enum<"Priority", "which token stands in front", [
  I32EnumAttrCase<"None", 0, "none">,
  I32EnumAttrCase<"Prob", 1, "prob">]>;
def MoE_PriorityAttr : MoE_EnumOf<MoE_Priority, "priority">;

/// Slots of tokens; with a leading axis those of sequences.
def MoE_QueueIds : RankedTensorOf<[I32], [HasAnyRankOfPred<[2, 3]>],
                                  "tensor of i32 of rank 2 or 3">;
def MoE_QueueWeights : RankedTensorOf<[F32, F64], [HasAnyRankOfPred<[2, 3]>],
                                      "tensor of f32 or f64 of rank 2 or 3">;
def MoE_QueueScores : RankedTensorOf<[F32, F64], [HasAnyRankOfPred<[1, 2]>],
                                     "tensor of f32 or f64 of rank 1 or 2">;

def MoE_CapacityOp : MoE_Op<"capacity", [Pure]> {
  let summary = "drop slots that find their expert full";
  let description = [{
    From `ids` [T, k] and `weights` [T, k] to the same with id -1 and weight 0
    in the slots that are dropped: those with C or more slots in front of them
    in the queue of their expert, dropped ones included. Slots that come with
    id -1 stand in no queue; their weight becomes 0.

    `mode` and `value` say what the capacity C is:

    - `absolute`: `value`, a whole number.
    - `factor`: k * floor(value * ceil(T / E)), E = `num_experts` (Tutel; GShard
      and NLLB-MoE without a fraction).
    - `fraction`: ceil(value * T) (NLLB-MoE at inference).

    Both products are those of f64.

    Slots queue up in the `order` all first choices, then all second ones
    (`choice`), or all choices of one token, then those of the next (`token`).
    Tokens come as they are, or with `priority = prob` in descending order of
    `scores` [T], by default the weights of their first choices; equal ones as
    they are (batch prioritised routing, Riquelme et al. 2021).

    Unlike a router, this looks at all tokens of a batch: what is dropped of one
    depends on the others. With `ids` and `weights` of type [B, T, k] (`scores`
    [B, T]) only those of its sequence count: each of the B sequences has queues
    of its own, and T is the number of tokens in one.

    ids outside of [-1, E) end the run with an error, and so does k = 0.

    ```mlir
    // NLLB-MoE with batch_prioritized_routing
    func.func @nllb(%ids: tensor<?x2xi32>, %weights: tensor<?x2xf32>) -> (tensor<?x2xi32>, tensor<?x2xf32>) {
      %kept, %kept_weights = moe.capacity %ids, %weights
          {num_experts = 128, mode = #moe.capacity_mode<fraction>, value = 1.0, priority = #moe.priority<prob>}
          : tensor<?x2xi32>, tensor<?x2xf32> -> tensor<?x2xi32>, tensor<?x2xf32>
      return %kept, %kept_weights : tensor<?x2xi32>, tensor<?x2xf32>
    }
    // Tokens queue up by another score than their weights
    func.func @scored(%ids: tensor<?x2xi32>, %weights: tensor<?x2xf32>, %scores: tensor<?xf32>)
        -> (tensor<?x2xi32>, tensor<?x2xf32>) {
      %kept, %kept_weights = moe.capacity %ids, %weights scores(%scores : tensor<?xf32>)
          {num_experts = 8, mode = #moe.capacity_mode<factor>, value = 1.25, priority = #moe.priority<prob>}
          : tensor<?x2xi32>, tensor<?x2xf32> -> tensor<?x2xi32>, tensor<?x2xf32>
      return %kept, %kept_weights : tensor<?x2xi32>, tensor<?x2xf32>
    }
    // GShard: 64 places per expert and sequence
    func.func @sequences(%ids: tensor<?x512x2xi32>, %weights: tensor<?x512x2xf32>)
        -> (tensor<?x512x2xi32>, tensor<?x512x2xf32>) {
      %kept, %kept_weights = moe.capacity %ids, %weights
          {num_experts = 16, mode = #moe.capacity_mode<absolute>, value = 64.0}
          : tensor<?x512x2xi32>, tensor<?x512x2xf32> -> tensor<?x512x2xi32>, tensor<?x512x2xf32>
      return %kept, %kept_weights : tensor<?x512x2xi32>, tensor<?x512x2xf32>
    }
    ```
  }];
  let arguments = (ins MoE_QueueIds:$ids, MoE_QueueWeights:$weights,
                       Optional<MoE_QueueScores>:$scores,
                       ConfinedAttr<I64Attr, [IntMinValue<1>, IntMaxValue<1048576>]>:$num_experts,
                       MoE_CapacityModeAttr:$mode,
                       F64Attr:$value,
                       DefaultValuedAttr<MoE_QueueOrderAttr, "::moe::ir::QueueOrder::Choice">:$order,
                       DefaultValuedAttr<MoE_PriorityAttr, "::moe::ir::Priority::None">:$priority);
  let results = (outs MoE_QueueIds:$kept_ids, MoE_QueueWeights:$kept_weights);
  let assemblyFormat = [{
    $ids `,` $weights (`scores` `(` $scores^ `:` type($scores) `)`)? attr-dict `:`
    type($ids) `,` type($weights) `->` type($kept_ids) `,` type($kept_weights)
  }];
  let hasVerifier = 1;
  let extraClassDeclaration = [{
    /// Whether each sequence has queues of its own.
    bool hasSequences() { return getIds().getType().getRank() == 3; }

  private:
    ::mlir::LogicalResult verifyRanks();
  }];
}

#endif // MOE_DIALECTS_MOE_MOECAPACITY_TD
