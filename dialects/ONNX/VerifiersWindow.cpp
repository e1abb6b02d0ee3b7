//===- VerifiersWindow.cpp - rules: convolutions and pools ----------------===//

#include "dialects/ONNX/Verifiers.h"

using namespace mlir;
using namespace moe::onnx;

/// Attributes of sliding windows over `spatial` axes; unknown if negative.
static LogicalResult checkWindow(const OpView &op, int64_t spatial) {
  if (failed(op.checkOneOf("auto_pad", "NOTSET",
                           {"NOTSET", "SAME_UPPER", "SAME_LOWER", "VALID"})))
    return failure();
  StringRef autoPad = op.getString("auto_pad", "NOTSET");
  if (autoPad.starts_with("SAME") && op.has("pads") &&
      llvm::any_of(*op.getInts("pads"), [](int64_t pad) { return pad != 0; }))
    return op.error() << "has pads and auto_pad = '" << autoPad
                      << "'; one of them is accepted";
  if (spatial < 0)
    return success();
  return success(succeeded(op.checkList("kernel_shape", spatial, 1)) &&
                 succeeded(op.checkList("strides", spatial, 1)) &&
                 succeeded(op.checkList("dilations", spatial, 1)) &&
                 succeeded(op.checkList("pads", 2 * spatial, 0)));
}

/// The window has to fit into what it slides over, padding included.
static LogicalResult checkFits(const OpView &op, ArrayRef<int64_t> kernel) {
  StringRef autoPad = op.getString("auto_pad", "NOTSET");
  int64_t rank = op.rank(0);
  if (autoPad.starts_with("SAME") ||
      static_cast<int64_t>(kernel.size()) != rank - 2)
    return success();
  std::optional<ArrayRef<int64_t>> dilations = op.getInts("dilations"),
                                   pads = op.getInts("pads");
  for (auto [i, size] : llvm::enumerate(kernel)) {
    int64_t extent = op.dim(0, i + 2), reach, room = extent;
    if (ShapedType::isDynamic(extent) || ShapedType::isDynamic(size) ||
        extent == 0)
      continue;
    int64_t step = dilations ? (*dilations)[i] : 1;
    if (__builtin_mul_overflow(size - 1, step, &reach) || reach == INT64_MAX)
      return op.error() << "kernel " << size << " with dilation " << step
                        << " does not fit 64 bits";
    ++reach;
    if (pads && autoPad != "VALID" &&
        (__builtin_add_overflow(room, (*pads)[i], &room) ||
         __builtin_add_overflow(room, (*pads)[i + kernel.size()], &room)))
      return op.error() << "pads do not fit 64 bits";
    if (reach > room)
      return op.error() << "slides a window of " << reach << " over " << room
                        << " elements (dimension " << i + 2
                        << ", padding included); at most " << room
                        << " is accepted";
  }
  return success();
}

/// Group count, and that it divides `count`, named `what`.
static LogicalResult checkGroup(const OpView &op, int64_t count,
                                const Twine &what) {
  int64_t group = op.getInt("group", 1);
  if (group < 1)
    return op.error() << "group = " << group << ", 1 or more is accepted";
  if (!ShapedType::isDynamic(count) && count % group != 0)
    return op.error() << what << " = " << count
                      << ", a multiple of group = " << group << " is accepted";
  return success();
}

/// kernel_shape repeats what the weight says.
static LogicalResult checkKernel(const OpView &op, unsigned weight) {
  std::optional<ArrayRef<int64_t>> kernel = op.getInts("kernel_shape");
  if (!kernel || op.rank(weight) < 0)
    return success();
  for (auto [i, extent] : llvm::enumerate(*kernel))
    if (failed(op.checkDim(weight, i + 2, extent, "as kernel_shape says")))
      return failure();
  return success();
}

/// x: [N, C, ...], w: [M, C / group, ...], bias: [M].
static LogicalResult verifyConvolution(const OpView &op, unsigned weight,
                                       unsigned bias) {
  int64_t rank = op.rank(0);
  if (failed(op.checkMinRank(0, 3)) || failed(op.checkSameRank(0, weight)) ||
      failed(op.checkMinRank(weight, 3)) ||
      failed(checkWindow(op, rank < 0 ? -1 : rank - 2)) ||
      failed(checkKernel(op, weight)) ||
      failed(checkGroup(op, op.dim(weight, 0), "the number of filters")))
    return failure();
  int64_t group = op.getInt("group", 1);
  int64_t channels = op.dim(0, 1), perGroup = op.dim(weight, 1);
  int64_t expected;
  if (!ShapedType::isDynamic(channels) && !ShapedType::isDynamic(perGroup)) {
    if (__builtin_mul_overflow(perGroup, group, &expected) ||
        expected != channels)
      return op.error() << op.name(0) << " has " << channels << " channels, "
                        << op.name(weight) << " takes " << perGroup
                        << " in each of " << group << " groups; "
                        << channels / group << " in each is accepted";
  }
  if (rank >= 0) {
    SmallVector<int64_t> kernel;
    for (int64_t d = 2; d < rank; ++d)
      kernel.push_back(op.dim(weight, d));
    if (failed(checkFits(op, kernel)))
      return failure();
  }
  if (bias == 0)
    return success();
  return success(succeeded(op.checkRank(bias, 1)) &&
                 succeeded(op.checkSameDim(weight, 0, bias, 0)));
}

static LogicalResult verifyConv(const OpView &op) {
  return verifyConvolution(op, 1, 2);
}
static LogicalResult verifyConvInteger(const OpView &op) {
  return verifyConvolution(op, 1, 0);
}
static LogicalResult verifyQLinearConv(const OpView &op) {
  return verifyConvolution(op, 3, 8);
}

/// x: [N, C, ...], w: [C, M / group, ...], bias: [M].
static LogicalResult verifyConvTranspose(const OpView &op) {
  int64_t rank = op.rank(0), spatial = rank < 0 ? -1 : rank - 2;
  if (failed(op.checkMinRank(0, 3)) || failed(op.checkSameRank(0, 1)) ||
      failed(checkWindow(op, spatial)) || failed(checkKernel(op, 1)) ||
      failed(op.checkSameDim(0, 1, 1, 0)) ||
      failed(checkGroup(op, op.dim(1, 0), "the number of channels")))
    return failure();
  if (spatial >= 0 && (failed(op.checkList("output_padding", spatial, 0)) ||
                       failed(op.checkList("output_shape", spatial, 1))))
    return failure();
  int64_t perGroup = op.dim(1, 1), filters;
  if (failed(op.checkRank(2, 1)) || ShapedType::isDynamic(perGroup) ||
      __builtin_mul_overflow(perGroup, op.getInt("group", 1), &filters))
    return op.checkRank(2, 1);
  return op.checkDim(2, 0, filters, "one for each output channel");
}

static LogicalResult verifyPool(const OpView &op) {
  int64_t rank = op.rank(0);
  if (!op.has("kernel_shape"))
    return op.error() << "has no kernel_shape, which pools need";
  if (failed(op.checkMinRank(0, 3)) ||
      failed(checkWindow(op, rank < 0 ? -1 : rank - 2)))
    return failure();
  std::optional<ArrayRef<int64_t>> pads = op.getInts("pads");
  std::optional<ArrayRef<int64_t>> dilations = op.getInts("dilations");
  ArrayRef<int64_t> kernel = *op.getInts("kernel_shape");
  if (rank >= 0 && failed(checkFits(op, kernel)))
    return failure();
  if (!pads || pads->size() != 2 * kernel.size())
    return success();
  // A window within the padding would hold no element.
  for (auto [i, pad] : llvm::enumerate(*pads)) {
    size_t axis = i % kernel.size();
    int64_t step =
        dilations && axis < dilations->size() ? (*dilations)[axis] : 1;
    int64_t reach;
    if (!__builtin_mul_overflow(kernel[axis] - 1, step, &reach) && pad > reach)
      return op.error() << "pads hold " << pad << ", at most " << reach
                        << " is accepted for a window of " << kernel[axis];
  }
  return success();
}

static LogicalResult verifyGlobalPool(const OpView &op) {
  return op.checkMinRank(0, 2);
}

void moe::onnx::addWindowRules(OperatorRules &rules) {
  rules["onnx.AveragePool"] = verifyPool;
  rules["onnx.Conv"] = verifyConv;
  rules["onnx.ConvInteger"] = verifyConvInteger;
  rules["onnx.ConvTranspose"] = verifyConvTranspose;
  rules["onnx.GlobalAveragePool"] = verifyGlobalPool;
  rules["onnx.GlobalLpPool"] = verifyGlobalPool;
  rules["onnx.GlobalMaxPool"] = verifyGlobalPool;
  rules["onnx.LpPool"] = verifyPool;
  rules["onnx.MaxPool"] = verifyPool;
  rules["onnx.QLinearConv"] = verifyQLinearConv;
}
