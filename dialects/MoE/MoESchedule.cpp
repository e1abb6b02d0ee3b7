//===- MoESchedule.cpp - ops that say how experts run ---------------------===//

#include "dialects/MoE/MoEDialect.h"

using namespace mlir;
using namespace moe::ir;

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
// combine
//===----------------------------------------------------------------------===//

LogicalResult CombineOp::verify() {
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
