// RUN: moe-opt %s --moe-raise-tokens --split-input-file | FileCheck %s

// CHECK-LABEL: func.func @top
// CHECK-SAME: (%[[X:.*]]: tensor<2x8x4xf32>, %[[S:.*]]: tensor<2x8xf32>)
// CHECK-NEXT: %[[I:.*]] = moe.token_keep %[[S]] {k = 3 : i64, order = #moe.keep_order<score>} : tensor<2x8xf32> -> tensor<2x3xi32>
// CHECK-NEXT: %[[Y:.*]] = moe.token_drop %[[X]], %[[I]] : tensor<2x8x4xf32>, tensor<2x3xi32> -> tensor<2x3x4xf32>
// CHECK-NEXT: return %[[Y]]
func.func @top(%x: tensor<2x8x4xf32>, %s: tensor<2x8xf32>) -> tensor<2x3x4xf32> {
  %k = onnx.Constant() {value = dense<3> : tensor<1xi64>} : () -> tensor<1xi64>
  %v, %i = onnx.TopK(%s, %k) {axis = 1 : i64} : (tensor<2x8xf32>, tensor<1xi64>) -> (tensor<2x3xf32>, tensor<2x3xi64>)
  %last = onnx.Constant() {value = dense<-1> : tensor<1xi64>} : () -> tensor<1xi64>
  %shape = onnx.Constant() {value = dense<[2, 3, 4]> : tensor<3xi64>} : () -> tensor<3xi64>
  %u = onnx.Unsqueeze(%i, %last) : (tensor<2x3xi64>, tensor<1xi64>) -> tensor<2x3x1xi64>
  %e = onnx.Expand(%u, %shape) : (tensor<2x3x1xi64>, tensor<3xi64>) -> tensor<2x3x4xi64>
  %y = onnx.GatherElements(%x, %e) {axis = 1 : i64} : (tensor<2x8x4xf32>, tensor<2x3x4xi64>) -> tensor<2x3x4xf32>
  return %y : tensor<2x3x4xf32>
}

// -----

// CHECK-LABEL: func.func @sorted
// CHECK-NEXT: %[[I:.*]] = moe.token_keep %{{.*}} {k = 3 : i64} : tensor<2x8xf32> -> tensor<2x3xi32>
// CHECK-NEXT: moe.token_drop %{{.*}}, %[[I]]
func.func @sorted(%x: tensor<2x8x4xf32>, %s: tensor<2x8xf32>) -> tensor<2x3x4xf32> {
  %k = onnx.Constant() {value = dense<3> : tensor<1xi64>} : () -> tensor<1xi64>
  %v, %i = onnx.TopK(%s, %k) {axis = 1 : i64} : (tensor<2x8xf32>, tensor<1xi64>) -> (tensor<2x3xf32>, tensor<2x3xi64>)
  %j, %jj = onnx.TopK(%i, %k) {axis = 1 : i64, largest = 0 : i64} : (tensor<2x3xi64>, tensor<1xi64>) -> (tensor<2x3xi64>, tensor<2x3xi64>)
  %last = onnx.Constant() {value = dense<-1> : tensor<1xi64>} : () -> tensor<1xi64>
  %shape = onnx.Constant() {value = dense<[2, 3, 4]> : tensor<3xi64>} : () -> tensor<3xi64>
  %u = onnx.Unsqueeze(%j, %last) : (tensor<2x3xi64>, tensor<1xi64>) -> tensor<2x3x1xi64>
  %e = onnx.Expand(%u, %shape) : (tensor<2x3x1xi64>, tensor<3xi64>) -> tensor<2x3x4xi64>
  %y = onnx.GatherElements(%x, %e) {axis = 1 : i64} : (tensor<2x8x4xf32>, tensor<2x3x4xi64>) -> tensor<2x3x4xf32>
  return %y : tensor<2x3x4xf32>
}

// -----

// CHECK-LABEL: func.func @first_of_all
// CHECK: moe.token_keep %{{.*}} {k = 3 : i64, order = #moe.keep_order<score>} : tensor<2x8xf32> -> tensor<2x3xi32>
// CHECK-NEXT: moe.token_drop
func.func @first_of_all(%x: tensor<2x8x4xf32>, %s: tensor<2x8xf32>) -> tensor<2x3x4xf32> {
  %k = onnx.Constant() {value = dense<3> : tensor<1xi64>} : () -> tensor<1xi64>
  %eight = onnx.Constant() {value = dense<8> : tensor<1xi64>} : () -> tensor<1xi64>
  %zero = onnx.Constant() {value = dense<0> : tensor<1xi64>} : () -> tensor<1xi64>
  %one = onnx.Constant() {value = dense<1> : tensor<1xi64>} : () -> tensor<1xi64>
  %s2 = onnx.Identity(%s) : (tensor<2x8xf32>) -> tensor<2x8xf32>
  %v, %a = onnx.TopK(%s2, %eight) {axis = -1 : i64} : (tensor<2x8xf32>, tensor<1xi64>) -> (tensor<2x8xf32>, tensor<2x8xi64>)
  %i = onnx.Slice(%a, %zero, %k, %one) : (tensor<2x8xi64>, tensor<1xi64>, tensor<1xi64>, tensor<1xi64>) -> tensor<2x3xi64>
  %last = onnx.Constant() {value = dense<-1> : tensor<1xi64>} : () -> tensor<1xi64>
  %shape = onnx.Constant() {value = dense<[2, 3, 4]> : tensor<3xi64>} : () -> tensor<3xi64>
  %u = onnx.Unsqueeze(%i, %last) : (tensor<2x3xi64>, tensor<1xi64>) -> tensor<2x3x1xi64>
  %e = onnx.Expand(%u, %shape) : (tensor<2x3x1xi64>, tensor<3xi64>) -> tensor<2x3x4xi64>
  %y = onnx.GatherElements(%x, %e) {axis = 1 : i64} : (tensor<2x8x4xf32>, tensor<2x3x4xi64>) -> tensor<2x3x4xf32>
  return %y : tensor<2x3x4xf32>
}

// -----

// CHECK-LABEL: func.func @around
// Scores of a part get zeros around them, which nobody looks at.
// CHECK: %[[P:.*]] = onnx.Pad(%{{.*}}, %{{.*}}) : (tensor<2x8xf32>, tensor<4xi64>) -> tensor<2x11xf32>
// CHECK-NEXT: moe.token_keep %[[P]] {count = 8 : i64, first = 2 : i64, k = 3 : i64, order = #moe.keep_order<score>} : tensor<2x11xf32> -> tensor<2x6xi32>
// CHECK-NEXT: moe.token_drop
func.func @around(%x: tensor<2x11x4xf32>, %s: tensor<2x8xf32>) -> tensor<2x6x4xf32> {
  %k = onnx.Constant() {value = dense<3> : tensor<1xi64>} : () -> tensor<1xi64>
  %off = onnx.Constant() {value = dense<2> : tensor<i64>} : () -> tensor<i64>
  %head = onnx.Constant() {value = dense<[[0, 1]]> : tensor<1x2xi64>} : () -> tensor<1x2xi64>
  %rows = onnx.Constant() {value = dense<[2, 1]> : tensor<2xi64>} : () -> tensor<2xi64>
  %tl = onnx.Constant() {value = dense<[[10], [10]]> : tensor<2x1xi64>} : () -> tensor<2x1xi64>
  %v, %i = onnx.TopK(%s, %k) {axis = 1 : i64} : (tensor<2x8xf32>, tensor<1xi64>) -> (tensor<2x3xf32>, tensor<2x3xi64>)
  %m = onnx.Add(%off, %i) : (tensor<i64>, tensor<2x3xi64>) -> tensor<2x3xi64>
  %h = onnx.Expand(%head, %rows) : (tensor<1x2xi64>, tensor<2xi64>) -> tensor<2x2xi64>
  %j = onnx.Concat(%h, %m, %tl) {axis = 1 : i64} : (tensor<2x2xi64>, tensor<2x3xi64>, tensor<2x1xi64>) -> tensor<2x6xi64>
  %last = onnx.Constant() {value = dense<-1> : tensor<1xi64>} : () -> tensor<1xi64>
  %shape = onnx.Constant() {value = dense<[2, 6, 4]> : tensor<3xi64>} : () -> tensor<3xi64>
  %u = onnx.Unsqueeze(%j, %last) : (tensor<2x6xi64>, tensor<1xi64>) -> tensor<2x6x1xi64>
  %e = onnx.Expand(%u, %shape) : (tensor<2x6x1xi64>, tensor<3xi64>) -> tensor<2x6x4xi64>
  %y = onnx.GatherElements(%x, %e) {axis = 1 : i64} : (tensor<2x11x4xf32>, tensor<2x6x4xi64>) -> tensor<2x6x4xf32>
  return %y : tensor<2x6x4xf32>
}

// -----

// CHECK-LABEL: func.func @attention
// The class token in front joins the drop.
// CHECK: %[[P:.*]] = onnx.Softmax
// CHECK-NEXT: %[[R:.*]] = moe.token_score %[[P]] {query = 0 : i64} : tensor<2x3x11x11xf32> -> tensor<2x11xf32>
// CHECK-NEXT: %[[I:.*]] = moe.token_keep %[[R]] {first = 1 : i64, k = 3 : i64, order = #moe.keep_order<score>} : tensor<2x11xf32> -> tensor<2x4xi32>
// CHECK: %[[Y:.*]] = moe.token_drop %{{.*}}, %[[I]] : tensor<2x11x4xf32>, tensor<2x4xi32> -> tensor<2x4x4xf32>
// CHECK-NEXT: return %[[Y]]
func.func @attention(%x: tensor<2x11x4xf32>, %a: tensor<2x3x11x11xf32>) -> tensor<2x4x4xf32> {
  %k = onnx.Constant() {value = dense<3> : tensor<1xi64>} : () -> tensor<1xi64>
  %one = onnx.Constant() {value = dense<1> : tensor<1xi64>} : () -> tensor<1xi64>
  %q = onnx.Constant() {value = dense<0> : tensor<i64>} : () -> tensor<i64>
  %end = onnx.Constant() {value = dense<9223372036854775807> : tensor<1xi64>} : () -> tensor<1xi64>
  %two = onnx.Constant() {value = dense<2> : tensor<1xi64>} : () -> tensor<1xi64>
  %zero = onnx.Constant() {value = dense<0> : tensor<1xi64>} : () -> tensor<1xi64>
  %p = onnx.Softmax(%a) {axis = 3 : i64} : (tensor<2x3x11x11xf32>) -> tensor<2x3x11x11xf32>
  %r = onnx.Gather(%p, %q) {axis = 2 : i64} : (tensor<2x3x11x11xf32>, tensor<i64>) -> tensor<2x3x11xf32>
  %t = onnx.Slice(%r, %one, %end, %two) : (tensor<2x3x11xf32>, tensor<1xi64>, tensor<1xi64>, tensor<1xi64>) -> tensor<2x3x10xf32>
  %s = onnx.ReduceMean(%t, %one) {keepdims = 0 : i64} : (tensor<2x3x10xf32>, tensor<1xi64>) -> tensor<2x10xf32>
  %c = onnx.Slice(%x, %zero, %one, %one) : (tensor<2x11x4xf32>, tensor<1xi64>, tensor<1xi64>, tensor<1xi64>) -> tensor<2x1x4xf32>
  %u0 = onnx.Slice(%x, %one, %end, %one) : (tensor<2x11x4xf32>, tensor<1xi64>, tensor<1xi64>, tensor<1xi64>) -> tensor<2x10x4xf32>
  %v, %i = onnx.TopK(%s, %k) {axis = 1 : i64} : (tensor<2x10xf32>, tensor<1xi64>) -> (tensor<2x3xf32>, tensor<2x3xi64>)
  %last = onnx.Constant() {value = dense<-1> : tensor<1xi64>} : () -> tensor<1xi64>
  %shape = onnx.Constant() {value = dense<[2, 3, 4]> : tensor<3xi64>} : () -> tensor<3xi64>
  %u = onnx.Unsqueeze(%i, %last) : (tensor<2x3xi64>, tensor<1xi64>) -> tensor<2x3x1xi64>
  %e = onnx.Expand(%u, %shape) : (tensor<2x3x1xi64>, tensor<3xi64>) -> tensor<2x3x4xi64>
  %y = onnx.GatherElements(%u0, %e) {axis = 1 : i64} : (tensor<2x10x4xf32>, tensor<2x3x4xi64>) -> tensor<2x3x4xf32>
  %z = onnx.Concat(%c, %y) {axis = 1 : i64} : (tensor<2x1x4xf32>, tensor<2x3x4xf32>) -> tensor<2x4x4xf32>
  return %z : tensor<2x4x4xf32>
}

// -----

// CHECK-LABEL: func.func @escape
// CHECK-NEXT: %[[I:.*]] = moe.token_keep
// CHECK-NEXT: %[[C:.*]] = onnx.Cast(%[[I]]) {to = 7 : i64} : (tensor<2x3xi32>) -> tensor<2x3xi64>
// CHECK: return %{{.*}}, %[[C]]
func.func @escape(%x: tensor<2x8x4xf32>, %s: tensor<2x8xf32>) -> (tensor<2x3x4xf32>, tensor<2x3xi64>) {
  %k = onnx.Constant() {value = dense<3> : tensor<1xi64>} : () -> tensor<1xi64>
  %v, %i = onnx.TopK(%s, %k) {axis = 1 : i64} : (tensor<2x8xf32>, tensor<1xi64>) -> (tensor<2x3xf32>, tensor<2x3xi64>)
  %last = onnx.Constant() {value = dense<-1> : tensor<1xi64>} : () -> tensor<1xi64>
  %shape = onnx.Constant() {value = dense<[2, 3, 4]> : tensor<3xi64>} : () -> tensor<3xi64>
  %u = onnx.Unsqueeze(%i, %last) : (tensor<2x3xi64>, tensor<1xi64>) -> tensor<2x3x1xi64>
  %e = onnx.Expand(%u, %shape) : (tensor<2x3x1xi64>, tensor<3xi64>) -> tensor<2x3x4xi64>
  %y = onnx.GatherElements(%x, %e) {axis = 1 : i64} : (tensor<2x8x4xf32>, tensor<2x3x4xi64>) -> tensor<2x3x4xf32>
  return %y, %i : tensor<2x3x4xf32>, tensor<2x3xi64>
}

// -----

// CHECK-LABEL: func.func @places
// Numbers of sequences that are no list of all: stays.
// CHECK-NOT: moe.
// CHECK: return
func.func @places(%x: tensor<2x8x4xf32>, %s: tensor<2x8xf32>) -> tensor<2x3x4xf32> {
  %k = onnx.Constant() {value = dense<3> : tensor<1xi64>} : () -> tensor<1xi64>
  %b = onnx.Constant() {value = dense<[[[0], [0], [0]], [[1], [1], [1]]]> : tensor<2x3x1xi64>} : () -> tensor<2x3x1xi64>
  %last = onnx.Constant() {value = dense<-1> : tensor<1xi64>} : () -> tensor<1xi64>
  %v, %i = onnx.TopK(%s, %k) {axis = 1 : i64} : (tensor<2x8xf32>, tensor<1xi64>) -> (tensor<2x3xf32>, tensor<2x3xi64>)
  %u = onnx.Unsqueeze(%i, %last) : (tensor<2x3xi64>, tensor<1xi64>) -> tensor<2x3x1xi64>
  %at = onnx.Concat(%b, %u) {axis = 2 : i64} : (tensor<2x3x1xi64>, tensor<2x3x1xi64>) -> tensor<2x3x2xi64>
  %y = onnx.GatherND(%x, %at) : (tensor<2x8x4xf32>, tensor<2x3x2xi64>) -> tensor<2x3x4xf32>
  return %y : tensor<2x3x4xf32>
}

// -----

// CHECK-LABEL: func.func @batched
// CHECK-NEXT: %[[I:.*]] = moe.token_keep
// CHECK-NEXT: moe.token_drop %{{.*}}, %[[I]]
func.func @batched(%x: tensor<2x8x4xf32>, %s: tensor<2x8xf32>) -> tensor<2x3x4xf32> {
  %k = onnx.Constant() {value = dense<3> : tensor<1xi64>} : () -> tensor<1xi64>
  %last = onnx.Constant() {value = dense<-1> : tensor<1xi64>} : () -> tensor<1xi64>
  %v, %i = onnx.TopK(%s, %k) {axis = 1 : i64} : (tensor<2x8xf32>, tensor<1xi64>) -> (tensor<2x3xf32>, tensor<2x3xi64>)
  %u = onnx.Unsqueeze(%i, %last) : (tensor<2x3xi64>, tensor<1xi64>) -> tensor<2x3x1xi64>
  %y = onnx.GatherND(%x, %u) {batch_dims = 1 : i64} : (tensor<2x8x4xf32>, tensor<2x3x1xi64>) -> tensor<2x3x4xf32>
  return %y : tensor<2x3x4xf32>
}

// -----

// CHECK-LABEL: func.func @router
// Experts and their weights are matrices too.
// CHECK-NOT: moe.
// CHECK: return
func.func @router(%s: tensor<2x8xf32>, %w: tensor<2x8xf32>) -> tensor<2x3xf32> {
  %k = onnx.Constant() {value = dense<3> : tensor<1xi64>} : () -> tensor<1xi64>
  %v, %i = onnx.TopK(%s, %k) {axis = 1 : i64} : (tensor<2x8xf32>, tensor<1xi64>) -> (tensor<2x3xf32>, tensor<2x3xi64>)
  %y = onnx.GatherElements(%w, %i) {axis = 1 : i64} : (tensor<2x8xf32>, tensor<2x3xi64>) -> tensor<2x3xf32>
  return %y : tensor<2x3xf32>
}

// -----

// CHECK-LABEL: func.func @depth
// CHECK: %[[I:.*]] = moe.token_keep %[[S:.*]] {k = 3 : i64} : tensor<2x8xf32> -> tensor<2x3xi32>
// CHECK: %[[W:.*]] = moe.token_drop %[[S]], %[[I]] : tensor<2x8xf32>, tensor<2x3xi32> -> tensor<2x3xf32>
// CHECK: %[[T:.*]] = moe.token_drop %[[X:.*]], %[[I]] : tensor<2x8x4xf32>
// CHECK: %[[G:.*]] = onnx.Mul
// CHECK-NEXT: moe.token_restore %[[G]], %[[I]] base(%[[X]] : tensor<2x8x4xf32>) {fill = #moe.fill<add>} : tensor<2x3x4xf32>, tensor<2x3xi32> -> tensor<2x8x4xf32>
func.func @depth(%x: tensor<2x8x4xf32>, %s: tensor<2x8xf32>) -> tensor<2x8x4xf32> {
  %k = onnx.Constant() {value = dense<3> : tensor<1xi64>} : () -> tensor<1xi64>
  %v, %i = onnx.TopK(%s, %k) {axis = 1 : i64} : (tensor<2x8xf32>, tensor<1xi64>) -> (tensor<2x3xf32>, tensor<2x3xi64>)
  %j, %jj = onnx.TopK(%i, %k) {axis = 1 : i64, largest = 0 : i64} : (tensor<2x3xi64>, tensor<1xi64>) -> (tensor<2x3xi64>, tensor<2x3xi64>)
  %last = onnx.Constant() {value = dense<-1> : tensor<1xi64>} : () -> tensor<1xi64>
  %shape = onnx.Constant() {value = dense<[2, 3, 4]> : tensor<3xi64>} : () -> tensor<3xi64>
  %w = onnx.GatherElements(%v, %jj) {axis = 1 : i64} : (tensor<2x3xf32>, tensor<2x3xi64>) -> tensor<2x3xf32>
  %u = onnx.Unsqueeze(%j, %last) : (tensor<2x3xi64>, tensor<1xi64>) -> tensor<2x3x1xi64>
  %e = onnx.Expand(%u, %shape) : (tensor<2x3x1xi64>, tensor<3xi64>) -> tensor<2x3x4xi64>
  %t = onnx.GatherElements(%x, %e) {axis = 1 : i64} : (tensor<2x8x4xf32>, tensor<2x3x4xi64>) -> tensor<2x3x4xf32>
  %wu = onnx.Unsqueeze(%w, %last) : (tensor<2x3xf32>, tensor<1xi64>) -> tensor<2x3x1xf32>
  %g = onnx.Mul(%t, %wu) : (tensor<2x3x4xf32>, tensor<2x3x1xf32>) -> tensor<2x3x4xf32>
  %y = onnx.ScatterElements(%x, %e, %g) {axis = 1 : i64, reduction = "add"} : (tensor<2x8x4xf32>, tensor<2x3x4xi64>, tensor<2x3x4xf32>) -> tensor<2x8x4xf32>
  return %y : tensor<2x8x4xf32>
}

// -----

// CHECK-LABEL: func.func @write
// CHECK: moe.token_restore %{{.*}} {fill = #moe.fill<base>}
func.func @write(%x: tensor<2x8x4xf32>, %s: tensor<2x8xf32>) -> tensor<2x8x4xf32> {
  %k = onnx.Constant() {value = dense<3> : tensor<1xi64>} : () -> tensor<1xi64>
  %v, %i = onnx.TopK(%s, %k) {axis = 1 : i64} : (tensor<2x8xf32>, tensor<1xi64>) -> (tensor<2x3xf32>, tensor<2x3xi64>)
  %j, %jj = onnx.TopK(%i, %k) {axis = 1 : i64, largest = 0 : i64} : (tensor<2x3xi64>, tensor<1xi64>) -> (tensor<2x3xi64>, tensor<2x3xi64>)
  %last = onnx.Constant() {value = dense<-1> : tensor<1xi64>} : () -> tensor<1xi64>
  %shape = onnx.Constant() {value = dense<[2, 3, 4]> : tensor<3xi64>} : () -> tensor<3xi64>
  %w = onnx.GatherElements(%v, %jj) {axis = 1 : i64} : (tensor<2x3xf32>, tensor<2x3xi64>) -> tensor<2x3xf32>
  %u = onnx.Unsqueeze(%j, %last) : (tensor<2x3xi64>, tensor<1xi64>) -> tensor<2x3x1xi64>
  %e = onnx.Expand(%u, %shape) : (tensor<2x3x1xi64>, tensor<3xi64>) -> tensor<2x3x4xi64>
  %t = onnx.GatherElements(%x, %e) {axis = 1 : i64} : (tensor<2x8x4xf32>, tensor<2x3x4xi64>) -> tensor<2x3x4xf32>
  %wu = onnx.Unsqueeze(%w, %last) : (tensor<2x3xf32>, tensor<1xi64>) -> tensor<2x3x1xf32>
  %g = onnx.Mul(%t, %wu) : (tensor<2x3x4xf32>, tensor<2x3x1xf32>) -> tensor<2x3x4xf32>
  %y = onnx.ScatterElements(%x, %e, %g) {axis = 1 : i64} : (tensor<2x8x4xf32>, tensor<2x3x4xi64>, tensor<2x3x4xf32>) -> tensor<2x8x4xf32>
  return %y : tensor<2x8x4xf32>
}

// -----

// CHECK-LABEL: func.func @most
// What is put back in another way stays.
// CHECK: moe.token_drop
// CHECK-NOT: moe.token_restore
// CHECK: onnx.ScatterElements
func.func @most(%x: tensor<2x8x4xf32>, %s: tensor<2x8xf32>) -> tensor<2x8x4xf32> {
  %k = onnx.Constant() {value = dense<3> : tensor<1xi64>} : () -> tensor<1xi64>
  %v, %i = onnx.TopK(%s, %k) {axis = 1 : i64} : (tensor<2x8xf32>, tensor<1xi64>) -> (tensor<2x3xf32>, tensor<2x3xi64>)
  %j, %jj = onnx.TopK(%i, %k) {axis = 1 : i64, largest = 0 : i64} : (tensor<2x3xi64>, tensor<1xi64>) -> (tensor<2x3xi64>, tensor<2x3xi64>)
  %last = onnx.Constant() {value = dense<-1> : tensor<1xi64>} : () -> tensor<1xi64>
  %shape = onnx.Constant() {value = dense<[2, 3, 4]> : tensor<3xi64>} : () -> tensor<3xi64>
  %w = onnx.GatherElements(%v, %jj) {axis = 1 : i64} : (tensor<2x3xf32>, tensor<2x3xi64>) -> tensor<2x3xf32>
  %u = onnx.Unsqueeze(%j, %last) : (tensor<2x3xi64>, tensor<1xi64>) -> tensor<2x3x1xi64>
  %e = onnx.Expand(%u, %shape) : (tensor<2x3x1xi64>, tensor<3xi64>) -> tensor<2x3x4xi64>
  %t = onnx.GatherElements(%x, %e) {axis = 1 : i64} : (tensor<2x8x4xf32>, tensor<2x3x4xi64>) -> tensor<2x3x4xf32>
  %wu = onnx.Unsqueeze(%w, %last) : (tensor<2x3xf32>, tensor<1xi64>) -> tensor<2x3x1xf32>
  %g = onnx.Mul(%t, %wu) : (tensor<2x3x4xf32>, tensor<2x3x1xf32>) -> tensor<2x3x4xf32>
  %y = onnx.ScatterElements(%x, %e, %g) {axis = 1 : i64, reduction = "max"} : (tensor<2x8x4xf32>, tensor<2x3x4xi64>, tensor<2x3x4xf32>) -> tensor<2x8x4xf32>
  return %y : tensor<2x8x4xf32>
}

// -----

// CHECK-LABEL: func.func @condition
// CHECK: %[[C:.*]] = onnx.Unsqueeze(%{{.*}}) : (tensor<8xi1>, tensor<1xi64>) -> tensor<1x8xi1>
// CHECK-NEXT: %[[I:.*]] = moe.token_keep %[[C]] {policy = #moe.keep_policy<mask>} : tensor<1x8xi1> -> tensor<1x?xi32>
// CHECK-NEXT: moe.token_drop %{{.*}}, %[[I]] : tensor<1x8x4xf32>, tensor<1x?xi32> -> tensor<1x?x4xf32>
func.func @condition(%x: tensor<1x8x4xf32>, %c: tensor<8xi1>) -> tensor<1x?x4xf32> {
  %zero = onnx.Constant() {value = dense<0> : tensor<1xi64>} : () -> tensor<1xi64>
  %0 = onnx.NonZero(%c) : (tensor<8xi1>) -> tensor<1x?xi64>
  %1 = onnx.Squeeze(%0, %zero) : (tensor<1x?xi64>, tensor<1xi64>) -> tensor<?xi64>
  %y = onnx.Gather(%x, %1) {axis = 1 : i64} : (tensor<1x8x4xf32>, tensor<?xi64>) -> tensor<1x?x4xf32>
  return %y : tensor<1x?x4xf32>
}

// -----

// CHECK-LABEL: func.func @matrix
// CHECK-NEXT: %[[I:.*]] = moe.token_keep %{{.*}} {policy = #moe.keep_policy<mask>} : tensor<1x8xi1> -> tensor<1x?xi32>
// CHECK-NEXT: moe.token_drop
func.func @matrix(%x: tensor<1x8x4xf32>, %c: tensor<1x8xi1>) -> tensor<1x?x4xf32> {
  %one = onnx.Constant() {value = dense<1> : tensor<i64>} : () -> tensor<i64>
  %0 = onnx.NonZero(%c) : (tensor<1x8xi1>) -> tensor<2x?xi64>
  %t = onnx.Transpose(%0) {perm = array<i64: 1, 0>} : (tensor<2x?xi64>) -> tensor<?x2xi64>
  %1 = onnx.Gather(%t, %one) {axis = 1 : i64} : (tensor<?x2xi64>, tensor<i64>) -> tensor<?xi64>
  %y = onnx.Gather(%x, %1) {axis = 1 : i64} : (tensor<1x8x4xf32>, tensor<?xi64>) -> tensor<1x?x4xf32>
  return %y : tensor<1x?x4xf32>
}

// -----

// CHECK-LABEL: func.func @rows
// Rows of a list go to an expert.
// CHECK-NOT: moe.
// CHECK: return
func.func @rows(%x: tensor<8x4xf32>, %c: tensor<8xi1>) -> tensor<?x4xf32> {
  %zero = onnx.Constant() {value = dense<0> : tensor<1xi64>} : () -> tensor<1xi64>
  %0 = onnx.NonZero(%c) : (tensor<8xi1>) -> tensor<1x?xi64>
  %1 = onnx.Squeeze(%0, %zero) : (tensor<1x?xi64>, tensor<1xi64>) -> tensor<?xi64>
  %y = onnx.Gather(%x, %1) {axis = 0 : i64} : (tensor<8x4xf32>, tensor<?xi64>) -> tensor<?x4xf32>
  return %y : tensor<?x4xf32>
}

// -----

// CHECK-LABEL: func.func @expert
// One column of five: what one expert gets.
// CHECK-NOT: moe.
// CHECK: return
func.func @expert(%x: tensor<1x8x4xf32>, %m: tensor<8x5xi1>) -> tensor<1x?x4xf32> {
  %zero = onnx.Constant() {value = dense<0> : tensor<1xi64>} : () -> tensor<1xi64>
  %three = onnx.Constant() {value = dense<3> : tensor<i64>} : () -> tensor<i64>
  %c = onnx.Gather(%m, %three) {axis = 1 : i64} : (tensor<8x5xi1>, tensor<i64>) -> tensor<8xi1>
  %0 = onnx.NonZero(%c) : (tensor<8xi1>) -> tensor<1x?xi64>
  %1 = onnx.Squeeze(%0, %zero) : (tensor<1x?xi64>, tensor<1xi64>) -> tensor<?xi64>
  %y = onnx.Gather(%x, %1) {axis = 1 : i64} : (tensor<1x8x4xf32>, tensor<?xi64>) -> tensor<1x?x4xf32>
  return %y : tensor<1x?x4xf32>
}

// -----

// CHECK-LABEL: func.func @stack
// What experts gave, in a stack, is no sequence.
// CHECK-NOT: moe.
// CHECK: return
func.func @stack(%a: tensor<2x1x4xf32>, %b: tensor<2x1x4xf32>, %s: tensor<2x2xf32>) -> tensor<2x1x4xf32> {
  %k = onnx.Constant() {value = dense<1> : tensor<1xi64>} : () -> tensor<1xi64>
  %v, %i = onnx.TopK(%s, %k) {axis = 1 : i64} : (tensor<2x2xf32>, tensor<1xi64>) -> (tensor<2x1xf32>, tensor<2x1xi64>)
  %x = onnx.Concat(%a, %b) {axis = 1 : i64} : (tensor<2x1x4xf32>, tensor<2x1x4xf32>) -> tensor<2x2x4xf32>
  %last = onnx.Constant() {value = dense<-1> : tensor<1xi64>} : () -> tensor<1xi64>
  %shape = onnx.Constant() {value = dense<[2, 1, 4]> : tensor<3xi64>} : () -> tensor<3xi64>
  %u = onnx.Unsqueeze(%i, %last) : (tensor<2x1xi64>, tensor<1xi64>) -> tensor<2x1x1xi64>
  %e = onnx.Expand(%u, %shape) : (tensor<2x1x1xi64>, tensor<3xi64>) -> tensor<2x1x4xi64>
  %y = onnx.GatherElements(%x, %e) {axis = 1 : i64} : (tensor<2x2x4xf32>, tensor<2x1x4xi64>) -> tensor<2x1x4xf32>
  return %y : tensor<2x1x4xf32>
}

// -----

// CHECK-LABEL: func.func @constant
// CHECK-NEXT: %[[I:.*]] = onnx.Constant() {value = dense<{{\[}}{{\[}}0, 7, 3{{\]}}{{\]}}> : tensor<1x3xi32>}
// CHECK-NEXT: moe.token_drop %{{.*}}, %[[I]] : tensor<?x8x4xf32>, tensor<1x3xi32> -> tensor<?x3x4xf32>
func.func @constant(%x: tensor<?x8x4xf32>) -> tensor<?x3x4xf32> {
  %i = onnx.Constant() {value = dense<[0, -1, 3]> : tensor<3xi64>} : () -> tensor<3xi64>
  %y = onnx.Gather(%x, %i) {axis = 1 : i64} : (tensor<?x8x4xf32>, tensor<3xi64>) -> tensor<?x3x4xf32>
  return %y : tensor<?x3x4xf32>
}

// -----

// CHECK-LABEL: func.func @doubled
// A selection holds no token twice.
// CHECK-NOT: moe.
// CHECK: return
func.func @doubled(%x: tensor<?x8x4xf32>) -> tensor<?x3x4xf32> {
  %i = onnx.Constant() {value = dense<[0, -8, 3]> : tensor<3xi64>} : () -> tensor<3xi64>
  %y = onnx.Gather(%x, %i) {axis = 1 : i64} : (tensor<?x8x4xf32>, tensor<3xi64>) -> tensor<?x3x4xf32>
  return %y : tensor<?x3x4xf32>
}

// -----

// CHECK-LABEL: func.func @merge
// CHECK-SAME: (%[[X:.*]]: tensor<2x9x4xf32>, %[[N:.*]]: tensor<2x9x1xf32>, %[[M:.*]]: tensor<2x9x3xf32>, %{{.*}}: tensor<2x9x3xf32>, %{{.*}}: tensor<2x9x1xf32>)
// CHECK-NEXT: %[[Y:.*]], %[[SIZE:.*]], %{{.*}} = moe.token_merge %[[X]], %[[N]], %[[M]] {r = 2 : i64} : tensor<2x9x4xf32>, tensor<2x9x1xf32>, tensor<2x9x3xf32> -> tensor<2x7x4xf32>, tensor<2x7x1xf32>, tensor<2x9xi32>
// CHECK-NEXT: return %[[Y]], %[[SIZE]]
func.func @merge(%x: tensor<2x9x4xf32>, %n: tensor<2x9x1xf32>, %m: tensor<2x9x3xf32>, %o: tensor<2x9x3xf32>, %q: tensor<2x9x1xf32>) -> (tensor<2x7x4xf32>, tensor<2x7x1xf32>) {
  %zero = onnx.Constant() {value = dense<0> : tensor<1xi64>} : () -> tensor<1xi64>
  %one = onnx.Constant() {value = dense<1> : tensor<1xi64>} : () -> tensor<1xi64>
  %two = onnx.Constant() {value = dense<2> : tensor<1xi64>} : () -> tensor<1xi64>
  %three = onnx.Constant() {value = dense<3> : tensor<1xi64>} : () -> tensor<1xi64>
  %five = onnx.Constant() {value = dense<5> : tensor<1xi64>} : () -> tensor<1xi64>
  %end = onnx.Constant() {value = dense<9223372036854775807> : tensor<1xi64>} : () -> tensor<1xi64>
  %wide = onnx.Constant() {value = dense<[1, 1, 4]> : tensor<3xi64>} : () -> tensor<3xi64>
  %even = onnx.Slice(%m, %zero, %end, %one, %two) : (tensor<2x9x3xf32>, tensor<1xi64>, tensor<1xi64>, tensor<1xi64>, tensor<1xi64>) -> tensor<2x5x3xf32>
  %odd = onnx.Slice(%m, %one, %end, %one, %two) : (tensor<2x9x3xf32>, tensor<1xi64>, tensor<1xi64>, tensor<1xi64>, tensor<1xi64>) -> tensor<2x4x3xf32>
  %turn = onnx.Transpose(%odd) {perm = array<i64: 0, 2, 1>} : (tensor<2x4x3xf32>) -> tensor<2x3x4xf32>
  %s = onnx.MatMul(%even, %turn) : (tensor<2x5x3xf32>, tensor<2x3x4xf32>) -> tensor<2x5x4xf32>
  %top = onnx.ReduceMax(%s, %two) {keepdims = 0 : i64} : (tensor<2x5x4xf32>, tensor<1xi64>) -> tensor<2x5xf32>
  %arg = onnx.ArgMax(%s) {axis = 2 : i64, keepdims = 0 : i64} : (tensor<2x5x4xf32>) -> tensor<2x5xi64>
  %so, %order = onnx.TopK(%top, %five) {axis = 1 : i64} : (tensor<2x5xf32>, tensor<1xi64>) -> (tensor<2x5xf32>, tensor<2x5xi64>)
  %left = onnx.Slice(%order, %two, %end, %one) : (tensor<2x5xi64>, tensor<1xi64>, tensor<1xi64>, tensor<1xi64>) -> tensor<2x3xi64>
  %moved = onnx.Slice(%order, %zero, %two, %one) : (tensor<2x5xi64>, tensor<1xi64>, tensor<1xi64>, tensor<1xi64>) -> tensor<2x2xi64>
  %target = onnx.GatherElements(%arg, %moved) {axis = 1 : i64} : (tensor<2x5xi64>, tensor<2x2xi64>) -> tensor<2x2xi64>
  %uleft = onnx.Unsqueeze(%left, %two) : (tensor<2x3xi64>, tensor<1xi64>) -> tensor<2x3x1xi64>
  %wleft = onnx.Expand(%uleft, %wide) : (tensor<2x3x1xi64>, tensor<3xi64>) -> tensor<2x3x4xi64>
  %umoved = onnx.Unsqueeze(%moved, %two) : (tensor<2x2xi64>, tensor<1xi64>) -> tensor<2x2x1xi64>
  %wmoved = onnx.Expand(%umoved, %wide) : (tensor<2x2x1xi64>, tensor<3xi64>) -> tensor<2x2x4xi64>
  %utarget = onnx.Unsqueeze(%target, %two) : (tensor<2x2xi64>, tensor<1xi64>) -> tensor<2x2x1xi64>
  %wtarget = onnx.Expand(%utarget, %wide) : (tensor<2x2x1xi64>, tensor<3xi64>) -> tensor<2x2x4xi64>
  %xw = onnx.Mul(%x, %n) : (tensor<2x9x4xf32>, tensor<2x9x1xf32>) -> tensor<2x9x4xf32>
  %xe = onnx.Slice(%xw, %zero, %end, %one, %two) : (tensor<2x9x4xf32>, tensor<1xi64>, tensor<1xi64>, tensor<1xi64>, tensor<1xi64>) -> tensor<2x5x4xf32>
  %xo = onnx.Slice(%xw, %one, %end, %one, %two) : (tensor<2x9x4xf32>, tensor<1xi64>, tensor<1xi64>, tensor<1xi64>, tensor<1xi64>) -> tensor<2x4x4xf32>
  %xl = onnx.GatherElements(%xe, %wleft) {axis = 1 : i64} : (tensor<2x5x4xf32>, tensor<2x3x4xi64>) -> tensor<2x3x4xf32>
  %xm = onnx.GatherElements(%xe, %wmoved) {axis = 1 : i64} : (tensor<2x5x4xf32>, tensor<2x2x4xi64>) -> tensor<2x2x4xf32>
  %xs = onnx.ScatterElements(%xo, %wtarget, %xm) {axis = 1 : i64, reduction = "add"} : (tensor<2x4x4xf32>, tensor<2x2x4xi64>, tensor<2x2x4xf32>) -> tensor<2x4x4xf32>
  %xc = onnx.Concat(%xl, %xs) {axis = 1 : i64} : (tensor<2x3x4xf32>, tensor<2x4x4xf32>) -> tensor<2x7x4xf32>
  %ne = onnx.Slice(%n, %zero, %end, %one, %two) : (tensor<2x9x1xf32>, tensor<1xi64>, tensor<1xi64>, tensor<1xi64>, tensor<1xi64>) -> tensor<2x5x1xf32>
  %no = onnx.Slice(%n, %one, %end, %one, %two) : (tensor<2x9x1xf32>, tensor<1xi64>, tensor<1xi64>, tensor<1xi64>, tensor<1xi64>) -> tensor<2x4x1xf32>
  %nl = onnx.GatherElements(%ne, %uleft) {axis = 1 : i64} : (tensor<2x5x1xf32>, tensor<2x3x1xi64>) -> tensor<2x3x1xf32>
  %nm = onnx.GatherElements(%ne, %umoved) {axis = 1 : i64} : (tensor<2x5x1xf32>, tensor<2x2x1xi64>) -> tensor<2x2x1xf32>
  %ns = onnx.ScatterElements(%no, %utarget, %nm) {axis = 1 : i64, reduction = "add"} : (tensor<2x4x1xf32>, tensor<2x2x1xi64>, tensor<2x2x1xf32>) -> tensor<2x4x1xf32>
  %nc = onnx.Concat(%nl, %ns) {axis = 1 : i64} : (tensor<2x3x1xf32>, tensor<2x4x1xf32>) -> tensor<2x7x1xf32>
  %y = onnx.Div(%xc, %nc) : (tensor<2x7x4xf32>, tensor<2x7x1xf32>) -> tensor<2x7x4xf32>
  return %y, %nc : tensor<2x7x4xf32>, tensor<2x7x1xf32>
}
