// Rules that layers with a capacity must keep; each remark names the one that is
// broken. None of them changes an op.
// RUN: moe-opt %s --onnx-infer-shapes --moe-raise-experts --split-input-file --remark-format=emitRemark --remarks-filter-missed=raise -o %t.mlir 2>&1 | FileCheck %s
// RUN: FileCheck %s --check-prefix=SAME --input-file=%t.mlir
// SAME-NOT: moe.

// Places from the last token on.
// CHECK: Remark="slots are counted from the last one
func.func @reversed(%x: tensor<?x6x8xf32> {onnx.dims = ["b", "", ""]}) -> tensor<*xf32> {
  %c0 = onnx.Constant() {value = dense<0.5> : tensor<8x4xf32>} : () -> tensor<8x4xf32>
  %1 = onnx.MatMul(%x, %c0) : (tensor<?x6x8xf32>, tensor<8x4xf32>) -> tensor<*xf32>
  %2 = onnx.Softmax(%1) {axis = -1 : i64} : (tensor<*xf32>) -> tensor<*xf32>
  %c1 = onnx.Constant() {value = dense<[2]> : tensor<1xi64>} : () -> tensor<1xi64>
  %3:2 = onnx.TopK(%2, %c1) {axis = -1 : i64} : (tensor<*xf32>, tensor<1xi64>) -> (tensor<*xf32>, tensor<*xi64>)
  %c2 = onnx.Constant() {value = dense<[-1]> : tensor<1xi64>} : () -> tensor<1xi64>
  %4 = onnx.Unsqueeze(%3#1, %c2) : (tensor<*xi64>, tensor<1xi64>) -> tensor<*xi64>
  %c3 = onnx.Constant() {value = dense<[0, 1, 2, 3]> : tensor<4xi64>} : () -> tensor<4xi64>
  %5 = onnx.Equal(%4, %c3) : (tensor<*xi64>, tensor<4xi64>) -> tensor<*xi1>
  %6 = onnx.Cast(%5) {to = 1 : i64} : (tensor<*xi1>) -> tensor<*xf32>
  %7 = onnx.Transpose(%6) {perm = array<i64: 0, 2, 1, 3>} : (tensor<*xf32>) -> tensor<*xf32>
  %c4 = onnx.Constant() {value = dense<[-1, 12, 4]> : tensor<3xi64>} : () -> tensor<3xi64>
  %8 = onnx.Reshape(%7, %c4) : (tensor<*xf32>, tensor<3xi64>) -> tensor<*xf32>
  %c5 = onnx.Constant() {value = dense<1> : tensor<i64>} : () -> tensor<i64>
  %9 = onnx.CumSum(%8, %c5) {exclusive = 0 : i64, reverse = 1 : i64} : (tensor<*xf32>, tensor<i64>) -> tensor<*xf32>
  %10 = onnx.Mul(%9, %8) : (tensor<*xf32>, tensor<*xf32>) -> tensor<*xf32>
  %c6 = onnx.Constant() {value = dense<1.0> : tensor<f32>} : () -> tensor<f32>
  %11 = onnx.Sub(%10, %c6) : (tensor<*xf32>, tensor<f32>) -> tensor<*xf32>
  %c7 = onnx.Constant() {value = dense<0.0> : tensor<f32>} : () -> tensor<f32>
  %12 = onnx.GreaterOrEqual(%11, %c7) : (tensor<*xf32>, tensor<f32>) -> tensor<*xi1>
  %c8 = onnx.Constant() {value = dense<3.0> : tensor<f32>} : () -> tensor<f32>
  %13 = onnx.Less(%11, %c8) : (tensor<*xf32>, tensor<f32>) -> tensor<*xi1>
  %14 = onnx.And(%12, %13) : (tensor<*xi1>, tensor<*xi1>) -> tensor<*xi1>
  %c9 = onnx.Constant() {value = dense<2.0> : tensor<f32>} : () -> tensor<f32>
  %15 = onnx.Clip(%11, %c7, %c9) : (tensor<*xf32>, tensor<f32>, tensor<f32>) -> tensor<*xf32>
  %16 = onnx.Cast(%15) {to = 7 : i64} : (tensor<*xf32>) -> tensor<*xi64>
  %17 = onnx.Unsqueeze(%16, %c2) : (tensor<*xi64>, tensor<1xi64>) -> tensor<*xi64>
  %c10 = onnx.Constant() {value = dense<[0, 1, 2]> : tensor<3xi64>} : () -> tensor<3xi64>
  %18 = onnx.Equal(%17, %c10) : (tensor<*xi64>, tensor<3xi64>) -> tensor<*xi1>
  %19 = onnx.Cast(%18) {to = 1 : i64} : (tensor<*xi1>) -> tensor<*xf32>
  %20 = onnx.Cast(%14) {to = 1 : i64} : (tensor<*xi1>) -> tensor<*xf32>
  %21 = onnx.Unsqueeze(%20, %c2) : (tensor<*xf32>, tensor<1xi64>) -> tensor<*xf32>
  %22 = onnx.Mul(%19, %21) : (tensor<*xf32>, tensor<*xf32>) -> tensor<*xf32>
  %c11 = onnx.Constant() {value = dense<[-1, 2, 6, 4, 3]> : tensor<5xi64>} : () -> tensor<5xi64>
  %23 = onnx.Reshape(%22, %c11) : (tensor<*xf32>, tensor<5xi64>) -> tensor<*xf32>
  %c12 = onnx.Constant() {value = dense<[1]> : tensor<1xi64>} : () -> tensor<1xi64>
  %24 = onnx.ReduceSum(%23, %c12) {keepdims = 0 : i64} : (tensor<*xf32>, tensor<1xi64>) -> tensor<*xf32>
  %25 = onnx.Transpose(%3#0) {perm = array<i64: 0, 2, 1>} : (tensor<*xf32>) -> tensor<*xf32>
  %c13 = onnx.Constant() {value = dense<[3, 4]> : tensor<2xi64>} : () -> tensor<2xi64>
  %26 = onnx.Unsqueeze(%25, %c13) : (tensor<*xf32>, tensor<2xi64>) -> tensor<*xf32>
  %27 = onnx.Mul(%23, %26) : (tensor<*xf32>, tensor<*xf32>) -> tensor<*xf32>
  %28 = onnx.ReduceSum(%27, %c12) {keepdims = 0 : i64} : (tensor<*xf32>, tensor<1xi64>) -> tensor<*xf32>
  %29 = onnx.Einsum(%24, %x) {equation = "btec,btd->becd"} : (tensor<*xf32>, tensor<?x6x8xf32>) -> tensor<*xf32>
  %c14 = onnx.Constant() {value = dense<0.25> : tensor<4x8x16xf32>} : () -> tensor<4x8x16xf32>
  %30 = onnx.Einsum(%29, %c14) {equation = "becd,edf->becf"} : (tensor<*xf32>, tensor<4x8x16xf32>) -> tensor<*xf32>
  %c15 = onnx.Constant() {value = dense<1.0> : tensor<4x1x16xf32>} : () -> tensor<4x1x16xf32>
  %31 = onnx.Add(%30, %c15) : (tensor<*xf32>, tensor<4x1x16xf32>) -> tensor<*xf32>
  %32 = onnx.Relu(%31) : (tensor<*xf32>) -> tensor<*xf32>
  %c16 = onnx.Constant() {value = dense<0.75> : tensor<4x16x8xf32>} : () -> tensor<4x16x8xf32>
  %33 = onnx.Einsum(%32, %c16) {equation = "becf,efd->becd"} : (tensor<*xf32>, tensor<4x16x8xf32>) -> tensor<*xf32>
  %34 = onnx.Einsum(%28, %33) {equation = "btec,becd->btd"} : (tensor<*xf32>, tensor<*xf32>) -> tensor<*xf32>
  return %34 : tensor<*xf32>
}

// -----

// Results are taken from fewer places than rows go to.
// CHECK: Remark="other slots are dropped from the results than from the rows
func.func @one_side(%x: tensor<?x6x8xf32> {onnx.dims = ["b", "", ""]}) -> tensor<*xf32> {
  %c0 = onnx.Constant() {value = dense<0.5> : tensor<8x4xf32>} : () -> tensor<8x4xf32>
  %1 = onnx.MatMul(%x, %c0) : (tensor<?x6x8xf32>, tensor<8x4xf32>) -> tensor<*xf32>
  %2 = onnx.Softmax(%1) {axis = -1 : i64} : (tensor<*xf32>) -> tensor<*xf32>
  %c1 = onnx.Constant() {value = dense<[2]> : tensor<1xi64>} : () -> tensor<1xi64>
  %3:2 = onnx.TopK(%2, %c1) {axis = -1 : i64} : (tensor<*xf32>, tensor<1xi64>) -> (tensor<*xf32>, tensor<*xi64>)
  %c2 = onnx.Constant() {value = dense<[-1]> : tensor<1xi64>} : () -> tensor<1xi64>
  %4 = onnx.Unsqueeze(%3#1, %c2) : (tensor<*xi64>, tensor<1xi64>) -> tensor<*xi64>
  %c3 = onnx.Constant() {value = dense<[0, 1, 2, 3]> : tensor<4xi64>} : () -> tensor<4xi64>
  %5 = onnx.Equal(%4, %c3) : (tensor<*xi64>, tensor<4xi64>) -> tensor<*xi1>
  %6 = onnx.Cast(%5) {to = 1 : i64} : (tensor<*xi1>) -> tensor<*xf32>
  %7 = onnx.Transpose(%6) {perm = array<i64: 0, 2, 1, 3>} : (tensor<*xf32>) -> tensor<*xf32>
  %c4 = onnx.Constant() {value = dense<[-1, 12, 4]> : tensor<3xi64>} : () -> tensor<3xi64>
  %8 = onnx.Reshape(%7, %c4) : (tensor<*xf32>, tensor<3xi64>) -> tensor<*xf32>
  %c5 = onnx.Constant() {value = dense<1> : tensor<i64>} : () -> tensor<i64>
  %9 = onnx.CumSum(%8, %c5) {exclusive = 0 : i64, reverse = 0 : i64} : (tensor<*xf32>, tensor<i64>) -> tensor<*xf32>
  %10 = onnx.Mul(%9, %8) : (tensor<*xf32>, tensor<*xf32>) -> tensor<*xf32>
  %c6 = onnx.Constant() {value = dense<1.0> : tensor<f32>} : () -> tensor<f32>
  %11 = onnx.Sub(%10, %c6) : (tensor<*xf32>, tensor<f32>) -> tensor<*xf32>
  %c7 = onnx.Constant() {value = dense<0.0> : tensor<f32>} : () -> tensor<f32>
  %12 = onnx.GreaterOrEqual(%11, %c7) : (tensor<*xf32>, tensor<f32>) -> tensor<*xi1>
  %c8 = onnx.Constant() {value = dense<3.0> : tensor<f32>} : () -> tensor<f32>
  %13 = onnx.Less(%11, %c8) : (tensor<*xf32>, tensor<f32>) -> tensor<*xi1>
  %14 = onnx.And(%12, %13) : (tensor<*xi1>, tensor<*xi1>) -> tensor<*xi1>
  %c9 = onnx.Constant() {value = dense<2.0> : tensor<f32>} : () -> tensor<f32>
  %15 = onnx.Clip(%11, %c7, %c9) : (tensor<*xf32>, tensor<f32>, tensor<f32>) -> tensor<*xf32>
  %16 = onnx.Cast(%15) {to = 7 : i64} : (tensor<*xf32>) -> tensor<*xi64>
  %17 = onnx.Unsqueeze(%16, %c2) : (tensor<*xi64>, tensor<1xi64>) -> tensor<*xi64>
  %c10 = onnx.Constant() {value = dense<[0, 1, 2]> : tensor<3xi64>} : () -> tensor<3xi64>
  %18 = onnx.Equal(%17, %c10) : (tensor<*xi64>, tensor<3xi64>) -> tensor<*xi1>
  %19 = onnx.Cast(%18) {to = 1 : i64} : (tensor<*xi1>) -> tensor<*xf32>
  %20 = onnx.Cast(%14) {to = 1 : i64} : (tensor<*xi1>) -> tensor<*xf32>
  %21 = onnx.Unsqueeze(%20, %c2) : (tensor<*xf32>, tensor<1xi64>) -> tensor<*xf32>
  %22 = onnx.Mul(%19, %21) : (tensor<*xf32>, tensor<*xf32>) -> tensor<*xf32>
  %c11 = onnx.Constant() {value = dense<[-1, 2, 6, 4, 3]> : tensor<5xi64>} : () -> tensor<5xi64>
  %23 = onnx.Reshape(%22, %c11) : (tensor<*xf32>, tensor<5xi64>) -> tensor<*xf32>
  %c12 = onnx.Constant() {value = dense<[1]> : tensor<1xi64>} : () -> tensor<1xi64>
  %24 = onnx.ReduceSum(%23, %c12) {keepdims = 0 : i64} : (tensor<*xf32>, tensor<1xi64>) -> tensor<*xf32>
  %25 = onnx.Less(%11, %c9) : (tensor<*xf32>, tensor<f32>) -> tensor<*xi1>
  %26 = onnx.Cast(%25) {to = 1 : i64} : (tensor<*xi1>) -> tensor<*xf32>
  %27 = onnx.Unsqueeze(%26, %c2) : (tensor<*xf32>, tensor<1xi64>) -> tensor<*xf32>
  %28 = onnx.Mul(%22, %27) : (tensor<*xf32>, tensor<*xf32>) -> tensor<*xf32>
  %29 = onnx.Reshape(%28, %c11) : (tensor<*xf32>, tensor<5xi64>) -> tensor<*xf32>
  %30 = onnx.Transpose(%3#0) {perm = array<i64: 0, 2, 1>} : (tensor<*xf32>) -> tensor<*xf32>
  %c13 = onnx.Constant() {value = dense<[3, 4]> : tensor<2xi64>} : () -> tensor<2xi64>
  %31 = onnx.Unsqueeze(%30, %c13) : (tensor<*xf32>, tensor<2xi64>) -> tensor<*xf32>
  %32 = onnx.Mul(%29, %31) : (tensor<*xf32>, tensor<*xf32>) -> tensor<*xf32>
  %33 = onnx.ReduceSum(%32, %c12) {keepdims = 0 : i64} : (tensor<*xf32>, tensor<1xi64>) -> tensor<*xf32>
  %34 = onnx.Einsum(%24, %x) {equation = "btec,btd->becd"} : (tensor<*xf32>, tensor<?x6x8xf32>) -> tensor<*xf32>
  %c14 = onnx.Constant() {value = dense<0.25> : tensor<4x8x16xf32>} : () -> tensor<4x8x16xf32>
  %35 = onnx.Einsum(%34, %c14) {equation = "becd,edf->becf"} : (tensor<*xf32>, tensor<4x8x16xf32>) -> tensor<*xf32>
  %c15 = onnx.Constant() {value = dense<1.0> : tensor<4x1x16xf32>} : () -> tensor<4x1x16xf32>
  %36 = onnx.Add(%35, %c15) : (tensor<*xf32>, tensor<4x1x16xf32>) -> tensor<*xf32>
  %37 = onnx.Relu(%36) : (tensor<*xf32>) -> tensor<*xf32>
  %c16 = onnx.Constant() {value = dense<0.75> : tensor<4x16x8xf32>} : () -> tensor<4x16x8xf32>
  %38 = onnx.Einsum(%37, %c16) {equation = "becf,efd->becd"} : (tensor<*xf32>, tensor<4x16x8xf32>) -> tensor<*xf32>
  %39 = onnx.Einsum(%33, %38) {equation = "btec,becd->btd"} : (tensor<*xf32>, tensor<*xf32>) -> tensor<*xf32>
  return %39 : tensor<*xf32>
}

// -----

// All that finds no place goes to the last one.
// CHECK: Remark="several slots may have one place
func.func @shared_place(%x: tensor<?x6x8xf32> {onnx.dims = ["b", "", ""]}) -> tensor<*xf32> {
  %c0 = onnx.Constant() {value = dense<0.5> : tensor<8x4xf32>} : () -> tensor<8x4xf32>
  %1 = onnx.MatMul(%x, %c0) : (tensor<?x6x8xf32>, tensor<8x4xf32>) -> tensor<*xf32>
  %2 = onnx.Softmax(%1) {axis = -1 : i64} : (tensor<*xf32>) -> tensor<*xf32>
  %c1 = onnx.Constant() {value = dense<[2]> : tensor<1xi64>} : () -> tensor<1xi64>
  %3:2 = onnx.TopK(%2, %c1) {axis = -1 : i64} : (tensor<*xf32>, tensor<1xi64>) -> (tensor<*xf32>, tensor<*xi64>)
  %c2 = onnx.Constant() {value = dense<[-1]> : tensor<1xi64>} : () -> tensor<1xi64>
  %4 = onnx.Unsqueeze(%3#1, %c2) : (tensor<*xi64>, tensor<1xi64>) -> tensor<*xi64>
  %c3 = onnx.Constant() {value = dense<[0, 1, 2, 3]> : tensor<4xi64>} : () -> tensor<4xi64>
  %5 = onnx.Equal(%4, %c3) : (tensor<*xi64>, tensor<4xi64>) -> tensor<*xi1>
  %6 = onnx.Cast(%5) {to = 1 : i64} : (tensor<*xi1>) -> tensor<*xf32>
  %7 = onnx.Transpose(%6) {perm = array<i64: 0, 2, 1, 3>} : (tensor<*xf32>) -> tensor<*xf32>
  %c4 = onnx.Constant() {value = dense<[-1, 12, 4]> : tensor<3xi64>} : () -> tensor<3xi64>
  %8 = onnx.Reshape(%7, %c4) : (tensor<*xf32>, tensor<3xi64>) -> tensor<*xf32>
  %c5 = onnx.Constant() {value = dense<1> : tensor<i64>} : () -> tensor<i64>
  %9 = onnx.CumSum(%8, %c5) {exclusive = 0 : i64, reverse = 0 : i64} : (tensor<*xf32>, tensor<i64>) -> tensor<*xf32>
  %10 = onnx.Mul(%9, %8) : (tensor<*xf32>, tensor<*xf32>) -> tensor<*xf32>
  %c6 = onnx.Constant() {value = dense<1.0> : tensor<f32>} : () -> tensor<f32>
  %11 = onnx.Sub(%10, %c6) : (tensor<*xf32>, tensor<f32>) -> tensor<*xf32>
  %c7 = onnx.Constant() {value = dense<0.0> : tensor<f32>} : () -> tensor<f32>
  %12 = onnx.GreaterOrEqual(%11, %c7) : (tensor<*xf32>, tensor<f32>) -> tensor<*xi1>
  %c8 = onnx.Constant() {value = dense<5.0> : tensor<f32>} : () -> tensor<f32>
  %13 = onnx.Less(%11, %c8) : (tensor<*xf32>, tensor<f32>) -> tensor<*xi1>
  %14 = onnx.And(%12, %13) : (tensor<*xi1>, tensor<*xi1>) -> tensor<*xi1>
  %c9 = onnx.Constant() {value = dense<2.0> : tensor<f32>} : () -> tensor<f32>
  %15 = onnx.Clip(%11, %c7, %c9) : (tensor<*xf32>, tensor<f32>, tensor<f32>) -> tensor<*xf32>
  %16 = onnx.Cast(%15) {to = 7 : i64} : (tensor<*xf32>) -> tensor<*xi64>
  %17 = onnx.Unsqueeze(%16, %c2) : (tensor<*xi64>, tensor<1xi64>) -> tensor<*xi64>
  %c10 = onnx.Constant() {value = dense<[0, 1, 2]> : tensor<3xi64>} : () -> tensor<3xi64>
  %18 = onnx.Equal(%17, %c10) : (tensor<*xi64>, tensor<3xi64>) -> tensor<*xi1>
  %19 = onnx.Cast(%18) {to = 1 : i64} : (tensor<*xi1>) -> tensor<*xf32>
  %20 = onnx.Cast(%14) {to = 1 : i64} : (tensor<*xi1>) -> tensor<*xf32>
  %21 = onnx.Unsqueeze(%20, %c2) : (tensor<*xf32>, tensor<1xi64>) -> tensor<*xf32>
  %22 = onnx.Mul(%19, %21) : (tensor<*xf32>, tensor<*xf32>) -> tensor<*xf32>
  %c11 = onnx.Constant() {value = dense<[-1, 2, 6, 4, 3]> : tensor<5xi64>} : () -> tensor<5xi64>
  %23 = onnx.Reshape(%22, %c11) : (tensor<*xf32>, tensor<5xi64>) -> tensor<*xf32>
  %c12 = onnx.Constant() {value = dense<[1]> : tensor<1xi64>} : () -> tensor<1xi64>
  %24 = onnx.ReduceSum(%23, %c12) {keepdims = 0 : i64} : (tensor<*xf32>, tensor<1xi64>) -> tensor<*xf32>
  %25 = onnx.Transpose(%3#0) {perm = array<i64: 0, 2, 1>} : (tensor<*xf32>) -> tensor<*xf32>
  %c13 = onnx.Constant() {value = dense<[3, 4]> : tensor<2xi64>} : () -> tensor<2xi64>
  %26 = onnx.Unsqueeze(%25, %c13) : (tensor<*xf32>, tensor<2xi64>) -> tensor<*xf32>
  %27 = onnx.Mul(%23, %26) : (tensor<*xf32>, tensor<*xf32>) -> tensor<*xf32>
  %28 = onnx.ReduceSum(%27, %c12) {keepdims = 0 : i64} : (tensor<*xf32>, tensor<1xi64>) -> tensor<*xf32>
  %29 = onnx.Einsum(%24, %x) {equation = "btec,btd->becd"} : (tensor<*xf32>, tensor<?x6x8xf32>) -> tensor<*xf32>
  %c14 = onnx.Constant() {value = dense<0.25> : tensor<4x8x16xf32>} : () -> tensor<4x8x16xf32>
  %30 = onnx.Einsum(%29, %c14) {equation = "becd,edf->becf"} : (tensor<*xf32>, tensor<4x8x16xf32>) -> tensor<*xf32>
  %c15 = onnx.Constant() {value = dense<1.0> : tensor<4x1x16xf32>} : () -> tensor<4x1x16xf32>
  %31 = onnx.Add(%30, %c15) : (tensor<*xf32>, tensor<4x1x16xf32>) -> tensor<*xf32>
  %32 = onnx.Relu(%31) : (tensor<*xf32>) -> tensor<*xf32>
  %c16 = onnx.Constant() {value = dense<0.75> : tensor<4x16x8xf32>} : () -> tensor<4x16x8xf32>
  %33 = onnx.Einsum(%32, %c16) {equation = "becf,efd->becd"} : (tensor<*xf32>, tensor<4x16x8xf32>) -> tensor<*xf32>
  %34 = onnx.Einsum(%28, %33) {equation = "btec,becd->btd"} : (tensor<*xf32>, tensor<*xf32>) -> tensor<*xf32>
  return %34 : tensor<*xf32>
}

// -----

// Rows are scaled before an expert sees them.
// CHECK: Remark="kept slots are not 1 in the mask
func.func @scaled(%x: tensor<?x6x8xf32> {onnx.dims = ["b", "", ""]}) -> tensor<*xf32> {
  %c0 = onnx.Constant() {value = dense<0.5> : tensor<8x4xf32>} : () -> tensor<8x4xf32>
  %1 = onnx.MatMul(%x, %c0) : (tensor<?x6x8xf32>, tensor<8x4xf32>) -> tensor<*xf32>
  %2 = onnx.Softmax(%1) {axis = -1 : i64} : (tensor<*xf32>) -> tensor<*xf32>
  %c1 = onnx.Constant() {value = dense<[2]> : tensor<1xi64>} : () -> tensor<1xi64>
  %3:2 = onnx.TopK(%2, %c1) {axis = -1 : i64} : (tensor<*xf32>, tensor<1xi64>) -> (tensor<*xf32>, tensor<*xi64>)
  %c2 = onnx.Constant() {value = dense<[-1]> : tensor<1xi64>} : () -> tensor<1xi64>
  %4 = onnx.Unsqueeze(%3#1, %c2) : (tensor<*xi64>, tensor<1xi64>) -> tensor<*xi64>
  %c3 = onnx.Constant() {value = dense<[0, 1, 2, 3]> : tensor<4xi64>} : () -> tensor<4xi64>
  %5 = onnx.Equal(%4, %c3) : (tensor<*xi64>, tensor<4xi64>) -> tensor<*xi1>
  %6 = onnx.Cast(%5) {to = 1 : i64} : (tensor<*xi1>) -> tensor<*xf32>
  %7 = onnx.Transpose(%6) {perm = array<i64: 0, 2, 1, 3>} : (tensor<*xf32>) -> tensor<*xf32>
  %c4 = onnx.Constant() {value = dense<[-1, 12, 4]> : tensor<3xi64>} : () -> tensor<3xi64>
  %8 = onnx.Reshape(%7, %c4) : (tensor<*xf32>, tensor<3xi64>) -> tensor<*xf32>
  %c5 = onnx.Constant() {value = dense<1> : tensor<i64>} : () -> tensor<i64>
  %9 = onnx.CumSum(%8, %c5) {exclusive = 0 : i64, reverse = 0 : i64} : (tensor<*xf32>, tensor<i64>) -> tensor<*xf32>
  %10 = onnx.Mul(%9, %8) : (tensor<*xf32>, tensor<*xf32>) -> tensor<*xf32>
  %c6 = onnx.Constant() {value = dense<1.0> : tensor<f32>} : () -> tensor<f32>
  %11 = onnx.Sub(%10, %c6) : (tensor<*xf32>, tensor<f32>) -> tensor<*xf32>
  %c7 = onnx.Constant() {value = dense<0.0> : tensor<f32>} : () -> tensor<f32>
  %12 = onnx.GreaterOrEqual(%11, %c7) : (tensor<*xf32>, tensor<f32>) -> tensor<*xi1>
  %c8 = onnx.Constant() {value = dense<3.0> : tensor<f32>} : () -> tensor<f32>
  %13 = onnx.Less(%11, %c8) : (tensor<*xf32>, tensor<f32>) -> tensor<*xi1>
  %14 = onnx.And(%12, %13) : (tensor<*xi1>, tensor<*xi1>) -> tensor<*xi1>
  %c9 = onnx.Constant() {value = dense<2.0> : tensor<f32>} : () -> tensor<f32>
  %15 = onnx.Clip(%11, %c7, %c9) : (tensor<*xf32>, tensor<f32>, tensor<f32>) -> tensor<*xf32>
  %16 = onnx.Cast(%15) {to = 7 : i64} : (tensor<*xf32>) -> tensor<*xi64>
  %17 = onnx.Unsqueeze(%16, %c2) : (tensor<*xi64>, tensor<1xi64>) -> tensor<*xi64>
  %c10 = onnx.Constant() {value = dense<[0, 1, 2]> : tensor<3xi64>} : () -> tensor<3xi64>
  %18 = onnx.Equal(%17, %c10) : (tensor<*xi64>, tensor<3xi64>) -> tensor<*xi1>
  %19 = onnx.Cast(%18) {to = 1 : i64} : (tensor<*xi1>) -> tensor<*xf32>
  %20 = onnx.Cast(%14) {to = 1 : i64} : (tensor<*xi1>) -> tensor<*xf32>
  %21 = onnx.Unsqueeze(%20, %c2) : (tensor<*xf32>, tensor<1xi64>) -> tensor<*xf32>
  %22 = onnx.Mul(%19, %21) : (tensor<*xf32>, tensor<*xf32>) -> tensor<*xf32>
  %c11 = onnx.Constant() {value = dense<[-1, 2, 6, 4, 3]> : tensor<5xi64>} : () -> tensor<5xi64>
  %23 = onnx.Reshape(%22, %c11) : (tensor<*xf32>, tensor<5xi64>) -> tensor<*xf32>
  %c12 = onnx.Constant() {value = dense<[1]> : tensor<1xi64>} : () -> tensor<1xi64>
  %24 = onnx.ReduceSum(%23, %c12) {keepdims = 0 : i64} : (tensor<*xf32>, tensor<1xi64>) -> tensor<*xf32>
  %25 = onnx.Transpose(%3#0) {perm = array<i64: 0, 2, 1>} : (tensor<*xf32>) -> tensor<*xf32>
  %c13 = onnx.Constant() {value = dense<[3, 4]> : tensor<2xi64>} : () -> tensor<2xi64>
  %26 = onnx.Unsqueeze(%25, %c13) : (tensor<*xf32>, tensor<2xi64>) -> tensor<*xf32>
  %27 = onnx.Mul(%23, %26) : (tensor<*xf32>, tensor<*xf32>) -> tensor<*xf32>
  %28 = onnx.ReduceSum(%27, %c12) {keepdims = 0 : i64} : (tensor<*xf32>, tensor<1xi64>) -> tensor<*xf32>
  %c14 = onnx.Constant() {value = dense<0.5> : tensor<f32>} : () -> tensor<f32>
  %29 = onnx.Mul(%24, %c14) : (tensor<*xf32>, tensor<f32>) -> tensor<*xf32>
  %30 = onnx.Einsum(%29, %x) {equation = "btec,btd->becd"} : (tensor<*xf32>, tensor<?x6x8xf32>) -> tensor<*xf32>
  %c15 = onnx.Constant() {value = dense<0.25> : tensor<4x8x16xf32>} : () -> tensor<4x8x16xf32>
  %31 = onnx.Einsum(%30, %c15) {equation = "becd,edf->becf"} : (tensor<*xf32>, tensor<4x8x16xf32>) -> tensor<*xf32>
  %c16 = onnx.Constant() {value = dense<1.0> : tensor<4x1x16xf32>} : () -> tensor<4x1x16xf32>
  %32 = onnx.Add(%31, %c16) : (tensor<*xf32>, tensor<4x1x16xf32>) -> tensor<*xf32>
  %33 = onnx.Relu(%32) : (tensor<*xf32>) -> tensor<*xf32>
  %c17 = onnx.Constant() {value = dense<0.75> : tensor<4x16x8xf32>} : () -> tensor<4x16x8xf32>
  %34 = onnx.Einsum(%33, %c17) {equation = "becf,efd->becd"} : (tensor<*xf32>, tensor<4x16x8xf32>) -> tensor<*xf32>
  %35 = onnx.Einsum(%28, %34) {equation = "btec,becd->btd"} : (tensor<*xf32>, tensor<*xf32>) -> tensor<*xf32>
  return %35 : tensor<*xf32>
}

// -----

// Results are read back for fewer slots than rows were written for.
// CHECK: Remark="other slots are dropped from the results than from the rows
func.func @rows_one_side(%x: tensor<?x8xf32> {onnx.dims = ["t", ""]}) -> tensor<*xf32> {
  %c0 = onnx.Constant() {value = dense<0.5> : tensor<8x4xf32>} : () -> tensor<8x4xf32>
  %1 = onnx.MatMul(%x, %c0) : (tensor<?x8xf32>, tensor<8x4xf32>) -> tensor<*xf32>
  %2 = onnx.Softmax(%1) {axis = -1 : i64} : (tensor<*xf32>) -> tensor<*xf32>
  %c1 = onnx.Constant() {value = dense<[2]> : tensor<1xi64>} : () -> tensor<1xi64>
  %3:2 = onnx.TopK(%2, %c1) {axis = -1 : i64} : (tensor<*xf32>, tensor<1xi64>) -> (tensor<*xf32>, tensor<*xi64>)
  %4 = onnx.Transpose(%3#1) {perm = array<i64: 1, 0>} : (tensor<*xi64>) -> tensor<*xi64>
  %c2 = onnx.Constant() {value = dense<[-1]> : tensor<1xi64>} : () -> tensor<1xi64>
  %5 = onnx.Reshape(%4, %c2) : (tensor<*xi64>, tensor<1xi64>) -> tensor<*xi64>
  %c3 = onnx.Constant() {value = dense<4> : tensor<i64>} : () -> tensor<i64>
  %c4 = onnx.Constant() {value = dense<[0, 1]> : tensor<2xi64>} : () -> tensor<2xi64>
  %6 = onnx.OneHot(%5, %c3, %c4) : (tensor<*xi64>, tensor<i64>, tensor<2xi64>) -> tensor<*xi64>
  %c5 = onnx.Constant() {value = dense<0> : tensor<i64>} : () -> tensor<i64>
  %7 = onnx.CumSum(%6, %c5) : (tensor<*xi64>, tensor<i64>) -> tensor<*xi64>
  %c6 = onnx.Constant() {value = dense<1> : tensor<i64>} : () -> tensor<i64>
  %8 = onnx.Sub(%7, %c6) : (tensor<*xi64>, tensor<i64>) -> tensor<*xi64>
  %c7 = onnx.Constant() {value = dense<[1]> : tensor<1xi64>} : () -> tensor<1xi64>
  %9 = onnx.Unsqueeze(%5, %c7) : (tensor<*xi64>, tensor<1xi64>) -> tensor<*xi64>
  %10 = onnx.GatherElements(%8, %9) {axis = 1 : i64} : (tensor<*xi64>, tensor<*xi64>) -> tensor<*xi64>
  %11 = onnx.Squeeze(%10, %c7) : (tensor<*xi64>, tensor<1xi64>) -> tensor<*xi64>
  %c8 = onnx.Constant() {value = dense<3> : tensor<i64>} : () -> tensor<i64>
  %12 = onnx.Less(%11, %c8) : (tensor<*xi64>, tensor<i64>) -> tensor<*xi1>
  %13 = onnx.Mul(%5, %c8) : (tensor<*xi64>, tensor<i64>) -> tensor<*xi64>
  %14 = onnx.Add(%13, %11) : (tensor<*xi64>, tensor<*xi64>) -> tensor<*xi64>
  %c9 = onnx.Constant() {value = dense<12> : tensor<i64>} : () -> tensor<i64>
  %15 = onnx.Shape(%11) : (tensor<*xi64>) -> tensor<*xi64>
  %16 = onnx.Expand(%c9, %15) : (tensor<i64>, tensor<*xi64>) -> tensor<*xi64>
  %17 = onnx.Where(%12, %14, %16) : (tensor<*xi1>, tensor<*xi64>, tensor<*xi64>) -> tensor<*xi64>
  %c10 = onnx.Constant() {value = dense<2> : tensor<i64>} : () -> tensor<i64>
  %18 = onnx.Less(%11, %c10) : (tensor<*xi64>, tensor<i64>) -> tensor<*xi1>
  %19 = onnx.Mul(%5, %c8) : (tensor<*xi64>, tensor<i64>) -> tensor<*xi64>
  %20 = onnx.Add(%19, %11) : (tensor<*xi64>, tensor<*xi64>) -> tensor<*xi64>
  %21 = onnx.Shape(%11) : (tensor<*xi64>) -> tensor<*xi64>
  %22 = onnx.Expand(%c9, %21) : (tensor<i64>, tensor<*xi64>) -> tensor<*xi64>
  %23 = onnx.Where(%18, %20, %22) : (tensor<*xi1>, tensor<*xi64>, tensor<*xi64>) -> tensor<*xi64>
  %24 = onnx.Unsqueeze(%17, %c7) : (tensor<*xi64>, tensor<1xi64>) -> tensor<*xi64>
  %c11 = onnx.Constant() {value = dense<[1, 8]> : tensor<2xi64>} : () -> tensor<2xi64>
  %25 = onnx.Expand(%24, %c11) : (tensor<*xi64>, tensor<2xi64>) -> tensor<*xi64>
  %c12 = onnx.Constant() {value = dense<[2, 1]> : tensor<2xi64>} : () -> tensor<2xi64>
  %26 = onnx.Tile(%x, %c12) : (tensor<?x8xf32>, tensor<2xi64>) -> tensor<*xf32>
  %c13 = onnx.Constant() {value = dense<0.0> : tensor<13x8xf32>} : () -> tensor<13x8xf32>
  %27 = onnx.ScatterElements(%c13, %25, %26) {axis = 0 : i64} : (tensor<13x8xf32>, tensor<*xi64>, tensor<*xf32>) -> tensor<*xf32>
  %c14 = onnx.Constant() {value = dense<[0]> : tensor<1xi64>} : () -> tensor<1xi64>
  %c15 = onnx.Constant() {value = dense<[12]> : tensor<1xi64>} : () -> tensor<1xi64>
  %28 = onnx.Slice(%27, %c14, %c15, %c14) : (tensor<*xf32>, tensor<1xi64>, tensor<1xi64>, tensor<1xi64>) -> tensor<*xf32>
  %c16 = onnx.Constant() {value = dense<[4, 3, 8]> : tensor<3xi64>} : () -> tensor<3xi64>
  %29 = onnx.Reshape(%28, %c16) : (tensor<*xf32>, tensor<3xi64>) -> tensor<*xf32>
  %c17 = onnx.Constant() {value = dense<0.25> : tensor<4x8x16xf32>} : () -> tensor<4x8x16xf32>
  %30 = onnx.MatMul(%29, %c17) : (tensor<*xf32>, tensor<4x8x16xf32>) -> tensor<*xf32>
  %31 = onnx.Relu(%30) : (tensor<*xf32>) -> tensor<*xf32>
  %c18 = onnx.Constant() {value = dense<0.75> : tensor<4x16x8xf32>} : () -> tensor<4x16x8xf32>
  %32 = onnx.MatMul(%31, %c18) : (tensor<*xf32>, tensor<4x16x8xf32>) -> tensor<*xf32>
  %c19 = onnx.Constant() {value = dense<[12, 8]> : tensor<2xi64>} : () -> tensor<2xi64>
  %33 = onnx.Reshape(%32, %c19) : (tensor<*xf32>, tensor<2xi64>) -> tensor<*xf32>
  %c20 = onnx.Constant() {value = dense<0.0> : tensor<1x8xf32>} : () -> tensor<1x8xf32>
  %34 = onnx.Concat(%33, %c20) {axis = 0 : i64} : (tensor<*xf32>, tensor<1x8xf32>) -> tensor<*xf32>
  %35 = onnx.Gather(%34, %23) {axis = 0 : i64} : (tensor<*xf32>, tensor<*xi64>) -> tensor<*xf32>
  %c21 = onnx.Constant() {value = dense<[2, -1, 8]> : tensor<3xi64>} : () -> tensor<3xi64>
  %36 = onnx.Reshape(%35, %c21) : (tensor<*xf32>, tensor<3xi64>) -> tensor<*xf32>
  %37 = onnx.Transpose(%3#0) {perm = array<i64: 1, 0>} : (tensor<*xf32>) -> tensor<*xf32>
  %38 = onnx.Unsqueeze(%37, %c2) : (tensor<*xf32>, tensor<1xi64>) -> tensor<*xf32>
  %39 = onnx.Mul(%36, %38) : (tensor<*xf32>, tensor<*xf32>) -> tensor<*xf32>
  %40 = onnx.ReduceSum(%39, %c14) {keepdims = 0 : i64} : (tensor<*xf32>, tensor<1xi64>) -> tensor<*xf32>
  return %40 : tensor<*xf32>
}

// -----

// Rows of two experts overlap.
// CHECK: Remark="the numbers of rows are not expert * places + place
func.func @rows_stride(%x: tensor<?x8xf32> {onnx.dims = ["t", ""]}) -> tensor<*xf32> {
  %c0 = onnx.Constant() {value = dense<0.5> : tensor<8x4xf32>} : () -> tensor<8x4xf32>
  %1 = onnx.MatMul(%x, %c0) : (tensor<?x8xf32>, tensor<8x4xf32>) -> tensor<*xf32>
  %2 = onnx.Softmax(%1) {axis = -1 : i64} : (tensor<*xf32>) -> tensor<*xf32>
  %c1 = onnx.Constant() {value = dense<[2]> : tensor<1xi64>} : () -> tensor<1xi64>
  %3:2 = onnx.TopK(%2, %c1) {axis = -1 : i64} : (tensor<*xf32>, tensor<1xi64>) -> (tensor<*xf32>, tensor<*xi64>)
  %4 = onnx.Transpose(%3#1) {perm = array<i64: 1, 0>} : (tensor<*xi64>) -> tensor<*xi64>
  %c2 = onnx.Constant() {value = dense<[-1]> : tensor<1xi64>} : () -> tensor<1xi64>
  %5 = onnx.Reshape(%4, %c2) : (tensor<*xi64>, tensor<1xi64>) -> tensor<*xi64>
  %c3 = onnx.Constant() {value = dense<4> : tensor<i64>} : () -> tensor<i64>
  %c4 = onnx.Constant() {value = dense<[0, 1]> : tensor<2xi64>} : () -> tensor<2xi64>
  %6 = onnx.OneHot(%5, %c3, %c4) : (tensor<*xi64>, tensor<i64>, tensor<2xi64>) -> tensor<*xi64>
  %c5 = onnx.Constant() {value = dense<0> : tensor<i64>} : () -> tensor<i64>
  %7 = onnx.CumSum(%6, %c5) : (tensor<*xi64>, tensor<i64>) -> tensor<*xi64>
  %c6 = onnx.Constant() {value = dense<1> : tensor<i64>} : () -> tensor<i64>
  %8 = onnx.Sub(%7, %c6) : (tensor<*xi64>, tensor<i64>) -> tensor<*xi64>
  %c7 = onnx.Constant() {value = dense<[1]> : tensor<1xi64>} : () -> tensor<1xi64>
  %9 = onnx.Unsqueeze(%5, %c7) : (tensor<*xi64>, tensor<1xi64>) -> tensor<*xi64>
  %10 = onnx.GatherElements(%8, %9) {axis = 1 : i64} : (tensor<*xi64>, tensor<*xi64>) -> tensor<*xi64>
  %11 = onnx.Squeeze(%10, %c7) : (tensor<*xi64>, tensor<1xi64>) -> tensor<*xi64>
  %c8 = onnx.Constant() {value = dense<3> : tensor<i64>} : () -> tensor<i64>
  %12 = onnx.Less(%11, %c8) : (tensor<*xi64>, tensor<i64>) -> tensor<*xi1>
  %c9 = onnx.Constant() {value = dense<2> : tensor<i64>} : () -> tensor<i64>
  %13 = onnx.Mul(%5, %c9) : (tensor<*xi64>, tensor<i64>) -> tensor<*xi64>
  %14 = onnx.Add(%13, %11) : (tensor<*xi64>, tensor<*xi64>) -> tensor<*xi64>
  %c10 = onnx.Constant() {value = dense<12> : tensor<i64>} : () -> tensor<i64>
  %15 = onnx.Shape(%11) : (tensor<*xi64>) -> tensor<*xi64>
  %16 = onnx.Expand(%c10, %15) : (tensor<i64>, tensor<*xi64>) -> tensor<*xi64>
  %17 = onnx.Where(%12, %14, %16) : (tensor<*xi1>, tensor<*xi64>, tensor<*xi64>) -> tensor<*xi64>
  %18 = onnx.Unsqueeze(%17, %c7) : (tensor<*xi64>, tensor<1xi64>) -> tensor<*xi64>
  %c11 = onnx.Constant() {value = dense<[1, 8]> : tensor<2xi64>} : () -> tensor<2xi64>
  %19 = onnx.Expand(%18, %c11) : (tensor<*xi64>, tensor<2xi64>) -> tensor<*xi64>
  %c12 = onnx.Constant() {value = dense<[2, 1]> : tensor<2xi64>} : () -> tensor<2xi64>
  %20 = onnx.Tile(%x, %c12) : (tensor<?x8xf32>, tensor<2xi64>) -> tensor<*xf32>
  %c13 = onnx.Constant() {value = dense<0.0> : tensor<13x8xf32>} : () -> tensor<13x8xf32>
  %21 = onnx.ScatterElements(%c13, %19, %20) {axis = 0 : i64} : (tensor<13x8xf32>, tensor<*xi64>, tensor<*xf32>) -> tensor<*xf32>
  %c14 = onnx.Constant() {value = dense<[0]> : tensor<1xi64>} : () -> tensor<1xi64>
  %c15 = onnx.Constant() {value = dense<[12]> : tensor<1xi64>} : () -> tensor<1xi64>
  %22 = onnx.Slice(%21, %c14, %c15, %c14) : (tensor<*xf32>, tensor<1xi64>, tensor<1xi64>, tensor<1xi64>) -> tensor<*xf32>
  %c16 = onnx.Constant() {value = dense<[4, 3, 8]> : tensor<3xi64>} : () -> tensor<3xi64>
  %23 = onnx.Reshape(%22, %c16) : (tensor<*xf32>, tensor<3xi64>) -> tensor<*xf32>
  %c17 = onnx.Constant() {value = dense<0.25> : tensor<4x8x16xf32>} : () -> tensor<4x8x16xf32>
  %24 = onnx.MatMul(%23, %c17) : (tensor<*xf32>, tensor<4x8x16xf32>) -> tensor<*xf32>
  %25 = onnx.Relu(%24) : (tensor<*xf32>) -> tensor<*xf32>
  %c18 = onnx.Constant() {value = dense<0.75> : tensor<4x16x8xf32>} : () -> tensor<4x16x8xf32>
  %26 = onnx.MatMul(%25, %c18) : (tensor<*xf32>, tensor<4x16x8xf32>) -> tensor<*xf32>
  %c19 = onnx.Constant() {value = dense<[12, 8]> : tensor<2xi64>} : () -> tensor<2xi64>
  %27 = onnx.Reshape(%26, %c19) : (tensor<*xf32>, tensor<2xi64>) -> tensor<*xf32>
  %c20 = onnx.Constant() {value = dense<0.0> : tensor<1x8xf32>} : () -> tensor<1x8xf32>
  %28 = onnx.Concat(%27, %c20) {axis = 0 : i64} : (tensor<*xf32>, tensor<1x8xf32>) -> tensor<*xf32>
  %29 = onnx.Gather(%28, %17) {axis = 0 : i64} : (tensor<*xf32>, tensor<*xi64>) -> tensor<*xf32>
  %c21 = onnx.Constant() {value = dense<[2, -1, 8]> : tensor<3xi64>} : () -> tensor<3xi64>
  %30 = onnx.Reshape(%29, %c21) : (tensor<*xf32>, tensor<3xi64>) -> tensor<*xf32>
  %31 = onnx.Transpose(%3#0) {perm = array<i64: 1, 0>} : (tensor<*xf32>) -> tensor<*xf32>
  %32 = onnx.Unsqueeze(%31, %c2) : (tensor<*xf32>, tensor<1xi64>) -> tensor<*xf32>
  %33 = onnx.Mul(%30, %32) : (tensor<*xf32>, tensor<*xf32>) -> tensor<*xf32>
  %34 = onnx.ReduceSum(%33, %c14) {keepdims = 0 : i64} : (tensor<*xf32>, tensor<1xi64>) -> tensor<*xf32>
  return %34 : tensor<*xf32>
}

// -----

// Slots without a place get the row of the next expert.
// CHECK: Remark="slots without a place get a row of another expert
func.func @rows_spill(%x: tensor<?x8xf32> {onnx.dims = ["t", ""]}) -> tensor<*xf32> {
  %c0 = onnx.Constant() {value = dense<0.5> : tensor<8x4xf32>} : () -> tensor<8x4xf32>
  %1 = onnx.MatMul(%x, %c0) : (tensor<?x8xf32>, tensor<8x4xf32>) -> tensor<*xf32>
  %2 = onnx.Softmax(%1) {axis = -1 : i64} : (tensor<*xf32>) -> tensor<*xf32>
  %c1 = onnx.Constant() {value = dense<[2]> : tensor<1xi64>} : () -> tensor<1xi64>
  %3:2 = onnx.TopK(%2, %c1) {axis = -1 : i64} : (tensor<*xf32>, tensor<1xi64>) -> (tensor<*xf32>, tensor<*xi64>)
  %4 = onnx.Transpose(%3#1) {perm = array<i64: 1, 0>} : (tensor<*xi64>) -> tensor<*xi64>
  %c2 = onnx.Constant() {value = dense<[-1]> : tensor<1xi64>} : () -> tensor<1xi64>
  %5 = onnx.Reshape(%4, %c2) : (tensor<*xi64>, tensor<1xi64>) -> tensor<*xi64>
  %c3 = onnx.Constant() {value = dense<4> : tensor<i64>} : () -> tensor<i64>
  %c4 = onnx.Constant() {value = dense<[0, 1]> : tensor<2xi64>} : () -> tensor<2xi64>
  %6 = onnx.OneHot(%5, %c3, %c4) : (tensor<*xi64>, tensor<i64>, tensor<2xi64>) -> tensor<*xi64>
  %c5 = onnx.Constant() {value = dense<0> : tensor<i64>} : () -> tensor<i64>
  %7 = onnx.CumSum(%6, %c5) : (tensor<*xi64>, tensor<i64>) -> tensor<*xi64>
  %c6 = onnx.Constant() {value = dense<1> : tensor<i64>} : () -> tensor<i64>
  %8 = onnx.Sub(%7, %c6) : (tensor<*xi64>, tensor<i64>) -> tensor<*xi64>
  %c7 = onnx.Constant() {value = dense<[1]> : tensor<1xi64>} : () -> tensor<1xi64>
  %9 = onnx.Unsqueeze(%5, %c7) : (tensor<*xi64>, tensor<1xi64>) -> tensor<*xi64>
  %10 = onnx.GatherElements(%8, %9) {axis = 1 : i64} : (tensor<*xi64>, tensor<*xi64>) -> tensor<*xi64>
  %11 = onnx.Squeeze(%10, %c7) : (tensor<*xi64>, tensor<1xi64>) -> tensor<*xi64>
  %c8 = onnx.Constant() {value = dense<4> : tensor<i64>} : () -> tensor<i64>
  %12 = onnx.Less(%11, %c8) : (tensor<*xi64>, tensor<i64>) -> tensor<*xi1>
  %c9 = onnx.Constant() {value = dense<3> : tensor<i64>} : () -> tensor<i64>
  %13 = onnx.Mul(%5, %c9) : (tensor<*xi64>, tensor<i64>) -> tensor<*xi64>
  %14 = onnx.Add(%13, %11) : (tensor<*xi64>, tensor<*xi64>) -> tensor<*xi64>
  %c10 = onnx.Constant() {value = dense<12> : tensor<i64>} : () -> tensor<i64>
  %15 = onnx.Shape(%11) : (tensor<*xi64>) -> tensor<*xi64>
  %16 = onnx.Expand(%c10, %15) : (tensor<i64>, tensor<*xi64>) -> tensor<*xi64>
  %17 = onnx.Where(%12, %14, %16) : (tensor<*xi1>, tensor<*xi64>, tensor<*xi64>) -> tensor<*xi64>
  %18 = onnx.Unsqueeze(%17, %c7) : (tensor<*xi64>, tensor<1xi64>) -> tensor<*xi64>
  %c11 = onnx.Constant() {value = dense<[1, 8]> : tensor<2xi64>} : () -> tensor<2xi64>
  %19 = onnx.Expand(%18, %c11) : (tensor<*xi64>, tensor<2xi64>) -> tensor<*xi64>
  %c12 = onnx.Constant() {value = dense<[2, 1]> : tensor<2xi64>} : () -> tensor<2xi64>
  %20 = onnx.Tile(%x, %c12) : (tensor<?x8xf32>, tensor<2xi64>) -> tensor<*xf32>
  %c13 = onnx.Constant() {value = dense<0.0> : tensor<13x8xf32>} : () -> tensor<13x8xf32>
  %21 = onnx.ScatterElements(%c13, %19, %20) {axis = 0 : i64} : (tensor<13x8xf32>, tensor<*xi64>, tensor<*xf32>) -> tensor<*xf32>
  %c14 = onnx.Constant() {value = dense<[0]> : tensor<1xi64>} : () -> tensor<1xi64>
  %c15 = onnx.Constant() {value = dense<[12]> : tensor<1xi64>} : () -> tensor<1xi64>
  %22 = onnx.Slice(%21, %c14, %c15, %c14) : (tensor<*xf32>, tensor<1xi64>, tensor<1xi64>, tensor<1xi64>) -> tensor<*xf32>
  %c16 = onnx.Constant() {value = dense<[4, 3, 8]> : tensor<3xi64>} : () -> tensor<3xi64>
  %23 = onnx.Reshape(%22, %c16) : (tensor<*xf32>, tensor<3xi64>) -> tensor<*xf32>
  %c17 = onnx.Constant() {value = dense<0.25> : tensor<4x8x16xf32>} : () -> tensor<4x8x16xf32>
  %24 = onnx.MatMul(%23, %c17) : (tensor<*xf32>, tensor<4x8x16xf32>) -> tensor<*xf32>
  %25 = onnx.Relu(%24) : (tensor<*xf32>) -> tensor<*xf32>
  %c18 = onnx.Constant() {value = dense<0.75> : tensor<4x16x8xf32>} : () -> tensor<4x16x8xf32>
  %26 = onnx.MatMul(%25, %c18) : (tensor<*xf32>, tensor<4x16x8xf32>) -> tensor<*xf32>
  %c19 = onnx.Constant() {value = dense<[12, 8]> : tensor<2xi64>} : () -> tensor<2xi64>
  %27 = onnx.Reshape(%26, %c19) : (tensor<*xf32>, tensor<2xi64>) -> tensor<*xf32>
  %c20 = onnx.Constant() {value = dense<0.0> : tensor<1x8xf32>} : () -> tensor<1x8xf32>
  %28 = onnx.Concat(%27, %c20) {axis = 0 : i64} : (tensor<*xf32>, tensor<1x8xf32>) -> tensor<*xf32>
  %29 = onnx.Gather(%28, %17) {axis = 0 : i64} : (tensor<*xf32>, tensor<*xi64>) -> tensor<*xf32>
  %c21 = onnx.Constant() {value = dense<[2, -1, 8]> : tensor<3xi64>} : () -> tensor<3xi64>
  %30 = onnx.Reshape(%29, %c21) : (tensor<*xf32>, tensor<3xi64>) -> tensor<*xf32>
  %31 = onnx.Transpose(%3#0) {perm = array<i64: 1, 0>} : (tensor<*xf32>) -> tensor<*xf32>
  %32 = onnx.Unsqueeze(%31, %c2) : (tensor<*xf32>, tensor<1xi64>) -> tensor<*xf32>
  %33 = onnx.Mul(%30, %32) : (tensor<*xf32>, tensor<*xf32>) -> tensor<*xf32>
  %34 = onnx.ReduceSum(%33, %c14) {keepdims = 0 : i64} : (tensor<*xf32>, tensor<1xi64>) -> tensor<*xf32>
  return %34 : tensor<*xf32>
}

// -----

// Mixtures by two different matrices of logits.
// CHECK: Remark="rows and results are mixed by other logits
func.func @soft_other(%x: tensor<?x?x8xf32> {onnx.dims = ["b", "t", ""]}) -> tensor<*xf32> {
  %c0 = onnx.Constant() {value = dense<0.5> : tensor<8x12xf32>} : () -> tensor<8x12xf32>
  %1 = onnx.MatMul(%x, %c0) : (tensor<?x?x8xf32>, tensor<8x12xf32>) -> tensor<*xf32>
  %c1 = onnx.Constant() {value = dense<0.125> : tensor<8x12xf32>} : () -> tensor<8x12xf32>
  %2 = onnx.MatMul(%x, %c1) : (tensor<?x?x8xf32>, tensor<8x12xf32>) -> tensor<*xf32>
  %3 = onnx.Softmax(%1) {axis = 1 : i64} : (tensor<*xf32>) -> tensor<*xf32>
  %4 = onnx.Softmax(%2) {axis = 2 : i64} : (tensor<*xf32>) -> tensor<*xf32>
  %5 = onnx.Transpose(%3) {perm = array<i64: 0, 2, 1>} : (tensor<*xf32>) -> tensor<*xf32>
  %6 = onnx.MatMul(%5, %x) : (tensor<*xf32>, tensor<?x?x8xf32>) -> tensor<*xf32>
  %c2 = onnx.Constant() {value = dense<[-1, 4, 3, 8]> : tensor<4xi64>} : () -> tensor<4xi64>
  %7 = onnx.Reshape(%6, %c2) : (tensor<*xf32>, tensor<4xi64>) -> tensor<*xf32>
  %c3 = onnx.Constant() {value = dense<0.25> : tensor<4x8x16xf32>} : () -> tensor<4x8x16xf32>
  %8 = onnx.Einsum(%7, %c3) {equation = "becd,edf->becf"} : (tensor<*xf32>, tensor<4x8x16xf32>) -> tensor<*xf32>
  %c4 = onnx.Constant() {value = dense<1.0> : tensor<4x1x16xf32>} : () -> tensor<4x1x16xf32>
  %9 = onnx.Add(%8, %c4) : (tensor<*xf32>, tensor<4x1x16xf32>) -> tensor<*xf32>
  %10 = onnx.Relu(%9) : (tensor<*xf32>) -> tensor<*xf32>
  %c5 = onnx.Constant() {value = dense<0.75> : tensor<4x16x8xf32>} : () -> tensor<4x16x8xf32>
  %11 = onnx.Einsum(%10, %c5) {equation = "becf,efd->becd"} : (tensor<*xf32>, tensor<4x16x8xf32>) -> tensor<*xf32>
  %c6 = onnx.Constant() {value = dense<[-1, 12, 8]> : tensor<3xi64>} : () -> tensor<3xi64>
  %12 = onnx.Reshape(%11, %c6) : (tensor<*xf32>, tensor<3xi64>) -> tensor<*xf32>
  %13 = onnx.MatMul(%4, %12) : (tensor<*xf32>, tensor<*xf32>) -> tensor<*xf32>
  return %13 : tensor<*xf32>
}

// -----

// Rows are mixed over places.
// CHECK: Remark="the logits are not mixed over the tokens
func.func @soft_places(%x: tensor<?x?x8xf32> {onnx.dims = ["b", "t", ""]}) -> tensor<*xf32> {
  %c0 = onnx.Constant() {value = dense<0.5> : tensor<8x12xf32>} : () -> tensor<8x12xf32>
  %1 = onnx.MatMul(%x, %c0) : (tensor<?x?x8xf32>, tensor<8x12xf32>) -> tensor<*xf32>
  %2 = onnx.Softmax(%1) {axis = 2 : i64} : (tensor<*xf32>) -> tensor<*xf32>
  %3 = onnx.Softmax(%1) {axis = 2 : i64} : (tensor<*xf32>) -> tensor<*xf32>
  %4 = onnx.Transpose(%2) {perm = array<i64: 0, 2, 1>} : (tensor<*xf32>) -> tensor<*xf32>
  %5 = onnx.MatMul(%4, %x) : (tensor<*xf32>, tensor<?x?x8xf32>) -> tensor<*xf32>
  %c1 = onnx.Constant() {value = dense<[-1, 4, 3, 8]> : tensor<4xi64>} : () -> tensor<4xi64>
  %6 = onnx.Reshape(%5, %c1) : (tensor<*xf32>, tensor<4xi64>) -> tensor<*xf32>
  %c2 = onnx.Constant() {value = dense<0.25> : tensor<4x8x16xf32>} : () -> tensor<4x8x16xf32>
  %7 = onnx.Einsum(%6, %c2) {equation = "becd,edf->becf"} : (tensor<*xf32>, tensor<4x8x16xf32>) -> tensor<*xf32>
  %c3 = onnx.Constant() {value = dense<1.0> : tensor<4x1x16xf32>} : () -> tensor<4x1x16xf32>
  %8 = onnx.Add(%7, %c3) : (tensor<*xf32>, tensor<4x1x16xf32>) -> tensor<*xf32>
  %9 = onnx.Relu(%8) : (tensor<*xf32>) -> tensor<*xf32>
  %c4 = onnx.Constant() {value = dense<0.75> : tensor<4x16x8xf32>} : () -> tensor<4x16x8xf32>
  %10 = onnx.Einsum(%9, %c4) {equation = "becf,efd->becd"} : (tensor<*xf32>, tensor<4x16x8xf32>) -> tensor<*xf32>
  %c5 = onnx.Constant() {value = dense<[-1, 12, 8]> : tensor<3xi64>} : () -> tensor<3xi64>
  %11 = onnx.Reshape(%10, %c5) : (tensor<*xf32>, tensor<3xi64>) -> tensor<*xf32>
  %12 = onnx.MatMul(%3, %11) : (tensor<*xf32>, tensor<*xf32>) -> tensor<*xf32>
  return %12 : tensor<*xf32>
}
