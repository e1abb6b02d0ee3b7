//===- Session.cpp - running a model --------------------------------------===//
//
// Each run has an environment of its own: the blocks it holds, its failure, its
// measurements. So runs share nothing but the allocator (locked) and the
// threads (the first run has them), and a model needs no state. Environments
// serve again, as do outputs that the caller has given back: once a session has
// done a run, another one of the same extents asks nothing of the system.
//
//===----------------------------------------------------------------------===//

#include "runtime/Core/Session.h"

#include "runtime/Core/DType.h"
#include "runtime/Core/Signature.h"
#include "runtime/Host/FloatMode.h"

#include <algorithm>
#include <chrono>
#include <cstring>
#include <optional>

namespace moe::runtime {
namespace {

constexpr int32_t kMaxThreads = 4096;

int64_t now() {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(
             std::chrono::steady_clock::now().time_since_epoch())
      .count();
}

/// A loop body that sets the float mode of a thread that is not ours.
struct ForeignLoop {
  moe_task_fn fn;
  void *closure;

  static void body(int64_t begin, int64_t end, void *self) {
    FloatModeScope mode;
    auto *loop = static_cast<ForeignLoop *>(self);
    loop->fn(begin, end, loop->closure);
  }
};

} // namespace

/// The state of one run after another; what moe_run_env::host points to.
struct Run {
  explicit Run(Session &session)
      : session(session), memory(session.outputs->allocator) {
    env.abi_version = MOE_ABI_VERSION;
    env.struct_size = sizeof(env);
    env.weights = session.program->weights();
    env.host = this;
    env.parallel_for = parallelFor;
    env.alloc = allocate;
    env.free = release;
    env.fail = fail;
    env.log = log;
    env.clock = [](const moe_run_env *) { return now(); };
    if (session.profiling) {
      entries.resize(session.entry->num_ops);
      env.profile = profile;
    }
  }

  static Run &of(const moe_run_env *env) {
    return *static_cast<Run *>(env->host);
  }

  static void parallelFor(const moe_run_env *env, int64_t count, moe_task_fn fn,
                          void *closure) {
    Session &session = of(env).session;
    if (session.pool) {
      session.pool->parallelFor(count, fn, closure);
    } else if (count > 0) {
      ForeignLoop loop{fn, closure};
      session.options.parallel_for(session.options.parallel_user, count,
                                   ForeignLoop::body, &loop);
    }
  }

  static void *allocate(const moe_run_env *env, int64_t bytes,
                        int64_t alignment) {
    return of(env).memory.allocate(bytes, alignment);
  }

  static void release(const moe_run_env *env, void *pointer) {
    if (!of(env).memory.free(pointer))
      fail(env, MOE_INTERNAL, "the model freed memory that is not its own");
  }

  static void fail(const moe_run_env *env, int32_t code, const char *message) {
    Run &run = of(env);
    if (run.failure != MOE_OK)
      return; // the first reason counts
    run.failure = code == MOE_OK ? int32_t(MOE_INTERNAL) : code;
    std::strncpy(run.message, message ? message : "", sizeof(run.message) - 1);
  }

  static void log(const moe_run_env *env, int32_t level, const char *message) {
    const moe_session_options &options = of(env).session.options;
    if (options.log && message)
      options.log(options.log_user, level, message);
  }

  static void profile(const moe_run_env *env, int32_t op, int32_t event,
                      int64_t flops, int64_t bytes) {
    int64_t time = now();
    Run &run = of(env);
    if (op < 0 || size_t(op) >= run.entries.size())
      return;
    moe_profile_entry &entry = run.entries[op];
    entry.flops += flops;
    entry.bytes += bytes;
    if (event == MOE_PROFILE_PAUSE || event == MOE_PROFILE_END)
      entry.nanoseconds += time - run.operationBegan;
    if (event == MOE_PROFILE_END)
      entry.calls += 1;
    // Last, so that what this function does is in no operation's time.
    if (event == MOE_PROFILE_BEGIN)
      run.operationBegan = now();
  }

  /// One run from the beginning, as if there had been none.
  Status start(int32_t numInputs, const char *const *names,
               DLManagedTensor *const *tensors, DLManagedTensor **results);
  Status execute();
  Status collect();

  /// Gives an output back that the caller does not get.
  struct Recycle {
    void operator()(Output *output) const { OutputPool::recycle(output); }
  };

  Session &session;
  RunMemory memory;
  SymbolTable symbols;
  InputBuffers inputs;
  /// Extents of all outputs, one behind the other.
  std::vector<int64_t> dims;
  std::vector<moe_buffer> buffers;
  std::vector<std::unique_ptr<Output, Recycle>> outputs;
  moe_run_env env = {};
  int32_t failure = MOE_OK;
  /// Of a fixed size: recording a failure must not need memory.
  char message[1024] = {};
  std::vector<moe_profile_entry> entries;
  /// When the operation that runs now began.
  int64_t operationBegan = 0;
};

Status Run::execute() {
  int32_t code;
  {
    FloatModeScope mode;
    std::optional<ThreadPool::ActiveScope> active;
    if (session.pool)
      active.emplace(*session.pool);
    code = session.entry->run(&env, inputs.data(), buffers.data());
  }
  if (failure != MOE_OK)
    return {failure, *message ? message : "the model failed without a message"};
  if (code != MOE_OK)
    return {code, "the model failed without a message"};
  if (session.profiling) {
    std::lock_guard<std::mutex> lock(session.profileMutex);
    for (size_t i = 0; i < entries.size(); ++i) {
      session.profileEntries[i].calls += entries[i].calls;
      session.profileEntries[i].nanoseconds += entries[i].nanoseconds;
      session.profileEntries[i].flops += entries[i].flops;
      session.profileEntries[i].bytes += entries[i].bytes;
    }
  }
  return {};
}

/// Makes tensors of what the model returned. Nothing of it is trusted that
/// could lead to a read outside of a block.
Status Run::collect() {
  const moe_function &function = *session.entry;
  for (int32_t i = 0; i < function.num_outputs; ++i) {
    const moe_value &value = function.outputs[i];
    const moe_buffer &buffer = buffers[i];
    auto which = [&] { return "output " + quote(value.name); };
    if (Status s = checkOutputDims(function, i, buffer.dims, symbols); !s.ok())
      return s;
    std::optional<int64_t> bytes =
        byteSize(value.dtype, buffer.dims, value.rank);
    if (!bytes)
      return internalError("the model returned " + which() +
                           " with more bytes than 64 bits can count");

    Output *sharing = nullptr;
    for (const auto &other : outputs)
      if (buffer.data && other->managed.dl_tensor.data == buffer.data)
        sharing = other.get();
    Block block = sharing ? sharing->memory->block : memory.find(buffer.data);
    if (buffer.data && !block)
      return internalError("the model returned " + which() +
                           " in memory that is not of this run");
    if (size_t(*bytes) > block.size)
      return internalError("the model returned " + which() + " of " +
                           std::to_string(*bytes) +
                           " bytes in a smaller block of memory");
    outputs.emplace_back(session.outputs->make(value, buffer.data, buffer.dims,
                                               memory, sharing));
  }
  return {};
}

Status Run::start(int32_t numInputs, const char *const *names,
                  DLManagedTensor *const *tensors, DLManagedTensor **results) {
  const moe_function &function = *session.entry;
  failure = MOE_OK;
  message[0] = 0;
  std::fill(entries.begin(), entries.end(), moe_profile_entry());
  symbols.clear();
  if (Status s =
          bindInputs(function, numInputs, names, tensors, symbols, inputs);
      !s.ok())
    return s;

  // Extents that the model forgets to set stay -1 and are found. One more than
  // the rank, so that a scalar has a valid pointer as well.
  size_t count = 0;
  for (int32_t i = 0; i < function.num_outputs; ++i)
    count += size_t(function.outputs[i].rank) + 1;
  dims.assign(count, -1);
  buffers.clear();
  outputs.reserve(size_t(function.num_outputs));
  int64_t *next = dims.data();
  for (int32_t i = 0; i < function.num_outputs; ++i) {
    buffers.push_back({nullptr, next});
    next += function.outputs[i].rank + 1;
  }

  memory.begin();
  Status status = execute();
  if (status.ok())
    status = collect();
  if (status.ok())
    for (int32_t i = 0; i < function.num_outputs; ++i)
      results[i] = &outputs[size_t(i)].release()->managed;
  outputs.clear();
  memory.end();
  return status;
}

Session::Session() = default;
Session::~Session() = default;

Status Session::create(std::shared_ptr<const Program> program,
                       const moe_session_options &options,
                       std::unique_ptr<Session> &result) {
  if (options.num_threads < 0 || options.num_threads > kMaxThreads)
    return invalidArgument("num_threads is " +
                           std::to_string(options.num_threads) + ", 0 to " +
                           std::to_string(kMaxThreads) + " are accepted");
  std::unique_ptr<Session> session(new Session);
  session->entry = program->function(options.function);
  if (!session->entry) {
    std::string names;
    const moe_model &model = program->model();
    for (int32_t i = 0; i < model.num_functions; ++i)
      names += (i ? ", " : "") + quote(model.functions[i].name);
    return invalidArgument("the model has no function " +
                           quote(options.function) +
                           "; its functions: " + names);
  }
  session->profiling = options.profile != 0;
  if (session->profiling && session->entry->num_ops == 0)
    return unsupported("the model was compiled without profile points, there "
                       "is nothing to measure inside of a run; compile it "
                       "with moe-compile --profile");
  session->options = options;
  session->options.function = session->entry->name;
  session->profileEntries.resize(session->entry->num_ops);
  session->outputs = std::make_shared<OutputPool>();
  session->program = std::move(program);
  if (!options.parallel_for) {
    int32_t threads = options.num_threads ? options.num_threads : usableCpus();
    if (Status s = ThreadPool::create(threads, session->pool); !s.ok())
      return s;
  }
  result = std::move(session);
  return {};
}

Status Session::run(int32_t numInputs, const char *const *names,
                    DLManagedTensor *const *inputs, DLManagedTensor **results) {
  if (entry->num_outputs > 0 && !results)
    return invalidArgument("no room for the outputs is given");
  std::unique_ptr<Run> run;
  {
    std::lock_guard<std::mutex> lock(runsMutex);
    if (idleRuns.empty()) {
      idleRuns.reserve(++runsMade);
    } else {
      run = std::move(idleRuns.back());
      idleRuns.pop_back();
    }
  }
  if (!run)
    run = std::make_unique<Run>(*this);
  Status status = run->start(numInputs, names, inputs, results);
  std::lock_guard<std::mutex> lock(runsMutex);
  idleRuns.push_back(std::move(run));
  return status;
}

std::vector<moe_profile_entry> Session::profile() const {
  std::lock_guard<std::mutex> lock(profileMutex);
  return profileEntries;
}

} // namespace moe::runtime
