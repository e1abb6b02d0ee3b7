//===- HostRaiseCheck.h - checks of raises on this machine ------*- C++ -*-===//
#ifndef MOE_LIB_CHECK_HOSTRAISECHECK_H
#define MOE_LIB_CHECK_HOSTRAISECHECK_H

namespace mlir {
class DialectRegistry;
} // namespace mlir

namespace moe {

/// Contexts of this registry check each raise: both sides are compiled for this
/// machine by the host pipeline and run (passes/Raise/RaiseCheck.h). Inputs are
/// pseudo-random and the same each time. Costs about a second for each raise.
void registerHostRaiseCheck(mlir::DialectRegistry &registry);

} // namespace moe

#endif // MOE_LIB_CHECK_HOSTRAISECHECK_H
