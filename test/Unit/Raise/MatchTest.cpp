//===- MatchTest.cpp - the vocabulary of the recognisers ------------------===//

#include "passes/Raise/Match.h"
#include "dialects/ONNX/ONNXDialect.h"
#include "lib/Analysis/ShapeInference.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/IR/BuiltinOps.h"
#include "mlir/IR/MLIRContext.h"
#include "mlir/Parser/Parser.h"
#include "gtest/gtest.h"
#include <fstream>
#include <limits>

using namespace mlir;
using namespace moe;

namespace {
struct MatchTest : testing::Test {
  MLIRContext context;
  OwningOpRef<ModuleOp> module;
  ShapeInferenceStatistics statistics;

  /// A function of x [b, 3] with `body`.
  void parse(const std::string &body) {
    context.loadDialect<onnx::ONNXDialect, func::FuncDialect>();
    std::string text = "func.func @f(%x: tensor<?x3xf32> {onnx.dims = [\"b\", "
                       "\"\"]}, %t: tensor<i1>) {\n" +
                       body + "\nreturn\n}";
    module = parseSourceString<ModuleOp>(text, &context);
    ASSERT_TRUE(module);
    for (auto function : module->getOps<func::FuncOp>())
      ASSERT_TRUE(succeeded(inferShapes(function, {}, statistics)));
  }
  /// The last result of the function's body.
  Value last() {
    Block &block = (*module->getOps<func::FuncOp>().begin()).front();
    return std::next(block.rbegin())->getResult(0);
  }
  Value x() { return (*module->getOps<func::FuncOp>().begin()).getArgument(0); }

  std::vector<double> elements() {
    std::optional<match::Constant> known = match::evaluate(last());
    std::vector<double> out;
    for (int64_t i = 0; known && i < known->size(); ++i)
      out.push_back(known->get(i));
    return out;
  }
};
} // namespace

static const char *const kTwoByThree = R"(
  %c = onnx.Constant() {value = dense<[[1, 2, 3], [4, 5, 6]]> : tensor<2x3xi64>}
      : () -> tensor<2x3xi64>
)";

TEST_F(MatchTest, CopiesAreLookedThrough) {
  parse(R"(
    %0 = onnx.Identity(%x) : (tensor<?x3xf32>) -> tensor<*xf32>
    %1 = onnx.Cast(%0) {to = 1 : i64} : (tensor<*xf32>) -> tensor<*xf32>
    %s = onnx.Constant() {value_ints = array<i64: -1, 3>} : () -> tensor<2xi64>
    %2 = onnx.Reshape(%1, %s) : (tensor<*xf32>, tensor<2xi64>) -> tensor<*xf32>
    %3 = onnx.Transpose(%2) {perm = array<i64: 0, 1>}
        : (tensor<*xf32>) -> tensor<*xf32>
    %4 = onnx.Dropout(%3) : (tensor<*xf32>) -> tensor<*xf32>)");
  EXPECT_EQ(match::strip(last()), x());
  EXPECT_EQ(match::getOperator(last()), "");
  // Training is decided at run time; another order; another type.
  parse(R"(
    %r = onnx.Constant() {value_float = 0.5 : f32} : () -> tensor<f32>
    %0 = onnx.Dropout(%x, %r, %t)
        : (tensor<?x3xf32>, tensor<f32>, tensor<i1>) -> tensor<*xf32>)");
  EXPECT_EQ(match::getOperator(last()), "Dropout");
  parse("%0 = onnx.Transpose(%x) : (tensor<?x3xf32>) -> tensor<*xf32>");
  EXPECT_EQ(match::getOperator(last()), "Transpose");
  parse("%0 = onnx.Cast(%x) {to = 11 : i64} : (tensor<?x3xf32>) -> "
        "tensor<*xf64>");
  EXPECT_EQ(match::getOperator(last()), "Cast");
  // The same number of elements in another shape.
  parse(R"(
    %s = onnx.Constant() {value_ints = array<i64: 3, -1>} : () -> tensor<2xi64>
    %0 = onnx.Reshape(%x, %s) : (tensor<?x3xf32>, tensor<2xi64>) -> tensor<*xf32>)");
  EXPECT_EQ(match::getOperator(last()), "Reshape");
}

TEST_F(MatchTest, SlicesThatAreCopies) {
  const std::string head = R"(
    %z = onnx.Constant() {value_ints = array<i64: 0>} : () -> tensor<1xi64>
    %e = onnx.Constant() {value_ints = array<i64: 9223372036854775807>}
        : () -> tensor<1xi64>
    %o = onnx.Constant() {value_ints = array<i64: 1>} : () -> tensor<1xi64>)";
  parse(head + R"(
    %0 = onnx.Slice(%x, %z, %e, %o, %o) : (tensor<?x3xf32>, tensor<1xi64>,
        tensor<1xi64>, tensor<1xi64>, tensor<1xi64>) -> tensor<*xf32>)");
  EXPECT_EQ(match::strip(last()), x());
  // All elements, the last one first.
  parse(head + R"(
    %b = onnx.Constant() {value_ints = array<i64: -1>} : () -> tensor<1xi64>
    %l = onnx.Constant() {value_ints = array<i64: -9>} : () -> tensor<1xi64>
    %0 = onnx.Slice(%x, %b, %l, %o, %b) : (tensor<?x3xf32>, tensor<1xi64>,
        tensor<1xi64>, tensor<1xi64>, tensor<1xi64>) -> tensor<?x3xf32>)");
  EXPECT_NE(match::strip(last()), x());
}

TEST_F(MatchTest, OperandsInEitherOrder) {
  const std::string half =
      "%h = onnx.Constant() {value_float = 0.5 : f32} : () -> tensor<f32>\n";
  Value a;
  double c = 0;
  parse(half + "%0 = onnx.Mul(%h, %x) : (tensor<f32>, tensor<?x3xf32>) -> "
               "tensor<*xf32>");
  EXPECT_TRUE(match::matchWithNumber(last(), "onnx.Mul", a, c));
  EXPECT_EQ(a, x());
  EXPECT_EQ(c, 0.5);
  EXPECT_TRUE(match::matchCommuted(last(), "onnx.Mul", [&](Value l, Value r) {
    return l == x() && match::isNumber(r, 0.5);
  }));
  parse(half + "%0 = onnx.Div(%h, %x) : (tensor<f32>, tensor<?x3xf32>) -> "
               "tensor<*xf32>");
  EXPECT_FALSE(match::matchWithNumber(last(), "onnx.Div", a, c));
  EXPECT_FALSE(match::matchScale(last(), a, c));
  parse(half + "%0 = onnx.Div(%x, %h) : (tensor<?x3xf32>, tensor<f32>) -> "
               "tensor<*xf32>");
  EXPECT_TRUE(match::matchScale(last(), a, c));
  EXPECT_EQ(c, 2);
}

TEST_F(MatchTest, Clamps) {
  Value a;
  double least, most;
  parse(R"(
    %h = onnx.Constant() {value_float = 0.5 : f32} : () -> tensor<f32>
    %0 = onnx.Clip(%x, _, %h) : (tensor<?x3xf32>, tensor<f32>) -> tensor<*xf32>)");
  EXPECT_TRUE(match::matchClamp(last(), a, least, most));
  EXPECT_EQ(least, -std::numeric_limits<double>::infinity());
  EXPECT_EQ(most, 0.5);
  parse(R"(
    %h = onnx.Constant() {value_float = 0.5 : f32} : () -> tensor<f32>
    %0 = onnx.Max(%h, %x) : (tensor<f32>, tensor<?x3xf32>) -> tensor<*xf32>)");
  EXPECT_TRUE(match::matchClamp(last(), a, least, most));
  EXPECT_EQ(a, x());
  EXPECT_EQ(least, 0.5);
}

TEST_F(MatchTest, Axes) {
  parse(R"(
    %a = onnx.Constant() {value_ints = array<i64: -1>} : () -> tensor<1xi64>
    %0 = onnx.ReduceSum(%x, %a) : (tensor<?x3xf32>, tensor<1xi64>) -> tensor<*xf32>)");
  EXPECT_TRUE(match::isOverLastAxis(last().getDefiningOp()));
  parse("%0 = onnx.ReduceSum(%x) : (tensor<?x3xf32>) -> tensor<*xf32>");
  EXPECT_FALSE(match::isOverLastAxis(last().getDefiningOp()));
  EXPECT_EQ(match::getAxes(last().getDefiningOp())->size(), 2u);
  parse(R"(
    %a = onnx.Constant() {value_ints = array<i64: 3, -2>} : () -> tensor<2xi64>
    %0 = onnx.Unsqueeze(%x, %a) : (tensor<?x3xf32>, tensor<2xi64>) -> tensor<*xf32>)");
  EXPECT_EQ(*match::getAxes(last().getDefiningOp()),
            (SmallVector<int64_t>{2, 3}));
}

TEST_F(MatchTest, MovementsOfConstants) {
  parse(std::string(kTwoByThree) +
        "%0 = onnx.Transpose(%c) : (tensor<2x3xi64>) -> tensor<*xi64>");
  EXPECT_EQ(elements(), (std::vector<double>{1, 4, 2, 5, 3, 6}));
  parse(std::string(kTwoByThree) + R"(
    %i = onnx.Constant() {value_ints = array<i64: -1, 0>} : () -> tensor<2xi64>
    %0 = onnx.Gather(%c, %i) {axis = 1 : i64}
        : (tensor<2x3xi64>, tensor<2xi64>) -> tensor<*xi64>)");
  EXPECT_EQ(elements(), (std::vector<double>{3, 1, 6, 4}));
  parse(std::string(kTwoByThree) + R"(
    %b = onnx.Constant() {value_ints = array<i64: 1>} : () -> tensor<1xi64>
    %e = onnx.Constant() {value_ints = array<i64: 99>} : () -> tensor<1xi64>
    %0 = onnx.Slice(%c, %b, %e, %b)
        : (tensor<2x3xi64>, tensor<1xi64>, tensor<1xi64>, tensor<1xi64>) -> tensor<*xi64>
    %1 = onnx.Concat(%c, %0) {axis = -1 : i64}
        : (tensor<2x3xi64>, tensor<*xi64>) -> tensor<*xi64>)");
  EXPECT_EQ(elements(), (std::vector<double>{1, 2, 3, 2, 3, 4, 5, 6, 5, 6}));
  parse(std::string(kTwoByThree) + R"(
    %0, %1 = onnx.Split(%c) {axis = 1 : i64, num_outputs = 2 : i64}
        : (tensor<2x3xi64>) -> (tensor<2x2xi64>, tensor<2x1xi64>)
    %2 = onnx.Identity(%1) : (tensor<2x1xi64>) -> tensor<2x1xi64>)");
  EXPECT_EQ(elements(), (std::vector<double>{3, 6}));
}

TEST_F(MatchTest, ArithmeticRoundsLikeTheNodes) {
  // 0.1 + 0.2 of f32 is no sum of doubles.
  parse(R"(
    %a = onnx.Constant() {value_float = 0.1 : f32} : () -> tensor<f32>
    %b = onnx.Constant() {value_float = 0.2 : f32} : () -> tensor<f32>
    %0 = onnx.Add(%a, %b) : (tensor<f32>, tensor<f32>) -> tensor<f32>)");
  EXPECT_EQ(elements(), (std::vector<double>{0.1f + 0.2f}));
  EXPECT_EQ(match::getNumber(last()), std::optional<double>(0.1f + 0.2f));
  parse(std::string(kTwoByThree) + R"(
    %two = onnx.Constant() {value_ints = array<i64: 2>} : () -> tensor<1xi64>
    %0 = onnx.Div(%c, %two) : (tensor<2x3xi64>, tensor<1xi64>) -> tensor<*xi64>)");
  EXPECT_EQ(elements(), (std::vector<double>{0, 1, 1, 2, 2, 3}));
  // No result.
  parse(std::string(kTwoByThree) + R"(
    %two = onnx.Constant() {value_ints = array<i64: 0>} : () -> tensor<1xi64>
    %0 = onnx.Div(%c, %two) : (tensor<2x3xi64>, tensor<1xi64>) -> tensor<*xi64>)");
  EXPECT_FALSE(match::evaluate(last()));
}

TEST_F(MatchTest, OneNumberInAnyShape) {
  parse(R"(
    %i = onnx.Constant() {value = dense<0xFF800000> : tensor<f32>} : () -> tensor<f32>
    %s = onnx.Shape(%x) : (tensor<?x3xf32>) -> tensor<*xi64>
    %0 = onnx.Expand(%i, %s) : (tensor<f32>, tensor<*xi64>) -> tensor<*xf32>)");
  EXPECT_TRUE(
      match::isNumber(last(), -std::numeric_limits<double>::infinity()));
  EXPECT_FALSE(match::evaluate(last()));
  parse(R"(
    %s = onnx.Shape(%x) : (tensor<?x3xf32>) -> tensor<*xi64>
    %0 = onnx.ConstantOfShape(%s) : (tensor<*xi64>) -> tensor<*xf32>)");
  EXPECT_TRUE(match::isNumber(last(), 0));
  parse("%0 = onnx.Relu(%x) : (tensor<?x3xf32>) -> tensor<*xf32>");
  EXPECT_FALSE(match::getNumber(last()));
}

TEST_F(MatchTest, Iota) {
  int64_t n = 0;
  parse(R"(
    %c = onnx.Constant() {value = dense<[[[0], [1], [2]]]> : tensor<1x3x1xi64>}
        : () -> tensor<1x3x1xi64>
    %s = onnx.Constant() {value_ints = array<i64: 1, 3>} : () -> tensor<2xi64>
    %0 = onnx.Reshape(%c, %s) : (tensor<1x3x1xi64>, tensor<2xi64>) -> tensor<*xi64>
    %1 = onnx.Cast(%0) {to = 1 : i64} : (tensor<*xi64>) -> tensor<*xf32>)");
  EXPECT_TRUE(match::isIota(last(), n));
  EXPECT_EQ(n, 3);
  parse(std::string(kTwoByThree) +
        "%0 = onnx.Identity(%c) : (tensor<2x3xi64>) -> tensor<*xi64>");
  EXPECT_FALSE(match::isIota(last(), n));
}

TEST_F(MatchTest, ElementsOfFiles) {
  std::string path = testing::TempDir() + "match_test.bin";
  const float numbers[] = {0.5f, -2.0f, 7.0f};
  std::ofstream(path, std::ios::binary)
      .write(reinterpret_cast<const char *>(numbers), sizeof numbers);
  parse("%0 = onnx.Initializer \"w\" = #onnx.file<\"" + path +
        "\", 0, 12> : tensor<3xf32>");
  EXPECT_EQ(elements(), (std::vector<double>{0.5, -2, 7}));
  EXPECT_TRUE(match::isConstant(last()));
  // A file that is not there tells nothing.
  parse("%0 = onnx.Initializer \"w\" = #onnx.file<\"" + path +
        ".none\", 0, 12> : tensor<3xf32>");
  EXPECT_FALSE(match::evaluate(last()));
}
