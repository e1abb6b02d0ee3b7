//===- Link.cpp - linking in process --------------------------------------===//
//
// Calls lld as a library. libc and libm are those that this very process has
// loaded, so no development files and no compiler need be installed; -z defs
// makes the linker refuse any symbol that they do not have.
//
//===----------------------------------------------------------------------===//
#include "lib/Target/Link.h"

#include "lld/Common/Driver.h"
#include "llvm/Support/raw_ostream.h"
#include <dlfcn.h>
#include <mutex>
#include <vector>

LLD_HAS_DRIVER(elf)

/// The shared library that defines `symbol` for this process.
static std::string findLibrary(const char *symbol) {
  void *address = dlsym(RTLD_DEFAULT, symbol);
  Dl_info info;
  if (!address || !dladdr(address, &info) || !info.dli_fname)
    return {};
  return info.dli_fname;
}

bool moe::link(llvm::ArrayRef<std::string> objects, llvm::StringRef output,
               bool relocatable, std::string &error) {
  std::vector<std::string> arguments = {"ld.lld", "-o", output.str()};
  if (relocatable) {
    arguments.push_back("-r");
  } else {
    std::string libm = findLibrary("tanhf"), libc = findLibrary("memcpy");
    if (libm.empty() || libc.empty()) {
      error = "cannot find libm.so.6 and libc.so.6 of this system";
      return false;
    }
    for (const char *option :
         {"-shared", "-z", "now", "-z", "relro", "-z", "defs", "-z",
          "noexecstack", "--build-id=none", "--hash-style=gnu",
          "--gc-sections", "--as-needed"})
      arguments.push_back(option);
    arguments.push_back(libm);
    arguments.push_back(libc);
  }
  llvm::append_range(arguments, objects);

  std::vector<const char *> pointers;
  for (const std::string &argument : arguments)
    pointers.push_back(argument.c_str());
  // lld keeps its state in globals.
  static std::mutex mutex;
  std::lock_guard<std::mutex> lock(mutex);
  llvm::raw_string_ostream messages(error);
  lld::Result result = lld::lldMain(pointers, llvm::nulls(), messages,
                                    {{lld::Gnu, &lld::elf::link}});
  if (result.retCode == 0)
    return true;
  llvm::StringRef text = llvm::StringRef(error).trim();
  error = text.empty() ? "the linker failed" : text.str();
  return false;
}
