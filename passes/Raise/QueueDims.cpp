//===- QueueDims.cpp - what axes of tensors over slots run over -----------===//

#include "passes/Raise/QueueDims.h"
#include "lib/Analysis/Dims.h"
#include "passes/Raise/Match.h"
#include "llvm/ADT/DenseMap.h"

using namespace mlir;
using namespace moe;

//===----------------------------------------------------------------------===//
// Dims
//===----------------------------------------------------------------------===//

bool moe::operator==(const QueueDim &a, const QueueDim &b) {
  if (a.kind != b.kind || a.extent != b.extent)
    return false;
  return a.kind != QueueDim::Kind::Slot ||
         (a.axis == b.axis && a.stride == b.stride && a.sorted == b.sorted);
}

QueueDims moe::canonical(ArrayRef<QueueDim> dims) {
  QueueDims result;
  for (const QueueDim &dim : dims) {
    if (!result.empty()) {
      QueueDim &last = result.back();
      if (last.kind == QueueDim::Kind::Slot &&
          dim.kind == QueueDim::Kind::Slot && last.axis == dim.axis &&
          !last.sorted && !dim.sorted &&
          last.stride == dim.stride * dim.extent) {
        last.stride = dim.stride;
        last.extent = last.extent * dim.extent;
        continue;
      }
    }
    result.push_back(dim);
  }
  return result;
}

QueueDims moe::flatten(ArrayRef<QueueDims> axes) {
  QueueDims all;
  for (const QueueDims &axis : axes)
    all.append(axis);
  return canonical(all);
}

DimExpr moe::extentOf(ArrayRef<QueueDim> dims) {
  DimExpr product = DimExpr::constant(1);
  for (const QueueDim &dim : dims)
    product = product * dim.extent;
  return product;
}

bool moe::isRepeated(const QueueDims &axis) {
  return llvm::all_of(axis, [](const QueueDim &dim) {
    return dim.kind == QueueDim::Kind::Repeat;
  });
}

bool moe::isOnly(const QueueDims &axis, QueueDim::Kind kind) {
  return axis.size() == 1 && axis[0].kind == kind;
}

std::optional<QueueAxes> moe::align(ArrayRef<DimExpr> extents,
                                    ArrayRef<QueueDim> dims) {
  QueueAxes parts;
  SmallVector<QueueDim> rest(llvm::reverse(dims));
  for (const DimExpr &extent : extents) {
    DimExpr missing = extent;
    QueueDims &part = parts.emplace_back();
    while (!missing.isConstant(1)) {
      if (rest.empty() || !missing.isKnown() || !rest.back().extent.isKnown())
        return std::nullopt;
      QueueDim &dim = rest.back();
      DimExpr quotient = DimExpr::divideExactly(missing, dim.extent);
      if (quotient.isKnown()) {
        part.push_back(dim);
        rest.pop_back();
        missing = quotient;
        continue;
      }
      DimExpr inner = DimExpr::divideExactly(dim.extent, missing);
      if (!inner.isKnown() || dim.kind != QueueDim::Kind::Slot || dim.sorted)
        return std::nullopt;
      QueueDim outer = dim;
      outer.stride = dim.stride * inner;
      outer.extent = missing;
      dim.extent = inner;
      part.push_back(outer);
      missing = DimExpr::constant(1);
    }
  }
  if (!rest.empty())
    return std::nullopt;
  return parts;
}

static SmallVector<DimExpr> extentsOf(ArrayRef<Factor> factors) {
  return llvm::map_to_vector(factors, [](const Factor &f) { return f.extent; });
}

std::optional<QueueAxes> moe::dimsOfView(const View &view,
                                         ArrayRef<QueueDims> axes) {
  llvm::DenseMap<unsigned, QueueDims> ofFactor;
  for (unsigned i = 0; i < view.getBaseRank(); ++i) {
    const Factors &factors = view.getBaseAxis(i);
    std::optional<QueueAxes> parts = align(extentsOf(factors), axes[i]);
    if (!parts)
      return std::nullopt;
    for (auto [factor, part] : llvm::zip(factors, *parts))
      ofFactor[factor.id] = part;
  }
  QueueAxes result;
  for (unsigned i = 0; i < view.getRank(); ++i) {
    QueueDims &axis = result.emplace_back();
    for (const Factor &factor : view.getAxis(i))
      if (factor.isRepeat())
        axis.push_back({QueueDim::Kind::Repeat, 0, {}, factor.extent});
      else
        axis.append(ofFactor[factor.id]);
    axis = canonical(axis);
  }
  return result;
}

std::optional<QueueAxes> moe::dimsOfBase(const View &view,
                                         ArrayRef<QueueDims> axes) {
  llvm::DenseMap<unsigned, QueueDims> ofFactor;
  for (unsigned i = 0; i < view.getRank(); ++i) {
    const Factors &factors = view.getAxis(i);
    std::optional<QueueAxes> parts = align(extentsOf(factors), axes[i]);
    if (!parts)
      return std::nullopt;
    for (auto [factor, part] : llvm::zip(factors, *parts))
      ofFactor[factor.id] = part;
  }
  QueueAxes result;
  for (unsigned i = 0; i < view.getBaseRank(); ++i) {
    QueueDims &axis = result.emplace_back();
    for (const Factor &factor : view.getBaseAxis(i)) {
      auto it = ofFactor.find(factor.id);
      if (it == ofFactor.end())
        return std::nullopt;
      axis.append(it->second);
    }
    axis = canonical(axis);
  }
  return result;
}

std::optional<QueueDims> moe::takeSuffix(ArrayRef<QueueDim> dims,
                                         ArrayRef<QueueDim> back) {
  QueueDims front(dims);
  for (const QueueDim &wanted : llvm::reverse(back)) {
    if (front.empty())
      return std::nullopt;
    QueueDim &last = front.back();
    if (last == wanted) {
      front.pop_back();
      continue;
    }
    // The inner part of it.
    DimExpr outer = DimExpr::divideExactly(last.extent, wanted.extent);
    if (last.kind != QueueDim::Kind::Slot || last.kind != wanted.kind ||
        last.axis != wanted.axis || last.sorted || wanted.sorted ||
        last.stride != wanted.stride || !outer.isKnown())
      return std::nullopt;
    last.stride = last.stride * wanted.extent;
    last.extent = outer;
  }
  return front;
}

//===----------------------------------------------------------------------===//
// Contractions
//===----------------------------------------------------------------------===//

bool moe::isUnit(Value value, unsigned axis) {
  Extent extent = getDim(value, axis);
  return extent.isStatic() && extent.size == 1;
}

static std::optional<TermProduct> matchMatMul(Operation *op) {
  TermProduct result{
      op, {op->getOperand(0), op->getOperand(1)}, {{}, {}}, {}, {}};
  int64_t rank = std::max(match::getRank(op->getOperand(0)),
                          match::getRank(op->getOperand(1)));
  if (match::getRank(op->getOperand(0)) < 2 ||
      match::getRank(op->getOperand(1)) < 2)
    return std::nullopt;
  // Letters are numbers of axes of the result; `rank` is summed over.
  for (unsigned o = 0; o < 2; ++o) {
    Value operand = result.operands[o];
    int64_t own = match::getRank(operand);
    for (int64_t i = 0; i < own; ++i) {
      int64_t letter = i + rank - own;
      if (o == 0 && i == own - 1)
        letter = rank;
      if (o == 1 && i == own - 2)
        letter = rank;
      result.letters[o].push_back(isUnit(operand, i) ? -1 : letter);
    }
  }
  for (int64_t i = 0; i < rank; ++i)
    result.output.push_back(isUnit(op->getResult(0), i) ? -1 : i);
  return result;
}

static std::optional<TermProduct> matchGemm(Operation *op) {
  Value bias = match::getInput(op, 2);
  if (match::getFloat(op, "alpha", 1) != 1 ||
      (bias && match::getFloat(op, "beta", 1) != 1))
    return std::nullopt;
  TermProduct result{op,
                     {op->getOperand(0), op->getOperand(1)},
                     {{0, 2}, {2, 1}},
                     {0, 1},
                     bias};
  if (match::getInt(op, "transA", 0))
    std::swap(result.letters[0][0], result.letters[0][1]);
  if (match::getInt(op, "transB", 0))
    std::swap(result.letters[1][0], result.letters[1][1]);
  for (auto [operand, letters] : llvm::zip(result.operands, result.letters))
    for (unsigned i = 0; i < 2; ++i)
      if (isUnit(operand, i))
        letters[i] = -1;
  for (unsigned i = 0; i < 2; ++i)
    if (isUnit(op->getResult(0), i))
      result.output[i] = -1;
  return result;
}

static std::optional<TermProduct> matchEinsum(Operation *op) {
  std::string text;
  for (char c : match::getString(op, "equation", ""))
    if (c != ' ')
      text.push_back(c);
  auto [inputs, output] = StringRef(text).split("->");
  if (!StringRef(text).contains("->") || text.find('.') != std::string::npos)
    return std::nullopt;
  SmallVector<StringRef> terms;
  inputs.split(terms, ',');
  TermProduct result;
  result.op = op;
  result.operands.assign(op->operand_begin(), op->operand_end());
  if (terms.size() != result.operands.size() || terms.size() < 2)
    return std::nullopt;
  auto read = [](StringRef letters, Value value,
                 SmallVectorImpl<int> &into) -> bool {
    if (match::getRank(value) != static_cast<int64_t>(letters.size()))
      return false;
    for (auto [i, c] : llvm::enumerate(letters)) {
      if (letters.count(c) != 1)
        return false;
      into.push_back(isUnit(value, i) ? -1 : c);
    }
    return true;
  };
  for (auto [term, operand] : llvm::zip(terms, result.operands))
    if (!read(term, operand, result.letters.emplace_back()))
      return std::nullopt;
  if (!read(output, op->getResult(0), result.output))
    return std::nullopt;
  return result;
}

std::optional<TermProduct> moe::matchTermProduct(Operation *op) {
  StringRef name = op->getName().getStringRef();
  if (name == "onnx.Einsum")
    return matchEinsum(op);
  if (name == "onnx.MatMul")
    return matchMatMul(op);
  if (name == "onnx.Gemm")
    return matchGemm(op);
  return std::nullopt;
}
