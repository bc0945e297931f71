/* Greedy search and sampling, and what beam search needs too. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/file.h"
#include "common/json.h"
#include "trainer/generate_internal.h"
#include "trainer/task.h"

struct generation generation_default(void)
{
    return (struct generation){
        .max_new_tokens = 128, .beams = 1, .temperature = 1, .top_p = 1, .length_penalty = 1, .uses_cache = true};
}

int generation_check(const struct generation *o, struct err *err)
{
    if (o->max_new_tokens < 1 || o->max_new_tokens > GENERATE_MAX_TOKENS)
        return err_set(err, ERR_USAGE, "max_new_tokens: %d, 1 to %d was expected", o->max_new_tokens,
                       GENERATE_MAX_TOKENS);
    if (o->beams < 1 || o->beams > GENERATE_MAX_BEAMS)
        return err_set(err, ERR_USAGE, "beams: %d, 1 to %d was expected", o->beams, GENERATE_MAX_BEAMS);
    if (o->beams > 1 && o->samples)
        return err_set(err, ERR_USAGE, "beams: %d beams and drawn tokens exclude each other", o->beams);
    if (!(o->temperature > 0 && o->temperature <= 100))
        return err_set(err, ERR_USAGE, "temperature: %g, above 0 to 100 was expected", o->temperature);
    if (!(o->top_p > 0 && o->top_p <= 1))
        return err_set(err, ERR_USAGE, "top_p: %g, above 0 to 1 was expected", o->top_p);
    if (o->top_k < 0)
        return err_set(err, ERR_USAGE, "top_k: %d, 0 (off) or more was expected", o->top_k);
    if (o->no_repeat_ngram < 0)
        return err_set(err, ERR_USAGE, "no_repeat_ngram: %d, 0 (off) or more was expected", o->no_repeat_ngram);
    if (!(fabs(o->length_penalty) <= 100))
        return err_set(err, ERR_USAGE, "length_penalty: %g, -100 to 100 was expected", o->length_penalty);
    return 0;
}

/* Ids -------------------------------------------------------------------------------------------------------------- */

static int read_ids(const struct model *model, const cJSON *json, const char *key, int32_t *out, int max, int *n,
                    struct err *err)
{
    const cJSON *item = json_get(json, key), *first = cJSON_IsArray(item) ? item->child : item;
    if (!first || cJSON_IsNull(first))
        return 0;
    *n = 0;
    for (; first; first = cJSON_IsArray(item) ? first->next : NULL) {
        if (!cJSON_IsNumber(first) || !(first->valuedouble >= 0 && first->valuedouble < model->vocab_size) || *n == max)
            return err_set(err, ERR_FORMAT, "'%s': at most %d ids of 0 to %d were expected", key, max,
                           model->vocab_size - 1);
        out[(*n)++] = (int32_t)first->valuedouble;
    }
    return 0;
}

static int read_from(struct generation_ids *ids, const struct model *model, const cJSON *json, struct err *err)
{
    int one = 0, rc = read_ids(model, json, "eos_token_id", ids->ends, GENERATE_MAX_ENDS, &ids->n_ends, err);
    if (rc == 0)
        rc = read_ids(model, json, "decoder_start_token_id", &ids->decoder_start, 1, &one, err);
    if (rc == 0)
        rc = read_ids(model, json, "forced_bos_token_id", &ids->forced_first, 1, &one, err);
    return rc < 0 ? rc : read_ids(model, json, "forced_eos_token_id", &ids->forced_last, 1, &one, err);
}

int generation_ids_read(struct generation_ids *ids, const struct model *model, struct err *err)
{
    cJSON *own = NULL;
    char *path = file_join(model->folder, "generation_config.json");
    int one = 0, rc = path ? 0 : err_set(err, ERR_NOMEM, "no memory");
    *ids = (struct generation_ids){.decoder_start = -1, .forced_first = -1, .forced_last = -1};
    if (rc == 0 && (rc = read_from(ids, model, model->config, err)) < 0)
        err_wrap(err, "config.json");
    if (rc == 0 && file_exists(path)) {
        rc = json_read_file(path, &own, err);
        if (rc == 0 && (rc = read_from(ids, model, own, err)) < 0)
            err_wrap(err, "'%s'", path);
    }
    if (rc == 0 && ids->decoder_start < 0)
        rc = read_ids(model, model->config, "pad_token_id", &ids->decoder_start, 1, &one, err);
    if (rc == 0 && model->kind->is_seq2seq && ids->decoder_start < 0)
        rc = err_set(err, ERR_UNSUPPORTED, "config.json has neither decoder_start_token_id nor pad_token_id");
    json_free(own);
    free(path);
    return rc;
}

bool generator_is_end(const struct generator *g, int32_t id)
{
    for (int i = 0; i < g->ids->n_ends; i++)
        if (g->ids->ends[i] == id)
            return true;
    return false;
}

/* A pass ----------------------------------------------------------------------------------------------------------- */

/* The rows that the model has not seen of each sequence, packed. */
static bool pack_tokens(struct generator *g, int n, int seen, struct layout *layout, const int32_t **out)
{
    int rows = g->length - seen;
    struct segment *segments = tape_alloc(&g->tape, "generate", (size_t)n * sizeof(*segments));
    int32_t *ids = tape_alloc(&g->tape, "generate", (size_t)n * (size_t)rows * sizeof(*ids));
    if (!segments || !ids)
        return false;
    int position = g->cache ? kv_cache_rows(g->cache) : 0; /* rows that a method put in front count */
    for (int s = 0; s < n; s++) {
        segments[s] = (struct segment){s * rows, rows, rows, position, (uint32_t)s};
        memcpy(ids + s * rows, generator_sequence(g, s) + seen, (size_t)rows * sizeof(*ids));
    }
    *layout = (struct layout){.n_segments = n, .n_rows = n * rows, .segments = segments};
    *out = ids;
    return true;
}

/* An encoder's input, once for a sequence with a cache, else once for each. */
static bool pack_input(struct generator *g, int n, struct batch *batch)
{
    struct segment *segments = tape_alloc(&g->tape, "generate", (size_t)n * sizeof(*segments));
    int32_t *ids = tape_alloc(&g->tape, "generate", (size_t)n * (size_t)g->n_input * sizeof(*ids));
    if (!segments || !ids)
        return false;
    for (int s = 0; s < n; s++) {
        segments[s] = (struct segment){s * g->n_input, g->n_input, g->n_input, 0, (uint32_t)s};
        memcpy(ids + (size_t)s * (size_t)g->n_input, g->input, (size_t)g->n_input * sizeof(*ids));
    }
    batch->layout = (struct layout){.n_segments = n, .n_rows = n * g->n_input, .segments = segments};
    batch->ids = ids;
    return true;
}

int generator_pass(struct generator *g, int n, const real **logits, struct err *err)
{
    struct batch batch = {0};
    struct pass pass = {.tape = &g->tape, .model = g->model, .batch = &batch, .cache = g->cache};
    bool is_first = g->cache && kv_cache_rows(g->cache) == 0;
    int seen = g->cache ? g->seen : 0;
    tape_begin(&g->tape, &g->arena);
    g->tape.is_training = g->tape.is_recording = false;
    bool is_packed = g->input ? pack_tokens(g, n, seen, &batch.decoder_layout, &batch.decoder_ids) &&
                                    pack_input(g, is_first ? 1 : n, &batch)
                              : pack_tokens(g, n, seen, &batch.layout, &batch.ids);
    struct value *hidden = is_packed ? g->model->kind->decode(&pass) : NULL;
    struct value *out = hidden ? task_last_logits(&pass, hidden) : NULL;
    int rc = tape_check(&g->tape, err);
    if (rc == 0 && !out)
        rc = err_set(err, ERR_NOMEM, "no memory for a pass");
    if (rc == 0 && g->cache)
        rc = kv_cache_end_pass(g->cache, err);
    g->seen = g->length;
    if (rc == 0)
        *logits = out->data;
    return rc;
}

/* Scores ----------------------------------------------------------------------------------------------------------- */

/* Tokens that would make the last n tokens ones that were there before. */
static void ban_repeats(struct generator *g, const int32_t *tokens)
{
    int n = g->options->no_repeat_ngram, length = g->length;
    if (n == 0 || length + 1 < n)
        return;
    const int32_t *last = tokens + length - (n - 1);
    for (int at = 0; at + n - 1 < length; at++)
        if (n == 1 || memcmp(tokens + at, last, (size_t)(n - 1) * sizeof(*last)) == 0)
            g->scores[tokens[at + n - 1]] = -INFINITY;
}

static void force(struct generator *g, int32_t id)
{
    for (int i = 0; i < g->model->vocab_size; i++)
        g->scores[i] = i == id ? 0 : -INFINITY;
}

int generator_score(struct generator *g, int index, const real *logits, bool is_log, struct err *err)
{
    int n = g->model->vocab_size;
    float largest = -INFINITY;
    double sum = 0;
    for (int i = 0; i < n; i++) {
        g->scores[i] = (float)logits[i];
        if (isnan(g->scores[i]))
            return err_set(err, ERR_NUMERIC, "the logit of token %d at position %d is not a number", i, g->length);
        largest = g->scores[i] > largest ? g->scores[i] : largest;
    }
    for (int i = 0; is_log && i < n; i++)
        sum += exp((double)g->scores[i] - (double)largest);
    float shift = is_log ? largest + (float)log(sum) : 0;
    for (int i = 0; is_log && i < n; i++)
        g->scores[i] -= shift;
    ban_repeats(g, generator_sequence(g, index));
    if (g->input && g->ids->forced_first >= 0 && g->length == 1)
        force(g, g->ids->forced_first);
    if (g->input && g->ids->forced_last >= 0 && g->length == g->capacity - 1)
        force(g, g->ids->forced_last);
    return 0;
}

/* Choosing --------------------------------------------------------------------------------------------------------- */

static int32_t likeliest(const struct generator *g)
{
    int32_t best = 0;
    for (int32_t i = 1; i < g->model->vocab_size; i++)
        if (g->scores[i] > g->scores[best])
            best = i;
    return best;
}

struct candidate {
    float score;
    int32_t id;
};

static int compare_candidates(const void *a, const void *b)
{
    const struct candidate *x = a, *y = b;
    return x->score != y->score ? (x->score < y->score ? 1 : -1) : x->id - y->id;
}

/* One token by chance, from the likeliest ones. */
static int draw(const struct generator *g, int32_t *out, struct err *err)
{
    const struct generation *o = g->options;
    size_t n = (size_t)g->model->vocab_size, kept = n;
    struct candidate *candidates = malloc(n * sizeof(*candidates));
    if (!candidates)
        return err_set(err, ERR_NOMEM, "no memory to draw a token");
    for (size_t i = 0; i < n; i++)
        candidates[i] = (struct candidate){g->scores[i] / (float)o->temperature, (int32_t)i};
    qsort(candidates, n, sizeof(*candidates), compare_candidates);
    if (o->top_k > 0 && (size_t)o->top_k < n)
        kept = (size_t)o->top_k;
    double total = 0, sum = 0;
    for (size_t i = 0; i < kept; i++)
        total += exp((double)candidates[i].score - (double)candidates[0].score);
    size_t nucleus = 0;
    while (nucleus < kept && (nucleus == 0 || sum < o->top_p * total))
        sum += exp((double)candidates[nucleus++].score - (double)candidates[0].score);
    struct rng_stream stream = rng_stream(rng_make(o->seed, RNG_GENERATE), (uint32_t)g->length, o->example, 0);
    double left = rng_uniform(&stream) * sum;
    size_t chosen = 0;
    for (; chosen + 1 < nucleus; chosen++) {
        left -= exp((double)candidates[chosen].score - (double)candidates[0].score);
        if (left < 0)
            break;
    }
    *out = candidates[chosen].id;
    free(candidates);
    return 0;
}

static int generate_one(struct generator *g, int32_t *out, int *n_out, struct err *err)
{
    int n = 0, rc = 0;
    while (g->length < g->capacity && rc == 0) {
        const real *logits = NULL;
        int32_t id = 0;
        rc = generator_pass(g, 1, &logits, err);
        if (rc == 0)
            rc = generator_score(g, 0, logits, false, err);
        if (rc == 0 && g->options->samples)
            rc = draw(g, &id, err);
        else if (rc == 0)
            id = likeliest(g);
        if (rc < 0)
            break;
        g->tokens[g->length++] = out[n++] = id;
        if (generator_is_end(g, id))
            break;
    }
    *n_out = n;
    return rc;
}

static int start(struct generator *g, const int32_t *prompt, int n_prompt, struct err *err)
{
    bool is_seq2seq = g->model->kind->is_seq2seq;
    int limit = g->model->max_positions > 0 ? g->model->max_positions : GENERATE_MAX_TOKENS;
    if (n_prompt < 1)
        return err_set(err, ERR_USAGE, "the prompt has no tokens");
    g->start = g->length = is_seq2seq ? 1 : n_prompt;
    if (g->start >= limit || n_prompt > limit)
        return err_set(err, ERR_USAGE, "the prompt has %d tokens, the model has %d positions", n_prompt, limit);
    int room = limit - g->start;
    g->capacity = g->start + (g->options->max_new_tokens < room ? g->options->max_new_tokens : room);
    g->tokens = calloc((size_t)g->options->beams * (size_t)g->capacity, sizeof(*g->tokens));
    g->scores = calloc((size_t)g->model->vocab_size + 1, sizeof(*g->scores));
    if (!g->tokens || !g->scores)
        return err_set(err, ERR_NOMEM, "no memory for %d sequences of %d tokens", g->options->beams, g->capacity);
    if (is_seq2seq) {
        g->input = prompt;
        g->n_input = n_prompt;
    }
    for (int i = 0; i < g->options->beams; i++)
        if (is_seq2seq)
            *generator_sequence(g, i) = g->ids->decoder_start;
        else
            memcpy(generator_sequence(g, i), prompt, (size_t)n_prompt * sizeof(*prompt));
    /* What methods insert in front of a sequence takes place too. */
    enum { INSERTED = 1024 };
    return g->options->uses_cache ? kv_cache_open(&g->cache, g->options->beams, g->capacity + INSERTED, err) : 0;
}

int generate(struct model *model, const struct generation_ids *ids, const struct generation *options,
             const int32_t *prompt, int n_prompt, int32_t *out, int *n_out, struct err *err)
{
    struct generator g = {.model = model, .options = options, .ids = ids};
    *n_out = 0;
    int rc = generation_check(options, err);
    if (rc == 0)
        rc = start(&g, prompt, n_prompt, err);
    if (rc == 0)
        rc = options->beams > 1 ? generate_beams(&g, out, n_out, err) : generate_one(&g, out, n_out, err);
    kv_cache_close(g.cache);
    arena_done(&g.arena);
    free(g.tokens);
    free(g.scores);
    return rc;
}
