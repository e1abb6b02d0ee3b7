// The graph fits the opset of the model, or the one that is asked for: before
// 16 no scatter adds.
// RUN: moe-opt %s --moe-decompose | FileCheck %s --check-prefix=OLD
// RUN: moe-opt %s --moe-decompose=opset=16 | FileCheck %s --check-prefix=NEW
// RUN: moe-opt %s -o %t.onnx
// RUN: moe-opt %t.onnx | FileCheck %s --check-prefixes=OLD,EXPORTED
// RUN: moe-opt %s -o %t16.onnx --export-opset=16
// RUN: moe-opt %t16.onnx | FileCheck %s --check-prefix=NEW

// EXPORTED: ai.onnx = 13
// OLD-NOT: reduction
// OLD: onnx.Equal{{.*}} -> tensor<?x3xi1>
// OLD: onnx.ReduceSum{{.*}} -> tensor<3xi64>
// NEW: reduction = "add"
module attributes {onnx.opset_import = {ai.onnx = 13 : i64}} {
  func.func @main(%x: tensor<?x8xf32> {onnx.dims = ["T", ""]}, %ids: tensor<?x2xi32> {onnx.dims = ["T", ""]},
      %w: tensor<?x2xf32> {onnx.dims = ["T", ""]}, %up: tensor<2x6x8xf32>, %down: tensor<2x8x6xf32>) -> tensor<?x8xf32> {
    %y = moe.experts %x route(%ids, %w : tensor<?x2xi32>, tensor<?x2xf32>)
        gate(%up : tensor<2x6x8xf32>) down(%down : tensor<2x8x6xf32>) : tensor<?x8xf32> -> tensor<?x8xf32> {
    ^bb0(%h: tensor<f32>):
      %a = onnx.Relu(%h) : (tensor<f32>) -> tensor<f32>
      moe.yield %a : tensor<f32>
    }
    return %y : tensor<?x8xf32>
  }
}
