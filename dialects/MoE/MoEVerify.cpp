//===- MoEVerify.cpp - what the verifiers of moe ops share ----------------===//

#include "dialects/MoE/MoEVerify.h"
#include "mlir/IR/Diagnostics.h"
#include "mlir/IR/Matchers.h"
#include "mlir/IR/TypeUtilities.h"
#include "llvm/Support/MathExtras.h"

using namespace mlir;

int64_t moe::ir::getExtent(Type type, int64_t i) {
  auto tensor = dyn_cast_or_null<RankedTensorType>(type);
  if (!tensor)
    return ShapedType::kDynamic;
  if (i < 0)
    i += tensor.getRank();
  return i >= 0 && i < tensor.getRank() ? tensor.getDimSize(i)
                                        : ShapedType::kDynamic;
}

int64_t moe::ir::getExtent(Value value, int64_t i) {
  return getExtent(value ? value.getType() : Type(), i);
}

LogicalResult moe::ir::ExtentCheck::operator()(StringRef name, Type type,
                                               int64_t i, int64_t expected,
                                               const Twine &of) const {
  if (!differ(getExtent(type, i), expected))
    return success();
  return op->emitOpError() << "'" << name << "' of type " << type
                           << " has extent " << getExtent(type, i)
                           << " in dimension " << i << "; " << expected
                           << " is accepted (" << of << ")";
}

LogicalResult moe::ir::ExtentCheck::operator()(StringRef name, Value value,
                                               int64_t i, int64_t expected,
                                               const Twine &of) const {
  return (*this)(name, value ? value.getType() : Type(), i, expected, of);
}

DenseIntElementsAttr moe::ir::getConstantIds(Value value) {
  Attribute attr;
  if (!value || !matchPattern(value, m_Constant(&attr)))
    return {};
  return dyn_cast<DenseIntElementsAttr>(attr);
}

LogicalResult moe::ir::checkConstantIds(Operation *op, StringRef name,
                                        Value value, int64_t least,
                                        int64_t end) {
  DenseIntElementsAttr ids = getConstantIds(value);
  if (!ids || ShapedType::isDynamic(end))
    return success();
  for (const APInt &id : ids.getValues<APInt>())
    if (id.getSExtValue() < least || id.getSExtValue() >= end)
      return op->emitOpError()
             << "'" << name << "' holds " << id.getSExtValue() << "; " << least
             << " to " << end - 1 << " are accepted";
  return success();
}

LogicalResult moe::ir::checkWeightType(Operation *op, Value weights,
                                       Value logits) {
  Type given = getElementTypeOrSelf(weights), of = getElementTypeOrSelf(logits);
  if (given.isF64() == of.isF64())
    return success();
  return op->emitOpError() << "gives weights of type " << given
                           << " for logits of type " << of << "; "
                           << (of.isF64() ? "f64" : "f32") << " is accepted";
}

LogicalResult moe::ir::checkFeedForward(Operation *op,
                                        const FeedForwardTypes &types,
                                        int64_t model, StringRef ofModel) {
  GateUp form = types.form;
  StringRef formName = stringifyGateUp(form);
  bool isJoined = form == GateUp::Concat || form == GateUp::Interleave;
  if ((form == GateUp::Separate) != bool(types.up))
    return op->emitOpError()
           << (types.up ? "has a bank 'up'" : "has no bank 'up'")
           << " with gate_up = " << formName
           << "; a bank 'up' is accepted with gate_up = separate only, which "
              "needs it";
  if (types.upBias && !types.up)
    return op->emitOpError() << "has 'up_bias' with gate_up = " << formName
                             << "; it is accepted with gate_up = separate only"
                             << (isJoined ? " ('gate_bias' holds both)" : "");

  int64_t out = outputDim(types.layout), in = inputDim(types.layout);
  int64_t experts = getExtent(types.gate, 0);
  int64_t width = getExtent(types.gate, out);
  int64_t inner = getExtent(types.down, in);
  if (isJoined && !ShapedType::isDynamic(width) && width % 2)
    return op->emitOpError()
           << "'gate' of type " << types.gate << " has the odd width " << width
           << " with gate_up = " << formName
           << "; 2I, gates and ups of one width, is accepted";
  int64_t expected = inner;
  if (isJoined && !ShapedType::isDynamic(inner) &&
      llvm::MulOverflow<int64_t>(2, inner, expected))
    return op->emitOpError()
           << "'down' of type " << types.down << " has inner width " << inner
           << ", which no gates and ups can have";
  std::string ofI = isJoined ? "2I, I being the inner width of 'down'"
                             : "inner width of 'down'";
  ExtentCheck check(op);
  StringRef ofE = "experts of 'gate'", ofGate = "width of 'gate'";
  int64_t either = known(width, expected);
  if (failed(check("gate", types.gate, in, model, ofModel)) ||
      failed(check("gate", types.gate, out, expected, ofI)) ||
      failed(check("up", types.up, 0, experts, ofE)) ||
      failed(check("up", types.up, out, known(width, inner), ofGate)) ||
      failed(check("up", types.up, in, model, ofModel)) ||
      failed(check("down", types.down, 0, experts, ofE)) ||
      failed(check("gate_bias", types.gateBias, 0, experts, ofE)) ||
      failed(check("gate_bias", types.gateBias, 1, either, ofGate)) ||
      failed(check("up_bias", types.upBias, 0, experts, ofE)) ||
      failed(check("up_bias", types.upBias, 1, either, ofGate)) ||
      failed(check("down_bias", types.downBias, 0, experts, ofE)))
    return failure();
  return check("down_bias", types.downBias, 1, getExtent(types.down, out),
               "width of 'down'");
}

static int64_t ceilDiv(int64_t a, int64_t b) { return a / b + (a % b != 0); }

/// Bytes of `codes` codes of 2, 4 or 8 bits. Types may name any extent, so
/// nothing here may overflow.
static int64_t getPackedBytes(int64_t codes, int64_t bits) {
  return codes / 8 * bits + ceilDiv(codes % 8 * bits, 8);
}

LogicalResult moe::ir::checkCodes(Operation *op, const CodedBank &bank,
                                  int64_t experts, int64_t rows,
                                  int64_t columns) {
  int64_t bits = bank.bits;
  if (bits != 2 && bits != 4 && bits != 8)
    return op->emitOpError()
           << "has bits = " << bits << "; 2, 4 and 8 are accepted";
  if (columns != ShapedType::kDynamic && columns % 8 * bits % 8)
    return op->emitOpError()
           << "gives rows of " << columns << " codes of " << bits
           << " bits; rows of whole bytes, a "
           << "multiple of " << 8 / bits << " codes, are accepted";
  int64_t blocks = ShapedType::kDynamic;
  if (bank.block && !ShapedType::isDynamic(columns))
    blocks = ceilDiv(columns, *bank.block);
  auto bytes = [&](int64_t codes) {
    return ShapedType::isDynamic(codes) ? codes : getPackedBytes(codes, bits);
  };
  auto checkRank = [&](StringRef name, Value value) {
    if (!value)
      return success();
    int64_t rank = bank.block ? 3 : 2;
    int64_t given = cast<RankedTensorType>(value.getType()).getRank();
    if (given == rank)
      return success();
    return LogicalResult(op->emitOpError()
                         << "'" << name << "' has rank " << given << "; "
                         << rank << " is accepted "
                         << (bank.block ? "with" : "without") << " 'block'");
  };
  ExtentCheck check(op);
  std::string ofE = "experts of " + bank.bankName;
  std::string ofN = "rows of " + bank.bankName;
  std::string codes = "codes of " + std::to_string(bits) + " bits for ";
  StringRef packed = bank.packedName, scales = bank.scalesName,
            zeros = bank.zeroPointsName;
  if (failed(check(packed, bank.packed, 0, experts, ofE)) ||
      failed(check(packed, bank.packed, 1, rows, ofN)) ||
      failed(check(packed, bank.packed, 2, bytes(columns),
                   codes + "the columns of " + bank.bankName)) ||
      failed(checkRank(scales, bank.scales)) ||
      failed(check(scales, bank.scales, 0, experts, ofE)) ||
      failed(check(scales, bank.scales, 1, rows, ofN)) ||
      failed(checkRank(zeros, bank.zeroPoints)) ||
      failed(check(zeros, bank.zeroPoints, 0, experts, ofE)))
    return failure();
  if (!bank.block)
    return check(zeros, bank.zeroPoints, 1, bytes(rows),
                 codes + "the rows of " + bank.bankName);
  if (failed(check(scales, bank.scales, 2, blocks, "blocks of a row")) ||
      failed(check(zeros, bank.zeroPoints, 1, rows, ofN)))
    return failure();
  return check(zeros, bank.zeroPoints, 2, bytes(blocks),
               codes + "the blocks of a row");
}
