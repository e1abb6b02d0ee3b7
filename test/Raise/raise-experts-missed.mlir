// RUN: moe-opt %s --onnx-infer-shapes --moe-raise-experts --split-input-file --verify-diagnostics --remark-format=emitRemark --remarks-filter-missed=raise
// RUN: moe-opt %s --onnx-infer-shapes --moe-raise-experts --split-input-file | FileCheck %s

// What breaks one rule stays, and says which.
// CHECK-NOT: moe.experts

// The slots of a token are not summed.
func.func @mean(%x: tensor<?x8xf32> {onnx.dims = ["n", ""]}, %ids: tensor<?x2xi64> {onnx.dims = ["n", ""]}) -> tensor<?x8xf32> {
  %up = onnx.Constant() {value = dense<5.0> : tensor<4x8x6xf32>} : () -> tensor<4x8x6xf32>
  %down = onnx.Constant() {value = dense<2.0> : tensor<4x6x8xf32>} : () -> tensor<4x6x8xf32>
  %one = onnx.Constant() {value = dense<1> : tensor<1xi64>} : () -> tensor<1xi64>
  %w1 = onnx.Gather(%up, %ids) : (tensor<4x8x6xf32>, tensor<?x2xi64>) -> tensor<?x2x8x6xf32>
  %h = onnx.Einsum(%x, %w1) {equation = "nh,nkhf->nkf"} : (tensor<?x8xf32>, tensor<?x2x8x6xf32>) -> tensor<?x2x6xf32>
  %a = onnx.Relu(%h) : (tensor<?x2x6xf32>) -> tensor<?x2x6xf32>
  %w2 = onnx.Gather(%down, %ids) : (tensor<4x6x8xf32>, tensor<?x2xi64>) -> tensor<?x2x6x8xf32>
  %o = onnx.Einsum(%a, %w2) {equation = "nkf,nkfh->nkh"} : (tensor<?x2x6xf32>, tensor<?x2x6x8xf32>) -> tensor<?x2x8xf32>
  // expected-remark @below {{the experts of a token are not summed, but read by 'onnx.ReduceMax'}}
  %y = onnx.ReduceMax(%o, %one) {keepdims = 0 : i64} : (tensor<?x2x8xf32>, tensor<1xi64>) -> tensor<?x8xf32>
  return %y : tensor<?x8xf32>
}

// -----

// Two routings in one layer.
func.func @other_ids(%x: tensor<?x8xf32> {onnx.dims = ["n", ""]}, %ids: tensor<?xi64> {onnx.dims = ["n"]}, %others: tensor<?xi64> {onnx.dims = ["n"]}) -> tensor<?x8xf32> {
  %up = onnx.Constant() {value = dense<5.0> : tensor<4x8x6xf32>} : () -> tensor<4x8x6xf32>
  %down = onnx.Constant() {value = dense<2.0> : tensor<4x6x8xf32>} : () -> tensor<4x6x8xf32>
  %w1 = onnx.Gather(%up, %ids) : (tensor<4x8x6xf32>, tensor<?xi64>) -> tensor<?x8x6xf32>
  // expected-remark @below {{the products take experts by different ids}}
  %h = onnx.Einsum(%x, %w1) {equation = "nh,nhf->nf"} : (tensor<?x8xf32>, tensor<?x8x6xf32>) -> tensor<?x6xf32>
  %a = onnx.Relu(%h) : (tensor<?x6xf32>) -> tensor<?x6xf32>
  %w2 = onnx.Gather(%down, %others) : (tensor<4x6x8xf32>, tensor<?xi64>) -> tensor<?x6x8xf32>
  %y = onnx.Einsum(%a, %w2) {equation = "nf,nfh->nh"} : (tensor<?x6xf32>, tensor<?x6x8xf32>) -> tensor<?x8xf32>
  return %y : tensor<?x8xf32>
}

// -----

// Something between the products that mixes features.
func.func @softmax(%x: tensor<?x8xf32> {onnx.dims = ["n", ""]}, %ids: tensor<?xi64> {onnx.dims = ["n"]}) -> tensor<?x8xf32> {
  %up = onnx.Constant() {value = dense<5.0> : tensor<4x8x6xf32>} : () -> tensor<4x8x6xf32>
  %down = onnx.Constant() {value = dense<2.0> : tensor<4x6x8xf32>} : () -> tensor<4x6x8xf32>
  %w1 = onnx.Gather(%up, %ids) : (tensor<4x8x6xf32>, tensor<?xi64>) -> tensor<?x8x6xf32>
  %h = onnx.Einsum(%x, %w1) {equation = "nh,nhf->nf"} : (tensor<?x8xf32>, tensor<?x8x6xf32>) -> tensor<?x6xf32>
  // expected-remark @below {{'onnx.Softmax' between the products is not elementwise}}
  %a = onnx.Softmax(%h) : (tensor<?x6xf32>) -> tensor<?x6xf32>
  %w2 = onnx.Gather(%down, %ids) : (tensor<4x6x8xf32>, tensor<?xi64>) -> tensor<?x6x8xf32>
  %y = onnx.Einsum(%a, %w2) {equation = "nf,nfh->nh"} : (tensor<?x6xf32>, tensor<?x6x8xf32>) -> tensor<?x8xf32>
  return %y : tensor<?x8xf32>
}

// -----

// Rows in the order of choices, ids in the order of tokens.
func.func @orders(%x: tensor<?x8xf32> {onnx.dims = ["n", ""]}, %ids: tensor<?x2xi64> {onnx.dims = ["n", ""]}) -> tensor<?x8xf32> {
  %up = onnx.Constant() {value = dense<5.0> : tensor<4x8x6xf32>} : () -> tensor<4x8x6xf32>
  %down = onnx.Constant() {value = dense<2.0> : tensor<4x6x8xf32>} : () -> tensor<4x6x8xf32>
  %one = onnx.Constant() {value = dense<1> : tensor<1xi64>} : () -> tensor<1xi64>
  %flat = onnx.Constant() {value = dense<[-1]> : tensor<1xi64>} : () -> tensor<1xi64>
  %twice = onnx.Constant() {value = dense<[2, 1]> : tensor<2xi64>} : () -> tensor<2xi64>
  %apart = onnx.Constant() {value = dense<[-1, 2, 8]> : tensor<3xi64>} : () -> tensor<3xi64>
  %rows = onnx.Tile(%x, %twice) : (tensor<?x8xf32>, tensor<2xi64>) -> tensor<?x8xf32>
  %i = onnx.Reshape(%ids, %flat) : (tensor<?x2xi64>, tensor<1xi64>) -> tensor<?xi64>
  %w1 = onnx.Gather(%up, %i) : (tensor<4x8x6xf32>, tensor<?xi64>) -> tensor<?x8x6xf32>
  %h = onnx.Einsum(%rows, %w1) {equation = "nh,nhf->nf"} : (tensor<?x8xf32>, tensor<?x8x6xf32>) -> tensor<?x6xf32>
  %a = onnx.Relu(%h) : (tensor<?x6xf32>) -> tensor<?x6xf32>
  %w2 = onnx.Gather(%down, %i) : (tensor<4x6x8xf32>, tensor<?xi64>) -> tensor<?x6x8xf32>
  %o = onnx.Einsum(%a, %w2) {equation = "nf,nfh->nh"} : (tensor<?x6xf32>, tensor<?x6x8xf32>) -> tensor<?x8xf32>
  %cut = onnx.Reshape(%o, %apart) : (tensor<?x8xf32>, tensor<3xi64>) -> tensor<?x2x8xf32>
  // expected-remark @below {{the sum is not over the experts of a token}}
  %y = onnx.ReduceSum(%cut, %one) {keepdims = 0 : i64} : (tensor<?x2x8xf32>, tensor<1xi64>) -> tensor<?x8xf32>
  return %y : tensor<?x8xf32>
}

// -----

// Experts that a token did not pick get zeros, and cos(0) = 1.
func.func @not_zero(%x: tensor<?x8xf32> {onnx.dims = ["n", ""]}, %p: tensor<?x4xf32> {onnx.dims = ["n", ""]}) -> tensor<?x8xf32> {
  %up = onnx.Constant() {value = dense<5.0> : tensor<4x8x6xf32>} : () -> tensor<4x8x6xf32>
  %down = onnx.Constant() {value = dense<2.0> : tensor<4x6x8xf32>} : () -> tensor<4x6x8xf32>
  %k = onnx.Constant() {value = dense<1> : tensor<1xi64>} : () -> tensor<1xi64>
  %zero = onnx.Constant() {value = dense<0> : tensor<1xi64>} : () -> tensor<1xi64>
  %last = onnx.Constant() {value = dense<-1> : tensor<1xi64>} : () -> tensor<1xi64>
  %none = onnx.Constant() {value = dense<0.0> : tensor<f32>} : () -> tensor<f32>
  %v, %i = onnx.TopK(%p, %k) : (tensor<?x4xf32>, tensor<1xi64>) -> (tensor<?x1xf32>, tensor<?x1xi64>)
  %shape = onnx.Shape(%p) : (tensor<?x4xf32>) -> tensor<2xi64>
  %low = onnx.Expand(%none, %shape) : (tensor<f32>, tensor<2xi64>) -> tensor<?x4xf32>
  %scores = onnx.ScatterElements(%low, %i, %v) {axis = 1 : i64} : (tensor<?x4xf32>, tensor<?x1xi64>, tensor<?x1xf32>) -> tensor<?x4xf32>
  %turned = onnx.Transpose(%scores) {perm = array<i64: 1, 0>} : (tensor<?x4xf32>) -> tensor<4x?xf32>
  %g = onnx.Unsqueeze(%turned, %last) : (tensor<4x?xf32>, tensor<1xi64>) -> tensor<4x?x1xf32>
  %rows = onnx.Unsqueeze(%x, %zero) : (tensor<?x8xf32>, tensor<1xi64>) -> tensor<1x?x8xf32>
  %in = onnx.Mul(%rows, %g) : (tensor<1x?x8xf32>, tensor<4x?x1xf32>) -> tensor<4x?x8xf32>
  %h = onnx.MatMul(%in, %up) : (tensor<4x?x8xf32>, tensor<4x8x6xf32>) -> tensor<4x?x6xf32>
  %a = onnx.Cos(%h) : (tensor<4x?x6xf32>) -> tensor<4x?x6xf32>
  %o = onnx.MatMul(%a, %down) : (tensor<4x?x6xf32>, tensor<4x6x8xf32>) -> tensor<4x?x8xf32>
  // expected-remark @below {{experts that a token did not pick get zeros and are not proven to give 0 for them}}
  %y = onnx.ReduceSum(%o, %zero) {keepdims = 0 : i64} : (tensor<4x?x8xf32>, tensor<1xi64>) -> tensor<?x8xf32>
  return %y : tensor<?x8xf32>
}

// -----

// One gate for two experts.
func.func @same_gate(%x: tensor<?x4xf32> {onnx.dims = ["n", ""]}, %g: tensor<?x2xf32> {onnx.dims = ["n", ""]}) -> tensor<?x4xf32> {
  %u0 = onnx.Constant() {value = dense<5.0> : tensor<4x6xf32>} : () -> tensor<4x6xf32>
  %d0 = onnx.Constant() {value = dense<2.0> : tensor<6x4xf32>} : () -> tensor<6x4xf32>
  %u1 = onnx.Constant() {value = dense<7.0> : tensor<4x6xf32>} : () -> tensor<4x6xf32>
  %d1 = onnx.Constant() {value = dense<9.0> : tensor<6x4xf32>} : () -> tensor<6x4xf32>
  %g0, %g1 = onnx.Split(%g) {axis = -1 : i64, num_outputs = 2 : i64} : (tensor<?x2xf32>) -> (tensor<?x1xf32>, tensor<?x1xf32>)
  %h0 = onnx.MatMul(%x, %u0) : (tensor<?x4xf32>, tensor<4x6xf32>) -> tensor<?x6xf32>
  %a0 = onnx.Relu(%h0) : (tensor<?x6xf32>) -> tensor<?x6xf32>
  %f0 = onnx.MatMul(%a0, %d0) : (tensor<?x6xf32>, tensor<6x4xf32>) -> tensor<?x4xf32>
  %h1 = onnx.MatMul(%x, %u1) : (tensor<?x4xf32>, tensor<4x6xf32>) -> tensor<?x6xf32>
  %a1 = onnx.Relu(%h1) : (tensor<?x6xf32>) -> tensor<?x6xf32>
  %f1 = onnx.MatMul(%a1, %d1) : (tensor<?x6xf32>, tensor<6x4xf32>) -> tensor<?x4xf32>
  %t0 = onnx.Mul(%f0, %g0) : (tensor<?x4xf32>, tensor<?x1xf32>) -> tensor<?x4xf32>
  // expected-remark @below {{two experts are weighted by one gate}}
  %t1 = onnx.Mul(%f1, %g0) : (tensor<?x4xf32>, tensor<?x1xf32>) -> tensor<?x4xf32>
  %y = onnx.Add(%t0, %t1) : (tensor<?x4xf32>, tensor<?x4xf32>) -> tensor<?x4xf32>
  return %y : tensor<?x4xf32>
}

// -----

// Experts that two gates read would run twice.
func.func @two_gates(%x: tensor<?x4xf32> {onnx.dims = ["n", ""]}, %g: tensor<?x2xf32> {onnx.dims = ["n", ""]}, %h: tensor<?x2xf32> {onnx.dims = ["n", ""]}) -> (tensor<?x4xf32>, tensor<?x4xf32>) {
  %u0 = onnx.Constant() {value = dense<5.0> : tensor<4x6xf32>} : () -> tensor<4x6xf32>
  %d0 = onnx.Constant() {value = dense<2.0> : tensor<6x4xf32>} : () -> tensor<6x4xf32>
  %u1 = onnx.Constant() {value = dense<7.0> : tensor<4x6xf32>} : () -> tensor<4x6xf32>
  %d1 = onnx.Constant() {value = dense<9.0> : tensor<6x4xf32>} : () -> tensor<6x4xf32>
  %g0, %g1 = onnx.Split(%g) {axis = -1 : i64, num_outputs = 2 : i64} : (tensor<?x2xf32>) -> (tensor<?x1xf32>, tensor<?x1xf32>)
  %k0, %k1 = onnx.Split(%h) {axis = -1 : i64, num_outputs = 2 : i64} : (tensor<?x2xf32>) -> (tensor<?x1xf32>, tensor<?x1xf32>)
  %h0 = onnx.MatMul(%x, %u0) : (tensor<?x4xf32>, tensor<4x6xf32>) -> tensor<?x6xf32>
  %a0 = onnx.Relu(%h0) : (tensor<?x6xf32>) -> tensor<?x6xf32>
  %f0 = onnx.MatMul(%a0, %d0) : (tensor<?x6xf32>, tensor<6x4xf32>) -> tensor<?x4xf32>
  %h1 = onnx.MatMul(%x, %u1) : (tensor<?x4xf32>, tensor<4x6xf32>) -> tensor<?x6xf32>
  %a1 = onnx.Relu(%h1) : (tensor<?x6xf32>) -> tensor<?x6xf32>
  %f1 = onnx.MatMul(%a1, %d1) : (tensor<?x6xf32>, tensor<6x4xf32>) -> tensor<?x4xf32>
  // expected-remark @below {{the result of an expert is read elsewhere as well}}
  %t0 = onnx.Mul(%f0, %g0) : (tensor<?x4xf32>, tensor<?x1xf32>) -> tensor<?x4xf32>
  %t1 = onnx.Mul(%f1, %g1) : (tensor<?x4xf32>, tensor<?x1xf32>) -> tensor<?x4xf32>
  %y = onnx.Add(%t0, %t1) : (tensor<?x4xf32>, tensor<?x4xf32>) -> tensor<?x4xf32>
  // expected-remark @below {{the result of an expert is read elsewhere as well}}
  %s0 = onnx.Mul(%f0, %k0) : (tensor<?x4xf32>, tensor<?x1xf32>) -> tensor<?x4xf32>
  %s1 = onnx.Mul(%f1, %k1) : (tensor<?x4xf32>, tensor<?x1xf32>) -> tensor<?x4xf32>
  %z = onnx.Add(%s0, %s1) : (tensor<?x4xf32>, tensor<?x4xf32>) -> tensor<?x4xf32>
  return %y, %z : tensor<?x4xf32>, tensor<?x4xf32>
}

// -----

// Experts of one neuron.
func.func @neurons(%x: tensor<?x4xf32> {onnx.dims = ["n", ""]}, %ids: tensor<?x2xi64> {onnx.dims = ["n", ""]}) -> tensor<?x4xf32> {
  %in = onnx.Constant() {value = dense<5.0> : tensor<9x4xf32>} : () -> tensor<9x4xf32>
  %out = onnx.Constant() {value = dense<2.0> : tensor<9x4xf32>} : () -> tensor<9x4xf32>
  %w1 = onnx.Gather(%in, %ids) : (tensor<9x4xf32>, tensor<?x2xi64>) -> tensor<?x2x4xf32>
  %w2 = onnx.Gather(%out, %ids) : (tensor<9x4xf32>, tensor<?x2xi64>) -> tensor<?x2x4xf32>
  %h = onnx.Einsum(%w1, %x) {equation = "nkd,nd->nk"} : (tensor<?x2x4xf32>, tensor<?x4xf32>) -> tensor<?x2xf32>
  %a = onnx.Gelu(%h) : (tensor<?x2xf32>) -> tensor<?x2xf32>
  // expected-remark @below {{experts of one neuron stay}}
  %y = onnx.Einsum(%a, %w2) {equation = "nk,nkd->nd"} : (tensor<?x2xf32>, tensor<?x2x4xf32>) -> tensor<?x4xf32>
  return %y : tensor<?x4xf32>
}
