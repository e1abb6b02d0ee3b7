//===- ExportTensor.h - attribute to TensorProto ----------------*- C++ -*-===//
#ifndef MOE_LIB_ONNX_EXPORTTENSOR_H
#define MOE_LIB_ONNX_EXPORTTENSOR_H

#include "mlir/IR/BuiltinAttributeInterfaces.h"
#include "llvm/ADT/SmallVector.h"
#include "lib/ONNX/Skeleton.h"
#include <deque>
#include <string>

namespace onnx {
class TensorProto;
} // namespace onnx

namespace moe {

/// Large element bytes that a model under construction refers to by number
/// (kPayloadKey). They stay where they are: in a mapped file, in the context.
struct Payloads {
  llvm::SmallVector<Payload> bytes;
  /// Owns what had to be brought into ONNX's form first.
  std::deque<std::string> made;
};

/// Fills in extents, element type and elements, which become a payload from
/// kFileThreshold bytes on. False with the reason in `error` if ONNX cannot
/// hold the elements or they cannot be read.
bool exportTensor(mlir::ElementsAttr elements, ::onnx::TensorProto &tensor,
                  Payloads &payloads, std::string &error);

} // namespace moe

#endif // MOE_LIB_ONNX_EXPORTTENSOR_H
