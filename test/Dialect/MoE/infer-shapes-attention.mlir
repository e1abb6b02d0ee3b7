// RUN: moe-opt %s --onnx-infer-shapes | FileCheck %s

// CHECK-LABEL: func.func @attention
func.func @attention(%q: tensor<?x4x?x8xf32> {onnx.dims = ["b", "", "s", ""]},
                     %k: tensor<?x2x?x8xf32> {onnx.dims = ["b", "", "l", ""]},
                     %v: tensor<?x2x?x6xf32> {onnx.dims = ["b", "", "l", ""]})
    -> (tensor<?x?x?x?xf32>, tensor<?x?x?x?xf32>, tensor<?x?x?x?xf32>) {
  // CHECK: moe.attention{{.*}}onnx.dims = {{\[\[}}"b", "", "s", ""], ["b", "", "", "l"]]{{.*}} -> tensor<?x4x?x6xf32>, tensor<?x4x1x?xf32>
  %o, %p = moe.attention %q, %k, %v {scale = 1.0, probs_first = -1, probs_count = 1}
      : tensor<?x4x?x8xf32>, tensor<?x2x?x8xf32>, tensor<?x2x?x6xf32> -> tensor<?x?x?x?xf32>, tensor<?x?x?x?xf32>
  // CHECK: moe.norm{{.*}}onnx.dims = {{\[\[}}"b", "", "s", ""]]{{.*}} -> tensor<?x4x?x8xf32>
  %n = moe.norm %q {kind = #moe.norm_kind<rms>, epsilon = 1.0e-6} : tensor<?x4x?x8xf32> -> tensor<?x?x?x?xf32>
  return %o, %p, %n : tensor<?x?x?x?xf32>, tensor<?x?x?x?xf32>, tensor<?x?x?x?xf32>
}
