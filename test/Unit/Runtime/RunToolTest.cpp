//===- RunToolTest.cpp - moe-run as a program -----------------------------===//

#include "TestSupport.h"
#include "tools/moe-run/TensorProto.h"

#include <fcntl.h>
#include <spawn.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <thread>
#include <unistd.h>

using namespace moe::test;
namespace fs = std::filesystem;

namespace {

struct Ended {
  int status; // exit status, or 128 + signal
  std::string out;
  std::string error;
};

class RunTool : public ::testing::Test {
protected:
  TestFolder folder;
  std::string program = MOE_RUN;

  pid_t start(const std::vector<std::string> &arguments) {
    std::vector<std::string> all = {program};
    all.insert(all.end(), arguments.begin(), arguments.end());
    std::vector<char *> argv;
    for (std::string &argument : all)
      argv.push_back(argument.data());
    argv.push_back(nullptr);
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    for (auto [descriptor, name] : {std::pair(1, "out"), std::pair(2, "err")})
      posix_spawn_file_actions_addopen(&actions, descriptor,
                                       (folder / name).c_str(),
                                       O_WRONLY | O_CREAT | O_TRUNC, 0600);
    pid_t pid = -1;
    EXPECT_EQ(
        posix_spawn(&pid, argv[0], &actions, nullptr, argv.data(), environ), 0);
    posix_spawn_file_actions_destroy(&actions);
    return pid;
  }

  Ended finish(pid_t pid) {
    int status = 0;
    waitpid(pid, &status, 0);
    return {WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status),
            readText(folder / "out"), readText(folder / "err")};
  }

  Ended run(const std::vector<std::string> &arguments) {
    return finish(start(arguments));
  }

  /// Entries of the folder for temporary files.
  size_t temporaryFiles() {
    return std::distance(fs::directory_iterator(folder / "tmp"),
                         fs::directory_iterator());
  }

  /// Puts moe-run beside a moe-compile that is this shell script, and temporary
  /// files into a folder of the test.
  void fakeCompiler(const std::string &script) {
    fs::create_directories(folder / "tmp");
    setenv("TMPDIR", (folder / "tmp").c_str(), 1);
    program = folder / "moe-run";
    fs::copy_file(MOE_RUN, program, fs::copy_options::overwrite_existing);
    writeText(folder / "moe-compile", "#!/bin/sh\n" + script);
    chmod((folder / "moe-compile").c_str(), 0700);
    writeText(folder / "model.onnx", "");
  }
  void TearDown() override { unsetenv("TMPDIR"); }
};

bool contains(const std::string &text, const std::string &part) {
  return text.find(part) != std::string::npos;
}

TEST_F(RunTool, Help) {
  Ended ended = run({"-h"});
  EXPECT_EQ(ended.status, 0);
  EXPECT_TRUE(contains(ended.out, "usage: moe-run MODEL"));
  EXPECT_EQ(run({"--version"}).status, 0);
  EXPECT_EQ(run({}).status, 1);
}

TEST_F(RunTool, WritesATestFolderAndComparesWithIt) {
  std::string results = folder / "results";
  Ended ended = run({TEST_MODEL, "--random", "3", "--dim", "batch=40",
                     "--output", results, "--threads", "1"});
  ASSERT_EQ(ended.status, 0) << ended.error;
  EXPECT_TRUE(contains(ended.out, "output 'y' float32[40, 4]:"));
  for (const char *name : {"y.npy", "kept.npy", "chosen.npy", "input_0.pb",
                           "input_2.pb", "output_0.pb", "output_2.pb"})
    EXPECT_TRUE(fs::exists(results + "/" + name)) << name;
  for (const char *threads : {"1", "2", "3", "7"}) {
    ended = run({TEST_MODEL, "--data", results, "--expect", results, "--rtol",
                 "0", "--atol", "0", "--threads", threads});
    EXPECT_EQ(ended.status, 0) << ended.out << ended.error;
    EXPECT_TRUE(contains(ended.out, "largest difference 0\n"));
  }
}

TEST_F(RunTool, TellsWhatDiffers) {
  std::string results = folder / "results";
  ASSERT_EQ(
      run({TEST_MODEL, "--random", "3", "--dim=batch=40", "--output", results})
          .status,
      0);
  moe::run::Tensor tensor;
  ASSERT_TRUE(moe::run::readTensorProto(results + "/output_0.pb", tensor).ok());
  float wrong = 100;
  std::memcpy(&tensor.data[5 * 4], &wrong, 4);
  ASSERT_TRUE(
      moe::run::writeTensorProto(results + "/output_0.pb", "y", tensor).ok());
  fs::remove(results + "/output_1.pb"); // is not compared
  std::vector<std::string> arguments = {TEST_MODEL, "--data", results,
                                        "--expect", results};
  Ended ended = run(arguments);
  EXPECT_EQ(ended.status, 3);
  EXPECT_TRUE(contains(ended.out, "output 'y' differs at [1, 1]: got "));
  EXPECT_TRUE(contains(ended.out, "expected 100"));
  EXPECT_TRUE(contains(ended.out, "1 of 160 elements differ"));
  arguments.push_back("--json");
  ended = run(arguments);
  EXPECT_EQ(ended.status, 3);
  EXPECT_TRUE(contains(ended.out, "\"matches\":false"));
  for (const char *name : {"output_0.pb", "output_2.pb"})
    fs::remove(results + "/" + name);
  EXPECT_EQ(run(arguments).status, 1); // nothing to compare with
}

TEST_F(RunTool, Bench) {
  Ended ended = run({TEST_MODEL, "--random", "1", "--dim", "batch=100",
                     "--bench", "7", "--json", "--threads", "2"});
  ASSERT_EQ(ended.status, 0) << ended.error;
  for (const char *part : {"{\"model\":", "\"median_ms\":", "\"min_ms\":",
                           "\"runs\":7", "\"threads\":2",
                           "\"peak_live_bytes\":", "\"arena_bytes\":",
                           "\"peak_rss_anon_bytes\":"})
    EXPECT_TRUE(contains(ended.out, part)) << ended.out;
  EXPECT_EQ(std::count(ended.out.begin(), ended.out.end(), '\n'), 1);
  ended = run({TEST_MODEL, "--random", "1", "--dim", "batch=100", "--bench",
               "7", "--profile"});
  EXPECT_TRUE(contains(ended.out, "ms median"));
  for (const char *part : {"GFLOP/s", "  test.Map ", "  map\n", "  keep\n",
                           "(outside of all operations)"})
    EXPECT_TRUE(contains(ended.out, part)) << ended.out;
  ended = run({TEST_MODEL, "--random", "1", "--dim", "batch=100", "--bench",
               "7", "--profile", "--json"});
  // Of one run: 100 rows of 50 rounds with 4 times 11 operations.
  EXPECT_TRUE(contains(ended.out, "\"name\":\"map\",\"kind\":\"test.Map\","
                                  "\"calls\":1,\"ms\":"))
      << ended.out;
  EXPECT_TRUE(contains(ended.out, "\"flops\":220000,\"bytes\":440000}"));
  EXPECT_TRUE(contains(ended.out, "\"profile_other\":{\"ms\":"));
}

TEST_F(RunTool, MistakesOfTheUser) {
  EXPECT_EQ(run({folder / "none.so"}).status, 1);
  EXPECT_EQ(run({folder / "model.txt"}).status, 1);
  Ended ended = run({TEST_MODEL});
  EXPECT_EQ(ended.status, 1);
  EXPECT_TRUE(contains(ended.error, "no values for 'x' float32[batch, 4]"));
  ended = run({TEST_MODEL, "--dim", "batch=3"});
  EXPECT_EQ(ended.status, 1);
  EXPECT_TRUE(contains(ended.error, "--dim is for --random"));
  ended = run({TEST_MODEL, "--random", "1", "--dim", "batch=1000000000000000"});
  EXPECT_EQ(ended.status, 1) << ended.error;
  // The index is at most 15, and there are no rows.
  ended = run({TEST_MODEL, "--random", "1", "--dim", "batch=0"});
  EXPECT_EQ(ended.status, 1);
  EXPECT_TRUE(contains(ended.error, "out of range")) << ended.error;
  EXPECT_EQ(run({TEST_MODEL_CPU, "--random", "1"}).status, 1);
}

TEST_F(RunTool, CompilesSourceModels) {
  fakeCompiler("echo \"$@\" > " + (folder / "arguments") +
               "; echo noise; stat -c %a \"$(dirname \"$3\")\" > " +
               (folder / "mode") + "; cp " TEST_MODEL " \"$3\"\n");
  Ended ended = run(
      {folder / "model.onnx", "--random", "1", "--dim", "batch=16", "--json"});
  ASSERT_EQ(ended.status, 0) << ended.error;
  EXPECT_EQ(ended.out[0], '{'); // the compiler's output is not in between
  EXPECT_TRUE(contains(ended.error, "noise"));
  EXPECT_TRUE(contains(ended.error, "compiled in"));
  EXPECT_EQ(readText(folder / "mode"), "700\n");
  EXPECT_FALSE(contains(readText(folder / "arguments"), "--dim"));
  EXPECT_EQ(temporaryFiles(), 0u);
  // Without --random the extents are the compiler's.
  run({folder / "model.onnx", "--dim", "batch=16"});
  EXPECT_TRUE(contains(readText(folder / "arguments"), "--dim batch=16"));
}

TEST_F(RunTool, UsesTheCodeForACpu) {
  Ended ended = run({TEST_MODEL, "--random", "1", "--dim", "batch=16", "--json",
                     "--cpu", "x86-64"});
  EXPECT_EQ(ended.status, 0) << ended.error;
  EXPECT_TRUE(contains(ended.out, "\"cpu\":\"x86-64\"")) << ended.out;
  ended = run({TEST_MODEL, "--random", "1", "--cpu=x86-64-v9"});
  EXPECT_EQ(ended.status, 1);
  EXPECT_TRUE(contains(ended.error, "MOE_CPU is 'x86-64-v9', but the model was "
                                    "compiled for the CPU 'x86-64'"))
      << ended.error;
  fakeCompiler("echo \"$@\" > " + (folder / "arguments") + "; exit 1");
  run({folder / "model.onnx", "--cpu=x86-64-v9"});
  EXPECT_TRUE(contains(readText(folder / "arguments"), "--mcpu=x86-64-v9"));
}

TEST_F(RunTool, CompilersThatFail) {
  fakeCompiler("exit 1");
  EXPECT_EQ(run({folder / "model.onnx"}).status, 1);
  fakeCompiler("exit 2");
  EXPECT_EQ(run({folder / "model.onnx"}).status, 2);
  fakeCompiler("kill -SEGV $$");
  EXPECT_EQ(run({folder / "model.onnx"}).status, 2);
  fakeCompiler("exit 0"); // and writes nothing
  EXPECT_EQ(run({folder / "model.onnx"}).status, 1);
  EXPECT_EQ(temporaryFiles(), 0u);
  fs::remove(folder / "moe-compile");
  Ended ended = run({folder / "model.onnx"});
  EXPECT_EQ(ended.status, 1);
  EXPECT_TRUE(contains(ended.error, "needs moe-compile beside moe-run"));
  EXPECT_EQ(run({folder / "other.mlir"}).status, 1);
}

TEST_F(RunTool, LeavesNothingBehindWhenInterrupted) {
  fakeCompiler("touch " + (folder / "started") + "; exec sleep 60");
  pid_t pid = start({folder / "model.onnx"});
  while (!fs::exists(folder / "started"))
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  EXPECT_EQ(temporaryFiles(), 1u);
  kill(pid, SIGTERM);
  EXPECT_EQ(finish(pid).status, 128 + SIGTERM);
  EXPECT_EQ(temporaryFiles(), 0u);
}

TEST_F(RunTool, TheExampleRuns) {
  program = RUN_MODEL;
  Ended ended = run({TEST_MODEL, "3"});
  EXPECT_EQ(ended.status, 0) << ended.error;
  EXPECT_TRUE(contains(ended.out, "y: float32[3, 4] 0 0 0"));
  EXPECT_TRUE(contains(ended.out, "kept: float32[0, 4]"));
  EXPECT_EQ(run({TEST_MODEL, "0"}).status, 1); // the index is out of range
}

} // namespace
