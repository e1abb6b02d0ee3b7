// RUN: moe-opt %s --onnx-infer-shapes --split-input-file --verify-diagnostics

// A shape that the model declares and that cannot be.
func.func @declared(%x: tensor<4x8xf32>) -> tensor<4x9xf32> {
  // expected-error @below {{is declared to give 'tensor<4x9xf32>', its operands give extent 8 instead of 9 in dimension 1}}
  %0 = onnx.Relu(%x) : (tensor<4x8xf32>) -> tensor<4x9xf32>
  return %0 : tensor<4x9xf32>
}

// -----

func.func @rank(%x: tensor<4x8xf32>) -> tensor<4xf32> {
  // expected-error @below {{is declared to give 'tensor<4xf32>' of rank 1, its operands give rank 2}}
  %0 = onnx.Relu(%x) : (tensor<4x8xf32>) -> tensor<4xf32>
  return %0 : tensor<4xf32>
}

// -----

// The shape is computed: only inference lets the verifier see it.
func.func @elements(%x: tensor<4x8xf32>, %y: tensor<3x5xf32>) -> tensor<*xf32> {
  %shape = onnx.Shape(%y) : (tensor<3x5xf32>) -> tensor<2xi64>
  // expected-error @below {{operand 'data' has 32 elements, the result 'tensor<3x5xf32>' has 15; they must be equal}}
  %0 = onnx.Reshape(%x, %shape) : (tensor<4x8xf32>, tensor<2xi64>) -> tensor<*xf32>
  %1 = onnx.Relu(%0) : (tensor<*xf32>) -> tensor<*xf32>
  return %1 : tensor<*xf32>
}

// -----

// The failure is told although bodies are tried under assumptions first.
func.func @body(%n: tensor<i64>, %c: tensor<i1>, %x: tensor<4x8xf32>, %w: tensor<9x8xf32>) -> tensor<*xf32> {
  %0 = onnx.Loop(%n, %c, %x) : (tensor<i64>, tensor<i1>, tensor<4x8xf32>) -> tensor<*xf32> {
  ^bb0(%i: tensor<i64>, %go: tensor<i1>, %a: tensor<*xf32>):
    %y = onnx.Relu(%w) : (tensor<9x8xf32>) -> tensor<*xf32>
    // expected-error @below {{does not fit its operands}}
    %1 = onnx.MatMul(%w, %y) : (tensor<9x8xf32>, tensor<*xf32>) -> tensor<*xf32>
    onnx.Yield %go, %a : tensor<i1>, tensor<*xf32>
  }
  return %0 : tensor<*xf32>
}
