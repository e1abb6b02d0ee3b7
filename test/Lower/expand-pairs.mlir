// Products with weights of bf16 on targets that multiply pairs of them: only
// with activations=rounded are rows brought into bf16.
// RUN: moe-opt %s --split-input-file --moe-expand-grouped="vector-bits=512 bfloat-dot=true activations=rounded" --remarks-filter=lower 2>&1 | FileCheck %s --check-prefixes=CHECK,ROUNDED
// RUN: moe-opt %s --split-input-file --moe-expand-grouped="vector-bits=512 bfloat-dot=true" --remarks-filter=lower 2>&1 | FileCheck %s --check-prefixes=CHECK,EXACT
// RUN: moe-opt %s --split-input-file --moe-expand-grouped="vector-bits=512 activations=rounded" --remarks-filter=lower 2>&1 | FileCheck %s --check-prefixes=NONE

// 25 elements are 13 pairs, in rows of 16 and 16 for the stride.
// NONE: remark: [Missed] moe-expand-grouped | Category:lower | Function=pairs | Reason="rows beside weights of bf16 are not rounded: the target has no instruction that multiplies pairs of bf16 (avx512bf16)"
// CHECK-NOT: remark
// CHECK-LABEL: func.func @pairs
// EXACT: memref<1x2x25x32xbf16>
// EXACT: call @moe.kernel.any.bf16(
// ROUNDED: rt.constant {value = #rt.panels<{{.*}}> : tensor<1x2x13x32xi32>} : memref<1x2x13x32xi32>
// ROUNDED: memref.alloc({{.*}}) : memref<?x32xi32>
// ROUNDED: rt.parallel_for
// ROUNDED: arith.truncf {{.*}} : vector<16xf32> to vector<16xbf16>
// ROUNDED: vector.maskedload
// ROUNDED: arith.truncf
// ROUNDED: rt.parallel_for
// ROUNDED: call @moe.kernel.any.bf16.dot.prefetch(
// ROUNDED: call @moe.kernel.any.bf16.dot(
// ROUNDED-LABEL: func.func private @moe.kernel.r4.bf16.dot.prefetch(
// ROUNDED: memref.prefetch
// ROUNDED: vector.bitcast {{.*}} : vector<16xi32> to vector<32xbf16>
// ROUNDED: llvm.call_intrinsic "llvm.x86.avx512bf16.dpbf16ps.512"({{.*}}) : (vector<16xf32>, vector<32xbf16>, vector<32xbf16>) -> vector<16xf32>
func.func @pairs(%rows: memref<?x25xf32>, %out: memref<?x40xf32>) {
  %w = rt.constant {value = dense<0.5> : tensor<1x40x25xbf16>} : memref<1x40x25xbf16>
  moe.grouped_linear rows(%rows : memref<?x25xf32>) banks(%w : memref<1x40x25xbf16>)
      {inner = 25, width = 40} out(%out : memref<?x40xf32>) {
  ^bb0(%v: f32):
    moe.yield %v : f32
  }
  return
}

// -----

// There is no such instruction for f16, and f32 is not rounded.
// CHECK-LABEL: func.func @others
// CHECK-NOT: arith.truncf
// CHECK: call @moe.kernel.any.f16(
// CHECK-NOT: arith.truncf
// CHECK: call @moe.kernel.any(
func.func @others(%rows: memref<?x25xf32>, %out: memref<?x40xf32>) {
  %w = rt.constant {value = dense<0.5> : tensor<1x40x25xf16>} : memref<1x40x25xf16>
  moe.grouped_linear rows(%rows : memref<?x25xf32>) banks(%w : memref<1x40x25xf16>)
      {inner = 25, width = 40} out(%out : memref<?x40xf32>) {
  ^bb0(%v: f32):
    moe.yield %v : f32
  }
  %w2 = rt.constant {value = dense<0.5> : tensor<1x40x25xf32>} : memref<1x40x25xf32>
  moe.grouped_linear rows(%rows : memref<?x25xf32>) banks(%w2 : memref<1x40x25xf32>)
      {inner = 25, width = 40} out(%out : memref<?x40xf32>) {
  ^bb0(%v: f32):
    moe.yield %v : f32
  }
  return
}
