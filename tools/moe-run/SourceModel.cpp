//===- SourceModel.cpp - models that have to be compiled first ------------===//
//
// The compiler is a program of its own, so that this one needs no LLVM. It is
// started directly, without a shell. Its messages go to the standard error
// output, since the standard output belongs to the results.
//
// While the folder exists, SIGINT, SIGTERM and SIGHUP are passed on to the
// compiler and remembered; when the folder is gone, the program ends by them.
//
//===----------------------------------------------------------------------===//

#include "tools/moe-run/SourceModel.h"

#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

namespace moe::run {

using runtime::internalError;
using runtime::invalidArgument;
using runtime::ioError;
using runtime::quote;
using runtime::Status;

namespace {

namespace fs = std::filesystem;

volatile std::sig_atomic_t caughtSignal = 0;
volatile std::sig_atomic_t compilerPid = 0;

void onSignal(int number) {
  caughtSignal = number;
  if (compilerPid > 0)
    kill(compilerPid, number);
}

/// Holds back the signals that end a program; at the end of the scope the
/// program ends by one that came.
class SignalScope {
public:
  SignalScope() {
    struct sigaction action = {};
    action.sa_handler = onSignal;
    for (size_t i = 0; i < kCount; ++i) {
      sigaction(kSignals[i], nullptr, &saved[i]);
      if (saved[i].sa_handler != SIG_IGN)
        sigaction(kSignals[i], &action, nullptr);
    }
  }
  ~SignalScope() {
    for (size_t i = 0; i < kCount; ++i)
      sigaction(kSignals[i], &saved[i], nullptr);
    if (caughtSignal)
      raise(caughtSignal);
  }

private:
  static constexpr int kSignals[] = {SIGINT, SIGTERM, SIGHUP};
  static constexpr size_t kCount = 3;
  struct sigaction saved[kCount];
};

/// A folder that only this user can enter, removed at the end of the scope.
class TemporaryFolder {
public:
  Status create() {
    const char *root = std::getenv("TMPDIR");
    path = std::string(root && *root ? root : "/tmp") + "/moe-run-XXXXXX";
    if (!mkdtemp(path.data())) {
      std::string pattern = std::move(path);
      path.clear();
      return ioError("cannot create the temporary folder " + quote(pattern) +
                     ": " + std::strerror(errno));
    }
    return {};
  }
  ~TemporaryFolder() {
    if (path.empty())
      return;
    std::error_code error;
    fs::remove_all(path, error);
    if (error)
      std::fprintf(stderr, "moe-run: warning: cannot remove '%s': %s\n",
                   path.c_str(), error.message().c_str());
  }

  std::string path;
};

bool hasSuffix(const std::string &text, const char *suffix) {
  size_t size = std::strlen(suffix);
  return text.size() >= size &&
         text.compare(text.size() - size, size, suffix) == 0;
}

Status findCompiler(std::string &path) {
  std::error_code error;
  fs::path self = fs::read_symlink("/proc/self/exe", error);
  if (error)
    return ioError("cannot find the folder of moe-run: " + error.message());
  path = (self.parent_path() / "moe-compile").string();
  if (access(path.c_str(), X_OK) != 0)
    return ioError("cannot run " + quote(path) + ": " + std::strerror(errno) +
                   "; a model that is not compiled yet needs moe-compile "
                   "beside moe-run, or compile it elsewhere and pass the .so");
  return {};
}

/// Runs a program and waits for it. `result` is as waitpid tells it.
Status runProgram(std::vector<std::string> &arguments, int &result) {
  std::vector<char *> argv;
  for (std::string &argument : arguments)
    argv.push_back(argument.data());
  argv.push_back(nullptr);
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_adddup2(&actions, STDERR_FILENO, STDOUT_FILENO);
  pid_t pid;
  int error =
      posix_spawn(&pid, argv[0], &actions, nullptr, argv.data(), environ);
  posix_spawn_file_actions_destroy(&actions);
  if (error != 0)
    return ioError("cannot run " + quote(arguments[0]) + ": " +
                   std::strerror(error));
  compilerPid = pid;
  // A signal that came before the process id was known.
  if (caughtSignal)
    kill(pid, caughtSignal);
  pid_t done;
  while ((done = waitpid(pid, &result, 0)) < 0 && errno == EINTR) {
  }
  compilerPid = 0;
  return done == pid
             ? Status()
             : internalError(std::string("waitpid: ") + std::strerror(errno));
}

} // namespace

bool isSourceModel(const std::string &path) {
  return hasSuffix(path, ".onnx") || hasSuffix(path, ".mlir") ||
         hasSuffix(path, ".mlirbc");
}

Status compileAndUse(const Options &options, double &seconds,
                     const std::function<Status(const std::string &)> &use) {
  if (access(options.model.c_str(), R_OK) != 0)
    return ioError("cannot open model " + quote(options.model) + ": " +
                   std::strerror(errno));
  std::vector<std::string> arguments(1);
  if (Status s = findCompiler(arguments[0]); !s.ok())
    return s;

  SignalScope signals;
  TemporaryFolder folder;
  if (Status s = folder.create(); !s.ok())
    return s;
  std::string library = folder.path + "/model.so";
  bool isOption = options.model[0] == '-';
  arguments.push_back((isOption ? "./" : "") + options.model);
  arguments.insert(arguments.end(), {"-o", library});
  if (!options.cpu.empty())
    arguments.push_back("--mcpu=" + options.cpu);
  if (options.profile)
    arguments.push_back("--profile");
  // With --random these are the extents of one run, not of the compilation.
  if (!options.seed)
    for (const auto &[name, extent] : options.dims)
      arguments.insert(arguments.end(),
                       {"--dim", name + "=" + std::to_string(extent)});

  std::fprintf(stderr, "moe-run: compiling %s\n", options.model.c_str());
  auto begin = std::chrono::steady_clock::now();
  int result = 0;
  if (Status s = runProgram(arguments, result); !s.ok())
    return s;
  seconds =
      std::chrono::duration<double>(std::chrono::steady_clock::now() - begin)
          .count();
  if (WIFSIGNALED(result))
    return caughtSignal ? ioError("interrupted")
                        : internalError("moe-compile ended by signal " +
                                        std::to_string(WTERMSIG(result)));
  int code = WEXITSTATUS(result);
  if (code == 1)
    return invalidArgument("moe-compile did not accept " +
                           quote(options.model));
  if (code != 0)
    return internalError("moe-compile failed with exit status " +
                         std::to_string(code));
  std::fprintf(stderr, "moe-run: compiled in %.2f s\n", seconds);
  return use(library);
}

} // namespace moe::run
