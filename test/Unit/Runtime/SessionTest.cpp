//===- SessionTest.cpp - running models -----------------------------------===//

#include "TestSupport.h"

#include <atomic>
#include <mutex>
#include <thread>
#if defined(__x86_64__)
#include <xmmintrin.h>
#endif

using namespace moe::test;

namespace {

/// All output bytes of one run.
std::string runMain(moe_session *session, MainInputs &inputs) {
  DLManagedTensor *outputs[3] = {};
  Result result =
      moe_session_run(session, 3, nullptr, inputs.pointers, outputs);
  EXPECT_EQ(result.message, "");
  std::string bytes;
  for (DLManagedTensor *output : outputs) {
    if (!output)
      continue;
    bytes += bytesOf(output->dl_tensor);
    output->deleter(output);
  }
  return bytes;
}

TEST(Session, Results) {
  ProgramPtr program = linkedProgram();
  SessionPtr session = makeSession(program.get(), 2);
  program.reset(); // sessions keep what they need
  MainInputs inputs(7);
  inputs.index = 5;
  DLManagedTensor *raw[3];
  ASSERT_EQ(
      Result(moe_session_run(session.get(), 3, nullptr, inputs.pointers, raw))
          .message,
      "");
  TensorPtr outputs[] = {TensorPtr(raw[0]), TensorPtr(raw[1]),
                         TensorPtr(raw[2])};
  session.reset(); // outputs live on
  const DLTensor &kept = outputs[1]->dl_tensor;
  EXPECT_EQ(kept.ndim, 2);
  EXPECT_EQ(kept.shape[0], 3); // rows 0, 3, 6
  EXPECT_EQ(kept.shape[1], 4);
  EXPECT_EQ(kept.dtype.code, kDLFloat);
  EXPECT_EQ(kept.device.device_type, kDLCPU);
  EXPECT_EQ(reinterpret_cast<uintptr_t>(kept.data) % 64, 0u);
  EXPECT_EQ(std::memcmp(static_cast<float *>(kept.data) + 4, &inputs.x[12], 16),
            0);
  EXPECT_EQ(std::memcmp(outputs[2]->dl_tensor.data, &inputs.x[20], 16), 0);
}

TEST(Session, EmptyOutputs) {
  ProgramPtr program = linkedProgram();
  SessionPtr session = makeSession(program.get(), 2);
  MainInputs inputs(4);
  std::fill(inputs.mask.begin(), inputs.mask.end(), 0);
  EXPECT_EQ(runMain(session.get(), inputs).size(), 4 * 16u + 16u);
}

TEST(Session, SameBitsForAnyNumberOfThreads) {
  ProgramPtr program = linkedProgram();
  for (int64_t batch : {1, 3, 64, 1000, 5000}) {
    MainInputs inputs(batch);
    std::string expected;
    for (int32_t threads : {1, 2, 3, 7}) {
      SessionPtr session = makeSession(program.get(), threads);
      EXPECT_EQ(moe_session_num_threads(session.get()), threads);
      for (int repeat = 0; repeat < 5; ++repeat) {
        std::string bytes = runMain(session.get(), inputs);
        if (expected.empty())
          expected = bytes;
        EXPECT_TRUE(bytes == expected) << threads << " threads";
      }
    }
  }
}

#if defined(__x86_64__)
TEST(Session, SameBitsForAnyFloatModeOfTheCaller) {
  ProgramPtr program = linkedProgram();
  MainInputs inputs(300);
  // So small that their products are denormal.
  for (float &x : inputs.x)
    x *= 1e-38f;
  std::string results[2];
  unsigned saved = _mm_getcsr();
  for (int i = 0; i < 2; ++i) {
    // Flush denormals to zero and round down.
    unsigned mode = i ? 0x1f80 | 0x8040 | 0x2000 : 0x1f80;
    _mm_setcsr(mode);
    SessionPtr session = makeSession(program.get(), 3);
    results[i] = runMain(session.get(), inputs);
    EXPECT_EQ(_mm_getcsr() & ~0x3fu, mode); // given back
    _mm_setcsr(saved);
  }
  EXPECT_TRUE(results[0] == results[1]);
}
#endif

TEST(Session, EightCallersOfOneModel) {
  moe_program *loaded = nullptr;
  ASSERT_EQ(Result(moe_program_load(TEST_MODEL, &loaded)).message, "");
  ProgramPtr program(loaded);
  SessionPtr shared = makeSession(program.get(), 3);
  constexpr int kCallers = 8;
  std::string expected[kCallers];
  for (int caller = 0; caller < kCallers; ++caller) {
    MainInputs inputs(50 + 37 * caller);
    expected[caller] = runMain(shared.get(), inputs);
  }
  // Once all on one session, once each on its own.
  for (bool own : {false, true}) {
    std::atomic<int> wrong{0};
    std::vector<std::thread> threads;
    for (int caller = 0; caller < kCallers; ++caller)
      threads.emplace_back([&, caller] {
        SessionPtr mine = own ? makeSession(program.get(), 2) : nullptr;
        MainInputs inputs(50 + 37 * caller);
        for (int repeat = 0; repeat < 100; ++repeat)
          if (runMain(own ? mine.get() : shared.get(), inputs) !=
              expected[caller])
            ++wrong;
      });
    for (std::thread &thread : threads)
      thread.join();
    EXPECT_EQ(wrong, 0);
  }
  moe_memory_usage usage;
  moe_session_memory(shared.get(), &usage);
  EXPECT_EQ(usage.in_use, 0u);
}

TEST(Session, ThreadsOfTheEmbedder) {
  struct Embedder {
    std::atomic<int> calls{0};
    std::atomic<int> messages{0};
    /// Each task on a thread of its own, in reverse order.
    static void parallelFor(void *self, int64_t count, moe_task_fn fn,
                            void *closure) {
      static_cast<Embedder *>(self)->calls++;
      std::vector<std::thread> threads;
      for (int64_t i = count; i-- > 0;)
        threads.emplace_back([=] { fn(i, i + 1, closure); });
      for (std::thread &thread : threads)
        thread.join();
    }
    static void log(void *self, int32_t, const char *message) {
      static_cast<Embedder *>(self)->messages +=
          std::string(message) == "running";
    }
  } embedder;
  ProgramPtr program = linkedProgram();
  moe_session_options options;
  moe_session_options_init(&options);
  options.parallel_for = Embedder::parallelFor;
  options.parallel_user = &embedder;
  options.log = Embedder::log;
  options.log_user = &embedder;
  moe_session *created = nullptr;
  ASSERT_EQ(
      Result(moe_session_create(program.get(), &options, &created)).message,
      "");
  SessionPtr session(created), own = makeSession(program.get(), 2);
  EXPECT_EQ(moe_session_num_threads(created), 0);
  MainInputs inputs(20);
  EXPECT_TRUE(runMain(created, inputs) == runMain(own.get(), inputs));
  EXPECT_EQ(embedder.calls, 1);
  EXPECT_EQ(embedder.messages, 1);
}

TEST(Session, MemoryIsReusedAndTakenBack) {
  ProgramPtr program = linkedProgram();
  SessionPtr session = makeSession(program.get(), 1);
  MainInputs inputs(1000);
  moe_memory_usage first, usage;
  runMain(session.get(), inputs);
  moe_session_memory(session.get(), &first);
  EXPECT_EQ(first.in_use, 0u); // also what the model did not free
  EXPECT_GT(first.cached, 0u);
  for (int i = 0; i < 20; ++i)
    runMain(session.get(), inputs);
  inputs.index = -1; // fails
  DLManagedTensor *outputs[3];
  Result failed =
      moe_session_run(session.get(), 3, nullptr, inputs.pointers, outputs);
  EXPECT_EQ(failed.code, MOE_OUT_OF_RANGE);
  moe_session_memory(session.get(), &usage);
  EXPECT_EQ(usage.in_use, 0u);
  EXPECT_EQ(usage.cached, first.cached);
  EXPECT_EQ(usage.peak, first.peak);
  moe_session_trim(session.get());
  moe_session_memory(session.get(), &usage);
  EXPECT_EQ(usage.cached, 0u);
}

TEST(Session, Profile) {
  ProgramPtr program = linkedProgram();
  moe_session_options options;
  moe_session_options_init(&options);
  options.profile = 1;
  moe_session *created = nullptr;
  ASSERT_EQ(
      Result(moe_session_create(program.get(), &options, &created)).message,
      "");
  SessionPtr session(created);
  MainInputs inputs(500);
  for (int i = 0; i < 3; ++i)
    runMain(created, inputs);
  moe_profile_entry entries[2];
  ASSERT_EQ(Result(moe_session_profile(created, entries)).message, "");
  for (const moe_profile_entry &entry : entries) {
    EXPECT_EQ(entry.calls, 3);
    EXPECT_GT(entry.nanoseconds, 0);
    EXPECT_EQ(entry.bytes, 2 * entry.flops);
  }
  EXPECT_EQ(entries[0].flops, 3 * 500 * 50 * 4 * (2 * 4 + 3));
  EXPECT_EQ(entries[1].flops, 3 * 7);
  SessionPtr without = makeSession(program.get(), 1);
  EXPECT_NE(Result(moe_session_profile(without.get(), entries)).code, MOE_OK);
}

//===----------------------------------------------------------------------===//
// Models that misbehave
//===----------------------------------------------------------------------===//

struct Faulty : ::testing::Test {
  ProgramPtr program = linkedProgram();
  SessionPtr session = makeSession(program.get(), 1, "faulty");
  DLManagedTensor *outputs[2] = {};

  Result run(int64_t mode) {
    TestTensor tensor(MOE_DTYPE_INT64, {}, &mode);
    DLManagedTensor *input = &tensor.managed;
    return moe_session_run(session.get(), 1, nullptr, &input, outputs);
  }
  void TearDown() override {
    for (DLManagedTensor *output : outputs)
      if (output)
        output->deleter(output);
    moe_memory_usage usage;
    moe_session_memory(session.get(), &usage);
    EXPECT_EQ(usage.in_use, 0u);
  }
};

TEST_F(Faulty, CodesAndMessages) {
  Result result = run(ReturnCodeOnly);
  EXPECT_EQ(result.code, MOE_SHAPE_MISMATCH);
  EXPECT_EQ(result.message, "the model failed without a message");
  result = run(FailButReturnOk);
  EXPECT_EQ(result.code, MOE_OUT_OF_RANGE);
  EXPECT_EQ(result.message, "first");
  EXPECT_EQ(run(AskTooMuch).code, MOE_OUT_OF_MEMORY);
  EXPECT_EQ(run(NegativeSize).message, "refused");
}

TEST_F(Faulty, OutputsThatCannotBeTrusted) {
  for (int64_t mode :
       {int64_t(ForeignMemory), int64_t(SmallBlock), int64_t(NoDims),
        int64_t(NoData), int64_t(WrongExtent), int64_t(FreeForeign)}) {
    Result result = run(mode);
    EXPECT_EQ(result.code, MOE_INTERNAL) << mode;
    EXPECT_NE(result.message, "") << mode;
    EXPECT_FALSE(outputs[0] || outputs[1]);
  }
}

TEST_F(Faulty, OneBlockAsTwoOutputs) {
  ASSERT_EQ(run(SharedBlock).message, "");
  EXPECT_EQ(outputs[0]->dl_tensor.data, outputs[1]->dl_tensor.data);
  outputs[0]->deleter(outputs[0]);
  outputs[0] = nullptr;
  EXPECT_EQ(static_cast<float *>(outputs[1]->dl_tensor.data)[1], 2);
}

TEST(Errors, NullIsFine) {
  moe_error_free(nullptr);
  moe_program_free(nullptr);
  moe_session_free(nullptr);
  EXPECT_EQ(moe_error_code(nullptr), MOE_OK);
  EXPECT_STREQ(moe_error_message(nullptr), "");
}

} // namespace
