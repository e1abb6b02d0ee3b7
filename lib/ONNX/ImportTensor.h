//===- ImportTensor.h - TensorProto to attribute ----------------*- C++ -*-===//
#ifndef MOE_LIB_ONNX_IMPORTTENSOR_H
#define MOE_LIB_ONNX_IMPORTTENSOR_H

#include "mlir/IR/BuiltinAttributeInterfaces.h"
#include "mlir/IR/Diagnostics.h"

namespace onnx {
class TensorProto;
} // namespace onnx

namespace moe {

class ModelFile;

/// Element bytes of a tensor as ONNX's raw_data has them, and the attribute
/// that holds them: `#onnx.file` if they lie in a file and are large, else
/// dense elements. Null if something is wrong, which `emitError` was told:
/// element type, extents, a count or size that does not fit the shape, an
/// external file that is missing, too short or outside of the model's folder.
mlir::ElementsAttr
importTensor(const ::onnx::TensorProto &tensor, ModelFile &file,
             mlir::MLIRContext *context,
             llvm::function_ref<mlir::InFlightDiagnostic()> emitError);

} // namespace moe

#endif // MOE_LIB_ONNX_IMPORTTENSOR_H
