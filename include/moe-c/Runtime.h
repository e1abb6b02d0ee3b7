/*===- Runtime.h - load compiled models and run them ----------------------===*\
|*
|* The C interface of the runtime (library moe_runtime): C11 and C++17, no
|* exception and no abort crosses it. Tensors are DLPack's.
|*
|*   moe_program *program;
|*   moe_session *session;
|*   moe_error *error = moe_program_load("model.so", &program);
|*   if (!error)
|*     error = moe_session_create(program, NULL, &session);
|*   if (!error)
|*     error = moe_session_run(session, n, names, inputs, outputs);
|*   if (error)
|*     fprintf(stderr, "%s\n", moe_error_message(error));
|*   moe_error_free(error);
|*
|* Errors: every function that can fail returns null for success or an error
|* that the caller frees. A function that fails leaves its results untouched
|* and holds nothing.
|*
|* Threads: a program may be used by any number of threads. A session may as
|* well: runs of one session go on side by side (the first one has the
|* session's worker threads, the others run on their callers alone), and their
|* results have the same bits however that falls out. Freeing an object while
|* another thread uses it is a mistake of the caller.
|*
\*===----------------------------------------------------------------------===*/
#ifndef MOE_C_RUNTIME_H
#define MOE_C_RUNTIME_H

#include "moe-c/ModelABI.h"

#include <dlpack/dlpack.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/*===----------------------------------------------------------------------===*\
|* Errors
\*===----------------------------------------------------------------------===*/

typedef struct moe_error moe_error;

/* The moe_code of an error; MOE_OK for null. */
int32_t moe_error_code(const moe_error *error);
/* One line of UTF-8 without a line end, owned by the error. "" for null. */
const char *moe_error_message(const moe_error *error);
/* Null is allowed. */
void moe_error_free(moe_error *error);

/*===----------------------------------------------------------------------===*\
|* Element types
\*===----------------------------------------------------------------------===*/

/* DLPack's code of booleans since its version 0.8; 8 bits wide. As an input,
 * uint8 is taken for bool too. */
#define MOE_DL_BOOL 6

/* Size of an element in bytes, 0 if `dtype` is no moe_dtype. */
int32_t moe_dtype_size(int32_t dtype);
/* Its name, such as "float32"; "unknown" if `dtype` is no moe_dtype. */
const char *moe_dtype_name(int32_t dtype);
/* As a DLPack type; all zero if `dtype` is no moe_dtype. */
DLDataType moe_dtype_to_dlpack(int32_t dtype);

/*===----------------------------------------------------------------------===*\
|* Programs: a loaded model
\*===----------------------------------------------------------------------===*/

typedef struct moe_program moe_program;

/* Loads a shared library written by moe-compile. `path` is a file name: no
 * library folder is searched. Weight files that the model names are taken from
 * the folder of the library. Of a model that was compiled for several CPUs the
 * code for the most capable one is used that this machine is; the environment
 * variable MOE_CPU names another one, as moe-compile was given it.
 * Errors: MOE_IO (no such file, not a model, a weight file that is missing,
 * damaged or of another model), MOE_UNSUPPORTED (ABI version, CPU feature,
 * target), MOE_INVALID_ARGUMENT (MOE_CPU names a CPU that the model has no code
 * for), MOE_OUT_OF_MEMORY. */
moe_error *moe_program_load(const char *path, moe_program **program);

/* The same for a model that is linked into this process: pass the result of
 * its moe_model_query. `model` must stay valid until the program and its
 * sessions are freed. `weights_folder` is where weight files lie; null if the
 * model has none. */
moe_error *moe_program_from_model(const moe_model *model,
                                  const char *weights_folder,
                                  moe_program **program);

/* Null is allowed. Sessions of the program stay usable. */
void moe_program_free(moe_program *program);

/* The model's table: name, producer, CPU, metadata, all functions. Of several
 * tables the one that was chosen for this machine. Owned by the program. */
const moe_model *moe_program_model(const moe_program *program);

/* The function of that name, or the first one for null; null if there is
 * none. Owned by the program. It describes inputs and outputs: name, element
 * type, rank, extents and the names of extents that are known at run time. */
const moe_function *moe_program_function(const moe_program *program,
                                         const char *name);

/*===----------------------------------------------------------------------===*\
|* Sessions: what runs need besides the model
\*===----------------------------------------------------------------------===*/

typedef struct moe_session moe_session;

typedef struct moe_session_options {
  /* sizeof(moe_session_options), set by moe_session_options_init. */
  uint32_t struct_size;
  /* Threads that work on one run, the caller's included; 0: as many as the
   * process may use CPUs. At most 4096. */
  int32_t num_threads;
  /* The function to run, null: the first one. */
  const char *function;
  /* A thread pool of the embedder in place of the session's own, or null. It
   * calls fn(begin, end, closure) for disjoint ranges that cover [0, count),
   * on any threads, and returns when all are done. It must allow calls from
   * several threads at once if the session is used so. */
  void (*parallel_for)(void *user, int64_t count, moe_task_fn fn,
                       void *closure);
  void *parallel_user;
  /* Receives messages of the model, or null. Levels: 0 error, 1 warning, 2
   * information, 3 details. May be called from several threads at once. */
  void (*log)(void *user, int32_t level, const char *message);
  void *log_user;
  /* Not 0: measure the operations of a model that was compiled for it. */
  int32_t profile;
  int32_t reserved;
} moe_session_options;

/* The defaults: all CPUs, the first function, no log, no profile. */
void moe_session_options_init(moe_session_options *options);

/* Null options are the defaults. The options are copied; the strings in them
 * need not outlive the call.
 * Errors: MOE_INVALID_ARGUMENT, MOE_UNSUPPORTED (profile of a model without
 * profile points), MOE_OUT_OF_MEMORY (also when threads cannot be started). */
moe_error *moe_session_create(const moe_program *program,
                              const moe_session_options *options,
                              moe_session **session);

/* Null is allowed. Outputs of its runs stay valid. */
void moe_session_free(moe_session *session);

/* The function that the session runs. Owned by the program. */
const moe_function *moe_session_function(const moe_session *session);

/* Threads that work on one run, the caller's included. 0: the embedder's. */
int32_t moe_session_num_threads(const moe_session *session);

/* Runs the model once and waits for it.
 *
 * Inputs: `num_inputs` tensors. `names` has a name for each, or is null: then
 * they come in the order of the signature. They are borrowed for the call, not
 * changed, and their deleters are not called. A tensor lies in CPU memory, is
 * row-major without gaps (strides may be null; strides of extents of 1 do not
 * count) and aligned to its element's size.
 *
 * Outputs: room for as many pointers as the signature has outputs. After
 * success each holds a tensor that belongs to the caller, who calls
 * outputs[i]->deleter(outputs[i]), on any thread, even after the session has
 * been freed. Row-major, strides null, aligned to 64 bytes.
 *
 * Errors found before any code runs: MOE_INVALID_ARGUMENT (names, element
 * types, ranks, memory layout), MOE_SHAPE_MISMATCH (extents that differ from
 * those of the signature or, where the signature has one name for them, from
 * each other), MOE_OUT_OF_RANGE (a bool that is neither 0 nor 1). Found during
 * the run: what the model reports, such as MOE_OUT_OF_RANGE for an index, and
 * MOE_OUT_OF_MEMORY. */
moe_error *moe_session_run(moe_session *session, int32_t num_inputs,
                           const char *const *names,
                           DLManagedTensor *const *inputs,
                           DLManagedTensor **outputs);

/* Measurements of one operation over all runs of a session so far that
 * succeeded. */
typedef struct moe_profile_entry {
  int64_t calls;
  int64_t nanoseconds;
  int64_t flops; /* floating-point operations; 0 if they are not counted */
  int64_t bytes; /* read and written: each buffer once, of experts the matrices
                    of those that have rows */
} moe_profile_entry;

/* Copies the profile; `entries` has room for moe_function::num_ops.
 * Errors: MOE_INVALID_ARGUMENT if the session does not profile. */
moe_error *moe_session_profile(const moe_session *session,
                               moe_profile_entry *entries);

/* Memory that the session holds, in bytes. */
typedef struct moe_memory_usage {
  uint64_t in_use; /* by runs that go on and by outputs not yet deleted */
  uint64_t cached; /* kept for the next run */
  uint64_t peak;   /* highest `in_use` so far */
  uint64_t arena;  /* addresses that the blocks of all runs so far lay in: what
                      is in use and cached never takes more */
} moe_memory_usage;

void moe_session_memory(const moe_session *session, moe_memory_usage *usage);

/* Gives the cached memory back to the system. */
void moe_session_trim(moe_session *session);

#ifdef __cplusplus
}
#endif
#endif /* MOE_C_RUNTIME_H */
