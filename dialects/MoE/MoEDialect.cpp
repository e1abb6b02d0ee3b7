//===- MoEDialect.cpp - the dialect of experts and routers ----------------===//
//
// Registration, and the attributes: their text and what their fields may hold.
//
//===----------------------------------------------------------------------===//

#include "dialects/MoE/MoEDialect.h"
#include "dialects/ONNX/ONNXDialect.h"
#include "llvm/ADT/SmallSet.h"
#include "llvm/ADT/TypeSwitch.h"
#include <charconv>
#include <cmath>

using namespace mlir;
using namespace moe::ir;

#include "dialects/MoE/MoEDialect.cpp.inc"
#include "dialects/MoE/MoEEnums.cpp.inc"

#define GET_ATTRDEF_CLASSES
#include "dialects/MoE/MoEAttrs.cpp.inc"

#define GET_OP_CLASSES
#include "dialects/MoE/MoEOps.cpp.inc"

void MoEDialect::registerAttributes() {
  addAttributes<
#define GET_ATTRDEF_LIST
#include "dialects/MoE/MoEAttrs.cpp.inc"
      >();
}

void MoEDialect::initialize() {
  registerAttributes();
  addOperations<
#define GET_OP_LIST
#include "dialects/MoE/MoEOps.cpp.inc"
      >();
}

//===----------------------------------------------------------------------===//
// Text of parameters
//===----------------------------------------------------------------------===//

/// The shortest decimal that reads back as `value`, with the point that MLIR's
/// floats need.
static std::string toText(double value) {
  if (!std::isfinite(value))
    return std::isnan(value) ? "nan" : value < 0 ? "-inf" : "inf";
  char digits[32];
  auto [end, error] = std::to_chars(digits, digits + sizeof(digits), value);
  std::string text(digits, end);
  if (text.find('.') == std::string::npos) {
    size_t exponent = text.find('e');
    text.insert(exponent == std::string::npos ? text.size() : exponent, ".0");
  }
  return text;
}

void moe::ir::printReal(AsmPrinter &printer, const APFloat &value) {
  printer << toText(value.convertToDouble());
}

FailureOr<APFloat> moe::ir::parseReal(AsmParser &parser) {
  double value;
  if (parser.parseFloat(value))
    return failure();
  return APFloat(value);
}

void moe::ir::printIndices(AsmPrinter &printer, ArrayRef<int64_t> values) {
  printer << '[';
  llvm::interleaveComma(values, printer);
  printer << ']';
}

FailureOr<SmallVector<int64_t>> moe::ir::parseIndices(AsmParser &parser) {
  SmallVector<int64_t> values;
  if (parser.parseCommaSeparatedList(AsmParser::Delimiter::Square, [&] {
        return parser.parseInteger(values.emplace_back());
      }))
    return failure();
  return values;
}

//===----------------------------------------------------------------------===//
// Codes
//===----------------------------------------------------------------------===//

LogicalResult CodesAttr::verify(function_ref<InFlightDiagnostic()> emitError,
                                int64_t bits, int64_t block) {
  if (bits != 2 && bits != 4 && bits != 8)
    return emitError() << "bits = " << bits << "; 2, 4 and 8 are accepted";
  if (block < 0)
    return emitError() << "block = " << block
                       << "; numbers from 0 (the whole row) are accepted";
  return success();
}

//===----------------------------------------------------------------------===//
// Groups and routing
//===----------------------------------------------------------------------===//

LogicalResult GroupsAttr::verify(function_ref<InFlightDiagnostic()> emitError,
                                 int64_t n, int64_t keep, GroupReduce,
                                 GroupFill) {
  if (n < 1)
    return emitError() << "n = " << n << " groups; at least 1 is accepted";
  if (keep < 1 || keep > n)
    return emitError() << "keep = " << keep << " of n = " << n
                       << " groups; 1 to " << n << " are accepted";
  return success();
}

/// Indices of a list: from 0, none twice.
static LogicalResult verifyIndices(function_ref<InFlightDiagnostic()> emitError,
                                   StringRef name, ArrayRef<int64_t> values) {
  llvm::SmallSet<int64_t, 8> seen;
  for (int64_t value : values) {
    if (value < 0)
      return emitError() << name << " holds " << value
                         << "; numbers from 0 are accepted";
    if (!seen.insert(value).second)
      return emitError() << name << " holds " << value
                         << " twice; distinct numbers are accepted";
  }
  return success();
}

LogicalResult
RoutingAttr::verify(function_ref<InFlightDiagnostic()> emitError, int64_t k,
                    ArrayRef<int64_t> ranks, Score score, ScoreOn score_on,
                    Select select, GroupsAttr groups, Norm norm, APFloat eps,
                    APFloat p, APFloat scale, bool k_div, APFloat softcap,
                    APFloat logit_mult, APFloat logit_std, APFloat jitter,
                    APFloat min_ratio, APFloat top_p, APFloat min_prob,
                    ArrayRef<int64_t> null_before_norm, Tie) {
  if (k < 1)
    return emitError() << "k = " << k
                       << " experts per token; at least 1 is accepted";
  if (failed(verifyIndices(emitError, "ranks", ranks)) ||
      failed(verifyIndices(emitError, "null_before_norm", null_before_norm)))
    return failure();
  if (!ranks.empty() && static_cast<int64_t>(ranks.size()) != k)
    return emitError() << "ranks has " << ranks.size()
                       << " entries for k = " << k
                       << "; one for each of the k slots is accepted";

  struct Range {
    StringRef name;
    const APFloat &value;
    double least, most;
  };
  constexpr double inf = std::numeric_limits<double>::infinity();
  for (const Range &range :
       {Range{"eps", eps, 0, inf}, Range{"p", p, 0, inf},
        Range{"scale", scale, -inf, inf}, Range{"softcap", softcap, 0, inf},
        Range{"logit_mult", logit_mult, -inf, inf},
        Range{"logit_std", logit_std, 0, inf}, Range{"jitter", jitter, 0, inf},
        Range{"min_ratio", min_ratio, 0, inf}, Range{"top_p", top_p, 0, 1},
        Range{"min_prob", min_prob, 0, inf}}) {
    if (&range.value.getSemantics() != &APFloat::IEEEdouble())
      return emitError() << range.name << " is no f64";
    double value = range.value.convertToDouble();
    if (!range.value.isFinite() || value < range.least || value > range.most) {
      InFlightDiagnostic diagnostic = emitError();
      diagnostic << range.name << " = " << toText(value) << "; ";
      if (range.most == 1)
        return diagnostic << "0 to 1 are accepted";
      return diagnostic << (range.least == 0 ? "finite numbers from 0 are "
                                             : "finite numbers are ")
                        << "accepted";
    }
  }
  if (p.isZero())
    return emitError() << "p = 0.0; numbers above 0 are accepted";
  if (norm != Norm::Sum && norm != Norm::SumClamp && !eps.isZero())
    return emitError() << "eps = " << toText(eps.convertToDouble())
                       << " with norm = " << stringifyNorm(norm)
                       << "; norm = sum or sum_clamp is accepted with it";
  if (norm != Norm::Lp && p.convertToDouble() != 1)
    return emitError() << "p = " << toText(p.convertToDouble())
                       << " with norm = " << stringifyNorm(norm)
                       << "; norm = lp is accepted with it";
  if (!null_before_norm.empty() && k == 1)
    return emitError() << "null_before_norm with k = 1: the only weight may "
                          "become 0 / 0; k of 2 or more is accepted";

  if (score != Score::SparseMixer) {
    if (!jitter.isZero())
      return emitError() << "jitter = " << toText(jitter.convertToDouble())
                         << " with score = " << stringifyScore(score)
                         << "; score = sparsemixer is accepted with it";
    return success();
  }
  if (k != 2)
    return emitError() << "score = sparsemixer with k = " << k
                       << "; k = 2 is accepted";
  auto isDefault = [](const APFloat &value, double otherwise) {
    return value.convertToDouble() == otherwise;
  };
  StringRef field = !ranks.empty()              ? "ranks"
                    : score_on != ScoreOn::All  ? "score_on"
                    : select != Select::ByScore ? "select"
                    : groups                    ? "groups"
                    : norm != Norm::None        ? "norm"
                    : !isDefault(scale, 1)      ? "scale"
                    : k_div                     ? "k_div"
                    : !isDefault(min_ratio, 0)  ? "min_ratio"
                    : !isDefault(top_p, 1)      ? "top_p"
                    : !isDefault(min_prob, 0)   ? "min_prob"
                    : !null_before_norm.empty() ? "null_before_norm"
                                                : "";
  if (!field.empty())
    return emitError() << "score = sparsemixer with " << field
                       << "; only k, jitter, logit_mult, softcap, logit_std "
                          "and tie are accepted with it";
  return success();
}

Routing::Routing(RoutingAttr attr)
    : k(attr.getK()), ranks(attr.getRanks()), score(attr.getScore()),
      scoreOn(attr.getScoreOn()), select(attr.getSelect()),
      groups(attr.getGroups()), norm(attr.getNorm()),
      eps(attr.getEps().convertToDouble()), p(attr.getP().convertToDouble()),
      scale(attr.getScale().convertToDouble()), kDiv(attr.getKDiv()),
      softcap(attr.getSoftcap().convertToDouble()),
      logitMult(attr.getLogitMult().convertToDouble()),
      logitStd(attr.getLogitStd().convertToDouble()),
      jitter(attr.getJitter().convertToDouble()),
      minRatio(attr.getMinRatio().convertToDouble()),
      topP(attr.getTopP().convertToDouble()),
      minProb(attr.getMinProb().convertToDouble()),
      nullBeforeNorm(attr.getNullBeforeNorm()), tie(attr.getTie()) {}

RoutingAttr Routing::getChecked(function_ref<InFlightDiagnostic()> emitError,
                                MLIRContext *context) const {
  auto real = [](double value) { return APFloat(value); };
  return RoutingAttr::getChecked(
      emitError, context, k, ranks, score, scoreOn, select, groups, norm,
      real(eps), real(p), real(scale), kDiv, real(softcap), real(logitMult),
      real(logitStd), real(jitter), real(minRatio), real(topP), real(minProb),
      nullBeforeNorm, tie);
}

RoutingAttr Routing::get(MLIRContext *context) const {
  return getChecked([&] { return mlir::emitError(UnknownLoc::get(context)); },
                    context);
}
