//===- RtDialect.h - what compiled code gets from the runtime ---*- C++ -*-===//
//
// Constants, checks and parallel loops of lowered code, and the interface
// through which the back end reads the bytes of constants.
//
//===----------------------------------------------------------------------===//
#ifndef MOE_DIALECTS_RT_RTDIALECT_H
#define MOE_DIALECTS_RT_RTDIALECT_H

#include "mlir/Bytecode/BytecodeOpInterface.h"
#include "mlir/Dialect/LLVMIR/LLVMTypes.h"
#include "mlir/IR/Builders.h"
#include "mlir/IR/BuiltinAttributeInterfaces.h"
#include "mlir/IR/BuiltinAttributes.h"
#include "mlir/IR/BuiltinTypes.h"
#include "mlir/IR/Diagnostics.h"
#include "mlir/IR/Dialect.h"
#include "mlir/IR/DialectImplementation.h"
#include "mlir/IR/OpDefinition.h"
#include "mlir/IR/OpImplementation.h"
#include "mlir/IR/PatternMatch.h"
#include "mlir/Interfaces/ControlFlowInterfaces.h"
#include "mlir/Interfaces/SideEffectInterfaces.h"

namespace moe {
namespace rt {

/// What checks write to: keeps them alive and in order.
struct CheckResource : mlir::SideEffects::Resource::Base<CheckResource> {
  llvm::StringRef getName() override { return "rt.check"; }
};

/// What profile points write to.
struct ProfileResource : mlir::SideEffects::Resource::Base<ProfileResource> {
  llvm::StringRef getName() override { return "rt.profile"; }
};

/// Names of discardable attributes.
inline constexpr llvm::StringLiteral nameAttr = "rt.name";
inline constexpr llvm::StringLiteral dtypeAttr = "rt.dtype";
inline constexpr llvm::StringLiteral dimsAttr = "rt.dims";
/// Of a module: the operations of a profile, dictionaries of `name`, `kind`.
inline constexpr llvm::StringLiteral profileOpsAttr = "rt.profile_ops";
/// Of calls: what the callee's `#rt.parameter`s stand for.
inline constexpr llvm::StringLiteral argumentsAttr = "rt.arguments";

} // namespace rt
} // namespace moe

#include "dialects/Rt/RtDialect.h.inc"
#include "dialects/Rt/RtEnums.h.inc"
#include "dialects/Rt/RtInterfaces.h"

#define GET_ATTRDEF_CLASSES
#include "dialects/Rt/RtAttrs.h.inc"

#define GET_OP_CLASSES
#include "dialects/Rt/RtOps.h.inc"

namespace moe {
namespace rt {

/// Bytes that one element of `type` takes in memory, 0 for types without a
/// size.
uint64_t getElementBytes(mlir::Type type);

/// Bytes of `value` as `forEachChunk` delivers them.
uint64_t getByteSize(mlir::ElementsAttr value);

/// Hands the bytes of a dense, resource or `BytesAttrInterface` attribute to
/// `consume`, in order. Errors: see BytesAttrInterface::forEachChunk.
llvm::LogicalResult forEachChunk(
    mlir::ElementsAttr value,
    llvm::function_ref<llvm::LogicalResult(llvm::ArrayRef<char>)> consume,
    llvm::function_ref<mlir::InFlightDiagnostic()> emitError);

} // namespace rt
} // namespace moe

#endif // MOE_DIALECTS_RT_RTDIALECT_H
