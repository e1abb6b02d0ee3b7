//===- MoEVerify.cpp - what the verifiers of moe ops share ----------------===//

#include "dialects/MoE/MoEVerify.h"
#include "mlir/IR/Diagnostics.h"
#include "mlir/IR/Matchers.h"
#include "mlir/IR/TypeUtilities.h"

using namespace mlir;

int64_t moe::ir::getExtent(Value value, int64_t i) {
  auto type = value ? dyn_cast<RankedTensorType>(value.getType()) : nullptr;
  if (!type)
    return ShapedType::kDynamic;
  if (i < 0)
    i += type.getRank();
  return i >= 0 && i < type.getRank() ? type.getDimSize(i)
                                      : ShapedType::kDynamic;
}

LogicalResult moe::ir::ExtentCheck::operator()(StringRef name, Value value,
                                               int64_t i, int64_t expected,
                                               const Twine &of) const {
  if (!value || !differ(getExtent(value, i), expected))
    return success();
  return op->emitOpError() << "'" << name << "' of type " << value.getType()
                           << " has extent " << getExtent(value, i)
                           << " in dimension " << i << "; " << expected
                           << " is accepted (" << of << ")";
}

DenseIntElementsAttr moe::ir::getConstantIds(Value value) {
  Attribute attr;
  if (!value || !matchPattern(value, m_Constant(&attr)))
    return {};
  return dyn_cast<DenseIntElementsAttr>(attr);
}

LogicalResult moe::ir::checkConstantIds(Operation *op, StringRef name,
                                        Value value, int64_t least,
                                        int64_t end) {
  DenseIntElementsAttr ids = getConstantIds(value);
  if (!ids || ShapedType::isDynamic(end))
    return success();
  for (const APInt &id : ids.getValues<APInt>())
    if (id.getSExtValue() < least || id.getSExtValue() >= end)
      return op->emitOpError()
             << "'" << name << "' holds " << id.getSExtValue() << "; " << least
             << " to " << end - 1 << " are accepted";
  return success();
}

LogicalResult moe::ir::checkWeightType(Operation *op, Value weights,
                                       Value logits) {
  Type given = getElementTypeOrSelf(weights), of = getElementTypeOrSelf(logits);
  if (given.isF64() == of.isF64())
    return success();
  return op->emitOpError() << "gives weights of type " << given
                           << " for logits of type " << of << "; "
                           << (of.isF64() ? "f64" : "f32") << " is accepted";
}
