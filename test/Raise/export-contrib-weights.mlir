// RUN: moe-opt %s --moe-export-contrib=log-weights=true --split-input-file | FileCheck %s
// RUN: moe-opt %s --moe-export-contrib="log-weights=true interleave=true" --split-input-file | FileCheck %s --check-prefix=TURN

// The outcome of the routing: log(w) where an expert is selected, and the sum
// of the weights behind the operator, which divides by it.
// CHECK-LABEL: func.func @sigmoid
// TURN-LABEL: func.func @sigmoid
func.func @sigmoid(%x: tensor<?x32xf32>, %l: tensor<?x4xf32>, %w1: tensor<4x64x32xf32>, %w2: tensor<4x32x64xf32>) -> tensor<?x32xf32> {
  // CHECK: %[[IDS:.*]], %[[W:.*]] = moe.route
  // CHECK: %[[EACH:.*]] = onnx.Constant() {value = dense<[0, 1, 2, 3]> : tensor<4xi32>}
  // CHECK: %[[IS:.*]] = onnx.Equal(%{{.*}}, %[[EACH]])
  // CHECK: %[[PLACED:.*]] = onnx.Where(%[[IS]],
  // CHECK: %[[DENSE:.*]] = onnx.ReduceSum(%[[PLACED]], %{{.*}}) {keepdims = 0 : i64
  // CHECK: %[[SELECTED:.*]] = onnx.Greater(%[[DENSE]],
  // CHECK: %[[LOG:.*]] = onnx.Log(%[[DENSE]])
  // CHECK: %[[TOTAL:.*]] = onnx.ReduceSum(%[[W]], %{{.*}}) {keepdims = 1 : i64
  // CHECK: %[[LOGITS:.*]] = onnx.Where(%[[SELECTED]], %[[LOG]], %{{.*}}) {{.*}} -> tensor<?x4xf32>
  // CHECK: %[[Y:.*]] = onnx_ms.MoE(%arg0, %[[LOGITS]], %arg2, _, %arg3) {{.*}}normalize_routing_weights = 0 : i64{{.*}} -> tensor<?x32xf32>
  // CHECK: %[[OUT:.*]] = onnx.Mul(%[[Y]], %[[TOTAL]])
  // CHECK: return %[[OUT]]
  %ids, %w = moe.route %l {routing = #moe.routing<k = 2, score = sigmoid, norm = sum, scale = 2.5>} : tensor<?x4xf32> -> tensor<?x2xi32>, tensor<?x2xf32>
  %y = moe.experts %x route(%ids, %w : tensor<?x2xi32>, tensor<?x2xf32>) gate(%w1 : tensor<4x64x32xf32>) down(%w2 : tensor<4x32x64xf32>) : tensor<?x32xf32> -> tensor<?x32xf32> {
  ^bb0(%h: tensor<f32>):
    %a = onnx.Relu(%h) : (tensor<f32>) -> tensor<f32>
    moe.yield %a : tensor<f32>
  }
  return %y : tensor<?x32xf32>
}

// -----

// CHECK-LABEL: func.func @codes
func.func @codes(%x: tensor<?x32xf32>, %l: tensor<?x4xf32>, %q1: tensor<4x64x16xui8>, %s1: tensor<4x64x2xf32>, %z1: tensor<4x64x1xui8>, %q2: tensor<4x32x64xui8>, %s2: tensor<4x32x4xf32>) -> tensor<?x32xf32> {
  // CHECK: %[[DENSE:.*]] = onnx.ReduceSum(
  // CHECK: %[[SELECTED:.*]] = onnx.Greater(%[[DENSE]],
  // CHECK: %[[LOGITS:.*]] = onnx.Where(%[[SELECTED]],
  // CHECK: %[[Y:.*]] = onnx_ms.QMoE(%arg0, %[[LOGITS]], %arg2, %arg3, _, %arg5, %arg6, _, _, _, _, %arg4, _, _, %[[DENSE]]) {{.*}}normalize_routing_weights = 0 : i64
  // CHECK: return %[[Y]]
  %w1 = moe.dequantize %q1, %s1 zero_points(%z1 : tensor<4x64x1xui8>) {bits = 4 : i64, block = 16 : i64} : tensor<4x64x16xui8>, tensor<4x64x2xf32> -> tensor<4x64x32xf32>
  %w2 = moe.dequantize %q2, %s2 {bits = 8 : i64, block = 16 : i64} : tensor<4x32x64xui8>, tensor<4x32x4xf32> -> tensor<4x32x64xf32>
  %ids, %w = moe.route %l {routing = #moe.routing<k = 2, score = sigmoid, norm = sum, scale = 2.5>} : tensor<?x4xf32> -> tensor<?x2xi32>, tensor<?x2xf32>
  %y = moe.experts %x route(%ids, %w : tensor<?x2xi32>, tensor<?x2xf32>) gate(%w1 : tensor<4x64x32xf32>) down(%w2 : tensor<4x32x64xf32>) : tensor<?x32xf32> -> tensor<?x32xf32> {
  ^bb0(%h: tensor<f32>):
    %a = onnx.Relu(%h) : (tensor<f32>) -> tensor<f32>
    moe.yield %a : tensor<f32>
  }
  return %y : tensor<?x32xf32>
}

// -----

// Weights that may be negative have no logarithm.
// CHECK-LABEL: func.func @identity
func.func @identity(%x: tensor<?x32xf32>, %l: tensor<?x4xf32>, %w1: tensor<4x64x32xf32>, %w2: tensor<4x32x64xf32>) -> tensor<?x32xf32> {
  // CHECK: moe.experts
  %ids, %w = moe.route %l {routing = #moe.routing<k = 2, score = identity>} : tensor<?x4xf32> -> tensor<?x2xi32>, tensor<?x2xf32>
  %y = moe.experts %x route(%ids, %w : tensor<?x2xi32>, tensor<?x2xf32>) gate(%w1 : tensor<4x64x32xf32>) down(%w2 : tensor<4x32x64xf32>) : tensor<?x32xf32> -> tensor<?x32xf32> {
  ^bb0(%h: tensor<f32>):
    %a = onnx.Relu(%h) : (tensor<f32>) -> tensor<f32>
    moe.yield %a : tensor<f32>
  }
  return %y : tensor<?x32xf32>
}

// -----

// CHECK-LABEL: func.func @scaled
func.func @scaled(%x: tensor<?x32xf32>, %l: tensor<?x4xf32>, %w1: tensor<4x64x32xf32>, %w2: tensor<4x32x64xf32>, %s: tensor<4xf32>) -> tensor<?x32xf32> {
  // CHECK: moe.experts
  %ids, %w = moe.route %l expert_scale(%s : tensor<4xf32>) {routing = #moe.routing<k = 2, tie = highest>} : tensor<?x4xf32> -> tensor<?x2xi32>, tensor<?x2xf32>
  %y = moe.experts %x route(%ids, %w : tensor<?x2xi32>, tensor<?x2xf32>) gate(%w1 : tensor<4x64x32xf32>) down(%w2 : tensor<4x32x64xf32>) : tensor<?x32xf32> -> tensor<?x32xf32> {
  ^bb0(%h: tensor<f32>):
    %a = onnx.Relu(%h) : (tensor<f32>) -> tensor<f32>
    moe.yield %a : tensor<f32>
  }
  return %y : tensor<?x32xf32>
}

// -----

// Gates and ups turn to alternating rows for ONNX Runtime's CPU provider.
// TURN-LABEL: func.func @concat
func.func @concat(%x: tensor<?x32xf32>, %l: tensor<?x4xf32>, %w1: tensor<4x128x32xf32>, %w2: tensor<4x32x64xf32>) -> tensor<?x32xf32> {
  // TURN: %[[SPLIT:.*]] = onnx.Reshape(%arg2, %{{.*}}) {{.*}} -> tensor<4x2x64x32xf32>
  // TURN: %[[TURNED:.*]] = onnx.Transpose(%[[SPLIT]]) {{.*}}perm = array<i64: 0, 2, 1, 3>
  // TURN: %[[BANK:.*]] = onnx.Reshape(%[[TURNED]], %{{.*}}) {{.*}} -> tensor<4x128x32xf32>
  // TURN: onnx_ms.MoE(%arg0, %arg1, %[[BANK]], _, %arg3) {{.*}}swiglu_fusion = 1 : i64
  %ids, %w = moe.route %l {routing = #moe.routing<k = 2, tie = highest>} : tensor<?x4xf32> -> tensor<?x2xi32>, tensor<?x2xf32>
  %y = moe.experts %x route(%ids, %w : tensor<?x2xi32>, tensor<?x2xf32>) gate(%w1 : tensor<4x128x32xf32>) down(%w2 : tensor<4x32x64xf32>) {gate_up = #moe.gate_up<concat>} : tensor<?x32xf32> -> tensor<?x32xf32> {
  ^bb0(%g: tensor<f32>, %u: tensor<f32>):
    %s = onnx.Sigmoid(%g) : (tensor<f32>) -> tensor<f32>
    %a = onnx.Mul(%g, %s) : (tensor<f32>, tensor<f32>) -> tensor<f32>
    %b = onnx.Mul(%a, %u) : (tensor<f32>, tensor<f32>) -> tensor<f32>
    moe.yield %b : tensor<f32>
  }
  return %y : tensor<?x32xf32>
}

// -----

// TURN-LABEL: func.func @separate
func.func @separate(%x: tensor<?x32xf32>, %l: tensor<?x4xf32>, %w1: tensor<4x64x32xf32>, %w2: tensor<4x32x64xf32>, %w3: tensor<4x64x32xf32>, %ub: tensor<4x64xf32>) -> tensor<?x32xf32> {
  // TURN: onnx.Concat({{.*}}) {axis = 2 : i64{{.*}} -> tensor<4x64x2x32xf32>
  // TURN: %[[BANK:.*]] = onnx.Reshape({{.*}} -> tensor<4x128x32xf32>
  // TURN: onnx.Concat({{.*}}) {axis = 2 : i64{{.*}} -> tensor<4x64x2xf32>
  // TURN: %[[BIAS:.*]] = onnx.Reshape({{.*}} -> tensor<4x128xf32>
  // TURN: onnx_ms.MoE(%arg0, %arg1, %[[BANK]], %[[BIAS]], %arg3) {{.*}}swiglu_fusion = 1 : i64
  %ids, %w = moe.route %l {routing = #moe.routing<k = 2, tie = highest>} : tensor<?x4xf32> -> tensor<?x2xi32>, tensor<?x2xf32>
  %y = moe.experts %x route(%ids, %w : tensor<?x2xi32>, tensor<?x2xf32>) gate(%w1 : tensor<4x64x32xf32>) up(%w3 : tensor<4x64x32xf32>) down(%w2 : tensor<4x32x64xf32>) up_bias(%ub : tensor<4x64xf32>) {gate_up = #moe.gate_up<separate>} : tensor<?x32xf32> -> tensor<?x32xf32> {
  ^bb0(%g: tensor<f32>, %u: tensor<f32>):
    %s = onnx.Sigmoid(%g) : (tensor<f32>) -> tensor<f32>
    %a = onnx.Mul(%g, %s) : (tensor<f32>, tensor<f32>) -> tensor<f32>
    %b = onnx.Mul(%a, %u) : (tensor<f32>, tensor<f32>) -> tensor<f32>
    moe.yield %b : tensor<f32>
  }
  return %y : tensor<?x32xf32>
}
