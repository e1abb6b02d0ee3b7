//===- Allocator.cpp - memory of runs -------------------------------------===//
//
// A model asks for the same sizes in the same order run after run. A request
// takes the smallest free range that it fits into, a freed block joins its free
// neighbours, so after a run all is one range again and the next run finds
// every block where the last one had it. Only what fits nowhere extends the
// arena.
//
// The arena is address space that is reserved in one piece and becomes usable
// as it grows, marked for huge pages. Where holes make the arena much larger
// than what is in use, they give their pages back before it grows further.
//
//===----------------------------------------------------------------------===//

#include "runtime/Core/Allocator.h"

#include <algorithm>
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
/// The arena may always hold this much that is free.
constexpr size_t kMostFree = size_t(8) << 20;

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

/// The part of the smallest free range that fits, or null.
void *ArenaAllocator::takeFree(size_t size, size_t alignment) {
  for (auto fit = bySize.lower_bound({size, 0}); fit != bySize.end(); ++fit) {
    auto [available, begin] = *fit;
    uintptr_t data = roundUp(begin, alignment);
    if (data + size > begin + available)
      continue;
    auto range = free.find(begin);
    bool resident = range->second.resident;
    removeFree(range);
    if (data > begin)
      addFree(begin, data - begin, resident);
    if (size_t rest = begin + available - (data + size))
      addFree(data + size, rest, resident);
    return pointerTo(data);
  }
  return nullptr;
}

/// Memory from the end of the last region, or null.
void *ArenaAllocator::extend(size_t size, size_t alignment) {
  // Nothing that is free serves: it need not hold pages while more are asked
  // for.
  if (memory.cached > std::max(memory.inUse / 8, kMostFree))
    purge();
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
  auto added = free.insert({begin, {end - begin, resident}}).first;
  try {
    bySize.insert({end - begin, begin});
  } catch (const std::bad_alloc &) {
    free.erase(added);
    throw;
  }
  if (resident)
    memory.cached += end - begin;
}

void ArenaAllocator::removeFree(FreeMap::iterator range) {
  auto [begin, what] = *range;
  if (what.resident)
    memory.cached -= what.size;
  bySize.erase({what.size, begin});
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

void *RunMemory::allocate(int64_t bytes, int64_t alignment) {
  Block block = allocator.allocate(bytes, alignment);
  if (!block)
    return nullptr;
  try {
    blocks.emplace(block.data, block.size);
  } catch (const std::bad_alloc &) {
    allocator.release(block);
    return nullptr;
  }
  return block.data;
}

bool RunMemory::free(void *pointer) {
  if (!pointer)
    return true;
  Block block = take(pointer);
  allocator.release(block);
  return bool(block);
}

void RunMemory::releaseAll() {
  for (auto [data, size] : blocks)
    allocator.release({data, size});
  blocks.clear();
}

Block RunMemory::find(void *pointer) const {
  auto found = blocks.find(pointer);
  return found == blocks.end() ? Block{} : Block{pointer, found->second};
}

Block RunMemory::take(void *pointer) {
  Block block = find(pointer);
  if (block)
    blocks.erase(pointer);
  return block;
}

} // namespace moe::runtime
