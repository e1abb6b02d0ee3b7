//===- SkeletonTest.cpp - a model without its weights ---------------------===//
#include "lib/ONNX/Skeleton.h"
#include "llvm/Support/raw_ostream.h"
#include "onnx/onnx_pb.h"
#include "gtest/gtest.h"
#include <random>
#include <string>

using namespace moe;
using ::onnx::ModelProto;
using ::onnx::TensorProto;

namespace {

std::string makeSkeletonOf(const std::string &file) {
  std::string skeleton, error;
  EXPECT_TRUE(makeSkeleton(file, skeleton, error)) << error;
  return skeleton;
}

TensorProto makeTensor(const std::string &name, size_t bytes) {
  TensorProto tensor;
  tensor.set_name(name);
  tensor.set_data_type(TensorProto::FLOAT);
  tensor.add_dims(static_cast<int64_t>(bytes / 4));
  std::string data(bytes, '\0');
  for (size_t i = 0; i < bytes; ++i)
    data[i] = static_cast<char>(i * 31 + name.size());
  tensor.set_raw_data(data);
  return tensor;
}

/// A model with payloads in initializers, attributes and a subgraph.
ModelProto makeModel() {
  ModelProto model;
  model.set_ir_version(8);
  auto *graph = model.mutable_graph();
  *graph->add_initializer() = makeTensor("small", kFileThreshold - 4);
  *graph->add_initializer() = makeTensor("large", kFileThreshold);
  auto *node = graph->add_node();
  auto *attribute = node->add_attribute();
  attribute->set_name("value");
  *attribute->mutable_t() = makeTensor("inner", 5000);
  *node->add_attribute()->mutable_g()->add_initializer() =
      makeTensor("deep", 70000);
  return model;
}

TEST(Skeleton, LeavesLargePayloadsInTheFile) {
  std::string file = makeModel().SerializeAsString();
  ModelProto skeleton;
  ASSERT_TRUE(skeleton.ParseFromString(makeSkeletonOf(file)));
  const auto &graph = skeleton.graph();
  EXPECT_EQ(graph.initializer(0).raw_data().size(), kFileThreshold - 4);
  const TensorProto &large = graph.initializer(1);
  EXPECT_FALSE(large.has_raw_data());
  ASSERT_EQ(large.external_data_size(), 1);
  EXPECT_EQ(large.external_data(0).key(), kSliceKey);
  auto slice = parseSlice(large.external_data(0).value());
  ASSERT_TRUE(slice.has_value());
  EXPECT_EQ(file.substr(slice->offset, slice->length),
            makeTensor("large", kFileThreshold).raw_data());
  EXPECT_FALSE(graph.node(0).attribute(0).t().has_raw_data());
  EXPECT_FALSE(graph.node(0).attribute(1).g().initializer(0).has_raw_data());
}

TEST(Skeleton, KeepsIntegersThatInferenceReads) {
  ModelProto model;
  TensorProto sizes = makeTensor("sizes", 4096);
  sizes.set_data_type(TensorProto::INT64);
  *model.mutable_graph()->add_initializer() = sizes;
  std::string file = model.SerializeAsString();
  EXPECT_EQ(makeSkeletonOf(file), file);
}

TEST(Skeleton, LeavesMergingOfPayloadsToProtobuf) {
  // Two payloads in one message: the last one counts.
  std::string tensor = makeTensor("a", 2048).SerializeAsString() +
                       makeTensor("a", 2048).SerializeAsString();
  TensorProto merged;
  ASSERT_TRUE(merged.ParseFromString(tensor));
  ModelProto model;
  std::string graph;
  graph.push_back('\x2a'); // GraphProto.initializer
  size_t size = tensor.size();
  for (; size > 127; size >>= 7)
    graph.push_back(static_cast<char>((size & 127) | 128));
  graph.push_back(static_cast<char>(size));
  graph += tensor;
  std::string file(1, '\x3a'); // ModelProto.graph
  for (size = graph.size(); size > 127; size >>= 7)
    file.push_back(static_cast<char>((size & 127) | 128));
  file.push_back(static_cast<char>(size));
  file += graph;
  EXPECT_EQ(makeSkeletonOf(file), file);
}

TEST(Skeleton, RejectsDamagedFiles) {
  std::string file = makeModel().SerializeAsString(), skeleton, error;
  EXPECT_FALSE(
      makeSkeleton(llvm::StringRef(file).drop_back(1), skeleton, error));
  EXPECT_NE(error.find("at byte"), std::string::npos) << error;
  // Whatever the bytes are, the walk ends.
  std::mt19937 random(1);
  for (int run = 0; run < 2000; ++run) {
    std::string damaged = file;
    for (int i = 0; i < 3; ++i)
      damaged[random() % 1200] = static_cast<char>(random());
    damaged.resize(damaged.size() - random() % 50);
    skeleton.clear();
    if (makeSkeleton(damaged, skeleton, error)) {
      EXPECT_LT(skeleton.size(), damaged.size() + 1000);
    }
  }
}

TEST(Skeleton, ExpandsToTheSameMessage) {
  ModelProto model = makeModel();
  std::string expected = model.SerializeAsString();
  // Take the payloads out by hand, as the exporter puts them in.
  llvm::SmallVector<Payload> payloads;
  std::string large = makeTensor("large", kFileThreshold).raw_data();
  std::string deep = makeTensor("deep", 70000).raw_data();
  auto refer = [&](TensorProto &tensor, llvm::StringRef bytes) {
    tensor.clear_raw_data();
    auto *entry = tensor.add_external_data();
    entry->set_key(kPayloadKey.str());
    entry->set_value(std::to_string(payloads.size()));
    // In two stretches, as a stack of tensors is.
    payloads.push_back({bytes.take_front(1000), bytes.drop_front(1000)});
  };
  auto *graph = model.mutable_graph();
  refer(*graph->mutable_initializer(1), large);
  refer(*graph->mutable_node(0)->mutable_attribute(1)->mutable_g()
             ->mutable_initializer(0),
        deep);
  std::string skeleton = model.SerializeAsString();
  SkeletonExpander expander(skeleton, payloads);
  std::string written;
  llvm::raw_string_ostream os(written);
  expander.write(os);
  EXPECT_EQ(expander.size(), written.size());
  ModelProto result;
  ASSERT_TRUE(result.ParseFromString(written));
  EXPECT_EQ(result.SerializeAsString(), expected);
}

} // namespace
