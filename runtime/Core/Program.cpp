//===- Program.cpp - a loaded model ---------------------------------------===//
//
// The version is checked before anything else of the table is read, since a
// table of another version may have another layout. The rest of the checks
// keep a damaged or foreign library from being followed into nowhere; they do
// not make it safe to load a library of an enemy, which runs code at load.
//
//===----------------------------------------------------------------------===//

#include "runtime/Core/Program.h"

#include "runtime/Core/CpuFeatures.h"
#include "runtime/Core/DType.h"

#include <cerrno>
#include <climits>
#include <cstdlib>
#include <cstring>
#include <dlfcn.h>
#include <set>

namespace moe::runtime {
namespace {

/// DLPack counts dimensions in an int; no operator of ONNX gets near this.
constexpr int32_t kMaxRank = 64;

/// A chain of more tables is damaged, or ends nowhere.
constexpr int kMaxTables = 64;

/// Environment variable with the CPU whose table is to be used.
constexpr const char *kCpuVariable = "MOE_CPU";

Status checkValues(const std::string &where, const char *what, int32_t count,
                   const moe_value *values) {
  if (count < 0 || (count > 0 && !values))
    return ioError(where + ": the table of " + what + "s is damaged");
  std::set<std::string> names;
  for (int32_t i = 0; i < count; ++i) {
    const moe_value &value = values[i];
    if (!value.name)
      return ioError(where + ": " + what + " " + std::to_string(i) +
                     " has no name");
    std::string which = where + ": " + what + " " + quote(value.name);
    if (!names.insert(value.name).second)
      return ioError(which + " occurs twice");
    if (moe_dtype_size(value.dtype) == 0)
      return unsupported(which + " has element type number " +
                         std::to_string(value.dtype) +
                         ", which this runtime does not know");
    if (value.rank < 0 || value.rank > kMaxRank ||
        (value.rank > 0 && !value.dims))
      return ioError(which + " has rank " + std::to_string(value.rank) +
                     ", 0 to " + std::to_string(kMaxRank) + " are possible");
    for (int32_t d = 0; d < value.rank; ++d)
      if (value.dims[d].extent < -1)
        return ioError(which + " has extent " +
                       std::to_string(value.dims[d].extent));
  }
  return {};
}

/// What has to be true before anything else of a table is read.
Status checkVersion(const moe_model *model) {
  std::string own = std::to_string(MOE_ABI_VERSION);
  if (!model)
    return unsupported("it does not support version " + own +
                       " of the model interface; compile it again");
  if (model->abi_version != MOE_ABI_VERSION)
    return unsupported("it has version " + std::to_string(model->abi_version) +
                       " of the model interface, this runtime has version " +
                       own + "; compile it again");
  if (model->struct_size < sizeof(moe_model))
    return ioError("the model's table has " +
                   std::to_string(model->struct_size) + " bytes, " +
                   std::to_string(sizeof(moe_model)) + " are needed");
  return {};
}

/// Of the tables that begin with `first`, the one for the CPU `wanted`, or for
/// null the first one that this machine can run.
Status chooseTable(const moe_model *first, const char *wanted,
                   const moe_model *&chosen) {
  std::string all, missing;
  int count = 0;
  for (const moe_model *table = first; table; table = table->next) {
    if (Status status = checkVersion(table); !status.ok())
      return status;
    if (!table->cpu || ++count > kMaxTables)
      return ioError("the model's table is damaged: a CPU is missing, or there "
                     "are more than " +
                     std::to_string(kMaxTables));
    bool excluded = wanted && std::strcmp(table->cpu, wanted) != 0;
    std::string why = excluded ? "" : findMissingFeatures(table->cpu_features);
    if (!excluded && why.empty()) {
      chosen = table;
      return {};
    }
    all += (all.empty() ? "" : ", ") + quote(table->cpu);
    if (!excluded)
      missing +=
          (missing.empty() ? "" : "; for ") + quote(table->cpu) + " " + why;
  }
  std::string compiled = "the model was compiled for the CPU";
  compiled += (count > 1 ? "s " : " ") + all;
  if (missing.empty())
    return {MOE_INVALID_ARGUMENT, std::string(kCpuVariable) + " is " +
                                      quote(wanted) + ", but " + compiled};
  return unsupported(compiled + "; for " + missing +
                     "; compile it with --mcpu=native on this machine or with "
                     "--mcpu=x86-64-v3");
}

Status checkTable(const moe_model &model) {
  if (!model.name || !model.producer || !model.target)
    return ioError("the model's table is damaged: name, producer or target "
                   "is missing");
  if (std::strcmp(model.target, "host") != 0)
    return unsupported("the model was compiled for the target " +
                       quote(model.target) +
                       ", this runtime has the target 'host'");
  if (model.num_functions < 1 || !model.functions || model.num_weights < 0 ||
      (model.num_weights > 0 && !model.weights) || model.num_metadata < 0 ||
      (model.num_metadata > 0 && !model.metadata))
    return ioError("the model's table is damaged: functions, weights or "
                   "metadata are missing");
  for (int32_t i = 0; i < model.num_metadata; ++i)
    if (!model.metadata[i].key || !model.metadata[i].value)
      return ioError("the model's table is damaged: metadata entry " +
                     std::to_string(i) + " is null");
  for (int32_t i = 0; i < model.num_weights; ++i)
    if (!model.weights[i].name)
      return ioError("the model's table is damaged: weight section " +
                     std::to_string(i) + " has no name");
  for (int32_t i = 0; i < model.num_functions; ++i) {
    const moe_function &function = model.functions[i];
    if (!function.name || !function.run || function.num_ops < 0 ||
        (function.num_ops > 0 && !function.ops))
      return ioError("the model's table is damaged: function " +
                     std::to_string(i));
    std::string where = "function " + quote(function.name);
    if (Status s =
            checkValues(where, "input", function.num_inputs, function.inputs);
        !s.ok())
      return s;
    if (Status s = checkValues(where, "output", function.num_outputs,
                               function.outputs);
        !s.ok())
      return s;
  }
  return {};
}

} // namespace

Program::~Program() {
  if (library)
    dlclose(library);
}

Status Program::load(const std::string &path,
                     std::shared_ptr<const Program> &result) {
  // An absolute path: dlopen looks up a bare name in library folders.
  struct Free {
    void operator()(char *text) const { std::free(text); }
  };
  std::unique_ptr<char, Free> absolute(realpath(path.c_str(), nullptr));
  if (!absolute)
    return ioError("cannot open model " + quote(path) + ": " +
                   std::strerror(errno));
  std::shared_ptr<Program> program(new Program);
  program->library = dlopen(absolute.get(), RTLD_NOW | RTLD_LOCAL);
  if (!program->library) {
    const char *why = dlerror();
    return ioError("cannot load model " + quote(path) + ": " +
                   (why ? why : "unknown error"));
  }
  auto query = reinterpret_cast<moe_model_query_fn>(
      dlsym(program->library, MOE_MODEL_QUERY_NAME));
  if (!query)
    return ioError(quote(path) + " is not a compiled model: it has no "
                                 "symbol " MOE_MODEL_QUERY_NAME);
  std::string folder(absolute.get());
  folder.resize(folder.rfind('/'));
  if (folder.empty())
    folder = "/.";
  Status status = program->adopt(query(MOE_ABI_VERSION), folder);
  if (!status.ok())
    return {status.code, "model " + quote(path) + ": " + status.message};
  result = std::move(program);
  return {};
}

Status Program::fromModel(const moe_model *model, const std::string &folder,
                          std::shared_ptr<const Program> &result) {
  std::shared_ptr<Program> program(new Program);
  if (Status status = program->adopt(model, folder); !status.ok())
    return status;
  result = std::move(program);
  return {};
}

Status Program::adopt(const moe_model *model, const std::string &folder) {
  if (Status status = checkVersion(model); !status.ok())
    return status;
  const char *wanted = std::getenv(kCpuVariable);
  if (wanted && !*wanted)
    wanted = nullptr;
  if (Status status = chooseTable(model, wanted, table); !status.ok())
    return status;
  if (Status status = checkTable(*table); !status.ok())
    return status;
  return sections.open(*table, folder);
}

const moe_function *Program::function(const char *name) const {
  for (int32_t i = 0; i < table->num_functions; ++i)
    if (!name || std::strcmp(table->functions[i].name, name) == 0)
      return &table->functions[i];
  return nullptr;
}

} // namespace moe::runtime
