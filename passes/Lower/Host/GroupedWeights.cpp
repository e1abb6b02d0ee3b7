//===- GroupedWeights.cpp - weights that are no packed f32 ----------------===//

#include "passes/Lower/Host/GroupedLinear.h"

#include <numeric>

using namespace mlir;
using namespace moe;

//===----------------------------------------------------------------------===//
// Blocks of weights
//===----------------------------------------------------------------------===//

/// Decodes `count` rows of a panel of packed codes, from row `from` on.
void GroupedLinear::convertCodes(Value panel, Value from, Value count) {
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
Value GroupedLinear::decode(Value bytes, SmallVector<Value> at, Value number) {
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
Value GroupedLinear::readWeight(unsigned bank, Value row, Value k) {
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
void GroupedLinear::convertElements(Value panel, Value from, Value count) {
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
