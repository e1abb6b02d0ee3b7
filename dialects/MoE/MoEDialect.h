//===- MoEDialect.h - the dialect of experts and routers --------*- C++ -*-===//
//
// Dialect, attributes and ops of `moe`. What they mean is in the .td files.
//
//===----------------------------------------------------------------------===//
#ifndef MOE_DIALECTS_MOE_MOEDIALECT_H
#define MOE_DIALECTS_MOE_MOEDIALECT_H

#include "mlir/Bytecode/BytecodeOpInterface.h"
#include "mlir/IR/Builders.h"
#include "mlir/IR/BuiltinAttributes.h"
#include "mlir/IR/BuiltinTypes.h"
#include "mlir/IR/Dialect.h"
#include "mlir/IR/DialectImplementation.h"
#include "mlir/IR/OpDefinition.h"
#include "mlir/IR/OpImplementation.h"
#include "mlir/IR/PatternMatch.h"
#include "mlir/Interfaces/ControlFlowInterfaces.h"
#include "mlir/Interfaces/SideEffectInterfaces.h"
#include "llvm/ADT/APFloat.h"

#include "dialects/MoE/MoEDialect.h.inc"
#include "dialects/MoE/MoEEnums.h.inc"

namespace moe::ir {

/// Real parameters of attributes: the shortest decimal that reads back as the
/// same f64, always with a point (`0.01`, `1.0e-20`).
void printReal(mlir::AsmPrinter &printer, const llvm::APFloat &value);
mlir::FailureOr<llvm::APFloat> parseReal(mlir::AsmParser &parser);

/// Lists of indices, in brackets: `[0, 2]`.
void printIndices(mlir::AsmPrinter &printer, llvm::ArrayRef<int64_t> values);
mlir::FailureOr<llvm::SmallVector<int64_t>>
parseIndices(mlir::AsmParser &parser);

} // namespace moe::ir

#define GET_ATTRDEF_CLASSES
#include "dialects/MoE/MoEAttrs.h.inc"

#define GET_OP_CLASSES
#include "dialects/MoE/MoEOps.h.inc"

#endif // MOE_DIALECTS_MOE_MOEDIALECT_H
