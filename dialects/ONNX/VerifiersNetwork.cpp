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

/// The routing of MoE and QMoE, and the tokens that it is for.
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
  if (rank == 2 && failed(op.checkSameDim(0, 0, 1, 0)))
    return failure();
  if (rank == 3 && !ShapedType::isDynamic(op.dim(0, 0)) &&
      !ShapedType::isDynamic(op.dim(0, 1)) &&
      failed(op.checkDim(1, 0, op.dim(0, 0) * op.dim(0, 1),
                         "a row for each token of " + op.name(0))))
    return failure();
  int64_t fusion = op.getInt("swiglu_fusion", 0);
  if (fusion < 0 || fusion > 2)
    return op.error() << "swiglu_fusion = " << fusion
                      << ", 0, 1 or 2 is accepted";
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

/// Matrices in fc1 for one of fc2: gates and ups share it when fused.
static int64_t getFusedParts(const OpView &op) {
  StringRef activation = op.getString("activation_type", "relu");
  bool gated = activation == "swiglu" || activation == "geglu";
  return gated && op.getInt("swiglu_fusion", 0) != 0 ? 2 : 1;
}

static LogicalResult verifyMoE(const OpView &op) {
  enum { Input, Logits, Fc1, Fc1Bias, Fc2, Fc2Bias, Fc3, Fc3Bias };
  if (failed(checkTopExperts(op)) || failed(checkBanks(op, {{Fc1, 3},
                                                            {Fc1Bias, 2},
                                                            {Fc2, 3},
                                                            {Fc2Bias, 2},
                                                            {Fc3, 3},
                                                            {Fc3Bias, 2}})))
    return failure();
  int64_t inner = op.dim(Fc2, 2), parts = getFusedParts(op);
  if (!ShapedType::isDynamic(inner) &&
      failed(op.checkDim(Fc1, 1, parts * inner,
                         parts == 2 ? "gates and ups of the width of fc2"
                                    : "the inner width of fc2")))
    return failure();
  if (failed(op.checkSameDim(Fc1, 1, Fc1Bias, 1)) ||
      failed(op.checkSameDim(Fc2, 1, Fc2Bias, 1)) ||
      failed(op.checkSameDim(Fc2, 2, Fc3, 1)) ||
      failed(op.checkSameDim(Fc1, 2, Fc3, 2)) ||
      failed(op.checkSameDim(Fc2, 2, Fc3Bias, 1)))
    return failure();
  int64_t rank = op.rank(0);
  if (rank < 0)
    return success();
  // fc1 reads the hidden size, fc2 writes it.
  return success(succeeded(op.checkSameDim(0, rank - 1, Fc1, 2)) &&
                 succeeded(op.checkSameDim(0, rank - 1, Fc2, 1)));
}

namespace {
/// A bank of QMoE: places of its operands, and the extents it stands for.
struct CodedBank {
  unsigned weights, scales, bias, zeroPoints;
  int64_t bits, rows, columns;
};
} // namespace

/// Integer codes: rows of whole bytes, a scale per row or block.
static LogicalResult checkCodes(const OpView &op, const CodedBank &bank,
                                int64_t block) {
  if (bank.bits != 2 && bank.bits != 3 && bank.bits != 4 && bank.bits != 8)
    return op.error() << "has weights of " << bank.bits
                      << " bits, 2, 3, 4 or 8 is accepted";
  int64_t rank = block > 0 ? 3 : 2;
  if (failed(op.checkRank(bank.scales, rank)) ||
      failed(op.checkRank(bank.zeroPoints, rank)))
    return failure();
  auto bytes = [&](int64_t codes) {
    return ShapedType::isDynamic(codes) ? codes : (codes * bank.bits + 7) / 8;
  };
  std::string each = std::to_string(bank.bits) + " bits for each ";
  if (failed(op.checkDim(bank.weights, 1, bank.rows, "rows of the bank")) ||
      failed(op.checkDim(bank.weights, 2, bytes(bank.columns),
                         each + "column of the bank")) ||
      failed(op.checkSameDim(bank.weights, 1, bank.scales, 1)))
    return failure();
  if (block <= 0)
    return op.checkDim(bank.zeroPoints, 1, bytes(op.dim(bank.weights, 1)),
                       each + "row of the bank");
  if (ShapedType::isDynamic(bank.columns))
    return success();
  if (bank.columns % block != 0)
    return op.error() << op.name(bank.weights) << " has " << bank.columns
                      << " columns, a multiple of block_size = " << block
                      << " is accepted";
  int64_t blocks = bank.columns / block;
  return success(
      succeeded(op.checkDim(bank.scales, 2, blocks, "blocks of a row")) &&
      succeeded(op.checkSameDim(bank.weights, 1, bank.zeroPoints, 1)) &&
      succeeded(op.checkDim(bank.zeroPoints, 2, bytes(blocks),
                            each + "block of a row")));
}

static LogicalResult verifyQMoE(const OpView &op) {
  constexpr unsigned kFc1 = 2, kRouterWeights = 14;
  if (failed(checkTopExperts(op)) || failed(op.checkRank(kRouterWeights, 2)) ||
      failed(op.checkSameDim(1, 0, kRouterWeights, 0)) ||
      failed(op.checkSameDim(1, 1, kRouterWeights, 1)))
    return failure();
  int64_t rank = op.rank(0), common = op.getInt("expert_weight_bits", 4);
  int64_t hidden = rank < 0 ? ShapedType::kDynamic : op.dim(0, rank - 1);
  int64_t fused = op.dim(kFc1, 1), inner = fused, parts = getFusedParts(op);
  if (!ShapedType::isDynamic(fused)) {
    if (fused % parts != 0)
      return op.error() << op.name(kFc1) << " has extent " << fused
                        << " in dimension 1, an even number (gates and ups) "
                           "is accepted";
    inner = fused / parts;
  }
  const CodedBank banks[] = {
      {2, 3, 4, 11, op.getInt("fc1_expert_weight_bits", common), fused, hidden},
      {5, 6, 7, 12, op.getInt("fc2_expert_weight_bits", common), hidden, inner},
      {8, 9, 10, 13, op.getInt("fc3_expert_weight_bits", common), inner,
       hidden}};
  for (const CodedBank &bank : banks) {
    if (failed(op.checkRank(bank.weights, 3)) ||
        failed(op.checkRank(bank.bias, 2)))
      return failure();
    for (unsigned place :
         {bank.weights, bank.scales, bank.bias, bank.zeroPoints})
      if (failed(op.checkSameDim(1, 1, place, 0)))
        return failure();
    if (failed(op.checkSameDim(bank.weights, 1, bank.bias, 1)))
      return failure();
  }
  // Other kinds of codes have layouts of their own.
  if (op.getString("quant_type", "int") != "int")
    return success();
  int64_t block = op.getInt("block_size", 0);
  if (block > 0 && (block < 16 || (block & (block - 1)) != 0))
    return op.error() << "block_size = " << block
                      << ", a power of two from 16 on is accepted";
  for (const CodedBank &bank : banks)
    if (op.has(bank.weights) && failed(checkCodes(op, bank, block)))
      return failure();
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

/// Operands that come together or not at all.
static LogicalResult checkTogether(const OpView &op, unsigned a, unsigned b) {
  if (op.has(a) == op.has(b))
    return success();
  unsigned given = op.has(a) ? a : b, missing = op.has(a) ? b : a;
  return op.error() << "has " << op.name(given) << " without "
                    << op.name(missing) << "; both or none are accepted";
}

/// The operands of GroupQueryAttention, by their place in the schema.
namespace gqa {
enum Place : unsigned {
  Query,
  Key,
  Value,
  PastKey,
  PastValue,
  Lengths,
  Total,
  Cos,
  Sin,
  Positions,
  Bias,
  Sink,
  QueryNorm = 14,
  KeyNorm = 15,
  QueryLengths = 16
};
} // namespace gqa

/// The extents of the cache, and what a window-sized one asks for.
static LogicalResult checkCache(const OpView &op, int64_t keyHeads,
                                int64_t width) {
  using namespace gqa;
  int64_t window = op.getInt("local_window_size", -1);
  if (window != -1 && window < 1)
    return op.error() << "local_window_size = " << window
                      << ", 1 or more, or -1 for none, is accepted";
  int64_t causal = op.getInt("causal", 1);
  if (causal != 0 && causal != 1)
    return op.error() << "causal = " << causal << ", 0 or 1 is accepted";
  if (causal == 0 && window != -1)
    return op.error() << "local_window_size = " << window
                      << " with causal = 0; -1 is accepted there";
  if (failed(checkTogether(op, PastKey, PastValue)))
    return failure();
  for (unsigned place : {PastKey, PastValue})
    if (failed(op.checkRank(place, 4)) ||
        failed(op.checkSameDim(Query, 0, place, 0)) ||
        failed(op.checkDim(place, 1, keyHeads, "kv_num_heads")) ||
        failed(op.checkDim(place, 3, width, "the width of a head")))
      return failure();
  if (failed(op.checkSameDim(PastKey, 2, PastValue, 2)))
    return failure();
  bool sliding = op.getInt("sliding_window_cache", 0) != 0;
  int64_t rows = op.dim(PastKey, 2);
  if (sliding && window < 1)
    return op.error() << "sliding_window_cache = 1 with local_window_size = "
                      << window << "; 1 or more is accepted there";
  if (sliding && !op.has(PastKey))
    return op.error()
           << "sliding_window_cache = 1 without 'past_key'; the cache, "
              "of at least local_window_size rows, is needed";
  if (sliding && !ShapedType::isDynamic(rows) && rows < window)
    return op.error() << op.name(PastKey) << " has " << rows
                      << " rows, at least local_window_size = " << window
                      << " are accepted";
  if (!op.has(QueryLengths))
    return success();
  if (!op.has(PastKey) || causal == 0)
    return op.error() << "'query_seqlens' is accepted with 'past_key', "
                         "'past_value' and causal = 1 only";
  return success(succeeded(op.checkRank(QueryLengths, 1)) &&
                 succeeded(op.checkSameDim(Query, 0, QueryLengths, 0)));
}

static LogicalResult checkRotation(const OpView &op, int64_t width) {
  using namespace gqa;
  if (failed(checkTogether(op, Cos, Sin)))
    return failure();
  if (op.getInt("do_rotary", 0) != 0 && !op.has(Cos))
    return op.error()
           << "do_rotary = 1 without 'cos_cache' and 'sin_cache'; both "
              "are needed";
  for (unsigned place : {Cos, Sin}) {
    if (failed(op.checkRank(place, 2)))
      return failure();
    int64_t half = op.dim(place, 1);
    if (!ShapedType::isDynamic(half) && !ShapedType::isDynamic(width) &&
        (half < 1 || 2 * half > width))
      return op.error() << op.name(place) << " has " << half
                        << " columns, 1 to " << width / 2
                        << " (half the width of a head) are accepted";
  }
  return success(succeeded(op.checkSameDim(Cos, 0, Sin, 0)) &&
                 succeeded(op.checkSameDim(Cos, 1, Sin, 1)) &&
                 succeeded(op.checkRank(Positions, 2)) &&
                 succeeded(op.checkSameDim(Query, 0, Positions, 0)) &&
                 succeeded(op.checkSameDim(Query, 1, Positions, 1)));
}

static LogicalResult verifyGroupQueryAttention(const OpView &op) {
  using namespace gqa;
  int64_t heads = op.getInt("num_heads", 0);
  int64_t keyHeads = op.getInt("kv_num_heads", 0);
  if (heads < 1 || keyHeads < 1 || heads % keyHeads != 0)
    return op.error() << "num_heads = " << heads
                      << " and kv_num_heads = " << keyHeads
                      << "; a multiple of the latter, which is 1 or more, is "
                         "accepted";
  if (failed(op.checkRank(Query, 3)) ||
      failed(checkTogether(op, Key, gqa::Value)))
    return failure();
  int64_t all = op.dim(Query, 2), width = ShapedType::kDynamic;
  int64_t parts = op.has(Key) ? heads : heads + 2 * keyHeads;
  if (!ShapedType::isDynamic(all)) {
    if (all % parts != 0)
      return op.error() << op.name(Query) << " has width " << all
                        << ", a multiple of " << parts << " heads is accepted";
    width = all / parts;
  }
  for (unsigned place : {unsigned(Key), unsigned(gqa::Value)}) {
    if (failed(op.checkRank(place, 3)) ||
        failed(op.checkSameDim(Query, 0, place, 0)) ||
        failed(op.checkSameDim(Query, 1, place, 1)))
      return failure();
    if (!ShapedType::isDynamic(width) &&
        failed(op.checkDim(place, 2, keyHeads * width,
                           "kv_num_heads heads as wide as a query's")))
      return failure();
  }
  // seqlens_k: [batch], or [batch, 1] as older exporters write it.
  int64_t rank = op.rank(Lengths);
  if (rank >= 0 && rank != 1 && rank != 2)
    return op.error() << op.name(Lengths) << " has rank " << rank
                      << ", rank 1 or 2 is accepted";
  if (failed(op.checkSameDim(Query, 0, Lengths, 0)) ||
      (rank == 2 && failed(op.checkDim(Lengths, 1, 1, "one per entry"))) ||
      failed(op.checkSingle(Total)) ||
      failed(checkCache(op, keyHeads, width)) ||
      failed(checkRotation(op, width)))
    return failure();
  if (failed(op.checkRank(Bias, 4)) ||
      failed(op.checkSameDim(Query, 1, Bias, 2)))
    return failure();
  int64_t biasHeads = op.dim(Bias, 1), biasBatch = op.dim(Bias, 0);
  if (op.has(Bias) && !ShapedType::isDynamic(biasHeads) && biasHeads != 1 &&
      biasHeads != heads)
    return op.error() << op.name(Bias) << " has extent " << biasHeads
                      << " in dimension 1, 1 or num_heads = " << heads
                      << " is accepted";
  if (op.has(Bias) && biasBatch != 1 &&
      failed(op.checkSameDim(Query, 0, Bias, 0)))
    return failure();
  if (failed(op.checkRank(Sink, 1)) ||
      failed(op.checkDim(Sink, 0, heads, "num_heads")) ||
      failed(checkTogether(op, QueryNorm, KeyNorm)))
    return failure();
  for (unsigned place : {QueryNorm, KeyNorm})
    if (failed(op.checkRank(place, 1)) ||
        failed(op.checkDim(place, 0, width, "the width of a head")))
      return failure();
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
