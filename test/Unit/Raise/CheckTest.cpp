//===- CheckTest.cpp - raises that are and are not what they replace ------===//

#include "dialects/ONNX/ONNXDialect.h"
#include "lib/Analysis/ShapeInference.h"
#include "lib/Check/HostRaiseCheck.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/IR/BuiltinOps.h"
#include "mlir/IR/MLIRContext.h"
#include "mlir/Parser/Parser.h"
#include "moe/InitAllDialects.h"
#include "passes/Raise/RaiseCheck.h"
#include "gtest/gtest.h"

using namespace mlir;
using namespace moe;

namespace {
struct CheckTest : testing::Test {
  std::string why;

  /// Checks the last but one result of a function of x [n, 4] and ids [n, 2]
  /// against the last one, cut at both arguments.
  bool check(const std::string &body, bool isOn = true) {
    DialectRegistry registry;
    moe::registerAllDialects(registry);
    if (isOn)
      registerHostRaiseCheck(registry);
    MLIRContext context(registry, MLIRContext::Threading::DISABLED);
    context.loadDialect<ir::MoEDialect, onnx::ONNXDialect, func::FuncDialect>();
    std::string text =
        "module attributes {onnx.opset_import = {ai.onnx = 18 : i64}} {\n"
        "func.func @f(%x: tensor<?x4xf32> {onnx.dims = [\"n\", \"\"]},"
        "%ids: tensor<?x2xi64> {onnx.dims = [\"n\", \"\"]}) {\n" +
        body + "\nreturn\n}}";
    OwningOpRef<ModuleOp> module = parseSourceString<ModuleOp>(text, &context);
    auto function = *module->getOps<func::FuncOp>().begin();
    ShapeInferenceStatistics statistics;
    EXPECT_TRUE(succeeded(inferShapes(function, {}, statistics)));
    auto last = std::next(function.front().rbegin());
    why.clear();
    return checkRaise(std::next(last)->getResult(0), last->getResult(0),
                      {{function.getArgument(0)}, {function.getArgument(1), 4}},
                      why);
  }
};

const char *const kSame = R"(
    %two = onnx.Constant() {value = dense<2.0> : tensor<f32>} : () -> tensor<f32>
    %0 = onnx.Add(%x, %x) : (tensor<?x4xf32>, tensor<?x4xf32>) -> tensor<?x4xf32>
    %1 = onnx.Mul(%x, %two) : (tensor<?x4xf32>, tensor<f32>) -> tensor<?x4xf32>)";
const char *const kOther = R"(
    %0 = onnx.Add(%x, %x) : (tensor<?x4xf32>, tensor<?x4xf32>) -> tensor<?x4xf32>
    %1 = onnx.Mul(%x, %x) : (tensor<?x4xf32>, tensor<?x4xf32>) -> tensor<?x4xf32>)";
} // namespace

TEST_F(CheckTest, TheSameValuePasses) { EXPECT_TRUE(check(kSame)) << why; }

TEST_F(CheckTest, AnotherValueIsRefused) {
  EXPECT_FALSE(check(kOther));
  EXPECT_NE(why.find("failed its check: element"), std::string::npos) << why;
}

TEST_F(CheckTest, ChecksAreOffUnlessRegistered) {
  EXPECT_TRUE(check(kOther, /*isOn=*/false));
}

TEST_F(CheckTest, IdsStayBelowTheirBound) {
  // Gather ends the run with an error for ids from 4 on: both sides run only
  // because none is drawn.
  EXPECT_FALSE(check(R"(
    %t = onnx.Constant() {value = dense<[1.0, 2.0, 3.0, 4.0]> : tensor<4xf32>} : () -> tensor<4xf32>
    %u = onnx.Constant() {value = dense<[1.0, 2.0, 3.0, 5.0]> : tensor<4xf32>} : () -> tensor<4xf32>
    %0 = onnx.Gather(%t, %ids) : (tensor<4xf32>, tensor<?x2xi64>) -> tensor<?x2xf32>
    %1 = onnx.Gather(%u, %ids) : (tensor<4xf32>, tensor<?x2xi64>) -> tensor<?x2xf32>)"));
  EXPECT_NE(why.find("is 5 instead of 4"), std::string::npos) << why;
}

TEST_F(CheckTest, InputsOnWhichTheModelFailsDoNotCount) {
  // The export takes ids below 2 only; all else is what raising mends.
  EXPECT_TRUE(check(R"(
    %t = onnx.Constant() {value = dense<[1.0, 2.0]> : tensor<2xf32>} : () -> tensor<2xf32>
    %u = onnx.Constant() {value = dense<[1.0, 2.0, 3.0, 5.0]> : tensor<4xf32>} : () -> tensor<4xf32>
    %0 = onnx.Gather(%t, %ids) : (tensor<2xf32>, tensor<?x2xi64>) -> tensor<?x2xf32>
    %1 = onnx.Gather(%u, %ids) : (tensor<4xf32>, tensor<?x2xi64>) -> tensor<?x2xf32>)"))
      << why;
}
