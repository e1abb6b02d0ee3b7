//===- ShareLayers.cpp - one function for layers that are alike -----------===//
//
// Exporters write the ops of one layer behind those of another, so layers that
// are alike show as a period in the sequence of ops. Periods are guessed from
// hashes: the distances at which short runs of ops come again. What a period
// saves and where it is cut best is counted on hashes too; whether its parts
// compute the same is then decided op by op (Alike.h).
//
//===----------------------------------------------------------------------===//
#include "passes/Share/Passes.h"

#include "dialects/MoE/MoEDialect.h"
#include "dialects/ONNX/ONNXDialect.h"
#include "dialects/ONNX/ONNXOps.h"
#include "dialects/Rt/RtDialect.h"
#include "lib/Analysis/Dims.h"
#include "passes/Share/Alike.h"

#include "mlir/IR/IRMapping.h"
#include "mlir/IR/Remarks.h"
#include "mlir/IR/SymbolTable.h"
#include "llvm/ADT/SetVector.h"
#include "llvm/ADT/StringSet.h"

#include <map>

namespace moe {
#define GEN_PASS_DEF_SHARELAYERS
#include "passes/Share/Passes.h.inc"
} // namespace moe

using namespace mlir;
using namespace moe;
using namespace moe::share;

namespace {

/// Most ops whose hashes, taken together, tell at which distance they come
/// again.
constexpr size_t widestWindow = 4;
/// Periods that are looked at more closely.
constexpr size_t mostPeriods = 32;

/// `count` sequences of `period` ops, one behind the other from op `first` on.
struct Run {
  size_t first = 0, period = 0, count = 0;
  size_t saved() const { return count ? (count - 1) * period : 0; }
};

/// A sequence that becomes a call, and how it differs from its model.
struct Instance {
  ArrayRef<Operation *> ops;
  Alike alike;
};

/// Whether `op` takes the compiler much work. Each layer has such ops, and
/// nothing in front of one is fused with it.
bool isHeavy(Operation *op) {
  static const llvm::StringSet<> names = {"onnx.MatMul",
                                          "onnx.Gemm",
                                          "onnx.Conv",
                                          "onnx.ConvTranspose",
                                          "onnx.Einsum",
                                          "onnx.LSTM",
                                          "onnx.GRU",
                                          "onnx.RNN",
                                          "onnx.MatMulInteger",
                                          "onnx.Attention",
                                          "onnx.If",
                                          "onnx.Loop",
                                          "onnx.Scan",
                                          "onnx_ms.MatMulNBits",
                                          "onnx_ms.MultiHeadAttention",
                                          "onnx_ms.Attention",
                                          "onnx_ms.GroupQueryAttention",
                                          "moe.experts",
                                          "moe.attention"};
  return names.contains(op->getName().getStringRef());
}

bool isNorm(Operation *op) {
  StringRef name = op->getName().getStringRef();
  return name == "moe.norm" || name.ends_with("Normalization");
}

/// The ops of a block, as one sequence.
class Sequence {
public:
  explicit Sequence(Block &block);

  /// The run that saves most, or none. Periods of `refused` do not count.
  Run findRun(size_t minOps, const llvm::DenseSet<size_t> &refused);

  std::vector<Operation *> ops;

private:
  Run runOf(size_t period) const;
  size_t costOfCut(size_t position, size_t period) const;
  bool hasHeavy(size_t first, size_t count) const;

  std::vector<size_t> hashes;
  llvm::DenseMap<Operation *, size_t> numbers;
};

Sequence::Sequence(Block &block) {
  for (Operation &op : block.without_terminator()) {
    if (isConstant(&op))
      continue;
    numbers[&op] = ops.size();
    ops.push_back(&op);
    hashes.push_back(hashOf(&op));
  }
}

bool Sequence::hasHeavy(size_t first, size_t count) const {
  return llvm::any_of(ArrayRef(ops).slice(first, count), isHeavy);
}

/// What it costs to cut in front of op `position`: the values that cross, and a
/// little for those that could have been fused with their only user.
size_t Sequence::costOfCut(size_t position, size_t period) const {
  size_t cost = 0;
  for (size_t i = position - period; i < position; ++i)
    for (Value value : ops[i]->getResults()) {
      bool crosses = false;
      for (Operation *user : value.getUsers()) {
        Operation *top = ops[i]->getBlock()->findAncestorOpInBlock(*user);
        auto number = numbers.find(top);
        crosses |= number == numbers.end() || number->second >= position;
      }
      if (!crosses)
        continue;
      cost += 4;
      if (value.hasOneUse() && !isHeavy(*value.getUsers().begin()))
        cost += 1;
    }
  return cost;
}

/// The stretch of this period that saves most, cut where that costs least.
Run Sequence::runOf(size_t period) const {
  Run best;
  for (size_t first = 0; first + 2 * period <= ops.size();) {
    size_t end = first + period;
    while (end < ops.size() && hashes[end] == hashes[end - period])
      ++end;
    size_t length = end - first, count = length / period;
    if (count >= 2 && (count - 1) * period > best.saved() &&
        hasHeavy(first, period)) {
      // A better cut may be worth one of many parts.
      size_t least = std::max<size_t>(2, count - 1), leastCost = SIZE_MAX;
      for (size_t shift = 0;
           shift < period && (length - shift) / period >= least; ++shift) {
        size_t cost = costOfCut(first + shift + period, period);
        if (cost >= leastCost)
          continue;
        leastCost = cost;
        best = {first + shift, period, (length - shift) / period};
      }
    }
    first = std::max(first + 1, end - period + 1);
  }
  return best;
}

Run Sequence::findRun(size_t minOps, const llvm::DenseSet<size_t> &refused) {
  // How often each distance occurs between runs of ops that look the same.
  size_t window = std::clamp<size_t>(minOps, 1, widestWindow);
  llvm::DenseMap<size_t, size_t> last;
  std::map<size_t, size_t> distances;
  for (size_t i = 0; i + window <= ops.size(); ++i) {
    size_t hash = llvm::hash_combine_range(hashes.begin() + i,
                                           hashes.begin() + i + window);
    auto [previous, isNew] = last.try_emplace(hash, i);
    if (!isNew && i - previous->second >= minOps)
      ++distances[i - previous->second];
    if (!isNew)
      previous->second = i;
  }
  std::vector<std::pair<size_t, size_t>> byCount;
  for (auto [distance, count] : distances)
    byCount.push_back({count, distance});
  llvm::sort(byCount, std::greater<>());
  byCount.resize(std::min(byCount.size(), mostPeriods));

  Run best;
  for (auto [count, period] : byCount) {
    Run run = refused.contains(period) ? Run() : runOf(period);
    if (run.saved() > best.saved())
      best = run;
  }
  return best;
}

struct ShareLayers : moe::impl::ShareLayersBase<ShareLayers> {
  using ShareLayersBase::ShareLayersBase;

  void runOnOperation() override {
    SymbolTable symbols(getOperation());
    SmallVector<func::FuncOp> functions(getOperation().getOps<func::FuncOp>());
    for (func::FuncOp function : functions)
      if (function.isPublic() && !function.isExternal() &&
          function.getBody().hasOneBlock())
        share(function, symbols);
  }

  void share(func::FuncOp function, SymbolTable &symbols);
  bool shareRun(func::FuncOp function, ArrayRef<Operation *> ops, Run run,
                unsigned number, SymbolTable &symbols);
  void missed(Operation *at, const Twine &reason);
};

void ShareLayers::missed(Operation *at, const Twine &reason) {
  remark::missed(at->getLoc(),
                 remark::RemarkOpts::name(getArgument()).category("share"))
      << remark::reason("{0}", reason.str());
}

/// An op on constants alone is computed where it is used: it belongs to the
/// layer that reads it.
void sinkConstantOps(Block &block) {
  SmallVector<Operation *> ops;
  for (Operation &op : block.without_terminator())
    ops.push_back(&op);
  // From the back: the users of an op are in their places before it.
  for (Operation *op : llvm::reverse(ops)) {
    auto isFixed = [](Value operand) {
      Operation *def = operand.getDefiningOp();
      return def && isConstant(def);
    };
    if (isConstant(op) || op->getNumRegions() || !op->getNumOperands() ||
        !isMemoryEffectFree(op) || !llvm::all_of(op->getOperands(), isFixed))
      continue;
    Operation *first = nullptr;
    for (Operation *user : op->getUsers()) {
      Operation *top = block.findAncestorOpInBlock(*user);
      if (top && (!first || top->isBeforeInBlock(first)))
        first = top;
    }
    if (first)
      op->moveBefore(first);
  }
}

/// Shapes, masks and tables of positions that all layers read stand in the
/// first one where nodes that compute the same were joined. They move in front
/// of it.
void hoistCommonOps(Block &block) {
  Operation *front = nullptr;
  llvm::DenseSet<Operation *> layers;
  for (Operation &op : llvm::make_early_inc_range(block.without_terminator())) {
    if (isConstant(&op))
      continue;
    bool stays = isHeavy(&op) || isNorm(&op) || op.getNumRegions() ||
                 !isMemoryEffectFree(&op) ||
                 llvm::any_of(op.getOperands(), [&](Value operand) {
                   return layers.contains(operand.getDefiningOp());
                 });
    if (stays) {
      layers.insert(&op);
      front = front ? front : &op;
    } else if (front) {
      for (Value operand : op.getOperands())
        if (Operation *def = operand.getDefiningOp();
            def && isConstant(def) && !def->isBeforeInBlock(front))
          def->moveBefore(front);
      op.moveBefore(front);
    }
  }
}

void ShareLayers::share(func::FuncOp function, SymbolTable &symbols) {
  Block &block = function.getBody().front();
  hoistCommonOps(block);
  sinkConstantOps(block);
  llvm::DenseSet<size_t> refused;
  unsigned made = 0;
  // Each round leaves fewer ops, or fewer periods to look at.
  while (true) {
    Sequence sequence(block);
    Run run = sequence.findRun(minOps, refused);
    if (!run.count)
      break;
    if (shareRun(function, sequence.ops, run, made, symbols))
      ++made;
    else
      refused.insert(run.period);
  }
  if (!made && refused.empty())
    missed(function, "no two layers are alike");
}

/// The texts of a value's extents, as ops have them.
ArrayAttr textsOf(Builder &b, Value value) {
  SmallVector<Attribute> texts;
  for (const Extent &extent : getDims(value))
    texts.push_back(b.getStringAttr(extent.isStatic() ? "" : extent.text));
  return b.getArrayAttr(texts);
}

/// "layer.0/MatMul" as the first of so many.
Location nameFirst(Location loc, size_t count) {
  auto name = dyn_cast<NameLoc>(loc);
  if (!name)
    return loc;
  auto text =
      StringAttr::get(loc.getContext(), name.getName().getValue() + " (1 of " +
                                            Twine(count) + " alike)");
  return NameLoc::get(text, name.getChildLoc());
}

/// The parts of `run` that are like the part with the number `model`.
std::vector<Instance> findInstances(ArrayRef<Operation *> ops, Run run,
                                    size_t model, std::string &reason) {
  auto partOf = [&](size_t i) {
    return ops.slice(run.first + i * run.period, run.period);
  };
  std::vector<Instance> instances;
  for (size_t i = 0; i < run.count; ++i) {
    instances.push_back({partOf(i), {}});
    if (instances.back().alike.match(partOf(model), partOf(i)))
      continue;
    if (reason.empty())
      reason = instances.back().alike.reason;
    instances.pop_back();
  }
  return instances;
}

/// Results of the model that any instance hands on: (op, result).
SmallVector<std::pair<size_t, unsigned>>
findOutputs(ArrayRef<Instance> instances) {
  llvm::SetVector<std::pair<size_t, unsigned>> outputs;
  for (const Instance &instance : instances) {
    llvm::DenseSet<Operation *> inside(instance.ops.begin(),
                                       instance.ops.end());
    auto isOutside = [&](Operation *user) {
      Block *block = instance.ops.front()->getBlock();
      return !inside.contains(block->findAncestorOpInBlock(*user));
    };
    for (auto [number, op] : llvm::enumerate(instance.ops))
      for (OpResult result : op->getResults())
        if (llvm::any_of(result.getUsers(), isOutside))
          outputs.insert({number, result.getResultNumber()});
  }
  auto sorted = outputs.takeVector();
  llvm::sort(sorted);
  return {sorted.begin(), sorted.end()};
}

/// The function of `instances`. The values in `outputs` are its results;
/// `parameters` gets the constants of the model that calls choose.
func::FuncOp makeFunction(StringRef name, ArrayRef<Operation *> model,
                          ArrayRef<Instance> instances,
                          ArrayRef<std::pair<size_t, unsigned>> outputs,
                          SmallVectorImpl<Value> &parameters) {
  Location loc = nameFirst(model.front()->getLoc(), instances.size());
  OpBuilder b(model.front()->getContext());
  SmallVector<Type> inputTypes, resultTypes;
  for (const auto &input : instances.front().alike.inputs)
    inputTypes.push_back(input.first.getType());
  for (auto [number, result] : outputs)
    resultTypes.push_back(model[number]->getResult(result).getType());
  auto function = func::FuncOp::create(
      loc, name, b.getFunctionType(inputTypes, resultTypes));
  function.setPrivate();
  Block *body = function.addEntryBlock();
  b.setInsertionPointToStart(body);
  IRMapping map;
  for (auto [number, input] : llvm::enumerate(instances.front().alike.inputs)) {
    map.map(input.first, body->getArgument(number));
    function.setArgAttr(number, kArgDimsAttr, textsOf(b, input.first));
  }
  for (const auto &[constant, own] : instances.front().alike.constants) {
    Operation *def = constant.getDefiningOp();
    ElementsAttr value = onnx::getConstantElements(def);
    bool equal = llvm::all_of(instances, [&](const Instance &instance) {
      Value other = instance.alike.constants.lookup(constant);
      return onnx::getConstantElements(other.getDefiningOp()) == value;
    });
    if (equal) {
      b.clone(*def, map);
      continue;
    }
    auto parameter = rt::ParameterAttr::get(
        b.getContext(), value.getShapedType(), parameters.size());
    auto initializer = onnx::InitializerOp::create(
        b, def->getLoc(), constant.getType(),
        b.getStringAttr("parameter" + Twine(parameters.size())), parameter);
    map.map(constant, initializer.getResult());
    parameters.push_back(constant);
  }
  for (Operation *op : model)
    b.clone(*op, map);
  SmallVector<Value> results;
  for (auto [number, result] : outputs)
    results.push_back(map.lookup(model[number]->getResult(result)));
  func::ReturnOp::create(b, loc, results);
  function.walk([&](Operation *op) {
    if (!isConstant(op) && op != function)
      op->setLoc(nameFirst(op->getLoc(), instances.size()));
  });
  return function;
}

/// Replaces the ops of an instance by a call.
void replaceByCall(const Instance &instance, func::FuncOp function,
                   ArrayRef<std::pair<size_t, unsigned>> outputs,
                   ArrayRef<Value> parameters) {
  OpBuilder b(instance.ops.back());
  b.setInsertionPointAfter(instance.ops.back());
  SmallVector<Value> operands;
  for (const auto &input : instance.alike.inputs)
    operands.push_back(input.second->get());
  SmallVector<Attribute> arguments, dims;
  for (Value parameter : parameters)
    arguments.push_back(onnx::getConstantElements(
        instance.alike.constants.lookup(parameter).getDefiningOp()));
  SmallVector<Value> results;
  for (auto [number, result] : outputs) {
    results.push_back(instance.ops[number]->getResult(result));
    dims.push_back(textsOf(b, results.back()));
  }
  auto call = func::CallOp::create(b, instance.ops.front()->getLoc(), function,
                                   operands);
  call->setAttr(rt::argumentsAttr, b.getArrayAttr(arguments));
  call->setAttr(onnx::names::kDims, b.getArrayAttr(dims));
  for (auto [old, now] : llvm::zip_equal(results, call.getResults()))
    old.replaceUsesWithIf(now, [&](OpOperand &use) {
      return use.getOwner()->getBlock() != call->getBlock() ||
             !use.getOwner()->isBeforeInBlock(call);
    });
  for (Operation *op : llvm::reverse(instance.ops))
    op->erase();
}

/// Puts the parts of `run` that are alike into a function. False if there are
/// no two of them.
bool ShareLayers::shareRun(func::FuncOp function, ArrayRef<Operation *> ops,
                           Run run, unsigned number, SymbolTable &symbols) {
  std::string reason;
  std::vector<Instance> instances;
  size_t chosen = 0;
  // The first layer of a model is not always like the others.
  for (size_t i = 0; i < std::min<size_t>(run.count, 3); ++i) {
    std::vector<Instance> found = findInstances(ops, run, i, reason);
    if (found.size() <= instances.size())
      continue;
    instances = std::move(found);
    chosen = i;
  }
  ArrayRef<Operation *> model =
      ops.slice(run.first + chosen * run.period, run.period);
  if (instances.size() < 2) {
    missed(model.front(), Twine(run.count) + " sequences of " +
                              Twine(run.period) +
                              " operations look alike, but " + reason);
    return false;
  }
  auto outputs = findOutputs(instances);
  auto isTensor = [](Value value) {
    return isa<RankedTensorType>(value.getType());
  };
  for (const auto &input : instances.front().alike.inputs)
    if (!isTensor(input.first)) {
      missed(model.front(), "a layer gets a value that is no tensor of known "
                            "rank from outside");
      return false;
    }
  for (auto [op, result] : outputs)
    if (!isTensor(model[op]->getResult(result))) {
      missed(model.front(), "a layer hands on a value that is no tensor of "
                            "known rank");
      return false;
    }

  SmallVector<Value> parameters;
  func::FuncOp layer =
      makeFunction((function.getName() + ".layer." + Twine(number)).str(),
                   model, instances, outputs, parameters);
  symbols.insert(layer);
  for (Instance &instance : instances) {
    replaceByCall(instance, layer, outputs, parameters);
    ++numCalls;
  }
  ++numLayers;
  remark::passed(layer.getLoc(),
                 remark::RemarkOpts::name(getArgument()).category("share"))
      << (Twine(instances.size()) + " sequences of " + Twine(run.period) +
          " operations share one function")
             .str();
  return true;
}

} // namespace
