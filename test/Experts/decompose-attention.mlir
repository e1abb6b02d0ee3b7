// The graphs of attention and norms; what they compute is tested in
// Integration/raise_attention.py.
// RUN: moe-opt %s --moe-decompose --split-input-file | FileCheck %s

// CHECK-LABEL: func.func @grouped
// CHECK: %[[Q:.*]] = onnx.Mul(%arg0,
// CHECK: %[[K:.*]] = onnx.Reshape({{.*}} -> tensor<2x4x7x8xf32>
// CHECK: %[[KT:.*]] = onnx.Transpose(%[[K]]) {{.*}}perm = array<i64: 0, 1, 3, 2>
// CHECK: %[[S:.*]] = onnx.MatMul(%[[Q]], %[[KT]])
// CHECK: onnx.Div
// CHECK: onnx.Tanh
// CHECK: %[[C:.*]] = onnx.Mul
// CHECK: %[[B:.*]] = onnx.Add(%[[C]], %arg3)
// CHECK: onnx.Range
// CHECK: onnx.LessOrEqual
// CHECK: onnx.Greater
// CHECK: %[[W:.*]] = onnx.Where(%{{.*}}, %[[B]],
// CHECK: %[[P:.*]] = onnx.Softmax(%[[W]]) {axis = -1
// CHECK: onnx.IsNaN
// CHECK: %[[G:.*]] = onnx.Where(
// CHECK: onnx.MatMul(%[[G]],
// CHECK: onnx.Slice(%[[G]],
// CHECK-NOT: moe.
func.func @grouped(%q: tensor<2x4x5x8xf32>, %k: tensor<2x2x7x8xf32>, %v: tensor<2x2x7x6xf32>,
                   %b: tensor<1x4x1x7xf32>, %m: tensor<2x1x1x7xi1>) -> (tensor<2x4x5x6xf32>, tensor<2x4x1x7xf32>) {
  %o, %p = moe.attention %q, %k, %v bias(%b : tensor<1x4x1x7xf32>) mask(%m : tensor<2x1x1x7xi1>)
      {scale = 0.5, softcap = 2.0, causal = #moe.causal<end>, window = 3, zero_nan, probs_first = -1, probs_count = 1}
      : tensor<2x4x5x8xf32>, tensor<2x2x7x8xf32>, tensor<2x2x7x6xf32> -> tensor<2x4x5x6xf32>, tensor<2x4x1x7xf32>
  return %o, %p : tensor<2x4x5x6xf32>, tensor<2x4x1x7xf32>
}

// -----

// CHECK-LABEL: func.func @rms
// CHECK: %[[F:.*]] = onnx.Cast(%arg0) {{.*}}to = 1
// CHECK: %[[S:.*]] = onnx.Mul(%[[F]], %[[F]])
// CHECK: onnx.ReduceMean(%[[S]],
// CHECK: onnx.Sqrt
// CHECK: %[[D:.*]] = onnx.Div(%[[F]],
// CHECK: %[[H:.*]] = onnx.Cast(%[[D]]) {{.*}}to = 10
// CHECK: onnx.Cast(%[[H]]) {{.*}}to = 1
// CHECK: onnx.Mul
// CHECK: %[[Y:.*]] = onnx.Cast(%{{.*}}) {{.*}}to = 10
// CHECK: return %[[Y]]
func.func @rms(%x: tensor<3x8xf16>, %w: tensor<8xf16>) -> tensor<3x8xf16> {
  %y = moe.norm %x scale(%w : tensor<8xf16>) {kind = #moe.norm_kind<rms>, epsilon = 1.0e-6, round}
      : tensor<3x8xf16> -> tensor<3x8xf16>
  return %y : tensor<3x8xf16>
}

// -----

// CHECK-LABEL: func.func @group
// CHECK: onnx.Reshape({{.*}} -> tensor<2x2x18xf32>
// CHECK: onnx.ReduceMean
// CHECK: onnx.Sub
// CHECK: onnx.Reshape({{.*}} -> tensor<2x4x9xf32>
// CHECK: onnx.Unsqueeze(%arg1
// CHECK: onnx.Mul
// CHECK: return
func.func @group(%x: tensor<2x4x9xf32>, %w: tensor<4xf32>) -> tensor<2x4x9xf32> {
  %y = moe.norm %x scale(%w : tensor<4xf32>) {kind = #moe.norm_kind<group>, epsilon = 1.0e-6, groups = 2}
      : tensor<2x4x9xf32> -> tensor<2x4x9xf32>
  return %y : tensor<2x4x9xf32>
}
