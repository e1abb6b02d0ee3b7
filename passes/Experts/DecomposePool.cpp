//===- DecomposePool.cpp - pools as ONNX operators ------------------------===//
//
// Each pool is the operator of its kind between the powers that it needs. What
// ONNX has no operator for in bf16 is computed in f32.
//
//===----------------------------------------------------------------------===//
#include "passes/Experts/DecomposeTokens.h"

using namespace mlir;
using namespace moe;
using namespace moe::ir;

/// Strides, pads and the like of a pool operator; none of a global one.
static SmallVector<NamedAttribute>
getWindowAttrs(GraphBuilder &g, PoolingAttr pooling, bool countsPads) {
  SmallVector<NamedAttribute> attrs;
  if (pooling.isGlobal())
    return attrs;
  auto add = [&](StringRef name, ArrayRef<int64_t> values) {
    attrs.push_back(g.b.getNamedAttr(name, g.b.getDenseI64ArrayAttr(values)));
  };
  unsigned dims = pooling.getKernel().size();
  SmallVector<int64_t> strides, dilations;
  for (unsigned i = 0; i < dims; ++i) {
    strides.push_back(pooling.getStride(i));
    dilations.push_back(pooling.getDilation(i));
  }
  add("kernel_shape", pooling.getKernel());
  add("strides", strides);
  // An attribute that some of these operators got late.
  if (llvm::any_of(dilations, [](int64_t d) { return d != 1; }))
    add("dilations", dilations);
  if (pooling.hasPads())
    add("pads", pooling.getPads());
  if (pooling.getCeil())
    attrs.push_back(g.attr("ceil_mode", 1));
  if (countsPads)
    attrs.push_back(g.attr("count_include_pad", 1));
  return attrs;
}

/// `x` with its border repeated, and a pool without pads.
static Value padOutside(GraphBuilder &g, Value x, PoolingAttr &pooling,
                        int64_t rank) {
  bool reflects = pooling.getPadMode() == PadMode::Reflect;
  if ((!reflects && pooling.getPadMode() != PadMode::Edge) ||
      !pooling.hasPads())
    return x;
  // In front of all dims, then behind; batch and channels have none.
  SmallVector<int64_t> pads(2 * rank, 0);
  for (int64_t i = 2; i < rank; ++i) {
    pads[i] = pooling.getPadBegin(i - 2);
    pads[rank + i] = pooling.getPadEnd(i - 2);
  }
  pooling = PoolingAttr::get(
      pooling.getContext(), pooling.getKind(), pooling.getKernel(),
      pooling.getStrides(), pooling.getDilations(), /*pads=*/{},
      PadMode::Exclude, pooling.getCeil(), pooling.getP(), pooling.getEps());
  return g.op("Pad", {x, g.ints(pads)},
              g.attr("mode", reflects ? "reflect" : "edge"));
}

static Value power(GraphBuilder &g, Value x, double exponent) {
  if (exponent == 1)
    return x;
  return g.op("Pow", {x, g.real(exponent, getElement(x))});
}

static Value average(GraphBuilder &g, Value x, PoolingAttr pooling,
                     bool countsPads) {
  return g.op(pooling.isGlobal() ? "GlobalAveragePool" : "AveragePool", {x},
              getWindowAttrs(g, pooling, countsPads));
}

/// (sum |x|^p)^(1/p). LpPool has whole powers only; the others take a mean, and
/// number of elements, of all places that are not beyond the padding.
static Value norm(GraphBuilder &g, Value x, PoolingAttr pooling, int64_t rank) {
  double p = pooling.getP().convertToDouble();
  if (p <= (1 << 20) && p == static_cast<int64_t>(p)) {
    auto attrs = getWindowAttrs(g, pooling, /*countsPads=*/false);
    attrs.push_back(g.attr("p", static_cast<int64_t>(p)));
    return g.op(pooling.isGlobal() ? "GlobalLpPool" : "LpPool", {x}, attrs);
  }
  Value powers = power(g, g.op("Abs", {x}), p);
  if (pooling.isGlobal()) {
    SmallVector<int64_t> axes = llvm::to_vector(llvm::seq<int64_t>(2, rank));
    return power(g, g.op("ReduceSum", {powers, g.ints(axes)}), 1 / p);
  }
  int64_t count = 1;
  for (int64_t extent : pooling.getKernel())
    count *= extent;
  Value mean = average(g, powers, pooling, /*countsPads=*/true);
  Value sum = g.op("Mul", {mean, g.real(count, getElement(x))});
  return power(g, sum, 1 / p);
}

Value moe::decomposePooling(GraphBuilder &g, Value x, PoolingAttr pooling,
                            int64_t rank) {
  Type element = getElement(x);
  if (element.isBF16())
    x = g.cast(x, g.b.getF32Type());
  x = padOutside(g, x, pooling, rank);
  bool zeros = pooling.getPadMode() == PadMode::Zero && pooling.hasPads();
  Value y;
  switch (pooling.getKind()) {
  case PoolKind::Avg:
    y = average(g, x, pooling, zeros);
    break;
  case PoolKind::Max:
    y = g.op(pooling.isGlobal() ? "GlobalMaxPool" : "MaxPool", {x},
             getWindowAttrs(g, pooling, /*countsPads=*/false));
    break;
  case PoolKind::Min:
    y = g.op(pooling.isGlobal() ? "GlobalMaxPool" : "MaxPool",
             {g.op("Neg", {x})},
             getWindowAttrs(g, pooling, /*countsPads=*/false));
    y = g.op("Neg", {y});
    break;
  case PoolKind::Gem: {
    double p = pooling.getP().convertToDouble();
    if (pooling.hasEps())
      x = g.op("Clip",
               {x, g.real(pooling.getEps().convertToDouble(), getElement(x))});
    y = power(g, average(g, power(g, x, p), pooling, zeros), 1 / p);
    break;
  }
  case PoolKind::Lp:
    y = norm(g, x, pooling, rank);
    break;
  }
  return g.cast(y, element);
}

Value moe::decomposePool(GraphBuilder &g, PoolOp op) {
  Value x = op.getX();
  Value y =
      decomposePooling(g, x, op.getPooling(), op.getX().getType().getRank());
  double alpha = op.getAlpha().convertToDouble();
  double beta = op.getBeta().convertToDouble();
  Type element = getElement(x);
  if (alpha != 1)
    y = g.op("Mul", {y, g.real(alpha, element)});
  if (beta == 0)
    return y;
  if (beta == -1)
    return g.op("Sub", {y, x});
  if (beta != 1)
    x = g.op("Mul", {x, g.real(beta, element)});
  return g.op("Add", {y, x});
}

Value moe::decomposePoolSelect(GraphBuilder &g, PoolSelectOp op) {
  Type i64 = g.b.getI64Type();
  int64_t count = op.getExperts().size();
  SmallVector<Value> pools;
  for (Attribute expert : op.getExperts())
    pools.push_back(
        g.unsqueeze(decomposePooling(g, op.getX(), cast<PoolingAttr>(expert),
                                     op.getX().getType().getRank()),
                    {0}));
  Value all = count == 1 ? pools[0] : g.concat(pools, 0);
  // A choice counts from the front: -1 is no expert.
  Value choice = g.cast(op.getChoice(), i64);
  Value below = g.op("Less", {choice, g.integer(0)}, {}, g.b.getI1Type());
  choice = g.op("Where", {below, g.integer(count), choice}, {}, i64);
  GraphExtent maps = g.extent(op.getX(), 0);
  Value end =
      maps.isStatic() ? g.integer(maps.size) : g.squeeze(maps.value, {0});
  Value numbers = g.op("Range", {g.integer(0), end, g.integer(1)});
  Value at = g.concat({g.unsqueeze(choice, {1}), g.unsqueeze(numbers, {1})}, 1);
  return g.op("GatherND", {all, at});
}
