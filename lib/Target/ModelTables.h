//===- ModelTables.h - the constant tables of a model -----------*- C++ -*-===//
#ifndef MOE_LIB_TARGET_MODELTABLES_H
#define MOE_LIB_TARGET_MODELTABLES_H

#include "moe/Artifact.h"

#include "mlir/IR/BuiltinAttributes.h"
#include <string>
#include <utility>
#include <vector>

namespace llvm {
class Module;
} // namespace llvm

namespace moe {

/// Symbol of an embedded weight section, by its number in the artifact.
std::string getWeightSymbol(size_t number);

/// What the tables of moe_model hold.
struct ModelDescription {
  struct Entry {
    std::string name;     // of the function in the model
    std::string function; // symbol of its code
    mlir::DictionaryAttr signature;
  };
  struct Weights {
    std::string name;
    uint64_t size;
    uint64_t alignment;
    std::string symbol; // empty: in a file
    std::string file;   // empty: embedded
  };

  struct Op {
    std::string name, kind;
  };

  std::string name;
  std::vector<Entry> entries;
  /// Of a profile; entries share them.
  std::vector<Op> ops;
  std::vector<Weights> weights;
  std::vector<std::pair<std::string, std::string>> metadata;
};

/// Emits the tables into `module`, the one with this number of `count` that go
/// into one artifact; all else that it defines becomes internal. The tables of
/// a module point to those of the next one, the first module has
/// `moe_model_query`.
void emitModelTables(llvm::Module &module, const ModelDescription &model,
                     const HostCpu &cpu, size_t number, size_t count);

} // namespace moe

#endif // MOE_LIB_TARGET_MODELTABLES_H
