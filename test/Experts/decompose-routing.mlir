// The graphs of routers; what they compute is tested in Integration/routing.py.
// RUN: moe-opt %s --moe-decompose --canonicalize --split-input-file | FileCheck %s

// CHECK-LABEL: @mixtral
// CHECK: %[[S:.*]] = onnx.Softmax(%{{.*}}) {axis = -1
// CHECK: %[[I:.*]]:2 = onnx.TopK(%[[S]],
// CHECK: %[[W:.*]] = onnx.GatherElements(%[[S]], %[[I]]#1) {axis = 1
// CHECK: %[[SUM:.*]] = onnx.ReduceSum(%[[W]],
// CHECK: %[[EPS:.*]] = onnx.Add(%[[SUM]],
// CHECK: %[[N:.*]] = onnx.Div(%[[W]], %[[EPS]])
// CHECK: %[[IDS:.*]] = onnx.Cast(%[[I]]#1)
// CHECK: return %[[IDS]], %[[N]] : tensor<?x2xi32>, tensor<?x2xf32>
func.func @mixtral(%l: tensor<?x8xf32>) -> (tensor<?x2xi32>, tensor<?x2xf32>) {
  %ids, %w = moe.route %l {routing = #moe.routing<k = 2, norm = sum, eps = 0.5>}
      : tensor<?x8xf32> -> tensor<?x2xi32>, tensor<?x2xf32>
  return %ids, %w : tensor<?x2xi32>, tensor<?x2xf32>
}

// -----

// The bias is added for the selection only; two are summed in each of 4 groups.
// CHECK-LABEL: @deepseek
// CHECK: %[[S:.*]] = onnx.Sigmoid(
// CHECK: %[[C:.*]] = onnx.Add(%[[S]], %arg1)
// CHECK: %[[G:.*]] = onnx.Reshape(%[[C]],
// CHECK-SAME: tensor<?x4x4xf32>
// CHECK: onnx.TopK(%[[G]],
// CHECK: onnx.ReduceSum
// CHECK: onnx.TopK
// CHECK: onnx.ScatterElements
// CHECK: onnx.Where({{.*}}, %[[G]],
// CHECK: onnx.Reshape
// CHECK: %[[I:.*]]:2 = onnx.TopK
// CHECK: onnx.GatherElements(%[[S]], %[[I]]#1)
func.func @deepseek(%l: tensor<?x16xf32>, %b: tensor<16xf32>) -> (tensor<?x3xi32>, tensor<?x3xf32>) {
  %ids, %w = moe.route %l select_bias(%b : tensor<16xf32>)
      {routing = #moe.routing<k = 3, score = sigmoid, groups = #moe.groups<n = 4, keep = 2, reduce = top2sum>>}
      : tensor<?x16xf32> -> tensor<?x3xi32>, tensor<?x3xf32>
  return %ids, %w : tensor<?x3xi32>, tensor<?x3xf32>
}

// -----

// TopK takes the lower index of equals: the higher one comes first in a
// reversed row.
// CHECK-LABEL: @highest
// CHECK: %[[R:.*]] = onnx.Slice(%arg0,
// CHECK: %[[I:.*]]:2 = onnx.TopK(%[[R]],
// CHECK: %[[BACK:.*]] = onnx.Sub({{.*}}, %[[I]]#1)
// CHECK: onnx.GatherElements(%arg0, %[[BACK]])
func.func @highest(%l: tensor<?x8xf32>) -> (tensor<?x2xi32>, tensor<?x2xf32>) {
  %ids, %w = moe.route %l {routing = #moe.routing<k = 2, score = identity, tie = highest>}
      : tensor<?x8xf32> -> tensor<?x2xi32>, tensor<?x2xf32>
  return %ids, %w : tensor<?x2xi32>, tensor<?x2xf32>
}

// -----

// Nothing is selected.
// CHECK-LABEL: @hash
// CHECK-NOT: onnx.TopK
// CHECK: return
func.func @hash(%l: tensor<?x8xf32>, %f: tensor<?x2xi32>) -> (tensor<?x2xi32>, tensor<?x2xf32>) {
  %ids, %w = moe.route %l forced(%f : tensor<?x2xi32>) {routing = #moe.routing<k = 2>}
      : tensor<?x8xf32> -> tensor<?x2xi32>, tensor<?x2xf32>
  return %ids, %w : tensor<?x2xi32>, tensor<?x2xf32>
}

// -----

// Experts choose among the tokens and places that stay empty.
// CHECK-LABEL: @choice
// CHECK: %[[T:.*]] = onnx.Transpose
// CHECK: %[[P:.*]] = onnx.Pad(%[[T]],
// CHECK: onnx.TopK(%[[P]],
// CHECK: return %{{.*}}, %{{.*}} : tensor<4x16xi32>, tensor<4x16xf32>
func.func @choice(%l: tensor<?x4xf32>) -> (tensor<4x16xi32>, tensor<4x16xf32>) {
  %t, %w = moe.route_balanced %l {method = #moe.method<expert_choice>, capacity = 16}
      : tensor<?x4xf32> -> tensor<4x16xi32>, tensor<4x16xf32>
  return %t, %w : tensor<4x16xi32>, tensor<4x16xf32>
}

// -----

// CHECK-LABEL: @soft
// CHECK-DAG: onnx.Softmax(%arg0) {axis = -2
// CHECK-DAG: onnx.Softmax(%arg0) {axis = -1
func.func @soft(%l: tensor<?x16x8xf32>) -> (tensor<?x16x8xf32>, tensor<?x16x8xf32>) {
  %d, %c = moe.soft_route %l : tensor<?x16x8xf32>
  return %d, %c : tensor<?x16x8xf32>, tensor<?x16x8xf32>
}

// -----

// Tokens get in line by their scores and back; places are a running sum.
// CHECK-LABEL: @capacity
// CHECK: %[[BY:.*]]:2 = onnx.TopK(%arg2,
// CHECK: %[[BACK:.*]]:2 = onnx.TopK(%[[BY]]#1,
// CHECK: onnx.Gather(%{{.*}}, %[[BY]]#1)
// CHECK: onnx.CumSum
// CHECK: %[[KEPT:.*]] = onnx.Gather(%{{.*}}, %[[BACK]]#1)
// CHECK: onnx.Where(%[[KEPT]], %arg0,
// CHECK: onnx.Where(%[[KEPT]], %arg1,
func.func @capacity(%i: tensor<?x2xi32>, %w: tensor<?x2xf32>, %s: tensor<?xf32>) -> (tensor<?x2xi32>, tensor<?x2xf32>) {
  %a, %b = moe.capacity %i, %w scores(%s : tensor<?xf32>)
      {num_experts = 8, mode = #moe.capacity_mode<absolute>, value = 4.0, priority = #moe.priority<prob>}
      : tensor<?x2xi32>, tensor<?x2xf32> -> tensor<?x2xi32>, tensor<?x2xf32>
  return %a, %b : tensor<?x2xi32>, tensor<?x2xf32>
}
