// RUN: moe-opt %s --onnx-infer-shapes --moe-raise-experts --split-input-file | FileCheck %s

// Products with gathered weights, summed over the slots of a token.

// The product broadcasts tokens over their slots: no repeat is needed.
// CHECK-LABEL: @broadcast(
// CHECK-SAME: %[[X:[a-z0-9]+]]: tensor<?x8xf32>{{.*}}, %[[IDS:[a-z0-9]+]]: tensor<?x2xi64>{{.*}}, %[[W:[a-z0-9]+]]: tensor<?x2xf32>
// CHECK-DAG: %[[UP:.*]] = onnx.Constant{{.*}}dense<5.0
// CHECK-DAG: %[[DOWN:.*]] = onnx.Constant{{.*}}dense<2.0
// CHECK: onnx.Less
// CHECK: %[[FROM0:.*]] = onnx.Where
// CHECK: %[[NARROW:.*]] = onnx.Cast(%[[FROM0]])
// CHECK: %[[Y:.*]] = moe.experts %[[X]] route(%[[NARROW]], %[[W]]
// CHECK-SAME: gate(%[[UP]] : tensor<4x8x6xf32>) down(%[[DOWN]] : tensor<4x6x8xf32>)
// CHECK-SAME: layout = #moe.layout<io>
// CHECK: ^bb0(%[[H:.*]]: tensor<f32>):
// CHECK: onnx.Relu(%[[H]])
// CHECK-NOT: onnx.Einsum
// CHECK: return %[[Y]]
func.func @broadcast(%x: tensor<?x8xf32> {onnx.dims = ["n", ""]}, %ids: tensor<?x2xi64> {onnx.dims = ["n", ""]}, %w: tensor<?x2xf32> {onnx.dims = ["n", ""]}) -> tensor<?x8xf32> {
  %up = onnx.Constant() {value = dense<5.0> : tensor<4x8x6xf32>} : () -> tensor<4x8x6xf32>
  %down = onnx.Constant() {value = dense<2.0> : tensor<4x6x8xf32>} : () -> tensor<4x6x8xf32>
  %w1 = onnx.Gather(%up, %ids) : (tensor<4x8x6xf32>, tensor<?x2xi64>) -> tensor<?x2x8x6xf32>
  %h = onnx.Einsum(%x, %w1) {equation = "nh,nkhf->nkf"} : (tensor<?x8xf32>, tensor<?x2x8x6xf32>) -> tensor<?x2x6xf32>
  %a = onnx.Relu(%h) : (tensor<?x2x6xf32>) -> tensor<?x2x6xf32>
  %w2 = onnx.Gather(%down, %ids) : (tensor<4x6x8xf32>, tensor<?x2xi64>) -> tensor<?x2x6x8xf32>
  %o = onnx.Einsum(%a, %w2) {equation = "nkf,nkfh->nkh"} : (tensor<?x2x6xf32>, tensor<?x2x6x8xf32>) -> tensor<?x2x8xf32>
  %y = onnx.Einsum(%w, %o) {equation = "nk,nkh->nh"} : (tensor<?x2xf32>, tensor<?x2x8xf32>) -> tensor<?x8xf32>
  return %y : tensor<?x8xf32>
}

// -----

// Slots in the order of choices: rows and ids are turned alike. Ids of TopK are
// not negative, and the ones that TopK gives are taken.
// CHECK-LABEL: @choices(
// CHECK: %[[TOP:[0-9]+]]:2 = onnx.TopK
// CHECK-NOT: onnx.Where
// CHECK: %[[NARROW:.*]] = onnx.Cast(%[[TOP]]#1)
// CHECK: moe.experts %{{.*}} route(%[[NARROW]], %[[TOP]]#0
// CHECK-SAME: gate_bias(%{{.*}} : tensor<4x6xf32>)
func.func @choices(%x: tensor<?x8xf32> {onnx.dims = ["n", ""]}, %p: tensor<?x4xf32> {onnx.dims = ["n", ""]}) -> tensor<?x8xf32> {
  %up = onnx.Constant() {value = dense<5.0> : tensor<4x6x8xf32>} : () -> tensor<4x6x8xf32>
  %bias = onnx.Constant() {value = dense<3.0> : tensor<4x6xf32>} : () -> tensor<4x6xf32>
  %down = onnx.Constant() {value = dense<2.0> : tensor<4x8x6xf32>} : () -> tensor<4x8x6xf32>
  %k = onnx.Constant() {value = dense<2> : tensor<1xi64>} : () -> tensor<1xi64>
  %zero = onnx.Constant() {value = dense<0> : tensor<1xi64>} : () -> tensor<1xi64>
  %last = onnx.Constant() {value = dense<-1> : tensor<1xi64>} : () -> tensor<1xi64>
  %flat = onnx.Constant() {value = dense<[-1]> : tensor<1xi64>} : () -> tensor<1xi64>
  %twice = onnx.Constant() {value = dense<[2, 1]> : tensor<2xi64>} : () -> tensor<2xi64>
  %apart = onnx.Constant() {value = dense<[2, -1, 8]> : tensor<3xi64>} : () -> tensor<3xi64>
  %v, %i = onnx.TopK(%p, %k) : (tensor<?x4xf32>, tensor<1xi64>) -> (tensor<?x2xf32>, tensor<?x2xi64>)
  %rows = onnx.Tile(%x, %twice) : (tensor<?x8xf32>, tensor<2xi64>) -> tensor<?x8xf32>
  %it = onnx.Transpose(%i) {perm = array<i64: 1, 0>} : (tensor<?x2xi64>) -> tensor<2x?xi64>
  %vt = onnx.Transpose(%v) {perm = array<i64: 1, 0>} : (tensor<?x2xf32>) -> tensor<2x?xf32>
  %ids = onnx.Reshape(%it, %flat) : (tensor<2x?xi64>, tensor<1xi64>) -> tensor<?xi64>
  %column = onnx.Unsqueeze(%rows, %last) : (tensor<?x8xf32>, tensor<1xi64>) -> tensor<?x8x1xf32>
  %w1 = onnx.Gather(%up, %ids) : (tensor<4x6x8xf32>, tensor<?xi64>) -> tensor<?x6x8xf32>
  %m1 = onnx.MatMul(%w1, %column) : (tensor<?x6x8xf32>, tensor<?x8x1xf32>) -> tensor<?x6x1xf32>
  %h = onnx.Squeeze(%m1, %last) : (tensor<?x6x1xf32>, tensor<1xi64>) -> tensor<?x6xf32>
  %b1 = onnx.Gather(%bias, %ids) : (tensor<4x6xf32>, tensor<?xi64>) -> tensor<?x6xf32>
  %hb = onnx.Add(%b1, %h) : (tensor<?x6xf32>, tensor<?x6xf32>) -> tensor<?x6xf32>
  %a = onnx.Relu(%hb) : (tensor<?x6xf32>) -> tensor<?x6xf32>
  %acol = onnx.Unsqueeze(%a, %last) : (tensor<?x6xf32>, tensor<1xi64>) -> tensor<?x6x1xf32>
  %w2 = onnx.Gather(%down, %ids) : (tensor<4x8x6xf32>, tensor<?xi64>) -> tensor<?x8x6xf32>
  %m2 = onnx.MatMul(%w2, %acol) : (tensor<?x8x6xf32>, tensor<?x6x1xf32>) -> tensor<?x8x1xf32>
  %cut = onnx.Reshape(%m2, %apart) : (tensor<?x8x1xf32>, tensor<3xi64>) -> tensor<2x?x8xf32>
  %vu = onnx.Unsqueeze(%vt, %last) : (tensor<2x?xf32>, tensor<1xi64>) -> tensor<2x?x1xf32>
  %s = onnx.Mul(%cut, %vu) : (tensor<2x?x8xf32>, tensor<2x?x1xf32>) -> tensor<2x?x8xf32>
  %y = onnx.ReduceSum(%s, %zero) {keepdims = 0 : i64} : (tensor<2x?x8xf32>, tensor<1xi64>) -> tensor<?x8xf32>
  return %y : tensor<?x8xf32>
}

// -----

// One id for all tokens: a slot each, of weight 1.
// CHECK-LABEL: @one_for_all(
// CHECK-SAME: %[[X:[a-z0-9]+]]: tensor<?x?x8xf32>
// CHECK: onnx.ArgMax
// CHECK: %[[IDS:.*]] = onnx.Expand
// CHECK: onnx.Unsqueeze(%[[IDS]]
// CHECK: onnx.ConstantOfShape
// CHECK: moe.experts %{{.*}} route({{.*}} : tensor<?x1xi32>, tensor<?x1xf32>)
func.func @one_for_all(%x: tensor<?x?x8xf32> {onnx.dims = ["b", "s", ""]}, %p: tensor<4xf32>) -> tensor<?x?x8xf32> {
  %up = onnx.Constant() {value = dense<5.0> : tensor<4x8x6xf32>} : () -> tensor<4x8x6xf32>
  %down = onnx.Constant() {value = dense<2.0> : tensor<4x6x8xf32>} : () -> tensor<4x6x8xf32>
  %id = onnx.ArgMax(%p) {axis = 0 : i64, keepdims = 0 : i64} : (tensor<4xf32>) -> tensor<i64>
  %w1 = onnx.Gather(%up, %id) : (tensor<4x8x6xf32>, tensor<i64>) -> tensor<8x6xf32>
  %h = onnx.MatMul(%x, %w1) : (tensor<?x?x8xf32>, tensor<8x6xf32>) -> tensor<?x?x6xf32>
  %a = onnx.Tanh(%h) : (tensor<?x?x6xf32>) -> tensor<?x?x6xf32>
  %w2 = onnx.Gather(%down, %id) : (tensor<4x6x8xf32>, tensor<i64>) -> tensor<6x8xf32>
  %y = onnx.MatMul(%a, %w2) : (tensor<?x?x6xf32>, tensor<6x8xf32>) -> tensor<?x?x8xf32>
  return %y : tensor<?x?x8xf32>
}
