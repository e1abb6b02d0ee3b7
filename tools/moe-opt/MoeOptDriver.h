//===- MoeOptDriver.h - what moe-opt does -----------------------*- C++ -*-===//
#ifndef MOE_TOOLS_MOEOPT_MOEOPTDRIVER_H
#define MOE_TOOLS_MOEOPT_MOEOPTDRIVER_H

namespace mlir {
class DialectRegistry;
} // namespace mlir

namespace moe {

/// Runs moe-opt with the dialects in `registry` and all registered passes.
/// Returns the exit code: 0, or 1 after an error of the user's.
int runMoeOpt(int argc, char **argv, mlir::DialectRegistry &registry);

/// Makes a crash end the process with exit code 2 and a hint at reproducers.
void exitWithTwoOnCrash();

} // namespace moe

#endif // MOE_TOOLS_MOEOPT_MOEOPTDRIVER_H
