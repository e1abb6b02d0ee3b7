//===- Allocator.h - memory of runs ---------------------------------------===//
#ifndef MOE_RUNTIME_CORE_ALLOCATOR_H
#define MOE_RUNTIME_CORE_ALLOCATOR_H

#include "runtime/Core/MemoryPlan.h"

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory_resource>
#include <mutex>
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
  void makeRoom(size_t size);
  void purge();

  mutable std::mutex mutex;
  /// Keeps the nodes of the containers below: in steady state nothing is asked
  /// of the system, neither for blocks nor for them.
  std::pmr::unsynchronized_pool_resource nodes;
  std::vector<Region> regions;
  FreeMap free{&nodes};
  MemoryUsage memory;
};

/// The blocks of one run after another. Used by one thread at a time.
///
/// Once two runs have asked for and freed the same in the same order, the next
/// ones get a block for all that is freed in a run, with a place in it for
/// each, as long as they keep to that order.
class RunMemory {
public:
  explicit RunMemory(ArenaAllocator &allocator) : allocator(allocator) {}
  ~RunMemory() { end(); }
  RunMemory(const RunMemory &) = delete;
  RunMemory &operator=(const RunMemory &) = delete;

  /// A run begins.
  void begin();
  /// A run is over: takes back what the model did not free.
  void end();

  /// Null if there is no memory.
  void *allocate(int64_t bytes, int64_t alignment);
  /// False if `pointer` is not a block of this run; null is fine.
  bool free(void *pointer);

  /// The block at `pointer`, or an empty one.
  Block find(void *pointer) const;
  /// The block at `pointer`, or a copy of it, which the caller releases; an
  /// empty one if it is not of this run or there is no memory. Only after the
  /// model's last call.
  Block take(void *pointer);

private:
  struct Held {
    size_t size;
    /// Of the request.
    size_t number;
    bool planned;
  };

  void record(const MemoryEvent &event);

  ArenaAllocator &allocator;
  std::pmr::unsynchronized_pool_resource nodes;
  std::pmr::unordered_map<void *, Held> blocks{&nodes};
  size_t requests = 0;

  /// What happened in this run, unless it follows the plan, and in the last
  /// one.
  std::vector<MemoryEvent> events, lastEvents;
  /// Whether `events` is complete.
  bool recorded = true;

  MemoryPlan plan;
  /// Memory for all planned blocks, while a run goes on.
  Block planned;
  /// Whether this run has kept to the plan up to its event `position`.
  bool follows = false;
  size_t position = 0;
};

} // namespace moe::runtime

#endif // MOE_RUNTIME_CORE_ALLOCATOR_H
