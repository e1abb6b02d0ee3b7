//===- Passes.td - how experts run -------------------------*- tablegen -*-===//
#ifndef MOE_PASSES_SCHEDULE_PASSES_TD
#define MOE_PASSES_SCHEDULE_PASSES_TD

include "mlir/Pass/PassBase.td"

def MoESchedule : Pass<"moe-schedule", "::mlir::ModuleOp"> {
  let summary = "say how experts run";
  let description = [{
    `moe.experts` becomes `moe.plan` (which rows each expert gets),
    `moe.dispatch` (tokens in that order), `moe.grouped_ffn` (both products and
    the activation between them) and `moe.combine` (the sums of tokens). A layer
    without routing is one `moe.grouped_ffn` on all tokens, behind a
    `moe.dispatch` without a plan if its input is scaled.

    The activation becomes arithmetic on scalars, by the rules of
    `onnx-to-linalg`. Banks that are results of `moe.dequantize` are read as the
    codes they are: if the layout is `oi`, and gate and up, where they are
    separate, are codes of one kind. Others are decoded as a whole, with a
    `missed` remark. Banks that a node widens from f16 or bf16 are read as they
    are stored.

    Plans depend on ids alone, and all four ops are pure: `cse` leaves one plan
    to layers that route alike.

    ```mlir
    %y = moe.experts %x route(%ids, %w : tensor<?x2xi32>, tensor<?x2xf32>)
        gate(%up : tensor<8x128x64xf32>) down(%down : tensor<8x64x128xf32>)
        : tensor<?x64xf32> -> tensor<?x64xf32> {
    ^bb0(%h: tensor<f32>):
      %a = onnx.Relu(%h) : (tensor<f32>) -> tensor<f32>
      moe.yield %a : tensor<f32>
    }
    ```
    becomes
    ```mlir
    %offsets, %tokens, %positions = moe.plan %ids {experts = 8}
        : tensor<?x2xi32> -> tensor<9xindex>, tensor<?xindex>, tensor<?x2xindex>
    %rows = moe.dispatch %x
        plan(%offsets, %tokens, %positions : tensor<9xindex>, tensor<?xindex>, tensor<?x2xindex>)
        : tensor<?x64xf32> -> tensor<?x64xf32>
    %results = moe.grouped_ffn %rows offsets(%offsets : tensor<9xindex>)
        gate(%up : tensor<8x128x64xf32>) down(%down : tensor<8x64x128xf32>)
        : tensor<?x64xf32> -> tensor<?x64xf32> {
    ^bb0(%h: f32):
      %zero = arith.constant 0.0 : f32
      %a = arith.maximumf %h, %zero : f32
      moe.yield %a : f32
    }
    %y = moe.combine %results at(%positions : tensor<?x2xindex>)
        weights(%w : tensor<?x2xf32>) : tensor<?x64xf32> -> tensor<?x64xf32>
    ```

    Experts whose weights have unknown extents, or whose activation has no form
    on scalars, stay as they are, with a `missed` remark that says why;
    `moe-decompose` with `fallback` then writes them as plain operators.
  }];
  let statistics = [
    Statistic<"numRouted", "routed", "Layers that run on the rows of a plan">,
    Statistic<"numDense", "dense", "Layers that run on all tokens">,
    Statistic<"numCoded", "coded", "Banks that are read as codes">,
    Statistic<"numDeclined", "declined", "Layers left as they were">,
  ];
  let dependentDialects = [
    "::mlir::arith::ArithDialect", "::mlir::math::MathDialect",
    "::mlir::scf::SCFDialect", "::moe::ir::MoEDialect"
  ];
}

#endif // MOE_PASSES_SCHEDULE_PASSES_TD
