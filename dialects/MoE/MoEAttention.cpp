//===- MoEAttention.cpp - rules of attention ------------------------------===//

#include "dialects/MoE/MoEDialect.h"
#include "dialects/MoE/MoEVerify.h"
#include "mlir/IR/TypeUtilities.h"
#include <cmath>

using namespace mlir;
using namespace moe::ir;

/// Known extents that are neither equal nor, of the first one, 1.
static bool doesNotBroadcast(int64_t own, int64_t wanted) {
  return own != 1 && differ(own, wanted);
}

LogicalResult AttentionOp::verify() {
  ExtentCheck check(*this);
  int64_t batch = known(getExtent(getQuery(), 0), getExtent(getKey(), 0));
  int64_t heads = getExtent(getQuery(), 1);
  int64_t rows = getExtent(getQuery(), 2);
  int64_t keyHeads = known(getExtent(getKey(), 1), getExtent(getValue(), 1));
  int64_t columns = known(getExtent(getKey(), 2), getExtent(getValue(), 2));
  int64_t width = getExtent(getQuery(), 3);
  if (failed(check("key", getKey(), 0, batch, "batch of 'query'")) ||
      failed(check("value", getValue(), 0, batch, "batch of 'query'")) ||
      failed(check("value", getValue(), 1, keyHeads, "heads of 'key'")) ||
      failed(check("value", getValue(), 2, columns, "rows of 'key'")) ||
      failed(check("key", getKey(), 3, width, "width of 'query'")) ||
      failed(check("out", getOut(), 0, batch, "batch of 'query'")) ||
      failed(check("out", getOut(), 1, heads, "heads of 'query'")) ||
      failed(check("out", getOut(), 2, rows, "rows of 'query'")) ||
      failed(check("out", getOut(), 3, getExtent(getValue(), 3),
                   "width of 'value'")))
    return failure();
  if (!ShapedType::isDynamic(keyHeads) && keyHeads < 1)
    return emitOpError("has keys without heads; 1 or more are accepted");
  if (!ShapedType::isDynamic(heads) && !ShapedType::isDynamic(keyHeads) &&
      heads % keyHeads)
    return emitOpError() << "has " << heads << " heads of queries for "
                         << keyHeads
                         << " of keys; a multiple of those is accepted";
  Type element = getElementTypeOrSelf(getQuery());
  for (Value other :
       {Value(getKey()), Value(getValue()), Value(getOut()), Value(getProbs())})
    if (other && getElementTypeOrSelf(other) != element)
      return emitOpError() << "has elements of type "
                           << getElementTypeOrSelf(other) << " beside queries "
                           << "of type " << element << "; " << element
                           << " is accepted";
  int64_t scores[] = {batch, heads, rows, columns};
  for (auto [name, value] : {std::pair<StringRef, Value>{"bias", getBias()},
                             std::pair<StringRef, Value>{"mask", getMask()}})
    for (int64_t i = 0; value && i < 4; ++i)
      if (doesNotBroadcast(getExtent(value, i), scores[i]))
        return emitOpError()
               << "'" << name << "' of type " << value.getType()
               << " has extent " << getExtent(value, i) << " in dimension " << i
               << "; 1 and " << scores[i] << " are accepted";
  double cap = getSoftcap().convertToDouble();
  if (!std::isfinite(getScale().convertToDouble()))
    return emitOpError() << "scale is " << getScaleAttr()
                         << "; finite numbers are accepted";
  if (!std::isfinite(cap) || cap < 0)
    return emitOpError() << "softcap is " << getSoftcapAttr()
                         << "; finite numbers from 0 are accepted";
  double masked = getMaskedScore().convertToDouble();
  if (!(masked < 0))
    return emitOpError() << "masked_score is " << getMaskedScoreAttr()
                         << "; numbers below 0 are accepted";
  if (static_cast<bool>(getProbs()) != getProbsCount().has_value())
    return emitOpError("has 'probs' without probs_count or the other way "
                       "round; both or none are accepted");
  if (!getProbs())
    return success();
  int64_t count = *getProbsCount(), first = getProbsFirst();
  if (failed(check("probs", getProbs(), 0, batch, "batch of 'query'")) ||
      failed(check("probs", getProbs(), 1, heads, "heads of 'query'")) ||
      failed(check("probs", getProbs(), 2, count, "probs_count")) ||
      failed(check("probs", getProbs(), 3, columns, "rows of 'key'")))
    return failure();
  if (!ShapedType::isDynamic(rows) &&
      (first < -rows || first >= rows || count > rows ||
       (first < 0 ? first + rows : first) > rows - count))
    return emitOpError() << "'probs' are " << count << " rows from " << first
                         << " on; there are " << rows;
  return success();
}

static LogicalResult checkOrder(AttendOp op, StringRef name,
                                ArrayRef<int64_t> order) {
  SmallVector<bool> seen(4, false);
  for (int64_t dim : order)
    if (dim >= 0 && dim < 4)
      seen[dim] = true;
  if (order.size() == 4 && llvm::all_of(seen, [](bool one) { return one; }))
    return success();
  return op.emitOpError() << name << " has other elements than 0 to 3";
}

LogicalResult AttendOp::verify() {
  if (failed(checkOrder(*this, "query_order", getQueryOrder())) ||
      failed(checkOrder(*this, "key_order", getKeyOrder())) ||
      failed(checkOrder(*this, "value_order", getValueOrder())) ||
      failed(checkOrder(*this, "out_order", getOutOrder())))
    return failure();
  if (static_cast<bool>(getProbs()) != static_cast<bool>(getProbsFirst()))
    return emitOpError("has 'probs' without a first row or the other way "
                       "round");
  for (Value buffer : getOperands())
    if (auto type = dyn_cast<MemRefType>(buffer.getType());
        type && !type.getLayout().isIdentity())
      return emitOpError() << "has a buffer of type " << type
                           << "; contiguous ones are accepted";
  return success();
}
