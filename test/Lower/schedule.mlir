// Buffers of a layer, and what is checked. What is computed is tested in
// Integration/experts.py and kernels.py.
// RUN: moe-opt %s --onnx-to-linalg --canonicalize --cse --split-input-file | FileCheck %s

// Each expert's slots are counted, then placed. Rows have 16 floats of padding
// and stay where they are from one op to the next: no copy but the gather.
// CHECK-LABEL: func.func @routed(
// CHECK: rt.check %{{.*}}, "plan: an id is out of range; [-1, 4) is accepted"
// CHECK: %[[OFF:.*]] = memref.alloc() : memref<4xindex>
// CHECK: %[[CUR:.*]] = memref.alloc() : memref<4xindex>
// CHECK: %[[TOK:.*]] = memref.alloc(%[[S:.*]]) : memref<?xindex>
// CHECK: %[[POS:.*]] = memref.alloc(%{{.*}}) : memref<?x2xindex>
// CHECK: scf.for
// CHECK: scf.for
// CHECK: %[[COUNT:.*]] = memref.load %[[OFF]][%c3]
// CHECK: %[[ROWS:.*]] = memref.alloc(%[[S]]) : memref<?x80xf32>
// CHECK: %[[OUT:.*]] = memref.subview %[[ROWS]][0, 0] [%[[COUNT]], 64] [1, 1]
// CHECK: %[[FROM:.*]] = memref.subview %[[TOK]][0] [%[[COUNT]]] [1]
// CHECK: linalg.generic {{.*}} ins(%[[FROM]] :{{.*}}) outs(%[[OUT]] :
// CHECK-NOT: linalg.generic
// CHECK: %[[HIDDEN:.*]] = memref.alloc(%[[S]]) : memref<?x144xf32>
// CHECK: moe.grouped_linear rows(%[[ROWS]] : memref<?x80xf32>) offsets(%[[OFF]] : memref<4xindex>)
// CHECK-SAME: out(%[[HIDDEN]] :
// CHECK-NEXT: ^bb0(%[[V:.*]]: f32):
// CHECK-NEXT: %[[A:.*]] = arith.maximumf %[[V]], %{{.*}} : f32
// CHECK-NEXT: moe.yield %[[A]] : f32
// CHECK: %[[RES:.*]] = memref.alloc(%[[S]]) : memref<?x48xf32>
// CHECK: moe.grouped_linear rows(%[[HIDDEN]] : memref<?x144xf32>) offsets(%[[OFF]] : memref<4xindex>)
// CHECK-SAME: out(%[[RES]] :
// CHECK-NOT: linalg.generic
// CHECK: %[[SUMS:.*]] = memref.alloc(%{{.*}}) : memref<?x32xf32>
// CHECK: moe.combine_rows rows(%[[RES]] : memref<?x48xf32>) positions(%[[POS]] : memref<?x2xindex>) weights(%{{.*}} : memref<?x2xf32>) out(%[[SUMS]] : memref<?x32xf32>)
// CHECK-NEXT: %[[Y:.*]] = bufferization.to_tensor %[[SUMS]]
// CHECK-NEXT: return %[[Y]]
func.func @routed(%x: tensor<?x64xf32> {onnx.dims = ["t", ""]}, %ids: tensor<?x2xi32> {onnx.dims = ["t", ""]},
                  %w: tensor<?x2xf32> {onnx.dims = ["t", ""]}, %up: tensor<3x128x64xf32>,
                  %down: tensor<3x32x128xf32>) -> tensor<?x32xf32> {
  %offsets, %tokens, %positions = moe.plan %ids {experts = 3, logical = 4}
      : tensor<?x2xi32> -> tensor<4xindex>, tensor<?xindex>, tensor<?x2xindex>
  %rows = moe.dispatch %x plan(%offsets, %tokens, %positions : tensor<4xindex>, tensor<?xindex>, tensor<?x2xindex>)
      : tensor<?x64xf32> -> tensor<?x64xf32>
  %results = moe.grouped_ffn %rows offsets(%offsets : tensor<4xindex>) gate(%up : tensor<3x128x64xf32>)
      down(%down : tensor<3x32x128xf32>) : tensor<?x64xf32> -> tensor<?x32xf32> {
  ^bb0(%v: f32):
    %zero = arith.constant 0.0 : f32
    %a = arith.maximumf %v, %zero : f32
    moe.yield %a : f32
  }
  %y = moe.combine %results at(%positions : tensor<?x2xindex>) weights(%w : tensor<?x2xf32>)
      : tensor<?x32xf32> -> tensor<?x32xf32>
  return %y : tensor<?x32xf32>
}

// -----

// Extents that nothing says are equal. Weights on the side of the input are
// brought into the order of rows.
// CHECK-LABEL: func.func @scaled(
// CHECK-DAG: rt.check %{{.*}}, "dispatch: x and the experts differ in their width"
// CHECK-DAG: rt.check %{{.*}}, "dispatch: x and ids differ in their tokens"
// CHECK-DAG: rt.check %{{.*}}, "dispatch: ids and weights differ in their tokens"
// CHECK-DAG: rt.check %{{.*}}, "dispatch: ids and weights differ in their slots"
// CHECK: scf.if
// CHECK: memref.store %{{.*}} : memref<?xf32>
// CHECK: linalg.generic
// CHECK: arith.mulf
// CHECK: arith.mulf
// CHECK-NOT: weights(
// CHECK: moe.combine_rows
// CHECK: arith.truncf %{{.*}} : f32 to f16
func.func @scaled(%x: tensor<?x?xf16>, %ids: tensor<?x?xi32>, %w: tensor<?x?xf64>, %up: tensor<3x128x64xf32>,
                  %down: tensor<3x32x128xf32>) -> tensor<?x32xf16> {
  %offsets, %tokens, %positions = moe.plan %ids {experts = 3}
      : tensor<?x?xi32> -> tensor<4xindex>, tensor<?xindex>, tensor<?x?xindex>
  %rows = moe.dispatch %x plan(%offsets, %tokens, %positions : tensor<4xindex>, tensor<?xindex>, tensor<?x?xindex>)
      weights(%w : tensor<?x?xf64>) {in_scale = 0.5} : tensor<?x?xf16> -> tensor<?x64xf32>
  %results = moe.grouped_ffn %rows offsets(%offsets : tensor<4xindex>) gate(%up : tensor<3x128x64xf32>)
      down(%down : tensor<3x32x128xf32>) : tensor<?x64xf32> -> tensor<?x32xf32> {
  ^bb0(%v: f32):
    moe.yield %v : f32
  }
  %y = moe.combine %results at(%positions : tensor<?x?xindex>) : tensor<?x32xf32> -> tensor<?x32xf16>
  return %y : tensor<?x32xf16>
}

// -----

// Results of a plan may be used elsewhere: as tensors, without padding.
// CHECK-LABEL: func.func @seen(
// CHECK: %[[ROWS:.*]] = memref.alloc(%{{.*}}) : memref<?x48xf32>
// CHECK: linalg.generic
// CHECK: %[[COPY:.*]] = memref.alloc(%{{.*}}) : memref<?x8xf32>
// CHECK: linalg.generic {{.*}} outs(%[[COPY]] :
// CHECK: %[[T:.*]] = bufferization.to_tensor %[[COPY]]
// CHECK: moe.grouped_linear rows(%[[ROWS]] :
// CHECK: return %[[T]]
func.func @seen(%x: tensor<?x8xf32>, %ids: tensor<?x1xi32>, %a: tensor<2x8x8xf32>) -> (tensor<?x8xf32>, tensor<?x8xf16>) {
  %offsets, %tokens, %positions = moe.plan %ids {experts = 2}
      : tensor<?x1xi32> -> tensor<3xindex>, tensor<?xindex>, tensor<?x1xindex>
  %rows = moe.dispatch %x plan(%offsets, %tokens, %positions : tensor<3xindex>, tensor<?xindex>, tensor<?x1xindex>)
      : tensor<?x8xf32> -> tensor<?x8xf32>
  %results = moe.grouped_ffn %rows offsets(%offsets : tensor<3xindex>) gate(%a : tensor<2x8x8xf32>)
      down(%a : tensor<2x8x8xf32>) : tensor<?x8xf32> -> tensor<?x8xf16> {
  ^bb0(%v: f32):
    moe.yield %v : f32
  }
  return %rows, %results : tensor<?x8xf32>, tensor<?x8xf16>
}
