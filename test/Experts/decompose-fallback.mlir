// What has no lowering of its own is compiled as plain operators, and a remark
// tells of each such op; what has one stays.
// RUN: moe-opt %s --moe-decompose=fallback=true --remarks-filter=lower 2>&1 | FileCheck %s
// RUN: moe-compile %s --compile-to=schedule -o - | FileCheck %s --check-prefix=PHASE

// CHECK: decompose-fallback.mlir:[[@LINE+7]]:8: remark: [Missed] moe-decompose | Category:lower | Function=main | Reason="moe.mix has no lowering of its own and is compiled as plain ONNX operators"
// CHECK: onnx.MatMul
// PHASE-NOT: moe.mix
// PHASE: onnx.MatMul

func.func @main(%c: tensor<2x4xf32> {onnx.name = "c"}, %bank: tensor<4x8xf32> {onnx.name = "bank"}) -> (tensor<2x8xf32> {onnx.name = "y"}) {
  // The line of the remark.
  %0 = moe.mix %c, %bank : tensor<2x4xf32>, tensor<4x8xf32> -> tensor<2x8xf32>
  return %0 : tensor<2x8xf32>
}
