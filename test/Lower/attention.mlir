// Attention on buffers: in what order they are read and written, and that no
// more than a few rows of scores are in memory.
// RUN: moe-opt %s --split-input-file --onnx-to-linalg --canonicalize | FileCheck %s
// RUN: moe-opt %s --split-input-file --onnx-to-linalg --one-shot-bufferize="bufferize-function-boundaries" --moe-expand-grouped="vector-bits=512" | FileCheck %s --check-prefix=LOOPS

// Transpositions are not carried out.
// CHECK-LABEL: func.func @orders
// CHECK-NOT: linalg.generic
// CHECK: moe.attend query(%{{.*}} : memref<2x5x4x8xf32>) key(%{{.*}} : memref<2x4x7x8xf32>) value(%{{.*}} : memref<2x7x4x8xf32>)
// CHECK-SAME: out_order = array<i64: 0, 2, 1, 3>
// CHECK-SAME: query_order = array<i64: 0, 2, 1, 3>
// CHECK-SAME: value_order = array<i64: 0, 2, 1, 3>
// CHECK-SAME: out(%{{.*}} : memref<2x5x4x8xf32>)
// Two parallel loops: panels are packed, rows are computed. Scores of a task
// are 8 rows of 32 padded keys, those of all heads would be 2x4x5x7.
// LOOPS-LABEL: func.func @orders
// LOOPS: rt.parallel_for
// LOOPS: rt.parallel_for
// LOOPS: func.call @moe.kernel.any(
// LOOPS: math.exp {{.*}} : vector<16xf32>
// LOOPS: func.call @moe.kernel.any(
// LOOPS-NOT: memref.alloc
// LOOPS: rt.yield
func.func @orders(%q: tensor<2x5x4x8xf32>, %k: tensor<2x4x7x8xf32>, %v: tensor<2x7x4x8xf32>) -> tensor<2x5x4x8xf32> {
  %0 = onnx.Transpose(%q) {perm = array<i64: 0, 2, 1, 3>} : (tensor<2x5x4x8xf32>) -> tensor<2x4x5x8xf32>
  %1 = onnx.Transpose(%v) {perm = array<i64: 0, 2, 1, 3>} : (tensor<2x7x4x8xf32>) -> tensor<2x4x7x8xf32>
  %2 = moe.attention %0, %k, %1 {scale = 0.5} : tensor<2x4x5x8xf32>, tensor<2x4x7x8xf32>, tensor<2x4x7x8xf32> -> tensor<2x4x5x8xf32>
  %3 = onnx.Transpose(%2) {perm = array<i64: 0, 2, 1, 3>} : (tensor<2x4x5x8xf32>) -> tensor<2x5x4x8xf32>
  return %3 : tensor<2x5x4x8xf32>
}

// -----

// What a run must hold is checked in front.
// CHECK-LABEL: func.func @checks
// CHECK: rt.check {{.*}}queries and keys differ in their batch
// CHECK: rt.check {{.*}}there are not as many values as keys
// CHECK: rt.check {{.*}}mask does not broadcast to the keys of the scores
// CHECK: moe.attend {{.*}} mask(%{{.*}} : memref<?x1x1x?xi8>) shift(%{{.*}}) {causal, masked_score = -1.000000e+09 : f64, scale = 1.000000e+00 : f64}
func.func @checks(%q: tensor<?x4x?x8xf32> {onnx.dims = ["b", "", "s", ""]}, %k: tensor<?x4x?x8xf32> {onnx.dims = ["c", "", "l", ""]},
                  %v: tensor<?x4x?x8xf32> {onnx.dims = ["b", "", "m", ""]}, %m: tensor<?x1x1x?xi1> {onnx.dims = ["b", "", "", "n"]})
    -> (tensor<?x4x?x8xf32> {onnx.dims = ["b", "", "s", ""]}) {
  %0 = moe.attention %q, %k, %v mask(%m : tensor<?x1x1x?xi1>)
      {scale = 1.0, causal = #moe.causal<end>, masked_score = -1.0e9, onnx.dims = [["b", "", "s", ""]]}
      : tensor<?x4x?x8xf32>, tensor<?x4x?x8xf32>, tensor<?x4x?x8xf32> -> tensor<?x4x?x8xf32>
  return %0 : tensor<?x4x?x8xf32>
}
