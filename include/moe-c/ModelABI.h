/*===- ModelABI.h - the binary contract between a model and a runtime -----===*\
|*
|* A compiled model (model.so, or an object linked into a program) exports one
|* symbol, moe_model_query. It returns constant tables that describe the model
|* and hold pointers to its code. Everything that the code needs from outside
|* comes in through moe_run_env: a model has no undefined symbols beyond libc
|* and libm.
|*
|* This header is stand-alone C11/C++17. The compiler writes these tables, the
|* runtime reads them. Any change of a layout or of a meaning raises
|* MOE_ABI_VERSION: treat it as a file format.
|*
\*===----------------------------------------------------------------------===*/
#ifndef MOE_C_MODELABI_H
#define MOE_C_MODELABI_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define MOE_ABI_VERSION 3u

/* Element types carry the numbers of ONNX's TensorProto.DataType. */
typedef enum moe_dtype {
  MOE_DTYPE_FLOAT32 = 1,
  MOE_DTYPE_UINT8 = 2,
  MOE_DTYPE_INT8 = 3,
  MOE_DTYPE_UINT16 = 4,
  MOE_DTYPE_INT16 = 5,
  MOE_DTYPE_INT32 = 6,
  MOE_DTYPE_INT64 = 7,
  MOE_DTYPE_BOOL = 9, /* one byte, 0 or 1 */
  MOE_DTYPE_FLOAT16 = 10,
  MOE_DTYPE_FLOAT64 = 11,
  MOE_DTYPE_UINT32 = 12,
  MOE_DTYPE_UINT64 = 13,
  MOE_DTYPE_BFLOAT16 = 16
} moe_dtype;

/* What a run may return; also the codes that a model passes to `fail`. */
typedef enum moe_code {
  MOE_OK = 0,
  MOE_INVALID_ARGUMENT = 1, /* the caller's names, types, ranks or sizes */
  MOE_OUT_OF_RANGE = 2,     /* data out of range: an index, a negative size */
  MOE_SHAPE_MISMATCH = 3,   /* run-time extents that do not fit together */
  MOE_OUT_OF_MEMORY = 4,
  MOE_UNSUPPORTED = 5, /* ABI version, CPU feature, element type */
  MOE_IO = 6,          /* files that cannot be read or are damaged */
  MOE_INTERNAL = 7
} moe_code;

/* A dense row-major tensor. `dims` has as many entries as the rank in the
 * signature says. */
typedef struct moe_buffer {
  void *data;
  int64_t *dims;
} moe_buffer;

/* Body of a parallel loop: runs the tasks [begin, end). */
typedef void (*moe_task_fn)(int64_t begin, int64_t end, void *closure);

/* What a model tells of an operation while somebody profiles. Begins and ends
 * of different operations do not overlap. */
typedef enum moe_profile_event {
  MOE_PROFILE_BEGIN = 0, /* it begins, or goes on after a pause */
  MOE_PROFILE_PAUSE = 1, /* a part of it ends, others follow */
  MOE_PROFILE_END = 2,   /* it ends: one more call */
  MOE_PROFILE_WORK = 3   /* it goes on; tells work only */
} moe_profile_event;

/* What a model may call while it runs. One environment serves one run; the
 * runtime derives it from a session. All functions are called from the thread
 * that called `run`, never from inside a parallel body. */
typedef struct moe_run_env {
  uint32_t abi_version;
  uint32_t struct_size;
  /* Base address of each weight section, in the order of the model's table. */
  const void *const *weights;
  /* The runtime's own; the model passes the environment back untouched. */
  void *host;
  /* Runs fn over [0, count), split into disjoint ranges, and returns when all
   * are done. Results must not depend on the split. */
  void (*parallel_for)(const struct moe_run_env *env, int64_t count,
                       moe_task_fn fn, void *closure);
  /* Memory for this run, 64-byte aligned or more; null when there is none.
   * What the model does not free is taken back when the run ends, except
   * the data of outputs. */
  void *(*alloc)(const struct moe_run_env *env, int64_t bytes,
                 int64_t alignment);
  void (*free)(const struct moe_run_env *env, void *pointer);
  /* Records why this run fails. The model returns `code` at once after it. */
  void (*fail)(const struct moe_run_env *env, int32_t code,
               const char *message);
  void (*log)(const struct moe_run_env *env, int32_t level,
              const char *message);
  /* Monotonic time in nanoseconds. */
  int64_t (*clock)(const struct moe_run_env *env);
  /* Called around each operation of a model compiled with profiling: `op` is
   * an index into moe_function::ops, `event` a moe_profile_event, `flops` and
   * `bytes` the work done since the last event. Null when nobody profiles. */
  void (*profile)(const struct moe_run_env *env, int32_t op, int32_t event,
                  int64_t flops, int64_t bytes);
} moe_run_env;

/* One extent of a signature. */
typedef struct moe_dim {
  int64_t extent;     /* -1: known at run time */
  const char *symbol; /* the model's name of a run-time extent, or null; equal
                         names within one function are equal extents */
} moe_dim;

typedef struct moe_value {
  const char *name;
  int32_t dtype; /* moe_dtype */
  int32_t rank;
  const moe_dim *dims;
} moe_value;

/* An operation as a profile shows it: a node of the source model, several that
 * run as one, or a part of one. */
typedef struct moe_op {
  const char *name; /* names of the nodes, joined by " + " */
  const char *kind; /* operators, such as "MatMul+Add", and the part, such as
                       "moe.experts:combine" */
} moe_op;

typedef struct moe_function {
  const char *name;
  int32_t num_inputs;
  int32_t num_outputs;
  const moe_value *inputs;
  const moe_value *outputs;
  int32_t num_ops;
  int32_t reserved;
  const moe_op *ops;
  /* Runs once. Inputs are complete. Of outputs the runtime provides `dims`
   * with room for the rank; the model fills them in and sets `data` to memory
   * that it got from alloc, which then belongs to the runtime. Returns
   * MOE_OK, or a moe_code after a call of `fail`. Reentrant. */
  int32_t (*run)(const moe_run_env *env, const moe_buffer *inputs,
                 moe_buffer *outputs);
} moe_function;

/* Constants of the model: inside the image (data is not null), or in a
 * safetensors file beside it (file is not null). */
typedef struct moe_weights {
  const char *name;
  const void *data;
  uint64_t size;      /* in bytes */
  uint64_t alignment; /* in bytes */
  const char *file;   /* file name without any folder, or null */
} moe_weights;

typedef struct moe_entry {
  const char *key;
  const char *value;
} moe_entry;

typedef struct moe_model {
  uint32_t abi_version;
  uint32_t struct_size;
  const char *name;     /* graph name of the source model */
  const char *producer; /* "moe-opt <version>" */
  const char *target;   /* "host" */
  const char *cpu;      /* the CPU it was compiled for */
  /* CPU features that the code needs, LLVM's names ("avx2"), null-ended. */
  const char *const *cpu_features;
  int32_t num_functions;
  int32_t num_weights;
  int32_t num_metadata;
  int32_t reserved;
  const moe_function *functions;
  const moe_weights *weights;
  const moe_entry *metadata;
  /* The same model for another CPU, or null. A model that was compiled for
   * several CPUs has a table for each, the most demanding first, and a runtime
   * uses the first one whose cpu_features it finds. Names and signatures are
   * the same in all, the same memory may be a section of several. */
  const struct moe_model *next;
} moe_model;

/* The first table. Null if the model cannot be used with this version. */
typedef const moe_model *(*moe_model_query_fn)(uint32_t abi_version);
#define MOE_MODEL_QUERY_NAME "moe_model_query"

#ifdef __cplusplus
}
#endif
#endif /* MOE_C_MODELABI_H */
