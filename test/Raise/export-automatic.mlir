// Experts that com.microsoft.MoE computes exactly are written as such, without
// being asked; others become plain operators.
// RUN: moe-opt %s -o %t.onnx && moe-opt %t.onnx | FileCheck %s

module attributes {onnx.opset_import = {ai.onnx = 18 : i64}} {
  // CHECK-LABEL: func.func @main
  func.func @main(%x: tensor<?x8xf32> {onnx.name = "x", onnx.dims = ["t", ""]},
                  %logits: tensor<?x4xf32> {onnx.name = "l", onnx.dims = ["t", ""]})
      -> (tensor<?x8xf32> {onnx.name = "y"}, tensor<?x8xf32> {onnx.name = "z"},
          tensor<?x8xf32> {onnx.name = "u"}) {
    %gate = onnx.Initializer "gate" = dense<0.5> : tensor<4x6x8xf32>
    %down = onnx.Initializer "down" = dense<0.5> : tensor<4x8x6xf32>
    // CHECK: onnx_ms.MoE
    // CHECK-SAME: activation_type = "relu"
    // CHECK-NOT: onnx_ms.MoE
    // CHECK: onnx.TopK
    // CHECK-NOT: onnx_ms.MoE
    // CHECK: return
    %ids, %w = moe.route %logits {routing = #moe.routing<k = 2, tie = highest>}
        : tensor<?x4xf32> -> tensor<?x2xi32>, tensor<?x2xf32>
    %y = moe.experts %x route(%ids, %w : tensor<?x2xi32>, tensor<?x2xf32>)
        gate(%gate : tensor<4x6x8xf32>) down(%down : tensor<4x8x6xf32>)
        : tensor<?x8xf32> -> tensor<?x8xf32> {
    ^bb0(%h: tensor<f32>):
      %a = onnx.Relu(%h) : (tensor<f32>) -> tensor<f32>
      moe.yield %a : tensor<f32>
    }
    // The operator takes the last of equal scores, this router the first.
    %ids2, %w2 = moe.route %logits {routing = #moe.routing<k = 2>}
        : tensor<?x4xf32> -> tensor<?x2xi32>, tensor<?x2xf32>
    %z = moe.experts %x route(%ids2, %w2 : tensor<?x2xi32>, tensor<?x2xf32>)
        gate(%gate : tensor<4x6x8xf32>) down(%down : tensor<4x8x6xf32>)
        : tensor<?x8xf32> -> tensor<?x8xf32> {
    ^bb0(%h: tensor<f32>):
      %a = onnx.Relu(%h) : (tensor<f32>) -> tensor<f32>
      moe.yield %a : tensor<f32>
    }
    // ONNX Runtime's CPU provider takes a sparse mixer for a plain router.
    %ids3, %w3 = moe.route %logits {routing = #moe.routing<k = 2, score = sparsemixer, jitter = 0.01>}
        : tensor<?x4xf32> -> tensor<?x2xi32>, tensor<?x2xf32>
    %u = moe.experts %x route(%ids3, %w3 : tensor<?x2xi32>, tensor<?x2xf32>)
        gate(%gate : tensor<4x6x8xf32>) down(%down : tensor<4x8x6xf32>)
        : tensor<?x8xf32> -> tensor<?x8xf32> {
    ^bb0(%h: tensor<f32>):
      %a = onnx.Relu(%h) : (tensor<f32>) -> tensor<f32>
      moe.yield %a : tensor<f32>
    }
    return %y, %z, %u : tensor<?x8xf32>, tensor<?x8xf32>, tensor<?x8xf32>
  }
}
