// Ops of a layer must name one plan: what it says is not checked again.
// RUN: moe-opt %s --onnx-to-linalg --split-input-file --verify-diagnostics

func.func @mixed(%x: tensor<?x8xf32>, %i: tensor<?x1xi32>, %j: tensor<?x1xi32>) -> tensor<?x8xf32> {
  %o0, %t0, %p0 = moe.plan %i {experts = 2} : tensor<?x1xi32> -> tensor<3xindex>, tensor<?xindex>, tensor<?x1xindex>
  %o1, %t1, %p1 = moe.plan %j {experts = 2} : tensor<?x1xi32> -> tensor<3xindex>, tensor<?xindex>, tensor<?x1xindex>
  // expected-error @below {{has no lowering to host code for offsets, tokens and positions that are not those of one moe.plan}}
  %rows = moe.dispatch %x plan(%o0, %t1, %p0 : tensor<3xindex>, tensor<?xindex>, tensor<?x1xindex>)
      : tensor<?x8xf32> -> tensor<?x8xf32>
  return %rows : tensor<?x8xf32>
}

// -----

func.func @argument(%x: tensor<?x8xf32>, %i: tensor<?x1xi32>, %a: tensor<2x8x8xf32>) -> tensor<?x8xf32> {
  %o, %t, %p = moe.plan %i {experts = 2} : tensor<?x1xi32> -> tensor<3xindex>, tensor<?xindex>, tensor<?x1xindex>
  // expected-error @below {{has no lowering to host code for rows that no moe.dispatch gave with the plan that offsets are of}}
  %y = moe.grouped_ffn %x offsets(%o : tensor<3xindex>) gate(%a : tensor<2x8x8xf32>) down(%a : tensor<2x8x8xf32>)
      : tensor<?x8xf32> -> tensor<?x8xf32> {
  ^bb0(%v: f32):
    moe.yield %v : f32
  }
  return %y : tensor<?x8xf32>
}

// -----

func.func @without(%x: tensor<?x8xf32>, %i: tensor<?x1xi32>, %a: tensor<1x8x8xf32>) -> tensor<?x8xf32> {
  %o, %t, %p = moe.plan %i {experts = 1} : tensor<?x1xi32> -> tensor<2xindex>, tensor<?xindex>, tensor<?x1xindex>
  %rows = moe.dispatch %x plan(%o, %t, %p : tensor<2xindex>, tensor<?xindex>, tensor<?x1xindex>)
      : tensor<?x8xf32> -> tensor<?x8xf32>
  // expected-error @below {{has no lowering to host code for rows of a plan without its offsets}}
  %y = moe.grouped_ffn %rows gate(%a : tensor<1x8x8xf32>) down(%a : tensor<1x8x8xf32>)
      : tensor<?x8xf32> -> tensor<?x8xf32> {
  ^bb0(%v: f32):
    moe.yield %v : f32
  }
  return %y : tensor<?x8xf32>
}

// -----

func.func @results(%x: tensor<?x8xf32>, %i: tensor<?x1xi32>) -> tensor<?x8xf32> {
  %o, %t, %p = moe.plan %i {experts = 2} : tensor<?x1xi32> -> tensor<3xindex>, tensor<?xindex>, tensor<?x1xindex>
  // expected-error @below {{has no lowering to host code for results that no moe.grouped_ffn gave with the plan that positions are of}}
  %y = moe.combine %x at(%p : tensor<?x1xindex>) : tensor<?x8xf32> -> tensor<?x8xf32>
  return %y : tensor<?x8xf32>
}

// -----

// expected-error @below {{output #0 has type 'tensor<3xindex>'; accepted: tensors of known rank of bool}}
func.func @signature(%i: tensor<?x1xi32>) -> tensor<3xindex> {
  %o, %t, %p = moe.plan %i {experts = 2} : tensor<?x1xi32> -> tensor<3xindex>, tensor<?xindex>, tensor<?x1xindex>
  return %o : tensor<3xindex>
}

// -----

func.func @width(%x: tensor<?x?xf32>) -> tensor<?x?xf32> {
  // expected-error @below {{has no lowering to host code for rows of unknown width}}
  %rows = moe.dispatch %x {in_scale = 2.0} : tensor<?x?xf32> -> tensor<?x?xf32>
  return %rows : tensor<?x?xf32>
}

// -----

func.func @weights(%x: tensor<?x8xf32>, %a: tensor<1x?x8xf32>, %b: tensor<1x8x?xf32>) -> tensor<?x8xf32> {
  // expected-error @below {{has no lowering to host code for weights of unknown extents}}
  %y = moe.grouped_ffn %x gate(%a : tensor<1x?x8xf32>) down(%b : tensor<1x8x?xf32>)
      : tensor<?x8xf32> -> tensor<?x8xf32> {
  ^bb0(%v: f32):
    moe.yield %v : f32
  }
  return %y : tensor<?x8xf32>
}
