//===- Reduction.cpp - Reduce*, Softmax, LogSoftmax, Hardmax --------------===//
//
// A reduction is one linalg.generic, followed by a pointwise one where the
// result is a function of what was summed. Softmax goes over its input three
// times (largest element, exponentials with their sum, quotients), so that no
// exponential overflows.
//
//===----------------------------------------------------------------------===//

#include "passes/Lower/ONNXToLinalg/Reductions.h"

using namespace mlir;
using namespace moe;
using namespace moe::lower;

namespace {

/// Which dims a Reduce* op reduces; fails if that is not known before the run.
FailureOr<SmallVector<bool>> getReducedDims(FunctionLowering &l,
                                            Operation *op) {
  int64_t rank = rankOf(op->getOperand(0));
  std::optional<SmallVector<int64_t>> axes = intsAttr(op, "axes");
  if (Value given = operand(op, 1); given && !axes) {
    axes = l.constants(given);
    if (!axes) {
      // An empty list is known to be empty even when it is computed.
      auto type = cast<RankedTensorType>(given.getType());
      if (type.getRank() == 1 && type.getDimSize(0) == 0)
        axes.emplace();
      else
        return FailureOr<SmallVector<bool>>(
            unsupported(op, "axes that are computed at run time; constant "
                            "axes are accepted"));
    }
  }
  if (!axes || axes->empty()) {
    bool noop = intAttr(op, "noop_with_empty_axes", 0) != 0;
    return SmallVector<bool>(rank, !noop);
  }
  SmallVector<bool> reduced(rank, false);
  for (int64_t axis : *axes) {
    int64_t normal = normalizeAxis(axis, rank);
    if (normal < 0 || normal >= rank)
      return op->emitOpError()
             << "reduces axis " << axis << " of a tensor of rank " << rank
             << "; accepted: " << -rank << " to " << rank - 1;
    reduced[normal] = true;
  }
  return reduced;
}

enum class Kind { Sum, Mean, Max, Min, Prod, L1, L2, LogSum, LogSumExp, SumSq };

/// Whether the result is a float function of the elements even for integers.
constexpr bool isFloatFunction(Kind kind) {
  return kind == Kind::L2 || kind == Kind::LogSum || kind == Kind::LogSumExp;
}

/// A result of type `computed` as an element of the tensor.
Value toElement(OpBuilder &b, Location loc, Value v, Type element,
                bool isUnsigned) {
  if (v.getType() == element)
    return v;
  if (isa<FloatType>(element))
    return toFloat(b, loc, v, element);
  if (isUnsigned)
    return arith::FPToUIOp::create(b, loc, element, v);
  return arith::FPToSIOp::create(b, loc, element, v);
}

Value absolute(OpBuilder &b, Location loc, Value v, bool isUnsigned) {
  if (isa<FloatType>(v.getType()))
    return math::AbsFOp::create(b, loc, v);
  return isUnsigned ? v : math::AbsIOp::create(b, loc, v).getResult();
}

Value square(OpBuilder &b, Location loc, Value v) {
  return combine(b, loc, Combine::Product, v, v);
}

/// log(sum(exp(x))) with the largest element taken out of the sum.
Value logSumExp(FunctionLowering &l, Reduction &reduction, Type type,
                bool isUnsigned) {
  auto identity = [&](OpBuilder &b, Location loc, ValueRange args) {
    return toFloat(b, loc, args[0], type, isUnsigned);
  };
  Value largest = reduction.fold(Combine::Max, type, identity);
  // Nothing can be taken out where the largest element is infinite.
  Value infinity = getIdentity(l, Combine::Min, type);
  Value zero = l.scalar(type, 0);
  Value shift = reduction.mapRows(
      type, largest, [&](OpBuilder &b, Location loc, ValueRange args) {
        Value magnitude = math::AbsFOp::create(b, loc, args[0]);
        Value infinite = arith::CmpFOp::create(
            b, loc, arith::CmpFPredicate::OEQ, magnitude, infinity);
        return arith::SelectOp::create(b, loc, infinite, zero, args[0])
            .getResult();
      });
  Value sum = reduction.fold(
      Combine::Sum, type,
      [&](OpBuilder &b, Location loc, ValueRange args) {
        Value v = toFloat(b, loc, args[0], type, isUnsigned);
        v = arith::SubFOp::create(b, loc, v, args[1]);
        return math::ExpOp::create(b, loc, v).getResult();
      },
      shift);
  return reduction.mapRows(
      type, {sum, shift}, [&](OpBuilder &b, Location loc, ValueRange args) {
        Value log = math::LogOp::create(b, loc, args[0]);
        return arith::AddFOp::create(b, loc, log, args[1]).getResult();
      });
}

template <Kind kind>
LogicalResult lowerReduce(FunctionLowering &l, Operation *op) {
  Value input = op->getOperand(0), output = op->getResult(0);
  FailureOr<SmallVector<bool>> reduced = getReducedDims(l, op);
  if (failed(reduced))
    return failure();
  Extents shape = l.dims(input);
  bool isUnsigned = lower::isUnsigned(elementOf(input));
  Value source = l.tensor(input);
  Type element = elementOf(source);
  Type type = getComputeType(element);
  if (isFloatFunction(kind) && isa<IntegerType>(element))
    type = l.b.getF64Type();
  Reduction reduction(l, source, shape, *reduced);

  auto term = [&](OpBuilder &b, Location loc, ValueRange args) -> Value {
    Value v = isa<FloatType>(type) ? toFloat(b, loc, args[0], type, isUnsigned)
                                   : args[0];
    switch (kind) {
    case Kind::L1:
      return absolute(b, loc, v, isUnsigned);
    case Kind::L2:
    case Kind::SumSq:
      return square(b, loc, v);
    default:
      return v;
    }
  };
  auto toResult = [&](OpBuilder &b, Location loc, Value v) -> Value {
    return toElement(b, loc, v, element, isUnsigned);
  };

  Value rows;
  switch (kind) {
  case Kind::Max:
    rows = reduction.fold(Combine::Max, type, term, {}, isUnsigned);
    break;
  case Kind::Min:
    rows = reduction.fold(Combine::Min, type, term, {}, isUnsigned);
    break;
  case Kind::Prod:
    rows = reduction.fold(Combine::Product, type, term);
    break;
  case Kind::LogSumExp:
    rows = logSumExp(l, reduction, type, isUnsigned);
    break;
  default:
    rows = reduction.fold(Combine::Sum, type, term);
    break;
  }
  // The mean of no integers is 0; that of no floats is NaN.
  Value count;
  if (kind == Kind::Mean)
    count = isa<FloatType>(type)
                ? reduction.countAs(type)
                : arith::IndexCastOp::create(
                      l.b, l.loc(), type,
                      l.value(l.max(reduction.count(), l.index(1))))
                      .getResult();
  if (kind == Kind::Mean || kind == Kind::L2 || kind == Kind::LogSum ||
      type != element)
    rows = reduction.mapRows(
        element, rows,
        [&](OpBuilder &b, Location loc, ValueRange args) -> Value {
          Value v = args[0];
          if (kind == Kind::L2)
            v = math::SqrtOp::create(b, loc, v);
          else if (kind == Kind::LogSum)
            v = math::LogOp::create(b, loc, v);
          else if (kind == Kind::Mean && isa<FloatType>(type))
            v = arith::DivFOp::create(b, loc, v, count);
          else if (kind == Kind::Mean && isUnsigned)
            v = arith::DivUIOp::create(b, loc, v, count);
          else if (kind == Kind::Mean)
            v = arith::DivSIOp::create(b, loc, v, count);
          return toResult(b, loc, v);
        });
  if (intAttr(op, "keepdims", 1) != 0)
    rows = reduction.keepDims(rows);
  l.set(output, rows);
  return success();
}

/// The dims of an op with an attribute `axis`: only that one is reduced.
SmallVector<bool> getAxis(Operation *op) {
  int64_t rank = rankOf(op->getOperand(0));
  SmallVector<bool> reduced(rank, false);
  int64_t axis = normalizeAxis(intAttr(op, "axis", -1), rank);
  if (axis >= 0 && axis < rank)
    reduced[axis] = true;
  return reduced;
}

/// Reports an `axis` that the operand does not have.
LogicalResult checkAxis(Operation *op) {
  int64_t rank = rankOf(op->getOperand(0));
  int64_t axis = intAttr(op, "axis", -1);
  if (axis >= -rank && axis < rank)
    return success();
  return op->emitOpError() << "has axis " << axis << " on a tensor of rank "
                           << rank << "; accepted: " << -rank << " to "
                           << rank - 1;
}

template <bool isLog>
LogicalResult lowerSoftmax(FunctionLowering &l, Operation *op) {
  if (failed(checkAxis(op)))
    return failure();
  Value input = op->getOperand(0);
  Value source = l.tensor(input);
  Extents shape = l.dims(input);
  SmallVector<bool> reduced = getAxis(op);
  Type element = elementOf(source);
  Type type = getComputeType(element);
  auto wide = [&](OpBuilder &b, Location loc, ValueRange args) {
    return toFloat(b, loc, args[0], type);
  };

  Reduction scores(l, source, shape, reduced);
  Value largest = scores.fold(Combine::Max, type, wide);
  Value y;
  if (isLog) {
    Value sum = scores.fold(
        Combine::Sum, type,
        [&](OpBuilder &b, Location loc, ValueRange args) {
          Value v = toFloat(b, loc, args[0], type);
          v = arith::SubFOp::create(b, loc, v, args[1]);
          return math::ExpOp::create(b, loc, v).getResult();
        },
        largest);
    Value log = scores.mapRows(
        type, sum, [&](OpBuilder &b, Location loc, ValueRange args) {
          return math::LogOp::create(b, loc, args[0]).getResult();
        });
    y = scores.map(element,
                   [&](OpBuilder &b, Location loc, ValueRange args) {
                     Value v = toFloat(b, loc, args[0], type);
                     v = arith::SubFOp::create(b, loc, v, args[1]);
                     v = arith::SubFOp::create(b, loc, v, args[2]);
                     return toFloat(b, loc, v, element);
                   },
                   {largest, log});
  } else {
    Value exps = scores.map(
        type,
        [&](OpBuilder &b, Location loc, ValueRange args) {
          Value v = toFloat(b, loc, args[0], type);
          v = arith::SubFOp::create(b, loc, v, args[1]);
          return math::ExpOp::create(b, loc, v).getResult();
        },
        largest);
    Reduction parts(l, exps, shape, reduced);
    Value sum = parts.fold(Combine::Sum, type, wide);
    y = parts.map(
        element,
        [&](OpBuilder &b, Location loc, ValueRange args) {
          Value v = arith::DivFOp::create(b, loc, args[0], args[1]);
          return toFloat(b, loc, v, element);
        },
        sum);
  }
  l.set(op->getResult(0), y);
  return success();
}

/// 1 at the first of the largest elements along the axis, 0 elsewhere.
LogicalResult lowerHardmax(FunctionLowering &l, Operation *op) {
  if (failed(checkAxis(op)))
    return failure();
  Value input = op->getOperand(0);
  Value source = l.tensor(input);
  SmallVector<bool> reduced = getAxis(op);
  // The check of the axis lets no tensor of rank 0 through.
  unsigned axis = std::distance(reduced.begin(), llvm::find(reduced, true));
  Type element = elementOf(source);
  Type type = getComputeType(element);
  Type index = l.b.getI64Type();
  Reduction reduction(l, source, l.dims(input), reduced);
  Value largest = reduction.fold(
      Combine::Max, type, [&](OpBuilder &b, Location loc, ValueRange args) {
        return toFloat(b, loc, args[0], type);
      });
  auto position = [&](OpBuilder &b, Location loc) -> Value {
    Value i = linalg::IndexOp::create(b, loc, axis);
    return arith::IndexCastOp::create(b, loc, index, i);
  };
  Value none = getIdentity(l, Combine::Min, index);
  Value first = reduction.fold(
      Combine::Min, index,
      [&](OpBuilder &b, Location loc, ValueRange args) {
        // NaN counts as the largest number, as it does for the maximum.
        Value v = toFloat(b, loc, args[0], type);
        Value equal = arith::CmpFOp::create(b, loc, arith::CmpFPredicate::OEQ,
                                            v, args[1]);
        Value isNaN =
            arith::CmpFOp::create(b, loc, arith::CmpFPredicate::UNO, v, v);
        Value found = arith::OrIOp::create(b, loc, equal, isNaN);
        return arith::SelectOp::create(b, loc, found, position(b, loc), none)
            .getResult();
      },
      largest);
  Value one = l.scalar(element, 1), zero = l.scalar(element, 0);
  Value y = reduction.map(
      element,
      [&](OpBuilder &b, Location loc, ValueRange args) {
        Value here = arith::CmpIOp::create(b, loc, arith::CmpIPredicate::eq,
                                           position(b, loc), args[1]);
        return arith::SelectOp::create(b, loc, here, one, zero).getResult();
      },
      first);
  l.set(op->getResult(0), y);
  return success();
}

} // namespace

void lower::registerReduction(LoweringTable &table) {
  table.add("onnx.ReduceSum", lowerReduce<Kind::Sum>);
  table.add("onnx.ReduceMean", lowerReduce<Kind::Mean>);
  table.add("onnx.ReduceMax", lowerReduce<Kind::Max>);
  table.add("onnx.ReduceMin", lowerReduce<Kind::Min>);
  table.add("onnx.ReduceProd", lowerReduce<Kind::Prod>);
  table.add("onnx.ReduceL1", lowerReduce<Kind::L1>);
  table.add("onnx.ReduceL2", lowerReduce<Kind::L2>);
  table.add("onnx.ReduceLogSum", lowerReduce<Kind::LogSum>);
  table.add("onnx.ReduceLogSumExp", lowerReduce<Kind::LogSumExp>);
  table.add("onnx.ReduceSumSquare", lowerReduce<Kind::SumSq>);
  table.add("onnx.Softmax", lowerSoftmax<false>);
  table.add("onnx.LogSoftmax", lowerSoftmax<true>);
  table.add("onnx.Hardmax", lowerHardmax);
}
