//===- ModelTables.h - the constant tables of a model -----------*- C++ -*-===//
#ifndef MOE_LIB_TARGET_MODELTABLES_H
#define MOE_LIB_TARGET_MODELTABLES_H

#include "moe/Artifact.h"

#include "mlir/IR/BuiltinAttributes.h"
#include <optional>
#include <utility>
#include <vector>

namespace llvm {
class Module;
} // namespace llvm

namespace moe {

/// Symbol of the embedded weight section.
inline constexpr const char *weightSymbol = "moe.weights";
/// Its name in tables and weight files.
inline constexpr const char *weightSectionName = "weights";

/// What the tables of moe_model hold.
struct ModelDescription {
  struct Entry {
    std::string name;     // of the function in the model
    std::string function; // symbol of its code
    mlir::DictionaryAttr signature;
  };
  struct Weights {
    uint64_t size;
    uint64_t alignment;
    std::string file; // empty: embedded
  };

  std::string name;
  std::vector<Entry> entries;
  std::optional<Weights> weights;
  std::vector<std::pair<std::string, std::string>> metadata;
};

/// Emits the tables and `moe_model_query` into `module`; all else that it
/// defines becomes internal.
void emitModelTables(llvm::Module &module, const ModelDescription &model,
                     const HostCpu &cpu);

} // namespace moe

#endif // MOE_LIB_TARGET_MODELTABLES_H
