//===- OpsetTest.cpp - forms of operators across opsets -------------------===//
#include "lib/ONNX/Opset.h"
#include "dialects/ONNX/Signatures.h"
#include "onnx/defs/schema.h"
#include "onnx/onnx_pb.h"
#include "gtest/gtest.h"
#include <map>
#include <string>
#include <vector>

using namespace moe;
using ::onnx::GraphProto;
using ::onnx::NodeProto;
using ::onnx::OpSchema;

namespace {

/// What changed between two forms of an operator such that the older one means
/// something else in the newer; empty if nothing did.
std::string findBreak(const OpSchema &before, const OpSchema &after) {
  if (after.inputs().size() < before.inputs().size())
    return "an input is gone";
  for (size_t i = 0; i < before.inputs().size(); ++i) {
    auto was = before.inputs()[i].GetOption();
    auto is = after.inputs()[i].GetOption();
    if (was != is && !(was == OpSchema::Single && is == OpSchema::Optional))
      return "input " + before.inputs()[i].GetName() + " changed";
  }
  for (size_t i = before.inputs().size(); i < after.inputs().size(); ++i)
    if (after.inputs()[i].GetOption() == OpSchema::Single)
      return "input " + after.inputs()[i].GetName() + " is new and required";
  if (after.outputs().size() < before.outputs().size())
    return "an output is gone";
  for (size_t i = 0; i < before.outputs().size(); ++i)
    if (before.outputs()[i].GetOption() != after.outputs()[i].GetOption())
      return "output " + before.outputs()[i].GetName() + " changed";
  for (const auto &[name, was] : before.attributes()) {
    auto is = after.attributes().find(name);
    if (is == after.attributes().end())
      return "attribute " + name + " is gone";
    if (is->second.type != was.type ||
        (is->second.required && !was.required) ||
        is->second.default_value.SerializeAsString() !=
            was.default_value.SerializeAsString())
      return "attribute " + name + " changed";
  }
  for (const auto &[name, is] : after.attributes())
    if (is.required && !before.attributes().count(name))
      return "attribute " + name + " is new and required";
  return "";
}

/// Changes that the schemas cannot show: an attribute whose default says
/// something else than its absence before.
const std::map<std::string, int> kMeaningChanged = {{"RoiAlign", 16},
                                                    {"Split", 18},
                                                    {"GroupNormalization", 21}};

TEST(Opset, OperatorsWithoutARuleKeepTheirForm) {
  int newest = moe::onnx::getNewestOpset();
  for (const moe::onnx::OpSignature &signature :
       moe::onnx::getAllSignatures()) {
    if (!signature.domain.empty())
      continue;
    std::string name = signature.opName.split('.').second.str();
    const OpSchema *last =
        ::onnx::OpSchemaRegistry::Schema(name, newest, "");
    ASSERT_NE(last, nullptr) << name;
    for (int opset = kOldestOpset; opset < newest; ++opset) {
      const OpSchema *schema =
          ::onnx::OpSchemaRegistry::Schema(name, opset, "");
      if (!schema || schema == last)
        continue;
      std::string why = findBreak(*schema, *last);
      if (!why.empty()) {
        EXPECT_TRUE(hasOpsetRule(name))
            << name << " at opset " << opset << ": " << why;
      }
    }
  }
  for (const auto &[name, opset] : kMeaningChanged)
    EXPECT_TRUE(hasOpsetRule(name)) << name;
}

GraphProto makeGraph(const std::string &opType, int inputs, int outputs) {
  GraphProto graph;
  NodeProto *node = graph.add_node();
  node->set_op_type(opType);
  node->set_name("node");
  for (int i = 0; i < inputs; ++i) {
    node->add_input("in" + std::to_string(i));
    graph.add_input()->set_name(node->input(i));
  }
  for (int i = 0; i < outputs; ++i)
    node->add_output("out" + std::to_string(i));
  return graph;
}

void addInts(NodeProto &node, const std::string &name,
             std::vector<int64_t> values) {
  auto *attribute = node.add_attribute();
  attribute->set_name(name);
  attribute->set_type(::onnx::AttributeProto::INTS);
  for (int64_t value : values)
    attribute->add_ints(value);
}

/// Converts up and down again; the graph must come back as it was.
void expectReversible(const GraphProto &graph, int64_t opset,
                      GraphProto &newest) {
  std::vector<std::string> reports;
  auto report = [&](const NodeProto &, int, const std::string &why) {
    reports.push_back(why);
  };
  newest = graph;
  EXPECT_TRUE(convertToNewest(newest, opset, report));
  GraphProto back = newest;
  EXPECT_TRUE(convertFromNewest(back, opset, report));
  EXPECT_EQ(back.SerializeAsString(), graph.SerializeAsString());
  EXPECT_EQ(reports, std::vector<std::string>());
}

TEST(Opset, AxesOfReductionsBecomeAnInitializer) {
  for (const char *name : {"ReduceMean", "ReduceMax", "ReduceL2"}) {
    GraphProto graph = makeGraph(name, 1, 1), newest;
    addInts(*graph.mutable_node(0), "axes", {-1, 0});
    expectReversible(graph, 13, newest);
    ASSERT_EQ(newest.node(0).input_size(), 2);
    ASSERT_EQ(newest.initializer_size(), 1);
    EXPECT_EQ(newest.initializer(0).name(), newest.node(0).input(1));
    EXPECT_EQ(newest.node(0).attribute_size(), 0);
  }
}

TEST(Opset, NewNamesAvoidThoseInUse) {
  GraphProto graph = makeGraph("ReduceMean", 1, 1), newest;
  addInts(*graph.mutable_node(0), "axes", {0});
  graph.add_input()->set_name("node.axes");
  expectReversible(graph, 17, newest);
  EXPECT_EQ(newest.initializer(0).name(), "node.axes.1");
}

TEST(Opset, SplitGetsItsNumberOfParts) {
  GraphProto graph = makeGraph("Split", 1, 3), newest;
  expectReversible(graph, 13, newest);
  bool found = false;
  for (const auto &attribute : newest.node(0).attribute())
    if (attribute.name() == "num_outputs") {
      EXPECT_EQ(attribute.i(), 3);
      found = true;
    }
  EXPECT_TRUE(found);
}

TEST(Opset, AxisOfDFTBecomesAnInput) {
  GraphProto graph = makeGraph("DFT", 1, 1), newest;
  expectReversible(graph, 17, newest);
  ASSERT_EQ(newest.node(0).input_size(), 3);
  EXPECT_EQ(newest.node(0).input(1), "");
  EXPECT_EQ(newest.initializer(0).dims_size(), 0);
}

TEST(Opset, ModesOfGridSampleAreRenamed) {
  GraphProto graph = makeGraph("GridSample", 2, 1), newest;
  auto *mode = graph.mutable_node(0)->add_attribute();
  mode->set_name("mode");
  mode->set_type(::onnx::AttributeProto::STRING);
  mode->set_s("bicubic");
  expectReversible(graph, 16, newest);
  EXPECT_EQ(newest.node(0).attribute(0).s(), "cubic");
}

TEST(Opset, ReportsWhatDoesNotFit) {
  std::vector<std::string> reports;
  auto report = [&](const NodeProto &, int, const std::string &why) {
    reports.push_back(why);
  };
  GraphProto training = makeGraph("BatchNormalization", 5, 3);
  EXPECT_FALSE(convertToNewest(training, 13, report));
  GraphProto groups = makeGraph("GroupNormalization", 3, 1);
  auto *count = groups.mutable_node(0)->add_attribute();
  count->set_name("num_groups");
  count->set_type(::onnx::AttributeProto::INT);
  count->set_i(2);
  EXPECT_FALSE(convertToNewest(groups, 18, report));
  GraphProto uneven = makeGraph("Split", 1, 2);
  auto *parts = uneven.mutable_node(0)->add_attribute();
  parts->set_name("num_outputs");
  parts->set_type(::onnx::AttributeProto::INT);
  parts->set_i(2);
  EXPECT_FALSE(convertFromNewest(uneven, 17, report));
  EXPECT_EQ(reports.size(), 3u);
}

} // namespace
