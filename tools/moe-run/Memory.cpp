//===- Memory.cpp - how much memory this process has ----------------------===//

#include "tools/moe-run/Memory.h"

#include <algorithm>
#include <chrono>
#include <fstream>
#include <string>

namespace moe::run {

uint64_t anonymousBytes() {
  std::ifstream status("/proc/self/status");
  std::string word;
  while (status >> word)
    if (uint64_t kilobytes; word == "RssAnon:" && status >> kilobytes)
      return kilobytes << 10;
  return 0;
}

MemoryWatch::MemoryWatch(uint64_t &peak)
    : peak(peak), thread([this] {
        while (!over) {
          look();
          std::this_thread::sleep_for(std::chrono::milliseconds(1));
        }
      }) {}

MemoryWatch::~MemoryWatch() {
  over = true;
  thread.join();
  look();
}

void MemoryWatch::look() { peak = std::max(peak, anonymousBytes()); }

} // namespace moe::run
