//===- MemoryPlan.h - where the blocks of a run lie -----------------------===//
#ifndef MOE_RUNTIME_CORE_MEMORYPLAN_H
#define MOE_RUNTIME_CORE_MEMORYPLAN_H

#include <cstddef>
#include <cstdint>
#include <vector>

namespace moe::runtime {

/// A request for memory, or the end of one.
struct MemoryEvent {
  /// Bytes; 0: the memory of request number `number` is freed.
  size_t size = 0;
  size_t alignment = 0;
  size_t number = 0;

  bool operator==(const MemoryEvent &other) const {
    return size == other.size && alignment == other.alignment &&
           number == other.number;
  }
};

/// Places for all blocks that a run frees, computed from the events of a run
/// that is over.
class MemoryPlan {
public:
  static constexpr size_t kNotPlanned = SIZE_MAX;

  MemoryPlan() = default;
  /// Places the largest blocks first, each as low as those that live at the
  /// same time allow.
  explicit MemoryPlan(std::vector<MemoryEvent> events);

  const std::vector<MemoryEvent> &getEvents() const { return events; }
  /// Whether all planned blocks at once, and those without a place, take little
  /// more than what lives at once: outputs are asked for when much else is
  /// gone.
  bool isTight() const;
  /// Bytes for all planned blocks, and a multiple of what all their places
  /// need.
  size_t size() const { return total; }
  size_t alignment() const { return strictest; }
  /// Place of the block of request `number`; kNotPlanned if it is not freed.
  size_t offset(size_t number) const { return offsets[number]; }

private:
  std::vector<MemoryEvent> events;
  std::vector<size_t> offsets;
  size_t total = 0, kept = 0, peak = 0;
  size_t strictest = 1;
};

} // namespace moe::runtime

#endif // MOE_RUNTIME_CORE_MEMORYPLAN_H
