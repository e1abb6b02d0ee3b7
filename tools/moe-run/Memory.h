//===- Memory.h - how much memory this process has ------------------------===//
#ifndef MOE_TOOLS_RUN_MEMORY_H
#define MOE_TOOLS_RUN_MEMORY_H

#include <atomic>
#include <cstdint>
#include <thread>

namespace moe::run {

/// Bytes of anonymous memory that this process has pages for (RssAnon): not
/// counted are pages of files, such as weights. 0 where the system does not
/// tell.
uint64_t anonymousBytes();

/// Watches `anonymousBytes` from a thread of its own while it lives.
class MemoryWatch {
public:
  /// Raises `peak` to the most that is seen.
  explicit MemoryWatch(uint64_t &peak);
  ~MemoryWatch();
  MemoryWatch(const MemoryWatch &) = delete;
  MemoryWatch &operator=(const MemoryWatch &) = delete;

private:
  void look();

  uint64_t &peak;
  std::atomic<bool> over{false};
  std::thread thread;
};

} // namespace moe::run

#endif // MOE_TOOLS_RUN_MEMORY_H
