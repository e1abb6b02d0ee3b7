//===- IntegerKernels.cpp - products of digits and codes ------------------===//
//
// `vpdpbusd` multiplies four unsigned bytes by four signed ones and adds the
// products to an integer. Codes are the unsigned ones. An activation of up to
// three signed digits takes as many instructions, and nothing but its own
// rounding is inexact: sums of a unit with two digits fit 32 bits.
//
//===----------------------------------------------------------------------===//
#include "passes/Lower/Host/IntegerKernels.h"

#include "passes/Lower/Host/GroupedEmitter.h"

#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include <limits>

using namespace mlir;
using namespace moe;

/// Values below this are zeros beside a scale: the reciprocal stays finite.
static constexpr double leastMagnitude = 1e-30;
/// 1.5 * 2^23: an f32 below 2^22 added to it is rounded to an integer, to the
/// nearest and to even, which is then in the low bits. Of other numbers it
/// makes some integer.
static constexpr float roundingBias = 12582912.0f;
static constexpr int32_t roundingBits = 0x4b400000;

std::string IntegerForm::getName() const {
  std::string name =
      ".i" + std::to_string(rows.bits) + "x" + std::to_string(rows.digits);
  if (rows.unit != 32)
    name += ".u" + std::to_string(rows.unit);
  if (nested)
    name += ".nested";
  if (zeros)
    name += ".zeros";
  return name;
}

static Type bufferOf(Type element) {
  return MemRefType::get({ShapedType::kDynamic}, element);
}

static Value splat(const Emitter &b, VectorType type, TypedAttr value) {
  return arith::ConstantOp::create(
      b.b, b.loc, DenseElementsAttr::get(type, Attribute(value)));
}
static Value splatInt(const Emitter &b, VectorType type, int64_t value) {
  return splat(b, type, b.b.getI32IntegerAttr(value));
}
static Value integer(const Emitter &b, int64_t value) {
  return arith::ConstantIntOp::create(b.b, b.loc, value, 32);
}
static Value bitcast(const Emitter &b, Type type, Value value) {
  return arith::BitcastOp::create(b.b, b.loc, type, value);
}

//===----------------------------------------------------------------------===//
// Rows
//===----------------------------------------------------------------------===//

namespace {
/// Parts of functions that round rows.
struct RowRounding {
  RowRounding(const Emitter &b, int64_t lanes)
      : b(b), lanes(lanes), floats(VectorType::get({lanes}, b.b.getF32Type())),
        ints(VectorType::get({lanes}, b.b.getI32Type())) {}

  /// Elements of x from `at` on; `left`, if given, says how many there are, and
  /// the others are zeros.
  Value load(Value x, Value first, Value at, Value left) const {
    Value place = b.add(first, at);
    if (!left)
      return b.loadVector(floats, x, place);
    Value none = arith::ConstantOp::create(b.b, b.loc, b.b.getZeroAttr(floats));
    return vector::MaskedLoadOp::create(b.b, b.loc, floats, x, place,
                                        b.firstLanes(lanes, left), none);
  }

  /// Scale and its inverse of a run of elements, for values up to `limit`.
  /// As integers, magnitudes are in order, and NaNs and infinities above all.
  std::pair<Value, Value> getScale(Value x, Value first, Value from, Value to,
                                   bool partial, double limit) const {
    Value zero = arith::ConstantOp::create(b.b, b.loc, b.b.getZeroAttr(ints));
    auto loop =
        scf::ForOp::create(b.b, b.loc, from, to, b.constant(lanes), zero);
    {
      OpBuilder::InsertionGuard guard(b.b);
      b.b.setInsertionPointToStart(loop.getBody());
      Value at = loop.getInductionVar();
      Value v = load(x, first, at, partial ? b.sub(to, at) : Value());
      v = bitcast(b, ints, v);
      v = arith::AndIOp::create(b.b, b.loc, v, splatInt(b, ints, 0x7fffffff));
      v = arith::MaxSIOp::create(b.b, b.loc, loop.getRegionIterArgs()[0], v);
      scf::YieldOp::create(b.b, b.loc, v);
    }
    Value most = vector::ReductionOp::create(
        b.b, b.loc, vector::CombiningKind::MAXSI, loop.getResult(0));
    Value finite =
        b.compare(arith::CmpIPredicate::slt, most, integer(b, 0x7f800000));
    most = bitcast(b, b.b.getF32Type(), most);
    most = arith::MaxNumFOp::create(b.b, b.loc, most, b.real(leastMagnitude));
    Value scale = arith::DivFOp::create(b.b, b.loc, most, b.real(limit));
    Value inverse = arith::DivFOp::create(b.b, b.loc, b.real(limit), most);
    return {b.select(finite, scale,
                     b.real(std::numeric_limits<double>::quiet_NaN())),
            b.select(finite, inverse, b.real(0))};
  }

  /// Elements as multiples of the scale. Not a product by the inverse of what
  /// is stored as scale: at the border of two steps that decides, and models
  /// that ask for 8 bits were made with this rule.
  Value round(Value v, Value inverse) const {
    v = arith::MulFOp::create(
        b.b, b.loc, v,
        vector::BroadcastOp::create(b.b, b.loc, floats, inverse));
    v = arith::AddFOp::create(
        b.b, b.loc, v, splat(b, floats, b.b.getF32FloatAttr(roundingBias)));
    return arith::SubIOp::create(b.b, b.loc, bitcast(b, ints, v),
                                 splatInt(b, ints, roundingBits));
  }

  const Emitter &b;
  int64_t lanes;
  VectorType floats, ints;
};
} // namespace

func::FuncOp IntegerKernels::getSplit(const DigitRows &rows, bool partial) {
  std::string name = "moe.kernel.split.i" + std::to_string(rows.bits) + "x" +
                     std::to_string(rows.digits);
  if (rows.unit != 32)
    name += ".u" + std::to_string(rows.unit);
  if (partial)
    name += ".partial";
  func::FuncOp &function = made[name];
  if (function)
    return function;
  MLIRContext *context = kernels.getContext();
  OpBuilder builder(context);
  Type index = builder.getIndexType(), i32 = builder.getI32Type();
  function = kernels.create(name, {bufferOf(builder.getF32Type()), index,
                                   bufferOf(i32), index, index, index});
  Emitter b{builder, function.getLoc()};
  builder.setInsertionPointToStart(&function.front());
  Value x = function.getArgument(0), xFirst = function.getArgument(1);
  Value out = function.getArgument(2), outFirst = function.getArgument(3);
  Value depth = function.getArgument(4), perScale = function.getArgument(5);
  // Half units of 16 are no vectors: then as many lanes as a unit has.
  int64_t lanes = std::min(tile.lanes, rows.unit);
  RowRounding rounding(b, lanes);
  VectorType ints = rounding.ints;
  auto bytes = VectorType::get({lanes}, builder.getIntegerType(8));
  auto words = VectorType::get({lanes / 4}, i32);

  auto blocks = scf::ForOp::create(builder, b.loc, b.constant(0), depth,
                                   b.mul(perScale, rows.unit));
  builder.setInsertionPointToStart(blocks.getBody());
  Value from = blocks.getInductionVar();
  Value to = b.min(b.add(from, b.mul(perScale, rows.unit)), depth);
  auto [scale, inverse] =
      rounding.getScale(x, xFirst, from, to, partial, rows.getLimit());
  // The names of a structured binding cannot be captured.
  Value step = scale, factor = inverse;
  b.forRange(from, to, rows.unit, [&](Value unit) {
    Value place =
        b.add(outFirst, b.mul(b.div(unit, rows.unit), rows.getUnitWords()));
    Value sum =
        arith::ConstantOp::create(builder, b.loc, builder.getZeroAttr(ints));
    Value highSum = sum;
    for (int64_t v = 0; v < rows.unit; v += lanes) {
      Value at = b.add(unit, v), left;
      if (partial)
        left = b.sub(depth, b.min(at, depth));
      Value q = rounding.round(rounding.load(x, xFirst, at, left), factor);
      sum = arith::AddIOp::create(builder, b.loc, sum, q);
      auto store = [&](Value digit, int64_t number) {
        digit = arith::TruncIOp::create(builder, b.loc, bytes, digit);
        digit = vector::BitCastOp::create(builder, b.loc, words, digit);
        b.storeVector(digit, out, b.add(place, number * rows.unit / 4 + v / 4));
      };
      // The low byte of a number is its last digit, signed; what is left
      // without it are the others.
      for (int64_t digit = rows.digits - 1; digit >= 0; --digit) {
        store(q, digit);
        if (digit == 0)
          break;
        q = arith::AddIOp::create(builder, b.loc, q, splatInt(b, ints, 128));
        q = arith::ShRSIOp::create(builder, b.loc, q, splatInt(b, ints, 8));
      }
      highSum = arith::AddIOp::create(builder, b.loc, highSum, q);
    }
    auto total = [&](Value sums) -> Value {
      return vector::ReductionOp::create(builder, b.loc,
                                         vector::CombiningKind::ADD, sums);
    };
    // Minus the zero point for each of the elements.
    auto start = [&](Value sum) -> Value {
      return arith::SubIOp::create(
          builder, b.loc, integer(b, 0),
          arith::ShLIOp::create(builder, b.loc, sum,
                                integer(b, rows.bits - 1)));
    };
    Value all = total(sum), low = all;
    Value end = b.add(place, rows.getScalePlace());
    if (rows.digits == 3) {
      Value high = total(highSum);
      b.store(start(high), out, b.add(end, 3));
      low = arith::SubIOp::create(
          builder, b.loc, all,
          arith::ShLIOp::create(builder, b.loc, high, integer(b, 16)));
    }
    Value real =
        arith::SIToFPOp::create(builder, b.loc, builder.getF32Type(), all);
    real = arith::MulFOp::create(builder, b.loc, real, step);
    b.store(bitcast(b, i32, step), out, end);
    b.store(start(low), out, b.add(end, 1));
    b.store(bitcast(b, i32, real), out, b.add(end, 2));
  });
  builder.setInsertionPointAfter(blocks);
  func::ReturnOp::create(builder, b.loc);
  return function;
}

func::FuncOp IntegerKernels::getRound() {
  func::FuncOp &function = made["moe.kernel.round"];
  if (function)
    return function;
  OpBuilder builder(kernels.getContext());
  Type index = builder.getIndexType(), f32 = builder.getF32Type();
  function =
      kernels.create("moe.kernel.round", {bufferOf(f32), index, bufferOf(f32),
                                          index, index, index});
  Emitter b{builder, function.getLoc()};
  builder.setInsertionPointToStart(&function.front());
  Value x = function.getArgument(0), xFirst = function.getArgument(1);
  Value out = function.getArgument(2), outFirst = function.getArgument(3);
  Value depth = function.getArgument(4), block = function.getArgument(5);
  RowRounding rounding(b, tile.lanes);
  auto blocks = scf::ForOp::create(builder, b.loc, b.constant(0), depth, block);
  builder.setInsertionPointToStart(blocks.getBody());
  Value from = blocks.getInductionVar();
  Value to = b.min(b.add(from, block), depth);
  auto [scale, inverse] = rounding.getScale(x, xFirst, from, to, true,
                                            DigitRows{1, 32, 8}.getLimit());
  Value step =
      vector::BroadcastOp::create(builder, b.loc, rounding.floats, scale);
  Value factor = inverse;
  b.forRange(from, to, tile.lanes, [&](Value at) {
    Value left = b.sub(to, at);
    Value v = rounding.round(rounding.load(x, xFirst, at, left), factor);
    v = arith::SIToFPOp::create(builder, b.loc, rounding.floats, v);
    v = arith::MulFOp::create(builder, b.loc, v, step);
    vector::MaskedStoreOp::create(builder, b.loc, out,
                                  ValueRange{b.add(outFirst, at)},
                                  b.firstLanes(tile.lanes, left), v);
  });
  builder.setInsertionPointAfter(blocks);
  func::ReturnOp::create(builder, b.loc);
  return function;
}

//===----------------------------------------------------------------------===//
// Products
//===----------------------------------------------------------------------===//

int64_t IntegerKernels::getMaxRows(const IntegerForm &form) const {
  bool wide = tile.lanes >= 16;
  if (form.rows.digits > 1)
    return form.rows.digits == 2 ? (wide ? 4 : 2) : (wide ? 3 : 1);
  // Scales and zero points of a nested form stay in registers as well.
  return wide ? (form.nested && form.zeros ? 5 : 6) : 3;
}

static SmallVector<Type> argumentTypes(OpBuilder &b, bool prefetch) {
  Type index = b.getIndexType();
  Type words = bufferOf(b.getI32Type()), floats = bufferOf(b.getF32Type());
  SmallVector<Type> types = {words,  index, index, words, index,  floats,
                             floats, index, index, index, floats, index};
  if (prefetch)
    types.push_back(index);
  return types;
}

func::FuncOp IntegerKernels::getAny(const IntegerForm &form, bool prefetch) {
  std::string name =
      "moe.kernel.any" + form.getName() + (prefetch ? ".prefetch" : "");
  func::FuncOp &function = made[name];
  if (function)
    return function;
  OpBuilder b(kernels.getContext());
  SmallVector<Type> types = {b.getIndexType()};
  llvm::append_range(types, argumentTypes(b, prefetch));
  function = kernels.create(name, types);
  int64_t most = getMaxRows(form);
  chooseByRows(function, prefetch ? (most + 1) / 2 : 1, most,
               [&](int64_t rows) { return get(form, rows, prefetch); });
  return function;
}

func::FuncOp IntegerKernels::get(const IntegerForm &form, int64_t rows,
                                 bool prefetch) {
  OpBuilder builder(kernels.getContext());
  func::FuncOp function =
      kernels.create("moe.kernel.r" + std::to_string(rows) + form.getName() +
                         (prefetch ? ".prefetch" : ""),
                     argumentTypes(builder, prefetch));
  Emitter b{builder, function.getLoc()};
  builder.setInsertionPointToStart(&function.front());
  auto argument = [&](unsigned i) -> Value { return function.getArgument(i); };
  Value a = argument(0), aFirst = argument(1), aStride = argument(2);
  Value codes = argument(3), codesFirst = argument(4), scales = argument(5);
  Value zeros = argument(6), scalesFirst = argument(7), units = argument(8);
  Value perScale = argument(9), sums = argument(10), sumsFirst = argument(11);

  const DigitRows &digits = form.rows;
  int64_t vectors = tile.columns / tile.lanes, count = rows * vectors;
  int64_t perWord = 8 / digits.bits;
  auto floats = VectorType::get({tile.lanes}, builder.getF32Type());
  auto ints = VectorType::get({tile.lanes}, builder.getI32Type());
  auto bytes = VectorType::get({4 * tile.lanes}, builder.getIntegerType(8));
  auto intrinsic = builder.getStringAttr("llvm.x86.avx512.vpdpbusd." +
                                         std::to_string(32 * tile.lanes));
  // One instruction has to wait for another one's sum: few rows have two sums,
  // if there are registers for them.
  int64_t registers = tile.lanes >= 16 ? 32 : 16;
  bool fits = 2 * digits.digits * count + count + 6 <= registers;
  int64_t chains = rows <= 2 && fits ? 2 : 1;

  SmallVector<Value> rowFirst = {aFirst};
  while (static_cast<int64_t>(rowFirst.size()) < rows)
    rowFirst.push_back(b.add(rowFirst.back(), aStride));
  Value mask = splatInt(b, ints, 0x01010101 * ((1 << digits.bits) - 1));

  auto broadcast = [&](VectorType type, Value place) -> Value {
    Value v = b.load(a, place);
    if (type == floats)
      v = bitcast(b, builder.getF32Type(), v);
    return vector::BroadcastOp::create(builder, b.loc, type, v);
  };
  auto dot = [&](Value sum, Value code, Value x) -> Value {
    return LLVM::CallIntrinsicOp::create(
               builder, b.loc, ints, intrinsic,
               ValueRange{
                   sum, vector::BitCastOp::create(builder, b.loc, bytes, code),
                   vector::BitCastOp::create(builder, b.loc, bytes, x)})
        .getResults();
  };
  auto addInts = [&](Value x, Value y) -> Value {
    return arith::AddIOp::create(builder, b.loc, x, y);
  };

  // The sums of a unit, by row and vector: codes minus the default zero point,
  // times integers. Exact but for their conversion to f32.
  auto sumUnit = [&](Value unit, ArrayRef<Value> place) {
    // By chain, digit, row and vector.
    SmallVector<Value> parts(
        chains * digits.digits * count,
        arith::ConstantOp::create(builder, b.loc, builder.getZeroAttr(ints)));
    auto at = [&](int64_t chain, int64_t digit, int64_t i) -> Value & {
      return parts[(chain * digits.digits + digit) * count + i];
    };
    for (int64_t i = 0; i < count; ++i) {
      Value end = b.add(place[i / vectors], digits.getScalePlace());
      at(0, digits.digits - 1, i) = broadcast(ints, b.add(end, 1));
      if (digits.digits == 3)
        at(0, 0, i) = broadcast(ints, b.add(end, 3));
    }
    int64_t words = form.getPanelWords();
    Value first = b.add(codesFirst, b.mul(unit, words * tile.columns));
    for (int64_t word = 0; word < words; ++word) {
      if (prefetch) {
        Value line = b.add(b.mul(unit, 16 * words), 16 * word);
        memref::PrefetchOp::create(builder, b.loc, codes,
                                   b.add(argument(12), line), /*isWrite=*/false,
                                   /*localityHint=*/2, /*isDataCache=*/true);
      }
      SmallVector<Value> loaded;
      for (int64_t v = 0; v < vectors; ++v)
        loaded.push_back(b.loadVector(
            ints, codes, b.add(first, word * tile.columns + v * tile.lanes)));
      for (int64_t part = 0; part < perWord; ++part) {
        int64_t number = word * perWord + part;
        SmallVector<Value> code = loaded;
        for (Value &c : code) {
          if (part)
            c = arith::ShRUIOp::create(builder, b.loc, c,
                                       splatInt(b, ints, part * digits.bits));
          if (perWord > 1)
            c = arith::AndIOp::create(builder, b.loc, c, mask);
        }
        for (int64_t row = 0; row < rows; ++row)
          for (int64_t digit = 0; digit < digits.digits; ++digit) {
            Value x = broadcast(
                ints, b.add(place[row], digit * digits.unit / 4 + number));
            for (int64_t v = 0; v < vectors; ++v) {
              Value &sum = at(number % chains, digit, row * vectors + v);
              sum = dot(sum, code[v], x);
            }
          }
      }
    }
    SmallVector<Value> result;
    for (int64_t i = 0; i < count; ++i) {
      SmallVector<Value> total;
      for (int64_t digit = 0; digit < digits.digits; ++digit) {
        total.push_back(at(0, digit, i));
        for (int64_t chain = 1; chain < chains; ++chain)
          total.back() = addInts(total.back(), at(chain, digit, i));
      }
      if (digits.digits > 1) {
        Value last = total.pop_back_val(), next = total.pop_back_val();
        next =
            arith::ShLIOp::create(builder, b.loc, next, splatInt(b, ints, 8));
        total.push_back(addInts(next, last));
      }
      Value low = arith::SIToFPOp::create(builder, b.loc, floats, total.back());
      if (digits.digits == 3) {
        Value high = arith::SIToFPOp::create(builder, b.loc, floats, total[0]);
        low = vector::FMAOp::create(
            builder, b.loc, high,
            splat(b, floats, builder.getF32FloatAttr(65536)), low);
      }
      result.push_back(low);
    }
    return result;
  };

  // Scales of the weights, then zero points, relative to the default one.
  auto loadScales = [&](Value number) {
    Value place = b.add(scalesFirst, b.mul(number, tile.columns));
    SmallVector<Value> result;
    for (int64_t v = 0; v < tile.columns; v += tile.lanes)
      result.push_back(b.loadVector(floats, scales, b.add(place, v)));
    for (int64_t v = 0; form.zeros && v < tile.columns; v += tile.lanes)
      result.push_back(arith::SubFOp::create(
          builder, b.loc,
          splat(b, floats, builder.getF32FloatAttr(1 << (digits.bits - 1))),
          b.loadVector(floats, zeros, b.add(place, v))));
    return result;
  };
  auto addUnit = [&](Value unit, ArrayRef<Value> weights, ValueRange totals) {
    SmallVector<Value> place, next;
    for (Value row : rowFirst)
      place.push_back(b.add(row, b.mul(unit, digits.getUnitWords())));
    SmallVector<Value> unitSums = sumUnit(unit, place);
    for (int64_t row = 0; row < rows; ++row) {
      Value end = b.add(place[row], digits.getScalePlace());
      Value scale = broadcast(floats, end), sum;
      if (form.zeros)
        sum = broadcast(floats, b.add(end, 2));
      for (int64_t v = 0; v < vectors; ++v) {
        Value value = arith::MulFOp::create(builder, b.loc,
                                            unitSums[row * vectors + v], scale);
        if (form.zeros)
          value = vector::FMAOp::create(builder, b.loc, sum,
                                        weights[vectors + v], value);
        next.push_back(vector::FMAOp::create(builder, b.loc, value, weights[v],
                                             totals[row * vectors + v]));
      }
    }
    return next;
  };

  SmallVector<Value> init(
      count,
      arith::ConstantOp::create(builder, b.loc, builder.getZeroAttr(floats)));
  auto outer = scf::ForOp::create(builder, b.loc, b.constant(0), units,
                                  form.nested ? perScale : b.constant(1), init);
  {
    OpBuilder::InsertionGuard guard(builder);
    builder.setInsertionPointToStart(outer.getBody());
    Value from = outer.getInductionVar();
    SmallVector<Value> next;
    if (form.nested) {
      SmallVector<Value> weights = loadScales(b.div(from, perScale));
      Value to = b.min(b.add(from, perScale), units);
      auto loop = scf::ForOp::create(builder, b.loc, from, to, b.constant(1),
                                     outer.getRegionIterArgs());
      OpBuilder::InsertionGuard inside(builder);
      builder.setInsertionPointToStart(loop.getBody());
      scf::YieldOp::create(
          builder, b.loc,
          addUnit(loop.getInductionVar(), weights, loop.getRegionIterArgs()));
      next = llvm::to_vector_of<Value>(loop.getResults());
    } else {
      next = addUnit(from, loadScales(from), outer.getRegionIterArgs());
    }
    builder.setInsertionPointToEnd(outer.getBody());
    scf::YieldOp::create(builder, b.loc, next);
  }
  for (int64_t i = 0; i < count; ++i) {
    Value at = b.add(sumsFirst, i * tile.lanes);
    Value total = b.loadVector(floats, sums, at);
    total = arith::AddFOp::create(builder, b.loc, total, outer.getResult(i));
    b.storeVector(total, sums, at);
  }
  func::ReturnOp::create(builder, b.loc);
  return function;
}
