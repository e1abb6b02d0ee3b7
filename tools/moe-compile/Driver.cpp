//===- Driver.cpp - what moe-compile does ---------------------------------===//
//
// Runs the phases one after the other. Each has a pass manager of its own, so
// that the IR between phases can be written out, and so that it is known whose
// fault a failure is: up to the translation to linalg a pass fails because of
// the model (exit code 1), behind it because of us (exit code 2, with a
// reproducer).
//
//===----------------------------------------------------------------------===//
#include "tools/moe-compile/Driver.h"

#include "lib/Check/HostRaiseCheck.h"
#include "lib/Support/ModelDiagnostics.h"
#include "lib/Support/OutputFile.h"
#include "moe/Artifact.h"
#include "moe/Import.h"
#include "moe/Pipelines.h"
#include "tools/moe-compile/Options.h"
#include "tools/moe-compile/Report.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/IR/BuiltinOps.h"
#include "mlir/IR/Diagnostics.h"
#include "mlir/Parser/Parser.h"
#include "mlir/Pass/Pass.h"
#include "mlir/Pass/PassManager.h"
#include "mlir/Pass/PassRegistry.h"
#include "mlir/Support/FileUtilities.h"
#include "mlir/Support/Timing.h"
#include "passes/Infer/Passes.h"
#include "passes/Lower/Host/LayoutWeights.h"
#include "passes/Lower/Host/Passes.h"
#include "passes/Lower/ONNXToLinalg/Passes.h"
#include "passes/Schedule/Passes.h"
#include "llvm/ADT/StringMap.h"
#include "llvm/ADT/StringSet.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/Path.h"
#include "llvm/Support/SourceMgr.h"

using namespace mlir;
using namespace moe;
using namespace moe::compile;

namespace {

constexpr int userError = 1;
constexpr int internalError = 2;

/// One compilation.
class Compilation {
public:
  Compilation(const Options &options, DialectRegistry &registry)
      : options(options), context(registry),
        sourceHandler(sources, &context, llvm::errs()) {
    installModelDiagnostics(&context, llvm::errs());
  }

  int run();

private:
  void progress(const Twine &text) {
    if (options.verbose)
      llvm::errs() << "moe-compile: " << text << "\n";
  }
  bool runs(Phase phase) const {
    return options.from <= phase && phase <= options.to;
  }

  bool readInput();
  int resolveCpus();
  int runPhase(Phase phase);
  int lower();
  bool runPasses(StringRef name, function_ref<void(PassManager &)> build,
                 bool reproducer) {
    return runPasses(*module, name, build, reproducer);
  }
  bool runPasses(ModuleOp module, StringRef name,
                 function_ref<void(PassManager &)> build, bool reproducer);
  bool bindDims();
  bool writeText(ModuleOp module, StringRef path);
  bool dump(Phase phase);
  int writeOutput();

  const Options &options;
  MLIRContext context;
  llvm::SourceMgr sources;
  SourceMgrDiagnosticHandler sourceHandler;
  OwningOpRef<ModuleOp> module;
  std::vector<HostCpu> cpus;
  /// From the phase lower on: the module of each CPU but the first one, whose
  /// module is `module`.
  std::vector<OwningOpRef<ModuleOp>> others;
  Report report;
};

/// Whether functions of the module still hold operations of a model.
bool hasModelOps(ModuleOp module) {
  return module
      .walk([](Operation *op) {
        StringRef dialect = op->getName().getDialectNamespace();
        return dialect == "onnx" || dialect == "onnx_ms" || dialect == "moe"
                   ? WalkResult::interrupt()
                   : WalkResult::advance();
      })
      .wasInterrupted();
}

bool Compilation::readInput() {
  if (options.from == Phase::Import) {
    ImportOptions import;
    // Bound extents have to be known before types are inferred.
    import.inferShapes = options.dims.empty();
    module = importONNX(options.input, &context, import);
    return static_cast<bool>(module);
  }
  std::string error;
  std::unique_ptr<llvm::MemoryBuffer> buffer =
      openInputFile(options.input, &error);
  if (!buffer) {
    reportError(error);
    return false;
  }
  sources.AddNewSourceBuffer(std::move(buffer), llvm::SMLoc());
  module = parseSourceFile<ModuleOp>(sources, &context);
  return static_cast<bool>(module);
}

/// Replaces bound symbols in the signatures of functions.
bool Compilation::bindDims() {
  llvm::StringMap<int64_t> bound;
  for (const auto &[name, extent] : options.dims)
    bound[name] = extent;
  llvm::StringSet<> found;
  Builder builder(&context);
  for (auto function : module->getOps<func::FuncOp>()) {
    SmallVector<Type> inputs(function.getArgumentTypes());
    for (unsigned index = 0; index < inputs.size(); ++index)
      for (StringRef attribute : {"onnx.dims", "rt.dims"}) {
        auto dims = function.getArgAttrOfType<ArrayAttr>(index, attribute);
        auto tensor = dyn_cast<RankedTensorType>(inputs[index]);
        if (!dims || !tensor ||
            static_cast<int64_t>(dims.size()) != tensor.getRank())
          continue;
        SmallVector<int64_t> shape(tensor.getShape());
        SmallVector<Attribute> symbols(dims.begin(), dims.end());
        for (unsigned dim = 0; dim < shape.size(); ++dim) {
          auto symbol = dyn_cast<StringAttr>(symbols[dim]);
          auto extent = symbol ? bound.find(symbol.getValue()) : bound.end();
          if (extent == bound.end())
            continue;
          found.insert(extent->getKey());
          shape[dim] = extent->getValue();
          symbols[dim] = builder.getStringAttr("");
        }
        inputs[index] = tensor.clone(shape);
        function.setArgAttr(index, attribute, builder.getArrayAttr(symbols));
        function.getArgument(index).setType(inputs[index]);
      }
    function.setFunctionType(
        builder.getFunctionType(inputs, function.getResultTypes()));
  }
  for (const auto &[name, extent] : options.dims)
    if (!found.contains(name)) {
      reportError("--dim " + name + "=" + std::to_string(extent) +
                  ": no input has an extent of that name");
      return false;
    }
  return true;
}

/// Runs the passes that `build` adds; false if one fails.
bool Compilation::runPasses(ModuleOp module, StringRef name,
                            function_ref<void(PassManager &)> build,
                            bool reproducer) {
  PassManager manager(&context);
  if (failed(applyPassManagerCLOptions(manager)))
    return false;
  applyDefaultTimingPassManagerCLOptions(manager);
  build(manager);
  std::string file = options.output + ".reproducer.mlir";
  if (reproducer && options.output != "-")
    manager.enableCrashReproducerGeneration(file);
  return succeeded(manager.run(module));
}

int Compilation::lower() {
  if (hasModelOps(*module) &&
      !runPasses(
          "onnx-to-linalg",
          [&](PassManager &manager) {
            if (options.profile)
              manager.addPass(createProfileNodesPass());
            // Passes of the user's may have left experts.
            manager.addPass(createMoESchedule());
            manager.addPass(createONNXToLinalg());
          },
          /*reproducer=*/false))
    return userError;
  report.countFallbacks(*module);
  // The same module for each CPU; constants that they share are shared.
  SmallVector<ModuleOp> modules = {*module};
  SmallVector<std::string> names;
  for (const HostCpu &cpu : cpus) {
    names.push_back(cpu.name);
    if (names.size() > 1) {
      others.emplace_back(module->clone());
      modules.push_back(*others.back());
    }
  }
  bool ok = true;
  for (auto [lowered, cpu] : llvm::zip_equal(modules, cpus)) {
    HostPipelineOptions pipeline;
    pipeline.vectorBits = cpu.vectorBits;
    pipeline.integerDot = cpu.integerDot;
    pipeline.bfloatDot = cpu.bfloatDot;
    pipeline.activations = options.activations;
    pipeline.profile = options.profile;
    ok = ok && runPasses(
                   lowered, "host loops",
                   [&](PassManager &manager) {
                     buildHostLoopsPipeline(manager, pipeline);
                   },
                   /*reproducer=*/true);
  }
  ok = ok && succeeded(layoutWeights(modules, names));
  for (ModuleOp lowered : modules)
    ok = ok && runPasses(lowered, "host code", buildHostCodePipeline,
                         /*reproducer=*/true);
  if (ok)
    return 0;
  llvm::errs() << "moe-compile: internal error: lowering to host failed";
  if (options.output != "-")
    llvm::errs() << "; please report it with " << options.output
                 << ".reproducer.mlir";
  llvm::errs() << "\n";
  return internalError;
}

int Compilation::runPhase(Phase phase) {
  progress(getPhaseName(phase));
  Report::Timer timer(report, getPhaseName(phase));
  bool ok = true;
  switch (phase) {
  case Phase::Import:
    break;
  case Phase::Raise:
    if (!options.passPipeline.empty()) {
      ok = runPasses(
               "pass-pipeline",
               [&](PassManager &manager) {
                 ok = succeeded(
                     parsePassPipeline(options.passPipeline, manager));
               },
               /*reproducer=*/true) &&
           ok;
      return ok ? 0 : userError;
    }
    ok = runPasses(
        "raise",
        [&](PassManager &manager) {
          buildRaisePipeline(manager, /*plainNodes=*/options.optLevel > 0);
        },
        false);
    break;
  case Phase::Optimise:
    if (options.passPipeline.empty())
      ok = runPasses("optimise", buildOptimisePipeline, false);
    break;
  case Phase::Schedule:
    if (options.passPipeline.empty())
      ok = runPasses(
          "schedule",
          [&](PassManager &manager) {
            // What runs for a layer of experts is named by the layer.
            if (options.profile)
              manager.addPass(createProfileNodesPass());
            buildSchedulePipeline(manager);
          },
          false);
    break;
  case Phase::Lower:
    return lower();
  case Phase::Target:
    return writeOutput();
  }
  return ok ? 0 : userError;
}

bool Compilation::writeText(ModuleOp module, StringRef path) {
  std::string error;
  if (path == "-") {
    module.print(llvm::outs());
    llvm::outs() << "\n";
    return true;
  }
  std::unique_ptr<OutputFile> file = OutputFile::open(path, error);
  if (file) {
    OpPrintingFlags flags;
    flags.enableDebugInfo();
    module.print(file->os(), flags);
  }
  if (file && file->keep(error))
    return true;
  reportError("cannot write '" + path.str() + "': " + error);
  return false;
}

bool Compilation::dump(Phase phase) {
  if (options.dumpFolder.empty() || phase == Phase::Target)
    return true;
  if (std::error_code error =
          llvm::sys::fs::create_directories(options.dumpFolder)) {
    reportError("cannot make the folder '" + options.dumpFolder +
                "': " + error.message());
    return false;
  }
  auto pathOf = [&](const Twine &suffix) {
    llvm::SmallString<128> path(options.dumpFolder);
    llvm::sys::path::append(path, Twine(static_cast<unsigned>(phase)) + "-" +
                                      getPhaseName(phase) + suffix + ".mlir");
    return path;
  };
  if (others.empty())
    return writeText(*module, pathOf(""));
  for (auto [index, cpu] : llvm::enumerate(cpus))
    if (!writeText(index ? *others[index - 1] : *module,
                   pathOf("-" + cpu.name)))
      return false;
  return true;
}

int Compilation::writeOutput() {
  ArtifactOptions artifact;
  artifact.optLevel = options.optLevel;
  artifact.kind = options.emit == Emit::Object   ? ArtifactKind::Object
                  : options.emit == Emit::LLVMIR ? ArtifactKind::LLVMIR
                                                 : ArtifactKind::SharedObject;
  auto tell = [&](StringRef text) { progress(text); };
  artifact.progress = tell;
  SmallVector<ModuleOp> modules = {*module};
  for (OwningOpRef<ModuleOp> &other : others)
    modules.push_back(*other);
  uint64_t bytes = getWeightBytes(modules);
  report.weightBytes = bytes;
  llvm::SmallString<128> file;
  if (options.weights == Options::Weights::File) {
    file = options.weightsFile;
    StringRef folder = llvm::sys::path::parent_path(options.output);
    if (!llvm::sys::path::has_parent_path(file)) {
      file = folder;
      llvm::sys::path::append(file, options.weightsFile);
    } else if (llvm::sys::path::parent_path(file) != folder) {
      return reportError("--weights=" + options.weightsFile +
                         ": the file has to be in the folder of " +
                         options.output);
    }
  } else if (options.weights == Options::Weights::Auto &&
             bytes > maxEmbeddedBytes) {
    file = options.output;
    llvm::sys::path::replace_extension(file, "safetensors");
    progress("constants are above 1 GiB and go to " + file);
  }
  artifact.weightsFile = file.str().str();

  std::string output = options.output;
  if (output == "-")
    output = "/dev/stdout";
  SmallVector<ArtifactPart> parts;
  for (auto [module, cpu] : llvm::zip_equal(modules, cpus))
    parts.push_back({module, cpu});
  return succeeded(writeArtifact(parts, output, artifact)) ? 0 : userError;
}

/// Resolves --mcpu. The IR of a lowered module is for one CPU.
int Compilation::resolveCpus() {
  std::string option = "--mcpu=" + options.cpu, error;
  if (failed(resolveHostCpus(options.cpu, cpus, error)))
    return reportError(option + ": " + error);
  if (cpus.size() == 1)
    return 0;
  if (options.from == Phase::Target)
    return reportError(option + ": --compile-from=target takes code for one "
                                "CPU; expected one name");
  if (options.emit == Emit::LLVMIR ||
      (options.emit == Emit::MLIR && options.to == Phase::Lower))
    return reportError(option + ": code as text is that for one CPU; expected "
                                "one name");
  return 0;
}

int Compilation::run() {
  if (options.listOps && options.input.empty())
    return listCompilableOps(llvm::outs());
  if (int code = resolveCpus())
    return code;
  progress("reading " + options.input);
  {
    Report::Timer timer(report, "read");
    if (!readInput())
      return userError;
  }
  if (!options.dims.empty()) {
    if (!bindDims())
      return userError;
    if (options.from == Phase::Import &&
        !runPasses(
            "onnx-infer-shapes",
            [](PassManager &manager) {
              manager.addNestedPass<func::FuncOp>(createInferShapes());
            },
            false))
      return userError;
  }
  report.countOps(*module);
  if (options.listOps)
    return listOps(*module, llvm::outs());

  for (unsigned index = 0; index < numPhases; ++index) {
    Phase phase = static_cast<Phase>(index);
    if (!runs(phase))
      continue;
    if (int code = runPhase(phase))
      return code;
    if (!dump(phase))
      return userError;
  }
  if (options.emit == Emit::MLIR && !writeText(*module, options.output))
    return userError;
  if (!options.report.empty() && !report.write(options.report, options, cpus))
    return userError;
  return 0;
}

} // namespace

int compile::runMoeCompile(int argc, char **argv, DialectRegistry &registry) {
  Options options;
  int exitCode = 0;
  if (!parseOptions(argc, argv, options, exitCode))
    return exitCode;
  if (options.raiseCheck)
    registerHostRaiseCheck(registry);
  return Compilation(options, registry).run();
}
