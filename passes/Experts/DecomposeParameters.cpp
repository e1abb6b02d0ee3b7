//===- DecomposeParameters.cpp - banks that are computed ------------------===//
//
// moe.dequantize and moe.mix as ONNX operators.
//
//===----------------------------------------------------------------------===//
#include "passes/Experts/Decompose.h"

using namespace mlir;
using namespace moe;
using namespace moe::ir;

static int64_t rankOf(Value value) {
  return cast<RankedTensorType>(value.getType()).getRank();
}

static SmallVector<GraphExtent> extentsOf(GraphBuilder &g, Value value,
                                          int64_t begin, int64_t end) {
  SmallVector<GraphExtent> extents;
  for (int64_t i = begin; i < end; ++i)
    extents.push_back(g.extent(value, i));
  return extents;
}

//===----------------------------------------------------------------------===//
// moe.dequantize
//===----------------------------------------------------------------------===//

/// The codes in bytes, the lowest bits first along the last axis.
static Value unpack(GraphBuilder &g, Value packed, int64_t bits) {
  if (bits == 8)
    return packed;
  int64_t rank = rankOf(packed), perByte = 8 / bits;
  Type byte = getElement(packed);
  SmallVector<Value> parts;
  for (int64_t i = 0; i < perByte; ++i) {
    Value part = packed;
    if (i != 0)
      part = g.op("BitShift", {part, g.integer(i * bits, byte)},
                  g.attr("direction", "RIGHT"));
    if (i + 1 != perByte)
      part = g.op("Mod", {part, g.integer(int64_t(1) << bits, byte)});
    parts.push_back(g.unsqueeze(part, {rank}));
  }
  SmallVector<GraphExtent> shape = extentsOf(g, packed, 0, rank - 1);
  GraphExtent last = g.extent(packed, rank - 1);
  shape.push_back(last.isStatic() ? last.size * perByte : -1);
  return g.reshape(g.concat(parts, rank), shape);
}

/// One value per block to one per code: repeats along the last axis and cuts
/// off what a last, shorter block has too much.
static Value repeatBlocks(GraphBuilder &g, Value perBlock, GraphExtent blocks,
                          int64_t block, Value packed, Value codes) {
  SmallVector<GraphExtent> shape = extentsOf(g, packed, 0, 2);
  shape.push_back(blocks);
  shape.push_back(block);
  Value repeated = g.expand(g.unsqueeze(perBlock, {3}), shape);
  shape.pop_back();
  shape.back() = blocks.isStatic() ? blocks.size * block : -1;
  repeated = g.reshape(repeated, shape);
  Value columns =
      g.gather(g.op("Shape", {codes}, {}, g.b.getI64Type()), g.ints({2}));
  return g.op("Slice", {repeated, g.ints({0}), columns, g.ints({2})});
}

Value moe::decomposeDequantize(GraphBuilder &g, DequantizeOp op) {
  Type result = getElement(op.getResult());
  Type compute = getComputeType(op.getResult());
  int64_t bits = op.getBits();
  Value codes = unpack(g, op.getPacked(), bits);
  Value scales = g.cast(op.getScales(), compute), zeros;
  if (Value points = op.getZeroPoints()) {
    zeros = g.cast(unpack(g, points, bits), compute);
    // The last byte of a row of zero points may be half empty.
    int64_t axis = op.getBlock() ? 2 : 1;
    GraphExtent count = g.extent(op.getScales(), axis);
    Value end = count.isStatic() ? g.ints({count.size}) : count.value;
    if (bits != 8)
      zeros = g.op("Slice", {zeros, g.ints({0}), end, g.ints({axis})});
  } else {
    zeros = g.real(static_cast<double>(int64_t(1) << (bits - 1)), compute);
  }

  int64_t columns = cast<RankedTensorType>(op.getType()).getDimSize(2);
  Value values = g.cast(codes, compute);
  if (!op.getBlock()) {
    scales = g.unsqueeze(scales, {2});
    if (op.getZeroPoints())
      zeros = g.unsqueeze(zeros, {2});
    return g.cast(g.op("Mul", {g.op("Sub", {values, zeros}), scales}), result);
  }
  int64_t block = *op.getBlock();
  GraphExtent blocks = g.extent(op.getScales(), 2);
  if (ShapedType::isDynamic(columns) || columns % block != 0) {
    scales = repeatBlocks(g, scales, blocks, block, op.getPacked(), codes);
    if (op.getZeroPoints())
      zeros = repeatBlocks(g, zeros, blocks, block, op.getPacked(), codes);
    return g.cast(g.op("Mul", {g.op("Sub", {values, zeros}), scales}), result);
  }
  SmallVector<GraphExtent> shape = extentsOf(g, op.getPacked(), 0, 2);
  shape.push_back(columns / block);
  shape.push_back(block);
  values = g.reshape(values, shape);
  if (op.getZeroPoints())
    zeros = g.unsqueeze(zeros, {3});
  values =
      g.op("Mul", {g.op("Sub", {values, zeros}), g.unsqueeze(scales, {3})});
  shape.pop_back();
  shape.back() = columns;
  return g.cast(g.reshape(values, shape), result);
}

//===----------------------------------------------------------------------===//
// moe.mix
//===----------------------------------------------------------------------===//

Value moe::decomposeMix(GraphBuilder &g, MixOp op) {
  Value coefficients = op.getCoefficients(), bank = op.getBank();
  int64_t rank = rankOf(coefficients), bankRank = rankOf(bank);
  GraphExtent entries = g.extent(bank, 0);
  if (getElement(coefficients).isInteger()) {
    // Gather would count negative indices from the end.
    Value index = g.cast(coefficients, g.b.getI64Type());
    Value beyond = entries.isStatic() ? g.integer(entries.size) : entries.value;
    Value below = g.op("Less", {index, g.integer(0)}, {}, g.b.getI1Type());
    index = g.op("Where", {below, beyond, index}, {}, g.b.getI64Type());
    return g.gather(bank, index);
  }
  Type compute = getComputeType(bank);
  if (getElement(coefficients).isF64())
    compute = g.b.getF64Type();
  Value rows = g.cast(coefficients, compute), matrix = g.cast(bank, compute);
  if (bankRank != 2)
    matrix = bankRank == 1 ? g.unsqueeze(matrix, {1})
                           : g.reshape(matrix, {entries, -1});
  if (rank != 2)
    rows = rank == 1 ? g.unsqueeze(rows, {0}) : g.reshape(rows, {-1, entries});
  Value mixed = g.op("MatMul", {rows, matrix});
  if (rank != 2 || bankRank != 2) {
    SmallVector<GraphExtent> shape = extentsOf(g, coefficients, 0, rank - 1);
    llvm::append_range(shape, extentsOf(g, bank, 1, bankRank));
    mixed = g.reshape(mixed, shape);
  }
  return g.cast(mixed, getElement(op.getResult()));
}
