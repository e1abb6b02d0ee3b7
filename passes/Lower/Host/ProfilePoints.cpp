//===- ProfilePoints.cpp - when operations begin and end ------------------===//
//
// An operation of the profile is what belongs to one node: its own loops and
// products and what was fused into them, which the locations of payloads tell.
// First all operations of a block are put into groups, each a run of those of
// one node; then points are placed around the groups. A node whose groups are
// interrupted by others, as fusion leaves them, pauses in between.
//
//===----------------------------------------------------------------------===//
#include "dialects/MoE/MoEDialect.h"
#include "dialects/Rt/RtDialect.h"
#include "passes/Lower/Host/Passes.h"
#include "passes/Lower/Host/ProfileWork.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/IR/BuiltinOps.h"
#include "llvm/ADT/SetVector.h"
#include "llvm/ADT/StringExtras.h"

namespace moe {
#define GEN_PASS_DEF_PROFILEPOINTSPASS
#include "passes/Lower/Host/Passes.h.inc"
} // namespace moe

using namespace mlir;
using namespace moe;

namespace {

//===----------------------------------------------------------------------===//
// Nodes
//===----------------------------------------------------------------------===//

/// The operator that `moe-profile-nodes` wrote into a node's place, or null.
StringAttr getKind(Attribute node) {
  if (auto named = dyn_cast<NameLoc>(node))
    return getKind(named.getChildLoc());
  if (auto fused = dyn_cast<FusedLoc>(node))
    return dyn_cast_or_null<StringAttr>(fused.getMetadata());
  return {};
}

/// A node's name, or its number in the model if it has none.
std::string getName(Attribute node) {
  if (auto named = dyn_cast<NameLoc>(node))
    return named.getName().str();
  std::string number;
  cast<LocationAttr>(node).walk([&](Location inner) {
    auto place = dyn_cast<FileLineColLoc>(inner);
    if (!place)
      return WalkResult::advance();
    number = "#" + std::to_string(place.getLine());
    return WalkResult::interrupt();
  });
  return number;
}

/// Adds the nodes that `loc` stands for.
void collectNodes(Location loc, SetVector<Attribute> &nodes) {
  if (isa<NameLoc>(loc) || getKind(loc)) {
    nodes.insert(loc);
  } else if (auto fused = dyn_cast<FusedLoc>(loc)) {
    for (Location part : fused.getLocations())
      collectNodes(part, nodes);
  } else if (auto call = dyn_cast<CallSiteLoc>(loc)) {
    collectNodes(call.getCallee(), nodes);
  }
}

/// The node that `op` itself belongs to, or null.
Attribute getNode(Operation *op) {
  SetVector<Attribute> nodes;
  collectNodes(op->getLoc(), nodes);
  return nodes.empty() ? Attribute() : nodes.front();
}

/// Adds the nodes of `op` and of all that it computes, in order.
void collectAllNodes(Operation *op, SetVector<Attribute> &nodes) {
  // Of a product its body is only what follows it.
  if (!isa<linalg::LinalgOp>(op))
    collectNodes(op->getLoc(), nodes);
  for (Region &region : op->getRegions())
    region.walk([&](Operation *inner) {
      if (!inner->hasTrait<OpTrait::ConstantLike>() &&
          !inner->hasTrait<OpTrait::IsTerminator>())
        collectNodes(inner->getLoc(), nodes);
    });
  collectNodes(op->getLoc(), nodes);
}

//===----------------------------------------------------------------------===//
// Groups
//===----------------------------------------------------------------------===//

/// What is measured as one: a node, or a part of one.
struct ProfiledOperation {
  /// The node, if known, and its part; then all nodes.
  Attribute node;
  StringRef part, fallbackKind;
  SetVector<Attribute> nodes;
  /// The last group of it.
  size_t lastGroup = 0;

  std::string describeName() const {
    SetVector<StringAttr> names;
    for (Attribute node : nodes)
      names.insert(StringAttr::get(node.getContext(), getName(node)));
    return llvm::join(
        llvm::map_range(names, [](StringAttr name) { return name.getValue(); }),
        " + ");
  }
  std::string describeKind() const {
    SmallVector<std::string> kinds;
    for (Attribute node : nodes) {
      StringAttr kind = getKind(node);
      kinds.push_back(kind ? kind.str() : fallbackKind.str());
      if (node == this->node && !part.empty())
        kinds.back() += ":" + part.str();
    }
    return kinds.empty() ? fallbackKind.str() : llvm::join(kinds, "+");
  }
};

/// Operations of one block that follow one another.
struct Group {
  size_t operation;
  SmallVector<Operation *> ops;
};

/// Whether `op` is code whose time counts.
bool isMeasured(Operation *op) {
  return hasOwnWork(op) || isa<scf::ForOp, scf::WhileOp, scf::IfOp,
                               scf::ForallOp, rt::ParallelForOp>(op);
}

/// Whether `op` is a loop or branch of the model, with nodes of its own inside.
bool holdsNodes(Operation *op) {
  if (!isa<scf::ForOp, scf::WhileOp, scf::IfOp>(op))
    return false;
  Attribute own = getNode(op);
  return op
      ->walk([&](Operation *inner) {
        if (isa<scf::ForallOp, rt::ParallelForOp>(inner))
          return WalkResult::skip();
        if (isa<func::CallOp>(inner))
          return WalkResult::interrupt();
        Attribute node = hasOwnWork(inner) ? getNode(inner) : own;
        return node && node != own ? WalkResult::interrupt()
                                   : WalkResult::advance();
      })
      .wasInterrupted();
}

struct ProfilePointsPass : moe::impl::ProfilePointsPassBase<ProfilePointsPass> {
  using ProfilePointsPassBase::ProfilePointsPassBase;

  /// Which part of a layer of experts `op` is; empty for other nodes.
  static StringRef getPart(Operation *op, Attribute node) {
    StringAttr kind = node ? getKind(node) : StringAttr();
    if (!kind || kind != "moe.experts")
      return "";
    if (isa_and_present<ir::MoEDialect>(op->getDialect()))
      return op->getName().stripDialect();
    return hasOwnWork(op) ? "rows" : "plan";
  }

  void addToGroup(Operation *op, bool continues) {
    Attribute node = getNode(op);
    StringRef part = getPart(op, node);
    StringRef kind = op->getName().getStringRef();
    auto key = std::make_pair(node ? Attribute(node)
                                   : StringAttr::get(&getContext(), kind),
                              StringAttr::get(&getContext(), part));
    auto [found, isNew] = numbers.try_emplace(key, operations.size());
    if (isNew) {
      operations.emplace_back();
      operations.back().node = node;
      operations.back().part = part;
      operations.back().fallbackKind = kind;
    }
    size_t number = found->second;
    collectAllNodes(op, operations[number].nodes);
    if (!continues || groups.back().operation != number)
      groups.push_back({number, {}});
    groups.back().ops.push_back(op);
    operations[number].lastGroup = groups.size() - 1;
  }

  void groupBlock(Block &block) {
    bool continues = false;
    for (Operation &op : block) {
      if (holdsNodes(&op)) {
        for (Region &region : op.getRegions())
          for (Block &inner : region)
            groupBlock(inner);
        continues = false;
      } else if (isMeasured(&op)) {
        addToGroup(&op, continues);
        continues = true;
      } else if (isa<func::CallOp>(op)) {
        continues = false;
      }
    }
  }

  /// Emits a point with the work of `ops` where `b` stands.
  static void emitPoint(OpBuilder &b, Location loc, Value on,
                        rt::ProfileEvent event, size_t operation,
                        ArrayRef<Operation *> ops) {
    auto branch = scf::IfOp::create(b, loc, on, /*withElseRegion=*/false);
    OpBuilder::InsertionGuard guard(b);
    b.setInsertionPointToStart(branch.thenBlock());
    WorkCounter work(b, loc);
    for (Operation *op : ops)
      work.add(op);
    Value flops = work.getFlops(), bytes = work.getBytes();
    rt::ProfileOp::create(b, loc, event, operation, flops, bytes);
  }

  void emitPoints(const Group &group, bool isLast, Value on) {
    Location loc = group.ops.front()->getLoc();
    OpBuilder b(group.ops.front());
    emitPoint(b, loc, on, rt::ProfileEvent::Begin, group.operation, {});
    // What loops hold is counted where it is.
    for (Operation *op : group.ops) {
      if (hasOwnWork(op))
        continue;
      SmallVector<Operation *> inside;
      op->walk<WalkOrder::PreOrder>([&](Operation *inner) {
        if (isa<scf::ForallOp, rt::ParallelForOp>(inner))
          return WalkResult::skip();
        if (!hasOwnWork(inner))
          return WalkResult::advance();
        inside.push_back(inner);
        return WalkResult::skip();
      });
      for (Operation *inner : inside) {
        b.setInsertionPointAfter(inner);
        emitPoint(b, loc, on, rt::ProfileEvent::Work, group.operation, inner);
      }
    }
    b.setInsertionPointAfter(group.ops.back());
    emitPoint(b, loc, on,
              isLast ? rt::ProfileEvent::End : rt::ProfileEvent::Pause,
              group.operation, group.ops);
  }

  void runOnOperation() override {
    operations.clear();
    numbers.clear();
    groups.clear();
    functions.clear();
    for (auto function : getOperation().getOps<func::FuncOp>()) {
      if (function.isExternal())
        continue;
      size_t first = groups.size();
      for (Block &block : function.getBody())
        groupBlock(block);
      if (groups.size() == first)
        continue;
      OpBuilder b(&function.getBody().front(),
                  function.getBody().front().begin());
      Value on = rt::ProfilingOp::create(b, function.getLoc(), b.getI1Type());
      functions.push_back({on, first});
    }
    // Only now it is known which group of an operation is the last one.
    for (auto [index, function] : llvm::enumerate(functions)) {
      size_t end = index + 1 < functions.size() ? functions[index + 1].second
                                                : groups.size();
      for (size_t i = function.second; i < end; ++i)
        emitPoints(groups[i], operations[groups[i].operation].lastGroup == i,
                   function.first);
    }

    Builder b(&getContext());
    SmallVector<Attribute> table;
    for (const ProfiledOperation &operation : operations)
      table.push_back(b.getDictionaryAttr(
          {b.getNamedAttr("kind", b.getStringAttr(operation.describeKind())),
           b.getNamedAttr("name", b.getStringAttr(operation.describeName()))}));
    getOperation()->setAttr(rt::profileOpsAttr, b.getArrayAttr(table));
    numOperations = operations.size();
  }

  std::vector<ProfiledOperation> operations;
  llvm::DenseMap<std::pair<Attribute, Attribute>, size_t> numbers;
  std::vector<Group> groups;
  /// Whether somebody profiles, and the first group, of each function.
  std::vector<std::pair<Value, size_t>> functions;
};

} // namespace
