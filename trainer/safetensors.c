/* Reading and writing safetensors. */
#include "trainer/safetensors.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/arena.h"
#include "common/file.h"
#include "common/json.h"
#include "trainer/gguf.h"
#include "trainer/quant.h"

struct safetensors {
    struct arena arena; /* names and shapes */
    struct file_map *maps;
    int *files; /* of each map */
    size_t n_maps;
    struct tensor *tensors;
    size_t n_tensors, capacity;
};

static const struct {
    const char *name;
    enum tensor_type type;
    size_t bytes;
} types[] = {
    {"F32", TENSOR_F32, 4},   {"F16", TENSOR_F16, 2},    {"BF16", TENSOR_BF16, 2}, {"F64", TENSOR_F64, 8},
    {"I64", TENSOR_OTHER, 8}, {"I32", TENSOR_OTHER, 4},  {"I16", TENSOR_OTHER, 2}, {"I8", TENSOR_OTHER, 1},
    {"U8", TENSOR_OTHER, 1},  {"BOOL", TENSOR_OTHER, 1},
};

static int read_type(const cJSON *entry, const char *where, struct tensor *tensor, size_t *element_bytes,
                     struct err *err)
{
    const char *name;
    int rc = json_get_string(entry, "dtype", where, &name, err);
    if (rc < 0)
        return rc;
    for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++)
        if (strcmp(types[i].name, name) == 0) {
            tensor->type = types[i].type;
            *element_bytes = types[i].bytes;
            return 0;
        }
    return err_set(err, ERR_UNSUPPORTED, "tensor '%s': dtype '%s' is not known (F32, F16, BF16, F64 and integers are)",
                   where, name);
}

static int read_shape(const cJSON *entry, const char *where, struct tensor *tensor, struct err *err)
{
    const cJSON *shape;
    int rc = json_get_array(entry, "shape", where, &shape, err);
    if (rc < 0)
        return rc;
    if (cJSON_GetArraySize(shape) > SAFETENSORS_MAX_DIMS)
        return err_set(err, ERR_UNSUPPORTED, "tensor '%s': %d dimensions, at most %d are read", where,
                       cJSON_GetArraySize(shape), SAFETENSORS_MAX_DIMS);
    tensor->n = 1;
    for (const cJSON *item = shape->child; item; item = item->next) {
        double size = cJSON_IsNumber(item) ? item->valuedouble : -1;
        if (size < 0 || size != floor(size) || size > 2147483647.0)
            return err_set(err, ERR_FORMAT, "tensor '%s': a dimension is no whole number from 0 to 2^31 - 1", where);
        tensor->shape[tensor->n_dims++] = (int64_t)size;
        if (__builtin_mul_overflow(tensor->n, (size_t)size, &tensor->n))
            return err_set(err, ERR_FORMAT, "tensor '%s': its number of elements overflows", where);
    }
    return 0;
}

static int read_offsets(const cJSON *entry, const char *where, size_t data_bytes, size_t element_bytes,
                        const unsigned char *data, struct tensor *tensor, struct err *err)
{
    const cJSON *offsets;
    size_t expected;
    int rc = json_get_array(entry, "data_offsets", where, &offsets, err);
    if (rc < 0)
        return rc;
    const cJSON *first = offsets->child, *second = first ? first->next : NULL;
    if (!second || second->next || !cJSON_IsNumber(first) || !cJSON_IsNumber(second) || first->valuedouble < 0 ||
        first->valuedouble != floor(first->valuedouble) || second->valuedouble != floor(second->valuedouble) ||
        first->valuedouble > second->valuedouble)
        return err_set(err, ERR_FORMAT, "tensor '%s': data_offsets are not two whole numbers, begin and end", where);
    if (second->valuedouble > (double)data_bytes)
        return err_set(err, ERR_FORMAT, "tensor '%s' ends at byte %.0f of %zu", where, second->valuedouble, data_bytes);
    size_t begin = (size_t)first->valuedouble, end = (size_t)second->valuedouble;
    if (__builtin_mul_overflow(tensor->n, element_bytes, &expected) || expected != end - begin)
        return err_set(err, ERR_FORMAT,
                       "tensor '%s' takes %zu bytes, its shape and type need %zu elements of %zu bytes", where,
                       end - begin, tensor->n, element_bytes);
    tensor->data = data + begin;
    tensor->bytes = end - begin;
    return 0;
}

int safetensors_add_tensor(struct safetensors *file, const struct tensor *tensor, struct err *err)
{
    if (file->n_tensors == SAFETENSORS_MAX_TENSORS)
        return err_set(err, ERR_FORMAT, "more than %d tensors", SAFETENSORS_MAX_TENSORS);
    if (file->n_tensors == file->capacity) {
        size_t capacity = file->capacity ? 2 * file->capacity : 256;
        struct tensor *grown = realloc(file->tensors, capacity * sizeof(*grown));
        if (!grown)
            return err_set(err, ERR_NOMEM, "no memory for %zu tensors", capacity);
        file->tensors = grown;
        file->capacity = capacity;
    }
    struct tensor *added = &file->tensors[file->n_tensors];
    *added = *tensor;
    added->name = arena_strdup(&file->arena, tensor->name);
    if (!added->name)
        return err_set(err, ERR_NOMEM, "no memory for a tensor's name");
    file->n_tensors++;
    return 0;
}

static int add_tensor(struct safetensors *file, const cJSON *entry, const unsigned char *data, size_t data_bytes,
                      struct err *err)
{
    struct tensor tensor = {0};
    size_t element_bytes = 0;
    if (!cJSON_IsObject(entry))
        return err_set(err, ERR_FORMAT, "tensor '%s': %s was found, an object was expected", entry->string,
                       json_type_name(entry));
    int rc = read_type(entry, entry->string, &tensor, &element_bytes, err);
    if (rc == 0)
        rc = read_shape(entry, entry->string, &tensor, err);
    if (rc == 0)
        rc = read_offsets(entry, entry->string, data_bytes, element_bytes, data, &tensor, err);
    if (rc < 0)
        return rc;
    tensor.name = entry->string;
    return safetensors_add_tensor(file, &tensor, err);
}

static int compare_begin(const void *a, const void *b)
{
    const struct tensor *x = a, *y = b;
    return x->data < y->data ? -1 : x->data > y->data ? 1 : (x->bytes > y->bytes) - (x->bytes < y->bytes);
}

/* Offsets leave no hole and do not overlap: else a file could hide data, or two tensors share theirs. */
static int check_cover(struct tensor *tensors, size_t n, const unsigned char *data, size_t data_bytes, struct err *err)
{
    const unsigned char *at = data;
    if (n > 1)
        qsort(tensors, n, sizeof(*tensors), compare_begin);
    for (size_t i = 0; i < n; i++) {
        if (tensors[i].data != at)
            return err_set(err, ERR_FORMAT, "tensor '%s' begins at byte %td, %td was expected (holes and overlaps)",
                           tensors[i].name, tensors[i].data - data, at - data);
        at += tensors[i].bytes;
    }
    if (at != data + data_bytes)
        return err_set(err, ERR_FORMAT, "%td bytes behind the last tensor belong to none", data + data_bytes - at);
    return 0;
}

static int read_header(struct safetensors *file, const struct file_map *map, struct err *err)
{
    uint64_t length = 0;
    cJSON *header = NULL;
    size_t first = file->n_tensors;
    if (map->len < 8)
        return err_set(err, ERR_FORMAT, "%zu bytes are too few for a header", map->len);
    for (int i = 0; i < 8; i++)
        length |= (uint64_t)map->data[i] << (8 * i);
    if (length > map->len - 8 || length > SAFETENSORS_MAX_HEADER)
        return err_set(err, ERR_FORMAT, "the header's length %llu is beyond the file's %zu bytes (or 100 MiB)",
                       (unsigned long long)length, map->len);
    int rc = json_parse((const char *)map->data + 8, (size_t)length, &header, err);
    if (rc < 0)
        return err_wrap(err, "header");
    if (!cJSON_IsObject(header))
        rc = err_set(err, ERR_FORMAT, "header: %s was found, an object was expected", json_type_name(header));
    const unsigned char *data = map->data + 8 + length;
    size_t data_bytes = map->len - 8 - (size_t)length;
    for (const cJSON *entry = header->child; rc == 0 && entry; entry = entry->next)
        if (strcmp(entry->string, "__metadata__") != 0)
            rc = add_tensor(file, entry, data, data_bytes, err);
    if (rc == 0)
        rc = check_cover(file->tensors ? file->tensors + first : NULL, file->n_tensors - first, data, data_bytes, err);
    json_free(header);
    return rc;
}

static int make_room(struct safetensors *file, struct err *err)
{
    struct file_map *maps = realloc(file->maps, (file->n_maps + 1) * sizeof(*maps));
    if (!maps)
        return err_set(err, ERR_NOMEM, "no memory for a file map");
    file->maps = maps;
    int *files = realloc(file->files, (file->n_maps + 1) * sizeof(*files));
    if (!files)
        return err_set(err, ERR_NOMEM, "no memory for a file map");
    file->files = files;
    return 0;
}

int safetensors_own_map(struct safetensors *file, const struct file_map *map, int fd, struct err *err)
{
    int rc = make_room(file, err);
    if (rc < 0)
        return rc;
    file->maps[file->n_maps] = *map;
    file->files[file->n_maps++] = fd;
    return 0;
}

static int add_file(struct safetensors *file, const char *path, struct err *err)
{
    int rc = make_room(file, err);
    if (rc == 0)
        rc = file_map_open_file(&file->maps[file->n_maps], &file->files[file->n_maps], path, err);
    if (rc < 0)
        return rc;
    rc = read_header(file, &file->maps[file->n_maps++], err);
    return rc < 0 ? err_wrap(err, "'%s'", path) : 0;
}

static int compare_names(const void *a, const void *b)
{
    return strcmp(((const struct tensor *)a)->name, ((const struct tensor *)b)->name);
}

static int finish(struct safetensors **out, struct safetensors *file, int rc, struct err *err)
{
    if (rc == 0 && file->n_tensors)
        qsort(file->tensors, file->n_tensors, sizeof(struct tensor), compare_names);
    for (size_t i = 1; rc == 0 && i < file->n_tensors; i++)
        if (strcmp(file->tensors[i - 1].name, file->tensors[i].name) == 0)
            rc = err_set(err, ERR_FORMAT, "tensor '%s' is in two shards", file->tensors[i].name);
    if (rc < 0)
        safetensors_close(file);
    else
        *out = file;
    return rc;
}

int safetensors_open(struct safetensors **file, const char *path, struct err *err)
{
    struct safetensors *opened = calloc(1, sizeof(*opened));
    if (!opened)
        return err_set(err, ERR_NOMEM, "no memory to open '%s'", path);
    return finish(file, opened, add_file(opened, path, err), err);
}

/* Each shard once, in the order in which the index first names it. */
static int add_shards(struct safetensors *file, const char *folder, const cJSON *index, struct err *err)
{
    const cJSON *names;
    int rc = json_get_object(index, "weight_map", "model.safetensors.index.json", &names, err);
    for (const cJSON *item = rc == 0 ? names->child : NULL; item && rc == 0; item = item->next) {
        bool is_new = true;
        if (!cJSON_IsString(item) || strchr(item->valuestring, '/'))
            return err_set(err, ERR_FORMAT, "weight_map.%s: a file's name was expected", item->string);
        for (const cJSON *earlier = names->child; is_new && earlier != item; earlier = earlier->next)
            is_new = strcmp(earlier->valuestring, item->valuestring) != 0;
        if (!is_new)
            continue;
        char *path = file_join(folder, item->valuestring);
        rc = path ? add_file(file, path, err) : err_set(err, ERR_NOMEM, "no memory");
        free(path);
    }
    return rc;
}

int safetensors_open_model(struct safetensors **file, const char *folder, struct err *err)
{
    struct safetensors *opened = calloc(1, sizeof(*opened));
    char *single = file_join(folder, "model.safetensors");
    char *index_path = file_join(folder, "model.safetensors.index.json");
    char *pickle = file_join(folder, "pytorch_model.bin");
    char *gguf = NULL;
    cJSON *index = NULL;
    int rc = gguf_find(&gguf, folder, err);
    if (rc < 0) {
        /* said already */
    } else if (!opened || !single || !index_path || !pickle) {
        rc = err_set(err, ERR_NOMEM, "no memory to open '%s'", folder);
    } else if (file_exists(single)) {
        rc = add_file(opened, single, err);
    } else if (file_exists(index_path)) {
        rc = json_read_file(index_path, &index, err);
        if (rc == 0)
            rc = add_shards(opened, folder, index, err);
    } else if (gguf) {
        rc = gguf_add_tensors(gguf, opened, err);
    } else if (file_exists(pickle)) {
        rc =
            err_set(err, ERR_UNSUPPORTED,
                    "'%s' has its weights as a pickle (pytorch_model.bin), which can run code when it is read; convert "
                    "them once with model.save_pretrained(folder, safe_serialization=True)",
                    folder);
    } else {
        rc = err_set(err, ERR_NOT_FOUND,
                     "'%s' has no model.safetensors, no model.safetensors.index.json and no GGUF file", folder);
    }
    json_free(index);
    free(single);
    free(index_path);
    free(pickle);
    free(gguf);
    if (!opened)
        return rc;
    return finish(file, opened, rc, err);
}

void safetensors_close(struct safetensors *file)
{
    if (!file)
        return;
    for (size_t i = 0; i < file->n_maps; i++) {
        file_map_close(&file->maps[i]);
        close(file->files[i]);
    }
    free(file->maps);
    free(file->files);
    free(file->tensors);
    arena_done(&file->arena);
    free(file);
}

void safetensors_release(const struct safetensors *file)
{
    for (size_t i = 0; i < file->n_maps; i++)
        file_map_release(&file->maps[i]);
}

bool safetensors_place(const struct safetensors *file, const void *data, int *fd, int64_t *offset)
{
    for (size_t i = 0; i < file->n_maps; i++) {
        uintptr_t begin = (uintptr_t)file->maps[i].data, at = (uintptr_t)data;
        if (at < begin || at >= begin + file->maps[i].len)
            continue;
        *fd = file->files[i];
        *offset = (int64_t)(at - begin);
        return true;
    }
    return false;
}

size_t safetensors_count(const struct safetensors *file)
{
    return file->n_tensors;
}

const struct tensor *safetensors_at(const struct safetensors *file, size_t index)
{
    return &file->tensors[index];
}

const struct tensor *safetensors_find(const struct safetensors *file, const char *name)
{
    struct tensor key = {.name = name};
    if (file->n_tensors == 0)
        return NULL;
    return bsearch(&key, file->tensors, file->n_tensors, sizeof(key), compare_names);
}

const real *safetensors_view(const struct tensor *tensor)
{
#ifdef REAL_DOUBLE
    enum tensor_type own = TENSOR_F64;
#else
    enum tensor_type own = TENSOR_F32;
#endif
    if (tensor->type != own || tensor->interleaved_heads || (uintptr_t)tensor->data % sizeof(real) != 0)
        return NULL;
    return (const real *)(const void *)tensor->data;
}

/* Where a row is stored: with interleaved heads row r of a head of d comes from 2 (r mod d/2) + r div (d/2). */
static size_t stored_row(const struct tensor *tensor, size_t row)
{
    if (!tensor->interleaved_heads)
        return row;
    size_t d = (size_t)tensor->shape[0] / (size_t)tensor->interleaved_heads, r = row % d;
    return row / d * d + 2 * (r % (d / 2)) + r / (d / 2);
}

void safetensors_read_rows(const struct tensor *tensor, size_t first, size_t n, real *out)
{
    const struct quant *quant = quant_of(tensor->type);
    size_t width = tensor->n / (size_t)tensor->shape[0], blocks = width / quant->elements;
    for (size_t i = 0; i < n; i++) {
        const unsigned char *row = tensor->data + stored_row(tensor, first + i) * blocks * quant->bytes;
        quant_expand(tensor->type, row, blocks, out + i * width);
    }
}

int safetensors_read(const struct tensor *tensor, real *out, struct err *err)
{
    if (tensor->type == TENSOR_OTHER)
        return tensor->n == 0 ? 0 : err_set(err, ERR_UNSUPPORTED, "tensor '%s' does not hold floats", tensor->name);
    const struct quant *quant = quant_of(tensor->type);
    if (tensor->interleaved_heads && tensor->n)
        safetensors_read_rows(tensor, 0, (size_t)tensor->shape[0], out);
    else
        quant_expand(tensor->type, tensor->data, tensor->n / quant->elements, out);
    return 0;
}

static void add_header(struct text *header, const struct tensor_source *tensors, size_t n, enum tensor_type type)
{
    size_t at = 0;
    text_add(header, "{\"__metadata__\":{\"format\":\"pt\"}");
    for (size_t i = 0; i < n; i++) {
        size_t elements = 1;
        text_add(header, ",");
        text_add_json(header, tensors[i].name);
        const struct quant *quant = quant_of(type);
        text_printf(header, ":{\"dtype\":\"%s\",\"shape\":[", quant->name);
        for (int d = 0; d < tensors[i].n_dims; d++) {
            elements *= (size_t)tensors[i].shape[d];
            text_printf(header, "%s%lld", d ? "," : "", (long long)tensors[i].shape[d]);
        }
        text_printf(header, "],\"data_offsets\":[%zu,%zu]}", at, at + quant->bytes * elements);
        at += quant->bytes * elements;
    }
    text_add(header, "}");
    while (!header->failed && header->len % 8 != 0)
        text_add(header, " ");
}

static int write_tensor(struct file_write *file, const struct tensor_source *tensor, enum tensor_type type,
                        struct err *err)
{
    enum { BLOCK = 4096 };
    unsigned char block[BLOCK * sizeof(float)];
    size_t elements = 1;
    int rc = 0;
    for (int d = 0; d < tensor->n_dims; d++)
        elements *= (size_t)tensor->shape[d];
    for (size_t at = 0; at < elements && rc == 0; at += BLOCK) {
        size_t n = elements - at < BLOCK ? elements - at : BLOCK;
        quant_pack(type, tensor->data + at, n, block);
        rc = file_write_add(file, block, n * quant_of(type)->bytes, err);
    }
    return rc;
}

int safetensors_write(const char *path, const struct tensor_source *tensors, size_t n, struct err *err)
{
    return safetensors_write_as(path, tensors, n, TENSOR_F32, err);
}

int safetensors_write_as(const char *path, const struct tensor_source *tensors, size_t n, enum tensor_type type,
                         struct err *err)
{
    struct text header = {0};
    struct file_write file;
    unsigned char length[8];
    add_header(&header, tensors, n, type);
    for (int i = 0; i < 8; i++)
        length[i] = (unsigned char)((uint64_t)header.len >> (8 * i) & 255);
    int rc = header.failed ? err_set(err, ERR_NOMEM, "'%s': no memory to write it", path) : 0;
    if (rc < 0) {
        text_done(&header);
        return rc;
    }
    rc = file_write_begin(&file, path, err);
    if (rc == 0)
        rc = file_write_add(&file, length, sizeof(length), err);
    if (rc == 0)
        rc = file_write_add(&file, header.data, header.len, err);
    for (size_t t = 0; t < n && rc == 0; t++)
        rc = write_tensor(&file, &tensors[t], type, err);
    if (rc == 0)
        rc = file_write_commit(&file, err);
    file_write_abandon(&file);
    text_done(&header);
    return rc;
}
