//===- RaiseCheck.cpp - both sides of a raise, run and compared -----------===//

#include "passes/Raise/RaiseCheck.h"
#include "dialects/MoE/MoEDialect.h"
#include "dialects/ONNX/ONNXDialect.h"
#include "lib/Analysis/Dims.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/IR/IRMapping.h"
#include "mlir/Transforms/RegionUtils.h"
#include "llvm/ADT/SetVector.h"
#include <map>
#include <optional>

using namespace mlir;
using namespace moe;

namespace {

/// The nodes of one side, in order, and what they read from outside.
struct Side {
  llvm::SetVector<Operation *> nodes;
};

/// Outlines both sides into a module.
class Outliner {
public:
  Outliner(Value before, Value after, ArrayRef<RaiseCut> cuts)
      : before(before), after(after), cuts(cuts.begin(), cuts.end()) {}

  bool collect(std::string &why);
  OwningOpRef<ModuleOp> outline(Operation *like);
  SmallVector<int64_t> getBounds() const;
  bool makeDraws(SmallVectorImpl<RaiseDraw> &draws, std::string &why);

private:
  /// More are not compiled: a layer has some thousands at most.
  static constexpr size_t kMaxNodes = 100000;

  bool collectSide(Value root, Side &side, std::string &why);
  void createFunction(OpBuilder &b, StringRef name, const Side &side,
                      Value root);

  Value before, after;
  SmallVector<RaiseCut> cuts;
  Side sides[2];
  llvm::SetVector<Value> inputs;
};

} // namespace

bool Outliner::collectSide(Value root, Side &side, std::string &why) {
  Block *block = root.getParentBlock();
  SmallVector<Value> work{root};
  llvm::DenseSet<Operation *> seen;
  while (!work.empty()) {
    Value value = work.pop_back_val();
    Operation *op = value.getDefiningOp();
    bool isCut = llvm::any_of(
        cuts, [&](const RaiseCut &cut) { return cut.value == value; });
    if (isCut || !op || op->getBlock() != block) {
      inputs.insert(value);
      continue;
    }
    if (!seen.insert(op).second)
      continue;
    if (seen.size() > kMaxNodes) {
      why = "more than " + std::to_string(kMaxNodes) + " nodes to check";
      return false;
    }
    llvm::append_range(work, op->getOperands());
    llvm::SetVector<Value> captured;
    getUsedValuesDefinedAbove(op->getRegions(), captured);
    llvm::append_range(work, captured);
  }
  SmallVector<Operation *> order(seen.begin(), seen.end());
  llvm::sort(order,
             [](Operation *a, Operation *b) { return a->isBeforeInBlock(b); });
  side.nodes.insert(order.begin(), order.end());
  return true;
}

bool Outliner::collect(std::string &why) {
  if (before.getParentBlock() != after.getParentBlock()) {
    why = "the two sides are in different regions";
    return false;
  }
  if (!collectSide(before, sides[0], why))
    return false;
  // What the nodes before do not read cannot be cut: it comes from what both
  // read.
  llvm::erase_if(
      cuts, [&](const RaiseCut &cut) { return !inputs.contains(cut.value); });
  if (!collectSide(after, sides[1], why))
    return false;
  for (Value input : inputs)
    if (!isa<RankedTensorType>(input.getType())) {
      why = "an input has no rank";
      return false;
    }
  return true;
}

void Outliner::createFunction(OpBuilder &b, StringRef name, const Side &side,
                              Value root) {
  Location loc = root.getLoc();
  SmallVector<Type> types;
  for (Value input : inputs)
    types.push_back(input.getType());
  auto func = func::FuncOp::create(b, loc, name,
                                   b.getFunctionType(types, root.getType()));
  Block *body = func.addEntryBlock();
  IRMapping mapping;
  for (auto [i, input] : llvm::enumerate(inputs)) {
    mapping.map(input, body->getArgument(i));
    func.setArgAttr(i, onnx::names::kName,
                    b.getStringAttr("i" + std::to_string(i)));
    SmallVector<Attribute> dims;
    for (const Extent &extent : getDims(input))
      dims.push_back(b.getStringAttr(extent.text));
    func.setArgAttr(i, onnx::names::kDims, b.getArrayAttr(dims));
  }
  func.setResultAttr(0, onnx::names::kName, b.getStringAttr("y"));
  OpBuilder inner = OpBuilder::atBlockBegin(body);
  for (Operation *op : side.nodes) {
    Operation *clone = inner.clone(*op, mapping);
    // Extents are inferred anew from those of the arguments.
    for (StringRef stale :
         {StringRef(onnx::names::kDims), StringRef(onnx::names::kOutputs),
          StringRef(onnx::names::kMetadata), StringRef(kValuesAttr)})
      clone->removeDiscardableAttr(stale);
  }
  func::ReturnOp::create(inner, loc, mapping.lookup(root));
}

OwningOpRef<ModuleOp> Outliner::outline(Operation *like) {
  OwningOpRef<ModuleOp> module = ModuleOp::create(before.getLoc());
  if (auto of = like->getParentOfType<ModuleOp>())
    (*module)->setDiscardableAttrs(
        SmallVector<NamedAttribute>(of->getDiscardableAttrs()));
  OpBuilder b(module->getBodyRegion());
  createFunction(b, "before", sides[0], before);
  createFunction(b, "after", sides[1], after);
  return module;
}

SmallVector<int64_t> Outliner::getBounds() const {
  SmallVector<int64_t> bounds;
  for (Value input : inputs) {
    int64_t bound = 0;
    for (const RaiseCut &cut : cuts)
      if (cut.value == input)
        bound = cut.bound;
    bounds.push_back(bound);
  }
  return bounds;
}

namespace {
/// Numbers for the extents that a model names.
class Numbers {
public:
  /// Symbols get first, first + step, ... as they occur.
  Numbers(int64_t first, int64_t step) : next(first), step(step) {}

  std::optional<int64_t> of(const DimExpr &expr) {
    if (!expr.isKnown())
      return std::nullopt;
    int64_t sum = 0;
    for (const DimTerm &term : expr.getTerms()) {
      int64_t product = term.coefficient;
      for (const DimAtom *atom : term.atoms) {
        std::optional<int64_t> factor = of(*atom);
        if (!factor || llvm::MulOverflow(product, *factor, product))
          return std::nullopt;
      }
      if (llvm::AddOverflow(sum, product, sum))
        return std::nullopt;
    }
    return sum;
  }

private:
  std::optional<int64_t> of(const DimAtom &atom) {
    if (atom.kind == DimAtom::Kind::Symbol) {
      auto [it, isNew] = symbols.try_emplace(atom.text, next);
      if (isNew)
        next += step;
      return it->second;
    }
    SmallVector<int64_t, 2> arguments;
    for (const DimExpr &argument : atom.arguments) {
      std::optional<int64_t> number = of(argument);
      if (!number)
        return std::nullopt;
      arguments.push_back(*number);
    }
    if (arguments.size() != 2)
      return std::nullopt;
    int64_t a = arguments[0], b = arguments[1];
    switch (atom.kind) {
    case DimAtom::Kind::FloorDiv:
      if (b <= 0)
        return std::nullopt;
      return a >= 0 ? a / b : -((-a + b - 1) / b);
    case DimAtom::Kind::Min:
      return std::min(a, b);
    case DimAtom::Kind::Max:
      return std::max(a, b);
    case DimAtom::Kind::Broadcast:
      return a == 1 ? b : a;
    case DimAtom::Kind::Symbol:
      break;
    }
    return std::nullopt;
  }

  int64_t next, step;
  std::map<std::string, int64_t> symbols;
};
} // namespace

bool Outliner::makeDraws(SmallVectorImpl<RaiseDraw> &draws, std::string &why) {
  struct {
    int64_t first, step;
    RaiseHits hits;
  } kinds[] = {{3, 4, RaiseHits::Any},
               {1, 0, RaiseHits::Any},
               {5, 1, RaiseHits::Same},
               {7, 2, RaiseHits::All},
               {0, 1, RaiseHits::Any}};
  for (auto kind : kinds) {
    DimContext context;
    Numbers numbers(kind.first, kind.step);
    RaiseDraw draw;
    draw.hits = kind.hits;
    bool fits = true;
    for (Value input : inputs) {
      SmallVector<int64_t> &shape = draw.shapes.emplace_back();
      for (const Extent &extent : getDims(input)) {
        std::optional<int64_t> number =
            extent.isStatic() ? std::optional<int64_t>(extent.size)
                              : numbers.of(context.parse(extent.text));
        fits &= number && *number >= 0;
        shape.push_back(number.value_or(0));
      }
    }
    if (fits)
      draws.push_back(std::move(draw));
  }
  if (draws.empty())
    why = "the extents of an input are unknown";
  return !draws.empty();
}

bool moe::checkRaise(Value before, Value after, ArrayRef<RaiseCut> cuts,
                     std::string &why) {
  auto *dialect = before.getContext()->getLoadedDialect<ir::MoEDialect>();
  const auto *checker =
      dialect ? dialect->getRegisteredInterface<RaiseCheckInterface>()
              : nullptr;
  if (!checker)
    return true;
  Outliner outliner(before, after, cuts);
  SmallVector<RaiseDraw> draws;
  if (!outliner.collect(why) || !outliner.makeDraws(draws, why)) {
    why = "the raise cannot be checked: " + why;
    return false;
  }
  Operation *at = after.getDefiningOp();
  OwningOpRef<ModuleOp> module = outliner.outline(at);
  if (checker->compare(*module, outliner.getBounds(), draws, why))
    return true;
  why = "the raise failed its check: " + why;
  return false;
}
