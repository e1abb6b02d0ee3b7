//===- ONNXExtraOps.td - ops of `onnx` that are no operator -*- tablegen -*-===//
#ifndef MOE_DIALECTS_ONNX_ONNXEXTRAOPS_TD
#define MOE_DIALECTS_ONNX_ONNXEXTRAOPS_TD

include "dialects/ONNX/ONNXBase.td"

def ONNX_InitializerOp : Op<ONNX_Dialect, "Initializer", [Pure, ConstantLike,
    DeclareOpInterfaceMethods<OpAsmOpInterface, ["getAsmResultNames"]>]> {
  let summary = "constant that a graph holds as an initializer";
  let description = [{
    Kept apart from `onnx.Constant`, which is a node: an unmodified model is
    written back with the nodes and the initializers that it had.

    ```mlir
    %w = onnx.Initializer "layer.w" = #onnx.file<"m.onnx", 64, 1024> : tensor<16x16xf32>
    ```
  }];
  let arguments = (ins StrAttr:$initializer, ElementsAttr:$value);
  let results = (outs AnyTensor:$result);
  let assemblyFormat = "$initializer `=` custom<ElementsOfType>($value, type($result)) attr-dict";
  let hasFolder = 1;
  let hasVerifier = 1;
}

def ONNX_CustomOp : Op<ONNX_Dialect, "Custom", [
    DeclareOpInterfaceMethods<OpAsmOpInterface, ["getAsmResultNames"]>]> {
  let summary = "operator that no dialect knows";
  let description = [{
    Carried through moe-opt as it came, refused by moe-compile. Attributes of
    the node are discardable attributes of the op. `present` tells which inputs
    the node names; an operand is there for each of them.

    ```mlir
    %y = onnx.Custom "my.company" : "FancyRouter"(%x) {alpha = 1.0 : f32}
        : (tensor<4x4xf32>) -> tensor<4x4xf32>
    ```
  }];
  let arguments = (ins StrAttr:$domain, StrAttr:$op_type,
                       OptionalAttr<DenseBoolArrayAttr>:$present,
                       OptionalAttr<DenseBoolArrayAttr>:$present_results,
                       Variadic<ONNX_Value>:$inputs);
  let results = (outs Variadic<ONNX_Value>:$outputs);
  let assemblyFormat = [{
    $domain `:` $op_type `(` $inputs `)` attr-dict `:`
    functional-type($inputs, $outputs)
  }];
}

def ONNX_YieldOp : Op<ONNX_Dialect, "Yield", [Pure, Terminator]> {
  let summary = "outputs of a subgraph";
  let description = [{
    Ends the region of `onnx.If`, `onnx.Loop`, `onnx.Scan` and
    `onnx.SequenceMap`.

    ```mlir
    onnx.Yield %a, %b : tensor<4xf32>, tensor<i1>
    ```
  }];
  let arguments = (ins Variadic<ONNX_Value>:$values);
  let assemblyFormat = "($values^ `:` type($values))? attr-dict";
}

#endif // MOE_DIALECTS_ONNX_ONNXEXTRAOPS_TD
