//===- QueueFunction.cpp - what is computed from places in queues ---------===//

#include "passes/Raise/QueueFunction.h"
#include "llvm/ADT/STLExtras.h"
#include <algorithm>
#include <cmath>
#include <limits>

using namespace moe;

static constexpr int64_t kEndless = std::numeric_limits<int64_t>::max();
/// Bounds of pieces are compared as doubles.
static constexpr double kLargest = 4503599627370496.0;

static bool sameFunction(const QueuePiece &a, const QueuePiece &b) {
  if (!a.known || !b.known)
    return a.known == b.known;
  return a.perId == b.perId && a.slope == b.slope && a.offset == b.offset;
}

void QueueFunction::append(QueuePiece piece) {
  if (!pieces.empty() && sameFunction(pieces.back(), piece))
    return;
  pieces.push_back(piece);
}

QueueFunction QueueFunction::zip(
    const QueueFunction &a, const QueueFunction &b,
    llvm::function_ref<void(QueuePiece, QueuePiece, int64_t, int64_t, Emit)>
        make) {
  QueueFunction result;
  result.pieces.clear();
  size_t i = 0, j = 0;
  int64_t lo = 0;
  while (true) {
    int64_t endA = i + 1 < a.pieces.size() ? a.pieces[i + 1].from : kEndless;
    int64_t endB = j + 1 < b.pieces.size() ? b.pieces[j + 1].from : kEndless;
    int64_t hi = std::min(endA, endB);
    QueuePiece x = a.pieces[i], y = b.pieces[j];
    x.from = y.from = lo;
    make(x, y, lo, hi, [&](QueuePiece piece) { result.append(piece); });
    if (hi == kEndless)
      return result;
    i += endA == hi;
    j += endB == hi;
    lo = hi;
  }
}

namespace moe {

QueueFunction operator+(const QueueFunction &a, const QueueFunction &b) {
  return QueueFunction::zip(
      a, b, [](QueuePiece x, QueuePiece y, int64_t, int64_t, auto emit) {
        emit({x.from, x.perId + y.perId, x.slope + y.slope, x.offset + y.offset,
              x.known && y.known});
      });
}

QueueFunction operator-(const QueueFunction &a, const QueueFunction &b) {
  return a + b * QueueFunction::constant(-1);
}

QueueFunction operator*(const QueueFunction &a, const QueueFunction &b) {
  return QueueFunction::zip(
      a, b, [](QueuePiece x, QueuePiece y, int64_t, int64_t, auto emit) {
        if (x.isConstant(0) || y.isConstant(0))
          return emit({x.from, 0, 0, 0});
        if (!x.isConstant())
          std::swap(x, y);
        double c = x.offset;
        emit({y.from, c * y.perId, c * y.slope, c * y.offset,
              x.isConstant() && y.known});
      });
}

bool operator==(const QueueFunction &a, const QueueFunction &b) {
  return a.pieces.size() == b.pieces.size() &&
         llvm::all_of(llvm::zip(a.pieces, b.pieces), [](auto pair) {
           auto &[x, y] = pair;
           return x.known && y.known && x.from == y.from && sameFunction(x, y);
         });
}

} // namespace moe

QueueFunction
QueueFunction::compare(const QueueFunction &a, const QueueFunction &b,
                       llvm::function_ref<bool(int sign)> accept) {
  return zip(
      a, b, [&](QueuePiece x, QueuePiece y, int64_t lo, int64_t hi, Emit emit) {
        if (!x.known || !y.known || x.perId != y.perId)
          return emit({lo, 0, 0, 0, false});
        double slope = x.slope - y.slope, offset = x.offset - y.offset;
        auto yields = [&](int64_t from, int sign) {
          emit({from, 0, 0, accept(sign) ? 1.0 : 0.0});
        };
        if (slope == 0)
          return yields(lo, offset < 0 ? -1 : offset > 0);
        double root = -offset / slope;
        if (!(std::abs(root) < kLargest))
          return emit({lo, 0, 0, 0, false});
        // Before the root, at it where it is a number of slots, and behind it.
        int rising = slope > 0 ? 1 : -1;
        auto first = static_cast<int64_t>(std::ceil(root));
        auto behind = static_cast<int64_t>(std::floor(root)) + 1;
        if (lo < first)
          yields(lo, -rising);
        if (first != behind && lo <= first && first < hi)
          yields(first, 0);
        if (behind < hi)
          yields(std::max(lo, behind), rising);
      });
}

QueueFunction QueueFunction::select(const QueueFunction &condition,
                                    const QueueFunction &a,
                                    const QueueFunction &b) {
  QueueFunction isSet =
      compare(condition, constant(0), [](int sign) { return sign != 0; });
  // Not a sum of products: what is not selected may be unknown.
  QueueFunction chosen = zip(
      isSet, a, [](QueuePiece c, QueuePiece x, int64_t lo, int64_t, Emit emit) {
        emit(c.isConstant(1) ? x : QueuePiece{lo, 0, 0, 0, c.known});
      });
  QueueFunction other = zip(
      isSet, b, [](QueuePiece c, QueuePiece y, int64_t lo, int64_t, Emit emit) {
        emit(c.isConstant(0) ? y : QueuePiece{lo, 0, 0, 0, c.known});
      });
  return chosen + other;
}

QueueFunction QueueFunction::max(const QueueFunction &a,
                                 const QueueFunction &b) {
  return select(compare(a, b, [](int sign) { return sign > 0; }), a, b);
}

QueueFunction QueueFunction::min(const QueueFunction &a,
                                 const QueueFunction &b) {
  return select(compare(a, b, [](int sign) { return sign < 0; }), a, b);
}

QueueFunction QueueFunction::whole() const {
  QueueFunction result;
  result.pieces.clear();
  auto isWhole = [](double v) { return v == std::floor(v); };
  for (QueuePiece piece : pieces) {
    piece.known &=
        isWhole(piece.perId) && isWhole(piece.slope) && isWhole(piece.offset);
    result.append(piece);
  }
  return result;
}

bool QueueFunction::isConstant(double value, int64_t least) const {
  for (size_t i = 0; i < pieces.size(); ++i) {
    const QueuePiece &piece = pieces[i];
    int64_t end = i + 1 < pieces.size() ? pieces[i + 1].from : kEndless;
    int64_t from = std::max(piece.from, least);
    if (end <= from)
      continue;
    // A single s has one value whatever the slope is.
    bool isValue =
        end - from == 1 && piece.known && piece.perId == 0 &&
        piece.slope * static_cast<double>(from) + piece.offset == value;
    if (!isValue && !piece.isConstant(value))
      return false;
  }
  return true;
}

bool QueueFunction::isIdentityOfId() const {
  return pieces.size() == 1 && pieces[0].known && pieces[0].perId == 1 &&
         pieces[0].slope == 0 && pieces[0].offset == 0;
}

QueueFunction QueueFunction::hasIdFactor(double factor) const {
  QueueFunction result;
  result.pieces.clear();
  for (const QueuePiece &piece : pieces)
    result.append(
        {piece.from, 0, 0, piece.perId == factor ? 1.0 : 0.0, piece.known});
  return result;
}

QueueFunction QueueFunction::withoutId() const {
  QueueFunction result;
  result.pieces.clear();
  for (QueuePiece piece : pieces) {
    piece.perId = 0;
    result.append(piece);
  }
  return result;
}

bool QueueFunction::isDistinct(int64_t last) const {
  // Each piece takes a stretch of numbers; no two of them meet.
  llvm::SmallVector<std::pair<double, double>> stretches;
  for (size_t i = 0; i < pieces.size(); ++i) {
    const QueuePiece &piece = pieces[i];
    int64_t end = i + 1 < pieces.size() ? pieces[i + 1].from : kEndless;
    int64_t from = std::max<int64_t>(piece.from, 1);
    int64_t to = std::min(end - 1, last);
    if (from > to)
      continue;
    if (!piece.known || piece.perId != 0 || (piece.slope == 0 && from != to))
      return false;
    auto at = [&](int64_t s) {
      return piece.slope * static_cast<double>(s) + piece.offset;
    };
    auto [least, most] = std::minmax({at(from), at(to)});
    for (auto [low, high] : stretches)
      if (least <= high && low <= most)
        return false;
    stretches.push_back({least, most});
  }
  return true;
}

std::optional<int64_t> moe::matchKept(const QueueFunction &kept,
                                      bool &endless) {
  endless = kept.isConstant(1, 1);
  if (endless)
    return std::nullopt;
  // 1 up to somewhere, 0 from there on; nothing is said about s = 0.
  int64_t last = 0;
  llvm::ArrayRef<QueuePiece> pieces = kept.getPieces();
  for (auto [i, piece] : llvm::enumerate(pieces)) {
    bool isLast = i + 1 == pieces.size();
    int64_t end =
        isLast ? std::numeric_limits<int64_t>::max() : pieces[i + 1].from;
    if (end <= 1)
      continue;
    if (piece.isConstant(1) && !isLast)
      last = end - 1;
    else
      return piece.isConstant(0) && isLast && last > 0
                 ? std::optional<int64_t>(last)
                 : std::nullopt;
  }
  return std::nullopt;
}
