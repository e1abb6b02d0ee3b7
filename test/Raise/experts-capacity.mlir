// RUN: moe-opt %s --onnx-infer-shapes --moe-raise-experts --split-input-file | FileCheck %s

// GShard: places are counted sequence by sequence, all first choices in front.
// The mask, its one-hot rows and both products are gone.
// CHECK-LABEL: func.func @masks
// CHECK: moe.capacity %{{.*}}, %{{.*}} {mode = #moe.capacity_mode<absolute>, num_experts = 4 : i64, value = 3.000000e+00 : f64} : tensor<?x6x2xi32>, tensor<?x6x2xf32>
// CHECK: moe.experts %{{.*}} route(%{{.*}}, %{{.*}} : tensor<?x2xi32>, tensor<?x2xf32>)
// CHECK-NOT: onnx.Einsum
// CHECK: return
func.func @masks(%x: tensor<?x6x8xf32> {onnx.dims = ["b", "", ""]}) -> tensor<*xf32> {
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

// All choices of a token, then those of the next.
// CHECK-LABEL: func.func @by_token
// CHECK: moe.capacity %{{.*}} {mode = #moe.capacity_mode<absolute>, num_experts = 4 : i64, order = #moe.queue<token>, value = 3.000000e+00 : f64}
// CHECK: moe.experts %{{.*}} route(%{{.*}}, %{{.*}} : tensor<?x2xi32>, tensor<?x2xf32>)
// CHECK-NOT: onnx.Einsum
// CHECK: return
func.func @by_token(%x: tensor<?x6x8xf32> {onnx.dims = ["b", "", ""]}) -> tensor<*xf32> {
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
  %c4 = onnx.Constant() {value = dense<[-1, 12, 4]> : tensor<3xi64>} : () -> tensor<3xi64>
  %7 = onnx.Reshape(%6, %c4) : (tensor<*xf32>, tensor<3xi64>) -> tensor<*xf32>
  %c5 = onnx.Constant() {value = dense<1> : tensor<i64>} : () -> tensor<i64>
  %8 = onnx.CumSum(%7, %c5) {exclusive = 0 : i64, reverse = 0 : i64} : (tensor<*xf32>, tensor<i64>) -> tensor<*xf32>
  %9 = onnx.Mul(%8, %7) : (tensor<*xf32>, tensor<*xf32>) -> tensor<*xf32>
  %c6 = onnx.Constant() {value = dense<1.0> : tensor<f32>} : () -> tensor<f32>
  %10 = onnx.Sub(%9, %c6) : (tensor<*xf32>, tensor<f32>) -> tensor<*xf32>
  %c7 = onnx.Constant() {value = dense<0.0> : tensor<f32>} : () -> tensor<f32>
  %11 = onnx.GreaterOrEqual(%10, %c7) : (tensor<*xf32>, tensor<f32>) -> tensor<*xi1>
  %c8 = onnx.Constant() {value = dense<3.0> : tensor<f32>} : () -> tensor<f32>
  %12 = onnx.Less(%10, %c8) : (tensor<*xf32>, tensor<f32>) -> tensor<*xi1>
  %13 = onnx.And(%11, %12) : (tensor<*xi1>, tensor<*xi1>) -> tensor<*xi1>
  %c9 = onnx.Constant() {value = dense<2.0> : tensor<f32>} : () -> tensor<f32>
  %14 = onnx.Clip(%10, %c7, %c9) : (tensor<*xf32>, tensor<f32>, tensor<f32>) -> tensor<*xf32>
  %15 = onnx.Cast(%14) {to = 7 : i64} : (tensor<*xf32>) -> tensor<*xi64>
  %16 = onnx.Unsqueeze(%15, %c2) : (tensor<*xi64>, tensor<1xi64>) -> tensor<*xi64>
  %c10 = onnx.Constant() {value = dense<[0, 1, 2]> : tensor<3xi64>} : () -> tensor<3xi64>
  %17 = onnx.Equal(%16, %c10) : (tensor<*xi64>, tensor<3xi64>) -> tensor<*xi1>
  %18 = onnx.Cast(%17) {to = 1 : i64} : (tensor<*xi1>) -> tensor<*xf32>
  %19 = onnx.Cast(%13) {to = 1 : i64} : (tensor<*xi1>) -> tensor<*xf32>
  %20 = onnx.Unsqueeze(%19, %c2) : (tensor<*xf32>, tensor<1xi64>) -> tensor<*xf32>
  %21 = onnx.Mul(%18, %20) : (tensor<*xf32>, tensor<*xf32>) -> tensor<*xf32>
  %c11 = onnx.Constant() {value = dense<[-1, 6, 2, 4, 3]> : tensor<5xi64>} : () -> tensor<5xi64>
  %22 = onnx.Reshape(%21, %c11) : (tensor<*xf32>, tensor<5xi64>) -> tensor<*xf32>
  %23 = onnx.ReduceSum(%22, %c1) {keepdims = 0 : i64} : (tensor<*xf32>, tensor<1xi64>) -> tensor<*xf32>
  %c12 = onnx.Constant() {value = dense<[3, 4]> : tensor<2xi64>} : () -> tensor<2xi64>
  %24 = onnx.Unsqueeze(%3#0, %c12) : (tensor<*xf32>, tensor<2xi64>) -> tensor<*xf32>
  %25 = onnx.Mul(%22, %24) : (tensor<*xf32>, tensor<*xf32>) -> tensor<*xf32>
  %26 = onnx.ReduceSum(%25, %c1) {keepdims = 0 : i64} : (tensor<*xf32>, tensor<1xi64>) -> tensor<*xf32>
  %27 = onnx.Einsum(%23, %x) {equation = "btec,btd->becd"} : (tensor<*xf32>, tensor<?x6x8xf32>) -> tensor<*xf32>
  %c13 = onnx.Constant() {value = dense<0.25> : tensor<4x8x16xf32>} : () -> tensor<4x8x16xf32>
  %28 = onnx.Einsum(%27, %c13) {equation = "becd,edf->becf"} : (tensor<*xf32>, tensor<4x8x16xf32>) -> tensor<*xf32>
  %c14 = onnx.Constant() {value = dense<1.0> : tensor<4x1x16xf32>} : () -> tensor<4x1x16xf32>
  %29 = onnx.Add(%28, %c14) : (tensor<*xf32>, tensor<4x1x16xf32>) -> tensor<*xf32>
  %30 = onnx.Relu(%29) : (tensor<*xf32>) -> tensor<*xf32>
  %c15 = onnx.Constant() {value = dense<0.75> : tensor<4x16x8xf32>} : () -> tensor<4x16x8xf32>
  %31 = onnx.Einsum(%30, %c15) {equation = "becf,efd->becd"} : (tensor<*xf32>, tensor<4x16x8xf32>) -> tensor<*xf32>
  %32 = onnx.Einsum(%26, %31) {equation = "btec,becd->btd"} : (tensor<*xf32>, tensor<*xf32>) -> tensor<*xf32>
  return %32 : tensor<*xf32>
}

// -----

// V-MoE: tokens queue up by their largest weight.
// CHECK-LABEL: func.func @prioritised
// CHECK: moe.capacity %{{.*}}, %{{.*}} scores(%{{.*}} : tensor<?x6xf32>) {{{.*}}priority = #moe.priority<prob>, value = 3.000000e+00 : f64}
// CHECK: moe.experts %{{.*}} route(%{{.*}}, %{{.*}} : tensor<?x2xi32>, tensor<?x2xf32>)
// CHECK-NOT: onnx.Einsum
// CHECK: return
func.func @prioritised(%x: tensor<?x6x8xf32> {onnx.dims = ["b", "", ""]}) -> tensor<*xf32> {
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
  %c4 = onnx.Constant() {value = dense<0> : tensor<i64>} : () -> tensor<i64>
  %7 = onnx.Gather(%3#0, %c4) {axis = 2 : i64} : (tensor<*xf32>, tensor<i64>) -> tensor<*xf32>
  %8 = onnx.Neg(%7) : (tensor<*xf32>) -> tensor<*xf32>
  %c5 = onnx.Constant() {value = dense<[6]> : tensor<1xi64>} : () -> tensor<1xi64>
  %9:2 = onnx.TopK(%8, %c5) {axis = 1 : i64, largest = 0 : i64} : (tensor<*xf32>, tensor<1xi64>) -> (tensor<*xf32>, tensor<*xi64>)
  %c6 = onnx.Constant() {value = dense<[2, 3]> : tensor<2xi64>} : () -> tensor<2xi64>
  %10 = onnx.Unsqueeze(%9#1, %c6) : (tensor<*xi64>, tensor<2xi64>) -> tensor<*xi64>
  %c7 = onnx.Constant() {value = dense<[1, 1, 2, 4]> : tensor<4xi64>} : () -> tensor<4xi64>
  %11 = onnx.Expand(%10, %c7) : (tensor<*xi64>, tensor<4xi64>) -> tensor<*xi64>
  %12 = onnx.GatherElements(%6, %11) {axis = 1 : i64} : (tensor<*xf32>, tensor<*xi64>) -> tensor<*xf32>
  %13 = onnx.Unsqueeze(%9#1, %c1) : (tensor<*xi64>, tensor<1xi64>) -> tensor<*xi64>
  %c8 = onnx.Constant() {value = dense<[1, 1, 2]> : tensor<3xi64>} : () -> tensor<3xi64>
  %14 = onnx.Expand(%13, %c8) : (tensor<*xi64>, tensor<3xi64>) -> tensor<*xi64>
  %15 = onnx.GatherElements(%3#0, %14) {axis = 1 : i64} : (tensor<*xf32>, tensor<*xi64>) -> tensor<*xf32>
  %16 = onnx.Transpose(%12) {perm = array<i64: 0, 2, 1, 3>} : (tensor<*xf32>) -> tensor<*xf32>
  %c9 = onnx.Constant() {value = dense<[-1, 12, 4]> : tensor<3xi64>} : () -> tensor<3xi64>
  %17 = onnx.Reshape(%16, %c9) : (tensor<*xf32>, tensor<3xi64>) -> tensor<*xf32>
  %c10 = onnx.Constant() {value = dense<1> : tensor<i64>} : () -> tensor<i64>
  %18 = onnx.CumSum(%17, %c10) {exclusive = 0 : i64, reverse = 0 : i64} : (tensor<*xf32>, tensor<i64>) -> tensor<*xf32>
  %19 = onnx.Mul(%18, %17) : (tensor<*xf32>, tensor<*xf32>) -> tensor<*xf32>
  %c11 = onnx.Constant() {value = dense<1.0> : tensor<f32>} : () -> tensor<f32>
  %20 = onnx.Sub(%19, %c11) : (tensor<*xf32>, tensor<f32>) -> tensor<*xf32>
  %c12 = onnx.Constant() {value = dense<0.0> : tensor<f32>} : () -> tensor<f32>
  %21 = onnx.GreaterOrEqual(%20, %c12) : (tensor<*xf32>, tensor<f32>) -> tensor<*xi1>
  %c13 = onnx.Constant() {value = dense<3.0> : tensor<f32>} : () -> tensor<f32>
  %22 = onnx.Less(%20, %c13) : (tensor<*xf32>, tensor<f32>) -> tensor<*xi1>
  %23 = onnx.And(%21, %22) : (tensor<*xi1>, tensor<*xi1>) -> tensor<*xi1>
  %c14 = onnx.Constant() {value = dense<2.0> : tensor<f32>} : () -> tensor<f32>
  %24 = onnx.Clip(%20, %c12, %c14) : (tensor<*xf32>, tensor<f32>, tensor<f32>) -> tensor<*xf32>
  %25 = onnx.Cast(%24) {to = 7 : i64} : (tensor<*xf32>) -> tensor<*xi64>
  %26 = onnx.Unsqueeze(%25, %c2) : (tensor<*xi64>, tensor<1xi64>) -> tensor<*xi64>
  %c15 = onnx.Constant() {value = dense<[0, 1, 2]> : tensor<3xi64>} : () -> tensor<3xi64>
  %27 = onnx.Equal(%26, %c15) : (tensor<*xi64>, tensor<3xi64>) -> tensor<*xi1>
  %28 = onnx.Cast(%27) {to = 1 : i64} : (tensor<*xi1>) -> tensor<*xf32>
  %29 = onnx.Cast(%23) {to = 1 : i64} : (tensor<*xi1>) -> tensor<*xf32>
  %30 = onnx.Unsqueeze(%29, %c2) : (tensor<*xf32>, tensor<1xi64>) -> tensor<*xf32>
  %31 = onnx.Mul(%28, %30) : (tensor<*xf32>, tensor<*xf32>) -> tensor<*xf32>
  %c16 = onnx.Constant() {value = dense<[-1, 2, 6, 4, 3]> : tensor<5xi64>} : () -> tensor<5xi64>
  %32 = onnx.Reshape(%31, %c16) : (tensor<*xf32>, tensor<5xi64>) -> tensor<*xf32>
  %c17 = onnx.Constant() {value = dense<[1]> : tensor<1xi64>} : () -> tensor<1xi64>
  %33 = onnx.ReduceSum(%32, %c17) {keepdims = 0 : i64} : (tensor<*xf32>, tensor<1xi64>) -> tensor<*xf32>
  %34 = onnx.Transpose(%15) {perm = array<i64: 0, 2, 1>} : (tensor<*xf32>) -> tensor<*xf32>
  %c18 = onnx.Constant() {value = dense<[3, 4]> : tensor<2xi64>} : () -> tensor<2xi64>
  %35 = onnx.Unsqueeze(%34, %c18) : (tensor<*xf32>, tensor<2xi64>) -> tensor<*xf32>
  %36 = onnx.Mul(%32, %35) : (tensor<*xf32>, tensor<*xf32>) -> tensor<*xf32>
  %37 = onnx.ReduceSum(%36, %c17) {keepdims = 0 : i64} : (tensor<*xf32>, tensor<1xi64>) -> tensor<*xf32>
  %38:2 = onnx.TopK(%9#1, %c5) {axis = 1 : i64, largest = 0 : i64} : (tensor<*xi64>, tensor<1xi64>) -> (tensor<*xi64>, tensor<*xi64>)
  %39 = onnx.Unsqueeze(%38#1, %c6) : (tensor<*xi64>, tensor<2xi64>) -> tensor<*xi64>
  %c19 = onnx.Constant() {value = dense<[1, 1, 4, 3]> : tensor<4xi64>} : () -> tensor<4xi64>
  %40 = onnx.Expand(%39, %c19) : (tensor<*xi64>, tensor<4xi64>) -> tensor<*xi64>
  %41 = onnx.GatherElements(%33, %40) {axis = 1 : i64} : (tensor<*xf32>, tensor<*xi64>) -> tensor<*xf32>
  %42 = onnx.GatherElements(%37, %40) {axis = 1 : i64} : (tensor<*xf32>, tensor<*xi64>) -> tensor<*xf32>
  %43 = onnx.Einsum(%41, %x) {equation = "btec,btd->becd"} : (tensor<*xf32>, tensor<?x6x8xf32>) -> tensor<*xf32>
  %c20 = onnx.Constant() {value = dense<0.25> : tensor<4x8x16xf32>} : () -> tensor<4x8x16xf32>
  %44 = onnx.Einsum(%43, %c20) {equation = "becd,edf->becf"} : (tensor<*xf32>, tensor<4x8x16xf32>) -> tensor<*xf32>
  %c21 = onnx.Constant() {value = dense<1.0> : tensor<4x1x16xf32>} : () -> tensor<4x1x16xf32>
  %45 = onnx.Add(%44, %c21) : (tensor<*xf32>, tensor<4x1x16xf32>) -> tensor<*xf32>
  %46 = onnx.Relu(%45) : (tensor<*xf32>) -> tensor<*xf32>
  %c22 = onnx.Constant() {value = dense<0.75> : tensor<4x16x8xf32>} : () -> tensor<4x16x8xf32>
  %47 = onnx.Einsum(%46, %c22) {equation = "becf,efd->becd"} : (tensor<*xf32>, tensor<4x16x8xf32>) -> tensor<*xf32>
  %48 = onnx.Einsum(%42, %47) {equation = "btec,becd->btd"} : (tensor<*xf32>, tensor<*xf32>) -> tensor<*xf32>
  return %48 : tensor<*xf32>
}

// -----

// Counting from 0 with another comparison comes to the same.
// CHECK-LABEL: func.func @exclusive
// CHECK: moe.capacity {{.*}}value = 3.000000e+00
// CHECK: moe.experts %{{.*}} route(%{{.*}}, %{{.*}} : tensor<?x2xi32>, tensor<?x2xf32>)
// CHECK-NOT: onnx.Einsum
// CHECK: return
func.func @exclusive(%x: tensor<?x6x8xf32> {onnx.dims = ["b", "", ""]}) -> tensor<*xf32> {
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
  %c8 = onnx.Constant() {value = dense<2.0> : tensor<f32>} : () -> tensor<f32>
  %13 = onnx.LessOrEqual(%11, %c8) : (tensor<*xf32>, tensor<f32>) -> tensor<*xi1>
  %14 = onnx.And(%12, %13) : (tensor<*xi1>, tensor<*xi1>) -> tensor<*xi1>
  %15 = onnx.Clip(%11, %c7, %c8) : (tensor<*xf32>, tensor<f32>, tensor<f32>) -> tensor<*xf32>
  %16 = onnx.Cast(%15) {to = 7 : i64} : (tensor<*xf32>) -> tensor<*xi64>
  %17 = onnx.Unsqueeze(%16, %c2) : (tensor<*xi64>, tensor<1xi64>) -> tensor<*xi64>
  %c9 = onnx.Constant() {value = dense<[0, 1, 2]> : tensor<3xi64>} : () -> tensor<3xi64>
  %18 = onnx.Equal(%17, %c9) : (tensor<*xi64>, tensor<3xi64>) -> tensor<*xi1>
  %19 = onnx.Cast(%18) {to = 1 : i64} : (tensor<*xi1>) -> tensor<*xf32>
  %20 = onnx.Cast(%14) {to = 1 : i64} : (tensor<*xi1>) -> tensor<*xf32>
  %21 = onnx.Unsqueeze(%20, %c2) : (tensor<*xf32>, tensor<1xi64>) -> tensor<*xf32>
  %22 = onnx.Mul(%19, %21) : (tensor<*xf32>, tensor<*xf32>) -> tensor<*xf32>
  %c10 = onnx.Constant() {value = dense<[-1, 2, 6, 4, 3]> : tensor<5xi64>} : () -> tensor<5xi64>
  %23 = onnx.Reshape(%22, %c10) : (tensor<*xf32>, tensor<5xi64>) -> tensor<*xf32>
  %c11 = onnx.Constant() {value = dense<[1]> : tensor<1xi64>} : () -> tensor<1xi64>
  %24 = onnx.ReduceSum(%23, %c11) {keepdims = 0 : i64} : (tensor<*xf32>, tensor<1xi64>) -> tensor<*xf32>
  %25 = onnx.Transpose(%3#0) {perm = array<i64: 0, 2, 1>} : (tensor<*xf32>) -> tensor<*xf32>
  %c12 = onnx.Constant() {value = dense<[3, 4]> : tensor<2xi64>} : () -> tensor<2xi64>
  %26 = onnx.Unsqueeze(%25, %c12) : (tensor<*xf32>, tensor<2xi64>) -> tensor<*xf32>
  %27 = onnx.Mul(%23, %26) : (tensor<*xf32>, tensor<*xf32>) -> tensor<*xf32>
  %28 = onnx.ReduceSum(%27, %c11) {keepdims = 0 : i64} : (tensor<*xf32>, tensor<1xi64>) -> tensor<*xf32>
  %29 = onnx.Einsum(%24, %x) {equation = "btec,btd->becd"} : (tensor<*xf32>, tensor<?x6x8xf32>) -> tensor<*xf32>
  %c13 = onnx.Constant() {value = dense<0.25> : tensor<4x8x16xf32>} : () -> tensor<4x8x16xf32>
  %30 = onnx.Einsum(%29, %c13) {equation = "becd,edf->becf"} : (tensor<*xf32>, tensor<4x8x16xf32>) -> tensor<*xf32>
  %c14 = onnx.Constant() {value = dense<1.0> : tensor<4x1x16xf32>} : () -> tensor<4x1x16xf32>
  %31 = onnx.Add(%30, %c14) : (tensor<*xf32>, tensor<4x1x16xf32>) -> tensor<*xf32>
  %32 = onnx.Relu(%31) : (tensor<*xf32>) -> tensor<*xf32>
  %c15 = onnx.Constant() {value = dense<0.75> : tensor<4x16x8xf32>} : () -> tensor<4x16x8xf32>
  %33 = onnx.Einsum(%32, %c15) {equation = "becf,efd->becd"} : (tensor<*xf32>, tensor<4x16x8xf32>) -> tensor<*xf32>
  %34 = onnx.Einsum(%28, %33) {equation = "btec,becd->btd"} : (tensor<*xf32>, tensor<*xf32>) -> tensor<*xf32>
  return %34 : tensor<*xf32>
}

// -----

// Fewer places than the comparison lets through: the rest is dropped as well.
// CHECK-LABEL: func.func @few_places
// CHECK: moe.capacity {{.*}}value = 2.000000e+00
// CHECK: moe.experts %{{.*}} route(%{{.*}}, %{{.*}} : tensor<?x2xi32>, tensor<?x2xf32>)
// CHECK-NOT: onnx.Einsum
// CHECK: return
func.func @few_places(%x: tensor<?x6x8xf32> {onnx.dims = ["b", "", ""]}) -> tensor<*xf32> {
  %c0 = onnx.Constant() {value = dense<0.5> : tensor<8x4xf32>} : () -> tensor<8x4xf32>
  %1 = onnx.MatMul(%x, %c0) : (tensor<?x6x8xf32>, tensor<8x4xf32>) -> tensor<*xf32>
  %2 = onnx.Softmax(%1) {axis = -1 : i64} : (tensor<*xf32>) -> tensor<*xf32>
  %c1 = onnx.Constant() {value = dense<[2]> : tensor<1xi64>} : () -> tensor<1xi64>
  %3:2 = onnx.TopK(%2, %c1) {axis = -1 : i64} : (tensor<*xf32>, tensor<1xi64>) -> (tensor<*xf32>, tensor<*xi64>)
  %4 = onnx.Transpose(%3#1) {perm = array<i64: 0, 2, 1>} : (tensor<*xi64>) -> tensor<*xi64>
  %c2 = onnx.Constant() {value = dense<4> : tensor<i64>} : () -> tensor<i64>
  %c3 = onnx.Constant() {value = dense<[0, 1]> : tensor<2xi64>} : () -> tensor<2xi64>
  %5 = onnx.OneHot(%4, %c2, %c3) : (tensor<*xi64>, tensor<i64>, tensor<2xi64>) -> tensor<*xi64>
  %c4 = onnx.Constant() {value = dense<[-1, 12, 4]> : tensor<3xi64>} : () -> tensor<3xi64>
  %6 = onnx.Reshape(%5, %c4) : (tensor<*xi64>, tensor<3xi64>) -> tensor<*xi64>
  %c5 = onnx.Constant() {value = dense<1> : tensor<i64>} : () -> tensor<i64>
  %7 = onnx.CumSum(%6, %c5) {exclusive = 1 : i64} : (tensor<*xi64>, tensor<i64>) -> tensor<*xi64>
  %c6 = onnx.Constant() {value = dense<5> : tensor<i64>} : () -> tensor<i64>
  %8 = onnx.Less(%7, %c6) : (tensor<*xi64>, tensor<i64>) -> tensor<*xi1>
  %9 = onnx.Cast(%6) {to = 9 : i64} : (tensor<*xi64>) -> tensor<*xi1>
  %10 = onnx.And(%9, %8) : (tensor<*xi1>, tensor<*xi1>) -> tensor<*xi1>
  %c7 = onnx.Constant() {value = dense<[-1]> : tensor<1xi64>} : () -> tensor<1xi64>
  %11 = onnx.Unsqueeze(%7, %c7) : (tensor<*xi64>, tensor<1xi64>) -> tensor<*xi64>
  %12 = onnx.Equal(%11, %c3) : (tensor<*xi64>, tensor<2xi64>) -> tensor<*xi1>
  %13 = onnx.Unsqueeze(%10, %c7) : (tensor<*xi1>, tensor<1xi64>) -> tensor<*xi1>
  %14 = onnx.And(%12, %13) : (tensor<*xi1>, tensor<*xi1>) -> tensor<*xi1>
  %15 = onnx.Cast(%14) {to = 1 : i64} : (tensor<*xi1>) -> tensor<*xf32>
  %c8 = onnx.Constant() {value = dense<[-1, 2, 6, 4, 2]> : tensor<5xi64>} : () -> tensor<5xi64>
  %16 = onnx.Reshape(%15, %c8) : (tensor<*xf32>, tensor<5xi64>) -> tensor<*xf32>
  %c9 = onnx.Constant() {value = dense<[1]> : tensor<1xi64>} : () -> tensor<1xi64>
  %17 = onnx.ReduceSum(%16, %c9) {keepdims = 0 : i64} : (tensor<*xf32>, tensor<1xi64>) -> tensor<*xf32>
  %18 = onnx.Transpose(%3#0) {perm = array<i64: 0, 2, 1>} : (tensor<*xf32>) -> tensor<*xf32>
  %c10 = onnx.Constant() {value = dense<[3, 4]> : tensor<2xi64>} : () -> tensor<2xi64>
  %19 = onnx.Unsqueeze(%18, %c10) : (tensor<*xf32>, tensor<2xi64>) -> tensor<*xf32>
  %20 = onnx.Mul(%16, %19) : (tensor<*xf32>, tensor<*xf32>) -> tensor<*xf32>
  %21 = onnx.ReduceSum(%20, %c9) {keepdims = 0 : i64} : (tensor<*xf32>, tensor<1xi64>) -> tensor<*xf32>
  %22 = onnx.Einsum(%17, %x) {equation = "btec,btd->becd"} : (tensor<*xf32>, tensor<?x6x8xf32>) -> tensor<*xf32>
  %c11 = onnx.Constant() {value = dense<0.25> : tensor<4x8x16xf32>} : () -> tensor<4x8x16xf32>
  %23 = onnx.Einsum(%22, %c11) {equation = "becd,edf->becf"} : (tensor<*xf32>, tensor<4x8x16xf32>) -> tensor<*xf32>
  %c12 = onnx.Constant() {value = dense<1.0> : tensor<4x1x16xf32>} : () -> tensor<4x1x16xf32>
  %24 = onnx.Add(%23, %c12) : (tensor<*xf32>, tensor<4x1x16xf32>) -> tensor<*xf32>
  %25 = onnx.Relu(%24) : (tensor<*xf32>) -> tensor<*xf32>
  %c13 = onnx.Constant() {value = dense<0.75> : tensor<4x16x8xf32>} : () -> tensor<4x16x8xf32>
  %26 = onnx.Einsum(%25, %c13) {equation = "becf,efd->becd"} : (tensor<*xf32>, tensor<4x16x8xf32>) -> tensor<*xf32>
  %27 = onnx.Einsum(%21, %26) {equation = "btec,becd->btd"} : (tensor<*xf32>, tensor<*xf32>) -> tensor<*xf32>
  return %27 : tensor<*xf32>
}

// -----

// Choices with masks of their own: the second ones queue up behind all first
// ones.
// CHECK-LABEL: func.func @apart
// CHECK: moe.capacity {{.*}}value = 3.000000e+00
// CHECK: moe.experts %{{.*}} route(%{{.*}}, %{{.*}} : tensor<?x2xi32>, tensor<?x2xf32>)
// CHECK-NOT: onnx.Einsum
// CHECK: return
func.func @apart(%x: tensor<?x6x8xf32> {onnx.dims = ["b", "", ""]}) -> tensor<*xf32> {
  %c0 = onnx.Constant() {value = dense<0.5> : tensor<8x4xf32>} : () -> tensor<8x4xf32>
  %1 = onnx.MatMul(%x, %c0) : (tensor<?x6x8xf32>, tensor<8x4xf32>) -> tensor<*xf32>
  %2 = onnx.Softmax(%1) {axis = -1 : i64} : (tensor<*xf32>) -> tensor<*xf32>
  %c1 = onnx.Constant() {value = dense<[0, 1, 2, 3]> : tensor<4xi64>} : () -> tensor<4xi64>
  %c2 = onnx.Constant() {value = dense<1.0> : tensor<f32>} : () -> tensor<f32>
  %3 = onnx.ArgMax(%2) {axis = -1 : i64, keepdims = 0 : i64} : (tensor<*xf32>) -> tensor<*xi64>
  %c3 = onnx.Constant() {value = dense<[-1]> : tensor<1xi64>} : () -> tensor<1xi64>
  %4 = onnx.Unsqueeze(%3, %c3) : (tensor<*xi64>, tensor<1xi64>) -> tensor<*xi64>
  %5 = onnx.Equal(%4, %c1) : (tensor<*xi64>, tensor<4xi64>) -> tensor<*xi1>
  %6 = onnx.Cast(%5) {to = 1 : i64} : (tensor<*xi1>) -> tensor<*xf32>
  %7 = onnx.Sub(%c2, %6) : (tensor<f32>, tensor<*xf32>) -> tensor<*xf32>
  %8 = onnx.Mul(%2, %7) : (tensor<*xf32>, tensor<*xf32>) -> tensor<*xf32>
  %9 = onnx.ArgMax(%8) {axis = -1 : i64, keepdims = 0 : i64} : (tensor<*xf32>) -> tensor<*xi64>
  %10 = onnx.Unsqueeze(%9, %c3) : (tensor<*xi64>, tensor<1xi64>) -> tensor<*xi64>
  %11 = onnx.Equal(%10, %c1) : (tensor<*xi64>, tensor<4xi64>) -> tensor<*xi1>
  %12 = onnx.Cast(%11) {to = 1 : i64} : (tensor<*xi1>) -> tensor<*xf32>
  %c4 = onnx.Constant() {value = dense<1> : tensor<i64>} : () -> tensor<i64>
  %c5 = onnx.Constant() {value = dense<3.0> : tensor<f32>} : () -> tensor<f32>
  %13 = onnx.CumSum(%6, %c4) : (tensor<*xf32>, tensor<i64>) -> tensor<*xf32>
  %14 = onnx.Sub(%13, %6) : (tensor<*xf32>, tensor<*xf32>) -> tensor<*xf32>
  %15 = onnx.Less(%14, %c5) : (tensor<*xf32>, tensor<f32>) -> tensor<*xi1>
  %16 = onnx.Cast(%15) {to = 1 : i64} : (tensor<*xi1>) -> tensor<*xf32>
  %17 = onnx.Mul(%6, %16) : (tensor<*xf32>, tensor<*xf32>) -> tensor<*xf32>
  %c6 = onnx.Constant() {value = dense<[1]> : tensor<1xi64>} : () -> tensor<1xi64>
  %18 = onnx.ReduceSum(%6, %c6) {keepdims = 1 : i64} : (tensor<*xf32>, tensor<1xi64>) -> tensor<*xf32>
  %19 = onnx.CumSum(%12, %c4) : (tensor<*xf32>, tensor<i64>) -> tensor<*xf32>
  %20 = onnx.Sub(%19, %12) : (tensor<*xf32>, tensor<*xf32>) -> tensor<*xf32>
  %21 = onnx.Add(%20, %18) : (tensor<*xf32>, tensor<*xf32>) -> tensor<*xf32>
  %22 = onnx.Less(%21, %c5) : (tensor<*xf32>, tensor<f32>) -> tensor<*xi1>
  %23 = onnx.Cast(%22) {to = 1 : i64} : (tensor<*xi1>) -> tensor<*xf32>
  %24 = onnx.Mul(%12, %23) : (tensor<*xf32>, tensor<*xf32>) -> tensor<*xf32>
  %25 = onnx.Mul(%2, %17) : (tensor<*xf32>, tensor<*xf32>) -> tensor<*xf32>
  %26 = onnx.ReduceSum(%25, %c3) {keepdims = 0 : i64} : (tensor<*xf32>, tensor<1xi64>) -> tensor<*xf32>
  %27 = onnx.Mul(%14, %17) : (tensor<*xf32>, tensor<*xf32>) -> tensor<*xf32>
  %28 = onnx.ReduceSum(%27, %c3) {keepdims = 0 : i64} : (tensor<*xf32>, tensor<1xi64>) -> tensor<*xf32>
  %29 = onnx.Cast(%28) {to = 7 : i64} : (tensor<*xf32>) -> tensor<*xi64>
  %30 = onnx.Unsqueeze(%29, %c3) : (tensor<*xi64>, tensor<1xi64>) -> tensor<*xi64>
  %c7 = onnx.Constant() {value = dense<[0, 1, 2]> : tensor<3xi64>} : () -> tensor<3xi64>
  %31 = onnx.Equal(%30, %c7) : (tensor<*xi64>, tensor<3xi64>) -> tensor<*xi1>
  %32 = onnx.Cast(%31) {to = 1 : i64} : (tensor<*xi1>) -> tensor<*xf32>
  %33 = onnx.Unsqueeze(%26, %c3) : (tensor<*xf32>, tensor<1xi64>) -> tensor<*xf32>
  %34 = onnx.Mul(%33, %17) : (tensor<*xf32>, tensor<*xf32>) -> tensor<*xf32>
  %35 = onnx.Einsum(%34, %32) {equation = "bte,btc->btec"} : (tensor<*xf32>, tensor<*xf32>) -> tensor<*xf32>
  %36 = onnx.Mul(%2, %24) : (tensor<*xf32>, tensor<*xf32>) -> tensor<*xf32>
  %37 = onnx.ReduceSum(%36, %c3) {keepdims = 0 : i64} : (tensor<*xf32>, tensor<1xi64>) -> tensor<*xf32>
  %38 = onnx.Mul(%21, %24) : (tensor<*xf32>, tensor<*xf32>) -> tensor<*xf32>
  %39 = onnx.ReduceSum(%38, %c3) {keepdims = 0 : i64} : (tensor<*xf32>, tensor<1xi64>) -> tensor<*xf32>
  %40 = onnx.Cast(%39) {to = 7 : i64} : (tensor<*xf32>) -> tensor<*xi64>
  %41 = onnx.Unsqueeze(%40, %c3) : (tensor<*xi64>, tensor<1xi64>) -> tensor<*xi64>
  %42 = onnx.Equal(%41, %c7) : (tensor<*xi64>, tensor<3xi64>) -> tensor<*xi1>
  %43 = onnx.Cast(%42) {to = 1 : i64} : (tensor<*xi1>) -> tensor<*xf32>
  %44 = onnx.Unsqueeze(%37, %c3) : (tensor<*xf32>, tensor<1xi64>) -> tensor<*xf32>
  %45 = onnx.Mul(%44, %24) : (tensor<*xf32>, tensor<*xf32>) -> tensor<*xf32>
  %46 = onnx.Einsum(%45, %43) {equation = "bte,btc->btec"} : (tensor<*xf32>, tensor<*xf32>) -> tensor<*xf32>
  %47 = onnx.Add(%35, %46) : (tensor<*xf32>, tensor<*xf32>) -> tensor<*xf32>
  %c8 = onnx.Constant() {value = dense<0.0> : tensor<f32>} : () -> tensor<f32>
  %48 = onnx.Greater(%47, %c8) : (tensor<*xf32>, tensor<f32>) -> tensor<*xi1>
  %49 = onnx.Cast(%48) {to = 1 : i64} : (tensor<*xi1>) -> tensor<*xf32>
  %50 = onnx.Einsum(%49, %x) {equation = "gsec,gsm->gecm"} : (tensor<*xf32>, tensor<?x6x8xf32>) -> tensor<*xf32>
  %c9 = onnx.Constant() {value = dense<0.25> : tensor<4x8x16xf32>} : () -> tensor<4x8x16xf32>
  %51 = onnx.Einsum(%50, %c9) {equation = "becd,edf->becf"} : (tensor<*xf32>, tensor<4x8x16xf32>) -> tensor<*xf32>
  %c10 = onnx.Constant() {value = dense<1.0> : tensor<4x1x16xf32>} : () -> tensor<4x1x16xf32>
  %52 = onnx.Add(%51, %c10) : (tensor<*xf32>, tensor<4x1x16xf32>) -> tensor<*xf32>
  %53 = onnx.Relu(%52) : (tensor<*xf32>) -> tensor<*xf32>
  %c11 = onnx.Constant() {value = dense<0.75> : tensor<4x16x8xf32>} : () -> tensor<4x16x8xf32>
  %54 = onnx.Einsum(%53, %c11) {equation = "becf,efd->becd"} : (tensor<*xf32>, tensor<4x16x8xf32>) -> tensor<*xf32>
  %55 = onnx.Einsum(%47, %54) {equation = "gsec,gecm->gsm"} : (tensor<*xf32>, tensor<*xf32>) -> tensor<*xf32>
  return %55 : tensor<*xf32>
}

// -----

// The same where only first choices with a place are counted.
// CHECK-LABEL: func.func @apart_kept
// CHECK: moe.capacity {{.*}}value = 3.000000e+00
// CHECK: moe.experts %{{.*}} route(%{{.*}}, %{{.*}} : tensor<?x2xi32>, tensor<?x2xf32>)
// CHECK-NOT: onnx.Einsum
// CHECK: return
func.func @apart_kept(%x: tensor<?x6x8xf32> {onnx.dims = ["b", "", ""]}) -> tensor<*xf32> {
  %c0 = onnx.Constant() {value = dense<0.5> : tensor<8x4xf32>} : () -> tensor<8x4xf32>
  %1 = onnx.MatMul(%x, %c0) : (tensor<?x6x8xf32>, tensor<8x4xf32>) -> tensor<*xf32>
  %2 = onnx.Softmax(%1) {axis = -1 : i64} : (tensor<*xf32>) -> tensor<*xf32>
  %c1 = onnx.Constant() {value = dense<[0, 1, 2, 3]> : tensor<4xi64>} : () -> tensor<4xi64>
  %c2 = onnx.Constant() {value = dense<1.0> : tensor<f32>} : () -> tensor<f32>
  %3 = onnx.ArgMax(%2) {axis = -1 : i64, keepdims = 0 : i64} : (tensor<*xf32>) -> tensor<*xi64>
  %c3 = onnx.Constant() {value = dense<[-1]> : tensor<1xi64>} : () -> tensor<1xi64>
  %4 = onnx.Unsqueeze(%3, %c3) : (tensor<*xi64>, tensor<1xi64>) -> tensor<*xi64>
  %5 = onnx.Equal(%4, %c1) : (tensor<*xi64>, tensor<4xi64>) -> tensor<*xi1>
  %6 = onnx.Cast(%5) {to = 1 : i64} : (tensor<*xi1>) -> tensor<*xf32>
  %7 = onnx.Sub(%c2, %6) : (tensor<f32>, tensor<*xf32>) -> tensor<*xf32>
  %8 = onnx.Mul(%2, %7) : (tensor<*xf32>, tensor<*xf32>) -> tensor<*xf32>
  %9 = onnx.ArgMax(%8) {axis = -1 : i64, keepdims = 0 : i64} : (tensor<*xf32>) -> tensor<*xi64>
  %10 = onnx.Unsqueeze(%9, %c3) : (tensor<*xi64>, tensor<1xi64>) -> tensor<*xi64>
  %11 = onnx.Equal(%10, %c1) : (tensor<*xi64>, tensor<4xi64>) -> tensor<*xi1>
  %12 = onnx.Cast(%11) {to = 1 : i64} : (tensor<*xi1>) -> tensor<*xf32>
  %c4 = onnx.Constant() {value = dense<1> : tensor<i64>} : () -> tensor<i64>
  %c5 = onnx.Constant() {value = dense<3.0> : tensor<f32>} : () -> tensor<f32>
  %13 = onnx.CumSum(%6, %c4) : (tensor<*xf32>, tensor<i64>) -> tensor<*xf32>
  %14 = onnx.Sub(%13, %6) : (tensor<*xf32>, tensor<*xf32>) -> tensor<*xf32>
  %15 = onnx.Less(%14, %c5) : (tensor<*xf32>, tensor<f32>) -> tensor<*xi1>
  %16 = onnx.Cast(%15) {to = 1 : i64} : (tensor<*xi1>) -> tensor<*xf32>
  %17 = onnx.Mul(%6, %16) : (tensor<*xf32>, tensor<*xf32>) -> tensor<*xf32>
  %c6 = onnx.Constant() {value = dense<[1]> : tensor<1xi64>} : () -> tensor<1xi64>
  %18 = onnx.ReduceSum(%17, %c6) {keepdims = 1 : i64} : (tensor<*xf32>, tensor<1xi64>) -> tensor<*xf32>
  %19 = onnx.CumSum(%12, %c4) : (tensor<*xf32>, tensor<i64>) -> tensor<*xf32>
  %20 = onnx.Sub(%19, %12) : (tensor<*xf32>, tensor<*xf32>) -> tensor<*xf32>
  %21 = onnx.Add(%20, %18) : (tensor<*xf32>, tensor<*xf32>) -> tensor<*xf32>
  %22 = onnx.Less(%21, %c5) : (tensor<*xf32>, tensor<f32>) -> tensor<*xi1>
  %23 = onnx.Cast(%22) {to = 1 : i64} : (tensor<*xi1>) -> tensor<*xf32>
  %24 = onnx.Mul(%12, %23) : (tensor<*xf32>, tensor<*xf32>) -> tensor<*xf32>
  %25 = onnx.Mul(%2, %17) : (tensor<*xf32>, tensor<*xf32>) -> tensor<*xf32>
  %26 = onnx.ReduceSum(%25, %c3) {keepdims = 0 : i64} : (tensor<*xf32>, tensor<1xi64>) -> tensor<*xf32>
  %27 = onnx.Mul(%14, %17) : (tensor<*xf32>, tensor<*xf32>) -> tensor<*xf32>
  %28 = onnx.ReduceSum(%27, %c3) {keepdims = 0 : i64} : (tensor<*xf32>, tensor<1xi64>) -> tensor<*xf32>
  %29 = onnx.Cast(%28) {to = 7 : i64} : (tensor<*xf32>) -> tensor<*xi64>
  %30 = onnx.Unsqueeze(%29, %c3) : (tensor<*xi64>, tensor<1xi64>) -> tensor<*xi64>
  %c7 = onnx.Constant() {value = dense<[0, 1, 2]> : tensor<3xi64>} : () -> tensor<3xi64>
  %31 = onnx.Equal(%30, %c7) : (tensor<*xi64>, tensor<3xi64>) -> tensor<*xi1>
  %32 = onnx.Cast(%31) {to = 1 : i64} : (tensor<*xi1>) -> tensor<*xf32>
  %33 = onnx.Unsqueeze(%26, %c3) : (tensor<*xf32>, tensor<1xi64>) -> tensor<*xf32>
  %34 = onnx.Mul(%33, %17) : (tensor<*xf32>, tensor<*xf32>) -> tensor<*xf32>
  %35 = onnx.Einsum(%34, %32) {equation = "bte,btc->btec"} : (tensor<*xf32>, tensor<*xf32>) -> tensor<*xf32>
  %36 = onnx.Mul(%2, %24) : (tensor<*xf32>, tensor<*xf32>) -> tensor<*xf32>
  %37 = onnx.ReduceSum(%36, %c3) {keepdims = 0 : i64} : (tensor<*xf32>, tensor<1xi64>) -> tensor<*xf32>
  %38 = onnx.Mul(%21, %24) : (tensor<*xf32>, tensor<*xf32>) -> tensor<*xf32>
  %39 = onnx.ReduceSum(%38, %c3) {keepdims = 0 : i64} : (tensor<*xf32>, tensor<1xi64>) -> tensor<*xf32>
  %40 = onnx.Cast(%39) {to = 7 : i64} : (tensor<*xf32>) -> tensor<*xi64>
  %41 = onnx.Unsqueeze(%40, %c3) : (tensor<*xi64>, tensor<1xi64>) -> tensor<*xi64>
  %42 = onnx.Equal(%41, %c7) : (tensor<*xi64>, tensor<3xi64>) -> tensor<*xi1>
  %43 = onnx.Cast(%42) {to = 1 : i64} : (tensor<*xi1>) -> tensor<*xf32>
  %44 = onnx.Unsqueeze(%37, %c3) : (tensor<*xf32>, tensor<1xi64>) -> tensor<*xf32>
  %45 = onnx.Mul(%44, %24) : (tensor<*xf32>, tensor<*xf32>) -> tensor<*xf32>
  %46 = onnx.Einsum(%45, %43) {equation = "bte,btc->btec"} : (tensor<*xf32>, tensor<*xf32>) -> tensor<*xf32>
  %47 = onnx.Add(%35, %46) : (tensor<*xf32>, tensor<*xf32>) -> tensor<*xf32>
  %c8 = onnx.Constant() {value = dense<0.0> : tensor<f32>} : () -> tensor<f32>
  %48 = onnx.Greater(%47, %c8) : (tensor<*xf32>, tensor<f32>) -> tensor<*xi1>
  %49 = onnx.Cast(%48) {to = 1 : i64} : (tensor<*xi1>) -> tensor<*xf32>
  %50 = onnx.Einsum(%49, %x) {equation = "gsec,gsm->gecm"} : (tensor<*xf32>, tensor<?x6x8xf32>) -> tensor<*xf32>
  %c9 = onnx.Constant() {value = dense<0.25> : tensor<4x8x16xf32>} : () -> tensor<4x8x16xf32>
  %51 = onnx.Einsum(%50, %c9) {equation = "becd,edf->becf"} : (tensor<*xf32>, tensor<4x8x16xf32>) -> tensor<*xf32>
  %c10 = onnx.Constant() {value = dense<1.0> : tensor<4x1x16xf32>} : () -> tensor<4x1x16xf32>
  %52 = onnx.Add(%51, %c10) : (tensor<*xf32>, tensor<4x1x16xf32>) -> tensor<*xf32>
  %53 = onnx.Relu(%52) : (tensor<*xf32>) -> tensor<*xf32>
  %c11 = onnx.Constant() {value = dense<0.75> : tensor<4x16x8xf32>} : () -> tensor<4x16x8xf32>
  %54 = onnx.Einsum(%53, %c11) {equation = "becf,efd->becd"} : (tensor<*xf32>, tensor<4x16x8xf32>) -> tensor<*xf32>
  %55 = onnx.Einsum(%47, %54) {equation = "gsec,gecm->gsm"} : (tensor<*xf32>, tensor<*xf32>) -> tensor<*xf32>
  return %55 : tensor<*xf32>
}

// -----

// Tutel: rows of a buffer, one of zeros for what is dropped.
// CHECK-LABEL: func.func @rows
// CHECK: %[[IDS:.*]], %[[W:.*]] = moe.capacity %{{.*}} {mode = #moe.capacity_mode<absolute>, num_experts = 4 : i64, value = 3.000000e+00 : f64} : tensor<?x2xi32>, tensor<?x2xf32>
// CHECK: moe.experts %arg0 route(%[[IDS]], %[[W]] :
// CHECK-NOT: onnx.ScatterElements
// CHECK: return
func.func @rows(%x: tensor<?x8xf32> {onnx.dims = ["t", ""]}) -> tensor<*xf32> {
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
  %18 = onnx.Unsqueeze(%17, %c7) : (tensor<*xi64>, tensor<1xi64>) -> tensor<*xi64>
  %c10 = onnx.Constant() {value = dense<[1, 8]> : tensor<2xi64>} : () -> tensor<2xi64>
  %19 = onnx.Expand(%18, %c10) : (tensor<*xi64>, tensor<2xi64>) -> tensor<*xi64>
  %c11 = onnx.Constant() {value = dense<[2, 1]> : tensor<2xi64>} : () -> tensor<2xi64>
  %20 = onnx.Tile(%x, %c11) : (tensor<?x8xf32>, tensor<2xi64>) -> tensor<*xf32>
  %c12 = onnx.Constant() {value = dense<0.0> : tensor<13x8xf32>} : () -> tensor<13x8xf32>
  %21 = onnx.ScatterElements(%c12, %19, %20) {axis = 0 : i64} : (tensor<13x8xf32>, tensor<*xi64>, tensor<*xf32>) -> tensor<*xf32>
  %c13 = onnx.Constant() {value = dense<[0]> : tensor<1xi64>} : () -> tensor<1xi64>
  %c14 = onnx.Constant() {value = dense<[12]> : tensor<1xi64>} : () -> tensor<1xi64>
  %22 = onnx.Slice(%21, %c13, %c14, %c13) : (tensor<*xf32>, tensor<1xi64>, tensor<1xi64>, tensor<1xi64>) -> tensor<*xf32>
  %c15 = onnx.Constant() {value = dense<[4, 3, 8]> : tensor<3xi64>} : () -> tensor<3xi64>
  %23 = onnx.Reshape(%22, %c15) : (tensor<*xf32>, tensor<3xi64>) -> tensor<*xf32>
  %c16 = onnx.Constant() {value = dense<0.25> : tensor<4x8x16xf32>} : () -> tensor<4x8x16xf32>
  %24 = onnx.MatMul(%23, %c16) : (tensor<*xf32>, tensor<4x8x16xf32>) -> tensor<*xf32>
  %25 = onnx.Relu(%24) : (tensor<*xf32>) -> tensor<*xf32>
  %c17 = onnx.Constant() {value = dense<0.75> : tensor<4x16x8xf32>} : () -> tensor<4x16x8xf32>
  %26 = onnx.MatMul(%25, %c17) : (tensor<*xf32>, tensor<4x16x8xf32>) -> tensor<*xf32>
  %c18 = onnx.Constant() {value = dense<[12, 8]> : tensor<2xi64>} : () -> tensor<2xi64>
  %27 = onnx.Reshape(%26, %c18) : (tensor<*xf32>, tensor<2xi64>) -> tensor<*xf32>
  %c19 = onnx.Constant() {value = dense<0.0> : tensor<1x8xf32>} : () -> tensor<1x8xf32>
  %28 = onnx.Concat(%27, %c19) {axis = 0 : i64} : (tensor<*xf32>, tensor<1x8xf32>) -> tensor<*xf32>
  %29 = onnx.Gather(%28, %17) {axis = 0 : i64} : (tensor<*xf32>, tensor<*xi64>) -> tensor<*xf32>
  %c20 = onnx.Constant() {value = dense<[2, -1, 8]> : tensor<3xi64>} : () -> tensor<3xi64>
  %30 = onnx.Reshape(%29, %c20) : (tensor<*xf32>, tensor<3xi64>) -> tensor<*xf32>
  %31 = onnx.Transpose(%3#0) {perm = array<i64: 1, 0>} : (tensor<*xf32>) -> tensor<*xf32>
  %32 = onnx.Unsqueeze(%31, %c2) : (tensor<*xf32>, tensor<1xi64>) -> tensor<*xf32>
  %33 = onnx.Mul(%30, %32) : (tensor<*xf32>, tensor<*xf32>) -> tensor<*xf32>
  %34 = onnx.ReduceSum(%33, %c13) {keepdims = 0 : i64} : (tensor<*xf32>, tensor<1xi64>) -> tensor<*xf32>
  return %34 : tensor<*xf32>
}

// -----

// Expert choice: an expert is slot e of the tokens that it took.
// CHECK-LABEL: func.func @choice
// CHECK: %[[TOP:.*]]:2 = onnx.TopK
// CHECK: onnx.ScatterElements(%{{.*}}, %[[TOP]]#1, %{{.*}}) {axis = 2 : i64} : (tensor<?x4x?xi32>, tensor<?x4x3xi64>, tensor<?x4x3xi32>)
// CHECK: onnx.ScatterElements(%{{.*}}, %[[TOP]]#1, %[[TOP]]#0) {axis = 2 : i64}
// CHECK: moe.experts %{{.*}} route(%{{.*}}, %{{.*}} : tensor<?x4xi32>, tensor<?x4xf32>)
// CHECK-NOT: onnx.Einsum
// CHECK: return
func.func @choice(%x: tensor<?x?x8xf32> {onnx.dims = ["b", "t", ""]}) -> tensor<*xf32> {
  %c0 = onnx.Constant() {value = dense<0.5> : tensor<8x4xf32>} : () -> tensor<8x4xf32>
  %1 = onnx.MatMul(%x, %c0) : (tensor<?x?x8xf32>, tensor<8x4xf32>) -> tensor<*xf32>
  %2 = onnx.Softmax(%1) {axis = -1 : i64} : (tensor<*xf32>) -> tensor<*xf32>
  %3 = onnx.Transpose(%2) {perm = array<i64: 0, 2, 1>} : (tensor<*xf32>) -> tensor<*xf32>
  %c1 = onnx.Constant() {value = dense<[3]> : tensor<1xi64>} : () -> tensor<1xi64>
  %4:2 = onnx.TopK(%3, %c1) {axis = -1 : i64} : (tensor<*xf32>, tensor<1xi64>) -> (tensor<*xf32>, tensor<*xi64>)
  %c2 = onnx.Constant() {value = dense<[-1]> : tensor<1xi64>} : () -> tensor<1xi64>
  %5 = onnx.Unsqueeze(%4#1, %c2) : (tensor<*xi64>, tensor<1xi64>) -> tensor<*xi64>
  %c3 = onnx.Constant() {value = dense<[1, 1, 1, 8]> : tensor<4xi64>} : () -> tensor<4xi64>
  %6 = onnx.Expand(%5, %c3) : (tensor<*xi64>, tensor<4xi64>) -> tensor<*xi64>
  %c4 = onnx.Constant() {value = dense<[1]> : tensor<1xi64>} : () -> tensor<1xi64>
  %7 = onnx.Unsqueeze(%x, %c4) : (tensor<?x?x8xf32>, tensor<1xi64>) -> tensor<*xf32>
  %c5 = onnx.Constant() {value = dense<[1, 4, 1, 1]> : tensor<4xi64>} : () -> tensor<4xi64>
  %8 = onnx.Expand(%7, %c5) : (tensor<*xf32>, tensor<4xi64>) -> tensor<*xf32>
  %9 = onnx.GatherElements(%8, %6) {axis = 2 : i64} : (tensor<*xf32>, tensor<*xi64>) -> tensor<*xf32>
  %c6 = onnx.Constant() {value = dense<0.25> : tensor<4x8x16xf32>} : () -> tensor<4x8x16xf32>
  %10 = onnx.Einsum(%9, %c6) {equation = "becd,edf->becf"} : (tensor<*xf32>, tensor<4x8x16xf32>) -> tensor<*xf32>
  %c7 = onnx.Constant() {value = dense<1.0> : tensor<4x1x16xf32>} : () -> tensor<4x1x16xf32>
  %11 = onnx.Add(%10, %c7) : (tensor<*xf32>, tensor<4x1x16xf32>) -> tensor<*xf32>
  %12 = onnx.Relu(%11) : (tensor<*xf32>) -> tensor<*xf32>
  %c8 = onnx.Constant() {value = dense<0.75> : tensor<4x16x8xf32>} : () -> tensor<4x16x8xf32>
  %13 = onnx.Einsum(%12, %c8) {equation = "becf,efd->becd"} : (tensor<*xf32>, tensor<4x16x8xf32>) -> tensor<*xf32>
  %14 = onnx.Unsqueeze(%4#0, %c2) : (tensor<*xf32>, tensor<1xi64>) -> tensor<*xf32>
  %15 = onnx.Mul(%13, %14) : (tensor<*xf32>, tensor<*xf32>) -> tensor<*xf32>
  %c9 = onnx.Constant() {value = dense<[-1, 12, 1]> : tensor<3xi64>} : () -> tensor<3xi64>
  %16 = onnx.Reshape(%4#1, %c9) : (tensor<*xi64>, tensor<3xi64>) -> tensor<*xi64>
  %c10 = onnx.Constant() {value = dense<[1, 1, 8]> : tensor<3xi64>} : () -> tensor<3xi64>
  %17 = onnx.Expand(%16, %c10) : (tensor<*xi64>, tensor<3xi64>) -> tensor<*xi64>
  %c11 = onnx.Constant() {value = dense<0.0> : tensor<f32>} : () -> tensor<f32>
  %18 = onnx.Shape(%x) : (tensor<?x?x8xf32>) -> tensor<*xi64>
  %19 = onnx.Expand(%c11, %18) : (tensor<f32>, tensor<*xi64>) -> tensor<*xf32>
  %c12 = onnx.Constant() {value = dense<[-1, 12, 8]> : tensor<3xi64>} : () -> tensor<3xi64>
  %20 = onnx.Reshape(%15, %c12) : (tensor<*xf32>, tensor<3xi64>) -> tensor<*xf32>
  %21 = onnx.ScatterElements(%19, %17, %20) {axis = 1 : i64, reduction = "add"} : (tensor<*xf32>, tensor<*xi64>, tensor<*xf32>) -> tensor<*xf32>
  return %21 : tensor<*xf32>
}

// -----

// The same with one-hot rows.
// CHECK-LABEL: func.func @choice_one_hot
// CHECK: %[[TOP:.*]]:2 = onnx.TopK
// CHECK: onnx.ScatterElements(%{{.*}}, %[[TOP]]#1, %{{.*}}) {axis = 2 : i64} : (tensor<?x4x6xi32>, tensor<?x4x3xi64>, tensor<?x4x3xi32>)
// CHECK: onnx.ScatterElements(%{{.*}}, %[[TOP]]#1, %[[TOP]]#0) {axis = 2 : i64}
// CHECK: moe.experts %{{.*}} route(%{{.*}}, %{{.*}} : tensor<?x4xi32>, tensor<?x4xf32>)
// CHECK-NOT: onnx.Einsum
// CHECK: return
func.func @choice_one_hot(%x: tensor<?x6x8xf32> {onnx.dims = ["b", "", ""]}) -> tensor<*xf32> {
  %c0 = onnx.Constant() {value = dense<0.5> : tensor<8x4xf32>} : () -> tensor<8x4xf32>
  %1 = onnx.MatMul(%x, %c0) : (tensor<?x6x8xf32>, tensor<8x4xf32>) -> tensor<*xf32>
  %2 = onnx.Softmax(%1) {axis = -1 : i64} : (tensor<*xf32>) -> tensor<*xf32>
  %3 = onnx.Transpose(%2) {perm = array<i64: 0, 2, 1>} : (tensor<*xf32>) -> tensor<*xf32>
  %c1 = onnx.Constant() {value = dense<[3]> : tensor<1xi64>} : () -> tensor<1xi64>
  %4:2 = onnx.TopK(%3, %c1) {axis = -1 : i64} : (tensor<*xf32>, tensor<1xi64>) -> (tensor<*xf32>, tensor<*xi64>)
  %c2 = onnx.Constant() {value = dense<[-1]> : tensor<1xi64>} : () -> tensor<1xi64>
  %5 = onnx.Unsqueeze(%4#1, %c2) : (tensor<*xi64>, tensor<1xi64>) -> tensor<*xi64>
  %c3 = onnx.Constant() {value = dense<[0, 1, 2, 3, 4, 5]> : tensor<6xi64>} : () -> tensor<6xi64>
  %6 = onnx.Equal(%5, %c3) : (tensor<*xi64>, tensor<6xi64>) -> tensor<*xi1>
  %7 = onnx.Cast(%6) {to = 1 : i64} : (tensor<*xi1>) -> tensor<*xf32>
  %8 = onnx.Einsum(%7, %x) {equation = "bect,btd->becd"} : (tensor<*xf32>, tensor<?x6x8xf32>) -> tensor<*xf32>
  %c4 = onnx.Constant() {value = dense<0.25> : tensor<4x8x16xf32>} : () -> tensor<4x8x16xf32>
  %9 = onnx.Einsum(%8, %c4) {equation = "becd,edf->becf"} : (tensor<*xf32>, tensor<4x8x16xf32>) -> tensor<*xf32>
  %c5 = onnx.Constant() {value = dense<1.0> : tensor<4x1x16xf32>} : () -> tensor<4x1x16xf32>
  %10 = onnx.Add(%9, %c5) : (tensor<*xf32>, tensor<4x1x16xf32>) -> tensor<*xf32>
  %11 = onnx.Relu(%10) : (tensor<*xf32>) -> tensor<*xf32>
  %c6 = onnx.Constant() {value = dense<0.75> : tensor<4x16x8xf32>} : () -> tensor<4x16x8xf32>
  %12 = onnx.Einsum(%11, %c6) {equation = "becf,efd->becd"} : (tensor<*xf32>, tensor<4x16x8xf32>) -> tensor<*xf32>
  %13 = onnx.Einsum(%4#0, %7, %12) {equation = "bec,bect,becd->btd"} : (tensor<*xf32>, tensor<*xf32>, tensor<*xf32>) -> tensor<*xf32>
  return %13 : tensor<*xf32>
}

// -----

// SoftMoE: the places of an expert are its tokens, the mixtures stay.
// CHECK-LABEL: func.func @soft
// CHECK: %[[IN:.*]] = onnx.MatMul({{.*}}) {{.*}} : (tensor<?x12x?xf32>, tensor<?x?x8xf32>)
// CHECK: moe.experts %{{.*}} route(%{{.*}}, %{{.*}} : tensor<?x1xi32>, tensor<?x1xf32>)
// CHECK-NOT: onnx.Einsum
// CHECK: onnx.MatMul
// CHECK-NEXT: return
func.func @soft(%x: tensor<?x?x8xf32> {onnx.dims = ["b", "t", ""]}) -> tensor<*xf32> {
  %c0 = onnx.Constant() {value = dense<0.5> : tensor<8x12xf32>} : () -> tensor<8x12xf32>
  %1 = onnx.MatMul(%x, %c0) : (tensor<?x?x8xf32>, tensor<8x12xf32>) -> tensor<*xf32>
  %2 = onnx.Softmax(%1) {axis = 1 : i64} : (tensor<*xf32>) -> tensor<*xf32>
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
