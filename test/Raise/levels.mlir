// Plain nodes are recognised at every level but -O0; operators that are experts
// by name have to become moe ops at all of them.
// RUN: moe-compile %s --compile-to=raise -O0 -o - | FileCheck %s --check-prefix=PLAIN
// RUN: moe-compile %s --compile-to=raise -O1 -o - | FileCheck %s --check-prefix=RAISED

module attributes {onnx.opset_import = {ai.onnx = 18 : i64, com.microsoft = 1 : i64}} {
  func.func @main(%x: tensor<?x8xf32> {onnx.name = "x", onnx.dims = ["t", ""]},
                  %logits: tensor<?x4xf32> {onnx.name = "l", onnx.dims = ["t", ""]})
      -> (tensor<?x8xf32> {onnx.name = "y"}, tensor<?x2xf32> {onnx.name = "w"},
          tensor<?x2xi64> {onnx.name = "i"}) {
    %gate = onnx.Initializer "gate" = dense<0.5> : tensor<4x6x8xf32>
    %down = onnx.Initializer "down" = dense<0.5> : tensor<4x8x6xf32>
    // PLAIN: moe.experts
    // RAISED: moe.experts
    %y = onnx_ms.MoE(%x, %logits, %gate, _, %down) {activation_type = "relu", k = 2 : i64}
        : (tensor<?x8xf32>, tensor<?x4xf32>, tensor<4x6x8xf32>, tensor<4x8x6xf32>) -> tensor<?x8xf32>
    // PLAIN: onnx.TopK
    // RAISED: moe.route
    %k = onnx.Initializer "k" = dense<2> : tensor<1xi64>
    %s = onnx.Softmax(%logits) {axis = -1 : i64} : (tensor<?x4xf32>) -> tensor<?x4xf32>
    %w, %i = onnx.TopK(%s, %k) {axis = -1 : i64} : (tensor<?x4xf32>, tensor<1xi64>) -> (tensor<?x2xf32>, tensor<?x2xi64>)
    return %y, %w, %i : tensor<?x8xf32>, tensor<?x2xf32>, tensor<?x2xi64>
  }
}
