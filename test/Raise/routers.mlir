// RUN: moe-opt %s --onnx-infer-shapes --moe-raise-routers --split-input-file | FileCheck %s

// The example of the pass's description.
// CHECK-LABEL: func.func @mixtral
func.func @mixtral(%logits: tensor<?x8xf32>) -> (tensor<?x2x8xi64>, tensor<?x2xf32>) {
  // CHECK-NOT: onnx.TopK
  // CHECK: %[[IDS:.*]], %[[W:.*]] = moe.route %arg0 {{.*}}routing = #moe.routing<k = 2, norm = sum>}
  // CHECK: %[[WIDE:.*]] = onnx.Cast(%[[IDS]])
  // CHECK: %[[ROWS:.*]] = onnx.OneHot(%[[WIDE]],
  // CHECK: return %[[ROWS]], %[[W]]
  %k = onnx.Constant() {value = dense<2> : tensor<1xi64>} : () -> tensor<1xi64>
  %last = onnx.Constant() {value = dense<-1> : tensor<1xi64>} : () -> tensor<1xi64>
  %depth = onnx.Constant() {value = dense<8> : tensor<i64>} : () -> tensor<i64>
  %hot = onnx.Constant() {value = dense<[0, 1]> : tensor<2xi64>} : () -> tensor<2xi64>
  %scores = onnx.Softmax(%logits) : (tensor<?x8xf32>) -> tensor<?x8xf32>
  %values, %ids = onnx.TopK(%scores, %k) : (tensor<?x8xf32>, tensor<1xi64>) -> (tensor<?x2xf32>, tensor<?x2xi64>)
  %sum = onnx.ReduceSum(%values, %last) : (tensor<?x2xf32>, tensor<1xi64>) -> tensor<?x1xf32>
  %weights = onnx.Div(%values, %sum) : (tensor<?x2xf32>, tensor<?x1xf32>) -> tensor<?x2xf32>
  %rows = onnx.OneHot(%ids, %depth, %hot) : (tensor<?x2xi64>, tensor<i64>, tensor<2xi64>) -> tensor<?x2x8xi64>
  return %rows, %weights : tensor<?x2x8xi64>, tensor<?x2xf32>
}

// -----

// R2: scores of the selected. Three axes are flattened and given back.
// CHECK-LABEL: func.func @gpt_oss
func.func @gpt_oss(%logits: tensor<?x?x8xf32> {onnx.dims = ["b", "s", ""]}) -> (tensor<?x?x4xi64>, tensor<?x?x4xf32>) {
  // CHECK: %[[FLAT:.*]] = onnx.Flatten(%arg0) {axis = 2 : i64
  // CHECK: %[[IDS:.*]], %[[W:.*]] = moe.route %[[FLAT]] {{.*}}routing = #moe.routing<k = 4, score_on = selected>}
  // CHECK: onnx.Cast(%[[IDS]])
  // CHECK: onnx.Shape(%arg0)
  // CHECK: onnx.Reshape({{.*}}) {allowzero = 1 : i64, onnx.dims = {{\[\["b", "s", ""\]\]}}}
  // CHECK: onnx.Reshape(%[[W]], {{.*}}) {allowzero = 1 : i64, onnx.dims = {{\[\["b", "s", ""\]\]}}}
  // CHECK-NOT: onnx.Softmax
  %k = onnx.Constant() {value = dense<4> : tensor<1xi64>} : () -> tensor<1xi64>
  %values, %ids = onnx.TopK(%logits, %k) {sorted = 0 : i64} : (tensor<?x?x8xf32>, tensor<1xi64>) -> (tensor<?x?x4xf32>, tensor<?x?x4xi64>)
  %weights = onnx.Softmax(%values) {axis = 2 : i64} : (tensor<?x?x4xf32>) -> tensor<?x?x4xf32>
  return %ids, %weights : tensor<?x?x4xi64>, tensor<?x?x4xf32>
}

// -----

// R3: DeepSeek-V3 with a mask of floats that is turned around.
// CHECK-LABEL: func.func @deepseek_v3
func.func @deepseek_v3(%logits: tensor<?x16xf32>, %bias: tensor<16xf32>) -> (tensor<?x3xi64>, tensor<?x3xf32>) {
  // CHECK-NEXT: %[[IDS:.*]], %[[W:.*]] = moe.route %arg0 select_bias(%arg1 : tensor<16xf32>)
  // CHECK-SAME: routing = #moe.routing<k = 3, score = sigmoid, groups = <n = 4, keep = 2, reduce = top2sum>, norm = sum, eps = 1.0e-20, scale = 2.5>}
  // CHECK-NEXT: onnx.Cast(%[[IDS]])
  // CHECK-NEXT: return
  %two = onnx.Constant() {value = dense<2> : tensor<1xi64>} : () -> tensor<1xi64>
  %three = onnx.Constant() {value = dense<3> : tensor<1xi64>} : () -> tensor<1xi64>
  %last = onnx.Constant() {value = dense<-1> : tensor<1xi64>} : () -> tensor<1xi64>
  %by_group = onnx.Constant() {value = dense<[-1, 4, 4]> : tensor<3xi64>} : () -> tensor<3xi64>
  %of_group = onnx.Constant() {value = dense<[1, 4, 4]> : tensor<3xi64>} : () -> tensor<3xi64>
  %flat = onnx.Constant() {value = dense<[-1, 16]> : tensor<2xi64>} : () -> tensor<2xi64>
  %zero = onnx.Constant() {value = dense<0.0> : tensor<f32>} : () -> tensor<f32>
  %lowest = onnx.Constant() {value = dense<0xFF800000> : tensor<f32>} : () -> tensor<f32>
  %eps = onnx.Constant() {value = dense<1.0e-20> : tensor<f32>} : () -> tensor<f32>
  %scale = onnx.Constant() {value = dense<2.5> : tensor<f32>} : () -> tensor<f32>
  %scores = onnx.Sigmoid(%logits) : (tensor<?x16xf32>) -> tensor<?x16xf32>
  %choice = onnx.Add(%bias, %scores) : (tensor<16xf32>, tensor<?x16xf32>) -> tensor<?x16xf32>
  %grouped = onnx.Reshape(%choice, %by_group) : (tensor<?x16xf32>, tensor<3xi64>) -> tensor<?x4x4xf32>
  %best, %0 = onnx.TopK(%grouped, %two) : (tensor<?x4x4xf32>, tensor<1xi64>) -> (tensor<?x4x2xf32>, tensor<?x4x2xi64>)
  %group = onnx.ReduceSum(%best, %last) {keepdims = 0 : i64} : (tensor<?x4x2xf32>, tensor<1xi64>) -> tensor<?x4xf32>
  %1, %kept = onnx.TopK(%group, %two) {sorted = 0 : i64} : (tensor<?x4xf32>, tensor<1xi64>) -> (tensor<?x2xf32>, tensor<?x2xi64>)
  %like_group = onnx.Shape(%group) : (tensor<?x4xf32>) -> tensor<2xi64>
  %zeros = onnx.Expand(%zero, %like_group) : (tensor<f32>, tensor<2xi64>) -> tensor<?x4xf32>
  %like_kept = onnx.Shape(%kept) : (tensor<?x2xi64>) -> tensor<2xi64>
  %ones = onnx.ConstantOfShape(%like_kept) {value = dense<1.0> : tensor<1xf32>} : (tensor<2xi64>) -> tensor<?x2xf32>
  %mask = onnx.ScatterElements(%zeros, %kept, %ones) {axis = 1 : i64} : (tensor<?x4xf32>, tensor<?x2xi64>, tensor<?x2xf32>) -> tensor<?x4xf32>
  %column = onnx.Unsqueeze(%mask, %last) : (tensor<?x4xf32>, tensor<1xi64>) -> tensor<?x4x1xf32>
  %spread = onnx.Expand(%column, %of_group) : (tensor<?x4x1xf32>, tensor<3xi64>) -> tensor<?x4x4xf32>
  %of_expert = onnx.Reshape(%spread, %flat) : (tensor<?x4x4xf32>, tensor<2xi64>) -> tensor<?x16xf32>
  %is_kept = onnx.Cast(%of_expert) {to = 9 : i64} : (tensor<?x16xf32>) -> tensor<?x16xi1>
  %is_dropped = onnx.Not(%is_kept) : (tensor<?x16xi1>) -> tensor<?x16xi1>
  %limited = onnx.Where(%is_dropped, %lowest, %choice) : (tensor<?x16xi1>, tensor<f32>, tensor<?x16xf32>) -> tensor<?x16xf32>
  %2, %ids = onnx.TopK(%limited, %three) {sorted = 0 : i64} : (tensor<?x16xf32>, tensor<1xi64>) -> (tensor<?x3xf32>, tensor<?x3xi64>)
  %values = onnx.GatherElements(%scores, %ids) {axis = 1 : i64} : (tensor<?x16xf32>, tensor<?x3xi64>) -> tensor<?x3xf32>
  %sum = onnx.ReduceSum(%values, %last) : (tensor<?x3xf32>, tensor<1xi64>) -> tensor<?x1xf32>
  %divisor = onnx.Add(%sum, %eps) : (tensor<?x1xf32>, tensor<f32>) -> tensor<?x1xf32>
  %shares = onnx.Div(%values, %divisor) : (tensor<?x3xf32>, tensor<?x1xf32>) -> tensor<?x3xf32>
  %weights = onnx.Mul(%shares, %scale) : (tensor<?x3xf32>, tensor<f32>) -> tensor<?x3xf32>
  return %ids, %weights : tensor<?x3xi64>, tensor<?x3xf32>
}

// -----

// R7: ids and weights without an axis for the only slot.
// CHECK-LABEL: func.func @switch
func.func @switch(%logits: tensor<?x?x8xf32> {onnx.dims = ["b", "s", ""]}) -> (tensor<?x?x8xi64>, tensor<?x?xf32>) {
  // CHECK: %[[IDS:.*]], %[[W:.*]] = moe.route {{.*}}routing = #moe.routing<k = 1>}
  // CHECK: %[[FLAT:.*]] = onnx.Reshape({{.*}}) {{.*}} -> tensor<?x?xi64>
  // CHECK: onnx.OneHot(%[[FLAT]],
  // CHECK-NOT: onnx.{{ReduceMax|Softmax}}
  %last = onnx.Constant() {value = dense<-1> : tensor<1xi64>} : () -> tensor<1xi64>
  %depth = onnx.Constant() {value = dense<8> : tensor<i64>} : () -> tensor<i64>
  %hot = onnx.Constant() {value = dense<[0, 1]> : tensor<2xi64>} : () -> tensor<2xi64>
  %scores = onnx.Softmax(%logits) : (tensor<?x?x8xf32>) -> tensor<?x?x8xf32>
  %ids = onnx.ArgMax(%scores) {axis = -1 : i64, keepdims = 0 : i64} : (tensor<?x?x8xf32>) -> tensor<?x?xi64>
  %rows = onnx.OneHot(%ids, %depth, %hot) : (tensor<?x?xi64>, tensor<i64>, tensor<2xi64>) -> tensor<?x?x8xi64>
  %weight = onnx.ReduceMax(%scores, %last) {keepdims = 0 : i64} : (tensor<?x?x8xf32>, tensor<1xi64>) -> tensor<?x?xf32>
  return %rows, %weight : tensor<?x?x8xi64>, tensor<?x?xf32>
}

// -----

// R8: dense scores of Llama-4.
// CHECK-LABEL: func.func @llama4
func.func @llama4(%logits: tensor<?x8xf32>) -> tensor<?x8xf32> {
  // CHECK: %[[IDS:.*]], %[[W:.*]] = moe.route %arg0 {{.*}}routing = #moe.routing<k = 2, score = sigmoid, score_on = selected>}
  // CHECK: %[[WIDE:.*]] = onnx.Cast(%[[IDS]])
  // CHECK: %[[ZEROS:.*]] = onnx.ConstantOfShape({{.*}}value = dense<0.000000e+00>
  // CHECK: %[[DENSE:.*]] = onnx.ScatterElements(%[[ZEROS]], %[[WIDE]], %[[W]]) {axis = 1
  // CHECK-NEXT: return %[[DENSE]]
  %k = onnx.Constant() {value = dense<2> : tensor<1xi64>} : () -> tensor<1xi64>
  %lowest = onnx.Constant() {value = dense<0xFF800000> : tensor<f32>} : () -> tensor<f32>
  %values, %ids = onnx.TopK(%logits, %k) : (tensor<?x8xf32>, tensor<1xi64>) -> (tensor<?x2xf32>, tensor<?x2xi64>)
  %shape = onnx.Shape(%logits) : (tensor<?x8xf32>) -> tensor<2xi64>
  %all = onnx.Expand(%lowest, %shape) : (tensor<f32>, tensor<2xi64>) -> tensor<?x8xf32>
  %set = onnx.ScatterElements(%all, %ids, %values) {axis = 1 : i64} : (tensor<?x8xf32>, tensor<?x2xi64>, tensor<?x2xf32>) -> tensor<?x8xf32>
  %dense = onnx.Sigmoid(%set) : (tensor<?x8xf32>) -> tensor<?x8xf32>
  return %dense : tensor<?x8xf32>
}

// -----

// R5: selected by scores with a bias, divided by at least a number.
// CHECK-LABEL: func.func @ernie
func.func @ernie(%logits: tensor<?x8xf32>) -> (tensor<?x2xi64>, tensor<?x2xf32>) {
  // CHECK: moe.route %arg0 select_bias(%{{.*}} : tensor<8xf32>)
  // CHECK-SAME: routing = #moe.routing<k = 2, norm = sum_clamp, eps = 1.0e-12>}
  %k = onnx.Constant() {value = dense<2> : tensor<1xi64>} : () -> tensor<1xi64>
  %last = onnx.Constant() {value = dense<-1> : tensor<1xi64>} : () -> tensor<1xi64>
  %least = onnx.Constant() {value = dense<1.0e-12> : tensor<f32>} : () -> tensor<f32>
  %bias = onnx.Initializer "bias" = dense<[[0.5, 0.25, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0]]> : tensor<1x8xf32>
  %scores = onnx.Softmax(%logits) : (tensor<?x8xf32>) -> tensor<?x8xf32>
  %choice = onnx.Add(%scores, %bias) : (tensor<?x8xf32>, tensor<1x8xf32>) -> tensor<?x8xf32>
  %0, %ids = onnx.TopK(%choice, %k) : (tensor<?x8xf32>, tensor<1xi64>) -> (tensor<?x2xf32>, tensor<?x2xi64>)
  %values = onnx.GatherElements(%scores, %ids) {axis = -1 : i64} : (tensor<?x8xf32>, tensor<?x2xi64>) -> tensor<?x2xf32>
  %sum = onnx.ReduceSum(%values, %last) : (tensor<?x2xf32>, tensor<1xi64>) -> tensor<?x1xf32>
  %divisor = onnx.Clip(%sum, %least) : (tensor<?x1xf32>, tensor<f32>) -> tensor<?x1xf32>
  %weights = onnx.Div(%values, %divisor) : (tensor<?x2xf32>, tensor<?x1xf32>) -> tensor<?x2xf32>
  return %ids, %weights : tensor<?x2xi64>, tensor<?x2xf32>
}

// -----

// R4 with a mask of one-hot rows that multiplies; the values are weights, so
// other groups may have no share.
// CHECK-LABEL: func.func @group_product
func.func @group_product(%logits: tensor<?x8xf32>) -> (tensor<?x2xi64>, tensor<?x2xf32>) {
  // CHECK: moe.route %arg0 {{.*}}routing = #moe.routing<k = 2, groups = <n = 4, keep = 2>>}
  %two = onnx.Constant() {value = dense<2> : tensor<1xi64>} : () -> tensor<1xi64>
  %last = onnx.Constant() {value = dense<-1> : tensor<1xi64>} : () -> tensor<1xi64>
  %slots = onnx.Constant() {value = dense<1> : tensor<1xi64>} : () -> tensor<1xi64>
  %by_group = onnx.Constant() {value = dense<[-1, 4, 2]> : tensor<3xi64>} : () -> tensor<3xi64>
  %of_group = onnx.Constant() {value = dense<[1, 4, 2]> : tensor<3xi64>} : () -> tensor<3xi64>
  %flat = onnx.Constant() {value = dense<[-1, 8]> : tensor<2xi64>} : () -> tensor<2xi64>
  %depth = onnx.Constant() {value = dense<4> : tensor<i64>} : () -> tensor<i64>
  %hot = onnx.Constant() {value = dense<[0.0, 1.0]> : tensor<2xf32>} : () -> tensor<2xf32>
  %scores = onnx.Softmax(%logits) : (tensor<?x8xf32>) -> tensor<?x8xf32>
  %grouped = onnx.Reshape(%scores, %by_group) : (tensor<?x8xf32>, tensor<3xi64>) -> tensor<?x4x2xf32>
  %group = onnx.ReduceMax(%grouped, %last) {keepdims = 0 : i64} : (tensor<?x4x2xf32>, tensor<1xi64>) -> tensor<?x4xf32>
  %0, %kept = onnx.TopK(%group, %two) : (tensor<?x4xf32>, tensor<1xi64>) -> (tensor<?x2xf32>, tensor<?x2xi64>)
  %rows = onnx.OneHot(%kept, %depth, %hot) : (tensor<?x2xi64>, tensor<i64>, tensor<2xf32>) -> tensor<?x2x4xf32>
  %mask = onnx.ReduceSum(%rows, %slots) {keepdims = 0 : i64} : (tensor<?x2x4xf32>, tensor<1xi64>) -> tensor<?x4xf32>
  %column = onnx.Unsqueeze(%mask, %last) : (tensor<?x4xf32>, tensor<1xi64>) -> tensor<?x4x1xf32>
  %spread = onnx.Expand(%column, %of_group) : (tensor<?x4x1xf32>, tensor<3xi64>) -> tensor<?x4x2xf32>
  %of_expert = onnx.Reshape(%spread, %flat) : (tensor<?x4x2xf32>, tensor<2xi64>) -> tensor<?x8xf32>
  %limited = onnx.Mul(%of_expert, %scores) : (tensor<?x8xf32>, tensor<?x8xf32>) -> tensor<?x8xf32>
  %values, %ids = onnx.TopK(%limited, %two) : (tensor<?x8xf32>, tensor<1xi64>) -> (tensor<?x2xf32>, tensor<?x2xi64>)
  return %ids, %values : tensor<?x2xi64>, tensor<?x2xf32>
}

// -----

// R6: PhiMoE.
// CHECK-LABEL: func.func @phimoe
func.func @phimoe(%x: tensor<?x8xf32>) -> (tensor<?x2xi64>, tensor<?x2xf32>) {
  // CHECK-NEXT: moe.route %arg0 {{.*}}routing = #moe.routing<k = 2, score = sparsemixer, jitter = 0.01>}
  // CHECK-NEXT: onnx.Cast
  // CHECK-NEXT: return
  %last = onnx.Constant() {value = dense<-1> : tensor<1xi64>} : () -> tensor<1xi64>
  %inf = onnx.Constant() {value = dense<0xFF800000> : tensor<f32>} : () -> tensor<f32>
  %far = onnx.Constant() {value = dense<0.02> : tensor<f32>} : () -> tensor<f32>
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
  %f2 = onnx.Max(%most2, %abs) : (tensor<?x1xf32>, tensor<?x8xf32>) -> tensor<?x8xf32>
  %d2 = onnx.Sub(%most2, %x) : (tensor<?x1xf32>, tensor<?x8xf32>) -> tensor<?x8xf32>
  %r2 = onnx.Div(%d2, %f2) : (tensor<?x8xf32>, tensor<?x8xf32>) -> tensor<?x8xf32>
  %b2 = onnx.Greater(%r2, %far) : (tensor<?x8xf32>, tensor<f32>) -> tensor<?x8xi1>
  %g2 = onnx.Where(%b2, %inf, %y) : (tensor<?x8xi1>, tensor<f32>, tensor<?x8xf32>) -> tensor<?x8xf32>
  %p2 = onnx.Softmax(%g2) : (tensor<?x8xf32>) -> tensor<?x8xf32>
  %w2 = onnx.GatherElements(%p2, %i2) {axis = 1 : i64} : (tensor<?x8xf32>, tensor<?x1xi64>) -> tensor<?x1xf32>
  %w = onnx.Concat(%w1, %w2) {axis = 1 : i64} : (tensor<?x1xf32>, tensor<?x1xf32>) -> tensor<?x2xf32>
  %ids = onnx.Concat(%i1, %i2) {axis = 1 : i64} : (tensor<?x1xi64>, tensor<?x1xi64>) -> tensor<?x2xi64>
  return %ids, %w : tensor<?x2xi64>, tensor<?x2xf32>
}

// -----

// R10: each expert's best tokens of all.
// CHECK-LABEL: func.func @expert_choice
func.func @expert_choice(%logits: tensor<?x8xf32>) -> (tensor<8x3xi64>, tensor<8x3xf32>) {
  // CHECK: %[[TOKENS:.*]], %[[W:.*]] = moe.route_balanced %arg0 {capacity = 3 : i64, method = #moe.method<expert_choice>
  // CHECK: %[[WIDE:.*]] = onnx.Cast(%[[TOKENS]])
  // CHECK: return %[[WIDE]], %[[W]]
  %k = onnx.Constant() {value = dense<3> : tensor<1xi64>} : () -> tensor<1xi64>
  %scores = onnx.Softmax(%logits) : (tensor<?x8xf32>) -> tensor<?x8xf32>
  %by_expert = onnx.Transpose(%scores) {perm = array<i64: 1, 0>} : (tensor<?x8xf32>) -> tensor<8x?xf32>
  %w, %tokens = onnx.TopK(%by_expert, %k) : (tensor<8x?xf32>, tensor<1xi64>) -> (tensor<8x3xf32>, tensor<8x3xi64>)
  return %tokens, %w : tensor<8x3xi64>, tensor<8x3xf32>
}

// -----

// R11: SoftMoE.
// CHECK-LABEL: func.func @soft
func.func @soft(%logits: tensor<?x6x8xf32>, %h: tensor<?x6x4xf32>) -> tensor<?x6x4xf32> {
  // CHECK: %[[D:.*]], %[[C:.*]] = moe.soft_route %arg0
  // CHECK: onnx.Transpose(%[[D]])
  // CHECK: onnx.MatMul(%[[C]],
  %d = onnx.Softmax(%logits) {axis = 1 : i64} : (tensor<?x6x8xf32>) -> tensor<?x6x8xf32>
  %c = onnx.Softmax(%logits) {axis = 2 : i64} : (tensor<?x6x8xf32>) -> tensor<?x6x8xf32>
  %t = onnx.Transpose(%d) {perm = array<i64: 0, 2, 1>} : (tensor<?x6x8xf32>) -> tensor<?x8x6xf32>
  %s = onnx.MatMul(%t, %h) : (tensor<?x8x6xf32>, tensor<?x6x4xf32>) -> tensor<?x8x4xf32>
  %y = onnx.MatMul(%c, %s) : (tensor<?x6x8xf32>, tensor<?x8x4xf32>) -> tensor<?x6x4xf32>
  return %y : tensor<?x6x4xf32>
}

// -----

// R12: experts of a table, weights of scores. ids of another router than the
// table's would end the run, so the table is looked through.
// CHECK-LABEL: func.func @hash
func.func @hash(%logits: tensor<?x4xf32> {onnx.dims = ["t", ""]}, %words: tensor<?xi64> {onnx.dims = ["t"]}) -> (tensor<?x2xi64>, tensor<?x2xf32>) {
  // CHECK: %[[IDS:.*]] = onnx.Gather(
  // CHECK: %[[NARROW:.*]] = onnx.Cast(%[[IDS]])
  // CHECK: moe.route %arg0 forced(%[[NARROW]] : tensor<?x2xi32>) {{.*}}routing = #moe.routing<k = 2, score = sigmoid, norm = sum>}
  %table = onnx.Initializer "table" = dense<[[0, 1], [3, 2], [1, 3]]> : tensor<3x2xi64>
  %last = onnx.Constant() {value = dense<-1> : tensor<1xi64>} : () -> tensor<1xi64>
  %ids = onnx.Gather(%table, %words) : (tensor<3x2xi64>, tensor<?xi64>) -> tensor<?x2xi64>
  %scores = onnx.Sigmoid(%logits) : (tensor<?x4xf32>) -> tensor<?x4xf32>
  %values = onnx.GatherElements(%scores, %ids) {axis = 1 : i64} : (tensor<?x4xf32>, tensor<?x2xi64>) -> tensor<?x2xf32>
  %sum = onnx.ReduceSum(%values, %last) : (tensor<?x2xf32>, tensor<1xi64>) -> tensor<?x1xf32>
  %w = onnx.Div(%values, %sum) : (tensor<?x2xf32>, tensor<?x1xf32>) -> tensor<?x2xf32>
  return %ids, %w : tensor<?x2xi64>, tensor<?x2xf32>
}

// -----

// CHECK-LABEL: func.func @hash_of_others
func.func @hash_of_others(%logits: tensor<?x4xf32> {onnx.dims = ["t", ""]}, %words: tensor<?xi64> {onnx.dims = ["t"]}) -> (tensor<?x2xi64>, tensor<?x2xf32>) {
  // CHECK-NOT: moe.route
  %table = onnx.Initializer "table" = dense<[[0, 1], [3, 2], [1, -1]]> : tensor<3x2xi64>
  %ids = onnx.Gather(%table, %words) : (tensor<3x2xi64>, tensor<?xi64>) -> tensor<?x2xi64>
  %scores = onnx.Sigmoid(%logits) : (tensor<?x4xf32>) -> tensor<?x4xf32>
  %values = onnx.GatherElements(%scores, %ids) {axis = 1 : i64} : (tensor<?x4xf32>, tensor<?x2xi64>) -> tensor<?x2xf32>
  return %ids, %values : tensor<?x2xi64>, tensor<?x2xf32>
}

// -----

// R13: chosen by a plan, weighed by other scores, which are computed later.
// CHECK-LABEL: func.func @plan
func.func @plan(%plan: tensor<?x8xf32> {onnx.dims = ["t", ""]}, %logits: tensor<?x8xf32> {onnx.dims = ["t", ""]}) -> (tensor<?x1xi64>, tensor<?x1xf32>) {
  // CHECK: %[[MIX:.*]] = onnx.Sigmoid(%arg1)
  // CHECK: moe.route %arg0 mix(%[[MIX]] : tensor<?x8xf32>) {{.*}}routing = #moe.routing<k = 1, score = identity>}
  %k = onnx.Constant() {value = dense<1> : tensor<1xi64>} : () -> tensor<1xi64>
  %0, %ids = onnx.TopK(%plan, %k) {axis = 1 : i64} : (tensor<?x8xf32>, tensor<1xi64>) -> (tensor<?x1xf32>, tensor<?x1xi64>)
  %scores = onnx.Sigmoid(%logits) : (tensor<?x8xf32>) -> tensor<?x8xf32>
  %w = onnx.GatherElements(%scores, %ids) {axis = 1 : i64} : (tensor<?x8xf32>, tensor<?x1xi64>) -> tensor<?x1xf32>
  return %ids, %w : tensor<?x1xi64>, tensor<?x1xf32>
}

// -----

// R16: the zero expert has no weight before the others are divided by the sum.
// CHECK-LABEL: func.func @null_experts
func.func @null_experts(%logits: tensor<?x8xf32>) -> (tensor<?x2xi64>, tensor<?x2xf32>) {
  // CHECK: moe.route %arg0 {{.*}}routing = #moe.routing<k = 2, norm = sum, null_before_norm = [6, 7]>}
  %k = onnx.Constant() {value = dense<2> : tensor<1xi64>} : () -> tensor<1xi64>
  %last = onnx.Constant() {value = dense<-1> : tensor<1xi64>} : () -> tensor<1xi64>
  %first_null = onnx.Constant() {value = dense<6> : tensor<i64>} : () -> tensor<i64>
  %zero = onnx.Constant() {value = dense<0.0> : tensor<f32>} : () -> tensor<f32>
  %scores = onnx.Softmax(%logits) : (tensor<?x8xf32>) -> tensor<?x8xf32>
  %values, %ids = onnx.TopK(%scores, %k) : (tensor<?x8xf32>, tensor<1xi64>) -> (tensor<?x2xf32>, tensor<?x2xi64>)
  %is_real = onnx.Less(%ids, %first_null) : (tensor<?x2xi64>, tensor<i64>) -> tensor<?x2xi1>
  %real = onnx.Where(%is_real, %values, %zero) : (tensor<?x2xi1>, tensor<?x2xf32>, tensor<f32>) -> tensor<?x2xf32>
  %sum = onnx.ReduceSum(%real, %last) : (tensor<?x2xf32>, tensor<1xi64>) -> tensor<?x1xf32>
  %w = onnx.Div(%real, %sum) : (tensor<?x2xf32>, tensor<?x1xf32>) -> tensor<?x2xf32>
  return %ids, %w : tensor<?x2xi64>, tensor<?x2xf32>
}

// -----

// float16: logits are what they are, the rounding of weights comes last.
// CHECK-LABEL: func.func @half
func.func @half(%logits: tensor<?x8xf16>) -> (tensor<?x2xi64>, tensor<?x2xf16>) {
  // CHECK: %[[IDS:.*]], %[[W:.*]] = moe.route %arg0 {{.*}}k = 2>} : tensor<?x8xf16> -> tensor<?x2xi32>, tensor<?x2xf32>
  // CHECK: %[[ROUNDED:.*]] = onnx.Cast(%[[W]]) {{.*}}to = 10 : i64
  // CHECK: return %{{.*}}, %[[ROUNDED]]
  %k = onnx.Constant() {value = dense<2> : tensor<1xi64>} : () -> tensor<1xi64>
  %wide = onnx.Cast(%logits) {to = 1 : i64} : (tensor<?x8xf16>) -> tensor<?x8xf32>
  %scores = onnx.Softmax(%wide) : (tensor<?x8xf32>) -> tensor<?x8xf32>
  %narrow = onnx.Cast(%scores) {to = 10 : i64} : (tensor<?x8xf32>) -> tensor<?x8xf16>
  %w, %ids = onnx.TopK(%narrow, %k) : (tensor<?x8xf16>, tensor<1xi64>) -> (tensor<?x2xf16>, tensor<?x2xi64>)
  return %ids, %w : tensor<?x2xi64>, tensor<?x2xf16>
}

// -----

// What else needs the weights ends the router in front of the division.
// CHECK-LABEL: func.func @shared_values
func.func @shared_values(%logits: tensor<?x8xf32>) -> (tensor<?x2xi64>, tensor<?x2xf32>, tensor<?x2xf32>) {
  // CHECK: %[[IDS:.*]], %[[W:.*]] = moe.route %arg0 {{.*}}routing = #moe.routing<k = 2>}
  // CHECK: onnx.ReduceSum(%[[W]],
  // CHECK: onnx.Div(%[[W]],
  %k = onnx.Constant() {value = dense<2> : tensor<1xi64>} : () -> tensor<1xi64>
  %last = onnx.Constant() {value = dense<-1> : tensor<1xi64>} : () -> tensor<1xi64>
  %scores = onnx.Softmax(%logits) : (tensor<?x8xf32>) -> tensor<?x8xf32>
  %values, %ids = onnx.TopK(%scores, %k) : (tensor<?x8xf32>, tensor<1xi64>) -> (tensor<?x2xf32>, tensor<?x2xi64>)
  %sum = onnx.ReduceSum(%values, %last) : (tensor<?x2xf32>, tensor<1xi64>) -> tensor<?x1xf32>
  %w = onnx.Div(%values, %sum) : (tensor<?x2xf32>, tensor<?x1xf32>) -> tensor<?x2xf32>
  return %ids, %w, %values : tensor<?x2xi64>, tensor<?x2xf32>, tensor<?x2xf32>
}
