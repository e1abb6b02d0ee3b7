//===- MoESchedule.cpp - ops that say how experts run ---------------------===//

#include "dialects/MoE/MoEDialect.h"
#include "dialects/MoE/MoEVerify.h"
#include "mlir/IR/TypeUtilities.h"
#include "llvm/Support/MathExtras.h"

using namespace mlir;
using namespace moe::ir;

//===----------------------------------------------------------------------===//
// plan
//===----------------------------------------------------------------------===//

/// The number of slots of ids [T, k]; kDynamic if it is not known.
static int64_t countSlots(Value ids) {
  int64_t tokens = getExtent(ids, 0), slots = getExtent(ids, 1), all;
  if (ShapedType::isDynamic(tokens) || ShapedType::isDynamic(slots) ||
      llvm::MulOverflow(tokens, slots, all))
    return ShapedType::kDynamic;
  return all;
}

void PlanOp::build(OpBuilder &builder, OperationState &state, Value ids,
                   int64_t experts, IntegerAttr logical) {
  Type index = builder.getIndexType();
  auto shape = cast<RankedTensorType>(ids.getType()).getShape();
  build(builder, state, RankedTensorType::get({experts + 1}, index),
        RankedTensorType::get({countSlots(ids)}, index),
        RankedTensorType::get(shape, index), ids,
        builder.getI64IntegerAttr(experts), logical);
}

LogicalResult PlanOp::verify() {
  int64_t experts = getExperts(), logical = getNumLogical();
  for (auto [name, count] : {std::pair<StringRef, int64_t>("experts", experts),
                             {"logical", logical}})
    if (count > kMostIds)
      return emitOpError() << "has " << name << " = " << count
                           << "; ids are i32: at most " << kMostIds
                           << " are accepted";
  if (logical < experts)
    return emitOpError() << "has logical = " << logical << " for " << experts
                         << " experts; " << experts << " or more are accepted";
  // Targets hold an array of them.
  if (getOffsets().getType().isDynamicDim(0))
    return emitOpError() << "'offsets' of type " << getOffsets().getType()
                         << " has an unknown extent; " << experts + 1
                         << " is accepted";
  ExtentCheck check(*this);
  if (failed(check("offsets", getOffsets(), 0, experts + 1,
                   "experts and one more")) ||
      failed(check("tokens", getTokens(), 0, countSlots(getIds()),
                   "slots of 'ids'")) ||
      failed(check("positions", getPositions(), 0, getExtent(getIds(), 0),
                   "tokens of 'ids'")) ||
      failed(check("positions", getPositions(), 1, getExtent(getIds(), 1),
                   "slots of 'ids'")))
    return failure();
  return checkConstantIds(*this, "ids", getIds(), -1, logical);
}

/// `weights` (null: fine) of the slots that `positions` has.
static LogicalResult checkSlotWeights(Operation *op, Value weights,
                                      Value positions) {
  ExtentCheck check(op);
  if (failed(check("weights", weights, 0, getExtent(positions, 0),
                   "tokens of 'positions'")))
    return failure();
  return check("weights", weights, 1, getExtent(positions, 1),
               "slots of 'positions'");
}

//===----------------------------------------------------------------------===//
// dispatch
//===----------------------------------------------------------------------===//

LogicalResult DispatchOp::verify() {
  if (!getOffsets() != !getTokens() || !getTokens() != !getPositions())
    return emitOpError("has a part of a plan; 'offsets', 'tokens' and "
                       "'positions' or none of them are accepted");
  if (getWeights() && !getPositions())
    return emitOpError("has 'weights' without a plan; they are accepted with "
                       "one only");
  if (!getInScale().isFinite())
    return emitOpError() << "in_scale is " << getInScaleAttr()
                         << "; finite numbers are accepted";
  ExtentCheck check(*this);
  if (failed(check("rows", getRows(), 1, getExtent(getX(), 1), "width of 'x'")))
    return failure();
  if (!getTokens())
    return check("rows", getRows(), 0, getExtent(getX(), 0), "tokens of 'x'");
  if (failed(check("positions", getPositions(), 0, getExtent(getX(), 0),
                   "tokens of 'x'")) ||
      failed(check("tokens", getTokens(), 0, countSlots(getPositions()),
                   "slots of 'positions'")) ||
      failed(check("rows", getRows(), 0, getExtent(getTokens(), 0),
                   "rows of 'tokens'")))
    return failure();
  return checkSlotWeights(*this, getWeights(), getPositions());
}

OpFoldResult DispatchOp::fold(FoldAdaptor) {
  bool isCopy = !getTokens() && getInScale().isExactlyValue(1.0) &&
                getX().getType() == getRows().getType();
  return isCopy ? getX() : OpFoldResult();
}

//===----------------------------------------------------------------------===//
// grouped_ffn
//===----------------------------------------------------------------------===//

/// The bank that `parts` stand for; null after a diagnostic, and for none.
static FailureOr<RankedTensorType>
getBank(Operation *op, StringRef name, OperandRange parts, CodesAttr codes) {
  if (parts.empty())
    return RankedTensorType();
  size_t count = parts.size();
  if (codes ? count != 2 && count != 3 : count != 1)
    return op->emitOpError()
           << "has " << count << " operands for '" << name << "'; "
           << (codes ? "codes, scales and perhaps zero points are accepted"
                     : "one bank is accepted without codes");
  auto type = cast<RankedTensorType>(parts[0].getType());
  auto isByte = [](Value part) {
    return getElementTypeOrSelf(part).isUnsignedInteger(8);
  };
  for (auto [i, part] : llvm::enumerate(parts)) {
    bool wantsBytes = codes && i != 1;
    if (isByte(part) != wantsBytes)
      return op->emitOpError() << "operand " << i << " of '" << name
                               << "' has type " << part.getType() << "; "
                               << (wantsBytes ? "ui8 is accepted (codes)"
                                              : "floats are accepted");
  }
  if (type.getRank() != 3)
    return op->emitOpError()
           << "'" << name << "' of type " << type << " has rank "
           << type.getRank() << "; a bank of rank 3 is accepted";
  if (!codes)
    return type;
  int64_t columns = type.getDimSize(2);
  if (!ShapedType::isDynamic(columns) &&
      llvm::MulOverflow(columns, 8 / codes.getBits(), columns))
    return op->emitOpError() << "'" << name << "' of type " << type
                             << " has rows that no bank can have";
  CodedBank bank{parts[0],
                 parts[1],
                 count == 3 ? parts[2] : Value(),
                 codes.getBits(),
                 std::nullopt,
                 name.str(),
                 "scales of " + name.str(),
                 "zero points of " + name.str(),
                 "'" + name.str() + "'"};
  if (codes.getBlock())
    bank.block = codes.getBlock();
  if (failed(checkCodes(op, bank, type.getDimSize(0), type.getDimSize(1),
                        columns)))
    return failure();
  return RankedTensorType::get(
      {type.getDimSize(0), type.getDimSize(1), columns},
      Float32Type::get(op->getContext()));
}

LogicalResult GroupedFfnOp::verify() {
  if ((getGateCodes() || getDownCodes()) && getLayout() != BankLayout::OI)
    return emitOpError("has codes in the layout io; oi is accepted");
  if (!getUp().empty() && getUp().size() != getGate().size())
    return emitOpError() << "has " << getUp().size()
                         << " operands for 'up' and " << getGate().size()
                         << " for 'gate'; equally many are accepted";
  FailureOr<RankedTensorType> gate =
      getBank(*this, "gate", getGate(), getGateCodesAttr());
  if (failed(gate))
    return failure();
  FailureOr<RankedTensorType> up =
      getBank(*this, "up", getUp(), getGateCodesAttr());
  if (failed(up))
    return failure();
  FailureOr<RankedTensorType> down =
      getBank(*this, "down", getDown(), getDownCodesAttr());
  if (failed(down))
    return failure();
  for (auto [name, bank] :
       {std::pair<StringRef, RankedTensorType>("gate", *gate), {"down", *down}})
    if (!bank)
      return emitOpError() << "has no bank '" << name << "'; it needs one";
  auto type = [](Value value) {
    return value ? cast<RankedTensorType>(value.getType()) : RankedTensorType();
  };
  FeedForwardTypes types{*gate,
                         *up,
                         *down,
                         type(getGateBias()),
                         type(getUpBias()),
                         type(getDownBias()),
                         getGateUp(),
                         getLayout()};
  if (failed(checkFeedForward(*this, types, getExtent(getRows(), 1),
                              "width of 'rows'")))
    return failure();
  int64_t experts = known(getExtent(*gate, 0), getExtent(*down, 0));
  ExtentCheck check(*this);
  if (failed(
          check("results", getResults(), 0, getExtent(getRows(), 0), "rows")) ||
      failed(check("results", getResults(), 1,
                   getExtent(*down, outputDim(getLayout())),
                   "width of 'down'")))
    return failure();
  if (!getOffsets()) {
    if (differ(experts, 1))
      return emitOpError() << "has no 'offsets' for a bank of " << experts
                           << " experts; a bank of 1 is accepted without them";
    return success();
  }
  // A bank of INT64_MAX experts has no number of offsets.
  int64_t wanted = ShapedType::isDynamic(experts) || experts > kMostIds
                       ? ShapedType::kDynamic
                       : experts + 1;
  return check("offsets", getOffsets(), 0, wanted, "experts and one more");
}

LogicalResult GroupedFfnOp::verifyRegions() {
  Block &body = getActivation().front();
  Type f32 = Float32Type::get(getContext());
  unsigned expected = isGated() ? 2 : 1;
  if (body.getNumArguments() != expected ||
      !llvm::all_of(body.getArgumentTypes(),
                    [&](Type type) { return type == f32; })) {
    InFlightDiagnostic error = emitOpError("activation has arguments (");
    llvm::interleaveComma(body.getArgumentTypes(), error);
    return error << "); " << expected << " of f32 are accepted with gate_up = "
                 << stringifyGateUp(getGateUp());
  }
  for (Operation &op : body.without_terminator()) {
    bool isScalar = llvm::all_of(op.getResultTypes(), [](Type type) {
      return type.isSignlessIntOrIndexOrFloat();
    });
    if (isScalar && isMemoryEffectFree(&op))
      continue;
    InFlightDiagnostic error = emitOpError("activation holds '")
                               << op.getName()
                               << "'; arithmetic on scalars is accepted";
    error.attachNote(op.getLoc()) << "it is here";
    return error;
  }
  auto yield = body.empty() ? nullptr : dyn_cast<YieldOp>(body.back());
  if (!yield || yield.getNumOperands() != 1 ||
      yield.getOperand(0).getType() != f32)
    return emitOpError("activation must end in a 'moe.yield' of one f32");
  return success();
}

//===----------------------------------------------------------------------===//
// combine
//===----------------------------------------------------------------------===//

LogicalResult CombineOp::verify() {
  ExtentCheck check(*this);
  if (failed(check("y", getY(), 0, getExtent(getPositions(), 0),
                   "tokens of 'positions'")) ||
      failed(check("y", getY(), 1, getExtent(getResults(), 1),
                   "width of 'results'")))
    return failure();
  return checkSlotWeights(*this, getWeights(), getPositions());
}

//===----------------------------------------------------------------------===//
// grouped_linear
//===----------------------------------------------------------------------===//

int64_t GroupedLinearOp::getNumExperts() {
  return cast<MemRefType>(getBanks().front().getType()).getDimSize(0);
}

int64_t GroupedLinearOp::getNumBlocks() {
  int64_t block = getBlock().value_or(getInner());
  return llvm::divideCeil(static_cast<uint64_t>(getInner()),
                          static_cast<uint64_t>(block));
}

LogicalResult GroupedLinearOp::verify() {
  size_t wanted = getGateUp() == GateUp::Separate ? 2 : 1;
  if (getBanks().size() != wanted)
    return emitOpError() << "has " << getBanks().size()
                         << " banks; gate_up = " << stringifyGateUp(getGateUp())
                         << " takes " << wanted;
  auto checkCount = [&](OperandRange values, StringRef what) -> LogicalResult {
    if (!values.empty() && values.size() != wanted)
      return emitOpError() << "has " << values.size() << " " << what << " for "
                           << wanted << " banks";
    return success();
  };
  if (failed(checkCount(getScales(), "scales")) ||
      failed(checkCount(getZeros(), "zeros")) ||
      failed(checkCount(getBiases(), "biases")))
    return failure();
  bool coded = getBits().has_value();
  int64_t bits = getBits().value_or(0);
  if (coded && bits != 2 && bits != 4 && bits != 8)
    return emitOpError() << "bits = " << bits << "; 2, 4 and 8 are accepted";
  if (coded && getScales().empty())
    return emitOpError("has codes without scales");
  if (!coded && (!getScales().empty() || !getZeros().empty() || getBlock()))
    return emitOpError("has scales, zeros or blocks without bits");
  if (!coded && getRoundRows())
    return emitOpError("has round_rows without bits");
  if (coded && getLayout() != BankLayout::OI)
    return emitOpError("has codes in the layout io; oi is accepted");

  int64_t experts = getNumExperts(), stored = getStoredWidth();
  int64_t blocks = getNumBlocks();
  auto checkShape = [&](Value value, StringRef what,
                        ArrayRef<int64_t> shape) -> LogicalResult {
    auto type = cast<MemRefType>(value.getType());
    if (type.getShape() == shape && type.getLayout().isIdentity())
      return success();
    InFlightDiagnostic error = emitOpError();
    error << what << " have type " << type << "; a contiguous shape of [";
    llvm::interleaveComma(shape, error);
    return error << "] is accepted";
  };
  for (Value bank : getBanks()) {
    auto type = cast<MemRefType>(bank.getType());
    if (!type.hasStaticShape() || !type.getLayout().isIdentity())
      return emitOpError() << "bank has type " << type
                           << "; a contiguous, static one is accepted";
    if (coded != type.getElementType().isInteger(8))
      return emitOpError() << "bank has elements of type "
                           << type.getElementType() << "; "
                           << (coded ? "i8 is accepted with bits"
                                     : "floats are accepted without bits");
    if (coded) {
      int64_t bytes = llvm::divideCeil(
          static_cast<uint64_t>(getInner()) * static_cast<uint64_t>(bits), 8u);
      if (type.getDimSize(0) != experts || type.getDimSize(1) != stored ||
          type.getDimSize(2) < bytes)
        return emitOpError()
               << "bank has type " << type << "; [" << experts << ", " << stored
               << ", " << bytes << " or more] is accepted";
    } else if (failed(checkShape(
                   bank, "banks",
                   getLayout() == BankLayout::OI
                       ? ArrayRef<int64_t>{experts, stored, (int64_t)getInner()}
                       : ArrayRef<int64_t>{experts, (int64_t)getInner(),
                                           stored}))) {
      return failure();
    }
  }
  for (Value scales : getScales())
    if (failed(checkShape(scales, "scales", {experts, stored, blocks})))
      return failure();
  auto packed = [&](int64_t count) {
    return static_cast<int64_t>(llvm::divideCeil(
        static_cast<uint64_t>(count) * static_cast<uint64_t>(bits), 8u));
  };
  for (Value zeros : getZeros()) {
    auto type = cast<MemRefType>(zeros.getType());
    bool codes = type.getElementType().isInteger(8);
    if (type.getRank() == 2) {
      if (!codes || blocks != 1)
        return emitOpError() << "zeros have type " << type
                             << "; codes packed along N go with one block";
      if (failed(checkShape(zeros, "zeros", {experts, packed(stored)})))
        return failure();
    } else if (failed(checkShape(
                   zeros, "zeros",
                   {experts, stored, codes ? packed(blocks) : blocks}))) {
      return failure();
    }
  }
  for (Value bias : getBiases())
    if (failed(checkShape(bias, "biases", {experts, stored})))
      return failure();

  auto checkColumns = [&](Value value, StringRef what,
                          int64_t least) -> LogicalResult {
    auto type = cast<MemRefType>(value.getType());
    if (type.isDynamicDim(1) || type.getDimSize(1) < least ||
        !type.getLayout().isIdentity())
      return emitOpError() << what << " has type " << type
                           << "; contiguous rows of at least " << least
                           << " columns are accepted";
    return success();
  };
  if (failed(checkColumns(getRows(), "rows", getInner())) ||
      failed(checkColumns(getOut(), "out", getWidth())))
    return failure();
  for (Value extra : getExtras()) {
    auto type = cast<MemRefType>(extra.getType());
    int64_t columns = type.getDimSize(1);
    if ((columns != 1 && columns != static_cast<int64_t>(getWidth())) ||
        !type.getLayout().isIdentity())
      return emitOpError() << "extra has type " << type
                           << "; contiguous rows of 1 or " << getWidth()
                           << " columns are accepted";
  }
  if (!getOffsets()) {
    if (experts != 1)
      return emitOpError() << "has " << experts << " experts without offsets";
    return success();
  }
  auto offsets = cast<MemRefType>(getOffsets().getType());
  if (offsets.isDynamicDim(0) || offsets.getDimSize(0) < experts + 1)
    return emitOpError() << "offsets have type " << offsets << "; at least "
                         << experts + 1 << " are accepted";
  return success();
}

LogicalResult GroupedLinearOp::verifyRegions() {
  Block &block = getEpilogue().front();
  unsigned sums = isGated() ? 2 : 1;
  unsigned wanted = sums + getExtras().size();
  bool fits = block.getNumArguments() == wanted;
  for (unsigned i = 0; fits && i < wanted; ++i) {
    Type type = block.getArgument(i).getType();
    fits = i < sums ? type.isF32()
                    : type == cast<MemRefType>(getExtras()[i - sums].getType())
                                  .getElementType();
  }
  if (!fits)
    return emitOpError() << "epilogue has " << block.getNumArguments()
                         << " arguments; " << sums
                         << " of f32 and an element of each of "
                         << getExtras().size() << " extras are accepted";
  auto yield = dyn_cast<YieldOp>(block.getTerminator());
  Type element = cast<MemRefType>(getOut().getType()).getElementType();
  if (!yield || yield->getNumOperands() != 1 ||
      yield->getOperand(0).getType() != element)
    return emitOpError() << "epilogue must yield one " << element;
  return success();
}

//===----------------------------------------------------------------------===//
// combine_rows
//===----------------------------------------------------------------------===//

LogicalResult CombineRowsOp::verify() {
  auto rows = cast<MemRefType>(getRows().getType());
  auto out = cast<MemRefType>(getOut().getType());
  if (out.isDynamicDim(1) || !out.getLayout().isIdentity())
    return emitOpError() << "out has type " << out
                         << "; contiguous rows of static width are accepted";
  int64_t least = llvm::alignTo(static_cast<uint64_t>(out.getDimSize(1)), 16);
  if (rows.isDynamicDim(1) || rows.getDimSize(1) < least ||
      !rows.getLayout().isIdentity())
    return emitOpError() << "rows have type " << rows
                         << "; contiguous ones of at least " << least
                         << " columns are accepted";
  auto positions = cast<MemRefType>(getPositions().getType());
  if (!positions.getLayout().isIdentity())
    return emitOpError() << "positions have type " << positions
                         << "; contiguous ones are accepted";
  return success();
}
