// RUN: moe-opt %s --moe-export-contrib --split-input-file | FileCheck %s

// Weights as they are.
// CHECK-LABEL: func.func @plain
func.func @plain(%x: tensor<?x32xf32>, %l: tensor<?x4xf32>, %w1: tensor<4x64x32xf32>, %w2: tensor<4x32x64xf32>) -> tensor<?x32xf32> {
  // CHECK: onnx_ms.MoE(%{{.*}}, %{{.*}}, %{{.*}}, _, %{{.*}}) {activation_type = "relu", k = 2 : i64, normalize_routing_weights = 0 : i64
  // CHECK-NOT: moe.
  %ids, %w = moe.route %l {routing = #moe.routing<k = 2, tie = highest>} : tensor<?x4xf32> -> tensor<?x2xi32>, tensor<?x2xf32>
  %y = moe.experts %x route(%ids, %w : tensor<?x2xi32>, tensor<?x2xf32>) gate(%w1 : tensor<4x64x32xf32>) down(%w2 : tensor<4x32x64xf32>) : tensor<?x32xf32> -> tensor<?x32xf32> {
  ^bb0(%h: tensor<f32>):
    %a = onnx.Relu(%h) : (tensor<f32>) -> tensor<f32>
    moe.yield %a : tensor<f32>
  }
  return %y : tensor<?x32xf32>
}

// -----

// CHECK-LABEL: func.func @routing_0
func.func @routing_0(%x: tensor<?x32xf32>, %l: tensor<?x4xf32>, %w1: tensor<4x64x32xf32>, %w2: tensor<4x32x64xf32>) -> tensor<?x32xf32> {
  // CHECK: onnx_ms.MoE({{.*}}normalize_routing_weights = 1 : i64
  %ids, %w = moe.route %l {routing = #moe.routing<k = 2, norm = sum, tie = highest>} : tensor<?x4xf32> -> tensor<?x2xi32>, tensor<?x2xf32>
  %y = moe.experts %x route(%ids, %w : tensor<?x2xi32>, tensor<?x2xf32>) gate(%w1 : tensor<4x64x32xf32>) down(%w2 : tensor<4x32x64xf32>) : tensor<?x32xf32> -> tensor<?x32xf32> {
  ^bb0(%h: tensor<f32>):
    %a = onnx.Relu(%h) : (tensor<f32>) -> tensor<f32>
    moe.yield %a : tensor<f32>
  }
  return %y : tensor<?x32xf32>
}

// -----

// CHECK-LABEL: func.func @routing_1
func.func @routing_1(%x: tensor<?x32xf32>, %l: tensor<?x4xf32>, %w1: tensor<4x64x32xf32>, %w2: tensor<4x32x64xf32>) -> tensor<?x32xf32> {
  // CHECK: onnx_ms.MoE({{.*}}normalize_routing_weights = 1 : i64
  %ids, %w = moe.route %l {routing = #moe.routing<k = 2, score_on = selected, tie = highest>} : tensor<?x4xf32> -> tensor<?x2xi32>, tensor<?x2xf32>
  %y = moe.experts %x route(%ids, %w : tensor<?x2xi32>, tensor<?x2xf32>) gate(%w1 : tensor<4x64x32xf32>) down(%w2 : tensor<4x32x64xf32>) : tensor<?x32xf32> -> tensor<?x32xf32> {
  ^bb0(%h: tensor<f32>):
    %a = onnx.Relu(%h) : (tensor<f32>) -> tensor<f32>
    moe.yield %a : tensor<f32>
  }
  return %y : tensor<?x32xf32>
}

// -----

// CHECK-LABEL: func.func @routing_2
func.func @routing_2(%x: tensor<?x32xf32>, %l: tensor<?x4xf32>, %w1: tensor<4x64x32xf32>, %w2: tensor<4x32x64xf32>) -> tensor<?x32xf32> {
  // CHECK: onnx_ms.MoE({{.*}}normalize_routing_weights = 1 : i64
  %ids, %w = moe.route %l {routing = #moe.routing<k = 2, score_on = selected, norm = sum, tie = highest>} : tensor<?x4xf32> -> tensor<?x2xi32>, tensor<?x2xf32>
  %y = moe.experts %x route(%ids, %w : tensor<?x2xi32>, tensor<?x2xf32>) gate(%w1 : tensor<4x64x32xf32>) down(%w2 : tensor<4x32x64xf32>) : tensor<?x32xf32> -> tensor<?x32xf32> {
  ^bb0(%h: tensor<f32>):
    %a = onnx.Relu(%h) : (tensor<f32>) -> tensor<f32>
    moe.yield %a : tensor<f32>
  }
  return %y : tensor<?x32xf32>
}

// -----

// CHECK-LABEL: func.func @routing_3
func.func @routing_3(%x: tensor<?x32xf32>, %l: tensor<?x4xf32>, %w1: tensor<4x64x32xf32>, %w2: tensor<4x32x64xf32>) -> tensor<?x32xf32> {
  // CHECK: onnx_ms.MoE({{.*}}normalize_routing_weights = 0 : i64
  %ids, %w = moe.route %l {routing = #moe.routing<k = 2, select = logit, tie = highest>} : tensor<?x4xf32> -> tensor<?x2xi32>, tensor<?x2xf32>
  %y = moe.experts %x route(%ids, %w : tensor<?x2xi32>, tensor<?x2xf32>) gate(%w1 : tensor<4x64x32xf32>) down(%w2 : tensor<4x32x64xf32>) : tensor<?x32xf32> -> tensor<?x32xf32> {
  ^bb0(%h: tensor<f32>):
    %a = onnx.Relu(%h) : (tensor<f32>) -> tensor<f32>
    moe.yield %a : tensor<f32>
  }
  return %y : tensor<?x32xf32>
}

// -----

// CHECK-LABEL: func.func @sparse_mixer
func.func @sparse_mixer(%x: tensor<?x32xf32>, %l: tensor<?x4xf32>, %w1: tensor<4x64x32xf32>, %w2: tensor<4x32x64xf32>) -> tensor<?x32xf32> {
  // CHECK: onnx_ms.MoE({{.*}}normalize_routing_weights = 0 : i64{{.*}}use_sparse_mixer = 1 : i64
  %ids, %w = moe.route %l {routing = #moe.routing<k = 2, score = sparsemixer, jitter = 0.01>} : tensor<?x4xf32> -> tensor<?x2xi32>, tensor<?x2xf32>
  %y = moe.experts %x route(%ids, %w : tensor<?x2xi32>, tensor<?x2xf32>) gate(%w1 : tensor<4x64x32xf32>) down(%w2 : tensor<4x32x64xf32>) : tensor<?x32xf32> -> tensor<?x32xf32> {
  ^bb0(%h: tensor<f32>):
    %a = onnx.Relu(%h) : (tensor<f32>) -> tensor<f32>
    moe.yield %a : tensor<f32>
  }
  return %y : tensor<?x32xf32>
}

// -----

// CHECK-LABEL: func.func @interleaved
func.func @interleaved(%x: tensor<?x32xf32>, %l: tensor<?x4xf32>, %w1: tensor<4x128x32xf32>, %w2: tensor<4x32x64xf32>) -> tensor<?x32xf32> {
  // CHECK: onnx_ms.MoE({{.*}}activation_type = "swiglu"{{.*}}swiglu_fusion = 1 : i64
  %ids, %w = moe.route %l {routing = #moe.routing<k = 2, tie = highest>} : tensor<?x4xf32> -> tensor<?x2xi32>, tensor<?x2xf32>
  %y = moe.experts %x route(%ids, %w : tensor<?x2xi32>, tensor<?x2xf32>) gate(%w1 : tensor<4x128x32xf32>) down(%w2 : tensor<4x32x64xf32>) {gate_up = #moe.gate_up<interleave>} : tensor<?x32xf32> -> tensor<?x32xf32> {
  ^bb0(%g: tensor<f32>, %u: tensor<f32>):
    %s = onnx.Sigmoid(%g) : (tensor<f32>) -> tensor<f32>
    %a = onnx.Mul(%g, %s) : (tensor<f32>, tensor<f32>) -> tensor<f32>
    %b = onnx.Mul(%a, %u) : (tensor<f32>, tensor<f32>) -> tensor<f32>
    moe.yield %b : tensor<f32>
  }
  return %y : tensor<?x32xf32>
}

// -----

// CHECK-LABEL: func.func @concat
func.func @concat(%x: tensor<?x32xf32>, %l: tensor<?x4xf32>, %w1: tensor<4x128x32xf32>, %w2: tensor<4x32x64xf32>) -> tensor<?x32xf32> {
  // CHECK: onnx_ms.MoE({{.*}}activation_type = "swiglu"{{.*}}swiglu_fusion = 2 : i64
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

// CHECK-LABEL: func.func @separate
func.func @separate(%x: tensor<?x32xf32>, %l: tensor<?x4xf32>, %w1: tensor<4x64x32xf32>, %w2: tensor<4x32x64xf32>, %w3: tensor<4x64x32xf32>, %ub: tensor<4x64xf32>) -> tensor<?x32xf32> {
  // CHECK: onnx_ms.MoE(%{{.*}}, %{{.*}}, %{{.*}}, _, %{{.*}}, _, %{{.*}}, %{{.*}}) {activation_alpha = 1.000000e+00 : f32, activation_beta = 0.000000e+00 : f32, activation_type = "swiglu"
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

// -----

// Limits, the order of factors: however they are written.
// CHECK-LABEL: func.func @clipped
func.func @clipped(%x: tensor<?x32xf32>, %l: tensor<?x4xf32>, %w1: tensor<4x128x32xf32>, %w2: tensor<4x32x64xf32>) -> tensor<?x32xf32> {
  // CHECK: onnx_ms.MoE({{.*}}activation_alpha = 1.500000e+00 : f32, activation_beta = 1.000000e+00 : f32, activation_type = "swiglu"{{.*}}swiglu_limit = 7.000000e+00 : f32
  %ids, %w = moe.route %l {routing = #moe.routing<k = 2, tie = highest>} : tensor<?x4xf32> -> tensor<?x2xi32>, tensor<?x2xf32>
  %y = moe.experts %x route(%ids, %w : tensor<?x2xi32>, tensor<?x2xf32>) gate(%w1 : tensor<4x128x32xf32>) down(%w2 : tensor<4x32x64xf32>) {gate_up = #moe.gate_up<interleave>} : tensor<?x32xf32> -> tensor<?x32xf32> {
  ^bb0(%g: tensor<f32>, %u: tensor<f32>):
    %m = onnx.Constant() {value = dense<7.0> : tensor<f32>} : () -> tensor<f32>
    %n = onnx.Constant() {value = dense<-7.0> : tensor<f32>} : () -> tensor<f32>
    %al = onnx.Constant() {value_float = 1.5 : f32} : () -> tensor<f32>
    %one = onnx.Constant() {value = dense<1.0> : tensor<f32>} : () -> tensor<f32>
    %gl = onnx.Clip(%g, _, %m) : (tensor<f32>, tensor<f32>) -> tensor<f32>
    %ul = onnx.Clip(%u, %n, %m) : (tensor<f32>, tensor<f32>, tensor<f32>) -> tensor<f32>
    %ub = onnx.Add(%one, %ul) : (tensor<f32>, tensor<f32>) -> tensor<f32>
    %sg = onnx.Mul(%al, %gl) : (tensor<f32>, tensor<f32>) -> tensor<f32>
    %s = onnx.Sigmoid(%sg) : (tensor<f32>) -> tensor<f32>
    %a = onnx.Mul(%ub, %gl) : (tensor<f32>, tensor<f32>) -> tensor<f32>
    %b = onnx.Mul(%s, %a) : (tensor<f32>, tensor<f32>) -> tensor<f32>
    moe.yield %b : tensor<f32>
  }
  return %y : tensor<?x32xf32>
}

// -----

// CHECK-LABEL: func.func @swish
func.func @swish(%x: tensor<?x32xf32>, %l: tensor<?x4xf32>, %w1: tensor<4x64x32xf32>, %w2: tensor<4x32x64xf32>) -> tensor<?x32xf32> {
  // CHECK: onnx_ms.MoE({{.*}}activation_type = "silu"
  %ids, %w = moe.route %l {routing = #moe.routing<k = 2, tie = highest>} : tensor<?x4xf32> -> tensor<?x2xi32>, tensor<?x2xf32>
  %y = moe.experts %x route(%ids, %w : tensor<?x2xi32>, tensor<?x2xf32>) gate(%w1 : tensor<4x64x32xf32>) down(%w2 : tensor<4x32x64xf32>) : tensor<?x32xf32> -> tensor<?x32xf32> {
  ^bb0(%h: tensor<f32>):
    %a = onnx.Swish(%h) : (tensor<f32>) -> tensor<f32>
    moe.yield %a : tensor<f32>
  }
  return %y : tensor<?x32xf32>
}

// -----

// CHECK-LABEL: func.func @io
func.func @io(%x: tensor<?x32xf32>, %l: tensor<?x4xf32>, %w1: tensor<4x32x64xf32>, %w2: tensor<4x64x32xf32>) -> tensor<?x32xf32> {
  // CHECK: %[[GATE:.*]] = onnx.Transpose(%arg2) {{.*}}perm = array<i64: 0, 2, 1>
  // CHECK: %[[DOWN:.*]] = onnx.Transpose(%arg3)
  // CHECK: onnx_ms.MoE(%arg0, %arg1, %[[GATE]], _, %[[DOWN]])
  %ids, %w = moe.route %l {routing = #moe.routing<k = 2, tie = highest>} : tensor<?x4xf32> -> tensor<?x2xi32>, tensor<?x2xf32>
  %y = moe.experts %x route(%ids, %w : tensor<?x2xi32>, tensor<?x2xf32>) gate(%w1 : tensor<4x32x64xf32>) down(%w2 : tensor<4x64x32xf32>) {layout = #moe.layout<io>} : tensor<?x32xf32> -> tensor<?x32xf32> {
  ^bb0(%h: tensor<f32>):
    %a = onnx.Relu(%h) : (tensor<f32>) -> tensor<f32>
    moe.yield %a : tensor<f32>
  }
  return %y : tensor<?x32xf32>
}

// -----

// CHECK-LABEL: func.func @codes
func.func @codes(%x: tensor<?x32xf32>, %l: tensor<?x4xf32>, %q1: tensor<4x64x16xui8>, %s1: tensor<4x64x2xf32>, %z1: tensor<4x64x1xui8>, %q2: tensor<4x32x64xui8>, %s2: tensor<4x32x4xf32>) -> tensor<?x32xf32> {
  // CHECK: onnx_ms.QMoE(%arg0, %arg1, %arg2, %arg3, _, %arg5, %arg6, _, _, _, _, %arg4) {activation_type = "relu", block_size = 16 : i64, expert_weight_bits = 4 : i64, fc2_expert_weight_bits = 8 : i64, k = 2 : i64, normalize_routing_weights = 1 : i64
  %w1 = moe.dequantize %q1, %s1 zero_points(%z1 : tensor<4x64x1xui8>) {bits = 4 : i64, block = 16 : i64} : tensor<4x64x16xui8>, tensor<4x64x2xf32> -> tensor<4x64x32xf32>
  %w2 = moe.dequantize %q2, %s2 {bits = 8 : i64, block = 16 : i64} : tensor<4x32x64xui8>, tensor<4x32x4xf32> -> tensor<4x32x64xf32>
  %ids, %w = moe.route %l {routing = #moe.routing<k = 2, norm = sum, tie = highest>} : tensor<?x4xf32> -> tensor<?x2xi32>, tensor<?x2xf32>
  %y = moe.experts %x route(%ids, %w : tensor<?x2xi32>, tensor<?x2xf32>) gate(%w1 : tensor<4x64x32xf32>) down(%w2 : tensor<4x32x64xf32>) : tensor<?x32xf32> -> tensor<?x32xf32> {
  ^bb0(%h: tensor<f32>):
    %a = onnx.Relu(%h) : (tensor<f32>) -> tensor<f32>
    moe.yield %a : tensor<f32>
  }
  return %y : tensor<?x32xf32>
}

// -----

// Its weights are normalised unless they are given.
// CHECK-LABEL: func.func @codes_as_they_are
func.func @codes_as_they_are(%x: tensor<?x32xf32>, %l: tensor<?x4xf32>, %q1: tensor<4x64x16xui8>, %s1: tensor<4x64x2xf32>, %z1: tensor<4x64x1xui8>, %q2: tensor<4x32x64xui8>, %s2: tensor<4x32x4xf32>) -> tensor<?x32xf32> {
  // CHECK: %[[P:.*]] = onnx.Softmax(%arg1) {axis = -1 : i64
  // CHECK: onnx_ms.QMoE(%arg0, %arg1, %arg2, %arg3, _, %arg5, %arg6, _, _, _, _, %arg4, _, _, %[[P]]) {{.*}}normalize_routing_weights = 0 : i64
  %w1 = moe.dequantize %q1, %s1 zero_points(%z1 : tensor<4x64x1xui8>) {bits = 4 : i64, block = 16 : i64} : tensor<4x64x16xui8>, tensor<4x64x2xf32> -> tensor<4x64x32xf32>
  %w2 = moe.dequantize %q2, %s2 {bits = 8 : i64, block = 16 : i64} : tensor<4x32x64xui8>, tensor<4x32x4xf32> -> tensor<4x32x64xf32>
  %ids, %w = moe.route %l {routing = #moe.routing<k = 2, tie = highest>} : tensor<?x4xf32> -> tensor<?x2xi32>, tensor<?x2xf32>
  %y = moe.experts %x route(%ids, %w : tensor<?x2xi32>, tensor<?x2xf32>) gate(%w1 : tensor<4x64x32xf32>) down(%w2 : tensor<4x32x64xf32>) : tensor<?x32xf32> -> tensor<?x32xf32> {
  ^bb0(%h: tensor<f32>):
    %a = onnx.Relu(%h) : (tensor<f32>) -> tensor<f32>
    moe.yield %a : tensor<f32>
  }
  return %y : tensor<?x32xf32>
}

// -----

// CHECK-LABEL: func.func @codes_mix
func.func @codes_mix(%x: tensor<?x32xf32>, %l: tensor<?x4xf32>, %q1: tensor<4x64x16xui8>, %s1: tensor<4x64x2xf32>, %z1: tensor<4x64x1xui8>, %q2: tensor<4x32x64xui8>, %s2: tensor<4x32x4xf32>, %r: tensor<?x4xf32>) -> tensor<?x32xf32> {
  // CHECK: onnx_ms.QMoE(%arg0, %arg1, %arg2, %arg3, _, %arg5, %arg6, _, _, _, _, %arg4, _, _, %arg7) {{.*}}normalize_routing_weights = 1 : i64
  %w1 = moe.dequantize %q1, %s1 zero_points(%z1 : tensor<4x64x1xui8>) {bits = 4 : i64, block = 16 : i64} : tensor<4x64x16xui8>, tensor<4x64x2xf32> -> tensor<4x64x32xf32>
  %w2 = moe.dequantize %q2, %s2 {bits = 8 : i64, block = 16 : i64} : tensor<4x32x64xui8>, tensor<4x32x4xf32> -> tensor<4x32x64xf32>
  %ids, %w = moe.route %l mix(%r : tensor<?x4xf32>) {routing = #moe.routing<k = 2, score = identity, norm = sum, eps = 1.0e-20, tie = highest>} : tensor<?x4xf32> -> tensor<?x2xi32>, tensor<?x2xf32>
  %y = moe.experts %x route(%ids, %w : tensor<?x2xi32>, tensor<?x2xf32>) gate(%w1 : tensor<4x64x32xf32>) down(%w2 : tensor<4x32x64xf32>) : tensor<?x32xf32> -> tensor<?x32xf32> {
  ^bb0(%h: tensor<f32>):
    %a = onnx.Relu(%h) : (tensor<f32>) -> tensor<f32>
    moe.yield %a : tensor<f32>
  }
  return %y : tensor<?x32xf32>
}
