//===- Slots.cpp - from the rows of slots to the rows of tokens -----------===//

#include "passes/Raise/Slots.h"
#include "dialects/ONNX/ONNXDialect.h"
#include "lib/Analysis/Dims.h"
#include "passes/Raise/Match.h"
#include "passes/Raise/Nodes.h"
#include "passes/Raise/SparseGates.h"

using namespace mlir;
using namespace moe;

//===----------------------------------------------------------------------===//
// Runs
//===----------------------------------------------------------------------===//

void moe::appendRun(Runs &runs, Run::Kind kind, const DimExpr &extent) {
  if (kind != Run::Feature && extent.isConstant(1))
    return;
  if (!runs.empty() && runs.back().kind == kind)
    runs.back().extent = runs.back().extent * extent;
  else
    runs.push_back({kind, extent});
}

bool moe::sameRuns(const Runs &a, const Runs &b) {
  if (a.size() != b.size())
    return false;
  for (auto [x, y] : llvm::zip(a, b))
    if (x.kind != y.kind || (x.kind != Run::Feature && x.extent != y.extent))
      return false;
  return true;
}

//===----------------------------------------------------------------------===//
// Coordinates
//===----------------------------------------------------------------------===//

unsigned SlotSum::add(Run::Kind kind, DimExpr extent) {
  coords.push_back({kind, std::move(extent), {}});
  return coords.size() - 1;
}

void SlotSum::start(Value value, SmallVector<Coords, 4> startAxes,
                    Coords startOrder) {
  current = result = value;
  axes = resultAxes = std::move(startAxes);
  order = std::move(startOrder);
}

void SlotSum::addSummed(Coords more) { summed.append(more); }

/// The coordinates as they are by now.
Coords SlotSum::expand(ArrayRef<unsigned> given) const {
  Coords all;
  for (unsigned coord : given) {
    if (coords[coord].parts.empty()) {
      if (!coords[coord].extent.isConstant(1))
        all.push_back(coord);
    } else {
      all.append(expand(coords[coord].parts));
    }
  }
  return all;
}

Coords SlotSum::flatten(ArrayRef<Coords> given) const {
  Coords all;
  for (const Coords &axis : given)
    all.append(expand(axis));
  return all;
}

bool SlotSum::isSummedCoord(unsigned coord) const {
  return llvm::is_contained(expand(summed), coord);
}

/// Tokens in their order, then the slots of a token.
Coords SlotSum::getTarget() const {
  Coords tokens, slots;
  for (unsigned coord : expand(order))
    (isSummedCoord(coord) ? slots : tokens).push_back(coord);
  tokens.append(slots);
  return tokens;
}

Runs SlotSum::getRuns() const {
  Runs runs;
  for (unsigned coord : expand(order))
    appendRun(runs, isSummedCoord(coord) ? Run::Repeat : Run::Token,
              coords[coord].extent);
  return runs;
}

Runs SlotSum::getKinds() const {
  Runs runs;
  for (unsigned coord : expand(order))
    appendRun(runs, coords[coord].kind, coords[coord].extent);
  return runs;
}

DimExpr SlotSum::getNumSlots() const {
  DimExpr product = DimExpr::constant(1);
  for (unsigned coord : expand(summed))
    product = product * coords[coord].extent;
  return product;
}

bool SlotSum::isOverExperts() const {
  Coords over = expand(summed);
  return over.size() == 1 && coords[over.front()].kind == Run::Expert;
}

bool SlotSum::isOverPicked() const {
  Coords over = expand(summed), all;
  for (unsigned coord : expand(order))
    if (coords[coord].kind == Run::Picked)
      all.push_back(coord);
  return over == all;
}

bool SlotSum::isInOrder() const {
  Coords have = flatten(resultAxes);
  // One more, the features.
  if (have.empty() || coords[have.back()].kind != Run::Feature)
    return false;
  have.pop_back();
  Coords want;
  for (unsigned coord : expand(order))
    if (!isSummedCoord(coord))
      want.push_back(coord);
  return have == want;
}

//===----------------------------------------------------------------------===//
// Following
//===----------------------------------------------------------------------===//

/// The one node that reads the elements of a value, null if there are more.
static Operation *getReader(Value value) {
  Operation *reader = nullptr;
  for (OpOperand &use : value.getUses()) {
    Operation *op = use.getOwner();
    if (op->getName().getStringRef() == "onnx.Shape" || reader == op)
      continue;
    if (reader)
      return nullptr;
    reader = op;
  }
  return reader;
}

void SlotSum::run() {
  for (unsigned steps = 0; steps < 64; ++steps) {
    stop = getReader(current);
    if (!stop || stop->getNumResults() != 1 || !step(stop))
      return;
  }
}

bool SlotSum::step(Operation *op) {
  StringRef name = op->getName().getStringRef();
  // A layer ends with its sum, and what takes axes that the sum kept away.
  if (!summed.empty())
    return llvm::any_of(
               resultAxes,
               [&](const Coords &axis) { return expand(axis).empty(); }) &&
           move(op->getResult(0));
  if (name == "onnx.Mul")
    return multiply(op);
  if (name == "onnx.ReduceSum")
    return reduce(op);
  if (name == "onnx.GatherElements")
    return pick(op);
  if (name == "onnx.MatMul" || name == "onnx.Einsum")
    return contract(op);
  if (!isa_and_present<FloatType>(match::getElementType(op->getResult(0))))
    return false;
  return move(op->getResult(0));
}

/// Takes coordinates from the left whose extents make `extent`, and takes the
/// last one apart where only a part of it is needed.
bool SlotSum::takeRun(const DimExpr &extent, Coords &left, Coords &taken) {
  DimExpr rest = extent;
  while (!rest.isConstant(1)) {
    if (left.empty())
      return false;
    unsigned coord = left.front();
    const DimExpr own = coords[coord].extent;
    if (DimExpr quotient = DimExpr::divideExactly(rest, own);
        own.isKnown() && quotient.isKnown()) {
      taken.push_back(coord);
      left.erase(left.begin());
      rest = quotient;
      continue;
    }
    DimExpr inner = DimExpr::divideExactly(own, rest);
    if (!inner.isKnown() || coords[coord].kind == Run::Feature)
      return false;
    unsigned a = add(coords[coord].kind, rest);
    unsigned b = add(coords[coord].kind, inner);
    coords[coord].parts = {a, b};
    taken.push_back(a);
    left.front() = b;
    rest = DimExpr::constant(1);
  }
  return true;
}

bool SlotSum::move(Value next) {
  View view = View::of(next, dims, current, /*throughCasts=*/true);
  if (view.getBase() != current || next == current ||
      view.getBaseRank() != axes.size())
    return false;
  // What each factor of the view is in coordinates.
  DenseMap<unsigned, Coords> factors;
  for (unsigned i = 0; i < view.getBaseRank(); ++i) {
    Coords left = expand(axes[i]);
    for (const Factor &factor : view.getBaseAxis(i))
      if (!takeRun(factor.extent, left, factors[factor.id]))
        return false;
    if (!left.empty())
      return false;
  }
  SmallVector<Coords, 4> made;
  for (unsigned i = 0; i < view.getRank(); ++i) {
    Coords &axis = made.emplace_back();
    for (const Factor &factor : view.getAxis(i)) {
      if (factor.isRepeat())
        return false;
      axis.append(factors[factor.id]);
    }
  }
  current = next;
  axes = std::move(made);
  // Where the order stays, the extents that follow are the ones to keep.
  if (flatten(axes) == flatten(resultAxes)) {
    result = next;
    resultAxes = axes;
  }
  return true;
}

/// The coordinates of a value that meets the current one axis by axis, the last
/// ones together; false if it has features.
bool SlotSum::meets(Value other, SlotValue &slot) {
  int64_t rank = match::getRank(other), own = axes.size();
  if (rank < 0 || rank > own)
    return false;
  slot.value = other;
  View view = View::of(other, dims);
  for (int64_t i = 0; i < rank; ++i) {
    int64_t at = own - rank + i;
    Coords &met = slot.axes.emplace_back();
    if (getExtent(other, i) == 1)
      continue;
    if (!sameExtent(other, i, current, at))
      return false;
    bool isFeature = llvm::any_of(expand(axes[at]), [&](unsigned coord) {
      return coords[coord].kind == Run::Feature;
    });
    if (!isFeature) {
      met = axes[at];
      continue;
    }
    // A weight that was repeated along the features.
    if (view.getRank() != static_cast<unsigned>(rank) || !view.isRepeated(i))
      return false;
  }
  return true;
}

bool SlotSum::multiply(Operation *op) {
  bool first = op->getOperand(0) == current;
  Value other = op->getOperand(first ? 1 : 0);
  if (other == current || !sameExtents(op->getResult(0), current))
    return false;
  if (std::optional<double> number = match::getNumber(other)) {
    factor *= *number;
  } else {
    SlotValue slot;
    if (!meets(other, slot))
      return false;
    weights.push_back(std::move(slot));
  }
  current = result = op->getResult(0);
  resultAxes = axes;
  return true;
}

bool SlotSum::reduce(Operation *op) {
  std::optional<SmallVector<int64_t>> over = match::getAxes(op);
  if (op->getOperand(0) != current || !over)
    return false;
  bool keep = match::getInt(op, "keepdims", 1) != 0;
  Coords gone;
  SmallVector<Coords, 4> made;
  for (auto [i, axis] : llvm::enumerate(axes)) {
    if (!llvm::is_contained(*over, static_cast<int64_t>(i))) {
      made.push_back(axis);
      continue;
    }
    gone.append(expand(axis));
    if (keep)
      made.emplace_back();
  }
  for (unsigned coord : gone)
    if (coords[coord].kind == Run::Feature)
      return false;
  summed = gone;
  current = result = op->getResult(0);
  axes = resultAxes = std::move(made);
  return true;
}

/// The sum over slots as a product with their weights.
bool SlotSum::contract(Operation *op) {
  std::optional<Contraction> sum = readContraction(op);
  if (!sum || sum->operands.size() != 2 ||
      llvm::count(sum->operands, current) != 1)
    return false;
  unsigned at = sum->operands[0] == current ? 0 : 1;
  // Each label is an axis of ours.
  DenseMap<int, Coords> ofLabel;
  Coords gone;
  for (auto [label, axis] : llvm::zip(sum->labels[at], axes)) {
    if (label == Contraction::kUnit)
      continue;
    ofLabel[label] = axis;
    if (!sum->inOut(label))
      gone.append(expand(axis));
  }
  SlotValue slot{sum->operands[1 - at], {}};
  for (int label : sum->labels[1 - at]) {
    Coords &met = slot.axes.emplace_back();
    if (label == Contraction::kUnit)
      continue;
    auto it = ofLabel.find(label);
    if (it == ofLabel.end())
      return false;
    met = it->second;
  }
  for (unsigned coord : flatten(slot.axes))
    if (coords[coord].kind == Run::Feature)
      return false;
  for (unsigned coord : gone)
    if (coords[coord].kind == Run::Feature)
      return false;
  SmallVector<Coords, 4> made;
  for (int label : sum->out)
    made.push_back(label == Contraction::kUnit ? Coords() : ofLabel[label]);
  weights.push_back(std::move(slot));
  summed = gone;
  current = result = op->getResult(0);
  axes = resultAxes = std::move(made);
  return true;
}

/// Some of the experts of a token, by ids.
bool SlotSum::pick(Operation *op) {
  Value index = op->getOperand(1);
  std::optional<int64_t> axis =
      match::getAxis(op, "axis", 0, static_cast<int64_t>(axes.size()));
  if (op->getOperand(0) != current || !axis || picked ||
      match::getRank(index) != static_cast<int64_t>(axes.size()))
    return false;
  Coords along = expand(axes[*axis]);
  if (along.size() != 1 || coords[along.front()].kind != Run::Expert)
    return false;
  View view = View::of(index, dims);
  if (view.getRank() != axes.size())
    return false;
  SlotValue slot{index, {}};
  unsigned slots = add(Run::Picked, toExpr(dims, getDim(index, *axis)));
  for (auto [i, own] : llvm::enumerate(axes)) {
    Coords &met = slot.axes.emplace_back();
    if (static_cast<int64_t>(i) == *axis) {
      met = {slots};
      continue;
    }
    if (!sameExtent(index, i, current, i))
      return false;
    bool isFeature = llvm::any_of(expand(own), [&](unsigned coord) {
      return coords[coord].kind == Run::Feature;
    });
    // An id holds for all features.
    if (isFeature && !view.isRepeated(i))
      return false;
    if (!isFeature)
      met = own;
  }
  axes[*axis] = {slots};
  for (unsigned &coord : order)
    if (coord == along.front())
      coord = slots;
  picked = std::move(slot);
  current = result = op->getResult(0);
  resultAxes = axes;
  return true;
}

//===----------------------------------------------------------------------===//
// Values of slots
//===----------------------------------------------------------------------===//

/// Groups of neighbouring coordinates and factors with equal extents.
static bool group(ArrayRef<DimExpr> a, ArrayRef<DimExpr> b,
                  SmallVectorImpl<std::pair<size_t, size_t>> &ends) {
  size_t i = 0, j = 0;
  while (i < a.size() || j < b.size()) {
    if (i == a.size() || j == b.size())
      return false;
    DimExpr x = a[i++], y = b[j++];
    while (x != y) {
      if (DimExpr::divideExactly(x, y).isKnown() && j < b.size())
        y = y * b[j++];
      else if (DimExpr::divideExactly(y, x).isKnown() && i < a.size())
        x = x * a[i++];
      else
        return false;
    }
    ends.push_back({i, j});
  }
  return true;
}

Value SlotSum::findNatural(const SlotValue &given) {
  View view = View::of(given.value, dims);
  Value base = view.getBase();
  if (!base || view.getRank() != given.axes.size() || view.getBaseRank() == 0 ||
      match::getElementType(base) != match::getElementType(given.value))
    return {};
  // Groups of coordinates and of factors, over all axes.
  DenseMap<unsigned, std::pair<size_t, size_t>> groupOf;
  SmallVector<Coords> groups;
  for (unsigned i = 0; i < view.getRank(); ++i) {
    Coords own = expand(given.axes[i]);
    SmallVector<DimExpr> a, b;
    SmallVector<unsigned> ids;
    for (unsigned coord : own)
      a.push_back(coords[coord].extent);
    for (const Factor &factor : view.getAxis(i)) {
      if (factor.isRepeat() && own.empty())
        continue;
      if (factor.isRepeat())
        return {};
      b.push_back(factor.extent);
      ids.push_back(factor.id);
    }
    SmallVector<std::pair<size_t, size_t>> ends;
    if (!group(a, b, ends))
      return {};
    size_t from = 0, begin = 0;
    for (auto [end, stop] : ends) {
      for (size_t f = from; f < stop; ++f)
        groupOf[ids[f]] = {groups.size(), f - from};
      groups.emplace_back(own.begin() + begin, own.begin() + end);
      from = stop;
      begin = end;
    }
  }
  // The base in groups: each whole, in its own order.
  SmallVector<std::pair<size_t, size_t>> sequence;
  Coords have, last;
  for (unsigned i = 0; i < view.getBaseRank(); ++i) {
    last.clear();
    for (const Factor &factor : view.getBaseAxis(i)) {
      auto it = groupOf.find(factor.id);
      if (it == groupOf.end())
        return {};
      auto [group, place] = it->second;
      bool follows = place > 0 && !sequence.empty() &&
                     sequence.back() == std::pair(group, place - 1);
      sequence.push_back(it->second);
      if (follows)
        continue;
      if (place > 0)
        return {};
      have.append(groups[group]);
      last.append(groups[group]);
    }
  }
  Coords target = getTarget(), slots = expand(summed);
  if (have != target)
    return {};
  // The last axis is the slots of a token, all of them.
  Coords targetSlots(target.end() - slots.size(), target.end());
  return last == targetSlots ? base : Value();
}

Value SlotSum::makeNatural(OpBuilder &b, Location loc, const SlotValue &given) {
  if (Value base = findNatural(given))
    return base;
  Coords have = flatten(given.axes), target = getTarget();
  size_t numSlots = expand(summed).size();
  DimExpr slots = getNumSlots();
  if (!slots.isConstant())
    return {};
  int64_t k = slots.getConstant();
  Coords swapped(target.end() - numSlots, target.end());
  swapped.append(target.begin(), target.end() - numSlots);
  bool isNatural = have == target;
  if (!isNatural && have != swapped)
    return {};
  // What was repeated along the features is not what a reshape takes.
  Value value = given.value;
  auto type = cast<RankedTensorType>(value.getType());
  for (auto [i, axis] : llvm::enumerate(given.axes))
    if (expand(axis).empty() && type.getDimSize(i) != 1)
      return {};
  NodeBuilder nodes(b, loc);
  int64_t tokens = ShapedType::kDynamic;
  if (type.hasStaticShape())
    tokens = type.getNumElements() / k;
  auto reshape = [&](SmallVector<int64_t, 2> shape, int64_t first,
                     int64_t second) {
    auto ints = RankedTensorType::get({2}, b.getI64Type());
    Value extents = nodes.create(
        "onnx.Constant", {}, ints,
        b.getNamedAttr("value", DenseElementsAttr::get(ints, ArrayRef(shape))));
    return nodes.reshape(
        value, extents,
        RankedTensorType::get({first, second}, type.getElementType()));
  };
  if (isNatural)
    return reshape({-1, k}, tokens, k);
  value = reshape({k, -1}, k, tokens);
  return nodes.create("onnx.Transpose", value,
                      RankedTensorType::get({tokens, k}, type.getElementType()),
                      b.getNamedAttr("perm", b.getDenseI64ArrayAttr({1, 0})));
}

Value SlotSum::makeWeights(OpBuilder &b, Location loc, Value ids,
                           Refusal &refusal) {
  NodeBuilder nodes(b, loc);
  Type f32 = b.getF32Type();
  Value product;
  for (const SlotValue &slot : weights) {
    Value value = makeNatural(b, loc, slot);
    // One may be [tokens, k], the other [batch, tokens, k].
    if (!value ||
        (product && match::getRank(product) != match::getRank(value))) {
      refusal.say(result.getDefiningOp(),
                  "weights are not one for each token and expert");
      return {};
    }
    auto type = cast<RankedTensorType>(value.getType());
    bool isAlone = weights.size() == 1 && factor == 1;
    if (!isAlone && type.getElementType() != f32)
      value = nodes.create(
          "onnx.Cast", value, type.clone(f32),
          b.getNamedAttr("to", b.getI64IntegerAttr(onnx::getDataType(f32))));
    product =
        product ? nodes.create("onnx.Mul", {product, value}, product.getType())
                : value;
  }
  if (product && factor != 1)
    product =
        nodes.create("onnx.Mul", {product, makeNumber(b, loc, f32, factor)},
                     product.getType());
  if (product)
    return product;
  if (!ids) {
    refusal.say(result.getDefiningOp(),
                "all experts run on all tokens without weights");
    return {};
  }
  auto type = cast<RankedTensorType>(ids.getType());
  auto one = RankedTensorType::get({1}, f32);
  auto value = DenseElementsAttr::get(one, static_cast<float>(factor));
  return nodes.create("onnx.ConstantOfShape", makeShape(b, loc, ids),
                      type.clone(f32), b.getNamedAttr("value", value));
}
