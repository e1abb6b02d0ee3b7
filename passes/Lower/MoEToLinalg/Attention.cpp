//===- Attention.cpp - moe.attention --------------------------------------===//
//
// moe.attention becomes moe.attend on buffers. Transpositions in front of it
// are not carried out: a buffer is read in the order of dims that it has. One
// behind it that puts the heads of a token side by side, which is how exporters
// end an attention, is what the result is written as.
//
//===----------------------------------------------------------------------===//

#include "dialects/MoE/MoEDialect.h"
#include "mlir/Dialect/Utils/StaticValueUtils.h"
#include "passes/Lower/MoEToLinalg/MoEToLinalg.h"
#include "passes/Lower/ONNXToLinalg/Reductions.h"

using namespace mlir;
using namespace moe;
using namespace moe::lower;

using arith::CmpIPredicate;

namespace {

/// A tensor in a buffer whose dims come in another order: dim i of the tensor
/// is dim order[i] of the buffer.
struct Ordered {
  Value buffer;
  SmallVector<int64_t> order{0, 1, 2, 3};
};

/// The permutation of a transposition of rank 4, or nothing.
std::optional<SmallVector<int64_t>> getPermutation(Operation *op) {
  if (!op || op->getName().getStringRef() != "onnx.Transpose" ||
      rankOf(op->getResult(0)) != 4)
    return std::nullopt;
  SmallVector<int64_t> perm{3, 2, 1, 0};
  if (auto given = intsAttr(op, "perm"))
    perm = *given;
  return perm;
}

Ordered read(FunctionLowering &l, Value onnx) {
  Ordered ordered;
  while (auto perm = getPermutation(onnx.getDefiningOp())) {
    for (int64_t &dim : ordered.order)
      dim = (*perm)[dim];
    onnx = onnx.getDefiningOp()->getOperand(0);
  }
  ordered.buffer = l.readable(l.tensor(onnx));
  return ordered;
}

/// Whether a result goes into a transposition to [B, S, N, D] and nowhere else.
bool endsByToken(Value result) {
  if (!result.hasOneUse())
    return false;
  auto perm = getPermutation(*result.user_begin());
  return perm && ArrayRef<int64_t>(*perm) == ArrayRef<int64_t>{0, 2, 1, 3};
}

/// Checks that an operand broadcasts to the scores, its last dim at compile
/// time: returns it with that dim repeated where only the run shows it.
Value broadcasting(FunctionLowering &l, Value onnx,
                   ArrayRef<OpFoldResult> scores, StringRef name) {
  static constexpr StringLiteral dims[] = {"batch", "heads", "queries", "keys"};
  Extents own = l.dims(onnx);
  for (unsigned dim = 0; dim < 4; ++dim) {
    if (isConstantIntValue(own[dim], 1) || own[dim] == scores[dim])
      continue;
    Value equal = l.compare(CmpIPredicate::eq, own[dim], scores[dim]);
    Value one = l.compare(CmpIPredicate::eq, own[dim], l.index(1));
    l.check(l.b.createOrFold<arith::OrIOp>(l.loc(), equal, one),
            name + " does not broadcast to the " + dims[dim] + " of the scores",
            /*code=*/3);
  }
  Value tensor = l.tensor(onnx);
  if (isConstantIntValue(own[3], 1) || own[3] == scores[3])
    return tensor;
  // Equal to a symbol of another name, or 1: one copy settles it.
  Extents shape(own.begin(), own.begin() + 3);
  shape.push_back(scores[3]);
  Value one = l.compare(CmpIPredicate::eq, own[3], l.index(1));
  Value zero = l.value(l.index(0));
  return l.pointwise(shape, elementOf(tensor), {}, {},
                     [&](OpBuilder &b, Location loc, ValueRange) -> Value {
                       SmallVector<Value> at;
                       for (unsigned dim = 0; dim < 4; ++dim)
                         at.push_back(linalg::IndexOp::create(b, loc, dim));
                       at[3] =
                           arith::SelectOp::create(b, loc, one, zero, at[3]);
                       return tensor::ExtractOp::create(b, loc, tensor, at);
                     });
}

LogicalResult lowerAttention(FunctionLowering &l, Operation *generic) {
  auto op = cast<ir::AttentionOp>(generic);
  Value query = op.getQuery(), key = op.getKey(), value = op.getValue();
  OpFoldResult batch = l.dim(query, 0), heads = l.dim(query, 1);
  OpFoldResult rows = l.dim(query, 2), keyHeads = l.dim(key, 1);
  OpFoldResult columns = l.dim(key, 2);
  l.checkEqual(l.dim(key, 0), batch, "queries and keys differ in their batch");
  l.checkEqual(l.dim(value, 0), batch,
               "queries and values differ in their batch");
  l.checkEqual(l.dim(value, 1), keyHeads,
               "keys and values differ in their heads");
  l.checkEqual(l.dim(value, 2), columns,
               "there are not as many values as keys");
  l.checkEqual(l.dim(key, 3), l.dim(query, 3),
               "queries and keys differ in the width of a head");
  l.check(l.compare(CmpIPredicate::sgt, keyHeads, l.index(0)),
          "keys have no heads");
  l.checkEqual(l.mul(l.div(heads, keyHeads), keyHeads), heads,
               "the heads of the queries do not divide into those of the keys");

  Extents scores{batch, heads, rows, columns};
  Value bias, mask, shift;
  if (op.getBias())
    bias = broadcasting(l, op.getBias(), scores, "bias");
  if (op.getMask()) {
    // Bytes: booleans are bits in vectors.
    Value flags = broadcasting(l, op.getMask(), scores, "mask");
    Extents shape = l.dims(op.getMask());
    auto type = cast<RankedTensorType>(flags.getType());
    if (type.getDimSize(3) != 1)
      shape[3] = columns;
    Type i8 = l.b.getI8Type();
    flags =
        l.pointwise(shape, i8, flags,
                    AffineMap::getMultiDimIdentityMap(4, l.b.getContext()),
                    [&](OpBuilder &b, Location loc, ValueRange args) -> Value {
                      return arith::ExtUIOp::create(b, loc, i8, args[0]);
                    });
    mask = flags;
  }
  if (op.getCausal() == ir::Causal::End)
    shift = l.value(l.sub(columns, rows));

  Extents shape =
      l.bindDims(op.getOut(), {batch, heads, rows, l.dim(value, 3)});
  bool byToken = endsByToken(op.getOut());
  Extents stored = shape;
  SmallVector<int64_t> outOrder{0, 1, 2, 3};
  if (byToken) {
    std::swap(stored[1], stored[2]);
    outOrder = {0, 2, 1, 3};
  }
  Type element = FunctionLowering::convertElement(elementOf(op.getOut()));
  Value out = l.allocate(stored, element), probs, first;
  if (op.getProbs()) {
    int64_t count = *op.getProbsCount(), from = op.getProbsFirst();
    OpFoldResult start = l.index(from);
    if (from < 0)
      start = l.add(rows, start);
    l.check(l.compare(CmpIPredicate::sge, start, l.index(0)),
            "there are not as many queries as probabilities are asked for");
    l.check(l.compare(CmpIPredicate::sle, l.add(start, l.index(count)), rows),
            "there are not as many queries as probabilities are asked for");
    Extents probsShape =
        l.bindDims(op.getProbs(), {batch, heads, l.index(count), columns});
    probs = l.allocate(probsShape, element);
    first = l.value(start);
  }

  // Buffers are taken when all tensors are there: what is computed after that
  // may reuse them.
  for (Value *tensor : {&bias, &mask})
    if (*tensor)
      *tensor = l.readable(*tensor);
  Ordered q = read(l, query), k = read(l, key), v = read(l, value);
  ir::AttendOp attend = ir::AttendOp::create(
      l.b, l.loc(), q.buffer, k.buffer, v.buffer, bias, mask, Value(), shift,
      Value(), Value(), out, probs, first, op.getScaleAttr(),
      op.getSoftcapAttr(),
      op.getCausal() == ir::Causal::None ? UnitAttr() : l.b.getUnitAttr(),
      op.getWindowAttr(), op.getMaskedScoreAttr(), op.getZeroNanAttr(),
      l.b.getDenseI64ArrayAttr(q.order), l.b.getDenseI64ArrayAttr(k.order),
      l.b.getDenseI64ArrayAttr(v.order), l.b.getDenseI64ArrayAttr(outOrder));
  (void)attend;
  Value result = l.finished(out);
  l.set(op.getOut(),
        byToken ? l.transpose(result, stored, {0, 2, 1, 3}) : result);
  if (probs)
    l.set(op.getProbs(), l.finished(probs));
  return success();
}

} // namespace

void lower::registerMoEAttention(LoweringTable &table) {
  table.add("moe.attention", lowerAttention);
}
