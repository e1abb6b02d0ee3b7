//===- OutlineParallel.cpp - outline the bodies of parallel loops ---------===//
//
// Works on the LLVM dialect, so what a body captures is plain values. They are
// stored into a struct on the caller's stack, all loops of a function sharing
// one slot: the call returns only when all tasks are done. Constants and
// addresses of globals are cloned into the body.
//
//===----------------------------------------------------------------------===//
#include "dialects/Rt/RtDialect.h"
#include "passes/Lower/Host/Passes.h"
#include "passes/Lower/Host/RunEnv.h"

#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/IR/BuiltinOps.h"
#include "mlir/IR/IRMapping.h"
#include "mlir/IR/SymbolTable.h"
#include "mlir/Transforms/RegionUtils.h"

namespace moe {
#define GEN_PASS_DEF_OUTLINEPARALLELPASS
#include "passes/Lower/Host/Passes.h.inc"
} // namespace moe

using namespace mlir;
using namespace moe;

namespace {

struct OutlineParallelPass
    : moe::impl::OutlineParallelPassBase<OutlineParallelPass> {
  using OutlineParallelPassBase::OutlineParallelPassBase;

  /// Replaces `rt.env` and `rt.fail` in `function`.
  LogicalResult resolve(LLVM::LLVMFuncOp function) {
    LogicalResult result = success();
    function.walk([&](Operation *op) {
      OpBuilder builder(op);
      if (auto env = dyn_cast<rt::EnvOp>(op)) {
        env.replaceAllUsesWith(function.getArgument(0));
        env.erase();
      } else if (auto fail = dyn_cast<rt::FailOp>(op)) {
        Type type = function.getFunctionType().getReturnType();
        Value value = fail.getCode();
        if (auto packed = dyn_cast<LLVM::LLVMStructType>(type)) {
          value = LLVM::PoisonOp::create(builder, op->getLoc(), packed);
          value = LLVM::InsertValueOp::create(builder, op->getLoc(), value,
                                              fail.getCode(),
                                              ArrayRef<int64_t>{0});
        } else if (!type.isInteger(32)) {
          op->emitOpError("is in a function without a status code");
          result = failure();
        }
        LLVM::ReturnOp::create(builder, op->getLoc(), value);
        fail.erase();
      }
    });
    return result;
  }

  /// Moves the body of `op` into a function. Returns the type of its closure
  /// and leaves a call whose closure is `slot`.
  LLVM::LLVMStructType outline(rt::ParallelForOp op, StringRef name,
                               Value slot) {
    MLIRContext *context = op.getContext();
    Location loc = op.getLoc();
    auto pointer = LLVM::LLVMPointerType::get(context);
    auto none = LLVM::LLVMVoidType::get(context);
    auto i64 = IntegerType::get(context, 64);
    Region &body = op.getBody();

    SetVector<Value> used;
    getUsedValuesDefinedAbove(body, used);
    SmallVector<Value> captured;
    SmallVector<Operation *> cloned;
    SmallVector<Type> types;
    for (Value value : used) {
      Operation *def = value.getDefiningOp();
      if (isa_and_present<LLVM::ConstantOp, LLVM::ZeroOp, LLVM::PoisonOp,
                          LLVM::UndefOp, LLVM::AddressOfOp>(def)) {
        cloned.push_back(def);
      } else {
        captured.push_back(value);
        types.push_back(value.getType());
      }
    }
    auto closure = LLVM::LLVMStructType::getLiteral(context, types);

    OpBuilder builder(context);
    builder.setInsertionPointAfter(op->getParentOfType<LLVM::LLVMFuncOp>());
    auto function = LLVM::LLVMFuncOp::create(
        builder, loc, name,
        LLVM::LLVMFunctionType::get(none, {i64, i64, pointer}),
        LLVM::Linkage::Internal);
    Block *entry = function.addEntryBlock(builder);
    builder.setInsertionPointToStart(entry);
    IRMapping map;
    for (Operation *def : cloned)
      builder.clone(*def, map);
    auto address = [&](OpBuilder &at, Value base, int32_t field) -> Value {
      return LLVM::GEPOp::create(at, loc, pointer, closure, base,
                                 ArrayRef<LLVM::GEPArg>{0, field});
    };
    for (auto [field, value] : llvm::enumerate(captured))
      map.map(value,
              LLVM::LoadOp::create(
                  builder, loc, value.getType(),
                  address(builder, entry->getArgument(2), field)));
    body.cloneInto(&function.getBody(), map);
    LLVM::BrOp::create(builder, loc,
                       ValueRange{entry->getArgument(0),
                                  entry->getArgument(1)},
                       map.lookup(&body.front()));
    function.walk([](rt::YieldOp yield) {
      OpBuilder at(yield);
      LLVM::ReturnOp::create(at, yield.getLoc(), ValueRange{});
      yield.erase();
    });

    builder.setInsertionPoint(op);
    for (auto [field, value] : llvm::enumerate(captured))
      LLVM::StoreOp::create(builder, loc, value,
                            address(builder, slot, field));
    Value callee = LLVM::AddressOfOp::create(builder, loc, pointer, name);
    Value env = rt::EnvOp::create(builder, loc, pointer);
    callEnv(builder, loc, env, EnvField::ParallelFor, none,
            {op.getCount(), callee, slot});
    op.erase();
    return closure;
  }

  void outlineAll(LLVM::LLVMFuncOp function, SymbolTable &symbols) {
    SmallVector<rt::ParallelForOp> loops;
    function.walk([&](rt::ParallelForOp op) { loops.push_back(op); });
    if (loops.empty())
      return;

    // The slot's size is known once all closures are.
    OpBuilder builder(function.getContext());
    Location loc = function.getLoc();
    builder.setInsertionPointToStart(&function.getBody().front());
    auto pointer = LLVM::LLVMPointerType::get(function.getContext());
    auto i64 = builder.getI64Type();
    Value one = LLVM::ConstantOp::create(builder, loc, i64,
                                         builder.getI64IntegerAttr(1));
    auto slot = LLVM::AllocaOp::create(builder, loc, pointer,
                                       builder.getI8Type(), one,
                                       /*alignment=*/64);
    DataLayout layout(function->getParentOfType<ModuleOp>());
    uint64_t size = 1;
    unsigned number = 0;
    for (rt::ParallelForOp op : loops) {
      std::string name;
      do
        name = (function.getName() + ".task." + Twine(number++)).str();
      while (symbols.lookup(name));
      LLVM::LLVMStructType closure = outline(op, name, slot);
      size = std::max<uint64_t>(size, layout.getTypeSize(closure));
    }
    slot.setElemType(LLVM::LLVMArrayType::get(builder.getI8Type(), size));
  }

  void runOnOperation() override {
    SymbolTable symbols(getOperation());
    SmallVector<LLVM::LLVMFuncOp> functions(
        getOperation().getOps<LLVM::LLVMFuncOp>());
    for (LLVM::LLVMFuncOp function : functions) {
      if (function.isExternal())
        continue;
      outlineAll(function, symbols);
      if (failed(resolve(function)))
        return signalPassFailure();
    }
  }
};

} // namespace
