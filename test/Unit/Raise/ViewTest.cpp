//===- ViewTest.cpp - values that only move elements ----------------------===//

#include "passes/Raise/View.h"
#include "dialects/ONNX/ONNXDialect.h"
#include "lib/Analysis/ShapeInference.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/IR/BuiltinOps.h"
#include "mlir/IR/MLIRContext.h"
#include "mlir/Parser/Parser.h"
#include "gtest/gtest.h"

using namespace mlir;
using namespace moe;

namespace {
struct ViewTest : testing::Test {
  MLIRContext context;
  OwningOpRef<ModuleOp> module;
  DimContext dims;

  /// The view of the last result of a function of x [b, s, 6] and ids [n, 2].
  View view(const std::string &body, bool throughCasts = false) {
    context.loadDialect<onnx::ONNXDialect, func::FuncDialect>();
    std::string text =
        "func.func @f(%x: tensor<?x?x6xf32> {onnx.dims = [\"b\", \"s\", \"\"]},"
        "%ids: tensor<?x2xi64> {onnx.dims = [\"n\", \"\"]}) {\n" +
        body + "\nreturn\n}";
    module = parseSourceString<ModuleOp>(text, &context);
    ShapeInferenceStatistics statistics;
    auto function = *module->getOps<func::FuncOp>().begin();
    EXPECT_TRUE(succeeded(inferShapes(function, {}, statistics)));
    Value last = std::next(function.front().rbegin())->getResult(0);
    return View::of(last, dims, {}, throughCasts);
  }
  Value argument(unsigned i) {
    return (*module->getOps<func::FuncOp>().begin()).getArgument(i);
  }
};

std::string shape(const std::string &name, const std::string &numbers,
                  int count) {
  return "%" + name + " = onnx.Constant() {value_ints = array<i64: " + numbers +
         ">} : () -> tensor<" + std::to_string(count) + "xi64>\n";
}
} // namespace

TEST_F(ViewTest, TokensAreFlattened) {
  View v = view(shape("s", "-1, 6", 2) +
                "%0 = onnx.Reshape(%x, %s) : (tensor<?x?x6xf32>, "
                "tensor<2xi64>) -> tensor<?x6xf32>");
  EXPECT_EQ(v.getBase(), argument(0));
  EXPECT_TRUE(v.walks(0, {0, 1}));
  EXPECT_FALSE(v.walks(0, {1, 0}));
  EXPECT_TRUE(v.walks(1, {2}));
  EXPECT_TRUE(v.keepsOrder());
  EXPECT_FALSE(v.isIdentity());
}

TEST_F(ViewTest, TokensAreRepeated) {
  View v = view(shape("s", "-1, 6", 2) + shape("a", "1", 1) +
                shape("e", "1, 4, 1", 3) + R"(
    %0 = onnx.Reshape(%x, %s) : (tensor<?x?x6xf32>, tensor<2xi64>) -> tensor<?x6xf32>
    %1 = onnx.Unsqueeze(%0, %a) : (tensor<?x6xf32>, tensor<1xi64>) -> tensor<*xf32>
    %2 = onnx.Expand(%1, %e) : (tensor<*xf32>, tensor<3xi64>) -> tensor<*xf32>
    %3 = onnx.Reshape(%2, %s) : (tensor<*xf32>, tensor<2xi64>) -> tensor<*xf32>)");
  EXPECT_EQ(v.getBase(), argument(0));
  ASSERT_EQ(v.getAxis(0).size(), 3u);
  EXPECT_EQ(v.getAxis(0)[0].axis, 0);
  EXPECT_EQ(v.getAxis(0)[1].axis, 1);
  EXPECT_TRUE(v.getAxis(0)[2].isRepeat());
  EXPECT_TRUE(v.getAxis(0)[2].extent.isConstant(4));
  EXPECT_FALSE(v.keepsOrder());
}

TEST_F(ViewTest, TileRepeatsTheWhole) {
  View v = view(shape("r", "3, 1", 2) +
                "%0 = onnx.Tile(%ids, %r) : (tensor<?x2xi64>, tensor<2xi64>) "
                "-> tensor<*xi64>");
  ASSERT_EQ(v.getAxis(0).size(), 2u);
  EXPECT_TRUE(v.getAxis(0)[0].isRepeat());
  EXPECT_EQ(v.getAxis(0)[1].axis, 0);
}

TEST_F(ViewTest, AnAxisIsTakenApart) {
  View v = view(shape("f", "-1", 1) + shape("g", "-1, 2", 2) + R"(
    %0 = onnx.Reshape(%ids, %f) : (tensor<?x2xi64>, tensor<1xi64>) -> tensor<*xi64>
    %n = onnx.Neg(%0) : (tensor<*xi64>) -> tensor<*xi64>
    %1 = onnx.Reshape(%n, %g) : (tensor<*xi64>, tensor<2xi64>) -> tensor<*xi64>
    %2 = onnx.Transpose(%1) {perm = array<i64: 1, 0>} : (tensor<*xi64>) -> tensor<*xi64>)");
  EXPECT_EQ(v.getBaseRank(), 1u);
  ASSERT_EQ(v.getBaseAxis(0).size(), 2u);
  EXPECT_EQ(v.getAxis(0), Factors{v.getBaseAxis(0)[1]});
  EXPECT_EQ(v.getAxis(1), Factors{v.getBaseAxis(0)[0]});
  EXPECT_EQ(v.getAxis(1)[0].extent.str(), "n");
  EXPECT_FALSE(v.keepsOrder());
}

TEST_F(ViewTest, WhatMixesAxesIsItsOwnBase) {
  // [n, 2] transposed and reshaped to [n, 2] is no permutation of axes.
  View v = view(shape("g", "-1, 2", 2) + R"(
    %1 = onnx.Transpose(%ids) {perm = array<i64: 1, 0>} : (tensor<?x2xi64>) -> tensor<*xi64>
    %2 = onnx.Reshape(%1, %g) : (tensor<*xi64>, tensor<2xi64>) -> tensor<*xi64>)");
  EXPECT_NE(v.getBase(), argument(1));
  EXPECT_TRUE(v.isIdentity());
}

TEST_F(ViewTest, CastsAreLookedThroughOnDemand) {
  std::string body = "%0 = onnx.Cast(%ids) {to = 6 : i64} : "
                     "(tensor<?x2xi64>) -> tensor<?x2xi32>";
  View plain = view(body);
  EXPECT_NE(plain.getBase(), argument(1));
  View through = view(body, /*throughCasts=*/true);
  EXPECT_EQ(through.getBase(), argument(1));
}
