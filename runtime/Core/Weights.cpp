//===- Weights.cpp - the constants of a model -----------------------------===//
//
// Files are mapped read only, never copied: pages come in on demand and are
// shared by all processes that run the model.
//
//===----------------------------------------------------------------------===//

#include "runtime/Core/Weights.h"

#include "runtime/Core/Json.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

namespace moe::runtime {
namespace {

constexpr uint64_t kPage = 4096;
constexpr uint64_t kHugePage = uint64_t(2) << 20;
/// Our headers have a few hundred bytes; a longer one is no file of ours.
constexpr uint64_t kMaxHeader = uint64_t(16) << 20;
constexpr uint64_t kMaxAlignment = uint64_t(1) << 30;

/// Closes a file at the end of a scope.
struct File {
  int descriptor;
  explicit File(const std::string &path)
      : descriptor(::open(path.c_str(), O_RDONLY | O_CLOEXEC)) {}
  ~File() {
    if (descriptor >= 0)
      ::close(descriptor);
  }
};

bool readAll(int descriptor, void *data, size_t size, off_t offset) {
  while (size > 0) {
    ssize_t got = pread(descriptor, data, size, offset);
    if (got < 0 && errno == EINTR)
      continue;
    if (got <= 0)
      return false;
    data = static_cast<char *>(data) + got;
    size -= got;
    offset += got;
  }
  return true;
}

/// Asks for early reading and, where the system has them for files, for huge
/// pages. Advice only: it may fail without harm.
void advise(const void *data, uint64_t size) {
  auto begin = reinterpret_cast<uintptr_t>(data);
  uintptr_t page = begin / kPage * kPage;
  auto *first = reinterpret_cast<void *>(page);
  size_t length = begin + size - page;
  if (size >= kHugePage)
    (void)madvise(first, length, MADV_HUGEPAGE);
  (void)madvise(first, length, MADV_WILLNEED);
}

/// Maps `size` bytes of the file from `offset` on so that the first lies at a
/// multiple of `alignment` (`offset` is a multiple of min(alignment, page)).
void *mapAligned(int descriptor, uint64_t offset, uint64_t size,
                 uint64_t alignment, void *&map, size_t &mapSize) {
  uint64_t lead = offset % kPage;
  uint64_t align = std::max(alignment, kPage);
  mapSize = lead + size;
  size_t reserved = mapSize + align;
  void *space = mmap(nullptr, reserved, PROT_NONE,
                     MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (space == MAP_FAILED)
    return nullptr;
  auto begin = reinterpret_cast<uintptr_t>(space);
  uintptr_t target = (begin + align - 1) / align * align;
  map = mmap(reinterpret_cast<void *>(target), mapSize, PROT_READ,
             MAP_PRIVATE | MAP_FIXED, descriptor, off_t(offset - lead));
  if (map == MAP_FAILED) {
    munmap(space, reserved);
    return nullptr;
  }
  uintptr_t end = (target + mapSize + kPage - 1) / kPage * kPage;
  if (target > begin)
    munmap(space, target - begin);
  if (begin + reserved > end)
    munmap(reinterpret_cast<void *>(end), begin + reserved - end);
  return static_cast<char *>(map) + lead;
}

/// Where a section lies in its file.
struct Location {
  uint64_t begin; // from the start of the data area
  uint64_t end;
};

/// The last entry counts: the compiler's own follow those of the source model.
const char *metadataOf(const moe_model &model, const char *key) {
  for (int32_t i = model.num_metadata; i-- > 0;)
    if (std::strcmp(model.metadata[i].key, key) == 0)
      return model.metadata[i].value;
  return nullptr;
}

Status checkHash(const moe_model &model, const Json &header) {
  const char *expected = metadataOf(model, kWeightsHashKey);
  if (!expected)
    return {};
  const Json *metadata = header.find("__metadata__");
  const Json *found = metadata ? metadata->find(kWeightsHashKey) : nullptr;
  if (!found || found->kind != Json::Kind::String)
    return ioError("its metadata have no '" + std::string(kWeightsHashKey) +
                   "', the model expects " + quote(expected));
  if (found->string != expected)
    return ioError("it belongs to another compilation: its weights_hash is " +
                   quote(found->string) + ", the model expects " +
                   quote(expected));
  return {};
}

Status locate(const Json &header, const moe_weights &section, uint64_t dataSize,
              Location &location) {
  const Json *entry = header.find(section.name);
  if (!entry)
    return ioError("it has no tensor " + quote(section.name));
  const Json *dtype = entry->find("dtype");
  const Json *shape = entry->find("shape");
  const Json *offsets = entry->find("data_offsets");
  auto isInteger = [](const Json &value) {
    return value.kind == Json::Kind::Integer && value.integer >= 0;
  };
  bool wellFormed =
      dtype && dtype->kind == Json::Kind::String && shape &&
      shape->kind == Json::Kind::Array && offsets &&
      offsets->kind == Json::Kind::Array && offsets->elements.size() == 2 &&
      std::all_of(shape->elements.begin(), shape->elements.end(), isInteger) &&
      std::all_of(offsets->elements.begin(), offsets->elements.end(),
                  isInteger);
  if (!wellFormed)
    return ioError("the header's entry of tensor " + quote(section.name) +
                   " lacks dtype, shape or data_offsets");
  location = {uint64_t(offsets->elements[0].integer),
              uint64_t(offsets->elements[1].integer)};
  if (location.end < location.begin || location.end > dataSize)
    return ioError("tensor " + quote(section.name) + " takes the bytes " +
                   std::to_string(location.begin) + " to " +
                   std::to_string(location.end) + " of " +
                   std::to_string(dataSize) + ": the file is cut off");
  uint64_t size = location.end - location.begin;
  if (dtype->string != "U8" || shape->elements.size() != 1 ||
      uint64_t(shape->elements[0].integer) != size || size != section.size)
    return ioError("tensor " + quote(section.name) + " has " +
                   std::to_string(size) + " bytes and dtype " +
                   quote(dtype->string) + ", the model expects " +
                   std::to_string(section.size) + " bytes of dtype 'U8'");
  return {};
}

} // namespace

Weights::~Weights() {
  for (const Mapping &mapping : mappings)
    munmap(mapping.data, mapping.size);
}

Status Weights::open(const moe_model &model, const std::string &folder) {
  for (int32_t i = 0; i < model.num_weights; ++i) {
    const moe_weights &section = model.weights[i];
    uint64_t alignment = section.alignment;
    if (alignment == 0 || (alignment & (alignment - 1)) != 0 ||
        alignment > kMaxAlignment || section.size > uint64_t(INT64_MAX))
      return ioError("weight section " + quote(section.name) + " has size " +
                     std::to_string(section.size) + " and alignment " +
                     std::to_string(alignment) + ": the model is damaged");
    if (section.data) {
      addresses.push_back(section.data);
      if (section.size > 0)
        advise(section.data, section.size);
      continue;
    }
    if (!section.file)
      return ioError("weight section " + quote(section.name) +
                     " has neither data nor a file: the model is damaged");
    if (section.size == 0) {
      addresses.push_back(nullptr);
      continue;
    }
    if (!*section.file || std::strchr(section.file, '/'))
      return ioError("weight section " + quote(section.name) +
                     " names the file " + quote(section.file) +
                     ": a name without a folder is accepted");
    if (folder.empty())
      return ioError("weight section " + quote(section.name) +
                     " lies in the file " + quote(section.file) +
                     ", but no weight folder was given");
    std::string path = folder + "/" + section.file;
    if (Status status = openFile(model, section, path); !status.ok())
      return {status.code,
              "weight file " + quote(path) + ": " + status.message};
  }
  return {};
}

Status Weights::openFile(const moe_model &model, const moe_weights &section,
                         const std::string &path) {
  File file(path);
  struct stat info;
  if (file.descriptor < 0 || fstat(file.descriptor, &info) != 0)
    return ioError(std::strerror(errno));
  if (!S_ISREG(info.st_mode))
    return ioError("not a regular file");
  uint64_t fileSize = info.st_size;
  unsigned char lengthBytes[8];
  if (fileSize < 8 || !readAll(file.descriptor, lengthBytes, 8, 0))
    return ioError("not a safetensors file: shorter than 8 bytes");
  uint64_t headerSize = 0;
  for (int i = 8; i-- > 0;)
    headerSize = headerSize << 8 | lengthBytes[i];
  if (headerSize > kMaxHeader || headerSize > fileSize - 8)
    return ioError("not a safetensors file of moe-compile: a header of " +
                   std::to_string(headerSize) + " bytes in a file of " +
                   std::to_string(fileSize));
  std::string text(headerSize, '\0');
  if (!readAll(file.descriptor, text.data(), headerSize, 8))
    return ioError("cannot read the header");

  Json header;
  if (Status status = Json::parse(text, header); !status.ok())
    return status;
  if (Status status = checkHash(model, header); !status.ok())
    return status;
  Location location;
  uint64_t dataBegin = 8 + headerSize;
  if (Status status = locate(header, section, fileSize - dataBegin, location);
      !status.ok())
    return status;
  uint64_t offset = dataBegin + location.begin;
  uint64_t unit = std::min(section.alignment, kPage);
  if (offset % unit != 0)
    return ioError("tensor " + quote(section.name) + " begins at byte " +
                   std::to_string(offset) + ", a multiple of " +
                   std::to_string(unit) + " is needed");

  mappings.reserve(mappings.size() + 1);
  addresses.reserve(addresses.size() + 1);
  Mapping mapping;
  void *data = mapAligned(file.descriptor, offset, section.size,
                          section.alignment, mapping.data, mapping.size);
  if (!data)
    return {MOE_OUT_OF_MEMORY, "cannot map " + std::to_string(section.size) +
                                   " bytes: " + std::strerror(errno)};
  mappings.push_back(mapping);
  addresses.push_back(data);
  advise(data, section.size);
  return {};
}

} // namespace moe::runtime
