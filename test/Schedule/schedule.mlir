// What becomes of experts, op by op. What is computed is tested in
// Integration/experts.py and kernels.py.
// RUN: moe-opt %s --moe-schedule --split-input-file | FileCheck %s
// RUN: moe-opt %s --moe-schedule --split-input-file --verify-roundtrip -o /dev/null
// RUN: moe-opt %s --moe-schedule --cse --split-input-file | FileCheck %s --check-prefix=CSE
// RUN: moe-opt %s --moe-schedule --split-input-file --remark-format=emitRemark --remarks-filter=schedule -o /dev/null 2>&1 | FileCheck %s --check-prefix=REMARK

// Gates and ups as they are stored; the activation on scalars; names of extents
// go with the result.
// CHECK-LABEL: func.func @routed(
// CHECK-SAME: %[[X:[a-z0-9]+]]: tensor<?x64xf32> {{.*}}, %[[IDS:[a-z0-9]+]]: tensor<?x2xi32> {{.*}}, %[[W:[a-z0-9]+]]: tensor<?x2xf32> {{.*}}, %[[GU:[a-z0-9]+]]: tensor<8x256x64xf32>, %[[D:[a-z0-9]+]]: tensor<8x32x128xf32>, %[[B:[a-z0-9]+]]: tensor<8x32xf32>
// CHECK-NEXT: %[[OFF:.*]], %[[TOK:.*]], %[[POS:.*]] = moe.plan %[[IDS]] {experts = 8 : i64} : tensor<?x2xi32> -> tensor<9xindex>, tensor<?xindex>, tensor<?x2xindex>
// CHECK-NEXT: %[[ROWS:.*]] = moe.dispatch %[[X]] plan(%[[OFF]], %[[TOK]], %[[POS]] : tensor<9xindex>, tensor<?xindex>, tensor<?x2xindex>) : tensor<?x64xf32> -> tensor<?x64xf32>
// CHECK-NEXT: %[[RES:.*]] = moe.grouped_ffn %[[ROWS]] offsets(%[[OFF]] : tensor<9xindex>) gate(%[[GU]] : tensor<8x256x64xf32>) down(%[[D]] : tensor<8x32x128xf32>) down_bias(%[[B]] : tensor<8x32xf32>) {gate_up = #moe.gate_up<interleave>} : tensor<?x64xf32> -> tensor<?x32xf32> {
// CHECK-NEXT: ^bb0(%[[G:.*]]: f32, %[[U:.*]]: f32):
// CHECK-NOT: onnx
// CHECK: %[[E:.*]] = math.exp
// CHECK: %[[A:.*]] = arith.mulf %[[G]], %{{.*}} : f32
// CHECK: %[[H:.*]] = arith.mulf %[[A]], %[[U]] : f32
// CHECK-NEXT: moe.yield %[[H]] : f32
// CHECK: %[[Y:.*]] = moe.combine %[[RES]] at(%[[POS]] : tensor<?x2xindex>) weights(%[[W]] : tensor<?x2xf32>) {onnx.dims = {{\[\[}}"t", ""]]} : tensor<?x32xf32> -> tensor<?x32xf32>
// CHECK-NEXT: return %[[Y]]
// REMARK: schedule.mlir:[[@LINE+5]]:8: remark: [Passed] moe-schedule | Category:schedule | Function=routed | {{.*}}experts run on rows in the order of a plan
func.func @routed(%x: tensor<?x64xf32> {onnx.dims = ["t", ""]}, %ids: tensor<?x2xi32> {onnx.dims = ["t", ""]},
                  %w: tensor<?x2xf32> {onnx.dims = ["t", ""]}, %gate_up: tensor<8x256x64xf32>,
                  %down: tensor<8x32x128xf32>, %bias: tensor<8x32xf32>) -> tensor<?x32xf32> {
  // The line of the remark.
  %y = moe.experts %x route(%ids, %w : tensor<?x2xi32>, tensor<?x2xf32>) gate(%gate_up : tensor<8x256x64xf32>)
      down(%down : tensor<8x32x128xf32>) down_bias(%bias : tensor<8x32xf32>)
      {gate_up = #moe.gate_up<interleave>, onnx.dims = [["t", ""]]} : tensor<?x64xf32> -> tensor<?x32xf32> {
  ^bb0(%g: tensor<f32>, %u: tensor<f32>):
    %s = onnx.Sigmoid(%g) : (tensor<f32>) -> tensor<f32>
    %a = onnx.Mul(%g, %s) : (tensor<f32>, tensor<f32>) -> tensor<f32>
    %h = onnx.Mul(%a, %u) : (tensor<f32>, tensor<f32>) -> tensor<f32>
    moe.yield %h : tensor<f32>
  }
  return %y : tensor<?x32xf32>
}

// -----

// Weights and a factor on the side of the input, in f32 whatever x is; ids of
// experts that are elsewhere; extents that are known.
// CHECK-LABEL: func.func @scaled(
// CHECK-SAME: %[[X:.*]]: tensor<3x?xf16>, %{{.*}}: tensor<3x2xi32>, %[[W:.*]]: tensor<3x2xf32>
// CHECK: moe.plan %{{.*}} {experts = 4 : i64, logical = 6 : i64} : tensor<3x2xi32> -> tensor<5xindex>, tensor<6xindex>, tensor<3x2xindex>
// CHECK: moe.dispatch %[[X]] plan({{.*}}) weights(%[[W]] : tensor<3x2xf32>) {in_scale = 5.000000e-01 : f64} : tensor<3x?xf16> -> tensor<6x16xf32>
// CHECK: moe.grouped_ffn {{.*}} gate(%{{.*}}) up(%{{.*}} : tensor<4x16x32xf16>) down(%{{.*}}) up_bias(%{{.*}} : tensor<4x32xf16>) {gate_up = #moe.gate_up<separate>, layout = #moe.layout<io>} : tensor<6x16xf32> -> tensor<6x24xf32>
// CHECK: moe.combine %{{[a-z_0-9]+}} at(%{{.*}} : tensor<3x2xindex>) : tensor<6x24xf32> -> tensor<3x24xf16>
func.func @scaled(%x: tensor<3x?xf16>, %ids: tensor<3x2xi32>, %w: tensor<3x2xf32>, %gate: tensor<4x16x32xf16>,
                  %up: tensor<4x16x32xf16>, %down: tensor<4x32x24xf16>, %bias: tensor<4x32xf16>) -> tensor<3x24xf16> {
  %y = moe.experts %x route(%ids, %w : tensor<3x2xi32>, tensor<3x2xf32>) gate(%gate : tensor<4x16x32xf16>)
      up(%up : tensor<4x16x32xf16>) down(%down : tensor<4x32x24xf16>) up_bias(%bias : tensor<4x32xf16>)
      {gate_up = #moe.gate_up<separate>, layout = #moe.layout<io>, in_scale = 0.5, scale_at = #moe.scale_at<input>,
       logical = 6} : tensor<3x?xf16> -> tensor<3x24xf16> {
  ^bb0(%g: tensor<f32>, %u: tensor<f32>):
    %h = onnx.Mul(%g, %u) : (tensor<f32>, tensor<f32>) -> tensor<f32>
    moe.yield %h : tensor<f32>
  }
  return %y : tensor<3x24xf16>
}

// -----

// Without routing there is one op. Only a factor needs rows of their own.
// CHECK-LABEL: func.func @dense(
// CHECK-SAME: %[[X:.*]]: tensor<?x64xf16>
// CHECK-NEXT: %[[Y:.*]] = moe.grouped_ffn %[[X]] gate(
// CHECK-SAME: : tensor<?x64xf16> -> tensor<?x32xf16>
// CHECK: %[[ROWS:.*]] = moe.dispatch %[[X]] {in_scale = 2.000000e+00 : f64} : tensor<?x64xf16> -> tensor<?x64xf32>
// CHECK-NEXT: %[[Z:.*]] = moe.grouped_ffn %[[ROWS]] gate(
// CHECK-SAME: : tensor<?x64xf32> -> tensor<?x32xf16>
// CHECK: return %[[Y]], %[[Z]]
// REMARK: Function=dense | {{.*}}experts run on all tokens
func.func @dense(%x: tensor<?x64xf16>, %up: tensor<1x128x64xf16>, %down: tensor<1x32x128xf16>) -> (tensor<?x32xf16>, tensor<?x32xf16>) {
  %y = moe.experts %x gate(%up : tensor<1x128x64xf16>) down(%down : tensor<1x32x128xf16>)
      : tensor<?x64xf16> -> tensor<?x32xf16> {
  ^bb0(%h: tensor<f32>):
    %a = onnx.Relu(%h) : (tensor<f32>) -> tensor<f32>
    moe.yield %a : tensor<f32>
  }
  %z = moe.experts %x gate(%up : tensor<1x128x64xf16>) down(%down : tensor<1x32x128xf16>) {in_scale = 2.0}
      : tensor<?x64xf16> -> tensor<?x32xf16> {
  ^bb0(%h: tensor<f32>):
    %a = onnx.Relu(%h) : (tensor<f32>) -> tensor<f32>
    moe.yield %a : tensor<f32>
  }
  return %y, %z : tensor<?x32xf16>, tensor<?x32xf16>
}

// -----

// Layers with equal ids share a plan, and the rows where the input is the same;
// another bank of as many experts that knows more ids does not.
// CSE-LABEL: func.func @shared(
// CSE: %[[OFF:.*]], %[[TOK:.*]], %[[POS:.*]] = moe.plan %{{.*}} {experts = 2 : i64}
// CSE: %[[ROWS:.*]] = moe.dispatch %{{[a-z0-9]+}} plan(%[[OFF]], %[[TOK]], %[[POS]] :
// CSE: moe.grouped_ffn %[[ROWS]] offsets(%[[OFF]] :
// CSE: moe.combine %{{[a-z_0-9]+}} at(%[[POS]] :
// CSE-NOT: moe.plan
// CSE-NOT: moe.dispatch
// CSE: moe.grouped_ffn %[[ROWS]] offsets(%[[OFF]] :
// CSE: moe.combine %{{[a-z_0-9]+}} at(%[[POS]] :
// CSE-NOT: moe.plan
// CSE: moe.dispatch %{{[a-z0-9]+}} plan(%[[OFF]], %[[TOK]], %[[POS]] :
// CSE: moe.combine
// CSE: moe.plan %{{.*}} {experts = 2 : i64, logical = 3 : i64}
func.func @shared(%x: tensor<?x8xf32>, %ids: tensor<?x1xi32>, %w: tensor<?x1xf32>, %v: tensor<?x1xf32>,
                  %a: tensor<2x8x8xf32>, %b: tensor<2x8x8xf32>) -> tensor<?x8xf32> {
  %0 = moe.experts %x route(%ids, %w : tensor<?x1xi32>, tensor<?x1xf32>) gate(%a : tensor<2x8x8xf32>)
      down(%b : tensor<2x8x8xf32>) : tensor<?x8xf32> -> tensor<?x8xf32> {
  ^bb0(%h: tensor<f32>):
    moe.yield %h : tensor<f32>
  }
  // `logical` says what is so without it.
  %1 = moe.experts %x route(%ids, %v : tensor<?x1xi32>, tensor<?x1xf32>) gate(%b : tensor<2x8x8xf32>)
      down(%b : tensor<2x8x8xf32>) {logical = 2} : tensor<?x8xf32> -> tensor<?x8xf32> {
  ^bb0(%h: tensor<f32>):
    moe.yield %h : tensor<f32>
  }
  %2 = onnx.Add(%0, %1) : (tensor<?x8xf32>, tensor<?x8xf32>) -> tensor<?x8xf32>
  %3 = moe.experts %2 route(%ids, %w : tensor<?x1xi32>, tensor<?x1xf32>) gate(%a : tensor<2x8x8xf32>)
      down(%a : tensor<2x8x8xf32>) : tensor<?x8xf32> -> tensor<?x8xf32> {
  ^bb0(%h: tensor<f32>):
    moe.yield %h : tensor<f32>
  }
  %4 = moe.experts %3 route(%ids, %w : tensor<?x1xi32>, tensor<?x1xf32>) gate(%a : tensor<2x8x8xf32>)
      down(%a : tensor<2x8x8xf32>) {logical = 3} : tensor<?x8xf32> -> tensor<?x8xf32> {
  ^bb0(%h: tensor<f32>):
    moe.yield %h : tensor<f32>
  }
  return %4 : tensor<?x8xf32>
}

// -----

// Banks of few bits are read as codes; nobody decodes them.
// CHECK-LABEL: func.func @codes(
// CHECK-NOT: moe.dequantize
// CHECK: moe.grouped_ffn {{.*}} gate(%[[G:.*]], %[[GS:.*]], %[[GZ:.*]] : tensor<2x32x8xui8>, tensor<2x32x1xf16>, tensor<2x32x1xui8>) up(%{{.*}}, %[[GS]], %[[GZ]] : tensor<2x32x8xui8>, tensor<2x32x1xf16>, tensor<2x32x1xui8>) down(%{{.*}}, %{{.*}} : tensor<2x16x32xui8>, tensor<2x16xf32>) {down_codes = #moe.codes<bits = 8>, gate_codes = #moe.codes<bits = 4, block = 16>, gate_up = #moe.gate_up<separate>}
func.func @codes(%x: tensor<?x16xf32>, %ids: tensor<?x2xi32>, %w: tensor<?x2xf32>, %gate: tensor<2x32x8xui8>,
                 %up: tensor<2x32x8xui8>, %s: tensor<2x32x1xf16>, %z: tensor<2x32x1xui8>, %down: tensor<2x16x32xui8>,
                 %t: tensor<2x16xf32>) -> tensor<?x16xf32> {
  %g = moe.dequantize %gate, %s zero_points(%z : tensor<2x32x1xui8>) {bits = 4, block = 16}
      : tensor<2x32x8xui8>, tensor<2x32x1xf16> -> tensor<2x32x16xf16>
  %u = moe.dequantize %up, %s zero_points(%z : tensor<2x32x1xui8>) {bits = 4, block = 16}
      : tensor<2x32x8xui8>, tensor<2x32x1xf16> -> tensor<2x32x16xf16>
  %d = moe.dequantize %down, %t {bits = 8} : tensor<2x16x32xui8>, tensor<2x16xf32> -> tensor<2x16x32xf32>
  %y = moe.experts %x route(%ids, %w : tensor<?x2xi32>, tensor<?x2xf32>) gate(%g : tensor<2x32x16xf16>)
      up(%u : tensor<2x32x16xf16>) down(%d : tensor<2x16x32xf32>) {gate_up = #moe.gate_up<separate>}
      : tensor<?x16xf32> -> tensor<?x16xf32> {
  ^bb0(%a: tensor<f32>, %b: tensor<f32>):
    %h = onnx.Mul(%a, %b) : (tensor<f32>, tensor<f32>) -> tensor<f32>
    moe.yield %h : tensor<f32>
  }
  return %y : tensor<?x16xf32>
}

// -----

// Layers inside of control flow.
// CHECK-LABEL: func.func @branch(
// CHECK: onnx.If
// CHECK: moe.plan
// CHECK: moe.combine
// CHECK: onnx.Yield
func.func @branch(%c: tensor<i1>, %x: tensor<?x8xf32>, %ids: tensor<?x1xi32>, %w: tensor<?x1xf32>,
                  %a: tensor<2x8x8xf32>) -> tensor<?x8xf32> {
  %y = onnx.If(%c) : (tensor<i1>) -> tensor<?x8xf32> {
    %0 = moe.experts %x route(%ids, %w : tensor<?x1xi32>, tensor<?x1xf32>) gate(%a : tensor<2x8x8xf32>)
        down(%a : tensor<2x8x8xf32>) : tensor<?x8xf32> -> tensor<?x8xf32> {
    ^bb0(%h: tensor<f32>):
      moe.yield %h : tensor<f32>
    }
    onnx.Yield %0 : tensor<?x8xf32>
  } {
    onnx.Yield %x : tensor<?x8xf32>
  }
  return %y : tensor<?x8xf32>
}
