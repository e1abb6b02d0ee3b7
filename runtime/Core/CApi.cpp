//===- CApi.cpp - the C interface of the runtime --------------------------===//
//
// Turns a Status into an error object and keeps exceptions inside. When there
// is no memory for an error object, a constant one is returned, which
// moe_error_free knows.
//
//===----------------------------------------------------------------------===//

#include "moe-c/Runtime.h"

#include "runtime/Core/Session.h"

#include <algorithm>
#include <cstring>
#include <exception>
#include <new>

using namespace moe::runtime;

struct moe_error {
  int32_t code;
  std::string message;
};

struct moe_program {
  std::shared_ptr<const Program> program;
};

struct moe_session {
  std::unique_ptr<Session> session;
};

namespace {

/// Has no message of its own, since making one takes memory.
moe_error *outOfMemory() {
  static moe_error error{MOE_OUT_OF_MEMORY, std::string()};
  return &error;
}

/// Calls `body`, which returns a Status, and makes an error object of it.
template <typename Body> moe_error *guarded(Body body) noexcept {
  try {
    Status status = body();
    if (status.ok())
      return nullptr;
    return new moe_error{status.code, std::move(status.message)};
  } catch (const std::bad_alloc &) {
    return outOfMemory();
  } catch (const std::exception &exception) {
    auto *error = new (std::nothrow) moe_error{MOE_INTERNAL, std::string()};
    if (!error)
      return outOfMemory();
    try {
      error->message = exception.what();
    } catch (const std::bad_alloc &) {
      // The code alone has to do.
    }
    return error;
  }
}

} // namespace

int32_t moe_error_code(const moe_error *error) {
  return error ? error->code : int32_t(MOE_OK);
}

const char *moe_error_message(const moe_error *error) {
  if (!error)
    return "";
  if (!error->message.empty())
    return error->message.c_str();
  return error->code == MOE_OUT_OF_MEMORY ? "out of memory" : "unknown error";
}

void moe_error_free(moe_error *error) {
  if (error != outOfMemory())
    delete error;
}

moe_error *moe_program_load(const char *path, moe_program **program) {
  return guarded([&] {
    if (!path || !program)
      return invalidArgument("moe_program_load: a null argument");
    auto result = std::make_unique<moe_program>();
    Status status = Program::load(path, result->program);
    if (status.ok())
      *program = result.release();
    return status;
  });
}

moe_error *moe_program_from_model(const moe_model *model,
                                  const char *weights_folder,
                                  moe_program **program) {
  return guarded([&] {
    if (!program)
      return invalidArgument("moe_program_from_model: a null argument");
    auto result = std::make_unique<moe_program>();
    Status status = Program::fromModel(
        model, weights_folder ? weights_folder : "", result->program);
    if (status.ok())
      *program = result.release();
    return status;
  });
}

void moe_program_free(moe_program *program) { delete program; }

const moe_model *moe_program_model(const moe_program *program) {
  return program ? &program->program->model() : nullptr;
}

const moe_function *moe_program_function(const moe_program *program,
                                         const char *name) {
  return program ? program->program->function(name) : nullptr;
}

void moe_session_options_init(moe_session_options *options) {
  if (!options)
    return;
  *options = {};
  options->struct_size = sizeof(*options);
}

moe_error *moe_session_create(const moe_program *program,
                              const moe_session_options *options,
                              moe_session **session) {
  return guarded([&] {
    if (!program || !session)
      return invalidArgument("moe_session_create: a null argument");
    moe_session_options all;
    moe_session_options_init(&all);
    if (options) {
      // A caller built with an older header has a shorter struct.
      if (options->struct_size < sizeof(options->struct_size) ||
          options->struct_size > sizeof(all))
        return invalidArgument(
            "moe_session_create: struct_size of the options is " +
            std::to_string(options->struct_size) + ", at most " +
            std::to_string(sizeof(all)) +
            " is accepted; call moe_session_options_init first");
      std::memcpy(&all, options, options->struct_size);
    }
    auto result = std::make_unique<moe_session>();
    Status status = Session::create(program->program, all, result->session);
    if (status.ok())
      *session = result.release();
    return status;
  });
}

void moe_session_free(moe_session *session) { delete session; }

const moe_function *moe_session_function(const moe_session *session) {
  return session ? &session->session->function() : nullptr;
}

int32_t moe_session_num_threads(const moe_session *session) {
  return session ? session->session->numThreads() : 0;
}

moe_error *moe_session_run(moe_session *session, int32_t num_inputs,
                           const char *const *names,
                           DLManagedTensor *const *inputs,
                           DLManagedTensor **outputs) {
  return guarded([&] {
    if (!session)
      return invalidArgument("moe_session_run: the session is null");
    return session->session->run(num_inputs, names, inputs, outputs);
  });
}

moe_error *moe_session_profile(const moe_session *session,
                               moe_profile_entry *entries) {
  return guarded([&] {
    if (!session || !entries || !session->session->profiles())
      return invalidArgument("moe_session_profile: the session was not created "
                             "with the option profile, or an argument is null");
    std::vector<moe_profile_entry> profile = session->session->profile();
    std::copy(profile.begin(), profile.end(), entries);
    return Status();
  });
}

void moe_session_memory(const moe_session *session, moe_memory_usage *usage) {
  if (!session || !usage)
    return;
  MemoryUsage memory = session->session->allocator().usage();
  *usage = {memory.inUse, memory.cached, memory.peak, memory.arena};
}

void moe_session_trim(moe_session *session) {
  if (session)
    session->session->allocator().trim();
}
