// Where the loops are and what is checked. What is computed is tested in
// Integration/capacity.py.
// RUN: moe-opt %s --onnx-to-linalg --canonicalize --cse --split-input-file | FileCheck %s

// Without priorities nothing is sorted; all first choices come first.
// CHECK-LABEL: func.func @plain
// CHECK: rt.check %{{.*}}, "capacity: an id is out of range; [-1, 8) is accepted"
// CHECK: memref.alloc({{.*}}) : memref<8xindex>
// CHECK-NOT: scf.while
// CHECK: scf.for %{{.*}} = %{{.*}} to %c2
// CHECK: scf.for
// CHECK: scf.if
// CHECK: return
func.func @plain(%i: tensor<?x2xi32>, %w: tensor<?x2xf32>) -> (tensor<?x2xi32>, tensor<?x2xf32>) {
  %a, %b = moe.capacity %i, %w {num_experts = 8, mode = #moe.capacity_mode<absolute>, value = 3.0}
      : tensor<?x2xi32>, tensor<?x2xf32> -> tensor<?x2xi32>, tensor<?x2xf32>
  return %a, %b : tensor<?x2xi32>, tensor<?x2xf32>
}

// -----

// Tokens are sorted once.
// CHECK-LABEL: func.func @priority
// CHECK: arith.fptosi
// CHECK: scf.while
// CHECK: scf.for %{{.*}} = %c0 to %c2
// CHECK: scf.if
// CHECK-NOT: scf.while
// CHECK: return
func.func @priority(%i: tensor<?x2xi32>, %w: tensor<?x2xf32>) -> (tensor<?x2xi32>, tensor<?x2xf32>) {
  %a, %b = moe.capacity %i, %w {num_experts = 8, mode = #moe.capacity_mode<factor>, value = 1.25,
                                priority = #moe.priority<prob>}
      : tensor<?x2xi32>, tensor<?x2xf32> -> tensor<?x2xi32>, tensor<?x2xf32>
  return %a, %b : tensor<?x2xi32>, tensor<?x2xf32>
}

// -----

// What only the run knows is checked.
// CHECK-LABEL: func.func @unknown
// CHECK-DAG: rt.check %{{.*}}, "capacity: tokens have no slots"
// CHECK-DAG: rt.check %{{.*}}, "capacity: weights have another number of tokens than ids"
// CHECK-DAG: rt.check %{{.*}}, "capacity: weights have another number of slots than ids"
// CHECK-DAG: rt.check %{{.*}}, "capacity: scores have another number of tokens than ids"
func.func @unknown(%i: tensor<?x?xi32>, %w: tensor<?x?xf32>, %s: tensor<?xf32>) -> (tensor<?x?xi32>, tensor<?x?xf32>) {
  %a, %b = moe.capacity %i, %w scores(%s : tensor<?xf32>)
      {num_experts = 8, mode = #moe.capacity_mode<fraction>, value = 0.5, priority = #moe.priority<prob>}
      : tensor<?x?xi32>, tensor<?x?xf32> -> tensor<?x?xi32>, tensor<?x?xf32>
  return %a, %b : tensor<?x?xi32>, tensor<?x?xf32>
}
