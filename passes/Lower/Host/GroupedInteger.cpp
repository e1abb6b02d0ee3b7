//===- GroupedInteger.cpp - products of codes as integers -----------------===//
//
// Rows are split into digits once, before the tasks, so that a row has one form
// whichever tasks and other rows there are.
//
//===----------------------------------------------------------------------===//
#include "passes/Lower/Host/GroupedLinear.h"

using namespace mlir;
using namespace moe;

/// Elements that a task splits, about.
static constexpr int64_t splitWork = 1 << 14;

/// Why codes are multiplied in f32; empty if they are not.
std::string GroupedLinear::whyNotIntegers() {
  if (!integers.available)
    return "the target has no instruction that multiplies bytes and adds up "
           "(avx512vnni, avxvnni)";
  if (!getConstants(op.getBanks()) || !getConstants(op.getScales()) ||
      (!op.getZeros().empty() && !getConstants(op.getZeros())))
    return "its codes, scales or zero points are inputs of the run";
  if (op.getNumBlocks() > 1 && *op.getBlock() % 16)
    return "it has blocks of " + std::to_string(*op.getBlock()) +
           " codes; multiples of 16 are accepted";
  return "";
}

std::optional<IntegerForm> GroupedLinear::chooseForm() {
  if (!op.getBits() || integers.activations == Activations::F32)
    return std::nullopt;
  if (std::string why = whyNotIntegers(); !why.empty()) {
    missed("codes are multiplied in f32: " + why);
    return std::nullopt;
  }
  IntegerForm chosen;
  chosen.rows.digits = 3;
  if (integers.activations == Activations::Close)
    chosen.rows.digits = 2;
  if (op.getRoundRows() || integers.activations == Activations::Rounded)
    chosen.rows.digits = 1;
  chosen.rows.bits = *op.getBits();
  int64_t blocks = op.getNumBlocks();
  if (blocks > 1 && *op.getBlock() % 32)
    chosen.rows.unit = 16;
  units = llvm::divideCeil(static_cast<uint64_t>(inner),
                           static_cast<uint64_t>(chosen.rows.unit));
  unitsPerScale = blocks > 1 ? *op.getBlock() / chosen.rows.unit : units;
  chosen.nested = unitsPerScale > 1;
  chosen.zeros = !op.getZeros().empty();
  return chosen;
}

/// A parallel loop over the rows of all experts.
void GroupedLinear::forRows(function_ref<void(Value)> body) {
  Value first = b.constant(0), last = numTokens;
  if (Value offsets = op.getOffsets()) {
    first = b.load(offsets, first);
    last = b.load(offsets, b.constant(experts));
  }
  int64_t perTask = std::max<int64_t>(1, splitWork / inner);
  b.parallel(b.ceilDiv(b.sub(last, first), perTask), nullptr, [&](Value task) {
    Value from = b.add(first, b.mul(task, perTask));
    Value to = b.min(b.add(from, perTask), last);
    b.forRange(from, to, 1, body);
  });
}

void GroupedLinear::prepareDigits() {
  const DigitRows &digits = form->rows;
  // A stride that is no power of two: see paddedColumns of MoEToLinalg.
  digitStride = units * digits.getUnitWords() + 16;
  Value buffer = memref::AllocOp::create(
      b.b, b.loc,
      MemRefType::get({ShapedType::kDynamic, digitStride}, b.b.getI32Type()),
      numTokens);
  digitRows = b.flat(buffer);
  func::FuncOp split = integers.getSplit(digits, inner % digits.unit != 0);
  int64_t perScale = op.getRoundRows() ? unitsPerScale : 1;
  forRows([&](Value row) {
    func::CallOp::create(b.b, b.loc, split,
                         {rows, b.mul(row, rowStride), digitRows,
                          b.mul(row, digitStride), b.constant(inner),
                          b.constant(perScale)});
  });
}

/// Rows of 8 bits, as f32.
void GroupedLinear::prepareRounding() {
  int64_t stride = inner + 16;
  Value buffer = memref::AllocOp::create(
      b.b, b.loc,
      MemRefType::get({ShapedType::kDynamic, stride}, b.b.getF32Type()),
      numTokens);
  Value rounded = b.flat(buffer);
  int64_t block = op.getBlock().value_or(inner);
  forRows([&](Value row) {
    func::CallOp::create(b.b, b.loc, integers.getRound(),
                         {rows, b.mul(row, rowStride), rounded,
                          b.mul(row, stride), b.constant(inner),
                          b.constant(block)});
  });
  rows = rounded;
  rowStride = stride;
}

void GroupedLinear::emitIntegerPanel(Value panel) {
  int64_t words = units * form->getPanelWords();
  int64_t panelSize = words * tile.columns;
  int64_t lines = std::max<int64_t>(1, tile.columns * 4 / 64);
  Value number = b.add(b.mul(expert, panels), panel);
  Value codes = b.mul(number, panelSize);
  Value scales = b.mul(number, op.getNumBlocks() * tile.columns);
  Value next = b.min(b.add(number, 1), b.constant(experts * panels - 1));
  Value ahead = b.mul(next, panelSize), zero = b.constant(0);
  forBlocks(numRows, [&](Value i, Value blocks, Value first, Value count) {
    Value row = b.add(firstRow, first);
    initSums(zero, count, panel);
    SmallVector<Value> arguments = {count,
                                    digitRows,
                                    b.mul(row, digitStride),
                                    b.constant(digitStride),
                                    panelCodes,
                                    codes,
                                    panelScales,
                                    form->zeros ? panelZeros : panelScales,
                                    scales,
                                    b.constant(units),
                                    b.constant(unitsPerScale),
                                    sums,
                                    zero};
    auto call = [&](bool prefetch) {
      func::CallOp::create(b.b, b.loc, integers.getAny(*form, prefetch),
                           arguments);
    };
    // The first blocks fetch a part of the next panel each.
    Value several = b.compare(arith::CmpIPredicate::ugt, blocks, b.constant(1));
    Value early = b.below(i, b.constant(lines));
    b.ifElse(
        arith::AndIOp::create(b.b, b.loc, several, early),
        [&] {
          arguments.push_back(b.add(ahead, b.mul(i, words * 16)));
          call(true);
          arguments.pop_back();
        },
        [&] { call(false); });
    finishRows(zero, row, count, panel);
  });
}
