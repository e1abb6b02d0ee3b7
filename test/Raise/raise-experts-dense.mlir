// RUN: moe-opt %s --onnx-infer-shapes --moe-raise-experts --split-input-file | FileCheck %s

// Every expert on every token.

// Gates were scattered into zeros: the ids and values in front are the route.
// CHECK-LABEL: @tiled(
// CHECK: %[[TOP:[0-9]+]]:2 = onnx.TopK
// CHECK: %[[NARROW:.*]] = onnx.Cast(%[[TOP]]#1)
// CHECK: moe.experts %{{.*}} route(%[[NARROW]], %[[TOP]]#0
// CHECK-SAME: gate_up = #moe.gate_up<concat>
// CHECK-NOT: onnx.MatMul
// CHECK: return
func.func @tiled(%x: tensor<?x8xf32> {onnx.dims = ["n", ""]}, %p: tensor<?x4xf32> {onnx.dims = ["n", ""]}) -> tensor<?x8xf32> {
  %up = onnx.Constant() {value = dense<5.0> : tensor<4x8x6xf32>} : () -> tensor<4x8x6xf32>
  %down = onnx.Constant() {value = dense<2.0> : tensor<4x3x8xf32>} : () -> tensor<4x3x8xf32>
  %k = onnx.Constant() {value = dense<2> : tensor<1xi64>} : () -> tensor<1xi64>
  %zero = onnx.Constant() {value = dense<0> : tensor<1xi64>} : () -> tensor<1xi64>
  %last = onnx.Constant() {value = dense<-1> : tensor<1xi64>} : () -> tensor<1xi64>
  %none = onnx.Constant() {value = dense<0.0> : tensor<f32>} : () -> tensor<f32>
  %times = onnx.Constant() {value = dense<[4, 1]> : tensor<2xi64>} : () -> tensor<2xi64>
  %apart = onnx.Constant() {value = dense<[4, -1, 8]> : tensor<3xi64>} : () -> tensor<3xi64>
  %v, %i = onnx.TopK(%p, %k) : (tensor<?x4xf32>, tensor<1xi64>) -> (tensor<?x2xf32>, tensor<?x2xi64>)
  %shape = onnx.Shape(%p) : (tensor<?x4xf32>) -> tensor<2xi64>
  %zeros = onnx.Expand(%none, %shape) : (tensor<f32>, tensor<2xi64>) -> tensor<?x4xf32>
  %gates = onnx.ScatterElements(%zeros, %i, %v) {axis = 1 : i64} : (tensor<?x4xf32>, tensor<?x2xi64>, tensor<?x2xf32>) -> tensor<?x4xf32>
  %turned = onnx.Transpose(%gates) {perm = array<i64: 1, 0>} : (tensor<?x4xf32>) -> tensor<4x?xf32>
  %g = onnx.Unsqueeze(%turned, %last) : (tensor<4x?xf32>, tensor<1xi64>) -> tensor<4x?x1xf32>
  %many = onnx.Tile(%x, %times) : (tensor<?x8xf32>, tensor<2xi64>) -> tensor<?x8xf32>
  %rows = onnx.Reshape(%many, %apart) : (tensor<?x8xf32>, tensor<3xi64>) -> tensor<4x?x8xf32>
  %h = onnx.MatMul(%rows, %up) : (tensor<4x?x8xf32>, tensor<4x8x6xf32>) -> tensor<4x?x6xf32>
  %a:2 = onnx.Split(%h) {axis = 2 : i64, num_outputs = 2 : i64} : (tensor<4x?x6xf32>) -> (tensor<4x?x3xf32>, tensor<4x?x3xf32>)
  %s = onnx.Sigmoid(%a#0) : (tensor<4x?x3xf32>) -> tensor<4x?x3xf32>
  %m = onnx.Mul(%s, %a#1) : (tensor<4x?x3xf32>, tensor<4x?x3xf32>) -> tensor<4x?x3xf32>
  %o = onnx.MatMul(%m, %down) : (tensor<4x?x3xf32>, tensor<4x3x8xf32>) -> tensor<4x?x8xf32>
  %w = onnx.Mul(%o, %g) : (tensor<4x?x8xf32>, tensor<4x?x1xf32>) -> tensor<4x?x8xf32>
  %y = onnx.ReduceSum(%w, %zero) {keepdims = 0 : i64} : (tensor<4x?x8xf32>, tensor<1xi64>) -> tensor<?x8xf32>
  return %y : tensor<?x8xf32>
}

// -----

// Gates that are no scatter: all experts for each token, in their order.
// CHECK-LABEL: @soft(
// CHECK: %[[G:.*]] = onnx.Softmax
// CHECK: %[[ALL:.*]] = onnx.Constant() {value = dense<[0, 1, 2, 3]>
// CHECK: %[[IDS:.*]] = onnx.Expand(%[[ALL]]
// CHECK: moe.experts %{{.*}} : tensor<?x4xi32>, tensor<?x4xf32>)
func.func @soft(%x: tensor<?x?x8xf32> {onnx.dims = ["b", "t", ""]}, %p: tensor<?x?x4xf32> {onnx.dims = ["b", "t", ""]}) -> tensor<?x?x8xf32> {
  %up = onnx.Constant() {value = dense<5.0> : tensor<4x8x6xf32>} : () -> tensor<4x8x6xf32>
  %down = onnx.Constant() {value = dense<2.0> : tensor<4x6x8xf32>} : () -> tensor<4x6x8xf32>
  %g = onnx.Softmax(%p) : (tensor<?x?x4xf32>) -> tensor<?x?x4xf32>
  %h = onnx.Einsum(%x, %up) {equation = "btd,edf->btef"} : (tensor<?x?x8xf32>, tensor<4x8x6xf32>) -> tensor<?x?x4x6xf32>
  %a = onnx.Relu(%h) : (tensor<?x?x4x6xf32>) -> tensor<?x?x4x6xf32>
  %y = onnx.Einsum(%a, %down, %g) {equation = "btef,efd,bte->btd"} : (tensor<?x?x4x6xf32>, tensor<4x6x8xf32>, tensor<?x?x4xf32>) -> tensor<?x?x8xf32>
  return %y : tensor<?x?x8xf32>
}

// -----

// Scores that scale what goes in: sigmoid(-inf) = 0, and experts give 0 for
// zeros.
// CHECK-LABEL: @scaled_inputs(
// CHECK: %[[TOP:[0-9]+]]:2 = onnx.TopK
// CHECK: %[[W:.*]] = onnx.Sigmoid(%[[TOP]]#0)
// CHECK: %[[NARROW:.*]] = onnx.Cast(%[[TOP]]#1)
// CHECK: moe.experts %{{.*}} route(%[[NARROW]], %[[W]]
// CHECK-SAME: scale_at = #moe.scale_at<input>
func.func @scaled_inputs(%x: tensor<?x8xf32> {onnx.dims = ["n", ""]}, %p: tensor<?x4xf32> {onnx.dims = ["n", ""]}) -> tensor<?x8xf32> {
  %up = onnx.Constant() {value = dense<5.0> : tensor<4x8x6xf32>} : () -> tensor<4x8x6xf32>
  %down = onnx.Constant() {value = dense<2.0> : tensor<4x6x8xf32>} : () -> tensor<4x6x8xf32>
  %k = onnx.Constant() {value = dense<1> : tensor<1xi64>} : () -> tensor<1xi64>
  %zero = onnx.Constant() {value = dense<0> : tensor<1xi64>} : () -> tensor<1xi64>
  %last = onnx.Constant() {value = dense<-1> : tensor<1xi64>} : () -> tensor<1xi64>
  %none = onnx.Constant() {value = dense<0xFF800000> : tensor<f32>} : () -> tensor<f32>
  %v, %i = onnx.TopK(%p, %k) : (tensor<?x4xf32>, tensor<1xi64>) -> (tensor<?x1xf32>, tensor<?x1xi64>)
  %shape = onnx.Shape(%p) : (tensor<?x4xf32>) -> tensor<2xi64>
  %low = onnx.Expand(%none, %shape) : (tensor<f32>, tensor<2xi64>) -> tensor<?x4xf32>
  %masked = onnx.ScatterElements(%low, %i, %v) {axis = 1 : i64} : (tensor<?x4xf32>, tensor<?x1xi64>, tensor<?x1xf32>) -> tensor<?x4xf32>
  %scores = onnx.Sigmoid(%masked) : (tensor<?x4xf32>) -> tensor<?x4xf32>
  %turned = onnx.Transpose(%scores) {perm = array<i64: 1, 0>} : (tensor<?x4xf32>) -> tensor<4x?xf32>
  %g = onnx.Unsqueeze(%turned, %last) : (tensor<4x?xf32>, tensor<1xi64>) -> tensor<4x?x1xf32>
  %rows = onnx.Unsqueeze(%x, %zero) : (tensor<?x8xf32>, tensor<1xi64>) -> tensor<1x?x8xf32>
  %in = onnx.Mul(%rows, %g) : (tensor<1x?x8xf32>, tensor<4x?x1xf32>) -> tensor<4x?x8xf32>
  %h = onnx.MatMul(%in, %up) : (tensor<4x?x8xf32>, tensor<4x8x6xf32>) -> tensor<4x?x6xf32>
  %a = onnx.Gelu(%h) : (tensor<4x?x6xf32>) -> tensor<4x?x6xf32>
  %o = onnx.MatMul(%a, %down) : (tensor<4x?x6xf32>, tensor<4x6x8xf32>) -> tensor<4x?x8xf32>
  %y = onnx.ReduceSum(%o, %zero) {keepdims = 0 : i64} : (tensor<4x?x8xf32>, tensor<1xi64>) -> tensor<?x8xf32>
  return %y : tensor<?x8xf32>
}

// -----

// A sum of experts with products of their own; the third copies, and the shared
// one stays.
// CHECK-LABEL: @masked_sum(
// CHECK-SAME: %[[X:[a-z0-9]+]]: tensor<?x4xf32>
// CHECK: %[[Y:.*]] = moe.experts %[[X]] route(%[[IDS:[a-z0-9]+]], %[[W:[a-z0-9]+]] : tensor<?x3xi32>, tensor<?x3xf32>)
// CHECK-SAME: logical = 3
// CHECK: %[[C:.*]] = moe.trivial_experts %[[X]] route(%[[IDS]], %[[W]]
// CHECK-SAME: first = 2 : i64, kinds = [#moe.kind<copy>]
// CHECK: %[[ALL:.*]] = onnx.Add(%[[Y]], %[[C]])
// CHECK: %[[R:.*]] = onnx.Add(%[[ALL]],
// CHECK: return %[[R]]
func.func @masked_sum(%x: tensor<?x4xf32> {onnx.dims = ["n", ""]}, %g: tensor<?x3xf32> {onnx.dims = ["n", ""]}, %shared: tensor<?x4xf32> {onnx.dims = ["n", ""]}) -> tensor<?x4xf32> {
  %u0 = onnx.Constant() {value = dense<5.0> : tensor<4x6xf32>} : () -> tensor<4x6xf32>
  %d0 = onnx.Constant() {value = dense<2.0> : tensor<6x4xf32>} : () -> tensor<6x4xf32>
  %u1 = onnx.Constant() {value = dense<7.0> : tensor<4x6xf32>} : () -> tensor<4x6xf32>
  %d1 = onnx.Constant() {value = dense<9.0> : tensor<6x4xf32>} : () -> tensor<6x4xf32>
  %g0, %g1, %g2 = onnx.Split(%g) {axis = -1 : i64, num_outputs = 3 : i64} : (tensor<?x3xf32>) -> (tensor<?x1xf32>, tensor<?x1xf32>, tensor<?x1xf32>)
  %h0 = onnx.MatMul(%x, %u0) : (tensor<?x4xf32>, tensor<4x6xf32>) -> tensor<?x6xf32>
  %a0 = onnx.Relu(%h0) : (tensor<?x6xf32>) -> tensor<?x6xf32>
  %f0 = onnx.MatMul(%a0, %d0) : (tensor<?x6xf32>, tensor<6x4xf32>) -> tensor<?x4xf32>
  %h1 = onnx.MatMul(%x, %u1) : (tensor<?x4xf32>, tensor<4x6xf32>) -> tensor<?x6xf32>
  %a1 = onnx.Relu(%h1) : (tensor<?x6xf32>) -> tensor<?x6xf32>
  %f1 = onnx.MatMul(%a1, %d1) : (tensor<?x6xf32>, tensor<6x4xf32>) -> tensor<?x4xf32>
  %t0 = onnx.Mul(%f0, %g0) : (tensor<?x4xf32>, tensor<?x1xf32>) -> tensor<?x4xf32>
  %t1 = onnx.Mul(%g1, %f1) : (tensor<?x1xf32>, tensor<?x4xf32>) -> tensor<?x4xf32>
  %t2 = onnx.Mul(%x, %g2) : (tensor<?x4xf32>, tensor<?x1xf32>) -> tensor<?x4xf32>
  %s0 = onnx.Add(%t1, %t0) : (tensor<?x4xf32>, tensor<?x4xf32>) -> tensor<?x4xf32>
  %s1 = onnx.Add(%shared, %s0) : (tensor<?x4xf32>, tensor<?x4xf32>) -> tensor<?x4xf32>
  %y = onnx.Add(%s1, %t2) : (tensor<?x4xf32>, tensor<?x4xf32>) -> tensor<?x4xf32>
  return %y : tensor<?x4xf32>
}

// -----

// Results of all experts, of which ids pick.
// CHECK-LABEL: @stack(
// CHECK-SAME: %[[X:[a-z0-9]+]]: tensor<?x4xf32>{{.*}}, %[[W:[a-z0-9]+]]: tensor<?x1xf32>
// CHECK: onnx.ArgMax
// CHECK: moe.experts %[[X]] route({{.*}}, %[[W]] : tensor<?x1xi32>, tensor<?x1xf32>)
// CHECK-NOT: onnx.Concat
// CHECK: return
func.func @stack(%x: tensor<?x4xf32> {onnx.dims = ["n", ""]}, %w: tensor<?x1xf32> {onnx.dims = ["n", ""]}, %p: tensor<?x2xf32> {onnx.dims = ["n", ""]}) -> tensor<?x4xf32> {
  %u0 = onnx.Constant() {value = dense<5.0> : tensor<4x6xf32>} : () -> tensor<4x6xf32>
  %d0 = onnx.Constant() {value = dense<2.0> : tensor<6x4xf32>} : () -> tensor<6x4xf32>
  %u1 = onnx.Constant() {value = dense<7.0> : tensor<4x6xf32>} : () -> tensor<4x6xf32>
  %d1 = onnx.Constant() {value = dense<9.0> : tensor<6x4xf32>} : () -> tensor<6x4xf32>
  %one = onnx.Constant() {value = dense<1> : tensor<1xi64>} : () -> tensor<1xi64>
  %last = onnx.Constant() {value = dense<-1> : tensor<1xi64>} : () -> tensor<1xi64>
  %wide = onnx.Constant() {value = dense<[1, 1, 4]> : tensor<3xi64>} : () -> tensor<3xi64>
  %h0 = onnx.MatMul(%x, %u0) : (tensor<?x4xf32>, tensor<4x6xf32>) -> tensor<?x6xf32>
  %a0 = onnx.Relu(%h0) : (tensor<?x6xf32>) -> tensor<?x6xf32>
  %f0 = onnx.MatMul(%a0, %d0) : (tensor<?x6xf32>, tensor<6x4xf32>) -> tensor<?x4xf32>
  %h1 = onnx.MatMul(%x, %u1) : (tensor<?x4xf32>, tensor<4x6xf32>) -> tensor<?x6xf32>
  %a1 = onnx.Relu(%h1) : (tensor<?x6xf32>) -> tensor<?x6xf32>
  %f1 = onnx.MatMul(%a1, %d1) : (tensor<?x6xf32>, tensor<6x4xf32>) -> tensor<?x4xf32>
  %r0 = onnx.Unsqueeze(%f0, %one) : (tensor<?x4xf32>, tensor<1xi64>) -> tensor<?x1x4xf32>
  %r1 = onnx.Unsqueeze(%f1, %one) : (tensor<?x4xf32>, tensor<1xi64>) -> tensor<?x1x4xf32>
  %all = onnx.Concat(%r0, %r1) {axis = 1 : i64} : (tensor<?x1x4xf32>, tensor<?x1x4xf32>) -> tensor<?x2x4xf32>
  %id = onnx.ArgMax(%p) {axis = 1 : i64, keepdims = 1 : i64} : (tensor<?x2xf32>) -> tensor<?x1xi64>
  %column = onnx.Unsqueeze(%id, %last) : (tensor<?x1xi64>, tensor<1xi64>) -> tensor<?x1x1xi64>
  %index = onnx.Expand(%column, %wide) : (tensor<?x1x1xi64>, tensor<3xi64>) -> tensor<?x1x4xi64>
  %picked = onnx.GatherElements(%all, %index) {axis = 1 : i64} : (tensor<?x2x4xf32>, tensor<?x1x4xi64>) -> tensor<?x1x4xf32>
  %o = onnx.Squeeze(%picked, %one) : (tensor<?x1x4xf32>, tensor<1xi64>) -> tensor<?x4xf32>
  %y = onnx.Mul(%o, %w) : (tensor<?x4xf32>, tensor<?x1xf32>) -> tensor<?x4xf32>
  return %y : tensor<?x4xf32>
}
