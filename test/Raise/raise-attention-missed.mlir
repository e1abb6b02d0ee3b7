// What leads from one product over a softmax to another and stays: the rule and
// the node.
// RUN: moe-opt %s --moe-raise-attention --split-input-file --verify-diagnostics --remark-format=emitRemark --remarks-filter-missed=raise
// RUN: moe-opt %s --moe-raise-attention --split-input-file | FileCheck %s
// CHECK-NOT: moe.attention

// All probabilities are read elsewhere.
func.func @all_rows(%q: tensor<2x4x5x8xf32>, %k: tensor<2x4x5x8xf32>, %v: tensor<2x4x5x8xf32>) -> (tensor<2x4x5x8xf32>, tensor<2x4x5x5xf32>) {
  %kt = onnx.Transpose(%k) {perm = array<i64: 0, 1, 3, 2>} : (tensor<2x4x5x8xf32>) -> tensor<2x4x8x5xf32>
  %s = onnx.MatMul(%q, %kt) : (tensor<2x4x5x8xf32>, tensor<2x4x8x5xf32>) -> tensor<2x4x5x5xf32>
  %p = onnx.Softmax(%s) {axis = -1 : i64} : (tensor<2x4x5x5xf32>) -> tensor<2x4x5x5xf32>
  %o = onnx.MatMul(%p, %v) {onnx.outputs = ["o"]} : (tensor<2x4x5x5xf32>, tensor<2x4x5x8xf32>) -> tensor<2x4x5x8xf32>
  // expected-remark @below {{reads probabilities of an attention, and not some rows of them that are known}}
  %e = onnx.Exp(%p) : (tensor<2x4x5x5xf32>) -> tensor<2x4x5x5xf32>
  return %o, %e : tensor<2x4x5x8xf32>, tensor<2x4x5x5xf32>
}

// -----

// So are the scores.
func.func @scores(%q: tensor<2x4x5x8xf32>, %k: tensor<2x4x5x8xf32>, %v: tensor<2x4x5x8xf32>) -> (tensor<2x4x5x8xf32>, tensor<2x4x5x5xf32>) {
  %kt = onnx.Transpose(%k) {perm = array<i64: 0, 1, 3, 2>} : (tensor<2x4x5x8xf32>) -> tensor<2x4x8x5xf32>
  // expected-remark @below {{has scores that other nodes read as well}}
  %s = onnx.MatMul(%q, %kt) : (tensor<2x4x5x8xf32>, tensor<2x4x8x5xf32>) -> tensor<2x4x5x5xf32>
  %p = onnx.Softmax(%s) {axis = -1 : i64} : (tensor<2x4x5x5xf32>) -> tensor<2x4x5x5xf32>
  %o = onnx.MatMul(%p, %v) {onnx.outputs = ["o"]} : (tensor<2x4x5x5xf32>, tensor<2x4x5x8xf32>) -> tensor<2x4x5x8xf32>
  return %o, %s : tensor<2x4x5x8xf32>, tensor<2x4x5x5xf32>
}

// -----

// Batches that may differ: one of them may be repeated.
func.func @batches(%q: tensor<?x4x5x8xf32> {onnx.dims = ["a", "", "", ""]}, %k: tensor<?x4x5x8xf32> {onnx.dims = ["b", "", "", ""]}, %v: tensor<?x4x5x8xf32> {onnx.dims = ["a", "", "", ""]}) -> tensor<?x4x5x8xf32> {
  %kt = onnx.Transpose(%k) {perm = array<i64: 0, 1, 3, 2>, onnx.dims = [["b", "", "", ""]]} : (tensor<?x4x5x8xf32>) -> tensor<?x4x8x5xf32>
  // expected-remark @below {{has queries and keys whose batch or heads are not known to be equal}}
  %s = onnx.MatMul(%q, %kt) : (tensor<?x4x5x8xf32>, tensor<?x4x8x5xf32>) -> tensor<?x4x5x5xf32>
  %p = onnx.Softmax(%s) {axis = -1 : i64} : (tensor<?x4x5x5xf32>) -> tensor<?x4x5x5xf32>
  %o = onnx.MatMul(%p, %v) : (tensor<?x4x5x5xf32>, tensor<?x4x5x8xf32>) -> tensor<?x4x5x8xf32>
  return %o : tensor<?x4x5x8xf32>
}

// -----

// Keys that are repeated by broadcasting.
func.func @shared_keys(%q: tensor<2x4x5x8xf32>, %k: tensor<1x1x5x8xf32>, %v: tensor<2x4x5x8xf32>) -> tensor<2x4x5x8xf32> {
  %kt = onnx.Transpose(%k) {perm = array<i64: 0, 1, 3, 2>} : (tensor<1x1x5x8xf32>) -> tensor<1x1x8x5xf32>
  // expected-remark @below {{has queries and keys whose batch or heads are not known to be equal}}
  %s = onnx.MatMul(%q, %kt) : (tensor<2x4x5x8xf32>, tensor<1x1x8x5xf32>) -> tensor<2x4x5x5xf32>
  %p = onnx.Softmax(%s) {axis = -1 : i64} : (tensor<2x4x5x5xf32>) -> tensor<2x4x5x5xf32>
  %o = onnx.MatMul(%p, %v) {onnx.outputs = ["o"]} : (tensor<2x4x5x5xf32>, tensor<2x4x5x8xf32>) -> tensor<2x4x5x8xf32>
  return %o : tensor<2x4x5x8xf32>
}

// -----

// An addend that makes several scores of one.
func.func @larger_mask(%q: tensor<1x4x5x8xf32>, %k: tensor<1x4x5x8xf32>, %v: tensor<1x4x5x8xf32>, %b: tensor<3x1x5x5xf32>) -> tensor<3x4x5x8xf32> {
  %kt = onnx.Transpose(%k) {perm = array<i64: 0, 1, 3, 2>} : (tensor<1x4x5x8xf32>) -> tensor<1x4x8x5xf32>
  %s = onnx.MatMul(%q, %kt) : (tensor<1x4x5x8xf32>, tensor<1x4x8x5xf32>) -> tensor<1x4x5x5xf32>
  %m = onnx.Add(%s, %b) : (tensor<1x4x5x5xf32>, tensor<3x1x5x5xf32>) -> tensor<3x4x5x5xf32>
  // expected-remark @below {{may repeat scores: a mask is not known to be as large as they are}}
  %p = onnx.Softmax(%m) {axis = -1 : i64} : (tensor<3x4x5x5xf32>) -> tensor<3x4x5x5xf32>
  %o = onnx.MatMul(%p, %v) : (tensor<3x4x5x5xf32>, tensor<1x4x5x8xf32>) -> tensor<3x4x5x8xf32>
  return %o : tensor<3x4x5x8xf32>
}

// -----

// A row of which nothing is visible would not be the same.
func.func @two_masks(%q: tensor<2x4x5x8xf32>, %k: tensor<2x4x5x8xf32>, %v: tensor<2x4x5x8xf32>, %a: tensor<5x5xi1>, %b: tensor<5x5xi1>) -> tensor<2x4x5x8xf32> {
  %kt = onnx.Transpose(%k) {perm = array<i64: 0, 1, 3, 2>} : (tensor<2x4x5x8xf32>) -> tensor<2x4x8x5xf32>
  %low = onnx.Constant() {value = dense<-3.0e+38> : tensor<f32>} : () -> tensor<f32>
  %low2 = onnx.Constant() {value = dense<-2.0e+38> : tensor<f32>} : () -> tensor<f32>
  %s = onnx.MatMul(%q, %kt) : (tensor<2x4x5x8xf32>, tensor<2x4x8x5xf32>) -> tensor<2x4x5x5xf32>
  // expected-remark @below {{hides scores with two different numbers}}
  %m = onnx.Where(%a, %s, %low) : (tensor<5x5xi1>, tensor<2x4x5x5xf32>, tensor<f32>) -> tensor<2x4x5x5xf32>
  %n = onnx.Where(%b, %m, %low2) : (tensor<5x5xi1>, tensor<2x4x5x5xf32>, tensor<f32>) -> tensor<2x4x5x5xf32>
  %p = onnx.Softmax(%n) {axis = -1 : i64} : (tensor<2x4x5x5xf32>) -> tensor<2x4x5x5xf32>
  %o = onnx.MatMul(%p, %v) {onnx.outputs = ["o"]} : (tensor<2x4x5x5xf32>, tensor<2x4x5x8xf32>) -> tensor<2x4x5x8xf32>
  return %o : tensor<2x4x5x8xf32>
}

// -----

// Hidden scores that are added to.
func.func @hidden_first(%q: tensor<2x4x5x8xf32>, %k: tensor<2x4x5x8xf32>, %v: tensor<2x4x5x8xf32>, %a: tensor<5x5xi1>, %b: tensor<5x5xf32>) -> tensor<2x4x5x8xf32> {
  %kt = onnx.Transpose(%k) {perm = array<i64: 0, 1, 3, 2>} : (tensor<2x4x5x8xf32>) -> tensor<2x4x8x5xf32>
  %low = onnx.Constant() {value = dense<-3.0e+38> : tensor<f32>} : () -> tensor<f32>
  %s = onnx.MatMul(%q, %kt) : (tensor<2x4x5x8xf32>, tensor<2x4x8x5xf32>) -> tensor<2x4x5x5xf32>
  // expected-remark @below {{hides scores before something is added to them}}
  %m = onnx.Where(%a, %s, %low) : (tensor<5x5xi1>, tensor<2x4x5x5xf32>, tensor<f32>) -> tensor<2x4x5x5xf32>
  %n = onnx.Add(%m, %b) : (tensor<2x4x5x5xf32>, tensor<5x5xf32>) -> tensor<2x4x5x5xf32>
  %p = onnx.Softmax(%n) {axis = -1 : i64} : (tensor<2x4x5x5xf32>) -> tensor<2x4x5x5xf32>
  %o = onnx.MatMul(%p, %v) {onnx.outputs = ["o"]} : (tensor<2x4x5x5xf32>, tensor<2x4x5x8xf32>) -> tensor<2x4x5x8xf32>
  return %o : tensor<2x4x5x8xf32>
}

// -----

// Scaled behind the addend.
func.func @scaled_mask(%q: tensor<2x4x5x8xf32>, %k: tensor<2x4x5x8xf32>, %v: tensor<2x4x5x8xf32>, %b: tensor<5x5xf32>) -> tensor<2x4x5x8xf32> {
  %kt = onnx.Transpose(%k) {perm = array<i64: 0, 1, 3, 2>} : (tensor<2x4x5x8xf32>) -> tensor<2x4x8x5xf32>
  %c = onnx.Constant() {value = dense<0.5> : tensor<f32>} : () -> tensor<f32>
  %s = onnx.MatMul(%q, %kt) : (tensor<2x4x5x8xf32>, tensor<2x4x8x5xf32>) -> tensor<2x4x5x5xf32>
  // expected-remark @below {{is no step from a product to scores}}
  %m = onnx.Add(%s, %b) : (tensor<2x4x5x5xf32>, tensor<5x5xf32>) -> tensor<2x4x5x5xf32>
  %n = onnx.Mul(%m, %c) : (tensor<2x4x5x5xf32>, tensor<f32>) -> tensor<2x4x5x5xf32>
  %p = onnx.Softmax(%n) {axis = -1 : i64} : (tensor<2x4x5x5xf32>) -> tensor<2x4x5x5xf32>
  %o = onnx.MatMul(%p, %v) {onnx.outputs = ["o"]} : (tensor<2x4x5x5xf32>, tensor<2x4x5x8xf32>) -> tensor<2x4x5x8xf32>
  return %o : tensor<2x4x5x8xf32>
}

// -----

// Two kinds of scores.
func.func @choice(%q: tensor<2x4x5x8xf32>, %k: tensor<2x4x5x8xf32>, %v: tensor<2x4x5x8xf32>, %a: tensor<5x5xi1>, %e: tensor<2x4x5x5xf32>) -> tensor<2x4x5x8xf32> {
  %kt = onnx.Transpose(%k) {perm = array<i64: 0, 1, 3, 2>} : (tensor<2x4x5x8xf32>) -> tensor<2x4x8x5xf32>
  %s = onnx.MatMul(%q, %kt) : (tensor<2x4x5x8xf32>, tensor<2x4x8x5xf32>) -> tensor<2x4x5x5xf32>
  // expected-remark @below {{chooses between scores that are both computed}}
  %m = onnx.Where(%a, %s, %e) : (tensor<5x5xi1>, tensor<2x4x5x5xf32>, tensor<2x4x5x5xf32>) -> tensor<2x4x5x5xf32>
  %p = onnx.Softmax(%m) {axis = -1 : i64} : (tensor<2x4x5x5xf32>) -> tensor<2x4x5x5xf32>
  %o = onnx.MatMul(%p, %v) {onnx.outputs = ["o"]} : (tensor<2x4x5x5xf32>, tensor<2x4x5x8xf32>) -> tensor<2x4x5x8xf32>
  return %o : tensor<2x4x5x8xf32>
}

// -----

// More digits than f32 has.
func.func @f64(%q: tensor<2x4x5x8xf64>, %k: tensor<2x4x8x5xf64>, %v: tensor<2x4x5x8xf64>) -> tensor<2x4x5x8xf64> {
  %s = onnx.MatMul(%q, %k) : (tensor<2x4x5x8xf64>, tensor<2x4x8x5xf64>) -> tensor<2x4x5x5xf64>
  %p = onnx.Softmax(%s) {axis = -1 : i64} : (tensor<2x4x5x5xf64>) -> tensor<2x4x5x5xf64>
  // expected-remark @below {{multiplies values that are not f32, f16 or bf16}}
  %o = onnx.MatMul(%p, %v) : (tensor<2x4x5x5xf64>, tensor<2x4x5x8xf64>) -> tensor<2x4x5x8xf64>
  return %o : tensor<2x4x5x8xf64>
}

// -----

// No batch at all.
func.func @rank2(%q: tensor<5x8xf32>, %k: tensor<8x5xf32>, %v: tensor<5x8xf32>) -> tensor<5x8xf32> {
  // expected-remark @below {{multiplies tensors of rank 2; 3 and 4 are accepted}}
  %s = onnx.MatMul(%q, %k) : (tensor<5x8xf32>, tensor<8x5xf32>) -> tensor<5x5xf32>
  %p = onnx.Softmax(%s) {axis = -1 : i64} : (tensor<5x5xf32>) -> tensor<5x5xf32>
  %o = onnx.MatMul(%p, %v) : (tensor<5x5xf32>, tensor<5x8xf32>) -> tensor<5x8xf32>
  return %o : tensor<5x8xf32>
}
