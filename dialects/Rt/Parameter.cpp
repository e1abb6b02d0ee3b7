//===- Parameter.cpp - #rt.parameter --------------------------------------===//

#include "dialects/Rt/RtDialect.h"

using namespace mlir;
using namespace moe::rt;

LogicalResult
ParameterAttr::verify(llvm::function_ref<InFlightDiagnostic()> emitError,
                      ShapedType type, int64_t number) {
  if (number < 0)
    return emitError() << "#rt.parameter has number " << number
                       << "; numbers start at 0";
  if (!type.hasStaticShape() || !getElementBytes(type.getElementType()))
    return emitError() << "#rt.parameter cannot stand for a constant of type "
                       << type;
  return success();
}

uint64_t ParameterAttr::getByteSize() const {
  return getType().getNumElements() *
         getElementBytes(getType().getElementType());
}

LogicalResult ParameterAttr::forEachChunk(
    llvm::function_ref<LogicalResult(ArrayRef<char>)>,
    llvm::function_ref<InFlightDiagnostic()> emitError) const {
  return emitError() << "#rt.parameter<" << getNumber()
                     << "> stands for no constant: it is in a function that is "
                        "not called with 'rt.arguments'";
}
