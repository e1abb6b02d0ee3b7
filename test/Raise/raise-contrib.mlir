// RUN: moe-opt %s --moe-raise-contrib --split-input-file | FileCheck %s

// Logits, not probabilities; of equal ones the last comes first.
// CHECK-LABEL: func.func @defaults
// CHECK-SAME:  (%[[X:.*]]: tensor<5x8xf32>, %[[L:.*]]: tensor<5x4xf32>, %[[W1:.*]]: tensor<4x16x8xf32>, %[[W2:.*]]: tensor<4x8x16xf32>)
// CHECK-NEXT:  %[[IDS:.*]], %[[W:.*]] = moe.route %[[L]] {routing = #moe.routing<k = 1, tie = highest>} : tensor<5x4xf32> -> tensor<5x1xi32>, tensor<5x1xf32>
// CHECK-NEXT:  %[[Y:.*]] = moe.experts %[[X]] route(%[[IDS]], %[[W]] : tensor<5x1xi32>, tensor<5x1xf32>) gate(%[[W1]] : tensor<4x16x8xf32>) down(%[[W2]] : tensor<4x8x16xf32>) {onnx.outputs = ["out"]} : tensor<5x8xf32> -> tensor<5x8xf32> {
// CHECK-NEXT:  ^bb0(%[[H:.*]]: tensor<f32>):
// CHECK-NEXT:    %[[A:.*]] = onnx.Relu(%[[H]]) : (tensor<f32>) -> tensor<f32>
// CHECK-NEXT:    moe.yield %[[A]] : tensor<f32>
// CHECK-NEXT:  }
// CHECK-NEXT:  return %[[Y]]
func.func @defaults(%x: tensor<5x8xf32>, %l: tensor<5x4xf32>, %w1: tensor<4x16x8xf32>, %w2: tensor<4x8x16xf32>) -> tensor<5x8xf32> {
  %0 = onnx_ms.MoE(%x, %l, %w1, _, %w2) {onnx.outputs = ["out"]} : (tensor<5x8xf32>, tensor<5x4xf32>, tensor<4x16x8xf32>, tensor<4x8x16xf32>) -> tensor<5x8xf32>
  return %0 : tensor<5x8xf32>
}

// -----

// Attributes that the schema has for other purposes change nothing.
// CHECK-LABEL: func.func @routing
func.func @routing(%x: tensor<?x8xf16>, %l: tensor<?x4xf16>, %w1: tensor<4x16x8xf16>, %b1: tensor<4x16xf16>, %w2: tensor<4x8x16xf16>, %b2: tensor<4x8xf16>) -> (tensor<?x8xf16>, tensor<?x8xf16>) {
  // CHECK: moe.route %{{.*}} {routing = #moe.routing<k = 2, norm = sum, tie = highest>} : tensor<?x4xf16> -> tensor<?x2xi32>, tensor<?x2xf32>
  // CHECK: moe.experts {{.*}} gate_bias(%{{.*}} : tensor<4x16xf16>) down_bias(%{{.*}} : tensor<4x8xf16>) : tensor<?x8xf16> -> tensor<?x8xf16> {
  // CHECK-NEXT: ^bb0(%[[H:.*]]: tensor<f32>):
  // CHECK-NEXT:   moe.yield %[[H]]
  %0 = onnx_ms.MoE(%x, %l, %w1, %b1, %w2, %b2) {k = 2 : i64, normalize_routing_weights = 1 : i64, activation_type = "identity", swiglu_fusion = 1 : i64, swiglu_limit = 1.0 : f32} : (tensor<?x8xf16>, tensor<?x4xf16>, tensor<4x16x8xf16>, tensor<4x16xf16>, tensor<4x8x16xf16>, tensor<4x8xf16>) -> tensor<?x8xf16>
  // The sparse mixer normalises in its own way.
  // CHECK: moe.route %{{.*}} {routing = #moe.routing<k = 2, score = sparsemixer, jitter = 0.01>}
  // CHECK: moe.experts
  %1 = onnx_ms.MoE(%x, %l, %w1, %b1, %w2, %b2) {k = 2 : i64, normalize_routing_weights = 1 : i64, use_sparse_mixer = 1 : i64} : (tensor<?x8xf16>, tensor<?x4xf16>, tensor<4x16x8xf16>, tensor<4x16xf16>, tensor<4x8x16xf16>, tensor<4x8xf16>) -> tensor<?x8xf16>
  return %0, %1 : tensor<?x8xf16>, tensor<?x8xf16>
}

// -----

// CHECK-LABEL: func.func @activations
func.func @activations(%x: tensor<?x8xf32>, %l: tensor<?x4xf32>, %w1: tensor<4x16x8xf32>, %w2: tensor<4x8x16xf32>) {
  // CHECK: ^bb0(%[[H:.*]]: tensor<f32>):
  // CHECK-NEXT: %[[A:.*]] = onnx.Gelu(%[[H]]) {approximate = "tanh"}
  // CHECK-NEXT: moe.yield %[[A]]
  %0 = onnx_ms.MoE(%x, %l, %w1, _, %w2) {activation_type = "gelu"} : (tensor<?x8xf32>, tensor<?x4xf32>, tensor<4x16x8xf32>, tensor<4x8x16xf32>) -> tensor<?x8xf32>
  // CHECK: ^bb0(%[[H:.*]]: tensor<f32>):
  // CHECK-NEXT: %[[S:.*]] = onnx.Sigmoid(%[[H]])
  // CHECK-NEXT: %[[A:.*]] = onnx.Mul(%[[H]], %[[S]])
  // CHECK-NEXT: moe.yield %[[A]]
  %1 = onnx_ms.MoE(%x, %l, %w1, _, %w2) {activation_type = "silu"} : (tensor<?x8xf32>, tensor<?x4xf32>, tensor<4x16x8xf32>, tensor<4x8x16xf32>) -> tensor<?x8xf32>
  // CHECK: ^bb0(%[[H:.*]]: tensor<f32>):
  // CHECK-NEXT: %[[R:.*]] = onnx.Relu(%[[H]])
  // CHECK-NEXT: %[[A:.*]] = onnx.Mul(%[[R]], %[[R]])
  // CHECK-NEXT: moe.yield %[[A]]
  %2 = onnx_ms.MoE(%x, %l, %w1, _, %w2) {activation_type = "relu2"} : (tensor<?x8xf32>, tensor<?x4xf32>, tensor<4x16x8xf32>, tensor<4x8x16xf32>) -> tensor<?x8xf32>
  return
}

// -----

// CHECK-LABEL: func.func @swiglu
func.func @swiglu(%x: tensor<?x8xf32>, %l: tensor<?x4xf32>, %w1: tensor<4x32x8xf32>, %b1: tensor<4x32xf32>, %w2: tensor<4x8x16xf32>) {
  // CHECK: moe.experts {{.*}} gate_bias({{.*}}) {gate_up = #moe.gate_up<interleave>}
  // CHECK-NEXT: ^bb0(%[[G:.*]]: tensor<f32>, %[[U:.*]]: tensor<f32>):
  // CHECK-NEXT: %[[LIMIT:.*]] = onnx.Constant() {value = dense<7.000000e+00>
  // CHECK-NEXT: %[[GL:.*]] = onnx.Min(%[[G]], %[[LIMIT]])
  // CHECK-NEXT: %[[ALPHA:.*]] = onnx.Constant() {value = dense<1.702000e+00>
  // CHECK-NEXT: %[[SCALED:.*]] = onnx.Mul(%[[GL]], %[[ALPHA]])
  // CHECK-NEXT: %[[S:.*]] = onnx.Sigmoid(%[[SCALED]])
  // CHECK-NEXT: %[[A:.*]] = onnx.Mul(%[[GL]], %[[S]])
  // CHECK-NEXT: %[[LEAST:.*]] = onnx.Constant() {value = dense<-7.000000e+00>
  // CHECK-NEXT: %[[U1:.*]] = onnx.Max(%[[U]], %[[LEAST]])
  // CHECK-NEXT: %[[MOST:.*]] = onnx.Constant() {value = dense<7.000000e+00>
  // CHECK-NEXT: %[[U2:.*]] = onnx.Min(%[[U1]], %[[MOST]])
  // CHECK-NEXT: %[[BETA:.*]] = onnx.Constant() {value = dense<1.000000e+00>
  // CHECK-NEXT: %[[U3:.*]] = onnx.Add(%[[U2]], %[[BETA]])
  // CHECK-NEXT: %[[OUT:.*]] = onnx.Mul(%[[A]], %[[U3]])
  // CHECK-NEXT: moe.yield %[[OUT]]
  %0 = onnx_ms.MoE(%x, %l, %w1, %b1, %w2) {activation_type = "swiglu", swiglu_fusion = 1 : i64, activation_alpha = 1.702 : f32, activation_beta = 1.0 : f32, swiglu_limit = 7.0 : f32} : (tensor<?x8xf32>, tensor<?x4xf32>, tensor<4x32x8xf32>, tensor<4x32xf32>, tensor<4x8x16xf32>) -> tensor<?x8xf32>
  // CHECK: moe.experts {{.*}} {gate_up = #moe.gate_up<concat>}
  // CHECK-NEXT: ^bb0(%[[G:.*]]: tensor<f32>, %[[U:.*]]: tensor<f32>):
  // CHECK-NEXT: %[[S:.*]] = onnx.Sigmoid(%[[G]])
  // CHECK-NEXT: %[[A:.*]] = onnx.Mul(%[[G]], %[[S]])
  // CHECK-NEXT: %[[OUT:.*]] = onnx.Mul(%[[A]], %[[U]])
  // CHECK-NEXT: moe.yield %[[OUT]]
  %1 = onnx_ms.MoE(%x, %l, %w1, _, %w2) {activation_type = "swiglu", swiglu_fusion = 2 : i64} : (tensor<?x8xf32>, tensor<?x4xf32>, tensor<4x32x8xf32>, tensor<4x8x16xf32>) -> tensor<?x8xf32>
  // The product is limited, not what goes into it.
  // CHECK: ^bb0(%[[G:.*]]: tensor<f32>, %[[U:.*]]: tensor<f32>):
  // CHECK-NEXT: %[[S:.*]] = onnx.Sigmoid(%[[G]])
  // CHECK-NEXT: %[[A:.*]] = onnx.Mul(%[[G]], %[[S]])
  // CHECK-NEXT: %[[LIMIT:.*]] = onnx.Constant() {value = dense<2.000000e+00>
  // CHECK-NEXT: %[[AL:.*]] = onnx.Min(%[[A]], %[[LIMIT]])
  // CHECK: onnx.Max(%[[U]],
  %2 = onnx_ms.MoE(%x, %l, %w1, _, %w2) {activation_type = "swiglu", swiglu_fusion = 2 : i64, swiglu_limit = 2.0 : f32, swiglu_limit_after_activation = 1 : i64} : (tensor<?x8xf32>, tensor<?x4xf32>, tensor<4x32x8xf32>, tensor<4x8x16xf32>) -> tensor<?x8xf32>
  // Its parameters are no parameters of geglu.
  // CHECK: ^bb0(%[[G:.*]]: tensor<f32>, %[[U:.*]]: tensor<f32>):
  // CHECK-NEXT: %[[A:.*]] = onnx.Gelu(%[[G]]) {approximate = "tanh"}
  // CHECK-NEXT: %[[OUT:.*]] = onnx.Mul(%[[A]], %[[U]])
  // CHECK-NEXT: moe.yield %[[OUT]]
  %3 = onnx_ms.MoE(%x, %l, %w1, _, %w2) {activation_type = "geglu", swiglu_fusion = 1 : i64, swiglu_limit = 2.0 : f32, activation_beta = 1.0 : f32} : (tensor<?x8xf32>, tensor<?x4xf32>, tensor<4x32x8xf32>, tensor<4x8x16xf32>) -> tensor<?x8xf32>
  return
}

// -----

// CHECK-LABEL: func.func @separate
func.func @separate(%x: tensor<?x8xf32>, %l: tensor<?x4xf32>, %w1: tensor<4x16x8xf32>, %w2: tensor<4x8x16xf32>, %b3: tensor<4x16xf32>) {
  // CHECK: moe.experts {{.*}} gate(%{{.*}}) up(%{{.*}} : tensor<4x16x8xf32>) down({{.*}}) up_bias({{.*}}) {gate_up = #moe.gate_up<separate>}
  // CHECK-NEXT: ^bb0(%[[G:.*]]: tensor<f32>, %[[U:.*]]: tensor<f32>):
  // CHECK: onnx.Sigmoid
  %0 = onnx_ms.MoE(%x, %l, %w1, _, %w2, _, %w1, %b3) {activation_type = "swiglu"} : (tensor<?x8xf32>, tensor<?x4xf32>, tensor<4x16x8xf32>, tensor<4x8x16xf32>, tensor<4x16x8xf32>, tensor<4x16xf32>) -> tensor<?x8xf32>
  // CHECK: moe.experts
  // CHECK-NEXT: ^bb0(%[[G:.*]]: tensor<f32>, %[[U:.*]]: tensor<f32>):
  // CHECK-NEXT: %[[A:.*]] = onnx.Relu(%[[G]])
  // CHECK-NEXT: %[[OUT:.*]] = onnx.Mul(%[[A]], %[[U]])
  %1 = onnx_ms.MoE(%x, %l, %w1, _, %w2, _, %w1, _) : (tensor<?x8xf32>, tensor<?x4xf32>, tensor<4x16x8xf32>, tensor<4x8x16xf32>, tensor<4x16x8xf32>) -> tensor<?x8xf32>
  return
}

// -----

// CHECK-LABEL: func.func @rank_3
// CHECK-SAME: (%[[X:.*]]: tensor<2x?x8xf32>
func.func @rank_3(%x: tensor<2x?x8xf32>, %l: tensor<?x4xf32>, %w1: tensor<4x16x8xf32>, %w2: tensor<4x8x16xf32>) -> tensor<2x?x8xf32> {
  // CHECK-NEXT: %[[FLAT:.*]] = onnx.Flatten(%[[X]]) {axis = 2 : i64} : (tensor<2x?x8xf32>) -> tensor<?x8xf32>
  // CHECK-NEXT: moe.route
  // CHECK-NEXT: %[[Y:.*]] = moe.experts %[[FLAT]]
  // CHECK: }
  // CHECK-NEXT: %[[SHAPE:.*]] = onnx.Shape(%[[X]]) : (tensor<2x?x8xf32>) -> tensor<3xi64>
  // CHECK-NEXT: %[[R:.*]] = onnx.Reshape(%[[Y]], %[[SHAPE]]) {allowzero = 1 : i64} : (tensor<?x8xf32>, tensor<3xi64>) -> tensor<2x?x8xf32>
  // CHECK-NEXT: return %[[R]]
  %0 = onnx_ms.MoE(%x, %l, %w1, _, %w2) : (tensor<2x?x8xf32>, tensor<?x4xf32>, tensor<4x16x8xf32>, tensor<4x8x16xf32>) -> tensor<2x?x8xf32>
  return %0 : tensor<2x?x8xf32>
}

// -----

// QMoE's weights are normalised without being asked to.
// CHECK-LABEL: func.func @codes
// CHECK-SAME: (%[[X:.*]]: tensor<?x32xf32>, %[[L:.*]]: tensor<?x4xf32>, %[[W1:[^:]*]]: tensor<4x64x16xui8>, %[[S1:[^:]*]]: tensor<4x64xf32>, %[[W2:[^:]*]]: tensor<4x32x32xui8>, %[[S2:[^:]*]]: tensor<4x32xf32>, %[[Z:[^:]*]]: tensor<4x16xui8>)
func.func @codes(%x: tensor<?x32xf32>, %l: tensor<?x4xf32>, %w1: tensor<4x64x16xui8>, %s1: tensor<4x64xf32>, %w2: tensor<4x32x32xui8>, %s2: tensor<4x32xf32>, %z: tensor<4x16xui8>) {
  // CHECK-NEXT: moe.route %[[L]] {routing = #moe.routing<k = 2, score_on = selected, tie = highest>}
  // CHECK-NEXT: %[[GATE:.*]] = moe.dequantize %[[W1]], %[[S1]] {bits = 4 : i64} : tensor<4x64x16xui8>, tensor<4x64xf32> -> tensor<4x64x32xf32>
  // CHECK-NEXT: %[[DOWN:.*]] = moe.dequantize %[[W2]], %[[S2]] zero_points(%[[Z]] : tensor<4x16xui8>) {bits = 4 : i64} : tensor<4x32x32xui8>, tensor<4x32xf32> -> tensor<4x32x64xf32>
  // CHECK-NEXT: moe.experts {{.*}} gate(%[[GATE]] : tensor<4x64x32xf32>) down(%[[DOWN]] : tensor<4x32x64xf32>)
  %0 = onnx_ms.QMoE(%x, %l, %w1, %s1, _, %w2, %s2, _, _, _, _, _, %z) {k = 2 : i64, accuracy_level = 4 : i64, weights_prepacked = -1 : i64} : (tensor<?x32xf32>, tensor<?x4xf32>, tensor<4x64x16xui8>, tensor<4x64xf32>, tensor<4x32x32xui8>, tensor<4x32xf32>, tensor<4x16xui8>) -> tensor<?x32xf32>
  return
}

// -----

// CHECK-LABEL: func.func @router_weights
// CHECK-SAME: %[[R:[^:]*]]: tensor<?x4xf32>)
func.func @router_weights(%x: tensor<?x32xf32>, %l: tensor<?x4xf32>, %w1: tensor<4x64x32xui8>, %s1: tensor<4x64x2xf32>, %w2: tensor<4x32x16xui8>, %s2: tensor<4x32x4xf32>, %r: tensor<?x4xf32>) {
  // CHECK: moe.route %{{.*}} mix(%[[R]] : tensor<?x4xf32>) {routing = #moe.routing<k = 2, score = identity, tie = highest>}
  // CHECK-NEXT: moe.dequantize {{.*}} {bits = 8 : i64, block = 16 : i64} : tensor<4x64x32xui8>, tensor<4x64x2xf32> -> tensor<4x64x32xf32>
  // CHECK-NEXT: moe.dequantize {{.*}} {bits = 2 : i64, block = 16 : i64} : tensor<4x32x16xui8>, tensor<4x32x4xf32> -> tensor<4x32x64xf32>
  %0 = onnx_ms.QMoE(%x, %l, %w1, %s1, _, %w2, %s2, _, _, _, _, _, _, _, %r) {k = 2 : i64, expert_weight_bits = 8 : i64, fc2_expert_weight_bits = 2 : i64, block_size = 16 : i64} : (tensor<?x32xf32>, tensor<?x4xf32>, tensor<4x64x32xui8>, tensor<4x64x2xf32>, tensor<4x32x16xui8>, tensor<4x32x4xf32>, tensor<?x4xf32>) -> tensor<?x32xf32>
  // Tokens without any weight are 0 and not 0 / 0.
  // CHECK: moe.route %{{.*}} mix(%[[R]] : tensor<?x4xf32>) {routing = #moe.routing<k = 2, score = identity, norm = sum, eps = 1.0e-20, tie = highest>}
  %1 = onnx_ms.QMoE(%x, %l, %w1, %s1, _, %w2, %s2, _, _, _, _, _, _, _, %r) {k = 2 : i64, expert_weight_bits = 8 : i64, fc2_expert_weight_bits = 2 : i64, block_size = 16 : i64, normalize_routing_weights = 1 : i64} : (tensor<?x32xf32>, tensor<?x4xf32>, tensor<4x64x32xui8>, tensor<4x64x2xf32>, tensor<4x32x16xui8>, tensor<4x32x4xf32>, tensor<?x4xf32>) -> tensor<?x32xf32>
  return
}

// -----

// Nodes in branches are raised as well.
// CHECK-LABEL: func.func @nested
func.func @nested(%c: tensor<i1>, %x: tensor<5x8xf32>, %l: tensor<5x4xf32>, %w1: tensor<4x16x8xf32>, %w2: tensor<4x8x16xf32>) -> tensor<5x8xf32> {
  // CHECK: onnx.If
  // CHECK: moe.experts
  // CHECK-NOT: onnx_ms.MoE
  %0 = onnx.If(%c) : (tensor<i1>) -> tensor<5x8xf32> {
    %1 = onnx_ms.MoE(%x, %l, %w1, _, %w2) : (tensor<5x8xf32>, tensor<5x4xf32>, tensor<4x16x8xf32>, tensor<4x8x16xf32>) -> tensor<5x8xf32>
    onnx.Yield %1 : tensor<5x8xf32>
  } {
    onnx.Yield %x : tensor<5x8xf32>
  }
  return %0 : tensor<5x8xf32>
}
