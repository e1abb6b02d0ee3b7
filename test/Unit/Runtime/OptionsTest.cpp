//===- OptionsTest.cpp ----------------------------------------------------===//

#include "tools/moe-run/Options.h"

#include <cstring>
#include <gtest/gtest.h>

using namespace moe::run;

namespace {

std::string errorOf(std::vector<std::string> arguments) {
  Options options;
  return parseOptions(arguments, options).message;
}

TEST(Options, BothForms) {
  Options options;
  auto status = parseOptions(
      {"m.so",       "--data",      "d",          "--input=a=b=c.npy",
       "--input",    "x=y.pb",      "--output=o", "--expect",
       "e",          "--rtol=1e-3", "--atol",     "0",
       "--random",   "5",           "--dim",      "a=b=3",
       "--bench=10", "--threads",   "2",          "--json",
       "--profile"},
      options);
  ASSERT_TRUE(status.ok()) << status.message;
  EXPECT_EQ(options.model, "m.so");
  EXPECT_EQ(options.inputFiles[0].first, "a");
  EXPECT_EQ(options.inputFiles[0].second, "b=c.npy");
  EXPECT_EQ(options.dims[0].first, "a=b");
  EXPECT_EQ(options.dims[0].second, 3);
  EXPECT_EQ(options.tolerance.relative, 1e-3);
  EXPECT_EQ(options.tolerance.absolute, 0);
  EXPECT_EQ(options.seed, 5u);
  EXPECT_EQ(options.benchRuns, 10);
  EXPECT_EQ(options.threads, 2);
  EXPECT_TRUE(options.json && options.profile);
  options = {};
  EXPECT_TRUE(parseOptions({"--", "-m.so"}, options).ok());
  EXPECT_EQ(options.model, "-m.so");
}

TEST(Options, Errors) {
  EXPECT_NE(errorOf({}), "");
  EXPECT_EQ(errorOf({"-h"}), "");
  EXPECT_EQ(errorOf({"a", "b"}),
            "two models given, 'a' and 'b'; one is accepted");
  EXPECT_EQ(errorOf({"m", "--bench", "0"}),
            "--bench is '0', a number from 1 to 1000000 is accepted");
  EXPECT_EQ(errorOf({"m", "--data"}), "--data needs a value");
  EXPECT_EQ(errorOf({"m", "--data="}), "--data needs a value");
  EXPECT_NE(errorOf({"m", "--nope"}).find("unknown option '--nope'"),
            std::string::npos);
  EXPECT_NE(errorOf({"m", "--nope", "x"}).find("unknown option"),
            std::string::npos);
  for (const char *tolerance : {"x", "-1", "nan", "inf", "1e-4x"})
    EXPECT_NE(errorOf({"m", "--rtol", tolerance}), "") << tolerance;
  for (const char *dim : {"x", "x=", "=3", "x=-1", "x=1.5"})
    EXPECT_NE(errorOf({"m", "--dim", dim}), "") << dim;
  for (const char *input : {"x", "=y", "x="})
    EXPECT_NE(errorOf({"m", "--input", input}), "") << input;
  EXPECT_NE(errorOf({"m", "--threads", "99999"}), "");
  EXPECT_NE(errorOf({"m", "--random", "-3"}), "");
  EXPECT_NE(errorOf({"m", "--collect-stats", "f"}).find("--output"),
            std::string::npos);
  EXPECT_NE(errorOf({"m", "--dump-values", "d"}).find("--output"),
            std::string::npos);
}

TEST(Options, HelpNamesAll) {
  for (const char *name :
       {"--data", "--input", "--output", "--expect", "--rtol", "--atol",
        "--dump-values", "--random", "--dim", "--bench", "--profile",
        "--threads", "--collect-stats", "--json"})
    EXPECT_TRUE(std::strstr(helpText(), name)) << name;
}

} // namespace
