// RUN: moe-opt %s --moe-raise-tokens --split-input-file --verify-diagnostics --remark-format=emitRemark --remarks-filter-missed=raise
// RUN: moe-opt %s --moe-raise-tokens --split-input-file | FileCheck %s

// What breaks a rule stays and says which one.
// CHECK-NOT: moe.

func.func @f(%x: tensor<2x8x4xf32>, %s: tensor<2x8xf32>) -> tensor<2x3x4xf32> {
  %k = onnx.Constant() {value = dense<3> : tensor<1xi64>} : () -> tensor<1xi64>
  // expected-remark @below {{the tokens of the smallest scores stay}}
  %v, %i = onnx.TopK(%s, %k) {axis = 1 : i64, largest = 0 : i64} : (tensor<2x8xf32>, tensor<1xi64>) -> (tensor<2x3xf32>, tensor<2x3xi64>)
  %last = onnx.Constant() {value = dense<-1> : tensor<1xi64>} : () -> tensor<1xi64>
  %shape = onnx.Constant() {value = dense<[2, 3, 4]> : tensor<3xi64>} : () -> tensor<3xi64>
  %u = onnx.Unsqueeze(%i, %last) : (tensor<2x3xi64>, tensor<1xi64>) -> tensor<2x3x1xi64>
  %e = onnx.Expand(%u, %shape) : (tensor<2x3x1xi64>, tensor<3xi64>) -> tensor<2x3x4xi64>
  %y = onnx.GatherElements(%x, %e) {axis = 1 : i64} : (tensor<2x8x4xf32>, tensor<2x3x4xi64>) -> tensor<2x3x4xf32>
  return %y : tensor<2x3x4xf32>
}

// -----

func.func @f(%x: tensor<2x8x4xf32>, %s: tensor<2x8xf32>, %k: tensor<1xi64>) -> tensor<2x3x4xf32> {
  // expected-remark @below {{the number of tokens that stay is no constant}}
  %v, %i = onnx.TopK(%s, %k) {axis = 1 : i64} : (tensor<2x8xf32>, tensor<1xi64>) -> (tensor<2x3xf32>, tensor<2x3xi64>)
  %last = onnx.Constant() {value = dense<-1> : tensor<1xi64>} : () -> tensor<1xi64>
  %shape = onnx.Constant() {value = dense<[2, 3, 4]> : tensor<3xi64>} : () -> tensor<3xi64>
  %u = onnx.Unsqueeze(%i, %last) : (tensor<2x3xi64>, tensor<1xi64>) -> tensor<2x3x1xi64>
  %e = onnx.Expand(%u, %shape) : (tensor<2x3x1xi64>, tensor<3xi64>) -> tensor<2x3x4xi64>
  %y = onnx.GatherElements(%x, %e) {axis = 1 : i64} : (tensor<2x8x4xf32>, tensor<2x3x4xi64>) -> tensor<2x3x4xf32>
  return %y : tensor<2x3x4xf32>
}

// -----

func.func @f(%x: tensor<2x8x4xf32>, %s: tensor<2x8xi64>) -> tensor<2x3x4xf32> {
  %k = onnx.Constant() {value = dense<3> : tensor<1xi64>} : () -> tensor<1xi64>
  // expected-remark @below {{scores of tokens are no floats}}
  %v, %i = onnx.TopK(%s, %k) {axis = 1 : i64} : (tensor<2x8xi64>, tensor<1xi64>) -> (tensor<2x3xi64>, tensor<2x3xi64>)
  %last = onnx.Constant() {value = dense<-1> : tensor<1xi64>} : () -> tensor<1xi64>
  %shape = onnx.Constant() {value = dense<[2, 3, 4]> : tensor<3xi64>} : () -> tensor<3xi64>
  %u = onnx.Unsqueeze(%i, %last) : (tensor<2x3xi64>, tensor<1xi64>) -> tensor<2x3x1xi64>
  %e = onnx.Expand(%u, %shape) : (tensor<2x3x1xi64>, tensor<3xi64>) -> tensor<2x3x4xi64>
  %y = onnx.GatherElements(%x, %e) {axis = 1 : i64} : (tensor<2x8x4xf32>, tensor<2x3x4xi64>) -> tensor<2x3x4xf32>
  return %y : tensor<2x3x4xf32>
}

// -----

func.func @f(%x: tensor<2x8x4xf32>, %s: tensor<2x8xf32>) -> tensor<2x2x4xf32> {
  %k = onnx.Constant() {value = dense<3> : tensor<1xi64>} : () -> tensor<1xi64>
  %two = onnx.Constant() {value = dense<2> : tensor<1xi64>} : () -> tensor<1xi64>
  %v, %i = onnx.TopK(%s, %k) {axis = 1 : i64} : (tensor<2x8xf32>, tensor<1xi64>) -> (tensor<2x3xf32>, tensor<2x3xi64>)
  // expected-remark @below {{tokens that are sorted are not all that were chosen}}
  %j, %jj = onnx.TopK(%i, %two) {axis = 1 : i64, largest = 0 : i64} : (tensor<2x3xi64>, tensor<1xi64>) -> (tensor<2x2xi64>, tensor<2x2xi64>)
  %last = onnx.Constant() {value = dense<-1> : tensor<1xi64>} : () -> tensor<1xi64>
  %shape = onnx.Constant() {value = dense<[2, 2, 4]> : tensor<3xi64>} : () -> tensor<3xi64>
  %u = onnx.Unsqueeze(%j, %last) : (tensor<2x2xi64>, tensor<1xi64>) -> tensor<2x2x1xi64>
  %e = onnx.Expand(%u, %shape) : (tensor<2x2x1xi64>, tensor<3xi64>) -> tensor<2x2x4xi64>
  %y = onnx.GatherElements(%x, %e) {axis = 1 : i64} : (tensor<2x8x4xf32>, tensor<2x2x4xi64>) -> tensor<2x2x4xf32>
  return %y : tensor<2x2x4xf32>
}

// -----

func.func @f(%x: tensor<2x9x4xf32>, %s: tensor<2x8xf32>) -> tensor<2x3x4xf32> {
  %k = onnx.Constant() {value = dense<3> : tensor<1xi64>} : () -> tensor<1xi64>
  %one = onnx.Constant() {value = dense<1> : tensor<i64>} : () -> tensor<i64>
  %v, %i = onnx.TopK(%s, %k) {axis = 1 : i64} : (tensor<2x8xf32>, tensor<1xi64>) -> (tensor<2x3xf32>, tensor<2x3xi64>)
  // expected-remark @below {{tokens are chosen from a part, and those in front of it do not stay}}
  %j = onnx.Add(%i, %one) : (tensor<2x3xi64>, tensor<i64>) -> tensor<2x3xi64>
  %last = onnx.Constant() {value = dense<-1> : tensor<1xi64>} : () -> tensor<1xi64>
  %shape = onnx.Constant() {value = dense<[2, 3, 4]> : tensor<3xi64>} : () -> tensor<3xi64>
  %u = onnx.Unsqueeze(%j, %last) : (tensor<2x3xi64>, tensor<1xi64>) -> tensor<2x3x1xi64>
  %e = onnx.Expand(%u, %shape) : (tensor<2x3x1xi64>, tensor<3xi64>) -> tensor<2x3x4xi64>
  %y = onnx.GatherElements(%x, %e) {axis = 1 : i64} : (tensor<2x9x4xf32>, tensor<2x3x4xi64>) -> tensor<2x3x4xf32>
  return %y : tensor<2x3x4xf32>
}

// -----

func.func @f(%x: tensor<2x11x4xf32>, %s: tensor<2x8xf32>) -> tensor<2x6x4xf32> {
  %k = onnx.Constant() {value = dense<3> : tensor<1xi64>} : () -> tensor<1xi64>
  %off = onnx.Constant() {value = dense<2> : tensor<i64>} : () -> tensor<i64>
  %head = onnx.Constant() {value = dense<[[1, 0], [1, 0]]> : tensor<2x2xi64>} : () -> tensor<2x2xi64>
  %tl = onnx.Constant() {value = dense<[[10], [10]]> : tensor<2x1xi64>} : () -> tensor<2x1xi64>
  %v, %i = onnx.TopK(%s, %k) {axis = 1 : i64} : (tensor<2x8xf32>, tensor<1xi64>) -> (tensor<2x3xf32>, tensor<2x3xi64>)
  %m = onnx.Add(%i, %off) : (tensor<2x3xi64>, tensor<i64>) -> tensor<2x3xi64>
  // expected-remark @below {{numbers in front of the chosen ones are not all tokens in front of their part}}
  %j = onnx.Concat(%head, %m, %tl) {axis = 1 : i64} : (tensor<2x2xi64>, tensor<2x3xi64>, tensor<2x1xi64>) -> tensor<2x6xi64>
  %last = onnx.Constant() {value = dense<-1> : tensor<1xi64>} : () -> tensor<1xi64>
  %shape = onnx.Constant() {value = dense<[2, 6, 4]> : tensor<3xi64>} : () -> tensor<3xi64>
  %u = onnx.Unsqueeze(%j, %last) : (tensor<2x6xi64>, tensor<1xi64>) -> tensor<2x6x1xi64>
  %e = onnx.Expand(%u, %shape) : (tensor<2x6x1xi64>, tensor<3xi64>) -> tensor<2x6x4xi64>
  %y = onnx.GatherElements(%x, %e) {axis = 1 : i64} : (tensor<2x11x4xf32>, tensor<2x6x4xi64>) -> tensor<2x6x4xf32>
  return %y : tensor<2x6x4xf32>
}

// -----

func.func @f(%x: tensor<2x11x4xf32>, %s: tensor<2x8xf32>) -> tensor<2x6x4xf32> {
  %k = onnx.Constant() {value = dense<3> : tensor<1xi64>} : () -> tensor<1xi64>
  %off = onnx.Constant() {value = dense<3> : tensor<i64>} : () -> tensor<i64>
  %head = onnx.Constant() {value = dense<[[0, 1], [0, 1]]> : tensor<2x2xi64>} : () -> tensor<2x2xi64>
  %tl = onnx.Constant() {value = dense<[[10], [10]]> : tensor<2x1xi64>} : () -> tensor<2x1xi64>
  %v, %i = onnx.TopK(%s, %k) {axis = 1 : i64} : (tensor<2x8xf32>, tensor<1xi64>) -> (tensor<2x3xf32>, tensor<2x3xi64>)
  %m = onnx.Add(%i, %off) : (tensor<2x3xi64>, tensor<i64>) -> tensor<2x3xi64>
  // expected-remark @below {{the part that tokens are chosen from does not begin behind those in front of it}}
  %j = onnx.Concat(%head, %m, %tl) {axis = 1 : i64} : (tensor<2x2xi64>, tensor<2x3xi64>, tensor<2x1xi64>) -> tensor<2x6xi64>
  %last = onnx.Constant() {value = dense<-1> : tensor<1xi64>} : () -> tensor<1xi64>
  %shape = onnx.Constant() {value = dense<[2, 6, 4]> : tensor<3xi64>} : () -> tensor<3xi64>
  %u = onnx.Unsqueeze(%j, %last) : (tensor<2x6xi64>, tensor<1xi64>) -> tensor<2x6x1xi64>
  %e = onnx.Expand(%u, %shape) : (tensor<2x6x1xi64>, tensor<3xi64>) -> tensor<2x6x4xi64>
  %y = onnx.GatherElements(%x, %e) {axis = 1 : i64} : (tensor<2x11x4xf32>, tensor<2x6x4xi64>) -> tensor<2x6x4xf32>
  return %y : tensor<2x6x4xf32>
}

// -----

func.func @f(%x: tensor<2x11x4xf32>, %s: tensor<2x8xf32>) -> tensor<2x6x4xf32> {
  %k = onnx.Constant() {value = dense<3> : tensor<1xi64>} : () -> tensor<1xi64>
  %off = onnx.Constant() {value = dense<2> : tensor<i64>} : () -> tensor<i64>
  %head = onnx.Constant() {value = dense<[[0, 1], [0, 1]]> : tensor<2x2xi64>} : () -> tensor<2x2xi64>
  %tl = onnx.Constant() {value = dense<[[9], [9]]> : tensor<2x1xi64>} : () -> tensor<2x1xi64>
  %v, %i = onnx.TopK(%s, %k) {axis = 1 : i64} : (tensor<2x8xf32>, tensor<1xi64>) -> (tensor<2x3xf32>, tensor<2x3xi64>)
  %m = onnx.Add(%i, %off) : (tensor<2x3xi64>, tensor<i64>) -> tensor<2x3xi64>
  // expected-remark @below {{numbers behind the chosen ones are not all tokens behind their part}}
  %j = onnx.Concat(%head, %m, %tl) {axis = 1 : i64} : (tensor<2x2xi64>, tensor<2x3xi64>, tensor<2x1xi64>) -> tensor<2x6xi64>
  %last = onnx.Constant() {value = dense<-1> : tensor<1xi64>} : () -> tensor<1xi64>
  %shape = onnx.Constant() {value = dense<[2, 6, 4]> : tensor<3xi64>} : () -> tensor<3xi64>
  %u = onnx.Unsqueeze(%j, %last) : (tensor<2x6xi64>, tensor<1xi64>) -> tensor<2x6x1xi64>
  %e = onnx.Expand(%u, %shape) : (tensor<2x6x1xi64>, tensor<3xi64>) -> tensor<2x6x4xi64>
  %y = onnx.GatherElements(%x, %e) {axis = 1 : i64} : (tensor<2x11x4xf32>, tensor<2x6x4xi64>) -> tensor<2x6x4xf32>
  return %y : tensor<2x6x4xf32>
}

// -----

func.func @f(%x: tensor<2x12x4xf32>, %s: tensor<2x8xf32>) -> tensor<2x6x4xf32> {
  %k = onnx.Constant() {value = dense<3> : tensor<1xi64>} : () -> tensor<1xi64>
  %off = onnx.Constant() {value = dense<2> : tensor<i64>} : () -> tensor<i64>
  %head = onnx.Constant() {value = dense<[[0, 1], [0, 1]]> : tensor<2x2xi64>} : () -> tensor<2x2xi64>
  %tl = onnx.Constant() {value = dense<[[10], [10]]> : tensor<2x1xi64>} : () -> tensor<2x1xi64>
  %v, %i = onnx.TopK(%s, %k) {axis = 1 : i64} : (tensor<2x8xf32>, tensor<1xi64>) -> (tensor<2x3xf32>, tensor<2x3xi64>)
  %m = onnx.Add(%i, %off) : (tensor<2x3xi64>, tensor<i64>) -> tensor<2x3xi64>
  // expected-remark @below {{numbers of tokens do not reach to the last one}}
  %j = onnx.Concat(%head, %m, %tl) {axis = 1 : i64} : (tensor<2x2xi64>, tensor<2x3xi64>, tensor<2x1xi64>) -> tensor<2x6xi64>
  %last = onnx.Constant() {value = dense<-1> : tensor<1xi64>} : () -> tensor<1xi64>
  %shape = onnx.Constant() {value = dense<[2, 6, 4]> : tensor<3xi64>} : () -> tensor<3xi64>
  %u = onnx.Unsqueeze(%j, %last) : (tensor<2x6xi64>, tensor<1xi64>) -> tensor<2x6x1xi64>
  %e = onnx.Expand(%u, %shape) : (tensor<2x6x1xi64>, tensor<3xi64>) -> tensor<2x6x4xi64>
  %y = onnx.GatherElements(%x, %e) {axis = 1 : i64} : (tensor<2x12x4xf32>, tensor<2x6x4xi64>) -> tensor<2x6x4xf32>
  return %y : tensor<2x6x4xf32>
}

// -----

func.func @f(%x: tensor<2x9x4xf32>, %s: tensor<2x8xf32>) -> tensor<2x3x4xf32> {
  %k = onnx.Constant() {value = dense<3> : tensor<1xi64>} : () -> tensor<1xi64>
  // expected-remark @below {{tokens are taken by scores of other tokens}}
  %v, %i = onnx.TopK(%s, %k) {axis = 1 : i64} : (tensor<2x8xf32>, tensor<1xi64>) -> (tensor<2x3xf32>, tensor<2x3xi64>)
  %last = onnx.Constant() {value = dense<-1> : tensor<1xi64>} : () -> tensor<1xi64>
  %shape = onnx.Constant() {value = dense<[2, 3, 4]> : tensor<3xi64>} : () -> tensor<3xi64>
  %u = onnx.Unsqueeze(%i, %last) : (tensor<2x3xi64>, tensor<1xi64>) -> tensor<2x3x1xi64>
  %e = onnx.Expand(%u, %shape) : (tensor<2x3x1xi64>, tensor<3xi64>) -> tensor<2x3x4xi64>
  %y = onnx.GatherElements(%x, %e) {axis = 1 : i64} : (tensor<2x9x4xf32>, tensor<2x3x4xi64>) -> tensor<2x3x4xf32>
  return %y : tensor<2x3x4xf32>
}

// -----

func.func @f(%x: tensor<2x8x4xf32>, %c: tensor<8xi1>) -> tensor<2x?x4xf32> {
  %zero = onnx.Constant() {value = dense<0> : tensor<1xi64>} : () -> tensor<1xi64>
  %0 = onnx.NonZero(%c) : (tensor<8xi1>) -> tensor<1x?xi64>
  %1 = onnx.Squeeze(%0, %zero) : (tensor<1x?xi64>, tensor<1xi64>) -> tensor<?xi64>
  // expected-remark @below {{tokens that a condition keeps are of a batch that is not known to be 1: sequences would keep different numbers}}
  %y = onnx.Gather(%x, %1) {axis = 1 : i64} : (tensor<2x8x4xf32>, tensor<?xi64>) -> tensor<2x?x4xf32>
  return %y : tensor<2x?x4xf32>
}

// -----

func.func @f(%x: tensor<1x9x4xf32>, %c: tensor<8xi1>) -> tensor<1x?x4xf32> {
  %zero = onnx.Constant() {value = dense<0> : tensor<1xi64>} : () -> tensor<1xi64>
  %0 = onnx.NonZero(%c) : (tensor<8xi1>) -> tensor<1x?xi64>
  %1 = onnx.Squeeze(%0, %zero) : (tensor<1x?xi64>, tensor<1xi64>) -> tensor<?xi64>
  // expected-remark @below {{a condition is of other tokens than those that are taken}}
  %y = onnx.Gather(%x, %1) {axis = 1 : i64} : (tensor<1x9x4xf32>, tensor<?xi64>) -> tensor<1x?x4xf32>
  return %y : tensor<1x?x4xf32>
}

// -----

func.func @f(%a: tensor<2x3x8x8xf32>, %s: tensor<2x8xf32>, %t: tensor<2x8xf32>) -> tensor<2x3x8x8xf32> {
  %one = onnx.Constant() {value = dense<1.0> : tensor<f32>} : () -> tensor<f32>
  %low = onnx.Constant() {value = dense<-10000.0> : tensor<f32>} : () -> tensor<f32>
  %axes = onnx.Constant() {value = dense<[1, 2]> : tensor<2xi64>} : () -> tensor<2xi64>
  %g = onnx.Greater(%s, %t) : (tensor<2x8xf32>, tensor<2x8xf32>) -> tensor<2x8xi1>
  %m = onnx.Cast(%g) {to = 1 : i64} : (tensor<2x8xi1>) -> tensor<2x8xf32>
  %d = onnx.Sub(%one, %m) : (tensor<f32>, tensor<2x8xf32>) -> tensor<2x8xf32>
  %u = onnx.Unsqueeze(%d, %axes) : (tensor<2x8xf32>, tensor<2xi64>) -> tensor<2x1x1x8xf32>
  // expected-remark @below {{a mask hides tokens from attention, but all of them go on: there is nothing to drop}}
  %b = onnx.Mul(%u, %low) : (tensor<2x1x1x8xf32>, tensor<f32>) -> tensor<2x1x1x8xf32>
  %y = onnx.Add(%a, %b) : (tensor<2x3x8x8xf32>, tensor<2x1x1x8xf32>) -> tensor<2x3x8x8xf32>
  return %y : tensor<2x3x8x8xf32>
}

// -----

func.func @f(%x: tensor<2x9x4xf32>, %n: tensor<2x9x1xf32>, %m: tensor<2x9x3xf32>, %o: tensor<2x9x3xf32>, %q: tensor<2x9x1xf32>) -> (tensor<2x7x4xf32>, tensor<2x7x1xf32>) {
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
  // expected-remark @below {{even and odd tokens are matched, but no weighted mean of those that match follows}}
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
  // expected-remark @below {{tokens are merged by reduction = mul}}
  %xs = onnx.ScatterElements(%xo, %wtarget, %xm) {axis = 1 : i64, reduction = "mul"} : (tensor<2x4x4xf32>, tensor<2x2x4xi64>, tensor<2x2x4xf32>) -> tensor<2x4x4xf32>
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

// -----

func.func @f(%x: tensor<2x9x4xf32>, %n: tensor<2x9x1xf32>, %m: tensor<2x9x3xf32>, %o: tensor<2x9x3xf32>, %q: tensor<2x9x1xf32>) -> (tensor<2x7x4xf32>, tensor<2x7x1xf32>) {
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
  // expected-remark @below {{even and odd tokens are matched, but no weighted mean of those that match follows}}
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
  %xw = onnx.Mul(%x, %q) : (tensor<2x9x4xf32>, tensor<2x9x1xf32>) -> tensor<2x9x4xf32>
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
  // expected-remark @below {{merged tokens are not weighted by their sizes}}
  %y = onnx.Div(%xc, %nc) : (tensor<2x7x4xf32>, tensor<2x7x1xf32>) -> tensor<2x7x4xf32>
  return %y, %nc : tensor<2x7x4xf32>, tensor<2x7x1xf32>
}

// -----

func.func @f(%x: tensor<2x9x4xf32>, %n: tensor<2x9x1xf32>, %m: tensor<2x9x3xf32>, %o: tensor<2x9x3xf32>, %q: tensor<2x9x1xf32>) -> (tensor<2x7x4xf32>, tensor<2x7x1xf32>) {
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
  // expected-remark @below {{even and odd tokens are matched, but no weighted mean of those that match follows}}
  %arg = onnx.ArgMax(%s) {axis = 2 : i64, select_last_index = 1 : i64, keepdims = 0 : i64} : (tensor<2x5x4xf32>) -> tensor<2x5xi64>
  %so, %order = onnx.TopK(%top, %five) {axis = 1 : i64} : (tensor<2x5xf32>, tensor<1xi64>) -> (tensor<2x5xf32>, tensor<2x5xi64>)
  %left = onnx.Slice(%order, %two, %end, %one) : (tensor<2x5xi64>, tensor<1xi64>, tensor<1xi64>, tensor<1xi64>) -> tensor<2x3xi64>
  %moved = onnx.Slice(%order, %zero, %two, %one) : (tensor<2x5xi64>, tensor<1xi64>, tensor<1xi64>, tensor<1xi64>) -> tensor<2x2xi64>
  // expected-remark @below {{tokens are not merged into the one that they are most like}}
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

// -----

func.func @f(%x: tensor<2x9x4xf32>, %n: tensor<2x9x1xf32>, %m: tensor<2x9x3xf32>, %o: tensor<2x9x3xf32>, %q: tensor<2x9x1xf32>) -> (tensor<2x7x4xf32>, tensor<2x7x1xf32>) {
  %zero = onnx.Constant() {value = dense<0> : tensor<1xi64>} : () -> tensor<1xi64>
  %one = onnx.Constant() {value = dense<1> : tensor<1xi64>} : () -> tensor<1xi64>
  %two = onnx.Constant() {value = dense<2> : tensor<1xi64>} : () -> tensor<1xi64>
  %three = onnx.Constant() {value = dense<3> : tensor<1xi64>} : () -> tensor<1xi64>
  %five = onnx.Constant() {value = dense<5> : tensor<1xi64>} : () -> tensor<1xi64>
  %end = onnx.Constant() {value = dense<9223372036854775807> : tensor<1xi64>} : () -> tensor<1xi64>
  %wide = onnx.Constant() {value = dense<[1, 1, 4]> : tensor<3xi64>} : () -> tensor<3xi64>
  %even = onnx.Slice(%m, %zero, %end, %one, %two) : (tensor<2x9x3xf32>, tensor<1xi64>, tensor<1xi64>, tensor<1xi64>, tensor<1xi64>) -> tensor<2x5x3xf32>
  %odd = onnx.Slice(%o, %one, %end, %one, %two) : (tensor<2x9x3xf32>, tensor<1xi64>, tensor<1xi64>, tensor<1xi64>, tensor<1xi64>) -> tensor<2x4x3xf32>
  %turn = onnx.Transpose(%odd) {perm = array<i64: 0, 2, 1>} : (tensor<2x4x3xf32>) -> tensor<2x3x4xf32>
  // expected-remark @below {{similarities are not those of even and odd tokens}}
  %s = onnx.MatMul(%even, %turn) : (tensor<2x5x3xf32>, tensor<2x3x4xf32>) -> tensor<2x5x4xf32>
  %top = onnx.ReduceMax(%s, %two) {keepdims = 0 : i64} : (tensor<2x5x4xf32>, tensor<1xi64>) -> tensor<2x5xf32>
  // expected-remark @below {{even and odd tokens are matched, but no weighted mean of those that match follows}}
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

// -----

func.func @f(%x: tensor<2x9x4xf32>, %n: tensor<2x9x1xf32>, %m: tensor<2x9x3xf32>, %o: tensor<2x9x3xf32>, %q: tensor<2x9x1xf32>) -> (tensor<2x7x4xf32>, tensor<2x7x1xf32>) {
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
  // expected-remark @below {{even and odd tokens are matched, but no weighted mean of those that match follows}}
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
  %nm = onnx.GatherElements(%ne, %utarget) {axis = 1 : i64} : (tensor<2x5x1xf32>, tensor<2x2x1xi64>) -> tensor<2x2x1xf32>
  %ns = onnx.ScatterElements(%no, %utarget, %nm) {axis = 1 : i64, reduction = "add"} : (tensor<2x4x1xf32>, tensor<2x2x1xi64>, tensor<2x2x1xf32>) -> tensor<2x4x1xf32>
  %nc = onnx.Concat(%nl, %ns) {axis = 1 : i64} : (tensor<2x3x1xf32>, tensor<2x4x1xf32>) -> tensor<2x7x1xf32>
  // expected-remark @below {{tokens and their sizes are merged by different numbers}}
  %y = onnx.Div(%xc, %nc) : (tensor<2x7x4xf32>, tensor<2x7x1xf32>) -> tensor<2x7x4xf32>
  return %y, %nc : tensor<2x7x4xf32>, tensor<2x7x1xf32>
}

// -----

func.func @f(%x: tensor<2x9x4xf32>, %n: tensor<2x9x1xf32>, %m: tensor<2x9x3xf32>, %o: tensor<2x9x3xf32>, %q: tensor<2x9x1xf32>) -> (tensor<2x7x4xf32>, tensor<2x7x1xf32>) {
  %zero = onnx.Constant() {value = dense<0> : tensor<1xi64>} : () -> tensor<1xi64>
  %one = onnx.Constant() {value = dense<1> : tensor<1xi64>} : () -> tensor<1xi64>
  %two = onnx.Constant() {value = dense<2> : tensor<1xi64>} : () -> tensor<1xi64>
  %three = onnx.Constant() {value = dense<3> : tensor<1xi64>} : () -> tensor<1xi64>
  %five = onnx.Constant() {value = dense<5> : tensor<1xi64>} : () -> tensor<1xi64>
  %four = onnx.Constant() {value = dense<4> : tensor<1xi64>} : () -> tensor<1xi64>
  %end = onnx.Constant() {value = dense<9223372036854775807> : tensor<1xi64>} : () -> tensor<1xi64>
  %wide = onnx.Constant() {value = dense<[1, 1, 4]> : tensor<3xi64>} : () -> tensor<3xi64>
  %even = onnx.Slice(%m, %zero, %end, %one, %two) : (tensor<2x9x3xf32>, tensor<1xi64>, tensor<1xi64>, tensor<1xi64>, tensor<1xi64>) -> tensor<2x5x3xf32>
  %odd = onnx.Slice(%m, %one, %end, %one, %two) : (tensor<2x9x3xf32>, tensor<1xi64>, tensor<1xi64>, tensor<1xi64>, tensor<1xi64>) -> tensor<2x4x3xf32>
  %turn = onnx.Transpose(%odd) {perm = array<i64: 0, 2, 1>} : (tensor<2x4x3xf32>) -> tensor<2x3x4xf32>
  %s = onnx.MatMul(%even, %turn) : (tensor<2x5x3xf32>, tensor<2x3x4xf32>) -> tensor<2x5x4xf32>
  %top = onnx.ReduceMax(%s, %two) {keepdims = 0 : i64} : (tensor<2x5x4xf32>, tensor<1xi64>) -> tensor<2x5xf32>
  // expected-remark @below {{even and odd tokens are matched, but no weighted mean of those that match follows}}
  %arg = onnx.ArgMax(%s) {axis = 2 : i64, keepdims = 0 : i64} : (tensor<2x5x4xf32>) -> tensor<2x5xi64>
  %so, %order = onnx.TopK(%top, %five) {axis = 1 : i64} : (tensor<2x5xf32>, tensor<1xi64>) -> (tensor<2x5xf32>, tensor<2x5xi64>)
  %left = onnx.Slice(%order, %one, %four, %one) : (tensor<2x5xi64>, tensor<1xi64>, tensor<1xi64>, tensor<1xi64>) -> tensor<2x3xi64>
  // expected-remark @below {{tokens that are merged are not the first of the order, all others those that are not}}
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
