//===- View.cpp - values that only move elements of another ---------------===//

#include "passes/Raise/View.h"
#include "dialects/ONNX/ONNXDialect.h"
#include "lib/Analysis/Dims.h"
#include "mlir/IR/BuiltinAttributes.h"
#include "mlir/IR/BuiltinTypes.h"
#include "mlir/IR/Operation.h"
#include "llvm/ADT/StringSwitch.h"

using namespace mlir;
using namespace moe;

namespace {
enum class Move { None, Shape, Expand, Tile, Transpose, Nothing };
} // namespace

/// What an operator does with the elements of its first operand.
static Move getMove(Operation *op, bool throughCasts) {
  StringRef name = op->getName().getStringRef();
  if (!name.consume_front("onnx."))
    return Move::None;
  if (name == "Cast" || name == "CastLike") {
    auto from = dyn_cast<ShapedType>(op->getOperand(0).getType());
    auto to = dyn_cast<ShapedType>(op->getResult(0).getType());
    bool same = from && to && from.getElementType() == to.getElementType();
    return same || throughCasts ? Move::Nothing : Move::None;
  }
  return llvm::StringSwitch<Move>(name)
      .Cases({"Reshape", "Flatten", "Squeeze", "Unsqueeze"}, Move::Shape)
      .Case("Expand", Move::Expand)
      .Case("Tile", Move::Tile)
      .Case("Transpose", Move::Transpose)
      .Case("Identity", Move::Nothing)
      .Default(Move::None);
}

View View::of(Value value, DimContext &dims, Value stop, bool throughCasts) {
  SmallVector<Operation *> chain;
  Value at = value;
  while (at != stop) {
    Operation *op = at.getDefiningOp();
    if (!op || getMove(op, throughCasts) == Move::None)
      break;
    chain.push_back(op);
    at = op->getOperand(0);
  }
  // From the far end. Where a step is not understood, the view begins behind
  // it.
  View view;
  bool known = view.start(at, dims);
  for (Operation *op : llvm::reverse(chain)) {
    if (known && view.apply(op, dims))
      continue;
    view = View();
    known = view.start(op->getResult(0), dims);
  }
  return view;
}

Factor View::makeFactor(int64_t axis, DimExpr extent) {
  return Factor{nextId++, axis, std::move(extent)};
}

/// False for values without a rank.
bool View::start(Value value, DimContext &dims) {
  base = value;
  if (!isa<RankedTensorType>(value.getType()))
    return false;
  for (auto [i, extent] : llvm::enumerate(getDims(value))) {
    DimExpr expr = toExpr(dims, extent);
    Factors &factors = baseAxes.emplace_back();
    if (!expr.isConstant(1))
      factors.push_back(makeFactor(i, expr));
    axes.push_back(factors);
  }
  return true;
}

bool View::apply(Operation *op, DimContext &dims) {
  Value result = op->getResult(0);
  if (!isa<RankedTensorType>(result.getType()))
    return false;
  switch (getMove(op, /*throughCasts=*/true)) {
  case Move::Shape:
    return reshape(result, dims);
  case Move::Expand:
    return expand(result, dims);
  case Move::Tile:
    return tile(op);
  case Move::Transpose:
    return transpose(op);
  case Move::Nothing:
    return true;
  case Move::None:
    break;
  }
  return false;
}

/// Takes a factor apart wherever it occurs.
void View::split(const Factor &factor, const DimExpr &outer,
                 const DimExpr &inner) {
  Factor a = makeFactor(factor.axis, outer), b = makeFactor(factor.axis, inner);
  unsigned id = factor.id;
  auto replaceIn = [&](Factors &factors) {
    for (auto *it = factors.begin(); it != factors.end(); ++it)
      if (it->id == id) {
        *it = b;
        factors.insert(it, a);
        return;
      }
  };
  for (Factors &factors : axes)
    replaceIn(factors);
  for (Factors &factors : baseAxes)
    replaceIn(factors);
}

/// The axes of the result take the factors from the left, each until its extent
/// is reached; a factor that is too large is taken apart.
bool View::reshape(Value result, DimContext &dims) {
  View next = *this;
  SmallVector<Factors, 4> made;
  auto collect = [&] {
    Factors all;
    for (const Factors &axis : next.axes)
      all.append(axis);
    return all;
  };
  Factors all = collect();
  size_t at = 0;
  for (const Extent &extent : getDims(result)) {
    DimExpr rest = toExpr(dims, extent);
    if (!rest.isKnown())
      return false;
    Factors &axis = made.emplace_back();
    while (!rest.isConstant(1)) {
      if (at == all.size())
        return false;
      const Factor factor = all[at];
      if (!factor.extent.isKnown())
        return false;
      DimExpr quotient = DimExpr::divideExactly(rest, factor.extent);
      if (quotient.isKnown()) {
        axis.push_back(factor);
        ++at;
        rest = quotient;
        continue;
      }
      DimExpr inner = DimExpr::divideExactly(factor.extent, rest);
      if (!inner.isKnown())
        return false;
      next.split(factor, rest, inner);
      // What was taken before may hold no part of this factor: every factor
      // occurs once among the axes.
      all = collect();
      axis.push_back(all[at++]);
      rest = DimExpr::constant(1);
    }
  }
  if (at != all.size())
    return false;
  next.axes = std::move(made);
  *this = std::move(next);
  return true;
}

bool View::expand(Value result, DimContext &dims) {
  SmallVector<Extent> extents = getDims(result);
  if (extents.size() < axes.size())
    return false;
  SmallVector<Factors, 4> made(extents.size());
  size_t added = extents.size() - axes.size();
  for (auto [i, extent] : llvm::enumerate(extents)) {
    if (i >= added)
      made[i] = axes[i - added];
    DimExpr expr = toExpr(dims, extent);
    if (!expr.isKnown())
      return false;
    if (!made[i].empty()) {
      // An axis whose extent is 1 in some runs only would be a repeat in them.
      if (extentOf(made[i]) != expr)
        return false;
    } else if (!expr.isConstant(1)) {
      made[i].push_back(makeFactor(Factor::kRepeat, expr));
    }
  }
  axes = std::move(made);
  return true;
}

bool View::tile(Operation *op) {
  auto repeats = getConstantShape(op->getOperand(1));
  if (!repeats || repeats->size() != axes.size())
    return false;
  for (int64_t count : *repeats)
    if (count < 1)
      return false;
  for (auto [axis, count] : llvm::zip(axes, *repeats))
    if (count > 1)
      axis.insert(axis.begin(),
                  makeFactor(Factor::kRepeat, DimExpr::constant(count)));
  return true;
}

bool View::transpose(Operation *op) {
  SmallVector<int64_t> perm;
  if (auto attr = op->getAttrOfType<DenseI64ArrayAttr>("perm"))
    perm.assign(attr.asArrayRef().begin(), attr.asArrayRef().end());
  else
    for (size_t i = axes.size(); i > 0; --i)
      perm.push_back(i - 1);
  if (perm.size() != axes.size())
    return false;
  SmallVector<Factors, 4> made;
  for (int64_t from : perm) {
    if (from < 0 || from >= static_cast<int64_t>(axes.size()))
      return false;
    made.push_back(axes[from]);
  }
  axes = std::move(made);
  return true;
}

bool View::walks(unsigned i, ArrayRef<int64_t> of) const {
  Factors expected;
  for (int64_t axis : of) {
    if (axis < 0 || axis >= static_cast<int64_t>(baseAxes.size()))
      return false;
    expected.append(baseAxes[axis]);
  }
  return axes[i] == expected;
}

bool View::isRepeated(unsigned i) const {
  return llvm::all_of(axes[i], [](const Factor &f) { return f.isRepeat(); });
}

bool View::keepsOrder() const {
  Factors own, other;
  for (const Factors &axis : axes)
    own.append(axis);
  for (const Factors &axis : baseAxes)
    other.append(axis);
  return own == other;
}

bool View::isIdentity() const { return axes == baseAxes; }

DimExpr View::extentOf(ArrayRef<Factor> factors) {
  DimExpr product = DimExpr::constant(1);
  for (const Factor &factor : factors)
    product = product * factor.extent;
  return product;
}
