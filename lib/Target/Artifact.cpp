//===- Artifact.cpp - from the LLVM dialect to a model.so -----------------===//
//
// Order: weight file (its hash is part of the tables), LLVM IR, tables,
// optimisation, object, weight object, link. Intermediate objects live in a
// folder beside the output, so that large ones do not fill /tmp; the output
// appears under its name when it is complete.
//
//===----------------------------------------------------------------------===//
#include "moe/Artifact.h"

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

uint64_t moe::getWeightBytes(ModuleOp module) {
  return WeightSection(module).size();
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

LogicalResult moe::writeArtifact(ModuleOp module, StringRef path,
                                 const ArtifactOptions &options) {
  auto progress = [&](StringRef text) {
    if (options.progress)
      options.progress(text);
  };
  auto fail = [&](const Twine &text) -> LogicalResult {
    return emitError(module.getLoc()) << text;
  };

  ModelDescription model;
  if (failed(describe(module, model)))
    return failure();
  WeightSection weights(module);
  if (weights.size()) {
    model.weights = {weights.size(), weights.alignment(), ""};
    if (!options.weightsFile.empty()) {
      progress("writing weights to " + options.weightsFile);
      FailureOr<std::string> hash = weights.hash();
      if (failed(hash) ||
          failed(writeFile(
              module, options.weightsFile,
              [&](llvm::raw_ostream &os) {
                return weights.writeSafetensors(os, weightSectionName, *hash);
              },
              weightPiece)))
        return failure();
      model.weights->file = llvm::sys::path::filename(options.weightsFile);
      model.metadata.push_back({"weights_hash", *hash});
    }
  }

  progress("translating to LLVM IR");
  llvm::LLVMContext context;
  std::unique_ptr<llvm::Module> code =
      translateModuleToLLVMIR(module, context, "model");
  if (!code)
    return fail("translation to LLVM IR failed");
  std::unique_ptr<llvm::TargetMachine> machine =
      createTargetMachine(options.cpu, options.optLevel);
  if (!machine)
    return fail("this build of LLVM has no x86-64 target");
  code->setSourceFileName("model");
  code->setDataLayout(machine->createDataLayout());
  code->setTargetTriple(machine->getTargetTriple());
  emitModelTables(*code, model, options.cpu);
  std::string broken;
  llvm::raw_string_ostream brokenStream(broken);
  if (llvm::verifyModule(*code, &brokenStream))
    return fail("internal error: invalid LLVM IR: " + broken);
  progress("optimising");
  optimise(*code, *machine, options.cpu, options.optLevel);
  if (options.kind == ArtifactKind::LLVMIR)
    return writeFile(module, path, [&](llvm::raw_ostream &os) {
      code->print(os, nullptr);
      return success();
    });

  // Intermediate files: a folder beside the output, removed at the end.
  llvm::SmallString<128> folder;
  llvm::SmallString<128> prefix(path);
  prefix += ".tmp";
  if (std::error_code error =
          llvm::sys::fs::createUniqueDirectory(prefix, folder))
    return fail("cannot write beside '" + path + "': " + error.message());
  llvm::scope_exit cleanUp(
      [&] { (void)llvm::sys::fs::remove_directories(folder); });
  auto inFolder = [&](StringRef name) {
    llvm::SmallString<128> file(folder);
    llvm::sys::path::append(file, name);
    return std::string(file);
  };

  std::vector<std::string> objects = {inFolder("model.o")};
  progress("generating code");
  {
    llvm::SmallVector<char, 0> bytes;
    std::string why;
    if (!emitObject(*code, *machine, bytes, why))
      return fail("internal error: no code was generated: " + why);
    if (failed(writeFile(module, objects.back(), [&](llvm::raw_ostream &file) {
          file.write(bytes.data(), bytes.size());
          return success();
        })))
      return failure();
  }
  code.reset();

  if (model.weights && model.weights->file.empty()) {
    progress("writing weights");
    objects.push_back(inFolder("weights.o"));
    if (failed(writeFile(module, objects.back(), [&](llvm::raw_ostream &os) {
          return weights.writeObject(os, weightSymbol);
        })))
      return failure();
  }

  progress("linking");
  std::string linked = inFolder("linked"), error;
  if (!link(objects, linked, options.kind == ArtifactKind::Object, error))
    return fail("linking failed: " + error);
  if (options.kind == ArtifactKind::Object)
    (void)llvm::sys::fs::setPermissions(linked, llvm::sys::fs::perms(0644));
  // The linker writes page by page.
  if (model.weights && model.weights->file.empty() &&
      options.kind == ArtifactKind::SharedObject) {
    std::string whole = inFolder("whole");
    if (failed(rewrite(module, linked, whole)))
      return failure();
    linked = whole;
  }
  if (std::error_code code = llvm::sys::fs::rename(linked, path))
    return fail("cannot write '" + path + "': " + code.message());
  return success();
}
