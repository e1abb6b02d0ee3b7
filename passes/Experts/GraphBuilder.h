//===- GraphBuilder.h - making graphs of ONNX operators ---------*- C++ -*-===//
//
// What decompositions write their graphs with. Results get their element type
// only; ranks and extents are inferred when a whole function has been rewritten
// (lib/Analysis/ShapeInference.h). Operators are used as they are since opset
// 13 wherever that is possible, so that models of any opset can hold them.
//
//===----------------------------------------------------------------------===//
#ifndef MOE_PASSES_EXPERTS_GRAPHBUILDER_H
#define MOE_PASSES_EXPERTS_GRAPHBUILDER_H

#include "mlir/IR/Builders.h"
#include "mlir/IR/BuiltinTypes.h"
#include "mlir/IR/Operation.h"
#include "mlir/IR/Value.h"
#include "llvm/ADT/DenseMap.h"
#include <string>

namespace moe {

/// One extent of a shape: a number, or a tensor of one i64.
struct GraphExtent {
  int64_t size = mlir::ShapedType::kDynamic;
  mlir::Value value;

  GraphExtent(int64_t size) : size(size) {}
  GraphExtent(mlir::Value value) : value(value) {}
  bool isStatic() const { return !value; }
};

class GraphBuilder {
public:
  /// Nodes get the name in `loc`, if it has one, with their operator's name
  /// and a number behind it.
  GraphBuilder(mlir::OpBuilder &builder, mlir::Location loc, int64_t opset)
      : b(builder), opset(opset), origin(loc) {}

  mlir::OpBuilder &b;
  /// The opset of ai.onnx that the graph should fit.
  const int64_t opset;

  //===--- Operators
  //-------------------------------------------------------===//

  /// Creates `onnx.NAME` with one result per element type. A null operand is
  /// left out. Regions are added empty.
  mlir::Operation *create(llvm::StringRef name,
                          llvm::ArrayRef<mlir::Value> operands,
                          llvm::ArrayRef<mlir::Type> resultElements,
                          llvm::ArrayRef<mlir::NamedAttribute> attributes = {});

  /// An operator with one result; its elements are those of the first operand
  /// unless `element` says otherwise.
  mlir::Value op(llvm::StringRef name, llvm::ArrayRef<mlir::Value> operands,
                 llvm::ArrayRef<mlir::NamedAttribute> attributes = {},
                 mlir::Type element = {});

  mlir::NamedAttribute attr(llvm::StringRef name, int64_t value) {
    return b.getNamedAttr(name, b.getI64IntegerAttr(value));
  }
  mlir::NamedAttribute attr(llvm::StringRef name, llvm::StringRef value) {
    return b.getNamedAttr(name, b.getStringAttr(value));
  }

  //===--- Constants
  //-------------------------------------------------------===//

  // Equal constants of one block are one.

  /// A tensor of i64 of rank 1.
  mlir::Value ints(llvm::ArrayRef<int64_t> values);
  /// A scalar of type i64, i32 or an unsigned integer type.
  mlir::Value integer(int64_t value, mlir::Type element = {});
  /// A scalar of a float type.
  mlir::Value real(double value, mlir::Type element);
  mlir::Value constant(mlir::ElementsAttr value);

  //===--- What many decompositions need
  //-----------------------------------===//

  /// Nothing if the elements have the type already.
  mlir::Value cast(mlir::Value value, mlir::Type element);
  mlir::Value unsqueeze(mlir::Value value, llvm::ArrayRef<int64_t> axes);
  mlir::Value squeeze(mlir::Value value, llvm::ArrayRef<int64_t> axes);
  mlir::Value concat(llvm::ArrayRef<mlir::Value> values, int64_t axis);
  mlir::Value gather(mlir::Value data, mlir::Value indices, int64_t axis = 0);
  mlir::Value reshape(mlir::Value value, llvm::ArrayRef<GraphExtent> shape);
  mlir::Value expand(mlir::Value value, llvm::ArrayRef<GraphExtent> shape);
  /// A tensor of zeros.
  mlir::Value zeros(llvm::ArrayRef<GraphExtent> shape, mlir::Type element);
  mlir::Value slice(mlir::Value value, int64_t axis, int64_t begin, int64_t end,
                    int64_t step = 1);
  /// Parts of the given static sizes.
  llvm::SmallVector<mlir::Value> split(mlir::Value value, int64_t axis,
                                       llvm::ArrayRef<int64_t> sizes);
  /// Parts whose sizes are elements of a tensor of `count` i64.
  llvm::SmallVector<mlir::Value> split(mlir::Value value, int64_t axis,
                                       mlir::Value sizes, int64_t count);
  /// Sum over `axis`, which is dropped.
  mlir::Value sum(mlir::Value value, int64_t axis);

  /// Extent `i`; the rank must be known.
  GraphExtent extent(mlir::Value value, int64_t i);
  /// The extents as one tensor of i64.
  mlir::Value shape(llvm::ArrayRef<GraphExtent> extents);

  /// Clones a region of elementwise operators on scalars so that it works on
  /// tensors: `arguments` take the places of those of its block. Returns what
  /// it yields, which has the shape of the first argument (also where it does
  /// not depend on any).
  mlir::Value inlineScalars(mlir::Region &region,
                            llvm::ArrayRef<mlir::Value> arguments);

private:
  mlir::Location locationOf(llvm::StringRef name);

  mlir::Location origin;
  unsigned counter = 0;
  /// The graph grows at the end of blocks, so a constant is there for all that
  /// comes later in its block.
  llvm::DenseMap<std::pair<mlir::Block *, mlir::Attribute>, mlir::Value>
      constants;
};

mlir::Type getElement(mlir::Value value);

} // namespace moe

#endif // MOE_PASSES_EXPERTS_GRAPHBUILDER_H
