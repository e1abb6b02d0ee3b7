//===- MoEPool.cpp - rules and folds of pools -----------------------------===//

#include "dialects/MoE/MoEDialect.h"
#include "dialects/MoE/MoEVerify.h"
#include "dialects/ONNX/ONNXDialect.h"
#include "mlir/IR/TypeUtilities.h"

using namespace mlir;
using namespace moe::ir;

//===----------------------------------------------------------------------===//
// #moe.pooling
//===----------------------------------------------------------------------===//

/// Windows and pads beyond it are no use and leave 64 bits when multiplied.
static constexpr int64_t kMostExtent = int64_t(1) << 31;

static LogicalResult verifyRange(function_ref<InFlightDiagnostic()> emitError,
                                 StringRef name, ArrayRef<int64_t> values,
                                 int64_t least) {
  for (int64_t value : values)
    if (value < least || value > kMostExtent)
      return emitError() << name << " holds " << value << "; " << least
                         << " to " << kMostExtent << " are accepted";
  return success();
}

LogicalResult PoolingAttr::verify(function_ref<InFlightDiagnostic()> emitError,
                                  PoolKind kind, ArrayRef<int64_t> kernel,
                                  ArrayRef<int64_t> strides,
                                  ArrayRef<int64_t> dilations,
                                  ArrayRef<int64_t> pads, PadMode pad_mode,
                                  bool ceil, APFloat p, APFloat eps) {
  for (auto [name, values, least, each] :
       {std::tuple<StringRef, ArrayRef<int64_t>, int64_t, size_t>("kernel",
                                                                  kernel, 1, 1),
        {"strides", strides, 1, 1},
        {"dilations", dilations, 1, 1},
        {"pads", pads, 0, 2}}) {
    if (failed(verifyRange(emitError, name, values, least)))
      return failure();
    if (!values.empty() && values.size() != each * kernel.size())
      return emitError() << name << " has " << values.size()
                         << " numbers for a kernel of " << kernel.size() << "; "
                         << each * kernel.size() << " are accepted";
  }
  if (kernel.empty() && (ceil || pad_mode != PadMode::Exclude))
    return emitError() << (ceil ? "ceil" : "pad_mode")
                       << " without a kernel: a window that is the whole map "
                          "has nothing around it";
  bool isOrder = kind == PoolKind::Max || kind == PoolKind::Min;
  if (isOrder && pad_mode == PadMode::Zero)
    return emitError() << "pad_mode = zero with kind = "
                       << stringifyPoolKind(kind)
                       << "; exclude, reflect and edge are accepted";
  if (ceil && (pad_mode == PadMode::Reflect || pad_mode == PadMode::Edge))
    return emitError() << "ceil with pad_mode = " << stringifyPadMode(pad_mode)
                       << "; exclude and zero are accepted with it";
  bool isPower = kind == PoolKind::Gem || kind == PoolKind::Lp;
  if (ceil && kind == PoolKind::Lp)
    return emitError() << "ceil with kind = lp, which has no mean; the other "
                          "kinds are accepted with it";
  if (&p.getSemantics() != &APFloat::IEEEdouble() ||
      &eps.getSemantics() != &APFloat::IEEEdouble())
    return emitError() << "p and eps are no f64";
  if (!p.isFinite() || p.isZero() || (p.isNegative() && kind != PoolKind::Gem))
    return emitError() << "p = " << p.convertToDouble() << "; finite numbers "
                       << (kind == PoolKind::Gem ? "other than" : "above")
                       << " 0 are accepted";
  if (!isPower && !p.isExactlyValue(1.0))
    return emitError() << "p = " << p.convertToDouble()
                       << " with kind = " << stringifyPoolKind(kind)
                       << "; gem and lp have a power";
  bool isOff = eps.isInfinity() && eps.isNegative();
  if (!isOff && (!eps.isFinite() || eps.isNegative()))
    return emitError() << "eps = " << eps.convertToDouble()
                       << "; finite numbers from 0 are accepted";
  if (!isOff && kind != PoolKind::Gem)
    return emitError() << "eps with kind = " << stringifyPoolKind(kind)
                       << "; gem is accepted with it";
  return success();
}

int64_t PoolingAttr::getStride(unsigned i) const {
  return i < getStrides().size() ? getStrides()[i] : 1;
}

int64_t PoolingAttr::getDilation(unsigned i) const {
  return i < getDilations().size() ? getDilations()[i] : 1;
}

int64_t PoolingAttr::getPadBegin(unsigned i) const {
  return i < getPads().size() ? getPads()[i] : 0;
}

int64_t PoolingAttr::getPadEnd(unsigned i) const {
  size_t at = getKernel().size() + i;
  return at < getPads().size() ? getPads()[at] : 0;
}

bool PoolingAttr::hasPads() const {
  return llvm::any_of(getPads(), [](int64_t pad) { return pad != 0; });
}

int64_t PoolingAttr::getResultExtent(unsigned i, int64_t extent) const {
  if (isGlobal())
    return 1;
  if (ShapedType::isDynamic(extent))
    return extent;
  // All of it fits: numbers are limited, and a dilated window is their product.
  int64_t reach = getDilation(i) * (getKernel()[i] - 1) + 1;
  int64_t room = extent + getPadBegin(i) + getPadEnd(i) - reach;
  if (room < 0)
    return -1;
  int64_t stride = getStride(i);
  int64_t windows =
      (getCeil() ? llvm::divideCeil(room, stride) : room / stride) + 1;
  // A window that starts in the padding at the end sees nothing.
  if (getCeil() && (windows - 1) * stride >= extent + getPadBegin(i))
    --windows;
  return windows;
}

//===----------------------------------------------------------------------===//
// moe.pool and moe.pool_select
//===----------------------------------------------------------------------===//

/// A pool of `x` must be able to give `y`. `which` names it in messages.
static LogicalResult verifyPooling(Operation *op, Value x, Value y,
                                   PoolingAttr pooling, const Twine &which) {
  auto from = cast<RankedTensorType>(x.getType());
  auto to = cast<RankedTensorType>(y.getType());
  int64_t spatial = from.getRank() - 2;
  int64_t dims = pooling.getKernel().size();
  if (!pooling.isGlobal() && dims != spatial)
    return op->emitOpError() << which << " has a kernel of " << dims
                             << " numbers for 'x' of type " << from << "; "
                             << spatial << " are accepted";
  if (to.getRank() != from.getRank())
    return op->emitOpError()
           << "gives 'y' of type " << to << " for 'x' of type " << from
           << "; rank " << from.getRank() << " is accepted";
  if (to.getElementType() != from.getElementType())
    return op->emitOpError() << "gives elements of type " << to.getElementType()
                             << " for 'x' of type " << from << "; "
                             << from.getElementType() << " is accepted";
  ExtentCheck check(op);
  if (failed(check("y", y, 0, from.getDimSize(0), "maps of 'x'")) ||
      failed(check("y", y, 1, from.getDimSize(1), "channels of 'x'")))
    return failure();
  for (int64_t i = 0; i < spatial; ++i) {
    int64_t extent = pooling.getResultExtent(i, from.getDimSize(i + 2));
    if (!ShapedType::isDynamic(extent) && extent < 0)
      return op->emitOpError() << which << " does not fit into dimension "
                               << i + 2 << " of 'x' of type " << from;
    if (failed(check("y", y, i + 2, extent, "windows of " + which)))
      return failure();
    bool reflects = pooling.getPadMode() == PadMode::Reflect;
    int64_t most = std::max(pooling.getPadBegin(i), pooling.getPadEnd(i));
    if (reflects && !from.isDynamicDim(i + 2) && most >= from.getDimSize(i + 2))
      return op->emitOpError()
             << which << " reflects " << most << " elements in dimension "
             << i + 2 << " of 'x' of type " << from
             << "; fewer than the extent are accepted";
  }
  return success();
}

LogicalResult PoolOp::verify() {
  if (failed(verifyPooling(*this, getX(), getY(), getPooling(), "the pool")))
    return failure();
  for (auto [name, value] : {std::pair<StringRef, APFloat>("alpha", getAlpha()),
                             {"beta", getBeta()}})
    if (!value.isFinite())
      return emitOpError() << name << " is not finite";
  if (getBeta().isZero())
    return success();
  for (int64_t i = 2; i < getX().getType().getRank(); ++i)
    if (differ(getExtent(getX(), i), getExtent(getY(), i)))
      return emitOpError() << "adds 'x' of type " << getX().getType()
                           << " to a pool of type " << getY().getType()
                           << "; the same extents are accepted";
  return success();
}

LogicalResult PoolSelectOp::verify() {
  if (getExperts().empty())
    return emitOpError("has no experts; 1 or more are accepted");
  for (auto [i, expert] : llvm::enumerate(getExperts()))
    if (failed(verifyPooling(*this, getX(), getY(), cast<PoolingAttr>(expert),
                             "expert " + Twine(i))))
      return failure();
  ExtentCheck check(*this);
  if (failed(
          check("choice", getChoice(), 0, getExtent(getX(), 0), "maps of 'x'")))
    return failure();
  return checkConstantIds(*this, "choice", getChoice(), 0, getExperts().size());
}

//===----------------------------------------------------------------------===//
// Folds
//===----------------------------------------------------------------------===//

/// Windows of one element each: the map itself.
static bool isIdentity(PoolingAttr pooling) {
  if (pooling.isGlobal() || pooling.hasPads())
    return false;
  auto isOne = [](int64_t n) { return n == 1; };
  return llvm::all_of(pooling.getKernel(), isOne) &&
         llvm::all_of(pooling.getStrides(), isOne) &&
         (pooling.getKind() == PoolKind::Avg ||
          pooling.getKind() == PoolKind::Max ||
          pooling.getKind() == PoolKind::Min);
}

LogicalResult PoolOp::canonicalize(PoolOp op, PatternRewriter &rewriter) {
  PoolingAttr pooling = op.getPooling();
  // The mean of first powers is the mean. A limit from below would remain.
  if (pooling.getKind() == PoolKind::Gem && !pooling.hasEps() &&
      pooling.getP().isExactlyValue(1.0)) {
    auto average =
        PoolingAttr::get(op.getContext(), PoolKind::Avg, pooling.getKernel(),
                         pooling.getStrides(), pooling.getDilations(),
                         pooling.getPads(), pooling.getPadMode(),
                         pooling.getCeil(), pooling.getP(), pooling.getEps());
    rewriter.modifyOpInPlace(op, [&] { op.setPoolingAttr(average); });
    return success();
  }
  // alpha * x + beta * x is x where the sum is 1 and neither rounds.
  bool plain = op.getAlpha().isExactlyValue(1.0) && op.getBeta().isZero();
  if (!isIdentity(pooling) || !plain ||
      op.getX().getType() != op.getY().getType())
    return failure();
  rewriter.replaceOp(op, op.getX());
  return success();
}

/// With one expert, or a constant that names the same one for all maps, there
/// is nothing to choose.
LogicalResult PoolSelectOp::canonicalize(PoolSelectOp op,
                                         PatternRewriter &rewriter) {
  DenseIntElementsAttr choice = getConstantIds(op.getChoice());
  if (!choice || !choice.isSplat())
    return failure();
  int64_t number = choice.getSplatValue<APInt>().getSExtValue();
  if (number < 0 || number >= static_cast<int64_t>(op.getExperts().size()))
    return failure();
  // Of unknown length it may have another one than x, which ends the run.
  if (ShapedType::isDynamic(getExtent(op.getX(), 0)))
    return failure();
  Attribute dims = op->getAttr(moe::onnx::names::kDims);
  Attribute names = op->getAttr(moe::onnx::names::kOutputs);
  auto pool = rewriter.replaceOpWithNewOp<PoolOp>(
      op, op.getY().getType(), op.getX(),
      cast<PoolingAttr>(op.getExperts()[number]), APFloat(1.0), APFloat(0.0));
  if (dims)
    pool->setAttr(moe::onnx::names::kDims, dims);
  if (names)
    pool->setAttr(moe::onnx::names::kOutputs, names);
  return success();
}
