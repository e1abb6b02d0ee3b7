//===- RaiseNorms.cpp - normalisations in plain nodes ---------------------===//
//
// A normalisation is found at the node that divides by the root of a variance,
// or multiplies by its reciprocal. Behind it come, as far as they are there, a
// cast to a narrower type, the product with a scale and the sum with a bias,
// which are constants: a sum with anything else is the next layer's.
//
//===----------------------------------------------------------------------===//

#include "dialects/MoE/MoEDialect.h"
#include "dialects/ONNX/ONNXDialect.h"
#include "lib/Analysis/Dims.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/IR/PatternMatch.h"
#include "mlir/IR/Remarks.h"
#include "mlir/Transforms/RegionUtils.h"
#include "passes/Raise/Match.h"
#include "passes/Raise/Nodes.h"
#include "passes/Raise/Passes.h"

namespace moe {
#define GEN_PASS_DEF_RAISENORMS
#include "passes/Raise/Passes.h.inc"
} // namespace moe

using namespace mlir;
using namespace moe;
using namespace moe::match;

namespace {

/// What becomes one moe.norm.
struct Norm {
  Value x, scale, bias;
  ir::NormKind kind = ir::NormKind::RMS;
  int64_t axis = -1, groups = 0;
  double epsilon = 0;
  bool round = false;
  /// The value that the norm takes the place of.
  Value result;
};

/// The value before casts to wider float types.
Value beforeWidening(Value value) {
  while (Operation *cast = getNode(value, "onnx.Cast")) {
    Value in = cast->getOperand(0);
    auto from = dyn_cast_or_null<FloatType>(getElementType(in));
    auto to = dyn_cast_or_null<FloatType>(getElementType(value));
    if (!from || !to || from.getWidth() >= to.getWidth())
      break;
    value = strip(in);
  }
  return value;
}

/// The axes of a ReduceMean or ReduceSum that keeps them, nullopt otherwise.
std::optional<SmallVector<int64_t>> getKeptAxes(Operation *op) {
  if (getInt(op, "keepdims", 1) != 1)
    return std::nullopt;
  auto attr = op->getAttrOfType<DenseI64ArrayAttr>("axes");
  if (!attr)
    return getAxes(op);
  int64_t rank = getRank(op->getOperand(0));
  SmallVector<int64_t> axes(attr.asArrayRef());
  for (int64_t &axis : axes) {
    if (axis < 0)
      axis += rank;
    if (axis < 0 || axis >= rank)
      return std::nullopt;
  }
  llvm::sort(axes);
  return axes;
}

/// x and the axes of a mean that keeps its axes: ReduceMean, or ReduceSum
/// divided by the number of elements.
bool matchMean(Value value, Value &x, SmallVector<int64_t> &axes) {
  Operation *op = getNode(value, "onnx.ReduceMean");
  double factor = 0;
  Value sum;
  if (!op) {
    if (!matchScale(value, sum, factor) ||
        !(op = getNode(sum, "onnx.ReduceSum")))
      return false;
  }
  std::optional<SmallVector<int64_t>> kept = getKeptAxes(op);
  if (!kept || kept->empty())
    return false;
  x = getInput(op, 0);
  axes = *kept;
  if (!sum)
    return true;
  double count = 1;
  for (int64_t axis : axes) {
    Extent extent = getDim(x, axis);
    if (!extent.isStatic())
      return false;
    count *= static_cast<double>(extent.size);
  }
  return std::abs(factor * count - 1) < 1e-6;
}

/// c of c * c or c^2.
bool matchSquare(Value value, Value &c) {
  double power;
  if (matchWithNumber(value, "onnx.Pow", c, power))
    return power == 2;
  Value a, b;
  if (!matchBinary(value, "onnx.Mul", a, b) || a != b)
    return false;
  c = a;
  return true;
}

/// v of sqrt(v).
bool matchRoot(Value value, Value &v) {
  if (Operation *op = getNode(value, "onnx.Sqrt")) {
    v = getInput(op, 0);
    return true;
  }
  double power;
  return matchWithNumber(value, "onnx.Pow", v, power) && power == 0.5;
}

/// v of 1 / sqrt(v).
bool matchInverseRoot(Value value, Value &v) {
  if (Operation *op = getNode(value, "onnx.Reciprocal"))
    return matchRoot(getInput(op, 0), v);
  double power;
  if (matchWithNumber(value, "onnx.Pow", v, power))
    return power == -0.5;
  Value one, root;
  return matchBinary(value, "onnx.Div", one, root) && isNumber(one, 1) &&
         matchRoot(root, v);
}

/// x of c = x - mean(x) over `axes`.
bool matchCentred(Value c, ArrayRef<int64_t> axes, Value &x) {
  Value mean, of;
  SmallVector<int64_t> own;
  return matchBinary(c, "onnx.Sub", x, mean) && matchMean(mean, of, own) &&
         beforeWidening(of) == beforeWidening(x) &&
         ArrayRef<int64_t>(own) == axes;
}

/// Two values that are the same computation, or equal differences.
bool isSameDifference(Value a, Value b) {
  if (isSame(a, b))
    return true;
  Value ax, am, bx, bm, ao, bo;
  SmallVector<int64_t> aAxes, bAxes;
  return matchBinary(a, "onnx.Sub", ax, am) &&
         matchBinary(b, "onnx.Sub", bx, bm) &&
         beforeWidening(ax) == beforeWidening(bx) && matchMean(am, ao, aAxes) &&
         matchMean(bm, bo, bAxes) && beforeWidening(ao) == beforeWidening(bo) &&
         aAxes == bAxes;
}

/// Reads `node`, which multiplies or divides, as a normalisation. `why` says
/// what is missing where it is one up to that.
bool matchNormalised(Operation *node, Norm &norm, std::string &why) {
  Value result = node->getResult(0), a, b, v;
  Value numerator;
  if (matchBinary(result, "onnx.Div", a, b) && matchRoot(b, v)) {
    numerator = a;
  } else if (matchBinary(result, "onnx.Mul", a, b)) {
    if (matchInverseRoot(b, v))
      numerator = a;
    else if (matchInverseRoot(a, v))
      numerator = b;
  }
  Value variance, squared, c;
  SmallVector<int64_t> axes;
  if (!numerator || !matchWithNumber(v, "onnx.Add", variance, norm.epsilon) ||
      !matchMean(variance, squared, axes) || !matchSquare(squared, c))
    return false;
  if (!(norm.epsilon >= 0) || !std::isfinite(norm.epsilon))
    return false;
  Value x;
  if (matchCentred(c, axes, x) && isSameDifference(c, numerator))
    norm.kind = ir::NormKind::Layer;
  else if (beforeWidening(c) == beforeWidening(numerator))
    x = c;
  else
    return false;
  norm.x = beforeWidening(x);
  int64_t rank = getRank(norm.x);
  auto element = dyn_cast_or_null<FloatType>(getElementType(norm.x));
  if (rank < 1 || !element || !sameExtents(norm.x, result))
    return false;
  norm.axis = rank - static_cast<int64_t>(axes.size());
  for (auto [i, axis] : llvm::enumerate(axes))
    if (axis != norm.axis + static_cast<int64_t>(i)) {
      why = "normalises other axes than the last ones";
      return false;
    }
  norm.result = result;
  return true;
}

/// The only user of a value, null if there are none or several.
Operation *getOnlyUser(Value value) {
  return value.hasOneUse() ? *value.user_begin() : nullptr;
}

/// The value of the only user that is `name`, null otherwise.
Value getOnlyUse(Value value, StringRef name) {
  Operation *user = getOnlyUser(value);
  return user && user->getName().getStringRef() == name ? user->getResult(0)
                                                        : Value();
}

/// Whether a constant has one number for each element of the last `count` dims
/// of x, or fewer.
bool isParameter(Value value, Value x, int64_t count) {
  if (!isConstant(value) || !isa<FloatType>(getElementType(value)))
    return false;
  int64_t rank = getRank(value), all = getRank(x);
  if (rank < 0 || rank > all)
    return false;
  for (int64_t i = 0; i < rank; ++i) {
    Extent own = getDim(value, i);
    if (own.isStatic() && own.size == 1)
      continue;
    if (rank - i > count || own != getDim(x, all - rank + i))
      return false;
  }
  return true;
}

/// Takes a product with a scale, a sum with a bias and casts behind the norm
/// into it.
void addParameters(Norm &norm) {
  int64_t count = getRank(norm.x) - norm.axis;
  auto cast = [&](bool isLast) {
    Value narrow = getOnlyUse(norm.result, "onnx.Cast");
    auto to =
        narrow ? dyn_cast<FloatType>(getElementType(narrow)) : FloatType();
    auto from = dyn_cast<FloatType>(getElementType(norm.result));
    if (!to || !from || to.getWidth() > from.getWidth())
      return;
    // The norm rounds once.
    if (isLast && norm.round && to != from)
      return;
    norm.round |= !isLast && to.getWidth() < from.getWidth();
    norm.result = narrow;
  };
  auto take = [&](StringRef name) -> Value {
    Value next = getOnlyUse(norm.result, name), a, b;
    if (!next || next.getDefiningOp()->getNumOperands() != 2)
      return {};
    a = next.getDefiningOp()->getOperand(0);
    b = next.getDefiningOp()->getOperand(1);
    if (a != norm.result)
      std::swap(a, b);
    if (a != norm.result || !isParameter(b, norm.x, count) ||
        !sameExtents(next, norm.x) ||
        getElementType(next) != getElementType(norm.result))
      return {};
    norm.result = next;
    return b;
  };
  cast(/*isLast=*/false);
  Value casted = norm.result;
  norm.scale = take("onnx.Mul");
  norm.bias = take("onnx.Add");
  // Rounding twice to one type is rounding once.
  if (norm.result == casted)
    norm.round = false;
  cast(/*isLast=*/true);
}

/// Reshape [N, G, -1], InstanceNormalization with plain scales, Reshape back,
/// then a scale and a bias for each channel.
bool matchGroupNorm(Operation *node, Norm &norm, OpBuilder &b) {
  Operation *split = getNode(node->getOperand(0), "onnx.Reshape");
  if (!split || !isNumber(getInput(node, 1), 1) ||
      !isNumber(getInput(node, 2), 0))
    return false;
  Value x = getInput(split, 0), rows = split->getResult(0);
  Value back = getOnlyUse(node->getResult(0), "onnx.Reshape");
  if (!back || getRank(x) < 2 || getRank(rows) < 2 || !sameExtents(back, x) ||
      !sameExtent(rows, 0, x, 0) || getElementType(back) != getElementType(x))
    return false;
  Extent groups = getDim(rows, 1), channels = getDim(x, 1);
  if (!groups.isStatic() || !channels.isStatic() || groups.size < 1 ||
      channels.size % groups.size)
    return false;
  norm.kind = ir::NormKind::Group;
  norm.x = x;
  norm.groups = groups.size;
  norm.epsilon = getFloat(node, "epsilon", 1e-5f);
  norm.result = back;
  int64_t behind = getRank(x) - 2;
  auto perChannel = [&](StringRef name) -> Value {
    Value next = getOnlyUse(norm.result, name);
    if (!next || next.getDefiningOp()->getNumOperands() != 2)
      return {};
    Operation *op = next.getDefiningOp();
    Value other = op->getOperand(op->getOperand(0) == norm.result ? 1 : 0);
    int64_t rank = getRank(other);
    if (!isConstant(other) || !sameExtents(next, x) || rank < behind + 1 ||
        rank > getRank(x))
      return {};
    auto type = cast<RankedTensorType>(other.getType());
    if (!type.hasStaticShape() || type.getNumElements() != channels.size ||
        type.getDimSize(rank - behind - 1) != channels.size)
      return {};
    norm.result = next;
    return other;
  };
  norm.scale = perChannel("onnx.Mul");
  norm.bias = perChannel("onnx.Add");
  // One vector each.
  b.setInsertionPointAfterValue(norm.result);
  NodeBuilder nodes(b, norm.result.getLoc());
  for (Value *one : {&norm.scale, &norm.bias})
    if (*one && getRank(*one) != 1) {
      auto shape = RankedTensorType::get({1}, b.getI64Type());
      Value wanted = nodes.create(
          "onnx.Constant", {}, shape,
          b.getNamedAttr("value",
                         DenseElementsAttr::get(shape, channels.size)));
      *one = nodes.create(
          "onnx.Reshape", {*one, wanted},
          RankedTensorType::get({channels.size}, getElementType(*one)));
    }
  return true;
}

void raise(Norm &norm, IRRewriter &b) {
  Operation *last = norm.result.getDefiningOp();
  b.setInsertionPoint(last);
  // Constants of a group norm stand behind it.
  for (Value one : {norm.scale, norm.bias})
    if (one && one.getDefiningOp() &&
        one.getDefiningOp()->getBlock() == last->getBlock() &&
        last->isBeforeInBlock(one.getDefiningOp()))
      b.setInsertionPointAfterValue(one);
  auto op = ir::NormOp::create(
      b, last->getLoc(), norm.result.getType(), norm.x, norm.scale, norm.bias,
      ir::NormKindAttr::get(b.getContext(), norm.kind),
      b.getI64IntegerAttr(norm.groups ? -1 : norm.axis - getRank(norm.x)),
      norm.groups ? b.getI64IntegerAttr(norm.groups) : IntegerAttr(),
      b.getF64FloatAttr(norm.epsilon),
      norm.round ? b.getUnitAttr() : UnitAttr());
  // The result keeps its names.
  for (StringRef name :
       {StringRef(onnx::names::kOutputs), StringRef(onnx::names::kDims)})
    if (Attribute attr = last->getDiscardableAttr(name))
      op->setDiscardableAttr(name, attr);
  b.replaceAllUsesWith(norm.result, op.getY());
}

struct RaiseNorms : public moe::impl::RaiseNormsBase<RaiseNorms> {
  void runOnOperation() override {
    func::FuncOp func = getOperation();
    SmallVector<Operation *> nodes;
    func.walk([&](Operation *op) {
      StringRef name = op->getName().getStringRef();
      if (name == "onnx.Div" || name == "onnx.Mul" ||
          name == "onnx.InstanceNormalization")
        nodes.push_back(op);
    });
    IRRewriter rewriter(&getContext());
    for (Operation *op : nodes) {
      Norm norm;
      std::string why;
      if (op->getName().getStringRef() == "onnx.InstanceNormalization") {
        if (!matchGroupNorm(op, norm, rewriter))
          continue;
      } else if (matchNormalised(op, norm, why)) {
        addParameters(norm);
      } else {
        if (!why.empty()) {
          remark::missed(op->getLoc(), remark::RemarkOpts::name(getArgument())
                                           .category("raise")
                                           .function(func.getName()))
              << why;
          ++numMissed;
        }
        continue;
      }
      raise(norm, rewriter);
      ++numRaised;
    }
    if (numRaised == 0)
      return markAllAnalysesPreserved();
    (void)runRegionDCE(rewriter, func->getRegions());
  }
};

} // namespace
