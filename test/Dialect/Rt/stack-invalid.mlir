// RUN: moe-opt %s --split-input-file --verify-diagnostics

// expected-error @below {{has parts of type 'tensor<2xf32>' and 'tensor<3xf32>'; parts of one type are accepted}}
func.func private @f() attributes {t.a = #rt.stack<[dense<0.0> : tensor<2xf32>, dense<0.0> : tensor<3xf32>]> : tensor<2x2xf32>}

// -----

// expected-error @below {{of 2 parts of type 'tensor<2x3xf32>' has type 'tensor<2x3x2xf32>', not 'tensor<2x2x3xf32>'}}
func.func private @f() attributes {t.a = #rt.stack<[dense<0.0> : tensor<2x3xf32>, dense<0.0> : tensor<2x3xf32>], transposed = true> : tensor<2x2x3xf32>}

// -----

// expected-error @below {{cannot transpose parts of type 'tensor<2xf32>'}}
func.func private @f() attributes {t.a = #rt.stack<[dense<0.0> : tensor<2xf32>], transposed = true> : tensor<1x2xf32>}
