// What looks like a normalisation and is none.
// RUN: moe-opt %s --moe-raise-norms --split-input-file --verify-diagnostics --remark-format=emitRemark --remarks-filter-missed=raise
// RUN: moe-opt %s --moe-raise-norms --split-input-file | FileCheck %s
// CHECK-NOT: moe.norm

// Over the channels of images: not the last dims.
func.func @channels(%x: tensor<2x8x5xf32>) -> tensor<2x8x5xf32> {
  %axis = onnx.Constant() {value = dense<1> : tensor<1xi64>} : () -> tensor<1xi64>
  %eps = onnx.Constant() {value = dense<1.0e-6> : tensor<f32>} : () -> tensor<f32>
  %s = onnx.Mul(%x, %x) : (tensor<2x8x5xf32>, tensor<2x8x5xf32>) -> tensor<2x8x5xf32>
  %v = onnx.ReduceMean(%s, %axis) : (tensor<2x8x5xf32>, tensor<1xi64>) -> tensor<2x1x5xf32>
  %e = onnx.Add(%v, %eps) : (tensor<2x1x5xf32>, tensor<f32>) -> tensor<2x1x5xf32>
  %r = onnx.Sqrt(%e) : (tensor<2x1x5xf32>) -> tensor<2x1x5xf32>
  // expected-remark @below {{normalises other axes than the last ones}}
  %d = onnx.Div(%x, %r) : (tensor<2x8x5xf32>, tensor<2x1x5xf32>) -> tensor<2x8x5xf32>
  return %d : tensor<2x8x5xf32>
}

// -----

// The variance of another value.
func.func @other(%x: tensor<3x8xf32>, %z: tensor<3x8xf32>) -> tensor<3x8xf32> {
  %axis = onnx.Constant() {value = dense<1> : tensor<1xi64>} : () -> tensor<1xi64>
  %eps = onnx.Constant() {value = dense<1.0e-6> : tensor<f32>} : () -> tensor<f32>
  %s = onnx.Mul(%z, %z) : (tensor<3x8xf32>, tensor<3x8xf32>) -> tensor<3x8xf32>
  %v = onnx.ReduceMean(%s, %axis) : (tensor<3x8xf32>, tensor<1xi64>) -> tensor<3x1xf32>
  %e = onnx.Add(%v, %eps) : (tensor<3x1xf32>, tensor<f32>) -> tensor<3x1xf32>
  %r = onnx.Sqrt(%e) : (tensor<3x1xf32>) -> tensor<3x1xf32>
  %d = onnx.Div(%x, %r) : (tensor<3x8xf32>, tensor<3x1xf32>) -> tensor<3x8xf32>
  return %d : tensor<3x8xf32>
}

// -----

// A third power, a sum in place of a mean.
func.func @powers(%x: tensor<3x8xf32>) -> (tensor<3x8xf32>, tensor<3x8xf32>) {
  %axis = onnx.Constant() {value = dense<1> : tensor<1xi64>} : () -> tensor<1xi64>
  %three = onnx.Constant() {value = dense<3.0> : tensor<f32>} : () -> tensor<f32>
  %eps = onnx.Constant() {value = dense<1.0e-6> : tensor<f32>} : () -> tensor<f32>
  %s = onnx.Pow(%x, %three) : (tensor<3x8xf32>, tensor<f32>) -> tensor<3x8xf32>
  %v = onnx.ReduceMean(%s, %axis) : (tensor<3x8xf32>, tensor<1xi64>) -> tensor<3x1xf32>
  %e = onnx.Add(%v, %eps) : (tensor<3x1xf32>, tensor<f32>) -> tensor<3x1xf32>
  %r = onnx.Sqrt(%e) : (tensor<3x1xf32>) -> tensor<3x1xf32>
  %d = onnx.Div(%x, %r) : (tensor<3x8xf32>, tensor<3x1xf32>) -> tensor<3x8xf32>
  %s2 = onnx.Mul(%x, %x) : (tensor<3x8xf32>, tensor<3x8xf32>) -> tensor<3x8xf32>
  %v2 = onnx.ReduceSum(%s2, %axis) : (tensor<3x8xf32>, tensor<1xi64>) -> tensor<3x1xf32>
  %e2 = onnx.Add(%v2, %eps) : (tensor<3x1xf32>, tensor<f32>) -> tensor<3x1xf32>
  %r2 = onnx.Sqrt(%e2) : (tensor<3x1xf32>) -> tensor<3x1xf32>
  %d2 = onnx.Div(%x, %r2) : (tensor<3x8xf32>, tensor<3x1xf32>) -> tensor<3x8xf32>
  return %d, %d2 : tensor<3x8xf32>, tensor<3x8xf32>
}

// -----

// Groups with scales of their own.
func.func @group(%x: tensor<2x4x9xf32>, %w: tensor<2xf32>) -> tensor<2x4x9xf32> {
  %in = onnx.Constant() {value = dense<[2, 2, 18]> : tensor<3xi64>} : () -> tensor<3xi64>
  %out = onnx.Constant() {value = dense<[2, 4, 9]> : tensor<3xi64>} : () -> tensor<3xi64>
  %zero = onnx.Constant() {value = dense<0.0> : tensor<2xf32>} : () -> tensor<2xf32>
  %0 = onnx.Reshape(%x, %in) : (tensor<2x4x9xf32>, tensor<3xi64>) -> tensor<2x2x18xf32>
  %1 = onnx.InstanceNormalization(%0, %w, %zero) : (tensor<2x2x18xf32>, tensor<2xf32>, tensor<2xf32>) -> tensor<2x2x18xf32>
  %2 = onnx.Reshape(%1, %out) : (tensor<2x2x18xf32>, tensor<3xi64>) -> tensor<2x4x9xf32>
  return %2 : tensor<2x4x9xf32>
}
