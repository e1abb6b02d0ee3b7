//===- MemoryPlan.cpp - where the blocks of a run lie ---------------------===//

#include "runtime/Core/MemoryPlan.h"

#include <algorithm>

namespace moe::runtime {

/// So little is no matter.
static constexpr size_t kSmall = size_t(1) << 20;

MemoryPlan::MemoryPlan(std::vector<MemoryEvent> given)
    : events(std::move(given)) {
  /// Lives from event `begin` to event `end`.
  struct Life {
    size_t number, begin, end, size, alignment;
  };
  std::vector<Life> lives, planned;
  size_t live = 0;
  for (size_t time = 0; time < events.size(); ++time) {
    const MemoryEvent &event = events[time];
    if (event.size) {
      lives.push_back({lives.size(), time, 0, event.size, event.alignment});
      peak = std::max(peak, live += event.size);
    } else {
      lives[event.number].end = time;
      live -= lives[event.number].size;
    }
  }
  kept = live;
  offsets.assign(lives.size(), kNotPlanned);
  for (const Life &life : lives)
    if (life.end)
      planned.push_back(life);
  std::stable_sort(
      planned.begin(), planned.end(),
      [](const Life &a, const Life &b) { return a.size > b.size; });

  /// What has been placed, by address.
  struct Placed {
    size_t offset, end;
    const Life *life;
  };
  std::vector<Placed> placed;
  for (const Life &life : planned) {
    size_t offset = 0;
    for (const Placed &other : placed) {
      if (other.life->begin > life.end || life.begin > other.life->end)
        continue;
      if (offset + life.size <= other.offset)
        break;
      offset = std::max(offset, other.end);
      offset = (offset + life.alignment - 1) / life.alignment * life.alignment;
    }
    offsets[life.number] = offset;
    Placed mine = {offset, offset + life.size, &life};
    placed.insert(std::upper_bound(placed.begin(), placed.end(), mine,
                                   [](const Placed &a, const Placed &b) {
                                     return a.offset < b.offset;
                                   }),
                  mine);
    total = std::max(total, mine.end);
    strictest = std::max(strictest, life.alignment);
  }
}

bool MemoryPlan::isTight() const {
  return total > 0 && total + kept <= peak + peak / 8 + kSmall;
}

} // namespace moe::runtime
