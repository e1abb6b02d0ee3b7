//===- Contraction.cpp - matrix products and Einsum -----------------------===//
//
// All products become one form: a linalg.generic over parallel dims and the
// contracted ones that adds products to an accumulator, f32 for operands of
// 16 bits. Transposition and broadcast batch dims are in the maps, so nothing
// is copied for them.
//
//===----------------------------------------------------------------------===//

#include "dialects/ONNX/ONNXDialect.h"
#include "mlir/Dialect/Utils/StaticValueUtils.h"
#include "passes/Lower/ONNXToLinalg/Lowering.h"
#include <set>

using namespace mlir;
using namespace moe;
using namespace moe::lower;

/// Element type in which products of `element` are added up.
static Type accumulatorType(Type element) {
  auto real = dyn_cast<FloatType>(element);
  if (real && real.getWidth() < 32)
    return Float32Type::get(element.getContext());
  return element;
}

static Value multiplyAdd(OpBuilder &b, Location loc, ValueRange in,
                         Value accumulator) {
  Value x = widen(b, loc, in[0]), y = widen(b, loc, in[1]);
  if (isa<FloatType>(x.getType()))
    return arith::AddFOp::create(b, loc, accumulator,
                                 arith::MulFOp::create(b, loc, x, y));
  return arith::AddIOp::create(b, loc, accumulator,
                               arith::MulIOp::create(b, loc, x, y));
}

/// The sum of products over the loops marked in `reduced`, starting at zero.
static Value contract(FunctionLowering &l, ArrayRef<OpFoldResult> loops,
                      ArrayRef<bool> reduced, Value x, AffineMap xMap, Value y,
                      AffineMap yMap) {
  Extents kept;
  for (auto [extent, gone] : llvm::zip(loops, reduced))
    if (!gone)
      kept.push_back(extent);
  Type element = elementOf(x);
  Type sum = accumulatorType(element);
  Value init = l.filled(kept, l.scalar(sum, 0));
  Value out = l.reduce(loops, reduced, init, {x, y}, {xMap, yMap}, multiplyAdd);
  return l.castTo(out, element);
}

static LogicalResult lowerMatMul(FunctionLowering &l, Operation *op) {
  Value a = operand(op, 0), c = operand(op, 1), out = op->getResult(0);
  int64_t aRank = rankOf(a), cRank = rankOf(c);
  // A vector on the left is a row, one on the right a column; the dim that
  // this adds is not part of the result.
  bool row = aRank == 1, column = cRank == 1;
  int64_t aBatch = row ? 0 : aRank - 2, cBatch = column ? 0 : cRank - 2;
  int64_t batch = std::max(aBatch, cBatch);

  if (!l.sameExtent(a, aRank - 1, c, column ? 0 : cRank - 2))
    l.checkEqual(l.dim(a, aRank - 1), l.dim(c, column ? 0 : cRank - 2),
                 "the contracted extents differ");

  // Loops: batch..., rows, columns, contracted.
  Extents loops;
  for (int64_t i = 0; i < batch; ++i) {
    int64_t ai = i - (batch - aBatch), ci = i - (batch - cBatch);
    loops.push_back(l.resultDim(out, i, [&]() -> OpFoldResult {
      OpFoldResult x = ai >= 0 ? l.dim(a, ai) : l.index(1);
      OpFoldResult y = ci >= 0 ? l.dim(c, ci) : l.index(1);
      if (isConstantIntValue(x, 1))
        return y;
      if (isConstantIntValue(y, 1) || x == y)
        return x;
      auto eq = arith::CmpIPredicate::eq;
      Value xOne = l.compare(eq, x, l.index(1));
      Value ok = l.b.createOrFold<arith::OrIOp>(
          l.loc(), l.compare(eq, x, y),
          l.b.createOrFold<arith::OrIOp>(l.loc(), xOne,
                                         l.compare(eq, y, l.index(1))));
      l.check(ok, "batch extents of dimension " + Twine(i) +
                      " do not broadcast",
              3);
      return l.select(xOne, y, x);
    }));
  }
  unsigned rowLoop = loops.size();
  if (!row)
    loops.push_back(l.dim(a, aRank - 2));
  unsigned columnLoop = loops.size();
  if (!column)
    loops.push_back(l.dim(c, cRank - 1));
  unsigned contracted = loops.size();
  loops.push_back(l.dim(a, aRank - 1));

  auto batchExprs = [&](Value v, int64_t own, SmallVector<AffineExpr> &exprs,
                        bool &open) {
    for (int64_t d = 0; d < own; ++d) {
      int64_t loop = batch - own + d;
      OpFoldResult extent = l.dim(v, d);
      std::optional<int64_t> fixed = getConstantIntValue(extent);
      if (extent == loops[loop] || l.sameExtent(v, d, out, loop) ||
          (fixed && *fixed != 1)) {
        exprs.push_back(l.b.getAffineDimExpr(loop));
      } else if (fixed) {
        exprs.push_back(l.b.getAffineConstantExpr(0));
      } else {
        open = true;
        exprs.push_back(l.b.getAffineDimExpr(loop));
      }
    }
  };
  // Batch extents of which only the run knows whether they are 1: expanded.
  auto source = [&](Value v, int64_t own, bool open) -> Value {
    if (!open)
      return l.tensor(v);
    Extents shape(loops.begin() + (batch - own), loops.begin() + batch);
    for (int64_t d = own; d < rankOf(v); ++d)
      shape.push_back(l.dim(v, d));
    auto [expanded, map] = l.broadcastOperand(v, Value(), shape, shape.size());
    if (map.isIdentity())
      return expanded;
    return l.pointwise(shape, elementOf(expanded), expanded, map,
                       [](OpBuilder &, Location, ValueRange args) -> Value {
                         return args[0];
                       });
  };
  SmallVector<AffineExpr> aExprs, cExprs;
  bool aOpen = false, cOpen = false;
  batchExprs(a, aBatch, aExprs, aOpen);
  batchExprs(c, cBatch, cExprs, cOpen);
  if (!row)
    aExprs.push_back(l.b.getAffineDimExpr(rowLoop));
  aExprs.push_back(l.b.getAffineDimExpr(contracted));
  cExprs.push_back(l.b.getAffineDimExpr(contracted));
  if (!column)
    cExprs.push_back(l.b.getAffineDimExpr(columnLoop));

  SmallVector<bool> reduced(loops.size(), false);
  reduced.back() = true;
  MLIRContext *context = l.b.getContext();
  Value left = source(a, aBatch, aOpen), right = source(c, cBatch, cOpen);
  Value product = contract(
      l, loops, reduced, left, AffineMap::get(loops.size(), 0, aExprs, context),
      right, AffineMap::get(loops.size(), 0, cExprs, context));
  l.set(out, product);
  return success();
}

static LogicalResult lowerGemm(FunctionLowering &l, Operation *op) {
  Value a = operand(op, 0), w = operand(op, 1), c = operand(op, 2);
  Value out = op->getResult(0);
  bool transA = intAttr(op, "transA", 0) != 0;
  bool transB = intAttr(op, "transB", 0) != 0;
  double alpha = floatAttr(op, "alpha", 1.0), beta = floatAttr(op, "beta", 1.0);
  int64_t aRow = transA ? 1 : 0, wColumn = transB ? 0 : 1;
  if (!l.sameExtent(a, 1 - aRow, w, 1 - wColumn))
    l.checkEqual(l.dim(a, 1 - aRow), l.dim(w, 1 - wColumn),
                 "the contracted extents differ");
  Extents loops = {l.dim(a, aRow), l.dim(w, wColumn), l.dim(a, 1 - aRow)};
  MLIRContext *context = l.b.getContext();
  AffineExpr i = l.b.getAffineDimExpr(0), j = l.b.getAffineDimExpr(1),
             k = l.b.getAffineDimExpr(2);
  auto map = [&](AffineExpr x, AffineExpr y) {
    return AffineMap::get(3, 0, {x, y}, context);
  };
  Value product =
      contract(l, loops, {false, false, true}, l.tensor(a),
               transA ? map(k, i) : map(i, k), l.tensor(w),
               transB ? map(j, k) : map(k, j));
  Type element = elementOf(product);
  if (!c && alpha == 1.0) {
    l.set(out, product);
    return success();
  }
  Extents shape = {loops[0], loops[1]};
  SmallVector<Value> operands = {product};
  SmallVector<AffineMap> maps = {AffineMap::getMultiDimIdentityMap(2, context)};
  if (c) {
    // The addend broadcasts to the product, never the other way.
    auto [source, cMap] = l.broadcastOperand(c, out, shape, 2);
    for (int64_t d = 0; d < rankOf(c); ++d) {
      OpFoldResult extent = l.dim(c, d);
      OpFoldResult wanted = shape[2 - rankOf(c) + d];
      if (extent != wanted && !isConstantIntValue(extent, 1))
        l.check(l.b.createOrFold<arith::OrIOp>(
                    l.loc(),
                    l.compare(arith::CmpIPredicate::eq, extent, wanted),
                    l.compare(arith::CmpIPredicate::eq, extent, l.index(1))),
                "C does not broadcast to the product", 3);
    }
    operands.push_back(source);
    maps.push_back(cMap);
  }
  l.set(out,
        l.pointwise(shape, element, operands, maps,
                    [&](OpBuilder &b, Location loc, ValueRange args) {
                      auto scaled = [&](Value v, double by) -> Value {
                        v = widen(b, loc, v);
                        if (by == 1.0)
                          return v;
                        if (isa<FloatType>(v.getType()))
                          return arith::MulFOp::create(
                              b, loc, v,
                              arith::ConstantOp::create(
                                  b, loc, b.getFloatAttr(v.getType(), by)));
                        return arith::MulIOp::create(
                            b, loc, v,
                            arith::ConstantOp::create(
                                b, loc,
                                b.getIntegerAttr(
                                    v.getType(), static_cast<int64_t>(by))));
                      };
                      Value v = scaled(args[0], alpha);
                      if (c) {
                        Value addend = scaled(args[1], beta);
                        if (isa<FloatType>(v.getType()))
                          v = arith::AddFOp::create(b, loc, v, addend);
                        else
                          v = arith::AddIOp::create(b, loc, v, addend);
                      }
                      return isa<FloatType>(element)
                                 ? narrow(b, loc, v, element)
                                 : v;
                    }));
  return success();
}

//===----------------------------------------------------------------------===//
// Einsum
//===----------------------------------------------------------------------===//

namespace {
/// One term of an equation: a label per dim, '.' for each dim that the
/// ellipsis stands for (numbered from the last one).
struct Term {
  SmallVector<std::string> labels;
};
} // namespace

/// Splits "bij" or "b...j" into labels for an operand of `rank` dims.
static FailureOr<Term> parseTerm(Operation *op, StringRef text, int64_t rank) {
  Term term;
  int64_t letters = llvm::count_if(text, [](char c) { return isalpha(c); });
  int64_t covered = rank < 0 ? 0 : rank - letters;
  for (size_t i = 0; i < text.size(); ++i) {
    if (isalpha(text[i])) {
      term.labels.push_back(std::string(1, text[i]));
    } else if (text.substr(i).starts_with("...")) {
      for (int64_t d = covered; d > 0; --d)
        term.labels.push_back("." + std::to_string(d));
      i += 2;
    } else {
      return op->emitOpError() << "has '" << text[i] << "' in its equation; "
                               << "letters and '...' are accepted";
    }
  }
  if (rank >= 0 && static_cast<int64_t>(term.labels.size()) != rank)
    return op->emitOpError() << "names " << term.labels.size()
                             << " dims of an operand of rank " << rank;
  return term;
}

static LogicalResult lowerEinsum(FunctionLowering &l, Operation *op) {
  Value out = op->getResult(0);
  std::string equation;
  for (char c : stringAttr(op, "equation", ""))
    if (!isspace(c))
      equation.push_back(c);
  auto [inputs, output] = StringRef(equation).split("->");
  bool explicitOutput = StringRef(equation).contains("->");
  SmallVector<StringRef> texts;
  inputs.split(texts, ',');
  if (texts.size() != op->getNumOperands())
    return op->emitOpError() << "has " << op->getNumOperands()
                             << " operands, its equation " << texts.size();
  SmallVector<Term> terms;
  int64_t covered = 0;
  for (auto [v, text] : llvm::zip(op->getOperands(), texts)) {
    FailureOr<Term> term = parseTerm(op, text, rankOf(v));
    if (failed(term))
      return failure();
    covered = std::max<int64_t>(
        covered, llvm::count_if(term->labels, [](const std::string &label) {
          return label[0] == '.';
        }));
    terms.push_back(*term);
  }
  Term result;
  if (explicitOutput) {
    int64_t letters = llvm::count_if(output, [](char c) { return isalpha(c); });
    bool ellipsis = output.contains("...");
    FailureOr<Term> term =
        parseTerm(op, output, letters + (ellipsis ? covered : 0));
    if (failed(term))
      return failure();
    result = *term;
  } else {
    // Dims of the ellipsis first, then the labels that occur once, sorted.
    for (int64_t d = covered; d > 0; --d)
      result.labels.push_back("." + std::to_string(d));
    llvm::StringMap<int> uses;
    std::set<std::string> once;
    for (const Term &term : terms)
      for (const std::string &label : term.labels)
        if (label[0] != '.')
          ++uses[label];
    for (auto &entry : uses)
      if (entry.second == 1)
        once.insert(entry.first().str());
    result.labels.append(once.begin(), once.end());
  }

  // Extent of each label; 1 broadcasts.
  llvm::StringMap<OpFoldResult> extents;
  SmallVector<std::string> order;
  for (auto [v, term] : llvm::zip(op->getOperands(), terms))
    for (auto [d, label] : llvm::enumerate(term.labels)) {
      OpFoldResult extent = l.dim(v, d);
      auto [it, fresh] = extents.try_emplace(label, extent);
      if (fresh) {
        order.push_back(label);
        continue;
      }
      if (it->second == extent || isConstantIntValue(extent, 1))
        continue;
      if (isConstantIntValue(it->second, 1)) {
        it->second = extent;
        continue;
      }
      l.checkEqual(it->second, extent,
                   "extents of label '" + label + "' differ");
      if (getConstantIntValue(extent))
        it->second = extent;
    }
  for (const std::string &label : result.labels)
    if (!extents.count(label))
      return op->emitOpError()
             << "has label '" << label << "' in its output alone";

  // Pairs from the left; what no later term and not the output names is summed
  // as soon as possible.
  MLIRContext *context = l.b.getContext();
  auto reduceTo = [&](ArrayRef<std::string> kept, ArrayRef<Value> in,
                      ArrayRef<Term> of) {
    SmallVector<std::string> loopsOf(kept.begin(), kept.end());
    for (const Term &term : of)
      for (const std::string &label : term.labels)
        if (!llvm::is_contained(loopsOf, label))
          loopsOf.push_back(label);
    Extents loops;
    SmallVector<bool> reduced;
    for (auto [i, label] : llvm::enumerate(loopsOf)) {
      loops.push_back(extents[label]);
      reduced.push_back(i >= kept.size());
    }
    SmallVector<AffineMap> maps;
    for (auto [v, term] : llvm::zip(in, of)) {
      SmallVector<AffineExpr> exprs;
      auto type = cast<RankedTensorType>(v.getType());
      for (auto [d, label] : llvm::enumerate(term.labels)) {
        bool one = type.getDimSize(d) == 1 &&
                   !isConstantIntValue(extents[label], 1);
        exprs.push_back(one ? l.b.getAffineConstantExpr(0)
                            : l.b.getAffineDimExpr(
                                  llvm::find(loopsOf, label) -
                                  loopsOf.begin()));
      }
      maps.push_back(AffineMap::get(loops.size(), 0, exprs, context));
    }
    if (in.size() == 2)
      return contract(l, loops, reduced, in[0], maps[0], in[1], maps[1]);
    Type element = elementOf(in[0]), sum = accumulatorType(element);
    Extents keptExtents(loops.begin(), loops.begin() + kept.size());
    Value init = l.filled(keptExtents, l.scalar(sum, 0));
    Value total = l.reduce(
        loops, reduced, init, in[0], maps[0],
        [](OpBuilder &b, Location loc, ValueRange args, Value acc) -> Value {
          Value x = widen(b, loc, args[0]);
          if (isa<FloatType>(x.getType()))
            return arith::AddFOp::create(b, loc, acc, x);
          return arith::AddIOp::create(b, loc, acc, x);
        });
    return l.castTo(total, element);
  };
  SmallVector<Value> in = l.tensors(op->getOperands());
  Value current = in[0];
  Term currentTerm = terms[0];
  if (in.size() == 1) {
    l.set(out, reduceTo(result.labels, current, currentTerm));
    return success();
  }
  for (size_t i = 1; i < in.size(); ++i) {
    bool last = i + 1 == in.size();
    SmallVector<std::string> kept;
    if (last) {
      kept.assign(result.labels.begin(), result.labels.end());
    } else {
      auto neededLater = [&](const std::string &label) {
        if (llvm::is_contained(result.labels, label))
          return true;
        for (const Term &later : ArrayRef(terms).drop_front(i + 1))
          if (llvm::is_contained(later.labels, label))
            return true;
        return false;
      };
      for (const Term *term : {&currentTerm, &terms[i]})
        for (const std::string &label : term->labels)
          if (neededLater(label) && !llvm::is_contained(kept, label))
            kept.push_back(label);
    }
    current = reduceTo(kept, {current, in[i]}, {currentTerm, terms[i]});
    currentTerm.labels.assign(kept.begin(), kept.end());
  }
  l.set(out, current);
  return success();
}

void lower::registerContraction(LoweringTable &table) {
  table.add("onnx.Einsum", lowerEinsum);
  table.add("onnx.Gemm", lowerGemm);
  table.add("onnx.MatMul", lowerMatMul);
}
