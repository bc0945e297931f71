/* Greedy answers to many prompts at once. Sorted by length, prompts of the same length make a group whose sequences go
 * through the model side by side; the cache keeps what all prompts begin with from group to group. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "trainer/generate_internal.h"
#include "trainer/halves.h"

/* How many sequences go side by side, and what methods insert in front of one. */
enum { SIDE_BY_SIDE = 16, INSERTED = 1024 };

struct answering {
    struct generator g;
    struct question_prompt **order; /* by length */
    size_t n;
    int shared;      /* tokens that all prompts begin with; 0: read with each */
    int shared_rows; /* of the cache */
    struct question_prompt **group;
    int n_group;
    int32_t first[SIDE_BY_SIDE]; /* first tokens of the answers */
};

static int by_length(const void *a, const void *b)
{
    const struct question_prompt *x = *(struct question_prompt *const *)a, *y = *(struct question_prompt *const *)b;
    return x->n != y->n ? x->n - y->n : (x > y) - (x < y);
}

/* One token at least is left to each prompt. */
static int count_shared(struct question_prompt *const *prompts, size_t n)
{
    int shared = prompts[0]->n - 1;
    for (size_t i = 1; i < n; i++) {
        int same = 0, most = prompts[i]->n - 1 < shared ? prompts[i]->n - 1 : shared;
        while (same < most && prompts[i]->ids[same] == prompts[0]->ids[same])
            same++;
        shared = same;
    }
    return shared;
}

static int check_lengths(const struct answering *a, int *most, struct err *err)
{
    int limit = a->g.model->max_positions > 0 ? a->g.model->max_positions : GENERATE_MAX_TOKENS;
    *most = 0;
    for (size_t i = 0; i < a->n; i++) {
        const struct question_prompt *p = a->order[i];
        int behind = p->n_known > a->g.options->max_new_tokens ? p->n_known : a->g.options->max_new_tokens;
        if (p->n < 1)
            return err_set(err, ERR_USAGE, "a prompt has no tokens");
        if (p->n + behind > limit)
            return err_set(err, ERR_USAGE, "a prompt of %d tokens and an answer of %d: the model has %d positions",
                           p->n, behind, limit);
        *most = p->n + behind > *most ? p->n + behind : *most;
    }
    return 0;
}

static int open_answering(struct answering *a, struct question_prompt *prompts, size_t n, struct err *err)
{
    struct generator *g = &a->g;
    int most = 0;
    a->n = n;
    a->order = calloc(n + 1, sizeof(struct question_prompt *));
    if (!a->order)
        return err_set(err, ERR_NOMEM, "no memory for %zu prompts", n);
    for (size_t i = 0; i < n; i++)
        a->order[i] = &prompts[i];
    qsort(a->order, n, sizeof(struct question_prompt *), by_length);
    int rc = check_lengths(a, &most, err);
    if (rc < 0)
        return rc;
    g->capacity = most;
    g->tokens = calloc((size_t)SIDE_BY_SIDE * (size_t)most, sizeof(*g->tokens));
    g->scores = calloc((size_t)g->model->vocab_size + 1, sizeof(*g->scores));
    if (!g->tokens || !g->scores)
        return err_set(err, ERR_NOMEM, "no memory for %d sequences of %d tokens", SIDE_BY_SIDE, most);
    if (!g->options->uses_cache)
        return 0;
    a->shared = count_shared(a->order, n);
    return kv_cache_open(&g->cache, SIDE_BY_SIDE, most + INSERTED, err);
}

/* What all prompts begin with, once, for every sequence of the cache. */
static int read_shared(struct answering *a, struct err *err)
{
    const real *logits;
    struct generator *g = &a->g;
    if (a->shared == 0)
        return 0;
    memcpy(g->tokens, a->order[0]->ids, (size_t)a->shared * sizeof(*g->tokens));
    g->length = a->shared;
    int rc = generator_pass(g, 1, &logits, err);
    if (rc == 0)
        rc = kv_cache_spread(g->cache, err);
    a->shared_rows = rc == 0 ? kv_cache_rows(g->cache) : 0;
    return rc;
}

static int32_t likeliest(const float *scores, int n)
{
    int32_t best = 0;
    for (int32_t i = 1; i < n; i++)
        best = scores[i] > scores[best] ? i : best;
    return best;
}

/* The prompts of a group; the likeliest first tokens, and the log p of the known answers' first ones. */
static int read_prompts(struct answering *a, struct err *err)
{
    struct generator *g = &a->g;
    const real *logits = NULL;
    size_t vocabulary = (size_t)g->model->vocab_size;
    for (int s = 0; s < a->n_group; s++)
        memcpy(generator_sequence(g, s), a->group[s]->ids, (size_t)a->group[s]->n * sizeof(*g->tokens));
    g->length = a->group[0]->n;
    if (g->cache)
        kv_cache_rewind(g->cache, a->shared_rows);
    g->seen = a->shared;
    int rc = generator_pass(g, a->n_group, &logits, err);
    for (int s = 0; s < a->n_group && rc == 0; s++) {
        rc = generator_score(g, s, logits + (size_t)s * vocabulary, true, err);
        a->first[s] = likeliest(g->scores, g->model->vocab_size);
        if (rc == 0 && a->group[s]->n_known > 0)
            a->group[s]->known_log_p = (double)g->scores[a->group[s]->known[0]];
    }
    return rc;
}

/* Back to the prompts. */
static void go_back(struct answering *a, int rows)
{
    a->g.length = a->g.seen = a->group[0]->n;
    if (a->g.cache)
        kv_cache_rewind(a->g.cache, rows);
}

/* log p of the known answers' further tokens. Shorter ones go on with their last token, which nobody reads. */
static int score_known(struct answering *a, struct err *err)
{
    struct generator *g = &a->g;
    int most = 0, rc = 0;
    for (int s = 0; s < a->n_group; s++)
        most = a->group[s]->n_known > most ? a->group[s]->n_known : most;
    for (int k = 0; k + 1 < most && rc == 0; k++) {
        const real *logits = NULL;
        for (int s = 0; s < a->n_group; s++) {
            const struct question_prompt *p = a->group[s];
            generator_sequence(g, s)[g->length] =
                p->n_known > 0 ? p->known[k < p->n_known ? k : p->n_known - 1] : p->ids[p->n - 1];
        }
        g->length++;
        rc = generator_pass(g, a->n_group, &logits, err);
        for (int s = 0; s < a->n_group && rc == 0; s++)
            if (k + 1 < a->group[s]->n_known) {
                rc = generator_score(g, s, logits + (size_t)s * (size_t)g->model->vocab_size, true, err);
                a->group[s]->known_log_p += (double)g->scores[a->group[s]->known[k + 1]];
            }
    }
    return rc;
}

static bool has_ended(const struct answering *a, const struct question_prompt *p)
{
    return p->n_answer > 0 && generator_is_end(&a->g, p->answer[p->n_answer - 1]);
}

static int answer(struct answering *a, struct err *err)
{
    struct generator *g = &a->g;
    int rc = 0;
    for (int s = 0; s < a->n_group; s++) {
        a->group[s]->n_answer = 0;
        a->group[s]->answer[a->group[s]->n_answer++] = a->first[s];
    }
    for (int k = 1; k < g->options->max_new_tokens && rc == 0; k++) {
        const real *logits = NULL;
        bool goes_on = false;
        for (int s = 0; s < a->n_group; s++) {
            const struct question_prompt *p = a->group[s];
            generator_sequence(g, s)[g->length] = p->answer[p->n_answer - 1];
            goes_on = goes_on || !has_ended(a, p);
        }
        if (!goes_on)
            break;
        g->length++;
        rc = generator_pass(g, a->n_group, &logits, err);
        for (int s = 0; s < a->n_group && rc == 0; s++) {
            struct question_prompt *p = a->group[s];
            if (has_ended(a, p))
                continue;
            rc = generator_score(g, s, logits + (size_t)s * (size_t)g->model->vocab_size, false, err);
            p->answer[p->n_answer++] = likeliest(g->scores, g->model->vocab_size);
        }
    }
    return rc;
}

static int answer_group(struct answering *a, struct err *err)
{
    int rc = read_prompts(a, err), rows = a->g.cache ? kv_cache_rows(a->g.cache) : 0;
    if (rc == 0)
        rc = score_known(a, err);
    if (rc < 0)
        return rc;
    go_back(a, rows);
    return answer(a, err);
}

static int answer_all(struct answering *a, struct err *err)
{
    int rc = read_shared(a, err);
    for (size_t first = 0; first < a->n && rc == 0; first += (size_t)a->n_group) {
        a->group = a->order + first;
        a->n_group = 1;
        while (first + (size_t)a->n_group < a->n && a->n_group < SIDE_BY_SIDE &&
               a->group[a->n_group]->n == a->group[0]->n)
            a->n_group++;
        rc = answer_group(a, err);
    }
    return rc;
}

int generate_answers(struct model *model, const struct generation_ids *ids, const struct generation *options,
                     struct halves *halves, struct question_prompt *prompts, size_t n, struct err *err)
{
    struct answering a = {.g = {.model = model, .options = options, .ids = ids, .tape = {.halves = halves}}};
    int rc = generation_check(options, err);
    if (rc == 0 && (options->beams > 1 || options->samples || model->kind->is_seq2seq))
        rc = err_set(err, ERR_USAGE, "answers to many prompts are greedy ones of a causal model");
    if (rc == 0 && n > 0)
        rc = open_answering(&a, prompts, n, err);
    if (rc == 0 && n > 0)
        rc = answer_all(&a, err);
    kv_cache_close(a.g.cache);
    arena_done(&a.g.arena);
    free(a.g.tokens);
    free(a.g.scores);
    free(a.order);
    return rc;
}
