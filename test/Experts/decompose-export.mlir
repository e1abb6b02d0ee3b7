// A module with moe ops is written as an ONNX model of plain operators, in the
// form that was asked for before; its nodes are named after the op.
// RUN: moe-opt %s -o %t.onnx
// RUN: %python -c "import onnx; onnx.checker.check_model('%t.onnx', full_check=True)"
// RUN: moe-opt %t.onnx --mlir-print-debuginfo | FileCheck %s --check-prefixes=CHECK,GROUPED
// RUN: moe-opt %s --moe-decompose=form=gather -o %t-gather.onnx
// RUN: moe-opt %t-gather.onnx --mlir-print-debuginfo | FileCheck %s --check-prefixes=CHECK,GATHER

// The export itself does not choose a form.
// RUN: not moe-opt %s --onnx-export=file=%t-no.onnx 2>&1 | FileCheck %s --check-prefix=ERROR
// ERROR: error: {{.*}}layer.1{{.*}}'moe.experts' op is no operator of ONNX and cannot be written to a model; --moe-decompose rewrites it into operators

// CHECK-NOT: moe.
// GROUPED: onnx.TopK
// GATHER-NOT: onnx.TopK
// A subgraph gives a value from outside through an Identity.
// CHECK: onnx.If
// CHECK: onnx.Identity
// CHECK: "layer.1/{{.*}}_{{[0-9]+}}"
func.func @main(%x: tensor<?x8xf32> {onnx.dims = ["T", ""]}, %ids: tensor<?x2xi32> {onnx.dims = ["T", ""]},
    %w: tensor<?x2xf32> {onnx.dims = ["T", ""]}, %i: tensor<i64>) -> tensor<?x8xf32> {
  %up = onnx.Initializer "up" = dense<0.5> : tensor<2x6x8xf32>
  %down = onnx.Initializer "down" = dense<0.25> : tensor<2x8x6xf32>
  %y = moe.experts %x route(%ids, %w : tensor<?x2xi32>, tensor<?x2xf32>)
      gate(%up : tensor<2x6x8xf32>) down(%down : tensor<2x8x6xf32>) : tensor<?x8xf32> -> tensor<?x8xf32> {
  ^bb0(%h: tensor<f32>):
    %a = onnx.Relu(%h) : (tensor<f32>) -> tensor<f32>
    moe.yield %a : tensor<f32>
  } loc("layer.1")
  %z = moe.switch %i : tensor<i64> -> tensor<?x8xf32> {
    moe.yield %y : tensor<?x8xf32>
  }, {
    %0 = onnx.Relu(%y) : (tensor<?x8xf32>) -> tensor<?x8xf32>
    moe.yield %0 : tensor<?x8xf32>
  }
  return %z : tensor<?x8xf32>
}
