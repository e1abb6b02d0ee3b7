// RUN: moe-opt %s --onnx-to-linalg --split-input-file --verify-diagnostics

// Where a node could not be raised, the translation says what is accepted.
func.func @fp8(%x: tensor<5x32xf32>, %l: tensor<5x4xf32>, %w1: tensor<4x64x12xui8>, %s1: tensor<4x64xf32>, %w2: tensor<4x32x24xui8>, %s2: tensor<4x32xf32>) -> tensor<5x32xf32> {
  // expected-error @below {{has no lowering to host code for weights of fc1 in 3 bits; 2, 4 and 8 are accepted}}
  %0 = onnx_ms.QMoE(%x, %l, %w1, %s1, _, %w2, %s2) {expert_weight_bits = 3 : i64} : (tensor<5x32xf32>, tensor<5x4xf32>, tensor<4x64x12xui8>, tensor<4x64xf32>, tensor<4x32x24xui8>, tensor<4x32xf32>) -> tensor<5x32xf32>
  return %0 : tensor<5x32xf32>
}

// -----

func.func @not_raised(%x: tensor<5x8xf32>, %l: tensor<5x4xf32>, %w1: tensor<4x16x8xf32>, %w2: tensor<4x8x16xf32>) -> tensor<5x8xf32> {
  // expected-error @below {{is lowered as moe ops; run moe-raise-contrib before onnx-to-linalg}}
  %0 = onnx_ms.MoE(%x, %l, %w1, _, %w2) : (tensor<5x8xf32>, tensor<5x4xf32>, tensor<4x16x8xf32>, tensor<4x8x16xf32>) -> tensor<5x8xf32>
  return %0 : tensor<5x8xf32>
}
