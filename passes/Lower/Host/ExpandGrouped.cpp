//===- ExpandGrouped.cpp - grouped products as loops over kernels ---------===//
//
// A task is a run of panels of one expert, about 1 MiB of weights, for up to
// `chunkRows` of the expert's rows. Which tasks there are depends on how many
// rows each expert has, which result comes out of them does not: each element
// is a sum in one order, whoever computes it.
//
// Weights that are constants are packed into panels when the artifact is
// written (#rt.panels). Others, and weights stored in fewer bits, are brought
// into that form a block of a panel at a time, for all rows of the task.
//
//===----------------------------------------------------------------------===//
#include "dialects/MoE/MoEDialect.h"
#include "dialects/Rt/RtDialect.h"
#include "passes/Lower/Host/MicroKernels.h"
#include "passes/Lower/Host/Passes.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"
#include "mlir/IR/IRMapping.h"
#include <numeric>

namespace moe {
#define GEN_PASS_DEF_EXPANDGROUPEDPASS
#include "passes/Lower/Host/Passes.h.inc"
} // namespace moe

using namespace mlir;
using namespace moe;

namespace {

/// Most rows that a task takes through its panels at once.
constexpr int64_t chunkRows = 192;
/// Weights of a task, in bytes of f32: less and threads fetch more than they
/// compute.
constexpr int64_t taskBytes = 1 << 20;

/// Short names for what the loops are made of.
struct Emitter {
  OpBuilder &b;
  Location loc;

  Value constant(int64_t v) const {
    return arith::ConstantIndexOp::create(b, loc, v);
  }
  Value add(Value x, Value y) const {
    return b.createOrFold<arith::AddIOp>(loc, x, y);
  }
  Value add(Value x, int64_t y) const { return y ? add(x, constant(y)) : x; }
  Value sub(Value x, Value y) const {
    return b.createOrFold<arith::SubIOp>(loc, x, y);
  }
  Value mul(Value x, Value y) const {
    return b.createOrFold<arith::MulIOp>(loc, x, y);
  }
  Value mul(Value x, int64_t y) const {
    return y == 1 ? x : mul(x, constant(y));
  }
  Value div(Value x, Value y) const {
    return b.createOrFold<arith::DivUIOp>(loc, x, y);
  }
  Value div(Value x, int64_t y) const {
    return y == 1 ? x : div(x, constant(y));
  }
  Value rem(Value x, Value y) const {
    return b.createOrFold<arith::RemUIOp>(loc, x, y);
  }
  Value rem(Value x, int64_t y) const { return rem(x, constant(y)); }
  Value min(Value x, Value y) const {
    return b.createOrFold<arith::MinUIOp>(loc, x, y);
  }
  Value ceilDiv(Value x, int64_t y) const { return div(add(x, y - 1), y); }
  Value compare(arith::CmpIPredicate predicate, Value x, Value y) const {
    return arith::CmpIOp::create(b, loc, predicate, x, y);
  }
  Value below(Value x, Value y) const {
    return compare(arith::CmpIPredicate::ult, x, y);
  }
  Value select(Value condition, Value x, Value y) const {
    return arith::SelectOp::create(b, loc, condition, x, y);
  }
  Value load(Value buffer, ValueRange at) const {
    return memref::LoadOp::create(b, loc, buffer, at);
  }
  void store(Value value, Value buffer, ValueRange at) const {
    memref::StoreOp::create(b, loc, value, buffer, at);
  }
  Value loadVector(VectorType type, Value buffer, ValueRange at) const {
    return vector::LoadOp::create(b, loc, type, buffer, at);
  }
  void storeVector(Value value, Value buffer, ValueRange at) const {
    vector::StoreOp::create(b, loc, value, buffer, at);
  }
  void forRange(Value from, Value to, int64_t step,
                function_ref<void(Value)> body) const {
    auto loop = scf::ForOp::create(b, loc, from, to, constant(step));
    OpBuilder::InsertionGuard guard(b);
    b.setInsertionPointToStart(loop.getBody());
    body(loop.getInductionVar());
  }
  void ifElse(Value condition, function_ref<void()> then,
              function_ref<void()> otherwise = nullptr) const {
    auto op =
        scf::IfOp::create(b, loc, condition, static_cast<bool>(otherwise));
    OpBuilder::InsertionGuard guard(b);
    b.setInsertionPointToStart(op.thenBlock());
    then();
    if (otherwise) {
      b.setInsertionPointToStart(op.elseBlock());
      otherwise();
    }
  }
  /// A parallel loop over [0, count); `prepare` runs once for each range.
  void parallel(Value count, function_ref<void()> prepare,
                function_ref<void(Value)> body) const {
    Type i64 = b.getI64Type();
    Value count64 = arith::IndexCastOp::create(b, loc, i64, count);
    auto op = rt::ParallelForOp::create(b, loc, count64);
    OpBuilder::InsertionGuard guard(b);
    Block *block = b.createBlock(&op.getBody(), {}, {i64, i64}, {loc, loc});
    Type index = b.getIndexType();
    Value begin =
        arith::IndexCastOp::create(b, loc, index, block->getArgument(0));
    Value end =
        arith::IndexCastOp::create(b, loc, index, block->getArgument(1));
    if (prepare)
      prepare();
    forRange(begin, end, 1, body);
    rt::YieldOp::create(b, loc);
  }

  /// A contiguous buffer as one sequence of unknown length.
  Value flat(Value buffer) const {
    auto type = cast<MemRefType>(buffer.getType());
    if (type.getRank() > 1) {
      auto all = llvm::to_vector<2>(llvm::seq<int64_t>(0, type.getRank()));
      buffer = memref::CollapseShapeOp::create(
          b, loc, buffer, ArrayRef<ReassociationIndices>(all));
    }
    auto loose = MemRefType::get({ShapedType::kDynamic}, type.getElementType());
    if (buffer.getType() != loose)
      buffer = memref::CastOp::create(b, loc, loose, buffer);
    return buffer;
  }
  /// `count` elements on the stack, outside of all loops of the task.
  Value stack(int64_t count) const {
    Value buffer = memref::AllocaOp::create(
        b, loc, MemRefType::get({count}, b.getF32Type()),
        b.getI64IntegerAttr(64));
    return flat(buffer);
  }
  Value toF32(Value v) const {
    auto type = cast<FloatType>(v.getType());
    if (type.getWidth() > 32)
      return arith::TruncFOp::create(b, loc, b.getF32Type(), v);
    if (type.getWidth() < 32)
      return arith::ExtFOp::create(b, loc, b.getF32Type(), v);
    return v;
  }
  Value real(double v) const {
    return arith::ConstantOp::create(b, loc, b.getF32FloatAttr(v));
  }
};

/// The constant behind a buffer, or null.
ElementsAttr getConstant(Value buffer) {
  while (Operation *def = buffer.getDefiningOp()) {
    if (auto constant = dyn_cast<rt::ConstantOp>(def))
      return constant.getValue();
    if (!isa<memref::ExpandShapeOp, memref::CollapseShapeOp, memref::CastOp>(
            def))
      return {};
    buffer = def->getOperand(0);
  }
  return {};
}

/// The constants behind all buffers, or null.
ArrayAttr getConstants(ValueRange buffers) {
  SmallVector<Attribute> values;
  for (Value buffer : buffers) {
    ElementsAttr value = getConstant(buffer);
    if (!value)
      return {};
    values.push_back(value);
  }
  return values.empty() ? ArrayAttr()
                        : ArrayAttr::get(buffers[0].getContext(), values);
}

rt::PanelOrder getOrder(ir::GateUp form) {
  switch (form) {
  case ir::GateUp::None:
    return rt::PanelOrder::Plain;
  case ir::GateUp::Separate:
    return rt::PanelOrder::Separate;
  case ir::GateUp::Concat:
    return rt::PanelOrder::Concat;
  case ir::GateUp::Interleave:
    return rt::PanelOrder::Interleave;
  }
  return rt::PanelOrder::Plain;
}

/// Expands one grouped product.
class Expansion {
public:
  Expansion(ir::GroupedLinearOp op, MicroKernels &kernels, OpBuilder &builder)
      : op(op), kernels(kernels), tile(kernels.tile), b{builder, op.getLoc()},
        experts(op.getNumExperts()), inner(op.getInner()), width(op.getWidth()),
        perPanel(op.isGated() ? tile.columns / 2 : tile.columns),
        panels(llvm::divideCeil(static_cast<uint64_t>(width), perPanel)),
        vector(VectorType::get({tile.lanes}, builder.getF32Type())) {}

  void emit();

private:
  // What is in front of the loops.
  Value packed(ArrayAttr sources, int64_t rows, int64_t cols, bool transposed,
               int64_t depth, int64_t bits, Type element);
  void preparePanels();
  void prepareTasks();

  // Parts of a task.
  void emitTask(Value task);
  void forBlocks(
      Value rows,
      function_ref<void(Value block, Value blocks, Value first, Value count)>
          body);
  void callKernel(Value count, bool prefetch, ArrayRef<Value> arguments);
  void emitPackedPanel(Value panel);
  void emitConvertedPanel(Value panel);
  void fillBias(Value panel);
  void initSums(Value first, Value count, Value panel);
  void finishRows(Value sumsFirst, Value rowFirst, Value count, Value panel);
  Value vectorEpilogue(ValueRange arguments);
  Value scalarEpilogue(ValueRange arguments);
  bool canVectorise();

  // Blocks of weights in f32.
  void convertCodes(Value panel, Value from, Value count);
  void convertElements(Value panel, Value from, Value count);
  Value decode(Value bytes, SmallVector<Value> at, Value number);
  Value readWeight(unsigned bank, Value row, Value k);
  void
  forColumns(Value panel,
             function_ref<void(unsigned bank, Value row, Value column)> inside,
             function_ref<void(Value column)> outside);

  ir::GroupedLinearOp op;
  MicroKernels &kernels;
  const KernelTile tile;
  Emitter b;
  int64_t experts, inner, width, perPanel, panels;
  VectorType vector;

  Value rows, out;
  int64_t rowStride = 0, outStride = 0;
  /// Packed weights, f32 or codes; scales, zero points and biases in the same
  /// order. Null where they are not constants.
  Value panelWeights, panelCodes, panelScales, panelZeros, panelBias;
  /// Tasks: [expert, first row, last row] of each chunk.
  Value chunks, numChunks;
  int64_t panelsPerTask = 1, groups = 1;
  /// Stack of a task.
  Value sums, block, bias;
  /// The task's.
  Value expert, firstRow, numRows;
};

Value Expansion::packed(ArrayAttr sources, int64_t rows, int64_t cols,
                        bool transposed, int64_t depth, int64_t bits,
                        Type element) {
  SmallVector<int64_t> shape = {experts, panels, depth, tile.columns};
  auto attr = rt::PanelsAttr::get(
      op.getContext(), RankedTensorType::get(shape, element), sources, rows,
      cols, transposed, getOrder(op.getGateUp()), width, bits);
  Value constant =
      rt::ConstantOp::create(b.b, b.loc, MemRefType::get(shape, element), attr);
  return b.flat(constant);
}

void Expansion::preparePanels() {
  Type f32 = b.b.getF32Type();
  int64_t stored = op.getStoredWidth();
  if (ArrayAttr biases = getConstants(op.getBiases()))
    panelBias = packed(biases, stored, 1, false, 1, 0, f32);
  ArrayAttr banks = getConstants(op.getBanks());
  if (!banks)
    return;
  if (!op.getBits()) {
    bool transposed = op.getLayout() == ir::BankLayout::IO;
    panelWeights =
        packed(banks, transposed ? inner : stored, transposed ? stored : inner,
               transposed, inner, 0, f32);
    return;
  }
  ArrayAttr scales = getConstants(op.getScales());
  ArrayAttr zeros = getConstants(op.getZeros());
  if (!scales || (!op.getZeros().empty() && !zeros))
    return;
  int64_t bits = *op.getBits(), blocks = op.getNumBlocks();
  int64_t bytes = llvm::divideCeil(static_cast<uint64_t>(inner), 8 / bits);
  int64_t rowBytes = cast<MemRefType>(op.getBanks()[0].getType()).getDimSize(2);
  panelCodes =
      packed(banks, stored, rowBytes, false, bytes, 0, b.b.getIntegerType(8));
  panelScales = packed(scales, stored, blocks, false, blocks, 0, f32);
  if (!zeros)
    return;
  auto type = cast<MemRefType>(op.getZeros()[0].getType());
  int64_t zeroBits = isa<FloatType>(type.getElementType()) ? 0 : bits;
  if (type.getRank() == 2)
    panelZeros = packed(zeros, 1, stored, true, 1, zeroBits, f32);
  else
    panelZeros = packed(zeros, stored, blocks, false, blocks, zeroBits, f32);
}

/// Lists the chunks of rows, expert by expert.
void Expansion::prepareTasks() {
  panelsPerTask = std::clamp<int64_t>(
      taskBytes / std::max<int64_t>(1, inner * tile.columns * 4), 1, panels);
  groups = llvm::divideCeil(static_cast<uint64_t>(panels), panelsPerTask);

  Value offsets = op.getOffsets();
  Value capacity = memref::DimOp::create(b.b, b.loc, op.getRows(), 0);
  Value most = b.add(b.div(capacity, chunkRows), experts);
  chunks = memref::AllocOp::create(
      b.b, b.loc,
      MemRefType::get({ShapedType::kDynamic, 3}, b.b.getIndexType()), most);
  Value zero = b.constant(0);
  auto loop = scf::ForOp::create(b.b, b.loc, zero, b.constant(experts),
                                 b.constant(1), zero);
  {
    OpBuilder::InsertionGuard guard(b.b);
    b.b.setInsertionPointToStart(loop.getBody());
    Value e = loop.getInductionVar(), number = loop.getRegionIterArgs()[0];
    Value first = b.load(offsets, e);
    Value rowsOfExpert = b.sub(b.load(offsets, b.add(e, 1)), first);
    // Chunks of about the same size: a small last one would fetch all weights
    // for a few rows.
    Value parts = b.ceilDiv(rowsOfExpert, chunkRows);
    b.forRange(zero, parts, 1, [&](Value i) {
      Value at = b.add(number, i);
      auto bound = [&](Value part) {
        return b.add(first, b.div(b.mul(part, rowsOfExpert), parts));
      };
      b.store(e, chunks, {at, b.constant(0)});
      b.store(bound(i), chunks, {at, b.constant(1)});
      b.store(bound(b.add(i, 1)), chunks, {at, b.constant(2)});
    });
    scf::YieldOp::create(b.b, b.loc, ValueRange{b.add(number, parts)});
  }
  numChunks = loop.getResult(0);
}

void Expansion::emit() {
  rowStride = cast<MemRefType>(op.getRows().getType()).getDimSize(1);
  outStride = cast<MemRefType>(op.getOut().getType()).getDimSize(1);
  rows = b.flat(op.getRows());
  out = b.flat(op.getOut());
  preparePanels();
  prepareTasks();
  bool converts = !panelWeights;
  b.parallel(
      b.mul(numChunks, groups),
      [&] {
        sums = b.stack((converts ? chunkRows : tile.maxRows) * tile.columns);
        if (converts)
          block = b.stack(kernelBlock * tile.columns);
        if (!op.getBiases().empty() && !panelBias)
          bias = b.stack(tile.columns);
      },
      [&](Value task) { emitTask(task); });
}

void Expansion::emitTask(Value task) {
  Value chunk = b.div(task, groups), group = b.rem(task, groups);
  expert = b.load(chunks, {chunk, b.constant(0)});
  firstRow = b.load(chunks, {chunk, b.constant(1)});
  numRows = b.sub(b.load(chunks, {chunk, b.constant(2)}), firstRow);
  Value from = b.mul(group, panelsPerTask);
  Value to = b.min(b.add(from, panelsPerTask), b.constant(panels));
  b.forRange(from, to, 1, [&](Value panel) {
    fillBias(panel);
    if (panelWeights)
      emitPackedPanel(panel);
    else
      emitConvertedPanel(panel);
  });
}

/// Divides `total` rows into blocks whose sizes differ by one at most.
void Expansion::forBlocks(Value total,
                          function_ref<void(Value, Value, Value, Value)> body) {
  // From maxRows on there are two blocks, so that the next panel is fetched
  // while the second one computes.
  Value full =
      b.compare(arith::CmpIPredicate::uge, total, b.constant(tile.maxRows));
  Value least = b.select(full, b.constant(2), b.constant(1));
  Value blocks =
      arith::MaxUIOp::create(b.b, b.loc, b.ceilDiv(total, tile.maxRows), least);
  Value base = b.div(total, blocks), larger = b.rem(total, blocks);
  b.forRange(b.constant(0), blocks, 1, [&](Value number) {
    Value first = b.add(b.mul(number, base), b.min(number, larger));
    Value count = b.select(b.below(number, larger), b.add(base, 1), base);
    body(number, blocks, first, count);
  });
}

void Expansion::callKernel(Value count, bool prefetch,
                           ArrayRef<Value> arguments) {
  // With two blocks or more none has fewer than half of the most rows.
  int64_t least = prefetch ? tile.maxRows / 2 : 1;
  auto cases = llvm::to_vector(llvm::seq<int64_t>(least, tile.maxRows));
  auto choice = scf::IndexSwitchOp::create(b.b, b.loc, TypeRange(), count,
                                           cases, cases.size());
  OpBuilder::InsertionGuard guard(b.b);
  auto fill = [&](Region &region, int64_t rowsOfCall) {
    b.b.createBlock(&region);
    func::CallOp::create(b.b, b.loc, kernels.get(rowsOfCall, prefetch),
                         arguments);
    scf::YieldOp::create(b.b, b.loc);
  };
  for (auto [region, rowsOfCall] : llvm::zip(choice.getCaseRegions(), cases))
    fill(region, rowsOfCall);
  fill(choice.getDefaultRegion(), tile.maxRows);
}

void Expansion::emitPackedPanel(Value panel) {
  int64_t panelSize = inner * tile.columns;
  Value number = b.add(b.mul(expert, panels), panel);
  Value weights = b.mul(number, panelSize);
  // Lines of a cache that a step of the contraction goes through.
  int64_t lines = tile.columns * 4 / 64;
  Value next = b.min(b.add(number, 1), b.constant(experts * panels - 1));
  Value ahead = b.mul(next, panelSize);
  Value depth = b.constant(inner), stride = b.constant(rowStride);
  Value zero = b.constant(0);
  forBlocks(numRows, [&](Value i, Value blocks, Value first, Value count) {
    Value row = b.add(firstRow, first);
    initSums(zero, count, panel);
    SmallVector<Value> arguments = {
        rows, b.mul(row, rowStride), stride, panelWeights, weights, depth, sums,
        zero};
    // The first blocks fetch a part of the next panel each.
    Value several = b.compare(arith::CmpIPredicate::ugt, blocks, b.constant(1));
    Value early = b.below(i, b.constant(lines));
    b.ifElse(
        arith::AndIOp::create(b.b, b.loc, several, early),
        [&] {
          SmallVector<Value> fetching = arguments;
          fetching.push_back(b.add(ahead, b.mul(i, inner * 16)));
          callKernel(count, true, fetching);
        },
        [&] { callKernel(count, false, arguments); });
    finishRows(zero, row, count, panel);
  });
}

void Expansion::emitConvertedPanel(Value panel) {
  Value zero = b.constant(0);
  initSums(zero, numRows, panel);
  b.forRange(zero, b.constant(inner), kernelBlock, [&](Value from) {
    Value depth =
        b.min(b.constant(kernelBlock), b.sub(b.constant(inner), from));
    if (panelCodes)
      convertCodes(panel, from, depth);
    else
      convertElements(panel, from, depth);
    forBlocks(numRows, [&](Value, Value, Value first, Value count) {
      Value row = b.mul(b.add(firstRow, first), rowStride);
      callKernel(count, false,
                 {rows, b.add(row, from), b.constant(rowStride), block, zero,
                  depth, sums, b.mul(first, tile.columns)});
    });
  });
  finishRows(zero, firstRow, numRows, panel);
}

//===----------------------------------------------------------------------===//
// Before and after the sums
//===----------------------------------------------------------------------===//

/// Calls `inside` for each column of a panel with the bank and the row of the
/// stored matrix that it comes from, `outside` for padding.
void Expansion::forColumns(Value panel,
                           function_ref<void(unsigned, Value, Value)> inside,
                           function_ref<void(Value)> outside) {
  unsigned parts = op.isGated() ? 2 : 1;
  for (unsigned part = 0; part < parts; ++part)
    b.forRange(b.constant(0), b.constant(perPanel), 1, [&](Value i) {
      Value unit = b.add(b.mul(panel, perPanel), i);
      Value column = b.add(i, part * perPanel);
      b.ifElse(
          b.below(unit, b.constant(width)),
          [&] {
            switch (op.getGateUp()) {
            case ir::GateUp::None:
              return inside(0, unit, column);
            case ir::GateUp::Separate:
              return inside(part, unit, column);
            case ir::GateUp::Concat:
              return inside(0, b.add(unit, part * width), column);
            case ir::GateUp::Interleave:
              return inside(0, b.add(b.mul(unit, 2), part), column);
            }
          },
          [&] { outside(column); });
    });
}

void Expansion::fillBias(Value panel) {
  if (!bias)
    return;
  forColumns(
      panel,
      [&](unsigned bank, Value row, Value column) {
        Value v = b.load(op.getBiases()[bank], {expert, row});
        b.store(b.toF32(v), bias, column);
      },
      [&](Value column) { b.store(b.real(0), bias, column); });
}

/// Sums start from the bias.
void Expansion::initSums(Value first, Value count, Value panel) {
  SmallVector<Value> start;
  Value from = b.constant(0), source = bias;
  if (panelBias) {
    source = panelBias;
    from = b.mul(b.add(b.mul(expert, panels), panel), tile.columns);
  }
  for (int64_t v = 0; v < tile.columns; v += tile.lanes) {
    if (source)
      start.push_back(b.loadVector(vector, source, b.add(from, v)));
    else
      start.push_back(
          arith::ConstantOp::create(b.b, b.loc, b.b.getZeroAttr(vector)));
  }
  b.forRange(b.constant(0), count, 1, [&](Value row) {
    Value at = b.mul(b.add(first, row), tile.columns);
    for (auto [v, value] : llvm::enumerate(start))
      b.storeVector(value, sums, b.add(at, v * tile.lanes));
  });
}

bool Expansion::canVectorise() {
  for (Operation &inside : op.getEpilogue().front().without_terminator()) {
    if (isa<arith::ConstantOp>(inside))
      continue;
    if (!OpTrait::hasElementwiseMappableTraits(&inside) ||
        inside.getNumResults() != 1)
      return false;
    for (Type type : inside.getResultTypes())
      if (!VectorType::isValidElementType(type) || type.isIndex())
        return false;
  }
  return true;
}

Value Expansion::vectorEpilogue(ValueRange arguments) {
  Block &body = op.getEpilogue().front();
  IRMapping map;
  map.map(body.getArguments(), arguments);
  auto widened = [&](Value value) -> Value {
    if (isa<VectorType>(value.getType()))
      return value;
    return vector::BroadcastOp::create(
        b.b, b.loc, VectorType::get({tile.lanes}, value.getType()), value);
  };
  for (Operation &inside : body.without_terminator()) {
    bool anyVector = llvm::any_of(inside.getOperands(), [&](Value operand) {
      return isa<VectorType>(map.lookupOrDefault(operand).getType());
    });
    if (!anyVector) {
      b.b.clone(inside, map);
      continue;
    }
    SmallVector<Value> operands;
    for (Value operand : inside.getOperands())
      operands.push_back(widened(map.lookupOrDefault(operand)));
    OperationState state(
        b.loc, inside.getName().getStringRef(), operands,
        VectorType::get({tile.lanes}, inside.getResult(0).getType()),
        inside.getAttrs());
    map.map(inside.getResult(0), b.b.create(state)->getResult(0));
  }
  return widened(map.lookupOrDefault(body.getTerminator()->getOperand(0)));
}

Value Expansion::scalarEpilogue(ValueRange arguments) {
  Block &body = op.getEpilogue().front();
  IRMapping map;
  map.map(body.getArguments(), arguments);
  for (Operation &inside : body.without_terminator())
    b.b.clone(inside, map);
  return map.lookupOrDefault(body.getTerminator()->getOperand(0));
}

/// Makes results of sums.
void Expansion::finishRows(Value sumsFirst, Value rowFirst, Value count,
                           Value panel) {
  bool vectors = canVectorise();
  Value column = b.mul(panel, perPanel);
  b.forRange(b.constant(0), count, 1, [&](Value i) {
    Value from = b.mul(b.add(sumsFirst, i), tile.columns);
    Value to = b.add(b.mul(b.add(rowFirst, i), outStride), column);
    if (vectors) {
      for (int64_t v = 0; v < perPanel; v += tile.lanes) {
        SmallVector<Value> arguments;
        for (int64_t at = v; at < tile.columns; at += perPanel)
          arguments.push_back(b.loadVector(vector, sums, b.add(from, at)));
        b.storeVector(vectorEpilogue(arguments), out, b.add(to, v));
      }
      return;
    }
    b.forRange(b.constant(0), b.constant(perPanel), 1, [&](Value j) {
      SmallVector<Value> arguments;
      for (int64_t at = 0; at < tile.columns; at += perPanel)
        arguments.push_back(b.load(sums, b.add(b.add(from, j), at)));
      b.store(scalarEpilogue(arguments), out, b.add(to, j));
    });
  });
}

//===----------------------------------------------------------------------===//
// Blocks of weights
//===----------------------------------------------------------------------===//

/// Decodes `count` rows of a panel of packed codes, from row `from` on.
void Expansion::convertCodes(Value panel, Value from, Value count) {
  int64_t bits = *op.getBits(), perByte = 8 / bits;
  int64_t blocks = op.getNumBlocks();
  int64_t codeRows = llvm::divideCeil(static_cast<uint64_t>(inner), perByte);
  // Codes with one scale that are decoded in one go.
  int64_t blockSize = blocks == 1 ? kernelBlock : *op.getBlock();
  bool shared = blockSize % perByte == 0;
  int64_t run = shared ? std::gcd(blockSize, kernelBlock) : perByte;

  auto bytes = VectorType::get({tile.lanes}, b.b.getIntegerType(8));
  auto words = VectorType::get({tile.lanes}, b.b.getI32Type());
  auto splat = [&](VectorType type, int64_t v) -> Value {
    TypedAttr element = type.getElementType().isF32()
                            ? TypedAttr(b.b.getF32FloatAttr(v))
                            : b.b.getI32IntegerAttr(v);
    return arith::ConstantOp::create(
        b.b, b.loc, DenseElementsAttr::get(type, Attribute(element)));
  };
  Value number = b.add(b.mul(expert, panels), panel);
  Value codesFirst = b.mul(number, codeRows * tile.columns);
  Value scalesFirst = b.mul(number, blocks * tile.columns);
  for (int64_t v = 0; v < tile.columns; v += tile.lanes)
    b.forRange(b.constant(0), count, run, [&](Value first) {
      auto scaleOf = [&](Value k) -> std::pair<Value, Value> {
        Value place = blocks == 1 ? b.constant(0) : b.div(k, *op.getBlock());
        place = b.add(b.add(scalesFirst, b.mul(place, tile.columns)), v);
        Value scale = b.loadVector(vector, panelScales, place);
        Value zero = panelZeros ? b.loadVector(vector, panelZeros, place)
                                : splat(vector, 1 << (bits - 1));
        return {scale, zero};
      };
      std::pair<Value, Value> common;
      if (shared)
        common = scaleOf(b.add(from, first));
      Value last = b.min(b.add(first, run), count);
      b.forRange(first, last, perByte, [&](Value k) {
        Value row = b.div(b.add(from, k), perByte);
        Value at = b.add(b.add(codesFirst, b.mul(row, tile.columns)), v);
        Value word = b.loadVector(bytes, panelCodes, at);
        word = arith::ExtUIOp::create(b.b, b.loc, words, word);
        for (int64_t i = 0; i < perByte; ++i) {
          Value code = word;
          if (i)
            code = arith::ShRUIOp::create(b.b, b.loc, code,
                                          splat(words, i * bits));
          if (i + 1 < perByte)
            code = arith::AndIOp::create(b.b, b.loc, code,
                                         splat(words, (1 << bits) - 1));
          // Codes are below 2^31: the signed conversion is one instruction.
          Value real = arith::SIToFPOp::create(b.b, b.loc, vector, code);
          auto [scale, zero] =
              shared ? common : scaleOf(b.add(b.add(from, k), i));
          real = arith::SubFOp::create(b.b, b.loc, real, zero);
          real = arith::MulFOp::create(b.b, b.loc, real, scale);
          Value to = b.mul(b.add(k, i), tile.columns);
          b.storeVector(real, block, b.add(to, v));
        }
      });
    });
}

/// Code `number` of a row of bytes, as f32.
Value Expansion::decode(Value bytes, SmallVector<Value> at, Value number) {
  int64_t bits = *op.getBits(), perByte = 8 / bits;
  Type i32 = b.b.getI32Type();
  at.push_back(b.div(number, perByte));
  Value byte = arith::ExtUIOp::create(b.b, b.loc, i32, b.load(bytes, at));
  Value shift = arith::IndexCastOp::create(b.b, b.loc, i32,
                                           b.mul(b.rem(number, perByte), bits));
  Value code = arith::ShRUIOp::create(b.b, b.loc, byte, shift);
  Value mask = arith::ConstantIntOp::create(b.b, b.loc, (1 << bits) - 1, 32);
  code = arith::AndIOp::create(b.b, b.loc, code, mask);
  return arith::SIToFPOp::create(b.b, b.loc, b.b.getF32Type(), code);
}

/// An element of a matrix of the task's expert as it is stored.
Value Expansion::readWeight(unsigned bank, Value row, Value k) {
  Value weights = op.getBanks()[bank];
  if (!op.getBits()) {
    if (op.getLayout() == ir::BankLayout::IO)
      return b.toF32(b.load(weights, {expert, k, row}));
    return b.toF32(b.load(weights, {expert, row, k}));
  }
  Value blockOf =
      op.getNumBlocks() == 1 ? b.constant(0) : b.div(k, *op.getBlock());
  Value zero = b.real(1 << (*op.getBits() - 1));
  if (!op.getZeros().empty()) {
    Value zeros = op.getZeros()[bank];
    auto type = cast<MemRefType>(zeros.getType());
    if (isa<FloatType>(type.getElementType()))
      zero = b.toF32(b.load(zeros, {expert, row, blockOf}));
    else if (type.getRank() == 2)
      zero = decode(zeros, {expert}, row);
    else
      zero = decode(zeros, {expert, row}, blockOf);
  }
  Value scale = b.toF32(b.load(op.getScales()[bank], {expert, row, blockOf}));
  Value code = decode(weights, {expert, row}, k);
  code = arith::SubFOp::create(b.b, b.loc, code, zero);
  return arith::MulFOp::create(b.b, b.loc, code, scale);
}

/// Brings `count` rows of a panel, from row `from` on, into the kernels' form,
/// element by element.
void Expansion::convertElements(Value panel, Value from, Value count) {
  auto forRows = [&](Value column, function_ref<Value(Value k)> read) {
    b.forRange(b.constant(0), count, 1, [&](Value k) {
      b.store(read(k), block, b.add(b.mul(k, tile.columns), column));
    });
  };
  forColumns(
      panel,
      [&](unsigned bank, Value row, Value column) {
        forRows(column,
                [&](Value k) { return readWeight(bank, row, b.add(from, k)); });
      },
      [&](Value column) { forRows(column, [&](Value) { return b.real(0); }); });
}

//===----------------------------------------------------------------------===//
// Combine
//===----------------------------------------------------------------------===//

void expandCombine(ir::CombineOp op, const KernelTile &tile,
                   OpBuilder &builder) {
  Emitter b{builder, op.getLoc()};
  int64_t width = cast<MemRefType>(op.getOut().getType()).getDimSize(1);
  int64_t lanes = tile.lanes;
  auto vector = VectorType::get({lanes}, builder.getF32Type());
  Value rows = op.getRows(), out = op.getOut(), positions = op.getPositions();
  Value zero = b.constant(0);
  Value tokens = memref::DimOp::create(builder, b.loc, out, 0);
  Value slots = memref::DimOp::create(builder, b.loc, positions, 1);
  Value none =
      arith::ConstantOp::create(builder, b.loc, builder.getZeroAttr(vector));

  // The sums of `count` vectors of a token.
  auto sum = [&](Value token, Value column, int64_t count) {
    SmallVector<Value> init(count, none);
    auto loop =
        scf::ForOp::create(builder, b.loc, zero, slots, b.constant(1), init);
    OpBuilder::InsertionGuard guard(builder);
    builder.setInsertionPointToStart(loop.getBody());
    Value slot = loop.getInductionVar();
    ValueRange totals = loop.getRegionIterArgs();
    Value row = b.load(positions, {token, slot});
    Value there = b.compare(arith::CmpIPredicate::sge, row, zero);
    auto branch = scf::IfOp::create(
        builder, b.loc, SmallVector<Type>(count, vector), there, true);
    {
      OpBuilder::InsertionGuard inner(builder);
      builder.setInsertionPointToStart(branch.thenBlock());
      Value weight;
      if (op.getWeights())
        weight = vector::BroadcastOp::create(
            builder, b.loc, vector, b.load(op.getWeights(), {token, slot}));
      SmallVector<Value> next;
      for (int64_t i = 0; i < count; ++i) {
        Value part =
            b.loadVector(vector, rows, {row, b.add(column, i * lanes)});
        if (weight)
          next.push_back(
              vector::FMAOp::create(builder, b.loc, weight, part, totals[i]));
        else
          next.push_back(
              arith::AddFOp::create(builder, b.loc, totals[i], part));
      }
      scf::YieldOp::create(builder, b.loc, next);
      builder.setInsertionPointToStart(branch.elseBlock());
      scf::YieldOp::create(builder, b.loc, totals);
    }
    scf::YieldOp::create(builder, b.loc, branch.getResults());
    return loop.getResults();
  };
  auto columnsFrom = [&](Value token, int64_t from, int64_t to, int64_t count) {
    int64_t step = count * lanes;
    int64_t end = from + (to - from) / step * step;
    if (end > from)
      b.forRange(b.constant(from), b.constant(end), step, [&](Value column) {
        for (auto [i, total] : llvm::enumerate(sum(token, column, count)))
          b.storeVector(total, out, {token, b.add(column, i * lanes)});
      });
    return end;
  };

  int64_t tokensPerTask = std::max<int64_t>(1, 32768 / width);
  b.parallel(b.ceilDiv(tokens, tokensPerTask), nullptr, [&](Value task) {
    Value first = b.mul(task, tokensPerTask);
    Value last = b.min(b.add(first, tokensPerTask), tokens);
    b.forRange(first, last, 1, [&](Value token) {
      int64_t done = columnsFrom(token, 0, width, 4);
      done = columnsFrom(token, done, width, 1);
      if (done == width)
        return;
      auto flags = VectorType::get({lanes}, builder.getI1Type());
      SmallVector<bool> inside(lanes);
      std::fill_n(inside.begin(), width - done, true);
      Value mask = arith::ConstantOp::create(
          builder, b.loc, DenseElementsAttr::get(flags, inside));
      Value column = b.constant(done);
      Value total = sum(token, column, 1)[0];
      vector::MaskedStoreOp::create(builder, b.loc, out,
                                    ValueRange{token, column}, mask, total);
    });
  });
}

struct ExpandGroupedPass : moe::impl::ExpandGroupedPassBase<ExpandGroupedPass> {
  using ExpandGroupedPassBase::ExpandGroupedPassBase;

  void runOnOperation() override {
    MicroKernels kernels(getOperation(), KernelTile(vectorBits));
    SmallVector<Operation *> ops;
    getOperation().walk([&](Operation *op) {
      if (isa<ir::GroupedLinearOp, ir::CombineOp>(op))
        ops.push_back(op);
    });
    for (Operation *op : ops) {
      OpBuilder builder(op);
      if (auto linear = dyn_cast<ir::GroupedLinearOp>(op)) {
        Expansion(linear, kernels, builder).emit();
        ++numProducts;
      } else {
        expandCombine(cast<ir::CombineOp>(op), kernels.tile, builder);
      }
      op->erase();
    }
  }
};

} // namespace
