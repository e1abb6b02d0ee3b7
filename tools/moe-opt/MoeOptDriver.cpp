//===- MoeOptDriver.cpp - what moe-opt does -------------------------------===//
//
// MLIR's own driver does the work. A model as input is an empty module whose
// first pass is the import; a model as output is what the last pass writes.
// So everything that the driver can do with passes (dumps, timing,
// reproducers) covers both.
//
//===----------------------------------------------------------------------===//
#include "tools/moe-opt/MoeOptDriver.h"
#include "dialects/ONNX/ONNXDialect.h"
#include "dialects/ONNX/Signatures.h"
#include "lib/Check/HostRaiseCheck.h"
#include "lib/ONNX/ImportPasses.h"
#include "lib/ONNX/Opset.h"
#include "lib/Support/ModelDiagnostics.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/IR/DialectRegistry.h"
#include "mlir/Pass/Pass.h"
#include "mlir/Pass/PassManager.h"
#include "mlir/Pass/PassRegistry.h"
#include "mlir/Support/FileUtilities.h"
#include "mlir/Tools/mlir-opt/MlirOptMain.h"
#include "moe/Import.h"
#include "passes/Experts/Passes.h"
#include "passes/Raise/Passes.h"
#include "llvm/Support/CommandLine.h"
#include "llvm/Support/MemoryBuffer.h"
#include "llvm/Support/Signals.h"
#include "llvm/Support/ToolOutputFile.h"
#include <unistd.h>

using namespace mlir;
using namespace moe;

namespace {

llvm::cl::opt<int64_t> exportOpset(
    "export-opset", llvm::cl::value_desc("N"),
    llvm::cl::desc("Opset of ai.onnx for .onnx output (default: the one that "
                   "the model was read with)"),
    llvm::cl::init(0));

llvm::cl::opt<bool> exportExternal(
    "export-external-data",
    llvm::cl::desc("Put the weights of .onnx output into OUTPUT.data"),
    llvm::cl::init(false));

llvm::cl::opt<std::string> preset(
    "moe-preset", llvm::cl::value_desc("exact|compress|prefill|decode"),
    llvm::cl::desc("Run the pipeline of this name before the passes that are "
                   "asked for"),
    llvm::cl::init(""));

llvm::cl::opt<bool> raiseCheck(
    "moe-raise-check",
    llvm::cl::desc("Compile and run what raising replaces and what it puts in "
                   "its place, and refuse a raise that differs"),
    llvm::cl::init(false));

constexpr llvm::StringLiteral kHelp = R"(moe-opt - rewrites ONNX and MLIR models

USAGE
  moe-opt [INPUT|-] [-o OUTPUT|-] [--PASS[="name=value ..."]]...
  moe-opt [INPUT|-] [-o OUTPUT|-] --pass-pipeline='builtin.module(...)'

  INPUT and OUTPUT may be models in ONNX (.onnx), MLIR's text (.mlir, or - for
  standard input and output) and MLIR's bytecode (.mlirbc). The suffix decides.
  Weights stay in the file they are in until a model is written.

EXAMPLES
  moe-opt model.onnx                         show a model as text
  moe-opt model.onnx -o model.mlir           write it, with names and positions
  moe-opt model.mlir -o model2.onnx          and back; moe ops become MoE of
                                             com.microsoft where it computes the
                                             same (--moe-export-contrib), else
                                             plain operators (--moe-decompose)
  moe-opt model.onnx --canonicalize -o -     run a pass and show the outcome
  moe-opt a.onnx -o b.onnx --export-opset=21 write it for another opset

OPTIONS
  -o FILE                   where the outcome goes (default: standard output)
  --export-opset=N          opset of ai.onnx for .onnx output
  --export-external-data    put the weights of .onnx output into OUTPUT.data
                            (always done above 2 GiB)
  --moe-preset=NAME         exact, compress, prefill or decode
  --moe-raise-check         run both sides of each raise on made-up inputs, and
                            refuse a raise that differs (about 1 s each)
  --list-passes             all passes      --show-dialects   all dialects
  --mlir-print-ir-after-all show the IR after each pass
  --mlir-timing             show the time of each pass
  --verify-roundtrip        check that text and bytecode give the same back
  --mlir-pass-pipeline-crash-reproducer=FILE
                            write what is needed to repeat a failure
  --help                    all options, passes and their options

EXIT CODES
  0 fine   1 an error in the input or the arguments   2 an internal error
)";

enum class Format { Text, Bytecode, Onnx };

Format getFormat(StringRef file) {
  if (file.ends_with(".onnx"))
    return Format::Onnx;
  return file.ends_with(".mlirbc") ? Format::Bytecode : Format::Text;
}

int fail(const Twine &why) {
  llvm::errs() << "moe-opt: error: " << why << "\n";
  return 1;
}

/// Without locations the names of nodes would get lost on the way through a
/// text file.
void printLocations() {
  auto &options = llvm::cl::getRegisteredOptions();
  auto option = options.find("mlir-print-debuginfo");
  if (option != options.end() && option->second->getNumOccurrences() == 0)
    option->second->addOccurrence(0, "mlir-print-debuginfo", "true");
}

/// Adds the passes of `from` to `to`. They are printed and parsed because
/// passes of an op pass manager cannot be moved out of it.
LogicalResult appendPasses(PassManager &from, PassManager &to) {
  for (Pass &pass : from.getPasses()) {
    std::string text;
    llvm::raw_string_ostream os(text);
    pass.printAsTextualPipeline(os);
    if (failed(parsePassPipeline(text, to)))
      return failure();
  }
  return success();
}

LogicalResult addPreset(PassManager &manager) {
  if (preset.empty())
    return success();
  std::string error;
  const PassPipelineInfo *pipeline = PassPipelineInfo::lookup("moe-" + preset);
  if (!pipeline) {
    fail("the preset '" + preset +
         "' is not available; --list-passes names "
         "the pipelines that are");
    return failure();
  }
  return pipeline->addToPipeline(manager, "", [&](const Twine &why) {
    fail(why);
    return failure();
  });
}

} // namespace

void moe::exitWithTwoOnCrash() {
  // InitLLVM's handler, which prints the stack, has been registered before.
  llvm::sys::AddSignalHandler(
      [](void *) {
        constexpr llvm::StringLiteral message =
            "moe-opt: internal error. Please report it with what "
            "--mlir-pass-pipeline-crash-reproducer=FILE writes.\n";
        ssize_t ignored = ::write(2, message.data(), message.size());
        (void)ignored;
        ::_exit(2);
      },
      nullptr);
}

int moe::runMoeOpt(int argc, char **argv, DialectRegistry &registry) {
  for (int i = 1; i < argc; ++i)
    if (StringRef(argv[i]) == "-h") {
      llvm::outs() << kHelp;
      return 0;
    }
  registry.addExtension(+[](MLIRContext *context, moe::onnx::ONNXDialect *) {
    installModelDiagnostics(context, llvm::errs());
  });

  auto [input, output] = registerAndParseCLIOptions(
      argc, argv, "moe-opt: rewrites ONNX and MLIR models\n", registry);
  if (raiseCheck)
    registerHostRaiseCheck(registry);
  MlirOptMainConfig config = MlirOptMainConfig::createFromCLOptions();
  if (config.shouldShowDialects() || config.shouldListPasses())
    return failed(MlirOptMain(
        llvm::outs(), llvm::MemoryBuffer::getMemBuffer(""), registry, config));

  Format from = getFormat(input), to = getFormat(output);
  if (exportOpset.getNumOccurrences() &&
      (exportOpset < kOldestOpset || exportOpset > moe::onnx::getNewestOpset()))
    return fail("--export-opset=" + Twine(exportOpset) + ": accepted are " +
                Twine(kOldestOpset) + " to " +
                Twine(moe::onnx::getNewestOpset()));

  std::string error;
  std::unique_ptr<llvm::MemoryBuffer> buffer =
      from == Format::Onnx
          ? llvm::MemoryBuffer::getMemBufferCopy("module {}", input)
          : openInputFile(input, &error);
  if (!buffer)
    return fail(error);
  if (from == Format::Onnx)
    config.splitInputFile("");
  if (to == Format::Bytecode)
    config.emitBytecode(true);
  if (to == Format::Text && output != "-")
    printLocations();

  // --pass-pipeline replaces what a pass manager holds, so the passes asked for
  // are collected in one of their own.
  config.setPassPipelineSetupFn([base = config, input = input, output = output,
                                 from,
                                 to](PassManager &manager) -> LogicalResult {
    PassManager asked(manager.getContext(), manager.getOpAnchorName(),
                      PassManager::Nesting::Implicit);
    if (failed(base.setupPassPipeline(asked)))
      return failure();
    if (from == Format::Onnx)
      manager.addPass(createImportPass(input));
    if (failed(addPreset(manager)) || failed(appendPasses(asked, manager)))
      return failure();
    if (to == Format::Onnx) {
      ExportOptions options;
      if (exportOpset.getNumOccurrences())
        options.opset = exportOpset;
      options.externalData = exportExternal;
      // Experts that com.microsoft.MoE computes exactly are written as such,
      // unless a runtime is known to compute something else.
      ExportContribOptions contrib;
      contrib.sparseMixer = false;
      manager.addNestedPass<func::FuncOp>(createExportContrib(contrib));
      // What is left of moe ops; passes that were asked for may have chosen
      // another form.
      MoEDecomposeOptions decompose;
      decompose.opset = options.opset.value_or(0);
      manager.addPass(createMoEDecompose(decompose));
      manager.addPass(createExportPass(output, options));
    }
    return success();
  });

  // The export pass writes its file; the driver's own output is not wanted.
  std::unique_ptr<llvm::ToolOutputFile> file = openOutputFile(
      to == Format::Onnx ? StringRef("/dev/null") : StringRef(output), &error);
  if (!file)
    return fail(error);
  if (failed(MlirOptMain(file->os(), std::move(buffer), registry, config)))
    return 1;
  file->keep();
  return 0;
}
