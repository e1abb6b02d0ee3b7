//===- Elementwise.cpp - operators that work point by point ---------------===//
//
// Each operator is a function on scalars; broadcasting, storage types and
// loops are shared. f16 and bf16 are computed in f32 and rounded once per
// operator, as ONNX's reference does.
//
//===----------------------------------------------------------------------===//

#include "dialects/ONNX/ONNXDialect.h"
#include "passes/Lower/ONNXToLinalg/Lowering.h"
#include <cmath>
#include <limits>

using namespace mlir;
using namespace moe;
using namespace moe::lower;

namespace {
/// Builds scalar arithmetic at one place.
struct Scalars {
  OpBuilder &b;
  Location loc;

  Value number(Value like, double v) const {
    Type type = like.getType();
    if (isa<FloatType>(type))
      return arith::ConstantOp::create(b, loc, b.getFloatAttr(type, v));
    return arith::ConstantOp::create(
        b, loc, b.getIntegerAttr(type, static_cast<int64_t>(v)));
  }
  Value add(Value x, Value y) const {
    if (isa<FloatType>(x.getType()))
      return arith::AddFOp::create(b, loc, x, y);
    return arith::AddIOp::create(b, loc, x, y);
  }
  Value sub(Value x, Value y) const {
    if (isa<FloatType>(x.getType()))
      return arith::SubFOp::create(b, loc, x, y);
    return arith::SubIOp::create(b, loc, x, y);
  }
  Value mul(Value x, Value y) const {
    if (isa<FloatType>(x.getType()))
      return arith::MulFOp::create(b, loc, x, y);
    return arith::MulIOp::create(b, loc, x, y);
  }
  Value divide(Value x, Value y) const {
    return arith::DivFOp::create(b, loc, x, y);
  }
  Value negate(Value x) const {
    if (isa<FloatType>(x.getType()))
      return arith::NegFOp::create(b, loc, x);
    return sub(number(x, 0), x);
  }
  Value exp(Value x) const { return math::ExpOp::create(b, loc, x); }
  Value log(Value x) const { return math::LogOp::create(b, loc, x); }
  Value tanh(Value x) const { return math::TanhOp::create(b, loc, x); }
  Value abs(Value x) const {
    if (isa<FloatType>(x.getType()))
      return math::AbsFOp::create(b, loc, x);
    return math::AbsIOp::create(b, loc, x);
  }
  Value select(Value c, Value x, Value y) const {
    return arith::SelectOp::create(b, loc, c, x, y);
  }
  /// NaN in, NaN out.
  Value max(Value x, Value y, bool isUnsigned = false) const {
    if (isa<FloatType>(x.getType()))
      return arith::MaximumFOp::create(b, loc, x, y);
    if (isUnsigned)
      return arith::MaxUIOp::create(b, loc, x, y);
    return arith::MaxSIOp::create(b, loc, x, y);
  }
  Value min(Value x, Value y, bool isUnsigned = false) const {
    if (isa<FloatType>(x.getType()))
      return arith::MinimumFOp::create(b, loc, x, y);
    if (isUnsigned)
      return arith::MinUIOp::create(b, loc, x, y);
    return arith::MinSIOp::create(b, loc, x, y);
  }
  Value compare(arith::CmpFPredicate real, arith::CmpIPredicate whole, Value x,
                Value y) const {
    if (isa<FloatType>(x.getType()))
      return arith::CmpFOp::create(b, loc, real, x, y);
    return arith::CmpIOp::create(b, loc, whole, x, y);
  }
  Value less(Value x, Value y) const {
    return compare(arith::CmpFPredicate::OLT, arith::CmpIPredicate::slt, x, y);
  }
  Value equal(Value x, Value y) const {
    return compare(arith::CmpFPredicate::OEQ, arith::CmpIPredicate::eq, x, y);
  }
  Value logistic(Value x) const {
    Value one = number(x, 1);
    return divide(one, add(one, exp(negate(x))));
  }
  /// log(1 + exp(x)) without overflow.
  Value softplus(Value x) const {
    Value tail = math::Log1pOp::create(b, loc, exp(negate(abs(x))));
    return add(max(x, number(x, 0)), tail);
  }
};

/// f(s, op, x): the operator's value at x.
using UnaryFn = Value (*)(const Scalars &s, Operation *op, Value x);
using BinaryFn = Value (*)(const Scalars &s, Operation *op, Value x, Value y);
} // namespace

/// Element type of the first operand as ONNX sees it (with its sign).
static bool hasUnsigned(Operation *op) {
  return isUnsigned(elementOf(op->getOperand(0)));
}

//===----------------------------------------------------------------------===//
// One operand
//===----------------------------------------------------------------------===//

/// An operator that is one op of the math dialect.
template <typename MathOp>
static Value mathOp(const Scalars &s, Operation *, Value x) {
  return MathOp::create(s.b, s.loc, x);
}

static Value unaryAbs(const Scalars &s, Operation *op, Value x) {
  return hasUnsigned(op) ? x : s.abs(x);
}
static Value unaryNeg(const Scalars &s, Operation *, Value x) {
  return s.negate(x);
}
static Value unaryReciprocal(const Scalars &s, Operation *, Value x) {
  return s.divide(s.number(x, 1), x);
}
static Value unarySigmoid(const Scalars &s, Operation *, Value x) {
  return s.logistic(x);
}
static Value unaryRelu(const Scalars &s, Operation *, Value x) {
  return s.max(x, s.number(x, 0));
}
static Value unaryLeakyRelu(const Scalars &s, Operation *op, Value x) {
  Value slope = s.number(x, floatAttr(op, "alpha", 0.01));
  return s.select(s.less(x, s.number(x, 0)), s.mul(slope, x), x);
}
static Value unaryThresholdedRelu(const Scalars &s, Operation *op, Value x) {
  Value limit = s.number(x, floatAttr(op, "alpha", 1.0));
  return s.select(s.less(limit, x), x, s.number(x, 0));
}
static Value unaryElu(const Scalars &s, Operation *op, Value x) {
  Value scale = s.number(x, floatAttr(op, "alpha", 1.0));
  Value below = s.mul(scale, s.sub(s.exp(x), s.number(x, 1)));
  return s.select(s.less(x, s.number(x, 0)), below, x);
}
static Value unaryCelu(const Scalars &s, Operation *op, Value x) {
  Value alpha = s.number(x, floatAttr(op, "alpha", 1.0));
  Value below =
      s.mul(alpha, s.sub(s.exp(s.divide(x, alpha)), s.number(x, 1)));
  return s.select(s.less(x, s.number(x, 0)), below, x);
}
static Value unarySelu(const Scalars &s, Operation *op, Value x) {
  Value alpha = s.number(x, floatAttr(op, "alpha", 1.67326319217681884765625));
  Value gamma = s.number(x, floatAttr(op, "gamma", 1.05070102214813232421875));
  Value below = s.mul(alpha, s.sub(s.exp(x), s.number(x, 1)));
  return s.mul(gamma, s.select(s.less(s.number(x, 0), x), x, below));
}
static Value unarySoftplus(const Scalars &s, Operation *, Value x) {
  return s.softplus(x);
}
static Value unarySoftsign(const Scalars &s, Operation *, Value x) {
  return s.divide(x, s.add(s.number(x, 1), s.abs(x)));
}
static Value unaryHardSigmoid(const Scalars &s, Operation *op, Value x) {
  Value line = s.add(s.mul(s.number(x, floatAttr(op, "alpha", 0.2)), x),
                     s.number(x, floatAttr(op, "beta", 0.5)));
  return s.max(s.number(x, 0), s.min(s.number(x, 1), line));
}
static Value unaryHardSwish(const Scalars &s, Operation *, Value x) {
  Value line = s.add(s.mul(s.number(x, 1.0 / 6), x), s.number(x, 0.5));
  return s.mul(x, s.max(s.number(x, 0), s.min(s.number(x, 1), line)));
}
static Value unarySwish(const Scalars &s, Operation *op, Value x) {
  Value alpha = s.number(x, floatAttr(op, "alpha", 1.0));
  return s.mul(x, s.logistic(s.mul(alpha, x)));
}
static Value unaryMish(const Scalars &s, Operation *, Value x) {
  return s.mul(x, s.tanh(s.softplus(x)));
}
/// Hendrycks & Gimpel, "Gaussian Error Linear Units": x Phi(x), or its
/// approximation by tanh.
static Value unaryGelu(const Scalars &s, Operation *op, Value x) {
  Value half = s.mul(s.number(x, 0.5), x);
  if (stringAttr(op, "approximate", "none") == "tanh") {
    Value cube = s.mul(x, s.mul(x, x));
    Value inner = s.mul(s.number(x, std::sqrt(2.0 / M_PI)),
                        s.add(x, s.mul(s.number(x, 0.044715), cube)));
    return s.mul(half, s.add(s.number(x, 1), s.tanh(inner)));
  }
  Value erf = math::ErfOp::create(s.b, s.loc,
                                  s.mul(x, s.number(x, std::sqrt(0.5))));
  return s.mul(half, s.add(s.number(x, 1), erf));
}
static Value unarySign(const Scalars &s, Operation *op, Value x) {
  Value zero = s.number(x, 0), one = s.number(x, 1);
  if (hasUnsigned(op))
    return s.select(s.equal(x, zero), zero, one);
  Value negative = s.select(s.less(x, zero), s.number(x, -1), x);
  return s.select(s.less(zero, x), one, negative);
}
static Value unaryNot(const Scalars &s, Operation *, Value x) {
  return arith::XOrIOp::create(s.b, s.loc, x, s.number(x, -1));
}
static Value unaryIsNaN(const Scalars &s, Operation *, Value x) {
  return arith::CmpFOp::create(s.b, s.loc, arith::CmpFPredicate::UNO, x, x);
}
static Value unaryIsInf(const Scalars &s, Operation *op, Value x) {
  Value infinity = s.number(x, std::numeric_limits<double>::infinity());
  Value above = s.equal(x, infinity), below = s.equal(x, s.negate(infinity));
  bool positive = intAttr(op, "detect_positive", 1) != 0;
  bool negative = intAttr(op, "detect_negative", 1) != 0;
  if (positive && negative)
    return arith::OrIOp::create(s.b, s.loc, above, below);
  if (positive || negative)
    return positive ? above : below;
  return arith::ConstantOp::create(s.b, s.loc, s.b.getBoolAttr(false));
}

/// Shared by all operators of one operand: FN is a template argument, so that
/// each instance is a plain function of the table.
template <UnaryFn FN>
static LogicalResult lowerUnary(FunctionLowering &l, Operation *op) {
  Value out = op->getResult(0), in = operand(op, 0);
  Type element = l.convertElement(elementOf(out));
  l.set(out, l.broadcastPointwise(
                 out, in, element,
                 [&](OpBuilder &b, Location loc, ValueRange args) {
                   Scalars s{b, loc};
                   Value v = FN(s, op, widen(b, loc, args[0]));
                   return isa<FloatType>(element) ? narrow(b, loc, v, element)
                                                  : v;
                 }));
  return success();
}

//===----------------------------------------------------------------------===//
// Two and more operands
//===----------------------------------------------------------------------===//

static Value binaryAdd(const Scalars &s, Operation *, Value x, Value y) {
  return s.add(x, y);
}
static Value binarySub(const Scalars &s, Operation *, Value x, Value y) {
  return s.sub(x, y);
}
static Value binaryMul(const Scalars &s, Operation *, Value x, Value y) {
  return s.mul(x, y);
}

/// Integer division that is defined for every input: x / 0 is 0, and the
/// lowest value divided by -1 wraps.
static Value safeDivide(const Scalars &s, bool isUnsigned, Value x, Value y) {
  Value zero = s.number(y, 0), one = s.number(y, 1);
  Value byZero = s.equal(y, zero);
  Value divisor = s.select(byZero, one, y);
  Value quotient;
  if (isUnsigned) {
    quotient = arith::DivUIOp::create(s.b, s.loc, x, divisor);
  } else {
    Value minusOne = s.equal(y, s.number(y, -1));
    divisor = s.select(minusOne, one, divisor);
    quotient = arith::DivSIOp::create(s.b, s.loc, x, divisor);
    quotient = s.select(minusOne, s.negate(x), quotient);
  }
  return s.select(byZero, zero, quotient);
}

static Value binaryDiv(const Scalars &s, Operation *op, Value x, Value y) {
  if (isa<FloatType>(x.getType()))
    return s.divide(x, y);
  return safeDivide(s, hasUnsigned(op), x, y);
}

static Value binaryMod(const Scalars &s, Operation *op, Value x, Value y) {
  bool fmod = intAttr(op, "fmod", 0) != 0;
  if (isa<FloatType>(x.getType())) {
    Value rest = arith::RemFOp::create(s.b, s.loc, x, y);
    if (fmod)
      return rest;
    // The sign of the divisor, as numpy.mod.
    Value zero = s.number(x, 0);
    Value differs = arith::XOrIOp::create(s.b, s.loc, s.less(rest, zero),
                                          s.less(y, zero));
    Value some = arith::CmpFOp::create(s.b, s.loc, arith::CmpFPredicate::UNE,
                                       rest, zero);
    return s.select(arith::AndIOp::create(s.b, s.loc, differs, some),
                    s.add(rest, y), rest);
  }
  bool isUnsigned = hasUnsigned(op);
  Value rest = s.sub(x, s.mul(safeDivide(s, isUnsigned, x, y), y));
  if (fmod || isUnsigned)
    return rest;
  Value zero = s.number(x, 0);
  Value differs =
      arith::XOrIOp::create(s.b, s.loc, s.less(rest, zero), s.less(y, zero));
  Value some =
      arith::CmpIOp::create(s.b, s.loc, arith::CmpIPredicate::ne, rest, zero);
  return s.select(arith::AndIOp::create(s.b, s.loc, differs, some),
                  s.add(rest, y), rest);
}

static Value binaryMax(const Scalars &s, Operation *op, Value x, Value y) {
  return s.max(x, y, hasUnsigned(op));
}
static Value binaryMin(const Scalars &s, Operation *op, Value x, Value y) {
  return s.min(x, y, hasUnsigned(op));
}
template <typename ArithOp>
static Value binaryBits(const Scalars &s, Operation *, Value x, Value y) {
  return ArithOp::create(s.b, s.loc, x, y);
}
static Value binaryPRelu(const Scalars &s, Operation *op, Value x, Value y) {
  if (hasUnsigned(op))
    return x;
  return s.select(s.less(x, s.number(x, 0)), s.mul(x, y), x);
}
static Value binaryBitShift(const Scalars &s, Operation *op, Value x, Value y) {
  // Counts that are negative, or the width or more, leave what is shifted in:
  // zeros, or the sign of a signed number that is shifted right.
  unsigned width = x.getType().getIntOrFloatBitWidth();
  Value limit = s.number(y, width), zero = s.number(x, 0);
  Value inside = arith::CmpIOp::create(s.b, s.loc, arith::CmpIPredicate::ult,
                                       y, limit);
  bool left = stringAttr(op, "direction", "LEFT") == "LEFT";
  if (!left && !hasUnsigned(op))
    return arith::ShRSIOp::create(s.b, s.loc, x,
                                  s.select(inside, y, s.number(y, width - 1)));
  Value by = s.select(inside, y, zero);
  Value shifted;
  if (left)
    shifted = arith::ShLIOp::create(s.b, s.loc, x, by);
  else
    shifted = arith::ShRUIOp::create(s.b, s.loc, x, by);
  return s.select(inside, shifted, zero);
}

template <arith::CmpFPredicate Real, arith::CmpIPredicate Signed,
          arith::CmpIPredicate Unsigned>
static Value binaryCompare(const Scalars &s, Operation *op, Value x, Value y) {
  bool asUnsigned = hasUnsigned(op) || x.getType().isInteger(1);
  return s.compare(Real, asUnsigned ? Unsigned : Signed, x, y);
}

template <BinaryFn FN>
static LogicalResult lowerBinary(FunctionLowering &l, Operation *op) {
  Value out = op->getResult(0);
  Type element = l.convertElement(elementOf(out));
  l.set(out,
        l.broadcastPointwise(
            out, op->getOperands(), element,
            [&](OpBuilder &b, Location loc, ValueRange args) {
              Scalars s{b, loc};
              // Variadic operators (Max, Sum) fold from the left.
              Value v = widen(b, loc, args[0]);
              for (Value next : args.drop_front())
                v = FN(s, op, v, widen(b, loc, next));
              return isa<FloatType>(element) ? narrow(b, loc, v, element) : v;
            }));
  return success();
}

static LogicalResult lowerMean(FunctionLowering &l, Operation *op) {
  Value out = op->getResult(0);
  Type element = l.convertElement(elementOf(out));
  l.set(out, l.broadcastPointwise(
                 out, op->getOperands(), element,
                 [&](OpBuilder &b, Location loc, ValueRange args) {
                   Scalars s{b, loc};
                   Value sum = widen(b, loc, args[0]);
                   for (Value next : args.drop_front())
                     sum = s.add(sum, widen(b, loc, next));
                   Value mean = s.divide(sum, s.number(sum, args.size()));
                   return narrow(b, loc, mean, element);
                 }));
  return success();
}

static LogicalResult lowerWhere(FunctionLowering &l, Operation *op) {
  Value out = op->getResult(0);
  l.set(out, l.broadcastPointwise(
                 out, op->getOperands(), l.convertElement(elementOf(out)),
                 [&](OpBuilder &b, Location loc, ValueRange args) -> Value {
                   return arith::SelectOp::create(b, loc, args[0], args[1],
                                                  args[2]);
                 }));
  return success();
}

static LogicalResult lowerClip(FunctionLowering &l, Operation *op) {
  Value out = op->getResult(0), in = operand(op, 0);
  Value low = operand(op, 1), high = operand(op, 2);
  bool unsignedType = hasUnsigned(op);
  // The bounds are scalars: read once, not broadcast.
  auto bound = [&](Value v) -> Value {
    if (!v)
      return {};
    Extents at(rankOf(v), l.index(0));
    return l.extract(l.tensor(v), at);
  };
  Value least = bound(low), most = bound(high);
  l.set(out, l.broadcastPointwise(
                 out, in, l.convertElement(elementOf(out)),
                 [&](OpBuilder &b, Location loc, ValueRange args) {
                   Scalars s{b, loc};
                   Value v = args[0];
                   if (least)
                     v = s.max(v, least, unsignedType);
                   if (most)
                     v = s.min(v, most, unsignedType);
                   return v;
                 }));
  return success();
}

//===----------------------------------------------------------------------===//
// Pow
//===----------------------------------------------------------------------===//

static Value convertScalar(const Scalars &s, Value v, bool fromUnsigned,
                           Type to, bool toUnsigned);

/// Integer power by squaring; negative exponents truncate toward zero.
static Value integerPower(const Scalars &s, Value base, Value exponent) {
  Value zero = s.number(exponent, 0), one = s.number(base, 1);
  Value result = one, square = base, rest = exponent;
  auto loop = scf::WhileOp::create(
      s.b, s.loc, TypeRange{base.getType(), base.getType(), exponent.getType()},
      ValueRange{result, square, rest},
      [&](OpBuilder &b, Location loc, ValueRange args) {
        Value go = arith::CmpIOp::create(b, loc, arith::CmpIPredicate::sgt,
                                         args[2], zero);
        scf::ConditionOp::create(b, loc, go, args);
      },
      [&](OpBuilder &b, Location loc, ValueRange args) {
        Value bit = arith::TruncIOp::create(b, loc, b.getI1Type(), args[2]);
        Value next = arith::MulIOp::create(b, loc, args[0], args[1]);
        Value kept = arith::SelectOp::create(b, loc, bit, next, args[0]);
        Value squared = arith::MulIOp::create(b, loc, args[1], args[1]);
        Value shift = arith::ConstantOp::create(
            b, loc, b.getIntegerAttr(args[2].getType(), 1));
        Value halved = arith::ShRUIOp::create(b, loc, args[2], shift);
        scf::YieldOp::create(b, loc, ValueRange{kept, squared, halved});
      });
  // base^-n is 0 unless base is 1 or -1.
  Value isOne = s.equal(base, one), isMinus = s.equal(base, s.number(base, -1));
  Value odd = s.b.createOrFold<arith::AndIOp>(s.loc, exponent,
                                              s.number(exponent, 1));
  Value sign = s.select(s.equal(odd, zero), one, base);
  Value inverse = s.select(isOne, one,
                           s.select(isMinus, sign, s.number(base, 0)));
  return s.select(s.less(exponent, zero), inverse, loop.getResult(0));
}

static LogicalResult lowerPow(FunctionLowering &l, Operation *op) {
  Value out = op->getResult(0);
  Value exponent = operand(op, 1);
  Type element = l.convertElement(elementOf(out));
  bool exponentUnsigned = isUnsigned(elementOf(exponent));
  bool baseUnsigned = hasUnsigned(op);
  // Frequent exponents are products or roots.
  std::optional<double> known;
  if (TypedAttr attr = l.splat(exponent)) {
    if (auto real = dyn_cast<FloatAttr>(attr))
      known = real.getValueAsDouble();
    else if (auto whole = dyn_cast<IntegerAttr>(attr))
      known = static_cast<double>(whole.getValue().getSExtValue());
  }
  l.set(out,
        l.broadcastPointwise(
            out, op->getOperands(), element,
            [&](OpBuilder &b, Location loc, ValueRange args) -> Value {
              Scalars s{b, loc};
              Value x = widen(b, loc, args[0]), y = args[1];
              if (!isa<FloatType>(x.getType())) {
                if (!isa<FloatType>(y.getType())) {
                  Value wide = convertScalar(s, y, exponentUnsigned,
                                             x.getType(), baseUnsigned);
                  return integerPower(s, x, wide);
                }
                Value base =
                    convertScalar(s, x, baseUnsigned, b.getF64Type(), false);
                Value power =
                    convertScalar(s, y, false, b.getF64Type(), false);
                Value v = math::PowFOp::create(b, loc, base, power);
                return convertScalar(s, v, false, element, baseUnsigned);
              }
              Value v;
              if (known == 1.0)
                v = x;
              else if (known == 2.0)
                v = s.mul(x, x);
              else if (known == 3.0)
                v = s.mul(x, s.mul(x, x));
              else if (known == 0.5)
                v = math::SqrtOp::create(b, loc, x);
              else if (known == -1.0)
                v = s.divide(s.number(x, 1), x);
              else
                v = math::PowFOp::create(
                    b, loc, x,
                    convertScalar(s, widen(b, loc, y), exponentUnsigned,
                                  x.getType(), false));
              return narrow(b, loc, v, element);
            }));
  return success();
}

//===----------------------------------------------------------------------===//
// Cast
//===----------------------------------------------------------------------===//

/// A float moved to the nearest one whose whole part the integer type holds.
static Value clampToInteger(const Scalars &s, Value v, Type to,
                            bool toUnsigned) {
  auto real = cast<FloatType>(v.getType());
  unsigned width = to.getIntOrFloatBitWidth();
  auto limit = [&](const APInt &integer) -> Value {
    APFloat bound(real.getFloatSemantics());
    bound.convertFromAPInt(integer, !toUnsigned, APFloat::rmTowardZero);
    return arith::ConstantOp::create(s.b, s.loc,
                                     s.b.getFloatAttr(real, bound));
  };
  Value low = limit(toUnsigned ? APInt::getMinValue(width)
                               : APInt::getSignedMinValue(width));
  Value high = limit(toUnsigned ? APInt::getMaxValue(width)
                                : APInt::getSignedMaxValue(width));
  Value number =
      arith::CmpFOp::create(s.b, s.loc, arith::CmpFPredicate::ORD, v, v);
  return s.min(s.max(s.select(number, v, s.number(v, 0)), low), high);
}

/// Converts a number. Floats out of an integer's range saturate and NaN is 0:
/// ONNX leaves them undefined, the code must not.
static Value convertScalar(const Scalars &s, Value v, bool fromUnsigned,
                           Type to, bool toUnsigned) {
  Type from = v.getType();
  if (from == to)
    return v;
  OpBuilder &b = s.b;
  Location loc = s.loc;
  if (to.isInteger(1))
    return s.compare(arith::CmpFPredicate::UNE, arith::CmpIPredicate::ne, v,
                     s.number(v, 0));
  if (auto real = dyn_cast<FloatType>(from)) {
    if (auto target = dyn_cast<FloatType>(to)) {
      // f16 and bf16 have one width: through f32.
      Value wide = widen(b, loc, v);
      auto width = cast<FloatType>(wide.getType()).getWidth();
      if (width < target.getWidth())
        return arith::ExtFOp::create(b, loc, to, wide);
      return narrow(b, loc, wide, to);
    }
    Value wide = widen(b, loc, v);
    Value inside = clampToInteger(s, wide, to, toUnsigned);
    if (toUnsigned)
      return arith::FPToUIOp::create(b, loc, to, inside);
    return arith::FPToSIOp::create(b, loc, to, inside);
  }
  bool zeroExtend = fromUnsigned || from.isInteger(1);
  if (auto target = dyn_cast<FloatType>(to)) {
    Type compute = target.getWidth() < 32 ? Type(b.getF32Type()) : to;
    Value converted;
    if (zeroExtend)
      converted = arith::UIToFPOp::create(b, loc, compute, v);
    else
      converted = arith::SIToFPOp::create(b, loc, compute, v);
    return narrow(b, loc, converted, to);
  }
  unsigned fromWidth = from.getIntOrFloatBitWidth();
  unsigned toWidth = to.getIntOrFloatBitWidth();
  if (fromWidth > toWidth)
    return arith::TruncIOp::create(b, loc, to, v);
  if (fromWidth == toWidth)
    return v;
  if (zeroExtend)
    return arith::ExtUIOp::create(b, loc, to, v);
  return arith::ExtSIOp::create(b, loc, to, v);
}

Value FunctionLowering::castTo(Value tensor, Type element) {
  auto type = cast<RankedTensorType>(tensor.getType());
  if (type.getElementType() == element)
    return tensor;
  Extents shape;
  for (int64_t i = 0; i < type.getRank(); ++i)
    shape.push_back(
        type.isDynamicDim(i)
            ? OpFoldResult(
                  tensor::DimOp::create(b, loc(), tensor, i).getResult())
            : index(type.getDimSize(i)));
  return pointwise(
      shape, element, tensor,
      AffineMap::getMultiDimIdentityMap(type.getRank(), b.getContext()),
      [&](OpBuilder &nested, Location at, ValueRange args) {
        return convertScalar({nested, at}, args[0], /*fromUnsigned=*/false,
                             element, /*toUnsigned=*/false);
      });
}

static LogicalResult lowerCast(FunctionLowering &l, Operation *op) {
  Value out = op->getResult(0), in = operand(op, 0);
  Type from = elementOf(in), to = elementOf(out);
  if (from == to) {
    l.forward(out, in);
    return success();
  }
  Type element = l.convertElement(to);
  l.set(out, l.broadcastPointwise(
                 out, in, element,
                 [&](OpBuilder &b, Location loc, ValueRange args) {
                   return convertScalar({b, loc}, args[0], isUnsigned(from),
                                        element, isUnsigned(to));
                 }));
  return success();
}

//===----------------------------------------------------------------------===//
// Table
//===----------------------------------------------------------------------===//

void lower::registerElementwise(LoweringTable &table) {
  using FP = arith::CmpFPredicate;
  using IP = arith::CmpIPredicate;

  table.add("onnx.Abs", lowerUnary<unaryAbs>);
  table.add("onnx.Acos", lowerUnary<mathOp<math::AcosOp>>);
  table.add("onnx.Acosh", lowerUnary<mathOp<math::AcoshOp>>);
  table.add("onnx.Asin", lowerUnary<mathOp<math::AsinOp>>);
  table.add("onnx.Asinh", lowerUnary<mathOp<math::AsinhOp>>);
  table.add("onnx.Atan", lowerUnary<mathOp<math::AtanOp>>);
  table.add("onnx.Atanh", lowerUnary<mathOp<math::AtanhOp>>);
  table.add("onnx.BitwiseNot", lowerUnary<unaryNot>);
  table.add("onnx.Ceil", lowerUnary<mathOp<math::CeilOp>>);
  table.add("onnx.Celu", lowerUnary<unaryCelu>);
  table.add("onnx.Cos", lowerUnary<mathOp<math::CosOp>>);
  table.add("onnx.Cosh", lowerUnary<mathOp<math::CoshOp>>);
  table.add("onnx.Elu", lowerUnary<unaryElu>);
  table.add("onnx.Erf", lowerUnary<mathOp<math::ErfOp>>);
  table.add("onnx.Exp", lowerUnary<mathOp<math::ExpOp>>);
  table.add("onnx.Floor", lowerUnary<mathOp<math::FloorOp>>);
  table.add("onnx.Gelu", lowerUnary<unaryGelu>);
  table.add("onnx.HardSigmoid", lowerUnary<unaryHardSigmoid>);
  table.add("onnx.HardSwish", lowerUnary<unaryHardSwish>);
  table.add("onnx.IsInf", lowerUnary<unaryIsInf>);
  table.add("onnx.IsNaN", lowerUnary<unaryIsNaN>);
  table.add("onnx.LeakyRelu", lowerUnary<unaryLeakyRelu>);
  table.add("onnx.Log", lowerUnary<mathOp<math::LogOp>>);
  table.add("onnx.Mish", lowerUnary<unaryMish>);
  table.add("onnx.Neg", lowerUnary<unaryNeg>);
  table.add("onnx.Not", lowerUnary<unaryNot>);
  table.add("onnx.Reciprocal", lowerUnary<unaryReciprocal>);
  table.add("onnx.Relu", lowerUnary<unaryRelu>);
  table.add("onnx.Round", lowerUnary<mathOp<math::RoundEvenOp>>);
  table.add("onnx.Selu", lowerUnary<unarySelu>);
  table.add("onnx.Sigmoid", lowerUnary<unarySigmoid>);
  table.add("onnx.Sign", lowerUnary<unarySign>);
  table.add("onnx.Sin", lowerUnary<mathOp<math::SinOp>>);
  table.add("onnx.Sinh", lowerUnary<mathOp<math::SinhOp>>);
  table.add("onnx.Softplus", lowerUnary<unarySoftplus>);
  table.add("onnx.Softsign", lowerUnary<unarySoftsign>);
  table.add("onnx.Sqrt", lowerUnary<mathOp<math::SqrtOp>>);
  table.add("onnx.Swish", lowerUnary<unarySwish>);
  table.add("onnx.Tan", lowerUnary<mathOp<math::TanOp>>);
  table.add("onnx.Tanh", lowerUnary<mathOp<math::TanhOp>>);
  table.add("onnx.ThresholdedRelu", lowerUnary<unaryThresholdedRelu>);

  table.add("onnx.Add", lowerBinary<binaryAdd>);
  table.add("onnx.And", lowerBinary<binaryBits<arith::AndIOp>>);
  table.add("onnx.BitShift", lowerBinary<binaryBitShift>);
  table.add("onnx.BitwiseAnd", lowerBinary<binaryBits<arith::AndIOp>>);
  table.add("onnx.BitwiseOr", lowerBinary<binaryBits<arith::OrIOp>>);
  table.add("onnx.BitwiseXor", lowerBinary<binaryBits<arith::XOrIOp>>);
  table.add("onnx.Div", lowerBinary<binaryDiv>);
  table.add("onnx.Equal",
            lowerBinary<binaryCompare<FP::OEQ, IP::eq, IP::eq>>);
  table.add("onnx.Greater",
            lowerBinary<binaryCompare<FP::OGT, IP::sgt, IP::ugt>>);
  table.add("onnx.GreaterOrEqual",
            lowerBinary<binaryCompare<FP::OGE, IP::sge, IP::uge>>);
  table.add("onnx.Less",
            lowerBinary<binaryCompare<FP::OLT, IP::slt, IP::ult>>);
  table.add("onnx.LessOrEqual",
            lowerBinary<binaryCompare<FP::OLE, IP::sle, IP::ule>>);
  table.add("onnx.Max", lowerBinary<binaryMax>);
  table.add("onnx.Min", lowerBinary<binaryMin>);
  table.add("onnx.Mod", lowerBinary<binaryMod>);
  table.add("onnx.Mul", lowerBinary<binaryMul>);
  table.add("onnx.Or", lowerBinary<binaryBits<arith::OrIOp>>);
  table.add("onnx.PRelu", lowerBinary<binaryPRelu>);
  table.add("onnx.Sub", lowerBinary<binarySub>);
  table.add("onnx.Sum", lowerBinary<binaryAdd>);
  table.add("onnx.Xor", lowerBinary<binaryBits<arith::XOrIOp>>);

  table.add("onnx.Mean", lowerMean);
  table.add("onnx.Pow", lowerPow);
  table.add("onnx.Where", lowerWhere);
  table.add("onnx.Clip", lowerClip);
  table.add("onnx.Cast", lowerCast);
  table.add("onnx.CastLike", lowerCast);
}
