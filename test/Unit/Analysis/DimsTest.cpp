//===- DimsTest.cpp - what inference leaves, as later stages read it ------===//

#include "lib/Analysis/Dims.h"
#include "dialects/ONNX/ONNXDialect.h"
#include "lib/Analysis/ShapeInference.h"
#include "lib/ONNX/SchemaBridge.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/IR/BuiltinOps.h"
#include "mlir/IR/MLIRContext.h"
#include "mlir/Parser/Parser.h"
#include "gtest/gtest.h"

using namespace mlir;
using namespace moe;

namespace {
struct DimsTest : testing::Test {
  MLIRContext context;
  OwningOpRef<ModuleOp> module;
  ShapeInferenceStatistics statistics;

  void infer(StringRef text) {
    context.loadDialect<onnx::ONNXDialect, func::FuncDialect>();
    module = parseSourceString<ModuleOp>(text, &context);
    ASSERT_TRUE(module);
    for (auto function : module->getOps<func::FuncOp>())
      ASSERT_TRUE(succeeded(inferShapes(function, {}, statistics)));
  }

  /// Result 0 of the n-th op of that name.
  Value find(StringRef name, unsigned n = 0) {
    Value found;
    module->walk([&](Operation *op) {
      if (op->getName().getStringRef() == name && n-- == 0)
        found = op->getResult(0);
    });
    return found;
  }
  Value argument(unsigned i) {
    return (*module->getOps<func::FuncOp>().begin()).getArgument(i);
  }
};
} // namespace

TEST_F(DimsTest, EqualTextsAreEqualExtents) {
  infer(R"(
    func.func @f(%x: tensor<?x?x8xf32> {onnx.dims = ["b", "s", ""]},
                 %y: tensor<?xf32>) -> tensor<*xf32> {
      %0 = onnx.Transpose(%x) {perm = array<i64: 1, 0, 2>}
          : (tensor<?x?x8xf32>) -> tensor<*xf32>
      %1 = onnx.Relu(%y) : (tensor<?xf32>) -> tensor<*xf32>
      return %0 : tensor<*xf32>
    })");
  Value x = argument(0), y = argument(1), t = find("onnx.Transpose");
  EXPECT_TRUE(sameExtent(x, 0, t, 1));
  EXPECT_FALSE(sameExtent(x, 0, t, 0));
  EXPECT_TRUE(sameExtent(x, 2, t, 2));
  EXPECT_FALSE(sameExtent(x, 5, t, 5));
  EXPECT_EQ(getDim(t, 2).size, 8);
  EXPECT_EQ(getDim(t, 0).text, "s");
  // A nameless argument is the same as what has its extents.
  EXPECT_TRUE(sameExtents(y, find("onnx.Relu")));
  EXPECT_FALSE(sameExtents(x, y));
  EXPECT_EQ(getDims(t).size(), 3u);
}

TEST_F(DimsTest, ElementsOfShapes) {
  infer(R"(
    func.func @f(%x: tensor<?x3x8xf32> {onnx.dims = ["b", "", ""]}) {
      %0 = onnx.Shape(%x) : (tensor<?x3x8xf32>) -> tensor<*xi64>
      %1 = onnx.Constant() {value = dense<[2, -9223372036854775808, 5]>
          : tensor<3xi64>} : () -> tensor<3xi64>
      %2 = onnx.Mul(%0, %1) : (tensor<*xi64>, tensor<3xi64>) -> tensor<*xi64>
      %3 = onnx.Constant() {value_ints = array<i64: 4, 5>} : () -> tensor<2xi64>
      %4 = onnx.ReduceProd(%0) {keepdims = 0 : i64}
          : (tensor<*xi64>) -> tensor<*xi64>
      return
    })");
  auto shape = getShapeValue(find("onnx.Shape"));
  ASSERT_TRUE(shape);
  EXPECT_EQ((*shape)[0].text, "b");
  EXPECT_EQ((*shape)[1].size, 3);
  EXPECT_FALSE(getConstantShape(find("onnx.Shape")));
  // 3 times the least number overflows: that element is not known.
  auto product = getShapeValue(find("onnx.Mul"));
  ASSERT_TRUE(product);
  EXPECT_EQ((*product)[0].text, "2*b");
  EXPECT_FALSE((*product)[1].isKnown());
  EXPECT_EQ((*product)[2].size, 40);
  EXPECT_EQ(getConstantShape(find("onnx.Constant")),
            (SmallVector<int64_t>{2, INT64_MIN, 5}));
  EXPECT_EQ(getConstantShape(find("onnx.Constant", 1)),
            (SmallVector<int64_t>{4, 5}));
  auto size = getShapeValue(find("onnx.ReduceProd"));
  ASSERT_TRUE(size);
  DimContext dims;
  EXPECT_EQ(toExpr(dims, size->front()),
            dims.symbol("b") * DimExpr::constant(24));
}

TEST_F(DimsTest, SymbolsOutliveChanges) {
  infer(R"(
    func.func @f(%x: tensor<?xi1> {onnx.dims = ["n"]}) {
      %0 = onnx.NonZero(%x) : (tensor<?xi1>) -> tensor<*xi64>
      %1 = onnx.NonZero(%x) : (tensor<?xi1>) -> tensor<*xi64>
      return
    })");
  Value second = find("onnx.NonZero", 1);
  std::string name = getDim(second, 1).text.str();
  EXPECT_NE(name, getDim(find("onnx.NonZero"), 1).text);
  // A copy in front takes a new name, the others keep theirs, or swap: none of
  // the three may share one.
  Operation *copy = second.getDefiningOp()->clone();
  find("onnx.NonZero").getDefiningOp()->getBlock()->push_front(copy);
  for (auto function : module->getOps<func::FuncOp>())
    ASSERT_TRUE(succeeded(inferShapes(function, {}, statistics)));
  llvm::SmallVector<StringRef> names;
  for (unsigned i = 0; i < 3; ++i)
    names.push_back(getDim(find("onnx.NonZero", i), 1).text);
  EXPECT_NE(names[0], names[1]);
  EXPECT_NE(names[1], names[2]);
  EXPECT_NE(names[0], names[2]);
}

TEST_F(DimsTest, SchemasAnswerAboutNodes) {
  infer(R"(
    func.func @f(%x: tensor<2x8xf32>) {
      %0 = onnx.Gelu(%x) {approximate = "tanh"}
          : (tensor<2x8xf32>) -> tensor<2x8xf32>
      %1 = onnx.Relu(%x) : (tensor<2x8xf32>) -> tensor<2x8xf32>
      return
    })");
  Operation *gelu = find("onnx.Gelu").getDefiningOp();
  EXPECT_EQ(checkBySchema(gelu), "");
  EXPECT_FALSE(getFunctionBody(gelu).empty());
  EXPECT_EQ(getNodeInputs(gelu).size(), 1u);
  EXPECT_EQ(getNodeOutputs(gelu).size(), 1u);
}
