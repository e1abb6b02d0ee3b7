//===- Opset.cpp - between a model's opset and the newest -----------------===//
//
// Conversion has to be reversible: a model that nobody changed is written with
// the nodes that it had. An initializer that takes the place of an attribute
// is dropped again when its last use turns back into an attribute. An attribute
// that was added because its absence meant something else before is noted in
// the node's metadata ("moe.added"), and so is taken away again.
//
//===----------------------------------------------------------------------===//
#include "lib/ONNX/Opset.h"
#include "dialects/ONNX/Signatures.h"
#include "onnx/defs/schema.h"
#include "onnx/onnx_pb.h"
#include "llvm/ADT/DenseMap.h"
#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/SmallVector.h"
#include "llvm/ADT/StringMap.h"
#include "llvm/ADT/StringSet.h"
#include "llvm/ADT/Twine.h"
#include <cstring>
#include <optional>

using namespace moe;
using llvm::ArrayRef;
using llvm::SmallVector;
using llvm::StringRef;
using llvm::Twine;
using ::onnx::AttributeProto;
using ::onnx::GraphProto;
using ::onnx::NodeProto;
using ::onnx::OpSchema;
using ::onnx::TensorProto;

namespace {

constexpr llvm::StringLiteral kAddedKey = "moe.added";

bool isDefaultDomain(StringRef domain) {
  return domain.empty() || domain == "ai.onnx";
}

//===----------------------------------------------------------------------===//
// Nodes
//===----------------------------------------------------------------------===//

AttributeProto *findAttribute(NodeProto &node, StringRef name) {
  for (AttributeProto &attribute : *node.mutable_attribute())
    if (attribute.name() == name)
      return &attribute;
  return nullptr;
}

void eraseAttribute(NodeProto &node, StringRef name) {
  for (int i = 0; i < node.attribute_size(); ++i)
    if (node.attribute(i).name() == name) {
      node.mutable_attribute()->DeleteSubrange(i, 1);
      return;
    }
}

bool hasInput(const NodeProto &node, int index) {
  return index < node.input_size() && !node.input(index).empty();
}

/// Gives the node an input at `index`; those before it that it does not have
/// are empty.
void setInput(NodeProto &node, int index, const std::string &name) {
  while (node.input_size() <= index)
    node.add_input();
  node.set_input(index, name);
}

void dropTrailingInputs(NodeProto &node) {
  while (node.input_size() && node.input(node.input_size() - 1).empty())
    node.mutable_input()->RemoveLast();
}

void noteAdded(NodeProto &node, StringRef attribute) {
  ::onnx::StringStringEntryProto *entry = node.add_metadata_props();
  entry->set_key(kAddedKey.str());
  entry->set_value(attribute.str());
}

/// Takes the note away; true if it was there.
bool takeAdded(NodeProto &node) {
  for (int i = 0; i < node.metadata_props_size(); ++i)
    if (node.metadata_props(i).key() == kAddedKey) {
      node.mutable_metadata_props()->DeleteSubrange(i, 1);
      return true;
    }
  return false;
}

void setInt(NodeProto &node, StringRef name, int64_t value) {
  AttributeProto *attribute = node.add_attribute();
  attribute->set_name(name.str());
  attribute->set_type(AttributeProto::INT);
  attribute->set_i(value);
}

void setString(NodeProto &node, StringRef name, StringRef value) {
  AttributeProto *attribute = node.add_attribute();
  attribute->set_name(name.str());
  attribute->set_type(AttributeProto::STRING);
  attribute->set_s(value.str());
}

void setInts(NodeProto &node, StringRef name, ArrayRef<int64_t> values) {
  AttributeProto *attribute = node.add_attribute();
  attribute->set_name(name.str());
  attribute->set_type(AttributeProto::INTS);
  for (int64_t value : values)
    attribute->add_ints(value);
}

/// The numbers of an int64 tensor that is not in another file.
std::optional<SmallVector<int64_t>> readInts(const TensorProto &tensor) {
  if (tensor.data_type() != TensorProto::INT64 || tensor.external_data_size())
    return std::nullopt;
  SmallVector<int64_t> values;
  if (!tensor.has_raw_data()) {
    values.append(tensor.int64_data().begin(), tensor.int64_data().end());
    return values;
  }
  const std::string &bytes = tensor.raw_data();
  values.resize(bytes.size() / sizeof(int64_t));
  if (!values.empty())
    std::memcpy(values.data(), bytes.data(), values.size() * sizeof(int64_t));
  return values;
}

//===----------------------------------------------------------------------===//
// Conversion
//===----------------------------------------------------------------------===//

/// What a rule may use besides the node.
class Conversion {
public:
  Conversion(int64_t opset, ReportNode report) : opset(opset), report(report) {}

  bool run(GraphProto &graph, bool toNewest);

  /// Adds an int64 initializer to the graph of the current node and returns
  /// its name.
  std::string addInitializer(const NodeProto &node, StringRef what,
                             ArrayRef<int64_t> values, bool scalar);

  /// The constant that a value is, if it is one.
  std::optional<SmallVector<int64_t>> getConstant(const std::string &value);

  /// Tells that the node does not use `value` any more.
  void released(const std::string &value) { releasedValues.insert(value); }

  const int64_t opset;

private:
  struct Scope {
    GraphProto *graph;
    llvm::StringMap<const TensorProto *> constants;
    bool indexed = false;
  };

  void collectNames(const GraphProto &graph);
  void countUses(const GraphProto &graph, llvm::StringMap<unsigned> &uses);
  void dropUnused(GraphProto &graph, const llvm::StringMap<unsigned> &uses);
  void walk(GraphProto &graph, bool toNewest);
  void convert(NodeProto &node, int index, bool toNewest);
  void fail(const NodeProto &node, int index, const Twine &why) {
    ok = false;
    report(node, index, why.str());
  }

  ReportNode report;
  bool ok = true;
  llvm::StringSet<> names;
  SmallVector<Scope> scopes;
  llvm::StringSet<> releasedValues;
};

/// How one operator changed in opset `since`. Functions return why they cannot
/// convert, or an empty string.
struct Rule {
  StringRef opType;
  int64_t since;
  std::string (*upgrade)(NodeProto &node, Conversion &conversion);
  std::string (*downgrade)(NodeProto &node, Conversion &conversion);
};

//===----------------------------------------------------------------------===//
// Rules
//===----------------------------------------------------------------------===//

/// ReduceX: attribute `axes` became input 1 in opset 18.
std::string upgradeReduce(NodeProto &node, Conversion &conversion) {
  AttributeProto *axes = findAttribute(node, "axes");
  if (!axes)
    return "";
  SmallVector<int64_t> values(axes->ints().begin(), axes->ints().end());
  eraseAttribute(node, "axes");
  setInput(node, 1, conversion.addInitializer(node, "axes", values, false));
  return "";
}

std::string downgradeReduce(NodeProto &node, Conversion &conversion) {
  if (AttributeProto *noop = findAttribute(node, "noop_with_empty_axes")) {
    if (noop->i() != 0 && !hasInput(node, 1))
      return "noop_with_empty_axes without axes exists from opset 18 on";
    eraseAttribute(node, "noop_with_empty_axes");
  }
  if (!hasInput(node, 1))
    return "";
  std::string name = node.input(1);
  auto values = conversion.getConstant(name);
  if (!values)
    return "axes that are not constant exist from opset 18 on";
  node.mutable_input()->DeleteSubrange(1, 1);
  conversion.released(name);
  setInts(node, "axes", *values);
  return "";
}

/// Split: without sizes, the number of parts must be told from opset 18 on.
std::string upgradeSplit(NodeProto &node, Conversion &) {
  if (hasInput(node, 1))
    return "";
  setInt(node, "num_outputs", node.output_size());
  noteAdded(node, "num_outputs");
  return "";
}

std::string downgradeSplit(NodeProto &node, Conversion &) {
  bool added = takeAdded(node);
  if (!findAttribute(node, "num_outputs"))
    return "";
  if (!added)
    return "num_outputs, whose parts may be uneven, exists from opset 18 on; "
           "give the sizes as input 'split'";
  eraseAttribute(node, "num_outputs");
  return "";
}

/// GridSample: interpolation modes got other names in opset 20.
std::string renameGridMode(NodeProto &node, bool up) {
  static constexpr std::pair<const char *, const char *> kNames[] = {
      {"bilinear", "linear"}, {"bicubic", "cubic"}};
  if (AttributeProto *mode = findAttribute(node, "mode"))
    for (auto [before, after] : kNames)
      if (mode->s() == (up ? before : after)) {
        mode->set_s(up ? after : before);
        break;
      }
  return "";
}
std::string upgradeGridSample(NodeProto &node, Conversion &) {
  return renameGridMode(node, true);
}
std::string downgradeGridSample(NodeProto &node, Conversion &) {
  return renameGridMode(node, false);
}

/// RoiAlign: before opset 16 there was no half pixel offset, which is the
/// default since.
std::string upgradeRoiAlign(NodeProto &node, Conversion &) {
  setString(node, "coordinate_transformation_mode", "output_half_pixel");
  noteAdded(node, "coordinate_transformation_mode");
  return "";
}
std::string downgradeRoiAlign(NodeProto &node, Conversion &) {
  takeAdded(node);
  AttributeProto *mode = findAttribute(node, "coordinate_transformation_mode");
  if (!mode || mode->s() != "output_half_pixel")
    return "coordinate_transformation_mode 'half_pixel' exists from opset 16 "
           "on";
  eraseAttribute(node, "coordinate_transformation_mode");
  return "";
}

/// DFT: attribute `axis`, by default 1, became input 2, by default -2, in
/// opset 20.
std::string upgradeDFT(NodeProto &node, Conversion &conversion) {
  AttributeProto *axis = findAttribute(node, "axis");
  int64_t value = axis ? axis->i() : 1;
  if (!axis)
    noteAdded(node, "axis");
  eraseAttribute(node, "axis");
  setInput(node, 2, conversion.addInitializer(node, "axis", value, true));
  return "";
}
std::string downgradeDFT(NodeProto &node, Conversion &conversion) {
  bool added = takeAdded(node);
  if (!hasInput(node, 2))
    return "the default axis -2 exists from opset 20 on";
  std::string name = node.input(2);
  auto values = conversion.getConstant(name);
  if (!values || values->size() != 1)
    return "an axis that is not constant exists from opset 20 on";
  node.mutable_input()->DeleteSubrange(2, 1);
  dropTrailingInputs(node);
  conversion.released(name);
  if (!added)
    setInt(node, "axis", values->front());
  return "";
}

/// BatchNormalization: in opset 14 training became an attribute and its
/// results others.
std::string upgradeBatchNormalization(NodeProto &node, Conversion &) {
  return node.output_size() > 1
             ? "training (more than one output) before opset 14 is not "
               "supported; accepted is one output"
             : "";
}
std::string downgradeBatchNormalization(NodeProto &node, Conversion &) {
  AttributeProto *training = findAttribute(node, "training_mode");
  if (node.output_size() > 1 || (training && training->i() != 0))
    return "training_mode exists from opset 14 on";
  eraseAttribute(node, "training_mode");
  return "";
}

/// GroupNormalization: in opset 21 scale and bias became one number per channel
/// instead of one per group. Repeating them takes the number of channels, which
/// the model tells at run time.
std::string upgradeGroupNormalization(NodeProto &, Conversion &) {
  return "scale and bias per group (before opset 21) are not supported; "
         "accepted is GroupNormalization of opset 21 and later, with one "
         "number per channel";
}
std::string downgradeGroupNormalization(NodeProto &, Conversion &) {
  return "scale and bias per channel exist from opset 21 on";
}

const Rule kRules[] = {
    {"BatchNormalization", 14, upgradeBatchNormalization,
     downgradeBatchNormalization},
    {"RoiAlign", 16, upgradeRoiAlign, downgradeRoiAlign},
    {"ReduceL1", 18, upgradeReduce, downgradeReduce},
    {"ReduceL2", 18, upgradeReduce, downgradeReduce},
    {"ReduceLogSum", 18, upgradeReduce, downgradeReduce},
    {"ReduceLogSumExp", 18, upgradeReduce, downgradeReduce},
    {"ReduceMax", 18, upgradeReduce, downgradeReduce},
    {"ReduceMean", 18, upgradeReduce, downgradeReduce},
    {"ReduceMin", 18, upgradeReduce, downgradeReduce},
    {"ReduceProd", 18, upgradeReduce, downgradeReduce},
    {"ReduceSumSquare", 18, upgradeReduce, downgradeReduce},
    {"Split", 18, upgradeSplit, downgradeSplit},
    {"DFT", 20, upgradeDFT, downgradeDFT},
    {"GridSample", 20, upgradeGridSample, downgradeGridSample},
    {"GroupNormalization", 21, upgradeGroupNormalization,
     downgradeGroupNormalization},
};

//===----------------------------------------------------------------------===//
// Checking a node against a schema
//===----------------------------------------------------------------------===//

const OpSchema *getSchema(const std::string &opType, int64_t opset) {
  return ::onnx::OpSchemaRegistry::Schema(opType, static_cast<int>(opset), "");
}

StringRef typeName(AttributeProto::AttributeType type) {
  const std::string &name = AttributeProto_AttributeType_Name(type);
  return name.empty() ? StringRef("UNDEFINED") : StringRef(name);
}

std::string checkCounts(const NodeProto &node, const OpSchema &schema) {
  auto check = [](StringRef what, int count, int least, int most) {
    if (count >= least && count <= most)
      return std::string();
    std::string accepted =
        least == most ? std::to_string(least)
        : most == std::numeric_limits<int>::max()
            ? "at least " + std::to_string(least)
            : std::to_string(least) + " to " + std::to_string(most);
    return (Twine("has ") + Twine(count) + " " + what +
            "; accepted: " + accepted)
        .str();
  };
  std::string why = check("inputs", node.input_size(), schema.min_input(),
                          schema.max_input());
  if (why.empty())
    why = check("outputs", node.output_size(), schema.min_output(),
                schema.max_output());
  if (!why.empty())
    return why;
  for (auto [i, formal] : llvm::enumerate(schema.inputs()))
    if (formal.GetOption() == OpSchema::Single &&
        !hasInput(node, static_cast<int>(i)))
      return "input '" + formal.GetName() + "' is required";
  for (auto [i, formal] : llvm::enumerate(schema.outputs()))
    if (formal.GetOption() == OpSchema::Single &&
        static_cast<int>(i) < node.output_size() &&
        node.output(static_cast<int>(i)).empty())
      return "output '" + formal.GetName() + "' is required";
  return "";
}

/// Why `node` does not have the form of `schema`, or an empty string.
std::string checkForm(const NodeProto &node, const OpSchema &schema) {
  std::string why = checkCounts(node, schema);
  if (!why.empty())
    return why;
  llvm::StringSet<> seen;
  for (const AttributeProto &attribute : node.attribute()) {
    auto known = schema.attributes().find(attribute.name());
    if (known == schema.attributes().end())
      return "has no attribute '" + attribute.name() + "'";
    if (!seen.insert(attribute.name()).second)
      return "attribute '" + attribute.name() + "' is given twice";
    if (attribute.type() != AttributeProto::UNDEFINED &&
        attribute.type() != known->second.type)
      return (Twine("attribute '") + attribute.name() + "' is of type " +
              typeName(attribute.type()) +
              "; accepted: " + typeName(known->second.type))
          .str();
  }
  for (const auto &[name, attribute] : schema.attributes())
    if (attribute.required && !seen.contains(name))
      return "attribute '" + name + "' is required";
  return "";
}

/// Names within `distance` edits of `opType` at `opset`.
std::string suggestOperator(StringRef opType, int64_t opset) {
  std::string best;
  unsigned distance = 3;
  for (const moe::onnx::OpSignature &signature :
       moe::onnx::getAllSignatures()) {
    if (!signature.domain.empty())
      continue;
    StringRef name = signature.opName.split('.').second;
    unsigned away = opType.edit_distance(name, true, distance);
    if (away < distance && getSchema(name.str(), opset)) {
      distance = away;
      best = name.str();
    }
  }
  return best.empty() ? best : "; did you mean '" + best + "'?";
}

/// The whole check of a node of ai.onnx at `opset`.
std::string checkNode(const NodeProto &node, int64_t opset) {
  const OpSchema *schema = getSchema(node.op_type(), opset);
  if (!schema || schema->Deprecated()) {
    const OpSchema *newest =
        getSchema(node.op_type(), moe::onnx::getNewestOpset());
    if (newest && !newest->Deprecated()) {
      for (int64_t later = opset + 1; later <= moe::onnx::getNewestOpset();
           ++later)
        if (getSchema(node.op_type(), later))
          return (Twine("the operator exists from opset ") + Twine(later) +
                  " on")
              .str();
    }
    return schema || newest ? "the operator is deprecated"
                            : "ai.onnx has no such operator" +
                                  suggestOperator(node.op_type(), opset);
  }
  std::string why = checkForm(node, *schema);
  if (why.empty())
    return why;
  // Some exporters declare an opset but write the forms of a later one.
  for (int64_t later = opset + 1; later <= moe::onnx::getNewestOpset();
       ++later) {
    const OpSchema *other = getSchema(node.op_type(), later);
    if (other && other != schema && checkForm(node, *other).empty())
      return (Twine(why) + " (the node has the form of opset " + Twine(later) +
              ", the model declares " + Twine(opset) + ")")
          .str();
  }
  return why;
}

} // namespace

//===----------------------------------------------------------------------===//
// Walking the graphs
//===----------------------------------------------------------------------===//

void Conversion::collectNames(const GraphProto &graph) {
  for (const auto &value : graph.input())
    names.insert(value.name());
  for (const auto &tensor : graph.initializer())
    names.insert(tensor.name());
  for (const NodeProto &node : graph.node()) {
    for (const std::string &name : node.input())
      names.insert(name);
    for (const std::string &name : node.output())
      names.insert(name);
    for (const AttributeProto &attribute : node.attribute()) {
      if (attribute.has_g())
        collectNames(attribute.g());
      for (const GraphProto &inner : attribute.graphs())
        collectNames(inner);
    }
  }
}

std::string Conversion::addInitializer(const NodeProto &node, StringRef what,
                                       ArrayRef<int64_t> values, bool scalar) {
  StringRef stem = !node.name().empty() ? StringRef(node.name())
                   : node.output_size() ? StringRef(node.output(0))
                                        : StringRef(node.op_type());
  std::string name = (stem + "." + what).str();
  for (unsigned i = 1; !names.insert(name).second; ++i)
    name = (stem + "." + what + "." + Twine(i)).str();

  TensorProto *tensor = scopes.back().graph->add_initializer();
  tensor->set_name(name);
  tensor->set_data_type(TensorProto::INT64);
  if (!scalar)
    tensor->add_dims(static_cast<int64_t>(values.size()));
  tensor->set_raw_data(values.data(), values.size() * sizeof(int64_t));
  return name;
}

std::optional<SmallVector<int64_t>>
Conversion::getConstant(const std::string &value) {
  for (Scope &scope : llvm::reverse(scopes)) {
    if (!scope.indexed) {
      for (const TensorProto &tensor : scope.graph->initializer())
        scope.constants[tensor.name()] = &tensor;
      for (const NodeProto &node : scope.graph->node())
        if (node.op_type() == "Constant" && isDefaultDomain(node.domain()) &&
            node.output_size() == 1)
          for (const AttributeProto &attribute : node.attribute())
            if (attribute.name() == "value" && attribute.has_t())
              scope.constants[node.output(0)] = &attribute.t();
      scope.indexed = true;
    }
    if (const TensorProto *tensor = scope.constants.lookup(value))
      return readInts(*tensor);
  }
  return std::nullopt;
}

void Conversion::convert(NodeProto &node, int index, bool toNewest) {
  if (toNewest) {
    std::string why = checkNode(node, opset);
    if (!why.empty())
      return fail(node, index, why);
  }
  for (const Rule &rule : kRules) {
    if (node.op_type() != rule.opType || opset >= rule.since)
      continue;
    std::string why = (toNewest ? rule.upgrade : rule.downgrade)(node, *this);
    if (!why.empty())
      return fail(node, index, why);
  }
  if (toNewest)
    return;

  // An attribute that the older form lacks may go if it has its default.
  takeAdded(node);
  const OpSchema *schema = getSchema(node.op_type(), opset);
  const OpSchema *newest =
      getSchema(node.op_type(), moe::onnx::getNewestOpset());
  if (schema && newest)
    for (int i = node.attribute_size() - 1; i >= 0; --i) {
      const AttributeProto &attribute = node.attribute(i);
      auto known = newest->attributes().find(attribute.name());
      if (!schema->attributes().count(attribute.name()) &&
          known != newest->attributes().end() &&
          known->second.default_value.SerializeAsString() ==
              attribute.SerializeAsString())
        node.mutable_attribute()->DeleteSubrange(i, 1);
    }
  std::string why = checkNode(node, opset);
  if (!why.empty())
    fail(node, index, why);
}

void Conversion::walk(GraphProto &graph, bool toNewest) {
  scopes.push_back({&graph, {}, false});
  for (int i = 0; i < graph.node_size(); ++i) {
    NodeProto &node = *graph.mutable_node(i);
    if (isDefaultDomain(node.domain()) &&
        !StringRef(moe::onnx::lookupOpName("", node.op_type()))
             .starts_with("onnx_ms."))
      convert(node, i, toNewest);
    for (AttributeProto &attribute : *node.mutable_attribute()) {
      if (attribute.has_g())
        walk(*attribute.mutable_g(), toNewest);
      for (GraphProto &inner : *attribute.mutable_graphs())
        walk(inner, toNewest);
    }
  }
  scopes.pop_back();
}

void Conversion::countUses(const GraphProto &graph,
                           llvm::StringMap<unsigned> &uses) {
  for (const auto &value : graph.input())
    ++uses[value.name()];
  for (const auto &value : graph.output())
    ++uses[value.name()];
  for (const NodeProto &node : graph.node()) {
    for (const std::string &name : node.input())
      ++uses[name];
    for (const AttributeProto &attribute : node.attribute()) {
      if (attribute.has_g())
        countUses(attribute.g(), uses);
      for (const GraphProto &inner : attribute.graphs())
        countUses(inner, uses);
    }
  }
}

void Conversion::dropUnused(GraphProto &graph,
                            const llvm::StringMap<unsigned> &uses) {
  for (int i = graph.initializer_size() - 1; i >= 0; --i) {
    const std::string &name = graph.initializer(i).name();
    if (releasedValues.contains(name) && !uses.lookup(name))
      graph.mutable_initializer()->DeleteSubrange(i, 1);
  }
  for (NodeProto &node : *graph.mutable_node())
    for (AttributeProto &attribute : *node.mutable_attribute()) {
      if (attribute.has_g())
        dropUnused(*attribute.mutable_g(), uses);
      for (GraphProto &inner : *attribute.mutable_graphs())
        dropUnused(inner, uses);
    }
}

bool Conversion::run(GraphProto &graph, bool toNewest) {
  try {
    collectNames(graph);
    walk(graph, toNewest);
    if (!releasedValues.empty()) {
      llvm::StringMap<unsigned> uses;
      countUses(graph, uses);
      dropUnused(graph, uses);
    }
  } catch (const std::exception &error) {
    NodeProto none;
    fail(none, 0, error.what());
  }
  return ok;
}

bool moe::convertToNewest(GraphProto &graph, int64_t opset, ReportNode report) {
  return Conversion(opset, report).run(graph, /*toNewest=*/true);
}

bool moe::convertFromNewest(GraphProto &graph, int64_t opset,
                            ReportNode report) {
  return Conversion(opset, report).run(graph, /*toNewest=*/false);
}

bool moe::hasOpsetRule(StringRef opType) {
  return llvm::any_of(kRules,
                      [&](const Rule &rule) { return rule.opType == opType; });
}
