//===- Session.h - running a model ----------------------------------------===//
#ifndef MOE_RUNTIME_CORE_SESSION_H
#define MOE_RUNTIME_CORE_SESSION_H

#include "moe-c/Runtime.h"
#include "runtime/Core/Outputs.h"
#include "runtime/Core/Program.h"
#include "runtime/Host/ThreadPool.h"

#include <memory>
#include <mutex>
#include <vector>

namespace moe::runtime {

struct Run;

/// Threads, memory and measurements for runs of one function.
class Session {
public:
  ~Session();
  static Status create(std::shared_ptr<const Program> program,
                       const moe_session_options &options,
                       std::unique_ptr<Session> &session);

  /// See moe_session_run.
  Status run(int32_t numInputs, const char *const *names,
             DLManagedTensor *const *inputs, DLManagedTensor **outputs);

  const moe_function &function() const { return *entry; }
  bool profiles() const { return profiling; }
  /// 0 if the threads are the embedder's.
  int32_t numThreads() const { return pool ? pool->numThreads() : 0; }
  std::vector<moe_profile_entry> profile() const;
  ArenaAllocator &allocator() const { return outputs->allocator; }

private:
  friend struct Run;
  Session();

  std::shared_ptr<const Program> program;
  const moe_function *entry = nullptr;
  moe_session_options options = {};
  bool profiling = false;
  std::unique_ptr<ThreadPool> pool;
  /// Shared with outputs, which may outlive the session.
  std::shared_ptr<OutputPool> outputs;

  /// States of runs that no run has now; there is room for all that were made.
  std::mutex runsMutex;
  std::vector<std::unique_ptr<Run>> idleRuns;
  size_t runsMade = 0;

  mutable std::mutex profileMutex;
  std::vector<moe_profile_entry> profileEntries;
};

} // namespace moe::runtime

#endif // MOE_RUNTIME_CORE_SESSION_H
