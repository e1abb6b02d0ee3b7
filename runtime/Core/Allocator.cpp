//===- Allocator.cpp - memory of runs -------------------------------------===//
//
// A request takes the first free range that it fits into, a freed block joins
// its free neighbours, and only what fits nowhere extends the arena. A model
// asks for the same sizes in the same order run after run, so each run finds
// its blocks where the last one had them; and once that is seen to be so, the
// blocks of a run are placed together, which leaves no holes.
//
// The arena is address space that is reserved in one piece and becomes usable
// as it grows, marked for huge pages. Where holes make it much larger than what
// was ever in use at once, they give their pages back before others are
// touched.
//
//===----------------------------------------------------------------------===//

#include "runtime/Core/Allocator.h"

#include <algorithm>
#include <cstring>
#include <new>
#include <sys/mman.h>

namespace moe::runtime {
namespace {

constexpr size_t kPage = 4096;
constexpr size_t kHugePage = size_t(2) << 20;
/// Larger requests cannot be met; keeps the arithmetic below from overflowing.
constexpr int64_t kMaxBytes = int64_t(1) << 46;
/// Address space of a region. Costs nothing until it is touched.
constexpr size_t kReserved = size_t(16) << 30;
/// The arena may have pages for an eighth more than what was ever in use at
/// once, and for so much besides.
constexpr size_t kSlack = size_t(32) << 20;

size_t roundUp(size_t value, size_t multiple) {
  return (value + multiple - 1) / multiple * multiple;
}

void *pointerTo(uintptr_t address) { return reinterpret_cast<void *>(address); }

} // namespace

ArenaAllocator::~ArenaAllocator() {
  for (const Region &region : regions)
    munmap(pointerTo(region.begin), region.limit - region.begin);
}

Block ArenaAllocator::allocate(int64_t bytes, int64_t alignment) {
  if (bytes < 0 || bytes > kMaxBytes || alignment < 0 ||
      alignment > int64_t(kHugePage) || (alignment & (alignment - 1)) != 0)
    return {};
  size_t size = roundUp(std::max<size_t>(bytes, 1), kBlockAlignment);
  size_t align = std::max<size_t>(alignment, kBlockAlignment);

  std::lock_guard<std::mutex> lock(mutex);
  void *data = nullptr;
  try {
    data = takeFree(size, align);
    if (!data)
      data = extend(size, align);
  } catch (const std::bad_alloc &) {
    // For a node of the lists of free ranges; what it stood for is lost until
    // the end of the allocator.
  }
  if (!data)
    return {};
  memory.inUse += size;
  memory.peak = std::max(memory.peak, memory.inUse);
  return {data, size};
}

/// The part of the first free range that fits, or null.
void *ArenaAllocator::takeFree(size_t size, size_t alignment) {
  for (auto range = free.begin(); range != free.end(); ++range) {
    auto [begin, what] = *range;
    uintptr_t data = roundUp(begin, alignment);
    if (data + size > begin + what.size)
      continue;
    if (!what.resident)
      makeRoom(size);
    removeFree(range);
    if (data > begin)
      addFree(begin, data - begin, what.resident);
    if (size_t rest = begin + what.size - (data + size))
      addFree(data + size, rest, what.resident);
    return pointerTo(data);
  }
  return nullptr;
}

/// Memory from the end of the last region, or null.
void *ArenaAllocator::extend(size_t size, size_t alignment) {
  makeRoom(size);
  if (regions.empty() && !reserve(size + alignment))
    return nullptr;
  // What is free at the end is part of it.
  auto getBegin = [&](const Region &region) {
    if (auto last = free.lower_bound(region.end);
        last != free.begin() && (--last)->first >= region.begin &&
        last->first + last->second.size == region.end)
      return last->first;
    return region.end;
  };
  uintptr_t begin = getBegin(regions.back());
  uintptr_t data = roundUp(begin, alignment);
  if (data + size > regions.back().limit) {
    if (!reserve(size + alignment))
      return nullptr;
    begin = regions.back().end;
    data = roundUp(begin, alignment);
  }
  Region &region = regions.back();
  if (data + size > region.usable) {
    size_t more = roundUp(data + size - region.usable, kHugePage);
    more = std::min<size_t>(more, region.limit - region.usable);
    if (mprotect(pointerTo(region.usable), more, PROT_READ | PROT_WRITE) != 0)
      return nullptr;
    region.usable += more;
  }
  bool resident = false;
  if (begin < region.end) {
    auto last = free.find(begin);
    resident = last->second.resident;
    removeFree(last);
  }
  region.end = data + size;
  memory.arena = 0;
  for (const Region &each : regions)
    memory.arena += each.end - each.begin;
  if (data > begin)
    addFree(begin, data - begin, resident);
  return pointerTo(data);
}

/// A new region with room for `size` bytes.
bool ArenaAllocator::reserve(size_t size) {
  size = roundUp(size, kHugePage);
  regions.reserve(regions.size() + 1);
  // A limit of the process on address space may allow less than we like.
  for (size_t wanted = std::max(kReserved, size); wanted >= size; wanted /= 2) {
    void *map = mmap(nullptr, wanted + kHugePage, PROT_NONE,
                     MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (map == MAP_FAILED)
      continue;
    auto first = reinterpret_cast<uintptr_t>(map);
    uintptr_t begin = roundUp(first, kHugePage);
    uintptr_t limit = begin + wanted, last = first + wanted + kHugePage;
    if (begin > first)
      munmap(map, begin - first);
    if (last > limit)
      munmap(pointerTo(limit), last - limit);
    // Advice only: without huge pages everything works, just slower.
    (void)madvise(pointerTo(begin), wanted, MADV_HUGEPAGE);
    regions.push_back({begin, begin, begin, limit});
    return true;
  }
  return false;
}

ArenaAllocator::Region &ArenaAllocator::regionOf(uintptr_t address) {
  return *std::find_if(
      regions.begin(), regions.end(), [&](const Region &region) {
        return address >= region.begin && address < region.limit;
      });
}

/// Adds a free range, joined with its neighbours.
void ArenaAllocator::addFree(uintptr_t begin, size_t size, bool resident) {
  uintptr_t end = begin + size;
  const Region &region = regionOf(begin);
  if (auto next = free.find(end); next != free.end() && end < region.end) {
    end += next->second.size;
    resident |= next->second.resident;
    removeFree(next);
  }
  if (auto previous = free.lower_bound(begin); previous != free.begin()) {
    --previous;
    if (previous->first >= region.begin &&
        previous->first + previous->second.size == begin) {
      begin = previous->first;
      resident |= previous->second.resident;
      removeFree(previous);
    }
  }
  free.insert({begin, {end - begin, resident}});
  if (resident)
    memory.cached += end - begin;
}

void ArenaAllocator::removeFree(FreeMap::iterator range) {
  if (range->second.resident)
    memory.cached -= range->second.size;
  free.erase(range);
}

void ArenaAllocator::release(Block block) {
  if (!block)
    return;
  std::lock_guard<std::mutex> lock(mutex);
  memory.inUse -= block.size;
  try {
    addFree(reinterpret_cast<uintptr_t>(block.data), block.size, true);
  } catch (const std::bad_alloc &) {
    // The range is lost until the end of the allocator.
  }
}

void ArenaAllocator::trim() {
  std::lock_guard<std::mutex> lock(mutex);
  purge();
}

/// Before `size` bytes without pages come into use.
void ArenaAllocator::makeRoom(size_t size) {
  size_t most = std::max(memory.peak, memory.inUse + size);
  if (memory.inUse + memory.cached + size > most + most / 8 + kSlack)
    purge();
}

/// Gives the pages of free ranges back; the ranges stay.
void ArenaAllocator::purge() {
  for (auto &[begin, range] : free) {
    if (!range.resident)
      continue;
    uintptr_t first = roundUp(begin, kPage);
    uintptr_t last = (begin + range.size) / kPage * kPage;
    if (last > first)
      (void)madvise(pointerTo(first), last - first, MADV_DONTNEED);
    range.resident = false;
  }
  memory.cached = 0;
}

MemoryUsage ArenaAllocator::usage() const {
  std::lock_guard<std::mutex> lock(mutex);
  return memory;
}

void RunMemory::begin() {
  events.clear();
  recorded = true;
  requests = 0;
  position = 0;
  if (plan.isTight())
    planned =
        allocator.allocate(int64_t(plan.size()), int64_t(plan.alignment()));
  follows = bool(planned);
}

/// Follows the plan, or leaves it for good in this run: what was placed before
/// is still where the plan has nothing else.
void RunMemory::record(const MemoryEvent &event) {
  const std::vector<MemoryEvent> &expected = plan.getEvents();
  if (follows && position < expected.size() && expected[position] == event) {
    ++position;
    return;
  }
  try {
    if (follows)
      events.assign(expected.begin(), expected.begin() + long(position));
    events.push_back(event);
  } catch (const std::bad_alloc &) {
    recorded = false;
  }
  follows = false;
}

void *RunMemory::allocate(int64_t bytes, int64_t alignment) {
  size_t number = requests++;
  Block block;
  bool isPlanned = false;
  // What makes no sense is no part of a plan.
  if (bytes >= 0 && alignment >= 0) {
    size_t size = roundUp(std::max<size_t>(size_t(bytes), 1), kBlockAlignment);
    record(
        {size, std::max<size_t>(size_t(alignment), kBlockAlignment), number});
    isPlanned = follows && plan.offset(number) != MemoryPlan::kNotPlanned;
    if (isPlanned)
      block = {static_cast<char *>(planned.data) + plan.offset(number), size};
  }
  if (!isPlanned)
    block = allocator.allocate(bytes, alignment);
  if (!block) {
    recorded = false;
    return nullptr;
  }
  try {
    blocks.emplace(block.data, Held{block.size, number, isPlanned});
  } catch (const std::bad_alloc &) {
    if (!isPlanned)
      allocator.release(block);
    return nullptr;
  }
  return block.data;
}

bool RunMemory::free(void *pointer) {
  if (!pointer)
    return true;
  auto found = blocks.find(pointer);
  if (found == blocks.end())
    return false;
  Held held = found->second;
  record({0, 0, held.number});
  blocks.erase(found);
  if (!held.planned)
    allocator.release({pointer, held.size});
  return true;
}

void RunMemory::end() {
  for (auto [data, held] : blocks)
    if (!held.planned)
      allocator.release({data, held.size});
  blocks.clear();
  allocator.release(planned);
  planned = {};
  if (follows || events.empty())
    return;
  try {
    if (recorded && events == lastEvents && !(events == plan.getEvents()))
      plan = MemoryPlan(events);
  } catch (const std::bad_alloc &) {
    plan = {}; // runs go on without
  }
  if (!recorded)
    events.clear();
  std::swap(events, lastEvents);
  events.clear();
}

Block RunMemory::find(void *pointer) const {
  auto found = blocks.find(pointer);
  return found == blocks.end() ? Block{} : Block{pointer, found->second.size};
}

Block RunMemory::take(void *pointer) {
  auto found = blocks.find(pointer);
  if (found == blocks.end())
    return {};
  Block block = {pointer, found->second.size};
  if (!found->second.planned) {
    blocks.erase(found);
    return block;
  }
  // A run that left the plan keeps what others free.
  Block copy = allocator.allocate(int64_t(block.size), kBlockAlignment);
  if (copy)
    std::memcpy(copy.data, block.data, block.size);
  return copy;
}

} // namespace moe::runtime
