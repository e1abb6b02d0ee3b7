//===- limits.cpp - What a core and its memory can do -----------*- C++ -*-===//
//
// Fixed amounts of work that `compare` times beside the contenders, so that a
// share of the limit and the limit itself come from the same seconds. Compiled
// by `compare` for the machine that it runs on.
//
//===----------------------------------------------------------------------===//

#include <immintrin.h>

#include <cstddef>
#include <cstdint>
#include <thread>
#include <vector>

namespace {

// Twelve independent chains: two pipes of up to six cycles' latency.
constexpr int chains = 12;

template <typename V, typename Step>
void chainsOf(std::int64_t steps, V start, Step step) {
  V sums[chains];
  for (V &sum : sums)
    sum = start;
  for (std::int64_t i = 0; i < steps; ++i) {
#pragma GCC unroll 12
    for (V &sum : sums)
      sum = step(sum);
  }
  for (V &sum : sums)
    asm volatile("" ::"v"(sum));
}

template <typename Body> void onThreads(int threads, Body body) {
  std::vector<std::thread> others;
  for (int i = 1; i < threads; ++i)
    others.emplace_back(body, i);
  body(0);
  for (std::thread &other : others)
    other.join();
}

void readRange(const char *data, std::size_t size) {
  __m256i any[8] = {};
  for (std::size_t i = 0; i + 256 <= size; i += 256) {
#pragma GCC unroll 8
    for (int c = 0; c < 8; ++c)
      any[c] = _mm256_or_si256(
          any[c], _mm256_load_si256(
                      reinterpret_cast<const __m256i *>(data + i + 32 * c)));
  }
  for (__m256i &part : any)
    asm volatile("" ::"x"(part));
}

} // namespace

extern "C" {

/// Each of these does `steps` x 12 instructions on each thread and returns the
/// operations of one instruction, a multiplication and an addition being two.
/// 0: the processor lacks the instruction.
int limit_f32_256(std::int64_t steps, int threads) {
  onThreads(threads, [=](int) {
    __m256 a = _mm256_set1_ps(0.9999f), b = _mm256_set1_ps(1e-9f);
    chainsOf(steps, _mm256_set1_ps(1),
             [=](__m256 sum) { return _mm256_fmadd_ps(sum, a, b); });
  });
  return 16;
}

int limit_f32_512(std::int64_t steps, int threads) {
#ifdef __AVX512F__
  onThreads(threads, [=](int) {
    __m512 a = _mm512_set1_ps(0.9999f), b = _mm512_set1_ps(1e-9f);
    chainsOf(steps, _mm512_set1_ps(1),
             [=](__m512 sum) { return _mm512_fmadd_ps(sum, a, b); });
  });
  return 32;
#else
  return 0;
#endif
}

int limit_bf16_512(std::int64_t steps, int threads) {
#ifdef __AVX512BF16__
  onThreads(threads, [=](int) {
    auto a = (__m512bh)_mm512_set1_epi16(0x3c00);
    chainsOf(steps, _mm512_set1_ps(1), [=](__m512 sum) {
      auto b = a;
      asm("" : "+v"(b)); // or the product is taken out of the loop
      return _mm512_dpbf16_ps(sum, a, b);
    });
  });
  return 64;
#else
  return 0;
#endif
}

int limit_int8_512(std::int64_t steps, int threads) {
#ifdef __AVX512VNNI__
  onThreads(threads, [=](int) {
    __m512i a = _mm512_set1_epi8(3);
    chainsOf(steps, _mm512_set1_epi32(1), [=](__m512i sum) {
      __m512i b = a;
      asm("" : "+v"(b));
      return _mm512_dpbusd_epi32(sum, a, b);
    });
  });
  return 128;
#else
  return 0;
#endif
}

/// Reads `size` bytes at `data`, aligned to 32, divided among the threads.
void limit_read(const char *data, std::size_t size, int threads) {
  std::size_t part = size / threads / 256 * 256;
  onThreads(threads, [=](int i) { readRange(data + i * part, part); });
}
}
