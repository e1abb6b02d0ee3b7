// RUN: moe-opt %s --moe-raise-pooling --split-input-file | FileCheck %s

// CHECK-LABEL: func.func @gem
// A window that is the whole map; pads of 0 do not count.
// CHECK-SAME: (%[[X:.*]]: tensor<2x3x8x6xf32>)
// CHECK-NEXT: moe.pool %[[X]] {pooling = #moe.pooling<kind = gem, p = 3.0, eps = {{.*}}e-07>} : tensor<2x3x8x6xf32> -> tensor<2x3x1x1xf32>
func.func @gem(%x: tensor<2x3x8x6xf32>) -> tensor<2x3x1x1xf32> {
  %p = onnx.Constant() {value = dense<3.0> : tensor<1xf32>} : () -> tensor<1xf32>
  %q = onnx.Constant() {value = dense<0.33333334> : tensor<1xf32>} : () -> tensor<1xf32>
  %eps = onnx.Constant() {value = dense<1.0e-6> : tensor<f32>} : () -> tensor<f32>
  %0 = onnx.Clip(%x, %eps) : (tensor<2x3x8x6xf32>, tensor<f32>) -> tensor<2x3x8x6xf32>
  %1 = onnx.Pow(%0, %p) : (tensor<2x3x8x6xf32>, tensor<1xf32>) -> tensor<2x3x8x6xf32>
  %2 = onnx.AveragePool(%1) {kernel_shape = array<i64: 8, 6>, strides = array<i64: 8, 6>, count_include_pad = 1 : i64} : (tensor<2x3x8x6xf32>) -> tensor<2x3x1x1xf32>
  %y = onnx.Pow(%2, %q) : (tensor<2x3x1x1xf32>, tensor<1xf32>) -> tensor<2x3x1x1xf32>
  return %y : tensor<2x3x1x1xf32>
}

// -----

// CHECK-LABEL: func.func @flat
// CHECK-NEXT: %[[Y:.*]] = moe.pool %{{.*}} {pooling = #moe.pooling<kind = gem, p = 3.0, eps = {{.*}}>} : tensor<2x3x8x6xf32> -> tensor<2x3x1x1xf32>
// CHECK: onnx.Squeeze(%[[Y]], %{{.*}}) : (tensor<2x3x1x1xf32>, tensor<2xi64>) -> tensor<2x3xf32>
func.func @flat(%x: tensor<2x3x8x6xf32>) -> tensor<2x3xf32> {
  %p = onnx.Constant() {value = dense<3.0> : tensor<1xf32>} : () -> tensor<1xf32>
  %q = onnx.Constant() {value = dense<0.33333334> : tensor<1xf32>} : () -> tensor<1xf32>
  %eps = onnx.Constant() {value = dense<1.0e-6> : tensor<f32>} : () -> tensor<f32>
  %axes = onnx.Constant() {value = dense<[-1, -2]> : tensor<2xi64>} : () -> tensor<2xi64>
  %0 = onnx.Max(%eps, %x) : (tensor<f32>, tensor<2x3x8x6xf32>) -> tensor<2x3x8x6xf32>
  %1 = onnx.Pow(%0, %p) : (tensor<2x3x8x6xf32>, tensor<1xf32>) -> tensor<2x3x8x6xf32>
  %2 = onnx.ReduceMean(%1, %axes) {keepdims = 0 : i64} : (tensor<2x3x8x6xf32>, tensor<2xi64>) -> tensor<2x3xf32>
  %y = onnx.Pow(%2, %q) : (tensor<2x3xf32>, tensor<1xf32>) -> tensor<2x3xf32>
  return %y : tensor<2x3xf32>
}

// -----

// CHECK-LABEL: func.func @root
// CHECK-NEXT: moe.pool %{{.*}} {pooling = #moe.pooling<kind = gem, p = 2.0>}
func.func @root(%x: tensor<2x3x8x6xf32>) -> tensor<2x3x1x1xf32> {
  %axes = onnx.Constant() {value = dense<[2, 3]> : tensor<2xi64>} : () -> tensor<2xi64>
  %1 = onnx.Mul(%x, %x) : (tensor<2x3x8x6xf32>, tensor<2x3x8x6xf32>) -> tensor<2x3x8x6xf32>
  %2 = onnx.GlobalAveragePool(%1) : (tensor<2x3x8x6xf32>) -> tensor<2x3x1x1xf32>
  %y = onnx.Sqrt(%2) : (tensor<2x3x1x1xf32>) -> tensor<2x3x1x1xf32>
  return %y : tensor<2x3x1x1xf32>
}

// -----

// CHECK-LABEL: func.func @norm
// CHECK-NEXT: moe.pool %{{.*}} {pooling = #moe.pooling<kind = lp, kernel = [2, 2], strides = [2, 2], p = 2.0>} : tensor<2x3x8x6xf32> -> tensor<2x3x4x3xf32>
func.func @norm(%x: tensor<2x3x8x6xf32>) -> tensor<2x3x4x3xf32> {
  %p = onnx.Constant() {value = dense<2.0> : tensor<f32>} : () -> tensor<f32>
  %q = onnx.Constant() {value = dense<0.5> : tensor<f32>} : () -> tensor<f32>
  %n = onnx.Constant() {value = dense<4.0> : tensor<f32>} : () -> tensor<f32>
  %1 = onnx.Pow(%x, %p) : (tensor<2x3x8x6xf32>, tensor<f32>) -> tensor<2x3x8x6xf32>
  %a = onnx.AveragePool(%1) {kernel_shape = array<i64: 2, 2>, strides = array<i64: 2, 2>} : (tensor<2x3x8x6xf32>) -> tensor<2x3x4x3xf32>
  %s = onnx.Sign(%a) : (tensor<2x3x4x3xf32>) -> tensor<2x3x4x3xf32>
  %b = onnx.Abs(%a) : (tensor<2x3x4x3xf32>) -> tensor<2x3x4x3xf32>
  %r = onnx.Relu(%b) : (tensor<2x3x4x3xf32>) -> tensor<2x3x4x3xf32>
  %m = onnx.Mul(%r, %s) : (tensor<2x3x4x3xf32>, tensor<2x3x4x3xf32>) -> tensor<2x3x4x3xf32>
  %t = onnx.Mul(%n, %m) : (tensor<f32>, tensor<2x3x4x3xf32>) -> tensor<2x3x4x3xf32>
  %y = onnx.Pow(%t, %q) : (tensor<2x3x4x3xf32>, tensor<f32>) -> tensor<2x3x4x3xf32>
  return %y : tensor<2x3x4x3xf32>
}

// -----

// CHECK-LABEL: func.func @mixer
// CHECK-NEXT: moe.pool %{{.*}} {beta = -1.000000e+00 : f64, onnx.outputs = ["mixed"], pooling = #moe.pooling<kind = avg, kernel = [3, 3], pads = [1, 1, 1, 1]>} : tensor<2x3x8x6xf32> -> tensor<2x3x8x6xf32>
func.func @mixer(%x: tensor<2x3x8x6xf32>) -> tensor<2x3x8x6xf32> {
  %1 = onnx.AveragePool(%x) {kernel_shape = array<i64: 3, 3>, pads = array<i64: 1, 1, 1, 1>} : (tensor<2x3x8x6xf32>) -> tensor<2x3x8x6xf32>
  %y = onnx.Sub(%1, %x) {onnx.outputs = ["mixed"]} : (tensor<2x3x8x6xf32>, tensor<2x3x8x6xf32>) -> tensor<2x3x8x6xf32>
  return %y : tensor<2x3x8x6xf32>
}

// -----

// CHECK-LABEL: func.func @zeros
// CHECK-NEXT: moe.pool %{{.*}} {beta = -1.000000e+00 : f64, pooling = #moe.pooling<kind = avg, kernel = [3, 3], pads = [1, 1, 1, 1], pad_mode = zero>}
func.func @zeros(%x: tensor<2x3x8x6xf32>) -> tensor<2x3x8x6xf32> {
  %1 = onnx.AveragePool(%x) {kernel_shape = array<i64: 3, 3>, pads = array<i64: 1, 1, 1, 1>, count_include_pad = 1 : i64} : (tensor<2x3x8x6xf32>) -> tensor<2x3x8x6xf32>
  %y = onnx.Sub(%1, %x) : (tensor<2x3x8x6xf32>, tensor<2x3x8x6xf32>) -> tensor<2x3x8x6xf32>
  return %y : tensor<2x3x8x6xf32>
}

// -----

// CHECK-LABEL: func.func @same
// CHECK-NEXT: moe.pool %{{.*}} {alpha = 5.000000e-01 : f64, beta = 5.000000e-01 : f64, pooling = #moe.pooling<kind = max, kernel = [2, 2], pads = [0, 0, 1, 1]>}
func.func @same(%x: tensor<2x3x8x6xf32>) -> tensor<2x3x8x6xf32> {
  %h = onnx.Constant() {value = dense<0.5> : tensor<f32>} : () -> tensor<f32>
  %1 = onnx.MaxPool(%x) {kernel_shape = array<i64: 2, 2>, auto_pad = "SAME_UPPER"} : (tensor<2x3x8x6xf32>) -> tensor<2x3x8x6xf32>
  %2 = onnx.Mul(%1, %h) : (tensor<2x3x8x6xf32>, tensor<f32>) -> tensor<2x3x8x6xf32>
  %3 = onnx.Mul(%h, %x) : (tensor<f32>, tensor<2x3x8x6xf32>) -> tensor<2x3x8x6xf32>
  %y = onnx.Add(%3, %2) : (tensor<2x3x8x6xf32>, tensor<2x3x8x6xf32>) -> tensor<2x3x8x6xf32>
  return %y : tensor<2x3x8x6xf32>
}

// -----

// CHECK-LABEL: func.func @plain
// Pools that ONNX has stay its own.
// CHECK-NOT: moe.
// CHECK: return
func.func @plain(%x: tensor<2x3x8x6xf32>) -> tensor<2x3x4x3xf32> {
  %y = onnx.AveragePool(%x) {kernel_shape = array<i64: 2, 2>, strides = array<i64: 2, 2>} : (tensor<2x3x8x6xf32>) -> tensor<2x3x4x3xf32>
  return %y : tensor<2x3x4x3xf32>
}

// -----

// CHECK-LABEL: func.func @choice
// CHECK: %[[E:.*]] = onnx.ArgMax
// CHECK-NEXT: moe.pool_select %{{.*}}, %[[E]] {experts = [#moe.pooling<kind = max, kernel = [2, 2], strides = [2, 2]>, #moe.pooling<kind = avg, kernel = [2, 2], strides = [2, 2]>]} : tensor<2x3x8x6xf32>, tensor<2xi64> -> tensor<2x3x4x3xf32>
func.func @choice(%x: tensor<2x3x8x6xf32>, %s: tensor<2x2xf32>) -> tensor<2x3x4x3xf32> {
  %zero = onnx.Constant() {value = dense<0> : tensor<1xi64>} : () -> tensor<1xi64>
  %last = onnx.Constant() {value = dense<-1> : tensor<1xi64>} : () -> tensor<1xi64>
  %n = onnx.Constant() {value = dense<[0, 1]> : tensor<2xi64>} : () -> tensor<2xi64>
  %a = onnx.MaxPool(%x) {kernel_shape = array<i64: 2, 2>, strides = array<i64: 2, 2>} : (tensor<2x3x8x6xf32>) -> tensor<2x3x4x3xf32>
  %b = onnx.AveragePool(%x) {kernel_shape = array<i64: 2, 2>, strides = array<i64: 2, 2>} : (tensor<2x3x8x6xf32>) -> tensor<2x3x4x3xf32>
  %ua = onnx.Unsqueeze(%a, %zero) : (tensor<2x3x4x3xf32>, tensor<1xi64>) -> tensor<1x2x3x4x3xf32>
  %ub = onnx.Unsqueeze(%b, %zero) : (tensor<2x3x4x3xf32>, tensor<1xi64>) -> tensor<1x2x3x4x3xf32>
  %c = onnx.Concat(%ua, %ub) {axis = 0 : i64} : (tensor<1x2x3x4x3xf32>, tensor<1x2x3x4x3xf32>) -> tensor<2x2x3x4x3xf32>
  %e = onnx.ArgMax(%s) {axis = 1 : i64, keepdims = 0 : i64} : (tensor<2x2xf32>) -> tensor<2xi64>
  %ue = onnx.Unsqueeze(%e, %last) : (tensor<2xi64>, tensor<1xi64>) -> tensor<2x1xi64>
  %un = onnx.Unsqueeze(%n, %last) : (tensor<2xi64>, tensor<1xi64>) -> tensor<2x1xi64>
  %at = onnx.Concat(%ue, %un) {axis = 1 : i64} : (tensor<2x1xi64>, tensor<2x1xi64>) -> tensor<2x2xi64>
  %y = onnx.GatherND(%c, %at) : (tensor<2x2x3x4x3xf32>, tensor<2x2xi64>) -> tensor<2x3x4x3xf32>
  return %y : tensor<2x3x4x3xf32>
}
