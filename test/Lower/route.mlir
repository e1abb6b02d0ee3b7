// What is left of fields at their defaults, and where the loops are. What is
// computed is tested in Integration/routing.py.
// RUN: moe-opt %s --onnx-to-linalg --canonicalize --cse --split-input-file | FileCheck %s

// One parallel loop over tokens; no score is computed before the selection.
// CHECK-LABEL: func.func @late
// CHECK-NOT: rt.check
// CHECK-NOT: math.exp
// CHECK: rt.parallel_for
// CHECK: scf.while
// CHECK: math.exp
// CHECK-NOT: math.tanh
// CHECK: rt.yield
// CHECK-NOT: rt.parallel_for
// CHECK: return
func.func @late(%l: tensor<?x64xf32>) -> (tensor<?x4xi32>, tensor<?x4xf32>) {
  %ids, %w = moe.route %l {routing = #moe.routing<k = 4, score_on = selected>}
      : tensor<?x64xf32> -> tensor<?x4xi32>, tensor<?x4xf32>
  return %ids, %w : tensor<?x4xi32>, tensor<?x4xf32>
}

// -----

// Forced experts are checked in front of the loop, and nothing is selected.
// CHECK-LABEL: func.func @forced
// CHECK: rt.check %{{.*}}, "route: forced names an expert that is not there"
// CHECK: rt.parallel_for
// CHECK-NOT: scf.while
// CHECK: return
func.func @forced(%l: tensor<5x8xf32>, %f: tensor<5x2xi32>) -> (tensor<5x2xi32>, tensor<5x2xf32>) {
  %ids, %w = moe.route %l forced(%f : tensor<5x2xi32>) {routing = #moe.routing<k = 2>}
      : tensor<5x8xf32> -> tensor<5x2xi32>, tensor<5x2xf32>
  return %ids, %w : tensor<5x2xi32>, tensor<5x2xf32>
}

// -----

// More than 64 are sorted: a buffer of the order of all experts, per task.
// CHECK-LABEL: func.func @many
// CHECK: memref.alloc({{.*}}) : memref<?x2x160xindex>
// CHECK: rt.parallel_for
func.func @many(%l: tensor<?x160xf32>) -> (tensor<?x65xi32>, tensor<?x65xf32>) {
  %ids, %w = moe.route %l {routing = #moe.routing<k = 65>}
      : tensor<?x160xf32> -> tensor<?x65xi32>, tensor<?x65xf32>
  return %ids, %w : tensor<?x65xi32>, tensor<?x65xf32>
}

// -----

// What only the run knows is checked: E, and that all have one number of tokens.
// CHECK-LABEL: func.func @unknown
// CHECK: rt.check %{{.*}}, "route: there are fewer experts than a token picks"
// CHECK: rt.check %{{.*}}, "route: experts do not form groups of equal size"
// CHECK: rt.check %{{.*}}, "route: valid has another number of tokens"
// CHECK: rt.parallel_for
func.func @unknown(%l: tensor<?x?xf32>, %v: tensor<?xi1>) -> (tensor<?x2xi32>, tensor<?x2xf32>) {
  %ids, %w = moe.route %l valid(%v : tensor<?xi1>)
      {routing = #moe.routing<k = 2, groups = #moe.groups<n = 4, keep = 2>>}
      : tensor<?x?xf32> -> tensor<?x2xi32>, tensor<?x2xf32>
  return %ids, %w : tensor<?x2xi32>, tensor<?x2xf32>
}

// -----

// Each expert has a task of its own; a step of optimal transport is a loop over
// experts and one over tokens, and the last projection one more.
// CHECK-LABEL: func.func @transport
// CHECK: scf.for
// CHECK: rt.parallel_for
// CHECK: rt.parallel_for
// CHECK: rt.parallel_for
// CHECK-NOT: rt.parallel_for
// CHECK: return
func.func @transport(%l: tensor<?x4xf32>) -> (tensor<4x16xi32>, tensor<4x16xf32>) {
  %t, %w = moe.route_balanced %l {method = #moe.method<sparse_ot>, capacity = 16}
      : tensor<?x4xf32> -> tensor<4x16xi32>, tensor<4x16xf32>
  return %t, %w : tensor<4x16xi32>, tensor<4x16xf32>
}
