/* How likely the trial's model, as it is now, finds texts: a causal model by the chain rule, a masked one by asking for
 * each token with that token masked (pseudo-log-likelihood, Salazar et al. 2020, arXiv:1910.14659). */
#ifndef TRAINER_LIKELIHOOD_H
#define TRAINER_LIKELIHOOD_H

#include "trainer/trial.h"

/* The head that was trained with a masked model, as the folder has it: training a classifier leaves it alone, so what
 * it says of the trained body tells how far that body has moved. */
struct masked_head {
    struct value dense_weight, dense_bias, norm_weight, norm_bias; /* (d, d), (1, d) … */
    struct value words, bias;                                      /* (V, d), (1, V) */
    enum activation activation;
    double norm_epsilon;
    int32_t mask_id;
};

struct likelihood {
    struct trial *trial;
    bool is_masked;
    struct masked_head head;
    struct arena arena; /* texts and the head's copies */
    struct arena step;
};

/* A text and which of its tokens are asked for. */
struct scored_text {
    int32_t *ids;
    int n;
    int32_t *positions; /* ascending, of those that can be asked for */
    int n_positions;
    double log_p;  /* out: sum of log p over the positions, natural logarithm */
    double mean_p; /* out: mean of p over them; masked models only, else NaN */
};

/* ERR_UNSUPPORTED when the model has no language model's head to ask, with the reason. Closed also after a failure. */
int likelihood_open(struct likelihood *likelihood, struct trial *trial, struct err *err) MUST_CHECK;
void likelihood_close(struct likelihood *likelihood);
/* Tokens of a text as in training, cut to the trial's max_tokens, with all positions that can be asked for: of a masked
 * model all but the special tokens, of a causal one all but the first. Memory is the likelihood's. */
int likelihood_encode(struct likelihood *likelihood, const char *text, struct scored_text *scored,
                      struct err *err) MUST_CHECK;
/* Tokens of a prompt and an answer; only the answer's are asked for. */
int likelihood_encode_answer(struct likelihood *likelihood, const char *prompt, const char *answer,
                             struct scored_text *scored, struct err *err) MUST_CHECK;
/* Leaves at most `most` positions, spread evenly. */
void likelihood_thin(struct scored_text *scored, int most);
/* Fills log_p and mean_p of all texts. */
int likelihood_score(struct likelihood *likelihood, struct scored_text *texts, size_t n, struct err *err) MUST_CHECK;

#endif
