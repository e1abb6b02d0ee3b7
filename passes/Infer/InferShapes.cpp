//===- InferShapes.cpp - infer types and name run-time extents ------------===//
//
// The pass around lib/Analysis/ShapeInference.h.
//
//===----------------------------------------------------------------------===//

#include "lib/Analysis/ShapeInference.h"
#include "passes/Infer/Passes.h"

using namespace mlir;

namespace moe {
#define GEN_PASS_DEF_INFERSHAPES
#include "passes/Infer/Passes.h.inc"
} // namespace moe

using namespace moe;

namespace {
struct InferShapes : public moe::impl::InferShapesBase<InferShapes> {
  using InferShapesBase::InferShapesBase;

  /// Reads `NAME=N`; names may contain '=' themselves.
  LogicalResult readBindings(llvm::StringMap<int64_t> &bindings) {
    for (const std::string &text : bind) {
      auto [name, number] = StringRef(text).rsplit('=');
      int64_t extent;
      if (name.empty() || number.getAsInteger(10, extent) || extent < 0)
        return emitError(getOperation().getLoc())
               << "cannot read 'bind=" << text
               << "'; NAME=N is accepted, where N is 0 or more";
      if (!bindings.try_emplace(name, extent).second)
        return emitError(getOperation().getLoc())
               << "'bind' has two numbers for '" << name << "'";
    }
    return success();
  }

  void runOnOperation() override {
    llvm::StringMap<int64_t> bindings;
    ShapeInferenceStatistics statistics;
    if (failed(readBindings(bindings)) ||
        failed(inferShapes(getOperation(), bindings, statistics)))
      return signalPassFailure();
    numRefined += statistics.refined;
    numSymbolic += statistics.symbolic;
    numFresh += statistics.fresh;
    numUnranked += statistics.unranked;
  }
};
} // namespace
