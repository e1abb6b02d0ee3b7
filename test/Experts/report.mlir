// RUN: moe-opt %s --moe-report -o %t.mlir | FileCheck %s --match-full-lines
// RUN: moe-opt %s --moe-report="format=json output=%t.json" -o %t.mlir | count 0
// RUN: FileCheck %s --check-prefix=JSON --input-file=%t.json
// RUN: %python -m json.tool %t.json | FileCheck %s --check-prefix=JSON
// The module is as before.
// RUN: moe-opt %s -o %t.plain.mlir && cmp %t.mlir %t.plain.mlir
// RUN: not moe-opt %s --moe-report="output=%t.none/report" -o %t.mlir 2>&1 | FileCheck %s --check-prefix=ERROR
// RUN: not moe-opt %s --moe-report="format=html" -o %t.mlir 2>&1 | FileCheck %s --check-prefix=FORMAT

// ERROR: error: cannot write the report: {{.*}}.none/report
// FORMAT: Cannot find option named 'html'

// CHECK: layers of experts: 8

// JSON: "layers": [

// A gated bank with biases; P = 128 * 3 * 64 = 24576. Of 8 experts, 2 are read at
// T = 1, nearly all at T = 64: 8 * (24576 + 256 + 64) * 4 / 64 = 12448 bytes.
// CHECK-EMPTY:
// CHECK-NEXT: layer 0: routed "model/layers.0/moe"
// CHECK-NEXT:   experts     E = 8, k = 2
// CHECK-NEXT:   network     H = 64, I = 128, swiglu (gate_up = concat)
// CHECK-NEXT:   routing     #moe.routing<k = 2, norm = sum>
// CHECK-NEXT:   parameters  199168 (24896 per expert), 796672 bytes
// CHECK-NEXT:   per token, of T tokens               T = 1          T = 64         T = 512
// CHECK-NEXT:   operations                           99328           99328           99328
// CHECK-NEXT:   bytes of weights                    199168           12448            1556
// JSON: "bank": {
// JSON: "activation": "swiglu"
// JSON: "bytes": 796672
// JSON: "experts": 8
// JSON: "gate_up": "concat"
// JSON: "hidden": 64
// JSON: "inner": 128
// JSON: "parameters": 199168
// JSON: "result": 64
// JSON: "experts": 8
// JSON: "k": 2
// JSON: "kind": "routed"
// JSON: "name": "model/layers.0/moe"
// JSON: "per_token": [
// JSON: "active_experts": 2
// JSON: "routed": 98304
// JSON: "router": 1024
// JSON: "shared": 0
// JSON: "tokens": 1
// JSON: "weight_bytes": {
// JSON: "routed": 199168
// JSON: "shared": 0
// JSON: "active_experts": 7.9999
// JSON: "tokens": 64
// JSON: "tokens": 512
// JSON: "routing": "#moe.routing<k = 2, norm = sum>"
// JSON: "shared": []
func.func @plain(%x: tensor<?x64xf32>, %l: tensor<?x8xf32>, %gate: tensor<8x256x64xf32>, %down: tensor<8x64x128xf32>,
                 %gb: tensor<8x256xf32>, %db: tensor<8x64xf32>) -> tensor<?x64xf32> {
  %ids, %w = moe.route %l {routing = #moe.routing<k = 2, norm = sum>} : tensor<?x8xf32> -> tensor<?x2xi32>, tensor<?x2xf32>
  %y = moe.experts %x route(%ids, %w : tensor<?x2xi32>, tensor<?x2xf32>) gate(%gate : tensor<8x256x64xf32>)
      down(%down : tensor<8x64x128xf32>) gate_bias(%gb : tensor<8x256xf32>) down_bias(%db : tensor<8x64xf32>)
      {gate_up = #moe.gate_up<concat>} : tensor<?x64xf32> -> tensor<?x64xf32> {
  ^bb0(%g: tensor<f32>, %u: tensor<f32>):
    %s = onnx.Sigmoid(%g) : (tensor<f32>) -> tensor<f32>
    %a = onnx.Mul(%s, %u) : (tensor<f32>, tensor<f32>) -> tensor<f32>
    %h = onnx.Mul(%g, %a) : (tensor<f32>, tensor<f32>) -> tensor<f32>
    moe.yield %h : tensor<f32>
  } loc("model/layers.0/moe")
  return %y : tensor<?x64xf32>
}

// A shared expert behind a gate, on the same tokens in another form; experts
// without a product; 4-bit banks. P = 64 * 2 * 64 = 8192, in 4096 bytes of
// codes and 1024 of scales. Per token 2 * 64 * 16 + 2 * 4 * 8 / 16 * 8192 + 2 * 3 * 64 * 32
// operations; at T = 1, 4 / 16 of the 8 * 5120 bytes and all of 24576 are read.
// CHECK-EMPTY:
// CHECK-NEXT: layer 1: routed
// CHECK-NEXT:   experts     E = 16, k = 4, of which 8 are in the bank
// CHECK-NEXT:   network     H = 64, I = 64, relu2 (gate_up = none)
// CHECK-NEXT:   routing     #moe.routing<k = 4, score = sigmoid>
// CHECK-NEXT:   shared      H = 64, I = 32, geglu_tanh (gate_up = separate)
// CHECK-NEXT:   trivial     1 constant, 5 copy, 2 zero
// CHECK-NEXT:   parameters  65536 (8192 per expert), shared 6144, 40960 bytes
// CHECK-NEXT:   per token, of T tokens               T = 1          T = 64         T = 512
// CHECK-NEXT:   operations                           47104           47104           47104
// CHECK-NEXT:   bytes of weights                     34816            1024             128
// JSON: "kind": "routed"
// JSON: "shared": 12288
// JSON: "tokens": 1
// JSON: "shared": 24576
// JSON: "shared": [
// JSON: "activation": "geglu_tanh"
// JSON: "trivial": {
// JSON-DAG: "constant": 1
// JSON-DAG: "copy": 5
// JSON-DAG: "zero": 2
func.func @shared(%x3: tensor<1x?x64xf32>, %flat: tensor<2xi64>, %l: tensor<?x16xf32>, %q: tensor<8x64x32xui8>,
                  %s: tensor<8x64x2xf32>, %sg: tensor<1x32x64xf32>, %su: tensor<1x32x64xf32>, %sd: tensor<1x64x32xf32>,
                  %alpha: tensor<?x1xf32>, %c: tensor<1x64xf32>, %m: tensor<1x2x64xf32>) -> tensor<?x64xf32> {
  %x = onnx.Reshape(%x3, %flat) : (tensor<1x?x64xf32>, tensor<2xi64>) -> tensor<?x64xf32>
  %x2 = onnx.Reshape(%x3, %flat) : (tensor<1x?x64xf32>, tensor<2xi64>) -> tensor<?x64xf32>
  %ids, %w = moe.route %l {routing = #moe.routing<k = 4, score = sigmoid>} : tensor<?x16xf32> -> tensor<?x4xi32>, tensor<?x4xf32>
  %up = moe.dequantize %q, %s {bits = 4, block = 32} : tensor<8x64x32xui8>, tensor<8x64x2xf32> -> tensor<8x64x64xf32>
  %y = moe.experts %x route(%ids, %w : tensor<?x4xi32>, tensor<?x4xf32>) gate(%up : tensor<8x64x64xf32>)
      down(%up : tensor<8x64x64xf32>) {logical = 16 : i64} : tensor<?x64xf32> -> tensor<?x64xf32> {
  ^bb0(%h: tensor<f32>):
    %r = onnx.Relu(%h) : (tensor<f32>) -> tensor<f32>
    %two = onnx.Constant() {value = dense<2.0> : tensor<f32>} : () -> tensor<f32>
    %p = onnx.Pow(%r, %two) : (tensor<f32>, tensor<f32>) -> tensor<f32>
    moe.yield %p : tensor<f32>
  }
  %t = moe.trivial_experts %x route(%ids, %w : tensor<?x4xi32>, tensor<?x4xf32>) constants(%c : tensor<1x64xf32>)
      mixers(%m : tensor<1x2x64xf32>) {first = 8, kinds = [#moe.kind<zero>, #moe.kind<copy>, #moe.kind<copy>,
      #moe.kind<copy>, #moe.kind<copy>, #moe.kind<copy>, #moe.kind<constant>, #moe.kind<zero>]} : tensor<?x64xf32>
  %z = moe.experts %x2 gate(%sg : tensor<1x32x64xf32>) up(%su : tensor<1x32x64xf32>) down(%sd : tensor<1x64x32xf32>)
      {gate_up = #moe.gate_up<separate>} : tensor<?x64xf32> -> tensor<?x64xf32> {
  ^bb0(%g: tensor<f32>, %u: tensor<f32>):
    %e = onnx.Gelu(%g) {approximate = "tanh"} : (tensor<f32>) -> tensor<f32>
    %p = onnx.Mul(%u, %e) : (tensor<f32>, tensor<f32>) -> tensor<f32>
    moe.yield %p : tensor<f32>
  }
  %gated = onnx.Mul(%z, %alpha) : (tensor<?x64xf32>, tensor<?x1xf32>) -> tensor<?x64xf32>
  %sum = onnx.Add(%y, %t) : (tensor<?x64xf32>, tensor<?x64xf32>) -> tensor<?x64xf32>
  %all = onnx.Add(%sum, %gated) : (tensor<?x64xf32>, tensor<?x64xf32>) -> tensor<?x64xf32>
  return %all : tensor<?x64xf32>
}

// A layer on other tokens is no shared expert; a router that is not an op;
// gpt-oss's activation; a bank of unknown size has no figures.
// CHECK-EMPTY:
// CHECK-NEXT: layer 2: routed
// CHECK-NEXT:   experts     E = ?, k = 2
// CHECK-NEXT:   network     H = 64, I = 32, swiglu(alpha=1.702, beta=1, limit=7) (gate_up = interleave)
// CHECK-EMPTY:
// CHECK-NEXT: layer 3: dense
// CHECK-NEXT:   network     H = 64, I = 32, H' = 16, custom (gate_up = none)
// CHECK-NEXT:   parameters  2560, 10240 bytes
// CHECK-NEXT:   per token, of T tokens               T = 1          T = 64         T = 512
// CHECK-NEXT:   operations                            5120            5120            5120
// CHECK-NEXT:   bytes of weights                     10240             160            20.0
func.func @apart(%x: tensor<?x64xf32>, %ids: tensor<?x2xi32>, %w: tensor<?x2xf32>, %gate: tensor<?x64x64xf32>,
                 %down: tensor<?x64x32xf32>, %dg: tensor<1x64x32xf32>, %dd: tensor<1x32x16xf32>)
    -> (tensor<?x64xf32>, tensor<?x16xf32>) {
  %y = moe.experts %x route(%ids, %w : tensor<?x2xi32>, tensor<?x2xf32>) gate(%gate : tensor<?x64x64xf32>)
      down(%down : tensor<?x64x32xf32>) {gate_up = #moe.gate_up<interleave>} : tensor<?x64xf32> -> tensor<?x64xf32> {
  ^bb0(%g: tensor<f32>, %u: tensor<f32>):
    %limit = onnx.Constant() {value = dense<7.0> : tensor<f32>} : () -> tensor<f32>
    %least = onnx.Constant() {value = dense<-7.0> : tensor<f32>} : () -> tensor<f32>
    %alpha = onnx.Constant() {value = dense<1.702> : tensor<f32>} : () -> tensor<f32>
    %one = onnx.Constant() {value = dense<1.0> : tensor<f32>} : () -> tensor<f32>
    %gc = onnx.Clip(%g, _, %limit) : (tensor<f32>, tensor<f32>) -> tensor<f32>
    %uc = onnx.Clip(%u, %least, %limit) : (tensor<f32>, tensor<f32>, tensor<f32>) -> tensor<f32>
    %ag = onnx.Mul(%gc, %alpha) : (tensor<f32>, tensor<f32>) -> tensor<f32>
    %sg = onnx.Sigmoid(%ag) : (tensor<f32>) -> tensor<f32>
    %glu = onnx.Mul(%gc, %sg) : (tensor<f32>, tensor<f32>) -> tensor<f32>
    %u1 = onnx.Add(%uc, %one) : (tensor<f32>, tensor<f32>) -> tensor<f32>
    %h = onnx.Mul(%u1, %glu) : (tensor<f32>, tensor<f32>) -> tensor<f32>
    moe.yield %h : tensor<f32>
  }
  %z = moe.experts %y gate(%dg : tensor<1x64x32xf32>) down(%dd : tensor<1x32x16xf32>) {layout = #moe.layout<io>}
      : tensor<?x64xf32> -> tensor<?x16xf32> {
  ^bb0(%h: tensor<f32>):
    %s = onnx.Sin(%h) : (tensor<f32>) -> tensor<f32>
    moe.yield %s : tensor<f32>
  }
  return %y, %z : tensor<?x64xf32>, tensor<?x16xf32>
}

// CHECK-EMPTY:
// CHECK-NEXT: layer 4: expert_choice
// CHECK-NEXT:   experts     E = 4, capacity = 16
// CHECK-EMPTY:
// CHECK-NEXT: layer 5: soft
// CHECK-EMPTY:
// CHECK-NEXT: layer 6: mix
// CHECK-NEXT:   experts     E = 4
// CHECK-EMPTY:
// CHECK-NEXT: layer 7: switch
// CHECK-NEXT:   experts     E = 2, k = 1
// CHECK-EMPTY:
// CHECK-NEXT: 1 nodes of com.microsoft are not raised yet (moe-raise-contrib)
// JSON: "capacity": 16
// JSON: "kind": "switch"
// JSON: "unraised": 1
func.func @others(%x: tensor<?x4xf32>, %bank: tensor<4x4xf32>, %i: tensor<i64>, %w1: tensor<4x8x4xf32>, %w2: tensor<4x4x8xf32>)
    -> (tensor<4x16xi32>, tensor<?x4xf32>, tensor<?x4xf32>, tensor<?x4xf32>, tensor<?x4xf32>) {
  %t, %tw = moe.route_balanced %x {method = #moe.method<expert_choice>, capacity = 16} : tensor<?x4xf32> -> tensor<4x16xi32>, tensor<4x16xf32>
  %d, %c = moe.soft_route %x : tensor<?x4xf32>
  %m = moe.mix %x, %bank : tensor<?x4xf32>, tensor<4x4xf32> -> tensor<?x4xf32>
  %y = moe.switch %i : tensor<i64> -> tensor<?x4xf32> {
    moe.yield %x : tensor<?x4xf32>
  }, {
    moe.yield %m : tensor<?x4xf32>
  }
  %z = onnx_ms.MoE(%x, %x, %w1, _, %w2) {k = 1 : i64} : (tensor<?x4xf32>, tensor<?x4xf32>, tensor<4x8x4xf32>, tensor<4x4x8xf32>) -> tensor<?x4xf32>
  return %t, %d, %m, %y, %z : tensor<4x16xi32>, tensor<?x4xf32>, tensor<?x4xf32>, tensor<?x4xf32>, tensor<?x4xf32>
}
