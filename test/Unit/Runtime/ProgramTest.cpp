//===- ProgramTest.cpp - loading models -----------------------------------===//

#include "TestSupport.h"
#include "runtime/Core/CpuFeatures.h"

using namespace moe::test;

namespace {

Result loadError(const std::string &path) {
  moe_program *program = nullptr;
  Result result = moe_program_load(path.c_str(), &program);
  EXPECT_EQ(program != nullptr, result.code == MOE_OK);
  moe_program_free(program);
  return result;
}

/// The result for a table changed by `change`.
template <typename Change> Result tableError(Change change) {
  moe_model model = *moe_model_query(MOE_ABI_VERSION);
  change(model);
  moe_program *program = nullptr;
  Result result = moe_program_from_model(&model, "", &program);
  moe_program_free(program);
  return result;
}

bool contains(const std::string &text, const std::string &part) {
  return text.find(part) != std::string::npos;
}

TEST(Program, LoadsAndDescribes) {
  moe_program *loaded = nullptr;
  ASSERT_EQ(Result(moe_program_load(TEST_MODEL, &loaded)).message, "");
  ProgramPtr program(loaded);
  const moe_function *function = moe_program_function(loaded, nullptr);
  ASSERT_TRUE(function);
  EXPECT_STREQ(function->name, "main");
  EXPECT_STREQ(function->inputs[1].name, "mask");
  EXPECT_STREQ(function->inputs[0].dims[0].symbol, "batch");
  EXPECT_EQ(function->inputs[0].dims[1].extent, 4);
  EXPECT_EQ(moe_program_function(loaded, "faulty")->num_outputs, 2);
  EXPECT_FALSE(moe_program_function(loaded, "nope"));
  EXPECT_STREQ(moe_program_model(loaded)->producer, "hand");
}

TEST(Program, RefusesWhatIsNoModel) {
  Result result = loadError("/nonexistent.so");
  EXPECT_EQ(result.code, MOE_IO);
  EXPECT_EQ(result.message,
            "cannot open model '/nonexistent.so': No such file or directory");
  TestFolder folder;
  writeText(folder / "text.so", "hello");
  EXPECT_EQ(loadError(folder / "text.so").code, MOE_IO);
  result = loadError(TEST_MODEL_NONE);
  EXPECT_TRUE(contains(result.message, "no symbol moe_model_query"));
  EXPECT_NE(Result(moe_program_load(nullptr, nullptr)).code, MOE_OK);
}

TEST(Program, ChecksTheVersion) {
  Result result = loadError(TEST_MODEL_ABI);
  EXPECT_EQ(result.code, MOE_UNSUPPORTED);
  EXPECT_TRUE(contains(result.message, "version 99")) << result.message;
  moe_program *program = nullptr;
  EXPECT_EQ(Result(moe_program_from_model(nullptr, "", &program)).code,
            MOE_UNSUPPORTED);
  EXPECT_EQ(tableError([](moe_model &m) { m.struct_size = 8; }).code, MOE_IO);
}

TEST(Program, ChecksTheCpu) {
  Result result = loadError(TEST_MODEL_CPU);
  EXPECT_EQ(result.code, MOE_UNSUPPORTED);
  EXPECT_TRUE(contains(result.message, "avx99")) << result.message;
}

/// Tables of one model for several CPUs, each with the features that it needs.
class Variants {
public:
  Variants(std::vector<std::pair<const char *, const char *>> cpus) {
    models.assign(cpus.size(), *moe_model_query(MOE_ABI_VERSION));
    features.resize(cpus.size());
    for (size_t i = 0; i < cpus.size(); ++i) {
      features[i] = {cpus[i].second, nullptr};
      models[i].cpu = cpus[i].first;
      models[i].cpu_features = features[i].data();
      models[i].next = i + 1 < cpus.size() ? &models[i + 1] : nullptr;
    }
  }
  /// The CPU of the table that a program uses, or the message of an error.
  std::string choose(int32_t code = MOE_OK) {
    moe_program *program = nullptr;
    Result result = moe_program_from_model(models.data(), "", &program);
    EXPECT_EQ(result.code, code);
    std::string cpu = program ? moe_program_model(program)->cpu : "";
    moe_program_free(program);
    return result.message + cpu;
  }
  std::vector<moe_model> models;

private:
  std::vector<std::vector<const char *>> features;
};

/// MOE_CPU, while it lives.
struct CpuVariable {
  CpuVariable(const char *value) { setenv("MOE_CPU", value, 1); }
  ~CpuVariable() { unsetenv("MOE_CPU"); }
};

TEST(Program, ChoosesTheFirstCpuThatFits) {
  EXPECT_EQ(Variants({{"big", "sse2"}, {"small", "sse2"}}).choose(), "big");
  EXPECT_EQ(Variants({{"big", "avx99"}, {"small", "sse2"}}).choose(), "small");
  EXPECT_EQ(Variants({{"a", "avx98"}, {"b", "avx99"}, {"c", "cmov"}}).choose(),
            "c");
  EXPECT_EQ(
      Variants({{"big", "avx99"}, {"small", "sse98"}}).choose(MOE_UNSUPPORTED),
      "the model was compiled for the CPUs 'big', 'small'; for 'big' this "
      "runtime does not know the CPU features avx99; for 'small' this runtime "
      "does not know the CPU features sse98; compile it with --mcpu=native on "
      "this machine or with --mcpu=x86-64-v3");
}

TEST(Program, UsesTheCpuThatIsNamed) {
  {
    CpuVariable variable("small");
    EXPECT_EQ(Variants({{"big", "sse2"}, {"small", "sse2"}}).choose(), "small");
    EXPECT_EQ(
        Variants({{"small", "avx99"}, {"big", "sse2"}}).choose(MOE_UNSUPPORTED),
        "the model was compiled for the CPUs 'small', 'big'; for 'small' "
        "this runtime does not know the CPU features avx99; compile it "
        "with --mcpu=native on this machine or with --mcpu=x86-64-v3");
    EXPECT_EQ(
        Variants({{"big", "sse2"}, {"mid", "sse2"}})
            .choose(MOE_INVALID_ARGUMENT),
        "MOE_CPU is 'small', but the model was compiled for the CPUs 'big', "
        "'mid'");
  }
  CpuVariable variable("");
  EXPECT_EQ(Variants({{"big", "sse2"}, {"small", "sse2"}}).choose(), "big");
}

TEST(Program, ChecksEachTableOfAChain) {
  Variants variants({{"big", "avx99"}, {"small", "sse2"}});
  variants.models[1].abi_version = 77;
  EXPECT_TRUE(
      contains(variants.choose(MOE_UNSUPPORTED), "it has version 77 of"));
  variants.models[1].abi_version = MOE_ABI_VERSION;
  variants.models[1].cpu = nullptr;
  EXPECT_TRUE(contains(variants.choose(MOE_IO), "damaged"));
  // A chain that bites its tail.
  variants.models[1].cpu = "small";
  variants.models[1].cpu_features = variants.models[0].cpu_features;
  variants.models[1].next = &variants.models[0];
  EXPECT_TRUE(contains(variants.choose(MOE_IO), "more than 64"));
}

TEST(Program, KnowsTheFeaturesOfThisMachine) {
  std::ifstream file("/proc/cpuinfo");
  std::string line, flags;
  while (flags.empty() && std::getline(file, line))
    if (line.rfind("flags", 0) == 0)
      flags = line.substr(line.find(':') + 1) + " ";
  ASSERT_FALSE(flags.empty());
  // LLVM's name, the kernel's name
  const char *names[][2] = {{"sse2", "sse2"},
                            {"sse4.2", "sse4_2"},
                            {"avx", "avx"},
                            {"avx2", "avx2"},
                            {"fma", "fma"},
                            {"f16c", "f16c"},
                            {"bmi2", "bmi2"},
                            {"lzcnt", "abm"},
                            {"avx512f", "avx512f"},
                            {"avx512bw", "avx512bw"},
                            {"avx512vnni", "avx512_vnni"},
                            {"avx512bf16", "avx512_bf16"},
                            {"avxvnni", "avx_vnni"},
                            {"amx-tile", "amx_tile"},
                            {"sha", "sha_ni"},
                            {"clzero", "clzero"},
                            {"vaes", "vaes"},
                            {"gfni", "gfni"}};
  for (auto [name, flag] : names) {
    bool known = false;
    EXPECT_EQ(moe::runtime::hasCpuFeature(name, known),
              contains(flags, std::string(" ") + flag + " "))
        << name;
    EXPECT_TRUE(known);
  }
}

TEST(Program, RefusesDamagedTables) {
  EXPECT_EQ(tableError([](moe_model &) {}).code, MOE_OK);
  EXPECT_EQ(tableError([](moe_model &m) { m.name = nullptr; }).code, MOE_IO);
  EXPECT_EQ(tableError([](moe_model &m) { m.target = "cuda"; }).code,
            MOE_UNSUPPORTED);
  EXPECT_EQ(tableError([](moe_model &m) { m.num_functions = 0; }).code, MOE_IO);
  EXPECT_EQ(tableError([](moe_model &m) { m.weights = nullptr; }).code, MOE_IO);
  EXPECT_EQ(tableError([](moe_model &m) { m.metadata = nullptr; }).code,
            MOE_IO);
  moe_function function = moe_model_query(MOE_ABI_VERSION)->functions[0];
  moe_value value = function.inputs[0];
  auto withValue = [&](moe_model &m) {
    function.inputs = &value;
    function.num_inputs = 1;
    m.functions = &function;
    m.num_functions = 1;
  };
  EXPECT_EQ(tableError(withValue).code, MOE_OK);
  value.dtype = 8;
  EXPECT_EQ(tableError(withValue).code, MOE_UNSUPPORTED);
  value.dtype = 1;
  value.rank = 1000;
  EXPECT_EQ(tableError(withValue).code, MOE_IO);
  moe_weights weights = {"w", nullptr, 4, 64, "../w"};
  auto withWeights = [&](moe_model &m) { m.weights = &weights; };
  EXPECT_EQ(tableError(withWeights).code, MOE_IO);
  weights.file = "w";
  EXPECT_TRUE(contains(tableError(withWeights).message, "no weight folder"));
  weights.alignment = 3;
  EXPECT_EQ(tableError(withWeights).code, MOE_IO);
}

//===----------------------------------------------------------------------===//
// Weight files
//===----------------------------------------------------------------------===//

/// A copy of the model that wants a weight file, and a writer of such files.
class WeightFile : public ::testing::Test {
protected:
  TestFolder folder;
  std::string library = folder / "model.so";
  std::vector<float> values = {0.50f,  -0.25f, 0.75f, 0.10f, 0.20f,  0.60f,
                               -0.40f, 0.30f,  0.90f, 0.15f, -0.35f, 0.45f,
                               -0.55f, 0.05f,  0.65f, -0.70f};

  void SetUp() override {
    std::filesystem::copy_file(TEST_MODEL_SIDECAR, library);
  }

  /// Writes the file with the data at a multiple of `alignment`.
  void write(std::string header, size_t alignment = 4096) {
    size_t padding = (alignment - (8 + header.size()) % alignment) % alignment;
    header.append(padding, ' ');
    std::string text;
    for (int i = 0; i < 8; ++i)
      text += char(header.size() >> (8 * i) & 0xff);
    text += header;
    text.append(reinterpret_cast<const char *>(values.data()), 64);
    writeText(folder / "weights.safetensors", text);
  }
  static std::string header(const std::string &hash = "0123456789abcdef",
                            const std::string &size = "64",
                            const std::string &dtype = "U8",
                            const std::string &name = "constants") {
    return "{\"__metadata__\":{\"weights_hash\":\"" + hash + "\"},\"" + name +
           "\":{\"dtype\":\"" + dtype + "\",\"shape\":[" + size +
           "],\"data_offsets\":[0," + size + "]}}";
  }
};

TEST_F(WeightFile, GivesTheSameResults) {
  write(header());
  moe_program *loaded = nullptr;
  ASSERT_EQ(Result(moe_program_load(library.c_str(), &loaded)).message, "");
  ProgramPtr beside(loaded), linked = linkedProgram();
  MainInputs inputs(10);
  std::string results[2];
  for (int i = 0; i < 2; ++i) {
    SessionPtr session = makeSession(i ? beside.get() : linked.get(), 2);
    DLManagedTensor *outputs[3];
    ASSERT_EQ(Result(moe_session_run(session.get(), 3, nullptr, inputs.pointers,
                                     outputs))
                  .message,
              "");
    results[i] = bytesOf(outputs[0]->dl_tensor);
    for (DLManagedTensor *output : outputs)
      output->deleter(output);
  }
  EXPECT_EQ(results[0], results[1]);
}

TEST_F(WeightFile, MissingOrDamaged) {
  EXPECT_TRUE(contains(loadError(library).message, "weights.safetensors"));
  for (const std::string &text :
       {std::string(), std::string("1234567"), std::string(8, '\xff'),
        std::string("\1\0\0\0\0\0\0\0", 8)}) {
    writeText(folder / "weights.safetensors", text);
    EXPECT_EQ(loadError(library).code, MOE_IO);
  }
  write("not json");
  EXPECT_TRUE(contains(loadError(library).message, "JSON"));
  write(header(), 1);
  EXPECT_TRUE(contains(loadError(library).message, "a multiple of 4096"));
  write(header("0123456789abcdef", "60"));
  EXPECT_TRUE(contains(loadError(library).message,
                       "has 60 bytes and dtype 'U8', the model expects 64"));
  write(header("0123456789abcdef", "128"));
  EXPECT_TRUE(contains(loadError(library).message, "cut off"));
  write(header("0123456789abcdef", "64", "F32"));
  EXPECT_EQ(loadError(library).code, MOE_IO);
  write(header("0123456789abcdef", "64", "U8", "other"));
  EXPECT_TRUE(contains(loadError(library).message, "no tensor 'constants'"));
  write("{\"constants\":{\"dtype\":\"U8\",\"shape\":[64]}}");
  EXPECT_EQ(loadError(library).code, MOE_IO);
}

TEST_F(WeightFile, OfAnotherCompilation) {
  write(header("fedcba9876543210"));
  Result result = loadError(library);
  EXPECT_EQ(result.code, MOE_IO);
  EXPECT_TRUE(contains(result.message, "'fedcba9876543210'"));
  EXPECT_TRUE(contains(result.message, "'0123456789abcdef'"));
  EXPECT_TRUE(contains(result.message, "weights.safetensors"));
}

} // namespace
