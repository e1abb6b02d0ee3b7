//===- HostToLLVM.cpp - bufferised code to the LLVM dialect ---------------===//
//
// MLIR's conversions do most of it. Ours add what goes through the environment
// of a run. A check or an allocation that fails leaves through a block with
// `rt.fail`: only after all functions have their final type is it known what
// such a block returns.
//
//===----------------------------------------------------------------------===//
#include "dialects/Rt/RtDialect.h"
#include "passes/Lower/Host/Passes.h"
#include "passes/Lower/Host/RunEnv.h"

#include "mlir/Analysis/DataLayoutAnalysis.h"
#include "mlir/Conversion/ArithToLLVM/ArithToLLVM.h"
#include "mlir/Conversion/ControlFlowToLLVM/ControlFlowToLLVM.h"
#include "mlir/Conversion/FuncToLLVM/ConvertFuncToLLVM.h"
#include "mlir/Conversion/IndexToLLVM/IndexToLLVM.h"
#include "mlir/Conversion/LLVMCommon/ConversionTarget.h"
#include "mlir/Conversion/LLVMCommon/Pattern.h"
#include "mlir/Conversion/LLVMCommon/TypeConverter.h"
#include "mlir/Conversion/MathToLLVM/MathToLLVM.h"
#include "mlir/Conversion/MathToLibm/MathToLibm.h"
#include "mlir/Conversion/MemRefToLLVM/MemRefToLLVM.h"
#include "mlir/Conversion/UBToLLVM/UBToLLVM.h"
#include "mlir/Conversion/VectorToLLVM/ConvertVectorToLLVM.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/IR/BuiltinOps.h"

namespace moe {
#define GEN_PASS_DEF_HOSTTOLLVMPASS
#include "passes/Lower/Host/Passes.h.inc"
} // namespace moe

using namespace mlir;
using namespace moe;

namespace {

constexpr int32_t outOfMemory = 4; // MOE_OUT_OF_MEMORY
constexpr int64_t bufferAlignment = 64;
constexpr StringLiteral failFunction = "moe.fail";

/// Declares `void moe.fail(env, code, message)`, which calls the environment's
/// `fail`: one copy of the call for all failing paths.
void emitFailFunction(ModuleOp module) {
  MLIRContext *context = module.getContext();
  OpBuilder builder(module.getBodyRegion());
  Location loc = module.getLoc();
  auto pointer = LLVM::LLVMPointerType::get(context);
  auto none = LLVM::LLVMVoidType::get(context);
  auto type = LLVM::LLVMFunctionType::get(
      none, {pointer, builder.getI32Type(), pointer});
  auto function = LLVM::LLVMFuncOp::create(builder, loc, failFunction, type,
                                           LLVM::Linkage::Internal);
  function.setPassthroughAttr(builder.getArrayAttr(
      {builder.getStringAttr("cold"), builder.getStringAttr("noinline")}));
  Block *entry = function.addEntryBlock(builder);
  builder.setInsertionPointToStart(entry);
  callEnv(builder, loc, entry->getArgument(0), EnvField::Fail, none,
          {entry->getArgument(1), entry->getArgument(2)});
  LLVM::ReturnOp::create(builder, loc, ValueRange{});
}

/// Constant strings of the module, each once.
class Messages {
public:
  explicit Messages(ModuleOp module) : module(module) {}

  Value get(OpBuilder &builder, Location loc, StringRef text) {
    std::string &name = names[text];
    if (name.empty()) {
      name = "moe.message." + std::to_string(names.size() - 1);
      OpBuilder::InsertionGuard guard(builder);
      builder.setInsertionPointToStart(module.getBody());
      std::string bytes = text.str() + '\0';
      auto type = LLVM::LLVMArrayType::get(builder.getI8Type(), bytes.size());
      LLVM::GlobalOp::create(builder, module.getLoc(), type,
                             /*isConstant=*/true, LLVM::Linkage::Internal,
                             name, builder.getStringAttr(bytes));
    }
    return LLVM::AddressOfOp::create(
        builder, loc, LLVM::LLVMPointerType::get(builder.getContext()), name);
  }

private:
  ModuleOp module;
  llvm::StringMap<std::string> names;
};

Value getEnv(OpBuilder &builder, Location loc) {
  return rt::EnvOp::create(builder, loc,
                           LLVM::LLVMPointerType::get(builder.getContext()));
}

Value constantI64(OpBuilder &builder, Location loc, int64_t value) {
  return LLVM::ConstantOp::create(builder, loc, builder.getI64Type(),
                                  builder.getI64IntegerAttr(value));
}

/// Splits the block at `op`: the run goes on behind it if `ok` holds, and else
/// fails. With a message the reason is recorded here.
void branchOrFail(ConversionPatternRewriter &rewriter, Operation *op, Value ok,
                  function_ref<Value(OpBuilder &)> getCode, Value message) {
  Location loc = op->getLoc();
  OpBuilder::InsertionGuard guard(rewriter);
  Block *block = rewriter.getInsertionBlock();
  Block *rest = rewriter.splitBlock(block, rewriter.getInsertionPoint());
  Block *failing = rewriter.createBlock(rest->getParent());
  Value code = getCode(rewriter);
  if (message)
    LLVM::CallOp::create(rewriter, loc, TypeRange{}, failFunction,
                         ValueRange{getEnv(rewriter, loc), code, message});
  rt::FailOp::create(rewriter, loc, code);
  rewriter.setInsertionPointToEnd(block);
  LLVM::CondBrOp::create(rewriter, loc, ok, rest, ValueRange{}, failing,
                         ValueRange{},
                         std::pair<uint32_t, uint32_t>(1u << 20, 1u));
}

struct CheckLowering : ConvertOpToLLVMPattern<rt::CheckOp> {
  CheckLowering(const LLVMTypeConverter &converter, Messages &messages)
      : ConvertOpToLLVMPattern(converter), messages(messages) {}

  LogicalResult
  matchAndRewrite(rt::CheckOp op, OpAdaptor adaptor,
                  ConversionPatternRewriter &rewriter) const override {
    Value message = messages.get(rewriter, op.getLoc(), op.getMessage());
    branchOrFail(
        rewriter, op, adaptor.getCondition(),
        [&](OpBuilder &builder) -> Value {
          return LLVM::ConstantOp::create(builder, op.getLoc(),
                                          builder.getI32Type(),
                                          op.getCodeAttr());
        },
        message);
    rewriter.eraseOp(op);
    return success();
  }

  Messages &messages;
};

struct StatusLowering : ConvertOpToLLVMPattern<rt::StatusOp> {
  using ConvertOpToLLVMPattern::ConvertOpToLLVMPattern;

  LogicalResult
  matchAndRewrite(rt::StatusOp op, OpAdaptor adaptor,
                  ConversionPatternRewriter &rewriter) const override {
    Value zero = LLVM::ConstantOp::create(rewriter, op.getLoc(),
                                          rewriter.getI32Type(),
                                          rewriter.getI32IntegerAttr(0));
    Value ok = LLVM::ICmpOp::create(rewriter, op.getLoc(),
                                    LLVM::ICmpPredicate::eq,
                                    adaptor.getCode(), zero);
    branchOrFail(
        rewriter, op, ok, [&](OpBuilder &) { return adaptor.getCode(); },
        Value());
    rewriter.eraseOp(op);
    return success();
  }
};

/// The buffer of `type` that lies `offset` bytes behind the start of a section.
Value addressWeight(ConversionPatternRewriter &rewriter, Location loc,
                    const LLVMTypeConverter &converter, MemRefType type,
                    LLVM::GEPArg section, Value offset) {
  auto pointer = LLVM::LLVMPointerType::get(rewriter.getContext());
  Value table =
      loadEnvField(rewriter, loc, getEnv(rewriter, loc), EnvField::Weights);
  Value slot = LLVM::GEPOp::create(rewriter, loc, pointer, pointer, table,
                                   ArrayRef<LLVM::GEPArg>{section});
  Value base = LLVM::LoadOp::create(rewriter, loc, pointer, slot);
  Value data = LLVM::GEPOp::create(rewriter, loc, pointer, rewriter.getI8Type(),
                                   base, ValueRange{offset});
  return MemRefDescriptor::fromStaticShape(rewriter, loc, converter, type,
                                           data);
}

struct WeightLowering : ConvertOpToLLVMPattern<rt::WeightOp> {
  using ConvertOpToLLVMPattern::ConvertOpToLLVMPattern;

  LogicalResult
  matchAndRewrite(rt::WeightOp op, OpAdaptor adaptor,
                  ConversionPatternRewriter &rewriter) const override {
    Value offset = constantI64(rewriter, op.getLoc(), op.getOffset());
    rewriter.replaceOp(
        op, addressWeight(rewriter, op.getLoc(), *getTypeConverter(),
                          cast<MemRefType>(op.getType()),
                          static_cast<int32_t>(op.getSection()), offset));
    return success();
  }
};

struct WeightAtLowering : ConvertOpToLLVMPattern<rt::WeightAtOp> {
  using ConvertOpToLLVMPattern::ConvertOpToLLVMPattern;

  LogicalResult
  matchAndRewrite(rt::WeightAtOp op, OpAdaptor adaptor,
                  ConversionPatternRewriter &rewriter) const override {
    rewriter.replaceOp(
        op, addressWeight(rewriter, op.getLoc(), *getTypeConverter(),
                          cast<MemRefType>(op.getType()), adaptor.getSection(),
                          adaptor.getOffset()));
    return success();
  }
};

struct AllocLowering : ConvertOpToLLVMPattern<memref::AllocOp> {
  AllocLowering(const LLVMTypeConverter &converter, Messages &messages)
      : ConvertOpToLLVMPattern(converter, /*benefit=*/2), messages(messages) {}

  LogicalResult
  matchAndRewrite(memref::AllocOp op, OpAdaptor adaptor,
                  ConversionPatternRewriter &rewriter) const override {
    Location loc = op.getLoc();
    MemRefType type = op.getType();
    uint64_t width = rt::getElementBytes(type.getElementType());
    if (!type.getLayout().isIdentity() || !width)
      return rewriter.notifyMatchFailure(op, "layout or element type");

    SmallVector<Value> sizes, strides;
    Value unused;
    getMemRefDescriptorSizes(loc, type, adaptor.getDynamicSizes(), rewriter,
                             sizes, strides, unused, /*sizeInBytes=*/false);

    // Bytes, at least one, and whether the product left the range of i64.
    int64_t known = width;
    bool tooLarge = false;
    for (int64_t extent : type.getShape())
      if (!ShapedType::isDynamic(extent))
        tooLarge |= llvm::MulOverflow(known, extent, known);
    if (tooLarge)
      return op.emitError() << "a buffer of type " << type
                            << " is larger than the address space";
    Value bytes = constantI64(rewriter, loc, known);
    Value ok;
    auto require = [&](Value condition) {
      ok = ok ? LLVM::AndOp::create(rewriter, loc, ok, condition) : condition;
    };
    auto pairType = LLVM::LLVMStructType::getLiteral(
        getContext(), {rewriter.getI64Type(), rewriter.getI1Type()});
    Value zero = constantI64(rewriter, loc, 0);
    for (auto [size, extent] : llvm::zip(sizes, type.getShape())) {
      if (!ShapedType::isDynamic(extent))
        continue;
      Value product = LLVM::SMulWithOverflowOp::create(rewriter, loc, pairType,
                                                       bytes, size);
      bytes = LLVM::ExtractValueOp::create(rewriter, loc, product, 0);
      Value overflow = LLVM::ExtractValueOp::create(rewriter, loc, product, 1);
      Value fits = LLVM::XOrOp::create(
          rewriter, loc, overflow,
          LLVM::ConstantOp::create(rewriter, loc, rewriter.getI1Type(),
                                   rewriter.getBoolAttr(true)));
      require(fits);
      require(LLVM::ICmpOp::create(rewriter, loc, LLVM::ICmpPredicate::sge,
                                   size, zero));
    }
    bytes = LLVM::SMaxOp::create(rewriter, loc, bytes,
                                 constantI64(rewriter, loc, 1));

    auto getCode = [&](OpBuilder &builder) -> Value {
      return LLVM::ConstantOp::create(builder, loc, builder.getI32Type(),
                                      builder.getI32IntegerAttr(outOfMemory));
    };
    Value message = messages.get(rewriter, loc,
                                 "out of memory: an intermediate value does "
                                 "not fit");
    if (ok)
      branchOrFail(rewriter, op, ok, getCode, message);
    rewriter.setInsertionPoint(op);
    auto pointer = LLVM::LLVMPointerType::get(getContext());
    int64_t alignment = std::max<int64_t>(
        bufferAlignment, op.getAlignment().value_or(bufferAlignment));
    Value data = callEnv(rewriter, loc, getEnv(rewriter, loc), EnvField::Alloc,
                         pointer,
                         {bytes, constantI64(rewriter, loc, alignment)})
                     .getResult();
    Value null = LLVM::ZeroOp::create(rewriter, loc, pointer);
    Value got = LLVM::ICmpOp::create(rewriter, loc, LLVM::ICmpPredicate::ne,
                                     data, null);
    branchOrFail(rewriter, op, got, getCode, message);
    rewriter.setInsertionPoint(op);
    rewriter.replaceOp(op, Value(createMemRefDescriptor(
                               loc, type, data, data, sizes, strides,
                               rewriter)));
    return success();
  }

  Messages &messages;
};

struct DeallocLowering : ConvertOpToLLVMPattern<memref::DeallocOp> {
  explicit DeallocLowering(const LLVMTypeConverter &converter)
      : ConvertOpToLLVMPattern(converter, /*benefit=*/2) {}

  LogicalResult
  matchAndRewrite(memref::DeallocOp op, OpAdaptor adaptor,
                  ConversionPatternRewriter &rewriter) const override {
    Location loc = op.getLoc();
    Value data =
        MemRefDescriptor(adaptor.getMemref()).allocatedPtr(rewriter, loc);
    callEnv(rewriter, loc, getEnv(rewriter, loc), EnvField::Free,
            LLVM::LLVMVoidType::get(getContext()), {data});
    rewriter.eraseOp(op);
    return success();
  }
};

struct ProfilingLowering : ConvertOpToLLVMPattern<rt::ProfilingOp> {
  using ConvertOpToLLVMPattern::ConvertOpToLLVMPattern;

  LogicalResult
  matchAndRewrite(rt::ProfilingOp op, OpAdaptor,
                  ConversionPatternRewriter &rewriter) const override {
    Location loc = op.getLoc();
    Value callee =
        loadEnvField(rewriter, loc, getEnv(rewriter, loc), EnvField::Profile);
    Value null = LLVM::ZeroOp::create(rewriter, loc, callee.getType());
    rewriter.replaceOpWithNewOp<LLVM::ICmpOp>(op, LLVM::ICmpPredicate::ne,
                                              callee, null);
    return success();
  }
};

struct ProfileLowering : ConvertOpToLLVMPattern<rt::ProfileOp> {
  using ConvertOpToLLVMPattern::ConvertOpToLLVMPattern;

  LogicalResult
  matchAndRewrite(rt::ProfileOp op, OpAdaptor adaptor,
                  ConversionPatternRewriter &rewriter) const override {
    Location loc = op.getLoc();
    auto constant = [&](int64_t value) -> Value {
      return LLVM::ConstantOp::create(rewriter, loc, rewriter.getI32Type(),
                                      rewriter.getI32IntegerAttr(value));
    };
    callEnv(rewriter, loc, getEnv(rewriter, loc), EnvField::Profile,
            LLVM::LLVMVoidType::get(getContext()),
            {constant(op.getNumber()),
             constant(static_cast<int64_t>(op.getEvent())), adaptor.getFlops(),
             adaptor.getBytes()});
    rewriter.eraseOp(op);
    return success();
  }
};

struct HostToLLVMPass : moe::impl::HostToLLVMPassBase<HostToLLVMPass> {
  using HostToLLVMPassBase::HostToLLVMPassBase;

  void runOnOperation() override {
    ModuleOp module = getOperation();
    MLIRContext *context = &getContext();
    emitFailFunction(module);

    LowerToLLVMOptions options(context);
    LLVMTypeConverter converter(context, options);
    Messages messages(module);
    RewritePatternSet patterns(context);
    populateFuncToLLVMConversionPatterns(converter, patterns);
    cf::populateControlFlowToLLVMConversionPatterns(converter, patterns);
    arith::populateArithToLLVMConversionPatterns(converter, patterns);
    // LLVM's intrinsics first: they become instructions where the target has
    // some, and calls of libm elsewhere.
    populateMathToLLVMConversionPatterns(converter, patterns,
                                         /*approximateLog1p=*/false,
                                         /*benefit=*/2);
    populateMathToLibmConversionPatterns(patterns, /*benefit=*/1);
    populateFinalizeMemRefToLLVMConversionPatterns(converter, patterns);
    index::populateIndexToLLVMConversionPatterns(converter, patterns);
    ub::populateUBToLLVMConversionPatterns(converter, patterns);
    populateVectorToLLVMConversionPatterns(converter, patterns);
    patterns.add<StatusLowering, WeightLowering, WeightAtLowering,
                 DeallocLowering, ProfilingLowering, ProfileLowering>(
        converter);
    patterns.add<CheckLowering, AllocLowering>(converter, messages);

    LLVMConversionTarget target(*context);
    target.addLegalOp<ModuleOp, rt::EnvOp, rt::FailOp, rt::ParallelForOp,
                      rt::YieldOp>();
    if (failed(applyPartialConversion(module, target, std::move(patterns))))
      signalPassFailure();
  }
};

} // namespace
