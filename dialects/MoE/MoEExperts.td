//===- MoEExperts.td - running experts ---------------------*- tablegen -*-===//
#ifndef MOE_DIALECTS_MOE_MOEEXPERTS_TD
#define MOE_DIALECTS_MOE_MOEEXPERTS_TD

include "dialects/MoE/MoEAttrs.td"
include "mlir/Interfaces/ControlFlowInterfaces.td"

def MoE_ExpertsOp : MoE_Op<"experts", [Pure, AttrSizedOperandSegments,
    SingleBlock, IsolatedFromAbove]> {
  let summary = "run feed-forward experts on the tokens that picked them";
  let description = [{
    y[t] = sum over slots j of weights[t, j] * f_e(x[t]), e = ids[t, j], with

      f_e(x) = down_e . act(gate_e . (in_scale * x) + gate_bias_e,
                            up_e . (in_scale * x) + up_bias_e) + down_bias_e.

    `scale_at = input` multiplies the input of an expert by the slot's weight
    instead of its output (Llama 4). Sums over slots are f32, in the order of
    slots. Without `ids` and `weights` every token goes through all of the one
    expert of the bank: a dense feed-forward layer (shared expert, MLP).

    An id of -1 leaves its slot out. `logical` is the number of experts that
    routing knows, the bank's E by default; ids from the bank's E up to it are
    legal and contribute nothing here (`moe.trivial_experts` gives their part).
    All other ids end the run with an error.

    Operands, for the layouts `oi` (as torch.nn.Linear) and `io`:

    | gate_up    | gate                    | up        | act's arguments |
    |------------|-------------------------|-----------|-----------------|
    | none       | [E, I, H] or [E, H, I]  |           | h               |
    | separate   | the same                | like gate | gate, up        |
    | concat     | [E, 2I, H] or [E, H, 2I]: gates, then ups | | gate, up |
    | interleave | the same shape, rows g0, u0, g1, u1, ...  | | gate, up |

    `down` is [E, H', I] (oi) or [E, I, H'] (io). Biases: `gate_bias` [E, I] or
    [E, 2I], `up_bias` [E, I], `down_bias` [E, H']. Banks that are stored in
    fewer bits are results of `moe.dequantize`.

    The activation is a region of elementwise `onnx` ops on rank-0 tensors of
    f32 that may use constants of its own: exactly what the model had, no table
    of names. It sees nothing from outside, so constants stay inside of it.

    ```mlir
    func.func @swiglu(%x: tensor<?x64xf32>, %ids: tensor<?x2xi32>, %w: tensor<?x2xf32>,
                      %gate_up: tensor<8x256x64xf32>, %down: tensor<8x64x128xf32>) -> tensor<?x64xf32> {
      %y = moe.experts %x route(%ids, %w : tensor<?x2xi32>, tensor<?x2xf32>)
          gate(%gate_up : tensor<8x256x64xf32>) down(%down : tensor<8x64x128xf32>)
          {gate_up = #moe.gate_up<concat>} : tensor<?x64xf32> -> tensor<?x64xf32> {
      ^bb0(%g: tensor<f32>, %u: tensor<f32>):
        %s = onnx.Sigmoid(%g) : (tensor<f32>) -> tensor<f32>
        %a = onnx.Mul(%g, %s) : (tensor<f32>, tensor<f32>) -> tensor<f32>
        %h = onnx.Mul(%a, %u) : (tensor<f32>, tensor<f32>) -> tensor<f32>
        moe.yield %h : tensor<f32>
      }
      return %y : tensor<?x64xf32>
    }
    ```
  }];
  let arguments = (ins MoE_FloatMatrix:$x, Optional<MoE_Ids>:$ids,
                       Optional<MoE_Weights>:$weights,
                       MoE_Bank:$gate, Optional<MoE_Bank>:$up, MoE_Bank:$down,
                       Optional<MoE_BankBias>:$gate_bias,
                       Optional<MoE_BankBias>:$up_bias,
                       Optional<MoE_BankBias>:$down_bias,
                       DefaultValuedAttr<MoE_GateUpAttr, "GateUp::None">:$gate_up,
                       DefaultValuedAttr<MoE_LayoutAttr, "BankLayout::OI">:$layout,
                       DefaultValuedAttr<MoE_ScaleAtAttr, "ScaleAt::Output">:$scale_at,
                       DefaultValuedAttr<F64Attr, "1.0">:$in_scale,
                       OptionalAttr<ConfinedAttr<I64Attr, [IntPositive]>>:$logical);
  let results = (outs MoE_FloatMatrix:$y);
  let regions = (region SizedRegion<1>:$activation);
  let assemblyFormat = [{
    $x (`route` `(` $ids^ `,` $weights `:` type($ids) `,` type($weights) `)`)?
    `gate` `(` $gate `:` type($gate) `)`
    (`up` `(` $up^ `:` type($up) `)`)?
    `down` `(` $down `:` type($down) `)`
    (`gate_bias` `(` $gate_bias^ `:` type($gate_bias) `)`)?
    (`up_bias` `(` $up_bias^ `:` type($up_bias) `)`)?
    (`down_bias` `(` $down_bias^ `:` type($down_bias) `)`)?
    attr-dict `:` type($x) `->` type($y) $activation
  }];
  let extraClassDeclaration = [{
    /// Experts in the bank, -1 if unknown.
    int64_t getNumExperts();
    /// Experts that ids may name.
    int64_t getNumLogical();
    /// Inner width I, -1 if unknown.
    int64_t getInnerWidth();
    /// Whether the activation takes a gate and an up projection.
    bool isGated() { return getGateUp() != GateUp::None; }
  }];
  let hasVerifier = 1;
  let hasCanonicalizeMethod = 1;
  let hasRegionVerifier = 1;
}

def MoE_YieldOp : MoE_Op<"yield", [Pure, Terminator, ReturnLike]> {
  let summary = "end a region of this dialect";
  let description = [{
    Example: see `moe.experts` and `moe.switch`.
  }];
  let arguments = (ins Variadic<AnyType>:$values);
  let assemblyFormat = "($values^ `:` type($values))? attr-dict";
  let builders = [OpBuilder<(ins), [{ }]>];
}

def MoE_DequantizeOp : MoE_Op<"dequantize", [Pure]> {
  let summary = "a bank that is stored in few bits";
  let description = [{
    (q - zero point) * scale for codes of 2, 4 or 8 bits that lie packed along
    the last axis, the lowest bits first: `packed` [E, N, K * bits / 8] to
    [E, N, K]. A scale holds for `block` neighbouring codes of a row: `scales`
    [E, N, ceil(K / block)]; without `block` for the whole row: [E, N].
    `zero_points` are codes, packed the same way: [E, N, ceil(ceil(K / block) *
    bits / 8)], or [E, ceil(N * bits / 8)] without `block`; without them the zero
    point is 2^(bits-1). The layout of com.microsoft.QMoE and, for E = 1, of
    MatMulNBits.

    Users that stream a bank (`moe.experts`) decode it as they go; nothing
    holds the whole result.

    ```mlir
    func.func @bank(%q: tensor<4x32x32xui8>, %s: tensor<4x32x2xf32>) -> tensor<4x32x64xf32> {
      %0 = moe.dequantize %q, %s {bits = 4, block = 32}
          : tensor<4x32x32xui8>, tensor<4x32x2xf32> -> tensor<4x32x64xf32>
      return %0 : tensor<4x32x64xf32>
    }
    ```
  }];
  let arguments = (ins RankedTensorOf<[UI8], [HasAnyRankOfPred<[3]>]>:$packed,
                       MoE_FloatTensor:$scales,
                       Optional<RankedTensorOf<[UI8]>>:$zero_points,
                       ConfinedAttr<I64Attr, [IntPositive]>:$bits,
                       OptionalAttr<ConfinedAttr<I64Attr, [IntPositive]>>:$block);
  let results = (outs MoE_Bank:$result);
  let assemblyFormat = [{
    $packed `,` $scales (`zero_points` `(` $zero_points^ `:` type($zero_points) `)`)?
    attr-dict `:` type($packed) `,` type($scales) `->` type($result)
  }];
  let hasVerifier = 1;
}

def MoE_TrivialExpertsOp : MoE_Op<"trivial_experts", [Pure,
    AllTypesMatch<["x", "y"]>, AttrSizedOperandSegments]> {
  let summary = "experts that compute no product";
  let description = [{
    y[t] = sum over slots j with ids[t, j] = first + i of weights[t, j] *
    g_i(in_scale * x[t]); all other ids contribute nothing. By kinds[i]:

    - `zero`: 0.
    - `copy`: v.
    - `constant`: a0 * v + a1 * c, (a0, a1) = softmax(W_c . v), with c a row of
      `constants` [n, H] and W_c a matrix of `mixers` [n, 2, H], n the number of
      constant experts, in their order (MoE++, Jin et al. 2024).

    ```mlir
    func.func @copy(%x: tensor<?x64xf32>, %ids: tensor<?x2xi32>, %w: tensor<?x2xf32>) -> tensor<?x64xf32> {
      %y = moe.trivial_experts %x route(%ids, %w : tensor<?x2xi32>, tensor<?x2xf32>)
          {first = 8, kinds = [#moe.kind<copy>, #moe.kind<zero>]} : tensor<?x64xf32>
      return %y : tensor<?x64xf32>
    }
    ```
  }];
  let arguments = (ins MoE_FloatMatrix:$x, MoE_Ids:$ids, MoE_Weights:$weights,
                       Optional<MoE_FloatMatrix>:$constants,
                       Optional<MoE_Bank>:$mixers,
                       ConfinedAttr<I64Attr, [IntNonNegative]>:$first,
                       MoE_TrivialKindsAttr:$kinds,
                       DefaultValuedAttr<F64Attr, "1.0">:$in_scale);
  let results = (outs MoE_FloatMatrix:$y);
  let assemblyFormat = [{
    $x `route` `(` $ids `,` $weights `:` type($ids) `,` type($weights) `)`
    (`constants` `(` $constants^ `:` type($constants) `)`)?
    (`mixers` `(` $mixers^ `:` type($mixers) `)`)?
    attr-dict `:` type($x)
  }];
  let hasVerifier = 1;
  let hasCanonicalizeMethod = 1;
}

def MoE_MixOp : MoE_Op<"mix", [Pure]> {
  let summary = "a mixture of parameters";
  let description = [{
    For float coefficients [.., P]: sum over p of coefficients[.., p] * bank[p,
    ..]. For integer ones [.., n]: the rows bank[index, ..], one after the
    other along a new axis behind the leading ones (prompt pools, shards).

    ```mlir
    func.func @mix(%c: tensor<?x4xf32>, %bank: tensor<4x16x8xf32>) -> tensor<?x16x8xf32> {
      %0 = moe.mix %c, %bank : tensor<?x4xf32>, tensor<4x16x8xf32> -> tensor<?x16x8xf32>
      return %0 : tensor<?x16x8xf32>
    }
    ```
  }];
  let arguments = (ins RankedTensorOf<[F16, BF16, F32, F64, I32, I64]>:$coefficients,
                       MoE_FloatTensor:$bank);
  let results = (outs MoE_FloatTensor:$result);
  let assemblyFormat = [{
    $coefficients `,` $bank attr-dict `:` type($coefficients) `,` type($bank)
    `->` type($result)
  }];
  let hasVerifier = 1;
}

def MoE_SwitchOp : MoE_Op<"switch", [RecursiveMemoryEffects]> {
  let summary = "run one of several experts that are whole models";
  let description = [{
    `index`, a scalar, picks the region that gives the results; outside of [0,
    n) the run ends with an error. Regions use values from outside. A constant
    index folds to its region (multi-student distillation, CoDe, W2SD).

    ```mlir
    func.func @student(%i: tensor<i64>, %x: tensor<?x4xf32>) -> tensor<?x4xf32> {
      %y = moe.switch %i : tensor<i64> -> tensor<?x4xf32> {
        %0 = onnx.Relu(%x) : (tensor<?x4xf32>) -> tensor<?x4xf32>
        moe.yield %0 : tensor<?x4xf32>
      }, {
        moe.yield %x : tensor<?x4xf32>
      }
      return %y : tensor<?x4xf32>
    }
    ```
  }];
  let arguments = (ins RankedTensorOf<[I32, I64], [HasAnyRankOfPred<[0]>]>:$index);
  let results = (outs Variadic<AnyRankedTensor>:$results);
  let regions = (region VariadicRegion<SizedRegion<1>>:$branches);
  let assemblyFormat = [{
    $index attr-dict `:` type($index) `->` type($results) $branches
  }];
  let hasVerifier = 1;
  let hasCanonicalizeMethod = 1;
}

#endif // MOE_DIALECTS_MOE_MOEEXPERTS_TD
