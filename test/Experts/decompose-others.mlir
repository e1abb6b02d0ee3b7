// Banks, trivial experts and whole models as plain operators.
// RUN: moe-opt %s --moe-decompose | FileCheck %s
// `ops` restricts it.
// RUN: moe-opt %s --moe-decompose=ops=moe.mix,moe.switch | FileCheck %s --check-prefix=ONLY

// ONLY-LABEL: func.func @dequantize
// ONLY: moe.dequantize
// ONLY: moe.trivial_experts
// ONLY-NOT: moe.mix
// ONLY-NOT: moe.switch

// Low codes first, blocks by broadcasting.
// CHECK-LABEL: func.func @dequantize
// CHECK-SAME: (%[[Q:.*]]: tensor<2x5x8xui8>, %[[S:.*]]: tensor<2x5x2xf16>)
// CHECK: %[[LOW:.*]] = onnx.Mod(%[[Q]],
// CHECK: %[[L:.*]] = onnx.Unsqueeze(%[[LOW]],
// CHECK: %[[HIGH:.*]] = onnx.BitShift(%[[Q]], %{{.*}}) {direction = "RIGHT"}
// CHECK: %[[H:.*]] = onnx.Unsqueeze(%[[HIGH]],
// CHECK: onnx.Concat(%[[L]], %[[H]]) {axis = 3 : i64}
// CHECK: onnx.Constant() {value = dense<8.000000e+00> : tensor<f32>}
// CHECK: onnx.Reshape{{.*}} -> tensor<2x5x2x8xf32>
// CHECK: onnx.Sub
// CHECK: onnx.Mul
// CHECK: onnx.Reshape{{.*}} -> tensor<2x5x16xf32>
// CHECK: %[[R:.*]] = onnx.Cast{{.*}} -> tensor<2x5x16xf16>
// CHECK: return %[[R]]
func.func @dequantize(%q: tensor<2x5x8xui8>, %s: tensor<2x5x2xf16>) -> tensor<2x5x16xf16> {
  %0 = moe.dequantize %q, %s {bits = 4, block = 8} : tensor<2x5x8xui8>, tensor<2x5x2xf16> -> tensor<2x5x16xf16>
  return %0 : tensor<2x5x16xf16>
}

// The last block is shorter, and so is the last byte of zero points.
// CHECK-LABEL: func.func @rest
// CHECK: %[[ZP:.*]] = onnx.Slice{{.*}} -> tensor<2x5x3xf32>
// CHECK-DAG: onnx.Slice{{.*}} -> tensor<2x5x20xf32>
// CHECK: onnx.Sub
func.func @rest(%q: tensor<2x5x5xui8>, %s: tensor<2x5x3xf32>, %z: tensor<2x5x1xui8>) -> tensor<2x5x20xf32> {
  %0 = moe.dequantize %q, %s zero_points(%z : tensor<2x5x1xui8>) {bits = 2, block = 8}
      : tensor<2x5x5xui8>, tensor<2x5x3xf32> -> tensor<2x5x20xf32>
  return %0 : tensor<2x5x20xf32>
}

// A range of copies is two comparisons; no row per slot.
// CHECK-LABEL: func.func @trivial
// CHECK-SAME: (%[[X:.*]]: tensor<?x8xf32>
// CHECK-DAG: onnx.Constant() {value = dense<4> : tensor<i64>}
// CHECK-DAG: onnx.Constant() {value = dense<7> : tensor<i64>}
// CHECK: %[[F:.*]] = onnx.ReduceSum
// CHECK: onnx.Mul(%[[X]], %[[F]])
// CHECK-NOT: onnx.Expand
// CHECK: return
func.func @trivial(%x: tensor<?x8xf32>, %ids: tensor<?x2xi32>, %w: tensor<?x2xf32>) -> tensor<?x8xf32> {
  %y = moe.trivial_experts %x route(%ids, %w : tensor<?x2xi32>, tensor<?x2xf32>) {first = 4 : i64, kinds = [
      #moe.kind<copy>, #moe.kind<copy>, #moe.kind<copy>, #moe.kind<zero>]} : tensor<?x8xf32>
  return %y : tensor<?x8xf32>
}

// CHECK-LABEL: func.func @constants
// CHECK: %[[ALL:.*]] = onnx.Softmax{{.*}} -> tensor<?x2x2xf32>
// CHECK: onnx.MatMul{{.*}} -> tensor<?x8xf32>
func.func @constants(%x: tensor<?x8xf32>, %ids: tensor<?x2xi32>, %w: tensor<?x2xf32>, %c: tensor<2x8xf32>, %m: tensor<2x2x8xf32>) -> tensor<?x8xf32> {
  %y = moe.trivial_experts %x route(%ids, %w : tensor<?x2xi32>, tensor<?x2xf32>) constants(%c : tensor<2x8xf32>) mixers(%m : tensor<2x2x8xf32>)
      {first = 4 : i64, kinds = [#moe.kind<constant>, #moe.kind<zero>, #moe.kind<constant>]} : tensor<?x8xf32>
  return %y : tensor<?x8xf32>
}

// CHECK-LABEL: func.func @zero
// CHECK: %[[Z:.*]] = onnx.ConstantOfShape
// CHECK: return %[[Z]]
func.func @zero(%x: tensor<?x8xf32>, %ids: tensor<?x2xi32>, %w: tensor<?x2xf32>) -> tensor<?x8xf32> {
  %y = moe.trivial_experts %x route(%ids, %w : tensor<?x2xi32>, tensor<?x2xf32>) {first = 4 : i64, kinds = [#moe.kind<zero>]} : tensor<?x8xf32>
  return %y : tensor<?x8xf32>
}

// CHECK-LABEL: func.func @mix
// CHECK: %[[B:.*]] = onnx.Reshape{{.*}} -> tensor<4x128xf32>
// CHECK: %[[M:.*]] = onnx.MatMul(%{{.*}}, %[[B]])
// CHECK: onnx.Reshape(%[[M]]
// ONLY-LABEL: func.func @mix
func.func @mix(%c: tensor<?x4xf32>, %bank: tensor<4x16x8xf32>) -> tensor<?x16x8xf32> {
  %0 = moe.mix %c, %bank : tensor<?x4xf32>, tensor<4x16x8xf32> -> tensor<?x16x8xf32>
  return %0 : tensor<?x16x8xf32>
}

// CHECK-LABEL: func.func @rows
// CHECK-SAME: (%[[I:.*]]: tensor<3xi64>, %[[BANK:.*]]: tensor<4x8xf32>)
// CHECK: %[[BELOW:.*]] = onnx.Less(%[[I]],
// CHECK: %[[AT:.*]] = onnx.Where(%[[BELOW]],
// CHECK: onnx.Gather(%[[BANK]], %[[AT]])
func.func @rows(%i: tensor<3xi64>, %bank: tensor<4x8xf32>) -> tensor<3x8xf32> {
  %0 = moe.mix %i, %bank : tensor<3xi64>, tensor<4x8xf32> -> tensor<3x8xf32>
  return %0 : tensor<3x8xf32>
}

// A tree of If; what is inside of a branch is rewritten as well.
// CHECK-LABEL: func.func @switch
// CHECK: %[[INDEX:.*]] = onnx.Gather
// CHECK: %[[FIRST:.*]] = onnx.Less(%[[INDEX]]
// CHECK: onnx.If(%[[FIRST]])
// CHECK: onnx.Less(%[[INDEX]]
// CHECK: onnx.If
// CHECK: onnx.MatMul
// CHECK-NOT: moe.
// CHECK: return
func.func @switch(%i: tensor<i32>, %c: tensor<2x4xf32>, %bank: tensor<4x8xf32>, %d: tensor<2x8xf32>) -> tensor<2x8xf32> {
  %y = moe.switch %i : tensor<i32> -> tensor<2x8xf32> {
    moe.yield %d : tensor<2x8xf32>
  }, {
    %0 = moe.mix %c, %bank : tensor<2x4xf32>, tensor<4x8xf32> -> tensor<2x8xf32>
    moe.yield %0 : tensor<2x8xf32>
  }, {
    %0 = onnx.Relu(%d) : (tensor<2x8xf32>) -> tensor<2x8xf32>
    moe.yield %0 : tensor<2x8xf32>
  }
  return %y : tensor<2x8xf32>
}

// One branch: its results still depend on a legal index.
// CHECK-LABEL: func.func @single
// CHECK: %[[R:.*]] = onnx.Relu
// CHECK: %[[U:.*]] = onnx.Unsqueeze(%[[R]]
// CHECK: onnx.Gather(%[[U]], %{{.*}})
// CHECK-NOT: onnx.If
func.func @single(%i: tensor<i64>, %d: tensor<2x8xf32>) -> tensor<2x8xf32> {
  %y = moe.switch %i : tensor<i64> -> tensor<2x8xf32> {
    %0 = onnx.Relu(%d) : (tensor<2x8xf32>) -> tensor<2x8xf32>
    moe.yield %0 : tensor<2x8xf32>
  }
  return %y : tensor<2x8xf32>
}
