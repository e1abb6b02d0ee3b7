//===- MoESchedule.td - how experts run --------------------*- tablegen -*-===//
#ifndef MOE_DIALECTS_MOE_MOESCHEDULE_TD
#define MOE_DIALECTS_MOE_MOESCHEDULE_TD

include "dialects/MoE/MoEAttrs.td"
include "mlir/Interfaces/SideEffectInterfaces.td"

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

def MoE_CombineOp : MoE_Op<"combine", []> {
  let summary = "sum the results of a token's experts";
  let description = [{
    out[t, n] = sum over j of weights[t, j] * rows[positions[t, j], n], in f32 and
    in the order of j; a position of -1 leaves its slot out. Without `weights`
    all of them are 1. Rows of `out` are contiguous; those of `rows` are padded to
    a multiple of 16.

    ```mlir
    func.func @combine(%rows: memref<?x80xf32>, %positions: memref<?x2xindex>,
                       %weights: memref<?x2xf32>, %out: memref<?x64xf32>) {
      moe.combine rows(%rows : memref<?x80xf32>) positions(%positions : memref<?x2xindex>)
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
