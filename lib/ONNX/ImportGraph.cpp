//===- ImportGraph.cpp - GraphProto to ops --------------------------------===//
//
// One op per node, in the graph's order, without knowledge of any operator:
// the signatures tell which inputs and outputs may be left out. A value that
// cannot be made (its node is wrong) is remembered as broken; nodes that use it
// are passed over without a word, so that each report names a cause.
//
// A result has the type that the model declares for the value. Where there is
// none it gets an unranked type whose elements follow from the signature, which
// shape inference then makes precise.
//
//===----------------------------------------------------------------------===//
#include "lib/ONNX/ImportGraph.h"
#include "dialects/ONNX/ONNXDialect.h"
#include "dialects/ONNX/ONNXOps.h"
#include "dialects/ONNX/Signatures.h"
#include "lib/ONNX/ImportTensor.h"
#include "lib/ONNX/ModelFile.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/IR/Builders.h"
#include "onnx/onnx_pb.h"
#include "llvm/ADT/ScopeExit.h"
#include "llvm/ADT/StringMap.h"
#include "llvm/ADT/StringSet.h"
#include <deque>

using namespace mlir;
using namespace moe;
using moe::onnx::AttrFormal;
using moe::onnx::AttrKind;
using moe::onnx::Formal;
using moe::onnx::FormalKind;
using moe::onnx::OpSignature;
using ::onnx::AttributeProto;
using ::onnx::GraphProto;
using ::onnx::ModelProto;
using ::onnx::NodeProto;
using ::onnx::TypeProto;
using ::onnx::ValueInfoProto;

namespace {

/// A type as a model declares it: what MLIR's type holds, and the names of
/// extents.
struct DeclaredType {
  Type type;
  /// One name per extent, empty where it has none; those of the tensors inside
  /// of a sequence or optional.
  SmallVector<std::string> dims;
};

/// The values of one graph.
struct Scope {
  /// A null value is broken: the reason has been reported.
  llvm::StringMap<Value> values;
  /// Index of the node that makes a value, to explain a wrong order.
  llvm::StringMap<int> producers;
  llvm::StringMap<const ValueInfoProto *> infos;
  /// Names of the graph's outputs, whose declarations are kept elsewhere.
  llvm::StringSet<> outputs;
};

class GraphImporter {
public:
  GraphImporter(const ModelProto &model, ModelFile &file, ModuleOp module)
      : model(model), file(file), module(module), context(module.getContext()),
        builder(context) {}

  LogicalResult run();

private:
  //===--- Reports
  //---------------------------------------------------------===//
  InFlightDiagnostic reportModel() {
    failed = true;
    return emitError(FileLineColLoc::get(context, file.path(), 0, 0));
  }
  InFlightDiagnostic reportNode(const NodeProto &node, int index);

  //===--- Types
  //-----------------------------------------------------------===//
  /// Null type and `why` if ONNX's type has no counterpart.
  DeclaredType importType(const TypeProto &type, std::string &why);
  Type importShape(int dataType, const ::onnx::TensorShapeProto *shape,
                   SmallVectorImpl<std::string> *dims, std::string &why);
  /// The declared type of a value; null type if there is none. Reports a type
  /// that is not supported.
  DeclaredType lookupDeclared(StringRef name);
  Type guessResultType(const OpSignature &signature, const Formal &formal,
                       const OperationState &state,
                       ArrayRef<std::pair<const Formal *, Value>> operands);

  //===--- Attributes
  //------------------------------------------------------===//
  ArrayAttr getDims(ArrayRef<std::string> dims);
  /// Metadata as a dictionary; null if there is none.
  template <typename Entries>
  DictionaryAttr importMetadata(const Entries &entries, StringRef what);
  /// Null if not supported, with the reason in `why` unless it has been
  /// reported.
  Attribute importAttribute(const AttributeProto &attribute,
                            llvm::function_ref<InFlightDiagnostic()> error);

  //===--- Graphs
  //----------------------------------------------------------===//
  Value lookup(StringRef name, bool &known);
  /// Gives a value its name. `shadows`: outer scopes may have the name as well.
  bool define(StringRef name, Value value,
              llvm::function_ref<InFlightDiagnostic()> error,
              bool shadows = false);
  void importInitializers(const GraphProto &graph);
  void importNodes(const GraphProto &graph);
  void importNode(const NodeProto &node, int index);
  bool importOperands(const NodeProto &node, int index,
                      const OpSignature &signature, OperationState &state,
                      SmallVectorImpl<std::pair<const Formal *, Value>> &uses);
  void importCustom(const NodeProto &node, int index);
  bool importSubgraph(const NodeProto &node, int index,
                      const AttributeProto &attribute, OperationState &state,
                      NamedAttrList &graphs);
  void describe(const ValueInfoProto &info, const DeclaredType &declared,
                NamedAttrList &attributes);
  void addNodeProperties(const NodeProto &node, OperationState &state);
  void finish(const NodeProto &node, int index, Operation *op,
              ArrayRef<int> places);
  void breakOutputs(const NodeProto &node);
  void importMain();
  void setModuleAttributes();
  void warnIgnored();

  const ModelProto &model;
  ModelFile &file;
  ModuleOp module;
  MLIRContext *context;
  OpBuilder builder;
  // A deque: references to scopes stay valid while inner ones come and go.
  std::deque<Scope> scopes;
  llvm::StringMap<int64_t> opsets;
  bool failed = false;
  bool declaresValues = false;
};

} // namespace

Location moe::getNodeLocation(MLIRContext *context, StringRef path,
                              StringRef name, int index) {
  Location place = FileLineColLoc::get(context, path, index, 1);
  if (name.empty())
    return place;
  return NameLoc::get(StringAttr::get(context, name), place);
}

InFlightDiagnostic GraphImporter::reportNode(const NodeProto &node, int index) {
  failed = true;
  StringRef domain = node.domain();
  if (domain.empty())
    domain = "ai.onnx";
  return emitError(getNodeLocation(context, file.path(), node.name(), index))
         << domain << "::" << node.op_type() << ", opset "
         << opsets.lookup(domain) << ": ";
}

//===----------------------------------------------------------------------===//
// Types
//===----------------------------------------------------------------------===//

Type GraphImporter::importShape(int dataType,
                                const ::onnx::TensorShapeProto *shape,
                                SmallVectorImpl<std::string> *dims,
                                std::string &why) {
  Type element = moe::onnx::getElementType(dataType, context);
  if (!element) {
    why = "element type " + std::to_string(dataType) + " is not supported";
    return {};
  }
  if (!shape)
    return UnrankedTensorType::get(element);
  SmallVector<int64_t> extents;
  for (const auto &dim : shape->dim()) {
    bool fixed = dim.has_dim_value();
    if (fixed && dim.dim_value() < 0) {
      why = "extent " + std::to_string(dim.dim_value()) + " is negative";
      return {};
    }
    extents.push_back(fixed ? dim.dim_value() : ShapedType::kDynamic);
    if (dims)
      dims->push_back(dim.has_dim_param() ? dim.dim_param() : "");
  }
  return RankedTensorType::get(extents, element);
}

DeclaredType GraphImporter::importType(const TypeProto &type,
                                       std::string &why) {
  DeclaredType declared;
  switch (type.value_case()) {
  case TypeProto::kTensorType: {
    const TypeProto::Tensor &tensor = type.tensor_type();
    declared.type = importShape(tensor.elem_type(),
                                tensor.has_shape() ? &tensor.shape() : nullptr,
                                &declared.dims, why);
    break;
  }
  case TypeProto::kSequenceType:
    declared = importType(type.sequence_type().elem_type(), why);
    if (declared.type)
      declared.type = moe::onnx::SeqType::get(context, declared.type);
    break;
  case TypeProto::kOptionalType:
    declared = importType(type.optional_type().elem_type(), why);
    if (declared.type)
      declared.type = moe::onnx::OptionalType::get(context, declared.type);
    break;
  case TypeProto::VALUE_NOT_SET:
    why = "has no type";
    break;
  default:
    why = "maps, sparse tensors and opaque types are not supported";
    break;
  }
  return declared;
}

DeclaredType GraphImporter::lookupDeclared(StringRef name) {
  const ValueInfoProto *info = scopes.back().infos.lookup(name);
  // Only the element type is certain to be meant when a shape is missing; a
  // type without elements says nothing.
  if (!info || info->type().value_case() == TypeProto::VALUE_NOT_SET)
    return {};
  if (info->type().has_tensor_type() &&
      info->type().tensor_type().elem_type() == 0)
    return {};
  std::string why;
  DeclaredType declared = importType(info->type(), why);
  if (!declared.type)
    reportModel() << "value '" << name << "': " << why;
  return declared;
}

/// Element type of a tensor, of what a sequence or optional holds otherwise.
static Type getInnerElement(Type type) {
  while (true) {
    if (auto seq = dyn_cast<moe::onnx::SeqType>(type))
      type = seq.getElementType();
    else if (auto optional = dyn_cast<moe::onnx::OptionalType>(type))
      type = optional.getElementType();
    else
      break;
  }
  auto tensor = dyn_cast<TensorType>(type);
  return tensor ? tensor.getElementType() : Type();
}

/// The element type that an attribute asks for by its number.
static Type getAskedElement(const OperationState &state) {
  MLIRContext *context = state.getContext();
  for (StringRef name : {"to", "dtype", "output_dtype", "output_datatype"})
    if (auto number = dyn_cast_or_null<IntegerAttr>(state.attributes.get(name)))
      if (Type element = moe::onnx::getElementType(
              static_cast<int>(number.getInt()), context))
        return element;
  for (NamedAttribute attribute : state.attributes) {
    StringRef name = attribute.getName();
    Attribute value = attribute.getValue();
    if (!name.starts_with("value"))
      continue;
    if (auto elements = dyn_cast<ElementsAttr>(value))
      return elements.getElementType();
    if (isa<FloatAttr, DenseF32ArrayAttr>(value))
      return Float32Type::get(context);
    if (isa<IntegerAttr, DenseI64ArrayAttr>(value))
      return IntegerType::get(context, 64);
    if (isa<StringAttr, ArrayAttr>(value))
      return moe::onnx::StringType::get(context);
  }
  return {};
}

Type GraphImporter::guessResultType(
    const OpSignature &signature, const Formal &formal,
    const OperationState &state,
    ArrayRef<std::pair<const Formal *, Value>> operands) {
  auto allowed = [&](Type element) {
    int number = element ? moe::onnx::getDataType(element) : 0;
    return number && (formal.elementTypes >> number & 1);
  };
  if (Type element = getAskedElement(state); allowed(element))
    return UnrankedTensorType::get(element);
  for (auto [other, value] : operands) {
    if (other->typeParameter != formal.typeParameter || !other->homogeneous)
      continue;
    if (auto tensor = dyn_cast<TensorType>(value.getType()))
      return UnrankedTensorType::get(tensor.getElementType());
    return value.getType();
  }
  bool isSequence = formal.elementTypes >> Formal::kSequenceBit & 1;
  bool isOptional = formal.elementTypes >> Formal::kOptionalBit & 1;
  uint64_t tensors = formal.elementTypes & ~(1ull << Formal::kSequenceBit) &
                     ~(1ull << Formal::kOptionalBit);
  Type first = operands.empty()
                   ? Type()
                   : getInnerElement(operands.front().second.getType());
  Type element = first;
  if (tensors && !allowed(element)) {
    // One type is allowed, or the first (float) is the schema's default.
    element = moe::onnx::getElementType(llvm::countr_zero(tensors), context);
  }
  if (!element)
    element = Float32Type::get(context);
  Type type = UnrankedTensorType::get(element);
  if (tensors)
    return type;
  if (isSequence)
    return moe::onnx::SeqType::get(context, type);
  if (isOptional)
    return moe::onnx::OptionalType::get(context, type);
  return type;
}

//===----------------------------------------------------------------------===//
// Attributes
//===----------------------------------------------------------------------===//

ArrayAttr GraphImporter::getDims(ArrayRef<std::string> dims) {
  SmallVector<Attribute> names;
  for (const std::string &dim : dims)
    names.push_back(builder.getStringAttr(dim));
  return builder.getArrayAttr(names);
}

template <typename Entries>
DictionaryAttr GraphImporter::importMetadata(const Entries &entries,
                                             StringRef what) {
  if (entries.empty())
    return {};
  NamedAttrList list;
  for (const auto &entry : entries) {
    if (entry.key().empty()) {
      reportModel() << "metadata of " << what << " has an empty key";
      continue;
    }
    StringAttr key = builder.getStringAttr(entry.key());
    if (list.get(key))
      reportModel() << "metadata of " << what << " has the key '" << entry.key()
                    << "' twice";
    else
      list.append(key, builder.getStringAttr(entry.value()));
  }
  return list.getDictionary(context);
}

/// The type of an attribute; old files leave it to the fields that are set.
static AttributeProto::AttributeType getKind(const AttributeProto &attribute) {
  if (attribute.type() != AttributeProto::UNDEFINED)
    return attribute.type();
  if (attribute.has_f())
    return AttributeProto::FLOAT;
  if (attribute.has_i())
    return AttributeProto::INT;
  if (attribute.has_s())
    return AttributeProto::STRING;
  if (attribute.has_t())
    return AttributeProto::TENSOR;
  if (attribute.has_g())
    return AttributeProto::GRAPH;
  if (attribute.floats_size())
    return AttributeProto::FLOATS;
  if (attribute.ints_size())
    return AttributeProto::INTS;
  if (attribute.strings_size())
    return AttributeProto::STRINGS;
  if (attribute.has_tp())
    return AttributeProto::TYPE_PROTO;
  return AttributeProto::UNDEFINED;
}

Attribute
GraphImporter::importAttribute(const AttributeProto &attribute,
                               llvm::function_ref<InFlightDiagnostic()> error) {
  auto fail = [&](const Twine &why) {
    error() << "attribute '" << attribute.name() << "': " << why;
    return Attribute();
  };
  if (!attribute.ref_attr_name().empty())
    return fail("refers to the attribute '" + attribute.ref_attr_name() +
                "' of a function, but stands in no function");
  switch (getKind(attribute)) {
  case AttributeProto::FLOAT:
    return builder.getF32FloatAttr(attribute.f());
  case AttributeProto::INT:
    return builder.getI64IntegerAttr(attribute.i());
  case AttributeProto::STRING:
    return builder.getStringAttr(attribute.s());
  case AttributeProto::TENSOR:
    return importTensor(attribute.t(), file, context, [&] {
      InFlightDiagnostic diagnostic = error();
      diagnostic << "attribute '" << attribute.name() << "': ";
      return diagnostic;
    });
  case AttributeProto::FLOATS:
    return builder.getDenseF32ArrayAttr(
        ArrayRef<float>(attribute.floats().data(), attribute.floats_size()));
  case AttributeProto::INTS:
    return builder.getDenseI64ArrayAttr(
        SmallVector<int64_t>(attribute.ints().begin(), attribute.ints().end()));
  case AttributeProto::STRINGS: {
    SmallVector<Attribute> strings;
    for (const std::string &text : attribute.strings())
      strings.push_back(builder.getStringAttr(text));
    return builder.getArrayAttr(strings);
  }
  case AttributeProto::TYPE_PROTO: {
    std::string why;
    if (Type type = importType(attribute.tp(), why).type)
      return TypeAttr::get(type);
    return fail(why);
  }
  case AttributeProto::UNDEFINED:
    return fail("has neither a type nor a value");
  default:
    return fail(
        "lists of tensors, graphs and types, sparse tensors, and graphs of "
        "operators that are not known are not supported");
  }
}

//===----------------------------------------------------------------------===//
// Values
//===----------------------------------------------------------------------===//

Value GraphImporter::lookup(StringRef name, bool &known) {
  for (const Scope &scope : llvm::reverse(scopes)) {
    auto found = scope.values.find(name);
    if (found == scope.values.end())
      continue;
    known = true;
    return found->second;
  }
  known = false;
  return {};
}

bool GraphImporter::define(StringRef name, Value value,
                           llvm::function_ref<InFlightDiagnostic()> error,
                           bool shadows) {
  bool known = scopes.back().values.contains(name);
  if (!shadows)
    lookup(name, known);
  if (known) {
    error() << "the value '" << name << "' is defined twice";
    return false;
  }
  scopes.back().values[name] = value;
  return true;
}

void GraphImporter::importInitializers(const GraphProto &graph) {
  for (const auto &tensor : graph.initializer()) {
    if (tensor.name().empty()) {
      reportModel() << "an initializer has no name";
      continue;
    }
    ElementsAttr value =
        importTensor(tensor, file, context, [&] { return reportModel(); });
    Value result;
    if (value) {
      Location loc = FileLineColLoc::get(context, file.path(), 0, 0);
      auto op = moe::onnx::InitializerOp::create(
          builder, loc, value.getType(), builder.getStringAttr(tensor.name()),
          value);
      if (!tensor.doc_string().empty())
        op->setAttr(moe::onnx::names::kDoc,
                    builder.getStringAttr(tensor.doc_string()));
      if (DictionaryAttr metadata = importMetadata(
              tensor.metadata_props(), "initializer '" + tensor.name() + "'"))
        op->setAttr(moe::onnx::names::kMetadata, metadata);
      result = op.getResult();
    }
    define(tensor.name(), result, [&] { return reportModel(); });
  }
  for (const auto &sparse : graph.sparse_initializer())
    reportModel() << "sparse initializer '" << sparse.values().name()
                  << "' is not supported; accepted are dense ones";
}

//===----------------------------------------------------------------------===//
// Nodes
//===----------------------------------------------------------------------===//

void GraphImporter::addNodeProperties(const NodeProto &node,
                                      OperationState &state) {
  if (!node.doc_string().empty())
    state.addAttribute(moe::onnx::names::kDoc,
                       builder.getStringAttr(node.doc_string()));
  if (DictionaryAttr metadata =
          importMetadata(node.metadata_props(), "node '" + node.name() + "'"))
    state.addAttribute(moe::onnx::names::kMetadata, metadata);
}

void GraphImporter::breakOutputs(const NodeProto &node) {
  for (const std::string &name : node.output())
    if (!name.empty())
      scopes.back().values.try_emplace(name, Value());
}

/// Enters the results of `op`; `places` tells which output each one is.
void GraphImporter::finish(const NodeProto &node, int index, Operation *op,
                           ArrayRef<int> places) {
  SmallVector<Attribute> outputs, infos;
  bool hasInfo = false;
  for (auto [result, place] : llvm::zip(op->getResults(), places)) {
    const std::string &name = node.output(place);
    outputs.push_back(builder.getStringAttr(name));
    define(name, result, [&] { return reportNode(node, index); });
    NamedAttrList info;
    if (const ValueInfoProto *given = scopes.back().infos.lookup(name);
        given && !scopes.back().outputs.contains(name))
      describe(*given, lookupDeclared(name), info);
    hasInfo |= !info.empty();
    infos.push_back(info.getDictionary(context));
  }
  op->setAttr(moe::onnx::names::kOutputs, builder.getArrayAttr(outputs));
  if (hasInfo)
    op->setAttr(names::kDeclared, builder.getArrayAttr(infos));
}

/// What a model tells of a value besides its type.
void GraphImporter::describe(const ValueInfoProto &info,
                             const DeclaredType &declared,
                             NamedAttrList &attributes) {
  if (!llvm::all_of(declared.dims,
                    [](const std::string &dim) { return dim.empty(); }))
    attributes.append("dims", getDims(declared.dims));
  if (!info.doc_string().empty())
    attributes.append("doc_string", builder.getStringAttr(info.doc_string()));
  if (DictionaryAttr metadata =
          importMetadata(info.metadata_props(), "value '" + info.name() + "'"))
    attributes.append("metadata_props", metadata);
}

bool GraphImporter::importOperands(
    const NodeProto &node, int index, const OpSignature &signature,
    OperationState &state,
    SmallVectorImpl<std::pair<const Formal *, Value>> &uses) {
  bool complete = true;
  int place = 0;
  SmallVector<int32_t> segments;
  auto use = [&](const Formal &formal, const std::string &name) {
    bool known;
    Value value = lookup(name, known);
    if (!known) {
      InFlightDiagnostic error = reportNode(node, index);
      error << "input '" << name << "' is not defined";
      auto producer = scopes.back().producers.find(name);
      if (producer != scopes.back().producers.end())
        error << " before node #" << producer->second
              << "; nodes must be sorted by their dependences, without cycles";
    }
    if (!value) {
      complete = false;
      return;
    }
    state.operands.push_back(value);
    uses.emplace_back(&formal, value);
  };
  for (const Formal &formal : signature.operands) {
    int32_t &count = segments.emplace_back(0);
    if (formal.kind == FormalKind::Variadic) {
      for (; place < node.input_size(); ++place, ++count) {
        if (node.input(place).empty()) {
          reportNode(node, index)
              << "input '" << formal.name
              << "' is variadic: none of its values can be left out";
          complete = false;
        } else {
          use(formal, node.input(place));
        }
      }
      continue;
    }
    if (place < node.input_size() && !node.input(place).empty()) {
      use(formal, node.input(place));
      ++count;
    } else if (formal.kind == FormalKind::Single) {
      reportNode(node, index) << "input '" << formal.name << "' is required";
      complete = false;
    }
    ++place;
  }
  if (signature.hasOperandSegments())
    state.addAttribute("operandSegmentSizes",
                       builder.getDenseI32ArrayAttr(segments));
  return complete;
}

bool GraphImporter::importSubgraph(const NodeProto &node, int index,
                                   const AttributeProto &attribute,
                                   OperationState &state,
                                   NamedAttrList &graphs) {
  const GraphProto &graph = attribute.g();
  Region *region = state.addRegion();
  Block *block = &region->emplaceBlock();
  OpBuilder::InsertionGuard guard(builder);
  builder.setInsertionPointToStart(block);
  bool failedBefore = failed;
  failed = false;
  scopes.emplace_back();
  llvm::scope_exit leave([&] {
    scopes.pop_back();
    failed |= failedBefore;
  });

  auto error = [&] {
    InFlightDiagnostic diagnostic = reportNode(node, index);
    diagnostic << "subgraph '" << attribute.name() << "': ";
    return diagnostic;
  };
  SmallVector<Attribute> inputDims, outputDims;
  for (auto [i, input] : llvm::enumerate(graph.input())) {
    scopes.back().infos[input.name()] = &input;
    DeclaredType declared = lookupDeclared(input.name());
    if (!declared.type) {
      // The values of a loop or scan have the elements of the node's inputs;
      // a loop's body gets the trip count and the condition before them.
      Type element = i < state.operands.size()
                         ? getInnerElement(state.operands[i].getType())
                         : Type();
      if (node.op_type() == "Loop" && i < 2)
        element = builder.getIntegerType(i == 0 ? 64 : 1);
      if (!element) {
        error() << "input '" << input.name() << "' has no type";
        continue;
      }
      declared.type = UnrankedTensorType::get(element);
    }
    inputDims.push_back(getDims(declared.dims));
    Location loc =
        NameLoc::get(builder.getStringAttr(input.name()), state.location);
    // Inputs of a body may be called as values around it: ONNX's checker and
    // other runtimes accept that, so exporters write it.
    define(input.name(), block->addArgument(declared.type, loc), error,
           /*shadows=*/true);
  }
  for (const ValueInfoProto &info : graph.value_info())
    scopes.back().infos[info.name()] = &info;
  for (const ValueInfoProto &info : graph.output()) {
    scopes.back().infos[info.name()] = &info;
    scopes.back().outputs.insert(info.name());
  }

  importInitializers(graph);
  importNodes(graph);

  SmallVector<Value> yielded;
  for (const ValueInfoProto &output : graph.output()) {
    bool known;
    Value value = lookup(output.name(), known);
    if (!known)
      error() << "output '" << output.name() << "' is not defined";
    if (value)
      yielded.push_back(value);
    outputDims.push_back(getDims(lookupDeclared(output.name()).dims));
  }
  if (failed)
    return false;
  moe::onnx::YieldOp::create(builder, state.location, yielded);
  NamedAttrList description;
  description.append("name", builder.getStringAttr(graph.name()));
  if (!graph.doc_string().empty())
    description.append("doc_string", builder.getStringAttr(graph.doc_string()));
  description.append("input_dims", builder.getArrayAttr(inputDims));
  description.append("output_dims", builder.getArrayAttr(outputDims));
  graphs.append(attribute.name(), description.getDictionary(context));
  return true;
}

/// Whether the signature covers the node; ONNX Runtime's operators gain inputs
/// and attributes without a new opset.
static bool coversNode(const OpSignature &signature, const NodeProto &node) {
  if (node.input_size() > signature.maxInputs ||
      node.input_size() < signature.minInputs ||
      node.output_size() > signature.maxOutputs)
    return false;
  return llvm::all_of(node.attribute(), [&](const AttributeProto &attribute) {
    return llvm::any_of(signature.attributes, [&](const AttrFormal &formal) {
      return formal.name == attribute.name();
    });
  });
}

void GraphImporter::importNode(const NodeProto &node, int index) {
  StringRef domain = node.domain();
  if (domain.empty())
    domain = "ai.onnx";
  if (domain == "com.microsoft" && opsets.try_emplace(domain, 1).second)
    // ONNX Runtime takes such models, and exporters write them.
    emitWarning(FileLineColLoc::get(context, file.path(), 0, 0))
        << "imports no opset of domain 'com.microsoft'; 1 is assumed";
  if (!opsets.count(domain)) {
    reportNode(node, index)
        << "the model imports no opset of domain '" << domain << "'";
    return breakOutputs(node);
  }
  for (const ::onnx::FunctionProto &function : model.functions())
    if (function.domain() == node.domain() &&
        function.name() == node.op_type()) {
      reportNode(node, index)
          << "the model-local function cannot be inlined: it imports other "
             "opsets than the model";
      return breakOutputs(node);
    }
  StringRef opName = moe::onnx::lookupOpName(node.domain(), node.op_type());
  if (opName.empty()) {
    // Operators of ai.onnx that do not exist have been reported before.
    if (domain == "ai.onnx")
      return breakOutputs(node);
    return importCustom(node, index);
  }
  const OpSignature &signature = *moe::onnx::lookupSignature(opName);
  if (domain == "com.microsoft" && !coversNode(signature, node)) {
    emitWarning(getNodeLocation(context, file.path(), node.name(), index))
        << "com.microsoft::" << node.op_type()
        << " has inputs or attributes that are not known; kept as a custom "
           "operator";
    return importCustom(node, index);
  }

  Location loc = getNodeLocation(context, file.path(), node.name(), index);
  OperationState state(loc, opName);
  SmallVector<std::pair<const Formal *, Value>> uses;
  bool good = importOperands(node, index, signature, state, uses);

  NamedAttrList graphs;
  for (const AttrFormal &formal : signature.attributes) {
    const AttributeProto *given = nullptr;
    for (const AttributeProto &attribute : node.attribute())
      if (attribute.name() == formal.name)
        given = &attribute;
    auto error = [&] { return reportNode(node, index); };
    if (!given) {
      if (formal.required) {
        error() << "attribute '" << formal.name << "' is required";
        good = false;
      }
      continue;
    }
    if (formal.kind == AttrKind::Graph) {
      if (!given->has_g()) {
        error() << "attribute '" << formal.name << "' holds no graph";
        good = false;
      } else if (good) {
        good &= importSubgraph(node, index, *given, state, graphs);
      }
      continue;
    }
    Attribute value = importAttribute(*given, error);
    good &= static_cast<bool>(value);
    if (value)
      state.addAttribute(formal.name, value);
    std::string why;
    if (value && formal.kind == AttrKind::TypeProto)
      state.addAttribute(names::kElementDims,
                         getDims(importType(given->tp(), why).dims));
  }
  if (!good)
    return breakOutputs(node);

  if (!graphs.empty())
    state.addAttribute(names::kGraphs, graphs.getDictionary(context));
  if (node.domain() != signature.domain)
    state.addAttribute(moe::onnx::names::kDomain,
                       builder.getStringAttr(node.domain()));
  addNodeProperties(node, state);

  SmallVector<int32_t> segments;
  SmallVector<int> places;
  int place = 0;
  for (const Formal &formal : signature.results) {
    int32_t &count = segments.emplace_back(0);
    int end =
        formal.kind == FormalKind::Variadic ? node.output_size() : place + 1;
    for (; place < end; ++place) {
      bool present = place < node.output_size() && !node.output(place).empty();
      if (!present) {
        if (formal.kind == FormalKind::Optional)
          continue;
        reportNode(node, index)
            << "output '" << formal.name << "' cannot be left out";
        return breakOutputs(node);
      }
      Type type = lookupDeclared(node.output(place)).type;
      if (!type && !state.regions.empty() && node.op_type() != "SequenceMap") {
        // If and Loop give what the subgraph yields; a loop's condition does
        // not come out. What is stacked has the same elements.
        Operation *yield = state.regions.front()->front().getTerminator();
        unsigned yielded = places.size() + (node.op_type() == "Loop");
        if (yielded < yield->getNumOperands()) {
          type = yield->getOperand(yielded).getType();
          if (auto tensor = dyn_cast<TensorType>(type))
            type = UnrankedTensorType::get(tensor.getElementType());
        }
      }
      if (!type)
        type = guessResultType(signature, formal, state, uses);
      state.addTypes(type);
      places.push_back(place);
      ++count;
    }
  }
  if (signature.hasResultSegments())
    state.addAttribute("resultSegmentSizes",
                       builder.getDenseI32ArrayAttr(segments));

  // What verification would call a bug of ours is the model's: wrong kinds of
  // attributes are refused by name.
  for (const auto &registered :
       {RegisteredOperationName::lookup(opName, context)})
    if (!registered ||
        mlir::failed(registered->verifyInherentAttrs(
            state.attributes, [&] { return reportNode(node, index); }))) {
      failed = true;
      return breakOutputs(node);
    }
  finish(node, index, builder.create(state), places);
}

void GraphImporter::importCustom(const NodeProto &node, int index) {
  Location loc = getNodeLocation(context, file.path(), node.name(), index);
  OperationState state(loc, moe::onnx::CustomOp::getOperationName());
  bool good = true;
  SmallVector<bool> present, presentResults;
  SmallVector<std::pair<const Formal *, Value>> uses;
  for (const std::string &name : node.input()) {
    present.push_back(!name.empty());
    if (name.empty())
      continue;
    bool known;
    Value value = lookup(name, known);
    if (!known)
      reportNode(node, index) << "input '" << name << "' is not defined";
    good &= static_cast<bool>(value);
    if (value)
      state.operands.push_back(value);
  }
  auto error = [&] { return reportNode(node, index); };
  for (const AttributeProto &attribute : node.attribute()) {
    static constexpr StringLiteral kOwn[] = {"domain", "op_type", "present",
                                             "present_results"};
    if (attribute.name().empty() ||
        llvm::is_contained(kOwn, attribute.name()) ||
        state.attributes.get(attribute.name())) {
      error() << "attribute '" << attribute.name()
              << "' is empty, given twice, or one of the names domain, "
                 "op_type, present, present_results that onnx.Custom uses";
      good = false;
      continue;
    }
    Attribute value = importAttribute(attribute, error);
    good &= static_cast<bool>(value);
    if (value)
      state.addAttribute(attribute.name(), value);
  }
  if (!node.overload().empty()) {
    error() << "overloads are not supported";
    good = false;
  }
  if (!good)
    return breakOutputs(node);

  SmallVector<int> places;
  for (auto [place, name] : llvm::enumerate(node.output())) {
    presentResults.push_back(!name.empty());
    if (name.empty())
      continue;
    // Nobody knows the operator's types. Without a declaration the elements
    // of the first input are assumed, which serves to carry the node through.
    Type type = lookupDeclared(name).type;
    if (!type) {
      Type element = state.operands.empty()
                         ? Type()
                         : getInnerElement(state.operands[0].getType());
      type = UnrankedTensorType::get(element ? element
                                             : Type(builder.getF32Type()));
    }
    state.addTypes(type);
    places.push_back(static_cast<int>(place));
  }
  state.addAttribute("domain", builder.getStringAttr(node.domain()));
  state.addAttribute("op_type", builder.getStringAttr(node.op_type()));
  if (llvm::is_contained(present, false))
    state.addAttribute("present", builder.getDenseBoolArrayAttr(present));
  if (llvm::is_contained(presentResults, false))
    state.addAttribute("present_results",
                       builder.getDenseBoolArrayAttr(presentResults));
  addNodeProperties(node, state);
  finish(node, index, builder.create(state), places);
}

void GraphImporter::importNodes(const GraphProto &graph) {
  declaresValues |= graph.value_info_size() != 0;
  for (auto [index, node] : llvm::enumerate(graph.node()))
    for (const std::string &name : node.output())
      if (!name.empty())
        scopes.back().producers.try_emplace(name, static_cast<int>(index));
  for (auto [index, node] : llvm::enumerate(graph.node())) {
    if (node.device_configurations_size())
      emitWarning(getNodeLocation(context, file.path(), node.name(),
                                  static_cast<int>(index)))
          << "device configurations are dropped";
    importNode(node, static_cast<int>(index));
  }
}

//===----------------------------------------------------------------------===//
// The model
//===----------------------------------------------------------------------===//

void GraphImporter::importMain() {
  const GraphProto &graph = model.graph();
  Location loc = FileLineColLoc::get(context, file.path(), 0, 0);
  builder.setInsertionPointToEnd(module.getBody());
  auto function = func::FuncOp::create(builder, loc, "main",
                                       builder.getFunctionType({}, {}));
  Block *block = &function.getBody().emplaceBlock();
  builder.setInsertionPointToStart(block);
  scopes.emplace_back();

  llvm::StringSet<> initialized;
  for (const auto &tensor : graph.initializer())
    initialized.insert(tensor.name());
  auto error = [&] { return reportModel(); };
  auto describeFormal = [&](const ValueInfoProto &info,
                            const DeclaredType &declared,
                            NamedAttrList &attributes) {
    attributes.append(moe::onnx::names::kName,
                      builder.getStringAttr(info.name()));
    if (isa<RankedTensorType>(declared.type))
      attributes.append(moe::onnx::names::kDims, getDims(declared.dims));
    else if (!declared.dims.empty())
      attributes.append(names::kElementDims, getDims(declared.dims));
    if (!info.doc_string().empty())
      attributes.append(moe::onnx::names::kDoc,
                        builder.getStringAttr(info.doc_string()));
    if (DictionaryAttr metadata = importMetadata(info.metadata_props(),
                                                 "value '" + info.name() + "'"))
      attributes.append(moe::onnx::names::kMetadata, metadata);
  };

  SmallVector<DictionaryAttr> argumentAttributes, resultAttributes;
  SmallVector<std::pair<std::string, DictionaryAttr>> defaults;
  for (auto [position, input] : llvm::enumerate(graph.input())) {
    scopes.back().infos[input.name()] = &input;
    std::string why;
    DeclaredType declared = importType(input.type(), why);
    if (input.name().empty() || !declared.type) {
      error() << "input '" << input.name()
              << "': " << (input.name().empty() ? "has no name" : why);
      scopes.back().values.try_emplace(input.name(), Value());
      continue;
    }
    NamedAttrList attributes;
    describeFormal(input, declared, attributes);
    if (initialized.contains(input.name())) {
      // A default that a caller may replace. It is compiled in, so it is a
      // constant here; its place among the inputs is kept for the export.
      attributes.append("position", builder.getI64IntegerAttr(
                                        static_cast<int64_t>(position)));
      defaults.emplace_back(input.name(), attributes.getDictionary(context));
      continue;
    }
    argumentAttributes.push_back(attributes.getDictionary(context));
    Location argumentLoc =
        NameLoc::get(builder.getStringAttr(input.name()), loc);
    define(input.name(), block->addArgument(declared.type, argumentLoc), error);
  }
  for (const ValueInfoProto &info : graph.value_info())
    scopes.back().infos[info.name()] = &info;
  for (const ValueInfoProto &info : graph.output()) {
    scopes.back().infos[info.name()] = &info;
    scopes.back().outputs.insert(info.name());
  }

  importInitializers(graph);
  for (auto &[name, attributes] : defaults)
    if (Value value = scopes.back().values.lookup(name))
      value.getDefiningOp()->setAttr(names::kInput, attributes);
  importNodes(graph);

  SmallVector<Value> results;
  for (const ValueInfoProto &output : graph.output()) {
    bool known;
    Value value = lookup(output.name(), known);
    if (!known)
      error() << "output '" << output.name() << "' is not defined";
    if (!value) {
      failed = true;
      continue;
    }
    DeclaredType declared = lookupDeclared(output.name());
    if (!declared.type)
      declared.type = UnrankedTensorType::get(builder.getF32Type());
    NamedAttrList attributes;
    describeFormal(output, declared, attributes);
    resultAttributes.push_back(attributes.getDictionary(context));
    results.push_back(value);
  }
  if (failed)
    return;
  func::ReturnOp::create(builder, loc, results);
  function.setType(builder.getFunctionType(block->getArgumentTypes(),
                                           ValueRange(results).getTypes()));
  function.setAllArgAttrs(argumentAttributes);
  function.setAllResultAttrs(resultAttributes);
}

void GraphImporter::setModuleAttributes() {
  NamedAttrList imports, description;
  for (const auto &entry : opsets)
    imports.append(entry.getKey(), builder.getI64IntegerAttr(entry.second));
  module->setAttr(moe::onnx::names::kOpsetImport,
                  imports.getDictionary(context));

  auto addText = [&](StringRef name, const std::string &text) {
    if (!text.empty())
      description.append(name, builder.getStringAttr(text));
  };
  const GraphProto &graph = model.graph();
  description.append("ir_version",
                     builder.getI64IntegerAttr(model.ir_version()));
  addText("producer_name", model.producer_name());
  addText("producer_version", model.producer_version());
  addText("domain", model.domain());
  if (model.has_model_version())
    description.append("model_version",
                       builder.getI64IntegerAttr(model.model_version()));
  addText("doc_string", model.doc_string());
  addText("graph_name", graph.name());
  addText("graph_doc_string", graph.doc_string());
  if (DictionaryAttr metadata =
          importMetadata(model.metadata_props(), "the model"))
    description.append("metadata_props", metadata);
  if (DictionaryAttr metadata =
          importMetadata(graph.metadata_props(), "the graph"))
    description.append("graph_metadata_props", metadata);
  if (declaresValues)
    description.append(names::kValueInfo, builder.getUnitAttr());
  module->setAttr(moe::onnx::names::kModel, description.getDictionary(context));
}

void GraphImporter::warnIgnored() {
  Location loc = FileLineColLoc::get(context, file.path(), 0, 0);
  if (model.training_info_size())
    emitWarning(loc) << "training information is dropped";
  if (model.configuration_size())
    emitWarning(loc) << "device configurations are dropped";
  if (model.graph().quantization_annotation_size())
    emitWarning(loc) << "quantization annotations are dropped";
}

LogicalResult GraphImporter::run() {
  for (const auto &import : model.opset_import()) {
    StringRef domain = import.domain();
    if (domain.empty())
      domain = "ai.onnx";
    if (!opsets.try_emplace(domain, import.version()).second)
      reportModel() << "the opset of domain '" << domain
                    << "' is imported twice";
  }
  importMain();
  setModuleAttributes();
  warnIgnored();
  return failure(failed);
}

LogicalResult moe::importGraph(const ModelProto &model, ModelFile &file,
                               ModuleOp module) {
  return GraphImporter(model, file, module).run();
}
