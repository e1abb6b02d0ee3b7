//===- MoENorm.td - normalisations -------------------------*- tablegen -*-===//
#ifndef MOE_DIALECTS_MOE_MOENORM_TD
#define MOE_DIALECTS_MOE_MOENORM_TD

include "dialects/MoE/MoEAttrs.td"

def MoE_NormKind : MoE_Enum<"NormKind", "what a normalisation divides by", [
  I32EnumAttrCase<"Layer", 0, "layer">,
  I32EnumAttrCase<"RMS", 1, "rms">,
  I32EnumAttrCase<"Group", 2, "group">]>;
def MoE_NormKindAttr : MoE_EnumOf<MoE_NormKind, "norm_kind">;

def MoE_NormOp : MoE_Op<"norm", [Pure, AttrSizedOperandSegments]> {
  let summary = "normalise rows or groups of channels";
  let description = [{
    With m the mean and v the variance of a row of `x`, in f32 (f64 for f64):

    - `layer`: y = (x - m) / sqrt(v + epsilon) * scale + bias. A row are the dims
      from `axis` on; `axis` counts from the end if it is negative. (Ba, Kiros
      and Hinton 2016.)
    - `rms`: y = x / sqrt(mean(x^2) + epsilon) * scale + bias, rows as above.
      (Zhang and Sennrich 2019.)
    - `group`: as `layer`, a row being the channels of a group and all dims
      behind dim 1, the channels, which form `groups` groups of neighbours. As
      many groups as channels: instance normalisation. (Wu and He 2018.)

    `scale` and `bias` broadcast to the last dims of `x` for `layer` and `rms`;
    for `group` they are vectors of one number per channel. With `round` x is
    brought into the type of `y` after it is normalised and before it is scaled,
    as models in half precision do.

    ```mlir
    func.func @llama(%x: tensor<?x?x64xf16>, %scale: tensor<64xf16>) -> tensor<?x?x64xf16> {
      %y = moe.norm %x scale(%scale : tensor<64xf16>) {kind = #moe.norm_kind<rms>, epsilon = 1.0e-06, round}
          : tensor<?x?x64xf16> -> tensor<?x?x64xf16>
      return %y : tensor<?x?x64xf16>
    }
    func.func @poolformer(%x: tensor<?x32x14x14xf32>, %scale: tensor<32xf32>, %bias: tensor<32xf32>)
        -> tensor<?x32x14x14xf32> {
      %y = moe.norm %x scale(%scale : tensor<32xf32>) bias(%bias : tensor<32xf32>)
          {kind = #moe.norm_kind<group>, epsilon = 1.0e-05, groups = 1}
          : tensor<?x32x14x14xf32> -> tensor<?x32x14x14xf32>
      return %y : tensor<?x32x14x14xf32>
    }
    ```
  }];
  let arguments = (ins MoE_FloatTensor:$x, Optional<MoE_FloatTensor>:$scale,
                       Optional<MoE_FloatTensor>:$bias,
                       MoE_NormKindAttr:$kind,
                       DefaultValuedAttr<I64Attr, "-1">:$axis,
                       OptionalAttr<ConfinedAttr<I64Attr, [IntMinValue<1>]>>:$groups,
                       F64Attr:$epsilon,
                       UnitAttr:$round);
  let results = (outs MoE_FloatTensor:$y);
  let assemblyFormat = [{
    $x (`scale` `(` $scale^ `:` type($scale) `)`)?
    (`bias` `(` $bias^ `:` type($bias) `)`)?
    attr-dict `:` type($x) `->` type($y)
  }];
  let hasVerifier = 1;
}

#endif // MOE_DIALECTS_MOE_MOENORM_TD
