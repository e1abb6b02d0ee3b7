// Products with constant matrices and what follows them.
// RUN: moe-opt %s --split-input-file --pass-pipeline='builtin.module(func.func(moe-host-dense),canonicalize)' | FileCheck %s

#mk = affine_map<(m, n, k) -> (m, k)>
#kn = affine_map<(m, n, k) -> (k, n)>
#mn3 = affine_map<(m, n, k) -> (m, n)>
#mn = affine_map<(m, n) -> (m, n)>
#n = affine_map<(m, n) -> (n)>

// The activation is computed from the product twice and joined again; the
// residual joins as well. The product itself is never stored.
// CHECK-LABEL: func.func @epilogue
// CHECK-SAME: (%[[X:.*]]: tensor<?x64xf32>, %[[BIAS:.*]]: tensor<32xf32>, %[[RES:.*]]: tensor<?x32xf32>
// CHECK-DAG: %[[W:.*]] = rt.constant {value = dense<5.000000e-01> : tensor<64x32xf32>}
// CHECK-DAG: %[[ROWS:.*]] = bufferization.to_buffer %[[X]] read_only
// CHECK-DAG: %[[B:.*]] = bufferization.to_buffer %[[BIAS]] read_only
// CHECK-DAG: %[[R:.*]] = bufferization.to_buffer %[[RES]] read_only
// CHECK-DAG: %[[OUT:.*]] = memref.alloc({{.*}}) : memref<?x32xf32>
// CHECK: moe.grouped_linear rows(%[[ROWS]] : memref<?x64xf32>) banks(%{{.*}} : memref<1x64x32xf32>)
// CHECK-SAME: extras(%{{.*}}, %[[R]] : memref<1x32xf32>, memref<?x32xf32>)
// CHECK-SAME: {inner = 64 : i64, layout = #moe.layout<io>, width = 32 : i64} out(%[[OUT]] : memref<?x32xf32>) {
// CHECK: ^bb0(%[[S:.*]]: f32, %[[BE:.*]]: f32, %[[RE:.*]]: f32):
// CHECK: %[[P:.*]] = arith.addf %[[S]], %[[BE]]
// CHECK: %[[T:.*]] = math.tanh %[[P]]
// CHECK: %[[M:.*]] = arith.mulf %[[P]], %[[T]]
// CHECK: %[[Y:.*]] = arith.addf %[[M]], %[[RE]]
// CHECK: moe.yield %[[Y]]
// CHECK: %[[DONE:.*]] = bufferization.to_tensor %[[OUT]] restrict writable
// CHECK-NOT: linalg
// CHECK: return %[[DONE]]
func.func @epilogue(%x: tensor<?x64xf32>, %bias: tensor<32xf32>, %res: tensor<?x32xf32>, %size: index) -> tensor<?x32xf32> {
  %zero = arith.constant 0.0 : f32
  %w = arith.constant dense<0.5> : tensor<64x32xf32>
  %e = tensor.empty(%size) : tensor<?x32xf32>
  %i = linalg.fill ins(%zero : f32) outs(%e : tensor<?x32xf32>) -> tensor<?x32xf32>
  %p = linalg.generic {indexing_maps = [#mk, #kn, #mn3], iterator_types = ["parallel", "parallel", "reduction"]}
      ins(%x, %w : tensor<?x64xf32>, tensor<64x32xf32>) outs(%i : tensor<?x32xf32>) {
  ^bb0(%a: f32, %b: f32, %acc: f32):
    %0 = arith.mulf %a, %b : f32
    %1 = arith.addf %acc, %0 : f32
    linalg.yield %1 : f32
  } -> tensor<?x32xf32>
  %q = linalg.generic {indexing_maps = [#mn, #n, #mn], iterator_types = ["parallel", "parallel"]}
      ins(%p, %bias : tensor<?x32xf32>, tensor<32xf32>) outs(%e : tensor<?x32xf32>) {
  ^bb0(%a: f32, %b: f32, %out: f32):
    %0 = arith.addf %a, %b : f32
    linalg.yield %0 : f32
  } -> tensor<?x32xf32>
  %t = linalg.generic {indexing_maps = [#mn, #mn], iterator_types = ["parallel", "parallel"]}
      ins(%q : tensor<?x32xf32>) outs(%e : tensor<?x32xf32>) {
  ^bb0(%a: f32, %out: f32):
    %0 = math.tanh %a : f32
    linalg.yield %0 : f32
  } -> tensor<?x32xf32>
  %m = linalg.generic {indexing_maps = [#mn, #mn, #mn], iterator_types = ["parallel", "parallel"]}
      ins(%q, %t : tensor<?x32xf32>, tensor<?x32xf32>) outs(%e : tensor<?x32xf32>) {
  ^bb0(%a: f32, %b: f32, %out: f32):
    %0 = arith.mulf %a, %b : f32
    linalg.yield %0 : f32
  } -> tensor<?x32xf32>
  %y = linalg.generic {indexing_maps = [#mn, #mn, #mn], iterator_types = ["parallel", "parallel"]}
      ins(%m, %res : tensor<?x32xf32>, tensor<?x32xf32>) outs(%e : tensor<?x32xf32>) {
  ^bb0(%a: f32, %b: f32, %out: f32):
    %0 = arith.addf %a, %b : f32
    linalg.yield %0 : f32
  } -> tensor<?x32xf32>
  return %y : tensor<?x32xf32>
}

// -----

#bmk = affine_map<(b, m, n, k) -> (b, m, k)>
#nk = affine_map<(b, m, n, k) -> (n, k)>
#bmn4 = affine_map<(b, m, n, k) -> (b, m, n)>
#bmn = affine_map<(b, m, n) -> (b, m, n)>
#bnm = affine_map<(b, m, n) -> (b, n, m)>

// What goes on in two ways ends the epilogue in front of it: here the sum of
// product and addend is stored once, its square and its negation are not part.
// Halves are multiplied as f32; matrices may be stored the other way round.
// CHECK-LABEL: func.func @two_ways
// CHECK: %[[WIDE:.*]] = linalg.generic
// CHECK: arith.extf
// CHECK: %[[BUFFER:.*]] = bufferization.to_buffer %[[WIDE]] read_only
// CHECK: %[[ROWS:.*]] = memref.collapse_shape %[[BUFFER]] {{\[\[}}0, 1], [2]]
// CHECK: %[[OUT:.*]] = memref.collapse_shape
// CHECK: moe.grouped_linear rows(%[[ROWS]] : memref<?x64xf32>) banks({{.*}} : memref<1x32x64xf16>)
// CHECK-SAME: extras({{.*}} : memref<?x32xf16>) {inner = 64 : i64, width = 32 : i64} out(%{{.*}} : memref<?x32xf16>)
// CHECK: arith.truncf
// CHECK: arith.addf
// CHECK: moe.yield
// CHECK: linalg.generic
// CHECK: arith.mulf
// CHECK: linalg.generic
// CHECK: arith.negf
func.func @two_ways(%x: tensor<?x?x64xf16>, %more: tensor<?x?x32xf16>, %b: index, %m: index)
    -> (tensor<?x?x32xf16>, tensor<?x32x?xf16>) {
  %zero = arith.constant 0.0 : f32
  %c = rt.constant {value = dense<0.5> : tensor<32x64xf16>} : memref<32x64xf16>
  %w = bufferization.to_tensor %c restrict : memref<32x64xf16> to tensor<32x64xf16>
  %e = tensor.empty(%b, %m) : tensor<?x?x32xf32>
  %h = tensor.empty(%b, %m) : tensor<?x?x32xf16>
  %i = linalg.fill ins(%zero : f32) outs(%e : tensor<?x?x32xf32>) -> tensor<?x?x32xf32>
  %p = linalg.generic {indexing_maps = [#bmk, #nk, #bmn4], iterator_types = ["parallel", "parallel", "parallel", "reduction"]}
      ins(%x, %w : tensor<?x?x64xf16>, tensor<32x64xf16>) outs(%i : tensor<?x?x32xf32>) {
  ^bb0(%l: f16, %r: f16, %acc: f32):
    %0 = arith.extf %l : f16 to f32
    %1 = arith.extf %r : f16 to f32
    %2 = arith.mulf %0, %1 : f32
    %3 = arith.addf %acc, %2 : f32
    linalg.yield %3 : f32
  } -> tensor<?x?x32xf32>
  %n = linalg.generic {indexing_maps = [#bmn, #bmn], iterator_types = ["parallel", "parallel", "parallel"]}
      ins(%p : tensor<?x?x32xf32>) outs(%h : tensor<?x?x32xf16>) {
  ^bb0(%l: f32, %out: f16):
    %0 = arith.truncf %l : f32 to f16
    linalg.yield %0 : f16
  } -> tensor<?x?x32xf16>
  %s = linalg.generic {indexing_maps = [#bmn, #bmn, #bmn], iterator_types = ["parallel", "parallel", "parallel"]}
      ins(%n, %more : tensor<?x?x32xf16>, tensor<?x?x32xf16>) outs(%h : tensor<?x?x32xf16>) {
  ^bb0(%l: f16, %r: f16, %out: f16):
    %0 = arith.addf %l, %r : f16
    linalg.yield %0 : f16
  } -> tensor<?x?x32xf16>
  %q = linalg.generic {indexing_maps = [#bmn, #bmn], iterator_types = ["parallel", "parallel", "parallel"]}
      ins(%s : tensor<?x?x32xf16>) outs(%h : tensor<?x?x32xf16>) {
  ^bb0(%l: f16, %out: f16):
    %0 = arith.mulf %l, %l : f16
    linalg.yield %0 : f16
  } -> tensor<?x?x32xf16>
  %te = tensor.empty(%b, %m) : tensor<?x32x?xf16>
  %t = linalg.generic {indexing_maps = [#bnm, #bmn], iterator_types = ["parallel", "parallel", "parallel"]}
      ins(%s : tensor<?x?x32xf16>) outs(%te : tensor<?x32x?xf16>) {
  ^bb0(%l: f16, %out: f16):
    %0 = arith.negf %l : f16
    linalg.yield %0 : f16
  } -> tensor<?x32x?xf16>
  return %q, %t : tensor<?x?x32xf16>, tensor<?x32x?xf16>
}

// -----

#etk = affine_map<(e, t, n, k) -> (e, t, k)>
#ekn = affine_map<(e, t, n, k) -> (e, k, n)>
#etn = affine_map<(e, t, n, k) -> (e, t, n)>

// A matrix for each index of the outermost dim: as many rows for each of them.
// CHECK-LABEL: func.func @batched
// CHECK: %[[OFFSETS:.*]] = memref.alloc() : memref<9xindex>
// CHECK: %[[EACH:.*]] = arith.divui %{{.*}}, %c8
// CHECK: scf.for %[[E:.*]] = %c0 to %c9
// CHECK: %[[FIRST:.*]] = arith.muli %[[E]], %[[EACH]]
// CHECK: memref.store %[[FIRST]], %[[OFFSETS]][%[[E]]]
// CHECK: moe.grouped_linear rows({{.*}} : memref<?x64xf32>) offsets(%[[OFFSETS]] : memref<9xindex>) banks({{.*}} : memref<8x64x32xf32>)
func.func @batched(%x: tensor<8x?x64xf32>, %t: index) -> tensor<8x?x32xf32> {
  %zero = arith.constant 0.0 : f32
  %w = arith.constant dense<0.5> : tensor<8x64x32xf32>
  %e = tensor.empty(%t) : tensor<8x?x32xf32>
  %i = linalg.fill ins(%zero : f32) outs(%e : tensor<8x?x32xf32>) -> tensor<8x?x32xf32>
  %p = linalg.generic {indexing_maps = [#etk, #ekn, #etn], iterator_types = ["parallel", "parallel", "parallel", "reduction"]}
      ins(%x, %w : tensor<8x?x64xf32>, tensor<8x64x32xf32>) outs(%i : tensor<8x?x32xf32>) {
  ^bb0(%a: f32, %b: f32, %acc: f32):
    %0 = arith.mulf %a, %b : f32
    %1 = arith.addf %acc, %0 : f32
    linalg.yield %1 : f32
  } -> tensor<8x?x32xf32>
  return %p : tensor<8x?x32xf32>
}

// -----

#mk = affine_map<(m, n, k) -> (m, k)>
#km = affine_map<(m, n, k) -> (k, m)>
#kn = affine_map<(m, n, k) -> (k, n)>
#mn = affine_map<(m, n, k) -> (m, n)>

// Not these: a right operand of the run, rows that are columns, a start other
// than zero, few columns, f64.
// CHECK-LABEL: func.func @others
// CHECK-NOT: moe.grouped_linear
// CHECK: return
func.func @others(%x: tensor<32x64xf32>, %r: tensor<64x32xf32>, %init: tensor<32x32xf32>, %d: tensor<32x64xf64>)
    -> (tensor<32x32xf32>, tensor<64x32xf32>, tensor<32x32xf32>, tensor<32x4xf32>, tensor<32x32xf64>) {
  %zero = arith.constant 0.0 : f32
  %zero64 = arith.constant 0.0 : f64
  %w = arith.constant dense<0.5> : tensor<64x32xf32>
  %w32 = arith.constant dense<0.5> : tensor<32x32xf32>
  %w4 = arith.constant dense<0.5> : tensor<64x4xf32>
  %w64 = arith.constant dense<0.5> : tensor<64x32xf64>
  %e = tensor.empty() : tensor<32x32xf32>
  %et = tensor.empty() : tensor<64x32xf32>
  %e4 = tensor.empty() : tensor<32x4xf32>
  %e64 = tensor.empty() : tensor<32x32xf64>
  %i = linalg.fill ins(%zero : f32) outs(%e : tensor<32x32xf32>) -> tensor<32x32xf32>
  %it = linalg.fill ins(%zero : f32) outs(%et : tensor<64x32xf32>) -> tensor<64x32xf32>
  %i4 = linalg.fill ins(%zero : f32) outs(%e4 : tensor<32x4xf32>) -> tensor<32x4xf32>
  %i64 = linalg.fill ins(%zero64 : f64) outs(%e64 : tensor<32x32xf64>) -> tensor<32x32xf64>
  %0 = linalg.generic {indexing_maps = [#mk, #kn, #mn], iterator_types = ["parallel", "parallel", "reduction"]}
      ins(%x, %r : tensor<32x64xf32>, tensor<64x32xf32>) outs(%i : tensor<32x32xf32>) {
  ^bb0(%a: f32, %b: f32, %acc: f32):
    %p = arith.mulf %a, %b : f32
    %s = arith.addf %acc, %p : f32
    linalg.yield %s : f32
  } -> tensor<32x32xf32>
  %1 = linalg.generic {indexing_maps = [#km, #kn, #mn], iterator_types = ["parallel", "parallel", "reduction"]}
      ins(%x, %w32 : tensor<32x64xf32>, tensor<32x32xf32>) outs(%it : tensor<64x32xf32>) {
  ^bb0(%a: f32, %b: f32, %acc: f32):
    %p = arith.mulf %a, %b : f32
    %s = arith.addf %acc, %p : f32
    linalg.yield %s : f32
  } -> tensor<64x32xf32>
  %2 = linalg.generic {indexing_maps = [#mk, #kn, #mn], iterator_types = ["parallel", "parallel", "reduction"]}
      ins(%x, %w : tensor<32x64xf32>, tensor<64x32xf32>) outs(%init : tensor<32x32xf32>) {
  ^bb0(%a: f32, %b: f32, %acc: f32):
    %p = arith.mulf %a, %b : f32
    %s = arith.addf %acc, %p : f32
    linalg.yield %s : f32
  } -> tensor<32x32xf32>
  %3 = linalg.generic {indexing_maps = [#mk, #kn, #mn], iterator_types = ["parallel", "parallel", "reduction"]}
      ins(%x, %w4 : tensor<32x64xf32>, tensor<64x4xf32>) outs(%i4 : tensor<32x4xf32>) {
  ^bb0(%a: f32, %b: f32, %acc: f32):
    %p = arith.mulf %a, %b : f32
    %s = arith.addf %acc, %p : f32
    linalg.yield %s : f32
  } -> tensor<32x4xf32>
  %4 = linalg.generic {indexing_maps = [#mk, #kn, #mn], iterator_types = ["parallel", "parallel", "reduction"]}
      ins(%d, %w64 : tensor<32x64xf64>, tensor<64x32xf64>) outs(%i64 : tensor<32x32xf64>) {
  ^bb0(%a: f64, %b: f64, %acc: f64):
    %p = arith.mulf %a, %b : f64
    %s = arith.addf %acc, %p : f64
    linalg.yield %s : f64
  } -> tensor<32x32xf64>
  return %0, %1, %2, %3, %4 : tensor<32x32xf32>, tensor<64x32xf32>, tensor<32x32xf32>, tensor<32x4xf32>, tensor<32x32xf64>
}

// -----

#mk = affine_map<(m, n, k) -> (m, k)>
#nk = affine_map<(m, n, k) -> (n, k)>
#mn3 = affine_map<(m, n, k) -> (m, n)>
#mn = affine_map<(m, n) -> (m, n)>

// A constant of bf16 that is widened, and one of f16 that is narrowed first: what
// is exact is left out.
// CHECK-LABEL: func.func @widened
// CHECK-DAG: rt.constant {value = dense<5.000000e-01> : tensor<32x64xbf16>}
// CHECK-DAG: arith.constant dense<2.500000e-01> : tensor<32x64xf32>
// CHECK: moe.grouped_linear rows({{.*}}) banks(%{{.*}} : memref<1x32x64xbf16>)
// CHECK-NOT: moe.grouped_linear
// CHECK: arith.mulf
func.func @widened(%x: tensor<?x64xf32>, %size: index) -> (tensor<?x32xf32>, tensor<?x32xf32>) {
  %zero = arith.constant 0.0 : f32
  %w = arith.constant dense<0.5> : tensor<32x64xbf16>
  %v = arith.constant dense<0.25> : tensor<32x64xf32>
  %we = tensor.empty() : tensor<32x64xf32>
  %ve = tensor.empty() : tensor<32x64xf16>
  %e = tensor.empty(%size) : tensor<?x32xf32>
  %i = linalg.fill ins(%zero : f32) outs(%e : tensor<?x32xf32>) -> tensor<?x32xf32>
  %wide = linalg.generic {indexing_maps = [#mn, #mn], iterator_types = ["parallel", "parallel"]}
      ins(%w : tensor<32x64xbf16>) outs(%we : tensor<32x64xf32>) {
  ^bb0(%a: bf16, %out: f32):
    %0 = arith.extf %a : bf16 to f32
    linalg.yield %0 : f32
  } -> tensor<32x64xf32>
  %narrow = linalg.generic {indexing_maps = [#mn, #mn], iterator_types = ["parallel", "parallel"]}
      ins(%v : tensor<32x64xf32>) outs(%ve : tensor<32x64xf16>) {
  ^bb0(%a: f32, %out: f16):
    %0 = arith.truncf %a : f32 to f16
    linalg.yield %0 : f16
  } -> tensor<32x64xf16>
  %p = linalg.generic {indexing_maps = [#mk, #nk, #mn3], iterator_types = ["parallel", "parallel", "reduction"]}
      ins(%x, %wide : tensor<?x64xf32>, tensor<32x64xf32>) outs(%i : tensor<?x32xf32>) {
  ^bb0(%a: f32, %b: f32, %acc: f32):
    %0 = arith.mulf %a, %b : f32
    %1 = arith.addf %acc, %0 : f32
    linalg.yield %1 : f32
  } -> tensor<?x32xf32>
  %q = linalg.generic {indexing_maps = [#mk, #nk, #mn3], iterator_types = ["parallel", "parallel", "reduction"]}
      ins(%x, %narrow : tensor<?x64xf32>, tensor<32x64xf16>) outs(%i : tensor<?x32xf32>) {
  ^bb0(%a: f32, %b: f16, %acc: f32):
    %1 = arith.extf %b : f16 to f32
    %2 = arith.mulf %a, %1 : f32
    %3 = arith.addf %acc, %2 : f32
    linalg.yield %3 : f32
  } -> tensor<?x32xf32>
  return %p, %q : tensor<?x32xf32>, tensor<?x32xf32>
}
