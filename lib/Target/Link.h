//===- Link.h - linking in process ------------------------------*- C++ -*-===//
#ifndef MOE_LIB_TARGET_LINK_H
#define MOE_LIB_TARGET_LINK_H

#include "llvm/ADT/ArrayRef.h"
#include "llvm/ADT/StringRef.h"
#include <string>

namespace moe {

/// Links `objects` to a shared object, or with `relocatable` to one object. The
/// result needs nothing but libc and libm. False with what the linker said in
/// `error` if it fails.
bool link(llvm::ArrayRef<std::string> objects, llvm::StringRef output,
          bool relocatable, std::string &error);

} // namespace moe

#endif // MOE_LIB_TARGET_LINK_H
