//===- SourceModel.h - models that have to be compiled first --------------===//
#ifndef MOE_TOOLS_RUN_SOURCEMODEL_H
#define MOE_TOOLS_RUN_SOURCEMODEL_H

#include "runtime/Core/Status.h"
#include "tools/moe-run/Options.h"

#include <functional>
#include <string>

namespace moe::run {

/// Whether a model of this file name is source (.onnx, .mlir, .mlirbc) rather
/// than a compiled library (.so).
bool isSourceModel(const std::string &path);

/// Compiles `options.model` with the moe-compile beside this program into a
/// private temporary folder, calls `use` with the library's path, and removes
/// the folder, also if a signal ends the program meanwhile. `seconds` is the
/// time that the compiler took.
runtime::Status
compileAndUse(const Options &options, double &seconds,
              const std::function<runtime::Status(const std::string &)> &use);

} // namespace moe::run

#endif // MOE_TOOLS_RUN_SOURCEMODEL_H
