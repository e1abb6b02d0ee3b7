// RUN: moe-opt %s --moe-raise-contrib --split-input-file --verify-diagnostics --remark-format=emitRemark --remarks-filter-missed=raise
// RUN: moe-opt %s --moe-raise-contrib --split-input-file | FileCheck %s

// What the compiler cannot run stays and says why.
// CHECK-NOT: moe.experts

func.func @case_1(%x: tensor<5x8xf32>, %p: tensor<5x4xf32>, %w1: tensor<4x16x8xf32>, %w2: tensor<4x8x16xf32>) {
  // expected-remark @below {{MoE has use_sparse_mixer = 1 with k = 1; k = 2 is accepted with it}}
  %0 = onnx_ms.MoE(%x, %p, %w1, _, %w2) {use_sparse_mixer = 1 : i64} : (tensor<5x8xf32>, tensor<5x4xf32>, tensor<4x16x8xf32>, tensor<4x8x16xf32>) -> tensor<5x8xf32>
  return
}

// -----

func.func @case_2(%x: tensor<5x8xf32>, %p: tensor<5x4xf32>, %w1: tensor<4x16x8xf32>, %w2: tensor<4x8x16xf32>) {
  // expected-remark @below {{with swiglu_fusion = 0 and without fc3_experts_weights; it is needed there}}
  %0 = onnx_ms.MoE(%x, %p, %w1, _, %w2) {activation_type = "swiglu"} : (tensor<5x8xf32>, tensor<5x4xf32>, tensor<4x16x8xf32>, tensor<4x8x16xf32>) -> tensor<5x8xf32>
  return
}

// -----

func.func @case_3(%x: tensor<5x8xf32>, %p: tensor<5x4xf32>, %w1: tensor<4x32x8xf32>, %w2: tensor<4x8x16xf32>, %w3: tensor<4x16x8xf32>) {
  // expected-remark @below {{fc3_experts_weights with swiglu_fusion = 2; swiglu_fusion = 0 is accepted with it}}
  %0 = onnx_ms.MoE(%x, %p, %w1, _, %w2, _, %w3) {activation_type = "swiglu", swiglu_fusion = 2 : i64} : (tensor<5x8xf32>, tensor<5x4xf32>, tensor<4x32x8xf32>, tensor<4x8x16xf32>, tensor<4x16x8xf32>) -> tensor<5x8xf32>
  return
}

// -----

func.func @case_4(%x: tensor<5x8xf32>, %p: tensor<5x4xf32>, %w1: tensor<4x16x8xf32>, %w2: tensor<4x8x16xf32>) {
  // expected-remark @below {{with swiglu_fusion = 0; 1 and 2 (gates and ups in fc1) are accepted with it}}
  %0 = onnx_ms.MoE(%x, %p, %w1, _, %w2) {activation_type = "geglu"} : (tensor<5x8xf32>, tensor<5x4xf32>, tensor<4x16x8xf32>, tensor<4x8x16xf32>) -> tensor<5x8xf32>
  return
}

// -----

func.func @case_5(%x: tensor<5x8xf32>, %p: tensor<5x4xf32>, %w1: tensor<4x16x8xf32>, %w2: tensor<4x8x16xf32>, %b3: tensor<4x16xf32>) {
  // expected-remark @below {{a bias, scales or zero points of fc3 without fc3_experts_weights; they are accepted together}}
  %0 = onnx_ms.MoE(%x, %p, %w1, _, %w2, _, _, %b3) : (tensor<5x8xf32>, tensor<5x4xf32>, tensor<4x16x8xf32>, tensor<4x8x16xf32>, tensor<4x16xf32>) -> tensor<5x8xf32>
  return
}

// -----

func.func @case_6(%x: tensor<*xf32>, %p: tensor<5x4xf32>, %w1: tensor<4x16x8xf32>, %w2: tensor<4x8x16xf32>) {
  // expected-remark @below {{operand #0 of unknown rank; operands whose rank is known (onnx-infer-shapes) are accepted}}
  %0 = onnx_ms.MoE(%x, %p, %w1, _, %w2) : (tensor<*xf32>, tensor<5x4xf32>, tensor<4x16x8xf32>, tensor<4x8x16xf32>) -> tensor<5x8xf32>
  return
}

// -----

func.func @case_7(%x: tensor<5x8xf32>, %p: tensor<5x4xf32>, %w1: tensor<4x16x8xf32>, %w2: tensor<4x8x16xf32>) {
  // expected-remark @below {{a result of unknown rank}}
  %0 = onnx_ms.MoE(%x, %p, %w1, _, %w2) : (tensor<5x8xf32>, tensor<5x4xf32>, tensor<4x16x8xf32>, tensor<4x8x16xf32>) -> tensor<*xf32>
  return
}

// -----

func.func @case_8(%x: tensor<5x32xf32>, %p: tensor<5x4xf32>, %w1: tensor<4x64x32xf8E4M3FN>, %s1: tensor<4x64xf32>, %w2: tensor<4x32x64xf8E4M3FN>, %s2: tensor<4x32xf32>) {
  // expected-remark @below {{; "int" is accepted}}
  %0 = onnx_ms.QMoE(%x, %p, %w1, %s1, _, %w2, %s2) {quant_type = "fp8"} : (tensor<5x32xf32>, tensor<5x4xf32>, tensor<4x64x32xf8E4M3FN>, tensor<4x64xf32>, tensor<4x32x64xf8E4M3FN>, tensor<4x32xf32>) -> tensor<5x32xf32>
  return
}

// -----

func.func @case_9(%x: tensor<5x32xf32>, %p: tensor<5x4xf32>, %w1: tensor<4x64x16xui8>, %s1: tensor<4x64xf32>, %w2: tensor<4x32x32xui8>, %s2: tensor<4x32xf32>) {
  // expected-remark @below {{QMoE has quant_type = "fp4"; "int" is accepted}}
  %0 = onnx_ms.QMoE(%x, %p, %w1, %s1, _, %w2, %s2) {quant_type = "fp4"} : (tensor<5x32xf32>, tensor<5x4xf32>, tensor<4x64x16xui8>, tensor<4x64xf32>, tensor<4x32x32xui8>, tensor<4x32xf32>) -> tensor<5x32xf32>
  return
}

// -----

func.func @case_10(%x: tensor<5x32xf32>, %p: tensor<5x4xf32>, %w1: tensor<4x64x16xui8>, %s1: tensor<4x64xf32>, %w2: tensor<4x32x32xui8>, %s2: tensor<4x32xf32>) {
  // expected-remark @below {{QMoE has quant_type = "nvfp4"; "int" is accepted}}
  %0 = onnx_ms.QMoE(%x, %p, %w1, %s1, _, %w2, %s2) {quant_type = "nvfp4"} : (tensor<5x32xf32>, tensor<5x4xf32>, tensor<4x64x16xui8>, tensor<4x64xf32>, tensor<4x32x32xui8>, tensor<4x32xf32>) -> tensor<5x32xf32>
  return
}

// -----

func.func @case_11(%x: tensor<5x32xf32>, %p: tensor<5x4xf32>, %w1: tensor<4x64x16xui8>, %s1: tensor<4x64xf32>, %w2: tensor<4x32x32xui8>, %s2: tensor<4x32xf32>) {
  // expected-remark @below {{QMoE has quant_type = "wfp4afp8"; "int" is accepted}}
  %0 = onnx_ms.QMoE(%x, %p, %w1, %s1, _, %w2, %s2) {quant_type = "wfp4afp8"} : (tensor<5x32xf32>, tensor<5x4xf32>, tensor<4x64x16xui8>, tensor<4x64xf32>, tensor<4x32x32xui8>, tensor<4x32xf32>) -> tensor<5x32xf32>
  return
}

// -----

func.func @case_12(%x: tensor<5x32xf32>, %p: tensor<5x4xf32>, %w1: tensor<4x64x12xui8>, %s1: tensor<4x64xf32>, %w2: tensor<4x32x24xui8>, %s2: tensor<4x32xf32>) {
  // expected-remark @below {{weights of fc1 in 3 bits; 2, 4 and 8 are accepted}}
  %0 = onnx_ms.QMoE(%x, %p, %w1, %s1, _, %w2, %s2) {expert_weight_bits = 3 : i64} : (tensor<5x32xf32>, tensor<5x4xf32>, tensor<4x64x12xui8>, tensor<4x64xf32>, tensor<4x32x24xui8>, tensor<4x32xf32>) -> tensor<5x32xf32>
  return
}

// -----

func.func @case_13(%x: tensor<5x32xf32>, %p: tensor<5x4xf32>, %w1: tensor<4x64x16xui8>, %s1: tensor<4x64xf32>, %w2: tensor<4x32x24xui8>, %s2: tensor<4x32xf32>) {
  // expected-remark @below {{weights of fc2 in 3 bits; 2, 4 and 8 are accepted}}
  %0 = onnx_ms.QMoE(%x, %p, %w1, %s1, _, %w2, %s2) {fc2_expert_weight_bits = 3 : i64} : (tensor<5x32xf32>, tensor<5x4xf32>, tensor<4x64x16xui8>, tensor<4x64xf32>, tensor<4x32x24xui8>, tensor<4x32xf32>) -> tensor<5x32xf32>
  return
}

// -----

func.func @case_14(%x: tensor<5x32xf32>, %p: tensor<5x4xf32>, %w1: tensor<4x64x16xui8>, %s1: tensor<4x64xf32>, %w2: tensor<4x32x32xui8>, %s2: tensor<4x32xf32>) {
  // expected-remark @below {{weights_prepacked = 1, a layout of one device; 0 and -1 (rows as the schema has them) are accepted}}
  %0 = onnx_ms.QMoE(%x, %p, %w1, %s1, _, %w2, %s2) {weights_prepacked = 1 : i64} : (tensor<5x32xf32>, tensor<5x4xf32>, tensor<4x64x16xui8>, tensor<4x64xf32>, tensor<4x32x32xui8>, tensor<4x32xf32>) -> tensor<5x32xf32>
  return
}

// -----

func.func @case_15(%x: tensor<5x32xf32>, %p: tensor<5x4xf32>, %w1: tensor<4x64x16xui8>, %s1: tensor<4x64xf32>, %w2: tensor<4x32x32xui8>) {
  // expected-remark @below {{no operand 'fc2_scales'; it is needed}}
  %0 = onnx_ms.QMoE(%x, %p, %w1, %s1, _, %w2) : (tensor<5x32xf32>, tensor<5x4xf32>, tensor<4x64x16xui8>, tensor<4x64xf32>, tensor<4x32x32xui8>) -> tensor<5x32xf32>
  return
}

// -----

func.func @case_16(%x: tensor<5x32xf32>, %p: tensor<5x4xf32>, %w1: tensor<4x64x16xf8E4M3FN>, %s1: tensor<4x64xf32>, %w2: tensor<4x32x32xf8E4M3FN>, %s2: tensor<4x32xf32>) {
  // expected-remark @below {{weights of fc1 with elements of type float8e4m3fn; uint8 is accepted}}
  %0 = onnx_ms.QMoE(%x, %p, %w1, %s1, _, %w2, %s2) : (tensor<5x32xf32>, tensor<5x4xf32>, tensor<4x64x16xf8E4M3FN>, tensor<4x64xf32>, tensor<4x32x32xf8E4M3FN>, tensor<4x32xf32>) -> tensor<5x32xf32>
  return
}

// -----

func.func @case_17(%x: tensor<5x32xf32>, %p: tensor<5x4xf32>, %w1: tensor<4x64x16xui8>, %s1: tensor<4x64xui8>, %w2: tensor<4x32x32xui8>, %s2: tensor<4x32xui8>) {
  // expected-remark @below {{scales of fc1 with elements of type uint8; float, float16 and bfloat16 are accepted}}
  %0 = onnx_ms.QMoE(%x, %p, %w1, %s1, _, %w2, %s2) : (tensor<5x32xf32>, tensor<5x4xf32>, tensor<4x64x16xui8>, tensor<4x64xui8>, tensor<4x32x32xui8>, tensor<4x32xui8>) -> tensor<5x32xf32>
  return
}

// -----

func.func @case_18(%x: tensor<5x32xf32>, %p: tensor<5x4xf32>, %w1: tensor<4x64x16xui8>, %s1: tensor<4x64xf32>, %w2: tensor<4x32x32xui8>, %s2: tensor<4x32xf32>, %g1: tensor<4xf32>) {
  // expected-remark @below {{operand 'fc1_global_scale'; scales of rows or blocks of weights are accepted}}
  %0 = onnx_ms.QMoE(%x, %p, %w1, %s1, _, %w2, %s2, _, _, _, _, _, _, _, _, %g1) : (tensor<5x32xf32>, tensor<5x4xf32>, tensor<4x64x16xui8>, tensor<4x64xf32>, tensor<4x32x32xui8>, tensor<4x32xf32>, tensor<4xf32>) -> tensor<5x32xf32>
  return
}

// -----

func.func @case_19(%x: tensor<5x32xf32>, %p: tensor<5x4xf32>, %w1: tensor<4x64x16xui8>, %s1: tensor<4x64xf32>, %w2: tensor<4x32x32xui8>, %s2: tensor<4x32xf32>, %g2: tensor<4xf32>) {
  // expected-remark @below {{operand 'fc2_global_scale'; scales of rows or blocks of weights are accepted}}
  %0 = onnx_ms.QMoE(%x, %p, %w1, %s1, _, %w2, %s2, _, _, _, _, _, _, _, _, _, %g2) : (tensor<5x32xf32>, tensor<5x4xf32>, tensor<4x64x16xui8>, tensor<4x64xf32>, tensor<4x32x32xui8>, tensor<4x32xf32>, tensor<4xf32>) -> tensor<5x32xf32>
  return
}

// -----

func.func @case_20(%x: tensor<5x32xf32>, %p: tensor<5x4xf32>, %w1: tensor<4x64x16xui8>, %s1: tensor<4x64xf32>, %w2: tensor<4x32x32xui8>, %s2: tensor<4x32xf32>, %a1: tensor<4xf32>) {
  // expected-remark @below {{operand 'fc1_act_scale'; scales of rows or blocks of weights are accepted}}
  %0 = onnx_ms.QMoE(%x, %p, %w1, %s1, _, %w2, %s2, _, _, _, _, _, _, _, _, _, _, %a1) : (tensor<5x32xf32>, tensor<5x4xf32>, tensor<4x64x16xui8>, tensor<4x64xf32>, tensor<4x32x32xui8>, tensor<4x32xf32>, tensor<4xf32>) -> tensor<5x32xf32>
  return
}

// -----

func.func @case_21(%x: tensor<5x32xf32>, %p: tensor<5x4xf32>, %w1: tensor<4x64x16xui8>, %s1: tensor<4x64xf32>, %w2: tensor<4x32x32xui8>, %s2: tensor<4x32xf32>, %a2: tensor<4xf32>) {
  // expected-remark @below {{operand 'fc2_act_scale'; scales of rows or blocks of weights are accepted}}
  %0 = onnx_ms.QMoE(%x, %p, %w1, %s1, _, %w2, %s2, _, _, _, _, _, _, _, _, _, _, _, %a2) : (tensor<5x32xf32>, tensor<5x4xf32>, tensor<4x64x16xui8>, tensor<4x64xf32>, tensor<4x32x32xui8>, tensor<4x32xf32>, tensor<4xf32>) -> tensor<5x32xf32>
  return
}

// -----

func.func @case_22(%x: tensor<5x32xf32>, %p: tensor<5x4xf32>, %w1: tensor<4x64x16xui8>, %s1: tensor<4x64xf32>, %w2: tensor<4x32x32xui8>, %s2: tensor<4x32xf32>, %ab1: tensor<4x64xf32>) {
  // expected-remark @below {{operand 'fc1_act_block_scale'; scales of rows or blocks of weights are accepted}}
  %0 = onnx_ms.QMoE(%x, %p, %w1, %s1, _, %w2, %s2, _, _, _, _, _, _, _, _, _, _, _, _, %ab1) : (tensor<5x32xf32>, tensor<5x4xf32>, tensor<4x64x16xui8>, tensor<4x64xf32>, tensor<4x32x32xui8>, tensor<4x32xf32>, tensor<4x64xf32>) -> tensor<5x32xf32>
  return
}

// -----

func.func @case_23(%x: tensor<5x32xf32>, %p: tensor<5x4xf32>, %w1: tensor<4x64x16xui8>, %s1: tensor<4x64xf32>, %w2: tensor<4x32x32xui8>, %s2: tensor<4x32xf32>, %ab2: tensor<4x32xf32>) {
  // expected-remark @below {{operand 'fc2_act_block_scale'; scales of rows or blocks of weights are accepted}}
  %0 = onnx_ms.QMoE(%x, %p, %w1, %s1, _, %w2, %s2, _, _, _, _, _, _, _, _, _, _, _, _, _, %ab2) : (tensor<5x32xf32>, tensor<5x4xf32>, tensor<4x64x16xui8>, tensor<4x64xf32>, tensor<4x32x32xui8>, tensor<4x32xf32>, tensor<4x32xf32>) -> tensor<5x32xf32>
  return
}

// -----

func.func @case_24(%x: tensor<5x32xf32>, %p: tensor<5x4xf32>, %w1: tensor<4x64x16xui8>, %s1: tensor<4x64xf32>, %w2: tensor<4x32x32xui8>, %s2: tensor<4x32xf32>, %r: tensor<5x4xf32>) {
  // expected-remark @below {{use_sparse_mixer = 1 with operand 'router_weights'; one of them is accepted}}
  %0 = onnx_ms.QMoE(%x, %p, %w1, %s1, _, %w2, %s2, _, _, _, _, _, _, _, %r) {k = 2 : i64, use_sparse_mixer = 1 : i64} : (tensor<5x32xf32>, tensor<5x4xf32>, tensor<4x64x16xui8>, tensor<4x64xf32>, tensor<4x32x32xui8>, tensor<4x32xf32>, tensor<5x4xf32>) -> tensor<5x32xf32>
  return
}
