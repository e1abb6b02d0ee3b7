//===- Driver.h - what moe-compile does -------------------------*- C++ -*-===//
#ifndef MOE_TOOLS_MOECOMPILE_DRIVER_H
#define MOE_TOOLS_MOECOMPILE_DRIVER_H

namespace mlir {
class DialectRegistry;
} // namespace mlir

namespace moe::compile {

/// Parses the command line and compiles. Returns the exit code: 0 fine, 1 an
/// error of the user's, 2 an internal one.
int runMoeCompile(int argc, char **argv, mlir::DialectRegistry &registry);

} // namespace moe::compile

#endif // MOE_TOOLS_MOECOMPILE_DRIVER_H
