//===- Npy.h - numpy's array files (.npy) ---------------------------------===//
#ifndef MOE_TOOLS_RUN_NPY_H
#define MOE_TOOLS_RUN_NPY_H

#include "tools/moe-run/Files.h"
#include "tools/moe-run/Tensor.h"

namespace moe::run {

/// Parses a file of format 1, 2 or 3: little-endian numbers and bools, in C or
/// Fortran order. Numpy has no bfloat16; two bytes of kind 'V', which is how
/// its extensions store one, are taken for it.
Status parseNpy(std::string_view bytes, Tensor &tensor);

/// The header of a file for `tensor`, after which its elements follow.
/// bfloat16 cannot be written.
std::string npyHead(const TensorView &tensor);

Status readNpy(const std::string &path, Tensor &tensor);
/// bfloat16 is written as float32, which holds every value of it.
Status writeNpy(const std::string &path, const TensorView &tensor);

} // namespace moe::run

#endif // MOE_TOOLS_RUN_NPY_H
