//===- HostFunctions.cpp - environment in, status out ---------------------===//
//
// Gives functions the form in which they can fail: a status code before their
// results. Callers test it, so an error travels up to the entry.
//
//===----------------------------------------------------------------------===//
#include "dialects/Rt/RtDialect.h"
#include "passes/Lower/Host/MicroKernels.h"
#include "passes/Lower/Host/Passes.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/IR/BuiltinOps.h"

namespace moe {
#define GEN_PASS_DEF_HOSTFUNCTIONSPASS
#include "passes/Lower/Host/Passes.h.inc"
} // namespace moe

using namespace mlir;

namespace {

struct HostFunctionsPass : moe::impl::HostFunctionsPassBase<HostFunctionsPass> {
  using HostFunctionsPassBase::HostFunctionsPassBase;

  void rewriteCall(func::CallOp call) {
    OpBuilder builder(call);
    Location loc = call.getLoc();
    auto pointer = LLVM::LLVMPointerType::get(&getContext());
    SmallVector<Value> operands = {
        moe::rt::EnvOp::create(builder, loc, pointer)};
    llvm::append_range(operands, call.getOperands());
    SmallVector<Type> results = {builder.getI32Type()};
    llvm::append_range(results, call.getResultTypes());
    auto lowered = func::CallOp::create(builder, loc, call.getCallee(),
                                        results, operands);
    moe::rt::StatusOp::create(builder, loc, lowered.getResult(0));
    call.replaceAllUsesWith(lowered.getResults().drop_front());
    call.erase();
  }

  void runOnOperation() override {
    MLIRContext *context = &getContext();
    Builder types(context);
    auto pointer = LLVM::LLVMPointerType::get(context);

    SymbolTable symbols(getOperation());
    SmallVector<func::CallOp> calls;
    getOperation().walk([&](func::CallOp call) {
      Operation *callee = symbols.lookup(call.getCallee());
      if (!callee || !callee->hasAttr(moe::kernelAttr))
        calls.push_back(call);
    });
    llvm::for_each(calls, [this](func::CallOp call) { rewriteCall(call); });

    for (auto function : getOperation().getOps<func::FuncOp>()) {
      if (function.isExternal() || function->hasAttr(moe::kernelAttr))
        continue;
      if (failed(function.insertArgument(0, pointer, {}, function.getLoc())) ||
          failed(function.insertResult(0, types.getI32Type(), {})))
        return signalPassFailure();
      function->setAttr("llvm.linkage",
                        LLVM::LinkageAttr::get(context,
                                               LLVM::Linkage::Internal));
      function.walk([&](func::ReturnOp op) {
        OpBuilder builder(op);
        Value ok = arith::ConstantIntOp::create(builder, op.getLoc(), 0, 32);
        op->insertOperands(0, ok);
      });
    }
  }
};

} // namespace
