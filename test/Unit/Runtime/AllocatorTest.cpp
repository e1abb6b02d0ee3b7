//===- AllocatorTest.cpp --------------------------------------------------===//

#include "runtime/Core/Allocator.h"

#include <atomic>
#include <cstring>
#include <gtest/gtest.h>
#include <random>
#include <sys/mman.h>
#include <thread>
#include <vector>

using namespace moe::runtime;

namespace {

bool isAligned(const void *data, size_t alignment) {
  return reinterpret_cast<uintptr_t>(data) % alignment == 0;
}

TEST(Allocator, AlignsAndReuses) {
  ArenaAllocator allocator;
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

TEST(Allocator, TheArenaBeginsAtAHugePage) {
  ArenaAllocator allocator;
  Block block = allocator.allocate(5 << 20, 64);
  ASSERT_TRUE(block);
  EXPECT_TRUE(isAligned(block.data, 2 << 20));
  static_cast<char *>(block.data)[(5 << 20) - 1] = 1;
  allocator.release(block);
}

TEST(Allocator, TakesTheFirstHoleThatFits) {
  ArenaAllocator allocator;
  // Holes of 8, 2 and 4 KiB between blocks that stay.
  Block holes[3], walls[3];
  for (int i = 0; i < 3; ++i) {
    holes[i] = allocator.allocate(i == 0 ? 8192 : 2048 * i, 64);
    walls[i] = allocator.allocate(64, 64);
  }
  for (Block hole : holes)
    allocator.release(hole);
  size_t arena = allocator.usage().arena;
  Block small = allocator.allocate(2000, 64);
  Block middle = allocator.allocate(3000, 64);
  EXPECT_EQ(small.data, holes[0].data);
  EXPECT_EQ(middle.data, static_cast<char *>(small.data) + small.size);
  // A stricter alignment may need another one.
  Block strict = allocator.allocate(64, 4096);
  EXPECT_TRUE(isAligned(strict.data, 4096));
  EXPECT_EQ(allocator.usage().arena, arena);
  for (Block block : {small, middle, strict, walls[0], walls[1], walls[2]})
    allocator.release(block);
  // All is one range again.
  Block whole = allocator.allocate(int64_t(arena), 64);
  EXPECT_EQ(whole.data, holes[0].data);
  EXPECT_EQ(allocator.usage().arena, arena);
  allocator.release(whole);
}

/// Blocks of random sizes that live for random times, the same ones for the
/// same seed. Returns the addresses.
std::vector<void *> playRun(ArenaAllocator &allocator, unsigned seed) {
  std::mt19937 random(seed);
  std::vector<void *> addresses;
  std::vector<Block> live;
  for (int i = 0; i < 2000; ++i) {
    if (live.size() > 30 || (!live.empty() && random() % 2)) {
      size_t at = random() % live.size();
      allocator.release(live[at]);
      live.erase(live.begin() + long(at));
      continue;
    }
    size_t bytes = size_t(1) << (6 + random() % 12);
    live.push_back(allocator.allocate(int64_t(bytes + random() % bytes), 64));
    addresses.push_back(live.back().data);
    std::memset(live.back().data, 1, live.back().size);
  }
  for (Block block : live)
    allocator.release(block);
  return addresses;
}

TEST(Allocator, TheSameRequestsGetTheSameAddresses) {
  ArenaAllocator allocator;
  for (unsigned seed = 0; seed < 20; ++seed) {
    playRun(allocator, seed);
    size_t arena = allocator.usage().arena;
    std::vector<void *> first = playRun(allocator, seed);
    EXPECT_EQ(playRun(allocator, seed), first);
    EXPECT_EQ(allocator.usage().arena, arena);
  }
  MemoryUsage usage = allocator.usage();
  EXPECT_EQ(usage.inUse, 0u);
  EXPECT_EQ(usage.cached, usage.arena);
}

/// Bytes of the pages at [data, data + size) that exist.
size_t residentBytes(void *data, size_t size) {
  std::vector<unsigned char> pages((size + 4095) / 4096);
  EXPECT_EQ(mincore(data, size, pages.data()), 0);
  size_t count = 0;
  for (unsigned char page : pages)
    count += page & 1;
  return count * 4096;
}

TEST(Allocator, HolesGivePagesBackBeforeTheArenaGrows) {
  ArenaAllocator allocator;
  // Holes of 6 MiB between small blocks, and then a request that fits nowhere.
  constexpr size_t kHole = size_t(6) << 20;
  std::vector<Block> holes, walls;
  for (int i = 0; i < 10; ++i) {
    holes.push_back(allocator.allocate(kHole, 64));
    walls.push_back(allocator.allocate(4096, 64));
    std::memset(holes.back().data, 1, kHole);
    std::memset(walls.back().data, i, 4096);
  }
  void *begin = holes[0].data;
  for (Block hole : holes)
    allocator.release(hole);
  EXPECT_EQ(allocator.usage().cached, 10 * kHole);
  Block large = allocator.allocate(60 << 20, 64);
  std::memset(large.data, 1, large.size);
  EXPECT_EQ(allocator.usage().cached, 0u);
  size_t arena = allocator.usage().arena;
  EXPECT_GT(arena, 120u << 20);
  EXPECT_LT(residentBytes(begin, arena), 65u << 20);
  for (int i = 0; i < 10; ++i)
    EXPECT_EQ(static_cast<char *>(walls[size_t(i)].data)[4095], i);
  // The ranges still serve.
  Block again = allocator.allocate(kHole, 64);
  EXPECT_LT(again.data, large.data);
  static_cast<char *>(again.data)[kHole - 1] = 1;
  for (Block block : {large, again})
    allocator.release(block);
  for (Block block : walls)
    allocator.release(block);
  allocator.trim();
  EXPECT_EQ(residentBytes(begin, arena), 0u);
}

TEST(Allocator, RefusesWhatMakesNoSense) {
  ArenaAllocator allocator;
  EXPECT_FALSE(allocator.allocate(-1, 64));
  EXPECT_FALSE(allocator.allocate(64, 3));
  EXPECT_FALSE(allocator.allocate(64, -64));
  EXPECT_FALSE(allocator.allocate(64, int64_t(1) << 40));
  EXPECT_FALSE(allocator.allocate(INT64_MAX, 64));
  EXPECT_FALSE(allocator.allocate(int64_t(1) << 60, 64));
  EXPECT_EQ(allocator.usage().inUse, 0u);
}

TEST(Allocator, OtherSizesGetTheSameMemory) {
  ArenaAllocator allocator;
  size_t largest = 0;
  for (int64_t bytes = 3 << 20; bytes < (int64_t(1) << 30);
       bytes += bytes / 8) {
    Block block = allocator.allocate(bytes, 64);
    ASSERT_TRUE(block);
    largest = block.size;
    allocator.release(block);
    EXPECT_EQ(allocator.usage().arena, largest);
  }
  EXPECT_EQ(allocator.usage().peak, largest);
}

TEST(Allocator, RunTakesBackWhatIsLeft) {
  ArenaAllocator allocator;
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
  ArenaAllocator allocator;
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
