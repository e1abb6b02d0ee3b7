//===- ExportGraph.cpp - ops to GraphProto --------------------------------===//
//
// The reverse of ImportGraph.cpp. First every value gets its name: those of
// inputs and outputs are fixed, others keep the one they were imported with
// unless it is taken (by a copy of the op, say), new ones are numbered. Then
// one node is written per op.
//
//===----------------------------------------------------------------------===//
#include "lib/ONNX/ExportGraph.h"
#include "dialects/ONNX/ONNXDialect.h"
#include "dialects/ONNX/ONNXOps.h"
#include "dialects/ONNX/Signatures.h"
#include "lib/ONNX/ImportGraph.h"
#include "lib/ONNX/SchemaBridge.h"
#include "mlir/IR/Builders.h"
#include "onnx/onnx_pb.h"
#include "llvm/ADT/DenseMap.h"

using namespace mlir;
using namespace moe;
using moe::onnx::AttrFormal;
using moe::onnx::AttrKind;
using moe::onnx::OpSignature;
using ::onnx::AttributeProto;
using ::onnx::GraphProto;
using ::onnx::NodeProto;
using ::onnx::TypeProto;

namespace {

class GraphExporter {
public:
  GraphExporter(func::FuncOp function, bool declareValues, Payloads &payloads,
                llvm::StringSet<> &domains)
      : function(function), declareValues(declareValues), payloads(payloads),
        domains(domains) {}

  LogicalResult run(GraphProto &graph);

private:
  //===--- Names
  //-----------------------------------------------------------===//
  void nameValues();
  void nameValue(Value value, StringRef wanted);
  bool isFree(StringRef name, Value value) const;
  void nameResults(Block &block);
  void nameRegions(Block &block);
  std::string makeName(StringRef wanted);

  //===--- Types and attributes
  //--------------------------------------------===//
  bool exportType(Type type, ArrayAttr dims, TypeProto &proto);
  void exportValueInfo(StringRef name, Type type, ArrayAttr dims, Location loc,
                       ::onnx::ValueInfoProto &info);
  void exportValueAttributes(DictionaryAttr attributes,
                             ::onnx::ValueInfoProto &info);
  template <typename Message>
  void exportMetadata(Attribute metadata, Message &message);
  bool exportAttribute(Operation *op, StringRef name, Attribute value,
                       AttributeProto &proto);
  void exportElements(Operation *op, ElementsAttr value,
                      ::onnx::TensorProto &tensor);

  //===--- Graphs
  //----------------------------------------------------------===//
  void exportInitializer(moe::onnx::InitializerOp op, GraphProto &graph);
  void exportNode(Operation *op, GraphProto &graph);
  void exportRegion(Operation *op, StringRef name, Region &region,
                    GraphProto &graph);
  void exportBody(Block &block, GraphProto &graph);
  void addOutput(Value value, std::string name, GraphProto &graph);

  InFlightDiagnostic error(Operation *op) {
    failed = true;
    return op->emitOpError();
  }

  func::FuncOp function;
  bool declareValues;
  Payloads &payloads;
  llvm::StringSet<> &domains;
  DenseMap<Value, std::string> names;
  /// All names, and those that are visible where values are being named,
  /// innermost subgraph last.
  llvm::StringSet<> taken;
  SmallVector<llvm::StringMap<Value>> scopes;
  /// Names of nodes: those of one graph differ.
  DenseMap<const GraphProto *, llvm::StringSet<>> nodeNames;
  unsigned counter = 0;
  bool failed = false;
};

/// The name in a location; empty if there is none.
StringRef getName(Location loc) {
  if (auto named = dyn_cast<NameLoc>(loc))
    return named.getName();
  if (auto fused = dyn_cast<FusedLoc>(loc))
    for (Location part : fused.getLocations())
      if (StringRef name = getName(part); !name.empty())
        return name;
  return {};
}

/// What the model declared of a result, null if nothing.
DictionaryAttr getDeclared(Operation *op, unsigned result) {
  auto all = op->getAttrOfType<ArrayAttr>(moe::names::kDeclared);
  if (!all || result >= all.size())
    return {};
  return dyn_cast<DictionaryAttr>(all[result]);
}

/// The names of the extents of an argument or result of the function.
ArrayAttr getFormalDims(DictionaryAttr attributes) {
  if (!attributes)
    return {};
  if (auto dims = attributes.getAs<ArrayAttr>(moe::onnx::names::kDims))
    return dims;
  return attributes.getAs<ArrayAttr>(moe::names::kElementDims);
}

StringRef getText(DictionaryAttr attributes, StringRef name) {
  auto text = attributes ? dyn_cast_or_null<StringAttr>(attributes.get(name))
                         : StringAttr();
  return text ? text.getValue() : StringRef();
}

} // namespace

//===----------------------------------------------------------------------===//
// Names
//===----------------------------------------------------------------------===//

std::string GraphExporter::makeName(StringRef wanted) {
  std::string name = wanted.str();
  while (name.empty() || !taken.insert(name).second)
    name = (wanted.empty() ? "value" : wanted.str()) + "_" +
           std::to_string(counter++);
  return name;
}

/// Whether `value` may have the name: subgraphs that do not see each other may
/// use the same ones, and an input of a subgraph may be called as a value
/// around it that the subgraph does not use.
bool GraphExporter::isFree(StringRef name, Value value) const {
  if (name.empty() || scopes.back().contains(name))
    return false;
  for (const auto &scope : ArrayRef(scopes).drop_back()) {
    auto outer = scope.find(name);
    if (outer == scope.end())
      continue;
    Region *region = value.getParentRegion();
    if (!isa<BlockArgument>(value) ||
        llvm::any_of(outer->second.getUsers(), [&](Operation *user) {
          return region->isAncestor(user->getParentRegion());
        }))
      return false;
  }
  return true;
}

void GraphExporter::nameValue(Value value, StringRef wanted) {
  if (names.count(value))
    return;
  std::string name = wanted.str();
  if (isFree(name, value))
    taken.insert(name);
  else
    name = makeName(wanted);
  scopes.back()[name] = value;
  names[value] = name;
}

/// Names what the ops of one graph give, without its subgraphs.
void GraphExporter::nameResults(Block &block) {
  for (Operation &op : block) {
    if (auto initializer = dyn_cast<moe::onnx::InitializerOp>(op)) {
      nameValue(initializer.getResult(), initializer.getInitializer());
      continue;
    }
    auto outputs = op.getAttrOfType<ArrayAttr>(moe::onnx::names::kOutputs);
    for (auto [i, result] : llvm::enumerate(op.getResults())) {
      auto name = outputs && i < outputs.size()
                      ? dyn_cast<StringAttr>(outputs[i])
                      : StringAttr();
      nameValue(result, name ? name.getValue() : StringRef());
    }
  }
}

void GraphExporter::nameRegions(Block &block) {
  for (Operation &op : block)
    for (Region &region : op.getRegions())
      for (Block &body : region) {
        scopes.emplace_back();
        for (BlockArgument argument : body.getArguments())
          nameValue(argument, getName(argument.getLoc()));
        nameResults(body);
        nameRegions(body);
        scopes.pop_back();
      }
}

void GraphExporter::nameValues() {
  scopes.emplace_back();
  Block &body = function.getBody().front();
  for (BlockArgument argument : body.getArguments()) {
    auto name = function.getArgAttrOfType<StringAttr>(argument.getArgNumber(),
                                                      moe::onnx::names::kName);
    nameValue(argument, name ? name.getValue() : "input");
  }
  // An output keeps its name; a value that is not made by a node gets there
  // by an Identity if it has another one.
  for (auto [i, value] : llvm::enumerate(body.getTerminator()->getOperands())) {
    auto name =
        function.getResultAttrOfType<StringAttr>(i, moe::onnx::names::kName);
    if (name && value.getDefiningOp())
      nameValue(value, name);
  }
  nameResults(body);
  nameRegions(body);
}

//===----------------------------------------------------------------------===//
// Types and attributes
//===----------------------------------------------------------------------===//

bool GraphExporter::exportType(Type type, ArrayAttr dims, TypeProto &proto) {
  if (auto seq = dyn_cast<moe::onnx::SeqType>(type))
    return exportType(seq.getElementType(), dims,
                      *proto.mutable_sequence_type()->mutable_elem_type());
  if (auto optional = dyn_cast<moe::onnx::OptionalType>(type))
    return exportType(optional.getElementType(), dims,
                      *proto.mutable_optional_type()->mutable_elem_type());
  auto tensor = dyn_cast<TensorType>(type);
  int dataType = tensor ? moe::onnx::getDataType(tensor.getElementType()) : 0;
  if (!dataType)
    return false;
  proto.mutable_tensor_type()->set_elem_type(dataType);
  if (!tensor.hasRank())
    return true;
  auto *shape = proto.mutable_tensor_type()->mutable_shape();
  for (auto [i, extent] : llvm::enumerate(tensor.getShape())) {
    auto *dim = shape->add_dim();
    auto name =
        dims && i < dims.size() ? dyn_cast<StringAttr>(dims[i]) : StringAttr();
    if (name && !name.empty())
      dim->set_dim_param(name.str());
    else if (!ShapedType::isDynamic(extent))
      dim->set_dim_value(extent);
  }
  return true;
}

void GraphExporter::exportValueInfo(StringRef name, Type type, ArrayAttr dims,
                                    Location loc,
                                    ::onnx::ValueInfoProto &info) {
  info.set_name(name.str());
  if (exportType(type, dims, *info.mutable_type()))
    return;
  failed = true;
  emitError(loc) << "value '" << name << "' of type " << type
                 << " cannot be written as ONNX";
}

template <typename Message>
void GraphExporter::exportMetadata(Attribute metadata, Message &message) {
  auto dictionary = dyn_cast_or_null<DictionaryAttr>(metadata);
  if (!dictionary)
    return;
  for (NamedAttribute entry : dictionary)
    if (auto text = dyn_cast<StringAttr>(entry.getValue())) {
      auto *added = message.add_metadata_props();
      added->set_key(entry.getName().str());
      added->set_value(text.str());
    }
}

void GraphExporter::exportValueAttributes(DictionaryAttr attributes,
                                          ::onnx::ValueInfoProto &info) {
  if (!attributes)
    return;
  StringRef doc = getText(attributes, moe::onnx::names::kDoc);
  if (!doc.empty())
    info.set_doc_string(doc.str());
  exportMetadata(attributes.get(moe::onnx::names::kMetadata), info);
}

void GraphExporter::exportElements(Operation *op, ElementsAttr value,
                                   ::onnx::TensorProto &tensor) {
  std::string why;
  if (!exportTensor(value, tensor, payloads, why))
    error(op) << "cannot be written as ONNX: " << why;
}

/// Writes an attribute by its class, which the ODS (or, for a custom operator,
/// the import) made that of the attribute's type.
bool GraphExporter::exportAttribute(Operation *op, StringRef name,
                                    Attribute value, AttributeProto &proto) {
  proto.set_name(name.str());
  if (auto number = dyn_cast<FloatAttr>(value);
      number && number.getType().isF32()) {
    proto.set_type(AttributeProto::FLOAT);
    proto.set_f(number.getValue().convertToFloat());
  } else if (auto number = dyn_cast<IntegerAttr>(value);
             number && number.getType().isSignlessInteger(64)) {
    proto.set_type(AttributeProto::INT);
    proto.set_i(number.getInt());
  } else if (auto text = dyn_cast<StringAttr>(value)) {
    proto.set_type(AttributeProto::STRING);
    proto.set_s(text.str());
  } else if (auto list = dyn_cast<DenseI64ArrayAttr>(value)) {
    proto.set_type(AttributeProto::INTS);
    for (int64_t number : list.asArrayRef())
      proto.add_ints(number);
  } else if (auto list = dyn_cast<DenseF32ArrayAttr>(value)) {
    proto.set_type(AttributeProto::FLOATS);
    for (float number : list.asArrayRef())
      proto.add_floats(number);
  } else if (auto elements = dyn_cast<ElementsAttr>(value)) {
    proto.set_type(AttributeProto::TENSOR);
    exportElements(op, elements, *proto.mutable_t());
  } else if (auto type = dyn_cast<TypeAttr>(value)) {
    proto.set_type(AttributeProto::TYPE_PROTO);
    return exportType(type.getValue(),
                      op->getAttrOfType<ArrayAttr>(names::kElementDims),
                      *proto.mutable_tp());
  } else if (auto list = dyn_cast<ArrayAttr>(value)) {
    proto.set_type(AttributeProto::STRINGS);
    for (Attribute entry : list) {
      auto text = dyn_cast<StringAttr>(entry);
      if (!text)
        return false;
      proto.add_strings(text.str());
    }
  } else {
    return false;
  }
  return true;
}

//===----------------------------------------------------------------------===//
// Graphs
//===----------------------------------------------------------------------===//

void GraphExporter::exportInitializer(moe::onnx::InitializerOp op,
                                      GraphProto &graph) {
  ::onnx::TensorProto *tensor = graph.add_initializer();
  tensor->set_name(names[op.getResult()]);
  exportElements(op, op.getValue(), *tensor);
  StringRef doc =
      getText(op->getDiscardableAttrDictionary(), moe::onnx::names::kDoc);
  if (!doc.empty())
    tensor->set_doc_string(doc.str());
  exportMetadata(op->getDiscardableAttr(moe::onnx::names::kMetadata), *tensor);
}

void GraphExporter::exportRegion(Operation *op, StringRef name, Region &region,
                                 GraphProto &graph) {
  if (!region.hasOneBlock()) {
    error(op) << "region '" << name << "' must have one block to be written "
              << "as ONNX";
    return;
  }
  DictionaryAttr description;
  if (auto graphs = op->getAttrOfType<DictionaryAttr>(names::kGraphs))
    description = dyn_cast_or_null<DictionaryAttr>(graphs.get(name));
  auto getDims = [&](StringRef key, unsigned i) {
    auto all = description ? dyn_cast_or_null<ArrayAttr>(description.get(key))
                           : ArrayAttr();
    return all && i < all.size() ? dyn_cast<ArrayAttr>(all[i]) : ArrayAttr();
  };
  StringRef graphName = getText(description, "name");
  graph.set_name(graphName.empty() ? name.str() : graphName.str());
  StringRef doc = getText(description, "doc_string");
  if (!doc.empty())
    graph.set_doc_string(doc.str());

  Block &block = region.front();
  for (BlockArgument argument : block.getArguments())
    exportValueInfo(names[argument], argument.getType(),
                    getDims("input_dims", argument.getArgNumber()),
                    op->getLoc(), *graph.add_input());
  exportBody(block, graph);
  if (!isa<moe::onnx::YieldOp>(block.getTerminator())) {
    error(block.getTerminator()) << "cannot be written as ONNX";
    return;
  }
  llvm::StringSet<> used;
  for (auto [i, value] :
       llvm::enumerate(block.getTerminator()->getOperands())) {
    std::string output = names[value];
    // A subgraph cannot give a value from outside as it is.
    bool isOuter = value.getParentRegion() != &region;
    if (isOuter || !used.insert(output).second) {
      output = makeName(output);
      addOutput(value, output, graph);
    }
    exportValueInfo(output, value.getType(), getDims("output_dims", i),
                    op->getLoc(), *graph.add_output());
  }
}

/// Gives `value` a second name.
void GraphExporter::addOutput(Value value, std::string name,
                              GraphProto &graph) {
  NodeProto *node = graph.add_node();
  node->set_op_type("Identity");
  node->add_input(names[value]);
  node->add_output(std::move(name));
}

void GraphExporter::exportNode(Operation *op, GraphProto &graph) {
  NodeProto &node = *graph.add_node();
  StringRef name = getName(op->getLoc());
  if (!name.empty()) {
    // Passes derive names from those of nodes that they replace, one not
    // knowing of the other.
    std::string unique = name.str();
    llvm::StringSet<> &used = nodeNames[&graph];
    for (unsigned i = 1; !used.insert(unique).second; ++i)
      unique = (name + "_" + Twine(i)).str();
    node.set_name(std::move(unique));
  }
  DictionaryAttr discardable = op->getDiscardableAttrDictionary();
  StringRef doc = getText(discardable, moe::onnx::names::kDoc);
  if (!doc.empty())
    node.set_doc_string(doc.str());
  exportMetadata(discardable.get(moe::onnx::names::kMetadata), node);

  auto addAttribute = [&](StringRef attributeName, Attribute value) {
    if (!exportAttribute(op, attributeName, value, *node.add_attribute()))
      error(op) << "attribute '" << attributeName << "' = " << value
                << " cannot be written as ONNX";
  };
  if (auto custom = dyn_cast<moe::onnx::CustomOp>(op)) {
    node.set_domain(custom.getDomain().str());
    node.set_op_type(custom.getOpType().str());
    auto place = [&](std::optional<ArrayRef<bool>> present, ValueRange values,
                     auto add) {
      if (!present) {
        for (Value value : values)
          add(names[value]);
        return;
      }
      unsigned next = 0;
      for (bool here : *present)
        add(here && next < values.size() ? names[values[next++]]
                                         : std::string());
    };
    place(custom.getPresent(), custom.getInputs(),
          [&](const std::string &input) { node.add_input(input); });
    place(custom.getPresentResults(), custom.getOutputs(),
          [&](const std::string &output) { node.add_output(output); });
    for (NamedAttribute attribute : discardable)
      if (!attribute.getName().getValue().starts_with("onnx."))
        addAttribute(attribute.getName(), attribute.getValue());
    domains.insert(custom.getDomain());
    return;
  }

  const OpSignature &signature =
      *moe::onnx::lookupSignature(op->getName().getStringRef());
  auto domain = op->getAttrOfType<StringAttr>(moe::onnx::names::kDomain);
  StringRef domainName = domain ? domain.getValue() : signature.domain;
  if (!domainName.empty())
    node.set_domain(domainName.str());
  domains.insert(domainName.empty() ? "ai.onnx" : domainName);
  node.set_op_type(signature.opName.split('.').second.str());
  for (Value value : getNodeInputs(op))
    node.add_input(value ? names[value] : "");
  while (node.input_size() && node.input(node.input_size() - 1).empty())
    node.mutable_input()->RemoveLast();
  for (Value value : getNodeOutputs(op))
    node.add_output(value ? names[value] : "");
  while (node.output_size() && node.output(node.output_size() - 1).empty())
    node.mutable_output()->RemoveLast();
  unsigned region = 0;
  for (const AttrFormal &formal : signature.attributes) {
    if (formal.kind == AttrKind::Graph) {
      AttributeProto *attribute = node.add_attribute();
      attribute->set_name(formal.name.str());
      attribute->set_type(AttributeProto::GRAPH);
      exportRegion(op, formal.name, op->getRegion(region++),
                   *attribute->mutable_g());
    } else if (Attribute value = op->getAttr(formal.name)) {
      addAttribute(formal.name, value);
    }
  }
}

void GraphExporter::exportBody(Block &block, GraphProto &graph) {
  for (Operation &op : block) {
    if (auto initializer = dyn_cast<moe::onnx::InitializerOp>(op)) {
      exportInitializer(initializer, graph);
      continue;
    }
    if (op.hasTrait<OpTrait::IsTerminator>())
      continue;
    if (!isa<moe::onnx::CustomOp>(op) &&
        !moe::onnx::lookupSignature(op.getName().getStringRef())) {
      InFlightDiagnostic diagnostic =
          error(&op) << "is no operator of ONNX and cannot be written to a "
                        "model";
      if (op.getName().getDialectNamespace() == "moe")
        diagnostic << "; --moe-decompose rewrites it into operators";
      continue;
    }
    exportNode(&op, graph);
    if (!declareValues)
      continue;
    for (OpResult result : op.getResults()) {
      bool isOutput =
          &block == &function.getBody().front() &&
          llvm::is_contained(block.getTerminator()->getOperands(), result);
      auto tensor = dyn_cast<RankedTensorType>(result.getType());
      if (isOutput || !tensor)
        continue;
      DictionaryAttr declared = getDeclared(&op, result.getResultNumber());
      auto *info = graph.add_value_info();
      exportValueInfo(names[result], tensor,
                      declared
                          ? dyn_cast_or_null<ArrayAttr>(declared.get("dims"))
                          : ArrayAttr(),
                      op.getLoc(), *info);
      StringRef doc = getText(declared, "doc_string");
      if (!doc.empty())
        info->set_doc_string(doc.str());
      if (declared)
        exportMetadata(declared.get("metadata_props"), *info);
    }
  }
}

LogicalResult GraphExporter::run(GraphProto &graph) {
  if (!function.getBody().hasOneBlock())
    return function.emitOpError("must have one block to be written as ONNX");
  nameValues();
  Block &body = function.getBody().front();

  // Initializers with a place among the inputs come back there.
  SmallVector<std::pair<int64_t, moe::onnx::InitializerOp>> defaults;
  for (auto op : body.getOps<moe::onnx::InitializerOp>())
    if (auto input = op->getAttrOfType<DictionaryAttr>(names::kInput))
      if (auto position = dyn_cast_or_null<IntegerAttr>(input.get("position")))
        defaults.emplace_back(position.getInt(), op);
  llvm::stable_sort(defaults, llvm::less_first());
  auto nextDefault = defaults.begin();
  auto addDefaults = [&](bool all) {
    for (; nextDefault != defaults.end() &&
           (all || nextDefault->first <= graph.input_size());
         ++nextDefault) {
      auto op = nextDefault->second;
      auto attributes = op->getAttrOfType<DictionaryAttr>(names::kInput);
      auto *info = graph.add_input();
      exportValueInfo(
          names[op.getResult()], op.getType(),
          dyn_cast_or_null<ArrayAttr>(attributes.get(moe::onnx::names::kDims)),
          op.getLoc(), *info);
      exportValueAttributes(attributes, *info);
    }
  };
  for (BlockArgument argument : body.getArguments()) {
    addDefaults(false);
    unsigned i = argument.getArgNumber();
    auto *info = graph.add_input();
    exportValueInfo(names[argument], argument.getType(),
                    getFormalDims(function.getArgAttrDict(i)),
                    function.getLoc(), *info);
    exportValueAttributes(function.getArgAttrDict(i), *info);
  }
  addDefaults(true);

  exportBody(body, graph);
  llvm::StringSet<> used;
  for (auto [i, value] : llvm::enumerate(body.getTerminator()->getOperands())) {
    auto wanted =
        function.getResultAttrOfType<StringAttr>(i, moe::onnx::names::kName);
    std::string name = names[value];
    if ((wanted && wanted.getValue() != name) || used.contains(name)) {
      name = makeName(wanted ? wanted.getValue() : name);
      addOutput(value, name, graph);
    }
    used.insert(name);
    auto *info = graph.add_output();
    exportValueInfo(name, value.getType(),
                    getFormalDims(function.getResultAttrDict(i)),
                    function.getLoc(), *info);
    exportValueAttributes(function.getResultAttrDict(i), *info);
  }
  return failure(failed);
}

LogicalResult moe::exportGraph(func::FuncOp function, bool declareValues,
                               GraphProto &graph, Payloads &payloads,
                               llvm::StringSet<> &domains) {
  return GraphExporter(function, declareValues, payloads, domains).run(graph);
}
