//===- ProfileNodes.cpp - operators of nodes in their locations -----------===//
#include "passes/Lower/Host/Passes.h"

#include "mlir/IR/BuiltinOps.h"
#include "mlir/IR/Location.h"

namespace moe {
#define GEN_PASS_DEF_PROFILENODESPASS
#include "passes/Lower/Host/Passes.h.inc"
} // namespace moe

using namespace mlir;

namespace {

struct ProfileNodesPass : moe::impl::ProfileNodesPassBase<ProfileNodesPass> {
  using ProfileNodesPassBase::ProfileNodesPassBase;

  /// `place` with the operator's name; the place of a named one inside.
  static Location describe(Location place, StringAttr kind) {
    if (auto named = dyn_cast<NameLoc>(place))
      return NameLoc::get(named.getName(), describe(named.getChildLoc(), kind));
    auto fused = dyn_cast<FusedLoc>(place);
    if (fused && isa_and_present<StringAttr>(fused.getMetadata()))
      return place;
    return FusedLoc::get(kind.getContext(), place, kind);
  }

  void runOnOperation() override {
    getOperation().walk([](Operation *op) {
      StringRef name = op->getName().getStringRef();
      if (!name.starts_with("onnx.") && !name.starts_with("onnx_ms.") &&
          !name.starts_with("moe."))
        return;
      // "moe." stays: there is no such operator in ONNX.
      if (!name.starts_with("moe."))
        name = op->getName().stripDialect();
      op->setLoc(
          describe(op->getLoc(), StringAttr::get(op->getContext(), name)));
    });
  }
};

} // namespace
