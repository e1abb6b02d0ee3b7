//===- Lowering.cpp - the state of a translation to linalg ----------------===//

#include "passes/Lower/ONNXToLinalg/Lowering.h"
#include "dialects/ONNX/ONNXDialect.h"
#include "dialects/ONNX/Signatures.h"
#include "dialects/Rt/RtDialect.h"
#include "lib/Analysis/Dims.h"
#include "mlir/Dialect/Bufferization/IR/Bufferization.h"
#include "mlir/IR/Matchers.h"
#include "mlir/Interfaces/FunctionInterfaces.h"
#include "passes/Lower/MoEToLinalg/MoEToLinalg.h"
#include "llvm/ADT/ScopeExit.h"

using namespace mlir;
using namespace moe;
using namespace moe::lower;

//===----------------------------------------------------------------------===//
// Table
//===----------------------------------------------------------------------===//

const LoweringTable &LoweringTable::get() {
  static const LoweringTable *table = [] {
    auto *built = new LoweringTable;
    registerElementwise(*built);
    registerMovement(*built);
    registerIndexing(*built);
    registerSelection(*built);
    registerReduction(*built);
    registerNormalization(*built);
    registerContraction(*built);
    registerAttention(*built);
    registerContribExperts(*built);
    registerConvolution(*built);
    registerPooling(*built);
    registerRecurrent(*built);
    registerControlFlow(*built);
    registerRouting(*built);
    registerExperts(*built);
    registerSchedule(*built);
    registerMoEAttention(*built);
    return built;
  }();
  return *table;
}

//===----------------------------------------------------------------------===//
// Small helpers
//===----------------------------------------------------------------------===//

Value lower::widen(OpBuilder &b, Location loc, Value v) {
  auto type = dyn_cast<FloatType>(v.getType());
  if (!type || type.getWidth() >= 32)
    return v;
  return arith::ExtFOp::create(b, loc, b.getF32Type(), v);
}

Value lower::narrow(OpBuilder &b, Location loc, Value v, Type element) {
  if (v.getType() == element)
    return v;
  return arith::TruncFOp::create(b, loc, element, v);
}

bool lower::isUnsigned(Type onnxElement) {
  return onnxElement.isUnsignedInteger();
}

Type lower::elementOf(Value v) {
  return cast<ShapedType>(v.getType()).getElementType();
}

int64_t lower::rankOf(Value v) {
  return cast<ShapedType>(v.getType()).getRank();
}

int64_t lower::normalizeAxis(int64_t axis, int64_t rank) {
  return axis < 0 ? axis + rank : axis;
}

Value lower::operand(Operation *op, unsigned formal) {
  return onnx::getFormalOperand(op, formal);
}

Value lower::result(Operation *op, unsigned formal) {
  return onnx::getFormalResult(op, formal);
}

int64_t lower::intAttr(Operation *op, StringRef name, int64_t otherwise) {
  auto attr = op->getAttrOfType<IntegerAttr>(name);
  return attr ? attr.getInt() : otherwise;
}

double lower::floatAttr(Operation *op, StringRef name, double otherwise) {
  auto attr = op->getAttrOfType<FloatAttr>(name);
  return attr ? attr.getValueAsDouble() : otherwise;
}

StringRef lower::stringAttr(Operation *op, StringRef name,
                            StringRef otherwise) {
  auto attr = op->getAttrOfType<StringAttr>(name);
  return attr ? attr.getValue() : otherwise;
}

std::optional<SmallVector<int64_t>> lower::intsAttr(Operation *op,
                                                    StringRef name) {
  auto attr = op->getAttrOfType<DenseI64ArrayAttr>(name);
  if (!attr)
    return std::nullopt;
  return llvm::to_vector(attr.asArrayRef());
}

LogicalResult lower::unsupported(Operation *op, const Twine &what) {
  return op->emitOpError() << "has no lowering to host code for " << what;
}

//===----------------------------------------------------------------------===//
// Walking
//===----------------------------------------------------------------------===//

/// Values that every lowering relies on: ranked tensors of numbers.
static LogicalResult checkTypes(Operation *op) {
  auto check = [&](Value v, StringRef what, unsigned i) -> LogicalResult {
    auto tensor = dyn_cast<RankedTensorType>(v.getType());
    if (!tensor)
      return op->emitOpError()
             << "cannot be compiled: " << what << " #" << i << " has type "
             << v.getType() << "; a tensor whose rank is known is accepted";
    if (!FunctionLowering::convertElement(tensor.getElementType()))
      return op->emitOpError()
             << "cannot be compiled: " << what << " #" << i
             << " has elements of type "
             << onnx::getDataTypeName(tensor.getElementType())
             << "; accepted: bool, int8 to int64, uint8 to uint64, float16, "
                "bfloat16, float, double";
    return success();
  };
  for (auto [i, v] : llvm::enumerate(op->getOperands()))
    if (failed(check(v, "operand", i)))
      return failure();
  for (auto [i, v] : llvm::enumerate(op->getResults()))
    if (failed(check(v, "result", i)))
      return failure();
  return success();
}

LogicalResult FunctionLowering::lowerBlock(Block &block) {
  if (symbols.empty())
    symbols.emplace_back();
  bool ok = true;
  for (Operation &op : block.without_terminator()) {
    // After an error the operands of later ops are missing; whether those ops
    // can be translated at all is still worth telling.
    if (failed(checkTypes(&op))) {
      ok = false;
      continue;
    }
    if (!ok) {
      if (!LoweringTable::get().lookup(op.getName().getStringRef()) &&
          !op.hasTrait<OpTrait::ConstantLike>())
        (void)unsupported(&op, "this operator");
      continue;
    }
    if (failed(lowerOp(&op)))
      ok = false;
  }
  return success(ok);
}

LogicalResult FunctionLowering::lowerOp(Operation *op) {
  Operation *outerOp = currentOp;
  Location outerLoc = currentLoc;
  currentOp = op;
  currentLoc = op->getLoc();
  auto restore = llvm::scope_exit([&] {
    currentOp = outerOp;
    currentLoc = outerLoc;
  });
  if (op->hasTrait<OpTrait::ConstantLike>()) {
    if (constantAttr(op->getResult(0)))
      return success(); // materialised where it is used
    return unsupported(op, "a constant without a tensor value");
  }
  LowerFn fn = LoweringTable::get().lookup(op->getName().getStringRef());
  if (!fn)
    return unsupported(op, "this operator");
  if (!scalars && lowerElements(op))
    return success();
  if (failed(fn(*this, op)))
    return failure();
  for (Value v : op->getResults())
    if (!v.use_empty() && !values.contains(v) && !knownElements.contains(v) &&
        !rowBuffers.contains(v))
      return op->emitOpError("internal error: its lowering left a result out");
  return success();
}

FailureOr<SmallVector<Value>>
FunctionLowering::lowerScalars(Block &block, ValueRange arguments) {
  static const LoweringTable *elementwise = [] {
    auto *built = new LoweringTable;
    registerElementwise(*built);
    return built;
  }();
  for (Operation &op : block.without_terminator()) {
    if (op.hasTrait<OpTrait::ConstantLike>()) {
      if (!splat(op.getResult(0)))
        return op.emitOpError("is a constant whose value is not known here; "
                              "one number in the IR is accepted");
    } else if (op.getName().getStringRef() != "onnx.Identity" &&
               !elementwise->lookup(op.getName().getStringRef())) {
      return unsupported(&op, "use in a region of scalars, where elementwise "
                              "operators are accepted");
    }
  }
  scalars = true;
  auto restore = llvm::scope_exit([&] { scalars = false; });
  for (auto [argument, value] : llvm::zip(block.getArguments(), arguments))
    values[argument] = value;
  if (failed(lowerBlock(block)))
    return failure();
  SmallVector<Value> results;
  for (Value v : block.getTerminator()->getOperands())
    results.push_back(tensor(v));
  return results;
}

//===----------------------------------------------------------------------===//
// Values
//===----------------------------------------------------------------------===//

Type FunctionLowering::convertElement(Type element) {
  if (auto integer = dyn_cast<IntegerType>(element)) {
    unsigned width = integer.getWidth();
    if (width != 1 && width != 8 && width != 16 && width != 32 && width != 64)
      return {};
    return IntegerType::get(element.getContext(), width);
  }
  // No element of a model is an index; plans of experts are.
  if (element.isF16() || element.isBF16() || element.isF32() ||
      element.isF64() || element.isIndex())
    return element;
  return {};
}

RankedTensorType FunctionLowering::convert(Type onnxType) {
  auto type = dyn_cast<RankedTensorType>(onnxType);
  Type element = type ? convertElement(type.getElementType()) : Type();
  if (!element)
    return {};
  return RankedTensorType::get(type.getShape(), element);
}

ElementsAttr FunctionLowering::constantAttr(Value onnxValue) {
  Operation *def = onnxValue.getDefiningOp();
  return def ? onnx::getConstantElements(def) : ElementsAttr();
}

/// The attribute with the signs of its integers dropped.
static DenseElementsAttr dropSign(DenseElementsAttr attr) {
  Type element = attr.getElementType();
  if (!element.isUnsignedInteger())
    return attr;
  return attr.bitcast(IntegerType::get(attr.getContext(),
                                       element.getIntOrFloatBitWidth()));
}

Value FunctionLowering::materialize(ElementsAttr attr) {
  auto type = cast<RankedTensorType>(attr.getType());
  RankedTensorType lowered = convert(type);
  auto dense = dyn_cast<DenseElementsAttr>(attr);
  // Small constants and splats are part of the code. All others are read from
  // the weights, whatever they are: no byte of them goes through LLVM IR.
  constexpr int64_t kInlineElements = 32;
  if (dense && (dense.isSplat() || type.getNumElements() <= kInlineElements))
    return arith::ConstantOp::create(b, loc(), lowered, dropSign(dense));
  auto buffer = MemRefType::get(lowered.getShape(), lowered.getElementType());
  Value constant = rt::ConstantOp::create(b, loc(), buffer, attr);
  return bufferization::ToTensorOp::create(b, loc(), lowered, constant,
                                           /*restrict=*/true,
                                           /*writable=*/false);
}

Value FunctionLowering::tensor(Value onnxValue) {
  if (Value known = values.lookup(onnxValue))
    return known;
  if (scalars)
    return constant(splat(onnxValue));
  // Constants are placed at each use: they may be used in several regions.
  if (ElementsAttr attr = constantAttr(onnxValue))
    return materialize(attr);
  const Extents *known = elements(onnxValue);
  RankedTensorType type = convert(onnxValue.getType());
  assert(known && "operand was not translated");
  SmallVector<Value> scalars;
  for (OpFoldResult element : *known) {
    Value v = value(element);
    if (type.getElementType().isInteger(1))
      v = arith::CmpIOp::create(b, loc(), arith::CmpIPredicate::ne, v,
                                value(index(0)));
    else
      v = arith::IndexCastOp::create(b, loc(), type.getElementType(), v);
    scalars.push_back(v);
  }
  return tensor::FromElementsOp::create(b, loc(), type, scalars);
}

SmallVector<Value> FunctionLowering::tensors(OperandRange onnxValues) {
  SmallVector<Value> out;
  for (Value v : onnxValues)
    out.push_back(tensor(v));
  return out;
}

std::optional<SmallVector<int64_t>>
FunctionLowering::constants(Value onnxValue) {
  const Extents *known = elements(onnxValue);
  if (!known)
    return std::nullopt;
  SmallVector<int64_t> out;
  for (OpFoldResult element : *known) {
    std::optional<int64_t> constant = getConstantIntValue(element);
    if (!constant)
      return std::nullopt;
    out.push_back(*constant);
  }
  return out;
}

const Extents *FunctionLowering::elements(Value onnxValue) {
  auto known = knownElements.find(onnxValue);
  if (known != knownElements.end())
    return &known->second;
  auto dense = dyn_cast_or_null<DenseElementsAttr>(constantAttr(onnxValue));
  constexpr int64_t kMostElements = 64;
  if (!dense || !isa<IntegerType>(dense.getElementType()) ||
      dense.getNumElements() > kMostElements)
    return nullptr;
  Extents extents;
  bool isUnsigned = dense.getElementType().isUnsignedInteger() ||
                    dense.getElementType().isInteger(1);
  for (const APInt &element : dense.getValues<APInt>())
    extents.push_back(
        index(isUnsigned ? static_cast<int64_t>(element.getZExtValue())
                         : element.getSExtValue()));
  return &(knownElements[onnxValue] = std::move(extents));
}

FailureOr<Extents> FunctionLowering::elementsOrLoad(Operation *op,
                                                    Value onnxValue) {
  if (const Extents *known = elements(onnxValue))
    return *known;
  auto type = cast<RankedTensorType>(onnxValue.getType());
  if (type.getRank() > 1 || !type.hasStaticShape())
    return op->emitOpError()
           << "cannot be compiled: a shape or list of axes of type " << type
           << "; rank 0 or 1 with a static extent is accepted";
  Value source = tensor(onnxValue);
  Extents out;
  int64_t count = type.getNumElements();
  for (int64_t i = 0; i < count; ++i) {
    SmallVector<OpFoldResult> at;
    if (type.getRank() == 1)
      at.push_back(index(i));
    Value element = extract(source, at);
    out.push_back(arith::IndexCastOp::create(b, loc(), b.getIndexType(),
                                             element)
                      .getResult());
  }
  return out;
}

TypedAttr FunctionLowering::splat(Value onnxValue) {
  auto dense = dyn_cast_or_null<DenseElementsAttr>(constantAttr(onnxValue));
  if (!dense || dense.getNumElements() == 0)
    return {};
  // One element is a splat too.
  if (!dense.isSplat() && dense.getNumElements() != 1)
    return {};
  return cast<TypedAttr>(*dropSign(dense).getValues<Attribute>().begin());
}

void FunctionLowering::set(Value onnxValue, Value lowered) {
  if (scalars) {
    values[onnxValue] = lowered;
    return;
  }
  RankedTensorType type = convert(onnxValue.getType());
  if (lowered.getType() != type)
    lowered = tensor::CastOp::create(b, loc(), type, lowered);
  values[onnxValue] = lowered;
  // The extents of a computed tensor are the extents of its symbols.
  for (int64_t i = 0; i < type.getRank(); ++i)
    (void)dim(onnxValue, i);
}

void FunctionLowering::setElements(Value onnxValue, Extents elements) {
  knownElements[onnxValue] = std::move(elements);
}

void FunctionLowering::forward(Value onnxValue, Value sameAs) {
  const Extents *known = scalars ? nullptr : elements(sameAs);
  if (known)
    setElements(onnxValue, *known);
  else
    set(onnxValue, tensor(sameAs));
}

//===----------------------------------------------------------------------===//
// Extents
//===----------------------------------------------------------------------===//

StringRef FunctionLowering::symbol(Value onnxValue, int64_t i) {
  // Not the attributes themselves: a name that a model gives an argument may
  // read like an expression of ours (`seq+1`) without being equal to it.
  return getDim(onnxValue, i).text;
}

bool FunctionLowering::sameExtent(Value a, int64_t i, Value c, int64_t j) {
  auto x = cast<RankedTensorType>(a.getType());
  auto y = cast<RankedTensorType>(c.getType());
  if (!x.isDynamicDim(i) || !y.isDynamicDim(j))
    return x.getDimSize(i) == y.getDimSize(j);
  if (a == c && i == j)
    return true;
  StringRef name = symbol(a, i);
  return !name.empty() && name == symbol(c, j);
}

OpFoldResult FunctionLowering::dim(Value onnxValue, int64_t i) {
  return resultDim(onnxValue, i, [&]() -> OpFoldResult {
    return tensor::DimOp::create(b, loc(), tensor(onnxValue), i).getResult();
  });
}

Extents FunctionLowering::dims(Value onnxValue) {
  Extents out;
  for (int64_t i = 0, e = rankOf(onnxValue); i < e; ++i)
    out.push_back(dim(onnxValue, i));
  return out;
}

std::optional<OpFoldResult> FunctionLowering::knownDim(Value onnxValue,
                                                       int64_t i) {
  auto type = cast<RankedTensorType>(onnxValue.getType());
  if (!type.isDynamicDim(i))
    return index(type.getDimSize(i));
  StringRef name = symbol(onnxValue, i);
  if (!name.empty())
    for (auto &scope : llvm::reverse(symbols))
      if (auto known = scope.find(name); known != scope.end())
        return known->second;
  return std::nullopt;
}

OpFoldResult
FunctionLowering::resultDim(Value onnxResult, int64_t i,
                            llvm::function_ref<OpFoldResult()> compute) {
  if (std::optional<OpFoldResult> known = knownDim(onnxResult, i))
    return *known;
  OpFoldResult computed = compute();
  if (StringRef name = symbol(onnxResult, i); !name.empty())
    symbols.back()[name] = computed;
  return computed;
}

Extents FunctionLowering::bindDims(Value onnxResult,
                                   ArrayRef<OpFoldResult> computed) {
  Extents out;
  for (auto [i, extent] : llvm::enumerate(computed))
    out.push_back(resultDim(onnxResult, i, [&] { return extent; }));
  return out;
}

//===----------------------------------------------------------------------===//
// Arithmetic on extents
//===----------------------------------------------------------------------===//

Value FunctionLowering::value(OpFoldResult extent) {
  return getValueOrCreateConstantIndexOp(b, loc(), extent);
}

/// Folds two constants with wrapping arithmetic, as the machine would.
template <typename Fold>
static std::optional<OpFoldResult> foldBoth(OpBuilder &b, OpFoldResult x,
                                            OpFoldResult y, Fold fold) {
  std::optional<int64_t> a = getConstantIntValue(x);
  std::optional<int64_t> c = getConstantIntValue(y);
  if (!a || !c)
    return std::nullopt;
  return OpFoldResult(b.getIndexAttr(
      static_cast<int64_t>(fold(static_cast<uint64_t>(*a),
                                static_cast<uint64_t>(*c)))));
}

OpFoldResult FunctionLowering::add(OpFoldResult x, OpFoldResult y) {
  if (auto folded = foldBoth(b, x, y, std::plus<uint64_t>()))
    return *folded;
  if (isConstantIntValue(x, 0))
    return y;
  if (isConstantIntValue(y, 0))
    return x;
  return arith::AddIOp::create(b, loc(), value(x), value(y)).getResult();
}

OpFoldResult FunctionLowering::sub(OpFoldResult x, OpFoldResult y) {
  if (auto folded = foldBoth(b, x, y, std::minus<uint64_t>()))
    return *folded;
  if (isConstantIntValue(y, 0))
    return x;
  if (x == y)
    return index(0);
  return arith::SubIOp::create(b, loc(), value(x), value(y)).getResult();
}

OpFoldResult FunctionLowering::mul(OpFoldResult x, OpFoldResult y) {
  if (auto folded = foldBoth(b, x, y, std::multiplies<uint64_t>()))
    return *folded;
  if (isConstantIntValue(x, 1))
    return y;
  if (isConstantIntValue(y, 1))
    return x;
  if (isConstantIntValue(x, 0) || isConstantIntValue(y, 0))
    return index(0);
  return arith::MulIOp::create(b, loc(), value(x), value(y)).getResult();
}

OpFoldResult FunctionLowering::div(OpFoldResult x, OpFoldResult y) {
  if (isConstantIntValue(y, 1))
    return x;
  std::optional<int64_t> a = getConstantIntValue(x);
  std::optional<int64_t> c = getConstantIntValue(y);
  if (a && c && *c != 0 && *c != -1)
    return index(*a / *c);
  return arith::DivSIOp::create(b, loc(), value(x), value(y)).getResult();
}

OpFoldResult FunctionLowering::ceilDiv(OpFoldResult x, OpFoldResult y) {
  if (isConstantIntValue(y, 1))
    return x;
  return div(sub(add(x, y), index(1)), y);
}

OpFoldResult FunctionLowering::min(OpFoldResult x, OpFoldResult y) {
  std::optional<int64_t> a = getConstantIntValue(x);
  std::optional<int64_t> c = getConstantIntValue(y);
  if (a && c)
    return index(std::min(*a, *c));
  if (x == y)
    return x;
  return arith::MinSIOp::create(b, loc(), value(x), value(y)).getResult();
}

OpFoldResult FunctionLowering::max(OpFoldResult x, OpFoldResult y) {
  std::optional<int64_t> a = getConstantIntValue(x);
  std::optional<int64_t> c = getConstantIntValue(y);
  if (a && c)
    return index(std::max(*a, *c));
  if (x == y)
    return x;
  return arith::MaxSIOp::create(b, loc(), value(x), value(y)).getResult();
}

OpFoldResult FunctionLowering::product(ArrayRef<OpFoldResult> extents) {
  OpFoldResult out = index(1);
  for (OpFoldResult extent : extents)
    out = mul(out, extent);
  return out;
}

Value FunctionLowering::compare(arith::CmpIPredicate predicate,
                                OpFoldResult x, OpFoldResult y) {
  return b.createOrFold<arith::CmpIOp>(loc(), predicate, value(x), value(y));
}

OpFoldResult FunctionLowering::select(Value condition, OpFoldResult x,
                                      OpFoldResult y) {
  if (x == y)
    return x;
  if (matchPattern(condition, m_One()))
    return x;
  if (matchPattern(condition, m_Zero()))
    return y;
  return arith::SelectOp::create(b, loc(), condition, value(x), value(y))
      .getResult();
}

//===----------------------------------------------------------------------===//
// Run-time conditions
//===----------------------------------------------------------------------===//

/// "MatMul '/layer/proj'": how messages name the node being translated.
static std::string describe(Operation *op) {
  std::string text = op->getName().stripDialect().str();
  if (auto name = dyn_cast<NameLoc>(op->getLoc()))
    text += " '" + name.getName().str() + "'";
  return text;
}

void FunctionLowering::check(Value condition, const Twine &message, int code) {
  if (matchPattern(condition, m_One()))
    return;
  std::string text = describe(currentOp) + ": " + message.str();
  rt::CheckOp::create(b, loc(), condition, text, code);
}

void FunctionLowering::checkEqual(OpFoldResult x, OpFoldResult y,
                                  const Twine &message) {
  if (x == y)
    return;
  check(compare(arith::CmpIPredicate::eq, x, y), message, /*code=*/3);
}

void FunctionLowering::checkIndices(Value indices, OpFoldResult extent,
                                    const Twine &message) {
  // One pass over the indices, so that the loops which use them need no test.
  auto type = cast<RankedTensorType>(indices.getType());
  Type element = type.getElementType();
  Value limit =
      arith::IndexCastOp::create(b, loc(), element, value(extent));
  Value zero = constant(b.getIntegerAttr(element, 0));
  Value lowest = arith::SubIOp::create(b, loc(), zero, limit);
  Extents loops;
  for (int64_t i = 0; i < type.getRank(); ++i)
    loops.push_back(
        type.isDynamicDim(i)
            ? OpFoldResult(tensor::DimOp::create(b, loc(), indices, i)
                               .getResult())
            : index(type.getDimSize(i)));
  SmallVector<bool> reduced(type.getRank(), true);
  Value init = filled({}, constant(b.getBoolAttr(true)));
  Value all = reduce(
      loops, reduced, init, indices,
      AffineMap::getMultiDimIdentityMap(type.getRank(), b.getContext()),
      [&](OpBuilder &nested, Location at, ValueRange in, Value accumulator) {
        Value below = arith::CmpIOp::create(
            nested, at, arith::CmpIPredicate::slt, in[0], limit);
        Value above = arith::CmpIOp::create(
            nested, at, arith::CmpIPredicate::sge, in[0], lowest);
        Value both = arith::AndIOp::create(nested, at, below, above);
        return arith::AndIOp::create(nested, at, accumulator, both);
      });
  check(extract(all, {}), message);
}

//===----------------------------------------------------------------------===//
// Scalars
//===----------------------------------------------------------------------===//

Value FunctionLowering::constant(TypedAttr attr) {
  return arith::ConstantOp::create(b, loc(), attr);
}

Value FunctionLowering::scalar(Type type, double value) {
  if (isa<FloatType>(type))
    return constant(b.getFloatAttr(type, value));
  return constant(b.getIntegerAttr(type, static_cast<int64_t>(value)));
}
