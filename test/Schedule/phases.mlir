// The phase prints what it makes, and goes on from it to the same program.
// RUN: moe-compile %s --compile-to=schedule -o %t.mlir
// RUN: FileCheck %s < %t.mlir
// RUN: moe-compile %t.mlir --compile-from=schedule -o %t.from.so
// RUN: moe-compile %t.mlir --compile-from=lower -o %t.lower.so
// RUN: moe-compile %s -o %t.so
// RUN: moe-compile %s --pass-pipeline='builtin.module(canonicalize)' -o %t.pipeline.so
// RUN: moe-run %t.so --random 1 --output %t.1
// RUN: moe-run %t.from.so --random 1 --output %t.2
// RUN: moe-run %t.lower.so --random 1 --output %t.3
// RUN: moe-run %t.pipeline.so --random 1 --output %t.4
// RUN: cmp %t.1/output_0.pb %t.2/output_0.pb
// RUN: cmp %t.1/output_0.pb %t.3/output_0.pb
// RUN: cmp %t.1/output_0.pb %t.4/output_0.pb

// Two layers behind one router share its plan.
// CHECK: moe.route
// CHECK: moe.plan
// CHECK: moe.grouped_ffn
// CHECK: moe.combine
// CHECK-NOT: moe.plan
// CHECK: moe.grouped_ffn
// CHECK: moe.combine
// CHECK-NOT: moe.experts
func.func @main(%x: tensor<5x24xf32> {onnx.name = "x"}, %l: tensor<5x3xf32> {onnx.name = "l"}) -> (tensor<5x24xf32> {onnx.name = "y"}) {
  %gate = onnx.Constant() {value = dense<0.25> : tensor<3x40x24xf32>} : () -> tensor<3x40x24xf32>
  %down = onnx.Constant() {value = dense<0.125> : tensor<3x24x40xf32>} : () -> tensor<3x24x40xf32>
  %ids, %w = moe.route %l {routing = #moe.routing<k = 2>} : tensor<5x3xf32> -> tensor<5x2xi32>, tensor<5x2xf32>
  %0 = moe.experts %x route(%ids, %w : tensor<5x2xi32>, tensor<5x2xf32>) gate(%gate : tensor<3x40x24xf32>)
      down(%down : tensor<3x24x40xf32>) : tensor<5x24xf32> -> tensor<5x24xf32> {
  ^bb0(%h: tensor<f32>):
    %a = onnx.Relu(%h) : (tensor<f32>) -> tensor<f32>
    moe.yield %a : tensor<f32>
  }
  %1 = moe.experts %0 route(%ids, %w : tensor<5x2xi32>, tensor<5x2xf32>) gate(%gate : tensor<3x40x24xf32>)
      down(%down : tensor<3x24x40xf32>) : tensor<5x24xf32> -> tensor<5x24xf32> {
  ^bb0(%h: tensor<f32>):
    %a = onnx.Tanh(%h) : (tensor<f32>) -> tensor<f32>
    moe.yield %a : tensor<f32>
  }
  return %1 : tensor<5x24xf32>
}
