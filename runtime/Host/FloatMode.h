//===- FloatMode.h - rounding and denormals of a thread -------------------===//
//
// The bits of a result must not depend on which thread computed it. So every
// thread that runs model code uses the same mode: round to nearest, denormals
// kept, exceptions masked. Callers may have another one (some frameworks flush
// denormals), new threads inherit their creator's.
//
//===----------------------------------------------------------------------===//
#ifndef MOE_RUNTIME_HOST_FLOATMODE_H
#define MOE_RUNTIME_HOST_FLOATMODE_H

#if defined(__x86_64__)
#include <xmmintrin.h>
#endif

namespace moe::runtime {

/// Sets the mode of model code and restores the thread's own at the end.
class FloatModeScope {
public:
#if defined(__x86_64__)
  FloatModeScope() : saved(_mm_getcsr()) { _mm_setcsr(kDefault); }
  ~FloatModeScope() { _mm_setcsr(saved); }
#else
  FloatModeScope() {}
  ~FloatModeScope() {}
#endif
  FloatModeScope(const FloatModeScope &) = delete;
  FloatModeScope &operator=(const FloatModeScope &) = delete;

private:
#if defined(__x86_64__)
  static constexpr unsigned kDefault = 0x1f80;
  unsigned saved;
#endif
};

} // namespace moe::runtime

#endif // MOE_RUNTIME_HOST_FLOATMODE_H
