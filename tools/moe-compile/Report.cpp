//===- Report.cpp - counts and times of a compilation ---------------------===//
#include "tools/moe-compile/Report.h"

#include "lib/Support/OutputFile.h"
#include "mlir/Interfaces/LoopLikeInterface.h"
#include "mlir/Pass/Pass.h"
#include "moe/Artifact.h"
#include "passes/Lower/ONNXToLinalg/Passes.h"
#include "tools/moe-compile/Options.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/Format.h"
#include "llvm/Support/JSON.h"

using namespace mlir;
using namespace moe;
using namespace moe::compile;

/// Operators of the source model, by name; `onnx.Custom` by the name that the
/// model gives it.
static std::map<std::string, int64_t> collectOps(ModuleOp module) {
  std::map<std::string, int64_t> counts;
  module.walk([&](Operation *op) {
    StringRef dialect = op->getName().getDialectNamespace();
    if (dialect != "onnx" && dialect != "onnx_ms")
      return;
    StringRef name = op->getName().stripDialect();
    if (name == "Initializer" || name == "Return" || name == "Yield")
      return;
    std::string key = op->getName().getStringRef().str();
    if (name == "Custom") {
      auto domain = op->getAttrOfType<StringAttr>("domain");
      auto type = op->getAttrOfType<StringAttr>("op_type");
      key += " " + (domain ? domain.getValue().str() : "") +
             "::" + (type ? type.getValue().str() : "");
    }
    ++counts[key];
  });
  return counts;
}

void Report::countOps(ModuleOp module) { ops = collectOps(module); }

void Report::countFallbacks(ModuleOp module) {
  module.walk<WalkOrder::PreOrder>([&](LoopLikeOpInterface loop) {
    ++fallbacks;
    return WalkResult::skip();
  });
}

int compile::listCompilableOps(llvm::raw_ostream &os) {
  for (StringRef name : getLinalgLowerings())
    os << name << "\n";
  return 0;
}

int compile::listOps(ModuleOp module, llvm::raw_ostream &os) {
  int code = 0;
  for (const auto &[name, count] : collectOps(module)) {
    bool available = hasLinalgLowering(name);
    os << llvm::format("%6lld  ", static_cast<long long>(count)) << name
       << (available ? "" : "  (cannot be compiled)") << "\n";
    if (!available)
      code = 1;
  }
  return code;
}

bool Report::write(StringRef path, const Options &options,
                   ArrayRef<HostCpu> cpus) const {
  std::string error;
  std::unique_ptr<OutputFile> file = OutputFile::open(path, error);
  if (file) {
    uint64_t size = 0;
    if (options.output != "-")
      (void)llvm::sys::fs::file_size(options.output, size);
    llvm::json::OStream json(file->os(), 2);
    json.object([&] {
      json.attribute("input", options.input);
      json.attribute("output", options.output);
      // The names as --mcpu takes them, the most capable CPU first.
      std::string names;
      for (const HostCpu &cpu : cpus)
        names += (names.empty() ? "" : ",") + cpu.name;
      json.attribute("cpu", names);
      json.attribute("opt_level", static_cast<int64_t>(options.optLevel));
      json.attribute("output_bytes", static_cast<int64_t>(size));
      json.attribute("weight_bytes", static_cast<int64_t>(weightBytes));
      json.attribute("fallbacks", fallbacks);
      json.attributeObject("seconds", [&] {
        for (const auto &[name, time] : seconds)
          json.attribute(name, time);
      });
      json.attributeObject("operators", [&] {
        for (const auto &[name, count] : ops)
          json.attribute(name, count);
      });
    });
    file->os() << "\n";
  }
  if (file && file->keep(error))
    return true;
  reportError("cannot write '" + path.str() + "': " + error);
  return false;
}
