// RUN: moe-opt %s --canonicalize | FileCheck %s

// All tokens are kept, in their order: nothing is dropped.
// CHECK-LABEL: func.func @keep_all
// CHECK-SAME: (%[[S:.*]]: tensor<2x8xf32>, %[[X:.*]]: tensor<2x8x4xf32>
// CHECK-NEXT: return %[[X]]
func.func @keep_all(%s: tensor<2x8xf32>, %x: tensor<2x8x4xf32>) -> tensor<2x8x4xf32> {
  %i = moe.token_keep %s {k = 8} : tensor<2x8xf32> -> tensor<2x8xi32>
  %y = moe.token_drop %x, %i : tensor<2x8x4xf32>, tensor<2x8xi32> -> tensor<2x8x4xf32>
  return %y : tensor<2x8x4xf32>
}

// In the order of scores they are permuted.
// CHECK-LABEL: func.func @keep_all_sorted
// CHECK: moe.token_drop
func.func @keep_all_sorted(%s: tensor<2x8xf32>, %x: tensor<2x8x4xf32>) -> tensor<2x8x4xf32> {
  %i = moe.token_keep %s {k = 8, order = #moe.keep_order<score>} : tensor<2x8xf32> -> tensor<2x8xi32>
  %y = moe.token_drop %x, %i : tensor<2x8x4xf32>, tensor<2x8xi32> -> tensor<2x8x4xf32>
  return %y : tensor<2x8x4xf32>
}

// A fused token follows whatever is kept.
// CHECK-LABEL: func.func @keep_all_fused
// CHECK: moe.token_drop
func.func @keep_all_fused(%s: tensor<2x8xf32>, %x: tensor<2x8x4xf32>) -> tensor<2x9x4xf32> {
  %i = moe.token_keep %s {k = 8} : tensor<2x8xf32> -> tensor<2x8xi32>
  %y = moe.token_drop %x, %i fuse(%s : tensor<2x8xf32>) : tensor<2x8x4xf32>, tensor<2x8xi32> -> tensor<2x9x4xf32>
  return %y : tensor<2x9x4xf32>
}

// CHECK-LABEL: func.func @iota
// CHECK-SAME: (%[[X:.*]]: tensor<?x3x4xf32>
// CHECK-NEXT: return %[[X]]
func.func @iota(%x: tensor<?x3x4xf32>) -> tensor<?x3x4xf32> {
  %i = onnx.Constant() {value = dense<[[0, 1, 2]]> : tensor<1x3xi32>} : () -> tensor<1x3xi32>
  %y = moe.token_drop %x, %i : tensor<?x3x4xf32>, tensor<1x3xi32> -> tensor<?x3x4xf32>
  return %y : tensor<?x3x4xf32>
}

// CHECK-LABEL: func.func @turned
// CHECK: moe.token_drop
func.func @turned(%x: tensor<?x3x4xf32>) -> tensor<?x3x4xf32> {
  %i = onnx.Constant() {value = dense<[[0, 2, 1]]> : tensor<1x3xi32>} : () -> tensor<1x3xi32>
  %y = moe.token_drop %x, %i : tensor<?x3x4xf32>, tensor<1x3xi32> -> tensor<?x3x4xf32>
  return %y : tensor<?x3x4xf32>
}

// Numbers are composed, tokens moved once.
// CHECK-LABEL: func.func @twice
// CHECK-SAME: (%[[X:.*]]: tensor<2x8x4xf32>, %[[I:.*]]: tensor<2x5xi32>, %[[J:.*]]: tensor<2x3xi32>
// CHECK-NEXT: %[[C:.*]] = moe.keep_compose %[[I]], %[[J]] : tensor<2x5xi32>, tensor<2x3xi32> -> tensor<2x3xi32>
// CHECK-NEXT: moe.token_drop %[[X]], %[[C]] {onnx.outputs = ["out"]} : tensor<2x8x4xf32>, tensor<2x3xi32> -> tensor<2x3x4xf32>
func.func @twice(%x: tensor<2x8x4xf32>, %i: tensor<2x5xi32>, %j: tensor<2x3xi32>) -> tensor<2x3x4xf32> {
  %0 = moe.token_drop %x, %i : tensor<2x8x4xf32>, tensor<2x5xi32> -> tensor<2x5x4xf32>
  %1 = moe.token_drop %0, %j {onnx.outputs = ["out"]} : tensor<2x5x4xf32>, tensor<2x3xi32> -> tensor<2x3x4xf32>
  return %1 : tensor<2x3x4xf32>
}

// What goes between is used as well.
// CHECK-LABEL: func.func @between
// CHECK-NOT: moe.keep_compose
func.func @between(%x: tensor<2x8x4xf32>, %i: tensor<2x5xi32>, %j: tensor<2x3xi32>) -> (tensor<2x3x4xf32>, tensor<2x5x4xf32>) {
  %0 = moe.token_drop %x, %i : tensor<2x8x4xf32>, tensor<2x5xi32> -> tensor<2x5x4xf32>
  %1 = moe.token_drop %0, %j : tensor<2x5x4xf32>, tensor<2x3xi32> -> tensor<2x3x4xf32>
  return %1, %0 : tensor<2x3x4xf32>, tensor<2x5x4xf32>
}

// What was taken from a base goes back to it.
// CHECK-LABEL: func.func @back
// CHECK-SAME: (%[[X:.*]]: tensor<2x8x4xf32>
// CHECK-NEXT: return %[[X]]
func.func @back(%x: tensor<2x8x4xf32>, %s: tensor<2x8xf32>) -> tensor<2x8x4xf32> {
  %i = moe.token_keep %s {k = 3, order = #moe.keep_order<score>} : tensor<2x8xf32> -> tensor<2x3xi32>
  %0 = moe.token_drop %x, %i : tensor<2x8x4xf32>, tensor<2x3xi32> -> tensor<2x3x4xf32>
  %1 = moe.token_restore %0, %i base(%x : tensor<2x8x4xf32>) {fill = #moe.fill<base>} : tensor<2x3x4xf32>, tensor<2x3xi32> -> tensor<2x8x4xf32>
  return %1 : tensor<2x8x4xf32>
}

// CHECK-LABEL: func.func @back_added
// CHECK: moe.token_restore
func.func @back_added(%x: tensor<2x8x4xf32>, %s: tensor<2x8xf32>) -> tensor<2x8x4xf32> {
  %i = moe.token_keep %s {k = 3} : tensor<2x8xf32> -> tensor<2x3xi32>
  %0 = moe.token_drop %x, %i : tensor<2x8x4xf32>, tensor<2x3xi32> -> tensor<2x3x4xf32>
  %1 = moe.token_restore %0, %i base(%x : tensor<2x8x4xf32>) {fill = #moe.fill<add>} : tensor<2x3x4xf32>, tensor<2x3xi32> -> tensor<2x8x4xf32>
  return %1 : tensor<2x8x4xf32>
}

// The mean of first powers is the mean, but for a limit.
// CHECK-LABEL: func.func @gem
// CHECK: moe.pool %{{.*}} {pooling = #moe.pooling<kind = avg>}
// CHECK: moe.pool %{{.*}} {pooling = #moe.pooling<kind = gem, eps = 0.5>}
func.func @gem(%x: tensor<2x3x8xf32>) -> (tensor<2x3x1xf32>, tensor<2x3x1xf32>) {
  %0 = moe.pool %x {pooling = #moe.pooling<kind = gem, p = 1.0>} : tensor<2x3x8xf32> -> tensor<2x3x1xf32>
  %1 = moe.pool %x {pooling = #moe.pooling<kind = gem, p = 1.0, eps = 0.5>} : tensor<2x3x8xf32> -> tensor<2x3x1xf32>
  return %0, %1 : tensor<2x3x1xf32>, tensor<2x3x1xf32>
}

// CHECK-LABEL: func.func @one
// CHECK-SAME: (%[[X:.*]]: tensor<?x3x?xf32>
// CHECK-NEXT: return %[[X]]
func.func @one(%x: tensor<?x3x?xf32>) -> tensor<?x3x?xf32> {
  %0 = moe.pool %x {pooling = #moe.pooling<kind = max, kernel = [1]>} : tensor<?x3x?xf32> -> tensor<?x3x?xf32>
  return %0 : tensor<?x3x?xf32>
}

// CHECK-LABEL: func.func @strided
// CHECK: moe.pool
func.func @strided(%x: tensor<?x3x?xf32>) -> tensor<?x3x?xf32> {
  %0 = moe.pool %x {pooling = #moe.pooling<kind = max, kernel = [1], strides = [2]>} : tensor<?x3x?xf32> -> tensor<?x3x?xf32>
  return %0 : tensor<?x3x?xf32>
}

// CHECK-LABEL: func.func @chosen
// CHECK-SAME: (%[[X:.*]]: tensor<2x3x8xf32>
// CHECK-NEXT: moe.pool %[[X]] {pooling = #moe.pooling<kind = avg, kernel = [2]>}
func.func @chosen(%x: tensor<2x3x8xf32>) -> tensor<2x3x7xf32> {
  %c = onnx.Constant() {value = dense<1> : tensor<2xi64>} : () -> tensor<2xi64>
  %y = moe.pool_select %x, %c {experts = [#moe.pooling<kind = max, kernel = [2]>, #moe.pooling<kind = avg, kernel = [2]>]}
      : tensor<2x3x8xf32>, tensor<2xi64> -> tensor<2x3x7xf32>
  return %y : tensor<2x3x7xf32>
}
