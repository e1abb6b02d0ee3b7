// Each rule of selections of tokens with what it says.
// RUN: moe-opt %s --split-input-file --verify-diagnostics

func.func @f(%a: tensor<2x3x4x5xf32>) {
  // expected-error @below {{gives scores of type 'f64' of attention of type 'tensor<2x3x4x5xf32>'; 'f32' is accepted}}
  %s = moe.token_score %a {query = 0} : tensor<2x3x4x5xf32> -> tensor<2x5xf64>
  return
}

// -----

func.func @f(%a: tensor<2x3x4x5xf32>) {
  // expected-error @below {{'scores' of type 'tensor<2x4xf32>' has extent 4 in dimension 1; 5 is accepted (keys)}}
  %s = moe.token_score %a {query = 0} : tensor<2x3x4x5xf32> -> tensor<2x4xf32>
  return
}

// -----

func.func @f(%a: tensor<2x3x4x5xf32>) {
  // expected-error @below {{query is 4 of 4; -4 to 3 are accepted}}
  %s = moe.token_score %a {query = 4} : tensor<2x3x4x5xf32> -> tensor<2x5xf32>
  return
}

// -----

func.func @f(%a: tensor<2x0x4x5xf32>) {
  // expected-error @below {{has no heads; 1 or more are accepted}}
  %s = moe.token_score %a {query = 0} : tensor<2x0x4x5xf32> -> tensor<2x5xf32>
  return
}

// -----

func.func @f(%s: tensor<2x8xi1>) {
  // expected-error @below {{has scores of type 'i1' with policy = topk; a float type is accepted}}
  %i = moe.token_keep %s {k = 3} : tensor<2x8xi1> -> tensor<2x3xi32>
  return
}

// -----

func.func @f(%s: tensor<1x8xf32>) {
  // expected-error @below {{has scores of type 'f32' with policy = mask; bool is accepted}}
  %i = moe.token_keep %s {policy = #moe.keep_policy<mask>} : tensor<1x8xf32> -> tensor<1x?xi32>
  return
}

// -----

func.func @f(%s: tensor<2x8xf32>) {
  // expected-error @below {{first is 9; 0 to 8 are accepted}}
  %i = moe.token_keep %s {k = 3, first = 9} : tensor<2x8xf32> -> tensor<2x3xi32>
  return
}

// -----

func.func @f(%s: tensor<2x8xf32>) {
  // expected-error @below {{count is 7; 0 to 6 are accepted}}
  %i = moe.token_keep %s {k = 3, first = 2, count = 7} : tensor<2x8xf32> -> tensor<2x3xi32>
  return
}

// -----

func.func @f(%s: tensor<2x8xf32>) {
  // expected-error @below {{k is 5; 0 to 4 are accepted}}
  %i = moe.token_keep %s {k = 5, first = 2, count = 4} : tensor<2x8xf32> -> tensor<2x9xi32>
  return
}

// -----

func.func @f(%s: tensor<2x8xf32>) {
  // expected-error @below {{'idx' of type 'tensor<3x3xi32>' has extent 3 in dimension 0; 2 is accepted (batch)}}
  %i = moe.token_keep %s {k = 3} : tensor<2x8xf32> -> tensor<3x3xi32>
  return
}

// -----

func.func @f(%s: tensor<2x8xf32>) {
  // expected-error @below {{'idx' of type 'tensor<2x3xi32>' has extent 3 in dimension 1; 7 is accepted (kept tokens)}}
  %i = moe.token_keep %s {k = 3, first = 2, count = 4} : tensor<2x8xf32> -> tensor<2x3xi32>
  return
}

// -----

func.func @f(%s: tensor<1x8xi1>) {
  // expected-error @below {{k is 3 with policy = mask, which finds the number}}
  %i = moe.token_keep %s {policy = #moe.keep_policy<mask>, k = 3} : tensor<1x8xi1> -> tensor<1x?xi32>
  return
}

// -----

func.func @f(%s: tensor<1x8xi1>) {
  // expected-error @below {{order = score with policy = mask; order = index is accepted}}
  %i = moe.token_keep %s {policy = #moe.keep_policy<mask>, order = #moe.keep_order<score>} : tensor<1x8xi1> -> tensor<1x?xi32>
  return
}

// -----

func.func @f(%s: tensor<2x8xi1>) {
  // expected-error @below {{has scores of type 'tensor<2x8xi1>' with policy = mask; a batch of 1 is accepted: others would keep different numbers}}
  %i = moe.token_keep %s {policy = #moe.keep_policy<mask>} : tensor<2x8xi1> -> tensor<2x?xi32>
  return
}

// -----

func.func @f(%s: tensor<1x8xi1>) {
  // expected-error @below {{keeps 1 of 8 tokens, of which it chooses from 6}}
  %i = moe.token_keep %s {policy = #moe.keep_policy<mask>, first = 2} : tensor<1x8xi1> -> tensor<1x1xi32>
  return
}

// -----

func.func @f(%x: tensor<2x8x4xf32>, %i: tensor<2x3xi32>) {
  // expected-error @below {{'y' has type 'tensor<2x3xf32>' and 'x' type 'tensor<2x8x4xf32>'; the same rank and elements are accepted}}
  %y = moe.token_drop %x, %i : tensor<2x8x4xf32>, tensor<2x3xi32> -> tensor<2x3xf32>
  return
}

// -----

func.func @f(%x: tensor<2x8x4xf32>, %i: tensor<2x3xi32>) {
  // expected-error @below {{'y' of type 'tensor<2x3x5xf32>' has extent 5 in dimension 2; 4 is accepted (as of 'x')}}
  %y = moe.token_drop %x, %i : tensor<2x8x4xf32>, tensor<2x3xi32> -> tensor<2x3x5xf32>
  return
}

// -----

func.func @f(%x: tensor<4x8x4xf32>, %i: tensor<2x3xi32>) {
  // expected-error @below {{'idx' of type 'tensor<2x3xi32>' has 2 rows; 1 or 4 are accepted (batch)}}
  %y = moe.token_drop %x, %i : tensor<4x8x4xf32>, tensor<2x3xi32> -> tensor<4x3x4xf32>
  return
}

// -----

func.func @f(%x: tensor<2x8x4xf32>) {
  %i = onnx.Constant() {value = dense<[[0, 8]]> : tensor<1x2xi32>} : () -> tensor<1x2xi32>
  // expected-error @below {{'idx' holds 8; -8 to 7 are accepted}}
  %y = moe.token_drop %x, %i : tensor<2x8x4xf32>, tensor<1x2xi32> -> tensor<2x2x4xf32>
  return
}

// -----

func.func @f(%x: tensor<2x8x4xf32>, %i: tensor<2x3xi32>) {
  // expected-error @below {{'y' of type 'tensor<2x4x4xf32>' has extent 4 in dimension 1; 3 is accepted (tokens of 'idx')}}
  %y = moe.token_drop %x, %i : tensor<2x8x4xf32>, tensor<2x3xi32> -> tensor<2x4x4xf32>
  return
}

// -----

func.func @f(%x: tensor<2x8x4xf32>, %i: tensor<2x3xi32>) {
  // expected-error @below {{has normalize = false without weights to fuse by}}
  %y = moe.token_drop %x, %i {normalize = false} : tensor<2x8x4xf32>, tensor<2x3xi32> -> tensor<2x3x4xf32>
  return
}

// -----

func.func @f(%x: tensor<2x8x4xi64>, %i: tensor<2x3xi32>, %w: tensor<2x8xf32>) {
  // expected-error @below {{fuses tokens of type 'tensor<2x8x4xi64>'; floats are accepted}}
  %y = moe.token_drop %x, %i fuse(%w : tensor<2x8xf32>) : tensor<2x8x4xi64>, tensor<2x3xi32> -> tensor<2x4x4xi64>
  return
}

// -----

func.func @f(%x: tensor<2x8x4xf32>, %i: tensor<2x3xi32>, %w: tensor<2x8xf64>) {
  // expected-error @below {{has weights of type 'f64' for 'x' of type 'tensor<2x8x4xf32>'; 'f32' is accepted}}
  %y = moe.token_drop %x, %i fuse(%w : tensor<2x8xf64>) : tensor<2x8x4xf32>, tensor<2x3xi32> -> tensor<2x4x4xf32>
  return
}

// -----

func.func @f(%x: tensor<2x8x4xf32>, %i: tensor<2x3xi32>, %w: tensor<2x7xf32>) {
  // expected-error @below {{'weights' of type 'tensor<2x7xf32>' has extent 7 in dimension 1; 8 is accepted (tokens of 'x')}}
  %y = moe.token_drop %x, %i fuse(%w : tensor<2x7xf32>) : tensor<2x8x4xf32>, tensor<2x3xi32> -> tensor<2x4x4xf32>
  return
}

// -----

func.func @f(%x: tensor<2x8x4xf32>, %i: tensor<2x3xi32>, %w: tensor<2x8xf32>) {
  // expected-error @below {{'y' of type 'tensor<2x3x4xf32>' has extent 3 in dimension 1; 4 is accepted (tokens of 'idx' and the fused one)}}
  %y = moe.token_drop %x, %i fuse(%w : tensor<2x8xf32>) : tensor<2x8x4xf32>, tensor<2x3xi32> -> tensor<2x3x4xf32>
  return
}

// -----

func.func @f(%x: tensor<2x3x4xf32>, %i: tensor<2x3xi32>) {
  // expected-error @below {{needs a base with fill = base}}
  %y = moe.token_restore %x, %i {fill = #moe.fill<base>} : tensor<2x3x4xf32>, tensor<2x3xi32> -> tensor<2x8x4xf32>
  return
}

// -----

func.func @f(%x: tensor<2x3x4xf32>, %i: tensor<2x8xi32>, %b: tensor<2x8x4xf32>) {
  // expected-error @below {{has a base with fill = unmerge}}
  %y = moe.token_restore %x, %i base(%b : tensor<2x8x4xf32>) {fill = #moe.fill<unmerge>} : tensor<2x3x4xf32>, tensor<2x8xi32> -> tensor<2x8x4xf32>
  return
}

// -----

func.func @f(%x: tensor<2x3x4xf32>, %i: tensor<2x8xi32>) {
  // expected-error @below {{'y' of type 'tensor<2x7x4xf32>' has extent 7 in dimension 1; 8 is accepted (tokens of 'idx')}}
  %y = moe.token_restore %x, %i {fill = #moe.fill<unmerge>} : tensor<2x3x4xf32>, tensor<2x8xi32> -> tensor<2x7x4xf32>
  return
}

// -----

func.func @f(%x: tensor<2x4x4xf32>, %i: tensor<2x3xi32>, %b: tensor<2x8x4xf32>) {
  // expected-error @below {{'x' of type 'tensor<2x4x4xf32>' has extent 4 in dimension 1; 3 is accepted (tokens of 'idx')}}
  %y = moe.token_restore %x, %i base(%b : tensor<2x8x4xf32>) {fill = #moe.fill<add>} : tensor<2x4x4xf32>, tensor<2x3xi32> -> tensor<2x8x4xf32>
  return
}

// -----

func.func @f(%x: tensor<2x3x4xf32>, %i: tensor<2x3xi32>, %b: tensor<2x8x4xf64>) {
  // expected-error @below {{'base' has type 'tensor<2x8x4xf64>' and 'x' type 'tensor<2x3x4xf32>'; the same rank and elements are accepted}}
  %y = moe.token_restore %x, %i base(%b : tensor<2x8x4xf64>) {fill = #moe.fill<add>} : tensor<2x3x4xf32>, tensor<2x3xi32> -> tensor<2x8x4xf32>
  return
}

// -----

func.func @f(%x: tensor<2x3x4xf32>, %i: tensor<2x3xi32>, %b: tensor<2x8x4xf32>) {
  // expected-error @below {{'y' of type 'tensor<2x9x4xf32>' has extent 9 in dimension 1; 8 is accepted (tokens of 'base')}}
  %y = moe.token_restore %x, %i base(%b : tensor<2x8x4xf32>) {fill = #moe.fill<add>} : tensor<2x3x4xf32>, tensor<2x3xi32> -> tensor<2x9x4xf32>
  return
}

// -----

func.func @f(%x: tensor<2x3xi1>, %i: tensor<2x3xi32>, %b: tensor<2x8xi1>) {
  // expected-error @below {{adds tokens of bool; numbers are accepted}}
  %y = moe.token_restore %x, %i base(%b : tensor<2x8xi1>) {fill = #moe.fill<add>} : tensor<2x3xi1>, tensor<2x3xi32> -> tensor<2x8xi1>
  return
}

// -----

func.func @f(%a: tensor<2x5xi32>, %b: tensor<3x4xi32>) {
  // expected-error @below {{composes selections of 2 and 3 rows; the same number or 1 is accepted}}
  %i = moe.keep_compose %a, %b : tensor<2x5xi32>, tensor<3x4xi32> -> tensor<2x4xi32>
  return
}

// -----

func.func @f(%a: tensor<2x5xi32>, %b: tensor<2x4xi32>) {
  // expected-error @below {{'idx' of type 'tensor<2x5xi32>' has extent 5 in dimension 1; 4 is accepted (tokens of 'inner')}}
  %i = moe.keep_compose %a, %b : tensor<2x5xi32>, tensor<2x4xi32> -> tensor<2x5xi32>
  return
}

// -----

func.func @f(%a: tensor<1x5xi32>, %b: tensor<2x4xi32>) {
  // expected-error @below {{'idx' of type 'tensor<1x4xi32>' has extent 1 in dimension 0; 2 is accepted (rows of the selections)}}
  %i = moe.keep_compose %a, %b : tensor<1x5xi32>, tensor<2x4xi32> -> tensor<1x4xi32>
  return
}

// -----

func.func @f(%x: tensor<2x9x4xf32>, %s: tensor<2x9x1xf64>, %m: tensor<2x9x3xf32>) {
  // expected-error @below {{'size' has type 'tensor<2x9x1xf64>' for 'x' of type 'tensor<2x9x4xf32>'; 'f32' is accepted}}
  %y, %z, %a = moe.token_merge %x, %s, %m {r = 2} : tensor<2x9x4xf32>, tensor<2x9x1xf64>, tensor<2x9x3xf32> -> tensor<2x7x4xf32>, tensor<2x7x1xf32>, tensor<2x9xi32>
  return
}

// -----

func.func @f(%x: tensor<2x9x4xf32>, %s: tensor<2x9x1xf32>, %m: tensor<2x8x3xf32>) {
  // expected-error @below {{'metric' of type 'tensor<2x8x3xf32>' has extent 8 in dimension 1; 9 is accepted (tokens of 'x')}}
  %y, %z, %a = moe.token_merge %x, %s, %m {r = 2} : tensor<2x9x4xf32>, tensor<2x9x1xf32>, tensor<2x8x3xf32> -> tensor<2x7x4xf32>, tensor<2x7x1xf32>, tensor<2x9xi32>
  return
}

// -----

func.func @f(%x: tensor<2x9x4xf32>, %s: tensor<2x9x2xf32>, %m: tensor<2x9x3xf32>) {
  // expected-error @below {{'size' of type 'tensor<2x9x2xf32>' has extent 2 in dimension 2; 1 is accepted (one size for each token)}}
  %y, %z, %a = moe.token_merge %x, %s, %m {r = 2} : tensor<2x9x4xf32>, tensor<2x9x2xf32>, tensor<2x9x3xf32> -> tensor<2x7x4xf32>, tensor<2x7x1xf32>, tensor<2x9xi32>
  return
}

// -----

func.func @f(%x: tensor<2x9x4xf32>, %s: tensor<2x9x1xf32>, %m: tensor<2x9x3xf32>) {
  // expected-error @below {{r is -1; numbers from 0 are accepted}}
  %y, %z, %a = moe.token_merge %x, %s, %m {r = -1} : tensor<2x9x4xf32>, tensor<2x9x1xf32>, tensor<2x9x3xf32> -> tensor<2x10x4xf32>, tensor<2x10x1xf32>, tensor<2x9xi32>
  return
}

// -----

func.func @f(%x: tensor<2x9x4xf32>, %s: tensor<2x9x1xf32>, %m: tensor<2x9x3xf32>) {
  // expected-error @below {{merges r = 5 of 9 tokens; 0 to 4 are accepted}}
  %y, %z, %a = moe.token_merge %x, %s, %m {r = 5, protect = true} : tensor<2x9x4xf32>, tensor<2x9x1xf32>, tensor<2x9x3xf32> -> tensor<2x4x4xf32>, tensor<2x4x1xf32>, tensor<2x9xi32>
  return
}

// -----

func.func @f(%x: tensor<2x1x4xf32>, %s: tensor<2x1x1xf32>, %m: tensor<2x1x3xf32>) {
  // expected-error @below {{merges tokens of 'x' of type 'tensor<2x1x4xf32>'; 2 or more tokens are accepted}}
  %y, %z, %a = moe.token_merge %x, %s, %m {r = 0} : tensor<2x1x4xf32>, tensor<2x1x1xf32>, tensor<2x1x3xf32> -> tensor<2x1x4xf32>, tensor<2x1x1xf32>, tensor<2x1xi32>
  return
}

// -----

func.func @f(%x: tensor<2x9x4xf32>, %s: tensor<2x9x1xf32>, %m: tensor<2x9x3xf32>) {
  // expected-error @below {{'y' of type 'tensor<2x8x4xf32>' has extent 8 in dimension 1; 7 is accepted (tokens that are left)}}
  %y, %z, %a = moe.token_merge %x, %s, %m {r = 2} : tensor<2x9x4xf32>, tensor<2x9x1xf32>, tensor<2x9x3xf32> -> tensor<2x8x4xf32>, tensor<2x7x1xf32>, tensor<2x9xi32>
  return
}
