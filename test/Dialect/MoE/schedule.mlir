// Forms of the ops that say how experts run, which the examples of the
// documentation do not have.
// RUN: moe-opt %s --split-input-file --verify-roundtrip | FileCheck %s
// RUN: moe-opt %s --split-input-file --canonicalize | FileCheck %s --check-prefix=FOLD
// RUN: moe-opt %s --split-input-file --onnx-infer-shapes | FileCheck %s --check-prefix=INFER

// CHECK-LABEL: func.func @all(
// INFER-LABEL: func.func @all(
func.func @all(%x: tensor<?x16xf16> {onnx.dims = ["t", ""]}, %ids: tensor<?x2xi32> {onnx.dims = ["t", ""]},
               %w: tensor<?x2xf32> {onnx.dims = ["t", ""]}, %q: tensor<2x32x8xui8>, %s: tensor<2x32x1xf16>,
               %z: tensor<2x32x1xui8>, %down: tensor<2x16x32xui8>, %t: tensor<2x16xf32>, %zt: tensor<2x16xui8>,
               %gb: tensor<2x32xf16>, %db: tensor<2x16xf32>) -> tensor<?x16xf16> {
  // CHECK: moe.plan %{{.*}} {experts = 2 : i64, logical = 3 : i64} : tensor<?x2xi32> -> tensor<3xindex>, tensor<?xindex>, tensor<?x2xindex>
  // INFER: moe.plan {{.*}}onnx.dims = {{\[\[}}""], ["2*t"], ["t", ""]]
  %o, %k, %p = moe.plan %ids {experts = 2, logical = 3}
      : tensor<?x2xi32> -> tensor<3xindex>, tensor<?xindex>, tensor<?x2xindex>
  // CHECK: moe.dispatch %{{.*}} plan(%{{.*}}, %{{.*}}, %{{.*}} : tensor<3xindex>, tensor<?xindex>, tensor<?x2xindex>) weights(%{{.*}} : tensor<?x2xf32>) {in_scale = 5.000000e-01 : f64} : tensor<?x16xf16> -> tensor<?x16xf32>
  // INFER: moe.dispatch {{.*}}onnx.dims = {{\[\[}}"2*t", ""]]
  %rows = moe.dispatch %x plan(%o, %k, %p : tensor<3xindex>, tensor<?xindex>, tensor<?x2xindex>)
      weights(%w : tensor<?x2xf32>) {in_scale = 0.5} : tensor<?x16xf16> -> tensor<?x16xf32>
  // CHECK: moe.grouped_ffn %{{.*}} offsets(%{{.*}} : tensor<3xindex>) gate(%{{.*}}, %{{.*}}, %{{.*}} : tensor<2x32x8xui8>, tensor<2x32x1xf16>, tensor<2x32x1xui8>) up(%{{.*}}, %{{.*}}, %{{.*}} : tensor<2x32x8xui8>, tensor<2x32x1xf16>, tensor<2x32x1xui8>) down(%{{.*}}, %{{.*}}, %{{.*}} : tensor<2x16x32xui8>, tensor<2x16xf32>, tensor<2x16xui8>) gate_bias(%{{.*}} : tensor<2x32xf16>) up_bias(%{{.*}} : tensor<2x32xf16>) down_bias(%{{.*}} : tensor<2x16xf32>) {down_codes = #moe.codes<bits = 8>, gate_codes = #moe.codes<bits = 4, block = 16>, gate_up = #moe.gate_up<separate>} : tensor<?x16xf32> -> tensor<?x16xf32>
  // INFER: moe.grouped_ffn {{.*}}onnx.dims = {{\[\[}}"2*t", ""]]
  %r = moe.grouped_ffn %rows offsets(%o : tensor<3xindex>)
      gate(%q, %s, %z : tensor<2x32x8xui8>, tensor<2x32x1xf16>, tensor<2x32x1xui8>)
      up(%q, %s, %z : tensor<2x32x8xui8>, tensor<2x32x1xf16>, tensor<2x32x1xui8>)
      down(%down, %t, %zt : tensor<2x16x32xui8>, tensor<2x16xf32>, tensor<2x16xui8>)
      gate_bias(%gb : tensor<2x32xf16>) up_bias(%gb : tensor<2x32xf16>) down_bias(%db : tensor<2x16xf32>)
      {gate_up = #moe.gate_up<separate>, gate_codes = #moe.codes<bits = 4, block = 16>, down_codes = #moe.codes<bits = 8>}
      : tensor<?x16xf32> -> tensor<?x16xf32> {
  ^bb0(%g: f32, %u: f32):
    %h = arith.mulf %g, %u : f32
    moe.yield %h : f32
  }
  // CHECK: moe.combine %{{.*}} at(%{{.*}} : tensor<?x2xindex>) : tensor<?x16xf32> -> tensor<?x16xf16>
  // INFER: moe.combine {{.*}}onnx.dims = {{\[\[}}"t", ""]]
  %y = moe.combine %r at(%p : tensor<?x2xindex>) : tensor<?x16xf32> -> tensor<?x16xf16>
  return %y : tensor<?x16xf16>
}

// -----

// Rows that are the tokens as they are need no op.
// FOLD-LABEL: func.func @copies(
// FOLD-SAME: %[[X:.*]]: tensor<?x16xf32>
// FOLD-NEXT: %[[A:.*]] = moe.dispatch %[[X]] {in_scale = 2.000000e+00 : f64}
// FOLD-NEXT: %[[B:.*]] = moe.dispatch %{{.*}} : tensor<?x16xf16> -> tensor<?x16xf32>
// FOLD-NEXT: return %[[X]], %[[A]], %[[B]]
func.func @copies(%x: tensor<?x16xf32>, %h: tensor<?x16xf16>) -> (tensor<?x16xf32>, tensor<?x16xf32>, tensor<?x16xf32>) {
  %0 = moe.dispatch %x : tensor<?x16xf32> -> tensor<?x16xf32>
  %1 = moe.dispatch %x {in_scale = 2.0} : tensor<?x16xf32> -> tensor<?x16xf32>
  %2 = moe.dispatch %h : tensor<?x16xf16> -> tensor<?x16xf32>
  return %0, %1, %2 : tensor<?x16xf32>, tensor<?x16xf32>, tensor<?x16xf32>
}
