//===- Experts.cpp - experts and products with stored weights -------------===//
//
// Tokens are brought into the order of experts by counting, so each expert
// reads its rows one behind the other; `moe.grouped_linear` multiplies them,
// and each token collects its results in the order of its slots. A dense layer
// (experts without routing, MatMulNBits) is the same with one expert and all
// tokens in order.
//
//===----------------------------------------------------------------------===//

#include "dialects/MoE/MoEDialect.h"
#include "dialects/Rt/RtDialect.h"
#include "mlir/Dialect/Utils/StaticValueUtils.h"
#include "passes/Lower/MoEToLinalg/MoEToLinalg.h"
#include "passes/Lower/ONNXToLinalg/Loops.h"

using namespace mlir;
using namespace moe;
using namespace moe::lower;

namespace {
/// One or two (gate, up) banks as they are stored, all in buffers.
struct StoredBanks {
  SmallVector<Value> banks, scales, zeros, biases;
  std::optional<int64_t> bits, block;
  /// Whether rows are rounded to 8 bits before they are multiplied.
  bool roundRows = false;
};

using EpilogueFn = llvm::function_ref<FailureOr<Value>(ValueRange sums)>;
} // namespace

//===----------------------------------------------------------------------===//
// Buffers
//===----------------------------------------------------------------------===//

/// Columns of a buffer for rows of `width`: whole panels, and a stride that is
/// no power of two, so that neighbouring rows do not share a place in caches.
static int64_t paddedColumns(int64_t width) {
  return llvm::alignTo(static_cast<uint64_t>(width), 32) + 16;
}

/// The buffer of an ONNX value that is only read. Constants stay where they
/// are, whatever their size, for they may be packed later.
static Value stored(FunctionLowering &l, Value onnxValue) {
  ElementsAttr attr = l.constantAttr(onnxValue);
  if (!attr)
    return l.readable(l.tensor(onnxValue));
  RankedTensorType type = FunctionLowering::convert(onnxValue.getType());
  return rt::ConstantOp::create(
      l.b, l.loc(), MemRefType::get(type.getShape(), type.getElementType()),
      attr);
}

/// A value before it was cast from f16 or bf16 to a wider type: the same numbers.
static Value beforeWidening(Value onnxValue) {
  Operation *op = onnxValue.getDefiningOp();
  if (!op || op->getName().getStringRef() != "onnx.Cast")
    return onnxValue;
  Type from = elementOf(op->getOperand(0)), to = elementOf(onnxValue);
  bool exact = isa<Float16Type, BFloat16Type>(from) &&
               isa<Float32Type, Float64Type>(to);
  return exact ? op->getOperand(0) : onnxValue;
}

/// A static, contiguous buffer seen with other extents.
static Value viewAs(FunctionLowering &l, Value buffer,
                    ArrayRef<int64_t> shape) {
  auto type = cast<MemRefType>(buffer.getType());
  if (type.getShape() == shape)
    return buffer;
  ReassociationIndices all;
  if (type.getRank() > 1) {
    for (int64_t i = 0; i < type.getRank(); ++i)
      all.push_back(i);
    buffer = memref::CollapseShapeOp::create(
        l.b, l.loc(), buffer, ArrayRef<ReassociationIndices>(all));
  }
  all.clear();
  for (size_t i = 0; i < shape.size(); ++i)
    all.push_back(i);
  return memref::ExpandShapeOp::create(
      l.b, l.loc(), MemRefType::get(shape, type.getElementType()), buffer,
      ArrayRef<ReassociationIndices>(all));
}

static Value load(FunctionLowering &l, Value buffer, ValueRange at) {
  return memref::LoadOp::create(l.b, l.loc(), buffer, at);
}
static void store(FunctionLowering &l, Value value, Value buffer,
                  ValueRange at) {
  memref::StoreOp::create(l.b, l.loc(), value, buffer, at);
}

static Value toF32(OpBuilder &b, Location loc, Value v) {
  if (v.getType().isF64())
    return arith::TruncFOp::create(b, loc, b.getF32Type(), v);
  return widen(b, loc, v);
}

/// The first `rows` rows and `columns` columns of a buffer of padded rows.
static Value window(FunctionLowering &l, Value buffer, OpFoldResult rows,
                    int64_t columns) {
  Extents offsets(2, l.index(0)), strides(2, l.index(1));
  return memref::SubViewOp::create(l.b, l.loc(), buffer, offsets,
                                   Extents{rows, l.index(columns)}, strides);
}

/// Pointwise computation from buffers into one.
static void fillBuffer(FunctionLowering &l, Value out, ValueRange in,
                       ArrayRef<AffineMap> maps, BodyFn body) {
  SmallVector<AffineMap> all(maps);
  all.push_back(AffineMap::getMultiDimIdentityMap(2, l.b.getContext()));
  SmallVector<utils::IteratorType> iterators(2, utils::IteratorType::parallel);
  linalg::GenericOp::create(
      l.b, l.loc(), TypeRange(), in, out, all, iterators,
      [&](OpBuilder &nested, Location at, ValueRange args) {
        Value v = body(nested, at, args.drop_back());
        linalg::YieldOp::create(nested, at, v);
      });
}

//===----------------------------------------------------------------------===//
// Order of experts
//===----------------------------------------------------------------------===//

namespace {
/// Which rows each expert has.
struct Plan {
  /// First row of each expert, then the number of rows.
  Value offsets;
  Value numRows;
  /// Of each row its token and, where the input is scaled, its weight.
  Value tokens, rowWeights;
  /// Of each slot of a token its row, -1 if it has none.
  Value positions;
};
} // namespace

/// Sorts the slots of all tokens by expert, stable, by counting. Slots whose
/// id is no expert of the bank come last and get no row.
static Plan planRows(FunctionLowering &l, Value ids, Value weights,
                     ArrayRef<OpFoldResult> dims, int64_t experts) {
  OpBuilder &b = l.b;
  Location loc = l.loc();
  Type index = b.getIndexType();
  Value zero = l.value(l.index(0)), one = l.value(l.index(1));
  Value limit = l.value(l.index(experts));
  OpFoldResult slots = l.mul(dims[0], dims[1]);
  Plan plan;
  Value offsets = l.allocate({l.index(experts + 2)}, index);
  Value cursors = l.allocate({l.index(experts + 1)}, index);
  plan.tokens = l.allocate({slots}, index);
  plan.positions = l.allocate(dims, index);
  if (weights)
    plan.rowWeights = l.allocate({slots}, b.getF32Type());

  // The expert of a slot; slots without one count as those of another.
  auto expertOf = [&](ValueRange slot) -> std::pair<Value, Value> {
    Value id = arith::IndexCastOp::create(b, loc, index, load(l, ids, slot));
    Value inside = l.compare(arith::CmpIPredicate::ult, id, limit);
    return {arith::SelectOp::create(b, loc, inside, id, limit), inside};
  };
  auto count = [&](Value buffer, Value at) {
    Value old = load(l, buffer, at);
    store(l, arith::AddIOp::create(b, loc, old, one), buffer, at);
    return old;
  };

  l.forEach({l.index(experts + 2)},
            [&](ValueRange e) { store(l, zero, offsets, e); });
  l.forEach(dims, [&](ValueRange slot) {
    Value expert = expertOf(slot).first;
    count(offsets, arith::AddIOp::create(b, loc, expert, one));
  });
  forRange(l, l.index(0), l.index(experts + 1), l.index(1), zero,
           [&](Value e, ValueRange carried) -> SmallVector<Value> {
             Value sum =
                 arith::AddIOp::create(b, loc, carried[0], load(l, offsets, e));
             store(l, sum, offsets, e);
             store(l, sum, cursors, e);
             return {sum};
           });
  l.forEach(dims, [&](ValueRange slot) {
    auto [expert, inside] = expertOf(slot);
    Value row = count(cursors, expert);
    store(l, slot[0], plan.tokens, row);
    if (weights)
      store(l, toF32(b, loc, load(l, weights, slot)), plan.rowWeights, row);
    Value none = l.value(l.index(-1));
    store(l, arith::SelectOp::create(b, loc, inside, row, none), plan.positions,
          slot);
  });
  plan.offsets = offsets;
  plan.numRows = load(l, offsets, limit);
  return plan;
}

/// The plan of a dense layer: all tokens, in order.
static Plan planAll(FunctionLowering &l, OpFoldResult tokens) {
  Plan plan;
  plan.offsets = l.allocate({l.index(2)}, l.b.getIndexType());
  plan.numRows = l.value(tokens);
  store(l, l.value(l.index(0)), plan.offsets, l.value(l.index(0)));
  store(l, plan.numRows, plan.offsets, l.value(l.index(1)));
  return plan;
}

/// The tokens of x in the order of the plan, padded, in f32, scaled.
static Value gatherRows(FunctionLowering &l, const Plan &plan, Value x,
                        OpFoldResult capacity, int64_t width, double scale) {
  Value source = l.readable(x);
  Value rows =
      l.allocate({capacity, l.index(paddedColumns(width))}, l.b.getF32Type());
  Value out = window(l, rows, plan.numRows, width);
  MLIRContext *context = l.b.getContext();
  AffineMap identity = AffineMap::getMultiDimIdentityMap(2, context);
  AffineMap perRow = identity.dropResult(1);
  SmallVector<Value> in;
  SmallVector<AffineMap> maps;
  if (plan.tokens) {
    auto front = [&](Value buffer) {
      return memref::SubViewOp::create(
          l.b, l.loc(), buffer, Extents{l.index(0)}, Extents{plan.numRows},
          Extents{l.index(1)});
    };
    in.push_back(front(plan.tokens));
    maps.push_back(perRow);
    if (plan.rowWeights) {
      in.push_back(front(plan.rowWeights));
      maps.push_back(perRow);
    }
  } else {
    in.push_back(source);
    maps.push_back(identity);
  }
  fillBuffer(
      l, out, in, maps,
      [&](OpBuilder &b, Location loc, ValueRange args) -> Value {
        Value v = args[0];
        if (plan.tokens) {
          Value column = linalg::IndexOp::create(b, loc, 1);
          v = memref::LoadOp::create(b, loc, source,
                                     ValueRange{args[0], column});
        }
        v = toF32(b, loc, v);
        if (scale != 1.0)
          v = arith::MulFOp::create(
              b, loc, v,
              arith::ConstantOp::create(b, loc, b.getF32FloatAttr(scale)));
        if (plan.rowWeights)
          v = arith::MulFOp::create(b, loc, v, args[1]);
        return v;
      });
  return rows;
}

/// Multiplies rows with their experts' matrices.
static FailureOr<Value> multiply(FunctionLowering &l, const Plan &plan,
                                 Value rows, const StoredBanks &banks,
                                 OpFoldResult capacity, int64_t inner,
                                 int64_t width, ir::GateUp gateUp,
                                 ir::BankLayout layout, EpilogueFn epilogue) {
  OpBuilder &b = l.b;
  Value out =
      l.allocate({capacity, l.index(paddedColumns(width))}, b.getF32Type());
  auto optional = [&](std::optional<int64_t> value) {
    return value ? b.getI64IntegerAttr(*value) : IntegerAttr();
  };
  auto op = ir::GroupedLinearOp::create(
      b, l.loc(), rows, plan.offsets, banks.banks, banks.scales, banks.zeros,
      banks.biases, ValueRange(), out, b.getI64IntegerAttr(inner),
      b.getI64IntegerAttr(width), ir::GateUpAttr::get(b.getContext(), gateUp),
      ir::BankLayoutAttr::get(b.getContext(), layout), optional(banks.bits),
      optional(banks.block), banks.roundRows ? b.getUnitAttr() : UnitAttr());
  OpBuilder::InsertionGuard guard(b);
  SmallVector<Type> types(gateUp == ir::GateUp::None ? 1 : 2, b.getF32Type());
  SmallVector<Location> locs(types.size(), l.loc());
  Block *block = b.createBlock(&op.getEpilogue(), {}, types, locs);
  FailureOr<Value> value = epilogue(block->getArguments());
  if (failed(value))
    return failure();
  ir::YieldOp::create(b, l.loc(), *value);
  return out;
}

/// The first columns of padded rows, as a tensor of type `element`.
static Value unpadded(FunctionLowering &l, Value rows, OpFoldResult count,
                      int64_t width, Type element) {
  Value out = l.allocate({count, l.index(width)}, element);
  AffineMap identity = AffineMap::getMultiDimIdentityMap(2, l.b.getContext());
  fillBuffer(l, out, window(l, rows, count, width), identity,
             [&](OpBuilder &b, Location loc, ValueRange args) -> Value {
               if (element.isF64())
                 return arith::ExtFOp::create(b, loc, element, args[0]);
               return narrow(b, loc, args[0], element);
             });
  return l.finished(out);
}

//===----------------------------------------------------------------------===//
// moe.dequantize
//===----------------------------------------------------------------------===//

/// Decodes a bank element by element, for users that want all of it.
static void dequantizeAll(FunctionLowering &l, ir::DequantizeOp op) {
  Value result = op.getResult();
  int64_t bits = op.getBits();
  Extents shape = l.dims(result);
  Type element = FunctionLowering::convertElement(elementOf(result));
  Value packed = l.tensor(op.getPacked()), scales = l.tensor(op.getScales());
  Value zeros = op.getZeroPoints() ? l.tensor(op.getZeroPoints()) : Value();
  std::optional<int64_t> block = op.getBlock();
  l.set(result,
        l.pointwise(
            shape, element, {}, {},
            [&](OpBuilder &b, Location loc, ValueRange) -> Value {
              auto number = [&](int64_t v) -> Value {
                return arith::ConstantIndexOp::create(b, loc, v);
              };
              Value e = linalg::IndexOp::create(b, loc, 0);
              Value n = linalg::IndexOp::create(b, loc, 1);
              Value k = linalg::IndexOp::create(b, loc, 2);
              // Code number i of a row of bytes, as f32.
              auto decode = [&](Value bytes, SmallVector<Value> at,
                                Value i) -> Value {
                Value perByte = number(8 / bits);
                at.push_back(arith::DivUIOp::create(b, loc, i, perByte));
                Value byte = tensor::ExtractOp::create(b, loc, bytes, at);
                byte = arith::ExtUIOp::create(b, loc, b.getI32Type(), byte);
                Value place = arith::RemUIOp::create(b, loc, i, perByte);
                place = arith::MulIOp::create(b, loc, place, number(bits));
                Value shift =
                    arith::IndexCastOp::create(b, loc, b.getI32Type(), place);
                Value code = arith::ShRUIOp::create(b, loc, byte, shift);
                Value mask =
                    arith::ConstantIntOp::create(b, loc, (1 << bits) - 1, 32);
                code = arith::AndIOp::create(b, loc, code, mask);
                return arith::UIToFPOp::create(b, loc, b.getF32Type(), code);
              };
              Value blockIndex =
                  block ? arith::DivUIOp::create(b, loc, k, number(*block))
                              .getResult()
                        : Value();
              Value code = decode(packed, {e, n}, k);
              Value zero;
              if (zeros && block)
                zero = decode(zeros, {e, n}, blockIndex);
              else if (zeros)
                zero = decode(zeros, {e}, n);
              else
                zero = arith::ConstantOp::create(
                    b, loc, b.getF32FloatAttr(1 << (bits - 1)));
              SmallVector<Value> at = {e, n};
              if (block)
                at.push_back(blockIndex);
              Value scale = tensor::ExtractOp::create(b, loc, scales, at);
              Value v = arith::SubFOp::create(b, loc, code, zero);
              v = arith::MulFOp::create(b, loc, v, toF32(b, loc, scale));
              if (element.isF64())
                return arith::ExtFOp::create(b, loc, element, v);
              return narrow(b, loc, v, element);
            }));
}

/// Whether a use of a bank reads its codes, so that nobody needs the whole.
static bool readsCodes(OpOperand &use) {
  auto experts = dyn_cast<ir::ExpertsOp>(use.getOwner());
  if (!experts || experts.getLayout() != ir::BankLayout::OI)
    return false;
  Value bank = use.get();
  if (!experts.getUp() || bank == experts.getDown())
    return true;
  // Gate and up are read in step: both have to be codes of one kind.
  auto gate = experts.getGate().getDefiningOp<ir::DequantizeOp>();
  auto up = experts.getUp().getDefiningOp<ir::DequantizeOp>();
  return gate && up && gate.getBits() == up.getBits() &&
         gate.getBlock() == up.getBlock() &&
         !gate.getZeroPoints() == !up.getZeroPoints();
}

static LogicalResult lowerDequantize(FunctionLowering &l, Operation *op) {
  auto dequantize = cast<ir::DequantizeOp>(op);
  auto statically = [](Value v) {
    return !v || cast<RankedTensorType>(v.getType()).hasStaticShape();
  };
  bool isStatic = statically(op->getResult(0)) &&
                  llvm::all_of(op->getOperands(), statically);
  if (isStatic && llvm::all_of(op->getResult(0).getUses(), readsCodes)) {
    l.defer(op->getResult(0));
    return success();
  }
  dequantizeAll(l, dequantize);
  return success();
}

//===----------------------------------------------------------------------===//
// moe.experts
//===----------------------------------------------------------------------===//

/// Puts a bank and its bias into `out`, as codes where that is possible.
static void addBank(FunctionLowering &l, StoredBanks &out, Value bank,
                    Value bias, bool asCodes) {
  auto type = cast<RankedTensorType>(bank.getType());
  int64_t experts = type.getDimSize(0), rows = type.getDimSize(1);
  if (asCodes) {
    auto op = bank.getDefiningOp<ir::DequantizeOp>();
    out.bits = op.getBits();
    out.block = op.getBlock();
    out.banks.push_back(stored(l, op.getPacked()));
    auto scales = cast<RankedTensorType>(op.getScales().getType());
    out.scales.push_back(
        viewAs(l, stored(l, op.getScales()),
               {experts, rows, op.getBlock() ? scales.getDimSize(2) : 1}));
    if (Value zeros = op.getZeroPoints())
      out.zeros.push_back(stored(l, zeros));
  } else {
    out.banks.push_back(stored(l, beforeWidening(bank)));
  }
  if (bias)
    out.biases.push_back(stored(l, bias));
}

static LogicalResult lowerExperts(FunctionLowering &l, Operation *op) {
  auto experts = cast<ir::ExpertsOp>(op);
  Value x = experts.getX(), y = experts.getY(), gate = experts.getGate();
  Value up = experts.getUp(), down = experts.getDown();
  Value gateBias = experts.getGateBias(), upBias = experts.getUpBias();
  Value downBias = experts.getDownBias();
  for (Value v : {gate, up, down, gateBias, upBias, downBias})
    if (v && !cast<RankedTensorType>(v.getType()).hasStaticShape())
      return unsupported(op, "weights of unknown extents");

  auto extent = [](Value v, int64_t i) {
    return cast<RankedTensorType>(v.getType()).getDimSize(i);
  };
  bool oi = experts.getLayout() == ir::BankLayout::OI;
  ir::GateUp form = experts.getGateUp();
  int64_t numExperts = extent(gate, 0);
  int64_t hidden = extent(gate, oi ? 2 : 1);
  int64_t inner = extent(down, oi ? 2 : 1);
  int64_t width = extent(down, oi ? 1 : 2);
  l.checkEqual(l.dim(x, 1), l.index(hidden),
               "x and the experts differ in their width");

  OpFoldResult tokens = l.dim(x, 0), capacity = tokens;
  Value ids = experts.getIds(), weights = experts.getWeights();
  bool scaleInput = ids && experts.getScaleAt() == ir::ScaleAt::Input;
  Plan plan;
  Value weightsBuffer;
  if (ids) {
    Extents dims = l.dims(ids);
    l.checkEqual(dims[0], tokens, "x and ids differ in their tokens");
    l.checkEqual(l.dim(weights, 0), tokens,
                 "x and weights differ in their tokens");
    l.checkEqual(l.dim(weights, 1), dims[1],
                 "ids and weights differ in their slots");
    dims[0] = tokens;
    capacity = l.mul(tokens, dims[1]);
    int64_t logical = experts.getLogical().value_or(numExperts);
    int64_t limit = std::max(logical, numExperts);
    checkExpertIds(l, ids, l.index(limit),
                   "an id is out of range; [-1, " + Twine(limit) +
                       ") is accepted");
    weightsBuffer = l.readable(l.castTo(l.tensor(weights), l.b.getF32Type()));
    plan = planRows(l, l.readable(l.tensor(ids)),
                    scaleInput ? weightsBuffer : Value(), dims, numExperts);
  } else {
    plan = planAll(l, tokens);
  }

  Value rows = gatherRows(l, plan, l.tensor(x), capacity, hidden,
                          experts.getInScale().convertToDouble());
  auto isCodes = [&](Value bank) {
    for (OpOperand &use : op->getOpOperands())
      if (use.get() == bank)
        return bank.getDefiningOp<ir::DequantizeOp>() && readsCodes(use) &&
               l.isDeferred(bank);
    return false;
  };
  StoredBanks first, second;
  addBank(l, first, gate, gateBias, isCodes(gate));
  if (up)
    addBank(l, first, up, upBias, isCodes(up));
  addBank(l, second, down, downBias, isCodes(down));
  if (up && first.biases.size() == 1) {
    // One of the two is missing: zeros stand for it.
    auto type = cast<MemRefType>(first.biases.front().getType());
    auto zeros = DenseElementsAttr::get(
        RankedTensorType::get(type.getShape(), type.getElementType()),
        cast<TypedAttr>(l.b.getZeroAttr(type.getElementType())));
    Value zero = rt::ConstantOp::create(l.b, l.loc(), type, zeros);
    first.biases.insert(gateBias ? first.biases.end() : first.biases.begin(),
                        zero);
  }

  FailureOr<Value> hiddenRows =
      multiply(l, plan, rows, first, capacity, hidden, inner, form,
               experts.getLayout(), [&](ValueRange sums) -> FailureOr<Value> {
                 FailureOr<SmallVector<Value>> values =
                     l.lowerScalars(experts.getActivation().front(), sums);
                 if (failed(values))
                   return failure();
                 return values->front();
               });
  if (failed(hiddenRows))
    return failure();
  FailureOr<Value> results =
      multiply(l, plan, *hiddenRows, second, capacity, inner, width,
               ir::GateUp::None, experts.getLayout(),
               [](ValueRange sums) -> FailureOr<Value> { return sums[0]; });
  if (failed(results))
    return failure();

  Type element = FunctionLowering::convertElement(elementOf(y));
  if (!ids) {
    l.set(y, unpadded(l, *results, tokens, width, element));
    return success();
  }
  Value sums = l.allocate({tokens, l.index(width)}, l.b.getF32Type());
  ir::CombineOp::create(l.b, l.loc(), *results, plan.positions,
                        scaleInput ? Value() : weightsBuffer, sums);
  l.set(y, l.castTo(l.finished(sums), element));
  return success();
}

//===----------------------------------------------------------------------===//
// MatMulNBits
//===----------------------------------------------------------------------===//

/// Whether g_idx says what is so without it: code k is in block k / block.
static bool isPlainGrouping(FunctionLowering &l, Value groups, int64_t inner,
                            int64_t block) {
  auto dense = dyn_cast_or_null<DenseElementsAttr>(l.constantAttr(groups));
  if (!dense || dense.getNumElements() != inner ||
      !dense.getElementType().isInteger(32))
    return false;
  for (auto [k, group] : llvm::enumerate(dense.getValues<int32_t>()))
    if (group != static_cast<int64_t>(k) / block)
      return false;
  return true;
}

static LogicalResult lowerMatMulNBits(FunctionLowering &l, Operation *op) {
  Value x = operand(op, 0), codes = operand(op, 1), scales = operand(op, 2);
  Value zeros = operand(op, 3), groups = operand(op, 4), bias = operand(op, 5);
  Value y = result(op, 0);
  int64_t inner = intAttr(op, "K", 0), width = intAttr(op, "N", 0);
  int64_t bits = intAttr(op, "bits", 4), block = intAttr(op, "block_size", 0);
  if (bits != 2 && bits != 4 && bits != 8)
    return unsupported(op,
                       "bits = " + Twine(bits) + "; 2, 4 and 8 are accepted");
  if (intAttr(op, "weight_prepacked", 0) != 0)
    return unsupported(op, "weights in another library's own order "
                           "(weight_prepacked)");
  if (!elementOf(codes).isUnsignedInteger(8))
    return unsupported(op, "B with elements that are no uint8");
  if (groups && !isPlainGrouping(l, groups, inner, block))
    return unsupported(op, "a g_idx that is not k / block_size");

  // Sizes are checked here: the shapes that models give differ in rank.
  int64_t blocks = llvm::divideCeil(static_cast<uint64_t>(inner),
                                    static_cast<uint64_t>(block));
  int64_t blockBytes = block * bits / 8;
  int64_t zeroBytes =
      llvm::divideCeil(static_cast<uint64_t>(blocks * bits), 8u);
  auto has = [&](Value v, StringRef name, int64_t count) -> LogicalResult {
    auto type = cast<RankedTensorType>(v.getType());
    if (!type.hasStaticShape())
      return unsupported(op, name + " of unknown extents");
    if (type.getNumElements() != count)
      return op->emitOpError()
             << name << " has " << type.getNumElements() << " elements; "
             << count << " are accepted for N = " << width << ", K = " << inner
             << ", bits = " << bits << ", block_size = " << block;
    return success();
  };
  if (failed(has(codes, "B", width * blocks * blockBytes)) ||
      failed(has(scales, "scales", width * blocks)) ||
      (bias && failed(has(bias, "bias", width))))
    return failure();
  bool floatZeros = zeros && isa<FloatType>(elementOf(zeros));
  if (zeros && !floatZeros && !elementOf(zeros).isUnsignedInteger(8))
    return unsupported(op, "zero_points that are neither uint8 nor floats");
  if (zeros && failed(has(zeros, "zero_points",
                          width * (floatZeros ? blocks : zeroBytes))))
    return failure();

  Extents shape = l.dims(x), outer = shape;
  outer.pop_back();
  OpFoldResult tokens = l.product(outer);
  l.checkEqual(shape.back(), l.index(inner), "A is not as wide as K says");
  shape.back() = l.index(inner);
  Value flat = l.reshape(l.tensor(x), shape, {tokens, l.index(inner)});

  StoredBanks banks;
  // Activations may be rounded, and models that say so were made and tested
  // with it.
  banks.roundRows = intAttr(op, "accuracy_level", 0) == 4;
  banks.bits = bits;
  banks.block = block;
  banks.banks.push_back(
      viewAs(l, stored(l, codes), {1, width, blocks * blockBytes}));
  banks.scales.push_back(viewAs(l, stored(l, scales), {1, width, blocks}));
  if (zeros)
    banks.zeros.push_back(viewAs(l, stored(l, zeros),
                                 {1, width, floatZeros ? blocks : zeroBytes}));
  if (bias)
    banks.biases.push_back(viewAs(l, stored(l, bias), {1, width}));
  Plan plan = planAll(l, tokens);
  Value rows = gatherRows(l, plan, flat, tokens, inner, 1.0);
  FailureOr<Value> results =
      multiply(l, plan, rows, banks, tokens, inner, width, ir::GateUp::None,
               ir::BankLayout::OI,
               [](ValueRange sums) -> FailureOr<Value> { return sums[0]; });
  if (failed(results))
    return failure();
  Value out = unpadded(l, *results, tokens, width,
                       FunctionLowering::convertElement(elementOf(y)));
  outer.push_back(l.index(width));
  outer = l.bindDims(y, outer);
  l.set(y, l.reshape(out, {tokens, l.index(width)}, outer));
  return success();
}

void lower::registerExperts(LoweringTable &table) {
  table.add("moe.dequantize", lowerDequantize);
  table.add("moe.experts", lowerExperts);
  table.add("onnx_ms.MatMulNBits", lowerMatMulNBits);
}
