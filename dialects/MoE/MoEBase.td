//===- MoEBase.td - the dialect of experts and routers -----*- tablegen -*-===//
#ifndef MOE_DIALECTS_MOE_MOEBASE_TD
#define MOE_DIALECTS_MOE_MOEBASE_TD

include "mlir/IR/AttrTypeBase.td"
include "mlir/IR/BuiltinAttributeInterfaces.td"
include "mlir/IR/EnumAttr.td"
include "mlir/IR/OpBase.td"
include "mlir/Interfaces/SideEffectInterfaces.td"

def MoE_Dialect : Dialect {
  let name = "moe";
  let cppNamespace = "::moe::ir";
  let summary = "Experts and routers: what is computed";
  let description = [{
    Operations on plain ranked tensors that stand for whole steps of a
    mixture-of-experts model: choosing experts, running them, mixing what they
    give. Each is defined by a decomposition into ONNX operators
    (`moe-decompose`), so whatever the back ends do not know runs all the same,
    and every model can be written back as ONNX.

    Letters in the descriptions: T tokens (batch and sequence flattened), H
    width of a token, H' width of a result, I inner width of an expert, E
    experts, k experts per token.

    Routing is computed in f32 (f64 for f64 logits), sums over experts in the
    order of slots: a token has the same bits whatever batch it is in and
    however many threads run.
  }];
  let dependentDialects = ["::moe::onnx::ONNXDialect"];
  let useDefaultAttributePrinterParser = 1;
  let extraClassDeclaration = [{
    void registerAttributes();
  }];
}

class MoE_Op<string mnemonic, list<Trait> traits = []>
    : Op<MoE_Dialect, mnemonic, traits>;

class MoE_Attr<string name, string attrMnemonic, list<Trait> traits = []>
    : AttrDef<MoE_Dialect, name, traits> {
  let mnemonic = attrMnemonic;
}

/// Tensors of tokens, weights and logits.
def MoE_Float : AnyTypeOf<[F16, BF16, F32, F64]>;
def MoE_FloatTensor : RankedTensorOf<[MoE_Float], [], "tensor of floats">;
def MoE_FloatMatrix : RankedTensorOf<[MoE_Float], [HasAnyRankOfPred<[2]>],
                                     "matrix of floats">;
def MoE_FloatVector : RankedTensorOf<[MoE_Float], [HasAnyRankOfPred<[1]>],
                                     "vector of floats">;
/// Banks of experts: [E, rows, columns].
def MoE_Bank : RankedTensorOf<[MoE_Float], [HasAnyRankOfPred<[3]>],
                              "bank of matrices">;
/// Biases of banks: [E, width].
defvar MoE_BankBias = MoE_FloatMatrix;
def MoE_Ids : RankedTensorOf<[I32], [HasAnyRankOfPred<[2]>], "matrix of i32">;
def MoE_Weights : RankedTensorOf<[F32, F64], [HasAnyRankOfPred<[2]>],
                                 "matrix of f32 or f64">;

#endif // MOE_DIALECTS_MOE_MOEBASE_TD
