//===- VerifiersIndexing.cpp - rules: gathers, scatters, selection --------===//

#include "dialects/ONNX/Verifiers.h"

using namespace mlir;
using namespace moe::onnx;

static LogicalResult verifyGather(const OpView &op) {
  return success(succeeded(op.checkMinRank(0, 1)) &&
                 succeeded(op.checkAxis(op.getInt("axis", 0), op.rank(0))));
}

static LogicalResult verifyGatherElements(const OpView &op) {
  int64_t axis = op.getInt("axis", 0), rank = op.rank(0);
  if (failed(op.checkMinRank(0, 1)) || failed(op.checkSameRank(0, 1)) ||
      failed(op.checkAxis(axis, rank)))
    return failure();
  if (axis < 0)
    axis += rank;
  for (int64_t d = 0; d < rank; ++d) {
    int64_t data = op.dim(0, d), indices = op.dim(1, d);
    if (d != axis && differ(data, indices) && indices > data)
      return op.error() << op.name(1) << " has extent " << indices
                        << " in dimension " << d << ", at most " << data
                        << " is accepted (the extent of " << op.name(0) << ")";
  }
  return success();
}

/// Rank of the slices that an index tuple of GatherND or ScatterND selects; -1
/// if unknown.
static FailureOr<int64_t> getSliceRank(const OpView &op, int64_t batch) {
  int64_t data = op.rank(0), indices = op.rank(1);
  if (failed(op.checkMinRank(0, 1)) || failed(op.checkMinRank(1, 1)))
    return failure();
  if (data < 0 || indices < 0)
    return -1;
  int64_t length = op.dim(1, indices - 1);
  if (ShapedType::isDynamic(length))
    return -1;
  if (length < 1 || length > data - batch)
    return op.error() << op.name(1) << " holds tuples of " << length
                      << " indices, 1 to " << data - batch
                      << " are accepted for " << op.name(0) << " of rank "
                      << data
                      << (batch ? " with " + std::to_string(batch) +
                                      " batch dimensions"
                                : std::string());
  return data - batch - length;
}

static LogicalResult verifyGatherND(const OpView &op) {
  int64_t batch = op.getInt("batch_dims", 0);
  int64_t least = std::min(op.rank(0), op.rank(1));
  if (least >= 0 && (batch < 0 || batch >= least))
    return op.error() << "batch_dims = " << batch << ", 0 to " << least - 1
                      << " is accepted for operands of rank " << op.rank(0)
                      << " and " << op.rank(1);
  for (int64_t d = 0; d < batch && least >= 0; ++d)
    if (failed(op.checkSameDim(0, d, 1, d)))
      return failure();
  return getSliceRank(op, std::max<int64_t>(0, batch));
}

static LogicalResult verifyScatterElements(const OpView &op) {
  int64_t axis = op.getInt("axis", 0), rank = op.rank(0);
  if (failed(op.checkMinRank(0, 1)) || failed(op.checkSameRank(0, 1)) ||
      failed(op.checkSameRank(1, 2)) || failed(op.checkAxis(axis, rank)) ||
      failed(op.checkOneOf("reduction", "none",
                           {"none", "add", "mul", "max", "min"})))
    return failure();
  if (axis < 0)
    axis += rank;
  for (int64_t d = 0; d < op.rank(1); ++d) {
    if (failed(op.checkSameDim(1, d, 2, d)))
      return failure();
    int64_t data = op.dim(0, d), indices = op.dim(1, d);
    if (rank >= 0 && d != axis && differ(data, indices) && indices > data)
      return op.error() << op.name(1) << " has extent " << indices
                        << " in dimension " << d << ", at most " << data
                        << " is accepted (the extent of " << op.name(0) << ")";
  }
  return success();
}

static LogicalResult verifyScatterND(const OpView &op) {
  if (failed(op.checkOneOf("reduction", "none",
                           {"none", "add", "mul", "max", "min"})))
    return failure();
  FailureOr<int64_t> slice = getSliceRank(op, 0);
  if (failed(slice))
    return failure();
  if (*slice < 0)
    return success();
  int64_t outer = op.rank(1) - 1;
  if (failed(op.checkRank(2, outer + *slice)))
    return failure();
  if (op.rank(2) < 0)
    return success();
  for (int64_t d = 0; d < outer; ++d)
    if (failed(op.checkSameDim(1, d, 2, d)))
      return failure();
  for (int64_t d = 0; d < *slice; ++d)
    if (failed(op.checkSameDim(0, op.rank(0) - *slice + d, 2, outer + d)))
      return failure();
  return success();
}

static LogicalResult verifyOneHot(const OpView &op) {
  if (failed(op.checkSingle(1)) || failed(op.checkRank(2, 1)) ||
      failed(op.checkDim(2, 0, 2, "the off value and the on value")))
    return failure();
  std::optional<SmallVector<int64_t>> depth = op.getConstant(1);
  if (depth && depth->size() == 1 && depth->front() < 0)
    return op.error() << "depth is " << depth->front()
                      << ", 0 or more is accepted";
  int64_t rank = op.rank(0), axis = op.getInt("axis", -1);
  if (rank < 0 || (axis >= -rank - 1 && axis <= rank))
    return success();
  return op.error() << "axis = " << axis << " is out of range, " << -rank - 1
                    << " to " << rank << " is accepted for rank " << rank;
}

static LogicalResult verifyCompress(const OpView &op) {
  if (failed(op.checkRank(1, 1)))
    return failure();
  if (op.has("axis"))
    return op.checkAxis(op.getInt("axis", 0), op.rank(0));
  return success();
}

static LogicalResult verifyNonZero(const OpView &op) {
  auto type = dyn_cast<RankedTensorType>(op.getOp()->getResult(0).getType());
  if (!type)
    return success();
  if (type.getRank() != 2)
    return op.error() << "result has rank " << type.getRank()
                      << ", rank 2 is accepted";
  // A scalar counts as one element.
  int64_t rank = op.rank(0);
  if (rank > 0 && differ(type.getDimSize(0), rank))
    return op.error() << "result has extent " << type.getDimSize(0)
                      << " in dimension 0, " << rank
                      << " is accepted (the rank of " << op.name(0) << ")";
  return success();
}

//===----------------------------------------------------------------------===//
// Regions
//===----------------------------------------------------------------------===//

/// The terminator of a region; null if there is none.
static Operation *getTerminator(Region &region) {
  if (region.empty() || region.front().empty())
    return nullptr;
  return &region.front().back();
}

static LogicalResult checkYield(const OpView &op, unsigned region,
                                int64_t expected, StringRef what) {
  Operation *yield = getTerminator(op.getOp()->getRegion(region));
  if (!yield || yield->getName().getStringRef() != "onnx.Yield")
    return op.error() << what << " has to end in onnx.Yield";
  if (yield->getNumOperands() != expected)
    return op.error() << what << " yields " << yield->getNumOperands()
                      << " values, " << expected << " are accepted";
  return success();
}

static LogicalResult verifyIf(const OpView &op) {
  if (failed(op.checkSingle(0)))
    return failure();
  // Regions stand in the order of their names.
  StringRef names[] = {"else_branch", "then_branch"};
  for (unsigned region = 0; region < op.getOp()->getNumRegions(); ++region) {
    if (op.getOp()->getRegion(region).getNumArguments() != 0)
      return op.error() << names[region] << " has arguments, none is accepted";
    if (failed(
            checkYield(op, region, op.getOp()->getNumResults(), names[region])))
      return failure();
  }
  return success();
}

static LogicalResult verifyLoop(const OpView &op) {
  // Trip count, condition and carried values are operands.
  int64_t carried = std::max<int64_t>(0, op.size() - 2);
  Region &body = op.getOp()->getRegion(0);
  if (failed(op.checkSingle(0)) || failed(op.checkSingle(1)))
    return failure();
  if (static_cast<int64_t>(body.getNumArguments()) != carried + 2)
    return op.error() << "body has " << body.getNumArguments() << " arguments, "
                      << carried + 2 << " are accepted (iteration, condition, "
                      << carried << " carried values)";
  int64_t results = op.getOp()->getNumResults();
  if (results < carried)
    return op.error() << "has " << results << " results for " << carried
                      << " carried values";
  return checkYield(op, 0, results + 1, "body");
}

static LogicalResult verifyScan(const OpView &op) {
  int64_t inputs = op.size(), scanned = op.getInt("num_scan_inputs", 0);
  if (scanned < 1 || scanned > inputs)
    return op.error() << "num_scan_inputs = " << scanned << ", 1 to " << inputs
                      << " is accepted";
  Region &body = op.getOp()->getRegion(0);
  if (body.getNumArguments() != inputs)
    return op.error() << "body has " << body.getNumArguments() << " arguments, "
                      << inputs << " are accepted";
  int64_t results = op.getOp()->getNumResults(), states = inputs - scanned;
  if (results < states)
    return op.error() << "has " << results << " results for " << states
                      << " state values";
  if (failed(op.checkList("scan_input_axes", scanned, INT64_MIN)) ||
      failed(op.checkList("scan_input_directions", scanned, 0)) ||
      failed(op.checkList("scan_output_axes", results - states, INT64_MIN)) ||
      failed(op.checkList("scan_output_directions", results - states, 0)))
    return failure();
  for (int64_t i = 0; i < scanned; ++i) {
    unsigned place = states + i;
    std::optional<ArrayRef<int64_t>> axes = op.getInts("scan_input_axes");
    if (failed(op.checkMinRank(place, 1)) ||
        failed(op.checkAxis(axes ? (*axes)[i] : 0, op.rank(place),
                            "scan_input_axes")))
      return failure();
  }
  return checkYield(op, 0, results, "body");
}

void moe::onnx::addIndexingRules(OperatorRules &rules) {
  rules["onnx.Compress"] = verifyCompress;
  rules["onnx.Gather"] = verifyGather;
  rules["onnx.GatherElements"] = verifyGatherElements;
  rules["onnx.GatherND"] = verifyGatherND;
  rules["onnx.If"] = verifyIf;
  rules["onnx.Loop"] = verifyLoop;
  rules["onnx.NonZero"] = verifyNonZero;
  rules["onnx.OneHot"] = verifyOneHot;
  rules["onnx.Scan"] = verifyScan;
  rules["onnx.ScatterElements"] = verifyScatterElements;
  rules["onnx.ScatterND"] = verifyScatterND;
}
