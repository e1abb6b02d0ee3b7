// The ops that say on tensors how experts run.
// RUN: moe-opt %s --split-input-file --verify-diagnostics

func.func @f(%ids: tensor<?x2xi32>) {
  // expected-error @below {{has logical = 3 for 8 experts; 8 or more are accepted}}
  %o, %t, %p = moe.plan %ids {experts = 8, logical = 3} : tensor<?x2xi32> -> tensor<9xindex>, tensor<?xindex>, tensor<?x2xindex>
  return
}

// -----

func.func @f(%ids: tensor<?x2xi32>) {
  // expected-error @below {{has experts = 2147483648; ids are i32: at most 2147483647 are accepted}}
  %o, %t, %p = moe.plan %ids {experts = 2147483648} : tensor<?x2xi32> -> tensor<9xindex>, tensor<?xindex>, tensor<?x2xindex>
  return
}

// -----

func.func @f(%ids: tensor<?x2xi32>) {
  // expected-error @below {{'offsets' of type 'tensor<8xindex>' has extent 8 in dimension 0; 9 is accepted (experts and one more)}}
  %o, %t, %p = moe.plan %ids {experts = 8} : tensor<?x2xi32> -> tensor<8xindex>, tensor<?xindex>, tensor<?x2xindex>
  return
}

// -----

func.func @f(%ids: tensor<?x2xi32>) {
  // expected-error @below {{'offsets' of type 'tensor<?xindex>' has an unknown extent; 9 is accepted}}
  %o, %t, %p = moe.plan %ids {experts = 8} : tensor<?x2xi32> -> tensor<?xindex>, tensor<?xindex>, tensor<?x2xindex>
  return
}

// -----

func.func @f(%ids: tensor<3x2xi32>) {
  // expected-error @below {{'tokens' of type 'tensor<7xindex>' has extent 7 in dimension 0; 6 is accepted (slots of 'ids')}}
  %o, %t, %p = moe.plan %ids {experts = 8} : tensor<3x2xi32> -> tensor<9xindex>, tensor<7xindex>, tensor<3x2xindex>
  return
}

// -----

func.func @f(%ids: tensor<3x2xi32>) {
  // expected-error @below {{'positions' of type 'tensor<4x2xindex>' has extent 4 in dimension 0; 3 is accepted (tokens of 'ids')}}
  %o, %t, %p = moe.plan %ids {experts = 8} : tensor<3x2xi32> -> tensor<9xindex>, tensor<?xindex>, tensor<4x2xindex>
  return
}

// -----

func.func @f(%ids: tensor<?x2xi32>) {
  // expected-error @below {{'positions' of type 'tensor<?x3xindex>' has extent 3 in dimension 1; 2 is accepted (slots of 'ids')}}
  %o, %t, %p = moe.plan %ids {experts = 8} : tensor<?x2xi32> -> tensor<9xindex>, tensor<?xindex>, tensor<?x3xindex>
  return
}

// -----

func.func @f() {
  %ids = arith.constant dense<[[0, 8]]> : tensor<1x2xi32>
  // expected-error @below {{'ids' holds 8; -1 to 7 are accepted}}
  %o, %t, %p = moe.plan %ids {experts = 8} : tensor<1x2xi32> -> tensor<9xindex>, tensor<2xindex>, tensor<1x2xindex>
  return
}

// -----

func.func @f(%x: tensor<?x64xf32>, %o: tensor<9xindex>, %t: tensor<?xindex>, %p: tensor<?x2xindex>, %w: tensor<?x2xf32>) {
  // expected-error @below {{has a part of a plan; 'offsets', 'tokens' and 'positions' or none of them are accepted}}
  %0 = "moe.dispatch"(%x, %t) <{operandSegmentSizes = array<i32: 1, 0, 1, 0, 0>}> : (tensor<?x64xf32>, tensor<?xindex>) -> tensor<?x64xf32>
  return
}

// -----

func.func @f(%x: tensor<?x64xf32>, %o: tensor<9xindex>, %t: tensor<?xindex>, %p: tensor<?x2xindex>, %w: tensor<?x2xf32>) {
  // expected-error @below {{has 'weights' without a plan; they are accepted with one only}}
  %0 = moe.dispatch %x weights(%w : tensor<?x2xf32>) : tensor<?x64xf32> -> tensor<?x64xf32>
  return
}

// -----

func.func @f(%x: tensor<?x64xf32>, %o: tensor<9xindex>, %t: tensor<?xindex>, %p: tensor<?x2xindex>, %w: tensor<?x2xf32>) {
  // expected-error @below {{in_scale is 0x7FF0000000000000 : f64; finite numbers are accepted}}
  %0 = moe.dispatch %x {in_scale = 0x7FF0000000000000 : f64} : tensor<?x64xf32> -> tensor<?x64xf32>
  return
}

// -----

func.func @f(%x: tensor<?x64xf32>, %o: tensor<9xindex>, %t: tensor<?xindex>, %p: tensor<?x2xindex>, %w: tensor<?x2xf32>) {
  // expected-error @below {{'rows' of type 'tensor<?x63xf32>' has extent 63 in dimension 1; 64 is accepted (width of 'x')}}
  %0 = moe.dispatch %x : tensor<?x64xf32> -> tensor<?x63xf32>
  return
}

// -----

func.func @f(%x: tensor<3x64xf32>) {
  // expected-error @below {{'rows' of type 'tensor<4x64xf32>' has extent 4 in dimension 0; 3 is accepted (tokens of 'x')}}
  %0 = moe.dispatch %x : tensor<3x64xf32> -> tensor<4x64xf32>
  return
}

// -----

func.func @f(%x: tensor<3x64xf32>, %o: tensor<9xindex>, %t: tensor<?xindex>, %p: tensor<4x2xindex>, %w: tensor<?x2xf32>) {
  // expected-error @below {{'positions' of type 'tensor<4x2xindex>' has extent 4 in dimension 0; 3 is accepted (tokens of 'x')}}
  %0 = moe.dispatch %x plan(%o, %t, %p : tensor<9xindex>, tensor<?xindex>, tensor<4x2xindex>) : tensor<3x64xf32> -> tensor<?x64xf32>
  return
}

// -----

func.func @f(%x: tensor<?x64xf32>, %o: tensor<9xindex>, %t: tensor<5xindex>, %p: tensor<3x2xindex>, %w: tensor<?x2xf32>) {
  // expected-error @below {{'tokens' of type 'tensor<5xindex>' has extent 5 in dimension 0; 6 is accepted (slots of 'positions')}}
  %0 = moe.dispatch %x plan(%o, %t, %p : tensor<9xindex>, tensor<5xindex>, tensor<3x2xindex>) : tensor<?x64xf32> -> tensor<?x64xf32>
  return
}

// -----

func.func @f(%x: tensor<?x64xf32>, %o: tensor<9xindex>, %t: tensor<6xindex>, %p: tensor<?x2xindex>, %w: tensor<?x2xf32>) {
  // expected-error @below {{'rows' of type 'tensor<5x64xf32>' has extent 5 in dimension 0; 6 is accepted (rows of 'tokens')}}
  %0 = moe.dispatch %x plan(%o, %t, %p : tensor<9xindex>, tensor<6xindex>, tensor<?x2xindex>) : tensor<?x64xf32> -> tensor<5x64xf32>
  return
}

// -----

func.func @f(%x: tensor<?x64xf32>, %o: tensor<9xindex>, %t: tensor<?xindex>, %p: tensor<?x2xindex>, %w: tensor<?x3xf32>) {
  // expected-error @below {{'weights' of type 'tensor<?x3xf32>' has extent 3 in dimension 1; 2 is accepted (slots of 'positions')}}
  %0 = moe.dispatch %x plan(%o, %t, %p : tensor<9xindex>, tensor<?xindex>, tensor<?x2xindex>) weights(%w : tensor<?x3xf32>) : tensor<?x64xf32> -> tensor<?x64xf32>
  return
}

// -----

func.func @f(%x: tensor<?x16xf32>, %o: tensor<3xindex>, %g: tensor<2x32x16xf32>, %d: tensor<2x16x32xf32>, %q: tensor<2x32x8xui8>, %s: tensor<2x32x1xf32>) {
  // expected-error @below {{has codes in the layout io; oi is accepted}}
  %0 = moe.grouped_ffn %x offsets(%o : tensor<3xindex>) gate(%q, %s : tensor<2x32x8xui8>, tensor<2x32x1xf32>) down(%d : tensor<2x16x32xf32>) {gate_codes = #moe.codes<bits = 4, block = 16>, layout = #moe.layout<io>} : tensor<?x16xf32> -> tensor<?x16xf32> {
  ^bb0(%v: f32):
    moe.yield %v : f32
  }
  return
}

// -----

func.func @f(%x: tensor<?x16xf32>, %o: tensor<3xindex>, %g: tensor<2x32x16xf32>, %d: tensor<2x16x32xf32>, %q: tensor<2x32x8xui8>, %s: tensor<2x32x1xf32>) {
  // expected-error @below {{has 2 operands for 'up' and 1 for 'gate'; equally many are accepted}}
  %0 = moe.grouped_ffn %x offsets(%o : tensor<3xindex>) gate(%g : tensor<2x32x16xf32>) up(%q, %s : tensor<2x32x8xui8>, tensor<2x32x1xf32>) down(%d : tensor<2x16x32xf32>) {gate_up = #moe.gate_up<separate>} : tensor<?x16xf32> -> tensor<?x16xf32> {
  ^bb0(%v: f32):
    moe.yield %v : f32
  }
  return
}

// -----

func.func @f(%x: tensor<?x16xf32>, %o: tensor<3xindex>, %g: tensor<2x32x16xf32>, %d: tensor<2x16x32xf32>, %q: tensor<2x32x8xui8>, %s: tensor<2x32x1xf32>) {
  // expected-error @below {{has 1 operands for 'gate'; codes, scales and perhaps zero points are accepted}}
  %0 = moe.grouped_ffn %x offsets(%o : tensor<3xindex>) gate(%g : tensor<2x32x16xf32>) down(%d : tensor<2x16x32xf32>) {gate_codes = #moe.codes<bits = 4>} : tensor<?x16xf32> -> tensor<?x16xf32> {
  ^bb0(%v: f32):
    moe.yield %v : f32
  }
  return
}

// -----

func.func @f(%x: tensor<?x16xf32>, %o: tensor<3xindex>, %g: tensor<2x32x16xf32>, %d: tensor<2x16x32xf32>, %q: tensor<2x32x8xui8>, %s: tensor<2x32x1xf32>) {
  // expected-error @below {{has 2 operands for 'gate'; one bank is accepted without codes}}
  %0 = moe.grouped_ffn %x offsets(%o : tensor<3xindex>) gate(%q, %s : tensor<2x32x8xui8>, tensor<2x32x1xf32>) down(%d : tensor<2x16x32xf32>) {} : tensor<?x16xf32> -> tensor<?x16xf32> {
  ^bb0(%v: f32):
    moe.yield %v : f32
  }
  return
}

// -----

func.func @f(%x: tensor<?x16xf32>, %o: tensor<3xindex>, %g: tensor<2x32x16xf32>, %d: tensor<2x16x32xf32>, %q: tensor<2x32x8xui8>, %s: tensor<2x32x1xf32>) {
  // expected-error @below {{operand 0 of 'gate' has type 'tensor<2x32x8xui8>'; floats are accepted}}
  %0 = moe.grouped_ffn %x offsets(%o : tensor<3xindex>) gate(%q : tensor<2x32x8xui8>) down(%d : tensor<2x16x32xf32>) {} : tensor<?x16xf32> -> tensor<?x16xf32> {
  ^bb0(%v: f32):
    moe.yield %v : f32
  }
  return
}

// -----

func.func @f(%x: tensor<?x16xf32>, %o: tensor<3xindex>, %g: tensor<2x32x16xf32>, %d: tensor<2x16x32xf32>, %q: tensor<2x32x8xui8>, %s: tensor<2x32x1xf32>) {
  // expected-error @below {{operand 0 of 'gate' has type 'tensor<2x32x16xf32>'; ui8 is accepted (codes)}}
  %0 = moe.grouped_ffn %x offsets(%o : tensor<3xindex>) gate(%g, %s : tensor<2x32x16xf32>, tensor<2x32x1xf32>) down(%d : tensor<2x16x32xf32>) {gate_codes = #moe.codes<bits = 4>} : tensor<?x16xf32> -> tensor<?x16xf32> {
  ^bb0(%v: f32):
    moe.yield %v : f32
  }
  return
}

// -----

func.func @f(%x: tensor<?x16xf32>, %o: tensor<3xindex>, %g: tensor<32x16xf32>, %d: tensor<2x16x32xf32>, %q: tensor<2x32x8xui8>, %s: tensor<2x32x1xf32>) {
  // expected-error @below {{'gate' of type 'tensor<32x16xf32>' has rank 2; a bank of rank 3 is accepted}}
  %0 = moe.grouped_ffn %x offsets(%o : tensor<3xindex>) gate(%g : tensor<32x16xf32>) down(%d : tensor<2x16x32xf32>) {} : tensor<?x16xf32> -> tensor<?x16xf32> {
  ^bb0(%v: f32):
    moe.yield %v : f32
  }
  return
}

// -----

func.func @f(%x: tensor<?x16xf32>, %o: tensor<3xindex>, %g: tensor<2x32x16xf32>, %d: tensor<2x16x32xf32>, %q: tensor<2x32x8xui8>, %s: tensor<2x32x1xf32>) {
  // expected-error @below {{'scales of gate' of type 'tensor<2x32x1xf32>' has extent 1 in dimension 2; 2 is accepted (blocks of a row)}}
  %0 = moe.grouped_ffn %x offsets(%o : tensor<3xindex>) gate(%q, %s : tensor<2x32x8xui8>, tensor<2x32x1xf32>) down(%d : tensor<2x16x32xf32>) {gate_codes = #moe.codes<bits = 4, block = 8>} : tensor<?x16xf32> -> tensor<?x16xf32> {
  ^bb0(%v: f32):
    moe.yield %v : f32
  }
  return
}

// -----

func.func @f(%x: tensor<?x16xf32>, %o: tensor<3xindex>, %g: tensor<2x32x16xf32>, %d: tensor<2x16x32xf32>, %q: tensor<2x32x4611686018427387904xui8>, %s: tensor<2x32x1xf32>) {
  // expected-error @below {{has rows that no bank can have}}
  %0 = moe.grouped_ffn %x offsets(%o : tensor<3xindex>) gate(%q, %s : tensor<2x32x4611686018427387904xui8>, tensor<2x32x1xf32>) down(%d : tensor<2x16x32xf32>) {gate_codes = #moe.codes<bits = 4, block = 8>} : tensor<?x16xf32> -> tensor<?x16xf32> {
  ^bb0(%v: f32):
    moe.yield %v : f32
  }
  return
}

// -----

func.func @f(%x: tensor<?x16xf32>, %o: tensor<3xindex>, %g: tensor<2x32x16xf32>, %d: tensor<2x16x32xf32>, %q: tensor<2x32x8xui8>, %s: tensor<2x32x1xf32>) {
  // expected-error @below {{bits = 3; 2, 4 and 8 are accepted}}
  %0 = moe.grouped_ffn %x offsets(%o : tensor<3xindex>) gate(%q, %s : tensor<2x32x8xui8>, tensor<2x32x1xf32>) down(%d : tensor<2x16x32xf32>) {gate_codes = #moe.codes<bits = 3>} : tensor<?x16xf32> -> tensor<?x16xf32> {
  ^bb0(%v: f32):
    moe.yield %v : f32
  }
  return
}

// -----

func.func @f(%x: tensor<?x17xf32>, %o: tensor<3xindex>, %g: tensor<2x32x16xf32>, %d: tensor<2x16x32xf32>, %q: tensor<2x32x8xui8>, %s: tensor<2x32x1xf32>) {
  // expected-error @below {{'gate' of type 'tensor<2x32x16xf32>' has extent 16 in dimension 2; 17 is accepted (width of 'rows')}}
  %0 = moe.grouped_ffn %x offsets(%o : tensor<3xindex>) gate(%g : tensor<2x32x16xf32>) down(%d : tensor<2x16x32xf32>) {} : tensor<?x17xf32> -> tensor<?x16xf32> {
  ^bb0(%v: f32):
    moe.yield %v : f32
  }
  return
}

// -----

func.func @f(%x: tensor<?x16xf32>, %o: tensor<3xindex>, %g: tensor<2x32x16xf32>, %d: tensor<2x16x32xf32>, %q: tensor<2x32x8xui8>, %s: tensor<2x32x1xf32>) {
  // expected-error @below {{'gate' of type 'tensor<2x32x16xf32>' has extent 32 in dimension 1; 64 is accepted (2I, I being the inner width of 'down')}}
  %0 = moe.grouped_ffn %x offsets(%o : tensor<3xindex>) gate(%q, %s : tensor<2x32x8xui8>, tensor<2x32x1xf32>) down(%d : tensor<2x16x32xf32>) {gate_codes = #moe.codes<bits = 4, block = 16>, gate_up = #moe.gate_up<concat>} : tensor<?x16xf32> -> tensor<?x16xf32> {
  ^bb0(%v: f32, %u: f32):
    moe.yield %v : f32
  }
  return
}

// -----

func.func @f(%x: tensor<?x16xf32>, %o: tensor<3xindex>, %g: tensor<2x32x16xf32>, %d: tensor<2x16x32xf32>, %q: tensor<2x32x8xui8>, %s: tensor<2x32x1xf32>) {
  // expected-error @below {{'results' of type 'tensor<?x15xf32>' has extent 15 in dimension 1; 16 is accepted (width of 'down')}}
  %0 = moe.grouped_ffn %x offsets(%o : tensor<3xindex>) gate(%g : tensor<2x32x16xf32>) down(%d : tensor<2x16x32xf32>) {} : tensor<?x16xf32> -> tensor<?x15xf32> {
  ^bb0(%v: f32):
    moe.yield %v : f32
  }
  return
}

// -----

func.func @f(%x: tensor<3x16xf32>, %o: tensor<3xindex>, %g: tensor<2x32x16xf32>, %d: tensor<2x16x32xf32>, %q: tensor<2x32x8xui8>, %s: tensor<2x32x1xf32>) {
  // expected-error @below {{'results' of type 'tensor<4x16xf32>' has extent 4 in dimension 0; 3 is accepted (rows)}}
  %0 = moe.grouped_ffn %x offsets(%o : tensor<3xindex>) gate(%g : tensor<2x32x16xf32>) down(%d : tensor<2x16x32xf32>) {} : tensor<3x16xf32> -> tensor<4x16xf32> {
  ^bb0(%v: f32):
    moe.yield %v : f32
  }
  return
}

// -----

func.func @f(%x: tensor<?x16xf32>, %o: tensor<3xindex>, %g: tensor<2x32x16xf32>, %d: tensor<2x16x32xf32>, %q: tensor<2x32x8xui8>, %s: tensor<2x32x1xf32>) {
  // expected-error @below {{has no 'offsets' for a bank of 2 experts; a bank of 1 is accepted without them}}
  %0 = moe.grouped_ffn %x gate(%g : tensor<2x32x16xf32>) down(%d : tensor<2x16x32xf32>) {} : tensor<?x16xf32> -> tensor<?x16xf32> {
  ^bb0(%v: f32):
    moe.yield %v : f32
  }
  return
}

// -----

func.func @f(%x: tensor<?x16xf32>, %o: tensor<2xindex>, %g: tensor<2x32x16xf32>, %d: tensor<2x16x32xf32>, %q: tensor<2x32x8xui8>, %s: tensor<2x32x1xf32>) {
  // expected-error @below {{'offsets' of type 'tensor<2xindex>' has extent 2 in dimension 0; 3 is accepted (experts and one more)}}
  %0 = moe.grouped_ffn %x offsets(%o : tensor<2xindex>) gate(%g : tensor<2x32x16xf32>) down(%d : tensor<2x16x32xf32>) {} : tensor<?x16xf32> -> tensor<?x16xf32> {
  ^bb0(%v: f32):
    moe.yield %v : f32
  }
  return
}

// -----

func.func @f(%x: tensor<?x16xf32>, %o: tensor<3xindex>, %g: tensor<2x64x16xf32>, %d: tensor<2x16x32xf32>, %q: tensor<2x32x8xui8>, %s: tensor<2x32x1xf32>) {
  // expected-error @below {{activation has arguments ('f32'); 2 of f32 are accepted with gate_up = interleave}}
  %0 = moe.grouped_ffn %x offsets(%o : tensor<3xindex>) gate(%g : tensor<2x64x16xf32>) down(%d : tensor<2x16x32xf32>) {gate_up = #moe.gate_up<interleave>} : tensor<?x16xf32> -> tensor<?x16xf32> {
  ^bb0(%v: f32):
    moe.yield %v : f32
  }
  return
}

// -----

func.func @f(%x: tensor<?x16xf32>, %o: tensor<3xindex>, %g: tensor<2x32x16xf32>, %d: tensor<2x16x32xf32>, %q: tensor<2x32x8xui8>, %s: tensor<2x32x1xf32>) {
  // expected-error @below {{activation has arguments ('f16'); 1 of f32 are accepted with gate_up = none}}
  %0 = moe.grouped_ffn %x offsets(%o : tensor<3xindex>) gate(%g : tensor<2x32x16xf32>) down(%d : tensor<2x16x32xf32>) {} : tensor<?x16xf32> -> tensor<?x16xf32> {
  ^bb0(%v: f16):
    %e = arith.extf %v : f16 to f32
    moe.yield %e : f32
  }
  return
}

// -----

func.func @f(%x: tensor<?x16xf32>, %o: tensor<3xindex>, %g: tensor<2x32x16xf32>, %d: tensor<2x16x32xf32>, %q: tensor<2x32x8xui8>, %s: tensor<2x32x1xf32>) {
  // expected-error @below {{activation must end in a 'moe.yield' of one f32}}
  %0 = moe.grouped_ffn %x offsets(%o : tensor<3xindex>) gate(%g : tensor<2x32x16xf32>) down(%d : tensor<2x16x32xf32>) {} : tensor<?x16xf32> -> tensor<?x16xf32> {
  ^bb0(%v: f32):
    %e = arith.truncf %v : f32 to f16
    moe.yield %e : f16
  }
  return
}

// -----

func.func @f(%x: tensor<?x16xf32>, %o: tensor<3xindex>, %g: tensor<2x32x16xf32>, %d: tensor<2x16x32xf32>, %q: tensor<2x32x8xui8>, %s: tensor<2x32x1xf32>) {
  // expected-error @below {{activation holds 'tensor.from_elements'; arithmetic on scalars is accepted}}
  %0 = moe.grouped_ffn %x offsets(%o : tensor<3xindex>) gate(%g : tensor<2x32x16xf32>) down(%d : tensor<2x16x32xf32>) {} : tensor<?x16xf32> -> tensor<?x16xf32> {
  ^bb0(%v: f32):
    // expected-note @below {{it is here}}
    %e = tensor.from_elements %v : tensor<1xf32>
    moe.yield %v : f32
  }
  return
}

// -----

func.func @f(%r: tensor<?x16xf32>, %p: tensor<3x2xindex>, %w: tensor<3x3xf32>) {
  // expected-error @below {{'y' of type 'tensor<4x16xf32>' has extent 4 in dimension 0; 3 is accepted (tokens of 'positions')}}
  %0 = moe.combine %r at(%p : tensor<3x2xindex>) : tensor<?x16xf32> -> tensor<4x16xf32>
  return
}

// -----

func.func @f(%r: tensor<?x16xf32>, %p: tensor<3x2xindex>, %w: tensor<3x3xf32>) {
  // expected-error @below {{'y' of type 'tensor<3x15xf32>' has extent 15 in dimension 1; 16 is accepted (width of 'results')}}
  %0 = moe.combine %r at(%p : tensor<3x2xindex>) : tensor<?x16xf32> -> tensor<3x15xf32>
  return
}

// -----

func.func @f(%r: tensor<?x16xf32>, %p: tensor<3x2xindex>, %w: tensor<3x3xf32>) {
  // expected-error @below {{'weights' of type 'tensor<3x3xf32>' has extent 3 in dimension 1; 2 is accepted (slots of 'positions')}}
  %0 = moe.combine %r at(%p : tensor<3x2xindex>) weights(%w : tensor<3x3xf32>) : tensor<?x16xf32> -> tensor<3x16xf32>
  return
}
