/* Which layers the frozen prefix has, and their results. */
#include "trainer/frozen_prefix.h"

#include <string.h>

#include "common/hash.h"
#include "trainer/op_internal.h"
#include "trainer/prefix_cache.h"

static int lower(int layers, int layer)
{
    return layer >= layers ? layers : layer > 0 ? layer : 0;
}

int frozen_prefix_layers(const struct model *model)
{
    int layers = model->n_layers;
    for (size_t i = 0; i < model->params.count; i++) {
        const struct param *param = model->params.items[i];
        if ((param->is_trained || param->is_state) && param->origin != PARAM_HEAD)
            layers = lower(layers, param->layer);
    }
    for (size_t i = 0; i < model->n_sites; i++) {
        const struct site *site = model->sites[i];
        if (site->hooks || site->position_shift)
            layers = lower(layers, site->layer);
    }
    return model->carries_padding ? 0 : layers;
}

/* Of the tokens and their types, of which a layer's result is a function. */
static void key_of(const struct batch *batch, const struct segment *segment, unsigned char key[PREFIX_KEY_BYTES])
{
    static const int32_t no_type = 0;
    struct hash hash;
    hash_begin(&hash);
    hash_add(&hash, &segment->rows, sizeof(segment->rows));
    hash_add(&hash, batch->ids + segment->first, (size_t)segment->rows * sizeof(*batch->ids));
    for (int i = 0; i < segment->rows; i++)
        hash_add(&hash, batch->type_ids ? &batch->type_ids[segment->first + i] : &no_type, sizeof(no_type));
    hash_end(&hash, key);
}

/* The sequence by itself, on a tape of its own. */
static bool compute(struct pass *pass, const struct segment *segment, real *out, size_t bytes)
{
    struct model *model = pass->model;
    struct arena_mark before = arena_mark(pass->tape->arena);
    const struct segment alone = {.rows = segment->rows, .keys = segment->keys};
    const struct batch batch = {
        .layout = {.n_segments = 1, .n_rows = segment->rows, .segments = &alone},
        .ids = pass->batch->ids + segment->first,
        .type_ids = pass->batch->type_ids ? pass->batch->type_ids + segment->first : NULL,
    };
    struct tape tape = {.arena = pass->tape->arena, .halves = pass->tape->halves, .trap_nan = pass->tape->trap_nan};
    struct pass own = {.tape = &tape, .model = model, .batch = &batch, .prefix_end = model->prefix->layers};
    struct value *x = model->kind->encode ? model->kind->encode(&own) : model->kind->decode(&own);
    bool is_well = tape_check(&tape, NULL) == 0 && x;
    if (is_well)
        memcpy(out, x->data, bytes);
    else {
        pass->tape->failed = true;
        pass->tape->failed_at = tape.failed_at ? tape.failed_at : "frozen_prefix";
        pass->tape->is_not_finite = tape.is_not_finite;
    }
    arena_rewind(pass->tape->arena, before);
    return is_well;
}

struct value *frozen_prefix_value(struct pass *pass)
{
    struct frozen_prefix *prefix = pass->model->prefix;
    const struct layout *layout = &pass->batch->layout;
    struct value *x = tape_value(pass->tape, "frozen_prefix", layout->n_rows, pass->model->hidden_size, layout);
    /* Some checks compute in fp32 in a trial of another type. */
    struct prefix_cache *cache = pass->tape->halves == prefix->halves ? prefix->cache : NULL;
    for (int s = 0; x && s < layout->n_segments; s++) {
        unsigned char key[PREFIX_KEY_BYTES];
        const struct segment *segment = &layout->segments[s];
        size_t bytes = (size_t)segment->rows * (size_t)x->cols * sizeof(real);
        assert(segment->position == 0 && segment->keys == segment->rows && !layout->origin);
        key_of(pass->batch, segment, key);
        bool is_read = prefix_cache_get(cache, key, value_row(x, segment->first), bytes);
        atomic_fetch_add(is_read ? &prefix->n_read : &prefix->n_computed, 1);
        if (is_read)
            continue;
        if (!compute(pass, segment, value_row(x, segment->first), bytes))
            return NULL;
        prefix_cache_add(cache, key, value_row(x, segment->first), bytes);
    }
    return x;
}
