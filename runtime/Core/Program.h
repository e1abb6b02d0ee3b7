//===- Program.h - a loaded model -----------------------------------------===//
#ifndef MOE_RUNTIME_CORE_PROGRAM_H
#define MOE_RUNTIME_CORE_PROGRAM_H

#include "runtime/Core/Weights.h"

#include <memory>
#include <string>

namespace moe::runtime {

/// A checked model and its weights. Immutable: any number of sessions of any
/// number of threads share it.
class Program {
public:
  /// From the shared library `path`; see moe_program_load.
  static Status load(const std::string &path,
                     std::shared_ptr<const Program> &program);
  /// From a table in this process; see moe_program_from_model.
  static Status fromModel(const moe_model *model, const std::string &folder,
                          std::shared_ptr<const Program> &program);
  ~Program();
  Program(const Program &) = delete;
  Program &operator=(const Program &) = delete;

  const moe_model &model() const { return *table; }
  const void *const *weights() const { return sections.bases(); }

  /// The function of that name, the first one for null; null if absent.
  const moe_function *function(const char *name) const;

private:
  Program() = default;
  Status adopt(const moe_model *model, const std::string &folder);

  void *library = nullptr;
  const moe_model *table = nullptr;
  Weights sections;
};

} // namespace moe::runtime

#endif // MOE_RUNTIME_CORE_PROGRAM_H
