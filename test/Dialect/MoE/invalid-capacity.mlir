// Each rule of moe.capacity with what it says.
// RUN: moe-opt %s --split-input-file --verify-diagnostics

func.func @f(%i: tensor<?x0xi32>, %w: tensor<?x0xf32>) {
  // expected-error @below {{has 'ids' of type 'tensor<?x0xi32>' with 0 slots per token; 1 or more are accepted}}
  %a, %b = moe.capacity %i, %w {num_experts = 4, mode = #moe.capacity_mode<absolute>, value = 2.0}
      : tensor<?x0xi32>, tensor<?x0xf32> -> tensor<?x0xi32>, tensor<?x0xf32>
  return
}

// -----

func.func @f(%i: tensor<5x2xi32>, %w: tensor<4x2xf32>) {
  // expected-error @below {{'weights' of type 'tensor<4x2xf32>' has extent 4 in dimension 0; 5 is accepted (tokens of 'ids')}}
  %a, %b = moe.capacity %i, %w {num_experts = 4, mode = #moe.capacity_mode<absolute>, value = 2.0}
      : tensor<5x2xi32>, tensor<4x2xf32> -> tensor<5x2xi32>, tensor<5x2xf32>
  return
}

// -----

func.func @f(%i: tensor<5x2xi32>, %w: tensor<5x3xf32>) {
  // expected-error @below {{'weights' of type 'tensor<5x3xf32>' has extent 3 in dimension 1; 2 is accepted (slots of 'ids')}}
  %a, %b = moe.capacity %i, %w {num_experts = 4, mode = #moe.capacity_mode<absolute>, value = 2.0}
      : tensor<5x2xi32>, tensor<5x3xf32> -> tensor<5x2xi32>, tensor<5x2xf32>
  return
}

// -----

func.func @f(%i: tensor<5x2xi32>, %w: tensor<5x2xf32>, %s: tensor<6xf32>) {
  // expected-error @below {{'scores' of type 'tensor<6xf32>' has extent 6 in dimension 0; 5 is accepted (tokens of 'ids')}}
  %a, %b = moe.capacity %i, %w scores(%s : tensor<6xf32>)
      {num_experts = 4, mode = #moe.capacity_mode<absolute>, value = 2.0, priority = #moe.priority<prob>}
      : tensor<5x2xi32>, tensor<5x2xf32> -> tensor<5x2xi32>, tensor<5x2xf32>
  return
}

// -----

func.func @f(%i: tensor<5x2xi32>, %w: tensor<5x2xf32>) {
  // expected-error @below {{'kept_ids' of type 'tensor<4x2xi32>' has extent 4 in dimension 0; 5 is accepted (tokens of 'ids')}}
  %a, %b = moe.capacity %i, %w {num_experts = 4, mode = #moe.capacity_mode<absolute>, value = 2.0}
      : tensor<5x2xi32>, tensor<5x2xf32> -> tensor<4x2xi32>, tensor<5x2xf32>
  return
}

// -----

func.func @f(%i: tensor<5x2xi32>, %w: tensor<5x2xf32>) {
  // expected-error @below {{'kept_ids' of type 'tensor<5x1xi32>' has extent 1 in dimension 1; 2 is accepted (slots of 'ids')}}
  %a, %b = moe.capacity %i, %w {num_experts = 4, mode = #moe.capacity_mode<absolute>, value = 2.0}
      : tensor<5x2xi32>, tensor<5x2xf32> -> tensor<5x1xi32>, tensor<5x2xf32>
  return
}

// -----

func.func @f(%i: tensor<5x2xi32>, %w: tensor<5x2xf32>) {
  // expected-error @below {{'kept_weights' of type 'tensor<4x2xf32>' has extent 4 in dimension 0; 5 is accepted (tokens of 'ids')}}
  %a, %b = moe.capacity %i, %w {num_experts = 4, mode = #moe.capacity_mode<absolute>, value = 2.0}
      : tensor<5x2xi32>, tensor<5x2xf32> -> tensor<5x2xi32>, tensor<4x2xf32>
  return
}

// -----

func.func @f(%i: tensor<5x2xi32>, %w: tensor<5x2xf32>) {
  // expected-error @below {{'kept_weights' of type 'tensor<5x1xf32>' has extent 1 in dimension 1; 2 is accepted (slots of 'ids')}}
  %a, %b = moe.capacity %i, %w {num_experts = 4, mode = #moe.capacity_mode<absolute>, value = 2.0}
      : tensor<5x2xi32>, tensor<5x2xf32> -> tensor<5x2xi32>, tensor<5x1xf32>
  return
}

// -----

func.func @f(%w: tensor<1x2xf32>) {
  %i = onnx.Constant() {value = dense<[[3, 4]]> : tensor<1x2xi32>} : () -> tensor<1x2xi32>
  // expected-error @below {{'ids' holds 4; -1 to 3 are accepted}}
  %a, %b = moe.capacity %i, %w {num_experts = 4, mode = #moe.capacity_mode<absolute>, value = 2.0}
      : tensor<1x2xi32>, tensor<1x2xf32> -> tensor<1x2xi32>, tensor<1x2xf32>
  return
}

// -----

func.func @f(%i: tensor<5x2xi32>, %w: tensor<5x2xf32>) {
  // expected-error @below {{keeps weights of type 'f64' of weights of type 'f32'; 'f32' is accepted}}
  %a, %b = moe.capacity %i, %w {num_experts = 4, mode = #moe.capacity_mode<absolute>, value = 2.0}
      : tensor<5x2xi32>, tensor<5x2xf32> -> tensor<5x2xi32>, tensor<5x2xf64>
  return
}

// -----

func.func @f(%i: tensor<5x2xi32>, %w: tensor<5x2xf32>, %s: tensor<5xf32>) {
  // expected-error @below {{has 'scores' and priority = none, which does not look at them; priority = prob is accepted}}
  %a, %b = moe.capacity %i, %w scores(%s : tensor<5xf32>)
      {num_experts = 4, mode = #moe.capacity_mode<absolute>, value = 2.0}
      : tensor<5x2xi32>, tensor<5x2xf32> -> tensor<5x2xi32>, tensor<5x2xf32>
  return
}

// -----

func.func @f(%i: tensor<5x2xi32>, %w: tensor<5x2xf32>) {
  // expected-error @below {{value is 1.500000e+00 : f64; whole numbers from 0 to 9007199254740992 are accepted with mode = absolute}}
  %a, %b = moe.capacity %i, %w {num_experts = 4, mode = #moe.capacity_mode<absolute>, value = 1.5}
      : tensor<5x2xi32>, tensor<5x2xf32> -> tensor<5x2xi32>, tensor<5x2xf32>
  return
}

// -----

func.func @f(%i: tensor<5x2xi32>, %w: tensor<5x2xf32>) {
  // expected-error @below {{value is 1.000000e+16 : f64; whole numbers from 0 to 9007199254740992 are accepted with mode = absolute}}
  %a, %b = moe.capacity %i, %w {num_experts = 4, mode = #moe.capacity_mode<absolute>, value = 1.0e+16}
      : tensor<5x2xi32>, tensor<5x2xf32> -> tensor<5x2xi32>, tensor<5x2xf32>
  return
}

// -----

func.func @f(%i: tensor<5x2xi32>, %w: tensor<5x2xf32>) {
  // expected-error @below {{value is -1.000000e+00 : f64; finite numbers from 0 are accepted}}
  %a, %b = moe.capacity %i, %w {num_experts = 4, mode = #moe.capacity_mode<factor>, value = -1.0}
      : tensor<5x2xi32>, tensor<5x2xf32> -> tensor<5x2xi32>, tensor<5x2xf32>
  return
}

// -----

func.func @f(%i: tensor<5x2xi32>, %w: tensor<5x2xf32>) {
  // expected-error @below {{value is 0x7FF8000000000000 : f64; finite numbers from 0 are accepted}}
  %a, %b = moe.capacity %i, %w {num_experts = 4, mode = #moe.capacity_mode<fraction>, value = 0x7FF8000000000000 : f64}
      : tensor<5x2xi32>, tensor<5x2xf32> -> tensor<5x2xi32>, tensor<5x2xf32>
  return
}

// -----

func.func @f(%i: tensor<5x2xi32>, %w: tensor<5x2xf32>) {
  // expected-error @below {{attribute 'num_experts' failed to satisfy constraint}}
  %a, %b = moe.capacity %i, %w {num_experts = 0, mode = #moe.capacity_mode<absolute>, value = 2.0}
      : tensor<5x2xi32>, tensor<5x2xf32> -> tensor<5x2xi32>, tensor<5x2xf32>
  return
}

// -----

func.func @f(%i: tensor<5x2xi32>, %w: tensor<5x2xf32>) {
  // expected-error @below {{value is -1.000000e+00 : f64; whole numbers from 0 to 9007199254740992 are}}
  %a, %b = moe.capacity %i, %w {num_experts = 4, mode = #moe.capacity_mode<absolute>, value = -1.0}
      : tensor<5x2xi32>, tensor<5x2xf32> -> tensor<5x2xi32>, tensor<5x2xf32>
  return
}

// -----

func.func @f(%i: tensor<5x2xi32>, %w: tensor<5x2xf32>) {
  // expected-error @below {{attribute 'num_experts' failed to satisfy constraint}}
  %a, %b = moe.capacity %i, %w {num_experts = 1048577, mode = #moe.capacity_mode<absolute>, value = 2.0}
      : tensor<5x2xi32>, tensor<5x2xf32> -> tensor<5x2xi32>, tensor<5x2xf32>
  return
}

// -----

func.func @f(%i: tensor<3x5x2xi32>, %w: tensor<5x2xf32>) -> (tensor<3x5x2xi32>, tensor<5x2xf32>) {
  // expected-error @below {{has 'weights' of type 'tensor<5x2xf32>'; rank 3 is accepted with 'ids' of type 'tensor<3x5x2xi32>'}}
  %a, %b = moe.capacity %i, %w {num_experts = 4, mode = #moe.capacity_mode<absolute>, value = 2.0}
      : tensor<3x5x2xi32>, tensor<5x2xf32> -> tensor<3x5x2xi32>, tensor<5x2xf32>
  return %a, %b : tensor<3x5x2xi32>, tensor<5x2xf32>
}

// -----

func.func @f(%i: tensor<3x5x2xi32>, %w: tensor<3x5x2xf32>, %s: tensor<5xf32>) -> (tensor<3x5x2xi32>, tensor<3x5x2xf32>) {
  // expected-error @below {{has 'scores' of type 'tensor<5xf32>'; rank 2 is accepted with 'ids' of type 'tensor<3x5x2xi32>'}}
  %a, %b = moe.capacity %i, %w scores(%s : tensor<5xf32>)
      {num_experts = 4, mode = #moe.capacity_mode<absolute>, value = 2.0, priority = #moe.priority<prob>}
      : tensor<3x5x2xi32>, tensor<3x5x2xf32> -> tensor<3x5x2xi32>, tensor<3x5x2xf32>
  return %a, %b : tensor<3x5x2xi32>, tensor<3x5x2xf32>
}

// -----

func.func @f(%i: tensor<3x5x2xi32>, %w: tensor<4x5x2xf32>) -> (tensor<3x5x2xi32>, tensor<3x5x2xf32>) {
  // expected-error @below {{'weights' of type 'tensor<4x5x2xf32>' has extent 4 in dimension 0; 3 is accepted (sequences of 'ids')}}
  %a, %b = moe.capacity %i, %w {num_experts = 4, mode = #moe.capacity_mode<absolute>, value = 2.0}
      : tensor<3x5x2xi32>, tensor<4x5x2xf32> -> tensor<3x5x2xi32>, tensor<3x5x2xf32>
  return %a, %b : tensor<3x5x2xi32>, tensor<3x5x2xf32>
}

// -----

func.func @f(%i: tensor<3x5x2xi32>, %w: tensor<3x5x2xf32>, %s: tensor<3x6xf32>) -> (tensor<3x5x2xi32>, tensor<3x5x2xf32>) {
  // expected-error @below {{'scores' of type 'tensor<3x6xf32>' has extent 6 in dimension 1; 5 is accepted (tokens of 'ids')}}
  %a, %b = moe.capacity %i, %w scores(%s : tensor<3x6xf32>)
      {num_experts = 4, mode = #moe.capacity_mode<absolute>, value = 2.0, priority = #moe.priority<prob>}
      : tensor<3x5x2xi32>, tensor<3x5x2xf32> -> tensor<3x5x2xi32>, tensor<3x5x2xf32>
  return %a, %b : tensor<3x5x2xi32>, tensor<3x5x2xf32>
}
