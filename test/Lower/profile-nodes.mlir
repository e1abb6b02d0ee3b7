// Locations of nodes say what the nodes are.
// RUN: moe-opt %s --moe-profile-nodes --mlir-print-debuginfo --mlir-print-local-scope | FileCheck %s
// Twice is once.
// RUN: moe-opt %s --moe-profile-nodes --moe-profile-nodes --mlir-print-debuginfo --mlir-print-local-scope | FileCheck %s

// CHECK-LABEL: func.func @named
// CHECK: onnx.Relu{{.*}} loc("act"(fused<"Relu">["m.onnx":3:1]))
// CHECK: onnx.Relu{{.*}} loc(fused<"Relu">["m.onnx":4:1])
func.func @named(%x: tensor<4xf32>) -> tensor<4xf32> {
  %0 = onnx.Relu(%x) : (tensor<4xf32>) -> tensor<4xf32> loc("act"("m.onnx":3:1))
  %1 = onnx.Relu(%0) : (tensor<4xf32>) -> tensor<4xf32> loc("m.onnx":4:1)
  return %1 : tensor<4xf32>
}
