//===- MoEAttention.td - attention -------------------------*- tablegen -*-===//
#ifndef MOE_DIALECTS_MOE_MOEATTENTION_TD
#define MOE_DIALECTS_MOE_MOEATTENTION_TD

include "dialects/MoE/MoEAttrs.td"

def MoE_Causal : MoE_Enum<"Causal", "which keys come after a query", [
  I32EnumAttrCase<"None", 0, "none">,
  I32EnumAttrCase<"Start", 1, "start">,
  I32EnumAttrCase<"End", 2, "end">]>;
def MoE_CausalAttr : MoE_EnumOf<MoE_Causal, "causal">;

def MoE_AttentionFloat : AnyTypeOf<[F16, BF16, F32]>;
def MoE_Heads : RankedTensorOf<[MoE_AttentionFloat], [HasAnyRankOfPred<[4]>],
                               "tensor of floats of rank 4">;

def MoE_AttentionOp : MoE_Op<"attention", [Pure, AttrSizedOperandSegments]> {
  let summary = "scaled dot product attention";
  let description = [{
    From queries [B, N, S, D], keys [B, K, L, D] and values [B, K, L, D'] to
    `out` [B, N, S, D']. K divides N; head n reads keys and values of head
    n / (N / K). With h = n / (N / K), in f32:

        s[b,n,i,j] = scale * sum over d of query[b,n,i,d] * key[b,h,j,d]
        s = softcap * tanh(s / softcap)                  if softcap is not 0
        s = s + bias[b,n,i,j]
        s = s where j is visible to i, masked_score elsewhere
        p[b,n,i,:] = softmax(s[b,n,i,:])                 0 if that is NaN, with zero_nan
        out[b,n,i,:] = sum over j of p[b,n,i,j] * value[b,h,j,:]

    Key j is visible to query i if all of these hold, where o is 0 for
    `causal = start` and without `causal`, L - S for `causal = end`:

    - j <= i + o, unless `causal = none`;
    - j > i + o - window, with a `window`;
    - `mask[b,n,i,j]`, with a `mask`.

    Extents of `bias` and `mask` may be 1 where those of the scores are not. A
    row of which nothing is visible is a plain mean of all values if
    `masked_score` is finite, else NaN, or 0 with `zero_nan`.

    `probs` are rows of p: those of `probs_count` queries from `probs_first` on,
    which counts from the end if it is negative: [B, N, probs_count, L].

    ```mlir
    // Grouped queries with a padding mask [B, 1, 1, L]
    func.func @llama(%q: tensor<?x32x?x128xf16>, %k: tensor<?x8x?x128xf16>, %v: tensor<?x8x?x128xf16>,
                     %padding: tensor<?x1x1x?xi1>) -> tensor<?x32x?x128xf16> {
      %o = moe.attention %q, %k, %v mask(%padding : tensor<?x1x1x?xi1>)
          {scale = 0.08838834764831845, causal = #moe.causal<start>, masked_score = -65504.0}
          : tensor<?x32x?x128xf16>, tensor<?x8x?x128xf16>, tensor<?x8x?x128xf16> -> tensor<?x32x?x128xf16>
      return %o : tensor<?x32x?x128xf16>
    }
    // What the class token looks at
    func.func @evit(%q: tensor<?x12x197x64xf32>, %k: tensor<?x12x197x64xf32>, %v: tensor<?x12x197x64xf32>)
        -> (tensor<?x12x197x64xf32>, tensor<?x12x1x197xf32>) {
      %o, %p = moe.attention %q, %k, %v {scale = 0.125, probs_first = 0, probs_count = 1}
          : tensor<?x12x197x64xf32>, tensor<?x12x197x64xf32>, tensor<?x12x197x64xf32>
          -> tensor<?x12x197x64xf32>, tensor<?x12x1x197xf32>
      return %o, %p : tensor<?x12x197x64xf32>, tensor<?x12x1x197xf32>
    }
    ```
  }];
  let arguments = (ins MoE_Heads:$query, MoE_Heads:$key, MoE_Heads:$value,
      Optional<RankedTensorOf<[MoE_Float], [HasAnyRankOfPred<[4]>],
                              "tensor of floats of rank 4">>:$bias,
      Optional<RankedTensorOf<[I1], [HasAnyRankOfPred<[4]>],
                              "tensor of i1 of rank 4">>:$mask,
      F64Attr:$scale,
      DefaultValuedAttr<F64Attr, "0.0">:$softcap,
      DefaultValuedAttr<MoE_CausalAttr, "::moe::ir::Causal::None">:$causal,
      OptionalAttr<ConfinedAttr<I64Attr, [IntMinValue<1>]>>:$window,
      DefaultValuedAttr<F64Attr, "-std::numeric_limits<double>::infinity()">:$masked_score,
      UnitAttr:$zero_nan,
      DefaultValuedAttr<I64Attr, "0">:$probs_first,
      OptionalAttr<ConfinedAttr<I64Attr, [IntMinValue<1>]>>:$probs_count);
  let results = (outs MoE_Heads:$out, Optional<MoE_Heads>:$probs);
  let assemblyFormat = [{
    $query `,` $key `,` $value
    (`bias` `(` $bias^ `:` type($bias) `)`)?
    (`mask` `(` $mask^ `:` type($mask) `)`)?
    attr-dict `:` type($query) `,` type($key) `,` type($value) `->`
    type($out) (`,` type($probs)^)?
  }];
  let hasVerifier = 1;
}

/// Buffers of heads, whatever the order of their dims.
def MoE_HeadsBuffer : MemRefRankOf<[F16, BF16, F32], [4]>;
def MoE_IndexBuffer : MemRefRankOf<[Index], [1]>;

def MoE_AttendOp : MoE_Op<"attend", [AttrSizedOperandSegments]> {
  let summary = "attention on buffers";
  let description = [{
    `moe.attention` as it runs: a few rows of scores at a time, which only live
    until their sums of values are formed. Dim i of the letters in [B, N, S, D]
    (and [B, K, L, D], [B, K, L, D']) is dim `order[i]` of a buffer, so that a
    transposition in front of or behind it need not be carried out.

    - `bias` and `mask` (0 or not) have extents of 1 where they do not vary, which
      may show at run time only, but not that of their last dim.
    - The o of `causal` and `window` is `shift` + `shifts[b]`; both are 0 if left
      out.
    - Keys from `lengths[b]` on are not visible.
    - `sinks` [N]: one more score of each row, of a key whose value is 0.
    - With `zero_empty` a row whose sum is 0 or NaN gives 0.

    `probs` are rows of the probabilities, from `probs_first` on.

    ```mlir
    func.func @attend(%q: memref<2x?x8x64xf32>, %k: memref<2x4x?x64xf32>, %v: memref<2x4x?x64xf32>,
                      %shift: index, %o: memref<2x8x?x64xf32>) {
      moe.attend query(%q : memref<2x?x8x64xf32>) key(%k : memref<2x4x?x64xf32>)
          value(%v : memref<2x4x?x64xf32>) shift(%shift)
          {scale = 0.125, causal, query_order = array<i64: 0, 2, 1, 3>} out(%o : memref<2x8x?x64xf32>)
      return
    }
    ```
  }];
  defvar order = "DenseI64ArrayAttr";
  let arguments = (ins
      Arg<MoE_HeadsBuffer, "queries", [MemRead]>:$query,
      Arg<MoE_HeadsBuffer, "keys", [MemRead]>:$key,
      Arg<MoE_HeadsBuffer, "values", [MemRead]>:$value,
      Arg<Optional<MemRefRankOf<[F16, BF16, F32, F64], [4]>>, "addends", [MemRead]>:$bias,
      Arg<Optional<MemRefRankOf<[I8], [4]>>, "what is visible", [MemRead]>:$mask,
      Arg<Optional<MemRefRankOf<[F32], [1]>>, "scores of nothing", [MemRead]>:$sinks,
      Optional<Index>:$shift,
      Arg<Optional<MoE_IndexBuffer>, "more of it", [MemRead]>:$shifts,
      Arg<Optional<MoE_IndexBuffer>, "numbers of keys", [MemRead]>:$lengths,
      Arg<MoE_HeadsBuffer, "results", [MemWrite]>:$out,
      Arg<Optional<MoE_HeadsBuffer>, "probabilities", [MemWrite]>:$probs,
      Optional<Index>:$probs_first,
      F64Attr:$scale,
      DefaultValuedAttr<F64Attr, "0.0">:$softcap,
      UnitAttr:$causal,
      OptionalAttr<ConfinedAttr<I64Attr, [IntNonNegative]>>:$window,
      DefaultValuedAttr<F64Attr, "-std::numeric_limits<double>::infinity()">:$masked_score,
      UnitAttr:$zero_empty,
      DefaultValuedAttr<DenseI64ArrayAttr, "{0, 1, 2, 3}">:$query_order,
      DefaultValuedAttr<DenseI64ArrayAttr, "{0, 1, 2, 3}">:$key_order,
      DefaultValuedAttr<DenseI64ArrayAttr, "{0, 1, 2, 3}">:$value_order,
      DefaultValuedAttr<DenseI64ArrayAttr, "{0, 1, 2, 3}">:$out_order);
  let assemblyFormat = [{
    `query` `(` $query `:` type($query) `)` `key` `(` $key `:` type($key) `)`
    `value` `(` $value `:` type($value) `)`
    (`bias` `(` $bias^ `:` type($bias) `)`)?
    (`mask` `(` $mask^ `:` type($mask) `)`)?
    (`sinks` `(` $sinks^ `:` type($sinks) `)`)?
    (`shift` `(` $shift^ `)`)?
    (`shifts` `(` $shifts^ `:` type($shifts) `)`)?
    (`lengths` `(` $lengths^ `:` type($lengths) `)`)?
    attr-dict `out` `(` $out `:` type($out) `)`
    (`probs` `(` $probs^ `:` type($probs) `from` $probs_first `)`)?
  }];
  let hasVerifier = 1;
}

#endif // MOE_DIALECTS_MOE_MOEATTENTION_TD
