//===- Inputs.cpp - where the inputs of a run come from -------------------===//
//
// First the files of --data, then those of --input, then random values for the
// rest. Extents that random inputs need come from the signature, from --dim, or
// from inputs given by file that have the same named dimension.
//
//===----------------------------------------------------------------------===//

#include "tools/moe-run/Inputs.h"

#include "runtime/Core/DType.h"
#include "runtime/Core/Signature.h"
#include "tools/moe-run/Npy.h"
#include "tools/moe-run/TensorProto.h"

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstring>
#include <dirent.h>
#include <map>
#include <memory>

namespace moe::run {
namespace {

struct CloseFolder {
  void operator()(DIR *folder) const { closedir(folder); }
};

/// The N of all files "`prefix`_N.pb", sorted.
Status listFiles(const std::string &what, const std::string &folder,
                 const std::string &prefix, std::vector<int32_t> &numbers) {
  std::unique_ptr<DIR, CloseFolder> entries(opendir(folder.c_str()));
  if (!entries)
    return ioError(what + ": cannot open folder " + quote(folder) + ": " +
                   std::strerror(errno));
  while (const dirent *entry = readdir(entries.get())) {
    std::string_view name = entry->d_name;
    if (name.substr(0, prefix.size()) != prefix ||
        name.size() < prefix.size() + 4 ||
        name.substr(name.size() - 3) != ".pb")
      continue;
    const char *end = name.data() + name.size() - 3;
    int32_t number;
    auto [stop, failure] =
        std::from_chars(name.data() + prefix.size(), end, number);
    if (failure == std::errc() && stop == end && number >= 0)
      numbers.push_back(number);
  }
  std::sort(numbers.begin(), numbers.end());
  return {};
}

int32_t findValue(const moe_value *values, int32_t count,
                  const std::string &name) {
  for (int32_t i = 0; i < count; ++i)
    if (name == values[i].name)
      return i;
  return -1;
}

bool hasSuffix(const std::string &text, std::string_view suffix) {
  return text.size() >= suffix.size() &&
         std::string_view(text).substr(text.size() - suffix.size()) == suffix;
}

/// "'x' float32[batch, 4]": an input as its signature says.
std::string describeValue(const moe_value &value) {
  std::string text = quote(value.name) + " " + moe_dtype_name(value.dtype);
  text += '[';
  for (int32_t d = 0; d < value.rank; ++d) {
    const moe_dim &dim = value.dims[d];
    text += d ? ", " : "";
    if (dim.extent >= 0)
      text += std::to_string(dim.extent);
    else
      text += dim.symbol && *dim.symbol ? dim.symbol : "?";
  }
  return text + "]";
}

/// The next number of the splitmix64 sequence.
uint64_t nextRandom(uint64_t &state) {
  state += 0x9e3779b97f4a7c15;
  uint64_t z = state;
  z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
  z = (z ^ z >> 27) * 0x94d049bb133111eb;
  return z ^ z >> 31;
}

template <typename T, typename Make> void fill(Tensor &tensor, Make make) {
  int64_t count = tensor.count();
  for (int64_t i = 0; i < count; ++i) {
    T value = make();
    std::memcpy(&tensor.data[i * sizeof(T)], &value, sizeof(T));
  }
}

/// Extents by name: from --dim and from the inputs given by file.
class Extents {
public:
  explicit Extents(const Options &options) {
    for (const auto &[name, extent] : options.dims)
      byName[name] = extent;
  }

  void learn(const moe_value &value, const Tensor &tensor) {
    if (tensor.dims.size() != size_t(value.rank))
      return; // the runtime will say so
    for (int32_t d = 0; d < value.rank; ++d)
      if (const char *symbol = value.dims[d].symbol; symbol && *symbol)
        byName.emplace(symbol, tensor.dims[d]);
  }

  /// False if it is not known; `needed` is then the name to give to --dim.
  bool find(const moe_value &value, int32_t d, int64_t &extent,
            std::string &needed) const {
    const moe_dim &dim = value.dims[d];
    if (dim.extent >= 0) {
      extent = dim.extent;
      return true;
    }
    std::string position = std::string(value.name) + ":" + std::to_string(d);
    needed = dim.symbol && *dim.symbol ? dim.symbol : position;
    auto found = byName.find(needed);
    if (found == byName.end())
      found = byName.find(position);
    if (found == byName.end())
      return false;
    extent = found->second;
    return true;
  }

private:
  std::map<std::string, int64_t> byName;
};

/// Every --dim must mean something, or a typing error would go unseen.
Status checkDimNames(const moe_function &function, const Options &options) {
  std::string known;
  std::vector<std::string> names;
  for (int32_t i = 0; i < function.num_inputs; ++i) {
    const moe_value &value = function.inputs[i];
    for (int32_t d = 0; d < value.rank; ++d) {
      names.push_back(std::string(value.name) + ":" + std::to_string(d));
      const char *symbol = value.dims[d].symbol;
      if (!symbol || !*symbol ||
          std::find(names.begin(), names.end(), symbol) != names.end())
        continue;
      names.push_back(symbol);
      known += (known.empty() ? "" : ", ") + quote(symbol);
    }
  }
  for (const auto &[name, extent] : options.dims)
    if (std::find(names.begin(), names.end(), name) == names.end())
      return invalidArgument(
          "--dim: the model's inputs have no dimension " + quote(name) +
          "; named ones: " + (known.empty() ? "none" : known));
  return {};
}

Status makeRandom(const moe_value &value, const Extents &extents, uint64_t seed,
                  Tensor &tensor) {
  tensor.name = value.name;
  tensor.dtype = value.dtype;
  tensor.dims.resize(value.rank);
  for (int32_t d = 0; d < value.rank; ++d) {
    std::string needed;
    if (!extents.find(value, d, tensor.dims[d], needed))
      return invalidArgument(
          "--random: the extent of dimension " + std::to_string(d) +
          " of input " + describeValue(value) + " is not known; give --dim " +
          quote(needed + "=N"));
  }
  std::optional<int64_t> size = runtime::byteSize(
      tensor.dtype, tensor.dims.data(), int32_t(tensor.dims.size()));
  if (!size)
    return invalidArgument("--dim: input " + quote(value.name) + " as " +
                           describe(tensor.dtype, tensor.dims) +
                           " has more bytes than 64 bits can count");
  tensor.data.resize(*size);
  fillRandom(seed, tensor);
  return {};
}

} // namespace

void fillRandom(uint64_t seed, Tensor &tensor) {
  uint64_t state = seed;
  // 24 bits: exact in a float.
  auto unit = [&] {
    return float(int64_t(nextRandom(state) >> 40) - (int64_t(1) << 23)) /
           float(1 << 23);
  };
  auto small = [&] { return nextRandom(state) >> 60; };
  switch (tensor.dtype) {
  case MOE_DTYPE_FLOAT32:
    return fill<float>(tensor, unit);
  case MOE_DTYPE_FLOAT64:
    return fill<double>(tensor, unit);
  case MOE_DTYPE_FLOAT16:
    return fill<uint16_t>(tensor, [&] { return floatToHalf(unit()); });
  case MOE_DTYPE_BFLOAT16:
    return fill<uint16_t>(tensor, [&] { return floatToBfloat(unit()); });
  case MOE_DTYPE_BOOL:
    return fill<uint8_t>(tensor, [&] { return nextRandom(state) >> 63; });
  default:
    break;
  }
  switch (moe_dtype_size(tensor.dtype)) {
  case 1:
    return fill<uint8_t>(tensor, small);
  case 2:
    return fill<uint16_t>(tensor, small);
  case 4:
    return fill<uint32_t>(tensor, small);
  default:
    return fill<uint64_t>(tensor, small);
  }
}

Status readFolder(const std::string &what, const std::string &folder,
                  const char *prefix, const moe_value *values, int32_t count,
                  std::vector<std::optional<Tensor>> &tensors) {
  std::vector<int32_t> numbers;
  std::string stem = std::string(prefix) + "_";
  if (Status s = listFiles(what, folder, stem, numbers); !s.ok())
    return s;
  tensors.assign(count, std::nullopt);
  for (int32_t number : numbers) {
    std::string path = folder + "/" + stem + std::to_string(number) + ".pb";
    Tensor tensor;
    if (Status s = readTensorProto(path, tensor); !s.ok())
      return {s.code, what + ": " + s.message};
    int32_t index = findValue(values, count, tensor.name);
    if (index < 0)
      index = number;
    if (index >= count)
      return invalidArgument(what + ": " + quote(path) + " holds " +
                             quote(tensor.name) + ", the model has " +
                             std::to_string(count) + " " + prefix +
                             "s: " + runtime::listNames(values, count));
    if (tensors[index])
      return invalidArgument(what + ": two files of " + quote(folder) +
                             " are for " + prefix + " " +
                             quote(values[index].name));
    tensors[index] = std::move(tensor);
  }
  return {};
}

Status gatherInputs(const moe_function &function, const Options &options,
                    std::vector<Tensor> &inputs) {
  int32_t count = function.num_inputs;
  std::vector<std::optional<Tensor>> found(count);
  if (!options.dataFolder.empty())
    if (Status s = readFolder("--data", options.dataFolder, "input",
                              function.inputs, count, found);
        !s.ok())
      return s;
  for (const auto &[name, path] : options.inputFiles) {
    int32_t index = findValue(function.inputs, count, name);
    if (index < 0)
      return invalidArgument(
          "--input: the model has no input " + quote(name) +
          "; its inputs: " + runtime::listNames(function.inputs, count));
    Tensor tensor;
    Status status;
    if (hasSuffix(path, ".npy"))
      status = readNpy(path, tensor);
    else if (hasSuffix(path, ".pb"))
      status = readTensorProto(path, tensor);
    else
      status =
          invalidArgument(quote(path) + " is neither a .npy nor a .pb file");
    if (!status.ok())
      return {status.code, "--input " + name + ": " + status.message};
    found[index] = std::move(tensor);
  }

  if (options.seed)
    if (Status s = checkDimNames(function, options); !s.ok())
      return s;
  Extents extents(options);
  std::string missing;
  for (int32_t i = 0; i < count; ++i) {
    if (found[i])
      extents.learn(function.inputs[i], *found[i]);
    else
      missing +=
          (missing.empty() ? "" : ", ") + describeValue(function.inputs[i]);
  }
  if (!missing.empty() && !options.seed)
    return invalidArgument("no values for " + missing +
                           "; give --data DIR, --input NAME=FILE or "
                           "--random SEED");
  inputs.clear();
  for (int32_t i = 0; i < count; ++i) {
    if (!found[i]) {
      found[i].emplace();
      // A stream of its own for each input of a run.
      uint64_t state = *options.seed + (uint64_t(i) << 32);
      uint64_t seed = nextRandom(state);
      if (Status s = makeRandom(function.inputs[i], extents, seed, *found[i]);
          !s.ok())
        return s;
    }
    inputs.push_back(std::move(*found[i]));
  }
  return {};
}

} // namespace moe::run
