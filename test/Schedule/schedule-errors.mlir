// What is left as it is, or decoded as a whole, and why.
// RUN: moe-opt %s --moe-schedule --split-input-file --remark-format=emitRemark --remarks-filter-missed=schedule 2>&1 | FileCheck %s
// RUN: moe-opt %s --moe-schedule --moe-decompose=fallback=true --split-input-file | FileCheck %s --check-prefix=FALLBACK

// Gate and up of different kinds; the down projection by inputs.
// CHECK: remark: [Missed] moe-schedule | Category:schedule | Function=whole | Reason="bank 'gate' is decoded as a whole: gate and up are read in step and are no codes of one kind"
// CHECK: remark: [Missed] moe-schedule | Category:schedule | Function=whole | Reason="bank 'up' is decoded as a whole: gate and up are read in step and are no codes of one kind"
// CHECK: remark: [Missed] moe-schedule | Category:schedule | Function=whole | Reason="bank 'down' is decoded as a whole: its rows are those of inputs (layout = io)"
// CHECK: remark: [Missed] moe-schedule | Category:schedule | Function=extents | Reason="experts are not scheduled: its weights have unknown extents"
// CHECK: remark: [Missed] moe-schedule | Category:schedule | Function=large | Reason="experts are not scheduled: its activation: 'onnx.Constant' op is a constant whose value is not known here; one number in the IR is accepted"

// CHECK-LABEL: func.func @whole(
// CHECK-COUNT-2: moe.dequantize
// CHECK: moe.grouped_ffn {{.*}} gate(%{{[0-9]+}} : tensor<1x8x8xf32>) up(%{{[0-9]+}} : tensor<1x8x8xf32>) down(
// CHECK: moe.dequantize
// CHECK: moe.grouped_ffn {{.*}} down(%{{[0-9]+}} : tensor<1x8x8xf32>) {layout = #moe.layout<io>}
func.func @whole(%x: tensor<?x8xf32>, %q: tensor<1x8x8xui8>, %p: tensor<1x8x4xui8>, %s: tensor<1x8xf32>, %w: tensor<1x8x8xf32>) -> tensor<?x8xf32> {
  %g = moe.dequantize %q, %s {bits = 8} : tensor<1x8x8xui8>, tensor<1x8xf32> -> tensor<1x8x8xf32>
  %u = moe.dequantize %p, %s {bits = 4} : tensor<1x8x4xui8>, tensor<1x8xf32> -> tensor<1x8x8xf32>
  %y = moe.experts %x gate(%g : tensor<1x8x8xf32>) up(%u : tensor<1x8x8xf32>) down(%w : tensor<1x8x8xf32>)
      {gate_up = #moe.gate_up<separate>} : tensor<?x8xf32> -> tensor<?x8xf32> {
  ^bb0(%a: tensor<f32>, %b: tensor<f32>):
    %h = onnx.Mul(%a, %b) : (tensor<f32>, tensor<f32>) -> tensor<f32>
    moe.yield %h : tensor<f32>
  }
  %d = moe.dequantize %q, %s {bits = 8} : tensor<1x8x8xui8>, tensor<1x8xf32> -> tensor<1x8x8xf32>
  %z = moe.experts %y gate(%w : tensor<1x8x8xf32>) down(%d : tensor<1x8x8xf32>)
      {layout = #moe.layout<io>} : tensor<?x8xf32> -> tensor<?x8xf32> {
  ^bb0(%h: tensor<f32>):
    moe.yield %h : tensor<f32>
  }
  return %z : tensor<?x8xf32>
}

// -----

// CHECK-LABEL: func.func @extents(
// CHECK-NOT: moe.plan
// CHECK: moe.experts
// FALLBACK-LABEL: func.func @extents(
// FALLBACK-NOT: moe.
// FALLBACK: onnx.Gemm
func.func @extents(%x: tensor<?x8xf32>, %ids: tensor<?x1xi32>, %w: tensor<?x1xf32>, %a: tensor<2x?x8xf32>, %b: tensor<2x8x?xf32>) -> tensor<?x8xf32> {
  %y = moe.experts %x route(%ids, %w : tensor<?x1xi32>, tensor<?x1xf32>) gate(%a : tensor<2x?x8xf32>) down(%b : tensor<2x8x?xf32>)
      : tensor<?x8xf32> -> tensor<?x8xf32> {
  ^bb0(%h: tensor<f32>):
    moe.yield %h : tensor<f32>
  }
  return %y : tensor<?x8xf32>
}

// -----

// CHECK-LABEL: func.func @large(
// CHECK: moe.experts
// FALLBACK-LABEL: func.func @large(
// FALLBACK: onnx.Mul
func.func @large(%x: tensor<?x8xf32>, %a: tensor<1x8x8xf32>) -> tensor<?x8xf32> {
  %y = moe.experts %x gate(%a : tensor<1x8x8xf32>) down(%a : tensor<1x8x8xf32>) : tensor<?x8xf32> -> tensor<?x8xf32> {
  ^bb0(%h: tensor<f32>):
    %c = onnx.Constant() {value = dense_resource<one> : tensor<f32>} : () -> tensor<f32>
    %m = onnx.Mul(%h, %c) : (tensor<f32>, tensor<f32>) -> tensor<f32>
    moe.yield %m : tensor<f32>
  }
  return %y : tensor<?x8xf32>
}

{-#
  dialect_resources: {
    builtin: {
      one: "0x040000000000803F"
    }
  }
#-}
