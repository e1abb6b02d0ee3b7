//===- Experts.cpp - products with stored weights -------------------------===//
//
// What the products of experts and of MatMulNBits have in common: rows with
// padding, weights that stay as they are stored, `moe.grouped_linear`. A dense
// layer (MatMulNBits, experts without routing) has one expert and all tokens in
// order.
//
//===----------------------------------------------------------------------===//

#include "passes/Lower/MoEToLinalg/Experts.h"
#include "dialects/MoE/MoEDialect.h"
#include "dialects/Rt/RtDialect.h"
#include "mlir/Dialect/Utils/StaticValueUtils.h"
#include "passes/Lower/MoEToLinalg/MoEToLinalg.h"

using namespace mlir;
using namespace moe;
using namespace moe::lower;

//===----------------------------------------------------------------------===//
// Buffers
//===----------------------------------------------------------------------===//

/// Columns of a buffer for rows of `width`: whole panels, and a stride that is
/// no power of two, so that neighbouring rows do not share a place in caches.
static int64_t paddedColumns(int64_t width) {
  return llvm::alignTo(static_cast<uint64_t>(width), 32) + 16;
}

Value lower::stored(FunctionLowering &l, Value onnxValue) {
  ElementsAttr attr = l.constantAttr(onnxValue);
  if (!attr)
    return l.readable(l.tensor(onnxValue));
  RankedTensorType type = FunctionLowering::convert(onnxValue.getType());
  return rt::ConstantOp::create(
      l.b, l.loc(), MemRefType::get(type.getShape(), type.getElementType()),
      attr);
}

Value lower::viewAs(FunctionLowering &l, Value buffer,
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
// Products
//===----------------------------------------------------------------------===//

Value lower::offsetsOfAll(FunctionLowering &l, OpFoldResult tokens) {
  Value offsets = l.allocate({l.index(2)}, l.b.getIndexType());
  for (auto [i, row] : llvm::enumerate(Extents{l.index(0), tokens}))
    memref::StoreOp::create(l.b, l.loc(), l.value(row), offsets,
                            l.value(l.index(i)));
  return offsets;
}

Value lower::gatherRows(FunctionLowering &l, const RowSource &from, Value x,
                        OpFoldResult capacity, int64_t width, double scale) {
  Value source = l.readable(x);
  Value rows =
      l.allocate({capacity, l.index(paddedColumns(width))}, l.b.getF32Type());
  Value out = window(l, rows, from.count, width);
  MLIRContext *context = l.b.getContext();
  AffineMap identity = AffineMap::getMultiDimIdentityMap(2, context);
  AffineMap perRow = identity.dropResult(1);
  SmallVector<Value> in;
  SmallVector<AffineMap> maps;
  if (from.tokens) {
    auto front = [&](Value buffer) {
      return memref::SubViewOp::create(l.b, l.loc(), buffer,
                                       Extents{l.index(0)}, Extents{from.count},
                                       Extents{l.index(1)});
    };
    in.push_back(front(from.tokens));
    maps.push_back(perRow);
    if (from.weights) {
      in.push_back(front(from.weights));
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
        if (from.tokens) {
          Value column = linalg::IndexOp::create(b, loc, 1);
          v = memref::LoadOp::create(b, loc, source,
                                     ValueRange{args[0], column});
        }
        v = toF32(b, loc, v);
        if (scale != 1.0)
          v = arith::MulFOp::create(
              b, loc, v,
              arith::ConstantOp::create(b, loc, b.getF32FloatAttr(scale)));
        if (from.weights)
          v = arith::MulFOp::create(b, loc, v, args[1]);
        return v;
      });
  return rows;
}

FailureOr<Value> lower::multiply(FunctionLowering &l, Value offsets, Value rows,
                                 const StoredBanks &banks,
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
      b, l.loc(), rows, offsets, banks.banks, banks.scales, banks.zeros,
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

Value lower::unpadded(FunctionLowering &l, Value rows, OpFoldResult count,
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

static LogicalResult lowerDequantize(FunctionLowering &l, Operation *op) {
  dequantizeAll(l, cast<ir::DequantizeOp>(op));
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
  RowSource all{l.value(tokens), {}, {}};
  Value rows = gatherRows(l, all, flat, tokens, inner, 1.0);
  FailureOr<Value> results =
      multiply(l, offsetsOfAll(l, tokens), rows, banks, tokens, inner, width,
               ir::GateUp::None, ir::BankLayout::OI,
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
  table.add("onnx_ms.MatMulNBits", lowerMatMulNBits);
}
