//===- TensorProto.h - ONNX tensors in files (.pb) ------------------------===//
#ifndef MOE_TOOLS_RUN_TENSORPROTO_H
#define MOE_TOOLS_RUN_TENSORPROTO_H

#include "tools/moe-run/Files.h"
#include "tools/moe-run/Tensor.h"

namespace moe::run {

/// Parses a serialised TensorProto. The data may be in raw_data or in one of
/// the typed fields; it is checked against type and shape.
Status parseTensorProto(std::string_view bytes, Tensor &tensor);

/// The serialised form up to the data, which follow as they are in memory
/// (raw_data is the last field).
std::string tensorProtoHead(const std::string &name, const TensorView &tensor);

Status readTensorProto(const std::string &path, Tensor &tensor);
Status writeTensorProto(const std::string &path, const std::string &name,
                        const TensorView &tensor);

} // namespace moe::run

#endif // MOE_TOOLS_RUN_TENSORPROTO_H
