//===- Outputs.h - tensors that runs hand out -----------------------------===//
#ifndef MOE_RUNTIME_CORE_OUTPUTS_H
#define MOE_RUNTIME_CORE_OUTPUTS_H

#include "moe-c/Runtime.h"
#include "runtime/Core/Allocator.h"

#include <memory>
#include <mutex>
#include <vector>

namespace moe::runtime {

class OutputPool;

/// A block of memory that outputs stand for. A model may return one block as
/// several outputs; the last of their tensors gives it back.
struct OutputBlock {
  Block block;
  int32_t users = 0;
};

/// A tensor of the caller, and what stands behind it.
struct Output {
  DLManagedTensor managed = {};
  std::vector<int64_t> dims;
  OutputBlock *memory = nullptr;
  /// Keeps the memory while the caller has the tensor.
  std::shared_ptr<OutputPool> pool;
};

/// The memory of a session, and the tensors that it has given out and got back,
/// which serve again. Thread-safe; outlives the session as long as there are
/// outputs.
class OutputPool : public std::enable_shared_from_this<OutputPool> {
public:
  ArenaAllocator allocator;

  /// An output of `value`, which the model put at `data`, with extents `dims`.
  /// Its block comes from `run`, or is that of `sharing`, another output at the
  /// same place; null data has none.
  Output *make(const moe_value &value, void *data, const int64_t *dims,
               RunMemory &run, Output *sharing);
  /// Takes back an output that the caller has done with.
  static void recycle(Output *output);

private:
  template <typename T>
  static std::unique_ptr<T> takeIdle(std::vector<std::unique_ptr<T>> &idle,
                                     size_t &made);

  std::mutex mutex;
  /// Not in use; there is room for all that were made.
  std::vector<std::unique_ptr<Output>> outputs;
  std::vector<std::unique_ptr<OutputBlock>> blocks;
  size_t outputsMade = 0, blocksMade = 0;
};

} // namespace moe::runtime

#endif // MOE_RUNTIME_CORE_OUTPUTS_H
