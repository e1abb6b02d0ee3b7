// RUN: moe-opt %s --split-input-file --verify-diagnostics

//===----------------------------------------------------------------------===//
// Attributes
//===----------------------------------------------------------------------===//

// expected-error @below {{n = 0 groups; at least 1 is accepted}}
func.func private @f() attributes {t.a = #moe.groups<n = 0, keep = 1>}

// -----

// expected-error @below {{keep = 5 of n = 4 groups; 1 to 4 are accepted}}
func.func private @f() attributes {t.a = #moe.groups<n = 4, keep = 5>}

// -----

// expected-error @below {{k = 0 experts per token; at least 1 is accepted}}
func.func private @f() attributes {t.a = #moe.routing<k = 0>}

// -----

// expected-error @below {{ranks holds -1; numbers from 0 are accepted}}
func.func private @f() attributes {t.a = #moe.routing<k = 2, ranks = [0, -1]>}

// -----

// expected-error @below {{ranks holds 1 twice; distinct numbers are accepted}}
func.func private @f() attributes {t.a = #moe.routing<k = 2, ranks = [1, 1]>}

// -----

// expected-error @below {{ranks has 3 entries for k = 2; one for each of the k slots is accepted}}
func.func private @f() attributes {t.a = #moe.routing<k = 2, ranks = [0, 1, 2]>}

// -----

// expected-error @below {{null_before_norm holds 3 twice; distinct numbers are accepted}}
func.func private @f() attributes {t.a = #moe.routing<k = 2, null_before_norm = [3, 3]>}

// -----

// expected-error @below {{null_before_norm with k = 1: the only weight may become 0 / 0; k of 2 or more is accepted}}
func.func private @f() attributes {t.a = #moe.routing<k = 1, null_before_norm = [3]>}

// -----

// expected-error @below {{eps = -1.0; finite numbers from 0 are accepted}}
func.func private @f() attributes {t.a = #moe.routing<k = 2, norm = sum, eps = -1.0>}

// -----

// expected-error @below {{scale = inf; finite numbers are accepted}}
func.func private @f() attributes {t.a = #moe.routing<k = 2, scale = 1.0e999>}

// -----

// expected-error @below {{top_p = 1.5; 0 to 1 are accepted}}
func.func private @f() attributes {t.a = #moe.routing<k = 2, top_p = 1.5>}

// -----

// expected-error @below {{p = 0.0; numbers above 0 are accepted}}
func.func private @f() attributes {t.a = #moe.routing<k = 2, norm = lp, p = 0.0>}

// -----

// expected-error @below {{eps = 1.0e-20 with norm = none; norm = sum or sum_clamp is accepted with it}}
func.func private @f() attributes {t.a = #moe.routing<k = 2, eps = 1.0e-20>}

// -----

// expected-error @below {{p = 2.0 with norm = sum; norm = lp is accepted with it}}
func.func private @f() attributes {t.a = #moe.routing<k = 2, norm = sum, p = 2.0>}

// -----

// expected-error @below {{jitter = 0.01 with score = softmax; score = sparsemixer is accepted with it}}
func.func private @f() attributes {t.a = #moe.routing<k = 2, jitter = 0.01>}

// -----

// expected-error @below {{score = sparsemixer with k = 3; k = 2 is accepted}}
func.func private @f() attributes {t.a = #moe.routing<k = 3, score = sparsemixer>}

// -----

// expected-error @below {{score = sparsemixer with ranks; only k, jitter, logit_mult, softcap, logit_std and tie are accepted with it}}
func.func private @f() attributes {t.a = #moe.routing<k = 2, score = sparsemixer, ranks = [1, 2]>}

// -----

// expected-error @below {{score = sparsemixer with score_on}}
func.func private @f() attributes {t.a = #moe.routing<k = 2, score = sparsemixer, score_on = selected>}

// -----

// expected-error @below {{score = sparsemixer with select}}
func.func private @f() attributes {t.a = #moe.routing<k = 2, score = sparsemixer, select = logit>}

// -----

// expected-error @below {{score = sparsemixer with groups}}
func.func private @f() attributes {t.a = #moe.routing<k = 2, score = sparsemixer, groups = #moe.groups<n = 2, keep = 1>>}

// -----

// expected-error @below {{score = sparsemixer with norm}}
func.func private @f() attributes {t.a = #moe.routing<k = 2, score = sparsemixer, norm = sum>}

// -----

// expected-error @below {{score = sparsemixer with scale}}
func.func private @f() attributes {t.a = #moe.routing<k = 2, score = sparsemixer, scale = 2.0>}

// -----

// expected-error @below {{score = sparsemixer with k_div}}
func.func private @f() attributes {t.a = #moe.routing<k = 2, score = sparsemixer, k_div = true>}

// -----

// expected-error @below {{score = sparsemixer with min_ratio}}
func.func private @f() attributes {t.a = #moe.routing<k = 2, score = sparsemixer, min_ratio = 0.5>}

// -----

// expected-error @below {{score = sparsemixer with top_p}}
func.func private @f() attributes {t.a = #moe.routing<k = 2, score = sparsemixer, top_p = 0.5>}

// -----

// expected-error @below {{score = sparsemixer with min_prob}}
func.func private @f() attributes {t.a = #moe.routing<k = 2, score = sparsemixer, min_prob = 0.5>}

// -----

// expected-error @below {{score = sparsemixer with null_before_norm}}
func.func private @f() attributes {t.a = #moe.routing<k = 2, score = sparsemixer, null_before_norm = [1]>}

// -----

//===----------------------------------------------------------------------===//
// moe.route
//===----------------------------------------------------------------------===//

func.func @f(%l: tensor<?x8xf32>, %b: tensor<7xf32>) {
  // expected-error @below {{'select_bias' of type 'tensor<7xf32>' has extent 7 in dimension 0; 8 is accepted (experts of the logits)}}
  %ids, %w = moe.route %l select_bias(%b : tensor<7xf32>) {routing = #moe.routing<k = 2>}
      : tensor<?x8xf32> -> tensor<?x2xi32>, tensor<?x2xf32>
  return
}

// -----

func.func @f(%l: tensor<?x8xf32>, %b: tensor<7xf32>) {
  // expected-error @below {{'expert_scale' of type 'tensor<7xf32>' has extent 7 in dimension 0; 8 is accepted}}
  %ids, %w = moe.route %l expert_scale(%b : tensor<7xf32>) {routing = #moe.routing<k = 2>}
      : tensor<?x8xf32> -> tensor<?x2xi32>, tensor<?x2xf32>
  return
}

// -----

func.func @f(%l: tensor<4x8xf32>, %b: tensor<5x8xf32>) {
  // expected-error @below {{'mix' of type 'tensor<5x8xf32>' has extent 5 in dimension 0; 4 is accepted (tokens of the logits)}}
  %ids, %w = moe.route %l mix(%b : tensor<5x8xf32>) {routing = #moe.routing<k = 2>}
      : tensor<4x8xf32> -> tensor<4x2xi32>, tensor<4x2xf32>
  return
}

// -----

func.func @f(%l: tensor<?x8xf32>, %b: tensor<?x7xf32>) {
  // expected-error @below {{'mix' of type 'tensor<?x7xf32>' has extent 7 in dimension 1; 8 is accepted}}
  %ids, %w = moe.route %l mix(%b : tensor<?x7xf32>) {routing = #moe.routing<k = 2>}
      : tensor<?x8xf32> -> tensor<?x2xi32>, tensor<?x2xf32>
  return
}

// -----

func.func @f(%l: tensor<4x8xf32>, %b: tensor<5x2xi32>) {
  // expected-error @below {{'forced' of type 'tensor<5x2xi32>' has extent 5 in dimension 0; 4 is accepted}}
  %ids, %w = moe.route %l forced(%b : tensor<5x2xi32>) {routing = #moe.routing<k = 2>}
      : tensor<4x8xf32> -> tensor<4x2xi32>, tensor<4x2xf32>
  return
}

// -----

func.func @f(%l: tensor<?x8xf32>, %b: tensor<?x3xi32>) {
  // expected-error @below {{'forced' of type 'tensor<?x3xi32>' has extent 3 in dimension 1; 2 is accepted (k of the routing)}}
  %ids, %w = moe.route %l forced(%b : tensor<?x3xi32>) {routing = #moe.routing<k = 2>}
      : tensor<?x8xf32> -> tensor<?x2xi32>, tensor<?x2xf32>
  return
}

// -----

func.func @f(%l: tensor<4x8xf32>, %b: tensor<5xi1>) {
  // expected-error @below {{'valid' of type 'tensor<5xi1>' has extent 5 in dimension 0; 4 is accepted}}
  %ids, %w = moe.route %l valid(%b : tensor<5xi1>) {routing = #moe.routing<k = 2>}
      : tensor<4x8xf32> -> tensor<4x2xi32>, tensor<4x2xf32>
  return
}

// -----

func.func @f(%l: tensor<4x8xf32>) {
  // expected-error @below {{'ids' of type 'tensor<5x2xi32>' has extent 5 in dimension 0; 4 is accepted}}
  %ids, %w = moe.route %l {routing = #moe.routing<k = 2>}
      : tensor<4x8xf32> -> tensor<5x2xi32>, tensor<4x2xf32>
  return
}

// -----

func.func @f(%l: tensor<?x8xf32>) {
  // expected-error @below {{'ids' of type 'tensor<?x3xi32>' has extent 3 in dimension 1; 2 is accepted}}
  %ids, %w = moe.route %l {routing = #moe.routing<k = 2>}
      : tensor<?x8xf32> -> tensor<?x3xi32>, tensor<?x2xf32>
  return
}

// -----

func.func @f(%l: tensor<4x8xf32>) {
  // expected-error @below {{'weights' of type 'tensor<5x2xf32>' has extent 5 in dimension 0; 4 is accepted}}
  %ids, %w = moe.route %l {routing = #moe.routing<k = 2>}
      : tensor<4x8xf32> -> tensor<4x2xi32>, tensor<5x2xf32>
  return
}

// -----

func.func @f(%l: tensor<?x8xf32>) {
  // expected-error @below {{'weights' of type 'tensor<?x3xf32>' has extent 3 in dimension 1; 2 is accepted}}
  %ids, %w = moe.route %l {routing = #moe.routing<k = 2>}
      : tensor<?x8xf32> -> tensor<?x2xi32>, tensor<?x3xf32>
  return
}

// -----

func.func @f(%l: tensor<?x8xf32>) {
  // expected-error @below {{gives weights of type 'f64' for logits of type 'f32'; f32 is accepted}}
  %ids, %w = moe.route %l {routing = #moe.routing<k = 2>}
      : tensor<?x8xf32> -> tensor<?x2xi32>, tensor<?x2xf64>
  return
}

// -----

func.func @f(%l: tensor<?x8xf64>) {
  // expected-error @below {{gives weights of type 'f32' for logits of type 'f64'; f64 is accepted}}
  %ids, %w = moe.route %l {routing = #moe.routing<k = 2>}
      : tensor<?x8xf64> -> tensor<?x2xi32>, tensor<?x2xf32>
  return
}

// -----

func.func @f(%l: tensor<?x8xf32>, %b: tensor<8xf32>, %i: tensor<?x2xi32>) {
  // expected-error @below {{has 'select_bias' and 'forced', which leaves nothing to select; one of them is accepted}}
  %ids, %w = moe.route %l select_bias(%b : tensor<8xf32>) forced(%i : tensor<?x2xi32>) {routing = #moe.routing<k = 2>}
      : tensor<?x8xf32> -> tensor<?x2xi32>, tensor<?x2xf32>
  return
}

// -----

func.func @f(%l: tensor<?x8xf32>, %i: tensor<?x2xi32>) {
  // expected-error @below {{has 'groups' and 'forced'}}
  %ids, %w = moe.route %l forced(%i : tensor<?x2xi32>) {routing = #moe.routing<k = 2, groups = #moe.groups<n = 4, keep = 2>>}
      : tensor<?x8xf32> -> tensor<?x2xi32>, tensor<?x2xf32>
  return
}

// -----

func.func @f(%l: tensor<?x8xf32>, %i: tensor<?x2xi32>) {
  // expected-error @below {{has 'ranks' and 'forced'}}
  %ids, %w = moe.route %l forced(%i : tensor<?x2xi32>) {routing = #moe.routing<k = 2, ranks = [1, 2]>}
      : tensor<?x8xf32> -> tensor<?x2xi32>, tensor<?x2xf32>
  return
}

// -----

func.func @f(%l: tensor<2x8xf32>) {
  %i = onnx.Constant() {value = dense<[[-1, 0], [3, 8]]> : tensor<2x2xi32>} : () -> tensor<2x2xi32>
  // expected-error @below {{'forced' holds 8; -1 to 7 are accepted}}
  %ids, %w = moe.route %l forced(%i : tensor<2x2xi32>) {routing = #moe.routing<k = 2>}
      : tensor<2x8xf32> -> tensor<2x2xi32>, tensor<2x2xf32>
  return
}

// -----

func.func @f(%l: tensor<1x8xf32>) {
  %i = onnx.Initializer "ids" = dense<[[-2, 0]]> : tensor<1x2xi32>
  // expected-error @below {{'forced' holds -2; -1 to 7 are accepted}}
  %ids, %w = moe.route %l forced(%i : tensor<1x2xi32>) {routing = #moe.routing<k = 2>}
      : tensor<1x8xf32> -> tensor<1x2xi32>, tensor<1x2xf32>
  return
}

// -----

func.func @f(%l: tensor<?x8xf32>, %b: tensor<8xf32>) {
  // expected-error @below {{has 'select_bias' and score = sparsemixer, a procedure of its own; one of them is accepted}}
  %ids, %w = moe.route %l select_bias(%b : tensor<8xf32>) {routing = #moe.routing<k = 2, score = sparsemixer, jitter = 0.01>}
      : tensor<?x8xf32> -> tensor<?x2xi32>, tensor<?x2xf32>
  return
}

// -----

func.func @f(%l: tensor<?x8xf32>, %b: tensor<8xf32>) {
  // expected-error @below {{has 'expert_scale' and score = sparsemixer}}
  %ids, %w = moe.route %l expert_scale(%b : tensor<8xf32>) {routing = #moe.routing<k = 2, score = sparsemixer, jitter = 0.01>}
      : tensor<?x8xf32> -> tensor<?x2xi32>, tensor<?x2xf32>
  return
}

// -----

func.func @f(%l: tensor<?x8xf32>, %b: tensor<?x8xf32>) {
  // expected-error @below {{has 'mix' and score = sparsemixer}}
  %ids, %w = moe.route %l mix(%b : tensor<?x8xf32>) {routing = #moe.routing<k = 2, score = sparsemixer, jitter = 0.01>}
      : tensor<?x8xf32> -> tensor<?x2xi32>, tensor<?x2xf32>
  return
}

// -----

func.func @f(%l: tensor<?x8xf32>, %b: tensor<?x2xi32>) {
  // expected-error @below {{has 'forced' and score = sparsemixer}}
  %ids, %w = moe.route %l forced(%b : tensor<?x2xi32>) {routing = #moe.routing<k = 2, score = sparsemixer, jitter = 0.01>}
      : tensor<?x8xf32> -> tensor<?x2xi32>, tensor<?x2xf32>
  return
}

// -----

func.func @f(%l: tensor<?x8xf32>, %b: tensor<?x8xf32>) {
  // expected-error @below {{has 'mix', whose weights are not scored, and score_on = selected; score_on = all is accepted}}
  %ids, %w = moe.route %l mix(%b : tensor<?x8xf32>) {routing = #moe.routing<k = 2, score_on = selected>}
      : tensor<?x8xf32> -> tensor<?x2xi32>, tensor<?x2xf32>
  return
}

// -----

func.func @f(%l: tensor<?x8xf32>) {
  // expected-error @below {{picks k = 9 of E = 8 experts; at most 8 are accepted}}
  %ids, %w = moe.route %l {routing = #moe.routing<k = 9>}
      : tensor<?x8xf32> -> tensor<?x9xi32>, tensor<?x9xf32>
  return
}

// -----

func.func @f(%l: tensor<?x8xf32>) {
  // expected-error @below {{picks rank 8 of E = 8 experts; ranks below 8 are accepted}}
  %ids, %w = moe.route %l {routing = #moe.routing<k = 2, ranks = [0, 8]>}
      : tensor<?x8xf32> -> tensor<?x2xi32>, tensor<?x2xf32>
  return
}

// -----

func.func @f(%l: tensor<?x8xf32>) {
  // expected-error @below {{null_before_norm holds 8, but E = 8; ids below 8 are accepted}}
  %ids, %w = moe.route %l {routing = #moe.routing<k = 2, null_before_norm = [8]>}
      : tensor<?x8xf32> -> tensor<?x2xi32>, tensor<?x2xf32>
  return
}

// -----

func.func @f(%l: tensor<?x8xf32>) {
  // expected-error @below {{forms n = 3 groups of E = 8 experts; a divisor of 8 is accepted}}
  %ids, %w = moe.route %l {routing = #moe.routing<k = 2, groups = #moe.groups<n = 3, keep = 2>>}
      : tensor<?x8xf32> -> tensor<?x2xi32>, tensor<?x2xf32>
  return
}

// -----

func.func @f(%l: tensor<?x8xf32>) {
  // expected-error @below {{sums the two best of groups of 1 expert; groups of 2 or more are accepted with reduce = top2sum}}
  %ids, %w = moe.route %l {routing = #moe.routing<k = 2, groups = #moe.groups<n = 8, keep = 4, reduce = top2sum>>}
      : tensor<?x8xf32> -> tensor<?x2xi32>, tensor<?x2xf32>
  return
}

// -----

func.func @f(%l: tensor<?x8xf32>) {
  // expected-error @below {{picks rank 4 among keep = 2 groups of 2 experts; ranks below 4 are accepted}}
  %ids, %w = moe.route %l {routing = #moe.routing<k = 5, groups = #moe.groups<n = 4, keep = 2>>}
      : tensor<?x8xf32> -> tensor<?x5xi32>, tensor<?x5xf32>
  return
}

// -----

func.func @f(%l: tensor<?x8xf32>) {
  // expected-error @below {{picks rank 5 among keep = 2 groups of 2 experts; ranks below 4 are accepted}}
  %ids, %w = moe.route %l {routing = #moe.routing<k = 2, ranks = [0, 5], groups = #moe.groups<n = 4, keep = 2>>}
      : tensor<?x8xf32> -> tensor<?x2xi32>, tensor<?x2xf32>
  return
}

// -----

//===----------------------------------------------------------------------===//
// moe.route_balanced, moe.soft_route, moe.load_stats
//===----------------------------------------------------------------------===//

func.func @f(%l: tensor<?x4xf32>) {
  // expected-error @below {{'tokens' of type 'tensor<5x16xi32>' has extent 5 in dimension 0; 4 is accepted (experts of the logits)}}
  %t, %w = moe.route_balanced %l {method = #moe.method<expert_choice>, capacity = 16}
      : tensor<?x4xf32> -> tensor<5x16xi32>, tensor<4x16xf32>
  return
}

// -----

func.func @f(%l: tensor<?x4xf32>) {
  // expected-error @below {{'tokens' of type 'tensor<4x15xi32>' has extent 15 in dimension 1; 16 is accepted (capacity)}}
  %t, %w = moe.route_balanced %l {method = #moe.method<expert_choice>, capacity = 16}
      : tensor<?x4xf32> -> tensor<4x15xi32>, tensor<4x16xf32>
  return
}

// -----

func.func @f(%l: tensor<?x4xf32>) {
  // expected-error @below {{'weights' of type 'tensor<5x16xf32>' has extent 5 in dimension 0; 4 is accepted}}
  %t, %w = moe.route_balanced %l {method = #moe.method<expert_choice>, capacity = 16}
      : tensor<?x4xf32> -> tensor<4x16xi32>, tensor<5x16xf32>
  return
}

// -----

func.func @f(%l: tensor<?x4xf32>) {
  // expected-error @below {{'weights' of type 'tensor<4x15xf32>' has extent 15 in dimension 1; 16 is accepted}}
  %t, %w = moe.route_balanced %l {method = #moe.method<expert_choice>, capacity = 16}
      : tensor<?x4xf32> -> tensor<4x16xi32>, tensor<4x15xf32>
  return
}

// -----

func.func @f(%l: tensor<?x4xf32>) {
  // expected-error @below {{gives weights of type 'f64' for logits of type 'f32'; f32 is accepted}}
  %t, %w = moe.route_balanced %l {method = #moe.method<expert_choice>, capacity = 16}
      : tensor<?x4xf32> -> tensor<4x16xi32>, tensor<4x16xf64>
  return
}

// -----

func.func @f(%l: tensor<?x4xf32>) {
  // expected-error @below {{gamma is 0.000000e+00 : f64; finite numbers above 0 are accepted}}
  %t, %w = moe.route_balanced %l {method = #moe.method<expert_choice>, capacity = 16, gamma = 0.0 : f64}
      : tensor<?x4xf32> -> tensor<4x16xi32>, tensor<4x16xf32>
  return
}

// -----

func.func @f(%l: tensor<?x4xf32>) {
  // expected-error @below {{attribute 'capacity' failed to satisfy constraint}}
  %t, %w = moe.route_balanced %l {method = #moe.method<expert_choice>, capacity = 0}
      : tensor<?x4xf32> -> tensor<4x16xi32>, tensor<4x16xf32>
  return
}

// -----

func.func @f(%l: tensor<8xf32>) {
  // expected-error @below {{has logits of rank 1; tokens and slots, rank 2 or more, are accepted}}
  %d, %c = moe.soft_route %l : tensor<8xf32>
  return
}

// -----

func.func @f(%i: tensor<4x2xi32>, %w: tensor<5x2xf32>, %p: tensor<4x8xf32>) {
  // expected-error @below {{'weights' of type 'tensor<5x2xf32>' has extent 5 in dimension 0; 4 is accepted (tokens of 'ids')}}
  %a, %b, %c = moe.load_stats %i, %w probs(%p : tensor<4x8xf32>)
      : tensor<4x2xi32>, tensor<5x2xf32> -> tensor<8xi64>, tensor<8xf64>, tensor<8xf64>
  return
}

// -----

func.func @f(%i: tensor<4x2xi32>, %w: tensor<4x3xf32>, %p: tensor<4x8xf32>) {
  // expected-error @below {{'weights' of type 'tensor<4x3xf32>' has extent 3 in dimension 1; 2 is accepted (slots of 'ids')}}
  %a, %b, %c = moe.load_stats %i, %w probs(%p : tensor<4x8xf32>)
      : tensor<4x2xi32>, tensor<4x3xf32> -> tensor<8xi64>, tensor<8xf64>, tensor<8xf64>
  return
}

// -----

func.func @f(%i: tensor<4x2xi32>, %w: tensor<4x2xf32>, %p: tensor<5x8xf32>) {
  // expected-error @below {{'probs' of type 'tensor<5x8xf32>' has extent 5 in dimension 0; 4 is accepted}}
  %a, %b, %c = moe.load_stats %i, %w probs(%p : tensor<5x8xf32>)
      : tensor<4x2xi32>, tensor<4x2xf32> -> tensor<8xi64>, tensor<8xf64>, tensor<8xf64>
  return
}

// -----

func.func @f(%i: tensor<4x2xi32>, %w: tensor<4x2xf32>, %p: tensor<4x8xf32>) {
  // expected-error @below {{'counts' of type 'tensor<7xi64>' has extent 7 in dimension 0; 8 is accepted (experts of 'probs')}}
  %a, %b, %c = moe.load_stats %i, %w probs(%p : tensor<4x8xf32>)
      : tensor<4x2xi32>, tensor<4x2xf32> -> tensor<7xi64>, tensor<8xf64>, tensor<8xf64>
  return
}

// -----

func.func @f(%i: tensor<4x2xi32>, %w: tensor<4x2xf32>, %p: tensor<4x8xf32>) {
  // expected-error @below {{'gate_sum' of type 'tensor<7xf64>' has extent 7 in dimension 0; 8 is accepted}}
  %a, %b, %c = moe.load_stats %i, %w probs(%p : tensor<4x8xf32>)
      : tensor<4x2xi32>, tensor<4x2xf32> -> tensor<8xi64>, tensor<7xf64>, tensor<8xf64>
  return
}

// -----

func.func @f(%i: tensor<4x2xi32>, %w: tensor<4x2xf32>, %p: tensor<4x8xf32>) {
  // expected-error @below {{'prob_sum' of type 'tensor<7xf64>' has extent 7 in dimension 0; 8 is accepted}}
  %a, %b, %c = moe.load_stats %i, %w probs(%p : tensor<4x8xf32>)
      : tensor<4x2xi32>, tensor<4x2xf32> -> tensor<8xi64>, tensor<8xf64>, tensor<7xf64>
  return
}

// -----

func.func @f(%w: tensor<1x2xf32>, %p: tensor<1x8xf32>) {
  %i = onnx.Initializer "ids" = dense<[[0, 9]]> : tensor<1x2xi32>
  // expected-error @below {{'ids' holds 9; -1 to 7 are accepted}}
  %a, %b, %c = moe.load_stats %i, %w probs(%p : tensor<1x8xf32>)
      : tensor<1x2xi32>, tensor<1x2xf32> -> tensor<8xi64>, tensor<8xf64>, tensor<8xf64>
  return
}

// -----

//===----------------------------------------------------------------------===//
// moe.experts
//===----------------------------------------------------------------------===//

func.func @f(%x: tensor<4x64xf32>, %ids: tensor<4x2xi32>, %gate: tensor<8x128x64xf32>, %down: tensor<8x64x128xf32>) {
  // expected-error @below {{has 'ids' without 'weights'; both or none are accepted}}
  %y = "moe.experts"(%x, %ids, %gate, %down) <{operandSegmentSizes = array<i32: 1, 1, 0, 1, 0, 1, 0, 0, 0>}> ({
  ^bb0(%h: tensor<f32>):
    moe.yield %h : tensor<f32>
  }) : (tensor<4x64xf32>, tensor<4x2xi32>, tensor<8x128x64xf32>, tensor<8x64x128xf32>) -> tensor<4x64xf32>
  return
}

// -----

func.func @f(%x: tensor<4x64xf32>, %ids: tensor<4x2xi32>, %w: tensor<4x2xf32>, %gate: tensor<8x256x64xf32>, %up: tensor<8x128x64xf32>, %down: tensor<8x64x128xf32>) {
  // expected-error @below {{has a bank 'up' with gate_up = concat; a bank 'up' is accepted with gate_up = separate only, which needs it}}
  %y = moe.experts %x route(%ids, %w : tensor<4x2xi32>, tensor<4x2xf32>)
      gate(%gate : tensor<8x256x64xf32>) up(%up : tensor<8x128x64xf32>) down(%down : tensor<8x64x128xf32>)
      {gate_up = #moe.gate_up<concat>} : tensor<4x64xf32> -> tensor<4x64xf32> {
  ^bb0(%g: tensor<f32>, %u: tensor<f32>):
    %h = onnx.Mul(%g, %u) : (tensor<f32>, tensor<f32>) -> tensor<f32>
    moe.yield %h : tensor<f32>
  }
  return
}

// -----

func.func @f(%x: tensor<4x64xf32>, %ids: tensor<4x2xi32>, %w: tensor<4x2xf32>, %gate: tensor<8x128x64xf32>, %down: tensor<8x64x128xf32>) {
  // expected-error @below {{has no bank 'up' with gate_up = separate}}
  %y = moe.experts %x route(%ids, %w : tensor<4x2xi32>, tensor<4x2xf32>)
      gate(%gate : tensor<8x128x64xf32>) down(%down : tensor<8x64x128xf32>)
      {gate_up = #moe.gate_up<separate>} : tensor<4x64xf32> -> tensor<4x64xf32> {
  ^bb0(%g: tensor<f32>, %u: tensor<f32>):
    %h = onnx.Mul(%g, %u) : (tensor<f32>, tensor<f32>) -> tensor<f32>
    moe.yield %h : tensor<f32>
  }
  return
}

// -----

func.func @f(%x: tensor<4x64xf32>, %ids: tensor<4x2xi32>, %w: tensor<4x2xf32>, %gate: tensor<8x256x64xf32>, %down: tensor<8x64x128xf32>, %up_bias: tensor<8x128xf32>) {
  // expected-error @below {{has 'up_bias' with gate_up = concat; it is accepted with gate_up = separate only ('gate_bias' holds both)}}
  %y = moe.experts %x route(%ids, %w : tensor<4x2xi32>, tensor<4x2xf32>)
      gate(%gate : tensor<8x256x64xf32>) down(%down : tensor<8x64x128xf32>) up_bias(%up_bias : tensor<8x128xf32>)
      {gate_up = #moe.gate_up<concat>} : tensor<4x64xf32> -> tensor<4x64xf32> {
  ^bb0(%g: tensor<f32>, %u: tensor<f32>):
    %h = onnx.Mul(%g, %u) : (tensor<f32>, tensor<f32>) -> tensor<f32>
    moe.yield %h : tensor<f32>
  }
  return
}

// -----

func.func @f(%x: tensor<4x64xf32>, %ids: tensor<4x2xi32>, %w: tensor<4x2xf32>, %gate: tensor<8x255x64xf32>, %down: tensor<8x64x128xf32>) {
  // expected-error @below {{'gate' of type 'tensor<8x255x64xf32>' has the odd width 255 with gate_up = interleave; 2I, gates and ups of one width, is accepted}}
  %y = moe.experts %x route(%ids, %w : tensor<4x2xi32>, tensor<4x2xf32>)
      gate(%gate : tensor<8x255x64xf32>) down(%down : tensor<8x64x128xf32>)
      {gate_up = #moe.gate_up<interleave>} : tensor<4x64xf32> -> tensor<4x64xf32> {
  ^bb0(%g: tensor<f32>, %u: tensor<f32>):
    %h = onnx.Mul(%g, %u) : (tensor<f32>, tensor<f32>) -> tensor<f32>
    moe.yield %h : tensor<f32>
  }
  return
}

// -----

func.func @f(%x: tensor<4x64xf32>, %ids: tensor<4x2xi32>, %w: tensor<4x2xf32>, %gate: tensor<8x128x32xf32>, %down: tensor<8x64x128xf32>) {
  // expected-error @below {{'gate' of type 'tensor<8x128x32xf32>' has extent 32 in dimension 2; 64 is accepted (width of 'x')}}
  %y = moe.experts %x route(%ids, %w : tensor<4x2xi32>, tensor<4x2xf32>)
      gate(%gate : tensor<8x128x32xf32>) down(%down : tensor<8x64x128xf32>)
      : tensor<4x64xf32> -> tensor<4x64xf32> {
  ^bb0(%h: tensor<f32>):
    moe.yield %h : tensor<f32>
  }
  return
}

// -----

func.func @f(%x: tensor<4x64xf32>, %ids: tensor<4x2xi32>, %w: tensor<4x2xf32>, %gate: tensor<8x128x64xf32>, %down: tensor<8x64x64xf32>) {
  // expected-error @below {{'gate' of type 'tensor<8x128x64xf32>' has extent 128 in dimension 1; 64 is accepted (width of 'x')}}
  %y = moe.experts %x route(%ids, %w : tensor<4x2xi32>, tensor<4x2xf32>)
      gate(%gate : tensor<8x128x64xf32>) down(%down : tensor<8x64x64xf32>)
      {layout = #moe.layout<io>} : tensor<4x64xf32> -> tensor<4x64xf32> {
  ^bb0(%h: tensor<f32>):
    moe.yield %h : tensor<f32>
  }
  return
}

// -----

func.func @f(%x: tensor<4x64xf32>, %ids: tensor<4x2xi32>, %w: tensor<4x2xf32>, %gate: tensor<8x127x64xf32>, %down: tensor<8x64x128xf32>) {
  // expected-error @below {{'gate' of type 'tensor<8x127x64xf32>' has extent 127 in dimension 1; 128 is accepted (inner width of 'down')}}
  %y = moe.experts %x route(%ids, %w : tensor<4x2xi32>, tensor<4x2xf32>)
      gate(%gate : tensor<8x127x64xf32>) down(%down : tensor<8x64x128xf32>)
      : tensor<4x64xf32> -> tensor<4x64xf32> {
  ^bb0(%h: tensor<f32>):
    moe.yield %h : tensor<f32>
  }
  return
}

// -----

func.func @f(%x: tensor<4x64xf32>, %ids: tensor<4x2xi32>, %w: tensor<4x2xf32>, %gate: tensor<8x128x64xf32>, %down: tensor<8x64x128xf32>) {
  // expected-error @below {{'gate' of type 'tensor<8x128x64xf32>' has extent 128 in dimension 1; 256 is accepted (2I, I being the inner width of 'down')}}
  %y = moe.experts %x route(%ids, %w : tensor<4x2xi32>, tensor<4x2xf32>)
      gate(%gate : tensor<8x128x64xf32>) down(%down : tensor<8x64x128xf32>)
      {gate_up = #moe.gate_up<concat>} : tensor<4x64xf32> -> tensor<4x64xf32> {
  ^bb0(%g: tensor<f32>, %u: tensor<f32>):
    %h = onnx.Mul(%g, %u) : (tensor<f32>, tensor<f32>) -> tensor<f32>
    moe.yield %h : tensor<f32>
  }
  return
}

// -----

func.func @f(%x: tensor<4x64xf32>, %ids: tensor<4x2xi32>, %w: tensor<4x2xf32>, %gate: tensor<8x128x64xf32>, %up: tensor<7x128x64xf32>, %down: tensor<8x64x128xf32>) {
  // expected-error @below {{'up' of type 'tensor<7x128x64xf32>' has extent 7 in dimension 0; 8 is accepted (experts of 'gate')}}
  %y = moe.experts %x route(%ids, %w : tensor<4x2xi32>, tensor<4x2xf32>)
      gate(%gate : tensor<8x128x64xf32>) up(%up : tensor<7x128x64xf32>) down(%down : tensor<8x64x128xf32>)
      {gate_up = #moe.gate_up<separate>} : tensor<4x64xf32> -> tensor<4x64xf32> {
  ^bb0(%g: tensor<f32>, %u: tensor<f32>):
    %h = onnx.Mul(%g, %u) : (tensor<f32>, tensor<f32>) -> tensor<f32>
    moe.yield %h : tensor<f32>
  }
  return
}

// -----

func.func @f(%x: tensor<4x64xf32>, %ids: tensor<4x2xi32>, %w: tensor<4x2xf32>, %gate: tensor<8x128x64xf32>, %up: tensor<8x127x64xf32>, %down: tensor<8x64x128xf32>) {
  // expected-error @below {{'up' of type 'tensor<8x127x64xf32>' has extent 127 in dimension 1; 128 is accepted (width of 'gate')}}
  %y = moe.experts %x route(%ids, %w : tensor<4x2xi32>, tensor<4x2xf32>)
      gate(%gate : tensor<8x128x64xf32>) up(%up : tensor<8x127x64xf32>) down(%down : tensor<8x64x128xf32>)
      {gate_up = #moe.gate_up<separate>} : tensor<4x64xf32> -> tensor<4x64xf32> {
  ^bb0(%g: tensor<f32>, %u: tensor<f32>):
    %h = onnx.Mul(%g, %u) : (tensor<f32>, tensor<f32>) -> tensor<f32>
    moe.yield %h : tensor<f32>
  }
  return
}

// -----

func.func @f(%x: tensor<4x64xf32>, %ids: tensor<4x2xi32>, %w: tensor<4x2xf32>, %gate: tensor<8x128x64xf32>, %up: tensor<8x128x32xf32>, %down: tensor<8x64x128xf32>) {
  // expected-error @below {{'up' of type 'tensor<8x128x32xf32>' has extent 32 in dimension 2; 64 is accepted (width of 'x')}}
  %y = moe.experts %x route(%ids, %w : tensor<4x2xi32>, tensor<4x2xf32>)
      gate(%gate : tensor<8x128x64xf32>) up(%up : tensor<8x128x32xf32>) down(%down : tensor<8x64x128xf32>)
      {gate_up = #moe.gate_up<separate>} : tensor<4x64xf32> -> tensor<4x64xf32> {
  ^bb0(%g: tensor<f32>, %u: tensor<f32>):
    %h = onnx.Mul(%g, %u) : (tensor<f32>, tensor<f32>) -> tensor<f32>
    moe.yield %h : tensor<f32>
  }
  return
}

// -----

func.func @f(%x: tensor<4x64xf32>, %ids: tensor<4x2xi32>, %w: tensor<4x2xf32>, %gate: tensor<8x128x64xf32>, %down: tensor<7x64x128xf32>) {
  // expected-error @below {{'down' of type 'tensor<7x64x128xf32>' has extent 7 in dimension 0; 8 is accepted (experts of 'gate')}}
  %y = moe.experts %x route(%ids, %w : tensor<4x2xi32>, tensor<4x2xf32>)
      gate(%gate : tensor<8x128x64xf32>) down(%down : tensor<7x64x128xf32>)
      : tensor<4x64xf32> -> tensor<4x64xf32> {
  ^bb0(%h: tensor<f32>):
    moe.yield %h : tensor<f32>
  }
  return
}

// -----

func.func @f(%x: tensor<4x64xf32>, %ids: tensor<4x2xi32>, %w: tensor<4x2xf32>, %gate: tensor<8x128x64xf32>, %down: tensor<8x64x128xf32>, %gate_bias: tensor<7x128xf32>) {
  // expected-error @below {{'gate_bias' of type 'tensor<7x128xf32>' has extent 7 in dimension 0; 8 is accepted (experts of 'gate')}}
  %y = moe.experts %x route(%ids, %w : tensor<4x2xi32>, tensor<4x2xf32>)
      gate(%gate : tensor<8x128x64xf32>) down(%down : tensor<8x64x128xf32>) gate_bias(%gate_bias : tensor<7x128xf32>)
      : tensor<4x64xf32> -> tensor<4x64xf32> {
  ^bb0(%h: tensor<f32>):
    moe.yield %h : tensor<f32>
  }
  return
}

// -----

func.func @f(%x: tensor<4x64xf32>, %ids: tensor<4x2xi32>, %w: tensor<4x2xf32>, %gate: tensor<8x256x64xf32>, %down: tensor<8x64x128xf32>, %gate_bias: tensor<8x128xf32>) {
  // expected-error @below {{'gate_bias' of type 'tensor<8x128xf32>' has extent 128 in dimension 1; 256 is accepted (width of 'gate')}}
  %y = moe.experts %x route(%ids, %w : tensor<4x2xi32>, tensor<4x2xf32>)
      gate(%gate : tensor<8x256x64xf32>) down(%down : tensor<8x64x128xf32>) gate_bias(%gate_bias : tensor<8x128xf32>)
      {gate_up = #moe.gate_up<concat>} : tensor<4x64xf32> -> tensor<4x64xf32> {
  ^bb0(%g: tensor<f32>, %u: tensor<f32>):
    %h = onnx.Mul(%g, %u) : (tensor<f32>, tensor<f32>) -> tensor<f32>
    moe.yield %h : tensor<f32>
  }
  return
}

// -----

func.func @f(%x: tensor<4x64xf32>, %ids: tensor<4x2xi32>, %w: tensor<4x2xf32>, %gate: tensor<8x128x64xf32>, %up: tensor<8x128x64xf32>, %down: tensor<8x64x128xf32>, %up_bias: tensor<7x128xf32>) {
  // expected-error @below {{'up_bias' of type 'tensor<7x128xf32>' has extent 7 in dimension 0; 8 is accepted}}
  %y = moe.experts %x route(%ids, %w : tensor<4x2xi32>, tensor<4x2xf32>)
      gate(%gate : tensor<8x128x64xf32>) up(%up : tensor<8x128x64xf32>) down(%down : tensor<8x64x128xf32>) up_bias(%up_bias : tensor<7x128xf32>)
      {gate_up = #moe.gate_up<separate>} : tensor<4x64xf32> -> tensor<4x64xf32> {
  ^bb0(%g: tensor<f32>, %u: tensor<f32>):
    %h = onnx.Mul(%g, %u) : (tensor<f32>, tensor<f32>) -> tensor<f32>
    moe.yield %h : tensor<f32>
  }
  return
}

// -----

func.func @f(%x: tensor<4x64xf32>, %ids: tensor<4x2xi32>, %w: tensor<4x2xf32>, %gate: tensor<8x128x64xf32>, %up: tensor<8x128x64xf32>, %down: tensor<8x64x128xf32>, %up_bias: tensor<8x64xf32>) {
  // expected-error @below {{'up_bias' of type 'tensor<8x64xf32>' has extent 64 in dimension 1; 128 is accepted (width of 'gate')}}
  %y = moe.experts %x route(%ids, %w : tensor<4x2xi32>, tensor<4x2xf32>)
      gate(%gate : tensor<8x128x64xf32>) up(%up : tensor<8x128x64xf32>) down(%down : tensor<8x64x128xf32>) up_bias(%up_bias : tensor<8x64xf32>)
      {gate_up = #moe.gate_up<separate>} : tensor<4x64xf32> -> tensor<4x64xf32> {
  ^bb0(%g: tensor<f32>, %u: tensor<f32>):
    %h = onnx.Mul(%g, %u) : (tensor<f32>, tensor<f32>) -> tensor<f32>
    moe.yield %h : tensor<f32>
  }
  return
}

// -----

func.func @f(%x: tensor<4x64xf32>, %ids: tensor<4x2xi32>, %w: tensor<4x2xf32>, %gate: tensor<8x128x64xf32>, %down: tensor<8x64x128xf32>, %down_bias: tensor<7x64xf32>) {
  // expected-error @below {{'down_bias' of type 'tensor<7x64xf32>' has extent 7 in dimension 0; 8 is accepted}}
  %y = moe.experts %x route(%ids, %w : tensor<4x2xi32>, tensor<4x2xf32>)
      gate(%gate : tensor<8x128x64xf32>) down(%down : tensor<8x64x128xf32>) down_bias(%down_bias : tensor<7x64xf32>)
      : tensor<4x64xf32> -> tensor<4x64xf32> {
  ^bb0(%h: tensor<f32>):
    moe.yield %h : tensor<f32>
  }
  return
}

// -----

func.func @f(%x: tensor<4x64xf32>, %ids: tensor<4x2xi32>, %w: tensor<4x2xf32>, %gate: tensor<8x128x64xf32>, %down: tensor<8x64x128xf32>, %down_bias: tensor<8x128xf32>) {
  // expected-error @below {{'down_bias' of type 'tensor<8x128xf32>' has extent 128 in dimension 1; 64 is accepted (width of 'down')}}
  %y = moe.experts %x route(%ids, %w : tensor<4x2xi32>, tensor<4x2xf32>)
      gate(%gate : tensor<8x128x64xf32>) down(%down : tensor<8x64x128xf32>) down_bias(%down_bias : tensor<8x128xf32>)
      : tensor<4x64xf32> -> tensor<4x64xf32> {
  ^bb0(%h: tensor<f32>):
    moe.yield %h : tensor<f32>
  }
  return
}

// -----

func.func @f(%x: tensor<4x64xf32>, %ids: tensor<4x2xi32>, %w: tensor<4x2xf32>, %gate: tensor<8x128x64xf32>, %down: tensor<8x64x128xf32>) {
  // expected-error @below {{'y' of type 'tensor<5x64xf32>' has extent 5 in dimension 0; 4 is accepted (tokens of 'x')}}
  %y = moe.experts %x route(%ids, %w : tensor<4x2xi32>, tensor<4x2xf32>)
      gate(%gate : tensor<8x128x64xf32>) down(%down : tensor<8x64x128xf32>)
      : tensor<4x64xf32> -> tensor<5x64xf32> {
  ^bb0(%h: tensor<f32>):
    moe.yield %h : tensor<f32>
  }
  return
}

// -----

func.func @f(%x: tensor<4x64xf32>, %ids: tensor<4x2xi32>, %w: tensor<4x2xf32>, %gate: tensor<8x128x64xf32>, %down: tensor<8x64x128xf32>) {
  // expected-error @below {{'y' of type 'tensor<4x32xf32>' has extent 32 in dimension 1; 64 is accepted (width of 'down')}}
  %y = moe.experts %x route(%ids, %w : tensor<4x2xi32>, tensor<4x2xf32>)
      gate(%gate : tensor<8x128x64xf32>) down(%down : tensor<8x64x128xf32>)
      : tensor<4x64xf32> -> tensor<4x32xf32> {
  ^bb0(%h: tensor<f32>):
    moe.yield %h : tensor<f32>
  }
  return
}

// -----

func.func @f(%x: tensor<4x64xf32>, %ids: tensor<4x2xi32>, %w: tensor<4x2xf32>, %gate: tensor<8x128x64xf32>, %down: tensor<8x64x128xf32>) {
  // expected-error @below {{gives elements of type 'f16' for tokens of type 'f32'; the type of the tokens is accepted}}
  %y = moe.experts %x route(%ids, %w : tensor<4x2xi32>, tensor<4x2xf32>)
      gate(%gate : tensor<8x128x64xf32>) down(%down : tensor<8x64x128xf32>)
      : tensor<4x64xf32> -> tensor<4x64xf16> {
  ^bb0(%h: tensor<f32>):
    moe.yield %h : tensor<f32>
  }
  return
}

// -----

func.func @f(%x: tensor<4x64xf32>, %ids: tensor<4x2xi32>, %w: tensor<4x2xf32>, %gate: tensor<8x128x64xf32>, %down: tensor<8x64x128xf32>) {
  // expected-error @below {{in_scale is 0x7FF8000000000000 : f64; finite numbers are accepted}}
  %y = moe.experts %x route(%ids, %w : tensor<4x2xi32>, tensor<4x2xf32>)
      gate(%gate : tensor<8x128x64xf32>) down(%down : tensor<8x64x128xf32>)
      {in_scale = 0x7FF8000000000000 : f64} : tensor<4x64xf32> -> tensor<4x64xf32> {
  ^bb0(%h: tensor<f32>):
    moe.yield %h : tensor<f32>
  }
  return
}

// -----

func.func @f(%x: tensor<4x64xf32>, %gate: tensor<8x128x64xf32>, %down: tensor<8x64x128xf32>) {
  // expected-error @below {{has no 'ids' for a bank of 8 experts; a bank of 1 is accepted without them}}
  %y = moe.experts %x
      gate(%gate : tensor<8x128x64xf32>) down(%down : tensor<8x64x128xf32>)
      : tensor<4x64xf32> -> tensor<4x64xf32> {
  ^bb0(%h: tensor<f32>):
    moe.yield %h : tensor<f32>
  }
  return
}

// -----

func.func @f(%x: tensor<4x64xf32>, %gate: tensor<1x128x64xf32>, %down: tensor<1x64x128xf32>) {
  // expected-error @below {{has logical = 4 without 'ids'; it is accepted with them only}}
  %y = moe.experts %x
      gate(%gate : tensor<1x128x64xf32>) down(%down : tensor<1x64x128xf32>)
      {logical = 4 : i64} : tensor<4x64xf32> -> tensor<4x64xf32> {
  ^bb0(%h: tensor<f32>):
    moe.yield %h : tensor<f32>
  }
  return
}

// -----

func.func @f(%x: tensor<4x64xf32>, %gate: tensor<1x128x64xf32>, %down: tensor<1x64x128xf32>) {
  // expected-error @below {{has scale_at = input without 'weights'; it is accepted with them only}}
  %y = moe.experts %x
      gate(%gate : tensor<1x128x64xf32>) down(%down : tensor<1x64x128xf32>)
      {scale_at = #moe.scale_at<input>} : tensor<4x64xf32> -> tensor<4x64xf32> {
  ^bb0(%h: tensor<f32>):
    moe.yield %h : tensor<f32>
  }
  return
}

// -----

func.func @f(%x: tensor<4x64xf32>, %ids: tensor<4x2xi32>, %w: tensor<4x2xf32>, %gate: tensor<8x128x64xf32>, %down: tensor<8x64x128xf32>) {
  // expected-error @below {{has logical = 7 for a bank of 8 experts; 8 or more are accepted}}
  %y = moe.experts %x route(%ids, %w : tensor<4x2xi32>, tensor<4x2xf32>)
      gate(%gate : tensor<8x128x64xf32>) down(%down : tensor<8x64x128xf32>)
      {logical = 7 : i64} : tensor<4x64xf32> -> tensor<4x64xf32> {
  ^bb0(%h: tensor<f32>):
    moe.yield %h : tensor<f32>
  }
  return
}

// -----

func.func @f(%x: tensor<4x64xf32>, %ids: tensor<5x2xi32>, %w: tensor<4x2xf32>, %gate: tensor<8x128x64xf32>, %down: tensor<8x64x128xf32>) {
  // expected-error @below {{'ids' of type 'tensor<5x2xi32>' has extent 5 in dimension 0; 4 is accepted (tokens of 'x')}}
  %y = moe.experts %x route(%ids, %w : tensor<5x2xi32>, tensor<4x2xf32>)
      gate(%gate : tensor<8x128x64xf32>) down(%down : tensor<8x64x128xf32>)
      : tensor<4x64xf32> -> tensor<4x64xf32> {
  ^bb0(%h: tensor<f32>):
    moe.yield %h : tensor<f32>
  }
  return
}

// -----

func.func @f(%x: tensor<4x64xf32>, %ids: tensor<4x2xi32>, %w: tensor<5x2xf32>, %gate: tensor<8x128x64xf32>, %down: tensor<8x64x128xf32>) {
  // expected-error @below {{'weights' of type 'tensor<5x2xf32>' has extent 5 in dimension 0; 4 is accepted (tokens of 'x' and 'ids')}}
  %y = moe.experts %x route(%ids, %w : tensor<4x2xi32>, tensor<5x2xf32>)
      gate(%gate : tensor<8x128x64xf32>) down(%down : tensor<8x64x128xf32>)
      : tensor<4x64xf32> -> tensor<4x64xf32> {
  ^bb0(%h: tensor<f32>):
    moe.yield %h : tensor<f32>
  }
  return
}

// -----

func.func @f(%x: tensor<4x64xf32>, %ids: tensor<4x2xi32>, %w: tensor<4x3xf32>, %gate: tensor<8x128x64xf32>, %down: tensor<8x64x128xf32>) {
  // expected-error @below {{'weights' of type 'tensor<4x3xf32>' has extent 3 in dimension 1; 2 is accepted (slots of 'ids')}}
  %y = moe.experts %x route(%ids, %w : tensor<4x2xi32>, tensor<4x3xf32>)
      gate(%gate : tensor<8x128x64xf32>) down(%down : tensor<8x64x128xf32>)
      : tensor<4x64xf32> -> tensor<4x64xf32> {
  ^bb0(%h: tensor<f32>):
    moe.yield %h : tensor<f32>
  }
  return
}

// -----

func.func @f(%x: tensor<1x64xf32>, %w: tensor<1x2xf32>, %gate: tensor<8x128x64xf32>, %down: tensor<8x64x128xf32>) {
  %ids = onnx.Initializer "ids" = dense<[[0, 8]]> : tensor<1x2xi32>
  // expected-error @below {{'ids' holds 8; -1 to 7 are accepted}}
  %y = moe.experts %x route(%ids, %w : tensor<1x2xi32>, tensor<1x2xf32>)
      gate(%gate : tensor<8x128x64xf32>) down(%down : tensor<8x64x128xf32>)
      : tensor<1x64xf32> -> tensor<1x64xf32> {
  ^bb0(%h: tensor<f32>):
    moe.yield %h : tensor<f32>
  }
  return
}

// -----

func.func @f(%x: tensor<1x64xf32>, %w: tensor<1x2xf32>, %gate: tensor<8x128x64xf32>, %down: tensor<8x64x128xf32>) {
  %ids = onnx.Initializer "ids" = dense<[[9, 10]]> : tensor<1x2xi32>
  // expected-error @below {{'ids' holds 10; -1 to 9 are accepted}}
  %y = moe.experts %x route(%ids, %w : tensor<1x2xi32>, tensor<1x2xf32>)
      gate(%gate : tensor<8x128x64xf32>) down(%down : tensor<8x64x128xf32>)
      {logical = 10 : i64} : tensor<1x64xf32> -> tensor<1x64xf32> {
  ^bb0(%h: tensor<f32>):
    moe.yield %h : tensor<f32>
  }
  return
}

// -----

func.func @f(%x: tensor<4x64xf32>, %ids: tensor<4x2xi32>, %w: tensor<4x2xf32>, %gate: tensor<8x256x64xf32>, %down: tensor<8x64x128xf32>) {
  // expected-error @below {{activation has 1 arguments; 2 are accepted with gate_up = concat}}
  %y = moe.experts %x route(%ids, %w : tensor<4x2xi32>, tensor<4x2xf32>)
      gate(%gate : tensor<8x256x64xf32>) down(%down : tensor<8x64x128xf32>)
      {gate_up = #moe.gate_up<concat>} : tensor<4x64xf32> -> tensor<4x64xf32> {
  ^bb0(%h: tensor<f32>):
    moe.yield %h : tensor<f32>
  }
  return
}

// -----

func.func @f(%x: tensor<4x64xf32>, %ids: tensor<4x2xi32>, %w: tensor<4x2xf32>, %gate: tensor<8x128x64xf32>, %down: tensor<8x64x128xf32>) {
  // expected-error @below {{activation has 2 arguments; 1 are accepted with gate_up = none}}
  %y = moe.experts %x route(%ids, %w : tensor<4x2xi32>, tensor<4x2xf32>)
      gate(%gate : tensor<8x128x64xf32>) down(%down : tensor<8x64x128xf32>)
      : tensor<4x64xf32> -> tensor<4x64xf32> {
  ^bb0(%g: tensor<f32>, %u: tensor<f32>):
    %h = onnx.Mul(%g, %u) : (tensor<f32>, tensor<f32>) -> tensor<f32>
    moe.yield %h : tensor<f32>
  }
  return
}

// -----

func.func @f(%x: tensor<4x64xf32>, %ids: tensor<4x2xi32>, %w: tensor<4x2xf32>, %gate: tensor<8x128x64xf32>, %down: tensor<8x64x128xf32>) {
  // expected-error @below {{activation has an argument of type 'tensor<f16>'; 'tensor<f32>' is accepted}}
  %y = moe.experts %x route(%ids, %w : tensor<4x2xi32>, tensor<4x2xf32>)
      gate(%gate : tensor<8x128x64xf32>) down(%down : tensor<8x64x128xf32>)
      : tensor<4x64xf32> -> tensor<4x64xf32> {
  ^bb0(%h: tensor<f16>):
    moe.yield %h : tensor<f16>
  }
  return
}

// -----

func.func @f(%x: tensor<4x64xf32>, %ids: tensor<4x2xi32>, %w: tensor<4x2xf32>, %gate: tensor<8x128x64xf32>, %down: tensor<8x64x128xf32>) {
  // expected-error @below {{activation holds 'onnx.ReduceSum'; elementwise onnx operators are accepted}}
  %y = moe.experts %x route(%ids, %w : tensor<4x2xi32>, tensor<4x2xf32>)
      gate(%gate : tensor<8x128x64xf32>) down(%down : tensor<8x64x128xf32>)
      : tensor<4x64xf32> -> tensor<4x64xf32> {
  ^bb0(%h: tensor<f32>):
    // expected-note @below {{it is here}}
    %0 = onnx.ReduceSum(%h, _) : (tensor<f32>) -> tensor<f32>
    moe.yield %0 : tensor<f32>
  }
  return
}

// -----

func.func @f(%x: tensor<4x64xf32>, %ids: tensor<4x2xi32>, %w: tensor<4x2xf32>, %gate: tensor<8x128x64xf32>, %down: tensor<8x64x128xf32>) {
  // expected-error @below {{activation computes a value of type 'tensor<1xf32>'; tensors of rank 0 are accepted}}
  %y = moe.experts %x route(%ids, %w : tensor<4x2xi32>, tensor<4x2xf32>)
      gate(%gate : tensor<8x128x64xf32>) down(%down : tensor<8x64x128xf32>)
      : tensor<4x64xf32> -> tensor<4x64xf32> {
  ^bb0(%h: tensor<f32>):
    // expected-note @below {{'onnx.Constant' is here}}
    %0 = onnx.Constant() {value = dense<1.0> : tensor<1xf32>} : () -> tensor<1xf32>
    moe.yield %h : tensor<f32>
  }
  return
}

// -----

func.func @f(%x: tensor<4x64xf32>, %c: tensor<f32>, %gate: tensor<1x128x64xf32>, %down: tensor<1x64x128xf32>) {
  // expected-note @below {{required by region isolation constraints}}
  %y = moe.experts %x gate(%gate : tensor<1x128x64xf32>) down(%down : tensor<1x64x128xf32>)
      : tensor<4x64xf32> -> tensor<4x64xf32> {
  ^bb0(%h: tensor<f32>):
    // expected-error @below {{using value defined outside the region}}
    %0 = onnx.Add(%h, %c) : (tensor<f32>, tensor<f32>) -> tensor<f32>
    moe.yield %0 : tensor<f32>
  }
  return
}

// -----

func.func @f(%x: tensor<4x64xf32>, %ids: tensor<4x2xi32>, %w: tensor<4x2xf32>, %gate: tensor<8x128x64xf32>, %down: tensor<8x64x128xf32>) {
  // expected-error @below {{activation does not end in 'moe.yield'}}
  %y = moe.experts %x route(%ids, %w : tensor<4x2xi32>, tensor<4x2xf32>)
      gate(%gate : tensor<8x128x64xf32>) down(%down : tensor<8x64x128xf32>)
      : tensor<4x64xf32> -> tensor<4x64xf32> {
  ^bb0(%h: tensor<f32>):
    onnx.Yield %h : tensor<f32>
  }
  return
}

// -----

func.func @f(%x: tensor<4x64xf32>, %ids: tensor<4x2xi32>, %w: tensor<4x2xf32>, %gate: tensor<8x128x64xf32>, %down: tensor<8x64x128xf32>) {
  // expected-error @below {{activation yields 0 values; one of type 'tensor<f32>' is accepted}}
  %y = moe.experts %x route(%ids, %w : tensor<4x2xi32>, tensor<4x2xf32>)
      gate(%gate : tensor<8x128x64xf32>) down(%down : tensor<8x64x128xf32>)
      : tensor<4x64xf32> -> tensor<4x64xf32> {
  ^bb0(%h: tensor<f32>):
    moe.yield
  }
  return
}

// -----

func.func @f(%x: tensor<4x64xf32>, %ids: tensor<4x2xi32>, %w: tensor<4x2xf32>, %gate: tensor<8x128x64xf32>, %down: tensor<8x64x128xf32>) {
  // expected-error @below {{activation yields a value of type 'tensor<f16>'; one of type 'tensor<f32>' is accepted}}
  %y = moe.experts %x route(%ids, %w : tensor<4x2xi32>, tensor<4x2xf32>)
      gate(%gate : tensor<8x128x64xf32>) down(%down : tensor<8x64x128xf32>)
      : tensor<4x64xf32> -> tensor<4x64xf32> {
  ^bb0(%h: tensor<f32>):
    %0 = onnx.Cast(%h) {to = 10 : i64} : (tensor<f32>) -> tensor<f16>
    moe.yield %0 : tensor<f16>
  }
  return
}

// -----

func.func @f(%x: tensor<4x64xf32>, %ids: tensor<4x2xi32>, %w: tensor<4x2xf32>) {
  // expected-error @below {{has first = 2147483647 for 1 kinds; ids are i32: at most 2147483646 is accepted}}
  %y = moe.trivial_experts %x route(%ids, %w : tensor<4x2xi32>, tensor<4x2xf32>)
      {first = 2147483647, kinds = [#moe.kind<copy>]} : tensor<4x64xf32>
  return
}

// -----

func.func @f(%x: tensor<4x64xf32>, %ids: tensor<4x2xi32>, %w: tensor<4x2xf32>, %gate: tensor<8x128x64xf32>, %down: tensor<8x64x128xf32>) {
  // expected-error @below {{has logical = 2147483648; ids are i32: at most 2147483647 are accepted}}
  %y = moe.experts %x route(%ids, %w : tensor<4x2xi32>, tensor<4x2xf32>)
      gate(%gate : tensor<8x128x64xf32>) down(%down : tensor<8x64x128xf32>)
      {logical = 2147483648 : i64} : tensor<4x64xf32> -> tensor<4x64xf32> {
  ^bb0(%h: tensor<f32>):
    moe.yield %h : tensor<f32>
  }
  return
}

// -----

func.func @f(%x: tensor<4x64xf32>, %gate: tensor<1x?x64xf32>, %down: tensor<1x64x4611686018427387904xf32>) {
  // expected-error @below {{'down' of type 'tensor<1x64x4611686018427387904xf32>' has inner width 4611686018427387904, which no gates and ups can have}}
  %y = moe.experts %x gate(%gate : tensor<1x?x64xf32>) down(%down : tensor<1x64x4611686018427387904xf32>)
      {gate_up = #moe.gate_up<concat>} : tensor<4x64xf32> -> tensor<4x64xf32> {
  ^bb0(%g: tensor<f32>, %u: tensor<f32>):
    moe.yield %g : tensor<f32>
  }
  return
}

// -----

//===----------------------------------------------------------------------===//
// moe.dequantize
//===----------------------------------------------------------------------===//

func.func @f(%q: tensor<4x32x32xui8>, %s: tensor<4x32x2xf32>) {
  // expected-error @below {{has bits = 3; 2, 4 and 8 are accepted}}
  %0 = moe.dequantize %q, %s {bits = 3, block = 32}
      : tensor<4x32x32xui8>, tensor<4x32x2xf32> -> tensor<4x32x64xf32>
  return
}

// -----

func.func @f(%q: tensor<4x32x32xui8>, %s: tensor<4x32x2xf32>) {
  // expected-error @below {{gives rows of 63 codes of 4 bits; rows of whole bytes, a multiple of 2 codes, are accepted}}
  %0 = moe.dequantize %q, %s {bits = 4, block = 32}
      : tensor<4x32x32xui8>, tensor<4x32x2xf32> -> tensor<4x32x63xf32>
  return
}

// -----

func.func @f(%q: tensor<5x32x32xui8>, %s: tensor<4x32x2xf32>) {
  // expected-error @below {{'packed' of type 'tensor<5x32x32xui8>' has extent 5 in dimension 0; 4 is accepted (experts of the result)}}
  %0 = moe.dequantize %q, %s {bits = 4, block = 32}
      : tensor<5x32x32xui8>, tensor<4x32x2xf32> -> tensor<4x32x64xf32>
  return
}

// -----

func.func @f(%q: tensor<4x31x32xui8>, %s: tensor<4x32x2xf32>) {
  // expected-error @below {{'packed' of type 'tensor<4x31x32xui8>' has extent 31 in dimension 1; 32 is accepted (rows of the result)}}
  %0 = moe.dequantize %q, %s {bits = 4, block = 32}
      : tensor<4x31x32xui8>, tensor<4x32x2xf32> -> tensor<4x32x64xf32>
  return
}

// -----

func.func @f(%q: tensor<4x32x64xui8>, %s: tensor<4x32x2xf32>) {
  // expected-error @below {{'packed' of type 'tensor<4x32x64xui8>' has extent 64 in dimension 2; 32 is accepted (codes of 4 bits for the columns of the result)}}
  %0 = moe.dequantize %q, %s {bits = 4, block = 32}
      : tensor<4x32x64xui8>, tensor<4x32x2xf32> -> tensor<4x32x64xf32>
  return
}

// -----

func.func @f(%q: tensor<4x32x32xui8>, %s: tensor<4x32xf32>) {
  // expected-error @below {{'scales' has rank 2; 3 is accepted with 'block'}}
  %0 = moe.dequantize %q, %s {bits = 4, block = 32}
      : tensor<4x32x32xui8>, tensor<4x32xf32> -> tensor<4x32x64xf32>
  return
}

// -----

func.func @f(%q: tensor<4x32x32xui8>, %s: tensor<4x32x2xf32>) {
  // expected-error @below {{'scales' has rank 3; 2 is accepted without 'block'}}
  %0 = moe.dequantize %q, %s {bits = 4}
      : tensor<4x32x32xui8>, tensor<4x32x2xf32> -> tensor<4x32x64xf32>
  return
}

// -----

func.func @f(%q: tensor<4x32x32xui8>, %s: tensor<5x32x2xf32>) {
  // expected-error @below {{'scales' of type 'tensor<5x32x2xf32>' has extent 5 in dimension 0; 4 is accepted}}
  %0 = moe.dequantize %q, %s {bits = 4, block = 32}
      : tensor<4x32x32xui8>, tensor<5x32x2xf32> -> tensor<4x32x64xf32>
  return
}

// -----

func.func @f(%q: tensor<4x32x32xui8>, %s: tensor<4x31x2xf32>) {
  // expected-error @below {{'scales' of type 'tensor<4x31x2xf32>' has extent 31 in dimension 1; 32 is accepted}}
  %0 = moe.dequantize %q, %s {bits = 4, block = 32}
      : tensor<4x32x32xui8>, tensor<4x31x2xf32> -> tensor<4x32x64xf32>
  return
}

// -----

func.func @f(%q: tensor<4x32x32xui8>, %s: tensor<4x32x3xf32>) {
  // expected-error @below {{'scales' of type 'tensor<4x32x3xf32>' has extent 3 in dimension 2; 2 is accepted (blocks of a row)}}
  %0 = moe.dequantize %q, %s {bits = 4, block = 32}
      : tensor<4x32x32xui8>, tensor<4x32x3xf32> -> tensor<4x32x64xf32>
  return
}

// -----

func.func @f(%q: tensor<4x32x32xui8>, %s: tensor<4x32x2xf32>, %z: tensor<4x32xui8>) {
  // expected-error @below {{'zero_points' has rank 2; 3 is accepted with 'block'}}
  %0 = moe.dequantize %q, %s zero_points(%z : tensor<4x32xui8>) {bits = 4, block = 32}
      : tensor<4x32x32xui8>, tensor<4x32x2xf32> -> tensor<4x32x64xf32>
  return
}

// -----

func.func @f(%q: tensor<4x32x32xui8>, %s: tensor<4x32x2xf32>, %z: tensor<5x32x1xui8>) {
  // expected-error @below {{'zero_points' of type 'tensor<5x32x1xui8>' has extent 5 in dimension 0; 4 is accepted}}
  %0 = moe.dequantize %q, %s zero_points(%z : tensor<5x32x1xui8>) {bits = 4, block = 32}
      : tensor<4x32x32xui8>, tensor<4x32x2xf32> -> tensor<4x32x64xf32>
  return
}

// -----

func.func @f(%q: tensor<4x32x32xui8>, %s: tensor<4x32x2xf32>, %z: tensor<4x31x1xui8>) {
  // expected-error @below {{'zero_points' of type 'tensor<4x31x1xui8>' has extent 31 in dimension 1; 32 is accepted}}
  %0 = moe.dequantize %q, %s zero_points(%z : tensor<4x31x1xui8>) {bits = 4, block = 32}
      : tensor<4x32x32xui8>, tensor<4x32x2xf32> -> tensor<4x32x64xf32>
  return
}

// -----

func.func @f(%q: tensor<4x32x32xui8>, %s: tensor<4x32x2xf32>, %z: tensor<4x32x2xui8>) {
  // expected-error @below {{'zero_points' of type 'tensor<4x32x2xui8>' has extent 2 in dimension 2; 1 is accepted (codes of 4 bits for the blocks of a row)}}
  %0 = moe.dequantize %q, %s zero_points(%z : tensor<4x32x2xui8>) {bits = 4, block = 32}
      : tensor<4x32x32xui8>, tensor<4x32x2xf32> -> tensor<4x32x64xf32>
  return
}

// -----

func.func @f(%q: tensor<4x32x32xui8>, %s: tensor<4x32xf32>, %z: tensor<4x32xui8>) {
  // expected-error @below {{'zero_points' of type 'tensor<4x32xui8>' has extent 32 in dimension 1; 16 is accepted (codes of 4 bits for the rows of the result)}}
  %0 = moe.dequantize %q, %s zero_points(%z : tensor<4x32xui8>) {bits = 4}
      : tensor<4x32x32xui8>, tensor<4x32xf32> -> tensor<4x32x64xf32>
  return
}

// -----

//===----------------------------------------------------------------------===//
// moe.trivial_experts
//===----------------------------------------------------------------------===//

func.func @f(%x: tensor<4x64xf32>, %ids: tensor<4x2xi32>, %w: tensor<4x2xf32>) {
  // expected-error @below {{names no kinds; at least one is accepted}}
  %y = moe.trivial_experts %x route(%ids, %w : tensor<4x2xi32>, tensor<4x2xf32>)
      {first = 8, kinds = []} : tensor<4x64xf32>
  return
}

// -----

func.func @f(%x: tensor<4x64xf32>, %ids: tensor<4x2xi32>, %w: tensor<4x2xf32>) {
  // expected-error @below {{has 1 experts of kind 'constant' and no 'constants'; a row of it for each of them is accepted}}
  %y = moe.trivial_experts %x route(%ids, %w : tensor<4x2xi32>, tensor<4x2xf32>)
      {first = 8, kinds = [#moe.kind<constant>, #moe.kind<zero>]} : tensor<4x64xf32>
  return
}

// -----

func.func @f(%x: tensor<4x64xf32>, %ids: tensor<4x2xi32>, %w: tensor<4x2xf32>, %c: tensor<1x64xf32>) {
  // expected-error @below {{has 1 experts of kind 'constant' and no 'mixers'; a row of it for each of them is accepted}}
  %y = moe.trivial_experts %x route(%ids, %w : tensor<4x2xi32>, tensor<4x2xf32>) constants(%c : tensor<1x64xf32>)
      {first = 8, kinds = [#moe.kind<constant>, #moe.kind<zero>]} : tensor<4x64xf32>
  return
}

// -----

func.func @f(%x: tensor<4x64xf32>, %ids: tensor<4x2xi32>, %w: tensor<4x2xf32>, %c: tensor<1x64xf32>, %m: tensor<1x2x64xf32>) {
  // expected-error @below {{has 0 experts of kind 'constant' and 'constants'}}
  %y = moe.trivial_experts %x route(%ids, %w : tensor<4x2xi32>, tensor<4x2xf32>) constants(%c : tensor<1x64xf32>) mixers(%m : tensor<1x2x64xf32>)
      {first = 8, kinds = [#moe.kind<copy>]} : tensor<4x64xf32>
  return
}

// -----

func.func @f(%x: tensor<4x64xf32>, %ids: tensor<4x2xi32>, %w: tensor<4x2xf32>, %c: tensor<2x64xf32>, %m: tensor<1x2x64xf32>) {
  // expected-error @below {{'constants' of type 'tensor<2x64xf32>' has extent 2 in dimension 0; 1 is accepted (experts of kind 'constant')}}
  %y = moe.trivial_experts %x route(%ids, %w : tensor<4x2xi32>, tensor<4x2xf32>) constants(%c : tensor<2x64xf32>) mixers(%m : tensor<1x2x64xf32>)
      {first = 8, kinds = [#moe.kind<constant>, #moe.kind<zero>]} : tensor<4x64xf32>
  return
}

// -----

func.func @f(%x: tensor<4x64xf32>, %ids: tensor<4x2xi32>, %w: tensor<4x2xf32>, %c: tensor<1x32xf32>, %m: tensor<1x2x64xf32>) {
  // expected-error @below {{'constants' of type 'tensor<1x32xf32>' has extent 32 in dimension 1; 64 is accepted (width of 'x')}}
  %y = moe.trivial_experts %x route(%ids, %w : tensor<4x2xi32>, tensor<4x2xf32>) constants(%c : tensor<1x32xf32>) mixers(%m : tensor<1x2x64xf32>)
      {first = 8, kinds = [#moe.kind<constant>, #moe.kind<zero>]} : tensor<4x64xf32>
  return
}

// -----

func.func @f(%x: tensor<4x64xf32>, %ids: tensor<4x2xi32>, %w: tensor<4x2xf32>, %c: tensor<1x64xf32>, %m: tensor<2x2x64xf32>) {
  // expected-error @below {{'mixers' of type 'tensor<2x2x64xf32>' has extent 2 in dimension 0; 1 is accepted}}
  %y = moe.trivial_experts %x route(%ids, %w : tensor<4x2xi32>, tensor<4x2xf32>) constants(%c : tensor<1x64xf32>) mixers(%m : tensor<2x2x64xf32>)
      {first = 8, kinds = [#moe.kind<constant>, #moe.kind<zero>]} : tensor<4x64xf32>
  return
}

// -----

func.func @f(%x: tensor<4x64xf32>, %ids: tensor<4x2xi32>, %w: tensor<4x2xf32>, %c: tensor<1x64xf32>, %m: tensor<1x3x64xf32>) {
  // expected-error @below {{'mixers' of type 'tensor<1x3x64xf32>' has extent 3 in dimension 1; 2 is accepted (one row for each share)}}
  %y = moe.trivial_experts %x route(%ids, %w : tensor<4x2xi32>, tensor<4x2xf32>) constants(%c : tensor<1x64xf32>) mixers(%m : tensor<1x3x64xf32>)
      {first = 8, kinds = [#moe.kind<constant>, #moe.kind<zero>]} : tensor<4x64xf32>
  return
}

// -----

func.func @f(%x: tensor<4x64xf32>, %ids: tensor<4x2xi32>, %w: tensor<4x2xf32>, %c: tensor<1x64xf32>, %m: tensor<1x2x32xf32>) {
  // expected-error @below {{'mixers' of type 'tensor<1x2x32xf32>' has extent 32 in dimension 2; 64 is accepted}}
  %y = moe.trivial_experts %x route(%ids, %w : tensor<4x2xi32>, tensor<4x2xf32>) constants(%c : tensor<1x64xf32>) mixers(%m : tensor<1x2x32xf32>)
      {first = 8, kinds = [#moe.kind<constant>, #moe.kind<zero>]} : tensor<4x64xf32>
  return
}

// -----

func.func @f(%x: tensor<4x64xf32>, %ids: tensor<4x2xi32>, %w: tensor<4x2xf32>) {
  // expected-error @below {{in_scale is 0x7FF0000000000000 : f64; finite numbers are accepted}}
  %y = moe.trivial_experts %x route(%ids, %w : tensor<4x2xi32>, tensor<4x2xf32>)
      {first = 8, kinds = [#moe.kind<copy>], in_scale = 0x7FF0000000000000 : f64} : tensor<4x64xf32>
  return
}

// -----

func.func @f(%x: tensor<4x64xf32>, %ids: tensor<5x2xi32>, %w: tensor<4x2xf32>) {
  // expected-error @below {{'ids' of type 'tensor<5x2xi32>' has extent 5 in dimension 0; 4 is accepted}}
  %y = moe.trivial_experts %x route(%ids, %w : tensor<5x2xi32>, tensor<4x2xf32>)
      {first = 8, kinds = [#moe.kind<copy>]} : tensor<4x64xf32>
  return
}

// -----

func.func @f(%x: tensor<4x64xf32>, %ids: tensor<4x2xi32>, %w: tensor<5x2xf32>) {
  // expected-error @below {{'weights' of type 'tensor<5x2xf32>' has extent 5 in dimension 0; 4 is accepted}}
  %y = moe.trivial_experts %x route(%ids, %w : tensor<4x2xi32>, tensor<5x2xf32>)
      {first = 8, kinds = [#moe.kind<copy>]} : tensor<4x64xf32>
  return
}

// -----

func.func @f(%x: tensor<4x64xf32>, %ids: tensor<4x2xi32>, %w: tensor<4x3xf32>) {
  // expected-error @below {{'weights' of type 'tensor<4x3xf32>' has extent 3 in dimension 1; 2 is accepted}}
  %y = moe.trivial_experts %x route(%ids, %w : tensor<4x2xi32>, tensor<4x3xf32>)
      {first = 8, kinds = [#moe.kind<copy>]} : tensor<4x64xf32>
  return
}

// -----

//===----------------------------------------------------------------------===//
// moe.mix
//===----------------------------------------------------------------------===//

func.func @f(%c: tensor<f32>, %b: tensor<4x16x8xf32>) {
  // expected-error @below {{has coefficients of rank 0; rank 1 or more is accepted}}
  %0 = moe.mix %c, %b : tensor<f32>, tensor<4x16x8xf32> -> tensor<?x16x8xf32>
  return
}

// -----

func.func @f(%c: tensor<?x4xf32>, %b: tensor<f32>) {
  // expected-error @below {{has a bank of rank 0; rank 1 or more is accepted}}
  %0 = moe.mix %c, %b : tensor<?x4xf32>, tensor<f32> -> tensor<?x16x8xf32>
  return
}

// -----

func.func @f(%c: tensor<?x4xf32>, %b: tensor<4x16x8xf32>) {
  // expected-error @below {{gives elements of type 'f16' of a bank of 'f32'; the type of the bank is accepted}}
  %0 = moe.mix %c, %b : tensor<?x4xf32>, tensor<4x16x8xf32> -> tensor<?x16x8xf16>
  return
}

// -----

func.func @f(%c: tensor<?x5xf32>, %b: tensor<4x16x8xf32>) {
  // expected-error @below {{'coefficients' of type 'tensor<?x5xf32>' has extent 5 in dimension 1; 4 is accepted (entries of the bank)}}
  %0 = moe.mix %c, %b : tensor<?x5xf32>, tensor<4x16x8xf32> -> tensor<?x16x8xf32>
  return
}

// -----

func.func @f(%c: tensor<?x4xf32>, %b: tensor<4x16x8xf32>) {
  // expected-error @below {{gives rank 2; coefficients of rank 2 and a bank of rank 3 give rank 3}}
  %0 = moe.mix %c, %b : tensor<?x4xf32>, tensor<4x16x8xf32> -> tensor<?x16xf32>
  return
}

// -----

func.func @f(%c: tensor<2x4xf32>, %b: tensor<4x16x8xf32>) {
  // expected-error @below {{'result' of type 'tensor<3x16x8xf32>' has extent 3 in dimension 0; 2 is accepted (coefficients)}}
  %0 = moe.mix %c, %b : tensor<2x4xf32>, tensor<4x16x8xf32> -> tensor<3x16x8xf32>
  return
}

// -----

func.func @f(%c: tensor<?x4xf32>, %b: tensor<4x16x8xf32>) {
  // expected-error @below {{'result' of type 'tensor<?x16x9xf32>' has extent 9 in dimension 2; 8 is accepted (bank)}}
  %0 = moe.mix %c, %b : tensor<?x4xf32>, tensor<4x16x8xf32> -> tensor<?x16x9xf32>
  return
}

// -----

func.func @f(%c: tensor<?x2xi64>, %b: tensor<4x16x8xf32>) {
  // expected-error @below {{gives rank 3; coefficients of rank 2 and a bank of rank 3 give rank 4}}
  %0 = moe.mix %c, %b : tensor<?x2xi64>, tensor<4x16x8xf32> -> tensor<?x16x8xf32>
  return
}

// -----

func.func @f(%b: tensor<4x16x8xf32>) {
  %c = onnx.Initializer "rows" = dense<[0, 4]> : tensor<2xi64>
  // expected-error @below {{'coefficients' holds 4; 0 to 3 are accepted}}
  %0 = moe.mix %c, %b : tensor<2xi64>, tensor<4x16x8xf32> -> tensor<2x16x8xf32>
  return
}

// -----

//===----------------------------------------------------------------------===//
// moe.switch
//===----------------------------------------------------------------------===//

func.func @f(%i: tensor<i64>) {
  // expected-error @below {{has no region; at least one is accepted}}
  %y = "moe.switch"(%i) : (tensor<i64>) -> tensor<4xf32>
  return
}

// -----

func.func @f(%x: tensor<4xf32>, %h: tensor<4xf16>, %i: tensor<i64>) {
  // expected-error @below {{region 1 has 1 arguments; none is accepted, regions use values from outside}}
  %y = moe.switch %i : tensor<i64> -> tensor<4xf32> {
    moe.yield %x : tensor<4xf32>
  }, {
  ^bb0(%z: tensor<4xf32>):
    moe.yield %z : tensor<4xf32>
  }
  return
}

// -----

func.func @f(%x: tensor<4xf32>, %h: tensor<4xf16>, %i: tensor<i64>) {
  // expected-error @below {{region 1 does not end in 'moe.yield'}}
  %y = moe.switch %i : tensor<i64> -> tensor<4xf32> {
    moe.yield %x : tensor<4xf32>
  }, {
    onnx.Yield %x : tensor<4xf32>
  }
  return
}

// -----

func.func @f(%x: tensor<4xf32>, %h: tensor<4xf16>, %i: tensor<i64>) {
  // expected-error @below {{region 1 yields 0 values; 1 are accepted, one for each result}}
  %y = moe.switch %i : tensor<i64> -> tensor<4xf32> {
    moe.yield %x : tensor<4xf32>
  }, {
    moe.yield
  }
  return
}

// -----

func.func @f(%x: tensor<4xf32>, %h: tensor<4xf16>, %i: tensor<i64>) {
  // expected-error @below {{region 1 yields a value of type 'tensor<4xf16>' for result 0 of type 'tensor<4xf32>'}}
  %y = moe.switch %i : tensor<i64> -> tensor<4xf32> {
    moe.yield %x : tensor<4xf32>
  }, {
    moe.yield %h : tensor<4xf16>
  }
  return
}

// -----

func.func @f(%x: tensor<4xf32>, %h: tensor<4xf16>, %i: tensor<i64>) {
  // expected-error @below {{region 0 yields a value of type 'tensor<4xf32>' for result 0 of type 'tensor<5xf32>'}}
  %y = moe.switch %i : tensor<i64> -> tensor<5xf32> {
    moe.yield %x : tensor<4xf32>
  }
  return
}

// -----

func.func @f(%x: tensor<4xf32>, %h: tensor<4xf16>) {
  %i = onnx.Constant() {value = dense<2> : tensor<i64>} : () -> tensor<i64>
  // expected-error @below {{'index' holds 2; 0 to 1 are accepted}}
  %y = moe.switch %i : tensor<i64> -> tensor<4xf32> {
    moe.yield %x : tensor<4xf32>
  }, {
    moe.yield %x : tensor<4xf32>
  }
  return
}
