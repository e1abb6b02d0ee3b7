// RUN: moe-opt %s --split-input-file --verify-diagnostics

// expected-error @below {{needs a static type of rank 4 [E, panels, K, columns]}}
func.func private @f() attributes {t.a = #rt.panels<sources = [dense<0.0> : tensor<2x80x24xf32>], rows = 80, cols = 24, order = interleave, width = 40> : tensor<2x3x24xf32>}

// -----

// expected-error @below {{has 1 sources; order = separate takes 2}}
func.func private @f() attributes {t.a = #rt.panels<sources = [dense<0.0> : tensor<2x80x24xf32>], rows = 80, cols = 24, order = separate, width = 40> : tensor<2x3x24x32xf32>}

// -----

// expected-error @below {{bits = 3; 0, 2, 4 and 8 are accepted}}
func.func private @f() attributes {t.a = #rt.panels<sources = [dense<0.0> : tensor<2x80x24xf32>], rows = 80, cols = 24, order = interleave, width = 40, bits = 3> : tensor<2x3x24x32xf32>}

// -----

// expected-error @below {{rows = 0, cols = 24, width = 40; 1 or more is accepted for each}}
func.func private @f() attributes {t.a = #rt.panels<sources = [dense<0.0> : tensor<2x80x24xf32>], rows = 0, cols = 24, order = interleave, width = 40> : tensor<2x3x24x32xf32>}

// -----

// expected-error @below {{31 columns; an even number is accepted}}
func.func private @f() attributes {t.a = #rt.panels<sources = [dense<0.0> : tensor<2x80x24xf32>], rows = 80, cols = 24, order = interleave, width = 40> : tensor<2x3x24x31xf32>}

// -----

// expected-error @below {{2 panels of 16 do not hold a width of 40}}
func.func private @f() attributes {t.a = #rt.panels<sources = [dense<0.0> : tensor<2x80x24xf32>], rows = 80, cols = 24, order = interleave, width = 40> : tensor<2x2x24x32xf32>}

// -----

// expected-error @below {{a source has 80 columns of the product; order = plain with width = 40 takes 40}}
func.func private @f() attributes {t.a = #rt.panels<sources = [dense<0.0> : tensor<2x80x24xf32>], rows = 80, cols = 24, order = plain, width = 40> : tensor<2x2x24x32xf32>}

// -----

// expected-error @below {{a source is no elements attribute}}
func.func private @f() attributes {t.a = #rt.panels<sources = [1 : i32], rows = 80, cols = 24, order = interleave, width = 40> : tensor<2x3x24x32xf32>}

// -----

// expected-error @below {{a source has elements of type 'f32'; 8-bit integers are accepted}}
func.func private @f() attributes {t.a = #rt.panels<sources = [dense<0.0> : tensor<2x80x24xf32>], rows = 80, cols = 24, order = interleave, width = 40, bits = 4> : tensor<2x3x24x32xf32>}

// -----

// expected-error @below {{of elements of type 'f16'; of 'f32' it has f32}}
func.func private @f() attributes {t.a = #rt.panels<sources = [dense<0.0> : tensor<2x80x24xf32>], rows = 80, cols = 24, order = interleave, width = 40> : tensor<2x3x24x32xf16>}

// -----

// expected-error @below {{K = 25, a source has 24}}
func.func private @f() attributes {t.a = #rt.panels<sources = [dense<0.0> : tensor<2x80x24xf32>], rows = 80, cols = 24, order = interleave, width = 40> : tensor<2x3x25x32xf32>}

// -----

// expected-error @below {{a source of type 'tensor<2x80x23xf32>' has 14720 bytes; 2 matrices of 80 x 24 take 15360}}
func.func private @f() attributes {t.a = #rt.panels<sources = [dense<0.0> : tensor<2x80x23xf32>], rows = 80, cols = 24, order = interleave, width = 40> : tensor<2x3x24x32xf32>}

// -----

// Words of codes end at a multiple of 32 codes: 24 codes of 4 bits are 4 words.
// expected-error @below {{K = 5, a source has 4}}
func.func private @f() attributes {t.a = #rt.panels<sources = [dense<0> : tensor<2x40x12xui8>], rows = 40, cols = 24, width = 40, bits = 4> : tensor<2x2x5x32xi32>}

// -----

// expected-error @below {{words of codes are not transposed}}
func.func private @f() attributes {t.a = #rt.panels<sources = [dense<0> : tensor<2x40x16xui8>], rows = 40, cols = 32, transposed = true, width = 32, bits = 4> : tensor<2x1x4x32xi32>}

// -----

// expected-error @below {{of elements of type 'i32'; of 'ui8' it has i8}}
func.func private @f() attributes {t.a = #rt.panels<sources = [dense<0> : tensor<2x40x16xui8>], rows = 40, cols = 16, width = 40> : tensor<2x2x4x32xi32>}

// -----

// expected-error @below {{K = 13, a source has 12}}
func.func private @f() attributes {t.a = #rt.panels<sources = [dense<0.0> : tensor<2x40x24xbf16>], rows = 40, cols = 24, width = 40> : tensor<2x2x13x32xi32>}

// -----

// expected-error @below {{of elements of type 'i32'; of 'f16' it has f32 or f16}}
func.func private @f() attributes {t.a = #rt.panels<sources = [dense<0.0> : tensor<2x40x24xf16>], rows = 40, cols = 24, width = 40> : tensor<2x2x12x32xi32>}
