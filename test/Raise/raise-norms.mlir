// Each spelling of a normalisation; that values do not change is tested in
// Integration/raise_attention.py.
// RUN: moe-opt %s --moe-raise-norms --split-input-file | FileCheck %s

// CHECK-LABEL: func.func @layer
// CHECK-SAME: (%[[X:.*]]: tensor<?x8xf32> {
// CHECK: %[[Y:.*]] = moe.norm %[[X]] scale(%{{.*}} : tensor<8xf32>) bias(%{{.*}} : tensor<8xf32>) {epsilon = {{.*}} : f64, kind = #moe.norm_kind<layer>, {{.*}}onnx.outputs = ["y"]} : tensor<?x8xf32> -> tensor<?x8xf32>
// CHECK-NEXT: return %[[Y]]
func.func @layer(%x: tensor<?x8xf32> {onnx.dims = ["n", ""]}) -> tensor<?x8xf32> {
  %axis = onnx.Constant() {value = dense<-1> : tensor<1xi64>} : () -> tensor<1xi64>
  %two = onnx.Constant() {value = dense<2.0> : tensor<f32>} : () -> tensor<f32>
  %eps = onnx.Constant() {value = dense<1.0e-5> : tensor<f32>} : () -> tensor<f32>
  %w = onnx.Constant() {value = dense<[1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0]> : tensor<8xf32>} : () -> tensor<8xf32>
  %m = onnx.ReduceMean(%x, %axis) : (tensor<?x8xf32>, tensor<1xi64>) -> tensor<?x1xf32>
  %c = onnx.Sub(%x, %m) {onnx.dims = [["n", ""]]} : (tensor<?x8xf32>, tensor<?x1xf32>) -> tensor<?x8xf32>
  %s = onnx.Pow(%c, %two) : (tensor<?x8xf32>, tensor<f32>) -> tensor<?x8xf32>
  %v = onnx.ReduceMean(%s, %axis) : (tensor<?x8xf32>, tensor<1xi64>) -> tensor<?x1xf32>
  %e = onnx.Add(%eps, %v) : (tensor<f32>, tensor<?x1xf32>) -> tensor<?x1xf32>
  %r = onnx.Sqrt(%e) : (tensor<?x1xf32>) -> tensor<?x1xf32>
  %d = onnx.Div(%c, %r) {onnx.dims = [["n", ""]]} : (tensor<?x8xf32>, tensor<?x1xf32>) -> tensor<?x8xf32>
  %p = onnx.Mul(%d, %w) {onnx.dims = [["n", ""]]} : (tensor<?x8xf32>, tensor<8xf32>) -> tensor<?x8xf32>
  %y = onnx.Add(%w, %p) {onnx.outputs = ["y"], onnx.dims = [["n", ""]]} : (tensor<8xf32>, tensor<?x8xf32>) -> tensor<?x8xf32>
  return %y : tensor<?x8xf32>
}

// -----

// Half precision: normalised in f32, rounded, scaled. A sum with a value that
// is no constant is not a bias.
// CHECK-LABEL: func.func @half
// CHECK-SAME: (%[[X:.*]]: tensor<3x8xf16>)
// CHECK: %[[Y:.*]] = moe.norm %[[X]] scale(%{{.*}} : tensor<8xf16>) {epsilon = {{.*}} : f64, kind = #moe.norm_kind<rms>, round} : tensor<3x8xf16> -> tensor<3x8xf16>
// CHECK-NEXT: onnx.Add(%[[Y]], %[[X]])
func.func @half(%x: tensor<3x8xf16>) -> tensor<3x8xf16> {
  %axis = onnx.Constant() {value = dense<1> : tensor<1xi64>} : () -> tensor<1xi64>
  %eps = onnx.Constant() {value = dense<1.0e-6> : tensor<f32>} : () -> tensor<f32>
  %w = onnx.Constant() {value = dense<2.0> : tensor<8xf16>} : () -> tensor<8xf16>
  %f = onnx.Cast(%x) {to = 1 : i64} : (tensor<3x8xf16>) -> tensor<3x8xf32>
  %s = onnx.Mul(%f, %f) : (tensor<3x8xf32>, tensor<3x8xf32>) -> tensor<3x8xf32>
  %v = onnx.ReduceMean(%s, %axis) : (tensor<3x8xf32>, tensor<1xi64>) -> tensor<3x1xf32>
  %e = onnx.Add(%v, %eps) : (tensor<3x1xf32>, tensor<f32>) -> tensor<3x1xf32>
  %r = onnx.Sqrt(%e) : (tensor<3x1xf32>) -> tensor<3x1xf32>
  %i = onnx.Reciprocal(%r) : (tensor<3x1xf32>) -> tensor<3x1xf32>
  %d = onnx.Mul(%i, %f) : (tensor<3x1xf32>, tensor<3x8xf32>) -> tensor<3x8xf32>
  %h = onnx.Cast(%d) {to = 10 : i64} : (tensor<3x8xf32>) -> tensor<3x8xf16>
  %p = onnx.Mul(%w, %h) : (tensor<8xf16>, tensor<3x8xf16>) -> tensor<3x8xf16>
  %y = onnx.Add(%p, %x) : (tensor<3x8xf16>, tensor<3x8xf16>) -> tensor<3x8xf16>
  return %y : tensor<3x8xf16>
}

// -----

// Scaled in f32 and rounded behind it (Gemma).
// CHECK-LABEL: func.func @wide_scale
// CHECK: moe.norm %{{.*}} scale(%{{.*}} : tensor<8xf32>) {epsilon = {{.*}} : f64, kind = #moe.norm_kind<rms>} : tensor<3x8xf16> -> tensor<3x8xf16>
func.func @wide_scale(%x: tensor<3x8xf16>) -> tensor<3x8xf16> {
  %axis = onnx.Constant() {value = dense<1> : tensor<1xi64>} : () -> tensor<1xi64>
  %half = onnx.Constant() {value = dense<-0.5> : tensor<f32>} : () -> tensor<f32>
  %eps = onnx.Constant() {value = dense<1.0e-6> : tensor<f32>} : () -> tensor<f32>
  %w = onnx.Constant() {value = dense<2.0> : tensor<8xf32>} : () -> tensor<8xf32>
  %f = onnx.Cast(%x) {to = 1 : i64} : (tensor<3x8xf16>) -> tensor<3x8xf32>
  %s = onnx.Mul(%f, %f) : (tensor<3x8xf32>, tensor<3x8xf32>) -> tensor<3x8xf32>
  %v = onnx.ReduceMean(%s, %axis) : (tensor<3x8xf32>, tensor<1xi64>) -> tensor<3x1xf32>
  %e = onnx.Add(%v, %eps) : (tensor<3x1xf32>, tensor<f32>) -> tensor<3x1xf32>
  %i = onnx.Pow(%e, %half) : (tensor<3x1xf32>, tensor<f32>) -> tensor<3x1xf32>
  %d = onnx.Mul(%f, %i) : (tensor<3x8xf32>, tensor<3x1xf32>) -> tensor<3x8xf32>
  %p = onnx.Mul(%d, %w) : (tensor<3x8xf32>, tensor<8xf32>) -> tensor<3x8xf32>
  %y = onnx.Cast(%p) {to = 10 : i64} : (tensor<3x8xf32>) -> tensor<3x8xf16>
  return %y : tensor<3x8xf16>
}

// -----

// CHECK-LABEL: func.func @group
// CHECK-SAME: (%[[X:.*]]: tensor<2x4x3x3xf32>)
// CHECK: %[[Y:.*]] = moe.norm %[[X]] scale(%{{.*}} : tensor<4xf32>) {epsilon = {{.*}} : f64, groups = 2 : i64, kind = #moe.norm_kind<group>} : tensor<2x4x3x3xf32> -> tensor<2x4x3x3xf32>
// CHECK-NEXT: return %[[Y]]
func.func @group(%x: tensor<2x4x3x3xf32>) -> tensor<2x4x3x3xf32> {
  %in = onnx.Constant() {value = dense<[2, 2, 18]> : tensor<3xi64>} : () -> tensor<3xi64>
  %out = onnx.Constant() {value = dense<[2, 4, 3, 3]> : tensor<4xi64>} : () -> tensor<4xi64>
  %one = onnx.Constant() {value = dense<1.0> : tensor<2xf32>} : () -> tensor<2xf32>
  %zero = onnx.Constant() {value = dense<0.0> : tensor<2xf32>} : () -> tensor<2xf32>
  %w = onnx.Constant() {value = dense<3.0> : tensor<4x1x1xf32>} : () -> tensor<4x1x1xf32>
  %0 = onnx.Reshape(%x, %in) : (tensor<2x4x3x3xf32>, tensor<3xi64>) -> tensor<2x2x18xf32>
  %1 = onnx.InstanceNormalization(%0, %one, %zero) {epsilon = 1.0e-5 : f32} : (tensor<2x2x18xf32>, tensor<2xf32>, tensor<2xf32>) -> tensor<2x2x18xf32>
  %2 = onnx.Reshape(%1, %out) : (tensor<2x2x18xf32>, tensor<4xi64>) -> tensor<2x4x3x3xf32>
  %3 = onnx.Mul(%2, %w) : (tensor<2x4x3x3xf32>, tensor<4x1x1xf32>) -> tensor<2x4x3x3xf32>
  return %3 : tensor<2x4x3x3xf32>
}
