//===- Interposed.h - calls of the system that a program makes ------------===//
//
// A program that Interposed.cpp is linked into counts its calls of functions
// that ask the C library or the system for memory, or put a thread to sleep or
// wake one.
//
//===----------------------------------------------------------------------===//
#ifndef MOE_TEST_UNIT_RUNTIME_INTERPOSED_H
#define MOE_TEST_UNIT_RUNTIME_INTERPOSED_H

namespace moe::test {

struct SystemCalls {
  /// malloc, calloc, realloc and their kind; operator new calls them.
  long allocations = 0;
  /// mmap, munmap, mprotect, madvise.
  long mappings = 0;
  long futexes = 0;
};

/// Calls of all threads since the program began.
SystemCalls systemCalls();

inline SystemCalls operator-(const SystemCalls &a, const SystemCalls &b) {
  return {a.allocations - b.allocations, a.mappings - b.mappings,
          a.futexes - b.futexes};
}

} // namespace moe::test

#endif // MOE_TEST_UNIT_RUNTIME_INTERPOSED_H
