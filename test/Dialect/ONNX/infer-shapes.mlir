// RUN: moe-opt %s --onnx-infer-shapes --split-input-file | FileCheck %s
// Again: inference changes nothing that it has inferred.
// RUN: moe-opt %s --onnx-infer-shapes --split-input-file -o %t.mlir
// RUN: moe-opt %t.mlir --onnx-infer-shapes --split-input-file -o %t2.mlir
// RUN: cmp %t.mlir %t2.mlir

// Symbols of operands go through products and broadcasting; static extents win.
// CHECK-LABEL: func.func @products
func.func @products(%x: tensor<?x?x64xf32> {onnx.dims = ["b", "s", ""]},
                    %w: tensor<64x128xf32>, %bias: tensor<128xf32>)
    -> tensor<*xf32> {
  // CHECK: onnx.MatMul{{.*}}onnx.dims = {{\[\[}}"b", "s", ""]]{{.*}} -> tensor<?x?x128xf32>
  %0 = onnx.MatMul(%x, %w) : (tensor<?x?x64xf32>, tensor<64x128xf32>) -> tensor<*xf32>
  // CHECK: onnx.Add{{.*}}onnx.dims = {{\[\[}}"b", "s", ""]]{{.*}} -> tensor<?x?x128xf32>
  %1 = onnx.Add(%0, %bias) : (tensor<*xf32>, tensor<128xf32>) -> tensor<*xf32>
  // CHECK: return %{{.*}} : tensor<?x?x128xf32>
  return %1 : tensor<*xf32>
}

// -----

// The usual way to fold two axes and to take them apart: quotients of products.
// CHECK-LABEL: func.func @reshape
func.func @reshape(%x: tensor<?x?x64xf32> {onnx.dims = ["b", "s", ""]}) -> tensor<*xf32> {
  %flat = onnx.Constant() {value = dense<[-1, 64]> : tensor<2xi64>} : () -> tensor<2xi64>
  // CHECK: onnx.Reshape{{.*}}"b*s", ""{{.*}} -> tensor<?x64xf32>
  %0 = onnx.Reshape(%x, %flat) : (tensor<?x?x64xf32>, tensor<2xi64>) -> tensor<*xf32>
  // CHECK: onnx.Shape{{.*}}onnx.values = {{\[\[}}"b", "s", "64"]]
  %shape = onnx.Shape(%x) : (tensor<?x?x64xf32>) -> tensor<*xi64>
  %zero = onnx.Constant() {value = dense<0> : tensor<i64>} : () -> tensor<i64>
  %axis = onnx.Constant() {value = dense<0> : tensor<1xi64>} : () -> tensor<1xi64>
  // CHECK: onnx.Gather{{.*}}onnx.values = {{\[\[}}"b"]]{{.*}} -> tensor<i64>
  %b = onnx.Gather(%shape, %zero) : (tensor<*xi64>, tensor<i64>) -> tensor<*xi64>
  %b1 = onnx.Unsqueeze(%b, %axis) : (tensor<*xi64>, tensor<1xi64>) -> tensor<*xi64>
  %rest = onnx.Constant() {value = dense<[-1, 4, 16]> : tensor<3xi64>} : () -> tensor<3xi64>
  // CHECK: onnx.Concat{{.*}}onnx.values = {{\[\[}}"b", "-1", "4", "16"]]
  %to = onnx.Concat(%b1, %rest) {axis = 0 : i64} : (tensor<*xi64>, tensor<3xi64>) -> tensor<*xi64>
  // CHECK: onnx.Reshape{{.*}}"b", "s", "", ""{{.*}} -> tensor<?x?x4x16xf32>
  %1 = onnx.Reshape(%0, %to) : (tensor<*xf32>, tensor<*xi64>) -> tensor<*xf32>
  return %1 : tensor<*xf32>
}

// -----

// A cache that grows, and a mask that is sliced to its length.
// CHECK-LABEL: func.func @cache
func.func @cache(%past: tensor<?x4x?x16xf32> {onnx.dims = ["b", "", "past", ""]},
                 %key: tensor<?x4x?x16xf32> {onnx.dims = ["b", "", "s", ""]})
    -> (tensor<*xf32>, tensor<*xf32>, tensor<*xf32>) {
  // CHECK: onnx.Concat{{.*}}"b", "", "past+s", ""
  %0 = onnx.Concat(%past, %key) {axis = 2 : i64} : (tensor<?x4x?x16xf32>, tensor<?x4x?x16xf32>) -> tensor<*xf32>
  %start = onnx.Shape(%past) {start = 2 : i64, end = 3 : i64} : (tensor<?x4x?x16xf32>) -> tensor<1xi64>
  %end = onnx.Constant() {value = dense<9223372036854775807> : tensor<1xi64>} : () -> tensor<1xi64>
  %axes = onnx.Constant() {value = dense<2> : tensor<1xi64>} : () -> tensor<1xi64>
  %one = onnx.Constant() {value = dense<1> : tensor<1xi64>} : () -> tensor<1xi64>
  // What comes behind the past is the new part again.
  // CHECK: onnx.Slice{{.*}}"b", "", "s", ""
  %1 = onnx.Slice(%0, %start, %end, %axes) : (tensor<*xf32>, tensor<1xi64>, tensor<1xi64>, tensor<1xi64>) -> tensor<*xf32>
  // A start that may lie behind the end is clamped.
  // CHECK: onnx.Slice{{.*}}"b", "", "max(0,past+s-1)", ""
  %2 = onnx.Slice(%0, %one, %end, %axes) : (tensor<*xf32>, tensor<1xi64>, tensor<1xi64>, tensor<1xi64>) -> tensor<*xf32>
  return %0, %1, %2 : tensor<*xf32>, tensor<*xf32>, tensor<*xf32>
}

// -----

// Extents that depend on data never unify, however alike their ops are; what is
// computed from one keeps its name.
// CHECK-LABEL: func.func @experts
func.func @experts(%mask: tensor<2x?xi1> {onnx.dims = ["", "t"]}, %x: tensor<?x8xf32> {onnx.dims = ["t", ""]})
    -> (tensor<*xf32>, tensor<*xf32>) {
  %one = onnx.Constant() {value = dense<1> : tensor<i64>} : () -> tensor<i64>
  // CHECK: onnx.NonZero{{.*}}"", "[[A:\?[0-9]+]]"{{.*}} -> tensor<2x?xi64>
  %0 = onnx.NonZero(%mask) : (tensor<2x?xi1>) -> tensor<*xi64>
  // CHECK: onnx.NonZero{{.*}}"", "[[B:\?[0-9]+]]"
  // CHECK-NOT: "[[A]]"
  %1 = onnx.NonZero(%mask) : (tensor<2x?xi1>) -> tensor<*xi64>
  // CHECK: onnx.Gather{{.*}}"[[A]]"
  %i0 = onnx.Gather(%0, %one) : (tensor<*xi64>, tensor<i64>) -> tensor<*xi64>
  // CHECK: onnx.Gather{{.*}}"[[B]]"
  %i1 = onnx.Gather(%1, %one) : (tensor<*xi64>, tensor<i64>) -> tensor<*xi64>
  // CHECK: onnx.Gather{{.*}}"[[A]]", ""
  %r0 = onnx.Gather(%x, %i0) : (tensor<?x8xf32>, tensor<*xi64>) -> tensor<*xf32>
  // CHECK: onnx.Gather{{.*}}"[[B]]", ""
  %r1 = onnx.Gather(%x, %i1) : (tensor<?x8xf32>, tensor<*xi64>) -> tensor<*xf32>
  // CHECK: onnx.Concat{{.*}}"[[A]]+[[B]]", ""
  %2 = onnx.Concat(%r0, %r1) {axis = 0 : i64} : (tensor<*xf32>, tensor<*xf32>) -> tensor<*xf32>
  // Both are at most the elements of the mask, so 1 row broadcasts to them even
  // if there are no tokens.
  %end = onnx.Constant() {value = dense<1> : tensor<1xi64>} : () -> tensor<1xi64>
  %start = onnx.Constant() {value = dense<0> : tensor<1xi64>} : () -> tensor<1xi64>
  // CHECK: onnx.Slice{{.*}}"min(1,t)", ""
  %row = onnx.Slice(%x, %start, %end) : (tensor<?x8xf32>, tensor<1xi64>, tensor<1xi64>) -> tensor<*xf32>
  // CHECK: onnx.Add{{.*}}"[[A]]", ""
  %3 = onnx.Add(%r0, %row) : (tensor<*xf32>, tensor<*xf32>) -> tensor<*xf32>
  return %2, %3 : tensor<*xf32>, tensor<*xf32>
}

// -----

// Parts whose sizes depend on data add up to the whole.
// CHECK-LABEL: func.func @parts
func.func @parts(%x: tensor<?x8xf32> {onnx.dims = ["t", ""]}, %sizes: tensor<3xi64>) -> tensor<*xf32> {
  // CHECK: onnx.Split{{.*}}["?0", ""], ["?1", ""], ["-?0-?1+t", ""]
  %0, %1, %2 = onnx.Split(%x, %sizes) : (tensor<?x8xf32>, tensor<3xi64>) -> (tensor<*xf32>, tensor<*xf32>, tensor<*xf32>)
  // CHECK: onnx.Concat{{.*}}"t", ""
  %3 = onnx.Concat(%0, %1, %2) {axis = 0 : i64} : (tensor<*xf32>, tensor<*xf32>, tensor<*xf32>) -> tensor<*xf32>
  return %3 : tensor<*xf32>
}

// -----

// Two names that need not be equal.
// CHECK-LABEL: func.func @broadcast
func.func @broadcast(%x: tensor<?x4xf32> {onnx.dims = ["a", ""]}, %y: tensor<?x4xf32> {onnx.dims = ["b", ""]},
                     %z: tensor<?x4xf32> {onnx.dims = ["b+1", ""]}) -> tensor<*xf32> {
  // CHECK: onnx.Add{{.*}}"bcast(a,b)", ""
  %0 = onnx.Add(%x, %y) : (tensor<?x4xf32>, tensor<?x4xf32>) -> tensor<*xf32>
  // CHECK: onnx.Add{{.*}}"bcast(a,b)", ""
  %1 = onnx.Add(%y, %x) : (tensor<?x4xf32>, tensor<?x4xf32>) -> tensor<*xf32>
  // CHECK: onnx.Mul{{.*}}"bcast(a,b)", ""
  %2 = onnx.Mul(%0, %1) : (tensor<*xf32>, tensor<*xf32>) -> tensor<*xf32>
  // A model's name that looks like an expression is none.
  // CHECK: onnx.Relu{{.*}}"{b+1}", ""
  %3 = onnx.Relu(%z) : (tensor<?x4xf32>) -> tensor<*xf32>
  // CHECK: onnx.Concat{{.*}}"bcast(a,b)+{b+1}", ""
  %4 = onnx.Concat(%2, %3) {axis = 0 : i64} : (tensor<*xf32>, tensor<*xf32>) -> tensor<*xf32>
  return %4 : tensor<*xf32>
}

// -----

// Windows over a run-time extent.
// CHECK-LABEL: func.func @windows
func.func @windows(%x: tensor<1x3x?x8xf32> {onnx.dims = ["", "", "h", ""]}, %w: tensor<5x3x3x3xf32>) -> tensor<*xf32> {
  // CHECK: onnx.Conv{{.*}}"", "", "floordiv(h-1,2)+1", ""{{.*}} -> tensor<1x5x?x4xf32>
  %0 = onnx.Conv(%x, %w) {strides = array<i64: 2, 2>, pads = array<i64: 1, 1, 1, 1>} : (tensor<1x3x?x8xf32>, tensor<5x3x3x3xf32>) -> tensor<*xf32>
  return %0 : tensor<*xf32>
}

// -----

// A number that a model declares gives way to a name that is known, and stays
// where nothing is known.
// CHECK-LABEL: func.func @claims
func.func @claims(%x: tensor<?xf32> {onnx.dims = ["n"]}, %m: tensor<?xi1>) -> (tensor<7xf32>, tensor<1x7xi64>) {
  // CHECK: onnx.Relu{{.*}}"n"{{.*}} -> tensor<?xf32>
  %0 = onnx.Relu(%x) : (tensor<?xf32>) -> tensor<7xf32>
  // CHECK: onnx.NonZero{{.*}} -> tensor<1x7xi64>
  %1 = onnx.NonZero(%m) : (tensor<?xi1>) -> tensor<1x7xi64>
  return %0, %1 : tensor<7xf32>, tensor<1x7xi64>
}

// -----

// A carried value that grows has a name of the body's; outside another one.
// CHECK-LABEL: func.func @loop
func.func @loop(%n: tensor<i64>, %c: tensor<i1>, %x: tensor<?x8xf32> {onnx.dims = ["t", ""]}, %y: tensor<?x8xf32> {onnx.dims = ["t", ""]})
    -> (tensor<*xf32>, tensor<*xf32>, tensor<*xf32>) {
  // CHECK: onnx.Loop{{.*}}onnx.dims = {{\[\[}}"[[OUT:\?[0-9]+]]", ""], ["t", ""], ["[[TRIPS:\?[0-9]+]]", "t", ""]]
  // CHECK-SAME: onnx.region_dims = {{.*}}["[[IN:\?[0-9]+]]", ""], ["t", ""]
  %0, %1, %2 = onnx.Loop(%n, %c, %x, %y) : (tensor<i64>, tensor<i1>, tensor<?x8xf32>, tensor<?x8xf32>) -> (tensor<*xf32>, tensor<*xf32>, tensor<*xf32>) {
  ^bb0(%i: tensor<i64>, %go: tensor<i1>, %a: tensor<*xf32>, %b: tensor<*xf32>):
    // CHECK: onnx.Concat{{.*}}"[[IN]]+t", ""
    %3 = onnx.Concat(%a, %b) {axis = 0 : i64} : (tensor<*xf32>, tensor<*xf32>) -> tensor<*xf32>
    // CHECK: onnx.Relu{{.*}}"t", ""
    %4 = onnx.Relu(%b) : (tensor<*xf32>) -> tensor<*xf32>
    onnx.Yield %go, %3, %4, %4 : tensor<i1>, tensor<*xf32>, tensor<*xf32>, tensor<*xf32>
  }
  return %0, %1, %2 : tensor<*xf32>, tensor<*xf32>, tensor<*xf32>
}

// -----

// Branches that agree pass their extents on; the branch that a constant
// condition excludes need not fit.
// CHECK-LABEL: func.func @branches
func.func @branches(%c: tensor<i1>, %x: tensor<?x8xf32> {onnx.dims = ["t", ""]}, %y: tensor<3x5xf32>) -> (tensor<*xf32>, tensor<*xf32>) {
  // CHECK: onnx.If{{.*}}"t", ""{{.*}} -> tensor<?x8xf32>
  %0 = onnx.If(%c) : (tensor<i1>) -> tensor<*xf32> {
    %1 = onnx.Relu(%x) : (tensor<?x8xf32>) -> tensor<*xf32>
    onnx.Yield %1 : tensor<*xf32>
  } {
    onnx.Yield %x : tensor<?x8xf32>
  }
  %never = onnx.Constant() {value = dense<false> : tensor<i1>} : () -> tensor<i1>
  // CHECK: onnx.If{{.*}}"t", ""{{.*}} -> tensor<?x8xf32>
  %2 = onnx.If(%never) : (tensor<i1>) -> tensor<*xf32> {
    onnx.Yield %x : tensor<?x8xf32>
  } {
    %axes = onnx.Shape(%y) : (tensor<3x5xf32>) -> tensor<2xi64>
    %3 = onnx.Reshape(%x, %axes) : (tensor<?x8xf32>, tensor<2xi64>) -> tensor<*xf32>
    %4 = onnx.MatMul(%3, %y) : (tensor<*xf32>, tensor<3x5xf32>) -> tensor<*xf32>
    onnx.Yield %4 : tensor<*xf32>
  }
  return %0, %2 : tensor<*xf32>, tensor<*xf32>
}

// -----

// com.microsoft has no schemas in libonnx: rules of ours.
// CHECK-LABEL: func.func @contrib
func.func @contrib(%x: tensor<?x?x64xf32> {onnx.dims = ["b", "s", ""]}, %g: tensor<64xf32>) -> tensor<*xf32> {
  // CHECK: SkipSimplifiedLayerNormalization{{.*}}{{\[\[}}"b", "s", ""], ["b", "s", ""]]{{.*}} -> (tensor<?x?x64xf32>, _, _, tensor<?x?x64xf32>)
  %0, %1 = onnx_ms.SkipSimplifiedLayerNormalization(%x, %x, %g) : (tensor<?x?x64xf32>, tensor<?x?x64xf32>, tensor<64xf32>) -> (tensor<*xf32>, _, _, tensor<*xf32>)
  return %1 : tensor<*xf32>
}

// -----

// The present is as long as the total, or as the past if that has room; a
// window-sized one keeps its rows.
// CHECK-LABEL: func.func @group_query
func.func @group_query(%x: tensor<?x?x32xf32> {onnx.dims = ["b", "s", ""]}, %k: tensor<?x1x?x8xf32> {onnx.dims = ["b", "", "past", ""]}, %mask: tensor<?x?xi64> {onnx.dims = ["b", "total"]}, %n: tensor<?xi32> {onnx.dims = ["b"]}) {
  %axis = onnx.Constant() {value = dense<1> : tensor<i64>} : () -> tensor<i64>
  %shape = onnx.Shape(%mask) : (tensor<?x?xi64>) -> tensor<2xi64>
  %length = onnx.Gather(%shape, %axis) : (tensor<2xi64>, tensor<i64>) -> tensor<i64>
  %t = onnx.Cast(%length) {to = 6 : i64} : (tensor<i64>) -> tensor<i32>
  // CHECK: GroupQueryAttention{{.*}}{{\[\[}}"b", "s", ""], ["b", "", "total", ""], ["b", "", "total", ""]]{{.*}} -> (tensor<?x?x16xf32>, tensor<?x1x?x8xf32>, tensor<?x1x?x8xf32>)
  %0:3 = onnx_ms.GroupQueryAttention(%x, _, _, _, _, %n, %t) {num_heads = 2 : i64, kv_num_heads = 1 : i64} : (tensor<?x?x32xf32>, tensor<?xi32>, tensor<i32>) -> (tensor<*xf32>, tensor<*xf32>, tensor<*xf32>)
  // CHECK: GroupQueryAttention{{.*}}{{\[\[}}"b", "s", ""], ["b", "", "max(past,total)", ""], ["b", "", "max(past,total)", ""]]
  %1:3 = onnx_ms.GroupQueryAttention(%x, _, _, %k, %k, %n, %t) {num_heads = 2 : i64, kv_num_heads = 1 : i64} : (tensor<?x?x32xf32>, tensor<?x1x?x8xf32>, tensor<?x1x?x8xf32>, tensor<?xi32>, tensor<i32>) -> (tensor<*xf32>, tensor<*xf32>, tensor<*xf32>)
  // CHECK: GroupQueryAttention{{.*}}{{\[\[}}"b", "s", ""], ["b", "", "past", ""], ["b", "", "past", ""]]
  %2:3 = onnx_ms.GroupQueryAttention(%x, _, _, %k, %k, %n, %t) {num_heads = 2 : i64, kv_num_heads = 1 : i64, local_window_size = 4 : i64, sliding_window_cache = 1 : i64} : (tensor<?x?x32xf32>, tensor<?x1x?x8xf32>, tensor<?x1x?x8xf32>, tensor<?xi32>, tensor<i32>) -> (tensor<*xf32>, tensor<*xf32>, tensor<*xf32>)
  return
}
