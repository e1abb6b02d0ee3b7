//===- ShapeInference.cpp - types and symbolic extents of values ----------===//
//
// One walk over a function in program order. For each op: regions first, then
// the schema of ONNX (element types, ranks, static extents, symbols that are
// carried along), then the rules of ShapeRules.cpp (extents that are computed;
// MoEShapeRules.cpp for ops of ours, which have no schema), then the elements
// of shape tensors. What the three say is merged with what the model declares:
//
//   - a static extent wins; two different ones are an error;
//   - an expression over known extents replaces a number that the model only
//     claims (exporters leave numbers of the traced input behind);
//   - an extent that nothing is known of gets a symbol of its own, `?7`, that
//     no other extent ever gets.
//
// Bodies of Loop and Scan are inferred under the assumption that the carried
// values keep their extents; extents that change in the body become symbols of
// the body, until nothing changes.
//
//===----------------------------------------------------------------------===//

#include "lib/Analysis/ShapeInference.h"
#include "dialects/ONNX/ONNXDialect.h"
#include "dialects/ONNX/Signatures.h"
#include "lib/Analysis/Dims.h"
#include "lib/Analysis/ShapeFacts.h"
#include "mlir/IR/Builders.h"
#include "mlir/IR/Diagnostics.h"
#include "mlir/IR/TypeUtilities.h"
#include "mlir/Interfaces/FunctionInterfaces.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/ADT/StringSet.h"

using namespace mlir;
using namespace moe;

namespace {
class ShapeInference {
public:
  ShapeInference(FunctionOpInterface function,
                 const llvm::StringMap<int64_t> &bindings,
                 ShapeInferenceStatistics &statistics)
      : function(function), bindings(bindings), statistics(statistics),
        context(function.getContext()) {}

  LogicalResult run();

private:
  void reserveSymbols();
  LogicalResult setArguments();
  LogicalResult visitBlock(Block &block);
  LogicalResult visit(Operation *op);
  LogicalResult visitRegions(Operation *op);
  void visitUnused(Region &region);
  Region *getTakenBranch(Operation *op);
  SmallVector<InferredResult> getYielded(Region &region);
  LogicalResult visitBody(Operation *op, unsigned firstCarried,
                          unsigned numCarried);
  void setBodyArguments(Operation *op, ArrayRef<Extents> carried,
                        unsigned firstCarried);
  void setRegionResults(NodeRef &node);
  LogicalResult merge(Operation *op, unsigned result,
                      const InferredResult &inferred,
                      const std::optional<Extents> &exact);
  void keepForeign(Operation *op);
  void writeDims(Operation *op);
  void writeValues(Operation *op);
  void writeRegionDims(Operation *op);
  void setType(Value value, Type type);

  /// The symbol of a nameless extent: the one it had before, or a new one.
  DimExpr getFresh(Value value, unsigned dim);
  /// Whether an expression has a symbol that a region of `op` introduces.
  bool isInner(const DimExpr &expr, Operation *op);

  FunctionOpInterface function;
  const llvm::StringMap<int64_t> &bindings;
  ShapeInferenceStatistics &statistics;
  MLIRContext *context;
  ShapeFacts facts;
  /// Symbols in use, and the next number for a new one.
  llvm::StringSet<> claimed;
  uint64_t nextSymbol = 0;
  llvm::DenseMap<std::pair<Value, unsigned>, DimExpr> fresh;
  /// The op or block argument whose extent introduces a symbol.
  llvm::DenseMap<const DimAtom *, Value> origin;
  /// Whether diagnostics would be of a body under an assumption.
  bool speculating = false;
};
} // namespace

//===----------------------------------------------------------------------===//
// Symbols
//===----------------------------------------------------------------------===//

/// The number of a symbol `?7`.
static std::optional<uint64_t> getNumber(StringRef text) {
  uint64_t number;
  if (!text.consume_front("?") || text.getAsInteger(10, number))
    return std::nullopt;
  return number;
}

static void forEachText(Attribute attr,
                        llvm::function_ref<void(StringRef)> visit) {
  if (auto list = dyn_cast_or_null<ArrayAttr>(attr))
    for (Attribute item : list)
      forEachText(item, visit);
  else if (auto text = dyn_cast_or_null<StringAttr>(attr))
    visit(text.getValue());
}

/// New symbols get numbers above all that the function has, so that symbols
/// stay the same when inference runs again on changed IR.
void ShapeInference::reserveSymbols() {
  auto reserve = [&](StringRef text) {
    while (true) {
      size_t at = text.find('?');
      if (at == StringRef::npos)
        return;
      text = text.drop_front(at);
      size_t length = 1;
      while (length < text.size() && llvm::isDigit(text[length]))
        ++length;
      if (auto number = getNumber(text.take_front(length)))
        if (*number < UINT64_MAX / 2)
          nextSymbol = std::max(nextSymbol, *number + 1);
      text = text.drop_front(length);
    }
  };
  function->walk([&](Operation *op) {
    forEachText(op->getDiscardableAttr(onnx::names::kDims), reserve);
    if (op->getNumRegions() != 0)
      forEachText(op->getDiscardableAttr(kRegionDimsAttr), reserve);
  });
}

DimExpr ShapeInference::getFresh(Value value, unsigned dim) {
  auto [it, isNew] = fresh.try_emplace({value, dim});
  if (!isNew)
    return it->second;
  // What an earlier run wrote, unless a copy of the op took it.
  StringRef before = getDim(value, dim).text;
  std::string text;
  if (getNumber(before) && !claimed.contains(before))
    text = before.str();
  else
    text = "?" + std::to_string(nextSymbol++);
  claimed.insert(text);
  DimExpr symbol = facts.dims.rawSymbol(text);
  origin[symbol.getAtom()] = value;
  return it->second = symbol;
}

bool ShapeInference::isInner(const DimExpr &expr, Operation *op) {
  bool inner = false;
  expr.forEachSymbol([&](const DimAtom &atom) {
    Value value = origin.lookup(&atom);
    if (!value)
      return;
    Region *region = value.getParentRegion();
    inner |= region && op->isAncestor(region->getParentOp());
  });
  return inner;
}

//===----------------------------------------------------------------------===//
// Types
//===----------------------------------------------------------------------===//

void ShapeInference::setType(Value value, Type type) {
  if (value.getType() == type)
    return;
  value.setType(type);
  ++statistics.refined;
}

static RankedTensorType makeType(Type declared, const Extents &extents,
                                 Type element) {
  SmallVector<int64_t> shape;
  for (const DimExpr &extent : extents)
    shape.push_back(extent.isConstant() ? extent.getConstant()
                                        : ShapedType::kDynamic);
  Attribute encoding;
  if (auto ranked = dyn_cast<RankedTensorType>(declared))
    encoding = ranked.getEncoding();
  return RankedTensorType::get(shape, element, encoding);
}

/// Whether a type names no rank. Import gives such types to values that the
/// model does not declare, with an element type that is a guess.
static bool isGuess(Type type) {
  if (auto seq = dyn_cast<onnx::SeqType>(type))
    return isGuess(seq.getElementType());
  if (auto optional = dyn_cast<onnx::OptionalType>(type))
    return isGuess(optional.getElementType());
  return isa<UnrankedTensorType>(type);
}

/// Whether a result declared as the one may be the other.
static bool isCompatible(Type declared, Type inferred) {
  if (declared == inferred)
    return true;
  if (auto a = dyn_cast<onnx::SeqType>(declared)) {
    auto b = dyn_cast<onnx::SeqType>(inferred);
    return b && isCompatible(a.getElementType(), b.getElementType());
  }
  if (auto a = dyn_cast<onnx::OptionalType>(declared)) {
    auto b = dyn_cast<onnx::OptionalType>(inferred);
    return b && isCompatible(a.getElementType(), b.getElementType());
  }
  auto a = dyn_cast<TensorType>(declared), b = dyn_cast<TensorType>(inferred);
  return a && b && a.getElementType() == b.getElementType();
}

LogicalResult ShapeInference::merge(Operation *op, unsigned number,
                                    const InferredResult &inferred,
                                    const std::optional<Extents> &exact) {
  Value value = op->getResult(number);
  auto describe = [&](InFlightDiagnostic diagnostic) -> InFlightDiagnostic {
    if (op->getNumResults() > 1)
      diagnostic << " (result " << number << ")";
    return diagnostic;
  };
  if (inferred.type && isGuess(value.getType()))
    setType(value, inferred.type);
  if (inferred.type && !isCompatible(value.getType(), inferred.type))
    return describe(op->emitOpError("is declared to give ")
                    << value.getType() << ", its operands give "
                    << inferred.type);
  auto declared = dyn_cast<TensorType>(value.getType());
  if (!declared) {
    if (inferred.type && !isa<TensorType>(inferred.type))
      setType(value, inferred.type);
    return success();
  }

  auto fromSchema = dyn_cast_or_null<RankedTensorType>(inferred.type);
  auto ranked = dyn_cast<RankedTensorType>(declared);
  std::optional<int64_t> rank;
  for (std::optional<int64_t> one :
       {fromSchema ? std::optional<int64_t>(fromSchema.getRank())
                   : std::nullopt,
        exact ? std::optional<int64_t>(exact->size()) : std::nullopt,
        ranked ? std::optional<int64_t>(ranked.getRank()) : std::nullopt}) {
    if (one && rank && *one != *rank)
      return describe(op->emitOpError("is declared to give ")
                      << declared << " of rank " << *one
                      << ", its operands give rank " << *rank);
    if (one)
      rank = one;
  }
  if (!rank) {
    ++statistics.unranked;
    return success();
  }

  Extents extents;
  for (int64_t i = 0; i < *rank; ++i) {
    DimExpr extent;
    if (fromSchema && !fromSchema.isDynamicDim(i))
      extent = DimExpr::constant(fromSchema.getDimSize(i));
    if (exact && (*exact)[i].isKnown()) {
      const DimExpr &own = (*exact)[i];
      if (extent.isKnown() && own.isConstant() && own != extent)
        return describe(op->emitOpError("has extent ")
                        << extent.getConstant() << " by its schema and "
                        << own.getConstant() << " by its operands in dimension "
                        << i);
      if (!extent.isKnown())
        extent = own;
    }
    if (!extent.isKnown() && fromSchema)
      extent = facts.fromText(inferred.extents[i]);
    if (extent.isConstant() && extent.getConstant() < 0)
      return describe(op->emitOpError("gives a negative extent, ")
                      << extent.getConstant() << ", in dimension " << i);
    // The symbols of a region mean nothing outside.
    if (op->getNumRegions() != 0 && isInner(extent, op))
      extent = {};
    int64_t claim = ranked ? ranked.getDimSize(i) : ShapedType::kDynamic;
    if (!ShapedType::isDynamic(claim)) {
      if (extent.isConstant() && extent.getConstant() != claim) {
        Extents all(extents);
        all.push_back(extent);
        while (static_cast<int64_t>(all.size()) < *rank)
          all.push_back({});
        return describe(op->emitOpError("is declared to give ")
                        << declared << ", its operands give extent "
                        << extent.getConstant() << " instead of " << claim
                        << " in dimension " << i);
      }
      if (!extent.isKnown())
        extent = DimExpr::constant(claim);
    }
    if (!extent.isKnown()) {
      extent = getFresh(value, i);
      ++statistics.fresh;
    } else if (!extent.isConstant()) {
      ++statistics.symbolic;
    }
    extents.push_back(std::move(extent));
  }
  setType(value, makeType(declared, extents, declared.getElementType()));
  facts.setExtents(value, std::move(extents));
  return success();
}

//===----------------------------------------------------------------------===//
// Attributes
//===----------------------------------------------------------------------===//

static void setOrRemove(Operation *op, StringRef name, Attribute attr) {
  if (attr) {
    if (op->getDiscardableAttr(name) != attr)
      op->setDiscardableAttr(name, attr);
  } else if (op->getDiscardableAttr(name)) {
    op->removeDiscardableAttr(name);
  }
}

static ArrayAttr toTexts(MLIRContext *context, ArrayRef<DimExpr> extents) {
  SmallVector<Attribute> texts;
  for (const DimExpr &extent : extents)
    texts.push_back(StringAttr::get(
        context, extent.isConstant() ? std::string() : extent.str()));
  return ArrayAttr::get(context, texts);
}

static bool isDynamicTensor(Type type) {
  auto ranked = dyn_cast<RankedTensorType>(type);
  return ranked && !ranked.hasStaticShape();
}

void ShapeInference::writeDims(Operation *op) {
  ArrayAttr attr;
  if (llvm::any_of(op->getResultTypes(), isDynamicTensor)) {
    SmallVector<Attribute> lists;
    for (Value result : op->getResults())
      lists.push_back(toTexts(context, facts.getExtents(result)));
    attr = ArrayAttr::get(context, lists);
  }
  setOrRemove(op, onnx::names::kDims, attr);
}

void ShapeInference::writeValues(Operation *op) {
  SmallVector<Attribute> lists;
  bool any = false;
  // Constants are read where they are.
  if (!op->hasTrait<OpTrait::ConstantLike>())
    for (Value result : op->getResults()) {
      const ShapeValue *value = facts.getElements(result);
      if (!value || !value->anyKnown()) {
        lists.push_back(UnitAttr::get(context));
        continue;
      }
      any = true;
      SmallVector<Attribute> texts;
      for (const DimExpr &element : value->elements)
        texts.push_back(
            StringAttr::get(context, element.isKnown() ? element.str() : "?"));
      lists.push_back(ArrayAttr::get(context, texts));
    }
  setOrRemove(op, kValuesAttr, any ? ArrayAttr::get(context, lists) : nullptr);
}

void ShapeInference::writeRegionDims(Operation *op) {
  SmallVector<Attribute> regions;
  bool any = false;
  for (Region &region : op->getRegions()) {
    SmallVector<Attribute> arguments;
    for (BlockArgument argument : region.getArguments()) {
      any |= isDynamicTensor(argument.getType());
      arguments.push_back(toTexts(context, facts.getExtents(argument)));
    }
    regions.push_back(ArrayAttr::get(context, arguments));
  }
  setOrRemove(op, kRegionDimsAttr,
              any ? ArrayAttr::get(context, regions) : nullptr);
}

//===----------------------------------------------------------------------===//
// Ops
//===----------------------------------------------------------------------===//

/// Ops of dialects without rules keep their types and, where they have some,
/// their symbols.
void ShapeInference::keepForeign(Operation *op) {
  for (Value result : op->getResults()) {
    auto type = dyn_cast<RankedTensorType>(result.getType());
    if (!type)
      continue;
    Extents extents;
    for (int64_t i = 0; i < type.getRank(); ++i) {
      DimExpr extent;
      if (!type.isDynamicDim(i))
        extent = DimExpr::constant(type.getDimSize(i));
      else if (Extent kept = getDim(result, i); !getNumber(kept.text))
        extent = facts.dims.parse(kept.text);
      if (!extent.isKnown())
        extent = getFresh(result, i);
      extents.push_back(std::move(extent));
    }
    facts.setExtents(result, std::move(extents));
  }
}

LogicalResult ShapeInference::visitBlock(Block &block) {
  for (Operation &op : block)
    if (failed(visit(&op)))
      return failure();
  return success();
}

LogicalResult ShapeInference::visit(Operation *op) {
  if (op->getNumRegions() != 0 && failed(visitRegions(op)))
    return failure();
  if (op->getNumResults() == 0)
    return success();

  StringRef name = op->getName().getStringRef();
  const onnx::OpSignature *signature = onnx::lookupSignature(name);
  if (op->hasTrait<OpTrait::ConstantLike>()) {
    // The type comes with the value; elements are read when asked for.
    if (ElementsAttr value = getConstantValue(op->getResult(0)))
      setType(op->getResult(0), value.getShapedType());
    return success();
  }
  auto makeSymbol = [&](unsigned result, unsigned dim) {
    return getFresh(op->getResult(result), dim);
  };
  if (!signature) {
    NodeRef node(op, facts, makeSymbol);
    if (!applyMoEExtentRule(node)) {
      keepForeign(op);
    } else {
      for (unsigned i = 0; i < op->getNumResults(); ++i)
        if (failed(merge(op, i, {}, node.results[i])))
          return failure();
      writeRegionDims(op);
    }
    writeDims(op);
    return success();
  }

  SmallVector<InferredResult> inferred;
  std::string error;
  if (Region *taken = getTakenBranch(op))
    inferred = getYielded(*taken);
  else if (!inferBySchema(op, facts, inferred, error))
    return op->emitOpError("does not fit its operands: ") << error;
  NodeRef node(op, facts, makeSymbol);
  applyExtentRule(node);
  if (op->getNumRegions() != 0)
    setRegionResults(node);
  if (node.overridesSchema)
    for (InferredResult &result : inferred)
      if (auto ranked = dyn_cast_or_null<RankedTensorType>(result.type))
        result.type = UnrankedTensorType::get(ranked.getElementType());
  for (unsigned i = 0; i < op->getNumResults(); ++i)
    if (failed(merge(op, i, inferred[i], node.results[i])))
      return failure();
  writeDims(op);
  if (op->getNumRegions() != 0)
    writeRegionDims(op);

  if (!applyElementRule(node)) {
    SmallVector<std::string> texts;
    auto type = dyn_cast<RankedTensorType>(op->getResult(0).getType());
    if (type && type.hasStaticShape() && type.getRank() <= 1 &&
        propagateBySchema(op, facts, texts) &&
        static_cast<int64_t>(texts.size()) == type.getNumElements()) {
      node.values[0] = ShapeValue::ofShape(type.getShape());
      if (node.values[0])
        for (auto [element, text] : llvm::zip(node.values[0]->elements, texts))
          element = facts.fromText(text);
    }
  }
  for (auto [result, value] : llvm::zip(op->getResults(), node.values))
    facts.setElements(result, std::move(value));
  writeValues(op);
  return success();
}

//===----------------------------------------------------------------------===//
// Regions
//===----------------------------------------------------------------------===//

/// Number of carried values of a Loop or Scan, and the place of the first one
/// among the arguments of the body.
static std::pair<unsigned, unsigned> getCarried(Operation *op) {
  unsigned arguments = op->getRegion(0).getNumArguments();
  if (op->getName().getStringRef() == "onnx.Loop")
    return {arguments >= 2 ? arguments - 2 : 0, 2};
  auto scans = op->getAttrOfType<IntegerAttr>("num_scan_inputs");
  uint64_t count = scans ? scans.getValue().getLimitedValue(arguments) : 0;
  return {arguments - static_cast<unsigned>(count), 0};
}

/// Axis of scan input or output `i` in a list that may be absent.
static int64_t getScanAxis(Operation *op, StringRef name, unsigned i) {
  auto axes = op->getAttrOfType<DenseI64ArrayAttr>(name);
  return axes && i < axes.size() ? axes[i] : 0;
}

using DeclaredTypes = SmallVector<std::pair<Value, Type>>;

/// The types of all values that a region defines inside its blocks, and of the
/// arguments of regions nested in it.
static DeclaredTypes getTypes(Region &region) {
  DeclaredTypes types;
  region.walk([&](Operation *op) {
    for (Value result : op->getResults())
      types.push_back({result, result.getType()});
    for (Region &nested : op->getRegions())
      for (BlockArgument argument : nested.getArguments())
        types.push_back({argument, argument.getType()});
  });
  return types;
}

static void restore(const DeclaredTypes &types) {
  for (auto [value, type] : types)
    value.setType(type);
}

LogicalResult ShapeInference::visitRegions(Operation *op) {
  StringRef name = op->getName().getStringRef();
  bool hasBody = name == "onnx.Loop" || name == "onnx.Scan";
  if (hasBody && !op->getRegion(0).empty()) {
    auto [count, first] = getCarried(op);
    return visitBody(op, first, count);
  }
  Region *taken = getTakenBranch(op);
  for (Region &region : op->getRegions()) {
    if (taken && taken != &region) {
      visitUnused(region);
      continue;
    }
    for (Block &block : region) {
      for (BlockArgument argument : block.getArguments())
        if (auto type = dyn_cast<RankedTensorType>(argument.getType())) {
          Extents extents = facts.getExtents(argument);
          for (auto [i, extent] : llvm::enumerate(extents))
            if (!extent.isKnown())
              extent = getFresh(argument, i);
          facts.setExtents(argument, std::move(extents));
        }
      if (failed(visitBlock(block)))
        return failure();
    }
  }
  return success();
}

/// What never runs need not fit together: where it does not, its types stay as
/// they were.
void ShapeInference::visitUnused(Region &region) {
  const DeclaredTypes declared = getTypes(region);
  LogicalResult visited = success();
  {
    ScopedDiagnosticHandler quiet(context,
                                  [](Diagnostic &) { return success(); });
    for (Block &block : region)
      if (failed(visitBlock(block)))
        visited = failure();
  }
  if (failed(visited))
    restore(declared);
}

/// The branch of an If whose condition is a constant; else null. Exporters
/// leave such conditions where a rank decides.
Region *ShapeInference::getTakenBranch(Operation *op) {
  if (op->getName().getStringRef() != "onnx.If" || op->getNumRegions() != 2)
    return nullptr;
  const ShapeValue *condition = facts.getElements(op->getOperand(0));
  if (!condition || !condition->isSingle() ||
      !condition->elements[0].isConstant())
    return nullptr;
  // Regions stand in the order of their names: else_branch, then_branch.
  return &op->getRegion(condition->elements[0].getConstant() != 0);
}

SmallVector<InferredResult> ShapeInference::getYielded(Region &region) {
  SmallVector<InferredResult> results;
  if (!region.empty() && !region.front().empty())
    for (Value value : region.front().back().getOperands()) {
      InferredResult &result = results.emplace_back();
      result.type = value.getType();
      if (isa<RankedTensorType>(value.getType())) {
        facts.getExtents(value, result.extents);
      }
    }
  results.resize(region.getParentOp()->getNumResults());
  return results;
}

/// Gives the arguments of a body their types: the carried values as assumed,
/// slices of the scanned inputs, scalars for the rest.
void ShapeInference::setBodyArguments(Operation *op, ArrayRef<Extents> carried,
                                      unsigned firstCarried) {
  SmallVector<Value> inputs = getNodeInputs(op);
  Block &body = op->getRegion(0).front();
  for (BlockArgument argument : body.getArguments()) {
    unsigned number = argument.getArgNumber();
    auto declared = dyn_cast<TensorType>(argument.getType());
    if (!declared)
      continue;
    Extents extents;
    if (number < firstCarried) {
      // Loop's counter and condition.
    } else if (number - firstCarried < carried.size()) {
      Value input = number < inputs.size() ? inputs[number] : Value();
      if (!input || !isa<RankedTensorType>(input.getType())) {
        facts.setExtents(argument, facts.getExtents(argument));
        continue;
      }
      extents = carried[number - firstCarried];
    } else {
      Value input = number < inputs.size() ? inputs[number] : Value();
      auto type = input ? dyn_cast<RankedTensorType>(input.getType()) : nullptr;
      int64_t axis =
          getScanAxis(op, "scan_input_axes", number - carried.size());
      if (!type || !NodeRef::normalize(axis, type.getRank()))
        continue;
      extents = facts.getExtents(input);
      extents.erase(extents.begin() + axis);
    }
    for (auto [i, extent] : llvm::enumerate(extents))
      if (!extent.isKnown())
        extent = getFresh(argument, i);
    setType(argument, makeType(declared, extents, declared.getElementType()));
    facts.setExtents(argument, std::move(extents));
  }
}

LogicalResult ShapeInference::visitBody(Operation *op, unsigned firstCarried,
                                        unsigned numCarried) {
  Block &body = op->getRegion(0).front();
  SmallVector<Value> inputs = getNodeInputs(op);
  SmallVector<Extents> carried(numCarried);
  SmallVector<bool> isRanked(numCarried, false);
  for (unsigned i = 0; i < numCarried; ++i) {
    unsigned place = firstCarried + i;
    if (place >= inputs.size() || !inputs[place] ||
        !isa<RankedTensorType>(inputs[place].getType()))
      continue;
    isRanked[i] = true;
    carried[i] = facts.getExtents(inputs[place]);
  }

  // Types that follow from a wrong assumption are taken back.
  const DeclaredTypes declared = getTypes(op->getRegion(0));
  auto generalize = [&](unsigned i, unsigned dim) {
    carried[i][dim] = getFresh(body.getArgument(firstCarried + i), dim);
  };
  // Each round but the last makes an extent general.
  while (true) {
    setBodyArguments(op, carried, firstCarried);
    bool wasSpeculating = speculating;
    speculating = true;
    LogicalResult visited = success();
    {
      ScopedDiagnosticHandler quiet(context,
                                    [](Diagnostic &) { return success(); });
      visited = visitBlock(body);
    }
    speculating = wasSpeculating;

    // Loop yields its condition first.
    Operation &terminator = body.back();
    unsigned firstYield = firstCarried == 2 ? 1 : 0;
    bool changed = false;
    for (unsigned i = 0; i < numCarried; ++i) {
      unsigned place = firstYield + i;
      if (!isRanked[i] || place >= terminator.getNumOperands())
        continue;
      Value yielded = terminator.getOperand(place);
      Extents after = facts.getExtents(yielded);
      bool sameRank = isa<RankedTensorType>(yielded.getType()) &&
                      after.size() == carried[i].size();
      for (unsigned dim = 0; dim < carried[i].size(); ++dim) {
        BlockArgument argument = body.getArgument(firstCarried + i);
        bool isGeneral = carried[i][dim] == fresh.lookup({argument, dim});
        bool differs =
            failed(visited) || !sameRank || after[dim] != carried[i][dim];
        if (differs && !isGeneral) {
          generalize(i, dim);
          changed = true;
        }
      }
    }
    if (!changed) {
      if (succeeded(visited))
        return success();
      // Nothing left to assume: the failure is real, now tell it.
      restore(declared);
      setBodyArguments(op, carried, firstCarried);
      return visitBlock(body);
    }
    restore(declared);
  }
}

/// Results of Loop and Scan: carried values whose extents the body keeps have
/// the extents of their start; scanned ones get the trip count as a dimension.
void ShapeInference::setRegionResults(NodeRef &node) {
  Operation *op = node.op;
  StringRef name = op->getName().getStringRef();
  if ((name != "onnx.Loop" && name != "onnx.Scan") || op->getRegion(0).empty())
    return;
  bool isLoop = name == "onnx.Loop";
  auto [count, first] = getCarried(op);
  Block &body = op->getRegion(0).front();
  Operation &terminator = body.back();
  for (auto [place, value] : llvm::enumerate(getNodeOutputs(op))) {
    if (!value)
      continue;
    auto result = cast<OpResult>(value);
    unsigned operand = place + (isLoop ? 1 : 0);
    if (operand >= terminator.getNumOperands())
      return;
    Value yielded = terminator.getOperand(operand);
    if (!isa<RankedTensorType>(yielded.getType()))
      continue;
    Extents extents;
    if (place < count) {
      BlockArgument argument = body.getArgument(first + place);
      if (!isa<RankedTensorType>(argument.getType()))
        continue;
      extents = facts.getExtents(argument);
    } else {
      extents = facts.getExtents(yielded);
      DimExpr trips;
      int64_t axis = 0;
      if (!isLoop) {
        unsigned scan = place - count;
        axis = getScanAxis(op, "scan_output_axes", scan);
        int64_t inputAxis = getScanAxis(op, "scan_input_axes", 0);
        if (node.rank(count) >= 1 &&
            NodeRef::normalize(inputAxis, node.rank(count)))
          trips = node.extents(count)[inputAxis];
      }
      if (!NodeRef::normalize(axis, extents.size() + 1))
        continue;
      extents.insert(extents.begin() + axis, trips);
    }
    node.results[result.getResultNumber()] = std::move(extents);
  }
}

//===----------------------------------------------------------------------===//
// Functions
//===----------------------------------------------------------------------===//

LogicalResult ShapeInference::setArguments() {
  llvm::StringSet<> seen;
  for (BlockArgument argument : function.getArguments()) {
    unsigned number = argument.getArgNumber();
    auto type = dyn_cast<RankedTensorType>(argument.getType());
    if (!type)
      continue;
    auto names =
        function.getArgAttrOfType<ArrayAttr>(number, onnx::names::kDims);
    SmallVector<Attribute> left;
    Extents extents;
    for (int64_t i = 0; i < type.getRank(); ++i) {
      StringAttr name;
      if (names && i < static_cast<int64_t>(names.size()))
        name = dyn_cast<StringAttr>(names[i]);
      DimExpr extent;
      if (!type.isDynamicDim(i)) {
        extent = DimExpr::constant(type.getDimSize(i));
      } else {
        if (name)
          seen.insert(name.getValue());
        auto bound = name ? bindings.find(name.getValue()) : bindings.end();
        if (bound != bindings.end())
          extent = DimExpr::constant(bound->second);
        else
          extent = facts.dims.rawSymbol(getDim(argument, i).text);
      }
      bool keepsName = name && !extent.isConstant();
      left.push_back(
          StringAttr::get(context, keepsName ? name.getValue() : StringRef()));
      extents.push_back(std::move(extent));
    }
    if (names && ArrayAttr::get(context, left) != names)
      function.setArgAttr(number, onnx::names::kDims,
                          ArrayAttr::get(context, left));
    setType(argument, makeType(type, extents, type.getElementType()));
    facts.setExtents(argument, std::move(extents));
  }
  for (const auto &bound : bindings)
    if (!seen.contains(bound.getKey())) {
      SmallVector<StringRef> known(seen.keys());
      llvm::sort(known);
      InFlightDiagnostic diagnostic = emitError(function.getLoc())
                                      << "no argument has an extent named '"
                                      << bound.getKey() << "'; there are: ";
      llvm::interleaveComma(known, diagnostic,
                            [&](StringRef one) { diagnostic << one; });
      return diagnostic;
    }
  return success();
}

LogicalResult ShapeInference::run() {
  if (function.isExternal())
    return success();
  reserveSymbols();
  if (failed(setArguments()))
    return failure();
  Region &body = function.getFunctionBody();
  for (Block &block : body)
    if (failed(visitBlock(block)))
      return failure();
  // The signature follows the values.
  Operation *terminator = body.back().getTerminator();
  function.setType(function.cloneTypeWith(body.front().getArgumentTypes(),
                                          terminator->getOperandTypes()));
  return success();
}

LogicalResult moe::inferShapes(FunctionOpInterface function,
                               const llvm::StringMap<int64_t> &bindings,
                               ShapeInferenceStatistics &statistics) {
  return ShapeInference(function, bindings, statistics).run();
}
