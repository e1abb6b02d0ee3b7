//===- Artifact.cpp - from the LLVM dialect to a model.so -----------------===//
//
// Order: weight file (its hash is part of the tables); for each CPU LLVM IR,
// tables, optimisation, object; weight objects, link. Intermediate objects live
// in a folder beside the output, so that large ones do not fill /tmp; the
// output appears under its name when it is complete.
//
//===----------------------------------------------------------------------===//
#include "moe/Artifact.h"
#include "dialects/Rt/RtDialect.h"

#include "lib/Support/OutputFile.h"
#include "lib/Target/HostMachine.h"
#include "lib/Target/Link.h"
#include "lib/Target/ModelTables.h"
#include "lib/Target/WeightWriter.h"

#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/IR/BuiltinOps.h"
#include "mlir/Target/LLVMIR/Dialect/Builtin/BuiltinToLLVMIRTranslation.h"
#include "mlir/Target/LLVMIR/Dialect/LLVMIR/LLVMToLLVMIRTranslation.h"
#include "mlir/Target/LLVMIR/Export.h"
#include "llvm/ADT/ScopeExit.h"
#include "llvm/IR/LLVMContext.h"
#include "llvm/IR/Module.h"
#include "llvm/IR/Verifier.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/MemoryBuffer.h"
#include "llvm/Support/Path.h"
#include "llvm/Support/raw_ostream.h"
#include "llvm/Target/TargetMachine.h"

using namespace mlir;
using namespace moe;

void moe::registerArtifactTranslations(DialectRegistry &registry) {
  registerBuiltinDialectTranslation(registry);
  registerLLVMDialectTranslation(registry);
}

uint64_t moe::getWeightBytes(ArrayRef<ModuleOp> modules) {
  uint64_t bytes = 0;
  for (const WeightSection &section : getSections(modules))
    bytes += section.size();
  return bytes;
}

/// Collects what the tables say from the module's attributes.
static LogicalResult describe(ModuleOp module, ModelDescription &model) {
  module.walk([&](LLVM::LLVMFuncOp function) {
    auto signature = function->getAttrOfType<DictionaryAttr>("rt.signature");
    if (!signature)
      return;
    StringRef symbol = function.getName();
    StringRef name = symbol;
    name.consume_back(".run");
    model.entries.push_back({name.str(), symbol.str(), signature});
  });
  if (model.entries.empty())
    return module.emitError(
        "nothing to compile: no function has been lowered to an entry");
  if (auto ops = module->getAttrOfType<ArrayAttr>(rt::profileOpsAttr))
    for (auto op : ops.getAsRange<DictionaryAttr>())
      model.ops.push_back({op.getAs<StringAttr>("name").str(),
                           op.getAs<StringAttr>("kind").str()});
  if (auto description = module->getAttrOfType<DictionaryAttr>("onnx.model")) {
    if (auto name = description.getAs<StringAttr>("graph_name"))
      model.name = name.str();
    if (auto metadata = description.getAs<DictionaryAttr>("metadata_props"))
      for (NamedAttribute entry : metadata)
        if (auto value = dyn_cast<StringAttr>(entry.getValue()))
          model.metadata.push_back(
              {entry.getName().str(), value.getValue().str()});
  }
  return success();
}

/// Bytes of one write to a file with weights. The page cache takes memory for
/// what is written at once: only in pieces of 2 MiB and more can it later be
/// mapped as huge pages, with which weights are read about twice as fast.
static constexpr size_t weightPiece = size_t(32) << 20;

/// Writes a file whole or not at all; `write` reports its own errors.
static LogicalResult
writeFile(ModuleOp module, StringRef path,
          function_ref<LogicalResult(llvm::raw_ostream &)> write,
          size_t piece = 0) {
  std::string error;
  std::unique_ptr<OutputFile> file = OutputFile::open(path, error);
  if (file && piece)
    file->os().SetBufferSize(piece);
  if (file && failed(write(file->os())))
    return failure();
  if (!file || !file->keep(error))
    return emitError(module.getLoc())
           << "cannot write '" << path << "': " << error;
  return success();
}

/// Copies a file that holds weights in large pieces, with its permissions.
static LogicalResult rewrite(ModuleOp module, StringRef from, StringRef to) {
  auto source = llvm::MemoryBuffer::getFile(from, /*IsText=*/false,
                                            /*RequiresNullTerminator=*/false);
  if (!source)
    return emitError(module.getLoc())
           << "cannot read '" << from << "': " << source.getError().message();
  if (failed(writeFile(
          module, to,
          [&](llvm::raw_ostream &os) {
            writeBuffered(os, (*source)->getBuffer());
            return success();
          },
          weightPiece)))
    return failure();
  llvm::ErrorOr<llvm::sys::fs::perms> permissions =
      llvm::sys::fs::getPermissions(from);
  if (permissions)
    (void)llvm::sys::fs::setPermissions(to, *permissions);
  return success();
}

namespace {

/// Writes one artifact.
class ArtifactWriter {
public:
  ArtifactWriter(ArrayRef<ArtifactPart> parts, StringRef path,
                 const ArtifactOptions &options)
      : parts(parts), path(path), options(options),
        module(parts.front().module) {
    SmallVector<ModuleOp> modules;
    for (const ArtifactPart &part : parts)
      modules.push_back(part.module);
    sections = getSections(modules);
  }

  LogicalResult run();

private:
  void progress(const Twine &text) {
    if (options.progress)
      options.progress(text.str());
  }
  LogicalResult fail(const Twine &text) {
    return emitError(module.getLoc()) << text;
  }
  /// " for CPU" if there are several.
  std::string suffix(const ArtifactPart &part) {
    return parts.size() > 1 ? " for " + part.cpu.name : "";
  }
  std::string inFolder(const Twine &name) {
    llvm::SmallString<128> file(folder);
    llvm::sys::path::append(file, name);
    return std::string(file);
  }
  bool embedsWeights() const {
    return !sections.empty() && options.weightsFile.empty();
  }

  LogicalResult writeWeightsFile();
  LogicalResult describePart(const ArtifactPart &part, ModelDescription &model);
  LogicalResult
  generate(size_t number,
           function_ref<LogicalResult(llvm::Module &, llvm::TargetMachine &)>
               consume);
  LogicalResult writeObjects();
  LogicalResult linkObjects();

  ArrayRef<ArtifactPart> parts;
  StringRef path;
  const ArtifactOptions &options;
  ModuleOp module;
  std::vector<WeightSection> sections;
  std::string weightsHash;
  /// For intermediate files, beside the output; removed at the end.
  llvm::SmallString<128> folder;
  std::vector<std::string> objects;
};

LogicalResult ArtifactWriter::writeWeightsFile() {
  progress("writing weights to " + options.weightsFile);
  for (size_t i = 0; i + 1 < sections.size(); ++i)
    sections[i].padTo(sections[i + 1].alignment());
  FailureOr<std::string> hash = hashSections(sections);
  if (failed(hash))
    return failure();
  weightsHash = *hash;
  return writeFile(
      module, options.weightsFile,
      [&](llvm::raw_ostream &os) {
        return writeSafetensors(sections, os, weightsHash);
      },
      weightPiece);
}

LogicalResult ArtifactWriter::describePart(const ArtifactPart &part,
                                           ModelDescription &model) {
  if (failed(describe(part.module, model)))
    return failure();
  for (const WeightSection &own : getSections(part.module)) {
    for (auto [number, section] : llvm::enumerate(sections))
      if (section.name() == own.name())
        model.weights.push_back(
            {section.name().str(), section.size(), section.alignment(),
             embedsWeights() ? getWeightSymbol(number) : "",
             llvm::sys::path::filename(options.weightsFile).str()});
  }
  if (!weightsHash.empty())
    model.metadata.push_back({"weights_hash", weightsHash});
  return success();
}

/// Translates and optimises one part.
LogicalResult ArtifactWriter::generate(
    size_t number,
    function_ref<LogicalResult(llvm::Module &, llvm::TargetMachine &)>
        consume) {
  const ArtifactPart &part = parts[number];
  ModelDescription model;
  if (failed(describePart(part, model)))
    return failure();
  progress("translating to LLVM IR" + suffix(part));
  llvm::LLVMContext context;
  std::unique_ptr<llvm::Module> code =
      translateModuleToLLVMIR(part.module, context, "model");
  if (!code)
    return fail("translation to LLVM IR failed");
  std::unique_ptr<llvm::TargetMachine> machine =
      createTargetMachine(part.cpu, options.optLevel);
  if (!machine)
    return fail("this build of LLVM has no x86-64 target");
  code->setSourceFileName("model");
  code->setDataLayout(machine->createDataLayout());
  code->setTargetTriple(machine->getTargetTriple());
  emitModelTables(*code, model, part.cpu, number, parts.size());
  std::string broken;
  llvm::raw_string_ostream brokenStream(broken);
  if (llvm::verifyModule(*code, &brokenStream))
    return fail("internal error: invalid LLVM IR: " + broken);
  progress("optimising");
  optimise(*code, *machine, part.cpu, options.optLevel);
  return consume(*code, *machine);
}

LogicalResult ArtifactWriter::writeObjects() {
  for (size_t number = 0; number < parts.size(); ++number) {
    objects.push_back(inFolder("model" + Twine(number) + ".o"));
    auto emit = [&](llvm::Module &code, llvm::TargetMachine &machine) {
      progress("generating code");
      llvm::SmallVector<char, 0> bytes;
      std::string why;
      if (!emitObject(code, machine, bytes, why))
        return fail("internal error: no code was generated: " + why);
      return writeFile(module, objects.back(), [&](llvm::raw_ostream &file) {
        file.write(bytes.data(), bytes.size());
        return success();
      });
    };
    if (failed(generate(number, emit)))
      return failure();
  }
  if (!embedsWeights())
    return success();
  progress("writing weights");
  for (auto [number, section] : llvm::enumerate(sections)) {
    objects.push_back(inFolder("weights" + Twine(number) + ".o"));
    if (failed(writeFile(
            module, objects.back(),
            [&, &section = section, number = number](llvm::raw_ostream &os) {
              return section.writeObject(os, getWeightSymbol(number));
            })))
      return failure();
  }
  return success();
}

LogicalResult ArtifactWriter::linkObjects() {
  progress("linking");
  std::string linked = inFolder("linked"), error;
  if (!link(objects, linked, options.kind == ArtifactKind::Object, error))
    return fail("linking failed: " + error);
  if (options.kind == ArtifactKind::Object)
    (void)llvm::sys::fs::setPermissions(linked, llvm::sys::fs::perms(0644));
  // The linker writes page by page.
  if (embedsWeights() && options.kind == ArtifactKind::SharedObject) {
    std::string whole = inFolder("whole");
    if (failed(rewrite(module, linked, whole)))
      return failure();
    linked = whole;
  }
  if (std::error_code code = llvm::sys::fs::rename(linked, path))
    return fail("cannot write '" + path + "': " + code.message());
  return success();
}

LogicalResult ArtifactWriter::run() {
  if (!sections.empty() && !options.weightsFile.empty() &&
      failed(writeWeightsFile()))
    return failure();
  if (options.kind == ArtifactKind::LLVMIR) {
    if (parts.size() != 1)
      return fail("LLVM IR of " + Twine(parts.size()) +
                  " CPUs; that of one is accepted");
    return generate(0, [&](llvm::Module &code, llvm::TargetMachine &) {
      return writeFile(module, path, [&](llvm::raw_ostream &os) {
        code.print(os, nullptr);
        return success();
      });
    });
  }
  if (std::error_code error =
          llvm::sys::fs::createUniqueDirectory(path + ".tmp", folder))
    return fail("cannot write beside '" + path + "': " + error.message());
  llvm::scope_exit cleanUp(
      [&] { (void)llvm::sys::fs::remove_directories(folder); });
  if (failed(writeObjects()))
    return failure();
  return linkObjects();
}

} // namespace

LogicalResult moe::writeArtifact(ArrayRef<ArtifactPart> parts, StringRef path,
                                 const ArtifactOptions &options) {
  return ArtifactWriter(parts, path, options).run();
}
