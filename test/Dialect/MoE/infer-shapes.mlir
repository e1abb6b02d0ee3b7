// RUN: moe-opt %s --onnx-infer-shapes --split-input-file | FileCheck %s
// RUN: moe-opt %s --onnx-infer-shapes --split-input-file -o %t.mlir
// RUN: moe-opt %t.mlir --onnx-infer-shapes --split-input-file -o %t2.mlir
// RUN: cmp %t.mlir %t2.mlir
// RUN: moe-opt %s --onnx-infer-shapes="bind=t=5" --split-input-file | FileCheck %s --check-prefix=BOUND

// The names of tokens go through routers and experts.
// CHECK-LABEL: func.func @block
// BOUND-LABEL: func.func @block
func.func @block(%x: tensor<?x64xf32> {onnx.dims = ["t", ""]}, %router: tensor<64x8xf32>, %gate: tensor<8x256x64xf32>,
                 %down: tensor<8x32x128xf32>) -> (tensor<*xf32>, tensor<*xf32>) {
  // CHECK: onnx.MatMul{{.*}}"t", ""
  %l = onnx.MatMul(%x, %router) : (tensor<?x64xf32>, tensor<64x8xf32>) -> tensor<?x8xf32>
  // CHECK: moe.route{{.*}}onnx.dims = {{\[\[}}"t", ""], ["t", ""]]{{.*}} -> tensor<?x2xi32>, tensor<?x2xf32>
  // BOUND: moe.route{{.*}} -> tensor<5x2xi32>, tensor<5x2xf32>
  %ids, %w = moe.route %l {routing = #moe.routing<k = 2, norm = sum>} : tensor<?x8xf32> -> tensor<?x?xi32>, tensor<?x?xf32>
  // CHECK: moe.experts{{.*}}onnx.dims = {{\[\[}}"t", ""]]{{.*}} -> tensor<?x32xf32>
  // BOUND: moe.experts{{.*}} -> tensor<5x32xf32>
  %y = moe.experts %x route(%ids, %w : tensor<?x?xi32>, tensor<?x?xf32>) gate(%gate : tensor<8x256x64xf32>)
      down(%down : tensor<8x32x128xf32>) {gate_up = #moe.gate_up<concat>} : tensor<?x64xf32> -> tensor<?x?xf32> {
  ^bb0(%g: tensor<f32>, %u: tensor<f32>):
    // CHECK: onnx.Mul(%{{.*}}) : (tensor<f32>, tensor<f32>) -> tensor<f32>
    %h = onnx.Mul(%g, %u) : (tensor<f32>, tensor<f32>) -> tensor<f32>
    moe.yield %h : tensor<f32>
  }
  // CHECK: moe.trivial_experts{{.*}}onnx.dims = {{\[\[}}"t", ""]]{{.*}} : tensor<?x64xf32>
  // BOUND: moe.trivial_experts{{.*}} : tensor<5x64xf32>
  %z = moe.trivial_experts %x route(%ids, %w : tensor<?x?xi32>, tensor<?x?xf32>) {first = 8, kinds = [#moe.kind<copy>]}
      : tensor<?x64xf32>
  // What comes after knows the extents as well.
  // CHECK: onnx.Add{{.*}}onnx.dims = {{\[\[}}"t", ""]]{{.*}} -> tensor<?x32xf32>
  %a = onnx.Add(%y, %y) : (tensor<?x?xf32>, tensor<?x?xf32>) -> tensor<*xf32>
  %b = onnx.Identity(%z) : (tensor<?x64xf32>) -> tensor<*xf32>
  // CHECK: return {{.*}} : tensor<?x32xf32>, tensor<?x64xf32>
  return %a, %b : tensor<*xf32>, tensor<*xf32>
}

// -----

// CHECK-LABEL: func.func @others
func.func @others(%l: tensor<?x?xf32> {onnx.dims = ["t", "e"]}, %i: tensor<?x2xi32> {onnx.dims = ["t", ""]},
                  %w: tensor<?x2xf32> {onnx.dims = ["t", ""]}, %q: tensor<?x32x32xui8> {onnx.dims = ["e", "", ""]},
                  %s: tensor<?x32x2xf32> {onnx.dims = ["e", "", ""]})
    -> (tensor<?x?xi32>, tensor<?x?xf32>, tensor<?xi64>, tensor<?x?x?xf32>, tensor<?x?x?xf32>, tensor<?x?x?x?xf32>) {
  // CHECK: moe.route_balanced{{.*}}onnx.dims = {{\[\[}}"e", ""], ["e", ""]]{{.*}} -> tensor<?x16xi32>, tensor<?x16xf32>
  %t, %tw = moe.route_balanced %l {method = #moe.method<expert_choice>, capacity = 16}
      : tensor<?x?xf32> -> tensor<?x?xi32>, tensor<?x?xf32>
  // CHECK: moe.soft_route{{.*}}onnx.dims = {{\[\[}}"t", "e"], ["t", "e"]]
  %d, %c = moe.soft_route %l : tensor<?x?xf32>
  // CHECK: moe.load_stats{{.*}}onnx.dims = {{\[\[}}"e"], ["e"], ["e"]]
  %n, %g, %p = moe.load_stats %i, %w probs(%l : tensor<?x?xf32>)
      : tensor<?x2xi32>, tensor<?x2xf32> -> tensor<?xi64>, tensor<?xf64>, tensor<?xf64>
  // CHECK: moe.capacity{{.*}}onnx.dims = {{\[\[}}"t", ""], ["t", ""]]{{.*}} -> tensor<?x2xi32>, tensor<?x2xf32>
  %ki, %kw = moe.capacity %i, %w {num_experts = 8, mode = #moe.capacity_mode<factor>, value = 1.0}
      : tensor<?x2xi32>, tensor<?x2xf32> -> tensor<?x?xi32>, tensor<?x?xf32>
  // CHECK: moe.dequantize{{.*}}onnx.dims = {{\[\[}}"e", "", ""]]{{.*}} -> tensor<?x32x64xf32>
  %bank = moe.dequantize %q, %s {bits = 4, block = 32} : tensor<?x32x32xui8>, tensor<?x32x2xf32> -> tensor<?x?x?xf32>
  // CHECK: moe.mix{{.*}}onnx.dims = {{\[\[}}"t", "", ""]]{{.*}} -> tensor<?x32x64xf32>
  %mix = moe.mix %l, %bank : tensor<?x?xf32>, tensor<?x?x?xf32> -> tensor<?x?x?xf32>
  // CHECK: moe.mix{{.*}}onnx.dims = {{\[\[}}"t", "", "", ""]]{{.*}} -> tensor<?x2x32x64xf32>
  %rows = moe.mix %i, %bank : tensor<?x2xi32>, tensor<?x?x?xf32> -> tensor<?x?x?x?xf32>
  return %t, %d, %n, %bank, %mix, %rows
      : tensor<?x?xi32>, tensor<?x?xf32>, tensor<?xi64>, tensor<?x?x?xf32>, tensor<?x?x?xf32>, tensor<?x?x?x?xf32>
}

// -----

// Branches that agree on an extent give it its name; where they do not, the
// result has one of its own.
// CHECK-LABEL: func.func @switch
func.func @switch(%i: tensor<i64>, %x: tensor<?x?xf32> {onnx.dims = ["t", "b"]}) -> tensor<?x?xf32> {
  // CHECK: moe.switch{{.*}}onnx.dims = {{\[\[}}"t", "?{{[0-9]+}}"]]
  %y = moe.switch %i : tensor<i64> -> tensor<?x?xf32> {
    moe.yield %x : tensor<?x?xf32>
  }, {
    // CHECK: onnx.Concat{{.*}}"t", "2*b"
    %0 = onnx.Concat(%x, %x) {axis = 1 : i64} : (tensor<?x?xf32>, tensor<?x?xf32>) -> tensor<?x?xf32>
    moe.yield %0 : tensor<?x?xf32>
  }
  return %y : tensor<?x?xf32>
}

// -----

// Of a constant index only the branch that runs counts.
// CHECK-LABEL: func.func @switch_constant
func.func @switch_constant(%x: tensor<?x?xf32> {onnx.dims = ["t", "b"]}) -> tensor<?x?xf32> {
  %i = onnx.Constant() {value = dense<1> : tensor<i64>} : () -> tensor<i64>
  // CHECK: moe.switch{{.*}}onnx.dims = {{\[\[}}"t", "2*b"]]
  %y = moe.switch %i : tensor<i64> -> tensor<?x?xf32> {
    moe.yield %x : tensor<?x?xf32>
  }, {
    %0 = onnx.Concat(%x, %x) {axis = 1 : i64} : (tensor<?x?xf32>, tensor<?x?xf32>) -> tensor<?x?xf32>
    moe.yield %0 : tensor<?x?xf32>
  }
  return %y : tensor<?x?xf32>
}

// -----

// Any operand tells what is known of sequences and their tokens.
// CHECK-LABEL: func.func @sequences
func.func @sequences(%i: tensor<?x?x2xi32> {onnx.dims = ["b", "t", ""]}, %w: tensor<?x?x?xf32>,
                     %s: tensor<?x5xf32>) -> (tensor<?x?x?xi32>, tensor<?x?x?xf32>) {
  // CHECK: moe.capacity{{.*}} -> tensor<?x5x2xi32>, tensor<?x5x2xf32>
  %a, %b = moe.capacity %i, %w scores(%s : tensor<?x5xf32>)
      {num_experts = 8, mode = #moe.capacity_mode<fraction>, value = 1.0, priority = #moe.priority<prob>}
      : tensor<?x?x2xi32>, tensor<?x?x?xf32> -> tensor<?x?x?xi32>, tensor<?x?x?xf32>
  return %a, %b : tensor<?x?x?xi32>, tensor<?x?x?xf32>
}
