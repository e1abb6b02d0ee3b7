// An op that does not fit the opset is refused by name.
// RUN: not moe-opt %s -o %t.onnx --export-opset=17 2>&1 | FileCheck %s
// RUN: moe-opt %s -o %t.onnx --export-opset=20
// RUN: moe-opt %t.onnx | FileCheck %s --check-prefix=TWENTY
// TWENTY: ir_version = 9 : i64

func.func @main(%x: tensor<4x4xf32>, %axes: tensor<1xi64>) -> (tensor<4x4xf32>, tensor<4x1xf32>) {
  // CHECK: node '' (ai.onnx::Gelu) cannot be written with opset 17: the operator exists from opset 20 on
  %0 = onnx.Gelu(%x) : (tensor<4x4xf32>) -> tensor<4x4xf32>
  // CHECK: (ai.onnx::ReduceMean) cannot be written with opset 17: axes that are not constant exist from opset 18 on
  %1 = onnx.ReduceMean(%x, %axes) : (tensor<4x4xf32>, tensor<1xi64>) -> tensor<4x1xf32>
  return %0, %1 : tensor<4x4xf32>, tensor<4x1xf32>
}
