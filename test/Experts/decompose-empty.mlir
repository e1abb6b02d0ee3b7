// No tokens, no slots, no experts: zeros, whatever the form.
// RUN: moe-opt %s --moe-decompose=form=gather | FileCheck %s
// RUN: moe-opt %s --moe-decompose=form=loop | FileCheck %s
// RUN: moe-opt %s --moe-decompose=form=grouped | FileCheck %s

// CHECK-LABEL: func.func @tokens
// CHECK: %[[Y:.*]] = onnx.ConstantOfShape{{.*}} -> tensor<0x8xf32>
// CHECK-NEXT: return %[[Y]]
func.func @tokens(%x: tensor<0x8xf32>, %ids: tensor<0x2xi32>, %w: tensor<0x2xf32>, %up: tensor<3x6x8xf32>, %down: tensor<3x8x6xf32>) -> tensor<0x8xf32> {
  %y = moe.experts %x route(%ids, %w : tensor<0x2xi32>, tensor<0x2xf32>)
      gate(%up : tensor<3x6x8xf32>) down(%down : tensor<3x8x6xf32>) : tensor<0x8xf32> -> tensor<0x8xf32> {
  ^bb0(%h: tensor<f32>):
    moe.yield %h : tensor<f32>
  }
  return %y : tensor<0x8xf32>
}

// CHECK-LABEL: func.func @slots
// CHECK-NOT: onnx.Gather(%arg3
// CHECK: %[[Y:.*]] = onnx.ConstantOfShape{{.*}} -> tensor<?x8xf32>
// CHECK-NEXT: return %[[Y]]
func.func @slots(%x: tensor<?x8xf32>, %ids: tensor<?x0xi32>, %w: tensor<?x0xf32>, %up: tensor<3x6x8xf32>, %down: tensor<3x8x6xf32>) -> tensor<?x8xf32> {
  %y = moe.experts %x route(%ids, %w : tensor<?x0xi32>, tensor<?x0xf32>)
      gate(%up : tensor<3x6x8xf32>) down(%down : tensor<3x8x6xf32>) : tensor<?x8xf32> -> tensor<?x8xf32> {
  ^bb0(%h: tensor<f32>):
    moe.yield %h : tensor<f32>
  }
  return %y : tensor<?x8xf32>
}

// CHECK-LABEL: func.func @experts
// CHECK: %[[Y:.*]] = onnx.ConstantOfShape{{.*}} -> tensor<?x8xf32>
// CHECK-NEXT: return %[[Y]]
func.func @experts(%x: tensor<?x8xf32>, %ids: tensor<?x1xi32>, %w: tensor<?x1xf32>, %up: tensor<0x6x8xf32>, %down: tensor<0x8x6xf32>) -> tensor<?x8xf32> {
  %y = moe.experts %x route(%ids, %w : tensor<?x1xi32>, tensor<?x1xf32>)
      gate(%up : tensor<0x6x8xf32>) down(%down : tensor<0x8x6xf32>) : tensor<?x8xf32> -> tensor<?x8xf32> {
  ^bb0(%h: tensor<f32>):
    moe.yield %h : tensor<f32>
  }
  return %y : tensor<?x8xf32>
}

// CHECK-LABEL: func.func @mix
// CHECK: onnx.ConstantOfShape{{.*}} -> tensor<0x8xf32>
func.func @mix(%c: tensor<0x4xf32>, %bank: tensor<4x8xf32>) -> tensor<0x8xf32> {
  %0 = moe.mix %c, %bank : tensor<0x4xf32>, tensor<4x8xf32> -> tensor<0x8xf32>
  return %0 : tensor<0x8xf32>
}
