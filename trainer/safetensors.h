/* safetensors files: read through a map, written in one go.
 *
 * Layout: u64 little endian header length N | JSON {name: {dtype, shape, data_offsets}} | data; offsets count from 8 +
 * N, lie one behind the other and leave no holes. */
#ifndef TRAINER_SAFETENSORS_H
#define TRAINER_SAFETENSORS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/err.h"
#include "common/file.h"
#include "trainer/real.h"

enum { SAFETENSORS_MAX_HEADER = 100 << 20, SAFETENSORS_MAX_DIMS = 4, SAFETENSORS_MAX_TENSORS = 100000 };

enum tensor_type {
    TENSOR_F32,
    TENSOR_F16,
    TENSOR_BF16,
    TENSOR_F64,
    TENSOR_Q8_0, /* the quantised ones come from GGUF files; see quant.h */
    TENSOR_Q4_0,
    TENSOR_Q4_1,
    TENSOR_Q4_K,
    TENSOR_Q6_K,
    TENSOR_OTHER
};

struct tensor {
    const char *name;
    enum tensor_type type;
    int n_dims;
    int64_t shape[SAFETENSORS_MAX_DIMS];
    size_t n;                  /* elements */
    const unsigned char *data; /* in the map */
    size_t bytes;
    /* Above 0: the rows of so many heads, each with its two halves interleaved, as GGUF stores rotary projections;
     * safetensors_read puts them apart. */
    int interleaved_heads;
};

struct safetensors; /* one file, or the shards of a model together */

/* Opens one file. ERR_FORMAT names the file, the tensor and what is wrong with it. */
int safetensors_open(struct safetensors **file, const char *path, struct err *err) MUST_CHECK;
/* Opens a model folder's model.safetensors, its shards by model.safetensors.index.json, or its GGUF file (gguf.h).
 * ERR_UNSUPPORTED for pickle weights (says how to convert), ERR_NOT_FOUND when there are no weights. */
int safetensors_open_model(struct safetensors **file, const char *folder, struct err *err) MUST_CHECK;
void safetensors_close(struct safetensors *file); /* NULL is fine */
size_t safetensors_count(const struct safetensors *file);
const struct tensor *safetensors_at(const struct safetensors *file, size_t index); /* sorted by name */
const struct tensor *safetensors_find(const struct safetensors *file, const char *name);
/* The tensor's data as it lies in the map when type and alignment are those of `real`; else NULL: read a copy. */
const real *safetensors_view(const struct tensor *tensor);
/* Rows [first, first + n) of a matrix of floats or blocks whose rows are whole blocks, converted into out. */
void safetensors_read_rows(const struct tensor *tensor, size_t first, size_t n, real *out);
/* Converts into out (tensor->n elements). ERR_UNSUPPORTED for a type that is no float. */
int safetensors_read(const struct tensor *tensor, real *out, struct err *err) MUST_CHECK;

/* Where mapped data lies: the open file (the map's) and the offset in it. False when it is in none of the maps. */
bool safetensors_place(const struct safetensors *file, const void *data, int *fd, int64_t *offset);
/* Gives back the memory of pages read so far, after copies of trained tensors were made. */
void safetensors_release(const struct safetensors *file);

/* For readers of other formats: adds a tensor (its name is copied, its data lies in a map), and takes over the map and
 * its file. */
int safetensors_add_tensor(struct safetensors *file, const struct tensor *tensor, struct err *err) MUST_CHECK;
int safetensors_own_map(struct safetensors *file, const struct file_map *map, int fd, struct err *err) MUST_CHECK;

struct tensor_source {
    const char *name;
    int n_dims;
    const int64_t *shape;
    const real *data;
};
/* Writes an F32 file (atomically), tensors in the order given; no time, no path: equal content gives equal bytes. */
int safetensors_write(const char *path, const struct tensor_source *tensors, size_t n, struct err *err) MUST_CHECK;
/* The same of another type: F32 or F16. */
int safetensors_write_as(const char *path, const struct tensor_source *tensors, size_t n, enum tensor_type type,
                         struct err *err) MUST_CHECK;

#endif
