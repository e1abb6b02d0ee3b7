//===- MoEPool.td - pools and experts that are pools -------*- tablegen -*-===//
#ifndef MOE_DIALECTS_MOE_MOEPOOL_TD
#define MOE_DIALECTS_MOE_MOEPOOL_TD

include "dialects/MoE/MoEAttrs.td"

def MoE_PoolKind : MoE_Enum<"PoolKind", "how the elements of a window become one", [
  I32EnumAttrCase<"Avg", 0, "avg">,
  I32EnumAttrCase<"Max", 1, "max">,
  I32EnumAttrCase<"Min", 2, "min">,
  I32EnumAttrCase<"Gem", 3, "gem">,
  I32EnumAttrCase<"Lp", 4, "lp">]>;
def MoE_PadMode : MoE_Enum<"PadMode", "what stands around the elements", [
  I32EnumAttrCase<"Exclude", 0, "exclude">,
  I32EnumAttrCase<"Zero", 1, "zero">,
  I32EnumAttrCase<"Reflect", 2, "reflect">,
  I32EnumAttrCase<"Edge", 3, "edge">]>;

/// As MoE_Real, for a field that is off at minus infinity.
def MoE_RealOrNone : DefaultValuedParameter<"::llvm::APFloat",
    "::llvm::APFloat::getInf(::llvm::APFloat::IEEEdouble(), true)"> {
  let printer = "::moe::ir::printReal($_printer, $_self)";
  let parser = "::moe::ir::parseReal($_parser)";
  let comparator = "$_lhs.bitwiseIsEqual($_rhs)";
}

def MoE_PoolingAttr : MoE_Attr<"Pooling", "pooling"> {
  let summary = "from windows of a map to one element each";
  let description = [{
    For the elements x of a window, n in number:

    - `avg`: sum(x) / n; `max`, `min`.
    - `gem`: (sum(max(x, eps)^p) / n)^(1/p), generalised mean (Radenovic et al.
      2018), p negative or positive; without `eps` elements are taken as they
      are.
    - `lp`: (sum(|x|^p))^(1/p), the norm, as in ONNX's LpPool.

    `kernel`, `strides`, `dilations` have one number for each spatial dim, `pads`
    two (all those in front, then all behind), as in ONNX; empty ones are 1, 1
    and 0. Without `kernel` a window is the whole map. `ceil` adds a last window
    that reaches over the end of the padded map; what lies beyond it does not
    count.

    Padding does not count (`exclude`), counts as 0 (`zero`; after the power in
    `gem`), or repeats the map (`reflect`, `edge`, as in ONNX's Pad).

    ```mlir
    // GeM
    #moe.pooling<kind = gem, p = 3.0, eps = 1.0e-06>
    // PoolFormer
    #moe.pooling<kind = avg, kernel = [3, 3], pads = [1, 1, 1, 1]>
    ```
  }];
  let parameters = (ins
    "PoolKind":$kind,
    MoE_Indices:$kernel,
    MoE_Indices:$strides,
    MoE_Indices:$dilations,
    MoE_Indices:$pads,
    DefaultValuedParameter<"PadMode", "PadMode::Exclude">:$pad_mode,
    DefaultValuedParameter<"bool", "false">:$ceil,
    MoE_Real<"1.0">:$p,
    MoE_RealOrNone:$eps);
  let assemblyFormat = "`<` struct(params) `>`";
  let genVerifyDecl = 1;
  let extraClassDeclaration = [{
    bool isGlobal() const { return getKernel().empty(); }
    bool hasEps() const { return !getEps().isInfinity(); }
    /// Numbers of spatial dim `i`, the defaults filled in.
    int64_t getStride(unsigned i) const;
    int64_t getDilation(unsigned i) const;
    int64_t getPadBegin(unsigned i) const;
    int64_t getPadEnd(unsigned i) const;
    bool hasPads() const;
    /// Extent that spatial dim `i` has of one of `extent`: negative where no
    /// window fits, kDynamic for kDynamic.
    int64_t getResultExtent(unsigned i, int64_t extent) const;
  }];
}

/// [N, C, spatial dims...]
def MoE_Map : RankedTensorOf<[MoE_Float], [HasAnyRankOfPred<[3, 4, 5, 6]>],
                             "tensor of floats of rank 3 to 6">;

def MoE_PoolOp : MoE_Op<"pool", [Pure]> {
  let summary = "pool windows of a map";
  let description = [{
    y = alpha * pool(x) + beta * x of `x` [N, C, S1, ...], y [N, C, T1, ...].
    With `beta` other than 0 the pool must give each element a window: T = S.

    ```mlir
    // The mixer of PoolFormer (Yu et al. 2022): what surrounds a place, less
    // what is there
    func.func @mixer(%x: tensor<?x64x56x56xf32>) -> tensor<?x64x56x56xf32> {
      %y = moe.pool %x {pooling = #moe.pooling<kind = avg, kernel = [3, 3], pads = [1, 1, 1, 1]>, beta = -1.0}
          : tensor<?x64x56x56xf32> -> tensor<?x64x56x56xf32>
      return %y : tensor<?x64x56x56xf32>
    }
    // GeM
    func.func @gem(%x: tensor<?x512x7x7xf32>) -> tensor<?x512x1x1xf32> {
      %y = moe.pool %x {pooling = #moe.pooling<kind = gem, p = 3.0, eps = 1.0e-06>}
          : tensor<?x512x7x7xf32> -> tensor<?x512x1x1xf32>
      return %y : tensor<?x512x1x1xf32>
    }
    ```
  }];
  let arguments = (ins MoE_Map:$x, MoE_PoolingAttr:$pooling,
                       DefaultValuedAttr<F64Attr, "1.0">:$alpha,
                       DefaultValuedAttr<F64Attr, "0.0">:$beta);
  let results = (outs MoE_Map:$y);
  let assemblyFormat = "$x attr-dict `:` type($x) `->` type($y)";
  let hasVerifier = 1;
  let hasCanonicalizeMethod = 1;
}

def MoE_PoolSelectOp : MoE_Op<"pool_select", [Pure]> {
  let summary = "the pool that each map chooses";
  let description = [{
    y[n] = pool_e(x[n]) with e = `choice`[n]: experts that are pools, of which
    each map of `x` [N, C, S1, ...] takes one. All pools give maps of the same
    extents. Choices outside of [0, E) end the run with an error.

    ```mlir
    func.func @select(%x: tensor<?x8x16x16xf32>, %choice: tensor<?xi64>) -> tensor<?x8x8x8xf32> {
      %y = moe.pool_select %x, %choice {experts = [
          #moe.pooling<kind = max, kernel = [2, 2], strides = [2, 2]>,
          #moe.pooling<kind = avg, kernel = [2, 2], strides = [2, 2]>]}
          : tensor<?x8x16x16xf32>, tensor<?xi64> -> tensor<?x8x8x8xf32>
      return %y : tensor<?x8x8x8xf32>
    }
    ```
  }];
  let arguments = (ins MoE_Map:$x,
                       RankedTensorOf<[I32, I64], [HasAnyRankOfPred<[1]>],
                                      "vector of i32 or i64">:$choice,
                       TypedArrayAttrBase<MoE_PoolingAttr, "pools">:$experts);
  let results = (outs MoE_Map:$y);
  let assemblyFormat = [{
    $x `,` $choice attr-dict `:` type($x) `,` type($choice) `->` type($y)
  }];
  let hasVerifier = 1;
  let hasCanonicalizeMethod = 1;
}

#endif // MOE_DIALECTS_MOE_MOEPOOL_TD
