// Where the constants of layers that share a function lie.
// RUN: moe-opt %s --split-input-file --moe-layout-weights --verify-diagnostics | FileCheck %s

// The table has a row for each call, a section and an offset for each open
// constant in the order in which the function meets them. What both calls choose
// is there once.
// CHECK: module attributes {rt.weights = [{constants = [
// CHECK-SAME: {offset = 0 : i64, value = dense<1.000000e+00> : tensor<16xf32>},
// CHECK-SAME: {offset = 64 : i64, value = #rt.stack<[dense<2.000000e+00> : tensor<16xf32>]> : tensor<1x16xf32>},
// CHECK-SAME: {offset = 128 : i64, value = dense<3.000000e+00> : tensor<16xf32>},
// CHECK-SAME: {offset = 192 : i64, value = dense<9.000000e+00> : tensor<16xf32>},
// CHECK-SAME: {offset = 256 : i64, value = dense<{{\[\[}}[0, 0], [0, 64]], {{\[}}[0, 128], [0, 64]]]> : tensor<2x2x2xi64>}]
// CHECK-LABEL: func.func @main
// CHECK: %[[R0:.*]] = rt.weight {offset = 256 : i64, section = 0 : i32} : memref<2x2xi64>
// CHECK: call @layer(%{{.*}}, %[[R0]]) : (memref<16xf32>, memref<2x2xi64>)
// CHECK: %[[R1:.*]] = rt.weight {offset = 288 : i64, section = 0 : i32} : memref<2x2xi64>
// CHECK: call @layer(%{{.*}}, %[[R1]]) : (memref<16xf32>, memref<2x2xi64>)
// CHECK-LABEL: func.func private @layer
// CHECK-SAME: (%{{.*}}: memref<16xf32>, %[[TABLE:.*]]: memref<2x2xi64>)
// CHECK: %[[C0:.*]] = arith.constant 0 : index
// CHECK: %[[C1:.*]] = arith.constant 1 : index
// CHECK: %[[S0:.*]] = memref.load %[[TABLE]][%[[C0]], %[[C0]]]
// CHECK: %[[O0:.*]] = memref.load %[[TABLE]][%[[C0]], %[[C1]]]
// CHECK: %[[S1:.*]] = memref.load %[[TABLE]][%[[C1]], %[[C0]]]
// CHECK: %[[O1:.*]] = memref.load %[[TABLE]][%[[C1]], %[[C1]]]
// CHECK: rt.weight_at %[[S0]], %[[O0]] : memref<16xf32>
// CHECK: rt.weight_at %[[S1]], %[[O1]] : memref<1x16xf32>
// CHECK: rt.weight {offset = 192 : i64, section = 0 : i32} : memref<16xf32>
func.func @main(%x: memref<16xf32>) {
  call @layer(%x) {rt.arguments = [dense<1.0> : tensor<16xf32>, dense<2.0> : tensor<16xf32>]} : (memref<16xf32>) -> ()
  call @layer(%x) {rt.arguments = [dense<3.0> : tensor<16xf32>, dense<2.0> : tensor<16xf32>]} : (memref<16xf32>) -> ()
  return
}
func.func private @layer(%x: memref<16xf32>) {
  %0 = rt.constant {value = #rt.parameter<0> : tensor<16xf32>} : memref<16xf32>
  %1 = rt.constant {value = #rt.stack<[#rt.parameter<1> : tensor<16xf32>]> : tensor<1x16xf32>} : memref<1x16xf32>
  %2 = rt.constant {value = dense<9.0> : tensor<16xf32>} : memref<16xf32>
  memref.copy %0, %x : memref<16xf32> to memref<16xf32>
  memref.copy %2, %x : memref<16xf32> to memref<16xf32>
  %c0 = arith.constant 0 : index
  %v = memref.load %1[%c0, %c0] : memref<1x16xf32>
  memref.store %v, %x[%c0] : memref<16xf32>
  return
}

// -----

func.func @main(%x: memref<16xf32>) {
  // expected-error @below {{has 1 'rt.arguments', which do not fit the callee's parameters}}
  call @layer(%x) {rt.arguments = [dense<1.0> : tensor<8xf32>]} : (memref<16xf32>) -> ()
  // expected-error @below {{calls a function with #rt.parameter without 'rt.arguments'}}
  call @layer(%x) : (memref<16xf32>) -> ()
  return
}
func.func private @layer(%x: memref<16xf32>) {
  %0 = rt.constant {value = #rt.parameter<0> : tensor<16xf32>} : memref<16xf32>
  memref.copy %0, %x : memref<16xf32> to memref<16xf32>
  return
}
