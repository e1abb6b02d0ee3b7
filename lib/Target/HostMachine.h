//===- HostMachine.h - LLVM's code generator for x86-64 ---------*- C++ -*-===//
#ifndef MOE_LIB_TARGET_HOSTMACHINE_H
#define MOE_LIB_TARGET_HOSTMACHINE_H

#include "moe/Artifact.h"

#include <memory>

namespace llvm {
class Module;
class TargetMachine;
class raw_pwrite_stream;
} // namespace llvm

namespace moe {

/// The code generator for `cpu`: x86-64 Linux, position independent.
std::unique_ptr<llvm::TargetMachine> createTargetMachine(const HostCpu &cpu,
                                                         unsigned optLevel);

/// Gives all functions of `module` the CPU's attributes and runs LLVM's
/// default pipeline of the level.
void optimise(llvm::Module &module, llvm::TargetMachine &machine,
              const HostCpu &cpu, unsigned optLevel);

/// Writes an object file. False if the target cannot.
bool emitObject(llvm::Module &module, llvm::TargetMachine &machine,
                llvm::raw_pwrite_stream &os);

} // namespace moe

#endif // MOE_LIB_TARGET_HOSTMACHINE_H
