// RUN: moe-opt %s --moe-report -o %t.mlir --split-input-file | FileCheck %s

// Names of activations, whichever way they are written, and what has none.

// CHECK: H = 4, I = 8, gelu (gate_up = none)
func.func @erf(%x: tensor<?x4xf32>, %up: tensor<1x8x4xf32>, %down: tensor<1x4x8xf32>) -> tensor<?x4xf32> {
  %y = moe.experts %x gate(%up : tensor<1x8x4xf32>) down(%down : tensor<1x4x8xf32>) : tensor<?x4xf32> -> tensor<?x4xf32> {
  ^bb0(%h: tensor<f32>):
    %r = onnx.Constant() {value = dense<1.41421354> : tensor<f32>} : () -> tensor<f32>
    %one = onnx.Constant() {value = dense<1.0> : tensor<f32>} : () -> tensor<f32>
    %half = onnx.Constant() {value = dense<0.5> : tensor<f32>} : () -> tensor<f32>
    %0 = onnx.Div(%h, %r) : (tensor<f32>, tensor<f32>) -> tensor<f32>
    %1 = onnx.Erf(%0) : (tensor<f32>) -> tensor<f32>
    %2 = onnx.Add(%1, %one) : (tensor<f32>, tensor<f32>) -> tensor<f32>
    %3 = onnx.Mul(%h, %2) : (tensor<f32>, tensor<f32>) -> tensor<f32>
    %4 = onnx.Mul(%3, %half) : (tensor<f32>, tensor<f32>) -> tensor<f32>
    moe.yield %4 : tensor<f32>
  }
  return %y : tensor<?x4xf32>
}

// -----

// CHECK: H = 4, I = 8, quick_gelu (gate_up = none)
func.func @quick(%x: tensor<?x4xf32>, %up: tensor<1x8x4xf32>, %down: tensor<1x4x8xf32>) -> tensor<?x4xf32> {
  %y = moe.experts %x gate(%up : tensor<1x8x4xf32>) down(%down : tensor<1x4x8xf32>) : tensor<?x4xf32> -> tensor<?x4xf32> {
  ^bb0(%h: tensor<f32>):
    %alpha = onnx.Constant() {value = dense<1.702> : tensor<f32>} : () -> tensor<f32>
    %0 = onnx.Mul(%h, %alpha) : (tensor<f32>, tensor<f32>) -> tensor<f32>
    %1 = onnx.Sigmoid(%0) : (tensor<f32>) -> tensor<f32>
    %2 = onnx.Mul(%h, %1) : (tensor<f32>, tensor<f32>) -> tensor<f32>
    moe.yield %2 : tensor<f32>
  }
  return %y : tensor<?x4xf32>
}

// -----

// A comparison instead of Relu.
// CHECK: H = 4, I = 8, relu (gate_up = none)
func.func @where(%x: tensor<?x4xf32>, %up: tensor<1x8x4xf32>, %down: tensor<1x4x8xf32>) -> tensor<?x4xf32> {
  %y = moe.experts %x gate(%up : tensor<1x8x4xf32>) down(%down : tensor<1x4x8xf32>) : tensor<?x4xf32> -> tensor<?x4xf32> {
  ^bb0(%h: tensor<f32>):
    %zero = onnx.Constant() {value = dense<0.0> : tensor<f32>} : () -> tensor<f32>
    %c = onnx.Less(%h, %zero) : (tensor<f32>, tensor<f32>) -> tensor<i1>
    %0 = onnx.Where(%c, %zero, %h) : (tensor<i1>, tensor<f32>, tensor<f32>) -> tensor<f32>
    moe.yield %0 : tensor<f32>
  }
  return %y : tensor<?x4xf32>
}

// -----

// The logistic function written out.
// CHECK: H = 4, I = 8, swiglu (gate_up = concat)
func.func @exp(%x: tensor<?x4xf32>, %up: tensor<1x16x4xf32>, %down: tensor<1x4x8xf32>) -> tensor<?x4xf32> {
  %y = moe.experts %x gate(%up : tensor<1x16x4xf32>) down(%down : tensor<1x4x8xf32>) {gate_up = #moe.gate_up<concat>}
      : tensor<?x4xf32> -> tensor<?x4xf32> {
  ^bb0(%g: tensor<f32>, %u: tensor<f32>):
    %one = onnx.Constant() {value = dense<1.0> : tensor<f32>} : () -> tensor<f32>
    %0 = onnx.Neg(%g) : (tensor<f32>) -> tensor<f32>
    %1 = onnx.Exp(%0) : (tensor<f32>) -> tensor<f32>
    %2 = onnx.Add(%one, %1) : (tensor<f32>, tensor<f32>) -> tensor<f32>
    %3 = onnx.Div(%g, %2) : (tensor<f32>, tensor<f32>) -> tensor<f32>
    %4 = onnx.Mul(%3, %u) : (tensor<f32>, tensor<f32>) -> tensor<f32>
    moe.yield %4 : tensor<f32>
  }
  return %y : tensor<?x4xf32>
}

// -----

// Limits on the one side only, a product with the wrong projection: no name.
// CHECK: H = 4, I = 8, custom (gate_up = concat)
// CHECK: H = 4, I = 8, custom (gate_up = concat)
func.func @none(%x: tensor<?x4xf32>, %up: tensor<1x16x4xf32>, %down: tensor<1x4x8xf32>) -> (tensor<?x4xf32>, tensor<?x4xf32>) {
  %y = moe.experts %x gate(%up : tensor<1x16x4xf32>) down(%down : tensor<1x4x8xf32>) {gate_up = #moe.gate_up<concat>}
      : tensor<?x4xf32> -> tensor<?x4xf32> {
  ^bb0(%g: tensor<f32>, %u: tensor<f32>):
    %limit = onnx.Constant() {value = dense<7.0> : tensor<f32>} : () -> tensor<f32>
    %0 = onnx.Min(%g, %limit) : (tensor<f32>, tensor<f32>) -> tensor<f32>
    %1 = onnx.Sigmoid(%0) : (tensor<f32>) -> tensor<f32>
    %2 = onnx.Mul(%0, %1) : (tensor<f32>, tensor<f32>) -> tensor<f32>
    %3 = onnx.Mul(%2, %u) : (tensor<f32>, tensor<f32>) -> tensor<f32>
    moe.yield %3 : tensor<f32>
  }
  %z = moe.experts %x gate(%up : tensor<1x16x4xf32>) down(%down : tensor<1x4x8xf32>) {gate_up = #moe.gate_up<concat>}
      : tensor<?x4xf32> -> tensor<?x4xf32> {
  ^bb0(%g: tensor<f32>, %u: tensor<f32>):
    %0 = onnx.Sigmoid(%u) : (tensor<f32>) -> tensor<f32>
    %1 = onnx.Mul(%g, %0) : (tensor<f32>, tensor<f32>) -> tensor<f32>
    moe.yield %1 : tensor<f32>
  }
  return %y, %z : tensor<?x4xf32>, tensor<?x4xf32>
}
