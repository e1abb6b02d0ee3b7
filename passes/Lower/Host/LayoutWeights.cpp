//===- LayoutWeights.cpp - place constants in weight sections -------------===//
//
// Constants are laid out in the order in which the code meets them, so that a
// run walks a section once. The modules remember where each one lies; the
// artifact writer streams the bytes from there.
//
// A function that several layers share has constants that its callers choose.
// For each call they are laid out as if the function stood there; where they
// lie is a row of a table that the call hands in.
//
//===----------------------------------------------------------------------===//
#include "passes/Lower/Host/LayoutWeights.h"
#include "dialects/Rt/RtDialect.h"
#include "passes/Lower/Host/Passes.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/IR/AttrTypeSubElements.h"
#include "mlir/IR/BuiltinOps.h"
#include "mlir/IR/SymbolTable.h"
#include "llvm/ADT/MapVector.h"
#include "llvm/ADT/SetVector.h"
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

/// Which modules have a constant.
using Users = std::vector<bool>;

/// The constants that one set of modules has.
struct Section {
  SmallVector<Attribute> constants;
  uint64_t end = 0;
  DictionaryAttr attribute;

  /// Adds a constant, returns its offset.
  uint64_t add(Attribute value) {
    Builder b(value.getContext());
    uint64_t offset = llvm::alignTo(end, weightAlignment);
    end = offset + rt::getByteSize(cast<ElementsAttr>(value));
    constants.push_back(b.getDictionaryAttr(
        {b.getNamedAttr("offset", b.getI64IntegerAttr(offset)),
         b.getNamedAttr("value", value)}));
    return offset;
  }
};

struct Place {
  Users users;
  uint64_t offset = 0;
};

/// A function with constants that calls choose.
struct Shared {
  /// Its open constants, in the order in which the code meets them.
  llvm::SetVector<Attribute> open;
  SmallVector<func::CallOp> calls;
  /// What stands for `open` in each call, one call behind the other.
  SmallVector<Attribute> values;
  /// Where its table is: a row for each call, in it a section and an offset for
  /// each open constant.
  int32_t tableSection = 0;
  uint64_t tableOffset = 0;
};

/// Whether what a constant holds depends on the call.
bool isOpen(Attribute value) {
  return value.walk([](rt::ParameterAttr) { return WalkResult::interrupt(); })
      .wasInterrupted();
}

/// The constants of one module.
class ModuleWeights {
public:
  /// Finds what there is; reports calls that do not fit.
  LogicalResult collect(ModuleOp module);

  /// All constants, in the order in which the code meets them, repeatedly.
  SmallVector<Attribute> met;
  SmallVector<rt::ConstantOp> constants;
  llvm::MapVector<Operation *, Shared> shared;

private:
  LogicalResult collectCall(func::CallOp call, Shared &callee);
};

} // namespace

LogicalResult ModuleWeights::collect(ModuleOp module) {
  SymbolTable symbols(module);
  module.walk([&](rt::ConstantOp op) {
    if (isOpen(op.getValue()))
      shared[op->getParentOfType<func::FuncOp>()].open.insert(op.getValue());
  });
  bool ok = true;
  module.walk([&](Operation *op) {
    if (auto constant = dyn_cast<rt::ConstantOp>(op)) {
      constants.push_back(constant);
      if (!isOpen(constant.getValue()))
        met.push_back(constant.getValue());
    } else if (auto call = dyn_cast<func::CallOp>(op)) {
      auto callee = shared.find(symbols.lookup(call.getCallee()));
      if (callee != shared.end() && failed(collectCall(call, callee->second)))
        ok = false;
    }
  });
  return success(ok);
}

LogicalResult ModuleWeights::collectCall(func::CallOp call, Shared &callee) {
  auto arguments = call->getAttrOfType<ArrayAttr>(rt::argumentsAttr);
  if (!arguments)
    return call.emitOpError() << "calls a function with #rt.parameter without '"
                              << rt::argumentsAttr << "'";
  bool fits = true;
  AttrTypeReplacer replacer;
  replacer.addReplacement([&](rt::ParameterAttr parameter) -> Attribute {
    uint64_t number = parameter.getNumber();
    auto value = number < arguments.size()
                     ? cast<ElementsAttr>(arguments[number])
                     : ElementsAttr();
    if (value && value.getShapedType() == parameter.getType() && !isOpen(value))
      return value;
    fits = false;
    return parameter;
  });
  for (Attribute value : callee.open) {
    callee.values.push_back(replacer.replace(value));
    met.push_back(callee.values.back());
  }
  callee.calls.push_back(call);
  if (fits)
    return success();
  return call.emitOpError()
         << "has " << arguments.size() << " '" << rt::argumentsAttr
         << "', which do not fit the callee's parameters";
}

/// Puts the place of a constant where the constant was.
static void replaceBy(rt::ConstantOp op, Operation *place) {
  op.replaceAllUsesWith(place->getResult(0));
  op.erase();
}

/// Gives a shared function its table, and each call its row.
static void passTable(func::FuncOp function, Shared &callee) {
  if (callee.calls.empty())
    return;
  Builder b(function.getContext());
  int64_t columns = callee.open.size();
  auto row = MemRefType::get({columns, 2}, b.getI64Type());
  for (auto [number, call] : llvm::enumerate(callee.calls)) {
    OpBuilder builder(call);
    Value mine = rt::WeightOp::create(
        builder, call.getLoc(), row, callee.tableSection,
        callee.tableOffset + number * columns * 2 * sizeof(int64_t));
    call->removeAttr(rt::argumentsAttr);
    call->insertOperands(call->getNumOperands(), mine);
  }
  unsigned last = function.getNumArguments();
  Location loc = function.getLoc();
  (void)function.insertArgument(last, row, {}, loc);
  OpBuilder builder(function.getContext());
  builder.setInsertionPointToStart(&function.front());
  SmallVector<Value> indices;
  for (int64_t i = 0; i < std::max<int64_t>(columns, 2); ++i)
    indices.push_back(arith::ConstantIndexOp::create(builder, loc, i));
  SmallVector<std::pair<Value, Value>> places;
  for (int64_t column = 0; column < columns; ++column) {
    auto load = [&](unsigned field) -> Value {
      return memref::LoadOp::create(
          builder, loc, function.getArgument(last),
          ValueRange{indices[column], indices[field]});
    };
    Value section = load(0);
    places.push_back({section, load(1)});
  }
  function.walk([&](rt::ConstantOp op) {
    auto found = llvm::find(callee.open, op.getValue());
    if (found == callee.open.end())
      return;
    auto [section, offset] = places[found - callee.open.begin()];
    OpBuilder here(op);
    replaceBy(op, rt::WeightAtOp::create(here, op.getLoc(), op.getType(),
                                         section, offset));
  });
}

LogicalResult moe::layoutWeights(ArrayRef<ModuleOp> modules,
                                 ArrayRef<std::string> names) {
  std::vector<ModuleWeights> weights(modules.size());
  llvm::MapVector<Attribute, Place> places;
  bool ok = true;
  for (auto [number, module] : llvm::enumerate(modules)) {
    if (failed(weights[number].collect(module)))
      ok = false;
    for (Attribute value : weights[number].met) {
      Place &place = places[value];
      place.users.resize(modules.size());
      place.users[number] = true;
    }
  }
  if (!ok)
    return failure();

  std::map<Users, Section> sections;
  for (auto &[value, place] : places)
    place.offset = sections[place.users].add(value);

  // Which sections a module uses, in this order.
  std::vector<llvm::MapVector<Section *, int32_t>> used(modules.size());
  auto numberOf = [&](size_t module, const Users &users) {
    auto &mine = used[module];
    return mine.try_emplace(&sections[users], mine.size()).first->second;
  };
  Builder b(modules.front()->getContext());
  for (size_t number = 0; number < modules.size(); ++number) {
    for (Attribute value : weights[number].met)
      numberOf(number, places.find(value)->second.users);
    // Tables depend on where everything else is.
    Users only(modules.size());
    only[number] = true;
    for (auto &[function, callee] : weights[number].shared) {
      SmallVector<int64_t> table;
      for (Attribute value : callee.values) {
        const Place &place = places.find(value)->second;
        table.push_back(numberOf(number, place.users));
        table.push_back(place.offset);
      }
      if (table.empty())
        continue;
      int64_t rows = callee.calls.size(), columns = callee.open.size();
      callee.tableSection = numberOf(number, only);
      callee.tableOffset = sections[only].add(DenseElementsAttr::get(
          RankedTensorType::get({rows, columns, 2}, b.getI64Type()),
          ArrayRef<int64_t>(table)));
    }
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

  for (auto [number, module] : llvm::enumerate(modules)) {
    for (rt::ConstantOp op : weights[number].constants) {
      auto known = places.find(op.getValue());
      if (known == places.end())
        continue;
      const Place &place = known->second;
      OpBuilder builder(op);
      replaceBy(op, rt::WeightOp::create(builder, op.getLoc(), op.getType(),
                                         numberOf(number, place.users),
                                         place.offset));
    }
    for (auto &[function, callee] : weights[number].shared)
      passTable(cast<func::FuncOp>(function), callee);
    SmallVector<Attribute> list;
    for (auto [section, index] : used[number])
      list.push_back(section->attribute);
    if (!list.empty())
      module->setAttr("rt.weights", b.getArrayAttr(list));
  }
  return success();
}

namespace {

struct LayoutWeightsPass : moe::impl::LayoutWeightsPassBase<LayoutWeightsPass> {
  using LayoutWeightsPassBase::LayoutWeightsPassBase;

  void runOnOperation() override {
    if (failed(moe::layoutWeights(getOperation(), {""})))
      signalPassFailure();
  }
};

} // namespace
