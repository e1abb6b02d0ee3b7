// RUN: moe-opt %s --onnx-infer-shapes --moe-raise-routers --split-input-file --verify-diagnostics --remark-format=emitRemark --remarks-filter-missed=raise
// RUN: moe-opt %s --onnx-infer-shapes --split-input-file -o %t.before.mlir
// RUN: moe-opt %s --onnx-infer-shapes --moe-raise-routers --split-input-file -o %t.after.mlir
// RUN: cmp %t.before.mlir %t.after.mlir

// What no op says stays as it is, to the last character, and tells which rule
// failed at which node; choices of tokens and words say nothing.

// R14: one choice for the whole batch.
func.func @batch(%x: tensor<8xf32>) -> tensor<4x4xf32> {
  %bank = onnx.Constant() {value = dense<1.0> : tensor<8x4x4xf32>} : () -> tensor<8x4x4xf32>
  // expected-remark @below {{no router: one choice is made for all tokens; routers choose for each token}}
  %id = onnx.ArgMax(%x) {keepdims = 0 : i64} : (tensor<8xf32>) -> tensor<i64>
  %w = onnx.Gather(%bank, %id) : (tensor<8x4x4xf32>, tensor<i64>) -> tensor<4x4xf32>
  return %w : tensor<4x4xf32>
}

// -----

// R9: product keys.
func.func @product_keys(%x: tensor<?x16xf32>, %pairs: tensor<?x16xi64>) -> tensor<?x2x8xi64> {
  %k2 = onnx.Constant() {value = dense<2> : tensor<1xi64>} : () -> tensor<1xi64>
  %depth = onnx.Constant() {value = dense<8> : tensor<i64>} : () -> tensor<i64>
  %hot = onnx.Constant() {value = dense<[0, 1]> : tensor<2xi64>} : () -> tensor<2xi64>
  %w, %at = onnx.TopK(%x, %k2) : (tensor<?x16xf32>, tensor<1xi64>) -> (tensor<?x2xf32>, tensor<?x2xi64>)
  // expected-remark @below {{no router: experts are picked from a table by the place that is chosen, as product keys do}}
  %ids = onnx.GatherElements(%pairs, %at) {axis = 1 : i64} : (tensor<?x16xi64>, tensor<?x2xi64>) -> tensor<?x2xi64>
  %rows = onnx.OneHot(%ids, %depth, %hot) : (tensor<?x2xi64>, tensor<i64>, tensor<2xi64>) -> tensor<?x2x8xi64>
  return %rows : tensor<?x2x8xi64>
}

// -----

// R10: every sequence for itself.
func.func @expert_choice(%x: tensor<?x6x8xf32>) -> (tensor<?x8x2xi64>, tensor<?x8x2xf32>) {
  %k2 = onnx.Constant() {value = dense<2> : tensor<1xi64>} : () -> tensor<1xi64>
  %s = onnx.Softmax(%x) : (tensor<?x6x8xf32>) -> tensor<?x6x8xf32>
  %t = onnx.Transpose(%s) {perm = array<i64: 0, 2, 1>} : (tensor<?x6x8xf32>) -> tensor<?x8x6xf32>
  // expected-remark @below {{no router: the experts of every sequence choose among its tokens; one choice among all tokens is accepted}}
  %w, %ids = onnx.TopK(%t, %k2) : (tensor<?x8x6xf32>, tensor<1xi64>) -> (tensor<?x8x2xf32>, tensor<?x8x2xi64>)
  return %ids, %w : tensor<?x8x2xi64>, tensor<?x8x2xf32>
}

// -----

// R10 with a softmax over tokens.
func.func @over_tokens(%x: tensor<?x8xf32>) -> (tensor<8x2xi64>, tensor<8x2xf32>) {
  %k2 = onnx.Constant() {value = dense<2> : tensor<1xi64>} : () -> tensor<1xi64>
  // expected-remark @below {{no router: the softmax of an expert's scores is over tokens}}
  %s = onnx.Softmax(%x) {axis = 0 : i64} : (tensor<?x8xf32>) -> tensor<?x8xf32>
  %t = onnx.Transpose(%s) : (tensor<?x8xf32>) -> tensor<8x?xf32>
  %w, %ids = onnx.TopK(%t, %k2) : (tensor<8x?xf32>, tensor<1xi64>) -> (tensor<8x2xf32>, tensor<8x2xi64>)
  return %ids, %w : tensor<8x2xi64>, tensor<8x2xf32>
}

// -----

// The least scores.
func.func @least(%x: tensor<?x8xf32>) -> tensor<?x2x8xi64> {
  %k2 = onnx.Constant() {value = dense<2> : tensor<1xi64>} : () -> tensor<1xi64>
  %depth = onnx.Constant() {value = dense<8> : tensor<i64>} : () -> tensor<i64>
  %hot = onnx.Constant() {value = dense<[0, 1]> : tensor<2xi64>} : () -> tensor<2xi64>
  // expected-remark @below {{no router: the least scores are picked}}
  %w, %ids = onnx.TopK(%x, %k2) {largest = 0 : i64} : (tensor<?x8xf32>, tensor<1xi64>) -> (tensor<?x2xf32>, tensor<?x2xi64>)
  %rows = onnx.OneHot(%ids, %depth, %hot) : (tensor<?x2xi64>, tensor<i64>, tensor<2xi64>) -> tensor<?x2x8xi64>
  return %rows : tensor<?x2x8xi64>
}

// -----

// k is an input.
func.func @dynamic_k(%x: tensor<?x8xf32>, %k: tensor<1xi64>) -> tensor<?x?x8xi64> {
  %depth = onnx.Constant() {value = dense<8> : tensor<i64>} : () -> tensor<i64>
  %hot = onnx.Constant() {value = dense<[0, 1]> : tensor<2xi64>} : () -> tensor<2xi64>
  // expected-remark @below {{no router: the number of experts to pick is no constant}}
  %w, %ids = onnx.TopK(%x, %k) : (tensor<?x8xf32>, tensor<1xi64>) -> (tensor<?x?xf32>, tensor<?x?xi64>)
  %rows = onnx.OneHot(%ids, %depth, %hot) : (tensor<?x?xi64>, tensor<i64>, tensor<2xi64>) -> tensor<?x?x8xi64>
  return %rows : tensor<?x?x8xi64>
}

// -----

// Experts on the first axis.
func.func @first_axis(%x: tensor<8x?xf32>) -> tensor<2x?x8xi64> {
  %k2 = onnx.Constant() {value = dense<2> : tensor<1xi64>} : () -> tensor<1xi64>
  %depth = onnx.Constant() {value = dense<8> : tensor<i64>} : () -> tensor<i64>
  %hot = onnx.Constant() {value = dense<[0, 1]> : tensor<2xi64>} : () -> tensor<2xi64>
  // expected-remark @below {{no router: experts are not on the last axis}}
  %w, %ids = onnx.TopK(%x, %k2) {axis = 0 : i64} : (tensor<8x?xf32>, tensor<1xi64>) -> (tensor<2x?xf32>, tensor<2x?xi64>)
  %rows = onnx.OneHot(%ids, %depth, %hot) : (tensor<2x?xi64>, tensor<i64>, tensor<2xi64>) -> tensor<2x?x8xi64>
  return %rows : tensor<2x?x8xi64>
}

// -----

// Some scores are replaced by another rule than that of groups.
func.func @replaced(%x: tensor<?x8xf32>, %m: tensor<?x8xi1>) -> (tensor<?x2x8xi64>, tensor<?x2xf32>) {
  %k2 = onnx.Constant() {value = dense<2> : tensor<1xi64>} : () -> tensor<1xi64>
  %inf = onnx.Constant() {value = dense<0xFF800000> : tensor<f32>} : () -> tensor<f32>
  %depth = onnx.Constant() {value = dense<8> : tensor<i64>} : () -> tensor<i64>
  %hot = onnx.Constant() {value = dense<[0, 1]> : tensor<2xi64>} : () -> tensor<2xi64>
  // expected-remark @below {{no router: scores are replaced by a rule that is no limit to the best groups}}
  %s = onnx.Where(%m, %x, %inf) : (tensor<?x8xi1>, tensor<?x8xf32>, tensor<f32>) -> tensor<?x8xf32>
  %w, %ids = onnx.TopK(%s, %k2) : (tensor<?x8xf32>, tensor<1xi64>) -> (tensor<?x2xf32>, tensor<?x2xi64>)
  %rows = onnx.OneHot(%ids, %depth, %hot) : (tensor<?x2xi64>, tensor<i64>, tensor<2xi64>) -> tensor<?x2x8xi64>
  return %rows, %w : tensor<?x2x8xi64>, tensor<?x2xf32>
}

// -----

// Groups by their mean.
func.func @group_mean(%x: tensor<?x8xf32>) -> (tensor<?x2x8xi64>, tensor<?x2xf32>) {
  %k2 = onnx.Constant() {value = dense<2> : tensor<1xi64>} : () -> tensor<1xi64>
  %last = onnx.Constant() {value = dense<-1> : tensor<1xi64>} : () -> tensor<1xi64>
  %depth = onnx.Constant() {value = dense<8> : tensor<i64>} : () -> tensor<i64>
  %hot = onnx.Constant() {value = dense<[0, 1]> : tensor<2xi64>} : () -> tensor<2xi64>
  %by = onnx.Constant() {value = dense<[-1, 4, 2]> : tensor<3xi64>} : () -> tensor<3xi64>
  %of = onnx.Constant() {value = dense<[1, 4, 2]> : tensor<3xi64>} : () -> tensor<3xi64>
  %flat = onnx.Constant() {value = dense<[-1, 8]> : tensor<2xi64>} : () -> tensor<2xi64>
  %zero = onnx.Constant() {value = dense<0.0> : tensor<f32>} : () -> tensor<f32>
  %inf = onnx.Constant() {value = dense<0xFF800000> : tensor<f32>} : () -> tensor<f32>
  %five = onnx.Constant() {value = dense<5.0> : tensor<f32>} : () -> tensor<f32>
  %one1 = onnx.Constant() {value = dense<1.0> : tensor<1xf32>} : () -> tensor<1xf32>
  %grouped = onnx.Reshape(%x, %by) : (tensor<?x8xf32>, tensor<3xi64>) -> tensor<?x4x2xf32>
  %group = onnx.ReduceMean(%grouped, %last) {keepdims = 0 : i64} : (tensor<?x4x2xf32>, tensor<1xi64>) -> tensor<?x4xf32>
  // expected-remark @below {{no router: scores of groups are neither the best score in the group nor the sum of its two best}}
  %u1, %kept = onnx.TopK(%group, %k2) : (tensor<?x4xf32>, tensor<1xi64>) -> (tensor<?x2xf32>, tensor<?x2xi64>)
  %s0 = onnx.Shape(%group) : (tensor<?x4xf32>) -> tensor<2xi64>
  %zeros = onnx.ConstantOfShape(%s0) : (tensor<2xi64>) -> tensor<?x4xf32>
  %s1 = onnx.Shape(%kept) : (tensor<?x2xi64>) -> tensor<2xi64>
  %ones = onnx.Expand(%one1, %s1) : (tensor<1xf32>, tensor<2xi64>) -> tensor<?x2xf32>
  %m0 = onnx.ScatterElements(%zeros, %kept, %ones) {axis = 1 : i64} : (tensor<?x4xf32>, tensor<?x2xi64>, tensor<?x2xf32>) -> tensor<?x4xf32>
  %m1 = onnx.Unsqueeze(%m0, %last) : (tensor<?x4xf32>, tensor<1xi64>) -> tensor<?x4x1xf32>
  %m2 = onnx.Expand(%m1, %of) : (tensor<?x4x1xf32>, tensor<3xi64>) -> tensor<?x4x2xf32>
  %m3 = onnx.Reshape(%m2, %flat) : (tensor<?x4x2xf32>, tensor<2xi64>) -> tensor<?x8xf32>
  %m4 = onnx.Cast(%m3) {to = 9 : i64} : (tensor<?x8xf32>) -> tensor<?x8xi1>
  %limited = onnx.Where(%m4, %x, %inf) : (tensor<?x8xi1>, tensor<?x8xf32>, tensor<f32>) -> tensor<?x8xf32>
  %w, %ids = onnx.TopK(%limited, %k2) : (tensor<?x8xf32>, tensor<1xi64>) -> (tensor<?x2xf32>, tensor<?x2xi64>)
  %rows = onnx.OneHot(%ids, %depth, %hot) : (tensor<?x2xi64>, tensor<i64>, tensor<2xi64>) -> tensor<?x2x8xi64>
  return %rows, %w : tensor<?x2x8xi64>, tensor<?x2xf32>
}

// -----

// The other groups.
func.func @other_groups(%x: tensor<?x8xf32>) -> (tensor<?x2x8xi64>, tensor<?x2xf32>) {
  %k2 = onnx.Constant() {value = dense<2> : tensor<1xi64>} : () -> tensor<1xi64>
  %last = onnx.Constant() {value = dense<-1> : tensor<1xi64>} : () -> tensor<1xi64>
  %depth = onnx.Constant() {value = dense<8> : tensor<i64>} : () -> tensor<i64>
  %hot = onnx.Constant() {value = dense<[0, 1]> : tensor<2xi64>} : () -> tensor<2xi64>
  %by = onnx.Constant() {value = dense<[-1, 4, 2]> : tensor<3xi64>} : () -> tensor<3xi64>
  %of = onnx.Constant() {value = dense<[1, 4, 2]> : tensor<3xi64>} : () -> tensor<3xi64>
  %flat = onnx.Constant() {value = dense<[-1, 8]> : tensor<2xi64>} : () -> tensor<2xi64>
  %zero = onnx.Constant() {value = dense<0.0> : tensor<f32>} : () -> tensor<f32>
  %inf = onnx.Constant() {value = dense<0xFF800000> : tensor<f32>} : () -> tensor<f32>
  %five = onnx.Constant() {value = dense<5.0> : tensor<f32>} : () -> tensor<f32>
  %one1 = onnx.Constant() {value = dense<1.0> : tensor<1xf32>} : () -> tensor<1xf32>
  %grouped = onnx.Reshape(%x, %by) : (tensor<?x8xf32>, tensor<3xi64>) -> tensor<?x4x2xf32>
  %group = onnx.ReduceMax(%grouped, %last) {keepdims = 0 : i64} : (tensor<?x4x2xf32>, tensor<1xi64>) -> tensor<?x4xf32>
  // expected-remark @below {{no router: the best groups are left out instead of the others}}
  %u1, %kept = onnx.TopK(%group, %k2) : (tensor<?x4xf32>, tensor<1xi64>) -> (tensor<?x2xf32>, tensor<?x2xi64>)
  %s0 = onnx.Shape(%group) : (tensor<?x4xf32>) -> tensor<2xi64>
  %zeros = onnx.ConstantOfShape(%s0) : (tensor<2xi64>) -> tensor<?x4xf32>
  %s1 = onnx.Shape(%kept) : (tensor<?x2xi64>) -> tensor<2xi64>
  %ones = onnx.Expand(%one1, %s1) : (tensor<1xf32>, tensor<2xi64>) -> tensor<?x2xf32>
  %m0 = onnx.ScatterElements(%zeros, %kept, %ones) {axis = 1 : i64} : (tensor<?x4xf32>, tensor<?x2xi64>, tensor<?x2xf32>) -> tensor<?x4xf32>
  %m1 = onnx.Unsqueeze(%m0, %last) : (tensor<?x4xf32>, tensor<1xi64>) -> tensor<?x4x1xf32>
  %m2 = onnx.Expand(%m1, %of) : (tensor<?x4x1xf32>, tensor<3xi64>) -> tensor<?x4x2xf32>
  %m3 = onnx.Reshape(%m2, %flat) : (tensor<?x4x2xf32>, tensor<2xi64>) -> tensor<?x8xf32>
  %m4 = onnx.Cast(%m3) {to = 9 : i64} : (tensor<?x8xf32>) -> tensor<?x8xi1>
  %limited = onnx.Where(%m4, %inf, %x) : (tensor<?x8xi1>, tensor<f32>, tensor<?x8xf32>) -> tensor<?x8xf32>
  %w, %ids = onnx.TopK(%limited, %k2) : (tensor<?x8xf32>, tensor<1xi64>) -> (tensor<?x2xf32>, tensor<?x2xi64>)
  %rows = onnx.OneHot(%ids, %depth, %hot) : (tensor<?x2xi64>, tensor<i64>, tensor<2xi64>) -> tensor<?x2x8xi64>
  return %rows, %w : tensor<?x2x8xi64>, tensor<?x2xf32>
}

// -----

// Another number in dropped groups.
func.func @five(%x: tensor<?x8xf32>) -> (tensor<?x2x8xi64>, tensor<?x2xf32>) {
  %k2 = onnx.Constant() {value = dense<2> : tensor<1xi64>} : () -> tensor<1xi64>
  %last = onnx.Constant() {value = dense<-1> : tensor<1xi64>} : () -> tensor<1xi64>
  %depth = onnx.Constant() {value = dense<8> : tensor<i64>} : () -> tensor<i64>
  %hot = onnx.Constant() {value = dense<[0, 1]> : tensor<2xi64>} : () -> tensor<2xi64>
  %by = onnx.Constant() {value = dense<[-1, 4, 2]> : tensor<3xi64>} : () -> tensor<3xi64>
  %of = onnx.Constant() {value = dense<[1, 4, 2]> : tensor<3xi64>} : () -> tensor<3xi64>
  %flat = onnx.Constant() {value = dense<[-1, 8]> : tensor<2xi64>} : () -> tensor<2xi64>
  %zero = onnx.Constant() {value = dense<0.0> : tensor<f32>} : () -> tensor<f32>
  %inf = onnx.Constant() {value = dense<0xFF800000> : tensor<f32>} : () -> tensor<f32>
  %five = onnx.Constant() {value = dense<5.0> : tensor<f32>} : () -> tensor<f32>
  %one1 = onnx.Constant() {value = dense<1.0> : tensor<1xf32>} : () -> tensor<1xf32>
  %grouped = onnx.Reshape(%x, %by) : (tensor<?x8xf32>, tensor<3xi64>) -> tensor<?x4x2xf32>
  %group = onnx.ReduceMax(%grouped, %last) {keepdims = 0 : i64} : (tensor<?x4x2xf32>, tensor<1xi64>) -> tensor<?x4xf32>
  %u1, %kept = onnx.TopK(%group, %k2) : (tensor<?x4xf32>, tensor<1xi64>) -> (tensor<?x2xf32>, tensor<?x2xi64>)
  %s0 = onnx.Shape(%group) : (tensor<?x4xf32>) -> tensor<2xi64>
  %zeros = onnx.ConstantOfShape(%s0) : (tensor<2xi64>) -> tensor<?x4xf32>
  %s1 = onnx.Shape(%kept) : (tensor<?x2xi64>) -> tensor<2xi64>
  %ones = onnx.Expand(%one1, %s1) : (tensor<1xf32>, tensor<2xi64>) -> tensor<?x2xf32>
  %m0 = onnx.ScatterElements(%zeros, %kept, %ones) {axis = 1 : i64} : (tensor<?x4xf32>, tensor<?x2xi64>, tensor<?x2xf32>) -> tensor<?x4xf32>
  %m1 = onnx.Unsqueeze(%m0, %last) : (tensor<?x4xf32>, tensor<1xi64>) -> tensor<?x4x1xf32>
  %m2 = onnx.Expand(%m1, %of) : (tensor<?x4x1xf32>, tensor<3xi64>) -> tensor<?x4x2xf32>
  %m3 = onnx.Reshape(%m2, %flat) : (tensor<?x4x2xf32>, tensor<2xi64>) -> tensor<?x8xf32>
  %m4 = onnx.Cast(%m3) {to = 9 : i64} : (tensor<?x8xf32>) -> tensor<?x8xi1>
  // expected-remark @below {{no router: scores of dropped groups are replaced by neither 0 nor -inf}}
  %limited = onnx.Where(%m4, %x, %five) : (tensor<?x8xi1>, tensor<?x8xf32>, tensor<f32>) -> tensor<?x8xf32>
  %w, %ids = onnx.TopK(%limited, %k2) : (tensor<?x8xf32>, tensor<1xi64>) -> (tensor<?x2xf32>, tensor<?x2xi64>)
  %rows = onnx.OneHot(%ids, %depth, %hot) : (tensor<?x2xi64>, tensor<i64>, tensor<2xi64>) -> tensor<?x2x8xi64>
  return %rows, %w : tensor<?x2x8xi64>, tensor<?x2xf32>
}

// -----

// Values of dropped groups may be weights.
func.func @zeros_as_weights(%x: tensor<?x8xf32>) -> (tensor<?x2x8xi64>, tensor<?x2xf32>) {
  %k2 = onnx.Constant() {value = dense<2> : tensor<1xi64>} : () -> tensor<1xi64>
  %last = onnx.Constant() {value = dense<-1> : tensor<1xi64>} : () -> tensor<1xi64>
  %depth = onnx.Constant() {value = dense<8> : tensor<i64>} : () -> tensor<i64>
  %hot = onnx.Constant() {value = dense<[0, 1]> : tensor<2xi64>} : () -> tensor<2xi64>
  %by = onnx.Constant() {value = dense<[-1, 4, 2]> : tensor<3xi64>} : () -> tensor<3xi64>
  %of = onnx.Constant() {value = dense<[1, 4, 2]> : tensor<3xi64>} : () -> tensor<3xi64>
  %flat = onnx.Constant() {value = dense<[-1, 8]> : tensor<2xi64>} : () -> tensor<2xi64>
  %zero = onnx.Constant() {value = dense<0.0> : tensor<f32>} : () -> tensor<f32>
  %inf = onnx.Constant() {value = dense<0xFF800000> : tensor<f32>} : () -> tensor<f32>
  %five = onnx.Constant() {value = dense<5.0> : tensor<f32>} : () -> tensor<f32>
  %one1 = onnx.Constant() {value = dense<1.0> : tensor<1xf32>} : () -> tensor<1xf32>
  %grouped = onnx.Reshape(%x, %by) : (tensor<?x8xf32>, tensor<3xi64>) -> tensor<?x4x2xf32>
  %group = onnx.ReduceMax(%grouped, %last) {keepdims = 0 : i64} : (tensor<?x4x2xf32>, tensor<1xi64>) -> tensor<?x4xf32>
  %u1, %kept = onnx.TopK(%group, %k2) : (tensor<?x4xf32>, tensor<1xi64>) -> (tensor<?x2xf32>, tensor<?x2xi64>)
  %s0 = onnx.Shape(%group) : (tensor<?x4xf32>) -> tensor<2xi64>
  %zeros = onnx.ConstantOfShape(%s0) : (tensor<2xi64>) -> tensor<?x4xf32>
  %s1 = onnx.Shape(%kept) : (tensor<?x2xi64>) -> tensor<2xi64>
  %ones = onnx.Expand(%one1, %s1) : (tensor<1xf32>, tensor<2xi64>) -> tensor<?x2xf32>
  %m0 = onnx.ScatterElements(%zeros, %kept, %ones) {axis = 1 : i64} : (tensor<?x4xf32>, tensor<?x2xi64>, tensor<?x2xf32>) -> tensor<?x4xf32>
  %m1 = onnx.Unsqueeze(%m0, %last) : (tensor<?x4xf32>, tensor<1xi64>) -> tensor<?x4x1xf32>
  %m2 = onnx.Expand(%m1, %of) : (tensor<?x4x1xf32>, tensor<3xi64>) -> tensor<?x4x2xf32>
  %m3 = onnx.Reshape(%m2, %flat) : (tensor<?x4x2xf32>, tensor<2xi64>) -> tensor<?x8xf32>
  %m4 = onnx.Cast(%m3) {to = 9 : i64} : (tensor<?x8xf32>) -> tensor<?x8xi1>
  %limited = onnx.Where(%m4, %x, %zero) : (tensor<?x8xi1>, tensor<?x8xf32>, tensor<f32>) -> tensor<?x8xf32>
  // expected-remark @below {{no router: scores of dropped groups are 0 and may be weights}}
  %w, %ids = onnx.TopK(%limited, %k2) : (tensor<?x8xf32>, tensor<1xi64>) -> (tensor<?x2xf32>, tensor<?x2xi64>)
  %rows = onnx.OneHot(%ids, %depth, %hot) : (tensor<?x2xi64>, tensor<i64>, tensor<2xi64>) -> tensor<?x2x8xi64>
  return %rows, %w : tensor<?x2x8xi64>, tensor<?x2xf32>
}

// -----

// Groups are scored by other scores than the ones that are limited.
func.func @scored_by_others(%x: tensor<?x8xf32> {onnx.dims = ["t", ""]}, %y: tensor<?x8xf32> {onnx.dims = ["t", ""]}) -> (tensor<?x2x8xi64>, tensor<?x2xf32>) {
  %k2 = onnx.Constant() {value = dense<2> : tensor<1xi64>} : () -> tensor<1xi64>
  %last = onnx.Constant() {value = dense<-1> : tensor<1xi64>} : () -> tensor<1xi64>
  %depth = onnx.Constant() {value = dense<8> : tensor<i64>} : () -> tensor<i64>
  %hot = onnx.Constant() {value = dense<[0, 1]> : tensor<2xi64>} : () -> tensor<2xi64>
  %by = onnx.Constant() {value = dense<[-1, 4, 2]> : tensor<3xi64>} : () -> tensor<3xi64>
  %of = onnx.Constant() {value = dense<[1, 4, 2]> : tensor<3xi64>} : () -> tensor<3xi64>
  %flat = onnx.Constant() {value = dense<[-1, 8]> : tensor<2xi64>} : () -> tensor<2xi64>
  %zero = onnx.Constant() {value = dense<0.0> : tensor<f32>} : () -> tensor<f32>
  %inf = onnx.Constant() {value = dense<0xFF800000> : tensor<f32>} : () -> tensor<f32>
  %five = onnx.Constant() {value = dense<5.0> : tensor<f32>} : () -> tensor<f32>
  %one1 = onnx.Constant() {value = dense<1.0> : tensor<1xf32>} : () -> tensor<1xf32>
  %grouped = onnx.Reshape(%y, %by) : (tensor<?x8xf32>, tensor<3xi64>) -> tensor<?x4x2xf32>
  %best, %u0 = onnx.TopK(%grouped, %k2) : (tensor<?x4x2xf32>, tensor<1xi64>) -> (tensor<?x4x2xf32>, tensor<?x4x2xi64>)
  %group = onnx.ReduceSum(%best, %last) {keepdims = 0 : i64} : (tensor<?x4x2xf32>, tensor<1xi64>) -> tensor<?x4xf32>
  // expected-remark @below {{no router: scores of groups are neither the best score in the group nor the sum of its two best}}
  %u1, %kept = onnx.TopK(%group, %k2) : (tensor<?x4xf32>, tensor<1xi64>) -> (tensor<?x2xf32>, tensor<?x2xi64>)
  %s0 = onnx.Shape(%group) : (tensor<?x4xf32>) -> tensor<2xi64>
  %zeros = onnx.ConstantOfShape(%s0) : (tensor<2xi64>) -> tensor<?x4xf32>
  %s1 = onnx.Shape(%kept) : (tensor<?x2xi64>) -> tensor<2xi64>
  %ones = onnx.Expand(%one1, %s1) : (tensor<1xf32>, tensor<2xi64>) -> tensor<?x2xf32>
  %m0 = onnx.ScatterElements(%zeros, %kept, %ones) {axis = 1 : i64} : (tensor<?x4xf32>, tensor<?x2xi64>, tensor<?x2xf32>) -> tensor<?x4xf32>
  %m1 = onnx.Unsqueeze(%m0, %last) : (tensor<?x4xf32>, tensor<1xi64>) -> tensor<?x4x1xf32>
  %m2 = onnx.Expand(%m1, %of) : (tensor<?x4x1xf32>, tensor<3xi64>) -> tensor<?x4x2xf32>
  %m3 = onnx.Reshape(%m2, %flat) : (tensor<?x4x2xf32>, tensor<2xi64>) -> tensor<?x8xf32>
  %m4 = onnx.Cast(%m3) {to = 9 : i64} : (tensor<?x8xf32>) -> tensor<?x8xi1>
  %limited = onnx.Where(%m4, %x, %inf) : (tensor<?x8xi1>, tensor<?x8xf32>, tensor<f32>) -> tensor<?x8xf32>
  %w, %ids = onnx.TopK(%limited, %k2) : (tensor<?x8xf32>, tensor<1xi64>) -> (tensor<?x2xf32>, tensor<?x2xi64>)
  %rows = onnx.OneHot(%ids, %depth, %hot) : (tensor<?x2xi64>, tensor<i64>, tensor<2xi64>) -> tensor<?x2x8xi64>
  return %rows, %w : tensor<?x2x8xi64>, tensor<?x2xf32>
}

// -----

// Weights depend on what is chosen.
func.func @depends(%x: tensor<?x8xf32>) -> (tensor<?x2x8xi64>, tensor<?x2xf32>) {
  %k2 = onnx.Constant() {value = dense<2> : tensor<1xi64>} : () -> tensor<1xi64>
  %last = onnx.Constant() {value = dense<-1> : tensor<1xi64>} : () -> tensor<1xi64>
  %depth = onnx.Constant() {value = dense<8> : tensor<i64>} : () -> tensor<i64>
  %hot = onnx.Constant() {value = dense<[0, 1]> : tensor<2xi64>} : () -> tensor<2xi64>
  %s = onnx.Sigmoid(%x) : (tensor<?x8xf32>) -> tensor<?x8xf32>
  %u, %ids = onnx.TopK(%x, %k2) : (tensor<?x8xf32>, tensor<1xi64>) -> (tensor<?x2xf32>, tensor<?x2xi64>)
  %f = onnx.Cast(%ids) {to = 1 : i64} : (tensor<?x2xi64>) -> tensor<?x2xf32>
  %sum = onnx.ReduceSum(%f, %last) : (tensor<?x2xf32>, tensor<1xi64>) -> tensor<?x1xf32>
  // expected-remark @below {{no router: an operand of the router depends on what is chosen}}
  %m = onnx.Add(%s, %sum) : (tensor<?x8xf32>, tensor<?x1xf32>) -> tensor<?x8xf32>
  %w = onnx.GatherElements(%m, %ids) {axis = 1 : i64} : (tensor<?x8xf32>, tensor<?x2xi64>) -> tensor<?x2xf32>
  %rows = onnx.OneHot(%ids, %depth, %hot) : (tensor<?x2xi64>, tensor<i64>, tensor<2xi64>) -> tensor<?x2x8xi64>
  return %rows, %w : tensor<?x2x8xi64>, tensor<?x2xf32>
}

// -----

// R6 with another limit in its second round.
func.func @two_limits(%x: tensor<?x8xf32>) -> (tensor<?x2xi64>, tensor<?x2xf32>) {
  %last = onnx.Constant() {value = dense<-1> : tensor<1xi64>} : () -> tensor<1xi64>
  %inf = onnx.Constant() {value = dense<0xFF800000> : tensor<f32>} : () -> tensor<f32>
  %far = onnx.Constant() {value = dense<0.02> : tensor<f32>} : () -> tensor<f32>
  %farther = onnx.Constant() {value = dense<0.5> : tensor<f32>} : () -> tensor<f32>
  %most = onnx.ReduceMax(%x, %last) : (tensor<?x8xf32>, tensor<1xi64>) -> tensor<?x1xf32>
  %i1 = onnx.ArgMax(%x) {axis = 1 : i64} : (tensor<?x8xf32>) -> tensor<?x1xi64>
  %abs = onnx.Abs(%x) : (tensor<?x8xf32>) -> tensor<?x8xf32>
  %f1 = onnx.Max(%abs, %most) : (tensor<?x8xf32>, tensor<?x1xf32>) -> tensor<?x8xf32>
  %d1 = onnx.Sub(%most, %x) : (tensor<?x1xf32>, tensor<?x8xf32>) -> tensor<?x8xf32>
  %r1 = onnx.Div(%d1, %f1) : (tensor<?x8xf32>, tensor<?x8xf32>) -> tensor<?x8xf32>
  %b1 = onnx.Greater(%r1, %far) : (tensor<?x8xf32>, tensor<f32>) -> tensor<?x8xi1>
  %g1 = onnx.Where(%b1, %inf, %x) : (tensor<?x8xi1>, tensor<f32>, tensor<?x8xf32>) -> tensor<?x8xf32>
  %p1 = onnx.Softmax(%g1) : (tensor<?x8xf32>) -> tensor<?x8xf32>
  %w1 = onnx.GatherElements(%p1, %i1) {axis = 1 : i64} : (tensor<?x8xf32>, tensor<?x1xi64>) -> tensor<?x1xf32>
  %s1 = onnx.Shape(%i1) : (tensor<?x1xi64>) -> tensor<2xi64>
  %low = onnx.Expand(%inf, %s1) : (tensor<f32>, tensor<2xi64>) -> tensor<?x1xf32>
  %y = onnx.ScatterElements(%x, %i1, %low) {axis = 1 : i64} : (tensor<?x8xf32>, tensor<?x1xi64>, tensor<?x1xf32>) -> tensor<?x8xf32>
  %most2 = onnx.ReduceMax(%y, %last) : (tensor<?x8xf32>, tensor<1xi64>) -> tensor<?x1xf32>
  %i2 = onnx.ArgMax(%y) {axis = 1 : i64} : (tensor<?x8xf32>) -> tensor<?x1xi64>
  %f2 = onnx.Max(%abs, %most2) : (tensor<?x8xf32>, tensor<?x1xf32>) -> tensor<?x8xf32>
  %d2 = onnx.Sub(%most2, %x) : (tensor<?x1xf32>, tensor<?x8xf32>) -> tensor<?x8xf32>
  %r2 = onnx.Div(%d2, %f2) : (tensor<?x8xf32>, tensor<?x8xf32>) -> tensor<?x8xf32>
  %b2 = onnx.Greater(%r2, %farther) : (tensor<?x8xf32>, tensor<f32>) -> tensor<?x8xi1>
  %g2 = onnx.Where(%b2, %inf, %y) : (tensor<?x8xi1>, tensor<f32>, tensor<?x8xf32>) -> tensor<?x8xf32>
  %p2 = onnx.Softmax(%g2) : (tensor<?x8xf32>) -> tensor<?x8xf32>
  %w2 = onnx.GatherElements(%p2, %i2) {axis = 1 : i64} : (tensor<?x8xf32>, tensor<?x1xi64>) -> tensor<?x1xf32>
  %w = onnx.Concat(%w1, %w2) {axis = 1 : i64} : (tensor<?x1xf32>, tensor<?x1xf32>) -> tensor<?x2xf32>
  // expected-remark @below {{no router: the two best experts are not weighed as a sparse mixer does}}
  %ids = onnx.Concat(%i1, %i2) {axis = 1 : i64} : (tensor<?x1xi64>, tensor<?x1xi64>) -> tensor<?x2xi64>
  return %ids, %w : tensor<?x2xi64>, tensor<?x2xf32>
}

// -----

// Tokens are chosen (EViT): nothing to say.
func.func @tokens(%x: tensor<?x8xf32>, %h: tensor<?x8x4xf32>) -> (tensor<?x2x4xf32>, tensor<?x2xi64>) {
  %k2 = onnx.Constant() {value = dense<2> : tensor<1xi64>} : () -> tensor<1xi64>
  %wide = onnx.Constant() {value = dense<[1, 1, 4]> : tensor<3xi64>} : () -> tensor<3xi64>
  %last = onnx.Constant() {value = dense<-1> : tensor<1xi64>} : () -> tensor<1xi64>
  %s = onnx.Sigmoid(%x) : (tensor<?x8xf32>) -> tensor<?x8xf32>
  %w, %ids = onnx.TopK(%s, %k2) : (tensor<?x8xf32>, tensor<1xi64>) -> (tensor<?x2xf32>, tensor<?x2xi64>)
  %c = onnx.Unsqueeze(%ids, %last) : (tensor<?x2xi64>, tensor<1xi64>) -> tensor<?x2x1xi64>
  %e = onnx.Expand(%c, %wide) : (tensor<?x2x1xi64>, tensor<3xi64>) -> tensor<?x2x4xi64>
  %r = onnx.GatherElements(%h, %e) {axis = 1 : i64} : (tensor<?x8x4xf32>, tensor<?x2x4xi64>) -> tensor<?x2x4xf32>
  return %r, %ids : tensor<?x2x4xf32>, tensor<?x2xi64>
}

// -----

// The likeliest words: nothing to say.
func.func @words(%x: tensor<?x32000xf32>) -> (tensor<?x2xi64>, tensor<?x2xf32>) {
  %k2 = onnx.Constant() {value = dense<2> : tensor<1xi64>} : () -> tensor<1xi64>
  %s = onnx.Softmax(%x) : (tensor<?x32000xf32>) -> tensor<?x32000xf32>
  %w, %ids = onnx.TopK(%s, %k2) : (tensor<?x32000xf32>, tensor<1xi64>) -> (tensor<?x2xf32>, tensor<?x2xi64>)
  return %ids, %w : tensor<?x2xi64>, tensor<?x2xf32>
}

// -----

// A plain TopK: nothing to say.
func.func @plain(%x: tensor<?x8xf32>) -> (tensor<?x2xi64>, tensor<?x2xf32>) {
  %k2 = onnx.Constant() {value = dense<2> : tensor<1xi64>} : () -> tensor<1xi64>
  %w, %ids = onnx.TopK(%x, %k2) : (tensor<?x8xf32>, tensor<1xi64>) -> (tensor<?x2xf32>, tensor<?x2xi64>)
  return %ids, %w : tensor<?x2xi64>, tensor<?x2xf32>
}

// -----

// Two softmaxes of different logits are no soft router.
func.func @two_softmaxes(%x: tensor<?x6x8xf32>, %y: tensor<?x6x8xf32>, %h: tensor<?x6x4xf32>) -> tensor<?x6x4xf32> {
  %d = onnx.Softmax(%x) {axis = 1 : i64} : (tensor<?x6x8xf32>) -> tensor<?x6x8xf32>
  %c = onnx.Softmax(%y) {axis = 2 : i64} : (tensor<?x6x8xf32>) -> tensor<?x6x8xf32>
  %t = onnx.Transpose(%d) {perm = array<i64: 0, 2, 1>} : (tensor<?x6x8xf32>) -> tensor<?x8x6xf32>
  %s = onnx.MatMul(%t, %h) : (tensor<?x8x6xf32>, tensor<?x6x4xf32>) -> tensor<?x8x4xf32>
  %r = onnx.MatMul(%c, %s) : (tensor<?x6x8xf32>, tensor<?x8x4xf32>) -> tensor<?x6x4xf32>
  return %r : tensor<?x6x4xf32>
}
