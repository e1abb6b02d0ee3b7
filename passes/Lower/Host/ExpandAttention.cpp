//===- ExpandAttention.cpp - attention as loops over kernels --------------===//
//
// The rows of a unit are the queries of all heads that share keys, token by
// token, `tile.maxRows` of them. Their scores are products with panels of keys
// [D, columns]; these are made ready for the softmax while they are stored, and
// the probabilities are multiplied by panels of values [L, columns]. So a unit
// holds [rows, L] scores, a task goes through a run of units with one place for
// them, and there are at most `maxTasks` tasks, however long the sequence is.
//
// Both panels are packed in front of the loop over units. That reads and writes
// each key and value once more: with one unit per head ("direct") keys and
// values are multiplied where they are.
//
// Units leave out the panels that none of their rows sees. What is not visible
// has the score `masked_score`; if that is finite, and the greatest score of a
// row is not so much greater that the difference vanishes, all panels count.
//
// What a row becomes depends on extents and on its own queries alone, in a
// fixed order: the same bits for any number of threads.
//
//===----------------------------------------------------------------------===//
#include "passes/Lower/Host/ExpandAttention.h"
#include "passes/Lower/Host/GroupedEmitter.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include <cmath>

using namespace mlir;
using namespace moe;

using arith::CmpFPredicate;
using arith::CmpIPredicate;

namespace {

/// Most tasks: that many rows of scores are in memory.
constexpr int64_t maxTasks = 128;
/// Multiplications that a task is worth.
constexpr int64_t taskWork = 1 << 18;
/// Elements that a task packs.
constexpr int64_t taskElements = 1 << 15;
/// exp of a difference below -vanishes is 0 in f32.
constexpr double vanishes = 104;

/// Four indices: batch, head, row, column.
using Place = std::array<Value, 4>;

class Attention {
public:
  Attention(ir::AttendOp op, MicroKernels &kernels, OpBuilder &builder)
      : op(op), kernels(kernels), tile(kernels.tile), b{builder, op.getLoc()},
        vector(VectorType::get({tile.lanes}, builder.getF32Type())),
        most(tile.maxRows), masked(op.getMaskedScore().convertToDouble()) {}

  void emit();

private:
  void readSizes();
  void pack();
  void packKeys(Value panel, Value first, Value count);
  void packValues(Value group, Value panelOfKeys, Value first, Value count);
  void emitUnit(Value unit);
  void loadQueries(Value row);
  void findRange(Value row);
  void emitScores(Value fromPanel, Value toPanel);
  void multiplyKeys(Value panel);
  void multiplyPackedKeys(Value panel);
  void multiplyValues(Value panel);
  void multiplyRows(Value panel);
  void multiplyPackedValues(Value panel);
  void finishScores(Value panel);
  Value isPlain(Value panel);
  SmallVector<Value> indicesOfRow(Value operand, Value i);
  Value addBias(Value score, Value i, Value column, bool plain);
  Value hide(Value score, Value i, Value column);
  Value emitGreatest();
  void emitExponentials();
  void emitResults();
  void storeRow(Value i, Value panel);
  void emitProbs();

  // Small ones.
  Value extent(Value buffer, ArrayRef<int64_t> order, unsigned dim);
  SmallVector<Value> place(ArrayRef<int64_t> order, Place at);
  Value min(Value x, Value y) {
    return b.b.createOrFold<arith::MinSIOp>(b.loc, x, y);
  }
  Value max(Value x, Value y) {
    return b.b.createOrFold<arith::MaxSIOp>(b.loc, x, y);
  }
  Value splat(Value scalar) {
    return vector::BroadcastOp::create(
        b.b, b.loc, VectorType::get({tile.lanes}, scalar.getType()), scalar);
  }
  Value splat(double number) {
    return arith::ConstantOp::create(
        b.b, b.loc,
        DenseElementsAttr::get(vector, Attribute(b.b.getF32FloatAttr(number))));
  }
  Value i32(Value index) {
    return arith::IndexCastOp::create(b.b, b.loc, b.b.getI32Type(), index);
  }
  Value widen(Value v);
  Value narrow(Value v, Type element);
  /// column, column + 1, .. of all lanes.
  Value numbersFrom(Value column) {
    SmallVector<int32_t> steps =
        llvm::to_vector(llvm::seq<int32_t>(0, tile.lanes));
    auto words = VectorType::get({tile.lanes}, b.b.getI32Type());
    Value numbers = arith::ConstantOp::create(
        b.b, b.loc, DenseElementsAttr::get(words, ArrayRef<int32_t>(steps)));
    return arith::AddIOp::create(b.b, b.loc, numbers, splat(i32(column)));
  }
  /// Which of the lanes from `column` on are below `end`.
  Value lanesBelow(Value column, Value end) {
    return b.compare(CmpIPredicate::slt, numbersFrom(column), splat(i32(end)));
  }
  Value loadMasked(Value buffer, ValueRange at, Value lanes);
  Value indexBuffer(int64_t count, Type type) {
    return memref::AllocaOp::create(b.b, b.loc, MemRefType::get({count}, type));
  }
  void forRows(function_ref<void(Value i)> body) {
    b.forRange(b.constant(0), count, 1, body);
  }
  Value scoreAt(Value i, Value column) {
    return b.add(b.add(scoresFirst, b.mul(i, paddedKeys)), column);
  }
  void clearSums();
  void callKernel(ArrayRef<Value> arguments, bool strided);
  /// A loop with one value that it carries on.
  Value fold(Value from, Value to, int64_t step, Value init,
             function_ref<Value(Value index, Value carried)> body);

  ir::AttendOp op;
  MicroKernels &kernels;
  const KernelTile tile;
  Emitter b;
  VectorType vector;
  int64_t most;
  double masked;

  Value batch, heads, keyHeads, group, tokens, keys, width, valueWidth;
  Value keyPanels, paddedKeys, valuePanels, allRows, blocks;
  /// Whether keys and values are read where they are; null: never.
  Value isDirect;
  /// Whether the kernels can multiply values where they are.
  bool fitsKernel = false;
  Value packedKeys, packedValues;
  /// Scores and queries of all tasks; sums, greatest scores and totals of a
  /// unit; the token, the head, the last and the last not visible key of a row.
  Value scores, queries, sums, greatest, totals;
  Value rowToken, rowHead, rowLast, rowLow;
  /// Where a task and a unit are.
  Value scoresFirst, queriesFirst, entry, keyHead, count, offset, length;
  Value fromPanel, toPanel;
};

} // namespace

//===----------------------------------------------------------------------===//
// Small ones
//===----------------------------------------------------------------------===//

Value Attention::extent(Value buffer, ArrayRef<int64_t> order, unsigned dim) {
  auto type = cast<MemRefType>(buffer.getType());
  int64_t at = order[dim];
  if (!type.isDynamicDim(at))
    return b.constant(type.getDimSize(at));
  return memref::DimOp::create(b.b, b.loc, buffer, at);
}

SmallVector<Value> Attention::place(ArrayRef<int64_t> order, Place at) {
  SmallVector<Value> indices(4);
  for (unsigned dim = 0; dim < 4; ++dim)
    indices[order[dim]] = at[dim];
  return indices;
}

Value Attention::widen(Value v) {
  auto type = cast<VectorType>(v.getType());
  unsigned bits = type.getElementTypeBitWidth();
  if (bits > 32)
    return arith::TruncFOp::create(b.b, b.loc, vector, v);
  return bits < 32 ? arith::ExtFOp::create(b.b, b.loc, vector, v).getResult()
                   : v;
}

Value Attention::narrow(Value v, Type element) {
  Type type = element;
  if (auto shaped = dyn_cast<VectorType>(v.getType()))
    type = VectorType::get(shaped.getShape(), element);
  return element.isF32()
             ? v
             : arith::TruncFOp::create(b.b, b.loc, type, v).getResult();
}

Value Attention::loadMasked(Value buffer, ValueRange at, Value lanes) {
  Type element = cast<MemRefType>(buffer.getType()).getElementType();
  auto type = VectorType::get({tile.lanes}, element);
  Value none = arith::ConstantOp::create(b.b, b.loc, b.b.getZeroAttr(type));
  return vector::MaskedLoadOp::create(b.b, b.loc, type, buffer, at, lanes,
                                      none);
}

Value Attention::fold(Value from, Value to, int64_t step, Value init,
                      function_ref<Value(Value, Value)> body) {
  auto loop = scf::ForOp::create(b.b, b.loc, from, to, b.constant(step), init);
  OpBuilder::InsertionGuard guard(b.b);
  b.b.setInsertionPointToStart(loop.getBody());
  Value next = body(loop.getInductionVar(), loop.getRegionIterArgs()[0]);
  scf::YieldOp::create(b.b, b.loc, next);
  return loop.getResult(0);
}

void Attention::clearSums() {
  Value none = splat(0.0);
  b.forRange(b.constant(0), b.mul(count, tile.columns), tile.lanes,
             [&](Value at) { b.storeVector(none, sums, at); });
}

/// Calls the kernel for `count` rows.
void Attention::callKernel(ArrayRef<Value> arguments, bool strided) {
  SmallVector<Value> all = {count};
  llvm::append_range(all, arguments);
  func::CallOp::create(b.b, b.loc,
                       strided ? kernels.getAnyStrided()
                               : kernels.getAny(b.b.getF32Type(), false),
                       all);
}

//===----------------------------------------------------------------------===//
// In front of the units
//===----------------------------------------------------------------------===//

void Attention::readSizes() {
  Value query = op.getQuery(), key = op.getKey(), value = op.getValue();
  batch = extent(query, op.getQueryOrder(), 0);
  heads = extent(query, op.getQueryOrder(), 1);
  tokens = extent(query, op.getQueryOrder(), 2);
  width = extent(query, op.getQueryOrder(), 3);
  keyHeads = extent(key, op.getKeyOrder(), 1);
  keys = extent(key, op.getKeyOrder(), 2);
  valueWidth = extent(value, op.getValueOrder(), 3);
  group = b.div(heads, keyHeads);
  keyPanels = b.ceilDiv(keys, tile.columns);
  paddedKeys = b.mul(keyPanels, tile.columns);
  valuePanels = b.ceilDiv(valueWidth, tile.columns);
  allRows = b.mul(group, tokens);
  blocks = b.ceilDiv(allRows, most);

  if (op.getKeyOrder()[3] != 3 || op.getValueOrder()[3] != 3)
    return;
  isDirect = b.compare(CmpIPredicate::ule, blocks, b.constant(1));
  auto type = cast<MemRefType>(value.getType());
  fitsKernel = type.getElementType().isF32() && !type.isDynamicDim(3) &&
               type.getDimSize(3) % tile.columns == 0;
}

/// Packs keys as [B, K, panels, D, columns] and values as [B, K, panels of
/// columns, padded L, columns], f32 and 0 where there is nothing.
void Attention::pack() {
  Value zero = b.constant(0);
  Value groups = b.mul(batch, keyHeads), panels = b.mul(groups, keyPanels);
  if (isDirect)
    panels = b.select(isDirect, zero, panels);
  Value keyCount = b.mul(b.mul(panels, width), tile.columns);
  Value valueCount =
      b.mul(b.mul(b.mul(panels, valuePanels), tile.columns), tile.columns);
  auto flat = MemRefType::get({ShapedType::kDynamic}, b.b.getF32Type());
  packedKeys = memref::AllocOp::create(b.b, b.loc, flat, keyCount);
  packedValues = memref::AllocOp::create(b.b, b.loc, flat, valueCount);

  Value each = b.mul(b.add(width, valueWidth), tile.columns);
  Value perTask = b.add(b.div(b.constant(taskElements), b.add(each, 1)), 1);
  Value tasks = b.div(b.sub(b.add(panels, perTask), b.constant(1)), perTask);
  b.parallel(tasks, nullptr, [&](Value task) {
    Value first = b.mul(task, perTask);
    Value last = b.min(b.add(first, perTask), panels);
    b.forRange(first, last, 1, [&](Value number) {
      Value which = b.div(number, keyPanels);
      Value panel = b.rem(number, keyPanels);
      entry = b.div(which, keyHeads);
      keyHead = b.rem(which, keyHeads);
      Value row = b.mul(panel, tile.columns);
      Value rows = b.min(b.sub(keys, row), b.constant(tile.columns));
      packKeys(number, row, rows);
      packValues(which, panel, row, rows);
    });
  });
}

/// Packs `rows` keys from `first` on, the others of the panel are 0.
void Attention::packKeys(Value number, Value first, Value rows) {
  Value zero = b.constant(0), columns = b.constant(tile.columns);
  Value base = b.mul(b.mul(number, width), tile.columns);
  auto at = [&](Value d, Value lane) {
    return b.add(b.add(base, b.mul(d, tile.columns)), lane);
  };
  auto copy = [&](Value d, Value lane) {
    Value v =
        b.load(op.getKey(), place(op.getKeyOrder(),
                                  {entry, keyHead, b.add(first, lane), d}));
    b.store(b.toF32(v), packedKeys, at(d, lane));
  };
  auto clear = [&](Value d, Value lane) {
    b.store(b.real(0), packedKeys, at(d, lane));
  };
  // Reads run along what is contiguous.
  if (op.getKeyOrder()[2] == 3) {
    b.forRange(zero, width, 1, [&](Value d) {
      b.forRange(zero, rows, 1, [&](Value lane) { copy(d, lane); });
      b.forRange(rows, columns, 1, [&](Value lane) { clear(d, lane); });
    });
    return;
  }
  b.forRange(zero, rows, 1, [&](Value lane) {
    b.forRange(zero, width, 1, [&](Value d) { copy(d, lane); });
  });
  b.forRange(rows, columns, 1, [&](Value lane) {
    b.forRange(zero, width, 1, [&](Value d) { clear(d, lane); });
  });
}

void Attention::packValues(Value which, Value panelOfKeys, Value first,
                           Value rows) {
  Value zero = b.constant(0), columns = b.constant(tile.columns);
  b.forRange(zero, valuePanels, 1, [&](Value panel) {
    Value column = b.mul(panel, tile.columns);
    Value inside = b.min(b.sub(valueWidth, column), columns);
    Value base = b.add(b.mul(which, valuePanels), panel);
    base = b.mul(b.add(b.mul(base, paddedKeys), first), tile.columns);
    auto at = [&](Value row, Value c) {
      return b.add(b.add(base, b.mul(row, tile.columns)), c);
    };
    b.forRange(zero, rows, 1, [&](Value row) {
      b.forRange(zero, inside, 1, [&](Value c) {
        Value v =
            b.load(op.getValue(),
                   place(op.getValueOrder(), {entry, keyHead, b.add(first, row),
                                              b.add(column, c)}));
        b.store(b.toF32(v), packedValues, at(row, c));
      });
      b.forRange(inside, columns, 1, [&](Value c) {
        b.store(b.real(0), packedValues, at(row, c));
      });
    });
    b.forRange(rows, columns, 1, [&](Value row) {
      b.forRange(zero, columns, 1, [&](Value c) {
        b.store(b.real(0), packedValues, at(row, c));
      });
    });
  });
}

void Attention::emit() {
  readSizes();
  pack();

  Value units = b.mul(b.mul(batch, keyHeads), blocks);
  Value work = b.mul(b.mul(paddedKeys, b.add(width, valueWidth)), most);
  Value perTask = b.add(b.div(b.constant(taskWork), b.add(work, 1)), 1);
  perTask = max(perTask, b.ceilDiv(units, maxTasks));
  Value tasks = b.div(b.sub(b.add(units, perTask), b.constant(1)), perTask);
  auto flat = MemRefType::get({ShapedType::kDynamic}, b.b.getF32Type());
  scores = memref::AllocOp::create(b.b, b.loc, flat,
                                   b.mul(b.mul(tasks, most), paddedKeys));
  queries = memref::AllocOp::create(b.b, b.loc, flat,
                                    b.mul(b.mul(tasks, most), width));
  b.parallel(
      tasks,
      [&] {
        sums = b.stack(most * tile.columns);
        greatest = b.stack(most);
        totals = b.stack(most);
        rowToken = indexBuffer(most, b.b.getIndexType());
        rowHead = indexBuffer(most, b.b.getIndexType());
        rowLast = indexBuffer(most, b.b.getI32Type());
        rowLow = indexBuffer(most, b.b.getI32Type());
      },
      [&](Value task) {
        scoresFirst = b.mul(b.mul(task, most), paddedKeys);
        queriesFirst = b.mul(b.mul(task, most), width);
        Value first = b.mul(task, perTask);
        Value last = b.min(b.add(first, perTask), units);
        b.forRange(first, last, 1, [&](Value unit) { emitUnit(unit); });
      });
}

//===----------------------------------------------------------------------===//
// A unit
//===----------------------------------------------------------------------===//

void Attention::emitUnit(Value unit) {
  Value which = b.div(unit, blocks);
  Value row = b.mul(b.rem(unit, blocks), most);
  entry = b.div(which, keyHeads);
  keyHead = b.rem(which, keyHeads);
  count = b.min(b.sub(allRows, row), b.constant(most));
  offset = op.getShift() ? op.getShift() : b.constant(0);
  if (op.getShifts())
    offset = b.add(offset, b.load(op.getShifts(), entry));
  length = keys;
  if (op.getLengths())
    length = max(min(b.load(op.getLengths(), entry), keys), b.constant(0));
  loadQueries(row);
  findRange(row);
  emitScores(fromPanel, toPanel);
  Value isNarrow = emitGreatest();
  if (isNarrow) {
    // Rare: rows of which nothing is visible, or next to it.
    Value fewer =
        b.compare(CmpIPredicate::ult, b.sub(toPanel, fromPanel), keyPanels);
    Value again = arith::AndIOp::create(b.b, b.loc, isNarrow, fewer);
    fromPanel = b.select(again, b.constant(0), fromPanel);
    toPanel = b.select(again, keyPanels, toPanel);
    b.ifElse(again, [&] {
      emitScores(fromPanel, toPanel);
      (void)emitGreatest();
    });
  }
  emitExponentials();
  emitResults();
  emitProbs();
}

/// Copies the scaled queries of the unit and notes what belongs to each row.
void Attention::loadQueries(Value row) {
  Value scale = b.real(op.getScale().convertToDouble());
  forRows([&](Value i) {
    Value number = b.add(row, i);
    Value token = b.div(number, group);
    Value head = b.add(b.mul(keyHead, group), b.rem(number, group));
    b.store(token, rowToken, i);
    b.store(head, rowHead, i);
    Value last = b.add(token, offset);
    if (op.getCausal())
      b.store(i32(last), rowLast, i);
    if (auto window = op.getWindow())
      b.store(i32(b.sub(last, b.constant(*window))), rowLow, i);
    Value first = b.add(queriesFirst, b.mul(i, width));
    b.forRange(b.constant(0), width, 1, [&](Value d) {
      Value v = b.load(op.getQuery(),
                       place(op.getQueryOrder(), {entry, head, token, d}));
      v = arith::MulFOp::create(b.b, b.loc, b.toF32(v), scale);
      b.store(v, queries, b.add(first, d));
    });
  });
}

/// The panels of which a row of the unit sees something.
void Attention::findRange(Value row) {
  Value zero = b.constant(0), from = zero, to = length;
  if (op.getCausal()) {
    Value last = b.sub(b.add(row, count), b.constant(1));
    Value end = b.add(b.add(b.div(last, group), offset), 1);
    to = min(to, max(end, zero));
  }
  if (auto window = op.getWindow()) {
    Value first = b.add(b.div(row, group), offset);
    from = min(max(b.sub(first, b.constant(*window - 1)), zero), to);
  }
  fromPanel = b.div(from, tile.columns);
  toPanel = b.ceilDiv(to, tile.columns);
}

void Attention::emitScores(Value from, Value to) {
  b.forRange(from, to, 1, [&](Value panel) {
    clearSums();
    if (isDirect)
      b.ifElse(
          isDirect, [&] { multiplyKeys(panel); },
          [&] { multiplyPackedKeys(panel); });
    else
      multiplyPackedKeys(panel);
    finishScores(panel);
  });
}

void Attention::multiplyPackedKeys(Value panel) {
  Value number = b.add(b.mul(entry, keyHeads), keyHead);
  number = b.add(b.mul(number, keyPanels), panel);
  Value first = b.mul(b.mul(number, width), tile.columns);
  callKernel({queries, queriesFirst, width, packedKeys, first, width, sums,
              b.constant(0)},
             false);
}

/// Sums of products of rows with a panel of keys where these are.
void Attention::multiplyKeys(Value panel) {
  Value zero = b.constant(0), first = b.mul(panel, tile.columns);
  Value there = b.min(b.sub(keys, first), b.constant(tile.columns));
  Value whole = b.mul(b.div(width, tile.lanes), tile.lanes);
  Value rest = lanesBelow(whole, width);
  auto type = cast<MemRefType>(op.getKey().getType());
  auto stored = VectorType::get({tile.lanes}, type.getElementType());
  int64_t fixed = type.getDimSize(3);
  bool hasRest = ShapedType::isDynamic(fixed) || fixed % tile.lanes;
  b.forRange(zero, there, 1, [&](Value lane) {
    Value key = b.add(first, lane);
    auto at = [&](Value d) {
      return place(op.getKeyOrder(), {entry, keyHead, key, d});
    };
    forRows([&](Value i) {
      Value query = b.add(queriesFirst, b.mul(i, width));
      Value total =
          fold(zero, whole, tile.lanes, splat(0.0),
               [&](Value d, Value sum) -> Value {
                 Value x = b.loadVector(vector, queries, b.add(query, d));
                 Value y = widen(b.loadVector(stored, op.getKey(), at(d)));
                 return vector::FMAOp::create(b.b, b.loc, x, y, sum);
               });
      if (hasRest) {
        Value x = loadMasked(queries, b.add(query, whole), rest);
        Value y = widen(loadMasked(op.getKey(), at(whole), rest));
        total = vector::FMAOp::create(b.b, b.loc, x, y, total);
      }
      Value sum =
          vector::ReductionOp::create(b.b, b.loc, vector::CombiningKind::ADD,
                                      total, arith::FastMathFlags::reassoc);
      b.store(sum, sums, b.add(b.mul(i, tile.columns), lane));
    });
  });
}

/// The first three indices of row i in an operand that broadcasts against the
/// scores [entry, head, token, key].
SmallVector<Value> Attention::indicesOfRow(Value operand, Value i) {
  auto type = cast<MemRefType>(operand.getType());
  auto at = [&](unsigned dim, Value index) -> Value {
    if (!type.isDynamicDim(dim))
      return type.getDimSize(dim) == 1 ? b.constant(0) : index;
    Value own = memref::DimOp::create(b.b, b.loc, operand, dim);
    Value one = b.compare(CmpIPredicate::eq, own, b.constant(1));
    return b.select(one, b.constant(0), index);
  };
  return {at(0, entry), at(1, b.load(rowHead, i)), at(2, b.load(rowToken, i))};
}

Value Attention::addBias(Value score, Value i, Value column, bool plain) {
  Value bias = op.getBias();
  if (!bias)
    return score;
  auto type = cast<MemRefType>(bias.getType());
  SmallVector<Value> indices = indicesOfRow(bias, i);
  Value extra;
  if (type.getDimSize(3) == 1) {
    indices.push_back(b.constant(0));
    extra = splat(b.toF32(b.load(bias, indices)));
  } else {
    indices.push_back(column);
    auto stored = VectorType::get({tile.lanes}, type.getElementType());
    extra = widen(plain ? b.loadVector(stored, bias, indices)
                        : loadMasked(bias, indices, lanesBelow(column, keys)));
  }
  return arith::AddFOp::create(b.b, b.loc, score, extra);
}

/// `masked_score` where a lane is not visible, -inf behind the last key.
Value Attention::hide(Value score, Value i, Value column) {
  Value visible;
  auto require = [&](Value flags) {
    visible =
        visible ? arith::AndIOp::create(b.b, b.loc, visible, flags) : flags;
  };
  Value numbers = numbersFrom(column);
  if (op.getCausal())
    require(b.compare(CmpIPredicate::sle, numbers, splat(b.load(rowLast, i))));
  if (op.getWindow())
    require(b.compare(CmpIPredicate::sgt, numbers, splat(b.load(rowLow, i))));
  if (op.getLengths())
    require(lanesBelow(column, length));
  if (Value mask = op.getMask()) {
    auto type = cast<MemRefType>(mask.getType());
    SmallVector<Value> indices = indicesOfRow(mask, i);
    Value flags;
    if (type.getDimSize(3) == 1) {
      indices.push_back(b.constant(0));
      flags = splat(b.load(mask, indices));
    } else {
      indices.push_back(column);
      flags = loadMasked(mask, indices, lanesBelow(column, keys));
    }
    Value none =
        arith::ConstantOp::create(b.b, b.loc, b.b.getZeroAttr(flags.getType()));
    require(b.compare(CmpIPredicate::ne, flags, none));
  }
  if (visible)
    score = b.select(visible, score, splat(masked));
  return b.select(lanesBelow(column, keys), score,
                  splat(-std::numeric_limits<double>::infinity()));
}

/// Whether all keys of a panel are there and visible to all rows of the unit;
/// null where a mask has to be asked.
Value Attention::isPlain(Value panel) {
  if (op.getMask())
    return {};
  Value first = b.mul(panel, tile.columns);
  Value end = b.add(first, tile.columns);
  Value plain = b.compare(CmpIPredicate::sle, end, length);
  auto require = [&](Value condition) {
    plain = arith::AndIOp::create(b.b, b.loc, plain, condition);
  };
  // Tokens of the rows ascend.
  if (op.getCausal()) {
    Value last = b.add(b.load(rowToken, b.constant(0)), offset);
    require(b.compare(CmpIPredicate::sle, end, b.add(last, 1)));
  }
  if (auto window = op.getWindow()) {
    Value row = b.sub(count, b.constant(1));
    Value low =
        b.sub(b.add(b.load(rowToken, row), offset), b.constant(*window));
    require(b.compare(CmpIPredicate::sgt, first, low));
  }
  return plain;
}

/// Stores the scores of a panel, from their sums.
void Attention::finishScores(Value panel) {
  Value first = b.mul(panel, tile.columns);
  double cap = op.getSoftcap().convertToDouble();
  auto finish = [&](bool plain) {
    forRows([&](Value i) {
      for (int64_t v = 0; v < tile.columns; v += tile.lanes) {
        Value score =
            b.loadVector(vector, sums, b.add(b.mul(i, tile.columns), v));
        if (cap != 0) {
          score = arith::DivFOp::create(b.b, b.loc, score, splat(cap));
          score = math::TanhOp::create(b.b, b.loc, score);
          score = arith::MulFOp::create(b.b, b.loc, score, splat(cap));
        }
        Value column = b.add(first, v);
        score = addBias(score, i, column, plain);
        if (!plain)
          score = hide(score, i, column);
        b.storeVector(score, scores, scoreAt(i, column));
      }
    });
  };
  if (Value plain = isPlain(panel))
    b.ifElse(
        plain, [&] { finish(true); }, [&] { finish(false); });
  else
    finish(false);
}

/// Finds the greatest score of each row. Returns whether one of them does not
/// exceed masked_score so far that what is not visible vanishes; null where
/// that cannot be.
Value Attention::emitGreatest() {
  double least = -std::numeric_limits<double>::infinity();
  Value from = b.mul(fromPanel, tile.columns);
  Value to = b.mul(toPanel, tile.columns);
  bool matters = std::isfinite(masked) &&
                 (op.getCausal() || op.getWindow() || op.getLengths());
  Value no = arith::ConstantOp::create(b.b, b.loc, b.b.getBoolAttr(false));
  Value any = fold(b.constant(0), count, 1, no, [&](Value i, Value sofar) {
    Value best =
        fold(from, to, tile.lanes, splat(least), [&](Value column, Value most) {
          Value v = b.loadVector(vector, scores, scoreAt(i, column));
          Value more =
              arith::CmpFOp::create(b.b, b.loc, CmpFPredicate::OGT, v, most);
          return b.select(more, v, most);
        });
    Value top = vector::ReductionOp::create(
        b.b, b.loc, vector::CombiningKind::MAXNUMF, best);
    if (op.getSinks()) {
      Value sink = b.load(op.getSinks(), b.load(rowHead, i));
      top = arith::MaxNumFOp::create(b.b, b.loc, top, sink);
    }
    b.store(top, greatest, i);
    if (!matters)
      return sofar;
    Value low = arith::CmpFOp::create(b.b, b.loc, CmpFPredicate::ULE, top,
                                      b.real(masked + vanishes));
    return arith::OrIOp::create(b.b, b.loc, sofar, low).getResult();
  });
  return matters ? any : Value();
}

/// Replaces scores by exponentials and adds these up.
void Attention::emitExponentials() {
  Value from = b.mul(fromPanel, tile.columns);
  Value to = b.mul(toPanel, tile.columns);
  forRows([&](Value i) {
    Value top = b.load(greatest, i), all = splat(top);
    Value total =
        fold(from, to, tile.lanes, splat(0.0), [&](Value column, Value sum) {
          Value at = scoreAt(i, column);
          Value v = b.loadVector(vector, scores, at);
          v = arith::SubFOp::create(b.b, b.loc, v, all);
          v = math::ExpOp::create(b.b, b.loc, v);
          b.storeVector(v, scores, at);
          return arith::AddFOp::create(b.b, b.loc, sum, v).getResult();
        });
    Value sum =
        vector::ReductionOp::create(b.b, b.loc, vector::CombiningKind::ADD,
                                    total, arith::FastMathFlags::reassoc);
    if (op.getSinks()) {
      Value sink = b.load(op.getSinks(), b.load(rowHead, i));
      sink = arith::SubFOp::create(b.b, b.loc, sink, top);
      sum = arith::AddFOp::create(b.b, b.loc, sum,
                                  math::ExpOp::create(b.b, b.loc, sink));
    }
    b.store(sum, totals, i);
  });
}

void Attention::multiplyPackedValues(Value panel) {
  Value from = b.mul(fromPanel, tile.columns);
  Value to = b.mul(toPanel, tile.columns);
  Value number = b.add(b.mul(entry, keyHeads), keyHead);
  number = b.add(b.mul(number, valuePanels), panel);
  Value first = b.add(b.mul(number, paddedKeys), from);
  callKernel({scores, b.add(scoresFirst, from), paddedKeys, packedValues,
              b.mul(first, tile.columns), b.sub(to, from), sums, b.constant(0)},
             false);
}

/// Sums of products with a panel of columns of values where these are.
void Attention::multiplyValues(Value panel) {
  if (!fitsKernel)
    return multiplyRows(panel);
  // Where the first row starts and how far the next one is from it.
  Value value = op.getValue(), flat = b.flat(value);
  Value from = b.mul(fromPanel, tile.columns);
  SmallVector<int64_t> same{0, 1, 2, 3};
  SmallVector<Value> at = place(
      op.getValueOrder(), {entry, keyHead, from, b.mul(panel, tile.columns)});
  Value first = b.constant(0), stride = b.constant(1);
  for (int64_t dim = 0; dim < 4; ++dim)
    first = b.add(b.mul(first, extent(value, same, dim)), at[dim]);
  for (int64_t dim = op.getValueOrder()[2] + 1; dim < 4; ++dim)
    stride = b.mul(stride, extent(value, same, dim));
  // Rows behind the last one are not there; their probabilities are 0.
  Value depth = b.sub(min(b.mul(toPanel, tile.columns), keys), from);
  callKernel({scores, b.add(scoresFirst, from), paddedKeys, flat, first, depth,
              sums, b.constant(0), stride},
             true);
}

/// The same for values that the kernels do not take.
void Attention::multiplyRows(Value panel) {
  Value value = op.getValue();
  auto type = cast<MemRefType>(value.getType());
  auto stored = VectorType::get({tile.lanes}, type.getElementType());
  bool whole = !type.isDynamicDim(3) && type.getDimSize(3) % tile.lanes == 0;
  Value from = b.mul(fromPanel, tile.columns);
  Value to = min(b.mul(toPanel, tile.columns), keys);
  for (int64_t v = 0; v < tile.columns; v += tile.lanes) {
    Value column = b.add(b.mul(panel, tile.columns), v);
    b.ifElse(b.below(column, valueWidth), [&] {
      Value lanes = whole ? Value() : lanesBelow(column, valueWidth);
      forRows([&](Value i) {
        Value total =
            fold(from, to, 1, splat(0.0), [&](Value row, Value sum) -> Value {
              SmallVector<Value> at =
                  place(op.getValueOrder(), {entry, keyHead, row, column});
              Value x = whole ? b.loadVector(stored, value, at)
                              : loadMasked(value, at, lanes);
              Value p = splat(b.load(scores, scoreAt(i, row)));
              return vector::FMAOp::create(b.b, b.loc, p, widen(x), sum);
            });
        b.storeVector(total, sums, b.add(b.mul(i, tile.columns), v));
      });
    });
  }
}

/// Multiplies the exponentials by the values.
void Attention::emitResults() {
  b.forRange(b.constant(0), valuePanels, 1, [&](Value panel) {
    clearSums();
    if (isDirect)
      b.ifElse(
          isDirect, [&] { multiplyValues(panel); },
          [&] { multiplyPackedValues(panel); });
    else
      multiplyPackedValues(panel);
    forRows([&](Value i) { storeRow(i, panel); });
  });
}

/// Divides a row of sums by its total and writes it.
void Attention::storeRow(Value i, Value panel) {
  Value out = op.getOut(), total = b.load(totals, i);
  auto type = cast<MemRefType>(out.getType());
  Type element = type.getElementType();
  auto finish = [&](Value sum, Value divisor, Value zero) {
    Value v = arith::DivFOp::create(b.b, b.loc, sum, divisor);
    if (op.getZeroEmpty()) {
      Value there =
          arith::CmpFOp::create(b.b, b.loc, CmpFPredicate::OGT, divisor, zero);
      v = b.select(there, v, zero);
    }
    return narrow(v, element);
  };
  auto at = [&](Value column) {
    return place(op.getOutOrder(),
                 {entry, b.load(rowHead, i), b.load(rowToken, i), column});
  };
  Value first = b.mul(panel, tile.columns), from = b.mul(i, tile.columns);
  if (op.getOutOrder()[3] != 3) {
    Value inside = b.min(b.sub(valueWidth, first), b.constant(tile.columns));
    b.forRange(b.constant(0), inside, 1, [&](Value c) {
      Value v = finish(b.load(sums, b.add(from, c)), total, b.real(0));
      b.store(v, out, at(b.add(first, c)));
    });
    return;
  }
  int64_t fixed = type.getDimSize(3);
  bool whole = !ShapedType::isDynamic(fixed) && fixed % tile.columns == 0;
  Value divisor = splat(total), zero = splat(0.0);
  for (int64_t v = 0; v < tile.columns; v += tile.lanes) {
    Value column = b.add(first, v);
    Value sum = b.loadVector(vector, sums, b.add(from, v));
    Value row = finish(sum, divisor, zero);
    if (whole) {
      b.storeVector(row, out, at(column));
      continue;
    }
    Value fits =
        b.compare(CmpIPredicate::ule, b.add(column, tile.lanes), valueWidth);
    b.ifElse(
        fits, [&] { b.storeVector(row, out, at(column)); },
        [&] {
          b.ifElse(b.below(column, valueWidth), [&] {
            vector::MaskedStoreOp::create(b.b, b.loc, out, at(column),
                                          lanesBelow(column, valueWidth), row);
          });
        });
  }
}

/// Writes the probabilities of rows that are asked for.
void Attention::emitProbs() {
  Value probs = op.getProbs();
  if (!probs)
    return;
  auto type = cast<MemRefType>(probs.getType());
  SmallVector<int64_t> same{0, 1, 2, 3};
  Value wanted = extent(probs, same, 2);
  Value from = b.mul(fromPanel, tile.columns);
  Value to = min(b.mul(toPanel, tile.columns), keys);
  forRows([&](Value i) {
    Value row = b.sub(b.load(rowToken, i), op.getProbsFirst());
    // Rows in front of the first one are large unsigned numbers.
    b.ifElse(b.below(row, wanted), [&] {
      Value head = b.load(rowHead, i), total = b.load(totals, i);
      Value none = b.real(0), zero = narrow(none, type.getElementType());
      auto clear = [&](Value begin, Value end) {
        b.forRange(begin, end, 1, [&](Value column) {
          b.store(zero, probs, {entry, head, row, column});
        });
      };
      clear(b.constant(0), from);
      b.forRange(from, to, 1, [&](Value column) {
        Value v = b.load(scores, scoreAt(i, column));
        v = arith::DivFOp::create(b.b, b.loc, v, total);
        if (op.getZeroEmpty())
          v = b.select(arith::CmpFOp::create(b.b, b.loc, CmpFPredicate::OGT,
                                             total, none),
                       v, none);
        b.store(narrow(v, type.getElementType()), probs,
                {entry, head, row, column});
      });
      clear(max(to, from), keys);
    });
  });
}

void moe::expandAttention(ir::AttendOp op, MicroKernels &kernels,
                          OpBuilder &builder) {
  Attention(op, kernels, builder).emit();
}
