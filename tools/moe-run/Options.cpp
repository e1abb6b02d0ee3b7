//===- Options.cpp - the command line of moe-run --------------------------===//
//
// Every option is `--name VALUE` or `--name=VALUE`. Folders and files are only
// checked when they are used.
//
//===----------------------------------------------------------------------===//

#include "tools/moe-run/Options.h"

#include <charconv>
#include <cmath>
#include <cstdlib>

namespace moe::run {

using runtime::invalidArgument;
using runtime::quote;
using runtime::Status;

namespace {

template <typename T> bool parseInteger(const std::string &text, T &value) {
  const char *end = text.data() + text.size();
  auto [stop, failure] = std::from_chars(text.data(), end, value);
  return failure == std::errc() && stop == end;
}

Status needInteger(const std::string &name, const std::string &text,
                   int64_t low, int64_t high, int64_t &value) {
  if (parseInteger(text, value) && value >= low && value <= high)
    return {};
  return invalidArgument(name + " is " + quote(text) + ", a number from " +
                         std::to_string(low) + " to " + std::to_string(high) +
                         " is accepted");
}

Status needTolerance(const std::string &name, const std::string &text,
                     double &value) {
  char *end = nullptr;
  value = std::strtod(text.c_str(), &end);
  if (!text.empty() && *end == '\0' && std::isfinite(value) && value >= 0)
    return {};
  return invalidArgument(name + " is " + quote(text) +
                         ", a number such as 1e-4 is accepted, 0 or more");
}

/// Splits NAME=VALUE at the last '=': names of extents may hold one.
Status needPair(const std::string &name, const std::string &text,
                const char *form, std::pair<std::string, std::string> &pair) {
  size_t at = text.rfind('=');
  if (at == text.npos || at == 0 || at + 1 == text.size())
    return invalidArgument(name + " is " + quote(text) + ", " + form +
                           " is accepted");
  pair = {text.substr(0, at), text.substr(at + 1)};
  return {};
}

/// Applies an option that takes a value. `known` becomes false if there is none
/// of that name.
Status applyValue(const std::string &name, const std::string &value,
                  Options &options, bool &known) {
  int64_t number = 0;
  Status status;
  std::pair<std::string, std::string> pair;
  if (name == "--data") {
    options.dataFolder = value;
  } else if (name == "--input") {
    // A file name may hold a '=', an input's name hardly does.
    size_t at = value.find('=');
    if (at == value.npos || at == 0 || at + 1 == value.size())
      return invalidArgument("--input is " + quote(value) +
                             ", NAME=FILE.npy or NAME=FILE.pb is accepted");
    options.inputFiles.emplace_back(value.substr(0, at), value.substr(at + 1));
  } else if (name == "--output") {
    options.outputFolder = value;
  } else if (name == "--expect") {
    options.expectFolder = value;
  } else if (name == "--rtol") {
    status = needTolerance(name, value, options.tolerance.relative);
  } else if (name == "--atol") {
    status = needTolerance(name, value, options.tolerance.absolute);
  } else if (name == "--random") {
    status = needInteger(name, value, 0, INT64_MAX, number);
    options.seed = uint64_t(number);
  } else if (name == "--dim") {
    status = needPair(name, value, "NAME=N", pair);
    if (status.ok())
      status = needInteger(name + " " + pair.first, pair.second, 0, INT64_MAX,
                           number);
    options.dims.emplace_back(pair.first, number);
  } else if (name == "--bench") {
    status = needInteger(name, value, 1, 1000000, number);
    options.benchRuns = int32_t(number);
  } else if (name == "--threads") {
    status = needInteger(name, value, 0, 4096, number);
    options.threads = int32_t(number);
  } else if (name == "--cpu") {
    options.cpu = value;
  } else if (name == "--collect-stats") {
    options.statsFile = value;
  } else if (name == "--dump-values") {
    options.valuesFolder = value;
  } else {
    known = false;
  }
  return status;
}

bool applyFlag(const std::string &name, Options &options) {
  if (name == "-h" || name == "--help")
    options.help = true;
  else if (name == "--version")
    options.version = true;
  else if (name == "--profile")
    options.profile = true;
  else if (name == "--json")
    options.json = true;
  else
    return false;
  return true;
}

Status checkCombination(const Options &options) {
  if (options.help || options.version)
    return {};
  if (options.model.empty())
    return invalidArgument("no model given; moe-run -h tells how to use it");
  if (!options.statsFile.empty())
    return invalidArgument(
        "--collect-stats: compiled models of this version count nothing while "
        "they run; make the values of interest (such as a router's scores) "
        "outputs of the ONNX graph and write them with --output");
  if (!options.valuesFolder.empty())
    return invalidArgument(
        "--dump-values: compiled models of this version keep no intermediate "
        "values; make the values of interest outputs of the ONNX graph and "
        "write them with --output");
  return {};
}

} // namespace

Status parseOptions(const std::vector<std::string> &arguments,
                    Options &options) {
  bool onlyNames = false; // after "--"
  for (size_t i = 0; i < arguments.size(); ++i) {
    const std::string &argument = arguments[i];
    if (onlyNames || argument.size() < 2 || argument[0] != '-') {
      if (!options.model.empty())
        return invalidArgument("two models given, " + quote(options.model) +
                               " and " + quote(argument) + "; one is accepted");
      options.model = argument;
      continue;
    }
    if (argument == "--") {
      onlyNames = true;
      continue;
    }
    if (applyFlag(argument, options))
      continue;
    size_t equals = argument.find('=');
    std::string name = argument.substr(0, equals);
    bool hasValue = equals != argument.npos || i + 1 < arguments.size();
    std::string value;
    if (equals != argument.npos)
      value = argument.substr(equals + 1);
    else if (hasValue)
      value = arguments[i + 1];
    bool known = true;
    if (!hasValue) {
      // Is it an unknown option, or one whose value is missing?
      Options unused;
      (void)applyValue(name, "", unused, known);
      if (known)
        return invalidArgument(name + " needs a value");
    } else if (Status s = applyValue(name, value, options, known); !s.ok()) {
      return s;
    }
    if (!known)
      return invalidArgument("unknown option " + quote(name) +
                             "; moe-run -h lists all");
    if (value.empty())
      return invalidArgument(name + " needs a value");
    if (equals == argument.npos)
      ++i;
  }
  return checkCombination(options);
}

const char *helpText() {
  return R"(moe-run - run a compiled model

usage: moe-run MODEL [options]

MODEL is a library written by moe-compile (.so), or a model (.onnx, .mlir,
.mlirbc), which moe-run first compiles with the moe-compile that lies beside it.

  moe-run model.so --random 1 --dim batch=2 --dim seq=16
  moe-run model.onnx --data test_data_set_0 --expect test_data_set_0
  moe-run model.so --input x=x.npy --output results
  moe-run model.so --random 1 --dim seq=128 --bench 50 --threads 4

inputs
  --data DIR          take inputs from DIR/input_0.pb, input_1.pb, ...: ONNX's
                      own test layout. A file belongs to the input whose name
                      it holds, or else to the input at its position.
  --input NAME=FILE   take one input from a .npy or .pb file; wins over --data
  --random SEED       fill all other inputs with random values, the same ones
                      for the same seed: floats from -1 to 1, integers from 0
                      to 15, bools
  --dim NAME=N        extent of the inputs' dimension NAME for --random. For a
                      dimension without a name: INPUT:INDEX=N, such as x:0=4.
                      Without --random and with a model that is compiled
                      first: compile it for this extent (moe-compile --dim).

results
  --output DIR        write the outputs to DIR, as NAME.npy and as output_0.pb,
                      output_1.pb, ...; also the inputs as input_0.pb, ..., so
                      that DIR is a test folder for --data and --expect.
                      bfloat16 becomes float32 in .npy files.
  --expect DIR        compare the outputs with DIR/output_0.pb, ...; outputs
                      without a file are not compared
  --rtol R, --atol A  floats match if |got - expected| <= A + R * |expected|;
                      1e-4 and 1e-5 if not given. NaN matches NaN; integers
                      must be equal.

measuring
  --bench N           run N times after a warm-up, tell median and minimum
  --profile           time, FLOPs and bytes of each operation, of the only run
                      or with --bench of all (medians). A library must have
                      been compiled with moe-compile --profile.
  --threads N         threads to use; 0, the default: one per CPU. Results do
                      not depend on it.
  --json              print one JSON object to the standard output in place of
                      text, with the CPU of the code; with --bench it has
                      median_ms, min_ms, runs, threads
                      and bytes: peak_live_bytes (values of the model at once),
                      arena_bytes (memory that they lay in) and
                      peak_rss_anon_bytes (anonymous memory of the process)

not available in models of this version (moe-run says what to do)
  --collect-stats FILE, --dump-values DIR

other
  --cpu NAME          of a library for several CPUs, use the code for NAME, such
                      as x86-64-v3, and not for the most capable one that this
                      machine is; a model that is compiled first is compiled
                      for NAME (moe-compile --mcpu)
  -h, --help          this page
  --version           the version

exit status: 0 success; 1 a mistake of the user (files, names, shapes, data);
2 an internal error; 3 the model ran, but outputs differ from --expect
)";
}

} // namespace moe::run
