//===- AllocatorTest.cpp --------------------------------------------------===//

#include "runtime/Core/Allocator.h"

#include <atomic>
#include <cstring>
#include <gtest/gtest.h>
#include <thread>

using namespace moe::runtime;

namespace {

bool isAligned(const void *data, size_t alignment) {
  return reinterpret_cast<uintptr_t>(data) % alignment == 0;
}

TEST(Allocator, SizeClassesAreMonotonicAndTight) {
  size_t last = 0;
  for (size_t bytes = 0; bytes < 100000; bytes += 7) {
    size_t size = CachingAllocator::classSize(bytes);
    EXPECT_GE(size, bytes);
    EXPECT_GE(size, last);
    EXPECT_EQ(size % 64, 0u);
    EXPECT_LE(size, std::max<size_t>(64, bytes + bytes / 8 + 64));
    EXPECT_EQ(CachingAllocator::classSize(size), size);
    last = size;
  }
}

TEST(Allocator, AlignsAndReuses) {
  CachingAllocator allocator;
  for (int64_t alignment : {0, 1, 8, 64, 256, 4096, 1 << 16, 2 << 20})
    for (int64_t bytes : {0, 1, 63, 64, 65, 5000, 3 << 20}) {
      Block block = allocator.allocate(bytes, alignment);
      ASSERT_TRUE(block);
      EXPECT_GE(block.size, size_t(bytes));
      EXPECT_TRUE(isAligned(block.data, std::max<int64_t>(alignment, 64)));
      std::memset(block.data, 1, size_t(bytes));
      allocator.release(block);
      Block again = allocator.allocate(bytes, alignment);
      EXPECT_EQ(again.data, block.data);
      allocator.release(again);
    }
  EXPECT_EQ(allocator.usage().inUse, 0u);
  EXPECT_GT(allocator.usage().cached, 0u);
  allocator.trim();
  EXPECT_EQ(allocator.usage().cached, 0u);
}

TEST(Allocator, LargeBlocksLieOnHugePages) {
  CachingAllocator allocator;
  Block block = allocator.allocate(5 << 20, 64);
  ASSERT_TRUE(block);
  EXPECT_TRUE(isAligned(block.data, 2 << 20));
  static_cast<char *>(block.data)[(5 << 20) - 1] = 1;
  allocator.release(block);
}

TEST(Allocator, RefusesWhatMakesNoSense) {
  CachingAllocator allocator;
  EXPECT_FALSE(allocator.allocate(-1, 64));
  EXPECT_FALSE(allocator.allocate(64, 3));
  EXPECT_FALSE(allocator.allocate(64, -64));
  EXPECT_FALSE(allocator.allocate(64, int64_t(1) << 40));
  EXPECT_FALSE(allocator.allocate(INT64_MAX, 64));
  EXPECT_FALSE(allocator.allocate(int64_t(1) << 60, 64));
  EXPECT_EQ(allocator.usage().inUse, 0u);
}

TEST(Allocator, CacheDoesNotGrowWithoutEnd) {
  CachingAllocator allocator;
  // Each size is of another class; in use is one block at a time.
  for (int64_t bytes = 3 << 20; bytes < (int64_t(1) << 30);
       bytes += bytes / 8) {
    Block block = allocator.allocate(bytes, 64);
    ASSERT_TRUE(block);
    allocator.release(block);
    MemoryUsage usage = allocator.usage();
    EXPECT_LE(usage.cached, 2 * std::max<size_t>(usage.peak, 64 << 20));
  }
}

TEST(Allocator, RunTakesBackWhatIsLeft) {
  CachingAllocator allocator;
  Block kept;
  {
    RunMemory run(allocator);
    void *freed = run.allocate(100, 64);
    void *left = run.allocate(200, 64);
    void *output = run.allocate(300, 64);
    EXPECT_TRUE(run.free(freed));
    EXPECT_FALSE(run.free(freed));
    EXPECT_TRUE(run.free(nullptr));
    int stranger;
    EXPECT_FALSE(run.free(&stranger));
    EXPECT_TRUE(run.find(left));
    kept = run.take(output);
    EXPECT_TRUE(kept);
    EXPECT_FALSE(run.take(output));
  }
  EXPECT_EQ(allocator.usage().inUse, kept.size);
  allocator.release(kept);
  EXPECT_EQ(allocator.usage().inUse, 0u);
}

TEST(Allocator, ThreadsShareIt) {
  CachingAllocator allocator;
  std::vector<std::thread> threads;
  std::atomic<bool> good{true};
  for (int t = 0; t < 4; ++t)
    threads.emplace_back([&, t] {
      RunMemory run(allocator);
      for (int i = 0; i < 2000; ++i) {
        size_t bytes = 64 + (i * 37 + t) % 5000;
        auto *data = static_cast<unsigned char *>(run.allocate(bytes, 64));
        std::memset(data, t, bytes);
        for (size_t at = 0; at < bytes; at += 61)
          if (data[at] != t)
            good = false;
        if (i % 5)
          run.free(data);
      }
    });
  for (std::thread &thread : threads)
    thread.join();
  EXPECT_TRUE(good);
  EXPECT_EQ(allocator.usage().inUse, 0u);
}

} // namespace
