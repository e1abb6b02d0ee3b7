// RUN: moe-opt %s --moe-decompose --split-input-file --verify-diagnostics
// RUN: not moe-opt %s --moe-decompose=ops=moe.router 2>&1 | FileCheck %s --check-prefix=OPS
// OPS: error: cannot read 'ops=moe.router'; accepted are moe.experts, moe.dequantize
// RUN: not moe-opt %s --moe-decompose=form=dense 2>&1 | FileCheck %s --check-prefix=FORM
// FORM: dense

// The graphs have nodes or tables for each expert.
func.func @experts(%x: tensor<3x8xf32>, %ids: tensor<3x1xi32>, %w: tensor<3x1xf32>, %up: tensor<?x6x8xf32>, %down: tensor<?x8x6xf32>) -> tensor<3x8xf32> {
  // expected-error @+1 {{cannot be decomposed for a bank whose number of experts only the run knows; a static one is accepted}}
  %y = moe.experts %x route(%ids, %w : tensor<3x1xi32>, tensor<3x1xf32>)
      gate(%up : tensor<?x6x8xf32>) down(%down : tensor<?x8x6xf32>) : tensor<3x8xf32> -> tensor<3x8xf32> {
  ^bb0(%h: tensor<f32>):
    moe.yield %h : tensor<f32>
  }
  return %y : tensor<3x8xf32>
}
