//===- ThreadPool.cpp - the runtime's own threads -------------------------===//
//
// One job at a time. Its caller fills in the job, makes `state` odd, works on
// the job itself, makes `state` even again and waits until no worker is inside.
// Everybody takes chunks from the counter `next` until none is left.
//
// A worker enters by incrementing `inside` and then looking at `state` once
// more; the caller leaves by changing `state` and then looking at `inside`. All
// four are sequentially consistent, so either the worker sees that the job is
// over, or the caller sees the worker and waits for it: nobody touches the job
// after parallelFor has returned, and a worker that wakes up late never delays
// a loop that is done without it.
//
// Idle workers sleep on the futex `state`. Between the loops of a run they look
// at it for a while first, since falling asleep and waking costs more than a
// small loop; not where there are more threads than CPUs.
//
//===----------------------------------------------------------------------===//

#include "runtime/Host/ThreadPool.h"

#include "runtime/Host/FloatMode.h"

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <climits>
#include <csignal>
#include <cstring>
#include <linux/futex.h>
#include <sched.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace moe::runtime {
namespace {

/// How long a worker looks for the next loop of a run before it sleeps: longer
/// than the serial parts between two loops usually are.
constexpr auto kSpinTime = std::chrono::microseconds(200);
/// Looks between two readings of the clock.
constexpr int kSpinsPerClock = 64;

/// Chunks per thread: enough to even out threads of unequal speed.
constexpr int64_t kChunksPerThread = 8;

/// Set in threads that are inside a loop: an inner loop runs serially.
thread_local bool insideLoop = false;

static_assert(sizeof(std::atomic<uint32_t>) == sizeof(uint32_t),
              "a futex is a plain 32-bit word");

void futexWait(std::atomic<uint32_t> &word, uint32_t expected) {
  // Returning early (EINTR, EAGAIN) is fine: the callers look again.
  syscall(SYS_futex, reinterpret_cast<uint32_t *>(&word), FUTEX_WAIT_PRIVATE,
          expected, nullptr, nullptr, 0);
}

void futexWake(std::atomic<uint32_t> &word, int64_t threads = INT_MAX) {
  syscall(SYS_futex, reinterpret_cast<uint32_t *>(&word), FUTEX_WAKE_PRIVATE,
          int(std::min<int64_t>(threads, INT_MAX)), nullptr, nullptr, 0);
}

void relax() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#endif
}

/// Looks until done() or until the time is over; whether done() came true.
template <typename Done> bool spinUntil(Done done) {
  auto end = std::chrono::steady_clock::now() + kSpinTime;
  do {
    for (int i = 0; i < kSpinsPerClock; ++i) {
      if (done())
        return true;
      relax();
    }
  } while (std::chrono::steady_clock::now() < end);
  return false;
}

} // namespace

int32_t usableCpus() {
  // A set of fixed size fails on machines with more CPUs than it has bits.
  for (int bits = CPU_SETSIZE; bits <= (1 << 20); bits *= 2) {
    cpu_set_t *set = CPU_ALLOC(bits);
    if (!set)
      return 1;
    size_t size = CPU_ALLOC_SIZE(bits);
    int result = sched_getaffinity(0, size, set);
    int error = errno;
    int32_t count = result == 0 ? CPU_COUNT_S(size, set) : 0;
    CPU_FREE(set);
    if (result == 0)
      return std::max(count, 1);
    if (error != EINVAL)
      return 1;
  }
  return 1;
}

Status ThreadPool::create(int32_t numThreads,
                          std::unique_ptr<ThreadPool> &result) {
  std::unique_ptr<ThreadPool> pool(new ThreadPool);
  pool->maySpin = numThreads <= usableCpus();
  pool->workers.reserve(numThreads - 1);

  // Signals belong to the embedder's threads.
  sigset_t all, saved;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &saved);
  int error = 0;
  for (int32_t i = 1; i < numThreads && error == 0; ++i) {
    pthread_t thread;
    error = pthread_create(&thread, nullptr, workerMain, pool.get());
    if (error == 0)
      pool->workers.push_back(thread);
  }
  pthread_sigmask(SIG_SETMASK, &saved, nullptr);
  if (error != 0)
    return {MOE_OUT_OF_MEMORY, "cannot start " +
                                   std::to_string(numThreads - 1) +
                                   " worker threads, the system allowed " +
                                   std::to_string(pool->workers.size()) + ": " +
                                   std::strerror(error)};
  result = std::move(pool);
  return {};
}

ThreadPool::~ThreadPool() {
  stopping.store(true);
  state.fetch_add(2);
  futexWake(state);
  for (pthread_t worker : workers)
    pthread_join(worker, nullptr);
}

void ThreadPool::parallelFor(int64_t taskCount, moe_task_fn taskFn,
                             void *taskClosure) {
  if (taskCount <= 0)
    return;
  bool taken = false;
  if (taskCount == 1 || workers.empty() || insideLoop ||
      !busy.compare_exchange_strong(taken, true, std::memory_order_acquire)) {
    taskFn(0, taskCount, taskClosure);
    return;
  }

  fn = taskFn;
  closure = taskClosure;
  count = taskCount;
  chunk = std::max<int64_t>(1, taskCount / (numThreads() * kChunksPerThread));
  next.store(0, std::memory_order_relaxed);
  state.fetch_add(1);
  if (sleepers.load() > 0)
    futexWake(state, taskCount - 1);

  insideLoop = true;
  runChunks();
  insideLoop = false;

  state.fetch_add(1);
  auto isDone = [&] { return inside.load() == 0; };
  if (!isDone() && !(maySpin && spinUntil(isDone))) {
    callerSleeps.store(true);
    while (uint32_t workersInside = inside.load())
      futexWait(inside, workersInside);
    callerSleeps.store(false);
  }
  busy.store(false, std::memory_order_release);
}

void ThreadPool::runChunks() {
  // Each thread looks once more after the last chunk: `next` passes `count` by
  // at most one chunk per thread, which cannot overflow for any real count.
  for (;;) {
    int64_t begin = next.fetch_add(chunk, std::memory_order_relaxed);
    if (begin >= count)
      return;
    fn(begin, count - begin < chunk ? count : begin + chunk, closure);
  }
}

/// Waits for a job other than `seen` and returns its number; 0 to stop.
uint32_t ThreadPool::awaitJob(uint32_t seen) {
  uint32_t current = state.load();
  auto isNews = [&] {
    current = state.load();
    return (current % 2 == 1 && current != seen) || stopping.load();
  };
  for (;;) {
    if (isNews() ||
        (maySpin && activeRuns.load(std::memory_order_relaxed) > 0 &&
         spinUntil([&] {
           return isNews() || activeRuns.load(std::memory_order_relaxed) == 0;
         }) &&
         isNews()))
      return stopping.load() ? 0 : current;
    // The order matters: a caller changes `state`, then looks for sleepers.
    sleepers.fetch_add(1);
    if (!isNews())
      futexWait(state, current);
    sleepers.fetch_sub(1);
  }
}

void *ThreadPool::workerMain(void *self) {
  static_cast<ThreadPool *>(self)->work();
  return nullptr;
}

void ThreadPool::work() {
  FloatModeScope mode;
  insideLoop = true;
  uint32_t seen = 0;
  while (uint32_t job = awaitJob(seen)) {
    seen = job;
    inside.fetch_add(1);
    if (state.load() == job)
      runChunks();
    if (inside.fetch_sub(1) == 1 && callerSleeps.load())
      futexWake(inside);
  }
}

} // namespace moe::runtime
