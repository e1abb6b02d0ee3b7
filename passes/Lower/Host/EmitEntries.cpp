//===- EmitEntries.cpp - functions that a runtime calls -------------------===//
//
// Between moe_buffer (a pointer to data, a pointer to extents) and MLIR's
// descriptors (two pointers, an offset, extents, strides). Buffers of a
// signature are dense and row-major, so strides are products of extents.
//
//===----------------------------------------------------------------------===//
#include "passes/Lower/Host/Passes.h"

#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/IR/Builders.h"
#include "mlir/IR/BuiltinOps.h"

namespace moe {
#define GEN_PASS_DEF_EMITENTRIESPASS
#include "passes/Lower/Host/Passes.h.inc"
} // namespace moe

using namespace mlir;

namespace {

/// Emits one entry wrapper.
class EntryBuilder {
public:
  EntryBuilder(LLVM::LLVMFuncOp callee, DictionaryAttr signature)
      : callee(callee), signature(signature), builder(callee.getContext()),
        loc(callee.getLoc()),
        pointer(LLVM::LLVMPointerType::get(callee.getContext())),
        i64(builder.getI64Type()),
        buffer(LLVM::LLVMStructType::getLiteral(callee.getContext(),
                                                {pointer, pointer})) {}

  LogicalResult emit() {
    builder.setInsertionPointAfter(callee);
    auto type = LLVM::LLVMFunctionType::get(builder.getI32Type(),
                                            {pointer, pointer, pointer});
    auto function = LLVM::LLVMFuncOp::create(
        builder, loc, (callee.getName() + ".run").str(), type);
    function->setAttr("rt.signature", signature);
    callee->removeAttr("rt.signature");
    Block *entry = function.addEntryBlock(builder);
    builder.setInsertionPointToStart(entry);

    auto inputs = signature.getAs<ArrayAttr>("inputs");
    auto outputs = signature.getAs<ArrayAttr>("outputs");
    SmallVector<Value> arguments = {entry->getArgument(0)};
    for (auto [index, input] : llvm::enumerate(inputs))
      unpack(entry->getArgument(1), index, getExtents(input), arguments);
    if (arguments.size() != callee.getNumArguments())
      return callee.emitError()
             << "'" << callee.getName() << "' takes "
             << callee.getNumArguments() << " values, but its signature has "
             << arguments.size();
    auto call = LLVM::CallOp::create(builder, loc, callee, arguments);

    Value packed = call.getResult();
    Value code = packed;
    if (!outputs.empty())
      code = LLVM::ExtractValueOp::create(builder, loc, packed, 0);
    Value zero = LLVM::ConstantOp::create(builder, loc, builder.getI32Type(),
                                          builder.getI32IntegerAttr(0));
    Value failed = LLVM::ICmpOp::create(builder, loc, LLVM::ICmpPredicate::ne,
                                        code, zero);
    Block *leave = builder.createBlock(&function.getBody());
    LLVM::ReturnOp::create(builder, loc, code);
    Block *done = builder.createBlock(&function.getBody());
    builder.setInsertionPointToEnd(entry);
    LLVM::CondBrOp::create(builder, loc, failed, leave, done);

    builder.setInsertionPointToStart(done);
    for (auto [index, output] : llvm::enumerate(outputs))
      pack(entry->getArgument(2), index, getExtents(output), packed);
    LLVM::ReturnOp::create(builder, loc, code);
    return success();
  }

private:
  static ArrayRef<int64_t> getExtents(Attribute value) {
    return cast<DictionaryAttr>(value)
        .getAs<DenseI64ArrayAttr>("extents")
        .asArrayRef();
  }

  Value constant(int64_t value) {
    return LLVM::ConstantOp::create(builder, loc, i64,
                                    builder.getI64IntegerAttr(value));
  }

  /// Address of a field of buffers[index].
  Value field(Value buffers, int32_t index, int32_t position) {
    return LLVM::GEPOp::create(builder, loc, pointer, buffer, buffers,
                               ArrayRef<LLVM::GEPArg>{index, position});
  }

  /// Appends the descriptor of inputs[index], taken apart.
  void unpack(Value inputs, int32_t index, ArrayRef<int64_t> extents,
              SmallVectorImpl<Value> &arguments) {
    Value data =
        LLVM::LoadOp::create(builder, loc, pointer, field(inputs, index, 0));
    arguments.append({data, data, constant(0)});
    if (extents.empty())
      return;
    Value dims =
        LLVM::LoadOp::create(builder, loc, pointer, field(inputs, index, 1));
    SmallVector<Value> sizes, strides(extents.size());
    for (auto [dim, extent] : llvm::enumerate(extents)) {
      if (extent >= 0) {
        sizes.push_back(constant(extent));
        continue;
      }
      Value address = LLVM::GEPOp::create(
          builder, loc, pointer, i64, dims,
          ArrayRef<LLVM::GEPArg>{static_cast<int32_t>(dim)});
      sizes.push_back(LLVM::LoadOp::create(builder, loc, i64, address));
    }
    Value stride = constant(1);
    for (size_t dim = extents.size(); dim-- > 0;) {
      strides[dim] = stride;
      if (dim)
        stride = LLVM::MulOp::create(builder, loc, stride, sizes[dim]);
    }
    arguments.append(sizes);
    arguments.append(strides);
  }

  /// Hands result `index` over to outputs[index].
  void pack(Value outputs, int32_t index, ArrayRef<int64_t> extents,
            Value packed) {
    auto get = [&](ArrayRef<int64_t> position) -> Value {
      SmallVector<int64_t> path = {index + 1};
      llvm::append_range(path, position);
      return LLVM::ExtractValueOp::create(builder, loc, packed, path);
    };
    LLVM::StoreOp::create(builder, loc, get({1}), field(outputs, index, 0));
    if (extents.empty())
      return;
    Value dims =
        LLVM::LoadOp::create(builder, loc, pointer, field(outputs, index, 1));
    for (int32_t dim = 0; dim < static_cast<int32_t>(extents.size()); ++dim) {
      Value address = LLVM::GEPOp::create(builder, loc, pointer, i64, dims,
                                          ArrayRef<LLVM::GEPArg>{dim});
      LLVM::StoreOp::create(builder, loc, get({3, dim}), address);
    }
  }

  LLVM::LLVMFuncOp callee;
  DictionaryAttr signature;
  OpBuilder builder;
  Location loc;
  Type pointer;
  Type i64;
  Type buffer;
};

struct EmitEntriesPass : moe::impl::EmitEntriesPassBase<EmitEntriesPass> {
  using EmitEntriesPassBase::EmitEntriesPassBase;

  void runOnOperation() override {
    SmallVector<LLVM::LLVMFuncOp> functions(
        getOperation().getOps<LLVM::LLVMFuncOp>());
    for (LLVM::LLVMFuncOp function : functions)
      if (auto signature =
              function->getAttrOfType<DictionaryAttr>("rt.signature"))
        if (failed(EntryBuilder(function, signature).emit()))
          return signalPassFailure();
  }
};

} // namespace
