/* The list of parameters, and what is done with all of them. */
#include "trainer/param.h"

#include <stdlib.h>
#include <string.h>

#include "common/hash.h"
#include "trainer/kernels.h"
#include "trainer/packed.h"
#include "trainer/safetensors.h"

/* Rows from which a trained matrix is taken for a vocabulary's table: marks pay when a batch asks for a few of them. */
enum { PARAM_TABLE_ROWS = 4096 };

size_t param_size(const struct param *param)
{
    size_t n = 1;
    for (int i = 0; i < param->n_dims; i++)
        n *= (size_t)param->shape[i];
    return n;
}

struct param *params_find(const struct params *params, const char *name)
{
    for (size_t i = 0; i < params->count; i++)
        if (strcmp(params->items[i]->name, name) == 0)
            return params->items[i];
    return NULL;
}

static bool ends_with(const char *s, const char *end)
{
    size_t n = strlen(s), m = strlen(end);
    return n >= m && strcmp(s + n - m, end) == 0;
}

static int append(struct params *params, struct param *param)
{
    if (params->count == params->capacity) {
        size_t capacity = params->capacity ? 2 * params->capacity : 256;
        struct param **items = arena_alloc(params->arena, capacity * sizeof(struct param *));
        if (!items)
            return -1;
        if (params->count)
            memcpy(items, params->items, params->count * sizeof(struct param *));
        params->items = items;
        params->capacity = capacity;
    }
    params->items[params->count++] = param;
    return 0;
}

/* The order within params: base, methods, head. A method's parameter goes in front of the head's. */
static void move_before_head(struct params *params)
{
    size_t at = params->count - 1;
    struct param *param = params->items[at];
    while (param->origin != PARAM_HEAD && at > 0 && params->items[at - 1]->origin > param->origin) {
        params->items[at] = params->items[at - 1];
        at--;
    }
    params->items[at] = param;
}

/* Without data. */
static struct param *make(struct params *params, const char *name, int n_dims, const int64_t *shape,
                          enum param_origin origin)
{
    if (params_find(params, name))
        return NULL;
    struct param *param = arena_calloc(params->arena, 1, sizeof(*param));
    if (!param || !(param->name = arena_strdup(params->arena, name)))
        return NULL;
    param->n_dims = n_dims;
    memcpy(param->shape, shape, (size_t)n_dims * sizeof(*shape));
    param->origin = origin;
    param->learning_rate_factor = 1;
    param->is_bias_or_norm = ends_with(name, ".bias") || strstr(name, "LayerNorm") || strstr(name, "layer_norm");
    size_t n = param_size(param), rows = n_dims > 1 ? (size_t)shape[0] : 1;
    param->value = (struct value){.rows = (int)rows, .cols = (int)(rows ? n / rows : 0), .is_parameter = true};
    return param;
}

static struct param *add(struct params *params, struct param *param)
{
    if (append(params, param) < 0)
        return NULL;
    move_before_head(params);
    return param;
}

struct param *params_add(struct params *params, const char *name, int n_dims, const int64_t *shape,
                         const real *mapped_data, enum param_origin origin)
{
    struct param *param = make(params, name, n_dims, shape, origin);
    if (!param)
        return NULL;
    size_t n = param_size(param);
    param->is_mapped = mapped_data != NULL;
    if (mapped_data)
        param->value.data = (real *)(uintptr_t)mapped_data; /* read only: param_train copies before anything writes */
    else
        param->value.data = arena_calloc(params->arena, n ? n : 1, sizeof(real));
    return param->value.data ? add(params, param) : NULL;
}

struct param *params_add_packed(struct params *params, const char *name, const struct tensor *packed,
                                enum param_origin origin)
{
    struct param *param = make(params, name, packed->n_dims, packed->shape, origin);
    if (!param)
        return NULL;
    param->value.packed = packed;
    return add(params, param);
}

int param_expand(struct params *params, struct param *param, struct err *err)
{
    if (param->value.data)
        return 0;
    size_t n = param_size(param);
    real *data = arena_alloc(params->arena, n * sizeof(real));
    if (!data)
        return err_set(err, ERR_NOMEM, "no memory to expand '%s' (%zu bytes)", param->name, n * sizeof(real));
    weight_rows(&param->value, 0, param->value.rows, data);
    param->value.data = data;
    return 0;
}

void param_replace(struct param *param)
{
    param->is_replaced = true;
    param->is_trained = param->value.needs_grad = false;
    param->method = NULL;
}

int param_train(struct params *params, struct param *param, const char *method, struct err *err)
{
    size_t n = param_size(param);
    if (param->is_replaced)
        return 0;
    param->method = method ? method : param->method;
    if (param->is_trained)
        return 0;
    int rc = param_expand(params, param, err);
    if (rc < 0)
        return rc;
    if (param->is_mapped && !params->original) {
        real *copy = arena_alloc(params->arena, n * sizeof(real));
        if (!copy)
            return err_set(err, ERR_NOMEM, "no memory to train '%s' (%zu bytes)", param->name, n * sizeof(real));
        memcpy(copy, param->value.data, n * sizeof(real));
        param->value.data = copy;
        param->is_mapped = false;
    }
    param->value.grad = arena_calloc(params->arena, n, sizeof(real));
    if (!param->value.grad)
        return err_set(err, ERR_NOMEM, "no memory for the gradient of '%s' (%zu bytes)", param->name, n * sizeof(real));
    if (param->n_dims == 2 && param->value.rows >= PARAM_TABLE_ROWS) {
        param->value.row_marks = arena_calloc(params->arena, (size_t)param->value.rows, 1);
        if (!param->value.row_marks)
            return err_set(err, ERR_NOMEM, "no memory to train '%s'", param->name);
    }
    param->value.needs_grad = true;
    param->is_trained = true;
    return 0;
}

size_t params_count_trained(const struct params *params)
{
    size_t total = 0;
    for (size_t i = 0; i < params->count; i++)
        total += params->items[i]->is_trained ? param_size(params->items[i]) : 0;
    return total;
}

void params_hash_frozen(const struct params *params, char hex[65])
{
    unsigned char digest[HASH_DIGEST_BYTES];
    struct hash hash;
    hash_begin(&hash);
    for (size_t i = 0; i < params->count; i++) {
        const struct param *param = params->items[i];
        if (param->is_trained || param->is_state)
            continue;
        hash_add(&hash, param->name, strlen(param->name) + 1);
        if (param->value.data)
            hash_add(&hash, param->value.data, param_size(param) * sizeof(real));
        else
            hash_add(&hash, param->value.packed->data, param->value.packed->bytes);
    }
    hash_end(&hash, digest);
    hash_hex(digest, hex);
}

static size_t n_blocks(const struct param *param)
{
    return param->is_trained ? (param_size(param) + PARAM_BLOCK - 1) / PARAM_BLOCK : 0;
}

size_t params_count_blocks(const struct params *params)
{
    size_t total = 0;
    for (size_t i = 0; i < params->count; i++)
        total += n_blocks(params->items[i]);
    return total;
}

void params_each_block(const struct params *params, struct work_share share,
                       void (*fn)(void *context, const struct param_block *block), void *context)
{
    size_t before = 0, count = (size_t)share.count; /* blocks of the parameters in front */
    for (size_t i = 0; i < params->count; before += n_blocks(params->items[i]), i++) {
        size_t size = param_size(params->items[i]), first = (count - before % count + (size_t)share.index) % count;
        for (size_t b = first; b < n_blocks(params->items[i]); b += count) {
            size_t at = b * PARAM_BLOCK, left = size - at;
            struct param_block block = {.number = before + b,
                                        .param = params->items[i],
                                        .index = i,
                                        .at = at,
                                        .n = left < PARAM_BLOCK ? left : PARAM_BLOCK};
            fn(context, &block);
        }
    }
}

bool param_block_is_touched(const struct value *value, const struct param_block *block)
{
    size_t cols = (size_t)value->cols, row = block->at / cols, last = (block->at + block->n - 1) / cols;
    bool is_touched = !value->row_marks;
    for (; row <= last && !is_touched; row++)
        is_touched = value->row_marks[row] & ROW_TOUCHED;
    return is_touched;
}

static void zero_block(void *context, const struct param_block *block)
{
    (void)context;
    if (param_block_is_touched(&block->param->value, block))
        memset(block->param->value.grad + block->at, 0, block->n * sizeof(real));
}

static void zero_share(void *work, struct work_share share)
{
    params_each_block(work, share, zero_block, NULL);
}

void params_zero_grad(struct params *params, const struct crew *crew)
{
    crew_run(crew, zero_share, params);
    for (size_t i = 0; i < params->count; i++) {
        struct value *value = &params->items[i]->value;
        for (int row = 0; value->row_marks && row < value->rows; row++)
            value->row_marks[row] &= (uint8_t)~ROW_TOUCHED;
    }
}
