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

// -----

func.func @group_query_width(%q: tensor<1x4x30xf32>, %n: tensor<1xi32>, %t: tensor<i32>) {
  // expected-error @below {{operand 'query' has width 30, a multiple of 4 heads is accepted}}
  %0 = onnx_ms.GroupQueryAttention(%q, _, _, _, _, %n, %t) {num_heads = 2 : i64, kv_num_heads = 1 : i64} : (tensor<1x4x30xf32>, tensor<1xi32>, tensor<i32>) -> tensor<*xf32>
  return
}

// -----

func.func @group_query_rank(%q: tensor<4x32xf32>, %n: tensor<1xi32>, %t: tensor<i32>) {
  // expected-error @below {{operand 'query' has rank 2, rank 3 is accepted}}
  %0 = onnx_ms.GroupQueryAttention(%q, _, _, _, _, %n, %t) {num_heads = 2 : i64, kv_num_heads = 1 : i64} : (tensor<4x32xf32>, tensor<1xi32>, tensor<i32>) -> tensor<*xf32>
  return
}

// -----

func.func @group_query_key_alone(%q: tensor<1x4x32xf32>, %k: tensor<1x4x16xf32>, %n: tensor<1xi32>, %t: tensor<i32>) {
  // expected-error @below {{has operand 'key' without operand 'value'; both or none are accepted}}
  %0 = onnx_ms.GroupQueryAttention(%q, %k, _, _, _, %n, %t) {num_heads = 2 : i64, kv_num_heads = 1 : i64} : (tensor<1x4x32xf32>, tensor<1x4x16xf32>, tensor<1xi32>, tensor<i32>) -> tensor<*xf32>
  return
}

// -----

func.func @group_query_key_tokens(%q: tensor<1x4x32xf32>, %k: tensor<1x3x16xf32>, %v: tensor<1x3x16xf32>, %n: tensor<1xi32>, %t: tensor<i32>) {
  // expected-error @below {{operand 'query' has extent 4 in dimension 1, operand 'key' has 3 in dimension 1; they must be equal}}
  %0 = onnx_ms.GroupQueryAttention(%q, %k, %v, _, _, %n, %t) {num_heads = 2 : i64, kv_num_heads = 1 : i64} : (tensor<1x4x32xf32>, tensor<1x3x16xf32>, tensor<1x3x16xf32>, tensor<1xi32>, tensor<i32>) -> tensor<*xf32>
  return
}

// -----

func.func @group_query_key_width(%q: tensor<1x4x32xf32>, %k: tensor<1x4x16xf32>, %v: tensor<1x4x8xf32>, %n: tensor<1xi32>, %t: tensor<i32>) {
  // expected-error @below {{operand 'value' has extent 8 in dimension 2, 16 is accepted (kv_num_heads heads as wide as a query's)}}
  %0 = onnx_ms.GroupQueryAttention(%q, %k, %v, _, _, %n, %t) {num_heads = 2 : i64, kv_num_heads = 1 : i64} : (tensor<1x4x32xf32>, tensor<1x4x16xf32>, tensor<1x4x8xf32>, tensor<1xi32>, tensor<i32>) -> tensor<*xf32>
  return
}

// -----

func.func @group_query_lengths_rank(%q: tensor<1x4x32xf32>, %n: tensor<i32>, %t: tensor<i32>) {
  // expected-error @below {{operand 'seqlens_k' has rank 0, rank 1 or 2 is accepted}}
  %0 = onnx_ms.GroupQueryAttention(%q, _, _, _, _, %n, %t) {num_heads = 2 : i64, kv_num_heads = 1 : i64} : (tensor<1x4x32xf32>, tensor<i32>, tensor<i32>) -> tensor<*xf32>
  return
}

// -----

func.func @group_query_lengths(%q: tensor<1x4x32xf32>, %n: tensor<2xi32>, %t: tensor<i32>) {
  // expected-error @below {{operand 'query' has extent 1 in dimension 0, operand 'seqlens_k' has 2 in dimension 0; they must be equal}}
  %0 = onnx_ms.GroupQueryAttention(%q, _, _, _, _, %n, %t) {num_heads = 2 : i64, kv_num_heads = 1 : i64} : (tensor<1x4x32xf32>, tensor<2xi32>, tensor<i32>) -> tensor<*xf32>
  return
}

// -----

func.func @group_query_lengths_columns(%q: tensor<1x4x32xf32>, %n: tensor<1x2xi32>, %t: tensor<i32>) {
  // expected-error @below {{operand 'seqlens_k' has extent 2 in dimension 1, 1 is accepted (one per entry)}}
  %0 = onnx_ms.GroupQueryAttention(%q, _, _, _, _, %n, %t) {num_heads = 2 : i64, kv_num_heads = 1 : i64} : (tensor<1x4x32xf32>, tensor<1x2xi32>, tensor<i32>) -> tensor<*xf32>
  return
}

// -----

func.func @group_query_total(%q: tensor<1x4x32xf32>, %n: tensor<1xi32>, %t: tensor<2xi32>) {
  // expected-error @below {{operand 'total_sequence_length' has type 'tensor<2xi32>', a tensor of one element is accepted}}
  %0 = onnx_ms.GroupQueryAttention(%q, _, _, _, _, %n, %t) {num_heads = 2 : i64, kv_num_heads = 1 : i64} : (tensor<1x4x32xf32>, tensor<1xi32>, tensor<2xi32>) -> tensor<*xf32>
  return
}

// -----

func.func @group_query_past_alone(%q: tensor<1x4x32xf32>, %k: tensor<1x1x6x8xf32>, %n: tensor<1xi32>, %t: tensor<i32>) {
  // expected-error @below {{has operand 'past_key' without operand 'past_value'; both or none are accepted}}
  %0 = onnx_ms.GroupQueryAttention(%q, _, _, %k, _, %n, %t) {num_heads = 2 : i64, kv_num_heads = 1 : i64} : (tensor<1x4x32xf32>, tensor<1x1x6x8xf32>, tensor<1xi32>, tensor<i32>) -> tensor<*xf32>
  return
}

// -----

func.func @group_query_past_rank(%q: tensor<1x4x32xf32>, %k: tensor<1x1x6x8xf32>, %v: tensor<1x1x6xf32>, %n: tensor<1xi32>, %t: tensor<i32>) {
  // expected-error @below {{operand 'past_value' has rank 3, rank 4 is accepted}}
  %0 = onnx_ms.GroupQueryAttention(%q, _, _, %k, %v, %n, %t) {num_heads = 2 : i64, kv_num_heads = 1 : i64} : (tensor<1x4x32xf32>, tensor<1x1x6x8xf32>, tensor<1x1x6xf32>, tensor<1xi32>, tensor<i32>) -> tensor<*xf32>
  return
}

// -----

func.func @group_query_past_heads(%q: tensor<1x4x32xf32>, %k: tensor<1x2x6x8xf32>, %v: tensor<1x1x6x8xf32>, %n: tensor<1xi32>, %t: tensor<i32>) {
  // expected-error @below {{operand 'past_key' has extent 2 in dimension 1, 1 is accepted (kv_num_heads)}}
  %0 = onnx_ms.GroupQueryAttention(%q, _, _, %k, %v, %n, %t) {num_heads = 2 : i64, kv_num_heads = 1 : i64} : (tensor<1x4x32xf32>, tensor<1x2x6x8xf32>, tensor<1x1x6x8xf32>, tensor<1xi32>, tensor<i32>) -> tensor<*xf32>
  return
}

// -----

func.func @group_query_past_width(%q: tensor<1x4x32xf32>, %k: tensor<1x1x6x16xf32>, %v: tensor<1x1x6x8xf32>, %n: tensor<1xi32>, %t: tensor<i32>) {
  // expected-error @below {{operand 'past_key' has extent 16 in dimension 3, 8 is accepted (the width of a head)}}
  %0 = onnx_ms.GroupQueryAttention(%q, _, _, %k, %v, %n, %t) {num_heads = 2 : i64, kv_num_heads = 1 : i64} : (tensor<1x4x32xf32>, tensor<1x1x6x16xf32>, tensor<1x1x6x8xf32>, tensor<1xi32>, tensor<i32>) -> tensor<*xf32>
  return
}

// -----

func.func @group_query_past_rows(%q: tensor<1x4x32xf32>, %k: tensor<1x1x6x8xf32>, %v: tensor<1x1x5x8xf32>, %n: tensor<1xi32>, %t: tensor<i32>) {
  // expected-error @below {{operand 'past_key' has extent 6 in dimension 2, operand 'past_value' has 5 in dimension 2; they must be equal}}
  %0 = onnx_ms.GroupQueryAttention(%q, _, _, %k, %v, %n, %t) {num_heads = 2 : i64, kv_num_heads = 1 : i64} : (tensor<1x4x32xf32>, tensor<1x1x6x8xf32>, tensor<1x1x5x8xf32>, tensor<1xi32>, tensor<i32>) -> tensor<*xf32>
  return
}

// -----

func.func @group_query_window(%q: tensor<1x4x32xf32>, %n: tensor<1xi32>, %t: tensor<i32>) {
  // expected-error @below {{local_window_size = 0, 1 or more, or -1 for none, is accepted}}
  %0 = onnx_ms.GroupQueryAttention(%q, _, _, _, _, %n, %t) {num_heads = 2 : i64, kv_num_heads = 1 : i64, local_window_size = 0 : i64} : (tensor<1x4x32xf32>, tensor<1xi32>, tensor<i32>) -> tensor<*xf32>
  return
}

// -----

func.func @group_query_causal(%q: tensor<1x4x32xf32>, %n: tensor<1xi32>, %t: tensor<i32>) {
  // expected-error @below {{causal = 2, 0 or 1 is accepted}}
  %0 = onnx_ms.GroupQueryAttention(%q, _, _, _, _, %n, %t) {num_heads = 2 : i64, kv_num_heads = 1 : i64, causal = 2 : i64} : (tensor<1x4x32xf32>, tensor<1xi32>, tensor<i32>) -> tensor<*xf32>
  return
}

// -----

func.func @group_query_window_causal(%q: tensor<1x4x32xf32>, %n: tensor<1xi32>, %t: tensor<i32>) {
  // expected-error @below {{local_window_size = 4 with causal = 0; -1 is accepted there}}
  %0 = onnx_ms.GroupQueryAttention(%q, _, _, _, _, %n, %t) {num_heads = 2 : i64, kv_num_heads = 1 : i64, causal = 0 : i64, local_window_size = 4 : i64} : (tensor<1x4x32xf32>, tensor<1xi32>, tensor<i32>) -> tensor<*xf32>
  return
}

// -----

func.func @group_query_cache_window(%q: tensor<1x4x32xf32>, %k: tensor<1x1x6x8xf32>, %v: tensor<1x1x6x8xf32>, %n: tensor<1xi32>, %t: tensor<i32>) {
  // expected-error @below {{sliding_window_cache = 1 with local_window_size = -1; 1 or more is accepted there}}
  %0 = onnx_ms.GroupQueryAttention(%q, _, _, %k, %v, %n, %t) {num_heads = 2 : i64, kv_num_heads = 1 : i64, sliding_window_cache = 1 : i64} : (tensor<1x4x32xf32>, tensor<1x1x6x8xf32>, tensor<1x1x6x8xf32>, tensor<1xi32>, tensor<i32>) -> tensor<*xf32>
  return
}

// -----

func.func @group_query_cache_past(%q: tensor<1x4x32xf32>, %n: tensor<1xi32>, %t: tensor<i32>) {
  // expected-error @below {{sliding_window_cache = 1 without 'past_key'}}
  %0 = onnx_ms.GroupQueryAttention(%q, _, _, _, _, %n, %t) {num_heads = 2 : i64, kv_num_heads = 1 : i64, sliding_window_cache = 1 : i64, local_window_size = 4 : i64} : (tensor<1x4x32xf32>, tensor<1xi32>, tensor<i32>) -> tensor<*xf32>
  return
}

// -----

func.func @group_query_cache_rows(%q: tensor<1x4x32xf32>, %k: tensor<1x1x6x8xf32>, %v: tensor<1x1x6x8xf32>, %n: tensor<1xi32>, %t: tensor<i32>) {
  // expected-error @below {{operand 'past_key' has 6 rows, at least local_window_size = 7 are accepted}}
  %0 = onnx_ms.GroupQueryAttention(%q, _, _, %k, %v, %n, %t) {num_heads = 2 : i64, kv_num_heads = 1 : i64, sliding_window_cache = 1 : i64, local_window_size = 7 : i64} : (tensor<1x4x32xf32>, tensor<1x1x6x8xf32>, tensor<1x1x6x8xf32>, tensor<1xi32>, tensor<i32>) -> tensor<*xf32>
  return
}

// -----

func.func @group_query_rotary(%q: tensor<1x4x32xf32>, %n: tensor<1xi32>, %t: tensor<i32>) {
  // expected-error @below {{do_rotary = 1 without 'cos_cache' and 'sin_cache'; both are needed}}
  %0 = onnx_ms.GroupQueryAttention(%q, _, _, _, _, %n, %t) {num_heads = 2 : i64, kv_num_heads = 1 : i64, do_rotary = 1 : i64} : (tensor<1x4x32xf32>, tensor<1xi32>, tensor<i32>) -> tensor<*xf32>
  return
}

// -----

func.func @group_query_cos(%q: tensor<1x4x32xf32>, %n: tensor<1xi32>, %t: tensor<i32>, %c: tensor<9x4xf32>) {
  // expected-error @below {{has operand 'cos_cache' without operand 'sin_cache'; both or none are accepted}}
  %0 = onnx_ms.GroupQueryAttention(%q, _, _, _, _, %n, %t, %c) {num_heads = 2 : i64, kv_num_heads = 1 : i64} : (tensor<1x4x32xf32>, tensor<1xi32>, tensor<i32>, tensor<9x4xf32>) -> tensor<*xf32>
  return
}

// -----

func.func @group_query_angles(%q: tensor<1x4x32xf32>, %n: tensor<1xi32>, %t: tensor<i32>, %c: tensor<9x8xf32>, %s: tensor<9x8xf32>) {
  // expected-error @below {{operand 'cos_cache' has 8 columns, 1 to 4 (half the width of a head) are accepted}}
  %0 = onnx_ms.GroupQueryAttention(%q, _, _, _, _, %n, %t, %c, %s) {num_heads = 2 : i64, kv_num_heads = 1 : i64} : (tensor<1x4x32xf32>, tensor<1xi32>, tensor<i32>, tensor<9x8xf32>, tensor<9x8xf32>) -> tensor<*xf32>
  return
}

// -----

func.func @group_query_angle_rows(%q: tensor<1x4x32xf32>, %n: tensor<1xi32>, %t: tensor<i32>, %c: tensor<9x4xf32>, %s: tensor<8x4xf32>) {
  // expected-error @below {{operand 'cos_cache' has extent 9 in dimension 0, operand 'sin_cache' has 8 in dimension 0; they must be equal}}
  %0 = onnx_ms.GroupQueryAttention(%q, _, _, _, _, %n, %t, %c, %s) {num_heads = 2 : i64, kv_num_heads = 1 : i64} : (tensor<1x4x32xf32>, tensor<1xi32>, tensor<i32>, tensor<9x4xf32>, tensor<8x4xf32>) -> tensor<*xf32>
  return
}

// -----

func.func @group_query_positions(%q: tensor<1x4x32xf32>, %n: tensor<1xi32>, %t: tensor<i32>, %p: tensor<1x3xi64>) {
  // expected-error @below {{operand 'query' has extent 4 in dimension 1, operand 'position_ids' has 3 in dimension 1; they must be equal}}
  %0 = onnx_ms.GroupQueryAttention(%q, _, _, _, _, %n, %t, _, _, %p) {num_heads = 2 : i64, kv_num_heads = 1 : i64} : (tensor<1x4x32xf32>, tensor<1xi32>, tensor<i32>, tensor<1x3xi64>) -> tensor<*xf32>
  return
}

// -----

func.func @group_query_bias(%q: tensor<1x4x32xf32>, %n: tensor<1xi32>, %t: tensor<i32>, %b: tensor<4x4xf32>) {
  // expected-error @below {{operand 'attention_bias' has rank 2, rank 4 is accepted}}
  %0 = onnx_ms.GroupQueryAttention(%q, _, _, _, _, %n, %t, _, _, _, %b) {num_heads = 2 : i64, kv_num_heads = 1 : i64} : (tensor<1x4x32xf32>, tensor<1xi32>, tensor<i32>, tensor<4x4xf32>) -> tensor<*xf32>
  return
}

// -----

func.func @group_query_bias_heads(%q: tensor<1x4x32xf32>, %n: tensor<1xi32>, %t: tensor<i32>, %b: tensor<1x3x4x4xf32>) {
  // expected-error @below {{operand 'attention_bias' has extent 3 in dimension 1, 1 or num_heads = 2 is accepted}}
  %0 = onnx_ms.GroupQueryAttention(%q, _, _, _, _, %n, %t, _, _, _, %b) {num_heads = 2 : i64, kv_num_heads = 1 : i64} : (tensor<1x4x32xf32>, tensor<1xi32>, tensor<i32>, tensor<1x3x4x4xf32>) -> tensor<*xf32>
  return
}

// -----

func.func @group_query_bias_batch(%q: tensor<1x4x32xf32>, %n: tensor<1xi32>, %t: tensor<i32>, %b: tensor<2x1x4x4xf32>) {
  // expected-error @below {{operand 'query' has extent 1 in dimension 0, operand 'attention_bias' has 2 in dimension 0; they must be equal}}
  %0 = onnx_ms.GroupQueryAttention(%q, _, _, _, _, %n, %t, _, _, _, %b) {num_heads = 2 : i64, kv_num_heads = 1 : i64} : (tensor<1x4x32xf32>, tensor<1xi32>, tensor<i32>, tensor<2x1x4x4xf32>) -> tensor<*xf32>
  return
}

// -----

func.func @group_query_sink(%q: tensor<1x4x32xf32>, %n: tensor<1xi32>, %t: tensor<i32>, %h: tensor<3xf32>) {
  // expected-error @below {{operand 'head_sink' has extent 3 in dimension 0, 2 is accepted (num_heads)}}
  %0 = onnx_ms.GroupQueryAttention(%q, _, _, _, _, %n, %t, _, _, _, _, %h) {num_heads = 2 : i64, kv_num_heads = 1 : i64} : (tensor<1x4x32xf32>, tensor<1xi32>, tensor<i32>, tensor<3xf32>) -> tensor<*xf32>
  return
}

// -----

func.func @group_query_norms(%q: tensor<1x4x32xf32>, %n: tensor<1xi32>, %t: tensor<i32>, %w: tensor<8xf32>) {
  // expected-error @below {{has operand 'q_norm_weight' without operand 'k_norm_weight'; both or none are accepted}}
  %0 = onnx_ms.GroupQueryAttention(%q, _, _, _, _, %n, %t, _, _, _, _, _, _, _, %w) {num_heads = 2 : i64, kv_num_heads = 1 : i64} : (tensor<1x4x32xf32>, tensor<1xi32>, tensor<i32>, tensor<8xf32>) -> tensor<*xf32>
  return
}

// -----

func.func @group_query_norm_width(%q: tensor<1x4x32xf32>, %n: tensor<1xi32>, %t: tensor<i32>, %w: tensor<8xf32>, %x: tensor<4xf32>) {
  // expected-error @below {{operand 'k_norm_weight' has extent 4 in dimension 0, 8 is accepted (the width of a head)}}
  %0 = onnx_ms.GroupQueryAttention(%q, _, _, _, _, %n, %t, _, _, _, _, _, _, _, %w, %x) {num_heads = 2 : i64, kv_num_heads = 1 : i64} : (tensor<1x4x32xf32>, tensor<1xi32>, tensor<i32>, tensor<8xf32>, tensor<4xf32>) -> tensor<*xf32>
  return
}

// -----

func.func @group_query_chunks(%q: tensor<1x4x32xf32>, %n: tensor<1xi32>, %t: tensor<i32>, %l: tensor<1xi32>) {
  // expected-error @below {{'query_seqlens' is accepted with 'past_key', 'past_value' and causal = 1 only}}
  %0 = onnx_ms.GroupQueryAttention(%q, _, _, _, _, %n, %t, _, _, _, _, _, _, _, _, _, %l) {num_heads = 2 : i64, kv_num_heads = 1 : i64} : (tensor<1x4x32xf32>, tensor<1xi32>, tensor<i32>, tensor<1xi32>) -> tensor<*xf32>
  return
}

// -----

func.func @moe_tokens(%x: tensor<5x8xf32>, %p: tensor<6x4xf32>, %w1: tensor<4x16x8xf32>, %w2: tensor<4x8x16xf32>) {
  // expected-error @below {{operand 'input' has extent 5 in dimension 0, operand 'router_probs' has 6 in dimension 0; they must be equal}}
  %0 = onnx_ms.MoE(%x, %p, %w1, _, %w2) : (tensor<5x8xf32>, tensor<6x4xf32>, tensor<4x16x8xf32>, tensor<4x8x16xf32>) -> tensor<*xf32>
  return
}

// -----

func.func @moe_tokens_rank_3(%x: tensor<2x3x8xf32>, %p: tensor<5x4xf32>, %w1: tensor<4x16x8xf32>, %w2: tensor<4x8x16xf32>) {
  // expected-error @below {{operand 'router_probs' has extent 5 in dimension 0, 6 is accepted (a row for each token of operand 'input')}}
  %0 = onnx_ms.MoE(%x, %p, %w1, _, %w2) : (tensor<2x3x8xf32>, tensor<5x4xf32>, tensor<4x16x8xf32>, tensor<4x8x16xf32>) -> tensor<*xf32>
  return
}

// -----

func.func @moe_fusion(%x: tensor<5x8xf32>, %p: tensor<5x4xf32>, %w1: tensor<4x16x8xf32>, %w2: tensor<4x8x16xf32>) {
  // expected-error @below {{swiglu_fusion = 3, 0, 1 or 2 is accepted}}
  %0 = onnx_ms.MoE(%x, %p, %w1, _, %w2) {swiglu_fusion = 3 : i64} : (tensor<5x8xf32>, tensor<5x4xf32>, tensor<4x16x8xf32>, tensor<4x8x16xf32>) -> tensor<*xf32>
  return
}

// -----

func.func @moe_inner(%x: tensor<5x8xf32>, %p: tensor<5x4xf32>, %w1: tensor<4x16x8xf32>, %w2: tensor<4x8x12xf32>) {
  // expected-error @below {{operand 'fc1_experts_weights' has extent 16 in dimension 1, 12 is accepted (the inner width of fc2)}}
  %0 = onnx_ms.MoE(%x, %p, %w1, _, %w2) : (tensor<5x8xf32>, tensor<5x4xf32>, tensor<4x16x8xf32>, tensor<4x8x12xf32>) -> tensor<*xf32>
  return
}

// -----

func.func @moe_fused(%x: tensor<5x8xf32>, %p: tensor<5x4xf32>, %w1: tensor<4x16x8xf32>, %w2: tensor<4x8x16xf32>) {
  // expected-error @below {{operand 'fc1_experts_weights' has extent 16 in dimension 1, 32 is accepted (gates and ups of the width of fc2)}}
  %0 = onnx_ms.MoE(%x, %p, %w1, _, %w2) {activation_type = "swiglu", swiglu_fusion = 1 : i64} : (tensor<5x8xf32>, tensor<5x4xf32>, tensor<4x16x8xf32>, tensor<4x8x16xf32>) -> tensor<*xf32>
  return
}

// -----

func.func @moe_bias(%x: tensor<5x8xf32>, %p: tensor<5x4xf32>, %w1: tensor<4x16x8xf32>, %b1: tensor<4x8xf32>, %w2: tensor<4x8x16xf32>) {
  // expected-error @below {{operand 'fc1_experts_weights' has extent 16 in dimension 1, operand 'fc1_experts_bias' has 8 in dimension 1; they must be equal}}
  %0 = onnx_ms.MoE(%x, %p, %w1, %b1, %w2) : (tensor<5x8xf32>, tensor<5x4xf32>, tensor<4x16x8xf32>, tensor<4x8xf32>, tensor<4x8x16xf32>) -> tensor<*xf32>
  return
}

// -----

func.func @moe_bias2(%x: tensor<5x8xf32>, %p: tensor<5x4xf32>, %w1: tensor<4x16x8xf32>, %w2: tensor<4x8x16xf32>, %b2: tensor<4x16xf32>) {
  // expected-error @below {{operand 'fc2_experts_weights' has extent 8 in dimension 1, operand 'fc2_experts_bias' has 16 in dimension 1; they must be equal}}
  %0 = onnx_ms.MoE(%x, %p, %w1, _, %w2, %b2) : (tensor<5x8xf32>, tensor<5x4xf32>, tensor<4x16x8xf32>, tensor<4x8x16xf32>, tensor<4x16xf32>) -> tensor<*xf32>
  return
}

// -----

func.func @moe_fc3(%x: tensor<5x8xf32>, %p: tensor<5x4xf32>, %w1: tensor<4x16x8xf32>, %w2: tensor<4x8x16xf32>, %w3: tensor<4x8x8xf32>) {
  // expected-error @below {{operand 'fc2_experts_weights' has extent 16 in dimension 2, operand 'fc3_experts_weights' has 8 in dimension 1; they must be equal}}
  %0 = onnx_ms.MoE(%x, %p, %w1, _, %w2, _, %w3) : (tensor<5x8xf32>, tensor<5x4xf32>, tensor<4x16x8xf32>, tensor<4x8x16xf32>, tensor<4x8x8xf32>) -> tensor<*xf32>
  return
}

// -----

func.func @moe_fc3_in(%x: tensor<5x8xf32>, %p: tensor<5x4xf32>, %w1: tensor<4x16x8xf32>, %w2: tensor<4x8x16xf32>, %w3: tensor<4x16x16xf32>) {
  // expected-error @below {{operand 'fc1_experts_weights' has extent 8 in dimension 2, operand 'fc3_experts_weights' has 16 in dimension 2; they must be equal}}
  %0 = onnx_ms.MoE(%x, %p, %w1, _, %w2, _, %w3) : (tensor<5x8xf32>, tensor<5x4xf32>, tensor<4x16x8xf32>, tensor<4x8x16xf32>, tensor<4x16x16xf32>) -> tensor<*xf32>
  return
}

// -----

func.func @moe_fc3_bias(%x: tensor<5x8xf32>, %p: tensor<5x4xf32>, %w1: tensor<4x16x8xf32>, %w2: tensor<4x8x16xf32>, %w3: tensor<4x16x8xf32>, %b3: tensor<4x8xf32>) {
  // expected-error @below {{operand 'fc2_experts_weights' has extent 16 in dimension 2, operand 'fc3_experts_bias' has 8 in dimension 1; they must be equal}}
  %0 = onnx_ms.MoE(%x, %p, %w1, _, %w2, _, %w3, %b3) : (tensor<5x8xf32>, tensor<5x4xf32>, tensor<4x16x8xf32>, tensor<4x8x16xf32>, tensor<4x16x8xf32>, tensor<4x8xf32>) -> tensor<*xf32>
  return
}

// -----

func.func @qmoe_bits(%x: tensor<5x32xf32>, %p: tensor<5x4xf32>, %w1: tensor<4x64x16xui8>, %s1: tensor<4x64xf32>, %w2: tensor<4x32x32xui8>, %s2: tensor<4x32xf32>) {
  // expected-error @below {{has weights of 5 bits, 2, 3, 4 or 8 is accepted}}
  %0 = onnx_ms.QMoE(%x, %p, %w1, %s1, _, %w2, %s2) {expert_weight_bits = 5 : i64} : (tensor<5x32xf32>, tensor<5x4xf32>, tensor<4x64x16xui8>, tensor<4x64xf32>, tensor<4x32x32xui8>, tensor<4x32xf32>) -> tensor<*xf32>
  return
}

// -----

func.func @qmoe_own_bits(%x: tensor<5x32xf32>, %p: tensor<5x4xf32>, %w1: tensor<4x64x16xui8>, %s1: tensor<4x64xf32>, %w2: tensor<4x32x32xui8>, %s2: tensor<4x32xf32>) {
  // expected-error @below {{operand 'fc1_experts_weights' has extent 16 in dimension 2, 32 is accepted (8 bits for each column of the bank)}}
  %0 = onnx_ms.QMoE(%x, %p, %w1, %s1, _, %w2, %s2) {fc1_expert_weight_bits = 8 : i64} : (tensor<5x32xf32>, tensor<5x4xf32>, tensor<4x64x16xui8>, tensor<4x64xf32>, tensor<4x32x32xui8>, tensor<4x32xf32>) -> tensor<*xf32>
  return
}

// -----

func.func @qmoe_rows(%x: tensor<5x32xf32>, %p: tensor<5x4xf32>, %w1: tensor<4x64x16xui8>, %s1: tensor<4x64xf32>, %w2: tensor<4x16x32xui8>, %s2: tensor<4x16xf32>) {
  // expected-error @below {{operand 'fc2_experts_weights' has extent 16 in dimension 1, 32 is accepted (rows of the bank)}}
  %0 = onnx_ms.QMoE(%x, %p, %w1, %s1, _, %w2, %s2) : (tensor<5x32xf32>, tensor<5x4xf32>, tensor<4x64x16xui8>, tensor<4x64xf32>, tensor<4x16x32xui8>, tensor<4x16xf32>) -> tensor<*xf32>
  return
}

// -----

func.func @qmoe_odd(%x: tensor<5x32xf32>, %p: tensor<5x4xf32>, %w1: tensor<4x63x16xui8>, %s1: tensor<4x63xf32>, %w2: tensor<4x32x32xui8>, %s2: tensor<4x32xf32>) {
  // expected-error @below {{operand 'fc1_experts_weights' has extent 63 in dimension 1, an even number (gates and ups) is accepted}}
  %0 = onnx_ms.QMoE(%x, %p, %w1, %s1, _, %w2, %s2) {activation_type = "geglu", swiglu_fusion = 2 : i64} : (tensor<5x32xf32>, tensor<5x4xf32>, tensor<4x63x16xui8>, tensor<4x63xf32>, tensor<4x32x32xui8>, tensor<4x32xf32>) -> tensor<*xf32>
  return
}

// -----

func.func @qmoe_scale_rank(%x: tensor<5x32xf32>, %p: tensor<5x4xf32>, %w1: tensor<4x64x16xui8>, %s1: tensor<4x64xf32>, %w2: tensor<4x32x32xui8>, %s2: tensor<4x32xf32>) {
  // expected-error @below {{operand 'fc1_scales' has rank 2, rank 3 is accepted}}
  %0 = onnx_ms.QMoE(%x, %p, %w1, %s1, _, %w2, %s2) {block_size = 16 : i64} : (tensor<5x32xf32>, tensor<5x4xf32>, tensor<4x64x16xui8>, tensor<4x64xf32>, tensor<4x32x32xui8>, tensor<4x32xf32>) -> tensor<*xf32>
  return
}

// -----

func.func @qmoe_scale_rows(%x: tensor<5x32xf32>, %p: tensor<5x4xf32>, %w1: tensor<4x64x16xui8>, %s1: tensor<4x32xf32>, %w2: tensor<4x32x32xui8>, %s2: tensor<4x32xf32>) {
  // expected-error @below {{operand 'fc1_experts_weights' has extent 64 in dimension 1, operand 'fc1_scales' has 32 in dimension 1; they must be equal}}
  %0 = onnx_ms.QMoE(%x, %p, %w1, %s1, _, %w2, %s2) : (tensor<5x32xf32>, tensor<5x4xf32>, tensor<4x64x16xui8>, tensor<4x32xf32>, tensor<4x32x32xui8>, tensor<4x32xf32>) -> tensor<*xf32>
  return
}

// -----

func.func @qmoe_block(%x: tensor<5x32xf32>, %p: tensor<5x4xf32>, %w1: tensor<4x64x16xui8>, %s1: tensor<4x64x2xf32>, %w2: tensor<4x32x32xui8>, %s2: tensor<4x32x4xf32>) {
  // expected-error @below {{block_size = 24, a power of two from 16 on is accepted}}
  %0 = onnx_ms.QMoE(%x, %p, %w1, %s1, _, %w2, %s2) {block_size = 24 : i64} : (tensor<5x32xf32>, tensor<5x4xf32>, tensor<4x64x16xui8>, tensor<4x64x2xf32>, tensor<4x32x32xui8>, tensor<4x32x4xf32>) -> tensor<*xf32>
  return
}

// -----

func.func @qmoe_blocks(%x: tensor<5x32xf32>, %p: tensor<5x4xf32>, %w1: tensor<4x64x16xui8>, %s1: tensor<4x64x3xf32>, %w2: tensor<4x32x32xui8>, %s2: tensor<4x32x4xf32>) {
  // expected-error @below {{operand 'fc1_scales' has extent 3 in dimension 2, 2 is accepted (blocks of a row)}}
  %0 = onnx_ms.QMoE(%x, %p, %w1, %s1, _, %w2, %s2) {block_size = 16 : i64} : (tensor<5x32xf32>, tensor<5x4xf32>, tensor<4x64x16xui8>, tensor<4x64x3xf32>, tensor<4x32x32xui8>, tensor<4x32x4xf32>) -> tensor<*xf32>
  return
}

// -----

func.func @qmoe_columns(%x: tensor<5x32xf32>, %p: tensor<5x4xf32>, %w1: tensor<4x64x16xui8>, %s1: tensor<4x64x1xf32>, %w2: tensor<4x32x32xui8>, %s2: tensor<4x32x1xf32>) {
  // expected-error @below {{operand 'fc1_experts_weights' has 32 columns, a multiple of block_size = 64 is accepted}}
  %0 = onnx_ms.QMoE(%x, %p, %w1, %s1, _, %w2, %s2) {block_size = 64 : i64} : (tensor<5x32xf32>, tensor<5x4xf32>, tensor<4x64x16xui8>, tensor<4x64x1xf32>, tensor<4x32x32xui8>, tensor<4x32x1xf32>) -> tensor<*xf32>
  return
}

// -----

func.func @qmoe_zeros(%x: tensor<5x32xf32>, %p: tensor<5x4xf32>, %w1: tensor<4x64x16xui8>, %s1: tensor<4x64xf32>, %w2: tensor<4x32x32xui8>, %s2: tensor<4x32xf32>, %z1: tensor<4x64xui8>) {
  // expected-error @below {{operand 'fc1_zero_points' has extent 64 in dimension 1, 32 is accepted (4 bits for each row of the bank)}}
  %0 = onnx_ms.QMoE(%x, %p, %w1, %s1, _, %w2, %s2, _, _, _, _, %z1) : (tensor<5x32xf32>, tensor<5x4xf32>, tensor<4x64x16xui8>, tensor<4x64xf32>, tensor<4x32x32xui8>, tensor<4x32xf32>, tensor<4x64xui8>) -> tensor<*xf32>
  return
}

// -----

func.func @qmoe_zeros_rank(%x: tensor<5x32xf32>, %p: tensor<5x4xf32>, %w1: tensor<4x64x16xui8>, %s1: tensor<4x64x2xf32>, %w2: tensor<4x32x32xui8>, %s2: tensor<4x32x4xf32>, %z1: tensor<4x32xui8>) {
  // expected-error @below {{operand 'fc1_zero_points' has rank 2, rank 3 is accepted}}
  %0 = onnx_ms.QMoE(%x, %p, %w1, %s1, _, %w2, %s2, _, _, _, _, %z1) {block_size = 16 : i64} : (tensor<5x32xf32>, tensor<5x4xf32>, tensor<4x64x16xui8>, tensor<4x64x2xf32>, tensor<4x32x32xui8>, tensor<4x32x4xf32>, tensor<4x32xui8>) -> tensor<*xf32>
  return
}

// -----

func.func @qmoe_zeros_rows(%x: tensor<5x32xf32>, %p: tensor<5x4xf32>, %w1: tensor<4x64x16xui8>, %s1: tensor<4x64x2xf32>, %w2: tensor<4x32x32xui8>, %s2: tensor<4x32x4xf32>, %z1: tensor<4x32x1xui8>) {
  // expected-error @below {{operand 'fc1_experts_weights' has extent 64 in dimension 1, operand 'fc1_zero_points' has 32 in dimension 1; they must be equal}}
  %0 = onnx_ms.QMoE(%x, %p, %w1, %s1, _, %w2, %s2, _, _, _, _, %z1) {block_size = 16 : i64} : (tensor<5x32xf32>, tensor<5x4xf32>, tensor<4x64x16xui8>, tensor<4x64x2xf32>, tensor<4x32x32xui8>, tensor<4x32x4xf32>, tensor<4x32x1xui8>) -> tensor<*xf32>
  return
}

// -----

func.func @qmoe_zeros_blocks(%x: tensor<5x32xf32>, %p: tensor<5x4xf32>, %w1: tensor<4x64x16xui8>, %s1: tensor<4x64x2xf32>, %w2: tensor<4x32x32xui8>, %s2: tensor<4x32x4xf32>, %z2: tensor<4x32x4xui8>) {
  // expected-error @below {{operand 'fc2_zero_points' has extent 4 in dimension 2, 2 is accepted (4 bits for each block of a row)}}
  %0 = onnx_ms.QMoE(%x, %p, %w1, %s1, _, %w2, %s2, _, _, _, _, _, %z2) {block_size = 16 : i64} : (tensor<5x32xf32>, tensor<5x4xf32>, tensor<4x64x16xui8>, tensor<4x64x2xf32>, tensor<4x32x32xui8>, tensor<4x32x4xf32>, tensor<4x32x4xui8>) -> tensor<*xf32>
  return
}

// -----

func.func @qmoe_bias(%x: tensor<5x32xf32>, %p: tensor<5x4xf32>, %w1: tensor<4x64x16xui8>, %s1: tensor<4x64xf32>, %b1: tensor<4x32xf32>, %w2: tensor<4x32x32xui8>, %s2: tensor<4x32xf32>) {
  // expected-error @below {{operand 'fc1_experts_weights' has extent 64 in dimension 1, operand 'fc1_experts_bias' has 32 in dimension 1; they must be equal}}
  %0 = onnx_ms.QMoE(%x, %p, %w1, %s1, %b1, %w2, %s2) : (tensor<5x32xf32>, tensor<5x4xf32>, tensor<4x64x16xui8>, tensor<4x64xf32>, tensor<4x32xf32>, tensor<4x32x32xui8>, tensor<4x32xf32>) -> tensor<*xf32>
  return
}

// -----

func.func @qmoe_experts(%x: tensor<5x32xf32>, %p: tensor<5x4xf32>, %w1: tensor<4x64x16xui8>, %s1: tensor<4x64xf32>, %w2: tensor<4x32x32xui8>, %s2: tensor<3x32xf32>) {
  // expected-error @below {{operand 'router_probs' has extent 4 in dimension 1, operand 'fc2_scales' has 3 in dimension 0; they must be equal}}
  %0 = onnx_ms.QMoE(%x, %p, %w1, %s1, _, %w2, %s2) : (tensor<5x32xf32>, tensor<5x4xf32>, tensor<4x64x16xui8>, tensor<4x64xf32>, tensor<4x32x32xui8>, tensor<3x32xf32>) -> tensor<*xf32>
  return
}

// -----

func.func @qmoe_mix(%x: tensor<5x32xf32>, %p: tensor<5x4xf32>, %w1: tensor<4x64x16xui8>, %s1: tensor<4x64xf32>, %w2: tensor<4x32x32xui8>, %s2: tensor<4x32xf32>, %r: tensor<5x8xf32>) {
  // expected-error @below {{operand 'router_probs' has extent 4 in dimension 1, operand 'router_weights' has 8 in dimension 1; they must be equal}}
  %0 = onnx_ms.QMoE(%x, %p, %w1, %s1, _, %w2, %s2, _, _, _, _, _, _, _, %r) : (tensor<5x32xf32>, tensor<5x4xf32>, tensor<4x64x16xui8>, tensor<4x64xf32>, tensor<4x32x32xui8>, tensor<4x32xf32>, tensor<5x8xf32>) -> tensor<*xf32>
  return
}

// -----

func.func @qmoe_mix_rows(%x: tensor<5x32xf32>, %p: tensor<5x4xf32>, %w1: tensor<4x64x16xui8>, %s1: tensor<4x64xf32>, %w2: tensor<4x32x32xui8>, %s2: tensor<4x32xf32>, %r: tensor<1x4xf32>) {
  // expected-error @below {{operand 'router_probs' has extent 5 in dimension 0, operand 'router_weights' has 1 in dimension 0; they must be equal}}
  %0 = onnx_ms.QMoE(%x, %p, %w1, %s1, _, %w2, %s2, _, _, _, _, _, _, _, %r) : (tensor<5x32xf32>, tensor<5x4xf32>, tensor<4x64x16xui8>, tensor<4x64xf32>, tensor<4x32x32xui8>, tensor<4x32xf32>, tensor<1x4xf32>) -> tensor<*xf32>
  return
}
