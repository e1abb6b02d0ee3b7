// Names of inputs and outputs are fixed; copies of an op get other names; a
// value that leaves twice, or that no node makes, goes through an Identity.
// RUN: moe-opt %s -o %t.onnx
// RUN: moe-opt %t.onnx | FileCheck %s

// CHECK: func.func @main(%[[X:[^:]*]]: tensor<4xf32> {onnx.dims = [""], onnx.name = "x"})
func.func @main(%x: tensor<4xf32> {onnx.name = "x"})
    -> (tensor<4xf32> {onnx.name = "y"}, tensor<4xf32> {onnx.name = "again"}, tensor<4xf32> {onnx.name = "through"}) {
  // CHECK: onnx.Neg(%[[X]]) {onnx.outputs = ["neg"]}
  %0 = onnx.Neg(%x) {onnx.outputs = ["neg"]} : (tensor<4xf32>) -> tensor<4xf32>
  // CHECK: onnx.Neg(%{{.*}}) {onnx.outputs = ["neg_0"]}
  %1 = onnx.Neg(%0) {onnx.outputs = ["neg"]} : (tensor<4xf32>) -> tensor<4xf32>
  // CHECK: %[[Y:.*]] = onnx.Neg(%{{.*}}) {onnx.outputs = ["y"]}
  %2 = onnx.Neg(%1) {onnx.outputs = ["z"]} : (tensor<4xf32>) -> tensor<4xf32>
  // CHECK: %[[AGAIN:.*]] = onnx.Identity(%[[Y]])
  // CHECK: %[[THROUGH:.*]] = onnx.Identity(%[[X]])
  // CHECK: return %[[Y]], %[[AGAIN]], %[[THROUGH]]
  return %2, %2, %x : tensor<4xf32>, tensor<4xf32>, tensor<4xf32>
}
