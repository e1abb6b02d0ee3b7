//===- ModelDiagnostics.cpp - diagnostics about nodes of a model ----------===//
#include "lib/Support/ModelDiagnostics.h"
#include "mlir/IR/BuiltinAttributes.h"
#include "mlir/IR/Diagnostics.h"
#include "mlir/IR/Location.h"
#include "mlir/IR/MLIRContext.h"
#include "llvm/Support/raw_ostream.h"

using namespace mlir;

namespace {

/// The node that a location stands for.
struct Node {
  FileLineColLoc place;
  StringAttr name;
};

/// Finds the first node of a model in `loc`, whatever wraps it.
Node findNode(Location loc) {
  Node node;
  loc->walk([&](Location inner) {
    if (auto named = dyn_cast<NameLoc>(inner)) {
      node.name = named.getName();
      return WalkResult::advance();
    }
    if (auto place = dyn_cast<FileLineColLoc>(inner)) {
      if (place.getFilename().getValue().ends_with(".onnx")) {
        node.place = place;
        return WalkResult::interrupt();
      }
      node.name = nullptr;
    }
    return WalkResult::advance();
  });
  return node;
}

StringRef severityName(DiagnosticSeverity severity) {
  switch (severity) {
  case DiagnosticSeverity::Note:
    return "note";
  case DiagnosticSeverity::Warning:
    return "warning";
  case DiagnosticSeverity::Error:
    return "error";
  case DiagnosticSeverity::Remark:
    return "remark";
  }
  return "error";
}

void print(Diagnostic &diagnostic, llvm::raw_ostream &os) {
  Node node = findNode(diagnostic.getLocation());
  if (node.place) {
    os << node.place.getFilename().getValue() << ": ";
    if (node.name)
      os << "node '" << node.name.getValue() << "' ";
    if (node.place.getColumn())
      os << "(#" << node.place.getLine() << "): ";
  }
  os << severityName(diagnostic.getSeverity()) << ": " << diagnostic.str()
     << "\n";
  for (Diagnostic &note : diagnostic.getNotes())
    print(note, os);
}

} // namespace

void moe::installModelDiagnostics(MLIRContext *context, llvm::raw_ostream &os) {
  context->getDiagEngine().registerHandler(
      [&os](Diagnostic &diagnostic) -> LogicalResult {
        if (!findNode(diagnostic.getLocation()).place)
          return failure();
        print(diagnostic, os);
        return success();
      });
}
