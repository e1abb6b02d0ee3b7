// RUN: moe-opt %s --split-input-file --moe-share-layers="min-ops=3" --verify-diagnostics --remark-format=emitRemark --remarks-filter-missed=share

// Few numbers may decide what code there is: they are compared.
// expected-remark @below {{no two layers are alike}}
func.func @numbers(%x: tensor<4x16xf32>) -> tensor<4x16xf32> {
  %w0 = onnx.Initializer "w0" = dense<1.0> : tensor<16x16xf32>
  %w1 = onnx.Initializer "w1" = dense<2.0> : tensor<16x16xf32>
  %a = onnx.Initializer "a" = dense<1.0> : tensor<1xf32>
  %b = onnx.Initializer "b" = dense<2.0> : tensor<1xf32>
  %0 = onnx.MatMul(%x, %w0) : (tensor<4x16xf32>, tensor<16x16xf32>) -> tensor<4x16xf32>
  %1 = onnx.Relu(%0) : (tensor<4x16xf32>) -> tensor<4x16xf32>
  %2 = onnx.Mul(%1, %a) : (tensor<4x16xf32>, tensor<1xf32>) -> tensor<4x16xf32>
  %3 = onnx.MatMul(%2, %w1) : (tensor<4x16xf32>, tensor<16x16xf32>) -> tensor<4x16xf32>
  %4 = onnx.Relu(%3) : (tensor<4x16xf32>) -> tensor<4x16xf32>
  %5 = onnx.Mul(%4, %b) : (tensor<4x16xf32>, tensor<1xf32>) -> tensor<4x16xf32>
  return %5 : tensor<4x16xf32>
}

// -----

// Nothing here takes work to compile.
// expected-remark @below {{no two layers are alike}}
func.func @light(%x: tensor<4x16xf32>) -> tensor<4x16xf32> {
  %0 = onnx.Relu(%x) : (tensor<4x16xf32>) -> tensor<4x16xf32>
  %1 = onnx.Neg(%0) : (tensor<4x16xf32>) -> tensor<4x16xf32>
  %2 = onnx.Exp(%1) : (tensor<4x16xf32>) -> tensor<4x16xf32>
  %3 = onnx.Relu(%2) : (tensor<4x16xf32>) -> tensor<4x16xf32>
  %4 = onnx.Neg(%3) : (tensor<4x16xf32>) -> tensor<4x16xf32>
  %5 = onnx.Exp(%4) : (tensor<4x16xf32>) -> tensor<4x16xf32>
  return %5 : tensor<4x16xf32>
}

// -----

// The same operators, wired in another way.
func.func @wiring(%x: tensor<4x16xf32>) -> tensor<4x16xf32> {
  %w0 = onnx.Initializer "w0" = dense<1.0> : tensor<16x16xf32>
  %w1 = onnx.Initializer "w1" = dense<2.0> : tensor<16x16xf32>
  // expected-remark @below {{2 sequences of 4 operations look alike, but onnx.Add and onnx.Add differ in operand #1}}
  %0 = onnx.MatMul(%x, %w0) : (tensor<4x16xf32>, tensor<16x16xf32>) -> tensor<4x16xf32>
  %1 = onnx.Relu(%0) : (tensor<4x16xf32>) -> tensor<4x16xf32>
  %2 = onnx.Exp(%1) : (tensor<4x16xf32>) -> tensor<4x16xf32>
  %3 = onnx.Add(%2, %0) : (tensor<4x16xf32>, tensor<4x16xf32>) -> tensor<4x16xf32>
  %4 = onnx.MatMul(%3, %w1) : (tensor<4x16xf32>, tensor<16x16xf32>) -> tensor<4x16xf32>
  %5 = onnx.Relu(%4) : (tensor<4x16xf32>) -> tensor<4x16xf32>
  %6 = onnx.Exp(%5) : (tensor<4x16xf32>) -> tensor<4x16xf32>
  %7 = onnx.Add(%6, %5) : (tensor<4x16xf32>, tensor<4x16xf32>) -> tensor<4x16xf32>
  return %7 : tensor<4x16xf32>
}
