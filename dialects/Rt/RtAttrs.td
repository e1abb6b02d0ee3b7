//===- RtAttrs.td - constants in the form kernels read -----*- tablegen -*-===//
#ifndef MOE_DIALECTS_RT_RTATTRS_TD
#define MOE_DIALECTS_RT_RTATTRS_TD

include "dialects/Rt/RtInterfaces.td"
include "mlir/IR/AttrTypeBase.td"
include "mlir/IR/BuiltinAttributeInterfaces.td"
include "mlir/IR/EnumAttr.td"

def Rt_PanelOrder : I32EnumAttr<"PanelOrder", "what the columns of a panel are", [
    I32EnumAttrCase<"Plain", 0, "plain">,
    I32EnumAttrCase<"Separate", 1, "separate">,
    I32EnumAttrCase<"Concat", 2, "concat">,
    I32EnumAttrCase<"Interleave", 3, "interleave">]> {
  let cppNamespace = "::moe::rt";
  let genSpecializedAttr = 0;
}

/// The numbers are those of moe_profile_event.
def Rt_ProfileEvent : I32EnumAttr<"ProfileEvent", "what a profile point tells", [
    I32EnumAttrCase<"Begin", 0, "begin">, I32EnumAttrCase<"Pause", 1, "pause">,
    I32EnumAttrCase<"End", 2, "end">, I32EnumAttrCase<"Work", 3, "work">]> {
  let cppNamespace = "::moe::rt";
}

def Rt_PanelsAttr
    : AttrDef<Rt_Dialect, "Panels",
              [ElementsAttrInterface,
               DeclareAttrInterfaceMethods<Rt_BytesAttrInterface>]> {
  let mnemonic = "panels";
  let summary = "matrices of weights, rearranged for a kernel when written";
  let description = [{
    A bank of E matrices of type [E, panels, K, columns]: a panel holds `columns`
    neighbouring columns of a product, one row for each of the K contracted
    indices, so that a kernel walks through memory from front to back. Columns
    beyond the last one are zeros. Nothing is rearranged before an artifact is
    written, and then panel by panel.

    Each of the `sources` is seen as [E, rows, cols]; rows are columns of the
    product (as torch.nn.Linear stores them), or contracted indices if
    `transposed`. By `order`, with half = columns / 2:

    - `plain`: the columns of the product in order, `width` in all.
    - the others: half a panel of gates, then half a panel of the ups that belong
      to them, `width` of each. They are in two sources (`separate`), the gates
      in front of all ups (`concat`), or in turns (`interleave`).

    Sources of f16, bf16, f32 or f64 become f32; those of f16 and bf16 may stay
    as they are, and bf16 may become words of i32: K then counts pairs of
    contracted indices, the first of which is in the low half, and a missing
    last one is zero. With `bits` of 2, 4 or 8 the elements of a source are unsigned
    codes of so many bits, packed along its columns with the lowest bits first;
    they become f32 too, or words of i32: K then counts words, of 32 / `bits`
    codes each, and byte b of a word has code b in its lowest bits, then code
    b + 4 and so on. Codes beyond the last one, up to the next multiple of 32,
    are zeros. Without `bits`, sources of 8-bit integers keep their bytes: K then
    counts bytes.

    ```mlir
    #rt.panels<sources = [#onnx.file<"m.onnx", 0, 1048576> : tensor<8x64x512xf32>],
               rows = 64, cols = 512, order = concat, width = 32>
        : tensor<8x2x512x32xf32>
    ```
  }];
  let parameters = (ins
      AttributeSelfTypeParameter<"", "::mlir::ShapedType">:$type,
      "::mlir::ArrayAttr":$sources, "int64_t":$rows, "int64_t":$cols,
      DefaultValuedParameter<"bool", "false">:$transposed,
      DefaultValuedParameter<"PanelOrder", "PanelOrder::Plain">:$order,
      "int64_t":$width,
      DefaultValuedParameter<"int64_t", "0">:$bits);
  let assemblyFormat = "`<` struct($sources, $rows, $cols, $transposed, $order, $width, $bits) `>`";
  let genVerifyDecl = 1;
  let extraClassDeclaration = [{
    /// No element access: callers see a failure and leave the value alone.
    ::mlir::FailureOr<::mlir::detail::ElementsAttrIndexer>
    getValuesImpl(::mlir::TypeID) const { return ::mlir::failure(); }
    bool isSplat() const { return false; }
  }];
}

def Rt_StackAttr
    : AttrDef<Rt_Dialect, "Stack",
              [ElementsAttrInterface,
               DeclareAttrInterfaceMethods<Rt_BytesAttrInterface>]> {
  let mnemonic = "stack";
  let summary = "tensors of one type along a new first axis";
  let description = [{
    The parts one after the other: what ONNX's Unsqueeze and Concat would give,
    without a copy of any of them. With `transposed` the last two axes of each
    part are swapped. The bytes are put together when an artifact or a model is
    written.

    ```mlir
    #rt.stack<[#onnx.file<"m.onnx", 0, 64> : tensor<4x4xf32>,
               #onnx.file<"m.onnx", 128, 64> : tensor<4x4xf32>]> : tensor<2x4x4xf32>
    ```
  }];
  let parameters = (ins AttributeSelfTypeParameter<"", "::mlir::ShapedType">:$type,
                        ArrayRefParameter<"::mlir::ElementsAttr">:$parts,
                        DefaultValuedParameter<"bool", "false">:$transposed);
  let assemblyFormat = "`<` `[` $parts `]` (`,` `transposed` `=` $transposed^)? `>`";
  let genVerifyDecl = 1;
  let extraClassDeclaration = [{
    /// No element access: callers see a failure and leave the value alone.
    ::mlir::FailureOr<::mlir::detail::ElementsAttrIndexer>
    getValuesImpl(::mlir::TypeID) const { return ::mlir::failure(); }
    bool isSplat() const { return false; }
  }];
}

def Rt_ParameterAttr
    : AttrDef<Rt_Dialect, "Parameter",
              [ElementsAttrInterface,
               DeclareAttrInterfaceMethods<Rt_BytesAttrInterface>]> {
  let mnemonic = "parameter";
  let summary = "a constant that each call of a function chooses";
  let description = [{
    Stands in a private function for constants of one type that differ from call
    to call: the weights of layers that share their code. Calls list them in the
    attribute `rt.arguments`; `number` is the place in that list. Passes treat a
    parameter as any other constant whose elements they cannot see, and may wrap
    it in other attributes: what is behind it is put in when the weights are laid
    out.

    ```mlir
    func.func private @layer(%x: tensor<4x4xf32>) -> tensor<4x4xf32> {
      %w = onnx.Initializer "w" = #rt.parameter<0> : tensor<4x4xf32>
      %y = onnx.MatMul(%x, %w) : (tensor<4x4xf32>, tensor<4x4xf32>) -> tensor<4x4xf32>
      return %y : tensor<4x4xf32>
    }
    func.func @main(%x: tensor<4x4xf32>) -> tensor<4x4xf32> {
      %0 = call @layer(%x) {rt.arguments = [#onnx.file<"m.onnx", 0, 64> : tensor<4x4xf32>]}
          : (tensor<4x4xf32>) -> tensor<4x4xf32>
      %1 = call @layer(%0) {rt.arguments = [#onnx.file<"m.onnx", 64, 64> : tensor<4x4xf32>]}
          : (tensor<4x4xf32>) -> tensor<4x4xf32>
      return %1 : tensor<4x4xf32>
    }
    ```
  }];
  let parameters = (ins AttributeSelfTypeParameter<"", "::mlir::ShapedType">:$type,
                        "int64_t":$number);
  let assemblyFormat = "`<` $number `>`";
  let genVerifyDecl = 1;
  let extraClassDeclaration = [{
    /// No element access: callers see a failure and leave the value alone.
    ::mlir::FailureOr<::mlir::detail::ElementsAttrIndexer>
    getValuesImpl(::mlir::TypeID) const { return ::mlir::failure(); }
    bool isSplat() const { return false; }
  }];
}

#endif // MOE_DIALECTS_RT_RTATTRS_TD
