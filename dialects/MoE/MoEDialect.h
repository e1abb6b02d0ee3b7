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

namespace moe::ir {

/// The fields of `#moe.routing`, to be set one by one.
struct Routing {
  int64_t k = 1;
  llvm::SmallVector<int64_t> ranks;
  Score score = Score::Softmax;
  ScoreOn scoreOn = ScoreOn::All;
  Select select = Select::ByScore;
  GroupsAttr groups;
  Norm norm = Norm::None;
  double eps = 0, p = 1, scale = 1;
  bool kDiv = false;
  double softcap = 0, logitMult = 1, logitStd = 0, jitter = 0;
  double minRatio = 0, topP = 1, minProb = 0;
  llvm::SmallVector<int64_t> nullBeforeNorm;
  Tie tie = Tie::Lowest;

  Routing() = default;
  explicit Routing(RoutingAttr attr);

  /// The attribute; null where the fields contradict each other, which
  /// `emitError` tells.
  RoutingAttr
  getChecked(llvm::function_ref<mlir::InFlightDiagnostic()> emitError,
             mlir::MLIRContext *context) const;
  /// The attribute of fields that are known to fit together.
  RoutingAttr get(mlir::MLIRContext *context) const;
};

} // namespace moe::ir

#endif // MOE_DIALECTS_MOE_MOEDIALECT_H
