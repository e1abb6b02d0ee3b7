//===- SteadyStateTest.cpp - what runs after the first one ask for --------===//

#include "runtime/Core/Allocator.h"
#include "runtime/Host/ThreadPool.h"
#include "test/Unit/Runtime/Interposed.h"
#include "test/Unit/Runtime/TestSupport.h"

#include <algorithm>
#include <chrono>
#include <climits>
#include <ctime>
#include <gtest/gtest.h>
#include <thread>

using namespace moe::runtime;
using namespace moe::test;

namespace {

using Clock = std::chrono::steady_clock;

void work(std::chrono::microseconds time) {
  Clock::time_point end = Clock::now() + time;
  while (Clock::now() < end) {
  }
}

TEST(SteadyState, CallsAreCounted) {
  SystemCalls before = systemCalls();
  auto *number = new int(1);
  std::vector<char> large(1 << 20);
  SystemCalls after = systemCalls() - before;
  EXPECT_GE(after.allocations, 2) << large.size() << *number;
  delete number;
  before = systemCalls();
  ArenaAllocator allocator;
  allocator.release(allocator.allocate(100, 64));
  EXPECT_GT((systemCalls() - before).mappings, 0);
}

TEST(SteadyState, RunsAskForNoMemory) {
  ProgramPtr program = linkedProgram();
  for (int32_t threads : {1, 2})
    for (bool profile : {false, true}) {
      moe_session_options options;
      moe_session_options_init(&options);
      options.num_threads = threads;
      options.profile = profile;
      moe_session *created = nullptr;
      ASSERT_EQ(moe_session_create(program.get(), &options, &created), nullptr);
      SessionPtr session(created);
      MainInputs inputs(200);
      const char *names[] = {"x", "mask", "index"};
      // The caller keeps the outputs of one run during the next one.
      DLManagedTensor *outputs[2][3] = {};
      bool failed = false;
      auto run = [&](int number) {
        DLManagedTensor **mine = outputs[number % 2];
        for (int i = 0; i < 3 && mine[i]; ++i)
          mine[i]->deleter(mine[i]);
        moe_error *error =
            moe_session_run(created, 3, names, inputs.pointers, mine);
        failed = failed || error;
        moe_error_free(error);
      };
      for (int i = 0; i < 4; ++i)
        run(i);
      SystemCalls before = systemCalls();
      for (int i = 0; i < 50; ++i)
        run(i);
      SystemCalls calls = systemCalls() - before;
      EXPECT_FALSE(failed);
      EXPECT_EQ(calls.allocations, 0) << threads << " threads";
      EXPECT_EQ(calls.mappings, 0) << threads << " threads";
      for (auto &tensors : outputs)
        for (DLManagedTensor *tensor : tensors)
          tensor->deleter(tensor);
    }
}

TEST(SteadyState, ARunIsOneParallelRegion) {
  if (usableCpus() < 2)
    GTEST_SKIP() << "with one CPU threads have to sleep";
  std::unique_ptr<ThreadPool> pool;
  ASSERT_TRUE(ThreadPool::create(2, pool).ok());
  auto task = [](int64_t begin, int64_t end, void *) {
    for (; begin < end; ++begin)
      work(std::chrono::microseconds(20));
  };
  // A machine that does other things may take a CPU away for long: of several
  // runs the best one counts.
  long fewest = LONG_MAX;
  for (int attempt = 0; attempt < 5; ++attempt) {
    ThreadPool::ActiveScope scope(*pool);
    pool->parallelFor(2, task, nullptr);
    work(std::chrono::milliseconds(1));
    SystemCalls before = systemCalls();
    // Serial parts that are far longer than those between operations are.
    for (int i = 0; i < 20; ++i) {
      pool->parallelFor(2, task, nullptr);
      work(std::chrono::microseconds(i % 4 * 700));
    }
    fewest = std::min(fewest, (systemCalls() - before).futexes);
  }
  EXPECT_EQ(fewest, 0);
}

TEST(SteadyState, WorkersSleepBetweenRuns) {
  std::unique_ptr<ThreadPool> pool;
  ASSERT_TRUE(ThreadPool::create(2, pool).ok());
  auto nothing = [](int64_t, int64_t, void *) {};
  {
    ThreadPool::ActiveScope scope(*pool);
    pool->parallelFor(2, nothing, nullptr);
  }
  // The worker has gone to sleep: the process uses next to no CPU time.
  std::this_thread::sleep_for(std::chrono::milliseconds(20));
  timespec before, after;
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &before);
  std::this_thread::sleep_for(std::chrono::milliseconds(100));
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &after);
  EXPECT_LT(double(after.tv_sec - before.tv_sec) * 1e3 +
                double(after.tv_nsec - before.tv_nsec) * 1e-6,
            20);
  // The next run wakes it before its first loop.
  SystemCalls calls = systemCalls();
  ThreadPool::ActiveScope scope(*pool);
  EXPECT_EQ((systemCalls() - calls).futexes, usableCpus() >= 2 ? 1 : 0);
}

} // namespace
