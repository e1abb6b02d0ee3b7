// RUN: moe-opt %s --onnx-infer-shapes --moe-raise-experts --split-input-file | FileCheck %s

// Each expert once, in any order; the matrices become one bank.
// CHECK-LABEL: func.func @static
// CHECK-SAME:  (%[[X:.*]]: tensor<?x4xf32>{{.*}}, %[[S:.*]]: tensor<?x2xf32>
// CHECK-DAG:   %[[GATE:.*]] = onnx.Initializer{{.*}}tensor<2x3x4xf32>
// CHECK-DAG:   %[[DOWN:.*]] = onnx.Initializer{{.*}}tensor<2x4x3xf32>
// CHECK-DAG:   %[[TOP:.*]]:2 = onnx.TopK(%[[S]],
// CHECK:       %[[I:.*]] = onnx.Cast(%[[TOP]]#1)
// CHECK-NOT:   onnx.NonZero
// CHECK:       %[[Y:.*]] = moe.experts %[[X]] route(%[[I]], %[[TOP]]#0 : tensor<?x2xi32>, tensor<?x2xf32>) gate(%[[GATE]] : tensor<2x3x4xf32>) down(%[[DOWN]] : tensor<2x4x3xf32>)
// CHECK-NEXT:  ^bb0(%[[H:.*]]: tensor<f32>):
// CHECK-NEXT:    %[[A:.*]] = onnx.Relu(%[[H]]) : (tensor<f32>) -> tensor<f32>
// CHECK-NEXT:    moe.yield %[[A]]
// CHECK-NEXT:  }
// CHECK-NEXT:  return %[[Y]]
func.func @static(%x: tensor<?x4xf32> {onnx.dims = ["t", ""]}, %s: tensor<?x2xf32> {onnx.dims = ["t", ""]}) -> (tensor<?x4xf32> {onnx.dims = ["t", ""]}) {
  %c0 = onnx.Constant() {value = dense<0> : tensor<i64>} : () -> tensor<i64>
  %c1 = onnx.Constant() {value = dense<1> : tensor<i64>} : () -> tensor<i64>
  %i0 = onnx.Constant() {value = dense<0> : tensor<1xi64>} : () -> tensor<1xi64>
  %i1 = onnx.Constant() {value = dense<1> : tensor<1xi64>} : () -> tensor<1xi64>
  %i2 = onnx.Constant() {value = dense<2> : tensor<1xi64>} : () -> tensor<1xi64>
  %w1 = onnx.Constant() {value = dense<1.0> : tensor<3x4xf32>} : () -> tensor<3x4xf32>
  %w2 = onnx.Constant() {value = dense<2.0> : tensor<4x3xf32>} : () -> tensor<4x3xf32>
  %w3 = onnx.Constant() {value = dense<3.0> : tensor<3x4xf32>} : () -> tensor<3x4xf32>
  %w4 = onnx.Constant() {value = dense<4.0> : tensor<4x3xf32>} : () -> tensor<4x3xf32>
  %weights, %ids = onnx.TopK(%s, %i2) : (tensor<?x2xf32>, tensor<1xi64>) -> (tensor<?x2xf32>, tensor<?x2xi64>)
  %shape = onnx.Shape(%x) : (tensor<?x4xf32>) -> tensor<2xi64>
  %zero = onnx.ConstantOfShape(%shape) : (tensor<2xi64>) -> tensor<?x4xf32>
  %values = onnx.Constant() {value = dense<[0, 1]> : tensor<2xi64>} : () -> tensor<2xi64>
  %hot = onnx.OneHot(%ids, %i2, %values) : (tensor<?x2xi64>, tensor<1xi64>, tensor<2xi64>) -> tensor<?x2x2xi64>
  %mask = onnx.Transpose(%hot) {perm = array<i64: 2, 1, 0>} : (tensor<?x2x2xi64>) -> tensor<2x2x?xi64>
  %e1_mask = onnx.Gather(%mask, %c1) {axis = 0 : i64} : (tensor<2x2x?xi64>, tensor<i64>) -> tensor<2x?xi64>
  %e1_pairs = onnx.NonZero(%e1_mask) : (tensor<2x?xi64>) -> tensor<2x?xi64>
  %e1_slot = onnx.Gather(%e1_pairs, %c0) : (tensor<2x?xi64>, tensor<i64>) -> tensor<?xi64>
  %e1_token = onnx.Gather(%e1_pairs, %c1) : (tensor<2x?xi64>, tensor<i64>) -> tensor<?xi64>
  %e1_rows = onnx.Gather(%x, %e1_token) : (tensor<?x4xf32>, tensor<?xi64>) -> tensor<?x4xf32>
  %e1_h = onnx.Gemm(%e1_rows, %w3) {transB = 1 : i64} : (tensor<?x4xf32>, tensor<3x4xf32>) -> tensor<?x3xf32>
  %e1_a = onnx.Relu(%e1_h) : (tensor<?x3xf32>) -> tensor<?x3xf32>
  %e1_y = onnx.Gemm(%e1_a, %w4) {transB = 1 : i64} : (tensor<?x3xf32>, tensor<4x3xf32>) -> tensor<?x4xf32>
  %e1_t1 = onnx.Unsqueeze(%e1_token, %i1) : (tensor<?xi64>, tensor<1xi64>) -> tensor<?x1xi64>
  %e1_s1 = onnx.Unsqueeze(%e1_slot, %i1) : (tensor<?xi64>, tensor<1xi64>) -> tensor<?x1xi64>
  %e1_at = onnx.Concat(%e1_t1, %e1_s1) {axis = 1 : i64} : (tensor<?x1xi64>, tensor<?x1xi64>) -> tensor<?x2xi64>
  %e1_w = onnx.GatherND(%weights, %e1_at) : (tensor<?x2xf32>, tensor<?x2xi64>) -> tensor<?xf32>
  %e1_w1 = onnx.Unsqueeze(%e1_w, %i1) : (tensor<?xf32>, tensor<1xi64>) -> tensor<?x1xf32>
  %e1_yw = onnx.Mul(%e1_y, %e1_w1) : (tensor<?x4xf32>, tensor<?x1xf32>) -> tensor<?x4xf32>
  %y1 = onnx.ScatterND(%zero, %e1_t1, %e1_yw) {reduction = "add"} : (tensor<?x4xf32>, tensor<?x1xi64>, tensor<?x4xf32>) -> tensor<?x4xf32>
  %e0_mask = onnx.Gather(%mask, %c0) {axis = 0 : i64} : (tensor<2x2x?xi64>, tensor<i64>) -> tensor<2x?xi64>
  %e0_pairs = onnx.NonZero(%e0_mask) : (tensor<2x?xi64>) -> tensor<2x?xi64>
  %e0_slot = onnx.Gather(%e0_pairs, %c0) : (tensor<2x?xi64>, tensor<i64>) -> tensor<?xi64>
  %e0_token = onnx.Gather(%e0_pairs, %c1) : (tensor<2x?xi64>, tensor<i64>) -> tensor<?xi64>
  %e0_rows = onnx.Gather(%x, %e0_token) : (tensor<?x4xf32>, tensor<?xi64>) -> tensor<?x4xf32>
  %e0_h = onnx.Gemm(%e0_rows, %w1) {transB = 1 : i64} : (tensor<?x4xf32>, tensor<3x4xf32>) -> tensor<?x3xf32>
  %e0_a = onnx.Relu(%e0_h) : (tensor<?x3xf32>) -> tensor<?x3xf32>
  %e0_y = onnx.Gemm(%e0_a, %w2) {transB = 1 : i64} : (tensor<?x3xf32>, tensor<4x3xf32>) -> tensor<?x4xf32>
  %e0_t1 = onnx.Unsqueeze(%e0_token, %i1) : (tensor<?xi64>, tensor<1xi64>) -> tensor<?x1xi64>
  %e0_s1 = onnx.Unsqueeze(%e0_slot, %i1) : (tensor<?xi64>, tensor<1xi64>) -> tensor<?x1xi64>
  %e0_at = onnx.Concat(%e0_t1, %e0_s1) {axis = 1 : i64} : (tensor<?x1xi64>, tensor<?x1xi64>) -> tensor<?x2xi64>
  %e0_w = onnx.GatherND(%weights, %e0_at) : (tensor<?x2xf32>, tensor<?x2xi64>) -> tensor<?xf32>
  %e0_w1 = onnx.Unsqueeze(%e0_w, %i1) : (tensor<?xf32>, tensor<1xi64>) -> tensor<?x1xf32>
  %e0_yw = onnx.Mul(%e0_y, %e0_w1) : (tensor<?x4xf32>, tensor<?x1xf32>) -> tensor<?x4xf32>
  %y0 = onnx.ScatterND(%y1, %e0_t1, %e0_yw) {reduction = "add"} : (tensor<?x4xf32>, tensor<?x1xi64>, tensor<?x4xf32>) -> tensor<?x4xf32>
  return %y0 : tensor<?x4xf32>
}

// -----

// A sum that starts with something else is added to it.
// CHECK-LABEL: func.func @starts_with_tokens
// CHECK-SAME:  (%[[X:.*]]: tensor<?x4xf32>
// CHECK:       %[[Y:.*]] = moe.experts %[[X]]
// CHECK:       %[[R:.*]] = onnx.Add(%[[X]], %[[Y]])
// CHECK-NEXT:  return %[[R]]
func.func @starts_with_tokens(%x: tensor<?x4xf32> {onnx.dims = ["t", ""]}, %s: tensor<?x2xf32> {onnx.dims = ["t", ""]}) -> (tensor<?x4xf32> {onnx.dims = ["t", ""]}) {
  %c0 = onnx.Constant() {value = dense<0> : tensor<i64>} : () -> tensor<i64>
  %c1 = onnx.Constant() {value = dense<1> : tensor<i64>} : () -> tensor<i64>
  %i0 = onnx.Constant() {value = dense<0> : tensor<1xi64>} : () -> tensor<1xi64>
  %i1 = onnx.Constant() {value = dense<1> : tensor<1xi64>} : () -> tensor<1xi64>
  %i2 = onnx.Constant() {value = dense<2> : tensor<1xi64>} : () -> tensor<1xi64>
  %w1 = onnx.Constant() {value = dense<1.0> : tensor<3x4xf32>} : () -> tensor<3x4xf32>
  %w2 = onnx.Constant() {value = dense<2.0> : tensor<4x3xf32>} : () -> tensor<4x3xf32>
  %w3 = onnx.Constant() {value = dense<3.0> : tensor<3x4xf32>} : () -> tensor<3x4xf32>
  %w4 = onnx.Constant() {value = dense<4.0> : tensor<4x3xf32>} : () -> tensor<4x3xf32>
  %weights, %ids = onnx.TopK(%s, %i1) : (tensor<?x2xf32>, tensor<1xi64>) -> (tensor<?x1xf32>, tensor<?x1xi64>)
  %shape = onnx.Shape(%x) : (tensor<?x4xf32>) -> tensor<2xi64>
  %zero = onnx.ConstantOfShape(%shape) : (tensor<2xi64>) -> tensor<?x4xf32>
  %values = onnx.Constant() {value = dense<[0, 1]> : tensor<2xi64>} : () -> tensor<2xi64>
  %hot = onnx.OneHot(%ids, %i2, %values) : (tensor<?x1xi64>, tensor<1xi64>, tensor<2xi64>) -> tensor<?x1x2xi64>
  %mask = onnx.Transpose(%hot) {perm = array<i64: 2, 1, 0>} : (tensor<?x1x2xi64>) -> tensor<2x1x?xi64>
  %e0_mask = onnx.Gather(%mask, %c0) {axis = 0 : i64} : (tensor<2x1x?xi64>, tensor<i64>) -> tensor<1x?xi64>
  %e0_pairs = onnx.NonZero(%e0_mask) : (tensor<1x?xi64>) -> tensor<2x?xi64>
  %e0_slot = onnx.Gather(%e0_pairs, %c0) : (tensor<2x?xi64>, tensor<i64>) -> tensor<?xi64>
  %e0_token = onnx.Gather(%e0_pairs, %c1) : (tensor<2x?xi64>, tensor<i64>) -> tensor<?xi64>
  %e0_rows = onnx.Gather(%x, %e0_token) : (tensor<?x4xf32>, tensor<?xi64>) -> tensor<?x4xf32>
  %e0_h = onnx.Gemm(%e0_rows, %w1) {transB = 1 : i64} : (tensor<?x4xf32>, tensor<3x4xf32>) -> tensor<?x3xf32>
  %e0_a = onnx.Relu(%e0_h) : (tensor<?x3xf32>) -> tensor<?x3xf32>
  %e0_y = onnx.Gemm(%e0_a, %w2) {transB = 1 : i64} : (tensor<?x3xf32>, tensor<4x3xf32>) -> tensor<?x4xf32>
  %e0_t1 = onnx.Unsqueeze(%e0_token, %i1) : (tensor<?xi64>, tensor<1xi64>) -> tensor<?x1xi64>
  %e0_s1 = onnx.Unsqueeze(%e0_slot, %i1) : (tensor<?xi64>, tensor<1xi64>) -> tensor<?x1xi64>
  %e0_at = onnx.Concat(%e0_t1, %e0_s1) {axis = 1 : i64} : (tensor<?x1xi64>, tensor<?x1xi64>) -> tensor<?x2xi64>
  %e0_w = onnx.GatherND(%weights, %e0_at) : (tensor<?x1xf32>, tensor<?x2xi64>) -> tensor<?xf32>
  %e0_w1 = onnx.Unsqueeze(%e0_w, %i1) : (tensor<?xf32>, tensor<1xi64>) -> tensor<?x1xf32>
  %e0_yw = onnx.Mul(%e0_y, %e0_w1) : (tensor<?x4xf32>, tensor<?x1xf32>) -> tensor<?x4xf32>
  %y0 = onnx.ScatterND(%x, %e0_t1, %e0_yw) {reduction = "add"} : (tensor<?x4xf32>, tensor<?x1xi64>, tensor<?x4xf32>) -> tensor<?x4xf32>
  %e1_mask = onnx.Gather(%mask, %c1) {axis = 0 : i64} : (tensor<2x1x?xi64>, tensor<i64>) -> tensor<1x?xi64>
  %e1_pairs = onnx.NonZero(%e1_mask) : (tensor<1x?xi64>) -> tensor<2x?xi64>
  %e1_slot = onnx.Gather(%e1_pairs, %c0) : (tensor<2x?xi64>, tensor<i64>) -> tensor<?xi64>
  %e1_token = onnx.Gather(%e1_pairs, %c1) : (tensor<2x?xi64>, tensor<i64>) -> tensor<?xi64>
  %e1_rows = onnx.Gather(%x, %e1_token) : (tensor<?x4xf32>, tensor<?xi64>) -> tensor<?x4xf32>
  %e1_h = onnx.Gemm(%e1_rows, %w3) {transB = 1 : i64} : (tensor<?x4xf32>, tensor<3x4xf32>) -> tensor<?x3xf32>
  %e1_a = onnx.Relu(%e1_h) : (tensor<?x3xf32>) -> tensor<?x3xf32>
  %e1_y = onnx.Gemm(%e1_a, %w4) {transB = 1 : i64} : (tensor<?x3xf32>, tensor<4x3xf32>) -> tensor<?x4xf32>
  %e1_t1 = onnx.Unsqueeze(%e1_token, %i1) : (tensor<?xi64>, tensor<1xi64>) -> tensor<?x1xi64>
  %e1_s1 = onnx.Unsqueeze(%e1_slot, %i1) : (tensor<?xi64>, tensor<1xi64>) -> tensor<?x1xi64>
  %e1_at = onnx.Concat(%e1_t1, %e1_s1) {axis = 1 : i64} : (tensor<?x1xi64>, tensor<?x1xi64>) -> tensor<?x2xi64>
  %e1_w = onnx.GatherND(%weights, %e1_at) : (tensor<?x1xf32>, tensor<?x2xi64>) -> tensor<?xf32>
  %e1_w1 = onnx.Unsqueeze(%e1_w, %i1) : (tensor<?xf32>, tensor<1xi64>) -> tensor<?x1xf32>
  %e1_yw = onnx.Mul(%e1_y, %e1_w1) : (tensor<?x4xf32>, tensor<?x1xf32>) -> tensor<?x4xf32>
  %y1 = onnx.ScatterND(%y0, %e1_t1, %e1_yw) {reduction = "add"} : (tensor<?x4xf32>, tensor<?x1xi64>, tensor<?x4xf32>) -> tensor<?x4xf32>
  return %y1 : tensor<?x4xf32>
}

// -----

// A list of those experts that are hit, as long as the layer has experts: the
// weights of each are there, and the result is right whichever are hit.
// CHECK-LABEL: func.func @frozen_list
// CHECK-NOT:   onnx.NonZero
// CHECK:       moe.experts {{.*}} gate(%{{.*}} : tensor<2x3x4xf32>)
func.func @frozen_list(%x: tensor<?x4xf32> {onnx.dims = ["t", ""]}, %s: tensor<?x2xf32> {onnx.dims = ["t", ""]}) -> (tensor<?x4xf32> {onnx.dims = ["t", ""]}) {
  %c0 = onnx.Constant() {value = dense<0> : tensor<i64>} : () -> tensor<i64>
  %c1 = onnx.Constant() {value = dense<1> : tensor<i64>} : () -> tensor<i64>
  %i0 = onnx.Constant() {value = dense<0> : tensor<1xi64>} : () -> tensor<1xi64>
  %i1 = onnx.Constant() {value = dense<1> : tensor<1xi64>} : () -> tensor<1xi64>
  %i2 = onnx.Constant() {value = dense<2> : tensor<1xi64>} : () -> tensor<1xi64>
  %w1 = onnx.Constant() {value = dense<1.0> : tensor<3x4xf32>} : () -> tensor<3x4xf32>
  %w2 = onnx.Constant() {value = dense<2.0> : tensor<4x3xf32>} : () -> tensor<4x3xf32>
  %w3 = onnx.Constant() {value = dense<3.0> : tensor<3x4xf32>} : () -> tensor<3x4xf32>
  %w4 = onnx.Constant() {value = dense<4.0> : tensor<4x3xf32>} : () -> tensor<4x3xf32>
  %weights, %ids = onnx.TopK(%s, %i1) : (tensor<?x2xf32>, tensor<1xi64>) -> (tensor<?x1xf32>, tensor<?x1xi64>)
  %shape = onnx.Shape(%x) : (tensor<?x4xf32>) -> tensor<2xi64>
  %zero = onnx.ConstantOfShape(%shape) : (tensor<2xi64>) -> tensor<?x4xf32>
  %values = onnx.Constant() {value = dense<[0, 1]> : tensor<2xi64>} : () -> tensor<2xi64>
  %hot = onnx.OneHot(%ids, %i2, %values) : (tensor<?x1xi64>, tensor<1xi64>, tensor<2xi64>) -> tensor<?x1x2xi64>
  %mask = onnx.Transpose(%hot) {perm = array<i64: 2, 1, 0>} : (tensor<?x1x2xi64>) -> tensor<2x1x?xi64>
  %axes = onnx.Constant() {value = dense<[-1, -2]> : tensor<2xi64>} : () -> tensor<2xi64>
  %sizes = onnx.Constant() {value = dense<1> : tensor<2xi64>} : () -> tensor<2xi64>
  %count = onnx.ReduceSum(%mask, %axes) {keepdims = 0 : i64} : (tensor<2x1x?xi64>, tensor<2xi64>) -> tensor<2xi64>
  %hit = onnx.Greater(%count, %c0) : (tensor<2xi64>, tensor<i64>) -> tensor<2xi1>
  %list = onnx.NonZero(%hit) : (tensor<2xi1>) -> tensor<1x?xi64>
  %column = onnx.Transpose(%list) {perm = array<i64: 1, 0>} : (tensor<1x?xi64>) -> tensor<?x1xi64>
  %h0, %h1 = onnx.Split(%column, %sizes) {axis = 0 : i64} : (tensor<?x1xi64>, tensor<2xi64>) -> (tensor<1x1xi64>, tensor<1x1xi64>)
  %id0 = onnx.Squeeze(%h0) : (tensor<1x1xi64>) -> tensor<i64>
  %id1 = onnx.Squeeze(%h1) : (tensor<1x1xi64>) -> tensor<i64>
  %e0_mask = onnx.Gather(%mask, %id0) {axis = 0 : i64} : (tensor<2x1x?xi64>, tensor<i64>) -> tensor<1x?xi64>
  %e0_pairs = onnx.NonZero(%e0_mask) : (tensor<1x?xi64>) -> tensor<2x?xi64>
  %e0_slot = onnx.Gather(%e0_pairs, %c0) : (tensor<2x?xi64>, tensor<i64>) -> tensor<?xi64>
  %e0_token = onnx.Gather(%e0_pairs, %c1) : (tensor<2x?xi64>, tensor<i64>) -> tensor<?xi64>
  %e0_rows = onnx.Gather(%x, %e0_token) : (tensor<?x4xf32>, tensor<?xi64>) -> tensor<?x4xf32>
  %e0_h = onnx.Gemm(%e0_rows, %w1) {transB = 1 : i64} : (tensor<?x4xf32>, tensor<3x4xf32>) -> tensor<?x3xf32>
  %e0_a = onnx.Relu(%e0_h) : (tensor<?x3xf32>) -> tensor<?x3xf32>
  %e0_y = onnx.Gemm(%e0_a, %w2) {transB = 1 : i64} : (tensor<?x3xf32>, tensor<4x3xf32>) -> tensor<?x4xf32>
  %e0_t1 = onnx.Unsqueeze(%e0_token, %i1) : (tensor<?xi64>, tensor<1xi64>) -> tensor<?x1xi64>
  %e0_s1 = onnx.Unsqueeze(%e0_slot, %i1) : (tensor<?xi64>, tensor<1xi64>) -> tensor<?x1xi64>
  %e0_at = onnx.Concat(%e0_t1, %e0_s1) {axis = 1 : i64} : (tensor<?x1xi64>, tensor<?x1xi64>) -> tensor<?x2xi64>
  %e0_w = onnx.GatherND(%weights, %e0_at) : (tensor<?x1xf32>, tensor<?x2xi64>) -> tensor<?xf32>
  %e0_w1 = onnx.Unsqueeze(%e0_w, %i1) : (tensor<?xf32>, tensor<1xi64>) -> tensor<?x1xf32>
  %e0_yw = onnx.Mul(%e0_y, %e0_w1) : (tensor<?x4xf32>, tensor<?x1xf32>) -> tensor<?x4xf32>
  %y0 = onnx.ScatterND(%zero, %e0_t1, %e0_yw) {reduction = "add"} : (tensor<?x4xf32>, tensor<?x1xi64>, tensor<?x4xf32>) -> tensor<?x4xf32>
  %e1_mask = onnx.Gather(%mask, %id1) {axis = 0 : i64} : (tensor<2x1x?xi64>, tensor<i64>) -> tensor<1x?xi64>
  %e1_pairs = onnx.NonZero(%e1_mask) : (tensor<1x?xi64>) -> tensor<2x?xi64>
  %e1_slot = onnx.Gather(%e1_pairs, %c0) : (tensor<2x?xi64>, tensor<i64>) -> tensor<?xi64>
  %e1_token = onnx.Gather(%e1_pairs, %c1) : (tensor<2x?xi64>, tensor<i64>) -> tensor<?xi64>
  %e1_rows = onnx.Gather(%x, %e1_token) : (tensor<?x4xf32>, tensor<?xi64>) -> tensor<?x4xf32>
  %e1_h = onnx.Gemm(%e1_rows, %w3) {transB = 1 : i64} : (tensor<?x4xf32>, tensor<3x4xf32>) -> tensor<?x3xf32>
  %e1_a = onnx.Relu(%e1_h) : (tensor<?x3xf32>) -> tensor<?x3xf32>
  %e1_y = onnx.Gemm(%e1_a, %w4) {transB = 1 : i64} : (tensor<?x3xf32>, tensor<4x3xf32>) -> tensor<?x4xf32>
  %e1_t1 = onnx.Unsqueeze(%e1_token, %i1) : (tensor<?xi64>, tensor<1xi64>) -> tensor<?x1xi64>
  %e1_s1 = onnx.Unsqueeze(%e1_slot, %i1) : (tensor<?xi64>, tensor<1xi64>) -> tensor<?x1xi64>
  %e1_at = onnx.Concat(%e1_t1, %e1_s1) {axis = 1 : i64} : (tensor<?x1xi64>, tensor<?x1xi64>) -> tensor<?x2xi64>
  %e1_w = onnx.GatherND(%weights, %e1_at) : (tensor<?x1xf32>, tensor<?x2xi64>) -> tensor<?xf32>
  %e1_w1 = onnx.Unsqueeze(%e1_w, %i1) : (tensor<?xf32>, tensor<1xi64>) -> tensor<?x1xf32>
  %e1_yw = onnx.Mul(%e1_y, %e1_w1) : (tensor<?x4xf32>, tensor<?x1xf32>) -> tensor<?x4xf32>
  %y1 = onnx.ScatterND(%y0, %e1_t1, %e1_yw) {reduction = "add"} : (tensor<?x4xf32>, tensor<?x1xi64>, tensor<?x4xf32>) -> tensor<?x4xf32>
  return %y1 : tensor<?x4xf32>
}

// -----

// With weights that are looked up the list may be of any length.
// CHECK-LABEL: func.func @looked_up
// CHECK-SAME:  (%[[X:.*]]: tensor<?x4xf32>{{.*}}, %{{.*}}: tensor<?x3xf32>
// CHECK-DAG:   %[[GATE:.*]] = onnx.Constant() {value = dense<1.000000e+00> : tensor<3x3x4xf32>}
// CHECK-DAG:   %[[DOWN:.*]] = onnx.Constant() {value = dense<2.000000e+00> : tensor<3x4x3xf32>}
// CHECK-NOT:   onnx.Split
// CHECK:       moe.experts %[[X]] route({{.*}}) gate(%[[GATE]] : tensor<3x3x4xf32>) down(%[[DOWN]] : tensor<3x4x3xf32>)
func.func @looked_up(%x: tensor<?x4xf32> {onnx.dims = ["t", ""]}, %s: tensor<?x3xf32> {onnx.dims = ["t", ""]}) -> (tensor<?x4xf32> {onnx.dims = ["t", ""]}) {
  %c0 = onnx.Constant() {value = dense<0> : tensor<i64>} : () -> tensor<i64>
  %c1 = onnx.Constant() {value = dense<1> : tensor<i64>} : () -> tensor<i64>
  %i0 = onnx.Constant() {value = dense<0> : tensor<1xi64>} : () -> tensor<1xi64>
  %i1 = onnx.Constant() {value = dense<1> : tensor<1xi64>} : () -> tensor<1xi64>
  %i2 = onnx.Constant() {value = dense<2> : tensor<1xi64>} : () -> tensor<1xi64>
  %w1 = onnx.Constant() {value = dense<1.0> : tensor<3x4xf32>} : () -> tensor<3x4xf32>
  %w2 = onnx.Constant() {value = dense<2.0> : tensor<4x3xf32>} : () -> tensor<4x3xf32>
  %w3 = onnx.Constant() {value = dense<3.0> : tensor<3x4xf32>} : () -> tensor<3x4xf32>
  %w4 = onnx.Constant() {value = dense<4.0> : tensor<4x3xf32>} : () -> tensor<4x3xf32>
  %weights, %ids = onnx.TopK(%s, %i1) : (tensor<?x3xf32>, tensor<1xi64>) -> (tensor<?x1xf32>, tensor<?x1xi64>)
  %shape = onnx.Shape(%x) : (tensor<?x4xf32>) -> tensor<2xi64>
  %zero = onnx.ConstantOfShape(%shape) : (tensor<2xi64>) -> tensor<?x4xf32>
  %i3 = onnx.Constant() {value = dense<3> : tensor<1xi64>} : () -> tensor<1xi64>
  %gates = onnx.Constant() {value = dense<1.0> : tensor<3x3x4xf32>} : () -> tensor<3x3x4xf32>
  %downs = onnx.Constant() {value = dense<2.0> : tensor<3x4x3xf32>} : () -> tensor<3x4x3xf32>
  %values = onnx.Constant() {value = dense<[0, 1]> : tensor<2xi64>} : () -> tensor<2xi64>
  %hot = onnx.OneHot(%ids, %i3, %values) : (tensor<?x1xi64>, tensor<1xi64>, tensor<2xi64>) -> tensor<?x1x3xi64>
  %mask = onnx.Transpose(%hot) {perm = array<i64: 2, 1, 0>} : (tensor<?x1x3xi64>) -> tensor<3x1x?xi64>
  %axes = onnx.Constant() {value = dense<[-1, -2]> : tensor<2xi64>} : () -> tensor<2xi64>
  %sizes = onnx.Constant() {value = dense<1> : tensor<2xi64>} : () -> tensor<2xi64>
  %count = onnx.ReduceSum(%mask, %axes) {keepdims = 0 : i64} : (tensor<3x1x?xi64>, tensor<2xi64>) -> tensor<3xi64>
  %hit = onnx.Greater(%count, %c0) : (tensor<3xi64>, tensor<i64>) -> tensor<3xi1>
  %list = onnx.NonZero(%hit) : (tensor<3xi1>) -> tensor<1x?xi64>
  %column = onnx.Transpose(%list) {perm = array<i64: 1, 0>} : (tensor<1x?xi64>) -> tensor<?x1xi64>
  %h0, %h1 = onnx.Split(%column, %sizes) {axis = 0 : i64} : (tensor<?x1xi64>, tensor<2xi64>) -> (tensor<1x1xi64>, tensor<1x1xi64>)
  %id0 = onnx.Squeeze(%h0) : (tensor<1x1xi64>) -> tensor<i64>
  %id1 = onnx.Squeeze(%h1) : (tensor<1x1xi64>) -> tensor<i64>
  %g0 = onnx.Gather(%gates, %id0) : (tensor<3x3x4xf32>, tensor<i64>) -> tensor<3x4xf32>
  %d0 = onnx.Gather(%downs, %id0) : (tensor<3x4x3xf32>, tensor<i64>) -> tensor<4x3xf32>
  %g1 = onnx.Gather(%gates, %id1) : (tensor<3x3x4xf32>, tensor<i64>) -> tensor<3x4xf32>
  %d1 = onnx.Gather(%downs, %id1) : (tensor<3x4x3xf32>, tensor<i64>) -> tensor<4x3xf32>
  %e0_mask = onnx.Gather(%mask, %id0) {axis = 0 : i64} : (tensor<3x1x?xi64>, tensor<i64>) -> tensor<1x?xi64>
  %e0_pairs = onnx.NonZero(%e0_mask) : (tensor<1x?xi64>) -> tensor<2x?xi64>
  %e0_slot = onnx.Gather(%e0_pairs, %c0) : (tensor<2x?xi64>, tensor<i64>) -> tensor<?xi64>
  %e0_token = onnx.Gather(%e0_pairs, %c1) : (tensor<2x?xi64>, tensor<i64>) -> tensor<?xi64>
  %e0_rows = onnx.Gather(%x, %e0_token) : (tensor<?x4xf32>, tensor<?xi64>) -> tensor<?x4xf32>
  %e0_h = onnx.Gemm(%e0_rows, %g0) {transB = 1 : i64} : (tensor<?x4xf32>, tensor<3x4xf32>) -> tensor<?x3xf32>
  %e0_a = onnx.Relu(%e0_h) : (tensor<?x3xf32>) -> tensor<?x3xf32>
  %e0_y = onnx.Gemm(%e0_a, %d0) {transB = 1 : i64} : (tensor<?x3xf32>, tensor<4x3xf32>) -> tensor<?x4xf32>
  %e0_t1 = onnx.Unsqueeze(%e0_token, %i1) : (tensor<?xi64>, tensor<1xi64>) -> tensor<?x1xi64>
  %e0_s1 = onnx.Unsqueeze(%e0_slot, %i1) : (tensor<?xi64>, tensor<1xi64>) -> tensor<?x1xi64>
  %e0_at = onnx.Concat(%e0_t1, %e0_s1) {axis = 1 : i64} : (tensor<?x1xi64>, tensor<?x1xi64>) -> tensor<?x2xi64>
  %e0_w = onnx.GatherND(%weights, %e0_at) : (tensor<?x1xf32>, tensor<?x2xi64>) -> tensor<?xf32>
  %e0_w1 = onnx.Unsqueeze(%e0_w, %i1) : (tensor<?xf32>, tensor<1xi64>) -> tensor<?x1xf32>
  %e0_yw = onnx.Mul(%e0_y, %e0_w1) : (tensor<?x4xf32>, tensor<?x1xf32>) -> tensor<?x4xf32>
  %y0 = onnx.ScatterND(%zero, %e0_t1, %e0_yw) {reduction = "add"} : (tensor<?x4xf32>, tensor<?x1xi64>, tensor<?x4xf32>) -> tensor<?x4xf32>
  %e1_mask = onnx.Gather(%mask, %id1) {axis = 0 : i64} : (tensor<3x1x?xi64>, tensor<i64>) -> tensor<1x?xi64>
  %e1_pairs = onnx.NonZero(%e1_mask) : (tensor<1x?xi64>) -> tensor<2x?xi64>
  %e1_slot = onnx.Gather(%e1_pairs, %c0) : (tensor<2x?xi64>, tensor<i64>) -> tensor<?xi64>
  %e1_token = onnx.Gather(%e1_pairs, %c1) : (tensor<2x?xi64>, tensor<i64>) -> tensor<?xi64>
  %e1_rows = onnx.Gather(%x, %e1_token) : (tensor<?x4xf32>, tensor<?xi64>) -> tensor<?x4xf32>
  %e1_h = onnx.Gemm(%e1_rows, %g1) {transB = 1 : i64} : (tensor<?x4xf32>, tensor<3x4xf32>) -> tensor<?x3xf32>
  %e1_a = onnx.Relu(%e1_h) : (tensor<?x3xf32>) -> tensor<?x3xf32>
  %e1_y = onnx.Gemm(%e1_a, %d1) {transB = 1 : i64} : (tensor<?x3xf32>, tensor<4x3xf32>) -> tensor<?x4xf32>
  %e1_t1 = onnx.Unsqueeze(%e1_token, %i1) : (tensor<?xi64>, tensor<1xi64>) -> tensor<?x1xi64>
  %e1_s1 = onnx.Unsqueeze(%e1_slot, %i1) : (tensor<?xi64>, tensor<1xi64>) -> tensor<?x1xi64>
  %e1_at = onnx.Concat(%e1_t1, %e1_s1) {axis = 1 : i64} : (tensor<?x1xi64>, tensor<?x1xi64>) -> tensor<?x2xi64>
  %e1_w = onnx.GatherND(%weights, %e1_at) : (tensor<?x1xf32>, tensor<?x2xi64>) -> tensor<?xf32>
  %e1_w1 = onnx.Unsqueeze(%e1_w, %i1) : (tensor<?xf32>, tensor<1xi64>) -> tensor<?x1xf32>
  %e1_yw = onnx.Mul(%e1_y, %e1_w1) : (tensor<?x4xf32>, tensor<?x1xf32>) -> tensor<?x4xf32>
  %y1 = onnx.ScatterND(%y0, %e1_t1, %e1_yw) {reduction = "add"} : (tensor<?x4xf32>, tensor<?x1xi64>, tensor<?x4xf32>) -> tensor<?x4xf32>
  return %y1 : tensor<?x4xf32>
}

// -----

// Ids from outside may be anything: what is no expert is left out.
// CHECK-LABEL: func.func @ids_from_outside
// CHECK-SAME:  %[[IDS:[a-z0-9]*]]: tensor<?xi64>
// CHECK-DAG:   %[[FROM0:.*]] = onnx.GreaterOrEqual(%[[IDS]],
// CHECK-DAG:   %[[BELOW2:.*]] = onnx.Less(%[[IDS]],
// CHECK:       %[[VALID:.*]] = onnx.And(%[[FROM0]], %[[BELOW2]])
// CHECK:       onnx.Where(%[[VALID]], %[[IDS]],
// CHECK:       moe.experts
func.func @ids_from_outside(%x: tensor<?x4xf32> {onnx.dims = ["t", ""]}, %ids: tensor<?xi64> {onnx.dims = ["t"]}) -> (tensor<?x4xf32> {onnx.dims = ["t", ""]}) {
  %c0 = onnx.Constant() {value = dense<0> : tensor<i64>} : () -> tensor<i64>
  %c1 = onnx.Constant() {value = dense<1> : tensor<i64>} : () -> tensor<i64>
  %w1 = onnx.Constant() {value = dense<1.0> : tensor<4x3xf32>} : () -> tensor<4x3xf32>
  %w2 = onnx.Constant() {value = dense<2.0> : tensor<3x4xf32>} : () -> tensor<3x4xf32>
  %shape = onnx.Shape(%x) : (tensor<?x4xf32>) -> tensor<2xi64>
  %zero = onnx.ConstantOfShape(%shape) : (tensor<2xi64>) -> tensor<?x4xf32>
  %is0 = onnx.Equal(%ids, %c0) : (tensor<?xi64>, tensor<i64>) -> tensor<?xi1>
  %p0 = onnx.NonZero(%is0) : (tensor<?xi1>) -> tensor<1x?xi64>
  %t0 = onnx.Transpose(%p0) : (tensor<1x?xi64>) -> tensor<?x1xi64>
  %r0 = onnx.GatherND(%x, %t0) : (tensor<?x4xf32>, tensor<?x1xi64>) -> tensor<?x4xf32>
  %h0 = onnx.MatMul(%r0, %w1) : (tensor<?x4xf32>, tensor<4x3xf32>) -> tensor<?x3xf32>
  %a0 = onnx.Tanh(%h0) : (tensor<?x3xf32>) -> tensor<?x3xf32>
  %y0 = onnx.MatMul(%a0, %w2) : (tensor<?x3xf32>, tensor<3x4xf32>) -> tensor<?x4xf32>
  %s0 = onnx.ScatterND(%zero, %t0, %y0) {reduction = "add"} : (tensor<?x4xf32>, tensor<?x1xi64>, tensor<?x4xf32>) -> tensor<?x4xf32>
  %is1 = onnx.Equal(%c1, %ids) : (tensor<i64>, tensor<?xi64>) -> tensor<?xi1>
  %p1 = onnx.NonZero(%is1) : (tensor<?xi1>) -> tensor<1x?xi64>
  %t1 = onnx.Transpose(%p1) : (tensor<1x?xi64>) -> tensor<?x1xi64>
  %r1 = onnx.GatherND(%x, %t1) : (tensor<?x4xf32>, tensor<?x1xi64>) -> tensor<?x4xf32>
  %h1 = onnx.MatMul(%r1, %w1) : (tensor<?x4xf32>, tensor<4x3xf32>) -> tensor<?x3xf32>
  %a1 = onnx.Tanh(%h1) : (tensor<?x3xf32>) -> tensor<?x3xf32>
  %y1 = onnx.MatMul(%a1, %w2) : (tensor<?x3xf32>, tensor<3x4xf32>) -> tensor<?x4xf32>
  %s1 = onnx.ScatterND(%s0, %t1, %y1) {reduction = "add"} : (tensor<?x4xf32>, tensor<?x1xi64>, tensor<?x4xf32>) -> tensor<?x4xf32>
  return %s1 : tensor<?x4xf32>
}

// -----

// Rows that are read, added to and written back by a mask of tokens; weights of
// all experts, of which each takes its own column. Slots that pick the expert
// are not told apart: ids of one token differ.
// CHECK-LABEL: func.func @masked
// CHECK-SAME:  (%[[X:.*]]: tensor<?x4xf32>{{.*}}, %[[S:.*]]: tensor<?x2xf32>
// CHECK:       %[[TOP:.*]]:2 = onnx.TopK(%[[S]],
// CHECK:       %[[W:.*]] = onnx.GatherElements(%[[S]], %[[TOP]]#1) {axis = 1 : i64{{.*}}} : (tensor<?x2xf32>, tensor<?x2xi64>) -> tensor<?x2xf32>
// CHECK:       %[[Y:.*]] = moe.experts %[[X]] route(%{{.*}}, %[[W]] :
// CHECK:       return %[[Y]]
func.func @masked(%x: tensor<?x4xf32> {onnx.dims = ["t", ""]}, %s: tensor<?x2xf32> {onnx.dims = ["t", ""]}) -> (tensor<?x4xf32> {onnx.dims = ["t", ""]}) {
  %c0 = onnx.Constant() {value = dense<0> : tensor<i64>} : () -> tensor<i64>
  %c1 = onnx.Constant() {value = dense<1> : tensor<i64>} : () -> tensor<i64>
  %i0 = onnx.Constant() {value = dense<0> : tensor<1xi64>} : () -> tensor<1xi64>
  %i1 = onnx.Constant() {value = dense<1> : tensor<1xi64>} : () -> tensor<1xi64>
  %i2 = onnx.Constant() {value = dense<2> : tensor<1xi64>} : () -> tensor<1xi64>
  %w1 = onnx.Constant() {value = dense<1.0> : tensor<3x4xf32>} : () -> tensor<3x4xf32>
  %w2 = onnx.Constant() {value = dense<2.0> : tensor<4x3xf32>} : () -> tensor<4x3xf32>
  %w3 = onnx.Constant() {value = dense<3.0> : tensor<3x4xf32>} : () -> tensor<3x4xf32>
  %w4 = onnx.Constant() {value = dense<4.0> : tensor<4x3xf32>} : () -> tensor<4x3xf32>
  %weights, %ids = onnx.TopK(%s, %i2) : (tensor<?x2xf32>, tensor<1xi64>) -> (tensor<?x2xf32>, tensor<?x2xi64>)
  %shape = onnx.Shape(%x) : (tensor<?x4xf32>) -> tensor<2xi64>
  %zero = onnx.ConstantOfShape(%shape) : (tensor<2xi64>) -> tensor<?x4xf32>
  %m1 = onnx.Constant() {value = dense<-1> : tensor<1xi64>} : () -> tensor<1xi64>
  %e0_is = onnx.Equal(%ids, %c0) : (tensor<?x2xi64>, tensor<i64>) -> tensor<?x2xi1>
  %e0_n = onnx.Cast(%e0_is) {to = 7 : i64} : (tensor<?x2xi1>) -> tensor<?x2xi64>
  %e0_any = onnx.ReduceMax(%e0_n, %i1) {keepdims = 0 : i64} : (tensor<?x2xi64>, tensor<1xi64>) -> tensor<?xi64>
  %e0_mask = onnx.Cast(%e0_any) {to = 9 : i64} : (tensor<?xi64>) -> tensor<?xi1>
  %e0_found = onnx.NonZero(%e0_mask) : (tensor<?xi1>) -> tensor<1x?xi64>
  %e0_at = onnx.Transpose(%e0_found) : (tensor<1x?xi64>) -> tensor<?x1xi64>
  %e0_old = onnx.GatherND(%zero, %e0_at) : (tensor<?x4xf32>, tensor<?x1xi64>) -> tensor<?x4xf32>
  %e0_again = onnx.NonZero(%e0_mask) : (tensor<?xi1>) -> tensor<1x?xi64>
  %e0_at2 = onnx.Transpose(%e0_again) : (tensor<1x?xi64>) -> tensor<?x1xi64>
  %e0_rows = onnx.GatherND(%x, %e0_at2) : (tensor<?x4xf32>, tensor<?x1xi64>) -> tensor<?x4xf32>
  %e0_h = onnx.Gemm(%e0_rows, %w1) {transB = 1 : i64} : (tensor<?x4xf32>, tensor<3x4xf32>) -> tensor<?x3xf32>
  %e0_a = onnx.Relu(%e0_h) : (tensor<?x3xf32>) -> tensor<?x3xf32>
  %e0_y = onnx.Gemm(%e0_a, %w2) {transB = 1 : i64} : (tensor<?x3xf32>, tensor<4x3xf32>) -> tensor<?x4xf32>
  %e0_column = onnx.Gather(%s, %c0) {axis = 1 : i64} : (tensor<?x2xf32>, tensor<i64>) -> tensor<?xf32>
  %e0_w = onnx.GatherND(%e0_column, %e0_at2) : (tensor<?xf32>, tensor<?x1xi64>) -> tensor<?xf32>
  %e0_w1 = onnx.Unsqueeze(%e0_w, %i1) : (tensor<?xf32>, tensor<1xi64>) -> tensor<?x1xf32>
  %e0_yw = onnx.Mul(%e0_w1, %e0_y) : (tensor<?x1xf32>, tensor<?x4xf32>) -> tensor<?x4xf32>
  %e0_new = onnx.Add(%e0_old, %e0_yw) : (tensor<?x4xf32>, tensor<?x4xf32>) -> tensor<?x4xf32>
  %e0_wide = onnx.Unsqueeze(%e0_mask, %i1) : (tensor<?xi1>, tensor<1xi64>) -> tensor<?x1xi1>
  %e0_all = onnx.Expand(%e0_wide, %shape) : (tensor<?x1xi1>, tensor<2xi64>) -> tensor<?x4xi1>
  %e0_places = onnx.NonZero(%e0_all) : (tensor<?x4xi1>) -> tensor<2x?xi64>
  %e0_each = onnx.Transpose(%e0_places) : (tensor<2x?xi64>) -> tensor<?x2xi64>
  %e0_flat = onnx.Reshape(%e0_new, %m1) : (tensor<?x4xf32>, tensor<1xi64>) -> tensor<?xf32>
  %y0 = onnx.ScatterND(%zero, %e0_each, %e0_flat) : (tensor<?x4xf32>, tensor<?x2xi64>, tensor<?xf32>) -> tensor<?x4xf32>
  %e1_is = onnx.Equal(%ids, %c1) : (tensor<?x2xi64>, tensor<i64>) -> tensor<?x2xi1>
  %e1_n = onnx.Cast(%e1_is) {to = 7 : i64} : (tensor<?x2xi1>) -> tensor<?x2xi64>
  %e1_any = onnx.ReduceMax(%e1_n, %i1) {keepdims = 0 : i64} : (tensor<?x2xi64>, tensor<1xi64>) -> tensor<?xi64>
  %e1_mask = onnx.Cast(%e1_any) {to = 9 : i64} : (tensor<?xi64>) -> tensor<?xi1>
  %e1_found = onnx.NonZero(%e1_mask) : (tensor<?xi1>) -> tensor<1x?xi64>
  %e1_at = onnx.Transpose(%e1_found) : (tensor<1x?xi64>) -> tensor<?x1xi64>
  %e1_old = onnx.GatherND(%y0, %e1_at) : (tensor<?x4xf32>, tensor<?x1xi64>) -> tensor<?x4xf32>
  %e1_again = onnx.NonZero(%e1_mask) : (tensor<?xi1>) -> tensor<1x?xi64>
  %e1_at2 = onnx.Transpose(%e1_again) : (tensor<1x?xi64>) -> tensor<?x1xi64>
  %e1_rows = onnx.GatherND(%x, %e1_at2) : (tensor<?x4xf32>, tensor<?x1xi64>) -> tensor<?x4xf32>
  %e1_h = onnx.Gemm(%e1_rows, %w3) {transB = 1 : i64} : (tensor<?x4xf32>, tensor<3x4xf32>) -> tensor<?x3xf32>
  %e1_a = onnx.Relu(%e1_h) : (tensor<?x3xf32>) -> tensor<?x3xf32>
  %e1_y = onnx.Gemm(%e1_a, %w4) {transB = 1 : i64} : (tensor<?x3xf32>, tensor<4x3xf32>) -> tensor<?x4xf32>
  %e1_column = onnx.Gather(%s, %c1) {axis = 1 : i64} : (tensor<?x2xf32>, tensor<i64>) -> tensor<?xf32>
  %e1_w = onnx.GatherND(%e1_column, %e1_at2) : (tensor<?xf32>, tensor<?x1xi64>) -> tensor<?xf32>
  %e1_w1 = onnx.Unsqueeze(%e1_w, %i1) : (tensor<?xf32>, tensor<1xi64>) -> tensor<?x1xf32>
  %e1_yw = onnx.Mul(%e1_w1, %e1_y) : (tensor<?x1xf32>, tensor<?x4xf32>) -> tensor<?x4xf32>
  %e1_new = onnx.Add(%e1_old, %e1_yw) : (tensor<?x4xf32>, tensor<?x4xf32>) -> tensor<?x4xf32>
  %e1_wide = onnx.Unsqueeze(%e1_mask, %i1) : (tensor<?xi1>, tensor<1xi64>) -> tensor<?x1xi1>
  %e1_all = onnx.Expand(%e1_wide, %shape) : (tensor<?x1xi1>, tensor<2xi64>) -> tensor<?x4xi1>
  %e1_places = onnx.NonZero(%e1_all) : (tensor<?x4xi1>) -> tensor<2x?xi64>
  %e1_each = onnx.Transpose(%e1_places) : (tensor<2x?xi64>) -> tensor<?x2xi64>
  %e1_flat = onnx.Reshape(%e1_new, %m1) : (tensor<?x4xf32>, tensor<1xi64>) -> tensor<?xf32>
  %y1 = onnx.ScatterND(%y0, %e1_each, %e1_flat) : (tensor<?x4xf32>, tensor<?x2xi64>, tensor<?xf32>) -> tensor<?x4xf32>
  return %y1 : tensor<?x4xf32>
}

// -----

// The last expert gives back what it gets.
// CHECK-LABEL: func.func @copies
// CHECK-SAME:  (%[[X:.*]]: tensor<?x4xf32>
// CHECK:       %[[Y:.*]] = moe.experts %[[X]] route(%[[I:.*]], %[[W:.*]] : tensor<?x1xi32>, tensor<?x1xf32>) gate({{.*}} : tensor<1x3x4xf32>)
// CHECK-SAME:  logical = 2 : i64
// CHECK:       %[[C:.*]] = moe.trivial_experts %[[X]] route(%[[I]], %[[W]] : tensor<?x1xi32>, tensor<?x1xf32>) {first = 1 : i64, kinds = [#moe.kind<copy>]
// CHECK:       %[[R:.*]] = onnx.Add(%[[Y]], %[[C]])
// CHECK:       return %[[R]]
func.func @copies(%x: tensor<?x4xf32> {onnx.dims = ["t", ""]}, %s: tensor<?x2xf32> {onnx.dims = ["t", ""]}) -> (tensor<?x4xf32> {onnx.dims = ["t", ""]}) {
  %c0 = onnx.Constant() {value = dense<0> : tensor<i64>} : () -> tensor<i64>
  %c1 = onnx.Constant() {value = dense<1> : tensor<i64>} : () -> tensor<i64>
  %i0 = onnx.Constant() {value = dense<0> : tensor<1xi64>} : () -> tensor<1xi64>
  %i1 = onnx.Constant() {value = dense<1> : tensor<1xi64>} : () -> tensor<1xi64>
  %i2 = onnx.Constant() {value = dense<2> : tensor<1xi64>} : () -> tensor<1xi64>
  %w1 = onnx.Constant() {value = dense<1.0> : tensor<3x4xf32>} : () -> tensor<3x4xf32>
  %w2 = onnx.Constant() {value = dense<2.0> : tensor<4x3xf32>} : () -> tensor<4x3xf32>
  %w3 = onnx.Constant() {value = dense<3.0> : tensor<3x4xf32>} : () -> tensor<3x4xf32>
  %w4 = onnx.Constant() {value = dense<4.0> : tensor<4x3xf32>} : () -> tensor<4x3xf32>
  %weights, %ids = onnx.TopK(%s, %i1) : (tensor<?x2xf32>, tensor<1xi64>) -> (tensor<?x1xf32>, tensor<?x1xi64>)
  %shape = onnx.Shape(%x) : (tensor<?x4xf32>) -> tensor<2xi64>
  %zero = onnx.ConstantOfShape(%shape) : (tensor<2xi64>) -> tensor<?x4xf32>
  %values = onnx.Constant() {value = dense<[0, 1]> : tensor<2xi64>} : () -> tensor<2xi64>
  %hot = onnx.OneHot(%ids, %i2, %values) : (tensor<?x1xi64>, tensor<1xi64>, tensor<2xi64>) -> tensor<?x1x2xi64>
  %mask = onnx.Transpose(%hot) {perm = array<i64: 2, 1, 0>} : (tensor<?x1x2xi64>) -> tensor<2x1x?xi64>
  %e0_mask = onnx.Gather(%mask, %c0) {axis = 0 : i64} : (tensor<2x1x?xi64>, tensor<i64>) -> tensor<1x?xi64>
  %e0_pairs = onnx.NonZero(%e0_mask) : (tensor<1x?xi64>) -> tensor<2x?xi64>
  %e0_slot = onnx.Gather(%e0_pairs, %c0) : (tensor<2x?xi64>, tensor<i64>) -> tensor<?xi64>
  %e0_token = onnx.Gather(%e0_pairs, %c1) : (tensor<2x?xi64>, tensor<i64>) -> tensor<?xi64>
  %e0_rows = onnx.Gather(%x, %e0_token) : (tensor<?x4xf32>, tensor<?xi64>) -> tensor<?x4xf32>
  %e0_h = onnx.Gemm(%e0_rows, %w1) {transB = 1 : i64} : (tensor<?x4xf32>, tensor<3x4xf32>) -> tensor<?x3xf32>
  %e0_a = onnx.Relu(%e0_h) : (tensor<?x3xf32>) -> tensor<?x3xf32>
  %e0_y = onnx.Gemm(%e0_a, %w2) {transB = 1 : i64} : (tensor<?x3xf32>, tensor<4x3xf32>) -> tensor<?x4xf32>
  %e0_t1 = onnx.Unsqueeze(%e0_token, %i1) : (tensor<?xi64>, tensor<1xi64>) -> tensor<?x1xi64>
  %e0_s1 = onnx.Unsqueeze(%e0_slot, %i1) : (tensor<?xi64>, tensor<1xi64>) -> tensor<?x1xi64>
  %e0_at = onnx.Concat(%e0_t1, %e0_s1) {axis = 1 : i64} : (tensor<?x1xi64>, tensor<?x1xi64>) -> tensor<?x2xi64>
  %e0_w = onnx.GatherND(%weights, %e0_at) : (tensor<?x1xf32>, tensor<?x2xi64>) -> tensor<?xf32>
  %e0_w1 = onnx.Unsqueeze(%e0_w, %i1) : (tensor<?xf32>, tensor<1xi64>) -> tensor<?x1xf32>
  %e0_yw = onnx.Mul(%e0_y, %e0_w1) : (tensor<?x4xf32>, tensor<?x1xf32>) -> tensor<?x4xf32>
  %y0 = onnx.ScatterND(%zero, %e0_t1, %e0_yw) {reduction = "add"} : (tensor<?x4xf32>, tensor<?x1xi64>, tensor<?x4xf32>) -> tensor<?x4xf32>
  %e1_mask = onnx.Gather(%mask, %c1) {axis = 0 : i64} : (tensor<2x1x?xi64>, tensor<i64>) -> tensor<1x?xi64>
  %e1_pairs = onnx.NonZero(%e1_mask) : (tensor<1x?xi64>) -> tensor<2x?xi64>
  %e1_slot = onnx.Gather(%e1_pairs, %c0) : (tensor<2x?xi64>, tensor<i64>) -> tensor<?xi64>
  %e1_token = onnx.Gather(%e1_pairs, %c1) : (tensor<2x?xi64>, tensor<i64>) -> tensor<?xi64>
  %e1_rows = onnx.Gather(%x, %e1_token) : (tensor<?x4xf32>, tensor<?xi64>) -> tensor<?x4xf32>
  %e1_t1 = onnx.Unsqueeze(%e1_token, %i1) : (tensor<?xi64>, tensor<1xi64>) -> tensor<?x1xi64>
  %e1_s1 = onnx.Unsqueeze(%e1_slot, %i1) : (tensor<?xi64>, tensor<1xi64>) -> tensor<?x1xi64>
  %e1_at = onnx.Concat(%e1_t1, %e1_s1) {axis = 1 : i64} : (tensor<?x1xi64>, tensor<?x1xi64>) -> tensor<?x2xi64>
  %e1_w = onnx.GatherND(%weights, %e1_at) : (tensor<?x1xf32>, tensor<?x2xi64>) -> tensor<?xf32>
  %e1_w1 = onnx.Unsqueeze(%e1_w, %i1) : (tensor<?xf32>, tensor<1xi64>) -> tensor<?x1xf32>
  %e1_yw = onnx.Mul(%e1_rows, %e1_w1) : (tensor<?x4xf32>, tensor<?x1xf32>) -> tensor<?x4xf32>
  %y1 = onnx.ScatterND(%y0, %e1_t1, %e1_yw) {reduction = "add"} : (tensor<?x4xf32>, tensor<?x1xi64>, tensor<?x4xf32>) -> tensor<?x4xf32>
  return %y1 : tensor<?x4xf32>
}
