//===- MoENorm.cpp - rules of normalisations ------------------------------===//

#include "dialects/MoE/MoEDialect.h"
#include "dialects/MoE/MoEVerify.h"
#include "mlir/IR/TypeUtilities.h"
#include <cmath>

using namespace mlir;
using namespace moe::ir;

LogicalResult NormOp::verify() {
  auto type = cast<RankedTensorType>(getX().getType());
  int64_t rank = type.getRank();
  if (cast<RankedTensorType>(getY().getType()).getRank() != rank)
    return emitOpError() << "gives " << getY().getType() << " of " << type
                         << "; the same shape is accepted";
  ExtentCheck check(*this);
  for (int64_t i = 0; i < rank; ++i)
    if (failed(check("y", getY(), i, getExtent(getX(), i), "extent of 'x'")))
      return failure();
  double epsilon = getEpsilon().convertToDouble();
  if (!std::isfinite(epsilon) || epsilon < 0)
    return emitOpError() << "epsilon is " << getEpsilonAttr()
                         << "; finite numbers from 0 are accepted";
  if ((getKind() == NormKind::Group) != getGroups().has_value())
    return emitOpError("has groups without kind = group or the other way "
                       "round; both or none are accepted");
  if (getKind() == NormKind::Group) {
    if (rank < 2)
      return emitOpError() << "normalises groups of the channels of " << type
                           << "; rank 2 or more is accepted";
    int64_t channels = type.getDimSize(1), groups = *getGroups();
    if (!ShapedType::isDynamic(channels) && channels % groups)
      return emitOpError() << "cannot divide " << channels << " channels into "
                           << groups << " groups";
    for (auto [name, value] :
         {std::pair<StringRef, Value>{"scale", getScale()},
          std::pair<StringRef, Value>{"bias", getBias()}}) {
      if (!value)
        continue;
      if (cast<RankedTensorType>(value.getType()).getRank() != 1)
        return emitOpError() << "'" << name << "' has type " << value.getType()
                             << "; a vector is accepted";
      if (failed(check(name, value, 0, channels, "channels of 'x'")))
        return failure();
    }
    return success();
  }
  int64_t axis = getAxis();
  if (axis < -rank || axis >= rank)
    return emitOpError() << "has axis " << axis << " on " << type
                         << "; accepted are " << -rank << " to " << rank - 1;
  for (auto [name, value] : {std::pair<StringRef, Value>{"scale", getScale()},
                             std::pair<StringRef, Value>{"bias", getBias()}}) {
    if (!value)
      continue;
    int64_t own = cast<RankedTensorType>(value.getType()).getRank();
    bool fits = own <= rank;
    for (int64_t i = 0; fits && i < own; ++i) {
      int64_t extent = getExtent(value, i);
      fits = extent == 1 || !differ(extent, type.getDimSize(rank - own + i));
    }
    if (!fits)
      return emitOpError() << "'" << name << "' of type " << value.getType()
                           << " does not broadcast to " << type;
  }
  return success();
}
