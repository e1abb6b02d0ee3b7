//===- Passes.td - experts and routers ---------------------*- tablegen -*-===//
#ifndef MOE_PASSES_EXPERTS_PASSES_TD
#define MOE_PASSES_EXPERTS_PASSES_TD

include "mlir/Pass/PassBase.td"

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
