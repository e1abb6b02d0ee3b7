//===- GroupedPairs.cpp - products with rows of bf16 ----------------------===//
//
// `vdpbf16ps` multiplies two neighbours of a row with two of a column and adds
// both products to an f32, at twice the rate of f32. Rows have to be bf16 for
// it. As digits are, they are rounded once, before the tasks.
//
//===----------------------------------------------------------------------===//
#include "passes/Lower/Host/GroupedLinear.h"

using namespace mlir;
using namespace moe;

/// Whether rows are rounded to bf16.
bool GroupedLinear::choosePairs() {
  if (integers.activations != Activations::Rounded)
    return false;
  for (Value bank : op.getBanks())
    if (!cast<MemRefType>(bank.getType()).getElementType().isBF16())
      return false;
  if (kernels.bfloatDot)
    return true;
  missed("rows beside weights of bf16 are not rounded: the target has no "
         "instruction that multiplies pairs of bf16 (avx512bf16)");
  return false;
}

void GroupedLinear::preparePairs() {
  int64_t lanes = tile.lanes;
  auto floats = VectorType::get({lanes}, b.b.getF32Type());
  auto halves = VectorType::get({lanes}, b.b.getBF16Type());
  auto words = VectorType::get({lanes / 2}, b.b.getI32Type());
  // A stride that is no power of two: see paddedColumns of MoEToLinalg.
  int64_t stride = llvm::alignTo(inner, lanes) / 2 + 16;
  Value buffer = memref::AllocOp::create(
      b.b, b.loc,
      MemRefType::get({ShapedType::kDynamic, stride}, b.b.getI32Type()),
      numTokens);
  Value pairs = b.flat(buffer);
  int64_t full = inner / lanes * lanes;
  forRows([&](Value row) {
    Value from = b.mul(row, rowStride), to = b.mul(row, stride);
    auto store = [&](Value v, Value k) {
      v = arith::TruncFOp::create(b.b, b.loc, halves, v);
      v = vector::BitCastOp::create(b.b, b.loc, words, v);
      b.storeVector(v, pairs, b.add(to, b.div(k, 2)));
    };
    b.forRange(b.constant(0), b.constant(full), lanes, [&](Value k) {
      store(b.loadVector(floats, rows, b.add(from, k)), k);
    });
    if (full == inner)
      return;
    // Zeros behind the last element.
    Value k = b.constant(full);
    Value mask = b.firstLanes(lanes, b.constant(inner - full));
    Value none = arith::ConstantOp::create(b.b, b.loc, b.b.getZeroAttr(floats));
    store(vector::MaskedLoadOp::create(b.b, b.loc, floats, rows, b.add(from, k),
                                       mask, none),
          k);
  });
  rows = pairs;
  rowStride = stride;
}
