//===- Options.cpp - command line of moe-compile --------------------------===//
#include "tools/moe-compile/Options.h"

#include "mlir/IR/AsmState.h"
#include "mlir/IR/MLIRContext.h"
#include "mlir/Pass/PassManager.h"
#include "llvm/Support/CommandLine.h"
#include "llvm/Support/raw_ostream.h"
#include <unistd.h>

using namespace llvm;
using namespace moe;
using namespace moe::compile;

static constexpr const char *helpText =
    R"(moe-compile - compiles ONNX models to native code

USAGE
  moe-compile INPUT -o MODEL.so [OPTIONS]

  INPUT is a model in ONNX (.onnx) or MLIR (.mlir, .mlirbc). MODEL.so runs with
  moe-run or the C interface; it needs neither this compiler nor Python.

EXAMPLES
  moe-compile model.onnx -o model.so
  moe-compile model.onnx -o model.so --dim batch=1 --mcpu=x86-64-v3,x86-64-v4
  moe-compile model.onnx --compile-to=lower -o -     show what becomes of it

OUTPUT
  -o FILE               where the outcome goes (- is standard output)
  --emit=so|obj|llvm|mlir
                        shared object (default), object file to be linked into a
                        program, LLVM IR as text, MLIR as text
  --weights=embed|FILE.safetensors
                        constants inside the artifact, or in a file that has to
                        stay beside it (by default FILE above 1 GiB)
CODE
  --target=host         processor to compile for
  --mcpu=native|x86-64-v3|x86-64-v4|...
                        CPU to compile for (default: this one). Several, with
                        commas between them, give code for each: a run uses that
                        for the most capable CPU that its machine is
  -O0 -O1 -O2 -O3       effort of LLVM (default: -O2); with -O0 plain nodes also
                        stay as they are, nothing is recognised in them
  --activations=f32|exact|close|rounded
                        what products with weights of 2, 4 or 8 bits do with
                        their other factor: f32 arithmetic; integers as exact
                        as that (default); integers of 16 bits, errors below
                        1e-4; of 8 bits, errors of about 1e-2. Beside weights
                        of bf16: f32 arithmetic, with rounded bf16, errors of
                        about 3e-3
  --dim NAME=N          compile for one value of a symbolic extent; repeatable
  --profile             code that can tell how long each operation takes
                        (moe-run --profile); without it there is nothing of
                        that in the code
PHASES
  import, raise, optimise, schedule, lower, target
  --compile-to=PHASE    stop after PHASE and print the IR
  --compile-from=PHASE  INPUT is IR that is to start at PHASE
  --dump-phases=DIR     write the IR after each phase into DIR
  --pass-pipeline='builtin.module(...)'
                        these passes instead of raise, optimise and schedule
  --moe-raise-check     run both sides of each raise on made-up inputs, and
                        refuse a raise that differs (about 1 s each)
REPORTS
  --list-ops            count the model's operators, and tell which of them
                        cannot be compiled; compiles nothing. Without INPUT:
                        list all operators that can be compiled
  --report=FILE.json    write times, sizes and counts
  -v                    tell what happens while it happens
  --mlir-timing, --mlir-print-ir-after-all, ...
                        options of MLIR's pass manager; --help shows them all

EXIT CODES
  0 fine   1 an error in the input or the arguments   2 an internal error
)";

int compile::reportError(const std::string &text) {
  errs() << "moe-compile: error: " << text << "\n";
  return 1;
}

namespace {

/// The options as LLVM's parser sees them.
struct CommandLine {
  cl::OptionCategory category{"moe-compile options"};
  cl::opt<std::string> input{cl::Positional, cl::desc("INPUT"), cl::init(""),
                             cl::cat(category)};
  cl::opt<std::string> output{"o", cl::desc("Output file"), cl::init(""),
                              cl::cat(category)};
  cl::opt<std::string> target{"target", cl::desc("host"), cl::init("host"),
                              cl::cat(category)};
  cl::opt<std::string> cpu{"mcpu", cl::desc("CPU"), cl::init("native"),
                           cl::cat(category)};
  cl::opt<char> optLevel{"O", cl::Prefix, cl::desc("Optimisation level"),
                         cl::init('2'), cl::cat(category)};
  cl::opt<std::string> activations{"activations",
                                   cl::desc("f32, exact, close or rounded"),
                                   cl::init("exact"), cl::cat(category)};
  cl::opt<std::string> emit{"emit", cl::desc("so, obj, llvm or mlir"),
                            cl::init(""), cl::cat(category)};
  cl::opt<std::string> from{"compile-from", cl::desc("First phase"),
                            cl::init(""), cl::cat(category)};
  cl::opt<std::string> to{"compile-to", cl::desc("Last phase"), cl::init(""),
                          cl::cat(category)};
  cl::opt<std::string> pipeline{"pass-pipeline", cl::desc("Passes to run"),
                                cl::init(""), cl::cat(category)};
  cl::opt<bool> raiseCheck{"moe-raise-check", cl::desc("Check raises"),
                           cl::cat(category)};
  cl::opt<std::string> dump{"dump-phases", cl::desc("Folder for the IR"),
                            cl::init(""), cl::cat(category)};
  cl::list<std::string> dims{"dim", cl::desc("NAME=N"), cl::cat(category)};
  cl::opt<std::string> weights{"weights", cl::desc("embed or a file"),
                               cl::init(""), cl::cat(category)};
  cl::opt<std::string> report{"report", cl::desc("Report file"), cl::init(""),
                              cl::cat(category)};
  cl::opt<bool> listOps{"list-ops", cl::desc("List operators"),
                        cl::cat(category)};
  cl::opt<bool> profile{"profile", cl::desc("Code that can be profiled"),
                        cl::cat(category)};
  cl::opt<bool> verbose{"v", cl::desc("Tell what happens"), cl::cat(category)};

  // Parts of the contract that this build cannot do: known by name, so that
  // the answer is a reason and not "unknown argument".
  cl::opt<std::string> sm{"sm", cl::Hidden, cl::cat(category)};
  cl::opt<std::string> preset{"moe-preset", cl::Hidden, cl::cat(category)};
  cl::opt<std::string> maxErr{"max-err", cl::Hidden, cl::cat(category)};
  cl::opt<std::string> budget{"expert-budget", cl::Hidden, cl::cat(category)};
  cl::opt<bool> requireDevice{"require-device", cl::Hidden, cl::cat(category)};
};

/// Makes LLVM forget our options: lld registers some of the same names, such as
/// mcpu, when it is first called.
void unregister(CommandLine &line) {
  // Positional arguments have no name to be found by.
  SmallVector<cl::Option *> ours = {&line.input};
  for (auto &entry : cl::getRegisteredOptions())
    if (is_contained(entry.second->Categories, &line.category))
      ours.push_back(entry.second);
  for (cl::Option *option : ours)
    option->removeArgument();
}

/// Why an option of the contract cannot be served; empty if none was given.
std::string findUnavailable(const CommandLine &line) {
  if (line.target != "host")
    return "target '" + line.target + "' is not available in this build; " +
           "expected host";
  if (line.emit == "ptx" || line.emit == "cubin")
    return "--emit=" + line.emit +
           " needs the target cuda, which is not "
           "available in this build";
  std::pair<const cl::Option *, const char *> options[] = {
      {&line.sm, "the target cuda"},
      {&line.requireDevice, "the target cuda"},
      {&line.preset, "passes on experts"},
      {&line.maxErr, "passes on experts"},
      {&line.budget, "streaming of experts"},
  };
  for (auto [option, needs] : options)
    if (option->getNumOccurrences())
      return ("--" + option->ArgStr + " needs " + needs +
              ", which this build does not have")
          .str();
  return "";
}

bool parseDim(StringRef text, Options &options, std::string &error) {
  auto [name, value] = text.split('=');
  int64_t extent;
  if (name.empty() || value.empty()) {
    error = "--dim " + text.str() + ": expected NAME=N, such as batch=1";
    return false;
  }
  if (value.contains("..")) {
    error = "--dim " + text.str() +
            ": ranges are not available in this build; code without --dim is "
            "right for all extents, NAME=N compiles for one";
    return false;
  }
  if (value.getAsInteger(10, extent) || extent < 0) {
    error = "--dim " + text.str() + ": '" + value.str() +
            "' is not an extent; expected a number from 0 on";
    return false;
  }
  for (auto &[known, old] : options.dims)
    if (known == name && old != extent) {
      error = "--dim " + text.str() + ": '" + name.str() + "' is already " +
              std::to_string(old);
      return false;
    }
  options.dims.push_back({name.str(), extent});
  return true;
}

/// Fills `options`; returns what is wrong, or nothing.
std::string convert(const CommandLine &line, Options &options) {
  if (std::string text = findUnavailable(line); !text.empty())
    return text;
  if (line.input.empty() && !line.listOps)
    return "no input; expected a model (.onnx, .mlir or .mlirbc); -h helps";
  options.input = line.input;
  options.cpu = line.cpu;
  options.passPipeline = line.pipeline;
  options.raiseCheck = line.raiseCheck;
  options.dumpFolder = line.dump;
  options.report = line.report;
  options.listOps = line.listOps;
  options.profile = line.profile;
  options.verbose = line.verbose || isatty(STDERR_FILENO);
  if (line.optLevel < '0' || line.optLevel > '3')
    return std::string("-O") + char(line.optLevel) + ": expected -O0 to -O3";
  options.optLevel = line.optLevel - '0';

  if (line.activations == "f32")
    options.activations = Activations::F32;
  else if (line.activations == "exact")
    options.activations = Activations::Exact;
  else if (line.activations == "close")
    options.activations = Activations::Close;
  else if (line.activations == "rounded")
    options.activations = Activations::Rounded;
  else
    return "--activations=" + line.activations +
           ": expected f32, exact, close or rounded";

  bool isOnnx = StringRef(options.input).ends_with(".onnx");
  options.from = isOnnx ? Phase::Import : Phase::Raise;
  for (auto [text, phase] : {std::pair{&line.from, &options.from},
                             std::pair{&line.to, &options.to}}) {
    if (text->empty())
      continue;
    std::optional<Phase> parsed = parsePhase(*text);
    if (!parsed)
      return "--" + text->ArgStr.str() + "=" + text->getValue() +
             ": expected import, raise, optimise, schedule, lower or target";
    *phase = *parsed;
  }
  if (isOnnx && options.from != Phase::Import)
    return "--compile-from=" + getPhaseName(options.from).str() +
           ": a model in ONNX starts at import; expected a .mlir file";
  if (!isOnnx && options.from == Phase::Import)
    return "--compile-from=import: expected an .onnx file, not " +
           options.input;
  if (options.from > options.to)
    return "phase " + getPhaseName(options.from).str() + " comes after " +
           getPhaseName(options.to).str();

  if (line.emit.empty())
    options.emit =
        options.to == Phase::Target ? Emit::SharedObject : Emit::MLIR;
  else if (line.emit == "so")
    options.emit = Emit::SharedObject;
  else if (line.emit == "obj")
    options.emit = Emit::Object;
  else if (line.emit == "llvm")
    options.emit = Emit::LLVMIR;
  else if (line.emit == "mlir")
    options.emit = Emit::MLIR;
  else
    return "--emit=" + line.emit + ": expected so, obj, llvm or mlir";
  if (options.emit == Emit::MLIR)
    options.to = std::min(options.to, Phase::Lower);
  else if (options.to != Phase::Target)
    return "--emit=" + line.emit + " needs the phase target, but " +
           "--compile-to=" + getPhaseName(options.to).str() + " ends before";

  bool isText = options.emit == Emit::MLIR || options.emit == Emit::LLVMIR;
  options.output = line.output;
  if (options.output.empty()) {
    if (!isText && !options.listOps)
      return "no output; expected -o MODEL.so";
    options.output = "-";
  }
  if (options.output == "-" && !isText && !options.listOps)
    return "-o -: an artifact cannot go to standard output; expected a file "
           "name";

  for (const std::string &text : line.dims)
    if (std::string error; !parseDim(text, options, error))
      return error;
  if (line.weights == "embed") {
    options.weights = Options::Weights::Embed;
  } else if (!line.weights.empty()) {
    if (!StringRef(line.weights).ends_with(".safetensors"))
      return "--weights=" + line.weights +
             ": expected embed or a file name that ends in .safetensors";
    options.weights = Options::Weights::File;
    options.weightsFile = line.weights;
  }
  if (!options.report.empty() && !StringRef(options.report).ends_with(".json"))
    return "--report=" + options.report +
           ": expected a file name that ends in .json";
  return "";
}

} // namespace

bool compile::parseOptions(int argc, char **argv, Options &options,
                           int &exitCode) {
  for (int i = 1; i < argc; ++i)
    if (StringRef(argv[i]) == "-h") {
      outs() << helpText;
      exitCode = 0;
      return false;
    } else if (StringRef(argv[i]).ltrim('-').split('=').first == "stats") {
      // LLVM has an option of this name, so it cannot be one of ours.
      exitCode = reportError("--stats needs passes on experts, which this "
                             "build does not have");
      return false;
    }
  CommandLine line;
  mlir::registerAsmPrinterCLOptions();
  mlir::registerMLIRContextCLOptions();
  mlir::registerPassManagerCLOptions();
  mlir::registerDefaultTimingManagerCLOptions();
  bool parsed =
      cl::ParseCommandLineOptions(argc, argv, "compiles models\n", &errs());
  unregister(line);
  if (!parsed) {
    exitCode = 1;
    return false;
  }
  if (std::string error = convert(line, options); !error.empty()) {
    exitCode = reportError(error);
    return false;
  }
  return true;
}
