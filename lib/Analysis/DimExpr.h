//===- DimExpr.h - integer expressions over names of extents ----*- C++ -*-===//
//
// Extents that are known at run time only are expressions over named ones:
// `batch*seq`, `past+seq`, `floordiv(seq+1,2)`. An expression is held as a
// polynomial in canonical order, so two of them are equal exactly when their
// texts are, and the text is what the IR holds (`onnx.dims`).
//
//===----------------------------------------------------------------------===//
#ifndef MOE_LIB_ANALYSIS_DIMEXPR_H
#define MOE_LIB_ANALYSIS_DIMEXPR_H

#include "llvm/ADT/ArrayRef.h"
#include "llvm/ADT/STLFunctionalExtras.h"
#include "llvm/ADT/SmallVector.h"
#include "llvm/ADT/StringMap.h"
#include "llvm/ADT/StringRef.h"
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace moe {

class DimExpr;

/// What a polynomial is made of: a named extent, or a function of expressions
/// that no polynomial expresses. Lives as long as its DimContext; two atoms of
/// one context are the same object if their texts are equal.
struct DimAtom {
  enum class Kind : uint8_t { Symbol, FloorDiv, Min, Max, Broadcast };
  Kind kind;
  /// Whether it is at least 0. Extents are.
  bool nonNegative;
  std::string text;
  std::vector<DimExpr> arguments;
  /// At most one expression that it never exceeds.
  std::vector<DimExpr> bound;
};

/// coefficient * atoms[0] * atoms[1] * ...
struct DimTerm {
  llvm::SmallVector<const DimAtom *, 2> atoms;
  int64_t coefficient;
};

/// An integer: known as a polynomial over atoms, or unknown. Arithmetic on an
/// unknown one, or that leaves 64 bits, gives an unknown one.
class DimExpr {
public:
  /// Unknown.
  DimExpr() = default;
  static DimExpr constant(int64_t value);

  bool isKnown() const { return known; }
  bool isConstant() const {
    return known && (terms.empty() ||
                     (terms.size() == 1 && terms.front().atoms.empty()));
  }
  bool isConstant(int64_t value) const {
    return isConstant() && getConstant() == value;
  }
  /// Only for constants.
  int64_t getConstant() const {
    return terms.empty() ? 0 : terms.front().coefficient;
  }
  /// Terms with coefficients other than 0, of falling degree; the constant is
  /// last. Empty for the constant 0.
  llvm::ArrayRef<DimTerm> getTerms() const { return terms; }
  /// The only atom of the expression `atom`, else null.
  const DimAtom *getAtom() const;

  /// Whether it is 0 or more whatever the extents are; false when not proven.
  bool isNonNegative() const;

  /// Canonical text, such as "batch*seq+1"; "" if unknown.
  std::string str() const;

  /// Calls `visit` for each symbol in it, including those in functions.
  void forEachSymbol(llvm::function_ref<void(const DimAtom &)> visit) const;

  friend DimExpr operator+(const DimExpr &a, const DimExpr &b);
  friend DimExpr operator-(const DimExpr &a, const DimExpr &b);
  friend DimExpr operator*(const DimExpr &a, const DimExpr &b);
  DimExpr operator-() const { return constant(0) - *this; }
  /// Unknown expressions equal nothing, not even themselves.
  friend bool operator==(const DimExpr &a, const DimExpr &b);
  friend bool operator!=(const DimExpr &a, const DimExpr &b) {
    return !(a == b);
  }

  /// a / b where b divides a as a polynomial, else unknown. (Where b is 0 at
  /// run time, a is 0 as well.)
  static DimExpr divideExactly(const DimExpr &a, const DimExpr &b);

private:
  friend class DimContext;
  explicit DimExpr(llvm::SmallVector<DimTerm, 1> terms);
  static DimExpr addScaled(const DimExpr &a, const DimExpr &b, int64_t factor);

  bool known = false;
  llvm::SmallVector<DimTerm, 1> terms;
};

/// Owns the atoms of a set of expressions.
class DimContext {
public:
  /// The extent that a model calls `name`. Names that could be taken for an
  /// expression or for a symbol of ours print in braces.
  DimExpr symbol(llvm::StringRef name) { return rawSymbol(quote(name)); }
  /// A symbol whose text is canonical already (`?7`).
  DimExpr rawSymbol(llvm::StringRef text);
  /// Notes that a symbol is never greater than `bound`.
  void setBound(const DimExpr &symbol, const DimExpr &bound);
  /// The text of the symbol for a model's name.
  static std::string quote(llvm::StringRef name);

  /// The quotient rounded down; unknown for divisors that may be negative.
  DimExpr floorDiv(const DimExpr &a, const DimExpr &b);
  /// Rounded up.
  DimExpr ceilDiv(const DimExpr &a, const DimExpr &b);
  /// a - b * floorDiv(a, b).
  DimExpr mod(const DimExpr &a, const DimExpr &b);
  DimExpr min(const DimExpr &a, const DimExpr &b);
  DimExpr max(const DimExpr &a, const DimExpr &b);
  /// The extent that broadcasting a and b against each other gives, provided
  /// that it is possible: 1 gives way to the other.
  DimExpr broadcast(const DimExpr &a, const DimExpr &b);

  /// The expression of a text that `str` wrote; unknown if it is none.
  DimExpr parse(llvm::StringRef text);

private:
  bool isAbsorbed(const DimExpr &small, const DimExpr &other);
  DimExpr call(DimAtom::Kind kind, llvm::ArrayRef<DimExpr> arguments,
               bool nonNegative);
  DimExpr getAtom(DimAtom::Kind kind, llvm::StringRef text, bool nonNegative,
                  llvm::ArrayRef<DimExpr> arguments);

  llvm::StringMap<std::unique_ptr<DimAtom>> atoms;
};

} // namespace moe

#endif // MOE_LIB_ANALYSIS_DIMEXPR_H
