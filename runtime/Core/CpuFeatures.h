//===- CpuFeatures.h - what the machine can run ---------------------------===//
#ifndef MOE_RUNTIME_CORE_CPUFEATURES_H
#define MOE_RUNTIME_CORE_CPUFEATURES_H

#include <string>

namespace moe::runtime {

/// Whether the CPU and the operating system provide a feature of LLVM's name
/// ("avx2"). `known` tells whether the name means something to this runtime.
bool hasCpuFeature(const char *name, bool &known);

/// Checks a null-ended list of LLVM feature names (a leading "+" is allowed);
/// a null list needs nothing. Returns what stands in the way, "" for nothing.
std::string findMissingFeatures(const char *const *features);

} // namespace moe::runtime

#endif // MOE_RUNTIME_CORE_CPUFEATURES_H
