//===- CapacityPlan.cpp - from masks of a capacity to moe.capacity --------===//

#include "passes/Raise/CapacityPlan.h"
#include "dialects/MoE/MoEDialect.h"
#include "dialects/ONNX/ONNXDialect.h"
#include "lib/Analysis/Dims.h"
#include "passes/Raise/Banks.h"
#include "passes/Raise/Match.h"
#include "passes/Raise/Nodes.h"
#include <algorithm>
#include <limits>

using namespace mlir;
using namespace moe;

//===----------------------------------------------------------------------===//
// Ids
//===----------------------------------------------------------------------===//

/// A router that leaves no slot empty.
static bool picksAlways(ir::RouteOp route) {
  ir::RoutingAttr routing = route.getRouting();
  return !route.getForced() && !route.getValid() &&
         routing.getMinRatio().isZero() && routing.getMinProb().isZero() &&
         routing.getTopP().convertToDouble() == 1;
}

bool moe::areIdsBelow(Value ids, int64_t experts) {
  auto result = dyn_cast<OpResult>(match::strip(ids));
  if (!result)
    return false;
  Operation *op = result.getOwner();
  auto isShort = [&](Value of, std::optional<int64_t> axis) {
    if (!axis)
      return false;
    int64_t extent = getExtent(of, *axis);
    return !ShapedType::isDynamic(extent) && extent <= experts;
  };
  if (auto route = dyn_cast<ir::RouteOp>(op))
    return result.getResultNumber() == 0 && picksAlways(route) &&
           isShort(route.getLogits(), 1);
  StringRef name = op->getName().getStringRef();
  if (!name.consume_front("onnx."))
    return false;
  Value first = op->getNumOperands() ? op->getOperand(0) : Value();
  int64_t rank = first ? match::getRank(first) : -1;
  if (name == "TopK")
    return result.getResultNumber() == 1 &&
           isShort(first, match::getAxis(op, "axis", -1, rank));
  if (name == "ArgMax" || name == "ArgMin")
    return isShort(first, match::getAxis(op, "axis", 0, rank));
  if (name == "Concat")
    return llvm::all_of(op->getOperands(),
                        [&](Value part) { return areIdsBelow(part, experts); });
  // What keeps or moves elements.
  for (StringRef move : {"Cast", "Gather", "GatherElements", "GatherND",
                         "Slice", "Split", "Squeeze", "Unsqueeze", "Reshape",
                         "Flatten", "Transpose", "Expand", "Identity"})
    if (name == move) {
      Type element = match::getElementType(first);
      return element && element.isIntOrIndex() && !element.isInteger(1) &&
             areIdsBelow(first, experts);
    }
  std::optional<match::Constant> known = match::evaluate(result);
  if (!known || known->isReal())
    return false;
  return llvm::all_of(known->ints,
                      [&](int64_t id) { return id >= 0 && id < experts; });
}

/// Reads through the operators that weights are made with.
bool moe::isNonNegative(Value value, unsigned depth) {
  value = match::strip(value);
  if (std::optional<match::Constant> known = match::evaluate(value)) {
    for (int64_t i = 0; i < known->size(); ++i)
      if (known->get(i) < 0)
        return false;
    return true;
  }
  auto result = dyn_cast<OpResult>(value);
  if (!result || depth > 16)
    return false;
  Operation *op = result.getOwner();
  auto isFine = [&](Value operand) {
    return !operand || isNonNegative(operand, depth + 1);
  };
  if (auto route = dyn_cast<ir::RouteOp>(op)) {
    ir::RoutingAttr routing = route.getRouting();
    return result.getResultNumber() == 1 && !route.getMix() &&
           !route.getExpertScale() &&
           (routing.getScore() == ir::Score::Softmax ||
            routing.getScore() == ir::Score::Sigmoid) &&
           !routing.getScale().isNegative() && !routing.getEps().isNegative();
  }
  StringRef name = op->getName().getStringRef();
  if (!name.consume_front("onnx."))
    return false;
  auto isAny = [&](std::initializer_list<StringRef> names) {
    return llvm::is_contained(names, name);
  };
  if (isAny({"Softmax", "Sigmoid", "Exp", "Relu", "Abs", "Sqrt", "ReduceL1",
             "ReduceL2", "Softplus"}))
    return true;
  Value x;
  double least, most;
  if (name == "Clip" && match::matchClamp(value, x, least, most))
    return least >= 0 || isFine(x);
  if (name == "Cast" && match::getElementType(op->getOperand(0)).isInteger(1))
    return true;
  if (isAny({"Add", "Mul", "Div", "Min", "Max", "Concat", "MatMul"}))
    return llvm::all_of(op->getOperands(), isFine);
  if (name == "OneHot")
    return isFine(op->getOperand(2));
  if (name == "Where")
    return isFine(op->getOperand(1)) && isFine(op->getOperand(2));
  if (name == "TopK" && result.getResultNumber() != 0)
    return false;
  return isAny({"Cast", "TopK", "ReduceSum", "ReduceMax", "ReduceMean",
                "ReduceMin", "Gather", "GatherElements", "GatherND", "Slice",
                "Split", "Reshape", "Flatten", "Squeeze", "Unsqueeze",
                "Transpose", "Expand", "Tile"}) &&
         isFine(op->getOperand(0));
}

//===----------------------------------------------------------------------===//
// Queues
//===----------------------------------------------------------------------===//

int64_t CapacityPlan::getNumChoices() const {
  DimExpr product = DimExpr::constant(1);
  for (const QueueDim &dim : choices)
    product = product * dim.extent;
  return product.isConstant() ? product.getConstant() : ShapedType::kDynamic;
}

/// What is behind `front` in `dims`, if it begins with it.
static std::optional<QueueDims> takePrefix(ArrayRef<QueueDim> dims,
                                           ArrayRef<QueueDim> front) {
  QueueDims rest(llvm::reverse(dims));
  for (const QueueDim &wanted : front) {
    if (rest.empty())
      return std::nullopt;
    QueueDim &first = rest.back();
    if (first == wanted) {
      rest.pop_back();
      continue;
    }
    // The outer part of it.
    DimExpr inner = DimExpr::divideExactly(first.extent, wanted.extent);
    if (first.kind != wanted.kind || first.axis != wanted.axis ||
        first.sorted || wanted.sorted || !inner.isKnown() ||
        wanted.stride != first.stride * inner)
      return std::nullopt;
    first.extent = inner;
  }
  return QueueDims(llvm::reverse(rest));
}

/// Ids and weights of a term and of those that it is the sum with, in the order
/// of the choices: in front of each stand all that come before it.
static bool orderParts(const QueueTerm &term, CapacityPlan &plan, Operation *at,
                       Refusal &refusal) {
  SmallVector<const QueueTerm *> parts{&term};
  for (const QueueTerm &part : term.more)
    parts.push_back(&part);
  llvm::sort(parts, [](const QueueTerm *a, const QueueTerm *b) {
    return a->before.size() < b->before.size();
  });
  auto refuse = [&](const Twine &why) {
    refusal.say(at, why);
    return false;
  };
  for (auto [i, part] : llvm::enumerate(parts)) {
    if (part->before.size() != i)
      return refuse("choices do not queue up one behind the other");
    for (const QueueTerm *earlier : ArrayRef(parts).take_front(i))
      if (llvm::none_of(part->before, [&](const QueueTerm::Before &front) {
            return front.ids == earlier->ids;
          }))
        return refuse("choices do not queue up one behind the other");
    for (const QueueTerm::Before &front : part->before)
      if (plan.places && *plan.places > front.upTo)
        return refuse("a choice has more places than were counted of an "
                      "earlier one");
    if (part->queue != term.queue || part->numExperts != term.numExperts ||
        !part->choices.empty() != !term.choices.empty() ||
        (i > 0 && (!part->choices.empty() || part->order || term.order)))
      return refuse("choices queue up in different ways");
    if (!areIdsBelow(part->ids, plan.numExperts)) {
      refusal.say(part->ids.getDefiningOp(),
                  "ids are not known to be below the number of experts");
      return false;
    }
    plan.ids.push_back(part->ids);
    plan.weights.push_back(part->weights);
  }
  return true;
}

std::optional<CapacityPlan> moe::planCapacity(const QueueTerm &term,
                                              ArrayRef<QueueDim> tokens,
                                              std::optional<int64_t> places,
                                              Operation *at, Refusal &refusal) {
  CapacityPlan plan;
  plan.choices = canonical(term.choices);
  plan.numExperts = term.numExperts;
  plan.places = places;
  if (term.queue.empty())
    return refusal.say(at, "no slots are counted");
  if (!orderParts(term, plan, at, refusal))
    return std::nullopt;
  if (ShapedType::isDynamic(plan.getNumChoices()))
    return refusal.say(at, "the number of slots of a token is not static");

  // The tokens of a queue: what is left of it without the choices.
  std::optional<QueueDims> inQueue = takePrefix(term.queue, plan.choices);
  plan.byChoice = inQueue.has_value();
  if (!inQueue)
    inQueue = takeSuffix(term.queue, plan.choices);
  if (!inQueue || inQueue->empty())
    return refusal.say(at, "slots do not queue up choice by choice or token by "
                           "token");
  if (term.order) {
    QueueDims sorted = term.order->tokens;
    for (QueueDim &dim : sorted)
      dim.sorted = true;
    if (*inQueue != sorted)
      return refusal.say(at, "the tokens of a queue are not those that are "
                             "sorted");
    inQueue = term.order->tokens;
    plan.order = term.order;
  }
  plan.tokens = canonical(*inQueue);
  std::optional<QueueDims> sequences = takeSuffix(tokens, plan.tokens);
  if (!sequences)
    return refusal.say(at, "queues are not those of neighbouring tokens");
  plan.sequences = canonical(*sequences);
  if (term.order && term.order->sequences != plan.sequences)
    return refusal.say(at, "tokens are sorted in other sequences than those "
                           "that queue up");
  return plan;
}

//===----------------------------------------------------------------------===//
// Making moe.capacity
//===----------------------------------------------------------------------===//

namespace {
/// Moves axes about.
class Arranger {
public:
  Arranger(OpBuilder &b, Location loc) : b(b), nodes(b, loc), loc(loc) {}
  Value run(Value value, ArrayRef<QueueDims> axes, ArrayRef<QueueDims> groups);

private:
  Value ints(ArrayRef<int64_t> values);
  Value transpose(Value value, ArrayRef<int64_t> perm);
  Value reshape(Value value, ArrayRef<QueueDims> axes,
                ArrayRef<QueueDims> groups);

  OpBuilder &b;
  NodeBuilder nodes;
  Location loc;
};
} // namespace

static RankedTensorType typeOf(Value value) {
  return cast<RankedTensorType>(value.getType());
}

static int64_t sizeOf(ArrayRef<QueueDim> dims) {
  DimExpr all = extentOf(dims);
  return all.isConstant() ? all.getConstant() : ShapedType::kDynamic;
}

Value Arranger::ints(ArrayRef<int64_t> values) {
  auto type = RankedTensorType::get({static_cast<int64_t>(values.size())},
                                    b.getI64Type());
  return nodes.create(
      "onnx.Constant", {}, type,
      b.getNamedAttr("value", DenseElementsAttr::get(type, values)));
}

Value Arranger::transpose(Value value, ArrayRef<int64_t> perm) {
  SmallVector<int64_t> shape;
  for (int64_t axis : perm)
    shape.push_back(getExtent(value, axis));
  return nodes.create(
      "onnx.Transpose", value,
      RankedTensorType::get(shape, typeOf(value).getElementType()),
      b.getNamedAttr("perm", b.getDenseI64ArrayAttr(perm)));
}

/// Same elements, one axis for each group.
Value Arranger::reshape(Value value, ArrayRef<QueueDims> axes,
                        ArrayRef<QueueDims> groups) {
  Type element = typeOf(value).getElementType();
  SmallVector<int64_t> shape, target;
  for (const QueueDims &group : groups) {
    shape.push_back(sizeOf(group));
    target.push_back(ShapedType::isDynamic(shape.back()) ? -1 : shape.back());
  }
  auto type = RankedTensorType::get(shape, element);
  auto isSame = [&] {
    return axes.size() == groups.size() &&
           llvm::all_of(llvm::zip(axes, groups), [](auto pair) {
             return canonical(std::get<0>(pair)) ==
                    canonical(std::get<1>(pair));
           });
  };
  if (isSame())
    return value;
  // Only axes of extent 1 come and go.
  auto nonUnits = [](ArrayRef<QueueDims> all) {
    SmallVector<QueueDims> kept;
    for (const QueueDims &axis : all)
      if (!axis.empty())
        kept.push_back(canonical(axis));
    return kept;
  };
  if (nonUnits(axes) == nonUnits(groups)) {
    SmallVector<int64_t> gone, added, inner;
    for (auto [i, axis] : llvm::enumerate(axes))
      if (axis.empty())
        gone.push_back(i);
      else
        inner.push_back(getExtent(value, i));
    for (auto [i, group] : llvm::enumerate(groups))
      if (group.empty())
        added.push_back(i);
    if (!gone.empty())
      value = nodes.create("onnx.Squeeze", {value, ints(gone)},
                           RankedTensorType::get(inner, element));
    if (!added.empty())
      value = nodes.create("onnx.Unsqueeze", {value, ints(added)}, type);
    return value;
  }
  if (llvm::count(target, -1) > 1)
    return {};
  return nodes.create("onnx.Reshape", {value, ints(target)}, type);
}

Value Arranger::run(Value value, ArrayRef<QueueDims> axes,
                    ArrayRef<QueueDims> groups) {
  QueueDims wanted = flatten(groups);
  SmallVector<int64_t> perm =
      llvm::to_vector(llvm::seq<int64_t>(0, static_cast<int64_t>(axes.size())));
  if (axes.size() > 6)
    return {};
  do {
    QueueAxes moved;
    for (int64_t axis : perm)
      moved.push_back(axes[axis]);
    if (flatten(moved) != wanted)
      continue;
    if (!llvm::is_sorted(perm))
      value = transpose(value, perm);
    return reshape(value, moved, groups);
  } while (std::next_permutation(perm.begin(), perm.end()));
  return {};
}

Value moe::arrange(OpBuilder &b, Location loc, Value value,
                   ArrayRef<QueueDims> axes, ArrayRef<QueueDims> groups) {
  return Arranger(b, loc).run(value, axes, groups);
}

namespace {
class CapacityBuilder {
public:
  CapacityBuilder(OpBuilder &b, Location loc, CapacityPlan &plan,
                  DimContext &dims, Refusal &refusal)
      : b(b), nodes(b, loc), loc(loc), plan(plan), dims(dims),
        refusal(refusal) {
    if (!plan.sequences.empty())
      groups.push_back(plan.sequences);
    groups.push_back(plan.tokens);
  }
  std::optional<KeptSlots> build();

private:
  Value getIds(Value given);
  Value getWeights(ArrayRef<SlotWeight> weights, Value ids);
  Value concat(ArrayRef<Value> parts);
  Value getWeight(const SlotWeight &weight, Value ids);
  Value getScores();
  Value cast(Value value, Type element);
  SmallVector<QueueDims> withLast(const QueueDims &last) {
    SmallVector<QueueDims> all(groups);
    all.push_back(last);
    return all;
  }

  OpBuilder &b;
  NodeBuilder nodes;
  Location loc;
  CapacityPlan &plan;
  DimContext &dims;
  Refusal &refusal;
  SmallVector<QueueDims> groups;
};
} // namespace

Value CapacityBuilder::cast(Value value, Type element) {
  if (typeOf(value).getElementType() == element)
    return value;
  return nodes.create(
      "onnx.Cast", value, typeOf(value).clone(element),
      b.getNamedAttr("to", b.getI64IntegerAttr(onnx::getDataType(element))));
}

Value CapacityBuilder::getIds(Value given) {
  Value ids = given;
  plan.cuts.push_back({ids, plan.numExperts});
  QueueAxes axes;
  for (auto [i, extent] : llvm::enumerate(getDims(ids))) {
    QueueDims &axis = axes.emplace_back();
    if (!extent.isStatic() || extent.size != 1)
      axis.push_back({QueueDim::Kind::Slot, static_cast<int64_t>(i),
                      DimExpr::constant(1), toExpr(dims, extent)});
  }
  // A router that is raised gives i32 before a cast.
  if (Operation *op = match::getNode(ids, "onnx.Cast");
      op && match::getElementType(op->getOperand(0)).isSignlessInteger(32))
    ids = op->getOperand(0);
  ids = arrange(b, loc, ids, axes, withLast(plan.choices));
  if (!ids) {
    refusal.say(given.getDefiningOp(), "the ids of slots are not in the "
                                       "order of tokens");
    return {};
  }
  return cast(ids, b.getI32Type());
}

/// A weight as [.., k] or [.., 1].
Value CapacityBuilder::getWeight(const SlotWeight &weight, Value ids) {
  Value value = weight.value;
  QueueAxes axes = weight.axes;
  // Axes that the value had before anything moved or sorted them.
  for (bool unsorted : {false, true}) {
    if (unsorted) {
      bool sorted = llvm::any_of(axes, [](const QueueDims &axis) {
        return llvm::any_of(axis, [](auto &dim) { return dim.sorted; });
      });
      if (!sorted)
        break;
      value = plan.order ? unsortTokens(value, *plan.order, dims) : Value();
      if (!value) {
        refusal.say(weight.value.getDefiningOp(),
                    "weights are not sorted as the slots are");
        return {};
      }
      for (QueueDims &axis : axes)
        for (QueueDim &dim : axis)
          dim.sorted = false;
    }
    View view = View::of(value, dims);
    if (std::optional<QueueAxes> ofBase = dimsOfBase(view, axes)) {
      value = view.getBase();
      axes = *ofBase;
    }
  }
  QueueDims expert = {
      {QueueDim::Kind::Expert, 0, {}, DimExpr::constant(plan.numExperts)}};
  Value arranged;
  for (const QueueDims &last : {plan.choices, QueueDims(), expert}) {
    arranged = arrange(b, loc, value, axes, withLast(last));
    if (!arranged)
      continue;
    if (last == expert) {
      // Of all experts: those of the slots.
      auto type = RankedTensorType::get(typeOf(ids).getShape(),
                                        typeOf(arranged).getElementType());
      arranged = nodes.create("onnx.GatherElements",
                              {arranged, cast(ids, b.getI64Type())}, type,
                              b.getNamedAttr("axis", b.getI64IntegerAttr(-1)));
    }
    break;
  }
  // One number for all tokens of a batch.
  if (!arranged && flatten(axes).empty())
    arranged = Arranger(b, loc).run(value, axes,
                                    SmallVector<QueueDims>(groups.size() + 1));
  if (!arranged) {
    refusal.say(weight.value.getDefiningOp(),
                "weights do not belong to slots or tokens");
    return {};
  }
  // A check draws negative numbers too, which a model may rely on not to have.
  if (!match::isConstant(value) && !isNonNegative(value))
    plan.cuts.push_back({value});
  Type element = typeOf(arranged).getElementType();
  return element.isF64() ? arranged : cast(arranged, b.getF32Type());
}

Value CapacityBuilder::getWeights(ArrayRef<SlotWeight> weights, Value ids) {
  Value all;
  for (const SlotWeight &weight : weights) {
    Value one = getWeight(weight, ids);
    if (!one)
      return {};
    if (all) {
      Type element = typeOf(all).getElementType();
      if (typeOf(one).getElementType() != element) {
        refusal.say(weight.value.getDefiningOp(), "weights differ in type");
        return {};
      }
      SmallVector<int64_t> shape;
      for (auto [x, y] :
           llvm::zip(typeOf(all).getShape(), typeOf(one).getShape()))
        shape.push_back(x == 1 ? y : x);
      all = nodes.create("onnx.Mul", {all, one},
                         RankedTensorType::get(shape, element));
    } else {
      all = one;
    }
  }
  RankedTensorType idsType = typeOf(ids);
  if (all && typeOf(all).getShape() == idsType.getShape())
    return all;
  Type element = all ? typeOf(all).getElementType() : Type(b.getF32Type());
  if (!all) {
    auto scalar = RankedTensorType::get({}, element);
    all = nodes.create(
        "onnx.Constant", {}, scalar,
        b.getNamedAttr("value", DenseElementsAttr::get(scalar, 1.0f)));
  }
  Value shape =
      nodes.create("onnx.Shape", ids,
                   RankedTensorType::get({idsType.getRank()}, b.getI64Type()));
  return nodes.create("onnx.Expand", {all, shape}, idsType.clone(element));
}

/// What tokens are sorted by, descending.
Value CapacityBuilder::getScores() {
  Operation *topK = plan.order->order.getDefiningOp();
  Value scores = match::strip(topK->getOperand(0));
  if (!match::getInt(topK, "largest", 1)) {
    Operation *negated = match::getNode(scores, "onnx.Neg");
    Value x;
    double factor;
    if (negated)
      scores = negated->getOperand(0);
    else if (match::matchScale(scores, x, factor) && factor == -1)
      scores = x;
    else {
      refusal.say(topK, "tokens with the least score come first");
      return {};
    }
  }
  plan.cuts.push_back({scores});
  // The axes of the order are those of the scores.
  QueueAxes axes;
  int64_t rank = match::getRank(scores);
  std::optional<QueueAxes> leading;
  SmallVector<DimExpr> extents;
  for (const Extent &extent : getDims(scores))
    extents.push_back(toExpr(dims, extent));
  QueueDims all = plan.order->sequences;
  all.append(plan.order->tokens);
  leading = align(extents, all);
  Value arranged =
      rank > 0 && leading ? arrange(b, loc, scores, *leading, groups) : Value();
  if (!arranged) {
    refusal.say(topK, "the scores that tokens are sorted by are not in the "
                      "order of tokens");
    return {};
  }
  Type element = typeOf(arranged).getElementType();
  return element.isF64() ? arranged : cast(arranged, b.getF32Type());
}

/// Choices beside each other.
Value CapacityBuilder::concat(ArrayRef<Value> parts) {
  if (parts.size() == 1)
    return parts[0];
  SmallVector<int64_t> shape(typeOf(parts[0]).getShape());
  shape.back() = parts.size();
  return nodes.create(
      "onnx.Concat", parts,
      RankedTensorType::get(shape, typeOf(parts[0]).getElementType()),
      b.getNamedAttr("axis", b.getI64IntegerAttr(-1)));
}

std::optional<KeptSlots> CapacityBuilder::build() {
  SmallVector<Value> allIds, allWeights;
  for (auto [given, factors] : llvm::zip(plan.ids, plan.weights)) {
    Value one = getIds(given);
    Value scale = one ? getWeights(factors, one) : Value();
    if (!scale)
      return std::nullopt;
    if (!allWeights.empty() && typeOf(scale).getElementType() !=
                                   typeOf(allWeights[0]).getElementType())
      return refusal.say(given.getDefiningOp(), "weights differ in type");
    allIds.push_back(one);
    allWeights.push_back(scale);
  }
  Value ids = concat(allIds), weights = concat(allWeights);
  if (!plan.places)
    return KeptSlots{ids, weights};
  Value scores;
  ir::Priority priority = ir::Priority::None;
  if (plan.order) {
    priority = ir::Priority::Prob;
    scores = getScores();
    if (!scores)
      return std::nullopt;
  }
  MLIRContext *context = b.getContext();
  auto op = ir::CapacityOp::create(
      b, loc, ids.getType(), weights.getType(), ids, weights, scores,
      b.getI64IntegerAttr(plan.numExperts),
      ir::CapacityModeAttr::get(context, ir::CapacityMode::Absolute),
      b.getF64FloatAttr(static_cast<double>(*plan.places)),
      ir::QueueOrderAttr::get(context, plan.byChoice ? ir::QueueOrder::Choice
                                                     : ir::QueueOrder::Token),
      ir::PriorityAttr::get(context, priority));
  return KeptSlots{op.getKeptIds(), op.getKeptWeights()};
}

std::optional<KeptSlots> moe::buildCapacity(OpBuilder &b, Location loc,
                                            CapacityPlan &plan,
                                            DimContext &dims,
                                            Refusal &refusal) {
  return CapacityBuilder(b, loc, plan, dims, refusal).build();
}
