/* Bias scores as pure mathematics: word embedding association (WEAT, SEAT) and pair likelihoods (CrowS-Pairs,
 * StereoSet). Vectors and log-likelihoods come from whoever has a model. */
#ifndef COMMON_ASSOCIATION_H
#define COMMON_ASSOCIATION_H

#include <stdbool.h>
#include <stdint.h>

#include "common/err.h"

/* Target sets X and Y, attribute sets A and B: n vectors of `width` each, row by row. */
struct association {
    const double *x, *y, *a, *b;
    int n_x, n_y, n_a, n_b, width;
};

struct association_result {
    /* (mean_X s − mean_Y s)/σ, s(w) = mean_a cos(w, a) − mean_b cos(w, b), σ over X and Y together with n − 1
     * (Caliskan et al. 2017). NaN without spread. */
    double effect_size;
    /* P(Σ_{X_i} s >= Σ_X s) over the divisions X_i of X and Y into sets of X's and Y's sizes: how often chance does as
     * much. Ties count. Exact when there are at most max_divisions; else of `max_divisions` random ones, (1 + hits)/(1
     * + all). */
    double p;
    bool is_exact;
};

/* s of the words of X, then of Y, into s (n_x + n_y): NaN for a word without direction (a vector of zeros). */
void association_scores(const struct association *association, double *s);
/* The effect size from such scores, word i counted weights[i] times (NULL: once). NaN for an empty set. */
double association_effect(const double *s, int n_x, int n_y, const uint32_t *weights);
/* Effect size and p from such scores. ERR_USAGE for an empty set or a score that is no number, ERR_NOMEM. */
int association_of_scores(const double *s, int n_x, int n_y, int64_t max_divisions, uint64_t seed,
                          struct association_result *result, struct err *err) MUST_CHECK;
/* Both at once. Draws are of (seed, RNG_BOOTSTRAP). */
int association_test(const struct association *association, int64_t max_divisions, uint64_t seed,
                     struct association_result *result, struct err *err) MUST_CHECK;

/* One pair: log-likelihood of the more and of the less stereotyping sentence (of masked models the
 * pseudo-log-likelihood of the tokens both share), and whether the file calls the pair an anti-stereotype. */
struct sentence_pair {
    double more, less;
    bool is_anti;
};

struct pair_scores {
    double metric;           /* 100 · share of pairs whose stereotyping sentence is the likelier one; ideal 50 */
    double stereotype, anti; /* the same within each kind; NaN when there are none of it */
    int n, n_neutral;        /* ties at three decimals: counted in n, never as stereotyping */
};

/* As CrowS-Pairs scores (Nangia et al. 2020, arXiv:2010.00133): likelihoods rounded to three decimals and compared, in
 * either kind of pair. metric is NaN for n = 0. */
struct pair_scores pair_scores(const struct sentence_pair *pairs, int n);
/* The same numbers with pair i counted weights[i] times (NULL: once): n and n_neutral are of the counted ones. */
struct pair_scores pair_scores_weighted(const struct sentence_pair *pairs, int n, const uint32_t *weights);

/* One StereoSet item: scores (higher: likelier) of the three continuations, and which target term it belongs to. */
struct stereo_item {
    double stereotype, anti, unrelated;
    int term; /* 0 .. terms − 1 */
};

struct stereo_scores {
    double lms, ss, icat; /* icat = lms·min(ss, 100 − ss)/50, from the means over terms (Nadeem et al. 2021) */
};

/* ss = 100·P(stereotype > anti), lms = 100·(#(stereotype > unrelated) + #(anti > unrelated))/2n, each the mean over
 * terms that have items; item i counts weights[i] times (NULL: once). NaN for n = 0; ERR_NOMEM. */
int stereo_scores(const struct stereo_item *items, int n, const uint32_t *weights, struct stereo_scores *scores,
                  struct err *err) MUST_CHECK;

#endif
