// RUN: moe-opt %s --canonicalize --split-input-file | FileCheck %s

//===----------------------------------------------------------------------===//
// Softmax of all, then the sum of the selected
//===----------------------------------------------------------------------===//

// Mixtral's router needs k exponentials only.
// CHECK-LABEL: func.func @softmax_sum
func.func @softmax_sum(%l: tensor<?x8xf32>, %s: tensor<8xf32>, %v: tensor<?xi1>) -> (tensor<?x2xf32>, tensor<?x2xf32>) {
  // CHECK: routing = #moe.routing<k = 2, score_on = selected>}
  %a, %aw = moe.route %l {routing = #moe.routing<k = 2, norm = sum>} : tensor<?x8xf32> -> tensor<?x2xi32>, tensor<?x2xf32>
  // What comes after the norm stays.
  // CHECK: expert_scale(%{{.*}}) valid(%{{.*}}) {routing = #moe.routing<k = 2, score_on = selected, scale = 2.5, softcap = 30.0, min_ratio = 0.5, top_p = 0.9, min_prob = 0.1, tie = highest>}
  %b, %bw = moe.route %l expert_scale(%s : tensor<8xf32>) valid(%v : tensor<?xi1>)
      {routing = #moe.routing<k = 2, norm = sum, scale = 2.5, softcap = 30.0, min_ratio = 0.5, top_p = 0.9, min_prob = 0.1, tie = highest>}
      : tensor<?x8xf32> -> tensor<?x2xi32>, tensor<?x2xf32>
  return %aw, %bw : tensor<?x2xf32>, tensor<?x2xf32>
}

// -----

// CHECK-LABEL: func.func @softmax_clamp
func.func @softmax_clamp(%l: tensor<?x8xf32>) -> tensor<?x2xf32> {
  // CHECK: routing = #moe.routing<k = 2, ranks = [0, 2], score_on = selected>}
  %a, %aw = moe.route %l {routing = #moe.routing<k = 2, ranks = [0, 2], norm = sum_clamp>} : tensor<?x8xf32> -> tensor<?x2xi32>, tensor<?x2xf32>
  return %aw : tensor<?x2xf32>
}

// -----

// Weights that become 0 before the sum: the sum stays.
// CHECK-LABEL: func.func @softmax_null
func.func @softmax_null(%l: tensor<?x8xf32>) -> tensor<?x2xf32> {
  // CHECK: routing = #moe.routing<k = 2, score_on = selected, norm = sum, null_before_norm = [7]>}
  %a, %aw = moe.route %l {routing = #moe.routing<k = 2, norm = sum, null_before_norm = [7]>} : tensor<?x8xf32> -> tensor<?x2xi32>, tensor<?x2xf32>
  return %aw : tensor<?x2xf32>
}

// -----

// DBRX: the 1-norm of positive numbers is their sum.
// CHECK-LABEL: func.func @one_norm
func.func @one_norm(%l: tensor<?x8xf32>, %m: tensor<?x8xf32>)
    -> (tensor<?x2xf32>, tensor<?x2xf32>, tensor<?x2xf32>, tensor<?x2xf32>) {
  // CHECK: routing = #moe.routing<k = 2, score_on = selected>}
  %a, %aw = moe.route %l {routing = #moe.routing<k = 2, norm = lp>} : tensor<?x8xf32> -> tensor<?x2xi32>, tensor<?x2xf32>
  // CHECK: routing = #moe.routing<k = 2, norm = lp, p = 2.0>}
  %b, %bw = moe.route %l {routing = #moe.routing<k = 2, norm = lp, p = 2.0>} : tensor<?x8xf32> -> tensor<?x2xi32>, tensor<?x2xf32>
  // Logits and mixing weights may be negative.
  // CHECK: routing = #moe.routing<k = 2, score = identity, norm = lp>}
  %c, %cw = moe.route %l {routing = #moe.routing<k = 2, score = identity, norm = lp>} : tensor<?x8xf32> -> tensor<?x2xi32>, tensor<?x2xf32>
  // CHECK: routing = #moe.routing<k = 2, norm = lp>}
  %d, %dw = moe.route %l mix(%m : tensor<?x8xf32>) {routing = #moe.routing<k = 2, norm = lp>} : tensor<?x8xf32> -> tensor<?x2xi32>, tensor<?x2xf32>
  return %aw, %bw, %cw, %dw : tensor<?x2xf32>, tensor<?x2xf32>, tensor<?x2xf32>, tensor<?x2xf32>
}

// -----

// Selection by logits is the same for both, whatever is added to them.
// CHECK-LABEL: func.func @softmax_by_logit
func.func @softmax_by_logit(%l: tensor<?x8xf32>, %b: tensor<8xf32>) -> tensor<?x2xf32> {
  // CHECK: routing = #moe.routing<k = 2, score_on = selected, groups = <n = 4, keep = 2, reduce = top2sum, fill = zero>>}
  %a, %aw = moe.route %l select_bias(%b : tensor<8xf32>)
      {routing = #moe.routing<k = 2, select = logit, norm = sum, groups = #moe.groups<n = 4, keep = 2, reduce = top2sum, fill = zero>>}
      : tensor<?x8xf32> -> tensor<?x2xi32>, tensor<?x2xf32>
  return %aw : tensor<?x2xf32>
}

// -----

// The best of each group are the same by logits.
// CHECK-LABEL: func.func @softmax_groups
func.func @softmax_groups(%l: tensor<?x8xf32>) -> tensor<?x2xf32> {
  // CHECK: routing = #moe.routing<k = 2, score_on = selected, groups = <n = 4, keep = 2>>}
  %a, %aw = moe.route %l {routing = #moe.routing<k = 2, norm = sum, groups = #moe.groups<n = 4, keep = 2>>}
      : tensor<?x8xf32> -> tensor<?x2xi32>, tensor<?x2xf32>
  return %aw : tensor<?x2xf32>
}

// -----

// What differs by logits, or has no sum to cancel.
// CHECK-LABEL: func.func @softmax_kept
func.func @softmax_kept(%l: tensor<?x8xf32>, %b: tensor<8xf32>, %m: tensor<?x8xf32>, %f: tensor<?x2xi32>) -> (
    tensor<?x2xf32>, tensor<?x2xf32>, tensor<?x2xf32>, tensor<?x2xf32>, tensor<?x2xf32>, tensor<?x2xf32>,
    tensor<?x2xf32>, tensor<?x2xf32>, tensor<?x2xf32>) {
  // A bias on scores.
  // CHECK: select_bias{{.*}}routing = #moe.routing<k = 2, norm = sum>}
  %0, %w0 = moe.route %l select_bias(%b : tensor<8xf32>) {routing = #moe.routing<k = 2, norm = sum>} : tensor<?x8xf32> -> tensor<?x2xi32>, tensor<?x2xf32>
  // Sums of two scores.
  // CHECK: routing = #moe.routing<k = 2, groups = <n = 4, keep = 2, reduce = top2sum>, norm = sum>}
  %1, %w1 = moe.route %l {routing = #moe.routing<k = 2, norm = sum, groups = #moe.groups<n = 4, keep = 2, reduce = top2sum>>} : tensor<?x8xf32> -> tensor<?x2xi32>, tensor<?x2xf32>
  // A fill of 0 is below all scores, but not below all logits.
  // CHECK: routing = #moe.routing<k = 2, groups = <n = 4, keep = 2, fill = zero>, norm = sum>}
  %2, %w2 = moe.route %l {routing = #moe.routing<k = 2, norm = sum, groups = #moe.groups<n = 4, keep = 2, fill = zero>>} : tensor<?x8xf32> -> tensor<?x2xi32>, tensor<?x2xf32>
  // An eps.
  // CHECK: routing = #moe.routing<k = 2, norm = sum, eps = 1.0e-20>}
  %3, %w3 = moe.route %l {routing = #moe.routing<k = 2, norm = sum, eps = 1.0e-20>} : tensor<?x8xf32> -> tensor<?x2xi32>, tensor<?x2xf32>
  // Weights from elsewhere.
  // CHECK: mix{{.*}}routing = #moe.routing<k = 2, norm = sum>}
  %4, %w4 = moe.route %l mix(%m : tensor<?x8xf32>) {routing = #moe.routing<k = 2, norm = sum>} : tensor<?x8xf32> -> tensor<?x2xi32>, tensor<?x2xf32>
  // Empty slots.
  // CHECK: forced{{.*}}routing = #moe.routing<k = 2, norm = sum>}
  %5, %w5 = moe.route %l forced(%f : tensor<?x2xi32>) {routing = #moe.routing<k = 2, norm = sum>} : tensor<?x8xf32> -> tensor<?x2xi32>, tensor<?x2xf32>
  // Without the best one all weights may be 0.
  // CHECK: routing = #moe.routing<k = 2, ranks = [1, 2], norm = sum>}
  %6, %w6 = moe.route %l {routing = #moe.routing<k = 2, ranks = [1, 2], norm = sum>} : tensor<?x8xf32> -> tensor<?x2xi32>, tensor<?x2xf32>
  // No sum, another score.
  // CHECK: routing = #moe.routing<k = 2>}
  %7, %w7 = moe.route %l {routing = #moe.routing<k = 2>} : tensor<?x8xf32> -> tensor<?x2xi32>, tensor<?x2xf32>
  // CHECK: routing = #moe.routing<k = 2, score = sigmoid, norm = sum>}
  %8, %w8 = moe.route %l {routing = #moe.routing<k = 2, score = sigmoid, norm = sum>} : tensor<?x8xf32> -> tensor<?x2xi32>, tensor<?x2xf32>
  return %w0, %w1, %w2, %w3, %w4, %w5, %w6, %w7, %w8 : tensor<?x2xf32>, tensor<?x2xf32>, tensor<?x2xf32>,
      tensor<?x2xf32>, tensor<?x2xf32>, tensor<?x2xf32>, tensor<?x2xf32>, tensor<?x2xf32>, tensor<?x2xf32>
}

// -----

//===----------------------------------------------------------------------===//
// Groups, bias and scales that change nothing
//===----------------------------------------------------------------------===//

// CHECK-LABEL: func.func @all_groups
func.func @all_groups(%l: tensor<?x8xf32>, %b: tensor<8xf32>) -> (tensor<?x2xf32>, tensor<?x2xf32>) {
  // CHECK: routing = #moe.routing<k = 2, score = sigmoid>}
  %0, %w0 = moe.route %l select_bias(%b : tensor<8xf32>)
      {routing = #moe.routing<k = 2, score = sigmoid, groups = #moe.groups<n = 4, keep = 4, reduce = top2sum, fill = zero>>}
      : tensor<?x8xf32> -> tensor<?x2xi32>, tensor<?x2xf32>
  // CHECK: routing = #moe.routing<k = 2, score = sigmoid, groups = <n = 4, keep = 3>>}
  %1, %w1 = moe.route %l {routing = #moe.routing<k = 2, score = sigmoid, groups = #moe.groups<n = 4, keep = 3>>}
      : tensor<?x8xf32> -> tensor<?x2xi32>, tensor<?x2xf32>
  return %w0, %w1 : tensor<?x2xf32>, tensor<?x2xf32>
}

// -----

// CHECK-LABEL: func.func @neutral_operands
func.func @neutral_operands(%l: tensor<?x2xf32>) -> (tensor<?x1xf32>, tensor<?x1xf32>) {
  %zero = onnx.Initializer "zero" = dense<0.0> : tensor<2xf32>
  %one = onnx.Initializer "one" = dense<1.0> : tensor<2xbf16>
  %half = onnx.Initializer "half" = dense<0.5> : tensor<2xf32>
  // CHECK: moe.route %{{[a-z0-9]+}} {routing = #moe.routing<k = 1, score = sigmoid>}
  %0, %w0 = moe.route %l select_bias(%zero : tensor<2xf32>) expert_scale(%one : tensor<2xbf16>)
      {routing = #moe.routing<k = 1, score = sigmoid>} : tensor<?x2xf32> -> tensor<?x1xi32>, tensor<?x1xf32>
  // A bias that is the same for all experts may still round differences away.
  // CHECK: moe.route %{{[a-z0-9]+}} select_bias(%half : tensor<2xf32>) expert_scale(%half : tensor<2xf32>)
  %1, %w1 = moe.route %l select_bias(%half : tensor<2xf32>) expert_scale(%half : tensor<2xf32>)
      {routing = #moe.routing<k = 1, score = sigmoid>} : tensor<?x2xf32> -> tensor<?x1xi32>, tensor<?x1xf32>
  return %w0, %w1 : tensor<?x1xf32>, tensor<?x1xf32>
}

// -----

// Logits are what is selected by if scores come after selection; thresholds that
// drop nothing vanish with the text.
// CHECK-LABEL: func.func @selected
func.func @selected(%l: tensor<?x8xf32>) -> tensor<?x2xf32> {
  // CHECK: routing = #moe.routing<k = 2, score_on = selected>}
  %0, %w0 = moe.route %l {routing = #moe.routing<k = 2, score_on = selected, select = logit, min_ratio = 0.0, top_p = 1.0, min_prob = 0.0>}
      : tensor<?x8xf32> -> tensor<?x2xi32>, tensor<?x2xf32>
  return %w0 : tensor<?x2xf32>
}

// -----

//===----------------------------------------------------------------------===//
// One expert
//===----------------------------------------------------------------------===//

// The softmax of one logit is 1: no router.
// CHECK-LABEL: func.func @one_expert
// CHECK-NOT: moe.route
func.func @one_expert(%x: tensor<?x64xf32>, %l: tensor<?x1xf32>, %gate: tensor<1x128x64xf32>, %down: tensor<1x64x128xf32>)
    -> tensor<?x64xf32> {
  %ids, %w = moe.route %l {routing = #moe.routing<k = 1, norm = sum, eps = 1.0e-20>} : tensor<?x1xf32> -> tensor<?x1xi32>, tensor<?x1xf32>
  // CHECK: moe.experts %{{[a-z0-9]+}} gate(%{{.*}}) down(%{{.*}} : tensor<1x64x128xf32>) : tensor<?x64xf32> -> tensor<?x64xf32> {
  %y = moe.experts %x route(%ids, %w : tensor<?x1xi32>, tensor<?x1xf32>) gate(%gate : tensor<1x128x64xf32>)
      down(%down : tensor<1x64x128xf32>) {scale_at = #moe.scale_at<input>, logical = 1 : i64} : tensor<?x64xf32> -> tensor<?x64xf32> {
  ^bb0(%h: tensor<f32>):
    %0 = onnx.Relu(%h) : (tensor<f32>) -> tensor<f32>
    moe.yield %0 : tensor<f32>
  }
  return %y : tensor<?x64xf32>
}

// -----

// CHECK-LABEL: func.func @constant_slot
func.func @constant_slot(%x: tensor<2x64xf32>, %gate: tensor<1x128x64xf32>, %down: tensor<1x64x128xf32>) -> tensor<2x64xf32> {
  %ids = onnx.Initializer "ids" = dense<0> : tensor<2x1xi32>
  %w = onnx.Initializer "w" = dense<1.0> : tensor<2x1xf32>
  // CHECK: moe.experts %{{[a-z0-9]+}} gate(
  %y = moe.experts %x route(%ids, %w : tensor<2x1xi32>, tensor<2x1xf32>) gate(%gate : tensor<1x128x64xf32>)
      down(%down : tensor<1x64x128xf32>) : tensor<2x64xf32> -> tensor<2x64xf32> {
  ^bb0(%h: tensor<f32>):
    moe.yield %h : tensor<f32>
  }
  return %y : tensor<2x64xf32>
}

// -----

// A weight that is no constant, a token that may be left out, an eps that
// counts, more experts than the bank holds: the router stays.
// CHECK-LABEL: func.func @one_expert_kept
func.func @one_expert_kept(%x: tensor<?x64xf32>, %l: tensor<?x1xf32>, %l2: tensor<?x2xf32>, %v: tensor<?xi1>,
                           %gate: tensor<1x128x64xf32>, %down: tensor<1x64x128xf32>)
    -> (tensor<?x64xf32>, tensor<?x64xf32>, tensor<?x64xf32>, tensor<?x64xf32>, tensor<?x64xf32>) {
  %i0, %w0 = moe.route %l {routing = #moe.routing<k = 1, score = sigmoid>} : tensor<?x1xf32> -> tensor<?x1xi32>, tensor<?x1xf32>
  %i1, %w1 = moe.route %l valid(%v : tensor<?xi1>) {routing = #moe.routing<k = 1>} : tensor<?x1xf32> -> tensor<?x1xi32>, tensor<?x1xf32>
  %i2, %w2 = moe.route %l {routing = #moe.routing<k = 1, norm = sum, eps = 0.1>} : tensor<?x1xf32> -> tensor<?x1xi32>, tensor<?x1xf32>
  %i3, %w3 = moe.route %l {routing = #moe.routing<k = 1, scale = 2.0>} : tensor<?x1xf32> -> tensor<?x1xi32>, tensor<?x1xf32>
  %i4, %w4 = moe.route %l2 {routing = #moe.routing<k = 1>} : tensor<?x2xf32> -> tensor<?x1xi32>, tensor<?x1xf32>
  // CHECK-COUNT-4: moe.experts %{{[a-z0-9]+}} route(
  %y0 = moe.experts %x route(%i0, %w0 : tensor<?x1xi32>, tensor<?x1xf32>) gate(%gate : tensor<1x128x64xf32>)
      down(%down : tensor<1x64x128xf32>) : tensor<?x64xf32> -> tensor<?x64xf32> {
  ^bb0(%h: tensor<f32>):
    moe.yield %h : tensor<f32>
  }
  %y1 = moe.experts %x route(%i1, %w1 : tensor<?x1xi32>, tensor<?x1xf32>) gate(%gate : tensor<1x128x64xf32>)
      down(%down : tensor<1x64x128xf32>) : tensor<?x64xf32> -> tensor<?x64xf32> {
  ^bb0(%h: tensor<f32>):
    moe.yield %h : tensor<f32>
  }
  %y2 = moe.experts %x route(%i2, %w2 : tensor<?x1xi32>, tensor<?x1xf32>) gate(%gate : tensor<1x128x64xf32>)
      down(%down : tensor<1x64x128xf32>) : tensor<?x64xf32> -> tensor<?x64xf32> {
  ^bb0(%h: tensor<f32>):
    moe.yield %h : tensor<f32>
  }
  %y3 = moe.experts %x route(%i3, %w3 : tensor<?x1xi32>, tensor<?x1xf32>) gate(%gate : tensor<1x128x64xf32>)
      down(%down : tensor<1x64x128xf32>) : tensor<?x64xf32> -> tensor<?x64xf32> {
  ^bb0(%h: tensor<f32>):
    moe.yield %h : tensor<f32>
  }
  // CHECK: moe.experts %{{[a-z0-9]+}} route({{.*}}logical = 2
  %y4 = moe.experts %x route(%i4, %w4 : tensor<?x1xi32>, tensor<?x1xf32>) gate(%gate : tensor<1x128x64xf32>)
      down(%down : tensor<1x64x128xf32>) {logical = 2 : i64} : tensor<?x64xf32> -> tensor<?x64xf32> {
  ^bb0(%h: tensor<f32>):
    moe.yield %h : tensor<f32>
  }
  return %y0, %y1, %y2, %y3, %y4 : tensor<?x64xf32>, tensor<?x64xf32>, tensor<?x64xf32>, tensor<?x64xf32>, tensor<?x64xf32>
}

// -----

//===----------------------------------------------------------------------===//
// Experts that give 0
//===----------------------------------------------------------------------===//

// CHECK-LABEL: func.func @zero_kinds
func.func @zero_kinds(%x: tensor<?x64xf32>, %ids: tensor<?x2xi32>, %w: tensor<?x2xf32>) -> (tensor<?x64xf32>, tensor<?x64xf32>) {
  // CHECK: moe.trivial_experts {{.*}}first = 10 : i64, kinds = [#moe.kind<copy>, #moe.kind<zero>, #moe.kind<copy>]}
  %0 = moe.trivial_experts %x route(%ids, %w : tensor<?x2xi32>, tensor<?x2xf32>)
      {first = 8, kinds = [#moe.kind<zero>, #moe.kind<zero>, #moe.kind<copy>, #moe.kind<zero>, #moe.kind<copy>, #moe.kind<zero>]} : tensor<?x64xf32>
  // CHECK: moe.trivial_experts {{.*}}first = 8 : i64, kinds = [#moe.kind<copy>]}
  %1 = moe.trivial_experts %x route(%ids, %w : tensor<?x2xi32>, tensor<?x2xf32>) {first = 8, kinds = [#moe.kind<copy>]} : tensor<?x64xf32>
  return %0, %1 : tensor<?x64xf32>, tensor<?x64xf32>
}

// -----

// Only zeros: an addition of them goes, elsewhere they are a constant.
// CHECK-LABEL: func.func @only_zeros
// CHECK-SAME: (%[[X:.*]]: tensor<4x64xf32>, %{{.*}}: tensor<4x2xi32>, %{{.*}}: tensor<4x2xf32>, %[[O:.*]]: tensor<4x64xf32>, %[[R:.*]]: tensor<1x64xf32>)
func.func @only_zeros(%x: tensor<4x64xf32>, %ids: tensor<4x2xi32>, %w: tensor<4x2xf32>, %o: tensor<4x64xf32>, %row: tensor<1x64xf32>)
    -> (tensor<4x64xf32>, tensor<4x64xf32>) {
  // CHECK-NOT: moe.
  // CHECK: %[[Z:.*]] = onnx.Initializer "" = dense<0.000000e+00> : tensor<4x64xf32>
  %0 = moe.trivial_experts %x route(%ids, %w : tensor<4x2xi32>, tensor<4x2xf32>) {first = 8, kinds = [#moe.kind<zero>]} : tensor<4x64xf32>
  %1 = onnx.Add(%o, %0) : (tensor<4x64xf32>, tensor<4x64xf32>) -> tensor<4x64xf32>
  // A row that is broadcast does not stand for the sum.
  // CHECK: %[[B:.*]] = onnx.Add(%[[Z]], %[[R]])
  %2 = onnx.Add(%0, %row) : (tensor<4x64xf32>, tensor<1x64xf32>) -> tensor<4x64xf32>
  // CHECK: return %[[O]], %[[B]]
  return %1, %2 : tensor<4x64xf32>, tensor<4x64xf32>
}

// -----

// Of unknown extents it has to be known that they are equal.
// CHECK-LABEL: func.func @only_zeros_dynamic
func.func @only_zeros_dynamic(%x: tensor<?x64xf32>, %ids: tensor<?x2xi32>, %w: tensor<?x2xf32>, %o: tensor<?x64xf32>)
    -> (tensor<?x64xf32>, tensor<?x64xf32>) {
  // CHECK: %[[R:.*]] = onnx.Relu
  %r = onnx.Relu(%x) {onnx.dims = [["t", ""]]} : (tensor<?x64xf32>) -> tensor<?x64xf32>
  // CHECK: %[[S:.*]] = onnx.Shape(
  // CHECK: %[[Z:.*]] = onnx.ConstantOfShape(%[[S]]) {onnx.dims = {{\[\[}}"t", ""]], value = dense<0.000000e+00> : tensor<1xf32>}
  %0 = moe.trivial_experts %x route(%ids, %w : tensor<?x2xi32>, tensor<?x2xf32>) {first = 8, kinds = [#moe.kind<zero>], onnx.dims = [["t", ""]]} : tensor<?x64xf32>
  %1 = onnx.Add(%r, %0) : (tensor<?x64xf32>, tensor<?x64xf32>) -> tensor<?x64xf32>
  // CHECK: %[[A:.*]] = onnx.Add(%{{.*}}, %[[Z]])
  %2 = onnx.Add(%o, %0) : (tensor<?x64xf32>, tensor<?x64xf32>) -> tensor<?x64xf32>
  // CHECK: return %[[R]], %[[A]]
  return %1, %2 : tensor<?x64xf32>, tensor<?x64xf32>
}

// -----

//===----------------------------------------------------------------------===//
// Experts that are models
//===----------------------------------------------------------------------===//

// CHECK-LABEL: func.func @constant_index
func.func @constant_index(%x: tensor<?x4xf32>) -> tensor<?x4xf32> {
  %i = onnx.Constant() {value = dense<1> : tensor<i64>} : () -> tensor<i64>
  // CHECK-NOT: moe.switch
  // CHECK: %[[N:.*]] = onnx.Neg
  // CHECK: return %[[N]]
  %y = moe.switch %i : tensor<i64> -> tensor<?x4xf32> {
    %0 = onnx.Relu(%x) : (tensor<?x4xf32>) -> tensor<?x4xf32>
    moe.yield %0 : tensor<?x4xf32>
  }, {
    %1 = onnx.Neg(%x) : (tensor<?x4xf32>) -> tensor<?x4xf32>
    moe.yield %1 : tensor<?x4xf32>
  }
  return %y : tensor<?x4xf32>
}

// -----

// An index that is computed keeps its check, even with one region.
// CHECK-LABEL: func.func @computed_index
func.func @computed_index(%i: tensor<i64>, %x: tensor<?x4xf32>) -> tensor<?x4xf32> {
  // CHECK: moe.switch
  %y = moe.switch %i : tensor<i64> -> tensor<?x4xf32> {
    moe.yield %x : tensor<?x4xf32>
  }
  return %y : tensor<?x4xf32>
}
