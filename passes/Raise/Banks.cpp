//===- Banks.cpp - weights of all experts as one tensor -------------------===//

#include "passes/Raise/Banks.h"
#include "dialects/ONNX/ONNXDialect.h"
#include "dialects/ONNX/ONNXOps.h"
#include "dialects/Rt/RtDialect.h"
#include "lib/Analysis/Dims.h"
#include "mlir/IR/Diagnostics.h"
#include "mlir/IR/DialectResourceBlobManager.h"
#include "mlir/IR/PatternMatch.h"
#include "mlir/IR/Verifier.h"
#include "passes/Raise/Match.h"
#include "passes/Raise/Nodes.h"
#include "passes/Raise/RaiseCheck.h"
#include "passes/Raise/View.h"

using namespace mlir;
using namespace moe;

//===----------------------------------------------------------------------===//
// Where weights come from
//===----------------------------------------------------------------------===//

static RankedTensorType getStaticType(Value value) {
  auto type = dyn_cast<RankedTensorType>(value.getType());
  return type && type.hasStaticShape() ? type : RankedTensorType();
}

static SmallVector<int64_t> withoutUnits(ArrayRef<int64_t> shape) {
  return llvm::to_vector(
      llvm::make_filter_range(shape, [](int64_t e) { return e != 1; }));
}

/// Whether a node only adds or takes away axes of extent 1.
static bool changesUnitsOnly(Operation *op) {
  StringRef name = op->getName().getStringRef();
  if (name != "onnx.Squeeze" && name != "onnx.Unsqueeze" &&
      name != "onnx.Reshape" && name != "onnx.Flatten")
    return false;
  RankedTensorType in = getStaticType(op->getOperand(0));
  RankedTensorType out = getStaticType(op->getResult(0));
  return in && out &&
         withoutUnits(in.getShape()) == withoutUnits(out.getShape());
}

/// Whether a Transpose swaps the last two axes that are not of extent 1.
static bool swapsLastTwo(Operation *op) {
  if (op->getName().getStringRef() != "onnx.Transpose")
    return false;
  RankedTensorType type = getStaticType(op->getOperand(0));
  if (!type || type.getRank() < 2)
    return false;
  SmallVector<int64_t> perm = match::getPermutation(op);
  SmallVector<int64_t> order;
  for (int64_t axis : perm)
    if (axis >= 0 && axis < type.getRank() && type.getDimSize(axis) != 1)
      order.push_back(axis);
  if (order.size() < 2)
    return false;
  std::swap(order[order.size() - 1], order[order.size() - 2]);
  return llvm::is_sorted(order);
}

namespace {
/// Rows [begin, begin + count) of axis 0 of a value.
struct Rows {
  Value of;
  int64_t begin = 0, count = 0;
};
} // namespace

/// If a value is some neighbouring rows of another.
static std::optional<Rows> getRows(Value value) {
  auto result = dyn_cast<OpResult>(value);
  if (!result)
    return std::nullopt;
  Operation *op = result.getOwner();
  StringRef name = op->getName().getStringRef();
  if (name != "onnx.Split" && name != "onnx.Slice" && name != "onnx.Gather")
    return std::nullopt;
  Value source = match::getInput(op, 0);
  RankedTensorType from = getStaticType(source), to = getStaticType(value);
  if (!from || !to || from.getRank() == 0)
    return std::nullopt;
  if (name == "onnx.Gather") {
    std::optional<int64_t> axis = match::getAxis(op, "axis", 0, from.getRank());
    std::optional<int64_t> index = match::getSingleInt(match::getInput(op, 1));
    if (axis != 0 || !index)
      return std::nullopt;
    if (*index < 0)
      *index += from.getDimSize(0);
    if (*index < 0 || *index >= from.getDimSize(0))
      return std::nullopt;
    return Rows{source, *index, 1};
  }
  if (to.getRank() != from.getRank() ||
      to.getShape().drop_front() != from.getShape().drop_front())
    return std::nullopt;
  int64_t begin = 0;
  if (name == "onnx.Split") {
    if (match::getAxis(op, "axis", 0, from.getRank()) != 0)
      return std::nullopt;
    for (unsigned i = 0; i < result.getResultNumber(); ++i) {
      RankedTensorType before = getStaticType(op->getResult(i));
      if (!before || before.getRank() != from.getRank())
        return std::nullopt;
      begin += before.getDimSize(0);
    }
  } else {
    // The other axes are whole, by their extents; of axis 0 it takes a stretch
    // if its length is what begin and end say.
    auto begins = match::getInts(match::getInput(op, 1));
    auto ends = match::getInts(match::getInput(op, 2));
    Value axesInput = match::getInput(op, 3), steps = match::getInput(op, 4);
    auto axes = axesInput ? match::getInts(axesInput)
                          : std::optional(SmallVector<int64_t>{0});
    if (!begins || !ends || !axes || begins->size() != 1 || ends->size() != 1 ||
        axes->size() != 1 || (steps && match::getSingleInt(steps) != 1))
      return std::nullopt;
    int64_t extent = from.getDimSize(0);
    if (axes->front() != 0 && axes->front() != -from.getRank())
      return std::nullopt;
    begin = begins->front() < 0 ? begins->front() + extent : begins->front();
    begin = std::clamp<int64_t>(begin, 0, extent);
  }
  if (begin + to.getDimSize(0) > from.getDimSize(0))
    return std::nullopt;
  return Rows{source, begin, to.getDimSize(0)};
}

WeightRef moe::resolveWeights(Value value) {
  WeightRef ref;
  while (true) {
    value = match::strip(value);
    Operation *op = value.getDefiningOp();
    if (op && changesUnitsOnly(op)) {
      value = op->getOperand(0);
      continue;
    }
    if (op && swapsLastTwo(op)) {
      ref.transposed = !ref.transposed;
      value = op->getOperand(0);
      continue;
    }
    if (std::optional<Rows> rows = getRows(value);
        rows && ref.index < 0 && rows->count > 0 &&
        rows->begin % rows->count == 0 &&
        getStaticType(rows->of).getDimSize(0) % rows->count == 0) {
      ref.index = rows->begin / rows->count;
      ref.count = getStaticType(rows->of).getDimSize(0) / rows->count;
      value = rows->of;
      continue;
    }
    ref.source = value;
    return ref;
  }
}

/// The same bytes with other extents; null if they cannot be had so.
static ElementsAttr retype(ElementsAttr elements, RankedTensorType type) {
  if (!elements || elements.getShapedType() == type)
    return elements;
  if (auto file = dyn_cast<onnx::FileElementsAttr>(elements))
    return cast<ElementsAttr>(static_cast<Attribute>(
        onnx::FileElementsAttr::get(file.getContext(), type, file.getPath(),
                                    file.getOffset(), file.getLength())));
  if (auto dense = dyn_cast<DenseElementsAttr>(elements))
    return dense.reshape(type);
  if (auto resource = dyn_cast<DenseResourceElementsAttr>(elements))
    return DenseResourceElementsAttr::get(type, resource.getRawHandle());
  return {};
}

/// The elements of a constant, also of one that is reshaped.
static ElementsAttr getElements(Value value) {
  value = match::strip(value);
  Operation *op = value.getDefiningOp();
  if (!op)
    return {};
  if (ElementsAttr elements = onnx::getConstantElements(op))
    return elements;
  StringRef name = op->getName().getStringRef();
  RankedTensorType type = getStaticType(value);
  if (type && (name == "onnx.Reshape" || name == "onnx.Squeeze" ||
               name == "onnx.Unsqueeze" || name == "onnx.Flatten"))
    return retype(getElements(op->getOperand(0)), type);
  return {};
}

bool moe::isConstantValue(Value value) { return bool(getElements(value)); }

/// Part `index` of `count` equal ones along axis 0, as a tensor of `type`.
static ElementsAttr slice(ElementsAttr elements, int64_t index, int64_t count,
                          RankedTensorType type) {
  if (auto file = dyn_cast<onnx::FileElementsAttr>(elements)) {
    uint64_t length = file.getLength() / count;
    unsigned bits = onnx::getElementBits(type.getElementType());
    if (length * count != file.getLength() ||
        type.getNumElements() * bits != static_cast<int64_t>(length * 8))
      return {};
    return cast<ElementsAttr>(static_cast<Attribute>(
        onnx::FileElementsAttr::get(file.getContext(), type, file.getPath(),
                                    file.getOffset() + index * length,
                                    length)));
  }
  auto dense = dyn_cast<DenseElementsAttr>(elements);
  if (!dense || type.getElementType().isInteger(1))
    return {};
  if (dense.isSplat())
    return dense.resizeSplat(type);
  ArrayRef<char> raw = dense.getRawData();
  size_t length = raw.size() / count;
  return DenseElementsAttr::getFromRawBuffer(type,
                                             raw.slice(index * length, length));
}

//===----------------------------------------------------------------------===//
// Banks
//===----------------------------------------------------------------------===//

static Value createConstant(OpBuilder &b, Location loc, ElementsAttr elements) {
  return onnx::InitializerOp::create(b, loc, elements.getShapedType(),
                                     b.getStringAttr(""), elements);
}

/// Stretches of one file that follow each other are one stretch.
static ElementsAttr joinFiles(ArrayRef<ElementsAttr> parts,
                              RankedTensorType type) {
  onnx::FileElementsAttr first;
  uint64_t end = 0, length = 0;
  for (ElementsAttr part : parts) {
    auto file = dyn_cast<onnx::FileElementsAttr>(part);
    if (!file)
      return {};
    if (!first)
      first = file;
    else if (file.getPath() != first.getPath() || file.getOffset() != end)
      return {};
    end = file.getOffset() + file.getLength();
    length += file.getLength();
  }
  return cast<ElementsAttr>(static_cast<Attribute>(onnx::FileElementsAttr::get(
      first.getContext(), type, first.getPath(), first.getOffset(), length)));
}

static Value stackElements(OpBuilder &b, Location loc,
                           ArrayRef<ElementsAttr> parts, bool transposed) {
  ShapedType part = parts.front().getShapedType();
  SmallVector<int64_t> shape{static_cast<int64_t>(parts.size())};
  llvm::append_range(shape, part.getShape());
  if (transposed)
    std::swap(shape[shape.size() - 1], shape[shape.size() - 2]);
  auto type = RankedTensorType::get(shape, part.getElementType());
  if (!transposed)
    if (ElementsAttr joined = joinFiles(parts, type))
      return createConstant(b, loc, joined);
  return createConstant(
      b, loc,
      cast<ElementsAttr>(static_cast<Attribute>(
          rt::StackAttr::get(b.getContext(), type, parts, transposed))));
}

Value BankBuilder::stack(ArrayRef<Value> parts, bool &transposed,
                         Refusal &refusal) {
  transposed = false;
  int64_t count = parts.size();
  SmallVector<WeightRef> refs;
  RankedTensorType partType;
  for (auto [i, part] : llvm::enumerate(parts)) {
    RankedTensorType type = getStaticType(part);
    if (!type) {
      refusal.say(part.getDefiningOp(), "weights of an expert have no static "
                                        "shape");
      return {};
    }
    type = RankedTensorType::get(withoutUnits(type.getShape()),
                                 type.getElementType());
    refs.push_back(resolveWeights(part));
    if (i == 0)
      partType = type;
    if (type != partType || refs[i].transposed != refs[0].transposed) {
      refusal.say(part.getDefiningOp(), "weights of the experts differ in type "
                                        "or layout");
      return {};
    }
  }
  transposed = refs.front().transposed;
  // Extents of 1 are told apart from none by the first part alone.
  SmallVector<int64_t> stored(
      cast<RankedTensorType>(parts[0].getType()).getShape());
  if (transposed && stored.size() >= 2)
    std::swap(stored[stored.size() - 1], stored[stored.size() - 2]);
  auto storedType = RankedTensorType::get(stored, partType.getElementType());
  SmallVector<int64_t> shape{count};
  llvm::append_range(shape, stored);
  auto bankType = RankedTensorType::get(shape, partType.getElementType());

  bool isWhole = true;
  for (auto [i, ref] : llvm::enumerate(refs))
    isWhole &= ref.source == refs[0].source && ref.count == count &&
               ref.index == static_cast<int64_t>(i);
  ElementsAttr first = getElements(refs[0].source);
  if (isWhole) {
    if (refs[0].source.getType() == bankType)
      return refs[0].source;
    if (ElementsAttr elements = retype(first, bankType))
      return createConstant(b, loc, elements);
  }
  SmallVector<ElementsAttr> elements;
  for (auto [part, ref] : llvm::zip(parts, refs)) {
    ElementsAttr own = getElements(ref.source);
    if (own && ref.index >= 0)
      own = slice(own, ref.index, ref.count, storedType);
    else
      own = retype(own, storedType);
    if (!own) {
      refusal.say(ref.source.getDefiningOp(),
                  "weights of an expert are no constant");
      return {};
    }
    elements.push_back(own);
  }
  return stackElements(b, loc, elements, /*transposed=*/false);
}

Value BankBuilder::transpose(Value bank, Refusal &refusal) {
  RankedTensorType type = getStaticType(bank);
  ElementsAttr elements = getElements(bank);
  if (!type || type.getRank() != 3 || !elements) {
    refusal.say(bank.getDefiningOp(), "the banks differ in layout, and one is "
                                      "no constant that could be transposed");
    return {};
  }
  // Of a transposed stack, the parts as they are.
  if (auto stacked = dyn_cast<rt::StackAttr>(elements))
    return stackElements(b, loc, stacked.getParts(), !stacked.getTransposed());
  auto partType = RankedTensorType::get(type.getShape().drop_front(),
                                        type.getElementType());
  SmallVector<ElementsAttr> parts;
  for (int64_t i = 0; i < type.getDimSize(0); ++i) {
    parts.push_back(slice(elements, i, type.getDimSize(0), partType));
    if (!parts.back()) {
      refusal.say(bank.getDefiningOp(), "the banks differ in layout, and the "
                                        "elements of one cannot be sliced");
      return {};
    }
  }
  return stackElements(b, loc, parts, /*transposed=*/true);
}

/// The other layout.
static ir::BankLayout flip(ir::BankLayout layout) {
  return layout == ir::BankLayout::OI ? ir::BankLayout::IO : ir::BankLayout::OI;
}

Value BankBuilder::reshape(Value value, ArrayRef<int64_t> shape) {
  auto type = cast<RankedTensorType>(value.getType());
  auto wanted = RankedTensorType::get(shape, type.getElementType());
  if (type == wanted)
    return value;
  if (type.hasStaticShape() && wanted.hasStaticShape())
    if (ElementsAttr elements = retype(getElements(value), wanted))
      return createConstant(b, loc, elements);
  SmallVector<int64_t> target;
  for (int64_t extent : shape)
    target.push_back(ShapedType::isDynamic(extent) ? -1 : extent);
  auto ints = RankedTensorType::get({static_cast<int64_t>(target.size())},
                                    b.getI64Type());
  Value extents =
      createConstant(b, loc, DenseElementsAttr::get(ints, ArrayRef(target)));
  return NodeBuilder(b, loc).create("onnx.Reshape", {value, extents}, wanted);
}

//===----------------------------------------------------------------------===//
// Layers
//===----------------------------------------------------------------------===//

namespace {

/// Makes one moe.experts. Nothing is created before all is known to fit, but
/// constants, which go with the next clean-up if they find no use.
class LayerBuilder {
public:
  LayerBuilder(OpBuilder &b, Location loc, const ExpertLayer &layer,
               Refusal &refusal)
      : b(b), loc(loc), layer(layer), refusal(refusal), banks(b, loc) {}

  Value build();

private:
  struct Bank {
    Value weights, bias;
    ir::BankLayout layout;
  };
  using Select = llvm::function_ref<const Projection &(const FeedForward &)>;

  bool checkAgreement();
  std::optional<Bank> makeBank(Select select);
  std::optional<Bank> makeQuantised(Select select);
  bool makeBias(Select select, Bank &bank);
  Value stackAll(Select select, Value Projection::*member, bool &transposed);
  Value getTokens();
  Value getIds(int64_t tokens);
  Value getWeights(int64_t tokens);

  OpBuilder &b;
  Location loc;
  const ExpertLayer &layer;
  Refusal &refusal;
  BankBuilder banks;
};

} // namespace

bool LayerBuilder::checkAgreement() {
  const FeedForward &first = layer.experts.front();
  for (const FeedForward &expert : layer.experts) {
    Operation *at = expert.second.rows.getDefiningOp();
    if (expert.activation != first.activation || expert.form != first.form) {
      refusal.say(at, "the experts differ in their activation");
      return false;
    }
    auto agree = [&](const Projection &a, const Projection &c) {
      return a.layout == c.layout && !a.bias == !c.bias && a.bits == c.bits &&
             a.block == c.block && !a.zeroPoints == !c.zeroPoints;
    };
    if (!agree(expert.second, first.second) ||
        !llvm::all_of(llvm::zip(expert.first, first.first), [&](auto pair) {
          return agree(std::get<0>(pair), std::get<1>(pair));
        })) {
      refusal.say(at, "the experts differ in layout, biases or encoding of "
                      "their weights");
      return false;
    }
  }
  return true;
}

Value LayerBuilder::stackAll(Select select, Value Projection::*member,
                             bool &transposed) {
  SmallVector<Value> parts;
  for (const FeedForward &expert : layer.experts)
    parts.push_back(select(expert).*member);
  return banks.stack(parts, transposed, refusal);
}

std::optional<LayerBuilder::Bank> LayerBuilder::makeBank(Select select) {
  const Projection &first = select(layer.experts.front());
  if (first.bits != 0)
    return makeQuantised(select);
  Bank bank;
  bank.layout = first.layout;
  auto type = dyn_cast<RankedTensorType>(first.weights.getType());
  bool transposed = false;
  if (layer.experts.size() == 1 && type && type.getRank() == 3) {
    // A bank already; it may be a transposed constant.
    WeightRef ref = resolveWeights(first.weights);
    transposed = ref.transposed && ref.index < 0 && isConstantValue(ref.source);
    bank.weights = first.weights;
    if (transposed) {
      SmallVector<int64_t> shape(type.getShape());
      std::swap(shape[1], shape[2]);
      bank.weights = banks.reshape(ref.source, shape);
    }
  } else {
    bank.weights = stackAll(select, &Projection::weights, transposed);
  }
  if (!bank.weights)
    return std::nullopt;
  if (cast<RankedTensorType>(bank.weights.getType()).getRank() != 3)
    return refusal.say(first.weights.getDefiningOp(),
                       "the weights of an expert are no matrix");
  if (transposed)
    bank.layout = flip(bank.layout);
  if (!makeBias(select, bank))
    return std::nullopt;
  return bank;
}

bool LayerBuilder::makeBias(Select select, Bank &bank) {
  const Projection &first = select(layer.experts.front());
  if (!first.bias)
    return true;
  bool transposed = false;
  auto type = dyn_cast<RankedTensorType>(first.bias.getType());
  auto weights = cast<RankedTensorType>(bank.weights.getType());
  int64_t count = weights.getDimSize(0);
  int64_t width = weights.getDimSize(bank.layout == ir::BankLayout::OI ? 1 : 2);
  if (ShapedType::isDynamic(count) || ShapedType::isDynamic(width) || !type ||
      !type.hasStaticShape()) {
    refusal.say(first.bias.getDefiningOp(), "a bias has no static shape");
    return false;
  }
  bank.bias = first.bias;
  if (layer.experts.size() > 1 || type.getNumElements() == width)
    bank.bias = stackAll(select, &Projection::bias, transposed);
  if (!bank.bias)
    return false;
  auto stacked = cast<RankedTensorType>(bank.bias.getType());
  if (transposed || stacked.getNumElements() != count * width) {
    refusal.say(first.bias.getDefiningOp(),
                "a bias is not one number for each feature");
    return false;
  }
  bank.bias = banks.reshape(bank.bias, {count, width});
  return true;
}

/// MatMulNBits' weights [N, blocks, bytes] of each expert as moe.dequantize.
std::optional<LayerBuilder::Bank> LayerBuilder::makeQuantised(Select select) {
  const Projection &first = select(layer.experts.front());
  Operation *at = first.weights.getDefiningOp();
  bool transposed = false;
  Value packed = stackAll(select, &Projection::weights, transposed);
  Value scales = stackAll(select, &Projection::scales, transposed);
  Value zeroPoints;
  if (first.zeroPoints)
    zeroPoints = stackAll(select, &Projection::zeroPoints, transposed);
  if (!packed || !scales || !zeroPoints != !first.zeroPoints || transposed)
    return refusal.say(at, "quantised weights of the experts cannot be "
                           "stacked");
  auto type = cast<RankedTensorType>(packed.getType());
  if (type.getRank() != 4 || !type.getElementType().isUnsignedInteger(8) ||
      (first.bits != 2 && first.bits != 4 && first.bits != 8) ||
      first.block <= 0 || type.getDimSize(3) * 8 != first.block * first.bits)
    return refusal.say(at, "quantised weights of type " + Twine(first.bits) +
                               " bits in blocks of " + Twine(first.block) +
                               " are not packed in blocks");
  int64_t count = type.getDimSize(0), rows = type.getDimSize(1),
          blocks = type.getDimSize(2);
  int64_t points = llvm::divideCeil(blocks * first.bits, 8);
  auto has = [](Value v, int64_t elements) {
    return cast<RankedTensorType>(v.getType()).getNumElements() == elements;
  };
  auto isBytes = [](Value v) {
    return cast<RankedTensorType>(v.getType())
        .getElementType()
        .isUnsignedInteger(8);
  };
  if (!has(scales, count * rows * blocks) ||
      (zeroPoints &&
       (!has(zeroPoints, count * rows * points) || !isBytes(zeroPoints))))
    return refusal.say(at, "scales or zero points of quantised weights are not "
                           "one for each block");
  packed = banks.reshape(packed, {count, rows, blocks * type.getDimSize(3)});
  scales = banks.reshape(scales, {count, rows, blocks});
  if (zeroPoints)
    zeroPoints = banks.reshape(zeroPoints, {count, rows, points});
  auto floats = RankedTensorType::get(
      {count, rows, blocks * first.block},
      cast<RankedTensorType>(scales.getType()).getElementType());
  Bank bank;
  bank.layout = ir::BankLayout::OI;
  bank.weights = ir::DequantizeOp::create(
      b, loc, floats, packed, scales, zeroPoints,
      b.getI64IntegerAttr(first.bits), b.getI64IntegerAttr(first.block));
  if (!makeBias(select, bank))
    return std::nullopt;
  return bank;
}

Value LayerBuilder::getTokens() {
  auto type = dyn_cast<RankedTensorType>(layer.tokens.getType());
  if (!type || type.getRank() < 2 || type.isDynamicDim(type.getRank() - 1)) {
    refusal.say(layer.tokens.getDefiningOp(), "the rows that go into the "
                                              "experts have no static width");
    return {};
  }
  int64_t count = 1;
  for (int64_t extent : type.getShape().drop_back())
    count = ShapedType::isDynamic(count) || ShapedType::isDynamic(extent)
                ? ShapedType::kDynamic
                : count * extent;
  return banks.reshape(layer.tokens,
                       {count, type.getDimSize(type.getRank() - 1)});
}

Value LayerBuilder::getIds(int64_t tokens) {
  Value ids = match::strip(layer.ids);
  auto type = dyn_cast<RankedTensorType>(ids.getType());
  if (!type || type.getRank() < 1 || type.isDynamicDim(type.getRank() - 1)) {
    refusal.say(ids.getDefiningOp(), "the number of experts for each token is "
                                     "not static");
    return {};
  }
  int64_t k = type.getDimSize(type.getRank() - 1);
  Type i32 = b.getI32Type();
  // A router that is raised gives i32 before a cast.
  if (Operation *cast = ids.getDefiningOp();
      cast && cast->getName().getStringRef() == "onnx.Cast" &&
      match::getElementType(cast->getOperand(0)) == i32)
    ids = cast->getOperand(0);
  ids = banks.reshape(ids, {tokens, k});
  if (match::getElementType(ids) == i32)
    return ids;
  return NodeBuilder(b, loc).create(
      "onnx.Cast", ids, RankedTensorType::get({tokens, k}, i32),
      b.getNamedAttr("to", b.getI64IntegerAttr(onnx::getDataType(i32))));
}

Value LayerBuilder::getWeights(int64_t tokens) {
  auto type = dyn_cast<RankedTensorType>(layer.weights.getType());
  if (!type || type.getRank() < 1 || type.isDynamicDim(type.getRank() - 1)) {
    refusal.say(layer.weights.getDefiningOp(),
                "the number of weights for each token is not static");
    return {};
  }
  int64_t k = type.getDimSize(type.getRank() - 1);
  Value weights = banks.reshape(layer.weights, {tokens, k});
  Type element = type.getElementType();
  if (element.isF32() || element.isF64())
    return weights;
  Type f32 = b.getF32Type();
  return NodeBuilder(b, loc).create(
      "onnx.Cast", weights, RankedTensorType::get({tokens, k}, f32),
      b.getNamedAttr("to", b.getI64IntegerAttr(onnx::getDataType(f32))));
}

Value LayerBuilder::build() {
  if (!checkAgreement())
    return {};
  auto gate = makeBank(
      [](const FeedForward &f) -> const Projection & { return f.first[0]; });
  if (!gate)
    return {};
  std::optional<Bank> up;
  ir::GateUp form = layer.experts.front().form;
  if (form == ir::GateUp::Separate) {
    up = makeBank(
        [](const FeedForward &f) -> const Projection & { return f.first[1]; });
    if (!up)
      return {};
  }
  auto down = makeBank(
      [](const FeedForward &f) -> const Projection & { return f.second; });
  if (!down)
    return {};
  for (std::optional<Bank> *bank : {&up, &down})
    if (*bank && (*bank)->layout != gate->layout) {
      (*bank)->weights = banks.transpose((*bank)->weights, refusal);
      if (!(*bank)->weights)
        return {};
    }

  Value x = getTokens();
  if (!x)
    return {};
  auto type = cast<RankedTensorType>(x.getType());
  int64_t tokens = type.getDimSize(0);
  Value ids, weights;
  if (layer.ids) {
    ids = getIds(tokens);
    weights = ids ? getWeights(tokens) : Value();
    if (!weights)
      return {};
    if (getExtent(ids, 1) != getExtent(weights, 1)) {
      refusal.say(layer.weights.getDefiningOp(),
                  "a token has " + Twine(getExtent(ids, 1)) + " experts and " +
                      Twine(getExtent(weights, 1)) + " weights");
      return {};
    }
  }
  int64_t width =
      getExtent(down->weights, gate->layout == ir::BankLayout::OI ? 1 : 2);
  auto out = RankedTensorType::get({tokens, width}, type.getElementType());
  IntegerAttr logical;
  if (layer.logical > 0)
    logical = b.getI64IntegerAttr(layer.logical);
  auto op = ir::ExpertsOp::create(
      b, loc, out, x, ids, weights, gate->weights, up ? up->weights : Value(),
      down->weights, gate->bias, up ? up->bias : Value(), down->bias,
      ir::GateUpAttr::get(b.getContext(), form),
      ir::BankLayoutAttr::get(b.getContext(), gate->layout),
      ir::ScaleAtAttr::get(b.getContext(), layer.scaleAt),
      b.getF64FloatAttr(layer.inScale), logical);
  layer.experts.front().buildActivation(op.getActivation(), loc);
  // What does not fit is the model's and no error: the op says what it is.
  std::string why;
  ScopedDiagnosticHandler handler(b.getContext(), [&](Diagnostic &diagnostic) {
    if (why.empty() && diagnostic.getSeverity() == DiagnosticSeverity::Error)
      why = diagnostic.str();
    return success();
  });
  if (succeeded(verify(op)))
    return op.getY();
  refusal.say(layer.experts.front().second.rows.getDefiningOp(),
              "the layer would be invalid: " + why);
  op.erase();
  return {};
}

Value moe::buildExperts(OpBuilder &b, Location loc, const ExpertLayer &layer,
                        Refusal &refusal) {
  if (layer.experts.empty()) {
    refusal.say(nullptr, "a layer without experts");
    return {};
  }
  return LayerBuilder(b, loc, layer, refusal).build();
}

/// The extents of `like` as a tensor for Reshape; null if they cannot be had
/// without `like` itself.
static Value getShapeOf(RewriterBase &b, NodeBuilder &nodes, Value like,
                        ArrayRef<Value> sources) {
  auto type = cast<RankedTensorType>(like.getType());
  int64_t rank = type.getRank();
  auto ints = [&](int64_t size) {
    return RankedTensorType::get({size}, b.getI64Type());
  };
  auto constant = [&](ArrayRef<int64_t> numbers) {
    return createConstant(
        b, like.getLoc(),
        DenseElementsAttr::get(ints(numbers.size()), numbers));
  };
  if (type.getNumDynamicDims() <= 1) {
    SmallVector<int64_t> target;
    for (int64_t extent : type.getShape())
      target.push_back(ShapedType::isDynamic(extent) ? -1 : extent);
    return constant(target);
  }
  for (Value source : sources) {
    int64_t sourceRank = match::getRank(source);
    if (sourceRank < rank - 1 || type.isDynamicDim(rank - 1))
      continue;
    bool same = true;
    for (int64_t i = 0; i + 1 < rank; ++i)
      same &= sameExtent(source, i, like, i);
    if (!same)
      continue;
    Value shape = nodes.create("onnx.Shape", source, ints(sourceRank));
    Value front =
        nodes.create("onnx.Slice", {shape, constant({0}), constant({rank - 1})},
                     ints(rank - 1));
    return nodes.create(
        "onnx.Concat", {front, constant({type.getDimSize(rank - 1)})},
        ints(rank), b.getNamedAttr("axis", b.getI64IntegerAttr(0)));
  }
  return {};
}

/// Compares the nodes behind a layer with what takes their place, if checks are
/// on: ids, weights and tokens are drawn.
static bool check(Value like, Value result, Value made,
                  ArrayRef<RaiseCut> given, Refusal &refusal) {
  SmallVector<RaiseCut> cuts(given);
  DimContext dims;
  auto cut = [&](Value value, int64_t bound) {
    if (value && !isConstantValue(value))
      cuts.push_back(
          {View::of(value, dims, {}, /*throughCasts=*/true).getBase(), bound});
  };
  if (auto layer = made.getDefiningOp<ir::ExpertsOp>();
      layer && given.empty()) {
    cut(layer.getX(), 0);
    cut(layer.getIds(), layer.getNumLogical());
    cut(layer.getWeights(), 0);
  }
  std::string why;
  if (checkRaise(like, result, cuts, why))
    return true;
  refusal.say(like.getDefiningOp(), why);
  return false;
}

bool moe::replaceWithExperts(RewriterBase &rewriter, Value like, Value result,
                             ArrayRef<Value> sources, Refusal &refusal,
                             ArrayRef<RaiseCut> cuts) {
  Value layer = result;
  auto type = cast<RankedTensorType>(like.getType());
  auto made = cast<RankedTensorType>(result.getType());
  OpBuilder::InsertionGuard guard(rewriter);
  rewriter.setInsertionPointAfterValue(result);
  NodeBuilder nodes(rewriter, result.getLoc());
  if (type.getElementType() != made.getElementType()) {
    made = RankedTensorType::get(made.getShape(), type.getElementType());
    int64_t element = onnx::getDataType(type.getElementType());
    result = nodes.create(
        "onnx.Cast", result, made,
        rewriter.getNamedAttr("to", rewriter.getI64IntegerAttr(element)));
  }
  if (type.getRank() != 2) {
    Value shape = getShapeOf(rewriter, nodes, like, sources);
    if (!shape) {
      refusal.say(like.getDefiningOp(), "the extents of the result are known "
                                        "from the result alone");
      return false;
    }
    result = nodes.reshape(result, shape, type);
  }
  if (!check(like, result, layer, cuts, refusal))
    return false;
  Operation *from = like.getDefiningOp(), *to = result.getDefiningOp();
  if (from && from->getNumResults() == 1)
    for (StringRef name :
         {StringRef(onnx::names::kOutputs), StringRef(onnx::names::kDims)})
      if (Attribute attr = from->getDiscardableAttr(name))
        to->setDiscardableAttr(name, attr);
  rewriter.replaceAllUsesWith(like, result);
  return true;
}
