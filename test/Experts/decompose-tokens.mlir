// RUN: moe-opt %s --moe-decompose | FileCheck %s
// RUN: moe-opt %s --moe-decompose=opset=15 | FileCheck %s --check-prefix=OLD

// They are what runs: that they become operators is no loss.
// RUN: moe-opt %s --moe-decompose=fallback=true --verify-diagnostics --remark-format=emitRemark --remarks-filter-missed=lower | FileCheck %s

// CHECK-LABEL: func.func @keep
// CHECK: %[[PART:.*]] = onnx.Slice
// CHECK: %[[I:.*]]:2 = onnx.TopK(%[[PART]], %{{.*}}) {axis = 1 : i64, largest = 1 : i64{{.*}}
// CHECK: %[[J:.*]]:2 = onnx.TopK(%[[I]]#1, %{{.*}}) {axis = 1 : i64, largest = 0 : i64{{.*}}
// CHECK: %[[M:.*]] = onnx.Add(%[[J]]#0
// CHECK: onnx.Concat(%{{.*}}, %[[M]], %{{.*}}) {axis = 1 : i64{{.*}} : (tensor<?x2xi64>, tensor<?x3xi64>, tensor<?x?xi64>)
// CHECK: onnx.Cast
func.func @keep(%s: tensor<?x?xf32>) -> tensor<?x?xi32> {
  %0 = moe.token_keep %s {k = 3, first = 2, count = 5} : tensor<?x?xf32> -> tensor<?x?xi32>
  return %0 : tensor<?x?xi32>
}

// Whole tokens are taken by one number each.
// CHECK-LABEL: func.func @drop
// CHECK: onnx.GatherND(%{{.*}}, %{{.*}}) {batch_dims = 1 : i64{{.*}} : (tensor<?x8x4xf32>, tensor<?x3x1xi64>) -> tensor<?x3x4xf32>
func.func @drop(%x: tensor<?x8x4xf32>, %i: tensor<?x3xi32>) -> tensor<?x3x4xf32> {
  %0 = moe.token_drop %x, %i : tensor<?x8x4xf32>, tensor<?x3xi32> -> tensor<?x3x4xf32>
  return %0 : tensor<?x3x4xf32>
}

// One row for all sequences.
// CHECK-LABEL: func.func @one_row
// CHECK: onnx.Gather(%{{.*}}, %{{.*}}) {axis = 1 : i64{{.*}} : (tensor<?x8x4xf32>, tensor<3xi64>) -> tensor<?x3x4xf32>
func.func @one_row(%x: tensor<?x8x4xf32>, %i: tensor<1x3xi32>) -> tensor<?x3x4xf32> {
  %0 = moe.token_drop %x, %i : tensor<?x8x4xf32>, tensor<1x3xi32> -> tensor<?x3x4xf32>
  return %0 : tensor<?x3x4xf32>
}

// CHECK-LABEL: func.func @add
// CHECK: onnx.ScatterElements({{.*}}) {axis = 1 : i64, {{.*}}reduction = "add"
// OLD-LABEL: func.func @add
// OLD: %[[B:.*]] = onnx.GatherND
// OLD: %[[S:.*]] = onnx.Add(%{{.*}}, %[[B]])
// OLD: onnx.ScatterElements(%{{.*}}, %{{.*}}, %[[S]]) {axis = 1 : i64{{.*}}
func.func @add(%x: tensor<?x8x4xf32>, %y: tensor<?x3x4xf32>, %i: tensor<?x3xi32>) -> tensor<?x8x4xf32> {
  %0 = moe.token_restore %y, %i base(%x : tensor<?x8x4xf32>) {fill = #moe.fill<add>}
      : tensor<?x3x4xf32>, tensor<?x3xi32> -> tensor<?x8x4xf32>
  return %0 : tensor<?x8x4xf32>
}

// Where tokens went is only computed for those who ask.
// CHECK-LABEL: func.func @merge
// CHECK: onnx.MatMul
// CHECK: onnx.ArgMax
// CHECK-NOT: onnx.Range
// CHECK: onnx.Div
// CHECK: return
// OLD-LABEL: func.func @merge
// OLD-NOT: reduction = "add"
// OLD: return
func.func @merge(%x: tensor<?x9x4xf32>, %n: tensor<?x9x1xf32>, %m: tensor<?x9x3xf32>) -> (tensor<?x7x4xf32>, tensor<?x7x1xf32>) {
  %y, %s, %a = moe.token_merge %x, %n, %m {r = 2} : tensor<?x9x4xf32>, tensor<?x9x1xf32>, tensor<?x9x3xf32>
      -> tensor<?x7x4xf32>, tensor<?x7x1xf32>, tensor<?x9xi32>
  return %y, %s : tensor<?x7x4xf32>, tensor<?x7x1xf32>
}

// CHECK-LABEL: func.func @gem
// CHECK: %[[C:.*]] = onnx.Clip
// CHECK: %[[P:.*]] = onnx.Pow(%[[C]]
// CHECK: %[[A:.*]] = onnx.AveragePool(%[[P]]) {count_include_pad = 1 : i64, kernel_shape = array<i64: 3, 3>, {{.*}}pads = array<i64: 1, 1, 1, 1>, strides = array<i64: 1, 1>{{.*}}
// CHECK: onnx.Pow(%[[A]]
func.func @gem(%x: tensor<?x3x8x6xf32>) -> tensor<?x3x8x6xf32> {
  %0 = moe.pool %x {pooling = #moe.pooling<kind = gem, kernel = [3, 3], pads = [1, 1, 1, 1], pad_mode = zero, p = 3.0, eps = 0.5>}
      : tensor<?x3x8x6xf32> -> tensor<?x3x8x6xf32>
  return %0 : tensor<?x3x8x6xf32>
}

// A norm is an operator where its power is whole.
// CHECK-LABEL: func.func @norms
// CHECK: onnx.LpPool(%{{.*}}) {kernel_shape = array<i64: 3>, {{.*}}p = 2 : i64, strides = array<i64: 1>
// CHECK: onnx.Abs
// CHECK: onnx.AveragePool
func.func @norms(%x: tensor<?x3x8xf32>) -> (tensor<?x3x6xf32>, tensor<?x3x6xf32>) {
  %0 = moe.pool %x {pooling = #moe.pooling<kind = lp, kernel = [3], p = 2.0>} : tensor<?x3x8xf32> -> tensor<?x3x6xf32>
  %1 = moe.pool %x {pooling = #moe.pooling<kind = lp, kernel = [3], p = 1.5>} : tensor<?x3x8xf32> -> tensor<?x3x6xf32>
  return %0, %1 : tensor<?x3x6xf32>, tensor<?x3x6xf32>
}

// CHECK-LABEL: func.func @reflected
// CHECK: %[[P:.*]] = onnx.Pad(%{{.*}}, %{{.*}}) {mode = "reflect"{{.*}} : (tensor<?x3x8xf32>, tensor<6xi64>) -> tensor<?x3x10xf32>
// CHECK: onnx.MaxPool(%[[P]])
func.func @reflected(%x: tensor<?x3x8xf32>) -> tensor<?x3x8xf32> {
  %0 = moe.pool %x {pooling = #moe.pooling<kind = max, kernel = [3], pads = [1, 1], pad_mode = reflect>} : tensor<?x3x8xf32> -> tensor<?x3x8xf32>
  return %0 : tensor<?x3x8xf32>
}

// CHECK-LABEL: func.func @select
// CHECK: onnx.Concat
// CHECK: onnx.GatherND
func.func @select(%x: tensor<?x3x8xf32>, %c: tensor<?xi32>) -> tensor<?x3x7xf32> {
  %0 = moe.pool_select %x, %c {experts = [#moe.pooling<kind = max, kernel = [2]>, #moe.pooling<kind = min, kernel = [2]>]}
      : tensor<?x3x8xf32>, tensor<?xi32> -> tensor<?x3x7xf32>
  return %0 : tensor<?x3x7xf32>
}
