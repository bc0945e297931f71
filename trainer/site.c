/* Sites: hooks in attach order, and what models call. */
#include "trainer/site.h"

#include <string.h>

#include "common/json.h"
#include "trainer/kv_cache.h"
#include "trainer/model.h"

int site_hook(struct site *site, struct arena *trial, const struct hook *hook, struct err *err)
{
    if (site->is_replaced && (site->kind == SITE_LINEAR || hook->feed_forward))
        return err_set(err, ERR_UNSUPPORTED, "'%s' is adapted by one method, but another takes its place", site->name);
    struct hook *copy = arena_alloc(trial, sizeof(*copy));
    if (!copy)
        return err_set(err, ERR_NOMEM, "no memory for a hook at '%s'", site->name);
    *copy = *hook;
    copy->next = NULL;
    *site->hooks_end = copy;
    site->hooks_end = &copy->next;
    site->is_replaced = site->is_replaced || hook->feed_forward;
    return 0;
}

int site_replace_linear(struct site *site, struct err *err)
{
    if (site->hooks || site->is_replaced)
        return err_set(err, ERR_UNSUPPORTED, "'%s' is adapted by one method, but another takes its place", site->name);
    site->is_replaced = true;
    param_replace(site->weight);
    if (site->bias)
        param_replace(site->bias);
    return 0;
}

struct value *site_linear(struct pass *pass, struct site *site, struct value *x)
{
    struct value *w = &site->weight->value, *b = site->bias ? &site->bias->value : NULL, *input = x;
    for (struct hook *hook = site->hooks; hook; hook = hook->next) {
        if (hook->weight)
            w = hook->weight(hook->state, pass, w);
        if (hook->input)
            input = hook->input(hook->state, pass, input);
    }
    struct value *y =
        site->is_transposed ? op_linear_transposed(pass->tape, input, w, b) : op_linear(pass->tape, input, w, b);
    for (struct hook *hook = site->hooks; hook; hook = hook->next)
        if (hook->output)
            y = hook->output(hook->state, pass, x, y);
    return y;
}

struct value *site_sublayer(struct pass *pass, struct site *site, struct value *h, struct value *z)
{
    for (struct hook *hook = site->hooks; hook; hook = hook->next)
        if (hook->sublayer) {
            if (h)
                h->is_spare = false; /* a method may keep it */
            h = hook->sublayer(hook->state, pass, h, z);
        }
    if (!site->norm_weight)
        return op_add(pass->tape, h, z);
    return op_add_layer_norm(pass->tape, h, z, &site->norm_weight->value, &site->norm_bias->value, site->norm_epsilon);
}

struct value *site_feed_forward(struct pass *pass, struct site *site, struct value *x, struct value *z)
{
    const struct hook *hook = site->hooks;
    while (!hook->feed_forward)
        hook = hook->next;
    return hook->feed_forward(hook->state, pass, x, z);
}

void site_attention(struct pass *pass, struct site *site, struct value *x, struct attention *attention)
{
    for (struct hook *hook = site->hooks; hook; hook = hook->next)
        if (hook->attention)
            hook->attention(hook->state, pass, x, attention);
}

/* The same rows at other positions. */
static const struct layout *shifted(struct tape *tape, const struct layout *layout, int shift)
{
    struct layout *out = tape_alloc(tape, "embedding", sizeof(*out));
    struct segment *segments = tape_alloc(tape, "embedding", (size_t)layout->n_segments * sizeof(*segments));
    if (!out || !segments)
        return NULL;
    for (int s = 0; s < layout->n_segments; s++) {
        segments[s] = layout->segments[s];
        segments[s].position += shift;
    }
    *out = *layout;
    out->segments = segments;
    return out;
}

/* Every sequence as long as the longest: the rows behind a sequence's own hold the padding token and are seen by none.
 */
static const struct layout *padded(struct pass *pass, const struct layout *layout, const int32_t **ids)
{
    struct tape *tape = pass->tape;
    const cJSON *pad = json_get(pass->model->config, "pad_token_id");
    int longest = 0, n = layout->n_segments;
    for (int s = 0; s < n; s++)
        longest = layout->segments[s].rows > longest ? layout->segments[s].rows : longest;
    struct layout *out = tape_alloc(tape, "embedding", sizeof(*out));
    struct segment *segments = tape_alloc(tape, "embedding", (size_t)n * sizeof(*segments));
    int32_t *origin = tape_alloc(tape, "embedding", 2 * (size_t)n * (size_t)longest * sizeof(*origin));
    if (!out || !segments || !origin)
        return NULL;
    int32_t *own = origin + (size_t)n * (size_t)longest;
    for (int s = 0; s < n; s++) {
        const struct segment *from = &layout->segments[s];
        segments[s] = *from;
        segments[s].first = s * longest;
        segments[s].rows = longest;
        for (int i = 0; i < longest; i++) {
            bool is_own = i < from->rows;
            origin[s * longest + i] = is_own ? from->first + i : -1;
            own[s * longest + i] = is_own                ? (*ids)[from->first + i]
                                   : cJSON_IsNumber(pad) ? (int32_t)pad->valuedouble
                                                         : 0;
        }
    }
    *out = (struct layout){.n_segments = n, .n_rows = n * longest, .segments = segments, .origin = origin};
    *ids = own;
    return out;
}

struct value *site_embedding(struct pass *pass, struct site *site, const int32_t *ids, const struct layout *layout)
{
    struct tape *tape = pass->tape;
    if (pass->model->carries_padding && !(layout = padded(pass, layout, &ids)))
        return NULL;
    if (site->position_shift && !(layout = shifted(tape, layout, site->position_shift)))
        return NULL;
    struct value *x = op_embedding(tape, &site->weight->value, ids, layout->n_rows, layout);
    for (struct hook *hook = site->hooks; hook; hook = hook->next)
        if (hook->embed)
            x = hook->embed(hook->state, pass, ids, x);
    if (site->scale != 0)
        x = op_scale(tape, x, site->scale);
    for (struct hook *hook = site->hooks; hook; hook = hook->next) {
        bool behind_first = false;
        if (hook->insert && !(pass->cache && kv_cache_rows(pass->cache) > 0)) { /* only once in front of a sequence */
            struct value *rows = hook->insert(hook->state, pass, &behind_first);
            x = op_insert_rows(tape, x, rows, behind_first);
        }
    }
    return x;
}

struct value *site_replace(struct pass *pass, struct site *site, struct value *x)
{
    for (struct hook *hook = site->hooks; hook; hook = hook->next)
        if (hook->replace)
            x = hook->replace(hook->state, pass, x);
    return x;
}

bool site_matches(const struct site *site, const char *target)
{
    size_t n = strlen(site->name), m = strlen(target);
    if (n < m || strcmp(site->name + n - m, target) != 0)
        return false;
    return n == m || site->name[n - m - 1] == '.';
}
