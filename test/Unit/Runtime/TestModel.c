/*===- TestModel.c - a model written by hand ------------------------------===*\
|*
|* Follows ModelABI.h as compiled models do. Built several times, with other
|* weights, versions or needs (see CMakeLists.txt), and into the tests.
|*
|* Function "main":
|*   x     f32 [batch, 4]      y      f32 [batch, 4] = iterated tanh-like map of
|*   mask  bool[batch]                                 x * weights, per row
|*   index i64 []              kept   f32 [kept, 4]  = rows of x where mask
holds
|*                             chosen f32 [4]        = x[index]
|* Function "faulty": returns `out` f32 [2] and `also` f32 [2] and misbehaves as
|* its input `mode` i64 [] says.
|*
\*===----------------------------------------------------------------------===*/
#include "moe-c/ModelABI.h"

#include <stddef.h>
#include <stdio.h>
#include <string.h>

#ifndef MODEL_ABI
#define MODEL_ABI MOE_ABI_VERSION
#endif

enum { WIDTH = 4, ROUNDS = 50 };

#ifndef MODEL_FILE
static const float weights[WIDTH * WIDTH] __attribute__((aligned(64))) = {
    0.50f, -0.25f, 0.75f,  0.10f, 0.20f,  0.60f, -0.40f, 0.30f,
    0.90f, 0.15f,  -0.35f, 0.45f, -0.55f, 0.05f, 0.65f,  -0.70f};
#endif

struct Rows {
  const float *x;
  const float *weights;
  float *y;
};

static void mapRows(int64_t begin, int64_t end, void *closure) {
  const struct Rows *rows = closure;
  for (int64_t row = begin; row < end; ++row) {
    float state[WIDTH], next[WIDTH];
    memcpy(state, rows->x + row * WIDTH, sizeof(state));
    for (int round = 0; round < ROUNDS; ++round) {
      for (int j = 0; j < WIDTH; ++j) {
        float sum = 0;
        for (int k = 0; k < WIDTH; ++k)
          sum += state[k] * rows->weights[k * WIDTH + j];
        next[j] = sum / (1.0f + sum * sum);
      }
      memcpy(state, next, sizeof(state));
    }
    memcpy(rows->y + row * WIDTH, state, sizeof(state));
  }
}

static int32_t fail(const moe_run_env *env, int32_t code, const char *message) {
  env->fail(env, code, message);
  return code;
}

static void *allocate(const moe_run_env *env, int64_t bytes) {
  void *memory = env->alloc(env, bytes, 64);
  if (!memory)
    env->fail(env, MOE_OUT_OF_MEMORY, "no memory for a value");
  return memory;
}

static void profile(const moe_run_env *env, int32_t op,
                    moe_profile_event event, int64_t flops) {
  if (env->profile)
    env->profile(env, op, event, flops, 2 * flops);
}

static int32_t runMain(const moe_run_env *env, const moe_buffer *inputs,
                       moe_buffer *outputs) {
  int64_t batch = inputs[0].dims[0];
  const float *x = inputs[0].data;
  const uint8_t *mask = inputs[1].data;
  int64_t index = *(const int64_t *)inputs[2].data;
  if (index < 0 || index >= batch) {
    char message[96];
    snprintf(message, sizeof(message),
             "index %lld is out of range for an extent of %lld",
             (long long)index, (long long)batch);
    return fail(env, MOE_OUT_OF_RANGE, message);
  }
  env->log(env, 3, "running");
  const int64_t rowBytes = WIDTH * sizeof(float);

  profile(env, 0, MOE_PROFILE_BEGIN, 0);
  struct Rows rows = {x, env->weights[0], allocate(env, batch * rowBytes)};
  if (!rows.y)
    return MOE_OUT_OF_MEMORY;
  env->parallel_for(env, batch, mapRows, &rows);
  profile(env, 0, MOE_PROFILE_END, batch * ROUNDS * WIDTH * (2 * WIDTH + 3));

  profile(env, 1, MOE_PROFILE_BEGIN, 0);
  /* Memory that is freed, and memory that is left to the runtime. */
  int64_t *positions = allocate(env, batch * (int64_t)sizeof(int64_t));
  void *left = allocate(env, 1000);
  if (!positions || !left)
    return MOE_OUT_OF_MEMORY;
  int64_t kept = 0;
  profile(env, 1, MOE_PROFILE_PAUSE, 0);
  profile(env, 1, MOE_PROFILE_BEGIN, 0);
  for (int64_t row = 0; row < batch; ++row)
    if (mask[row])
      positions[kept++] = row;
  float *keptRows = allocate(env, kept * rowBytes);
  float *chosen = allocate(env, rowBytes);
  if (!keptRows || !chosen)
    return MOE_OUT_OF_MEMORY;
  for (int64_t i = 0; i < kept; ++i)
    memcpy(keptRows + i * WIDTH, x + positions[i] * WIDTH, rowBytes);
  memcpy(chosen, x + index * WIDTH, rowBytes);
  env->free(env, positions);
  profile(env, 1, MOE_PROFILE_WORK, 7);
  profile(env, 1, MOE_PROFILE_END, 0);

  outputs[0].data = rows.y;
  outputs[0].dims[0] = batch;
  outputs[0].dims[1] = WIDTH;
  outputs[1].data = keptRows;
  outputs[1].dims[0] = kept;
  outputs[1].dims[1] = WIDTH;
  outputs[2].data = chosen;
  outputs[2].dims[0] = WIDTH;
  return MOE_OK;
}

/* What "faulty" does for each value of `mode`. */
enum Mode {
  RETURN_CODE_ONLY,
  FAIL_BUT_RETURN_OK,
  FOREIGN_MEMORY,
  SMALL_BLOCK,
  NO_DIMS,
  NO_DATA,
  WRONG_EXTENT,
  FREE_FOREIGN,
  ASK_TOO_MUCH,
  SHARED_BLOCK,
  NEGATIVE_SIZE
};

static int32_t runFaulty(const moe_run_env *env, const moe_buffer *inputs,
                         moe_buffer *outputs) {
  static float foreign[2];
  enum Mode mode = (enum Mode) * (const int64_t *)inputs[0].data;
  float *out = env->alloc(env, mode == SMALL_BLOCK ? 4 : 8, 64);
  float *also = env->alloc(env, 8, 64);
  if (!out || !also)
    return fail(env, MOE_OUT_OF_MEMORY, "no memory");
  out[0] = also[0] = 1;
  if (mode != SMALL_BLOCK)
    out[1] = also[1] = 2;
  outputs[0].data = out;
  outputs[0].dims[0] = mode == SMALL_BLOCK ? 1000 : 2;
  outputs[1].data = also;
  outputs[1].dims[0] = mode == WRONG_EXTENT ? 3 : 2;
  switch (mode) {
  case RETURN_CODE_ONLY:
    return MOE_SHAPE_MISMATCH;
  case FAIL_BUT_RETURN_OK:
    env->fail(env, MOE_OUT_OF_RANGE, "first");
    env->fail(env, MOE_INTERNAL, "second");
    return MOE_OK;
  case FOREIGN_MEMORY:
    outputs[0].data = foreign;
    return MOE_OK;
  case NO_DIMS:
    outputs[0].dims[0] = -1;
    return MOE_OK;
  case NO_DATA:
    outputs[0].data = NULL;
    return MOE_OK;
  case FREE_FOREIGN:
    env->free(env, foreign);
    return MOE_OK;
  case ASK_TOO_MUCH:
    return env->alloc(env, INT64_C(1) << 60, 64)
               ? fail(env, MOE_INTERNAL, "got memory that cannot exist")
               : fail(env, MOE_OUT_OF_MEMORY, "no memory for 2^60 bytes");
  case NEGATIVE_SIZE:
    return env->alloc(env, -1, 64) || env->alloc(env, 8, 3)
               ? fail(env, MOE_INTERNAL, "got memory for a senseless request")
               : fail(env, MOE_OUT_OF_MEMORY, "refused");
  case SHARED_BLOCK:
    outputs[1].data = out;
    return MOE_OK;
  default:
    return MOE_OK;
  }
}

static const moe_dim batchDim[] = {{-1, "batch"}};
static const moe_dim batchRow[] = {{-1, "batch"}, {WIDTH, NULL}};
static const moe_dim keptRow[] = {{-1, "kept"}, {WIDTH, NULL}};
static const moe_dim row[] = {{WIDTH, NULL}};
static const moe_dim anyDim[] = {{-1, NULL}};
static const moe_dim two[] = {{2, NULL}};

static const moe_value mainInputs[] = {{"x", MOE_DTYPE_FLOAT32, 2, batchRow},
                                       {"mask", MOE_DTYPE_BOOL, 1, batchDim},
                                       {"index", MOE_DTYPE_INT64, 0, NULL}};
static const moe_value mainOutputs[] = {{"y", MOE_DTYPE_FLOAT32, 2, batchRow},
                                        {"kept", MOE_DTYPE_FLOAT32, 2, keptRow},
                                        {"chosen", MOE_DTYPE_FLOAT32, 1, row}};
static const moe_op mainOps[] = {{"map", "test.Map"}, {"keep", "test.Keep"}};
static const moe_value faultyInputs[] = {{"mode", MOE_DTYPE_INT64, 0, NULL}};
static const moe_value faultyOutputs[] = {{"out", MOE_DTYPE_FLOAT32, 1, anyDim},
                                          {"also", MOE_DTYPE_FLOAT32, 1, two}};

static const moe_function functions[] = {
    {"main", 3, 3, mainInputs, mainOutputs, 2, 0, mainOps, runMain},
    {"faulty", 1, 2, faultyInputs, faultyOutputs, 0, 0, NULL, runFaulty}};

static const moe_weights sections[] = {
#ifdef MODEL_FILE
    {"constants", NULL, WIDTH * WIDTH * sizeof(float), 4096, MODEL_FILE}
#else
    {"constants", weights, sizeof(weights), 64, NULL}
#endif
};

static const char *const features[] = {
#ifdef MODEL_FEATURE
    MODEL_FEATURE,
#else
    "+sse2",
#endif
    NULL};

static const moe_entry metadata[] = {{"weights_hash", "0123456789abcdef"},
                                     {"origin", "hand"}};

static const moe_model model = {
    MODEL_ABI, sizeof(moe_model), "test",   "hand",  "host",
    "x86-64",  features,          2,        1,       2,
    0,         functions,         sections, metadata, NULL};

#ifndef MODEL_WITHOUT_QUERY
__attribute__((visibility("default")))
const moe_model *moe_model_query(uint32_t abiVersion) {
  return abiVersion == MOE_ABI_VERSION ? &model : NULL;
}
#else
__attribute__((visibility("default"))) const moe_model *somethingElse(void) {
  return &model;
}
#endif
