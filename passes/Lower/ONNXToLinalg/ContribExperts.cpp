//===- ContribExperts.cpp - MoE and QMoE that were not raised -------------===//
//
// com.microsoft's MoE and QMoE run as `moe` ops, which moe-raise-contrib makes
// of them. One that is still there is told why.
//
//===----------------------------------------------------------------------===//

#include "lib/Analysis/ContribExperts.h"
#include "passes/Lower/ONNXToLinalg/Lowering.h"

using namespace mlir;
using namespace moe;
using namespace moe::lower;

static LogicalResult refuseContribExperts(FunctionLowering &, Operation *op) {
  std::string why;
  if (!ContribExperts::read(op, why))
    return unsupported(op, why);
  return op->emitOpError("is lowered as moe ops; run moe-raise-contrib before "
                         "onnx-to-linalg");
}

void lower::registerContribExperts(LoweringTable &table) {
  table.add("onnx_ms.MoE", refuseContribExperts);
  table.add("onnx_ms.QMoE", refuseContribExperts);
}
