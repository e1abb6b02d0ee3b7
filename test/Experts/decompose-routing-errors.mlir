// RUN: moe-opt %s --moe-decompose --split-input-file --verify-diagnostics
// RUN: not moe-opt %s --moe-decompose=opset=15 --split-input-file 2>&1 | FileCheck %s --check-prefix=OPSET

// OPSET: error: 'moe.load_stats' op cannot be written with the operators of opset 15; opset 16 or newer is accepted

func.func @unknown(%ids: tensor<?x2xi32>, %w: tensor<?x2xf32>) -> tensor<?xi64> {
  // expected-error @+1 {{cannot be written as ONNX operators: neither the results nor 'probs' tell the number of experts}}
  %c, %g, %p = moe.load_stats %ids, %w : tensor<?x2xi32>, tensor<?x2xf32> -> tensor<?xi64>, tensor<?xf64>, tensor<?xf64>
  return %c : tensor<?xi64>
}
