// The three graphs of moe.experts, and what all of them share.
// RUN: moe-opt %s --split-input-file --moe-decompose="form=gather ops=moe.experts" | FileCheck %s --check-prefixes=ALL,GATHER
// RUN: moe-opt %s --split-input-file --moe-decompose="form=loop ops=moe.experts" | FileCheck %s --check-prefixes=ALL,LOOP
// RUN: moe-opt %s --split-input-file --moe-decompose="form=grouped ops=moe.experts" | FileCheck %s --check-prefixes=ALL,GROUPED
// `grouped` is the default.
// RUN: moe-opt %s --split-input-file --moe-decompose=ops=moe.experts | FileCheck %s --check-prefixes=ALL,GROUPED

// Ids are looked up: -1 becomes 2, the key of slots that are left out; what is
// below goes behind the end of the table, where a lookup fails.
// ALL-LABEL: func.func @experts
// ALL-NOT: moe.
// ALL-DAG: %[[ONE:.*]] = onnx.Constant() {value = dense<1> : tensor<i64>}
// ALL: %[[PLACE:.*]] = onnx.Add(%{{.*}}, %[[ONE]])
// ALL: onnx.Less
// ALL: %[[AT:.*]] = onnx.Where
// ALL: %[[TABLE:.*]] = onnx.Constant() {value = dense<[2, 0, 1]> : tensor<3xi64>}
// ALL: %[[KEYS:.*]] = onnx.Gather(%[[TABLE]], %[[AT]])

// GATHER: %[[ROWS:.*]] = onnx.Reshape{{.*}} -> tensor<?x8xf32>
// GATHER: %[[LEFT:.*]] = onnx.Equal(%[[KEYS]]
// GATHER: %[[WHICH:.*]] = onnx.Where(%[[LEFT]]
// GATHER: %[[W:.*]] = onnx.Gather(%{{.*}}, %[[WHICH]]) {{.*}} -> tensor<?x12x8xf32>
// GATHER: onnx.MatMul(%[[W]]
// GATHER: %[[H:.*]]:2 = onnx.Split({{.*}} -> (tensor<?x6xf32>, tensor<?x6xf32>)
// GATHER: %[[S:.*]] = onnx.Sigmoid(%[[H]]#0)
// GATHER: %[[A:.*]] = onnx.Mul(%[[H]]#0, %[[S]])
// GATHER: onnx.Mul(%[[A]], %[[H]]#1)
// GATHER: onnx.Gather(%{{.*}}, %[[WHICH]]) {{.*}} -> tensor<?x8x6xf32>

// Extents of parts are symbols of their own.
// LOOP: %[[MINE:.*]] = onnx.Equal(%[[KEYS]]
// LOOP: onnx.NonZero(%[[MINE]]) {onnx.dims = [
// LOOP-SAME: "?[[N:[0-9]+]]"
// LOOP: onnx.NonZero
// LOOP: onnx.Gemm({{.*}}) {onnx.dims = [
// LOOP-SAME: ["?[[N]]", ""]], transB = 1
// LOOP: onnx.Concat({{.*}} {axis = 0 : i64, onnx.dims = [
// LOOP-SAME: ["?0+?1"]

// GROUPED: %[[ORDER:.*]]:2 = onnx.TopK(%[[KEYS]], %{{.*}}) {axis = 0 : i64, largest = 0 : i64
// GROUPED: %[[SIZES:.*]] = onnx.ScatterElements(%{{.*}}, %[[KEYS]], %{{.*}}) {axis = 0 : i64, reduction = "add"} : {{.*}} -> tensor<3xi64>
// GROUPED: onnx.Split(%[[ORDER]]#1, %[[SIZES]])
// GROUPED-COUNT-4: onnx.Gemm
// GROUPED: onnx.ScatterND

// Slots are added in their order.
// ALL: %[[SLOTS:.*]]:2 = onnx.Split({{.*}} -> (tensor<?x1x8xf32>, tensor<?x1x8xf32>)
// ALL: %[[SUM:.*]] = onnx.Add(%[[SLOTS]]#0, %[[SLOTS]]#1)
// ALL: %[[Y:.*]] = onnx.Squeeze(%[[SUM]], {{.*}} {onnx.dims = {{\[\[}}"T", ""]]}
// ALL: return %[[Y]] : tensor<?x8xf32>
func.func @experts(%x: tensor<?x8xf32> {onnx.dims = ["T", ""]}, %ids: tensor<?x2xi32> {onnx.dims = ["T", ""]},
    %w: tensor<?x2xf32> {onnx.dims = ["T", ""]}, %gate: tensor<2x12x8xf32>, %down: tensor<2x8x6xf32>) -> tensor<?x8xf32> {
  %y = moe.experts %x route(%ids, %w : tensor<?x2xi32>, tensor<?x2xf32>)
      gate(%gate : tensor<2x12x8xf32>) down(%down : tensor<2x8x6xf32>)
      {gate_up = #moe.gate_up<concat>} : tensor<?x8xf32> -> tensor<?x8xf32> {
  ^bb0(%g: tensor<f32>, %u: tensor<f32>):
    %s = onnx.Sigmoid(%g) : (tensor<f32>) -> tensor<f32>
    %a = onnx.Mul(%g, %s) : (tensor<f32>, tensor<f32>) -> tensor<f32>
    %h = onnx.Mul(%a, %u) : (tensor<f32>, tensor<f32>) -> tensor<f32>
    moe.yield %h : tensor<f32>
  }
  return %y : tensor<?x8xf32>
}

// -----

// A router that picks k experts for every token leaves no slot out: no lookup,
// no group for such slots.
// ALL-LABEL: func.func @routed
// ALL: %[[IDS:.*]], %{{.*}} = moe.route
// ALL-NOT: dense<[2, 0, 1]>
// ALL: %[[WIDE:.*]] = onnx.Cast(%[[IDS]])
// ALL: %[[KEYS:.*]] = onnx.Reshape(%[[WIDE]]
// GATHER-NOT: onnx.Where
// GATHER: onnx.Gather(%{{.*}}, %[[KEYS]])
// GROUPED: onnx.TopK(%[[KEYS]]
// GROUPED: onnx.Split({{.*}} -> (tensor<?xi64>, tensor<?xi64>)
// ALL: return
func.func @routed(%x: tensor<?x8xf32>, %logits: tensor<?x2xf32>, %up: tensor<2x8x8xf32>, %down: tensor<2x8x8xf32>) -> tensor<?x8xf32> {
  %ids, %w = moe.route %logits {routing = #moe.routing<k = 1>} : tensor<?x2xf32> -> tensor<?x1xi32>, tensor<?x1xf32>
  %y = moe.experts %x route(%ids, %w : tensor<?x1xi32>, tensor<?x1xf32>)
      gate(%up : tensor<2x8x8xf32>) down(%down : tensor<2x8x8xf32>) : tensor<?x8xf32> -> tensor<?x8xf32> {
  ^bb0(%h: tensor<f32>):
    moe.yield %h : tensor<f32>
  }
  return %y : tensor<?x8xf32>
}

// -----

// Without routing there is one expert and nothing to sort, whatever the form.
// `io` needs no transposition, interleaved columns are picked with a step.
// ALL-LABEL: func.func @dense
// ALL-SAME: %[[X:.*]]: tensor<?x8xf16>
// ALL: %[[TOKENS:.*]] = onnx.Cast(%[[X]])
// ALL: %[[SCALED:.*]] = onnx.Mul(%[[TOKENS]], %{{.*}})
// ALL: onnx.Gather
// ALL: %[[H:.*]] = onnx.Gemm(%[[SCALED]], %{{.*}}, %{{.*}}){{.*}} -> tensor<?x12xf32>
// ALL-COUNT-2: onnx.Slice(%[[H]]
// ALL: %[[MAX:.*]] = onnx.Max
// ALL: %[[CLIP:.*]] = onnx.Min(%[[MAX]]
// ALL: onnx.Gemm(%[[CLIP]]
// ALL: onnx.Cast({{.*}} -> tensor<?x5xf16>
func.func @dense(%x: tensor<?x8xf16>, %gate: tensor<1x8x12xf32>, %bias: tensor<1x12xf32>, %down: tensor<1x6x5xf32>) -> tensor<?x5xf16> {
  %y = moe.experts %x gate(%gate : tensor<1x8x12xf32>) down(%down : tensor<1x6x5xf32>) gate_bias(%bias : tensor<1x12xf32>)
      {gate_up = #moe.gate_up<interleave>, layout = #moe.layout<io>, in_scale = 0.5 : f64} : tensor<?x8xf16> -> tensor<?x5xf16> {
  ^bb0(%g: tensor<f32>, %u: tensor<f32>):
    %n = onnx.Neg(%g) : (tensor<f32>) -> tensor<f32>
    %h = onnx.Clip(%u, %n, %g) : (tensor<f32>, tensor<f32>, tensor<f32>) -> tensor<f32>
    moe.yield %h : tensor<f32>
  }
  return %y : tensor<?x5xf16>
}

// -----

// An activation that is constant takes the shape of the rows.
// ALL-LABEL: func.func @constant
// ALL: %[[H:.*]] = onnx.Gemm
// ALL: %[[C:.*]] = onnx.Constant() {value = dense<2.000000e+00> : tensor<f32>}
// ALL: %[[SHAPE:.*]] = onnx.Shape(%[[H]])
// ALL: onnx.Expand(%[[C]], %[[SHAPE]])
func.func @constant(%x: tensor<?x8xf32>, %up: tensor<1x6x8xf32>, %down: tensor<1x5x6xf32>) -> tensor<?x5xf32> {
  %y = moe.experts %x gate(%up : tensor<1x6x8xf32>) down(%down : tensor<1x5x6xf32>) : tensor<?x8xf32> -> tensor<?x5xf32> {
  ^bb0(%h: tensor<f32>):
    %c = onnx.Constant() {value = dense<2.0> : tensor<f32>} : () -> tensor<f32>
    moe.yield %c : tensor<f32>
  }
  return %y : tensor<?x5xf32>
}

// -----

// Weights at the input multiply rows before the expert.
// ALL-LABEL: func.func @input
// GATHER: %[[ROWS:.*]] = onnx.Mul
// GATHER: %[[COLUMN:.*]] = onnx.Unsqueeze(%[[ROWS]]
// GATHER: onnx.MatMul(%{{.*}}, %[[COLUMN]])
// LOOP: %[[ROWS:.*]] = onnx.Mul
// LOOP: onnx.Gemm(%[[ROWS]]
// GROUPED: %[[ROWS:.*]] = onnx.Mul
// GROUPED: onnx.Gemm(%[[ROWS]]
func.func @input(%x: tensor<3x8xf32>, %ids: tensor<3x1xi32>, %w: tensor<3x1xf32>, %up: tensor<2x6x8xf32>, %down: tensor<2x8x6xf32>) -> tensor<3x8xf32> {
  %y = moe.experts %x route(%ids, %w : tensor<3x1xi32>, tensor<3x1xf32>)
      gate(%up : tensor<2x6x8xf32>) down(%down : tensor<2x8x6xf32>) {scale_at = #moe.scale_at<input>} : tensor<3x8xf32> -> tensor<3x8xf32> {
  ^bb0(%h: tensor<f32>):
    moe.yield %h : tensor<f32>
  }
  return %y : tensor<3x8xf32>
}
