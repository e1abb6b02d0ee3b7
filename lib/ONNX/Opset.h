//===- Opset.h - between a model's opset and the newest ---------*- C++ -*-===//
//
// The IR holds every operator in the form that it has in the newest opset. This
// is the one place that knows how the forms differ: attributes that became
// inputs, defaults that changed, values that were renamed. Both directions work
// on the protobuf message (without weights), right after reading and right
// before writing, so nothing else in the compiler sees an older form.
//
// An operator without a rule here has the same form in all accepted opsets, up
// to inputs, outputs and attributes that were added at the end or with a
// default that means what was meant before. test/Unit/Import/OpsetTest.cpp
// holds the schemas to that.
//
//===----------------------------------------------------------------------===//
#ifndef MOE_LIB_ONNX_OPSET_H
#define MOE_LIB_ONNX_OPSET_H

#include "llvm/ADT/STLFunctionalExtras.h"
#include "llvm/ADT/StringRef.h"
#include <cstdint>
#include <string>

namespace onnx {
class GraphProto;
class NodeProto;
} // namespace onnx

namespace moe {

/// Opsets of ai.onnx that are accepted; the newest is
/// moe::onnx::getNewestOpset().
constexpr int64_t kOldestOpset = 13;

/// Told of each node that is wrong or cannot be converted: the node, its index
/// in its graph, and why.
using ReportNode = llvm::function_ref<void(const ::onnx::NodeProto &node,
                                           int index, const std::string &why)>;

/// Checks each node of domain ai.onnx in `graph` and its subgraphs against the
/// schema at `opset` (operator, number of inputs and outputs, attributes and
/// their types) and brings it to its newest form. True if nothing was reported.
bool convertToNewest(::onnx::GraphProto &graph, int64_t opset,
                     ReportNode report);

/// The reverse, for a graph in the newest form. What was added only by
/// convertToNewest disappears.
bool convertFromNewest(::onnx::GraphProto &graph, int64_t opset,
                       ReportNode report);

/// Whether a rule converts forms of this operator of ai.onnx.
bool hasOpsetRule(llvm::StringRef opType);

} // namespace moe

#endif // MOE_LIB_ONNX_OPSET_H
