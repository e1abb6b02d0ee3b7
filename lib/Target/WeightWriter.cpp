//===- WeightWriter.cpp - constants in object and weight files ------------===//
//
// Neither LLVM's assembler nor a library holds the constants: an object with
// one section of bytes needs an ELF header, five more sections and a symbol,
// which are written here around the streamed bytes.
//
//===----------------------------------------------------------------------===//
#include "lib/Target/WeightWriter.h"

#include "dialects/Rt/RtDialect.h"
#include "llvm/ADT/SmallPtrSet.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/BinaryFormat/ELF.h"
#include "llvm/Support/BLAKE3.h"
#include "llvm/Support/JSON.h"
#include "llvm/Support/MathExtras.h"
#include "llvm/Support/raw_ostream.h"

using namespace mlir;
using namespace moe;

static constexpr uint64_t pageBytes = 4096;
static constexpr uint64_t hugePageBytes = 2 << 20;

WeightSection::WeightSection(Location location, DictionaryAttr section)
    : location(location), section(section) {
  auto last = cast<DictionaryAttr>(
      section.getAs<ArrayAttr>("constants").getValue().back());
  bytes = last.getAs<IntegerAttr>("offset").getInt() +
          rt::getByteSize(last.getAs<ElementsAttr>("value"));
}

StringRef WeightSection::name() const {
  return section.getAs<StringAttr>("name").getValue();
}

void moe::writeBuffered(llvm::raw_ostream &os, ArrayRef<char> data) {
  constexpr size_t piece = 1 << 20;
  while (!data.empty()) {
    size_t size = std::min(piece, data.size());
    os.write(data.data(), size);
    data = data.drop_front(size);
  }
}

uint64_t WeightSection::alignment() const {
  return bytes >= hugePageBytes ? hugePageBytes : pageBytes;
}

void WeightSection::padTo(uint64_t boundary) {
  padding = llvm::alignTo(bytes, boundary) - bytes;
}

LogicalResult
WeightSection::forEachChunk(function_ref<void(ArrayRef<char>)> consume) const {
  uint64_t position = 0;
  auto fillTo = [&](uint64_t offset) {
    static constexpr char zeros[4096] = {};
    while (position < offset) {
      uint64_t gap = std::min<uint64_t>(offset - position, sizeof(zeros));
      consume(ArrayRef<char>(zeros, gap));
      position += gap;
    }
  };
  for (auto item :
       section.getAs<ArrayAttr>("constants").getAsRange<DictionaryAttr>()) {
    uint64_t offset = item.getAs<IntegerAttr>("offset").getInt();
    fillTo(offset);
    auto value = item.getAs<ElementsAttr>("value");
    uint64_t expected = offset + rt::getByteSize(value);
    if (failed(rt::forEachChunk(
            value,
            [&](ArrayRef<char> chunk) -> LogicalResult {
              consume(chunk);
              position += chunk.size();
              return success();
            },
            [&] { return emitError(location); })))
      return failure();
    if (position != expected)
      return emitError(location) << "a constant delivered " << position - offset
                                 << " bytes instead of " << expected - offset
                                 << "; was its file changed meanwhile?";
  }
  fillTo(size());
  return success();
}

LogicalResult WeightSection::write(llvm::raw_ostream &os) const {
  return forEachChunk([&](ArrayRef<char> chunk) { writeBuffered(os, chunk); });
}

LogicalResult WeightSection::hash(llvm::BLAKE3 &hasher) const {
  for (auto item :
       section.getAs<ArrayAttr>("constants").getAsRange<DictionaryAttr>()) {
    uint64_t offset = item.getAs<IntegerAttr>("offset").getInt();
    hasher.update(
        ArrayRef(reinterpret_cast<const uint8_t *>(&offset), sizeof(offset)));
  }
  return forEachChunk([&](ArrayRef<char> chunk) {
    hasher.update(ArrayRef(reinterpret_cast<const uint8_t *>(chunk.data()),
                           chunk.size()));
  });
}

/// Pads with zeros up to `offset`.
static void writeTo(llvm::raw_ostream &os, uint64_t &position,
                    uint64_t offset) {
  os.write_zeros(offset - position);
  position = offset;
}

template <typename T>
static void writeStruct(llvm::raw_ostream &os, uint64_t &position,
                        const T &value) {
  os.write(reinterpret_cast<const char *>(&value), sizeof(value));
  position += sizeof(value);
}

LogicalResult WeightSection::writeObject(llvm::raw_ostream &os,
                                         StringRef symbol) const {
  using namespace llvm::ELF;
  // Section names, each at the offset that its header gives.
  std::string names(1, '\0');
  auto addName = [&](StringRef name) {
    Elf64_Word offset = names.size();
    names += name.str() + '\0';
    return offset;
  };
  Elf64_Word weightsName = addName(".moe.weights");
  Elf64_Word symbolsName = addName(".symtab");
  Elf64_Word stringsName = addName(".strtab");
  Elf64_Word namesName = addName(".shstrtab");
  Elf64_Word stackName = addName(".note.GNU-stack");
  std::string strings = '\0' + symbol.str() + '\0';

  // The object itself need not be aligned beyond pages: the linker moves the
  // section to where its alignment wants it.
  uint64_t dataOffset = pageBytes;
  uint64_t symbolsOffset = llvm::alignTo(dataOffset + size(), 8);
  uint64_t stringsOffset = symbolsOffset + 2 * sizeof(Elf64_Sym);
  uint64_t namesOffset = stringsOffset + strings.size();
  uint64_t headersOffset = llvm::alignTo(namesOffset + names.size(), 8);

  Elf64_Ehdr header = {};
  std::memcpy(header.e_ident, ElfMagic, 4);
  header.e_ident[EI_CLASS] = ELFCLASS64;
  header.e_ident[EI_DATA] = ELFDATA2LSB;
  header.e_ident[EI_VERSION] = EV_CURRENT;
  header.e_type = ET_REL;
  header.e_machine = EM_X86_64;
  header.e_version = EV_CURRENT;
  header.e_shoff = headersOffset;
  header.e_ehsize = sizeof(Elf64_Ehdr);
  header.e_shentsize = sizeof(Elf64_Shdr);
  header.e_shnum = 6;
  header.e_shstrndx = 4;

  uint64_t position = 0;
  writeStruct(os, position, header);
  writeTo(os, position, dataOffset);
  if (failed(write(os)))
    return failure();
  position += size();
  writeTo(os, position, symbolsOffset);
  writeStruct(os, position, Elf64_Sym{});
  Elf64_Sym entry = {};
  entry.st_name = 1;
  entry.setBindingAndType(STB_GLOBAL, STT_OBJECT);
  entry.st_other = STV_HIDDEN;
  entry.st_shndx = 1;
  entry.st_size = size();
  writeStruct(os, position, entry);
  os << strings << names;
  position += strings.size() + names.size();
  writeTo(os, position, headersOffset);

  auto section = [&](Elf64_Word name, Elf64_Word type, uint64_t flags,
                     uint64_t offset, uint64_t size, uint64_t align,
                     Elf64_Word link = 0, Elf64_Word info = 0,
                     uint64_t entrySize = 0) {
    Elf64_Shdr result = {};
    result.sh_name = name;
    result.sh_type = type;
    result.sh_flags = flags;
    result.sh_offset = offset;
    result.sh_size = size;
    result.sh_link = link;
    result.sh_info = info;
    result.sh_addralign = align;
    result.sh_entsize = entrySize;
    writeStruct(os, position, result);
  };
  section(0, SHT_NULL, 0, 0, 0, 0);
  section(weightsName, SHT_PROGBITS, SHF_ALLOC, dataOffset, size(),
          alignment());
  section(symbolsName, SHT_SYMTAB, 0, symbolsOffset, 2 * sizeof(Elf64_Sym), 8,
          /*link=*/3, /*info=*/1, sizeof(Elf64_Sym));
  section(stringsName, SHT_STRTAB, 0, stringsOffset, strings.size(), 1);
  section(namesName, SHT_STRTAB, 0, namesOffset, names.size(), 1);
  section(stackName, SHT_PROGBITS, 0, headersOffset, 0, 1);
  return success();
}

std::vector<WeightSection> moe::getSections(ArrayRef<ModuleOp> modules) {
  std::vector<WeightSection> sections;
  llvm::SmallPtrSet<Attribute, 4> seen;
  for (ModuleOp module : modules)
    if (auto list = module->getAttrOfType<ArrayAttr>("rt.weights"))
      for (auto section : list.getAsRange<DictionaryAttr>())
        if (seen.insert(section).second)
          sections.emplace_back(module.getLoc(), section);
  return sections;
}

FailureOr<std::string> moe::hashSections(ArrayRef<WeightSection> sections) {
  llvm::BLAKE3 hasher;
  for (const WeightSection &section : sections)
    if (failed(section.hash(hasher)))
      return failure();
  return llvm::toHex(hasher.final<16>(), /*LowerCase=*/true);
}

LogicalResult moe::writeSafetensors(ArrayRef<WeightSection> sections,
                                    llvm::raw_ostream &os, StringRef hash) {
  std::string header;
  llvm::raw_string_ostream text(header);
  llvm::json::OStream json(text);
  uint64_t alignment = pageBytes;
  json.object([&] {
    json.attributeObject("__metadata__", [&] {
      json.attribute("format", "moe-opt");
      json.attribute("weights_hash", hash);
    });
    int64_t begin = 0;
    for (const WeightSection &section : sections)
      json.attributeObject(section.name(), [&] {
        int64_t size = section.size();
        json.attribute("dtype", "U8");
        json.attributeArray("shape", [&] { json.value(size); });
        json.attributeArray("data_offsets", [&] {
          json.value(begin);
          json.value(begin + size);
        });
        begin += size;
        alignment = std::max(alignment, section.alignment());
      });
  });
  // Blanks before the data put it at a boundary that can be mapped.
  uint64_t length = llvm::alignTo(header.size() + sizeof(uint64_t), alignment) -
                    sizeof(uint64_t);
  header.resize(length, ' ');
  os.write(reinterpret_cast<const char *>(&length), sizeof(length));
  os << header;
  for (const WeightSection &section : sections)
    if (failed(section.write(os)))
      return failure();
  return success();
}
