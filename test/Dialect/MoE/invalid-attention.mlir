// Each rule of moe.attention, moe.attend and moe.norm with what it says.
// RUN: moe-opt %s --split-input-file --verify-diagnostics

func.func @f(%q: tensor<2x4x5x8xf32>, %k: tensor<3x2x7x8xf32>, %v: tensor<2x2x7x6xf32>) {
  // expected-error @below {{'key' of type 'tensor<3x2x7x8xf32>' has extent 3 in dimension 0; 2 is accepted (batch of 'query')}}
  %o = moe.attention %q, %k, %v {scale = 1.0} : tensor<2x4x5x8xf32>, tensor<3x2x7x8xf32>, tensor<2x2x7x6xf32> -> tensor<2x4x5x6xf32>
  return
}

// -----

func.func @f(%q: tensor<2x4x5x8xf32>, %k: tensor<2x2x7x8xf32>, %v: tensor<2x2x6x6xf32>) {
  // expected-error @below {{'value' of type 'tensor<2x2x6x6xf32>' has extent 6 in dimension 2; 7 is accepted (rows of 'key')}}
  %o = moe.attention %q, %k, %v {scale = 1.0} : tensor<2x4x5x8xf32>, tensor<2x2x7x8xf32>, tensor<2x2x6x6xf32> -> tensor<2x4x5x6xf32>
  return
}

// -----

func.func @f(%q: tensor<2x4x5x8xf32>, %k: tensor<2x2x7x9xf32>, %v: tensor<2x2x7x6xf32>) {
  // expected-error @below {{'key' of type 'tensor<2x2x7x9xf32>' has extent 9 in dimension 3; 8 is accepted (width of 'query')}}
  %o = moe.attention %q, %k, %v {scale = 1.0} : tensor<2x4x5x8xf32>, tensor<2x2x7x9xf32>, tensor<2x2x7x6xf32> -> tensor<2x4x5x6xf32>
  return
}

// -----

func.func @f(%q: tensor<2x4x5x8xf32>, %k: tensor<2x3x7x8xf32>, %v: tensor<2x3x7x6xf32>) {
  // expected-error @below {{has 4 heads of queries for 3 of keys; a multiple of those is accepted}}
  %o = moe.attention %q, %k, %v {scale = 1.0} : tensor<2x4x5x8xf32>, tensor<2x3x7x8xf32>, tensor<2x3x7x6xf32> -> tensor<2x4x5x6xf32>
  return
}

// -----

func.func @f(%q: tensor<2x4x5x8xf32>, %k: tensor<2x0x7x8xf32>, %v: tensor<2x0x7x6xf32>) {
  // expected-error @below {{has keys without heads; 1 or more are accepted}}
  %o = moe.attention %q, %k, %v {scale = 1.0} : tensor<2x4x5x8xf32>, tensor<2x0x7x8xf32>, tensor<2x0x7x6xf32> -> tensor<2x4x5x6xf32>
  return
}

// -----

func.func @f(%q: tensor<2x4x5x8xf32>, %k: tensor<2x2x7x8xf32>, %v: tensor<2x2x7x6xf32>) {
  // expected-error @below {{'out' of type 'tensor<2x4x5x8xf32>' has extent 8 in dimension 3; 6 is accepted (width of 'value')}}
  %o = moe.attention %q, %k, %v {scale = 1.0} : tensor<2x4x5x8xf32>, tensor<2x2x7x8xf32>, tensor<2x2x7x6xf32> -> tensor<2x4x5x8xf32>
  return
}

// -----

func.func @f(%q: tensor<2x4x5x8xf32>, %k: tensor<2x2x7x8xf16>, %v: tensor<2x2x7x6xf32>) {
  // expected-error @below {{has elements of type 'f16' beside queries of type 'f32'; 'f32' is accepted}}
  %o = moe.attention %q, %k, %v {scale = 1.0} : tensor<2x4x5x8xf32>, tensor<2x2x7x8xf16>, tensor<2x2x7x6xf32> -> tensor<2x4x5x6xf32>
  return
}

// -----

func.func @f(%q: tensor<2x4x5x8xf32>, %k: tensor<2x2x7x8xf32>, %v: tensor<2x2x7x6xf32>, %m: tensor<1x1x5x6xi1>) {
  // expected-error @below {{'mask' of type 'tensor<1x1x5x6xi1>' has extent 6 in dimension 3; 1 and 7 are accepted}}
  %o = moe.attention %q, %k, %v mask(%m : tensor<1x1x5x6xi1>) {scale = 1.0} : tensor<2x4x5x8xf32>, tensor<2x2x7x8xf32>, tensor<2x2x7x6xf32> -> tensor<2x4x5x6xf32>
  return
}

// -----

func.func @f(%q: tensor<2x4x5x8xf32>, %k: tensor<2x2x7x8xf32>, %v: tensor<2x2x7x6xf32>, %m: tensor<1x2x5x7xf32>) {
  // expected-error @below {{'bias' of type 'tensor<1x2x5x7xf32>' has extent 2 in dimension 1; 1 and 4 are accepted}}
  %o = moe.attention %q, %k, %v bias(%m : tensor<1x2x5x7xf32>) {scale = 1.0} : tensor<2x4x5x8xf32>, tensor<2x2x7x8xf32>, tensor<2x2x7x6xf32> -> tensor<2x4x5x6xf32>
  return
}

// -----

func.func @f(%q: tensor<2x4x5x8xf32>, %k: tensor<2x2x7x8xf32>, %v: tensor<2x2x7x6xf32>) {
  // expected-error @below {{scale is 0x7FF0000000000000 : f64; finite numbers are accepted}}
  %o = moe.attention %q, %k, %v {scale = 0x7FF0000000000000 : f64} : tensor<2x4x5x8xf32>, tensor<2x2x7x8xf32>, tensor<2x2x7x6xf32> -> tensor<2x4x5x6xf32>
  return
}

// -----

func.func @f(%q: tensor<2x4x5x8xf32>, %k: tensor<2x2x7x8xf32>, %v: tensor<2x2x7x6xf32>) {
  // expected-error @below {{softcap is -1.000000e+00 : f64; finite numbers from 0 are accepted}}
  %o = moe.attention %q, %k, %v {scale = 1.0, softcap = -1.0} : tensor<2x4x5x8xf32>, tensor<2x2x7x8xf32>, tensor<2x2x7x6xf32> -> tensor<2x4x5x6xf32>
  return
}

// -----

func.func @f(%q: tensor<2x4x5x8xf32>, %k: tensor<2x2x7x8xf32>, %v: tensor<2x2x7x6xf32>) {
  // expected-error @below {{masked_score is 0.000000e+00 : f64; numbers below 0 are accepted}}
  %o = moe.attention %q, %k, %v {scale = 1.0, masked_score = 0.0} : tensor<2x4x5x8xf32>, tensor<2x2x7x8xf32>, tensor<2x2x7x6xf32> -> tensor<2x4x5x6xf32>
  return
}

// -----

func.func @f(%q: tensor<2x4x5x8xf32>, %k: tensor<2x2x7x8xf32>, %v: tensor<2x2x7x6xf32>) {
  // expected-error @below {{attribute 'window' failed to satisfy constraint}}
  %o = moe.attention %q, %k, %v {scale = 1.0, window = 0} : tensor<2x4x5x8xf32>, tensor<2x2x7x8xf32>, tensor<2x2x7x6xf32> -> tensor<2x4x5x6xf32>
  return
}

// -----

func.func @f(%q: tensor<2x4x5x8xf32>, %k: tensor<2x2x7x8xf32>, %v: tensor<2x2x7x6xf32>) {
  // expected-error @below {{has 'probs' without probs_count or the other way round; both or none are accepted}}
  %o = moe.attention %q, %k, %v {scale = 1.0, probs_count = 1} : tensor<2x4x5x8xf32>, tensor<2x2x7x8xf32>, tensor<2x2x7x6xf32> -> tensor<2x4x5x6xf32>
  return
}

// -----

func.func @f(%q: tensor<2x4x5x8xf32>, %k: tensor<2x2x7x8xf32>, %v: tensor<2x2x7x6xf32>) {
  // expected-error @below {{'probs' are 2 rows from 4 on; there are 5}}
  %o, %p = moe.attention %q, %k, %v {scale = 1.0, probs_first = 4, probs_count = 2} : tensor<2x4x5x8xf32>, tensor<2x2x7x8xf32>, tensor<2x2x7x6xf32> -> tensor<2x4x5x6xf32>, tensor<2x4x2x7xf32>
  return
}

// -----

func.func @f(%q: tensor<2x4x5x8xf32>, %k: tensor<2x2x7x8xf32>, %v: tensor<2x2x7x6xf32>) {
  // expected-error @below {{'probs' of type 'tensor<2x4x1x7xf32>' has extent 1 in dimension 2; 2 is accepted (probs_count)}}
  %o, %p = moe.attention %q, %k, %v {scale = 1.0, probs_count = 2} : tensor<2x4x5x8xf32>, tensor<2x2x7x8xf32>, tensor<2x2x7x6xf32> -> tensor<2x4x5x6xf32>, tensor<2x4x1x7xf32>
  return
}

// -----

func.func @f(%q: memref<2x4x5x8xf32>, %k: memref<2x4x7x8xf32>, %v: memref<2x4x7x8xf32>, %o: memref<2x4x5x8xf32>) {
  // expected-error @below {{key_order has other elements than 0 to 3}}
  moe.attend query(%q : memref<2x4x5x8xf32>) key(%k : memref<2x4x7x8xf32>) value(%v : memref<2x4x7x8xf32>) {scale = 1.0, key_order = array<i64: 0, 1, 1, 3>} out(%o : memref<2x4x5x8xf32>)
  return
}

// -----

func.func @f(%q: memref<2x4x5x8xf32>, %k: memref<2x4x7x8xf32>, %v: memref<2x4x7x8xf32>, %o: memref<2x4x5x8xf32>) {
  // expected-error @below {{out_order has other elements than 0 to 3}}
  moe.attend query(%q : memref<2x4x5x8xf32>) key(%k : memref<2x4x7x8xf32>) value(%v : memref<2x4x7x8xf32>) {scale = 1.0, out_order = array<i64: 0, 1, 2>} out(%o : memref<2x4x5x8xf32>)
  return
}

// -----

func.func @f(%q: memref<2x4x5x8xf32, strided<[320, 80, 16, 1]>>, %k: memref<2x4x7x8xf32>, %v: memref<2x4x7x8xf32>, %o: memref<2x4x5x8xf32>) {
  // expected-error @below {{has a buffer of type 'memref<2x4x5x8xf32, strided<[320, 80, 16, 1]>>'; contiguous ones are accepted}}
  moe.attend query(%q : memref<2x4x5x8xf32, strided<[320, 80, 16, 1]>>) key(%k : memref<2x4x7x8xf32>) value(%v : memref<2x4x7x8xf32>) {scale = 1.0} out(%o : memref<2x4x5x8xf32>)
  return
}

// -----

func.func @f(%x: tensor<2x6x4xf32>, %s: tensor<5xf32>) {
  // expected-error @below {{'y' of type 'tensor<2x6x5xf32>' has extent 5 in dimension 2; 4 is accepted (extent of 'x')}}
  %y = moe.norm %x {kind = #moe.norm_kind<rms>, epsilon = 1.0e-5} : tensor<2x6x4xf32> -> tensor<2x6x5xf32>
  return
}

// -----

func.func @f(%x: tensor<2x6x4xf32>, %s: tensor<5xf32>) {
  // expected-error @below {{gives 'tensor<2x24xf32>' of 'tensor<2x6x4xf32>'; the same shape is accepted}}
  %y = moe.norm %x {kind = #moe.norm_kind<rms>, epsilon = 1.0e-5} : tensor<2x6x4xf32> -> tensor<2x24xf32>
  return
}

// -----

func.func @f(%x: tensor<2x6x4xf32>, %s: tensor<5xf32>) {
  // expected-error @below {{epsilon is -1.000000e+00 : f64; finite numbers from 0 are accepted}}
  %y = moe.norm %x {kind = #moe.norm_kind<layer>, epsilon = -1.0} : tensor<2x6x4xf32> -> tensor<2x6x4xf32>
  return
}

// -----

func.func @f(%x: tensor<2x6x4xf32>, %s: tensor<5xf32>) {
  // expected-error @below {{has groups without kind = group or the other way round; both or none are accepted}}
  %y = moe.norm %x {kind = #moe.norm_kind<layer>, epsilon = 1.0, groups = 2} : tensor<2x6x4xf32> -> tensor<2x6x4xf32>
  return
}

// -----

func.func @f(%x: tensor<2x6x4xf32>, %s: tensor<5xf32>) {
  // expected-error @below {{cannot divide 6 channels into 4 groups}}
  %y = moe.norm %x {kind = #moe.norm_kind<group>, epsilon = 1.0, groups = 4} : tensor<2x6x4xf32> -> tensor<2x6x4xf32>
  return
}

// -----

func.func @f(%x: tensor<2x6x4xf32>, %s: tensor<5xf32>) {
  // expected-error @below {{'scale' of type 'tensor<5xf32>' has extent 5 in dimension 0; 6 is accepted (channels of 'x')}}
  %y = moe.norm %x scale(%s : tensor<5xf32>) {kind = #moe.norm_kind<group>, epsilon = 1.0, groups = 2} : tensor<2x6x4xf32> -> tensor<2x6x4xf32>
  return
}

// -----

func.func @f(%x: tensor<2x6x4xf32>, %s: tensor<5xf32>) {
  // expected-error @below {{'bias' of type 'tensor<5xf32>' does not broadcast to 'tensor<2x6x4xf32>'}}
  %y = moe.norm %x bias(%s : tensor<5xf32>) {kind = #moe.norm_kind<layer>, epsilon = 1.0} : tensor<2x6x4xf32> -> tensor<2x6x4xf32>
  return
}

// -----

func.func @f(%x: tensor<2x6x4xf32>, %s: tensor<5xf32>) {
  // expected-error @below {{has axis 3 on 'tensor<2x6x4xf32>'; accepted are -3 to 2}}
  %y = moe.norm %x {kind = #moe.norm_kind<layer>, epsilon = 1.0, axis = 3} : tensor<2x6x4xf32> -> tensor<2x6x4xf32>
  return
}
