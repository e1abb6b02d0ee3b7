//===- DecomposeNorm.cpp - normalisations as ONNX operators ---------------===//
//
// The formulae, in f32 (f64 for f64): they fit every opset.
//
//===----------------------------------------------------------------------===//
#include "passes/Experts/Decompose.h"
#include "passes/Experts/DecomposeRouting.h"

using namespace mlir;
using namespace moe;
using namespace moe::ir;

/// Mean over `axes`, which stay with extent 1.
static Value mean(GraphBuilder &g, Value x, ArrayRef<int64_t> axes) {
  return g.op("ReduceMean", {x, g.ints(axes)});
}

/// The rows of x, given by `axes`, normalised; x is f32 or f64.
static Value normalised(GraphBuilder &g, Value x, ArrayRef<int64_t> axes,
                        bool centred, double epsilon) {
  if (centred)
    x = g.op("Sub", {x, mean(g, x, axes)});
  Value variance = mean(g, g.op("Mul", {x, x}), axes);
  variance = g.op("Add", {variance, g.real(epsilon, getElement(x))});
  return g.op("Div", {x, g.op("Sqrt", {variance})});
}

Value moe::decomposeNorm(GraphBuilder &g, NormOp op) {
  Value x = op.getX();
  auto type = cast<RankedTensorType>(x.getType());
  int64_t rank = type.getRank();
  Type element = getElement(op.getY());
  Type compute =
      type.getElementType().isF64() ? g.b.getF64Type() : Type(g.b.getF32Type());
  double epsilon = op.getEpsilon().convertToDouble();
  Value y, scale = op.getScale(), bias = op.getBias();
  if (op.getKind() == NormKind::Group) {
    SmallVector<GraphExtent> shape, split;
    for (int64_t i = 0; i < rank; ++i)
      shape.push_back(g.extent(x, i));
    int64_t groups = *op.getGroups();
    split = {shape[0], GraphExtent(groups), GraphExtent(-1)};
    bool isEmpty = llvm::is_contained(type.getShape().drop_front(), 0);
    if (!isEmpty) {
      y = g.reshape(g.cast(x, compute), split);
      y = normalised(g, y, {2}, /*centred=*/true, epsilon);
      y = g.reshape(y, shape);
    } else {
      y = g.cast(x, compute);
    }
    // One number per channel.
    SmallVector<int64_t> behind =
        llvm::to_vector(llvm::seq<int64_t>(1, rank - 1));
    for (Value *one : {&scale, &bias})
      if (*one && !behind.empty())
        *one = g.unsqueeze(*one, behind);
  } else {
    int64_t axis = op.getAxis();
    if (axis < 0)
      axis += rank;
    auto axes = llvm::to_vector(llvm::seq<int64_t>(axis, rank));
    y = normalised(g, g.cast(x, compute), axes, op.getKind() == NormKind::Layer,
                   epsilon);
  }
  if (op.getRound())
    y = g.cast(g.cast(y, element), compute);
  if (scale)
    y = g.op("Mul", {y, g.cast(scale, compute)});
  if (bias)
    y = g.op("Add", {y, g.cast(bias, compute)});
  return g.cast(y, element);
}
