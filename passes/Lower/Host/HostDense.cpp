//===- HostDense.cpp - products with constant matrices --------------------===//
//
// A product whose right operand is a constant becomes `moe.grouped_linear`,
// which packs it. What follows elementwise becomes its epilogue: all ops
// between the product and one sink through which everything that was computed
// from the product goes on, for then nothing is computed twice and the product
// itself is never stored.
//
//===----------------------------------------------------------------------===//
#include "dialects/MoE/MoEDialect.h"
#include "dialects/Rt/RtDialect.h"
#include "passes/Lower/Host/Passes.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Bufferization/IR/Bufferization.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/Dialect/Linalg/Transforms/Transforms.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/IR/IRMapping.h"
#include "mlir/IR/Matchers.h"

namespace moe {
#define GEN_PASS_DEF_HOSTDENSEPASS
#include "passes/Lower/Host/Passes.h.inc"
} // namespace moe

using namespace mlir;
using namespace moe;

namespace {

/// Narrower products waste more of a panel than it gains.
constexpr int64_t leastWidth = 8;
/// Most ops of an epilogue.
constexpr size_t mostEpilogueOps = 32;

/// A product of rows with one constant matrix, or with one for each index of
/// the outermost dimension.
struct Product {
  linalg::GenericOp op;
  Value result, left;
  ElementsAttr matrices;
  int64_t experts = 1, inner = 0, width = 0;
  ir::BankLayout layout = ir::BankLayout::OI;
  bool batched = false;
};

//===----------------------------------------------------------------------===//
// Products
//===----------------------------------------------------------------------===//

/// `value` without conversions of floats to f32.
Value skipExtension(Value value) {
  if (auto extension = value.getDefiningOp<arith::ExtFOp>())
    return extension.getIn();
  return value;
}

/// Whether `op` adds the products of its two inputs to its output, in f32.
bool addsProducts(linalg::GenericOp op) {
  if (op.getNumDpsInputs() != 2 || op.getNumDpsInits() != 1 ||
      !op.hasPureTensorSemantics() || op.getNumReductionLoops() != 1)
    return false;
  Block &body = *op.getBody();
  auto sum = body.getTerminator()->getOperand(0).getDefiningOp<arith::AddFOp>();
  if (!sum || !sum.getType().isF32())
    return false;
  Value accumulator = body.getArgument(2), term = sum.getLhs();
  if (term == accumulator)
    term = sum.getRhs();
  else if (sum.getRhs() != accumulator)
    return false;
  auto product = term.getDefiningOp<arith::MulFOp>();
  if (!product)
    return false;
  Value x = skipExtension(product.getLhs()),
        y = skipExtension(product.getRhs());
  Value a = body.getArgument(0), b = body.getArgument(1);
  return (x == a && y == b) || (x == b && y == a);
}

bool isZeroFill(Value init) {
  auto fill = init.getDefiningOp<linalg::FillOp>();
  return fill && matchPattern(fill.getInputs()[0], m_PosZeroFloat());
}

/// Whether `op` gives each element as it is, or widened to f32, which is exact.
bool onlyMoves(linalg::GenericOp op) {
  Block &body = *op.getBody();
  return skipExtension(body.getTerminator()->getOperand(0)) ==
         body.getArgument(0);
}

/// The constant that `value` is, transposed or widened or neither; `map` gives
/// the place of an element of `value` and then of the constant.
ElementsAttr findConstant(Value value, AffineMap &map) {
  while (Operation *def = value.getDefiningOp()) {
    if (auto constant = dyn_cast<arith::ConstantOp>(def))
      return dyn_cast<ElementsAttr>(constant.getValue());
    if (auto view = dyn_cast<bufferization::ToTensorOp>(def)) {
      auto constant = view.getBuffer().getDefiningOp<rt::ConstantOp>();
      return constant ? constant.getValue() : ElementsAttr();
    }
    if (auto cast = dyn_cast<tensor::CastOp>(def)) {
      value = cast.getSource();
      continue;
    }
    auto move = dyn_cast<linalg::GenericOp>(def);
    if (!move || move.getNumDpsInputs() != 1 || move.getNumResults() != 1 ||
        !move.hasPureTensorSemantics() || move.getNumReductionLoops() ||
        !onlyMoves(move))
      return {};
    AffineMap in = move.getIndexingMapsArray()[0];
    AffineMap out = move.getIndexingMapsArray()[1];
    if (!in.isPermutation() || !out.isPermutation())
      return {};
    map = in.compose(inversePermutation(out)).compose(map);
    value = move.getDpsInputs()[0];
  }
  return {};
}

/// Matches out[o..., n] = sum over k of left[o..., k] * constant[n, k], with
/// the constant's dims in any order and o's first one in front of them or not.
std::optional<Product> matchProduct(linalg::GenericOp op) {
  if (!addsProducts(op) || !isZeroFill(op.getDpsInits()[0]))
    return std::nullopt;
  Product product;
  product.op = op;
  product.result = op.getResult(0);
  product.left = op.getDpsInputs()[0];
  AffineMap left = op.getIndexingMapsArray()[0];
  AffineMap right = op.getIndexingMapsArray()[1];
  AffineMap out = op.getIndexingMapsArray()[2];
  product.matrices = findConstant(op.getDpsInputs()[1], right);
  if (!product.matrices)
    return std::nullopt;
  auto type = cast<ShapedType>(product.matrices.getType());
  if (!type.hasStaticShape() || type.getNumElements() == 0 ||
      !isa<Float16Type, BFloat16Type, Float32Type>(type.getElementType()) ||
      !isa<Float16Type, BFloat16Type, Float32Type>(
          getElementTypeOrSelf(product.left)) ||
      !out.isProjectedPermutation() || !left.isProjectedPermutation() ||
      !right.isProjectedPermutation() || out.getNumResults() == 0 ||
      left.getNumResults() != out.getNumResults())
    return std::nullopt;
  SmallVector<unsigned> reductions;
  op.getReductionDims(reductions);
  AffineExpr k = getAffineDimExpr(reductions.front(), op.getContext());
  AffineExpr n = out.getResults().back();
  if (left.getResults().back() != k ||
      left.getResults().drop_back() != out.getResults().drop_back() ||
      out.getNumResults() + 1 != op.getNumLoops())
    return std::nullopt;
  ArrayRef<AffineExpr> of = right.getResults();
  ArrayRef<int64_t> shape = type.getShape();
  if (of.size() == 3 && out.getNumResults() > 1 && of[0] == out.getResult(0)) {
    product.batched = true;
    product.experts = shape[0];
    of = of.drop_front();
    shape = shape.drop_front();
  }
  if (of.size() != 2)
    return std::nullopt;
  if (of[0] == n && of[1] == k)
    product.layout = ir::BankLayout::OI;
  else if (of[0] == k && of[1] == n)
    product.layout = ir::BankLayout::IO;
  else
    return std::nullopt;
  bool oi = product.layout == ir::BankLayout::OI;
  product.width = shape[oi ? 0 : 1];
  product.inner = shape[oi ? 1 : 0];
  auto rows = cast<RankedTensorType>(product.left.getType());
  if (product.width < leastWidth || rows.getShape().back() != product.inner ||
      cast<RankedTensorType>(op.getResult(0).getType()).getShape().back() !=
          product.width)
    return std::nullopt;
  return product;
}

//===----------------------------------------------------------------------===//
// Epilogues
//===----------------------------------------------------------------------===//

/// How an operand of an elementwise op relates to elements of the result.
enum class Access { Element, Column, Row, All };

/// The access of a tensor of type `type` read by `map`, for a result whose last
/// extent is `width`.
std::optional<Access> getAccess(AffineMap map, RankedTensorType type,
                                int64_t width) {
  unsigned loops = map.getNumDims();
  SmallVector<unsigned> dims;
  for (auto [expr, extent] : llvm::zip(map.getResults(), type.getShape())) {
    if (auto dim = dyn_cast<AffineDimExpr>(expr)) {
      dims.push_back(dim.getPosition());
      continue;
    }
    auto constant = dyn_cast<AffineConstantExpr>(expr);
    if (!constant || constant.getValue() != 0 || extent != 1)
      return std::nullopt;
  }
  if (dims.empty())
    return Access::All;
  bool last = dims.back() == loops - 1;
  if (last && type.getShape().back() != width)
    return std::nullopt;
  if (last && dims.size() == 1)
    return Access::Column;
  for (auto [i, dim] : llvm::enumerate(dims))
    if (dim != i)
      return std::nullopt;
  if (dims.size() == loops)
    return Access::Element;
  if (dims.size() == loops - 1)
    return Access::Row;
  return std::nullopt;
}

bool isExtraElement(Type type) {
  return isa<Float16Type, BFloat16Type, Float32Type, Float64Type>(type) ||
         type.isInteger(8) || type.isInteger(16) || type.isInteger(32) ||
         type.isInteger(64);
}

/// The scalar that all elements of `value` are, or null.
Attribute getSplat(Value value) {
  auto constant = value.getDefiningOp<arith::ConstantOp>();
  auto dense = constant ? dyn_cast<DenseElementsAttr>(constant.getValue())
                        : DenseElementsAttr();
  return dense && dense.isSplat() ? dense.getSplatValue<Attribute>()
                                  : Attribute();
}

/// The ops that follow a product elementwise.
class Epilogue {
public:
  explicit Epilogue(Product &product)
      : product(product), block(product.op->getBlock()) {}

  /// Chooses the ops; `getResult` is what they compute in the end.
  void grow();
  Value getResult() const { return result; }
  Operation *getLast() const { return result.getDefiningOp(); }

  /// Emits the ops as scalars into the epilogue of a product, whose block
  /// arguments are the sums so far. Extras become operands.
  struct Extra {
    Value tensor;
    Access access;
  };
  SmallVector<Extra> getExtras() const;
  Value emit(OpBuilder &b, Value sum, ValueRange extras) const;

private:
  bool isInside(Value value) const {
    return value == product.result ||
           (value.getDefiningOp() && inside.contains(value.getDefiningOp()));
  }
  bool canTake(Operation *op) const;
  bool isClosed(Operation *last, SetVector<Operation *> &ops) const;

  Product &product;
  Block *block;
  /// Ops that could be part, in order; then those that are.
  SetVector<Operation *> inside;
  Value result;
};

/// Whether a reshape leaves the last extent alone.
bool keepsColumns(ArrayRef<ReassociationIndices> groups) {
  return !groups.empty() && groups.back().size() == 1;
}

bool Epilogue::canTake(Operation *op) const {
  if (op->getBlock() != block || op->getNumResults() != 1)
    return false;
  auto type = dyn_cast<RankedTensorType>(op->getResult(0).getType());
  if (!type || type.getRank() == 0 || type.getShape().back() != product.width)
    return false;
  if (isa<tensor::CastOp>(op))
    return true;
  if (auto expand = dyn_cast<tensor::ExpandShapeOp>(op))
    return keepsColumns(expand.getReassociationIndices());
  if (auto collapse = dyn_cast<tensor::CollapseShapeOp>(op))
    return keepsColumns(collapse.getReassociationIndices());
  auto generic = dyn_cast<linalg::GenericOp>(op);
  if (!generic || generic.getNumReductionLoops() ||
      generic.getNumDpsInits() != 1 || !generic.hasPureTensorSemantics() ||
      !generic.getIndexingMapsArray().back().isIdentity() ||
      !generic.getBody()->getArguments().back().use_empty() ||
      !generic.getBody()->getOps<linalg::IndexOp>().empty())
    return false;
  for (Operation &inner : *generic.getBody())
    if (inner.getNumRegions())
      return false;
  for (OpOperand *input : generic.getDpsInputOperands()) {
    AffineMap map = generic.getMatchingIndexingMap(input);
    auto tensor = dyn_cast<RankedTensorType>(input->get().getType());
    if (!tensor) {
      if (isInside(input->get()))
        return false;
      continue;
    }
    if (isInside(input->get())) {
      if (!map.isIdentity())
        return false;
      continue;
    }
    if (getSplat(input->get()))
      continue;
    if (!isExtraElement(tensor.getElementType()) ||
        !getAccess(map, tensor, product.width))
      return false;
  }
  return true;
}

/// Whether nothing of what `last` is computed from leaves except through it;
/// `ops` are then the ones inside.
bool Epilogue::isClosed(Operation *last, SetVector<Operation *> &ops) const {
  ops.insert(last);
  for (size_t i = 0; i < ops.size(); ++i)
    for (Value operand : ops[i]->getOperands())
      if (Operation *def = operand.getDefiningOp(); inside.contains(def))
        ops.insert(def);
  auto stays = [&](Operation *op) {
    return llvm::all_of(op->getUsers(),
                        [&](Operation *user) { return ops.contains(user); });
  };
  return stays(product.op) && llvm::all_of(ops, [&](Operation *op) {
           return op == last || stays(op);
         });
}

void Epilogue::grow() {
  result = product.result;
  SmallVector<Operation *> order;
  for (Operation *op = product.op->getNextNode();
       op && inside.size() < mostEpilogueOps; op = op->getNextNode())
    if (llvm::any_of(op->getOperands(),
                     [&](Value operand) { return isInside(operand); }) &&
        canTake(op))
      inside.insert(op);
  for (Operation *last : llvm::reverse(inside)) {
    // Reshapes at the end are no computation: they stay where they are.
    if (!isa<linalg::GenericOp>(last))
      continue;
    Type element = getElementTypeOrSelf(last->getResult(0).getType());
    if (!isa<Float16Type, BFloat16Type, Float32Type, Float64Type>(element))
      continue;
    SetVector<Operation *> ops;
    if (!isClosed(last, ops))
      continue;
    // In the order of the block again.
    SetVector<Operation *> chosen;
    for (Operation *op : inside)
      if (ops.contains(op))
        chosen.insert(op);
    inside = std::move(chosen);
    result = last->getResult(0);
    return;
  }
  inside.clear();
}

SmallVector<Epilogue::Extra> Epilogue::getExtras() const {
  SmallVector<Extra> extras;
  for (Operation *op : inside) {
    auto generic = dyn_cast<linalg::GenericOp>(op);
    if (!generic)
      continue;
    for (OpOperand *input : generic.getDpsInputOperands()) {
      auto tensor = dyn_cast<RankedTensorType>(input->get().getType());
      if (!tensor || isInside(input->get()) || getSplat(input->get()))
        continue;
      extras.push_back(
          {input->get(), *getAccess(generic.getMatchingIndexingMap(input),
                                    tensor, product.width)});
    }
  }
  return extras;
}

Value Epilogue::emit(OpBuilder &b, Value sum, ValueRange extras) const {
  IRMapping map;
  map.map(product.result, sum);
  for (Operation *op : inside) {
    auto generic = dyn_cast<linalg::GenericOp>(op);
    if (!generic) {
      map.map(op->getResult(0), map.lookup(op->getOperand(0)));
      continue;
    }
    IRMapping local;
    for (OpOperand *input : generic.getDpsInputOperands()) {
      Value value = input->get(), scalar;
      if (isInside(value)) {
        scalar = map.lookup(value);
      } else if (!isa<RankedTensorType>(value.getType())) {
        scalar = value;
      } else if (Attribute splat = getSplat(value)) {
        scalar =
            arith::ConstantOp::create(b, op->getLoc(), cast<TypedAttr>(splat));
      } else {
        scalar = extras.front();
        extras = extras.drop_front();
      }
      local.map(generic.getMatchingBlockArgument(input), scalar);
    }
    for (Operation &inner : generic.getBody()->without_terminator())
      b.clone(inner, local);
    map.map(op->getResult(0),
            local.lookupOrDefault(
                generic.getBody()->getTerminator()->getOperand(0)));
  }
  return map.lookup(result);
}

//===----------------------------------------------------------------------===//
// Rewriting
//===----------------------------------------------------------------------===//

struct HostDensePass : moe::impl::HostDensePassBase<HostDensePass> {
  using HostDensePassBase::HostDensePassBase;

  /// The buffer of a tensor that is only read.
  static Value readable(OpBuilder &b, Location loc, Value tensor) {
    auto type = cast<RankedTensorType>(tensor.getType());
    return bufferization::ToBufferOp::create(
        b, loc, MemRefType::get(type.getShape(), type.getElementType()), tensor,
        /*read_only=*/true);
  }

  /// A contiguous buffer with its last `columns` extents (0 or 1) as columns
  /// and all others as rows.
  static Value asMatrix(OpBuilder &b, Location loc, Value buffer,
                        unsigned columns) {
    auto type = cast<MemRefType>(buffer.getType());
    int64_t rank = type.getRank(), front = rank - columns;
    if (rank == 2 && columns == 1)
      return buffer;
    SmallVector<ReassociationIndices> groups;
    if (front > 0)
      groups.push_back(llvm::to_vector<2>(llvm::seq<int64_t>(0, front)));
    if (columns)
      groups.emplace_back(ReassociationIndices{front});
    if (rank > static_cast<int64_t>(groups.size())) {
      buffer = memref::CollapseShapeOp::create(b, loc, buffer, groups);
      type = cast<MemRefType>(buffer.getType());
    }
    if (groups.size() == 2)
      return buffer;
    // A dim of extent 1 is missing: that of rows or that of columns.
    SmallVector<OpFoldResult> shape;
    if (type.getRank() == 1)
      shape.push_back(
          type.isDynamicDim(0)
              ? OpFoldResult(
                    memref::DimOp::create(b, loc, buffer, 0).getResult())
              : b.getIndexAttr(type.getDimSize(0)));
    shape.insert(columns ? shape.begin() : shape.end(), b.getIndexAttr(1));
    SmallVector<ReassociationIndices> expansion;
    if (type.getRank() == 1)
      expansion.push_back({0, 1});
    else
      shape.push_back(b.getIndexAttr(1));
    SmallVector<int64_t> extents;
    SmallVector<Value> dynamic;
    dispatchIndexOpFoldResults(shape, dynamic, extents);
    return memref::ExpandShapeOp::create(
        b, loc, MemRefType::get(extents, type.getElementType()), buffer,
        expansion, shape);
  }

  static Value asExtra(OpBuilder &b, Location loc,
                       const Epilogue::Extra &extra) {
    Value tensor = extra.tensor;
    auto type = cast<RankedTensorType>(tensor.getType());
    Value buffer = readable(b, loc, tensor);
    switch (extra.access) {
    case Access::Element:
      return asMatrix(b, loc, buffer, 1);
    case Access::Column: {
      // Extents in front of the columns are 1.
      Value columns = buffer;
      if (type.getRank() > 1) {
        auto all = llvm::to_vector<2>(llvm::seq<int64_t>(0, type.getRank()));
        columns = memref::CollapseShapeOp::create(
            b, loc, buffer, ArrayRef<ReassociationIndices>(all));
      }
      return asMatrix(b, loc, columns, 1);
    }
    case Access::Row:
    case Access::All:
      return asMatrix(b, loc, buffer, 0);
    }
    return {};
  }

  /// Rows of f32; others are converted.
  static Value asF32(OpBuilder &b, Location loc, Value tensor) {
    auto type = cast<RankedTensorType>(tensor.getType());
    if (type.getElementType().isF32())
      return tensor;
    SmallVector<OpFoldResult> shape = tensor::getMixedSizes(b, loc, tensor);
    Value empty = tensor::EmptyOp::create(b, loc, shape, b.getF32Type());
    AffineMap identity = b.getMultiDimIdentityMap(type.getRank());
    SmallVector<utils::IteratorType> loops(type.getRank(),
                                           utils::IteratorType::parallel);
    return linalg::GenericOp::create(
               b, loc, empty.getType(), tensor, empty,
               ArrayRef<AffineMap>{identity, identity}, loops,
               [](OpBuilder &b, Location loc, ValueRange in) {
                 Value wide =
                     arith::ExtFOp::create(b, loc, b.getF32Type(), in[0]);
                 linalg::YieldOp::create(b, loc, wide);
               })
        .getResult(0);
  }

  /// First rows of the matrices of a batch: as many rows for each.
  static Value equalOffsets(OpBuilder &b, Location loc, int64_t experts,
                            Value rows) {
    Value offsets = memref::AllocOp::create(
        b, loc, MemRefType::get({experts + 1}, b.getIndexType()));
    auto number = [&](int64_t v) -> Value {
      return arith::ConstantIndexOp::create(b, loc, v);
    };
    Value total = memref::DimOp::create(b, loc, rows, 0);
    Value each = arith::DivUIOp::create(b, loc, total, number(experts));
    auto loop =
        scf::ForOp::create(b, loc, number(0), number(experts + 1), number(1));
    OpBuilder::InsertionGuard guard(b);
    b.setInsertionPointToStart(loop.getBody());
    Value e = loop.getInductionVar();
    memref::StoreOp::create(b, loc, arith::MulIOp::create(b, loc, e, each),
                            offsets, e);
    return offsets;
  }

  void rewrite(Product &product) {
    Epilogue epilogue(product);
    epilogue.grow();
    Operation *last = epilogue.getLast();
    Location loc = product.op.getLoc();
    OpBuilder b(last);

    Value rows =
        asMatrix(b, loc, readable(b, loc, asF32(b, loc, product.left)), 1);
    auto matrixType = cast<ShapedType>(product.matrices.getType());
    Value bank = rt::ConstantOp::create(
        b, loc,
        MemRefType::get(matrixType.getShape(), matrixType.getElementType()),
        product.matrices);
    if (!product.batched)
      bank = memref::ExpandShapeOp::create(
          b, loc,
          MemRefType::get(
              {1, matrixType.getDimSize(0), matrixType.getDimSize(1)},
              matrixType.getElementType()),
          bank, ArrayRef<ReassociationIndices>{{0, 1}, {2}});
    Value offsets =
        product.batched ? equalOffsets(b, loc, product.experts, rows) : Value();
    SmallVector<Value> extras;
    SmallVector<Type> types = {b.getF32Type()};
    for (const Epilogue::Extra &extra : epilogue.getExtras()) {
      extras.push_back(asExtra(b, loc, extra));
      types.push_back(
          cast<MemRefType>(extras.back().getType()).getElementType());
    }

    Value result = epilogue.getResult();
    auto type = cast<RankedTensorType>(result.getType());
    Value init = cast<linalg::LinalgOp>(last).getDpsInitOperand(0)->get();
    if (auto fill = init.getDefiningOp<linalg::FillOp>())
      init = fill.getOutputs()[0];
    SmallVector<Value> dynamic;
    for (int64_t i = 0; i < type.getRank(); ++i)
      if (type.isDynamicDim(i))
        dynamic.push_back(tensor::DimOp::create(b, loc, init, i));
    // The element type of the product may be narrower than its sums.
    Value out = memref::AllocOp::create(
        b, loc, MemRefType::get(type.getShape(), type.getElementType()),
        dynamic);
    auto linear = ir::GroupedLinearOp::create(
        b, loc, rows, offsets, bank, ValueRange(), ValueRange(), ValueRange(),
        extras, asMatrix(b, loc, out, 1), b.getI64IntegerAttr(product.inner),
        b.getI64IntegerAttr(product.width),
        ir::GateUpAttr::get(b.getContext(), ir::GateUp::None),
        ir::BankLayoutAttr::get(b.getContext(), product.layout), IntegerAttr(),
        IntegerAttr(), UnitAttr());
    {
      OpBuilder::InsertionGuard guard(b);
      SmallVector<Location> locs(types.size(), loc);
      Block *body = b.createBlock(&linear.getEpilogue(), {}, types, locs);
      Value value = epilogue.emit(b, body->getArgument(0),
                                  body->getArguments().drop_front());
      ir::YieldOp::create(b, loc, value);
    }
    Value done = bufferization::ToTensorOp::create(
        b, loc, type, out, /*restrict=*/true, /*writable=*/true);
    result.replaceAllUsesWith(done);
    ++numProducts;
  }

  /// Named products become generic ones.
  LogicalResult generalise() {
    SmallVector<linalg::LinalgOp> named;
    getOperation().walk([&](linalg::LinalgOp op) {
      if (isa<linalg::ContractionOpInterface>(*op) &&
          !isa<linalg::GenericOp>(*op))
        named.push_back(op);
    });
    IRRewriter rewriter(&getContext());
    for (linalg::LinalgOp op : named) {
      rewriter.setInsertionPoint(op);
      if (failed(linalg::generalizeNamedOp(rewriter, op)))
        return failure();
    }
    return success();
  }

  void runOnOperation() override {
    if (failed(generalise()))
      return signalPassFailure();
    SmallVector<linalg::GenericOp> ops;
    getOperation().walk([&](linalg::GenericOp op) {
      if (op.hasPureTensorSemantics() &&
          !op->getParentOfType<rt::ParallelForOp>() &&
          !op->getParentOfType<scf::ForallOp>())
        ops.push_back(op);
    });
    for (linalg::GenericOp op : ops)
      if (std::optional<Product> product = matchProduct(op))
        rewrite(*product);
    // What became part of an epilogue is dead now.
    for (linalg::GenericOp op : llvm::reverse(ops))
      if (op.use_empty())
        op.erase();
  }
};

} // namespace
