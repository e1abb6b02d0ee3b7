// RUN: moe-opt %s --onnx-to-linalg --split-input-file --verify-diagnostics

func.func @unknown(%ids: tensor<?x2xi32>, %w: tensor<?x2xf32>) -> tensor<?xi64> {
  // expected-error @+1 {{has no lowering to host code for a number of experts that neither the results nor 'probs' tell}}
  %c, %g, %p = moe.load_stats %ids, %w : tensor<?x2xi32>, tensor<?x2xf32> -> tensor<?xi64>, tensor<?xf64>, tensor<?xf64>
  return %c : tensor<?xi64>
}
