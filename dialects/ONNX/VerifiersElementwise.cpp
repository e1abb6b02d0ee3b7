//===- VerifiersElementwise.cpp - rules: elementwise, products, reductions ===//

#include "dialects/ONNX/Verifiers.h"
#include "llvm/ADT/StringExtras.h"

using namespace mlir;
using namespace moe::onnx;

static LogicalResult verifyBroadcast(const OpView &op) {
  SmallVector<unsigned> all;
  for (unsigned i = 0; i < op.size(); ++i)
    all.push_back(i);
  return op.checkBroadcast(all);
}

static SmallVector<int64_t> getShape(const OpView &op, unsigned place) {
  SmallVector<int64_t> shape;
  for (int64_t i = 0; i < op.rank(place); ++i)
    shape.push_back(op.dim(place, i));
  return shape;
}

static LogicalResult verifyPRelu(const OpView &op) {
  if (op.rank(0) < 0)
    return success();
  return op.checkBroadcastsTo(1, getShape(op, 0), op.name(0));
}

static LogicalResult verifyClip(const OpView &op) {
  return success(succeeded(op.checkSingle(1)) && succeeded(op.checkSingle(2)));
}

/// `to` is an attribute, the type of the result repeats it.
static LogicalResult verifyCast(const OpView &op) {
  auto type = dyn_cast<TensorType>(op.getOp()->getResult(0).getType());
  int64_t to = op.getInt("to", 0);
  Type wanted = getElementType(static_cast<int>(to), op.getOp()->getContext());
  if (!wanted)
    return op.error() << "to = " << to
                      << " is no element type; the numbers of "
                         "TensorProto.DataType are accepted";
  if (type && type.getElementType() != wanted)
    return op.error() << "to = " << to << " (" << getDataTypeName(wanted)
                      << "), but the result has element type "
                      << type.getElementType() << "; " << wanted
                      << " is accepted";
  return success();
}

//===----------------------------------------------------------------------===//
// Products
//===----------------------------------------------------------------------===//

/// Matrix products with numpy's rules: operands A and B at places a and b.
static LogicalResult verifyProduct(const OpView &op, unsigned a, unsigned b) {
  if (failed(op.checkMinRank(a, 1)) || failed(op.checkMinRank(b, 1)))
    return failure();
  int64_t x = op.rank(a), y = op.rank(b);
  if (x < 0 || y < 0)
    return success();
  int64_t row = y == 1 ? 0 : y - 2;
  if (failed(op.checkSameDim(a, x - 1, b, row)))
    return failure();
  for (int64_t back = 3; back <= std::min(x, y); ++back) {
    int64_t i = op.dim(a, x - back), j = op.dim(b, y - back);
    if (i != 1 && j != 1 && differ(i, j))
      return op.error() << op.name(a) << " has extent " << i << " in dimension "
                        << x - back << ", " << op.name(b) << " has " << j
                        << " in dimension " << y - back
                        << "; equal ones or 1 are accepted for a batch";
  }
  return success();
}

static LogicalResult verifyMatMul(const OpView &op) {
  return verifyProduct(op, 0, 1);
}

static LogicalResult verifyQLinearMatMul(const OpView &op) {
  return verifyProduct(op, 0, 3);
}

static LogicalResult verifyGemm(const OpView &op) {
  if (failed(op.checkRank(0, 2)) || failed(op.checkRank(1, 2)))
    return failure();
  bool transA = op.getInt("transA", 0) != 0, transB = op.getInt("transB", 0);
  if (failed(op.checkSameDim(0, transA ? 0 : 1, 1, transB ? 1 : 0)))
    return failure();
  if (!op.has(2))
    return success();
  int64_t shape[] = {op.dim(0, transA ? 1 : 0), op.dim(1, transB ? 0 : 1)};
  return op.checkBroadcastsTo(2, shape, "the product");
}

namespace {
/// One operand of an Einsum, or its result: labels, with "..." as '.'.
using Term = SmallVector<char>;
} // namespace

static FailureOr<Term> parseTerm(const OpView &op, StringRef text) {
  Term term;
  StringRef rest = text;
  while (!rest.empty()) {
    if (rest.consume_front("...")) {
      if (llvm::is_contained(term, '.'))
        return op.error() << "equation term '" << text
                          << "' has two ellipses, one is accepted";
      term.push_back('.');
      continue;
    }
    char label = rest.front();
    rest = rest.drop_front();
    if (label == ' ')
      continue;
    if (!llvm::isAlpha(label))
      return op.error() << "equation term '" << text << "' holds '"
                        << Twine(label)
                        << "'; letters and one ellipsis are accepted";
    term.push_back(label);
  }
  return term;
}

static LogicalResult verifyEinsum(const OpView &op) {
  StringRef equation = op.getString("equation", "");
  auto [left, right] = equation.split("->");
  SmallVector<StringRef> texts;
  left.split(texts, ',');
  if (texts.size() != op.size())
    return op.error() << "equation '" << equation << "' has " << texts.size()
                      << " terms, there are " << op.size() << " operands";
  llvm::DenseMap<char, std::pair<int64_t, unsigned>> extents;
  for (auto [i, text] : llvm::enumerate(texts)) {
    FailureOr<Term> term = parseTerm(op, text);
    if (failed(term))
      return failure();
    int64_t rank = op.rank(i);
    bool ellipsis = llvm::is_contained(*term, '.');
    int64_t labels = term->size() - ellipsis;
    if (rank >= 0 && (ellipsis ? rank < labels : rank != labels))
      return op.error() << op.name(i) << " has rank " << rank
                        << ", the equation term '" << text.trim()
                        << "' accepts " << labels
                        << (ellipsis ? " or more" : "");
    int64_t d = 0;
    for (char label : *term) {
      if (label == '.') {
        d += std::max<int64_t>(0, rank - labels);
        continue;
      }
      int64_t extent = op.dim(i, d++);
      auto [it, isNew] = extents.try_emplace(label, extent, i);
      auto &[size, owner] = it->second;
      if (!isNew && extent != 1 && size != 1 && differ(extent, size))
        return op.error() << "label '" << Twine(label) << "' has extent "
                          << size << " in " << op.name(owner) << " and "
                          << extent << " in " << op.name(i)
                          << "; they must be equal";
      if (isNew || ShapedType::isDynamic(size) || size == 1)
        it->second = {extent, static_cast<unsigned>(i)};
    }
  }
  if (!equation.contains("->"))
    return success();
  FailureOr<Term> result = parseTerm(op, right);
  if (failed(result))
    return failure();
  llvm::SmallDenseSet<char> seen;
  for (char label : *result) {
    if (label != '.' && !extents.contains(label))
      return op.error() << "label '" << Twine(label)
                        << "' of the result is in no operand of equation '"
                        << equation << "'";
    if (!seen.insert(label).second)
      return op.error() << "label '" << Twine(label)
                        << "' is twice in the result of equation '" << equation
                        << "', once is accepted";
  }
  return success();
}

//===----------------------------------------------------------------------===//
// Along axes
//===----------------------------------------------------------------------===//

static LogicalResult verifyReduce(const OpView &op) {
  if (failed(op.checkRank(1, 1)))
    return failure();
  if (std::optional<SmallVector<int64_t>> axes = op.getConstant(1))
    return op.checkAxes(*axes, op.rank(0));
  return success();
}

static LogicalResult verifyArg(const OpView &op) {
  return op.checkAxis(op.getInt("axis", 0), op.rank(0));
}

static LogicalResult verifySoftmax(const OpView &op) {
  return op.checkAxis(op.getInt("axis", -1), op.rank(0));
}

static LogicalResult verifyCumulative(const OpView &op) {
  if (failed(op.checkSingle(1)))
    return failure();
  std::optional<SmallVector<int64_t>> axis = op.getConstant(1);
  if (axis && axis->size() == 1)
    return op.checkAxis(axis->front(), op.rank(0));
  return success();
}

static LogicalResult verifyTopK(const OpView &op) {
  int64_t axis = op.getInt("axis", -1), rank = op.rank(0);
  if (failed(op.checkMinRank(0, 1)) || failed(op.checkAxis(axis, rank)) ||
      failed(op.checkSingle(1)))
    return failure();
  std::optional<SmallVector<int64_t>> k = op.getConstant(1);
  if (!k || k->size() != 1)
    return success();
  if (k->front() < 0)
    return op.error() << "k = " << k->front() << ", 0 or more is accepted";
  int64_t extent = rank < 0 ? ShapedType::kDynamic
                            : op.dim(0, axis < 0 ? axis + rank : axis);
  if (!ShapedType::isDynamic(extent) && k->front() > extent)
    return op.error() << "k = " << k->front() << " exceeds the extent "
                      << extent << " of axis " << axis << "; at most " << extent
                      << " is accepted";
  return success();
}

void moe::onnx::addElementwiseRules(OperatorRules &rules) {
  for (StringRef name :
       {"Add",        "And",         "BitShift", "BitwiseAnd", "BitwiseOr",
        "BitwiseXor", "Div",         "Equal",    "Greater",    "GreaterOrEqual",
        "Less",       "LessOrEqual", "Max",      "Mean",       "Min",
        "Mod",        "Mul",         "Or",       "Pow",        "Sub",
        "Sum",        "Where",       "Xor"})
    rules[("onnx." + name).str()] = verifyBroadcast;
  for (StringRef name : {"L1", "L2", "LogSum", "LogSumExp", "Max", "Mean",
                         "Min", "Prod", "Sum", "SumSquare"})
    rules[("onnx.Reduce" + name).str()] = verifyReduce;
  for (StringRef name : {"Softmax", "LogSoftmax", "Hardmax"})
    rules[("onnx." + name).str()] = verifySoftmax;
  rules["onnx.ArgMax"] = verifyArg;
  rules["onnx.ArgMin"] = verifyArg;
  rules["onnx.Cast"] = verifyCast;
  rules["onnx.Clip"] = verifyClip;
  rules["onnx.CumSum"] = verifyCumulative;
  rules["onnx.CumProd"] = verifyCumulative;
  rules["onnx.Einsum"] = verifyEinsum;
  rules["onnx.Gemm"] = verifyGemm;
  rules["onnx.MatMul"] = verifyMatMul;
  rules["onnx.MatMulInteger"] = verifyMatMul;
  rules["onnx.PRelu"] = verifyPRelu;
  rules["onnx.QLinearMatMul"] = verifyQLinearMatMul;
  rules["onnx.TopK"] = verifyTopK;
}
