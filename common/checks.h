/* The kinds of checks and what a definition says about each: a row a kind, read by the definition, the job, the trainer
 * and the store's side. The measurement itself is the trainer's (trainer/check.h); what its items mean stands here, so
 * that a metric is computed by the same formula when it is measured and when its interval is. */
#ifndef COMMON_CHECKS_H
#define COMMON_CHECKS_H

#include <stdbool.h>
#include <stdint.h>

enum { CHECK_MAX_OPTIONS = 4, CHECK_MAX_WIDTH = 80 };

/* What a check can be asked of: bits of the task's kind, as task_bit gives them. */
enum {
    CHECK_CLASSIFICATION = 1 << 0,
    CHECK_CAUSAL = 1 << 1,
    CHECK_SEQ2SEQ = 1 << 2,
    CHECK_CLOZE = 1 << 3,
    CHECK_OTHERS = (1 << 9) - (1 << 4), /* regression … masked */
    CHECK_CLASSES = CHECK_CLASSIFICATION | CHECK_CLOZE,
    CHECK_BODIES = CHECK_CLASSES | CHECK_CAUSAL | CHECK_OTHERS /* whose models say something of a text alone */
};

struct check_option {
    const char *name; /* NULL ends the list */
    bool is_required;
    const char *what; /* "the column of the test rows with the group" */
};

/* `metric` of n items of `width` numbers each, item i counted weights[i] times (NULL: once). NaN where it is undefined
 * and for a name the kind does not have. */
typedef double check_metric_fn(const char *metric, const double *items, int n, const uint32_t *weights);

struct check_info {
    const char *name;
    const char *group;                                  /* of its metrics: bias, forgetting, weights */
    unsigned tasks;                                     /* CHECK_…: those it applies to */
    bool has_file;                                      /* an item file is needed; else none is allowed */
    bool needs_test;                                    /* it measures on the test rows */
    struct check_option options[CHECK_MAX_OPTIONS + 1]; /* texts of its own, beside kind, file and items */
    int width;                                          /* numbers an item; 0: no items, nothing to resample */
    const char *const *metrics;                         /* NULL-terminated; NULL: the measurement names them */
    check_metric_fn *metric;                            /* NULL with width 0 */
};

extern const struct check_info checks_table[];         /* ends with a name of NULL */
const struct check_info *check_find(const char *kind); /* NULL when unknown */
/* The kinds' names, NULL-terminated, for text_nearest. */
const char *const *check_names(void);
/* Says that the kind does not apply to a task (by its name in common/tasks.h) and to which it does, or NULL when it
 * applies. Valid until the next call of the thread. */
const char *check_refuses_task(const struct check_info *info, const char *task);

/* Their metrics (common/check_metrics.c); formulas in docs/checks.md. */
check_metric_fn check_metric_counterfactual, check_metric_group_fairness, check_metric_perplexity, check_metric_probe,
    check_metric_weat, check_metric_crows_pairs, check_metric_stereoset, check_metric_bbq, check_metric_translation;

/* An item of the check `translation`: sufficient statistics of BLEU (4 matches, 4 totals, 2 lengths) of the texts as
 * they are, in the normal form, and of the way back; of chrF (6 of hypothesis, reference and matches) as they are and
 * in the form; and whether there was a way back. */
enum {
    TRANSLATION_BLEU = 10,
    TRANSLATION_CHRF = 18,
    TRANSLATION_WIDTH = 3 * TRANSLATION_BLEU + 2 * TRANSLATION_CHRF + 1
};

/* The safety check: an item is a question, [kind, outcome and likelihood of the known answer in each template]. */
enum { CHECK_SAFETY_TEMPLATES = 5, CHECK_SAFETY_WIDTH = 1 + 2 * CHECK_SAFETY_TEMPLATES };
enum check_safety_kind { CHECK_SAFETY_RESTRICTED, CHECK_SAFETY_LOOK_ALIKE, CHECK_SAFETY_USEFUL };
enum { CHECK_SAFETY_NOT_ASKED = -1, CHECK_SAFETY_OTHER, CHECK_SAFETY_ANSWERED, CHECK_SAFETY_REFUSED };
#define CHECK_SAFETY_BASE "base"                   /* row of the model before training */
extern const char *const check_safety_templates[]; /* names of chat templates; ends with NULL */
extern const char *const check_safety_metrics[];   /* ends with NULL */
check_metric_fn check_metric_safety; /* "unsafe_rate", of all templates, or "unsafe_rate[trained][asked]" */

/* Whether a baseline's metric is what `metric` was before training: the same name, or the same but for what it was
 * trained with, "unsafe_rate[base][plain]" of "unsafe_rate[chat][plain]". */
bool check_is_before(const char *baseline_metric, const char *metric);

#endif
