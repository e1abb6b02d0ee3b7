// Points of a profile, and what they tell.
// RUN: moe-opt %s --split-input-file --moe-profile-points --canonicalize --cse | FileCheck %s
// RUN: moe-opt %s --split-input-file --moe-profile-points --moe-expand-grouped \
// RUN:     -o /dev/null
// RUN: not moe-opt %S/Inputs/profile-table.mlir 2>&1 | FileCheck %s --check-prefix=TABLE
// TABLE: 'rt.profile_ops' must be an array of dictionaries with the strings 'name' and 'kind'

#id = affine_map<(m, n) -> (m, n)>
#row = affine_map<(m, n) -> (m)>

// The payload tells what was fused; a view between two loops of a node does not
// divide them. FLOPs: two per element, and one of the sum.
// CHECK: module attributes {rt.profile_ops = [{kind = "Add+Mul", name = "add + square"}]}
// CHECK-LABEL: func.func @fused
// CHECK-SAME: %[[X:.*]]: memref<?x8xf32>, %[[Y:.*]]: memref<?x8xf32>, %[[S:.*]]: memref<?xf32>
// CHECK-DAG: %[[C16:.*]] = arith.constant 16 : index
// CHECK: %[[ON:.*]] = rt.profiling
// CHECK: scf.if %[[ON]] {
// CHECK-NEXT: rt.profile begin 0 flops %c0_i64 bytes %c0_i64
// CHECK: linalg.generic
// CHECK-NOT: rt.profile
// CHECK: linalg.generic
// CHECK: scf.if %[[ON]] {
// CHECK: %[[N:.*]] = memref.dim %[[X]], %c0
// CHECK: %[[EACH:.*]] = arith.muli %[[N]], %[[C16]]
// CHECK: rt.profile end 0 flops %{{.*}} bytes %{{.*}}
// CHECK-NOT: rt.profile
// CHECK: return
func.func @fused(%x: memref<?x8xf32>, %y: memref<?x8xf32>, %s: memref<?xf32>) {
  %c = arith.constant 1.0 : f32
  linalg.generic {indexing_maps = [#id, #id], iterator_types = ["parallel", "parallel"]}
      ins(%x : memref<?x8xf32>) outs(%y : memref<?x8xf32>) {
  ^bb0(%a: f32, %o: f32):
    %0 = arith.addf %a, %c : f32 loc("add"(fused<"Add">["m.onnx":0:1]))
    %1 = arith.mulf %0, %0 : f32 loc("square"(fused<"Mul">["m.onnx":1:1]))
    linalg.yield %1 : f32
  } loc("square"(fused<"Mul">["m.onnx":1:1]))
  %flat = memref.collapse_shape %y [[0, 1]] : memref<?x8xf32> into memref<?xf32> loc("view"(fused<"Reshape">["m.onnx":2:1]))
  linalg.generic {indexing_maps = [#id, #row], iterator_types = ["parallel", "reduction"]}
      ins(%y : memref<?x8xf32>) outs(%s : memref<?xf32>) {
  ^bb0(%a: f32, %o: f32):
    %0 = arith.addf %a, %o : f32 loc("square"(fused<"Mul">["m.onnx":1:1]))
    linalg.yield %0 : f32
  } loc("square"(fused<"Mul">["m.onnx":1:1]))
  return
}

// -----

// Rows of experts are those that the plan has; experts without rows are not
// read. Products and sums of a layer are parts of it.
// CHECK: {kind = "moe.experts:plan", name = "layer"}, {kind = "moe.experts:grouped_linear+Relu", name = "layer + relu"}, {kind = "moe.experts:combine_rows", name = "layer"}
// CHECK-LABEL: func.func @experts
// CHECK-SAME: %[[ROWS:.*]]: memref<?x80xf32>, %[[OFFSETS:.*]]: memref<9xindex>
// CHECK-DAG: %[[C8:.*]] = arith.constant 8 : index
// Each column of a row: 64 products and sums, and the maximum; 128 columns.
// CHECK-DAG: %[[FLOPS:.*]] = arith.constant 16512 : index
// Of an expert: 128 x 64 floats.
// CHECK-DAG: %[[BANK:.*]] = arith.constant 32768 : index
// CHECK: rt.profile begin 0
// CHECK: scf.for
// CHECK: rt.profile end 0
// CHECK: rt.profile begin 1
// CHECK: moe.grouped_linear
// CHECK: scf.if
// CHECK: %[[LAST:.*]] = memref.load %[[OFFSETS]][%[[C8]]]
// CHECK: %[[FIRST:.*]] = memref.load %[[OFFSETS]][%c0]
// CHECK: %[[R:.*]] = arith.subi %[[LAST]], %[[FIRST]]
// CHECK: arith.muli %[[R]], %[[FLOPS]]
// CHECK: %[[ACTIVE:.*]] = scf.for %{{.*}} = %c0 to %[[C8]]
// CHECK: arith.cmpi ugt
// CHECK: arith.muli %[[ACTIVE]], %[[BANK]]
// CHECK: rt.profile end 1
// CHECK: rt.profile begin 2
// CHECK: moe.combine_rows
// CHECK: rt.profile end 2
func.func @experts(%rows: memref<?x80xf32>, %offsets: memref<9xindex>, %bank: memref<8x128x64xf32>,
                   %hidden: memref<?x144xf32>, %positions: memref<?x2xindex>, %out: memref<?x128xf32>) {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %c9 = arith.constant 9 : index
  scf.for %e = %c0 to %c9 step %c1 {
    memref.store %c0, %offsets[%e] : memref<9xindex>
  } loc("layer"(fused<"moe.experts">["m.onnx":3:1]))
  moe.grouped_linear rows(%rows : memref<?x80xf32>) offsets(%offsets : memref<9xindex>)
      banks(%bank : memref<8x128x64xf32>) {inner = 64, width = 128}
      out(%hidden : memref<?x144xf32>) {
  ^bb0(%v: f32):
    %0 = arith.constant 0.0 : f32
    %1 = arith.maximumf %v, %0 : f32 loc("relu"(fused<"Relu">["m.onnx":3:1]))
    moe.yield %1 : f32
  } loc("layer"(fused<"moe.experts">["m.onnx":3:1]))
  moe.combine_rows rows(%hidden : memref<?x144xf32>) positions(%positions : memref<?x2xindex>)
      out(%out : memref<?x128xf32>) loc("layer"(fused<"moe.experts">["m.onnx":3:1]))
  return
}

// -----

#id1 = affine_map<(n) -> (n)>

// A loop of the model is entered; a node that goes on behind another one pauses.
// A loop of one node is measured as one, and work inside is counted there.
// CHECK: rt.profile_ops = [{kind = "Scan", name = "a"}, {kind = "Tanh", name = "b"}, {kind = "LSTM", name = "#7"}]
// CHECK-LABEL: func.func @loops
// CHECK: rt.profile begin 0
// CHECK: rt.profile pause 0
// CHECK: scf.for
// CHECK: rt.profile begin 1
// CHECK: rt.profile end 1
// CHECK: rt.profile begin 0
// CHECK: rt.profile end 0
// CHECK: rt.profile begin 2
// CHECK: scf.for
// CHECK: linalg.fill
// CHECK: rt.profile work 2 flops %c0_i64 bytes %c16_i64
// CHECK: rt.profile end 2
func.func @loops(%x: memref<4xf32>, %n: index) {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %zero = arith.constant 0.0 : f32
  linalg.fill ins(%zero : f32) outs(%x : memref<4xf32>) loc("a"(fused<"Scan">["m.onnx":5:1]))
  scf.for %i = %c0 to %n step %c1 {
    linalg.generic {indexing_maps = [#id1], iterator_types = ["parallel"]} outs(%x : memref<4xf32>) {
    ^bb0(%o: f32):
      %0 = math.tanh %o : f32 loc("b"(fused<"Tanh">["m.onnx":0:1]))
      linalg.yield %0 : f32
    } loc("b"(fused<"Tanh">["m.onnx":0:1]))
  } loc("a"(fused<"Scan">["m.onnx":5:1]))
  linalg.fill ins(%zero : f32) outs(%x : memref<4xf32>) loc("a"(fused<"Scan">["m.onnx":5:1]))
  scf.for %i = %c0 to %n step %c1 {
    linalg.fill ins(%zero : f32) outs(%x : memref<4xf32>) loc(fused<"LSTM">["m.onnx":7:1])
  } loc(fused<"LSTM">["m.onnx":7:1])
  return
}
