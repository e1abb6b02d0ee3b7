//===- MatchConstants.cpp - constants in graphs of ONNX nodes -------------===//
//
// Evaluates small constants the way the nodes would: floats are rounded to
// their type after every operation, integers wrap around.
//
//===----------------------------------------------------------------------===//

#include "dialects/ONNX/ONNXDialect.h"
#include "dialects/Rt/RtDialect.h"
#include "lib/Analysis/Dims.h"
#include "mlir/IR/DialectResourceBlobManager.h"
#include "passes/Raise/Match.h"
#include "llvm/ADT/StringSet.h"
#include "llvm/ADT/StringSwitch.h"
#include <cmath>

using namespace mlir;
using namespace moe;
using namespace moe::match;

bool Constant::isReal() const { return isa<FloatType>(type.getElementType()); }

std::optional<double> Constant::getNumber() const {
  if (size() == 0)
    return std::nullopt;
  for (int64_t i = 1; i < size(); ++i)
    if (!(get(i) == get(0)))
      return std::nullopt;
  return get(0);
}

//===----------------------------------------------------------------------===//
// Rounding
//===----------------------------------------------------------------------===//

/// The number of type `type` that is nearest to `value`.
static double roundTo(FloatType type, double value) {
  if (type.isF64())
    return value;
  if (type.isF32())
    return static_cast<float>(value);
  APFloat number(value);
  bool losesInfo;
  number.convert(type.getFloatSemantics(), APFloat::rmNearestTiesToEven,
                 &losesInfo);
  return number.convertToDouble();
}

/// The integer of type `type` that has the same low bits.
static int64_t wrapTo(IntegerType type, int64_t value) {
  unsigned width = type.getWidth();
  if (width == 1)
    return value != 0;
  if (width >= 64)
    return value;
  uint64_t low = static_cast<uint64_t>(value) & ((uint64_t(1) << width) - 1);
  if (type.isUnsigned())
    return static_cast<int64_t>(low);
  return llvm::SignExtend64(low, width);
}

/// A constant of zeros, of `most` elements at most.
static std::optional<Constant>
makeConstant(ArrayRef<int64_t> shape, Type element,
             int64_t most = Constant::kMaxElements) {
  int64_t count = 1;
  for (int64_t extent : shape) {
    if (extent < 0 || (extent > 0 && count > most / extent))
      return std::nullopt;
    count *= extent;
  }
  Constant made;
  made.type = RankedTensorType::get(shape, element);
  if (isa<FloatType>(element))
    made.reals.resize(count);
  else if (isa<IntegerType>(element) &&
           cast<IntegerType>(element).getWidth() <= 64)
    made.ints.resize(count);
  else
    return std::nullopt;
  return made;
}

//===----------------------------------------------------------------------===//
// Elements of attributes
//===----------------------------------------------------------------------===//

/// The bytes of elements, one byte or more for each; empty if they cannot be
/// had.
static ArrayRef<char> getBytes(ElementsAttr elements) {
  if (auto file = dyn_cast<onnx::FileElementsAttr>(elements)) {
    if (onnx::getElementBits(file.getType().getElementType()) < 8)
      return {};
    std::string error;
    return file.getBytes(error);
  }
  if (auto resource = dyn_cast<DenseResourceElementsAttr>(elements))
    if (AsmResourceBlob *blob = resource.getRawHandle().getBlob())
      return blob->getData();
  return {};
}

static std::optional<Constant> readBytes(Constant made, ArrayRef<char> bytes) {
  Type element = made.type.getElementType();
  unsigned width = static_cast<unsigned>(
      llvm::divideCeil(element.getIntOrFloatBitWidth(), 8));
  int64_t count = made.size();
  if (width == 0 || width > 8 ||
      bytes.size() < static_cast<size_t>(count) * width)
    return std::nullopt;
  for (int64_t i = 0; i < count; ++i) {
    uint64_t bits = 0;
    std::memcpy(&bits, bytes.data() + i * width, width);
    if (auto real = dyn_cast<FloatType>(element))
      made.reals[i] = APFloat(real.getFloatSemantics(),
                              APInt(real.getWidth(), bits, /*isSigned=*/false,
                                    /*implicitTrunc=*/true))
                          .convertToDouble();
    else
      made.ints[i] =
          wrapTo(cast<IntegerType>(element), static_cast<int64_t>(bits));
  }
  return made;
}

static std::optional<Constant>
readElements(ElementsAttr elements, int64_t most = Constant::kMaxElements) {
  auto type = dyn_cast<RankedTensorType>(elements.getType());
  if (!type || !type.hasStaticShape())
    return std::nullopt;
  std::optional<Constant> made =
      makeConstant(type.getShape(), type.getElementType(), most);
  if (!made)
    return std::nullopt;
  if (auto dense = dyn_cast<DenseFPElementsAttr>(elements)) {
    for (auto [to, from] : llvm::zip(made->reals, dense.getValues<APFloat>()))
      to = from.convertToDouble();
    return made;
  }
  if (auto dense = dyn_cast<DenseIntElementsAttr>(elements)) {
    auto integer = cast<IntegerType>(type.getElementType());
    for (auto [to, from] : llvm::zip(made->ints, dense.getValues<APInt>()))
      to = integer.isUnsigned() || integer.getWidth() == 1
               ? static_cast<int64_t>(from.getZExtValue())
               : from.getSExtValue();
    return made;
  }
  return readBytes(std::move(*made), getBytes(elements));
}

//===----------------------------------------------------------------------===//
// Arithmetic
//===----------------------------------------------------------------------===//

static double powReal(double x, double y) { return std::pow(x, y); }

/// One operation on numbers; NaN-free inputs are not asked for, the result is
/// what IEEE arithmetic says.
static std::optional<double> applyReal(StringRef op, double x, double y) {
  if (op == "Add" || op == "Sum")
    return x + y;
  if (op == "Sub")
    return x - y;
  if (op == "Mul")
    return x * y;
  if (op == "Div")
    return x / y;
  if (op == "Pow")
    return powReal(x, y);
  if (op == "Min")
    return std::isnan(x) ? x : std::min(x, y);
  if (op == "Max")
    return std::isnan(x) ? x : std::max(x, y);
  return std::nullopt;
}

static std::optional<int64_t> applyInt(StringRef op, int64_t x, int64_t y) {
  auto wrap = [](uint64_t value) { return static_cast<int64_t>(value); };
  uint64_t a = static_cast<uint64_t>(x), b = static_cast<uint64_t>(y);
  if (op == "Add" || op == "Sum")
    return wrap(a + b);
  if (op == "Sub")
    return wrap(a - b);
  if (op == "Mul")
    return wrap(a * b);
  // ONNX's Div of integers rounds to zero. The least number has no opposite.
  if (op == "Div")
    return y == 0    ? std::nullopt
           : y == -1 ? std::optional<int64_t>(wrap(0 - a))
                     : std::optional<int64_t>(x / y);
  if (op == "Min")
    return std::min(x, y);
  if (op == "Max")
    return std::max(x, y);
  if (op == "And")
    return x && y;
  if (op == "Or")
    return x || y;
  if (op == "Xor")
    return (x != 0) != (y != 0);
  return std::nullopt;
}

static std::optional<bool> compareNumbers(StringRef op, double x, double y) {
  if (op == "Equal")
    return x == y;
  if (op == "Less")
    return x < y;
  if (op == "LessOrEqual")
    return x <= y;
  if (op == "Greater")
    return x > y;
  if (op == "GreaterOrEqual")
    return x >= y;
  return std::nullopt;
}

static std::optional<double> applyUnary(StringRef op, double x) {
  if (op == "Neg")
    return -x;
  if (op == "Abs")
    return std::fabs(x);
  if (op == "Reciprocal")
    return 1 / x;
  if (op == "Sqrt")
    return std::sqrt(x);
  if (op == "Exp")
    return std::exp(x);
  if (op == "Log")
    return std::log(x);
  if (op == "Floor")
    return std::floor(x);
  if (op == "Ceil")
    return std::ceil(x);
  if (op == "Not")
    return x == 0 ? 1.0 : 0.0;
  return std::nullopt;
}

/// What Cast makes of a number; none for a float that the integer cannot hold.
static bool castNumber(const Constant &from, int64_t i, Constant &to) {
  if (auto real = dyn_cast<FloatType>(to.type.getElementType())) {
    to.reals[i] = roundTo(real, from.get(i));
    return true;
  }
  auto integer = cast<IntegerType>(to.type.getElementType());
  if (integer.getWidth() == 1) {
    to.ints[i] = from.get(i) != 0;
    return true;
  }
  if (!from.isReal()) {
    to.ints[i] = wrapTo(integer, from.ints[i]);
    return true;
  }
  double value = std::trunc(from.reals[i]);
  constexpr double kLimit = 9223372036854774784.0;
  if (!(std::fabs(value) <= kLimit))
    return false;
  to.ints[i] = static_cast<int64_t>(value);
  return wrapTo(integer, to.ints[i]) == to.ints[i];
}

//===----------------------------------------------------------------------===//
// Evaluation
//===----------------------------------------------------------------------===//

namespace {

/// Positions of a tensor's elements, row-major.
class Positions {
public:
  explicit Positions(ArrayRef<int64_t> shape)
      : shape(shape), at(shape.size(), 0) {}
  ArrayRef<int64_t> get() const { return at; }
  void next() {
    for (size_t i = shape.size(); i-- > 0;) {
      if (++at[i] < shape[i])
        return;
      at[i] = 0;
    }
  }

private:
  SmallVector<int64_t> shape, at;
};

class Evaluator {
public:
  std::optional<Constant> evaluate(Value value);

private:
  using Result = std::optional<Constant>;

  Result evaluateNode(Operation *op, RankedTensorType type);
  Result evaluateBinary(Operation *op, StringRef name);
  Result evaluateUnary(Operation *op, StringRef name);
  Result evaluateCast(Operation *op);
  Result evaluateShape(Operation *op, RankedTensorType type);
  Result evaluateTranspose(Operation *op);
  Result evaluateExpand(Operation *op);
  Result evaluateSlice(Operation *op);
  Result evaluateGather(Operation *op);
  Result evaluateConcat(Operation *op);
  Result evaluateWhere(Operation *op);
  Result evaluateRange(Operation *op);
  Result evaluateConstantOfShape(Operation *op);
  Result evaluateSplit(Operation *op, unsigned result, RankedTensorType type);

  Result input(Operation *op, unsigned i) {
    Value operand = onnx::getFormalOperand(op, i);
    return operand ? evaluate(operand) : std::nullopt;
  }
  std::optional<SmallVector<int64_t>> ints(Operation *op, unsigned i) {
    Result value = input(op, i);
    if (!value || value->isReal())
      return std::nullopt;
    return SmallVector<int64_t>(value->ints.begin(), value->ints.end());
  }

  /// Nodes that may still be looked at: a constant of a model is made by few.
  unsigned budget = 256;
};

} // namespace

/// Element `position` of `from` seen from a larger shape that it is broadcast
/// to.
static int64_t broadcastIndex(ArrayRef<int64_t> shape,
                              ArrayRef<int64_t> position) {
  int64_t index = 0;
  size_t skipped = position.size() - shape.size();
  for (size_t i = 0; i < shape.size(); ++i)
    index = index * shape[i] + (shape[i] == 1 ? 0 : position[skipped + i]);
  return index;
}

static std::optional<SmallVector<int64_t>>
broadcastShapes(ArrayRef<ArrayRef<int64_t>> shapes) {
  SmallVector<int64_t> out;
  for (ArrayRef<int64_t> shape : shapes) {
    if (shape.size() > out.size())
      out.insert(out.begin(), shape.size() - out.size(), 1);
    for (size_t i = 0; i < shape.size(); ++i) {
      int64_t &extent = out[out.size() - shape.size() + i];
      if (extent == 1)
        extent = shape[i];
      else if (shape[i] != 1 && shape[i] != extent)
        return std::nullopt;
    }
  }
  return out;
}

/// Copies element `i` of `from` to element `j` of `to`.
static void copyElement(const Constant &from, int64_t i, Constant &to,
                        int64_t j) {
  if (from.isReal())
    to.reals[j] = from.reals[i];
  else
    to.ints[j] = from.ints[i];
}

std::optional<Constant> Evaluator::evaluateBinary(Operation *op,
                                                  StringRef name) {
  if (op->getNumOperands() != 2)
    return std::nullopt;
  Result a = input(op, 0), b = input(op, 1);
  if (!a || !b || a->isReal() != b->isReal())
    return std::nullopt;
  std::optional<SmallVector<int64_t>> shape =
      broadcastShapes({a->type.getShape(), b->type.getShape()});
  if (!shape)
    return std::nullopt;
  Result out = makeConstant(*shape, getElementType(op->getResult(0)));
  if (!out)
    return std::nullopt;
  Positions at(*shape);
  for (int64_t i = 0, n = out->size(); i < n; ++i, at.next()) {
    int64_t x = broadcastIndex(a->type.getShape(), at.get());
    int64_t y = broadcastIndex(b->type.getShape(), at.get());
    if (std::optional<bool> truth =
            a->isReal() ? compareNumbers(name, a->reals[x], b->reals[y])
                        : std::nullopt) {
      out->ints[i] = *truth;
    } else if (a->isReal()) {
      std::optional<double> number = applyReal(name, a->reals[x], b->reals[y]);
      if (!number)
        return std::nullopt;
      out->reals[i] =
          roundTo(cast<FloatType>(out->type.getElementType()), *number);
    } else {
      std::optional<int64_t> number = applyInt(name, a->ints[x], b->ints[y]);
      if (name == "Equal")
        number = a->ints[x] == b->ints[y];
      else if (name == "Less")
        number = a->ints[x] < b->ints[y];
      else if (name == "Greater")
        number = a->ints[x] > b->ints[y];
      if (!number)
        return std::nullopt;
      out->ints[i] =
          wrapTo(cast<IntegerType>(out->type.getElementType()), *number);
    }
  }
  return out;
}

std::optional<Constant> Evaluator::evaluateUnary(Operation *op,
                                                 StringRef name) {
  Result out = input(op, 0);
  if (!out)
    return std::nullopt;
  for (int64_t i = 0, n = out->size(); i < n; ++i) {
    if (!out->isReal() && name != "Neg" && name != "Not" && name != "Abs")
      return std::nullopt;
    std::optional<double> number = applyUnary(name, out->get(i));
    if (!number)
      return std::nullopt;
    if (auto real = dyn_cast<FloatType>(out->type.getElementType()))
      out->reals[i] = roundTo(real, *number);
    else if (name == "Not")
      out->ints[i] = *number != 0;
    else if (name == "Neg" || out->ints[i] < 0)
      // Not by way of a double, which has fewer bits.
      out->ints[i] =
          wrapTo(cast<IntegerType>(out->type.getElementType()),
                 static_cast<int64_t>(0 - static_cast<uint64_t>(out->ints[i])));
  }
  return out;
}

std::optional<Constant> Evaluator::evaluateCast(Operation *op) {
  Result from = input(op, 0);
  if (!from)
    return std::nullopt;
  Result to =
      makeConstant(from->type.getShape(), getElementType(op->getResult(0)));
  if (!to)
    return std::nullopt;
  for (int64_t i = 0, n = from->size(); i < n; ++i)
    if (!castNumber(*from, i, *to))
      return std::nullopt;
  return to;
}

/// Operators that leave the order of elements alone: the type tells the shape.
std::optional<Constant> Evaluator::evaluateShape(Operation *op,
                                                 RankedTensorType type) {
  Result value = input(op, 0);
  if (!value || !type.hasStaticShape() ||
      type.getNumElements() != value->size())
    return std::nullopt;
  value->type =
      RankedTensorType::get(type.getShape(), value->type.getElementType());
  return value;
}

std::optional<Constant> Evaluator::evaluateTranspose(Operation *op) {
  Result from = input(op, 0);
  if (!from)
    return std::nullopt;
  SmallVector<int64_t> perm = getPermutation(op);
  ArrayRef<int64_t> in = from->type.getShape();
  if (perm.size() != in.size())
    return std::nullopt;
  SmallVector<int64_t> shape;
  for (int64_t axis : perm) {
    if (axis < 0 || axis >= static_cast<int64_t>(in.size()))
      return std::nullopt;
    shape.push_back(in[axis]);
  }
  Result out = makeConstant(shape, from->type.getElementType());
  if (!out || out->size() != from->size())
    return std::nullopt;
  Positions at(shape);
  SmallVector<int64_t> source(in.size());
  for (int64_t i = 0, n = out->size(); i < n; ++i, at.next()) {
    for (size_t j = 0; j < perm.size(); ++j)
      source[perm[j]] = at.get()[j];
    copyElement(*from, broadcastIndex(in, source), *out, i);
  }
  return out;
}

std::optional<Constant> Evaluator::evaluateExpand(Operation *op) {
  Result from = input(op, 0);
  std::optional<SmallVector<int64_t>> wanted = ints(op, 1);
  if (!from || !wanted)
    return std::nullopt;
  std::optional<SmallVector<int64_t>> shape =
      broadcastShapes({from->type.getShape(), *wanted});
  if (!shape)
    return std::nullopt;
  Result out = makeConstant(*shape, from->type.getElementType());
  if (!out)
    return std::nullopt;
  Positions at(*shape);
  for (int64_t i = 0, n = out->size(); i < n; ++i, at.next())
    copyElement(*from, broadcastIndex(from->type.getShape(), at.get()), *out,
                i);
  return out;
}

std::optional<Constant> Evaluator::evaluateSlice(Operation *op) {
  Result from = input(op, 0);
  std::optional<SmallVector<int64_t>> starts = ints(op, 1), ends = ints(op, 2);
  if (!from || !starts || !ends || starts->size() != ends->size())
    return std::nullopt;
  int64_t rank = from->type.getRank();
  SmallVector<int64_t> axes =
      llvm::to_vector(llvm::seq<int64_t>(0, starts->size()));
  SmallVector<int64_t> steps(starts->size(), 1);
  if (onnx::getFormalOperand(op, 3)) {
    std::optional<SmallVector<int64_t>> given = ints(op, 3);
    if (!given || given->size() != starts->size())
      return std::nullopt;
    axes = *given;
  }
  if (onnx::getFormalOperand(op, 4)) {
    std::optional<SmallVector<int64_t>> given = ints(op, 4);
    if (!given || given->size() != starts->size())
      return std::nullopt;
    steps = *given;
  }
  SmallVector<int64_t> shape(from->type.getShape());
  SmallVector<int64_t> first(rank, 0), stride(rank, 1);
  for (auto [i, given] : llvm::enumerate(axes)) {
    int64_t axis = given < 0 ? given + rank : given;
    // Forwards only: nothing that exporters make of constants needs more.
    if (axis < 0 || axis >= rank || steps[i] < 1)
      return std::nullopt;
    int64_t extent = from->type.getDimSize(axis);
    auto clamp = [&](int64_t x) {
      return std::clamp<int64_t>(x < 0 ? x + extent : x, 0, extent);
    };
    int64_t begin = clamp((*starts)[i]), end = clamp((*ends)[i]);
    first[axis] = begin;
    stride[axis] = steps[i];
    shape[axis] = end > begin ? 1 + (end - begin - 1) / steps[i] : int64_t(0);
  }
  Result out = makeConstant(shape, from->type.getElementType());
  if (!out)
    return std::nullopt;
  Positions at(shape);
  SmallVector<int64_t> source(rank);
  for (int64_t i = 0, n = out->size(); i < n; ++i, at.next()) {
    for (int64_t j = 0; j < rank; ++j)
      source[j] = first[j] + at.get()[j] * stride[j];
    int64_t index = 0;
    for (int64_t j = 0; j < rank; ++j)
      index = index * from->type.getDimSize(j) + source[j];
    copyElement(*from, index, *out, i);
  }
  return out;
}

std::optional<Constant> Evaluator::evaluateGather(Operation *op) {
  Result from = input(op, 0), which = input(op, 1);
  if (!from || !which || which->isReal() || from->type.getRank() == 0)
    return std::nullopt;
  std::optional<int64_t> axis = getAxis(op, "axis", 0, from->type.getRank());
  if (!axis)
    return std::nullopt;
  ArrayRef<int64_t> in = from->type.getShape();
  SmallVector<int64_t> shape(in.take_front(*axis));
  llvm::append_range(shape, which->type.getShape());
  llvm::append_range(shape, in.drop_front(*axis + 1));
  Result out = makeConstant(shape, from->type.getElementType());
  if (!out)
    return std::nullopt;
  int64_t inner = 1, outer = 1;
  for (int64_t extent : in.drop_front(*axis + 1))
    inner *= extent;
  for (int64_t extent : in.take_front(*axis))
    outer *= extent;
  int64_t to = 0;
  for (int64_t i = 0; i < outer; ++i)
    for (int64_t id : which->ints) {
      if (id < 0)
        id += in[*axis];
      if (id < 0 || id >= in[*axis])
        return std::nullopt;
      for (int64_t j = 0; j < inner; ++j)
        copyElement(*from, (i * in[*axis] + id) * inner + j, *out, to++);
    }
  return out;
}

std::optional<Constant> Evaluator::evaluateConcat(Operation *op) {
  SmallVector<Constant> parts;
  for (Value operand : op->getOperands()) {
    Result part = evaluate(operand);
    if (!part)
      return std::nullopt;
    parts.push_back(std::move(*part));
  }
  if (parts.empty())
    return std::nullopt;
  int64_t rank = parts.front().type.getRank();
  std::optional<int64_t> axis = getAxis(op, "axis", 0, rank);
  if (!axis)
    return std::nullopt;
  SmallVector<int64_t> shape(parts.front().type.getShape());
  shape[*axis] = 0;
  int64_t outer = 1, inner = 1;
  for (const Constant &part : parts) {
    if (part.type.getRank() != rank)
      return std::nullopt;
    for (int64_t i = 0; i < rank; ++i)
      if (i != *axis && part.type.getDimSize(i) != shape[i])
        return std::nullopt;
    shape[*axis] += part.type.getDimSize(*axis);
  }
  for (int64_t i = 0; i < rank; ++i)
    (i < *axis ? outer : inner) *= i == *axis ? 1 : shape[i];
  Result out = makeConstant(shape, parts.front().type.getElementType());
  if (!out)
    return std::nullopt;
  int64_t to = 0;
  for (int64_t i = 0; i < outer; ++i)
    for (const Constant &part : parts) {
      int64_t length = part.type.getDimSize(*axis) * inner;
      for (int64_t j = 0; j < length; ++j)
        copyElement(part, i * length + j, *out, to++);
    }
  return out;
}

std::optional<Constant> Evaluator::evaluateWhere(Operation *op) {
  Result c = input(op, 0), x = input(op, 1), y = input(op, 2);
  if (!c || !x || !y || c->isReal() || x->isReal() != y->isReal())
    return std::nullopt;
  std::optional<SmallVector<int64_t>> shape = broadcastShapes(
      {c->type.getShape(), x->type.getShape(), y->type.getShape()});
  if (!shape)
    return std::nullopt;
  Result out = makeConstant(*shape, x->type.getElementType());
  if (!out)
    return std::nullopt;
  Positions at(*shape);
  for (int64_t i = 0, n = out->size(); i < n; ++i, at.next()) {
    const Constant &from =
        c->ints[broadcastIndex(c->type.getShape(), at.get())] ? *x : *y;
    copyElement(from, broadcastIndex(from.type.getShape(), at.get()), *out, i);
  }
  return out;
}

std::optional<Constant> Evaluator::evaluateRange(Operation *op) {
  std::optional<SmallVector<int64_t>> start = ints(op, 0), limit = ints(op, 1),
                                      delta = ints(op, 2);
  if (!start || !limit || !delta || start->size() != 1 || limit->size() != 1 ||
      delta->size() != 1 || delta->front() < 1)
    return std::nullopt;
  int64_t begin = start->front(), end = limit->front(), step = delta->front();
  if (begin < -Constant::kMaxElements || begin > Constant::kMaxElements ||
      end > Constant::kMaxElements)
    return std::nullopt;
  int64_t count = end > begin ? 1 + (end - begin - 1) / step : 0;
  Result out = makeConstant({count}, getElementType(op->getResult(0)));
  if (!out)
    return std::nullopt;
  for (int64_t i = 0; i < count; ++i)
    out->ints[i] = begin + i * step;
  return out;
}

std::optional<Constant> Evaluator::evaluateConstantOfShape(Operation *op) {
  std::optional<SmallVector<int64_t>> shape = ints(op, 0);
  std::optional<double> number = match::getNumber(op->getResult(0));
  if (!shape || !number)
    return std::nullopt;
  Result out = makeConstant(*shape, getElementType(op->getResult(0)));
  if (!out)
    return std::nullopt;
  for (int64_t i = 0, n = out->size(); i < n; ++i)
    if (out->isReal())
      out->reals[i] = *number;
    else
      out->ints[i] = static_cast<int64_t>(*number);
  return out;
}

std::optional<Constant> Evaluator::evaluateSplit(Operation *op, unsigned result,
                                                 RankedTensorType type) {
  Result from = input(op, 0);
  if (!from || !type.hasStaticShape() || from->type.getRank() == 0)
    return std::nullopt;
  std::optional<int64_t> axis = getAxis(op, "axis", 0, from->type.getRank());
  if (!axis || type.getRank() != from->type.getRank())
    return std::nullopt;
  int64_t begin = 0;
  for (unsigned i = 0; i < result; ++i) {
    auto part = dyn_cast<RankedTensorType>(op->getResult(i).getType());
    if (!part || part.getRank() != type.getRank() || part.isDynamicDim(*axis))
      return std::nullopt;
    begin += part.getDimSize(*axis);
  }
  Result out = makeConstant(type.getShape(), from->type.getElementType());
  if (!out)
    return std::nullopt;
  int64_t inner = 1, outer = 1, extent = from->type.getDimSize(*axis);
  for (int64_t i = 0; i < type.getRank(); ++i) {
    if (i != *axis && type.getDimSize(i) != from->type.getDimSize(i))
      return std::nullopt;
    (i < *axis ? outer : inner) *= i == *axis ? 1 : type.getDimSize(i);
  }
  int64_t length = type.getDimSize(*axis);
  if (begin + length > extent)
    return std::nullopt;
  int64_t to = 0;
  for (int64_t i = 0; i < outer; ++i)
    for (int64_t j = 0; j < length * inner; ++j)
      copyElement(*from, (i * extent + begin) * inner + j, *out, to++);
  return out;
}

std::optional<Constant> Evaluator::evaluateNode(Operation *op,
                                                RankedTensorType type) {
  enum Kind { Shape, Binary, Unary, Other };
  StringRef name = op->getName().getStringRef();
  if (!name.consume_front("onnx."))
    return std::nullopt;
  Kind kind =
      llvm::StringSwitch<Kind>(name)
          .Cases({"Identity", "Reshape", "Unsqueeze", "Squeeze", "Flatten"},
                 Shape)
          .Cases({"Add", "Sub", "Mul", "Div", "Pow", "Min", "Max", "Sum"},
                 Binary)
          .Cases({"And", "Or", "Xor", "Equal", "Less", "LessOrEqual", "Greater",
                  "GreaterOrEqual"},
                 Binary)
          .Cases({"Neg", "Abs", "Reciprocal", "Sqrt", "Exp", "Log", "Floor",
                  "Ceil", "Not"},
                 Unary)
          .Default(Other);
  if (kind == Shape)
    return evaluateShape(op, type);
  if (kind == Binary)
    return evaluateBinary(op, name);
  if (kind == Unary)
    return evaluateUnary(op, name);
  if (name == "Cast")
    return evaluateCast(op);
  if (name == "Transpose")
    return evaluateTranspose(op);
  if (name == "Expand")
    return evaluateExpand(op);
  if (name == "Slice")
    return evaluateSlice(op);
  if (name == "Gather")
    return evaluateGather(op);
  if (name == "Concat")
    return evaluateConcat(op);
  if (name == "Where")
    return evaluateWhere(op);
  if (name == "Range")
    return evaluateRange(op);
  if (name == "ConstantOfShape")
    return evaluateConstantOfShape(op);
  return std::nullopt;
}

std::optional<Constant> Evaluator::evaluate(Value value) {
  auto result = dyn_cast<OpResult>(value);
  auto type = dyn_cast<RankedTensorType>(value.getType());
  if (!result || !type || budget == 0)
    return std::nullopt;
  --budget;
  Operation *op = result.getOwner();
  if (ElementsAttr elements = onnx::getConstantElements(op))
    return readElements(elements);
  Result known = op->getName().getStringRef() == "onnx.Split"
                     ? evaluateSplit(op, result.getResultNumber(), type)
                 : result.getResultNumber() == 0 ? evaluateNode(op, type)
                                                 : std::nullopt;
  if (known || !type.getElementType().isInteger() || !type.hasStaticShape())
    return known;
  // Extents that shape inference found out.
  std::optional<SmallVector<int64_t>> elements = getConstantShape(value);
  if (!elements ||
      static_cast<int64_t>(elements->size()) != type.getNumElements())
    return std::nullopt;
  known = makeConstant(type.getShape(), type.getElementType());
  if (known)
    known->ints.assign(elements->begin(), elements->end());
  return known;
}

std::optional<Constant> match::evaluate(Value value) {
  return value ? Evaluator().evaluate(value) : std::nullopt;
}

std::optional<SmallVector<int64_t>> match::getInts(Value value) {
  std::optional<Constant> known = evaluate(value);
  if (!known || known->isReal())
    return std::nullopt;
  return SmallVector<int64_t>(known->ints.begin(), known->ints.end());
}

std::optional<int64_t> match::getSingleInt(Value value) {
  std::optional<SmallVector<int64_t>> known = getInts(value);
  if (!known || known->size() != 1)
    return std::nullopt;
  return known->front();
}

//===----------------------------------------------------------------------===//
// One number everywhere
//===----------------------------------------------------------------------===//

/// The number that all elements of a large attribute are.
static std::optional<double> getSplat(ElementsAttr elements) {
  if (auto dense = dyn_cast<DenseFPElementsAttr>(elements)) {
    if (dense.isSplat())
      return dense.getSplatValue<APFloat>().convertToDouble();
  } else if (auto dense = dyn_cast<DenseIntElementsAttr>(elements)) {
    if (dense.isSplat()) {
      APInt number = dense.getSplatValue<APInt>();
      Type element = dense.getElementType();
      bool isUnsigned =
          element.isUnsignedInteger() || number.getBitWidth() == 1;
      return number.roundToDouble(/*isSigned=*/!isUnsigned);
    }
  }
  std::optional<Constant> known = readElements(elements);
  return known ? known->getNumber() : std::nullopt;
}

static std::optional<double> getNumberOf(Value value, unsigned depth) {
  Operation *op = value ? value.getDefiningOp() : nullptr;
  if (!op || depth == 0)
    return std::nullopt;
  if (ElementsAttr elements = onnx::getConstantElements(op))
    return getSplat(elements);
  StringRef name = op->getName().getStringRef();
  if (!name.consume_front("onnx."))
    return std::nullopt;
  auto next = [&](unsigned i) {
    return getNumberOf(onnx::getFormalOperand(op, i), depth - 1);
  };
  static const llvm::StringSet<> movements{
      "Identity", "Reshape", "Unsqueeze", "Squeeze", "Flatten", "Transpose",
      "Expand",   "Tile",    "Slice",     "Split",   "Gather"};
  if (movements.contains(name))
    return next(0);
  if (name == "ConstantOfShape") {
    auto given = op->getAttrOfType<ElementsAttr>("value");
    return given ? getSplat(given) : std::optional<double>(0);
  }
  Type element = getElementType(op->getResult(0));
  auto rounded = [&](std::optional<double> number) -> std::optional<double> {
    auto real = dyn_cast_or_null<FloatType>(element);
    if (!number || !real)
      return std::nullopt;
    return roundTo(real, *number);
  };
  if (name == "Cast") {
    std::optional<double> number = next(0);
    if (!number)
      return std::nullopt;
    if (isa<FloatType>(element))
      return rounded(number);
    if (element.isInteger(1))
      return *number != 0 ? 1 : 0;
    // Small integers stay what they are.
    bool stays = std::trunc(*number) == *number && std::fabs(*number) < 127 &&
                 (*number >= 0 || !element.isUnsignedInteger());
    return stays && element.isInteger() ? number : std::nullopt;
  }
  if (op->getNumOperands() == 1)
    if (std::optional<double> number = next(0)) {
      std::optional<double> made = applyUnary(name, *number);
      return name == "Not" ? made : rounded(made);
    }
  if (op->getNumOperands() == 2) {
    std::optional<double> a = next(0), b = a ? next(1) : std::nullopt;
    if (a && b)
      return rounded(applyReal(name, *a, *b));
  }
  // Scalars that other operators make.
  auto type = dyn_cast<RankedTensorType>(op->getResult(0).getType());
  if (type && type.hasStaticShape() && type.getNumElements() == 1)
    if (std::optional<Constant> known = match::evaluate(value))
      return known->getNumber();
  return std::nullopt;
}

std::optional<double> match::getNumber(Value value) {
  return getNumberOf(value, 16);
}

static bool isConstantWithin(Value value, unsigned depth) {
  Operation *op = value ? value.getDefiningOp() : nullptr;
  if (!op || depth == 0)
    return false;
  if (onnx::getConstantElements(op))
    return true;
  static const llvm::StringSet<> pure{
      "onnx.Identity",  "onnx.Cast",    "onnx.Reshape",
      "onnx.Unsqueeze", "onnx.Squeeze", "onnx.Flatten",
      "onnx.Transpose", "onnx.Expand",  "onnx.Tile",
      "onnx.Slice",     "onnx.Split",   "onnx.Gather",
      "onnx.Concat",    "onnx.Add",     "onnx.Sub",
      "onnx.Mul",       "onnx.Div",     "onnx.DequantizeLinear"};
  return pure.contains(op->getName().getStringRef()) &&
         op->getNumOperands() != 0 &&
         llvm::all_of(op->getOperands(), [&](Value operand) {
           return isConstantWithin(operand, depth - 1);
         });
}

bool match::isConstant(Value value) { return isConstantWithin(value, 12); }

bool match::isWithin(Value value, int64_t least, int64_t end) {
  value = strip(value);
  while (Operation *cast = getNode(value, "onnx.Cast"))
    value = getInput(cast, 0);
  Operation *op = value.getDefiningOp();
  ElementsAttr elements = op ? onnx::getConstantElements(op) : ElementsAttr();
  // Tables of ids have an entry for each word and slot.
  constexpr int64_t kMostElements = int64_t(1) << 26;
  std::optional<Constant> known =
      elements ? readElements(elements, kMostElements) : std::nullopt;
  return known && !known->isReal() && llvm::all_of(known->ints, [&](int64_t x) {
           return x >= least && x < end;
         });
}

bool match::isIota(Value value, int64_t &n) {
  std::optional<Constant> known = evaluate(value);
  if (!known || known->type.getRank() == 0)
    return false;
  n = known->size();
  if (known->type.getShape().back() != n)
    return false;
  for (int64_t i = 0; i < n; ++i)
    if (known->get(i) != static_cast<double>(i))
      return false;
  return true;
}
