//===- InitAllPasses.h - the passes that our tools know ---------*- C++ -*-===//
#ifndef MOE_INITALLPASSES_H
#define MOE_INITALLPASSES_H

#include "lib/ONNX/ImportPasses.h"
#include "mlir/InitAllPasses.h"
#include "moe/Pipelines.h"
#include "passes/Experts/Passes.h"
#include "passes/Infer/Passes.h"
#include "passes/Lower/Host/Passes.h"
#include "passes/Lower/ONNXToLinalg/Passes.h"
#include "passes/Raise/Passes.h"
#include "passes/Schedule/Passes.h"
#include "passes/Share/Passes.h"

namespace moe {

/// Registers our passes and pipelines, and those of MLIR.
inline void registerAllPasses() {
  mlir::registerAllPasses();
  registerImportPasses();
  registerExpertsPasses();
  registerInferPasses();
  registerHostPasses();
  registerONNXToLinalgPasses();
  registerRaisePasses();
  registerSchedulePasses();
  registerSharePasses();
  registerPipelines();
}

} // namespace moe

#endif // MOE_INITALLPASSES_H
