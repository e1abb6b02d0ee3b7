//===- Signature.cpp - checks of inputs and outputs -----------------------===//

#include "runtime/Core/Signature.h"

#include "runtime/Core/DType.h"

#include <algorithm>
#include <cstring>

namespace moe::runtime {
namespace {

constexpr int32_t kMaxListed = 16;

int32_t findInput(const moe_function &function, const char *name) {
  for (int32_t i = 0; i < function.num_inputs; ++i)
    if (std::strcmp(function.inputs[i].name, name) == 0)
      return i;
  return -1;
}

/// "dimension 1 ('seq')", or without the symbol.
std::string describeDim(int32_t dim, const char *symbol) {
  std::string text = "dimension " + std::to_string(dim);
  return symbol && *symbol ? text + " (" + quote(symbol) + ")" : text;
}

/// "[2, seq, 64]": the shape that a value may have.
std::string describeShape(const moe_value &value) {
  std::string text = "[";
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

std::string describeShape(const DLTensor &tensor) {
  std::string text = "[";
  for (int d = 0; d < tensor.ndim; ++d)
    text += (d ? ", " : "") + std::to_string(tensor.shape[d]);
  return text + "]";
}

/// Row-major without gaps. Strides of extents of 1 are never used, and a
/// tensor without elements uses none.
bool isContiguous(const DLTensor &tensor, int64_t bytes) {
  if (!tensor.strides || bytes == 0)
    return true;
  int64_t expected = 1;
  for (int d = tensor.ndim; d-- > 0;) {
    if (tensor.shape[d] != 1 && tensor.strides[d] != expected)
      return false;
    expected *= tensor.shape[d]; // fits: the byte size has been computed
  }
  return true;
}

/// Code reads a bool as one bit, so that other bytes would be undefined.
Status checkBools(const char *name, const uint8_t *data, int64_t size) {
  const uint8_t *bad =
      std::find_if(data, data + size, [](uint8_t byte) { return byte > 1; });
  if (bad == data + size)
    return {};
  return {MOE_OUT_OF_RANGE, "input " + quote(name) + ": element " +
                                std::to_string(bad - data) + " is " +
                                std::to_string(*bad) + ", a bool is 0 or 1"};
}

Status checkInput(const moe_value &value, const DLManagedTensor *managed,
                  SymbolTable &symbols, moe_buffer &buffer) {
  auto which = [&] { return "input " + quote(value.name); };
  if (!managed)
    return invalidArgument(which() + ": the tensor is null");
  const DLTensor &tensor = managed->dl_tensor;
  if (!matches(tensor.dtype, value.dtype))
    return invalidArgument(which() + ": element type " +
                           toString(tensor.dtype) + " given, " +
                           moe_dtype_name(value.dtype) + " expected");
  if (tensor.device.device_type != kDLCPU)
    return invalidArgument(which() + ": DLPack device " +
                           std::to_string(tensor.device.device_type) +
                           " given, the CPU (1) is accepted");
  if (tensor.ndim < 0 || (tensor.ndim > 0 && !tensor.shape))
    return invalidArgument(which() + ": the tensor has no valid shape");
  if (tensor.ndim != value.rank)
    return invalidArgument(which() + ": rank " + std::to_string(tensor.ndim) +
                           " given with shape " + describeShape(tensor) +
                           ", rank " + std::to_string(value.rank) +
                           " expected with shape " + describeShape(value));
  for (int32_t d = 0; d < value.rank; ++d) {
    int64_t extent = tensor.shape[d];
    const moe_dim &dim = value.dims[d];
    if (extent < 0)
      return invalidArgument(which() + ": " + describeDim(d, dim.symbol) +
                             " is " + std::to_string(extent) +
                             ", 0 or more is accepted");
    if (dim.extent >= 0 && dim.extent != extent)
      return shapeMismatch(
          which() + ": " + describeDim(d, dim.symbol) + " is " +
          std::to_string(extent) + ", the model was compiled for " +
          std::to_string(dim.extent) + "; shape " + describeShape(tensor) +
          " given, " + describeShape(value) + " expected");
    if (Status s = symbols.bind(dim.symbol, extent, "input", value.name, d);
        !s.ok())
      return s;
  }
  std::optional<int64_t> bytes =
      byteSize(value.dtype, tensor.shape, tensor.ndim);
  if (!bytes)
    return invalidArgument(which() + ": shape " + describeShape(tensor) +
                           " has more bytes than 64 bits can count");
  if (!isContiguous(tensor, *bytes))
    return invalidArgument(which() + ": the tensor is strided; a row-major one "
                                     "without gaps is accepted");
  auto *data = static_cast<char *>(tensor.data);
  if (*bytes > 0) {
    if (!data)
      return invalidArgument(which() + ": the data pointer is null, " +
                             std::to_string(*bytes) + " bytes expected");
    data += tensor.byte_offset;
    int32_t width = moe_dtype_size(value.dtype);
    if (reinterpret_cast<uintptr_t>(data) % width != 0)
      return invalidArgument(which() +
                             ": the data address is not a multiple of " +
                             std::to_string(width) + ", the element's size");
    if (value.dtype == MOE_DTYPE_BOOL)
      if (Status s =
              checkBools(value.name, reinterpret_cast<uint8_t *>(data), *bytes);
          !s.ok())
        return s;
  }
  buffer = {data, tensor.shape};
  return {};
}

} // namespace

std::string listNames(const moe_value *values, int32_t count) {
  if (count == 0)
    return "none";
  std::string text;
  for (int32_t i = 0; i < std::min(count, kMaxListed); ++i)
    text += (i ? ", " : "") + quote(values[i].name);
  if (count > kMaxListed)
    text += " and " + std::to_string(count - kMaxListed) + " more";
  return text;
}

Status SymbolTable::bind(const char *symbol, int64_t extent, const char *what,
                         const char *value, int32_t dim) {
  if (!symbol || !*symbol)
    return {};
  for (const Binding &binding : bindings) {
    if (binding.symbol != symbol)
      continue;
    if (binding.extent == extent)
      return {};
    return shapeMismatch(std::string(what) + " " + quote(value) + ": " +
                         describeDim(dim, symbol) + " is " +
                         std::to_string(extent) + ", but " + binding.what +
                         " " + quote(std::string(binding.value)) + " has " +
                         std::to_string(binding.extent) +
                         " for it; equal names are equal extents");
  }
  bindings.push_back({symbol, extent, value, what});
  return {};
}

Status bindInputs(const moe_function &function, int32_t numInputs,
                  const char *const *names, DLManagedTensor *const *inputs,
                  SymbolTable &symbols, InputBuffers &result) {
  auto accepted = [&] {
    return listNames(function.inputs, function.num_inputs);
  };
  if (numInputs < 0 || (numInputs > 0 && !inputs))
    return invalidArgument("the inputs are null or their number is negative");
  if (!names && numInputs != function.num_inputs)
    return invalidArgument(std::to_string(numInputs) + " inputs given, " +
                           std::to_string(function.num_inputs) +
                           " expected: " + accepted());

  static const DLManagedTensor missing = {};
  std::vector<const DLManagedTensor *> &ordered = result.tensors;
  ordered.assign(size_t(function.num_inputs), &missing);
  for (int32_t i = 0; i < numInputs; ++i) {
    if (names && !names[i])
      return invalidArgument("the name of input " + std::to_string(i) +
                             " is null");
    int32_t index = names ? findInput(function, names[i]) : i;
    if (index < 0)
      return invalidArgument("the model has no input " + quote(names[i]) +
                             "; its inputs: " + accepted());
    if (ordered[index] != &missing)
      return invalidArgument("input " + quote(names[i]) + " is given twice");
    ordered[index] = inputs[i];
  }
  for (int32_t i = 0; i < function.num_inputs; ++i)
    if (ordered[i] == &missing)
      return invalidArgument("input " + quote(function.inputs[i].name) +
                             " is missing; the model's inputs: " + accepted());

  result.buffers.resize(size_t(function.num_inputs));
  for (int32_t i = 0; i < function.num_inputs; ++i)
    if (Status s = checkInput(function.inputs[i], ordered[i], symbols,
                              result.buffers[i]);
        !s.ok())
      return s;
  return {};
}

Status checkOutputDims(const moe_function &function, int32_t index,
                       const int64_t *dims, SymbolTable &symbols) {
  const moe_value &value = function.outputs[index];
  auto which = [&] { return "output " + quote(value.name); };
  for (int32_t d = 0; d < value.rank; ++d) {
    const moe_dim &dim = value.dims[d];
    bool fits = dims[d] >= 0 && (dim.extent < 0 || dim.extent == dims[d]);
    if (!fits)
      return internalError("the model returned " + which() + " with " +
                           describeDim(d, dim.symbol) + " " +
                           std::to_string(dims[d]) + ", its signature says " +
                           describeShape(value));
    if (Status s = symbols.bind(dim.symbol, dims[d], "output", value.name, d);
        !s.ok())
      return internalError("the model contradicts its signature: " + s.message);
  }
  return {};
}

} // namespace moe::runtime
