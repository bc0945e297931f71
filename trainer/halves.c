/* Copies of weights in bfloat16, found by the weight's address. */
#include "trainer/halves.h"

#include <pthread.h>
#include <stdlib.h>
#include <uthash.h>

#include "trainer/kernels.h"

struct half {
    const real *weight;
    uint16_t *data;
    uint64_t version; /* of the trained weights that it was made of */
    UT_hash_handle hh;
};

struct halves {
    struct arena *arena;
    pthread_mutex_t mutex;
    struct half *items;
    uint64_t version;
};

struct halves *halves_open(struct arena *arena)
{
    struct halves *halves = calloc(1, sizeof(*halves));
    if (!halves)
        return NULL;
    halves->arena = arena;
    pthread_mutex_init(&halves->mutex, NULL);
    return halves;
}

void halves_close(struct halves *halves)
{
    if (!halves)
        return;
    HASH_CLEAR(hh, halves->items);
    pthread_mutex_destroy(&halves->mutex);
    free(halves);
}

void halves_changed(struct halves *halves)
{
    halves->version++;
}

const uint16_t *halves_get(struct halves *halves, const struct value *weight)
{
    struct half *half = NULL;
    size_t n = (size_t)weight->rows * (size_t)weight->cols;
    pthread_mutex_lock(&halves->mutex);
    HASH_FIND_PTR(halves->items, &weight->data, half);
    bool is_new = !half;
    if (is_new && (half = arena_calloc(halves->arena, 1, sizeof(*half))) != NULL) {
        half->weight = weight->data;
        half->data = arena_alloc(halves->arena, n * sizeof(*half->data));
        HASH_ADD_PTR(halves->items, weight, half);
    }
    if (half && half->data && (is_new || (weight->needs_grad && half->version != halves->version))) {
        kernels()->to_bf16(half->data, weight->data, n);
        half->version = halves->version;
    }
    pthread_mutex_unlock(&halves->mutex);
    return half ? half->data : NULL;
}
