//===- Alike.cpp - whether two sequences of ops compute alike -------------===//

#include "passes/Share/Alike.h"

#include "dialects/ONNX/ONNXDialect.h"
#include "lib/Analysis/Dims.h"
#include "mlir/IR/OpDefinition.h"
#include "llvm/ADT/StringExtras.h"

using namespace mlir;
using namespace moe;
using namespace moe::share;

/// Fewest elements of a constant that only computation reads. The longest list
/// of numbers that tells an operator what to do has one for each dimension.
static constexpr int64_t leastElements = 16;

bool share::isConstant(Operation *op) {
  return op->hasTrait<OpTrait::ConstantLike>();
}

bool share::canBeParameter(Operation *constant) {
  ElementsAttr value = onnx::getConstantElements(constant);
  if (!value)
    return false;
  ShapedType type = value.getShapedType();
  Type element = type.getElementType();
  if (!type.hasStaticShape() || type.getNumElements() < leastElements)
    return false;
  return element.isF16() || element.isBF16() || element.isF32() ||
         element.isF64() || element.isInteger(8);
}

/// Attributes that name things, or extents: they are compared on their own or
/// not at all.
static bool isNaming(StringRef name) {
  return name == onnx::names::kOutputs || name == onnx::names::kName ||
         name == onnx::names::kMetadata || name == onnx::names::kDoc ||
         name == onnx::names::kDims || name == kValuesAttr ||
         name == kRegionDimsAttr;
}

static SmallVector<NamedAttribute> meaningOf(Operation *op) {
  SmallVector<NamedAttribute> attributes;
  for (NamedAttribute attribute : op->getAttrs())
    if (!isNaming(attribute.getName()))
      attributes.push_back(attribute);
  if (Attribute properties = op->getPropertiesAsAttribute())
    attributes.emplace_back(StringAttr::get(op->getContext(), "properties"),
                            properties);
  return attributes;
}

llvm::hash_code share::hashOf(Operation *op) {
  llvm::hash_code hash =
      llvm::hash_combine(op->getName(), op->getNumOperands());
  for (Type type : op->getResultTypes())
    hash = llvm::hash_combine(hash, type);
  for (NamedAttribute attribute : meaningOf(op))
    hash = llvm::hash_combine(hash, attribute.getName(), attribute.getValue());
  for (Value operand : op->getOperands()) {
    hash = llvm::hash_combine(hash, operand.getType());
    Operation *def = operand.getDefiningOp();
    if (def && isConstant(def) && !canBeParameter(def))
      hash = llvm::hash_combine(hash, onnx::getConstantElements(def));
  }
  for (Region &region : op->getRegions())
    for (Block &block : region)
      for (Operation &inner : block)
        hash = llvm::hash_combine(hash, inner.getName());
  return hash;
}

bool Alike::differ(Operation *model, Operation *other, const Twine &how) {
  if (reason.empty())
    reason = (model->getName().getStringRef() + " and " +
              other->getName().getStringRef() + " differ in " + how)
                 .str();
  return false;
}

bool Alike::match(ArrayRef<Operation *> models, ArrayRef<Operation *> others) {
  for (auto [model, other] : llvm::zip_equal(models, others))
    if (!matchOp(model, other))
      return false;
  return true;
}

bool Alike::matchOp(Operation *model, Operation *other) {
  if (model->getName() != other->getName())
    return differ(model, other, "what they are");
  if (model->getResultTypes() != other->getResultTypes())
    return differ(model, other, "the types of their results");
  if (meaningOf(model) != meaningOf(other))
    return differ(model, other, "their attributes");
  if (model->getNumOperands() != other->getNumOperands())
    return differ(model, other, "the number of their operands");
  for (unsigned i = 0; i < model->getNumOperands(); ++i)
    if (!matchOperand(model->getOperand(i), other->getOpOperand(i)))
      return differ(model, other, "operand #" + Twine(i));
  for (StringRef name : {StringRef(onnx::names::kDims), StringRef(kValuesAttr),
                         StringRef(kRegionDimsAttr)})
    if (!matchTexts(model->getDiscardableAttr(name),
                    other->getDiscardableAttr(name)))
      return differ(model, other, "which of their extents are equal");
  for (auto [a, b] : llvm::zip_equal(model->getRegions(), other->getRegions()))
    if (!matchRegion(a, b))
      return differ(model, other, "their bodies");
  for (auto [a, b] : llvm::zip_equal(model->getResults(), other->getResults()))
    inside[a] = b;
  return true;
}

bool Alike::matchRegion(Region &model, Region &other) {
  if (model.getBlocks().size() != other.getBlocks().size())
    return false;
  for (auto [a, b] : llvm::zip_equal(model, other)) {
    if (a.getArgumentTypes() != b.getArgumentTypes())
      return false;
    for (auto [x, y] : llvm::zip_equal(a.getArguments(), b.getArguments()))
      inside[x] = y;
    auto isPart = [](Operation &op) { return !isConstant(&op); };
    auto x = llvm::make_filter_range(a, isPart);
    auto y = llvm::make_filter_range(b, isPart);
    auto i = x.begin(), j = y.begin();
    for (; i != x.end() && j != y.end(); ++i, ++j)
      if (!matchOp(&*i, &*j))
        return false;
    if (i != x.end() || j != y.end())
      return false;
  }
  return true;
}

bool Alike::matchOperand(Value model, OpOperand &other) {
  Value value = other.get();
  if (model.getType() != value.getType())
    return false;
  Operation *a = model.getDefiningOp(), *b = value.getDefiningOp();
  if ((a && isConstant(a)) || (b && isConstant(b)))
    return a && b && isConstant(a) && isConstant(b) &&
           matchConstant(model, value);
  auto known = inside.find(model);
  if (known != inside.end())
    return known->second == value;
  auto [input, isNew] = inputs.try_emplace(model, &other);
  return isNew ? matchExtents(model, value) : input->second->get() == value;
}

bool Alike::matchConstant(Value model, Value other) {
  auto [known, isNew] = constants.try_emplace(model, other);
  if (!isNew)
    return known->second == other ||
           onnx::getConstantElements(known->second.getDefiningOp()) ==
               onnx::getConstantElements(other.getDefiningOp());
  Operation *a = model.getDefiningOp(), *b = other.getDefiningOp();
  ElementsAttr x = onnx::getConstantElements(a);
  ElementsAttr y = onnx::getConstantElements(b);
  if (!x || !y)
    return a == b;
  return x == y || (x.getShapedType() == y.getShapedType() &&
                    canBeParameter(a) && canBeParameter(b));
}

bool Alike::matchExtents(Value model, Value other) {
  for (auto [a, b] : llvm::zip_equal(getDims(model), getDims(other)))
    if (!matchText(a.text, b.text))
      return false;
  return true;
}

bool Alike::matchTexts(Attribute model, Attribute other) {
  if (!model || !other)
    return model == other;
  auto a = dyn_cast<StringAttr>(model), b = dyn_cast<StringAttr>(other);
  if (a && b)
    return matchText(a.getValue(), b.getValue());
  auto x = dyn_cast<ArrayAttr>(model), y = dyn_cast<ArrayAttr>(other);
  if (!x || !y)
    return model == other;
  return x.size() == y.size() &&
         llvm::all_of(llvm::zip_equal(x, y), [&](const auto &pair) {
           return matchTexts(std::get<0>(pair), std::get<1>(pair));
         });
}

/// The symbol of inference's own at the start of a text: `?12`, `?arg0.1`.
static StringRef leadingSymbol(StringRef text) {
  if (!text.starts_with('?'))
    return {};
  size_t end = text.drop_front().find_if_not(
      [](char c) { return llvm::isAlnum(c) || c == '.'; });
  return end == StringRef::npos ? text : text.take_front(end + 1);
}

/// The same text but for the names of symbols, each of which stands for one of
/// the other side's.
bool Alike::matchText(StringRef model, StringRef other) {
  while (!model.empty() && !other.empty()) {
    StringRef a = leadingSymbol(model), b = leadingSymbol(other);
    if (a.empty() != b.empty())
      return false;
    if (a.empty()) {
      if (model.front() != other.front())
        return false;
      model = model.drop_front();
      other = other.drop_front();
      continue;
    }
    StringRef to = symbols.try_emplace(a, b).first->second;
    StringRef from = reverse.try_emplace(b, a).first->second;
    if (to != b || from != a)
      return false;
    model = model.drop_front(a.size());
    other = other.drop_front(b.size());
  }
  return model.empty() && other.empty();
}
