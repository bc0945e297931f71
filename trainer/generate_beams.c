/* Beam search, step by step as the transformers library does it (version 5), so that both find the same sequence.
 *
 * Of all continuations the best `beams` · max(2, 1 + ends) are looked at. Those among the first `beams` that have ended
 * compete, with their length penalty, for a place in the list of finished ones; the best `beams` that have not ended go
 * on. It is over when the best running one cannot become better than the worst finished one (by its score at the
 * present length), when stops_early is set and the list is full, or at the largest length. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "trainer/generate_internal.h"

#define NEVER (-1.0e9f) /* the score of what must not be taken */

enum { MAX_CANDIDATES = GENERATE_MAX_BEAMS * (GENERATE_MAX_ENDS + 1) };

struct continuation {
    float score; /* Σ log p */
    int beam;
    int32_t id;
    bool is_end;
};

struct finished {
    float score; /* with its length penalty */
    bool has_ended;
    int length;
    int32_t *tokens;
};

struct search {
    struct generator *g;
    int beams, n_candidates;
    float scores[GENERATE_MAX_BEAMS]; /* of the running ones */
    struct continuation candidates[MAX_CANDIDATES];
    struct finished finished[GENERATE_MAX_BEAMS];
    bool can_improve;
};

/* Into the sorted list of candidates, the earlier of equals first; a full list loses its last. */
static void offer(struct search *search, int *n, struct continuation one)
{
    int i = *n < search->n_candidates ? (*n)++ : search->n_candidates - 1;
    for (; i > 0 && search->candidates[i - 1].score < one.score; i--)
        search->candidates[i] = search->candidates[i - 1];
    search->candidates[i] = one;
}

static int find_candidates(struct search *search, int n_sequences, const real *logits, int *n, struct err *err)
{
    struct generator *g = search->g;
    int vocabulary = g->model->vocab_size, rc = 0;
    *n = 0;
    for (int b = 0; b < search->beams && rc == 0; b++) {
        /* At first all beams are the same sequence, which was read once. */
        rc = generator_score(g, b, logits + (size_t)(b < n_sequences ? b : 0) * (size_t)vocabulary, true, err);
        for (int32_t id = 0; rc == 0 && id < vocabulary; id++) {
            float score = g->scores[id] + search->scores[b];
            if (*n == search->n_candidates && score <= search->candidates[*n - 1].score)
                continue;
            bool is_end = generator_is_end(g, id) || g->length + 1 >= g->capacity;
            offer(search, n, (struct continuation){score, b, id, is_end});
        }
    }
    return rc;
}

/* A finished sequence takes the place of the worst one when it is better; the list stays sorted. */
static void add_finished(struct search *search, const struct continuation *one, float score)
{
    const struct generator *g = search->g;
    int last = search->beams - 1;
    if (score <= search->finished[last].score)
        return;
    struct finished place = search->finished[last];
    memcpy(place.tokens, generator_sequence(g, one->beam), (size_t)g->length * sizeof(*place.tokens));
    place.tokens[g->length] = one->id;
    place.length = g->length + 1;
    place.score = score;
    place.has_ended = true;
    int i = last;
    for (; i > 0 && search->finished[i - 1].score < score; i--)
        search->finished[i] = search->finished[i - 1];
    search->finished[i] = place;
}

static bool is_full(const struct search *search)
{
    for (int i = 0; i < search->beams; i++)
        if (!search->finished[i].has_ended)
            return false;
    return true;
}

static void take_finished(struct search *search, int n)
{
    const struct generator *g = search->g;
    float divisor = (float)pow(g->length + 1 - g->start, g->options->length_penalty);
    if (!search->can_improve || (g->options->stops_early && is_full(search)))
        return;
    for (int i = 0; i < n && i < search->beams; i++)
        if (search->candidates[i].is_end)
            add_finished(search, &search->candidates[i], search->candidates[i].score / divisor);
}

/* The best ones that have not ended become the running ones. False when all have ended. */
static int go_on(struct search *search, int n, bool *goes_on, struct err *err)
{
    struct generator *g = search->g;
    int from[GENERATE_MAX_BEAMS], taken = 0;
    size_t bytes = (size_t)search->beams * (size_t)g->capacity * sizeof(*g->tokens);
    int32_t *next = malloc(bytes);
    if (!next)
        return err_set(err, ERR_NOMEM, "no memory for %d sequences", search->beams);
    *goes_on = false;
    for (int round = 0; round < 2; round++) /* ended ones fill up, so far down that nothing comes of them */
        for (int i = 0; i < n && taken < search->beams; i++) {
            const struct continuation *one = &search->candidates[i];
            if (one->is_end != (round == 1))
                continue;
            int32_t *tokens = next + (size_t)taken * (size_t)g->capacity;
            memcpy(tokens, generator_sequence(g, one->beam), (size_t)g->length * sizeof(*tokens));
            tokens[g->length] = one->id;
            search->scores[taken] = one->score + (one->is_end ? NEVER : 0);
            from[taken++] = one->beam;
            *goes_on = *goes_on || !one->is_end;
        }
    while (taken > 0 && taken < search->beams) { /* fewer continuations than beams: a tiny vocabulary */
        memcpy(next + (size_t)taken * (size_t)g->capacity, next, (size_t)(g->length + 1) * sizeof(*next));
        search->scores[taken] = NEVER;
        from[taken] = from[0];
        taken++;
    }
    memcpy(g->tokens, next, bytes);
    free(next);
    return g->cache ? kv_cache_reorder(g->cache, from, err) : 0;
}

static void look_ahead(struct search *search)
{
    const struct generator *g = search->g;
    float best = search->scores[0] / (float)pow(g->length - g->start, g->options->length_penalty);
    bool can_improve = false;
    for (int i = 0; i < search->beams; i++) {
        float worst = search->finished[i].has_ended ? search->finished[search->beams - 1].score : NEVER;
        can_improve = can_improve || best > worst;
    }
    search->can_improve = search->can_improve && can_improve;
}

static int run(struct search *search, struct err *err)
{
    struct generator *g = search->g;
    bool goes_on = true;
    int rc = 0, n_sequences = 1;
    while (goes_on && rc == 0) {
        const real *logits = NULL;
        int n = 0;
        rc = generator_pass(g, n_sequences, &logits, err);
        if (rc == 0)
            rc = find_candidates(search, n_sequences, logits, &n, err);
        if (rc == 0 && n_sequences == 1 && g->cache)
            rc = kv_cache_spread(g->cache, err);
        if (rc < 0)
            return rc;
        n_sequences = search->beams;
        take_finished(search, n);
        rc = go_on(search, n, &goes_on, err);
        g->length++;
        look_ahead(search);
        goes_on =
            goes_on && g->length < g->capacity && search->can_improve && !(g->options->stops_early && is_full(search));
    }
    return rc;
}

int generate_beams(struct generator *g, int32_t *out, int *n_out, struct err *err)
{
    struct search *search = calloc(1, sizeof(*search));
    int beams = g->options->beams, ends = g->ids->n_ends;
    int32_t *tokens = calloc((size_t)beams * (size_t)g->capacity, sizeof(*tokens));
    int rc = search && tokens ? 0 : err_set(err, ERR_NOMEM, "no memory for %d beams", beams);
    if (rc == 0) {
        search->g = g;
        search->beams = beams;
        search->n_candidates = (ends + 1 > 2 ? ends + 1 : 2) * beams;
        search->can_improve = true;
        for (int i = 0; i < beams; i++) {
            search->scores[i] = i == 0 ? 0 : NEVER;
            search->finished[i] = (struct finished){.score = NEVER, .tokens = tokens + (size_t)i * (size_t)g->capacity};
        }
        rc = run(search, err);
    }
    if (rc == 0) { /* the longest sequences have ended by their length, so there is one */
        const struct finished *best = &search->finished[0];
        *n_out = best->has_ended ? best->length - g->start : 0;
        if (*n_out > 0)
            memcpy(out, best->tokens + g->start, (size_t)*n_out * sizeof(*out));
    }
    free(tokens);
    free(search);
    return rc;
}
