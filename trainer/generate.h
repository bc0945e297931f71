/* Generating: the tokens that a language model goes on with, as the transformers library finds them.
 *
 * greedy: the likeliest token each time. sampling: softmax(logits / temperature) of the top_k likeliest, of those the
 * fewest with a sum of at least top_p (Holtzman et al. 2020, arXiv:1904.09751). beams: the sequences with the largest
 * Σ log p / length^length_penalty (Wu et al. 2016, arXiv:1609.08144, 7). no_repeat_ngram n: a token that would repeat n
 * tokens of its sequence is never taken. Draws are a pure function of seed, prompt's number and
 * position. */
#ifndef TRAINER_GENERATE_H
#define TRAINER_GENERATE_H

#include "trainer/model.h"

enum { GENERATE_MAX_ENDS = 16, GENERATE_MAX_BEAMS = 64, GENERATE_MAX_TOKENS = 1 << 20 };

struct generation {
    int max_new_tokens, beams; /* beams 1: greedy, or sampling */
    bool samples, stops_early; /* stops_early: as soon as `beams` sequences have ended */
    double temperature, top_p, length_penalty;
    int top_k, no_repeat_ngram; /* 0: off */
    uint64_t seed;
    uint32_t example; /* which of several prompts: each draws its own */
    bool uses_cache;  /* false: every pass reads whole sequences; for methods that look at them, and for tests */
};

/* What ends a sequence and what it begins with, as config.json and generation_config.json say. */
struct generation_ids {
    int32_t ends[GENERATE_MAX_ENDS];
    int n_ends;
    int32_t decoder_start, forced_first, forced_last; /* encoder-decoders; −1: none */
};

/* The plain settings: greedy, 128 tokens. */
struct generation generation_default(void);
/* ERR_USAGE with the name of what is out of range. */
int generation_check(const struct generation *options, struct err *err) MUST_CHECK;
int generation_ids_read(struct generation_ids *ids, const struct model *model, struct err *err) MUST_CHECK;
/* Goes on behind `prompt` (an encoder-decoder's input) and writes at most max_new_tokens ids, the end included, into
 * out. ERR_USAGE for an empty prompt or one that leaves no room in the model's positions; ERR_NUMERIC for logits that
 * are no numbers. */
int generate(struct model *model, const struct generation_ids *ids, const struct generation *options,
             const int32_t *prompt, int n_prompt, int32_t *out, int *n_out, struct err *err) MUST_CHECK;

/* A prompt among others: what is asked of it, and what came out. */
struct question_prompt {
    const int32_t *ids; /* of the prompt */
    int n;
    const int32_t *known; /* an answer whose likelihood is asked for; n_known 0: none */
    int n_known;
    int32_t *answer; /* out: room for max_new_tokens; the end included */
    int n_answer;
    double known_log_p; /* out: Σ log p of the known answer's tokens behind the prompt, natural logarithm */
};

/* Greedy answers of a causal model to many prompts: what all of them begin with is read once, and prompts of the same
 * length go through the model together. The same tokens as generate() gives, but for ties within rounding. `halves`
 * NULL: computes in fp32. ERR_USAGE for an empty prompt or one that leaves no room in the model's positions. */
int generate_answers(struct model *model, const struct generation_ids *ids, const struct generation *options,
                     struct halves *halves, struct question_prompt *prompts, size_t n, struct err *err) MUST_CHECK;

#endif
