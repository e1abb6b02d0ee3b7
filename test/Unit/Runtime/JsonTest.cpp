//===- JsonTest.cpp -------------------------------------------------------===//

#include "runtime/Core/Json.h"

#include <gtest/gtest.h>

using namespace moe::runtime;

namespace {

std::string errorOf(std::string_view text) {
  Json value;
  return Json::parse(text, value).message;
}

TEST(Json, ReadsValues) {
  Json value;
  Status status = Json::parse(
      " {\"a\": [1, -2, true, false, null], \"b\\n\\u00e9\\ud83d\\ude00\": "
      "{\"c\": \"d\"}, \"\": {}} ",
      value);
  ASSERT_TRUE(status.ok()) << status.message;
  ASSERT_EQ(value.elements.size(), 3u);
  const Json *a = value.find("a");
  ASSERT_TRUE(a);
  EXPECT_EQ(a->elements[1].integer, -2);
  EXPECT_TRUE(a->elements[2].boolean);
  EXPECT_FALSE(a->elements[3].boolean);
  EXPECT_EQ(a->elements[4].kind, Json::Kind::Null);
  const Json *b = value.find("b\n\xc3\xa9\xf0\x9f\x98\x80");
  ASSERT_TRUE(b);
  EXPECT_EQ(b->find("c")->string, "d");
  EXPECT_FALSE(value.find("missing"));
}

TEST(Json, RefusesWhatIsDamaged) {
  for (const char *text :
       {"", "{", "[1,", "[1 2]", "{\"a\"}", "{\"a\":1,}", "\"abc", "\"\\x\"",
        "\"\\u12\"", "\"\\ud800\"", "1.5", "1e3", "99999999999999999999", "tru",
        "[] []", "{\"a\":1,\"a\":2}", "\"\x01\"", "nul", "-"})
    EXPECT_NE(errorOf(text), "") << text;
  EXPECT_NE(errorOf(std::string(100000, '[')), "");
  EXPECT_EQ(errorOf("[1] x"), "JSON, byte 4: end of text expected");
}

} // namespace
