//===- Signatures.cpp - what the schemas say of an operator ---------------===//

#include "dialects/ONNX/Signatures.h"
#include "dialects/ONNX/ONNXNewestOpset.h.inc"
#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/StringMap.h"
#include "llvm/ADT/Twine.h"
#include <vector>

using namespace moe::onnx;
using llvm::ArrayRef;
using llvm::StringRef;

namespace {
/// The table that generate_ods.py writes. Rows refer to storage that each
/// macro use creates, so the whole table is built once, on first use.
struct SignatureTable {
  std::vector<OpSignature> rows;
  llvm::StringMap<const OpSignature *> byName;

  template <typename T> static ArrayRef<T> keep(std::initializer_list<T> list) {
    auto *copy = new std::vector<T>(list);
    return *copy;
  }

  SignatureTable() {
#define FORMALS(...) keep<Formal>({__VA_ARGS__})
#define ATTRS(...) keep<AttrFormal>({__VA_ARGS__})
#define SIGNATURE(NAME, DOMAIN, SINCE, MIN_IN, MAX_IN, MIN_OUT, MAX_OUT,       \
                  OPERANDS, RESULTS, ATTRIBUTES)                               \
  rows.push_back({NAME, DOMAIN, SINCE, MIN_IN, MAX_IN, MIN_OUT, MAX_OUT,       \
                  OPERANDS, RESULTS, ATTRIBUTES});
#include "dialects/ONNX/ONNXSignatures.inc"
#undef SIGNATURE
#undef ATTRS
#undef FORMALS
    llvm::sort(rows, [](const OpSignature &a, const OpSignature &b) {
      return a.opName < b.opName;
    });
    for (const OpSignature &row : rows)
      byName[row.opName] = &row;
  }
};

const SignatureTable &table() {
  // Lives as long as the process: rows are handed out by reference.
  static const SignatureTable *instance = new SignatureTable;
  return *instance;
}
} // namespace

unsigned OpSignature::countSegments(ArrayRef<Formal> formals) {
  return llvm::count_if(
      formals, [](const Formal &f) { return f.kind != FormalKind::Single; });
}

int moe::onnx::getNewestOpset() { return kNewestOpset; }

const OpSignature *moe::onnx::lookupSignature(StringRef opName) {
  return table().byName.lookup(opName);
}

StringRef moe::onnx::lookupOpName(StringRef domain, StringRef opType) {
  const char *ownDialect = domain == "com.microsoft" ? "onnx_ms." : "onnx.";
  if (domain != "" && domain != "ai.onnx" && domain != "com.microsoft")
    return {};
  if (auto *own = lookupSignature((llvm::Twine(ownDialect) + opType).str()))
    return own->opName;
  // ONNX Runtime registers the simplified norms in the default domain.
  if (opType == "SimplifiedLayerNormalization" ||
      opType == "SkipSimplifiedLayerNormalization")
    if (auto *contrib = lookupSignature((llvm::Twine("onnx_ms.") + opType).str()))
      return contrib->opName;
  return {};
}

ArrayRef<OpSignature> moe::onnx::getAllSignatures() { return table().rows; }
