//===- ExpertBuffers.cpp - experts that read a buffer of places -----------===//

#include "passes/Raise/ExpertBuffers.h"
#include "lib/Analysis/Dims.h"
#include "passes/Raise/Match.h"
#include "passes/Raise/Nodes.h"
#include "passes/Raise/QueueTerms.h"
#include "passes/Raise/View.h"
#include "llvm/ADT/DenseMap.h"

using namespace mlir;
using namespace moe;

namespace {
/// Matches products of rows with constants: matrices, or banks of them.
class Products {
public:
  explicit Products(bool banks) : banks(banks) {}

  std::optional<Projection> match(Value value);
  /// The axis of experts of a matched product.
  unsigned getExpertAxis(const Projection &product) {
    return expertAxes.lookup(product.result);
  }

private:
  std::optional<Projection> matchProduct(Value value);
  bool matchBias(Operation *add, Projection &product, Value bias);
  bool readLetters(const TermProduct &product, unsigned weights,
                   Projection &result);

  bool banks;
  DenseMap<Value, unsigned> expertAxes;
};
} // namespace

/// The letters of a product with weights at operand `weights`: those of the
/// rows stay in their places, but for the last, the features.
bool Products::readLetters(const TermProduct &product, unsigned weights,
                           Projection &result) {
  ArrayRef<int> w = product.letters[weights], x = product.letters[1 - weights],
                y = product.output;
  size_t rank = x.size();
  if (w.size() != (banks ? 3u : 2u) || rank < 2 || y.size() != rank ||
      x.drop_back() != y.drop_back())
    return false;
  int in = x.back(), out = y.back();
  ArrayRef<int> matrix = w.take_back(2);
  if (in < 0 || out < 0 || in == out || llvm::is_contained(y, in) ||
      llvm::is_contained(x, out))
    return false;
  if (matrix[0] == in && matrix[1] == out)
    result.layout = ir::BankLayout::IO;
  else if (matrix[0] == out && matrix[1] == in)
    result.layout = ir::BankLayout::OI;
  else
    return false;
  if (!banks)
    return true;
  const int *at = llvm::find(x, w[0]);
  if (w[0] < 0 || at == x.end())
    return false;
  expertAxes[result.result] = at - x.begin();
  return true;
}

std::optional<Projection> Products::matchProduct(Value value) {
  Operation *op = value.getDefiningOp();
  if (!op || !isa_and_nonnull<FloatType>(match::getElementType(value)))
    return std::nullopt;
  Projection result;
  result.result = value;
  result.featureAxis = match::getRank(value) - 1;
  std::optional<TermProduct> product = matchTermProduct(op);
  if (!product || product->operands.size() != 2)
    return std::nullopt;
  for (unsigned weights : {1u, 0u}) {
    if (!match::isConstant(product->operands[weights]) ||
        !readLetters(*product, weights, result))
      continue;
    result.rows = product->operands[1 - weights];
    result.weights = product->operands[weights];
    if (product->bias && !matchBias(op, result, product->bias))
      return std::nullopt;
    return result;
  }
  return std::nullopt;
}

/// One number for each feature (of each expert), and none for anything else.
bool Products::matchBias(Operation *add, Projection &product, Value bias) {
  auto type = dyn_cast<RankedTensorType>(bias.getType());
  auto sum = dyn_cast<RankedTensorType>(product.result.getType());
  if (!type || !sum || !type.hasStaticShape() || !match::isConstant(bias) ||
      !sameExtents(add->getResult(0), product.result))
    return false;
  int64_t expertAxis = banks ? getExpertAxis(product) : -1;
  for (int64_t i = 0; i < type.getRank(); ++i) {
    int64_t axis = i + sum.getRank() - type.getRank();
    if (axis < 0 || (type.getDimSize(i) != 1 && axis != expertAxis &&
                     axis != sum.getRank() - 1))
      return false;
    if (axis == sum.getRank() - 1 && type.getDimSize(i) != sum.getDimSize(axis))
      return false;
  }
  product.bias = bias;
  return true;
}

std::optional<Projection> Products::match(Value value) {
  value = match::strip(value);
  if (std::optional<Projection> product = matchProduct(value))
    return product;
  Operation *add = value.getDefiningOp();
  if (!add || add->getName().getStringRef() != "onnx.Add")
    return std::nullopt;
  for (unsigned i = 0; i < 2; ++i) {
    std::optional<Projection> product =
        matchProduct(match::strip(add->getOperand(i)));
    if (!product || product->bias ||
        !matchBias(add, *product, add->getOperand(1 - i)))
      continue;
    if (banks)
      expertAxes[value] = getExpertAxis(*product);
    product->result = value;
    return product;
  }
  return std::nullopt;
}

/// Whether two values have the same extents but for the last axis.
static bool sameRows(Value a, Value b) {
  int64_t rank = match::getRank(a);
  if (rank < 1 || rank != match::getRank(b))
    return false;
  for (int64_t i = 0; i + 1 < rank; ++i)
    if (!sameExtent(a, i, b, i))
      return false;
  return true;
}

static std::optional<BufferExperts> matchBanks(Value out, Refusal &refusal) {
  Products products(/*banks=*/true);
  auto match = [&](Value value) { return products.match(value); };
  if (!match(out))
    return std::nullopt;
  std::optional<FeedForward> network = matchFeedForward(out, match, refusal);
  if (!network)
    return std::nullopt;
  BufferExperts result;
  result.in = match::strip(network->first.front().rows);
  result.out = network->second.result;
  Operation *at = result.out.getDefiningOp();
  result.expertAxis = products.getExpertAxis(network->second);
  result.numExperts = getExtent(network->second.weights, 0);
  for (const Projection &product : network->first) {
    if (!match::isSame(product.rows, result.in))
      return refusal.say(at, "gate and up projections read different rows");
    if (products.getExpertAxis(product) != result.expertAxis ||
        !sameRows(product.result, result.out) ||
        getExtent(product.weights, 0) != result.numExperts)
      return refusal.say(at, "the products of the experts have their experts "
                             "along different axes");
  }
  result.experts.push_back(std::move(*network));
  return result;
}

namespace {
/// The part of a buffer that one expert gets.
struct Part {
  Value whole;
  int64_t axis = 0, number = 0;
};
} // namespace

/// Part `number` of an axis, one index thick.
static std::optional<Part> matchPart(Value value) {
  auto result = dyn_cast<OpResult>(value);
  if (!result)
    return std::nullopt;
  Operation *op = result.getOwner();
  StringRef name = op->getName().getStringRef();
  if (name != "onnx.Split" && name != "onnx.Slice" && name != "onnx.Gather")
    return std::nullopt;
  Part part;
  part.whole = match::getInput(op, 0);
  int64_t rank = match::getRank(part.whole);
  if (rank < 2)
    return std::nullopt;
  std::optional<int64_t> axis, number;
  if (name == "onnx.Slice") {
    Value axes = match::getInput(op, 3), steps = match::getInput(op, 4);
    axis = axes ? match::getSingleInt(axes) : 0;
    number = match::getSingleInt(match::getInput(op, 1));
    if (!axis || (steps && match::getSingleInt(steps) != 1))
      return std::nullopt;
    if (*axis < 0)
      *axis += rank;
  } else {
    axis = match::getAxis(op, "axis", 0, rank);
    number = name == "onnx.Split" ? result.getResultNumber()
                                  : match::getSingleInt(match::getInput(op, 1));
  }
  if (!axis || *axis < 0 || *axis >= rank - 1 || !number)
    return std::nullopt;
  int64_t extent = getExtent(part.whole, *axis);
  if (ShapedType::isDynamic(extent))
    return std::nullopt;
  if (*number < 0)
    *number += extent;
  if (name == "onnx.Gather") {
    if (match::getRank(match::getInput(op, 1)) > 1)
      return std::nullopt;
  } else if (getExtent(value, *axis) != 1 || match::getRank(value) != rank) {
    return std::nullopt;
  }
  if (name == "onnx.Split")
    for (Value piece : op->getResults())
      if (getExtent(piece, *axis) != 1)
        return std::nullopt;
  if (*number < 0 || *number >= extent)
    return std::nullopt;
  part.axis = *axis;
  part.number = *number;
  return part;
}

/// One expert: `out` as it stands in a Concat, from its part of a buffer.
static std::optional<FeedForward> matchSingle(Value out, DimContext &dims,
                                              Part &part, Refusal &refusal) {
  Products products(/*banks=*/false);
  auto match = [&](Value value) { return products.match(value); };
  View view = View::of(out, dims);
  if (!match(view.getBase()) || !view.keepsOrder())
    return std::nullopt;
  std::optional<FeedForward> network =
      matchFeedForward(view.getBase(), match, refusal);
  if (!network)
    return std::nullopt;
  for (const Projection &product : network->first) {
    View rows = View::of(product.rows, dims);
    std::optional<Part> found = matchPart(rows.getBase());
    if (!found || !rows.keepsOrder())
      return refusal.say(product.rows.getDefiningOp(),
                         "an expert does not read a part of a buffer");
    if (part.whole && (part.whole != found->whole || part.axis != found->axis ||
                       part.number != found->number))
      return refusal.say(product.rows.getDefiningOp(),
                         "gate and up projections read different rows");
    part = *found;
  }
  return network;
}

static std::optional<BufferExperts> matchUnrolled(Value out, DimContext &dims,
                                                  Refusal &refusal) {
  Operation *concat = out.getDefiningOp();
  if (!concat || concat->getName().getStringRef() != "onnx.Concat" ||
      concat->getNumOperands() < 2)
    return std::nullopt;
  std::optional<int64_t> axis =
      match::getAxis(concat, "axis", 0, match::getRank(out));
  if (!axis || *axis + 1 >= match::getRank(out))
    return std::nullopt;
  BufferExperts result;
  for (auto [i, operand] : llvm::enumerate(concat->getOperands())) {
    Part part;
    Refusal own;
    std::optional<FeedForward> expert =
        matchSingle(operand, dims, part, i == 0 ? own : refusal);
    if (!expert) {
      // A Concat of something else is no layer.
      if (i > 0)
        return refusal.say(concat, "not all parts are results of experts");
      return std::nullopt;
    }
    if (getExtent(operand, *axis) != 1 ||
        part.number != static_cast<int64_t>(i) || part.axis != *axis ||
        (result.in && result.in != part.whole))
      return refusal.say(concat, "the experts do not get the parts of one "
                                 "buffer in order");
    result.in = part.whole;
    result.experts.push_back(std::move(*expert));
  }
  result.out = out;
  result.expertAxis = *axis;
  result.numExperts = result.experts.size();
  if (getExtent(result.in, *axis) != result.numExperts ||
      !sameRows(result.in, out))
    return refusal.say(concat, "the experts leave out a part of the buffer");
  return result;
}

std::optional<BufferExperts>
moe::matchBufferExperts(Value out, DimContext &dims, Refusal &refusal) {
  if (std::optional<BufferExperts> banks = matchBanks(out, refusal))
    return banks;
  if (refusal)
    return std::nullopt;
  return matchUnrolled(out, dims, refusal);
}
