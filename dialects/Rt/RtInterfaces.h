//===- RtInterfaces.h - how the back end reads constants --------*- C++ -*-===//
#ifndef MOE_DIALECTS_RT_RTINTERFACES_H
#define MOE_DIALECTS_RT_RTINTERFACES_H

#include "mlir/IR/Attributes.h"
#include "mlir/IR/Diagnostics.h"

#include "dialects/Rt/RtInterfaces.h.inc"

#endif // MOE_DIALECTS_RT_RTINTERFACES_H
