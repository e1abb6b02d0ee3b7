//===- Allocator.h - memory of runs ---------------------------------------===//
#ifndef MOE_RUNTIME_CORE_ALLOCATOR_H
#define MOE_RUNTIME_CORE_ALLOCATOR_H

#include <cstddef>
#include <cstdint>
#include <mutex>
#include <unordered_map>
#include <vector>

namespace moe::runtime {

/// Every block is aligned to this many bytes at least.
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
};

/// Keeps freed blocks for the next request of their size class. Thread-safe.
class CachingAllocator {
public:
  CachingAllocator() = default;
  ~CachingAllocator() { trim(); }
  CachingAllocator(const CachingAllocator &) = delete;
  CachingAllocator &operator=(const CachingAllocator &) = delete;

  /// Memory with room for `bytes` at a multiple of `alignment` (a power of two
  /// up to 2 MiB); an empty block if there is none or the request makes no
  /// sense. A request for 0 bytes gives a block.
  Block allocate(int64_t bytes, int64_t alignment);
  void release(Block block);

  /// Gives what is cached back to the system.
  void trim();
  MemoryUsage usage() const;

  /// What a request for `bytes` (at most 2^62) takes: the next of eight sizes
  /// per doubling, a multiple of 64.
  static size_t classSize(size_t bytes);

private:
  void trimLocked();

  mutable std::mutex mutex;
  std::unordered_map<size_t, std::vector<void *>> cache;
  MemoryUsage memory;
};

/// The blocks of one run. Used by one thread.
class RunMemory {
public:
  explicit RunMemory(CachingAllocator &allocator) : allocator(allocator) {}
  /// Takes back what the model did not free.
  ~RunMemory();
  RunMemory(const RunMemory &) = delete;
  RunMemory &operator=(const RunMemory &) = delete;

  /// Null if there is no memory.
  void *allocate(int64_t bytes, int64_t alignment);
  /// False if `pointer` is not a block of this run; null is fine.
  bool free(void *pointer);

  /// The block at `pointer`, or an empty one.
  Block find(void *pointer) const;
  /// Removes the block at `pointer` from the run: the caller releases it.
  Block take(void *pointer);

private:
  CachingAllocator &allocator;
  std::unordered_map<void *, size_t> blocks;
};

} // namespace moe::runtime

#endif // MOE_RUNTIME_CORE_ALLOCATOR_H
