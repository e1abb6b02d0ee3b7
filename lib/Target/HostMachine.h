//===- HostMachine.h - LLVM's code generator for x86-64 ---------*- C++ -*-===//
#ifndef MOE_LIB_TARGET_HOSTMACHINE_H
#define MOE_LIB_TARGET_HOSTMACHINE_H

#include "moe/Artifact.h"

#include "llvm/ADT/SmallVector.h"
#include <memory>
#include <string>

namespace llvm {
class Module;
class TargetMachine;
} // namespace llvm

namespace moe {

/// The code generator for `cpu`: x86-64 Linux, position independent.
std::unique_ptr<llvm::TargetMachine> createTargetMachine(const HostCpu &cpu,
                                                         unsigned optLevel);

/// Gives all functions of `module` the CPU's attributes and runs LLVM's
/// default pipeline of the level.
void optimise(llvm::Module &module, llvm::TargetMachine &machine,
              const HostCpu &cpu, unsigned optLevel);

/// The bytes of an object file. False, with the reason in `error`, if there is
/// none. LLVM's register allocator gives up on some large functions: these are
/// left unoptimised then. Kernels are functions of their own.
bool emitObject(llvm::Module &module, llvm::TargetMachine &machine,
                llvm::SmallVectorImpl<char> &bytes, std::string &error);

} // namespace moe

#endif // MOE_LIB_TARGET_HOSTMACHINE_H
