// Products of experts: packed constants, tasks, kernels by number of rows.
// RUN: moe-opt %s --split-input-file --moe-expand-grouped="vector-bits=512" | FileCheck %s --check-prefixes=CHECK,WIDE
// RUN: moe-opt %s --split-input-file --moe-expand-grouped="vector-bits=256" | FileCheck %s --check-prefixes=CHECK,NARROW

// Constant weights, gate and up side by side: half a panel of each.
// CHECK-LABEL: func.func @gated
// WIDE: rt.constant {value = #rt.panels<sources = [dense<{{.*}}> : tensor<2x80x24xf32>], rows = 80, cols = 24, order = interleave, width = 40> : tensor<2x3x24x32xf32>} : memref<2x3x24x32xf32>
// NARROW: rt.constant {value = #rt.panels<{{.*}}> : tensor<2x5x24x16xf32>} : memref<2x5x24x16xf32>
// The work list, then one parallel loop without allocations in it.
// CHECK: memref.alloc({{.*}}) : memref<?x3xindex>
// CHECK: rt.parallel_for
// CHECK-NOT: memref.alloc(
// CHECK: scf.for
// With two blocks of rows and more the next panel is fetched meanwhile.
// CHECK: scf.if
// CHECK: func.call @moe.kernel.any.prefetch
// CHECK: func.call @moe.kernel.any(
// The epilogue works on vectors.
// WIDE: math.exp {{.*}} : vector<16xf32>
// WIDE: vector.store {{.*}} memref<?xf32>, vector<16xf32>
// NARROW: math.exp {{.*}} : vector<8xf32>
// CHECK: rt.yield
func.func @gated(%rows: memref<?x48xf32>, %offsets: memref<3xindex>, %out: memref<?x80xf32>) {
  %w = rt.constant {value = dense<0.5> : tensor<2x80x24xf32>} : memref<2x80x24xf32>
  moe.grouped_linear rows(%rows : memref<?x48xf32>) offsets(%offsets : memref<3xindex>)
      banks(%w : memref<2x80x24xf32>) {inner = 24, width = 40, gate_up = #moe.gate_up<interleave>}
      out(%out : memref<?x80xf32>) {
  ^bb0(%g: f32, %u: f32):
    %e = math.exp %g : f32
    %h = arith.mulf %e, %u : f32
    moe.yield %h : f32
  }
  return
}
// With two blocks and more none has less than half of the most rows.
// CHECK-LABEL: func.func private @moe.kernel.any.prefetch
// CHECK: scf.index_switch
// WIDE: case 4
// WIDE: call @moe.kernel.r4.prefetch
// WIDE: default
// WIDE: call @moe.kernel.r8.prefetch
// NARROW: case 3
// NARROW: call @moe.kernel.r3.prefetch
// NARROW: default
// NARROW: call @moe.kernel.r6.prefetch
// CHECK-LABEL: func.func private @moe.kernel.any(
// CHECK: case 1
// CHECK: call @moe.kernel.r1(
// CHECK: call @moe.kernel.r2(
// CHECK-LABEL: func.func private @moe.kernel.r1({{.*}}) attributes {llvm.linkage = #llvm.linkage<internal>, passthrough = ["noinline"], rt.kernel}

// -----

// One expert with all rows needs no list of work. Results that are not padded
// end behind a mask, which extras are read through as well.
// CHECK-LABEL: func.func @dense
// CHECK-NOT: memref.alloc(
// CHECK: rt.parallel_for
// CHECK-DAG: %[[ROW:.*]] = vector.maskedload %arg1[%c0{{[_0-9]*}}, %{{.*}}]{{.*}} : memref<1x40xf32>
// CHECK-DAG: vector.maskedload %arg2[%{{.*}}, %{{.*}}]{{.*}} : memref<?x40xf16>
// CHECK-DAG: memref.load %arg3[%{{.*}}, %c0{{[_0-9]*}}] : memref<?x1xf32>
// CHECK: arith.addf %{{.*}}, %[[ROW]]
// CHECK: arith.truncf %{{.*}} : vector<{{16|8}}xf32> to vector<{{16|8}}xf16>
// CHECK: vector.maskedstore
func.func @dense(%rows: memref<?x24xf32>, %bias: memref<1x40xf32>, %more: memref<?x40xf16>,
                 %scale: memref<?x1xf32>, %out: memref<?x40xf16>) {
  %w = rt.constant {value = dense<0.5> : tensor<1x40x24xf32>} : memref<1x40x24xf32>
  moe.grouped_linear rows(%rows : memref<?x24xf32>) banks(%w : memref<1x40x24xf32>)
      extras(%bias, %more, %scale : memref<1x40xf32>, memref<?x40xf16>, memref<?x1xf32>)
      {inner = 24, width = 40} out(%out : memref<?x40xf16>) {
  ^bb0(%v: f32, %b: f32, %m: f16, %s: f32):
    %0 = arith.addf %v, %b : f32
    %1 = arith.extf %m : f16 to f32
    %2 = arith.addf %0, %1 : f32
    %3 = arith.mulf %2, %s : f32
    %4 = arith.truncf %3 : f32 to f16
    moe.yield %4 : f16
  }
  return
}

// -----

// Weights of the run are converted a block at a time; so is their bias.
// CHECK-LABEL: func.func @given
// CHECK-NOT: #rt.panels
// CHECK: rt.parallel_for
// WIDE: memref.alloca() {alignment = 64 : i64} : memref<6144xf32>
// WIDE: memref.alloca() {alignment = 64 : i64} : memref<8192xf32>
// NARROW: memref.alloca() {alignment = 64 : i64} : memref<3072xf32>
// NARROW: memref.alloca() {alignment = 64 : i64} : memref<4096xf32>
// CHECK: arith.extf {{.*}} : f16 to f32
// CHECK-NOT: prefetch
// CHECK: return
func.func @given(%rows: memref<?x48xf32>, %offsets: memref<2xindex>, %w: memref<1x24x40xf16>,
                 %b: memref<1x40xf16>, %out: memref<?x80xf32>) {
  moe.grouped_linear rows(%rows : memref<?x48xf32>) offsets(%offsets : memref<2xindex>)
      banks(%w : memref<1x24x40xf16>) biases(%b : memref<1x40xf16>)
      {inner = 24, width = 40, layout = #moe.layout<io>} out(%out : memref<?x80xf32>) {
  ^bb0(%v: f32):
    moe.yield %v : f32
  }
  return
}

// -----

// Constant codes stay codes: bytes in the order of panels.
// CHECK-LABEL: func.func @codes
// WIDE: rt.constant {value = #rt.panels<{{.*}}cols = 32, width = 40> : tensor<1x2x32x32xi8>}
// WIDE: rt.constant {value = #rt.panels<{{.*}}cols = 2, width = 40> : tensor<1x2x2x32xf32>}
// WIDE: rt.constant {value = #rt.panels<{{.*}}cols = 2, width = 40, bits = 4> : tensor<1x2x2x32xf32>}
// CHECK: rt.parallel_for
// WIDE: arith.extui {{.*}} : vector<16xi8> to vector<16xi32>
// WIDE: arith.andi
// WIDE: arith.sitofp
// WIDE: arith.shrui
func.func @codes(%rows: memref<?x80xf32>, %offsets: memref<2xindex>, %out: memref<?x80xf32>) {
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

// CHECK-LABEL: func.func @combine
// CHECK: rt.parallel_for
// WIDE: vector.fma {{.*}} : vector<16xf32>
// WIDE: vector.maskedstore
// NARROW: vector.maskedstore
func.func @combine(%rows: memref<?x80xf32>, %positions: memref<?x2xindex>, %w: memref<?x2xf32>, %out: memref<?x36xf32>) {
  moe.combine_rows rows(%rows : memref<?x80xf32>) positions(%positions : memref<?x2xindex>)
      weights(%w : memref<?x2xf32>) out(%out : memref<?x36xf32>)
  return
}

// -----

// Halves stay halves in the panels and are widened in registers.
// CHECK-LABEL: func.func @halves
// WIDE: rt.constant {value = #rt.panels<{{.*}}> : tensor<1x2x24x32xbf16>} : memref<1x2x24x32xbf16>
// NARROW: rt.constant {value = #rt.panels<{{.*}}> : tensor<1x3x24x16xbf16>} : memref<1x3x24x16xbf16>
// CHECK: rt.parallel_for
// CHECK: func.call @moe.kernel.any.bf16.prefetch
// CHECK: func.call @moe.kernel.any.bf16(
// CHECK-LABEL: func.func private @moe.kernel.r1.bf16(
// CHECK: vector.load {{.*}} vector<{{16|8}}xbf16>
// CHECK: arith.extf
// CHECK: vector.fma
func.func @halves(%rows: memref<?x24xf32>, %out: memref<?x40xf32>) {
  %w = rt.constant {value = dense<0.5> : tensor<1x40x24xbf16>} : memref<1x40x24xbf16>
  moe.grouped_linear rows(%rows : memref<?x24xf32>) banks(%w : memref<1x40x24xbf16>)
      {inner = 24, width = 40} out(%out : memref<?x40xf32>) {
  ^bb0(%v: f32):
    moe.yield %v : f32
  }
  return
}
