//===- DimExpr.cpp - integer expressions over names of extents ------------===//
//
// Polynomials are lists of terms in graded lexicographic order of their
// monomials (a monomial order, so division works term by term). Everything that
// is no polynomial becomes an atom that is looked up by its text. Expressions
// stay small: past kMaxTerms terms or kMaxText characters the answer is
// "unknown", which costs precision only.
//
//===----------------------------------------------------------------------===//

#include "lib/Analysis/DimExpr.h"
#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/StringExtras.h"

using namespace moe;
using llvm::ArrayRef;
using llvm::SmallVector;
using llvm::StringRef;

static constexpr size_t kMaxTerms = 160;
static constexpr size_t kMaxText = 1500;

//===----------------------------------------------------------------------===//
// Monomials
//===----------------------------------------------------------------------===//

using Monomial = SmallVector<const DimAtom *, 2>;

static bool before(const DimAtom *a, const DimAtom *b) {
  return a != b && a->text < b->text;
}

/// Order of terms: falling degree, then by the names of the atoms.
static int compare(const Monomial &a, const Monomial &b) {
  if (a.size() != b.size())
    return a.size() > b.size() ? -1 : 1;
  for (auto [x, y] : llvm::zip(a, b))
    if (x != y)
      return before(x, y) ? -1 : 1;
  return 0;
}

static Monomial multiply(const Monomial &a, const Monomial &b) {
  Monomial product(a);
  product.append(b.begin(), b.end());
  llvm::sort(product, before);
  return product;
}

/// a / b, or failure (false) if b does not divide a.
static bool divide(const Monomial &a, const Monomial &b, Monomial &quotient) {
  quotient = a;
  for (const DimAtom *atom : b) {
    auto *it = llvm::find(quotient, atom);
    if (it == quotient.end())
      return false;
    quotient.erase(it);
  }
  return true;
}

//===----------------------------------------------------------------------===//
// Polynomials
//===----------------------------------------------------------------------===//

DimExpr::DimExpr(SmallVector<DimTerm, 1> list)
    : known(list.size() <= kMaxTerms), terms(std::move(list)) {
  if (!known)
    terms.clear();
}

DimExpr DimExpr::constant(int64_t value) {
  SmallVector<DimTerm, 1> terms;
  if (value != 0)
    terms.push_back({{}, value});
  return DimExpr(std::move(terms));
}

const DimAtom *DimExpr::getAtom() const {
  if (!known || terms.size() != 1 || terms[0].coefficient != 1 ||
      terms[0].atoms.size() != 1)
    return nullptr;
  return terms[0].atoms[0];
}

bool DimExpr::isNonNegative() const {
  return known && llvm::all_of(terms, [](const DimTerm &term) {
           return term.coefficient > 0 &&
                  llvm::all_of(term.atoms, [](const DimAtom *atom) {
                    return atom->nonNegative;
                  });
         });
}

DimExpr DimExpr::addScaled(const DimExpr &a, const DimExpr &b, int64_t factor) {
  if (!a.known || !b.known)
    return {};
  SmallVector<DimTerm, 1> sum;
  const DimTerm *x = a.terms.begin(), *y = b.terms.begin();
  while (x != a.terms.end() || y != b.terms.end()) {
    int order = x == a.terms.end()   ? 1
                : y == b.terms.end() ? -1
                                     : compare(x->atoms, y->atoms);
    if (order < 0) {
      sum.push_back(*x++);
      continue;
    }
    int64_t scaled;
    if (__builtin_mul_overflow(y->coefficient, factor, &scaled))
      return {};
    if (order == 0 &&
        __builtin_add_overflow(scaled, (x++)->coefficient, &scaled))
      return {};
    if (scaled != 0)
      sum.push_back({y->atoms, scaled});
    ++y;
  }
  return DimExpr(std::move(sum));
}

namespace moe {
DimExpr operator+(const DimExpr &a, const DimExpr &b) {
  return DimExpr::addScaled(a, b, 1);
}

DimExpr operator-(const DimExpr &a, const DimExpr &b) {
  return DimExpr::addScaled(a, b, -1);
}

DimExpr operator*(const DimExpr &a, const DimExpr &b) {
  if (!a.known || !b.known)
    return {};
  DimExpr sum = DimExpr::constant(0);
  for (const DimTerm &x : a.terms) {
    SmallVector<DimTerm, 1> row;
    for (const DimTerm &y : b.terms) {
      int64_t product;
      if (__builtin_mul_overflow(x.coefficient, y.coefficient, &product))
        return {};
      row.push_back({multiply(x.atoms, y.atoms), product});
    }
    // A factor keeps the order of the other's terms: the order is monomial.
    sum = sum + DimExpr(std::move(row));
    if (!sum.isKnown())
      return {};
  }
  return sum;
}

bool operator==(const DimExpr &a, const DimExpr &b) {
  if (!a.known || !b.known || a.terms.size() != b.terms.size())
    return false;
  for (auto [x, y] : llvm::zip(a.terms, b.terms))
    if (x.coefficient != y.coefficient || x.atoms != y.atoms)
      return false;
  return true;
}
} // namespace moe

DimExpr DimExpr::divideExactly(const DimExpr &a, const DimExpr &b) {
  if (!a.known || !b.known || b.terms.empty())
    return {};
  DimExpr rest = a, quotient = constant(0);
  const DimTerm &lead = b.terms.front();
  for (size_t steps = 0; rest.known && !rest.terms.empty(); ++steps) {
    const DimTerm &top = rest.terms.front();
    Monomial atoms;
    // INT64_MIN / -1 overflows.
    if (steps > kMaxTerms || lead.coefficient == -1 ||
        top.coefficient % lead.coefficient != 0 ||
        !divide(top.atoms, lead.atoms, atoms))
      return {};
    SmallVector<DimTerm, 1> term;
    term.push_back({std::move(atoms), top.coefficient / lead.coefficient});
    DimExpr factor(std::move(term));
    quotient = quotient + factor;
    rest = rest - factor * b;
  }
  return rest.known ? quotient : DimExpr();
}

std::string DimExpr::str() const {
  if (!known)
    return "";
  if (terms.empty())
    return "0";
  std::string text;
  for (const DimTerm &term : terms) {
    bool negative = term.coefficient < 0;
    if (negative)
      text += '-';
    else if (!text.empty())
      text += '+';
    // Negating as unsigned is defined for the least value too.
    uint64_t size = static_cast<uint64_t>(term.coefficient);
    if (negative)
      size = -size;
    bool factor = size != 1 || term.atoms.empty();
    if (factor)
      text += std::to_string(size);
    for (const DimAtom *atom : term.atoms) {
      if (factor)
        text += '*';
      text += atom->text;
      factor = true;
    }
  }
  return text;
}

void DimExpr::forEachSymbol(
    llvm::function_ref<void(const DimAtom &)> visit) const {
  for (const DimTerm &term : terms)
    for (const DimAtom *atom : term.atoms) {
      if (atom->kind == DimAtom::Kind::Symbol)
        visit(*atom);
      for (const DimExpr &argument : atom->arguments)
        argument.forEachSymbol(visit);
    }
}

//===----------------------------------------------------------------------===//
// Atoms
//===----------------------------------------------------------------------===//

static StringRef getFunctionName(DimAtom::Kind kind) {
  switch (kind) {
  case DimAtom::Kind::Symbol:
    return "";
  case DimAtom::Kind::FloorDiv:
    return "floordiv";
  case DimAtom::Kind::Min:
    return "min";
  case DimAtom::Kind::Max:
    return "max";
  case DimAtom::Kind::Broadcast:
    return "bcast";
  }
  return "";
}

DimExpr DimContext::getAtom(DimAtom::Kind kind, StringRef text,
                            bool nonNegative, ArrayRef<DimExpr> arguments) {
  if (text.size() > kMaxText)
    return {};
  std::unique_ptr<DimAtom> &atom = atoms[text];
  if (!atom)
    atom = std::make_unique<DimAtom>(
        DimAtom{kind,
                nonNegative,
                text.str(),
                std::vector<DimExpr>(arguments.begin(), arguments.end()),
                {}});
  SmallVector<DimTerm, 1> terms;
  terms.push_back({{atom.get()}, 1});
  return DimExpr(std::move(terms));
}

DimExpr DimContext::rawSymbol(StringRef text) {
  return getAtom(DimAtom::Kind::Symbol, text, /*nonNegative=*/true, {});
}

static bool isPlain(char c) {
  return llvm::isAlnum(c) || c == '_' || c == '.' || c == ':' || c == '$';
}

std::string DimContext::quote(StringRef name) {
  if (!name.empty() && !llvm::isDigit(name[0]) && llvm::all_of(name, isPlain))
    return name.str();
  std::string text = "{";
  for (char c : name) {
    if (c == '\\' || c == '}')
      text += '\\';
    text += c;
  }
  return text + '}';
}

DimExpr DimContext::call(DimAtom::Kind kind, ArrayRef<DimExpr> arguments,
                         bool nonNegative) {
  std::string text = getFunctionName(kind).str() + '(';
  llvm::interleave(
      arguments, [&](const DimExpr &e) { text += e.str(); },
      [&] { text += ','; });
  return getAtom(kind, text + ')', nonNegative, arguments);
}

static int64_t floorDivide(int64_t a, int64_t b) {
  return a / b - (a % b != 0 && (a < 0) != (b < 0));
}

DimExpr DimContext::floorDiv(const DimExpr &a, const DimExpr &b) {
  if (!a.isKnown() || !b.isNonNegative() || b.isConstant(0))
    return {};
  DimExpr exact = DimExpr::divideExactly(a, b);
  if (exact.isKnown())
    return exact;
  if (a.isConstant() && b.isConstant())
    return DimExpr::constant(floorDivide(a.getConstant(), b.getConstant()));
  // Where b is 0 at run time, parts would differ from the whole.
  if (!b.isConstant())
    return call(DimAtom::Kind::FloorDiv, {a, b}, a.isNonNegative());
  // Terms that b divides leave the function.
  DimExpr whole = DimExpr::constant(0), rest = DimExpr::constant(0);
  for (const DimTerm &term : a.getTerms()) {
    SmallVector<DimTerm, 1> list;
    list.push_back(term);
    DimExpr single(std::move(list));
    DimExpr quotient = DimExpr::divideExactly(single, b);
    DimExpr &part = quotient.isKnown() ? whole : rest;
    part = part + (quotient.isKnown() ? quotient : single);
  }
  if (rest.isConstant())
    return whole +
           DimExpr::constant(floorDivide(rest.getConstant(), b.getConstant()));
  return whole + call(DimAtom::Kind::FloorDiv, {rest, b}, rest.isNonNegative());
}

DimExpr DimContext::ceilDiv(const DimExpr &a, const DimExpr &b) {
  return floorDiv(a + b - DimExpr::constant(1), b);
}

DimExpr DimContext::mod(const DimExpr &a, const DimExpr &b) {
  return a - b * floorDiv(a, b);
}

/// Sorted by text, so that the order of the arguments does not matter.
static SmallVector<DimExpr, 2> sorted(const DimExpr &a, const DimExpr &b) {
  if (b.str() < a.str())
    return {b, a};
  return {a, b};
}

DimExpr DimContext::min(const DimExpr &a, const DimExpr &b) {
  if (!a.isKnown() || !b.isKnown())
    return {};
  if ((b - a).isNonNegative())
    return a;
  if ((a - b).isNonNegative())
    return b;
  if (a.isConstant() && b.isConstant())
    return a.getConstant() < b.getConstant() ? a : b;
  return call(DimAtom::Kind::Min, sorted(a, b),
              a.isNonNegative() && b.isNonNegative());
}

DimExpr DimContext::max(const DimExpr &a, const DimExpr &b) {
  if (!a.isKnown() || !b.isKnown())
    return {};
  if ((a - b).isNonNegative())
    return a;
  if ((b - a).isNonNegative())
    return b;
  if (a.isConstant() && b.isConstant())
    return a.getConstant() > b.getConstant() ? a : b;
  return call(DimAtom::Kind::Max, sorted(a, b),
              a.isNonNegative() || b.isNonNegative());
}

void DimContext::setBound(const DimExpr &symbol, const DimExpr &bound) {
  const DimAtom *atom = symbol.getAtom();
  if (!atom || !bound.isKnown())
    return;
  std::unique_ptr<DimAtom> &owned = atoms[atom->text];
  if (owned->bound.empty())
    owned->bound.push_back(bound);
}

/// Whether `small` is min(c, x) with c >= 1, where `other` is x, or c is 1 and
/// `other` is 0 whenever x is. Then broadcasting the two always gives `other`:
/// min(c, x) is x, or it is c, which fits only if it is 1.
bool DimContext::isAbsorbed(const DimExpr &small, const DimExpr &other) {
  const DimAtom *atom = small.getAtom();
  if (!atom || atom->kind != DimAtom::Kind::Min)
    return false;
  for (unsigned side : {0u, 1u}) {
    const DimExpr &limit = atom->arguments[side];
    const DimExpr &extent = atom->arguments[1 - side];
    if (!limit.isConstant() || limit.getConstant() < 1)
      continue;
    if (extent == other)
      return true;
    // What a multiple of x bounds from above is 0 where x is.
    const DimAtom *bounded = other.getAtom();
    if (limit.isConstant(1) && bounded && !bounded->bound.empty() &&
        DimExpr::divideExactly(bounded->bound[0], extent).isKnown())
      return true;
  }
  return false;
}

DimExpr DimContext::broadcast(const DimExpr &a, const DimExpr &b) {
  // Against a constant other than 1, the other side is that constant or 1.
  if (a.isConstant() && !a.isConstant(1))
    return a;
  if (b.isConstant() && !b.isConstant(1))
    return b;
  if (!a.isKnown() || !b.isKnown())
    return {};
  if (a == b || b.isConstant(1))
    return a;
  if (a.isConstant(1))
    return b;
  if (isAbsorbed(a, b))
    return b;
  if (isAbsorbed(b, a))
    return a;
  // Associative: one flat list without repetitions.
  SmallVector<DimExpr> list;
  for (const DimExpr *side : {&a, &b}) {
    const DimAtom *atom = side->getAtom();
    ArrayRef<DimExpr> parts = *side;
    if (atom && atom->kind == DimAtom::Kind::Broadcast)
      parts = atom->arguments;
    for (const DimExpr &part : parts)
      if (!llvm::is_contained(list, part))
        list.push_back(part);
  }
  llvm::sort(list, [](const DimExpr &x, const DimExpr &y) {
    return x.str() < y.str();
  });
  return call(DimAtom::Kind::Broadcast, list, /*nonNegative=*/true);
}

//===----------------------------------------------------------------------===//
// Parser
//===----------------------------------------------------------------------===//

namespace {
/// Recursive descent over
///   sum    := ["-"] product (("+" | "-") product)*
///   product := factor ("*" factor)*
///   factor := integer | symbol | function "(" sum ("," sum)* ")"
/// Texts come from attributes that users may edit: what is no expression gives
/// "unknown", and the depth is bounded.
class Parser {
public:
  Parser(DimContext &context, StringRef text) : context(context), rest(text) {}

  DimExpr parse() {
    DimExpr result = parseSum();
    return rest.empty() ? result : DimExpr();
  }

private:
  DimExpr parseSum() {
    if (++depth > 64)
      return {};
    bool negative = rest.consume_front("-");
    DimExpr sum = parseProduct();
    if (negative)
      sum = -sum;
    while (sum.isKnown() && !rest.empty()) {
      if (rest.consume_front("+"))
        sum = sum + parseProduct();
      else if (rest.consume_front("-"))
        sum = sum - parseProduct();
      else
        break;
    }
    --depth;
    return sum;
  }

  DimExpr parseProduct() {
    DimExpr product = parseFactor();
    while (product.isKnown() && rest.consume_front("*"))
      product = product * parseFactor();
    return product;
  }

  DimExpr parseFactor() {
    if (rest.empty())
      return {};
    if (llvm::isDigit(rest[0])) {
      int64_t value;
      return rest.consumeInteger(10, value) ? DimExpr()
                                            : DimExpr::constant(value);
    }
    size_t size = 0;
    if (rest[0] == '{') {
      for (size = 1; size < rest.size() && rest[size] != '}'; ++size)
        size += rest[size] == '\\';
      if (size >= rest.size())
        return {};
      ++size;
    } else {
      while (size < rest.size() && (isPlain(rest[size]) || rest[size] == '?'))
        ++size;
    }
    if (size == 0)
      return {};
    StringRef name = rest.take_front(size);
    rest = rest.drop_front(size);
    if (!rest.consume_front("("))
      return context.rawSymbol(name);
    SmallVector<DimExpr> arguments;
    do
      arguments.push_back(parseSum());
    while (arguments.back().isKnown() && rest.consume_front(","));
    if (!rest.consume_front(")"))
      return {};
    return apply(name, arguments);
  }

  DimExpr apply(StringRef name, ArrayRef<DimExpr> arguments) {
    if (name == "bcast" && !arguments.empty()) {
      DimExpr result = arguments[0];
      for (const DimExpr &argument : arguments.drop_front())
        result = context.broadcast(result, argument);
      return result;
    }
    if (arguments.size() != 2)
      return {};
    if (name == "floordiv")
      return context.floorDiv(arguments[0], arguments[1]);
    if (name == "min")
      return context.min(arguments[0], arguments[1]);
    if (name == "max")
      return context.max(arguments[0], arguments[1]);
    return {};
  }

  DimContext &context;
  StringRef rest;
  unsigned depth = 0;
};
} // namespace

DimExpr DimContext::parse(StringRef text) {
  if (text.size() > 4 * kMaxText)
    return {};
  return Parser(*this, text).parse();
}
