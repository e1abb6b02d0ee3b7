//===- VerifiersNetwork.cpp - rules: norms, recurrences, attention --------===//

#include "dialects/ONNX/Verifiers.h"

using namespace mlir;
using namespace moe::onnx;

//===----------------------------------------------------------------------===//
// Norms
//===----------------------------------------------------------------------===//

/// Normalises the axes from `axis` on; scale and bias broadcast to them.
static LogicalResult verifyNormOverLast(const OpView &op, unsigned bias) {
  int64_t rank = op.rank(0), axis = op.getInt("axis", -1);
  if (failed(op.checkMinRank(0, 1)) || failed(op.checkAxis(axis, rank)))
    return failure();
  if (rank < 0)
    return success();
  SmallVector<int64_t> shape;
  for (int64_t d = 0; d < rank; ++d)
    shape.push_back(op.dim(0, d));
  for (unsigned place : {1u, bias})
    if (place != 0 && failed(op.checkBroadcastsTo(place, shape, op.name(0))))
      return failure();
  return success();
}

static LogicalResult verifyLayerNorm(const OpView &op) {
  return verifyNormOverLast(op, 2);
}
static LogicalResult verifyRMSNorm(const OpView &op) {
  return verifyNormOverLast(op, 0);
}

/// Operands from `first` on are lists of one entry per channel.
static LogicalResult checkPerChannel(const OpView &op, unsigned first,
                                     unsigned last) {
  for (unsigned place = first; place <= last; ++place)
    if (failed(op.checkRank(place, 1)) ||
        failed(op.checkDim(place, 0, op.dim(0, 1),
                           "the number of channels of " + op.name(0))))
      return failure();
  return success();
}

static LogicalResult verifyBatchNorm(const OpView &op) {
  return success(succeeded(op.checkMinRank(0, 2)) &&
                 succeeded(checkPerChannel(op, 1, 4)));
}

static LogicalResult verifyInstanceNorm(const OpView &op) {
  return success(succeeded(op.checkMinRank(0, 3)) &&
                 succeeded(checkPerChannel(op, 1, 2)));
}

static LogicalResult verifyGroupNorm(const OpView &op) {
  int64_t groups = op.getInt("num_groups", 0), channels = op.dim(0, 1);
  if (failed(op.checkMinRank(0, 2)))
    return failure();
  if (groups < 1)
    return op.error() << "num_groups = " << groups << ", 1 or more is accepted";
  if (!ShapedType::isDynamic(channels) && channels % groups != 0)
    return op.error() << op.name(0) << " has " << channels
                      << " channels, a multiple of num_groups = " << groups
                      << " is accepted";
  return checkPerChannel(op, 1, 2);
}

static LogicalResult verifyLpNorm(const OpView &op) {
  int64_t p = op.getInt("p", 2);
  if (p != 1 && p != 2)
    return op.error() << "p = " << p << ", 1 or 2 is accepted";
  return op.checkAxis(op.getInt("axis", -1), op.rank(0));
}

static LogicalResult verifyLRN(const OpView &op) {
  int64_t size = op.getInt("size", 1);
  if (size < 1)
    return op.error() << "size = " << size << ", 1 or more is accepted";
  return op.checkMinRank(0, 3);
}

//===----------------------------------------------------------------------===//
// Recurrences
//===----------------------------------------------------------------------===//

/// X: [time, batch, I] (batch first with layout = 1), W: [D, G*H, I],
/// R: [D, G*H, H], B: [D, 2*G*H], lengths: [batch], states: [D, batch, H].
static LogicalResult verifyRecurrence(const OpView &op, int64_t gates,
                                      ArrayRef<unsigned> states) {
  if (failed(op.checkOneOf("direction", "forward",
                           {"forward", "reverse", "bidirectional"})))
    return failure();
  int64_t layout = op.getInt("layout", 0);
  if (layout != 0 && layout != 1)
    return op.error() << "layout = " << layout << ", 0 or 1 is accepted";
  for (unsigned place : {0u, 1u, 2u})
    if (failed(op.checkRank(place, 3)))
      return failure();
  if (failed(op.checkRank(3, 2)) || failed(op.checkRank(4, 1)))
    return failure();

  int64_t directions =
      op.getString("direction", "forward") == "bidirectional" ? 2 : 1;
  int64_t hidden = op.dim(2, 2);
  if (op.has("hidden_size") &&
      failed(op.checkDim(2, 2, op.getInt("hidden_size", 0),
                         "as hidden_size says")))
    return failure();
  for (unsigned place : {1u, 2u, 3u})
    if (failed(
            op.checkDim(place, 0, directions, "one matrix for each direction")))
      return failure();
  int64_t rows = ShapedType::kDynamic;
  if (!ShapedType::isDynamic(hidden) &&
      __builtin_mul_overflow(hidden, gates, &rows))
    return op.error() << "hidden size " << hidden << " is too large";
  for (unsigned place : {1u, 2u})
    if (failed(op.checkDim(place, 1, rows,
                           Twine(gates) + " gates of the hidden size")))
      return failure();
  if (failed(op.checkSameDim(0, 2, 1, 2)))
    return failure();
  if (!ShapedType::isDynamic(rows) && rows <= INT64_MAX / 2 &&
      failed(op.checkDim(3, 1, 2 * rows, "two biases for each gate")))
    return failure();

  int64_t batch = op.dim(0, layout == 0 ? 1 : 0);
  if (failed(op.checkDim(4, 0, batch, "the batch of " + op.name(0))))
    return failure();
  for (unsigned place : states) {
    if (failed(op.checkRank(place, 3)) ||
        failed(op.checkDim(place, layout, directions,
                           "one state for each direction")) ||
        failed(op.checkDim(place, 1 - layout, batch,
                           "the batch of " + op.name(0))) ||
        failed(op.checkDim(place, 2, hidden, "the hidden size")))
      return failure();
  }
  return success();
}

static LogicalResult verifyLSTM(const OpView &op) {
  if (failed(verifyRecurrence(op, 4, {5, 6})) || failed(op.checkRank(7, 2)))
    return failure();
  int64_t hidden = op.dim(2, 2);
  if (ShapedType::isDynamic(hidden) || hidden > INT64_MAX / 3)
    return success();
  return op.checkDim(7, 1, 3 * hidden, "three peepholes of the hidden size");
}
static LogicalResult verifyGRU(const OpView &op) {
  return verifyRecurrence(op, 3, {5});
}
static LogicalResult verifyRNN(const OpView &op) {
  return verifyRecurrence(op, 1, {5});
}

//===----------------------------------------------------------------------===//
// Attention
//===----------------------------------------------------------------------===//

static LogicalResult verifyAttention(const OpView &op) {
  int64_t rank = op.rank(0);
  if (rank >= 0 && rank != 3 && rank != 4)
    return op.error() << op.name(0) << " has rank " << rank
                      << ", rank 3 or 4 is accepted";
  if (failed(op.checkSameRank(0, 1)) || failed(op.checkSameRank(0, 2)))
    return failure();
  if (rank == 3)
    for (StringRef attr : {"q_num_heads", "kv_num_heads"})
      if (op.getInt(attr, 0) < 1)
        return op.error() << attr << " = " << op.getInt(attr, 0)
                          << ", 1 or more is accepted for operands of rank 3";
  int64_t heads = rank == 4 ? op.dim(0, 1) : op.getInt("q_num_heads", 0);
  int64_t keyHeads = rank == 4 ? op.dim(1, 1) : op.getInt("kv_num_heads", 0);
  if (rank >= 0 && heads > 0 && keyHeads > 0 && heads % keyHeads != 0)
    return op.error() << "has " << heads << " heads of queries and " << keyHeads
                      << " of keys; a multiple of the latter is accepted";
  if (op.has(4) != op.has(5))
    return op.error() << "has one of 'past_key' and 'past_value'; both or "
                         "none are accepted";
  return success();
}

static LogicalResult verifyRotary(const OpView &op) {
  int64_t rank = op.rank(0);
  if (rank >= 0 && rank != 3 && rank != 4)
    return op.error() << op.name(0) << " has rank " << rank
                      << ", rank 3 or 4 is accepted";
  if (rank == 3 && op.getInt("num_heads", 0) < 1)
    return op.error() << "num_heads = " << op.getInt("num_heads", 0)
                      << ", 1 or more is accepted for an operand of rank 3";
  return success();
}

//===----------------------------------------------------------------------===//
// com.microsoft
//===----------------------------------------------------------------------===//

static LogicalResult checkTopExperts(const OpView &op) {
  int64_t k = op.getInt("k", 1), experts = op.dim(1, 1);
  if (failed(op.checkRank(1, 2)))
    return failure();
  if (k < 1 || (!ShapedType::isDynamic(experts) && k > experts))
    return op.error() << "k = " << k << ", 1 to the number of experts"
                      << (ShapedType::isDynamic(experts)
                              ? std::string()
                              : " (" + std::to_string(experts) + ")")
                      << " is accepted";
  int64_t rank = op.rank(0);
  if (rank >= 0 && rank != 2 && rank != 3)
    return op.error() << op.name(0) << " has rank " << rank
                      << ", rank 2 or 3 is accepted";
  return op.checkOneOf(
      "activation_type", "relu",
      {"relu", "gelu", "silu", "identity", "swiglu", "geglu", "relu2"});
}

/// Weights are banks [experts, ...].
static LogicalResult checkBanks(const OpView &op,
                                ArrayRef<std::pair<unsigned, int64_t>> banks) {
  for (auto [place, rank] : banks)
    if (failed(op.checkRank(place, rank)) ||
        failed(op.checkSameDim(1, 1, place, 0)))
      return failure();
  return success();
}

static LogicalResult verifyMoE(const OpView &op) {
  if (failed(checkTopExperts(op)) ||
      failed(checkBanks(op, {{2, 3}, {3, 2}, {4, 3}, {5, 2}, {6, 3}, {7, 2}})))
    return failure();
  int64_t rank = op.rank(0);
  if (rank < 0)
    return success();
  // fc1 reads the hidden size, fc2 writes it.
  return success(succeeded(op.checkSameDim(0, rank - 1, 2, 2)) &&
                 succeeded(op.checkSameDim(0, rank - 1, 4, 1)));
}

static LogicalResult verifyQMoE(const OpView &op) {
  if (failed(checkTopExperts(op)))
    return failure();
  for (unsigned place : {2u, 5u, 8u})
    if (failed(op.checkRank(place, 3)) ||
        failed(op.checkSameDim(1, 1, place, 0)))
      return failure();
  int64_t bits = op.getInt("expert_weight_bits", 4);
  if (bits != 2 && bits != 4 && bits != 8)
    return op.error() << "expert_weight_bits = " << bits
                      << ", 2, 4 or 8 is accepted";
  return success();
}

static LogicalResult verifyMatMulNBits(const OpView &op) {
  int64_t k = op.getInt("K", 0), n = op.getInt("N", 0);
  int64_t bits = op.getInt("bits", 4), block = op.getInt("block_size", 0);
  if (k < 1 || n < 1)
    return op.error() << "K = " << k << " and N = " << n
                      << ", 1 or more is accepted";
  if (bits < 2 || bits > 8)
    return op.error() << "bits = " << bits << ", 2 to 8 is accepted";
  if (block < 16 || (block & (block - 1)) != 0)
    return op.error() << "block_size = " << block
                      << ", a power of two from 16 on is accepted";
  if (failed(op.checkMinRank(0, 1)))
    return failure();
  if (op.rank(0) >= 1)
    return op.checkDim(0, op.rank(0) - 1, k, "as K says");
  return success();
}

static LogicalResult verifyGroupQueryAttention(const OpView &op) {
  int64_t heads = op.getInt("num_heads", 0);
  int64_t keyHeads = op.getInt("kv_num_heads", 0);
  if (heads < 1 || keyHeads < 1 || heads % keyHeads != 0)
    return op.error() << "num_heads = " << heads
                      << " and kv_num_heads = " << keyHeads
                      << "; a multiple of the latter, which is 1 or more, is "
                         "accepted";
  if (failed(op.checkRank(0, 3)))
    return failure();
  int64_t width = op.dim(0, 2);
  int64_t parts = op.has(1) ? heads : heads + 2 * keyHeads;
  if (!ShapedType::isDynamic(width) && width % parts != 0)
    return op.error() << op.name(0) << " has width " << width
                      << ", a multiple of " << parts << " heads is accepted";
  return success();
}

static LogicalResult verifySkipNorm(const OpView &op) {
  int64_t rank = op.rank(0);
  if (failed(op.checkMinRank(0, 1)) || failed(op.checkRank(2, 1)) ||
      failed(op.checkRank(3, 1)))
    return failure();
  if (rank < 1)
    return success();
  for (unsigned place : {2u, 3u})
    if (op.has(place) && failed(op.checkSameDim(0, rank - 1, place, 0)))
      return failure();
  return op.checkBroadcast({0u, 1u});
}

void moe::onnx::addNetworkRules(OperatorRules &rules) {
  rules["onnx.Attention"] = verifyAttention;
  rules["onnx.BatchNormalization"] = verifyBatchNorm;
  rules["onnx.GRU"] = verifyGRU;
  rules["onnx.GroupNormalization"] = verifyGroupNorm;
  rules["onnx.InstanceNormalization"] = verifyInstanceNorm;
  rules["onnx.LRN"] = verifyLRN;
  rules["onnx.LSTM"] = verifyLSTM;
  rules["onnx.LayerNormalization"] = verifyLayerNorm;
  rules["onnx.LpNormalization"] = verifyLpNorm;
  rules["onnx.RMSNormalization"] = verifyRMSNorm;
  rules["onnx.RNN"] = verifyRNN;
  rules["onnx.RotaryEmbedding"] = verifyRotary;
  rules["onnx_ms.GroupQueryAttention"] = verifyGroupQueryAttention;
  rules["onnx_ms.MatMulNBits"] = verifyMatMulNBits;
  rules["onnx_ms.MoE"] = verifyMoE;
  rules["onnx_ms.QMoE"] = verifyQMoE;
  rules["onnx_ms.SimplifiedLayerNormalization"] = verifyRMSNorm;
  rules["onnx_ms.SkipSimplifiedLayerNormalization"] = verifySkipNorm;
}
