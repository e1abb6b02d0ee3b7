//===- MoETokens.td - keeping, dropping and merging tokens -*- tablegen -*-===//
#ifndef MOE_DIALECTS_MOE_MOETOKENS_TD
#define MOE_DIALECTS_MOE_MOETOKENS_TD

include "dialects/MoE/MoEAttrs.td"

// Letters: B batch, N tokens, K tokens that are kept, D width, H heads.
//
// A selection is a matrix idx [B, K] of i32: row b names tokens of sequence b,
// none of them twice. K is a static extent or, for one sequence (B = 1), the
// number that a run finds.

def MoE_Idx : RankedTensorOf<[I32], [HasAnyRankOfPred<[2]>], "matrix of i32">;
def MoE_Scores : RankedTensorOf<[MoE_Float], [HasAnyRankOfPred<[2]>],
                                "matrix of floats">;
/// What has tokens: [B, N, ...].
def MoE_Payload : RankedTensorOf<[MoE_Float, I1, I8, I16, I32, I64, UI8, UI16, UI32, UI64],
                                 [HasAnyRankOfPred<[2, 3, 4, 5, 6]>],
                                 "tensor of rank 2 to 6">;
def MoE_Tokens : RankedTensorOf<[MoE_Float], [HasAnyRankOfPred<[3]>],
                                "floats [B, N, D]">;

def MoE_HeadReduce : MoE_Enum<"HeadReduce", "what becomes of the heads", [
  I32EnumAttrCase<"Mean", 0, "mean">,
  I32EnumAttrCase<"Max", 1, "max">]>;
def MoE_HeadReduceAttr : MoE_EnumOf<MoE_HeadReduce, "head_reduce">;
def MoE_KeepPolicy : MoE_Enum<"KeepPolicy", "which tokens are kept", [
  I32EnumAttrCase<"TopK", 0, "topk">,
  I32EnumAttrCase<"Mask", 1, "mask">]>;
def MoE_KeepPolicyAttr : MoE_EnumOf<MoE_KeepPolicy, "keep_policy">;
def MoE_KeepOrder : MoE_Enum<"KeepOrder", "the order of kept tokens", [
  I32EnumAttrCase<"Index", 0, "index">,
  I32EnumAttrCase<"Score", 1, "score">]>;
def MoE_KeepOrderAttr : MoE_EnumOf<MoE_KeepOrder, "keep_order">;
def MoE_Fill : MoE_Enum<"Fill", "what stands at tokens that were dropped", [
  I32EnumAttrCase<"Zero", 0, "zero">,
  I32EnumAttrCase<"Base", 1, "base">,
  I32EnumAttrCase<"Add", 2, "add">,
  I32EnumAttrCase<"Unmerge", 3, "unmerge">]>;
def MoE_FillAttr : MoE_EnumOf<MoE_Fill, "fill">;

def MoE_TokenScoreOp : MoE_Op<"token_score", [Pure]> {
  let summary = "what a query attends to";
  let description = [{
    s[b, j] = the mean (or the maximum) over heads h of `attention`[b, h, q, j]:
    the attention that query q, say the class token or the last one, pays to
    each token. A negative `query` counts from the end.

    ```mlir
    func.func @class(%a: tensor<?x12x197x197xf32>) -> tensor<?x197xf32> {
      %s = moe.token_score %a {query = 0} : tensor<?x12x197x197xf32> -> tensor<?x197xf32>
      return %s : tensor<?x197xf32>
    }
    ```
  }];
  let arguments = (ins RankedTensorOf<[MoE_Float], [HasAnyRankOfPred<[4]>],
                                      "floats [B, H, queries, N]">:$attention,
                       I64Attr:$query,
                       DefaultValuedAttr<MoE_HeadReduceAttr, "::moe::ir::HeadReduce::Mean">:$head_reduce);
  let results = (outs MoE_Scores:$scores);
  let assemblyFormat = "$attention attr-dict `:` type($attention) `->` type($scores)";
  let hasVerifier = 1;
}

def MoE_TokenKeepOp : MoE_Op<"token_keep", [Pure]> {
  let summary = "choose the tokens that stay";
  let description = [{
    From `scores` [B, N] to a selection idx [B, K].

    - `policy = topk`: `k` tokens with the largest scores; of equal ones those
      with the lowest index; NaN is the largest.
    - `policy = mask`: those where `scores`, then bool, is true; B = 1, and K
      shows at run time.

    Chosen from are the tokens [first, first + count), or all from `first` on
    without `count`. Those in front of and behind them are always kept, in their
    places: K is N - count + k. With `order = index` kept tokens come in ascending order,
    with `order = score` those that were chosen in descending order of scores.

    ```mlir
    // 288 of the 576 tokens of an image behind 35 others (FastV)
    func.func @image(%s: tensor<1x640xf32>) -> tensor<1x352xi32> {
      %idx = moe.token_keep %s {k = 288, first = 35, count = 576} : tensor<1x640xf32> -> tensor<1x352xi32>
      return %idx : tensor<1x352xi32>
    }
    func.func @above(%mask: tensor<1x64xi1>) -> tensor<1x?xi32> {
      %idx = moe.token_keep %mask {policy = #moe.keep_policy<mask>} : tensor<1x64xi1> -> tensor<1x?xi32>
      return %idx : tensor<1x?xi32>
    }
    ```
  }];
  let arguments = (ins RankedTensorOf<[MoE_Float, I1], [HasAnyRankOfPred<[2]>],
                                      "matrix of floats or bool">:$scores,
                       DefaultValuedAttr<MoE_KeepPolicyAttr, "::moe::ir::KeepPolicy::TopK">:$policy,
                       DefaultValuedAttr<I64Attr, "0">:$k,
                       DefaultValuedAttr<I64Attr, "0">:$first,
                       OptionalAttr<I64Attr>:$count,
                       DefaultValuedAttr<MoE_KeepOrderAttr, "::moe::ir::KeepOrder::Index">:$order);
  let results = (outs MoE_Idx:$idx);
  let assemblyFormat = "$scores attr-dict `:` type($scores) `->` type($idx)";
  let hasVerifier = 1;
}

def MoE_TokenDropOp : MoE_Op<"token_drop", [Pure]> {
  let summary = "take the tokens of a selection";
  let description = [{
    x'[b, i, ...] = `x`[b, idx[b, i], ...] with x [B, N, ...], idx [B, K]. A
    selection of one row serves all sequences.

    With `weights` [B, N] one more token follows the others: the mean of those
    that were dropped, weighted, sum(w * x) / sum(w) (EViT's fused token; Liang
    et al. 2022). With nothing dropped it is 0 / 0. With `normalize = false` it
    is the sum, not divided. It is computed in the type of `x`.

    Negative numbers count from the end, as in ONNX's Gather; those outside of
    [-N, N) end the run with an error.

    ```mlir
    func.func @drop(%x: tensor<?x64x48xf32>, %idx: tensor<?x45xi32>) -> tensor<?x45x48xf32> {
      %y = moe.token_drop %x, %idx : tensor<?x64x48xf32>, tensor<?x45xi32> -> tensor<?x45x48xf32>
      return %y : tensor<?x45x48xf32>
    }
    func.func @fuse(%x: tensor<?x64x48xf32>, %idx: tensor<?x45xi32>, %w: tensor<?x64xf32>) -> tensor<?x46x48xf32> {
      %y = moe.token_drop %x, %idx fuse(%w : tensor<?x64xf32>)
          : tensor<?x64x48xf32>, tensor<?x45xi32> -> tensor<?x46x48xf32>
      return %y : tensor<?x46x48xf32>
    }
    ```
  }];
  let arguments = (ins MoE_Payload:$x, MoE_Idx:$idx, Optional<MoE_Scores>:$weights,
                       DefaultValuedAttr<BoolAttr, "true">:$normalize);
  let results = (outs MoE_Payload:$y);
  let assemblyFormat = [{
    $x `,` $idx (`fuse` `(` $weights^ `:` type($weights) `)`)? attr-dict `:`
    type($x) `,` type($idx) `->` type($y)
  }];
  let hasVerifier = 1;
  let hasCanonicalizeMethod = 1;
}

def MoE_TokenRestoreOp : MoE_Op<"token_restore", [Pure]> {
  let summary = "put tokens back to where they were";
  let description = [{
    From `x` [B, K, ...] to y [B, N, ...]. With `idx` [B, K], token i of x goes
    to place idx[b, i]:

    - `fill = base`: the other places are those of `base` [B, N, ...].
    - `fill = add`: x is added to `base` (mixture of depths, Raposo et al.
      2024: tokens that skip a block keep what they were).
    - `fill = zero`: the other places are 0; `base` only says how many there
      are.

    With `fill = unmerge`, `idx` [B, N] is `assign` of `moe.token_merge`, and
    y[b, j] = x[b, idx[b, j]] (ToMe's unmerge).

    ```mlir
    func.func @depth(%x: tensor<?x?x64xf32>, %y: tensor<?x8x64xf32>, %idx: tensor<?x8xi32>) -> tensor<?x?x64xf32> {
      %r = moe.token_restore %y, %idx base(%x : tensor<?x?x64xf32>) {fill = #moe.fill<add>}
          : tensor<?x8x64xf32>, tensor<?x8xi32> -> tensor<?x?x64xf32>
      return %r : tensor<?x?x64xf32>
    }
    ```
  }];
  let arguments = (ins MoE_Payload:$x, MoE_Idx:$idx, Optional<MoE_Payload>:$base,
                       MoE_FillAttr:$fill);
  let results = (outs MoE_Payload:$y);
  let assemblyFormat = [{
    $x `,` $idx (`base` `(` $base^ `:` type($base) `)`)? attr-dict `:`
    type($x) `,` type($idx) `->` type($y)
  }];
  let hasVerifier = 1;
  let hasCanonicalizeMethod = 1;
}

def MoE_KeepComposeOp : MoE_Op<"keep_compose", [Pure]> {
  let summary = "a selection of a selection";
  let description = [{
    idx[b, i] = `outer`[b, `inner`[b, i]]: `inner` names tokens of those that
    `outer` kept.

    ```mlir
    func.func @twice(%a: tensor<?x45xi32>, %b: tensor<?x20xi32>) -> tensor<?x20xi32> {
      %idx = moe.keep_compose %a, %b : tensor<?x45xi32>, tensor<?x20xi32> -> tensor<?x20xi32>
      return %idx : tensor<?x20xi32>
    }
    ```
  }];
  let arguments = (ins MoE_Idx:$outer, MoE_Idx:$inner);
  let results = (outs MoE_Idx:$idx);
  let assemblyFormat = "$outer `,` $inner attr-dict `:` type($outer) `,` type($inner) `->` type($idx)";
  let hasVerifier = 1;
}

def MoE_TokenMergeOp : MoE_Op<"token_merge", [Pure]> {
  let summary = "merge tokens that are alike";
  let description = [{
    Bipartite soft matching (ToMe, Bolya et al. 2023) of `x` [B, N, D], whose
    tokens stand for `size` [B, N, 1] original ones each:

    1. a = tokens of even, b = of odd places of `metric` [B, N, M]; similarity
       S = a b^T. With `protect` the first token of a (the class token) matches
       none: its row of S is -inf.
    2. each a goes with the b of the largest S (the first of equal ones); the
       `r` tokens a whose match is best are merged into it, of equal ones the
       first.
    3. size'= those of the other tokens of a, then those of b with the sizes of
       what was merged into them added; x' likewise, sum(size * x) / size'.

    The other tokens of a come in ascending order with `protect`, else in
    descending order of their match. x' is [B, N - r, D], `merged_size` [B, N -
    r, 1], and `assign` [B, N] says for each token where it went.

    Sum(size') = sum(size), and sum(size' * x') = sum(size * x) up to rounding.

    ```mlir
    func.func @merge(%x: tensor<?x65x48xf32>, %size: tensor<?x65x1xf32>, %metric: tensor<?x65x16xf32>)
        -> (tensor<?x57x48xf32>, tensor<?x57x1xf32>) {
      %y, %sizes, %assign = moe.token_merge %x, %size, %metric {r = 8, protect = true}
          : tensor<?x65x48xf32>, tensor<?x65x1xf32>, tensor<?x65x16xf32>
          -> tensor<?x57x48xf32>, tensor<?x57x1xf32>, tensor<?x65xi32>
      return %y, %sizes : tensor<?x57x48xf32>, tensor<?x57x1xf32>
    }
    ```
  }];
  let arguments = (ins MoE_Tokens:$x, MoE_Tokens:$size, MoE_Tokens:$metric,
                       I64Attr:$r, DefaultValuedAttr<BoolAttr, "false">:$protect);
  let results = (outs MoE_Tokens:$y, MoE_Tokens:$merged_size, MoE_Idx:$assign);
  let assemblyFormat = [{
    $x `,` $size `,` $metric attr-dict `:` type($x) `,` type($size) `,`
    type($metric) `->` type($y) `,` type($merged_size) `,` type($assign)
  }];
  let hasVerifier = 1;
}

#endif // MOE_DIALECTS_MOE_MOETOKENS_TD
