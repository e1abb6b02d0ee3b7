//===- MoETokens.cpp - rules and folds of selections of tokens ------------===//

#include "dialects/MoE/MoEDialect.h"
#include "dialects/MoE/MoEVerify.h"
#include "dialects/ONNX/ONNXDialect.h"
#include "mlir/IR/TypeUtilities.h"

using namespace mlir;
using namespace moe::ir;

/// One row of a selection may serve all sequences.
static bool differAsRows(int64_t rows, int64_t batch) {
  return rows != 1 && differ(rows, batch);
}

/// `y` must have the rank and elements of `x`.
static LogicalResult checkPayload(Operation *op, StringRef name, Value y,
                                  StringRef of, Value x) {
  auto given = cast<RankedTensorType>(y.getType());
  auto like = cast<RankedTensorType>(x.getType());
  if (given.getRank() != like.getRank() ||
      given.getElementType() != like.getElementType())
    return op->emitOpError()
           << "'" << name << "' has type " << given << " and '" << of
           << "' type " << like << "; the same rank and elements are accepted";
  return success();
}

/// Extents of all dims but that of tokens must be those of `x`.
static LogicalResult checkOthers(Operation *op, StringRef name, Value y,
                                 StringRef of, Value x) {
  ExtentCheck check(op);
  int64_t rank = cast<RankedTensorType>(x.getType()).getRank();
  for (int64_t i = 0; i < rank; ++i)
    if (i != 1 &&
        failed(check(name, y, i, getExtent(x, i), "as of '" + Twine(of) + "'")))
      return failure();
  return success();
}

/// Rows of a selection against a batch.
static LogicalResult checkRows(Operation *op, StringRef name, Value idx,
                               int64_t batch) {
  int64_t rows = getExtent(idx, 0);
  if (!differAsRows(rows, batch))
    return success();
  return op->emitOpError() << "'" << name << "' of type " << idx.getType()
                           << " has " << rows << " rows; 1 or " << batch
                           << " are accepted (batch)";
}

/// Constant numbers of tokens, which may count from the end.
static LogicalResult checkNumbers(Operation *op, Value idx, int64_t tokens) {
  if (ShapedType::isDynamic(tokens))
    return success();
  return checkConstantIds(op, "idx", idx, -tokens, tokens);
}

//===----------------------------------------------------------------------===//
// moe.token_score and moe.token_keep
//===----------------------------------------------------------------------===//

LogicalResult TokenScoreOp::verify() {
  ExtentCheck check(*this);
  auto attention = getAttention().getType();
  if (getScores().getType().getElementType() != attention.getElementType())
    return emitOpError() << "gives scores of type "
                         << getScores().getType().getElementType()
                         << " of attention of type " << attention << "; "
                         << attention.getElementType() << " is accepted";
  if (failed(check("scores", getScores(), 0, attention.getDimSize(0),
                   "sequences")) ||
      failed(check("scores", getScores(), 1, attention.getDimSize(3), "keys")))
    return failure();
  int64_t queries = attention.getDimSize(2), query = getQuery();
  if (!ShapedType::isDynamic(queries) && (query < -queries || query >= queries))
    return emitOpError() << "query is " << query << " of " << queries << "; "
                         << -queries << " to " << queries - 1
                         << " are accepted";
  if (attention.getDimSize(1) == 0)
    return emitOpError("has no heads; 1 or more are accepted");
  return success();
}

LogicalResult TokenKeepOp::verify() {
  bool isMask = getPolicy() == KeepPolicy::Mask;
  Type element = getScores().getType().getElementType();
  if (element.isInteger(1) != isMask)
    return emitOpError() << "has scores of type " << element
                         << " with policy = "
                         << stringifyKeepPolicy(getPolicy()) << "; "
                         << (isMask ? "bool" : "a float type")
                         << " is accepted";
  int64_t tokens = getExtent(getScores(), 1);
  int64_t first = getFirst();
  int64_t most = ShapedType::isDynamic(tokens) ? INT32_MAX : tokens;
  if (first < 0 || first > most)
    return emitOpError() << "first is " << first << "; 0 to " << most
                         << " are accepted";
  std::optional<int64_t> count = getCount();
  if (count && (*count < 0 || *count > most - first))
    return emitOpError() << "count is " << *count << "; 0 to " << most - first
                         << " are accepted";
  int64_t region = count ? *count : most - first;
  ExtentCheck check(*this);
  if (failed(check("idx", getIdx(), 0, getExtent(getScores(), 0), "batch")))
    return failure();
  if (isMask) {
    if (getKAttr() && getK() != 0)
      return emitOpError() << "k is " << getK()
                           << " with policy = mask, which finds the number";
    if (getOrder() != KeepOrder::Index)
      return emitOpError("order = score with policy = mask; order = index is "
                         "accepted");
    if (differ(getExtent(getScores(), 0), 1))
      return emitOpError()
             << "has scores of type " << getScores().getType()
             << " with policy = mask; a batch of 1 is accepted: others would "
                "keep different numbers";
    int64_t kept = getExtent(getIdx(), 1);
    if (!ShapedType::isDynamic(kept) && !ShapedType::isDynamic(tokens) &&
        (kept < tokens - region || kept > tokens))
      return emitOpError() << "keeps " << kept << " of " << tokens
                           << " tokens, of which it chooses from " << region;
    return success();
  }
  int64_t k = getK();
  if (k < 0 || k > region)
    return emitOpError() << "k is " << k << "; 0 to " << region
                         << " are accepted";
  int64_t kept = ShapedType::kDynamic;
  if (!count)
    kept = first + k;
  else if (!ShapedType::isDynamic(tokens))
    kept = tokens - *count + k;
  return check("idx", getIdx(), 1, kept, "kept tokens");
}

//===----------------------------------------------------------------------===//
// moe.token_drop, moe.token_restore, moe.keep_compose
//===----------------------------------------------------------------------===//

LogicalResult TokenDropOp::verify() {
  if (failed(checkPayload(*this, "y", getY(), "x", getX())) ||
      failed(checkOthers(*this, "y", getY(), "x", getX())) ||
      failed(checkRows(*this, "idx", getIdx(), getExtent(getX(), 0))) ||
      failed(checkNumbers(*this, getIdx(), getExtent(getX(), 1))))
    return failure();
  ExtentCheck check(*this);
  int64_t kept = getExtent(getIdx(), 1);
  if (!getWeights() && !getNormalize())
    return emitOpError("has normalize = false without weights to fuse by");
  if (!getWeights())
    return check("y", getY(), 1, kept, "tokens of 'idx'");
  if (!isa<FloatType>(getX().getType().getElementType()))
    return emitOpError() << "fuses tokens of type " << getX().getType()
                         << "; floats are accepted";
  Type weights = getWeights().getType().getElementType();
  if (weights != getX().getType().getElementType())
    return emitOpError() << "has weights of type " << weights
                         << " for 'x' of type " << getX().getType() << "; "
                         << getX().getType().getElementType() << " is accepted";
  if (failed(
          check("weights", getWeights(), 0, getExtent(getX(), 0), "batch")) ||
      failed(check("weights", getWeights(), 1, getExtent(getX(), 1),
                   "tokens of 'x'")))
    return failure();
  if (ShapedType::isDynamic(kept))
    return success();
  return check("y", getY(), 1, kept + 1, "tokens of 'idx' and the fused one");
}

LogicalResult TokenRestoreOp::verify() {
  if (failed(checkPayload(*this, "y", getY(), "x", getX())) ||
      failed(checkOthers(*this, "y", getY(), "x", getX())) ||
      failed(checkRows(*this, "idx", getIdx(), getExtent(getX(), 0))))
    return failure();
  ExtentCheck check(*this);
  bool unmerges = getFill() == Fill::Unmerge;
  if (unmerges != !getBase())
    return emitOpError() << (getBase() ? "has" : "needs")
                         << " a base with fill = " << stringifyFill(getFill());
  if (unmerges) {
    if (failed(
            check("y", getY(), 1, getExtent(getIdx(), 1), "tokens of 'idx'")))
      return failure();
    return checkNumbers(*this, getIdx(), getExtent(getX(), 1));
  }
  if (failed(
          check("x", getX(), 1, getExtent(getIdx(), 1), "tokens of 'idx'")) ||
      failed(checkPayload(*this, "base", getBase(), "x", getX())) ||
      failed(checkOthers(*this, "base", getBase(), "x", getX())) ||
      failed(
          check("y", getY(), 1, getExtent(getBase(), 1), "tokens of 'base'")))
    return failure();
  if (getFill() == Fill::Add && getX().getType().getElementType().isInteger(1))
    return emitOpError("adds tokens of bool; numbers are accepted");
  return checkNumbers(*this, getIdx(), getExtent(getBase(), 1));
}

LogicalResult KeepComposeOp::verify() {
  ExtentCheck check(*this);
  int64_t outer = getExtent(getOuter(), 0), inner = getExtent(getInner(), 0);
  if (differ(outer, inner) && outer != 1 && inner != 1)
    return emitOpError() << "composes selections of " << outer << " and "
                         << inner << " rows; the same number or 1 is accepted";
  if (failed(check("idx", getIdx(), 1, getExtent(getInner(), 1),
                   "tokens of 'inner'")))
    return failure();
  int64_t rows = outer == 1 ? inner : inner == 1 ? outer : known(outer, inner);
  return check("idx", getIdx(), 0, rows, "rows of the selections");
}

//===----------------------------------------------------------------------===//
// moe.token_merge
//===----------------------------------------------------------------------===//

LogicalResult TokenMergeOp::verify() {
  ExtentCheck check(*this);
  Type element = getX().getType().getElementType();
  for (auto [name, value] : {std::pair<StringRef, Value>("size", getSize()),
                             {"y", getY()},
                             {"merged_size", getMergedSize()}})
    if (getElementTypeOrSelf(value) != element)
      return emitOpError() << "'" << name << "' has type " << value.getType()
                           << " for 'x' of type " << getX().getType() << "; "
                           << element << " is accepted";
  int64_t batch = getExtent(getX(), 0), tokens = getExtent(getX(), 1);
  for (auto [name, value] : {std::pair<StringRef, Value>("size", getSize()),
                             {"metric", getMetric()},
                             {"assign", getAssign()}})
    if (failed(check(name, value, 0, batch, "batch")) ||
        failed(check(name, value, 1, tokens, "tokens of 'x'")))
      return failure();
  if (failed(check("size", getSize(), 2, 1, "one size for each token")) ||
      failed(check("merged_size", getMergedSize(), 2, 1,
                   "one size for each token")) ||
      failed(checkOthers(*this, "y", getY(), "x", getX())) ||
      failed(check("merged_size", getMergedSize(), 0, batch, "batch")))
    return failure();
  int64_t r = getR();
  if (r < 0)
    return emitOpError() << "r is " << r << "; numbers from 0 are "
                         << "accepted";
  if (ShapedType::isDynamic(tokens))
    return success();
  // Each of the first half goes to one of the second, which must exist.
  if (tokens < 2)
    return emitOpError() << "merges tokens of 'x' of type " << getX().getType()
                         << "; 2 or more tokens are accepted";
  int64_t most = (tokens + 1) / 2 - getProtect();
  if (r > most)
    return emitOpError() << "merges r = " << r << " of " << tokens
                         << " tokens; 0 to " << most << " are accepted";
  if (failed(check("y", getY(), 1, tokens - r, "tokens that are left")))
    return failure();
  return check("merged_size", getMergedSize(), 1, tokens - r,
               "tokens that are left");
}

//===----------------------------------------------------------------------===//
// Folds
//===----------------------------------------------------------------------===//

/// Whether a selection of tokens of `x` surely names all of them in their
/// order.
static bool keepsAll(Value idx, Value x) {
  int64_t tokens = getExtent(x, 1);
  if (ShapedType::isDynamic(tokens) || getExtent(idx, 1) != tokens)
    return false;
  if (DenseIntElementsAttr ids = getConstantIds(idx)) {
    for (auto [i, id] : llvm::enumerate(ids.getValues<APInt>()))
      if (id.getSExtValue() != static_cast<int64_t>(i) % tokens)
        return false;
    return true;
  }
  // As many as there are, in ascending order, none twice.
  auto keep = idx.getDefiningOp<TokenKeepOp>();
  return keep && keep.getOrder() == KeepOrder::Index &&
         getExtent(keep.getScores(), 1) == tokens;
}

/// A selection that one token_keep made: ascending or not, no token twice.
static bool hasNoDoubles(Value idx) {
  return idx.getDefiningOp<TokenKeepOp>() != nullptr;
}

static bool sameBatch(Value idx, Value x) {
  int64_t rows = getExtent(idx, 0), batch = getExtent(x, 0);
  return rows == batch && !ShapedType::isDynamic(rows);
}

static void copyNames(Operation *from, Operation *to) {
  for (StringRef name : {StringRef(moe::onnx::names::kDims),
                         StringRef(moe::onnx::names::kOutputs)})
    if (Attribute attr = from->getAttr(name))
      to->setAttr(name, attr);
}

LogicalResult TokenDropOp::canonicalize(TokenDropOp op,
                                        PatternRewriter &rewriter) {
  // All are kept. Batches of idx and x that differ would end the run.
  if (!op.getWeights() && op.getX().getType() == op.getY().getType() &&
      keepsAll(op.getIdx(), op.getX()) &&
      (getExtent(op.getIdx(), 0) == 1 || sameBatch(op.getIdx(), op.getX()) ||
       getExtent(op.getX(), 0) == ShapedType::kDynamic)) {
    rewriter.replaceOp(op, op.getX());
    return success();
  }
  // A selection of a selection: numbers are moved, not tokens.
  auto inner = op.getX().getDefiningOp<TokenDropOp>();
  if (!inner || !inner->hasOneUse() || inner.getWeights() || op.getWeights())
    return failure();
  int64_t rows = getExtent(op.getIdx(), 0),
          before = getExtent(inner.getIdx(), 0);
  auto type = RankedTensorType::get(
      {rows == 1 ? before : rows, getExtent(op.getIdx(), 1)},
      rewriter.getI32Type());
  auto idx = KeepComposeOp::create(rewriter, op.getLoc(), type, inner.getIdx(),
                                   op.getIdx());
  auto drop = TokenDropOp::create(rewriter, op.getLoc(), op.getY().getType(),
                                  inner.getX(), idx, Value(),
                                  /*normalize=*/true);
  copyNames(op, drop);
  rewriter.replaceOp(op, drop);
  return success();
}

LogicalResult TokenRestoreOp::canonicalize(TokenRestoreOp op,
                                           PatternRewriter &rewriter) {
  // What was taken from a base goes back to it.
  auto drop = op.getX().getDefiningOp<TokenDropOp>();
  if (!drop || drop.getWeights() || op.getFill() != Fill::Base ||
      drop.getX() != op.getBase() || drop.getIdx() != op.getIdx() ||
      !hasNoDoubles(op.getIdx()) ||
      op.getBase().getType() != op.getY().getType())
    return failure();
  rewriter.replaceOp(op, op.getBase());
  return success();
}
