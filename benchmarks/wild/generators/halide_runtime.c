// Halide's runtime for Metal as its pipelines call it: memory is the host's, and the function that
// `wild_set_launch` is given launches kernels.
#include <stdlib.h>
#include <string.h>

#include "HalideRuntime.h"
#include "HalideRuntimeMetal.h"

typedef struct halide_buffer_t Buffer;
typedef int (*OnBuffer)(void *, Buffer *);
// `sizes` holds six of the grid and the bytes of threadgroup memory; argument i has lengths[i] bytes.
typedef int (*Launch)(const char *source, const char *name, const int *sizes, void **arguments,
                      const long *lengths, int count);

// src/runtime/device_interface.h of Halide's sources.
typedef struct {
  void (*use_module)(void);
  void (*release_module)(void);
  OnBuffer device_malloc, device_free, device_sync;
  int (*device_release)(void *);
  OnBuffer copy_to_host, copy_to_device, device_and_host_malloc, device_and_host_free;
  void *copies_and_crops[6];
} Implementation;

static Launch launch;
void wild_set_launch(Launch function) { launch = function; }

extern const struct halide_device_interface_t wild_interface;
const struct halide_device_interface_t *halide_metal_device_interface(void) {
  return &wild_interface;
}

static long bytes_of(const Buffer *buffer) {
  long elements = 1;
  for (int i = 0; i < buffer->dimensions; ++i) {
    elements += (long)(buffer->dim[i].extent - 1) * labs(buffer->dim[i].stride);
  }
  return elements * ((buffer->type.bits + 7) / 8) * buffer->type.lanes;
}

static int allocate(void *context, Buffer *buffer) {
  if (buffer->device) return 0;
  buffer->device = (uint64_t)calloc(bytes_of(buffer) + 64, 1);
  buffer->device_interface = &wild_interface;
  return 0;
}
static int release(void *context, Buffer *buffer) {
  free((void *)buffer->device);
  buffer->device = 0;
  buffer->device_interface = 0;
  return 0;
}
static int to_host(void *context, Buffer *buffer) {
  memcpy(buffer->host, (void *)buffer->device, bytes_of(buffer));
  return 0;
}
static int to_device(void *context, Buffer *buffer) {
  memcpy((void *)buffer->device, buffer->host, bytes_of(buffer));
  return 0;
}
static int done(void *context, Buffer *buffer) { return 0; }
static int released(void *context) { return 0; }
static void nothing(void) {}

static const Implementation implementation = {
    nothing, nothing, allocate, release, done, released, to_host, to_device,
};
const struct halide_device_interface_t wild_interface = {
    .device_malloc = halide_device_malloc,
    .device_free = halide_device_free,
    .device_sync = halide_device_sync,
    .device_release = halide_device_release,
    .copy_to_host = halide_copy_to_host,
    .copy_to_device = halide_copy_to_device,
    .impl = (void *)&implementation,
};

int halide_metal_initialize_kernels(void *context, void **state, const char *source, int size) {
  *state = strndup(source, size);
  return 0;
}
void halide_metal_finalize_kernels(void *context, void *state) {}

int halide_metal_run(void *context, void *state, const char *name, int blocks_x, int blocks_y,
                     int blocks_z, int threads_x, int threads_y, int threads_z, int shared,
                     struct halide_type_t types[], void *given[], int8_t is_buffer[]) {
  const int sizes[] = {blocks_x, blocks_y, blocks_z, threads_x, threads_y, threads_z, shared};
  char scalars[4096];
  void *arguments[64];
  long lengths[64], used = 0;
  int count = 0;
  for (int i = 0; types[i].bits; ++i) {  // scalars are one struct, the first argument
    if (is_buffer[i]) continue;
    const long size = (types[i].bits + 7) / 8;
    used = (used + size - 1) / size * size;
    memcpy(scalars + used, given[i], size);
    used += size;
  }
  if (used) {
    arguments[count] = scalars;
    lengths[count++] = (used + 3) / 4 * 4;
  }
  for (int i = 0; types[i].bits; ++i) {
    if (!is_buffer[i]) continue;
    const Buffer *buffer = given[i];
    arguments[count] = (void *)buffer->device;
    lengths[count++] = bytes_of(buffer);
  }
  return launch(state, name, sizes, arguments, lengths, count);
}
