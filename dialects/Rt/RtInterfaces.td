//===- RtInterfaces.td - how the back end reads constants --*- tablegen -*-===//
#ifndef MOE_DIALECTS_RT_RTINTERFACES_TD
#define MOE_DIALECTS_RT_RTINTERFACES_TD

include "mlir/IR/OpBase.td"

def Rt_BytesAttrInterface : AttrInterface<"BytesAttrInterface"> {
  let description = [{
    Elements whose bytes are somewhere outside the context, such as in the file
    of the source model. The back end streams them into the artifact through
    this interface, so neither it nor the artifact writer has to know the
    dialect that such an attribute comes from, and no copy of a model is held
    in memory.

    The bytes are those of a dense, row-major, little-endian tensor of the
    attribute's type, in the form in which a model reads it from memory: one
    byte per `i1`, otherwise the bit width rounded up to whole bytes.
  }];
  let cppNamespace = "::moe::rt";
  let methods = [
    InterfaceMethod<"Number of bytes that `forEachChunk` delivers.",
                    "uint64_t", "getByteSize">,
    InterfaceMethod<[{
      Hands all bytes to `consume` in order, in chunks of any size. Stops and
      fails when `consume` fails, which has then told why. When the bytes cannot
      be read, reports the reason with `emitError` (file, offset, what went
      wrong) and fails.
    }], "::llvm::LogicalResult", "forEachChunk",
    (ins "::llvm::function_ref<::llvm::LogicalResult(::llvm::ArrayRef<char>)>":
           $consume,
         "::llvm::function_ref<::mlir::InFlightDiagnostic()>":$emitError)>,
  ];
}

#endif // MOE_DIALECTS_RT_RTINTERFACES_TD
