//===- Allocator.cpp - memory of runs -------------------------------------===//
//
// A model asks for the same sizes run after run. Sizes are rounded up to eight
// classes per doubling (at most an eighth is lost, and of large blocks only
// address space, since untouched pages do not exist), and a freed block waits
// for the next request of its class. Inputs whose extents change would make the
// cache grow without end: before new memory is taken from the system, a cache
// that is larger than the most that was ever in use at once is given back.
//
// Blocks of 2 MiB and more come from mmap, aligned to 2 MiB and marked for huge
// pages; smaller ones from the C library.
//
//===----------------------------------------------------------------------===//

#include "runtime/Core/Allocator.h"

#include <algorithm>
#include <cstdlib>
#include <new>
#include <sys/mman.h>

namespace moe::runtime {
namespace {

constexpr size_t kHugePage = size_t(2) << 20;
/// Larger requests cannot be met; keeps the arithmetic below from overflowing.
constexpr int64_t kMaxBytes = int64_t(1) << 62;
/// The cache may always hold this much.
constexpr size_t kMinCache = size_t(64) << 20;

size_t roundUp(size_t value, size_t multiple) {
  return (value + multiple - 1) / multiple * multiple;
}

/// `size` bytes of address space at a multiple of 2 MiB; null if there are
/// none.
void *mapHuge(size_t size) {
  size_t reserved = size + kHugePage;
  void *map = mmap(nullptr, reserved, PROT_READ | PROT_WRITE,
                   MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (map == MAP_FAILED)
    return nullptr;
  auto begin = reinterpret_cast<uintptr_t>(map);
  uintptr_t data = roundUp(begin, kHugePage);
  if (data > begin)
    munmap(map, data - begin);
  if (size_t tail = begin + reserved - (data + size))
    munmap(reinterpret_cast<void *>(data + size), tail);
  auto *result = reinterpret_cast<void *>(data);
  // Advice only: without huge pages everything works, just slower.
  (void)madvise(result, size, MADV_HUGEPAGE);
  return result;
}

void *systemAllocate(size_t size, size_t alignment) {
  if (size >= kHugePage)
    return mapHuge(size);
  return std::aligned_alloc(alignment, roundUp(size, alignment));
}

void systemRelease(void *data, size_t size) {
  if (size >= kHugePage)
    munmap(data, size);
  else
    std::free(data);
}

} // namespace

size_t CachingAllocator::classSize(size_t bytes) {
  size_t size = roundUp(std::max<size_t>(bytes, 1), kBlockAlignment);
  // Eight steps between 2^n and 2^(n+1).
  int log2 = 63 - __builtin_clzll(size);
  size_t step = log2 > 3 ? size_t(1) << (log2 - 3) : 1;
  size = roundUp(size, std::max(step, kBlockAlignment));
  return size >= kHugePage ? roundUp(size, 4096) : size;
}

Block CachingAllocator::allocate(int64_t bytes, int64_t alignment) {
  if (bytes < 0 || bytes > kMaxBytes || alignment < 0 ||
      alignment > int64_t(kHugePage) || (alignment & (alignment - 1)) != 0)
    return {};
  size_t align = std::max<size_t>(alignment, kBlockAlignment);
  // Strict alignments are rare: such a block is at least as large as its
  // alignment, so that blocks of a class are interchangeable more often.
  size_t size = classSize(std::max<size_t>(bytes, align > 4096 ? align : 0));

  std::lock_guard<std::mutex> lock(mutex);
  void *data = nullptr;
  if (auto found = cache.find(size); found != cache.end()) {
    std::vector<void *> &blocks = found->second;
    for (size_t i = blocks.size(); i-- > 0 && !data;) {
      if (reinterpret_cast<uintptr_t>(blocks[i]) % align != 0)
        continue;
      data = blocks[i];
      blocks[i] = blocks.back();
      blocks.pop_back();
      memory.cached -= size;
    }
  }
  if (!data) {
    if (memory.cached + size > std::max(memory.peak, kMinCache))
      trimLocked();
    data = systemAllocate(size, align);
    if (!data && memory.cached > 0) {
      trimLocked();
      data = systemAllocate(size, align);
    }
    if (!data)
      return {};
  }
  memory.inUse += size;
  memory.peak = std::max(memory.peak, memory.inUse);
  return {data, size};
}

void CachingAllocator::release(Block block) {
  if (!block)
    return;
  std::lock_guard<std::mutex> lock(mutex);
  memory.inUse -= block.size;
  try {
    cache[block.size].push_back(block.data);
    memory.cached += block.size;
  } catch (const std::bad_alloc &) {
    systemRelease(block.data, block.size);
  }
}

void CachingAllocator::trim() {
  std::lock_guard<std::mutex> lock(mutex);
  trimLocked();
}

void CachingAllocator::trimLocked() {
  for (auto &[size, blocks] : cache) {
    for (void *data : blocks)
      systemRelease(data, size);
    blocks.clear();
  }
  memory.cached = 0;
}

MemoryUsage CachingAllocator::usage() const {
  std::lock_guard<std::mutex> lock(mutex);
  return memory;
}

RunMemory::~RunMemory() {
  for (auto [data, size] : blocks)
    allocator.release({data, size});
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
