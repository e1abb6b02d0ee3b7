//===- Windows.cpp - windows of convolutions and pools --------------------===//
//
// Padding is explicit: the input is copied into a larger tensor unless no
// window reaches beyond it. So the loops over windows need no conditions.
//
//===----------------------------------------------------------------------===//

#include "passes/Lower/ONNXToLinalg/Windows.h"

using namespace mlir;
using namespace moe;
using namespace moe::lower;

/// An attribute with one entry of at least `least` per spatial dim (or `count`
/// entries), 'otherwise' where the op has none.
static FailureOr<SmallVector<int64_t>> getInts(Operation *op, StringRef name,
                                               unsigned count, int64_t least,
                                               int64_t otherwise) {
  std::optional<SmallVector<int64_t>> given = intsAttr(op, name);
  if (!given || given->empty())
    return SmallVector<int64_t>(count, otherwise);
  if (given->size() != count)
    return op->emitOpError() << "has " << given->size() << " " << name << "; "
                             << count << " are accepted here";
  // Far beyond what tensors hold, but safe to add up.
  constexpr int64_t kMost = int64_t(1) << 31;
  for (int64_t v : *given)
    if (v < least || v > kMost)
      return op->emitOpError() << "has " << v << " among its " << name << "; "
                               << least << " to " << kMost << " are accepted";
  return *given;
}

FailureOr<WindowAttrs> lower::getWindowAttrs(Operation *op,
                                             unsigned spatialRank) {
  WindowAttrs attrs;
  auto strides = getInts(op, "strides", spatialRank, 1, 1);
  auto dilations = getInts(op, "dilations", spatialRank, 1, 1);
  auto pads = getInts(op, "pads", 2 * spatialRank, 0, 0);
  if (failed(strides) || failed(dilations) || failed(pads))
    return failure();
  attrs.strides = *strides;
  attrs.dilations = *dilations;
  attrs.padBegin.assign(pads->begin(), pads->begin() + spatialRank);
  attrs.padEnd.assign(pads->begin() + spatialRank, pads->end());
  StringRef autoPad = stringAttr(op, "auto_pad", "NOTSET");
  if (autoPad == "SAME_UPPER")
    attrs.autoPad = WindowAttrs::SameUpper;
  else if (autoPad == "SAME_LOWER")
    attrs.autoPad = WindowAttrs::SameLower;
  else if (autoPad == "VALID")
    attrs.autoPad = WindowAttrs::Valid;
  else if (autoPad != "NOTSET")
    return op->emitOpError()
           << "has auto_pad = '" << autoPad
           << "'; NOTSET, SAME_UPPER, SAME_LOWER and VALID are accepted";
  if (attrs.autoPad != WindowAttrs::NotSet) {
    attrs.padBegin.assign(spatialRank, 0);
    attrs.padEnd.assign(spatialRank, 0);
  }
  return attrs;
}

Windows::Windows(FunctionLowering &lowering, const WindowAttrs &attrs,
                 Value onnxInput, ArrayRef<OpFoldResult> kernel, bool ceil)
    : WindowAttrs(attrs), kernel(kernel), l(lowering) {
  OpFoldResult zero = l.index(0), one = l.index(1);
  for (unsigned i = 0; i < rank(); ++i) {
    OpFoldResult extent = l.dim(onnxInput, 2 + i);
    OpFoldResult stride = l.index(strides[i]);
    // Extent of a window from its first to its last element.
    OpFoldResult reach =
        l.add(l.mul(l.sub(kernel[i], one), l.index(dilations[i])), one);
    OpFoldResult first, last, count;
    if (autoPad == SameUpper || autoPad == SameLower) {
      count = l.ceilDiv(extent, stride);
      OpFoldResult needed = l.add(l.mul(l.sub(count, one), stride), reach);
      OpFoldResult total = l.max(l.sub(needed, extent), zero);
      OpFoldResult less = l.div(total, l.index(2));
      OpFoldResult more = l.sub(total, less);
      first = autoPad == SameUpper ? less : more;
      last = autoPad == SameUpper ? more : less;
    } else {
      first = l.index(padBegin[i]);
      last = l.index(padEnd[i]);
      OpFoldResult padded = l.add(extent, l.add(first, last));
      // One window short of fitting is none at all; more is an error.
      OpFoldResult room = l.add(l.sub(padded, reach), stride);
      l.check(l.compare(arith::CmpIPredicate::sge, room, zero),
              "the window is larger than the padded input in spatial "
              "dimension " +
                  Twine(i),
              /*code=*/3);
      count = l.div(room, stride);
      if (ceil) {
        count = l.div(l.add(room, l.index(strides[i] - 1)), stride);
        // No window begins behind the input.
        OpFoldResult begin = l.mul(l.sub(count, one), stride);
        Value outside =
            l.compare(arith::CmpIPredicate::sge, begin, l.add(extent, first));
        count = l.select(outside, l.sub(count, one), count);
      }
    }
    in.push_back(extent);
    before.push_back(first);
    padAfter.push_back(last);
    after.push_back(last);
    out.push_back(count);
    if (ceil) {
      OpFoldResult needed = l.add(l.mul(l.sub(count, one), stride), reach);
      after.back() = l.max(last, l.sub(needed, l.add(extent, first)));
    }
  }
}

void Windows::bind(Value onnxResult) {
  for (unsigned i = 0; i < rank(); ++i) {
    OpFoldResult known = l.resultDim(onnxResult, 2 + i, [&] { return out[i]; });
    l.checkEqual(known, out[i],
                 "the result's spatial dimension " + Twine(i) +
                     " does not have the extent that the model declares");
    out[i] = known;
  }
}

bool Windows::needsPadding() const {
  return !llvm::all_of(before, isZeroInteger) ||
         !llvm::all_of(after, isZeroInteger);
}

Value Windows::pad(Value tensor, Extents &shape, Value fill) const {
  if (!needsPadding())
    return tensor;
  Extents offsets(shape.size(), l.index(0));
  for (unsigned i = 0; i < rank(); ++i) {
    offsets[2 + i] = before[i];
    shape[2 + i] = l.add(l.add(shape[2 + i], before[i]), after[i]);
  }
  return l.insertSlice(l.filled(shape, fill), tensor, offsets);
}

AffineExpr Windows::position(unsigned i, unsigned outputDim,
                             unsigned windowDim) const {
  return l.b.getAffineDimExpr(outputDim) * strides[i] +
         l.b.getAffineDimExpr(windowDim) * dilations[i];
}

bool Windows::isPointwise() const {
  return !needsPadding() &&
         llvm::all_of(strides, [](int64_t s) { return s == 1; }) &&
         llvm::all_of(kernel,
                      [](OpFoldResult k) { return isConstantIntValue(k, 1); });
}
