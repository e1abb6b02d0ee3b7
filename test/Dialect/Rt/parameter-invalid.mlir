// RUN: moe-opt %s --split-input-file --verify-diagnostics

// expected-error @below {{#rt.parameter has number -1; numbers start at 0}}
func.func private @f() attributes {t.a = #rt.parameter<-1> : tensor<2xf32>}

// -----

// expected-error @below {{cannot stand for a constant of type 'tensor<?xf32>'}}
func.func private @f() attributes {t.a = #rt.parameter<0> : tensor<?xf32>}

// -----

// expected-error @below {{'rt.arguments' must be an array of elements on a call}}
func.func @f() attributes {rt.arguments = [dense<0.0> : tensor<2xf32>]} {
  return
}
