//===- SchemaBridge.cpp - ONNX's own operator schemas over IR -------------===//
//
// An InferenceContext and a DataPropagationContext over an mlir::Operation:
// operand types become TypeProtos with the names of extents as dim_param,
// constants become TensorProtos when the schema asks for them, and what the
// schema infers is turned back into types. Attributes and tensors are converted
// on demand, since most schemas look at few of them.
//
// This file is compiled with exceptions; each entry point catches all of them.
//
//===----------------------------------------------------------------------===//

#include "lib/ONNX/SchemaBridge.h"
#include "dialects/ONNX/ONNXDialect.h"
#include "dialects/ONNX/Signatures.h"
#include "mlir/IR/Builders.h"
#include "mlir/IR/DialectResourceBlobManager.h"
#include "mlir/IR/Operation.h"
#include "onnx/defs/function.h"
#include "onnx/defs/schema.h"
#include "onnx/defs/shape_inference.h"
#include "onnx/shape_inference/implementation.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/ADT/StringMap.h"
#include <mutex>

using namespace mlir;
using namespace moe;
using moe::onnx::AttrFormal;
using moe::onnx::AttrKind;
using moe::onnx::Formal;
using moe::onnx::FormalKind;
using moe::onnx::OpSignature;
using ::onnx::AttributeProto;
using ::onnx::OpSchema;
using ::onnx::TensorProto;
using ::onnx::TensorShapeProto;
using ::onnx::TypeProto;

/// Larger constants are never shapes, axes or counts.
static constexpr int64_t kMaxElements = 1024;

OperandFacts::~OperandFacts() = default;

//===----------------------------------------------------------------------===//
// Operands by place
//===----------------------------------------------------------------------===//

template <typename Range>
static SmallVector<Value> getPlaces(Operation *op, ArrayRef<Formal> formals,
                                    StringRef segmentName, Range values) {
  SmallVector<Value> places;
  unsigned open = llvm::count_if(formals, [](const Formal &formal) {
    return formal.kind != FormalKind::Single;
  });
  ArrayRef<int32_t> segments;
  if (open > 1)
    if (auto sizes = dyn_cast_or_null<DenseI32ArrayAttr>(
            op->getInherentAttr(segmentName).value_or(Attribute())))
      segments = sizes.asArrayRef();
  unsigned next = 0;
  unsigned singles = formals.size() - open;
  for (auto [i, formal] : llvm::enumerate(formals)) {
    unsigned count = 1;
    if (formal.kind != FormalKind::Single)
      count = i < segments.size() ? segments[i]
                                  : std::max<int>(0, values.size() - singles);
    if (count == 0 && formal.kind == FormalKind::Optional)
      places.push_back({});
    for (; count > 0 && next < values.size(); --count)
      places.push_back(values[next++]);
  }
  while (!places.empty() && !places.back())
    places.pop_back();
  return places;
}

SmallVector<Value> moe::getNodeInputs(Operation *op) {
  const OpSignature *signature =
      moe::onnx::lookupSignature(op->getName().getStringRef());
  if (!signature)
    return llvm::to_vector(op->getOperands());
  return getPlaces(op, signature->operands, "operandSegmentSizes",
                   op->getOperands());
}

SmallVector<Value> moe::getNodeOutputs(Operation *op) {
  const OpSignature *signature =
      moe::onnx::lookupSignature(op->getName().getStringRef());
  if (!signature)
    return llvm::to_vector_of<Value>(op->getResults());
  return getPlaces(op, signature->results, "resultSegmentSizes",
                   op->getResults());
}

ElementsAttr moe::getConstantValue(Value value) {
  Operation *op = value.getDefiningOp();
  return op ? moe::onnx::getConstantElements(op) : ElementsAttr();
}

//===----------------------------------------------------------------------===//
// Types
//===----------------------------------------------------------------------===//

/// `extents` names those of a tensor; types inside sequences have no names.
static void toProto(Type type, ArrayRef<std::string> extents,
                    TypeProto &proto) {
  if (auto seq = dyn_cast<moe::onnx::SeqType>(type))
    return toProto(seq.getElementType(), {},
                   *proto.mutable_sequence_type()->mutable_elem_type());
  if (auto optional = dyn_cast<moe::onnx::OptionalType>(type))
    return toProto(optional.getElementType(), {},
                   *proto.mutable_optional_type()->mutable_elem_type());
  auto tensor = dyn_cast<TensorType>(type);
  if (!tensor)
    return;
  auto *tensorProto = proto.mutable_tensor_type();
  tensorProto->set_elem_type(moe::onnx::getDataType(tensor.getElementType()));
  if (!tensor.hasRank())
    return;
  TensorShapeProto *shape = tensorProto->mutable_shape();
  for (auto [i, extent] : llvm::enumerate(tensor.getShape())) {
    auto *dim = shape->add_dim();
    if (!ShapedType::isDynamic(extent))
      dim->set_dim_value(extent);
    else if (i < extents.size() && !extents[i].empty())
      dim->set_dim_param(extents[i]);
  }
}

static Type fromProto(const TypeProto &proto, MLIRContext *context,
                      SmallVectorImpl<std::string> *extents = nullptr) {
  if (proto.has_sequence_type()) {
    Type element = fromProto(proto.sequence_type().elem_type(), context);
    return element ? moe::onnx::SeqType::get(context, element) : Type();
  }
  if (proto.has_optional_type()) {
    Type element = fromProto(proto.optional_type().elem_type(), context);
    return element ? moe::onnx::OptionalType::get(context, element) : Type();
  }
  if (!proto.has_tensor_type())
    return {};
  Type element =
      moe::onnx::getElementType(proto.tensor_type().elem_type(), context);
  if (!element)
    return {};
  if (!proto.tensor_type().has_shape())
    return UnrankedTensorType::get(element);
  SmallVector<int64_t> shape;
  for (const auto &dim : proto.tensor_type().shape().dim()) {
    bool isStatic = dim.has_dim_value() && dim.dim_value() >= 0;
    shape.push_back(isStatic ? dim.dim_value() : ShapedType::kDynamic);
    if (extents)
      extents->push_back(dim.has_dim_param() ? dim.dim_param() : "");
  }
  return RankedTensorType::get(shape, element);
}

//===----------------------------------------------------------------------===//
// Tensors and attributes
//===----------------------------------------------------------------------===//

/// A small tensor as a TensorProto; false if it is large or cannot be read.
static bool toProto(ElementsAttr elements, TensorProto &proto) {
  ShapedType type = elements.getShapedType();
  if (!type.hasStaticShape() || type.getNumElements() > kMaxElements)
    return false;
  Type element = type.getElementType();
  int dataType = moe::onnx::getDataType(element);
  proto.set_data_type(dataType);
  for (int64_t extent : type.getShape())
    proto.add_dims(extent);
  if (auto file = dyn_cast<moe::onnx::FileElementsAttr>(elements)) {
    std::string error;
    ArrayRef<char> bytes = file.getBytes(error);
    if (!error.empty())
      return false;
    proto.set_raw_data(bytes.data(), bytes.size());
    return true;
  }
  if (auto resource = dyn_cast<DenseResourceElementsAttr>(elements)) {
    AsmResourceBlob *blob = resource.getRawHandle().getBlob();
    if (!blob)
      return false;
    proto.set_raw_data(blob->getData().data(), blob->getData().size());
    return true;
  }
  auto dense = dyn_cast<DenseElementsAttr>(elements);
  if (!dense)
    return false;
  if (isa<IntegerType>(element)) {
    bool isUnsigned = element.isUnsignedInteger() || element.isInteger(1);
    for (const APInt &value : dense.getValues<APInt>()) {
      int64_t number = isUnsigned ? static_cast<int64_t>(value.getZExtValue())
                                  : value.getSExtValue();
      if (dataType == TensorProto::INT64)
        proto.add_int64_data(number);
      else if (dataType == TensorProto::UINT32 ||
               dataType == TensorProto::UINT64)
        proto.add_uint64_data(number);
      else
        proto.add_int32_data(static_cast<int32_t>(number));
    }
    return true;
  }
  if (isa<FloatType>(element)) {
    for (const APFloat &value : dense.getValues<APFloat>()) {
      if (element.isF32())
        proto.add_float_data(value.convertToFloat());
      else if (element.isF64())
        proto.add_double_data(value.convertToDouble());
      else
        proto.add_int32_data(
            static_cast<int32_t>(value.bitcastToAPInt().getZExtValue()));
    }
    return true;
  }
  return false;
}

/// An attribute of a node; false for those that the schema does not describe.
static bool toProto(StringRef name, AttrKind kind, Attribute attr,
                    AttributeProto &proto) {
  proto.set_name(name.str());
  switch (kind) {
  case AttrKind::Int:
    if (auto number = dyn_cast<IntegerAttr>(attr)) {
      proto.set_type(AttributeProto::INT);
      proto.set_i(number.getValue().getSExtValue());
      return true;
    }
    return false;
  case AttrKind::Float:
    if (auto number = dyn_cast<FloatAttr>(attr)) {
      proto.set_type(AttributeProto::FLOAT);
      proto.set_f(static_cast<float>(number.getValueAsDouble()));
      return true;
    }
    return false;
  case AttrKind::String:
    if (auto text = dyn_cast<StringAttr>(attr)) {
      proto.set_type(AttributeProto::STRING);
      proto.set_s(text.str());
      return true;
    }
    return false;
  case AttrKind::Ints:
    if (auto list = dyn_cast<DenseI64ArrayAttr>(attr)) {
      proto.set_type(AttributeProto::INTS);
      for (int64_t number : list.asArrayRef())
        proto.add_ints(number);
      return true;
    }
    return false;
  case AttrKind::Floats:
    if (auto list = dyn_cast<DenseF32ArrayAttr>(attr)) {
      proto.set_type(AttributeProto::FLOATS);
      for (float number : list.asArrayRef())
        proto.add_floats(number);
      return true;
    }
    return false;
  case AttrKind::Strings:
    if (auto list = dyn_cast<ArrayAttr>(attr)) {
      proto.set_type(AttributeProto::STRINGS);
      for (Attribute item : list)
        if (auto text = dyn_cast<StringAttr>(item))
          proto.add_strings(text.str());
      return true;
    }
    return false;
  case AttrKind::Tensor:
    if (auto elements = dyn_cast<ElementsAttr>(attr)) {
      proto.set_type(AttributeProto::TENSOR);
      // Of large tensors the schemas want element type and extents only.
      if (!toProto(elements, *proto.mutable_t())) {
        proto.mutable_t()->Clear();
        ShapedType type = elements.getShapedType();
        proto.mutable_t()->set_data_type(
            moe::onnx::getDataType(type.getElementType()));
        for (int64_t extent : type.getShape())
          proto.mutable_t()->add_dims(extent);
      }
      return true;
    }
    return false;
  case AttrKind::TypeProto:
    if (auto type = dyn_cast<TypeAttr>(attr)) {
      proto.set_type(AttributeProto::TYPE_PROTO);
      toProto(type.getValue(), {}, *proto.mutable_tp());
      return true;
    }
    return false;
  case AttrKind::Graph:
  case AttrKind::SparseTensor:
    return false;
  }
  return false;
}

//===----------------------------------------------------------------------===//
// Schemas
//===----------------------------------------------------------------------===//

namespace {
/// What the bridge knows of an op name.
struct OpEntry {
  const OpSignature *signature = nullptr;
  const OpSchema *schema = nullptr;
};
} // namespace

/// The IR holds each operator in its newest form, so there is one schema per
/// op name whatever opset the model came with. Thread-safe.
static const OpEntry &lookup(Operation *op) {
  static std::mutex mutex;
  static auto *entries = new llvm::StringMap<OpEntry>;
  StringRef name = op->getName().getStringRef();
  std::lock_guard<std::mutex> lock(mutex);
  auto [it, fresh] = entries->try_emplace(name);
  if (fresh) {
    it->second.signature = moe::onnx::lookupSignature(name);
    if (it->second.signature && it->second.signature->domain.empty())
      it->second.schema = ::onnx::OpSchemaRegistry::Schema(
          op->getName().stripDialect().str(), moe::onnx::getNewestOpset(), "");
  }
  return it->second;
}

static const AttrFormal *findAttribute(const OpSignature &signature,
                                       StringRef name) {
  for (const AttrFormal &attr : signature.attributes)
    if (attr.name == name)
      return &attr;
  return nullptr;
}

/// The op as a node whose values are named by their places.
static ::onnx::NodeProto toNode(Operation *op, const OpEntry &entry) {
  ::onnx::NodeProto node;
  node.set_op_type(op->getName().stripDialect().str());
  for (auto [i, value] : llvm::enumerate(getNodeInputs(op)))
    node.add_input(value ? "in" + std::to_string(i) : "");
  for (auto [i, value] : llvm::enumerate(getNodeOutputs(op)))
    node.add_output(value ? "out" + std::to_string(i) : "");
  for (const AttrFormal &formal : entry.signature->attributes) {
    if (formal.kind == AttrKind::Graph) {
      AttributeProto *graph = node.add_attribute();
      graph->set_name(formal.name.str());
      graph->set_type(AttributeProto::GRAPH);
      graph->mutable_g()->set_name("region");
      continue;
    }
    AttributeProto proto;
    if (Attribute attr = op->getAttr(formal.name))
      if (toProto(formal.name, formal.kind, attr, proto))
        *node.add_attribute() = std::move(proto);
  }
  return node;
}

//===----------------------------------------------------------------------===//
// Contexts
//===----------------------------------------------------------------------===//

/// Types of the values that a region's terminator hands out.
static std::vector<TypeProto> getTerminatorTypes(Region &region,
                                                 OperandFacts &facts) {
  std::vector<TypeProto> types;
  if (region.empty() || region.front().empty())
    return types;
  Operation &terminator = region.front().back();
  for (Value value : terminator.getOperands()) {
    SmallVector<std::string> extents;
    if (isa<RankedTensorType>(value.getType()))
      facts.getExtents(value, extents);
    toProto(value.getType(), extents, types.emplace_back());
  }
  return types;
}

namespace {
/// The driver infers regions before the op that holds them, so nothing is left
/// to be done but to hand out what the terminator has.
class RegionInferencer : public ::onnx::GraphInferencer {
public:
  RegionInferencer(Region &region, OperandFacts &facts)
      : types(getTerminatorTypes(region, facts)) {}

  std::vector<const TypeProto *>
  doInferencing(const std::vector<const TypeProto *> &,
                const std::vector<const TensorProto *> &) override {
    std::vector<const TypeProto *> pointers;
    for (const TypeProto &type : types)
      pointers.push_back(&type);
    return pointers;
  }

private:
  std::vector<TypeProto> types;
};

/// What inference and data propagation both ask about an op.
class NodeView {
public:
  NodeView(Operation *op, const OpEntry &entry, OperandFacts &facts)
      : op(op), entry(entry), facts(facts), inputs(getNodeInputs(op)),
        outputs(getNodeOutputs(op)), types(inputs.size()),
        tensors(inputs.size()), shapes(inputs.size()) {
    SmallVector<std::string> extents;
    for (auto [value, type] : llvm::zip(inputs, types)) {
      extents.clear();
      if (!value)
        continue;
      if (auto ranked = dyn_cast<RankedTensorType>(value.getType());
          ranked && !ranked.hasStaticShape())
        facts.getExtents(value, extents);
      toProto(value.getType(), extents, type);
    }
  }

  const AttributeProto *getAttribute(const std::string &name) const {
    auto [it, fresh] = attributes.try_emplace(name);
    if (fresh) {
      const AttrFormal *formal = findAttribute(*entry.signature, name);
      Attribute attr = formal ? op->getAttr(name) : Attribute();
      it->second.first =
          attr && toProto(name, formal->kind, attr, it->second.second);
    }
    return it->second.first ? &it->second.second : nullptr;
  }

  bool hasInput(size_t index) const {
    return index < inputs.size() && inputs[index];
  }

  const TypeProto *getInputType(size_t index) const {
    return hasInput(index) && types[index].value_case() ? &types[index]
                                                        : nullptr;
  }

  /// The value of a small constant; also of a computed shape of which all
  /// elements are known.
  const TensorProto *getTensor(size_t index) const {
    if (!hasInput(index))
      return nullptr;
    Slot<TensorProto> &slot = tensors[index];
    if (!slot.asked) {
      slot.asked = true;
      auto proto = std::make_unique<TensorProto>();
      if (ElementsAttr value = getConstantValue(inputs[index])) {
        if (toProto(value, *proto))
          slot.value = std::move(proto);
      } else if (const TensorShapeProto *shape = getShape(index)) {
        if (fromShape(*shape, index, *proto))
          slot.value = std::move(proto);
      }
    }
    return slot.value.get();
  }

  /// The elements of a computed shape, with names for those that are extents.
  const TensorShapeProto *getShape(size_t index) const {
    if (!hasInput(index))
      return nullptr;
    Slot<TensorShapeProto> &slot = shapes[index];
    if (!slot.asked) {
      slot.asked = true;
      SmallVector<std::string> elements;
      if (!getConstantValue(inputs[index]) &&
          facts.getElements(inputs[index], elements)) {
        slot.value = std::make_unique<TensorShapeProto>();
        for (const std::string &text : elements) {
          auto *dim = slot.value->add_dim();
          int64_t number;
          if (!StringRef(text).getAsInteger(10, number))
            dim->set_dim_value(number);
          else if (!text.empty())
            dim->set_dim_param(text);
        }
      }
    }
    return slot.value.get();
  }

  Operation *op;
  const OpEntry &entry;
  OperandFacts &facts;
  SmallVector<Value> inputs, outputs;

private:
  template <typename T> struct Slot {
    bool asked = false;
    std::unique_ptr<T> value;
  };

  /// False unless all elements are numbers.
  bool fromShape(const TensorShapeProto &shape, size_t index,
                 TensorProto &proto) const {
    auto type = dyn_cast<RankedTensorType>(inputs[index].getType());
    if (!type || type.getRank() > 1 || !isa<IntegerType>(type.getElementType()))
      return false;
    int dataType = moe::onnx::getDataType(type.getElementType());
    proto.set_data_type(dataType);
    if (type.getRank() == 1)
      proto.add_dims(shape.dim_size());
    for (const auto &dim : shape.dim()) {
      if (!dim.has_dim_value())
        return false;
      if (dataType == TensorProto::INT64)
        proto.add_int64_data(dim.dim_value());
      else
        proto.add_int32_data(static_cast<int32_t>(dim.dim_value()));
    }
    return dataType == TensorProto::INT64 || dataType == TensorProto::INT32;
  }

  std::vector<TypeProto> types;
  mutable llvm::StringMap<std::pair<bool, AttributeProto>> attributes;
  mutable std::vector<Slot<TensorProto>> tensors;
  mutable std::vector<Slot<TensorShapeProto>> shapes;
};

class OpInferenceContext : public ::onnx::InferenceContext {
public:
  OpInferenceContext(Operation *op, const OpEntry &entry, OperandFacts &facts)
      : node(op, entry, facts), types(node.outputs.size()) {}

  const AttributeProto *getAttribute(const std::string &name) const override {
    return node.getAttribute(name);
  }
  size_t getNumInputs() const override { return node.inputs.size(); }
  bool hasInput(size_t index) const override { return node.hasInput(index); }
  const TypeProto *getInputType(size_t index) const override {
    return node.getInputType(index);
  }
  const TensorProto *getInputData(size_t index) const override {
    return node.getTensor(index);
  }
  const TensorShapeProto *getSymbolicInput(size_t index) const override {
    return node.getShape(index);
  }
  const ::onnx::SparseTensorProto *getInputSparseData(size_t) const override {
    return nullptr;
  }
  size_t getNumOutputs() const override { return types.size(); }
  bool hasOutput(size_t index) override {
    return index < types.size() && node.outputs[index];
  }
  TypeProto *getOutputType(size_t index) override {
    if (index >= types.size())
      throw std::out_of_range("the schema asks for output " +
                              std::to_string(index) + " of " +
                              std::to_string(types.size()));
    return &types[index];
  }
  ::onnx::GraphInferencer *
  getGraphAttributeInferencer(const std::string &name) override {
    // Regions stand in the order of the graph attributes.
    unsigned region = 0;
    for (const AttrFormal &formal : node.entry.signature->attributes) {
      if (formal.kind != AttrKind::Graph)
        continue;
      if (formal.name == name && region < node.op->getNumRegions()) {
        inferencers.push_back(std::make_unique<RegionInferencer>(
            node.op->getRegion(region), node.facts));
        return inferencers.back().get();
      }
      ++region;
    }
    return nullptr;
  }
  std::string getDisplayName() const override {
    return "node " + node.op->getName().stripDialect().str();
  }

  NodeView node;
  std::vector<TypeProto> types;

private:
  std::vector<std::unique_ptr<RegionInferencer>> inferencers;
};

class OpPropagationContext : public ::onnx::DataPropagationContext {
public:
  OpPropagationContext(Operation *op, const OpEntry &entry, OperandFacts &facts)
      : node(op, entry, facts), outputs(node.outputs.size()),
        literals(node.inputs.size()) {
    SmallVector<std::string> extents;
    for (auto [value, type] : llvm::zip(node.outputs, outputs)) {
      extents.clear();
      if (!value)
        continue;
      if (isa<RankedTensorType>(value.getType()))
        facts.getExtents(value, extents);
      toProto(value.getType(), extents, type);
    }
  }

  const AttributeProto *getAttribute(const std::string &name) const override {
    return node.getAttribute(name);
  }
  size_t getNumInputs() const override { return node.inputs.size(); }
  const TypeProto *getInputType(size_t index) const override {
    return node.getInputType(index);
  }
  size_t getNumOutputs() const override { return outputs.size(); }
  const TypeProto *getOutputType(size_t index) const override {
    return index < outputs.size() ? &outputs[index] : nullptr;
  }
  const TensorShapeProto *getInputData(size_t index) override {
    if (const TensorShapeProto *shape = node.getShape(index))
      return shape;
    const TensorProto *tensor = node.getTensor(index);
    if (!tensor || tensor->dims_size() > 1 ||
        (tensor->data_type() != TensorProto::INT64 &&
         tensor->data_type() != TensorProto::INT32))
      return nullptr;
    auto shape = std::make_unique<TensorShapeProto>();
    if (tensor->data_type() == TensorProto::INT64) {
      for (int64_t number : ::onnx::ParseData<int64_t>(tensor))
        shape->add_dim()->set_dim_value(number);
    } else {
      for (int32_t number : ::onnx::ParseData<int32_t>(tensor))
        shape->add_dim()->set_dim_value(number);
    }
    literals[index] = std::move(shape);
    return literals[index].get();
  }
  void addOutputData(size_t index, TensorShapeProto &&shape) override {
    if (index == 0)
      result = std::make_unique<TensorShapeProto>(std::move(shape));
  }

  std::unique_ptr<TensorShapeProto> result;

private:
  NodeView node;
  std::vector<TypeProto> outputs;
  std::vector<std::unique_ptr<TensorShapeProto>> literals;
};
} // namespace

//===----------------------------------------------------------------------===//
// Entry points
//===----------------------------------------------------------------------===//

/// Runs `body` and turns what it throws into a text.
template <typename Body> static bool guarded(std::string &error, Body body) {
  try {
    return body();
  } catch (const std::exception &exception) {
    error = exception.what();
  } catch (...) {
    error = "libonnx threw an exception of unknown type";
  }
  // "[ShapeInferenceError] text" and the like: the caller says what failed.
  StringRef text(error);
  if (text.consume_front("["))
    error = text.split("] ").second.str();
  if (error.empty())
    error = "libonnx gave no reason";
  return false;
}

bool moe::inferBySchema(Operation *op, OperandFacts &facts,
                        SmallVectorImpl<InferredResult> &results,
                        std::string &error) {
  results.clear();
  results.resize(op->getNumResults());
  const OpEntry &entry = lookup(op);
  if (!entry.schema)
    return true;
  return guarded(error, [&] {
    OpInferenceContext context(op, entry, facts);
    if (entry.schema->has_type_and_shape_inference_function())
      entry.schema->GetTypeAndShapeInferenceFunction()(context);
    else if (entry.schema->HasFunction())
      ::onnx::shape_inference::InferShapeForFunctionNode(
          *entry.schema->GetFunction(), ::onnx::OpSchemaRegistry::Instance(),
          context);
    unsigned result = 0;
    for (auto [value, type] : llvm::zip(context.node.outputs, context.types)) {
      if (!value || result >= results.size())
        continue;
      results[result].type =
          fromProto(type, op->getContext(), &results[result].extents);
      ++result;
    }
    return true;
  });
}

bool moe::propagateBySchema(Operation *op, OperandFacts &facts,
                            SmallVectorImpl<std::string> &elements) {
  elements.clear();
  const OpEntry &entry = lookup(op);
  if (!entry.schema || !entry.schema->has_data_propagation_function())
    return false;
  // Propagation that fails only means that nothing is known.
  std::string ignored;
  return guarded(ignored, [&] {
    OpPropagationContext context(op, entry, facts);
    entry.schema->GetDataPropagationFunction()(context);
    if (!context.result)
      return false;
    for (const auto &dim : context.result->dim())
      elements.push_back(dim.has_dim_value() ? std::to_string(dim.dim_value())
                                             : dim.dim_param());
    return true;
  });
}

std::string moe::checkBySchema(Operation *op) {
  std::string error;
  const OpEntry &entry = lookup(op);
  if (!entry.schema)
    return error;
  guarded(error, [&] {
    entry.schema->Verify(toNode(op, entry));
    return true;
  });
  return error;
}

std::string moe::getFunctionBody(Operation *op) {
  const OpEntry &entry = lookup(op);
  std::string bytes, error;
  if (!entry.schema)
    return bytes;
  int opset = moe::onnx::getNewestOpset();
  bool found = guarded(error, [&] {
    if (entry.schema->HasFunction()) {
      if (const auto *body = entry.schema->GetFunction(opset))
        return body->SerializeToString(&bytes);
    }
    if (!entry.schema->HasContextDependentFunction())
      return false;
    std::vector<TypeProto> types;
    for (Value value : getNodeInputs(op)) {
      types.emplace_back();
      if (value)
        toProto(value.getType(), {}, types.back());
    }
    // The context keeps a reference to the node.
    const ::onnx::NodeProto node = toNode(op, entry);
    ::onnx::FunctionBodyBuildContextImpl context(node, types);
    ::onnx::FunctionProto body;
    return entry.schema->BuildContextDependentFunction(context, body, opset) &&
           body.SerializeToString(&bytes);
  });
  return found ? bytes : std::string();
}
