//===- Report.cpp - what experts and routers are and cost -----------------===//
//
// Pass moe-report: reads the ops of `moe` into one entry per layer, and writes
// the entries. The figures are those of the pass description.
//
//===----------------------------------------------------------------------===//

#include "dialects/MoE/MoEDialect.h"
#include "lib/Analysis/Activation.h"
#include "lib/Support/OutputFile.h"
#include "mlir/IR/BuiltinOps.h"
#include "passes/Experts/Passes.h"
#include "llvm/ADT/SetVector.h"
#include "llvm/ADT/TypeSwitch.h"
#include "llvm/Support/Format.h"
#include "llvm/Support/FormatVariadic.h"
#include "llvm/Support/JSON.h"
#include "llvm/Support/MathExtras.h"
#include <cmath>
#include <map>

using namespace mlir;

namespace moe {
#define GEN_PASS_DEF_MOEREPORT
#include "passes/Experts/Passes.h.inc"
} // namespace moe

using namespace moe;

namespace {

/// A feed-forward network of `moe.experts`; -1 for what is not known.
struct Network {
  int64_t experts = -1, hidden = -1, inner = -1, result = -1;
  ir::GateUp gateUp = ir::GateUp::None;
  std::string activation;
  /// Of all experts: weights, biases included, and bytes as stored.
  int64_t parameters = 0, bytes = 0;
  /// Weights of the products of one expert.
  int64_t weights = -1;
};

struct Layer {
  std::string name, kind;
  /// Experts that the router knows, slots per token.
  int64_t experts = -1, k = -1;
  ir::RoutingAttr routing;
  std::optional<Network> bank;
  SmallVector<Network> shared;
  /// Experts of `moe.trivial_experts` by kind.
  std::map<std::string, int64_t> trivial;
  /// Places of an expert, where experts choose tokens.
  std::optional<int64_t> capacity;
};

struct Cost {
  int64_t tokens;
  double active, routerFlops, routedFlops, sharedFlops;
  double routedBytes, sharedBytes;
};

constexpr int64_t kTokens[] = {1, 64, 512};

} // namespace

//===----------------------------------------------------------------------===//
// Reading
//===----------------------------------------------------------------------===//

static int64_t getExtent(Value value, int64_t i) {
  int64_t extent = cast<RankedTensorType>(value.getType()).getDimSize(i);
  return ShapedType::isDynamic(extent) ? -1 : extent;
}

/// a * b, -1 for what is not known or does not fit.
static int64_t multiply(int64_t a, int64_t b) {
  int64_t product;
  return a < 0 || b < 0 || llvm::MulOverflow(a, b, product) ? -1 : product;
}
static int64_t add(int64_t a, int64_t b) {
  int64_t sum;
  return a < 0 || b < 0 || llvm::AddOverflow(a, b, sum) ? -1 : sum;
}

static int64_t getElements(Value value) {
  int64_t elements = 1;
  for (int64_t extent : cast<RankedTensorType>(value.getType()).getShape())
    elements = multiply(elements, extent);
  return elements;
}

/// Bytes that a value takes where it is stored; a bank in few bits is what it
/// is decoded from.
static int64_t getStoredBytes(Value value) {
  int64_t bytes = 0;
  auto addBytes = [&](Value one) {
    unsigned bits =
        cast<RankedTensorType>(one.getType()).getElementTypeBitWidth();
    bytes = add(bytes, multiply(getElements(one), bits / 8));
  };
  if (auto packed = value.getDefiningOp<ir::DequantizeOp>())
    llvm::for_each(packed->getOperands(), addBytes);
  else
    addBytes(value);
  return bytes;
}

static Network readNetwork(ir::ExpertsOp op) {
  Network network;
  bool isOI = op.getLayout() == ir::BankLayout::OI;
  network.experts = op.getNumExperts();
  network.inner = op.getInnerWidth();
  network.hidden = getExtent(op.getGate(), isOI ? 2 : 1);
  if (network.hidden < 0)
    network.hidden = getExtent(op.getX(), 1);
  network.result = getExtent(op.getDown(), isOI ? 1 : 2);
  network.gateUp = op.getGateUp();
  network.activation = getActivationName(op.getActivation());
  for (Value value : {Value(op.getGate()), Value(op.getUp()),
                      Value(op.getDown()), Value(op.getGateBias()),
                      Value(op.getUpBias()), Value(op.getDownBias())}) {
    if (!value)
      continue;
    network.parameters = add(network.parameters, getElements(value));
    network.bytes = add(network.bytes, getStoredBytes(value));
  }
  int64_t inputs = multiply(op.isGated() ? 2 : 1, network.hidden);
  network.weights = multiply(network.inner, add(inputs, network.result));
  return network;
}

/// What `loc` calls a node.
static std::string getName(Location loc) {
  if (auto name = dyn_cast<NameLoc>(loc))
    return name.getName().str();
  if (auto fused = dyn_cast<FusedLoc>(loc))
    for (Location one : fused.getLocations())
      if (std::string name = getName(one); !name.empty())
        return name;
  return "";
}

/// Operators that change neither order nor number of tokens.
static bool isPassedThrough(Operation *op) {
  StringRef name = op->getName().getStringRef();
  return name == "onnx.Reshape" || name == "onnx.Cast" ||
         name == "onnx.Identity" || name == "onnx.Unsqueeze" ||
         name == "onnx.Squeeze";
}

/// Where a value comes from, behind changes of its form.
static Value getRoot(Value value) {
  while (Operation *op = value.getDefiningOp()) {
    if (!isPassedThrough(op) || op->getNumOperands() == 0)
      break;
    value = op->getOperand(0);
  }
  return value;
}

/// The additions that the result of an op reaches through products and changes
/// of form: where shared experts meet routed ones. A gate may scale either.
static llvm::SmallSetVector<Operation *, 4> getSums(Operation *from) {
  llvm::SmallSetVector<Operation *, 4> sums;
  SmallVector<Operation *> work = {from};
  while (!work.empty()) {
    for (Operation *user : work.pop_back_val()->getUsers()) {
      StringRef name = user->getName().getStringRef();
      bool isSum = name == "onnx.Add" || name == "onnx.Sum";
      if (isSum && !sums.insert(user))
        continue;
      // Behind the first sum come at most those of further terms.
      if ((isSum && sums.size() < 4) || name == "onnx.Mul" ||
          isPassedThrough(user))
        work.push_back(user);
    }
  }
  return sums;
}

static bool isShared(ir::ExpertsOp dense, ir::ExpertsOp routed) {
  if (getRoot(dense.getX()) != getRoot(routed.getX()))
    return false;
  auto sums = getSums(dense);
  return llvm::any_of(getSums(routed),
                      [&](Operation *sum) { return sums.contains(sum); });
}

static std::vector<Layer> readLayers(ModuleOp module) {
  SmallVector<ir::ExpertsOp> routed, dense;
  module.walk(
      [&](ir::ExpertsOp op) { (op.getIds() ? routed : dense).push_back(op); });
  // Shared experts belong to the first layer that they are added to.
  llvm::DenseMap<Operation *, SmallVector<ir::ExpertsOp>> sharedOf;
  llvm::DenseSet<Operation *> isTaken;
  for (ir::ExpertsOp op : routed)
    for (ir::ExpertsOp other : dense)
      if (!isTaken.contains(other) && isShared(other, op)) {
        isTaken.insert(other);
        sharedOf[op].push_back(other);
      }

  std::vector<Layer> layers;
  auto addLayer = [&](Operation *op, StringRef kind) -> Layer & {
    Layer &layer = layers.emplace_back();
    layer.name = getName(op->getLoc());
    layer.kind = kind.str();
    return layer;
  };
  module.walk<WalkOrder::PreOrder>([&](Operation *op) {
    llvm::TypeSwitch<Operation *>(op)
        .Case<ir::ExpertsOp>([&](ir::ExpertsOp op) {
          if (isTaken.contains(op))
            return;
          Layer &layer = addLayer(op, op.getIds() ? "routed" : "dense");
          layer.bank = readNetwork(op);
          layer.experts = op.getNumLogical();
          if (!op.getIds())
            return;
          layer.k = getExtent(op.getIds(), 1);
          // A capacity drops slots of a route, and leaves it that route.
          Value chosen = op.getIds();
          if (auto capacity = chosen.getDefiningOp<ir::CapacityOp>())
            chosen = capacity.getIds();
          auto route = chosen.getDefiningOp<ir::RouteOp>();
          if (route) {
            layer.routing = route.getRouting();
            layer.k = layer.routing.getK();
            layer.experts =
                std::max(layer.experts, getExtent(route.getLogits(), 1));
          }
          for (ir::ExpertsOp other : sharedOf[op])
            layer.shared.push_back(readNetwork(other));
          for (Operation *user : op.getIds().getUsers())
            if (auto trivial = dyn_cast<ir::TrivialExpertsOp>(user))
              for (Attribute kind : trivial.getKinds())
                ++layer.trivial[ir::stringifyTrivialKind(
                                    cast<ir::TrivialKindAttr>(kind).getValue())
                                    .str()];
        })
        .Case<ir::RouteBalancedOp>([&](ir::RouteBalancedOp op) {
          Layer &layer =
              addLayer(op, ir::stringifyBalancedMethod(op.getMethod()));
          layer.experts = getExtent(op.getLogits(), 1);
          layer.capacity = op.getCapacity();
        })
        .Case<ir::SoftRouteOp>(
            [&](ir::SoftRouteOp op) { addLayer(op, "soft"); })
        .Case<ir::SwitchOp>([&](ir::SwitchOp op) {
          Layer &layer = addLayer(op, "switch");
          layer.experts = op.getBranches().size();
          layer.k = 1;
        })
        .Case<ir::MixOp>([&](ir::MixOp op) {
          Layer &layer = addLayer(op, "mix");
          layer.experts = getExtent(op.getBank(), 0);
        });
  });
  return layers;
}

//===----------------------------------------------------------------------===//
// Figures
//===----------------------------------------------------------------------===//

/// None where an extent is not known.
static std::optional<Cost> getCost(const Layer &layer, int64_t tokens) {
  if (!layer.bank || layer.bank->weights < 0 || layer.bank->bytes < 0 ||
      layer.bank->experts < 1)
    return std::nullopt;
  const Network &bank = *layer.bank;
  Cost cost = {tokens, 1, 0, 0, 0, 0, 0};
  if (layer.kind == "dense") {
    cost.routedFlops = 2.0 * bank.weights;
    cost.routedBytes = static_cast<double>(bank.bytes) / tokens;
    return cost;
  }
  if (layer.k < 1 || layer.experts < 1)
    return std::nullopt;
  double experts = layer.experts, k = layer.k;
  double share = bank.experts / experts;
  cost.active =
      bank.experts * (1 - std::pow(1 - std::min(k / experts, 1.0), tokens));
  if (layer.routing)
    cost.routerFlops = 2.0 * bank.hidden * experts;
  cost.routedFlops = 2 * k * share * bank.weights;
  cost.routedBytes =
      cost.active * (static_cast<double>(bank.bytes) / bank.experts) / tokens;
  for (const Network &shared : layer.shared) {
    if (shared.weights < 0 || shared.bytes < 0)
      return std::nullopt;
    cost.sharedFlops += 2.0 * shared.weights;
    cost.sharedBytes += static_cast<double>(shared.bytes) / tokens;
  }
  return cost;
}

static std::string toText(Attribute attr) {
  std::string text;
  llvm::raw_string_ostream(text) << attr;
  return text;
}

//===----------------------------------------------------------------------===//
// Text
//===----------------------------------------------------------------------===//

static std::string orUnknown(int64_t number) {
  return number < 0 ? "?" : std::to_string(number);
}

static void printNetwork(llvm::raw_ostream &os, const Network &network) {
  os << "H = " << orUnknown(network.hidden)
     << ", I = " << orUnknown(network.inner);
  if (network.result != network.hidden)
    os << ", H' = " << orUnknown(network.result);
  os << ", " << network.activation
     << " (gate_up = " << ir::stringifyGateUp(network.gateUp) << ")";
}

static void printCosts(llvm::raw_ostream &os, const Layer &layer) {
  SmallVector<Cost> costs;
  for (int64_t tokens : kTokens)
    if (std::optional<Cost> cost = getCost(layer, tokens))
      costs.push_back(*cost);
  if (costs.empty())
    return;
  auto row = [&](StringRef label,
                 llvm::function_ref<double(const Cost &)> get) {
    os << "  " << llvm::left_justify(label, 26);
    for (const Cost &cost : costs)
      os << llvm::format(get(cost) < 100 ? "%16.1f" : "%16.0f", get(cost));
    os << "\n";
  };
  os << "  " << llvm::left_justify("per token, of T tokens", 26);
  for (const Cost &cost : costs)
    os << llvm::right_justify("T = " + std::to_string(cost.tokens), 16);
  os << "\n";
  row("operations", [](const Cost &cost) {
    return cost.routerFlops + cost.routedFlops + cost.sharedFlops;
  });
  row("bytes of weights",
      [](const Cost &cost) { return cost.routedBytes + cost.sharedBytes; });
}

static void printText(llvm::raw_ostream &os, ArrayRef<Layer> layers,
                      int64_t unraised) {
  os << "layers of experts: " << layers.size() << "\n";
  for (auto [index, layer] : llvm::enumerate(layers)) {
    os << "\nlayer " << index << ": " << layer.kind;
    if (!layer.name.empty())
      os << " \"" << layer.name << "\"";
    os << "\n";
    if (layer.kind != "dense" && (layer.experts >= 0 || layer.k >= 0)) {
      os << "  experts     E = " << orUnknown(layer.experts);
      if (layer.k >= 0)
        os << ", k = " << layer.k;
      if (layer.capacity)
        os << ", capacity = " << *layer.capacity;
      if (layer.bank && layer.bank->experts != layer.experts)
        os << ", of which " << orUnknown(layer.bank->experts)
           << " are in the bank";
      os << "\n";
    }
    if (layer.bank) {
      os << "  network     ";
      printNetwork(os, *layer.bank);
      os << "\n";
    }
    if (layer.routing)
      os << "  routing     " << toText(layer.routing) << "\n";
    for (const Network &shared : layer.shared) {
      os << "  shared      ";
      printNetwork(os, shared);
      os << "\n";
    }
    if (!layer.trivial.empty()) {
      os << "  trivial     ";
      llvm::interleaveComma(layer.trivial, os, [&](const auto &one) {
        os << one.second << " " << one.first;
      });
      os << "\n";
    }
    if (layer.bank && layer.bank->parameters >= 0) {
      os << "  parameters  " << layer.bank->parameters;
      if (layer.bank->experts > 1)
        os << " (" << layer.bank->parameters / layer.bank->experts
           << " per expert)";
      int64_t shared = 0;
      for (const Network &one : layer.shared)
        shared = add(shared, one.parameters);
      if (shared > 0)
        os << ", shared " << shared;
      os << ", " << orUnknown(layer.bank->bytes) << " bytes\n";
    }
    printCosts(os, layer);
  }
  if (unraised)
    os << "\n"
       << unraised
       << " nodes of com.microsoft are not raised yet (moe-raise-contrib)\n";
}

//===----------------------------------------------------------------------===//
// JSON
//===----------------------------------------------------------------------===//

static llvm::json::Value orNull(int64_t number) {
  return number < 0 ? llvm::json::Value(nullptr) : llvm::json::Value(number);
}

static llvm::json::Object toJson(const Network &network) {
  return llvm::json::Object{{"experts", orNull(network.experts)},
                            {"hidden", orNull(network.hidden)},
                            {"inner", orNull(network.inner)},
                            {"result", orNull(network.result)},
                            {"gate_up", ir::stringifyGateUp(network.gateUp)},
                            {"activation", network.activation},
                            {"parameters", orNull(network.parameters)},
                            {"bytes", orNull(network.bytes)}};
}

static llvm::json::Object toJson(const Layer &layer) {
  llvm::json::Object object{{"name", layer.name},
                            {"kind", layer.kind},
                            {"experts", orNull(layer.experts)},
                            {"k", orNull(layer.k)}};
  if (layer.capacity)
    object["capacity"] = *layer.capacity;
  if (layer.routing)
    object["routing"] = toText(layer.routing);
  if (!layer.bank)
    return object;
  object["bank"] = toJson(*layer.bank);
  llvm::json::Array shared, costs;
  for (const Network &one : layer.shared)
    shared.push_back(toJson(one));
  object["shared"] = std::move(shared);
  llvm::json::Object trivial;
  for (const auto &[kind, count] : layer.trivial)
    trivial[kind] = count;
  object["trivial"] = std::move(trivial);
  for (int64_t tokens : kTokens)
    if (std::optional<Cost> cost = getCost(layer, tokens))
      costs.push_back(llvm::json::Object{
          {"tokens", tokens},
          {"active_experts", cost->active},
          {"flops", llvm::json::Object{{"router", cost->routerFlops},
                                       {"routed", cost->routedFlops},
                                       {"shared", cost->sharedFlops}}},
          {"weight_bytes", llvm::json::Object{{"routed", cost->routedBytes},
                                              {"shared", cost->sharedBytes}}}});
  object["per_token"] = std::move(costs);
  return object;
}

static void printJson(llvm::raw_ostream &os, ArrayRef<Layer> layers,
                      int64_t unraised) {
  llvm::json::Array list;
  for (const Layer &layer : layers)
    list.push_back(toJson(layer));
  os << llvm::formatv("{0:2}",
                      llvm::json::Value(llvm::json::Object{
                          {"layers", std::move(list)}, {"unraised", unraised}}))
     << "\n";
}

//===----------------------------------------------------------------------===//
// Pass
//===----------------------------------------------------------------------===//

namespace {
struct MoEReport : public moe::impl::MoEReportBase<MoEReport> {
  using MoEReportBase::MoEReportBase;

  void runOnOperation() override {
    std::vector<Layer> layers = readLayers(getOperation());
    int64_t unraised = 0;
    getOperation().walk([&](Operation *op) {
      StringRef name = op->getName().getStringRef();
      unraised += name == "onnx_ms.MoE" || name == "onnx_ms.QMoE";
    });
    auto print = [&](llvm::raw_ostream &os) {
      if (format == ReportFormat::Json)
        printJson(os, layers, unraised);
      else
        printText(os, layers, unraised);
    };
    markAllAnalysesPreserved();
    if (output == "-") {
      print(llvm::outs());
      return;
    }
    std::string error;
    std::unique_ptr<OutputFile> file = OutputFile::open(output, error);
    if (file)
      print(file->os());
    if (!file || !file->keep(error)) {
      getOperation()->emitError("cannot write the report: ") << error;
      signalPassFailure();
    }
  }
};
} // namespace
