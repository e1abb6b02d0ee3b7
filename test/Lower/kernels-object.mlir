// The machine code of kernels: in their inner loops all sums stay in registers
// (no reference to the stack) and at most two instructions step counters or
// addresses. A compiler that does otherwise halves the speed and breaks nothing
// else. Two layers of different widths, so that nothing is specialised.
// RUN: moe-compile %s --mcpu=x86-64-v4 --emit=obj -o %t.v4.o
// RUN: %python %S/../Inputs/inner_loops.py llvm-objdump %t.v4.o | FileCheck %s --check-prefix=V4
// RUN: moe-compile %s --mcpu=znver4 --emit=obj -o %t.zn.o
// RUN: %python %S/../Inputs/inner_loops.py llvm-objdump %t.zn.o | FileCheck %s --check-prefix=V4
// RUN: moe-compile %s --mcpu=znver4 --activations=rounded --emit=obj -o %t.pairs.o
// RUN: %python %S/../Inputs/inner_loops.py llvm-objdump %t.pairs.o | FileCheck %s --check-prefix=PAIRS
// RUN: moe-compile %s --mcpu=x86-64-v3 --emit=obj -o %t.v3.o
// RUN: %python %S/../Inputs/inner_loops.py llvm-objdump %t.v3.o | FileCheck %s --check-prefix=V3

// V4-DAG: moe.kernel.r1: products {{[0-9]+}}, stack 0, moves {{[0-2]$}}
// V4-DAG: moe.kernel.r2: products 4, stack 0, moves {{[0-2]$}}
// V4-DAG: moe.kernel.r3: products 6, stack 0, moves {{[0-2]$}}
// V4-DAG: moe.kernel.r4: products 8, stack 0, moves {{[0-2]$}}
// V4-DAG: moe.kernel.r5: products 10, stack 0, moves {{[0-2]$}}
// V4-DAG: moe.kernel.r6: products 12, stack 0, moves {{[0-2]$}}
// V4-DAG: moe.kernel.r7: products 14, stack 0, moves {{[0-2]$}}
// V4-DAG: moe.kernel.r8: products 16, stack 0, moves {{[0-2]$}}
// V4-DAG: moe.kernel.r4.prefetch: products 8, stack 0, moves {{[0-2]$}}
// V4-DAG: moe.kernel.r5.prefetch: products 10, stack 0, moves {{[0-2]$}}
// V4-DAG: moe.kernel.r6.prefetch: products 12, stack 0, moves {{[0-2]$}}
// V4-DAG: moe.kernel.r7.prefetch: products 14, stack 0, moves {{[0-2]$}}
// V4-DAG: moe.kernel.r8.prefetch: products 16, stack 0, moves {{[0-2]$}}

// V3-DAG: moe.kernel.r1: products {{[0-9]+}}, stack 0, moves {{[0-2]$}}
// V3-DAG: moe.kernel.r2: products 4, stack 0, moves {{[0-2]$}}
// V3-DAG: moe.kernel.r3: products 6, stack 0, moves {{[0-2]$}}
// V3-DAG: moe.kernel.r4: products 8, stack 0, moves {{[0-2]$}}
// V3-DAG: moe.kernel.r5: products 10, stack 0, moves {{[0-2]$}}
// V3-DAG: moe.kernel.r6: products 12, stack 0, moves {{[0-2]$}}
// V3-DAG: moe.kernel.r3.prefetch: products 6, stack 0, moves {{[0-2]$}}
// V3-DAG: moe.kernel.r4.prefetch: products 8, stack 0, moves {{[0-2]$}}
// V3-DAG: moe.kernel.r5.prefetch: products 10, stack 0, moves {{[0-2]$}}
// V3-DAG: moe.kernel.r6.prefetch: products 12, stack 0, moves {{[0-2]$}}

// Halves, converted in registers.
// V4-DAG: moe.kernel.r1.f16: products {{[0-9]+}}, stack 0, moves {{[0-2]$}}
// V4-DAG: moe.kernel.r2.f16: products {{[0-9]+}}, stack 0, moves {{[0-2]$}}
// V4-DAG: moe.kernel.r3.f16: products {{[0-9]+}}, stack 0, moves {{[0-2]$}}
// V4-DAG: moe.kernel.r4.f16: products {{[0-9]+}}, stack 0, moves {{[0-2]$}}
// V4-DAG: moe.kernel.r5.f16: products {{[0-9]+}}, stack 0, moves {{[0-2]$}}
// V4-DAG: moe.kernel.r6.f16: products {{[0-9]+}}, stack 0, moves {{[0-2]$}}
// V4-DAG: moe.kernel.r7.f16: products {{[0-9]+}}, stack 0, moves {{[0-2]$}}
// V4-DAG: moe.kernel.r8.f16: products {{[0-9]+}}, stack 0, moves {{[0-2]$}}
// V4-DAG: moe.kernel.r4.f16.prefetch: products {{[0-9]+}}, stack 0, moves {{[0-2]$}}
// V4-DAG: moe.kernel.r5.f16.prefetch: products {{[0-9]+}}, stack 0, moves {{[0-2]$}}
// V4-DAG: moe.kernel.r6.f16.prefetch: products {{[0-9]+}}, stack 0, moves {{[0-2]$}}
// V4-DAG: moe.kernel.r7.f16.prefetch: products {{[0-9]+}}, stack 0, moves {{[0-2]$}}
// V4-DAG: moe.kernel.r8.f16.prefetch: products {{[0-9]+}}, stack 0, moves {{[0-2]$}}
// V4-DAG: moe.kernel.r1.bf16: products {{[0-9]+}}, stack 0, moves {{[0-2]$}}
// V4-DAG: moe.kernel.r2.bf16: products {{[0-9]+}}, stack 0, moves {{[0-2]$}}
// V4-DAG: moe.kernel.r3.bf16: products {{[0-9]+}}, stack 0, moves {{[0-2]$}}
// V4-DAG: moe.kernel.r4.bf16: products {{[0-9]+}}, stack 0, moves {{[0-2]$}}
// V4-DAG: moe.kernel.r5.bf16: products {{[0-9]+}}, stack 0, moves {{[0-2]$}}
// V4-DAG: moe.kernel.r6.bf16: products {{[0-9]+}}, stack 0, moves {{[0-2]$}}
// V4-DAG: moe.kernel.r7.bf16: products {{[0-9]+}}, stack 0, moves {{[0-2]$}}
// V4-DAG: moe.kernel.r8.bf16: products {{[0-9]+}}, stack 0, moves {{[0-2]$}}
// V4-DAG: moe.kernel.r4.bf16.prefetch: products {{[0-9]+}}, stack 0, moves {{[0-2]$}}
// V4-DAG: moe.kernel.r5.bf16.prefetch: products {{[0-9]+}}, stack 0, moves {{[0-2]$}}
// V4-DAG: moe.kernel.r6.bf16.prefetch: products {{[0-9]+}}, stack 0, moves {{[0-2]$}}
// V4-DAG: moe.kernel.r7.bf16.prefetch: products {{[0-9]+}}, stack 0, moves {{[0-2]$}}
// V4-DAG: moe.kernel.r8.bf16.prefetch: products {{[0-9]+}}, stack 0, moves {{[0-2]$}}

// V3-DAG: moe.kernel.r1.f16: products {{[0-9]+}}, stack 0, moves {{[0-2]$}}
// V3-DAG: moe.kernel.r2.f16: products {{[0-9]+}}, stack 0, moves {{[0-2]$}}
// V3-DAG: moe.kernel.r3.f16: products {{[0-9]+}}, stack 0, moves {{[0-2]$}}
// V3-DAG: moe.kernel.r4.f16: products {{[0-9]+}}, stack 0, moves {{[0-2]$}}
// V3-DAG: moe.kernel.r5.f16: products {{[0-9]+}}, stack 0, moves {{[0-2]$}}
// V3-DAG: moe.kernel.r6.f16: products {{[0-9]+}}, stack 0, moves {{[0-2]$}}
// V3-DAG: moe.kernel.r3.f16.prefetch: products {{[0-9]+}}, stack 0, moves {{[0-2]$}}
// V3-DAG: moe.kernel.r4.f16.prefetch: products {{[0-9]+}}, stack 0, moves {{[0-2]$}}
// V3-DAG: moe.kernel.r5.f16.prefetch: products {{[0-9]+}}, stack 0, moves {{[0-2]$}}
// V3-DAG: moe.kernel.r6.f16.prefetch: products {{[0-9]+}}, stack 0, moves {{[0-2]$}}
// V3-DAG: moe.kernel.r1.bf16: products {{[0-9]+}}, stack 0, moves {{[0-2]$}}
// V3-DAG: moe.kernel.r2.bf16: products {{[0-9]+}}, stack 0, moves {{[0-2]$}}
// V3-DAG: moe.kernel.r3.bf16: products {{[0-9]+}}, stack 0, moves {{[0-2]$}}
// V3-DAG: moe.kernel.r4.bf16: products {{[0-9]+}}, stack 0, moves {{[0-2]$}}
// V3-DAG: moe.kernel.r5.bf16: products {{[0-9]+}}, stack 0, moves {{[0-2]$}}
// V3-DAG: moe.kernel.r6.bf16: products {{[0-9]+}}, stack 0, moves {{[0-2]$}}
// V3-DAG: moe.kernel.r3.bf16.prefetch: products {{[0-9]+}}, stack 0, moves {{[0-2]$}}
// V3-DAG: moe.kernel.r4.bf16.prefetch: products {{[0-9]+}}, stack 0, moves {{[0-2]$}}
// V3-DAG: moe.kernel.r5.bf16.prefetch: products {{[0-9]+}}, stack 0, moves {{[0-2]$}}
// V3-DAG: moe.kernel.r6.bf16.prefetch: products {{[0-9]+}}, stack 0, moves {{[0-2]$}}

// Pairs of bf16.
// PAIRS-DAG: moe.kernel.r1.bf16.dot: products {{[0-9]+}}, stack 0, moves {{[0-2]$}}
// PAIRS-DAG: moe.kernel.r2.bf16.dot: products {{[0-9]+}}, stack 0, moves {{[0-2]$}}
// PAIRS-DAG: moe.kernel.r3.bf16.dot: products {{[0-9]+}}, stack 0, moves {{[0-2]$}}
// PAIRS-DAG: moe.kernel.r4.bf16.dot: products {{[0-9]+}}, stack 0, moves {{[0-2]$}}
// PAIRS-DAG: moe.kernel.r5.bf16.dot: products {{[0-9]+}}, stack 0, moves {{[0-2]$}}
// PAIRS-DAG: moe.kernel.r6.bf16.dot: products {{[0-9]+}}, stack 0, moves {{[0-2]$}}
// PAIRS-DAG: moe.kernel.r7.bf16.dot: products {{[0-9]+}}, stack 0, moves {{[0-2]$}}
// PAIRS-DAG: moe.kernel.r8.bf16.dot: products {{[0-9]+}}, stack 0, moves {{[0-2]$}}
// PAIRS-DAG: moe.kernel.r4.bf16.dot.prefetch: products {{[0-9]+}}, stack 0, moves {{[0-2]$}}
// PAIRS-DAG: moe.kernel.r5.bf16.dot.prefetch: products {{[0-9]+}}, stack 0, moves {{[0-2]$}}
// PAIRS-DAG: moe.kernel.r6.bf16.dot.prefetch: products {{[0-9]+}}, stack 0, moves {{[0-2]$}}
// PAIRS-DAG: moe.kernel.r7.bf16.dot.prefetch: products {{[0-9]+}}, stack 0, moves {{[0-2]$}}
// PAIRS-DAG: moe.kernel.r8.bf16.dot.prefetch: products {{[0-9]+}}, stack 0, moves {{[0-2]$}}

func.func @main(%x: tensor<?x64xf32> {rt.name = "x"}) -> tensor<?x40xf32> {
  %zero = arith.constant 0.0 : f32
  %c0 = arith.constant 0 : index
  %w0 = arith.constant dense<0.5> : tensor<64x96xf32>
  %w1 = arith.constant dense<0.25> : tensor<96x40xf32>
  %n = tensor.dim %x, %c0 : tensor<?x64xf32>
  %e0 = tensor.empty(%n) : tensor<?x96xf32>
  %i0 = linalg.fill ins(%zero : f32) outs(%e0 : tensor<?x96xf32>) -> tensor<?x96xf32>
  %h = linalg.matmul ins(%x, %w0 : tensor<?x64xf32>, tensor<64x96xf32>) outs(%i0 : tensor<?x96xf32>) -> tensor<?x96xf32>
  %e1 = tensor.empty(%n) : tensor<?x40xf32>
  %i1 = linalg.fill ins(%zero : f32) outs(%e1 : tensor<?x40xf32>) -> tensor<?x40xf32>
  %y = linalg.matmul ins(%h, %w1 : tensor<?x96xf32>, tensor<96x40xf32>) outs(%i1 : tensor<?x40xf32>) -> tensor<?x40xf32>
  return %y : tensor<?x40xf32>
}

func.func @halves(%x: tensor<?x64xf32> {rt.name = "x"}) -> tensor<?x40xf32> {
  %zero = arith.constant 0.0 : f32
  %c0 = arith.constant 0 : index
  %w0 = arith.constant dense<0.5> : tensor<64x96xf16>
  %w1 = arith.constant dense<0.25> : tensor<96x40xbf16>
  %n = tensor.dim %x, %c0 : tensor<?x64xf32>
  %e0 = tensor.empty(%n) : tensor<?x96xf32>
  %i0 = linalg.fill ins(%zero : f32) outs(%e0 : tensor<?x96xf32>) -> tensor<?x96xf32>
  %h = linalg.matmul ins(%x, %w0 : tensor<?x64xf32>, tensor<64x96xf16>) outs(%i0 : tensor<?x96xf32>) -> tensor<?x96xf32>
  %e1 = tensor.empty(%n) : tensor<?x40xf32>
  %i1 = linalg.fill ins(%zero : f32) outs(%e1 : tensor<?x40xf32>) -> tensor<?x40xf32>
  %y = linalg.matmul ins(%h, %w1 : tensor<?x96xf32>, tensor<96x40xbf16>) outs(%i1 : tensor<?x40xf32>) -> tensor<?x40xf32>
  return %y : tensor<?x40xf32>
}
