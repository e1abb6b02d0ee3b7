//===- Recurrent.cpp - LSTM, GRU, RNN
//--------------------------------------===//
//
// For each direction the products of the whole input with W are one
// contraction, biases included. The loop over time then adds the product of
// the state with R, applies the gates and writes one row of Y. The backward
// direction walks the same loop from the last step to the first: a sequence that
// is shorter than the rest keeps its initial state until its own last step comes,
// so lengths are only a mask. Half floats are computed in f32.
//
//===----------------------------------------------------------------------===//

#include "mlir/Dialect/Utils/StaticValueUtils.h"
#include "passes/Lower/ONNXToLinalg/Loops.h"
#include "llvm/ADT/StringSwitch.h"

using namespace mlir;
using namespace moe;
using namespace moe::lower;

//===----------------------------------------------------------------------===//
// Activations
//===----------------------------------------------------------------------===//

namespace {
/// An activation with its parameters.
struct Activation {
  enum class Kind {
    Unknown,
    Relu,
    Tanh,
    Sigmoid,
    Affine,
    LeakyRelu,
    ThresholdedRelu,
    ScaledTanh,
    HardSigmoid,
    Elu,
    Softsign,
    Softplus
  };
  Kind kind = Kind::Unknown;
  double alpha = 0, beta = 0;

  static Kind parse(StringRef name) {
    return llvm::StringSwitch<Kind>(name.lower())
        .Case("relu", Kind::Relu)
        .Case("tanh", Kind::Tanh)
        .Case("sigmoid", Kind::Sigmoid)
        .Case("affine", Kind::Affine)
        .Case("leakyrelu", Kind::LeakyRelu)
        .Case("thresholdedrelu", Kind::ThresholdedRelu)
        .Case("scaledtanh", Kind::ScaledTanh)
        .Case("hardsigmoid", Kind::HardSigmoid)
        .Case("elu", Kind::Elu)
        .Case("softsign", Kind::Softsign)
        .Case("softplus", Kind::Softplus)
        .Default(Kind::Unknown);
  }
  bool takesAlpha() const {
    return kind == Kind::Affine || kind == Kind::LeakyRelu ||
           kind == Kind::ThresholdedRelu || kind == Kind::ScaledTanh ||
           kind == Kind::HardSigmoid || kind == Kind::Elu;
  }
  bool takesBeta() const {
    return kind == Kind::Affine || kind == Kind::ScaledTanh ||
           kind == Kind::HardSigmoid;
  }
  void setDefaults() {
    switch (kind) {
    case Kind::HardSigmoid:
      alpha = 0.2, beta = 0.5;
      break;
    case Kind::LeakyRelu:
      alpha = 0.01;
      break;
    default:
      alpha = kind == Kind::Unknown ? 0 : 1, beta = 0;
      break;
    }
    if (kind == Kind::ScaledTanh)
      beta = 1;
  }
  Value apply(OpBuilder &b, Location loc, Value x) const;
};
} // namespace

Value Activation::apply(OpBuilder &b, Location loc, Value x) const {
  auto number = [&](double v) -> Value {
    return arith::ConstantOp::create(b, loc, b.getFloatAttr(x.getType(), v));
  };
  auto affine = [&](Value v, double scale, double shift) -> Value {
    Value scaled = arith::MulFOp::create(b, loc, v, number(scale));
    return arith::AddFOp::create(b, loc, scaled, number(shift));
  };
  Value zero = number(0), one = number(1);
  Value positive =
      arith::CmpFOp::create(b, loc, arith::CmpFPredicate::OGT, x, zero);
  auto ifPositive = [&](Value yes, Value no) -> Value {
    return arith::SelectOp::create(b, loc, positive, yes, no);
  };
  switch (kind) {
  case Kind::Relu:
    return arith::MaximumFOp::create(b, loc, x, zero);
  case Kind::Tanh:
    return math::TanhOp::create(b, loc, x);
  case Kind::Sigmoid: {
    Value e = math::ExpOp::create(b, loc, arith::NegFOp::create(b, loc, x));
    return arith::DivFOp::create(b, loc, one,
                                 arith::AddFOp::create(b, loc, one, e));
  }
  case Kind::Affine:
    return affine(x, alpha, beta);
  case Kind::LeakyRelu:
    return ifPositive(x, arith::MulFOp::create(b, loc, x, number(alpha)));
  case Kind::ThresholdedRelu: {
    Value above = arith::CmpFOp::create(b, loc, arith::CmpFPredicate::OGT, x,
                                        number(alpha));
    return arith::SelectOp::create(b, loc, above, x, zero);
  }
  case Kind::ScaledTanh: {
    Value inner = arith::MulFOp::create(b, loc, x, number(beta));
    return arith::MulFOp::create(b, loc, number(alpha),
                                 math::TanhOp::create(b, loc, inner));
  }
  case Kind::HardSigmoid: {
    Value low = arith::MaximumFOp::create(b, loc, affine(x, alpha, beta), zero);
    return arith::MinimumFOp::create(b, loc, low, one);
  }
  case Kind::Elu: {
    // exp(x) - 1 of what is not positive, so that nothing overflows.
    Value low = arith::MinimumFOp::create(b, loc, x, zero);
    Value e = math::ExpM1Op::create(b, loc, low);
    return ifPositive(x, arith::MulFOp::create(b, loc, number(alpha), e));
  }
  case Kind::Softsign: {
    Value size =
        arith::AddFOp::create(b, loc, one, math::AbsFOp::create(b, loc, x));
    return arith::DivFOp::create(b, loc, x, size);
  }
  case Kind::Softplus: {
    // max(x, 0) + log(1 + exp(-|x|)) does not overflow.
    Value down = arith::NegFOp::create(b, loc, math::AbsFOp::create(b, loc, x));
    Value e = math::ExpOp::create(b, loc, down);
    return arith::AddFOp::create(b, loc,
                                 arith::MaximumFOp::create(b, loc, x, zero),
                                 math::Log1pOp::create(b, loc, e));
  }
  case Kind::Unknown:
    break;
  }
  return x;
}

static SmallVector<float> floats(Operation *op, StringRef name) {
  if (auto attr = op->getAttrOfType<DenseF32ArrayAttr>(name))
    return llvm::to_vector(attr.asArrayRef());
  return {};
}

/// The activations of all directions, `defaults` for each where none are given.
static FailureOr<SmallVector<Activation>>
getActivations(Operation *op, ArrayRef<StringRef> defaults,
               int64_t directions) {
  SmallVector<StringRef> names;
  if (auto given = op->getAttrOfType<ArrayAttr>("activations")) {
    for (Attribute name : given)
      names.push_back(cast<StringAttr>(name).getValue());
  } else {
    for (int64_t d = 0; d < directions; ++d)
      llvm::append_range(names, defaults);
  }
  if (names.size() != defaults.size() * directions)
    return op->emitOpError()
           << "has " << names.size() << " activations; "
           << defaults.size() * directions << " are needed for " << directions
           << " direction" << (directions == 1 ? "" : "s");
  SmallVector<float> alphas = floats(op, "activation_alpha");
  SmallVector<float> betas = floats(op, "activation_beta");
  size_t nextAlpha = 0, nextBeta = 0;
  SmallVector<Activation> out;
  for (StringRef name : names) {
    Activation activation;
    activation.kind = Activation::parse(name);
    if (activation.kind == Activation::Kind::Unknown)
      return op->emitOpError()
             << "has the activation '" << name
             << "'; accepted: Relu, Tanh, Sigmoid, Affine, LeakyRelu, "
                "ThresholdedRelu, ScaledTanh, HardSigmoid, Elu, Softsign, "
                "Softplus";
    activation.setDefaults();
    // The lists hold values only for activations that take one.
    if (activation.takesAlpha() && nextAlpha < alphas.size())
      activation.alpha = alphas[nextAlpha++];
    if (activation.takesBeta() && nextBeta < betas.size())
      activation.beta = betas[nextBeta++];
    out.push_back(activation);
  }
  return out;
}

//===----------------------------------------------------------------------===//
// What the three operators share
//===----------------------------------------------------------------------===//

namespace {
/// A recurrent layer. Shapes: T steps, B sequences, H units, G gates.
class Layer {
public:
  Layer(FunctionLowering &l, Operation *op, int64_t gates)
      : l(l), op(op), gates(gates) {}
  virtual ~Layer() = default;

  LogicalResult lower();

protected:
  /// Names of the activations of one direction.
  virtual ArrayRef<StringRef> defaultActivations() const = 0;
  /// Whether the biases of R for gate `gate` are added to those of W.
  virtual bool mergesBias(int64_t gate) const { return true; }
  /// Reads what a direction needs besides W, R and biases, before its loop.
  virtual void prepare(int64_t direction) {}
  /// One step: `x` is [B, G*H], `states` are [B, H]; returns the next states,
  /// the first of which is the output.
  virtual SmallVector<Value> step(Value x, ValueRange states) = 0;

  /// Elements [first, first + count) of dim 1 of a matrix.
  Value columns(Value matrix, OpFoldResult first, OpFoldResult count) {
    Extents sizes{rowsOf(matrix), count};
    return l.slice(matrix, {l.index(0), first}, sizes,
                   {l.index(1), l.index(1)});
  }
  OpFoldResult rowsOf(Value matrix) {
    auto type = cast<RankedTensorType>(matrix.getType());
    if (!type.isDynamicDim(0))
      return l.index(type.getDimSize(0));
    return sequences;
  }
  /// The gate `i` of [B, G*H].
  Value gate(Value all, int64_t i) {
    return columns(all, l.mul(l.index(i), units), units);
  }
  /// Row `d` of [D, n], or matrix `d` of [D, m, n], without the first dim.
  Value direction(Value tensor, ArrayRef<OpFoldResult> extents, int64_t d);
  /// `init` [B, n] plus the state [B, H] times the transpose of rows
  /// [first, first + n) of R.
  Value addProduct(Value init, Value state, OpFoldResult first,
                   OpFoldResult count);
  /// Pointwise over [B, H]; operands are [B, H] or, where they have rank 1,
  /// [H].
  Value overState(ValueRange operands, BodyFn body) {
    return overState(operands, wide, body);
  }
  Value overState(ValueRange operands, Type element, BodyFn body) {
    SmallVector<AffineMap> maps;
    for (Value v : operands)
      maps.push_back(rankOf(v) == 1 ? unitMap : stateMap);
    return l.pointwise({sequences, units}, element, operands, maps, body);
  }
  Value clipped(OpBuilder &b, Location loc, Value x) const {
    if (!clip)
      return x;
    auto number = [&](double v) -> Value {
      return arith::ConstantOp::create(b, loc, b.getFloatAttr(x.getType(), v));
    };
    x = arith::MaximumFOp::create(b, loc, x, number(-*clip));
    return arith::MinimumFOp::create(b, loc, x, number(*clip));
  }
  /// The activation `i` of the direction, of a clipped argument.
  Value activate(OpBuilder &b, Location loc, int64_t i, Value x) const {
    return active[i].apply(b, loc, clipped(b, loc, x));
  }

  FunctionLowering &l;
  Operation *op;
  int64_t gates;
  Type element, wide;
  OpFoldResult steps, sequences, inputs, units;
  AffineMap stateMap, unitMap;
  std::optional<double> clip;
  /// Of the direction that is being translated.
  ArrayRef<Activation> active;
  Value recurrence;
  /// [2*G*H], null without biases.
  Value bias;

private:
  Value projectInput(Value weights);
  Value initialState(Value onnxState, int64_t direction);
  SmallVector<Value> runLoop(Value projected, ValueRange states, bool reverse,
                             int64_t direction, Value y);
  Value insertState(Value into, Value state, int64_t direction);

  bool batchFirst = false;
  Value lengths;
};
} // namespace

Value Layer::direction(Value tensor, ArrayRef<OpFoldResult> extents,
                       int64_t d) {
  Extents offsets(extents.size() + 1, l.index(0)),
      ones(extents.size() + 1, l.index(1)), sizes{l.index(1)};
  offsets[0] = l.index(d);
  llvm::append_range(sizes, extents);
  SmallVector<int64_t> shape;
  for (OpFoldResult e : extents)
    shape.push_back(getConstantIntValue(e).value_or(ShapedType::kDynamic));
  return tensor::ExtractSliceOp::create(
      l.b, l.loc(), RankedTensorType::get(shape, elementOf(tensor)), tensor,
      offsets, sizes, ones);
}

static Value multiplyAdd(OpBuilder &b, Location loc, ValueRange in,
                         Value accumulator) {
  return arith::AddFOp::create(b, loc, accumulator,
                               arith::MulFOp::create(b, loc,
                                                     widen(b, loc, in[0]),
                                                     widen(b, loc, in[1])));
}

Value Layer::addProduct(Value init, Value state, OpFoldResult first,
                        OpFoldResult count) {
  Value rows = l.slice(recurrence, {first, l.index(0)}, {count, units},
                       {l.index(1), l.index(1)});
  AffineExpr s, g, k;
  bindDims(l.b.getContext(), s, g, k);
  return l.reduce({sequences, count, units}, {false, false, true}, init,
                  {state, rows},
                  {AffineMap::get(3, 0, {s, k}, l.b.getContext()),
                   AffineMap::get(3, 0, {g, k}, l.b.getContext())},
                  multiplyAdd);
}

/// X times W plus the biases: [T, B, G*H].
Value Layer::projectInput(Value weights) {
  OpFoldResult width = l.mul(l.index(gates), units);
  Extents shape{steps, sequences, width};
  MLIRContext *context = l.b.getContext();
  Value init;
  if (!bias) {
    init = l.filled(shape, l.scalar(wide, 0));
  } else {
    AffineMap map = AffineMap::get(3, 0, l.b.getAffineDimExpr(2));
    Value ofInput = l.slice(bias, {l.index(0)}, {width}, {l.index(1)});
    Value ofState = l.slice(bias, {width}, {width}, {l.index(1)});
    // Up to this place the biases are added up.
    int64_t merged = 0;
    while (merged < gates && mergesBias(merged))
      ++merged;
    Value end = l.value(l.mul(l.index(merged), units));
    init = l.pointwise(
        shape, wide, {ofInput, ofState}, {map, map},
        [&](OpBuilder &b, Location loc, ValueRange args) -> Value {
          Value x = widen(b, loc, args[0]), r = widen(b, loc, args[1]);
          Value sum = arith::AddFOp::create(b, loc, x, r);
          if (merged == gates)
            return sum;
          Value g = linalg::IndexOp::create(b, loc, 2);
          Value both =
              arith::CmpIOp::create(b, loc, arith::CmpIPredicate::slt, g, end);
          return arith::SelectOp::create(b, loc, both, sum, x);
        });
  }
  AffineExpr t, s, g, k;
  bindDims(context, t, s, g, k);
  AffineMap xMap = batchFirst ? AffineMap::get(4, 0, {s, t, k}, context)
                              : AffineMap::get(4, 0, {t, s, k}, context);
  return l.reduce({steps, sequences, width, inputs},
                  {false, false, false, true}, init,
                  {l.tensor(operand(op, 0)), weights},
                  {xMap, AffineMap::get(4, 0, {g, k}, context)}, multiplyAdd);
}

/// The state of a direction at the start, [B, H].
Value Layer::initialState(Value onnxState, int64_t d) {
  if (!onnxState)
    return l.filled({sequences, units}, l.scalar(wide, 0));
  AffineExpr s, h;
  bindDims(l.b.getContext(), s, h);
  AffineExpr number = l.b.getAffineConstantExpr(d);
  AffineMap map = batchFirst
                      ? AffineMap::get(2, 0, {s, number, h}, l.b.getContext())
                      : AffineMap::get(2, 0, {number, s, h}, l.b.getContext());
  return l.pointwise({sequences, units}, wide, l.tensor(onnxState), map,
                     [](OpBuilder &b, Location loc, ValueRange args) {
                       return widen(b, loc, args[0]);
                     });
}

SmallVector<Value> Layer::runLoop(Value projected, ValueRange states,
                                  bool reverse, int64_t d, Value y) {
  SmallVector<Value> init(states);
  if (y)
    init.push_back(y);
  OpFoldResult last = l.sub(steps, l.index(1));
  OpFoldResult width = l.mul(l.index(gates), units);
  OpFoldResult zero = l.index(0), one = l.index(1);
  SmallVector<int64_t> rowShape;
  for (OpFoldResult e : {sequences, width})
    rowShape.push_back(getConstantIntValue(e).value_or(ShapedType::kDynamic));
  auto rowType = RankedTensorType::get(rowShape, wide);
  AffineMap lengthMap = AffineMap::get(2, 0, l.b.getAffineDimExpr(0));
  AffineMap state = stateMap;

  return forRange(
      l, zero, steps, one, init,
      [&](Value number, ValueRange carried) -> SmallVector<Value> {
        Value time = number;
        if (reverse)
          time = l.value(l.sub(last, number));
        Value x = tensor::ExtractSliceOp::create(
            l.b, l.loc(), rowType, projected, Extents{time, zero, zero},
            Extents{one, sequences, width}, Extents{one, one, one});
        ValueRange old = carried.take_front(states.size());
        SmallVector<Value> next = step(x, old);
        auto masked = [&](Value v, Value otherwise) {
          SmallVector<Value> operands{v, lengths};
          SmallVector<AffineMap> maps{state, lengthMap};
          if (otherwise) {
            operands.push_back(otherwise);
            maps.push_back(state);
          }
          return l.pointwise(
              {sequences, units}, wide, operands, maps,
              [&](OpBuilder &b, Location loc, ValueRange args) -> Value {
                Value length = arith::IndexCastOp::create(
                    b, loc, b.getIndexType(), args[1]);
                Value inside = arith::CmpIOp::create(
                    b, loc, arith::CmpIPredicate::slt, time, length);
                Value other =
                    otherwise
                        ? args[2]
                        : arith::ConstantOp::create(b, loc, b.getZeroAttr(wide))
                              .getResult();
                return arith::SelectOp::create(b, loc, inside, args[0], other);
              });
        };
        SmallVector<Value> out;
        Value shown = next[0];
        if (lengths) {
          shown = masked(next[0], {});
          for (auto [v, before] : llvm::zip(next, old))
            v = masked(v, before);
        }
        out.append(next.begin(), next.end());
        if (y) {
          Extents offsets, sizes, ones(4, one);
          if (batchFirst) {
            offsets = {zero, time, l.index(d), zero};
            sizes = {sequences, one, one, units};
          } else {
            offsets = {time, l.index(d), zero, zero};
            sizes = {one, one, sequences, units};
          }
          Value row = l.castTo(shown, element);
          out.push_back(tensor::InsertSliceOp::create(
              l.b, l.loc(), row, carried.back(), offsets, sizes, ones));
        }
        return out;
      });
}

Value Layer::insertState(Value into, Value state, int64_t d) {
  Extents offsets(3, l.index(0)), sizes, ones(3, l.index(1));
  offsets[batchFirst ? 1 : 0] = l.index(d);
  if (batchFirst)
    sizes = {sequences, l.index(1), units};
  else
    sizes = {l.index(1), sequences, units};
  return tensor::InsertSliceOp::create(l.b, l.loc(), l.castTo(state, element),
                                       into, offsets, sizes, ones);
}

LogicalResult Layer::lower() {
  Value x = operand(op, 0), w = operand(op, 1), r = operand(op, 2),
        b = operand(op, 3), onnxLengths = operand(op, 4);
  StringRef name = stringAttr(op, "direction", "forward");
  bool both = name == "bidirectional";
  if (!both && name != "forward" && name != "reverse")
    return op->emitOpError() << "has the direction '" << name
                             << "'; accepted: forward, reverse, bidirectional";
  int64_t directions = both ? 2 : 1;
  FailureOr<SmallVector<Activation>> activations =
      getActivations(op, defaultActivations(), directions);
  if (failed(activations))
    return failure();
  if (op->hasAttr("clip"))
    clip = floatAttr(op, "clip", 0);
  batchFirst = intAttr(op, "layout", 0) != 0;
  element = FunctionLowering::convertElement(elementOf(x));
  wide = element.getIntOrFloatBitWidth() < 32 ? l.b.getF32Type() : element;
  stateMap = AffineMap::getMultiDimIdentityMap(2, l.b.getContext());
  unitMap = AffineMap::get(2, 0, l.b.getAffineDimExpr(1));

  steps = l.dim(x, batchFirst ? 1 : 0);
  sequences = l.dim(x, batchFirst ? 0 : 1);
  inputs = l.dim(x, 2);
  units = l.dim(r, 2);
  OpFoldResult width = l.mul(l.index(gates), units);
  // The loops rely on these extents.
  auto expect = [&](Value v, int64_t i, OpFoldResult extent, StringRef what) {
    if (v)
      l.checkEqual(l.dim(v, i), extent, what);
  };
  expect(w, 0, l.index(directions), "W has another number of directions");
  expect(r, 0, l.index(directions), "R has another number of directions");
  expect(w, 1, width, "W has another number of gates and units");
  expect(r, 1, width, "R has another number of gates and units");
  expect(w, 2, inputs, "W has another number of inputs");
  expect(b, 0, l.index(directions), "B has another number of directions");
  expect(b, 1, l.mul(l.index(2), width), "B has another number of biases");
  expect(onnxLengths, 0, sequences, "sequence_lens has another length");
  for (unsigned formal : {5u, 6u}) {
    bool isState = formal == 5 || op->getName().stripDialect() == "LSTM";
    Value state = isState ? operand(op, formal) : Value();
    expect(state, batchFirst ? 1 : 0, l.index(directions),
           "an initial state has another number of directions");
    expect(state, batchFirst ? 0 : 1, sequences,
           "an initial state has another number of sequences");
    expect(state, 2, units, "an initial state has another number of units");
  }
  if (onnxLengths)
    lengths = l.tensor(onnxLengths);

  Value yOut = result(op, 0), y;
  Extents yShape = batchFirst
                       ? Extents{sequences, steps, l.index(directions), units}
                       : Extents{steps, l.index(directions), sequences, units};
  if (yOut)
    y = l.empty(l.bindDims(yOut, yShape), element);
  int64_t numStates = op->getName().stripDialect() == "LSTM" ? 2 : 1;
  SmallVector<Value> finals(numStates);
  Extents finalShape = batchFirst
                           ? Extents{sequences, l.index(directions), units}
                           : Extents{l.index(directions), sequences, units};
  for (int64_t i = 0; i < numStates; ++i)
    if (result(op, 1 + i))
      finals[i] = l.empty(finalShape, element);

  int64_t perDirection = defaultActivations().size();
  for (int64_t d = 0; d < directions; ++d) {
    active = ArrayRef<Activation>(*activations)
                 .slice(d * perDirection, perDirection);
    recurrence = direction(l.tensor(r), {width, units}, d);
    bias = b ? direction(l.tensor(b), {l.mul(l.index(2), width)}, d) : Value();
    prepare(d);
    Value projected = projectInput(direction(l.tensor(w), {width, inputs}, d));
    SmallVector<Value> states;
    for (int64_t i = 0; i < numStates; ++i)
      states.push_back(initialState(operand(op, 5 + i), d));
    SmallVector<Value> end =
        runLoop(projected, states, d == 1 || name == "reverse", d, y);
    if (y)
      y = end.back();
    for (int64_t i = 0; i < numStates; ++i)
      if (finals[i])
        finals[i] = insertState(finals[i], end[i], d);
  }
  if (yOut)
    l.set(yOut, y);
  for (int64_t i = 0; i < numStates; ++i)
    if (finals[i])
      l.set(result(op, 1 + i), finals[i]);
  return success();
}

//===----------------------------------------------------------------------===//
// The operators
//===----------------------------------------------------------------------===//

namespace {
/// Gates in the order i, o, f, c; states h and c.
class LSTM : public Layer {
public:
  LSTM(FunctionLowering &l, Operation *op) : Layer(l, op, 4) {}

  ArrayRef<StringRef> defaultActivations() const override {
    static const StringRef names[] = {"Sigmoid", "Tanh", "Tanh"};
    return names;
  }
  void prepare(int64_t d) override {
    Value onnxPeephole = operand(op, 7);
    if (!onnxPeephole)
      return;
    OpFoldResult width = l.mul(l.index(3), units);
    l.checkEqual(l.dim(onnxPeephole, 1), width,
                 "P has another number of units");
    Value all = direction(l.tensor(onnxPeephole), {width}, d);
    peepholes.clear();
    for (int64_t i = 0; i < 3; ++i)
      peepholes.push_back(
          l.slice(all, {l.mul(l.index(i), units)}, {units}, {l.index(1)}));
  }
  SmallVector<Value> step(Value x, ValueRange states) override {
    bool coupled = intAttr(op, "input_forget", 0) != 0;
    OpFoldResult width = l.mul(l.index(gates), units);
    Value all = addProduct(x, states[0], l.index(0), width);
    Value input = gate(all, 0), output = gate(all, 1), forget = gate(all, 2),
          candidate = gate(all, 3);
    SmallVector<Value> operands{input, forget, candidate, states[1]};
    if (!peepholes.empty()) {
      operands.push_back(peepholes[0]);
      operands.push_back(peepholes[2]);
    }
    auto peep = [&](OpBuilder &b, Location loc, Value v, Value weight,
                    Value cell) -> Value {
      return arith::AddFOp::create(
          b, loc, v,
          arith::MulFOp::create(b, loc, widen(b, loc, weight), cell));
    };
    Value cell = overState(
        operands, [&](OpBuilder &b, Location loc, ValueRange args) -> Value {
          Value i = args[0], f = args[1], old = args[3];
          if (args.size() > 4) {
            i = peep(b, loc, i, args[4], old);
            f = peep(b, loc, f, args[5], old);
          }
          i = activate(b, loc, 0, i);
          if (coupled)
            f = arith::SubFOp::create(
                b, loc,
                arith::ConstantOp::create(b, loc, b.getFloatAttr(wide, 1)), i);
          else
            f = activate(b, loc, 0, f);
          Value g = activate(b, loc, 1, args[2]);
          return arith::AddFOp::create(b, loc,
                                       arith::MulFOp::create(b, loc, f, old),
                                       arith::MulFOp::create(b, loc, i, g));
        });
    operands = {output, cell};
    if (!peepholes.empty())
      operands.push_back(peepholes[1]);
    Value hidden = overState(
        operands, [&](OpBuilder &b, Location loc, ValueRange args) -> Value {
          Value o = args[0];
          if (args.size() > 2)
            o = peep(b, loc, o, args[2], args[1]);
          o = activate(b, loc, 0, o);
          Value shown = active[2].apply(b, loc, args[1]);
          return arith::MulFOp::create(b, loc, o, shown);
        });
    return {hidden, cell};
  }

private:
  /// Of i, o and f, [H] each.
  SmallVector<Value> peepholes;
};

/// Gates in the order z, r, h.
class GRU : public Layer {
public:
  GRU(FunctionLowering &l, Operation *op)
      : Layer(l, op, 3), resetLate(intAttr(op, "linear_before_reset", 0) != 0) {
  }

  ArrayRef<StringRef> defaultActivations() const override {
    static const StringRef names[] = {"Sigmoid", "Tanh"};
    return names;
  }
  /// A late reset applies to the state's part of gate h with its bias.
  bool mergesBias(int64_t i) const override { return i < 2 || !resetLate; }
  SmallVector<Value> step(Value x, ValueRange states) override {
    OpFoldResult two = l.mul(l.index(2), units);
    Value state = states[0];
    Value both =
        addProduct(columns(x, l.index(0), two), state, l.index(0), two);
    Value candidate = gate(x, 2), update = gate(both, 0), reset = gate(both, 1);
    Value h;
    if (resetLate) {
      Value init;
      if (bias) {
        Value own =
            l.slice(bias, {l.mul(l.index(5), units)}, {units}, {l.index(1)});
        init = overState(own, [](OpBuilder &b, Location loc, ValueRange args) {
          return widen(b, loc, args[0]);
        });
      } else {
        init = l.filled({sequences, units}, l.scalar(wide, 0));
      }
      Value product = addProduct(init, state, two, units);
      h = overState({candidate, reset, product},
                    [&](OpBuilder &b, Location loc, ValueRange args) -> Value {
                      Value r = activate(b, loc, 0, args[1]);
                      return arith::AddFOp::create(
                          b, loc, args[0],
                          arith::MulFOp::create(b, loc, r, args[2]));
                    });
    } else {
      Value kept =
          overState({reset, state},
                    [&](OpBuilder &b, Location loc, ValueRange args) -> Value {
                      return arith::MulFOp::create(
                          b, loc, activate(b, loc, 0, args[0]), args[1]);
                    });
      h = addProduct(candidate, kept, two, units);
    }
    return {overState(
        {update, h, state},
        [&](OpBuilder &b, Location loc, ValueRange args) -> Value {
          Value z = activate(b, loc, 0, args[0]);
          Value g = activate(b, loc, 1, args[1]);
          Value one =
              arith::ConstantOp::create(b, loc, b.getFloatAttr(wide, 1));
          Value rest = arith::SubFOp::create(b, loc, one, z);
          return arith::AddFOp::create(
              b, loc, arith::MulFOp::create(b, loc, rest, g),
              arith::MulFOp::create(b, loc, z, args[2]));
        })};
  }

private:
  bool resetLate;
};

class RNN : public Layer {
public:
  RNN(FunctionLowering &l, Operation *op) : Layer(l, op, 1) {}

  ArrayRef<StringRef> defaultActivations() const override {
    static const StringRef names[] = {"Tanh"};
    return names;
  }
  SmallVector<Value> step(Value x, ValueRange states) override {
    Value sum = addProduct(x, states[0], l.index(0), units);
    return {overState(sum, [&](OpBuilder &b, Location loc, ValueRange args) {
      return activate(b, loc, 0, args[0]);
    })};
  }
};
} // namespace

template <typename Kind>
static LogicalResult lowerLayer(FunctionLowering &l, Operation *op) {
  return Kind(l, op).lower();
}

void lower::registerRecurrent(LoweringTable &table) {
  table.add("onnx.LSTM", lowerLayer<LSTM>);
  table.add("onnx.GRU", lowerLayer<GRU>);
  table.add("onnx.RNN", lowerLayer<RNN>);
}
