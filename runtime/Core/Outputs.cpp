//===- Outputs.cpp - tensors that runs hand out ---------------------------===//

#include "runtime/Core/Outputs.h"

#include <new>

namespace moe::runtime {

template <typename T>
std::unique_ptr<T> OutputPool::takeIdle(std::vector<std::unique_ptr<T>> &idle,
                                        size_t &made) {
  if (idle.empty()) {
    idle.reserve(made + 1);
    auto result = std::make_unique<T>();
    ++made;
    return result;
  }
  std::unique_ptr<T> result = std::move(idle.back());
  idle.pop_back();
  return result;
}

Output *OutputPool::make(const moe_value &value, void *data,
                         const int64_t *dims, RunMemory &run, Output *sharing) {
  std::lock_guard<std::mutex> lock(mutex);
  std::unique_ptr<Output> output = takeIdle(outputs, outputsMade);
  output->dims.assign(dims, dims + value.rank);
  output->memory = nullptr;
  if (sharing) {
    output->memory = sharing->memory;
  } else if (data) {
    std::unique_ptr<OutputBlock> block = takeIdle(blocks, blocksMade);
    block->block = run.take(data);
    if (!block->block)
      throw std::bad_alloc();
    output->memory = block.release();
  }
  if (output->memory)
    ++output->memory->users;

  DLTensor &tensor = output->managed.dl_tensor;
  tensor = {};
  tensor.data = output->memory ? output->memory->block.data : nullptr;
  tensor.device = {kDLCPU, 0};
  tensor.ndim = value.rank;
  tensor.dtype = moe_dtype_to_dlpack(value.dtype);
  tensor.shape = output->dims.data();
  output->managed.manager_ctx = output.get();
  output->managed.deleter = [](DLManagedTensor *tensor) {
    if (tensor)
      recycle(static_cast<Output *>(tensor->manager_ctx));
  };
  output->pool = shared_from_this();
  return output.release();
}

void OutputPool::recycle(Output *output) {
  // Ends last: it may be all that keeps the pool.
  std::shared_ptr<OutputPool> pool = std::move(output->pool);
  std::lock_guard<std::mutex> lock(pool->mutex);
  if (OutputBlock *block = output->memory; block && --block->users == 0) {
    pool->allocator.release(block->block);
    pool->blocks.emplace_back(block);
  }
  pool->outputs.emplace_back(output);
}

} // namespace moe::runtime
