//===- LayoutWeights.h - constants of modules with one artifact -*- C++ -*-===//
#ifndef MOE_PASSES_LOWER_HOST_LAYOUTWEIGHTS_H
#define MOE_PASSES_LOWER_HOST_LAYOUTWEIGHTS_H

#include "mlir/IR/BuiltinOps.h"
#include "mlir/Support/LLVM.h"
#include "llvm/ADT/ArrayRef.h"
#include <string>

namespace moe {

/// Places the constants of modules that go into one artifact. Each set of
/// modules that have constants which no other module has gets a section for
/// them: "weights" for that of all modules, else "weights." and the `names`,
/// joined by "+". A module numbers the sections that it uses, and its attribute
/// `rt.weights` lists them. Fails, with an error, where a call does not say
/// what the parameters of its callee stand for.
llvm::LogicalResult layoutWeights(llvm::ArrayRef<mlir::ModuleOp> modules,
                                  llvm::ArrayRef<std::string> names);

} // namespace moe

#endif // MOE_PASSES_LOWER_HOST_LAYOUTWEIGHTS_H
