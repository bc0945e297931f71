/* Which method is better, by how much, how sure that is, and at what cost: `nightsweep compare` (docs/compare.md).
 *
 * Of every method the configuration is chosen on the validation objective, and compared on the test split where every
 * chosen trial has been tested. Nothing here looks at test scores to choose. */
#ifndef ORCHESTRATOR_COMPARE_H
#define ORCHESTRATOR_COMPARE_H

#include "common/stats.h"
#include "common/stats_bootstrap.h"
#include "common/stats_difference.h"
#include "common/text.h"
#include "orchestrator/fit.h"
#include "orchestrator/store.h"

enum { COMPARE_MAX_METHODS = 64, COMPARE_MAX_SEEDS = 1024, COMPARE_ORDER_RESAMPLES = 1000 };

struct compare_options {
    double margin;         /* of non-inferiority, in the metric's own units */
    const char *reference; /* method that others must not be inferior to; NULL: "full" where there is one */
    int resamples;
};

/* One finished trial. NaN: not measured. */
struct compare_trial {
    int64_t id, seed;
    double value, test; /* of the objective's metric, on validation and test */
    double gap;         /* validation loss − training loss at the best checkpoint */
    int row;            /* in the comparison's item rows; −1: no items */
};

/* The axes of the fronts; the score is the first one, which is worth more, or less, by the goal. */
enum compare_axis { AXIS_SCORE, AXIS_PARAMETERS, AXIS_BYTES, AXIS_SECONDS, AXIS_BIAS, AXIS_FORGETTING, AXIS_COUNT };
extern const char *const compare_axis_names[AXIS_COUNT];

struct compare_configuration {
    int sweep; /* index into comparison.sweeps */
    const char *method;
    int64_t number;
    const char *parameters; /* searched values, canonical JSON */
    const char *settings;   /* all that apply, JSON */
    const char *size;       /* how many training rows: "500", "8 a class", "10 %", "all" */
    double size_order;      /* the same as a number to sort by */
    struct compare_trial *trials;
    int n_trials;
    bool has_plain_loss; /* no label smoothing, no class weights: training and validation loss are the same formula */
    double axes[AXIS_COUNT]; /* mean score; trained parameters; stored bytes; seconds a trial; bias after training;
                                knowledge lost */
    double flops, peak_bytes;
    bool is_complete;          /* as many finished seeds as the fullest of its method */
    bool on_front[AXIS_COUNT]; /* [x]: of score × x; [AXIS_SCORE]: of all axes that every configuration has */
};

/* Mean over the seeds of a check's metric. */
struct compare_check {
    const char *name, *metric;
    int n;
    double before, after;
};

/* Of a check whose metric has two keys: means over the finished trials of a method ("base model": of the baselines). */
struct compare_cell {
    const char *method, *check, *metric, *trained, *asked;
    int n;
    double *befores, *afters, *deltas; /* (n) of the trials; NaN: unknown */
    double before, after;
    struct interval delta; /* Student over trials */
};

struct compare_method {
    const char *label; /* the method; "sweep: method" when there are several sweeps */
    bool is_traditional;
    struct compare_configuration *chosen;
    int n_configurations;
    struct interval validation, test, gap; /* Student over seeds */
    double *expected_best;                 /* [k − 1] of k configurations; n_expected of them */
    int n_expected;
    struct compare_check *checks;
    int n_checks;
    double kept;         /* knowledge kept, 1: all; see compare_kept. NaN: no such check */
    const char *kept_by; /* "probe" or "perplexity"; NULL */
    struct fit fit;
};

/* A size of the training set, where several were tried: the overfitting gap of each method's best configuration of it,
 * by the methods' order; NaN: none. */
struct compare_size {
    const char *label;
    double order;
    double *gaps;
};

/* a − b of the compared scores. NaN: cannot be said. */
struct compare_pair {
    int a, b;                     /* indices into methods */
    int n_seeds;                  /* matched ones; 0: the seeds differ, and the samples are independent */
    struct difference difference; /* over seeds */
    double seeds_p;               /* of its t test */
    bool has_items;
    struct resampled items; /* paired bootstrap over items, nested over seeds */
    double p, adjusted_p;   /* the bootstrap's, else the t test's; Holm over all pairs */
    double cohen_d, cliff_delta;
    double order_ab, order_ba; /* ε_min of "a is better" and "b is better" */
    double detectable;         /* smallest difference these seeds could have shown, 5 % and 80 % */
};

/* Against the reference, differences turned so that more is better. */
struct compare_inferiority {
    int method, pair;
    double inferior_p, tost_p; /* over seeds */
    double low90, high90;      /* bootstrap, 90 % */
    int verdict;               /* 1: not inferior, 0: cannot be said, −1: nothing to test with */
    bool is_equivalent;
};

struct comparison {
    const char **sweeps;
    int n_sweeps;
    const char *metric, *goal;
    bool is_maximized, uses_test;
    uint64_t seed;
    double margin;
    int resamples, n_items;
    struct compare_configuration *configurations;
    int n_configurations;
    struct compare_method *methods; /* best first, by validation */
    int n_methods;
    struct compare_pair *pairs;
    int n_pairs;
    double order_confidence; /* 1 − 0.05/pairs */
    int reference;           /* index into methods; −1: none */
    struct compare_inferiority *inferiority;
    int n_inferiority;
    struct compare_size *sizes; /* smallest first; n_sizes 0: all configurations have the same */
    int n_sizes;
    struct compare_cell *cells; /* row by row, as trials came */
    int n_cells;
};

/* Reads and compares; all in `arena`. ERR_NOT_FOUND for an unknown sweep, ERR_USAGE for sweeps of different objectives,
 * an unknown reference, or when no trial is finished. */
int compare_sweeps(struct store *store, const char *const *sweeps, int n_sweeps, const struct compare_options *options,
                   struct arena *arena, struct comparison *comparison, struct err *err) MUST_CHECK;
/* Knowledge kept by a method's checks: the mean over the probes of accuracy after/before; without probes the mean over
 * the texts of perplexity (or pseudo-perplexity) before/after; each at most 1, since a gain makes up for no loss. Sets
 * kept and kept_by. */
void compare_kept(struct compare_method *method);
/* For people, and for programs (--json, docs/json-output.md). */
void compare_add_text(struct text *out, const struct comparison *comparison);
void compare_add_json(struct text *out, const struct comparison *comparison);
/* The verdict on a pair in words: "a is better", "not distinguishable", "cannot be tested". In `out`. */
void compare_add_verdict(struct text *out, const struct comparison *comparison, const struct compare_pair *pair);

#endif
