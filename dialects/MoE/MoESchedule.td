//===- MoESchedule.td - how experts run --------------------*- tablegen -*-===//
#ifndef MOE_DIALECTS_MOE_MOESCHEDULE_TD
#define MOE_DIALECTS_MOE_MOESCHEDULE_TD

include "dialects/MoE/MoEAttrs.td"
include "mlir/Interfaces/SideEffectInterfaces.td"

//===----------------------------------------------------------------------===//
// On tensors: what `moe-schedule` makes and all targets start from
//===----------------------------------------------------------------------===//

/// Numbers of rows and tokens, as wide as the target likes them.
def MoE_IndexVector : RankedTensorOf<[Index], [HasAnyRankOfPred<[1]>],
                                     "vector of index">;
def MoE_Positions : RankedTensorOf<[Index], [HasAnyRankOfPred<[2]>],
                                   "matrix of index">;
/// A bank as it is stored: floats, or codes, scales and perhaps zero points.
def MoE_BankPart : RankedTensorOf<[F16, BF16, F32, F64, UI8], [],
                                  "part of a bank">;

def MoE_PlanOp : MoE_Op<"plan", [Pure]> {
  let summary = "which rows each expert gets";
  let description = [{
    Sorts the S = T * k slots of all tokens by expert; those of one expert stay
    in order (token by token, slot by slot). Each slot of an expert e < `experts`
    becomes a row. Slots with the id -1 or with one from `experts` up to
    `logical` (`experts` by default) get none. All other ids end the run with an
    error.

    - `offsets` [experts + 1]: the first row of each expert, then the number of
      rows.
    - `tokens` [S]: the token of each row; behind the rows come the tokens of the
      slots without one.
    - `positions` [T, k]: the row of each slot, -1 if it has none.

    It depends on ids alone, so layers that route alike share it.

    ```mlir
    func.func @plan(%ids: tensor<?x2xi32>) -> (tensor<9xindex>, tensor<?xindex>, tensor<?x2xindex>) {
      %offsets, %tokens, %positions = moe.plan %ids {experts = 8}
          : tensor<?x2xi32> -> tensor<9xindex>, tensor<?xindex>, tensor<?x2xindex>
      return %offsets, %tokens, %positions : tensor<9xindex>, tensor<?xindex>, tensor<?x2xindex>
    }
    ```
  }];
  let arguments = (ins MoE_Ids:$ids,
                       ConfinedAttr<I64Attr, [IntNonNegative]>:$experts,
                       OptionalAttr<ConfinedAttr<I64Attr, [IntPositive]>>:$logical);
  let results = (outs MoE_IndexVector:$offsets, MoE_IndexVector:$tokens,
                      MoE_Positions:$positions);
  let assemblyFormat = [{
    $ids attr-dict `:` type($ids) `->` type($offsets) `,` type($tokens) `,`
    type($positions)
  }];
  let builders = [OpBuilder<(ins "::mlir::Value":$ids, "int64_t":$experts,
                                 "::mlir::IntegerAttr":$logical)>];
  let extraClassDeclaration = [{
    /// Ids below it are legal.
    int64_t getNumLogical() { return getLogical().value_or(getExperts()); }
  }];
  let hasVerifier = 1;
}

def MoE_DispatchOp : MoE_Op<"dispatch", [Pure, AttrSizedOperandSegments]> {
  let summary = "bring tokens into the order of a plan";
  let description = [{
    rows[r] = in_scale * x[tokens[r]], with `weights` times weights[t, j] of the
    slot whose positions[t, j] is r, for r < the last of `offsets`; in f32. What
    other rows hold is not defined. Without a plan rows are the tokens as they
    are, all of them.

    ```mlir
    func.func @dispatch(%x: tensor<?x64xf16>, %offsets: tensor<9xindex>,
                        %tokens: tensor<?xindex>, %positions: tensor<?x2xindex>) -> tensor<?x64xf32> {
      %rows = moe.dispatch %x
          plan(%offsets, %tokens, %positions : tensor<9xindex>, tensor<?xindex>, tensor<?x2xindex>)
          : tensor<?x64xf16> -> tensor<?x64xf32>
      return %rows : tensor<?x64xf32>
    }
    ```
  }];
  let arguments = (ins MoE_FloatMatrix:$x, Optional<MoE_IndexVector>:$offsets,
                       Optional<MoE_IndexVector>:$tokens,
                       Optional<MoE_Positions>:$positions,
                       Optional<MoE_Weights>:$weights,
                       DefaultValuedAttr<F64Attr, "1.0">:$in_scale);
  let results = (outs RankedTensorOf<[F32], [HasAnyRankOfPred<[2]>]>:$rows);
  let assemblyFormat = [{
    $x (`plan` `(` $offsets^ `,` $tokens `,` $positions `:` type($offsets) `,`
        type($tokens) `,` type($positions) `)`)?
    (`weights` `(` $weights^ `:` type($weights) `)`)?
    attr-dict `:` type($x) `->` type($rows)
  }];
  let hasVerifier = 1;
  let hasFolder = 1;
}

def MoE_GroupedFfnOp : MoE_Op<"grouped_ffn", [Pure, AttrSizedOperandSegments,
    SingleBlock, IsolatedFromAbove]> {
  let summary = "feed-forward experts on rows in their order";
  let description = [{
    For each expert e and each row r in [offsets[e], offsets[e+1])

      results[r] = down_e . act(gate_e . rows[r] + gate_bias_e,
                                up_e . rows[r] + up_bias_e) + down_bias_e,

    in f32, each result rounded once to its type. What results of rows from
    offsets[E] on hold is not defined. Without `offsets` there is one expert,
    which all rows belong to.

    Banks, biases, `gate_up` and `layout` are as in `moe.experts`. With
    `gate_codes` (`down_codes`) the bank `gate` and, where there is one, `up`
    (`down`) is read as it is stored in few bits: codes, scales and perhaps zero
    points, as `moe.dequantize` takes them. Those have the layout `oi`.

    The activation is a region on scalars of f32 that sees nothing from outside;
    targets run it where the sums of the first product come to be.

    ```mlir
    func.func @swiglu(%rows: tensor<?x64xf32>, %offsets: tensor<9xindex>,
                      %gate_up: tensor<8x256x64xf32>, %codes: tensor<8x64x64xui8>,
                      %scales: tensor<8x64x4xf16>) -> tensor<?x64xf32> {
      %y = moe.grouped_ffn %rows offsets(%offsets : tensor<9xindex>)
          gate(%gate_up : tensor<8x256x64xf32>)
          down(%codes, %scales : tensor<8x64x64xui8>, tensor<8x64x4xf16>)
          {gate_up = #moe.gate_up<concat>, down_codes = #moe.codes<bits = 4, block = 32>}
          : tensor<?x64xf32> -> tensor<?x64xf32> {
      ^bb0(%g: f32, %u: f32):
        %one = arith.constant 1.0 : f32
        %n = arith.negf %g : f32
        %e = math.exp %n : f32
        %d = arith.addf %e, %one : f32
        %s = arith.divf %g, %d : f32
        %h = arith.mulf %s, %u : f32
        moe.yield %h : f32
      }
      return %y : tensor<?x64xf32>
    }
    ```
  }];
  let arguments = (ins MoE_FloatMatrix:$rows, Optional<MoE_IndexVector>:$offsets,
                       Variadic<MoE_BankPart>:$gate, Variadic<MoE_BankPart>:$up,
                       Variadic<MoE_BankPart>:$down,
                       Optional<MoE_BankBias>:$gate_bias,
                       Optional<MoE_BankBias>:$up_bias,
                       Optional<MoE_BankBias>:$down_bias,
                       DefaultValuedAttr<MoE_GateUpAttr, "GateUp::None">:$gate_up,
                       DefaultValuedAttr<MoE_LayoutAttr, "BankLayout::OI">:$layout,
                       OptionalAttr<MoE_CodesAttr>:$gate_codes,
                       OptionalAttr<MoE_CodesAttr>:$down_codes);
  let results = (outs MoE_FloatMatrix:$results);
  let regions = (region SizedRegion<1>:$activation);
  let assemblyFormat = [{
    $rows (`offsets` `(` $offsets^ `:` type($offsets) `)`)?
    `gate` `(` $gate `:` type($gate) `)`
    (`up` `(` $up^ `:` type($up) `)`)?
    `down` `(` $down `:` type($down) `)`
    (`gate_bias` `(` $gate_bias^ `:` type($gate_bias) `)`)?
    (`up_bias` `(` $up_bias^ `:` type($up_bias) `)`)?
    (`down_bias` `(` $down_bias^ `:` type($down_bias) `)`)?
    attr-dict `:` type($rows) `->` type($results) $activation
  }];
  let extraClassDeclaration = [{
    /// Whether the activation takes a gate and an up projection.
    bool isGated() { return getGateUp() != GateUp::None; }
  }];
  let hasVerifier = 1;
  let hasRegionVerifier = 1;
}

def MoE_CombineOp : MoE_Op<"combine", [Pure]> {
  let summary = "sum the results of a token's experts";
  let description = [{
    y[t] = sum over j of weights[t, j] * results[positions[t, j]], in f32 and in
    the order of j, then rounded to the type of y. A position of -1 leaves its
    slot out. Without `weights` all of them are 1.

    ```mlir
    func.func @combine(%results: tensor<?x64xf32>, %positions: tensor<?x2xindex>,
                       %weights: tensor<?x2xf32>) -> tensor<?x64xf16> {
      %y = moe.combine %results at(%positions : tensor<?x2xindex>)
          weights(%weights : tensor<?x2xf32>) : tensor<?x64xf32> -> tensor<?x64xf16>
      return %y : tensor<?x64xf16>
    }
    ```
  }];
  let arguments = (ins MoE_FloatMatrix:$results, MoE_Positions:$positions,
                       Optional<MoE_Weights>:$weights);
  let results = (outs MoE_FloatMatrix:$y);
  let assemblyFormat = [{
    $results `at` `(` $positions `:` type($positions) `)`
    (`weights` `(` $weights^ `:` type($weights) `)`)?
    attr-dict `:` type($results) `->` type($y)
  }];
  let hasVerifier = 1;
}

//===----------------------------------------------------------------------===//
// On buffers: what the host's kernels run
//===----------------------------------------------------------------------===//

/// Rows of activations: [rows, columns], the last columns may be padding.
def MoE_Rows : MemRefRankOf<[F32], [2]>;
def MoE_Results : MemRefRankOf<[F16, BF16, F32, F64], [2]>;
def MoE_Extra : MemRefRankOf<[F16, BF16, F32, F64, I8, I16, I32, I64], [2]>;
def MoE_Offsets : MemRefRankOf<[Index], [1]>;
def MoE_StoredBank : MemRefRankOf<[F16, BF16, F32, F64, I8], [3]>;
def MoE_Scales : MemRefRankOf<[F16, BF16, F32, F64], [3]>;
def MoE_Zeros : MemRefRankOf<[F16, BF16, F32, F64, I8], [2, 3]>;
def MoE_StoredBias : MemRefRankOf<[F16, BF16, F32, F64], [2]>;

def MoE_GroupedLinearOp : MoE_Op<"grouped_linear", [AttrSizedOperandSegments,
    SingleBlock]> {
  let summary = "products of groups of rows, each with its expert's matrix";
  let description = [{
    For each expert e of E, each row r in [offsets[e], offsets[e+1]) and each
    column n < `width`:

      out[r, n] = epilogue(sum over k < `inner` of rows[r, k] * bank_e[n, k] + bias_e[n],
                           extras[r, n]...)

    in f32, sums in an order that depends on neither the other rows nor on
    threads. With a `gate_up` other than `none` there are two sums for each
    column, gate and up, which the epilogue makes one value of. Without `offsets`
    there is one expert, which all rows belong to. Columns of `out` from `width`
    up to the next multiple of 32, as far as there are any, may be written; those
    of `rows` from `inner` on are not read. Rows in front of offsets[0] and from
    offsets[E] on are left alone.

    Each of `extras` is [R or 1, width or 1]: one value for each element, for each
    column, for each row, or for all of them.

    `banks`, one or (for `separate`) two, are as in `moe.experts`, static in
    shape; constants (`rt.constant`) are packed when the artifact is written. With
    `bits` they hold codes, [E, N, bytes], that stand for (code - zero point) *
    scale; `scales` are [E, N, blocks] with blocks of `block` codes, `zeros` are
    codes packed along the blocks [E, N, bytes], codes packed along N [E, bytes]
    (one block), or floats [E, N, blocks]; 2^(bits-1) without them. `biases` are
    [E, N], as many as banks.

    With `round_rows`, which goes with `bits`, rows are rounded to 8 bits first:
    to multiples, to even, of the largest magnitude / 127 of each block.

    ```mlir
    func.func @up(%rows: memref<?x80xf32>, %offsets: memref<9xindex>,
                  %bank: memref<8x128x64xf16>, %out: memref<?x144xf32>) {
      moe.grouped_linear rows(%rows : memref<?x80xf32>) offsets(%offsets : memref<9xindex>)
          banks(%bank : memref<8x128x64xf16>) {inner = 64, width = 128}
          out(%out : memref<?x144xf32>) {
      ^bb0(%v: f32):
        %0 = arith.constant 0.0 : f32
        %1 = arith.maximumf %v, %0 : f32
        moe.yield %1 : f32
      }
      return
    }
    ```
  }];
  let arguments = (ins Arg<MoE_Rows, "rows, padded", [MemRead]>:$rows,
      Arg<Optional<MoE_Offsets>, "first row of each expert", [MemRead]>:$offsets,
      Arg<Variadic<MoE_StoredBank>, "matrices", [MemRead]>:$banks,
      Arg<Variadic<MoE_Scales>, "of codes", [MemRead]>:$scales,
      Arg<Variadic<MoE_Zeros>, "of codes", [MemRead]>:$zeros,
      Arg<Variadic<MoE_StoredBias>, "addends", [MemRead]>:$biases,
      Arg<Variadic<MoE_Extra>, "of the epilogue", [MemRead]>:$extras,
      Arg<MoE_Results, "results", [MemWrite]>:$out,
      ConfinedAttr<I64Attr, [IntPositive]>:$inner,
      ConfinedAttr<I64Attr, [IntPositive]>:$width,
      DefaultValuedAttr<MoE_GateUpAttr, "GateUp::None">:$gate_up,
      DefaultValuedAttr<MoE_LayoutAttr, "BankLayout::OI">:$layout,
      OptionalAttr<ConfinedAttr<I64Attr, [IntPositive]>>:$bits,
      OptionalAttr<ConfinedAttr<I64Attr, [IntPositive]>>:$block,
      UnitAttr:$round_rows);
  let regions = (region SizedRegion<1>:$epilogue);
  let assemblyFormat = [{
    `rows` `(` $rows `:` type($rows) `)`
    (`offsets` `(` $offsets^ `:` type($offsets) `)`)?
    `banks` `(` $banks `:` type($banks) `)`
    (`scales` `(` $scales^ `:` type($scales) `)`)?
    (`zeros` `(` $zeros^ `:` type($zeros) `)`)?
    (`biases` `(` $biases^ `:` type($biases) `)`)?
    (`extras` `(` $extras^ `:` type($extras) `)`)?
    attr-dict `out` `(` $out `:` type($out) `)` $epilogue
  }];
  let extraClassDeclaration = [{
    bool isGated() { return getGateUp() != GateUp::None; }
    /// Columns of the stored matrix that a gated product of `width` reads.
    int64_t getStoredWidth() {
      bool both = getGateUp() == GateUp::Concat ||
                  getGateUp() == GateUp::Interleave;
      return both ? 2 * getWidth() : getWidth();
    }
    int64_t getNumExperts();
    /// Blocks of codes of a row, each with a scale.
    int64_t getNumBlocks();
  }];
  let hasVerifier = 1;
  let hasRegionVerifier = 1;
}

def MoE_CombineRowsOp : MoE_Op<"combine_rows", []> {
  let summary = "`moe.combine` on buffers";
  let description = [{
    out[t, n] = sum over j of weights[t, j] * rows[positions[t, j], n], in f32 and
    in the order of j; a position of -1 leaves its slot out. Without `weights`
    all of them are 1. Rows of `out` are contiguous; those of `rows` are padded to
    a multiple of 16.

    ```mlir
    func.func @combine(%rows: memref<?x80xf32>, %positions: memref<?x2xindex>,
                       %weights: memref<?x2xf32>, %out: memref<?x64xf32>) {
      moe.combine_rows rows(%rows : memref<?x80xf32>) positions(%positions : memref<?x2xindex>)
          weights(%weights : memref<?x2xf32>) out(%out : memref<?x64xf32>)
      return
    }
    ```
  }];
  let arguments = (ins Arg<MoE_Rows, "results of experts", [MemRead]>:$rows,
      Arg<MemRefRankOf<[Index], [2]>, "rows of each token", [MemRead]>:$positions,
      Arg<Optional<MemRefRankOf<[F32], [2]>>, "of each slot", [MemRead]>:$weights,
      Arg<MoE_Rows, "results of tokens", [MemWrite]>:$out);
  let assemblyFormat = [{
    `rows` `(` $rows `:` type($rows) `)` `positions` `(` $positions `:` type($positions) `)`
    (`weights` `(` $weights^ `:` type($weights) `)`)?
    `out` `(` $out `:` type($out) `)` attr-dict
  }];
  let hasVerifier = 1;
}

#endif // MOE_DIALECTS_MOE_MOESCHEDULE_TD
