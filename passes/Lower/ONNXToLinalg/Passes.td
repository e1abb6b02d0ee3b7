//===- Passes.td - from onnx to linalg ---------------------*- tablegen -*-===//
#ifndef MOE_PASSES_LOWER_ONNXTOLINALG_PASSES_TD
#define MOE_PASSES_LOWER_ONNXTOLINALG_PASSES_TD

include "mlir/Pass/PassBase.td"

def ONNXToLinalg : Pass<"onnx-to-linalg", "::mlir::ModuleOp"> {
  let summary = "translate functions of onnx ops into linalg on tensors";
  let description = [{
    Rewrites every function of the module; there is no mixture afterwards.
    Elementwise operators, contractions, reductions and data movement become
    `linalg` and `tensor` ops with the extents that `onnx.dims` names, loops
    whose order matters (scatter, sort, recurrence) become `scf` on buffers.
    Arithmetic on shapes is folded into `index` values as it is translated.
    Conditions that only show at run time become `rt.check`.

    Operators without a lowering are errors, all of them reported at once.

    ```mlir
    %1 = onnx.Relu(%0) : (tensor<4x?xf32>) -> tensor<4x?xf32>
    ```
    becomes a `linalg.generic` whose body is `arith.maximumf %in, %zero`.
  }];
  let dependentDialects = [
    "::mlir::arith::ArithDialect", "::mlir::bufferization::BufferizationDialect",
    "::mlir::linalg::LinalgDialect", "::mlir::math::MathDialect",
    "::mlir::memref::MemRefDialect", "::mlir::scf::SCFDialect",
    "::mlir::tensor::TensorDialect", "::moe::ir::MoEDialect",
    "::moe::rt::RtDialect"
  ];
}

#endif // MOE_PASSES_LOWER_ONNXTOLINALG_PASSES_TD
