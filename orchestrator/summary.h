/* What came of a sweep, method by method: the table at the end of `run`, in `status` and on the page. */
#ifndef ORCHESTRATOR_SUMMARY_H
#define ORCHESTRATOR_SUMMARY_H

#include "common/stats.h"
#include "common/text.h"
#include "orchestrator/store.h"

/* The best configuration of one method: best by the mean of the first objective over its seeds. Configurations with
 * fewer finished seeds than the method's fullest do not compete: one lucky seed would win. */
struct summary_method {
    const char *method;     /* "lora"; several of a list joined by '+' */
    int n_configurations;   /* of this method with at least one finished trial */
    int64_t configuration;  /* number of the best one */
    const char *parameters; /* its searched values, canonical JSON */
    struct interval score;  /* first objective over its seeds, 95 % */
    struct interval
        test; /* the same metric on the test split: of the configuration chosen above, never the best of tests */
    struct optional_real flip_before, flip_after; /* mean flip rate over its seeds, where the sweep has the check */
    int64_t trained_parameters, stored_bytes;
    double seconds;    /* mean over its trials, all attempts */
    double peak_bytes; /* largest of its attempts */
};

struct summary {
    const char *sweep, *metric, *goal;
    struct summary_method *methods; /* best first */
    int n_methods;
    int n_trials[6]; /* by enum trial_state */
    double seconds;  /* of all attempts of the sweep, added up */
};

/* Reads it from the store; everything lies in `arena`. ERR_NOT_FOUND for an unknown sweep. */
int summary_read(struct store *store, const char *sweep, struct arena *arena, struct summary *summary,
                 struct err *err) MUST_CHECK;
/* The table as aligned plain text: method, trained parameters, score with interval, flip rate before → after, seconds.
 */
void summary_add_table(struct text *out, const struct summary *summary);
/* The same as one JSON object, for --json. */
void summary_add_json(struct text *out, const struct summary *summary);
/* "lora", or "partial+lora" for a list: the settings' method is a string, or JSON text of an array of strings. In
 * `arena`; NULL without memory. */
const char *summary_method_label(struct arena *arena, const char *method);
/* "1,234,567" and "0.8351 ± 0.0040"-like cells are shared with the commands. */
void summary_add_count(struct text *out, int64_t count);
void summary_add_interval(struct text *out, struct interval interval);

#endif
