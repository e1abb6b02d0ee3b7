//===- Passes.td - experts and routers ---------------------*- tablegen -*-===//
#ifndef MOE_PASSES_EXPERTS_PASSES_TD
#define MOE_PASSES_EXPERTS_PASSES_TD

include "mlir/Pass/PassBase.td"

def MoEDecompose : Pass<"moe-decompose", "::mlir::ModuleOp"> {
  let summary = "rewrite moe ops into plain ONNX operators";
  let description = [{
    Replaces every op that says what experts and routers compute by a graph of
    `onnx` ops that computes the same. A model is written as ONNX this way, and
    what a target has no lowering for is compiled this way.

    For `moe.experts` there are three graphs. `gather` has a fixed number of
    nodes and gathers the matrices of an expert for every slot. `loop` has some
    nodes per expert, which search the slots that picked it. `grouped` sorts the
    slots by expert once and cuts the rows into one part per expert. All take
    any number of tokens, experts that nobody picks and slots that are left out
    (id -1), and end the run for an id that is out of range. Results of slots
    are added in the order of slots.

    ```mlir
    %y = moe.experts %x route(%ids, %w : tensor<?x2xi32>, tensor<?x2xf32>)
        gate(%up : tensor<8x128x64xf32>) down(%down : tensor<8x64x128xf32>)
        : tensor<?x64xf32> -> tensor<?x64xf32> {
    ^bb0(%h: tensor<f32>):
      %a = onnx.Relu(%h) : (tensor<f32>) -> tensor<f32>
      moe.yield %a : tensor<f32>
    }
    ```
    becomes with `form=gather`, where all ids surely name experts,
    ```mlir
    rows = Reshape(Expand(Unsqueeze(x, 1), [1, 2, 64]), [-1, 64])
    which = Reshape(Cast(ids), [-1])
    h = Relu(Squeeze(MatMul(Gather(up, which), Unsqueeze(rows, 2)), 2))
    r = Squeeze(MatMul(Gather(down, which), Unsqueeze(h, 2)), 2)
    s0, s1 = Split(Reshape(r * Unsqueeze(Reshape(w, [-1]), 1), [-1, 2, 64]), [1, 1])
    y = Squeeze(s0 + s1, 1)
    ```

    The operators fit the opset of the model. Types of the new values are
    inferred before the pass ends.
  }];
  let options = [
    Option<"form", "form", "::moe::ExpertsForm",
           /*default=*/"::moe::ExpertsForm::Grouped",
           "Graph for moe.experts", [{::llvm::cl::values(
             clEnumValN(::moe::ExpertsForm::Gather, "gather",
                        "gather the matrices of each slot"),
             clEnumValN(::moe::ExpertsForm::Loop, "loop",
                        "search the slots of each expert"),
             clEnumValN(::moe::ExpertsForm::Grouped, "grouped",
                        "sort the slots by expert"))}]>,
    ListOption<"ops", "ops", "std::string",
               "Ops to rewrite, such as moe.mix,moe.switch (default: all)">,
    Option<"fallback", "fallback", "bool", "false",
           "Only ops that cannot be compiled otherwise, with a remark for each">,
    Option<"opset", "opset", "int64_t", "0",
           "Opset of ai.onnx to fit (0: that of the model)">,
  ];
  let statistics = [
    Statistic<"numDecomposed", "decomposed", "Ops rewritten">,
  ];
  let dependentDialects = ["::moe::onnx::ONNXDialect"];
}

def MoEReport : Pass<"moe-report", "::mlir::ModuleOp"> {
  let summary = "print what the experts and routers of a model are and cost";
  let description = [{
    One entry for each layer of experts, in the order of the model: kind, number
    of experts E, experts per token k, widths H (tokens) and I (inner), routing,
    activation (its name, or `custom`), shared experts, parameters, and for T =
    1, 64 and 512 tokens at once the floating-point operations and the bytes of
    weights per token. The module stays as it is.

    A feed-forward network holds P weights: 3HI if it is gated, 2HI if not.
    Operations per token: 2HE for the router (taken for one matrix), 2kP for the
    experts, 2P for each shared one. With trivial experts among the E that the
    router knows, k counts the share of the bank. Weights are read once for all
    tokens that are there: at T tokens with k of E experts picked evenly, of the
    bank's experts the share 1 - (1 - k/E)^T is read, and all of the shared
    ones. Bytes are those of the stored form (codes, scales and zero points of
    `moe.dequantize`).

    A dense `moe.experts` on the same tokens whose result is added to that of
    routed ones is their shared expert.

    ```
    moe-opt model.onnx --moe-report -o /dev/null
    moe-opt model.onnx --moe-report="format=json output=report.json" -o /dev/null
    ```
  }];
  let options = [
    Option<"format", "format", "::moe::ReportFormat",
           /*default=*/"::moe::ReportFormat::Text",
           "How the report is written", [{::llvm::cl::values(
             clEnumValN(::moe::ReportFormat::Text, "text", "for reading"),
             clEnumValN(::moe::ReportFormat::Json, "json", "for programs"))}]>,
    Option<"output", "output", "std::string", /*default=*/"\"-\"",
           "File to write (-: standard output)">,
  ];
}

#endif // MOE_PASSES_EXPERTS_PASSES_TD
