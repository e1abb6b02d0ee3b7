//===- MoEToLinalg.h - lowerings of the moe dialect -------------*- C++ -*-===//
//
// Families of ops of the dialect `moe`, translated by the same FunctionLowering
// as the operators of ONNX around them.
//
//===----------------------------------------------------------------------===//
#ifndef MOE_PASSES_LOWER_MOETOLINALG_MOETOLINALG_H
#define MOE_PASSES_LOWER_MOETOLINALG_MOETOLINALG_H

#include "passes/Lower/ONNXToLinalg/Lowering.h"

namespace moe::lower {

/// Ends the run with `message` unless all ids, a matrix of i32, are in
/// [-1, experts).
void checkExpertIds(FunctionLowering &l, Value onnxIds, OpFoldResult experts,
                    const llvm::Twine &message);

/// Softmax over the dims of a tensor that `reduced` marks, computed and
/// returned in `type`.
Value softmaxOver(FunctionLowering &l, Value tensor,
                  ArrayRef<OpFoldResult> shape, ArrayRef<bool> reduced,
                  Type type);

/// Attention.cpp
void registerMoEAttention(LoweringTable &table);
/// Experts.cpp
void registerExperts(LoweringTable &table);
/// Schedule.cpp
void registerSchedule(LoweringTable &table);
/// Route.cpp, and with it the files below.
void registerRouting(LoweringTable &table);
/// Capacity.cpp
void registerCapacity(LoweringTable &table);
/// RouteBalanced.cpp
void registerRouteBalanced(LoweringTable &table);
/// RouteStatistics.cpp
void registerRouteStatistics(LoweringTable &table);

} // namespace moe::lower

#endif // MOE_PASSES_LOWER_MOETOLINALG_MOETOLINALG_H
