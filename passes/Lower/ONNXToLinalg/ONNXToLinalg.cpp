//===- ONNXToLinalg.cpp - translate functions of onnx ops -----------------===//
//
// Each function is translated into a new one with the same name and signed
// types dropped from its signature. What a runtime has to know of the
// signature (names, ONNX's element types, symbols) goes to rt.* attributes.
//
//===----------------------------------------------------------------------===//

#include "passes/Lower/ONNXToLinalg/Passes.h"
#include "dialects/MoE/MoEDialect.h"
#include "dialects/ONNX/ONNXDialect.h"
#include "dialects/Rt/RtDialect.h"
#include "mlir/Dialect/Bufferization/IR/Bufferization.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/IR/BuiltinOps.h"
#include "mlir/Pass/Pass.h"
#include "passes/Lower/ONNXToLinalg/Lowering.h"

namespace moe {
#define GEN_PASS_DEF_ONNXTOLINALG
#include "passes/Lower/ONNXToLinalg/Passes.h.inc"
} // namespace moe

using namespace mlir;
using namespace moe;
using namespace moe::lower;

bool moe::hasLinalgLowering(StringRef opName) {
  return LoweringTable::get().lookup(opName) != nullptr;
}

std::vector<StringRef> moe::getLinalgLowerings() {
  auto names = LoweringTable::get().names();
  std::vector<StringRef> sorted(names.begin(), names.end());
  llvm::sort(sorted);
  return sorted;
}

/// The attributes that a runtime reads, for a value of the signature.
static DictionaryAttr describeValue(OpBuilder &b, Type type,
                                    DictionaryAttr attrs, StringRef fallback) {
  auto name = attrs.getAs<StringAttr>(onnx::names::kName);
  auto tensor = cast<RankedTensorType>(type);
  SmallVector<NamedAttribute> out;
  out.push_back(b.getNamedAttr("rt.name", name ? name : b.getStringAttr(fallback)));
  out.push_back(b.getNamedAttr(
      "rt.dtype",
      b.getI32IntegerAttr(onnx::getDataType(tensor.getElementType()))));
  SmallVector<Attribute> dims(tensor.getRank(), b.getStringAttr(""));
  if (auto names = attrs.getAs<ArrayAttr>(onnx::names::kDims))
    for (auto [i, symbol] : llvm::enumerate(names))
      // Names that inference made up ("?3") mean nothing to a caller.
      if (auto text = dyn_cast<StringAttr>(symbol);
          text && i < dims.size() && tensor.isDynamicDim(i) &&
          !text.getValue().contains('?'))
        dims[i] = text;
  out.push_back(b.getNamedAttr("rt.dims", b.getArrayAttr(dims)));
  return b.getDictionaryAttr(out);
}

static LogicalResult checkSignature(func::FuncOp fn) {
  bool ok = true;
  auto check = [&](Type type, StringRef what, unsigned i, Attribute name) {
    RankedTensorType lowered = FunctionLowering::convert(type);
    if (lowered && !lowered.getElementType().isIndex())
      return;
    std::string text =
        isa_and_nonnull<StringAttr>(name)
            ? " '" + cast<StringAttr>(name).getValue().str() + "'"
            : " #" + std::to_string(i);
    fn.emitError() << what << text << " has type " << type
                   << "; accepted: tensors of known rank of bool, int8 to "
                      "int64, uint8 to uint64, float16, bfloat16, float, double";
    ok = false;
  };
  for (auto [i, type] : llvm::enumerate(fn.getArgumentTypes()))
    check(type, "input", i, fn.getArgAttr(i, onnx::names::kName));
  for (auto [i, type] : llvm::enumerate(fn.getResultTypes()))
    check(type, "output", i, fn.getResultAttr(i, onnx::names::kName));
  return success(ok);
}

static LogicalResult lowerFunction(func::FuncOp fn) {
  if (fn.isExternal())
    return fn.emitError("has no body to compile");
  if (!fn.getBody().hasOneBlock())
    return fn.emitError("has several blocks; one is accepted");
  if (failed(checkSignature(fn)))
    return failure();
  FunctionLowering lowering(fn.getContext());
  OpBuilder &b = lowering.b;
  b.setInsertionPoint(fn);

  SmallVector<Type> inputs, outputs;
  SmallVector<DictionaryAttr> inputAttrs, outputAttrs;
  auto dictionary = [&](ArrayAttr all, unsigned i) {
    return all ? cast<DictionaryAttr>(all[i]) : b.getDictionaryAttr({});
  };
  for (auto [i, type] : llvm::enumerate(fn.getArgumentTypes())) {
    inputs.push_back(FunctionLowering::convert(type));
    // Only of entries does a runtime read anything.
    inputAttrs.push_back(
        fn.isPrivate() ? b.getDictionaryAttr({}) : describeValue(b, type, dictionary(fn.getArgAttrsAttr(), i),
                      "input_" + std::to_string(i)));
  }
  for (auto [i, type] : llvm::enumerate(fn.getResultTypes())) {
    outputs.push_back(FunctionLowering::convert(type));
    outputAttrs.push_back(
        fn.isPrivate() ? b.getDictionaryAttr({}) : describeValue(b, type, dictionary(fn.getResAttrsAttr(), i),
                      "output_" + std::to_string(i)));
  }
  auto lowered =
      func::FuncOp::create(b, fn.getLoc(), fn.getName(),
                           b.getFunctionType(inputs, outputs), {}, inputAttrs);
  lowered.setAllResultAttrs(outputAttrs);
  lowered.setVisibility(fn.getVisibility());
  Block *entry = lowered.addEntryBlock();
  b.setInsertionPointToStart(entry);

  FunctionLowering::RegionScope scope(lowering);
  Block &body = fn.getBody().front();
  for (auto [onnxArg, arg] :
       llvm::zip(body.getArguments(), entry->getArguments()))
    lowering.set(onnxArg, arg);
  if (failed(lowering.lowerBlock(body)))
    return failure();
  SmallVector<Value> results;
  Operation *terminator = body.getTerminator();
  for (auto [v, type] : llvm::zip(terminator->getOperands(), outputs)) {
    Value result = lowering.tensor(v);
    if (result.getType() != type)
      result = tensor::CastOp::create(b, terminator->getLoc(), type, result);
    results.push_back(result);
  }
  func::ReturnOp::create(b, terminator->getLoc(), results);
  fn.erase();
  return success();
}

namespace {
struct ONNXToLinalg : moe::impl::ONNXToLinalgBase<ONNXToLinalg> {
  using ONNXToLinalgBase::ONNXToLinalgBase;

  void runOnOperation() override {
    bool ok = true;
    for (auto fn :
         llvm::make_early_inc_range(getOperation().getOps<func::FuncOp>()))
      if (failed(lowerFunction(fn)))
        ok = false;
    if (!ok)
      signalPassFailure();
  }
};
} // namespace
