//===- Windows.h - windows of convolutions and pools ------------*- C++ -*-===//
//
// Convolutions and pools look at windows of their input, whose first two dims
// are batch and channels. This is what ONNX's attributes say about them.
//
//===----------------------------------------------------------------------===//
#ifndef MOE_PASSES_LOWER_ONNXTOLINALG_WINDOWS_H
#define MOE_PASSES_LOWER_ONNXTOLINALG_WINDOWS_H

#include "passes/Lower/ONNXToLinalg/Lowering.h"

namespace moe::lower {

/// Attributes that all windowed operators share, one entry per spatial dim.
struct WindowAttrs {
  SmallVector<int64_t> strides, dilations;
  /// Elements before and after the input; not used with SAME_UPPER, SAME_LOWER.
  SmallVector<int64_t> padBegin, padEnd;
  enum AutoPad { NotSet, SameUpper, SameLower, Valid } autoPad = NotSet;
  unsigned rank() const { return strides.size(); }
};

/// Reads and checks `strides`, `dilations`, `pads` and `auto_pad`.
FailureOr<WindowAttrs> getWindowAttrs(Operation *op, unsigned spatialRank);

/// Windows on an input of known extents.
class Windows : public WindowAttrs {
public:
  /// Windows with `kernel` elements per dim on the spatial dims of `onnxInput`.
  /// Checks that a window fits into the padded input. `ceil` adds a last window
  /// that reaches over its end.
  Windows(FunctionLowering &lowering, const WindowAttrs &attrs, Value onnxInput,
          ArrayRef<OpFoldResult> kernel, bool ceil = false);

  Extents in, kernel, out;
  /// Elements in front of the input, and behind it as far as windows reach.
  Extents before, after;
  /// Elements behind the input that count as padding (those further out belong
  /// to windows that reach over the end).
  Extents padAfter;

  /// Takes the extents that result `onnxResult` is known to have instead of
  /// those computed here, checking that they agree.
  void bind(Value onnxResult);

  /// Whether some window reaches beyond the input.
  bool needsPadding() const;
  /// The input with `fill` around it; the input itself if no window reaches
  /// beyond it. `shape` are its extents, updated.
  Value pad(Value tensor, Extents &shape, Value fill) const;
  /// Index along spatial dim `i` of the padded input: output * stride +
  /// element of the window * dilation.
  mlir::AffineExpr position(unsigned i, unsigned outputDim,
                            unsigned windowDim) const;
  /// Whether out == in for dim i because each window is one element.
  bool isPointwise() const;

private:
  FunctionLowering &l;
};

} // namespace moe::lower

#endif // MOE_PASSES_LOWER_ONNXTOLINALG_WINDOWS_H
