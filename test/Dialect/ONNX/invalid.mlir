// RUN: moe-opt %s --split-input-file --verify-diagnostics

//===----------------------------------------------------------------------===//
// Elementwise
//===----------------------------------------------------------------------===//

func.func @add(%a: tensor<2x3xf32>, %b: tensor<2x4xf32>) {
  // expected-error @below {{operand 'A' of type 'tensor<2x3xf32>' and operand 'B' of type 'tensor<2x4xf32>' do not broadcast: extents 3 and 4 meet; equal ones or 1 are accepted}}
  %0 = onnx.Add(%a, %b) : (tensor<2x3xf32>, tensor<2x4xf32>) -> tensor<*xf32>
  return
}

// -----

func.func @where(%c: tensor<5xi1>, %a: tensor<2x3xf32>, %b: tensor<3xf32>) {
  // expected-error @below {{extents 5 and 3 meet}}
  %0 = onnx.Where(%c, %a, %b) : (tensor<5xi1>, tensor<2x3xf32>, tensor<3xf32>) -> tensor<*xf32>
  return
}

// -----

func.func @prelu(%a: tensor<2x3xf32>, %b: tensor<2x2x3xf32>) {
  // expected-error @below {{operand 'slope' has rank 3, at most 2 is accepted to broadcast to operand 'X'}}
  %0 = onnx.PRelu(%a, %b) : (tensor<2x3xf32>, tensor<2x2x3xf32>) -> tensor<*xf32>
  return
}

// -----

func.func @clip(%a: tensor<2x3xf32>, %b: tensor<2xf32>) {
  // expected-error @below {{operand 'min' has type 'tensor<2xf32>', a tensor of one element is accepted}}
  %0 = onnx.Clip(%a, %b) : (tensor<2x3xf32>, tensor<2xf32>) -> tensor<*xf32>
  return
}

// -----

func.func @cast(%a: tensor<2x3xf32>) {
  // expected-error @below {{to = 7 (int64), but the result has element type 'f32'; 'i64' is accepted}}
  %0 = onnx.Cast(%a) {to = 7 : i64} : (tensor<2x3xf32>) -> tensor<2x3xf32>
  return
}

// -----

func.func @cast_unknown(%a: tensor<2x3xf32>) {
  // expected-error @below {{to = 99 is no element type}}
  %0 = onnx.Cast(%a) {to = 99 : i64} : (tensor<2x3xf32>) -> tensor<2x3xf32>
  return
}

// -----

//===----------------------------------------------------------------------===//
// Products
//===----------------------------------------------------------------------===//

func.func @matmul(%a: tensor<2x3xf32>, %b: tensor<4x5xf32>) {
  // expected-error @below {{operand 'A' has extent 3 in dimension 1, operand 'B' has 4 in dimension 0; they must be equal}}
  %0 = onnx.MatMul(%a, %b) : (tensor<2x3xf32>, tensor<4x5xf32>) -> tensor<*xf32>
  return
}

// -----

func.func @matmul_batch(%a: tensor<6x2x3xf32>, %b: tensor<4x3x5xf32>) {
  // expected-error @below {{operand 'A' has extent 6 in dimension 0, operand 'B' has 4 in dimension 0; equal ones or 1 are accepted for a batch}}
  %0 = onnx.MatMul(%a, %b) : (tensor<6x2x3xf32>, tensor<4x3x5xf32>) -> tensor<*xf32>
  return
}

// -----

func.func @matmul_scalar(%a: tensor<f32>, %b: tensor<4x5xf32>) {
  // expected-error @below {{operand 'A' has rank 0, rank 1 or more is accepted}}
  %0 = onnx.MatMul(%a, %b) : (tensor<f32>, tensor<4x5xf32>) -> tensor<*xf32>
  return
}

// -----

func.func @gemm_rank(%a: tensor<2x3x4xf32>, %b: tensor<4x5xf32>) {
  // expected-error @below {{operand 'A' has rank 3, rank 2 is accepted}}
  %0 = onnx.Gemm(%a, %b) : (tensor<2x3x4xf32>, tensor<4x5xf32>) -> tensor<*xf32>
  return
}

// -----

func.func @gemm(%a: tensor<2x3xf32>, %b: tensor<3x5xf32>) {
  // expected-error @below {{operand 'A' has extent 3 in dimension 1, operand 'B' has 5 in dimension 1; they must be equal}}
  %0 = onnx.Gemm(%a, %b) {transB = 1 : i64} : (tensor<2x3xf32>, tensor<3x5xf32>) -> tensor<*xf32>
  return
}

// -----

func.func @gemm_bias(%a: tensor<2x3xf32>, %b: tensor<3x5xf32>, %c: tensor<4xf32>) {
  // expected-error @below {{operand 'C' has extent 4 in dimension 0, 1 or 5 is accepted to broadcast to the product}}
  %0 = onnx.Gemm(%a, %b, %c) : (tensor<2x3xf32>, tensor<3x5xf32>, tensor<4xf32>) -> tensor<*xf32>
  return
}

// -----

func.func @einsum_terms(%a: tensor<2x3xf32>) {
  // expected-error @below {{equation 'ij,jk->ik' has 2 terms, there are 1 operands}}
  %0 = onnx.Einsum(%a) {equation = "ij,jk->ik"} : (tensor<2x3xf32>) -> tensor<*xf32>
  return
}

// -----

func.func @einsum_rank(%a: tensor<2x3xf32>, %b: tensor<3xf32>) {
  // expected-error @below {{operand 'Inputs' #1 has rank 1, the equation term 'jk' accepts 2}}
  %0 = onnx.Einsum(%a, %b) {equation = "ij,jk->ik"} : (tensor<2x3xf32>, tensor<3xf32>) -> tensor<*xf32>
  return
}

// -----

func.func @einsum_extent(%a: tensor<2x3xf32>, %b: tensor<4x5xf32>) {
  // expected-error @below {{label 'j' has extent 3 in operand 'Inputs' #0 and 4 in operand 'Inputs' #1; they must be equal}}
  %0 = onnx.Einsum(%a, %b) {equation = "ij,jk->ik"} : (tensor<2x3xf32>, tensor<4x5xf32>) -> tensor<*xf32>
  return
}

// -----

func.func @einsum_result(%a: tensor<2x3xf32>) {
  // expected-error @below {{label 'x' of the result is in no operand of equation 'ij->x'}}
  %0 = onnx.Einsum(%a) {equation = "ij->x"} : (tensor<2x3xf32>) -> tensor<*xf32>
  return
}

// -----

//===----------------------------------------------------------------------===//
// Along axes
//===----------------------------------------------------------------------===//

func.func @reduce(%a: tensor<2x3xf32>) {
  %axes = onnx.Constant() {value = dense<2> : tensor<1xi64>} : () -> tensor<1xi64>
  // expected-error @below {{axes = 2 is out of range, -2 to 1 is accepted for rank 2}}
  %0 = onnx.ReduceSum(%a, %axes) : (tensor<2x3xf32>, tensor<1xi64>) -> tensor<*xf32>
  return
}

// -----

func.func @reduce_twice(%a: tensor<2x3xf32>) {
  %axes = onnx.Constant() {value = dense<[1, -1]> : tensor<2xi64>} : () -> tensor<2xi64>
  // expected-error @below {{axes name axis -1 twice; each axis is accepted once}}
  %0 = onnx.ReduceMean(%a, %axes) : (tensor<2x3xf32>, tensor<2xi64>) -> tensor<*xf32>
  return
}

// -----

func.func @softmax(%a: tensor<2x3xf32>) {
  // expected-error @below {{axis = 2 is out of range, -2 to 1 is accepted for rank 2}}
  %0 = onnx.Softmax(%a) {axis = 2 : i64} : (tensor<2x3xf32>) -> tensor<*xf32>
  return
}

// -----

func.func @argmax(%a: tensor<2x3xf32>) {
  // expected-error @below {{axis = -3 is out of range, -2 to 1 is accepted for rank 2}}
  %0 = onnx.ArgMax(%a) {axis = -3 : i64} : (tensor<2x3xf32>) -> tensor<*xi64>
  return
}

// -----

func.func @cumsum(%a: tensor<2x3xf32>) {
  %axis = onnx.Constant() {value = dense<2> : tensor<i64>} : () -> tensor<i64>
  // expected-error @below {{axis = 2 is out of range, -2 to 1 is accepted for rank 2}}
  %0 = onnx.CumSum(%a, %axis) : (tensor<2x3xf32>, tensor<i64>) -> tensor<*xf32>
  return
}

// -----

func.func @topk(%a: tensor<2x3xf32>) {
  %k = onnx.Constant() {value = dense<4> : tensor<1xi64>} : () -> tensor<1xi64>
  // expected-error @below {{k = 4 exceeds the extent 3 of axis -1; at most 3 is accepted}}
  %0, %1 = onnx.TopK(%a, %k) : (tensor<2x3xf32>, tensor<1xi64>) -> (tensor<*xf32>, tensor<*xi64>)
  return
}

// -----

func.func @topk_negative(%a: tensor<2x?xf32>) {
  %k = onnx.Constant() {value = dense<-1> : tensor<1xi64>} : () -> tensor<1xi64>
  // expected-error @below {{k = -1, 0 or more is accepted}}
  %0, %1 = onnx.TopK(%a, %k) : (tensor<2x?xf32>, tensor<1xi64>) -> (tensor<*xf32>, tensor<*xi64>)
  return
}

// -----

//===----------------------------------------------------------------------===//
// Shapes
//===----------------------------------------------------------------------===//

func.func @concat(%a: tensor<2x3xf32>, %b: tensor<2x4xf32>) {
  // expected-error @below {{operand 'inputs' #0 has extent 3 in dimension 1, operand 'inputs' #1 has 4 in dimension 1; they must be equal}}
  %0 = onnx.Concat(%a, %b) {axis = 0 : i64} : (tensor<2x3xf32>, tensor<2x4xf32>) -> tensor<*xf32>
  return
}

// -----

func.func @concat_rank(%a: tensor<2x3xf32>, %b: tensor<2xf32>) {
  // expected-error @below {{operand 'inputs' #0 has rank 2, operand 'inputs' #1 has rank 1; they must be equal}}
  %0 = onnx.Concat(%a, %b) {axis = 0 : i64} : (tensor<2x3xf32>, tensor<2xf32>) -> tensor<*xf32>
  return
}

// -----

func.func @split(%a: tensor<2x6xf32>) {
  %sizes = onnx.Constant() {value = dense<[2, 3]> : tensor<2xi64>} : () -> tensor<2xi64>
  // expected-error @below {{the sizes in split sum up to 5, axis 1 has extent 6; they must be equal}}
  %0, %1 = onnx.Split(%a, %sizes) {axis = 1 : i64} : (tensor<2x6xf32>, tensor<2xi64>) -> (tensor<*xf32>, tensor<*xf32>)
  return
}

// -----

func.func @split_count(%a: tensor<2x6xf32>) {
  // expected-error @below {{num_outputs = 3, but there are 2 results}}
  %0, %1 = onnx.Split(%a) {axis = 1 : i64, num_outputs = 3 : i64} : (tensor<2x6xf32>) -> (tensor<*xf32>, tensor<*xf32>)
  return
}

// -----

func.func @slice_step(%a: tensor<2x6xf32>, %i: tensor<1xi64>) {
  %step = onnx.Constant() {value = dense<0> : tensor<1xi64>} : () -> tensor<1xi64>
  // expected-error @below {{steps hold 0, any other step is accepted}}
  %0 = onnx.Slice(%a, %i, %i, %i, %step) : (tensor<2x6xf32>, tensor<1xi64>, tensor<1xi64>, tensor<1xi64>, tensor<1xi64>) -> tensor<*xf32>
  return
}

// -----

func.func @slice_length(%a: tensor<2x6xf32>, %i: tensor<1xi64>, %j: tensor<2xi64>) {
  // expected-error @below {{operand 'starts' has extent 1 in dimension 0, operand 'ends' has 2 in dimension 0; they must be equal}}
  %0 = onnx.Slice(%a, %i, %j) : (tensor<2x6xf32>, tensor<1xi64>, tensor<2xi64>) -> tensor<*xf32>
  return
}

// -----

func.func @transpose(%a: tensor<2x6xf32>) {
  // expected-error @below {{perm holds 1 twice; it must be a permutation}}
  %0 = onnx.Transpose(%a) {perm = array<i64: 1, 1>} : (tensor<2x6xf32>) -> tensor<*xf32>
  return
}

// -----

func.func @transpose_size(%a: tensor<2x6xf32>) {
  // expected-error @below {{perm has 3 entries, 2 are accepted for rank 2}}
  %0 = onnx.Transpose(%a) {perm = array<i64: 0, 1, 2>} : (tensor<2x6xf32>) -> tensor<*xf32>
  return
}

// -----

func.func @reshape(%a: tensor<2x6xf32>, %s: tensor<2xi64>) {
  // expected-error @below {{operand 'data' has 12 elements, the result 'tensor<3x5xf32>' has 15; they must be equal}}
  %0 = onnx.Reshape(%a, %s) : (tensor<2x6xf32>, tensor<2xi64>) -> tensor<3x5xf32>
  return
}

// -----

func.func @reshape_twice(%a: tensor<2x6xf32>) {
  %s = onnx.Constant() {value = dense<-1> : tensor<2xi64>} : () -> tensor<2xi64>
  // expected-error @below {{shape holds -1 2 times, once is accepted}}
  %0 = onnx.Reshape(%a, %s) : (tensor<2x6xf32>, tensor<2xi64>) -> tensor<*xf32>
  return
}

// -----

func.func @expand(%a: tensor<2x6xf32>) {
  %s = onnx.Constant() {value = dense<[3, 6]> : tensor<2xi64>} : () -> tensor<2xi64>
  // expected-error @below {{cannot expand extent 2 of dimension 0 to 3; 1 or 2 is accepted}}
  %0 = onnx.Expand(%a, %s) : (tensor<2x6xf32>, tensor<2xi64>) -> tensor<*xf32>
  return
}

// -----

func.func @tile(%a: tensor<2x6xf32>, %s: tensor<3xi64>) {
  // expected-error @below {{operand 'repeats' has extent 3 in dimension 0, 2 is accepted (one repeat for each dimension)}}
  %0 = onnx.Tile(%a, %s) : (tensor<2x6xf32>, tensor<3xi64>) -> tensor<*xf32>
  return
}

// -----

func.func @pad(%a: tensor<2x6xf32>, %s: tensor<3xi64>) {
  // expected-error @below {{operand 'pads' has extent 3 in dimension 0, 4 is accepted (a begin and an end for each axis)}}
  %0 = onnx.Pad(%a, %s) : (tensor<2x6xf32>, tensor<3xi64>) -> tensor<*xf32>
  return
}

// -----

func.func @pad_mode(%a: tensor<2x6xf32>, %s: tensor<4xi64>) {
  // expected-error @below {{mode = 'mirror' is not known; accepted: constant, reflect, edge, wrap}}
  %0 = onnx.Pad(%a, %s) {mode = "mirror"} : (tensor<2x6xf32>, tensor<4xi64>) -> tensor<*xf32>
  return
}

// -----

func.func @squeeze(%a: tensor<2x6xf32>) {
  %axes = onnx.Constant() {value = dense<0> : tensor<1xi64>} : () -> tensor<1xi64>
  // expected-error @below {{operand 'data' has extent 2 in dimension 0, 1 is accepted (only such dimensions can be removed)}}
  %0 = onnx.Squeeze(%a, %axes) : (tensor<2x6xf32>, tensor<1xi64>) -> tensor<*xf32>
  return
}

// -----

func.func @unsqueeze(%a: tensor<2x6xf32>) {
  %axes = onnx.Constant() {value = dense<4> : tensor<1xi64>} : () -> tensor<1xi64>
  // expected-error @below {{axes = 4 is out of range, -3 to 2 is accepted for rank 3}}
  %0 = onnx.Unsqueeze(%a, %axes) : (tensor<2x6xf32>, tensor<1xi64>) -> tensor<*xf32>
  return
}

// -----

func.func @flatten(%a: tensor<2x6xf32>) {
  // expected-error @below {{axis = 3 is out of range, -2 to 2 is accepted for rank 2}}
  %0 = onnx.Flatten(%a) {axis = 3 : i64} : (tensor<2x6xf32>) -> tensor<*xf32>
  return
}

// -----

func.func @range(%a: tensor<i64>) {
  %delta = onnx.Constant() {value = dense<0> : tensor<i64>} : () -> tensor<i64>
  // expected-error @below {{delta is 0, any other step is accepted}}
  %0 = onnx.Range(%a, %a, %delta) : (tensor<i64>, tensor<i64>, tensor<i64>) -> tensor<*xi64>
  return
}

// -----

func.func @resize(%a: tensor<1x1x4x4xf32>) {
  // expected-error @below {{has neither of the operands 'scales' and 'sizes', one of them is accepted}}
  %0 = onnx.Resize(%a) : (tensor<1x1x4x4xf32>) -> tensor<*xf32>
  return
}

// -----

func.func @depth_to_space(%a: tensor<1x6x4x4xf32>) {
  // expected-error @below {{operand 'input' has 6 channels, a multiple of 4 is accepted for blocksize 2}}
  %0 = onnx.DepthToSpace(%a) {blocksize = 2 : i64} : (tensor<1x6x4x4xf32>) -> tensor<*xf32>
  return
}

// -----

//===----------------------------------------------------------------------===//
// Indices
//===----------------------------------------------------------------------===//

func.func @gather(%a: tensor<2x6xf32>, %i: tensor<3xi64>) {
  // expected-error @below {{axis = 2 is out of range, -2 to 1 is accepted for rank 2}}
  %0 = onnx.Gather(%a, %i) {axis = 2 : i64} : (tensor<2x6xf32>, tensor<3xi64>) -> tensor<*xf32>
  return
}

// -----

func.func @gather_elements(%a: tensor<2x6xf32>, %i: tensor<3xi64>) {
  // expected-error @below {{operand 'data' has rank 2, operand 'indices' has rank 1; they must be equal}}
  %0 = onnx.GatherElements(%a, %i) : (tensor<2x6xf32>, tensor<3xi64>) -> tensor<*xf32>
  return
}

// -----

func.func @gather_nd(%a: tensor<2x6xf32>, %i: tensor<4x3xi64>) {
  // expected-error @below {{operand 'indices' holds tuples of 3 indices, 1 to 2 are accepted for operand 'data' of rank 2}}
  %0 = onnx.GatherND(%a, %i) : (tensor<2x6xf32>, tensor<4x3xi64>) -> tensor<*xf32>
  return
}

// -----

func.func @scatter_elements(%a: tensor<2x6xf32>, %i: tensor<2x3xi64>, %u: tensor<2x4xf32>) {
  // expected-error @below {{operand 'indices' has extent 3 in dimension 1, operand 'updates' has 4 in dimension 1; they must be equal}}
  %0 = onnx.ScatterElements(%a, %i, %u) {axis = 1 : i64} : (tensor<2x6xf32>, tensor<2x3xi64>, tensor<2x4xf32>) -> tensor<*xf32>
  return
}

// -----

func.func @scatter_reduction(%a: tensor<2x6xf32>, %i: tensor<2x3xi64>, %u: tensor<2x3xf32>) {
  // expected-error @below {{reduction = 'sum' is not known; accepted: none, add, mul, max, min}}
  %0 = onnx.ScatterElements(%a, %i, %u) {axis = 1 : i64, reduction = "sum"} : (tensor<2x6xf32>, tensor<2x3xi64>, tensor<2x3xf32>) -> tensor<*xf32>
  return
}

// -----

func.func @scatter_nd(%a: tensor<8x6xf32>, %i: tensor<3x1xi64>, %u: tensor<3x5xf32>) {
  // expected-error @below {{operand 'data' has extent 6 in dimension 1, operand 'updates' has 5 in dimension 1; they must be equal}}
  %0 = onnx.ScatterND(%a, %i, %u) : (tensor<8x6xf32>, tensor<3x1xi64>, tensor<3x5xf32>) -> tensor<*xf32>
  return
}

// -----

func.func @scatter_nd_rank(%a: tensor<8x6xf32>, %i: tensor<3x1xi64>, %u: tensor<3xf32>) {
  // expected-error @below {{operand 'updates' has rank 1, rank 2 is accepted}}
  %0 = onnx.ScatterND(%a, %i, %u) : (tensor<8x6xf32>, tensor<3x1xi64>, tensor<3xf32>) -> tensor<*xf32>
  return
}

// -----

func.func @one_hot(%i: tensor<3xi64>, %d: tensor<i64>, %v: tensor<3xf32>) {
  // expected-error @below {{operand 'values' has extent 3 in dimension 0, 2 is accepted (the off value and the on value)}}
  %0 = onnx.OneHot(%i, %d, %v) : (tensor<3xi64>, tensor<i64>, tensor<3xf32>) -> tensor<*xf32>
  return
}

// -----

func.func @non_zero(%a: tensor<2x6xf32>) {
  // expected-error @below {{result has extent 3 in dimension 0, 2 is accepted (the rank of operand 'X')}}
  %0 = onnx.NonZero(%a) : (tensor<2x6xf32>) -> tensor<3x?xi64>
  return
}

// -----

func.func @loop(%n: tensor<i64>, %c: tensor<i1>, %x: tensor<4xf32>) {
  // expected-error @below {{body has 2 arguments, 3 are accepted (iteration, condition, 1 carried values)}}
  %0 = onnx.Loop(%n, %c, %x) : (tensor<i64>, tensor<i1>, tensor<4xf32>) -> tensor<4xf32> {
  ^bb0(%i: tensor<i64>, %go: tensor<i1>):
    onnx.Yield %go, %x : tensor<i1>, tensor<4xf32>
  }
  return
}

// -----

//===----------------------------------------------------------------------===//
// Windows
//===----------------------------------------------------------------------===//

func.func @conv_rank(%x: tensor<1x3x8xf32>, %w: tensor<5x3xf32>) {
  // expected-error @below {{operand 'X' has rank 3, operand 'W' has rank 2; they must be equal}}
  %0 = onnx.Conv(%x, %w) : (tensor<1x3x8xf32>, tensor<5x3xf32>) -> tensor<*xf32>
  return
}

// -----

func.func @conv_channels(%x: tensor<1x6x8xf32>, %w: tensor<4x2x3xf32>) {
  // expected-error @below {{operand 'X' has 6 channels, operand 'W' takes 2 in each of 2 groups; 3 in each is accepted}}
  %0 = onnx.Conv(%x, %w) {group = 2 : i64} : (tensor<1x6x8xf32>, tensor<4x2x3xf32>) -> tensor<*xf32>
  return
}

// -----

func.func @conv_group(%x: tensor<1x6x8xf32>, %w: tensor<5x3x3xf32>) {
  // expected-error @below {{the number of filters = 5, a multiple of group = 2 is accepted}}
  %0 = onnx.Conv(%x, %w) {group = 2 : i64} : (tensor<1x6x8xf32>, tensor<5x3x3xf32>) -> tensor<*xf32>
  return
}

// -----

func.func @conv_strides(%x: tensor<1x3x8xf32>, %w: tensor<5x3x3xf32>) {
  // expected-error @below {{strides holds 0, 1 or more is accepted}}
  %0 = onnx.Conv(%x, %w) {strides = array<i64: 0>} : (tensor<1x3x8xf32>, tensor<5x3x3xf32>) -> tensor<*xf32>
  return
}

// -----

func.func @conv_pads(%x: tensor<1x3x8xf32>, %w: tensor<5x3x3xf32>) {
  // expected-error @below {{pads has 1 entries, 2 are accepted}}
  %0 = onnx.Conv(%x, %w) {pads = array<i64: 0>} : (tensor<1x3x8xf32>, tensor<5x3x3xf32>) -> tensor<*xf32>
  return
}

// -----

func.func @conv_kernel(%x: tensor<1x3x8xf32>, %w: tensor<5x3x3xf32>) {
  // expected-error @below {{operand 'W' has extent 3 in dimension 2, 2 is accepted (as kernel_shape says)}}
  %0 = onnx.Conv(%x, %w) {kernel_shape = array<i64: 2>} : (tensor<1x3x8xf32>, tensor<5x3x3xf32>) -> tensor<*xf32>
  return
}

// -----

func.func @conv_small(%x: tensor<1x3x2xf32>, %w: tensor<5x3x5xf32>) {
  // expected-error @below {{slides a window of 5 over 4 elements (dimension 2, padding included); at most 4 is accepted}}
  %0 = onnx.Conv(%x, %w) {pads = array<i64: 1, 1>} : (tensor<1x3x2xf32>, tensor<5x3x5xf32>) -> tensor<*xf32>
  return
}

// -----

func.func @conv_bias(%x: tensor<1x3x8xf32>, %w: tensor<5x3x3xf32>, %b: tensor<4xf32>) {
  // expected-error @below {{operand 'W' has extent 5 in dimension 0, operand 'B' has 4 in dimension 0; they must be equal}}
  %0 = onnx.Conv(%x, %w, %b) : (tensor<1x3x8xf32>, tensor<5x3x3xf32>, tensor<4xf32>) -> tensor<*xf32>
  return
}

// -----

func.func @conv_transpose(%x: tensor<1x3x8xf32>, %w: tensor<5x3x3xf32>) {
  // expected-error @below {{operand 'X' has extent 3 in dimension 1, operand 'W' has 5 in dimension 0; they must be equal}}
  %0 = onnx.ConvTranspose(%x, %w) : (tensor<1x3x8xf32>, tensor<5x3x3xf32>) -> tensor<*xf32>
  return
}

// -----

func.func @pool(%x: tensor<1x3x8xf32>) {
  // expected-error @below {{pads hold 3, at most 1 is accepted for a window of 2}}
  %0 = onnx.MaxPool(%x) {kernel_shape = array<i64: 2>, pads = array<i64: 0, 3>} : (tensor<1x3x8xf32>) -> tensor<*xf32>
  return
}

// -----

func.func @pool_rank(%x: tensor<3x8xf32>) {
  // expected-error @below {{operand 'X' has rank 2, rank 3 or more is accepted}}
  %0 = onnx.AveragePool(%x) {kernel_shape = array<i64: 2>} : (tensor<3x8xf32>) -> tensor<*xf32>
  return
}

// -----

//===----------------------------------------------------------------------===//
// Norms, recurrences, attention
//===----------------------------------------------------------------------===//

func.func @layer_norm(%x: tensor<2x8xf32>, %s: tensor<7xf32>) {
  // expected-error @below {{operand 'Scale' has extent 7 in dimension 0, 1 or 8 is accepted to broadcast to operand 'X'}}
  %0 = onnx.LayerNormalization(%x, %s) : (tensor<2x8xf32>, tensor<7xf32>) -> tensor<*xf32>
  return
}

// -----

func.func @batch_norm(%x: tensor<2x8xf32>, %s: tensor<7xf32>) {
  // expected-error @below {{operand 'scale' has extent 7 in dimension 0, 8 is accepted (the number of channels of operand 'X')}}
  %0 = onnx.BatchNormalization(%x, %s, %s, %s, %s) : (tensor<2x8xf32>, tensor<7xf32>, tensor<7xf32>, tensor<7xf32>, tensor<7xf32>) -> tensor<*xf32>
  return
}

// -----

func.func @group_norm(%x: tensor<2x8x4xf32>, %s: tensor<8xf32>) {
  // expected-error @below {{operand 'X' has 8 channels, a multiple of num_groups = 3 is accepted}}
  %0 = onnx.GroupNormalization(%x, %s, %s) {num_groups = 3 : i64} : (tensor<2x8x4xf32>, tensor<8xf32>, tensor<8xf32>) -> tensor<*xf32>
  return
}

// -----

func.func @lstm(%x: tensor<5x2x8xf32>, %w: tensor<1x15x8xf32>, %r: tensor<1x16x4xf32>) {
  // expected-error @below {{operand 'W' has extent 15 in dimension 1, 16 is accepted (4 gates of the hidden size)}}
  %0 = onnx.LSTM(%x, %w, %r) {hidden_size = 4 : i64} : (tensor<5x2x8xf32>, tensor<1x15x8xf32>, tensor<1x16x4xf32>) -> tensor<*xf32>
  return
}

// -----

func.func @lstm_directions(%x: tensor<5x2x8xf32>, %w: tensor<1x16x8xf32>, %r: tensor<1x16x4xf32>) {
  // expected-error @below {{operand 'W' has extent 1 in dimension 0, 2 is accepted (one matrix for each direction)}}
  %0 = onnx.LSTM(%x, %w, %r) {direction = "bidirectional", hidden_size = 4 : i64} : (tensor<5x2x8xf32>, tensor<1x16x8xf32>, tensor<1x16x4xf32>) -> tensor<*xf32>
  return
}

// -----

func.func @attention(%q: tensor<1x4x24xf32>, %k: tensor<1x4x24xf32>) {
  // expected-error @below {{q_num_heads = 0, 1 or more is accepted for operands of rank 3}}
  %0 = onnx.Attention(%q, %k, %k) : (tensor<1x4x24xf32>, tensor<1x4x24xf32>, tensor<1x4x24xf32>) -> tensor<*xf32>
  return
}

// -----

func.func @moe(%x: tensor<5x8xf32>, %p: tensor<5x4xf32>, %w1: tensor<4x16x8xf32>, %w2: tensor<4x8x16xf32>) {
  // expected-error @below {{k = 5, 1 to the number of experts (4) is accepted}}
  %0 = onnx_ms.MoE(%x, %p, %w1, _, %w2) {k = 5 : i64} : (tensor<5x8xf32>, tensor<5x4xf32>, tensor<4x16x8xf32>, tensor<4x8x16xf32>) -> tensor<5x8xf32>
  return
}

// -----

func.func @moe_banks(%x: tensor<5x8xf32>, %p: tensor<5x4xf32>, %w1: tensor<3x16x8xf32>, %w2: tensor<4x8x16xf32>) {
  // expected-error @below {{operand 'router_probs' has extent 4 in dimension 1, operand 'fc1_experts_weights' has 3 in dimension 0; they must be equal}}
  %0 = onnx_ms.MoE(%x, %p, %w1, _, %w2) : (tensor<5x8xf32>, tensor<5x4xf32>, tensor<3x16x8xf32>, tensor<4x8x16xf32>) -> tensor<5x8xf32>
  return
}

// -----

func.func @group_query(%q: tensor<1x4x24xf32>, %n: tensor<1xi32>, %t: tensor<i32>) {
  // expected-error @below {{num_heads = 4 and kv_num_heads = 3; a multiple of the latter, which is 1 or more, is accepted}}
  %0 = onnx_ms.GroupQueryAttention(%q, _, _, _, _, %n, %t) {num_heads = 4 : i64, kv_num_heads = 3 : i64} : (tensor<1x4x24xf32>, tensor<1xi32>, tensor<i32>) -> tensor<*xf32>
  return
}
