//===- VerifiersShape.cpp - rules: operators that change shapes -----------===//

#include "dialects/ONNX/Verifiers.h"
#include "mlir/IR/TypeUtilities.h"

using namespace mlir;
using namespace moe::onnx;

static LogicalResult verifyConcat(const OpView &op) {
  int64_t axis = op.getInt("axis", 0);
  if (op.size() == 0)
    return op.error() << "has no operands, 1 or more are accepted";
  if (failed(op.checkMinRank(0, 1)))
    return failure();
  int64_t first = 0;
  while (first + 1 < op.size() && op.rank(first) < 0)
    ++first;
  int64_t rank = op.rank(first);
  if (rank < 0)
    return success();
  if (failed(op.checkAxis(axis, rank)))
    return failure();
  if (axis < 0)
    axis += rank;
  for (unsigned i = first + 1; i < op.size(); ++i) {
    if (op.rank(i) < 0)
      continue;
    if (failed(op.checkSameRank(first, i)))
      return failure();
    for (int64_t d = 0; d < rank; ++d)
      if (d != axis && failed(op.checkSameDim(first, d, i, d)))
        return failure();
  }
  return success();
}

static LogicalResult verifySplit(const OpView &op) {
  int64_t axis = op.getInt("axis", 0), rank = op.rank(0);
  int64_t results = op.getOp()->getNumResults();
  bool hasCount = op.has("num_outputs");
  if (failed(op.checkMinRank(0, 1)) || failed(op.checkAxis(axis, rank)) ||
      failed(op.checkRank(1, 1)))
    return failure();
  if (op.has(1) && hasCount)
    return op.error() << "has operand 'split' and num_outputs; one of them is "
                         "accepted";
  if (hasCount && op.getInt("num_outputs", 0) != results)
    return op.error() << "num_outputs = " << op.getInt("num_outputs", 0)
                      << ", but there are " << results << " results";
  if (failed(op.checkDim(1, 0, results, "one size for each result")))
    return failure();
  std::optional<SmallVector<int64_t>> sizes = op.getConstant(1);
  if (!sizes)
    return success();
  int64_t sum = 0;
  for (int64_t size : *sizes) {
    if (size < 0)
      return op.error() << "split holds " << size << ", 0 or more is accepted";
    if (__builtin_add_overflow(sum, size, &sum))
      return op.error() << "the sum of split does not fit 64 bits";
  }
  int64_t extent = rank < 0 ? ShapedType::kDynamic
                            : op.dim(0, axis < 0 ? axis + rank : axis);
  if (differ(sum, extent))
    return op.error() << "the sizes in split sum up to " << sum << ", axis "
                      << axis << " has extent " << extent
                      << "; they must be equal";
  return success();
}

static LogicalResult verifySlice(const OpView &op) {
  for (unsigned i = 1; i <= 4; ++i)
    if (failed(op.checkRank(i, 1)))
      return failure();
  for (unsigned i = 2; i <= 4; ++i)
    if (failed(op.checkSameDim(1, 0, i, 0)))
      return failure();
  int64_t rank = op.rank(0);
  if (!op.has(3) && rank >= 0 && !ShapedType::isDynamic(op.dim(1, 0)) &&
      op.dim(1, 0) > rank)
    return op.error() << "has " << op.dim(1, 0) << " starts, at most " << rank
                      << " are accepted for rank " << rank;
  if (std::optional<SmallVector<int64_t>> axes = op.getConstant(3))
    if (failed(op.checkAxes(*axes, rank)))
      return failure();
  if (std::optional<SmallVector<int64_t>> steps = op.getConstant(4))
    if (llvm::is_contained(*steps, 0))
      return op.error() << "steps hold 0, any other step is accepted";
  return success();
}

static LogicalResult verifyTranspose(const OpView &op) {
  std::optional<ArrayRef<int64_t>> perm = op.getInts("perm");
  int64_t rank = op.rank(0);
  if (!perm || rank < 0)
    return success();
  if (static_cast<int64_t>(perm->size()) != rank)
    return op.error() << "perm has " << perm->size() << " entries, " << rank
                      << " are accepted for rank " << rank;
  SmallVector<bool> seen(rank, false);
  for (int64_t axis : *perm) {
    if (axis < 0 || axis >= rank)
      return op.error() << "perm holds " << axis << ", 0 to " << rank - 1
                        << " is accepted";
    if (seen[axis])
      return op.error() << "perm holds " << axis
                        << " twice; it must be a permutation";
    seen[axis] = true;
  }
  return success();
}

static LogicalResult verifyReshape(const OpView &op) {
  if (failed(op.checkRank(1, 1)))
    return failure();
  if (std::optional<SmallVector<int64_t>> shape = op.getConstant(1)) {
    int64_t inferred = llvm::count(*shape, -1);
    if (inferred > 1)
      return op.error() << "shape holds -1 " << inferred
                        << " times, once is accepted";
    for (auto [i, extent] : llvm::enumerate(*shape)) {
      if (extent < -1)
        return op.error() << "shape holds " << extent
                          << ", -1 or more is accepted";
      int64_t rank = op.rank(0);
      if (extent == 0 && op.getInt("allowzero", 0) == 0 && rank >= 0 &&
          static_cast<int64_t>(i) >= rank)
        return op.error() << "shape copies dimension " << i << " (entry 0), "
                          << op.name(0) << " has rank " << rank;
      if (extent == 0 && op.getInt("allowzero", 0) != 0 && inferred)
        return op.error()
               << "shape holds 0 and -1; one of them is accepted with "
                  "allowzero";
    }
  }
  auto from = dyn_cast<RankedTensorType>(op[0].getType());
  auto to = dyn_cast<RankedTensorType>(op.getOp()->getResult(0).getType());
  if (from && to && from.hasStaticShape() && to.hasStaticShape() &&
      from.getNumElements() != to.getNumElements())
    return op.error() << op.name(0) << " has " << from.getNumElements()
                      << " elements, the result " << to << " has "
                      << to.getNumElements() << "; they must be equal";
  return success();
}

static LogicalResult verifyExpand(const OpView &op) {
  if (failed(op.checkRank(1, 1)))
    return failure();
  std::optional<SmallVector<int64_t>> shape = op.getConstant(1);
  int64_t rank = op.rank(0);
  if (!shape || rank < 0)
    return success();
  for (auto [back, extent] : llvm::enumerate(llvm::reverse(*shape))) {
    if (extent < 0)
      return op.error() << "shape holds " << extent
                        << ", 0 or more is accepted";
    int64_t d = rank - 1 - static_cast<int64_t>(back);
    int64_t own = op.dim(0, d);
    if (d >= 0 && extent != 1 && own != 1 && differ(extent, own))
      return op.error() << "cannot expand extent " << own << " of dimension "
                        << d << " to " << extent << "; 1 or " << own
                        << " is accepted";
  }
  return success();
}

static LogicalResult verifyTile(const OpView &op) {
  if (failed(op.checkRank(1, 1)))
    return failure();
  if (op.rank(0) >= 0)
    return op.checkDim(1, 0, op.rank(0), "one repeat for each dimension");
  return success();
}

static LogicalResult verifyPad(const OpView &op) {
  if (failed(op.checkRank(1, 1)) || failed(op.checkRank(3, 1)) ||
      failed(op.checkSingle(2)) ||
      failed(op.checkOneOf("mode", "constant",
                           {"constant", "reflect", "edge", "wrap"})))
    return failure();
  int64_t axes = op.has(3) ? op.dim(3, 0) : op.rank(0);
  if (axes >= 0 &&
      failed(op.checkDim(1, 0, 2 * axes, "a begin and an end for each axis")))
    return failure();
  if (std::optional<SmallVector<int64_t>> list = op.getConstant(3))
    return op.checkAxes(*list, op.rank(0));
  return success();
}

static LogicalResult verifySqueeze(const OpView &op) {
  if (failed(op.checkRank(1, 1)))
    return failure();
  std::optional<SmallVector<int64_t>> axes = op.getConstant(1);
  int64_t rank = op.rank(0);
  if (!axes || rank < 0)
    return success();
  if (failed(op.checkAxes(*axes, rank)))
    return failure();
  for (int64_t axis : *axes)
    if (failed(op.checkDim(0, axis < 0 ? axis + rank : axis, 1,
                           "only such dimensions can be removed")))
      return failure();
  return success();
}

static LogicalResult verifyUnsqueeze(const OpView &op) {
  if (op.rank(1) > 1)
    return op.checkRank(1, 1);
  std::optional<SmallVector<int64_t>> axes = op.getConstant(1);
  if (!axes || op.rank(0) < 0)
    return success();
  return op.checkAxes(*axes, op.rank(0) + axes->size());
}

static LogicalResult verifyFlatten(const OpView &op) {
  int64_t axis = op.getInt("axis", 1), rank = op.rank(0);
  if (rank < 0 || (axis >= -rank && axis <= rank))
    return success();
  return op.error() << "axis = " << axis << " is out of range, " << -rank
                    << " to " << rank << " is accepted for rank " << rank;
}

static LogicalResult verifyConstantOfShape(const OpView &op) {
  if (failed(op.checkRank(0, 1)))
    return failure();
  auto value = op.getOp()->getAttrOfType<ElementsAttr>("value");
  if (value && value.getShapedType().hasStaticShape() &&
      value.getShapedType().getNumElements() != 1)
    return op.error() << "value has " << value.getShapedType().getNumElements()
                      << " elements, 1 is accepted";
  return success();
}

static LogicalResult verifyRange(const OpView &op) {
  for (unsigned i = 0; i < 3; ++i)
    if (failed(op.checkSingle(i)))
      return failure();
  std::optional<SmallVector<int64_t>> delta = op.getConstant(2);
  if (delta && delta->size() == 1 && delta->front() == 0)
    return op.error() << "delta is 0, any other step is accepted";
  return success();
}

static LogicalResult verifyBlocks(const OpView &op, bool toSpace) {
  int64_t block = op.getInt("blocksize", 1);
  if (failed(op.checkRank(0, 4)))
    return failure();
  if (block < 1 || block > (int64_t(1) << 20))
    return op.error() << "blocksize = " << block
                      << ", 1 to 1048576 is accepted";
  if (toSpace) {
    if (failed(op.checkOneOf("mode", "DCR", {"DCR", "CRD"})))
      return failure();
    int64_t channels = op.dim(0, 1);
    if (!ShapedType::isDynamic(channels) && channels % (block * block) != 0)
      return op.error() << op.name(0) << " has " << channels
                        << " channels, a multiple of " << block * block
                        << " is accepted for blocksize " << block;
    return success();
  }
  for (int64_t d : {2, 3})
    if (!ShapedType::isDynamic(op.dim(0, d)) && op.dim(0, d) % block != 0)
      return op.error() << op.name(0) << " has extent " << op.dim(0, d)
                        << " in dimension " << d << ", a multiple of " << block
                        << " is accepted";
  return success();
}

static LogicalResult verifyDepthToSpace(const OpView &op) {
  return verifyBlocks(op, true);
}
static LogicalResult verifySpaceToDepth(const OpView &op) {
  return verifyBlocks(op, false);
}

static LogicalResult verifyTrilu(const OpView &op) {
  return success(succeeded(op.checkMinRank(0, 2)) &&
                 succeeded(op.checkSingle(1)));
}

static LogicalResult verifyEyeLike(const OpView &op) {
  return op.checkRank(0, 2);
}

/// Results have the type of the operand, whatever the shape of either says.
static LogicalResult verifyIdentity(const OpView &op) {
  auto from = dyn_cast<RankedTensorType>(op[0].getType());
  auto to = dyn_cast<RankedTensorType>(op.getOp()->getResult(0).getType());
  if (from && to && failed(verifyCompatibleShape(from, to)))
    return op.error() << op.name(0) << " has type " << from
                      << ", the result has " << to
                      << "; they must have one shape";
  return success();
}

static LogicalResult verifyResize(const OpView &op) {
  bool hasScales = op.has(2), hasSizes = op.has(3);
  // An empty list of scales stands for none.
  if (hasScales && op.rank(2) == 1 && op.dim(2, 0) == 0)
    hasScales = false;
  if (hasScales == hasSizes)
    return op.error() << "has " << (hasScales ? "both" : "neither")
                      << " of the operands 'scales' and 'sizes', one of them "
                         "is accepted";
  if (failed(
          op.checkOneOf("mode", "nearest", {"nearest", "linear", "cubic"})) ||
      failed(op.checkOneOf("coordinate_transformation_mode", "half_pixel",
                           {"half_pixel", "half_pixel_symmetric",
                            "pytorch_half_pixel", "align_corners", "asymmetric",
                            "tf_crop_and_resize"})) ||
      failed(op.checkOneOf(
          "nearest_mode", "round_prefer_floor",
          {"round_prefer_floor", "round_prefer_ceil", "floor", "ceil"})) ||
      failed(op.checkOneOf("keep_aspect_ratio_policy", "stretch",
                           {"stretch", "not_larger", "not_smaller"})))
    return failure();
  int64_t rank = op.rank(0), count = rank;
  if (std::optional<ArrayRef<int64_t>> axes = op.getInts("axes")) {
    if (failed(op.checkAxes(*axes, rank)))
      return failure();
    count = axes->size();
  }
  unsigned place = hasScales ? 2 : 3;
  if (failed(op.checkRank(place, 1)))
    return failure();
  if (count >= 0)
    return op.checkDim(place, 0, count, "one entry for each resized axis");
  return success();
}

void moe::onnx::addShapeRules(OperatorRules &rules) {
  rules["onnx.Concat"] = verifyConcat;
  rules["onnx.ConstantOfShape"] = verifyConstantOfShape;
  rules["onnx.DepthToSpace"] = verifyDepthToSpace;
  rules["onnx.Expand"] = verifyExpand;
  rules["onnx.EyeLike"] = verifyEyeLike;
  rules["onnx.Flatten"] = verifyFlatten;
  rules["onnx.Identity"] = verifyIdentity;
  rules["onnx.Pad"] = verifyPad;
  rules["onnx.Range"] = verifyRange;
  rules["onnx.Reshape"] = verifyReshape;
  rules["onnx.Resize"] = verifyResize;
  rules["onnx.Slice"] = verifySlice;
  rules["onnx.SpaceToDepth"] = verifySpaceToDepth;
  rules["onnx.Split"] = verifySplit;
  rules["onnx.Squeeze"] = verifySqueeze;
  rules["onnx.Tile"] = verifyTile;
  rules["onnx.Transpose"] = verifyTranspose;
  rules["onnx.Trilu"] = verifyTrilu;
  rules["onnx.Unsqueeze"] = verifyUnsqueeze;
}
