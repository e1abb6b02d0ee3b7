// Experts as grouped products.
// RUN: moe-opt %s --moe-schedule --onnx-to-linalg --split-input-file | FileCheck %s

// A bank that a node widens is read as it is stored: nothing is lost. One that a
// node narrows is not.
// CHECK-LABEL: func.func @widened
// CHECK: moe.grouped_linear {{.*}} banks(%{{.*}} : memref<2x24x16xbf16>)
// CHECK: moe.grouped_linear {{.*}} banks(%{{.*}} : memref<2x16x24xf16>)
func.func @widened(%x: tensor<?x16xf32>, %ids: tensor<?x1xi32>, %w: tensor<?x1xf32>) -> tensor<?x16xf32> {
  %g = onnx.Initializer "g" = dense<0.5> : tensor<2x24x16xbf16>
  %wide = onnx.Cast(%g) {to = 1 : i64} : (tensor<2x24x16xbf16>) -> tensor<2x24x16xf32>
  %d = onnx.Initializer "d" = dense<0.1> : tensor<2x16x24xf32>
  %narrow = onnx.Cast(%d) {to = 10 : i64} : (tensor<2x16x24xf32>) -> tensor<2x16x24xf16>
  %y = moe.experts %x route(%ids, %w : tensor<?x1xi32>, tensor<?x1xf32>)
      gate(%wide : tensor<2x24x16xf32>) down(%narrow : tensor<2x16x24xf16>)
      {gate_up = #moe.gate_up<none>} : tensor<?x16xf32> -> tensor<?x16xf32> {
  ^bb0(%a: tensor<f32>):
    %h = onnx.Relu(%a) : (tensor<f32>) -> tensor<f32>
    moe.yield %h : tensor<f32>
  }
  return %y : tensor<?x16xf32>
}
