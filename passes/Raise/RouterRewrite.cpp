//===- RouterRewrite.cpp - moe.route in place of nodes --------------------===//

#include "dialects/ONNX/ONNXDialect.h"
#include "lib/Analysis/Dims.h"
#include "mlir/IR/PatternMatch.h"
#include "mlir/Interfaces/SideEffectInterfaces.h"
#include "passes/Raise/Match.h"
#include "passes/Raise/Nodes.h"
#include "passes/Raise/Router.h"

using namespace mlir;
using namespace moe;

//===----------------------------------------------------------------------===//
// Order
//===----------------------------------------------------------------------===//

namespace {

/// Makes values available in front of a node.
class Hoister {
public:
  Hoister(Operation *point, Operation *stop) : point(point), stop(stop) {}

  /// Whether `value` is there, or can be computed there of what is.
  bool canReach(Value value);
  /// Moves what computes it.
  void reach(Value value);

private:
  bool isThere(Value value) {
    Operation *op = value.getDefiningOp();
    return !op || op->getBlock() != point->getBlock() ||
           op->isBeforeInBlock(point);
  }

  Operation *point, *stop;
  SmallPtrSet<Operation *, 8> seen;
};

} // namespace

bool Hoister::canReach(Value value) {
  if (!value || isThere(value))
    return true;
  Operation *op = value.getDefiningOp();
  if (op == stop || op == point || op->getNumRegions() != 0 ||
      !op->getName().getStringRef().starts_with("onnx.") || seen.size() > 64)
    return false;
  if (!seen.insert(op).second)
    return true;
  return llvm::all_of(op->getOperands(),
                      [&](Value operand) { return canReach(operand); });
}

void Hoister::reach(Value value) {
  if (!value || isThere(value))
    return;
  Operation *op = value.getDefiningOp();
  for (Value operand : op->getOperands())
    reach(operand);
  op->moveBefore(point);
}

/// Whether nothing but nodes that nothing uses uses `op`; collects these, each
/// behind its users.
static bool collectDead(Operation *op, SmallVectorImpl<Operation *> &dead,
                        unsigned depth = 8) {
  if (depth == 0 || op->getNumResults() == 0 || !isPure(op) ||
      !op->getName().getStringRef().starts_with("onnx."))
    return false;
  for (Operation *user : op->getUsers())
    if (!llvm::is_contained(dead, user) && !collectDead(user, dead, depth - 1))
      return false;
  dead.push_back(op);
  return true;
}

/// Has Shape nodes ask another value of the same shape.
static void moveShapes(RewriterBase &rewriter, Operation *op,
                       ArrayRef<Value> others) {
  if (!op->getName().getStringRef().starts_with("onnx."))
    return;
  SmallVector<Value> candidates(op->getOperands());
  llvm::append_range(candidates, others);
  for (Value result : op->getResults())
    for (OpOperand &use : llvm::make_early_inc_range(result.getUses())) {
      if (use.getOwner()->getName().getStringRef() != "onnx.Shape")
        continue;
      for (Value other : candidates)
        if (sameExtents(other, result)) {
          rewriter.modifyOpInPlace(use.getOwner(), [&] { use.set(other); });
          break;
        }
    }
}

void moe::eraseUnused(RewriterBase &rewriter, ArrayRef<Operation *> roots,
                      ArrayRef<Value> others) {
  SmallVector<Operation *> todo(roots);
  SmallPtrSet<Operation *, 16> gone;
  while (!todo.empty()) {
    Operation *op = todo.pop_back_val();
    SmallVector<Operation *> dead;
    if (gone.contains(op))
      continue;
    moveShapes(rewriter, op, others);
    if (!collectDead(op, dead))
      continue;
    for (Operation *next : dead) {
      for (Value operand : next->getOperands())
        if (Operation *def = operand.getDefiningOp())
          todo.push_back(def);
      gone.insert(next);
      rewriter.eraseOp(next);
    }
  }
}

//===----------------------------------------------------------------------===//
// Writing
//===----------------------------------------------------------------------===//

namespace {

class Writer {
public:
  Writer(RewriterBase &rewriter, const Router &router)
      : b(rewriter), router(router), loc(router.anchor->getLoc()),
        nodes(rewriter, loc) {}

  void run();

private:
  ir::RouteOp createRoute();
  Value toMatrix(Value rows);
  Value toVector(Value perExpert);
  Value castTo(Value value, Type element);
  Value ints(ArrayRef<int64_t> values);
  Value shapeOf(Value value);
  Value createShape(RankedTensorType type, bool isFlat);
  Value toShapeOf(Value matrix, Value target);
  void replace(Value from, Value to);
  Value replaceIds(ir::RouteOp route);
  void replaceDense(ir::RouteOp route, Value ids);

  RewriterBase &b;
  const Router &router;
  Location loc;
  NodeBuilder nodes;
  Value leadingShape;
};

} // namespace

Value Writer::ints(ArrayRef<int64_t> values) {
  auto type = RankedTensorType::get({static_cast<int64_t>(values.size())},
                                    b.getI64Type());
  return nodes.create(
      "onnx.Constant", {}, type,
      b.getNamedAttr("value", DenseElementsAttr::get(type, values)));
}

Value Writer::castTo(Value value, Type element) {
  auto type = cast<RankedTensorType>(value.getType());
  if (type.getElementType() == element)
    return value;
  return nodes.create(
      "onnx.Cast", value, type.clone(element),
      b.getNamedAttr("to", b.getI64IntegerAttr(onnx::getDataType(element))));
}

/// [tokens, columns].
Value Writer::toMatrix(Value rows) {
  if (!rows)
    return {};
  auto type = cast<RankedTensorType>(rows.getType());
  if (type.getRank() == 2)
    return rows;
  int64_t tokens = 1;
  for (int64_t extent : type.getShape().drop_back())
    tokens = ShapedType::isDynamic(extent) || ShapedType::isDynamic(tokens)
                 ? ShapedType::kDynamic
                 : tokens * extent;
  auto flat = RankedTensorType::get({tokens, type.getShape().back()},
                                    type.getElementType());
  return nodes.create(
      "onnx.Flatten", rows, flat,
      b.getNamedAttr("axis", b.getI64IntegerAttr(type.getRank() - 1)));
}

/// [experts].
Value Writer::toVector(Value perExpert) {
  if (!perExpert)
    return {};
  Value base = stripRows(perExpert);
  if (match::getRank(base) == 1)
    return base;
  int64_t experts = getColumns(perExpert);
  auto type = cast<RankedTensorType>(perExpert.getType());
  return nodes.create("onnx.Reshape", {perExpert, ints(experts)},
                      RankedTensorType::get({experts}, type.getElementType()));
}

ir::RouteOp Writer::createRoute() {
  Value logits = toMatrix(router.logits), forced = toMatrix(router.forced);
  if (forced)
    forced = castTo(forced, b.getI32Type());
  Type element = match::getElementType(logits);
  SmallVector<int64_t> shape{getExtent(logits, 0), router.routing.k};
  Type weight = element.isF64() ? b.getF64Type() : b.getF32Type();
  return ir::RouteOp::create(
      b, nodes.nameOf("moe.Route"),
      RankedTensorType::get(shape, b.getI32Type()),
      RankedTensorType::get(shape, weight), logits, toVector(router.selectBias),
      toVector(router.expertScale), toMatrix(router.mix), forced,
      /*valid=*/Value(), router.routing.get(b.getContext()));
}

Value Writer::shapeOf(Value value) {
  return nodes.create(
      "onnx.Shape", value,
      RankedTensorType::get({match::getRank(value)}, b.getI64Type()));
}

/// The shape of a value of type `type`: the leading extents of `shaped`, and
/// the slots if it has them.
Value Writer::createShape(RankedTensorType type, bool isFlat) {
  if (llvm::count(type.getShape(), ShapedType::kDynamic) <= 1) {
    SmallVector<int64_t> shape(type.getShape());
    for (int64_t &extent : shape)
      extent = ShapedType::isDynamic(extent) ? -1 : extent;
    return ints(shape);
  }
  int64_t leading = match::getRank(router.shaped) - 1;
  Value shape = nodes.create(
      "onnx.Slice", {shapeOf(router.shaped), ints(0), ints(leading), ints(0)},
      RankedTensorType::get({leading}, b.getI64Type()));
  if (isFlat)
    return shape;
  return nodes.create("onnx.Concat", {shape, ints(type.getShape().back())},
                      RankedTensorType::get({leading + 1}, b.getI64Type()),
                      b.getNamedAttr("axis", b.getI64IntegerAttr(0)));
}

/// A result of the new op with the type of the value that it replaces.
Value Writer::toShapeOf(Value matrix, Value target) {
  auto type = cast<RankedTensorType>(target.getType());
  Value value = castTo(matrix, type.getElementType());
  if (value.getType() == type)
    return value;
  bool isFlat = type.getRank() == match::getRank(router.shaped) - 1;
  return nodes.reshape(value, createShape(type, isFlat), type);
}

/// Users of `from` that stand behind the new op.
void Writer::replace(Value from, Value to) {
  // The new value keeps its names, unless the old one stays.
  auto result = cast<OpResult>(from);
  Operation *made = to.getDefiningOp();
  if (made->getNumResults() == 1 && from != router.forced)
    for (StringRef name :
         {StringRef(onnx::names::kOutputs), StringRef(onnx::names::kDims)})
      if (auto list = dyn_cast_or_null<ArrayAttr>(
              result.getOwner()->getDiscardableAttr(name)))
        if (result.getResultNumber() < list.size())
          made->setDiscardableAttr(
              name, b.getArrayAttr(list[result.getResultNumber()]));
  Operation *behind = router.anchor;
  b.replaceUsesWithIf(from, to, [&](OpOperand &use) {
    if (!router.forced || from != router.ids)
      return true;
    Operation *user =
        behind->getBlock()->findAncestorOpInBlock(*use.getOwner());
    return user && behind->isBeforeInBlock(user);
  });
}

/// Returns the ids in the type and shape that they had.
Value Writer::replaceIds(ir::RouteOp route) {
  Value ids = toShapeOf(route.getIds(), router.ids);
  replace(router.ids, ids);
  // i32 is what there is already.
  SmallVector<Operation *> casts;
  for (Operation *user : ids.getUsers())
    if (user->getName().getStringRef() == "onnx.Cast" &&
        user->getResult(0).getType() == route.getIds().getType() &&
        match::getRank(router.ids) == 2)
      casts.push_back(user);
  for (Operation *cast : casts) {
    b.replaceOp(cast, route.getIds());
  }
  return ids;
}

/// Weights at their experts in a matrix of zeros.
void Writer::replaceDense(ir::RouteOp route, Value ids) {
  auto type = cast<RankedTensorType>(router.dense.getType());
  Type element = type.getElementType();
  auto zero = DenseElementsAttr::get(RankedTensorType::get({1}, element),
                                     b.getZeroAttr(element));
  Value zeros = nodes.create("onnx.ConstantOfShape", shapeOf(router.shaped),
                             type, b.getNamedAttr("value", zero));
  auto slots = cast<RankedTensorType>(ids.getType());
  Value weights = castTo(route.getWeights(), element);
  if (weights.getType() != slots.clone(element))
    weights = nodes.reshape(weights, createShape(slots, /*isFlat=*/false),
                            slots.clone(element));
  Value dense = nodes.create(
      "onnx.ScatterElements", {zeros, ids, weights}, type,
      b.getNamedAttr("axis", b.getI64IntegerAttr(type.getRank() - 1)));
  replace(router.dense, dense);
}

void Writer::run() {
  ir::RouteOp route = createRoute();
  SmallVector<Operation *> roots{router.anchor};
  for (Value old : {router.ids, router.weights, router.dense})
    if (old && !llvm::is_contained(roots, old.getDefiningOp()))
      roots.push_back(old.getDefiningOp());
  Value ids = replaceIds(route);
  if (router.dense)
    replaceDense(route, ids);
  SmallVector<Value> results{ids};
  if (router.weights) {
    results.push_back(toShapeOf(route.getWeights(), router.weights));
    replace(router.weights, results.back());
  }
  eraseUnused(b, roots, results);
}

bool moe::rewriteRouter(RewriterBase &rewriter, const Router &router,
                        Refusal &refuse) {
  // Users of both results stand behind the first of them. Ids of a table are
  // there already.
  Operation *point = router.forced ? router.anchor : router.ids.getDefiningOp();
  for (Value value : {router.weights, router.dense})
    if (value) {
      Operation *op = value.getDefiningOp();
      if (op->getBlock() != point->getBlock())
        return refuse(op, "ids and weights are computed in different graphs");
      if (op->isBeforeInBlock(point))
        point = op;
    }
  Hoister hoister(point, router.anchor);
  Value operands[] = {router.logits, router.selectBias, router.expertScale,
                      router.mix,    router.forced,     router.shaped};
  for (Value operand : operands)
    if (!hoister.canReach(operand))
      return refuse(operand.getDefiningOp(),
                    "an operand of the router depends on what is chosen");
  for (Value operand : operands)
    hoister.reach(operand);
  rewriter.setInsertionPoint(point);
  Writer(rewriter, router).run();
  return true;
}
