//===- ThreadPool.h - the runtime's own threads ---------------------------===//
#ifndef MOE_RUNTIME_HOST_THREADPOOL_H
#define MOE_RUNTIME_HOST_THREADPOOL_H

#include "runtime/Core/Status.h"

#include <atomic>
#include <cstdint>
#include <memory>
#include <pthread.h>
#include <vector>

namespace moe::runtime {

/// CPUs that this process may use; at least 1.
int32_t usableCpus();

/// Worker threads for parallel loops. Several threads may call parallelFor at
/// once: the first one has the workers, the others run their loops alone, so
/// nobody waits for anybody.
class ThreadPool {
public:
  /// Starts `numThreads - 1` workers; the caller of a loop is the last thread.
  /// `numThreads` is at least 1.
  static Status create(int32_t numThreads, std::unique_ptr<ThreadPool> &pool);
  ~ThreadPool();
  ThreadPool(const ThreadPool &) = delete;
  ThreadPool &operator=(const ThreadPool &) = delete;

  int32_t numThreads() const { return int32_t(workers.size()) + 1; }

  /// Calls fn(begin, end, closure) for disjoint ranges that cover [0, count)
  /// and returns when all are done. From inside of a loop: serially.
  void parallelFor(int64_t count, moe_task_fn fn, void *closure);

  /// A run. While at least one scope lives, idle workers wait for the next loop
  /// without going to sleep. If the last run had loops, this one wakes them.
  class ActiveScope {
  public:
    explicit ActiveScope(ThreadPool &pool) : pool(pool) { pool.beginRun(); }
    ~ActiveScope() { pool.endRun(); }
    ActiveScope(const ActiveScope &) = delete;
    ActiveScope &operator=(const ActiveScope &) = delete;

  private:
    ThreadPool &pool;
  };

private:
  ThreadPool() = default;

  static void *workerMain(void *self);
  void work();
  void beginRun();
  void endRun();
  void wake();
  void runChunks();
  uint32_t awaitJob(uint32_t seen);

  std::vector<pthread_t> workers;
  bool maySpin = false;

  /// Held by the caller whose loop the workers run.
  std::atomic<bool> busy{false};
  std::atomic<int32_t> activeRuns{0};
  /// Whether there was a loop in the last run.
  std::atomic<bool> hadLoops{false};

  /// Number of the job; odd while workers may join it. Also the futex that
  /// idle workers sleep on.
  alignas(64) std::atomic<uint32_t> state{0};
  /// Whether a worker sleeps or is about to that nobody has woken since.
  std::atomic<bool> anyAsleep{false};
  std::atomic<bool> stopping{false};

  // The job. Written only while `state` is even and nobody is inside.
  moe_task_fn fn = nullptr;
  void *closure = nullptr;
  int64_t count = 0;
  int64_t chunk = 1;
  alignas(64) std::atomic<int64_t> next{0};

  /// Workers inside the job. Also the futex that its caller sleeps on.
  alignas(64) std::atomic<uint32_t> inside{0};
  std::atomic<bool> callerSleeps{false};
};

} // namespace moe::runtime

#endif // MOE_RUNTIME_HOST_THREADPOOL_H
