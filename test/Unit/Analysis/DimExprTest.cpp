//===- DimExprTest.cpp - expressions over extents -------------------------===//

#include "lib/Analysis/DimExpr.h"
#include "gtest/gtest.h"
#include <random>

using namespace moe;

namespace {
struct DimExprTest : testing::Test {
  DimContext context;
  DimExpr b = context.symbol("b"), s = context.symbol("s"),
          past = context.symbol("past");
  static DimExpr n(int64_t value) { return DimExpr::constant(value); }
};
} // namespace

TEST_F(DimExprTest, OrderOfOperandsDoesNotShow) {
  EXPECT_EQ((b * s).str(), "b*s");
  EXPECT_EQ((s * b).str(), "b*s");
  EXPECT_EQ(s * b, b * s);
  EXPECT_EQ((s + past).str(), "past+s");
  EXPECT_EQ((n(3) + s * n(2) + b * s).str(), "b*s+2*s+3");
}

TEST_F(DimExprTest, TermsCancel) {
  EXPECT_EQ((past + s - past), s);
  EXPECT_TRUE((s - s).isConstant(0));
  EXPECT_EQ((s - s).str(), "0");
  EXPECT_EQ((b - s).str(), "b-s");
  EXPECT_EQ((n(4) - s * n(2)).str(), "-2*s+4");
}

TEST_F(DimExprTest, UnknownStaysUnknown) {
  DimExpr unknown;
  EXPECT_FALSE((unknown + s).isKnown());
  EXPECT_FALSE((s * unknown).isKnown());
  EXPECT_FALSE(unknown == unknown);
  EXPECT_EQ(unknown.str(), "");
}

TEST_F(DimExprTest, OverflowIsUnknown) {
  DimExpr huge = n(INT64_MAX);
  EXPECT_FALSE((huge + n(1)).isKnown());
  EXPECT_FALSE((huge * n(2)).isKnown());
  EXPECT_FALSE((n(INT64_MIN) * n(-1)).isKnown());
  EXPECT_FALSE((huge * s + s).isKnown());
  EXPECT_EQ(n(INT64_MIN).str(), "-9223372036854775808");
}

TEST_F(DimExprTest, ExactDivision) {
  EXPECT_EQ(DimExpr::divideExactly(b * s * n(64), b * n(16)), s * n(4));
  DimExpr total = b * (past + s) * n(8);
  EXPECT_EQ(DimExpr::divideExactly(total, past + s), b * n(8));
  EXPECT_EQ(DimExpr::divideExactly((past + s) * (past - s), past - s),
            past + s);
  EXPECT_FALSE(DimExpr::divideExactly(b * s + n(1), s).isKnown());
  EXPECT_FALSE(DimExpr::divideExactly(b, n(0)).isKnown());
  EXPECT_FALSE(DimExpr::divideExactly(n(INT64_MIN), n(-1)).isKnown());
}

TEST_F(DimExprTest, FloorDivision) {
  EXPECT_EQ(context.floorDiv(s * n(4) + n(3), n(2)), s * n(2) + n(1));
  EXPECT_EQ(context.floorDiv(s + n(1), n(2)).str(), "floordiv(s+1,2)");
  EXPECT_EQ(context.floorDiv(s * n(2) + b, n(2)).str(), "floordiv(b,2)+s");
  EXPECT_EQ(context.floorDiv(n(-3), n(2)), n(-2));
  EXPECT_EQ(context.ceilDiv(n(7), n(2)), n(4));
  EXPECT_FALSE(context.floorDiv(s, n(0)).isKnown());
  EXPECT_FALSE(context.floorDiv(s, b - s).isKnown());
  EXPECT_EQ(context.mod(s * n(4) + n(3), n(4)), n(3));
}

TEST_F(DimExprTest, LeastAndGreatest) {
  EXPECT_EQ(context.min(s, past + s), s);
  EXPECT_EQ(context.max(s, past + s), past + s);
  EXPECT_EQ(context.max(s - n(1), n(0)).str(), "max(0,s-1)");
  EXPECT_EQ(context.min(s, b), context.min(b, s));
  EXPECT_TRUE(context.max(s - n(1), n(0)).isNonNegative());
  EXPECT_FALSE((s - n(1)).isNonNegative());
}

TEST_F(DimExprTest, Broadcasting) {
  EXPECT_EQ(context.broadcast(n(1), s), s);
  EXPECT_EQ(context.broadcast(s, n(4)), n(4));
  EXPECT_EQ(context.broadcast(s, s), s);
  EXPECT_EQ(context.broadcast(s, b).str(), "bcast(b,s)");
  EXPECT_EQ(context.broadcast(context.broadcast(s, b), s),
            context.broadcast(b, s));
  // A table of 64 positions, cut to the sequence.
  EXPECT_EQ(context.broadcast(context.min(n(64), s), s), s);
  // But not with an unrelated extent.
  EXPECT_EQ(context.broadcast(context.min(n(64), s), b).str(),
            "bcast(b,min(64,s))");
}

TEST_F(DimExprTest, BoundsDecideBroadcasting) {
  DimExpr count = context.rawSymbol("?0"), other = context.rawSymbol("?1");
  context.setBound(count, b * s * n(2));
  DimExpr row = context.min(n(1), b * s);
  EXPECT_EQ(context.broadcast(count, row), count);
  EXPECT_EQ(context.broadcast(row, count), count);
  EXPECT_NE(context.broadcast(other, row), other);
}

TEST_F(DimExprTest, NamesOfModels) {
  EXPECT_EQ(context.symbol("past_sequence_length").str(),
            "past_sequence_length");
  EXPECT_EQ(context.symbol("s+1").str(), "{s+1}");
  EXPECT_NE(context.symbol("s+1"), s + n(1));
  EXPECT_EQ(context.symbol("?3").str(), "{?3}");
  EXPECT_NE(context.symbol("?3"), context.rawSymbol("?3"));
  EXPECT_EQ(context.symbol("4").str(), "{4}");
  EXPECT_EQ(context.symbol("a}\\b").str(), "{a\\}\\\\b}");
}

TEST_F(DimExprTest, TextsReadBack) {
  DimExpr count = context.rawSymbol("?7");
  for (const DimExpr &e :
       {b * s, past + s - n(1), n(0), n(-5), -s + n(4), count * n(3),
        context.floorDiv(s + n(1), n(2)) * b, context.max(s - n(1), n(0)),
        context.broadcast(context.broadcast(b, s), past),
        context.symbol("a}\\b") + context.symbol("x + y"),
        context.min(context.symbol("f(x,y)"), context.floorDiv(s, b))}) {
    EXPECT_EQ(context.parse(e.str()), e) << e.str();
    EXPECT_EQ(context.parse(e.str()).str(), e.str());
  }
}

TEST_F(DimExprTest, BadTextsAreUnknown) {
  for (const char *text :
       {"", "+", "s+", "s s", "(s)", "floordiv(s)", "nope(s,b)", "{s", "{", "}",
        "floordiv(s,0)", "s*", "99999999999999999999", "s)", "min(s,b",
        "max(,)", "{a\\", "-"})
    EXPECT_FALSE(context.parse(text).isKnown()) << text;
  std::string deep;
  for (int i = 0; i < 200; ++i)
    deep += "min(";
  EXPECT_FALSE(context.parse(deep).isKnown());
}

/// Random bytes over the grammar's letters: no crash, and what is an expression
/// prints as one that reads back.
TEST_F(DimExprTest, RandomTexts) {
  std::mt19937 random(7);
  const std::string letters = "sb12+-*(),{}\\?minaxfloordvc ";
  for (int round = 0; round < 20000; ++round) {
    std::string text;
    for (unsigned size = random() % 24; size > 0; --size)
      text += letters[random() % letters.size()];
    DimExpr e = context.parse(text);
    if (e.isKnown()) {
      EXPECT_EQ(context.parse(e.str()).str(), e.str()) << text;
    }
  }
}
