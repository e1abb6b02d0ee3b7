//===- Allocator.h - memory of runs ---------------------------------------===//
#ifndef MOE_RUNTIME_CORE_ALLOCATOR_H
#define MOE_RUNTIME_CORE_ALLOCATOR_H

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory_resource>
#include <mutex>
#include <set>
#include <unordered_map>
#include <vector>

namespace moe::runtime {

/// Every block is aligned to this many bytes at least, and a multiple of it.
constexpr size_t kBlockAlignment = 64;

/// Memory from the allocator. `size` is the block's own, at least what was
/// asked for.
struct Block {
  void *data = nullptr;
  size_t size = 0;

  explicit operator bool() const { return data; }
};

/// Bytes; see moe_memory_usage.
struct MemoryUsage {
  size_t inUse = 0;
  size_t cached = 0;
  size_t peak = 0;
  size_t arena = 0;
};

/// Blocks from an arena that grows when nothing that is free fits. Thread-safe.
class ArenaAllocator {
public:
  ArenaAllocator() = default;
  ~ArenaAllocator();
  ArenaAllocator(const ArenaAllocator &) = delete;
  ArenaAllocator &operator=(const ArenaAllocator &) = delete;

  /// Memory with room for `bytes` at a multiple of `alignment` (a power of two
  /// up to 2 MiB); an empty block if there is none or the request makes no
  /// sense. A request for 0 bytes gives a block.
  Block allocate(int64_t bytes, int64_t alignment);
  void release(Block block);

  /// Gives what is free back to the system.
  void trim();
  MemoryUsage usage() const;

private:
  /// A range of addresses. What is below `end` has been used, what is below
  /// `usable` may be touched.
  struct Region {
    uintptr_t begin, end, usable, limit;
  };
  struct FreeRange {
    size_t size;
    /// Whether there may be pages behind it.
    bool resident;
  };
  using FreeMap = std::pmr::map<uintptr_t, FreeRange>;

  void *takeFree(size_t size, size_t alignment);
  void *extend(size_t size, size_t alignment);
  bool reserve(size_t size);
  void addFree(uintptr_t begin, size_t size, bool resident);
  void removeFree(FreeMap::iterator range);
  Region &regionOf(uintptr_t address);
  void purge();

  mutable std::mutex mutex;
  /// Keeps the nodes of the containers below: in steady state nothing is asked
  /// of the system, neither for blocks nor for them.
  std::pmr::unsynchronized_pool_resource nodes;
  std::vector<Region> regions;
  FreeMap free{&nodes};
  /// Sizes and addresses of `free`.
  std::pmr::set<std::pair<size_t, uintptr_t>> bySize{&nodes};
  MemoryUsage memory;
};

/// The blocks of one run. Used by one thread at a time.
class RunMemory {
public:
  explicit RunMemory(ArenaAllocator &allocator) : allocator(allocator) {}
  ~RunMemory() { releaseAll(); }
  RunMemory(const RunMemory &) = delete;
  RunMemory &operator=(const RunMemory &) = delete;

  /// Null if there is no memory.
  void *allocate(int64_t bytes, int64_t alignment);
  /// False if `pointer` is not a block of this run; null is fine.
  bool free(void *pointer);
  /// Takes back what the model did not free. Another run may begin.
  void releaseAll();

  /// The block at `pointer`, or an empty one.
  Block find(void *pointer) const;
  /// Removes the block at `pointer` from the run: the caller releases it.
  Block take(void *pointer);

private:
  ArenaAllocator &allocator;
  std::pmr::unsynchronized_pool_resource nodes;
  std::pmr::unordered_map<void *, size_t> blocks{&nodes};
};

} // namespace moe::runtime

#endif // MOE_RUNTIME_CORE_ALLOCATOR_H
