//===- LayoutWeights.cpp - place constants in weight sections -------------===//
//
// Constants are laid out in the order in which the code meets them, so that a
// run walks a section once. The modules remember where each one lies; the
// artifact writer streams the bytes from there.
//
//===----------------------------------------------------------------------===//
#include "passes/Lower/Host/LayoutWeights.h"
#include "dialects/Rt/RtDialect.h"
#include "passes/Lower/Host/Passes.h"

#include "mlir/IR/BuiltinOps.h"
#include "llvm/ADT/MapVector.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/Support/MathExtras.h"
#include <map>

namespace moe {
#define GEN_PASS_DEF_LAYOUTWEIGHTSPASS
#include "passes/Lower/Host/Passes.h.inc"
} // namespace moe

using namespace mlir;
using namespace moe;

/// Offsets of constants, in bytes: a cache line, which is also the widest
/// vector register.
static constexpr uint64_t weightAlignment = 64;

namespace {

/// The constants that one set of modules has.
struct Section {
  SmallVector<Attribute> constants;
  uint64_t end = 0;
  DictionaryAttr attribute;
};

struct Place {
  /// Which modules have it.
  std::vector<bool> users;
  uint64_t offset = 0;
};

} // namespace

void moe::layoutWeights(ArrayRef<ModuleOp> modules,
                        ArrayRef<std::string> names) {
  llvm::MapVector<Attribute, Place> places;
  for (size_t number = 0; number < modules.size(); ++number) {
    ModuleOp module = modules[number];
    module.walk([&](rt::ConstantOp op) {
      Place &place = places[op.getValue()];
      place.users.resize(modules.size());
      place.users[number] = true;
    });
  }

  Builder b(modules.front()->getContext());
  std::map<std::vector<bool>, Section> sections;
  for (auto &[value, place] : places) {
    Section &section = sections[place.users];
    place.offset = llvm::alignTo(section.end, weightAlignment);
    section.end = place.offset + rt::getByteSize(cast<ElementsAttr>(value));
    section.constants.push_back(b.getDictionaryAttr(
        {b.getNamedAttr("offset", b.getI64IntegerAttr(place.offset)),
         b.getNamedAttr("value", value)}));
  }
  for (auto &[users, section] : sections) {
    SmallVector<StringRef> named;
    for (auto [number, uses] : llvm::enumerate(users))
      if (uses)
        named.push_back(names[number]);
    std::string name = "weights";
    if (named.size() < modules.size())
      name += "." + llvm::join(named, "+");
    section.attribute = b.getDictionaryAttr(
        {b.getNamedAttr("constants", b.getArrayAttr(section.constants)),
         b.getNamedAttr("name", b.getStringAttr(name))});
  }

  for (ModuleOp module : modules) {
    llvm::MapVector<Attribute, int32_t> used;
    module.walk([&](rt::ConstantOp op) {
      const Place &place = places.find(op.getValue())->second;
      int32_t section =
          used.try_emplace(sections.at(place.users).attribute, used.size())
              .first->second;
      OpBuilder builder(op);
      auto weight = rt::WeightOp::create(builder, op.getLoc(), op.getType(),
                                         section, place.offset);
      op.replaceAllUsesWith(weight.getResult());
      op.erase();
    });
    SmallVector<Attribute> list;
    for (auto [section, number] : used)
      list.push_back(section);
    if (!list.empty())
      module->setAttr("rt.weights", b.getArrayAttr(list));
  }
}

namespace {

struct LayoutWeightsPass : moe::impl::LayoutWeightsPassBase<LayoutWeightsPass> {
  using LayoutWeightsPassBase::LayoutWeightsPassBase;

  void runOnOperation() override { moe::layoutWeights(getOperation(), {""}); }
};

} // namespace
