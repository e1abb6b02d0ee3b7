//===- Normalization.cpp - layer, group, batch and other norms ------------===//
//
// Moments are per-row tensors: the mean first, then the mean of the squared
// differences from it (the difference of mean squares would cancel), each in
// one reduction. The normalised tensor is one pointwise computation that also
// scales and shifts. f16 and bf16 are computed in f32 throughout.
//
//===----------------------------------------------------------------------===//

#include "dialects/MoE/MoEDialect.h"
#include "passes/Lower/ONNXToLinalg/Reductions.h"

using namespace mlir;
using namespace moe;
using namespace moe::lower;

namespace {

/// The float type in which an op on these tensors is computed: the widest of
/// theirs, at least f32.
Type getWidestType(ValueRange tensors) {
  Type widest;
  for (Value v : tensors) {
    Type type = getComputeType(elementOf(v));
    if (!widest ||
        type.getIntOrFloatBitWidth() > widest.getIntOrFloatBitWidth())
      widest = type;
  }
  return widest;
}

/// Reports an `axis` that the operand does not have; otherwise returns it
/// counted from the front.
FailureOr<int64_t> getCheckedAxis(Operation *op, int64_t otherwise) {
  int64_t rank = rankOf(op->getOperand(0));
  int64_t axis = intAttr(op, "axis", otherwise);
  if (axis < -rank || axis >= rank)
    return op->emitOpError()
           << "has axis " << axis << " on a tensor of rank " << rank
           << "; accepted: " << -rank << " to " << rank - 1;
  return normalizeAxis(axis, rank);
}

/// Dims `from` and later are reduced.
SmallVector<bool> reduceFrom(int64_t from, int64_t rank) {
  SmallVector<bool> reduced(rank, false);
  std::fill(reduced.begin() + from, reduced.end(), true);
  return reduced;
}

/// Mean of each row, in `type`.
Value getMean(Reduction &rows, Type type) {
  return rows.mean(type, [&](OpBuilder &b, Location loc, ValueRange args) {
    return toFloat(b, loc, args[0], type);
  });
}

/// Variance of each row around `mean`; around 0 if `mean` is null.
Value getVariance(Reduction &rows, Type type, Value mean) {
  return rows.mean(
      type,
      [&](OpBuilder &b, Location loc, ValueRange args) {
        Value v = toFloat(b, loc, args[0], type);
        if (mean)
          v = arith::SubFOp::create(b, loc, v, args[1]);
        return arith::MulFOp::create(b, loc, v, v).getResult();
      },
      mean ? ValueRange(mean) : ValueRange());
}

/// 1 / sqrt(variance + epsilon) of each row.
Value getInverseDeviation(FunctionLowering &l, Reduction &rows, Value variance,
                          double epsilon) {
  Type type = elementOf(variance);
  Value eps = l.scalar(type, epsilon), one = l.scalar(type, 1);
  return rows.mapRows(
      type, variance, [&](OpBuilder &b, Location loc, ValueRange args) {
        Value v = arith::AddFOp::create(b, loc, args[0], eps);
        v = math::SqrtOp::create(b, loc, v);
        return arith::DivFOp::create(b, loc, one, v).getResult();
      });
}

/// Operands of a pointwise computation that come and go with the op.
struct Operands {
  SmallVector<Value> tensors;
  SmallVector<AffineMap> maps;

  /// Adds a tensor if there is one; returns its number, or -1.
  int add(Value tensor, AffineMap map) {
    if (!tensor)
      return -1;
    tensors.push_back(tensor);
    maps.push_back(map);
    return tensors.size() - 1;
  }
};

/// (x - mean) * inverse * scale + shift with per-row moments; `scale` and
/// `shift` are read through maps of their own. Mean and shift may be null. With
/// `round` what is scaled is brought into the type `element` first.
Value normalise(FunctionLowering &l, Value x, ArrayRef<OpFoldResult> shape,
                Reduction &rows, Value mean, Value inverse,
                std::pair<Value, AffineMap> scale,
                std::pair<Value, AffineMap> shift, Type type, Type element,
                bool round = false) {
  Operands operands;
  operands.add(
      x, AffineMap::getMultiDimIdentityMap(shape.size(), l.b.getContext()));
  int meanAt = operands.add(mean, rows.rowMap());
  int inverseAt = operands.add(inverse, rows.rowMap());
  int scaleAt = operands.add(scale.first, scale.second);
  int shiftAt = operands.add(shift.first, shift.second);
  return l.pointwise(shape, element, operands.tensors, operands.maps,
                     [&](OpBuilder &b, Location loc, ValueRange args) {
                       auto arg = [&](int i) {
                         return toFloat(b, loc, args[i], type);
                       };
                       Value v = arg(0);
                       if (meanAt >= 0)
                         v = arith::SubFOp::create(b, loc, v, arg(meanAt));
                       v = arith::MulFOp::create(b, loc, v, arg(inverseAt));
                       if (round)
                         v = toFloat(b, loc, toFloat(b, loc, v, element), type);
                       if (scaleAt >= 0)
                         v = arith::MulFOp::create(b, loc, v, arg(scaleAt));
                       if (shiftAt >= 0)
                         v = arith::AddFOp::create(b, loc, v, arg(shiftAt));
                       return toFloat(b, loc, v, element);
                     });
}

/// Binds an optional result to a per-row tensor, with extents 1 for the dims
/// that are reduced.
void setRows(FunctionLowering &l, Operation *op, unsigned formal,
             Reduction &rows, Value perRow) {
  Value onnxResult = result(op, formal);
  if (!onnxResult)
    return;
  Type element = FunctionLowering::convertElement(elementOf(onnxResult));
  if (element != elementOf(perRow))
    perRow = rows.mapRows(element, perRow,
                          [&](OpBuilder &b, Location loc, ValueRange args) {
                            return toFloat(b, loc, args[0], element);
                          });
  l.set(onnxResult, rows.keepDims(perRow));
}

/// An optional ONNX operand that broadcasts to the trailing dims of `shape`.
std::pair<Value, AffineMap> getBroadcast(FunctionLowering &l, Value onnxValue,
                                         Value like,
                                         ArrayRef<OpFoldResult> shape) {
  if (!onnxValue)
    return {};
  return l.broadcastOperand(onnxValue, like, shape, shape.size());
}

/// Checks that an operand broadcasts to `shape`; reports what only shows at
/// run time at run time.
LogicalResult checkBroadcast(FunctionLowering &l, Operation *op,
                             unsigned formal, Value v, Value like) {
  if (!v)
    return success();
  int64_t rank = rankOf(v), lead = rankOf(like) - rank;
  if (lead < 0)
    return op->emitOpError() << "operand #" << formal << " has rank " << rank
                             << ", more than the input's " << rankOf(like);
  for (int64_t i = 0; i < rank; ++i) {
    OpFoldResult own = l.dim(v, i);
    if (isConstantIntValue(own, 1) || l.sameExtent(v, i, like, lead + i))
      continue;
    OpFoldResult wanted = l.dim(like, lead + i);
    auto a = getConstantIntValue(own), c = getConstantIntValue(wanted);
    if (a && c)
      return op->emitOpError() << "operand #" << formal << " has extent " << *a
                               << " in dimension " << i << ", the input " << *c
                               << "; equal extents or 1 are accepted";
    Value equal = l.compare(arith::CmpIPredicate::eq, own, wanted);
    Value one = l.compare(arith::CmpIPredicate::eq, own, l.index(1));
    l.check(arith::OrIOp::create(l.b, l.loc(), equal, one),
            "operand #" + Twine(formal) + " does not broadcast to the input",
            /*code=*/3);
  }
  return success();
}

LogicalResult checkBroadcast(FunctionLowering &l, Operation *op,
                             unsigned formal, Value like) {
  return checkBroadcast(l, op, formal, operand(op, formal), like);
}

LogicalResult lowerLayerNorm(FunctionLowering &l, Operation *op) {
  FailureOr<int64_t> axis = getCheckedAxis(op, -1);
  Value x = op->getOperand(0);
  if (failed(axis) || failed(checkBroadcast(l, op, 1, x)) ||
      failed(checkBroadcast(l, op, 2, x)))
    return failure();
  Value source = l.tensor(x);
  Extents shape = l.dims(x);
  Type element = elementOf(source), type = getComputeType(element);
  Reduction rows(l, source, shape, reduceFrom(*axis, shape.size()));
  Value mean = getMean(rows, type);
  Value inverse = getInverseDeviation(l, rows, getVariance(rows, type, mean),
                                      floatAttr(op, "epsilon", 1e-5f));
  Value y = normalise(l, source, shape, rows, mean, inverse,
                      getBroadcast(l, operand(op, 1), x, shape),
                      getBroadcast(l, operand(op, 2), x, shape), type, element);
  l.set(op->getResult(0), y);
  setRows(l, op, 1, rows, mean);
  setRows(l, op, 2, rows, inverse);
  return success();
}

/// RMSNormalization and com.microsoft.SimplifiedLayerNormalization, which
/// differ in the second result of the latter.
LogicalResult lowerRMSNorm(FunctionLowering &l, Operation *op) {
  FailureOr<int64_t> axis = getCheckedAxis(op, -1);
  Value x = op->getOperand(0);
  if (failed(axis) || failed(checkBroadcast(l, op, 1, x)))
    return failure();
  Value source = l.tensor(x);
  Extents shape = l.dims(x);
  std::pair<Value, AffineMap> scale = getBroadcast(l, operand(op, 1), x, shape);
  Type type = getWidestType({source, scale.first});
  Type element = FunctionLowering::convertElement(elementOf(op->getResult(0)));
  Reduction rows(l, source, shape, reduceFrom(*axis, shape.size()));
  Value inverse = getInverseDeviation(l, rows, getVariance(rows, type, Value()),
                                      floatAttr(op, "epsilon", 1e-5f));
  Value y = normalise(l, source, shape, rows, Value(), inverse, scale, {}, type,
                      element);
  l.set(op->getResult(0), y);
  if (op->getName().getStringRef() == "onnx_ms.SimplifiedLayerNormalization")
    setRows(l, op, 1, rows, inverse);
  return success();
}

/// RMS norm of input + skip + bias, which is a result as well.
LogicalResult lowerSkipRMSNorm(FunctionLowering &l, Operation *op) {
  Value x = operand(op, 0), skip = operand(op, 1);
  Value gamma = operand(op, 2), bias = operand(op, 3);
  if (rankOf(x) == 0)
    return op->emitOpError("normalises the last dimension; an input of rank 0 "
                           "has none");
  for (unsigned formal : {1, 2, 3})
    if (failed(checkBroadcast(l, op, formal, x)))
      return failure();
  Value source = l.tensor(x);
  Extents shape = l.dims(x);
  Type element = elementOf(source), type = getComputeType(element);
  AffineMap identity =
      AffineMap::getMultiDimIdentityMap(shape.size(), l.b.getContext());

  Operands terms;
  terms.add(source, identity);
  for (Value v : {skip, bias}) {
    auto [tensor, map] = getBroadcast(l, v, x, shape);
    terms.add(tensor, map);
  }
  Value sum = l.pointwise(shape, type, terms.tensors, terms.maps,
                          [&](OpBuilder &b, Location loc, ValueRange args) {
                            Value v = toFloat(b, loc, args[0], type);
                            for (Value term : args.drop_front())
                              v = arith::AddFOp::create(
                                  b, loc, v, toFloat(b, loc, term, type));
                            return v;
                          });
  Reduction rows(l, sum, shape, reduceFrom(shape.size() - 1, shape.size()));
  Value inverse = getInverseDeviation(l, rows, getVariance(rows, type, Value()),
                                      floatAttr(op, "epsilon", 1e-12f));
  Value y = normalise(l, sum, shape, rows, Value(), inverse,
                      getBroadcast(l, gamma, x, shape), {}, type, element);
  l.set(op->getResult(0), y);
  if (result(op, 1))
    setRows(l, op, 1, rows, getMean(rows, type));
  setRows(l, op, 2, rows, inverse);
  if (Value total = result(op, 3)) {
    if (type != element)
      sum = l.pointwise(shape, element, sum, identity,
                        [&](OpBuilder &b, Location loc, ValueRange args) {
                          return toFloat(b, loc, args[0], element);
                        });
    l.set(total, sum);
  }
  return success();
}

/// Reports a per-channel operand whose extent is not that of the channels.
LogicalResult checkChannels(FunctionLowering &l, Operation *op,
                            unsigned formal, Value v) {
  Value x = op->getOperand(0);
  if (rankOf(x) < 2 || rankOf(v) != 1)
    return op->emitOpError()
           << "takes an input of rank 2 or more and operand #" << formal
           << " of rank 1, not of ranks " << rankOf(x) << " and " << rankOf(v);
  if (l.sameExtent(v, 0, x, 1))
    return success();
  OpFoldResult own = l.dim(v, 0), wanted = l.dim(x, 1);
  auto a = getConstantIntValue(own), c = getConstantIntValue(wanted);
  if (a && c)
    return op->emitOpError() << "operand #" << formal << " has " << *a
                             << " elements for " << *c << " channels";
  l.checkEqual(own, wanted,
               "operand #" + Twine(formal) +
                   " does not have one element for each channel");
  return success();
}

LogicalResult checkChannels(FunctionLowering &l, Operation *op,
                            unsigned formal) {
  return checkChannels(l, op, formal, operand(op, formal));
}

/// The map that reads a tensor of one value per channel.
AffineMap channelMap(FunctionLowering &l, int64_t rank) {
  return AffineMap::get(rank, 0, l.b.getAffineDimExpr(1));
}

LogicalResult lowerInstanceNorm(FunctionLowering &l, Operation *op) {
  if (failed(checkChannels(l, op, 1)) || failed(checkChannels(l, op, 2)))
    return failure();
  Value x = op->getOperand(0);
  Value source = l.tensor(x);
  Extents shape = l.dims(x);
  Type element = elementOf(source), type = getComputeType(element);
  Reduction rows(l, source, shape, reduceFrom(2, shape.size()));
  Value mean = getMean(rows, type);
  Value inverse = getInverseDeviation(l, rows, getVariance(rows, type, mean),
                                      floatAttr(op, "epsilon", 1e-5f));
  AffineMap map = channelMap(l, shape.size());
  l.set(op->getResult(0),
        normalise(l, source, shape, rows, mean, inverse,
                  {l.tensor(operand(op, 1)), map},
                  {l.tensor(operand(op, 2)), map}, type, element));
  return success();
}

LogicalResult lowerGroupNorm(FunctionLowering &l, Operation *op) {
  if (failed(checkChannels(l, op, 1)) || failed(checkChannels(l, op, 2)))
    return failure();
  Value x = op->getOperand(0);
  int64_t groups = intAttr(op, "num_groups", 0);
  if (groups < 1)
    return op->emitOpError()
           << "has num_groups = " << groups << "; at least 1 is accepted";
  Extents shape = l.dims(x);
  OpFoldResult channels = shape[1];
  if (auto known = getConstantIntValue(channels); known && *known % groups)
    return op->emitOpError() << "cannot divide " << *known << " channels into "
                             << groups << " groups";
  OpFoldResult perGroup = l.div(channels, l.index(groups));
  l.checkEqual(l.mul(perGroup, l.index(groups)), channels,
               "the channels do not divide into " + Twine(groups) + " groups");
  Extents split{shape[0], l.index(groups), perGroup};
  split.append(shape.begin() + 2, shape.end());
  Value source = l.reshape(l.tensor(x), shape, split);
  Type element = elementOf(source), type = getComputeType(element);
  Reduction rows(l, source, split, reduceFrom(2, split.size()));
  Value mean = getMean(rows, type);
  Value inverse = getInverseDeviation(l, rows, getVariance(rows, type, mean),
                                      floatAttr(op, "epsilon", 1e-5f));
  AffineMap map = AffineMap::get(
      split.size(), 0, {l.b.getAffineDimExpr(1), l.b.getAffineDimExpr(2)},
      l.b.getContext());
  auto perChannel = [&](unsigned formal) -> std::pair<Value, AffineMap> {
    Value v = l.tensor(operand(op, formal));
    return {l.reshape(v, channels, {l.index(groups), perGroup}), map};
  };
  Value y = normalise(l, source, split, rows, mean, inverse, perChannel(1),
                      perChannel(2), type, element);
  l.set(op->getResult(0), l.reshape(y, split, shape));
  return success();
}

LogicalResult lowerNorm(FunctionLowering &l, Operation *generic) {
  auto op = cast<ir::NormOp>(generic);
  bool isGroup = op.getKind() == ir::NormKind::Group;
  Value x = op.getX();
  int64_t rank = rankOf(x);
  for (auto [formal, v] : {std::pair{1u, op.getScale()},
                           std::pair{2u, op.getBias()}})
    if (v && failed(isGroup ? checkChannels(l, op, formal, v)
                            : checkBroadcast(l, op, formal, v, x)))
      return failure();
  Extents shape = l.dims(x), split = shape;
  Value source = l.tensor(x);
  Type type = getComputeType(elementOf(source));
  Type element = FunctionLowering::convertElement(elementOf(op.getY()));
  std::pair<Value, AffineMap> scale, bias;
  int64_t axis = normalizeAxis(op.getAxis(), rank);
  if (isGroup) {
    OpFoldResult groups = l.index(*op.getGroups());
    OpFoldResult perGroup = l.div(shape[1], groups);
    l.checkEqual(l.mul(perGroup, groups), shape[1],
                 "the channels do not divide into " + Twine(*op.getGroups()) +
                     " groups");
    split = {shape[0], groups, perGroup};
    split.append(shape.begin() + 2, shape.end());
    source = l.reshape(source, shape, split);
    axis = 2;
    AffineMap map = AffineMap::get(
        split.size(), 0, {l.b.getAffineDimExpr(1), l.b.getAffineDimExpr(2)},
        l.b.getContext());
    for (auto [to, v] : {std::pair{&scale, op.getScale()},
                         std::pair{&bias, op.getBias()}})
      if (v)
        *to = {l.reshape(l.tensor(v), shape[1], {groups, perGroup}), map};
  } else {
    scale = getBroadcast(l, op.getScale(), x, shape);
    bias = getBroadcast(l, op.getBias(), x, shape);
  }
  Reduction rows(l, source, split, reduceFrom(axis, split.size()));
  Value mean;
  if (op.getKind() != ir::NormKind::RMS)
    mean = getMean(rows, type);
  Value inverse = getInverseDeviation(l, rows, getVariance(rows, type, mean),
                                      op.getEpsilon().convertToDouble());
  Value y = normalise(l, source, split, rows, mean, inverse, scale, bias, type,
                      element, op.getRound());
  l.set(op.getY(), isGroup ? l.reshape(y, split, shape) : y);
  return success();
}

LogicalResult lowerBatchNorm(FunctionLowering &l, Operation *op) {
  if (intAttr(op, "training_mode", 0) != 0)
    return unsupported(op, "training_mode = 1; models for inference have 0");
  for (unsigned formal : {1, 2, 3, 4})
    if (failed(checkChannels(l, op, formal)))
      return failure();
  Value x = op->getOperand(0);
  Value source = l.tensor(x);
  Extents shape = l.dims(x);
  Value scale = l.tensor(operand(op, 1)), shift = l.tensor(operand(op, 2));
  Value mean = l.tensor(operand(op, 3)), variance = l.tensor(operand(op, 4));
  Type element = elementOf(source);
  Type type = getWidestType({source, scale, mean});
  Value eps = l.scalar(type, floatAttr(op, "epsilon", 1e-5f));
  AffineMap one = AffineMap::getMultiDimIdentityMap(1, l.b.getContext());
  Value factor =
      l.pointwise(shape[1], type, {scale, variance}, {one, one},
                  [&](OpBuilder &b, Location loc, ValueRange args) {
                    Value v = toFloat(b, loc, args[1], type);
                    v = arith::AddFOp::create(b, loc, v, eps);
                    v = math::SqrtOp::create(b, loc, v);
                    Value s = toFloat(b, loc, args[0], type);
                    return arith::DivFOp::create(b, loc, s, v).getResult();
                  });
  AffineMap channel = channelMap(l, shape.size());
  AffineMap all =
      AffineMap::getMultiDimIdentityMap(shape.size(), l.b.getContext());
  l.set(op->getResult(0),
        l.pointwise(shape, element, {source, mean, factor, shift},
                    {all, channel, channel, channel},
                    [&](OpBuilder &b, Location loc, ValueRange args) {
                      auto arg = [&](int i) {
                        return toFloat(b, loc, args[i], type);
                      };
                      Value v = arith::SubFOp::create(b, loc, arg(0), arg(1));
                      v = arith::MulFOp::create(b, loc, v, arg(2));
                      v = arith::AddFOp::create(b, loc, v, arg(3));
                      return toFloat(b, loc, v, element);
                    }));
  return success();
}

/// x / |x|_p along the axis; 0 where the norm is 0.
LogicalResult lowerLpNorm(FunctionLowering &l, Operation *op) {
  FailureOr<int64_t> axis = getCheckedAxis(op, -1);
  if (failed(axis))
    return failure();
  int64_t p = intAttr(op, "p", 2);
  if (p != 1 && p != 2)
    return op->emitOpError() << "has p = " << p << "; 1 and 2 are accepted";
  Value x = op->getOperand(0);
  Value source = l.tensor(x);
  Extents shape = l.dims(x);
  Type element = elementOf(source), type = getComputeType(element);
  SmallVector<bool> reduced(shape.size(), false);
  reduced[*axis] = true;
  Reduction rows(l, source, shape, reduced);
  Value norm =
      rows.fold(Combine::Sum, type,
                [&](OpBuilder &b, Location loc, ValueRange args) -> Value {
                  Value v = toFloat(b, loc, args[0], type);
                  if (p == 1)
                    return math::AbsFOp::create(b, loc, v);
                  return arith::MulFOp::create(b, loc, v, v);
                });
  if (p == 2)
    norm = rows.mapRows(
        type, norm, [&](OpBuilder &b, Location loc, ValueRange args) {
          return math::SqrtOp::create(b, loc, args[0]).getResult();
        });
  Value zero = l.scalar(type, 0), none = l.scalar(element, 0);
  l.set(op->getResult(0),
        rows.map(
            element,
            [&](OpBuilder &b, Location loc, ValueRange args) {
              Value v = toFloat(b, loc, args[0], type);
              v = arith::DivFOp::create(b, loc, v, args[1]);
              Value empty = arith::CmpFOp::create(
                  b, loc, arith::CmpFPredicate::OEQ, args[1], zero);
              return arith::SelectOp::create(b, loc, empty, none,
                                             toFloat(b, loc, v, element))
                  .getResult();
            },
            norm));
  return success();
}

/// (x - mean) / (deviation + 1e-9), as the function body of the operator says.
LogicalResult lowerMeanVarianceNorm(FunctionLowering &l, Operation *op) {
  Value x = op->getOperand(0);
  int64_t rank = rankOf(x);
  SmallVector<int64_t> axes{0, 2, 3};
  if (auto given = intsAttr(op, "axes"))
    axes = *given;
  SmallVector<bool> reduced(rank, false);
  for (int64_t axis : axes) {
    int64_t normal = normalizeAxis(axis, rank);
    if (normal < 0 || normal >= rank)
      return op->emitOpError()
             << "normalises axis " << axis << " of a tensor of rank " << rank
             << "; accepted: " << -rank << " to " << rank - 1;
    reduced[normal] = true;
  }
  Value source = l.tensor(x);
  Extents shape = l.dims(x);
  Type element = elementOf(source), type = getComputeType(element);
  Reduction rows(l, source, shape, reduced);
  Value mean = getMean(rows, type);
  Value variance = getVariance(rows, type, mean);
  Value eps = l.scalar(type, 1e-9), one = l.scalar(type, 1);
  Value inverse = rows.mapRows(
      type, variance, [&](OpBuilder &b, Location loc, ValueRange args) {
        Value v = math::SqrtOp::create(b, loc, args[0]);
        v = arith::AddFOp::create(b, loc, v, eps);
        return arith::DivFOp::create(b, loc, one, v).getResult();
      });
  l.set(op->getResult(0), normalise(l, source, shape, rows, mean, inverse, {},
                                    {}, type, element));
  return success();
}

} // namespace

void lower::registerNormalization(LoweringTable &table) {
  table.add("onnx.LayerNormalization", lowerLayerNorm);
  table.add("onnx.RMSNormalization", lowerRMSNorm);
  table.add("onnx_ms.SimplifiedLayerNormalization", lowerRMSNorm);
  table.add("onnx_ms.SkipSimplifiedLayerNormalization", lowerSkipRMSNorm);
  table.add("onnx.InstanceNormalization", lowerInstanceNorm);
  table.add("onnx.GroupNormalization", lowerGroupNorm);
  table.add("onnx.BatchNormalization", lowerBatchNorm);
  table.add("moe.norm", lowerNorm);
  table.add("onnx.LpNormalization", lowerLpNorm);
  table.add("onnx.MeanVarianceNormalization", lowerMeanVarianceNorm);
}
