//===- Verifiers.cpp - rules of single operators: the machinery -----------===//
//
// The view of an op, the checks that rules share, and the table of rules.
//
//===----------------------------------------------------------------------===//

#include "dialects/ONNX/Verifiers.h"
#include "mlir/IR/BuiltinAttributes.h"

using namespace mlir;
using namespace moe::onnx;

//===----------------------------------------------------------------------===//
// OpView
//===----------------------------------------------------------------------===//

OpView::OpView(Operation *op)
    : op(op), signature(lookupSignature(op->getName().getStringRef())) {
  ArrayRef<Formal> formals = signature->operands;
  ArrayRef<int32_t> segments;
  if (signature->hasOperandSegments())
    if (auto sizes = dyn_cast_or_null<DenseI32ArrayAttr>(
            op->getInherentAttr("operandSegmentSizes").value_or(Attribute())))
      segments = sizes.asArrayRef();
  int64_t total = op->getNumOperands();
  int64_t singles = llvm::count_if(formals, [](const Formal &formal) {
    return formal.kind == FormalKind::Single;
  });
  int64_t next = 0;
  for (auto [i, formal] : llvm::enumerate(formals)) {
    int64_t count = 1;
    if (formal.kind != FormalKind::Single)
      count = i < segments.size() ? segments[i] : total - singles;
    if (count <= 0 && formal.kind == FormalKind::Optional)
      places.push_back({});
    for (; count > 0 && next < total; --count)
      places.push_back(op->getOperand(next++));
  }
}

int64_t OpView::rank(unsigned place) const {
  if (!has(place))
    return -1;
  auto type = dyn_cast<RankedTensorType>(places[place].getType());
  return type ? type.getRank() : -1;
}

int64_t OpView::dim(unsigned place, int64_t d) const {
  if (!has(place))
    return ShapedType::kDynamic;
  auto type = dyn_cast<RankedTensorType>(places[place].getType());
  if (!type || d < 0 || d >= type.getRank())
    return ShapedType::kDynamic;
  return type.getDimSize(d);
}

std::string OpView::name(unsigned place) const {
  ArrayRef<Formal> formals = signature->operands;
  if (formals.empty())
    return "operand #" + std::to_string(place);
  const Formal &formal = formals[std::min<size_t>(place, formals.size() - 1)];
  std::string text = ("operand '" + formal.name + "'").str();
  if (formal.kind == FormalKind::Variadic)
    text += " #" + std::to_string(place - (formals.size() - 1));
  return text;
}

int64_t OpView::getInt(StringRef attr, int64_t otherwise) const {
  auto number = op->getAttrOfType<IntegerAttr>(attr);
  return number ? number.getValue().getSExtValue() : otherwise;
}

StringRef OpView::getString(StringRef attr, StringRef otherwise) const {
  auto text = op->getAttrOfType<StringAttr>(attr);
  return text ? text.getValue() : otherwise;
}

std::optional<ArrayRef<int64_t>> OpView::getInts(StringRef attr) const {
  if (auto list = op->getAttrOfType<DenseI64ArrayAttr>(attr))
    return list.asArrayRef();
  return std::nullopt;
}

std::optional<SmallVector<int64_t>> OpView::getConstant(unsigned place) const {
  Operation *def = has(place) ? places[place].getDefiningOp() : nullptr;
  if (!def)
    return std::nullopt;
  auto dense = dyn_cast_or_null<DenseIntElementsAttr>(getConstantElements(def));
  constexpr int64_t kMostElements = 64;
  if (!dense || dense.getNumElements() > kMostElements)
    return std::nullopt;
  SmallVector<int64_t> elements;
  for (const APInt &element : dense.getValues<APInt>())
    elements.push_back(element.getSExtValue());
  return elements;
}

//===----------------------------------------------------------------------===//
// Checks
//===----------------------------------------------------------------------===//

LogicalResult OpView::checkRank(unsigned place, int64_t expected) const {
  int64_t got = rank(place);
  if (got < 0 || got == expected)
    return success();
  return error() << name(place) << " has rank " << got << ", rank " << expected
                 << " is accepted";
}

LogicalResult OpView::checkMinRank(unsigned place, int64_t least) const {
  int64_t got = rank(place);
  if (got < 0 || got >= least)
    return success();
  return error() << name(place) << " has rank " << got << ", rank " << least
                 << " or more is accepted";
}

LogicalResult OpView::checkSameRank(unsigned a, unsigned b) const {
  int64_t x = rank(a), y = rank(b);
  if (x < 0 || y < 0 || x == y)
    return success();
  return error() << name(a) << " has rank " << x << ", " << name(b)
                 << " has rank " << y << "; they must be equal";
}

LogicalResult OpView::checkSingle(unsigned place) const {
  int64_t got = rank(place);
  if (got <= 0 || (got == 1 && !differ(dim(place, 0), 1)))
    return success();
  return error() << name(place) << " has type " << places[place].getType()
                 << ", a tensor of one element is accepted";
}

LogicalResult OpView::checkDim(unsigned place, int64_t d, int64_t expected,
                               const Twine &why) const {
  if (!differ(dim(place, d), expected))
    return success();
  return error() << name(place) << " has extent " << dim(place, d)
                 << " in dimension " << d << ", " << expected
                 << " is accepted (" << why << ")";
}

LogicalResult OpView::checkSameDim(unsigned a, int64_t i, unsigned b,
                                   int64_t j) const {
  if (!differ(dim(a, i), dim(b, j)))
    return success();
  return error() << name(a) << " has extent " << dim(a, i) << " in dimension "
                 << i << ", " << name(b) << " has " << dim(b, j)
                 << " in dimension " << j << "; they must be equal";
}

LogicalResult OpView::checkAxis(int64_t axis, int64_t rank, StringRef what,
                                int64_t extra) const {
  if (rank < 0 || (axis >= -rank - extra && axis < rank + extra))
    return success();
  return error() << what << " = " << axis << " is out of range, "
                 << -rank - extra << " to " << rank + extra - 1
                 << " is accepted for rank " << rank;
}

LogicalResult OpView::checkAxes(ArrayRef<int64_t> axes, int64_t rank,
                                StringRef what) const {
  if (rank < 0)
    return success();
  SmallVector<bool> seen(rank, false);
  for (int64_t axis : axes) {
    if (failed(checkAxis(axis, rank, what)))
      return failure();
    bool &mark = seen[axis < 0 ? axis + rank : axis];
    if (mark)
      return error() << what << " name axis " << axis
                     << " twice; each axis is accepted once";
    mark = true;
  }
  return success();
}

LogicalResult OpView::checkOneOf(StringRef attr, StringRef otherwise,
                                 ArrayRef<StringRef> accepted) const {
  StringRef text = getString(attr, otherwise);
  if (llvm::is_contained(accepted, text))
    return success();
  InFlightDiagnostic diagnostic = error() << attr << " = '" << text
                                          << "' is not known; accepted: ";
  llvm::interleaveComma(accepted, diagnostic);
  return diagnostic;
}

LogicalResult OpView::checkList(StringRef attr, int64_t count,
                                int64_t least) const {
  std::optional<ArrayRef<int64_t>> list = getInts(attr);
  if (!list)
    return success();
  if (static_cast<int64_t>(list->size()) != count)
    return error() << attr << " has " << list->size() << " entries, " << count
                   << " are accepted";
  for (int64_t entry : *list)
    if (entry < least)
      return error() << attr << " holds " << entry << ", " << least
                     << " or more is accepted";
  return success();
}

LogicalResult OpView::checkBroadcast(ArrayRef<unsigned> operands) const {
  /// Extent and operand that decides each dimension, counted from the last.
  SmallVector<std::pair<int64_t, unsigned>> decided;
  for (unsigned place : operands) {
    int64_t r = rank(place);
    if (r < 0)
      continue;
    for (int64_t back = 0; back < r; ++back) {
      int64_t extent = dim(place, r - 1 - back);
      if (back >= static_cast<int64_t>(decided.size()))
        decided.push_back({1, place});
      auto &[size, owner] = decided[back];
      if (ShapedType::isDynamic(extent) || extent == 1)
        continue;
      if (size != 1 && size != extent)
        return error() << name(owner) << " of type " << places[owner].getType()
                       << " and " << name(place) << " of type "
                       << places[place].getType()
                       << " do not broadcast: extents " << size << " and "
                       << extent << " meet; equal ones or 1 are accepted";
      size = extent;
      owner = place;
    }
  }
  return success();
}

LogicalResult OpView::checkBroadcastsTo(unsigned place, ArrayRef<int64_t> shape,
                                        const Twine &target) const {
  int64_t r = rank(place);
  if (r < 0)
    return success();
  if (r > static_cast<int64_t>(shape.size()))
    return error() << name(place) << " has rank " << r << ", at most "
                   << shape.size() << " is accepted to broadcast to " << target;
  for (int64_t back = 1; back <= r; ++back) {
    int64_t extent = dim(place, r - back);
    int64_t to = shape[shape.size() - back];
    if (extent != 1 && differ(extent, to))
      return error() << name(place) << " has extent " << extent
                     << " in dimension " << r - back << ", 1 or " << to
                     << " is accepted to broadcast to " << target;
  }
  return success();
}

//===----------------------------------------------------------------------===//
// Table
//===----------------------------------------------------------------------===//

LogicalResult moe::onnx::verifyOperatorRules(Operation *op) {
  static const OperatorRules *rules = [] {
    auto *table = new OperatorRules;
    addElementwiseRules(*table);
    addShapeRules(*table);
    addIndexingRules(*table);
    addWindowRules(*table);
    addNetworkRules(*table);
    return table;
  }();
  OperatorRule rule = rules->lookup(op->getName().getStringRef());
  return rule ? rule(OpView(op)) : success();
}
