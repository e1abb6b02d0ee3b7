// RUN: moe-opt %s --moe-export-contrib --split-input-file --verify-diagnostics --remark-format=emitRemark --remarks-filter-missed=raise
// RUN: moe-opt %s --moe-export-contrib --split-input-file | FileCheck %s

// What the operators cannot say stays and says why.
// CHECK-NOT: onnx_ms

func.func @case_0(%x: tensor<?x32xf32>, %l: tensor<?x4xf32>, %w1: tensor<4x64x32xf32>, %w2: tensor<4x32x64xf32>) -> tensor<?x32xf32> {
  %ids, %w = moe.route %l {routing = #moe.routing<k = 2>} : tensor<?x4xf32> -> tensor<?x2xi32>, tensor<?x2xf32>
  // expected-remark @below {{moe.experts has tie = lowest; tie = highest is accepted}}
  %y = moe.experts %x route(%ids, %w : tensor<?x2xi32>, tensor<?x2xf32>) gate(%w1 : tensor<4x64x32xf32>) down(%w2 : tensor<4x32x64xf32>) : tensor<?x32xf32> -> tensor<?x32xf32> {
  ^bb0(%h: tensor<f32>):
    %a = onnx.Relu(%h) : (tensor<f32>) -> tensor<f32>
    moe.yield %a : tensor<f32>
  }
  return %y : tensor<?x32xf32>
}

// -----

func.func @case_1(%x: tensor<?x32xf32>, %l: tensor<?x4xf32>, %w1: tensor<4x64x32xf32>, %w2: tensor<4x32x64xf32>) -> tensor<?x32xf32> {
  %ids, %w = moe.route %l {routing = #moe.routing<k = 2, score = sigmoid, tie = highest>} : tensor<?x4xf32> -> tensor<?x2xi32>, tensor<?x2xf32>
  // expected-remark @below {{moe.experts has a score other than softmax and sparsemixer}}
  %y = moe.experts %x route(%ids, %w : tensor<?x2xi32>, tensor<?x2xf32>) gate(%w1 : tensor<4x64x32xf32>) down(%w2 : tensor<4x32x64xf32>) : tensor<?x32xf32> -> tensor<?x32xf32> {
  ^bb0(%h: tensor<f32>):
    %a = onnx.Relu(%h) : (tensor<f32>) -> tensor<f32>
    moe.yield %a : tensor<f32>
  }
  return %y : tensor<?x32xf32>
}

// -----

func.func @case_2(%x: tensor<?x32xf32>, %l: tensor<?x4xf32>, %w1: tensor<4x64x32xf32>, %w2: tensor<4x32x64xf32>) -> tensor<?x32xf32> {
  %ids, %w = moe.route %l {routing = #moe.routing<k = 2, norm = sum, eps = 1.0e-6, tie = highest>} : tensor<?x4xf32> -> tensor<?x2xi32>, tensor<?x2xf32>
  // expected-remark @below {{moe.experts has a norm other than none and sum without eps}}
  %y = moe.experts %x route(%ids, %w : tensor<?x2xi32>, tensor<?x2xf32>) gate(%w1 : tensor<4x64x32xf32>) down(%w2 : tensor<4x32x64xf32>) : tensor<?x32xf32> -> tensor<?x32xf32> {
  ^bb0(%h: tensor<f32>):
    %a = onnx.Relu(%h) : (tensor<f32>) -> tensor<f32>
    moe.yield %a : tensor<f32>
  }
  return %y : tensor<?x32xf32>
}

// -----

func.func @case_3(%x: tensor<?x32xf32>, %l: tensor<?x4xf32>, %w1: tensor<4x64x32xf32>, %w2: tensor<4x32x64xf32>) -> tensor<?x32xf32> {
  %ids, %w = moe.route %l {routing = #moe.routing<k = 2, scale = 2.5, tie = highest>} : tensor<?x4xf32> -> tensor<?x2xi32>, tensor<?x2xf32>
  // expected-remark @below {{a routing with more than scores, their sum and 'mix' (log-weights=true writes such routings)}}
  %y = moe.experts %x route(%ids, %w : tensor<?x2xi32>, tensor<?x2xf32>) gate(%w1 : tensor<4x64x32xf32>) down(%w2 : tensor<4x32x64xf32>) : tensor<?x32xf32> -> tensor<?x32xf32> {
  ^bb0(%h: tensor<f32>):
    %a = onnx.Relu(%h) : (tensor<f32>) -> tensor<f32>
    moe.yield %a : tensor<f32>
  }
  return %y : tensor<?x32xf32>
}

// -----

func.func @case_4(%x: tensor<?x32xf32>, %l: tensor<?x4xf32>, %w1: tensor<4x64x32xf32>, %w2: tensor<4x32x64xf32>, %b: tensor<4xf32>) -> tensor<?x32xf32> {
  %ids, %w = moe.route %l select_bias(%b : tensor<4xf32>) {routing = #moe.routing<k = 2, tie = highest>} : tensor<?x4xf32> -> tensor<?x2xi32>, tensor<?x2xf32>
  // expected-remark @below {{a routing with more than scores}}
  %y = moe.experts %x route(%ids, %w : tensor<?x2xi32>, tensor<?x2xf32>) gate(%w1 : tensor<4x64x32xf32>) down(%w2 : tensor<4x32x64xf32>) : tensor<?x32xf32> -> tensor<?x32xf32> {
  ^bb0(%h: tensor<f32>):
    %a = onnx.Relu(%h) : (tensor<f32>) -> tensor<f32>
    moe.yield %a : tensor<f32>
  }
  return %y : tensor<?x32xf32>
}

// -----

func.func @case_5(%x: tensor<?x32xf32>, %l: tensor<?x4xf32>, %w1: tensor<4x64x32xf32>, %w2: tensor<4x32x64xf32>) -> tensor<?x32xf32> {
  %ids, %w = moe.route %l {routing = #moe.routing<k = 2, score = sparsemixer, jitter = 0.1>} : tensor<?x4xf32> -> tensor<?x2xi32>, tensor<?x2xf32>
  // expected-remark @below {{a sparse mixer with another jitter than 0.01}}
  %y = moe.experts %x route(%ids, %w : tensor<?x2xi32>, tensor<?x2xf32>) gate(%w1 : tensor<4x64x32xf32>) down(%w2 : tensor<4x32x64xf32>) : tensor<?x32xf32> -> tensor<?x32xf32> {
  ^bb0(%h: tensor<f32>):
    %a = onnx.Relu(%h) : (tensor<f32>) -> tensor<f32>
    moe.yield %a : tensor<f32>
  }
  return %y : tensor<?x32xf32>
}

// -----

func.func @case_6(%x: tensor<?x32xf32>, %l: tensor<?x4xf32>, %w1: tensor<4x64x32xf32>, %w2: tensor<4x32x64xf32>, %r: tensor<?x4xf32>) -> tensor<?x32xf32> {
  %ids, %w = moe.route %l mix(%r : tensor<?x4xf32>) {routing = #moe.routing<k = 2, score = identity, tie = highest>} : tensor<?x4xf32> -> tensor<?x2xi32>, tensor<?x2xf32>
  // expected-remark @below {{weights from 'mix'; QMoE is accepted with them}}
  %y = moe.experts %x route(%ids, %w : tensor<?x2xi32>, tensor<?x2xf32>) gate(%w1 : tensor<4x64x32xf32>) down(%w2 : tensor<4x32x64xf32>) : tensor<?x32xf32> -> tensor<?x32xf32> {
  ^bb0(%h: tensor<f32>):
    %a = onnx.Relu(%h) : (tensor<f32>) -> tensor<f32>
    moe.yield %a : tensor<f32>
  }
  return %y : tensor<?x32xf32>
}

// -----

func.func @case_7(%x: tensor<?x32xf32>, %l: tensor<?x4xf32>, %w1: tensor<4x64x32xf32>, %w2: tensor<4x32x64xf32>) -> tensor<?x32xf32> {
  %ids, %w = moe.route %l {routing = #moe.routing<k = 2, tie = highest>} : tensor<?x4xf32> -> tensor<?x2xi32>, tensor<?x2xf32>
  // expected-remark @below {{an activation without a name; relu, gelu (tanh), silu, identity, relu2, swiglu and geglu are accepted}}
  %y = moe.experts %x route(%ids, %w : tensor<?x2xi32>, tensor<?x2xf32>) gate(%w1 : tensor<4x64x32xf32>) down(%w2 : tensor<4x32x64xf32>) : tensor<?x32xf32> -> tensor<?x32xf32> {
  ^bb0(%h: tensor<f32>):
    %a = onnx.Tanh(%h) : (tensor<f32>) -> tensor<f32>
    moe.yield %a : tensor<f32>
  }
  return %y : tensor<?x32xf32>
}

// -----

func.func @case_8(%x: tensor<?x32xf32>, %l: tensor<?x4xf32>, %w1: tensor<4x128x32xf32>, %w2: tensor<4x32x64xf32>) -> tensor<?x32xf32> {
  %ids, %w = moe.route %l {routing = #moe.routing<k = 2, tie = highest>} : tensor<?x4xf32> -> tensor<?x2xi32>, tensor<?x2xf32>
  // expected-remark @below {{a gated activation other than swiglu and geglu on fused projections; gate_up = separate is accepted with it}}
  %y = moe.experts %x route(%ids, %w : tensor<?x2xi32>, tensor<?x2xf32>) gate(%w1 : tensor<4x128x32xf32>) down(%w2 : tensor<4x32x64xf32>) {gate_up = #moe.gate_up<concat>} : tensor<?x32xf32> -> tensor<?x32xf32> {
  ^bb0(%g: tensor<f32>, %u: tensor<f32>):
    %a = onnx.Relu(%g) : (tensor<f32>) -> tensor<f32>
    %b = onnx.Mul(%a, %u) : (tensor<f32>, tensor<f32>) -> tensor<f32>
    moe.yield %b : tensor<f32>
  }
  return %y : tensor<?x32xf32>
}

// -----

func.func @case_9(%x: tensor<?x32xf32>, %l: tensor<?x4xf32>, %w1: tensor<4x64x32xf32>, %w2: tensor<4x32x64xf32>) -> tensor<?x32xf32> {
  %ids, %w = moe.route %l {routing = #moe.routing<k = 2, tie = highest>} : tensor<?x4xf32> -> tensor<?x2xi32>, tensor<?x2xf32>
  // expected-remark @below {{scale_at = input; scale_at = output is accepted}}
  %y = moe.experts %x route(%ids, %w : tensor<?x2xi32>, tensor<?x2xf32>) gate(%w1 : tensor<4x64x32xf32>) down(%w2 : tensor<4x32x64xf32>) {scale_at = #moe.scale_at<input>} : tensor<?x32xf32> -> tensor<?x32xf32> {
  ^bb0(%h: tensor<f32>):
    %a = onnx.Relu(%h) : (tensor<f32>) -> tensor<f32>
    moe.yield %a : tensor<f32>
  }
  return %y : tensor<?x32xf32>
}

// -----

func.func @case_10(%x: tensor<?x32xf32>, %l: tensor<?x4xf32>, %w1: tensor<4x64x32xf32>, %w2: tensor<4x32x64xf32>) -> tensor<?x32xf32> {
  %ids, %w = moe.route %l {routing = #moe.routing<k = 2, tie = highest>} : tensor<?x4xf32> -> tensor<?x2xi32>, tensor<?x2xf32>
  // expected-remark @below {{an in_scale other than 1; 1.0 is accepted}}
  %y = moe.experts %x route(%ids, %w : tensor<?x2xi32>, tensor<?x2xf32>) gate(%w1 : tensor<4x64x32xf32>) down(%w2 : tensor<4x32x64xf32>) {in_scale = 0.5 : f64} : tensor<?x32xf32> -> tensor<?x32xf32> {
  ^bb0(%h: tensor<f32>):
    %a = onnx.Relu(%h) : (tensor<f32>) -> tensor<f32>
    moe.yield %a : tensor<f32>
  }
  return %y : tensor<?x32xf32>
}

// -----

func.func @case_11(%x: tensor<?x32xf32>, %l: tensor<?x4xf32>, %w1: tensor<4x64x32xf32>, %w2: tensor<4x32x64xf32>) -> tensor<?x32xf32> {
  %ids, %w = moe.route %l {routing = #moe.routing<k = 2, tie = highest>} : tensor<?x4xf32> -> tensor<?x2xi32>, tensor<?x2xf32>
  // expected-remark @below {{a bank of 4 experts for 6 that routing knows; equal numbers are accepted}}
  %y = moe.experts %x route(%ids, %w : tensor<?x2xi32>, tensor<?x2xf32>) gate(%w1 : tensor<4x64x32xf32>) down(%w2 : tensor<4x32x64xf32>) {logical = 6 : i64} : tensor<?x32xf32> -> tensor<?x32xf32> {
  ^bb0(%h: tensor<f32>):
    %a = onnx.Relu(%h) : (tensor<f32>) -> tensor<f32>
    moe.yield %a : tensor<f32>
  }
  return %y : tensor<?x32xf32>
}

// -----

func.func @case_12(%x: tensor<?x32xf32>, %l: tensor<?x4xf32>, %q1: tensor<4x64x16xui8>, %s1: tensor<4x64x2xf32>, %z1: tensor<4x64x1xui8>, %q2: tensor<4x32x64xui8>, %s2: tensor<4x32x4xf32>, %w2: tensor<4x32x64xf32>) -> tensor<?x32xf32> {
  %w1 = moe.dequantize %q1, %s1 zero_points(%z1 : tensor<4x64x1xui8>) {bits = 4 : i64, block = 16 : i64} : tensor<4x64x16xui8>, tensor<4x64x2xf32> -> tensor<4x64x32xf32>
  %ids, %w = moe.route %l {routing = #moe.routing<k = 2, tie = highest>} : tensor<?x4xf32> -> tensor<?x2xi32>, tensor<?x2xf32>
  // expected-remark @below {{banks of which only some are moe.dequantize; all or none are accepted}}
  %y = moe.experts %x route(%ids, %w : tensor<?x2xi32>, tensor<?x2xf32>) gate(%w1 : tensor<4x64x32xf32>) down(%w2 : tensor<4x32x64xf32>) : tensor<?x32xf32> -> tensor<?x32xf32> {
  ^bb0(%h: tensor<f32>):
    %a = onnx.Relu(%h) : (tensor<f32>) -> tensor<f32>
    moe.yield %a : tensor<f32>
  }
  return %y : tensor<?x32xf32>
}

// -----

func.func @case_13(%x: tensor<?x32xf32>, %l: tensor<?x4xf32>, %w1: tensor<4x64x32xf16>, %w2: tensor<4x32x64xf16>) -> tensor<?x32xf32> {
  %ids, %w = moe.route %l {routing = #moe.routing<k = 2, tie = highest>} : tensor<?x4xf32> -> tensor<?x2xi32>, tensor<?x2xf32>
  // expected-remark @below {{banks of another type than the tokens; the same type is accepted}}
  %y = moe.experts %x route(%ids, %w : tensor<?x2xi32>, tensor<?x2xf32>) gate(%w1 : tensor<4x64x32xf16>) down(%w2 : tensor<4x32x64xf16>) : tensor<?x32xf32> -> tensor<?x32xf32> {
  ^bb0(%h: tensor<f32>):
    %a = onnx.Relu(%h) : (tensor<f32>) -> tensor<f32>
    moe.yield %a : tensor<f32>
  }
  return %y : tensor<?x32xf32>
}

// -----

func.func @case_14(%x: tensor<?x32xf32>, %l: tensor<?x4xf32>, %w1: tensor<4x64x32xf32>, %w2: tensor<4x32x64xf32>, %b: tensor<4x64xf16>) -> tensor<?x32xf32> {
  %ids, %w = moe.route %l {routing = #moe.routing<k = 2, tie = highest>} : tensor<?x4xf32> -> tensor<?x2xi32>, tensor<?x2xf32>
  // expected-remark @below {{biases of another type than the tokens; the same type is accepted}}
  %y = moe.experts %x route(%ids, %w : tensor<?x2xi32>, tensor<?x2xf32>) gate(%w1 : tensor<4x64x32xf32>) down(%w2 : tensor<4x32x64xf32>) gate_bias(%b : tensor<4x64xf16>) : tensor<?x32xf32> -> tensor<?x32xf32> {
  ^bb0(%h: tensor<f32>):
    %a = onnx.Relu(%h) : (tensor<f32>) -> tensor<f32>
    moe.yield %a : tensor<f32>
  }
  return %y : tensor<?x32xf32>
}

// -----

func.func @case_15(%x: tensor<?x32xf16>, %l: tensor<?x4xf32>, %w1: tensor<4x64x32xf16>, %w2: tensor<4x32x64xf16>) -> tensor<?x32xf16> {
  %ids, %w = moe.route %l {routing = #moe.routing<k = 2, tie = highest>} : tensor<?x4xf32> -> tensor<?x2xi32>, tensor<?x2xf32>
  // expected-remark @below {{logits of another type than the tokens; the same type is accepted}}
  %y = moe.experts %x route(%ids, %w : tensor<?x2xi32>, tensor<?x2xf32>) gate(%w1 : tensor<4x64x32xf16>) down(%w2 : tensor<4x32x64xf16>) : tensor<?x32xf16> -> tensor<?x32xf16> {
  ^bb0(%h: tensor<f32>):
    %a = onnx.Relu(%h) : (tensor<f32>) -> tensor<f32>
    moe.yield %a : tensor<f32>
  }
  return %y : tensor<?x32xf16>
}

// -----

func.func @case_16(%x: tensor<?x32xf32>, %l: tensor<?x4xf32>, %q1: tensor<4x64x16xui8>, %s1: tensor<4x64x4xf32>, %q2: tensor<4x32x32xui8>, %s2: tensor<4x32x8xf32>) -> tensor<?x32xf32> {
  %w1 = moe.dequantize %q1, %s1 {bits = 4 : i64, block = 8 : i64} : tensor<4x64x16xui8>, tensor<4x64x4xf32> -> tensor<4x64x32xf32>
  %w2 = moe.dequantize %q2, %s2 {bits = 4 : i64, block = 8 : i64} : tensor<4x32x32xui8>, tensor<4x32x8xf32> -> tensor<4x32x64xf32>
  %ids, %w = moe.route %l {routing = #moe.routing<k = 2, tie = highest>} : tensor<?x4xf32> -> tensor<?x2xi32>, tensor<?x2xf32>
  // expected-remark @below {{blocks of 8 codes; powers of two from 16 on that divide the columns of all banks are accepted}}
  %y = moe.experts %x route(%ids, %w : tensor<?x2xi32>, tensor<?x2xf32>) gate(%w1 : tensor<4x64x32xf32>) down(%w2 : tensor<4x32x64xf32>) : tensor<?x32xf32> -> tensor<?x32xf32> {
  ^bb0(%h: tensor<f32>):
    %a = onnx.Relu(%h) : (tensor<f32>) -> tensor<f32>
    moe.yield %a : tensor<f32>
  }
  return %y : tensor<?x32xf32>
}

// -----

func.func @case_17(%x: tensor<?x32xf32>, %l: tensor<?x4xf32>, %q1: tensor<4x64x16xui8>, %s1: tensor<4x64x2xf32>, %q2: tensor<4x32x32xui8>, %s2: tensor<4x32xf32>) -> tensor<?x32xf32> {
  %w1 = moe.dequantize %q1, %s1 {bits = 4 : i64, block = 16 : i64} : tensor<4x64x16xui8>, tensor<4x64x2xf32> -> tensor<4x64x32xf32>
  %w2 = moe.dequantize %q2, %s2 {bits = 4 : i64} : tensor<4x32x32xui8>, tensor<4x32xf32> -> tensor<4x32x64xf32>
  %ids, %w = moe.route %l {routing = #moe.routing<k = 2, tie = highest>} : tensor<?x4xf32> -> tensor<?x2xi32>, tensor<?x2xf32>
  // expected-remark @below {{blocks of different sizes; one size is accepted}}
  %y = moe.experts %x route(%ids, %w : tensor<?x2xi32>, tensor<?x2xf32>) gate(%w1 : tensor<4x64x32xf32>) down(%w2 : tensor<4x32x64xf32>) : tensor<?x32xf32> -> tensor<?x32xf32> {
  ^bb0(%h: tensor<f32>):
    %a = onnx.Relu(%h) : (tensor<f32>) -> tensor<f32>
    moe.yield %a : tensor<f32>
  }
  return %y : tensor<?x32xf32>
}

// -----

func.func @dense(%x: tensor<?x32xf32>, %w1: tensor<1x64x32xf32>, %w2: tensor<1x32x64xf32>) -> tensor<?x32xf32> {
  // expected-remark @below {{moe.experts has no routing; experts that tokens pick are accepted}}
  %y = moe.experts %x gate(%w1 : tensor<1x64x32xf32>) down(%w2 : tensor<1x32x64xf32>) : tensor<?x32xf32> -> tensor<?x32xf32> {
  ^bb0(%h: tensor<f32>):
    moe.yield %h : tensor<f32>
  }
  return %y : tensor<?x32xf32>
}

// -----

func.func @own_ids(%x: tensor<?x32xf32>, %ids: tensor<?x2xi32>, %w: tensor<?x2xf32>, %w1: tensor<4x64x32xf32>, %w2: tensor<4x32x64xf32>) -> tensor<?x32xf32> {
  // expected-remark @below {{ids or weights that are no result of one moe.route; those of one are accepted}}
  %y = moe.experts %x route(%ids, %w : tensor<?x2xi32>, tensor<?x2xf32>) gate(%w1 : tensor<4x64x32xf32>) down(%w2 : tensor<4x32x64xf32>) : tensor<?x32xf32> -> tensor<?x32xf32> {
  ^bb0(%h: tensor<f32>):
    moe.yield %h : tensor<f32>
  }
  return %y : tensor<?x32xf32>
}
