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
