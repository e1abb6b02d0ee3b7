//===- ONNXOps.h - op classes of `onnx` and `onnx_ms` -----------*- C++ -*-===//
#ifndef MOE_DIALECTS_ONNX_ONNXOPS_H
#define MOE_DIALECTS_ONNX_ONNXOPS_H

#include "dialects/ONNX/ONNXDialect.h"
#include "mlir/Bytecode/BytecodeOpInterface.h"
#include "mlir/IR/Builders.h"
#include "mlir/IR/OpImplementation.h"
#include "mlir/Interfaces/SideEffectInterfaces.h"

#define GET_OP_CLASSES
#include "dialects/ONNX/ONNXOps.h.inc"

#define GET_OP_CLASSES
#include "dialects/ONNX/ONNXExtraOps.h.inc"

#define GET_OP_CLASSES
#include "dialects/ONNX/ONNXMsOps.h.inc"

#endif // MOE_DIALECTS_ONNX_ONNXOPS_H
