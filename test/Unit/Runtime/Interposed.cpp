//===- Interposed.cpp - calls of the system that a program makes ----------===//
//
// Functions of a program come before those of libraries of the same name, also
// for calls from libraries. What they stand in front of is reached by the C
// library's other names for it, or by the system call itself.
//
//===----------------------------------------------------------------------===//

#include "test/Unit/Runtime/Interposed.h"

#include <atomic>
#include <cerrno>
#include <cstdarg>
#include <cstddef>
#include <sys/mman.h>
#include <sys/syscall.h>

namespace {

std::atomic<long> allocations{0}, mappings{0}, futexes{0};

/// A system call; errors as negative numbers.
long call(long number, long a, long b, long c, long d, long e, long f) {
  long result;
  register long fourth asm("r10") = d;
  register long fifth asm("r8") = e;
  register long sixth asm("r9") = f;
  asm volatile("syscall"
               : "=a"(result)
               : "a"(number), "D"(a), "S"(b), "d"(c), "r"(fourth), "r"(fifth),
                 "r"(sixth)
               : "rcx", "r11", "memory");
  return result;
}

long callAndSetErrno(long number, long a, long b, long c, long d = 0,
                     long e = 0, long f = 0) {
  long result = call(number, a, b, c, d, e, f);
  if (result < 0 && result > -4096) {
    errno = int(-result);
    return -1;
  }
  return result;
}

} // namespace

moe::test::SystemCalls moe::test::systemCalls() {
  return {allocations, mappings, futexes};
}

extern "C" {

void *__libc_malloc(size_t);
void *__libc_calloc(size_t, size_t);
void *__libc_realloc(void *, size_t);
void *__libc_memalign(size_t, size_t);

void *malloc(size_t size) {
  ++allocations;
  return __libc_malloc(size);
}
void *calloc(size_t count, size_t size) {
  ++allocations;
  return __libc_calloc(count, size);
}
void *realloc(void *data, size_t size) {
  ++allocations;
  return __libc_realloc(data, size);
}
void *memalign(size_t alignment, size_t size) {
  ++allocations;
  return __libc_memalign(alignment, size);
}
void *aligned_alloc(size_t alignment, size_t size) {
  return memalign(alignment, size);
}
int posix_memalign(void **data, size_t alignment, size_t size) {
  *data = memalign(alignment, size);
  return *data ? 0 : ENOMEM;
}

void *mmap(void *address, size_t size, int protection, int flags, int file,
           off_t offset) noexcept {
  ++mappings;
  return reinterpret_cast<void *>(
      callAndSetErrno(SYS_mmap, reinterpret_cast<long>(address), long(size),
                      protection, flags, file, offset));
}
int munmap(void *address, size_t size) noexcept {
  ++mappings;
  return int(callAndSetErrno(SYS_munmap, reinterpret_cast<long>(address),
                             long(size), 0));
}
int mprotect(void *address, size_t size, int protection) noexcept {
  ++mappings;
  return int(callAndSetErrno(SYS_mprotect, reinterpret_cast<long>(address),
                             long(size), protection));
}
int madvise(void *address, size_t size, int advice) noexcept {
  ++mappings;
  return int(callAndSetErrno(SYS_madvise, reinterpret_cast<long>(address),
                             long(size), advice));
}

long syscall(long number, ...) noexcept {
  if (number == SYS_futex)
    ++futexes;
  va_list list;
  va_start(list, number);
  long arguments[6];
  for (long &argument : arguments)
    argument = va_arg(list, long);
  va_end(list);
  return callAndSetErrno(number, arguments[0], arguments[1], arguments[2],
                         arguments[3], arguments[4], arguments[5]);
}

} // extern "C"
