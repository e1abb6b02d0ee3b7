//===- DecomposeSwitch.cpp - moe.switch as a tree of onnx.If --------------===//
#include "dialects/ONNX/ONNXDialect.h"
#include "dialects/ONNX/ONNXOps.h"
#include "passes/Experts/Decompose.h"

using namespace mlir;
using namespace moe;
using namespace moe::ir;

namespace {
class SwitchTree {
public:
  SwitchTree(GraphBuilder &g, SwitchOp op) : g(g), op(op) {}

  /// The results of the branches [begin, end), at least two.
  ResultRange choose(int64_t begin, int64_t end);

  Value index;

private:
  void fill(Region &region, int64_t begin, int64_t end);

  GraphBuilder &g;
  SwitchOp op;
};
} // namespace

ResultRange SwitchTree::choose(int64_t begin, int64_t end) {
  int64_t middle = begin + (end - begin) / 2;
  Value isLower = g.op("Less", {index, g.integer(middle)}, {}, g.b.getI1Type());
  SmallVector<Type> elements;
  for (Type type : op.getResultTypes())
    elements.push_back(cast<RankedTensorType>(type).getElementType());
  auto choice = cast<onnx::IfOp>(g.create("If", {isLower}, elements));
  for (auto [result, type] :
       llvm::zip(choice->getResults(), op.getResultTypes()))
    result.setType(type);
  fill(choice.getThenBranch(), begin, middle);
  fill(choice.getElseBranch(), middle, end);
  return choice->getResults();
}

void SwitchTree::fill(Region &region, int64_t begin, int64_t end) {
  OpBuilder::InsertionGuard guard(g.b);
  if (end - begin == 1) {
    region.takeBody(op.getBranches()[begin]);
    Operation *yield = region.front().getTerminator();
    g.b.setInsertionPoint(yield);
    onnx::YieldOp::create(g.b, yield->getLoc(), yield->getOperands());
    yield->erase();
    return;
  }
  g.b.createBlock(&region);
  ResultRange results = choose(begin, end);
  onnx::YieldOp::create(g.b, op.getLoc(), results);
}

SmallVector<Value> moe::decomposeSwitch(GraphBuilder &g, SwitchOp op) {
  // Without results nothing can be seen of it.
  if (op.getNumResults() == 0)
    return {};
  int64_t count = op.getBranches().size();
  // The index is looked up in a table of the legal ones, so that others end
  // the run; the table would count negative ones from the end.
  Value index = g.cast(op.getIndex(), g.b.getI64Type());
  Value below = g.op("Less", {index, g.integer(0)}, {}, g.b.getI1Type());
  index = g.op("Where", {below, g.integer(count), index}, {}, g.b.getI64Type());
  if (count > 1) {
    SwitchTree tree(g, op);
    tree.index =
        g.gather(g.ints(llvm::to_vector(llvm::seq<int64_t>(0, count))), index);
    return llvm::to_vector_of<Value>(tree.choose(0, count));
  }
  Block &branch = op.getBranches().front().front();
  SmallVector<Value> yielded(branch.getTerminator()->getOperands());
  branch.getTerminator()->erase();
  op->getBlock()->getOperations().splice(Block::iterator(op),
                                         branch.getOperations());
  for (Value &value : yielded)
    value = g.gather(g.unsqueeze(value, {0}), index);
  return yielded;
}
