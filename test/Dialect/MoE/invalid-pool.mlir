// Each rule of pools with what it says.
// RUN: moe-opt %s --split-input-file --verify-diagnostics

// expected-error @below {{kernel holds 0; 1 to 2147483648 are accepted}}
#p = #moe.pooling<kind = avg, kernel = [0]>

// -----

// expected-error @below {{pads holds -1; 0 to 2147483648 are accepted}}
#p = #moe.pooling<kind = avg, kernel = [3], pads = [-1, 0]>

// -----

// expected-error @below {{strides has 1 numbers for a kernel of 2; 2 are accepted}}
#p = #moe.pooling<kind = avg, kernel = [3, 3], strides = [1]>

// -----

// expected-error @below {{pads has 2 numbers for a kernel of 2; 4 are accepted}}
#p = #moe.pooling<kind = avg, kernel = [3, 3], pads = [1, 1]>

// -----

// expected-error @below {{ceil without a kernel: a window that is the whole map has nothing around it}}
#p = #moe.pooling<kind = avg, ceil = true>

// -----

// expected-error @below {{pad_mode without a kernel: a window that is the whole map has nothing around it}}
#p = #moe.pooling<kind = avg, pad_mode = zero>

// -----

// expected-error @below {{pad_mode = zero with kind = max; exclude, reflect and edge are accepted}}
#p = #moe.pooling<kind = max, kernel = [3], pads = [1, 1], pad_mode = zero>

// -----

// expected-error @below {{ceil with pad_mode = reflect; exclude and zero are accepted with it}}
#p = #moe.pooling<kind = avg, kernel = [3], pads = [1, 1], pad_mode = reflect, ceil = true>

// -----

// expected-error @below {{ceil with kind = lp, which has no mean; the other kinds are accepted with it}}
#p = #moe.pooling<kind = lp, kernel = [3], ceil = true, p = 2.0>

// -----

// expected-error @below {{p = -2.000000e+00; finite numbers above 0 are accepted}}
#p = #moe.pooling<kind = lp, p = -2.0>

// -----

// expected-error @below {{p = 0.000000e+00; finite numbers other than 0 are accepted}}
#p = #moe.pooling<kind = gem, p = 0.0>

// -----

// expected-error @below {{p = 3.000000e+00 with kind = avg; gem and lp have a power}}
#p = #moe.pooling<kind = avg, p = 3.0>

// -----

// expected-error @below {{eps = -1.000000e+00; finite numbers from 0 are accepted}}
#p = #moe.pooling<kind = gem, p = 3.0, eps = -1.0>

// -----

// expected-error @below {{eps with kind = lp; gem is accepted with it}}
#p = #moe.pooling<kind = lp, p = 3.0, eps = 1.0>

// -----

func.func @f(%x: tensor<2x3x8x8xf32>) {
  // expected-error @below {{the pool has a kernel of 1 numbers for 'x' of type 'tensor<2x3x8x8xf32>'; 2 are accepted}}
  %y = moe.pool %x {pooling = #moe.pooling<kind = avg, kernel = [3]>} : tensor<2x3x8x8xf32> -> tensor<2x3x6x8xf32>
  return
}

// -----

func.func @f(%x: tensor<2x3x8x8xf32>) {
  // expected-error @below {{gives 'y' of type 'tensor<2x3x6xf32>' for 'x' of type 'tensor<2x3x8x8xf32>'; rank 4 is accepted}}
  %y = moe.pool %x {pooling = #moe.pooling<kind = avg, kernel = [3, 3]>} : tensor<2x3x8x8xf32> -> tensor<2x3x6xf32>
  return
}

// -----

func.func @f(%x: tensor<2x3x8xf32>) {
  // expected-error @below {{gives elements of type 'f64' for 'x' of type 'tensor<2x3x8xf32>'; 'f32' is accepted}}
  %y = moe.pool %x {pooling = #moe.pooling<kind = avg, kernel = [3]>} : tensor<2x3x8xf32> -> tensor<2x3x6xf64>
  return
}

// -----

func.func @f(%x: tensor<2x3x8xf32>) {
  // expected-error @below {{'y' of type 'tensor<2x4x6xf32>' has extent 4 in dimension 1; 3 is accepted (channels of 'x')}}
  %y = moe.pool %x {pooling = #moe.pooling<kind = avg, kernel = [3]>} : tensor<2x3x8xf32> -> tensor<2x4x6xf32>
  return
}

// -----

func.func @f(%x: tensor<2x3x8xf32>) {
  // expected-error @below {{'y' of type 'tensor<2x3x7xf32>' has extent 7 in dimension 2; 6 is accepted (windows of the pool)}}
  %y = moe.pool %x {pooling = #moe.pooling<kind = avg, kernel = [3]>} : tensor<2x3x8xf32> -> tensor<2x3x7xf32>
  return
}

// -----

func.func @f(%x: tensor<2x3x8xf32>) {
  // expected-error @below {{the pool does not fit into dimension 2 of 'x' of type 'tensor<2x3x8xf32>'}}
  %y = moe.pool %x {pooling = #moe.pooling<kind = avg, kernel = [9]>} : tensor<2x3x8xf32> -> tensor<2x3x?xf32>
  return
}

// -----

func.func @f(%x: tensor<2x3x2xf32>) {
  // expected-error @below {{the pool reflects 2 elements in dimension 2 of 'x' of type 'tensor<2x3x2xf32>'; fewer than the extent are accepted}}
  %y = moe.pool %x {pooling = #moe.pooling<kind = avg, kernel = [5], pads = [2, 2], pad_mode = reflect>} : tensor<2x3x2xf32> -> tensor<2x3x2xf32>
  return
}

// -----

func.func @f(%x: tensor<2x3x8xf32>) {
  // expected-error @below {{alpha is not finite}}
  %y = moe.pool %x {pooling = #moe.pooling<kind = avg, kernel = [3]>, alpha = 0x7FF0000000000000 : f64} : tensor<2x3x8xf32> -> tensor<2x3x6xf32>
  return
}

// -----

func.func @f(%x: tensor<2x3x8xf32>) {
  // expected-error @below {{adds 'x' of type 'tensor<2x3x8xf32>' to a pool of type 'tensor<2x3x6xf32>'; the same extents are accepted}}
  %y = moe.pool %x {pooling = #moe.pooling<kind = avg, kernel = [3]>, beta = 1.0 : f64} : tensor<2x3x8xf32> -> tensor<2x3x6xf32>
  return
}

// -----

func.func @f(%x: tensor<2x3x8xf32>, %c: tensor<2xi64>) {
  // expected-error @below {{has no experts; 1 or more are accepted}}
  %y = moe.pool_select %x, %c {experts = []} : tensor<2x3x8xf32>, tensor<2xi64> -> tensor<2x3x6xf32>
  return
}

// -----

func.func @f(%x: tensor<2x3x8xf32>, %c: tensor<2xi64>) {
  // expected-error @below {{'y' of type 'tensor<2x3x6xf32>' has extent 6 in dimension 2; 7 is accepted (windows of expert 1)}}
  %y = moe.pool_select %x, %c {experts = [#moe.pooling<kind = avg, kernel = [3]>, #moe.pooling<kind = max, kernel = [2]>]}
      : tensor<2x3x8xf32>, tensor<2xi64> -> tensor<2x3x6xf32>
  return
}

// -----

func.func @f(%x: tensor<2x3x8xf32>, %c: tensor<3xi64>) {
  // expected-error @below {{'choice' of type 'tensor<3xi64>' has extent 3 in dimension 0; 2 is accepted (maps of 'x')}}
  %y = moe.pool_select %x, %c {experts = [#moe.pooling<kind = avg, kernel = [3]>]}
      : tensor<2x3x8xf32>, tensor<3xi64> -> tensor<2x3x6xf32>
  return
}

// -----

func.func @f(%x: tensor<2x3x8xf32>) {
  %c = onnx.Constant() {value = dense<[0, 1]> : tensor<2xi64>} : () -> tensor<2xi64>
  // expected-error @below {{'choice' holds 1; 0 to 0 are accepted}}
  %y = moe.pool_select %x, %c {experts = [#moe.pooling<kind = avg, kernel = [3]>]}
      : tensor<2x3x8xf32>, tensor<2xi64> -> tensor<2x3x6xf32>
  return
}
