//===- PoolNodes.cpp - operators that pool --------------------------------===//

#include "passes/Raise/PoolNodes.h"
#include "dialects/ONNX/ONNXDialect.h"
#include "lib/Analysis/Dims.h"
#include "passes/Raise/Match.h"
#include "passes/Raise/Nodes.h"
#include "llvm/ADT/StringSwitch.h"
#include "llvm/Support/FormatVariadic.h"

using namespace mlir;
using namespace moe;

static std::optional<ir::PoolKind> getKind(Operation *op) {
  return llvm::StringSwitch<std::optional<ir::PoolKind>>(
             op->getName().getStringRef())
      .Cases({"onnx.AveragePool", "onnx.GlobalAveragePool", "onnx.ReduceMean"},
             ir::PoolKind::Avg)
      .Cases({"onnx.MaxPool", "onnx.GlobalMaxPool"}, ir::PoolKind::Max)
      .Cases({"onnx.LpPool", "onnx.GlobalLpPool"}, ir::PoolKind::Lp)
      .Default(std::nullopt);
}

bool moe::isMean(Operation *op) { return getKind(op) == ir::PoolKind::Avg; }

bool moe::isPool(Operation *op) {
  if (!getKind(op) || op->getName().getStringRef() == "onnx.ReduceMean")
    return false;
  // Positions of maxima are no pool.
  return llvm::all_of(llvm::drop_begin(op->getResults()),
                      [](Value result) { return result.use_empty(); });
}

bool moe::keepsExtents(ir::PoolingAttr pooling) {
  if (pooling.isGlobal() || pooling.getCeil())
    return false;
  for (auto [i, extent] : llvm::enumerate(pooling.getKernel()))
    if (pooling.getStride(i) != 1 ||
        pooling.getPadBegin(i) + pooling.getPadEnd(i) !=
            pooling.getDilation(i) * (extent - 1))
      return false;
  return true;
}

void moe::takeNames(Operation *from, Operation *to) {
  for (StringRef name :
       {StringRef(onnx::names::kOutputs), StringRef(onnx::names::kDims)})
    if (Attribute attr = from->getDiscardableAttr(name))
      to->setDiscardableAttr(name, attr);
}

/// Numbers of an attribute, none if they are all `otherwise`.
static SmallVector<int64_t> getNumbers(Operation *op, StringRef name,
                                       int64_t otherwise) {
  auto attr = op->getAttrOfType<DenseI64ArrayAttr>(name);
  if (!attr || llvm::all_of(attr.asArrayRef(),
                            [&](int64_t n) { return n == otherwise; }))
    return {};
  return llvm::to_vector(attr.asArrayRef());
}

/// Pads that give one window per element, the odd one at the end (SAME_UPPER)
/// or in front. False unless strides are 1: others depend on the extents.
static bool padSame(PoolNode &node, bool upper) {
  if (!node.strides.empty())
    return false;
  size_t dims = node.kernel.size();
  node.pads.assign(2 * dims, 0);
  for (size_t i = 0; i < dims; ++i) {
    int64_t dilation = node.dilations.empty() ? 1 : node.dilations[i];
    int64_t all = dilation * (node.kernel[i] - 1);
    node.pads[i] = upper ? all / 2 : all - all / 2;
    node.pads[dims + i] = all - node.pads[i];
  }
  return true;
}

bool PoolNode::readWindows(std::string &why) {
  int64_t rank = match::getRank(op->getOperand(0));
  kernel = getNumbers(op, "kernel_shape", 0);
  if (static_cast<int64_t>(kernel.size()) != rank - 2) {
    why = "a kernel that does not fit its input";
    return false;
  }
  strides = getNumbers(op, "strides", 1);
  dilations = getNumbers(op, "dilations", 1);
  pads = getNumbers(op, "pads", 0);
  ceil = match::getInt(op, "ceil_mode", 0) != 0;
  StringRef mode = match::getString(op, "auto_pad", "NOTSET");
  if (mode == "VALID")
    pads.clear();
  bool same = mode == "SAME_UPPER" || mode == "SAME_LOWER";
  if (same && !padSame(*this, mode == "SAME_UPPER")) {
    why = ("auto_pad = " + mode +
           " with strides, whose pads depend on the "
           "input's extents")
              .str();
    return false;
  }
  if (llvm::all_of(pads, [](int64_t pad) { return pad == 0; }))
    pads.clear();
  bool counts = kind == ir::PoolKind::Avg &&
                match::getInt(op, "count_include_pad", 0) != 0;
  if (counts && (!pads.empty() || ceil))
    padMode = ir::PadMode::Zero;
  if (kind == ir::PoolKind::Lp && ceil) {
    why = "ceil_mode, which norms do not have";
    return false;
  }
  // One window that is the whole map.
  auto type = cast<RankedTensorType>(op->getOperand(0).getType());
  if (pads.empty() && dilations.empty() &&
      llvm::equal(kernel, type.getShape().drop_front(2))) {
    kernel.clear();
    strides.clear();
    padMode = ir::PadMode::Exclude;
    ceil = false;
  }
  return true;
}

/// A mean over all dims behind the second.
bool PoolNode::readReduction(std::string &why) {
  std::optional<SmallVector<int64_t>> axes = match::getAxes(op);
  int64_t rank = match::getRank(op->getOperand(0));
  auto spatial = llvm::to_vector(llvm::seq<int64_t>(2, rank));
  if (axes && *axes == spatial)
    return true;
  why = "a mean over other dims than those behind the second";
  return false;
}

std::optional<PoolNode> PoolNode::read(Operation *op, std::string &why) {
  PoolNode node;
  node.op = op;
  std::optional<ir::PoolKind> kind = getKind(op);
  auto type = dyn_cast<RankedTensorType>(op->getOperand(0).getType());
  if (!kind) {
    why = "an operator that pools nothing";
    return std::nullopt;
  }
  if (!type || type.getRank() < 3 || type.getRank() > 6) {
    why = "an input of another rank than 3 to 6";
    return std::nullopt;
  }
  if (!isa<Float16Type, BFloat16Type, Float32Type, Float64Type>(
          type.getElementType())) {
    why = "elements of another type than floats";
    return std::nullopt;
  }
  node.kind = *kind;
  StringRef name = op->getName().getStringRef();
  if (node.kind == ir::PoolKind::Lp)
    node.p = match::getInt(op, "p", 2);
  bool ok = true;
  if (name == "onnx.ReduceMean")
    ok = node.readReduction(why);
  else if (!name.starts_with("onnx.Global"))
    ok = node.readWindows(why);
  if (!ok)
    return std::nullopt;
  // What the attribute does not take: numbers that no model means.
  auto ignored = [] { return InFlightDiagnostic(); };
  if (!ir::PoolingAttr::getChecked(
          ignored, op->getContext(), node.kind, ArrayRef<int64_t>(node.kernel),
          ArrayRef<int64_t>(node.strides), ArrayRef<int64_t>(node.dilations),
          ArrayRef<int64_t>(node.pads), node.padMode, node.ceil,
          APFloat(node.p),
          APFloat::getInf(APFloat::IEEEdouble(), /*Negative=*/true))) {
    why = "attributes beyond those of a pool";
    return std::nullopt;
  }
  return node;
}

std::optional<int64_t> PoolNode::countElements() const {
  if (!pads.empty() || ceil)
    return std::nullopt;
  ArrayRef<int64_t> extents = kernel;
  if (kernel.empty())
    extents = cast<RankedTensorType>(op->getOperand(0).getType())
                  .getShape()
                  .drop_front(2);
  int64_t count = 1;
  for (int64_t extent : extents)
    if (ShapedType::isDynamic(extent) || extent < 1 ||
        llvm::MulOverflow(count, extent, count))
      return std::nullopt;
  return count;
}

ir::PoolingAttr PoolNode::get(ir::PoolKind kind, double p, double eps) const {
  return ir::PoolingAttr::get(op->getContext(), kind, kernel, strides,
                              dilations, pads, padMode, ceil, APFloat(p),
                              APFloat(eps));
}

void PoolNode::replace(RewriterBase &rewriter, Operation *root, Value x,
                       ir::PoolingAttr pooling) const {
  auto in = cast<RankedTensorType>(x.getType());
  auto out = cast<RankedTensorType>(root->getResult(0).getType());
  rewriter.setInsertionPoint(root);
  bool keeps = out.getRank() == in.getRank();
  RankedTensorType type = out;
  if (!keeps) {
    SmallVector<int64_t> shape(in.getRank(), 1);
    shape[0] = in.getDimSize(0);
    shape[1] = in.getDimSize(1);
    type = RankedTensorType::get(shape, in.getElementType());
  }
  auto pool = ir::PoolOp::create(rewriter, root->getLoc(), type, x, pooling,
                                 APFloat(1.0), APFloat(0.0));
  Value result = pool.getY();
  if (!keeps) {
    NodeBuilder nodes(rewriter, root->getLoc());
    auto axes = llvm::to_vector(llvm::seq<int64_t>(2, in.getRank()));
    auto list = DenseElementsAttr::get(
        RankedTensorType::get({static_cast<int64_t>(axes.size())},
                              rewriter.getI64Type()),
        ArrayRef<int64_t>(axes));
    Value dims = nodes.create("onnx.Constant", {}, list.getType(),
                              rewriter.getNamedAttr("value", list));
    result = nodes.create("onnx.Squeeze", {result, dims}, out);
  }
  takeNames(root, result.getDefiningOp());
  rewriter.replaceOp(root, result);
}

std::optional<ExpertPool> ExpertPool::read(Value value, std::string &why) {
  value = match::strip(value);
  Operation *op = value.getDefiningOp();
  if (auto pool = dyn_cast_or_null<ir::PoolOp>(op)) {
    if (pool.getAlpha().isExactlyValue(1.0) && pool.getBeta().isZero())
      return ExpertPool{match::strip(pool.getX()), pool.getPooling()};
    why = "a pool that its input is added to";
    return std::nullopt;
  }
  if (op && isPool(op)) {
    std::optional<PoolNode> node = PoolNode::read(op, why);
    if (!node)
      return std::nullopt;
    return ExpertPool{match::getInput(op, 0), node->get()};
  }
  why = "no pool (" +
        (op ? op->getName().getStringRef().str() : std::string("an input")) +
        ")";
  return std::nullopt;
}
