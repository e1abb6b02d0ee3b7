// RUN: moe-opt %s --onnx-infer-shapes --moe-raise-experts --split-input-file --verify-diagnostics --remark-format=emitRemark --remarks-filter-missed=raise -o /dev/null

// The weights of one expert are not in the model.
func.func @frozen(%x: tensor<?x4xf32> {onnx.dims = ["t", ""]}, %s: tensor<?x2xf32> {onnx.dims = ["t", ""]}) -> (tensor<?x4xf32> {onnx.dims = ["t", ""]}) {
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
  %sizes = onnx.Constant() {value = dense<1> : tensor<1xi64>} : () -> tensor<1xi64>
  %count = onnx.ReduceSum(%mask, %axes) {keepdims = 0 : i64} : (tensor<2x1x?xi64>, tensor<2xi64>) -> tensor<2xi64>
  %hit = onnx.Greater(%count, %c0) : (tensor<2xi64>, tensor<i64>) -> tensor<2xi1>
  %list = onnx.NonZero(%hit) : (tensor<2xi1>) -> tensor<1x?xi64>
  %column = onnx.Transpose(%list) {perm = array<i64: 1, 0>} : (tensor<1x?xi64>) -> tensor<?x1xi64>
  // expected-error @below {{the model holds 1 of the 2 experts of this layer, those that the example input hit when it was exported}}
  %h0 = onnx.Split(%column, %sizes) {axis = 0 : i64} : (tensor<?x1xi64>, tensor<1xi64>) -> (tensor<1x1xi64>)
  %id0 = onnx.Squeeze(%h0) : (tensor<1x1xi64>) -> tensor<i64>
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
  return %y0 : tensor<?x4xf32>
}

// -----

// A sum over some of the experts goes elsewhere.
func.func @elsewhere(%x: tensor<?x4xf32> {onnx.dims = ["t", ""]}, %s: tensor<?x2xf32> {onnx.dims = ["t", ""]}) -> (tensor<?x4xf32> {onnx.dims = ["t", ""]}) {
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
  %y0 = onnx.ScatterND(%zero, %e0_t1, %e0_yw) {reduction = "add"} : (tensor<?x4xf32>, tensor<?x1xi64>, tensor<?x4xf32>) -> tensor<?x4xf32>
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
  %y1 = onnx.ScatterND(%y0, %e1_t1, %e1_yw) {reduction = "add"} : (tensor<?x4xf32>, tensor<?x1xi64>, tensor<?x4xf32>) -> tensor<?x4xf32>
  // expected-remark @below {{a sum over some of the experts is used elsewhere}}
  %r = onnx.Add(%y0, %y1) : (tensor<?x4xf32>, tensor<?x4xf32>) -> tensor<?x4xf32>
  return %r : tensor<?x4xf32>
}

// -----

// An expert that comes twice counts twice.
func.func @twice(%x: tensor<?x4xf32> {onnx.dims = ["t", ""]}, %s: tensor<?x2xf32> {onnx.dims = ["t", ""]}) -> (tensor<?x4xf32> {onnx.dims = ["t", ""]}) {
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
  %y0 = onnx.ScatterND(%zero, %e0_t1, %e0_yw) {reduction = "add"} : (tensor<?x4xf32>, tensor<?x1xi64>, tensor<?x4xf32>) -> tensor<?x4xf32>
  %e1_mask = onnx.Gather(%mask, %c0) {axis = 0 : i64} : (tensor<2x2x?xi64>, tensor<i64>) -> tensor<2x?xi64>
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
  // expected-remark @below {{expert 0 comes twice}}
  %y1 = onnx.ScatterND(%y0, %e1_t1, %e1_yw) {reduction = "add"} : (tensor<?x4xf32>, tensor<?x1xi64>, tensor<?x4xf32>) -> tensor<?x4xf32>
  return %y1 : tensor<?x4xf32>
}

// -----

// No nodes for expert 0.
func.func @gap(%x: tensor<?x4xf32> {onnx.dims = ["t", ""]}, %s: tensor<?x2xf32> {onnx.dims = ["t", ""]}) -> (tensor<?x4xf32> {onnx.dims = ["t", ""]}) {
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
  // expected-remark @below {{there are nodes for 1 experts, of which one has the number 1}}
  %y1 = onnx.ScatterND(%zero, %e1_t1, %e1_yw) {reduction = "add"} : (tensor<?x4xf32>, tensor<?x1xi64>, tensor<?x4xf32>) -> tensor<?x4xf32>
  return %y1 : tensor<?x4xf32>
}

// -----

// One expert has another activation.
func.func @activation(%x: tensor<?x4xf32> {onnx.dims = ["t", ""]}, %s: tensor<?x2xf32> {onnx.dims = ["t", ""]}) -> (tensor<?x4xf32> {onnx.dims = ["t", ""]}) {
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
  %y0 = onnx.ScatterND(%zero, %e0_t1, %e0_yw) {reduction = "add"} : (tensor<?x4xf32>, tensor<?x1xi64>, tensor<?x4xf32>) -> tensor<?x4xf32>
  %e1_mask = onnx.Gather(%mask, %c1) {axis = 0 : i64} : (tensor<2x2x?xi64>, tensor<i64>) -> tensor<2x?xi64>
  %e1_pairs = onnx.NonZero(%e1_mask) : (tensor<2x?xi64>) -> tensor<2x?xi64>
  %e1_slot = onnx.Gather(%e1_pairs, %c0) : (tensor<2x?xi64>, tensor<i64>) -> tensor<?xi64>
  %e1_token = onnx.Gather(%e1_pairs, %c1) : (tensor<2x?xi64>, tensor<i64>) -> tensor<?xi64>
  %e1_rows = onnx.Gather(%x, %e1_token) : (tensor<?x4xf32>, tensor<?xi64>) -> tensor<?x4xf32>
  %e1_h = onnx.Gemm(%e1_rows, %w3) {transB = 1 : i64} : (tensor<?x4xf32>, tensor<3x4xf32>) -> tensor<?x3xf32>
  // expected-remark @below {{the experts differ in their activation}}
  %e1_a = onnx.Tanh(%e1_h) : (tensor<?x3xf32>) -> tensor<?x3xf32>
  %e1_y = onnx.Gemm(%e1_a, %w4) {transB = 1 : i64} : (tensor<?x3xf32>, tensor<4x3xf32>) -> tensor<?x4xf32>
  %e1_t1 = onnx.Unsqueeze(%e1_token, %i1) : (tensor<?xi64>, tensor<1xi64>) -> tensor<?x1xi64>
  %e1_s1 = onnx.Unsqueeze(%e1_slot, %i1) : (tensor<?xi64>, tensor<1xi64>) -> tensor<?x1xi64>
  %e1_at = onnx.Concat(%e1_t1, %e1_s1) {axis = 1 : i64} : (tensor<?x1xi64>, tensor<?x1xi64>) -> tensor<?x2xi64>
  %e1_w = onnx.GatherND(%weights, %e1_at) : (tensor<?x2xf32>, tensor<?x2xi64>) -> tensor<?xf32>
  %e1_w1 = onnx.Unsqueeze(%e1_w, %i1) : (tensor<?xf32>, tensor<1xi64>) -> tensor<?x1xf32>
  %e1_yw = onnx.Mul(%e1_y, %e1_w1) : (tensor<?x4xf32>, tensor<?x1xf32>) -> tensor<?x4xf32>
  %y1 = onnx.ScatterND(%y0, %e1_t1, %e1_yw) {reduction = "add"} : (tensor<?x4xf32>, tensor<?x1xi64>, tensor<?x4xf32>) -> tensor<?x4xf32>
  return %y1 : tensor<?x4xf32>
}

// -----

// The weight of the other slot.
func.func @weight(%x: tensor<?x4xf32> {onnx.dims = ["t", ""]}, %s: tensor<?x2xf32> {onnx.dims = ["t", ""]}) -> (tensor<?x4xf32> {onnx.dims = ["t", ""]}) {
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
  %y0 = onnx.ScatterND(%zero, %e0_t1, %e0_yw) {reduction = "add"} : (tensor<?x4xf32>, tensor<?x1xi64>, tensor<?x4xf32>) -> tensor<?x4xf32>
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
  %e1_at = onnx.Concat(%e1_s1, %e1_t1) {axis = 1 : i64} : (tensor<?x1xi64>, tensor<?x1xi64>) -> tensor<?x2xi64>
  %e1_w = onnx.GatherND(%weights, %e1_at) : (tensor<?x2xf32>, tensor<?x2xi64>) -> tensor<?xf32>
  %e1_w1 = onnx.Unsqueeze(%e1_w, %i1) : (tensor<?xf32>, tensor<1xi64>) -> tensor<?x1xf32>
  %e1_yw = onnx.Mul(%e1_y, %e1_w1) : (tensor<?x4xf32>, tensor<?x1xf32>) -> tensor<?x4xf32>
  // expected-remark @below {{the weight of a row is not that of its slot}}
  %y1 = onnx.ScatterND(%y0, %e1_t1, %e1_yw) {reduction = "add"} : (tensor<?x4xf32>, tensor<?x1xi64>, tensor<?x4xf32>) -> tensor<?x4xf32>
  return %y1 : tensor<?x4xf32>
}

// -----

// Another expert's rows.
func.func @rows(%x: tensor<?x4xf32> {onnx.dims = ["t", ""]}, %s: tensor<?x2xf32> {onnx.dims = ["t", ""]}) -> (tensor<?x4xf32> {onnx.dims = ["t", ""]}) {
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
  %y0 = onnx.ScatterND(%zero, %e0_t1, %e0_yw) {reduction = "add"} : (tensor<?x4xf32>, tensor<?x1xi64>, tensor<?x4xf32>) -> tensor<?x4xf32>
  %e1_mask = onnx.Gather(%mask, %c1) {axis = 0 : i64} : (tensor<2x2x?xi64>, tensor<i64>) -> tensor<2x?xi64>
  %e1_pairs = onnx.NonZero(%e1_mask) : (tensor<2x?xi64>) -> tensor<2x?xi64>
  %e1_slot = onnx.Gather(%e1_pairs, %c0) : (tensor<2x?xi64>, tensor<i64>) -> tensor<?xi64>
  %e1_token = onnx.Gather(%e1_pairs, %c1) : (tensor<2x?xi64>, tensor<i64>) -> tensor<?xi64>
  %e1_rows = onnx.Gather(%x, %e0_token) : (tensor<?x4xf32>, tensor<?xi64>) -> tensor<?x4xf32>
  %e1_h = onnx.Gemm(%e1_rows, %w3) {transB = 1 : i64} : (tensor<?x4xf32>, tensor<3x4xf32>) -> tensor<?x3xf32>
  %e1_a = onnx.Relu(%e1_h) : (tensor<?x3xf32>) -> tensor<?x3xf32>
  %e1_y = onnx.Gemm(%e1_a, %w4) {transB = 1 : i64} : (tensor<?x3xf32>, tensor<4x3xf32>) -> tensor<?x4xf32>
  %e1_t1 = onnx.Unsqueeze(%e1_token, %i1) : (tensor<?xi64>, tensor<1xi64>) -> tensor<?x1xi64>
  %e1_s1 = onnx.Unsqueeze(%e1_slot, %i1) : (tensor<?xi64>, tensor<1xi64>) -> tensor<?x1xi64>
  %e1_at = onnx.Concat(%e1_t1, %e1_s1) {axis = 1 : i64} : (tensor<?x1xi64>, tensor<?x1xi64>) -> tensor<?x2xi64>
  %e1_w = onnx.GatherND(%weights, %e1_at) : (tensor<?x2xf32>, tensor<?x2xi64>) -> tensor<?xf32>
  %e1_w1 = onnx.Unsqueeze(%e1_w, %i1) : (tensor<?xf32>, tensor<1xi64>) -> tensor<?x1xf32>
  %e1_yw = onnx.Mul(%e1_y, %e1_w1) : (tensor<?x4xf32>, tensor<?x1xf32>) -> tensor<?x4xf32>
  // expected-remark @below {{tokens}}
  %y1 = onnx.ScatterND(%y0, %e1_t1, %e1_yw) {reduction = "add"} : (tensor<?x4xf32>, tensor<?x1xi64>, tensor<?x4xf32>) -> tensor<?x4xf32>
  return %y1 : tensor<?x4xf32>
}

// -----

// Rows go to a token by the number of their slot.
func.func @target(%x: tensor<?x4xf32> {onnx.dims = ["t", ""]}, %s: tensor<?x2xf32> {onnx.dims = ["t", ""]}) -> (tensor<?x4xf32> {onnx.dims = ["t", ""]}) {
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
  %y0 = onnx.ScatterND(%zero, %e0_t1, %e0_yw) {reduction = "add"} : (tensor<?x4xf32>, tensor<?x1xi64>, tensor<?x4xf32>) -> tensor<?x4xf32>
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
  // expected-remark @below {{rows do not go to the token that they came from}}
  %y1 = onnx.ScatterND(%y0, %e1_s1, %e1_yw) {reduction = "add"} : (tensor<?x4xf32>, tensor<?x1xi64>, tensor<?x4xf32>) -> tensor<?x4xf32>
  return %y1 : tensor<?x4xf32>
}

// -----

// Weights that are no constants.
func.func @inputs(%x: tensor<?x4xf32> {onnx.dims = ["t", ""]}, %w1: tensor<3x4xf32>, %s: tensor<?x2xf32> {onnx.dims = ["t", ""]}) -> (tensor<?x4xf32> {onnx.dims = ["t", ""]}) {
  %c0 = onnx.Constant() {value = dense<0> : tensor<i64>} : () -> tensor<i64>
  %c1 = onnx.Constant() {value = dense<1> : tensor<i64>} : () -> tensor<i64>
  %i0 = onnx.Constant() {value = dense<0> : tensor<1xi64>} : () -> tensor<1xi64>
  %i1 = onnx.Constant() {value = dense<1> : tensor<1xi64>} : () -> tensor<1xi64>
  %i2 = onnx.Constant() {value = dense<2> : tensor<1xi64>} : () -> tensor<1xi64>
  %w2 = onnx.Constant() {value = dense<2.0> : tensor<4x3xf32>} : () -> tensor<4x3xf32>
  %w3 = onnx.Constant() {value = dense<3.0> : tensor<3x4xf32>} : () -> tensor<3x4xf32>
  %w4 = onnx.Constant() {value = dense<4.0> : tensor<4x3xf32>} : () -> tensor<4x3xf32>
  %weights, %ids = onnx.TopK(%s, %i2) : (tensor<?x2xf32>, tensor<1xi64>) -> (tensor<?x2xf32>, tensor<?x2xi64>)
  %shape = onnx.Shape(%x) : (tensor<?x4xf32>) -> tensor<2xi64>
  %zero = onnx.ConstantOfShape(%shape) : (tensor<2xi64>) -> tensor<?x4xf32>
  %values = onnx.Constant() {value = dense<[0, 1]> : tensor<2xi64>} : () -> tensor<2xi64>
  %hot = onnx.OneHot(%ids, %i2, %values) : (tensor<?x2xi64>, tensor<1xi64>, tensor<2xi64>) -> tensor<?x2x2xi64>
  %mask = onnx.Transpose(%hot) {perm = array<i64: 2, 1, 0>} : (tensor<?x2x2xi64>) -> tensor<2x2x?xi64>
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
  %y0 = onnx.ScatterND(%zero, %e0_t1, %e0_yw) {reduction = "add"} : (tensor<?x4xf32>, tensor<?x1xi64>, tensor<?x4xf32>) -> tensor<?x4xf32>
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
  // expected-remark @below {{constant}}
  %y1 = onnx.ScatterND(%y0, %e1_t1, %e1_yw) {reduction = "add"} : (tensor<?x4xf32>, tensor<?x1xi64>, tensor<?x4xf32>) -> tensor<?x4xf32>
  return %y1 : tensor<?x4xf32>
}

// -----

// A node between the products that is not elementwise.
func.func @softmax(%x: tensor<?x4xf32> {onnx.dims = ["t", ""]}, %s: tensor<?x2xf32> {onnx.dims = ["t", ""]}) -> (tensor<?x4xf32> {onnx.dims = ["t", ""]}) {
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
  %y0 = onnx.ScatterND(%zero, %e0_t1, %e0_yw) {reduction = "add"} : (tensor<?x4xf32>, tensor<?x1xi64>, tensor<?x4xf32>) -> tensor<?x4xf32>
  %e1_mask = onnx.Gather(%mask, %c1) {axis = 0 : i64} : (tensor<2x2x?xi64>, tensor<i64>) -> tensor<2x?xi64>
  %e1_pairs = onnx.NonZero(%e1_mask) : (tensor<2x?xi64>) -> tensor<2x?xi64>
  %e1_slot = onnx.Gather(%e1_pairs, %c0) : (tensor<2x?xi64>, tensor<i64>) -> tensor<?xi64>
  %e1_token = onnx.Gather(%e1_pairs, %c1) : (tensor<2x?xi64>, tensor<i64>) -> tensor<?xi64>
  %e1_rows = onnx.Gather(%x, %e1_token) : (tensor<?x4xf32>, tensor<?xi64>) -> tensor<?x4xf32>
  %e1_h = onnx.Gemm(%e1_rows, %w3) {transB = 1 : i64} : (tensor<?x4xf32>, tensor<3x4xf32>) -> tensor<?x3xf32>
  // expected-remark @below {{'onnx.Softmax' between the products is not elementwise}}
  %e1_a = onnx.Softmax(%e1_h) : (tensor<?x3xf32>) -> tensor<?x3xf32>
  %e1_y = onnx.Gemm(%e1_a, %w4) {transB = 1 : i64} : (tensor<?x3xf32>, tensor<4x3xf32>) -> tensor<?x4xf32>
  %e1_t1 = onnx.Unsqueeze(%e1_token, %i1) : (tensor<?xi64>, tensor<1xi64>) -> tensor<?x1xi64>
  %e1_s1 = onnx.Unsqueeze(%e1_slot, %i1) : (tensor<?xi64>, tensor<1xi64>) -> tensor<?x1xi64>
  %e1_at = onnx.Concat(%e1_t1, %e1_s1) {axis = 1 : i64} : (tensor<?x1xi64>, tensor<?x1xi64>) -> tensor<?x2xi64>
  %e1_w = onnx.GatherND(%weights, %e1_at) : (tensor<?x2xf32>, tensor<?x2xi64>) -> tensor<?xf32>
  %e1_w1 = onnx.Unsqueeze(%e1_w, %i1) : (tensor<?xf32>, tensor<1xi64>) -> tensor<?x1xf32>
  %e1_yw = onnx.Mul(%e1_y, %e1_w1) : (tensor<?x4xf32>, tensor<?x1xf32>) -> tensor<?x4xf32>
  %y1 = onnx.ScatterND(%y0, %e1_t1, %e1_yw) {reduction = "add"} : (tensor<?x4xf32>, tensor<?x1xi64>, tensor<?x4xf32>) -> tensor<?x4xf32>
  return %y1 : tensor<?x4xf32>
}

// -----

// Rows that are replaced, of tokens with two slots.
func.func @replace(%x: tensor<?x4xf32> {onnx.dims = ["t", ""]}, %s: tensor<?x2xf32> {onnx.dims = ["t", ""]}) -> (tensor<?x4xf32> {onnx.dims = ["t", ""]}) {
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
  // expected-remark @below {{rows are replaced, but a token has several slots}}
  %y0 = onnx.ScatterND(%zero, %e0_t1, %e0_yw) {reduction = "none"} : (tensor<?x4xf32>, tensor<?x1xi64>, tensor<?x4xf32>) -> tensor<?x4xf32>
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
  %y1 = onnx.ScatterND(%y0, %e1_t1, %e1_yw) {reduction = "none"} : (tensor<?x4xf32>, tensor<?x1xi64>, tensor<?x4xf32>) -> tensor<?x4xf32>
  return %y1 : tensor<?x4xf32>
}

// -----

// Two masks of different routers.
func.func @routers(%x: tensor<?x4xf32> {onnx.dims = ["t", ""]}, %s: tensor<?x2xf32> {onnx.dims = ["t", ""]}) -> (tensor<?x4xf32> {onnx.dims = ["t", ""]}) {
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
  %y0 = onnx.ScatterND(%zero, %e0_t1, %e0_yw) {reduction = "add"} : (tensor<?x4xf32>, tensor<?x1xi64>, tensor<?x4xf32>) -> tensor<?x4xf32>
  %other, %ids2 = onnx.TopK(%weights, %i2) : (tensor<?x2xf32>, tensor<1xi64>) -> (tensor<?x2xf32>, tensor<?x2xi64>)
  %values2 = onnx.Constant() {value = dense<[0, 1]> : tensor<2xi64>} : () -> tensor<2xi64>
  %hot2 = onnx.OneHot(%ids2, %i2, %values2) : (tensor<?x2xi64>, tensor<1xi64>, tensor<2xi64>) -> tensor<?x2x2xi64>
  %mask2 = onnx.Transpose(%hot2) {perm = array<i64: 2, 1, 0>} : (tensor<?x2x2xi64>) -> tensor<2x2x?xi64>
  %e1_mask = onnx.Gather(%mask2, %c1) {axis = 0 : i64} : (tensor<2x2x?xi64>, tensor<i64>) -> tensor<2x?xi64>
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
  // expected-remark @below {{number 1}}
  %y1 = onnx.ScatterND(%y0, %e1_t1, %e1_yw) {reduction = "add"} : (tensor<?x4xf32>, tensor<?x1xi64>, tensor<?x4xf32>) -> tensor<?x4xf32>
  return %y1 : tensor<?x4xf32>
}

// -----

// Rows are picked and lead nowhere.
func.func @unused(%x: tensor<?x4xf32> {onnx.dims = ["t", ""]}, %s: tensor<?x2xf32> {onnx.dims = ["t", ""]}) -> (tensor<?x4xf32> {onnx.dims = ["t", ""]}) {
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
  %e0_mask = onnx.Gather(%mask, %c0) {axis = 0 : i64} : (tensor<2x2x?xi64>, tensor<i64>) -> tensor<2x?xi64>
  // expected-remark @below {{rows of an expert are picked here}}
  %e0_pairs = onnx.NonZero(%e0_mask) : (tensor<2x?xi64>) -> tensor<2x?xi64>
  %e0_slot = onnx.Gather(%e0_pairs, %c0) : (tensor<2x?xi64>, tensor<i64>) -> tensor<?xi64>
  %e0_token = onnx.Gather(%e0_pairs, %c1) : (tensor<2x?xi64>, tensor<i64>) -> tensor<?xi64>
  %e0_rows = onnx.Gather(%x, %e0_token) : (tensor<?x4xf32>, tensor<?xi64>) -> tensor<?x4xf32>
  %e0_h = onnx.Gemm(%e0_rows, %w1) {transB = 1 : i64} : (tensor<?x4xf32>, tensor<3x4xf32>) -> tensor<?x3xf32>
  %e0_a = onnx.Relu(%e0_h) : (tensor<?x3xf32>) -> tensor<?x3xf32>
  %e0_y = onnx.Gemm(%e0_a, %w2) {transB = 1 : i64} : (tensor<?x3xf32>, tensor<4x3xf32>) -> tensor<?x4xf32>
  %r = onnx.ReduceSum(%e0_y, %i0) : (tensor<?x4xf32>, tensor<1xi64>) -> tensor<1x4xf32>
  %q = onnx.Add(%x, %r) : (tensor<?x4xf32>, tensor<1x4xf32>) -> tensor<?x4xf32>
  return %q : tensor<?x4xf32>
}
