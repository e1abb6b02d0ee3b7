//===- CpuFeatures.cpp - what the machine can run -------------------------===//
//
// LLVM names a feature by a string; the CPU tells of it by one bit of a CPUID
// leaf; and a feature with registers of its own is usable only if the operating
// system saves these (XCR0). The table below maps the one to the others. It
// covers what LLVM detects on the host, so that every list which the compiler
// writes for this machine can be checked. Names that it does not have are
// refused: running code that needs something unknown would end in SIGILL.
//
//===----------------------------------------------------------------------===//

#include "runtime/Core/CpuFeatures.h"

#include <cstdint>
#include <cstring>

#if defined(__x86_64__)
#include <cpuid.h>
#endif

namespace moe::runtime {

#if defined(__x86_64__)
namespace {

enum Register : uint8_t { EAX, EBX, ECX, EDX };

/// Register state that the operating system must save, as bits of XCR0.
enum State : uint32_t {
  None = 0,
  Ymm = 0x6,
  Zmm = 0xe6,
  Tile = 0x60000,
  Apx = 0x80000
};

struct Feature {
  const char *name;
  uint32_t leaf;
  uint32_t subleaf;
  Register reg;
  uint8_t bit;
  State state = None;
};

constexpr uint32_t kExt1 = 0x80000001;
constexpr uint32_t kExt8 = 0x80000008;

constexpr Feature kFeatures[] = {
    {"cx8", 1, 0, EDX, 8},
    {"cmov", 1, 0, EDX, 15},
    {"mmx", 1, 0, EDX, 23},
    {"fxsr", 1, 0, EDX, 24},
    {"sse", 1, 0, EDX, 25},
    {"sse2", 1, 0, EDX, 26},
    {"sse3", 1, 0, ECX, 0},
    {"pclmul", 1, 0, ECX, 1},
    {"ssse3", 1, 0, ECX, 9},
    {"fma", 1, 0, ECX, 12, Ymm},
    {"cx16", 1, 0, ECX, 13},
    {"sse4.1", 1, 0, ECX, 19},
    {"sse4.2", 1, 0, ECX, 20},
    {"crc32", 1, 0, ECX, 20},
    {"movbe", 1, 0, ECX, 22},
    {"popcnt", 1, 0, ECX, 23},
    {"aes", 1, 0, ECX, 25},
    {"xsave", 1, 0, ECX, 27},
    {"avx", 1, 0, ECX, 28, Ymm},
    {"f16c", 1, 0, ECX, 29, Ymm},
    {"rdrnd", 1, 0, ECX, 30},
    {"sahf", kExt1, 0, ECX, 0},
    {"lzcnt", kExt1, 0, ECX, 5},
    {"sse4a", kExt1, 0, ECX, 6},
    {"prfchw", kExt1, 0, ECX, 8},
    {"xop", kExt1, 0, ECX, 11, Ymm},
    {"lwp", kExt1, 0, ECX, 15},
    {"fma4", kExt1, 0, ECX, 16, Ymm},
    {"tbm", kExt1, 0, ECX, 21},
    {"mwaitx", kExt1, 0, ECX, 29},
    {"64bit", kExt1, 0, EDX, 29},
    {"clzero", kExt8, 0, EBX, 0},
    {"rdpru", kExt8, 0, EBX, 4},
    {"wbnoinvd", kExt8, 0, EBX, 9},
    {"fsgsbase", 7, 0, EBX, 0},
    {"sgx", 7, 0, EBX, 2},
    {"bmi", 7, 0, EBX, 3},
    {"avx2", 7, 0, EBX, 5, Ymm},
    {"bmi2", 7, 0, EBX, 8},
    {"invpcid", 7, 0, EBX, 10},
    {"rtm", 7, 0, EBX, 11},
    {"avx512f", 7, 0, EBX, 16, Zmm},
    {"evex512", 7, 0, EBX, 16, Zmm},
    {"avx512dq", 7, 0, EBX, 17, Zmm},
    {"rdseed", 7, 0, EBX, 18},
    {"adx", 7, 0, EBX, 19},
    {"avx512ifma", 7, 0, EBX, 21, Zmm},
    {"clflushopt", 7, 0, EBX, 23},
    {"clwb", 7, 0, EBX, 24},
    {"avx512cd", 7, 0, EBX, 28, Zmm},
    {"sha", 7, 0, EBX, 29},
    {"avx512bw", 7, 0, EBX, 30, Zmm},
    {"avx512vl", 7, 0, EBX, 31, Zmm},
    {"avx512vbmi", 7, 0, ECX, 1, Zmm},
    {"pku", 7, 0, ECX, 4},
    {"waitpkg", 7, 0, ECX, 5},
    {"avx512vbmi2", 7, 0, ECX, 6, Zmm},
    {"shstk", 7, 0, ECX, 7},
    {"gfni", 7, 0, ECX, 8},
    {"vaes", 7, 0, ECX, 9, Ymm},
    {"vpclmulqdq", 7, 0, ECX, 10, Ymm},
    {"avx512vnni", 7, 0, ECX, 11, Zmm},
    {"avx512bitalg", 7, 0, ECX, 12, Zmm},
    {"avx512vpopcntdq", 7, 0, ECX, 14, Zmm},
    {"rdpid", 7, 0, ECX, 22},
    {"kl", 7, 0, ECX, 23},
    {"cldemote", 7, 0, ECX, 25},
    {"movdiri", 7, 0, ECX, 27},
    {"movdir64b", 7, 0, ECX, 28},
    {"enqcmd", 7, 0, ECX, 29},
    {"uintr", 7, 0, EDX, 5},
    {"avx512vp2intersect", 7, 0, EDX, 8, Zmm},
    {"serialize", 7, 0, EDX, 14},
    {"tsxldtrk", 7, 0, EDX, 16},
    {"pconfig", 7, 0, EDX, 18},
    {"amx-bf16", 7, 0, EDX, 22, Tile},
    {"avx512fp16", 7, 0, EDX, 23, Zmm},
    {"amx-tile", 7, 0, EDX, 24, Tile},
    {"amx-int8", 7, 0, EDX, 25, Tile},
    {"sha512", 7, 1, EAX, 0, Ymm},
    {"sm3", 7, 1, EAX, 1, Ymm},
    {"sm4", 7, 1, EAX, 2, Ymm},
    {"raoint", 7, 1, EAX, 3},
    {"avxvnni", 7, 1, EAX, 4, Ymm},
    {"avx512bf16", 7, 1, EAX, 5, Zmm},
    {"cmpccxadd", 7, 1, EAX, 7},
    {"amx-fp16", 7, 1, EAX, 21, Tile},
    {"hreset", 7, 1, EAX, 22},
    {"avxifma", 7, 1, EAX, 23, Ymm},
    {"movrs", 7, 1, EAX, 31},
    {"avxvnniint8", 7, 1, EDX, 4, Ymm},
    {"avxneconvert", 7, 1, EDX, 5, Ymm},
    {"amx-complex", 7, 1, EDX, 8, Tile},
    {"avxvnniint16", 7, 1, EDX, 10, Ymm},
    {"prefetchi", 7, 1, EDX, 14},
    {"usermsr", 7, 1, EDX, 15},
    {"egpr", 7, 1, EDX, 21, Apx},
    {"push2pop2", 7, 1, EDX, 21, Apx},
    {"ppx", 7, 1, EDX, 21, Apx},
    {"ndd", 7, 1, EDX, 21, Apx},
    {"ccmp", 7, 1, EDX, 21, Apx},
    {"nf", 7, 1, EDX, 21, Apx},
    {"cf", 7, 1, EDX, 21, Apx},
    {"zu", 7, 1, EDX, 21, Apx},
    {"xsaveopt", 0xd, 1, EAX, 0},
    {"xsavec", 0xd, 1, EAX, 1},
    {"xsaves", 0xd, 1, EAX, 3},
    {"ptwrite", 0x14, 0, EBX, 4},
    {"widekl", 0x19, 0, EBX, 2},
    {"amx-fp8", 0x1e, 1, EAX, 4, Tile},
    {"amx-transpose", 0x1e, 1, EAX, 5, Tile},
    {"amx-tf32", 0x1e, 1, EAX, 6, Tile},
    {"amx-avx512", 0x1e, 1, EAX, 7, Tile},
    {"amx-movrs", 0x1e, 1, EAX, 8, Tile},
};

/// The register state that the operating system saves; 0 without XSAVE.
uint64_t enabledState() {
  uint32_t eax, ebx, ecx, edx;
  constexpr uint32_t osxsave = 1u << 27;
  if (!__get_cpuid(1, &eax, &ebx, &ecx, &edx) || !(ecx & osxsave))
    return 0;
  uint32_t low, high;
  __asm__("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  return (uint64_t(high) << 32) | low;
}

} // namespace

bool hasCpuFeature(const char *name, bool &known) {
  for (const Feature &feature : kFeatures) {
    if (std::strcmp(name, feature.name) != 0)
      continue;
    known = true;
    uint32_t regs[4];
    if (!__get_cpuid_count(feature.leaf, feature.subleaf, &regs[EAX],
                           &regs[EBX], &regs[ECX], &regs[EDX]))
      return false;
    // A leaf says in EAX of its subleaf 0 how many subleaves there are.
    if (feature.leaf == 7 && feature.subleaf > 0) {
      uint32_t last, unused;
      if (!__get_cpuid_count(7, 0, &last, &unused, &unused, &unused) ||
          last < feature.subleaf)
        return false;
    }
    return (regs[feature.reg] >> feature.bit & 1) &&
           (enabledState() & feature.state) == feature.state;
  }
  // Part of the architecture, no bit of its own.
  known = std::strcmp(name, "x87") == 0;
  return known;
}
#else
bool hasCpuFeature(const char *name, bool &known) {
  known = false;
  return false;
}
#endif

std::string findMissingFeatures(const char *const *features) {
  std::string missing, unknown;
  for (; features && *features; ++features) {
    const char *name = **features == '+' ? *features + 1 : *features;
    bool known = false;
    if (hasCpuFeature(name, known))
      continue;
    std::string &list = known ? missing : unknown;
    list += (list.empty() ? "" : ", ") + std::string(name);
  }
  std::string text;
  if (!missing.empty())
    text = "this machine lacks " + missing;
  if (!unknown.empty())
    text += (text.empty() ? "" : ", ") +
            ("this runtime does not know the CPU features " + unknown);
  return text;
}

} // namespace moe::runtime
