// What ONNX cannot hold is refused by name, and no file is written.
// RUN: rm -f %t.onnx
// RUN: not moe-opt %s -o %t.onnx 2>&1 | FileCheck %s
// RUN: not ls %t.onnx
// RUN: not moe-opt %s -o %t.onnx --export-opset=99 2>&1 | FileCheck %s --check-prefix=RANGE
// RANGE: --export-opset=99: accepted are 13 to 28

func.func @main(%x: tensor<4xf32>) -> tensor<4xf32> {
  // CHECK: error: 'arith.addf' op is no operator of ONNX and cannot be written to a model
  %0 = arith.addf %x, %x : tensor<4xf32>
  // CHECK: error: 'tensor.empty' op is no operator of ONNX
  %1 = tensor.empty() : tensor<4xf32>
  return %0 : tensor<4xf32>
}
