//===- Passes.td - from ONNX to experts and back -----------*- tablegen -*-===//
#ifndef MOE_PASSES_RAISE_PASSES_TD
#define MOE_PASSES_RAISE_PASSES_TD

include "mlir/Pass/PassBase.td"

def RaiseContrib : Pass<"moe-raise-contrib", "::mlir::func::FuncOp"> {
  let summary = "com.microsoft's MoE and QMoE as moe ops";
  let description = [{
    Rewrites each `onnx_ms.MoE` and `onnx_ms.QMoE` into `moe.route`, which
    picks experts from `router_probs` (logits in spite of their name), and
    `moe.experts`; banks of QMoE become `moe.dequantize`. Inputs of rank 3 are
    flattened in front and given their shape back behind.

    | attribute or input | becomes |
    |---|---|
    | `k`, `normalize_routing_weights` of MoE | `score = softmax`, `norm = sum` if set |
    | QMoE | softmax over the selected (`score_on = selected`): its CPU kernel always normalises |
    | `router_weights` | operand `mix`, `score = identity`, `norm = sum` if normalised |
    | `use_sparse_mixer` | `score = sparsemixer, jitter = 0.01` |
    | `activation_type`, `activation_alpha`, `activation_beta`, `swiglu_limit`, `swiglu_limit_after_activation` | the activation's region |
    | `swiglu_fusion` 0, 1, 2 | `gate_up = separate, interleave, concat` |
    | `fc3_experts_weights` | `up` (with any activation: act(gate) * up) |
    | `expert_weight_bits` and those of fc1 to fc3, `block_size` | `bits`, `block` |

    Of equal scores the last expert comes first (`tie = highest`), as in ONNX
    Runtime on CPUs; its sparse mixer, which only its other providers have,
    takes the first. Two attributes have no effect: `accuracy_level`, since
    products are f32 in any case, and `weights_prepacked` of 0 and -1.

    ```mlir
    %y = onnx_ms.MoE(%x, %logits, %w1, _, %w2) {activation_type = "silu", k = 2 : i64}
        : (tensor<?x64xf32>, tensor<?x8xf32>, tensor<8x128x64xf32>, tensor<8x64x128xf32>) -> tensor<?x64xf32>
    ```
    becomes
    ```mlir
    %ids, %weights = moe.route %logits {routing = #moe.routing<k = 2, tie = highest>}
        : tensor<?x8xf32> -> tensor<?x2xi32>, tensor<?x2xf32>
    %y = moe.experts %x route(%ids, %weights : tensor<?x2xi32>, tensor<?x2xf32>)
        gate(%w1 : tensor<8x128x64xf32>) down(%w2 : tensor<8x64x128xf32>)
        : tensor<?x64xf32> -> tensor<?x64xf32> {
    ^bb0(%h: tensor<f32>):
      %s = onnx.Sigmoid(%h) : (tensor<f32>) -> tensor<f32>
      %a = onnx.Mul(%h, %s) : (tensor<f32>, tensor<f32>) -> tensor<f32>
      moe.yield %a : tensor<f32>
    }
    ```

    What the compiler cannot run (weights in fp8, fp4 or 3 bits, layouts of one
    device) stays as it is, with a remark of category `raise` that says what
    would be accepted.
  }];
  let dependentDialects = ["::moe::ir::MoEDialect", "::moe::onnx::ONNXDialect"];
  let statistics = [
    Statistic<"numRaised", "raised", "Nodes that became moe ops">,
    Statistic<"numDeclined", "declined", "Nodes that stayed">,
  ];
}

def RaiseExperts : Pass<"moe-raise-experts", "::mlir::func::FuncOp"> {
  let summary = "layers of experts in plain nodes as moe.experts";
  let description = [{
    Finds layers of experts in the forms that exporters write them in and
    replaces each by one `moe.experts`: every expert's products, the activation
    between them, the weighting by slot and the sum over slots. The ids and
    weights are whatever values the graph has; `moe-raise-routers` is about
    where they come from.

    | form | what it is known by |
    |---|---|
    | gathered weights | products (MatMul, Einsum, Gemm) with `bank[ids]`; tokens are repeated for their slots (Expand, Tile, Gather with i / k, or broadcast), or have one slot, or share an id |
    | dense | products with all of a bank for all tokens, summed with gates over the experts; gates scattered into zeros give ids and weights, others are weights of all experts |
    | scaled inputs | the same with gates that scale what goes in (`scale_at = input`), if experts are proven to give 0 for zeros |
    | masked sum | f_0(x) * g[:, 0] + f_1(x) * g[:, 1] + .., each with products of its own; x * g[:, i] is an expert that copies |
    | stack | Concat of all experts' results, of which GatherElements picks some or gates sum all |

    ```mlir
    %rows = onnx.Unsqueeze(%x, %one) : (tensor<?x64xf32>, tensor<1xi64>) -> tensor<?x1x64xf32>
    %both = onnx.Expand(%rows, %two) : (tensor<?x1x64xf32>, tensor<3xi64>) -> tensor<?x2x64xf32>
    %w1 = onnx.Gather(%up, %ids) : (tensor<8x64x32xf32>, tensor<?x2xi64>) -> tensor<?x2x64x32xf32>
    %h = onnx.Einsum(%both, %w1) {equation = "nkh,nkhf->nkf"} : (tensor<?x2x64xf32>, tensor<?x2x64x32xf32>) -> tensor<?x2x32xf32>
    %a = onnx.Relu(%h) : (tensor<?x2x32xf32>) -> tensor<?x2x32xf32>
    %w2 = onnx.Gather(%down, %ids) : (tensor<8x32x64xf32>, tensor<?x2xi64>) -> tensor<?x2x32x64xf32>
    %o = onnx.Einsum(%a, %w2) {equation = "nkf,nkfh->nkh"} : (tensor<?x2x32xf32>, tensor<?x2x32x64xf32>) -> tensor<?x2x64xf32>
    %y = onnx.Einsum(%weights, %o) {equation = "nk,nkh->nh"} : (tensor<?x2xf32>, tensor<?x2x64xf32>) -> tensor<?x64xf32>
    ```
    becomes
    ```mlir
    %narrow = onnx.Cast(%ids) {to = 6 : i64} : (tensor<?x2xi64>) -> tensor<?x2xi32>
    %y = moe.experts %x route(%narrow, %weights : tensor<?x2xi32>, tensor<?x2xf32>)
        gate(%up : tensor<8x64x32xf32>) down(%down : tensor<8x32x64xf32>)
        {layout = #moe.layout<io>} : tensor<?x64xf32> -> tensor<?x64xf32> {
    ^bb0(%h: tensor<f32>):
      %a = onnx.Relu(%h) : (tensor<f32>) -> tensor<f32>
      moe.yield %a : tensor<f32>
    }
    ```

    Ids may be any values of the graph: negative ones, which count from the end
    in ONNX, are made positive unless that is known not to happen.

    Types and extents must be inferred (`onnx-infer-shapes`). All is proven from
    the structure of the graph, its constants and the names of extents; names of
    nodes and values are not looked at. What looks like a layer of experts and
    is none by one rule stays, with a remark of category `raise` that names the
    node and the rule.
  }];
  let dependentDialects = ["::moe::ir::MoEDialect", "::moe::onnx::ONNXDialect",
                           "::moe::rt::RtDialect"];
  let statistics = [
    Statistic<"numRaised", "raised", "Layers that became moe.experts">,
    Statistic<"numMissed", "missed", "Layers that were recognised and stayed">,
  ];
}

def RaiseNorms : Pass<"moe-raise-norms", "::mlir::func::FuncOp"> {
  let summary = "normalisations in plain nodes as moe.norm";
  let description = [{
    Layer norms (mean, difference, mean of its square, root, quotient), RMS norms
    and group norms (an InstanceNormalization between two Reshapes), however
    squares, roots and quotients are spelled, with the casts around them and the
    constant scale and bias behind them.

    ```mlir
    %two = onnx.Constant() {value = dense<2.0> : tensor<f32>} : () -> tensor<f32>
    %eps = onnx.Constant() {value = dense<1.0e-05> : tensor<f32>} : () -> tensor<f32>
    %axis = onnx.Constant() {value = dense<-1> : tensor<1xi64>} : () -> tensor<1xi64>
    %0 = onnx.Pow(%x, %two) : (tensor<?x64xf32>, tensor<f32>) -> tensor<?x64xf32>
    %1 = onnx.ReduceMean(%0, %axis) : (tensor<?x64xf32>, tensor<1xi64>) -> tensor<?x1xf32>
    %2 = onnx.Add(%1, %eps) : (tensor<?x1xf32>, tensor<f32>) -> tensor<?x1xf32>
    %3 = onnx.Sqrt(%2) : (tensor<?x1xf32>) -> tensor<?x1xf32>
    %y = onnx.Div(%x, %3) : (tensor<?x64xf32>, tensor<?x1xf32>) -> tensor<?x64xf32>
    ```
    becomes
    ```mlir
    %y = moe.norm %x {kind = #moe.norm_kind<rms>, epsilon = 9.9999997473787516e-06}
        : tensor<?x64xf32> -> tensor<?x64xf32>
    ```

    Nodes that are one normalisation already stay as they are.
  }];
  let dependentDialects = ["::moe::ir::MoEDialect", "::moe::onnx::ONNXDialect"];
  let statistics = [
    Statistic<"numRaised", "raised", "Normalisations that became moe.norm">,
    Statistic<"numMissed", "missed", "Normalisations that stayed">,
  ];
}

def RaiseAttention : Pass<"moe-raise-attention", "::mlir::func::FuncOp"> {
  let summary = "attention in plain nodes as moe.attention";
  let description = [{
    Two products with a softmax between them become one `moe.attention`: with
    scores or queries and keys scaled, a soft cap, casts to f32 around the
    softmax, zeros for rows that are NaN, keys and values repeated for groups of
    heads, addends and masks.

    An addend that is 0 or one very low number everywhere is a mask, like the
    condition of a Where that hides scores. What a mask says of the numbers of
    queries and keys alone (`Range` against `Range`, a constant triangle, Trilu)
    becomes `causal` and `window`; the rest of it stays `mask`.

    Rows of the probabilities that the graph reads elsewhere (what the class
    token or the last token looks at) become `probs`.

    ```mlir
    %c = onnx.Constant() {value = dense<0.125> : tensor<f32>} : () -> tensor<f32>
    %kt = onnx.Transpose(%k) {perm = array<i64: 0, 1, 3, 2>}
        : (tensor<?x12x197x64xf32>) -> tensor<?x12x64x197xf32>
    %0 = onnx.MatMul(%q, %kt) : (tensor<?x12x197x64xf32>, tensor<?x12x64x197xf32>) -> tensor<?x12x197x197xf32>
    %1 = onnx.Mul(%0, %c) : (tensor<?x12x197x197xf32>, tensor<f32>) -> tensor<?x12x197x197xf32>
    %p = onnx.Softmax(%1) {axis = -1 : i64} : (tensor<?x12x197x197xf32>) -> tensor<?x12x197x197xf32>
    %o = onnx.MatMul(%p, %v) : (tensor<?x12x197x197xf32>, tensor<?x12x197x64xf32>) -> tensor<?x12x197x64xf32>
    ```
    becomes
    ```mlir
    %o = moe.attention %q, %k, %v {scale = 1.250000e-01 : f64}
        : tensor<?x12x197x64xf32>, tensor<?x12x197x64xf32>, tensor<?x12x197x64xf32> -> tensor<?x12x197x64xf32>
    ```

    Extents must be known to be equal (`onnx-infer-shapes`). What leads from one
    product over a softmax to another and does not fit stays, with a remark of
    category `raise` that names the node and the rule.
  }];
  let dependentDialects = ["::moe::ir::MoEDialect", "::moe::onnx::ONNXDialect"];
  let statistics = [
    Statistic<"numRaised", "raised", "Products that became moe.attention">,
    Statistic<"numMissed", "missed", "Products that stayed">,
  ];
}

def ExportContrib : Pass<"moe-export-contrib", "::mlir::func::FuncOp"> {
  let summary = "moe ops as com.microsoft's MoE and QMoE";
  let description = [{
    The way back of `moe-raise-contrib`: `moe.experts` with the `moe.route` in
    front of it becomes `onnx_ms.MoE`, or `onnx_ms.QMoE` if its banks are
    `moe.dequantize`, where the operator means exactly the same:

    - routing: softmax over all experts, or over the selected ones, weights as
      they are or divided by their sum, `tie = highest`; for QMoE also `mix` and
      weights as they are, which become `router_weights`; sparse mixer;
    - the activation is one that the operator has a name for, however its
      products and limits are written;
    - the slot's weight scales the output, `in_scale` is 1.

    Banks of layout `io` are transposed. With `log-weights` every other routing
    whose weights are not negative is written as well (and the sparse mixer,
    which ONNX Runtime's CPU provider does not have): `moe.route` stays, and
    the operator gets its outcome, log(w) for the selected experts and -1e30 for
    the others, whose softmax is w / sum(w); the result is multiplied by sum(w).
    QMoE gets 0 and -1e30 to select by and w as `router_weights`.

    ```mlir
    %ids, %w = moe.route %logits {routing = #moe.routing<k = 2, norm = sum, tie = highest>}
        : tensor<?x8xf32> -> tensor<?x2xi32>, tensor<?x2xf32>
    %y = moe.experts %x route(%ids, %w : tensor<?x2xi32>, tensor<?x2xf32>)
        gate(%w1 : tensor<8x128x64xf32>) down(%w2 : tensor<8x64x128xf32>)
        : tensor<?x64xf32> -> tensor<?x64xf32> {
    ^bb0(%h: tensor<f32>):
      %a = onnx.Relu(%h) : (tensor<f32>) -> tensor<f32>
      moe.yield %a : tensor<f32>
    }
    ```
    becomes
    ```mlir
    %y = onnx_ms.MoE(%x, %logits, %w1, _, %w2)
        {activation_type = "relu", k = 2 : i64, normalize_routing_weights = 1 : i64}
        : (tensor<?x64xf32>, tensor<?x8xf32>, tensor<8x128x64xf32>, tensor<8x64x128xf32>) -> tensor<?x64xf32>
    ```

    What does not fit stays, with a remark of category `raise`.
  }];
  let options = [
    Option<"logWeights", "log-weights", "bool", "false",
           "Write routings that the operators do not have as logarithms of "
           "their weights">,
    Option<"anyTie", "any-tie", "bool", "false",
           "Take a routing whatever it does with equal scores">,
    Option<"sparseMixer", "sparse-mixer", "bool", "true",
           "Write sparse mixers, which ONNX Runtime's CPU provider takes for "
           "plain routers">,
    Option<"interleave", "interleave", "bool", "false",
           "Write banks of gates and ups with alternating rows, the one form "
           "that ONNX Runtime's CPU provider runs">,
  ];
  let dependentDialects = ["::moe::onnx::ONNXDialect",
                           "::moe::onnx_ms::ONNXMsDialect"];
  let statistics = [
    Statistic<"numExported", "exported", "Ops that became nodes">,
    Statistic<"numDeclined", "declined", "Ops that stayed">,
  ];
}

def RaiseRouters : Pass<"moe-raise-routers", "::mlir::func::FuncOp"> {
  let summary = "Routers in plain nodes as moe.route";
  let description = [{
    Finds the routers that exporters write as plain nodes: from a choice of
    experts (TopK or ArgMax over the last axis) back to the logits and along the
    weights, and has `moe.route` give ids and weights. What stands before the
    logits and what runs the experts stays as it is; ids keep their type and
    shape, by Cast and Reshape.

    | nodes | become |
    |---|---|
    | Softmax, Sigmoid or sqrt(Softplus) in front of the choice | `score` |
    | the same behind it, on the values | `score_on = selected` |
    | logits divided by their deviation, c * tanh(x / c), logits times c | `logit_std`, `softcap`, `logit_mult` |
    | a vector that is added to what is selected by but not to the weights | `select_bias` |
    | groups' scores, their TopK, a mask of 0 or -inf | `groups` |
    | GatherElements of the scores, of the logits that were scored, of another matrix | weights, `select = logit`, `mix` |
    | division by ReduceSum (plus a number, or at least a number), ReduceL1, ReduceL2 | `norm`, `eps`, `p` |
    | zeros for some ids | `null_before_norm` |
    | Mul or Div by a number, by k, by an element of a vector at the id | `scale`, `k_div`, `expert_scale` |
    | ScatterElements of the values into -inf, then Sigmoid or Softmax | ScatterElements of the weights into 0 |
    | PhiMoE's two rounds | `score = sparsemixer` |

    Logits of more than two axes are flattened in front. The last step that
    still fits ends the router; what follows stays plain. Of equal scores the
    first expert comes first, as ONNX says; order of slots is that of a sorted
    TopK, also where the node leaves it open.

    Routers are computed in f32 (f64 for logits in f64): where nodes round
    scores or weights to f16 or bf16 on the way, these roundings are left out, so
    results only become more precise.

    ```mlir
    func.func @mixtral(%logits: tensor<?x8xf32>) -> (tensor<?x2x8xi64>, tensor<?x2xf32>) {
      %k = onnx.Constant() {value = dense<2> : tensor<1xi64>} : () -> tensor<1xi64>
      %last = onnx.Constant() {value = dense<-1> : tensor<1xi64>} : () -> tensor<1xi64>
      %depth = onnx.Constant() {value = dense<8> : tensor<i64>} : () -> tensor<i64>
      %hot = onnx.Constant() {value = dense<[0, 1]> : tensor<2xi64>} : () -> tensor<2xi64>
      %scores = onnx.Softmax(%logits) : (tensor<?x8xf32>) -> tensor<?x8xf32>
      %values, %ids = onnx.TopK(%scores, %k) : (tensor<?x8xf32>, tensor<1xi64>) -> (tensor<?x2xf32>, tensor<?x2xi64>)
      %sum = onnx.ReduceSum(%values, %last) : (tensor<?x2xf32>, tensor<1xi64>) -> tensor<?x1xf32>
      %weights = onnx.Div(%values, %sum) : (tensor<?x2xf32>, tensor<?x1xf32>) -> tensor<?x2xf32>
      %rows = onnx.OneHot(%ids, %depth, %hot) : (tensor<?x2xi64>, tensor<i64>, tensor<2xi64>) -> tensor<?x2x8xi64>
      return %rows, %weights : tensor<?x2x8xi64>, tensor<?x2xf32>
    }
    ```
    becomes
    ```mlir
    func.func @mixtral(%logits: tensor<?x8xf32>) -> (tensor<?x2x8xi64>, tensor<?x2xf32>) {
      %depth = onnx.Constant() {value = dense<8> : tensor<i64>} : () -> tensor<i64>
      %hot = onnx.Constant() {value = dense<[0, 1]> : tensor<2xi64>} : () -> tensor<2xi64>
      %ids, %weights = moe.route %logits {routing = #moe.routing<k = 2, norm = sum>}
          : tensor<?x8xf32> -> tensor<?x2xi32>, tensor<?x2xf32>
      %wide = onnx.Cast(%ids) {to = 7 : i64} : (tensor<?x2xi32>) -> tensor<?x2xi64>
      %rows = onnx.OneHot(%wide, %depth, %hot) : (tensor<?x2xi64>, tensor<i64>, tensor<2xi64>) -> tensor<?x2x8xi64>
      return %rows, %weights : tensor<?x2x8xi64>, tensor<?x2xf32>
    }
    ```

    A choice counts as one of experts if its ids become one-hot rows, are
    compared with constants, pick from a constant bank or results of all
    experts, or place weights in a row of experts; or if scores or norms stand
    around it and the ids leave the function or are sorted. Choices of tokens
    are none. Some routers have no op that means the same and stay, with a
    remark of category `raise` that names the node that did not fit: product
    keys, one choice for a whole batch, experts that choose among tokens of
    several sequences. A gate that weighs all experts chooses nothing and is not
    looked at.
  }];
  let dependentDialects = ["::moe::ir::MoEDialect", "::moe::onnx::ONNXDialect"];
  let statistics = [
    Statistic<"numRaised", "raised", "Routers that became moe ops">,
    Statistic<"numDeclined", "declined", "Routers that stayed">,
  ];
}

def RaisePooling : Pass<"moe-raise-pooling", "::mlir::func::FuncOp"> {
  let summary = "pools in plain nodes as moe.pool and moe.pool_select";
  let description = [{
    Recognises what exporters write for pools that ONNX has no operator for:

    - GeM: `Pow(p)` of a map, which may be limited from below (Clip, Max), a mean
      (AveragePool, GlobalAveragePool, or ReduceMean over the dims behind the
      second), and `Pow(1/p)`;
    - norms: the same with the mean multiplied by the number of its elements
      (torch's LPPool, which adds `Sign * Relu(Abs)`), for even p or elements
      that cannot be negative;
    - mixers: a pool plus or minus its input, either scaled by a number
      (PoolFormer; regional GeM);
    - pooling experts: maps that each choose one of several pools, stacked and
      gathered by an argmax.

    ```mlir
    func.func @gem(%x: tensor<?x32x8x8xf32>) -> tensor<?x32x1x1xf32> {
      %eps = onnx.Constant() {value = dense<1.0e-6> : tensor<f32>} : () -> tensor<f32>
      %p = onnx.Constant() {value = dense<3.0> : tensor<1xf32>} : () -> tensor<1xf32>
      %q = onnx.Constant() {value = dense<0.33333334> : tensor<1xf32>} : () -> tensor<1xf32>
      %0 = onnx.Clip(%x, %eps) : (tensor<?x32x8x8xf32>, tensor<f32>) -> tensor<?x32x8x8xf32>
      %1 = onnx.Pow(%0, %p) : (tensor<?x32x8x8xf32>, tensor<1xf32>) -> tensor<?x32x8x8xf32>
      %2 = onnx.GlobalAveragePool(%1) : (tensor<?x32x8x8xf32>) -> tensor<?x32x1x1xf32>
      %3 = onnx.Pow(%2, %q) : (tensor<?x32x1x1xf32>, tensor<1xf32>) -> tensor<?x32x1x1xf32>
      return %3 : tensor<?x32x1x1xf32>
    }
    ```
    becomes
    ```mlir
    %y = moe.pool %x {pooling = #moe.pooling<kind = gem, p = 3.0, eps = 1.0e-6>}
        : tensor<?x32x8x8xf32> -> tensor<?x32x1x1xf32>
    ```

    Powers that are not inverse, means over other dims, windows that depend on
    the extents, experts that are no pools and the like stay, with a remark of
    category `raise` that says which rule they break. So do pools weighted by a
    softmax: all of them run, whatever they are called.
  }];
  let dependentDialects = ["::moe::ir::MoEDialect", "::moe::onnx::ONNXDialect"];
  let statistics = [
    Statistic<"numRaised", "raised", "Pools that became moe ops">,
    Statistic<"numDeclined", "declined", "Pools that stayed">,
  ];
}

def RaiseTokens : Pass<"moe-raise-tokens", "::mlir::func::FuncOp"> {
  let summary = "tokens that are chosen, dropped, merged or put back";
  let description = [{
    Recognises how exporters write that a model goes on with fewer tokens, and
    makes `moe.token_keep`, `moe.token_drop`, `moe.token_restore`,
    `moe.token_merge` and `moe.token_score` of it:

    - TopK of scores (or all of them sorted, and the first ones taken), sorted by
      a second TopK or not, moved to a part of the sequence and with the numbers
      of all tokens around it: FastV, EViT, DynamicViT at inference;
    - GatherElements, GatherND or Gather from a list of all tokens with these
      numbers; a token fused of those that were dropped behind it (EViT);
    - ScatterElements and ScatterND that put tokens back or add to them (mixture
      of depths);
    - NonZero of a condition, for one sequence;
    - Gather by constant numbers;
    - bipartite soft matching (ToMe).

    Numbers that are used for anything else keep their type through a cast.

    ```mlir
    func.func @depth(%x: tensor<2x16x64xf32>, %s: tensor<2x16xf32>) -> tensor<2x5x64xf32> {
      %k = onnx.Constant() {value = dense<5> : tensor<1xi64>} : () -> tensor<1xi64>
      %last = onnx.Constant() {value = dense<2> : tensor<1xi64>} : () -> tensor<1xi64>
      %shape = onnx.Constant() {value = dense<[2, 5, 64]> : tensor<3xi64>} : () -> tensor<3xi64>
      %v, %i = onnx.TopK(%s, %k) : (tensor<2x16xf32>, tensor<1xi64>) -> (tensor<2x5xf32>, tensor<2x5xi64>)
      %u, %j = onnx.TopK(%i, %k) {largest = 0 : i64}
          : (tensor<2x5xi64>, tensor<1xi64>) -> (tensor<2x5xi64>, tensor<2x5xi64>)
      %0 = onnx.Unsqueeze(%u, %last) : (tensor<2x5xi64>, tensor<1xi64>) -> tensor<2x5x1xi64>
      %1 = onnx.Expand(%0, %shape) : (tensor<2x5x1xi64>, tensor<3xi64>) -> tensor<2x5x64xi64>
      %2 = onnx.GatherElements(%x, %1) {axis = 1 : i64}
          : (tensor<2x16x64xf32>, tensor<2x5x64xi64>) -> tensor<2x5x64xf32>
      return %2 : tensor<2x5x64xf32>
    }
    ```
    becomes
    ```mlir
    %idx = moe.token_keep %s {k = 5} : tensor<2x16xf32> -> tensor<2x5xi32>
    %0 = moe.token_drop %x, %idx : tensor<2x16x64xf32>, tensor<2x5xi32> -> tensor<2x5x64xf32>
    ```

    What takes tokens in another way, or only hides them from attention, stays,
    with a remark of category `raise`.
  }];
  let dependentDialects = ["::moe::ir::MoEDialect", "::moe::onnx::ONNXDialect"];
  let statistics = [
    Statistic<"numRaised", "raised", "Steps that became moe ops">,
    Statistic<"numMissed", "missed", "Steps that stayed">,
  ];
}

#endif // MOE_PASSES_RAISE_PASSES_TD
