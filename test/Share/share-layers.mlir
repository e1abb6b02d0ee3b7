// RUN: moe-opt %s --split-input-file --moe-share-layers="min-ops=3" --canonicalize | FileCheck %s

// Weights become parameters, what is equal stays; the bias of layer 2 is its
// own. What both layers get from outside is an argument, with its extents.
// CHECK-LABEL: func.func @weights
// CHECK-SAME: (%[[X:.*]]: tensor<?x16xf32> {{.*}}, %[[M:.*]]: tensor<?x16xf32>
// CHECK: %[[Y:.*]] = call @weights.layer.0(%[[X]], %[[M]])
// CHECK-SAME: rt.arguments = [dense<1.000000e+00> : tensor<16x16xf32>, dense<3.000000e+00> : tensor<16xf32>]
// CHECK: %[[Z:.*]] = call @weights.layer.0(%[[Y]], %[[M]])
// CHECK-SAME: rt.arguments = [dense<2.000000e+00> : tensor<16x16xf32>, dense<4.000000e+00> : tensor<16xf32>]
// CHECK: return %[[Z]]
// CHECK: func.func private @weights.layer.0
// CHECK-SAME: (%[[A:.*]]: tensor<?x16xf32> {onnx.arg_dims = ["n", ""]}, %[[N:.*]]: tensor<?x16xf32> {onnx.arg_dims = ["n", ""]}) -> tensor<?x16xf32>
// CHECK-DAG: %[[W:.*]] = onnx.Initializer "parameter0" = #rt.parameter<0> : tensor<16x16xf32>
// CHECK-DAG: %[[B:.*]] = onnx.Initializer "parameter1" = #rt.parameter<1> : tensor<16xf32>
// CHECK-DAG: %[[S:.*]] = onnx.Initializer "s" = dense<5.000000e-01> : tensor<16xf32>
// CHECK: %[[P:.*]] = onnx.MatMul(%[[A]], %[[W]])
// CHECK: %[[Q:.*]] = onnx.Add(%[[P]], %[[B]])
// CHECK: %[[R:.*]] = onnx.Mul(%[[Q]], %[[S]])
// CHECK: %[[T:.*]] = onnx.Add(%[[R]], %[[N]])
// CHECK: return %[[T]]
func.func @weights(%x: tensor<?x16xf32> {onnx.dims = ["n", ""]}, %m: tensor<?x16xf32> {onnx.dims = ["n", ""]}) -> tensor<?x16xf32> {
  %w0 = onnx.Initializer "w0" = dense<1.0> : tensor<16x16xf32>
  %w1 = onnx.Initializer "w1" = dense<2.0> : tensor<16x16xf32>
  %b0 = onnx.Initializer "b0" = dense<3.0> : tensor<16xf32>
  %b1 = onnx.Initializer "b1" = dense<4.0> : tensor<16xf32>
  %s = onnx.Initializer "s" = dense<0.5> : tensor<16xf32>
  %0 = onnx.MatMul(%x, %w0) {onnx.dims = [["n", ""]]} : (tensor<?x16xf32>, tensor<16x16xf32>) -> tensor<?x16xf32>
  %1 = onnx.Add(%0, %b0) {onnx.dims = [["n", ""]]} : (tensor<?x16xf32>, tensor<16xf32>) -> tensor<?x16xf32>
  %2 = onnx.Mul(%1, %s) {onnx.dims = [["n", ""]]} : (tensor<?x16xf32>, tensor<16xf32>) -> tensor<?x16xf32>
  %3 = onnx.Add(%2, %m) {onnx.dims = [["n", ""]]} : (tensor<?x16xf32>, tensor<?x16xf32>) -> tensor<?x16xf32>
  %4 = onnx.MatMul(%3, %w1) {onnx.dims = [["n", ""]]} : (tensor<?x16xf32>, tensor<16x16xf32>) -> tensor<?x16xf32>
  %5 = onnx.Add(%4, %b1) {onnx.dims = [["n", ""]]} : (tensor<?x16xf32>, tensor<16xf32>) -> tensor<?x16xf32>
  %6 = onnx.Mul(%5, %s) {onnx.dims = [["n", ""]]} : (tensor<?x16xf32>, tensor<16xf32>) -> tensor<?x16xf32>
  %7 = onnx.Add(%6, %m) {onnx.dims = [["n", ""]]} : (tensor<?x16xf32>, tensor<?x16xf32>) -> tensor<?x16xf32>
  return %7 : tensor<?x16xf32>
}

// -----

// The layers are cut at the residual, not in front of the product where the
// period begins: two values cross there.
// CHECK-LABEL: func.func @residual
// CHECK: onnx.MatMul
// CHECK: onnx.Relu
// CHECK: %[[X:.*]] = onnx.Add
// CHECK: %[[Y:.*]] = call @residual.layer.0(%[[X]])
// CHECK: %[[Z:.*]] = call @residual.layer.0(%[[Y]])
// CHECK: return %[[Z]]
func.func @residual(%x: tensor<4x16xf32>) -> tensor<4x16xf32> {
  %w0 = onnx.Initializer "w0" = dense<1.0> : tensor<16x16xf32>
  %w1 = onnx.Initializer "w1" = dense<2.0> : tensor<16x16xf32>
  %w2 = onnx.Initializer "w2" = dense<3.0> : tensor<16x16xf32>
  %0 = onnx.MatMul(%x, %w0) : (tensor<4x16xf32>, tensor<16x16xf32>) -> tensor<4x16xf32>
  %1 = onnx.Relu(%0) : (tensor<4x16xf32>) -> tensor<4x16xf32>
  %2 = onnx.Add(%1, %0) : (tensor<4x16xf32>, tensor<4x16xf32>) -> tensor<4x16xf32>
  %3 = onnx.Relu(%2) : (tensor<4x16xf32>) -> tensor<4x16xf32>
  %4 = onnx.MatMul(%3, %w1) : (tensor<4x16xf32>, tensor<16x16xf32>) -> tensor<4x16xf32>
  %5 = onnx.Add(%4, %2) : (tensor<4x16xf32>, tensor<4x16xf32>) -> tensor<4x16xf32>
  %6 = onnx.Relu(%5) : (tensor<4x16xf32>) -> tensor<4x16xf32>
  %7 = onnx.MatMul(%6, %w2) : (tensor<4x16xf32>, tensor<16x16xf32>) -> tensor<4x16xf32>
  %8 = onnx.Add(%7, %5) : (tensor<4x16xf32>, tensor<4x16xf32>) -> tensor<4x16xf32>
  return %8 : tensor<4x16xf32>
}

// -----

// Names of extents that inference made up differ; which are equal does not. An
// op on constants alone belongs to the layer that reads it, wherever it stands.
// CHECK-LABEL: func.func @extents
// CHECK-NOT: = onnx
// CHECK: call @extents.layer.0(%{{.*}}, %{{.*}}) {onnx.dims = {{\[}}["?1", ""]], rt.arguments = [dense<1.000000e+00>
// CHECK-NOT: onnx.Transpose
// CHECK: call @extents.layer.0(%{{.*}}, %{{.*}}) {onnx.dims = {{\[}}["?2", ""]], rt.arguments = [dense<2.000000e+00>
// CHECK: func.func private @extents.layer.0
// CHECK: onnx.Transpose
// CHECK: onnx.MatMul
func.func @extents(%x: tensor<?x16xf32> {onnx.dims = ["n", ""]}, %c: tensor<?xi1> {onnx.dims = ["n"]}, %d: tensor<?xi1> {onnx.dims = ["n"]}) -> (tensor<?x16xf32>, tensor<?x16xf32>) {
  %w0 = onnx.Initializer "w0" = dense<1.0> : tensor<16x16xf32>
  %w1 = onnx.Initializer "w1" = dense<2.0> : tensor<16x16xf32>
  %t0 = onnx.Transpose(%w0) {perm = array<i64: 1, 0>} : (tensor<16x16xf32>) -> tensor<16x16xf32>
  %t1 = onnx.Transpose(%w1) {perm = array<i64: 1, 0>} : (tensor<16x16xf32>) -> tensor<16x16xf32>
  %0 = onnx.MatMul(%x, %t0) {onnx.dims = [["n", ""]]} : (tensor<?x16xf32>, tensor<16x16xf32>) -> tensor<?x16xf32>
  %1 = onnx.Compress(%0, %c) {axis = 0 : i64, onnx.dims = [["?1", ""]]} : (tensor<?x16xf32>, tensor<?xi1>) -> tensor<?x16xf32>
  %2 = onnx.Relu(%1) {onnx.dims = [["?1", ""]]} : (tensor<?x16xf32>) -> tensor<?x16xf32>
  %3 = onnx.MatMul(%x, %t1) {onnx.dims = [["n", ""]]} : (tensor<?x16xf32>, tensor<16x16xf32>) -> tensor<?x16xf32>
  %4 = onnx.Compress(%3, %d) {axis = 0 : i64, onnx.dims = [["?2", ""]]} : (tensor<?x16xf32>, tensor<?xi1>) -> tensor<?x16xf32>
  %5 = onnx.Relu(%4) {onnx.dims = [["?2", ""]]} : (tensor<?x16xf32>) -> tensor<?x16xf32>
  return %2, %5 : tensor<?x16xf32>, tensor<?x16xf32>
}

// -----

// What the first layer alone computes, since others read it too, moves in front.
// CHECK-LABEL: func.func @common
// CHECK: %[[M:.*]] = onnx.Not
// CHECK-NOT: = onnx
// CHECK: %[[Y:.*]] = call @common.layer.0(%{{.*}}, %[[M]], %{{.*}})
// CHECK: call @common.layer.0(%[[Y]], %[[M]], %{{.*}})
func.func @common(%x: tensor<4x16xf32>, %m: tensor<4x16xi1>, %z: tensor<f32>) -> tensor<4x16xf32> {
  %w0 = onnx.Initializer "w0" = dense<1.0> : tensor<16x16xf32>
  %w1 = onnx.Initializer "w1" = dense<2.0> : tensor<16x16xf32>
  %0 = onnx.MatMul(%x, %w0) : (tensor<4x16xf32>, tensor<16x16xf32>) -> tensor<4x16xf32>
  %1 = onnx.Not(%m) : (tensor<4x16xi1>) -> tensor<4x16xi1>
  %2 = onnx.Where(%1, %0, %z) : (tensor<4x16xi1>, tensor<4x16xf32>, tensor<f32>) -> tensor<4x16xf32>
  %3 = onnx.Relu(%2) : (tensor<4x16xf32>) -> tensor<4x16xf32>
  %4 = onnx.MatMul(%3, %w1) : (tensor<4x16xf32>, tensor<16x16xf32>) -> tensor<4x16xf32>
  %5 = onnx.Where(%1, %4, %z) : (tensor<4x16xi1>, tensor<4x16xf32>, tensor<f32>) -> tensor<4x16xf32>
  %6 = onnx.Relu(%5) : (tensor<4x16xf32>) -> tensor<4x16xf32>
  return %6 : tensor<4x16xf32>
}
