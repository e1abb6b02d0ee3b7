//===- Activation.h - names of activations ----------------------*- C++ -*-===//
//
// The activation of `moe.experts` is a region, which says exactly what is
// computed. For people it has a name: the region is evaluated at some points
// and compared with the functions that have one, however it is written.
//
//===----------------------------------------------------------------------===//
#ifndef MOE_LIB_ANALYSIS_ACTIVATION_H
#define MOE_LIB_ANALYSIS_ACTIVATION_H

#include "mlir/IR/Region.h"
#include <optional>
#include <string>

namespace moe {

/// The value of an activation for its arguments, computed in f64. None if it
/// holds an operator that is not known here.
std::optional<double> evaluateActivation(mlir::Region &activation,
                                         llvm::ArrayRef<double> arguments);

/// `silu`, `gelu_tanh`, `swiglu(alpha=1.702, beta=1, limit=7)`; "custom" for
/// what has no name. Equality is tested at points, so a name is for showing: it
/// is no proof.
std::string getActivationName(mlir::Region &activation);

} // namespace moe

#endif // MOE_LIB_ANALYSIS_ACTIVATION_H
