//===- Weights.h - the constants of a model -------------------------------===//
//
// A section of constants is either part of the model's image or lies in a
// safetensors file beside it. Of such a file this reader expects
//   - a tensor of the section's name, dtype U8, shape [size of the section],
//     that begins at a multiple of min(alignment of the section, 4096);
//   - if the model's metadata has the key "weights_hash": the same value under
//     "weights_hash" in the file's "__metadata__". It ties a file to the model
//     it was written for: two compilations of one graph may lay out the bytes
//     differently.
//
//===----------------------------------------------------------------------===//
#ifndef MOE_RUNTIME_CORE_WEIGHTS_H
#define MOE_RUNTIME_CORE_WEIGHTS_H

#include "runtime/Core/Status.h"

#include <cstddef>
#include <vector>

namespace moe::runtime {

/// Key of the model's metadata and of the weight file's.
inline constexpr const char *kWeightsHashKey = "weights_hash";

/// The weight sections of one model, ready for use.
class Weights {
public:
  Weights() = default;
  ~Weights();
  Weights(const Weights &) = delete;
  Weights &operator=(const Weights &) = delete;

  /// Maps what lies in files of `folder` and advises the system about what is
  /// embedded. `folder` is empty if the model has no folder.
  Status open(const moe_model &model, const std::string &folder);

  /// Base addresses in the order of the model's table.
  const void *const *bases() const { return addresses.data(); }

private:
  struct Mapping {
    void *data;
    size_t size;
  };

  Status openFile(const moe_model &model, const moe_weights &section,
                  const std::string &path);

  std::vector<const void *> addresses;
  std::vector<Mapping> mappings;
};

} // namespace moe::runtime

#endif // MOE_RUNTIME_CORE_WEIGHTS_H
