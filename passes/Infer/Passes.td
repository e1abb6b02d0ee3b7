//===- Passes.td - what is known of values -----------------*- tablegen -*-===//
#ifndef MOE_PASSES_INFER_PASSES_TD
#define MOE_PASSES_INFER_PASSES_TD

include "mlir/Pass/PassBase.td"

def InferShapes : Pass<"onnx-infer-shapes", "::mlir::func::FuncOp"> {
  let summary = "infer types and name run-time extents";
  let description = [{
    Gives every value of a function the most precise type that follows from the
    arguments, and names each extent that is known at run time only in
    `onnx.dims`: equal texts are equal extents. Element types, ranks and static
    extents come from ONNX's own schemas; sums, products and quotients of names
    (`past+seq`, `batch*seq`) and the elements of computed shapes from rules of
    ours. An extent that depends on data gets a name of its own, such as `?7`.

    ```mlir
    func.func @f(%x: tensor<?x?x8xf32> {onnx.dims = ["b", "s", ""]}) {
      %shape = onnx.Constant() {value = dense<[-1, 8]> : tensor<2xi64>} : () -> tensor<2xi64>
      %0 = onnx.Reshape(%x, %shape)
          : (tensor<?x?x8xf32>, tensor<2xi64>) -> tensor<*xf32>
    ```
    becomes
    ```mlir
      %0 = onnx.Reshape(%x, %shape) {onnx.dims = [["b*s", ""]]}
          : (tensor<?x?x8xf32>, tensor<2xi64>) -> tensor<?x8xf32>
    ```

    The pass fails with a diagnostic that names the node and both shapes where
    operands do not fit, or where the model declares what cannot be. It is
    idempotent. Values of computed shapes are left in `onnx.values`
    (lib/Analysis/Dims.h reads all attributes).
  }];
  let options = [
    ListOption<"bind", "bind", "std::string",
               "Extents of arguments to replace by numbers: NAME=N,NAME=N">,
  ];
  let statistics = [
    Statistic<"numRefined", "refined", "Values whose type changed">,
    Statistic<"numSymbolic", "symbolic",
              "Extents that are expressions over names">,
    Statistic<"numFresh", "data-dependent", "Extents with a name of their own">,
    Statistic<"numUnranked", "unranked", "Values whose rank stays unknown">,
  ];
}

#endif // MOE_PASSES_INFER_PASSES_TD
