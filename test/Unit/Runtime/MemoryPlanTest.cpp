//===- MemoryPlanTest.cpp -------------------------------------------------===//

#include "runtime/Core/Allocator.h"

#include <algorithm>
#include <cstring>
#include <gtest/gtest.h>
#include <random>
#include <vector>

using namespace moe::runtime;

namespace {

/// The events of a run of random sizes and life times.
std::vector<MemoryEvent> makeEvents(unsigned seed, size_t count) {
  std::mt19937 random(seed);
  std::vector<MemoryEvent> events;
  std::vector<size_t> live;
  size_t requests = 0;
  while (events.size() < count) {
    if (live.size() > 20 || (!live.empty() && random() % 2)) {
      size_t at = random() % live.size();
      events.push_back({0, 0, live[at]});
      live.erase(live.begin() + long(at));
      continue;
    }
    size_t size = 64 * (1 + random() % (1 << (1 + random() % 9)));
    events.push_back({size, size_t(64) << (random() % 4), requests});
    live.push_back(requests++);
  }
  return events;
}

TEST(MemoryPlan, BlocksThatLiveTogetherLieApart) {
  for (unsigned seed = 0; seed < 200; ++seed) {
    MemoryPlan plan(makeEvents(seed, 10 + seed * 2));
    std::vector<std::pair<size_t, size_t>> live; // place and end
    size_t inUse = 0, peak = 0;
    std::vector<size_t> sizes;
    for (const MemoryEvent &event : plan.getEvents()) {
      if (event.size)
        sizes.push_back(event.size);
      size_t offset = plan.offset(event.number);
      if (offset == MemoryPlan::kNotPlanned)
        continue;
      std::pair<size_t, size_t> place = {offset, offset + sizes[event.number]};
      if (!event.size) {
        live.erase(std::find(live.begin(), live.end(), place));
        inUse -= sizes[event.number];
        continue;
      }
      EXPECT_EQ(offset % event.alignment, 0u);
      EXPECT_LE(place.second, plan.size());
      for (auto [begin, end] : live)
        EXPECT_TRUE(end <= place.first || place.second <= begin);
      live.push_back(place);
      inUse += event.size;
      peak = std::max(peak, inUse);
    }
    EXPECT_TRUE(live.empty());
    EXPECT_GE(plan.size(), peak);
    EXPECT_LE(plan.size(), peak + peak / 2 + 4096);
  }
}

TEST(MemoryPlan, WhatIsNotFreedHasNoPlace) {
  MemoryPlan plan({{640, 64, 0}, {128, 64, 1}, {0, 0, 0}});
  EXPECT_EQ(plan.offset(0), 0u);
  EXPECT_EQ(plan.offset(1), MemoryPlan::kNotPlanned);
  EXPECT_EQ(plan.size(), 640u);
  EXPECT_FALSE(MemoryPlan(std::vector<MemoryEvent>(1, {128, 64, 0})).isTight());
  EXPECT_FALSE(MemoryPlan().isTight());
}

TEST(MemoryPlan, OutputsThatComeLateAreNotHeldBesideAllElse) {
  constexpr size_t kLarge = size_t(64) << 20;
  // A temporary value, then an output of the same size.
  MemoryPlan loose({{kLarge, 64, 0}, {0, 0, 0}, {kLarge, 64, 1}});
  EXPECT_EQ(loose.size(), kLarge);
  EXPECT_FALSE(loose.isTight());
  MemoryPlan tight({{kLarge, 64, 0}, {kLarge, 64, 1}, {0, 0, 0}});
  EXPECT_TRUE(tight.isTight());
}

/// Plays events, filling blocks and looking at them when they are freed.
/// Returns whether all still held what was put there; `left` gets what was not
/// freed, with its contents.
bool play(RunMemory &memory, const std::vector<MemoryEvent> &events,
          std::vector<std::pair<void *, unsigned char>> *left = nullptr) {
  struct Held {
    unsigned char *data;
    size_t size;
    unsigned char mark;
  };
  std::vector<Held> blocks;
  bool good = true;
  auto holds = [](const Held &block) {
    for (size_t i = 0; i < block.size; ++i)
      if (block.data[i] != block.mark)
        return false;
    return true;
  };
  for (const MemoryEvent &event : events) {
    if (!event.size) {
      Held &block = blocks[event.number];
      good = good && holds(block) && memory.free(block.data);
      block.data = nullptr;
      continue;
    }
    void *data = memory.allocate(int64_t(event.size), int64_t(event.alignment));
    good = good && data && uintptr_t(data) % event.alignment == 0;
    blocks.push_back({static_cast<unsigned char *>(data), event.size,
                      static_cast<unsigned char>(event.number % 255 + 1)});
    std::memset(data, blocks.back().mark, event.size);
  }
  for (const Held &block : blocks)
    if (block.data) {
      good = good && holds(block);
      if (left)
        left->push_back({block.data, block.mark});
    }
  return good;
}

TEST(MemoryPlan, RunsThatRepeatGetOneBlock) {
  for (unsigned seed = 0; seed < 30; ++seed) {
    ArenaAllocator allocator;
    RunMemory memory(allocator);
    std::vector<MemoryEvent> events = makeEvents(seed, 300);
    MemoryPlan plan(events);
    for (int i = 0; i < 5; ++i) {
      memory.begin();
      EXPECT_EQ(allocator.usage().inUse, i < 2 ? 0 : plan.size()) << i;
      EXPECT_TRUE(play(memory, events));
      memory.end();
      EXPECT_EQ(allocator.usage().inUse, 0u);
    }
  }
}

TEST(MemoryPlan, RunsMayLeaveThePlanAnywhere) {
  for (unsigned seed = 0; seed < 300; ++seed) {
    ArenaAllocator allocator;
    RunMemory memory(allocator);
    std::vector<MemoryEvent> events = makeEvents(seed, 100);
    for (int i = 0; i < 3; ++i) {
      memory.begin();
      EXPECT_TRUE(play(memory, events));
      memory.end();
    }
    // The same up to some point, then something else; nothing else is freed.
    std::vector<MemoryEvent> other(events.begin(), events.begin() + seed % 100);
    size_t requests = 0;
    for (const MemoryEvent &event : other)
      requests += event.size > 0;
    for (size_t i = 0; i < 40; ++i)
      other.push_back({64 * (1 + (seed + i) % 50), 64, requests + i});
    std::vector<std::pair<void *, unsigned char>> left;
    memory.begin();
    EXPECT_TRUE(play(memory, other, &left));
    // Outputs: what the plan wanted to free may be among them.
    std::vector<std::pair<Block, unsigned char>> taken;
    for (auto [data, mark] : left)
      taken.push_back({memory.take(data), mark});
    memory.end();
    memory.begin();
    EXPECT_TRUE(play(memory, events));
    memory.end();
    for (auto [block, mark] : taken) {
      ASSERT_TRUE(block);
      EXPECT_EQ(static_cast<unsigned char *>(block.data)[0], mark);
      allocator.release(block);
    }
    EXPECT_EQ(allocator.usage().inUse, 0u);
  }
}

TEST(MemoryPlan, ARunThatEndsEarlyDoesNoHarm) {
  ArenaAllocator allocator;
  RunMemory memory(allocator);
  std::vector<MemoryEvent> events = makeEvents(1, 100);
  for (size_t length : {100, 100, 50, 0, 100, 99, 100}) {
    memory.begin();
    EXPECT_TRUE(play(memory, {events.begin(), events.begin() + long(length)}));
    memory.end();
    EXPECT_EQ(allocator.usage().inUse, 0u);
  }
}

} // namespace
