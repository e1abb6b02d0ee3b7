// The reducer knows our dialects: what does not matter to the test script goes.
// RUN: echo "#!/bin/sh" > %t.sh
// RUN: echo "grep -q onnx.Relu \"\$1\" && exit 1; exit 0" >> %t.sh
// RUN: chmod +x %t.sh
// RUN: moe-reduce %s --reduction-tree="traversal-mode=0 test=%t.sh" | FileCheck %s

// CHECK-NOT: onnx.Sigmoid
// CHECK: onnx.Relu
// CHECK-NOT: onnx.Sigmoid
func.func @f(%x: tensor<4xf32>) -> tensor<4xf32> {
  %0 = onnx.Relu(%x) : (tensor<4xf32>) -> tensor<4xf32>
  return %0 : tensor<4xf32>
}
func.func @g(%x: tensor<4xf32>) -> tensor<4xf32> {
  %0 = onnx.Sigmoid(%x) : (tensor<4xf32>) -> tensor<4xf32>
  return %0 : tensor<4xf32>
}
