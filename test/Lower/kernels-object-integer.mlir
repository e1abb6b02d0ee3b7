// The machine code of kernels for codes: as in kernels-object.mlir, sums stay in
// registers and few instructions move addresses. Two layers of different widths
// for each form, so that nothing is specialised. A unit of 32 takes 8 products of
// bytes for each digit, row and vector, then a few products of floats. Loops of so
// many products may step an address for each row, and
// with the most rows of one digit a constant does not fit.
// RUN: moe-compile %s --mcpu=znver4 --emit=obj -o %t.zn.o
// RUN: %python %S/../Inputs/inner_loops.py llvm-objdump %t.zn.o > %t.zn.txt
// RUN: FileCheck %s --check-prefix=WIDE < %t.zn.txt
// RUN: moe-compile %s --mcpu=sapphirerapids --emit=obj -o %t.spr.o
// RUN: %python %S/../Inputs/inner_loops.py llvm-objdump %t.spr.o > %t.spr.txt
// RUN: FileCheck %s --check-prefix=WIDE < %t.spr.txt
// RUN: moe-compile %s --mcpu=znver4 --activations=close --emit=obj -o %t.close.o
// RUN: %python %S/../Inputs/inner_loops.py llvm-objdump %t.close.o | FileCheck %s --check-prefix=CLOSE
// Registers of 256 bits:
// RUN: moe-compile %s --mcpu=alderlake --emit=obj -o %t.adl.o
// RUN: %python %S/../Inputs/inner_loops.py llvm-objdump %t.adl.o | FileCheck %s --check-prefix=NARROW
// CPUs without integer products have none of these kernels, nor does f32.
// RUN: moe-compile %s --mcpu=x86-64-v4 --emit=obj -o %t.v4.o
// RUN: %python %S/../Inputs/inner_loops.py llvm-objdump %t.v4.o | FileCheck %s --check-prefix=FLOATS
// RUN: moe-compile %s --mcpu=znver4 --activations=f32 --emit=obj -o %t.f32.o
// RUN: %python %S/../Inputs/inner_loops.py llvm-objdump %t.f32.o | FileCheck %s --check-prefix=FLOATS
// RUN: not moe-compile %s --activations=exakt -o %t.so 2>&1 | FileCheck %s --check-prefix=WRONG

// WRONG: --activations=exakt: expected f32, exact, close or rounded

// FLOATS-NOT: {{\.i[248]x}}
// FLOATS: moe.kernel.r1: products
// FLOATS-NOT: {{\.i[248]x}}

// WIDE-DAG: moe.kernel.r2.i8x3.prefetch: products 104, stack 0, moves {{[0-2]$}}
// WIDE-DAG: moe.kernel.r3.i8x3.prefetch: products 156, stack 0, moves {{[0-2]$}}
// WIDE-DAG: moe.kernel.r1.i8x3: products 52, stack 0, moves {{[0-2]$}}
// WIDE-DAG: moe.kernel.r2.i8x3: products 104, stack 0, moves {{[0-2]$}}
// WIDE-DAG: moe.kernel.r3.i8x3: products 156, stack 0, moves {{[0-2]$}}
// WIDE-DAG: moe.kernel.r2.i4x3.prefetch: products 104, stack 0, moves {{[0-2]$}}
// WIDE-DAG: moe.kernel.r3.i4x3.prefetch: products 156, stack 0, moves {{[0-2]$}}
// WIDE-DAG: moe.kernel.r1.i4x3: products 52, stack 0, moves {{[0-2]$}}
// WIDE-DAG: moe.kernel.r2.i4x3: products 104, stack 0, moves {{[0-2]$}}
// WIDE-DAG: moe.kernel.r3.i4x3: products 156, stack 0, moves {{[0-2]$}}
// WIDE-DAG: moe.kernel.r2.i2x3.prefetch: products 104, stack 0, moves {{[0-2]$}}
// WIDE-DAG: moe.kernel.r3.i2x3.prefetch: products 156, stack 0, moves {{[0-2]$}}
// WIDE-DAG: moe.kernel.r1.i2x3: products 52, stack 0, moves {{[0-2]$}}
// WIDE-DAG: moe.kernel.r2.i2x3: products 104, stack 0, moves {{[0-2]$}}
// WIDE-DAG: moe.kernel.r3.i2x3: products 156, stack 0, moves {{[0-2]$}}
// WIDE-DAG: moe.kernel.r2.i4x3.u16.prefetch: products 56, stack 0, moves {{[0-2]$}}
// WIDE-DAG: moe.kernel.r3.i4x3.u16.prefetch: products 84, stack 0, moves {{[0-2]$}}
// WIDE-DAG: moe.kernel.r1.i4x3.u16: products 28, stack 0, moves {{[0-2]$}}
// WIDE-DAG: moe.kernel.r2.i4x3.u16: products 56, stack 0, moves {{[0-2]$}}
// WIDE-DAG: moe.kernel.r3.i4x3.u16: products 84, stack 0, moves {{[0-2]$}}
// WIDE-DAG: moe.kernel.r2.i4x3.nested.prefetch: products 104, stack 0, moves {{[0-3]$}}
// WIDE-DAG: moe.kernel.r3.i4x3.nested.prefetch: products 156, stack 0, moves {{[0-3]$}}
// WIDE-DAG: moe.kernel.r1.i4x3.nested: products 52, stack 0, moves {{[0-3]$}}
// WIDE-DAG: moe.kernel.r2.i4x3.nested: products 104, stack 0, moves {{[0-3]$}}
// WIDE-DAG: moe.kernel.r3.i4x3.nested: products 156, stack 0, moves {{[0-3]$}}
// WIDE-DAG: moe.kernel.r3.i8x1.prefetch: products 54, stack 0, moves {{[0-2]$}}
// WIDE-DAG: moe.kernel.r4.i8x1.prefetch: products 72, stack 0, moves {{[0-2]$}}
// WIDE-DAG: moe.kernel.r5.i8x1.prefetch: products 90, stack 0, moves {{[0-6]$}}
// WIDE-DAG: moe.kernel.r6.i8x1.prefetch: products 108, stack 0, moves {{[0-6]$}}
// WIDE-DAG: moe.kernel.r1.i8x1: products 18, stack 0, moves {{[0-2]$}}
// WIDE-DAG: moe.kernel.r2.i8x1: products 36, stack 0, moves {{[0-2]$}}
// WIDE-DAG: moe.kernel.r3.i8x1: products 54, stack 0, moves {{[0-2]$}}
// WIDE-DAG: moe.kernel.r4.i8x1: products 72, stack 0, moves {{[0-2]$}}
// WIDE-DAG: moe.kernel.r5.i8x1: products 90, stack 0, moves {{[0-6]$}}
// WIDE-DAG: moe.kernel.r6.i8x1: products 108, stack 0, moves {{[0-6]$}}
// WIDE-DAG: moe.kernel.r3.i4x1.prefetch: products 54, stack 0, moves {{[0-2]$}}
// WIDE-DAG: moe.kernel.r4.i4x1.prefetch: products 72, stack 0, moves {{[0-2]$}}
// WIDE-DAG: moe.kernel.r5.i4x1.prefetch: products 90, stack 0, moves {{[0-6]$}}
// WIDE-DAG: moe.kernel.r6.i4x1.prefetch: products 108, stack {{[0-8]}}, moves {{[0-6]$}}
// WIDE-DAG: moe.kernel.r1.i4x1: products 18, stack 0, moves {{[0-2]$}}
// WIDE-DAG: moe.kernel.r2.i4x1: products 36, stack 0, moves {{[0-2]$}}
// WIDE-DAG: moe.kernel.r3.i4x1: products 54, stack 0, moves {{[0-2]$}}
// WIDE-DAG: moe.kernel.r4.i4x1: products 72, stack 0, moves {{[0-2]$}}
// WIDE-DAG: moe.kernel.r5.i4x1: products 90, stack 0, moves {{[0-6]$}}
// WIDE-DAG: moe.kernel.r6.i4x1: products 108, stack 0, moves {{[0-6]$}}
// WIDE-DAG: moe.kernel.r2.i4x3.zeros.prefetch: products 108, stack 0, moves {{[0-2]$}}
// WIDE-DAG: moe.kernel.r3.i4x3.zeros.prefetch: products 162, stack 0, moves {{[0-2]$}}
// WIDE-DAG: moe.kernel.r1.i4x3.zeros: products 54, stack 0, moves {{[0-2]$}}
// WIDE-DAG: moe.kernel.r2.i4x3.zeros: products 108, stack 0, moves {{[0-2]$}}
// WIDE-DAG: moe.kernel.r3.i4x3.zeros: products 162, stack 0, moves {{[0-2]$}}
// WIDE-DAG: moe.kernel.r3.i8x1.nested.zeros.prefetch: products 60, stack 0, moves {{[0-3]$}}
// WIDE-DAG: moe.kernel.r4.i8x1.nested.zeros.prefetch: products 80, stack 0, moves {{[0-6]$}}
// WIDE-DAG: moe.kernel.r5.i8x1.nested.zeros.prefetch: products 100, stack 0, moves {{[0-6]$}}
// WIDE-DAG: moe.kernel.r1.i8x1.nested.zeros: products 20, stack 0, moves {{[0-3]$}}
// WIDE-DAG: moe.kernel.r2.i8x1.nested.zeros: products 40, stack 0, moves {{[0-3]$}}
// WIDE-DAG: moe.kernel.r3.i8x1.nested.zeros: products 60, stack 0, moves {{[0-3]$}}
// WIDE-DAG: moe.kernel.r4.i8x1.nested.zeros: products 80, stack 0, moves {{[0-3]$}}
// WIDE-DAG: moe.kernel.r5.i8x1.nested.zeros: products 100, stack 0, moves {{[0-6]$}}

// CLOSE-DAG: moe.kernel.r2.i8x2.prefetch: products 68, stack 0, moves {{[0-2]$}}
// CLOSE-DAG: moe.kernel.r3.i8x2.prefetch: products 102, stack 0, moves {{[0-2]$}}
// CLOSE-DAG: moe.kernel.r4.i8x2.prefetch: products 136, stack 0, moves {{[0-2]$}}
// CLOSE-DAG: moe.kernel.r1.i8x2: products 34, stack 0, moves {{[0-2]$}}
// CLOSE-DAG: moe.kernel.r2.i8x2: products 68, stack 0, moves {{[0-2]$}}
// CLOSE-DAG: moe.kernel.r3.i8x2: products 102, stack 0, moves {{[0-2]$}}
// CLOSE-DAG: moe.kernel.r4.i8x2: products 136, stack 0, moves {{[0-2]$}}
// CLOSE-DAG: moe.kernel.r2.i4x2.prefetch: products 68, stack 0, moves {{[0-2]$}}
// CLOSE-DAG: moe.kernel.r3.i4x2.prefetch: products 102, stack 0, moves {{[0-2]$}}
// CLOSE-DAG: moe.kernel.r4.i4x2.prefetch: products 136, stack 0, moves {{[0-2]$}}
// CLOSE-DAG: moe.kernel.r1.i4x2: products 34, stack 0, moves {{[0-2]$}}
// CLOSE-DAG: moe.kernel.r2.i4x2: products 68, stack 0, moves {{[0-2]$}}
// CLOSE-DAG: moe.kernel.r3.i4x2: products 102, stack 0, moves {{[0-2]$}}
// CLOSE-DAG: moe.kernel.r4.i4x2: products 136, stack 0, moves {{[0-2]$}}
// CLOSE-DAG: moe.kernel.r2.i2x2.prefetch: products 68, stack 0, moves {{[0-2]$}}
// CLOSE-DAG: moe.kernel.r3.i2x2.prefetch: products 102, stack 0, moves {{[0-2]$}}
// CLOSE-DAG: moe.kernel.r4.i2x2.prefetch: products 136, stack 0, moves {{[0-2]$}}
// CLOSE-DAG: moe.kernel.r1.i2x2: products 34, stack 0, moves {{[0-2]$}}
// CLOSE-DAG: moe.kernel.r2.i2x2: products 68, stack 0, moves {{[0-2]$}}
// CLOSE-DAG: moe.kernel.r3.i2x2: products 102, stack 0, moves {{[0-2]$}}
// CLOSE-DAG: moe.kernel.r4.i2x2: products 136, stack 0, moves {{[0-2]$}}
// CLOSE-DAG: moe.kernel.r2.i4x2.u16.prefetch: products 36, stack 0, moves {{[0-2]$}}
// CLOSE-DAG: moe.kernel.r3.i4x2.u16.prefetch: products 54, stack 0, moves {{[0-2]$}}
// CLOSE-DAG: moe.kernel.r4.i4x2.u16.prefetch: products 72, stack 0, moves {{[0-2]$}}
// CLOSE-DAG: moe.kernel.r1.i4x2.u16: products 18, stack 0, moves {{[0-2]$}}
// CLOSE-DAG: moe.kernel.r2.i4x2.u16: products 36, stack 0, moves {{[0-2]$}}
// CLOSE-DAG: moe.kernel.r3.i4x2.u16: products 54, stack 0, moves {{[0-2]$}}
// CLOSE-DAG: moe.kernel.r4.i4x2.u16: products 72, stack 0, moves {{[0-2]$}}
// CLOSE-DAG: moe.kernel.r2.i4x2.nested.prefetch: products 68, stack 0, moves {{[0-3]$}}
// CLOSE-DAG: moe.kernel.r3.i4x2.nested.prefetch: products 102, stack 0, moves {{[0-3]$}}
// CLOSE-DAG: moe.kernel.r4.i4x2.nested.prefetch: products 136, stack 0, moves {{[0-6]$}}
// CLOSE-DAG: moe.kernel.r1.i4x2.nested: products 34, stack 0, moves {{[0-3]$}}
// CLOSE-DAG: moe.kernel.r2.i4x2.nested: products 68, stack 0, moves {{[0-3]$}}
// CLOSE-DAG: moe.kernel.r3.i4x2.nested: products 102, stack 0, moves {{[0-3]$}}
// CLOSE-DAG: moe.kernel.r4.i4x2.nested: products 136, stack 0, moves {{[0-3]$}}
// CLOSE-DAG: moe.kernel.r2.i4x2.zeros.prefetch: products 72, stack 0, moves {{[0-2]$}}
// CLOSE-DAG: moe.kernel.r3.i4x2.zeros.prefetch: products 108, stack 0, moves {{[0-2]$}}
// CLOSE-DAG: moe.kernel.r4.i4x2.zeros.prefetch: products 144, stack 0, moves {{[0-2]$}}
// CLOSE-DAG: moe.kernel.r1.i4x2.zeros: products 36, stack 0, moves {{[0-2]$}}
// CLOSE-DAG: moe.kernel.r2.i4x2.zeros: products 72, stack 0, moves {{[0-2]$}}
// CLOSE-DAG: moe.kernel.r3.i4x2.zeros: products 108, stack 0, moves {{[0-2]$}}
// CLOSE-DAG: moe.kernel.r4.i4x2.zeros: products 144, stack 0, moves {{[0-2]$}}

// NARROW-DAG: moe.kernel.r1.i8x3: products 52, stack 0, moves {{[0-2]$}}
// NARROW-DAG: moe.kernel.r1.i4x3: products 52, stack 0, moves {{[0-2]$}}
// NARROW-DAG: moe.kernel.r1.i2x3: products 52, stack 0, moves {{[0-2]$}}
// NARROW-DAG: moe.kernel.r1.i4x3.u16: products 28, stack 0, moves {{[0-2]$}}
// NARROW-DAG: moe.kernel.r1.i4x3.nested: products 52, stack {{[0-8]}}, moves {{[0-3]$}}
// NARROW-DAG: moe.kernel.r1.i8x1: products 18, stack 0, moves {{[0-2]$}}
// NARROW-DAG: moe.kernel.r2.i8x1: products 36, stack 0, moves {{[0-2]$}}
// NARROW-DAG: moe.kernel.r3.i8x1: products 54, stack 0, moves {{[0-2]$}}
// NARROW-DAG: moe.kernel.r1.i4x1: products 18, stack 0, moves {{[0-2]$}}
// NARROW-DAG: moe.kernel.r2.i4x1: products 36, stack 0, moves {{[0-2]$}}
// NARROW-DAG: moe.kernel.r3.i4x1: products 54, stack {{[0-8]}}, moves {{[0-2]$}}
// NARROW-DAG: moe.kernel.r1.i4x3.zeros: products 54, stack 0, moves {{[0-2]$}}
// NARROW-DAG: moe.kernel.r1.i8x1.nested.zeros: products 20, stack 0, moves {{[0-3]$}}
// NARROW-DAG: moe.kernel.r2.i8x1.nested.zeros: products 40, stack 0, moves {{[0-3]$}}
// NARROW-DAG: moe.kernel.r3.i8x1.nested.zeros: products 60, stack {{[0-8]}}, moves {{[0-3]$}}

func.func @main(%x: tensor<?x640xf32> {onnx.dims = ["t", ""]}) -> tensor<?x640xf32> {
  %w0 = onnx.Constant() {value = dense<17> : tensor<384x20x32xui8>} : () -> tensor<384x20x32xui8>
  %s0 = onnx.Constant() {value = dense<0.5> : tensor<384x20xf32>} : () -> tensor<384x20xf32>
  %y0 = onnx_ms.MatMulNBits(%x, %w0, %s0) {K = 640 : i64, N = 384 : i64, bits = 8 : i64, block_size = 32 : i64} : (tensor<?x640xf32>, tensor<384x20x32xui8>, tensor<384x20xf32>) -> tensor<?x384xf32>
  %w1 = onnx.Constant() {value = dense<17> : tensor<640x12x32xui8>} : () -> tensor<640x12x32xui8>
  %s1 = onnx.Constant() {value = dense<0.5> : tensor<640x12xf32>} : () -> tensor<640x12xf32>
  %y1 = onnx_ms.MatMulNBits(%y0, %w1, %s1) {K = 384 : i64, N = 640 : i64, bits = 8 : i64, block_size = 32 : i64} : (tensor<?x384xf32>, tensor<640x12x32xui8>, tensor<640x12xf32>) -> tensor<?x640xf32>
  %w2 = onnx.Constant() {value = dense<17> : tensor<384x20x16xui8>} : () -> tensor<384x20x16xui8>
  %s2 = onnx.Constant() {value = dense<0.5> : tensor<384x20xf32>} : () -> tensor<384x20xf32>
  %y2 = onnx_ms.MatMulNBits(%y1, %w2, %s2) {K = 640 : i64, N = 384 : i64, bits = 4 : i64, block_size = 32 : i64} : (tensor<?x640xf32>, tensor<384x20x16xui8>, tensor<384x20xf32>) -> tensor<?x384xf32>
  %w3 = onnx.Constant() {value = dense<17> : tensor<640x12x16xui8>} : () -> tensor<640x12x16xui8>
  %s3 = onnx.Constant() {value = dense<0.5> : tensor<640x12xf32>} : () -> tensor<640x12xf32>
  %y3 = onnx_ms.MatMulNBits(%y2, %w3, %s3) {K = 384 : i64, N = 640 : i64, bits = 4 : i64, block_size = 32 : i64} : (tensor<?x384xf32>, tensor<640x12x16xui8>, tensor<640x12xf32>) -> tensor<?x640xf32>
  %w4 = onnx.Constant() {value = dense<17> : tensor<384x20x8xui8>} : () -> tensor<384x20x8xui8>
  %s4 = onnx.Constant() {value = dense<0.5> : tensor<384x20xf32>} : () -> tensor<384x20xf32>
  %y4 = onnx_ms.MatMulNBits(%y3, %w4, %s4) {K = 640 : i64, N = 384 : i64, bits = 2 : i64, block_size = 32 : i64} : (tensor<?x640xf32>, tensor<384x20x8xui8>, tensor<384x20xf32>) -> tensor<?x384xf32>
  %w5 = onnx.Constant() {value = dense<17> : tensor<640x12x8xui8>} : () -> tensor<640x12x8xui8>
  %s5 = onnx.Constant() {value = dense<0.5> : tensor<640x12xf32>} : () -> tensor<640x12xf32>
  %y5 = onnx_ms.MatMulNBits(%y4, %w5, %s5) {K = 384 : i64, N = 640 : i64, bits = 2 : i64, block_size = 32 : i64} : (tensor<?x384xf32>, tensor<640x12x8xui8>, tensor<640x12xf32>) -> tensor<?x640xf32>
  %w6 = onnx.Constant() {value = dense<17> : tensor<384x40x8xui8>} : () -> tensor<384x40x8xui8>
  %s6 = onnx.Constant() {value = dense<0.5> : tensor<384x40xf32>} : () -> tensor<384x40xf32>
  %y6 = onnx_ms.MatMulNBits(%y5, %w6, %s6) {K = 640 : i64, N = 384 : i64, bits = 4 : i64, block_size = 16 : i64} : (tensor<?x640xf32>, tensor<384x40x8xui8>, tensor<384x40xf32>) -> tensor<?x384xf32>
  %w7 = onnx.Constant() {value = dense<17> : tensor<640x24x8xui8>} : () -> tensor<640x24x8xui8>
  %s7 = onnx.Constant() {value = dense<0.5> : tensor<640x24xf32>} : () -> tensor<640x24xf32>
  %y7 = onnx_ms.MatMulNBits(%y6, %w7, %s7) {K = 384 : i64, N = 640 : i64, bits = 4 : i64, block_size = 16 : i64} : (tensor<?x384xf32>, tensor<640x24x8xui8>, tensor<640x24xf32>) -> tensor<?x640xf32>
  %w8 = onnx.Constant() {value = dense<17> : tensor<384x5x64xui8>} : () -> tensor<384x5x64xui8>
  %s8 = onnx.Constant() {value = dense<0.5> : tensor<384x5xf32>} : () -> tensor<384x5xf32>
  %y8 = onnx_ms.MatMulNBits(%y7, %w8, %s8) {K = 640 : i64, N = 384 : i64, bits = 4 : i64, block_size = 128 : i64} : (tensor<?x640xf32>, tensor<384x5x64xui8>, tensor<384x5xf32>) -> tensor<?x384xf32>
  %w9 = onnx.Constant() {value = dense<17> : tensor<640x3x64xui8>} : () -> tensor<640x3x64xui8>
  %s9 = onnx.Constant() {value = dense<0.5> : tensor<640x3xf32>} : () -> tensor<640x3xf32>
  %y9 = onnx_ms.MatMulNBits(%y8, %w9, %s9) {K = 384 : i64, N = 640 : i64, bits = 4 : i64, block_size = 128 : i64} : (tensor<?x384xf32>, tensor<640x3x64xui8>, tensor<640x3xf32>) -> tensor<?x640xf32>
  %w10 = onnx.Constant() {value = dense<17> : tensor<384x20x32xui8>} : () -> tensor<384x20x32xui8>
  %s10 = onnx.Constant() {value = dense<0.5> : tensor<384x20xf32>} : () -> tensor<384x20xf32>
  %y10 = onnx_ms.MatMulNBits(%y9, %w10, %s10) {K = 640 : i64, N = 384 : i64, bits = 8 : i64, block_size = 32 : i64, accuracy_level = 4 : i64} : (tensor<?x640xf32>, tensor<384x20x32xui8>, tensor<384x20xf32>) -> tensor<?x384xf32>
  %w11 = onnx.Constant() {value = dense<17> : tensor<640x12x32xui8>} : () -> tensor<640x12x32xui8>
  %s11 = onnx.Constant() {value = dense<0.5> : tensor<640x12xf32>} : () -> tensor<640x12xf32>
  %y11 = onnx_ms.MatMulNBits(%y10, %w11, %s11) {K = 384 : i64, N = 640 : i64, bits = 8 : i64, block_size = 32 : i64, accuracy_level = 4 : i64} : (tensor<?x384xf32>, tensor<640x12x32xui8>, tensor<640x12xf32>) -> tensor<?x640xf32>
  %w12 = onnx.Constant() {value = dense<17> : tensor<384x20x16xui8>} : () -> tensor<384x20x16xui8>
  %s12 = onnx.Constant() {value = dense<0.5> : tensor<384x20xf32>} : () -> tensor<384x20xf32>
  %y12 = onnx_ms.MatMulNBits(%y11, %w12, %s12) {K = 640 : i64, N = 384 : i64, bits = 4 : i64, block_size = 32 : i64, accuracy_level = 4 : i64} : (tensor<?x640xf32>, tensor<384x20x16xui8>, tensor<384x20xf32>) -> tensor<?x384xf32>
  %w13 = onnx.Constant() {value = dense<17> : tensor<640x12x16xui8>} : () -> tensor<640x12x16xui8>
  %s13 = onnx.Constant() {value = dense<0.5> : tensor<640x12xf32>} : () -> tensor<640x12xf32>
  %y13 = onnx_ms.MatMulNBits(%y12, %w13, %s13) {K = 384 : i64, N = 640 : i64, bits = 4 : i64, block_size = 32 : i64, accuracy_level = 4 : i64} : (tensor<?x384xf32>, tensor<640x12x16xui8>, tensor<640x12xf32>) -> tensor<?x640xf32>
  %w14 = onnx.Constant() {value = dense<17> : tensor<384x20x16xui8>} : () -> tensor<384x20x16xui8>
  %s14 = onnx.Constant() {value = dense<0.5> : tensor<384x20xf32>} : () -> tensor<384x20xf32>
  %z14 = onnx.Constant() {value = dense<17> : tensor<384x10xui8>} : () -> tensor<384x10xui8>
  %y14 = onnx_ms.MatMulNBits(%y13, %w14, %s14, %z14) {K = 640 : i64, N = 384 : i64, bits = 4 : i64, block_size = 32 : i64} : (tensor<?x640xf32>, tensor<384x20x16xui8>, tensor<384x20xf32>, tensor<384x10xui8>) -> tensor<?x384xf32>
  %w15 = onnx.Constant() {value = dense<17> : tensor<640x12x16xui8>} : () -> tensor<640x12x16xui8>
  %s15 = onnx.Constant() {value = dense<0.5> : tensor<640x12xf32>} : () -> tensor<640x12xf32>
  %z15 = onnx.Constant() {value = dense<17> : tensor<640x6xui8>} : () -> tensor<640x6xui8>
  %y15 = onnx_ms.MatMulNBits(%y14, %w15, %s15, %z15) {K = 384 : i64, N = 640 : i64, bits = 4 : i64, block_size = 32 : i64} : (tensor<?x384xf32>, tensor<640x12x16xui8>, tensor<640x12xf32>, tensor<640x6xui8>) -> tensor<?x640xf32>
  %w16 = onnx.Constant() {value = dense<17> : tensor<384x5x128xui8>} : () -> tensor<384x5x128xui8>
  %s16 = onnx.Constant() {value = dense<0.5> : tensor<384x5xf32>} : () -> tensor<384x5xf32>
  %z16 = onnx.Constant() {value = dense<17> : tensor<384x5xui8>} : () -> tensor<384x5xui8>
  %y16 = onnx_ms.MatMulNBits(%y15, %w16, %s16, %z16) {K = 640 : i64, N = 384 : i64, bits = 8 : i64, block_size = 128 : i64, accuracy_level = 4 : i64} : (tensor<?x640xf32>, tensor<384x5x128xui8>, tensor<384x5xf32>, tensor<384x5xui8>) -> tensor<?x384xf32>
  %w17 = onnx.Constant() {value = dense<17> : tensor<640x3x128xui8>} : () -> tensor<640x3x128xui8>
  %s17 = onnx.Constant() {value = dense<0.5> : tensor<640x3xf32>} : () -> tensor<640x3xf32>
  %z17 = onnx.Constant() {value = dense<17> : tensor<640x3xui8>} : () -> tensor<640x3xui8>
  %y17 = onnx_ms.MatMulNBits(%y16, %w17, %s17, %z17) {K = 384 : i64, N = 640 : i64, bits = 8 : i64, block_size = 128 : i64, accuracy_level = 4 : i64} : (tensor<?x384xf32>, tensor<640x3x128xui8>, tensor<640x3xf32>, tensor<640x3xui8>) -> tensor<?x640xf32>
  return %y17 : tensor<?x640xf32>
}
