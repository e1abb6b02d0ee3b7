//===- Passes.td - code that parts of a model share --------*- tablegen -*-===//
#ifndef MOE_PASSES_SHARE_PASSES_TD
#define MOE_PASSES_SHARE_PASSES_TD

include "mlir/Pass/PassBase.td"

def ShareLayers : Pass<"moe-share-layers", "::mlir::ModuleOp"> {
  let summary = "Put layers that differ in their weights alone into a function";
  let description = [{
    Looks in each public function for sequences of operations that follow one
    another and are alike: the same operators, attributes, types and uses of each
    other's values. The first one becomes a private function, all become calls.
    Constants that differ are parameters of the function (`#rt.parameter`), which
    calls list in `rt.arguments`; those of less than 16 elements, and integers of
    more than 8 bits, have to be equal, since code may depend on them. So a model
    of 48 equal layers takes less than half again as long as one of them.

    A layer is cut where the fewest values cross, and where nothing could have
    been fused across the cut. Sequences of less than `min-ops` operations, or
    without an operator that takes work to compile (products, experts, attention,
    convolutions, recurrent layers, loops), stay where they are.

    ```mlir
    %0 = onnx.MatMul(%x, %w0) : (tensor<4x4xf32>, tensor<4x4xf32>) -> tensor<4x4xf32>
    %1 = onnx.Relu(%0) : (tensor<4x4xf32>) -> tensor<4x4xf32>
    %2 = onnx.MatMul(%1, %w1) : (tensor<4x4xf32>, tensor<4x4xf32>) -> tensor<4x4xf32>
    %3 = onnx.Relu(%2) : (tensor<4x4xf32>) -> tensor<4x4xf32>
    ```
    becomes, with `min-ops=2`,
    ```mlir
    %0 = call @main.layer.0(%x) {rt.arguments = [dense<...> : tensor<4x4xf32>]}
        : (tensor<4x4xf32>) -> tensor<4x4xf32>
    %1 = call @main.layer.0(%0) {rt.arguments = [dense<...> : tensor<4x4xf32>]}
        : (tensor<4x4xf32>) -> tensor<4x4xf32>
    ```
  }];
  let options = [
    Option<"minOps", "min-ops", "unsigned", "4",
           "Fewest operations of a layer">,
  ];
  let statistics = [
    Statistic<"numLayers", "layers", "Functions made">,
    Statistic<"numCalls", "calls", "Sequences replaced by calls">];
  let dependentDialects = ["::mlir::func::FuncDialect", "::moe::rt::RtDialect"];
}

#endif // MOE_PASSES_SHARE_PASSES_TD
