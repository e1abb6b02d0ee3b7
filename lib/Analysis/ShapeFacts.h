//===- ShapeFacts.h - what shape inference knows of values ------*- C++ -*-===//
//
// The state of one run of shape inference over a function, and the view of a
// node that the rules of single operators work on.
//
//===----------------------------------------------------------------------===//
#ifndef MOE_LIB_ANALYSIS_SHAPEFACTS_H
#define MOE_LIB_ANALYSIS_SHAPEFACTS_H

#include "lib/Analysis/DimExpr.h"
#include "lib/ONNX/SchemaBridge.h"
#include "mlir/IR/BuiltinTypes.h"
#include "mlir/IR/Operation.h"
#include "llvm/ADT/DenseMap.h"
#include <optional>

namespace moe {

using Extents = llvm::SmallVector<DimExpr, 2>;

/// Elements of a small integer or boolean tensor, row-major; any of them may be
/// unknown.
struct ShapeValue {
  /// More elements are not tracked: no shape has so many.
  static constexpr int64_t kMaxElements = 256;

  llvm::SmallVector<int64_t, 2> shape;
  std::vector<DimExpr> elements;

  /// All elements unknown.
  static std::optional<ShapeValue> ofShape(llvm::ArrayRef<int64_t> shape);
  static ShapeValue scalar(DimExpr element) { return {{}, {element}}; }
  bool isSingle() const { return elements.size() == 1; }
  bool anyKnown() const {
    return llvm::any_of(elements, [](const DimExpr &e) { return e.isKnown(); });
  }
};

/// Extents and elements of the values seen so far.
class ShapeFacts : public OperandFacts {
public:
  DimContext dims;

  /// Extents of a ranked tensor; unknown ones where nothing was recorded.
  Extents getExtents(mlir::Value value);
  void setExtents(mlir::Value value, Extents extents);

  /// The elements, or null if nothing is known.
  const ShapeValue *getElements(mlir::Value value);
  void setElements(mlir::Value value, std::optional<ShapeValue> elements);

  /// The expression of a text that getExtents or getElements gave to the
  /// schemas.
  DimExpr fromText(llvm::StringRef text);

  // OperandFacts
  void getExtents(mlir::Value value,
                  llvm::SmallVectorImpl<std::string> &texts) override;
  bool getElements(mlir::Value value,
                   llvm::SmallVectorImpl<std::string> &texts) override;

private:
  std::string toText(const DimExpr &expr);

  llvm::DenseMap<mlir::Value, Extents> extents;
  /// Null: nothing is known. Pointers stay valid while the map grows.
  llvm::DenseMap<mlir::Value, std::unique_ptr<ShapeValue>> elements;
  llvm::StringMap<DimExpr> byText;
};

/// A node as the rules see it: inputs by place, attributes by name.
class NodeRef {
public:
  /// Makes the symbol of an extent of a result that depends on data.
  using MakeSymbol = llvm::function_ref<DimExpr(unsigned result, unsigned dim)>;

  NodeRef(mlir::Operation *op, ShapeFacts &facts, MakeSymbol makeSymbol)
      : op(op), facts(facts), dims(facts.dims), makeSymbol(makeSymbol),
        inputs(getNodeInputs(op)), results(op->getNumResults()),
        values(op->getNumResults()) {}

  bool has(unsigned input) const {
    return input < inputs.size() && inputs[input];
  }
  /// Rank of an input; -1 if it is absent or the rank is unknown.
  int64_t rank(unsigned input) const;
  /// Extents of an input; only for ranked ones.
  Extents extents(unsigned input) const {
    return facts.getExtents(inputs[input]);
  }
  /// Elements of an input, or null.
  const ShapeValue *elements(unsigned input) const {
    return has(input) ? facts.getElements(inputs[input]) : nullptr;
  }
  /// The elements as constants; false unless all are.
  bool constants(unsigned input, llvm::SmallVectorImpl<int64_t> &out) const;

  int64_t getInt(llvm::StringRef name, int64_t otherwise) const;
  llvm::StringRef getString(llvm::StringRef name,
                            llvm::StringRef otherwise) const;
  /// Null if absent.
  mlir::DenseI64ArrayAttr getInts(llvm::StringRef name) const;

  /// Normalises an axis; failure (false) when it is out of range.
  static bool normalize(int64_t &axis, int64_t rank) {
    if (axis < 0)
      axis += rank;
    return axis >= 0 && axis < rank;
  }

  mlir::Operation *op;
  ShapeFacts &facts;
  DimContext &dims;
  MakeSymbol makeSymbol;
  llvm::SmallVector<mlir::Value> inputs;
  /// Set by rules of operators whose schema gets extents wrong (it takes
  /// symbols for 0): only ours count then.
  bool overridesSchema = false;
  /// What the rules say of each result: extents (of the right number, unknown
  /// ones where they cannot tell), elements.
  llvm::SmallVector<std::optional<Extents>, 1> results;
  llvm::SmallVector<std::optional<ShapeValue>, 1> values;
};

/// Exact extents of results where a schema loses them: sums, products and
/// quotients of symbols. Leaves `results` empty when it knows nothing.
void applyExtentRule(NodeRef &node);

/// The same for ops of dialect `moe`. False if it knows nothing of the op.
bool applyMoEExtentRule(NodeRef &node);

/// Elements of results of shape arithmetic. Result types must be set. False if
/// the operator has no rule.
bool applyElementRule(NodeRef &node);

} // namespace moe

#endif // MOE_LIB_ANALYSIS_SHAPEFACTS_H
