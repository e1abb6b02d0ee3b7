//===- HostMachine.cpp - LLVM's code generator for x86-64 -----------------===//
//
// CPU names resolve to features through LLVM's own tables. Of those the
// artifact lists the ones that generated code may use, so that a runtime can
// refuse a CPU that lacks one.
//
//===----------------------------------------------------------------------===//
#include "lib/Target/HostMachine.h"

#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/ScopeExit.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/ADT/StringMap.h"
#include "llvm/IR/DiagnosticHandler.h"
#include "llvm/IR/DiagnosticInfo.h"
#include "llvm/IR/DiagnosticPrinter.h"
#include "llvm/IR/LegacyPassManager.h"
#include "llvm/IR/Module.h"
#include "llvm/MC/MCSubtargetInfo.h"
#include "llvm/MC/TargetRegistry.h"
#include "llvm/Passes/PassBuilder.h"
#include "llvm/Support/TargetSelect.h"
#include "llvm/Target/TargetMachine.h"
#include "llvm/Target/TargetOptions.h"
#include "llvm/TargetParser/Host.h"
#include "llvm/TargetParser/Triple.h"
#include "llvm/Transforms/Utils/Cloning.h"
#include <mutex>

using namespace llvm;
using namespace moe;

static constexpr const char *hostTriple = "x86_64-unknown-linux-gnu";

/// Features that code generation uses, each with a bit in CPUID.
static constexpr const char *checkedFeatures[] = {
    "adx",          "avx",          "avx2",       "avx512bf16",
    "avx512bitalg", "avx512bw",     "avx512cd",   "avx512dq",
    "avx512f",      "avx512fp16",   "avx512ifma", "avx512vbmi",
    "avx512vbmi2",  "avx512vl",     "avx512vnni", "avx512vpopcntdq",
    "avxifma",      "avxneconvert", "avxvnni",    "avxvnniint16",
    "avxvnniint8",  "bmi",          "bmi2",       "f16c",
    "fma",          "gfni",         "lzcnt",      "movbe",
    "popcnt",       "sse3",         "sse4.1",     "sse4.2",
    "ssse3",        "vaes",         "vpclmulqdq",
};

static const Target *lookupHostTarget() {
  static std::once_flag once;
  std::call_once(once, [] {
    LLVMInitializeX86TargetInfo();
    LLVMInitializeX86Target();
    LLVMInitializeX86TargetMC();
    LLVMInitializeX86AsmPrinter();
    LLVMInitializeX86AsmParser();
  });
  std::string error;
  return TargetRegistry::lookupTarget(Triple(hostTriple), error);
}

LogicalResult moe::resolveHostCpu(StringRef name, HostCpu &cpu,
                                  std::string &error) {
  const Target *target = lookupHostTarget();
  if (!target) {
    error = "this build of LLVM has no x86-64 target";
    return failure();
  }
  cpu = HostCpu();
  cpu.name = name.str();
  if (name == "native") {
    if (Triple(sys::getProcessTriple()).getArch() != Triple::x86_64) {
      error = "this machine is not x86-64; name a CPU, such as x86-64-v3";
      return failure();
    }
    cpu.name = sys::getHostCPUName().str();
    // What is off matters as well: a virtual machine may hide features.
    StringMap<bool> features = sys::getHostCPUFeatures();
    for (const char *feature : checkedFeatures)
      if (auto found = features.find(feature); found != features.end()) {
        if (!cpu.features.empty())
          cpu.features += ',';
        cpu.features += (found->second ? "+" : "-") + std::string(feature);
      }
  }

  std::unique_ptr<MCSubtargetInfo> info(target->createMCSubtargetInfo(
      Triple(hostTriple), cpu.name == "native" ? "" : cpu.name, cpu.features));
  if (!info || !info->isCPUStringValid(cpu.name)) {
    error = "unknown CPU '" + cpu.name +
            "'; expected native, x86-64-v3, x86-64-v4 or a name that LLVM "
            "knows, such as znver4";
    return failure();
  }
  for (const char *feature : checkedFeatures)
    if (info->checkFeatures("+" + std::string(feature)))
      cpu.required.push_back(feature);
  auto has = [&](StringRef feature) {
    return llvm::is_contained(cpu.required, feature);
  };
  for (const char *feature : {"avx2", "fma", "f16c", "bmi2"})
    if (!has(feature)) {
      error = "CPU '" + cpu.name + "' lacks " + feature +
              "; the least that host code needs is x86-64-v3";
      return failure();
    }
  cpu.vectorBits = has("avx512f") && has("avx512vl") ? 512 : 256;
  cpu.integerDot = has(cpu.vectorBits == 512 ? "avx512vnni" : "avxvnni");
  cpu.bfloatDot = cpu.vectorBits == 512 && has("avx512bf16");
  return success();
}

LogicalResult moe::resolveHostCpus(StringRef list, std::vector<HostCpu> &cpus,
                                   std::string &error) {
  cpus.clear();
  for (StringRef name : llvm::split(list, ',')) {
    HostCpu &cpu = cpus.emplace_back();
    if (failed(resolveHostCpu(name, cpu, error)))
      return failure();
    for (const HostCpu &other : ArrayRef(cpus).drop_back())
      if (other.name == cpu.name) {
        error =
            "the CPU '" + cpu.name + "' occurs twice; each is accepted once";
        return failure();
      }
  }
  llvm::stable_sort(cpus, [](const HostCpu &a, const HostCpu &b) {
    return std::make_pair(a.vectorBits, a.required.size()) >
           std::make_pair(b.vectorBits, b.required.size());
  });
  return success();
}

std::unique_ptr<TargetMachine> moe::createTargetMachine(const HostCpu &cpu,
                                                        unsigned optLevel) {
  const Target *target = lookupHostTarget();
  if (!target)
    return nullptr;
  CodeGenOptLevel level = optLevel == 0   ? CodeGenOptLevel::None
                          : optLevel == 1 ? CodeGenOptLevel::Less
                          : optLevel == 2 ? CodeGenOptLevel::Default
                                          : CodeGenOptLevel::Aggressive;
  return std::unique_ptr<TargetMachine>(target->createTargetMachine(
      Triple(hostTriple), cpu.name, cpu.features, llvm::TargetOptions(),
      Reloc::PIC_, CodeModel::Small, level));
}

void moe::optimise(Module &module, TargetMachine &machine, const HostCpu &cpu,
                   unsigned optLevel) {
  for (Function &function : module) {
    if (function.isDeclaration())
      continue;
    function.addFnAttr("target-cpu", cpu.name);
    if (!cpu.features.empty())
      function.addFnAttr("target-features", cpu.features);
    function.addFnAttr(Attribute::NoUnwind);
  }

  // Kernels come in unrolled tiles of vectors. What unrolling and the search
  // for straight-line vectors would add elsewhere is mostly compile time.
  PipelineTuningOptions tuning;
  tuning.LoopUnrolling = optLevel >= 3;
  tuning.SLPVectorization = optLevel >= 3;
  PassBuilder builder(&machine, tuning);
  LoopAnalysisManager loops;
  FunctionAnalysisManager functions;
  CGSCCAnalysisManager components;
  ModuleAnalysisManager modules;
  builder.registerModuleAnalyses(modules);
  builder.registerCGSCCAnalyses(components);
  builder.registerFunctionAnalyses(functions);
  builder.registerLoopAnalyses(loops);
  builder.crossRegisterProxies(loops, functions, components, modules);
  OptimizationLevel level = optLevel == 0   ? OptimizationLevel::O0
                            : optLevel == 1 ? OptimizationLevel::O1
                            : optLevel == 2 ? OptimizationLevel::O2
                                            : OptimizationLevel::O3;
  ModulePassManager passes = optLevel == 0
                                 ? builder.buildO0DefaultPipeline(level)
                                 : builder.buildPerModuleDefaultPipeline(level);
  passes.run(module, modules);
}

namespace {
/// What LLVM reports, kept instead of ending the process.
struct Errors {
  std::string text;
  /// The function whose registers could not be allocated.
  std::string function;
};

struct KeepErrors : public DiagnosticHandler {
  explicit KeepErrors(Errors &errors) : errors(errors) {}
  bool handleDiagnostics(const DiagnosticInfo &info) override {
    if (info.getSeverity() != DS_Error)
      return false;
    raw_string_ostream os(errors.text);
    DiagnosticPrinterRawOStream printer(os);
    info.print(printer);
    if (auto *failed = dyn_cast<DiagnosticInfoRegAllocFailure>(&info))
      errors.function = failed->getFunction().getName();
    return true;
  }
  Errors &errors;
};
} // namespace

bool moe::emitObject(Module &module, TargetMachine &machine,
                     SmallVectorImpl<char> &bytes, std::string &error) {
  LLVMContext &context = module.getContext();
  std::unique_ptr<DiagnosticHandler> before = context.getDiagnosticHandler();
  llvm::scope_exit restore(
      [&] { context.setDiagnosticHandler(std::move(before)); });
  constexpr unsigned kMostAttempts = 8;
  for (unsigned attempt = 0; attempt < kMostAttempts; ++attempt) {
    // Generating code changes the module.
    std::unique_ptr<Module> code = CloneModule(module);
    Errors errors;
    context.setDiagnosticHandler(std::make_unique<KeepErrors>(errors));
    bytes.clear();
    raw_svector_ostream os(bytes);
    legacy::PassManager passes;
    if (machine.addPassesToEmitFile(passes, os, nullptr,
                                    CodeGenFileType::ObjectFile)) {
      error = "LLVM cannot emit objects for this target";
      return false;
    }
    passes.run(*code);
    error = errors.text;
    if (error.empty())
      return true;
    Function *failed = module.getFunction(errors.function);
    if (!failed || failed->hasOptNone())
      return false;
    failed->removeFnAttr(Attribute::AlwaysInline);
    failed->addFnAttr(Attribute::NoInline);
    failed->addFnAttr(Attribute::OptimizeNone);
  }
  return false;
}
