// RUN: moe-opt %s --split-input-file --verify-diagnostics

func.func @f(%rows: memref<?x48xf32>, %offsets: memref<3xindex>, %w0: memref<2x40x24xf32>, %out: memref<?x80xf32>) {
  // expected-error @below {{has 1 banks; gate_up = separate takes 2}}
  moe.grouped_linear rows(%rows : memref<?x48xf32>) offsets(%offsets : memref<3xindex>) banks(%w0 : memref<2x40x24xf32>) {inner = 24, width = 40, gate_up = #moe.gate_up<separate>}
      out(%out : memref<?x80xf32>) {
  ^bb0(%g: f32, %u: f32):
    moe.yield %g : f32
  }
  return
}

// -----

func.func @f(%rows: memref<?x48xf32>, %offsets: memref<3xindex>, %w0: memref<2x40x24xf32>, %b0: memref<2x40xf32>, %b1: memref<2x40xf32>, %out: memref<?x80xf32>) {
  // expected-error @below {{has 2 biases for 1 banks}}
  moe.grouped_linear rows(%rows : memref<?x48xf32>) offsets(%offsets : memref<3xindex>) banks(%w0 : memref<2x40x24xf32>) biases(%b0, %b1 : memref<2x40xf32>, memref<2x40xf32>) {inner = 24, width = 40}
      out(%out : memref<?x80xf32>) {
  ^bb0(%v: f32):
    moe.yield %v : f32
  }
  return
}

// -----

func.func @f(%rows: memref<?x48xf32>, %offsets: memref<3xindex>, %w0: memref<2x40x12xi8>, %s0: memref<2x40x1xf32>, %out: memref<?x80xf32>) {
  // expected-error @below {{bits = 3; 2, 4 and 8 are accepted}}
  moe.grouped_linear rows(%rows : memref<?x48xf32>) offsets(%offsets : memref<3xindex>) banks(%w0 : memref<2x40x12xi8>) scales(%s0 : memref<2x40x1xf32>) {inner = 24, width = 40, bits = 3}
      out(%out : memref<?x80xf32>) {
  ^bb0(%v: f32):
    moe.yield %v : f32
  }
  return
}

// -----

func.func @f(%rows: memref<?x48xf32>, %offsets: memref<3xindex>, %w0: memref<2x40x12xi8>, %out: memref<?x80xf32>) {
  // expected-error @below {{has codes without scales}}
  moe.grouped_linear rows(%rows : memref<?x48xf32>) offsets(%offsets : memref<3xindex>) banks(%w0 : memref<2x40x12xi8>) {inner = 24, width = 40, bits = 4}
      out(%out : memref<?x80xf32>) {
  ^bb0(%v: f32):
    moe.yield %v : f32
  }
  return
}

// -----

func.func @f(%rows: memref<?x48xf32>, %offsets: memref<3xindex>, %w0: memref<2x40x24xf32>, %out: memref<?x80xf32>) {
  // expected-error @below {{has scales, zeros or blocks without bits}}
  moe.grouped_linear rows(%rows : memref<?x48xf32>) offsets(%offsets : memref<3xindex>) banks(%w0 : memref<2x40x24xf32>) {inner = 24, width = 40, block = 8}
      out(%out : memref<?x80xf32>) {
  ^bb0(%v: f32):
    moe.yield %v : f32
  }
  return
}

// -----

func.func @f(%rows: memref<?x48xf32>, %offsets: memref<3xindex>, %w0: memref<2x40x12xi8>, %s0: memref<2x40x1xf32>, %out: memref<?x80xf32>) {
  // expected-error @below {{has codes in the layout io; oi is accepted}}
  moe.grouped_linear rows(%rows : memref<?x48xf32>) offsets(%offsets : memref<3xindex>) banks(%w0 : memref<2x40x12xi8>) scales(%s0 : memref<2x40x1xf32>) {inner = 24, width = 40, bits = 4, layout = #moe.layout<io>}
      out(%out : memref<?x80xf32>) {
  ^bb0(%v: f32):
    moe.yield %v : f32
  }
  return
}

// -----

func.func @f(%rows: memref<?x48xf32>, %offsets: memref<3xindex>, %w0: memref<2x40x?xf32>, %out: memref<?x80xf32>) {
  // expected-error @below {{bank has type 'memref<2x40x?xf32>'; a contiguous, static one is accepted}}
  moe.grouped_linear rows(%rows : memref<?x48xf32>) offsets(%offsets : memref<3xindex>) banks(%w0 : memref<2x40x?xf32>) {inner = 24, width = 40}
      out(%out : memref<?x80xf32>) {
  ^bb0(%v: f32):
    moe.yield %v : f32
  }
  return
}

// -----

func.func @f(%rows: memref<?x48xf32>, %offsets: memref<3xindex>, %w0: memref<2x40x25xf32>, %out: memref<?x80xf32>) {
  // expected-error @below {{banks have type 'memref<2x40x25xf32>'; a contiguous shape of [2, 40, 24] is accepted}}
  moe.grouped_linear rows(%rows : memref<?x48xf32>) offsets(%offsets : memref<3xindex>) banks(%w0 : memref<2x40x25xf32>) {inner = 24, width = 40}
      out(%out : memref<?x80xf32>) {
  ^bb0(%v: f32):
    moe.yield %v : f32
  }
  return
}

// -----

func.func @f(%rows: memref<?x48xf32>, %offsets: memref<3xindex>, %w0: memref<2x40x24xi8>, %out: memref<?x80xf32>) {
  // expected-error @below {{bank has elements of type 'i8'; floats are accepted without bits}}
  moe.grouped_linear rows(%rows : memref<?x48xf32>) offsets(%offsets : memref<3xindex>) banks(%w0 : memref<2x40x24xi8>) {inner = 24, width = 40}
      out(%out : memref<?x80xf32>) {
  ^bb0(%v: f32):
    moe.yield %v : f32
  }
  return
}

// -----

func.func @f(%rows: memref<?x48xf32>, %offsets: memref<3xindex>, %w0: memref<2x40x24xf32>, %s0: memref<2x40x1xf32>, %out: memref<?x80xf32>) {
  // expected-error @below {{bank has elements of type 'f32'; i8 is accepted with bits}}
  moe.grouped_linear rows(%rows : memref<?x48xf32>) offsets(%offsets : memref<3xindex>) banks(%w0 : memref<2x40x24xf32>) scales(%s0 : memref<2x40x1xf32>) {inner = 24, width = 40, bits = 8}
      out(%out : memref<?x80xf32>) {
  ^bb0(%v: f32):
    moe.yield %v : f32
  }
  return
}

// -----

func.func @f(%rows: memref<?x48xf32>, %offsets: memref<3xindex>, %w0: memref<2x40x11xi8>, %s0: memref<2x40x1xf32>, %out: memref<?x80xf32>) {
  // expected-error @below {{bank has type 'memref<2x40x11xi8>'; [2, 40, 12 or more] is accepted}}
  moe.grouped_linear rows(%rows : memref<?x48xf32>) offsets(%offsets : memref<3xindex>) banks(%w0 : memref<2x40x11xi8>) scales(%s0 : memref<2x40x1xf32>) {inner = 24, width = 40, bits = 4}
      out(%out : memref<?x80xf32>) {
  ^bb0(%v: f32):
    moe.yield %v : f32
  }
  return
}

// -----

func.func @f(%rows: memref<?x48xf32>, %offsets: memref<3xindex>, %w0: memref<2x40x12xi8>, %s0: memref<2x40x2xf32>, %out: memref<?x80xf32>) {
  // expected-error @below {{scales have type 'memref<2x40x2xf32>'; a contiguous shape of [2, 40, 3] is accepted}}
  moe.grouped_linear rows(%rows : memref<?x48xf32>) offsets(%offsets : memref<3xindex>) banks(%w0 : memref<2x40x12xi8>) scales(%s0 : memref<2x40x2xf32>) {inner = 24, width = 40, bits = 4, block = 8}
      out(%out : memref<?x80xf32>) {
  ^bb0(%v: f32):
    moe.yield %v : f32
  }
  return
}

// -----

func.func @f(%rows: memref<?x48xf32>, %offsets: memref<3xindex>, %w0: memref<2x40x12xi8>, %s0: memref<2x40x3xf32>, %z0: memref<2x20xi8>, %out: memref<?x80xf32>) {
  // expected-error @below {{zeros have type 'memref<2x20xi8>'; codes packed along N go with one block}}
  moe.grouped_linear rows(%rows : memref<?x48xf32>) offsets(%offsets : memref<3xindex>) banks(%w0 : memref<2x40x12xi8>) scales(%s0 : memref<2x40x3xf32>) zeros(%z0 : memref<2x20xi8>) {inner = 24, width = 40, bits = 4, block = 8}
      out(%out : memref<?x80xf32>) {
  ^bb0(%v: f32):
    moe.yield %v : f32
  }
  return
}

// -----

func.func @f(%rows: memref<?x48xf32>, %offsets: memref<3xindex>, %w0: memref<2x40x12xi8>, %s0: memref<2x40x3xf32>, %z0: memref<2x40x3xi8>, %out: memref<?x80xf32>) {
  // expected-error @below {{zeros have type 'memref<2x40x3xi8>'; a contiguous shape of [2, 40, 2] is accepted}}
  moe.grouped_linear rows(%rows : memref<?x48xf32>) offsets(%offsets : memref<3xindex>) banks(%w0 : memref<2x40x12xi8>) scales(%s0 : memref<2x40x3xf32>) zeros(%z0 : memref<2x40x3xi8>) {inner = 24, width = 40, bits = 4, block = 8}
      out(%out : memref<?x80xf32>) {
  ^bb0(%v: f32):
    moe.yield %v : f32
  }
  return
}

// -----

func.func @f(%rows: memref<?x48xf32>, %offsets: memref<3xindex>, %w0: memref<2x40x24xf32>, %b0: memref<2x41xf32>, %out: memref<?x80xf32>) {
  // expected-error @below {{biases have type 'memref<2x41xf32>'; a contiguous shape of [2, 40] is accepted}}
  moe.grouped_linear rows(%rows : memref<?x48xf32>) offsets(%offsets : memref<3xindex>) banks(%w0 : memref<2x40x24xf32>) biases(%b0 : memref<2x41xf32>) {inner = 24, width = 40}
      out(%out : memref<?x80xf32>) {
  ^bb0(%v: f32):
    moe.yield %v : f32
  }
  return
}

// -----

func.func @f(%rows: memref<?x23xf32>, %offsets: memref<3xindex>, %w0: memref<2x40x24xf32>, %out: memref<?x80xf32>) {
  // expected-error @below {{rows has type 'memref<?x23xf32>'; contiguous rows of at least 24 columns are accepted}}
  moe.grouped_linear rows(%rows : memref<?x23xf32>) offsets(%offsets : memref<3xindex>) banks(%w0 : memref<2x40x24xf32>) {inner = 24, width = 40}
      out(%out : memref<?x80xf32>) {
  ^bb0(%v: f32):
    moe.yield %v : f32
  }
  return
}

// -----

func.func @f(%rows: memref<?x48xf32>, %offsets: memref<3xindex>, %w0: memref<2x40x24xf32>, %out: memref<?x36xf32>) {
  // expected-error @below {{out has type 'memref<?x36xf32>'; contiguous rows of at least 40 columns are accepted}}
  moe.grouped_linear rows(%rows : memref<?x48xf32>) offsets(%offsets : memref<3xindex>) banks(%w0 : memref<2x40x24xf32>) {inner = 24, width = 40}
      out(%out : memref<?x36xf32>) {
  ^bb0(%v: f32):
    moe.yield %v : f32
  }
  return
}

// -----

func.func @f(%rows: memref<?x48xf32>, %offsets: memref<2xindex>, %w0: memref<2x40x24xf32>, %out: memref<?x80xf32>) {
  // expected-error @below {{offsets have type 'memref<2xindex>'; at least 3 are accepted}}
  moe.grouped_linear rows(%rows : memref<?x48xf32>) offsets(%offsets : memref<2xindex>) banks(%w0 : memref<2x40x24xf32>) {inner = 24, width = 40}
      out(%out : memref<?x80xf32>) {
  ^bb0(%v: f32):
    moe.yield %v : f32
  }
  return
}

// -----

func.func @f(%rows: memref<?x48xf32>, %offsets: memref<3xindex>, %w0: memref<2x80x24xf32>, %out: memref<?x80xf32>) {
  // expected-error @below {{epilogue has 1 arguments; 2 of f32 and an element of each of 0 extras are accepted}}
  moe.grouped_linear rows(%rows : memref<?x48xf32>) offsets(%offsets : memref<3xindex>) banks(%w0 : memref<2x80x24xf32>) {inner = 24, width = 40, gate_up = #moe.gate_up<concat>}
      out(%out : memref<?x80xf32>) {
  ^bb0(%v: f32):
    moe.yield %v : f32
  }
  return
}

// -----

func.func @f(%rows: memref<?x48xf32>, %offsets: memref<3xindex>, %w0: memref<2x40x24xf32>, %out: memref<?x80xf32>) {
  // expected-error @below {{epilogue must yield one 'f32'}}
  moe.grouped_linear rows(%rows : memref<?x48xf32>) offsets(%offsets : memref<3xindex>) banks(%w0 : memref<2x40x24xf32>) {inner = 24, width = 40}
      out(%out : memref<?x80xf32>) {
  ^bb0(%v: f32):
    moe.yield %v, %v : f32, f32
  }
  return
}

// -----

func.func @f(%rows: memref<?x48xf32>, %w0: memref<2x40x24xf32>, %out: memref<?x40xf32>) {
  // expected-error @below {{has 2 experts without offsets}}
  moe.grouped_linear rows(%rows : memref<?x48xf32>) banks(%w0 : memref<2x40x24xf32>) {inner = 24, width = 40}
      out(%out : memref<?x40xf32>) {
  ^bb0(%v: f32):
    moe.yield %v : f32
  }
  return
}

// -----

func.func @f(%rows: memref<?x48xf32>, %w0: memref<1x40x24xf32>, %extra: memref<?x36xf32>, %out: memref<?x40xf32>) {
  // expected-error @below {{extra has type 'memref<?x36xf32>'; contiguous rows of 1 or 40 columns are accepted}}
  moe.grouped_linear rows(%rows : memref<?x48xf32>) banks(%w0 : memref<1x40x24xf32>) extras(%extra : memref<?x36xf32>) {inner = 24, width = 40}
      out(%out : memref<?x40xf32>) {
  ^bb0(%v: f32, %x: f32):
    moe.yield %v : f32
  }
  return
}

// -----

func.func @f(%rows: memref<?x48xf32>, %w0: memref<1x40x24xf32>, %extra: memref<?x40xf16>, %out: memref<?x40xf16>) {
  // expected-error @below {{epilogue has 2 arguments; 1 of f32 and an element of each of 1 extras are accepted}}
  moe.grouped_linear rows(%rows : memref<?x48xf32>) banks(%w0 : memref<1x40x24xf32>) extras(%extra : memref<?x40xf16>) {inner = 24, width = 40}
      out(%out : memref<?x40xf16>) {
  ^bb0(%v: f32, %x: f32):
    %0 = arith.truncf %v : f32 to f16
    moe.yield %0 : f16
  }
  return
}

// -----

func.func @f(%rows: memref<?x32xf32>, %positions: memref<?x2xindex>, %out: memref<?x36xf32>) {
  // expected-error @below {{rows have type 'memref<?x32xf32>'; contiguous ones of at least 48 columns are accepted}}
  moe.combine_rows rows(%rows : memref<?x32xf32>) positions(%positions : memref<?x2xindex>) out(%out : memref<?x36xf32>)
  return
}

// -----

func.func @f(%rows: memref<?x48xf32>, %positions: memref<?x2xindex>, %out: memref<?x?xf32>) {
  // expected-error @below {{out has type 'memref<?x?xf32>'; contiguous rows of static width are accepted}}
  moe.combine_rows rows(%rows : memref<?x48xf32>) positions(%positions : memref<?x2xindex>) out(%out : memref<?x?xf32>)
  return
}
