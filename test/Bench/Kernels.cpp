//===- Kernels.cpp - how fast kernels multiply ------------------*- C++ -*-===//
//
// usage: moe-kernel-bench [--mcpu=CPU] [--benchmark_filter=REGEX] ...
//
// Each benchmark is a product of so many rows with a constant matrix, compiled
// by the moe-compile that lies beside this program: up to 8 rows (6 with AVX2)
// are one call of a kernel for each panel, more are blocks of them. A matrix of
// 1024 x 512 stays in the second cache and shows what the kernels compute; one
// of 2048 x 16384 comes from memory and shows how weights stream.
//
//===----------------------------------------------------------------------===//

#include "moe-c/Runtime.h"

#include <benchmark/benchmark.h>

#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <map>
#include <memory>
#include <string>
#include <unistd.h>
#include <vector>

namespace fs = std::filesystem;

namespace {

[[noreturn]] void fail(const std::string &text) {
  std::fprintf(stderr, "moe-kernel-bench: %s\n", text.c_str());
  std::exit(1);
}

void check(moe_error *error) {
  if (!error)
    return;
  std::string text = moe_error_message(error);
  moe_error_free(error);
  fail(text);
}

/// A matrix, f32 [depth, width] held as `kind`.
struct Matrix {
  std::string kind;
  int64_t depth, width;

  std::string name() const {
    return kind + "/" + std::to_string(depth) + "x" + std::to_string(width);
  }
  int64_t bytes() const { return depth * width * (kind == "f32" ? 4 : 2); }
  /// Numbers around 1, with signs, or what their halves stand for.
  std::vector<uint16_t> elements() const {
    std::vector<uint16_t> halves(bytes() / 2);
    for (size_t i = 0; i < halves.size(); ++i)
      halves[i] =
          (kind == "f16" ? 0x3c00 : 0x3f80) | (i % 64) | (i % 3 ? 0x8000 : 0);
    return halves;
  }
  /// x [?, depth] times a constant of `file`; a float of 16 bits is widened.
  std::string module(const std::string &file) const {
    std::string shape = std::to_string(depth) + "x" + std::to_string(width);
    std::string x = "tensor<?x" + std::to_string(depth) + "xf32>";
    std::string y = "tensor<?x" + std::to_string(width) + "xf32>";
    std::string f32 = "tensor<" + shape + "xf32>";
    std::string text = "module {\nfunc.func @main(%x: " + x +
                       " {onnx.dims = [\"t\", \"\"]}) -> " + y + " {\n" +
                       "  %c = onnx.Initializer \"w\" = #onnx.file<\"" + file +
                       "\", 0, " + std::to_string(bytes()) + "> : tensor<" +
                       shape + "x" + kind + ">\n";
    std::string weights = "%c";
    if (kind != "f32") {
      text += "  %w = onnx.Cast(%c) {to = 1 : i64} : (tensor<" + shape + "x" +
              kind + ">) -> " + f32 + "\n";
      weights = "%w";
    }
    return text + "  %y = onnx.MatMul(%x, " + weights +
           ") {onnx.dims = [[\"t\", \"\"]]} : (" + x + ", " + f32 + ") -> " +
           y + "\n  return %y : " + y + "\n}\n}\n";
  }
};

/// Programs, compiled when they are first asked for.
class Programs {
public:
  Programs(fs::path compiler, std::string cpu)
      : compiler(std::move(compiler)), cpu(std::move(cpu)) {
    std::string pattern = fs::temp_directory_path() / "moe-kernels-XXXXXX";
    if (!mkdtemp(pattern.data()))
      fail("no temporary folder");
    folder = pattern;
  }
  ~Programs() {
    for (auto &[name, session] : sessions)
      moe_session_free(session);
    for (moe_program *program : programs)
      moe_program_free(program);
    std::error_code ignored;
    fs::remove_all(folder, ignored);
  }

  moe_session *get(const Matrix &matrix) {
    moe_session *&session = sessions[matrix.name()];
    if (session)
      return session;
    fs::path source = folder / (std::to_string(sessions.size()) + ".mlir");
    fs::path target = source;
    target.replace_extension(".so");
    fs::path weights = folder / (std::to_string(sessions.size()) + ".bin");
    std::vector<uint16_t> elements = matrix.elements();
    std::ofstream(weights, std::ios::binary)
        .write(reinterpret_cast<const char *>(elements.data()),
               elements.size() * sizeof(uint16_t));
    std::ofstream(source) << matrix.module(weights.string());
    std::string command = "'" + compiler.string() + "' '" + source.string() +
                          "' -o '" + target.string() + "' --mcpu='" + cpu + "'";
    if (std::system(command.c_str()) != 0)
      fail("moe-compile failed: " + command);
    moe_program *program = nullptr;
    check(moe_program_load(target.c_str(), &program));
    programs.push_back(program);
    moe_session_options options;
    moe_session_options_init(&options);
    options.num_threads = 1;
    check(moe_session_create(program, &options, &session));
    return session;
  }

private:
  fs::path compiler, folder;
  std::string cpu;
  std::map<std::string, moe_session *> sessions;
  std::vector<moe_program *> programs;
};

void run(benchmark::State &state, Programs &programs, const Matrix &matrix) {
  moe_session *session = programs.get(matrix);
  int64_t rows = state.range(0), shape[] = {rows, matrix.depth};
  std::vector<float> x(rows * matrix.depth, 1.0f);
  DLManagedTensor input = {};
  input.dl_tensor.data = x.data();
  input.dl_tensor.device = {kDLCPU, 0};
  input.dl_tensor.ndim = 2;
  input.dl_tensor.dtype = {kDLFloat, 32, 1};
  input.dl_tensor.shape = shape;
  DLManagedTensor *inputs[] = {&input}, *outputs[1];
  for (auto _ : state) {
    check(moe_session_run(session, 1, nullptr, inputs, outputs));
    outputs[0]->deleter(outputs[0]);
  }
  double products = double(matrix.depth) * matrix.width;
  auto perSecond = [&](double each) {
    return benchmark::Counter(each * state.iterations(),
                              benchmark::Counter::kIsRate);
  };
  state.counters["FLOP/s"] = perSecond(2 * products * rows);
  state.counters["weights/s"] = perSecond(matrix.bytes());
}

} // namespace

int main(int argc, char **argv) {
  benchmark::Initialize(&argc, argv);
  std::string cpu = "native";
  for (int i = 1; i < argc; ++i) {
    std::string argument = argv[i];
    if (argument.rfind("--mcpu=", 0) != 0)
      fail("unknown argument '" + argument +
           "'; --mcpu=CPU and those of Google Benchmark are accepted");
    cpu = argument.substr(7);
  }
  std::error_code error;
  fs::path self = fs::read_symlink("/proc/self/exe", error);
  Programs programs(self.parent_path() / "moe-compile", cpu);
  for (const char *kind : {"f32", "bf16", "f16"})
    for (auto [depth, width] : {std::pair<int64_t, int64_t>(1024, 512),
                                std::pair<int64_t, int64_t>(2048, 16384)}) {
      Matrix matrix{kind, depth, width};
      benchmark::internal::Benchmark *added = benchmark::RegisterBenchmark(
          matrix.name().c_str(), [&programs, matrix](benchmark::State &state) {
            run(state, programs, matrix);
          });
      for (int64_t rows : {1, 2, 3, 4, 5, 6, 7, 8, 12, 16, 64, 192})
        added->Arg(rows);
      added->Unit(benchmark::kMicrosecond);
    }
  benchmark::RunSpecifiedBenchmarks();
  benchmark::Shutdown();
  return 0;
}
