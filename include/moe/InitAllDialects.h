//===- InitAllDialects.h - the dialects that our tools know -----*- C++ -*-===//
#ifndef MOE_INITALLDIALECTS_H
#define MOE_INITALLDIALECTS_H

#include "dialects/MoE/MoEDialect.h"
#include "dialects/ONNX/ONNXDialect.h"
#include "dialects/Rt/RtDialect.h"
#include "mlir/InitAllDialects.h"
#include "mlir/InitAllExtensions.h"

namespace moe {

/// Adds our dialects, and those of MLIR with their extensions.
inline void registerAllDialects(mlir::DialectRegistry &registry) {
  mlir::registerAllDialects(registry);
  mlir::registerAllExtensions(registry);
  registry.insert<ir::MoEDialect, onnx::ONNXDialect, onnx_ms::ONNXMsDialect,
                  rt::RtDialect>();
}

} // namespace moe

#endif // MOE_INITALLDIALECTS_H
