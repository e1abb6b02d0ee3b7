//===- GroupedLinear.cpp - grouped products as loops over kernels ---------===//

#include "passes/Lower/Host/GroupedLinear.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/IR/IRMapping.h"
#include "mlir/IR/Remarks.h"

using namespace mlir;
using namespace moe;

/// What a task should be worth in multiply-adds: 1 MiB of f32 weights for 8
/// rows. Smaller ones cost more to hand out than they even out.
static constexpr int64_t taskWork = 1 << 21;
/// Rows that take as long to multiply with a panel as the panel takes to come
/// from memory.
static constexpr int64_t balancedRows = 8;

/// The constant behind a buffer, or null.
static ElementsAttr getConstant(Value buffer) {
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

ArrayAttr moe::getConstants(ValueRange buffers) {
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

/// Remarks on what is not done.
void GroupedLinear::missed(const std::string &what) {
  auto function = op->getParentOfType<FunctionOpInterface>();
  remark::missed(op.getLoc(), remark::RemarkOpts::name("moe-expand-grouped")
                                  .category("lower")
                                  .function(function ? function.getName() : ""))
      << remark::reason("{0}", what);
}

static rt::PanelOrder getOrder(ir::GateUp form) {
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

Value GroupedLinear::packed(ArrayAttr sources, int64_t rows, int64_t cols,
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

void GroupedLinear::preparePanels() {
  Type f32 = b.b.getF32Type();
  int64_t stored = op.getStoredWidth();
  if (ArrayAttr biases = getConstants(op.getBiases()))
    panelBias = packed(biases, stored, 1, false, 1, 0, f32);
  ArrayAttr banks = getConstants(op.getBanks());
  if (!banks)
    return;
  if (!op.getBits()) {
    bool transposed = op.getLayout() == ir::BankLayout::IO;
    Type given = cast<MemRefType>(op.getBanks()[0].getType()).getElementType();
    bool alike = llvm::all_of(op.getBanks(), [&](Value bank) {
      return cast<MemRefType>(bank.getType()).getElementType() == given;
    });
    if (choosePairs()) {
      element = b.b.getI32Type();
      depth = llvm::divideCeil(static_cast<uint64_t>(inner), 2u);
    } else if (alike && (given.isF16() || given.isBF16())) {
      element = given;
    }
    panelWeights =
        packed(banks, transposed ? inner : stored, transposed ? stored : inner,
               transposed, depth, 0, element);
    return;
  }
  ArrayAttr scales = getConstants(op.getScales());
  ArrayAttr zeros = getConstants(op.getZeros());
  if (!scales || (!op.getZeros().empty() && !zeros))
    return;
  int64_t bits = *op.getBits(), blocks = op.getNumBlocks();
  int64_t bytes = llvm::divideCeil(static_cast<uint64_t>(inner), 8 / bits);
  int64_t rowBytes = cast<MemRefType>(op.getBanks()[0].getType()).getDimSize(2);
  if (form)
    panelCodes = packed(banks, stored, rowBytes * (8 / bits), false,
                        units * form->getPanelWords(), bits, b.b.getI32Type());
  else
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

/// Lists the chunks of rows, expert by expert; returns their number.
Value GroupedLinear::listChunks() {
  Value offsets = op.getOffsets();
  Value most = b.add(b.div(numTokens, chunkRows), experts);
  chunks = memref::AllocOp::create(
      b.b, b.loc,
      MemRefType::get({ShapedType::kDynamic, 3}, b.b.getIndexType()), most);
  Value zero = b.constant(0);
  auto loop = scf::ForOp::create(b.b, b.loc, zero, b.constant(experts),
                                 b.constant(1), zero);
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
  return loop.getResult(0);
}

void GroupedLinear::prepareTasks() {
  numTokens = memref::DimOp::create(b.b, b.loc, op.getRows(), 0);
  Value total = numTokens;
  if (Value offsets = op.getOffsets()) {
    numChunks = listChunks();
    total = b.sub(b.load(offsets, b.constant(experts)),
                  b.load(offsets, b.constant(0)));
  } else {
    numChunks = b.ceilDiv(numTokens, chunkRows);
  }
  // How long a panel takes for an average chunk: as long as its weights take
  // to come, or longer if there are many rows.
  Value average = b.div(total, b.max(numChunks, b.constant(1)));
  Value work =
      b.mul(b.max(average, b.constant(balancedRows)), inner * tile.columns);
  panelsPerTask = b.min(b.max(b.div(b.constant(taskWork), work), b.constant(1)),
                        b.constant(panels));
  groups = b.div(b.add(b.constant(panels), b.sub(panelsPerTask, b.constant(1))),
                 panelsPerTask);
}

void GroupedLinear::emit() {
  rowStride = cast<MemRefType>(op.getRows().getType()).getDimSize(1);
  outColumns = cast<MemRefType>(op.getOut().getType()).getDimSize(1);
  rows = b.flat(op.getRows());
  out = b.flat(op.getOut());
  form = chooseForm();
  preparePanels();
  prepareTasks();
  if (form)
    prepareDigits();
  else if (op.getRoundRows())
    prepareRounding();
  else if (element.isInteger(32))
    preparePairs();
  bool converts = !panelWeights && !form;
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

void GroupedLinear::emitTask(Value task) {
  Value chunk = b.div(task, groups), group = b.rem(task, groups);
  Value lastRow;
  if (chunks) {
    expert = b.load(chunks, {chunk, b.constant(0)});
    firstRow = b.load(chunks, {chunk, b.constant(1)});
    lastRow = b.load(chunks, {chunk, b.constant(2)});
  } else {
    expert = b.constant(0);
    firstRow = b.div(b.mul(chunk, numTokens), numChunks);
    lastRow = b.div(b.mul(b.add(chunk, 1), numTokens), numChunks);
  }
  numRows = b.sub(lastRow, firstRow);
  Value from = b.mul(group, panelsPerTask);
  Value to = b.min(b.add(from, panelsPerTask), b.constant(panels));
  b.forRange(from, to, 1, [&](Value panel) {
    fillBias(panel);
    if (form)
      emitIntegerPanel(panel);
    else if (panelWeights)
      emitPackedPanel(panel);
    else
      emitConvertedPanel(panel);
  });
}

/// Divides `total` rows into blocks whose sizes differ by one at most.
void GroupedLinear::forBlocks(
    Value total, function_ref<void(Value, Value, Value, Value)> body) {
  int64_t most = form ? integers.getMaxRows(*form) : tile.maxRows;
  Value blocks = b.ceilDiv(total, most);
  if (!form) {
    // From splitRows on there are two blocks, so that the next panel is fetched
    // while the second one computes.
    Value full =
        b.compare(arith::CmpIPredicate::uge, total, b.constant(tile.splitRows));
    Value least = b.select(full, b.constant(2), b.constant(1));
    blocks = arith::MaxUIOp::create(b.b, b.loc, blocks, least);
  }
  Value base = b.div(total, blocks), larger = b.rem(total, blocks);
  b.forRange(b.constant(0), blocks, 1, [&](Value number) {
    Value first = b.add(b.mul(number, base), b.min(number, larger));
    Value count = b.select(b.below(number, larger), b.add(base, 1), base);
    body(number, blocks, first, count);
  });
}

void GroupedLinear::callKernel(Value count, bool prefetch,
                               ArrayRef<Value> arguments) {
  SmallVector<Value> all = {count};
  llvm::append_range(all, arguments);
  Type panel = cast<MemRefType>(arguments[3].getType()).getElementType();
  func::CallOp::create(b.b, b.loc, kernels.getAny(panel, prefetch), all);
}

void GroupedLinear::emitPackedPanel(Value panel) {
  int64_t panelSize = depth * tile.columns;
  Value number = b.add(b.mul(expert, panels), panel);
  Value weights = b.mul(number, panelSize);
  int64_t lines = tile.getLines(element);
  int64_t lineElements = tile.getLineElements(element);
  Value next = b.min(b.add(number, 1), b.constant(experts * panels - 1));
  Value ahead = b.mul(next, panelSize);
  Value steps = b.constant(depth), stride = b.constant(rowStride);
  Value zero = b.constant(0);
  forBlocks(numRows, [&](Value i, Value blocks, Value first, Value count) {
    Value row = b.add(firstRow, first);
    initSums(zero, count, panel);
    SmallVector<Value> arguments = {
        rows, b.mul(row, rowStride), stride, panelWeights, weights, steps, sums,
        zero};
    // The first blocks fetch a part of the next panel each.
    Value several = b.compare(arith::CmpIPredicate::ugt, blocks, b.constant(1));
    Value early = b.below(i, b.constant(lines));
    b.ifElse(
        arith::AndIOp::create(b.b, b.loc, several, early),
        [&] {
          SmallVector<Value> fetching = arguments;
          fetching.push_back(b.add(ahead, b.mul(i, depth * lineElements)));
          callKernel(count, true, fetching);
        },
        [&] { callKernel(count, false, arguments); });
    finishRows(zero, row, count, panel);
  });
}

void GroupedLinear::emitConvertedPanel(Value panel) {
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
void GroupedLinear::forColumns(
    Value panel, function_ref<void(unsigned, Value, Value)> inside,
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

void GroupedLinear::fillBias(Value panel) {
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
void GroupedLinear::initSums(Value first, Value count, Value panel) {
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

bool GroupedLinear::canVectorise() {
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

Value GroupedLinear::vectorEpilogue(ValueRange arguments) {
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

Value GroupedLinear::scalarEpilogue(ValueRange arguments) {
  Block &body = op.getEpilogue().front();
  IRMapping map;
  map.map(body.getArguments(), arguments);
  for (Operation &inside : body.without_terminator())
    b.b.clone(inside, map);
  return map.lookupOrDefault(body.getTerminator()->getOperand(0));
}

/// Makes results of sums.
void GroupedLinear::finishRows(Value sumsFirst, Value rowFirst, Value count,
                               Value panel) {
  bool vectors = canVectorise();
  b.forRange(b.constant(0), count, 1, [&](Value i) {
    Value from = b.mul(b.add(sumsFirst, i), tile.columns);
    Value row = b.add(rowFirst, i);
    if (vectors)
      finishVectors(row, from, panel);
    else
      finishElements(row, from, panel);
  });
}

/// Where an extra has its value for an element of the result.
SmallVector<Value> GroupedLinear::extraPlace(Value extra, Value row,
                                             Value column) {
  auto type = cast<MemRefType>(extra.getType());
  return {type.getDimSize(0) == 1 ? b.constant(0) : row,
          type.getDimSize(1) == 1 ? b.constant(0) : column};
}

void GroupedLinear::finishVectors(Value row, Value from, Value panel) {
  auto element = cast<MemRefType>(op.getOut().getType()).getElementType();
  // The last panel ends behind the columns that there are.
  bool partial = width % perPanel != 0;
  bool padded = outColumns >= panels * perPanel;
  for (int64_t v = 0; v < perPanel; v += tile.lanes) {
    Value column = b.add(b.mul(panel, perPanel), v);
    Value mask;
    if (partial && (!padded || !op.getExtras().empty())) {
      Value left = b.sub(b.constant(width), b.min(column, b.constant(width)));
      mask = b.firstLanes(tile.lanes, left);
    }
    SmallVector<Value> arguments;
    for (int64_t at = v; at < tile.columns; at += perPanel)
      arguments.push_back(b.loadVector(vector, sums, b.add(from, at)));
    for (Value extra : op.getExtras()) {
      auto type = cast<MemRefType>(extra.getType());
      SmallVector<Value> place = extraPlace(extra, row, column);
      if (type.getDimSize(1) == 1) {
        arguments.push_back(b.load(extra, place));
        continue;
      }
      auto wide = VectorType::get({tile.lanes}, type.getElementType());
      if (!mask) {
        arguments.push_back(b.loadVector(wide, extra, place));
        continue;
      }
      Value none = arith::ConstantOp::create(b.b, b.loc, b.b.getZeroAttr(wide));
      arguments.push_back(vector::MaskedLoadOp::create(b.b, b.loc, wide, extra,
                                                       place, mask, none));
    }
    Value result = vectorEpilogue(arguments);
    if (result.getType() != VectorType::get({tile.lanes}, element))
      result = vector::BroadcastOp::create(
          b.b, b.loc, VectorType::get({tile.lanes}, element), result);
    Value to = b.add(b.mul(row, outColumns), column);
    if (mask && !padded)
      vector::MaskedStoreOp::create(b.b, b.loc, out, ValueRange{to}, mask,
                                    result);
    else
      b.storeVector(result, out, to);
  }
}

void GroupedLinear::finishElements(Value row, Value from, Value panel) {
  Value first = b.mul(panel, perPanel);
  Value count = b.min(b.sub(b.constant(width), first), b.constant(perPanel));
  b.forRange(b.constant(0), count, 1, [&](Value j) {
    Value column = b.add(first, j);
    SmallVector<Value> arguments;
    for (int64_t at = 0; at < tile.columns; at += perPanel)
      arguments.push_back(b.load(sums, b.add(b.add(from, j), at)));
    for (Value extra : op.getExtras())
      arguments.push_back(b.load(extra, extraPlace(extra, row, column)));
    b.store(scalarEpilogue(arguments), out,
            b.add(b.mul(row, outColumns), column));
  });
}
