//===- HostPrepare.cpp - record signatures, protect inputs ----------------===//
//
// The first pass of the host lowering. What the artifact says about a function
// (names, element types, extents) is known best while there are tensors, so it
// is written down here, in an attribute that later passes carry along.
//
//===----------------------------------------------------------------------===//
#include "dialects/Rt/RtDialect.h"
#include "passes/Lower/Host/Passes.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Bufferization/IR/Bufferization.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/IR/BuiltinOps.h"

namespace moe {
#define GEN_PASS_DEF_HOSTPREPAREPASS
#include "passes/Lower/Host/Passes.h.inc"
} // namespace moe

using namespace mlir;

namespace {

/// ONNX's number for a signless element type, 0 if it has none. Entries whose
/// types are unsigned or boolean carry `rt.dtype`.
int32_t getDefaultDtype(Type type) {
  if (type.isF32())
    return 1;
  if (type.isInteger(8))
    return 3;
  if (type.isInteger(16))
    return 5;
  if (type.isInteger(32))
    return 6;
  if (type.isInteger(64))
    return 7;
  if (type.isInteger(1))
    return 9;
  if (type.isF16())
    return 10;
  if (type.isF64())
    return 11;
  if (type.isBF16())
    return 16;
  return 0;
}

/// Bits of the elements that ONNX's type `dtype` has, 0 if a model cannot
/// have inputs or outputs of that type.
unsigned getDtypeBits(int64_t dtype) {
  switch (dtype) {
  case 9:
    return 1;
  case 2:
  case 3:
    return 8;
  case 4:
  case 5:
  case 10:
  case 16:
    return 16;
  case 1:
  case 6:
  case 12:
    return 32;
  case 7:
  case 11:
  case 13:
    return 64;
  default:
    return 0;
  }
}

/// Describes one argument or result; null after a diagnostic.
DictionaryAttr describe(func::FuncOp function, StringRef what, unsigned index,
                        Type type, DictionaryAttr attributes) {
  Builder builder(function.getContext());
  auto tensor = dyn_cast<RankedTensorType>(type);
  if (!tensor) {
    function.emitError() << what << " " << index << " of '"
                         << function.getName() << "' has type " << type
                         << "; expected a ranked tensor";
    return nullptr;
  }

  auto attribute = [&](StringRef name) {
    return attributes ? attributes.get(name) : Attribute();
  };
  auto name = dyn_cast_or_null<StringAttr>(attribute(moe::rt::nameAttr));
  if (!name)
    name = builder.getStringAttr(
        (what == "argument" ? "arg" : "result") + std::to_string(index));

  int32_t dtype = getDefaultDtype(tensor.getElementType());
  if (auto number = dyn_cast_or_null<IntegerAttr>(
          attribute(moe::rt::dtypeAttr)))
    dtype = number.getInt();
  unsigned bits = getDtypeBits(dtype);
  if (!bits || !tensor.getElementType().isIntOrFloat() ||
      tensor.getElementTypeBitWidth() != bits) {
    function.emitError() << what << " '" << name.getValue() << "' of '"
                         << function.getName() << "' has elements of type "
                         << tensor.getElementType()
                         << ", which does not fit ONNX's element type number "
                         << dtype
                         << "; expected bool, an integer or a float of 8 to "
                            "64 bits";
    return nullptr;
  }

  SmallVector<int64_t> extents;
  SmallVector<Attribute> symbols;
  auto dims = dyn_cast_or_null<ArrayAttr>(attribute(moe::rt::dimsAttr));
  for (auto [position, extent] : llvm::enumerate(tensor.getShape())) {
    bool dynamic = ShapedType::isDynamic(extent);
    extents.push_back(dynamic ? -1 : extent);
    symbols.push_back(dynamic && dims && position < dims.size()
                          ? dims[position]
                          : builder.getStringAttr(""));
  }
  return builder.getDictionaryAttr({
      builder.getNamedAttr("name", name),
      builder.getNamedAttr("dtype", builder.getI32IntegerAttr(dtype)),
      builder.getNamedAttr("extents", builder.getDenseI64ArrayAttr(extents)),
      builder.getNamedAttr("symbols", builder.getArrayAttr(symbols)),
  });
}

struct HostPreparePass : moe::impl::HostPreparePassBase<HostPreparePass> {
  using HostPreparePassBase::HostPreparePassBase;

  /// Nothing is written into an argument.
  static void protect(func::FuncOp function, unsigned index) {
    if (isa<TensorType>(function.getArgument(index).getType()))
      function.setArgAttr(
          index, bufferization::BufferizationDialect::kWritableAttrName,
          BoolAttr::get(function.getContext(), false));
  }

  LogicalResult recordSignature(func::FuncOp function) {
    Builder builder(function.getContext());
    SmallVector<Attribute> inputs, outputs;
    for (auto [index, type] : llvm::enumerate(function.getArgumentTypes())) {
      inputs.push_back(describe(function, "argument", index, type,
                                function.getArgAttrDict(index)));
      if (!inputs.back())
        return failure();
      protect(function, index);
    }
    for (auto [index, type] : llvm::enumerate(function.getResultTypes())) {
      outputs.push_back(describe(function, "result", index, type,
                                 function.getResultAttrDict(index)));
      if (!outputs.back())
        return failure();
    }
    function->setAttr(
        "rt.signature",
        builder.getDictionaryAttr({
            builder.getNamedAttr("inputs", builder.getArrayAttr(inputs)),
            builder.getNamedAttr("outputs", builder.getArrayAttr(outputs)),
        }));
    return success();
  }

  void runOnOperation() override {
    bool anyEntry = false;
    for (auto function : getOperation().getOps<func::FuncOp>()) {
      if (function.isExternal()) {
        function.emitError()
            << "function '" << function.getName()
            << "' has no body; models cannot call out of the artifact";
        return signalPassFailure();
      }
      if (!function.isPublic()) {
        // Callers go on using what they hand in.
        for (unsigned i = 0; i < function.getNumArguments(); ++i)
          protect(function, i);
        continue;
      }
      anyEntry = true;
      if (failed(recordSignature(function)))
        return signalPassFailure();
    }
    if (!anyEntry) {
      getOperation().emitError("module has no public function to compile");
      return signalPassFailure();
    }

    getOperation().walk([&](arith::ConstantOp op) {
      auto value = dyn_cast<ElementsAttr>(op.getValue());
      auto tensor = dyn_cast<RankedTensorType>(op.getType());
      if (!value || !tensor)
        return;
      auto dense = dyn_cast<DenseElementsAttr>(value);
      if (dense &&
          (dense.isSplat() || moe::rt::getByteSize(value) <= maxInlineBytes))
        return;
      OpBuilder builder(op);
      Value buffer = moe::rt::ConstantOp::create(
          builder, op.getLoc(),
          MemRefType::get(tensor.getShape(), tensor.getElementType()), value);
      Value view = bufferization::ToTensorOp::create(builder, op.getLoc(),
                                                     tensor, buffer,
                                                     /*restrict=*/true);
      op.replaceAllUsesWith(view);
      op.erase();
    });
  }
};

} // namespace
