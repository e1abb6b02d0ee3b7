// The report sees the router behind a capacity.
// RUN: moe-opt %s --moe-report -o %t.mlir | FileCheck %s

// CHECK: routed
// CHECK-NEXT: experts     E = 8, k = 2
// CHECK: routing     #moe.routing<k = 2, norm = sum>
func.func @limited(%x: tensor<?x64xf32>, %l: tensor<?x8xf32>, %up: tensor<8x128x64xf32>,
                   %down: tensor<8x64x128xf32>) -> tensor<?x64xf32> {
  %ids, %w = moe.route %l {routing = #moe.routing<k = 2, norm = sum>} : tensor<?x8xf32> -> tensor<?x2xi32>, tensor<?x2xf32>
  %kept, %kw = moe.capacity %ids, %w {num_experts = 8, mode = #moe.capacity_mode<factor>, value = 1.25}
      : tensor<?x2xi32>, tensor<?x2xf32> -> tensor<?x2xi32>, tensor<?x2xf32>
  %y = moe.experts %x route(%kept, %kw : tensor<?x2xi32>, tensor<?x2xf32>) gate(%up : tensor<8x128x64xf32>)
      down(%down : tensor<8x64x128xf32>) : tensor<?x64xf32> -> tensor<?x64xf32> {
  ^bb0(%h: tensor<f32>):
    %a = onnx.Relu(%h) : (tensor<f32>) -> tensor<f32>
    moe.yield %a : tensor<f32>
  }
  return %y : tensor<?x64xf32>
}
