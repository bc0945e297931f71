/* What greedy search, sampling and beam search share. */
#ifndef TRAINER_GENERATE_INTERNAL_H
#define TRAINER_GENERATE_INTERNAL_H

#include "trainer/generate.h"
#include "trainer/kv_cache.h"

struct generator {
    struct model *model;
    const struct generation *options;
    const struct generation_ids *ids;
    const int32_t *input; /* an encoder's; NULL: causal */
    int n_input;
    int32_t *tokens;    /* (beams, capacity): sequences so far */
    int capacity;       /* largest length */
    int length, start;  /* of all sequences; of what was given */
    int seen;           /* tokens of each sequence that the cache has */
    struct arena arena; /* of a pass */
    struct tape tape;
    struct kv_cache *cache;
    float *scores; /* (vocabulary): of one sequence at a time */
};

static inline int32_t *generator_sequence(const struct generator *g, int index)
{
    return g->tokens + (size_t)index * (size_t)g->capacity;
}

/* Logits (n, vocabulary) behind the last token of the first n sequences, valid until the next pass. */
int generator_pass(struct generator *g, int n, const real **logits, struct err *err) MUST_CHECK;
/* One sequence's scores, from its logits (log softmax when is_log): what must not or must come now is −∞ or alone. */
int generator_score(struct generator *g, int index, const real *logits, bool is_log, struct err *err) MUST_CHECK;
bool generator_is_end(const struct generator *g, int32_t id);
/* The best sequence of a beam search; its tokens behind `start` go to out. */
int generate_beams(struct generator *g, int32_t *out, int *n_out, struct err *err) MUST_CHECK;

#endif
