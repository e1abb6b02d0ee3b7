//===- ExpertBuffers.h - experts that read a buffer of places ---*- C++ -*-===//
//
// Layers with a capacity copy rows into a buffer [.., E, .., H] with some
// places for each expert; the experts run on all places, empty ones included.
//
//===----------------------------------------------------------------------===//
#ifndef MOE_PASSES_RAISE_EXPERTBUFFERS_H
#define MOE_PASSES_RAISE_EXPERTBUFFERS_H

#include "lib/Analysis/DimExpr.h"
#include "passes/Raise/FeedForward.h"

namespace moe {

struct BufferExperts {
  /// Rows in and results: the same extents but for the last, the features.
  mlir::Value in, out;
  /// The axis of both that says whose row it is.
  unsigned expertAxis = 0;
  int64_t numExperts = 0;
  /// As ExpertLayer has them: all, or one whose weights are banks.
  llvm::SmallVector<FeedForward, 1> experts;
};

/// The experts that give `out`: products with banks [E, ., .] of constants, or
/// a Concat of what single experts make of their parts of a buffer. Without a
/// refusal if there is nothing of the kind.
std::optional<BufferExperts>
matchBufferExperts(mlir::Value out, DimContext &dims, Refusal &refusal);

} // namespace moe

#endif // MOE_PASSES_RAISE_EXPERTBUFFERS_H
