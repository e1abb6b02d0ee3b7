//===- RunEnv.h - layout of moe_run_env in lowered code ---------*- C++ -*-===//
//
// Mirrors include/moe-c/ModelABI.h for the passes that emit accesses to it.
//
//===----------------------------------------------------------------------===//
#ifndef MOE_PASSES_LOWER_HOST_RUNENV_H
#define MOE_PASSES_LOWER_HOST_RUNENV_H

#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/IR/Builders.h"

namespace moe {

/// Positions of fields in moe_run_env.
enum class EnvField : int32_t {
  Weights = 2,
  ParallelFor = 4,
  Alloc = 5,
  Free = 6,
  Fail = 7,
  Profile = 10,
};

/// Loads a pointer from the environment `env`.
inline mlir::Value loadEnvField(mlir::OpBuilder &builder, mlir::Location loc,
                                mlir::Value env, EnvField field) {
  using namespace mlir;
  MLIRContext *context = builder.getContext();
  auto pointer = LLVM::LLVMPointerType::get(context);
  auto i32 = builder.getI32Type();
  SmallVector<Type> fields = {i32, i32};
  fields.append(9, pointer);
  auto type = LLVM::LLVMStructType::getLiteral(context, fields);
  Value address = LLVM::GEPOp::create(
      builder, loc, pointer, type, env,
      ArrayRef<LLVM::GEPArg>{0, static_cast<int32_t>(field)});
  return LLVM::LoadOp::create(builder, loc, pointer, address);
}

/// Calls a function pointer of the environment.
inline mlir::LLVM::CallOp callEnv(mlir::OpBuilder &builder, mlir::Location loc,
                                  mlir::Value env, EnvField field,
                                  mlir::Type result,
                                  mlir::ValueRange arguments) {
  using namespace mlir;
  Value callee = loadEnvField(builder, loc, env, field);
  SmallVector<Value> operands = {callee, env};
  llvm::append_range(operands, arguments);
  SmallVector<Type> types = {env.getType()};
  llvm::append_range(types, arguments.getTypes());
  return LLVM::CallOp::create(builder, loc,
                              LLVM::LLVMFunctionType::get(result, types),
                              operands);
}

} // namespace moe

#endif // MOE_PASSES_LOWER_HOST_RUNENV_H
