//===- RaisePooling.cpp - pools in plain nodes ----------------------------===//
//
// Three walks, each of which finds what the one before made: powers around a
// mean (GeM, norms), a pool plus or minus its own input (mixers), and maps that
// choose among pools (pooling experts).
//
//===----------------------------------------------------------------------===//

#include "lib/Analysis/Dims.h"
#include "mlir/IR/Remarks.h"
#include "mlir/Transforms/RegionUtils.h"
#include "passes/Raise/Match.h"
#include "passes/Raise/Nodes.h"
#include "passes/Raise/Passes.h"
#include "passes/Raise/PoolNodes.h"
#include "llvm/Support/Format.h"
#include <cmath>

namespace moe {
#define GEN_PASS_DEF_RAISEPOOLING
#include "passes/Raise/Passes.h.inc"
} // namespace moe

using namespace mlir;
using namespace moe;

namespace {

/// What stands between two powers.
struct PowerPool {
  Operation *root = nullptr; // the outer power
  double inverse = 0;        // its exponent
  double factor = 1;         // a number that the mean is multiplied by
  Operation *mean = nullptr;
  Operation *power = nullptr; // the inner one
  double p = 0;
  Value x;
  double eps = -std::numeric_limits<double>::infinity();
};

struct RaisePooling : public moe::impl::RaisePoolingBase<RaisePooling> {
  void runOnOperation() override;

private:
  void missed(Operation *at, const Twine &why);
  void walk(StringRef what, llvm::function_ref<void(Operation *)> visit);

  // Powers.
  void raisePower(Operation *root);
  bool readPower(Operation *root, PowerPool &found);
  std::optional<std::string> createPower(const PowerPool &found);

  // Pools plus their input.
  void raiseSum(Operation *root);
  bool raiseTerms(Operation *root, Value pool, double alpha, Value x,
                  double beta);

  // Experts.
  void raiseChoice(Operation *gather);
  void noteSoftGate(Operation *mul);

  IRRewriter *rewriter = nullptr;
};

} // namespace

void RaisePooling::missed(Operation *at, const Twine &why) {
  remark::missed(at->getLoc(),
                 remark::RemarkOpts::name(getArgument()).category("raise"))
      << why.str();
  ++numDeclined;
}

//===----------------------------------------------------------------------===//
// Powers
//===----------------------------------------------------------------------===//

static std::string toText(double number) {
  std::string text;
  llvm::raw_string_ostream(text) << llvm::format("%g", number);
  return text;
}

/// x and e of x^e; also of Sqrt and of x * x.
static bool matchPower(Value value, Value &x, double &exponent) {
  Value a, b;
  if (match::matchBinary(value, "onnx.Pow", a, b)) {
    std::optional<double> number = match::getNumber(b);
    if (!number || !sameExtents(a, value))
      return false;
    x = a;
    exponent = *number;
    return true;
  }
  if (match::matchBinary(value, "onnx.Mul", a, b) && a == b) {
    x = a;
    exponent = 2;
    return true;
  }
  if (Operation *root = match::getNode(value, "onnx.Sqrt")) {
    x = match::getInput(root, 0);
    exponent = 0.5;
    return true;
  }
  return false;
}

/// Whether 1 / p is the number `inverse` that a model in `element` has: what is
/// left is a relative error of a few units of the last place.
static bool areInverse(double p, double inverse, Type element) {
  auto type = cast<FloatType>(element);
  double unit = std::ldexp(1.0, -static_cast<int>(type.getFPMantissaWidth()));
  return std::abs(p * inverse - 1) <= 4 * unit;
}

/// Whether all elements of a value are 0 or more.
static bool isNonNegative(Value value, unsigned depth = 8) {
  value = match::strip(value);
  Operation *op = value ? value.getDefiningOp() : nullptr;
  if (!op || depth == 0)
    return false;
  StringRef name = match::getOperator(value);
  if (name == "Relu" || name == "Sigmoid" || name == "Softmax" ||
      name == "Abs" || name == "Exp" || name == "Softplus" ||
      name == "HardSigmoid" || name == "ReduceL2" || name == "ReduceL1" ||
      name == "Sqrt")
    return true;
  Value x;
  double a = 0, b = 0;
  if (match::matchClamp(value, x, a, b) && a >= 0 && b >= 0)
    return true;
  if (matchPower(value, x, a))
    return std::fmod(a, 2) == 0 || isNonNegative(x, depth - 1);
  if (name == "MaxPool" || name == "AveragePool" || name == "ReduceMean" ||
      name == "ReduceMax" || name == "ReduceSum" || name == "Transpose" ||
      name == "Reshape" || name == "Unsqueeze" || name == "Squeeze" ||
      name == "Slice" || name == "Gather" || name == "GlobalAveragePool")
    return isNonNegative(match::getInput(op, 0), depth - 1);
  if (name == "Add" || name == "Mul" || name == "Concat")
    return llvm::all_of(op->getOperands(), [&](Value operand) {
      return isNonNegative(operand, depth - 1);
    });
  return false;
}

/// The value whose size sign(a) * relu(|a|) is a, whatever a is; `value` itself
/// if it is not of that form (torch writes roots of means so).
static Value skipSignOfSize(Value value) {
  Value a;
  bool found =
      match::matchCommuted(value, "onnx.Mul", [&](Value sign, Value size) {
        Operation *of = match::getNode(sign, "onnx.Sign");
        if (!of)
          return false;
        if (Operation *relu = match::getNode(size, "onnx.Relu"))
          size = match::getInput(relu, 0);
        Operation *abs = match::getNode(size, "onnx.Abs");
        a = match::getInput(of, 0);
        return abs && a == match::getInput(abs, 0);
      });
  return found ? a : value;
}

/// Whether all uses of a node's result are among the nodes between it and
/// `root`: what becomes one op is not needed besides.
static bool isUsedOnlyBelow(Operation *op, Operation *root) {
  SmallVector<Operation *> stack{op};
  llvm::SmallPtrSet<Operation *, 8> seen;
  while (!stack.empty()) {
    Operation *next = stack.pop_back_val();
    if (next == root || !seen.insert(next).second)
      continue;
    if (seen.size() > 16 || next->use_empty())
      return false;
    for (Operation *user : next->getUsers()) {
      if (user->hasTrait<OpTrait::IsTerminator>())
        return false;
      // Only nodes that lie between count.
      StringRef name = user->getName().getStringRef();
      if (user != root && name != "onnx.Mul" && name != "onnx.Sign" &&
          name != "onnx.Abs" && name != "onnx.Relu" && name != "onnx.Pow" &&
          name != "onnx.Div" && name != "onnx.Reshape" && name != "onnx.Cast" &&
          name != "onnx.Identity" && !isPoolOrMean(user))
        return false;
      stack.push_back(user);
    }
  }
  return true;
}

/// Reads powers around a mean. False where there is no such thing.
bool RaisePooling::readPower(Operation *root, PowerPool &found) {
  found.root = root;
  Value value;
  if (!matchPower(root->getResult(0), value, found.inverse) ||
      found.inverse == 0 || !std::isfinite(found.inverse))
    return false;
  double factor;
  Value scaled;
  if (match::matchScale(value, scaled, factor) && sameExtents(scaled, value)) {
    found.factor = factor;
    value = scaled;
  }
  value = match::strip(skipSignOfSize(value));
  found.mean = value ? value.getDefiningOp() : nullptr;
  if (!found.mean || !isMean(found.mean))
    return false;
  Value powers = match::getInput(found.mean, 0);
  if (!matchPower(powers, found.x, found.p))
    return false;
  found.power = powers.getDefiningOp();
  // A standard deviation or a norm over channels is no pool.
  return match::getRank(powers) >= 3;
}

/// Creates the pool of some powers, or says which rule does not hold.
std::optional<std::string> RaisePooling::createPower(const PowerPool &found) {
  std::string why;
  std::optional<PoolNode> node = PoolNode::read(found.mean, why);
  if (!node)
    return why;
  Type element = match::getElementType(found.x);
  if (!isa<Float16Type, Float32Type, Float64Type>(element))
    return "powers of another type than f16, f32 and f64";
  if (found.p == 0 || !std::isfinite(found.p))
    return "the power " + toText(found.p) + ", which has no root";
  if (!areInverse(found.p, found.inverse, element))
    return "the power " + toText(found.p) + " undone by the power " +
           toText(found.inverse) + ", which is not its inverse";
  if (!isUsedOnlyBelow(found.power, found.root) ||
      !isUsedOnlyBelow(found.mean, found.root))
    return "powers or a mean that are used elsewhere";

  ir::PoolKind kind = ir::PoolKind::Gem;
  Value x = found.x;
  double eps = found.eps;
  if (found.factor != 1) {
    // A mean times the number of its elements is a sum.
    std::optional<int64_t> count = node->countElements();
    if (!count || std::abs(found.factor - *count) > 1e-6 * *count)
      return "a mean times " + toText(found.factor) +
             ", which is not the number of its elements";
    if (found.p < 0)
      return "the power " + toText(found.p) + ": no norm";
    if (std::fmod(found.p, 2) != 0 && !isNonNegative(x))
      return "the power " + toText(found.p) +
             " of elements that may be negative: no norm";
    kind = ir::PoolKind::Lp;
  } else {
    double most;
    Value clamped;
    if (match::matchClamp(x, clamped, eps, most) && std::isinf(most) &&
        std::isfinite(eps) && eps >= 0 && sameExtents(clamped, x))
      x = clamped;
    else
      eps = -std::numeric_limits<double>::infinity();
  }
  ir::PoolingAttr pooling = node->get(kind, found.p, eps);
  node->replace(*rewriter, found.root, x, pooling);
  ++numRaised;
  return std::nullopt;
}

void RaisePooling::raisePower(Operation *root) {
  PowerPool found;
  if (!readPower(root, found))
    return;
  if (std::optional<std::string> why = createPower(found))
    missed(root, "a mean between powers has " + *why);
}

//===----------------------------------------------------------------------===//
// Pools plus or minus their input
//===----------------------------------------------------------------------===//

/// v and c of c * v, as far as multiplications by a number go.
static Value splitFactor(Value value, double &factor) {
  factor = 1;
  Value x;
  double c;
  while (match::matchScale(value, x, c) && std::isfinite(factor * c) &&
         sameExtents(x, value)) {
    factor *= c;
    value = x;
  }
  return match::strip(value);
}

/// alpha * pool(x) + beta * x in place of `root`.
bool RaisePooling::raiseTerms(Operation *root, Value pool, double alpha,
                              Value x, double beta) {
  Operation *op = pool.getDefiningOp();
  if (!op || !op->hasOneUse())
    return false;
  ir::PoolingAttr pooling;
  if (auto known = dyn_cast<ir::PoolOp>(op)) {
    if (!known.getAlpha().isExactlyValue(1.0) || !known.getBeta().isZero() ||
        match::strip(known.getX()) != x)
      return false;
    pooling = known.getPooling();
  } else {
    if (!isPool(op) || match::getInput(op, 0) != x)
      return false;
    std::string why;
    std::optional<PoolNode> node = PoolNode::read(op, why);
    if (!node) {
      missed(root, "a pool less its input has " + why);
      return true;
    }
    pooling = node->get();
  }
  if (!keepsExtents(pooling) && !sameExtents(pool, x)) {
    missed(root, "a pool less its input has other extents than its input");
    return true;
  }
  if (!sameExtents(x, root->getResult(0))) {
    missed(root, "a pool less its input is broadcast");
    return true;
  }
  rewriter->setInsertionPoint(root);
  auto raised = ir::PoolOp::create(*rewriter, root->getLoc(),
                                   root->getResult(0).getType(), x, pooling,
                                   APFloat(alpha), APFloat(beta));
  takeNames(root, raised);
  rewriter->replaceOp(root, raised.getY());
  ++numRaised;
  return true;
}

void RaisePooling::raiseSum(Operation *root) {
  if (root->getNumOperands() != 2)
    return;
  double sign = root->getName().getStringRef() == "onnx.Sub" ? -1 : 1;
  double first, second;
  Value a = splitFactor(root->getOperand(0), first);
  Value b = splitFactor(root->getOperand(1), second);
  second *= sign;
  if (!raiseTerms(root, a, first, b, second))
    raiseTerms(root, b, second, a, first);
}

//===----------------------------------------------------------------------===//
// Pooling experts
//===----------------------------------------------------------------------===//

/// Whether a vector is 0, 1, ... n-1 for the n maps of `maps`.
static bool numbersMaps(Value vector, Value maps) {
  Operation *range = match::getNode(vector, "onnx.Range");
  if (range && match::isNumber(range->getOperand(0), 0) &&
      match::isNumber(range->getOperand(2), 1))
    return sameExtent(vector, 0, maps, 0);
  int64_t n = 0;
  return match::isIota(vector, n) && match::getRank(vector) == 1 &&
         getExtent(maps, 0) == n;
}

/// A vector that is one column of an index matrix.
static Value asVector(Value column) {
  column = match::strip(column);
  Operation *op = column ? column.getDefiningOp() : nullptr;
  if (op && (match::getOperator(column) == "Unsqueeze" ||
             match::getOperator(column) == "Reshape"))
    column = match::getInput(op, 0);
  return match::getRank(column) == 1 ? column : Value();
}

void RaisePooling::raiseChoice(Operation *gather) {
  if (match::getInt(gather, "batch_dims", 0) != 0)
    return;
  Operation *stack = match::getNode(gather->getOperand(0), "onnx.Concat");
  Operation *index = match::getNode(gather->getOperand(1), "onnx.Concat");
  if (!stack || !index || index->getNumOperands() != 2 ||
      match::getRank(index->getResult(0)) != 2)
    return;
  int64_t rank = match::getRank(stack->getResult(0));
  std::optional<int64_t> axis = match::getAxis(stack, "axis", 0, rank);
  if (!axis || *axis > 1)
    return;

  // All experts see the same maps.
  Value x;
  SmallVector<Attribute> experts;
  bool anyPool = false;
  std::string why;
  Operation *at = gather;
  for (Value part : stack->getOperands()) {
    Operation *unsqueeze = match::getNode(part, "onnx.Unsqueeze");
    std::optional<SmallVector<int64_t>> axes;
    if (unsqueeze)
      axes = match::getAxes(unsqueeze);
    if (!axes || axes->size() != 1 || axes->front() != *axis)
      return;
    Value expert = match::getInput(unsqueeze, 0);
    std::optional<ExpertPool> pool = ExpertPool::read(expert, why);
    anyPool |= pool.has_value();
    if (!pool) {
      at = expert.getDefiningOp() ? expert.getDefiningOp() : gather;
      continue;
    }
    if (!x)
      x = pool->x;
    if (x != pool->x) {
      why = "another input than the others";
      at = expert.getDefiningOp();
      continue;
    }
    experts.push_back(pool->pooling);
  }
  if (!anyPool) // A choice among other things.
    return;
  if (experts.size() != stack->getNumOperands())
    return missed(at, "an expert of a choice among pools has " + why);

  unsigned choiceColumn = *axis == 0 ? 0 : 1;
  Value choice = asVector(index->getOperand(choiceColumn));
  Value maps = asVector(index->getOperand(1 - choiceColumn));
  auto result = dyn_cast<RankedTensorType>(gather->getResult(0).getType());
  if (!choice || !maps || !result || result.getRank() != rank - 1 ||
      !numbersMaps(maps, x))
    return missed(gather, "a choice among pools does not choose one for each "
                          "map");
  if (match::getOperator(choice) != "ArgMax" &&
      match::getOperator(choice) != "Cast")
    return missed(gather, "a choice among pools comes from no argmax: an index "
                          "may be negative");
  if (Operation *cast = match::getNode(choice, "onnx.Cast"))
    if (match::getOperator(cast->getOperand(0)) != "ArgMax")
      return missed(gather, "a choice among pools comes from no argmax: an "
                            "index may be negative");
  rewriter->setInsertionPoint(gather);
  auto raised =
      ir::PoolSelectOp::create(*rewriter, gather->getLoc(), result, x, choice,
                               rewriter->getArrayAttr(experts));
  takeNames(gather, raised);
  rewriter->replaceOp(gather, raised.getY());
  ++numRaised;
}

/// Whether a value is one column of a softmax, of a number for each map.
static bool isGate(Value value) {
  for (unsigned step = 0; step < 4; ++step) {
    StringRef name = match::getOperator(value);
    if (name != "Unsqueeze" && name != "Reshape" && name != "Squeeze")
      break;
    value = match::getInput(match::strip(value).getDefiningOp(), 0);
  }
  StringRef name = match::getOperator(value);
  if (name != "Gather" && name != "Slice" && name != "Split")
    return false;
  Operation *column = match::strip(value).getDefiningOp();
  return match::getOperator(column->getOperand(0)) == "Softmax";
}

void RaisePooling::noteSoftGate(Operation *mul) {
  for (auto [i, operand] : llvm::enumerate(mul->getOperands())) {
    Operation *pool = match::strip(operand).getDefiningOp();
    if (!pool || (!isPool(pool) && !isa<ir::PoolOp>(pool)) ||
        mul->getNumOperands() != 2 || !isGate(mul->getOperand(1 - i)))
      continue;
    return missed(mul, "pools weighted by a softmax all run: there is nothing "
                       "to choose, so their sum stays");
  }
}

//===----------------------------------------------------------------------===//
// The pass
//===----------------------------------------------------------------------===//

void RaisePooling::walk(StringRef what,
                        llvm::function_ref<void(Operation *)> visit) {
  SmallVector<Operation *> nodes;
  SmallVector<StringRef> names;
  what.split(names, ' ');
  getOperation().walk([&](Operation *op) {
    StringRef name = op->getName().getStringRef();
    if (name.consume_front("onnx.") && llvm::is_contained(names, name))
      nodes.push_back(op);
  });
  for (Operation *op : nodes)
    visit(op);
}

void RaisePooling::runOnOperation() {
  IRRewriter local(&getContext());
  rewriter = &local;
  walk("Pow Sqrt", [&](Operation *op) { raisePower(op); });
  walk("Sub Add", [&](Operation *op) { raiseSum(op); });
  walk("GatherND", [&](Operation *op) { raiseChoice(op); });
  walk("Mul", [&](Operation *op) { noteSoftGate(op); });
  if (numRaised == 0)
    return markAllAnalysesPreserved();
  (void)runRegionDCE(local, getOperation()->getRegions());
}
