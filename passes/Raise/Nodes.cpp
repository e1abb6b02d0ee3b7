//===- Nodes.cpp - making nodes around what is raised ---------------------===//

#include "passes/Raise/Nodes.h"
#include "dialects/ONNX/ONNXDialect.h"
#include "dialects/ONNX/Signatures.h"
#include "mlir/IR/BuiltinOps.h"

using namespace mlir;
using namespace moe;

int64_t moe::getOpset(Operation *op) {
  auto module = op->getParentOfType<ModuleOp>();
  auto imports =
      module ? module->getAttrOfType<DictionaryAttr>(onnx::names::kOpsetImport)
             : DictionaryAttr();
  for (StringRef domain : {"ai.onnx", ""})
    if (imports)
      if (auto version = dyn_cast_or_null<IntegerAttr>(imports.get(domain)))
        return version.getValue().getLimitedValue(INT64_MAX);
  return onnx::getNewestOpset();
}

Location NodeBuilder::nameOf(StringRef opName) {
  auto named = dyn_cast<NameLoc>(loc);
  if (!named || named.getName().empty())
    return loc;
  std::string text = (named.getName().getValue() + "/" +
                      opName.rsplit('.').second + "_" + Twine(counter++))
                         .str();
  return NameLoc::get(b.getStringAttr(text), named.getChildLoc());
}

Value NodeBuilder::create(StringRef name, ArrayRef<Value> operands, Type type,
                          ArrayRef<NamedAttribute> attrs, bool isMain) {
  const onnx::OpSignature *signature = onnx::lookupSignature(name);
  assert(signature && "no such operator");
  OperationState state(isMain ? loc : nameOf(name), name);
  for (Value operand : operands)
    if (operand)
      state.operands.push_back(operand);
  if (signature->hasOperandSegments()) {
    SmallVector<int32_t> segments;
    for (size_t i = 0; i < signature->operands.size(); ++i)
      segments.push_back(i < operands.size() && operands[i]);
    state.addAttribute("operandSegmentSizes", b.getDenseI32ArrayAttr(segments));
  }
  state.addTypes(type);
  state.addAttributes(attrs);
  return b.create(state)->getResult(0);
}

Value NodeBuilder::reshape(Value value, Value shape, Type type) {
  SmallVector<NamedAttribute, 1> attrs;
  if (getOpset(b.getInsertionBlock()->getParentOp()) >= 14)
    attrs.push_back(b.getNamedAttr("allowzero", b.getI64IntegerAttr(1)));
  return create("onnx.Reshape", {value, shape}, type, attrs);
}
