/* Reading GGUF. Every length is checked against what is left of the file before anything is done with it. */
#include "trainer/gguf.h"

#include <dirent.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/arena.h"
#include "common/file.h"
#include "common/text.h"
#include "trainer/gguf_internal.h"
#include "trainer/quant.h"

enum { MAX_KEY = 4096, MAX_TEXT = 16 << 20, MAX_DEPTH = 2 };

enum value_type {
    VALUE_U8,
    VALUE_I8,
    VALUE_U16,
    VALUE_I16,
    VALUE_U32,
    VALUE_I32,
    VALUE_F32,
    VALUE_BOOL,
    VALUE_TEXT,
    VALUE_LIST,
    VALUE_U64,
    VALUE_I64,
    VALUE_F64,
    N_VALUE_TYPES
};

static const size_t value_bytes[N_VALUE_TYPES] = {1, 1, 2, 2, 4, 4, 4, 1, 0, 0, 8, 8, 8};

/* Where reading is, and how much is left. */
struct cursor {
    const unsigned char *at;
    size_t left;
    const char *where; /* for messages */
    struct err *err;
};

static int too_short(struct cursor *c, uint64_t needed)
{
    return err_set(c->err, ERR_FORMAT, "%s: %llu bytes are needed, the file has %zu more", c->where,
                   (unsigned long long)needed, c->left);
}

static int take(struct cursor *c, size_t n, const unsigned char **out)
{
    if (n > c->left)
        return too_short(c, n);
    *out = c->at;
    c->at += n;
    c->left -= n;
    return 0;
}

static uint64_t little(const unsigned char *bytes, size_t n)
{
    uint64_t value = 0;
    for (size_t i = 0; i < n; i++)
        value |= (uint64_t)bytes[i] << (8 * i);
    return value;
}

static int take_integer(struct cursor *c, size_t n, uint64_t *out)
{
    const unsigned char *bytes = NULL;
    int rc = take(c, n, &bytes);
    if (rc == 0)
        *out = little(bytes, n);
    return rc;
}

/* A text in the arena with a NUL behind it. */
static int take_text(struct cursor *c, size_t max, struct arena *arena, const char **out)
{
    uint64_t n = 0;
    const unsigned char *bytes = NULL;
    int rc = take_integer(c, 8, &n);
    if (rc < 0)
        return rc;
    if (n > c->left)
        return too_short(c, n);
    if (n > max)
        return err_set(c->err, ERR_FORMAT, "%s: a text of %llu bytes, at most %zu are read", c->where,
                       (unsigned long long)n, max);
    rc = take(c, (size_t)n, &bytes);
    if (rc < 0)
        return rc;
    if (memchr(bytes, 0, (size_t)n) || utf8_valid_prefix((const char *)bytes, (size_t)n) != n)
        return err_set(c->err, ERR_FORMAT, "%s: a text is not UTF-8 or has a NUL in it", c->where);
    char *copy = arena_alloc(arena, (size_t)n + 1);
    if (!copy)
        return err_set(c->err, ERR_NOMEM, "%s: no memory", c->where);
    memcpy(copy, bytes, (size_t)n);
    copy[n] = '\0';
    *out = copy;
    return 0;
}

static double number_of(enum value_type type, const unsigned char *bytes)
{
    uint64_t bits = little(bytes, value_bytes[type]);
    uint32_t bits32 = (uint32_t)bits;
    float single;
    double wide;
    switch (type) {
    case VALUE_I8:
        return (double)(int8_t)(uint8_t)bits;
    case VALUE_I16:
        return (double)(int16_t)(uint16_t)bits;
    case VALUE_I32:
        return (double)(int32_t)bits32;
    case VALUE_I64:
        return (double)(int64_t)bits;
    case VALUE_F32:
        memcpy(&single, &bits32, sizeof(single));
        return (double)single;
    case VALUE_F64:
        memcpy(&wide, &bits, sizeof(wide));
        return wide;
    default:
        return (double)bits;
    }
}

/* Metadata --------------------------------------------------------------------------------------------------------- */

static int take_type(struct cursor *c, enum value_type *out)
{
    uint64_t type = 0;
    int rc = take_integer(c, 4, &type);
    if (rc == 0 && type >= N_VALUE_TYPES)
        rc = err_set(c->err, ERR_FORMAT, "%s: type %llu, 0 to %d was expected", c->where, (unsigned long long)type,
                     N_VALUE_TYPES - 1);
    if (rc == 0)
        *out = (enum value_type)type;
    return rc;
}

/* The texts of a list lie one behind the other in one block: a tokenizer has a hundred thousand of them. */
static int take_texts(struct cursor *c, size_t n, struct arena *arena, struct entry *entry)
{
    struct cursor ahead = *c;
    size_t bytes = 0;
    for (size_t i = 0; i < n; i++) {
        uint64_t length = 0;
        const unsigned char *skipped;
        int rc = take_integer(&ahead, 8, &length);
        if (rc == 0 && length > ahead.left)
            rc = too_short(&ahead, length);
        if (rc == 0)
            rc = take(&ahead, (size_t)length, &skipped);
        if (rc < 0)
            return rc;
        bytes += (size_t)length + 1;
    }
    const char **texts = arena_calloc(arena, n + 1, sizeof(*texts));
    char *block = arena_alloc(arena, bytes + 1);
    if (!texts || !block)
        return err_set(c->err, ERR_NOMEM, "%s: no memory for %zu texts", c->where, n);
    for (size_t i = 0; i < n; i++) {
        uint64_t length = little(c->at, 8); /* both were checked above */
        memcpy(block, c->at + 8, (size_t)length);
        block[length] = '\0';
        if (memchr(block, 0, (size_t)length) || utf8_valid_prefix(block, (size_t)length) != length)
            return err_set(c->err, ERR_FORMAT, "%s: text %zu is not UTF-8 or has a NUL in it", c->where, i);
        texts[i] = block;
        block += length + 1;
        c->at += 8 + length;
        c->left -= 8 + (size_t)length;
    }
    entry->kind = ENTRY_TEXTS;
    entry->list = (struct gguf_list){.texts = texts, .n = n};
    return 0;
}

static int take_numbers(struct cursor *c, enum value_type type, size_t n, struct arena *arena, struct entry *entry)
{
    const unsigned char *bytes = NULL;
    int rc = take(c, n * value_bytes[type], &bytes);
    double *numbers = rc == 0 ? arena_calloc(arena, n + 1, sizeof(*numbers)) : NULL;
    if (rc == 0 && !numbers)
        rc = err_set(c->err, ERR_NOMEM, "%s: no memory for %zu numbers", c->where, n);
    for (size_t i = 0; rc == 0 && i < n; i++)
        numbers[i] = number_of(type, bytes + i * value_bytes[type]);
    entry->kind = ENTRY_NUMBERS;
    entry->list = (struct gguf_list){.numbers = numbers, .n = n};
    return rc;
}

static int take_list(struct cursor *c, struct arena *arena, struct entry *entry)
{
    enum value_type type = VALUE_U8;
    uint64_t n = 0;
    int rc = take_type(c, &type);
    if (rc == 0)
        rc = take_integer(c, 8, &n);
    if (rc < 0)
        return rc;
    if (type == VALUE_LIST)
        return err_set(c->err, ERR_UNSUPPORTED, "%s: a list of lists", c->where);
    size_t least = type == VALUE_TEXT ? 8 : value_bytes[type];
    if (n > GGUF_MAX_ITEMS || n * least > c->left)
        return err_set(c->err, ERR_FORMAT, "%s: a list of %llu items, the file has %zu more bytes (and %d are read)",
                       c->where, (unsigned long long)n, c->left, GGUF_MAX_ITEMS);
    return type == VALUE_TEXT ? take_texts(c, (size_t)n, arena, entry) : take_numbers(c, type, (size_t)n, arena, entry);
}

static int take_value(struct cursor *c, struct arena *arena, struct entry *entry)
{
    enum value_type type = VALUE_U8;
    const unsigned char *bytes = NULL;
    int rc = take_type(c, &type);
    if (rc < 0)
        return rc;
    if (type == VALUE_LIST)
        return take_list(c, arena, entry);
    if (type == VALUE_TEXT) {
        entry->kind = ENTRY_TEXT;
        return take_text(c, MAX_TEXT, arena, &entry->text);
    }
    rc = take(c, value_bytes[type], &bytes);
    entry->kind = type == VALUE_BOOL ? ENTRY_BOOL : ENTRY_NUMBER;
    entry->number = rc == 0 ? number_of(type, bytes) : 0;
    return rc;
}

static int read_metadata(struct gguf *gguf, struct cursor *c, uint64_t n)
{
    char where[MAX_KEY + 32];
    if (n > GGUF_MAX_ENTRIES)
        return err_set(c->err, ERR_FORMAT, "%llu metadata entries, at most %d are read", (unsigned long long)n,
                       GGUF_MAX_ENTRIES);
    gguf->entries = arena_calloc(&gguf->arena, (size_t)n + 1, sizeof(*gguf->entries));
    if (!gguf->entries)
        return err_set(c->err, ERR_NOMEM, "no memory for the metadata");
    for (uint64_t i = 0; i < n; i++) {
        struct entry *entry = &gguf->entries[gguf->n_entries];
        snprintf(where, sizeof(where), "metadata entry %llu", (unsigned long long)i);
        c->where = where;
        int rc = take_text(c, MAX_KEY, &gguf->arena, &entry->key);
        if (rc < 0)
            return rc;
        snprintf(where, sizeof(where), "metadata '%s'", entry->key);
        if (gguf_entry(gguf, entry->key))
            return err_set(c->err, ERR_FORMAT, "%s is there twice", where);
        rc = take_value(c, &gguf->arena, entry);
        if (rc < 0)
            return rc;
        gguf->n_entries++;
    }
    return 0;
}

const struct entry *gguf_entry(const struct gguf *gguf, const char *key)
{
    for (size_t i = 0; i < gguf->n_entries; i++)
        if (strcmp(gguf->entries[i].key, key) == 0)
            return &gguf->entries[i];
    return NULL;
}

bool gguf_text(const struct gguf *gguf, const char *key, const char **out)
{
    const struct entry *entry = gguf_entry(gguf, key);
    if (!entry || entry->kind != ENTRY_TEXT)
        return false;
    *out = entry->text;
    return true;
}

bool gguf_number(const struct gguf *gguf, const char *key, double *out)
{
    const struct entry *entry = gguf_entry(gguf, key);
    if (!entry || entry->kind != ENTRY_NUMBER)
        return false;
    *out = entry->number;
    return true;
}

bool gguf_bool(const struct gguf *gguf, const char *key, bool *out)
{
    const struct entry *entry = gguf_entry(gguf, key);
    if (!entry || entry->kind != ENTRY_BOOL)
        return false;
    *out = entry->number != 0;
    return true;
}

bool gguf_list(const struct gguf *gguf, const char *key, struct gguf_list *out)
{
    const struct entry *entry = gguf_entry(gguf, key);
    if (!entry || (entry->kind != ENTRY_TEXTS && entry->kind != ENTRY_NUMBERS))
        return false;
    *out = entry->list;
    return true;
}

/* Tensors ---------------------------------------------------------------------------------------------------------- */

static const struct {
    uint32_t number;
    enum tensor_type type;
} tensor_types[] = {{0, TENSOR_F32},   {1, TENSOR_F16},   {2, TENSOR_Q4_0}, {3, TENSOR_Q4_1}, {8, TENSOR_Q8_0},
                    {12, TENSOR_Q4_K}, {14, TENSOR_Q6_K}, {28, TENSOR_F64}, {30, TENSOR_BF16}};

static int read_type(struct cursor *c, uint64_t number, enum tensor_type *type)
{
    for (size_t i = 0; i < sizeof(tensor_types) / sizeof(tensor_types[0]); i++)
        if (tensor_types[i].number == number) {
            *type = tensor_types[i].type;
            return 0;
        }
    return err_set(c->err, ERR_UNSUPPORTED,
                   "%s: type %llu is not built in (F32, F16, BF16, Q8_0, Q4_0, Q4_1, Q4_K and Q6_K are)", c->where,
                   (unsigned long long)number);
}

/* Sizes come fastest first; here the rows come first. */
static int read_shape(struct cursor *c, struct tensor *tensor)
{
    uint64_t n_dims = 0, size = 0;
    int rc = take_integer(c, 4, &n_dims);
    if (rc < 0)
        return rc;
    if (n_dims < 1 || n_dims > SAFETENSORS_MAX_DIMS)
        return err_set(c->err, ERR_FORMAT, "%s: %llu dimensions, 1 to %d was expected", c->where,
                       (unsigned long long)n_dims, SAFETENSORS_MAX_DIMS);
    tensor->n_dims = (int)n_dims;
    tensor->n = 1;
    for (int d = tensor->n_dims - 1; d >= 0; d--) {
        rc = take_integer(c, 8, &size);
        if (rc < 0)
            return rc;
        if (size > INT32_MAX || __builtin_mul_overflow(tensor->n, (size_t)size, &tensor->n))
            return err_set(c->err, ERR_FORMAT, "%s: a dimension of %llu, at most 2^31 - 1 was expected", c->where,
                           (unsigned long long)size);
        tensor->shape[d] = (int64_t)size;
    }
    return 0;
}

static int read_tensor(struct gguf *gguf, struct cursor *c, struct tensor *tensor, uint64_t *offset)
{
    uint64_t number = 0;
    *tensor = (struct tensor){0};
    int rc = take_text(c, MAX_KEY, &gguf->arena, &tensor->name);
    if (rc < 0)
        return rc;
    char where[MAX_KEY + 32];
    snprintf(where, sizeof(where), "tensor '%s'", tensor->name);
    c->where = where;
    rc = read_shape(c, tensor);
    if (rc == 0)
        rc = take_integer(c, 4, &number);
    if (rc == 0)
        rc = read_type(c, number, &tensor->type);
    if (rc == 0)
        rc = take_integer(c, 8, offset);
    if (rc == 0) {
        const struct quant *quant = quant_of(tensor->type);
        size_t row = (size_t)tensor->shape[tensor->n_dims - 1];
        if (row % quant->elements != 0)
            rc = err_set(c->err, ERR_FORMAT, "%s: rows of %zu, a multiple of %zu was expected of %s", where, row,
                         quant->elements, quant->name);
        else if (__builtin_mul_overflow(tensor->n / quant->elements, quant->bytes, &tensor->bytes))
            rc = err_set(c->err, ERR_FORMAT, "%s: its size overflows", where);
    }
    c->where = "tensors";
    return rc;
}

/* Where its data lies, once it is known where all data begins. */
static int place_tensor(const struct gguf *gguf, struct tensor *tensor, uint64_t offset, size_t data_at,
                        size_t alignment, struct err *err)
{
    size_t room = gguf->map.len - data_at;
    if (offset % alignment != 0)
        return err_set(err, ERR_FORMAT, "tensor '%s' begins at byte %llu, a multiple of %zu was expected", tensor->name,
                       (unsigned long long)offset, alignment);
    if (offset > room || tensor->bytes > room - (size_t)offset)
        return err_set(err, ERR_FORMAT, "tensor '%s' takes %zu bytes from byte %llu of the data on, which has %zu",
                       tensor->name, tensor->bytes, (unsigned long long)offset, room);
    tensor->data = gguf->map.data + data_at + (size_t)offset;
    return 0;
}

static int compare_places(const void *a, const void *b)
{
    const struct tensor *x = *(const struct tensor *const *)a, *y = *(const struct tensor *const *)b;
    return x->data < y->data ? -1 : x->data > y->data;
}

static int check_overlaps(struct gguf *gguf, struct err *err)
{
    const struct tensor **sorted = arena_calloc(&gguf->arena, gguf->n_tensors + 1, sizeof(*sorted));
    if (!sorted)
        return err_set(err, ERR_NOMEM, "no memory for the tensors");
    for (size_t i = 0; i < gguf->n_tensors; i++)
        sorted[i] = &gguf->tensors[i];
    qsort(sorted, gguf->n_tensors, sizeof(*sorted), compare_places);
    for (size_t i = 1; i < gguf->n_tensors; i++)
        if (sorted[i]->data < sorted[i - 1]->data + sorted[i - 1]->bytes)
            return err_set(err, ERR_FORMAT, "tensor '%s' begins %td bytes inside tensor '%s'", sorted[i]->name,
                           sorted[i - 1]->data + sorted[i - 1]->bytes - sorted[i]->data, sorted[i - 1]->name);
    return 0;
}

static int read_tensors(struct gguf *gguf, struct cursor *c, uint64_t n)
{
    double alignment = 32;
    if (n > SAFETENSORS_MAX_TENSORS)
        return err_set(c->err, ERR_FORMAT, "%llu tensors, at most %d are read", (unsigned long long)n,
                       SAFETENSORS_MAX_TENSORS);
    gguf_number(gguf, "general.alignment", &alignment);
    if (!(alignment >= 8 && alignment <= 1 << 20) || fmod(alignment, 8) != 0)
        return err_set(c->err, ERR_FORMAT, "general.alignment: %g, a multiple of 8 was expected", alignment);
    gguf->tensors = arena_calloc(&gguf->arena, (size_t)n + 1, sizeof(*gguf->tensors));
    uint64_t *offsets = arena_calloc(&gguf->arena, (size_t)n + 1, sizeof(*offsets));
    if (!gguf->tensors || !offsets)
        return err_set(c->err, ERR_NOMEM, "no memory for the tensors");
    int rc = 0;
    c->where = "tensors";
    for (; gguf->n_tensors < n && rc == 0; gguf->n_tensors++)
        rc = read_tensor(gguf, c, &gguf->tensors[gguf->n_tensors], &offsets[gguf->n_tensors]);
    size_t at = gguf->map.len - c->left, step = (size_t)alignment, padding = (step - at % step) % step;
    if (rc == 0 && n > 0 && padding > c->left)
        rc = too_short(c, padding);
    for (size_t i = 0; i < gguf->n_tensors && rc == 0; i++)
        rc = place_tensor(gguf, &gguf->tensors[i], offsets[i], at + padding, step, c->err);
    return rc < 0 ? rc : check_overlaps(gguf, c->err);
}

static int read_all(struct gguf *gguf, struct err *err)
{
    struct cursor c = {gguf->map.data, gguf->map.len, "header", err};
    const unsigned char *magic = NULL;
    uint64_t version = 0, n_tensors = 0, n_entries = 0;
    int rc = take(&c, 4, &magic);
    if (rc == 0 && memcmp(magic, "GGUF", 4) != 0)
        rc = err_set(err, ERR_FORMAT, "header: no GGUF file");
    if (rc == 0)
        rc = take_integer(&c, 4, &version);
    if (rc == 0 && version != 2 && version != 3)
        rc = err_set(err, ERR_UNSUPPORTED, "header: version %llu, 2 or 3 was expected", (unsigned long long)version);
    if (rc == 0)
        rc = take_integer(&c, 8, &n_tensors);
    if (rc == 0)
        rc = take_integer(&c, 8, &n_entries);
    if (rc == 0)
        rc = read_metadata(gguf, &c, n_entries);
    return rc < 0 ? rc : read_tensors(gguf, &c, n_tensors);
}

int gguf_open(struct gguf **gguf, const char *path, struct err *err)
{
    struct gguf *opened = calloc(1, sizeof(*opened));
    int rc = opened ? file_map_open_file(&opened->map, &opened->file, path, err)
                    : err_set(err, ERR_NOMEM, "no memory to open '%s'", path);
    if (rc < 0) {
        free(opened);
        return rc;
    }
    rc = read_all(opened, err);
    if (rc < 0) {
        err_wrap(err, "'%s'", path);
        gguf_close(opened);
        return rc;
    }
    *gguf = opened;
    return 0;
}

void gguf_close(struct gguf *gguf)
{
    if (!gguf)
        return;
    file_map_close(&gguf->map);
    close(gguf->file);
    arena_done(&gguf->arena);
    free(gguf);
}

static int is_gguf(const struct dirent *entry)
{
    return entry->d_name[0] != '.' && text_ends_with(entry->d_name, ".gguf");
}

int gguf_find(char **path, const char *folder, struct err *err)
{
    struct dirent **entries = NULL;
    int n = scandir(folder, &entries, is_gguf, alphasort);
    char *found = n == 1 ? file_join(folder, entries[0]->d_name) : NULL;
    for (int i = 0; i < n; i++)
        free(entries[i]);
    free(entries);
    if (n > 1)
        return err_set(err, ERR_USAGE, "'%s' has %d GGUF files, one was expected", folder, n);
    if (n == 1 && !found)
        return err_set(err, ERR_NOMEM, "no memory");
    *path = found;
    return 0;
}
