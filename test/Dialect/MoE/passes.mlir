// RUN: moe-opt %s --canonicalize --cse | FileCheck %s

// Constants of an activation neither leave it nor are taken from outside.
// CHECK-LABEL: func.func @constants
func.func @constants(%x: tensor<?x64xf32>, %gate: tensor<1x128x64xf32>, %down: tensor<1x64x128xf32>)
    -> (tensor<?x64xf32>, tensor<f32>) {
  // CHECK: onnx.Constant
  %outer = onnx.Constant() {value = dense<2.0> : tensor<f32>} : () -> tensor<f32>
  // CHECK: moe.experts
  // CHECK-NEXT: ^bb0(%[[H:.*]]: tensor<f32>):
  // CHECK-NEXT: %[[C:.*]] = onnx.Constant
  // CHECK-NEXT: onnx.Mul(%[[H]], %[[C]])
  %y = moe.experts %x gate(%gate : tensor<1x128x64xf32>) down(%down : tensor<1x64x128xf32>)
      : tensor<?x64xf32> -> tensor<?x64xf32> {
  ^bb0(%h: tensor<f32>):
    %two = onnx.Constant() {value = dense<2.0> : tensor<f32>} : () -> tensor<f32>
    %0 = onnx.Mul(%h, %two) : (tensor<f32>, tensor<f32>) -> tensor<f32>
    moe.yield %0 : tensor<f32>
  }
  return %y, %outer : tensor<?x64xf32>, tensor<f32>
}

// Equal routers are one; what nobody uses goes.
// CHECK-LABEL: func.func @equal_routers
// CHECK: moe.route %
// CHECK-NOT: {{moe\.(route|soft_route) }}
// CHECK: return
func.func @equal_routers(%l: tensor<?x8xf32>) -> (tensor<?x2xi32>, tensor<?x2xi32>) {
  %a, %aw = moe.route %l {routing = #moe.routing<k = 2, norm = sum, eps = 0.0>} : tensor<?x8xf32> -> tensor<?x2xi32>, tensor<?x2xf32>
  %b, %bw = moe.route %l {routing = #moe.routing<k = 2, norm = sum>} : tensor<?x8xf32> -> tensor<?x2xi32>, tensor<?x2xf32>
  %d, %c = moe.soft_route %l : tensor<?x8xf32>
  return %a, %b : tensor<?x2xi32>, tensor<?x2xi32>
}
