// Products of codes on targets that multiply bytes: rows are split into digits,
// kernels work on integers.
// RUN: moe-opt %s --split-input-file --moe-expand-grouped="vector-bits=512 integer-dot=true" | FileCheck %s --check-prefix=EXACT
// RUN: moe-opt %s --split-input-file --moe-expand-grouped="vector-bits=512 integer-dot=true activations=close" | FileCheck %s --check-prefix=CLOSE
// RUN: moe-opt %s --split-input-file --moe-expand-grouped="vector-bits=512 integer-dot=true activations=rounded" | FileCheck %s --check-prefix=ROUNDED
// RUN: moe-opt %s --split-input-file --moe-expand-grouped="vector-bits=512 integer-dot=true activations=f32" | FileCheck %s --check-prefix=F32
// Why codes are decoded is a remark, unless the user has asked for f32.
// RUN: moe-opt %s --split-input-file --moe-expand-grouped="vector-bits=512 integer-dot=true" --remarks-filter=lower -o /dev/null 2>&1 | FileCheck %s --check-prefix=DECODED
// RUN: moe-opt %s --split-input-file --moe-expand-grouped="vector-bits=512" --remarks-filter=lower -o /dev/null 2>&1 | FileCheck %s --check-prefix=NONE
// RUN: moe-opt %s --split-input-file --moe-expand-grouped="vector-bits=512 integer-dot=true activations=f32" --remarks-filter=lower -o /dev/null 2>&1 | count 0

// NONE: remark: [Missed] moe-expand-grouped | Category:lower | Function=blocks | Reason="codes are multiplied in f32: the target has no instruction that multiplies bytes and adds up (avx512vnni, avxvnni)"
// DECODED-NOT: remark
// DECODED: remark: [Missed] moe-expand-grouped | Category:lower | Function=odd | Reason="codes are multiplied in f32: it has blocks of 24 codes; multiples of 16 are accepted"
// DECODED: remark: [Missed] moe-expand-grouped | Category:lower | Function=given | Reason="codes are multiplied in f32: its codes, scales or zero points are inputs of the run"
// DECODED-NOT: remark

// Blocks of 32 with zero points: 2 units of 8 words for each digit and 4 more for
// a row, and 16 for the stride. Panels hold 4 words for a unit.
// EXACT-LABEL: func.func @blocks
// EXACT: memref.alloc({{.*}}) : memref<?x72xi32>
// EXACT: call @moe.kernel.split.i4x3(
// EXACT: call @moe.kernel.any.i4x3.zeros(
// EXACT-LABEL: func.func private @moe.kernel.any.i4x3.zeros.prefetch(
// EXACT: case 2
// EXACT: default
// EXACT: call @moe.kernel.r3.i4x3.zeros.prefetch
// F32-LABEL: func.func @blocks
// F32: memref<1x2x32x32xi8>
// F32: call @moe.kernel.any(
// ROUNDED-LABEL: func.func @blocks
// ROUNDED: memref.alloc({{.*}}) : memref<?x40xi32>
// ROUNDED: call @moe.kernel.split.i4x1(
// ROUNDED: call @moe.kernel.any.i4x1.zeros(
// CLOSE-LABEL: func.func @blocks
// CLOSE: rt.constant {value = #rt.panels<{{.*}}cols = 64, width = 40, bits = 4> : tensor<1x2x8x32xi32>}
// CLOSE: rt.constant {value = #rt.panels<{{.*}}cols = 2, width = 40> : tensor<1x2x2x32xf32>}
// CLOSE: rt.constant {value = #rt.panels<{{.*}}cols = 2, width = 40, bits = 4> : tensor<1x2x2x32xf32>}
// CLOSE: memref.alloc({{.*}}) : memref<?x56xi32>
// CLOSE: rt.parallel_for
// CLOSE: call @moe.kernel.split.i4x2(
// CLOSE: rt.parallel_for
// CLOSE-NOT: memref.alloc(
// CLOSE: call @moe.kernel.any.i4x2.zeros.prefetch(
// CLOSE: call @moe.kernel.any.i4x2.zeros(
// CLOSE-LABEL: func.func private @moe.kernel.split.i4x2(
// CLOSE-LABEL: func.func private @moe.kernel.any.i4x2.zeros.prefetch(
// CLOSE: case 2
// CLOSE: case 3
// CLOSE: default
// CLOSE: call @moe.kernel.r4.i4x2.zeros.prefetch
// CLOSE-LABEL: func.func private @moe.kernel.r2.i4x2.zeros.prefetch(
// CLOSE: memref.prefetch
// CLOSE: arith.andi {{.*}} : vector<16xi32>
// CLOSE: llvm.call_intrinsic "llvm.x86.avx512.vpdpbusd.512"({{.*}}) : (vector<16xi32>, vector<64xi8>, vector<64xi8>) -> vector<16xi32>
// CLOSE: arith.shrui
// CLOSE: arith.sitofp {{.*}} : vector<16xi32> to vector<16xf32>
func.func @blocks(%rows: memref<?x80xf32>, %offsets: memref<2xindex>, %out: memref<?x80xf32>) {
  %w = rt.constant {value = dense<17> : tensor<1x40x32xui8>} : memref<1x40x32xi8>
  %s = rt.constant {value = dense<0.5> : tensor<1x40x2xf32>} : memref<1x40x2xf32>
  %z = rt.constant {value = dense<17> : tensor<1x40x1xui8>} : memref<1x40x1xi8>
  moe.grouped_linear rows(%rows : memref<?x80xf32>) offsets(%offsets : memref<2xindex>)
      banks(%w : memref<1x40x32xi8>) scales(%s : memref<1x40x2xf32>) zeros(%z : memref<1x40x1xi8>)
      {inner = 64, width = 40, bits = 4, block = 32} out(%out : memref<?x80xf32>) {
  ^bb0(%v: f32):
    moe.yield %v : f32
  }
  return
}

// -----

// One scale for a row: the units of a row share it. A row that is no multiple of
// a unit ends in zeros.
// CLOSE-LABEL: func.func @row
// CLOSE: #rt.panels<{{.*}}cols = 40, width = 40, bits = 8> : tensor<1x2x16x32xi32>
// CLOSE: call @moe.kernel.split.i8x2.partial(%{{.*}}, %{{.*}}, %{{.*}}, %{{.*}}, %[[DEPTH:[a-z0-9_]*]], %[[UNITS:[a-z0-9_]*]])
// CLOSE: call @moe.kernel.any.i8x2.nested
// CLOSE-LABEL: func.func private @moe.kernel.split.i8x2.partial
// CLOSE: vector.maskedload
// F32-LABEL: func.func @row
func.func @row(%rows: memref<?x40xf32>, %out: memref<?x40xf32>) {
  %w = rt.constant {value = dense<17> : tensor<1x40x40xui8>} : memref<1x40x40xi8>
  %s = rt.constant {value = dense<0.5> : tensor<1x40x1xf32>} : memref<1x40x1xf32>
  moe.grouped_linear rows(%rows : memref<?x40xf32>)
      banks(%w : memref<1x40x40xi8>) scales(%s : memref<1x40x1xf32>)
      {inner = 40, width = 40, bits = 8} out(%out : memref<?x40xf32>) {
  ^bb0(%v: f32):
    moe.yield %v : f32
  }
  return
}

// -----

// Rows that may be rounded have one digit, with a scale for the whole block.
// Without integers they are rounded as f32.
// CLOSE-LABEL: func.func @round
// CLOSE: memref.alloc({{.*}}) : memref<?x64xi32>
// CLOSE: %[[FOUR:.*]] = arith.constant 4 : index
// CLOSE: call @moe.kernel.split.i2x1(%{{.*}}, %{{.*}}, %{{.*}}, %{{.*}}, %{{.*}}, %[[FOUR]])
// CLOSE: call @moe.kernel.any.i2x1.nested
// F32-LABEL: func.func @round
// F32: memref.alloc({{.*}}) : memref<?x144xf32>
// F32: call @moe.kernel.round(
// F32: call @moe.kernel.any(
func.func @round(%rows: memref<?x128xf32>, %out: memref<?x40xf32>) {
  %w = rt.constant {value = dense<17> : tensor<1x40x32xui8>} : memref<1x40x32xi8>
  %s = rt.constant {value = dense<0.5> : tensor<1x40x1xf32>} : memref<1x40x1xf32>
  moe.grouped_linear rows(%rows : memref<?x128xf32>)
      banks(%w : memref<1x40x32xi8>) scales(%s : memref<1x40x1xf32>)
      {inner = 128, width = 40, bits = 2, block = 128, round_rows} out(%out : memref<?x40xf32>) {
  ^bb0(%v: f32):
    moe.yield %v : f32
  }
  return
}

// -----

// CLOSE-LABEL: func.func @odd
// CLOSE: call @moe.kernel.any(
// CLOSE-LABEL: func.func @sixteen
// CLOSE: call @moe.kernel.any.i4x2.u16
// CLOSE-LABEL: func.func @given
// CLOSE: call @moe.kernel.any(
func.func @odd(%rows: memref<?x48xf32>, %out: memref<?x40xf32>) {
  %w = rt.constant {value = dense<17> : tensor<1x40x24xui8>} : memref<1x40x24xi8>
  %s = rt.constant {value = dense<0.5> : tensor<1x40x2xf32>} : memref<1x40x2xf32>
  moe.grouped_linear rows(%rows : memref<?x48xf32>)
      banks(%w : memref<1x40x24xi8>) scales(%s : memref<1x40x2xf32>)
      {inner = 48, width = 40, bits = 4, block = 24} out(%out : memref<?x40xf32>) {
  ^bb0(%v: f32):
    moe.yield %v : f32
  }
  return
}
func.func @sixteen(%rows: memref<?x48xf32>, %out: memref<?x40xf32>) {
  %w = rt.constant {value = dense<17> : tensor<1x40x24xui8>} : memref<1x40x24xi8>
  %s = rt.constant {value = dense<0.5> : tensor<1x40x3xf32>} : memref<1x40x3xf32>
  moe.grouped_linear rows(%rows : memref<?x48xf32>)
      banks(%w : memref<1x40x24xi8>) scales(%s : memref<1x40x3xf32>)
      {inner = 48, width = 40, bits = 4, block = 16} out(%out : memref<?x40xf32>) {
  ^bb0(%v: f32):
    moe.yield %v : f32
  }
  return
}
func.func @given(%rows: memref<?x48xf32>, %w: memref<1x40x24xi8>, %out: memref<?x40xf32>) {
  %s = rt.constant {value = dense<0.5> : tensor<1x40x3xf32>} : memref<1x40x3xf32>
  moe.grouped_linear rows(%rows : memref<?x48xf32>)
      banks(%w : memref<1x40x24xi8>) scales(%s : memref<1x40x3xf32>)
      {inner = 48, width = 40, bits = 4, block = 16} out(%out : memref<?x40xf32>) {
  ^bb0(%v: f32):
    moe.yield %v : f32
  }
  return
}
