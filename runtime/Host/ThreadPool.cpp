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
// Idle workers sleep on the futex `state`, but not from the first loop of a run
// to its end, since falling asleep and waking costs more than a small loop:
// they look for the next loop, first without a pause, after a while offering
// their CPU to others in between, and sleep only in serial parts that are long.
// Where there are more threads than CPUs nobody looks.
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

using Clock = std::chrono::steady_clock;

/// How long a thread that waits keeps its CPU for itself: longer than the
/// serial parts between two loops usually are.
constexpr auto kSpinTime = std::chrono::microseconds(200);
/// How long it looks at all within a run before it sleeps. Next to so much time
/// waking up is nothing.
constexpr auto kWaitTime = std::chrono::milliseconds(100);
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

void futexWake(std::atomic<uint32_t> &word) {
  syscall(SYS_futex, reinterpret_cast<uint32_t *>(&word), FUTEX_WAKE_PRIVATE,
          INT_MAX, nullptr, nullptr, 0);
}

void relax() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#endif
}

/// Looks until done() or until `time` is over; whether done() came true.
template <typename Done> bool lookUntil(Clock::duration time, Done done) {
  Clock::time_point begin = Clock::now(), now = begin;
  do {
    for (int i = 0; i < kSpinsPerClock; ++i) {
      if (done())
        return true;
      relax();
    }
    now = Clock::now();
    if (now - begin > kSpinTime)
      sched_yield();
  } while (now - begin < time);
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

  hadLoops.store(true, std::memory_order_relaxed);
  fn = taskFn;
  closure = taskClosure;
  count = taskCount;
  chunk = std::max<int64_t>(1, taskCount / (numThreads() * kChunksPerThread));
  next.store(0, std::memory_order_relaxed);
  state.fetch_add(1);
  wake();

  insideLoop = true;
  runChunks();
  insideLoop = false;

  state.fetch_add(1);
  auto isDone = [&] { return inside.load() == 0; };
  if (!isDone() && !(maySpin && lookUntil(kWaitTime, isDone))) {
    callerSleeps.store(true);
    while (uint32_t workersInside = inside.load())
      futexWait(inside, workersInside);
    callerSleeps.store(false);
  }
  busy.store(false, std::memory_order_release);
}

void ThreadPool::beginRun() {
  activeRuns.fetch_add(1, std::memory_order_relaxed);
  // Waking takes about as long as what comes before the first loop. A worker
  // that is about to sleep notices that `state` has changed; a loop that is
  // going on may lose a helper that was about to come, no more.
  if (maySpin && hadLoops.exchange(false, std::memory_order_relaxed) &&
      anyAsleep.load()) {
    state.fetch_add(2);
    wake();
  }
}

/// Wakes all workers that sleep or are about to, once `state` has changed.
void ThreadPool::wake() {
  // Who sleeps is told once: those that wake up need no second call.
  if (anyAsleep.load() && anyAsleep.exchange(false))
    futexWake(state);
}

void ThreadPool::endRun() {
  activeRuns.fetch_sub(1, std::memory_order_relaxed);
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
  bool isNews = false;
  // A job may be over before it is looked at again, so the answer is kept.
  auto look = [&] {
    current = state.load();
    isNews = (current % 2 == 1 && current != seen) || stopping.load();
    return isNews;
  };
  auto isRunning = [&] {
    return activeRuns.load(std::memory_order_relaxed) > 0;
  };
  for (;;) {
    look();
    if (!isNews && maySpin && isRunning())
      lookUntil(kWaitTime, [&] { return look() || !isRunning(); });
    if (!isNews && maySpin && !isRunning()) {
      // The next run may follow at once.
      lookUntil(kSpinTime, [&] { return look() || isRunning(); });
      if (!isNews && isRunning())
        continue;
    }
    if (isNews)
      return stopping.load() ? 0 : current;
    // The order matters: a caller changes `state`, then asks who sleeps.
    anyAsleep.store(true);
    if (!look())
      futexWait(state, current);
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
