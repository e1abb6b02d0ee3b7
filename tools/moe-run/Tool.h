//===- Tool.h - one call of moe-run ---------------------------------------===//
#ifndef MOE_TOOLS_RUN_TOOL_H
#define MOE_TOOLS_RUN_TOOL_H

#include "runtime/Core/Status.h"
#include "tools/moe-run/Options.h"

namespace moe::run {

/// Does what the options say and prints the result to the standard output.
/// `matches` becomes false if --expect differs.
runtime::Status runTool(const Options &options, bool &matches);

} // namespace moe::run

#endif // MOE_TOOLS_RUN_TOOL_H
