// Each step of an attention that moe.attention has; that values do not change is
// tested in Integration/raise_attention.py.
// RUN: moe-opt %s --moe-raise-attention --split-input-file | FileCheck %s

// CHECK-LABEL: func.func @plain
// CHECK-SAME: (%[[Q:.*]]: tensor<2x4x5x8xf32>, %[[K:.*]]: tensor<2x4x5x8xf32>, %[[V:.*]]: tensor<2x4x5x8xf32>)
// CHECK-NEXT: %[[O:.*]] = moe.attention %[[Q]], %[[K]], %[[V]] {onnx.outputs = ["o"], scale = 5.000000e-01 : f64} : tensor<2x4x5x8xf32>, tensor<2x4x5x8xf32>, tensor<2x4x5x8xf32> -> tensor<2x4x5x8xf32>
// CHECK-NEXT: return %[[O]]
func.func @plain(%q: tensor<2x4x5x8xf32>, %k: tensor<2x4x5x8xf32>, %v: tensor<2x4x5x8xf32>) -> tensor<2x4x5x8xf32> {
  %kt = onnx.Transpose(%k) {perm = array<i64: 0, 1, 3, 2>} : (tensor<2x4x5x8xf32>) -> tensor<2x4x8x5xf32>
  %c = onnx.Constant() {value = dense<0.5> : tensor<f32>} : () -> tensor<f32>
  %s = onnx.MatMul(%q, %kt) : (tensor<2x4x5x8xf32>, tensor<2x4x8x5xf32>) -> tensor<2x4x5x5xf32>
  %m = onnx.Mul(%c, %s) : (tensor<f32>, tensor<2x4x5x5xf32>) -> tensor<2x4x5x5xf32>
  %p = onnx.Softmax(%m) {axis = -1 : i64} : (tensor<2x4x5x5xf32>) -> tensor<2x4x5x5xf32>
  %o = onnx.MatMul(%p, %v) {onnx.outputs = ["o"]} : (tensor<2x4x5x5xf32>, tensor<2x4x5x8xf32>) -> tensor<2x4x5x8xf32>
  return %o : tensor<2x4x5x8xf32>
}

// -----

// Queries and keys scaled apart; zeros for rows that are NaN; a transposition of
// its own where there is none to take away.
// CHECK-LABEL: func.func @guard
// CHECK: %[[K:.*]] = onnx.Transpose(%arg1) {perm = array<i64: 0, 1, 3, 2>}
// CHECK: moe.attention %arg0, %[[K]], %arg2 {onnx.outputs = ["o"], scale = 2.500000e-01 : f64, zero_nan}
func.func @guard(%q: tensor<2x4x5x8xf32>, %kt: tensor<2x4x8x5xf32>, %v: tensor<2x4x5x8xf32>) -> tensor<2x4x5x8xf32> {
  %c = onnx.Constant() {value = dense<0.5> : tensor<f32>} : () -> tensor<f32>
  %zero = onnx.Constant() {value = dense<0.0> : tensor<f32>} : () -> tensor<f32>
  %low = onnx.Constant() {value = dense<-3.40282347E+38> : tensor<f32>} : () -> tensor<f32>
  %a = onnx.Mul(%q, %c) : (tensor<2x4x5x8xf32>, tensor<f32>) -> tensor<2x4x5x8xf32>
  %b = onnx.Mul(%kt, %c) : (tensor<2x4x8x5xf32>, tensor<f32>) -> tensor<2x4x8x5xf32>
  %s = onnx.MatMul(%a, %b) : (tensor<2x4x5x8xf32>, tensor<2x4x8x5xf32>) -> tensor<2x4x5x5xf32>
  %p = onnx.Softmax(%s) {axis = -1 : i64} : (tensor<2x4x5x5xf32>) -> tensor<2x4x5x5xf32>
  %n = onnx.IsNaN(%p) : (tensor<2x4x5x5xf32>) -> tensor<2x4x5x5xi1>
  %g = onnx.Where(%n, %zero, %p) : (tensor<2x4x5x5xi1>, tensor<f32>, tensor<2x4x5x5xf32>) -> tensor<2x4x5x5xf32>
  %o = onnx.MatMul(%g, %v) {onnx.outputs = ["o"]} : (tensor<2x4x5x5xf32>, tensor<2x4x5x8xf32>) -> tensor<2x4x5x8xf32>
  return %o : tensor<2x4x5x8xf32>
}

// -----

// The mask of positions becomes an attribute, that of padding stays.
// CHECK-LABEL: func.func @masks
// CHECK: moe.attention %arg0, %arg1, %arg2 mask(%arg3 : tensor<2x1x1x5xi1>) {causal = #moe.causal<start>, masked_score = -3.402823{{.*}}E+38 : f64, onnx.outputs = ["o"], scale = 1.000000e+00 : f64}
func.func @masks(%q: tensor<2x4x5x8xf32>, %k: tensor<2x4x5x8xf32>, %v: tensor<2x4x5x8xf32>, %pad: tensor<2x1x1x5xi1>) -> tensor<2x4x5x8xf32> {
  %kt = onnx.Transpose(%k) {perm = array<i64: 0, 1, 3, 2>} : (tensor<2x4x5x8xf32>) -> tensor<2x4x8x5xf32>
  %zero = onnx.Constant() {value = dense<0.0> : tensor<f32>} : () -> tensor<f32>
  %low = onnx.Constant() {value = dense<-3.40282347E+38> : tensor<f32>} : () -> tensor<f32>
  %i0 = onnx.Constant() {value = dense<0> : tensor<i64>} : () -> tensor<i64>
  %i1 = onnx.Constant() {value = dense<1> : tensor<i64>} : () -> tensor<i64>
  %i5 = onnx.Constant() {value = dense<5> : tensor<i64>} : () -> tensor<i64>
  %a1 = onnx.Constant() {value = dense<1> : tensor<1xi64>} : () -> tensor<1xi64>
  %r = onnx.Range(%i0, %i5, %i1) : (tensor<i64>, tensor<i64>, tensor<i64>) -> tensor<5xi64>
  %row = onnx.Unsqueeze(%r, %a1) : (tensor<5xi64>, tensor<1xi64>) -> tensor<5x1xi64>
  %le = onnx.LessOrEqual(%r, %row) : (tensor<5xi64>, tensor<5x1xi64>) -> tensor<5x5xi1>
  %both = onnx.And(%le, %pad) : (tensor<5x5xi1>, tensor<2x1x1x5xi1>) -> tensor<2x1x5x5xi1>
  %add = onnx.Where(%both, %zero, %low) : (tensor<2x1x5x5xi1>, tensor<f32>, tensor<f32>) -> tensor<2x1x5x5xf32>
  %s = onnx.MatMul(%q, %kt) : (tensor<2x4x5x8xf32>, tensor<2x4x8x5xf32>) -> tensor<2x4x5x5xf32>
  %m = onnx.Add(%add, %s) : (tensor<2x1x5x5xf32>, tensor<2x4x5x5xf32>) -> tensor<2x4x5x5xf32>
  %p = onnx.Softmax(%m) {axis = -1 : i64} : (tensor<2x4x5x5xf32>) -> tensor<2x4x5x5xf32>
  %o = onnx.MatMul(%p, %v) {onnx.outputs = ["o"]} : (tensor<2x4x5x5xf32>, tensor<2x4x5x8xf32>) -> tensor<2x4x5x8xf32>
  return %o : tensor<2x4x5x8xf32>
}

// -----

// A window: j > i - 3.
// CHECK-LABEL: func.func @window
// CHECK: moe.attention %arg0, %arg1, %arg2 {causal = #moe.causal<start>, masked_score = {{.*}}, window = 3 : i64}
func.func @window(%q: tensor<2x4x5x8xf32>, %k: tensor<2x4x5x8xf32>, %v: tensor<2x4x5x8xf32>) -> tensor<2x4x5x8xf32> {
  %kt = onnx.Transpose(%k) {perm = array<i64: 0, 1, 3, 2>} : (tensor<2x4x5x8xf32>) -> tensor<2x4x8x5xf32>
  %zero = onnx.Constant() {value = dense<0.0> : tensor<f32>} : () -> tensor<f32>
  %low = onnx.Constant() {value = dense<-3.40282347E+38> : tensor<f32>} : () -> tensor<f32>
  %i0 = onnx.Constant() {value = dense<0> : tensor<i64>} : () -> tensor<i64>
  %i1 = onnx.Constant() {value = dense<1> : tensor<i64>} : () -> tensor<i64>
  %i5 = onnx.Constant() {value = dense<5> : tensor<i64>} : () -> tensor<i64>
  %a1 = onnx.Constant() {value = dense<1> : tensor<1xi64>} : () -> tensor<1xi64>
  %r = onnx.Range(%i0, %i5, %i1) : (tensor<i64>, tensor<i64>, tensor<i64>) -> tensor<5xi64>
  %row = onnx.Unsqueeze(%r, %a1) : (tensor<5xi64>, tensor<1xi64>) -> tensor<5x1xi64>
  %le = onnx.LessOrEqual(%r, %row) : (tensor<5xi64>, tensor<5x1xi64>) -> tensor<5x5xi1>
  %i3 = onnx.Constant() {value = dense<3> : tensor<i64>} : () -> tensor<i64>
  %from = onnx.Sub(%row, %i3) : (tensor<5x1xi64>, tensor<i64>) -> tensor<5x1xi64>
  %gt = onnx.Greater(%r, %from) : (tensor<5xi64>, tensor<5x1xi64>) -> tensor<5x5xi1>
  %both = onnx.And(%le, %gt) : (tensor<5x5xi1>, tensor<5x5xi1>) -> tensor<5x5xi1>
  %s = onnx.MatMul(%q, %kt) : (tensor<2x4x5x8xf32>, tensor<2x4x8x5xf32>) -> tensor<2x4x5x5xf32>
  %m = onnx.Where(%both, %s, %low) : (tensor<5x5xi1>, tensor<2x4x5x5xf32>, tensor<f32>) -> tensor<2x4x5x5xf32>
  %p = onnx.Softmax(%m) {axis = -1 : i64} : (tensor<2x4x5x5xf32>) -> tensor<2x4x5x5xf32>
  %o = onnx.MatMul(%p, %v) {onnx.outputs = ["o"]} : (tensor<2x4x5x5xf32>, tensor<2x4x5x8xf32>) -> tensor<2x4x5x8xf32>
  return %o : tensor<2x4x5x8xf32>
}

// -----

// A triangle of low numbers.
// CHECK-LABEL: func.func @trilu
// CHECK: moe.attention %arg0, %arg1, %arg2 {causal = #moe.causal<start>, onnx.outputs = ["o"], scale = 1.000000e+00 : f64}
func.func @trilu(%q: tensor<2x4x5x8xf32>, %k: tensor<2x4x5x8xf32>, %v: tensor<2x4x5x8xf32>) -> tensor<2x4x5x8xf32> {
  %kt = onnx.Transpose(%k) {perm = array<i64: 0, 1, 3, 2>} : (tensor<2x4x5x8xf32>) -> tensor<2x4x8x5xf32>
  %i0 = onnx.Constant() {value = dense<0> : tensor<i64>} : () -> tensor<i64>
  %i1 = onnx.Constant() {value = dense<1> : tensor<i64>} : () -> tensor<i64>
  %i5 = onnx.Constant() {value = dense<5> : tensor<i64>} : () -> tensor<i64>
  %a1 = onnx.Constant() {value = dense<1> : tensor<1xi64>} : () -> tensor<1xi64>
  %full = onnx.Constant() {value = dense<0xFF800000> : tensor<5x5xf32>} : () -> tensor<5x5xf32>
  %tri = onnx.Trilu(%full, %i1) {upper = 1 : i64} : (tensor<5x5xf32>, tensor<i64>) -> tensor<5x5xf32>
  %s = onnx.MatMul(%q, %kt) : (tensor<2x4x5x8xf32>, tensor<2x4x8x5xf32>) -> tensor<2x4x5x5xf32>
  %m = onnx.Add(%s, %tri) : (tensor<2x4x5x5xf32>, tensor<5x5xf32>) -> tensor<2x4x5x5xf32>
  %p = onnx.Softmax(%m) {axis = -1 : i64} : (tensor<2x4x5x5xf32>) -> tensor<2x4x5x5xf32>
  %o = onnx.MatMul(%p, %v) {onnx.outputs = ["o"]} : (tensor<2x4x5x5xf32>, tensor<2x4x5x8xf32>) -> tensor<2x4x5x8xf32>
  return %o : tensor<2x4x5x8xf32>
}

// -----

// Any other addend stays one: -10000 is a number that rows of nothing else
// remember their scores beside.
// CHECK-LABEL: func.func @addend
// CHECK: %[[B:.*]] = onnx.Where(%arg3
// CHECK: moe.attention %arg0, %arg1, %arg2 bias(%[[B]] : tensor<2x1x1x5xf32>) {onnx.outputs
func.func @addend(%q: tensor<2x4x5x8xf32>, %k: tensor<2x4x5x8xf32>, %v: tensor<2x4x5x8xf32>, %pad: tensor<2x1x1x5xi1>) -> tensor<2x4x5x8xf32> {
  %kt = onnx.Transpose(%k) {perm = array<i64: 0, 1, 3, 2>} : (tensor<2x4x5x8xf32>) -> tensor<2x4x8x5xf32>
  %zero = onnx.Constant() {value = dense<0.0> : tensor<f32>} : () -> tensor<f32>
  %low = onnx.Constant() {value = dense<-10000.0> : tensor<f32>} : () -> tensor<f32>
  %add = onnx.Where(%pad, %zero, %low) : (tensor<2x1x1x5xi1>, tensor<f32>, tensor<f32>) -> tensor<2x1x1x5xf32>
  %s = onnx.MatMul(%q, %kt) : (tensor<2x4x5x8xf32>, tensor<2x4x8x5xf32>) -> tensor<2x4x5x5xf32>
  %m = onnx.Add(%s, %add) : (tensor<2x4x5x5xf32>, tensor<2x1x1x5xf32>) -> tensor<2x4x5x5xf32>
  %p = onnx.Softmax(%m) {axis = -1 : i64} : (tensor<2x4x5x5xf32>) -> tensor<2x4x5x5xf32>
  %o = onnx.MatMul(%p, %v) {onnx.outputs = ["o"]} : (tensor<2x4x5x5xf32>, tensor<2x4x5x8xf32>) -> tensor<2x4x5x8xf32>
  return %o : tensor<2x4x5x8xf32>
}

// -----

// Keys and values repeated for groups of heads.
// CHECK-LABEL: func.func @groups
// CHECK-NEXT: moe.attention %arg0, %arg1, %arg2 {onnx.outputs = ["o"], scale = 1.000000e+00 : f64} : tensor<2x4x5x8xf32>, tensor<2x2x5x8xf32>, tensor<2x2x5x8xf32> -> tensor<2x4x5x8xf32>
func.func @groups(%q: tensor<2x4x5x8xf32>, %k: tensor<2x2x5x8xf32>, %v: tensor<2x2x5x8xf32>) -> tensor<2x4x5x8xf32> {
  %a2 = onnx.Constant() {value = dense<2> : tensor<1xi64>} : () -> tensor<1xi64>
  %wide = onnx.Constant() {value = dense<[2, 2, 2, 5, 8]> : tensor<5xi64>} : () -> tensor<5xi64>
  %heads = onnx.Constant() {value = dense<[2, 4, 5, 8]> : tensor<4xi64>} : () -> tensor<4xi64>
  %k1 = onnx.Unsqueeze(%k, %a2) : (tensor<2x2x5x8xf32>, tensor<1xi64>) -> tensor<2x2x1x5x8xf32>
  %k2 = onnx.Expand(%k1, %wide) : (tensor<2x2x1x5x8xf32>, tensor<5xi64>) -> tensor<2x2x2x5x8xf32>
  %k3 = onnx.Reshape(%k2, %heads) : (tensor<2x2x2x5x8xf32>, tensor<4xi64>) -> tensor<2x4x5x8xf32>
  %v1 = onnx.Unsqueeze(%v, %a2) : (tensor<2x2x5x8xf32>, tensor<1xi64>) -> tensor<2x2x1x5x8xf32>
  %v2 = onnx.Expand(%v1, %wide) : (tensor<2x2x1x5x8xf32>, tensor<5xi64>) -> tensor<2x2x2x5x8xf32>
  %v3 = onnx.Reshape(%v2, %heads) : (tensor<2x2x2x5x8xf32>, tensor<4xi64>) -> tensor<2x4x5x8xf32>
  %kt = onnx.Transpose(%k3) {perm = array<i64: 0, 1, 3, 2>} : (tensor<2x4x5x8xf32>) -> tensor<2x4x8x5xf32>
  %s = onnx.MatMul(%q, %kt) : (tensor<2x4x5x8xf32>, tensor<2x4x8x5xf32>) -> tensor<2x4x5x5xf32>
  %p = onnx.Softmax(%s) {axis = -1 : i64} : (tensor<2x4x5x5xf32>) -> tensor<2x4x5x5xf32>
  %o = onnx.MatMul(%p, %v3) {onnx.outputs = ["o"]} : (tensor<2x4x5x5xf32>, tensor<2x4x5x8xf32>) -> tensor<2x4x5x8xf32>
  return %o : tensor<2x4x5x8xf32>
}

// -----

// What the last query looks at.
// CHECK-LABEL: func.func @probs
// CHECK: %[[O:.*]], %[[P:.*]] = moe.attention %arg0, %arg1, %arg2 {probs_count = 1 : i64, probs_first = 4 : i64, scale = 1.000000e+00 : f64} : {{.*}} -> tensor<2x4x5x8xf32>, tensor<2x4x1x5xf32>
// CHECK: %[[R:.*]] = onnx.Squeeze(%[[P]], %{{.*}}) {onnx.outputs = ["row"]} : (tensor<2x4x1x5xf32>, tensor<1xi64>) -> tensor<2x4x5xf32>
// CHECK: return %[[O]], %[[R]]
func.func @probs(%q: tensor<2x4x5x8xf32>, %k: tensor<2x4x5x8xf32>, %v: tensor<2x4x5x8xf32>) -> (tensor<2x4x5x8xf32>, tensor<2x4x5xf32>) {
  %kt = onnx.Transpose(%k) {perm = array<i64: 0, 1, 3, 2>} : (tensor<2x4x5x8xf32>) -> tensor<2x4x8x5xf32>
  %last = onnx.Constant() {value = dense<-1> : tensor<i64>} : () -> tensor<i64>
  %s = onnx.MatMul(%q, %kt) : (tensor<2x4x5x8xf32>, tensor<2x4x8x5xf32>) -> tensor<2x4x5x5xf32>
  %p = onnx.Softmax(%s) {axis = -1 : i64} : (tensor<2x4x5x5xf32>) -> tensor<2x4x5x5xf32>
  %o = onnx.MatMul(%p, %v) {onnx.outputs = ["o"]} : (tensor<2x4x5x5xf32>, tensor<2x4x5x8xf32>) -> tensor<2x4x5x8xf32>
  %row = onnx.Gather(%p, %last) {axis = 2 : i64, onnx.outputs = ["row"]} : (tensor<2x4x5x5xf32>, tensor<i64>) -> tensor<2x4x5xf32>
  return %o, %row : tensor<2x4x5x8xf32>, tensor<2x4x5xf32>
}

// -----

// No dim for heads; a soft cap.
// CHECK-LABEL: func.func @rank3
// CHECK: %[[Q:.*]] = onnx.Unsqueeze(%arg0
// CHECK: %[[O:.*]] = moe.attention %[[Q]], %{{.*}}, %{{.*}} {scale = 1.000000e+00 : f64, softcap = 5.000000e-01 : f64} : tensor<8x1x5x8xf32>
// CHECK: onnx.Squeeze(%[[O]]
func.func @rank3(%q: tensor<8x5x8xf32>, %k: tensor<8x5x8xf32>, %v: tensor<8x5x8xf32>) -> tensor<8x5x8xf32> {
  %c = onnx.Constant() {value = dense<0.5> : tensor<f32>} : () -> tensor<f32>
  %kt = onnx.Transpose(%k) {perm = array<i64: 0, 2, 1>} : (tensor<8x5x8xf32>) -> tensor<8x8x5xf32>
  %s = onnx.MatMul(%q, %kt) : (tensor<8x5x8xf32>, tensor<8x8x5xf32>) -> tensor<8x5x5xf32>
  %d = onnx.Div(%s, %c) : (tensor<8x5x5xf32>, tensor<f32>) -> tensor<8x5x5xf32>
  %t = onnx.Tanh(%d) : (tensor<8x5x5xf32>) -> tensor<8x5x5xf32>
  %m = onnx.Mul(%t, %c) : (tensor<8x5x5xf32>, tensor<f32>) -> tensor<8x5x5xf32>
  %p = onnx.Softmax(%m) {axis = 2 : i64} : (tensor<8x5x5xf32>) -> tensor<8x5x5xf32>
  %o = onnx.MatMul(%p, %v) : (tensor<8x5x5xf32>, tensor<8x5x8xf32>) -> tensor<8x5x8xf32>
  return %o : tensor<8x5x8xf32>
}
