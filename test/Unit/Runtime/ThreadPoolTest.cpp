//===- ThreadPoolTest.cpp -------------------------------------------------===//

#include "runtime/Host/ThreadPool.h"

#include <atomic>
#include <gtest/gtest.h>
#include <thread>

using namespace moe::runtime;

namespace {

std::unique_ptr<ThreadPool> makePool(int32_t threads) {
  std::unique_ptr<ThreadPool> pool;
  Status status = ThreadPool::create(threads, pool);
  EXPECT_TRUE(status.ok()) << status.message;
  return pool;
}

/// Counts how often each task ran.
struct Counter {
  std::vector<std::atomic<int>> counts;
  explicit Counter(int64_t size) : counts(size) {}

  static void body(int64_t begin, int64_t end, void *self) {
    for (int64_t i = begin; i < end; ++i)
      static_cast<Counter *>(self)->counts[i].fetch_add(1);
  }
  bool allRan(int times) const {
    for (const std::atomic<int> &count : counts)
      if (count != times)
        return false;
    return true;
  }
};

TEST(ThreadPool, RunsEveryTaskOnce) {
  for (int32_t threads : {1, 2, 3, 7}) {
    auto pool = makePool(threads);
    EXPECT_EQ(pool->numThreads(), threads);
    for (int64_t size : {0, 1, 2, 3, 5, 64, 1000, 100003}) {
      Counter counter(size);
      pool->parallelFor(size, Counter::body, &counter);
      EXPECT_TRUE(counter.allRan(1)) << threads << " threads, " << size;
    }
  }
}

TEST(ThreadPool, IgnoresANegativeCount) {
  auto pool = makePool(2);
  pool->parallelFor(
      -5, [](int64_t, int64_t, void *) { ADD_FAILURE(); }, nullptr);
}

TEST(ThreadPool, ManySmallLoops) {
  auto pool = makePool(3);
  ThreadPool::ActiveScope active(*pool);
  Counter counter(6);
  for (int i = 0; i < 20000; ++i)
    pool->parallelFor(6, Counter::body, &counter);
  EXPECT_TRUE(counter.allRan(20000));
}

TEST(ThreadPool, WakesWorkersThatSleep) {
  auto pool = makePool(4);
  for (int i = 0; i < 5; ++i) {
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
    Counter counter(1000);
    pool->parallelFor(1000, Counter::body, &counter);
    EXPECT_TRUE(counter.allRan(1));
  }
}

TEST(ThreadPool, UsesItsWorkers) {
  auto pool = makePool(3);
  // Three tasks that wait for each other end only if three threads run them.
  struct State {
    std::atomic<int> arrived{0};
  } state;
  pool->parallelFor(
      3,
      [](int64_t begin, int64_t end, void *self) {
        ASSERT_EQ(end - begin, 1);
        auto &arrived = static_cast<State *>(self)->arrived;
        arrived.fetch_add(1);
        while (arrived < 3)
          std::this_thread::yield();
      },
      &state);
  EXPECT_EQ(state.arrived, 3);
}

TEST(ThreadPool, NestedLoopsRunOnTheThreadThatAsks) {
  auto pool = makePool(3);
  struct State {
    ThreadPool *pool;
    std::atomic<int64_t> inner{0};
    std::atomic<int> foreign{0};
  } state{pool.get()};
  pool->parallelFor(
      50,
      [](int64_t begin, int64_t end, void *self) {
        auto *state = static_cast<State *>(self);
        struct Inner {
          State *state;
          std::thread::id id;
        } inner{state, std::this_thread::get_id()};
        for (int64_t i = begin; i < end; ++i)
          state->pool->parallelFor(
              20,
              [](int64_t begin, int64_t end, void *self) {
                auto *inner = static_cast<Inner *>(self);
                inner->state->inner += end - begin;
                if (std::this_thread::get_id() != inner->id)
                  ++inner->state->foreign;
              },
              &inner);
      },
      &state);
  EXPECT_EQ(state.inner, 1000);
  EXPECT_EQ(state.foreign, 0);
}

TEST(ThreadPool, ConcurrentCallers) {
  auto pool = makePool(3);
  std::vector<std::thread> callers;
  std::atomic<int> good{0};
  for (int caller = 0; caller < 8; ++caller)
    callers.emplace_back([&] {
      ThreadPool::ActiveScope active(*pool);
      Counter counter(97);
      for (int i = 0; i < 2000; ++i)
        pool->parallelFor(97, Counter::body, &counter);
      good += counter.allRan(2000);
    });
  for (std::thread &caller : callers)
    caller.join();
  EXPECT_EQ(good, 8);
}

TEST(ThreadPool, ManyPools) {
  for (int i = 0; i < 200; ++i) {
    auto pool = makePool(4);
    Counter counter(10);
    pool->parallelFor(10, Counter::body, &counter);
    EXPECT_TRUE(counter.allRan(1));
  }
}

TEST(ThreadPool, KnowsTheCpus) { EXPECT_GE(usableCpus(), 1); }

} // namespace
