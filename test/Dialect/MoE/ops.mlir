// RUN: moe-opt %s --split-input-file --verify-roundtrip | FileCheck %s
// RUN: moe-opt %s --split-input-file --mlir-print-op-generic | moe-opt --split-input-file | FileCheck %s

// Every field of a routing prints by keyword, reals as the shortest decimal that
// reads back as the same bits.
// CHECK-LABEL: module attributes {t.all =
// CHECK-SAME: #moe.routing<k = 2, ranks = [0, 2], score = sigmoid, score_on = selected, select = logit,
// CHECK-SAME: groups = <n = 8, keep = 4, reduce = top2sum, fill = zero>, norm = sum_clamp, eps = 1.0e-12,
// CHECK-SAME: scale = 2.5, k_div = true, softcap = 30.0, logit_mult = 0.1, logit_std = 0.3333333333333333,
// CHECK-SAME: min_ratio = 0.25, top_p = 0.9, min_prob = 1.0e-300, null_before_norm = [7, 3], tie = highest>
module attributes {t.all = #moe.routing<
    tie = highest, k = 2, ranks = [0, 2], score = sigmoid, score_on = selected, select = logit,
    groups = #moe.groups<keep = 4, n = 8, fill = zero, reduce = top2sum>, norm = sum_clamp, eps = 1.0e-12,
    scale = 2.5, k_div = true, softcap = 30.0, logit_mult = 0.1, logit_std = 0.3333333333333333,
    min_ratio = 2.5e-1, top_p = 0.9, min_prob = 1.0e-300, null_before_norm = [7, 3]>} {
}

// -----

// Fields that say nothing vanish, so equal routings are one attribute.
// CHECK-LABEL: module attributes {t.defaults = #moe.routing<k = 3>,
// CHECK-SAME: t.lp = #moe.routing<k = 3, norm = lp, p = 2.0>,
// CHECK-SAME: t.mixer = #moe.routing<k = 2, score = sparsemixer, jitter = 0.01>,
// CHECK-SAME: t.negative = #moe.routing<k = 1, logit_mult = -1.5e+40>,
// CHECK-SAME: t.softplus = #moe.routing<k = 1, score = sqrtsoftplus, norm = sum>}
module attributes {
  t.defaults = #moe.routing<k = 3, ranks = [], score = softmax, score_on = all, select = score, norm = none, eps = 0.0,
                            p = 1.0, scale = 1.0, k_div = false, softcap = 0.0, logit_mult = 1.0, logit_std = 0.0,
                            jitter = 0.0, min_ratio = 0.0, top_p = 1.0, min_prob = 0.0, null_before_norm = [],
                            tie = lowest>,
  t.lp = #moe.routing<k = 3, norm = lp, p = 2.0>,
  t.mixer = #moe.routing<k = 2, score = sparsemixer, jitter = 0.01>,
  t.negative = #moe.routing<k = 1, logit_mult = -1.5e+40>,
  t.softplus = #moe.routing<k = 1, score = sqrtsoftplus, norm = sum>} {
}

// -----

// CHECK-LABEL: func.func @route_operands
func.func @route_operands(%l: tensor<?x8xf64>, %b: tensor<8xf32>, %s: tensor<8xf16>, %m: tensor<?x8xf64>,
                          %v: tensor<?xi1>) -> tensor<?x2xf64> {
  // CHECK: moe.route %{{.*}} select_bias(%{{.*}} : tensor<8xf32>) expert_scale(%{{.*}} : tensor<8xf16>) mix(%{{.*}} : tensor<?x8xf64>) valid(%{{.*}} : tensor<?xi1>) {routing = #moe.routing<k = 2>} : tensor<?x8xf64> -> tensor<?x2xi32>, tensor<?x2xf64>
  %ids, %w = moe.route %l select_bias(%b : tensor<8xf32>) expert_scale(%s : tensor<8xf16>) mix(%m : tensor<?x8xf64>)
      valid(%v : tensor<?xi1>) {routing = #moe.routing<k = 2>} : tensor<?x8xf64> -> tensor<?x2xi32>, tensor<?x2xf64>
  return %w : tensor<?x2xf64>
}

// -----

// CHECK-LABEL: func.func @hash_layer
func.func @hash_layer(%l: tensor<?x8xf32>, %f: tensor<?x2xi32>) -> tensor<?x2xf32> {
  // CHECK: moe.route %{{.*}} forced(%{{.*}} : tensor<?x2xi32>) {routing = #moe.routing<k = 2, score = sqrtsoftplus, norm = sum>}
  %ids, %w = moe.route %l forced(%f : tensor<?x2xi32>) {routing = #moe.routing<k = 2, score = sqrtsoftplus, norm = sum>}
      : tensor<?x8xf32> -> tensor<?x2xi32>, tensor<?x2xf32>
  return %w : tensor<?x2xf32>
}

// -----

// Banks of inputs by outputs, gate and up apart, all biases, an id for experts
// that the bank does not hold.
// CHECK-LABEL: func.func @separate
func.func @separate(%x: tensor<?x64xf16>, %ids: tensor<?x2xi32>, %w: tensor<?x2xf32>, %gate: tensor<8x64x128xf16>,
                    %up: tensor<8x64x128xf16>, %down: tensor<8x128x32xf32>, %gb: tensor<8x128xf16>,
                    %ub: tensor<8x128xf16>, %db: tensor<8x32xf16>) -> tensor<?x32xf16> {
  // CHECK: moe.experts %{{.*}} route(%{{.*}}, %{{.*}} : tensor<?x2xi32>, tensor<?x2xf32>) gate(%{{.*}} : tensor<8x64x128xf16>) up(%{{.*}} : tensor<8x64x128xf16>) down(%{{.*}} : tensor<8x128x32xf32>) gate_bias(%{{.*}} : tensor<8x128xf16>) up_bias(%{{.*}} : tensor<8x128xf16>) down_bias(%{{.*}} : tensor<8x32xf16>) {gate_up = #moe.gate_up<separate>, in_scale = 5.000000e-01 : f64, layout = #moe.layout<io>, logical = 12 : i64, scale_at = #moe.scale_at<input>} : tensor<?x64xf16> -> tensor<?x32xf16> {
  // CHECK-NEXT: ^bb0(%{{.*}}: tensor<f32>, %{{.*}}: tensor<f32>):
  %y = moe.experts %x route(%ids, %w : tensor<?x2xi32>, tensor<?x2xf32>) gate(%gate : tensor<8x64x128xf16>)
      up(%up : tensor<8x64x128xf16>) down(%down : tensor<8x128x32xf32>) gate_bias(%gb : tensor<8x128xf16>)
      up_bias(%ub : tensor<8x128xf16>) down_bias(%db : tensor<8x32xf16>)
      {gate_up = #moe.gate_up<separate>, layout = #moe.layout<io>, scale_at = #moe.scale_at<input>, in_scale = 0.5 : f64,
       logical = 12 : i64} : tensor<?x64xf16> -> tensor<?x32xf16> {
  ^bb0(%g: tensor<f32>, %u: tensor<f32>):
    %h = onnx.Mul(%g, %u) : (tensor<f32>, tensor<f32>) -> tensor<f32>
    moe.yield %h : tensor<f32>
  }
  return %y : tensor<?x32xf16>
}

// -----

// A feed-forward layer that all tokens go through; branches by comparison.
// CHECK-LABEL: func.func @dense
func.func @dense(%x: tensor<?x64xf32>, %up: tensor<1x128x64xf32>, %down: tensor<1x64x128xf32>) -> tensor<?x64xf32> {
  // CHECK: moe.experts %{{.*}} gate(%{{.*}} : tensor<1x128x64xf32>) down(%{{.*}} : tensor<1x64x128xf32>) : tensor<?x64xf32> -> tensor<?x64xf32> {
  %y = moe.experts %x gate(%up : tensor<1x128x64xf32>) down(%down : tensor<1x64x128xf32>)
      : tensor<?x64xf32> -> tensor<?x64xf32> {
  ^bb0(%h: tensor<f32>):
    %zero = onnx.Constant() {value = dense<0.0> : tensor<f32>} : () -> tensor<f32>
    %c = onnx.Less(%h, %zero) : (tensor<f32>, tensor<f32>) -> tensor<i1>
    %r = onnx.Where(%c, %zero, %h) : (tensor<i1>, tensor<f32>, tensor<f32>) -> tensor<f32>
    moe.yield %r : tensor<f32>
  }
  return %y : tensor<?x64xf32>
}

// -----

// CHECK-LABEL: func.func @rest
func.func @rest(%x: tensor<?x64xf32>, %ids: tensor<?x2xi32>, %w: tensor<?x2xf32>, %c: tensor<1x64xf32>,
                %m: tensor<1x2x64xf32>, %q: tensor<4x32x16xui8>, %s: tensor<4x32xf16>, %z: tensor<4x8xui8>,
                %rows: tensor<?x3xi64>, %pool: tensor<10x5x64xf32>, %l: tensor<?x4xf32>)
    -> (tensor<?x64xf32>, tensor<4x32x64xf16>, tensor<?x3x5x64xf32>, tensor<4x8xi32>) {
  // CHECK: moe.trivial_experts %{{.*}} route(%{{.*}}) constants(%{{.*}} : tensor<1x64xf32>) mixers(%{{.*}} : tensor<1x2x64xf32>) {first = 8 : i64, in_scale = 2.000000e+00 : f64, kinds = [#moe.kind<zero>, #moe.kind<constant>]} : tensor<?x64xf32>
  %y = moe.trivial_experts %x route(%ids, %w : tensor<?x2xi32>, tensor<?x2xf32>) constants(%c : tensor<1x64xf32>)
      mixers(%m : tensor<1x2x64xf32>) {first = 8, kinds = [#moe.kind<zero>, #moe.kind<constant>], in_scale = 2.0 : f64}
      : tensor<?x64xf32>
  // CHECK: moe.dequantize %{{.*}}, %{{.*}} zero_points(%{{.*}} : tensor<4x8xui8>) {bits = 2 : i64} : tensor<4x32x16xui8>, tensor<4x32xf16> -> tensor<4x32x64xf16>
  %d = moe.dequantize %q, %s zero_points(%z : tensor<4x8xui8>) {bits = 2}
      : tensor<4x32x16xui8>, tensor<4x32xf16> -> tensor<4x32x64xf16>
  // CHECK: moe.mix %{{.*}}, %{{.*}} : tensor<?x3xi64>, tensor<10x5x64xf32> -> tensor<?x3x5x64xf32>
  %p = moe.mix %rows, %pool : tensor<?x3xi64>, tensor<10x5x64xf32> -> tensor<?x3x5x64xf32>
  // CHECK: moe.route_balanced %{{.*}} {capacity = 8 : i64, gamma = 5.000000e-01 : f64, iterations = 100 : i64, method = #moe.method<sparse_ot>}
  %t, %tw = moe.route_balanced %l {method = #moe.method<sparse_ot>, capacity = 8, gamma = 0.5 : f64, iterations = 100}
      : tensor<?x4xf32> -> tensor<4x8xi32>, tensor<4x8xf32>
  return %y, %d, %p, %t : tensor<?x64xf32>, tensor<4x32x64xf16>, tensor<?x3x5x64xf32>, tensor<4x8xi32>
}

// -----

// CHECK-LABEL: func.func @switch_results
func.func @switch_results(%i: tensor<i32>, %x: tensor<?x4xf32>) -> (tensor<?x4xf32>, tensor<?x4xf32>) {
  // CHECK: moe.switch %{{.*}} : tensor<i32> -> tensor<?x4xf32>, tensor<?x4xf32> {
  %a, %b = moe.switch %i : tensor<i32> -> tensor<?x4xf32>, tensor<?x4xf32> {
    moe.yield %x, %x : tensor<?x4xf32>, tensor<?x4xf32>
  }
  return %a, %b : tensor<?x4xf32>, tensor<?x4xf32>
}
