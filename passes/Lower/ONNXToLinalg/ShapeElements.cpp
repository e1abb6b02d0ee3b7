//===- ShapeElements.cpp - arithmetic on shapes, element by element -------===//
//
// Exporters compute shapes in the graph: Shape, Gather, Mul, Concat, Reshape.
// Such values are small integer tensors. Here their elements are followed one
// by one as `index` values, so constants fold, equal extents stay equal and no
// loop or buffer is made for them. An op that does not qualify is translated
// as a tensor, like any other.
//
//===----------------------------------------------------------------------===//

#include "dialects/ONNX/ONNXDialect.h"
#include "llvm/ADT/StringSwitch.h"
#include "mlir/Dialect/Utils/StaticValueUtils.h"
#include "passes/Lower/ONNXToLinalg/Lowering.h"

using namespace mlir;
using namespace moe;
using namespace moe::lower;

namespace {
/// Longest list of elements that is followed one by one.
constexpr int64_t kMostElements = 64;

/// One op on small integer values. Methods return false when the op cannot be
/// done element by element; then nothing has been created.
class ElementsOfOp {
public:
  ElementsOfOp(FunctionLowering &l, Operation *op) : l(l), op(op) {}

  bool run() {
    StringRef name = op->getName().stripDialect();
    if (op->getName().getDialectNamespace() != "onnx")
      return false;
    if (name == "Shape")
      return shape();
    if (name == "Size")
      return size();
    if (name == "Constant" || !isSmallInteger(op->getResult(0)))
      return name == "Split" && split();
    Method method = dispatch(name);
    return method && (this->*method)();
  }

private:
  using Method = bool (ElementsOfOp::*)();

  static Method dispatch(StringRef name) {
    return llvm::StringSwitch<Method>(name)
        .Cases({"Add", "Sub", "Mul", "Div", "Mod"}, &ElementsOfOp::binary)
        .Cases({"Min", "Max"}, &ElementsOfOp::extremum)
        .Cases({"Equal", "Less", "LessOrEqual", "Greater", "GreaterOrEqual"},
               &ElementsOfOp::comparison)
        .Cases({"And", "Or"}, &ElementsOfOp::logic)
        .Cases({"Identity", "Squeeze", "Unsqueeze", "Reshape", "Flatten"},
               &ElementsOfOp::same)
        .Case("Not", &ElementsOfOp::negate)
        .Case("Neg", &ElementsOfOp::minus)
        .Case("Cast", &ElementsOfOp::cast)
        .Case("Concat", &ElementsOfOp::concat)
        .Case("Gather", &ElementsOfOp::gather)
        .Case("Slice", &ElementsOfOp::slice)
        .Case("Where", &ElementsOfOp::where)
        .Cases({"ReduceProd", "ReduceSum", "ReduceMax", "ReduceMin"},
               &ElementsOfOp::reduce)
        .Case("ConstantOfShape", &ElementsOfOp::constantOfShape)
        .Case("Expand", &ElementsOfOp::expand)
        .Case("Range", &ElementsOfOp::range)
        .Default(nullptr);
  }

  static bool isSmallInteger(Value v) {
    auto type = dyn_cast<RankedTensorType>(v.getType());
    return type && type.getRank() <= 1 && type.hasStaticShape() &&
           type.getNumElements() <= kMostElements &&
           isa<IntegerType>(type.getElementType());
  }

  /// Elements of operand i if they are known, or null.
  const Extents *in(unsigned i) {
    Value v = operand(op, i);
    return v ? l.elements(v) : nullptr;
  }

  bool done(Extents elements) {
    l.setElements(op->getResult(0), std::move(elements));
    return true;
  }

  int64_t count() {
    return ::cast<RankedTensorType>(op->getResult(0).getType())
        .getNumElements();
  }

  bool shape();
  bool size();
  bool split();
  bool binary();
  bool extremum();
  bool comparison();
  bool logic();
  bool same();
  bool negate();
  bool minus();
  bool cast();
  bool concat();
  bool gather();
  bool slice();
  bool where();
  bool reduce();
  bool constantOfShape();
  bool expand();
  bool range();

  /// Applies fn to pairs of elements, an operand of one element repeated.
  bool zip(llvm::function_ref<OpFoldResult(OpFoldResult, OpFoldResult)> fn);

  FunctionLowering &l;
  Operation *op;
};
} // namespace

bool ElementsOfOp::shape() {
  Value source = operand(op, 0);
  int64_t rank = rankOf(source);
  auto clamp = [&](int64_t i) {
    return std::clamp<int64_t>(i < 0 ? i + rank : i, 0, rank);
  };
  int64_t begin = clamp(intAttr(op, "start", 0));
  int64_t end = clamp(intAttr(op, "end", rank));
  Extents out;
  for (int64_t i = begin; i < end; ++i)
    out.push_back(l.dim(source, i));
  return done(std::move(out));
}

bool ElementsOfOp::size() {
  return done({l.product(l.dims(operand(op, 0)))});
}

bool ElementsOfOp::zip(
    llvm::function_ref<OpFoldResult(OpFoldResult, OpFoldResult)> fn) {
  const Extents *x = in(0), *y = in(1);
  if (!x || !y)
    return false;
  // Creating values may grow the map that holds the lists.
  Extents left = *x, right = *y, out;
  int64_t n = count();
  auto at = [&](const Extents &list, int64_t i) {
    return list.size() == 1 ? list[0] : list[i];
  };
  for (const Extents *list : {&left, &right})
    if (list->size() != 1 && static_cast<int64_t>(list->size()) != n)
      return false;
  for (int64_t i = 0; i < n; ++i)
    out.push_back(fn(at(left, i), at(right, i)));
  return done(std::move(out));
}

bool ElementsOfOp::binary() {
  StringRef name = op->getName().stripDialect();
  Type element = ::cast<RankedTensorType>(op->getResult(0).getType())
                     .getElementType();
  // Narrow and unsigned types wrap elsewhere than 64-bit arithmetic does.
  if (!element.isInteger(64) && !element.isSignlessInteger(32))
    return false;
  if (name == "Add")
    return zip([&](OpFoldResult x, OpFoldResult y) { return l.add(x, y); });
  if (name == "Sub")
    return zip([&](OpFoldResult x, OpFoldResult y) { return l.sub(x, y); });
  if (name == "Mul")
    return zip([&](OpFoldResult x, OpFoldResult y) { return l.mul(x, y); });
  // Division needs divisors that are known not to be 0 (or -1, which
  // overflows).
  std::optional<SmallVector<int64_t>> divisors = l.constants(operand(op, 1));
  if (!divisors ||
      llvm::any_of(*divisors, [](int64_t d) { return d == 0 || d == -1; }))
    return false;
  if (name == "Div")
    return zip([&](OpFoldResult x, OpFoldResult y) { return l.div(x, y); });
  bool fmod = intAttr(op, "fmod", 0) != 0;
  return zip([&](OpFoldResult x, OpFoldResult y) {
    // x - trunc(x / y) * y has the sign of x; ONNX's Mod that of y.
    OpFoldResult rest = l.sub(x, l.mul(l.div(x, y), y));
    if (fmod)
      return rest;
    bool negative = *getConstantIntValue(y) < 0;
    Value fix = l.compare(negative ? arith::CmpIPredicate::sgt
                                   : arith::CmpIPredicate::slt,
                          rest, l.index(0));
    return l.select(fix, l.add(rest, y), rest);
  });
}

bool ElementsOfOp::extremum() {
  if (op->getNumOperands() != 2)
    return false;
  bool isMin = op->getName().stripDialect() == "Min";
  if (elementOf(op->getResult(0)).isUnsignedInteger())
    return false;
  return zip([&](OpFoldResult x, OpFoldResult y) {
    return isMin ? l.min(x, y) : l.max(x, y);
  });
}

bool ElementsOfOp::comparison() {
  if (elementOf(operand(op, 0)).isUnsignedInteger(64))
    return false;
  auto predicate =
      llvm::StringSwitch<arith::CmpIPredicate>(op->getName().stripDialect())
          .Case("Equal", arith::CmpIPredicate::eq)
          .Case("Less", arith::CmpIPredicate::slt)
          .Case("LessOrEqual", arith::CmpIPredicate::sle)
          .Case("Greater", arith::CmpIPredicate::sgt)
          .Default(arith::CmpIPredicate::sge);
  return zip([&](OpFoldResult x, OpFoldResult y) -> OpFoldResult {
    return l.select(l.compare(predicate, x, y), l.index(1), l.index(0));
  });
}

bool ElementsOfOp::logic() {
  bool isAnd = op->getName().stripDialect() == "And";
  return zip([&](OpFoldResult x, OpFoldResult y) {
    return isAnd ? l.min(x, y) : l.max(x, y);
  });
}

bool ElementsOfOp::same() {
  const Extents *x = in(0);
  if (!x || static_cast<int64_t>(x->size()) != count())
    return false;
  return done(Extents(*x));
}

bool ElementsOfOp::negate() {
  const Extents *x = in(0);
  if (!x)
    return false;
  Extents list = *x, out;
  for (OpFoldResult element : list)
    out.push_back(l.sub(l.index(1), element));
  return done(std::move(out));
}

bool ElementsOfOp::minus() {
  const Extents *x = in(0);
  if (!x)
    return false;
  Extents list = *x, out;
  for (OpFoldResult element : list)
    out.push_back(l.sub(l.index(0), element));
  return done(std::move(out));
}

bool ElementsOfOp::cast() {
  Type from = elementOf(operand(op, 0)), to = elementOf(op->getResult(0));
  auto source = dyn_cast<IntegerType>(from);
  auto target = ::cast<IntegerType>(to);
  const Extents *x = in(0);
  if (!x || !source)
    return false;
  Extents list = *x;
  if (target.getWidth() == 1) {
    Extents out;
    for (OpFoldResult element : list)
      out.push_back(l.select(
          l.compare(arith::CmpIPredicate::ne, element, l.index(0)),
          l.index(1), l.index(0)));
    return done(std::move(out));
  }
  // Extents and counts fit any type of 32 bits and more.
  if (target.getWidth() < 32)
    return false;
  return done(std::move(list));
}

bool ElementsOfOp::concat() {
  Extents out;
  for (Value v : op->getOperands()) {
    const Extents *part = l.elements(v);
    if (!part)
      return false;
    out.append(part->begin(), part->end());
  }
  return done(std::move(out));
}

bool ElementsOfOp::gather() {
  const Extents *data = in(0);
  std::optional<SmallVector<int64_t>> at = l.constants(operand(op, 1));
  if (!data || !at || rankOf(operand(op, 0)) != 1)
    return false;
  Extents out;
  int64_t size = data->size();
  for (int64_t i : *at) {
    if (i < -size || i >= size)
      return false;
    out.push_back((*data)[i < 0 ? i + size : i]);
  }
  return done(std::move(out));
}

bool ElementsOfOp::slice() {
  const Extents *data = in(0);
  auto first = l.constants(operand(op, 1)), last = l.constants(operand(op, 2));
  SmallVector<int64_t> step = {1};
  if (Value steps = operand(op, 4)) {
    auto known = l.constants(steps);
    if (!known)
      return false;
    step = *known;
  }
  if (!data || !first || !last || first->size() != 1 || last->size() != 1 ||
      step.size() != 1 || step[0] == 0)
    return false;
  int64_t size = data->size();
  auto clamp = [&](int64_t i, int64_t low, int64_t high) {
    return std::clamp(i < 0 ? i + size : i, low, high);
  };
  Extents out;
  if (step[0] > 0) {
    int64_t end = clamp((*last)[0], 0, size);
    for (int64_t i = clamp((*first)[0], 0, size); i < end; i += step[0])
      out.push_back((*data)[i]);
  } else {
    int64_t end = clamp((*last)[0], -1, size - 1);
    for (int64_t i = clamp((*first)[0], 0, size - 1); i > end; i += step[0])
      out.push_back((*data)[i]);
  }
  if (static_cast<int64_t>(out.size()) != count())
    return false;
  return done(std::move(out));
}

bool ElementsOfOp::split() {
  const Extents *data = in(0);
  if (!data)
    return false;
  Extents list = *data;
  size_t begin = 0;
  for (Value part : op->getResults()) {
    if (!isSmallInteger(part))
      return false;
    size_t n = ::cast<RankedTensorType>(part.getType()).getNumElements();
    if (begin + n > list.size())
      return false;
    begin += n;
  }
  if (begin != list.size())
    return false;
  begin = 0;
  for (Value part : op->getResults()) {
    size_t n = ::cast<RankedTensorType>(part.getType()).getNumElements();
    l.setElements(part, Extents(list.begin() + begin, list.begin() + begin + n));
    begin += n;
  }
  return true;
}

bool ElementsOfOp::where() {
  const Extents *c = in(0), *x = in(1), *y = in(2);
  if (!c || !x || !y)
    return false;
  Extents condition = *c, left = *x, right = *y, out;
  int64_t n = count();
  auto at = [&](const Extents &list, int64_t i) {
    return list.size() == 1 ? list[0] : list[i];
  };
  for (const Extents *list : {&condition, &left, &right})
    if (list->size() != 1 && static_cast<int64_t>(list->size()) != n)
      return false;
  for (int64_t i = 0; i < n; ++i) {
    OpFoldResult test = at(condition, i);
    if (std::optional<int64_t> known = getConstantIntValue(test)) {
      out.push_back(*known ? at(left, i) : at(right, i));
      continue;
    }
    out.push_back(
        l.select(l.compare(arith::CmpIPredicate::ne, test, l.index(0)),
                 at(left, i), at(right, i)));
  }
  return done(std::move(out));
}

bool ElementsOfOp::reduce() {
  const Extents *x = in(0);
  if (!x || x->empty() || count() != 1 ||
      !elementOf(op->getResult(0)).isSignlessInteger(64))
    return false;
  if (Value axes = operand(op, 1)) {
    auto known = l.constants(axes);
    if (!known || (known->empty() && intAttr(op, "noop_with_empty_axes", 0)))
      return false;
  }
  Extents list = *x;
  StringRef name = op->getName().stripDialect();
  OpFoldResult out = list[0];
  for (OpFoldResult element : ArrayRef(list).drop_front())
    out = name == "ReduceProd"  ? l.mul(out, element)
          : name == "ReduceSum" ? l.add(out, element)
          : name == "ReduceMax" ? l.max(out, element)
                                : l.min(out, element);
  return done({out});
}

bool ElementsOfOp::constantOfShape() {
  int64_t fill = 0;
  if (auto value = op->getAttrOfType<DenseElementsAttr>("value")) {
    if (!isa<IntegerType>(value.getElementType()) ||
        value.getNumElements() != 1)
      return false;
    APInt element = *value.getValues<APInt>().begin();
    fill = value.getElementType().isInteger(1) ? element.getZExtValue()
                                               : element.getSExtValue();
  } else {
    return false;
  }
  return done(Extents(count(), l.index(fill)));
}

bool ElementsOfOp::expand() {
  const Extents *x = in(0);
  int64_t n = count();
  if (!x || (x->size() != 1 && static_cast<int64_t>(x->size()) != n))
    return false;
  return done(x->size() == 1 ? Extents(n, (*x)[0]) : Extents(*x));
}

bool ElementsOfOp::range() {
  auto start = l.constants(operand(op, 0)), delta = l.constants(operand(op, 2));
  if (!start || !delta || start->size() != 1 || delta->size() != 1)
    return false;
  Extents out;
  for (int64_t i = 0, n = count(); i < n; ++i)
    out.push_back(l.index((*start)[0] + i * (*delta)[0]));
  return done(std::move(out));
}

bool FunctionLowering::lowerElements(Operation *op) {
  return op->getNumResults() > 0 && ElementsOfOp(*this, op).run();
}
