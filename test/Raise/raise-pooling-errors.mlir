// RUN: moe-opt %s --moe-raise-pooling --split-input-file --verify-diagnostics --remark-format=emitRemark --remarks-filter-missed=raise
// RUN: moe-opt %s --moe-raise-pooling --split-input-file | FileCheck %s

// What breaks a rule stays and says which one.
// CHECK-NOT: moe.pool

func.func @f(%x: tensor<2x3x8x6xf32>) -> tensor<2x3x4x3xf32> {
  %p = onnx.Constant() {value = dense<3.0> : tensor<f32>} : () -> tensor<f32>
  %q = onnx.Constant() {value = dense<0.5> : tensor<f32>} : () -> tensor<f32>
  %1 = onnx.Pow(%x, %p) : (tensor<2x3x8x6xf32>, tensor<f32>) -> tensor<2x3x8x6xf32>
  %2 = onnx.AveragePool(%1) {kernel_shape = array<i64: 2, 2>, strides = array<i64: 2, 2>} : (tensor<2x3x8x6xf32>) -> tensor<2x3x4x3xf32>
  // expected-remark @below {{a mean between powers has the power 3 undone by the power 0.5, which is not its inverse}}
  %3 = onnx.Pow(%2, %q) : (tensor<2x3x4x3xf32>, tensor<f32>) -> tensor<2x3x4x3xf32>
  return %3 : tensor<2x3x4x3xf32>
}

// -----

func.func @f(%x: tensor<2x3x8x6xf32>) -> tensor<2x3x4x3xf32> {
  %p = onnx.Constant() {value = dense<0.0> : tensor<f32>} : () -> tensor<f32>
  %q = onnx.Constant() {value = dense<0.33333334> : tensor<f32>} : () -> tensor<f32>
  %1 = onnx.Pow(%x, %p) : (tensor<2x3x8x6xf32>, tensor<f32>) -> tensor<2x3x8x6xf32>
  %2 = onnx.AveragePool(%1) {kernel_shape = array<i64: 2, 2>, strides = array<i64: 2, 2>} : (tensor<2x3x8x6xf32>) -> tensor<2x3x4x3xf32>
  // expected-remark @below {{a mean between powers has the power 0, which has no root}}
  %3 = onnx.Pow(%2, %q) : (tensor<2x3x4x3xf32>, tensor<f32>) -> tensor<2x3x4x3xf32>
  return %3 : tensor<2x3x4x3xf32>
}

// -----

func.func @f(%x: tensor<2x3x8x6xf32>) -> tensor<2x3x4x3xf32> {
  %p = onnx.Constant() {value = dense<3.0> : tensor<f32>} : () -> tensor<f32>
  %q = onnx.Constant() {value = dense<0.33333334> : tensor<f32>} : () -> tensor<f32>
  %1 = onnx.Pow(%x, %p) : (tensor<2x3x8x6xf32>, tensor<f32>) -> tensor<2x3x8x6xf32>
  %2 = onnx.AveragePool(%1) {kernel_shape = array<i64: 2, 2>, strides = array<i64: 2, 2>, auto_pad = "SAME_UPPER"} : (tensor<2x3x8x6xf32>) -> tensor<2x3x4x3xf32>
  // expected-remark @below {{a mean between powers has auto_pad = SAME_UPPER with strides, whose pads depend on the input's extents}}
  %3 = onnx.Pow(%2, %q) : (tensor<2x3x4x3xf32>, tensor<f32>) -> tensor<2x3x4x3xf32>
  return %3 : tensor<2x3x4x3xf32>
}

// -----

func.func @f(%x: tensor<2x3x8x6xf32>) -> tensor<2x1x8x6xf32> {
  %p = onnx.Constant() {value = dense<3.0> : tensor<f32>} : () -> tensor<f32>
  %q = onnx.Constant() {value = dense<0.33333334> : tensor<f32>} : () -> tensor<f32>
  %a = onnx.Constant() {value = dense<1> : tensor<1xi64>} : () -> tensor<1xi64>
  %1 = onnx.Pow(%x, %p) : (tensor<2x3x8x6xf32>, tensor<f32>) -> tensor<2x3x8x6xf32>
  %2 = onnx.ReduceMean(%1, %a) : (tensor<2x3x8x6xf32>, tensor<1xi64>) -> tensor<2x1x8x6xf32>
  // expected-remark @below {{a mean between powers has a mean over other dims than those behind the second}}
  %3 = onnx.Pow(%2, %q) : (tensor<2x1x8x6xf32>, tensor<f32>) -> tensor<2x1x8x6xf32>
  return %3 : tensor<2x1x8x6xf32>
}

// -----

func.func @f(%x: tensor<2x3x8x6xf32>) -> tensor<2x3x4x3xf32> {
  %p = onnx.Constant() {value = dense<3.0> : tensor<f32>} : () -> tensor<f32>
  %q = onnx.Constant() {value = dense<0.33333334> : tensor<f32>} : () -> tensor<f32>
  %1 = onnx.Pow(%x, %p) : (tensor<2x3x8x6xf32>, tensor<f32>) -> tensor<2x3x8x6xf32>
  %2 = onnx.AveragePool(%1) {kernel_shape = array<i64: 2, 2>, strides = array<i64: 2, 2>} : (tensor<2x3x8x6xf32>) -> tensor<2x3x4x3xf32>
  %u = onnx.Neg(%2) : (tensor<2x3x4x3xf32>) -> tensor<2x3x4x3xf32>
  // expected-remark @below {{a mean between powers has powers or a mean that are used elsewhere}}
  %3 = onnx.Pow(%2, %q) : (tensor<2x3x4x3xf32>, tensor<f32>) -> tensor<2x3x4x3xf32>
  return %u : tensor<2x3x4x3xf32>
}

// -----

func.func @f(%x: tensor<2x3x8x6xf32>) -> tensor<2x3x4x3xf32> {
  %p = onnx.Constant() {value = dense<2.0> : tensor<f32>} : () -> tensor<f32>
  %q = onnx.Constant() {value = dense<0.5> : tensor<f32>} : () -> tensor<f32>
  %1 = onnx.Pow(%x, %p) : (tensor<2x3x8x6xf32>, tensor<f32>) -> tensor<2x3x8x6xf32>
  %2 = onnx.AveragePool(%1) {kernel_shape = array<i64: 2, 2>, strides = array<i64: 2, 2>} : (tensor<2x3x8x6xf32>) -> tensor<2x3x4x3xf32>
  %c = onnx.Constant() {value = dense<3.0> : tensor<f32>} : () -> tensor<f32>
  %m = onnx.Mul(%2, %c) : (tensor<2x3x4x3xf32>, tensor<f32>) -> tensor<2x3x4x3xf32>
  // expected-remark @below {{a mean between powers has a mean times 3, which is not the number of its elements}}
  %3 = onnx.Pow(%m, %q) : (tensor<2x3x4x3xf32>, tensor<f32>) -> tensor<2x3x4x3xf32>
  return %3 : tensor<2x3x4x3xf32>
}

// -----

func.func @f(%x: tensor<2x3x8x6xf32>) -> tensor<2x3x4x3xf32> {
  %p = onnx.Constant() {value = dense<3.0> : tensor<f32>} : () -> tensor<f32>
  %q = onnx.Constant() {value = dense<0.33333334> : tensor<f32>} : () -> tensor<f32>
  %1 = onnx.Pow(%x, %p) : (tensor<2x3x8x6xf32>, tensor<f32>) -> tensor<2x3x8x6xf32>
  %2 = onnx.AveragePool(%1) {kernel_shape = array<i64: 2, 2>, strides = array<i64: 2, 2>} : (tensor<2x3x8x6xf32>) -> tensor<2x3x4x3xf32>
  %c = onnx.Constant() {value = dense<4.0> : tensor<f32>} : () -> tensor<f32>
  %m = onnx.Mul(%2, %c) : (tensor<2x3x4x3xf32>, tensor<f32>) -> tensor<2x3x4x3xf32>
  // expected-remark @below {{a mean between powers has the power 3 of elements that may be negative: no norm}}
  %3 = onnx.Pow(%m, %q) : (tensor<2x3x4x3xf32>, tensor<f32>) -> tensor<2x3x4x3xf32>
  return %3 : tensor<2x3x4x3xf32>
}

// -----

func.func @f(%x: tensor<2x3x8x6xf32>) -> tensor<2x3x4x3xf32> {
  %p = onnx.Constant() {value = dense<-2.0> : tensor<f32>} : () -> tensor<f32>
  %q = onnx.Constant() {value = dense<-0.5> : tensor<f32>} : () -> tensor<f32>
  %1 = onnx.Pow(%x, %p) : (tensor<2x3x8x6xf32>, tensor<f32>) -> tensor<2x3x8x6xf32>
  %2 = onnx.AveragePool(%1) {kernel_shape = array<i64: 2, 2>, strides = array<i64: 2, 2>} : (tensor<2x3x8x6xf32>) -> tensor<2x3x4x3xf32>
  %c = onnx.Constant() {value = dense<4.0> : tensor<f32>} : () -> tensor<f32>
  %m = onnx.Mul(%2, %c) : (tensor<2x3x4x3xf32>, tensor<f32>) -> tensor<2x3x4x3xf32>
  // expected-remark @below {{a mean between powers has the power -2: no norm}}
  %3 = onnx.Pow(%m, %q) : (tensor<2x3x4x3xf32>, tensor<f32>) -> tensor<2x3x4x3xf32>
  return %3 : tensor<2x3x4x3xf32>
}

// -----

func.func @f(%x: tensor<2x3x8x6xbf16>) -> tensor<2x3x4x3xbf16> {
  %p = onnx.Constant() {value = dense<3.0> : tensor<bf16>} : () -> tensor<bf16>
  %q = onnx.Constant() {value = dense<0.33333334> : tensor<bf16>} : () -> tensor<bf16>
  %1 = onnx.Pow(%x, %p) : (tensor<2x3x8x6xbf16>, tensor<bf16>) -> tensor<2x3x8x6xbf16>
  %2 = onnx.AveragePool(%1) {kernel_shape = array<i64: 2, 2>, strides = array<i64: 2, 2>} : (tensor<2x3x8x6xbf16>) -> tensor<2x3x4x3xbf16>
  // expected-remark @below {{a mean between powers has powers of another type than f16, f32 and f64}}
  %3 = onnx.Pow(%2, %q) : (tensor<2x3x4x3xbf16>, tensor<bf16>) -> tensor<2x3x4x3xbf16>
  return %3 : tensor<2x3x4x3xbf16>
}

// -----

func.func @f(%x: tensor<2x3x8x6xf32>) -> tensor<2x3x8x6xf32> {
  %0 = onnx.GlobalAveragePool(%x) : (tensor<2x3x8x6xf32>) -> tensor<2x3x1x1xf32>
  // expected-remark @below {{a pool less its input has other extents than its input}}
  %1 = onnx.Sub(%0, %x) : (tensor<2x3x1x1xf32>, tensor<2x3x8x6xf32>) -> tensor<2x3x8x6xf32>
  return %1 : tensor<2x3x8x6xf32>
}

// -----

func.func @f(%x: tensor<2x3x8x6xf32>, %z: tensor<2x3x8x6xf32>, %w: tensor<3x3x2x2xf32>, %s: tensor<2x2xf32>, %i: tensor<2xi64>) -> tensor<2x3x4x3xf32> {
  %zero = onnx.Constant() {value = dense<0> : tensor<1xi64>} : () -> tensor<1xi64>
  %last = onnx.Constant() {value = dense<-1> : tensor<1xi64>} : () -> tensor<1xi64>
  %n = onnx.Constant() {value = dense<[0, 1]> : tensor<2xi64>} : () -> tensor<2xi64>
  %a = onnx.MaxPool(%x) {kernel_shape = array<i64: 2, 2>, strides = array<i64: 2, 2>} : (tensor<2x3x8x6xf32>) -> tensor<2x3x4x3xf32>
  // expected-remark @below {{an expert of a choice among pools has no pool (onnx.Conv)}}
  %b = onnx.Conv(%x, %w) {kernel_shape = array<i64: 2, 2>, strides = array<i64: 2, 2>} : (tensor<2x3x8x6xf32>, tensor<3x3x2x2xf32>) -> tensor<2x3x4x3xf32>
  %ua = onnx.Unsqueeze(%a, %zero) : (tensor<2x3x4x3xf32>, tensor<1xi64>) -> tensor<1x2x3x4x3xf32>
  %ub = onnx.Unsqueeze(%b, %zero) : (tensor<2x3x4x3xf32>, tensor<1xi64>) -> tensor<1x2x3x4x3xf32>
  %c = onnx.Concat(%ua, %ub) {axis = 0 : i64} : (tensor<1x2x3x4x3xf32>, tensor<1x2x3x4x3xf32>) -> tensor<2x2x3x4x3xf32>
  %e = onnx.ArgMax(%s) {axis = 1 : i64, keepdims = 0 : i64} : (tensor<2x2xf32>) -> tensor<2xi64>
  %ue = onnx.Unsqueeze(%e, %last) : (tensor<2xi64>, tensor<1xi64>) -> tensor<2x1xi64>
  %un = onnx.Unsqueeze(%n, %last) : (tensor<2xi64>, tensor<1xi64>) -> tensor<2x1xi64>
  %at = onnx.Concat(%ue, %un) {axis = 1 : i64} : (tensor<2x1xi64>, tensor<2x1xi64>) -> tensor<2x2xi64>
  %y = onnx.GatherND(%c, %at) : (tensor<2x2x3x4x3xf32>, tensor<2x2xi64>) -> tensor<2x3x4x3xf32>
  return %y : tensor<2x3x4x3xf32>
}

// -----

func.func @f(%x: tensor<2x3x8x6xf32>, %z: tensor<2x3x8x6xf32>, %w: tensor<3x3x2x2xf32>, %s: tensor<2x2xf32>, %i: tensor<2xi64>) -> tensor<2x3x4x3xf32> {
  %zero = onnx.Constant() {value = dense<0> : tensor<1xi64>} : () -> tensor<1xi64>
  %last = onnx.Constant() {value = dense<-1> : tensor<1xi64>} : () -> tensor<1xi64>
  %n = onnx.Constant() {value = dense<[0, 1]> : tensor<2xi64>} : () -> tensor<2xi64>
  %a = onnx.MaxPool(%x) {kernel_shape = array<i64: 2, 2>, strides = array<i64: 2, 2>} : (tensor<2x3x8x6xf32>) -> tensor<2x3x4x3xf32>
  // expected-remark @below {{an expert of a choice among pools has another input than the others}}
  %b = onnx.AveragePool(%z) {kernel_shape = array<i64: 2, 2>, strides = array<i64: 2, 2>} : (tensor<2x3x8x6xf32>) -> tensor<2x3x4x3xf32>
  %ua = onnx.Unsqueeze(%a, %zero) : (tensor<2x3x4x3xf32>, tensor<1xi64>) -> tensor<1x2x3x4x3xf32>
  %ub = onnx.Unsqueeze(%b, %zero) : (tensor<2x3x4x3xf32>, tensor<1xi64>) -> tensor<1x2x3x4x3xf32>
  %c = onnx.Concat(%ua, %ub) {axis = 0 : i64} : (tensor<1x2x3x4x3xf32>, tensor<1x2x3x4x3xf32>) -> tensor<2x2x3x4x3xf32>
  %e = onnx.ArgMax(%s) {axis = 1 : i64, keepdims = 0 : i64} : (tensor<2x2xf32>) -> tensor<2xi64>
  %ue = onnx.Unsqueeze(%e, %last) : (tensor<2xi64>, tensor<1xi64>) -> tensor<2x1xi64>
  %un = onnx.Unsqueeze(%n, %last) : (tensor<2xi64>, tensor<1xi64>) -> tensor<2x1xi64>
  %at = onnx.Concat(%ue, %un) {axis = 1 : i64} : (tensor<2x1xi64>, tensor<2x1xi64>) -> tensor<2x2xi64>
  %y = onnx.GatherND(%c, %at) : (tensor<2x2x3x4x3xf32>, tensor<2x2xi64>) -> tensor<2x3x4x3xf32>
  return %y : tensor<2x3x4x3xf32>
}

// -----

func.func @f(%x: tensor<2x3x8x6xf32>, %z: tensor<2x3x8x6xf32>, %w: tensor<3x3x2x2xf32>, %s: tensor<2x2xf32>, %i: tensor<2xi64>) -> tensor<2x3x4x3xf32> {
  %zero = onnx.Constant() {value = dense<0> : tensor<1xi64>} : () -> tensor<1xi64>
  %last = onnx.Constant() {value = dense<-1> : tensor<1xi64>} : () -> tensor<1xi64>
  %n = onnx.Constant() {value = dense<[0, 1]> : tensor<2xi64>} : () -> tensor<2xi64>
  %a = onnx.MaxPool(%x) {kernel_shape = array<i64: 2, 2>, strides = array<i64: 2, 2>} : (tensor<2x3x8x6xf32>) -> tensor<2x3x4x3xf32>
  %b = onnx.AveragePool(%x) {kernel_shape = array<i64: 2, 2>, strides = array<i64: 2, 2>} : (tensor<2x3x8x6xf32>) -> tensor<2x3x4x3xf32>
  %ua = onnx.Unsqueeze(%a, %zero) : (tensor<2x3x4x3xf32>, tensor<1xi64>) -> tensor<1x2x3x4x3xf32>
  %ub = onnx.Unsqueeze(%b, %zero) : (tensor<2x3x4x3xf32>, tensor<1xi64>) -> tensor<1x2x3x4x3xf32>
  %c = onnx.Concat(%ua, %ub) {axis = 0 : i64} : (tensor<1x2x3x4x3xf32>, tensor<1x2x3x4x3xf32>) -> tensor<2x2x3x4x3xf32>
  %ue = onnx.Unsqueeze(%i, %last) : (tensor<2xi64>, tensor<1xi64>) -> tensor<2x1xi64>
  %un = onnx.Unsqueeze(%n, %last) : (tensor<2xi64>, tensor<1xi64>) -> tensor<2x1xi64>
  %at = onnx.Concat(%ue, %un) {axis = 1 : i64} : (tensor<2x1xi64>, tensor<2x1xi64>) -> tensor<2x2xi64>
  // expected-remark @below {{a choice among pools comes from no argmax: an index may be negative}}
  %y = onnx.GatherND(%c, %at) : (tensor<2x2x3x4x3xf32>, tensor<2x2xi64>) -> tensor<2x3x4x3xf32>
  return %y : tensor<2x3x4x3xf32>
}

// -----

func.func @f(%x: tensor<2x3x8x6xf32>, %z: tensor<2x3x8x6xf32>, %w: tensor<3x3x2x2xf32>, %s: tensor<2x2xf32>, %i: tensor<2xi64>) -> tensor<2x3x4x3xf32> {
  %zero = onnx.Constant() {value = dense<0> : tensor<1xi64>} : () -> tensor<1xi64>
  %last = onnx.Constant() {value = dense<-1> : tensor<1xi64>} : () -> tensor<1xi64>
  %n = onnx.Constant() {value = dense<[1, 0]> : tensor<2xi64>} : () -> tensor<2xi64>
  %a = onnx.MaxPool(%x) {kernel_shape = array<i64: 2, 2>, strides = array<i64: 2, 2>} : (tensor<2x3x8x6xf32>) -> tensor<2x3x4x3xf32>
  %b = onnx.AveragePool(%x) {kernel_shape = array<i64: 2, 2>, strides = array<i64: 2, 2>} : (tensor<2x3x8x6xf32>) -> tensor<2x3x4x3xf32>
  %ua = onnx.Unsqueeze(%a, %zero) : (tensor<2x3x4x3xf32>, tensor<1xi64>) -> tensor<1x2x3x4x3xf32>
  %ub = onnx.Unsqueeze(%b, %zero) : (tensor<2x3x4x3xf32>, tensor<1xi64>) -> tensor<1x2x3x4x3xf32>
  %c = onnx.Concat(%ua, %ub) {axis = 0 : i64} : (tensor<1x2x3x4x3xf32>, tensor<1x2x3x4x3xf32>) -> tensor<2x2x3x4x3xf32>
  %e = onnx.ArgMax(%s) {axis = 1 : i64, keepdims = 0 : i64} : (tensor<2x2xf32>) -> tensor<2xi64>
  %ue = onnx.Unsqueeze(%e, %last) : (tensor<2xi64>, tensor<1xi64>) -> tensor<2x1xi64>
  %un = onnx.Unsqueeze(%n, %last) : (tensor<2xi64>, tensor<1xi64>) -> tensor<2x1xi64>
  %at = onnx.Concat(%ue, %un) {axis = 1 : i64} : (tensor<2x1xi64>, tensor<2x1xi64>) -> tensor<2x2xi64>
  // expected-remark @below {{a choice among pools does not choose one for each map}}
  %y = onnx.GatherND(%c, %at) : (tensor<2x2x3x4x3xf32>, tensor<2x2xi64>) -> tensor<2x3x4x3xf32>
  return %y : tensor<2x3x4x3xf32>
}

// -----

func.func @f(%x: tensor<2x3x8x6xf32>, %l: tensor<2x3xf32>) -> tensor<2x3x4x3xf32> {
  %i = onnx.Constant() {value = dense<1> : tensor<i64>} : () -> tensor<i64>
  %axes = onnx.Constant() {value = dense<[1, 2, 3]> : tensor<3xi64>} : () -> tensor<3xi64>
  %a = onnx.MaxPool(%x) {kernel_shape = array<i64: 2, 2>, strides = array<i64: 2, 2>} : (tensor<2x3x8x6xf32>) -> tensor<2x3x4x3xf32>
  %p = onnx.Softmax(%l) : (tensor<2x3xf32>) -> tensor<2x3xf32>
  %c = onnx.Gather(%p, %i) {axis = 1 : i64} : (tensor<2x3xf32>, tensor<i64>) -> tensor<2xf32>
  %w = onnx.Unsqueeze(%c, %axes) : (tensor<2xf32>, tensor<3xi64>) -> tensor<2x1x1x1xf32>
  // expected-remark @below {{pools weighted by a softmax all run: there is nothing to choose, so their sum stays}}
  %y = onnx.Mul(%w, %a) : (tensor<2x1x1x1xf32>, tensor<2x3x4x3xf32>) -> tensor<2x3x4x3xf32>
  return %y : tensor<2x3x4x3xf32>
}
