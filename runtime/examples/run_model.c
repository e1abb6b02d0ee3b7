/*===- run_model.c - running a compiled model from C ----------------------===*\
|*
|*   run_model MODEL.so [EXTENT]
|*
|* Loads a model, gives every input zeros, runs it once and prints what comes
|* out. Extents that the model leaves open become EXTENT (1 if not given).
|* It shows the whole life of a program, a session and tensors; error handling
|* is the one function `check`.
|*
\*===----------------------------------------------------------------------===*/
#include "moe-c/Runtime.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

enum { MAX_PRINTED = 8 };

/* Prints an error and ends the program. */
static void check(moe_error *error) {
  if (!error)
    return;
  fprintf(stderr, "run_model: %s\n", moe_error_message(error));
  moe_error_free(error);
  exit(1);
}

static void *checkedCalloc(size_t count, size_t size) {
  void *data = calloc(count ? count : 1, size ? size : 1);
  if (!data) {
    fprintf(stderr, "run_model: out of memory\n");
    exit(1);
  }
  return data;
}

/* A tensor of zeros that fits `value`. */
static DLManagedTensor *makeInput(const moe_value *value, int64_t extent) {
  DLManagedTensor *managed = checkedCalloc(1, sizeof(*managed));
  DLTensor *tensor = &managed->dl_tensor;
  size_t count = 1;
  tensor->shape = checkedCalloc((size_t)value->rank, sizeof(int64_t));
  for (int32_t d = 0; d < value->rank; ++d) {
    int64_t size = value->dims[d].extent;
    tensor->shape[d] = size >= 0 ? size : extent;
    count *= (size_t)tensor->shape[d];
  }
  tensor->ndim = value->rank;
  tensor->dtype = moe_dtype_to_dlpack(value->dtype);
  tensor->device.device_type = kDLCPU;
  tensor->data = checkedCalloc(count, (size_t)moe_dtype_size(value->dtype));
  return managed;
}

static void freeInput(DLManagedTensor *managed) {
  free(managed->dl_tensor.data);
  free(managed->dl_tensor.shape);
  free(managed);
}

/* Name, type, shape and, of the most common types, the first elements. */
static void printOutput(const moe_value *value, const DLTensor *tensor) {
  int64_t count = 1;
  printf("%s: %s[", value->name, moe_dtype_name(value->dtype));
  for (int d = 0; d < tensor->ndim; ++d) {
    printf("%s%" PRId64, d ? ", " : "", tensor->shape[d]);
    count *= tensor->shape[d];
  }
  printf("]");
  for (int64_t i = 0; i < count && i < MAX_PRINTED; ++i) {
    if (value->dtype == MOE_DTYPE_FLOAT32)
      printf(" %g", ((const float *)tensor->data)[i]);
    else if (value->dtype == MOE_DTYPE_INT64)
      printf(" %" PRId64, ((const int64_t *)tensor->data)[i]);
  }
  printf("%s\n", count > MAX_PRINTED ? " ..." : "");
}

int main(int argc, char **argv) {
  if (argc < 2 || argc > 3) {
    fprintf(stderr, "usage: run_model MODEL.so [EXTENT]\n");
    return 1;
  }
  char *end = NULL;
  int64_t extent = argc == 3 ? strtoll(argv[2], &end, 10) : 1;
  if (extent < 0 || (end && *end)) {
    fprintf(stderr, "run_model: EXTENT is a number, 0 or more\n");
    return 1;
  }

  moe_program *program = NULL;
  moe_session *session = NULL;
  check(moe_program_load(argv[1], &program));
  check(moe_session_create(program, NULL, &session));

  const moe_function *function = moe_session_function(session);
  DLManagedTensor **inputs =
      checkedCalloc((size_t)function->num_inputs, sizeof(*inputs));
  DLManagedTensor **outputs =
      checkedCalloc((size_t)function->num_outputs, sizeof(*outputs));
  for (int32_t i = 0; i < function->num_inputs; ++i)
    inputs[i] = makeInput(&function->inputs[i], extent);

  /* Null names: the inputs are in the order of the signature. */
  check(moe_session_run(session, function->num_inputs, NULL, inputs, outputs));

  for (int32_t i = 0; i < function->num_outputs; ++i) {
    printOutput(&function->outputs[i], &outputs[i]->dl_tensor);
    outputs[i]->deleter(outputs[i]);
  }
  for (int32_t i = 0; i < function->num_inputs; ++i)
    freeInput(inputs[i]);
  free(inputs);
  free(outputs);
  moe_session_free(session);
  moe_program_free(program);
  return 0;
}
