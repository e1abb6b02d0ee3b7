//===- Passes.td - from linalg on tensors to code for host --*- tablegen -*-===//
#ifndef MOE_PASSES_LOWER_HOST_PASSES_TD
#define MOE_PASSES_LOWER_HOST_PASSES_TD

include "mlir/Pass/PassBase.td"

def HostPreparePass : Pass<"moe-host-prepare", "::mlir::ModuleOp"> {
  let summary = "Record signatures and protect inputs and constants";
  let description = [{
    Public functions are the entries of the artifact. Their signature (names,
    element types, extents) is read off the tensors while these exist and kept
    as the attribute `rt.signature` of the function; an argument or result
    without `rt.name` is called `argN` or `resultN`.

    Arguments of entries belong to the caller, so they become read only
    (`bufferization.writable = false`). Constant tensors of more than
    `max-inline-bytes` become `rt.constant`, which keeps them out of the code.

    ```mlir
    func.func @main(%x: tensor<?x4xf32> {rt.name = "x"}) -> tensor<?x4xf32>
    // becomes
    func.func @main(%x: tensor<?x4xf32> {bufferization.writable = false, rt.name = "x"})
        -> tensor<?x4xf32>
        attributes {rt.signature = {inputs = [ {name = "x", dtype = 1 : i32,
                                                extents = array<i64: -1, 4>,
                                                symbols = ["", ""]} ], ...}}
    ```
  }];
  let options = [Option<"maxInlineBytes", "max-inline-bytes", "uint64_t",
                        "1024", "Largest constant kept beside the code">];
  let dependentDialects = ["::moe::rt::RtDialect",
                           "::mlir::bufferization::BufferizationDialect"];
}

def HostFusePass : Pass<"moe-host-fuse", "::mlir::func::FuncOp"> {
  let summary = "Fuse elementwise linalg operations on tensors";
  let description = [{
    Named operations become `linalg.generic`, then elementwise producers move
    into their consumers. A producer is fused only if that repeats no work: it
    has one use, or it is as cheap as a load (a copy, a transposition, a
    conversion); and its consumer reads each of its elements once. A fused
    operation reads at most `max-operands` tensors.
  }];
  let options = [Option<"maxOperands", "max-operands", "unsigned", "16",
                        "Most inputs of a fused operation">];
  let statistics = [Statistic<"numFused", "fused", "Producers fused">];
  let dependentDialects = ["::mlir::linalg::LinalgDialect",
                           "::mlir::affine::AffineDialect",
                           "::mlir::tensor::TensorDialect"];
}

def HostDensePass : Pass<"moe-host-dense", "::mlir::func::FuncOp"> {
  let summary = "Multiply with constant matrices panel by panel";
  let description = [{
    A contraction of rows with a constant matrix, or with one for each index of
    the outermost dimension, becomes `moe.grouped_linear`, whatever order the
    dims of the constant have. Elementwise operations that follow become its
    epilogue, up to the last one through which all that is computed from the
    product goes on. Products of less than 8 columns stay as they are.

    ```mlir
    func.func @f(%x: tensor<?x64xf32>, %bias: tensor<32xf32>, %n: index) -> tensor<?x32xf32> {
      %zero = arith.constant 0.0 : f32
      %w = arith.constant dense<0.5> : tensor<64x32xf32>
      %e = tensor.empty(%n) : tensor<?x32xf32>
      %i = linalg.fill ins(%zero : f32) outs(%e : tensor<?x32xf32>) -> tensor<?x32xf32>
      %p = linalg.generic {indexing_maps = [affine_map<(m, n, k) -> (m, k)>,
                                            affine_map<(m, n, k) -> (k, n)>,
                                            affine_map<(m, n, k) -> (m, n)>],
                           iterator_types = ["parallel", "parallel", "reduction"]}
          ins(%x, %w : tensor<?x64xf32>, tensor<64x32xf32>) outs(%i : tensor<?x32xf32>) {
      ^bb0(%a: f32, %b: f32, %acc: f32):
        %0 = arith.mulf %a, %b : f32
        %1 = arith.addf %acc, %0 : f32
        linalg.yield %1 : f32
      } -> tensor<?x32xf32>
      %y = linalg.generic {indexing_maps = [affine_map<(m, n) -> (m, n)>,
                                            affine_map<(m, n) -> (n)>,
                                            affine_map<(m, n) -> (m, n)>],
                           iterator_types = ["parallel", "parallel"]}
          ins(%p, %bias : tensor<?x32xf32>, tensor<32xf32>) outs(%e : tensor<?x32xf32>) {
      ^bb0(%a: f32, %b: f32, %out: f32):
        %0 = arith.addf %a, %b : f32
        linalg.yield %0 : f32
      } -> tensor<?x32xf32>
      return %y : tensor<?x32xf32>
    }
    // becomes, with views left out
    moe.grouped_linear rows(%x) banks(%w) extras(%bias)
        {inner = 64, layout = #moe.layout<io>, width = 32} out(%y) {
    ^bb0(%sum: f32, %b: f32):
      %0 = arith.addf %sum, %b : f32
      moe.yield %0 : f32
    }
    ```
  }];
  let statistics = [Statistic<"numProducts", "products", "Products taken over">];
  let dependentDialects = [
    "::moe::rt::RtDialect", "::moe::ir::MoEDialect",
    "::mlir::bufferization::BufferizationDialect",
    "::mlir::memref::MemRefDialect", "::mlir::arith::ArithDialect",
    "::mlir::scf::SCFDialect", "::mlir::tensor::TensorDialect"];
}

def HostResultsPass : Pass<"moe-host-results", "::mlir::func::FuncOp"> {
  let summary = "Give every result of a function a buffer of its own";
  let description = [{
    Buffers that an entry returns pass into the caller's hands. A returned
    buffer that is an argument, a constant, a view, or returned twice is copied
    into a new allocation:

    ```mlir
    func.func @f(%a: memref<4xf32>) -> memref<4xf32> {
      return %a : memref<4xf32>
    }
    // becomes
    func.func @f(%a: memref<4xf32>) -> memref<4xf32> {
      %0 = memref.alloc() : memref<4xf32>
      memref.copy %a, %0 : memref<4xf32> to memref<4xf32>
      return %0 : memref<4xf32>
    }
    ```
  }];
  let statistics = [Statistic<"numCopies", "copies", "Results copied">];
  let dependentDialects = ["::mlir::memref::MemRefDialect"];
}

def HostDeallocPass : Pass<"moe-host-dealloc", "::mlir::func::FuncOp"> {
  let summary = "Free buffers after their last use";
  let description = [{
    Inserts `memref.dealloc` behind the last operation of the allocating block
    that may use the buffer or a view of it. A buffer that leaves its block, by
    a terminator, is left alone: the runtime takes back at the end of a run what
    is not freed. So this pass has to be safe, not complete.
  }];
  let statistics = [Statistic<"numFreed", "freed", "Buffers freed">,
                    Statistic<"numKept", "kept",
                              "Buffers left until the end of the run">];
  let dependentDialects = ["::mlir::memref::MemRefDialect"];
}

def ProfileNodesPass : Pass<"moe-profile-nodes", "::mlir::ModuleOp"> {
  let summary = "Write the operators of nodes into their locations";
  let description = [{
    Lowered code keeps the locations of the nodes that it comes from. So that a
    profile can tell what a node was, the place of each operation of onnx,
    onnx_ms and moe gets the operator's name as the metadata of a fused location:

    ```mlir
    loc("/fc1/MatMul"("model.onnx":3:1))
    // becomes
    loc("/fc1/MatMul"(fused<"MatMul">["model.onnx":3:1]))
    ```
  }];
}

def ProfilePointsPass : Pass<"moe-profile-points", "::mlir::ModuleOp"> {
  let summary = "Tell a profile when operations begin and end";
  let description = [{
    Linalg operations, products, copies and loops on buffers that follow one
    another and belong to one node are an operation of the profile, named by all
    nodes whose computation is in them. What runs for `moe.experts` is divided by
    part. Loops and branches that hold other nodes are entered. At the end of an
    operation its floating-point operations and the bytes that it reads and
    writes are computed from extents; rows of experts are those that there are.

    ```mlir
    func.func @f(%x: memref<?xf32>) {
      linalg.generic ...
      return
    }
    // becomes
    module attributes {rt.profile_ops = [{kind = "Relu", name = "/act/Relu"} ]} {
      func.func @f(%x: memref<?xf32>) {
        %on = rt.profiling
        scf.if %on { rt.profile begin 0 flops %c0 bytes %c0 }
        linalg.generic ...
        scf.if %on { rt.profile end 0 flops %flops bytes %bytes }
        return
      }
    }
    ```
  }];
  let statistics = [Statistic<"numOperations", "operations",
                              "Operations of the profile">];
  let dependentDialects = [
    "::moe::rt::RtDialect", "::mlir::scf::SCFDialect",
    "::mlir::memref::MemRefDialect", "::mlir::arith::ArithDialect"];
}

def ExpandGroupedPass : Pass<"moe-expand-grouped", "::mlir::ModuleOp"> {
  let summary = "Expand products of experts into loops over kernels";
  let description = [{
    `moe.grouped_linear` becomes an `rt.parallel_for` whose tasks go through a
    run of panels of one expert's weights, for some of its rows, and call
    kernels: private functions that multiply 1 to 8 rows (1 to 6 with AVX2) with
    one panel. Constant weights are packed into panels (`#rt.panels`); others
    are converted a block of a panel at a time. The epilogue is computed on
    vectors. `moe.combine_rows` becomes a parallel loop over tokens.

    Codes of 2, 4 and 8 bits are multiplied as integers where the target can
    (`integer-dot`): rows are split into three digits of 8 bits first, with
    `activations=close` into two, with `rounded` into one. With
    `activations=f32`, in blocks that are no multiple of 16, and on other targets
    codes become f32 a block of a panel at a time; but for the first case that
    is a remark. bf16 is widened to f32 in registers, or with
    `activations=rounded`, where the target can (`bfloat-dot`), multiplied with
    rows of bf16.

    `moe.attend` becomes two parallel loops. The first one packs keys and values
    into panels, the second one computes the scores of 8 (6) rows at a time, and
    of them the results: no more than these rows of a task are in memory at
    once. Panels that no row of a task sees are left out. Where there are so few
    rows that each key is read once, keys and values are read where they are.
  }];
  let options = [
    Option<"vectorBits", "vector-bits", "unsigned", "512",
           "Width of the target's vector registers">,
    Option<"integerDot", "integer-dot", "bool", "false",
           "Whether the target multiplies bytes and adds up (vpdpbusd)">,
    Option<"bfloatDot", "bfloat-dot", "bool", "false",
           "Whether the target multiplies pairs of bf16 (vdpbf16ps)">,
    Option<"activations", "activations", "::moe::Activations",
           "::moe::Activations::Exact",
           "How exact activations beside weights of fewer bits stay",
           [{::llvm::cl::values(
               clEnumValN(::moe::Activations::F32, "f32", "f32 arithmetic"),
               clEnumValN(::moe::Activations::Exact, "exact",
                          "as exact as f32"),
               clEnumValN(::moe::Activations::Close, "close",
                          "errors below 1e-4"),
               clEnumValN(::moe::Activations::Rounded, "rounded",
                          "rounded to 8 bits beside codes, to bf16 beside "
                          "bf16"))}]>,
  ];
  let statistics = [
    Statistic<"numProducts", "products", "Products expanded">,
    Statistic<"numIntegers", "integer-products", "Of them as integers">,
    Statistic<"numAttentions", "attentions", "Attentions expanded">];
  let dependentDialects = [
    "::moe::rt::RtDialect", "::mlir::scf::SCFDialect",
    "::mlir::memref::MemRefDialect", "::mlir::arith::ArithDialect",
    "::mlir::vector::VectorDialect", "::mlir::LLVM::LLVMDialect"];
}

def LinalgToRtPass : Pass<"moe-linalg-to-rt", "::mlir::func::FuncOp"> {
  let summary = "Lower linalg on buffers to loops and parallel loops";
  let description = [{
    Each linalg operation becomes a loop nest. Its parallel dimensions, without
    the innermost one, are numbered in one sequence; blocks of that sequence
    and of the innermost dimension are the tasks of an `rt.parallel_for`. The
    size of a block depends on extents alone, so results do not depend on the
    number of threads.

    Where each operand is contiguous (or constant) along the innermost parallel
    dimension, the reduction runs outside that dimension on a block of vector
    accumulators; otherwise each element of the result is reduced in one go
    with a reassociable combiner, which LLVM vectorises.
  }];
  let options = [
    Option<"grain", "grain", "int64_t", "65536",
           "Scalar operations of a task, at least">,
    Option<"vectorBits", "vector-bits", "unsigned", "512",
           "Width of the target's vector registers">,
  ];
  let statistics = [Statistic<"numParallel", "parallel", "Parallel loops">,
                    Statistic<"numSerial", "serial", "Serial loop nests">];
  let dependentDialects = [
    "::moe::rt::RtDialect", "::mlir::scf::SCFDialect",
    "::mlir::memref::MemRefDialect", "::mlir::affine::AffineDialect",
    "::mlir::arith::ArithDialect", "::mlir::vector::VectorDialect"];
}

def ExpandMathPass : Pass<"moe-expand-math", "::mlir::func::FuncOp"> {
  let summary = "Replace math by code that LLVM can vectorise";
  let description = [{
    Half-precision math is done in f32. exp, expm1, tanh, erf, log, log2, log1p
    become polynomials on f32, rsqrt a division; what remains goes to libm when
    lowered. Roundings to bf16 and integer powers, for which LLVM would call
    functions of its own run-time library, become ordinary arithmetic.
  }];
  let dependentDialects = [
    "::mlir::arith::ArithDialect", "::mlir::math::MathDialect",
    "::mlir::vector::VectorDialect", "::mlir::scf::SCFDialect"];
}

def ExpandMetadataPass : Pass<"moe-expand-metadata", "::mlir::ModuleOp"> {
  let summary = "Turn views of buffers into offsets, sizes and strides";
  let description = [{
    What `expand-strided-metadata` does, without its limit on the number of
    rewrites: chains of views in a large model are longer than that.
  }];
  let dependentDialects = [
    "::mlir::affine::AffineDialect", "::mlir::arith::ArithDialect",
    "::mlir::memref::MemRefDialect"];
}

def LayoutWeightsPass : Pass<"moe-layout-weights", "::mlir::ModuleOp"> {
  let summary = "Place the constants of a module in a weight section";
  let description = [{
    Gives each `rt.constant` an offset in section 0, 64-byte aligned, identical
    attributes once, in the order of first use. The list of what lies where is
    the module's attribute `rt.weights`, from which the artifact is written. For
    modules that go into one artifact, one for each CPU, `layoutWeights` does so
    jointly: what several have in common is in a section of all of them.

    ```mlir
    %0 = rt.constant {value = dense<[1.0, 2.0]> : tensor<2xf32>} : memref<2xf32>
    // becomes
    %0 = rt.weight {section = 0 : i32, offset = 0 : i64} : memref<2xf32>
    // with `rt.weights`, a list of sections, holding this one:
    {name = "weights", constants = [
        {offset = 0 : i64, value = dense<[1.0, 2.0]> : tensor<2xf32>} ] }
    ```
  }];
}

def HostFunctionsPass : Pass<"moe-host-functions", "::mlir::ModuleOp"> {
  let summary = "Pass the environment in and a status out of functions";
  let description = [{
    Each function with a body gets the environment of the run as its first
    argument and a status code (`moe_code`) as its first result; calls hand the
    one on and check the other. Kernels (`rt.kernel`) stay as they are: they
    cannot fail, and parallel loops call them.

    ```mlir
    func.func @f(%a: memref<4xf32>) -> memref<4xf32>
    // becomes
    func.func @f(%env: !llvm.ptr, %a: memref<4xf32>) -> (i32, memref<4xf32>)
    ```
  }];
  let dependentDialects = ["::moe::rt::RtDialect",
                           "::mlir::LLVM::LLVMDialect",
                           "::mlir::arith::ArithDialect"];
}

def HostToLLVMPass : Pass<"moe-host-to-llvm", "::mlir::ModuleOp"> {
  let summary = "Convert bufferised code and the rt dialect to LLVM";
  let description = [{
    MLIR's own conversions, with allocation, checks and constants through the
    environment. An allocation that fails, or whose size does not fit 63 bits,
    ends the run with MOE_OUT_OF_MEMORY. `rt.parallel_for`, `rt.env` and
    `rt.fail` stay for `moe-outline-parallel`.
  }];
  let dependentDialects = ["::moe::rt::RtDialect",
                           "::mlir::LLVM::LLVMDialect"];
}

def OutlineParallelPass : Pass<"moe-outline-parallel", "::mlir::ModuleOp"> {
  let summary = "Outline the bodies of parallel loops";
  let description = [{
    The body of each `rt.parallel_for` becomes a function `(begin, end,
    closure)`; what it captures is stored into the closure, one stack slot per
    function that all its loops share, before the call of the environment's
    `parallel_for`. Also resolves `rt.env` and `rt.fail`.
  }];
  let dependentDialects = ["::moe::rt::RtDialect",
                           "::mlir::LLVM::LLVMDialect"];
}

def EmitEntriesPass : Pass<"moe-emit-entries", "::mlir::ModuleOp"> {
  let summary = "Wrap entries with the signature that a runtime calls";
  let description = [{
    For each function with `rt.signature` emits `NAME.run`, a function with the
    type of `moe_function::run`: builds descriptors of the inputs from
    `moe_buffer`s, calls the function, hands its results over.
  }];
  let dependentDialects = ["::mlir::LLVM::LLVMDialect"];
}

#endif // MOE_PASSES_LOWER_HOST_PASSES_TD
